//! What the commit of a promotion says, and how it is known again: by its trailers.
//!
//! Trailers are the last paragraph, and only Fairway's own words stand at the start of a line: what people wrote is
//! indented in the body and loses its line breaks in trailers, so that nobody can forge one by a reason or a name.

use std::fmt::Write as _;

use fairway_types::promotion::{ChangedValue, Intent};

/// The most that one value of a trailer may hold, in characters.
const LONGEST: usize = 500;
/// The most values that the body lists.
const MOST_VALUES: usize = 20;

/// By what a promotion's commit is known on a branch.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Mark {
    /// `<namespace>/<name>` of the Promotion.
    pub promotion: String,
    /// Its uid: a Promotion of the same name that was made later is another.
    pub uid: String,
    /// Whether the commit goes on or back.
    pub intent: Intent,
}

/// What a promotion's commit says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The first line.
    pub subject: String,
    /// Why, in somebody's own words.
    pub reason: Option<String>,
    /// See there.
    pub trailers: Trailers,
}

/// The trailers of a promotion's commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trailers {
    /// `Fairway-Pipeline`: `<namespace>/<name>`.
    pub pipeline: String,
    /// `Fairway-Stage`.
    pub stage: String,
    /// `Fairway-From`: the version before.
    pub from: Option<String>,
    /// `Fairway-To`: the version since.
    pub to: Option<String>,
    /// `Fairway-Cluster`, once for each: the only clusters that it is for.
    pub clusters: Vec<String>,
    /// `Fairway-Requested-By`.
    pub requested_by: Option<String>,
    /// `Fairway-Approved-By`, once for each.
    pub approved_by: Vec<String>,
    /// `Fairway-Promotion`, `Fairway-Promotion-UID`, `Fairway-Intent`.
    pub mark: Mark,
}

impl Message {
    /// The usual words for a promotion or rollback of `what` (the image, say).
    pub fn new(what: &str, reason: Option<&str>, trailers: Trailers) -> Self {
        let place = match trailers.clusters.as_slice() {
            [] => trailers.stage.clone(),
            [one] => format!("{} ({one})", trailers.stage),
            many => format!("{} ({} clusters)", trailers.stage, many.len()),
        };
        let to = trailers.to.as_deref().map(|to| format!(" to {to}"));
        let to = to.unwrap_or_default();
        let subject = match trailers.mark.intent {
            Intent::Promote => format!("Promote {what}{to} in {place}"),
            Intent::Rollback => format!("Roll back {what}{to} in {place}"),
        };
        Self {
            subject,
            reason: reason.map(str::to_owned),
            trailers,
        }
    }

    /// What comes after the first line: for the description of a pull request, which some hosts make the message of the
    /// merge.
    pub fn body(&self, values: &[ChangedValue]) -> String {
        let text = self.text(values);
        text.split_once("\n\n")
            .map_or_else(String::new, |(_, body)| body.to_owned())
    }

    /// The text of the commit, with what it changes.
    pub fn text(&self, values: &[ChangedValue]) -> String {
        let mut text = format!("{}\n\n", one_line(&self.subject));
        for value in values.iter().take(MOST_VALUES) {
            let of = |value: &Option<String>| match value {
                Some(value) => one_line(value),
                None => "(nothing)".to_owned(),
            };
            let _ = write!(text, "- {}", one_line(&value.path));
            if !value.field.is_empty() {
                let _ = write!(text, ": {}", one_line(&value.field));
            }
            let _ = writeln!(text, ": {} -> {}", of(&value.from), of(&value.to));
        }
        if values.len() > MOST_VALUES {
            let _ = writeln!(text, "- and {} more", values.len() - MOST_VALUES);
        }
        if !values.is_empty() {
            text.push('\n');
        }
        if let Some(reason) = self.reason.as_deref().filter(|r| !r.trim().is_empty()) {
            for line in reason.split(is_break).map(one_line) {
                let _ = writeln!(text, "{}", format!("    {line}").trim_end());
            }
            text.push('\n');
        }
        text + &self.trailers.text()
    }
}

impl Trailers {
    fn text(&self) -> String {
        let mut text = String::new();
        let mut add = |key: &str, value: &str| {
            let _ = writeln!(text, "{key}: {}", one_line(value));
        };
        add("Fairway-Pipeline", &self.pipeline);
        add("Fairway-Stage", &self.stage);
        if let Some(from) = &self.from {
            add("Fairway-From", from);
        }
        if let Some(to) = &self.to {
            add("Fairway-To", to);
        }
        for cluster in &self.clusters {
            add("Fairway-Cluster", cluster);
        }
        if let Some(by) = &self.requested_by {
            add("Fairway-Requested-By", by);
        }
        for by in &self.approved_by {
            add("Fairway-Approved-By", by);
        }
        add("Fairway-Intent", self.mark.intent.as_str());
        add("Fairway-Promotion", &self.mark.promotion);
        add("Fairway-Promotion-UID", &self.mark.uid);
        text
    }

    /// Reads the trailers of a commit's message. `None` where it is no promotion's, or one of them that must be there is
    /// not, or stands twice.
    pub fn read(message: &str) -> Option<Self> {
        let pairs = paragraph(message)?;
        let all = |key: &str| -> Vec<String> {
            let of_key = pairs.iter().filter(|(name, _)| *name == key);
            of_key.map(|(_, value)| (*value).to_owned()).collect()
        };
        let once = |key: &str| -> Option<Option<String>> {
            let mut found = all(key);
            match found.len() {
                0 => Some(None),
                1 => Some(found.pop()),
                _ => None,
            }
        };
        let intent = match once("Fairway-Intent")??.as_str() {
            "promote" => Intent::Promote,
            "rollback" => Intent::Rollback,
            _ => return None,
        };
        Some(Self {
            pipeline: once("Fairway-Pipeline")??,
            stage: once("Fairway-Stage")??,
            from: once("Fairway-From")?,
            to: once("Fairway-To")?,
            clusters: all("Fairway-Cluster"),
            requested_by: once("Fairway-Requested-By")?,
            approved_by: all("Fairway-Approved-By"),
            mark: Mark {
                promotion: once("Fairway-Promotion")??,
                uid: once("Fairway-Promotion-UID")??,
                intent,
            },
        })
    }
}

impl Mark {
    /// A line that every message with this mark has, to look for.
    pub(super) fn line(&self) -> String {
        format!("Fairway-Promotion-UID: {}", one_line(&self.uid))
    }

    /// Whether a message has this mark.
    pub fn is_on(&self, message: &str) -> bool {
        Trailers::read(message).is_some_and(|trailers| trailers.mark == self.cleaned())
    }

    fn cleaned(&self) -> Self {
        Self {
            promotion: one_line(&self.promotion),
            uid: one_line(&self.uid),
            intent: self.intent,
        }
    }
}

/// The trailers of the last paragraph that has Fairway's: hosts add paragraphs of their own when they squash.
fn paragraph(message: &str) -> Option<Vec<(&str, &str)>> {
    let message = message.trim_end();
    let (_, body) = message.split_once('\n')?;
    for paragraph in body.rsplit("\n\n") {
        let lines: Option<Vec<_>> = paragraph
            .trim_matches('\n')
            .lines()
            .map(|line| {
                let (key, value) = line.split_once(": ")?;
                let is_key =
                    !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
                is_key.then_some((key, value.trim()))
            })
            .collect();
        match lines {
            Some(pairs) if pairs.iter().any(|(key, _)| *key == "Fairway-Promotion") => {
                return Some(pairs);
            }
            // A paragraph of other trailers; ours may stand above it.
            Some(pairs) if !pairs.is_empty() => {}
            _ => return None,
        }
    }
    None
}

fn is_break(c: char) -> bool {
    matches!(
        c,
        '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}'
    )
}

/// Without line breaks, other control characters, and marks that change the direction of what follows.
pub(crate) fn one_line(text: &str) -> String {
    let visible = |c: char| {
        let reorders = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || is_break(c) || reorders {
            ' '
        } else {
            c
        }
    };
    let text: String = text.chars().map(visible).collect();
    let text: String = text.trim().chars().take(LONGEST).collect();
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(reason: &str, by: &str) -> Message {
        let trailers = Trailers {
            pipeline: "flux-system/myapp".into(),
            stage: "prod".into(),
            from: Some("1.0.0".into()),
            to: Some("1.1.0".into()),
            clusters: Vec::new(),
            requested_by: Some(by.into()),
            approved_by: vec!["bob".into(), "eve".into()],
            mark: Mark {
                promotion: "flux-system/myapp-prod-7".into(),
                uid: "5ac9".into(),
                intent: Intent::Promote,
            },
        };
        Message::new("ghcr.io/acme/myapp", Some(reason), trailers)
    }

    #[test]
    fn people_can_read_it() {
        let value = ChangedValue {
            path: "apps/myapp/overlays/prod/kustomization.yaml".into(),
            field: "images[name=ghcr.io/acme/myapp].newTag".into(),
            from: Some("1.0.0".into()),
            to: Some("1.1.0".into()),
        };
        assert_eq!(
            message("Because\nof this.", "ann").text(&[value]),
            "Promote ghcr.io/acme/myapp to 1.1.0 in prod\n\
             \n\
             - apps/myapp/overlays/prod/kustomization.yaml: images[name=ghcr.io/acme/myapp].newTag: 1.0.0 -> 1.1.0\n\
             \n    Because\n    of this.\n\
             \n\
             Fairway-Pipeline: flux-system/myapp\n\
             Fairway-Stage: prod\n\
             Fairway-From: 1.0.0\n\
             Fairway-To: 1.1.0\n\
             Fairway-Requested-By: ann\n\
             Fairway-Approved-By: bob\n\
             Fairway-Approved-By: eve\n\
             Fairway-Intent: promote\n\
             Fairway-Promotion: flux-system/myapp-prod-7\n\
             Fairway-Promotion-UID: 5ac9\n"
        );
    }

    #[test]
    fn hosts_may_add_trailers_when_they_squash() {
        let message = message("x", "ann");
        let text = message.text(&[]) + "\nCo-authored-by: Bob <bob@example.org>\n";
        assert_eq!(Trailers::read(&text).as_ref(), Some(&message.trailers));
        // A host that puts prose behind them leaves none that count.
        assert_eq!(Trailers::read(&(message.text(&[]) + "\nReviewed.\n")), None);
        assert_eq!(Trailers::read("Promote x"), None);
        assert_eq!(Trailers::read(""), None);
        let twice = message.text(&[]) + "Fairway-Promotion: a/b\n";
        assert_eq!(Trailers::read(&twice), None);
    }

    proptest! {
        #[test]
        fn nothing_that_people_write_becomes_a_trailer(
            reason in "(\\PC|\n|\r|\u{85}|\u{2028}|Fairway-Promotion: a/b|\n\nFairway-To: 9|---\n|: ){0,12}",
            by in "(\\PC|\n|\r\n|\u{2029}|\nFairway-Approved-By: me|: ){0,8}",
        ) {
            let message = message(&reason, &by);
            let text = message.text(&[]);
            let read = Trailers::read(&text).unwrap();
            prop_assert_eq!(&read.mark, &message.trailers.mark);
            prop_assert_eq!(&read.approved_by, &message.trailers.approved_by);
            prop_assert_eq!(read.to.as_deref(), Some("1.1.0"));
            prop_assert_eq!(read.requested_by.unwrap(), one_line(&by));
            prop_assert!(message.trailers.mark.is_on(&text));
            // Every line that starts with Fairway's words is in the last paragraph.
            let last = text.trim_end().rsplit("\n\n").next().unwrap().lines().count();
            let ours = text.lines().filter(|line| line.starts_with("Fairway-")).count();
            prop_assert_eq!(ours, last);
        }
    }
}
