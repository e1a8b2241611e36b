//! Promotion and rollback without a Pipeline: a commit of the person's own.

use std::collections::BTreeSet;

use anyhow::Context as _;
use fairway_git::{Change, Commit};
use kube::Client;

use crate::args::{PromoteArgs, RollbackArgs};
use crate::commands::Kind;
use crate::exit::{Hinted, Misuse, Outcome};
use crate::promotion::{NewCommit, Overlay, Place, before, path};

/// URL and branch of a GitRepository of the hub.
pub(super) async fn source(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Option<(String, String)> {
    let source = Kind::GitRepository
        .api(client, Some(namespace))
        .get(name)
        .await
        .ok()?;
    let url = source.data["spec"]["url"].as_str()?.to_owned();
    let branch = source.data["spec"]["ref"]["branch"]
        .as_str()
        .unwrap_or("master")
        .to_owned();
    Some((url, branch))
}

/// What a promotion will do at one head.
struct Plan {
    image: String,
    from: String,
    tag: String,
    text: String,
}

/// Moves an application's version to a stage. `default` is the repository to use where no flag names one.
pub(crate) async fn promote(
    args: PromoteArgs,
    default: Option<(String, String)>,
) -> anyhow::Result<Outcome> {
    let app = &args.name;
    let Some(stage) = &args.stage else {
        return Err(Misuse(format!(
            "there is no Pipeline {app} that knows the stages: name the one that takes the version with --stage"
        ))
        .into());
    };
    let from = match (&args.version, &args.from) {
        (Some(_), _) => None,
        (None, Some(from)) => Some(from.clone()),
        (None, None) => Some(before(stage)?.to_owned()),
    };
    let target = path(app, stage);
    let plan = |place: &Place| -> anyhow::Result<Plan> {
        let overlay = Overlay::read(&target, &place.read(&target)?, app, args.image.as_deref())?;
        let tag = match (&args.version, &from) {
            (Some(tag), _) => tag.clone(),
            (None, Some(from)) => {
                let path = path(app, from);
                Overlay::read(&path, &place.read(&path)?, app, Some(overlay.image()))?
                    .tag()?
                    .to_owned()
            }
            (None, None) => unreachable!("a promotion has a tag or a stage to take it from"),
        };
        Ok(Plan {
            image: overlay.image().to_owned(),
            from: overlay.tag()?.to_owned(),
            text: overlay.with_tag(&tag)?,
            tag,
        })
    };
    let mut place = Place::open(&args.commit, default).await?;
    let first = plan(&place)?;
    if first.from == first.tag {
        println!(
            "{app} in {stage} is at {} already; nothing to do",
            first.tag
        );
        return Ok(Outcome::Done);
    }
    println!(
        "{app}: {stage} {} → {}   ({target}: {})",
        first.from, first.tag, first.image
    );
    if args.commit.dry_run {
        println!("not pushed: --dry-run");
        return Ok(Outcome::Done);
    }
    let commit = place
        .push(async |place| {
            let plan = plan(place)?;
            let source = from.as_ref().map(|from| format!("From-Stage: {from}\n")).unwrap_or_default();
            let message = format!(
                "Promote {app} {} to {stage}\n\nImage: {}\nFrom: {}\nTo: {}\nStage: {stage}\n{source}",
                plan.tag, plan.image, plan.from, plan.tag
            );
            Ok(NewCommit::Edit(vec![Change::write(&target, plan.text)], message))
        })
        .await?;
    println!("pushed {commit} to {}", place.branch());
    Ok(Outcome::Done)
}

/// Takes an application's last promotion back. `default` is the repository to use where no flag names one.
pub(crate) async fn rollback(
    args: RollbackArgs,
    default: Option<(String, String)>,
) -> anyhow::Result<Outcome> {
    let (app, stage) = (&args.name, &args.stage);
    if args.to.is_some() || args.restore.is_some() {
        return Err(Misuse(format!(
            "without a Pipeline, rollback reverts commits; set a version with: fairway promote {app} --stage {stage} --version VERSION"
        ))
        .into());
    }
    let target = path(app, stage);
    let mut place = Place::open(&args.commit, default).await?;
    let reverted = match &args.revert {
        Some(named) => find(&place, &target, named).await?,
        None => last_change(&place, &target, &args).await?,
    };
    if args.revert.is_none() {
        only_this_file(&place, &reverted, &target)?;
    }
    println!(
        "{app}: {stage} takes back {} {}",
        short(&reverted),
        reverted.subject()
    );
    if args.commit.dry_run {
        println!("not pushed: --dry-run");
        return Ok(Outcome::Done);
    }
    let message = format!(
        "Revert \"{}\"\n\nThis reverts commit {}.\n\nApplication: {app}\nStage: {stage}\n",
        reverted.subject(),
        reverted.id
    );
    let commit = place
        .push(async |_| Ok(NewCommit::Revert(reverted.id, message.clone())))
        .await
        .context("failed to roll back")?;
    let tag = Overlay::read(&target, &place.read(&target)?, app, None)
        .ok()
        .and_then(|overlay| overlay.tag().ok().map(str::to_owned));
    match tag {
        Some(tag) => println!(
            "pushed {commit} to {}: {app} in {stage} is back at {tag}",
            place.branch()
        ),
        None => println!("pushed {commit} to {}", place.branch()),
    }
    Ok(Outcome::Done)
}

/// The newest commit that changed the tag and that no later commit has taken back.
async fn last_change(place: &Place, target: &str, args: &RollbackArgs) -> anyhow::Result<Commit> {
    let mut taken_back = BTreeSet::new();
    for commit in place.history(target).await? {
        if let Some(reverted) = reverts(&commit.message) {
            taken_back.insert(reverted);
            continue;
        }
        if taken_back.contains(&commit.id.to_string())
            || !changes_tag(place, &commit, target, &args.name)
        {
            continue;
        }
        return Ok(commit);
    }
    Err(Hinted::new(
        format!(
            "no commit of branch {} changed the tag in {target}, that was not taken back since",
            place.branch()
        ),
        "set the version with: fairway promote APP --stage STAGE --version VERSION",
    )
    .into())
}

/// The commit that a message says it reverts.
fn reverts(message: &str) -> Option<String> {
    let rest = message.split("This reverts commit ").nth(1)?;
    let id: String = rest.chars().take_while(char::is_ascii_hexdigit).collect();
    (id.len() >= 40).then_some(id)
}

fn changes_tag(place: &Place, commit: &Commit, target: &str, app: &str) -> bool {
    let tag = |id| {
        let bytes = place.read_at(id, target).ok()?;
        Overlay::read(target, &bytes, app, None)
            .ok()?
            .tag()
            .ok()
            .map(str::to_owned)
    };
    // The commit that first wrote the overlay is not one that can be taken back.
    let Some(parent) = commit.parents.first() else {
        return false;
    };
    matches!((tag(*parent), tag(commit.id)), (Some(before), Some(after)) if before != after)
}

async fn find(place: &Place, target: &str, named: &str) -> anyhow::Result<Commit> {
    let history = place.history(target).await?;
    let mut found = history
        .into_iter()
        .filter(|commit| named.len() >= 4 && commit.id.to_string().starts_with(named));
    match (found.next(), found.next()) {
        (Some(commit), None) => Ok(commit),
        (Some(_), Some(_)) => {
            Err(Hinted::new(format!("commit {named} is ambiguous"), "give more digits").into())
        }
        (None, _) => Err(Hinted::new(
            format!(
                "no commit {named} of branch {} changed {target}",
                place.branch()
            ),
            format!(
                "git log {} -- {target} lists those that did",
                place.branch()
            ),
        )
        .into()),
    }
}

fn only_this_file(place: &Place, commit: &Commit, target: &str) -> anyhow::Result<()> {
    let changed = place
        .repository()
        .changed_paths(commit.parents.first().copied(), commit.id)?;
    let others: Vec<&str> = changed
        .iter()
        .map(String::as_str)
        .filter(|path| *path != target)
        .collect();
    if others.is_empty() {
        return Ok(());
    }
    Err(Hinted::new(
        format!(
            "commit {} {:?} changed other files too: {}",
            short(commit),
            commit.subject(),
            others.join(", ")
        ),
        format!(
            "--revert {} takes all of it back; promote --version sets the version alone",
            short(commit)
        ),
    )
    .into())
}

fn short(commit: &Commit) -> String {
    commit.id.to_string().chars().take(8).collect()
}

#[cfg(test)]
mod tests {
    use super::reverts;

    #[test]
    fn a_revert_names_its_commit() {
        let id = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(
            reverts(&format!("Revert \"x\"\n\nThis reverts commit {id}.\n")).as_deref(),
            Some(id)
        );
        assert_eq!(reverts("This reverts commit 123."), None);
    }
}
