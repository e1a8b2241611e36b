//! What names a resource: group, version, kind, name and namespace, and which kinds have a namespace at all.

use std::fmt;

/// Group, version and kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Gvk {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
}

impl Gvk {
    pub(crate) fn new(group: &str, version: &str, kind: &str) -> Self {
        Self {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: kind.to_owned(),
        }
    }

    /// From the two fields of an object.
    pub(crate) fn parse(api_version: &str, kind: &str) -> Self {
        let (group, version) = split_api_version(api_version);
        Self::new(group, version, kind)
    }

    /// Whether all parts that `selector` has are the same.
    pub(crate) fn is_selected_by(&self, selector: &Gvk) -> bool {
        (selector.kind.is_empty() || selector.kind == self.kind)
            && (selector.group.is_empty() || selector.group == self.group)
            && (selector.version.is_empty() || selector.version == self.version)
    }

    /// Whether the kind is known to have no namespace.
    pub(crate) fn is_cluster_scoped(&self) -> bool {
        is_cluster_scoped(&self.group, &self.version, &self.kind)
    }
}

impl fmt::Display for Gvk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or = |part: &str, none: &'static str| {
            if part.is_empty() {
                none.to_owned()
            } else {
                part.to_owned()
            }
        };
        write!(
            f,
            "{}.{}.{}",
            or(&self.kind, "[noKind]"),
            or(&self.version, "[noVer]"),
            or(&self.group, "[noGrp]")
        )
    }
}

pub(crate) fn split_api_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

/// The namespace that stands for "has none".
pub(crate) const NOT_A_NAMESPACE: &str = "_non_namespaceable_";

/// What names a resource. An absent namespace is the same as `default`.
#[derive(Debug, Clone, Default)]
pub(crate) struct ResId {
    pub(crate) gvk: Gvk,
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) cluster_scoped: bool,
}

impl ResId {
    pub(crate) fn new(gvk: Gvk, name: &str, namespace: &str) -> Self {
        let cluster_scoped = gvk.is_cluster_scoped();
        Self {
            gvk,
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            cluster_scoped,
        }
    }

    pub(crate) fn effective_namespace(&self) -> &str {
        effective_namespace(self.cluster_scoped, &self.namespace)
    }

    pub(crate) fn same_namespace(&self, other: &ResId) -> bool {
        self.effective_namespace() == other.effective_namespace()
    }

    pub(crate) fn same_gvkn(&self, other: &ResId) -> bool {
        self.name == other.name && self.gvk == other.gvk
    }

    pub(crate) fn same(&self, other: &ResId) -> bool {
        self.same_gvkn(other) && self.same_namespace(other)
    }
}

/// The namespace by which ids are compared.
pub(crate) fn effective_namespace(cluster_scoped: bool, namespace: &str) -> &str {
    match namespace {
        _ if cluster_scoped => NOT_A_NAMESPACE,
        "" => "default",
        namespace => namespace,
    }
}

/// Two ids are the same where gvk, name and effective namespace are; so is their hash.
impl PartialEq for ResId {
    fn eq(&self, other: &Self) -> bool {
        self.same(other)
    }
}

impl Eq for ResId {}

impl std::hash::Hash for ResId {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.gvk.hash(state);
        self.name.hash(state);
        self.effective_namespace().hash(state);
    }
}

impl fmt::Display for ResId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.name.is_empty() {
            "[noName]"
        } else {
            &self.name
        };
        let namespace = if self.namespace.is_empty() {
            "[noNs]"
        } else {
            &self.namespace
        };
        write!(f, "{}/{name}.{namespace}", self.gvk)
    }
}

/// The cluster-scoped kinds that kustomize knows (those of Kubernetes 1.21); all others count as namespaced.
pub(crate) fn is_cluster_scoped(group: &str, version: &str, kind: &str) -> bool {
    let stable = matches!(version, "v1" | "v1beta1");
    match group {
        "" => {
            version == "v1"
                && matches!(
                    kind,
                    "ComponentStatus"
                        | "Namespace"
                        | "Node"
                        | "NodeProxyOptions"
                        | "PersistentVolume"
                )
        }
        "admissionregistration.k8s.io" => {
            stable
                && matches!(
                    kind,
                    "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration"
                )
        }
        "apiextensions.k8s.io" => stable && kind == "CustomResourceDefinition",
        "apiregistration.k8s.io" => stable && kind == "APIService",
        "certificates.k8s.io" => stable && kind == "CertificateSigningRequest",
        "flowcontrol.apiserver.k8s.io" => {
            version == "v1beta1" && matches!(kind, "FlowSchema" | "PriorityLevelConfiguration")
        }
        "networking.k8s.io" => stable && kind == "IngressClass",
        "node.k8s.io" => stable && kind == "RuntimeClass",
        "policy" => version == "v1beta1" && kind == "PodSecurityPolicy",
        "rbac.authorization.k8s.io" => {
            stable && matches!(kind, "ClusterRole" | "ClusterRoleBinding")
        }
        "scheduling.k8s.io" => stable && kind == "PriorityClass",
        "storage.k8s.io" => match kind {
            "CSINode" => version == "v1",
            "CSIDriver" | "StorageClass" | "VolumeAttachment" => stable,
            _ => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_namespace_is_the_default_one() {
        let a = ResId::new(Gvk::parse("v1", "ConfigMap"), "a", "");
        let b = ResId::new(Gvk::parse("v1", "ConfigMap"), "a", "default");
        let c = ResId::new(Gvk::parse("v1", "ConfigMap"), "a", "other");
        assert_eq!(a, b);
        assert_ne!(a, c);
    }

    #[test]
    fn a_cluster_scoped_kind_has_no_namespace() {
        let a = ResId::new(Gvk::parse("v1", "Namespace"), "a", "x");
        assert_eq!(a.effective_namespace(), NOT_A_NAMESPACE);
        assert!(!Gvk::parse("example.com/v1", "Namespace").is_cluster_scoped());
    }
}
