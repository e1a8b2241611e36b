//! Leader election by Flux's own Leases, so that Fairway and Flux's controllers never lead at the same time, and several
//! replicas of Fairway take turns.
//!
//! The rules are client-go's: who holds a Lease renews it; another may take it when it has not been renewed for its
//! duration *by the observer's own clock*, or when it was let go. A holder that cannot renew stops before others may begin.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, PostParams};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What Flux's controllers use.
pub const DURATION: Duration = Duration::from_secs(35);
const RENEW_DEADLINE: Duration = Duration::from_secs(30);
const RETRY: Duration = Duration::from_secs(5);

/// The Lease of Flux's source-controller.
pub const SOURCE: &str = "source-controller-leader-election";
/// The Lease of Flux's kustomize-controller.
pub const KUSTOMIZE: &str = "kustomize-controller-leader-election";

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
fn decide(me: &str, observed: Option<&Observed>, now: Timestamp, instant: Instant) -> Move {
    let fresh = |transitions: i32, acquired: MicroTime| LeaseSpec {
        holder_identity: Some(me.to_owned()),
        lease_duration_seconds: Some(DURATION.as_secs() as i32),
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

/// Takes part in the election for one Lease until `stop`, then lets it go: the future does, the receiver hears of it.
pub(crate) fn elect(
    client: kube::Client,
    namespace: &str,
    name: &'static str,
    me: String,
    stop: CancellationToken,
) -> (
    watch::Receiver<Standing>,
    impl Future<Output = ()> + Send + 'static,
) {
    let (sender, receiver) = watch::channel(Standing::Waiting);
    let api: Api<Lease> = Api::namespaced(client, namespace);
    let namespace = namespace.to_owned();
    let campaign = async move {
        let mut candidate = Candidate {
            api,
            namespace,
            name,
            me,
            observed: None,
            renewed: None,
        };
        loop {
            let standing = candidate.turn().await;
            if let Some(standing) = standing {
                sender.send_if_modified(|old| {
                    let changed = *old != standing;
                    *old = standing;
                    changed
                });
            }
            tokio::select! {
                () = tokio::time::sleep(crate::queue::jitter(RETRY, 20)) => {}
                () = stop.cancelled() => break,
            }
        }
        candidate.release().await;
    };
    (receiver, campaign)
}

struct Candidate {
    api: Api<Lease>,
    namespace: String,
    name: &'static str,
    me: String,
    observed: Option<Observed>,
    renewed: Option<Instant>,
}

impl Candidate {
    /// One look, and one write where there is something to write. Nothing where nothing can be told.
    async fn turn(&mut self) -> Option<Standing> {
        match self.try_turn().await {
            Ok(standing) => Some(standing),
            Err(error) => {
                tracing::debug!(lease = self.name, %error, "lease not renewed");
                // Who could not renew for so long must not believe that it leads.
                let lost = self
                    .renewed
                    .is_some_and(|at| at.elapsed() >= RENEW_DEADLINE);
                lost.then(|| {
                    self.renewed = None;
                    Standing::Waiting
                })
            }
        }
    }

    async fn try_turn(&mut self) -> Result<Standing, kube::Error> {
        let found = self.api.get_opt(self.name).await?;
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
        let wanted = match decide(&self.me, self.observed.as_ref(), Timestamp::now(), instant) {
            Move::Leave(holder) => {
                self.renewed = None;
                return Ok(Standing::Following { holder });
            }
            Move::Write(spec) => spec,
        };
        let written = match found {
            None => {
                let metadata = ObjectMeta {
                    name: Some(self.name.to_owned()),
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
                    .replace(self.name, &PostParams::default(), &lease)
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
        let Ok(Some(mut lease)) = self.api.get_opt(self.name).await else {
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
            .replace(self.name, &PostParams::default(), &lease)
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
    let identity = format!("{host}_fairway-{random:016x}");
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
            taken(decide("me", None, Timestamp::UNIX_EPOCH, Instant::now())),
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
