//! The commands that `flux` has too, on a small demo, and beside the real `flux` where that is built.

use std::path::PathBuf;

use fairway_testkit::Output;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::binary::{Home, finish};
use crate::cluster::{SYSTEM, documents};
use crate::demo::Demo;

/// The real `flux`, where the assets hold it.
fn flux() -> Option<PathBuf> {
    let folder = std::env::var_os("KUBEBUILDER_ASSETS")?;
    let program = PathBuf::from(folder).join("flux");
    program.is_file().then_some(program)
}

async fn real(demo: &Demo, arguments: &[&str]) -> Option<Output> {
    let Some(program) = flux() else {
        eprintln!(
            "skipped a comparison: no flux among the assets; `cargo xtask envtest` builds it"
        );
        return None;
    };
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("HOME", demo.home.path())
        .args(["--kubeconfig", &demo.kubeconfig, "--context", "management"])
        .args(arguments);
    Some(finish(command).await)
}

/// Both print the same objects.
async fn same_objects(demo: &Demo, arguments: &[&str]) -> Vec<Value> {
    let output = demo.fairway(arguments).await;
    assert_eq!(output.code, 0, "{output:?}");
    let ours = documents(&output.stdout);
    if let Some(theirs) = real(demo, arguments).await {
        assert_eq!(theirs.code, 0, "{theirs:?}");
        assert_eq!(ours, documents(&theirs.stdout), "{arguments:?}");
    }
    ours
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_find_the_commands_that_they_know() {
    let demo = Demo::converged().await;
    let hub = demo.hub().await;
    let child = "apps-dev-us-west-2";

    // Export, and the same by flux.
    for arguments in [
        &["export", "kustomization", child][..],
        &["export", "source", "git", "--all"],
        &[
            "create",
            "source",
            "git",
            "podinfo",
            "--url=https://example.com/podinfo",
            "--branch=main",
            "--interval=5m",
            "--label=a=b",
            "--export",
        ],
        &[
            "create",
            "kustomization",
            "podinfo",
            "--source=GitRepository/podinfo.apps",
            "--path=./kustomize",
            "--prune=true",
            "--interval=5m",
            "--depends-on=a,b/c",
            "--service-account=x",
            "--export",
        ],
    ] {
        same_objects(&demo, arguments).await;
    }

    // What the fan-outs made, for who leaves: the same specs, no owner.
    let output = demo.fairway(&["export", "fleet"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    let exported = documents(&output.stdout);
    assert_eq!(exported.len(), 18);
    for object in &exported {
        let name = object["metadata"]["name"].as_str().unwrap();
        let live = hub.get("Kustomization", SYSTEM, name).await.unwrap();
        let mut spec = live["spec"].clone();
        spec.as_object_mut().unwrap().remove("force");
        assert_eq!(object["spec"], spec, "{name}");
        assert!(object["metadata"].get("ownerReferences").is_none());
        assert!(
            !object["metadata"]["labels"]
                .to_string()
                .contains("fleet.fairway.dev"),
            "{object}"
        );
        assert_eq!(
            object["metadata"]["labels"]["environment"],
            live["metadata"]["labels"]["environment"]
        );
    }

    let output = demo.fairway(&["stats"]).await;
    assert!(
        output.stdout.contains("Kustomization") && output.stdout.contains("19"),
        "{output:?}"
    );
    let output = demo.fairway(&["debug", "ks", child, "--show-vars"]).await;
    assert!(output.stdout.contains("REGION=us-west-2\n"), "{output:?}");
    let output = demo
        .fairway(&["debug", "ks", child, "--show-history"])
        .await;
    assert!(
        output.stdout.contains("ReconciliationSucceeded"),
        "{output:?}"
    );
    let output = demo
        .fairway(&["trace", "kustomization", "flux-system"])
        .await;
    assert!(
        output.stdout.contains("Kustomization:   flux-system")
            && output.stdout.contains("GitRepository:   flux-system"),
        "{output:?}"
    );
    let output = demo
        .at(
            "dev-us-west-2",
            &["-n", "myapp", "trace", "deployment/nowhere"],
        )
        .await;
    assert_eq!(output.code, 3, "{output:?}");
    let output = demo.fairway(&["version", "-o", "json"]).await;
    assert!(output.stdout.contains("\"fairway\": \"v"), "{output:?}");

    // Created, waited for, deleted.
    let create = [
        "create",
        "source",
        "git",
        "mine",
        "--url",
        &demo.url,
        "--branch=main",
    ];
    let output = demo.fairway(&create).await;
    assert_eq!(output.code, 0, "{output:?}");
    let output = demo.fairway(&["delete", "source", "git", "mine"]).await;
    assert_eq!(output.code, 2, "it asks first: {output:?}");
    let output = demo
        .fairway(&["delete", "source", "git", "mine", "--silent"])
        .await;
    assert_eq!(output.code, 0, "{output:?}");
    hub.until_gone("GitRepository", SYSTEM, "mine").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_migrated_and_what_a_person_must_do_is_named() {
    let home = Home::new();
    let good = "# mine\napiVersion: kustomize.toolkit.fluxcd.io/v1beta2\nkind: Kustomization\nmetadata: {name: a}\nspec:\n  validation: client\n  prune: true\n";
    let bad = "apiVersion: kustomize.toolkit.fluxcd.io/v1beta1\nkind: Kustomization\nmetadata: {name: b}\nspec:\n  patchesJson6902: []\n";
    let (good, bad) = (
        home.write("fleet/good.yaml", good),
        home.write("fleet/sub/bad.yml", bad),
    );
    let before = std::fs::read_to_string(&bad).unwrap();
    let dry = home.run(&["migrate", "-f", "fleet", "--dry-run"]).await;
    assert_eq!(dry.code, 1, "{dry:?}");
    assert!(std::fs::read_to_string(&good).unwrap().contains("v1beta2"));
    let output = home.run(&["migrate", "-f", "fleet"]).await;
    assert_eq!(output.code, 1, "{output:?}");
    assert!(
        output
            .stdout
            .contains("fleet/sub/bad.yml:5: Kustomization b: spec.patchesJson6902"),
        "{output:?}"
    );
    assert_eq!(std::fs::read_to_string(&bad).unwrap(), before);
    let text = std::fs::read_to_string(&good).unwrap();
    assert_eq!(
        text,
        "# mine\napiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: a}\nspec:\n  prune: true\n"
    );
    let again = home.run(&["migrate", "-f", good.to_str().unwrap()]).await;
    assert_eq!(
        (again.code, again.stdout.contains("0 of 1")),
        (0, true),
        "{again:?}"
    );
    assert_eq!(json!(documents(&text)[0]["spec"]), json!({"prune": true}));
}
