//! `fairway bootstrap`: from nothing to a cluster that follows a repository, and again without a change.
//!
//! ```text
//!   host   the repository on GitHub or GitLab, made where it is missing     (http: their API)
//!   files  gotk-components.yaml, gotk-sync.yaml, kustomization.yaml ─▶ commit: one commit, pushed, never by force
//!   key    a deploy key                          ─▶ access: the Secret that the cluster logs in with
//!   install, apply the sync, wait until the cluster has what the repository says
//! ```

mod access;
mod commit;
mod files;
mod host;
mod http;
mod key;
mod wait;

use anyhow::Context as _;
use fairway_git::Credentials;

use crate::args::{BootstrapCommand, GitArgs, Global, HostedArgs, SyncArgs};
use crate::commands::install;
use crate::exit::{Hinted, Misuse, Outcome};
use crate::{hub, setup};
use access::Access;
use files::Sync;
use host::{Host, Hosted};

/// Where the repository is, how the person reaches it, and how the cluster will.
struct Source {
    /// URL to commit to.
    url: String,
    /// What to commit with.
    credentials: Credentials,
    /// URL that the cluster reads.
    sync_url: String,
    /// How the cluster logs in.
    access: Access,
}

/// Bootstraps.
pub(crate) async fn run(global: &Global, command: BootstrapCommand) -> anyhow::Result<Outcome> {
    let sync = match &command {
        BootstrapCommand::Git(args) => &args.sync,
        BootstrapCommand::Github(args) | BootstrapCommand::Gitlab(args) => &args.sync,
    };
    check(sync)?;
    // What the person forgot is said before a cluster is asked.
    let host = match &command {
        BootstrapCommand::Git(_) => None,
        BootstrapCommand::Github(args) => Some((args, Host::github(args)?)),
        BootstrapCommand::Gitlab(args) => Some((args, Host::gitlab(args)?)),
    };
    let client = hub::client(global).await?;
    let profile = install::profile(&client, global, &sync.components).await?;
    let installation = install::installation(global, &sync.components, profile)?;
    install::refuse_second_engine(&client, &installation, sync.beside_flux).await?;
    let secret = access::Place {
        client: &client,
        namespace: &global.namespace,
        name: sync.secret_name.as_deref().unwrap_or(&global.namespace),
    };
    let source = match (&command, host) {
        (BootstrapCommand::Git(args), _) => plain(args, &secret).await?,
        (_, Some((args, host))) => hosted(args, &host, &secret, global).await?,
        (_, None) => unreachable!("a host was made for what is hosted"),
    };
    let wanted = Sync {
        namespace: &global.namespace,
        url: &source.sync_url,
        secret: source.access.has_secret().then_some(secret.name),
        args: sync,
    };
    let components = install::text(&installation)?;
    let place = commit::Branch::open(&source.url, source.credentials.clone(), &sync.branch).await?;
    let (head, is_new) = place.write(&wanted, &components).await?;
    println!("► installing in namespace {}", global.namespace);
    install::apply(&client, &installation).await?;
    if let Some(change) = secret.store(&source.access).await? {
        println!(
            "✔ Secret/{}/{} {}",
            global.namespace,
            secret.name,
            change.word()
        );
    }
    for object in wanted.objects() {
        let change = setup::apply_one(&client, &object).await?;
        println!("✔ {} {}", setup::subject(&object), change.word());
    }
    println!("► waiting until the cluster has {}@{head}", sync.branch);
    wait::until_synced(
        &client,
        &global.namespace,
        &head.to_string(),
        is_new,
        sync.timeout,
    )
    .await?;
    println!(
        "✔ bootstrapped: {} follows {} of {}",
        global.namespace,
        wanted.path(),
        source.sync_url
    );
    Ok(Outcome::Done)
}

fn check(sync: &SyncArgs) -> anyhow::Result<()> {
    if sync.path.split('/').any(|part| part == "..")
        || sync.path.starts_with('/') && sync.path.len() > 1
    {
        return Err(Misuse(format!(
            "--path {}: name a folder inside the repository, from its root",
            sync.path
        ))
        .into());
    }
    Ok(())
}

fn read(file: &std::path::Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))
}

/// A repository that is there: its URL says how to log in.
async fn plain(args: &GitArgs, secret: &access::Place<'_>) -> anyhow::Result<Source> {
    let ca = args.sync.ca_file.as_deref().map(read).transpose()?;
    let password = args
        .password
        .clone()
        .or_else(|| std::env::var("GIT_PASSWORD").ok())
        .filter(|password| !password.is_empty());
    if args.url.contains("://") && !args.url.starts_with("ssh://") {
        let insecure = args.url.starts_with("http://");
        if !insecure && !args.url.starts_with("https://") {
            return Err(Misuse(format!(
                "--url {}: the cluster can read https://, ssh:// and http:// URLs",
                args.url
            ))
            .into());
        }
        let Some(password) = password else {
            return Ok(Source {
                url: args.url.clone(),
                credentials: ca
                    .as_deref()
                    .map_or_else(Credentials::ambient, |ca| Credentials::none().with_ca(ca)),
                sync_url: args.url.clone(),
                access: ca.map_or(Access::Open, |ca| Access::Authority { ca }),
            });
        };
        if insecure && !args.allow_insecure_http {
            return Err(Hinted::new(
                format!("{} would carry the password in clear", args.url),
                "use https, or --allow-insecure-http where nobody can listen; nothing was changed",
            )
            .into());
        }
        return Ok(Source {
            url: args.url.clone(),
            credentials: with_token(&args.username, &password, ca.as_deref()),
            sync_url: args.url.clone(),
            access: Access::Token {
                username: args.username.clone(),
                password,
                ca,
            },
        });
    }
    if !args.url.starts_with("ssh://") {
        return Err(Hinted::new(
            format!("{} is no URL that the cluster could read", args.url),
            "write it as ssh://git@host/path, https://… or http://…",
        )
        .into());
    }
    let (host, port) = key::host_of(&args.url)?;
    let named = args
        .sync
        .private_key_file
        .as_deref()
        .map(read)
        .transpose()?;
    let access = access::ssh(secret, &host, port, named.as_deref(), None).await?;
    let credentials = match (&named, &access) {
        (Some(identity), Access::Ssh { known_hosts, .. }) => {
            Credentials::none().with_ssh(identity, known_hosts)
        }
        _ => Credentials::ambient(),
    };
    if named.is_none() && !args.silent {
        access::ask_for_access(&access)?;
    }
    Ok(Source {
        url: args.url.clone(),
        credentials,
        sync_url: args.url.clone(),
        access,
    })
}

fn with_token(username: &str, password: &str, ca: Option<&str>) -> Credentials {
    let credentials = Credentials::none().with_basic(username, password);
    match ca {
        Some(ca) => credentials.with_ca(ca),
        None => credentials,
    }
}

/// A repository on a host with an API: it is made where it is missing, and the deploy key is added.
async fn hosted(
    args: &HostedArgs,
    host: &Host,
    secret: &access::Place<'_>,
    global: &Global,
) -> anyhow::Result<Source> {
    let Hosted { https, ssh, made } = host.repository(args).await?;
    println!(
        "✔ repository {}/{} {}",
        args.owner,
        args.repository,
        if made { "created" } else { "found" }
    );
    let ca = args.sync.ca_file.as_deref().map(read).transpose()?;
    let credentials = with_token("git", host.token(), ca.as_deref());
    if args.token_auth {
        return Ok(Source {
            url: https.clone(),
            credentials,
            sync_url: https,
            access: Access::Token {
                username: "git".into(),
                password: host.token().to_owned(),
                ca,
            },
        });
    }
    let sync_url = key::as_ssh_url(&ssh)?;
    let (name, port) = key::host_of(&sync_url)?;
    let named = args
        .sync
        .private_key_file
        .as_deref()
        .map(read)
        .transpose()?;
    let known = host.known_hosts(&name).await?;
    let access = access::ssh(secret, &name, port, named.as_deref(), known).await?;
    if let Access::Ssh { public, .. } = &access {
        let title = format!(
            "{}-{}-{}",
            global.namespace,
            args.sync.branch,
            files::folder(&args.sync.path)
        );
        let added = host.deploy_key(args, &title, public).await?;
        println!(
            "✔ deploy key {title} {}",
            if added { "added" } else { "unchanged" }
        );
    }
    Ok(Source {
        url: https,
        credentials,
        sync_url,
        access,
    })
}
