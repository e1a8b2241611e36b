//! `fairway promote` and `fairway rollback`.

use std::collections::BTreeSet;

use anyhow::Context as _;
use fairway_git::{Change, Commit};

use super::kinds::Kind;
use crate::args::{Global, PromoteArgs, RollbackArgs};
use crate::exit::{Hinted, Outcome};
use crate::hub;
use crate::promotion::{NewCommit, Overlay, Place, before, path};

/// Moves an application's version to a stage; the fleet's own source is where it is committed unless a flag says otherwise.
pub(crate) async fn promote(global: &Global, args: PromoteArgs) -> anyhow::Result<Outcome> {
    let default = source(global, args.commit.repo.is_some()).await;
    promote_in(args, default).await
}

/// Takes an application's last promotion back.
pub(crate) async fn rollback(global: &Global, args: RollbackArgs) -> anyhow::Result<Outcome> {
    let default = source(global, args.commit.repo.is_some()).await;
    rollback_in(args, default).await
}

/// URL and branch of the fleet's GitRepository, where there is a cluster to ask.
async fn source(global: &Global, named: bool) -> Option<(String, String)> {
    if named {
        return None;
    }
    let client = hub::client(global).await.ok()?;
    let source = Kind::GitRepository
        .api(&client, Some(&global.namespace))
        .get("flux-system")
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

/// [`promote`], with the repository to use where no flag names one.
pub(crate) async fn promote_in(
    args: PromoteArgs,
    default: Option<(String, String)>,
) -> anyhow::Result<Outcome> {
    let from = match (&args.tag, &args.from) {
        (Some(_), _) => None,
        (None, Some(from)) => Some(from.clone()),
        (None, None) => Some(before(&args.to)?.to_owned()),
    };
    let target = path(&args.app, &args.to);
    let plan = |place: &Place| -> anyhow::Result<Plan> {
        let overlay = Overlay::read(
            &target,
            &place.read(&target)?,
            &args.app,
            args.image.as_deref(),
        )?;
        let tag = match (&args.tag, &from) {
            (Some(tag), _) => tag.clone(),
            (None, Some(from)) => {
                let path = path(&args.app, from);
                Overlay::read(&path, &place.read(&path)?, &args.app, Some(overlay.image()))?
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
    let (app, stage) = (&args.app, &args.to);
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

/// [`rollback`], with the repository to use where no flag names one.
pub(crate) async fn rollback_in(
    args: RollbackArgs,
    default: Option<(String, String)>,
) -> anyhow::Result<Outcome> {
    let target = path(&args.app, &args.stage);
    let mut place = Place::open(&args.commit, default).await?;
    let reverted = match &args.revert {
        Some(named) => find(&place, &target, named).await?,
        None => last_change(&place, &target, &args).await?,
    };
    if args.revert.is_none() {
        only_this_file(&place, &reverted, &target)?;
    }
    let (app, stage) = (&args.app, &args.stage);
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
            || !changes_tag(place, &commit, target, &args.app)
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
        "set the version with: fairway promote APP --to STAGE --tag TAG",
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
            "--revert {} takes all of it back; promote --tag sets the version alone",
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
