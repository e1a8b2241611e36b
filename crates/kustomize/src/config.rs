//! The transformer configuration: which fields hold names, labels, images, references. Kustomize's own, and what
//! `configurations` and `crds` add.

mod crds;
mod defaults;

use std::cmp::Ordering;
use std::sync::Arc;

pub(crate) use crds::from_definitions;
pub(crate) use defaults::default_config;

use crate::error::{Error, Result};
use crate::field_spec::{self, FieldSpec};
use crate::id::Gvk;
use crate::kustomization::decode::Decoder;
use crate::kustomization::{field_spec as decode_field_spec, gvk_field};

/// Fields by what transformers do with them.
#[derive(Debug, Clone, Default)]
pub(crate) struct TransformerConfig {
    pub(crate) name_prefix: Vec<FieldSpec>,
    pub(crate) name_suffix: Vec<FieldSpec>,
    pub(crate) namespace: Vec<FieldSpec>,
    pub(crate) common_labels: Vec<FieldSpec>,
    pub(crate) labels: Vec<FieldSpec>,
    pub(crate) template_labels: Vec<FieldSpec>,
    pub(crate) common_annotations: Vec<FieldSpec>,
    pub(crate) name_reference: Vec<NameReference>,
    pub(crate) var_reference: Vec<FieldSpec>,
    pub(crate) images: Vec<FieldSpec>,
    pub(crate) replicas: Vec<FieldSpec>,
}

/// The fields that hold names of resources of a kind.
#[derive(Debug, Clone)]
pub(crate) struct NameReference {
    /// The kind that is referred to.
    pub(crate) target: Gvk,
    pub(crate) referrers: Vec<FieldSpec>,
}

impl TransformerConfig {
    /// Reads a file of `configurations`.
    pub(crate) fn parse(file: &str, text: &str) -> Result<Self> {
        let documents =
            fairway_yaml::parse(text).map_err(|error| Error::syntax(&error).of_file(file))?;
        let mut out = Self::default();
        let Some(document) = documents.first() else {
            return Ok(out);
        };
        let decoder = Decoder::strict(file);
        for field in decoder.fields(&document.root, "")? {
            let specs = match field.name.as_str() {
                "nameprefix" => &mut out.name_prefix,
                "namesuffix" => &mut out.name_suffix,
                "namespace" => &mut out.namespace,
                "commonlabels" => &mut out.common_labels,
                "labels" => &mut out.labels,
                "templatelabels" => &mut out.template_labels,
                "commonannotations" => &mut out.common_annotations,
                "varreference" => &mut out.var_reference,
                "images" => &mut out.images,
                "replicas" => &mut out.replicas,
                "namereference" => {
                    out.name_reference = decoder.list(&field, |decoder, at, path| {
                        let mut target = Gvk::default();
                        let mut referrers = Vec::new();
                        for field in decoder.fields(at, path)? {
                            if field.name == "fieldspecs" {
                                referrers = decoder.list(&field, decode_field_spec)?;
                            } else if !gvk_field(decoder, &field, &mut target)? {
                                decoder
                                    .unknown(&field, &["group", "version", "kind", "fieldSpecs"])?;
                            }
                        }
                        Ok(NameReference { target, referrers })
                    })?;
                    continue;
                }
                _ => {
                    const KNOWN: [&str; 11] = [
                        "namePrefix",
                        "nameSuffix",
                        "namespace",
                        "commonLabels",
                        "labels",
                        "templateLabels",
                        "commonAnnotations",
                        "nameReference",
                        "varReference",
                        "images",
                        "replicas",
                    ];
                    decoder.unknown(&field, &KNOWN)?;
                    continue;
                }
            };
            *specs = decoder.list(&field, decode_field_spec)?;
        }
        out.sort();
        Ok(out)
    }

    /// Adds what `other` has more.
    pub(crate) fn merge(&mut self, other: &Self) -> Result<()> {
        let merged = [
            (&mut self.name_prefix, &other.name_prefix, "namePrefix"),
            (&mut self.name_suffix, &other.name_suffix, "nameSuffix"),
            (&mut self.namespace, &other.namespace, "namespace"),
            (
                &mut self.common_annotations,
                &other.common_annotations,
                "commonAnnotations",
            ),
            (
                &mut self.common_labels,
                &other.common_labels,
                "commonLabels",
            ),
            (&mut self.labels, &other.labels, "labels"),
            (
                &mut self.template_labels,
                &other.template_labels,
                "templateLabels",
            ),
            (
                &mut self.var_reference,
                &other.var_reference,
                "varReference",
            ),
            (&mut self.images, &other.images, "images"),
            (&mut self.replicas, &other.replicas, "replicas"),
        ];
        for (own, other, field) in merged {
            field_spec::merge(own, other).map_err(|error| error.in_field(field))?;
        }
        other
            .name_reference
            .iter()
            .try_for_each(|reference| self.add_name_reference(reference))?;
        self.sort();
        Ok(())
    }

    pub(crate) fn add_name_reference(&mut self, reference: &NameReference) -> Result<()> {
        let mut found = false;
        for own in self
            .name_reference
            .iter_mut()
            .filter(|own| own.target == reference.target)
        {
            found = true;
            field_spec::merge(&mut own.referrers, &reference.referrers)
                .map_err(|error| error.in_field("nameReference"))?;
        }
        if !found {
            self.name_reference.push(reference.clone());
        }
        Ok(())
    }

    fn sort(&mut self) {
        for specs in [
            &mut self.name_prefix,
            &mut self.name_suffix,
            &mut self.namespace,
            &mut self.common_labels,
            &mut self.labels,
            &mut self.template_labels,
            &mut self.common_annotations,
            &mut self.var_reference,
            &mut self.images,
            &mut self.replicas,
        ] {
            specs.sort_by(|a, b| by_kind(&a.gvk, &b.gvk));
        }
        self.name_reference
            .sort_by(|a, b| by_kind(&a.target, &b.target));
    }
}

/// Merges two shared configurations, which most often are the same one.
pub(crate) fn merged(
    own: Option<Arc<TransformerConfig>>,
    other: &Arc<TransformerConfig>,
) -> Result<Arc<TransformerConfig>> {
    match own {
        None if Arc::ptr_eq(default_config(), other) => Ok(Arc::clone(other)),
        Some(own) if Arc::ptr_eq(&own, other) => Ok(own),
        // Even into nothing a configuration is merged: a spec of all kinds goes where one of some kinds came first.
        own => {
            let mut out = own.map(Arc::unwrap_or_clone).unwrap_or_default();
            out.merge(other)?;
            Ok(Arc::new(out))
        }
    }
}

/// Kinds that others depend on first, webhooks last, the rest by group, version and kind.
fn by_kind(a: &Gvk, b: &Gvk) -> Ordering {
    let rank = |gvk: &Gvk| crate::transform::sort::rank(&gvk.kind);
    let or = |part: &str, none: &'static str| {
        if part.is_empty() {
            none.to_owned()
        } else {
            part.to_owned()
        }
    };
    let text = |gvk: &Gvk| {
        format!(
            "{}_{}_{}",
            or(&gvk.group, "~G"),
            or(&gvk.version, "~V"),
            or(&gvk.kind, "~K")
        )
    };
    rank(a).cmp(&rank(b)).then_with(|| text(a).cmp(&text(b)))
}
