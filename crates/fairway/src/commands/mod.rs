//! What each command does.

mod check;
pub(crate) mod controller;
mod create;
mod create_cluster;
mod delete;
mod events;
mod export;
mod get;
mod init;
pub(crate) mod install;
pub(crate) mod kinds;
mod migrate;
pub(crate) mod pipeline;
pub(crate) mod promotion;
mod reconcile;
mod render;
mod report;
mod switch;
mod trace;
mod tree;
mod uninstall;

pub(crate) use kinds::Kind;

use clap::CommandFactory as _;

use crate::args::{Cli, Command, CreateCommand, CreateSource, DiffCommand, DrillCommand};
use crate::exit::Outcome;
use crate::{bootstrap, demo};

/// Runs a command that waits for nothing, and so is done before others have started.
pub(crate) fn at_once(cli: &Cli) -> Option<anyhow::Result<Outcome>> {
    match &cli.command {
        Command::Build(args) if args.what.is_none() => Some(render::folder(&args.folder)),
        _ => None,
    }
}

/// Runs the command.
pub(crate) async fn run(cli: Cli) -> anyhow::Result<Outcome> {
    let global = cli.global;
    match cli.command {
        Command::Demo(args) => demo::run(args).await,
        Command::Init { dir, url, branch } => init::run(&dir, url.as_deref(), &branch),
        Command::Controller(args) => controller::run(&global, args).await,
        Command::Install(args) => install::run(&global, args).await,
        Command::Bootstrap(command) => bootstrap::run(&global, command).await,
        Command::Uninstall(args) => uninstall::run(&global, args).await,
        Command::Check(args) => check::run(&global, args).await,
        Command::Get(args) => get::run(&global, args).await,
        Command::Reconcile(args) => reconcile::run(&global, args).await,
        Command::Suspend(args) => switch::run(&global, args, true).await,
        Command::Resume(args) => switch::run(&global, args, false).await,
        Command::Build(args) => render::build(&global, args).await,
        Command::Diff(DiffCommand::Kustomization(args)) => render::diff(&global, args).await,
        Command::Diff(DiffCommand::Promotion(args)) => promotion::preview(&global, args).await,
        Command::Tree(args) => tree::run(&global, args).await,
        Command::Events(args) => events::run(&global, args).await,
        Command::Create(CreateCommand::Cluster(args)) => create_cluster::run(&global, args).await,
        Command::Create(CreateCommand::Source(CreateSource::Git(args))) => {
            create::source_git(&global, args).await
        }
        Command::Create(CreateCommand::Kustomization(args)) => {
            create::kustomization(&global, args).await
        }
        Command::Delete(args) => delete::run(&global, args).await,
        Command::Export(args) => export::run(&global, args).await,
        Command::Trace(args) => trace::run(&global, args).await,
        Command::Stats { all_namespaces } => report::stats(&global, all_namespaces).await,
        Command::Debug(command) => report::debug(&global, command).await,
        Command::Envsubst { strict } => report::envsubst(strict),
        Command::Logs { tail } => report::logs(&global, tail).await,
        Command::Migrate(args) => migrate::run(&global, args).await,
        Command::Version(args) => report::version(&global, args).await,
        Command::Promote(args) => promotion::promote(&global, args).await,
        Command::Rollback(args) => promotion::rollback(&global, args).await,
        Command::Approve(args) => promotion::approve(&global, args).await,
        Command::Reject(args) => promotion::reject(&global, args).await,
        Command::Freeze(args) => promotion::freeze(&global, args).await,
        Command::Unfreeze(args) => promotion::unfreeze(&global, args).await,
        Command::Unblock(args) => promotion::unblock(&global, args).await,
        Command::Revoke(args) => promotion::revoke(&global, args).await,
        Command::Cancel(args) => promotion::cancel(&global, args).await,
        Command::Pipeline(command) => pipeline::run(&global, command).await,
        Command::Promotions(args) => promotion::list(&global, args).await,
        Command::Audit(args) => promotion::audit(&global, args).await,
        Command::Drill(DrillCommand::Rollback(args)) => promotion::drill(&global, args).await,
        Command::Completion { shell } => {
            clap_complete::generate(
                shell,
                &mut Cli::command(),
                "fairway",
                &mut std::io::stdout(),
            );
            Ok(Outcome::Done)
        }
    }
}
