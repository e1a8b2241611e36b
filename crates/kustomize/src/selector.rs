//! Choosing resources: anchored regular expressions on ids, and Kubernetes' selectors on labels and annotations.

use crate::error::{Error, Result};
use crate::options::Selector;
use crate::pattern::Pattern;
use crate::resource::Resource;

/// A [`Selector`] made ready.
pub(crate) struct Matcher {
    group: Option<Pattern>,
    version: Option<Pattern>,
    kind: Option<Pattern>,
    name: Option<Pattern>,
    namespace: Option<Pattern>,
    pub(crate) labels: Requirements,
    pub(crate) annotations: Requirements,
}

impl Matcher {
    pub(crate) fn new(selector: &Selector) -> Result<Self> {
        Ok(Self {
            group: whole(&selector.group)?,
            version: whole(&selector.version)?,
            kind: whole(&selector.kind)?,
            name: whole(&selector.name)?,
            namespace: whole(&selector.namespace)?,
            labels: Requirements::parse(&selector.label_selector)?,
            annotations: Requirements::parse(&selector.annotation_selector)?,
        })
    }

    pub(crate) fn gvk(&self, (group, version, kind): (&str, &str, &str)) -> bool {
        fits(self.group.as_ref(), group)
            && fits(self.version.as_ref(), version)
            && fits(self.kind.as_ref(), kind)
    }

    pub(crate) fn name(&self, name: &str) -> bool {
        fits(self.name.as_ref(), name)
    }

    pub(crate) fn namespace(&self, namespace: &str) -> bool {
        fits(self.namespace.as_ref(), namespace)
    }

    /// Whether nothing is asked of the id.
    pub(crate) fn any_id(&self) -> bool {
        [
            &self.group,
            &self.version,
            &self.kind,
            &self.name,
            &self.namespace,
        ]
        .iter()
        .all(|part| part.is_none())
    }

    /// Labels and annotations.
    pub(crate) fn metadata(&self, resource: &Resource) -> bool {
        self.labels.matches(&|key| resource.label(key))
            && self.annotations.matches(&|key| resource.annotation(key))
    }

    /// As a patch's target: original or current name and namespace, current group, version and kind.
    pub(crate) fn selects(&self, resource: &Resource) -> bool {
        if !self.gvk(resource.type_parts()) {
            return false;
        }
        let (current, original) = (resource.id(), resource.original_id());
        let namespaces = [
            original.effective_namespace(),
            current.effective_namespace(),
        ];
        namespaces.iter().any(|namespace| self.namespace(namespace))
            && [&original.name, &current.name]
                .iter()
                .any(|name| self.name(name))
            && self.metadata(resource)
    }
}

fn whole(pattern: &str) -> Result<Option<Pattern>> {
    (!pattern.is_empty())
        .then(|| Pattern::whole(pattern))
        .transpose()
}

fn fits(pattern: Option<&Pattern>, text: &str) -> bool {
    pattern.is_none_or(|pattern| pattern.matches(text))
}

/// A Kubernetes selector as `kubectl -l` takes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Requirements(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    Exists,
    Absent,
    In(Vec<String>),
    NotIn(Vec<String>),
    Above(i64),
    Below(i64),
}

impl Requirements {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let bad = |why: &str| Error::invalid(format!("{text:?} is not a valid selector: {why}"));
        let mut out = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let absent = rest.starts_with('!');
            rest = rest.trim_start_matches('!').trim_start();
            let end = rest.find(|c: char| !is_name(c)).unwrap_or(rest.len());
            let key = rest[..end].to_owned();
            if key.is_empty() {
                return Err(bad("a key is missing"));
            }
            rest = rest[end..].trim_start();
            let test = if absent {
                Test::Absent
            } else if let Some((test, after)) = set_test(rest).map_err(&bad)? {
                rest = after;
                test
            } else if let Some((operator, after)) = ["!=", "==", "=", ">", "<"]
                .iter()
                .find_map(|op| Some((*op, rest.strip_prefix(op)?)))
            {
                let after = after.trim_start();
                let end = after.find(|c: char| !is_name(c)).unwrap_or(after.len());
                let value = after[..end].to_owned();
                rest = &after[end..];
                match operator {
                    "!=" => Test::NotIn(vec![value]),
                    ">" | "<" => {
                        let number = value
                            .parse()
                            .map_err(|_| bad("> and < compare whole numbers"))?;
                        if operator == ">" {
                            Test::Above(number)
                        } else {
                            Test::Below(number)
                        }
                    }
                    _ => Test::In(vec![value]),
                }
            } else {
                Test::Exists
            };
            out.push(Requirement { key, test });
            rest = rest.trim_start();
            if rest.is_empty() {
                break;
            }
            rest = rest
                .strip_prefix(',')
                .ok_or_else(|| bad("expected a comma"))?
                .trim_start();
            if rest.is_empty() {
                return Err(bad("it ends in a comma"));
            }
        }
        Ok(Self(out))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn matches<'v>(&self, value: &dyn Fn(&str) -> Option<&'v str>) -> bool {
        self.0.iter().all(|requirement| {
            let value = value(&requirement.key);
            let number = || value.and_then(|value| value.parse::<i64>().ok());
            match &requirement.test {
                Test::Exists => value.is_some(),
                Test::Absent => value.is_none(),
                Test::In(values) => value.is_some_and(|value| values.iter().any(|v| v == value)),
                Test::NotIn(values) => value.is_none_or(|value| values.iter().all(|v| v != value)),
                Test::Above(limit) => number().is_some_and(|number| number > *limit),
                Test::Below(limit) => number().is_some_and(|number| number < *limit),
            }
        })
    }
}

/// `in (a, b)` or `notin (a, b)` at the start of the text, and what follows it.
fn set_test(text: &str) -> std::result::Result<Option<(Test, &str)>, &'static str> {
    let word_end = text
        .find(|c: char| !c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let negative = match &text[..word_end] {
        "in" => false,
        "notin" => true,
        "" => return Ok(None),
        _ => return Err("expected an operator"),
    };
    let list = text[word_end..]
        .trim_start()
        .strip_prefix('(')
        .ok_or("expected ( after in or notin")?;
    let (list, after) = list.split_once(')').ok_or("expected )")?;
    let values: Vec<String> = list
        .split(',')
        .map(|value| value.trim().to_owned())
        .collect();
    if values.iter().any(|value| !value.chars().all(is_name)) {
        return Err("a value is not valid");
    }
    Ok(Some((
        if negative {
            Test::NotIn(values)
        } else {
            Test::In(values)
        },
        after,
    )))
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(selector: &str, labels: &[(&str, &str)]) -> bool {
        let labels = labels.to_vec();
        let get = |key: &str| labels.iter().find(|(k, _)| *k == key).map(|(_, v)| *v);
        Requirements::parse(selector).unwrap().matches(&get)
    }

    #[test]
    fn selectors_read_as_kubectl_reads_them() {
        let labels = [("app", "web"), ("tier", "1")];
        assert!(matches("", &labels));
        assert!(matches("app=web,tier==1", &labels));
        assert!(matches("app in (db, web), !gone", &labels));
        assert!(matches("other!=x,other notin (y)", &labels));
        assert!(matches("tier > 0", &labels));
        assert!(!matches("app", &[]));
        assert!(!matches("app=db", &labels));
    }

    #[test]
    fn broken_selectors_are_errors() {
        for selector in ["=x", "a b", "a in x", "a in (b", "a,", "a > b"] {
            assert!(Requirements::parse(selector).is_err(), "{selector}");
        }
    }

    #[test]
    fn names_match_from_end_to_end() {
        let selector = Selector {
            name: "a|b".into(),
            ..Selector::default()
        };
        let matcher = Matcher::new(&selector).unwrap();
        assert!(matcher.name("a") && matcher.name("b"));
        assert!(!matcher.name("ab") && !matcher.name("cb"));
        assert!(
            Matcher::new(&Selector {
                name: "(".into(),
                ..Selector::default()
            })
            .is_err()
        );
    }
}
