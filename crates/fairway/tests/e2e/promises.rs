//! What `fairway demo` promises: loopback only, the user's files untouched, nothing left behind, git is enough.

use std::collections::BTreeSet;
use std::fs::{File, FileTimes};
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::binary::{Home, PATIENCE, files, finish};
use crate::demo::Demo;
use crate::small::small_repository;

const GARBAGE: &str = "\t{ this is no kubeconfig: [";

/// A home whose kubeconfig would break whatever reads it, and shows whether something did.
struct Poisoned {
    home: Home,
    long_ago: SystemTime,
}

impl Poisoned {
    fn new() -> Self {
        let home = Home::new();
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        for name in [".kube/config", "named"] {
            let path = home.write(name, GARBAGE);
            let times = FileTimes::new()
                .set_accessed(long_ago)
                .set_modified(long_ago);
            File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_times(times)
                .unwrap();
        }
        Self { home, long_ago }
    }

    fn command(&self, arguments: &[&str]) -> tokio::process::Command {
        let mut command = self.home.command(arguments);
        command.env("KUBECONFIG", self.home.path().join("named"));
        command
    }

    /// Nothing was read, written or left.
    fn check(&self) {
        for name in [".kube/config", "named"] {
            let path = self.home.path().join(name);
            let metadata = std::fs::metadata(&path).unwrap();
            assert_eq!(
                metadata.modified().unwrap(),
                self.long_ago,
                "{name} was written"
            );
            // Where the file system keeps access times, they tell.
            assert_eq!(
                metadata.accessed().unwrap(),
                self.long_ago,
                "{name} was read"
            );
            assert_eq!(std::fs::read_to_string(&path).unwrap(), GARBAGE);
        }
        let left: BTreeSet<_> = files(&self.home.path()).into_keys().collect();
        let expected = [".kube", ".kube/config", "named"].map(|name| self.home.path().join(name));
        assert_eq!(left, BTreeSet::from(expected), "left in the home folder");
        let left = files(&self.home.tmp());
        assert!(
            left.is_empty(),
            "left in the temporary folder: {:?}",
            left.keys()
        );
    }
}

/// A `PATH` with nothing but git on it.
fn only_git(folder: &Path) -> std::path::PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    let git = std::env::split_paths(&path)
        .map(|folder| folder.join("git"))
        .find(|file| file.is_file())
        .expect("git is installed");
    let bin = folder.join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(git, bin.join("git")).unwrap();
    bin
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_converges_with_nothing_but_git_and_leaves_nothing() {
    let poisoned = Poisoned::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let mut command = poisoned.command(&["demo", "--once", "--timeout", "4m"]);
    command.env("PATH", only_git(elsewhere.path()));
    let output = finish(command).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(
        output.stdout.matches("2/2 ready").count(),
        9,
        "{}",
        output.stdout
    );
    assert!(
        output.stdout.contains("simulated clusters"),
        "{}",
        output.stdout
    );
    assert!(
        output.stdout.contains("\nconverged in "),
        "{}",
        output.stdout
    );
    assert_eq!(output.stderr, "");
    poisoned.check();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_says_why_something_is_not_ready() {
    let git = small_repository("example.com/web:1.0-broken").await;
    let poisoned = Poisoned::new();
    let url = git.url();
    let command = poisoned.command(&["demo", "--once", "--timeout", "12s", "--repo", &url]);
    let output = finish(command).await;
    assert_eq!(output.code, 1, "{output:?}");
    let (_, reasons) = output
        .stdout
        .split_once("not Ready within 12.0 s:")
        .unwrap_or_else(|| panic!("{output:?}"));
    assert!(reasons.contains("web"), "{reasons}");
    assert!(reasons.contains("Deployment/default/web"), "{reasons}");
    poisoned.check();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_demo_is_gone_and_the_original_untouched() {
    let git = small_repository("example.com/web:1.0").await;
    let original = git.clone_to_work().await.unwrap();
    let before = files(original.path());
    let served = files(git.repository().directory());
    for signal in ["SIGINT", "SIGTERM"] {
        let poisoned = Poisoned::new();
        let repository = original.path().to_str().unwrap();
        let mut process =
            fairway_testkit::Process::spawn(poisoned.command(&["demo", "--repo", repository]))
                .unwrap();
        process
            .wait_for("The demo runs until Ctrl-C", PATIENCE)
            .await
            .unwrap();
        assert!(
            process.stdout().contains("\nconverged in "),
            "{}",
            process.stdout()
        );
        assert!(!files(&poisoned.home.tmp()).is_empty());
        if signal == "SIGINT" {
            process.interrupt().unwrap();
        } else {
            process.terminate().unwrap();
        }
        let status = process.wait(PATIENCE).await.unwrap();
        assert_eq!(status.code(), Some(0), "{signal}: {}", process.stderr());
        poisoned.check();
    }
    assert_eq!(files(original.path()), before, "the clone was written");
    assert_eq!(
        files(git.repository().directory()),
        served,
        "its origin was written"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_is_asked_for_is_kept_and_carried_on() {
    let home = Home::new();
    let data = home.path().join("data");
    let arguments = ["demo", "--bare", "--data-dir", data.to_str().unwrap()];
    let mut process = home.spawn(&arguments);
    process.wait_for("Ctrl-C", PATIENCE).await.unwrap();
    let kubeconfig = std::fs::read_to_string(data.join("kubeconfig")).unwrap();
    let cluster = crate::cluster::Cluster::of(&kubeconfig, "dev-us-west-2").await;
    let map = serde_json::json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "kept", "namespace": "default"}, "data": {"a": "b"},
    });
    let applied = cluster.apply(&map).await;
    process.interrupt().unwrap();
    assert!(process.wait(PATIENCE).await.unwrap().success());
    assert_eq!(files(&home.tmp()).len(), 0, "only --data-dir is written");
    let mut process = home.spawn(&arguments);
    process.wait_for("Ctrl-C", PATIENCE).await.unwrap();
    let kubeconfig = std::fs::read_to_string(data.join("kubeconfig")).unwrap();
    let cluster = crate::cluster::Cluster::of(&kubeconfig, "dev-us-west-2").await;
    let kept = cluster.get("ConfigMap", "default", "kept").await;
    let kept = kept.expect("the object outlives the process");
    assert_eq!(kept["metadata"]["uid"], applied["metadata"]["uid"]);
}

/// The local addresses on which a process listens, from the kernel.
#[cfg(target_os = "linux")]
fn listeners(pid: i32) -> Vec<String> {
    let mut sockets = BTreeSet::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
        if let Ok(target) = std::fs::read_link(entry.unwrap().path())
            && let Some(inode) = target
                .to_str()
                .and_then(|text| text.strip_prefix("socket:["))
        {
            sockets.insert(inode.trim_end_matches(']').to_owned());
        }
    }
    let mut found = Vec::new();
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        let text = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            // 0A is LISTEN; a UDP socket has no such state and is not wanted at all.
            let listens = table.starts_with("udp") || fields[3] == "0A";
            if listens && sockets.contains(fields[9]) {
                found.push(format!("{table} {}", fields[1]));
            }
        }
    }
    found
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_listens_on_loopback_only() {
    let demo = Demo::bare().await;
    let listeners = listeners(demo.process.id());
    // Ten clusters and the Git server.
    assert!(listeners.len() >= 11, "{listeners:?}");
    for address in &listeners {
        assert!(address.starts_with("tcp 0100007F:"), "{address}");
    }
}
