//! The whole build: accumulate, then what is done once at the end.

use std::collections::HashSet;

use serde_json::Value;

use crate::accumulate::{Accumulated, Context};
use crate::bases::Bases;
use crate::error::{Error, Result};
use crate::id::{Gvk, ResId};
use crate::load::Loader;
use crate::options::Options;
use crate::parallel;
use crate::refold::refold;
use crate::resource::{self, lost_its_name};
use crate::resources::Resources;
use crate::target::Target;
use crate::transform;
use crate::tree::FileTree;

/// What came out of a build.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Build {
    /// The objects in the order of the output.
    pub resources: Vec<Resource>,
    /// What a person should know and nothing depends on: deprecated fields, vars that nothing uses.
    pub warnings: Vec<String>,
}

/// One object of a build.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// The object.
    pub object: Value,
    /// The path in the tree of the file that it comes from; of a generated one, that of the kustomization file.
    pub origin: Option<String>,
}

/// A build as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rendered {
    /// What `kustomize build` prints.
    pub yaml: String,
    /// As in [`Build::warnings`].
    pub warnings: Vec<String>,
}

impl Build {
    /// The objects as `kustomize build` prints them.
    pub fn to_yaml(&self) -> String {
        fairway_yaml::emit::documents(self.resources.iter().map(|resource| &resource.object))
    }

    /// Each object as a file of its own, under the name that `kustomize build -o DIRECTORY` gives it.
    pub fn to_files(&self) -> Vec<(String, String)> {
        let ids: Vec<ResId> = self
            .resources
            .iter()
            .map(|resource| {
                let text = |path: &str| resource.object.pointer(path).and_then(Value::as_str);
                let gvk = Gvk::parse(
                    text("/apiVersion").unwrap_or_default(),
                    text("/kind").unwrap_or_default(),
                );
                let namespace = text("/metadata/namespace").unwrap_or_default();
                ResId::new(gvk, text("/metadata/name").unwrap_or_default(), namespace)
            })
            .collect();
        let namespaces: HashSet<&str> = ids
            .iter()
            .filter(|id| !id.cluster_scoped)
            .map(ResId::effective_namespace)
            .collect();
        let name = |id: &ResId| {
            let with_namespace = namespaces.len() > 1 && !id.cluster_scoped;
            let namespace = if with_namespace {
                id.effective_namespace()
            } else {
                ""
            };
            let gvk = &id.gvk;
            let parts = [namespace, &gvk.group, &gvk.version, &gvk.kind, &id.name];
            let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            // A name with a slash would lead out of the directory.
            format!("{}.yaml", parts.join("_").to_lowercase()).replace('/', "_")
        };
        self.resources
            .iter()
            .zip(&ids)
            .map(|(resource, id)| (name(id), fairway_yaml::emit::to_string(&resource.object)))
            .collect()
    }
}

/// Builds the kustomization in the directory `path` of `tree`.
///
/// # Errors
///
/// The first thing that is wrong, with its file, line and field.
pub fn build(
    tree: &dyn FileTree,
    path: &str,
    options: &Options,
) -> std::result::Result<Build, Error> {
    Finished::new(tree, path, options, None)?.into_build()
}

/// Like [`build`], taking what bases come to from other builds of the same tree, and keeping it for them.
///
/// # Errors
///
/// As [`build`].
pub fn build_with(
    tree: &dyn FileTree,
    path: &str,
    options: &Options,
    bases: &Bases,
) -> std::result::Result<Build, Error> {
    Finished::new(tree, path, options, Some(bases))?.into_build()
}

/// The text of [`build`]: in less time and memory than its objects take.
///
/// # Errors
///
/// As [`build`].
pub fn render(
    tree: &dyn FileTree,
    path: &str,
    options: &Options,
) -> std::result::Result<Rendered, Error> {
    Finished::new(tree, path, options, None)?.into_text()
}

/// All resources as they leave the build, but for what kustomize writes down for itself.
struct Finished {
    resources: Vec<resource::Resource>,
    keep_origin: bool,
    keep_transformations: bool,
    warnings: Vec<String>,
}

impl Finished {
    fn new(
        tree: &dyn FileTree,
        path: &str,
        options: &Options,
        bases: Option<&Bases>,
    ) -> Result<Self> {
        let finished = || {
            let loader = Loader::new(tree, path, options.load_restrictor)?;
            let target = Target::root(loader, options)?;
            let mut context = Context::new(bases);
            target.schema(&mut context, true)?;
            let all = target.accumulate(&mut context, Accumulated::default())?;
            finish(&target, context, all, options)
        };
        finished().map_err(|error: Error| error.shown_by(tree))
    }

    fn into_build(self) -> Result<Build> {
        let (keep_origin, keep_transformations) = (self.keep_origin, self.keep_transformations);
        let whole = |resource: resource::Resource| {
            let origin = resource.source.as_deref().map(str::to_owned);
            let object = object(resource, keep_origin, keep_transformations)?;
            Ok(Resource { object, origin })
        };
        let chunks = parallel::map(chunks(self.resources), |chunk| {
            chunk.into_iter().map(whole).collect::<Result<Vec<_>>>()
        });
        let chunks = chunks.into_iter().collect::<Result<Vec<_>>>()?;
        Ok(Build {
            resources: chunks.into_iter().flatten().collect(),
            warnings: self.warnings,
        })
    }

    fn into_text(self) -> Result<Rendered> {
        let (keep_origin, keep_transformations) = (self.keep_origin, self.keep_transformations);
        let texts = parallel::map(chunks(self.resources), |chunk| {
            let mut out = String::new();
            for resource in chunk {
                let object = object(resource, keep_origin, keep_transformations)?;
                if !out.is_empty() {
                    out.push_str(SEPARATOR);
                }
                fairway_yaml::emit::write(&mut out, &object);
            }
            Ok(out)
        });
        let texts = texts.into_iter().collect::<Result<Vec<String>>>()?;
        Ok(Rendered {
            yaml: texts.join(SEPARATOR),
            warnings: self.warnings,
        })
    }
}

/// What stands between two objects.
const SEPARATOR: &str = "---\n";

/// A resource as JSON.
fn object(
    mut resource: resource::Resource,
    keep_origin: bool,
    keep_transformations: bool,
) -> Result<Value> {
    resource.close_books(keep_origin, keep_transformations);
    let id = resource.id();
    let mut object = resource.take_object();
    refold(&mut object).map_err(|error| error.while_doing(&id))?;
    let object = object
        .into_json()
        .map_err(|error| Error::invalid(error.message).while_doing(&id))?;
    check_characters(&object).map_err(|error| error.while_doing(id))?;
    Ok(object)
}

/// Resources for one thread after the other.
fn chunks(resources: Vec<resource::Resource>) -> Vec<Vec<resource::Resource>> {
    const CHUNK: usize = 64;
    let mut resources = resources.into_iter();
    std::iter::from_fn(|| {
        let chunk: Vec<_> = resources.by_ref().take(CHUNK).collect();
        (!chunk.is_empty()).then_some(chunk)
    })
    .collect()
}

fn finish(
    target: &Target<'_>,
    mut context: Context,
    all: Accumulated,
    options: &Options,
) -> Result<Finished> {
    let Accumulated {
        mut resources,
        config,
        vars,
    } = all;
    transform::hash::transform(&mut resources)?;
    if let Some(config) = &config {
        transform::name_references::transform(&mut resources, &config.name_reference)?;
        let unused = transform::vars::resolve(&mut resources, &vars, &config.var_reference)
            .map_err(|error| error.in_field("vars").in_file(&target.file))?;
        if !unused.is_empty() {
            context.warnings.push(format!(
                "well-defined vars that were never replaced: {}",
                unused.join(",")
            ));
        }
    }
    drop_local(&mut resources);
    for resource in resources.iter() {
        if resource.kind().is_empty()
            || (resource.name().is_empty() && !resource.kind().ends_with("List"))
        {
            return Err(lost_its_name().while_doing(resource.original_id()));
        }
    }
    let own = &target.kustomization;
    transform::sort::sort(&mut resources, own.sort_options.as_ref(), options.order)
        .map_err(|error| error.in_file(&target.file))?;
    let says = |option: &str| own.build_metadata.iter().any(|have| have == option);
    if says("managedByLabel") {
        let spec = crate::field_spec::FieldSpec::new(Gvk::default(), "metadata/labels", true);
        let pair = (
            "app.kubernetes.io/managed-by".to_owned(),
            "kustomize-v5.8.1".to_owned(),
        );
        transform::labels::transform(&mut resources, &[pair], &[spec])?;
    }
    Ok(Finished {
        resources: resources.into_items(),
        keep_origin: says("originAnnotations"),
        keep_transformations: says("transformerAnnotations"),
        warnings: context.warnings,
    })
}

/// Refuses the characters that YAML allows neither plain nor in the JSON that kustomize passes through.
fn check_characters(value: &Value) -> Result<()> {
    let check = |text: &str| {
        let bad = |c: &char| matches!(c, '\u{7f}'..='\u{84}' | '\u{86}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}');
        match text.chars().find(bad) {
            Some(c) => Err(Error::invalid(format!(
                "control characters are not allowed: U+{:04X}",
                u32::from(c)
            ))),
            None => Ok(()),
        }
    };
    match value {
        Value::String(text) => check(text),
        Value::Array(items) => items.iter().try_for_each(check_characters),
        Value::Object(map) => map.iter().try_for_each(|(key, value)| {
            check(key)?;
            check_characters(value)
        }),
        _ => Ok(()),
    }
}

/// Resources that only configure tools do not leave the build.
fn drop_local(resources: &mut Resources) {
    let local = |resource: &crate::resource::Resource| {
        resource
            .annotation("config.kubernetes.io/local-config")
            .is_some_and(|value| value != "false")
    };
    if resources.iter().any(&local) {
        resources.items_mut().retain(|resource| !local(resource));
    }
}
