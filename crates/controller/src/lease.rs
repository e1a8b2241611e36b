//! Leader election by Flux's own Leases, so that Fairway and Flux's controllers never lead at the same time, and several
//! replicas of Fairway take turns.
//!
//! The rules are client-go's: who holds a Lease renews it; another may take it when it has not been renewed for its
//! duration *by the observer's own clock*, or when it was let go. A holder that cannot renew stops before others may begin.
//!
//! Each reconciler has a Lease of its own, so that any of them can be left to Flux. Replicas of Fairway keep theirs
//! together all the same: who does not hold the first one leaves the others to the replica that does.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, PostParams};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::build::finish::hex;
use crate::options::Controller;

/// The Lease of Flux's source-controller.
pub const SOURCE: &str = "source-controller-leader-election";
/// The Lease of Flux's kustomize-controller.
pub const KUSTOMIZE: &str = "kustomize-controller-leader-election";
/// The Lease of Fairway's own reconcilers, which Flux knows nothing of.
pub const FLEET: &str = "fairway-leader-election";
/// Never taken: Fairway tells of its own events alone, and can do so beside Flux.
const NOTIFICATION: &str = "notification-controller-leader-election";

/// The Lease of a reconciler. Shards have Leases of their own, named as Flux names them: the selector's hash is appended.
///
/// ```
/// use fairway_controller::{Controller, lease};
///
/// assert_eq!(lease::name(Controller::Kustomize, None), "kustomize-controller-leader-election");
/// assert_eq!(
///     lease::name(Controller::Source, Some("sharding.fluxcd.io/key=shard1")),
///     "source-controller-leader-election-73fdc1be",
/// );
/// ```
pub fn name(controller: Controller, selector: Option<&str>) -> String {
    let base = match controller {
        Controller::Source => SOURCE,
        Controller::Kustomize => KUSTOMIZE,
        Controller::Fleet | Controller::Pipeline => FLEET,
        Controller::Notification => NOTIFICATION,
    };
    match selector.filter(|text| !text.is_empty()) {
        Some(text) => format!("{base}-{}", &hex(&Sha256::digest(text))[..8]),
        None => base.to_owned(),
    }
}

/// How long a Lease lasts and how often it is renewed. The default is Flux's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Others wait so long for a sign of the holder (`--leader-election-lease-duration`).
    pub duration: Duration,
    /// Who could not renew for so long stops (`--leader-election-renew-deadline`).
    pub deadline: Duration,
    /// Pause between looks (`--leader-election-retry-period`).
    pub retry: Duration,
    /// Whether the Lease is let go at the end (`--leader-election-release-on-cancel`).
    pub release: bool,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(35),
            deadline: Duration::from_secs(30),
            retry: Duration::from_secs(5),
            release: true,
        }
    }
}

/// What the identity of every Fairway has in it: another replica is no other engine.
const MARK: &str = "_fairway-";

/// Whether the holder of a Lease is a Fairway.
pub fn is_fairway(holder: &str) -> bool {
    holder.contains(MARK)
}

/// Whether this process leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nothing is known yet.
    Waiting,
    /// It does.
    Leading,
    /// Somebody else does.
    Following {
        /// Who, as the Lease says it.
        holder: String,
    },
}

/// What a Lease looked like, and since when it has looked so.
#[derive(Debug, Clone, PartialEq)]
struct Observed {
    spec: LeaseSpec,
    since: Instant,
}

/// What is to be done about a Lease.
#[derive(Debug, Clone, PartialEq)]
enum Move {
    /// Write this.
    Write(LeaseSpec),
    /// Leave it: this one holds it.
    Leave(String),
}

/// The next move of `me`, given what the Lease says and since when it says so.
fn decide(
    me: &str,
    duration: Duration,
    observed: Option<&Observed>,
    now: Timestamp,
    instant: Instant,
) -> Move {
    let fresh = |transitions: i32, acquired: MicroTime| LeaseSpec {
        holder_identity: Some(me.to_owned()),
        lease_duration_seconds: Some(duration.as_secs().max(1) as i32),
        acquire_time: Some(acquired),
        renew_time: Some(MicroTime(now)),
        lease_transitions: Some(transitions),
        ..LeaseSpec::default()
    };
    let Some(observed) = observed else {
        return Move::Write(fresh(0, MicroTime(now)));
    };
    let spec = &observed.spec;
    let transitions = spec.lease_transitions.unwrap_or(0);
    match spec.holder_identity.as_deref() {
        Some(holder) if holder == me => Move::Write(fresh(
            transitions,
            spec.acquire_time.clone().unwrap_or(MicroTime(now)),
        )),
        None | Some("") => Move::Write(fresh(transitions + 1, MicroTime(now))),
        Some(holder) => {
            let seconds = spec.lease_duration_seconds.unwrap_or(0).max(0) as u64;
            if instant.saturating_duration_since(observed.since) >= Duration::from_secs(seconds) {
                Move::Write(fresh(transitions + 1, MicroTime(now)))
            } else {
                Move::Leave(holder.to_owned())
            }
        }
    }
}

/// Who stands for election, and where.
pub(crate) struct Election {
    /// The Leases, the one that decides between replicas first.
    pub names: Vec<String>,
    /// Their namespace.
    pub namespace: String,
    /// Who stands.
    pub me: String,
    pub timing: Timing,
}

/// Takes part in the election for some Leases until `stop`, then lets them go: the future does, the receivers (one for
/// each Lease, in their order) hear of it.
pub(crate) fn elect(
    client: kube::Client,
    election: Election,
    stop: CancellationToken,
) -> (
    Vec<watch::Receiver<Standing>>,
    impl Future<Output = ()> + Send + 'static,
) {
    let api: Api<Lease> = Api::namespaced(client, &election.namespace);
    let mut receivers = Vec::new();
    let mut candidates = Vec::new();
    let timing = election.timing;
    for name in election.names {
        let (sender, receiver) = watch::channel(Standing::Waiting);
        receivers.push(receiver);
        candidates.push(Candidate {
            api: api.clone(),
            namespace: election.namespace.clone(),
            name,
            me: election.me.clone(),
            timing,
            observed: None,
            renewed: None,
            sender,
        });
    }
    let campaign = async move {
        loop {
            let mut leader: Option<String> = None;
            let mut round = Vec::with_capacity(candidates.len());
            for (index, candidate) in candidates.iter_mut().enumerate() {
                // The first one says which replica it is; only it goes on to the rest.
                let standing = match &leader {
                    Some(other) => candidate.yield_to(other).await,
                    None => candidate.turn().await,
                };
                if let Some(Standing::Following { holder }) = &standing
                    && is_fairway(holder)
                    && index == 0
                {
                    leader = Some(holder.clone());
                }
                round.push(standing);
            }
            announce(&candidates, &round);
            tokio::select! {
                () = tokio::time::sleep(crate::queue::jitter(timing.retry, 20)) => {}
                () = stop.cancelled() => break,
            }
        }
        for candidate in &mut candidates {
            candidate.sender.send_replace(Standing::Waiting);
            if timing.release {
                candidate.release().await;
            }
        }
    };
    (receivers, campaign)
}

/// Tells each reconciler where it stands. None begins before all know, since what another engine leads keeps the others
/// from touching anything.
fn announce(candidates: &[Candidate], round: &[Option<Standing>]) {
    let told = candidates.iter().zip(round);
    let unknown = told.clone().any(|(candidate, standing)| {
        standing.is_none() && *candidate.sender.borrow() == Standing::Waiting
    });
    for leading in [false, true] {
        for (candidate, standing) in told.clone() {
            let Some(standing) = standing else { continue };
            let leads = *standing == Standing::Leading;
            if leads != leading || (leads && unknown) {
                continue;
            }
            candidate.sender.send_if_modified(|old| {
                let changed = old != standing;
                old.clone_from(standing);
                changed
            });
        }
    }
}

struct Candidate {
    api: Api<Lease>,
    namespace: String,
    name: String,
    me: String,
    timing: Timing,
    observed: Option<Observed>,
    renewed: Option<Instant>,
    sender: watch::Sender<Standing>,
}

impl Candidate {
    /// Another replica leads the first Lease: this one is left to it, or to whoever else has it.
    async fn yield_to(&mut self, leader: &str) -> Option<Standing> {
        self.renewed = None;
        let found = tokio::time::timeout(self.timing.retry, self.api.get_opt(&self.name));
        let found = found.await.ok()?.ok()?;
        let spec = found.and_then(|lease| lease.spec).unwrap_or_default();
        let holder = match spec.holder_identity.as_deref() {
            None | Some("") => leader.to_owned(),
            Some(holder) if holder == self.me => {
                self.release().await;
                leader.to_owned()
            }
            Some(holder) => holder.to_owned(),
        };
        Some(Standing::Following { holder })
    }

    /// One look, and one write where there is something to write. Nothing where nothing can be told.
    async fn turn(&mut self) -> Option<Standing> {
        // A server that does not answer must not keep the other Leases from being looked at.
        let turn = tokio::time::timeout(self.timing.retry, self.try_turn()).await;
        match turn {
            Ok(Ok(standing)) => Some(standing),
            failed => {
                let error = failed.map_or_else(
                    |_| "no answer in time".to_owned(),
                    |answer| {
                        answer
                            .err()
                            .map_or_else(String::new, |error| error.to_string())
                    },
                );
                tracing::debug!(lease = self.name, error, "lease not renewed");
                // Who could not renew for so long must not believe that it leads.
                let lost = self
                    .renewed
                    .is_some_and(|at| at.elapsed() >= self.timing.deadline);
                lost.then(|| {
                    self.renewed = None;
                    Standing::Waiting
                })
            }
        }
    }

    async fn try_turn(&mut self) -> Result<Standing, kube::Error> {
        let found = self.api.get_opt(&self.name).await?;
        let instant = Instant::now();
        let spec = found
            .as_ref()
            .map(|lease| lease.spec.clone().unwrap_or_default());
        match (&spec, &self.observed) {
            (Some(spec), Some(observed)) if *spec == observed.spec => {}
            (Some(spec), _) => {
                self.observed = Some(Observed {
                    spec: spec.clone(),
                    since: instant,
                });
            }
            (None, _) => self.observed = None,
        }
        let wanted = match decide(
            &self.me,
            self.timing.duration,
            self.observed.as_ref(),
            Timestamp::now(),
            instant,
        ) {
            Move::Leave(holder) => {
                self.renewed = None;
                return Ok(Standing::Following { holder });
            }
            Move::Write(spec) => spec,
        };
        let written = match found {
            None => {
                let metadata = ObjectMeta {
                    name: Some(self.name.clone()),
                    namespace: Some(self.namespace.clone()),
                    ..ObjectMeta::default()
                };
                self.api
                    .create(
                        &PostParams::default(),
                        &Lease {
                            metadata,
                            spec: Some(wanted),
                        },
                    )
                    .await
            }
            // The resourceVersion of what was read goes along: of two that write, one is refused.
            Some(mut lease) => {
                lease.spec = Some(wanted);
                self.api
                    .replace(&self.name, &PostParams::default(), &lease)
                    .await
            }
        };
        match written {
            Ok(lease) => {
                self.renewed = Some(instant);
                self.observed = lease.spec.map(|spec| Observed {
                    spec,
                    since: instant,
                });
                Ok(Standing::Leading)
            }
            Err(error) => Err(error),
        }
    }

    /// Lets the Lease go, so that the next one need not wait.
    async fn release(&mut self) {
        let Ok(Some(mut lease)) = self.api.get_opt(&self.name).await else {
            return;
        };
        let Some(spec) = lease.spec.as_mut() else {
            return;
        };
        if spec.holder_identity.as_deref() != Some(&self.me) {
            return;
        }
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        let _ = self
            .api
            .replace(&self.name, &PostParams::default(), &lease)
            .await;
    }
}

/// A name for this installation that outlives the process: a process that was killed finds its own Lease again, and need
/// not wait for it to run out. Kept in the data folder, which two processes must not share.
pub(crate) fn identity(data_dir: &Path) -> std::io::Result<String> {
    let path = data_dir.join("identity");
    if let Ok(known) = std::fs::read_to_string(&path)
        && !known.trim().is_empty()
    {
        return Ok(known.trim().to_owned());
    }
    let random = std::hash::BuildHasher::hash_one(
        &std::collections::hash_map::RandomState::new(),
        Timestamp::now(),
    );
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() {
        "fairway"
    } else {
        host.trim()
    };
    let identity = format!("{host}{MARK}{random:016x}");
    std::fs::create_dir_all(data_dir)?;
    std::fs::write(&path, &identity)?;
    Ok(identity)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(holder: &str, transitions: i32) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(35),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }

    fn after(observed: &Observed, seconds: u64) -> Move {
        decide(
            "me",
            Timing::default().duration,
            Some(observed),
            Timestamp::UNIX_EPOCH,
            observed.since + Duration::from_secs(seconds),
        )
    }

    #[test]
    fn a_lease_is_taken_when_it_is_free_or_has_run_out() {
        let taken = |step: Move| match step {
            Move::Write(spec) => (
                spec.holder_identity.unwrap(),
                spec.lease_transitions.unwrap(),
            ),
            Move::Leave(holder) => panic!("left to {holder}"),
        };
        assert_eq!(
            taken(decide(
                "me",
                Timing::default().duration,
                None,
                Timestamp::UNIX_EPOCH,
                Instant::now()
            )),
            ("me".into(), 0)
        );
        let theirs = Observed {
            spec: held("flux", 4),
            since: Instant::now(),
        };
        assert_eq!(after(&theirs, 34), Move::Leave("flux".into()));
        assert_eq!(taken(after(&theirs, 35)), ("me".into(), 5));
        let free = Observed {
            spec: held("", 4),
            since: Instant::now(),
        };
        assert_eq!(taken(after(&free, 0)), ("me".into(), 5));
        let mine = Observed {
            spec: held("me", 4),
            since: Instant::now(),
        };
        assert_eq!(
            taken(after(&mine, 0)),
            ("me".into(), 4),
            "renewed, not taken"
        );
    }

    #[test]
    fn the_identity_survives_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let first = identity(folder.path()).unwrap();
        assert_eq!(identity(folder.path()).unwrap(), first);
        assert_ne!(
            identity(tempfile::tempdir().unwrap().path()).unwrap(),
            first
        );
    }
}
