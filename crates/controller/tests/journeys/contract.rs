//! Flux's contract of a Kustomization: what is said on the object and in events, row by row.

use std::collections::BTreeMap;
use std::time::Duration;

use fairway_controller::{Options, Profile};
use serde_json::{Value, json};

use crate::world::{HUB, NS, World, condition, config_map};

const GROUP: &str = "kustomize.toolkit.fluxcd.io";

fn is(object: &Value, kind: &str) -> (String, String, String) {
    let condition = condition(object, kind);
    let text = |key: &str| condition[key].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"), text("message"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_is_told_in_fluxs_words() {
    let mut world = World::new(&[]).await;
    let revision = world
        .push(&[("apps/a.yaml", Some(&config_map("a", "1")))])
        .await;
    world.source().await;
    world
        .kustomization("apps", "apps", json!({"wait": true}))
        .await;
    world.start().await;
    let object = world.applied("apps", &revision).await;
    assert_eq!(
        is(&object, "Ready"),
        (
            "True".into(),
            "ReconciliationSucceeded".into(),
            format!("Applied revision: {revision}")
        )
    );
    let (status, reason, message) = is(&object, "Healthy");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "Succeeded"));
    assert!(message.starts_with("Health check passed in "), "{message}");
    let status = &object["status"];
    for condition in status["conditions"].as_array().unwrap() {
        assert_eq!(
            condition["observedGeneration"],
            object["metadata"]["generation"]
        );
    }
    assert_eq!(
        status["observedGeneration"],
        object["metadata"]["generation"]
    );
    assert_eq!(status["lastAttemptedRevision"], revision);
    let history = &status["history"][0];
    assert_eq!(history["lastReconciledStatus"], "ReconciliationSucceeded");
    assert_eq!(history["totalReconciliations"], 1);
    assert!(history["digest"].as_str().unwrap().starts_with("sha256:"));

    let event = world
        .event("apps", |event| {
            event["message"] == "ConfigMap/default/a created"
        })
        .await;
    assert_eq!(
        (&event["type"], &event["reason"]),
        (&json!("Normal"), &json!("Progressing")),
        "the reason that Ready has at that moment"
    );
    assert_eq!(event["source"]["component"], "kustomize-controller");
    assert_eq!(
        event["metadata"]["annotations"][format!("{GROUP}/revision")],
        revision
    );
    let event = world
        .event("apps", |event| event["reason"] == "ReconciliationSucceeded")
        .await;
    let message = event["message"].as_str().unwrap();
    assert!(
        message.starts_with("Reconciliation finished in ")
            && message.ends_with(", next run in 10m0s"),
        "{message}"
    );
    let annotations = &event["metadata"]["annotations"];
    assert_eq!(annotations[format!("{GROUP}/revision")], revision);
    assert_eq!(annotations[format!("{GROUP}/commit_status")], "update");

    // A request is answered, counted and told even where there is nothing to do.
    world
        .annotate("apps", json!({"reconcile.fluxcd.io/requestedAt": "now"}))
        .await;
    let object = world
        .ready("Kustomization", "apps", |object, status, _, _| {
            status == "True" && object["status"]["lastHandledReconcileAt"] == "now"
        })
        .await;
    assert_eq!(object["status"]["history"][0]["totalReconciliations"], 2);
    assert_eq!(object["status"]["history"].as_array().unwrap().len(), 1);

    // Suspended, it does nothing and yet looks finished.
    world.change("apps", json!({"suspend": true})).await;
    world
        .annotate("apps", json!({"reconcile.fluxcd.io/requestedAt": "later"}))
        .await;
    let object = world
        .ready("Kustomization", "apps", |object, _, _, _| {
            object["status"]["lastHandledReconcileAt"] == "later"
        })
        .await;
    assert_eq!(
        object["status"]["observedGeneration"],
        object["metadata"]["generation"]
    );
    let next = world
        .push(&[("apps/a.yaml", Some(&config_map("a", "2")))])
        .await;
    world.source_at(&next).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(
        world.data(HUB, "default", "a", "key").await.as_deref(),
        Some("1")
    );
    // A suspended object never deletes, and goes all the same.
    world.delete(HUB, "Kustomization", NS, "apps").await;
    world.until_gone(HUB, "Kustomization", NS, "apps").await;
    assert_eq!(
        world.data(HUB, "default", "a", "key").await.as_deref(),
        Some("1")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_have_fluxs_reasons() {
    let mut world = World::new(&[]).await;
    let revision = world
        .push(&[
            ("ok/a.yaml", Some(&config_map("a", "1"))),
            ("vars/a.yaml", Some(&config_map("vars", "${missing}"))),
            ("bad/a.yaml", Some("a: [\n")),
            ("secret/a.yaml", Some("apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\n  namespace: default\nsops: {mac: x}\n")),
            ("label/a.yaml", Some("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: l\n  namespace: default\n  labels:\n    password: \"${password}\"\n")),
        ])
        .await;
    world.source().await;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "vars", "namespace": NS},
        "stringData": {"password": "hush hush !"},
    });
    world.apply(HUB, &secret).await;
    let from_secret =
        json!({"postBuild": {"substituteFrom": [{"kind": "Secret", "name": "vars"}]}});
    // name, path, more; then status of Stalled, reason, how the message begins, whether it was attempted
    let rows = [
        (
            "source",
            "ok",
            json!({"sourceRef": {"kind": "GitRepository", "name": "none"}}),
            "ArtifactFailed",
            "gitrepositories.source.toolkit.fluxcd.io \"none\" not found",
            false,
        ),
        (
            "path",
            "none",
            json!({}),
            "ArtifactFailed",
            "kustomization path not found: ",
            false,
        ),
        ("build", "bad", json!({}), "BuildFailed", "", true),
        (
            "strict",
            "vars",
            json!({"postBuild": {"substitute": {"x": "y"}}}),
            "BuildFailed",
            "post build failed for 'ConfigMap/default/vars': ",
            true,
        ),
        (
            "map",
            "ok",
            json!({"postBuild": {"substituteFrom": [{"kind": "ConfigMap", "name": "none"}]}}),
            "BuildFailed",
            "substitute from 'ConfigMap/none' error: configmaps \"none\" not found",
            false,
        ),
        (
            "encrypted",
            "secret",
            json!({}),
            "ReconciliationFailed",
            "Secret/default/s is SOPS encrypted, configuring decryption is required for this secret to be reconciled",
            true,
        ),
        (
            "refused",
            "label",
            from_secret,
            "ReconciliationFailed",
            "",
            true,
        ),
        (
            "kubeconfig",
            "ok",
            json!({"kubeConfig": {"secretRef": {"name": "none"}}}),
            "ReconciliationFailed",
            "failed to build kube client: unable to read KubeConfig secret 'flux-system/none' error: ",
            false,
        ),
        (
            "dependency",
            "ok",
            json!({"dependsOn": [{"name": "none"}]}),
            "DependencyNotReady",
            "dependency 'flux-system/none' not found: kustomizations.kustomize.toolkit.fluxcd.io \"none\" not found",
            false,
        ),
        (
            "current",
            "ok",
            json!({"healthCheckExprs": [{"apiVersion": "v1", "kind": "ConfigMap", "current": "data."}]}),
            "InvalidCELExpression",
            "Reconciliation failed terminally due to configuration error: ",
            false,
        ),
        (
            "ready",
            "ok",
            json!({"dependsOn": [{"name": "good", "readyExpr": "dep."}]}),
            "InvalidCELExpression",
            "Reconciliation failed terminally due to configuration error: terminal error: failed to evaluate dependency good: ",
            false,
        ),
        (
            "cloud",
            "ok",
            json!({"kubeConfig": {"configMapRef": {"name": "cloud"}}}),
            "ReconciliationFailed",
            "kubeConfig configmap flux-system/cloud: provider 'aws' is not supported here",
            false,
        ),
        (
            "sops",
            "ok",
            json!({"decryption": {"provider": "sops"}}),
            "UnsupportedField",
            "spec.decryption",
            false,
        ),
    ];
    let cloud = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cloud", "namespace": NS},
        "data": {"provider": "aws", "cluster": "arn:aws:eks:x"},
    });
    world.apply(HUB, &cloud).await;
    world.kustomization("good", "ok", json!({})).await;
    for (name, path, more, ..) in &rows {
        let mut more = more.clone();
        more["retryInterval"] = json!("1h");
        world.kustomization(name, path, more).await;
    }
    world.start().await;
    world.applied("good", &revision).await;
    for (name, _, _, reason, message, attempted) in rows {
        let object = world
            .ready("Kustomization", name, |_, status, found, text| {
                status == "False" && found == reason && text.starts_with(message)
            })
            .await;
        let terminal =
            ["InvalidCELExpression", "UnsupportedField"].contains(&reason) || name == "cloud";
        assert_eq!(
            is(&object, "Stalled").0 == "True",
            terminal,
            "{name}: {}",
            object["status"]
        );
        if terminal {
            assert_eq!(
                object["status"]["observedGeneration"],
                object["metadata"]["generation"]
            );
        } else {
            assert_eq!(
                object["status"]["observedGeneration"],
                Value::Null,
                "{name}"
            );
        }
        let was = object["status"]["lastAttemptedRevision"] == revision;
        assert_eq!(was, attempted, "{name}: {}", object["status"]);
        assert_eq!(object["status"]["lastAppliedRevision"], Value::Null);
        assert!(!object.to_string().contains("hush hush"), "{object}");
        if name == "source" {
            continue; // said on the object alone
        }
        let event = world.event(name, |event| event["reason"] == reason).await;
        let kind = if name == "dependency" {
            "Normal"
        } else {
            "Warning"
        };
        assert_eq!(event["type"], kind, "{name}");
        assert!(!event.to_string().contains("hush hush"), "{event}");
        if attempted || name == "dependency" || name == "ready" {
            let annotations = &event["metadata"]["annotations"];
            assert_eq!(annotations[format!("{GROUP}/revision")], revision, "{name}");
        }
        if name == "dependency" {
            assert_eq!(
                event["message"],
                "Dependencies do not meet ready condition, retrying in 30s"
            );
        }
    }
    let refused = world
        .get(HUB, "Kustomization", NS, "refused")
        .await
        .unwrap();
    assert!(is(&refused, "Ready").2.contains("*****"), "{refused}");
    assert_eq!(
        refused["status"]["history"][0]["lastReconciledStatus"],
        "ReconciliationFailed"
    );
    let built = world.get(HUB, "Kustomization", NS, "build").await.unwrap();
    assert_eq!(
        built["status"]["history"],
        Value::Null,
        "there is no digest"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn expressions_say_what_is_ready_and_what_is_healthy() {
    let definition = r"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: lamps.example.com}
spec:
  group: example.com
  names: {kind: Lamp, plural: lamps, singular: lamp}
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";
    let mut world = World::new(&[]).await;
    let lamp = "apiVersion: example.com/v1\nkind: Lamp\nmetadata: {name: red, namespace: default}\nspec: {on: true}\n";
    let revision = world
        .push(&[
            ("lamps/definition.yaml", Some(definition)),
            ("lamps/red.yaml", Some(lamp)),
            ("apps/a.yaml", Some(&config_map("a", "1"))),
        ])
        .await;
    world.source().await;
    let health = json!({
        "wait": true, "timeout": "1m",
        "healthCheckExprs": [{
            "apiVersion": "example.com/v1", "kind": "Lamp",
            "inProgress": "!has(spec.light)",
            "failed": "has(spec.light) && spec.light == 'broken'",
            "current": "has(spec.light) && spec.light == 'shines'",
        }],
    });
    world.kustomization("lamps", "lamps", health).await;
    let depends = json!({"dependsOn": [{
        "name": "lamps",
        "readyExpr": "has(dep.metadata.annotations) && dep.metadata.annotations['example.com/go'] == self.metadata.name",
    }]});
    world.kustomization("apps", "apps", depends).await;
    world.start().await;
    let object = world
        .ready("Kustomization", "lamps", |object, status, _, _| {
            status == "Unknown"
                && condition(object, "Reconciling")["message"]
                    .as_str()
                    .is_some_and(|message| message.contains("waiting for Lamp/default/red"))
        })
        .await;
    assert_eq!(is(&object, "Healthy").0, "Unknown");
    world
        .ready("Kustomization", "apps", |_, status, reason, message| {
            status == "False" && reason == "DependencyNotReady" && !message.is_empty()
        })
        .await;
    // The expression takes the place of the built-in check: the dependency need not be ready.
    world
        .annotate("lamps", json!({"example.com/go": "apps"}))
        .await;
    world.applied("apps", &revision).await;

    let light = |light: &str| {
        json!({
            "apiVersion": "example.com/v1", "kind": "Lamp",
            "metadata": {"name": "red", "namespace": "default"}, "spec": {"light": light},
        })
    };
    world.apply(HUB, &light("broken")).await;
    world
        .ready(
            "Kustomization",
            "lamps",
            |object, status, reason, message| {
                status == "False"
                    && reason == "HealthCheckFailed"
                    && message.contains("Lamp/default/red")
                    && is(object, "Healthy").1 == "HealthCheckFailed"
            },
        )
        .await;
    world.apply(HUB, &light("shines")).await;
    world.applied("lamps", &revision).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_revision_ends_the_wait_for_health() {
    let deployment = |image: &str| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web, namespace: default}}\nspec:\n  \
             selector: {{matchLabels: {{app: web}}}}\n  template:\n    metadata: {{labels: {{app: web}}}}\n    \
             spec: {{containers: [{{name: web, image: {image}}}]}}\n"
        )
    };
    let mut world = World::new(&[]).await;
    let missing = json!({"healthChecks": [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "by-hand", "namespace": "default"},
    ]});
    world
        .push(&[("web/web.yaml", Some(&deployment("web:1")))])
        .await;
    world.source().await;
    world.kustomization("web", "web", missing).await;
    world.start().await;
    world
        .ready("Kustomization", "web", |object, status, _, _| {
            status == "Unknown" && is(object, "Healthy").0 == "Unknown"
        })
        .await;
    let second = world
        .push(&[("web/web.yaml", Some(&deployment("web:2")))])
        .await;
    let event = world
        .event("web", |event| event["reason"] == "HealthCheckCanceled")
        .await;
    assert_eq!(
        event["message"],
        "Health checks canceled due to new reconciliation triggered by GitRepository/flux-system/fleet"
    );
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "by-hand", "namespace": "default"}});
    world.apply(HUB, &map).await;
    world.applied("web", &second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_does_what_the_policy_says() {
    let mut world = World::new(&[]).await;
    // policy, prune, whether the object outlives the Kustomization
    let rows = [
        ("mirror", json!({"prune": true}), false),
        ("mirrored", json!({"prune": false}), true),
        (
            "delete",
            json!({"prune": false, "deletionPolicy": "Delete"}),
            false,
        ),
        (
            "wait",
            json!({"prune": false, "deletionPolicy": "WaitForTermination"}),
            false,
        ),
        (
            "orphan",
            json!({"prune": true, "deletionPolicy": "Orphan"}),
            true,
        ),
    ];
    let files: Vec<(String, String)> = rows
        .iter()
        .map(|(name, ..)| (format!("{name}/a.yaml"), config_map(name, "1")))
        .collect();
    let files: Vec<(&str, Option<&str>)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), Some(text.as_str())))
        .collect();
    let revision = world.push(&files).await;
    world.source().await;
    for (name, more, _) in &rows {
        world.kustomization(name, name, more.clone()).await;
    }
    world.start().await;
    for (name, ..) in &rows {
        world.applied(name, &revision).await;
        world.delete(HUB, "Kustomization", NS, name).await;
    }
    for (name, _, stays) in rows {
        world.until_gone(HUB, "Kustomization", NS, name).await;
        if stays {
            assert!(
                world.get(HUB, "ConfigMap", "default", name).await.is_some(),
                "{name}"
            );
        } else {
            world.until_gone(HUB, "ConfigMap", "default", name).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_config_map_reconciles_its_users_at_once() {
    let mut world = World::new(&[]).await;
    let revision = world
        .push(&[("apps/a.yaml", Some(&config_map("a", "${value:=none}")))])
        .await;
    world.source().await;
    let vars = |labels: Value, value: &str| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "vars", "namespace": NS, "labels": labels},
            "data": {"value": value},
        })
    };
    world.apply(HUB, &vars(json!({}), "one")).await;
    let from = json!({"postBuild": {
        "substitute": {"other": "x"}, "substituteFrom": [{"kind": "ConfigMap", "name": "vars"}],
    }});
    world.kustomization("apps", "apps", from).await;
    world.start().await;
    world.applied("apps", &revision).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.apply(HUB, &vars(json!({}), "two")).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(
        world.data(HUB, "default", "a", "key").await.as_deref(),
        Some("one")
    );
    let labels = json!({"reconcile.fluxcd.io/watch": "Enabled"});
    world.apply(HUB, &vars(labels, "three")).await;
    world.until_data(HUB, "default", "a", "key", "three").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fields_that_shape_the_build_do() {
    let mut world = World::new(&[]).await;
    let component = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\ncommonAnnotations: {component: there}\n";
    let revision = world
        .push(&[
            ("apps/a.yaml", Some("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  key: \"${upper^^} $${x}\"\n  image: nothing\n")),
            ("parts/one/kustomization.yaml", Some(component)),
            ("failing/delete.yaml", Some(&config_map("b", "1"))),
        ])
        .await;
    world.source().await;
    let more = json!({
        "targetNamespace": "default", "namePrefix": "pre-", "nameSuffix": "-post",
        "commonMetadata": {"labels": {"common": "label"}, "annotations": {"common": "annotation"}},
        "components": ["../parts/one", "../parts/none"], "ignoreMissingComponents": true,
        "buildMetadata": ["originAnnotations"],
        "patches": [{"patch": "- {op: add, path: /data/patched, value: \"yes\"}", "target": {"kind": "ConfigMap"}}],
        "postBuild": {"substitute": {"upper": "loud"}},
    });
    world.kustomization("apps", "apps", more).await;
    world.start().await;
    world.applied("apps", &revision).await;
    let found = world
        .get(HUB, "ConfigMap", "default", "pre-a-post")
        .await
        .unwrap();
    assert_eq!(found["data"]["key"], "LOUD ${x}");
    assert_eq!(found["data"]["patched"], "yes");
    assert_eq!(found["metadata"]["labels"]["common"], "label");
    let annotations = &found["metadata"]["annotations"];
    assert_eq!(annotations["common"], "annotation");
    assert_eq!(annotations["component"], "there");
    assert!(
        annotations["config.kubernetes.io/origin"]
            .as_str()
            .is_some_and(|origin| origin.contains("a.yaml")),
        "{annotations}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_account_that_deletes_may_be_gone() {
    let mut world = World::new(&[]).await;
    let revision = world
        .push(&[("apps/a.yaml", Some(&config_map("a", "1")))])
        .await;
    world.source().await;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "team", "namespace": NS}});
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "team"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "team", "namespace": NS}],
    });
    world.apply(HUB, &account).await;
    world.apply(HUB, &binding).await;
    world
        .kustomization("apps", "apps", json!({"serviceAccountName": "team"}))
        .await;
    world
        .start_with(Options::new(world.folder(), Profile::Flux))
        .await;
    world.applied("apps", &revision).await;
    world.delete(HUB, "ServiceAccount", NS, "team").await;
    world.delete(HUB, "Kustomization", NS, "apps").await;
    world.until_gone(HUB, "Kustomization", NS, "apps").await;
    assert!(world.get(HUB, "ConfigMap", "default", "a").await.is_some());
    let event = world
        .event("apps", |event| event["type"] == "Warning")
        .await;
    let message = event["message"].as_str().unwrap();
    assert!(
        message.starts_with("unable to prune objects: \nConfigMap/default/a"),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_trusts_the_hubs_tokens_needs_no_kubeconfig() {
    let mut world = World::new(&[]).await;
    let revision = world
        .push(&[("apps/a.yaml", Some(&config_map("a", "1")))])
        .await;
    world.source().await;
    // The hub trusts its own tokens, so it stands for the cluster.
    let (address, authority) = (
        world.server.url(HUB).unwrap(),
        world.server.authority().to_owned(),
    );
    let map = |account: &str| {
        let mut data = BTreeMap::from([
            ("provider", "generic".to_owned()),
            ("address", address.clone()),
            ("ca.crt", authority.clone()),
            (
                "audiences",
                "https://kubernetes.default.svc.cluster.local\n".to_owned(),
            ),
        ]);
        data.insert("serviceAccountName", account.to_owned());
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "east", "namespace": NS}, "data": data})
    };
    world.apply(HUB, &map("")).await;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "team", "namespace": NS}});
    world.apply(HUB, &account).await;
    let reference = json!({"kubeConfig": {"configMapRef": {"name": "east"}}});
    world.kustomization("apps", "apps", reference.clone()).await;
    let cluster = json!({
        "apiVersion": "fleet.fairway.dev/v1alpha1", "kind": "Cluster",
        "metadata": {"name": "east", "namespace": NS}, "spec": reference,
    });
    world.apply(HUB, &cluster).await;
    world.start().await;
    // An empty account must not be taken for "as the controller".
    world
        .ready("Kustomization", "apps", |object, status, _, message| {
            status == "False"
                && message.contains("serviceAccountName is empty")
                && is(object, "Stalled").0 == "True"
        })
        .await;
    // The corrected ConfigMap is seen at once; the token is the account's own, so it has the account's rights.
    world.apply(HUB, &map("team")).await;
    world
        .ready("Kustomization", "apps", |_, status, _, message| {
            status == "False" && message.contains("system:serviceaccount:flux-system:team")
        })
        .await;
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "team"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "team", "namespace": NS}],
    });
    world.apply(HUB, &binding).await;
    world.applied("apps", &revision).await;
    world
        .ready("Cluster", "east", |_, status, _, _| status == "True")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_flux_is_asked_in_its_own_version() {
    // A hub whose definitions have v1beta2 alone.
    let mut definitions = fairway_types::crds();
    for definition in &mut definitions {
        let group = definition["spec"]["group"].as_str().unwrap_or_default();
        if group.ends_with(".toolkit.fluxcd.io") {
            definition["spec"]["versions"][0]["name"] = json!("v1beta2");
        }
    }
    let mut world = World::with_definitions(&[], &definitions).await;
    let revision = world
        .push(&[("apps/a.yaml", Some(&config_map("a", "1")))])
        .await;
    let source = json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1beta2", "kind": "GitRepository",
        "metadata": {"name": "fleet", "namespace": NS},
        "spec": {"interval": "10m", "url": world.git.url(), "ref": {"branch": "main"}},
    });
    world.apply(HUB, &source).await;
    let apps = json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1beta2", "kind": "Kustomization",
        "metadata": {"name": "apps", "namespace": NS},
        "spec": {"interval": "10m", "prune": true, "path": "apps", "sourceRef": {"kind": "GitRepository", "name": "fleet"}},
    });
    world.apply(HUB, &apps).await;
    world.start().await;
    let object = world.applied("apps", &revision).await;
    assert_eq!(object["apiVersion"], "kustomize.toolkit.fluxcd.io/v1beta2");
    let next = world
        .push(&[("apps/a.yaml", Some(&config_map("a", "2")))])
        .await;
    world.applied("apps", &next).await;
    world.delete(HUB, "Kustomization", NS, "apps").await;
    world.until_gone(HUB, "ConfigMap", "default", "a").await;
    world.until_gone(HUB, "Kustomization", NS, "apps").await;
}
