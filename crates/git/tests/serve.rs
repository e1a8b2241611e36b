//! The HTTP server with the real git client on one end, and the mirror on it.
#![allow(clippy::unwrap_used, reason = "what fails in a helper fails the test")]
#![cfg(feature = "serve")]

mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fairway_git::serve::{Faults, Server};
use fairway_git::{Credentials, Error, Mirror, Push, Reference, Remote, Repository, ViewOptions};
use world::{World, ann, branch, write};

const LIMIT: Duration = Duration::from_secs(30);

async fn served(world: &World) -> Server {
    let server = Server::start_anywhere().await.unwrap();
    server.add("team/fleet", world.origin.directory());
    server
}

async fn mirror(world: &World, server: &Server, credentials: Credentials) -> Mirror {
    let remote = Remote::new(&server.url("team/fleet"), credentials).unwrap();
    Mirror::open(&world.dir.path().join("http-mirror"), remote)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_clone_and_push_and_the_mirror_follows() {
    let world = World::new().await;
    world.commit("main", &[write("a.yaml", "1")]).await;
    let server = served(&world).await;
    let pushes = Arc::new(AtomicUsize::new(0));
    let counted = pushes.clone();
    server.on_push(move |name| {
        assert_eq!(name, "team/fleet");
        counted.fetch_add(1, Ordering::SeqCst);
    });
    let work = world.dir.path().join("work");
    let (url, dir) = (server.url("team/fleet"), world.dir.path().to_owned());
    let head = tokio::task::spawn_blocking(move || {
        for version in ["2", "0"] {
            let _ = std::fs::remove_dir_all(dir.join("work"));
            world::git(
                &dir,
                &[
                    "-c",
                    &format!("protocol.version={version}"),
                    "clone",
                    "-q",
                    &url,
                    "work",
                ],
            );
        }
        let text: String = (0..5000_u32)
            .map(|n| n.wrapping_mul(2_654_435_761).to_string())
            .collect();
        std::fs::write(work.join("a.yaml"), text).unwrap();
        world::git(&work, &["commit", "-q", "-am", "a person's change"]);
        world::git(&work, &["push", "-q", "origin", "main"]);
        world::git(&work, &["rev-parse", "HEAD"]).trim().to_owned()
    });
    let head = head.await.unwrap();
    assert_eq!(
        pushes.load(Ordering::SeqCst),
        1,
        "the callback comes before the answer ends"
    );
    let mirror = mirror(&world, &server, Credentials::none()).await;
    let revision = mirror.fetch(&branch("main"), LIMIT).await.unwrap();
    assert_eq!(revision.to_string(), format!("main@sha1:{head}"));
    let edited = mirror
        .repository()
        .edit(
            Some(revision.commit()),
            &[write("b", "2")],
            "x",
            &ann(7),
            &ann(7),
        )
        .unwrap();
    assert_eq!(
        mirror
            .push(edited, "main", Some(revision.commit()), LIMIT)
            .await
            .unwrap(),
        Push::Pushed
    );
    assert_eq!(
        world.origin.resolve("refs/heads/main").unwrap(),
        Some(edited)
    );
    assert_eq!(pushes.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_refs_make_git_compress_its_requests() {
    let world = World::new().await;
    for i in 0..60 {
        world
            .commit(&format!("b{i}"), &[write("a", &i.to_string())])
            .await;
    }
    let server = served(&world).await;
    let mirror = mirror(&world, &server, Credentials::none()).await;
    let last = world.origin.resolve("refs/heads/b59").unwrap().unwrap();
    mirror
        .fetch(
            &Reference::Commit {
                commit: last,
                branch: None,
            },
            LIMIT,
        )
        .await
        .unwrap();
    assert_eq!(
        mirror.repository().refs("refs/heads/").await.unwrap().len(),
        60
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_are_asked_for_and_never_shown() {
    let world = World::new().await;
    let commit = world.commit("main", &[write("a", "1")]).await;
    let server = served(&world).await;
    server.require_password(Some(("fairway", "hunter2")));
    for credentials in [
        Credentials::none(),
        Credentials::none().with_basic("fairway", "wr0ng-pw"),
        Credentials::none().with_bearer("wr0ng-pw"),
    ] {
        let mirror = mirror(&world, &server, credentials).await;
        let error = mirror.fetch(&branch("main"), LIMIT).await.unwrap_err();
        assert!(matches!(error, Error::AuthFailed { .. }), "{error}");
        assert!(
            !format!("{error} {error:?} {mirror:?}").contains("wr0ng-pw"),
            "{error:?}"
        );
        let encoded = "ZmFpcndheTp3cjBuZy1wdw==";
        assert!(!format!("{error:?}").contains(encoded), "{error:?}");
    }
    let good = Credentials::none().with_basic("fairway", "hunter2");
    let mirror = mirror(&world, &server, good).await;
    assert_eq!(
        mirror.fetch(&branch("main"), LIMIT).await.unwrap().commit(),
        commit
    );
    for file in world::files(&world.dir.path().join("http-mirror")) {
        let bytes = std::fs::read(&file).unwrap();
        assert!(
            !bytes.windows(7).any(|w| w == b"hunter2"),
            "{}",
            file.display()
        );
    }
    let url = format!("http://fairway:hunter2@{}/team/fleet.git", server.address());
    let remote = Remote::new(&url, Credentials::none()).unwrap();
    let copy = Repository::clone_from(&remote, &world.dir.path().join("copy"), LIMIT)
        .await
        .unwrap();
    assert_eq!(copy.resolve("refs/heads/main").unwrap(), Some(commit));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults() {
    let world = World::new().await;
    let base = world.commit("main", &[write("a", "1")]).await;
    let server = served(&world).await;
    let mirror = mirror(&world, &server, Credentials::none()).await;
    mirror.fetch(&branch("main"), LIMIT).await.unwrap();
    let commit = mirror
        .repository()
        .edit(Some(base), &[write("a", "2")], "x", &ann(7), &ann(7))
        .unwrap();

    server.set_faults(Faults {
        down: true,
        ..Faults::default()
    });
    let error = mirror.fetch(&branch("main"), LIMIT).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    let error = mirror
        .push(commit, "main", Some(base), LIMIT)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert_eq!(
        &*mirror
            .view(base, &ViewOptions::default())
            .unwrap()
            .read("a")
            .unwrap(),
        b"1"
    );

    server.set_faults(Faults {
        refuse_push: Some("main is 'protected'".into()),
        ..Faults::default()
    });
    let outcome = mirror
        .push(commit, "main", Some(base), LIMIT)
        .await
        .unwrap();
    assert!(
        matches!(&outcome, Push::Refused(why) if why.contains("main is 'protected'")),
        "{outcome:?}"
    );

    server.set_faults(Faults {
        delay: Duration::from_secs(20),
        ..Faults::default()
    });
    let started = Instant::now();
    let error = mirror
        .fetch(&branch("main"), Duration::from_millis(300))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    assert!(started.elapsed() < Duration::from_secs(5));

    server.set_faults(Faults::default());
    mirror.fetch(&branch("main"), LIMIT).await.unwrap();
    let missing = Remote::new(&server.url("other"), Credentials::none()).unwrap();
    let missing = Mirror::open(&world.dir.path().join("missing"), missing)
        .await
        .unwrap();
    let error = missing.fetch(&branch("main"), LIMIT).await.unwrap_err();
    assert!(matches!(error, Error::RepositoryNotFound { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_get_nothing() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let world = World::new().await;
    world.commit("main", &[write("a", "1")]).await;
    let server = served(&world).await;
    for (line, host, expected) in [
        (
            "GET /team/fleet.git/info/refs?service=git-upload-pack HTTP/1.1",
            "evil.example",
            "403",
        ),
        (
            "GET /team/fleet.git/info/refs?service=git-upload-pack HTTP/1.1",
            "127.0.0.1:1",
            "200",
        ),
        ("GET /team/fleet.git/info/refs HTTP/1.1", "localhost", "403"),
        ("GET /team/fleet.git/config HTTP/1.1", "localhost", "404"),
        (
            "GET /team/../team/fleet.git/info/refs?service=git-upload-pack HTTP/1.1",
            "localhost",
            "404",
        ),
        (
            "GET /team/fleet.git/info/refs?service=git-upload-archive HTTP/1.1",
            "localhost",
            "403",
        ),
        ("DELETE /team/fleet.git HTTP/1.1", "localhost", "404"),
    ] {
        let mut stream = tokio::net::TcpStream::connect(server.address())
            .await
            .unwrap();
        let request = format!("{line}\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {expected}")),
            "{line} ({host}): {answer}"
        );
    }
    let public = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
    assert!(Server::start(public).is_err());
}
