//! The transformers of one kustomization, in kustomize's order.

use std::sync::Arc;

use crate::accumulate::{Accumulated, Context};
use crate::config;
use crate::error::{Error, Result};
use crate::kustomization::decode::{Decoder, document};
use crate::kustomization::replacement::{Replacement, ReplacementEntry};
use crate::kustomization::{PatchEntry, Text};
use crate::origin::Origin;
use crate::resource::Resource;
use crate::resources::Resources;
use crate::target::Target;
use crate::transform::patches::Patch;
use crate::transform::{self, names::Affix, namespace::NamespaceTransformer};
use crate::{plugins, read};

impl Target<'_> {
    /// Runs all transformers.
    pub(crate) fn transform(&self, context: &mut Context, all: &mut Accumulated) -> Result<()> {
        let own = &self.kustomization;
        let config = Arc::clone(
            all.config
                .get_or_insert_with(|| Arc::clone(config::default_config())),
        );
        let keys = Arc::clone(&context.merge_keys);
        let resources = &mut all.resources;
        let here = |error: Error, field: &str| error.in_field(field.to_owned()).in_file(&self.file);

        if !own.patches_strategic_merge.is_empty() {
            let patches = self.strategic_merge_patches()?;
            for (patch, path) in &patches {
                transform::patches::merge_by_id(resources, patch, &keys)
                    .map_err(|error| self.place(error, path))?;
            }
            self.done(resources, "PatchStrategicMergeTransformer");
        }
        for entry in &own.patches {
            let patch = self.patch(entry)?;
            patch
                .transform(resources, entry.target.as_ref(), &keys)
                .map_err(|error| {
                    error
                        .in_field(entry.field.clone())
                        .at(&self.file, entry.place)
                })?;
            self.done(resources, "PatchTransformer");
        }
        if !own.namespace.is_empty() {
            let transformer = NamespaceTransformer {
                namespace: own.namespace.clone(),
                specs: config.namespace.clone(),
                ..NamespaceTransformer::default()
            };
            transformer
                .transform(resources)
                .map_err(|error| here(error, "namespace"))?;
            self.done(resources, "NamespaceTransformer");
        }
        for (affix, text, specs, field, kind) in [
            (
                Affix::Prefix,
                &own.name_prefix,
                &config.name_prefix,
                "namePrefix",
                "PrefixTransformer",
            ),
            (
                Affix::Suffix,
                &own.name_suffix,
                &config.name_suffix,
                "nameSuffix",
                "SuffixTransformer",
            ),
        ] {
            if !text.is_empty() {
                transform::names::transform(resources, affix, text, specs)
                    .map_err(|error| here(error, field))?;
                self.done(resources, kind);
            }
        }
        for label in &own.labels {
            transform::labels::specs(label, &config)
                .and_then(|specs| transform::labels::transform(resources, &label.pairs, &specs))
                .map_err(|error| here(error, "labels"))?;
            self.done(resources, "LabelTransformer");
        }
        if !own.labels.is_empty() || !own.common_labels.is_empty() {
            transform::labels::transform(resources, &own.common_labels, &config.common_labels)
                .map_err(|error| here(error, "commonLabels"))?;
            self.done(resources, "LabelTransformer");
        }
        if !own.common_annotations.is_empty() {
            transform::annotations::transform(
                resources,
                &own.common_annotations,
                &config.common_annotations,
            )
            .map_err(|error| here(error, "commonAnnotations"))?;
            self.done(resources, "AnnotationsTransformer");
        }
        for entry in &own.patches_json6902 {
            self.json6902(resources, entry).map_err(|error| {
                error
                    .in_field(entry.field.clone())
                    .at(&self.file, entry.place)
            })?;
            self.done(resources, "PatchJson6902Transformer");
        }
        for replica in &own.replicas {
            transform::replicas::transform(resources, replica, &config.replicas)
                .map_err(|error| here(error, "replicas"))?;
            self.done(resources, "ReplicaCountTransformer");
        }
        for image in &own.images {
            transform::images::transform(resources, image, &config.images)
                .map_err(|error| here(error, "images"))?;
            self.done(resources, "ImageTagTransformer");
        }
        if !own.replacements.is_empty() {
            for entry in &own.replacements {
                let replacements = self.replacements(std::slice::from_ref(entry))?;
                transform::replacements::transform(resources, &replacements).map_err(|error| {
                    error
                        .in_field(entry.field.clone())
                        .at(&self.file, entry.place)
                })?;
            }
            self.done(resources, "ReplacementTransformer");
        }
        plugins::transform(self, context, all, &own.transformers)
    }

    /// Notes that a transformer ran, and drops what it deleted.
    pub(crate) fn done(&self, resources: &mut Resources, kind: &str) {
        if let Some(origin) = &self.origin {
            note_transformer(resources, &origin.builtin(self.file_name(), kind));
        }
        resources.drop_gone();
    }

    fn strategic_merge_patches(&self) -> Result<Vec<(Resource, &Text)>> {
        let mut out = Vec::new();
        for entry in &self.kustomization.patches_strategic_merge {
            out.extend(
                self.strategic_merge_patch(entry)?
                    .into_iter()
                    .map(|patch| (patch, entry)),
            );
        }
        if out.is_empty() {
            return Err(Error::invalid("patch appears to be empty")
                .in_field("patchesStrategicMerge")
                .in_file(&self.file));
        }
        Ok(out)
    }

    /// Patches that stand in the entry, or in the file that it names.
    pub(crate) fn strategic_merge_patch(&self, entry: &Text) -> Result<Vec<Resource>> {
        match read::patches(&self.file, entry.content.as_bytes()) {
            Ok(patches) => Ok(patches),
            Err(error) if entry.content.contains('\n') => Err(error
                .in_field(entry.field.clone())
                .moved(&self.file, entry.place)),
            Err(_) => {
                let file = self
                    .loader
                    .file(&entry.content)
                    .map_err(|error| self.place(error, entry))?;
                let bytes = self
                    .loader
                    .tree
                    .read(&file)
                    .map_err(|error| self.place(error.into(), entry))?;
                read::patches(&file, &bytes)
            }
        }
    }

    /// Reads one entry of `patches`.
    pub(crate) fn patch(&self, entry: &PatchEntry) -> Result<Patch> {
        let here = |error: Error| {
            error
                .in_field(entry.field.clone())
                .at(&self.file, entry.place)
        };
        let inline = entry.patch.trim();
        let mut patch = match (inline, entry.path.as_str()) {
            ("", "") => return Err(here(Error::invalid("must specify one of patch and path"))),
            ("", path) => {
                let file = self.loader.file(path).map_err(here)?;
                let bytes = self
                    .loader
                    .tree
                    .read(&file)
                    .map_err(|error| here(error.into()))?;
                Patch::parse(&file, &String::from_utf8_lossy(&bytes))?
            }
            (_, "") => Patch::parse(&self.file, inline).map_err(|error| {
                error
                    .in_field(format!("{}.patch", entry.field))
                    .moved(&self.file, entry.place)
            })?,
            _ => {
                return Err(here(Error::invalid(
                    "patch and path can't be set at the same time",
                )));
            }
        };
        patch.allow(entry.allow_name_change, entry.allow_kind_change);
        Ok(patch)
    }

    /// Applies one entry of `patchesJson6902`.
    pub(crate) fn json6902(&self, resources: &mut Resources, entry: &PatchEntry) -> Result<()> {
        let Some(target) = entry
            .target
            .as_ref()
            .filter(|target| !target.name.is_empty())
        else {
            return Err(Error::invalid("must specify the target name"));
        };
        let text = match (entry.patch.as_str(), entry.path.as_str()) {
            ("", "") => return Err(Error::invalid("empty file path and empty jsonOp")),
            ("", path) => String::from_utf8_lossy(&self.loader.load(path)?).into_owned(),
            (text, "") => text.to_owned(),
            _ => {
                return Err(Error::invalid(
                    "must specify a file path or jsonOp, not both",
                ));
            }
        };
        let patch = transform::json_patch::JsonPatch::parse(&text)?;
        if patch.is_empty() {
            return Err(Error::invalid("patch appears to be empty"));
        }
        transform::patches::json(resources, target, &patch, false)
    }

    /// The replacements of entries that are inline or name a file.
    pub(crate) fn replacements(&self, entries: &[ReplacementEntry]) -> Result<Vec<Replacement>> {
        let mut out = Vec::new();
        for entry in entries {
            let here = |error: Error| {
                error
                    .in_field(entry.field.clone())
                    .at(&self.file, entry.place)
            };
            if entry.path.is_empty() {
                out.push(entry.replacement.clone());
                continue;
            }
            if entry.replacement.source.is_some()
                || entry
                    .replacement
                    .targets
                    .as_ref()
                    .is_some_and(|t| !t.is_empty())
            {
                return Err(here(Error::invalid(
                    "cannot specify both path and inline replacement",
                )));
            }
            let file = self.loader.file(&entry.path).map_err(here)?;
            let bytes = self
                .loader
                .tree
                .read(&file)
                .map_err(|error| here(error.into()))?;
            let text = String::from_utf8_lossy(&bytes);
            let decoder = Decoder::lenient(&file);
            let Some(root) = document(&file, &text)? else {
                return Err(Error::invalid("the file holds no replacement").in_file(&file));
            };
            if root.items().is_some() {
                for (path, item) in decoder.items(&root, "")? {
                    out.push(Replacement::decode(decoder, item, &path)?);
                }
            } else {
                out.push(Replacement::decode(decoder, &root, "")?);
            }
        }
        Ok(out)
    }
}

/// Marks the resources as changed by a transformer, or as made by it.
pub(crate) fn note_transformer(resources: &mut Resources, by: &Origin) {
    for resource in resources.contents_mut() {
        if resource.origin().is_none() {
            resource.set_origin(&by.to_yaml());
        } else {
            let before = resource.transformations().unwrap_or_default().to_owned();
            resource.set_transformations(&by.append_to(&before));
        }
    }
}
