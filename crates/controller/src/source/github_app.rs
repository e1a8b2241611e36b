//! GitHub Apps: an app's key is exchanged for a token of one of its installations, which lasts an hour.
//!
//! ```text
//!   Secret ──▶ App ──▶ assertion (a JWT, RS256) ──▶ POST /app/installations/ID/access_tokens ──▶ token
//! ```
//!
//! The keys of the Secret are Flux's: `githubAppID`, `githubAppPrivateKey`, one of `githubAppInstallationID` and
//! `githubAppInstallationOwner`, and `githubAppBaseURL` (the URL of the API) for GitHub Enterprise.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fairway_git::Renewed;
use http::Method;
use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::build::finish::hex;
use crate::outbound::{Address, Ask, Outbound, OutboundError, Trust};

/// Whom GitHub expects with such a token.
const USER: &str = "x-access-token";
const API: &str = "https://api.github.com";
/// A token is exchanged when it has this long left: longer than a fetch takes.
const MARGIN: SignedDuration = SignedDuration::from_mins(10);
/// GitHub allows ten minutes, and its clock may be behind ours.
const ASSERTION: SignedDuration = SignedDuration::from_mins(9);
const SKEW: SignedDuration = SignedDuration::from_secs(60);
/// Installations are listed by pages of a hundred; no app has more than that many pages here.
const PAGES: usize = 50;
const LIMIT: usize = 4 << 20;

/// Why there is no token. Values of the Secret are never repeated.
#[derive(Debug, thiserror::Error)]
pub(super) enum AppError {
    /// A key is missing or no text.
    #[error("key '{0}' not found")]
    Missing(&'static str),
    /// It is not clear whose installation.
    #[error(
        "must contain exactly one of 'githubAppInstallationOwner' or 'githubAppInstallationID'"
    )]
    Installation,
    /// A number that is none.
    #[error("key '{0}' is no number")]
    NoNumber(&'static str),
    /// The key cannot be used.
    #[error("key 'githubAppPrivateKey' is no RSA private key in PEM")]
    Key,
    /// GitHub was not reached.
    #[error(transparent)]
    Outbound(#[from] OutboundError),
    /// GitHub refused.
    #[error("{server} answers {status}: {message}\nhint: {hint}")]
    Refused {
        /// Host and port.
        server: String,
        /// The status.
        status: u16,
        /// What it says.
        message: String,
        /// What to do.
        hint: &'static str,
    },
    /// The app is not installed there.
    #[error(
        "the app is not installed for '{0}'\nhint: install it there, or set githubAppInstallationID"
    )]
    NotInstalled(String),
    /// The answer makes no sense.
    #[error("{0} answers with something that is no token")]
    Odd(String),
}

enum Installation {
    Id(u64),
    Owner(String),
}

/// An app, as a Secret describes it.
pub(super) struct App {
    id: u64,
    installation: Installation,
    key: RsaKeyPair,
    api: Address,
    /// Stands for all of it.
    fingerprint: String,
}

impl App {
    pub(super) fn from_secret(data: &BTreeMap<String, Vec<u8>>) -> Result<Self, AppError> {
        let text = |key: &'static str| {
            let value = data
                .get(key)
                .and_then(|value| std::str::from_utf8(value).ok());
            value.map(str::trim).filter(|value| !value.is_empty())
        };
        let number = |key, value: &str| value.parse().map_err(|_| AppError::NoNumber(key));
        let id = text("githubAppID").ok_or(AppError::Missing("githubAppID"))?;
        let pem = text("githubAppPrivateKey").ok_or(AppError::Missing("githubAppPrivateKey"))?;
        let installation = match (
            text("githubAppInstallationID"),
            text("githubAppInstallationOwner"),
        ) {
            (Some(id), None) => Installation::Id(number("githubAppInstallationID", id)?),
            (None, Some(owner)) => Installation::Owner(owner.to_owned()),
            _ => return Err(AppError::Installation),
        };
        let key = match PrivateKeyDer::from_pem_slice(pem.as_bytes()) {
            Ok(PrivateKeyDer::Pkcs1(der)) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
            Ok(PrivateKeyDer::Pkcs8(der)) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
            _ => return Err(AppError::Key),
        };
        let url = text("githubAppBaseURL").unwrap_or(API);
        let parts = [
            id,
            text("githubAppInstallationID").unwrap_or_default(),
            text("githubAppInstallationOwner").unwrap_or_default(),
            pem,
            url,
        ];
        Ok(Self {
            id: number("githubAppID", id)?,
            installation,
            key: key.map_err(|_| AppError::Key)?,
            api: Address::parse(url)?,
            fingerprint: hex(&Sha256::digest(json!(parts).to_string())),
        })
    }

    /// What the app says of itself: a JSON Web Token (RFC 7519), signed with its key (RS256).
    fn assertion(&self, now: Timestamp) -> Result<String, AppError> {
        let header = json!({"alg": "RS256", "typ": "JWT"});
        let claims = json!({
            "iss": self.id.to_string(),
            "iat": (now - SKEW).as_second(),
            "exp": (now + ASSERTION).as_second(),
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(&header), part(&claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                text.as_bytes(),
                &mut signature,
            )
            .map_err(|_| AppError::Key)?;
        Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    async fn ask(
        &self,
        outbound: &Outbound,
        trust: &Trust,
        now: Timestamp,
        method: Method,
        address: Address,
    ) -> Result<Value, AppError> {
        let mut ask = Ask::get(address);
        ask.method = method;
        ask.trust = trust.clone();
        (ask.limit, ask.whole, ask.timeout) = (LIMIT, true, Duration::from_secs(30));
        ask.header("accept", "application/vnd.github+json")?;
        ask.header("x-github-api-version", "2022-11-28")?;
        ask.bearer(&self.assertion(now)?)?;
        let answer = outbound.send(ask).await?;
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if answer.status.is_success() {
            return Ok(body);
        }
        Err(AppError::Refused {
            server: self.api.server(),
            status: answer.status.as_u16(),
            message: body["message"]
                .as_str()
                .unwrap_or("no reason given")
                .chars()
                .take(200)
                .collect(),
            hint: match answer.status.as_u16() {
                401 => {
                    "do githubAppID and githubAppPrivateKey belong together, and is the clock right?"
                }
                404 => "is the app installed there, and is githubAppInstallationID right?",
                _ => "it is tried again",
            },
        })
    }

    async fn installation(
        &self,
        outbound: &Outbound,
        trust: &Trust,
        now: Timestamp,
    ) -> Result<u64, AppError> {
        let owner = match &self.installation {
            Installation::Id(id) => return Ok(*id),
            Installation::Owner(owner) => owner,
        };
        for page in 1..=PAGES {
            let page = page.to_string();
            let query = [("per_page", "100"), ("page", page.as_str())];
            let address = self.api.with("/app/installations", &query)?;
            let list = self.ask(outbound, trust, now, Method::GET, address).await?;
            let list = list.as_array().map_or(&[][..], Vec::as_slice);
            let found = list.iter().find(|installation| {
                let login = installation
                    .pointer("/account/login")
                    .and_then(Value::as_str);
                login.is_some_and(|login| login.eq_ignore_ascii_case(owner))
            });
            if let Some(found) = found {
                return found["id"]
                    .as_u64()
                    .ok_or_else(|| AppError::Odd(self.api.server()));
            }
            if list.len() < 100 {
                break;
            }
        }
        Err(AppError::NotInstalled(owner.clone()))
    }

    async fn token(
        &self,
        outbound: &Outbound,
        trust: &Trust,
        now: Timestamp,
    ) -> Result<(String, Timestamp), AppError> {
        let id = self.installation(outbound, trust, now).await?;
        let path = format!("/app/installations/{id}/access_tokens");
        let answer = self
            .ask(
                outbound,
                trust,
                now,
                Method::POST,
                self.api.with(&path, &[])?,
            )
            .await?;
        let odd = || AppError::Odd(self.api.server());
        let token = answer["token"]
            .as_str()
            .filter(|token| !token.is_empty())
            .ok_or_else(odd)?;
        let expires = answer["expires_at"]
            .as_str()
            .and_then(|text| text.parse().ok());
        Ok((token.to_owned(), expires.ok_or_else(odd)?))
    }
}

/// The tokens of all apps, exchanged shortly before they run out. None is forgotten: mirrors hold them.
#[derive(Debug, Default)]
pub struct Apps(Mutex<HashMap<String, (Renewed, Option<Timestamp>)>>);

impl Apps {
    /// A password for git that is good for some minutes at least. One app gives everybody the same.
    pub(super) async fn password(
        &self,
        app: &App,
        outbound: &Outbound,
        trust: &Trust,
        now: Timestamp,
    ) -> Result<Renewed, AppError> {
        let (renewed, expires) = {
            let mut known = self.lock();
            let new = || (Renewed::new(&app.fingerprint, USER), None);
            known
                .entry(app.fingerprint.clone())
                .or_insert_with(new)
                .clone()
        };
        if expires.is_some_and(|expires| now + MARGIN < expires) {
            return Ok(renewed);
        }
        let (token, expires) = app.token(outbound, trust, now).await?;
        renewed.set(&token);
        let known = (renewed.clone(), Some(expires));
        self.lock().insert(app.fingerprint.clone(), known);
        Ok(renewed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Renewed, Option<Timestamp>)>> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const NOW: &str = "2026-11-22T12:00:00Z";

    /// A key of an app as GitHub gives it out, made by openssl; none where openssl is missing.
    fn key(folder: &std::path::Path) -> Option<String> {
        let made = std::process::Command::new("openssl")
            .args(["genrsa", "-traditional", "-out", "key.pem", "2048"])
            .current_dir(folder)
            .output();
        match made {
            Ok(made) if made.status.success() => {
                Some(std::fs::read_to_string(folder.join("key.pem")).unwrap())
            }
            _ => {
                eprintln!("skipped: there is no openssl to make a key with");
                None
            }
        }
    }

    fn secret(pairs: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        let pairs = pairs.iter();
        pairs
            .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()))
            .collect()
    }

    fn openssl_verifies(folder: &std::path::Path, assertion: &str) -> bool {
        let (text, signature) = assertion.rsplit_once('.').unwrap();
        std::fs::write(folder.join("text"), text).unwrap();
        std::fs::write(
            folder.join("signature"),
            URL_SAFE_NO_PAD.decode(signature).unwrap(),
        )
        .unwrap();
        let openssl = |arguments: &[&str]| {
            let run = std::process::Command::new("openssl")
                .args(arguments)
                .current_dir(folder)
                .output();
            run.unwrap().status.success()
        };
        openssl(&["rsa", "-in", "key.pem", "-pubout", "-out", "public.pem"])
            && openssl(&[
                "dgst",
                "-sha256",
                "-verify",
                "public.pem",
                "-signature",
                "signature",
                "text",
            ])
    }

    /// GitHub's API, as far as an app needs it; says what was asked.
    async fn github() -> (String, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/api/v3", listener.local_addr().unwrap());
        let heard = Arc::new(Mutex::new(Vec::new()));
        let kept = heard.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                let asked = head
                    .lines()
                    .next()
                    .unwrap()
                    .trim_end_matches(" HTTP/1.1")
                    .to_owned();
                let tokens = kept
                    .lock()
                    .unwrap()
                    .iter()
                    .filter(|line: &&String| line.starts_with("POST"))
                    .count();
                let (status, body) = match asked.as_str() {
                    "GET /api/v3/app/installations?per_page=100&page=1" => {
                        let id = |id: u64| json!({"id": 1000 + id, "account": {"login": format!("other-{id}")}});
                        ("200 OK", json!((0..100).map(id).collect::<Vec<_>>()))
                    }
                    "GET /api/v3/app/installations?per_page=100&page=2" => {
                        ("200 OK", json!([{"id": 77, "account": {"login": "Acme"}}]))
                    }
                    "POST /api/v3/app/installations/77/access_tokens" => (
                        "201 Created",
                        json!({"token": format!("token-{tokens}"), "expires_at": "2026-11-22T13:00:00Z"}),
                    ),
                    _ => ("404 Not Found", json!({"message": "Not Found"})),
                };
                let authorization = head
                    .lines()
                    .find_map(|line| line.strip_prefix("authorization: Bearer "));
                kept.lock()
                    .unwrap()
                    .push(format!("{asked} {}", authorization.unwrap_or_default()));
                let body = body.to_string();
                let answer = format!(
                    "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        (url, heard)
    }

    #[tokio::test]
    async fn a_key_is_exchanged_for_a_token_until_that_runs_out() {
        let folder = tempfile::tempdir().unwrap();
        let Some(pem) = key(folder.path()) else {
            return;
        };
        let (url, heard) = github().await;
        let data = secret(&[
            ("githubAppID", "12"),
            ("githubAppInstallationOwner", "acme"),
            ("githubAppPrivateKey", &pem),
            ("githubAppBaseURL", &url),
        ]);
        let (apps, outbound, now) = (
            Apps::default(),
            Outbound::default(),
            NOW.parse::<Timestamp>().unwrap(),
        );
        let password = async |at: Timestamp| {
            let app = App::from_secret(&data).unwrap();
            apps.password(&app, &outbound, &Trust::default(), at)
                .await
                .unwrap()
        };
        let first = password(now).await;
        assert_eq!(heard.lock().unwrap().len(), 3, "two pages and a token");
        let again = password(now + SignedDuration::from_mins(49)).await;
        assert_eq!(heard.lock().unwrap().len(), 3, "still good");
        assert_eq!(first, again);
        password(now + SignedDuration::from_mins(51)).await;
        assert_eq!(heard.lock().unwrap().len(), 6, "about to run out");

        let asked = heard.lock().unwrap()[2].clone();
        let assertion = asked.rsplit(' ').next().unwrap();
        assert!(openssl_verifies(folder.path(), assertion));
        let claims = assertion.split('.').nth(1).unwrap();
        let claims: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        let at = now.as_second();
        assert_eq!(
            claims,
            json!({"iss": "12", "iat": at - 60, "exp": at + 540})
        );
    }

    #[tokio::test]
    async fn what_is_wrong_is_said_without_the_key() {
        let folder = tempfile::tempdir().unwrap();
        let Some(pem) = key(folder.path()) else {
            return;
        };
        let of = |pairs: &[(&str, &str)]| match App::from_secret(&secret(pairs)) {
            Ok(_) => panic!("{pairs:?}"),
            Err(error) => error.to_string(),
        };
        let whole = [("githubAppID", "1"), ("githubAppPrivateKey", pem.as_str())];
        assert_eq!(of(&[]), "key 'githubAppID' not found");
        assert_eq!(of(&whole[..1]), "key 'githubAppPrivateKey' not found");
        assert!(of(&whole).contains("exactly one of"));
        let odd = [
            ("githubAppID", "1"),
            ("githubAppPrivateKey", "secret"),
            ("githubAppInstallationID", "2"),
        ];
        assert_eq!(
            of(&odd),
            "key 'githubAppPrivateKey' is no RSA private key in PEM"
        );

        let (url, _) = github().await;
        let data = [
            whole[0],
            whole[1],
            ("githubAppInstallationID", "5"),
            ("githubAppBaseURL", &url),
        ];
        let app = App::from_secret(&secret(&data)).unwrap();
        let refused = Apps::default()
            .password(
                &app,
                &Outbound::default(),
                &Trust::default(),
                NOW.parse().unwrap(),
            )
            .await
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains("404: Not Found\nhint: is the app installed"),
            "{refused}"
        );
    }
}
