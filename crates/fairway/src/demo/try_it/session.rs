//! What every step needs: the running demo, its clusters, its repository, and expectations with a time.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use fairway_git::Change;
use fairway_types::names::SYSTEM_NAMESPACE;
use fairway_types::{Pipeline, Promotion};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::Api;
use kube::{Client, ResourceExt as _};
use serde_json::json;

use crate::args::{CommitArgs, RequestArgs};
use crate::commands::pipeline::picture;
use crate::commands::promotion;
use crate::demo::goal::Goal;
use crate::demo::place::Running;
use crate::demo::view::Snapshot;
use crate::demo::watch::LiveView;
use crate::demo::{MANAGEMENT, reasons};
use crate::exit::Outcome;
use crate::hub;
use crate::output::{Paint, seconds};
use crate::promotion::{NewCommit, Overlay, Place, path};

const REGIONS: [&str; 3] = ["us-west-2", "us-east-1", "eu-west-1"];

/// A connection to a running demo.
pub(super) struct Session {
    running: Running,
    view: LiveView,
    hub: Client,
    timeout: Duration,
    started: Instant,
}

impl Session {
    /// Starts to watch the hub of a demo.
    pub(super) async fn open(running: Running, timeout: Duration) -> anyhow::Result<Self> {
        let hub = hub::client_for(Some(&running.kubeconfig), Some(MANAGEMENT)).await?;
        let view = LiveView::start(&hub);
        Ok(Self {
            running,
            view,
            hub,
            timeout,
            started: Instant::now(),
        })
    }

    /// A client of the hub.
    pub(super) fn hub(&self) -> &Client {
        &self.hub
    }

    /// A Pipeline, as it is now.
    pub(super) async fn pipeline(&self, name: &str) -> anyhow::Result<Pipeline> {
        Ok(promotion::pipelines(&self.hub, SYSTEM_NAMESPACE)
            .get(name)
            .await?)
    }

    /// The Promotions of a Pipeline, the newest first.
    pub(super) async fn promotions(&self, pipeline: &str) -> anyhow::Result<Vec<Promotion>> {
        promotion::promotions_of(&self.hub, SYSTEM_NAMESPACE, pipeline).await
    }

    /// Asks for a promotion and follows it to its end.
    pub(super) async fn promote(
        &self,
        pipeline: &Pipeline,
        stage: &str,
        version: &str,
    ) -> anyhow::Result<promotion::End> {
        let args = RequestArgs::default();
        let spec = promotion::promotion(pipeline, Some(stage), Some(version), &args)?
            .context("a stage and a version are named")?;
        let created = promotion::create(&self.hub, pipeline, spec).await?;
        self.follow(&created.name_any()).await
    }

    /// Follows a Promotion to its end.
    pub(super) async fn follow(&self, name: &str) -> anyhow::Result<promotion::End> {
        promotion::follow(&self.hub, SYSTEM_NAMESPACE, name, self.timeout).await
    }

    /// A Pipeline as `fairway pipeline status` draws it.
    pub(super) async fn picture(&self, name: &str) -> anyhow::Result<String> {
        let (pipeline, promotions) = (self.pipeline(name).await?, self.promotions(name).await?);
        let now = jiff::Timestamp::now();
        Ok(picture(&pipeline, &promotions, now, Paint::of_stdout()))
    }

    /// Waits until something is there.
    pub(super) async fn until<T>(
        &self,
        look: impl AsyncFn() -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<Option<T>> {
        let started = Instant::now();
        loop {
            if let Some(found) = look().await? {
                return Ok(Some(found));
            }
            if started.elapsed() > self.timeout {
                return Ok(None);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Prints a line with the time since the step began.
    pub(super) fn say(&self, line: &str) {
        println!("{:>7}  {line}", seconds(self.started.elapsed()));
    }

    /// A client for one of the demo's clusters.
    pub(super) async fn cluster(&self, name: &str) -> anyhow::Result<Client> {
        hub::client_for(Some(&self.running.kubeconfig), Some(name)).await
    }

    async fn place(&self) -> anyhow::Result<Place> {
        let args = CommitArgs {
            repo: Some(self.running.url.clone()),
            branch: Some(self.running.branch.clone()),
            author: Some("Fairway demo <demo@fairway.dev>".into()),
            dry_run: false,
        };
        Place::open(&args, None).await
    }

    /// The tag of an application in a stage, at the head of the branch.
    pub(super) async fn tag(&self, app: &str, stage: &str) -> anyhow::Result<String> {
        let path = path(app, stage);
        let place = self.place().await?;
        Ok(Overlay::read(&path, &place.read(&path)?, app, None)?
            .tag()?
            .to_owned())
    }

    /// The tag with its last number one higher.
    pub(super) async fn next_tag(&self, app: &str, stage: &str) -> anyhow::Result<String> {
        Ok(next(&self.tag(app, stage).await?))
    }

    /// Pushes a tag; returns the commit's first eight digits.
    pub(super) async fn push_tag(
        &self,
        app: &str,
        stage: &str,
        tag: &str,
        message: &str,
    ) -> anyhow::Result<String> {
        let path = path(app, stage);
        let mut place = self.place().await?;
        let commit = place
            .push(async |place| {
                let text = Overlay::read(&path, &place.read(&path)?, app, None)?.with_tag(tag)?;
                Ok(NewCommit::Edit(
                    vec![Change::write(&path, text)],
                    format!("{message}\n"),
                ))
            })
            .await?;
        Ok(commit.to_string().chars().take(8).collect())
    }

    /// Waits until something holds, and says how long it took.
    pub(super) async fn expect(
        &self,
        what: &str,
        is_so: impl AsyncFn() -> anyhow::Result<bool>,
    ) -> anyhow::Result<Outcome> {
        let started = Instant::now();
        let mut last = None;
        while started.elapsed() < self.timeout {
            match is_so().await {
                Ok(true) => {
                    self.say(&format!("✔ {what} (after {})", seconds(started.elapsed())));
                    return Ok(Outcome::Done);
                }
                Ok(false) => last = None,
                Err(error) => last = Some(error),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.say(&format!("✗ not within {}: {what}", seconds(self.timeout)));
        if let Some(error) = last {
            self.say(&format!("  {error:#}"));
        }
        Ok(Outcome::NotSo)
    }

    /// The same for something that the hub's objects say.
    pub(super) async fn expect_view(
        &mut self,
        what: &str,
        is_so: impl Fn(&Snapshot) -> bool,
    ) -> anyhow::Result<Outcome> {
        let started = Instant::now();
        if self
            .view
            .until(self.timeout, |snapshot| is_so(snapshot).then_some(()))
            .await
            .is_some()
        {
            self.say(&format!("✔ {what} (after {})", seconds(started.elapsed())));
            return Ok(Outcome::Done);
        }
        self.say(&format!("✗ not within {}: {what}", seconds(self.timeout)));
        for line in self.reasons() {
            self.say(&format!("  {line}"));
        }
        Ok(Outcome::NotSo)
    }

    /// Waits until the whole fleet is Ready at the head of the branch.
    pub(super) async fn expect_converged(&mut self) -> anyhow::Result<Outcome> {
        let branch = &self.running.branch;
        let head = format!("{branch}@sha1:{}", self.place().await?.head());
        let goal = Goal::reference(&self.running.url, branch, head);
        self.expect_view(
            "every Kustomization of the fleet is Ready at the new revision",
            move |snapshot| goal.is_reached(snapshot),
        )
        .await
    }

    /// Waits until the application runs with a tag on every cluster of a stage.
    pub(super) async fn expect_image(
        &self,
        app: &str,
        stage: &str,
        tag: &str,
    ) -> anyhow::Result<Outcome> {
        for region in REGIONS {
            let name = format!("{stage}-{region}");
            let client = self.cluster(&name).await?;
            let what = format!("{name} runs {app} {tag}");
            if self
                .expect(&what, async || image_is(&client, app, tag).await)
                .await?
                == Outcome::NotSo
            {
                return Ok(Outcome::NotSo);
            }
        }
        Ok(Outcome::Done)
    }

    /// What is not Ready and why.
    pub(super) fn reasons(&self) -> Vec<String> {
        reasons::lines(&self.view.snapshot(), None)
    }

    /// Lets a cluster refuse connections, or ends that.
    pub(super) async fn refuse(&self, cluster: &str, refuse: bool) -> anyhow::Result<()> {
        let path = format!("/simulator/clusters/{cluster}/faults");
        let request = if refuse {
            let body = serde_json::to_vec(&json!({"refuse": true}))?;
            http::Request::put(path)
                .header("content-type", "application/json")
                .body(body)?
        } else {
            http::Request::delete(path).body(Vec::new())?
        };
        self.hub.request_text(request).await?;
        Ok(())
    }
}

/// `1.4.2` → `1.4.3`; a tag without a number at the end gets `.1`.
fn next(tag: &str) -> String {
    let digits = tag.len()
        - tag
            .trim_end_matches(|character: char| character.is_ascii_digit())
            .len();
    let (before, number) = tag.split_at(tag.len() - digits);
    match number.parse::<u64>() {
        Ok(number) => format!("{before}{}", number + 1),
        Err(_) => format!("{tag}.1"),
    }
}

/// Whether the Deployment that is called like its namespace is rolled out with a tag.
pub(super) async fn image_is(client: &Client, app: &str, tag: &str) -> anyhow::Result<bool> {
    let deployment = Api::<Deployment>::namespaced(client.clone(), app)
        .get(app)
        .await?;
    let spec = &deployment.spec;
    let image = spec
        .template
        .spec
        .as_ref()
        .and_then(|pod| pod.containers.first()?.image.clone());
    let wanted = spec.replicas.unwrap_or(1);
    let updated = deployment.status.as_ref().is_some_and(|status| {
        status.updated_replicas.unwrap_or(0) >= wanted
            && status.available_replicas.unwrap_or(0) >= wanted
            && status.observed_generation == deployment.metadata.generation
    });
    Ok(updated && image.is_some_and(|image| image.ends_with(&format!(":{tag}"))))
}

/// Whether at least `count` pods of a Deployment are available.
pub(super) async fn is_available(
    client: &Client,
    namespace: &str,
    name: &str,
    count: i32,
) -> anyhow::Result<bool> {
    let deployment = Api::<Deployment>::namespaced(client.clone(), namespace)
        .get(name)
        .await?;
    Ok(deployment
        .status
        .and_then(|status| status.available_replicas)
        .unwrap_or(0)
        >= count)
}

#[cfg(test)]
mod tests {
    use super::next;

    #[test]
    fn the_last_number_is_raised() {
        assert_eq!(next("1.4.9"), "1.4.10");
        assert_eq!(next("v2"), "v3");
        assert_eq!(next("latest"), "latest.1");
        assert_eq!(next("1.5.1-broken"), "1.5.1-broken.1");
    }
}
