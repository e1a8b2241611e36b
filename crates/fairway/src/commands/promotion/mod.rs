//! Promotion and rollback from the command line.
//!
//! ```text
//!   promote, rollback ──▶ is there a Pipeline of this name on the hub?
//!      │ yes: request ──▶ Promotion object ──▶ follow (what happens, until it ends)
//!      └ no:  direct  ──▶ a commit of the person's own
//!
//!   decide: approve, reject     freeze: freeze, unfreeze     mark: unblock, revoke, cancel
//!   list: promotions            preview: diff promotion            audit            drill
//! ```

mod audit;
mod decide;
pub(crate) mod direct;
mod drill;
mod follow;
mod freeze;
mod identity;
mod list;
mod mark;
mod news;
mod objects;
mod preview;
mod rendered;
mod request;

use fairway_types::Pipeline;
use kube::Client;

use crate::args::{Global, PromoteArgs, RequestArgs, RollbackArgs};
use crate::exit::{Hinted, Misuse, Outcome};
use crate::hub;

pub(crate) use audit::run as audit;
pub(crate) use decide::{approve, reject};
pub(crate) use drill::run as drill;
pub(crate) use follow::{End, follow};
pub(crate) use freeze::{freeze, unfreeze};
pub(crate) use list::run as list;
pub(crate) use mark::{cancel, revoke, unblock};
pub(crate) use news::{attention, glyph, short as short_commit, time};
pub(crate) use objects::{pipelines, promotions_of};
pub(crate) use preview::run as preview;
pub(crate) use request::{create, promotion, rollback as rollback_request};

/// Brings a version to a stage.
pub(crate) async fn promote(global: &Global, args: PromoteArgs) -> anyhow::Result<Outcome> {
    let way = way(global, &args.name, args.commit.repo.is_some()).await?;
    let (client, pipeline) = match way {
        Way::Pipeline(client, pipeline) => (client, pipeline),
        Way::Direct(default) => {
            refuse_without_pipeline(&args.name, &args.request)?;
            return direct::promote(args, default).await;
        }
    };
    let unused = args.commit.flag().or_else(|| {
        let flags = [
            (args.from.is_some(), "--from"),
            (args.image.is_some(), "--image"),
        ];
        flags
            .into_iter()
            .find_map(|(given, flag)| given.then_some(flag))
    });
    refuse_with_pipeline(&args.name, unused)?;
    let Some(spec) = promotion(
        &pipeline,
        args.stage.as_deref(),
        args.version.as_deref(),
        &args.request,
    )?
    else {
        println!(
            "every stage of {} has the same version; nothing to do",
            args.name
        );
        return Ok(Outcome::Done);
    };
    ask(&client, &pipeline, spec, &args.request).await
}

/// Takes a stage back.
pub(crate) async fn rollback(global: &Global, args: RollbackArgs) -> anyhow::Result<Outcome> {
    let way = way(global, &args.name, args.commit.repo.is_some()).await?;
    let (client, pipeline) = match way {
        Way::Pipeline(client, pipeline) => (client, pipeline),
        Way::Direct(default) => {
            refuse_without_pipeline(&args.name, &args.request)?;
            return direct::rollback(args, default).await;
        }
    };
    refuse_with_pipeline(&args.name, args.commit.flag())?;
    let to = rollback_request(&pipeline, &args)?;
    ask(&client, &pipeline, to, &args.request).await
}

/// Creates the Promotion and follows it if that is wanted.
async fn ask(
    client: &Client,
    pipeline: &Pipeline,
    spec: fairway_types::PromotionSpec,
    args: &RequestArgs,
) -> anyhow::Result<Outcome> {
    let created = create(client, pipeline, spec).await?;
    let name = created.metadata.name.clone().unwrap_or_default();
    println!("► {}", request::headline(pipeline, &created));
    if !args.follow.wait {
        println!(
            "it goes on by itself; to watch it: fairway pipeline status {} --watch",
            created.spec.pipeline_ref.name
        );
        return Ok(Outcome::Done);
    }
    let namespace = created.metadata.namespace.clone().unwrap_or_default();
    let end = follow(client, &namespace, &name, args.follow.timeout).await?;
    Ok(end.outcome())
}

/// How a promotion or rollback is done.
enum Way {
    /// By a Promotion of this Pipeline.
    Pipeline(Client, Box<Pipeline>),
    /// By a commit of the person's own; with the URL and branch of the fleet's GitRepository, where there is one.
    Direct(Option<(String, String)>),
}

async fn way(global: &Global, name: &str, names_repository: bool) -> anyhow::Result<Way> {
    if names_repository || (global.kubeconfig.is_none() && hub::read(None)?.is_none()) {
        return Ok(Way::Direct(None));
    }
    let client = hub::client(global).await?;
    match objects::find_pipeline(&client, &global.namespace, name).await {
        Ok(Some(pipeline)) => Ok(Way::Pipeline(client, Box::new(pipeline))),
        Ok(None) => {
            let source = fairway_types::names::SYSTEM_NAMESPACE;
            Ok(Way::Direct(
                direct::source(&client, &global.namespace, source).await,
            ))
        }
        Err(error) => Err(error.context(Hinted::new(
            format!("failed to see whether there is a Pipeline {name}"),
            "--repo PATH|URL commits without asking the management cluster, past any Pipeline",
        ))),
    }
}

fn refuse_without_pipeline(name: &str, request: &RequestArgs) -> Result<(), Misuse> {
    request.flag().map_or(Ok(()), |flag| {
        Err(Misuse(format!(
            "{flag} is for Pipelines, and {name} is committed directly: leave it out, or create a Pipeline {name}"
        )))
    })
}

fn refuse_with_pipeline(name: &str, flag: Option<&str>) -> Result<(), Misuse> {
    flag.map_or(Ok(()), |flag| {
        Err(Misuse(format!(
            "{flag} has no meaning for the Pipeline {name}, which commits by itself; `fairway diff promotion` shows what it would \
             change, --repo commits past it"
        )))
    })
}
