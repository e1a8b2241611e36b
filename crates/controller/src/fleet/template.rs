//! `{{ cluster.name }}` in the strings of a FleetKustomization's template.
//!
//! Known are `cluster.name`, `cluster.namespace` and `cluster.labels.KEY`. A value that is missing or empty is an error,
//! since an empty string in a path would point a cluster at another one's folder. Other `{{ … }}` are not ours and stay.

use std::collections::BTreeMap;

use serde_json::Value;

/// What a template may say about a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterFacts {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
}

/// Why a template has no result for a cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The cluster lacks the label.
    #[error(
        "{at}: cluster '{cluster}' has no label '{key}'; hint: label it, or leave it out of the selection"
    )]
    MissingLabel {
        /// Where in the template.
        at: String,
        /// The cluster.
        cluster: String,
        /// The label's key.
        key: String,
    },
    /// The label is there, but empty.
    #[error("{at}: label '{key}' of cluster '{cluster}' is empty")]
    EmptyLabel {
        /// Where in the template.
        at: String,
        /// The cluster.
        cluster: String,
        /// The label's key.
        key: String,
    },
    /// `{{ cluster.something }}`.
    #[error(
        "{at}: unknown expression '{{{{ {expression} }}}}'; hint: cluster.name, cluster.namespace and cluster.labels.KEY are known"
    )]
    Unknown {
        /// Where in the template.
        at: String,
        /// What stands between the braces.
        expression: String,
    },
}

/// The template with each expression replaced; keys of maps are left alone.
pub fn render(template: &Value, cluster: &ClusterFacts) -> Result<Value, Error> {
    walk(template, cluster, "template")
}

fn walk(value: &Value, cluster: &ClusterFacts, at: &str) -> Result<Value, Error> {
    Ok(match value {
        Value::String(text) => Value::String(render_text(text, cluster, at)?),
        Value::Array(items) => Value::Array(
            items
                .iter()
                .enumerate()
                .map(|(index, item)| walk(item, cluster, &format!("{at}[{index}]")))
                .collect::<Result<_, _>>()?,
        ),
        Value::Object(map) => Value::Object(
            map.iter()
                .map(|(key, item)| Ok((key.clone(), walk(item, cluster, &format!("{at}.{key}"))?)))
                .collect::<Result<_, _>>()?,
        ),
        other => other.clone(),
    })
}

/// One string with its expressions replaced. `at` says where it stands, for errors.
pub fn render_text(text: &str, cluster: &ClusterFacts, at: &str) -> Result<String, Error> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find("{{") {
        let Some(length) = rest[open + 2..].find("}}") else {
            break;
        };
        let expression = rest[open + 2..open + 2 + length].trim();
        let end = open + 2 + length + 2;
        match expression.strip_prefix("cluster.") {
            Some(field) => {
                out.push_str(&rest[..open]);
                out.push_str(lookup(field, cluster, at)?);
                rest = &rest[end..];
            }
            None => {
                // Not ours: an inner "{{" may begin within what looked like its text.
                out.push_str(&rest[..open + 2]);
                rest = &rest[open + 2..];
            }
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn lookup<'c>(field: &str, cluster: &'c ClusterFacts, at: &str) -> Result<&'c str, Error> {
    match field {
        "name" => Ok(&cluster.name),
        "namespace" => Ok(&cluster.namespace),
        _ => {
            let key = field
                .strip_prefix("labels.")
                .filter(|key| !key.is_empty())
                .ok_or_else(|| Error::Unknown {
                    at: at.to_owned(),
                    expression: format!("cluster.{field}"),
                })?;
            match cluster.labels.get(key) {
                Some(value) if !value.is_empty() => Ok(value),
                found => {
                    let (at, cluster, key) = (at.to_owned(), cluster.name.clone(), key.to_owned());
                    Err(if found.is_some() {
                        Error::EmptyLabel { at, cluster, key }
                    } else {
                        Error::MissingLabel { at, cluster, key }
                    })
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn prod() -> ClusterFacts {
        ClusterFacts {
            name: "prod-eu-west-1".into(),
            namespace: "flux-system".into(),
            labels: [
                ("region", "eu-west-1"),
                ("team", ""),
                ("example.com/tier", "gold"),
            ]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into(),
        }
    }

    #[test]
    fn strings_everywhere_are_rendered_and_the_rest_is_kept() {
        let template = json!({
            "path": "./clusters/{{ cluster.labels.region }}/{{cluster.name}}",
            "patches": [{"patch": "tier: {{ cluster.labels.example.com/tier }}, {{ .Values.x }} {{ cluster.namespace }}"}],
            "prune": true, "n": 3,
        });
        assert_eq!(
            render(&template, &prod()).unwrap(),
            json!({
                "path": "./clusters/eu-west-1/prod-eu-west-1",
                "patches": [{"patch": "tier: gold, {{ .Values.x }} flux-system"}],
                "prune": true, "n": 3,
            })
        );
    }

    #[test]
    fn a_missing_value_is_an_error_never_empty() {
        let failed = |text: &str| {
            render(&json!({"a": [text]}), &prod())
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            failed("{{ cluster.labels.environment }}"),
            "template.a[0]: cluster 'prod-eu-west-1' has no label 'environment'; hint: label it, or leave it out of the selection"
        );
        assert_eq!(
            failed("{{ cluster.labels.team }}"),
            "template.a[0]: label 'team' of cluster 'prod-eu-west-1' is empty"
        );
        assert!(
            failed("{{ cluster.labels. }}").contains("unknown expression '{{ cluster.labels. }}'")
        );
        assert!(failed("{{ cluster.size }}").contains("unknown expression"));
    }

    proptest! {
        #[test]
        fn never_panics_and_leaves_foreign_text(text in "[{} a-c.é]{0,30}") {
            prop_assert_eq!(render_text(&text, &prod(), "t").unwrap(), text);
        }
    }
}
