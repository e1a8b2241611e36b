//! From a Provider and its Secrets to a request. Everything is read anew for each message, so that a changed Secret needs
//! no restart.

use std::collections::BTreeMap;
use std::time::Duration;

use fairway_types::notification::ProviderSpec;
use fairway_types::reference::LocalObjectReference;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;

use super::event::FluxEvent;
use super::payload::{Receiver, ms_teams, slack};
use crate::outbound::{Address, Ask, Trust, signature};
use crate::source::credentials;

/// Flux's limit for an address.
const MAX_ADDRESS: usize = 2048;
/// Slack's API, whose answer must be read.
const SLACK_API: &str = "https://slack.com/api/chat.postMessage";
/// Most of an answer that is read.
const LIMIT: usize = 4096;

/// A request, and what of it must never be shown.
pub(super) struct Prepared {
    pub(super) ask: Ask,
    pub(super) token: Option<String>,
    pub(super) answers: Answers,
}

/// How an answer says that the message was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answers {
    /// By its status.
    ByStatus,
    /// As Slack's API: 200 to everything, and the rest in the body.
    AsSlack,
    /// By its status, and 429 says that it is known already.
    AsFlux,
}

type Data = BTreeMap<String, Vec<u8>>;

/// What is read of a Provider before a request can be made.
#[derive(Default)]
pub(super) struct Secrets {
    main: Data,
    proxy: Option<Data>,
    certificates: Option<Data>,
}

impl Secrets {
    /// Reads the Secrets that a Provider names.
    pub(super) async fn read(
        client: &kube::Client,
        namespace: &str,
        spec: &ProviderSpec,
    ) -> Result<Self, String> {
        let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let read =
            async |reference: &Option<LocalObjectReference>| -> Result<Option<Data>, String> {
                let Some(LocalObjectReference { name }) = reference else {
                    return Ok(None);
                };
                let failed =
                    |why: &str| format!("failed to get secret '{namespace}/{name}': {why}");
                let secret = api
                    .get_opt(name)
                    .await
                    .map_err(|error| failed(&error.to_string()))?
                    .ok_or_else(|| failed("it is not there"))?;
                let data = secret.data.unwrap_or_default();
                Ok(Some(
                    data.into_iter()
                        .map(|(key, value)| (key, value.0))
                        .collect(),
                ))
            };
        Ok(Self {
            main: read(&spec.secret_ref).await?.unwrap_or_default(),
            proxy: read(&spec.proxy_secret_ref).await?,
            certificates: read(&spec.cert_secret_ref).await?,
        })
    }

    fn text(&self, key: &str) -> Result<Option<String>, String> {
        self.main
            .get(key)
            .map(|bytes| String::from_utf8(bytes.clone()))
            .transpose()
            .map_err(|_| format!("key '{key}' of the secret is not valid UTF-8"))
    }
}

/// The request that tells a Provider of an event. No error holds an address or a token.
pub(super) fn prepare(
    receiver: Receiver,
    spec: &ProviderSpec,
    secrets: &Secrets,
    event: &FluxEvent,
) -> Result<Prepared, String> {
    let invalid = |error: crate::outbound::OutboundError| error.to_string();
    let address = match secrets.text("address")? {
        Some(address) if address.len() > MAX_ADDRESS => {
            return Err(format!(
                "invalid address in secret: address exceeds maximum length of {MAX_ADDRESS} bytes"
            ));
        }
        Some(address) => Some(address.trim().to_owned()),
        None => spec.address.clone(),
    };
    let url = address.ok_or("neither spec.address nor key 'address' of the secret is set")?;
    let address = Address::parse(&url).map_err(invalid)?;
    let token = secrets.text("token")?;
    let username = secrets.text("username")?.or_else(|| spec.username.clone());
    let body = match receiver {
        Receiver::Generic | Receiver::GenericHmac => serde_json::to_vec(event),
        Receiver::Slack => {
            serde_json::to_vec(&slack(event, spec.channel.as_deref(), username.as_deref()))
        }
        Receiver::MsTeams => serde_json::to_vec(&ms_teams(event, address.host())),
    }
    .map_err(|error| error.to_string())?;
    let mut ask = Ask::post_json(address, body);
    ask.limit = LIMIT;
    ask.timeout = spec.timeout().get().max(Duration::from_millis(1));
    ask.proxy = match (&secrets.proxy, secrets.text("proxy")?) {
        (Some(data), _) => Some(
            credentials::proxy(data)
                .map_err(|error| format!("failed to get proxy URL: {error}"))?,
        ),
        (None, Some(proxy)) => Some(proxy.trim().to_owned()),
        (None, None) => spec.proxy.clone(),
    };
    if let Some(data) = &secrets.certificates {
        ask.trust = Trust::from_secret(data).map_err(invalid)?;
    }
    match receiver {
        Receiver::Generic | Receiver::GenericHmac => {
            ask.header("gotk-component", &event.reporting_controller)
                .map_err(invalid)?;
            if let Some(text) = secrets.text("headers")? {
                let headers: BTreeMap<String, String> = fairway_yaml::from_str(&text)
                    .map_err(|_| "failed to read headers from secret: they are no map of texts")?;
                for (name, value) in headers {
                    ask.header(&name, &value).map_err(invalid)?;
                }
            }
        }
        Receiver::Slack => {
            if let Some(token) = token.as_deref().filter(|token| !token.is_empty()) {
                ask.bearer(token.trim()).map_err(invalid)?;
            }
        }
        Receiver::MsTeams => {}
    }
    if receiver == Receiver::GenericHmac {
        let key = token.as_deref().unwrap_or_default();
        if key.is_empty() {
            return Err("HMAC key is empty: the secret has no key 'token'".to_owned());
        }
        let signed = signature(key.as_bytes(), &ask.body);
        ask.header("x-signature", &signed).map_err(invalid)?;
    }
    Ok(Prepared {
        ask,
        token: token.filter(|token| !token.trim().is_empty()),
        answers: if receiver == Receiver::Slack && url == SLACK_API {
            Answers::AsSlack
        } else {
            Answers::ByStatus
        },
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::event::tests::event;
    use super::*;

    fn spec(value: serde_json::Value) -> ProviderSpec {
        serde_json::from_value(value).unwrap()
    }

    fn data(pairs: &[(&str, &str)]) -> Data {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()))
            .collect()
    }

    #[test]
    fn the_secret_goes_before_the_spec() {
        let secrets = Secrets {
            main: data(&[
                ("address", " https://hooks.example/services/secret\n"),
                ("token", "t0ken"),
                ("username", "bot"),
                ("headers", "X-Team: web\nX-Number: '7'\n"),
            ]),
            proxy: Some(data(&[
                ("address", "http://proxy:3128"),
                ("username", "u"),
                ("password", "p@"),
            ])),
            certificates: None,
        };
        let provider = spec(
            json!({"type": "generic", "address": "http://other.example", "proxy": "http://old:1"}),
        );
        let made = prepare(Receiver::Generic, &provider, &secrets, &event(&[])).unwrap();
        assert_eq!(made.ask.address.server(), "hooks.example:443");
        assert_eq!(made.ask.address.path(), "/services/secret");
        assert_eq!(made.ask.proxy.as_deref(), Some("http://u:p%40@proxy:3128"));
        assert_eq!(made.ask.headers["x-team"], "web");
        assert_eq!(made.ask.headers["gotk-component"], "kustomize-controller");
        assert!(!made.ask.headers.contains_key("authorization"));
        let slack = prepare(Receiver::Slack, &provider, &secrets, &event(&[])).unwrap();
        assert_eq!(slack.ask.headers["authorization"], "Bearer t0ken");
        assert!(slack.ask.headers["authorization"].is_sensitive());
        let body: serde_json::Value = serde_json::from_slice(&slack.ask.body).unwrap();
        assert_eq!(body["username"], "bot");
    }

    #[test]
    fn what_is_missing_is_said_without_secrets() {
        let complaint = |receiver, main: &[(&str, &str)]| {
            let secrets = Secrets {
                main: data(main),
                ..Secrets::default()
            };
            prepare(receiver, &spec(json!({"type": "x"})), &secrets, &event(&[]))
                .err()
                .unwrap()
        };
        assert!(complaint(Receiver::Generic, &[]).starts_with("neither spec.address nor"));
        assert!(
            complaint(Receiver::GenericHmac, &[("address", "http://a")])
                .starts_with("HMAC key is empty")
        );
        let wrong = complaint(Receiver::Slack, &[("address", "ftp://secret")]);
        assert_eq!(wrong, "the URL is neither http nor https");
        let headers = complaint(
            Receiver::Generic,
            &[("address", "http://a"), ("headers", "[secret]")],
        );
        assert!(!headers.contains("secret]"), "{headers}");
    }

    /// The signature of Flux's own code over its own body.
    #[test]
    fn a_signature_is_that_of_flux() {
        let all: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/notify/flux.json")).unwrap();
        for name in ["generic-hmac info", "generic-hmac error"] {
            let body = all[name]["body"].as_str().unwrap();
            assert_eq!(
                signature(b"key\n", body.as_bytes()),
                all[name]["headers"]["x-signature"]
            );
        }
    }
}
