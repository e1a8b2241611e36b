//! Whether a dependency is ready, as Flux judges it.

use fairway_cel::Expression;
use fairway_types::{Kustomization, conditions, names};
use kube::ResourceExt;

use crate::source::NOT_RUN;

/// Why a run has to wait for its dependencies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blocked {
    /// One is not ready.
    NotReady(String),
    /// An expression cannot be read: nothing changes before it does.
    Invalid(String),
}

/// Asks a `readyExpr`, over `self` and `dep`.
pub fn by_expression(
    text: &str,
    object: &Kustomization,
    dependency: &Kustomization,
) -> Result<(), Blocked> {
    let (namespace, name) = (
        dependency.namespace().unwrap_or_default(),
        dependency.name_any(),
    );
    let expression = Expression::compile(text, &["self", "dep"]).map_err(|error| {
        Blocked::Invalid(format!(
            "terminal error: failed to evaluate dependency {name}: {error}"
        ))
    })?;
    let json = |object: &Kustomization| {
        serde_json::to_value(object).map_err(|error| Blocked::NotReady(error.to_string()))
    };
    let (object, dependency) = (json(object)?, json(dependency)?);
    match expression.is_true(&[("self", &object), ("dep", &dependency)]) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Blocked::NotReady(format!(
            "dependency '{namespace}/{name}' is not ready according to readyExpr eval"
        ))),
        Err(error) => Err(Blocked::NotReady(error.to_string())),
    }
}

/// What is known about a dependency beside the object itself.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The current revision of the source that both share, if they share one.
    pub shared_revision: Option<&'a str>,
    /// The dependency is applied with exactly the objects that this revision renders, whatever its status says yet.
    pub renders_the_same: bool,
    /// What is not run counts as ready.
    pub not_run_is_ready: bool,
}

/// Why the dependency is not ready; nothing where it is.
pub fn why_not(
    namespace: &str,
    name: &str,
    dependency: Option<&Kustomization>,
    known: Known<'_>,
) -> Option<String> {
    let id = format!("{namespace}/{name}");
    let Some(dependency) = dependency else {
        return Some(format!(
            "dependency '{id}' not found: kustomizations.kustomize.toolkit.fluxcd.io \"{name}\" not found"
        ));
    };
    let not_ready = || Some(format!("dependency '{id}' is not ready"));
    let Some(status) = &dependency.status else {
        return not_ready();
    };
    let ready = conditions::get(&status.conditions, names::READY);
    if known.not_run_is_ready && ready.is_some_and(|condition| condition.reason == NOT_RUN) {
        return None;
    }
    if status.observed_generation != dependency.metadata.generation
        || dependency.metadata.deletion_timestamp.is_some()
        || !conditions::is_true(&status.conditions, names::READY)
    {
        return not_ready();
    }
    match known.shared_revision {
        Some(revision)
            if status.last_applied_revision.as_deref() != Some(revision)
                && !known.renders_the_same =>
        {
            Some(format!("dependency '{id}' revision is not up to date"))
        }
        _ => None,
    }
}

/// Whether two Kustomizations of one home are built from the same source.
pub fn share_source(a: &Kustomization, b: &Kustomization) -> bool {
    let source = |object: &Kustomization| {
        let reference = &object.spec.source_ref;
        let namespace = reference.namespace.clone().or_else(|| object.namespace());
        (reference.kind.clone(), reference.name.clone(), namespace)
    };
    source(a) == source(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn dependency(status: &str, generation: i64, revision: &str) -> Kustomization {
        serde_json::from_value(json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": {"name": "b", "namespace": "ns", "generation": 2},
            "spec": {"interval": "1m", "prune": true, "sourceRef": {"kind": "GitRepository", "name": "s"}},
            "status": {"observedGeneration": generation, "lastAppliedRevision": revision, "conditions": [{
                "type": "Ready", "status": status, "reason": if status == "Unknown" { "NotRun" } else { "X" },
                "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
            }]},
        }))
        .unwrap()
    }

    const ALONE: Known<'_> = Known {
        shared_revision: None,
        renders_the_same: false,
        not_run_is_ready: false,
    };

    #[test]
    fn exists_is_current_ready_and_of_the_same_revision() {
        let why = |dependency: Option<&Kustomization>, known| why_not("ns", "b", dependency, known);
        assert_eq!(
            why(None, ALONE).unwrap(),
            "dependency 'ns/b' not found: kustomizations.kustomize.toolkit.fluxcd.io \"b\" not found"
        );
        assert_eq!(why(Some(&dependency("True", 2, "r1")), ALONE), None);
        assert_eq!(
            why(Some(&dependency("True", 1, "r1")), ALONE).unwrap(),
            "dependency 'ns/b' is not ready"
        );
        assert_eq!(
            why(Some(&dependency("False", 2, "r1")), ALONE).unwrap(),
            "dependency 'ns/b' is not ready"
        );
        let shared = Known {
            shared_revision: Some("r2"),
            ..ALONE
        };
        assert_eq!(
            why(Some(&dependency("True", 2, "r1")), shared).unwrap(),
            "dependency 'ns/b' revision is not up to date"
        );
        assert_eq!(why(Some(&dependency("True", 2, "r2")), shared), None);
        assert_eq!(
            why(
                Some(&dependency("True", 2, "r1")),
                Known {
                    renders_the_same: true,
                    ..shared
                }
            ),
            None
        );
    }

    #[test]
    fn an_expression_is_asked_about_both() {
        let (object, not_ready) = (dependency("True", 2, "r1"), dependency("False", 2, "r1"));
        let ask = |text: &str| by_expression(text, &object, &not_ready);
        assert_eq!(
            ask("dep.status.lastAppliedRevision == self.status.lastAppliedRevision"),
            Ok(())
        );
        assert_eq!(
            ask("dep.status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')"),
            Err(Blocked::NotReady(
                "dependency 'ns/b' is not ready according to readyExpr eval".into()
            ))
        );
        let Err(Blocked::Invalid(why)) = ask("dep.status.") else {
            panic!("read an expression that ends in a dot")
        };
        assert!(
            why.starts_with("terminal error: failed to evaluate dependency b: failed to parse"),
            "{why}"
        );
        assert!(matches!(ask("other.status == 1"), Err(Blocked::Invalid(_))));
        assert!(matches!(
            ask("dep.status.nothing == 'x'"),
            Err(Blocked::NotReady(_))
        ));
    }

    #[test]
    fn what_is_not_run_passes_only_where_that_is_asked_for() {
        let object = dependency("Unknown", 2, "r1");
        assert!(why_not("ns", "b", Some(&object), ALONE).is_some());
        assert!(
            why_not(
                "ns",
                "b",
                Some(&object),
                Known {
                    not_run_is_ready: true,
                    ..ALONE
                }
            )
            .is_none()
        );
    }

    #[test]
    fn the_namespace_of_a_source_defaults_to_the_objects() {
        let (a, mut b) = (dependency("True", 2, "r"), dependency("True", 2, "r"));
        b.spec.source_ref.namespace = Some("ns".into());
        assert!(share_source(&a, &b));
        b.spec.source_ref.namespace = Some("other".into());
        assert!(!share_source(&a, &b));
    }
}
