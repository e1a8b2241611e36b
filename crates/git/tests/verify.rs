//! Signatures that gpg and ssh-keygen made, through `git commit -S` and `git tag -s`.
#![allow(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

mod world;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use fairway_git::{Oid, Repository, TrustedKeys, VerifyError};

struct Signer {
    dir: tempfile::TempDir,
    repository: Repository,
}

fn is_there(program: &str, argument: &str) -> bool {
    let run = Command::new(program)
        .arg(argument)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let found = run.is_ok();
    if !found {
        eprintln!("skipped: there is no {program} on this machine");
    }
    found
}

fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs() as i64
}

impl Signer {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["gnupg", "work"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
        }
        // gpg insists on a private folder, and its agent on a short path.
        run(dir.path(), &["chmod", "700", "gnupg"]);
        run(dir.path(), &["git", "init", "-q", "-b", "main", "work"]);
        let repository = Repository::open(&dir.path().join("work/.git")).unwrap();
        Self { dir, repository }
    }

    fn run(&self, arguments: &[&str]) -> String {
        run(self.dir.path(), arguments)
    }

    /// Generates a gpg key; returns its fingerprint.
    fn key(&self, name: &str, algorithm: &str, usage: &str, expires: &str) -> String {
        self.run(&[
            "gpg",
            "--batch",
            "--pinentry-mode",
            "loopback",
            "--passphrase",
            "",
            "--quick-generate-key",
            &format!("{name} <{name}@example.org>"),
            algorithm,
            usage,
            expires,
        ]);
        let listing = self.run(&["gpg", "--batch", "--with-colons", "--list-keys", name]);
        let line = listing
            .lines()
            .find(|line| line.starts_with("fpr:"))
            .unwrap();
        line.split(':').nth(9).unwrap().to_owned()
    }

    fn public(&self, name: &str) -> TrustedKeys {
        TrustedKeys {
            pgp: vec![self.run(&["gpg", "--batch", "--armor", "--export", name])],
            ssh: Vec::new(),
        }
    }

    fn ssh_key(&self, name: &str, arguments: &[&str]) -> TrustedKeys {
        let path = self.dir.path().join(name).display().to_string();
        let all = [
            &["ssh-keygen", "-q", "-N", "", "-C", name, "-f", &path],
            arguments,
        ]
        .concat();
        self.run(&all);
        TrustedKeys {
            pgp: Vec::new(),
            ssh: vec![std::fs::read_to_string(format!("{path}.pub")).unwrap()],
        }
    }

    fn git(&self, configuration: &[(&str, &str)], arguments: &[&str]) -> String {
        let mut all = vec!["git".to_owned(), "-C".to_owned(), "work".to_owned()];
        for (key, value) in configuration {
            all.extend(["-c".to_owned(), format!("{key}={value}")]);
        }
        all.extend(arguments.iter().map(|a| (*a).to_owned()));
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        self.run(&all)
    }

    /// A commit signed by this gpg key.
    fn commit(&self, key: &str) -> Oid {
        self.git(
            &[("user.signingKey", key)],
            &[
                "commit",
                "-q",
                "--allow-empty",
                "-S",
                "-m",
                "Signed\n\nBody",
            ],
        );
        self.head()
    }

    fn ssh_commit(&self, name: &str) -> Oid {
        let path = self.dir.path().join(name).display().to_string();
        let configuration = [("gpg.format", "ssh"), ("user.signingKey", path.as_str())];
        self.git(
            &configuration,
            &["commit", "-q", "--allow-empty", "-S", "-m", "Signed"],
        );
        self.head()
    }

    fn head(&self) -> Oid {
        self.git(&[], &["rev-parse", "HEAD"])
            .trim()
            .parse()
            .unwrap()
    }

    /// A copy of an object with bytes replaced.
    fn tampered(&self, kind: &str, object: Oid, from: &str, to: &str) -> Oid {
        let text = self.git(&[], &["cat-file", kind, &object.to_string()]);
        assert!(text.contains(from), "{text}");
        let path = self.dir.path().join("object");
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
        let path = path.display().to_string();
        self.git(
            &[],
            &["hash-object", "-t", kind, "-w", "--literally", &path],
        )
        .trim()
        .parse()
        .unwrap()
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        let home = self.dir.path().join("gnupg");
        let _ = Command::new("gpgconf")
            .args(["--kill", "all"])
            .env("GNUPGHOME", home)
            .status();
    }
}

fn run(directory: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(arguments[0]);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("GIT_")) {
        command.env_remove(name);
    }
    for role in ["AUTHOR", "COMMITTER"] {
        command
            .env(format!("GIT_{role}_NAME"), "Ann")
            .env(format!("GIT_{role}_EMAIL"), "ann@example.org");
    }
    let output = command
        .args(&arguments[1..])
        .current_dir(directory)
        .env("GNUPGHOME", directory.join("gnupg"))
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env_remove("SSH_AUTH_SOCK")
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn why(error: &VerifyError) -> &str {
    match error {
        VerifyError::NoMatch { why, .. } => why,
        other => panic!("{other}"),
    }
}

#[test]
fn gpg_keys_of_every_kind() {
    if !is_there("gpg", "--version") {
        return;
    }
    let signer = Signer::new();
    for (name, algorithm) in [
        ("ed", "ed25519"),
        ("rsa", "rsa2048"),
        ("p256", "nistp256"),
        ("p384", "nistp384"),
        ("p521", "nistp521"),
    ] {
        let fingerprint = signer.key(name, algorithm, "sign", "never");
        let commit = signer.commit(&fingerprint);
        let keys = signer.public(name);
        let by = signer
            .repository
            .verify_commit(commit, &keys, now())
            .unwrap();
        assert_eq!(by, &fingerprint[24..], "{algorithm}");
        // A ring with other keys, before and after.
        let all = TrustedKeys {
            pgp: vec![
                "nonsense".into(),
                signer.run(&["gpg", "--batch", "--armor", "--export"]),
            ],
            ssh: Vec::new(),
        };
        assert_eq!(
            signer
                .repository
                .verify_commit(commit, &all, now())
                .unwrap(),
            by
        );
        for (from, to) in [("Signed", "signed"), ("ann@", "bob@"), ("Body", "Body ")] {
            let other = signer.tampered("commit", commit, from, to);
            let error = signer
                .repository
                .verify_commit(other, &keys, now())
                .unwrap_err();
            assert_eq!(
                why(&error),
                "the signature does not match",
                "{algorithm} {from}"
            );
        }
        assert_eq!(
            why(&signer
                .repository
                .verify_commit(commit, &keys, now() - 86_400)
                .unwrap_err()),
            "the signature is from the future"
        );
    }
    let stranger = signer.public("p384");
    let commit = signer.commit("rsa");
    let error = signer
        .repository
        .verify_commit(commit, &stranger, now())
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "unable to verify payload with any of the given key rings: no matching key"
    );
}

#[test]
fn a_signing_subkey_counts_for_its_key() {
    if !is_there("gpg", "--version") {
        return;
    }
    let signer = Signer::new();
    let primary = signer.key("sub", "ed25519", "cert", "never");
    signer.run(&[
        "gpg",
        "--batch",
        "--pinentry-mode",
        "loopback",
        "--passphrase",
        "",
        "--quick-add-key",
        &primary,
        "rsa2048",
        "sign",
        "1y",
    ]);
    signer.run(&[
        "gpg",
        "--batch",
        "--pinentry-mode",
        "loopback",
        "--passphrase",
        "",
        "--quick-add-key",
        &primary,
        "cv25519",
        "encr",
        "1y",
    ]);
    let commit = signer.commit("sub");
    let keys = signer.public("sub");
    assert_eq!(
        signer
            .repository
            .verify_commit(commit, &keys, now())
            .unwrap(),
        &primary[24..]
    );
    let in_two_years = now() + 2 * 366 * 86_400;
    let error = signer
        .repository
        .verify_commit(commit, &keys, in_two_years)
        .unwrap_err();
    assert_eq!(why(&error), "the subkey is expired");
}

#[test]
fn expired_and_revoked_keys_do_not_count() {
    if !is_there("gpg", "--version") {
        return;
    }
    let signer = Signer::new();
    signer.key("brief", "ed25519", "sign", "10d");
    let commit = signer.commit("brief");
    let keys = signer.public("brief");
    assert!(
        signer
            .repository
            .verify_commit(commit, &keys, now())
            .is_ok()
    );
    let error = signer
        .repository
        .verify_commit(commit, &keys, now() + 11 * 86_400)
        .unwrap_err();
    assert_eq!(why(&error), "the key is expired");
    // gpg keeps a certificate of revocation for each key that it makes; a colon guards it against use by mistake.
    let revocations = signer.dir.path().join("gnupg/openpgp-revocs.d");
    let certificate = std::fs::read_dir(revocations)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let text = std::fs::read_to_string(&certificate)
        .unwrap()
        .replace(":-----BEGIN", "-----BEGIN");
    std::fs::write(signer.dir.path().join("revocation"), text).unwrap();
    signer.run(&["gpg", "--batch", "--import", "revocation"]);
    let error = signer
        .repository
        .verify_commit(commit, &signer.public("brief"), now())
        .unwrap_err();
    assert_eq!(why(&error), "the key is revoked");
}

#[test]
fn tags_are_signed_under_their_name() {
    if !is_there("gpg", "--version") {
        return;
    }
    let signer = Signer::new();
    signer.key("tagger", "ed25519", "sign", "never");
    let keys = signer.public("tagger");
    signer.commit("tagger");
    signer.git(
        &[("user.signingKey", "tagger")],
        &["tag", "-s", "-m", "One", "v1"],
    );
    signer.git(&[], &["tag", "-a", "-m", "Two", "v2"]);
    signer.git(&[], &["tag", "light"]);
    let repository = &signer.repository;
    assert_eq!(repository.tag("refs/tags/light").unwrap(), None);
    assert_eq!(repository.tag("refs/tags/gone").unwrap(), None);
    assert!(!repository.tag("refs/tags/v2").unwrap().unwrap().is_signed);
    let tag = repository.tag("refs/tags/v1").unwrap().unwrap();
    assert!(tag.is_signed);
    repository.verify_tag(tag.id, "v1", &keys, now()).unwrap();
    // The same tag object behind a higher version is a way to roll back what verifies.
    assert_eq!(
        repository
            .verify_tag(tag.id, "v9", &keys, now())
            .unwrap_err(),
        VerifyError::OtherName("v1".into())
    );
    let renamed = signer.tampered("tag", tag.id, "tag v1", "tag v9");
    assert_eq!(
        why(&repository
            .verify_tag(renamed, "v9", &keys, now())
            .unwrap_err()),
        "the signature does not match"
    );
    let unsigned = repository.tag("refs/tags/v2").unwrap().unwrap();
    let error = repository
        .verify_tag(unsigned.id, "v2", &keys, now())
        .unwrap_err();
    assert_eq!(error.to_string(), "unsupported signature type: empty");
}

#[test]
fn ssh_keys_of_every_kind() {
    if !is_there("ssh-keygen", "-?") {
        return;
    }
    let signer = Signer::new();
    let stranger = signer.ssh_key("stranger", &["-t", "ed25519"]);
    for (name, arguments) in [
        ("ed25519", &["-t", "ed25519"][..]),
        ("rsa", &["-t", "rsa", "-b", "2048"]),
        ("p256", &["-t", "ecdsa", "-b", "256"]),
        ("p384", &["-t", "ecdsa", "-b", "384"]),
        ("p521", &["-t", "ecdsa", "-b", "521"]),
    ] {
        let keys = signer.ssh_key(name, arguments);
        let commit = signer.ssh_commit(name);
        let by = signer
            .repository
            .verify_commit(commit, &keys, now())
            .unwrap();
        let path = signer.dir.path().join(name).display().to_string();
        let listed = signer.run(&["ssh-keygen", "-l", "-f", &path]);
        assert!(listed.contains(&by), "{by} {listed}");
        let error = signer
            .repository
            .verify_commit(commit, &stranger, now())
            .unwrap_err();
        assert_eq!(why(&error), "no matching key");
        let other = signer.tampered("commit", commit, "ann@", "bob@");
        let error = signer
            .repository
            .verify_commit(other, &keys, now())
            .unwrap_err();
        assert_eq!(why(&error), "the signature does not match", "{name}");
        let pgp_only = TrustedKeys {
            pgp: vec!["x".into()],
            ssh: Vec::new(),
        };
        assert_eq!(
            signer
                .repository
                .verify_commit(commit, &pgp_only, now())
                .unwrap_err(),
            VerifyError::NoSshKeys
        );
    }
    let path = signer.dir.path().join("ed25519").display().to_string();
    let configuration = [("gpg.format", "ssh"), ("user.signingKey", path.as_str())];
    signer.git(&configuration, &["tag", "-s", "-m", "One", "v1"]);
    let keys = TrustedKeys {
        pgp: Vec::new(),
        ssh: vec![std::fs::read_to_string(format!("{path}.pub")).unwrap()],
    };
    let tag = signer.repository.tag("refs/tags/v1").unwrap().unwrap();
    signer
        .repository
        .verify_tag(tag.id, "v1", &keys, now())
        .unwrap();
}

#[test]
fn a_signature_for_something_else_is_none_for_git() {
    if !is_there("ssh-keygen", "-?") {
        return;
    }
    let signer = Signer::new();
    let keys = signer.ssh_key("files", &["-t", "ed25519"]);
    signer.git(&[], &["commit", "-q", "--allow-empty", "-m", "Plain"]);
    let plain = signer.head();
    let error = signer
        .repository
        .verify_commit(plain, &keys, now())
        .unwrap_err();
    assert_eq!(error.to_string(), "unsupported signature type: empty");
    let text = signer.git(&[], &["cat-file", "commit", &plain.to_string()]);
    let message = signer.dir.path().join("message");
    std::fs::write(&message, &text).unwrap();
    signer.run(&[
        "ssh-keygen",
        "-q",
        "-Y",
        "sign",
        "-n",
        "file",
        "-f",
        "files",
        "message",
    ]);
    let signature = std::fs::read_to_string(signer.dir.path().join("message.sig")).unwrap();
    let header = format!(
        "gpgsig {}\n\nPlain",
        signature.trim_end().replace('\n', "\n ")
    );
    let signed = signer.tampered("commit", plain, "\nPlain", &header);
    let error = signer
        .repository
        .verify_commit(signed, &keys, now())
        .unwrap_err();
    assert_eq!(
        why(&error),
        "the signature is for another namespace than git"
    );
}
