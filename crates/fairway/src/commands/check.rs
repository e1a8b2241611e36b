//! `fairway check`.

use std::time::Duration;

use fairway_types::Cluster;
use futures::StreamExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ListParams, PostParams};
use kube::{Client, ResourceExt as _};

use crate::args::{CheckArgs, Global};
use crate::exit::Outcome;
use crate::hub;
use crate::setup::{self, RunningFlux};

/// The oldest Kubernetes whose server-side apply and watches are known to do.
const MINIMUM_KUBERNETES: (u32, u32) = (1, 28);
/// Clusters that are asked at the same time.
const AT_ONCE: usize = 16;

/// What was found so far.
struct Report {
    failed: usize,
}

impl Report {
    fn part(title: &str) {
        println!("► {title}");
    }

    fn good(text: &str) {
        println!("✔ {text}");
    }

    fn note(text: &str) {
        println!("- {text}");
    }

    fn bad(&mut self, text: &str, hint: &str) {
        self.failed += 1;
        println!("✗ {text}");
        if !hint.is_empty() {
            println!("  hint: {hint}");
        }
    }
}

/// Looks at everything that Fairway needs, and says what is not so. Changes nothing.
pub(crate) async fn run(global: &Global, args: CheckArgs) -> anyhow::Result<Outcome> {
    let client = hub::client(global).await?;
    let mut report = Report { failed: 0 };
    Report::part("checking prerequisites");
    kubernetes(&client, &mut report, args.timeout).await?;
    git(&mut report).await;
    flux(&client, global, &mut report, args.pre).await?;
    if args.pre {
        permissions(&client, global, &mut report).await?;
    } else {
        Report::part("checking resource definitions");
        definitions(&client, &mut report).await?;
        Report::part("checking the controller");
        controller(&client, global, &mut report).await?;
        Report::part("checking clusters");
        clusters(&client, &mut report, args.timeout).await?;
    }
    if report.failed == 0 {
        println!("✔ all checks passed");
        Ok(Outcome::Done)
    } else {
        println!("✗ {} of the checks failed", report.failed);
        Ok(Outcome::NotSo)
    }
}

async fn kubernetes(client: &Client, report: &mut Report, limit: Duration) -> anyhow::Result<()> {
    let info = tokio::time::timeout(limit, client.apiserver_version())
        .await
        .map_err(|_| {
            anyhow::anyhow!("the API server did not answer within {} s", limit.as_secs())
        })??;
    let number = |text: &str| -> u32 {
        let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or(0)
    };
    let (major, minor) = (number(&info.major), number(&info.minor));
    let wanted = format!(">={}.{}", MINIMUM_KUBERNETES.0, MINIMUM_KUBERNETES.1);
    let text = format!("Kubernetes {} {wanted}", info.git_version);
    if (major, minor) >= MINIMUM_KUBERNETES {
        Report::good(&text);
    } else {
        report.bad(&format!("{text} is not so"), "upgrade the cluster first");
    }
    Ok(())
}

async fn git(report: &mut Report) {
    let (major, minor) = fairway_git::MINIMUM_GIT;
    match fairway_git::check_version().await {
        Ok(()) => Report::good(&format!("git >={major}.{minor}")),
        Err(error) => report.bad(&error.to_string(), ""),
    }
}

async fn flux(
    client: &Client,
    global: &Global,
    report: &mut Report,
    pre: bool,
) -> anyhow::Result<()> {
    let flux = RunningFlux::find(client, &global.namespace).await?;
    for (namespace, name) in &flux.instances {
        Report::note(&format!(
            "FluxInstance {namespace}/{name}: flux-operator keeps Flux as it says, and would scale it up again"
        ));
    }
    if !flux.is_running() {
        Report::good(
            "no other engine: Flux's source-controller and kustomize-controller don't run here",
        );
    } else if pre {
        report.bad(
            &format!("Flux runs here: {}", flux.words()),
            &format!("to take over, stop it: {}", flux.how_to_stop()),
        );
    } else {
        Report::note(&format!("Flux runs here: {}", flux.words()));
        Report::note(&format!("to hand over to Fairway: {}", flux.how_to_stop()));
    }
    Ok(())
}

/// What `fairway install` does needs these rights.
async fn permissions(client: &Client, global: &Global, report: &mut Report) -> anyhow::Result<()> {
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let mut denied = Vec::new();
    for (group, resource) in [
        ("apiextensions.k8s.io", "customresourcedefinitions"),
        ("rbac.authorization.k8s.io", "clusterroles"),
        ("rbac.authorization.k8s.io", "clusterrolebindings"),
        ("", "namespaces"),
        ("apps", "deployments"),
    ] {
        for verb in ["create", "patch"] {
            let review = SelfSubjectAccessReview {
                spec: SelfSubjectAccessReviewSpec {
                    resource_attributes: Some(ResourceAttributes {
                        group: Some(group.to_owned()),
                        resource: Some(resource.to_owned()),
                        verb: Some(verb.to_owned()),
                        namespace: (group == "apps").then(|| global.namespace.clone()),
                        ..ResourceAttributes::default()
                    }),
                    ..SelfSubjectAccessReviewSpec::default()
                },
                ..SelfSubjectAccessReview::default()
            };
            let answer = api.create(&PostParams::default(), &review).await?;
            if !answer.status.is_some_and(|status| status.allowed) {
                denied.push(format!("{verb} {resource}"));
            }
        }
    }
    if denied.is_empty() {
        Report::good("you may install");
    } else {
        report.bad(
            &format!("you may not {}", denied.join(", ")),
            "install as an administrator of the cluster, or give the output of `fairway install --export` to one",
        );
    }
    Ok(())
}

async fn definitions(client: &Client, report: &mut Report) -> anyhow::Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for wanted in setup::definitions() {
        let name = wanted["metadata"]["name"].as_str().unwrap_or_default();
        let version = wanted["spec"]["versions"][0]["name"]
            .as_str()
            .unwrap_or_default();
        let Some(found) = api.get_opt(name).await? else {
            report.bad(&format!("{name} is not defined"), "fairway install");
            continue;
        };
        let served: Vec<&str> = found
            .spec
            .versions
            .iter()
            .filter(|version| version.served)
            .map(|version| version.name.as_str())
            .collect();
        let old: Vec<&String> = found
            .status
            .iter()
            .flat_map(|status| status.stored_versions.iter().flatten())
            .filter(|stored| *stored != version)
            .collect();
        let text = format!("{name} serves {}", served.join(", "));
        if !served.contains(&version) {
            report.bad(&format!("{text}, not {version}"), "fairway install");
        } else if old.is_empty() {
            Report::good(&text);
        } else {
            report.bad(
                &format!("{text}, but has objects stored as {old:?}"),
                "fairway migrate rewrites them",
            );
        }
    }
    Ok(())
}

async fn controller(client: &Client, global: &Global, report: &mut Report) -> anyhow::Result<()> {
    let namespace = &global.namespace;
    let name = setup::CONTROLLER;
    let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    match api.get_opt(name).await? {
        None => Report::note(&format!(
            "Deployment {namespace}/{name} is not there: `fairway install` makes it, or run `fairway controller` yourself"
        )),
        Some(deployment) => {
            let wanted = deployment.spec.replicas.unwrap_or(1);
            let status = deployment.status.clone().unwrap_or_default();
            let available = status.available_replicas.unwrap_or(0);
            let image = deployment
                .spec
                .template
                .spec
                .and_then(|spec| spec.containers.into_iter().next())
                .and_then(|container| container.image)
                .unwrap_or_default();
            let text = format!(
                "Deployment {namespace}/{name}: {available}/{wanted} replicas available, {image}"
            );
            if wanted > 0 && available >= wanted {
                Report::good(&text);
            } else if wanted == 0 {
                Report::note(&format!("{text}: scaled down"));
            } else {
                report.bad(
                    &text,
                    &format!("kubectl -n {namespace} describe pods -l app={name}"),
                );
            }
        }
    }
    let mut leads = false;
    for (place, lease, holder) in setup::leases(client, namespace).await? {
        leads = true;
        Report::good(&format!("Lease {place}/{lease}: {holder} leads"));
    }
    if !leads {
        Report::note("nobody holds the Leases: no controller with leader election works here");
    }
    Ok(())
}

async fn clusters(client: &Client, report: &mut Report, limit: Duration) -> anyhow::Result<()> {
    let api: Api<Cluster> = Api::all(client.clone());
    let list = match api.list(&ListParams::default()).await {
        Ok(list) => list.items,
        Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    if list.is_empty() {
        Report::note("no cluster is registered; `fairway create cluster` does it");
    }
    let asked = list.into_iter().map(async |cluster| {
        let name = cluster.name_any();
        if cluster.spec.kube_config.is_none() {
            return (name, Ok("this cluster".to_owned()));
        }
        let answer = async {
            let connection = hub::registered(client, &cluster).await?;
            anyhow::Ok(connection.version().await?)
        };
        let answer = match tokio::time::timeout(limit, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(anyhow::anyhow!("no answer within {} s", limit.as_secs())),
        };
        (name, answer)
    });
    let mut answers: Vec<_> = futures::stream::iter(asked)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    answers.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, answer) in answers {
        match answer {
            Ok(version) => Report::good(&format!("{name}: {version}")),
            Err(error) => report.bad(
                &format!("{name}: {error:#}"),
                "is it up, and does its Secret hold a kubeconfig that is still good?",
            ),
        }
    }
    Ok(())
}
