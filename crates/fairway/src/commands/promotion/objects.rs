//! Reading Pipelines and Promotions.

use fairway_types::{Pipeline, Promotion, names};
use kube::Client;
use kube::api::{Api, ListParams};

use crate::commands::Kind;
use crate::commands::kinds::explain;

/// The Pipelines of a namespace.
pub(crate) fn pipelines(client: &Client, namespace: &str) -> Api<Pipeline> {
    Api::namespaced(client.clone(), namespace)
}

/// The Promotions of a namespace.
pub(crate) fn promotions(client: &Client, namespace: &str) -> Api<Promotion> {
    Api::namespaced(client.clone(), namespace)
}

/// The Pipeline, or none where there is no such object, or no such kind.
pub(crate) async fn find_pipeline(
    client: &Client,
    namespace: &str,
    name: &str,
) -> anyhow::Result<Option<Pipeline>> {
    pipelines(client, namespace)
        .get_opt(name)
        .await
        .map_err(|error| explain(error, Kind::Pipeline, name, namespace))
}

/// The Pipeline, which must be there.
pub(crate) async fn pipeline(
    client: &Client,
    namespace: &str,
    name: &str,
) -> anyhow::Result<Pipeline> {
    pipelines(client, namespace)
        .get(name)
        .await
        .map_err(|error| explain(error, Kind::Pipeline, name, namespace))
}

/// The Promotion, which must be there.
pub(crate) async fn promotion(
    client: &Client,
    namespace: &str,
    name: &str,
) -> anyhow::Result<Promotion> {
    promotions(client, namespace)
        .get(name)
        .await
        .map_err(|error| explain(error, Kind::Promotion, name, namespace))
}

/// The Promotions of a Pipeline, the newest first.
pub(crate) async fn promotions_of(
    client: &Client,
    namespace: &str,
    pipeline: &str,
) -> anyhow::Result<Vec<Promotion>> {
    // By the spec: a Promotion that somebody created by hand has no label.
    let list = promotions(client, namespace)
        .list(&ListParams::default())
        .await
        .map_err(|error| explain(error, Kind::Promotion, "", namespace))?;
    let mut found: Vec<Promotion> = list
        .items
        .into_iter()
        .filter(|promotion| promotion.spec.pipeline_ref.name == pipeline)
        .collect();
    newest_first(&mut found);
    Ok(found)
}

/// Sorts by creation, the newest first.
pub(crate) fn newest_first(promotions: &mut [Promotion]) {
    promotions.sort_by(|a, b| {
        let key = |promotion: &Promotion| {
            let created = promotion.metadata.creation_timestamp.as_ref();
            (
                created.map(|time| time.0),
                promotion.metadata.name.clone().unwrap_or_default(),
            )
        };
        key(b).cmp(&key(a))
    });
}

/// The annotation that freezes a Pipeline, or one stage of it.
pub(crate) fn freeze_annotation(stage: Option<&str>) -> String {
    match stage {
        Some(stage) => format!("{}.{stage}", names::FREEZE),
        None => names::FREEZE.to_owned(),
    }
}
