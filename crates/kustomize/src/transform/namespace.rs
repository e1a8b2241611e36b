//! `namespace`: sets the namespace of everything that can have one.

use std::collections::HashSet;

use fairway_yaml::{Kind, Node};

use crate::error::{Error, Result};
use crate::field_spec::{Create, FieldSpec};
use crate::id::Gvk;
use crate::node::{self, Tag};
use crate::resource::Resource;
use crate::resources::Resources;

/// Which subjects of role bindings follow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Subjects {
    /// Those named `default`.
    #[default]
    Default,
    /// All service accounts.
    ServiceAccounts,
    None,
}

/// The transformer's configuration.
#[derive(Debug, Clone, Default)]
pub(crate) struct NamespaceTransformer {
    pub(crate) namespace: String,
    pub(crate) specs: Vec<FieldSpec>,
    /// Leave a namespace that is there.
    pub(crate) unset_only: bool,
    pub(crate) subjects: Subjects,
}

impl NamespaceTransformer {
    pub(crate) fn transform(&self, resources: &mut Resources) -> Result<()> {
        if self.namespace.is_empty() {
            return Ok(());
        }
        for resource in resources.items_mut() {
            let from_helm =
                resource.annotation("internal.config.kubernetes.io/helm-generated") == Some("true");
            if !resource.is_gone() && !from_helm {
                resource.remember_id()?;
                self.one(resource)?;
            }
        }
        let mut seen = HashSet::with_capacity(resources.len());
        for resource in resources.iter() {
            let id = resource.id();
            if let Some(id) = seen.replace(id) {
                return Err(Error::conflict(format!(
                    "namespace transformation produces ID conflict: {id}"
                ))
                .in_field("namespace")
                .hint("two resources differ only in their namespace"));
            }
        }
        Ok(())
    }

    /// Sets the namespace of one resource, and where it refers to itself.
    pub(crate) fn one(&self, resource: &mut Resource) -> Result<()> {
        let gvk = resource.gvk();
        let own = FieldSpec::new(Gvk::default(), "metadata/namespace", true);
        if !gvk.is_cluster_scoped() {
            self.set(resource, &own)?;
        }
        let binding = matches!(gvk.kind.as_str(), "RoleBinding" | "ClusterRoleBinding");
        if binding {
            self.set_subjects(resource)?;
        }
        let core = resource.api_version() == "v1";
        for spec in &self.specs {
            let skip = spec.path == "metadata/namespace"
                || (spec.path == "metadata/name" && !core)
                || (binding
                    && matches!(spec.gvk.kind.as_str(), "RoleBinding" | "ClusterRoleBinding")
                    && spec.path == "subjects/namespace");
            if !skip {
                self.set(resource, spec)?;
            }
        }
        Ok(())
    }

    fn set(&self, resource: &mut Resource, spec: &FieldSpec) -> Result<()> {
        spec.apply(resource, Create::Scalar, &mut |value| self.set_value(value))
    }

    fn set_value(&self, value: &mut Node) -> Result<()> {
        if self.unset_only && !node::is_null(value) && !node::text(value).is_empty() {
            return Ok(());
        }
        node::set_scalar(value, &self.namespace, Tag::Str)
    }

    fn set_subjects(&self, resource: &mut Resource) -> Result<()> {
        let wanted: fn(&Node) -> bool = match self.subjects {
            Subjects::None => return Ok(()),
            Subjects::Default => |subject| {
                subject
                    .get("name")
                    .is_some_and(|name| node::text(name) == "default")
            },
            Subjects::ServiceAccounts => |subject| {
                subject
                    .get("kind")
                    .is_some_and(|kind| node::text(kind) == "ServiceAccount")
            },
        };
        let Some(subjects) = resource.object().get("subjects") else {
            return Ok(());
        };
        if node::is_null(subjects) {
            return Ok(());
        }
        let Some(Kind::Seq(subjects)) =
            node::get_mut(resource.object_mut(), "subjects").map(|s| &mut s.kind)
        else {
            return Err(Error::invalid("subjects must be a list").while_doing(resource.id()));
        };
        for subject in subjects.iter_mut().filter(|subject| wanted(subject)) {
            if subject.get("namespace").is_none() {
                node::insert(subject, "namespace", node::plain(""));
            }
            if let Some(value) = node::get_mut(subject, "namespace") {
                self.set_value(value)?;
            }
        }
        Ok(())
    }
}
