//! The audit log: never forked, never doubled, and what was done to it shows.

use std::sync::Arc;
use std::time::Duration;

use fairway_controller::audit::{Against, AuditLog, BRANCH, Commit, Entry, Finding, REF, Writer};
use fairway_controller::change::Workspace;
use fairway_git::serve::Faults;
use fairway_git::{Change, Oid};
use fairway_types::promotion::Intent;
use jiff::Timestamp;

use crate::world::{PROD, World, apply, fairway, image};

fn entry(uid: &str, number: i64, seconds: i64, event: &str, commit: Option<Oid>) -> Entry {
    let json = serde_json::json!({
        "schema": Entry::SCHEMA, "id": format!("{uid}-{number}"),
        "time": Timestamp::from_second(seconds).unwrap(),
        "event": event, "pipeline": "flux-system/myapp", "stage": "prod",
        "promotion": format!("flux-system/{}", uid.trim_start_matches("uid-of-")), "uid": uid,
        "intent": "promote", "requestedBy": "ann", "outcome": "Committing",
    });
    let mut entry: Entry = serde_json::from_value(json).unwrap();
    entry.commits.extend(commit.map(|sha| Commit {
        sha: sha.to_string(),
        kind: Intent::Promote,
        pull_request: None,
    }));
    entry
}

async fn append(log: &AuditLog, entries: &[Entry]) -> usize {
    let who = fairway();
    let writer = Writer {
        committer: &who,
        key: None,
    };
    let salt = entries.first().map_or(0, |entry| entry.id.len() as u64);
    let appended = log
        .append(entries, writer, |attempt| {
            Duration::from_millis((salt * 7 + u64::from(attempt) * 13) % 40)
        })
        .await
        .unwrap();
    appended.written
}

fn log_of(workspace: &Workspace) -> AuditLog {
    AuditLog::new(Arc::clone(workspace.mirror()))
}

const DAY: i64 = 86_400;

#[tokio::test(flavor = "multi_thread")]
async fn entries_are_written_once_and_read_since() {
    let world = World::new().await;
    let log = log_of(&world.workspace("a").await);
    assert_eq!(log.read(None).await.unwrap(), []);
    let first = entry("u", 1, 20 * DAY + 5, "Requested", None);
    let second = entry("u", 2, 400 * DAY, "GateFailed", None);
    assert_eq!(append(&log, &[second.clone(), first.clone()]).await, 2);
    assert_eq!(append(&log, &[first.clone(), second.clone()]).await, 0);
    // Another process, and one more: only that is written.
    let other = log_of(&world.workspace("b").await);
    let third = entry("u", 3, 400 * DAY + 60, "Rejected", None);
    assert_eq!(append(&other, &[second.clone(), third.clone()]).await, 1);
    let all = [first.clone(), second.clone(), third.clone()];
    assert_eq!(log.read(None).await.unwrap(), all);
    let since = |seconds| Some(Timestamp::from_second(seconds).unwrap());
    assert_eq!(log.read(since(400 * DAY)).await.unwrap(), all[1..]);
    assert_eq!(log.read(since(400 * DAY + 1)).await.unwrap(), all[2..]);
    assert_eq!(log.read(since(500 * DAY)).await.unwrap(), []);

    // What git shows: one commit an entry, each adding one file.
    let clone = world.git.clone_to_work().await.unwrap();
    clone
        .git(&["fetch", "-q", "origin", &format!("{REF}:{REF}")])
        .await
        .unwrap();
    let shown = clone
        .git(&["log", "--reverse", "--format=%s", "--name-status", REF])
        .await
        .unwrap();
    assert_eq!(
        shown.trim(),
        "Requested flux-system/myapp prod: ? -> ? by ann\n\nA\t1970/01/21/000005Z-u-1.json\n\
         GateFailed flux-system/myapp prod: ? -> ? by ann\n\nA\t1971/02/05/000000Z-u-2.json\n\
         Rejected flux-system/myapp prod: ? -> ? by ann\n\nA\t1971/02/05/000100Z-u-3.json"
    );
    // It is no branch, and the branch does not know it.
    assert_eq!(
        world
            .git
            .repository()
            .refs("refs/heads/")
            .await
            .unwrap()
            .len(),
        1
    );
    let bad = Entry {
        id: "../x".into(),
        ..first
    };
    assert!(bad.path().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_writers_fork_nothing() {
    const EACH: i64 = 20;
    let world = World::new().await;
    let mut writers = Vec::new();
    for name in ["a", "bb"] {
        let log = log_of(&world.workspace(name).await);
        writers.push(tokio::spawn(async move {
            for number in 1..=EACH {
                let entries = [
                    entry(name, 2 * number - 1, number * 1000, "Requested", None),
                    entry(name, 2 * number, number * 1000 + 1, "Rejected", None),
                ];
                assert_eq!(append(&log, &entries).await, 2);
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let workspace = world.workspace("c").await;
    let log = log_of(&workspace);
    let head = workspace.fetch().await.unwrap();
    let report = log.verify(head, &Against::default()).await.unwrap();
    assert_eq!((report.entries as i64, report.findings), (4 * EACH, vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_doubles_no_entry() {
    let world = World::new().await;
    let log = log_of(&world.workspace("a").await);
    world.git.set_faults(Faults {
        lose_push_answer: true,
        ..Faults::default()
    });
    let one = [entry("u", 1, DAY, "Requested", None)];
    assert_eq!(append(&log, &one).await, 1);
    world.git.set_faults(Faults::default());
    assert_eq!(append(&log, &one).await, 0);
    assert_eq!(log.read(None).await.unwrap(), one);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_ref_is_refused_it_is_a_branch() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new().await;
    // As hosts do that let branches and tags be written, and nothing else.
    let hooks = world.git.repository().directory().join("hooks");
    std::fs::create_dir_all(&hooks).unwrap();
    let hook = hooks.join("update");
    std::fs::write(&hook, "#!/bin/sh\ncase \"$1\" in refs/heads/*) exit 0;; esac\necho \"deny updating a hidden ref\" >&2\nexit 1\n").unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    let log = log_of(&world.workspace("a").await);
    let one = entry("u", 1, DAY, "Requested", None);
    assert_eq!(append(&log, std::slice::from_ref(&one)).await, 1);
    let head = |name: &str| world.git.repository().resolve(name).unwrap();
    assert!(head(REF).is_none() && head(&format!("refs/heads/{BRANCH}")).is_some());
    // It stays there, though the host takes the ref by now.
    std::fs::remove_file(&hook).unwrap();
    let two = entry("u", 2, DAY, "Rejected", None);
    assert_eq!(append(&log, std::slice::from_ref(&two)).await, 1);
    assert!(head(REF).is_none());
    assert_eq!(log.read(None).await.unwrap(), [one, two]);
}

#[tokio::test(flavor = "multi_thread")]
async fn log_and_branch_are_compared_both_ways() {
    let world = World::new().await;
    let workspace = world.workspace("a").await;
    let log = log_of(&workspace);
    let first = apply(&workspace, &image(PROD, "1.1.0"), "p-1", Intent::Promote)
        .await
        .unwrap();
    let second = apply(&workspace, &image(PROD, "1.2.0"), "p-2", Intent::Promote)
        .await
        .unwrap();
    append(
        &log,
        &[entry("uid-of-p-1", 1, DAY, "Committed", Some(first.sha))],
    )
    .await;
    let findings = async |known: Option<Oid>, waiting: &[String]| {
        let head = workspace.fetch().await.unwrap();
        let against = Against {
            known,
            waiting,
            ..Against::default()
        };
        log.verify(head, &against).await.unwrap()
    };
    let report = findings(None, &[]).await;
    assert_eq!(report.commits, 2);
    assert_eq!(
        report.findings,
        [Finding::NoEntry {
            commit: second.sha,
            promotion: "flux-system/p-2".into()
        }]
    );
    assert!(findings(None, &["uid-of-p-2".into()]).await.is_clean());
    append(
        &log,
        &[entry("uid-of-p-2", 1, DAY, "Committed", Some(second.sha))],
    )
    .await;
    let clean = findings(report.tip, &[]).await;
    assert!(clean.is_clean(), "{:?}", clean.findings);

    // A commit that copies another's trailers has no entry, though its Promotion has.
    let forged = world.git.repository().commit(second.sha).unwrap().message;
    let forged = world
        .git
        .commit(&forged, &[("sneaked", Some("in"))])
        .await
        .unwrap();
    let report = findings(clean.tip, &[]).await;
    assert_eq!(
        report.findings,
        [Finding::NoEntry {
            commit: forged,
            promotion: "flux-system/p-2".into()
        }]
    );
    // An entry whose commit is nowhere, and one that says something else than the trailers.
    let nowhere: Oid = "12".repeat(20).parse().unwrap();
    let mut other = entry("uid-of-p-2", 2, DAY, "Committed", Some(forged));
    other.requested_by = Some("eve".into());
    append(
        &log,
        &[
            entry("uid-of-p-3", 1, DAY, "Committed", Some(nowhere)),
            other,
        ],
    )
    .await;
    let report = findings(clean.tip, &[]).await;
    assert_eq!(report.findings.len(), 2, "{:?}", report.findings);
    assert!(
        matches!(&report.findings[0], Finding::NoCommit { sha, .. } if *sha == nowhere.to_string())
    );
    assert!(
        matches!(&report.findings[1], Finding::Differs { field: "requestedBy", says, .. } if says == "eve")
    );
    for finding in &report.findings {
        assert!(!finding.to_string().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tampering_shows() {
    let world = World::new().await;
    let workspace = world.workspace("a").await;
    let log = log_of(&workspace);
    let entries = [
        entry("u", 1, DAY, "Requested", None),
        entry("u", 2, DAY, "Rejected", None),
    ];
    append(&log, &entries).await;
    let head = workspace.fetch().await.unwrap();
    let tip = log.tip().await.unwrap().unwrap();
    let served = world.git.repository();
    let (path, who) = (entries[0].path().unwrap(), fairway());
    let verify = async |known| {
        let against = Against {
            known,
            ..Against::default()
        };
        log.verify(head, &against).await.unwrap().findings
    };
    assert_eq!(verify(Some(tip)).await, []);
    // Changed, deleted, and somewhere else.
    let changed = served
        .edit(
            Some(tip),
            &[Change::write(path.as_str(), entries[0].path().unwrap())],
            "x",
            &who,
            &who,
        )
        .unwrap();
    served.update_ref(REF, changed, None).await.unwrap();
    let found = verify(Some(tip)).await;
    assert!(
        matches!(&found[..], [Finding::Altered { commit, .. }, Finding::Unreadable { .. }] if *commit == changed),
        "{found:?}"
    );
    let gone = served
        .edit(Some(tip), &[Change::delete(path.as_str())], "x", &who, &who)
        .unwrap();
    served.update_ref(REF, gone, None).await.unwrap();
    let found = verify(Some(tip)).await;
    assert!(
        matches!(&found[..], [Finding::Altered { commit, .. }] if *commit == gone),
        "{found:?}"
    );
    let text = String::from_utf8(
        served
            .blob(served.entry(tip, &path).unwrap().unwrap().id())
            .unwrap()
            .to_vec(),
    )
    .unwrap();
    let moved = served
        .edit(
            Some(tip),
            &[Change::write("2030/01/01/x.json", text)],
            "x",
            &who,
            &who,
        )
        .unwrap();
    served.update_ref(REF, moved, None).await.unwrap();
    let found = verify(Some(tip)).await;
    assert!(
        matches!(&found[..], [Finding::Unreadable { path, .. }] if path == "2030/01/01/x.json"),
        "{found:?}"
    );
    // Rewritten from its beginning.
    let root = served.commit(tip).unwrap().parents[0];
    served.update_ref(REF, root, None).await.unwrap();
    assert_eq!(verify(Some(tip)).await, [Finding::Rewritten { known: tip }]);
    served.delete_ref(REF).await.unwrap();
    assert_eq!(verify(Some(tip)).await, [Finding::Rewritten { known: tip }]);
}
