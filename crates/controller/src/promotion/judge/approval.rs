//! Manual approval: whose word counts, and whether it is enough.

use fairway_types::approval::Decision;
use fairway_types::check::ApprovalCheck;
use fairway_types::promotion::ApprovalRecord;

use super::Word;

/// What the words come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tally {
    /// Enough people said yes.
    Approved(String),
    /// One who may say so said no.
    Rejected(String),
    /// Not yet enough.
    Waiting(String),
}

/// Whether somebody may say something under a rule. Without users and groups everybody may whom RBAC lets.
fn may(rule: &ApprovalCheck, word: &Word) -> bool {
    (rule.users.is_empty() && rule.groups.is_empty())
        || rule.users.contains(&word.approver)
        || rule.groups.iter().any(|group| word.groups.contains(group))
}

/// Counts. Each person counts once, by their newest word; who asked for the Promotion cannot approve it, but can reject it.
pub(super) fn tally(rule: &ApprovalCheck, words: &[Word], requester: Option<&str>) -> Tally {
    let mut yes: Vec<&str> = Vec::new();
    for word in newest(words) {
        if !may(rule, word) {
            continue;
        }
        match word.decision {
            Decision::Reject => return Tally::Rejected(word.approver.clone()),
            Decision::Approve if requester == Some(word.approver.as_str()) => {}
            Decision::Approve => yes.push(&word.approver),
        }
    }
    let wanted = rule.count();
    if yes.len() >= wanted {
        return Tally::Approved(format!("approved by {}", yes.join(", ")));
    }
    let mut who: Vec<String> = rule.users.clone();
    who.extend(rule.groups.iter().map(|group| format!("group {group}")));
    let who = if who.is_empty() {
        "anybody who may approve".to_owned()
    } else {
        who.join(", ")
    };
    let so_far = match yes.len() {
        0 => String::new(),
        _ => format!("; so far {}", yes.join(", ")),
    };
    Tally::Waiting(format!(
        "{} of {wanted} approvals from {who}{so_far}",
        yes.len()
    ))
}

/// The newest word of each person, in the order of their first one.
fn newest(words: &[Word]) -> Vec<&Word> {
    let mut found: Vec<&Word> = Vec::new();
    for word in words {
        match found
            .iter_mut()
            .find(|known| known.approver == word.approver)
        {
            Some(known) => {
                if (word.at, &word.name) > (known.at, &known.name) {
                    *known = word;
                }
            }
            None => found.push(word),
        }
    }
    found
}

/// The words for the status, and why one does not count.
pub(super) fn records(words: &[Word], requester: Option<&str>) -> Vec<ApprovalRecord> {
    let mut records: Vec<ApprovalRecord> = words
        .iter()
        .map(|word| ApprovalRecord {
            name: word.name.clone(),
            approver: word.approver.clone(),
            decision: word.decision,
            at: word.at,
            ignored: (word.decision == Decision::Approve
                && requester == Some(word.approver.as_str()))
            .then(|| "who asks for a promotion cannot approve it".to_owned()),
        })
        .collect();
    records.sort_by(|a, b| (a.at, &a.name).cmp(&(b.at, &b.name)));
    records
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn word(approver: &str, groups: &[&str], decision: Decision, at: i64) -> Word {
        Word {
            name: format!("{approver}-{at}"),
            approver: approver.into(),
            groups: groups.iter().map(|&group| group.into()).collect(),
            decision,
            at: Timestamp::from_second(at).unwrap(),
        }
    }

    fn rule(users: &[&str], groups: &[&str], count: u32) -> ApprovalCheck {
        ApprovalCheck {
            users: users.iter().map(|&user| user.into()).collect(),
            groups: groups.iter().map(|&group| group.into()).collect(),
            count: Some(count),
        }
    }

    #[test]
    fn a_quorum_is_of_different_people_who_may_and_did_not_ask() {
        let rule = rule(&["ann"], &["release"], 2);
        let yes = Decision::Approve;
        let mut words = vec![
            word("ann", &[], yes, 1),
            word("ann", &[], yes, 2),
            word("eve", &["dev"], yes, 3),
            word("bob", &["release"], yes, 4),
        ];
        assert_eq!(
            tally(&rule, &words, Some("bob")),
            Tally::Waiting("1 of 2 approvals from ann, group release; so far ann".into())
        );
        words.push(word("kim", &["release", "x"], yes, 5));
        assert_eq!(
            tally(&rule, &words, Some("bob")),
            Tally::Approved("approved by ann, kim".into())
        );
        assert!(records(&words, Some("bob"))[3].ignored.is_some());
    }

    #[test]
    fn a_rejection_ends_it_unless_it_is_somebody_elses_matter() {
        let rule = rule(&[], &["release"], 1);
        let words = [
            word("eve", &["dev"], Decision::Reject, 1),
            word("ann", &["release"], Decision::Approve, 2),
        ];
        assert!(matches!(tally(&rule, &words, None), Tally::Approved(_)));
        let words = [
            word("ann", &["release"], Decision::Approve, 2),
            word("bob", &["release"], Decision::Reject, 3),
        ];
        assert_eq!(tally(&rule, &words, None), Tally::Rejected("bob".into()));
        // A person may change their mind.
        let words = [
            word("bob", &["release"], Decision::Reject, 3),
            word("bob", &["release"], Decision::Approve, 4),
        ];
        assert!(matches!(tally(&rule, &words, None), Tally::Approved(_)));
    }
}
