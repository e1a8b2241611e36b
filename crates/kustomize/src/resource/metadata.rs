//! Labels, annotations and data of a resource, and what kustomize keeps in annotations while it builds.

use fairway_yaml::{Kind, Node};

use super::{BOOKKEEPING, Resource};
use crate::error::Result;
use crate::node::{self, Tag};

const ORIGIN: &str = "config.kubernetes.io/origin";
const TRANSFORMATIONS: &str = "alpha.config.kubernetes.io/transformations";

impl Resource {
    fn texts(&self, field: &str) -> Vec<(String, String)> {
        let entries = self
            .metadata(field)
            .and_then(Node::entries)
            .unwrap_or_default();
        entries
            .iter()
            .map(|(key, value)| (node::text(key).to_owned(), node::text(value).to_owned()))
            .collect()
    }

    pub(crate) fn annotations(&self) -> Vec<(String, String)> {
        self.texts("annotations")
    }

    pub(crate) fn label(&self, key: &str) -> Option<&str> {
        self.metadata("labels")?.get(key).map(node::text)
    }

    pub(crate) fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata("annotations")?.get(key).map(node::text)
    }

    /// Replaces labels or annotations; all values become strings, and an empty map is left out.
    pub(crate) fn set_texts(&mut self, field: &str, mut values: Vec<(String, String)>) {
        let Some(metadata) = node::child_map(self.object_mut(), "metadata") else {
            return;
        };
        node::remove(metadata, field);
        if values.is_empty() {
            return;
        }
        values.sort();
        let entries = values
            .into_iter()
            .map(|(key, value)| (node::plain(key), node::string(value)))
            .collect();
        node::insert(metadata, field, node::node(Kind::Map(entries)));
    }

    pub(crate) fn set_annotation(&mut self, key: &str, value: &str) {
        let mut annotations = self.annotations();
        annotations.retain(|(have, _)| have != key);
        annotations.push((key.to_owned(), value.to_owned()));
        self.set_texts("annotations", annotations);
    }

    pub(crate) fn origin(&self) -> Option<&str> {
        self.annotation(ORIGIN)
    }

    pub(crate) fn set_origin(&mut self, origin: &str) {
        self.set_annotation(ORIGIN, origin);
    }

    pub(crate) fn transformations(&self) -> Option<&str> {
        self.annotation(TRANSFORMATIONS)
    }

    pub(crate) fn set_transformations(&mut self, transformations: &str) {
        self.set_annotation(TRANSFORMATIONS, transformations);
    }

    /// The last step of a build: labels stay, annotations become strings, what was only for the books goes.
    pub(crate) fn close_books(&mut self, keep_origin: bool, keep_transformations: bool) {
        if self.object().get("metadata").is_none() {
            node::insert(self.object_mut(), "metadata", node::map());
        }
        let Some(found) = self.metadata("annotations") else {
            return;
        };
        // Kustomize takes its own ones out, and does not leave an empty map.
        if found.entries().is_none_or(<[_]>::is_empty) {
            if node::is_empty(found) {
                self.set_texts("annotations", Vec::new());
            }
            return;
        }
        let mut annotations = self.annotations();
        annotations.retain(|(key, _)| {
            !is_bookkeeping(key)
                && (keep_origin || key != ORIGIN)
                && (keep_transformations || key != TRANSFORMATIONS)
        });
        let clean = annotations.len()
            == self
                .metadata("annotations")
                .and_then(Node::entries)
                .map_or(0, <[_]>::len)
            && self
                .metadata("annotations")
                .and_then(Node::entries)
                .is_some_and(|entries| {
                    entries
                        .iter()
                        .all(|(_, value)| node::tag_of(value) == Tag::Str)
                });
        if !clean {
            self.set_texts("annotations", annotations);
        }
    }

    /// Takes over what `old`, the resource of the same id, has beside its data: metadata, names and books.
    pub(crate) fn adopt_metadata(&mut self, old: &Resource) -> Result<()> {
        for field in ["labels", "annotations"] {
            let mut merged = old.texts(field);
            for (key, value) in self.texts(field) {
                match merged.iter_mut().find(|(have, _)| *have == key) {
                    Some((_, have)) => *have = value,
                    None => merged.push((key, value)),
                }
            }
            self.set_texts(field, merged);
        }
        self.previous.clone_from(&old.previous);
        self.prefixes.clone_from(&old.prefixes);
        self.suffixes.clone_from(&old.suffixes);
        self.behavior = old.behavior;
        self.needs_hash = self.needs_hash && old.needs_hash;
        self.allow_name_change = old.allow_name_change;
        self.allow_kind_change = old.allow_kind_change;
        self.vars.clone_from(&old.vars);
        self.source.clone_from(&old.source);
        let name = old.name().to_owned();
        self.set_name(&name)?;
        let namespace = old.namespace().to_owned();
        self.set_namespace(&namespace)
    }

    /// Makes all annotations strings, even null.
    pub(crate) fn annotations_to_texts(&mut self) {
        if self.metadata("annotations").is_some() {
            let values = self.texts("annotations");
            self.set_texts("annotations", values);
        }
    }

    /// What kustomize does to a patch that it copies: labels and annotations become strings, even null.
    pub(crate) fn normalise_metadata(&mut self) -> Result<()> {
        if self.metadata("labels").is_some() {
            let values = self.texts("labels");
            self.set_texts("labels", values);
        }
        self.annotations_to_texts();
        let (name, namespace) = (self.name().to_owned(), self.namespace().to_owned());
        self.set_name(&name)?;
        self.set_namespace(&namespace)
    }

    pub(crate) fn set_type(&mut self, api_version: &str, kind: &str) -> Result<()> {
        node::set_entry(self.object_mut(), "apiVersion", api_version, Tag::Unset)?;
        self.set_kind(kind)
    }

    /// Adds the entries of `old`'s data that this resource does not have.
    pub(crate) fn merge_data(&mut self, old: &Resource) {
        for field in ["data", "binaryData"] {
            let mut merged: Vec<(String, String)> = Vec::new();
            for source in [old, &*self] {
                let entries = source
                    .object
                    .get(field)
                    .and_then(Node::entries)
                    .unwrap_or_default();
                merged.extend(entries.iter().map(|(key, value)| {
                    let text = if node::is_null(value) {
                        ""
                    } else {
                        node::text(value)
                    };
                    (node::text(key).to_owned(), text.to_owned())
                }));
            }
            // The last value of a key counts; a stable sort keeps the order among equal keys.
            merged.reverse();
            merged.sort_by(|a, b| a.0.cmp(&b.0));
            merged.dedup_by(|later, first| later.0 == first.0);
            let object = self.object_mut();
            node::remove(object, field);
            if !merged.is_empty() {
                let entries = merged
                    .into_iter()
                    .map(|(key, value)| (node::plain(key), node::string(value)))
                    .collect();
                node::insert(object, field, node::node(Kind::Map(entries)));
            }
        }
    }
}

/// Whether kustomize removes the annotation from its output.
fn is_bookkeeping(key: &str) -> bool {
    match key.strip_prefix(BOOKKEEPING) {
        Some(name) => matches!(
            name,
            "previousKinds"
                | "previousNames"
                | "prefixes"
                | "suffixes"
                | "previousNamespaces"
                | "allowNameChange"
                | "allowKindChange"
                | "refBy"
                | "generatorBehavior"
                | "needsHashSuffix"
                | "path"
                | "index"
                | "seqindent"
                | "id"
                | "annotations-migration-resource-id"
                | "helm-generated"
        ),
        None => matches!(
            key,
            "config.kubernetes.io/path" | "config.kubernetes.io/index" | "config.k8s.io/id"
        ),
    }
}
