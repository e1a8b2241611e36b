//! The public keys that an ssh server shows.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::Error;

const TIMEOUT: Duration = Duration::from_secs(20);

/// Asks an ssh server for its host keys with `ssh-keyscan`, as lines of `known_hosts`. Whoever answers is believed, so
/// compare the lines with what the host's operators publish.
pub async fn host_keys(host: &str, port: u16) -> Result<String, Error> {
    let unreachable = |detail: String| Error::Unreachable {
        url: format!("ssh://{host}:{port}"),
        detail,
    };
    if host.is_empty() || host.starts_with('-') {
        return Err(unreachable("it is no host name".to_owned()));
    }
    let mut command = Command::new("ssh-keyscan");
    command
        .args(["-T", "15", "-p", &port.to_string(), "--", host])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(TIMEOUT, command.output())
        .await
        .map_err(|_| unreachable("ssh-keyscan got no answer".to_owned()))?
        .map_err(|error| unreachable(format!("ssh-keyscan could not be run: {error}")))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    lines.sort_unstable();
    if lines.is_empty() {
        return Err(unreachable("it showed no host key".to_owned()));
    }
    Ok(lines.join("\n") + "\n")
}
