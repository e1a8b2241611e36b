//! One suite, two servers: the same requests and `kubectl` commands go to the embedded API server and to a real
//! kube-apiserver with etcd, and the answers must be the same but for the table in `differences.md`.
//!
//! ```text
//!   cases/*.txt ──▶ embedded server ──▶ answers ─┐
//!        │                                       ├─ compare ─ differences.md
//!        └──▶ kube-apiserver ──▶ answers ──▶ golden/*.json
//! ```
//!
//! What the real server said is kept in `golden`, so that the embedded one is compared everywhere, also where
//! nobody has a kube-apiserver. Where there is one (`cargo xtask envtest`), what is kept is checked as well.
//! `CONFORMANCE_RECORD=1` writes it anew.
#![allow(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

mod case;
mod client;
mod differences;
mod golden;
mod normalise;
mod run;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use fairway_apiserver::{Config, Server};
use fairway_testkit::Kubectl;
use fairway_testkit::real::{Assets, ControlPlane, Etcd, Program, Settings};

use case::{Action, Case};
use client::Client;
use differences::{Allowed, Difference};
use run::Answers;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/conformance")
}

/// All cases, or those that `CONFORMANCE_ONLY` (a part of `area: case`) names.
fn cases() -> Vec<Case> {
    let only = std::env::var("CONFORMANCE_ONLY").unwrap_or_default();
    let mut files: Vec<_> = std::fs::read_dir(folder().join("cases"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "txt"))
        .collect();
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let area = file.file_stem().unwrap().to_string_lossy().into_owned();
        cases.extend(case::parse(&area, &std::fs::read_to_string(&file).unwrap()).unwrap());
    }
    cases.retain(|case| format!("{}: {}", case.area, case.name).contains(&only));
    cases
}

fn without_kubectl(cases: &mut Vec<Case>) {
    cases.retain(|case| {
        !case
            .steps
            .iter()
            .any(|step| matches!(step.action, Action::Kubectl { .. }))
    });
}

/// The version of the `kubectl` in `PATH`.
async fn kubectl_version() -> Option<String> {
    if !Kubectl::available() {
        return None;
    }
    let kubectl = Kubectl::new("{}").ok()?;
    let told = kubectl.json(&["version", "--client"]).await.ok()?;
    Some(told["clientVersion"]["gitVersion"].as_str()?.to_owned())
}

/// Areas whose cases are about what controllers do.
const CONTROLLED: [&str; 1] = ["garbage"];

/// Cases without controllers, and cases with them.
fn split(cases: &[Case]) -> (Vec<Case>, Vec<Case>) {
    let controlled = |case: &Case| CONTROLLED.contains(&case.area.as_str());
    cases.iter().cloned().partition(|case| !controlled(case))
}

async fn embedded(cases: &[Case]) -> Answers {
    let (alone, controlled) = split(cases);
    let mut answers = Answers::new();
    for (cases, controllers) in [(alone, false), (controlled, true)] {
        let server = Server::start(Config {
            clusters: vec!["conformance".to_owned()],
            controllers,
            ..Config::default()
        })
        .await
        .unwrap();
        let client = Client::new(&server.kubeconfig_for("conformance").unwrap()).unwrap();
        answers.extend(run::all(&client, &cases).await);
    }
    answers
}

/// What a real server says; what was recorded, where it needs controllers that are not there.
async fn real(assets: &Assets, cases: &[Case], kept: &Answers) -> Answers {
    let (alone, controlled) = split(cases);
    let mut answers = Answers::new();
    if !alone.is_empty() {
        let plane = ControlPlane::start(assets).await.unwrap();
        let client = Client::new(plane.kubeconfig()).unwrap();
        answers.extend(run::all(&client, &alone).await);
    }
    if controlled.is_empty() {
        return answers;
    }
    if !assets.has(Program::KubeControllerManager) {
        eprintln!("no kube-controller-manager: what it does is compared with its recorded answers");
        let areas = kept
            .iter()
            .filter(|(area, _)| CONTROLLED.contains(&area.as_str()));
        answers.extend(areas.map(|(area, cases)| (area.clone(), cases.clone())));
        return answers;
    }
    let settings = Settings::new("real").with_controller_manager();
    let plane = ControlPlane::start_with(assets, Etcd::start(assets).unwrap(), settings)
        .await
        .unwrap();
    let client = Client::new(plane.kubeconfig()).unwrap();
    answers.extend(run::all(&client, &controlled).await);
    answers
}

fn differing(real: &Answers, embedded: &Answers) -> Vec<Difference> {
    let mut found = Vec::new();
    for (area, cases) in real {
        for (name, answers) in cases {
            let Some(others) = embedded.get(area).and_then(|cases| cases.get(name)) else {
                continue;
            };
            assert_eq!(answers.len(), others.len(), "{area}: {name}: record again");
            for (step, (real, embedded)) in answers.iter().zip(others).enumerate() {
                let case = format!("{area}: {name}");
                found.extend(differences::compare(&case, step + 1, real, embedded));
            }
        }
    }
    found
}

fn show(differences: &[Difference], cases: &[Case]) -> String {
    let lines: BTreeMap<String, Vec<usize>> = cases
        .iter()
        .map(|case| {
            let compared = case.steps.iter().filter(|step| step.is_compared());
            (
                format!("{}: {}", case.area, case.name),
                compared.map(|step| step.line).collect(),
            )
        })
        .collect();
    let text = |value: &Option<serde_json::Value>| {
        value
            .as_ref()
            .map_or("(nothing)".to_owned(), ToString::to_string)
    };
    let mut out = String::new();
    for found in differences {
        let line = lines
            .get(&found.case)
            .and_then(|lines| lines.get(found.step - 1));
        let _ = write!(
            out,
            "{} #{} (line {}) {}\n    real:     {}\n    embedded: {}\n",
            found.case,
            found.step,
            line.copied().unwrap_or_default(),
            found.pointer,
            text(&found.real),
            text(&found.embedded),
        );
    }
    out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_server_answers_as_the_real_one() {
    let mut cases = cases();
    let record = std::env::var_os("CONFORMANCE_RECORD").is_some();
    let assets = Assets::find();
    let version_file = folder().join("golden/kubectl-version");
    let version = kubectl_version().await;
    // Another kubectl prints other words, to be compared with a real server only.
    let same_kubectl = record
        || version.as_deref()
            == std::fs::read_to_string(&version_file)
                .ok()
                .as_deref()
                .map(str::trim);
    let with_kubectl = version.is_some() && (same_kubectl || assets.is_some());
    if !with_kubectl {
        eprintln!(
            "no kubectl in PATH of the version whose output is recorded: its commands are skipped"
        );
        without_kubectl(&mut cases);
    }
    let kept = golden::read(&folder().join("golden")).unwrap();
    let real = match assets {
        Some(assets) => real(&assets, &cases, &kept).await,
        None => {
            eprintln!(
                "no kube-apiserver: compared with its recorded answers; see `cargo xtask envtest`"
            );
            kept.clone()
        }
    };
    let stopped: Vec<_> = real
        .values()
        .flatten()
        .filter_map(|(name, answers)| Some((name, answers.iter().find_map(|a| a.get("stopped"))?)))
        .collect();
    assert!(
        stopped.is_empty(),
        "cases that the real server does not let be played: {stopped:#?}"
    );
    if record {
        golden::write(&folder().join("golden"), &real).unwrap();
        std::fs::write(&version_file, version.unwrap_or_default() + "\n").unwrap();
    } else {
        let mut stale = differing(&kept, &real);
        stale.retain(|found| same_kubectl || !found.case.starts_with("kubectl: "));
        assert!(
            stale.is_empty(),
            "the recorded answers are not those of this kube-apiserver:\n{}",
            show(&stale, &cases)
        );
        for case in &cases {
            let known = kept
                .get(&case.area)
                .is_some_and(|c| c.contains_key(&case.name));
            assert!(
                known,
                "{}: {}: nothing is recorded; CONFORMANCE_RECORD=1",
                case.area, case.name
            );
        }
    }
    let answers = embedded(&cases).await;
    let list = std::fs::read_to_string(folder().join("differences.md")).unwrap();
    let mut allowed = Allowed::parse(&list).unwrap();
    let mut found = differing(&real, &answers);
    let all = found.len();
    found.retain(|difference| !allowed.permits(difference));
    let compared: usize = cases
        .iter()
        .flat_map(|c| &c.steps)
        .filter(|s| s.is_compared())
        .count();
    eprintln!(
        "{} cases, {compared} requests and commands, {all} differences, {} of them unexplained",
        cases.len(),
        found.len()
    );
    assert!(
        found.is_empty(),
        "the embedded server differs:\n{}",
        show(&found, &cases)
    );
    if std::env::var_os("CONFORMANCE_ONLY").is_none() && with_kubectl {
        let unused = allowed.unused();
        assert!(
            unused.is_empty(),
            "differences.md lists what does not differ: {unused:?}"
        );
    }
}
