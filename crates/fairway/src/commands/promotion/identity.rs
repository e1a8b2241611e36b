//! Who the API server takes us for.

use anyhow::Context as _;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::Client;
use kube::api::{Api, PostParams};

use crate::exit::Hinted;

/// Who asks or decides: never what somebody says of themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Name.
    pub(crate) user: String,
    /// Groups.
    pub(crate) groups: Vec<String>,
}

/// Asks the API server (`kubectl auth whoami`).
pub(crate) async fn who_am_i(client: &Client) -> anyhow::Result<Identity> {
    let review = Api::<SelfSubjectReview>::all(client.clone())
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await
        .context("failed to ask the cluster who you are (SelfSubjectReview)")?;
    let info = review
        .status
        .and_then(|status| status.user_info)
        .unwrap_or_default();
    let user = info
        .username
        .filter(|name| !name.is_empty())
        .ok_or_else(|| {
            Hinted::new(
                "the cluster does not say who you are",
                "log in: `kubectl auth whoami` must show a name",
            )
        })?;
    Ok(Identity {
        user,
        groups: info.groups.unwrap_or_default(),
    })
}
