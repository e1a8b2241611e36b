//! `fairway diff promotion`: what a promotion would change on each cluster, before anything is committed.

use std::fmt::Write as _;

use anyhow::Context as _;
use fairway_controller::change::{ChangeSet, Edit, Mark, Message, Request, Trailers};
use fairway_git::{Oid, Signature};
use fairway_types::pipeline::{Move, Stage};
use fairway_types::promotion::{ChangedValue, Intent, Phase, PromotionSpec};
use fairway_types::{Pipeline, Promotion};
use kube::{Client, ResourceExt as _};

use super::direct;
use super::news::short;
use super::objects::{find_pipeline, pipeline, promotions};
use super::rendered::{Child, children, differences, render};
use super::request::{self, known};
use crate::args::{DiffPromotionArgs, Global, RequestArgs};
use crate::exit::{Hinted, Misuse, Outcome};
use crate::hub;
use crate::promotion::Reading;

/// Shows the change in Git, then the objects of each cluster that differ.
pub(crate) async fn run(global: &Global, args: DiffPromotionArgs) -> anyhow::Result<Outcome> {
    let client = hub::client(global).await?;
    let (pipeline, spec) = asked(&client, &global.namespace, &args).await?;
    let namespace = pipeline.namespace().unwrap_or_default();
    let (index, stage) = known(&pipeline, &spec.stage)?;
    let source = &pipeline.spec.source_ref.name;
    let address = direct::source(&client, &namespace, source)
        .await
        .ok_or_else(|| {
            Hinted::new(
                format!("GitRepository {namespace}/{source} is not there or follows no branch"),
                "it is what the Pipeline commits to: spec.sourceRef",
            )
        })?;
    let reading = Reading::open(args.repo.as_deref(), address).await?;
    let children = children(&client, &namespace, &stage, &spec.clusters, &spec.regions).await?;
    let before = index
        .checked_sub(1)
        .and_then(|index| pipeline.spec.stages.get(index));
    let set = change_set(&reading, &pipeline, &stage, before, &spec, &children).await?;
    let preview = preview(&reading, &pipeline, &spec, &set).await?;
    let Some(commit) = preview.1 else {
        println!(
            "{}: nothing would change: {} has that already",
            pipeline.name_any(),
            stage.name
        );
        return Ok(Outcome::Done);
    };
    println!(
        "{}: {} on top of {} ({}), not committed:",
        pipeline.name_any(),
        stage.name,
        short(&reading.head.to_string()),
        reading.workspace.branch()
    );
    for value in &preview.0 {
        println!("  {}", shown(value));
    }
    print!(
        "{}",
        on_clusters(&client, &reading, commit, &children).await?
    );
    Ok(Outcome::NotSo)
}

/// What is asked about: a Promotion that is there, or one that could be.
async fn asked(
    client: &Client,
    namespace: &str,
    args: &DiffPromotionArgs,
) -> anyhow::Result<(Pipeline, PromotionSpec)> {
    if let Some(found) = find_pipeline(client, namespace, &args.name).await? {
        let request = RequestArgs {
            cluster: args.cluster.clone(),
            region: args.region.clone(),
            ..RequestArgs::default()
        };
        let spec = request::promotion(
            &found,
            args.stage.as_deref(),
            args.version.as_deref(),
            &request,
        )?;
        let spec = spec.ok_or_else(|| {
            Misuse("every stage has the same version; name one with --version".into())
        })?;
        return Ok((found, spec));
    }
    let found: Option<Promotion> = promotions(client, namespace).get_opt(&args.name).await?;
    let promotion = found.ok_or_else(|| {
        Hinted::new(
            format!(
                "there is neither a Promotion nor a Pipeline {namespace}/{}",
                args.name
            ),
            "`fairway promotions` and `fairway pipeline list` show what there is",
        )
    })?;
    let status = promotion.status.clone().unwrap_or_default();
    if let Some(commit) = status.commits.first() {
        return Err(Hinted::new(
            format!("{} was committed: {}", args.name, commit.sha),
            format!("git show {} has the change", short(&commit.sha)),
        )
        .into());
    }
    if status.phase.is_final() && status.phase != Phase::Succeeded {
        return Err(Hinted::new(
            format!("{} has ended: {}", args.name, status.phase),
            "name the Pipeline, with --stage and --version",
        )
        .into());
    }
    let pipeline = pipeline(client, namespace, &promotion.spec.pipeline_ref.name).await?;
    Ok((pipeline, promotion.spec))
}

/// What the controller would be asked to commit.
async fn change_set(
    reading: &Reading,
    pipeline: &Pipeline,
    stage: &Stage,
    before: Option<&Stage>,
    spec: &PromotionSpec,
    children: &[Child],
) -> anyhow::Result<ChangeSet> {
    let moves = &pipeline.spec.moves;
    let is_targeted = spec.is_targeted();
    let folders: Vec<String> = if is_targeted {
        let paths = children.iter().map(|child| &child.kustomization.spec.path);
        let mut folders: Vec<String> = paths.flatten().map(|path| clean(path)).collect();
        folders.sort();
        folders.dedup();
        folders
    } else {
        vec![clean(&stage.path)]
    };
    let name = |text: &str| {
        let text = text.to_owned();
        async move {
            let found = reading.workspace.name(reading.head, &text).await;
            found.with_context(|| format!("failed to find revision {text}"))
        }
    };
    if let Some(rollback) = &spec.rollback {
        if let Some(commit) = &rollback.revert {
            return Ok(ChangeSet::Revert {
                commit: name(commit).await?,
                within: folders,
            });
        }
        let paths_at = match (&rollback.restore, &rollback.to) {
            (Some(revision), _) => Some((name(revision).await?, folders.clone())),
            (None, Some(version)) if !moves.paths.is_empty() => {
                let below = |path: &String| format!("{}/{}", clean(&stage.path), clean(path));
                Some((
                    name(version).await?,
                    moves.paths.iter().map(below).collect(),
                ))
            }
            _ => None,
        };
        if let Some((at, folders)) = paths_at {
            let restore = |folder| Edit::Restore { folder, at };
            return Ok(ChangeSet::Edits(folders.into_iter().map(restore).collect()));
        }
    }
    let to = spec
        .rollback
        .as_ref()
        .and_then(|request| request.to.clone());
    let version = spec
        .version
        .clone()
        .or(to)
        .context("it does not say which version")?;
    if is_targeted && moves.image.is_none() {
        return Err(Misuse(
            "only an image can be set for single clusters: leave out --cluster and --region".into(),
        )
        .into());
    }
    let edits = folders
        .into_iter()
        .map(|folder| edit(reading, pipeline, (stage, before), &folder, &version));
    Ok(ChangeSet::Edits(edits.collect::<anyhow::Result<_>>()?))
}

fn edit(
    reading: &Reading,
    pipeline: &Pipeline,
    (stage, before): (&Stage, Option<&Stage>),
    folder: &str,
    version: &str,
) -> anyhow::Result<Edit> {
    let (folder, version) = (folder.to_owned(), version.to_owned());
    let moves: &Move = &pipeline.spec.moves;
    if let Some(image) = &moves.image {
        // Behind the overlay the image may have another name.
        let name = if folder == clean(&stage.path) {
            image.name.clone()
        } else {
            reading
                .workspace
                .at(reading.head)
                .image_name(&clean(&stage.path), &image.name)?
        };
        return Ok(Edit::Image {
            folder,
            name,
            version,
            from: None,
        });
    }
    if let Some(repository) = &moves.git_repository {
        return Ok(Edit::Reference {
            folder,
            name: repository.name.clone(),
            key: repository.field.as_str().to_owned(),
            value: version,
            from: None,
        });
    }
    let source = before.with_context(|| {
        format!(
            "paths are copied from the stage before, and {} has none",
            stage.name
        )
    })?;
    let verified = pipeline
        .status
        .as_ref()
        .and_then(|status| status.verified(&source.name, &version))
        .and_then(|record| record.commit.as_deref())
        .and_then(|commit| commit.parse::<Oid>().ok());
    Ok(Edit::Paths {
        paths: moves.paths.clone(),
        source: clean(&source.path),
        at: verified.unwrap_or(reading.head),
        folder,
    })
}

/// The values that would be set, and the commit in the temporary mirror that sets them.
async fn preview(
    reading: &Reading,
    pipeline: &Pipeline,
    spec: &PromotionSpec,
    set: &ChangeSet,
) -> anyhow::Result<(Vec<ChangedValue>, Option<Oid>)> {
    let nobody = Signature::new("fairway diff", "fairway@localhost", 0);
    let place = format!(
        "{}/{}",
        pipeline.namespace().unwrap_or_default(),
        pipeline.name_any()
    );
    let trailers = Trailers {
        pipeline: place.clone(),
        stage: spec.stage.clone(),
        from: None,
        to: None,
        clusters: spec.clusters.clone(),
        requested_by: None,
        approved_by: Vec::new(),
        mark: Mark {
            promotion: place,
            uid: "preview".to_owned(),
            intent: Intent::Promote,
        },
    };
    let request = Request {
        set,
        message: &Message::new("preview", None, trailers),
        author: &nobody,
        committer: &nobody,
        key: None,
        since: None,
    };
    let preview = reading.workspace.preview(reading.head, &request).await?;
    Ok((preview.changes, preview.commit))
}

/// What differs, clusters with the same differences together.
async fn on_clusters(
    client: &Client,
    reading: &Reading,
    commit: Oid,
    children: &[Child],
) -> anyhow::Result<String> {
    let repository = reading.workspace.repository();
    let mut groups: Vec<(Vec<String>, Vec<String>)> = Vec::new();
    for child in children {
        let name = child.kustomization.name_any();
        let before = render(client, repository, reading.head, &child.kustomization)
            .await
            .with_context(|| format!("failed to build {name} as it is"))?;
        let after = render(client, repository, commit, &child.kustomization)
            .await
            .with_context(|| format!("failed to build {name} as it would be"))?;
        let lines = differences(&before, &after);
        match groups.iter_mut().find(|(_, known)| *known == lines) {
            Some((names, _)) => names.push(child.cluster.clone()),
            None => groups.push((vec![child.cluster.clone()], lines)),
        }
    }
    let mut text = String::new();
    for (clusters, lines) in groups {
        let _ = writeln!(text, "\n{}:", clusters.join(", "));
        if lines.is_empty() {
            text.push_str("  no object differs\n");
        }
        for line in lines {
            let _ = writeln!(text, "{line}");
        }
    }
    Ok(text)
}

fn shown(value: &ChangedValue) -> String {
    let place = if value.field.is_empty() {
        value.path.clone()
    } else {
        format!("{}: {}", value.path, value.field)
    };
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "(none)".to_owned());
    format!(
        "{place}   {} → {}",
        or_none(&value.from),
        or_none(&value.to)
    )
}

/// A folder without what means nothing.
fn clean(path: &str) -> String {
    path.trim_start_matches("./").trim_matches('/').to_owned()
}
