//! The real `flux` command: the same session under Flux and under Fairway prints the same.

use std::fmt::Write as _;
use std::time::Duration;

use fairway_testkit::real::FluxCommand;

use crate::world::{Engine, World};

/// The Kustomization that starts the fleet, and four for each of two clusters.
const COUNT: usize = 9;

/// One command, and the text that its output must hold in any case.
type Step = (&'static [&'static str], i32, &'static str);

/// What somebody does who has the command and a clone of the repository.
const SESSION: &[Step] = &[
    (
        &["get", "sources", "git"],
        0,
        "stored artifact for revision",
    ),
    (&["get", "sources", "all"], 0, "gitrepository/fleet"),
    (
        &["get", "kustomizations"],
        0,
        "Applied revision: main@sha1:",
    ),
    (
        &["get", "all", "--status-selector", "ready=true"],
        0,
        "kustomization/prod-app",
    ),
    (&["get", "all", "--status-selector", "ready=false"], 0, ""),
    (
        &["reconcile", "source", "git", "fleet", "--timeout=1m"],
        0,
        "fetched revision main@sha1:",
    ),
    (
        &["reconcile", "kustomization", "dev-infra", "--timeout=1m"],
        0,
        "applied revision main@sha1:",
    ),
    (
        &[
            "reconcile",
            "kustomization",
            "dev-app",
            "--with-source",
            "--timeout=1m",
        ],
        0,
        "applied revision main@sha1:",
    ),
    (
        &["reconcile", "kustomization", "nowhere", "--timeout=1m"],
        1,
        "not found",
    ),
    (
        &["suspend", "kustomization", "dev-crs"],
        0,
        "kustomization suspended",
    ),
    (&["get", "kustomization", "dev-crs"], 0, "True"),
    (
        &["reconcile", "kustomization", "dev-crs", "--timeout=1m"],
        1,
        "suspended",
    ),
    (
        &["resume", "kustomization", "dev-crs", "--timeout=1m"],
        0,
        "applied revision main@sha1:",
    ),
    (
        &["suspend", "source", "git", "fleet"],
        0,
        "source git suspended",
    ),
    (
        &["resume", "source", "git", "fleet", "--timeout=1m"],
        0,
        "fetched revision main@sha1:",
    ),
    (
        &["tree", "kustomization", "fleet"],
        0,
        "ConfigMap/flux-system/settings",
    ),
    (
        &["tree", "kustomization", "dev-app", "--compact"],
        0,
        "Kustomization/flux-system/dev-app",
    ),
    (
        &["trace", "configmap", "settings", "-n", "flux-system"],
        0,
        "Managed by Flux",
    ),
    (&["trace", "kustomization", "dev-app"], 0, "GitRepository"),
    (&["stats"], 0, "Kustomization"),
    (
        &["export", "source", "git", "fleet"],
        0,
        "kind: GitRepository",
    ),
    (&["export", "kustomization", "dev-app"], 0, "substituteFrom"),
    (
        &["debug", "kustomization", "dev-app", "--show-vars"],
        0,
        "team=platform",
    ),
    (
        &[
            "build",
            "kustomization",
            "dev-app",
            "--path",
            "clone/apps/dev",
        ],
        0,
        "example.org/web:1.1",
    ),
    (
        &["diff", "kustomization", "fleet", "--path", "clone/hub"],
        0,
        "",
    ),
    (
        &["diff", "kustomization", "fleet", "--path", "changed/hub"],
        1,
        "ConfigMap/flux-system/settings drifted",
    ),
    (
        &[
            "create",
            "kustomization",
            "further",
            "--source=GitRepository/fleet",
            "--path=./further",
            "--prune=true",
            "--interval=10m",
            "--timeout=1m",
        ],
        0,
        "applied revision main@sha1:",
    ),
    (
        &["tree", "kustomization", "further"],
        0,
        "ConfigMap/flux-system/further",
    ),
    (&["get", "kustomization", "further"], 0, "Applied revision"),
    (
        &["events", "--for", "Kustomization/further"],
        0,
        "ConfigMap/flux-system/further created",
    ),
    (
        &["delete", "kustomization", "further", "--silent"],
        0,
        "kustomization deleted",
    ),
    (&["get", "kustomization", "further"], 1, "not found"),
    (
        &[
            "create",
            "kustomization",
            "wrong",
            "--source=GitRepository/fleet",
            "--path=./nowhere",
            "--prune=true",
            "--interval=10m",
            "--timeout=20s",
        ],
        1,
        "context deadline exceeded",
    ),
    (&["get", "kustomization", "wrong"], 0, "path not found"),
    (
        &["delete", "kustomization", "wrong", "--silent"],
        0,
        "kustomization deleted",
    ),
];

/// What differs from run to run: times, and what the two engines may word in their own way.
fn steady(text: &str) -> String {
    let words = [
        "Last reconciled at",
        "reconcile.fluxcd.io/requestedAt",
        "path not found",
    ];
    let lines = text
        .lines()
        .filter(|line| !words.iter().any(|word| line.contains(word)));
    // Columns are as wide as their widest cell.
    let lines = lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.collect::<Vec<_>>().join("\n")
}

async fn session(flux: &FluxCommand, engine: &str) -> Vec<String> {
    let mut printed = Vec::new();
    let mut wrong = String::new();
    for (arguments, code, wanted) in SESSION {
        let output = flux.run(arguments).await.unwrap();
        let text = format!("{}{}", output.stderr, output.stdout);
        if output.code != *code || !text.contains(wanted) {
            write!(
                wrong,
                "flux {} under {engine} (wanted {code} and {wanted:?}) ended with {}:\n{text}\n",
                arguments.join(" "),
                output.code
            )
            .unwrap();
        }
        // Events are each engine's own.
        let is_compared = arguments[0] != "events";
        printed.push(if is_compared {
            steady(&text)
        } else {
            String::new()
        });
    }
    println!("{wrong}");
    assert_eq!(wrong, "");
    printed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Flux's programs: run `cargo xtask e2e flux_cli`"]
async fn flux_cli_prints_the_same_under_either_engine() {
    let world = World::start().await;
    world.bootstrap().await;
    let command = world.flux_command();
    let clone = world.git.clone_to_work().await.unwrap();
    clone
        .write(
            "further/map.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: further\n  namespace: flux-system\ndata:\n  a: b\n",
        )
        .unwrap();
    clone.commit_and_push("Add a folder").await.unwrap();
    for (name, replicas) in [("clone", "2"), ("changed", "3")] {
        let copy = world.git.clone_to_work().await.unwrap();
        copy.replace(
            "hub/settings.yaml",
            "replicas: \"2\"",
            &format!("replicas: \"{replicas}\""),
        )
        .unwrap();
        copy_folder(copy.path(), &command.home().join(name));
    }

    let flux = world.start_flux().await;
    world.until_converged(COUNT).await;
    let expected = session(&command, "Flux").await;
    flux.stop().await;
    let fairway = world.start_fairway();
    world.until_leads(Engine::Fairway).await;
    // It looks at everything once, as Flux does when it starts.
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.until_converged(COUNT).await;
    let found = session(&command, "Fairway").await;
    let mut differences = String::new();
    for ((step, expected), found) in SESSION.iter().zip(&expected).zip(&found) {
        if expected != found {
            let shown = step.0.join(" ");
            writeln!(
                differences,
                "flux {shown}\n  under Flux:\n{expected}\n  under Fairway:\n{found}"
            )
            .unwrap();
        }
    }
    assert_eq!(differences, "", "{differences}");

    // A source is created by itself: the stand-in for source-controller has no say in what it prints.
    let url = format!("--url={}", world.git.url());
    let create = [
        "create",
        "source",
        "git",
        "second",
        &url,
        "--branch=main",
        "--interval=1m",
        "--timeout=1m",
    ];
    let printed = command.ok(&create).await.unwrap();
    assert!(
        printed.contains(&format!("fetched revision: {}", world.revision())),
        "{printed}"
    );
    command
        .ok(&["delete", "source", "git", "second", "--silent"])
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let gone = command
        .run(&["get", "source", "git", "second"])
        .await
        .unwrap();
    assert_ne!(gone.code, 0, "{gone:?}");
    println!(
        "{} commands of the real flux print the same and end with the same codes under Flux and under Fairway",
        SESSION.len()
    );
    drop(fairway);
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_name() == ".git" {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
