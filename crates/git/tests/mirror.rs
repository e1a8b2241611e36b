//! The mirror against real repositories: fetches, revisions, races, damage.
#![allow(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

mod world;

use std::sync::Arc;
use std::time::Duration;

use fairway_git::{
    Change, Credentials, Error, Mirror, Mirrors, Push, Reference, Remote, Repository, ViewOptions,
};
use world::{World, ann, branch, write};

const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn follows_a_branch() {
    let world = World::new().await;
    let first = world.commit("main", &[write("a.yaml", "1")]).await;
    let mirror = world.mirror().await;
    let revision = mirror.fetch(&branch("main"), LIMIT).await.unwrap();
    assert_eq!(revision.to_string(), format!("main@sha1:{first}"));
    assert_eq!(
        mirror.fetch(&branch("main"), LIMIT).await.unwrap(),
        revision
    );
    let second = world.commit("main", &[write("a.yaml", "2")]).await;
    assert_eq!(
        mirror.fetch(&branch("main"), LIMIT).await.unwrap().commit(),
        second
    );
    // History was rewritten: a mirror follows, it does not argue.
    world
        .origin
        .update_ref("refs/heads/main", first, None)
        .await
        .unwrap();
    assert_eq!(
        mirror.fetch(&branch("main"), LIMIT).await.unwrap().commit(),
        first
    );
    let view = mirror.view(first, &ViewOptions::default()).unwrap();
    assert_eq!(&*view.read("a.yaml").unwrap(), b"1");
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let world = World::new().await;
    let mirror = world.mirror().await;
    let error = mirror.fetch(&branch("main"), LIMIT).await.unwrap_err();
    assert!(
        matches!(&error, Error::RefMissing { reference, .. } if reference == "refs/heads/main"),
        "{error}"
    );
    world.commit("main", &[write("a.yaml", "1")]).await;
    let error = mirror
        .fetch(&Reference::Tag("v1".into()), LIMIT)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::RefMissing { reference, .. } if reference == "refs/tags/v1"),
        "{error}"
    );
    let error = mirror
        .fetch(&Reference::Semver("^1".into()), LIMIT)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NoMatchingTag { .. }), "{error}");
    let nowhere = Remote::new("/nowhere/at/all.git", Credentials::none()).unwrap();
    let mirror = Mirror::open(&world.dir.path().join("other"), nowhere)
        .await
        .unwrap();
    let error = mirror.fetch(&branch("main"), LIMIT).await.unwrap_err();
    assert!(matches!(error, Error::RepositoryNotFound { .. }), "{error}");
    let refused = Remote::new("http://127.0.0.1:1/fleet.git", Credentials::none()).unwrap();
    let mirror = Mirror::open(&world.dir.path().join("third"), refused)
        .await
        .unwrap();
    let error = mirror.fetch(&branch("main"), LIMIT).await.unwrap_err();
    assert!(
        matches!(error, Error::Unreachable { .. }) && error.is_transient(),
        "{error}"
    );
}

#[tokio::test]
async fn tags_semver_names_and_commits() {
    let world = World::new().await;
    let one = world.commit("main", &[write("a", "1")]).await;
    world.git(&["tag", "-a", "-m", "annotated", "v1.0.0", &one.to_string()]);
    let two = world.commit("main", &[write("a", "2")]).await;
    world.git(&["tag", "v1.1.0", &two.to_string()]);
    let pre = world.commit("main", &[write("a", "3")]).await;
    world.git(&["tag", "v2.0.0-rc.1", &pre.to_string()]);
    world.git(&["tag", "not-a-version", &pre.to_string()]);
    let hidden = world.commit("side", &[write("a", "4")]).await;
    world.git(&["update-ref", "refs/pull/1/head", &hidden.to_string()]);
    let mirror = world.mirror().await;
    let fetch =
        async |reference: Reference| mirror.fetch(&reference, LIMIT).await.unwrap().to_string();
    assert_eq!(
        fetch(Reference::Tag("v1.0.0".into())).await,
        format!("v1.0.0@sha1:{one}")
    );
    assert_eq!(
        fetch(Reference::Semver(">=1.0.0".into())).await,
        format!("v1.1.0@sha1:{two}")
    );
    assert_eq!(
        fetch(Reference::Semver(">=1.0.0-0".into())).await,
        format!("v2.0.0-rc.1@sha1:{pre}")
    );
    assert_eq!(
        fetch(Reference::Name("refs/heads/main".into())).await,
        format!("refs/heads/main@sha1:{pre}")
    );
    assert_eq!(
        fetch(Reference::Name("refs/pull/1/head".into())).await,
        format!("refs/pull/1/head@sha1:{hidden}")
    );
    assert_eq!(
        fetch(Reference::Commit {
            commit: one,
            branch: None
        })
        .await,
        format!("sha1:{one}")
    );
    assert_eq!(
        fetch(Reference::Commit {
            commit: one,
            branch: Some("main".into())
        })
        .await,
        format!("main@sha1:{one}")
    );
}

#[tokio::test]
async fn equal_versions_are_decided_by_time() {
    let world = World::new().await;
    let old = world.commit("main", &[write("a", "1")]).await;
    let new = world.commit("main", &[write("a", "2")]).await;
    world.git(&["tag", "1.0.0+zz", &old.to_string()]);
    world.git(&["tag", "1.0.0+aa", &new.to_string()]);
    let revision = world
        .mirror()
        .await
        .fetch(&Reference::Semver("*".into()), LIMIT)
        .await
        .unwrap();
    assert_eq!(revision.to_string(), format!("1.0.0+aa@sha1:{new}"));
}

#[tokio::test]
async fn a_commit_must_be_reachable() {
    let world = World::new().await;
    let main = world.commit("main", &[write("a", "1")]).await;
    // In the remote's database, but on no ref: a fork's commit on a hosting service.
    let dangling = world
        .origin
        .edit(Some(main), &[write("a", "evil")], "x", &ann(5), &ann(5))
        .unwrap();
    let side = world.commit("side", &[write("b", "1")]).await;
    let mirror = world.mirror().await;
    let commit = |commit, branch: Option<&str>| Reference::Commit {
        commit,
        branch: branch.map(str::to_owned),
    };
    let error = mirror
        .fetch(&commit(dangling, None), LIMIT)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::CommitMissing { .. }), "{error}");
    let error = mirror
        .fetch(&commit(side, Some("main")), LIMIT)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("branch main"), "{error}");
    mirror
        .fetch(&commit(side, Some("side")), LIMIT)
        .await
        .unwrap();
    // One that was made here and never pushed is no revision either.
    let local = mirror
        .repository()
        .edit(Some(main), &[write("a", "mine")], "x", &ann(6), &ann(6))
        .unwrap();
    let error = mirror.fetch(&commit(local, None), LIMIT).await.unwrap_err();
    assert!(matches!(error, Error::CommitMissing { .. }), "{error}");
    // A tag's or a tree's id is no commit.
    let tree = mirror.repository().commit(main).unwrap().tree;
    assert!(mirror.fetch(&commit(tree, None), LIMIT).await.is_err());
}

#[tokio::test]
async fn a_held_commit_survives_rewritten_history_and_gc() {
    let world = World::new().await;
    let base = world.commit("main", &[write("a", "1")]).await;
    let held = world.commit("main", &[write("a", "2")]).await;
    let mirror = world.mirror().await;
    mirror.fetch(&branch("main"), LIMIT).await.unwrap();
    mirror.hold(held).await.unwrap();
    world
        .origin
        .update_ref("refs/heads/main", base, None)
        .await
        .unwrap();
    world.git(&["reflog", "expire", "--expire=now", "--all"]);
    world.git(&["gc", "--prune=now", "--quiet"]);
    mirror.fetch(&branch("main"), LIMIT).await.unwrap();
    let bare = mirror.repository().directory().to_owned();
    world::git(&bare, &["gc", "--prune=now", "--quiet"]);
    mirror.gc(LIMIT).await.unwrap();
    let reference = Reference::Commit {
        commit: held,
        branch: None,
    };
    assert_eq!(
        mirror.fetch(&reference, LIMIT).await.unwrap().commit(),
        held
    );
    assert_eq!(mirror.holds().await.unwrap(), [held]);
    let view = mirror.view(held, &ViewOptions::default()).unwrap();
    assert_eq!(&*view.read("a").unwrap(), b"2");
    mirror.unhold(held).await.unwrap();
    mirror.unhold(held).await.unwrap();
    world::git(&bare, &["gc", "--prune=now", "--quiet"]);
    let error = world
        .mirror()
        .await
        .fetch(&reference, LIMIT)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::CommitMissing { .. }), "{error}");
    assert!(mirror.hold(held).await.is_err());
}

#[tokio::test]
async fn a_damaged_mirror_is_cloned_again_and_keeps_its_holds() {
    let world = World::new().await;
    let first = world
        .commit("main", &[write("a", &"x".repeat(5000)), write("b", "b")])
        .await;
    let second = world.commit("main", &[write("a", "2")]).await;
    let mirror = world.mirror().await;
    mirror.fetch(&branch("main"), LIMIT).await.unwrap();
    mirror.hold(first).await.unwrap();
    let objects = mirror.repository().directory().join("objects");
    for entry in world::files(&objects) {
        std::fs::remove_file(&entry).unwrap();
        std::fs::write(&entry, b"").unwrap();
    }
    // A fresh process finds the damage.
    let mirror = world.mirror().await;
    let revision = mirror.fetch(&branch("main"), LIMIT).await.unwrap();
    assert_eq!(revision.commit(), second);
    assert_eq!(
        &*mirror
            .view(second, &ViewOptions::default())
            .unwrap()
            .read("b")
            .unwrap(),
        b"b"
    );
    assert_eq!(mirror.holds().await.unwrap(), [first]);
    // A blob goes missing while the process runs: the read says so, the next fetch mends it.
    let view = mirror.view(second, &ViewOptions::default()).unwrap();
    for entry in world::files(&objects)
        .into_iter()
        .filter(|f| !f.ends_with("info"))
    {
        let _ = std::fs::remove_file(&entry);
    }
    let fresh = Repository::open(mirror.repository().directory()).unwrap();
    assert!(matches!(
        fresh.commit(second),
        Err(Error::ObjectMissing { .. })
    ));
    drop(view);
    let mirror = world.mirror().await;
    mirror.fetch(&branch("main"), LIMIT).await.unwrap();
    assert_eq!(
        &*mirror
            .view(second, &ViewOptions::default())
            .unwrap()
            .read("a")
            .unwrap(),
        b"2"
    );
}

#[tokio::test]
async fn branches_may_turn_into_folders() {
    let world = World::new().await;
    world.commit("feature", &[write("a", "1")]).await;
    let mirror = world.mirror().await;
    mirror.fetch(&branch("feature"), LIMIT).await.unwrap();
    world.origin.delete_ref("refs/heads/feature").await.unwrap();
    let deep = world.commit("feature/one", &[write("a", "2")]).await;
    assert_eq!(
        mirror
            .fetch(&branch("feature/one"), LIMIT)
            .await
            .unwrap()
            .commit(),
        deep
    );
}

#[tokio::test]
async fn fetches_that_wait_share_the_next_one() {
    let world = World::new().await;
    world.commit("main", &[write("a", "1")]).await;
    let mirror = Arc::new(world.mirror().await);
    let mut tasks = Vec::new();
    for _ in 0..20 {
        let mirror = mirror.clone();
        tasks.push(tokio::spawn(async move {
            mirror.fetch(&branch("main"), LIMIT).await
        }));
    }
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    // Who asks after a push sees the push, even while another fetch is under way.
    for i in 0..10 {
        let early = {
            let mirror = mirror.clone();
            tokio::spawn(async move { mirror.fetch(&branch("main"), LIMIT).await })
        };
        tokio::task::yield_now().await;
        let pushed = world.commit("main", &[write("a", &format!("{i}+"))]).await;
        assert_eq!(
            mirror.fetch(&branch("main"), LIMIT).await.unwrap().commit(),
            pushed
        );
        early.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn an_interrupted_fetch_leaves_a_usable_mirror() {
    let world = World::new().await;
    let mut last = world
        .commit("main", &[write("big", &"0123456789".repeat(10_000))])
        .await;
    let mirror = world.mirror().await;
    mirror.fetch(&branch("main"), LIMIT).await.unwrap();
    for i in 0_u64..12 {
        let content: String = (0..40_000)
            .map(|n: u64| ((n * n * (i + 7)) % 251).to_string())
            .collect();
        last = world.commit("main", &[write("big", &content)]).await;
        // Dropped half-way: the process group is killed.
        let _ = tokio::time::timeout(
            Duration::from_millis(i),
            mirror.fetch(&branch("main"), LIMIT),
        )
        .await;
        let bare = mirror.repository().directory();
        std::fs::write(bare.join("packed-refs.lock"), b"").unwrap();
        std::fs::write(bare.join("refs/heads/main.lock"), b"").unwrap();
    }
    assert_eq!(
        mirror.fetch(&branch("main"), LIMIT).await.unwrap().commit(),
        last
    );
    world::git(mirror.repository().directory(), &["fsck", "--strict"]);
}

#[tokio::test]
async fn two_processes_take_turns() {
    let world = World::new().await;
    world.commit("main", &[write("a", "1")]).await;
    let (one, two) = (world.mirror().await, world.mirror().await);
    let lock = std::fs::File::options()
        .write(true)
        .open(world.dir.path().join("mirror/lock"))
        .unwrap();
    lock.lock().unwrap();
    let error = one
        .fetch(&branch("main"), Duration::from_millis(100))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Busy { .. }), "{error}");
    drop(lock);
    let (main, same) = (branch("main"), branch("main"));
    let (a, b) = tokio::join!(one.fetch(&main, LIMIT), two.fetch(&same, LIMIT));
    assert_eq!(a.unwrap(), b.unwrap());
}

#[tokio::test]
async fn pushes_race_and_nobody_is_overrun() {
    let world = World::new().await;
    let base = world.commit("main", &[write("a", "1")]).await;
    let one = world.mirror().await;
    let two = Mirror::open(&world.dir.path().join("two"), world.remote())
        .await
        .unwrap();
    one.fetch(&branch("main"), LIMIT).await.unwrap();
    two.fetch(&branch("main"), LIMIT).await.unwrap();
    let mine = one
        .repository()
        .edit(
            Some(base),
            &[write("mine", "1")],
            "mine",
            &ann(10),
            &ann(10),
        )
        .unwrap();
    let theirs = two
        .repository()
        .edit(
            Some(base),
            &[write("theirs", "1")],
            "theirs",
            &ann(11),
            &ann(11),
        )
        .unwrap();
    let (a, b) = tokio::join!(
        one.push(mine, "main", Some(base), LIMIT),
        two.push(theirs, "main", Some(base), LIMIT)
    );
    let (a, b) = (a.unwrap(), b.unwrap());
    assert!(
        matches!(
            (&a, &b),
            (Push::Pushed, Push::LostRace) | (Push::LostRace, Push::Pushed)
        ),
        "{a:?} {b:?}"
    );
    let (winner, loser) = if a == Push::Pushed {
        (mine, &two)
    } else {
        (theirs, &one)
    };
    assert_eq!(
        world.origin.resolve("refs/heads/main").unwrap(),
        Some(winner)
    );
    // The loser does as told: fetch, edit, push.
    let head = loser.fetch(&branch("main"), LIMIT).await.unwrap().commit();
    let again = loser
        .repository()
        .edit(
            Some(head),
            &[write("again", "1")],
            "again",
            &ann(12),
            &ann(12),
        )
        .unwrap();
    assert_eq!(
        loser.push(again, "main", Some(head), LIMIT).await.unwrap(),
        Push::Pushed
    );
    assert_eq!(
        loser.push(again, "main", Some(head), LIMIT).await.unwrap(),
        Push::Pushed,
        "a push may be repeated"
    );
    // Never by force.
    let error = loser
        .push(base, "main", Some(again), LIMIT)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::InvalidReference { .. }), "{error}");
    assert_eq!(
        loser.push(mine, "main", None, LIMIT).await.unwrap(),
        Push::LostRace
    );
    assert_eq!(
        world.origin.resolve("refs/heads/main").unwrap(),
        Some(again)
    );
    // A new branch.
    assert_eq!(
        loser.push(again, "release/1", None, LIMIT).await.unwrap(),
        Push::Pushed
    );
}

#[tokio::test]
async fn a_hook_refuses_in_its_own_words() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new().await;
    let base = world.commit("main", &[write("a", "1")]).await;
    let hooks = world.origin.directory().join("hooks");
    std::fs::create_dir_all(&hooks).unwrap();
    std::fs::write(
        hooks.join("pre-receive"),
        "#!/bin/sh\necho 'main is frozen until Monday' >&2\nexit 1\n",
    )
    .unwrap();
    std::fs::set_permissions(
        hooks.join("pre-receive"),
        std::fs::Permissions::from_mode(0o755),
    )
    .unwrap();
    let mirror = world.mirror().await;
    mirror.fetch(&branch("main"), LIMIT).await.unwrap();
    let commit = mirror
        .repository()
        .edit(Some(base), &[write("a", "2")], "x", &ann(9), &ann(9))
        .unwrap();
    // Hooks are off in Fairway's own runs; the other side of a local path is git's own affair, which
    // is why it is asked by URL.
    let outcome = mirror
        .push(commit, "main", Some(base), LIMIT)
        .await
        .unwrap();
    assert!(
        matches!(&outcome, Push::Refused(why) if why.contains("frozen until Monday")),
        "{outcome:?}"
    );
    assert_eq!(world.origin.resolve("refs/heads/main").unwrap(), Some(base));
}

#[tokio::test]
async fn mirrors_are_never_shared_across_credentials() {
    let world = World::new().await;
    let mirrors = Mirrors::open(&world.dir.path().join("mirrors")).unwrap();
    let url = "https://example.org/fleet.git";
    let remote =
        |password: &str| Remote::new(url, Credentials::none().with_basic("me", password)).unwrap();
    let one = mirrors.get(&remote("one")).await.unwrap();
    let two = mirrors.get(&remote("two")).await.unwrap();
    assert_ne!(one.repository().directory(), two.repository().directory());
    assert!(Arc::ptr_eq(
        &one,
        &mirrors.get(&remote("one")).await.unwrap()
    ));
    let again = Mirrors::open(&world.dir.path().join("mirrors")).unwrap();
    assert_eq!(
        again
            .get(&remote("one"))
            .await
            .unwrap()
            .repository()
            .directory(),
        one.repository().directory()
    );
    mirrors.retain(&[remote("two")]).await.unwrap();
    assert!(!one.repository().directory().exists());
    assert!(two.repository().directory().exists());
}

#[tokio::test]
async fn sha256_repositories_are_refused_clearly() {
    let world = World::new().await;
    let path = world.dir.path().join("new.git");
    let work = world.dir.path().join("new");
    world::git(
        world.dir.path(),
        &["init", "-q", "--object-format=sha256", "-b", "main", "new"],
    );
    world::git(&work, &["commit", "-q", "--allow-empty", "-m", "x"]);
    world::git(
        world.dir.path(),
        &["clone", "-q", "--bare", "new", "new.git"],
    );
    let remote = Remote::new(&path.display().to_string(), Credentials::none()).unwrap();
    let mirror = Mirror::open(&world.dir.path().join("m256"), remote.clone())
        .await
        .unwrap();
    let error = mirror.fetch(&branch("main"), LIMIT).await.unwrap_err();
    assert!(matches!(error, Error::Sha256 { .. }), "{error}");
    let error = Repository::clone_from(&remote, &world.dir.path().join("copy.git"), LIMIT)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Sha256 { .. }), "{error}");
}

#[tokio::test]
async fn a_bare_copy_has_no_tie_to_the_original() {
    let world = World::new().await;
    let main = world.commit("main", &[write("a", "1")]).await;
    let work = world.dir.path().join("it's a work tree");
    world::git(
        world.dir.path(),
        &["clone", "-q", "origin.git", "it's a work tree"],
    );
    for source in [world.origin.directory().to_owned(), work] {
        let copy = world
            .dir
            .path()
            .join(format!("copy-of-{}", source.file_name().unwrap().display()));
        let remote = Remote::new(&source.display().to_string(), Credentials::none()).unwrap();
        let copy = Repository::clone_from(&remote, &copy, LIMIT).await.unwrap();
        assert_eq!(copy.resolve("refs/heads/main").unwrap(), Some(main));
        assert_eq!(copy.default_branch().unwrap().as_deref(), Some("main"));
        let config = std::fs::read_to_string(copy.directory().join("config")).unwrap();
        assert!(!config.contains("remote"), "{config}");
        assert!(!copy.directory().join("objects/info/alternates").exists());
        let other = copy
            .edit(
                Some(main),
                &[Change::write("b", "2")],
                "b",
                &ann(3),
                &ann(3),
            )
            .unwrap();
        copy.update_ref("refs/heads/main", other, Some(Some(main)))
            .await
            .unwrap();
        assert_eq!(world.origin.resolve("refs/heads/main").unwrap(), Some(main));
        let moved = copy
            .update_ref("refs/heads/main", main, Some(Some(main)))
            .await
            .unwrap_err();
        assert!(matches!(moved, Error::RefMoved { .. }), "{moved}");
    }
}

#[tokio::test]
async fn asking_for_an_unknown_commit_does_no_harm() {
    let world = World::new().await;
    world.commit("main", &[write("a", "1")]).await;
    let mirror = world.mirror().await;
    let revision = mirror.fetch(&branch("main"), LIMIT).await.unwrap();
    let marker = mirror.repository().directory().join("still-the-same");
    std::fs::write(&marker, "").unwrap();
    let unknown = "0123456789012345678901234567890123456789".parse().unwrap();
    let error = mirror.view(unknown, &ViewOptions::default()).err().unwrap();
    assert!(matches!(error, Error::ObjectMissing { .. }), "{error}");
    mirror.fetch(&branch("main"), LIMIT).await.unwrap();
    assert!(marker.exists(), "the mirror was cloned again");
    // But a tree that is gone is damage, and the next fetch mends it.
    let tree = mirror.repository().commit(revision.commit()).unwrap().tree;
    for entry in world::files(&mirror.repository().directory().join("objects")) {
        std::fs::remove_file(entry).unwrap();
    }
    let remote = world.origin.directory().join("objects");
    let commit = revision.commit().to_string();
    let (folder, file) = commit.split_at(2);
    let target = mirror.repository().directory().join("objects").join(folder);
    std::fs::create_dir_all(&target).unwrap();
    std::fs::copy(remote.join(folder).join(file), target.join(file)).unwrap();
    let fresh = world.mirror().await;
    let error = fresh
        .view(revision.commit(), &ViewOptions::default())
        .err()
        .unwrap();
    assert!(
        matches!(&error, Error::Damaged { detail, .. } if detail.contains(&tree.to_string())),
        "{error}"
    );
    fresh.fetch(&branch("main"), LIMIT).await.unwrap();
    let view = fresh
        .view(revision.commit(), &ViewOptions::default())
        .unwrap();
    assert_eq!(&*view.read("a").unwrap(), b"1");
    assert!(!marker.exists());
}

#[tokio::test]
async fn packs_do_not_pile_up() {
    let world = World::new().await;
    let mirror = world.mirror().await;
    let mut last = None;
    for i in 0..60 {
        last = Some(world.commit("main", &[write("a", &i.to_string())]).await);
        mirror.fetch(&branch("main"), LIMIT).await.unwrap();
        // A reader that was there before gc still reads after it.
        let view = mirror.view(last.unwrap(), &ViewOptions::default()).unwrap();
        assert_eq!(&*view.read("a").unwrap(), i.to_string().as_bytes());
    }
    let bare = mirror.repository().directory();
    let packs = world::files(&bare.join("objects/pack"));
    let packs = packs
        .iter()
        .filter(|f| f.extension().is_some_and(|e| e == "pack"))
        .count();
    assert!((1..30).contains(&packs), "{packs} packs");
    assert_eq!(
        mirror
            .repository()
            .log(last.unwrap(), None, &[], 100)
            .await
            .unwrap()
            .len(),
        60
    );
}

#[tokio::test]
async fn mirrors_that_nothing_needs_go() {
    let world = World::new().await;
    let commit = world.commit("main", &[write("a.yaml", "1")]).await;
    let mirrors = Mirrors::open(&world.dir.path().join("mirrors")).unwrap();
    let of = async |token: &str| {
        let credentials = Credentials::none().with_bearer(token);
        let remote = Remote::new(world.remote().url(), credentials).unwrap();
        let mirror = mirrors.get(&remote).await.unwrap();
        mirror.fetch(&branch("main"), LIMIT).await.unwrap();
        mirror
    };
    let used = of("used").await;
    let held = of("held").await;
    held.hold(commit).await.unwrap();
    drop(held);
    let kept = of("in somebody's hands").await;
    drop(of("free").await);
    let count = || {
        let folders = std::fs::read_dir(world.dir.path().join("mirrors")).unwrap();
        folders
            .filter(|e| e.as_ref().unwrap().path().is_dir())
            .count()
    };
    assert_eq!(count(), 4);
    let day = Duration::from_hours(24);
    assert_eq!(
        mirrors
            .sweep(std::slice::from_ref(&used), day)
            .await
            .unwrap(),
        0
    );
    assert_eq!(mirrors.sweep(&[used], Duration::ZERO).await.unwrap(), 1);
    assert_eq!(count(), 3);
    assert!(kept.repository().contains(commit));
    drop(of("free").await);
    assert_eq!(count(), 4, "it is fetched again");
}
