//! Leaving notifications to Flux: events are posted to its notification-controller, as Flux's controllers do it.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::event::FluxEvent;
use super::provider::{Answers, Prepared};
use super::send::attempts;
use crate::context::Context;
use crate::outbound::{Address, Ask};

/// Time for one answer, as Flux has it.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Posts what comes until the sender is gone.
pub(super) async fn work(
    context: std::sync::Weak<Context>,
    address: String,
    mut events: mpsc::Receiver<FluxEvent>,
    stop: CancellationToken,
) {
    while let Some(event) = events.recv().await {
        let Some(context) = context.upgrade() else {
            return;
        };
        let sent = attempts(&context.outbound, &stop, || async {
            let address = Address::parse(&address).map_err(|error| error.to_string())?;
            let body = serde_json::to_vec(&event).map_err(|error| error.to_string())?;
            let mut ask = Ask::post_json(address, body);
            ask.timeout = TIMEOUT;
            Ok(Prepared {
                ask,
                token: None,
                answers: Answers::AsFlux,
            })
        })
        .await;
        let outcome = match sent {
            Ok(()) => "sent",
            Err(why) => {
                tracing::warn!(
                    kind = event.kind(),
                    namespace = event.namespace(),
                    name = event.name(),
                    "event not posted to --events-addr: {why}"
                );
                "failed"
            }
        };
        context.metrics.delivery.notified("events-addr", outcome);
    }
}
