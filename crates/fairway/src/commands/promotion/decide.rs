//! `fairway approve` and `fairway reject`.

use std::time::Duration;

use fairway_types::approval::Decision;
use fairway_types::promotion::PromotionStatus;
use fairway_types::reference::LocalObjectReference;
use fairway_types::{Approval, ApprovalSpec};
use kube::ResourceExt as _;
use kube::api::{Api, ObjectMeta, PostParams};

use super::follow::{follow, until};
use super::identity::who_am_i;
use super::news::glyph;
use super::objects::promotion;
use crate::args::{DecideArgs, Global};
use crate::exit::{Hinted, Outcome};
use crate::hub;

/// How long the controller may take to count a word.
const COUNTED: Duration = Duration::from_secs(15);

/// Says yes.
pub(crate) async fn approve(global: &Global, args: DecideArgs) -> anyhow::Result<Outcome> {
    decide(global, args, Decision::Approve).await
}

/// Says no.
pub(crate) async fn reject(global: &Global, args: DecideArgs) -> anyhow::Result<Outcome> {
    decide(global, args, Decision::Reject).await
}

async fn decide(global: &Global, args: DecideArgs, decision: Decision) -> anyhow::Result<Outcome> {
    let client = hub::client(global).await?;
    let namespace = &global.namespace;
    let name = &args.promotion;
    let found = promotion(&client, namespace, name).await?;
    let status = found.status.clone().unwrap_or_default();
    if status.phase.is_final() {
        return Err(Hinted::new(
            format!("the Promotion {name} has ended: {}", status.phase),
            "what has ended can't be decided; `fairway promotions` lists those that go on",
        )
        .into());
    }
    let who = who_am_i(&client).await?;
    let mut approval = Approval::new(
        "",
        ApprovalSpec {
            promotion_ref: LocalObjectReference { name: name.clone() },
            pipeline_ref: found.spec.pipeline_ref.clone(),
            promotion_uid: found.uid(),
            decision,
            approver: who.user.clone(),
            groups: who.groups,
            comment: args.comment,
        },
    );
    approval.metadata = ObjectMeta {
        generate_name: Some(format!("{name}-")),
        namespace: Some(namespace.clone()),
        ..ObjectMeta::default()
    };
    let created = Api::<Approval>::namespaced(client.clone(), namespace)
        .create(&PostParams::default(), &approval)
        .await
        .map_err(|error| {
            let refused = matches!(&error, kube::Error::Api(status) if [403, 422].contains(&status.code));
            let error = anyhow::Error::new(error);
            if refused {
                error.context(Hinted::new(
                    format!("{} may not {} {name}", who.user, decision.as_str()),
                    "it takes the rights to create approvals.fleet.fairway.dev and to `approve` the Pipeline (RBAC)",
                ))
            } else {
                error.context(format!("failed to {} {name}", decision.as_str()))
            }
        })?;
    let word = created.name_any();
    println!(
        "► {} by {}   (Approval {word})",
        decision.as_str(),
        who.user
    );
    let counted = until(&client, namespace, name, COUNTED, |status| {
        status.approvals.iter().any(|record| record.name == word) || status.phase.is_final()
    })
    .await?;
    let Some(status) = counted else {
        println!(
            "not counted yet: is `fairway controller` running? it counts whenever the controller sees it"
        );
        return Ok(Outcome::NotSo);
    };
    for line in quorum(&status) {
        println!("{line}");
    }
    let ignored = status
        .approvals
        .iter()
        .find(|record| record.name == word)
        .and_then(|record| record.ignored.as_ref());
    if let Some(why) = ignored {
        println!("✗ it does not count: {why}");
        return Ok(Outcome::NotSo);
    }
    if args.follow.wait {
        return Ok(follow(&client, namespace, name, args.follow.timeout)
            .await?
            .outcome());
    }
    Ok(Outcome::Done)
}

/// How the gates that wait for people stand.
fn quorum(status: &PromotionStatus) -> Vec<String> {
    status
        .gates
        .iter()
        .filter(|gate| gate.kind == "approval")
        .map(|gate| {
            format!(
                "  {} gate {}: {}",
                glyph(gate.verdict),
                gate.name,
                gate.message
            )
        })
        .collect()
}
