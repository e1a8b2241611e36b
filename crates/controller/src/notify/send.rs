//! Sending: one task for each receiver, so that a slow one holds up none of the others and each gets its messages in order.

use std::sync::{Arc, Weak};
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::ResourceExt as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::event::FluxEvent;
use super::payload::{Receiver, slack_complaint};
use super::provider::{Answers, Prepared, Secrets, prepare};
use crate::context::Context;
use crate::events::{Happening, Severity};
use crate::home::HomeId;
use crate::outbound::{Answer, Outbound};

/// How often a message is sent in all.
const ATTEMPTS: u32 = 5;
/// Pause before the second attempt; it doubles.
const PAUSE: Duration = Duration::from_secs(2);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How much of an answer is shown.
const EXCERPT: usize = 200;
/// A task without work for so long ends.
const IDLE: Duration = Duration::from_mins(1);

/// A message for one receiver.
#[derive(Debug, Clone)]
pub(super) struct Parcel {
    /// The event as the Alert tells it.
    pub(super) event: FluxEvent,
    /// The home of Alert and Provider.
    pub(super) home: HomeId,
    /// The Alert.
    pub(super) alert: ObjectReference,
    /// Name of the Provider, in the Alert's namespace.
    pub(super) provider: String,
}

/// Sends what comes until nothing does; what waits when `stop` is cancelled is tried once.
pub(super) async fn work(
    context: Weak<Context>,
    mut parcels: mpsc::Receiver<Parcel>,
    stop: CancellationToken,
) {
    loop {
        let Ok(Some(parcel)) = tokio::time::timeout(IDLE, parcels.recv()).await else {
            return;
        };
        let Some(context) = context.upgrade() else {
            return;
        };
        deliver(&context, parcel, &stop).await;
    }
}

async fn deliver(context: &Arc<Context>, parcel: Parcel, stop: &CancellationToken) {
    let namespace = parcel.alert.namespace.clone().unwrap_or_default();
    let Some(home) = context.homes.get(&parcel.home) else {
        return;
    };
    let delivery = &context.metrics.delivery;
    let Some(provider) = home.providers.get(&namespace, &parcel.provider) else {
        let why = format!(
            "failed to read provider: '{namespace}/{}' is not there",
            parcel.provider
        );
        delivery.notified("unknown", "failed");
        return complain(context, &parcel, &why);
    };
    let spec = &provider.spec;
    if spec.suspend {
        return;
    }
    let Some(receiver) = Receiver::of(&spec.type_) else {
        let why = format!(
            "failed to initialize notifier for provider '{}': type '{}' is not one that Fairway sends to; \
             leave `notification` out of --controllers and run Flux's notification-controller for it",
            provider.name_any(),
            spec.type_
        );
        delivery.notified(&spec.type_, "failed");
        return complain(context, &parcel, &why);
    };
    if is_commit_status(&parcel.event) && !receiver.is_generic() {
        return;
    }
    let client = home.connection.client();
    let sent = attempts(&context.outbound, stop, || async {
        let secrets = Secrets::read(&client, &namespace, spec).await?;
        prepare(receiver, spec, &secrets, &parcel.event)
    })
    .await;
    match sent {
        Ok(()) => delivery.notified(&spec.type_, "sent"),
        Err(why) => {
            delivery.notified(&spec.type_, "failed");
            let title = involved(&parcel.event);
            complain(
                context,
                &parcel,
                &format!("failed to send notification for {title}: {why}"),
            );
        }
    }
}

/// `Kustomization/flux-system/apps`.
fn involved(event: &FluxEvent) -> String {
    format!("{}/{}/{}", event.kind(), event.namespace(), event.name())
}

/// An update of a commit's status is for Git hosts, not for people.
fn is_commit_status(event: &FluxEvent) -> bool {
    event.metadata.get("commit_status").map(String::as_str) == Some("update")
}

/// Tries until it is sent, refused for good, or tried often enough.
pub(super) async fn attempts<F, Made>(
    outbound: &Outbound,
    stop: &CancellationToken,
    prepare: F,
) -> Result<(), String>
where
    F: Fn() -> Made,
    Made: Future<Output = Result<Prepared, String>>,
{
    let mut pause = PAUSE;
    for attempt in 1.. {
        let (why, wanted) = match prepare().await {
            // A Secret may come a moment after the Provider.
            Err(why) => (why, None),
            Ok(prepared) => match once(outbound, prepared).await {
                Ok(()) => return Ok(()),
                Err(Failed::Final(why)) => return Err(why),
                Err(Failed::Again(why, wanted)) => (why, wanted),
            },
        };
        if attempt >= ATTEMPTS {
            return Err(why);
        }
        let wait = wanted.unwrap_or(pause).min(LONGEST_PAUSE);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return Err(why),
        }
        pause *= 2;
    }
    Ok(())
}

enum Failed {
    Final(String),
    Again(String, Option<Duration>),
}

async fn once(outbound: &Outbound, prepared: Prepared) -> Result<(), Failed> {
    let Prepared {
        ask,
        token,
        answers,
    } = prepared;
    let answer = outbound.send(ask).await.map_err(|error| {
        if error.is_transient() {
            Failed::Again(error.to_string(), None)
        } else {
            Failed::Final(error.to_string())
        }
    })?;
    let status = answer.status;
    if status.is_success() {
        return match answers {
            Answers::AsSlack => slack_complaint(&answer.body)
                .map_or(Ok(()), |complaint| Err(Failed::Final(complaint))),
            Answers::ByStatus | Answers::AsFlux => Ok(()),
        };
    }
    if answers == Answers::AsFlux && status.as_u16() == 429 {
        return Ok(());
    }
    let why = format!(
        "request failed with status code {}{}",
        status.as_u16(),
        said(&answer, token.as_deref())
    );
    // As hashicorp's retryable client, which Flux uses.
    if status.as_u16() == 429 || (status.is_server_error() && status.as_u16() != 501) {
        return Err(Failed::Again(why, answer.retry_after()));
    }
    Err(Failed::Final(why))
}

/// What the receiver says, without our token should it repeat that.
fn said(answer: &Answer, token: Option<&str>) -> String {
    let mut excerpt = answer.excerpt(EXCERPT);
    if let Some(token) = token {
        // It may be cut, so the answer is searched before.
        let whole = String::from_utf8_lossy(&answer.body);
        if whole.contains(token.trim()) {
            "(the answer repeats the token)".clone_into(&mut excerpt);
        }
    }
    if excerpt.is_empty() {
        String::new()
    } else {
        format!(": {excerpt}")
    }
}

/// Says at the Alert that somebody was not told.
fn complain(context: &Context, parcel: &Parcel, why: &str) {
    if parcel.home != HomeId::Hub {
        let (namespace, name) = (&parcel.alert.namespace, &parcel.alert.name);
        tracing::warn!(home = %parcel.home, ?namespace, ?name, "{why}");
        return;
    }
    context.fleet_events.record(Happening {
        object: parcel.alert.clone(),
        severity: Severity::Error,
        reason: "NotificationDispatchFailed".to_owned(),
        message: why.to_owned(),
        metadata: std::collections::BTreeMap::new(),
    });
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};

    use super::*;

    #[test]
    fn a_token_that_is_repeated_is_not_shown() {
        let answer = |body: &'static str| Answer {
            status: StatusCode::BAD_REQUEST,
            headers: HeaderMap::new(),
            body: body.into(),
        };
        assert_eq!(
            said(&answer("no  such\nchannel"), Some("t0ken")),
            ": no such channel"
        );
        assert_eq!(
            said(&answer("bad t0ken"), Some("t0ken\n")),
            ": (the answer repeats the token)"
        );
        assert_eq!(said(&answer(""), None), "");
    }
}
