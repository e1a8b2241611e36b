//! Cron schedules: `minute hour day-of-month month day-of-week`, as CronJobs have them.

use jiff::civil::DateTime;
use jiff::{SignedDuration, Span};

/// The furthest that a next time is looked for: beyond it are schedules such as the 30th of February.
const HORIZON_DAYS: usize = 366 * 5;

/// When something happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Schedule {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether both day fields are restricted, so that either may match.
    either_day: bool,
}

impl Schedule {
    /// Reads a schedule; `None` where it is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = match text.trim() {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other => other,
        };
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields.as_slice() else {
            return None;
        };
        let restricted = |field: &str| !field.starts_with('*') && !field.starts_with('?');
        let mut week = set(
            weekdays,
            0,
            7,
            &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
            0,
        )?;
        // Sunday is 0 and 7.
        if week & (1 << 7) != 0 {
            week |= 1;
        }
        const MONTHS: [&str; 12] = [
            "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
        ];
        Some(Self {
            minutes: set(minutes, 0, 59, &[], 0)?,
            hours: set(hours, 0, 23, &[], 0)?,
            days: set(days, 1, 31, &[], 0)?,
            months: set(months, 1, 12, &MONTHS, 1)?,
            weekdays: week,
            either_day: restricted(days) && restricted(weekdays),
        })
    }

    /// The first time after `after`, on the clock that `after` is read from.
    pub(crate) fn next(&self, after: DateTime) -> Option<DateTime> {
        let start = after.with().second(0).subsec_nanosecond(0).build().ok()?;
        let mut at = start.checked_add(SignedDuration::from_mins(1)).ok()?;
        for _ in 0..HORIZON_DAYS {
            if self.day_fits(at)
                && let Some(next) = self.in_day(at)
            {
                return Some(next);
            }
            at = at
                .date()
                .checked_add(Span::new().days(1))
                .ok()?
                .at(0, 0, 0, 0);
        }
        None
    }

    fn day_fits(&self, at: DateTime) -> bool {
        let bit = |set: u64, number: i8| set & (1 << number) != 0;
        let day = bit(self.days, at.day());
        let weekday = bit(self.weekdays, at.weekday().to_sunday_zero_offset());
        bit(self.months, at.month())
            && if self.either_day {
                day || weekday
            } else {
                day && weekday
            }
    }

    /// The first fitting minute of the day at or after the time.
    fn in_day(&self, from: DateTime) -> Option<DateTime> {
        for hour in from.hour()..24 {
            if self.hours & (1 << hour) == 0 {
                continue;
            }
            let first = if hour == from.hour() {
                from.minute()
            } else {
                0
            };
            if let Some(minute) = (first..60).find(|minute| self.minutes & (1 << minute) != 0) {
                return Some(from.date().at(hour, minute, 0, 0));
            }
        }
        None
    }
}

/// One field as a set of bits.
fn set(field: &str, low: u32, high: u32, names: &[&str], first: u32) -> Option<u64> {
    let number = |text: &str| -> Option<u32> {
        let lower = text.to_lowercase();
        let named = names
            .iter()
            .position(|name| **name == lower)
            .and_then(|at| u32::try_from(at).ok());
        let number = named.map_or_else(|| text.parse().ok(), |at| Some(at + first))?;
        (low..=high).contains(&number).then_some(number)
    };
    let mut bits = 0;
    for part in field.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse::<u32>().ok().filter(|step| *step > 0)?),
            None => (part, 1),
        };
        let (from, to) = match range.split_once('-') {
            Some((from, to)) => (number(from)?, number(to)?),
            None if range == "*" || range == "?" => (low, high),
            None => {
                let from = number(range)?;
                (from, if part.contains('/') { high } else { from })
            }
        };
        let mut at = from;
        while at <= to {
            bits |= 1 << at;
            at += step;
        }
    }
    Some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(schedule: &str, after: &str) -> String {
        Schedule::parse(schedule)
            .unwrap()
            .next(after.parse().unwrap())
            .unwrap()
            .to_string()
    }

    #[test]
    fn the_next_time_is_found() {
        assert_eq!(
            next("*/15 * * * *", "2026-11-22T08:03:10"),
            "2026-11-22T08:15:00"
        );
        assert_eq!(
            next("0 3 * * *", "2026-11-22T08:03:10"),
            "2026-11-23T03:00:00"
        );
        assert_eq!(
            next("0 0 1 jan *", "2026-11-22T08:03:10"),
            "2027-01-01T00:00:00"
        );
        assert_eq!(
            next("30 9 * * mon-fri", "2026-11-21T08:00:00"),
            "2026-11-23T09:30:00"
        );
        assert_eq!(
            next("@hourly", "2026-11-22T08:00:00"),
            "2026-11-22T09:00:00"
        );
    }

    #[test]
    fn restricted_days_are_alternatives() {
        // 2026-11-22 is a Sunday.
        assert_eq!(
            next("0 0 25 * 2", "2026-11-22T08:00:00"),
            "2026-11-24T00:00:00"
        );
        assert_eq!(
            next("0 0 25 * *", "2026-11-22T08:00:00"),
            "2026-11-25T00:00:00"
        );
        assert_eq!(
            next("0 0 * * 7", "2026-11-23T08:00:00"),
            "2026-11-29T00:00:00"
        );
    }

    #[test]
    fn nonsense_is_no_schedule() {
        for text in ["", "* * * *", "61 * * * *", "* * * * funday", "*/0 * * * *"] {
            assert_eq!(Schedule::parse(text), None, "{text}");
        }
        assert_eq!(
            Schedule::parse("0 0 30 2 *")
                .unwrap()
                .next("2026-01-01T00:00:00".parse().unwrap()),
            None
        );
    }
}
