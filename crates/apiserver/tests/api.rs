//! The API as a client library sees it: watches, pages, faults, persistence, identities.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use fairway_apiserver::{Config, FaultSpec, MANAGEMENT, Server};
use futures::{AsyncBufReadExt, StreamExt, TryStreamExt};
use http::Request;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config as ClientConfig};
use serde_json::{Value, json};

async fn start(clusters: &[&str]) -> Server {
    Server::start(Config {
        clusters: clusters.iter().map(|name| (*name).to_owned()).collect(),
        rollout_delay: Duration::from_millis(20),
        ..Config::default()
    })
    .await
    .unwrap()
}

async fn client(server: &Server, cluster: &str) -> Client {
    let config = Kubeconfig::from_yaml(&server.kubeconfig_for(cluster).unwrap()).unwrap();
    let mut config = ClientConfig::from_custom_kubeconfig(config, &KubeConfigOptions::default())
        .await
        .unwrap();
    // No retries behind our back: the tests count failures.
    config.read_timeout = Some(Duration::from_secs(10));
    Client::try_from(config).unwrap()
}

fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Request<Vec<u8>> {
    let mut builder = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "content-type") {
        builder = builder.header("content-type", "application/json");
    }
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    let bytes = if body.is_null() {
        Vec::new()
    } else {
        body.to_string().into_bytes()
    };
    builder.body(bytes).unwrap()
}

/// The answer, or the status code and message of the failure.
async fn call(
    client: &Client,
    method: &str,
    path: &str,
    body: Value,
) -> Result<Value, (u16, String)> {
    with_headers(client, method, path, &[], body).await
}

async fn with_headers(
    client: &Client,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Value,
) -> Result<Value, (u16, String)> {
    let answer = client.request(request(method, path, headers, &body));
    match tokio::time::timeout(Duration::from_secs(5), answer).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(kube::Error::Api(status))) => Err((status.code, status.message.clone())),
        Ok(Err(error)) => Err((0, error.to_string())),
        Err(elapsed) => Err((0, elapsed.to_string())),
    }
}

fn config_map(name: &str, labels: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}})
}

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Reads that many lines of a watch.
async fn lines(client: &Client, path: &str, count: usize) -> Vec<Value> {
    let stream = client
        .request_stream(request("GET", path, &[], &Value::Null))
        .await
        .unwrap();
    let lines = stream.lines().take(count).try_collect::<Vec<String>>();
    let lines = tokio::time::timeout(Duration::from_secs(10), lines)
        .await
        .unwrap()
        .unwrap();
    lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn kinds(events: &[Value]) -> Vec<(&str, &str)> {
    events
        .iter()
        .map(|event| {
            (
                event["type"].as_str().unwrap(),
                event["object"]["metadata"]["name"]
                    .as_str()
                    .unwrap_or_default(),
            )
        })
        .collect()
}

#[tokio::test]
async fn ten_clusters_start_in_well_under_a_second() {
    let names: Vec<String> = (0..10).map(|n| format!("cluster-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    // What is shared by all clusters is made once, outside the clock.
    let first = start(&["warm"]).await;
    let started = Instant::now();
    let server = start(&names).await;
    assert!(
        started.elapsed() < Duration::from_secs(1),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(server.names().len(), 10);
    drop(first);
}

#[tokio::test]
async fn a_watch_shows_what_its_selector_shows() {
    let server = start(&["dev"]).await;
    let client = client(&server, "dev").await;
    call(&client, "POST", MAPS, config_map("a", json!({"on": "yes"})))
        .await
        .unwrap();
    call(&client, "POST", MAPS, config_map("b", json!({})))
        .await
        .unwrap();
    let path = format!("{MAPS}?watch=true&labelSelector=on%3Dyes&timeoutSeconds=5");
    let changes = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let patch = [("content-type", "application/merge-patch+json")];
        for (name, labels) in [("b", json!({"on": "yes"})), ("a", json!({"on": null}))] {
            let body = json!({"metadata": {"labels": labels}});
            with_headers(&client, "PATCH", &format!("{MAPS}/{name}"), &patch, body)
                .await
                .unwrap();
        }
        call(&client, "DELETE", &format!("{MAPS}/b"), Value::Null)
            .await
            .unwrap();
    };
    let (events, ()) = tokio::join!(lines(&client, &path, 4), changes);
    assert_eq!(
        kinds(&events),
        [
            ("ADDED", "a"),
            ("ADDED", "b"),
            ("DELETED", "a"),
            ("DELETED", "b")
        ]
    );
}

#[tokio::test]
async fn lists_can_be_streamed_and_resumed() {
    let server = start(&["dev"]).await;
    let client = client(&server, "dev").await;
    for name in ["a", "b"] {
        call(&client, "POST", MAPS, config_map(name, json!({})))
            .await
            .unwrap();
    }
    let stream = format!(
        "{MAPS}?watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&fieldSelector=metadata.name!%3Dkube-root-ca.crt"
    );
    let events = lines(&client, &stream, 3).await;
    assert_eq!(
        kinds(&events),
        [("ADDED", "a"), ("ADDED", "b"), ("BOOKMARK", "")]
    );
    let bookmark = &events[2]["object"]["metadata"];
    assert_eq!(bookmark["annotations"]["k8s.io/initial-events-end"], "true");
    let revision = bookmark["resourceVersion"].as_str().unwrap();
    call(&client, "POST", MAPS, config_map("c", json!({})))
        .await
        .unwrap();
    let resumed = lines(
        &client,
        &format!("{MAPS}?watch=true&resourceVersion={revision}"),
        1,
    )
    .await;
    assert_eq!(kinds(&resumed), [("ADDED", "c")]);

    let refused = call(
        &client,
        "GET",
        &format!("{MAPS}?watch=true&sendInitialEvents=true"),
        Value::Null,
    )
    .await;
    assert_eq!(refused.unwrap_err().0, 422);
}

#[tokio::test]
async fn history_ends_with_410() {
    let server = start(&["dev"]).await;
    let client = client(&server, "dev").await;
    let created = call(&client, "POST", MAPS, config_map("a", json!({})))
        .await
        .unwrap();
    let old = created["metadata"]["resourceVersion"].as_str().unwrap();
    let patch = [("content-type", "application/merge-patch+json")];
    for n in 0..1100 {
        let body = json!({"data": {"n": n.to_string()}});
        with_headers(&client, "PATCH", &format!("{MAPS}/a"), &patch, body)
            .await
            .unwrap();
    }
    let events = lines(
        &client,
        &format!("{MAPS}?watch=true&resourceVersion={old}"),
        1,
    )
    .await;
    assert_eq!(events[0]["type"], "ERROR");
    assert_eq!(
        (
            events[0]["object"]["code"].as_u64(),
            &events[0]["object"]["reason"]
        ),
        (Some(410), &json!("Expired"))
    );
}

#[tokio::test]
async fn lists_come_in_pages_that_fit_together() {
    let server = start(&["dev"]).await;
    let client = client(&server, "dev").await;
    for n in 0..7 {
        call(
            &client,
            "POST",
            MAPS,
            config_map(&format!("m{n}"), json!({"page": "yes"})),
        )
        .await
        .unwrap();
    }
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let path = format!("{MAPS}?labelSelector=page&limit=3&continue={token}");
        let page = call(&client, "GET", &path, Value::Null).await.unwrap();
        seen.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|o| o["metadata"]["name"].clone()),
        );
        // A deletion between the pages is not seen: the list is of one moment.
        let _ = call(&client, "DELETE", &format!("{MAPS}/m6"), Value::Null).await;
        match page["metadata"]["continue"].as_str() {
            Some(next) => next.clone_into(&mut token),
            None => break,
        }
    }
    assert_eq!(seen, ["m0", "m1", "m2", "m3", "m4", "m5", "m6"]);
}

#[tokio::test]
async fn writes_that_change_nothing_spend_no_revision() {
    let server = start(&["dev"]).await;
    let client = client(&server, "dev").await;
    let created = call(&client, "POST", MAPS, config_map("a", json!({"x": "y"})))
        .await
        .unwrap();
    let again = call(&client, "PUT", &format!("{MAPS}/a"), created.clone())
        .await
        .unwrap();
    assert_eq!(created, again);
    let stale = {
        let mut stale = created.clone();
        stale["metadata"]["resourceVersion"] = "1".into();
        call(&client, "PUT", &format!("{MAPS}/a"), stale)
            .await
            .unwrap_err()
    };
    assert_eq!(stale.0, 409);
    assert!(
        stale.1.contains(
            "the object has been modified; please apply your changes to the latest version"
        )
    );
    let dry = call(
        &client,
        "DELETE",
        &format!("{MAPS}/a?dryRun=All"),
        Value::Null,
    )
    .await;
    assert!(dry.is_ok());
    assert!(
        call(&client, "GET", &format!("{MAPS}/a"), Value::Null)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn clients_choose_the_shape_of_answers() {
    let server = start(&["dev"]).await;
    let client = client(&server, "dev").await;
    call(
        &client,
        "POST",
        MAPS,
        json!({"metadata": {"name": "a"}, "data": {"k": "v"}}),
    )
    .await
    .unwrap();
    let meta = [(
        "accept",
        "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
    )];
    let object = with_headers(&client, "GET", &format!("{MAPS}/a"), &meta, Value::Null)
        .await
        .unwrap();
    assert_eq!(
        (&object["kind"], &object["data"]),
        (&json!("PartialObjectMetadata"), &Value::Null)
    );
    let list = [(
        "accept",
        "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
    )];
    let list = with_headers(&client, "GET", MAPS, &list, Value::Null)
        .await
        .unwrap();
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    let proto = [("accept", "application/vnd.kubernetes.protobuf")];
    let refused = with_headers(&client, "GET", MAPS, &proto, Value::Null)
        .await
        .unwrap_err();
    assert_eq!(refused.0, 406);
    let aggregated = [(
        "accept",
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
    )];
    let groups = with_headers(&client, "GET", "/apis", &aggregated, Value::Null)
        .await
        .unwrap();
    assert_eq!(groups["kind"], "APIGroupDiscoveryList");
}

#[tokio::test]
async fn outages_are_real() {
    let server = start(&[MANAGEMENT, "dev"]).await;
    let dev = client(&server, "dev").await;
    let management = client(&server, MANAGEMENT).await;
    let faults = server.faults("dev").unwrap();
    let get = || call(&dev, "GET", MAPS, Value::Null);
    assert!(get().await.is_ok());

    faults.status(500, None);
    assert_eq!(get().await.unwrap_err().0, 500);
    faults.clear();
    faults.latency(Duration::from_millis(200));
    let started = Instant::now();
    assert!(get().await.is_ok());
    assert!(started.elapsed() >= Duration::from_millis(200));

    let url = "/simulator/clusters/dev/faults";
    let set = call(&management, "PUT", url, json!({"refuse": true}))
        .await
        .unwrap();
    assert_eq!(
        set,
        json!(FaultSpec {
            refuse: true,
            ..FaultSpec::default()
        })
    );
    tokio::time::sleep(Duration::from_millis(100)).await;
    let address = server.url("dev").unwrap();
    let address = address.strip_prefix("https://").unwrap();
    let refused = tokio::net::TcpStream::connect(address).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(get().await.unwrap_err().0, 0);
    call(&management, "DELETE", url, Value::Null).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(get().await.is_ok());

    faults.black_hole(true);
    assert!(
        tokio::time::timeout(Duration::from_millis(300), get())
            .await
            .is_err()
    );
    faults.clear();
    assert!(get().await.is_ok());
    assert!(
        server.request_counts("dev").unwrap()[&("list".to_owned(), "configmaps".to_owned())] >= 5
    );
    // Only the management cluster steers.
    assert_eq!(
        call(&dev, "GET", url, Value::Null).await.unwrap_err().0,
        404
    );
}

#[tokio::test]
async fn a_cluster_comes_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        clusters: vec!["dev".into()],
        data_dir: Some(folder.path().to_owned()),
        ..Config::default()
    };
    let server = Server::start(config.clone()).await.unwrap();
    let kubeconfig = server.kubeconfig();
    let dev = client(&server, "dev").await;
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.org"},
        "spec": {"group": "example.org", "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]},
    });
    call(
        &dev,
        "POST",
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        crd,
    )
    .await
    .unwrap();
    let widgets = "/apis/example.org/v1/namespaces/default/widgets";
    let widget =
        json!({"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": "one"}});
    let made = call(&dev, "POST", widgets, widget).await.unwrap();
    let twice = Server::start(config.clone()).await.unwrap_err();
    assert!(
        twice.to_string().contains("in use by another process"),
        "{twice}"
    );
    server.shutdown().await.unwrap();

    let server = Server::start(config).await.unwrap();
    assert_eq!(
        server.kubeconfig(),
        kubeconfig,
        "same port, same authority, same token"
    );
    let dev = client(&server, "dev").await;
    let found = call(&dev, "GET", &format!("{widgets}/one"), Value::Null)
        .await
        .unwrap();
    assert_eq!(found, made);
    let next = call(&dev, "POST", MAPS, config_map("next", json!({})))
        .await
        .unwrap();
    let revision = |object: &Value| {
        object["metadata"]["resourceVersion"]
            .as_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    assert!(revision(&next) > revision(&made));
}

#[tokio::test]
async fn service_accounts_and_impersonation_are_judged() {
    let server = start(&["dev"]).await;
    let admin = client(&server, "dev").await;
    let account = json!({"metadata": {"name": "robot"}});
    call(
        &admin,
        "POST",
        "/api/v1/namespaces/default/serviceaccounts",
        account,
    )
    .await
    .unwrap();
    let token = call(
        &admin,
        "POST",
        "/api/v1/namespaces/default/serviceaccounts/robot/token",
        json!({"spec": {}}),
    )
    .await
    .unwrap();
    let bearer = format!("Bearer {}", token["status"]["token"].as_str().unwrap());
    let robot = [("impersonate-user", "system:serviceaccount:default:robot")];
    let (code, message) = with_headers(&admin, "GET", "/api/v1/nodes", &robot, Value::Null)
        .await
        .unwrap_err();
    assert_eq!(code, 403);
    assert_eq!(
        message,
        "nodes is forbidden: User \"system:serviceaccount:default:robot\" cannot list resource \"nodes\" in API group \"\" at the cluster scope"
    );
    // The token is of the same user, and may not impersonate anybody.
    let http = reqwest_like(&server, "dev").await;
    let jane = [
        ("authorization", bearer.as_str()),
        ("impersonate-user", "jane"),
    ];
    let (code, message) = with_headers(&http, "GET", MAPS, &jane, Value::Null)
        .await
        .unwrap_err();
    assert_eq!(code, 403);
    assert!(
        message.contains("cannot impersonate resource \"users\""),
        "{message}"
    );
    let wrong = [("authorization", "Bearer nonsense")];
    assert_eq!(
        with_headers(&http, "GET", MAPS, &wrong, Value::Null)
            .await
            .unwrap_err()
            .0,
        401
    );
}

/// A client without credentials of its own.
async fn reqwest_like(server: &Server, cluster: &str) -> Client {
    let mut config = Kubeconfig::from_yaml(&server.kubeconfig_for(cluster).unwrap()).unwrap();
    for user in &mut config.auth_infos {
        user.auth_info = Some(kube::config::AuthInfo::default());
    }
    let config = ClientConfig::from_custom_kubeconfig(config, &KubeConfigOptions::default())
        .await
        .unwrap();
    Client::try_from(config).unwrap()
}

#[tokio::test]
async fn unknown_kinds_are_accepted_where_asked_for() {
    let server = Server::start(Config {
        clusters: vec![MANAGEMENT.into()],
        schemaless_unknown: true,
        ..Config::default()
    })
    .await
    .unwrap();
    let client = client(&server, MANAGEMENT).await;
    let path =
        "/apis/helm.toolkit.fluxcd.io/v2/namespaces/default/helmreleases/app?fieldManager=test";
    let release = json!({"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
        "metadata": {"name": "app"}, "spec": {"chart": {"spec": {"chart": "app"}}}});
    let apply = [("content-type", "application/apply-patch+yaml")];
    let made = with_headers(&client, "PATCH", path, &apply, release.clone())
        .await
        .unwrap();
    let again = with_headers(&client, "PATCH", path, &apply, release)
        .await
        .unwrap();
    assert_eq!(made, again);
    let kind = json!({"group": "example.org", "version": "v1", "kind": "Thing", "plural": "things", "namespaced": false});
    call(
        &client,
        "POST",
        "/simulator/clusters/management/kinds",
        kind,
    )
    .await
    .unwrap();
    let found = call(&client, "GET", "/apis/example.org/v1", Value::Null)
        .await
        .unwrap();
    assert_eq!(found["resources"][0]["name"], "things");
}

#[tokio::test]
async fn events_have_two_apis_and_one_store() {
    let server = start(&["dev"]).await;
    let client = client(&server, "dev").await;
    let event = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e", "namespace": "default"},
        "regarding": {"kind": "Pod", "name": "web", "namespace": "default"}, "reason": "Pulled", "note": "done",
        "type": "Normal", "action": "Pull", "reportingController": "test", "reportingInstance": "t",
        "eventTime": "2026-01-01T00:00:00.000000Z",
    });
    call(
        &client,
        "POST",
        "/apis/events.k8s.io/v1/namespaces/default/events",
        event,
    )
    .await
    .unwrap();
    let path = "/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Dweb%2Creason%3DPulled";
    let found = call(&client, "GET", path, Value::Null).await.unwrap();
    assert_eq!(found["items"][0]["message"], "done");
}
