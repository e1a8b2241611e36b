//! Commits without a checkout, checked by git itself.
#![allow(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

mod world;

use fairway_git::{Change, Error, Oid, Push, Signature, TreeEntry};
use std::time::Duration;
use world::{World, ann, branch, write};

fn edited(world: &World, base: Oid, changes: &[Change]) -> Result<Oid, Error> {
    world.origin.edit(
        Some(base),
        changes,
        "Edit\n\nFairway-Test: yes",
        &ann(9),
        &Signature::new("Fairway", "f@example.org", 10),
    )
}

#[tokio::test]
async fn only_what_is_asked_for_changes() {
    let world = World::new().await;
    world
        .commit(
            "main",
            &[
                write("a/b/c.yaml", "c"),
                write("a/d.yaml", "d"),
                write("a.b", "x"),
                write("run.sh", "#!/bin/sh"),
            ],
        )
        .await;
    let tree = world
        .git(&["ls-tree", "main"])
        .replace("100644 blob", "100755 blob");
    let file = world.dir.path().join("listing");
    std::fs::write(&file, tree).unwrap();
    let listing = std::fs::File::open(&file).unwrap();
    let git_dir = world.origin.directory().display().to_string();
    let output = std::process::Command::new("git")
        .args(["--git-dir", &git_dir, "mktree"])
        .stdin(listing)
        .output()
        .unwrap();
    let tree = String::from_utf8(output.stdout).unwrap();
    let base: Oid = world
        .git(&["commit-tree", "-m", "executable", tree.trim()])
        .trim()
        .parse()
        .unwrap();
    let changes = [
        write("run.sh", "#!/bin/bash"),
        write("a/b/new/deep.yaml", "n"),
        Change::delete("a/d.yaml"),
        write("z", "z"),
    ];
    let commit = edited(&world, base, &changes).unwrap();
    world.git(&["fsck", "--strict"]);
    let diff = world.git(&[
        "diff",
        "--name-status",
        &base.to_string(),
        &commit.to_string(),
    ]);
    assert_eq!(diff, "A\ta/b/new/deep.yaml\nD\ta/d.yaml\nM\trun.sh\nA\tz\n");
    assert!(
        world
            .git(&["ls-tree", &commit.to_string(), "run.sh"])
            .starts_with("100755")
    );
    let shown = world.git(&[
        "show",
        "-s",
        "--format=%an|%ae|%at|%cn|%ct|%B|%(trailers:key=Fairway-Test,valueonly)",
        &commit.to_string(),
    ]);
    assert_eq!(
        shown.trim(),
        "Ann|ann@example.org|9|Fairway|10|Edit\n\nFairway-Test: yes\n|yes"
    );
    assert_eq!(
        world.origin.commit(commit).unwrap().trailers(),
        [("Fairway-Test", "yes")]
    );
    let gone = edited(
        &world,
        commit,
        &[
            Change::delete("a/b/new/deep.yaml"),
            Change::delete("a/b/c.yaml"),
        ],
    )
    .unwrap();
    assert_eq!(
        world.git(&["ls-tree", &gone.to_string(), "a/"]),
        "",
        "folders that are empty go"
    );
    assert_eq!(
        world.origin.changed_paths(Some(commit), gone).unwrap(),
        ["a/b/c.yaml", "a/b/new/deep.yaml"]
    );
    let all = ["a.b", "run.sh", "z"].map(Change::delete);
    let empty = edited(&world, gone, &all).unwrap();
    assert_eq!(world.git(&["ls-tree", &empty.to_string()]), "");
}

#[tokio::test]
async fn impossible_edits_are_refused() {
    let world = World::new().await;
    let base = world
        .commit("main", &[write("a/b.yaml", "1"), write("f", "1")])
        .await;
    for path in [
        "",
        "/abs",
        "../x",
        "a/../../x",
        "a//b",
        "./f",
        "a/",
        ".git/config",
        "x/.GIT/hooks/y",
        "x/git~1/y",
        ".git./x",
        "n\0ul",
        "a",
        "f/below",
    ] {
        assert!(
            edited(&world, base, &[write(path, "x")]).is_err(),
            "{path:?}"
        );
    }
    for path in ["missing", "a", "f/below"] {
        assert!(
            edited(&world, base, &[Change::delete(path)]).is_err(),
            "{path:?}"
        );
    }
    assert!(edited(&world, base, &[write("x", "1"), write("x", "2")]).is_err());
    let error = edited(&world, base, &[write("f", "1")]).unwrap_err();
    assert_eq!(error, Error::NothingToCommit);
    // A file may make way for a folder.
    edited(&world, base, &[Change::delete("f"), write("f/g", "1")]).unwrap();
}

#[tokio::test]
async fn reverts_keep_what_came_later() {
    let world = World::new().await;
    let lines =
        |middle: &str, end: &str| format!("one\ntwo\nthree\n{middle}\nfive\nsix\nseven\n{end}\n");
    world
        .commit(
            "main",
            &[
                write("app.yaml", &lines("tag: 1", "end: 1")),
                write("old", "old"),
                write("other", "1"),
            ],
        )
        .await;
    let change = [
        write("app.yaml", &lines("tag: 2", "end: 1")),
        Change::delete("old"),
        write("new", "new"),
    ];
    let promoted = world.commit("main", &change).await;
    let head = world
        .commit(
            "main",
            &[
                write("app.yaml", &lines("tag: 2", "end: 2")),
                write("other", "2"),
            ],
        )
        .await;
    let who = ann(50);
    let reverted = world
        .origin
        .revert(head, promoted, "Revert", &who, &who)
        .await
        .unwrap();
    let read = |path: &str| world.git(&["cat-file", "blob", &format!("{reverted}:{path}")]);
    assert_eq!(read("app.yaml"), lines("tag: 1", "end: 2"));
    assert_eq!(
        (read("old"), read("other")),
        ("old".to_owned(), "2".to_owned())
    );
    assert_eq!(
        world.origin.changed_paths(Some(head), reverted).unwrap(),
        ["app.yaml", "new", "old"]
    );
    assert_eq!(world.origin.commit(reverted).unwrap().parents, [head]);
    // Git agrees.
    let work = world.dir.path().join("work");
    world::git(world.dir.path(), &["clone", "-q", "origin.git", "work"]);
    world::git(&work, &["revert", "--no-edit", &promoted.to_string()]);
    let tree = world::git(&work, &["rev-parse", "HEAD^{tree}"]);
    assert_eq!(
        world.origin.commit(reverted).unwrap().tree.to_string(),
        tree.trim()
    );
    // Taking it back twice is nothing, and a revert can be reverted.
    assert_eq!(
        world
            .origin
            .revert(reverted, promoted, "x", &who, &who)
            .await
            .unwrap_err(),
        Error::NothingToCommit
    );
    let again = world
        .origin
        .revert(reverted, reverted, "x", &who, &who)
        .await
        .unwrap();
    assert_eq!(
        world.origin.commit(again).unwrap().tree,
        world.origin.commit(head).unwrap().tree
    );
    // The same line changed since: a conflict, by name.
    let later = world
        .commit(
            "main",
            &[
                write("app.yaml", &lines("tag: 3", "end: 2")),
                write("new", "newer"),
            ],
        )
        .await;
    let error = world
        .origin
        .revert(later, promoted, "x", &who, &who)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Conflict { paths, .. } if *paths == ["app.yaml", "new"]),
        "{error}"
    );
}

#[tokio::test]
async fn the_log_is_gits() {
    let world = World::new().await;
    let one = world
        .commit("main", &[write("a/x", "1"), write("[b]", "1")])
        .await;
    let two = world.commit("main", &[write("b", "1")]).await;
    let three = world.commit("main", &[write("a/x", "2")]).await;
    let ids = |log: Vec<fairway_git::Commit>| log.into_iter().map(|c| c.id).collect::<Vec<_>>();
    assert_eq!(
        ids(world.origin.log(three, None, &[], 10).await.unwrap()),
        [three, two, one]
    );
    assert_eq!(
        ids(world.origin.log(three, Some(one), &[], 10).await.unwrap()),
        [three, two]
    );
    assert_eq!(
        ids(world.origin.log(three, None, &["a"], 10).await.unwrap()),
        [three, one]
    );
    assert_eq!(
        ids(world.origin.log(three, None, &["[b]"], 10).await.unwrap()),
        [one],
        "a path is no pattern"
    );
    assert_eq!(
        ids(world.origin.log(three, None, &[], 1).await.unwrap()),
        [three]
    );
    assert!(world.origin.is_ancestor(one, three).await.unwrap());
    assert!(!world.origin.is_ancestor(three, one).await.unwrap());
}

#[tokio::test]
async fn a_promotion_is_edited_and_pushed() {
    let world = World::new().await;
    world
        .commit(
            "main",
            &[write("kustomization.yaml", "newTag: 1.0.0 # keep\r\n")],
        )
        .await;
    let mirror = world.mirror().await;
    let limit = Duration::from_secs(30);
    let base = mirror.fetch(&branch("main"), limit).await.unwrap().commit();
    let change = [write("kustomization.yaml", "newTag: 1.0.1 # keep\r\n")];
    let commit = mirror
        .repository()
        .edit(Some(base), &change, "Promote", &ann(70), &ann(70))
        .unwrap();
    assert_eq!(
        mirror
            .push(commit, "main", Some(base), limit)
            .await
            .unwrap(),
        Push::Pushed
    );
    let numbers = world.git(&["diff", "--numstat", &base.to_string(), "main"]);
    assert_eq!(numbers, "1\t1\tkustomization.yaml\n");
    // The push is known here at once.
    assert_eq!(
        mirror.repository().resolve("refs/heads/main").unwrap(),
        Some(commit)
    );
}

#[tokio::test]
async fn whole_folders_are_placed_and_taken_away() {
    let world = World::new().await;
    let base = world
        .commit(
            "main",
            &[
                write("dev/config/a", "1"),
                write("dev/config/deep/b", "2"),
                write("prod/config", "a file"),
                write("prod/keep", "k"),
            ],
        )
        .await;
    let folder = world.origin.entry(base, "dev/config").unwrap().unwrap();
    assert!(folder.is_folder() && !folder.is_file());
    let text = folder.to_string();
    assert_eq!(text, format!("40000 {}", folder.id()));
    assert_eq!(text.parse::<TreeEntry>().unwrap(), folder);
    let placed = edited(&world, base, &[Change::place("prod/config", folder)]).unwrap();
    assert_eq!(
        world.git(&["ls-tree", "-r", "--name-only", &placed.to_string(), "prod"]),
        "prod/config/a\nprod/config/deep/b\nprod/keep\n"
    );
    assert_eq!(
        world.origin.entry(placed, "prod/config").unwrap(),
        Some(folder)
    );
    let gone = edited(&world, placed, &[Change::delete_all("prod/config")]).unwrap();
    assert_eq!(world.origin.entry(gone, "prod/config").unwrap(), None);
    // And back to the file that it was.
    let file = world.origin.entry(base, "prod/config").unwrap().unwrap();
    let back = edited(&world, placed, &[Change::place("prod/config", file)]).unwrap();
    assert_eq!(
        world.git(&["diff", "--name-only", &base.to_string(), &back.to_string()]),
        ""
    );
    let names: Vec<String> = world
        .origin
        .folder(base, "prod")
        .unwrap()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["config", "keep"]);
    assert!(world.origin.folder(base, "nothing").unwrap().is_empty());
    // A file is still never written over a folder, nor is what is not here placed.
    assert!(edited(&world, base, &[write("dev/config", "x")]).is_err());
    let unknown: TreeEntry = "12".repeat(20).parse().unwrap();
    assert!(edited(&world, base, &[Change::place("x", unknown)]).is_err());
    assert!("100755 x".parse::<TreeEntry>().is_err());
    world.git(&["fsck", "--strict"]);
}

#[tokio::test]
async fn own_refs_and_branches_come_and_go_by_compare_and_swap() {
    const LIMIT: Duration = Duration::from_secs(30);
    let world = World::new().await;
    let base = world.commit("main", &[write("a", "1")]).await;
    let mirror = world.mirror().await;
    mirror.fetch(&branch("main"), LIMIT).await.unwrap();
    let name = "refs/fairway/audit";
    assert_eq!(mirror.fetch_own(name, LIMIT).await.unwrap(), None);
    let make = |on: Option<Oid>, text: &str| {
        let who = ann(9);
        mirror
            .repository()
            .edit(on, &[write("log", text)], "m", &who, &who)
            .unwrap()
    };
    let first = make(None, "1");
    assert_eq!(
        mirror.push_own(first, name, None, LIMIT).await.unwrap(),
        Push::Pushed
    );
    assert_eq!(
        mirror
            .push_own(make(None, "x"), name, None, LIMIT)
            .await
            .unwrap(),
        Push::LostRace
    );
    assert_eq!(
        mirror
            .push_own(make(Some(first), "2"), name, Some(first), LIMIT)
            .await
            .unwrap(),
        Push::Pushed
    );
    assert_eq!(
        mirror
            .push_own(make(Some(first), "3"), name, Some(first), LIMIT)
            .await
            .unwrap(),
        Push::LostRace
    );
    assert_eq!(
        mirror.fetch_own(name, LIMIT).await.unwrap(),
        Some(make(Some(first), "2"))
    );
    for other in [
        "refs/heads/main",
        "refs/fairway/holds/x",
        "refs/fairway/a b",
    ] {
        assert!(
            mirror.push_own(first, other, None, LIMIT).await.is_err(),
            "{other}"
        );
        assert!(mirror.fetch_own(other, LIMIT).await.is_err(), "{other}");
    }
    // A branch is deleted only where it is as it was left.
    assert_eq!(
        mirror.push(base, "side", None, LIMIT).await.unwrap(),
        Push::Pushed
    );
    assert_eq!(
        mirror.delete("side", first, LIMIT).await.unwrap(),
        Push::LostRace
    );
    assert_eq!(
        mirror.delete("side", base, LIMIT).await.unwrap(),
        Push::Pushed
    );
    assert_eq!(world.origin.resolve("refs/heads/side").unwrap(), None);
}

#[tokio::test]
async fn commits_are_found_by_name_and_by_text() {
    let world = World::new().await;
    let first = world.commit("main", &[write("a", "1")]).await;
    let second = world.commit("main", &[write("a", "2")]).await;
    let away = world.commit("other", &[write("b", "1")]).await;
    let name = async |text: &str| world.origin.name(second, text).await;
    assert_eq!(name(&first.to_string()).await.unwrap(), first);
    assert_eq!(name(&first.to_string()[..10]).await.unwrap(), first);
    assert_eq!(name(&format!("main@sha1:{second}")).await.unwrap(), second);
    for text in [
        "",
        "abc",
        "main",
        "HEAD",
        "--all",
        "zzzz",
        &away.to_string(),
        &"12".repeat(20),
    ] {
        assert!(name(text).await.is_err(), "{text}");
    }
    let found = world
        .origin
        .find(second, None, "change", |commit| commit.parents.is_empty());
    assert_eq!(found.await.unwrap().unwrap().id, first);
    let found = world.origin.find(second, Some(first), "change", |commit| {
        commit.parents.is_empty()
    });
    assert_eq!(found.await.unwrap(), None);
    // A pattern is a text here.
    assert!(
        world
            .origin
            .search(second, "ch.*ge")
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        world.origin.search(second, "change").await.unwrap().len(),
        2
    );
}
