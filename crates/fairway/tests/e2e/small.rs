//! A repository for one cluster, small enough to converge at once.

use fairway_testkit::GitServer;

/// A repository for one cluster, in the reference layout: a Deployment with this image. Its objects name a URL far away.
pub(crate) async fn small_repository(image: &str) -> GitServer {
    let git = GitServer::start("small").await.unwrap();
    let hub = "\
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: flux-system, namespace: flux-system}
spec: {interval: 1m, url: 'https://git.example.com/small.git', ref: {branch: main}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: flux-system, namespace: flux-system}
spec:
  interval: 10m
  path: ./flux-manifests
  prune: true
  sourceRef: {kind: GitRepository, name: flux-system}
---
apiVersion: fleet.fairway.dev/v1alpha1
kind: FleetKustomization
metadata: {name: web, namespace: flux-system}
spec:
  clusterSelector: {matchLabels: {environment: dev}}
  template:
    spec:
      interval: 10m
      retryInterval: 1s
      timeout: 2s
      path: ./web
      prune: true
      wait: true
      sourceRef: {kind: GitRepository, name: flux-system}
";
    let cluster = "\
apiVersion: fleet.fairway.dev/v1alpha1
kind: Cluster
metadata: {name: one, namespace: flux-system, labels: {environment: dev}}
spec: {kubeConfig: {secretRef: {name: one-kubeconfig}}}
";
    let web = format!(
        "\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: default}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{containers: [{{name: web, image: '{image}'}}]}}
"
    );
    let files = [
        ("flux-manifests/hub.yaml", Some(hub)),
        ("clusters/one/cluster.yaml", Some(cluster)),
        ("web/web.yaml", Some(&*web)),
    ];
    git.commit("One cluster", &files).await.unwrap();
    git
}
