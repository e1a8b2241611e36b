//! Alerts and Providers: what a receiver hears when something happens in a cluster.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the way to fail")]

#[path = "../receiver/mod.rs"]
mod receiver;
#[path = "../journeys/world.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use fairway_controller::Controller;
use receiver::{Heard, Receiver};
use serde_json::{Value, json};
use world::{HUB, NS, World};

async fn provider(world: &World, name: &str, spec: Value) {
    let object = json!({"apiVersion": "notification.toolkit.fluxcd.io/v1beta3", "kind": "Provider",
        "metadata": {"name": name, "namespace": NS}, "spec": spec});
    world.apply(HUB, &object).await;
}

async fn alert(world: &World, name: &str, spec: Value) {
    let mut whole = json!({"providerRef": {"name": name}, "eventSources": [{"kind": "Kustomization", "name": "*"}]});
    for (key, value) in spec.as_object().unwrap() {
        whole[key] = value.clone();
    }
    let object = json!({"apiVersion": "notification.toolkit.fluxcd.io/v1beta3", "kind": "Alert",
        "metadata": {"name": name, "namespace": NS}, "spec": whole});
    world.apply(HUB, &object).await;
}

async fn secret(world: &World, name: &str, data: Value) {
    let object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NS}, "stringData": data});
    world.apply(HUB, &object).await;
}

const CONFIG: &str =
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: default}\ndata: {key: KEY}\n";

async fn push(world: &World, key: &str) -> String {
    world
        .push(&[("apps/a.yaml", Some(&CONFIG.replace("KEY", key)))])
        .await
}

/// What the engine says at `/metrics`.
async fn metrics(world: &World) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let address = world.engine().metrics_addr().unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

fn to(path: &'static str) -> impl Fn(&Heard) -> bool {
    move |heard| heard.line.starts_with(&format!("POST {path} "))
}

#[tokio::test(flavor = "multi_thread")]
async fn receivers_hear_what_their_alerts_name() {
    let (receiver, mut world) = (Receiver::start().await, World::new(&[]).await);
    secret(
        &world,
        "slack",
        json!({"address": receiver.url("/slack/secret"), "token": "t0ken"}),
    )
    .await;
    provider(
        &world,
        "slack",
        json!({"type": "slack", "channel": "general", "secretRef": {"name": "slack"}}),
    )
    .await;
    alert(
        &world,
        "slack",
        json!({"summary": "the shop", "eventMetadata": {"cluster": "prod"}}),
    )
    .await;
    secret(
        &world,
        "signed",
        json!({"token": "key", "headers": "X-Team: web\n"}),
    )
    .await;
    provider(&world, "signed", json!({"type": "generic-hmac", "address": receiver.url("/signed"), "secretRef": {"name": "signed"}})).await;
    alert(
        &world,
        "signed",
        json!({"eventSources": [{"kind": "GitRepository", "name": "fleet"},
        {"kind": "Kustomization", "name": "*", "matchLabels": {"team": "web"}}]}),
    )
    .await;
    provider(
        &world,
        "teams",
        json!({"type": "msteams", "address": receiver.url("/teams")}),
    )
    .await;
    alert(&world, "teams", json!({"eventSeverity": "error"})).await;
    provider(
        &world,
        "quiet",
        json!({"type": "generic", "address": receiver.url("/quiet"), "suspend": true}),
    )
    .await;
    alert(&world, "quiet", json!({})).await;
    provider(
        &world,
        "none",
        json!({"type": "generic", "address": receiver.url("/none")}),
    )
    .await;
    alert(&world, "none", json!({"exclusionList": [".+"]})).await;

    world.source().await;
    let revision = push(&world, "one").await;
    world.kustomization("apps", "./apps", json!({})).await;
    world.start().await;
    world.applied("apps", &revision).await;

    let slack = receiver.until(1, to("/slack/secret")).await;
    let created = slack
        .iter()
        .find(|heard| heard.body.contains("ConfigMap/default/a created"))
        .unwrap();
    assert_eq!(created.header("authorization"), Some("Bearer t0ken"));
    let message = created.json();
    assert_eq!(message["channel"], "general");
    assert_eq!(message["username"], "kustomize-controller");
    let attachment = &message["attachments"][0];
    assert_eq!(attachment["color"], "good");
    assert_eq!(attachment["author_name"], "kustomization/apps.flux-system");
    let fields: BTreeMap<&str, &str> = attachment["fields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|field| {
            (
                field["title"].as_str().unwrap(),
                field["value"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(fields["summary"], "the shop");
    assert_eq!(fields["cluster"], "prod");
    assert_eq!(fields["revision"], revision);

    // Of the Kustomization nobody hears there: it has no such label.
    let signed = receiver.until(1, to("/signed")).await;
    for heard in &signed {
        let event = heard.json();
        assert_eq!(event["involvedObject"]["kind"], "GitRepository", "{event}");
        assert_eq!(event["involvedObject"]["name"], "fleet");
        assert_eq!(event["severity"], "info");
        assert_eq!(event["reportingController"], "source-controller");
        assert_eq!(heard.header("gotk-component"), Some("source-controller"));
        assert_eq!(heard.header("x-team"), Some("web"));
        assert!(heard.header("x-signature").unwrap().starts_with("sha256="));
        assert!(event["metadata"]["digest"].is_null(), "{event}");
    }
    assert_eq!(signed[0].json()["metadata"]["revision"], revision);
    world
        .merge(
            "Kustomization",
            "apps",
            json!({"metadata": {"labels": {"team": "web"}}}),
        )
        .await;
    receiver.forget();
    let revision = push(&world, "two").await;
    world.applied("apps", &revision).await;
    let signed = receiver.until(2, to("/signed")).await;
    assert!(
        signed
            .iter()
            .any(|heard| heard.json()["involvedObject"]["kind"] == "Kustomization")
    );

    // An error is for those who want errors.
    assert!(!receiver.heard().iter().any(to("/teams")));
    receiver.forget();
    world.push(&[("apps/a.yaml", Some("kind: [\n"))]).await;
    let teams = receiver.until(1, to("/teams")).await;
    let card = &teams[0].json()["attachments"][0]["content"];
    assert_eq!(card["type"], "AdaptiveCard");
    assert_eq!(
        card["body"][0]["items"][0]["text"],
        "kustomization/apps.flux-system"
    );
    assert_eq!(card["body"][0]["items"][1]["color"], "attention");
    let slack = receiver.until(1, to("/slack/secret")).await;
    assert_eq!(slack[0].json()["attachments"][0]["color"], "danger");
    for path in ["/quiet", "/none"] {
        assert!(!receiver.heard().iter().any(to(path)), "{path}");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_hears_twice_and_what_fails_is_tried_again_and_told() {
    let (receiver, mut world) = (Receiver::start().await, World::new(&[]).await);
    receiver.answer(vec![
        (503, "retry-after: 0\r\n", String::new()),
        (500, "retry-after: 0\r\n", String::new()),
        (200, "", String::new()),
    ]);
    provider(
        &world,
        "hook",
        json!({"type": "generic", "address": receiver.url("/hook")}),
    )
    .await;
    alert(
        &world,
        "hook",
        json!({"eventSources": [{"kind": "GitRepository", "name": "*"}]}),
    )
    .await;
    let refusing = Receiver::start().await;
    refusing.answer(vec![(404, "", "no_service: t0ken".to_owned())]);
    secret(
        &world,
        "refusing",
        json!({"address": refusing.url("/services/s3cret"), "token": "t0ken"}),
    )
    .await;
    provider(
        &world,
        "refusing",
        json!({"type": "slack", "secretRef": {"name": "refusing"}}),
    )
    .await;
    alert(
        &world,
        "refusing",
        json!({"eventSources": [{"kind": "GitRepository", "name": "*"}]}),
    )
    .await;
    provider(
        &world,
        "discord",
        json!({"type": "discord", "address": "https://discord.example"}),
    )
    .await;
    alert(
        &world,
        "discord",
        json!({"eventSources": [{"kind": "GitRepository", "name": "*"}]}),
    )
    .await;
    world.source().await;
    let revision = push(&world, "one").await;
    let mut options = world.options();
    options.metrics_addr = Some("127.0.0.1:0".parse().unwrap());
    world.start_with(options).await;
    world.source_at(&revision).await;

    // Three tries of one message.
    let heard = receiver.until(3, to("/hook")).await;
    assert_eq!(heard.len(), 3);
    assert!(heard.iter().all(|one| one.body == heard[0].body));
    let failed = world
        .event("refusing", |event| {
            event["reason"] == "NotificationDispatchFailed"
        })
        .await;
    assert_eq!(failed["type"], "Warning");
    assert_eq!(
        failed["message"],
        "failed to send notification for GitRepository/flux-system/fleet: request failed with status code 404: (the answer repeats the token)"
    );
    // What is refused for good is not tried again.
    assert_eq!(refusing.heard().len(), 1);
    let unknown = world
        .event("discord", |event| {
            event["reason"] == "NotificationDispatchFailed"
        })
        .await;
    assert!(
        unknown["message"]
            .as_str()
            .unwrap()
            .contains("type 'discord' is not one that Fairway sends to")
    );

    // Nothing new: nobody is told.
    let before = receiver.heard().len();
    world.engine().poke_all();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(receiver.heard().len(), before);
    let text = metrics(&world).await;
    assert!(
        text.contains("fairway_notifications_total{type=\"generic\",outcome=\"sent\"} 1"),
        "{text}"
    );
    assert!(
        text.contains("fairway_notifications_total{type=\"slack\",outcome=\"failed\"} 1"),
        "{text}"
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_can_be_left_to_flux() {
    let (flux, receiver, mut world) = (
        Receiver::start().await,
        Receiver::start().await,
        World::new(&[]).await,
    );
    // It says 429 to what it knows.
    flux.answer(vec![(202, "", String::new()), (429, "", String::new())]);
    provider(
        &world,
        "hook",
        json!({"type": "generic", "address": receiver.url("/hook")}),
    )
    .await;
    alert(&world, "hook", json!({"eventSources": [{"kind": "GitRepository", "name": "*"}, {"kind": "Kustomization", "name": "*"}]})).await;
    world.source().await;
    let revision = push(&world, "one").await;
    world.kustomization("apps", "./apps", json!({})).await;
    world
        .annotate("apps", json!({"event.toolkit.fluxcd.io/deploymentID": "7"}))
        .await;
    let mut options = world.options();
    options.events_addr = Some(flux.url("/"));
    world.start_with(options).await;
    world.applied("apps", &revision).await;
    let heard = flux.until(2, |_| true).await;
    let of = |kind: &str| {
        heard
            .iter()
            .map(Heard::json)
            .find(|event| event["involvedObject"]["kind"] == kind)
            .unwrap()
    };
    let source = of("GitRepository");
    assert_eq!(
        source["metadata"]["source.toolkit.fluxcd.io/revision"],
        revision
    );
    assert_eq!(source["reportingController"], "source-controller");
    assert!(source["timestamp"].as_str().unwrap().ends_with('Z'));
    let kustomization = of("Kustomization");
    assert_eq!(
        kustomization["metadata"]["kustomize.toolkit.fluxcd.io/revision"],
        revision
    );
    assert_eq!(
        kustomization["metadata"]["event.toolkit.fluxcd.io/deploymentID"],
        "7"
    );
    assert_eq!(
        kustomization["involvedObject"]["apiVersion"],
        "kustomize.toolkit.fluxcd.io/v1"
    );
    // Each once: 429 is no failure.
    let mut bodies: Vec<&String> = heard.iter().map(|one| &one.body).collect();
    bodies.sort();
    bodies.dedup();
    assert_eq!(bodies.len(), heard.len());
    assert!(receiver.heard().is_empty());
    world.stop().await;

    // Left out altogether, nobody is told.
    let mut options = world.options();
    options.controllers.remove(&Controller::Notification);
    world.start_with(options).await;
    let count = flux.heard().len();
    let revision = push(&world, "two").await;
    world.applied("apps", &revision).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!((flux.heard().len(), receiver.heard().len()), (count, 0));
    world.stop().await;
}
