//! The built-in API resources, as a server's discovery lists them.
//!
//! Only versions that a server serves by default are here. The table is made by `cargo xtask schemas`.

use std::sync::OnceLock;

static TABLE: &str = include_str!("../data/kinds.tsv");

/// One resource or subresource of one group and version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// API group, empty for the core group.
    pub group: &'static str,
    /// Version in the group, `v1`.
    pub version: &'static str,
    /// Kind of the objects it takes, `Deployment`.
    pub kind: &'static str,
    /// Plural name as in request paths, `deployments`.
    pub plural: &'static str,
    /// The part after the slash, `status` of `deployments/status`; empty for the resource itself.
    pub subresource: &'static str,
    /// `group/version` of the kind where it is not the resource's own: `autoscaling/v1` for `deployments/scale`.
    pub kind_version: Option<(&'static str, &'static str)>,
    /// Singular name, `deployment`; empty for subresources.
    pub singular: &'static str,
    /// `deploy` and the like.
    pub short_names: Vec<&'static str>,
    /// `all` and the like.
    pub categories: Vec<&'static str>,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// `get`, `list`, … in alphabetical order.
    pub verbs: Vec<&'static str>,
}

impl Resource {
    /// `apps/v1`, or `v1` in the core group.
    pub fn api_version(&self) -> String {
        api_version(self.group, self.version)
    }

    /// The name in discovery: `deployments` or `deployments/status`.
    pub fn name(&self) -> String {
        if self.subresource.is_empty() {
            self.plural.to_owned()
        } else {
            format!("{}/{}", self.plural, self.subresource)
        }
    }
}

/// `group/version`, or only the version in the core group.
pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

/// Group and version of an `apiVersion`.
pub fn split_api_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

/// All resources and subresources, in the order of discovery: the core group first.
pub fn all() -> &'static [Resource] {
    static PARSED: OnceLock<Vec<Resource>> = OnceLock::new();
    PARSED.get_or_init(|| TABLE.lines().map(parse).collect())
}

/// All resources that are not subresources.
pub fn resources() -> impl Iterator<Item = &'static Resource> {
    all()
        .iter()
        .filter(|resource| resource.subresource.is_empty())
}

/// The resource whose objects are of this kind.
pub fn by_kind(group: &str, version: &str, kind: &str) -> Option<&'static Resource> {
    resources().find(|resource| {
        resource.group == group && resource.version == version && resource.kind == kind
    })
}

/// The resource of this plural name.
pub fn by_plural(group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
    resources().find(|resource| {
        resource.group == group && resource.version == version && resource.plural == plural
    })
}

/// Subresources of a resource: `status`, `scale`, ….
pub fn subresources(
    group: &str,
    version: &str,
    plural: &str,
) -> impl Iterator<Item = &'static Resource> {
    all().iter().filter(move |resource| {
        !resource.subresource.is_empty()
            && resource.group == group
            && resource.version == version
            && resource.plural == plural
    })
}

fn parse(line: &'static str) -> Resource {
    let mut columns = line.split('\t');
    let mut column = || columns.next().expect("the generated table has ten columns");
    let (group, version, name, kind, kind_version) =
        (column(), column(), column(), column(), column());
    let (singular, short_names, categories, scope, verbs) =
        (column(), column(), column(), column(), column());
    let (plural, subresource) = name.split_once('/').unwrap_or((name, ""));
    Resource {
        group,
        version,
        kind,
        plural,
        subresource,
        kind_version: kind_version.split_once('/'),
        singular,
        short_names: words(short_names),
        categories: words(categories),
        namespaced: scope == "namespaced",
        verbs: words(verbs),
    }
}

fn words(list: &'static str) -> Vec<&'static str> {
    list.split(',').filter(|word| !word.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deployments_are_as_discovery_has_them() {
        let deployments = by_kind("apps", "v1", "Deployment").unwrap();
        assert_eq!(deployments, by_plural("apps", "v1", "deployments").unwrap());
        assert_eq!(
            (deployments.singular, &deployments.short_names[..]),
            ("deployment", &["deploy"][..])
        );
        assert_eq!(deployments.categories, ["all"]);
        assert!(deployments.namespaced && deployments.verbs.contains(&"deletecollection"));
        let scale = subresources("apps", "v1", "deployments")
            .find(|sub| sub.subresource == "scale")
            .unwrap();
        assert_eq!(
            (scale.kind, scale.kind_version),
            ("Scale", Some(("autoscaling", "v1")))
        );
    }

    #[test]
    fn every_kind_that_can_be_created_has_a_schema() {
        let missing: Vec<_> = all()
            .iter()
            .filter(|resource| {
                resource.verbs.contains(&"create") && !resource.kind.ends_with("Options")
            })
            .filter(|resource| {
                let (group, version) = resource
                    .kind_version
                    .unwrap_or((resource.group, resource.version));
                crate::builtin::schema(group, version, resource.kind).is_none()
            })
            .map(|resource| format!("{} {}", resource.api_version(), resource.name()))
            .collect();
        assert_eq!(missing, Vec::<String>::new());
    }
}
