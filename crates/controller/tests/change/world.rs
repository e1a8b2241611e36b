//! A fleet's repository, and somebody who promotes in it.

use std::time::Duration;

use fairway_controller::change::{
    ChangeSet, Committed, Edit, Error, Mark, Message, Request, Trailers, Workspace,
};
use fairway_git::{Credentials, Oid, Signature};
use fairway_testkit::GitServer;
use fairway_types::promotion::Intent;
use tempfile::TempDir;

pub(crate) const IMAGE: &str = "ghcr.io/acme/myapp";
pub(crate) const PROD: &str = "apps/myapp/overlays/prod";
pub(crate) const OVERLAY: &str = "apps/myapp/overlays/prod/kustomization.yaml";

pub(crate) struct World {
    pub(crate) git: GitServer,
    folder: TempDir,
}

/// The overlay of a stage.
pub(crate) fn overlay(tag: &str) -> String {
    format!(
        "# the overlay\nresources:\n  - ../../base\nimages:\n  - name: {IMAGE} # ours\n    newTag: {tag}\n"
    )
}

const BASE: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: myapp}
spec:
  selector: {matchLabels: {app: myapp}}
  template:
    metadata: {labels: {app: myapp}}
    spec:
      containers:
      - {name: myapp, image: ghcr.io/acme/myapp}
      - {name: proxy, image: ghcr.io/acme/proxy:1.0}
";

impl World {
    /// Stages dev at 1.1.0 and prod at 1.0.0, and another application.
    pub(crate) async fn new() -> Self {
        let git = GitServer::start("fleet").await.unwrap();
        let (dev, prod) = (overlay("1.1.0"), overlay("1.0.0"));
        git.commit(
            "Begin",
            &[
                (
                    "apps/myapp/base/kustomization.yaml",
                    Some("resources: [deployment.yaml]\n"),
                ),
                ("apps/myapp/base/deployment.yaml", Some(BASE)),
                ("apps/myapp/overlays/dev/kustomization.yaml", Some(&dev)),
                ("apps/myapp/overlays/dev/config/flags.yaml", Some("a: 1\n")),
                (OVERLAY, Some(&prod)),
                (
                    "apps/other/overlays/prod/kustomization.yaml",
                    Some(&overlay("5.0.0")),
                ),
            ],
        )
        .await
        .unwrap();
        Self {
            git,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// A mirror of its own: another process.
    pub(crate) async fn workspace(&self, name: &str) -> Workspace {
        let credentials = Credentials::none();
        Workspace::open(
            &self.folder.path().join(name),
            &self.git.url(),
            credentials,
            "main",
        )
        .await
        .unwrap()
        .with_timeout(Duration::from_secs(20))
    }

    pub(crate) fn text(&self, path: &str) -> String {
        let head = self.git.head().unwrap();
        let repository = self.git.repository();
        fairway_controller::change::Snapshot::new(repository, head)
            .text(path)
            .unwrap()
    }

    /// Messages of `main`, the newest first.
    pub(crate) async fn log(&self) -> Vec<fairway_git::Commit> {
        let head = self.git.head().unwrap();
        self.git
            .repository()
            .log(head, None, &[], 10_000)
            .await
            .unwrap()
    }
}

pub(crate) fn message(promotion: &str, intent: Intent) -> Message {
    let trailers = Trailers {
        pipeline: "flux-system/myapp".into(),
        stage: "prod".into(),
        from: None,
        to: None,
        clusters: Vec::new(),
        requested_by: Some("ann".into()),
        approved_by: Vec::new(),
        mark: Mark {
            promotion: format!("flux-system/{promotion}"),
            uid: format!("uid-of-{promotion}"),
            intent,
        },
    };
    Message::new(IMAGE, None, trailers)
}

pub(crate) fn image(folder: &str, version: &str) -> ChangeSet {
    ChangeSet::Edits(vec![Edit::Image {
        folder: folder.into(),
        name: IMAGE.into(),
        version: version.into(),
        from: None,
    }])
}

pub(crate) fn fairway() -> Signature {
    Signature::new("Fairway", "fairway@example.org", 1_700_000_000)
}

/// Applies a change set under a name.
pub(crate) async fn apply(
    workspace: &Workspace,
    set: &ChangeSet,
    promotion: &str,
    intent: Intent,
) -> Result<Committed, Error> {
    apply_since(workspace, set, promotion, intent, None).await
}

pub(crate) async fn apply_since(
    workspace: &Workspace,
    set: &ChangeSet,
    promotion: &str,
    intent: Intent,
    since: Option<Oid>,
) -> Result<Committed, Error> {
    let (message, who) = (message(promotion, intent), fairway());
    let request = Request {
        set,
        message: &message,
        author: &who,
        committer: &who,
        key: None,
        since,
    };
    // Jitter from the name, so that two who race don't keep in step.
    let salt = promotion.bytes().map(u64::from).sum::<u64>();
    workspace
        .apply(&request, |attempt| {
            Duration::from_millis((salt * 7 + u64::from(attempt) * 13) % 50)
        })
        .await
}
