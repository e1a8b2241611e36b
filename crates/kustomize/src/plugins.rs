//! `generators`, `transformers` and `validators`: kustomize's built-in ones, configured by resources of their own.
//! Anything else would have to be executed, and is refused.

use fairway_yaml::Node;

use crate::accumulate::{Accumulated, Context, Target, note_transformer};
use crate::error::{Error, Result};
use crate::field_spec::FieldSpec;
use crate::generate::{self, Generated};
use crate::kustomization::decode::{Decoder, Field, document};
use crate::kustomization::replacement::{Replacement, ReplacementEntry};
use crate::kustomization::{
    GeneratorArgs, PatchEntry, Replica, SecretArgs, Text, field_spec, image, selector,
};
use crate::options::Image;
use crate::origin::{self, Origin};
use crate::read;
use crate::resource::Resource;
use crate::resources::Resources;
use crate::transform::namespace::{NamespaceTransformer, Subjects};
use crate::transform::value_add::ValueTarget;
use crate::transform::{self, names::Affix};

/// A generated resource, and the generator's place in the kustomization.
pub(crate) struct Made {
    pub(crate) resource: Resource,
    pub(crate) place: Option<(u32, String)>,
}

/// What all generators of a kustomization make.
pub(crate) fn generated(target: &Target<'_>, context: &mut Context) -> Result<Vec<Made>> {
    let own = &target.kustomization;
    let mut out = Vec::new();
    let mut make = |what: Generated<'_>, args: &GeneratorArgs, kind: &str| -> Result<()> {
        let mut args = args.clone();
        if let Some(all) = &own.generator_options {
            args.options = Some(args.options.unwrap_or_default().with_defaults(all));
        }
        let place = |error: Error| {
            error
                .in_field(args.field.clone())
                .at(&target.file, args.line)
        };
        let mut resource = generate::make(&target.loader, what, &args).map_err(place)?;
        if let Some(origin) = &target.origin {
            resource.set_origin(&origin.builtin(target.file_name(), kind).to_yaml());
        }
        out.push(Made {
            resource,
            place: Some((args.line, args.field)),
        });
        Ok(())
    };
    for args in &own.config_map_generator {
        make(Generated::ConfigMap, args, "ConfigMapGenerator")?;
    }
    for SecretArgs { args, secret_type } in &own.secret_generator {
        make(Generated::Secret(secret_type), args, "SecretGenerator")?;
    }
    for config in configurations(target, context, &own.generators)? {
        let origin = plugin_origin(&config);
        for mut resource in generator(target, &config)? {
            if let Some(origin) = &origin {
                resource.set_origin(&origin.to_yaml());
            }
            out.push(Made {
                resource,
                place: None,
            });
        }
    }
    Ok(out)
}

/// Runs the transformers that the kustomization names.
pub(crate) fn transform(
    target: &Target<'_>,
    context: &mut Context,
    all: &mut Accumulated,
    paths: &[Text],
) -> Result<()> {
    for config in configurations(target, context, paths)? {
        transformer(target, context, &mut all.resources, &config)?;
        if let Some(origin) = plugin_origin(&config) {
            note_transformer(&mut all.resources, &origin);
        }
        all.resources.drop_gone();
    }
    Ok(())
}

/// Runs the validators, which may change nothing.
pub(crate) fn validate(
    target: &Target<'_>,
    context: &mut Context,
    all: &mut Accumulated,
) -> Result<()> {
    for config in configurations(target, context, &target.kustomization.validators)? {
        let mut after = all.resources.clone();
        transformer(target, context, &mut after, &config)?;
        let same = after.len() == all.resources.len()
            && after
                .iter()
                .zip(all.resources.iter())
                .all(|(a, b)| a.object() == b.object());
        if !same {
            return Err(Error::conflict(format!(
                "validator {} shouldn't modify the resources",
                config.id()
            ))
            .in_field("validators")
            .in_file(&target.file));
        }
    }
    Ok(())
}

/// The configurations: inline, or accumulated from files and directories.
fn configurations(
    target: &Target<'_>,
    context: &mut Context,
    entries: &[Text],
) -> Result<Vec<Resource>> {
    let mut all = Accumulated::default();
    let mut paths = Vec::new();
    for entry in entries {
        let Ok(mut inline) = read::resources(&target.file, entry.content.as_bytes()) else {
            paths.push(entry.clone());
            continue;
        };
        if let Some(origin) = &target.origin {
            for resource in &mut inline {
                resource.set_origin(&origin.append(target.file_name()).to_yaml());
            }
        }
        all.resources
            .append_all(inline)
            .map_err(|error| target.place(error, entry))?;
    }
    target.resources(context, &mut all, &paths)?;
    Ok(all.resources.into_items())
}

/// Where a plugin's configuration comes from, as the origin of what it does.
fn plugin_origin(config: &Resource) -> Option<Origin> {
    let path = origin::path_of(config.origin()?)?;
    let texts = [
        config.api_version(),
        config.kind(),
        config.name(),
        config.namespace(),
    ];
    Some(Origin {
        path: String::new(),
        configured_in: path,
        configured_by: Some(texts.map(str::to_owned)),
    })
}

fn check_builtin(target: &Target<'_>, config: &Resource) -> Result<()> {
    if config.api_version() == "builtin" {
        return Ok(());
    }
    Err(Error::refused(format!(
        "{} is not one of kustomize's built-in plugins, and a build executes nothing",
        config.id()
    ))
    .in_file(&target.file)
    .hint("render its output into files"))
}

fn unknown(config: &Resource, what: &str) -> Error {
    Error::invalid(format!(
        "unable to load builtin {} as a {what}",
        config.kind()
    ))
}

fn generator(target: &Target<'_>, config: &Resource) -> Result<Vec<Resource>> {
    check_builtin(target, config)?;
    let decoder = Decoder::lenient(&target.file);
    let node = config.object();
    let named = |mut args: GeneratorArgs| {
        if args.name.is_empty() {
            config.name().clone_into(&mut args.name);
        }
        if args.namespace.is_empty() {
            config.namespace().clone_into(&mut args.namespace);
        }
        args
    };
    let failed = |error: Error| error.while_doing(config.id());
    match config.kind() {
        "ConfigMapGenerator" => {
            let args = named(GeneratorArgs::decode(decoder, node, "")?);
            Ok(vec![
                generate::make(&target.loader, Generated::ConfigMap, &args).map_err(failed)?,
            ])
        }
        "SecretGenerator" => {
            let SecretArgs { args, secret_type } = SecretArgs::decode(decoder, node, "")?;
            let args = named(args);
            Ok(vec![
                generate::make(&target.loader, Generated::Secret(&secret_type), &args)
                    .map_err(failed)?,
            ])
        }
        "IAMPolicyGenerator" => Ok(vec![iam_policy(decoder, node).map_err(failed)?]),
        "HelmChartInflationGenerator" => Err(failed(
            Error::refused("Helm charts are not rendered in a build")
                .hint("let a HelmRelease install the chart"),
        )),
        _ => Err(unknown(config, "generator")),
    }
}

/// A service account bound to one of Google Cloud's.
fn iam_policy(decoder: Decoder<'_>, node: &Node) -> Result<Resource> {
    let text = |path: [&str; 2]| -> Result<String> {
        match node.get(path[0]).and_then(|inner| inner.get(path[1])) {
            Some(value) => decoder.string(value, &path.join(".")),
            None => Ok(String::new()),
        }
    };
    let cloud = node
        .get("cloud")
        .map(|cloud| decoder.string(cloud, "cloud"))
        .transpose()?
        .unwrap_or_default();
    if cloud != "gke" {
        return Err(
            Error::invalid(format!("cloud provider {cloud} not supported yet")).in_field("cloud"),
        );
    }
    let account = format!(
        "{}@{}.iam.gserviceaccount.com",
        text(["serviceAccount", "name"])?,
        text(["serviceAccount", "projectId"])?
    );
    let mut metadata = serde_json::json!({
        "annotations": {"iam.gke.io/gcp-service-account": account},
        "name": text(["kubernetesService", "name"])?,
    });
    let namespace = text(["kubernetesService", "namespace"])?;
    if !namespace.is_empty() {
        metadata["namespace"] = namespace.into();
    }
    let object =
        serde_json::json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata});
    Ok(Resource::new(crate::node::placed(Node::from_json(&object))))
}

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

fn transformer(
    target: &Target<'_>,
    context: &Context,
    resources: &mut Resources,
    config: &Resource,
) -> Result<()> {
    check_builtin(target, config)?;
    let failed = |error: Error| error.while_doing(config.id());
    let decoder = Decoder::lenient(&target.file);
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
                patches.extend(read::resources(&target.file, read.text.as_bytes())?);
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

    /// The replacements of entries that are inline or name a file.
    pub(crate) fn replacements(&self, entries: &[ReplacementEntry]) -> Result<Vec<Replacement>> {
        let mut out = Vec::new();
        for entry in entries {
            let here = |error: Error| {
                error
                    .in_field(entry.field.clone())
                    .at(&self.file, entry.line)
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
