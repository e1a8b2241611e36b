//! An expression over a live object of the target clusters, or over the list of clusters.

use std::time::Duration;

use fairway_cel::Expression;
use fairway_types::check::CelCheck;
use fairway_types::reference::ObjectReference;
use serde_json::Value;

use super::judge::{Policy, Sample, Seen};
use super::places::{Place, Way};

const VARIABLES: [&str; 3] = ["object", "clusters", "subject"];
/// How long one cluster may take to answer.
const PATIENCE: Duration = Duration::from_secs(15);

pub(super) fn policy(check: &CelCheck) -> Policy {
    Policy {
        interval: check.interval().get(),
        count: 1,
        failure_limit: 0,
        timeout: check.timeout().get(),
    }
}

/// Takes one sample.
pub(super) async fn sample(check: &CelCheck, places: &[Place], subject: &Value) -> Sample {
    let compiled = |text: &str| Expression::compile(text, &VARIABLES);
    let (expr, failed) = match (
        compiled(&check.expr),
        check.failed.as_deref().map(compiled).transpose(),
    ) {
        (Ok(expr), Ok(failed)) => (expr, failed),
        (Err(error), _) | (_, Err(error)) => return Sample::Invalid(error.to_string()),
    };
    let clusters = Value::Array(places.iter().map(Place::json).collect());
    let look = Look {
        expr,
        failed,
        clusters,
        subject,
    };
    let Some(reference) = &check.object else {
        return look.at(&Value::Null, "the expression");
    };
    if places.is_empty() {
        return Sample::Inconclusive(Seen::new("there is no cluster to look at"));
    }
    let looks = places.iter().map(|place| async {
        let what = format!("{} {} in {}", reference.kind, reference.name, place.cluster);
        let way = match &place.way {
            Ok(way) => way,
            Err(why) => {
                return Sample::Inconclusive(Seen::new(format!("{}: {why}", place.cluster)));
            }
        };
        match tokio::time::timeout(PATIENCE, read(way, reference)).await {
            Err(_) => Sample::Inconclusive(Seen::new(format!(
                "{what} was not read within {PATIENCE:?}"
            ))),
            Ok(Err(error)) => {
                Sample::Inconclusive(Seen::new(format!("{what} cannot be read: {error}")))
            }
            Ok(Ok(None)) => Sample::Inconclusive(Seen::new(format!("{what} is not there"))),
            Ok(Ok(Some(object))) => look.at(&object, &what),
        }
    });
    all(futures::future::join_all(looks).await)
}

async fn read(
    way: &Way,
    reference: &ObjectReference,
) -> Result<Option<Value>, fairway_apply::RequestError> {
    let resource = match &reference.api_version {
        Some(version) => way.mapper.resource(version, &reference.kind).await?,
        None => way.mapper.of_kind(&reference.kind).await?,
    };
    let namespace = reference.namespace.as_deref().unwrap_or(&way.namespace);
    way.session.get(&resource, namespace, &reference.name).await
}

struct Look<'a> {
    expr: Expression,
    failed: Option<Expression>,
    clusters: Value,
    subject: &'a Value,
}

impl Look<'_> {
    fn at(&self, object: &Value, what: &str) -> Sample {
        let variables = [
            ("object", object),
            ("clusters", &self.clusters),
            ("subject", self.subject),
        ];
        if let Some(failed) = &self.failed {
            match failed.is_true(&variables) {
                Ok(true) => {
                    return Sample::Failed(Seen::new(format!(
                        "{what}: '{}' is true",
                        failed.source()
                    )));
                }
                Ok(false) => {}
                Err(error) => return unevaluated(what, &error),
            }
        }
        match self.expr.is_true(&variables) {
            Ok(true) => Sample::Passed(Seen::new(format!(
                "{what}: '{}' is true",
                self.expr.source()
            ))),
            Ok(false) => Sample::Inconclusive(Seen::new(format!(
                "{what}: '{}' is not true yet",
                self.expr.source()
            ))),
            Err(error) => unevaluated(what, &error),
        }
    }
}

/// A field that is not there may come with time; a result that is no bool will not become one.
fn unevaluated(what: &str, error: &fairway_cel::Error) -> Sample {
    match error {
        fairway_cel::Error::Evaluate { .. } => {
            Sample::Inconclusive(Seen::new(format!("{what}: {error}")))
        }
        _ => Sample::Invalid(error.to_string()),
    }
}

/// One sample of many: all must pass, and what failed is named before what is waited for.
pub(super) fn all(samples: Vec<Sample>) -> Sample {
    let count = samples.len();
    let rank = |sample: &Sample| match sample {
        Sample::Invalid(_) => 3,
        Sample::Failed(_) => 2,
        Sample::Inconclusive(_) => 1,
        Sample::Passed(_) => 0,
    };
    let waiting = samples.iter().filter(|sample| rank(sample) == 1).count();
    let Some(mut worst) = samples.into_iter().rev().max_by_key(rank) else {
        return Sample::Inconclusive(Seen::new("there is nothing to look at"));
    };
    match &mut worst {
        Sample::Passed(seen) if count > 1 => {
            seen.message = format!("{} (and in all {count} clusters)", seen.message);
        }
        Sample::Inconclusive(seen) if waiting > 1 => {
            seen.message = format!("{} (and {} more clusters)", seen.message, waiting - 1);
        }
        _ => {}
    }
    worst
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn look(expr: &str, failed: Option<&str>, object: &Value) -> Sample {
        let subject = json!({"stage": "prod", "version": "1.2.3"});
        let look = Look {
            expr: Expression::compile(expr, &VARIABLES).unwrap(),
            failed: failed.map(|text| Expression::compile(text, &VARIABLES).unwrap()),
            clusters: json!([{"name": "a", "labels": {"region": "eu"}, "ready": true}]),
            subject: &subject,
        };
        look.at(object, "Canary web in a")
    }

    #[test]
    fn an_expression_is_waited_for() {
        let canary = json!({"status": {"canaryWeight": 50, "phase": "Progressing"}});
        let weight = "object.status.canaryWeight >= 50";
        assert!(matches!(look(weight, None, &canary), Sample::Passed(_)));
        assert_eq!(
            look(
                "object.status.canaryWeight == 100",
                Some("object.status.phase == 'Failed'"),
                &canary
            ),
            Sample::Inconclusive(Seen::new(
                "Canary web in a: 'object.status.canaryWeight == 100' is not true yet"
            ))
        );
        let failed = json!({"status": {"canaryWeight": 0, "phase": "Failed"}});
        assert!(matches!(
            look(weight, Some("object.status.phase == 'Failed'"), &failed),
            Sample::Failed(_)
        ));
        // A status that is still to come.
        assert!(matches!(
            look(weight, None, &json!({})),
            Sample::Inconclusive(_)
        ));
        assert!(matches!(
            look(
                "clusters.all(c, c.ready) && subject.stage == 'prod'",
                None,
                &Value::Null
            ),
            Sample::Passed(_)
        ));
        // What is certainly no bool is refused before it is asked.
        assert!(Expression::compile("object.spec", &VARIABLES).is_err());
    }

    #[test]
    fn the_worst_of_many_counts() {
        let seen = |text: &str| Seen::new(text);
        assert_eq!(
            all(vec![
                Sample::Passed(seen("a")),
                Sample::Inconclusive(seen("b")),
                Sample::Failed(seen("c")),
            ]),
            Sample::Failed(seen("c"))
        );
        assert_eq!(
            all(vec![
                Sample::Inconclusive(seen("a")),
                Sample::Inconclusive(seen("b"))
            ]),
            Sample::Inconclusive(seen("a (and 1 more clusters)"))
        );
        assert!(matches!(all(Vec::new()), Sample::Inconclusive(_)));
    }
}
