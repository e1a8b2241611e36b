//! `fairway controller` with just what `fairway install` and `fairway create cluster` give it, where RBAC is real.

use serde_json::json;

use crate::binary::until;
use crate::cluster::{Cluster, Ready, SYSTEM};
use crate::world::{WORKLOADS, World};

/// The Kustomization that starts the fleet, and four for each of two clusters.
const COUNT: usize = 9;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs kube-controller-manager: run `cargo xtask e2e least_privilege`"]
async fn least_privilege_is_enough() {
    let world = World::start().await;
    let all = world
        .home
        .write("all.kubeconfig", &world.clusters.kubeconfig().unwrap());
    let all = all.to_str().unwrap();
    let done = world
        .home
        .run(&["install", "--kubeconfig", all, "--context", "hub"])
        .await;
    assert_eq!(done.code, 0, "{done:?}");
    for name in WORKLOADS {
        let create = [
            "create",
            "cluster",
            name,
            "--kubeconfig",
            all,
            "--context",
            name,
            "--management-context",
            "hub",
        ];
        let done = world.home.run(&create).await;
        assert_eq!(done.code, 0, "{done:?}");
    }
    world.start_fleet().await;

    let plane = world.clusters.get("hub").unwrap();
    let kubeconfig = plane.kubeconfig_of(SYSTEM, "fairway").await.unwrap();
    // As the Deployment that `install` makes starts it.
    let fairway = world.start_fairway_as(&kubeconfig, &["--profile=locked"]);
    world.until_converged(COUNT).await;
    for name in WORKLOADS {
        world
            .hub
            .until_ready("Cluster", name, |_, ready| ready.status == "True")
            .await;
    }

    // A change, an addition and a removal.
    let clone = world.git.clone_to_work().await.unwrap();
    clone
        .replace(
            "apps/base/config.yaml",
            "colour: round-0",
            "colour: changed",
        )
        .unwrap();
    clone
        .replace("apps/base/kustomization.yaml", "  - round-0.yaml\n", "")
        .unwrap();
    clone.commit_and_push("Change and remove").await.unwrap();
    world.until_converged(COUNT).await;
    let dev = Cluster::of(world.clusters.get("dev").unwrap().kubeconfig(), "dev").await;
    dev.until_gone("ConfigMap", "apps", "round-0").await;

    // Drift is seen and put back; events can be written.
    dev.edit(
        "ConfigMap",
        "apps",
        "config",
        json!({"data": {"colour": "by hand"}}),
    )
    .await;
    until("the hand edit is put back", async || {
        let config = dev.get("ConfigMap", "apps", "config").await.unwrap();
        if config["data"]["colour"] == "changed" {
            return Ok(());
        }
        Err(config["data"].to_string())
    })
    .await;
    let events = world.hub.events("Kustomization", "dev-app").await;
    assert!(!events.is_empty(), "{}", fairway.stderr());

    // An account without rights is refused, by name; nothing is applied with other rights than those.
    let hub = world.kubectl.in_context("hub");
    hub.ok(&["create", "serviceaccount", "nobody", "-n", SYSTEM])
        .await
        .unwrap();
    hub.apply(&format!(
        "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {{name: refused, namespace: {SYSTEM}}}\n\
         spec: {{interval: 1h, path: ./modes, targetNamespace: default, prune: true, serviceAccountName: nobody, \
         sourceRef: {{kind: GitRepository, name: fleet}}}}\n"
    ))
    .await
    .unwrap();
    let refused = world
        .hub
        .until_ready("Kustomization", "refused", |_, ready| {
            ready.status == "False"
        })
        .await;
    let ready = Ready::of(&refused);
    assert!(ready.message.contains("forbidden"), "{ready:?}");
    assert!(
        ready
            .message
            .contains("system:serviceaccount:flux-system:nobody"),
        "{ready:?}"
    );
    assert!(
        world
            .hub
            .get("ConfigMap", "default", "merged")
            .await
            .is_none()
    );
    hub.ok(&[
        "delete",
        "kustomization",
        "refused",
        "-n",
        SYSTEM,
        "--timeout=2m",
    ])
    .await
    .unwrap();

    // Finalizers run with these rights too.
    world.delete_kustomization("dev-app").await;
    dev.until_gone("Deployment", "apps", "web").await;
    let log = fairway.stderr();
    let complaints: Vec<&str> = log
        .lines()
        .filter(|line| line.to_lowercase().contains("forbidden") && !line.contains("nobody"))
        .collect();
    assert_eq!(complaints, Vec::<&str>::new());
    println!(
        "with the accounts of `fairway install` and `fairway create cluster` alone: {COUNT} Kustomizations on {} clusters \
         apply, prune, correct drift, report and finalize",
        WORKLOADS.len() + 1
    );
}
