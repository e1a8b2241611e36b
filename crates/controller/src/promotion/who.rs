//! Who the engine is to the API server: what it asks for itself must carry its own name.

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::{Api, PostParams};
use tokio::sync::Mutex;

use crate::home::Home;

/// The name, once it is known.
#[derive(Debug, Default)]
pub(crate) struct Whoami(Mutex<Option<String>>);

impl Whoami {
    /// The name that the API server knows this process by; nothing where it does not say.
    pub(crate) async fn name(&self, hub: &Home) -> Option<String> {
        let mut known = self.0.lock().await;
        if known.is_none() {
            let api: Api<SelfSubjectReview> = Api::all(hub.connection.client());
            let asked = api
                .create(&PostParams::default(), &SelfSubjectReview::default())
                .await;
            match asked {
                Ok(review) => {
                    *known = review
                        .status
                        .and_then(|status| status.user_info)
                        .and_then(|user| user.username);
                }
                Err(error) => tracing::debug!(%error, "the API server does not say who this is"),
            }
        }
        known.clone()
    }
}
