//! GitRepositories: artifacts served and read, includes, parts, submodules, signatures.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use fairway_controller::artifact::digest::Hasher;
use fairway_controller::{Controller, Engine, Options, Profile};
use fairway_git::Repository;
use serde_json::{Value, json};

use crate::world::{HUB, NS, World, condition, config_map, connect};

/// One plain request; status and body.
fn get(url: &str) -> (u16, Vec<u8>) {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    write!(
        stream,
        "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let length = head
        .to_lowercase()
        .lines()
        .find_map(|l| l.strip_prefix("content-length: ")?.parse().ok());
    let body = answer[end..].to_vec();
    assert_eq!(length.unwrap_or(body.len()), body.len());
    (status, body)
}

/// The files of an archive, as real tar lists them.
fn listed(archive: &[u8]) -> BTreeSet<String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), archive).unwrap();
    let output = Command::new("tar")
        .arg("-tvzf")
        .arg(file.path())
        .output()
        .unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .filter(|line| line.starts_with('-'))
        .map(|line| line.split_whitespace().last().unwrap().to_owned())
        .collect()
}

fn names(paths: &[&str]) -> BTreeSet<String> {
    paths.iter().map(|path| (*path).to_owned()).collect()
}

fn repository(name: &str, spec: Value) -> Value {
    let mut object = json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
        "metadata": {"name": name, "namespace": NS},
        "spec": {"interval": "10m", "ref": {"branch": "main"}},
    });
    for (key, value) in spec.as_object().unwrap() {
        object["spec"][key] = value.clone();
    }
    object
}

fn artifact(object: &Value) -> (String, Vec<u8>) {
    let artifact = &object["status"]["artifact"];
    let (status, body) = get(artifact["url"].as_str().unwrap());
    assert_eq!(status, 200);
    let mut hasher = Hasher::of("sha256").unwrap();
    hasher.update(&body);
    let digest = hasher.finish();
    assert_eq!(artifact["digest"], digest);
    assert_eq!(artifact["size"], body.len());
    (digest, body)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_is_served_kept_and_let_go() {
    let mut world = World::new(&[]).await;
    let first = world
        .push(&[
            ("apps/a.yaml", Some(&config_map("a", "1"))),
            ("logo.png", Some("x")),
            ("docs/x.md", Some("x")),
            (".sourceignore", Some("/docs\n*.png\n")),
        ])
        .await;
    world.source().await;
    world.start().await;
    let at = |revision: String| async {
        let revision = revision;
        world
            .ready("GitRepository", "fleet", |object, status, _, _| {
                status == "True" && object["status"]["artifact"]["revision"] == revision.as_str()
            })
            .await
    };
    let object = at(first.clone()).await;
    let commit = first.rsplit(':').next().unwrap();
    let path = format!("gitrepository/{NS}/fleet/{commit}.tar.gz");
    assert_eq!(object["status"]["artifact"]["path"], path);
    assert_eq!(
        condition(&object, "Ready")["message"],
        format!("stored artifact for revision '{first}'")
    );
    assert_eq!(condition(&object, "ArtifactInStorage")["status"], "True");
    let (digest, body) = artifact(&object);
    assert_eq!(listed(&body), names(&["apps/a.yaml", ".sourceignore"]));
    let url = object["status"]["artifact"]["url"].as_str().unwrap();
    for other in ["", "../salt", "gitrepository/"] {
        let base = &url[..url.len() - path.len()];
        assert_eq!(get(&format!("{base}{other}")).0, 404);
    }
    // Nothing changed in the files: the same archive under another name.
    let second = world.push(&[("docs/x.md", Some("y"))]).await;
    let object = at(second).await;
    let (again, _) = artifact(&object);
    assert_eq!(again, digest, "what is left out changes nothing");
    let third = world
        .push(&[("apps/a.yaml", Some(&config_map("a", "3")))])
        .await;
    let object = at(third.clone()).await;
    assert_ne!(artifact(&object).0, digest);
    let folder = world
        .folder()
        .join("artifacts/gitrepository")
        .join(NS)
        .join("fleet");
    assert_eq!(
        std::fs::read_dir(&folder).unwrap().count(),
        2,
        "two records are kept"
    );

    // A new process serves what the old one stored, and says nothing new of it.
    let made = object["status"]["artifact"].clone();
    world.stop().await;
    world.start().await;
    let object = world
        .ready("GitRepository", "fleet", |object, _, _, _| {
            object["status"]["artifact"]["url"] != made["url"]
        })
        .await;
    let kept = &object["status"]["artifact"];
    for field in ["digest", "path", "revision", "lastUpdateTime", "size"] {
        assert_eq!(kept[field], made[field], "{field}");
    }
    artifact(&object);

    // One that was tampered with is made again.
    world.stop().await;
    let file = world
        .folder()
        .join("artifacts")
        .join(made["path"].as_str().unwrap());
    std::fs::write(&file, "something else").unwrap();
    world.start().await;
    world
        .until(async || match std::fs::metadata(&file) {
            Ok(file) if file.len() != 14 => Ok(()),
            found => Err(format!("it is not made again: {found:?}")),
        })
        .await;
    world.delete(HUB, "GitRepository", NS, "fleet").await;
    world
        .until(async || {
            if folder.exists() {
                Err("the folder is there".to_owned())
            } else {
                Ok(())
            }
        })
        .await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_engine_serves_another_builds_from() {
    let mut world = World::new(&[]).await;
    let first = world
        .push(&[("apps/a.yaml", Some(&config_map("a", "1")))])
        .await;
    world.source().await;
    let mut owner = world.options();
    owner.controllers = [Controller::Source].into();
    world.start_with(owner).await;
    let data = tempfile::tempdir().unwrap();
    let mut options = Options::new(data.path(), Profile::Flux);
    options.controllers = [Controller::Kustomize].into();
    let reader = Engine::start(connect(&world.server, HUB).await, options)
        .await
        .unwrap();
    world.kustomization("apps", "apps", json!({})).await;
    world.applied("apps", &first).await;
    assert_eq!(reader.metrics().fetches, 0, "nothing is fetched from Git");
    let second = world
        .push(&[("apps/a.yaml", Some(&config_map("a", "2")))])
        .await;
    world.applied("apps", &second).await;
    world.until_data(HUB, "default", "a", "key", "2").await;

    // The other kinds are read the same way.
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "buckets.source.toolkit.fluxcd.io"},
        "spec": {
            "group": "source.toolkit.fluxcd.io", "scope": "Namespaced",
            "names": {"kind": "Bucket", "listKind": "BucketList", "plural": "buckets", "singular": "bucket"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema":
                {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}],
        },
    });
    world.apply(HUB, &definition).await;
    let git = world.get(HUB, "GitRepository", NS, "fleet").await.unwrap();
    let mut artifact = git["status"]["artifact"].clone();
    artifact["revision"] = json!("sha256:0123");
    let bucket = |artifact: &Value| {
        json!({"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "Bucket",
               "metadata": {"name": "b", "namespace": NS}, "status": {"artifact": artifact}})
    };
    let reference = json!({"kind": "Bucket", "name": "b"});
    world
        .kustomization("from-bucket", "apps", json!({"sourceRef": reference}))
        .await;
    world
        .ready(
            "Kustomization",
            "from-bucket",
            |_, status, reason, message| {
                status == "False" && reason == "ArtifactFailed" && message.contains("not found")
            },
        )
        .await;
    let mut wrong = artifact.clone();
    wrong["digest"] = json!(format!("sha256:{}", "0".repeat(64)));
    world.apply(HUB, &bucket(&wrong)).await;
    world
        .ready("Kustomization", "from-bucket", |_, _, _, message| {
            message.contains("computed digest doesn't match")
        })
        .await;
    world.apply(HUB, &bucket(&artifact)).await;
    world.applied("from-bucket", "sha256:0123").await;
    reader.shutdown().await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn includes_parts_and_submodules() {
    let mut world = World::new(&[]).await;
    let library = world.folder().join("library.git");
    let library = Repository::init(&library, "main").await.unwrap();
    world.git.server().add("library", library.directory());
    let url = |name: &str| world.git.url().replace("fleet", name);
    let edit = async |path: &str, text: &str| {
        let ann = fairway_git::Signature::new("Ann", "ann@example.org", 1_700_000_000);
        let head = library.resolve("refs/heads/main").unwrap();
        let change = fairway_git::Change::write(path, text);
        let commit = library.edit(head, &[change], "Change", &ann, &ann).unwrap();
        library
            .update_ref("refs/heads/main", commit, None)
            .await
            .unwrap();
        commit.to_string()
    };
    let inner = edit("base/lib.yaml", &config_map("lib", "1")).await;
    // A work tree with a submodule, by the relative URL that people write.
    let clone = world.git.clone_to_work().await.unwrap();
    clone
        .write("apps/own.yaml", &config_map("own", "1"))
        .unwrap();
    clone.write("docs/x.md", "x").unwrap();
    git(
        clone.path(),
        &["submodule", "add", "-q", &url("library"), "vendor/lib"],
    );
    git(
        clone.path(),
        &[
            "config",
            "-f",
            ".gitmodules",
            "submodule.vendor/lib.url",
            "../library",
        ],
    );
    let commit = clone.commit_and_push("Add").await.unwrap().to_string();
    let revision = format!("main@sha1:{commit}");

    world
        .apply(HUB, &repository("library", json!({"url": url("library")})))
        .await;
    let spec = json!({"url": world.git.url(), "include": [{"repository": {"name": "library"}, "fromPath": "base", "toPath": "apps/lib"}]});
    world.apply(HUB, &repository("including", spec)).await;
    world
        .apply(
            HUB,
            &repository(
                "part",
                json!({"url": world.git.url(), "sparseCheckout": ["./apps"]}),
            ),
        )
        .await;
    world
        .apply(
            HUB,
            &repository(
                "deep",
                json!({"url": world.git.url(), "recurseSubmodules": true}),
            ),
        )
        .await;
    let spec = json!({"url": world.git.url(), "include": [{"repository": {"name": "nowhere"}}]});
    world.apply(HUB, &repository("lacking", spec)).await;
    world
        .kustomization(
            "apps",
            "apps",
            json!({"sourceRef": {"kind": "GitRepository", "name": "including"}}),
        )
        .await;
    world.start().await;

    let good = async |name: &str, files: &[&str]| {
        let object = world
            .ready("GitRepository", name, |object, status, _, _| {
                status == "True" && object["status"]["artifact"]["revision"] == revision.as_str()
            })
            .await;
        assert_eq!(listed(&artifact(&object).1), names(files), "{name}");
        object
    };
    let object = good(
        "including",
        &["apps/own.yaml", "docs/x.md", "apps/lib/lib.yaml"],
    )
    .await;
    assert_eq!(
        object["status"]["observedInclude"],
        object["spec"]["include"]
    );
    assert_eq!(
        object["status"]["includedArtifacts"][0]["revision"],
        format!("main@sha1:{inner}")
    );
    let object = good("part", &["apps/own.yaml"]).await;
    assert_eq!(
        object["status"]["observedSparseCheckout"],
        json!(["./apps"])
    );
    let object = good(
        "deep",
        &["apps/own.yaml", "docs/x.md", "vendor/lib/base/lib.yaml"],
    )
    .await;
    assert_eq!(object["status"]["observedRecurseSubmodules"], true);
    let object = world
        .ready("GitRepository", "lacking", |_, status, reason, _| {
            status == "False" && reason == "NotFound"
        })
        .await;
    assert_eq!(condition(&object, "IncludeUnavailable")["status"], "True");
    world.until_data(HUB, "default", "lib", "key", "1").await;

    // The include moves on: same revision, new content, and it is applied at once.
    edit("base/lib.yaml", &config_map("lib", "2")).await;
    world.engine().poke_all();
    world.until_data(HUB, "default", "lib", "key", "2").await;
    world.stop().await;
}

fn git(directory: &Path, arguments: &[&str]) {
    let output = Command::new("git")
        .arg("-C")
        .arg(directory)
        .args(["-c", "user.name=Ann", "-c", "user.email=ann@example.org"])
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {arguments:?}: {error}");
}

/// A commit that is signed with this SSH key; its revision.
async fn signed(world: &World, key: &str, value: &str) -> String {
    let clone = world.git.clone_to_work().await.unwrap();
    clone.write("apps/a.yaml", &config_map("a", value)).unwrap();
    let key = format!("user.signingKey={key}");
    git(clone.path(), &["add", "-A"]);
    git(
        clone.path(),
        &[
            "-c",
            "gpg.format=ssh",
            "-c",
            &key,
            "commit",
            "-q",
            "-S",
            "-m",
            "Signed",
        ],
    );
    git(clone.path(), &["push", "-q", "origin", "HEAD:main"]);
    format!("main@sha1:{}", world.git.head().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_signed_is_applied() {
    let key = tempfile::tempdir().unwrap();
    let path = key.path().join("key").display().to_string();
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f", &path])
        .status();
    if !made.is_ok_and(|status| status.success()) {
        eprintln!("skipped: there is no ssh-keygen on this machine");
        return;
    }
    let mut world = World::new(&[]).await;
    world
        .push(&[("apps/a.yaml", Some(&config_map("a", "0")))])
        .await;
    let first = signed(&world, &path, "1").await;
    let public = std::fs::read_to_string(format!("{path}.pub")).unwrap();
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys", "namespace": NS},
                        "stringData": {"ann.sshpub": public}});
    world.apply(HUB, &secret).await;
    let verify = json!({"mode": "HEAD", "secretRef": {"name": "keys"}});
    let spec = json!({"url": world.git.url(), "verify": verify});
    world.apply(HUB, &repository("fleet", spec)).await;
    let spec =
        json!({"url": world.git.url(), "verify": {"mode": "Tag", "secretRef": {"name": "keys"}}});
    world.apply(HUB, &repository("tagged", spec)).await;
    world.kustomization("apps", "apps", json!({})).await;
    world.start().await;
    world.applied("apps", &first).await;
    let object = world.get(HUB, "GitRepository", NS, "fleet").await.unwrap();
    let verified = condition(&object, "SourceVerified");
    let message = verified["message"].as_str().unwrap();
    assert!(
        message.starts_with("verified signature of\n\t- commit '"),
        "{message}"
    );
    assert!(message.contains("with key 'SHA256:"), "{message}");
    assert_eq!(object["status"]["sourceVerificationMode"], "HEAD");
    let stalled = world
        .ready("GitRepository", "tagged", |_, status, reason, _| {
            status == "False" && reason == "InvalidVerificationMode"
        })
        .await;
    assert_eq!(condition(&stalled, "Stalled")["status"], "True");
    assert_eq!(stalled["status"]["artifact"], Value::Null);

    world
        .push(&[("apps/a.yaml", Some(&config_map("a", "evil")))])
        .await;
    let object = world
        .ready("GitRepository", "fleet", |_, status, reason, _| {
            status == "False" && reason == "InvalidCommitSignature"
        })
        .await;
    assert_eq!(condition(&object, "SourceVerified")["status"], "False");
    assert_eq!(condition(&object, "ArtifactInStorage")["status"], "True");
    assert_eq!(object["status"]["artifact"]["revision"], first.as_str());
    // Not even a new process takes it.
    world.stop().await;
    world.start().await;
    world.engine().poke_all();
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(
        world.data(HUB, "default", "a", "key").await.as_deref(),
        Some("1")
    );

    let second = signed(&world, &path, "2").await;
    world.engine().poke_all();
    let object = world.applied("apps", &second).await;
    assert_eq!(condition(&object, "Ready")["status"], "True");
    world.until_data(HUB, "default", "a", "key", "2").await;
    let object = world
        .ready("GitRepository", "fleet", |_, status, _, _| status == "True")
        .await;
    assert_eq!(condition(&object, "SourceVerified")["status"], "True");
    world.stop().await;
}
