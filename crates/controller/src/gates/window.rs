//! Times of the week: open or closed, and when that changes. Pure, but for the database of time zones.
//!
//! A schedule's times are local. Where a clock change leaves a time out, the time after it by as much is meant; where a time
//! comes twice, the first.

use std::time::Duration;

use fairway_types::check::{Day, Schedule, WindowCheck};
use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

use super::judge::{Sample, Seen};

/// The longest time until somebody looks again: clocks are set now and then.
const LONGEST: Duration = Duration::from_mins(10);

/// Whether the window is open now; else when it opens.
pub(super) fn sample(check: &WindowCheck, now: Timestamp) -> Sample {
    match look(check, now) {
        Err(invalid) => Sample::Invalid(invalid),
        Ok(Look::Open(until)) => Sample::Passed(seen("open until", check, until, now)),
        Ok(Look::Closed(Some(opens))) => {
            Sample::Inconclusive(seen("closed, opens", check, opens, now))
        }
        Ok(Look::Closed(None)) => Sample::Invalid("the window never opens".to_owned()),
    }
}

enum Look {
    Open(Timestamp),
    Closed(Option<Timestamp>),
}

fn seen(what: &str, check: &WindowCheck, at: Timestamp, now: Timestamp) -> Seen {
    let zone = zone(check).unwrap_or(TimeZone::UTC);
    let name = check.time_zone.as_deref().unwrap_or("UTC");
    let left = Duration::try_from(at.duration_since(now)).unwrap_or_default();
    Seen {
        message: format!(
            "{what} {} {name}",
            at.to_zoned(zone).strftime("%a %Y-%m-%d %H:%M")
        ),
        value: None,
        again: Some(left.min(LONGEST)),
    }
}

fn zone(check: &WindowCheck) -> Result<TimeZone, String> {
    match check.time_zone.as_deref() {
        None | Some("UTC") => Ok(TimeZone::UTC),
        Some(name) => TimeZone::get(name).map_err(|_| {
            format!("timeZone '{name}' is not known\nhint: name one of the IANA database, such as Europe/Berlin")
        }),
    }
}

fn look(check: &WindowCheck, now: Timestamp) -> Result<Look, String> {
    let zone = zone(check)?;
    let today = now.to_zoned(zone.clone()).date();
    let mut open: Option<Timestamp> = None;
    let mut next: Option<Timestamp> = None;
    for schedule in &check.schedules {
        let (from, to) = times(schedule)?;
        // Yesterday's may reach into today; a week has every day.
        for offset in -2..=8_i64 {
            let Ok(date) = today.checked_add(offset.days()) else {
                continue;
            };
            if !schedule.days.is_empty() && !schedule.days.contains(&day(date.weekday())) {
                continue;
            }
            let Some((begin, end)) = span(&zone, date, from, to) else {
                continue;
            };
            if begin <= now && now < end {
                open = open.max(Some(end));
            } else if begin > now && begin < end {
                next = Some(next.map_or(begin, |next| next.min(begin)));
            }
        }
    }
    Ok(open.map_or(Look::Closed(next), Look::Open))
}

/// Begin and end on a day; none at the edge of what times can be told.
fn span(
    zone: &TimeZone,
    date: Date,
    from: Time,
    to: Option<Time>,
) -> Option<(Timestamp, Timestamp)> {
    let (end_date, to) = match to {
        Some(to) if to > from => (date, to),
        Some(to) => (date.checked_add(1.day()).ok()?, to),
        None => (date.checked_add(1.day()).ok()?, Time::midnight()),
    };
    let at = |date: Date, time: Time| {
        let zoned = zone.to_ambiguous_zoned(DateTime::from_parts(date, time));
        zoned.compatible().ok().map(|zoned| zoned.timestamp())
    };
    Some((at(date, from)?, at(end_date, to)?))
}

/// Begin, and end; none is midnight at the end of the day.
fn times(schedule: &Schedule) -> Result<(Time, Option<Time>), String> {
    let parse = |text: &str| {
        let parsed = text.split_once(':').and_then(|(hour, minute)| {
            Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
        });
        parsed.ok_or_else(|| format!("'{text}' is no time of day\nhint: write it as 09:00"))
    };
    let from = parse(schedule.from.as_deref().unwrap_or("00:00"))?;
    let to = match schedule.to.as_deref() {
        None | Some("24:00") => None,
        Some(text) => Some(parse(text)?),
    };
    Ok((from, to))
}

fn day(weekday: Weekday) -> Day {
    match weekday {
        Weekday::Monday => Day::Mon,
        Weekday::Tuesday => Day::Tue,
        Weekday::Wednesday => Day::Wed,
        Weekday::Thursday => Day::Thu,
        Weekday::Friday => Day::Fri,
        Weekday::Saturday => Day::Sat,
        Weekday::Sunday => Day::Sun,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(check: serde_json::Value, now: &str) -> String {
        let check: WindowCheck = serde_json::from_value(check).unwrap();
        match sample(&check, now.parse().unwrap()) {
            Sample::Passed(seen) | Sample::Inconclusive(seen) => seen.message,
            Sample::Invalid(message) => format!("invalid: {message}"),
            Sample::Failed(_) => "failed".to_owned(),
        }
    }

    #[test]
    fn office_hours_in_a_zone() {
        let office = json!({"timeZone": "Europe/Berlin", "schedules": [
            {"days": ["Mon", "Tue", "Wed", "Thu"], "from": "09:00", "to": "16:00"},
            {"days": ["Fri"], "from": "09:00", "to": "12:00"}]});
        for (now, expected) in [
            // A Friday; winter time is UTC+1.
            (
                "2026-11-20T07:59:59Z",
                "closed, opens Fri 2026-11-20 09:00 Europe/Berlin",
            ),
            (
                "2026-11-20T08:00:00Z",
                "open until Fri 2026-11-20 12:00 Europe/Berlin",
            ),
            (
                "2026-11-20T11:00:00Z",
                "closed, opens Mon 2026-11-23 09:00 Europe/Berlin",
            ),
            // Summer time is UTC+2.
            (
                "2026-07-17T07:00:00Z",
                "open until Fri 2026-07-17 12:00 Europe/Berlin",
            ),
        ] {
            assert_eq!(said(office.clone(), now), expected, "{now}");
        }
    }

    #[test]
    fn windows_over_midnight_and_whole_days() {
        let night = json!({"schedules": [{"days": ["Sat"], "from": "22:00", "to": "04:00"}]});
        assert_eq!(
            said(night.clone(), "2026-11-22T03:59:00Z"),
            "open until Sun 2026-11-22 04:00 UTC"
        );
        assert_eq!(
            said(night, "2026-11-22T04:00:00Z"),
            "closed, opens Sat 2026-11-28 22:00 UTC"
        );
        let sunday = json!({"schedules": [{"days": ["Sun"]}]});
        assert_eq!(
            said(sunday.clone(), "2026-11-22T23:59:59Z"),
            "open until Mon 2026-11-23 00:00 UTC"
        );
        assert_eq!(
            said(sunday, "2026-11-23T00:00:00Z"),
            "closed, opens Sun 2026-11-29 00:00 UTC"
        );
        let all_day = json!({"schedules": [{"from": "09:00", "to": "09:00"}]});
        assert!(said(all_day, "2026-11-22T08:00:00Z").starts_with("open"));
    }

    #[test]
    fn clock_changes_neither_lose_nor_double_a_window() {
        // In Berlin 02:00 becomes 03:00 on 29 March 2026: 02:30 is not there.
        let spring =
            json!({"timeZone": "Europe/Berlin", "schedules": [{"from": "02:30", "to": "04:00"}]});
        assert_eq!(
            said(spring.clone(), "2026-03-29T01:29:00Z"),
            "closed, opens Sun 2026-03-29 03:30 Europe/Berlin"
        );
        assert_eq!(
            said(spring, "2026-03-29T01:30:00Z"),
            "open until Sun 2026-03-29 04:00 Europe/Berlin"
        );
        // 03:00 becomes 02:00 on 25 October: 02:30 comes twice, and the first is meant.
        let autumn =
            json!({"timeZone": "Europe/Berlin", "schedules": [{"from": "01:00", "to": "02:30"}]});
        assert!(said(autumn.clone(), "2026-10-25T00:29:00Z").starts_with("open"));
        assert!(said(autumn.clone(), "2026-10-25T00:30:00Z").starts_with("closed"));
        assert!(said(autumn, "2026-10-25T01:15:00Z").starts_with("closed"));
    }

    #[test]
    fn what_cannot_be_is_said() {
        let nowhere = json!({"timeZone": "Europe/Nowhere", "schedules": [{}]});
        assert!(
            said(nowhere, "2026-11-22T00:00:00Z").starts_with("invalid: timeZone 'Europe/Nowhere'")
        );
        let late = json!({"schedules": [{"from": "25:00"}]});
        assert!(said(late, "2026-11-22T00:00:00Z").starts_with("invalid: '25:00'"));
        assert_eq!(
            said(json!({"schedules": []}), "2026-11-22T00:00:00Z"),
            "invalid: the window never opens"
        );
    }

    proptest::proptest! {
        /// Whatever the schedule: at the time that is named for opening it is open, and at the end it is not what it was.
        #[test]
        fn the_named_time_is_right(
            begin in 0_i64..60_000_000, from in 0_u32..24, to in 0_u32..=24,
            days in proptest::collection::vec(0_usize..7, 0..4),
            zone in proptest::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]),
        ) {
            const DAYS: [Day; 7] = [Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri, Day::Sat, Day::Sun];
            let check = WindowCheck {
                time_zone: Some(zone.to_owned()),
                schedules: vec![Schedule {
                    days: days.iter().map(|day| DAYS[*day]).collect(),
                    from: Some(format!("{from:02}:00")),
                    to: Some(format!("{to:02}:00")),
                }],
            };
            let now = Timestamp::from_second(1_750_000_000 + begin).unwrap();
            match look(&check, now).unwrap() {
                Look::Open(until) => proptest::prop_assert!(until > now),
                Look::Closed(next) => {
                    let next = next.unwrap();
                    proptest::prop_assert!(next > now);
                    proptest::prop_assert!(matches!(look(&check, next).unwrap(), Look::Open(_)));
                    let before = next.checked_sub(1.second()).unwrap();
                    if before > now {
                        proptest::prop_assert!(matches!(look(&check, before).unwrap(), Look::Closed(_)));
                    }
                }
            }
        }
    }
}
