//! `fairway bootstrap`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::install::ComponentArgs;
use super::render::duration;

/// `fairway bootstrap`.
#[derive(Subcommand, Debug)]
pub(crate) enum BootstrapCommand {
    /// From any Git repository that there is already
    Git(GitArgs),
    /// From a repository on GitHub or GitHub Enterprise; GITHUB_TOKEN holds a token
    Github(HostedArgs),
    /// From a project on GitLab; GITLAB_TOKEN holds a token
    Gitlab(HostedArgs),
}

/// What every kind of bootstrap takes.
#[derive(Args, Debug, Clone)]
pub(crate) struct SyncArgs {
    /// Branch that the cluster follows
    #[arg(long, default_value = "main", value_name = "NAME")]
    pub(crate) branch: String,
    /// Folder in the repository that the cluster follows
    #[arg(long, default_value = "", value_name = "PATH")]
    pub(crate) path: String,
    /// How often the repository is looked at
    #[arg(long, default_value = "1m", value_parser = duration, value_name = "DURATION")]
    pub(crate) interval: Duration,
    /// Secret for the credentials of the repository [default: the namespace's name]
    #[arg(long, value_name = "NAME")]
    pub(crate) secret_name: Option<String>,
    /// File with the certificate authority of the Git host, PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Private SSH key for the repository, without passphrase
    #[arg(long, value_name = "FILE")]
    pub(crate) private_key_file: Option<PathBuf>,
    /// Name of who commits
    #[arg(long, default_value = "Fairway", value_name = "NAME")]
    pub(crate) author_name: String,
    /// Address of who commits
    #[arg(
        long,
        default_value = "fairway@users.noreply.github.com",
        value_name = "EMAIL"
    )]
    pub(crate) author_email: String,
    /// Text to add to the commit's message
    #[arg(long, value_name = "TEXT")]
    pub(crate) commit_message_appendix: Option<String>,
    /// Fetch submodules too
    #[arg(long)]
    pub(crate) recurse_submodules: bool,
    /// Bootstrap although Flux's controllers run here: Fairway waits until their Leases are free
    #[arg(long)]
    pub(crate) beside_flux: bool,
    /// How long to wait until the cluster has what the repository says
    #[arg(long, default_value = "5m", value_parser = duration, value_name = "DURATION")]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) components: ComponentArgs,
}

/// `fairway bootstrap git`.
#[derive(Args, Debug)]
pub(crate) struct GitArgs {
    /// URL of the repository: https://…, ssh://…, http://… (without credentials)
    #[arg(long, value_name = "URL")]
    pub(crate) url: String,
    /// User of an https URL
    #[arg(short, long, default_value = "git", value_name = "NAME")]
    pub(crate) username: String,
    /// Password or token of an https URL [default: $GIT_PASSWORD]
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) password: Option<String>,
    /// Send credentials over plain http
    #[arg(long)]
    pub(crate) allow_insecure_http: bool,
    /// Don't wait for the deploy key to be added; it has access already
    #[arg(short, long, visible_alias = "yes")]
    pub(crate) silent: bool,
    #[command(flatten)]
    pub(crate) sync: SyncArgs,
}

/// `fairway bootstrap github` and `gitlab`.
#[derive(Args, Debug)]
pub(crate) struct HostedArgs {
    /// Organisation, group or user that the repository belongs to
    #[arg(long, value_name = "NAME")]
    pub(crate) owner: String,
    /// Name of the repository; it is created where it is not there
    #[arg(long, value_name = "NAME")]
    pub(crate) repository: String,
    /// The owner is a user, not an organisation or group
    #[arg(long)]
    pub(crate) personal: bool,
    /// Whether a new repository is private
    #[arg(long, num_args = 0..=1, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set, value_name = "BOOL")]
    pub(crate) private: bool,
    /// Host [default: github.com or gitlab.com]
    #[arg(long, value_name = "HOST")]
    pub(crate) hostname: Option<String>,
    /// Let the cluster log in with the token over https, instead of a deploy key over ssh
    #[arg(long)]
    pub(crate) token_auth: bool,
    /// Give the deploy key the right to write
    #[arg(long)]
    pub(crate) read_write_key: bool,
    /// Base URL of the host's API
    #[arg(long, hide = true, value_name = "URL")]
    pub(crate) api_url: Option<String>,
    #[command(flatten)]
    pub(crate) sync: SyncArgs,
}
