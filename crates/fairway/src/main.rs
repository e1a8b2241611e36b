//! `fairway`: one binary that reads a Git repository describing a fleet and keeps every cluster equal to it.

mod args;
mod bootstrap;
mod commands;
mod demo;
mod exit;
mod hub;
mod migration;
mod output;
mod promotion;
mod reference;
mod setup;
mod start;

fn main() -> std::process::ExitCode {
    start::main()
}
