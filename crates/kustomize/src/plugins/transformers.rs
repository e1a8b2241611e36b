//! The built-in transformers, run by a configuration of their own.

use fairway_yaml::Node;

use super::{check_builtin, unknown};
use crate::accumulate::Context;
use crate::error::{Error, Result};
use crate::field_spec::FieldSpec;
use crate::kustomization::decode::{Decoder, Field, document};
use crate::kustomization::replacement::ReplacementEntry;
use crate::kustomization::{PatchEntry, Replica, Text, field_spec, image, selector};
use crate::options::Image;
use crate::read;
use crate::resource::Resource;
use crate::resources::Resources;
use crate::target::Target;
use crate::transform::namespace::{NamespaceTransformer, Subjects};
use crate::transform::value_add::ValueTarget;
use crate::transform::{self, names::Affix};

/// The fields that the configurations of transformers share.
#[derive(Default)]
struct Config {
    specs: Option<Vec<FieldSpec>>,
    pairs: Vec<(String, String)>,
    text: String,
    patch: PatchEntry,
    paths: Vec<Text>,
    image: Image,
    replica: Replica,
    replacements: Vec<ReplacementEntry>,
    targets: Vec<ValueTarget>,
    target_file: String,
    unset_only: bool,
    subjects: String,
}

pub(super) fn transformer(
    target: &Target<'_>,
    context: &Context,
    resources: &mut Resources,
    config: &Resource,
) -> Result<()> {
    check_builtin(target, config)?;
    let failed = |error: Error| error.while_doing(config.id());
    let decoder = Decoder::plugin(config.source.as_deref().unwrap_or(&target.file));
    let kind = config.kind();
    let read = Config::read(decoder, config.object(), kind).map_err(failed)?;
    run(target, context, resources, config, read).map_err(failed)
}

impl Config {
    fn read(decoder: Decoder<'_>, node: &Node, kind: &str) -> Result<Self> {
        let mut out = Self::default();
        for field in decoder.fields(node, "")? {
            out.field(decoder, &field, kind)?;
        }
        Ok(out)
    }

    fn field(&mut self, decoder: Decoder<'_>, field: &Field<'_>, kind: &str) -> Result<()> {
        let (value, path) = (field.value, field.path.as_str());
        match (field.name.as_str(), kind) {
            ("fieldspecs", _) => self.specs = Some(decoder.list(field, field_spec)?),
            ("labels", "LabelTransformer") | ("annotations", "AnnotationsTransformer") => {
                self.pairs = decoder.string_map(value, path)?;
            }
            ("prefix", "PrefixTransformer")
            | ("suffix", "SuffixTransformer")
            | ("value", "ValueAddTransformer") => {
                self.text = decoder.string(value, path)?;
            }
            ("path" | "patch" | "target" | "options", "PatchTransformer")
            | ("path" | "target", "PatchJson6902Transformer") => {
                if self.patch.field.is_empty() {
                    "patch".clone_into(&mut self.patch.field);
                }
                match field.name.as_str() {
                    "path" => self.patch.path = decoder.string(value, path)?,
                    "patch" => self.patch.patch = decoder.string(value, path)?,
                    "target" => self.patch.target = Some(selector(decoder, value, path)?),
                    _ => {
                        for field in decoder.fields(value, path)? {
                            match field.name.as_str() {
                                "allownamechange" => {
                                    self.patch.allow_name_change =
                                        decoder.boolean(field.value, &field.path)?;
                                }
                                "allowkindchange" => {
                                    self.patch.allow_kind_change =
                                        decoder.boolean(field.value, &field.path)?;
                                }
                                _ => {}
                            }
                        }
                    }
                }
            }
            ("jsonop", "PatchJson6902Transformer") => {
                self.patch.patch = decoder.string(value, path)?;
            }
            ("paths", "PatchStrategicMergeTransformer") => {
                self.paths = decoder.list(field, Text::decode)?;
            }
            ("patches", "PatchStrategicMergeTransformer") => {
                self.text = decoder.string(value, path)?;
            }
            ("imagetag", "ImageTagTransformer") => self.image = image(decoder, value, path)?,
            ("replica", "ReplicaCountTransformer") => {
                self.replica = Replica::decode(decoder, value, path)?;
            }
            ("replacements", "ReplacementTransformer") => {
                self.replacements = decoder.list(field, ReplacementEntry::decode)?;
            }
            ("targets", "ValueAddTransformer") => {
                self.targets = decoder.list(field, value_target)?;
            }
            ("targetfilepath", "ValueAddTransformer") => {
                self.target_file = decoder.string(value, path)?;
            }
            ("unsetonly", "NamespaceTransformer") => {
                self.unset_only = decoder.boolean(value, path)?;
            }
            ("setrolebindingsubjects", "NamespaceTransformer") => {
                self.subjects = decoder.string(value, path)?;
            }
            _ => {}
        }
        Ok(())
    }
}

fn value_target(decoder: Decoder<'_>, at: &Node, path: &str) -> Result<ValueTarget> {
    let mut out = ValueTarget::default();
    for field in decoder.fields(at, path)? {
        match field.name.as_str() {
            "selector" => out.selector = Some(selector(decoder, field.value, &field.path)?),
            "fieldpath" => out.field_path = decoder.string(field.value, &field.path)?,
            "filepathposition" => out.position = decoder.integer(field.value, &field.path)?,
            _ => {}
        }
    }
    if out.field_path.is_empty() {
        return Err(decoder.error(at, path, "fieldPath cannot be empty"));
    }
    if out.position < 0 {
        return Err(decoder.error(at, path, "filePathPosition cannot be negative"));
    }
    Ok(out)
}

fn run(
    target: &Target<'_>,
    context: &Context,
    resources: &mut Resources,
    config: &Resource,
    mut read: Config,
) -> Result<()> {
    let keys = &context.merge_keys;
    let own_specs = || {
        read.specs.as_deref().ok_or_else(|| {
            Error::invalid("fieldSpecs is not expected to be nil").in_field("fieldSpecs")
        })
    };
    let specs = read.specs.as_deref().unwrap_or_default();
    match config.kind() {
        "AnnotationsTransformer" | "LabelTransformer" => {
            transform::labels::transform(resources, &read.pairs, specs)
        }
        "PrefixTransformer" => {
            transform::names::transform(resources, Affix::Prefix, &read.text, own_specs()?)
        }
        "SuffixTransformer" => {
            transform::names::transform(resources, Affix::Suffix, &read.text, own_specs()?)
        }
        "PrefixSuffixTransformer" => {
            let specs = own_specs()?;
            for (affix, field) in [(Affix::Prefix, "prefix"), (Affix::Suffix, "suffix")] {
                let text = config
                    .object()
                    .get(field)
                    .map_or("", crate::node::text)
                    .to_owned();
                transform::names::transform(resources, affix, &text, specs)?;
            }
            Ok(())
        }
        "HashTransformer" => transform::hash::transform(resources),
        "ImageTagTransformer" => transform::images::transform(resources, &read.image, specs),
        "ReplicaCountTransformer" => {
            transform::replicas::transform(resources, &read.replica, specs)
        }
        "NamespaceTransformer" => {
            let subjects = match read.subjects.as_str() {
                "" | "defaultOnly" => Subjects::Default,
                "allServiceAccounts" => Subjects::ServiceAccounts,
                "none" => Subjects::None,
                other => {
                    return Err(Error::invalid(format!(
                        "invalid value {other:?} for setRoleBindingSubjects: must be one of defaultOnly, none or allServiceAccounts"
                    )));
                }
            };
            let transformer = NamespaceTransformer {
                namespace: config.namespace().to_owned(),
                specs: specs.to_vec(),
                unset_only: read.unset_only,
                subjects,
            };
            transformer.transform(resources)
        }
        "PatchTransformer" => {
            let patch = target.patch(&read.patch)?;
            patch.transform(resources, read.patch.target.as_ref(), keys)
        }
        "PatchJson6902Transformer" => target.json6902(resources, &read.patch),
        "PatchStrategicMergeTransformer" => {
            let mut patches = target.strategic_merge(&read.paths)?;
            if !read.text.is_empty() {
                patches.extend(read::patches(&target.file, read.text.as_bytes())?);
            }
            if patches.is_empty() {
                return Err(Error::invalid("patch appears to be empty"));
            }
            patches
                .iter()
                .try_for_each(|patch| transform::patches::merge_by_id(resources, patch, keys))
        }
        "ReplacementTransformer" => {
            let replacements = target.replacements(&read.replacements)?;
            transform::replacements::transform(resources, &replacements)
        }
        "ValueAddTransformer" => {
            if !read.target_file.is_empty() {
                let file = target.loader.file(&read.target_file)?;
                let bytes = target.loader.tree.read(&file)?;
                let text = String::from_utf8_lossy(&bytes);
                let decoder = Decoder::lenient(&file);
                if let Some(root) = document(&file, &text)? {
                    for field in decoder.fields(&root, "")? {
                        if field.name == "targets" {
                            read.targets.extend(decoder.list(&field, value_target)?);
                        }
                    }
                }
            }
            if read.targets.is_empty() {
                return Err(Error::invalid("must specify at least one target"));
            }
            let value = match read.text.trim() {
                "" => crate::tree::file_name(&target.loader.root),
                value => value,
            };
            transform::value_add::transform(resources, value, &read.targets)
        }
        _ => Err(unknown(config, "transformer")),
    }
}

impl Target<'_> {
    /// The patches of entries that are texts or paths.
    fn strategic_merge(&self, entries: &[Text]) -> Result<Vec<Resource>> {
        let mut out = Vec::new();
        for entry in entries {
            out.extend(self.strategic_merge_patch(entry)?);
        }
        Ok(out)
    }
}
