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
    #[error("must contain exactly one of 'githubAppInstallationOwner' or 'githubAppInstallationID'")]
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
    #[error("the app is not installed for '{0}'\nhint: install it there, or set githubAppInstallationID")]
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
            let value = data.get(key).and_then(|value| std::str::from_utf8(value).ok());
            value.map(str::trim).filter(|value| !value.is_empty())
        };
        let number = |key, value: &str| value.parse().map_err(|_| AppError::NoNumber(key));
        let id = text("githubAppID").ok_or(AppError::Missing("githubAppID"))?;
        let pem = text("githubAppPrivateKey").ok_or(AppError::Missing("githubAppPrivateKey"))?;
        let installation = match (text("githubAppInstallationID"), text("githubAppInstallationOwner")) {
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
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
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
            message: body["message"].as_str().unwrap_or("no reason given").chars().take(200).collect(),
            hint: match answer.status.as_u16() {
                401 => "do githubAppID and githubAppPrivateKey belong together, and is the clock right?",
                404 => "is the app installed there, and is githubAppInstallationID right?",
                _ => "it is tried again",
            },
        })
    }

    async fn installation(&self, outbound: &Outbound, trust: &Trust, now: Timestamp) -> Result<u64, AppError> {
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
                let login = installation.pointer("/account/login").and_then(Value::as_str);
                login.is_some_and(|login| login.eq_ignore_ascii_case(owner))
            });
            if let Some(found) = found {
                return found["id"].as_u64().ok_or_else(|| AppError::Odd(self.api.server()));
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
            .ask(outbound, trust, now, Method::POST, self.api.with(&path, &[])?)
            .await?;
        let odd = || AppError::Odd(self.api.server());
        let token = answer["token"].as_str().filter(|token| !token.is_empty()).ok_or_else(odd)?;
        let expires = answer["expires_at"].as_str().and_then(|text| text.parse().ok());
        Ok((token.to_owned(), expires.ok_or_else(odd)?))
    }
}

/// The tokens of all apps, kept until shortly before they run out.
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
            known.entry(app.fingerprint.clone()).or_insert_with(new).clone()
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

    /// Forgets tokens that have run out: of apps that nobody names any more, or soon to be exchanged anyway.
    pub(crate) fn sweep(&self, now: Timestamp) {
        self.lock().retain(|_, (_, expires)| expires.is_some_and(|expires| now < expires));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Renewed, Option<Timestamp>)>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
