//! A Job in the target clusters. Its name comes from what it is for, so that whoever looks after a crash finds it instead of
//! starting it again; that it was started is part of the evidence, so that one that is gone is not started anew.

use std::collections::BTreeMap;
use std::time::Duration;

use fairway_apply::api::ApplyOptions;
use fairway_apply::{RequestError, Resource};
use fairway_types::check::{Evidence, JobCheck, JobClusters};
use fairway_types::names;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::cel::all;
use super::judge::{Policy, Sample, Seen};
use super::places::{Place, Way};
use super::subject::Subject;
use super::template;
use crate::build::finish::hex;

/// Time between two looks.
const INTERVAL: Duration = Duration::from_secs(2);
/// A finished Job stays at least this long, so that its outcome is seen.
const LEAST_TTL: Duration = Duration::from_mins(1);
/// How long one cluster may take to answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// Label of a Job: the check that it is for.
const CHECK: &str = "fleet.fairway.dev/check";
/// Annotation prefix of a Job: the fields of the subject.
const PREFIX: &str = "fleet.fairway.dev/";

pub(super) fn policy(check: &JobCheck) -> Policy {
    Policy {
        interval: INTERVAL,
        count: 1,
        failure_limit: 0,
        timeout: check.timeout().get(),
    }
}

/// Looks at the Jobs, and starts those that were not.
pub(super) async fn sample(
    name: &str,
    check: &JobCheck,
    places: &[Place],
    subject: &Subject,
    evidence: &Evidence,
) -> Sample {
    let places = match check.clusters {
        JobClusters::First => &places[..places.len().min(1)],
        JobClusters::All => places,
    };
    if places.is_empty() {
        return Sample::Inconclusive(Seen::new("there is no cluster to run it in"));
    }
    let before = states(evidence.value.as_deref());
    let looks = places.iter().map(|place| {
        let started = before.contains_key(&place.cluster);
        let at = At {
            name,
            check,
            subject,
            place,
            started,
        };
        async move {
            match tokio::time::timeout(PATIENCE, at.look()).await {
                Ok(found) => found,
                Err(_) => at.waiting(format!("there was no answer within {PATIENCE:?}")),
            }
        }
    });
    let looked = futures::future::join_all(looks).await;
    let value: Vec<String> = looked
        .iter()
        .filter_map(|(cluster, state, _)| Some(format!("{cluster}={}", (*state)?)))
        .collect();
    let mut sample = all(looked.into_iter().map(|(_, _, sample)| sample).collect());
    if let Sample::Passed(seen) | Sample::Failed(seen) | Sample::Inconclusive(seen) = &mut sample {
        seen.value = Some(value.join(" "));
    }
    sample
}

/// `a=Running b=Complete`, read.
fn states(value: Option<&str>) -> BTreeMap<String, String> {
    value
        .unwrap_or_default()
        .split(' ')
        .filter_map(|pair| pair.split_once('='))
        .map(|(cluster, state)| (cluster.to_owned(), state.to_owned()))
        .collect()
}

/// The cluster, the state of its Job where there is one, and what that means.
type Looked = (String, Option<&'static str>, Sample);

const RUNNING: &str = "Running";

struct At<'a> {
    name: &'a str,
    check: &'a JobCheck,
    subject: &'a Subject,
    place: &'a Place,
    started: bool,
}

impl At<'_> {
    fn waiting(&self, why: String) -> Looked {
        let message = format!("{}: {why}", self.place.cluster);
        let state = self.started.then_some(RUNNING);
        (
            self.place.cluster.clone(),
            state,
            Sample::Inconclusive(Seen::new(message)),
        )
    }

    fn invalid(&self, why: String) -> Looked {
        (
            self.place.cluster.clone(),
            None,
            Sample::Invalid(format!("{}: {why}", self.place.cluster)),
        )
    }

    async fn look(&self) -> Looked {
        let way = match &self.place.way {
            Ok(way) => way,
            Err(why) => return self.waiting(why.clone()),
        };
        let job = match job(
            self.name,
            self.check,
            self.subject,
            &way.namespace,
            &self.place.cluster,
        ) {
            Ok(job) => job,
            Err(why) => return self.invalid(why),
        };
        let resource = match way.mapper.resource("batch/v1", "Job").await {
            Ok(resource) => resource,
            Err(error) => return self.waiting(error.to_string()),
        };
        let text = |pointer: &str| {
            job.pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
        match way.session.get(&resource, namespace, name).await {
            Ok(Some(live)) => self.judge(&live, namespace, name),
            Ok(None) if self.started => self.invalid(format!(
                "Job {namespace}/{name} is gone, and its outcome was not seen"
            )),
            Ok(None) => self.start(way, &resource, &job).await,
            Err(error) => self.refused(&error),
        }
    }

    async fn start(&self, way: &Way, resource: &Resource, job: &Value) -> Looked {
        let options = ApplyOptions {
            manager: names::FLEET_MANAGER,
            dry_run: false,
        };
        match way.session.apply(resource, job, options).await {
            Ok(_) => {
                let seen = Seen::new(format!("{}: Job is started", self.place.cluster));
                let state = Some(RUNNING);
                (
                    self.place.cluster.clone(),
                    state,
                    Sample::Inconclusive(seen),
                )
            }
            Err(error) => self.refused(&error),
        }
    }

    /// An account that may not run Jobs, or a Job that is not valid, stays so; anything else may pass.
    fn refused(&self, error: &RequestError) -> Looked {
        if error.is_forbidden() || error.is_invalid() || error.code() == 400 {
            return self.invalid(format!("the Job is refused: {error}"));
        }
        self.waiting(error.to_string())
    }

    fn judge(&self, live: &Value, namespace: &str, name: &str) -> Looked {
        let cluster = self.place.cluster.clone();
        let holds = |kind: &str| {
            live["status"]["conditions"]
                .as_array()
                .into_iter()
                .flatten()
                .find(|condition| condition["type"] == kind && condition["status"] == "True")
        };
        let logs = format!("logs: kubectl -n {namespace} logs job/{name}");
        if let Some(condition) = holds("Failed") {
            let text = |field: &str| condition[field].as_str().unwrap_or_default();
            let message = format!(
                "{cluster}: Job {namespace}/{name} failed: {}: {} ({logs})",
                text("reason"),
                text("message")
            );
            return (cluster, Some("Failed"), Sample::Failed(Seen::new(message)));
        }
        if holds("Complete").is_some() {
            let message = format!("{cluster}: Job {namespace}/{name} is complete");
            return (
                cluster,
                Some("Complete"),
                Sample::Passed(Seen::new(message)),
            );
        }
        let message = format!("{cluster}: Job {namespace}/{name} is running ({logs})");
        (
            cluster,
            Some(RUNNING),
            Sample::Inconclusive(Seen::new(message)),
        )
    }
}

/// The Job for one cluster.
fn job(
    check_name: &str,
    check: &JobCheck,
    subject: &Subject,
    namespace: &str,
    cluster: &str,
) -> Result<Value, String> {
    let mut variables = subject.variables();
    variables.insert("cluster", cluster.to_owned());
    let mut template = Value::Object(check.template.clone());
    template::json(&mut template, &variables).map_err(|error| error.to_string())?;
    let Some(Value::Object(mut spec)) = template.get_mut("spec").map(Value::take) else {
        return Err("the template has no spec".to_owned());
    };
    let given = template.get("metadata");
    let strings = |field: &str| -> Map<String, Value> {
        given
            .and_then(|metadata| metadata[field].as_object())
            .cloned()
            .unwrap_or_default()
    };
    let (mut labels, mut annotations) = (strings("labels"), strings("annotations"));
    labels.insert("app.kubernetes.io/managed-by".to_owned(), "fairway".into());
    labels.insert(CHECK.to_owned(), check_name.into());
    for (key, value) in &variables {
        annotations.insert(format!("{PREFIX}{key}"), value.as_str().into());
    }
    let namespace = given
        .and_then(|metadata| metadata["namespace"].as_str())
        .unwrap_or(namespace);
    let seconds = |duration: Duration| json!(duration.as_secs().max(1));
    spec.entry("activeDeadlineSeconds")
        .or_insert_with(|| seconds(check.timeout().get()));
    spec.insert(
        "ttlSecondsAfterFinished".to_owned(),
        seconds(check.ttl().get().max(LEAST_TTL)),
    );
    if let Some(pod) = spec
        .get_mut("template")
        .and_then(|template| template.get_mut("spec"))
        .and_then(Value::as_object_mut)
    {
        // Always, which is what Kubernetes fills in, is not allowed in a Job.
        pod.entry("restartPolicy").or_insert_with(|| "Never".into());
    }
    Ok(json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(check_name, subject, cluster),
            "namespace": namespace,
            "labels": labels,
            "annotations": annotations,
        },
        "spec": spec,
    }))
}

/// `<check>-<hash of what it is for>`.
fn job_name(check: &str, subject: &Subject, cluster: &str) -> String {
    let mut hasher = Sha256::new();
    for part in [
        &subject.namespace,
        &subject.pipeline,
        &subject.promotion,
        &subject.attempt,
        &subject.wave,
        check,
        cluster,
    ] {
        hasher.update(part.as_bytes());
        hasher.update([0]);
    }
    let hash = hex(&hasher.finalize()[..5]);
    let check: String = check.chars().take(40).collect();
    format!("fairway-{}-{hash}", check.trim_end_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: Value) -> JobCheck {
        serde_json::from_value(json!({"template": template, "timeout": "90s"})).unwrap()
    }

    fn subject() -> Subject {
        Subject {
            namespace: "flux-system".into(),
            pipeline: "myapp".into(),
            stage: "prod".into(),
            version: "1.2.3".into(),
            attempt: "uid".into(),
            ..Subject::default()
        }
    }

    #[test]
    fn a_job_is_made_of_the_template() {
        let check = check(json!({
            "metadata": {"namespace": "e2e", "labels": {"team": "web"}},
            "spec": {"template": {"spec": {"containers": [{"name": "t", "image": "e2e:{{ version }}", "args": ["{{cluster}}"]}]}}},
        }));
        let job = job("smoke", &check, &subject(), "apps", "prod-eu").unwrap();
        assert_eq!(job["metadata"]["namespace"], "e2e");
        assert_eq!(job["metadata"]["labels"]["team"], "web");
        assert_eq!(job["metadata"]["labels"][CHECK], "smoke");
        assert_eq!(
            job["metadata"]["annotations"]["fleet.fairway.dev/version"],
            "1.2.3"
        );
        let pod = &job["spec"]["template"]["spec"];
        assert_eq!(pod["containers"][0]["image"], "e2e:1.2.3");
        assert_eq!(pod["containers"][0]["args"][0], "prod-eu");
        assert_eq!(pod["restartPolicy"], "Never");
        assert_eq!(job["spec"]["activeDeadlineSeconds"], 90);
        assert_eq!(job["spec"]["ttlSecondsAfterFinished"], 600);
    }

    #[test]
    fn names_tell_attempts_apart_and_stay_the_same() {
        let name = |attempt: &str, cluster: &str| {
            let subject = Subject {
                attempt: attempt.into(),
                ..subject()
            };
            job_name(&"long-check-name-".repeat(5), &subject, cluster)
        };
        assert_eq!(name("1", "a"), name("1", "a"));
        assert_ne!(name("1", "a"), name("2", "a"));
        assert_ne!(name("1", "a"), name("1", "b"));
        assert!(name("1", "a").len() <= 63);
    }

    #[test]
    fn a_template_without_spec_or_value_is_refused() {
        let none = job("a", &check(json!({})), &subject(), "n", "c");
        assert_eq!(none.unwrap_err(), "the template has no spec");
        let wave = job(
            "a",
            &check(json!({"spec": {"a": "{{ wave }}"}})),
            &subject(),
            "n",
            "c",
        );
        assert!(
            wave.unwrap_err()
                .starts_with("'{{ wave }}' has no value here")
        );
    }

    #[test]
    fn what_was_started_is_read_back() {
        let states = states(Some("a=Running b=Complete"));
        assert_eq!(states.len(), 2);
        assert_eq!(states["b"], "Complete");
        assert!(super::states(None).is_empty());
    }
}
