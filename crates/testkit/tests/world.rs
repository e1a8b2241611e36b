//! The kit itself: a test that leans on it must be able to trust it.
#![allow(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

use std::time::Duration;

use fairway_git::serve::Faults;
use fairway_testkit::real::{Assets, ControlPlane};
use fairway_testkit::{Fleet, GitServer, Kubectl, Process};
use tokio::process::Command;

#[tokio::test]
async fn people_push() {
    let server = GitServer::start("fleet").await.unwrap();
    let first = server
        .commit(
            "Add",
            &[("a/b.yaml", Some("b: 1\n")), ("c.yaml", Some("c: 1\n"))],
        )
        .await
        .unwrap();
    let second = server
        .commit("Change", &[("c.yaml", None), ("a/b.yaml", Some("b: 2\n"))])
        .await
        .unwrap();
    assert_eq!(server.head().unwrap(), second);
    assert_eq!(
        server
            .repository()
            .changed_paths(Some(first), second)
            .unwrap(),
        ["a/b.yaml", "c.yaml"]
    );
    let third = server.replace("a/b.yaml", "2", "3").await.unwrap();
    assert_eq!(server.repository().commit(third).unwrap().parents, [second]);
    assert!(server.replace("a/b.yaml", "nowhere", "x").await.is_err());
    server.set_faults(Faults {
        refuse_push: Some("frozen".to_owned()),
        ..Faults::default()
    });
    let error = server.replace("a/b.yaml", "3", "4").await.unwrap_err();
    assert!(error.to_string().contains("frozen"), "{error}");
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(copy.path().join("deep/er")).unwrap();
    std::fs::write(copy.path().join("deep/er/file"), "x").unwrap();
    let imported = GitServer::start_with("copy", copy.path()).await.unwrap();
    let clone = imported.clone_to_work().await.unwrap();
    assert_eq!(clone.read("deep/er/file").unwrap(), "x");
}

#[tokio::test]
async fn processes_end_with_their_children() {
    let mut command = Command::new("sh");
    command.args(["-c", "sleep 300 & echo child $!; echo oops >&2; wait"]);
    let mut process = Process::spawn(command).unwrap();
    process
        .wait_for("child", Duration::from_secs(10))
        .await
        .unwrap();
    process
        .wait_for("oops", Duration::from_secs(10))
        .await
        .unwrap();
    assert!(process.is_running());
    let stdout = process.stdout();
    let child: i32 = stdout.trim().trim_start_matches("child ").parse().unwrap();
    let runs = |pid: i32| Command::new("kill").args(["-0", &pid.to_string()]).output();
    assert!(runs(child).await.unwrap().status.success());
    drop(process);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let state = std::process::Command::new("ps")
        .args(["-o", "stat=", "-p", &child.to_string()])
        .output()
        .unwrap();
    let state = String::from_utf8_lossy(&state.stdout).trim().to_owned();
    assert!(
        state.is_empty() || state.starts_with('Z'),
        "the child still runs: {state}"
    );
    let mut command = Command::new("sh");
    command.args(["-c", "echo done; exit 3"]);
    let mut process = Process::spawn(command).unwrap();
    assert_eq!(
        process.wait(Duration::from_secs(10)).await.unwrap().code(),
        Some(3)
    );
    assert!(
        process
            .wait_for("never", Duration::from_secs(1))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_real_control_plane_answers() {
    let Some(assets) = Assets::find() else {
        eprintln!("skipped: no etcd and kube-apiserver; see `cargo xtask envtest`");
        return;
    };
    let plane = ControlPlane::start(&assets).await.unwrap();
    assert!(plane.kubeconfig().contains("https://127.0.0.1:"));
    if !Kubectl::available() {
        return;
    }
    let kubectl = Kubectl::new(plane.kubeconfig()).unwrap().in_context("real");
    let map =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: default}\ndata: {a: b}\n";
    kubectl.apply(map).await.unwrap();
    let map = kubectl
        .json(&["get", "configmap", "a", "--show-managed-fields"])
        .await
        .unwrap();
    assert_eq!(map["data"]["a"], "b");
    assert_eq!(map["metadata"]["managedFields"][0]["manager"], "kubectl");
    let version = kubectl.json(&["version"]).await.unwrap();
    assert_eq!(version["serverVersion"]["major"], "1", "{version}");
    let missing = kubectl.run(&["get", "configmap", "nope"]).await.unwrap();
    assert_eq!(missing.code, 1);
    assert!(missing.stderr.contains("NotFound"), "{}", missing.stderr);
    let token = kubectl
        .ok(&["create", "serviceaccount", "robot"])
        .await
        .unwrap();
    assert!(token.contains("robot"));
    let token = kubectl.ok(&["create", "token", "robot"]).await.unwrap();
    assert_eq!(token.trim().split('.').count(), 3, "a signed token");
    let mut watch = kubectl.spawn(&["get", "configmaps", "--watch"]).unwrap();
    watch
        .wait_for("kube-root-ca", Duration::from_secs(5))
        .await
        .ok();
    kubectl.ok(&["create", "configmap", "seen"]).await.unwrap();
    watch
        .wait_for("seen", Duration::from_secs(10))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_answers_and_fails_on_demand() {
    let fleet = Fleet::start(&["management", "dev-us-west-2"])
        .await
        .unwrap();
    assert_eq!(fleet.server().names(), ["dev-us-west-2", "management"]);
    assert_eq!(Fleet::reference_names().len(), 9);
    if !Kubectl::available() {
        return;
    }
    let kubectl = fleet.kubectl().unwrap().in_context("dev-us-west-2");
    let namespaces = kubectl
        .ok(&["get", "namespaces", "-o", "name"])
        .await
        .unwrap();
    assert!(namespaces.contains("namespace/default"), "{namespaces}");
    fleet.faults("dev-us-west-2").unwrap().refuse(true);
    let refused = kubectl.run(&["get", "namespaces"]).await.unwrap();
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("refused"), "{}", refused.stderr);
    let hub = kubectl.in_context("management");
    hub.ok(&["get", "namespaces"]).await.unwrap();
    fleet.faults("dev-us-west-2").unwrap().clear();
    kubectl.ok(&["get", "namespaces"]).await.unwrap();
}
