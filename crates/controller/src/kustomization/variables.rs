//! The variables of `postBuild`: from ConfigMaps and Secrets of the home, then inline.

use fairway_types::kustomization::SubstituteStrategy;
use fairway_types::names::reason;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::Api;

use super::failure::Failure;
use crate::build::finish::{Finish, Variables};
use crate::home::Home;
use fairway_types::KustomizationSpec;

/// The same for others, with the error as text.
pub(crate) async fn resolve(
    home: &Home,
    namespace: &str,
    spec: &KustomizationSpec,
    strict: bool,
) -> Result<Finish, String> {
    let found = finish(home, namespace, spec, strict).await;
    found.map_err(|failure| failure.to_string())
}

/// Reads what the spec names. Values of Secrets are text or, where they are not, as near as UTF-8 comes.
pub(super) async fn finish(
    home: &Home,
    namespace: &str,
    spec: &KustomizationSpec,
    strict: bool,
) -> Result<Finish, Failure> {
    let Some(post_build) = &spec.post_build else {
        return Ok(Finish {
            variables: None,
            common: spec.common_metadata.clone(),
        });
    };
    let mut variables = Variables {
        strategy: post_build
            .substitute_strategy
            .unwrap_or(SubstituteStrategy::WithVariables),
        strict,
        ..Variables::default()
    };
    for reference in &post_build.substitute_from {
        let failed = |error: &dyn std::fmt::Display| {
            let (kind, name) = (&reference.kind, &reference.name);
            Failure::failed(
                reason::BUILD_FAILED,
                format!("substitute from '{kind}/{name}' error: {error}"),
            )
        };
        let client = home.connection.client();
        let missing = |plural: &str| failed(&format!("{plural} \"{}\" not found", reference.name));
        match reference.kind.as_str() {
            "ConfigMap" => {
                let api: Api<ConfigMap> = Api::namespaced(client, namespace);
                match api
                    .get_opt(&reference.name)
                    .await
                    .map_err(|error| failed(&error))?
                {
                    Some(found) => {
                        for (name, value) in found.data.unwrap_or_default() {
                            variables.set(name, &value);
                        }
                    }
                    None if reference.optional => {}
                    None => return Err(missing("configmaps")),
                }
            }
            "Secret" => {
                let api: Api<Secret> = Api::namespaced(client, namespace);
                match api
                    .get_opt(&reference.name)
                    .await
                    .map_err(|error| failed(&error))?
                {
                    Some(found) => {
                        for (name, value) in found.data.unwrap_or_default() {
                            variables.set_secret(name, &String::from_utf8_lossy(&value.0));
                        }
                    }
                    None if reference.optional => {}
                    None => return Err(missing("secrets")),
                }
            }
            other => {
                return Err(failed(&format!(
                    "kind '{other}' is neither ConfigMap nor Secret"
                )));
            }
        }
    }
    for (name, value) in &post_build.substitute {
        variables.set(name, value);
    }
    Ok(Finish {
        variables: Some(variables),
        common: spec.common_metadata.clone(),
    })
}
