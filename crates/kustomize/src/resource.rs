//! One resource on its way through a build: its object, and what its names were before.

use std::sync::Arc;

use fairway_yaml::Node;

use crate::error::{Error, Result};
use crate::id::{Gvk, ResId, effective_namespace, is_cluster_scoped, split_api_version};
use crate::node::{self, Tag};

mod metadata;
mod shared;

/// What a generated resource does to one of the same id.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Behavior {
    /// Nothing was said: must be new.
    #[default]
    Unspecified,
    Create,
    Replace,
    Merge,
}

impl Behavior {
    pub(crate) fn parse(text: &str) -> Self {
        match text {
            "create" => Self::Create,
            "replace" => Self::Replace,
            "merge" => Self::Merge,
            _ => Self::Unspecified,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Create => "create",
            Self::Replace => "replace",
            Self::Merge => "merge",
        }
    }
}

/// A name that a resource had; group and version are those that it has now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Previous {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) kind: String,
}

/// A resource. Cloning shares the object until one of the copies is changed.
#[derive(Debug, Clone)]
pub(crate) struct Resource {
    object: Arc<Node>,
    pub(crate) previous: Vec<Previous>,
    pub(crate) prefixes: Vec<String>,
    pub(crate) suffixes: Vec<String>,
    pub(crate) behavior: Behavior,
    pub(crate) needs_hash: bool,
    pub(crate) allow_name_change: bool,
    pub(crate) allow_kind_change: bool,
    /// The vars that read from this resource.
    pub(crate) vars: Vec<String>,
    /// The file of the tree that the resource comes from.
    pub(crate) source: Option<Arc<str>>,
    /// How many shared scalars the object was given.
    shared: u32,
}

/// Domain of the annotations with which kustomize keeps its books.
const BOOKKEEPING: &str = "internal.config.kubernetes.io/";

impl Resource {
    pub(crate) fn new(object: Node) -> Self {
        let mut resource = Self {
            object: Arc::new(object),
            previous: Vec::new(),
            prefixes: Vec::new(),
            suffixes: Vec::new(),
            behavior: Behavior::Unspecified,
            needs_hash: false,
            allow_name_change: false,
            allow_kind_change: false,
            vars: Vec::new(),
            source: None,
            shared: 0,
        };
        if let Some(annotations) = resource.metadata("annotations") {
            let own = |name: &str| {
                annotations
                    .get(&format!("{BOOKKEEPING}{name}"))
                    .map(|value| node::text(value).to_owned())
            };
            let needs_hash = own("needsHashSuffix").is_some_and(|value| value == "enabled");
            let behavior = own("generatorBehavior")
                .map_or(Behavior::Unspecified, |value| Behavior::parse(&value));
            let parts = |name: &str| -> Vec<String> {
                own(name).map_or_else(Vec::new, |value| {
                    value.split(',').map(str::to_owned).collect()
                })
            };
            let previous = parts("previousNames")
                .into_iter()
                .zip(parts("previousNamespaces"))
                .zip(parts("previousKinds"))
                .map(|((name, namespace), kind)| Previous {
                    name,
                    namespace,
                    kind,
                })
                .collect();
            let (prefixes, suffixes) = (parts("prefixes"), parts("suffixes"));
            resource.needs_hash = needs_hash;
            resource.behavior = behavior;
            resource.previous = previous;
            resource.prefixes = prefixes;
            resource.suffixes = suffixes;
        }
        resource
    }

    pub(crate) fn object(&self) -> &Node {
        &self.object
    }

    pub(crate) fn object_mut(&mut self) -> &mut Node {
        Arc::make_mut(&mut self.object)
    }

    pub(crate) fn take_object(self) -> Node {
        Arc::unwrap_or_clone(self.object)
    }

    /// Takes the object out, to put a changed one back with [`Resource::set_object`].
    pub(crate) fn lend_object(&mut self) -> Node {
        Arc::unwrap_or_clone(std::mem::replace(
            &mut self.object,
            Arc::new(node::plain("")),
        ))
    }

    pub(crate) fn set_object(&mut self, object: Node) {
        self.object = Arc::new(object);
    }

    /// Whether a patch deleted the resource, or left nothing of it.
    pub(crate) fn is_gone(&self) -> bool {
        node::is_empty(&self.object)
    }

    pub(crate) fn api_version(&self) -> &str {
        self.object.get("apiVersion").map_or("", node::text)
    }

    pub(crate) fn kind(&self) -> &str {
        self.object.get("kind").map_or("", node::text)
    }

    pub(crate) fn type_parts(&self) -> (&str, &str, &str) {
        let (group, version) = split_api_version(self.api_version());
        (group, version, self.kind())
    }

    pub(crate) fn gvk(&self) -> Gvk {
        Gvk::parse(self.api_version(), self.kind())
    }

    fn metadata(&self, field: &str) -> Option<&Node> {
        self.object.get("metadata")?.get(field)
    }

    pub(crate) fn name(&self) -> &str {
        self.metadata("name")
            .filter(|value| !node::is_null(value))
            .map_or("", node::text)
    }

    pub(crate) fn namespace(&self) -> &str {
        self.metadata("namespace")
            .filter(|value| !node::is_null(value))
            .map_or("", node::text)
    }

    /// The current id.
    pub(crate) fn id(&self) -> ResId {
        ResId::new(self.gvk(), self.name(), self.namespace())
    }

    /// The current id as one text, which differs where the ids do.
    pub(crate) fn id_text(&self) -> String {
        let (group, version, kind) = self.type_parts();
        let (name, namespace) = (self.name(), self.namespace());
        let namespace = effective_namespace(is_cluster_scoped(group, version, kind), namespace);
        [group, version, kind, name, namespace].join("\0")
    }

    /// Kind, name and namespace: those of now, then the earlier ones from the oldest on.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        std::iter::once_with(|| (self.kind(), self.name(), self.namespace())).chain(
            self.previous
                .iter()
                .map(|p| (p.kind.as_str(), p.name.as_str(), p.namespace.as_str())),
        )
    }

    /// The first id that the resource had.
    pub(crate) fn original_id(&self) -> ResId {
        match self.previous.first() {
            Some(previous) => self.previous_id(previous),
            None => self.id(),
        }
    }

    fn previous_id(&self, previous: &Previous) -> ResId {
        let (group, version, _) = self.type_parts();
        ResId {
            gvk: Gvk::new(group, version, &previous.kind),
            name: previous.name.clone(),
            namespace: previous.namespace.clone(),
            cluster_scoped: false,
        }
    }

    /// All ids: the current one, then the earlier ones from the oldest on.
    pub(crate) fn ids(&self) -> impl Iterator<Item = ResId> + '_ {
        std::iter::once_with(|| self.id()).chain(
            self.previous
                .iter()
                .map(|previous| self.previous_id(previous)),
        )
    }

    /// Whether the resource has or had the id.
    pub(crate) fn answers_to(&self, id: &ResId) -> bool {
        let (group, version, kind) = self.type_parts();
        if group != id.gvk.group || version != id.gvk.version {
            return false;
        }
        let earlier = self.previous.iter().any(|previous| {
            let namespace = if previous.namespace.is_empty() {
                "default"
            } else {
                &previous.namespace
            };
            previous.name == id.name
                && previous.kind == id.gvk.kind
                && namespace == id.effective_namespace()
        });
        earlier || (kind == id.gvk.kind && self.name() == id.name && self.id().same_namespace(id))
    }

    /// Keeps the current id among the previous ones. A resource that lost its name has none.
    pub(crate) fn remember_id(&mut self) -> Result<()> {
        let id = self.id();
        if id.name.is_empty() || id.gvk.kind.is_empty() {
            return Err(lost_its_name().while_doing(self.original_id()));
        }
        self.previous.push(Previous {
            namespace: id.effective_namespace().to_owned(),
            name: id.name,
            kind: id.gvk.kind,
        });
        Ok(())
    }

    /// Forgets all earlier names, and what a generator wanted.
    pub(crate) fn forget_books(&mut self) {
        self.previous.clear();
        self.prefixes.clear();
        self.suffixes.clear();
        self.needs_hash = false;
        self.behavior = Behavior::Unspecified;
    }

    /// Whether kustomize would keep books about the resource in annotations of its own.
    pub(crate) fn has_books(&self) -> bool {
        !self.previous.is_empty()
            || !self.prefixes.is_empty()
            || !self.suffixes.is_empty()
            || self.needs_hash
            || self.behavior != Behavior::Unspecified
    }

    pub(crate) fn set_name(&mut self, name: &str) -> Result<()> {
        self.set_metadata_text("name", name)
    }

    pub(crate) fn set_kind(&mut self, kind: &str) -> Result<()> {
        node::set_entry(self.object_mut(), "kind", kind, Tag::Unset)
    }

    pub(crate) fn set_namespace(&mut self, namespace: &str) -> Result<()> {
        if !namespace.is_empty() {
            return self.set_metadata_text("namespace", namespace);
        }
        if self.metadata("namespace").is_some()
            && let Some(metadata) = node::get_mut(self.object_mut(), "metadata")
        {
            node::remove(metadata, "namespace");
        }
        Ok(())
    }

    fn set_metadata_text(&mut self, field: &str, value: &str) -> Result<()> {
        match node::child_map(self.object_mut(), "metadata") {
            Some(metadata) => node::set_entry(metadata, field, value, Tag::Unset),
            None => Err(Error::invalid("metadata is not a map")),
        }
    }
}

/// The error of a resource that cannot be named any more.
pub(crate) fn lost_its_name() -> Error {
    Error::invalid("the resource has lost its kind or its name")
        .hint("a patch or a replacement took it away")
}
