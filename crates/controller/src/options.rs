//! What an engine is told when it starts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use fairway_types::selector::{InvalidSelector, LabelSelector};

use crate::artifact::ArtifactOptions;
use crate::lease::{self, Timing};

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
    /// Pipelines and Promotions.
    Pipeline,
    /// Alerts and Providers: who is told of the events of the others.
    Notification,
}

impl Controller {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Source,
        Self::Kustomize,
        Self::Fleet,
        Self::Pipeline,
        Self::Notification,
    ];

    /// As in `--controllers`: `source`, `kustomize`, `fleet`, `pipeline`, `notification`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Kustomize => "kustomize",
            Self::Fleet => "fleet",
            Self::Pipeline => "pipeline",
            Self::Notification => "notification",
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
                format!(
                    "unknown controller '{text}'; hint: source, kustomize, fleet, pipeline and notification are known"
                )
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

/// A label selector and how it was written: the text names the Leases of a shard.
///
/// ```
/// use fairway_controller::options::Selection;
///
/// let shard: Selection = "sharding.fluxcd.io/key=shard1".parse().unwrap();
/// assert!(shard.matches(&[("sharding.fluxcd.io/key".to_owned(), "shard1".to_owned())].into()));
/// let main: Selection = "!sharding.fluxcd.io/key".parse().unwrap();
/// assert!(main.matches(&[].into()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    text: String,
    selector: LabelSelector,
}

impl Selection {
    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether labels match.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.selector.matches(labels)
    }
}

impl std::str::FromStr for Selection {
    type Err = InvalidSelector;

    fn from_str(text: &str) -> Result<Self, InvalidSelector> {
        Ok(Self {
            selector: LabelSelector::parse(text)?,
            text: text.to_owned(),
        })
    }
}

/// Reads an address to listen on as Flux's flags write it: `:8080`, `127.0.0.1:8080`, `[::1]:8080`; `0` is none.
///
/// ```
/// use fairway_controller::options::listen_address;
///
/// assert_eq!(listen_address(":9440").unwrap().unwrap().port(), 9440);
/// assert_eq!(listen_address("0"), Ok(None));
/// assert!(listen_address("9440").is_err());
/// ```
pub fn listen_address(text: &str) -> Result<Option<SocketAddr>, String> {
    if text.is_empty() || text == "0" {
        return Ok(None);
    }
    let whole = match text.strip_prefix(':') {
        Some(port) => format!("0.0.0.0:{port}"),
        None => text.to_owned(),
    };
    whole
        .parse()
        .map(Some)
        .map_err(|_| format!("'{text}' is no address; hint: write it as :8080 or 127.0.0.1:8080"))
}

/// See the fields; [`Options::new`] has the defaults.
#[derive(Debug, Clone)]
pub struct Options {
    /// What the defaults were taken from.
    pub profile: Profile,
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
    /// A variable without value and default fails the build (Flux's feature gate `StrictPostBuildSubstitutions`, on
    /// since 1.9).
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
    /// How artifacts are stored, served and fetched.
    pub artifacts: ArtifactOptions,
    /// Take Flux's own Leases before anything is touched: where Flux's controllers run, or another Fairway, this one
    /// waits. `data_dir` keeps the identity, so that a process that was killed need not wait for itself.
    pub leader_election: bool,
    /// How long the Leases last.
    pub lease_timing: Timing,
    /// Follow objects of all namespaces of the hub, else of [`Self::namespace`] alone (Flux's `--watch-all-namespaces`).
    pub watch_all_namespaces: bool,
    /// The shard: only GitRepositories, Kustomizations, Clusters and FleetKustomizations with these labels are
    /// reconciled (Flux's `--watch-label-selector`). Others are still read, since dependencies may be among them.
    pub watch_label_selector: Option<Selection>,
    /// ConfigMaps and Secrets with these labels reconcile their users at once when they change (Flux's
    /// `--watch-configs-label-selector`); without one all do.
    pub watch_configs_label_selector: Option<Selection>,
    /// Where `/healthz` and `/readyz` are answered (Flux's `--health-addr`).
    pub health_addr: Option<SocketAddr>,
    /// Where `/metrics` is answered (Flux's `--metrics-addr`).
    pub metrics_addr: Option<SocketAddr>,
    /// How long running work may take to come to an end when the engine stops. The Leases are let go after it.
    pub shutdown_grace: Duration,
    /// Service account that a `kubeConfig.configMapRef` without one gets its token for (Flux's
    /// `--default-kubeconfig-service-account`).
    pub default_kubeconfig_service_account: Option<String>,
    /// `dependsOn[].readyExpr` is checked in addition to the built-in check (Flux's feature gate
    /// `AdditiveCELDependencyCheck`).
    pub additive_cel_dependency_check: bool,
    /// kubeconfigs may skip the verification of the server's certificate (Flux's `--insecure-kubeconfig-tls`).
    pub insecure_kubeconfig_tls: bool,
    /// Checks and notifications may go to link-local and metadata addresses.
    pub allow_link_local_urls: bool,
    /// Where Flux's notification-controller listens: it is told of all events then, and nobody else is (Flux's
    /// `--events-addr`).
    pub events_addr: Option<String>,
    /// Told when a named point is reached, so that tests can end the process there.
    pub on_reached: Option<Reached>,
}

/// Told of the points that a test wants to hear of; see [`Options::on_reached`].
#[derive(Clone)]
pub struct Reached(pub std::sync::Arc<dyn Fn(&str) + Send + Sync>);

impl std::fmt::Debug for Reached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reached")
    }
}

impl Options {
    /// The defaults of a profile.
    pub fn new(data_dir: impl Into<PathBuf>, profile: Profile) -> Self {
        let locked = profile == Profile::Locked;
        Self {
            profile,
            data_dir: data_dir.into(),
            controllers: Controller::ALL.into(),
            namespace: fairway_types::names::SYSTEM_NAMESPACE.to_owned(),
            concurrent: 256,
            concurrent_per_cluster: 12,
            concurrent_builds: std::thread::available_parallelism()
                .map_or(2, std::num::NonZero::get),
            build_cache_bytes: 256 << 20,
            no_cross_namespace_refs: locked,
            default_service_account: locked
                .then(|| fairway_types::names::APPLIER_SERVICE_ACCOUNT.to_owned()),
            strict_substitutions: true,
            requeue_dependency: Duration::from_secs(30),
            interval_jitter: 5,
            min_interval: Duration::from_secs(1),
            cluster_interval: Duration::from_secs(30),
            remotes: Remotes::All,
            artifacts: ArtifactOptions::default(),
            leader_election: false,
            lease_timing: Timing::default(),
            watch_all_namespaces: true,
            watch_label_selector: None,
            watch_configs_label_selector: Some(Selection {
                selector: LabelSelector {
                    match_labels: BTreeMap::from([(
                        fairway_types::names::WATCH.to_owned(),
                        "Enabled".to_owned(),
                    )]),
                    ..LabelSelector::default()
                },
                text: format!("{}=Enabled", fairway_types::names::WATCH),
            }),
            health_addr: None,
            metrics_addr: None,
            shutdown_grace: Duration::from_secs(10),
            default_kubeconfig_service_account: None,
            additive_cel_dependency_check: false,
            insecure_kubeconfig_tls: false,
            allow_link_local_urls: false,
            events_addr: None,
            on_reached: None,
        }
    }

    /// Says that a point is reached.
    pub(crate) fn reached(&self, point: &str) {
        if let Some(on_reached) = &self.on_reached {
            (on_reached.0)(point);
        }
    }

    /// The Leases that this engine takes where [`Self::leader_election`] is set, the one that decides between replicas
    /// first. A controller that is left to somebody else needs none.
    pub fn leases(&self) -> Vec<(Controller, String)> {
        let selector = self.watch_label_selector.as_ref().map(Selection::text);
        [Controller::Fleet, Controller::Source, Controller::Kustomize]
            .into_iter()
            .filter(|controller| {
                // Pipelines have no Lease of their own: they go with the fleets.
                self.controllers.contains(controller)
                    || (*controller == Controller::Fleet
                        && self.controllers.contains(&Controller::Pipeline))
            })
            .map(|controller| (controller, lease::name(controller, selector)))
            .collect()
    }

    /// Whether Alerts and Providers are followed here. A demonstration of somebody's repository tells nobody.
    pub(crate) fn notifies(&self) -> bool {
        self.controllers.contains(&Controller::Notification)
            && self.events_addr.is_none()
            && !self.remotes.is_limited()
    }

    /// Whether objects with these labels are reconciled by this shard.
    pub(crate) fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.watch_label_selector
            .as_ref()
            .is_none_or(|selection| selection.matches(labels))
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
        // Flux's feature gate is on since 1.9.
        assert!(locked.strict_substitutions && flux.strict_substitutions);
    }

    #[test]
    fn a_shard_has_leases_of_its_own() {
        let mut options = Options::new("/x", Profile::Flux);
        let names = |options: &Options| -> Vec<String> {
            options.leases().into_iter().map(|(_, name)| name).collect()
        };
        assert_eq!(
            names(&options),
            [
                "fairway-leader-election",
                "source-controller-leader-election",
                "kustomize-controller-leader-election"
            ]
        );
        options.controllers = [Controller::Kustomize].into();
        options.watch_label_selector = Some("!sharding.fluxcd.io/key".parse().unwrap());
        let names = names(&options);
        assert_eq!(names.len(), 1);
        assert!(names[0].starts_with("kustomize-controller-leader-election-"));
        assert!(options.selects(&BTreeMap::new()));
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
