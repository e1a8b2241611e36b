//! The types of `replacements`.

use fairway_yaml::Node;

use super::decode::Decoder;
use super::fields::{gvk_field, selector};
use crate::error::{Place, Result};
use crate::id::{Gvk, ResId};
use crate::node;
use crate::options::Selector;

/// One entry of `replacements`: inline, or the path of a file with one or many.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReplacementEntry {
    pub(crate) path: String,
    pub(crate) replacement: Replacement,
    pub(crate) place: Place,
    pub(crate) field: String,
}

/// Copies a value from one resource to others.
#[derive(Debug, Clone, Default)]
pub(crate) struct Replacement {
    pub(crate) source: Option<Source>,
    pub(crate) source_value: Option<String>,
    /// Absent is not the same as empty.
    pub(crate) targets: Option<Vec<Target>>,
}

/// Where the value comes from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Source {
    /// Empty parts match everything.
    pub(crate) id: ResId,
    pub(crate) field_path: String,
    pub(crate) options: FieldOptions,
}

/// Where the value goes to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Target {
    pub(crate) select: Option<Selector>,
    pub(crate) reject: Vec<Selector>,
    pub(crate) field_paths: Vec<String>,
    pub(crate) options: FieldOptions,
}

/// Which part of the text of a field is meant, and whether to create the field.
#[derive(Debug, Clone, Default)]
pub(crate) struct FieldOptions {
    pub(crate) delimiter: String,
    pub(crate) index: i64,
    pub(crate) create: bool,
}

impl ReplacementEntry {
    pub(crate) fn decode(decoder: Decoder<'_>, at: &Node, path: &str) -> Result<Self> {
        let mut out = Self {
            place: at.span.into(),
            field: path.to_owned(),
            ..Self::default()
        };
        for field in decoder.fields(at, path)? {
            if field.name == "path" {
                out.path = decoder.string(field.value, &field.path)?;
            }
        }
        out.replacement = Replacement::read(decoder, at, path, true)?;
        // In a kustomization file an empty list is as good as none.
        if decoder.strict && out.replacement.targets.as_ref().is_some_and(Vec::is_empty) {
            out.replacement.targets = None;
        }
        Ok(out)
    }
}

impl Replacement {
    pub(crate) fn decode(decoder: Decoder<'_>, at: &Node, path: &str) -> Result<Self> {
        Self::read(decoder, at, path, false)
    }

    fn read(decoder: Decoder<'_>, at: &Node, path: &str, with_path: bool) -> Result<Self> {
        let mut out = Self::default();
        for field in decoder.fields(at, path)? {
            match field.name.as_str() {
                "source" if node::is_null(field.value) => {}
                "source" => out.source = Some(Source::decode(decoder, field.value, &field.path)?),
                "sourcevalue" if node::is_null(field.value) => {}
                "sourcevalue" => out.source_value = Some(decoder.string(field.value, &field.path)?),
                "targets" if node::is_null(field.value) => {}
                "targets" => out.targets = Some(decoder.list(&field, Target::decode)?),
                "path" if with_path => {}
                _ => decoder.unknown(&field, &["source", "sourceValue", "targets", "path"])?,
            }
        }
        Ok(out)
    }
}

impl Source {
    fn decode(decoder: Decoder<'_>, at: &Node, path: &str) -> Result<Self> {
        let mut out = Self::default();
        let mut gvk = Gvk::default();
        for field in decoder.fields(at, path)? {
            let (value, path) = (field.value, field.path.as_str());
            match field.name.as_str() {
                "name" => out.id.name = decoder.string(value, path)?,
                "namespace" => out.id.namespace = decoder.string(value, path)?,
                "fieldpath" => out.field_path = decoder.string(value, path)?,
                "options" => out.options = FieldOptions::decode(decoder, value, path)?,
                _ if gvk_field(decoder, &field, &mut gvk)? => {}
                _ => {
                    const KNOWN: [&str; 7] = [
                        "group",
                        "version",
                        "kind",
                        "name",
                        "namespace",
                        "fieldPath",
                        "options",
                    ];
                    decoder.unknown(&field, &KNOWN)?;
                }
            }
        }
        out.id.gvk = gvk;
        Ok(out)
    }
}

impl Target {
    fn decode(decoder: Decoder<'_>, at: &Node, path: &str) -> Result<Self> {
        let mut out = Self::default();
        for field in decoder.fields(at, path)? {
            let (value, path) = (field.value, field.path.as_str());
            match field.name.as_str() {
                "select" if node::is_null(value) => {}
                "select" => out.select = Some(selector(decoder, value, path)?),
                "reject" => out.reject = decoder.list(&field, selector)?,
                "fieldpaths" => out.field_paths = decoder.strings(value, path)?,
                "options" => out.options = FieldOptions::decode(decoder, value, path)?,
                _ => decoder.unknown(&field, &["select", "reject", "fieldPaths", "options"])?,
            }
        }
        Ok(out)
    }
}

impl FieldOptions {
    fn decode(decoder: Decoder<'_>, at: &Node, path: &str) -> Result<Self> {
        let mut out = Self::default();
        for field in decoder.fields(at, path)? {
            let (value, path) = (field.value, field.path.as_str());
            match field.name.as_str() {
                "delimiter" => out.delimiter = decoder.string(value, path)?,
                "index" => out.index = decoder.integer(value, path)?,
                "encoding" => drop(decoder.string(value, path)?),
                "create" => out.create = decoder.boolean(value, path)?,
                _ => decoder.unknown(&field, &["delimiter", "index", "encoding", "create"])?,
            }
        }
        Ok(out)
    }
}
