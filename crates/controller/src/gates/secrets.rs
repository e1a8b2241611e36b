//! Secrets that checks name, read on the hub in the subject's namespace.

use std::collections::BTreeMap;

use fairway_types::reference::LocalObjectReference;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;

use crate::outbound::{Ask, OutboundError, Trust};

/// Where Secrets are read.
pub(crate) struct Secrets<'a> {
    pub(crate) client: kube::Client,
    pub(crate) namespace: &'a str,
}

impl Secrets<'_> {
    /// The data of a Secret; nothing where none is named. The error says what is missing, for people.
    pub(crate) async fn read(
        &self,
        reference: Option<&LocalObjectReference>,
    ) -> Result<Credentials, String> {
        let Some(reference) = reference else {
            return Ok(Credentials::default());
        };
        let (namespace, name) = (self.namespace, &reference.name);
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        match api.get_opt(name).await {
            Ok(Some(secret)) => Ok(Credentials(
                secret
                    .data
                    .unwrap_or_default()
                    .into_iter()
                    .map(|(key, value)| (key, value.0))
                    .collect(),
            )),
            Ok(None) => Err(format!("Secret '{namespace}/{name}' is not there")),
            Err(error) => Err(format!(
                "Secret '{namespace}/{name}' cannot be read: {error}"
            )),
        }
    }
}

/// What a Secret has for a request.
#[derive(Default)]
pub(crate) struct Credentials(BTreeMap<String, Vec<u8>>);

impl Credentials {
    /// One value as text, without white space around it.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        let text = std::str::from_utf8(self.0.get(key)?).ok()?.trim();
        (!text.is_empty()).then_some(text)
    }

    /// One value as it is.
    pub(crate) fn bytes(&self, key: &str) -> Option<&[u8]> {
        self.0.get(key).map(Vec::as_slice)
    }

    /// Gives a request `bearerToken`, or `username` and `password`, and `ca.crt`, `tls.crt` and `tls.key`.
    pub(crate) fn authorize(&self, ask: &mut Ask) -> Result<(), OutboundError> {
        ask.trust = Trust::from_secret(&self.0)?;
        if let Some(token) = self.text("bearerToken") {
            ask.bearer(token)?;
        } else if let Some(user) = self.text("username") {
            ask.basic(user, self.text("password").unwrap_or_default())?;
        }
        Ok(())
    }
}
