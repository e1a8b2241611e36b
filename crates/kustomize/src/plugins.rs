//! `generators`, `transformers` and `validators`: kustomize's built-in ones, configured by resources of their own.
//! Anything else would have to be executed, and is refused.

use fairway_yaml::Node;

mod transformers;

use transformers::transformer;

use crate::accumulate::{Accumulated, Context};
use crate::error::{Error, Place, Result};
use crate::generate::{self, Generated};
use crate::kustomization::decode::Decoder;
use crate::kustomization::{GeneratorArgs, SecretArgs, Text};
use crate::origin::{self, Origin};
use crate::read;
use crate::resource::Resource;
use crate::target::Target;
use crate::transformations::note_transformer;

/// A generated resource, and the generator's place in the kustomization.
pub(crate) struct Made {
    pub(crate) resource: Resource,
    pub(crate) place: Option<(Place, String)>,
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
                .at(&target.file, args.place)
        };
        let mut resource = generate::make(&target.loader, what, &args).map_err(place)?;
        if let Some(origin) = &target.origin {
            resource.set_origin(&origin.builtin(target.file_name(), kind).to_yaml());
        }
        out.push(Made {
            resource,
            place: Some((args.place, args.field)),
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
    let decoder = Decoder::plugin(config.source.as_deref().unwrap_or(&target.file));
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
