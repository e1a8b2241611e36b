//! How the cluster logs in to the repository: the Secret that its GitRepository names.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use anyhow::Context as _;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::Api;
use serde_json::json;

use super::key::{self, KeyPair};
use crate::exit::{Hinted, Misuse};
use crate::setup::{self, Change};

/// What the cluster logs in with. Never printed.
pub(super) enum Access {
    /// Nothing: anyone may read.
    Open,
    /// Nothing, from a host with an authority of its own.
    Authority {
        /// PEM.
        ca: String,
    },
    /// User and password, or token.
    Token {
        /// User.
        username: String,
        /// Password.
        password: String,
        /// Authority of the host, PEM.
        ca: Option<String>,
    },
    /// A key, and the keys of the host.
    Ssh {
        /// Private key.
        identity: String,
        /// Its public line.
        public: String,
        /// Lines of known_hosts.
        known_hosts: String,
    },
}

impl Access {
    /// Whether there is something to store.
    pub(super) fn has_secret(&self) -> bool {
        !matches!(self, Self::Open)
    }
}

/// Where the Secret is.
pub(super) struct Place<'a> {
    /// The cluster.
    pub(super) client: &'a Client,
    /// Namespace of the Secret.
    pub(super) namespace: &'a str,
    /// Name of the Secret.
    pub(super) name: &'a str,
}

impl Place<'_> {
    /// Stores it; nothing where there is nothing to store.
    pub(super) async fn store(&self, access: &Access) -> anyhow::Result<Option<Change>> {
        let entries: Vec<(&str, &str)> = match access {
            Access::Open => return Ok(None),
            Access::Authority { ca } => vec![("ca.crt", ca)],
            Access::Token {
                username,
                password,
                ca,
            } => {
                let mut entries = vec![("username", username.as_str()), ("password", password)];
                entries.extend(ca.as_deref().map(|ca| ("ca.crt", ca)));
                entries
            }
            Access::Ssh {
                identity,
                public,
                known_hosts,
            } => {
                vec![
                    ("identity", identity),
                    ("identity.pub", public),
                    ("known_hosts", known_hosts),
                ]
            }
        };
        let mut data = json!({});
        for (key, value) in entries {
            data[key] = serde_json::to_value(ByteString(value.as_bytes().to_vec()))?;
        }
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "type": "Opaque",
            "data": data,
        });
        setup::apply_one(self.client, &secret).await.map(Some)
    }

    /// The key and host keys that the Secret holds already.
    async fn stored(&self) -> anyhow::Result<Option<(String, String)>> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), self.namespace);
        let found = api.get_opt(self.name).await.with_context(|| {
            format!("failed to read the Secret {}/{}", self.namespace, self.name)
        })?;
        let data = found.and_then(|secret| secret.data).unwrap_or_default();
        let text = |key: &str| {
            data.get(key)
                .map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned())
        };
        Ok(text("identity").zip(text("known_hosts")))
    }
}

/// The key that is named, or stored already, or a new one; the host's keys as `known` says them, or as the host itself does.
pub(super) async fn ssh(
    place: &Place<'_>,
    host: &str,
    port: u16,
    named: Option<&str>,
    known: Option<String>,
) -> anyhow::Result<Access> {
    let stored = place.stored().await?;
    let identity = named
        .map(str::to_owned)
        .or(stored.as_ref().map(|(identity, _)| identity.clone()));
    let (identity, public) = match identity {
        Some(identity) => {
            let public = key::public_of(&identity).ok_or_else(|| {
                Hinted::new(
                    "the private key is not in OpenSSH's format",
                    "ssh-keygen -p -f FILE rewrites it; or leave --private-key-file out for a new key",
                )
            })?;
            (identity, public)
        }
        None => {
            let pair = KeyPair::generate()?;
            (pair.private, pair.public)
        }
    };
    let known_hosts = match (stored, known) {
        // What was trusted once is trusted on; a host that changed its keys is not followed silently.
        (Some((_, hosts)), _) if hosts.contains(host) => hosts,
        (_, Some(known)) => known,
        _ => {
            let keys = fairway_git::host_keys(host, port).await?;
            println!(
                "► host keys of {host} taken as it sent them; compare them with what its operators publish:"
            );
            for line in keys.lines() {
                println!("  {line}");
            }
            keys
        }
    };
    Ok(Access::Ssh {
        identity,
        public,
        known_hosts,
    })
}

/// Shows the public key and waits until the person has given it access.
pub(super) fn ask_for_access(access: &Access) -> anyhow::Result<()> {
    let Access::Ssh { public, .. } = access else {
        return Ok(());
    };
    println!("public key: {public}");
    if !std::io::stdin().is_terminal() {
        return Err(Misuse(
            "give this key read access to the repository first; then say --silent, or --private-key-file with a key that has it".into(),
        )
        .into());
    }
    print!("Give the key read access to the repository; done? [y/N] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    if answer.trim().eq_ignore_ascii_case("y") {
        Ok(())
    } else {
        Err(Misuse("nothing was changed".into()).into())
    }
}
