//! The kinds that the commands speak of.

use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::core::GroupVersionKind;

use crate::args::Global;
use crate::exit::Hinted;

/// A kind that people name in commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Flux's GitRepository.
    GitRepository,
    /// Flux's Kustomization.
    Kustomization,
    /// Fairway's Cluster.
    Cluster,
    /// Fairway's FleetKustomization.
    FleetKustomization,
    /// Fairway's Pipeline.
    Pipeline,
    /// Fairway's Promotion.
    Promotion,
    /// Fairway's Approval.
    Approval,
}

impl Kind {
    /// What brings the clusters to what Git says, in the order of the loop.
    pub(crate) const LOOP: [Self; 4] = [
        Self::GitRepository,
        Self::Cluster,
        Self::FleetKustomization,
        Self::Kustomization,
    ];

    /// All of them, in the order of the loop.
    pub(crate) const ALL: [Self; 7] = [
        Self::GitRepository,
        Self::Cluster,
        Self::FleetKustomization,
        Self::Kustomization,
        Self::Pipeline,
        Self::Promotion,
        Self::Approval,
    ];

    /// The API kind.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::GitRepository => "GitRepository",
            Self::Kustomization => "Kustomization",
            Self::Cluster => "Cluster",
            Self::FleetKustomization => "FleetKustomization",
            Self::Pipeline => "Pipeline",
            Self::Promotion => "Promotion",
            Self::Approval => "Approval",
        }
    }

    fn group(self) -> &'static str {
        match self {
            Self::GitRepository => fairway_types::names::SOURCE_GROUP,
            Self::Kustomization => fairway_types::names::KUSTOMIZE_GROUP,
            _ => fairway_types::names::FLEET_GROUP,
        }
    }

    fn version(self) -> &'static str {
        match self {
            Self::GitRepository | Self::Kustomization => "v1",
            _ => "v1alpha1",
        }
    }

    fn plural(self) -> &'static str {
        match self {
            Self::GitRepository => "gitrepositories",
            Self::Kustomization => "kustomizations",
            Self::Cluster => "clusters",
            Self::FleetKustomization => "fleetkustomizations",
            Self::Pipeline => "pipelines",
            Self::Promotion => "promotions",
            Self::Approval => "approvals",
        }
    }

    /// The API resource in the version that Fairway knows.
    pub(crate) fn resource(self) -> ApiResource {
        let gvk = GroupVersionKind::gvk(self.group(), self.version(), self.name());
        ApiResource::from_gvk_with_plural(&gvk, self.plural())
    }

    /// The API of one namespace, or of all.
    pub(crate) fn api(self, client: &Client, namespace: Option<&str>) -> Api<DynamicObject> {
        match namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &self.resource()),
            None => Api::all_with(client.clone(), &self.resource()),
        }
    }
}

/// The namespace that the flags ask for: `None` with `-A`.
pub(crate) fn scope(global: &Global, all_namespaces: bool) -> Option<&str> {
    (!all_namespaces).then_some(global.namespace.as_str())
}

/// Turns the API's "not found" into words with a next step.
pub(crate) fn explain(
    error: kube::Error,
    kind: Kind,
    name: &str,
    namespace: &str,
) -> anyhow::Error {
    match &error {
        kube::Error::Api(status)
            // A missing object is named in the answer; a kind that is not served gets a bare 404.
            if status.code == 404
                && !status.message.contains(&format!("\"{name}\" not found")) =>
        {
            Hinted::new(
                format!("the cluster does not know the kind {}", kind.name()),
                "is this the management cluster? `fairway install` makes one of it",
            )
            .into()
        }
        kube::Error::Api(status) if status.code == 404 => Hinted::new(
            format!("{} {namespace}/{name} is not there", kind.name()),
            format!(
                "`fairway get {}` lists what is; -n names another namespace",
                kind.plural()
            ),
        )
        .into(),
        kube::Error::Service(_) | kube::Error::HyperError(_) => {
            anyhow::Error::new(error).context("failed to reach the cluster")
        }
        _ => error.into(),
    }
}
