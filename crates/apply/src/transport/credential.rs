//! What goes into the Authorization header.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use http::HeaderValue;
use kube::config::AuthInfo;
use secrecy::ExposeSecret as _;

use crate::{
    connection::{Bearer, ConnectionError},
    error::RequestError,
};

/// How long a token that was read from a file is used.
const TOKEN_FILE_TTL: Duration = Duration::from_mins(1);
/// A token that was refused is read again, but no more often than this.
const LEAST_AGE: Duration = Duration::from_secs(1);

/// The credential of a connection.
pub(super) enum Credential {
    None,
    Header(HeaderValue),
    Bearer(Arc<dyn Bearer>),
    TokenFile {
        path: String,
        cached: Mutex<Option<(HeaderValue, Instant)>>,
    },
}

impl Credential {
    /// The credential that a kubeconfig's user has beside a certificate.
    pub(super) fn of(info: &AuthInfo) -> Result<Self, ConnectionError> {
        Ok(
            if let (Some(username), password) = (&info.username, &info.password) {
                let password = password.as_ref().map(|secret| secret.expose_secret());
                let pair = format!("{username}:{}", password.unwrap_or_default());
                Self::Header(secret_header(&format!("Basic {}", BASE64.encode(pair)))?)
            } else if let Some(path) = &info.token_file {
                Self::TokenFile {
                    path: path.clone(),
                    cached: Mutex::new(None),
                }
            } else if let Some(token) = &info.token {
                let token = token.expose_secret().trim();
                Self::Header(secret_header(&format!("Bearer {token}"))?)
            } else {
                Self::None
            },
        )
    }

    /// The value of the header now.
    pub(super) async fn header(&self) -> Result<Option<HeaderValue>, RequestError> {
        let (path, cached) = match self {
            Self::None => return Ok(None),
            Self::Header(value) => return Ok(Some(value.clone())),
            Self::Bearer(bearer) => {
                let token = bearer.token().await.map_err(RequestError::Credentials)?;
                return secret_header(&format!("Bearer {}", token.trim()))
                    .map(Some)
                    .map_err(|error| RequestError::Credentials(error.to_string()));
            }
            Self::TokenFile { path, cached } => (path, cached),
        };
        let lock = || cached.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lock().clone();
        if let Some((value, read)) = &known
            && read.elapsed() < TOKEN_FILE_TTL
        {
            return Ok(Some(value.clone()));
        }
        let unusable = |why: String| RequestError::Credentials(format!("{path}: {why}"));
        match tokio::fs::read_to_string(path).await {
            Ok(token) => {
                let value = secret_header(&format!("Bearer {}", token.trim()))
                    .map_err(|error| unusable(error.to_string()))?;
                *lock() = Some((value.clone(), Instant::now()));
                Ok(Some(value))
            }
            // A file that is being replaced: the old token is most likely still good.
            Err(_) if known.is_some() => Ok(known.map(|(value, _)| value)),
            Err(error) => Err(unusable(error.to_string())),
        }
    }

    /// The server refused this value: answers whether there may be another one by now.
    pub(super) fn refused(&self, value: Option<&HeaderValue>) -> bool {
        let cached = match self {
            Self::TokenFile { cached, .. } => cached,
            Self::Bearer(bearer) => return bearer.refused(),
            Self::None | Self::Header(_) => return false,
        };
        let mut cached = cached.lock().unwrap_or_else(PoisonError::into_inner);
        match &*cached {
            Some((known, read)) if Some(known) == value => {
                let old = read.elapsed() >= LEAST_AGE;
                if old {
                    *cached = None;
                }
                old
            }
            // Another request has read it again meanwhile.
            _ => true,
        }
    }
}

fn secret_header(text: &str) -> Result<HeaderValue, ConnectionError> {
    let mut value =
        HeaderValue::from_str(text).map_err(|_| ConnectionError::Header("the credential"))?;
    value.set_sensitive(true);
    Ok(value)
}
