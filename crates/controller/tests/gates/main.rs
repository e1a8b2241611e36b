//! Checks against real servers: Prometheus, HTTP, API servers.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the way to fail")]

mod clusters;
mod prometheus;
#[path = "../receiver/mod.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod receiver;
mod webhooks;
#[path = "../journeys/world.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod world;

use std::time::{Duration, Instant};

use fairway_controller::gates::Subject;
use fairway_types::check::{Check, Evidence, Verdict};
use serde_json::Value;
use world::{NS, World};

fn check(value: Value) -> Check {
    let check: Check = serde_json::from_value(value).unwrap();
    check.kind().unwrap();
    check
}

fn subject() -> Subject {
    Subject {
        namespace: NS.to_owned(),
        pipeline: "myapp".to_owned(),
        promotion: "myapp-prod-1".to_owned(),
        stage: "prod".to_owned(),
        version: "1.2.3".to_owned(),
        from: "1.2.2".to_owned(),
        attempt: "7a3e".to_owned(),
        ..Subject::default()
    }
}

/// Looks again and again, as a reconciler would: what is known goes through the text of a status each time.
async fn decide(world: &World, check: &Check, subject: &Subject) -> Evidence {
    let deadline = Instant::now() + Duration::from_mins(1);
    let mut known: Option<Evidence> = None;
    loop {
        let looked = world
            .engine()
            .evaluate(check, subject, known.as_ref())
            .await
            .unwrap();
        if looked.evidence.verdict != Verdict::Pending {
            return looked.evidence;
        }
        assert!(Instant::now() < deadline, "{:?}", looked.evidence);
        let text = serde_json::to_string(&looked.evidence).unwrap();
        known = Some(serde_json::from_str(&text).unwrap());
        tokio::time::sleep(looked.again.unwrap()).await;
    }
}
