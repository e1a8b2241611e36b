//! The resources that the controllers read and write, by name.

use std::sync::LazyLock;

use crate::store::GroupResource;

macro_rules! resources {
    ($($(#[$doc:meta])* $name:ident = $group:literal, $resource:literal;)*) => {
        $($(#[$doc])* pub(crate) static $name: LazyLock<GroupResource> =
            LazyLock::new(|| GroupResource::new($group, $resource));)*
    };
}

resources! {
    CLAIMS = "", "persistentvolumeclaims";
    CLUSTER_ROLES = "rbac.authorization.k8s.io", "clusterroles";
    CONFIG_MAPS = "", "configmaps";
    CONTROLLER_REVISIONS = "apps", "controllerrevisions";
    CRON_JOBS = "batch", "cronjobs";
    DEFINITIONS = "apiextensions.k8s.io", "customresourcedefinitions";
    DAEMON_SETS = "apps", "daemonsets";
    DEPLOYMENTS = "apps", "deployments";
    DISRUPTION_BUDGETS = "policy", "poddisruptionbudgets";
    ENDPOINTS = "", "endpoints";
    ENDPOINT_SLICES = "discovery.k8s.io", "endpointslices";
    EVENTS = "", "events";
    HORIZONTAL_AUTOSCALERS = "autoscaling", "horizontalpodautoscalers";
    INGRESSES = "networking.k8s.io", "ingresses";
    JOBS = "batch", "jobs";
    NAMESPACES = "", "namespaces";
    NODES = "", "nodes";
    PODS = "", "pods";
    QUOTAS = "", "resourcequotas";
    REPLICA_SETS = "apps", "replicasets";
    SECRETS = "", "secrets";
    SERVICES = "", "services";
    SERVICE_ACCOUNTS = "", "serviceaccounts";
    STATEFUL_SETS = "apps", "statefulsets";
    STORAGE_CLASSES = "storage.k8s.io", "storageclasses";
    VOLUMES = "", "persistentvolumes";
}
