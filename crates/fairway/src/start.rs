//! Start-up: arguments, logging, the crypto provider and the runtime.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use crate::args::{Cli, LogFormat};
use crate::{commands, exit};

/// Runs the command line and returns the exit code of the house style: 0 done, 1 not so, 2 misuse, 3 failed.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(result) = commands::at_once(&cli) {
        return code(result);
    }
    start_logging(&cli);
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        tracing::debug!("a crypto provider was installed before");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            return exit::report(&anyhow::Error::new(error).context("failed to start the runtime"));
        }
    };
    let result = runtime.block_on(commands::run(cli));
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    code(result)
}

fn code(result: anyhow::Result<exit::Outcome>) -> ExitCode {
    match result {
        Ok(outcome) => outcome.code(),
        Err(error) => exit::report(&error),
    }
}

/// Logs go to standard error; the level comes from `--log-level`, else `RUST_LOG`, else what suits the command.
fn start_logging(cli: &Cli) {
    let directives = match &cli.global.log_level {
        Some(level) => level.clone(),
        None => {
            std::env::var("RUST_LOG").unwrap_or_else(|_| cli.command.default_log_level().to_owned())
        }
    };
    let filter = EnvFilter::try_new(&directives).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match cli.global.log_encoding {
        LogFormat::Console => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}

/// Ctrl-C and, on Unix, SIGTERM; heard from the moment that this exists.
pub(crate) struct Interrupts {
    #[cfg(unix)]
    signals: [tokio::signal::unix::Signal; 2],
}

impl Interrupts {
    /// Listens from now on: neither signal ends the process by itself any more.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let signals = [
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
            ];
            Ok(Self { signals })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    /// The next of them.
    pub(crate) async fn next(&mut self) -> anyhow::Result<()> {
        #[cfg(unix)]
        {
            let [interrupt, terminate] = &mut self.signals;
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        }
        #[cfg(not(unix))]
        tokio::signal::ctrl_c().await?;
        Ok(())
    }
}

/// Ends with Ctrl-C or, on Unix, SIGTERM.
pub(crate) async fn interrupted() -> anyhow::Result<()> {
    Interrupts::listen()?.next().await
}
