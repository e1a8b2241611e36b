//! `{{ stage }}` and the like in queries and in the texts of a Job.
//!
//! Values come from Git and from requests, so none may end the string that it is put in. In PromQL a value is therefore only
//! put between quotes, escaped for the kind of quotes; for a regular-expression matcher `{{ clusters | re }}` escapes what
//! regular expressions know too (the names of a list stay alternatives).

use std::collections::BTreeMap;

use serde_json::Value;

/// Why a template cannot be filled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    /// `{{` without `}}`.
    #[error("'{{{{' is not closed")]
    Open,
    /// The variable is not known, or has no value here.
    #[error("'{{{{ {name} }}}}' has no value here\nhint: there are {known}")]
    Unknown {
        /// The variable.
        name: String,
        /// What there is.
        known: String,
    },
    /// Only `re` is known after a bar.
    #[error("'| {0}' is not known\nhint: 're' escapes for a regular expression")]
    Filter(String),
    /// A value outside of quotes could change what is asked.
    #[error("'{{{{ {0} }}}}' stands outside of quotes\nhint: write \"{{{{ {0} }}}}\"")]
    Bare(String),
    /// A raw string cannot hold a backtick.
    #[error("the value of '{{{{ {0} }}}}' has a backtick, which a string in backticks cannot hold")]
    Backtick(String),
}

type Variables = BTreeMap<&'static str, String>;

/// One piece of a template.
enum Piece<'a> {
    Text(&'a str),
    Value { name: &'a str, regex: bool },
}

fn pieces(template: &str) -> Result<Vec<Piece<'_>>, TemplateError> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some(begin) = rest.find("{{") {
        pieces.push(Piece::Text(&rest[..begin]));
        let end = rest[begin..].find("}}").ok_or(TemplateError::Open)? + begin;
        let inner = rest[begin + 2..end].trim();
        let (name, filter) = match inner.split_once('|') {
            Some((name, filter)) => (name.trim(), Some(filter.trim())),
            None => (inner, None),
        };
        match filter {
            None | Some("re") => {}
            Some(other) => return Err(TemplateError::Filter(other.to_owned())),
        }
        let name = name.strip_prefix("subject.").unwrap_or(name);
        pieces.push(Piece::Value {
            name,
            regex: filter.is_some(),
        });
        rest = &rest[end + 2..];
    }
    pieces.push(Piece::Text(rest));
    Ok(pieces)
}

fn value<'a>(variables: &'a Variables, name: &str) -> Result<&'a str, TemplateError> {
    variables
        .get(name)
        .map(String::as_str)
        .ok_or_else(|| TemplateError::Unknown {
            name: name.to_owned(),
            known: variables.keys().copied().collect::<Vec<_>>().join(", "),
        })
}

/// Fills a PromQL query.
pub(crate) fn promql(template: &str, variables: &Variables) -> Result<String, TemplateError> {
    let mut out = String::with_capacity(template.len());
    let mut quote = None;
    for piece in pieces(template)? {
        match piece {
            Piece::Text(text) => {
                quote = quote_after(quote, text);
                out.push_str(text);
            }
            Piece::Value { name, regex } => {
                let value = value(variables, name)?;
                let value = if regex {
                    let alternatives: Vec<String> = if name == "clusters" {
                        value.split('|').map(escape_regex).collect()
                    } else {
                        vec![escape_regex(value)]
                    };
                    alternatives.join("|")
                } else {
                    value.to_owned()
                };
                match quote {
                    None => return Err(TemplateError::Bare(name.to_owned())),
                    Some('`') if value.contains('`') => {
                        return Err(TemplateError::Backtick(name.to_owned()));
                    }
                    Some('`') => out.push_str(&value),
                    Some(_) => out.push_str(&escape_string(&value)),
                }
            }
        }
    }
    Ok(out)
}

/// Which quotes are open after a text.
fn quote_after(mut quote: Option<char>, text: &str) -> Option<char> {
    let mut chars = text.chars();
    let mut comment = false;
    while let Some(c) = chars.next() {
        match quote {
            _ if comment => comment = c != '\n',
            None if c == '#' => comment = true,
            None if matches!(c, '"' | '\'' | '`') => quote = Some(c),
            Some('`') if c == '`' => quote = None,
            Some('"' | '\'') if c == '\\' => {
                chars.next();
            }
            Some(open) if c == open => quote = None,
            _ => {}
        }
    }
    quote
}

/// For a string in single or double quotes: PromQL escapes as Go does.
fn escape_string(value: &str) -> String {
    value.chars().fold(String::new(), |mut out, c| {
        match c {
            '"' | '\'' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                use std::fmt::Write as _;
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
        out
    })
}

/// For an RE2 regular expression.
fn escape_regex(value: &str) -> String {
    value.chars().fold(String::new(), |mut out, c| {
        if r"\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
        out
    })
}

/// Fills a plain text.
pub(crate) fn text(template: &str, variables: &Variables) -> Result<String, TemplateError> {
    let mut out = String::with_capacity(template.len());
    for piece in pieces(template)? {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Value { name, .. } => out.push_str(value(variables, name)?),
        }
    }
    Ok(out)
}

/// Fills the texts of a JSON value; keys stay as they are.
pub(crate) fn json(template: &mut Value, variables: &Variables) -> Result<(), TemplateError> {
    match template {
        Value::String(found) => {
            if found.contains("{{") {
                *found = text(found, variables)?;
            }
        }
        Value::Array(items) => {
            for item in items {
                json(item, variables)?;
            }
        }
        Value::Object(fields) => {
            for field in fields.values_mut() {
                json(field, variables)?;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn variables() -> Variables {
        BTreeMap::from([
            ("stage", "prod".to_owned()),
            ("version", "1.2.3+a\"b\\c".to_owned()),
            ("clusters", "prod-eu.1|prod-us".to_owned()),
        ])
    }

    #[test]
    fn queries_are_filled_between_quotes() {
        let filled = promql(
            r#"rate(errors{stage="{{ stage }}",version='{{version}}',cluster=~"{{ clusters | re }}"}[1m])"#,
            &variables(),
        );
        assert_eq!(
            filled.unwrap(),
            r#"rate(errors{stage="prod",version='1.2.3+a\"b\\c',cluster=~"prod-eu\\.1|prod-us"}[1m])"#
        );
        assert_eq!(promql("up", &variables()).unwrap(), "up");
        assert_eq!(
            promql("up{a=`{{ stage }}`} # it's", &variables()).unwrap(),
            "up{a=`prod`} # it's"
        );
    }

    #[test]
    fn what_could_change_the_query_is_refused() {
        let bare = promql("up{{ stage }}", &variables());
        assert_eq!(bare, Err(TemplateError::Bare("stage".into())));
        // The quote in the comment opens nothing.
        let comment = promql("up # \"\n + {{ stage }}", &variables());
        assert_eq!(comment, Err(TemplateError::Bare("stage".into())));
        let mut ticks = variables();
        ticks.insert("version", "`".to_owned());
        assert_eq!(
            promql("up{a=`{{ version }}`}", &ticks),
            Err(TemplateError::Backtick("version".into()))
        );
        assert!(
            matches!(promql("a{b=\"{{ wave }}\"}", &variables()), Err(TemplateError::Unknown { name, .. }) if name == "wave")
        );
        assert_eq!(promql("{{ stage", &variables()), Err(TemplateError::Open));
        assert_eq!(
            promql("\"{{ stage | upper }}\"", &variables()),
            Err(TemplateError::Filter("upper".into()))
        );
    }

    #[test]
    fn jobs_are_filled() {
        let mut job = serde_json::json!({"spec": {"args": ["--version={{ version }}", 3]}});
        json(&mut job, &variables()).unwrap();
        assert_eq!(job["spec"]["args"][0], "--version=1.2.3+a\"b\\c");
    }

    /// Reads a PromQL string in double quotes back, as Go's rules say.
    fn unquote(text: &str) -> Option<String> {
        let inner = text.strip_prefix('"')?.strip_suffix('"')?;
        serde_json::from_str(&format!("\"{}\"", inner.replace("\\'", "'"))).ok()
    }

    proptest! {
        #[test]
        fn a_value_never_leaves_its_string(value in "\\PC*") {
            let variables = BTreeMap::from([("version", value.clone())]);
            let filled = promql("\"{{ version }}\"", &variables).unwrap();
            prop_assert_eq!(unquote(&filled), Some(value));
            prop_assert_eq!(quote_after(None, &filled), None);
        }
    }
}
