//! Promotions as the judges see them.

use std::sync::Arc;

use fairway_types::{Promotion, PromotionStatus, names};
use kube::ResourceExt;

use super::judge::Revoked;
use crate::context::Context;
use crate::pipeline::facts::Attempt;

/// The Promotions of a Pipeline.
pub(crate) fn attempts_of(
    context: &Context,
    namespace: &str,
    pipeline: &str,
) -> Vec<Arc<Promotion>> {
    context
        .promotions
        .all()
        .into_iter()
        .filter(|promotion| promotion.namespace().as_deref() == Some(namespace))
        .filter(|promotion| promotion.spec.pipeline_ref.name == pipeline)
        .collect()
}

/// One of them; `nothing` is the status of one that has none yet.
pub(crate) fn attempt_of<'a>(
    promotion: &'a Promotion,
    nothing: &'a PromotionStatus,
) -> Attempt<'a> {
    let revoked = promotion.annotations().get(names::REVOKE);
    Attempt {
        name: promotion.metadata.name.as_deref().unwrap_or_default(),
        created: promotion
            .creation_timestamp()
            .map(|time| time.0)
            .unwrap_or_default(),
        spec: &promotion.spec,
        status: promotion.status.as_ref().unwrap_or(nothing),
        arrival: promotion
            .annotations()
            .get(names::ARRIVAL)
            .map(String::as_str),
        revoked: revoked.map(|text| Revoked::parse(text)).unwrap_or_default(),
        is_going: promotion.metadata.deletion_timestamp.is_some(),
    }
}
