//! Compares our rules for health with kstatus itself.
//!
//! `golden/kstatus.jsonl` holds objects and what Flux's own code says of them: each was given to `status.Compute` of
//! `github.com/fluxcd/cli-utils` v1.2.3, and each Job to `statusreaders.ComputeJobStatus` of
//! `github.com/fluxcd/pkg/runtime` v0.110.3, the versions that kustomize-controller 1.9.6 uses. An error of theirs is
//! written as `Unknown`. The objects were made by a script: every kind with rules of its own, and many without, in every
//! condition that the rules mention; numbers of replicas at random; malformed ones. To make the file anew, write a Go
//! program that reads the `object` of each line, calls the function above, and writes `status` and `message` beside it.

use fairway_apply::health::{self, Status};
use serde_json::Value;

#[test]
fn our_rules_are_those_of_kstatus() {
    let golden = include_str!("golden/kstatus.jsonl");
    let mut differences = Vec::new();
    let mut count = 0;
    for line in golden.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let health = health::of(&case["object"], jiff::Timestamp::now());
        let same = health.status.as_str() == case["status"]
            // Their errors name Go's types.
            && (health.status == Status::Unknown || health.message == case["message"]);
        if !same {
            differences.push(format!(
                "{}\n  theirs: {} {}\n  ours:   {} {:?}",
                case["object"], case["status"], case["message"], health.status, health.message
            ));
        }
        count += 1;
    }
    assert!(count > 1000, "the golden file is whole");
    assert!(
        differences.is_empty(),
        "{} of {count} differ:\n{}",
        differences.len(),
        differences.join("\n")
    );
}
