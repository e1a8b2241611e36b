//! The watches that feed what is known of each home.

use std::sync::{Arc, Weak};
use std::time::Duration;

use fairway_apply::{Connection, RequestError};
use fairway_types::{Alert, GitRepository, Kustomization, Provider};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, PartialObjectMeta};
use kube::core::NamespaceResourceScope;
use kube::{Resource, ResourceExt};
use kube_runtime::WatchStreamExt;
use kube_runtime::watcher::{self, Event};
use tokio::task::JoinSet;

use crate::context::Context;
use crate::home::{Home, HomeId};
use crate::objects::{Change, Objects, follow};

/// What a watch needs of a kind.
trait Followed:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + serde::de::DeserializeOwned
    + std::fmt::Debug
    + Send
    + Sync
    + 'static
{
}

impl<K> Followed for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug
        + Send
        + Sync
        + 'static
{
}

/// All namespaces of a home, or the engine's own alone.
fn scope<K: Followed>(context: &Context, home: &HomeId, connection: &Connection) -> Api<K> {
    if *home == HomeId::Hub && !context.options.watch_all_namespaces {
        Api::namespaced(connection.client(), &context.options.namespace)
    } else {
        Api::all(connection.client())
    }
}

/// Follows one kind of a home, until the home is given up.
fn spawn<K: Followed>(
    context: &Arc<Context>,
    home: &Arc<Home>,
    objects: Arc<Objects<K>>,
    heard: impl Fn(&Context, &HomeId, &Change<K>) + Send + 'static,
) {
    let (weak, id) = (Arc::downgrade(context), home.id.clone());
    let on = move |change| {
        if let Some(context) = weak.upgrade() {
            heard(&context, &id, &change);
        }
    };
    let api = scope(context, &home.id, &home.connection);
    let config = watcher::Config::default();
    tokio::spawn(follow(api, config, objects, home.stop.clone(), on));
}

/// Follows the sources and Kustomizations of a home, until it is given up.
pub(crate) fn follow_home(context: &Arc<Context>, home: &Arc<Home>) {
    spawn::<GitRepository>(
        context,
        home,
        home.repositories.clone(),
        Context::repository_changed,
    );
    spawn::<Kustomization>(
        context,
        home,
        home.kustomizations.clone(),
        Context::kustomization_changed,
    );
    follow_notifications(context, home);
}

/// Follows Alerts and Providers of a home, once they are served there.
fn follow_notifications(context: &Arc<Context>, home: &Arc<Home>) {
    if !context.options.notifies() {
        return;
    }
    let (weak, home) = (context.weak(), home.clone());
    tokio::spawn(async move {
        let mut pause = Duration::from_secs(1);
        loop {
            let version = Alert::api_version(&()).into_owned();
            match home.target.mapper.resource(&version, "Alert").await {
                Ok(_) => break,
                Err(RequestError::UnknownKind { .. }) => home.no_alerts.cancel(),
                Err(error) => tracing::debug!(home = %home.id, %error, "Alerts are not known yet"),
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = home.stop.cancelled() => return,
            }
            pause = (pause * 2).min(Duration::from_mins(5));
        }
        if let Some(context) = weak.upgrade() {
            spawn::<Alert>(&context, &home, home.alerts.clone(), |_, _, _| {});
            spawn::<Provider>(&context, &home, home.providers.clone(), |_, _, _| {});
        }
    });
}

/// Follows Fairway's own kinds on the hub.
pub(crate) fn follow_fleet(context: &Arc<Context>, hub: &Arc<Home>) {
    spawn(
        context,
        hub,
        context.clusters.clone(),
        |context, _, change| {
            context.cluster_changed(change);
        },
    );
    spawn(
        context,
        hub,
        context.fleets.clone(),
        |context, _, change| {
            context.fleet_changed(change);
        },
    );
    spawn(
        context,
        hub,
        context.selectors.clone(),
        |context, _, change| {
            context.selector_changed(change);
        },
    );
}

/// Follows Pipelines, what is asked of them, and who approves. The fleet reconciler needs the Promotions too: what they hold.
pub(crate) fn follow_pipelines(context: &Arc<Context>, hub: &Arc<Home>) {
    spawn(
        context,
        hub,
        context.pipelines.clone(),
        |context, _, change| {
            context.pipeline_changed(change);
        },
    );
    spawn(
        context,
        hub,
        context.promotions.clone(),
        |context, _, change| {
            context.promotion_changed(change);
        },
    );
    spawn(
        context,
        hub,
        context.approvals.clone(),
        |context, _, change| {
            context.approval_changed(change);
        },
    );
}

/// Listens to changes of Secrets and ConfigMaps of the hub, of which only the metadata is read. Where that is not
/// allowed, kubeconfigs are read again every half minute instead.
pub(crate) fn follow_config(tasks: &mut JoinSet<()>, context: &Arc<Context>, hub: &Arc<Home>) {
    for_metadata::<Secret>(tasks, context, hub);
    for_metadata::<ConfigMap>(tasks, context, hub);
}

fn for_metadata<K: Followed>(tasks: &mut JoinSet<()>, context: &Arc<Context>, hub: &Arc<Home>) {
    let api = scope::<PartialObjectMeta<K>>(context, &hub.id, &hub.connection);
    tasks.spawn(listen(Arc::downgrade(context), hub.clone(), api));
}

async fn listen<K: Followed>(
    context: Weak<Context>,
    hub: Arc<Home>,
    api: Api<PartialObjectMeta<K>>,
) {
    let kind = K::kind(&()).into_owned();
    let is_secret = kind == "Secret";
    let mut stream = Box::pin(watcher::watcher(api, watcher::Config::default()).default_backoff());
    loop {
        let event = tokio::select! {
            event = stream.next() => event,
            () = hub.stop.cancelled() => return,
        };
        let (Some(event), Some(context)) = (event, context.upgrade()) else {
            return;
        };
        match event {
            Ok(Event::InitDone) if is_secret => context.connections.set_watched(true),
            Ok(Event::Apply(object) | Event::Delete(object)) => {
                let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
                let selection = &context.options.watch_configs_label_selector;
                let watched = selection
                    .as_ref()
                    .is_none_or(|selection| selection.matches(object.labels()));
                context.notify_config(&hub, &kind, &namespace, &name, watched);
            }
            // A list after a gap: what changed meanwhile is not known.
            Ok(Event::InitApply(object)) => {
                let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
                context
                    .connections
                    .invalidate(&hub.id, &kind, &namespace, &name);
            }
            Err(error) => {
                if is_secret {
                    context.connections.set_watched(false);
                }
                tracing::debug!(kind, %error, "watch of metadata failed");
            }
            _ => {}
        }
    }
}
