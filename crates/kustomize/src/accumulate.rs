//! One kustomization after the other: what it takes in, what it generates, what it changes, in kustomize's order.

use std::sync::Arc;

use crate::config::{self, TransformerConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::kustomization::{FILE_NAMES, Kustomization, PatchEntry, Text, Var, decode};
use crate::load::{Loader, shown};
use crate::merge_keys::MergeKeys;
use crate::options::{Options, RootEdits};
use crate::origin::Origin;
use crate::resource::Resource;
use crate::resources::Resources;
use crate::transform::patches::Patch;
use crate::transform::{self, names::Affix, namespace::NamespaceTransformer};
use crate::tree::{self, EntryKind};
use crate::{flux, plugins, read};

/// Kustomizations that one build may pass through, however often each.
const MAX_VISITS: usize = 20_000;
/// Resources that one build may hold.
const MAX_RESOURCES: usize = 200_000;

/// What the whole build shares.
pub(crate) struct Context {
    pub(crate) merge_keys: Arc<MergeKeys>,
    /// Whether a kustomization has named its own schema already; the first one counts.
    own_schema: bool,
    pub(crate) warnings: Vec<String>,
    visits: usize,
}

impl Context {
    pub(crate) fn new() -> Self {
        Self {
            merge_keys: Arc::clone(MergeKeys::builtin()),
            own_schema: false,
            warnings: Vec::new(),
            visits: 0,
        }
    }
}

/// What was accumulated so far: resources, and the rules that came with them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Accumulated {
    pub(crate) resources: Resources,
    pub(crate) config: Option<Arc<TransformerConfig>>,
    pub(crate) vars: Vec<Var>,
}

impl Accumulated {
    fn merge_config(&mut self, other: &Arc<TransformerConfig>) -> Result<()> {
        self.config = Some(config::merged(self.config.take(), other)?);
        Ok(())
    }

    fn merge(&mut self, other: Self) -> Result<()> {
        self.resources.append_all(other.resources.into_items())?;
        if let Some(config) = &other.config {
            self.merge_config(config)?;
        }
        transform::vars::merge(&mut self.vars, other.vars)
    }
}

/// A kustomization and where it stands.
pub(crate) struct Target<'t> {
    pub(crate) loader: Loader<'t>,
    pub(crate) kustomization: Kustomization,
    /// The path of its file in the tree.
    pub(crate) file: String,
    /// Where it comes from, if origins are written down.
    pub(crate) origin: Option<Origin>,
}

impl<'t> Target<'t> {
    /// The kustomization that the build starts from, with the edits that were asked for.
    pub(crate) fn root(loader: Loader<'t>, options: &Options) -> Result<Self> {
        let found = find_file(&loader)?;
        let (file, mut kustomization) = match found {
            Some(file) => {
                let kustomization = read_kustomization(&loader, &file)?;
                (file, kustomization)
            }
            None if options.generate => flux::generated(&loader)?,
            None => return Err(no_kustomization(&loader.root)),
        };
        edit(&mut kustomization, &options.root, &loader)?;
        let origin = (!kustomization.build_metadata.is_empty()).then(Origin::default);
        Ok(Self {
            loader,
            kustomization,
            file,
            origin,
        })
    }

    /// A base or a component.
    fn nested(&self, path: &Text) -> Result<Self> {
        let loader = self
            .loader
            .enter(&path.content)
            .map_err(|error| self.place(error, path))?;
        let Some(file) = find_file(&loader)? else {
            return Err(self.place(no_kustomization(&loader.root), path));
        };
        let mut kustomization = read_kustomization(&loader, &file)?;
        kustomization
            .build_metadata
            .clone_from(&self.kustomization.build_metadata);
        let origin = self.origin.as_ref().map(|origin| origin.append(&path.content));
        Ok(Self {
            loader,
            kustomization,
            file,
            origin,
        })
    }

    /// The name of the file without its directory.
    pub(crate) fn file_name(&self) -> &str {
        tree::file_name(&self.file)
    }

    /// An error about a path that the kustomization names.
    pub(crate) fn place(&self, error: Error, path: &Text) -> Error {
        error.in_field(path.field.clone()).at(&self.file, path.line)
    }

    pub(crate) fn accumulate(
        &self,
        context: &mut Context,
        mut all: Accumulated,
    ) -> Result<Accumulated> {
        context.visits += 1;
        if context.visits > MAX_VISITS {
            return Err(Error::new(
                ErrorKind::Limit,
                format!("the build passes through more than {MAX_VISITS} kustomizations"),
            ));
        }
        for warning in &self.kustomization.warnings {
            context.warnings.push(format!("{}: {warning}", self.file));
        }
        self.resources(context, &mut all, &self.kustomization.resources)?;
        self.configure(&mut all)?;
        self.generate(context, &mut all)?;
        for path in &self.kustomization.components {
            let nested = self.nested(path)?;
            nested.use_schema(context)?;
            if !nested.kustomization.component {
                return Err(self.place(
                    Error::invalid(format!(
                        "expected kind 'Component' for path '{}'",
                        shown(&nested.loader.root)
                    )),
                    path,
                ));
            }
            all = nested.accumulate(context, all)?;
        }
        self.transform(context, &mut all)?;
        self.validate(context, &mut all)?;
        transform::vars::note(&mut all.resources, &self.kustomization.vars)
            .and_then(|()| transform::vars::merge(&mut all.vars, self.kustomization.vars.clone()))
            .map_err(|error| error.in_field("vars").in_file(&self.file))?;
        Ok(all)
    }

    /// Takes in files and directories.
    pub(crate) fn resources(
        &self,
        context: &mut Context,
        all: &mut Accumulated,
        paths: &[Text],
    ) -> Result<()> {
        for path in paths {
            match self
                .loader
                .kind(&path.content)
                .map_err(|error| self.place(error, path))?
            {
                Some(EntryKind::File) => {
                    let resources = self.file_resources(path)?;
                    all.resources
                        .append_all(resources)
                        .map_err(|error| self.place(error, path))?;
                }
                _ => {
                    let nested = self.nested(path)?;
                    nested.use_schema(context)?;
                    if nested.kustomization.component {
                        return Err(self.place(
                            Error::invalid(format!(
                                "expected kind != 'Component' for path '{}'",
                                shown(&nested.loader.root)
                            ))
                            .hint("name it in `components`"),
                            path,
                        ));
                    }
                    let inner = nested.accumulate(context, Accumulated::default())?;
                    all.merge(inner).map_err(|error| self.place(error, path))?;
                }
            }
            if all.resources.len() > MAX_RESOURCES {
                return Err(Error::new(
                    ErrorKind::Limit,
                    format!("the build holds more than {MAX_RESOURCES} resources"),
                ));
            }
        }
        Ok(())
    }

    fn file_resources(&self, path: &Text) -> Result<Vec<Resource>> {
        let file = self
            .loader
            .file(&path.content)
            .map_err(|error| self.place(error, path))?;
        let bytes = self
            .loader
            .tree
            .read(&file)
            .map_err(|error| self.place(error.into(), path))?;
        let mut resources = read::resources(&file, &bytes)?;
        let source: Arc<str> = Arc::from(file.as_str());
        for resource in &mut resources {
            resource.source = Some(Arc::clone(&source));
        }
        if let Some(origin) = &self.origin {
            let origin = origin.append(&path.content).to_yaml();
            for resource in &mut resources {
                resource.set_origin(&origin);
            }
        }
        // kustomize checks a file by itself first.
        let mut one = Resources::default();
        one.append_all(resources)
            .map_err(|error| error.in_file(&file))?;
        Ok(one.into_items())
    }

    /// Takes up the schema that the kustomization names, if none before it did.
    fn use_schema(&self, context: &mut Context) -> Result<()> {
        self.schema(context, false)
    }

    /// The schema of the root replaces the built-in one; others add to it.
    pub(crate) fn schema(&self, context: &mut Context, root: bool) -> Result<()> {
        let field = |name: &str| {
            self.kustomization
                .openapi
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value)
        };
        let here = |error: Error| error.in_field("openapi").in_file(&self.file);
        match (field("path"), field("version")) {
            (Some(_), Some(_)) if !context.own_schema => {
                return Err(here(Error::invalid(
                    "builtin version and custom schema provided, cannot use both",
                )));
            }
            (Some(path), _) => {
                let bytes = self.loader.load(path).map_err(here)?;
                if context.own_schema {
                    return Ok(());
                }
                context.own_schema = true;
                let text = String::from_utf8_lossy(&bytes);
                let mut keys = if root {
                    MergeKeys::default()
                } else {
                    (*context.merge_keys).clone()
                };
                if let Some(document) = decode::document(path, &text)? {
                    let dialect = fairway_yaml::Dialect::Kubectl;
                    let value = document
                        .to_json_as(dialect)
                        .map_err(|error| Error::syntax(&error).of_file(path))?;
                    keys.add_openapi(&value).map_err(here)?;
                }
                context.merge_keys = Arc::new(keys);
            }
            (None, Some(version)) if !context.own_schema && !version.is_empty() => {
                if version != "v1.21.2" {
                    return Err(here(
                        Error::invalid(format!(
                            "the specified OpenAPI version {version} is not built in"
                        ))
                        .hint("v1.21.2 is"),
                    ));
                }
                context.own_schema = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn configure(&self, all: &mut Accumulated) -> Result<()> {
        let mut own = Arc::clone(config::default_config());
        for path in &self.kustomization.configurations {
            let more = TransformerConfig::parse(&path.content, &self.text_of(path)?)
                .map_err(|error| self.place(error, path))?;
            own = config::merged(Some(own), &Arc::new(more))
                .map_err(|error| self.place(error, path))?;
        }
        all.merge_config(&own)?;
        for path in &self.kustomization.crds {
            let text = self.text_of(path)?;
            let more = config::from_definitions(&path.content, &text)
                .map_err(|error| self.place(error, path))?;
            all.merge_config(&Arc::new(more))
                .map_err(|error| self.place(error, path))?;
        }
        Ok(())
    }

    fn text_of(&self, path: &Text) -> Result<String> {
        let bytes = self
            .loader
            .load(&path.content)
            .map_err(|error| self.place(error, path))?;
        match std::str::from_utf8(&bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(self.place(
                Error::new(
                    ErrorKind::Syntax,
                    format!("{} is not UTF-8 text", path.content),
                ),
                path,
            )),
        }
    }

    fn generate(&self, context: &mut Context, all: &mut Accumulated) -> Result<()> {
        let source: Arc<str> = Arc::from(self.file.as_str());
        for mut made in plugins::generated(self, context)? {
            made.resource.source = Some(Arc::clone(&source));
            all.resources
                .absorb(made.resource)
                .map_err(|error| match made.place {
                    Some((line, field)) => error.in_field(field).at(&self.file, line),
                    None => error.in_file(&self.file),
                })?;
        }
        Ok(())
    }

    fn transform(&self, context: &mut Context, all: &mut Accumulated) -> Result<()> {
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
                        .at(&self.file, entry.line)
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
                    .at(&self.file, entry.line)
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
            let replacements = self.replacements(&own.replacements)?;
            transform::replacements::transform(resources, &replacements)
                .map_err(|error| here(error, "replacements"))?;
            self.done(resources, "ReplacementTransformer");
        }
        plugins::transform(self, context, all, &own.transformers)
    }

    fn validate(&self, context: &mut Context, all: &mut Accumulated) -> Result<()> {
        plugins::validate(self, context, all)
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
        match read::resources(&self.file, entry.content.as_bytes()) {
            Ok(patches) => Ok(patches),
            Err(error) if entry.content.contains('\n') => Err(error.in_field(entry.field.clone())),
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
                read::resources(&file, &bytes)
            }
        }
    }

    /// Reads one entry of `patches`.
    pub(crate) fn patch(&self, entry: &PatchEntry) -> Result<Patch> {
        let here = |error: Error| {
            error
                .in_field(entry.field.clone())
                .at(&self.file, entry.line)
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
            (_, "") => Patch::parse(&self.file, inline)
                .map_err(|error| error.in_field(format!("{}.patch", entry.field)))?,
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

/// The kustomization file of a directory.
pub(crate) fn find_file(loader: &Loader<'_>) -> Result<Option<String>> {
    let mut found = None;
    for name in FILE_NAMES {
        let path = tree::join(&loader.root, name).unwrap_or_default();
        if loader.tree.kind(&path)? == Some(EntryKind::File) {
            if found.is_some() {
                return Err(Error::conflict(format!(
                    "Found multiple kustomization files under: {}",
                    shown(&loader.root)
                ))
                .hint("keep one of kustomization.yaml, kustomization.yml and Kustomization"));
            }
            found = Some(path);
        }
    }
    Ok(found)
}

fn read_kustomization(loader: &Loader<'_>, file: &str) -> Result<Kustomization> {
    let bytes = loader.load(&format!("./{}", tree::file_name(file)))?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| Error::new(ErrorKind::Syntax, "the file is not UTF-8 text").in_file(file))?;
    Kustomization::parse(file, text)
}

fn no_kustomization(dir: &str) -> Error {
    Error::missing(format!(
        "unable to find one of 'kustomization.yaml', 'kustomization.yml' or 'Kustomization' in directory '{}'",
        shown(dir)
    ))
}

/// Makes the changes that a Flux Kustomization asks for.
fn edit(kustomization: &mut Kustomization, edits: &RootEdits, loader: &Loader<'_>) -> Result<()> {
    for (field, value) in [
        (&mut kustomization.namespace, &edits.namespace),
        (&mut kustomization.name_prefix, &edits.name_prefix),
        (&mut kustomization.name_suffix, &edits.name_suffix),
    ] {
        if let Some(value) = value {
            field.clone_from(value);
        }
    }
    for (at, patch) in edits.patches.iter().enumerate() {
        kustomization.patches.push(PatchEntry {
            patch: patch.patch.clone(),
            target: patch.target.clone(),
            field: format!("spec.patches[{at}]"),
            ..PatchEntry::default()
        });
    }
    for image in &edits.images {
        match kustomization
            .images
            .iter_mut()
            .find(|have| have.name == image.name)
        {
            Some(have) => have.clone_from(image),
            None => kustomization.images.push(image.clone()),
        }
    }
    for (at, path) in edits.components.iter().enumerate() {
        let field = format!("spec.components[{at}]");
        if path.contains("://") || path.starts_with('/') {
            return Err(Error::refused(format!(
                "component path '{path}' must be local and relative"
            ))
            .in_field(field));
        }
        if edits.ignore_missing_components && loader.kind(path)?.is_none() {
            continue;
        }
        kustomization.components.push(Text { content: path.clone(),
            line: 0,
            field,
        });
    }
    if !edits.build_metadata.is_empty() {
        kustomization
            .build_metadata
            .clone_from(&edits.build_metadata);
    }
    Ok(())
}
