//! ServiceAccount tokens: JSON Web Tokens signed with HMAC-SHA256 under a key of the cluster.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The issuer that tokens name, as an ordinary cluster would.
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// Why a token is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is no JSON Web Token of ours.
    #[error("not a service account token of this cluster")]
    Malformed,
    /// The signature does not fit.
    #[error("invalid signature")]
    Signature,
    /// It was good until then.
    #[error("token has expired")]
    Expired,
}

/// Signs and checks the ServiceAccount tokens of one cluster.
#[derive(Clone)]
pub struct TokenIssuer {
    key: hmac::Key,
}

impl std::fmt::Debug for TokenIssuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenIssuer")
    }
}

/// What a token is asked for.
#[derive(Clone, Debug, Default)]
pub struct TokenRequest {
    /// Namespace of the ServiceAccount.
    pub namespace: String,
    /// Name of the ServiceAccount.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// When the token ends; `None` for the tokens in Secrets, which do not.
    pub expires: Option<Timestamp>,
    /// Audiences; empty means the API server's own.
    pub audiences: Vec<String>,
    /// For legacy tokens, the name of the Secret that holds it.
    pub secret: Option<String>,
}

/// What a checked token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Namespace of the ServiceAccount.
    pub namespace: String,
    /// Name of the ServiceAccount.
    pub name: String,
    /// Its uid at the time of issue.
    pub uid: String,
    /// The Secret that holds the token; the token is dead when the Secret is.
    pub secret: Option<String>,
    /// Audiences.
    pub audiences: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Payload {
    iss: String,
    sub: String,
    aud: Vec<String>,
    iat: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Value,
}

impl TokenIssuer {
    /// An issuer with the given secret key.
    pub fn new(key: &[u8]) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
        }
    }

    /// Signs a token.
    pub fn issue(&self, request: &TokenRequest, now: Timestamp) -> String {
        let mut kubernetes = json!({
            "namespace": request.namespace,
            "serviceaccount": {"name": request.name, "uid": request.uid},
        });
        if let Some(secret) = &request.secret {
            kubernetes["secret"] = json!({"name": secret});
        }
        let payload = json!(Payload {
            iss: ISSUER.into(),
            sub: format!(
                "system:serviceaccount:{}:{}",
                request.namespace, request.name
            ),
            aud: if request.audiences.is_empty() {
                vec![ISSUER.into()]
            } else {
                request.audiences.clone()
            },
            iat: now.as_second(),
            exp: request.expires.map(Timestamp::as_second),
            kubernetes,
        });
        let signed = format!(
            "{}.{}",
            BASE64.encode(br#"{"alg":"HS256","typ":"JWT"}"#),
            BASE64.encode(payload.to_string())
        );
        let signature = hmac::sign(&self.key, signed.as_bytes());
        format!("{signed}.{}", BASE64.encode(signature.as_ref()))
    }

    /// Checks a token's form, signature and age. Whether its ServiceAccount (and Secret) still exist is the
    /// caller's question.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, TokenError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (_, payload) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let signature = BASE64
            .decode(signature)
            .map_err(|_| TokenError::Malformed)?;
        hmac::verify(&self.key, signed.as_bytes(), &signature)
            .map_err(|_| TokenError::Signature)?;
        let payload = BASE64.decode(payload).map_err(|_| TokenError::Malformed)?;
        let payload: Payload =
            serde_json::from_slice(&payload).map_err(|_| TokenError::Malformed)?;
        if payload.exp.is_some_and(|end| end <= now.as_second()) {
            return Err(TokenError::Expired);
        }
        let text = |pointer: &str| payload.kubernetes.pointer(pointer).and_then(Value::as_str);
        Ok(Claims {
            namespace: text("/namespace").ok_or(TokenError::Malformed)?.to_owned(),
            name: text("/serviceaccount/name")
                .ok_or(TokenError::Malformed)?
                .to_owned(),
            uid: text("/serviceaccount/uid").unwrap_or_default().to_owned(),
            secret: text("/secret/name").map(str::to_owned),
            audiences: payload.aud,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> TokenRequest {
        TokenRequest {
            namespace: "flux-system".into(),
            name: "fairway".into(),
            uid: "u".into(),
            expires: Some(Timestamp::from_second(100).unwrap()),
            ..TokenRequest::default()
        }
    }

    #[test]
    fn a_token_says_whose_it_is_until_it_ends() {
        let issuer = TokenIssuer::new(b"key");
        let token = issuer.issue(&request(), Timestamp::UNIX_EPOCH);
        let claims = issuer.verify(&token, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(
            (&*claims.namespace, &*claims.name),
            ("flux-system", "fairway")
        );
        let later = Timestamp::from_second(100).unwrap();
        assert_eq!(issuer.verify(&token, later), Err(TokenError::Expired));
    }

    #[test]
    fn another_clusters_token_is_refused() {
        let token = TokenIssuer::new(b"key").issue(&request(), Timestamp::UNIX_EPOCH);
        let other = TokenIssuer::new(b"other");
        assert_eq!(
            other.verify(&token, Timestamp::UNIX_EPOCH),
            Err(TokenError::Signature)
        );
    }
}
