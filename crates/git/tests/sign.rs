//! Signed commits, checked by git and ssh-keygen themselves.
#![allow(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

mod world;

use std::path::Path;
use std::process::{Command, Stdio};

use fairway_git::{Draft, Oid, SigningKey, SigningKeyError, TrustedKeys};
use world::{World, ann, write};

/// A private key, made by ssh-keygen; `None` where there is no ssh-keygen.
fn key(folder: &Path, arguments: &[&str]) -> Option<String> {
    let path = folder.join(arguments.join("").replace(['-', ' '], ""));
    let made = Command::new("ssh-keygen")
        .args(["-q", "-C", "ann@example.org", "-f"])
        .arg(&path)
        .args(arguments)
        .stdin(Stdio::null())
        .status()
        .ok()?;
    assert!(made.success());
    Some(std::fs::read_to_string(path).unwrap())
}

fn skipped() {
    eprintln!("skipped: no ssh-keygen; hint: install openssh-client");
}

fn git_accepts(world: &World, commit: Oid, public: &str) -> bool {
    let signers = world.dir.path().join("allowed_signers");
    std::fs::write(&signers, format!("ann@example.org {public}\n")).unwrap();
    let output = Command::new("git")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .arg("-C")
        .arg(world.origin.directory())
        .args([
            "-c",
            &format!("gpg.ssh.allowedSignersFile={}", signers.display()),
        ])
        .args(["verify-commit", &commit.to_string()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    output.status.success() && said.contains("Good \"git\" signature for ann@example.org")
}

#[tokio::test]
async fn git_accepts_what_is_signed_here() {
    let world = World::new().await;
    let base = world.commit("main", &[write("a", "1")]).await;
    let who = ann(1_700_000_000);
    let Some(other) = key(world.dir.path(), &["-t", "ed25519", "-N", "", "-a", "1"]) else {
        return skipped();
    };
    let other = SigningKey::parse(&other).unwrap().public();
    for kind in [
        &["-t", "ed25519", "-N", ""][..],
        &["-t", "ecdsa", "-b", "256", "-N", ""],
        &["-t", "ecdsa", "-b", "384", "-N", ""],
        &["-t", "ecdsa", "-b", "521", "-N", ""],
    ] {
        let Some(text) = key(world.dir.path(), kind) else {
            return skipped();
        };
        let key = SigningKey::parse(&text).unwrap();
        let message = format!("Sign\n\nFairway-Promotion: a/b\nKind: {}\n", kind[1]);
        let draft = Draft {
            message: &message,
            author: &who,
            committer: &who,
            key: Some(&key),
        };
        let commit = world
            .origin
            .edit_as(Some(base), &[write("a", kind[3])], &draft)
            .unwrap();
        world.git(&["fsck", "--strict"]);
        assert!(git_accepts(&world, commit, &key.public()), "{kind:?}");
        assert!(!git_accepts(&world, commit, &other), "{kind:?}");
        let trusted = TrustedKeys {
            ssh: vec![key.public()],
            ..TrustedKeys::default()
        };
        let made_by = world.origin.verify_commit(commit, &trusted, who.seconds);
        assert_eq!(made_by.unwrap(), key.fingerprint());
        // What is read back is what was written, signature or not.
        assert_eq!(world.origin.commit(commit).unwrap().message, message);
        let reverted = world
            .origin
            .revert_as(commit, commit, &[], &draft)
            .await
            .unwrap();
        assert!(git_accepts(&world, reverted, &key.public()), "{kind:?}");
        // Nothing of the key shows.
        assert_eq!(
            format!("{key:?}"),
            format!("SigningKey({:?})", key.fingerprint())
        );
    }
}

#[tokio::test]
async fn keys_that_can_not_sign_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let Some(encrypted) = key(folder.path(), &["-t", "ed25519", "-N", "passphrase"]) else {
        return skipped();
    };
    let error = SigningKey::parse(&encrypted).unwrap_err();
    assert_eq!(error, SigningKeyError::Encrypted);
    assert!(error.to_string().contains("hint: "));
    let rsa = key(folder.path(), &["-t", "rsa", "-b", "2048", "-N", ""]).unwrap();
    let error = SigningKey::parse(&rsa).unwrap_err();
    assert_eq!(error, SigningKeyError::Unsupported("ssh-rsa".to_owned()));
    let pem = key(folder.path(), &["-t", "ecdsa", "-m", "PEM", "-N", ""]).unwrap();
    assert_eq!(
        SigningKey::parse(&pem).unwrap_err(),
        SigningKeyError::NotOpenSsh
    );
    let good = key(folder.path(), &["-t", "ed25519", "-N", ""]).unwrap();
    let cut: String = good
        .lines()
        .take(2)
        .chain(["-----END OPENSSH PRIVATE KEY-----"])
        .collect::<Vec<_>>()
        .join("\n");
    assert!(matches!(
        SigningKey::parse(&cut).unwrap_err(),
        SigningKeyError::Damaged(_)
    ));
}
