//! Conditions as `metav1.Condition` has them, and the rules for changing a list of them.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Details for one aspect of the current state of this API resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Type of condition in CamelCase or in foo.example.com/CamelCase.
    #[serde(rename = "type")]
    #[schemars(extend("maxLength" = 316), extend("pattern" = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"))]
    pub type_: String,
    /// Status of the condition, one of True, False, Unknown.
    pub status: ConditionStatus,
    /// The generation of the object that the condition was set upon; older than `metadata.generation` means out of date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 0))]
    pub observed_generation: Option<i64>,
    /// The last time the condition changed from one status to another.
    #[serde(with = "seconds", default)]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub last_transition_time: Timestamp,
    /// Programmatic identifier for the reason of the last transition, in CamelCase.
    #[schemars(extend("minLength" = 1), extend("maxLength" = 1024), extend("pattern" = "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"))]
    pub reason: String,
    /// Human readable message with details about the transition; may be empty.
    #[serde(default)]
    #[schemars(extend("maxLength" = 32768))]
    pub message: String,
}

/// The status of a [`Condition`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It is so.
    True,
    /// It is not so.
    False,
    /// Nobody can tell yet.
    Unknown,
}

impl ConditionStatus {
    /// `True`, `False` or `Unknown`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl std::fmt::Display for ConditionStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Times in whole seconds, as `metav1.Time` writes them.
pub mod seconds {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    /// `2026-11-22T08:04:35Z`.
    pub fn format(time: Timestamp) -> String {
        time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// Writes what [`format()`] makes.
    pub fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format(*time))
    }

    /// Reads RFC 3339; null, which Go writes for its zero time, is the epoch.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        Ok(Option::<Timestamp>::deserialize(deserializer)?.unwrap_or_default())
    }
}

/// The same for a time that may not be known.
pub mod optional_seconds {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes what [`super::seconds::format()`] makes, or null.
    pub fn serialize<S: Serializer>(
        time: &Option<Timestamp>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => super::seconds::serialize(time, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Reads RFC 3339 or null.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        Option::<Timestamp>::deserialize(deserializer)
    }
}

/// Changing and reading a list of conditions.
pub mod conditions {
    use jiff::Timestamp;

    use super::{Condition, ConditionStatus};

    /// The longest message that the CRDs allow, in bytes.
    pub const MAX_MESSAGE: usize = 32_768;

    /// The condition of this type.
    pub fn get<'a>(list: &'a [Condition], type_: &str) -> Option<&'a Condition> {
        list.iter().find(|condition| condition.type_ == type_)
    }

    /// Whether the condition is there with this status.
    pub fn is(list: &[Condition], type_: &str, status: ConditionStatus) -> bool {
        get(list, type_).is_some_and(|condition| condition.status == status)
    }

    /// Whether the condition is there and `True`.
    pub fn is_true(list: &[Condition], type_: &str) -> bool {
        is(list, type_, ConditionStatus::True)
    }

    /// Sets a condition; `lastTransitionTime` moves only when the status does. Returns whether anything differs.
    ///
    /// A message that is too long for the API server is cut, so that a status write never fails for its message.
    pub fn set(
        list: &mut Vec<Condition>,
        type_: &str,
        status: ConditionStatus,
        reason: &str,
        message: &str,
        observed_generation: Option<i64>,
        now: Timestamp,
    ) -> bool {
        let message = cut(message);
        let Some(existing) = list.iter_mut().find(|condition| condition.type_ == type_) else {
            list.push(Condition {
                type_: type_.to_owned(),
                status,
                observed_generation,
                last_transition_time: now,
                reason: reason.to_owned(),
                message: message.to_owned(),
            });
            return true;
        };
        let mut changed = false;
        if existing.status != status {
            existing.status = status;
            existing.last_transition_time = now;
            changed = true;
        }
        if existing.reason != reason || existing.message != message {
            reason.clone_into(&mut existing.reason);
            message.clone_into(&mut existing.message);
            changed = true;
        }
        if existing.observed_generation != observed_generation {
            existing.observed_generation = observed_generation;
            changed = true;
        }
        changed
    }

    /// Removes a condition; returns whether it was there.
    pub fn remove(list: &mut Vec<Condition>, type_: &str) -> bool {
        let before = list.len();
        list.retain(|condition| condition.type_ != type_);
        list.len() != before
    }

    /// Puts Ready first and keeps the order of the others, as Flux's status writer does.
    pub fn ready_first(list: &mut [Condition]) {
        list.sort_by_key(|condition| condition.type_ != crate::names::READY);
    }

    fn cut(message: &str) -> &str {
        if message.len() <= MAX_MESSAGE {
            return message;
        }
        let mut end = MAX_MESSAGE;
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        &message[..end]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_transition_time_moves_with_the_status_only() {
        let mut list = Vec::new();
        assert!(conditions::set(
            &mut list,
            "Ready",
            ConditionStatus::False,
            "A",
            "one",
            Some(1),
            at(10)
        ));
        assert!(!conditions::set(
            &mut list,
            "Ready",
            ConditionStatus::False,
            "A",
            "one",
            Some(1),
            at(20)
        ));
        assert!(conditions::set(
            &mut list,
            "Ready",
            ConditionStatus::False,
            "B",
            "two",
            Some(2),
            at(30)
        ));
        assert_eq!(list[0].last_transition_time, at(10));
        assert!(conditions::set(
            &mut list,
            "Ready",
            ConditionStatus::True,
            "C",
            "",
            Some(2),
            at(40)
        ));
        assert_eq!(list[0].last_transition_time, at(40));
        assert!(conditions::is_true(&list, "Ready"));
        assert!(conditions::remove(&mut list, "Ready"));
        assert!(!conditions::remove(&mut list, "Ready"));
    }

    #[test]
    fn times_are_written_in_whole_seconds() {
        let mut list = Vec::new();
        let now = Timestamp::new(1_763_798_675, 123_456_789).unwrap();
        conditions::set(
            &mut list,
            "Ready",
            ConditionStatus::True,
            "A",
            "",
            None,
            now,
        );
        let json = serde_json::to_value(&list).unwrap();
        assert_eq!(json[0]["lastTransitionTime"], "2025-11-22T08:04:35Z");
        assert_eq!(json[0]["type"], "Ready");
        assert!(json[0].get("observedGeneration").is_none());
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let mut list = Vec::new();
        let message = "ä".repeat(conditions::MAX_MESSAGE);
        conditions::set(
            &mut list,
            "Ready",
            ConditionStatus::True,
            "A",
            &message,
            None,
            at(0),
        );
        assert!(list[0].message.len() <= conditions::MAX_MESSAGE);
        assert!(list[0].message.chars().all(|c| c == 'ä'));
    }
}
