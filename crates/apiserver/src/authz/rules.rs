//! Policy rules: what one rule allows, and whether a set of rules covers another.

use serde_json::{Map, Value, json};

use crate::auth::Attributes;

const ALL: &str = "*";

/// One `rbac.authorization.k8s.io/v1` `PolicyRule`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rule {
    /// Verbs, or `*`.
    pub verbs: Vec<String>,
    /// API groups, or `*`.
    pub groups: Vec<String>,
    /// `pods`, `pods/log`, `*/scale` or `*`.
    pub resources: Vec<String>,
    /// Names that the rule is limited to; none means all.
    pub names: Vec<String>,
    /// Paths, with a `*` at the end for everything below.
    pub urls: Vec<String>,
}

impl Rule {
    /// Reads the `rules` of a Role or ClusterRole.
    pub fn read_all(role: &Value) -> Vec<Self> {
        role["rules"]
            .as_array()
            .map(|rules| rules.iter().map(Self::read).collect())
            .unwrap_or_default()
    }

    fn read(rule: &Value) -> Self {
        let strings = |field: &str| -> Vec<String> {
            rule[field]
                .as_array()
                .map(|items| {
                    items
                        .iter()
                        .filter_map(Value::as_str)
                        .map(str::to_owned)
                        .collect()
                })
                .unwrap_or_default()
        };
        Self {
            verbs: strings("verbs"),
            groups: strings("apiGroups"),
            resources: strings("resources"),
            names: strings("resourceNames"),
            urls: strings("nonResourceURLs"),
        }
    }

    /// The rule as JSON, empty lists but `verbs` left out.
    pub fn to_json(&self) -> Value {
        let mut rule = Map::new();
        rule.insert("verbs".to_owned(), json!(self.verbs));
        for (field, list) in [
            ("apiGroups", &self.groups),
            ("resources", &self.resources),
            ("resourceNames", &self.names),
            ("nonResourceURLs", &self.urls),
        ] {
            if !list.is_empty() {
                rule.insert(field.to_owned(), json!(list));
            }
        }
        Value::Object(rule)
    }

    /// Whether the rule allows the request.
    pub fn allows(&self, asked: &Attributes) -> bool {
        if !matches(&self.verbs, &asked.verb) {
            return false;
        }
        match &asked.path {
            None => {
                matches(&self.groups, &asked.group)
                    && self.allows_resource(asked)
                    && (self.names.is_empty() || self.names.contains(&asked.name))
            }
            Some(path) => self.urls.iter().any(|url| url_covers(url, path)),
        }
    }

    fn allows_resource(&self, target: &Attributes) -> bool {
        self.resources.iter().any(|rule| {
            if rule == ALL {
                return true;
            }
            match rule.split_once('/') {
                None => target.subresource.is_empty() && *rule == target.resource,
                Some((resource, subresource)) => {
                    subresource == target.subresource
                        && !subresource.is_empty()
                        && (resource == ALL || resource == target.resource)
                }
            }
        })
    }

    /// How Kubernetes prints a rule in the message of a refused grant.
    pub fn compact(&self) -> String {
        let parts: Vec<String> = [
            ("APIGroups", &self.groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.urls),
            ("ResourceNames", &self.names),
            ("Verbs", &self.verbs),
        ]
        .into_iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(name, list)| format!("{name}:{}", quoted(list)))
        .collect();
        format!("{{{}}}", parts.join(", "))
    }

    /// Everything that can be allowed: what writing an aggregated role requires.
    pub fn full_authority() -> Vec<Self> {
        let all = || vec![ALL.to_owned()];
        vec![
            Self {
                verbs: all(),
                groups: all(),
                resources: all(),
                ..Self::default()
            },
            Self {
                verbs: all(),
                urls: all(),
                ..Self::default()
            },
        ]
    }

    /// The rule in pieces of one verb, one group, one resource and at most one name each.
    fn pieces(&self) -> Vec<Self> {
        let one = |text: &String| vec![text.clone()];
        let mut pieces = Vec::new();
        for verb in &self.verbs {
            for group in &self.groups {
                for resource in &self.resources {
                    let piece = Self {
                        verbs: one(verb),
                        groups: one(group),
                        resources: one(resource),
                        ..Self::default()
                    };
                    if self.names.is_empty() {
                        pieces.push(piece);
                    } else {
                        pieces.extend(self.names.iter().map(|name| Self {
                            names: one(name),
                            ..piece.clone()
                        }));
                    }
                }
            }
            pieces.extend(self.urls.iter().map(|url| Self {
                verbs: one(verb),
                urls: one(url),
                ..Self::default()
            }));
        }
        pieces
    }

    fn covers_piece(&self, piece: &Self) -> bool {
        let names_covered = if piece.names.is_empty() {
            self.names.is_empty()
        } else {
            self.names.is_empty() || piece.names.iter().all(|name| self.names.contains(name))
        };
        names_covered
            && piece.verbs.iter().all(|verb| matches(&self.verbs, verb))
            && piece
                .groups
                .iter()
                .all(|group| matches(&self.groups, group))
            && piece
                .resources
                .iter()
                .all(|resource| resource_covered(&self.resources, resource))
            && piece
                .urls
                .iter()
                .all(|url| self.urls.iter().any(|own| url_covers(own, url)))
    }
}

/// The parts of `wanted` that no single rule of `held` allows, merged by verb for reading.
pub(super) fn missing(held: &[Rule], wanted: &[Rule]) -> Vec<Rule> {
    let mut merged: Vec<Rule> = Vec::new();
    let uncovered = wanted
        .iter()
        .flat_map(Rule::pieces)
        .filter(|piece| !held.iter().any(|rule| rule.covers_piece(piece)));
    for piece in uncovered {
        let same = merged.iter_mut().find(|rule| {
            rule.urls.is_empty()
                && piece.urls.is_empty()
                && rule.groups == piece.groups
                && rule.resources == piece.resources
                && rule.names == piece.names
        });
        match same {
            Some(rule) if rule.verbs.contains(&piece.verbs[0]) => {}
            Some(rule) => rule.verbs.extend(piece.verbs),
            None => merged.push(piece),
        }
    }
    merged
}

/// Go's `%q` of a list of strings.
pub(super) fn quoted(list: &[String]) -> String {
    let items: Vec<String> = list.iter().map(|item| format!("{item:?}")).collect();
    format!("[{}]", items.join(" "))
}

fn matches(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == ALL || item == wanted)
}

fn resource_covered(held: &[String], wanted: &str) -> bool {
    if matches(held, wanted) {
        return true;
    }
    wanted.split_once('/').is_some_and(|(_, subresource)| {
        held.iter()
            .any(|own| own.strip_prefix("*/") == Some(subresource))
    })
}

fn url_covers(rule: &str, wanted: &str) -> bool {
    rule == ALL
        || rule == wanted
        || rule
            .strip_suffix('*')
            .is_some_and(|prefix| wanted.starts_with(prefix.trim_end_matches('*')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(json: Value) -> Rule {
        Rule::read(&json)
    }

    fn on(verb: &str, group: &str, resource: &str, subresource: &str, name: &str) -> Attributes {
        Attributes {
            verb: verb.into(),
            group: group.into(),
            resource: resource.into(),
            subresource: subresource.into(),
            name: name.into(),
            ..Attributes::default()
        }
    }

    fn path(verb: &str, path: &str) -> Attributes {
        Attributes {
            verb: verb.into(),
            path: Some(path.into()),
            ..Attributes::default()
        }
    }

    #[test]
    fn subresources_need_to_be_named() {
        let pods = rule(json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}));
        assert!(pods.allows(&on("get", "", "pods", "", "a")));
        assert!(!pods.allows(&on("get", "", "pods", "log", "a")));
        assert!(!pods.allows(&on("list", "", "pods", "", "")));
        assert!(!pods.allows(&on("get", "metrics.k8s.io", "pods", "", "a")));
        let scale = rule(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*/scale"]}));
        assert!(scale.allows(&on("update", "apps", "deployments", "scale", "a")));
        assert!(!scale.allows(&on("update", "apps", "deployments", "", "a")));
        let all = rule(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
        assert!(all.allows(&on("update", "apps", "deployments", "status", "a")));
        assert!(!all.allows(&path("get", "/healthz")));
    }

    #[test]
    fn resource_names_exclude_collections() {
        let one = rule(
            json!({"verbs": ["*"], "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["a"]}),
        );
        assert!(one.allows(&on("get", "", "configmaps", "", "a")));
        assert!(!one.allows(&on("get", "", "configmaps", "", "b")));
        assert!(!one.allows(&on("list", "", "configmaps", "", "")));
    }

    #[test]
    fn paths_match_exactly_or_by_prefix() {
        let paths = rule(json!({"verbs": ["get"], "nonResourceURLs": ["/healthz", "/apis/*"]}));
        assert!(paths.allows(&path("get", "/healthz")));
        assert!(paths.allows(&path("get", "/apis/apps/v1")));
        assert!(!paths.allows(&path("get", "/healthz/etcd")));
        assert!(!paths.allows(&path("post", "/healthz")));
    }

    #[test]
    fn what_is_missing_is_told_by_resource() {
        let held = [rule(
            json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}),
        )];
        let wanted = [rule(
            json!({"verbs": ["get", "watch", "delete"], "apiGroups": [""], "resources": ["pods", "secrets"]}),
        )];
        let missing: Vec<String> = missing(&held, &wanted).iter().map(Rule::compact).collect();
        assert_eq!(
            missing,
            [
                r#"{APIGroups:[""], Resources:["secrets"], Verbs:["get" "watch" "delete"]}"#,
                r#"{APIGroups:[""], Resources:["pods"], Verbs:["watch" "delete"]}"#,
            ]
        );
    }

    #[test]
    fn a_rule_for_one_name_does_not_cover_all_names() {
        let one = rule(
            json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"]}),
        );
        let all = rule(json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}));
        assert_eq!(
            missing(std::slice::from_ref(&one), std::slice::from_ref(&all)).len(),
            1
        );
        assert!(missing(&[all], &[one]).is_empty());
    }
}
