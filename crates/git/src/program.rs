//! The `git` program as a subprocess. This is the only module that starts processes.
//!
//! A run inherits next to nothing: the environment is cleared but for a few names, configuration of
//! the machine and of the user is off, hooks are off, only four protocols are allowed, nothing asks
//! on a terminal. Every run is a process group of its own, which is killed as a whole when its time
//! is up or its future is dropped.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;

use crate::complaint::{classify, scrubbed};
use crate::credentials::Prepared;
use crate::{Error, Remote};

/// The oldest git program that works: the first with `GIT_CONFIG_GLOBAL`.
pub const MINIMUM_GIT: (u32, u32) = (2, 32);

/// The time limit of operations that touch no network.
pub(crate) const LOCAL_TIMEOUT: Duration = Duration::from_mins(2);

/// Environment that a run may see; everything else is cleared.
const INHERITED: &[&str] = &[
    "PATH",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "no_proxy",
    "NO_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "DEVELOPER_DIR",
];

/// What else is passed on where the user's own configuration is wanted ([`crate::Credentials::ambient`]).
const AMBIENT: &[&str] = &[
    "HOME",
    "XDG_CONFIG_HOME",
    "SSH_AUTH_SOCK",
    "USER",
    "LOGNAME",
];

const CONFIG: &[(&str, &str)] = &[
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.askPass", ""),
    ("protocol.allow", "never"),
    ("protocol.file.allow", "always"),
    ("protocol.http.allow", "always"),
    ("protocol.https.allow", "always"),
    ("protocol.ssh.allow", "always"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    // Packs, whatever their size: they are counted, and loose objects are not.
    ("fetch.unpackLimit", "1"),
    ("fetch.recurseSubmodules", "false"),
    ("push.recurseSubmodules", "no"),
    ("transfer.bundleURI", "false"),
    ("advice.pushUpdateRejected", "false"),
    // An orphan, left behind by a killed Fairway, gives up by itself.
    ("http.lowSpeedLimit", "1"),
    ("http.lowSpeedTime", "60"),
];

const MAX_STDOUT: u64 = 256 << 20;
const MAX_STDERR: u64 = 64 << 10;

/// One run of the git program.
pub(crate) struct Run<'a> {
    arguments: Vec<OsString>,
    repository: Option<&'a Path>,
    remote: Option<&'a Remote>,
    lock: Option<&'a File>,
    timeout: Duration,
}

/// What a run left.
pub(crate) struct Output {
    pub(crate) stdout: Vec<u8>,
    /// Scrubbed of secrets.
    pub(crate) stderr: String,
    pub(crate) code: Option<i32>,
}

impl Output {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

impl<'a> Run<'a> {
    pub(crate) fn new<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(arguments: I) -> Self {
        let arguments = arguments
            .into_iter()
            .map(|a| a.as_ref().to_owned())
            .collect();
        Self {
            arguments,
            repository: None,
            remote: None,
            lock: None,
            timeout: LOCAL_TIMEOUT,
        }
    }

    /// The bare repository to run in.
    pub(crate) fn within(mut self, repository: &'a Path) -> Self {
        self.repository = Some(repository);
        self
    }

    /// The peer: its credential is given to the program, errors name it.
    pub(crate) fn with_remote(mut self, remote: &'a Remote, timeout: Duration) -> Self {
        self.remote = Some(remote);
        self.timeout = timeout;
        self
    }

    /// The time limit, where it is not [`LOCAL_TIMEOUT`].
    pub(crate) fn lasting(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// A lock that the program inherits, so that it is held for as long as either of the two runs.
    pub(crate) fn holding(mut self, lock: &'a File) -> Self {
        self.lock = Some(lock);
        self
    }

    /// Runs to the end; any exit code is an `Ok`.
    pub(crate) async fn output(self) -> Result<Output, Error> {
        check_version().await?;
        let prepared = self
            .remote
            .map(Prepared::new)
            .transpose()?
            .unwrap_or_default();
        // A repository of another user, named by the person who runs this, is no reason to refuse.
        let safe = match self.remote.and_then(Remote::local_path) {
            Some(path) => Some(SafeDirectory::new(Path::new(path))?),
            None => None,
        };
        let mut command = command(self.remote.is_some_and(|r| r.credentials().is_ambient()));
        if let Some(safe) = &safe {
            command.env("GIT_CONFIG_GLOBAL", safe.0.path());
        }
        for (name, value) in &prepared.env {
            command.env(name, value);
        }
        let own = prepared
            .config
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()));
        configure(&mut command, CONFIG.iter().copied().chain(own));
        if let Some(repository) = self.repository {
            command.arg("--git-dir").arg(repository);
        }
        command.args(&self.arguments);
        let subcommand = self
            .arguments
            .first()
            .map(|a| a.to_string_lossy().into_owned())
            .unwrap_or_default();
        let io = |e: std::io::Error| Error::io(format!("git {subcommand}"), &e);
        command.stdin(match self.lock {
            Some(lock) => Stdio::from(lock.try_clone().map_err(io)?),
            None => Stdio::null(),
        });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = spawn(&mut command)?;
        let mut group = Group::of(&child);
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let work = async {
            let (stdout, stderr) =
                tokio::try_join!(drain(stdout, MAX_STDOUT), drain(stderr, MAX_STDERR))?;
            Ok::<_, std::io::Error>((stdout, stderr, child.wait().await?))
        };
        let finished = tokio::time::timeout(self.timeout, work).await;
        let Ok(finished) = finished else {
            drop(group);
            return Err(Error::Timeout {
                url: self.place(),
                command: subcommand,
                after: self.timeout,
            });
        };
        let (stdout, stderr, status) = finished.map_err(io)?;
        group.ended();
        let stderr = scrubbed(&String::from_utf8_lossy(&stderr), &prepared.secrets);
        Ok(Output {
            stdout,
            stderr,
            code: status.code(),
        })
    }

    /// Runs to the end; any exit code but 0 is an error.
    pub(crate) async fn checked(self) -> Result<Output, Error> {
        let subcommand = self
            .arguments
            .first()
            .map(|a| a.to_string_lossy().into_owned())
            .unwrap_or_default();
        let remote = self.remote.map(|r| r.url().to_owned());
        let output = self.output().await?;
        if output.code == Some(0) {
            return Ok(output);
        }
        Err(classify(&subcommand, remote.as_deref(), &output.stderr))
    }

    fn place(&self) -> String {
        match (self.remote, self.repository) {
            (Some(remote), _) => remote.url().to_owned(),
            (None, Some(directory)) => directory.display().to_string(),
            (None, None) => String::new(),
        }
    }
}

/// A `git` with a clean environment, in a process group of its own, killed when dropped.
pub(crate) fn command(ambient: bool) -> Command {
    let mut command = Command::new("git");
    command.env_clear();
    let inherited = INHERITED.iter().chain(if ambient { AMBIENT } else { &[] });
    for name in inherited {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
        .env("LC_ALL", "C")
        .env("LC_MESSAGES", "C")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_FLUSH", "1");
    if !ambient {
        command
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1");
    }
    command.current_dir("/").process_group(0).kill_on_drop(true);
    command
}

/// Configuration by environment, which shows in no list of processes.
pub(crate) fn configure<'a>(
    command: &mut Command,
    entries: impl Iterator<Item = (&'a str, &'a str)>,
) {
    let mut count = 0;
    for (key, value) in entries {
        command
            .env(format!("GIT_CONFIG_KEY_{count}"), key)
            .env(format!("GIT_CONFIG_VALUE_{count}"), value);
        count += 1;
    }
    command.env("GIT_CONFIG_COUNT", count.to_string());
}

pub(crate) fn spawn(command: &mut Command) -> Result<Child, Error> {
    command.spawn().map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::ProgramMissing { minimum: minimum() },
        _ => Error::io("can't start git", &e),
    })
}

/// Kills the process group of a child when dropped before [`Group::ended`].
pub(crate) struct Group(Option<Pid>);

impl Group {
    pub(crate) fn of(child: &Child) -> Self {
        Self(
            child
                .id()
                .and_then(|id| i32::try_from(id).ok())
                .and_then(Pid::from_raw),
        )
    }

    pub(crate) fn ended(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0.take() {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// A configuration file that trusts one local repository whoever owns it. The variable reaches the
/// `upload-pack` at the other end of a local transport, which `GIT_CONFIG_COUNT` does not.
struct SafeDirectory(tempfile::NamedTempFile);

impl SafeDirectory {
    fn new(path: &Path) -> Result<Self, Error> {
        let io = |e: std::io::Error| Error::io("can't write a temporary git configuration", &e);
        let file = tempfile::NamedTempFile::new().map_err(io)?;
        let escaped = |p: PathBuf| {
            p.display()
                .to_string()
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
        };
        let (plain, inner) = (escaped(path.to_owned()), escaped(path.join(".git")));
        let text = format!("[safe]\n\tdirectory = \"{plain}\"\n\tdirectory = \"{inner}\"\n");
        std::fs::write(file.path(), text).map_err(io)?;
        Ok(Self(file))
    }
}

async fn drain(stream: Option<impl AsyncRead + Unpin>, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    if let Some(mut stream) = stream {
        (&mut stream).take(limit).read_to_end(&mut kept).await?;
        // Beyond the limit the program must not block on a full pipe.
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
    }
    Ok(kept)
}

fn minimum() -> String {
    format!("{}.{}", MINIMUM_GIT.0, MINIMUM_GIT.1)
}

/// Checks once per process that the program is there and new enough.
pub async fn check_version() -> Result<(), Error> {
    static CHECKED: OnceCell<Result<(), Error>> = OnceCell::const_new();
    let checked = CHECKED.get_or_init(|| async {
        let mut command = command(false);
        command
            .arg("version")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let child = spawn(&mut command)?;
        let output = child
            .wait_with_output()
            .await
            .map_err(|e| Error::io("git version", &e))?;
        version_is_enough(&String::from_utf8_lossy(&output.stdout))
    });
    checked.await.clone()
}

fn version_is_enough(text: &str) -> Result<(), Error> {
    let version = text
        .trim()
        .strip_prefix("git version ")
        .unwrap_or(text.trim());
    let mut numbers = version
        .split('.')
        .map(|part| part.parse::<u32>().unwrap_or(0));
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found >= MINIMUM_GIT {
        return Ok(());
    }
    Err(Error::ProgramTooOld {
        found: version.chars().take(40).collect(),
        minimum: minimum(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert!(version_is_enough("git version 2.39.5\n").is_ok());
        assert!(version_is_enough("git version 2.32.0 (Apple Git-132)").is_ok());
        assert!(version_is_enough("git version 2.50.1.windows.1").is_ok());
        let error = version_is_enough("git version 2.31.9").unwrap_err();
        assert_eq!(
            error.to_string(),
            "git 2.31.9 is too old; hint: install git 2.32 or newer"
        );
        assert!(version_is_enough("nonsense").is_err());
    }

    #[tokio::test]
    async fn a_run_that_takes_too_long_is_killed_with_its_children() {
        let started = std::time::Instant::now();
        let remote = Remote::new("/nowhere", crate::Credentials::none()).unwrap();
        let marker = tempfile::tempdir().unwrap();
        let pid_file = marker.path().join("pid");
        let script = format!("!sh -c 'echo $$ > {} && sleep 60'", pid_file.display());
        let run = Run::new([
            "-c".to_owned(),
            format!("alias.slow={script}"),
            "slow".to_owned(),
        ])
        .with_remote(&remote, Duration::from_millis(700));
        let error = run.output().await.err().unwrap();
        assert!(matches!(error, Error::Timeout { .. }), "{error}");
        assert!(started.elapsed() < Duration::from_secs(10));
        let pid: i32 = std::fs::read_to_string(pid_file)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        let alive = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        assert!(
            alive.map_or(true, |stat| stat.contains(") Z ")),
            "the grandchild still runs"
        );
    }
}
