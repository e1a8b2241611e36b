//! A repository as fleets have them: apps, each with a base, an overlay for each environment and one for each region of
//! it; a component that all share; and for each cluster a kustomization that takes in all apps.

use fairway_kustomize::MemoryTree;

pub(crate) const ENVIRONMENTS: [&str; 3] = ["dev", "stage", "prod"];
pub(crate) const REGIONS: [&str; 3] = ["ams", "iad", "sin"];

/// The fleet with so many apps.
pub(crate) fn fleet(apps: usize) -> Vec<(String, String)> {
    let mut out = Vec::new();
    let mut file = |path: String, text: String| out.push((path, text));
    component(&mut file);
    for app in 0..apps {
        base(&mut file, app);
        for (at, environment) in ENVIRONMENTS.iter().enumerate() {
            environment_overlay(&mut file, app, at, environment);
            for region in REGIONS {
                region_overlay(&mut file, app, environment, region);
            }
        }
    }
    for environment in ENVIRONMENTS {
        for region in REGIONS {
            cluster(&mut file, apps, environment, region);
        }
    }
    out
}

/// The fleet in memory.
pub(crate) fn tree(apps: usize) -> MemoryTree {
    fleet(apps).into_iter().collect()
}

/// The overlay of an app for a region.
pub(crate) fn overlay(app: usize, environment: &str, region: &str) -> String {
    format!("apps/app{app:03}/{environment}/{region}")
}

/// The kustomization of a cluster.
pub(crate) fn cluster_path(environment: &str, region: &str) -> String {
    format!("clusters/{environment}-{region}")
}

fn joined(lines: impl Iterator<Item = String>) -> String {
    lines.collect::<Vec<_>>().concat()
}

fn component(file: &mut impl FnMut(String, String)) {
    file(
        "parts/tracing/kustomization.yaml".to_owned(),
        "\
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
patches:
- path: agent.yaml
  target: {kind: Deployment}
- target: {kind: Service}
  patch: |-
    - op: add
      path: /metadata/annotations/scrape
      value: 'yes'
"
        .to_owned(),
    );
    file(
        "parts/tracing/agent.yaml".to_owned(),
        "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: ignored
spec:
  template:
    metadata:
      annotations:
        trace.example.org/agent: enabled
    spec:
      containers:
      - name: main
        env:
        - name: TRACE_ENDPOINT
          value: http://collector.tracing:4317
"
        .to_owned(),
    );
}

fn base(file: &mut impl FnMut(String, String), app: usize) {
    let name = format!("app{app:03}");
    let port = 7000 + app;
    let mut put = |path: &str, text: String| file(format!("apps/{name}/base/{path}"), text);
    put(
        "kustomization.yaml",
        format!(
            "\
resources:
- deployment.yaml
- service.yaml
- autoscaler.yaml
- budget.yaml
- account.yaml
- policy.yaml
- ingress.yaml
labels:
- includeSelectors: true
  pairs:
    app.kubernetes.io/name: {name}
    app.kubernetes.io/part-of: shop
configMapGenerator:
- name: {name}-settings
  files:
  - settings.ini
  literals:
  - LEVEL=info
  - PORT={port}
"
        ),
    );
    put(
        "settings.ini",
        joined((0..30).map(|at| format!("{name}.key{at} = value {at} of {name}\n"))),
    );
    put(
        "deployment.yaml",
        format!(
            "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
  annotations:
    example.org/team: team-{team}
spec:
  replicas: 1
  strategy:
    rollingUpdate: {{maxSurge: 1, maxUnavailable: 0}}
  template:
    metadata:
      annotations:
        prometheus.io/port: \"{port}\"
    spec:
      serviceAccountName: {name}
      securityContext:
        runAsNonRoot: true
      containers:
      - name: main
        image: registry.example.org/shop/{name}:latest
        command: [/usr/bin/main]
        args:
        - --config=/etc/main/settings.ini
        - --port=$(PORT)
        env:
        - name: REGION
          value: none
        - name: CLUSTER
          value: none
        - name: POD
          valueFrom:
            fieldRef:
              fieldPath: metadata.name
        - name: PORT
          valueFrom:
            configMapKeyRef:
              name: {name}-settings
              key: PORT
        envFrom:
        - configMapRef:
            name: {name}-settings
        ports:
        - name: http
          containerPort: {port}
        - name: metrics
          containerPort: 9100
          protocol: TCP
        readinessProbe:
          httpGet: {{path: /ready, port: http}}
          periodSeconds: 5
        livenessProbe:
          httpGet: {{path: /alive, port: http}}
        resources:
          requests: {{cpu: 50m, memory: 64Mi}}
          limits:
            memory: 256Mi
        volumeMounts:
        - name: settings
          mountPath: /etc/main
          readOnly: true
        - name: scratch
          mountPath: /tmp
      - name: proxy
        image: registry.example.org/mesh/proxy:2.1.0
        ports:
        - containerPort: 15001
        resources:
          requests: {{cpu: 10m, memory: 32Mi}}
      volumes:
      - name: settings
        configMap:
          name: {name}-settings
      - name: scratch
        emptyDir: {{}}
",
            team = app % 9
        ),
    );
    put(
        "service.yaml",
        format!(
            "\
apiVersion: v1
kind: Service
metadata:
  name: {name}
  annotations: {{}}
spec:
  ports:
  - name: http
    port: 80
    targetPort: http
  - name: metrics
    port: 9100
"
        ),
    );
    put(
        "autoscaler.yaml",
        format!(
            "\
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {name}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {name}
  minReplicas: 1
  maxReplicas: 4
  metrics:
  - type: Resource
    resource:
      name: cpu
      target:
        type: Utilization
        averageUtilization: 70
"
        ),
    );
    put(
        "budget.yaml",
        format!(
            "\
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {name}
spec:
  maxUnavailable: 1
  selector:
    matchLabels: {{}}
"
        ),
    );
    put(
        "account.yaml",
        format!("apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: {name}\n"),
    );
    put(
        "policy.yaml",
        format!(
            "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {name}
spec:
  podSelector:
    matchLabels: {{}}
  policyTypes: [Ingress, Egress]
  ingress:
  - from:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: ingress
    ports:
    - port: {port}
  egress:
  - to:
    - ipBlock:
        cidr: 10.0.0.0/8
"
        ),
    );
    put(
        "ingress.yaml",
        format!(
            "\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {name}
spec:
  tls:
  - hosts: [{name}.REGION.DOMAIN]
    secretName: {name}-tls
  rules:
  - host: {name}.REGION.DOMAIN
    http:
      paths:
      - path: /
        pathType: Prefix
        backend:
          service:
            name: {name}
            port: {{name: http}}
"
        ),
    );
}

fn environment_overlay(
    file: &mut impl FnMut(String, String),
    app: usize,
    at: usize,
    environment: &str,
) {
    let name = format!("app{app:03}");
    let mut put =
        |path: &str, text: String| file(format!("apps/{name}/{environment}/all/{path}"), text);
    put(
        "kustomization.yaml",
        format!(
            "\
namespace: {name}
resources:
- ../../base
components:
- ../../../../parts/tracing
labels:
- includeTemplates: true
  pairs:
    example.org/environment: {environment}
commonAnnotations:
  example.org/revision: \"{app}\"
images:
- name: registry.example.org/shop/{name}
  newName: {environment}.registry.example.org/shop/{name}
  newTag: 1.{at}.{app}
replicas:
- name: {name}
  count: {replicas}
configMapGenerator:
- name: {name}-settings
  behavior: merge
  literals:
  - LEVEL=warn
  - ENVIRONMENT={environment}
patches:
- path: sizes.yaml
- target:
    kind: HorizontalPodAutoscaler
    name: {name}
  patch: |-
    - op: replace
      path: /spec/maxReplicas
      value: {most}
",
            replicas = at + 1,
            most = 4 * (at + 1)
        ),
    );
    put(
        "sizes.yaml",
        format!(
            "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
spec:
  template:
    spec:
      priorityClassName: {environment}
      containers:
      - name: main
        env:
        - name: ENVIRONMENT
          value: {environment}
        resources:
          requests:
            cpu: {cpu}m
          limits:
            memory: {memory}Mi
      tolerations:
      - key: reserved
        operator: Equal
        value: {environment}
        effect: NoSchedule
",
            cpu = 100 * (at + 1),
            memory = 512 * (at + 1)
        ),
    );
}

fn region_overlay(
    file: &mut impl FnMut(String, String),
    app: usize,
    environment: &str,
    region: &str,
) {
    let name = format!("app{app:03}");
    let mut put = |path: &str, text: String| {
        file(
            format!("{}/{path}", overlay(app, environment, region)),
            text,
        );
    };
    put(
        "kustomization.yaml",
        format!(
            "\
resources:
- ../all
- region.yaml
labels:
- pairs:
    example.org/region: {region}
patches:
- path: placement.yaml
replacements:
- source:
    kind: ConfigMap
    name: {name}-region
    fieldPath: data.region
  targets:
  - select:
      kind: Deployment
      name: {name}
    fieldPaths:
    - spec.template.spec.containers.[name=main].env.[name=REGION].value
  - select:
      kind: Ingress
      name: {name}
    fieldPaths:
    - spec.rules.0.host
    - spec.tls.0.hosts.0
    options:
      delimiter: .
      index: 1
"
        ),
    );
    put(
        "region.yaml",
        format!(
            "\
apiVersion: v1
kind: ConfigMap
metadata:
  name: {name}-region
  namespace: {name}
  annotations:
    config.kubernetes.io/local-config: \"true\"
data:
  region: {region}
"
        ),
    );
    put(
        "placement.yaml",
        format!(
            "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
  namespace: {name}
spec:
  template:
    spec:
      nodeSelector:
        topology.kubernetes.io/region: {region}
"
        ),
    );
}

fn cluster(file: &mut impl FnMut(String, String), apps: usize, environment: &str, region: &str) {
    let path = cluster_path(environment, region);
    let overlays =
        joined((0..apps).map(|app| format!("- ../../{}\n", overlay(app, environment, region))));
    file(
        format!("{path}/kustomization.yaml"),
        format!(
            "\
resources:
- namespaces.yaml
- cluster.yaml
{overlays}commonAnnotations:
  example.org/cluster: {environment}-{region}
replacements:
- source:
    kind: ConfigMap
    name: cluster
    fieldPath: data.name
  targets:
  - select: {{kind: Deployment}}
    fieldPaths:
    - spec.template.spec.containers.[name=main].env.[name=CLUSTER].value
- source:
    kind: ConfigMap
    name: cluster
    fieldPath: data.domain
  targets:
  - select: {{kind: Ingress}}
    fieldPaths:
    - spec.rules.0.host
    - spec.tls.0.hosts.0
    options:
      delimiter: .
      index: 2
"
        ),
    );
    let namespaces: Vec<String> = (0..apps)
        .map(|app| format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: app{app:03}\n"))
        .collect();
    file(format!("{path}/namespaces.yaml"), namespaces.join("---\n"));
    file(
        format!("{path}/cluster.yaml"),
        format!(
            "\
apiVersion: v1
kind: ConfigMap
metadata:
  name: cluster
  namespace: kube-system
data:
  name: {environment}-{region}
  domain: {environment}.example.org
"
        ),
    );
}
