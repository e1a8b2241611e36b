//! The whole build: accumulate, then what is done once at the end.

use serde_json::Value;

use crate::accumulate::{Accumulated, Context};
use crate::error::{Error, Result};
use crate::load::Loader;
use crate::options::Options;
use crate::resource::lost_its_name;
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

impl Build {
    /// The objects as `kustomize build` prints them.
    pub fn to_yaml(&self) -> String {
        let objects: Vec<&Value> = self
            .resources
            .iter()
            .map(|resource| &resource.object)
            .collect();
        let mut out = String::new();
        for (at, object) in objects.iter().enumerate() {
            if at > 0 {
                out.push_str("---\n");
            }
            out.push_str(&fairway_yaml::emit::to_string(object));
        }
        out
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
    let loader = Loader::new(tree, path, options.load_restrictor)?;
    let target = Target::root(loader, options)?;
    let mut context = Context::new();
    target.schema(&mut context, true)?;
    let all = target.accumulate(&mut context, Accumulated::default())?;
    finish(&target, context, all, options)
}

fn finish(
    target: &Target<'_>,
    mut context: Context,
    all: Accumulated,
    options: &Options,
) -> Result<Build> {
    let Accumulated {
        mut resources,
        config,
        vars,
    } = all;
    transform::hash::transform(&mut resources)?;
    if let Some(config) = &config {
        transform::name_references::transform(&mut resources, &config.name_reference)?;
        let unused = transform::vars::resolve(&mut resources, &vars, &config.var_reference)?;
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
        let spec =
            crate::field_spec::FieldSpec::new(crate::id::Gvk::default(), "metadata/labels", true);
        let pair = (
            "app.kubernetes.io/managed-by".to_owned(),
            "kustomize-v5.8.1".to_owned(),
        );
        transform::labels::transform(&mut resources, &[pair], &[spec])?;
    }
    let (keep_origin, keep_transformations) =
        (says("originAnnotations"), says("transformerAnnotations"));
    let mut out = Vec::with_capacity(resources.len());
    for mut resource in resources.into_items() {
        let origin = resource.source.as_deref().map(str::to_owned);
        resource.close_books(keep_origin, keep_transformations);
        let id = resource.id();
        let object = resource
            .take_object()
            .into_json()
            .map_err(|error| Error::invalid(error.message).while_doing(&id))?;
        check_characters(&object).map_err(|error| error.while_doing(id))?;
        out.push(Resource { object, origin });
    }
    Ok(Build {
        resources: out,
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
