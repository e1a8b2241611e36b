//! What an engine is told when it starts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

/// A set of defaults. Single points can be changed afterwards, they are plain fields of [`Options`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// No cross-namespace references, and a default service account to impersonate. (Remote bases are refused in any
    /// profile: a build fetches nothing.)
    #[default]
    Locked,
    /// What Flux does by default.
    Flux,
}

/// A reconciler that can be left to somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Controller {
    /// GitRepositories.
    Source,
    /// Kustomizations.
    Kustomize,
    /// Clusters and FleetKustomizations.
    Fleet,
}

impl Controller {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Source, Self::Kustomize, Self::Fleet];

    /// As in `--controllers`: `source`, `kustomize`, `fleet`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Kustomize => "kustomize",
            Self::Fleet => "fleet",
        }
    }
}

impl std::str::FromStr for Controller {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|controller| controller.name() == text)
            .ok_or_else(|| {
                format!("unknown controller '{text}'; hint: source, kustomize and fleet are known")
            })
    }
}

/// Which repositories are fetched.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Remotes {
    /// All of them, from where they are.
    #[default]
    All,
    /// Only these, from here: URL as the objects say it → URL to fetch. Everything else, and every source or setting
    /// that there is no controller for, is *not run*: its Ready condition is Unknown with reason `NotRun`, and who
    /// waits for it or depends on it goes on. For demonstrations of a repository without its surroundings.
    Only(BTreeMap<String, String>),
}

impl Remotes {
    /// Whether there are repositories that are not fetched.
    pub fn is_limited(&self) -> bool {
        matches!(self, Self::Only(_))
    }
}

/// See the fields; [`Options::new`] has the defaults.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder for the mirrors of repositories. Everything in it can be fetched again.
    pub data_dir: PathBuf,
    /// The reconcilers to run.
    pub controllers: BTreeSet<Controller>,
    /// Namespace that the engine itself belongs to.
    pub namespace: String,
    /// Kustomizations that are reconciled at the same time, over all clusters.
    pub concurrent: usize,
    /// Kustomizations that are reconciled at the same time on one cluster.
    pub concurrent_per_cluster: usize,
    /// Builds that run at the same time.
    pub concurrent_builds: usize,
    /// Bytes of built objects that are kept in memory, about.
    pub build_cache_bytes: usize,
    /// Refuse references to sources in other namespaces (Flux's `--no-cross-namespace-refs`).
    pub no_cross_namespace_refs: bool,
    /// Service account to impersonate where a Kustomization names none (Flux's `--default-service-account`).
    pub default_service_account: Option<String>,
    /// A variable without value and default fails the build (Flux's feature gate `StrictPostBuildSubstitutions`).
    pub strict_substitutions: bool,
    /// How long until a dependency that is not ready is looked at again, should nothing be heard of it.
    pub requeue_dependency: Duration,
    /// Share of an interval, in percent, by which it is spread (Flux's `--interval-jitter-percentage`).
    pub interval_jitter: u32,
    /// No interval is shorter than this, whatever an object says.
    pub min_interval: Duration,
    /// How often a cluster is asked whether it is there.
    pub cluster_interval: Duration,
    /// Which repositories are fetched.
    pub remotes: Remotes,
    /// Take Flux's own Leases before anything is touched: where Flux's controllers run, or another Fairway, this one
    /// waits. `data_dir` keeps the identity, so that a process that was killed need not wait for itself.
    pub leader_election: bool,
    /// kubeconfigs may skip the verification of the server's certificate (Flux's `--insecure-kubeconfig-tls`).
    pub insecure_kubeconfig_tls: bool,
}

impl Options {
    /// The defaults of a profile.
    pub fn new(data_dir: impl Into<PathBuf>, profile: Profile) -> Self {
        let locked = profile == Profile::Locked;
        Self {
            data_dir: data_dir.into(),
            controllers: Controller::ALL.into(),
            namespace: fairway_types::names::SYSTEM_NAMESPACE.to_owned(),
            concurrent: 256,
            concurrent_per_cluster: 6,
            concurrent_builds: std::thread::available_parallelism()
                .map_or(2, std::num::NonZero::get),
            build_cache_bytes: 256 << 20,
            no_cross_namespace_refs: locked,
            default_service_account: locked
                .then(|| fairway_types::names::APPLIER_SERVICE_ACCOUNT.to_owned()),
            strict_substitutions: locked,
            requeue_dependency: Duration::from_secs(30),
            interval_jitter: 5,
            min_interval: Duration::from_secs(1),
            cluster_interval: Duration::from_secs(30),
            remotes: Remotes::All,
            leader_election: false,
            insecure_kubeconfig_tls: false,
        }
    }

    /// An interval as it is waited for: not absurdly short or long, and spread.
    pub(crate) fn interval(&self, wanted: Duration) -> Duration {
        let longest = Duration::from_hours(24 * 365);
        crate::queue::jitter(
            wanted.clamp(self.min_interval, longest),
            self.interval_jitter,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_differ_in_what_they_refuse() {
        let (locked, flux) = (
            Options::new("/x", Profile::Locked),
            Options::new("/x", Profile::Flux),
        );
        assert!(locked.no_cross_namespace_refs);
        assert_eq!(
            locked.default_service_account.as_deref(),
            Some("fairway-applier")
        );
        assert!(!flux.no_cross_namespace_refs && flux.default_service_account.is_none());
        // Flux's feature gate is off unless it is switched on.
        assert!(locked.strict_substitutions && !flux.strict_substitutions);
    }

    #[test]
    fn absurd_intervals_are_clamped() {
        let options = Options::new("/x", Profile::Flux);
        assert!(options.interval(Duration::ZERO) >= Duration::from_millis(900));
        assert!(options.interval(Duration::MAX) < Duration::from_hours(24 * 400));
    }

    #[test]
    fn controllers_have_names() {
        for controller in Controller::ALL {
            assert_eq!(controller.name().parse(), Ok(controller));
        }
        assert!("helm".parse::<Controller>().unwrap_err().contains("hint"));
    }
}
