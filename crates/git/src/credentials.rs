//! Credentials, and the only way they reach the git program: its environment and private files.

use std::fmt;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::remote::Scheme;
use crate::{Error, Remote};

/// What a `secretRef` of a `GitRepository` can hold. Debug output shows which parts are there, never
/// their values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    basic: Option<(String, String)>,
    bearer: Option<String>,
    ca: Option<String>,
    client: Option<(String, String)>,
    ssh: Option<(String, String)>,
    passphrase: Option<String>,
    proxy: Option<String>,
    renewed: Option<Renewed>,
    ambient: bool,
}

/// A password that runs out and is exchanged for another one while the mirror stays the same: the token of an app's
/// installation, say. Who it belongs to is what tells it from others.
///
/// ```
/// # use fairway_git::{Credentials, Renewed};
/// let token = Renewed::new("github-app 1 installation 2", "x-access-token");
/// token.set("first");
/// let credentials = Credentials::none().with_renewed(token.clone());
/// token.set("second"); // seen by whoever has the credentials
/// assert_eq!(credentials, Credentials::none().with_renewed(token));
/// ```
#[derive(Clone)]
pub struct Renewed {
    owner: String,
    user: String,
    password: Arc<RwLock<String>>,
}

impl Renewed {
    /// One that is not set yet. `owner` becomes part of what a mirror is found by; it is not shown.
    pub fn new(owner: &str, user: &str) -> Self {
        Self {
            owner: owner.to_owned(),
            user: user.to_owned(),
            password: Arc::default(),
        }
    }

    /// Exchanges the password, for everybody who has it.
    pub fn set(&self, password: &str) {
        let mut held = self
            .password
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        password.clone_into(&mut held);
    }

    fn password(&self) -> String {
        self.password
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }
}

impl PartialEq for Renewed {
    fn eq(&self, other: &Self) -> bool {
        self.owner == other.owner && self.user == other.user
    }
}

impl Eq for Renewed {}

impl fmt::Debug for Renewed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Renewed")
    }
}

impl Credentials {
    /// Anonymous access.
    pub fn none() -> Self {
        Self::default()
    }

    /// What the person at the terminal has: their git configuration, credential helpers and ssh
    /// agent. For commands that people run, never for a controller.
    pub fn ambient() -> Self {
        Self {
            ambient: true,
            ..Self::default()
        }
    }

    /// `username` and `password` for http(s).
    #[must_use]
    pub fn with_basic(mut self, username: &str, password: &str) -> Self {
        self.basic = Some((username.to_owned(), password.to_owned()));
        self
    }

    /// `bearerToken` for http(s).
    #[must_use]
    pub fn with_bearer(mut self, token: &str) -> Self {
        self.bearer = Some(token.to_owned());
        self
    }

    /// User and password for http(s), where the password is exchanged from time to time.
    #[must_use]
    pub fn with_renewed(mut self, renewed: Renewed) -> Self {
        self.renewed = Some(renewed);
        self
    }

    /// `ca.crt`: the only certificate authorities to trust, PEM.
    #[must_use]
    pub fn with_ca(mut self, pem: &str) -> Self {
        self.ca = Some(pem.to_owned());
        self
    }

    /// `tls.crt` and `tls.key` for mutual TLS, PEM.
    #[must_use]
    pub fn with_client_certificate(mut self, certificate: &str, key: &str) -> Self {
        self.client = Some((certificate.to_owned(), key.to_owned()));
        self
    }

    /// `password`: the passphrase of the private key for ssh.
    #[must_use]
    pub fn with_passphrase(mut self, passphrase: &str) -> Self {
        self.passphrase = Some(passphrase.to_owned());
        self
    }

    /// `identity` (a private key) and `known_hosts` for ssh.
    #[must_use]
    pub fn with_ssh(mut self, identity: &str, known_hosts: &str) -> Self {
        self.ssh = Some((identity.to_owned(), known_hosts.to_owned()));
        self
    }

    /// The URL of an HTTP proxy, with its user information.
    #[must_use]
    pub fn with_proxy(mut self, url: &str) -> Self {
        self.proxy = Some(url.to_owned());
        self
    }

    /// What may go to a host that the credential is not for: whom to trust, and the way there.
    pub(crate) fn for_another_host(&self) -> Self {
        Self {
            ca: self.ca.clone(),
            proxy: self.proxy.clone(),
            ..Self::default()
        }
    }

    pub(crate) fn has_http_user(&self) -> bool {
        self.basic.is_some() || self.bearer.is_some() || self.renewed.is_some()
    }

    pub(crate) fn is_ambient(&self) -> bool {
        self.ambient
    }

    /// Every part in a fixed order, for the key of a mirror.
    pub(crate) fn parts(&self) -> Vec<&str> {
        let mut parts = Vec::new();
        for (tag, pair) in [
            ("basic", &self.basic),
            ("client", &self.client),
            ("ssh", &self.ssh),
        ] {
            if let Some((first, second)) = pair {
                parts.extend([tag, first, second]);
            }
        }
        for (tag, value) in [
            ("bearer", &self.bearer),
            ("ca", &self.ca),
            ("passphrase", &self.passphrase),
            ("proxy", &self.proxy),
        ] {
            if let Some(value) = value {
                parts.extend([tag, value]);
            }
        }
        if let Some(renewed) = &self.renewed {
            parts.extend(["renewed", &renewed.owner, &renewed.user]);
        }
        if self.ambient {
            parts.push("ambient");
        }
        parts
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.basic.is_some(), "basic"),
            (self.bearer.is_some(), "bearer"),
            (self.ca.is_some(), "ca"),
            (self.client.is_some(), "client certificate"),
            (self.ssh.is_some(), "ssh"),
            (self.passphrase.is_some(), "passphrase"),
            (self.proxy.is_some(), "proxy"),
            (self.renewed.is_some(), "renewed"),
            (self.ambient, "ambient"),
        ];
        f.write_str("Credentials")?;
        f.debug_list()
            .entries(parts.iter().filter(|p| p.0).map(|p| p.1))
            .finish()
    }
}

/// A credential laid out for one run of the git program.
#[derive(Default)]
pub(crate) struct Prepared {
    /// Environment variables.
    pub(crate) env: Vec<(String, String)>,
    /// Configuration, passed by `GIT_CONFIG_COUNT`.
    pub(crate) config: Vec<(String, String)>,
    /// What must not show in messages.
    pub(crate) secrets: Vec<String>,
    /// Keeps the files until the program has ended.
    files: Option<tempfile::TempDir>,
}

impl Prepared {
    pub(crate) fn new(remote: &Remote) -> Result<Self, Error> {
        let credentials = remote.credentials();
        let mut prepared = Self::default();
        match remote.scheme() {
            Scheme::Http | Scheme::Https => prepared.http(remote, credentials)?,
            Scheme::Ssh if !credentials.ambient => prepared.ssh(remote, credentials)?,
            Scheme::Ssh | Scheme::File => {}
        }
        Ok(prepared)
    }

    fn http(&mut self, remote: &Remote, credentials: &Credentials) -> Result<(), Error> {
        let renewed = credentials.renewed.as_ref();
        let renewed = renewed.map(|renewed| (renewed.user.clone(), renewed.password()));
        let header = if let Some(token) = &credentials.bearer {
            self.secrets.push(token.clone());
            Some(format!("Authorization: Bearer {token}"))
        } else if let Some((user, password)) = renewed.as_ref().or(credentials.basic.as_ref()) {
            let encoded = STANDARD.encode(format!("{user}:{password}"));
            self.secrets.extend([password.clone(), encoded.clone()]);
            Some(format!("Authorization: Basic {encoded}"))
        } else {
            None
        };
        if let (Some(header), Some(origin)) = (header, remote.origin()) {
            if header.contains(['\n', '\r', '\0']) {
                let reason = "its credential holds a line break".to_owned();
                return Err(Error::InvalidUrl {
                    url: remote.url().to_owned(),
                    reason,
                });
            }
            // Only for this host: a redirect to another one must not carry it along.
            self.config
                .push((format!("http.{origin}.extraHeader"), header));
        }
        if let Some(ca) = &credentials.ca {
            let path = self.file("ca.crt", ca)?;
            self.env
                .push(("GIT_SSL_CAINFO".to_owned(), path.display().to_string()));
        }
        if let Some((certificate, key)) = &credentials.client {
            let certificate = self.file("tls.crt", certificate)?;
            let key = self.file("tls.key", key)?;
            self.config
                .push(("http.sslCert".to_owned(), certificate.display().to_string()));
            self.config
                .push(("http.sslKey".to_owned(), key.display().to_string()));
        }
        if let Some(proxy) = &credentials.proxy {
            if let Some((user, _)) = proxy
                .split_once("://")
                .and_then(|(_, rest)| rest.rsplit_once('@'))
            {
                self.secrets.extend(
                    user.split_once(':')
                        .map(|(_, password)| password.to_owned()),
                );
            }
            self.config.push(("http.proxy".to_owned(), proxy.clone()));
            // What a Secret says goes before what the machine's environment says.
            for name in ["no_proxy", "NO_PROXY"] {
                self.env.push((name.to_owned(), String::new()));
            }
        }
        Ok(())
    }

    fn ssh(&mut self, remote: &Remote, credentials: &Credentials) -> Result<(), Error> {
        let Some((identity, known_hosts)) = &credentials.ssh else {
            return Err(Error::AuthFailed {
                url: remote.url().to_owned(),
                detail: "ssh needs the keys 'identity' and 'known_hosts' in the secret".to_owned(),
            });
        };
        let mut identity = identity.replace("\r\n", "\n");
        if !identity.ends_with('\n') {
            identity.push('\n'); // ssh refuses a key whose last line has no end
        }
        let key = self.file("identity", &identity)?;
        let hosts = self.file("known_hosts", known_hosts)?;
        let asks = match &credentials.passphrase {
            None => false,
            Some(passphrase) => {
                self.secrets.push(passphrase.clone());
                self.askpass(passphrase)?;
                true
            }
        };
        let mut command = ssh_command(&key, &hosts, asks);
        if !remote.has_user() {
            // Never the name of whoever runs this; Flux uses the name that Git hosts use.
            command.push_str(" -o User=git");
        }
        self.env.push(("GIT_SSH_COMMAND".to_owned(), command));
        self.env
            .push(("GIT_SSH_VARIANT".to_owned(), "ssh".to_owned()));
        Ok(())
    }

    /// ssh asks a program for the passphrase of a key; it is one that prints a private file.
    fn askpass(&mut self, passphrase: &str) -> Result<(), Error> {
        let answer = self.file("passphrase", passphrase)?;
        let quoted = answer.display().to_string().replace('\'', r"'\''");
        let program = self.file("askpass", &format!("#!/bin/sh\nexec cat '{quoted}'\n"))?;
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700))
            .map_err(|e| Error::at(&program, &e))?;
        self.env
            .push(("SSH_ASKPASS".to_owned(), program.display().to_string()));
        self.env
            .push(("SSH_ASKPASS_REQUIRE".to_owned(), "force".to_owned()));
        Ok(())
    }

    fn file(&mut self, name: &str, content: &str) -> Result<PathBuf, Error> {
        let io = |e: std::io::Error| Error::io("can't write a credential to a private file", &e);
        if self.files.is_none() {
            let private = std::fs::Permissions::from_mode(0o700);
            self.files = Some(
                tempfile::Builder::new()
                    .prefix("fairway-")
                    .permissions(private)
                    .tempdir()
                    .map_err(io)?,
            );
        }
        let directory = self
            .files
            .as_ref()
            .map_or_else(|| Path::new("."), |d| d.path());
        let path = directory.join(name);
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(io)?;
        file.write_all(content.as_bytes()).map_err(io)?;
        Ok(path)
    }
}

/// The ssh command line: this key and these host keys, nothing of the machine's own configuration.
/// git hands it to a shell, so the paths are quoted for that shell, and `%` is doubled for ssh.
fn ssh_command(identity: &Path, known_hosts: &Path, asks: bool) -> String {
    // In batch mode ssh asks for nothing; where it may ask for the passphrase, it may for nothing else.
    let questions = if asks {
        "-o BatchMode=no -o PasswordAuthentication=no -o KbdInteractiveAuthentication=no -o NumberOfPasswordPrompts=1"
    } else {
        "-o BatchMode=yes"
    };
    let path = |p: &Path| p.display().to_string().replace('%', "%%");
    let quoted = |text: String| format!("'{}'", text.replace('\'', r"'\''"));
    format!(
        "ssh -F /dev/null -i {} -o {} -o GlobalKnownHostsFile=/dev/null -o StrictHostKeyChecking=yes \
         -o IdentitiesOnly=yes -o IdentityAgent=none {questions} -o ConnectTimeout=20 \
         -o ForwardAgent=no -o ClearAllForwardings=yes -o PermitLocalCommand=no",
        quoted(path(identity)),
        quoted(format!("UserKnownHostsFile=\"{}\"", path(known_hosts))),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_goes_into_a_header_of_its_host_only() {
        let remote = Remote::new(
            "https://host/fleet.git",
            Credentials::none().with_basic("me", "secret"),
        )
        .unwrap();
        let prepared = Prepared::new(&remote).unwrap();
        assert_eq!(
            prepared.config,
            [(
                "http.https://host/.extraHeader".to_owned(),
                "Authorization: Basic bWU6c2VjcmV0".to_owned()
            )]
        );
        assert!(prepared.secrets.contains(&"secret".to_owned()));
        let bad = Credentials::none().with_bearer("x\r\nHost: evil");
        let remote = Remote::new("https://host/fleet.git", bad).unwrap();
        assert!(Prepared::new(&remote).is_err());
    }

    #[test]
    fn ssh_keys_are_private_files_that_vanish() {
        let credentials = Credentials::none().with_ssh("KEY", "host ssh-ed25519 AAAA");
        let remote = Remote::new("ssh://git@host/fleet.git", credentials).unwrap();
        let prepared = Prepared::new(&remote).unwrap();
        let directory = prepared.files.as_ref().unwrap().path().to_owned();
        let identity = directory.join("identity");
        assert_eq!(std::fs::read_to_string(&identity).unwrap(), "KEY\n");
        assert_eq!(
            std::fs::metadata(&identity).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(
            std::fs::metadata(&directory).unwrap().permissions().mode() & 0o777,
            0o700
        );
        drop(prepared);
        assert!(!directory.exists());
        let none = Remote::new("ssh://git@host/fleet.git", Credentials::none()).unwrap();
        assert!(matches!(
            Prepared::new(&none),
            Err(Error::AuthFailed { .. })
        ));
    }

    #[test]
    fn the_ssh_command_survives_odd_paths() {
        let command = ssh_command(Path::new("/tmp/it's 100%/id"), Path::new("/tmp/k h"), false);
        assert!(
            command.starts_with(
                r"ssh -F /dev/null -i '/tmp/it'\''s 100%%/id' -o 'UserKnownHostsFile="
            ),
            "{command}"
        );
        assert!(command.contains("\"/tmp/k h\"'"), "{command}");
        for option in [
            "StrictHostKeyChecking=yes",
            "IdentitiesOnly=yes",
            "BatchMode=yes",
            "IdentityAgent=none",
        ] {
            assert!(command.contains(option), "{option}");
        }
    }

    #[test]
    fn debug_output_holds_no_value() {
        let all = Credentials::none()
            .with_basic("me", "hunter2")
            .with_bearer("hunter2")
            .with_ca("hunter2")
            .with_client_certificate("hunter2", "hunter2")
            .with_ssh("hunter2", "hunter2")
            .with_passphrase("hunter2")
            .with_proxy("http://me:hunter2@proxy");
        let shown = format!("{all:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("bearer"), "{shown}");
    }
}
