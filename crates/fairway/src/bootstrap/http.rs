//! The API of a Git host, for a person at a terminal: errors come with their next step.

use std::path::Path;

use fairway_controller::hosts::{self, HostError};
use fairway_controller::outbound::Outbound;
use http::Method;
use serde_json::Value;

use crate::exit::Hinted;

/// One host's API.
pub(super) struct Api(hosts::Api);

impl Api {
    /// `base` is the URL that paths are added to.
    pub(super) fn new(base: &str, token: &str, ca_file: Option<&Path>) -> anyhow::Result<Self> {
        let authority = ca_file.map(super::read).transpose()?;
        hosts::Api::new(Outbound::default(), base, token, authority.as_deref())
            .map(Self)
            .map_err(hinted)
    }

    /// What is there; `None` where the host knows no such thing.
    pub(super) async fn get(&self, path: &str, what: &str) -> anyhow::Result<Option<Value>> {
        let reply = self.0.call(Method::GET, path, None, what).await;
        let reply = reply.map_err(hinted)?;
        match reply.status {
            200..=299 => Ok(Some(reply.body)),
            404 => Ok(None),
            _ => Err(hinted(self.0.refused(&reply, what))),
        }
    }

    /// A request where only success will do; `what` is what was to be done.
    pub(super) async fn must(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        what: &str,
    ) -> anyhow::Result<Value> {
        let answer = self.0.must(method, path, body, what).await;
        answer.map_err(hinted)
    }

    /// All pages of a list.
    pub(super) async fn list(&self, path: &str, what: &str) -> anyhow::Result<Vec<Value>> {
        self.0.list(path, what).await.map_err(hinted)
    }
}

fn hinted(error: HostError) -> anyhow::Error {
    let hint = match &error {
        HostError::Unreachable { .. } => {
            "is the host right (--hostname), can it be reached from here, and does --ca-file name its authority?"
        }
        HostError::Refused { status: 404, .. } => {
            "the token sees no such owner or repository: is --owner right, and is --personal needed for a user?"
        }
        HostError::Refused { status: 422, .. } => {
            "the host did not accept the names: are --owner and --repository right?"
        }
        _ => error.hint(),
    };
    Hinted::new(
        error.to_string(),
        format!("{hint}. Nothing was changed by this step"),
    )
    .into()
}
