//! The fields that kustomize knows without being told, as of 5.8.1.

use std::sync::{Arc, OnceLock};

use super::{NameReference, TransformerConfig};
use crate::field_spec::FieldSpec;
use crate::id::Gvk;

/// Kustomize's own configuration, shared by all builds.
pub(crate) fn default_config() -> &'static Arc<TransformerConfig> {
    static CONFIG: OnceLock<Arc<TransformerConfig>> = OnceLock::new();
    CONFIG.get_or_init(|| {
        let mut config = TransformerConfig {
            name_prefix: vec![any("metadata/name", false)],
            name_suffix: vec![any("metadata/name", false)],
            namespace: vec![
                of(("", "", "Namespace"), "metadata/name", true),
                of(
                    ("apiregistration.k8s.io", "", "APIService"),
                    "spec/service/namespace",
                    true,
                ),
                of(
                    ("apiextensions.k8s.io", "", "CustomResourceDefinition"),
                    "spec/conversion/webhook/clientConfig/service/namespace",
                    false,
                ),
            ],
            common_labels: common_labels(),
            labels: Vec::new(),
            template_labels: template_labels(),
            common_annotations: common_annotations(),
            name_reference: name_references(),
            var_reference: var_references(),
            images: images(),
            replicas: [
                "Deployment",
                "ReplicationController",
                "ReplicaSet",
                "StatefulSet",
            ]
            .iter()
            .map(|kind| of(("", "", kind), "spec/replicas", true))
            .collect(),
        };
        config.sort();
        Arc::new(config)
    })
}

type Kind = (&'static str, &'static str, &'static str);

fn any(path: &str, create: bool) -> FieldSpec {
    FieldSpec::new(Gvk::default(), path, create)
}

fn of((group, version, kind): Kind, path: &str, create: bool) -> FieldSpec {
    FieldSpec::new(Gvk::new(group, version, kind), path, create)
}

const RBAC: &str = "rbac.authorization.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";

const REPLICATION_CONTROLLER: Kind = ("", "v1", "ReplicationController");
const DEPLOYMENT: Kind = ("", "", "Deployment");
const REPLICA_SET: Kind = ("", "", "ReplicaSet");
const DAEMON_SET: Kind = ("", "", "DaemonSet");
const STATEFUL_SET: Kind = ("", "", "StatefulSet");
const JOB: Kind = ("", "", "Job");
const CRON_JOB: Kind = ("", "", "CronJob");
const BATCH_JOB: Kind = ("batch", "", "Job");
const BATCH_CRON_JOB: Kind = ("batch", "", "CronJob");
const APPS_DEPLOYMENT: Kind = ("apps", "", "Deployment");
const APPS_STATEFUL_SET: Kind = ("apps", "", "StatefulSet");

fn template_labels() -> Vec<FieldSpec> {
    vec![
        any("metadata/labels", true),
        of(
            REPLICATION_CONTROLLER,
            "spec/template/metadata/labels",
            true,
        ),
        of(DEPLOYMENT, "spec/template/metadata/labels", true),
        of(REPLICA_SET, "spec/template/metadata/labels", true),
        of(DAEMON_SET, "spec/template/metadata/labels", true),
        of(APPS_STATEFUL_SET, "spec/template/metadata/labels", true),
        of(
            APPS_STATEFUL_SET,
            "spec/volumeClaimTemplates[]/metadata/labels",
            true,
        ),
        of(BATCH_JOB, "spec/template/metadata/labels", true),
        of(BATCH_CRON_JOB, "spec/jobTemplate/metadata/labels", true),
        of(
            BATCH_CRON_JOB,
            "spec/jobTemplate/spec/template/metadata/labels",
            true,
        ),
    ]
}

fn common_labels() -> Vec<FieldSpec> {
    let network_policy = ("networking.k8s.io", "", "NetworkPolicy");
    let mut out = vec![
        of(("", "v1", "Service"), "spec/selector", true),
        of(REPLICATION_CONTROLLER, "spec/selector", true),
        of(DEPLOYMENT, "spec/selector/matchLabels", true),
        of(REPLICA_SET, "spec/selector/matchLabels", true),
        of(DAEMON_SET, "spec/selector/matchLabels", true),
        of(APPS_STATEFUL_SET, "spec/selector/matchLabels", true),
        of(BATCH_JOB, "spec/selector/matchLabels", false),
        of(
            BATCH_CRON_JOB,
            "spec/jobTemplate/spec/selector/matchLabels",
            false,
        ),
        of(
            ("policy", "", "PodDisruptionBudget"),
            "spec/selector/matchLabels",
            false,
        ),
        of(network_policy, "spec/podSelector/matchLabels", false),
        of(
            network_policy,
            "spec/ingress/from/podSelector/matchLabels",
            false,
        ),
        of(
            network_policy,
            "spec/egress/to/podSelector/matchLabels",
            false,
        ),
    ];
    for kind in [APPS_DEPLOYMENT, APPS_STATEFUL_SET] {
        for affinity in ["podAffinity", "podAntiAffinity"] {
            for rule in [
                "preferredDuringSchedulingIgnoredDuringExecution/podAffinityTerm",
                "requiredDuringSchedulingIgnoredDuringExecution",
            ] {
                let path = format!(
                    "spec/template/spec/affinity/{affinity}/{rule}/labelSelector/matchLabels"
                );
                out.push(of(kind, &path, false));
            }
        }
        out.push(of(
            kind,
            "spec/template/spec/topologySpreadConstraints/labelSelector/matchLabels",
            false,
        ));
    }
    out.extend(template_labels());
    out
}

fn common_annotations() -> Vec<FieldSpec> {
    let mut out = vec![any("metadata/annotations", true)];
    for kind in [
        REPLICATION_CONTROLLER,
        DEPLOYMENT,
        REPLICA_SET,
        DAEMON_SET,
        STATEFUL_SET,
        BATCH_JOB,
    ] {
        out.push(of(kind, "spec/template/metadata/annotations", true));
    }
    out.push(of(
        BATCH_CRON_JOB,
        "spec/jobTemplate/metadata/annotations",
        true,
    ));
    out.push(of(
        BATCH_CRON_JOB,
        "spec/jobTemplate/spec/template/metadata/annotations",
        true,
    ));
    out
}

fn images() -> Vec<FieldSpec> {
    let mut out = Vec::new();
    for pod in ["spec", "spec/template/spec"] {
        for field in [
            "containers[]/image",
            "initContainers[]/image",
            "volumes[]/image/reference",
        ] {
            out.push(any(&format!("{pod}/{field}"), true));
        }
    }
    out
}

/// The kinds with a pod in them, and where in them it is.
const PODS: [(Kind, &str); 8] = [
    (("", "v1", "Pod"), "spec"),
    (("", "", "PodTemplate"), "template/spec"),
    (DEPLOYMENT, "spec/template/spec"),
    (REPLICA_SET, "spec/template/spec"),
    (DAEMON_SET, "spec/template/spec"),
    (STATEFUL_SET, "spec/template/spec"),
    (JOB, "spec/template/spec"),
    (CRON_JOB, "spec/jobTemplate/spec/template/spec"),
];

/// The kinds in whose pods claims, service accounts and priority classes are looked for.
const CLAIMING_PODS: [(Kind, &str); 7] = [
    (("", "", "Pod"), "spec"),
    (STATEFUL_SET, "spec/template/spec"),
    (DEPLOYMENT, "spec/template/spec"),
    (("", "", "ReplicationController"), "spec/template/spec"),
    (CRON_JOB, "spec/jobTemplate/spec/template/spec"),
    (JOB, "spec/template/spec"),
    (DAEMON_SET, "spec/template/spec"),
];

fn in_pods(pods: &[(Kind, &str)], fields: &[&str]) -> Vec<FieldSpec> {
    let specs = |(kind, pod): &(Kind, &str)| {
        let (kind, pod) = (*kind, (*pod).to_owned());
        fields
            .iter()
            .map(move |field| of(kind, &format!("{pod}/{field}"), false))
            .collect::<Vec<_>>()
    };
    pods.iter().flat_map(specs).collect()
}

fn name_references() -> Vec<NameReference> {
    let reference = |(group, version, kind): Kind, referrers: Vec<FieldSpec>| NameReference {
        target: Gvk::new(group, version, kind),
        referrers,
    };
    let specs = |all: &[(Kind, &str)]| {
        all.iter()
            .map(|(kind, path)| of(*kind, path, false))
            .collect::<Vec<_>>()
    };
    let role_binding = (RBAC, "", "RoleBinding");
    let cluster_role_binding = (RBAC, "", "ClusterRoleBinding");
    let ingress = ("", "", "Ingress");
    let storage_class = ("", "", "StorageClass");
    let role = ("", "", "Role");
    let cluster_role = ("", "", "ClusterRole");

    let mut config_maps = in_pods(
        &PODS,
        &[
            "volumes/configMap/name",
            "containers/env/valueFrom/configMapKeyRef/name",
            "initContainers/env/valueFrom/configMapKeyRef/name",
            "containers/envFrom/configMapRef/name",
            "initContainers/envFrom/configMapRef/name",
            "volumes/projected/sources/configMap/name",
        ],
    );
    config_maps.extend(specs(&[
        (("", "", "Node"), "spec/configSource/configMap"),
        (role, "rules/resourceNames"),
        (cluster_role, "rules/resourceNames"),
        (
            ingress,
            r"metadata/annotations/nginx.ingress.kubernetes.io\/fastcgi-params-configmap",
        ),
    ]));

    let mut secrets = in_pods(
        &PODS,
        &[
            "volumes/secret/secretName",
            "containers/env/valueFrom/secretKeyRef/name",
            "initContainers/env/valueFrom/secretKeyRef/name",
            "containers/envFrom/secretRef/name",
            "initContainers/envFrom/secretRef/name",
            "imagePullSecrets/name",
            "volumes/projected/sources/secret/name",
        ],
    );
    secrets.extend(specs(&[
        (ingress, "spec/tls/secretName"),
        (
            ingress,
            r"metadata/annotations/ingress.kubernetes.io\/auth-secret",
        ),
        (
            ingress,
            r"metadata/annotations/nginx.ingress.kubernetes.io\/auth-secret",
        ),
        (
            ingress,
            r"metadata/annotations/nginx.ingress.kubernetes.io\/auth-tls-secret",
        ),
        (("", "", "ServiceAccount"), "imagePullSecrets/name"),
        (storage_class, "parameters/secretName"),
        (storage_class, "parameters/adminSecretName"),
        (storage_class, "parameters/userSecretName"),
        (storage_class, "parameters/secretRef"),
        (role, "rules/resourceNames"),
        (cluster_role, "rules/resourceNames"),
        (
            ("serving.knative.dev", "v1", "Service"),
            "spec/template/spec/containers/env/valueFrom/secretKeyRef/name",
        ),
        (("", "", "PersistentVolume"), "spec/azureFile/secretName"),
    ]));

    let services = specs(&[
        (APPS_STATEFUL_SET, "spec/serviceName"),
        (ingress, "spec/rules/http/paths/backend/serviceName"),
        (ingress, "spec/backend/serviceName"),
        (ingress, "spec/rules/http/paths/backend/service/name"),
        (ingress, "spec/defaultBackend/service/name"),
        (
            ("apiregistration.k8s.io", "", "APIService"),
            "spec/service/name",
        ),
        (
            (ADMISSION, "", "ValidatingWebhookConfiguration"),
            "webhooks/clientConfig/service",
        ),
        (
            (ADMISSION, "", "MutatingWebhookConfiguration"),
            "webhooks/clientConfig/service",
        ),
    ]);

    let mut service_accounts = specs(&[
        (role_binding, "subjects"),
        (cluster_role_binding, "subjects"),
    ]);
    service_accounts.extend(in_pods(&CLAIMING_PODS, &["serviceAccountName"]));

    let mut out: Vec<NameReference> = [
        "Deployment",
        "ReplicationController",
        "ReplicaSet",
        "StatefulSet",
    ]
    .iter()
    .map(|kind| {
        let autoscaler = ("", "", "HorizontalPodAutoscaler");
        reference(
            ("", "", kind),
            specs(&[(autoscaler, "spec/scaleTargetRef/name")]),
        )
    })
    .collect();
    out.extend([
        reference(("", "v1", "ConfigMap"), config_maps),
        reference(("", "v1", "Secret"), secrets),
        reference(("", "v1", "Service"), services),
        reference((RBAC, "", "Role"), specs(&[(role_binding, "roleRef/name")])),
        reference(
            (RBAC, "", "ClusterRole"),
            specs(&[
                (role_binding, "roleRef/name"),
                (cluster_role_binding, "roleRef/name"),
            ]),
        ),
        reference(("", "v1", "ServiceAccount"), service_accounts),
        reference(
            ("", "v1", "PersistentVolumeClaim"),
            in_pods(&CLAIMING_PODS, &["volumes/persistentVolumeClaim/claimName"]),
        ),
        reference(
            ("", "v1", "PersistentVolume"),
            specs(&[
                (("", "", "PersistentVolumeClaim"), "spec/volumeName"),
                (cluster_role, "rules/resourceNames"),
            ]),
        ),
        reference(
            ("storage.k8s.io", "v1", "StorageClass"),
            specs(&[
                (("", "", "PersistentVolume"), "spec/storageClassName"),
                (("", "", "PersistentVolumeClaim"), "spec/storageClassName"),
                (
                    STATEFUL_SET,
                    "spec/volumeClaimTemplates/spec/storageClassName",
                ),
            ]),
        ),
        reference(
            ("scheduling.k8s.io", "v1", "PriorityClass"),
            in_pods(&CLAIMING_PODS, &["priorityClassName"]),
        ),
        // The group is kustomize's, and no IngressClass has it: these names stay as they are.
        reference(
            ("networking.k8s.io/v1", "v1", "IngressClass"),
            specs(&[(ingress, "spec/ingressClassName")]),
        ),
        reference(
            (ADMISSION, "", "ValidatingAdmissionPolicy"),
            specs(&[(
                (ADMISSION, "", "ValidatingAdmissionPolicyBinding"),
                "spec/policyName",
            )]),
        ),
    ]);
    out
}

fn var_references() -> Vec<FieldSpec> {
    let pods: [(Kind, &str); 7] = [
        (("", "", "Pod"), "spec"),
        (DEPLOYMENT, "spec/template/spec"),
        (REPLICA_SET, "spec/template/spec"),
        (DAEMON_SET, "spec/template/spec"),
        (STATEFUL_SET, "spec/template/spec"),
        (JOB, "spec/template/spec"),
        (CRON_JOB, "spec/jobTemplate/spec/template/spec"),
    ];
    let mut out = in_pods(
        &pods,
        &[
            "containers/args",
            "containers/command",
            "containers/env/value",
            "containers/volumeMounts/mountPath",
            "initContainers/args",
            "initContainers/command",
            "initContainers/env/value",
            "initContainers/volumeMounts/mountPath",
        ],
    );
    let ingress = ("", "", "Ingress");
    let service = ("", "", "Service");
    for (kind, path) in [
        (("", "", "Pod"), "spec/volumes/nfs/server"),
        (DEPLOYMENT, "spec/template/spec/volumes/nfs/server"),
        (REPLICA_SET, "spec/template/spec/volumes/nfs/server"),
        (DAEMON_SET, "spec/template/spec/volumes/nfs/server"),
        (JOB, "spec/template/spec/volumes/nfs/server"),
        (
            CRON_JOB,
            "spec/jobTemplate/spec/template/volumes/nfs/server",
        ),
        (STATEFUL_SET, "spec/volumeClaimTemplates/spec/nfs/server"),
        (DEPLOYMENT, "spec/template/metadata/annotations"),
        (ingress, "spec/rules/host"),
        (ingress, "spec/tls/hosts"),
        (ingress, "spec/tls/secretName"),
        (service, "spec/ports/port"),
        (service, "spec/ports/targetPort"),
        (("", "", "PersistentVolume"), "spec/nfs/server"),
    ] {
        out.push(of(kind, path, false));
    }
    out.push(any("metadata/labels", false));
    out.push(any("metadata/annotations", false));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of specs in kustomize 5.8.1's own tables (one spec of its Secrets stands there twice).
    #[test]
    fn the_tables_are_complete() {
        let config = default_config();
        let count = |kind: &str| {
            config
                .name_reference
                .iter()
                .filter(|r| r.target.kind == kind)
                .map(|r| r.referrers.len())
                .sum::<usize>()
        };
        assert_eq!(count("ConfigMap"), 52);
        assert_eq!(count("Secret"), 69);
        assert_eq!(count("ServiceAccount"), 9);
        assert_eq!(config.name_reference.len(), 16);
        assert_eq!(config.common_labels.len(), 32);
    }
}
