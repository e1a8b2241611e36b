//! Starts simulated clusters and writes a kubeconfig for them.
//!
//! ```text
//! cargo run -p fairway-apiserver --example serve -- --kubeconfig /tmp/kc management dev prod
//! kubectl --kubeconfig /tmp/kc --context dev get nodes
//! ```

use std::path::PathBuf;
use std::time::Instant;

use fairway_apiserver::{Config, Server};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut config = Config::default();
    let mut kubeconfig = PathBuf::from("kubeconfig.yaml");
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--kubeconfig" => kubeconfig = value()?.into(),
            "--data-dir" => config.data_dir = Some(value()?.into()),
            "--schemaless-unknown" => config.schemaless_unknown = true,
            _ => config.clusters.push(argument),
        }
    }
    if config.clusters.is_empty() {
        config.clusters.push("management".into());
    }
    let started = Instant::now();
    let server = Server::start(config).await?;
    std::fs::write(&kubeconfig, server.kubeconfig())?;
    println!(
        "{} in {:?}; kubectl --kubeconfig {} config get-contexts; Ctrl-C ends",
        server.names().join(", "),
        started.elapsed(),
        kubeconfig.display()
    );
    tokio::signal::ctrl_c().await?;
    server.shutdown().await?;
    Ok(())
}
