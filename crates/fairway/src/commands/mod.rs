//! What each command does.

mod controller;
mod create_cluster;
mod events;
mod get;
mod init;
mod install;
mod kinds;
pub(crate) mod promotion;
mod reconcile;
mod render;
mod switch;
mod tree;

pub(crate) use kinds::Kind;

use clap::CommandFactory as _;

use crate::args::{Cli, Command, CreateCommand, DiffCommand};
use crate::demo;
use crate::exit::Outcome;

/// Runs the command.
pub(crate) async fn run(cli: Cli) -> anyhow::Result<Outcome> {
    let global = cli.global;
    match cli.command {
        Command::Demo(args) => demo::run(args).await,
        Command::Init { dir, url, branch } => init::run(&dir, url.as_deref(), &branch),
        Command::Controller(args) => controller::run(&global, args).await,
        Command::Install { export } => install::run(&global, export).await,
        Command::Get(args) => get::run(&global, args).await,
        Command::Reconcile(args) => reconcile::run(&global, args).await,
        Command::Suspend(args) => switch::run(&global, args, true).await,
        Command::Resume(args) => switch::run(&global, args, false).await,
        Command::Build(args) => render::build(&global, args).await,
        Command::Diff(DiffCommand::Kustomization(args)) => render::diff(&global, args).await,
        Command::Tree(args) => tree::run(&global, args).await,
        Command::Events(args) => events::run(&global, args).await,
        Command::Create(CreateCommand::Cluster(args)) => create_cluster::run(&global, args).await,
        Command::Promote(args) => promotion::promote(&global, args).await,
        Command::Rollback(args) => promotion::rollback(&global, args).await,
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
