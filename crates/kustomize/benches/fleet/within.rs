//! Builds in this process.

use std::error::Error;

use fairway_kustomize::{
    Bases, FileTree, MemoryTree, Options, ReadSet, Recorder, build_with, render,
};

use crate::files::{self, ENVIRONMENTS, REGIONS, cluster_path, overlay};
use crate::{fastest, milliseconds, times};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

pub(crate) fn measure(apps: usize, rounds: usize) -> Result<()> {
    for count in [10, 50, apps] {
        let tree = files::tree(count);
        let path = cluster_path("prod", "ams");
        let (took, text) = fastest(rounds, || {
            Ok(render(&tree, &path, &Options::default())?.yaml)
        })?;
        println!(
            "one cluster of {count} apps, cold: {} ({} bytes out)",
            milliseconds(took),
            text.len()
        );
    }
    let tree = files::tree(apps);
    let path = overlay(0, "prod", "ams");
    let (took, _) = fastest(rounds * 20, || {
        Ok(render(&tree, &path, &Options::default())?)
    })?;
    println!("one overlay, cold: {}", milliseconds(took));
    clusters(&tree, apps, rounds)?;
    overlays(&tree, apps, rounds)
}

fn all_clusters() -> Vec<String> {
    let pairs = ENVIRONMENTS
        .iter()
        .flat_map(|environment| REGIONS.map(|region| cluster_path(environment, region)));
    pairs.collect()
}

fn build_all(
    tree: &dyn FileTree,
    paths: &[String],
    bases: &Bases,
) -> Result<Vec<(String, ReadSet)>> {
    let mut out = Vec::with_capacity(paths.len());
    for path in paths {
        let recorder = Recorder::new(tree);
        build_with(&recorder, path, &Options::flux(), bases)?;
        out.push((path.clone(), recorder.into_read_set()));
    }
    Ok(out)
}

/// The edits of one app that a commit may make, and the file that each changes.
fn commits(tree: &MemoryTree) -> Result<Vec<(&'static str, String, MemoryTree)>> {
    let mut out = Vec::new();
    for (what, path) in [
        (
            "a file of one overlay",
            format!("{}/placement.yaml", overlay(0, "prod", "ams")),
        ),
        (
            "a file of one app's environment",
            "apps/app000/prod/all/sizes.yaml".to_owned(),
        ),
        (
            "a file of one app's base",
            "apps/app000/base/deployment.yaml".to_owned(),
        ),
    ] {
        let mut after = tree.clone();
        let mut text = String::from_utf8(tree.read(&path)?.to_vec())?;
        text.push_str("# changed\n");
        after.insert(path.clone(), text);
        out.push((what, path, after));
    }
    Ok(out)
}

/// All clusters, each a build of its own that takes in all apps.
fn clusters(tree: &MemoryTree, apps: usize, rounds: usize) -> Result<()> {
    let paths = all_clusters();
    let (alone, ()) = fastest(rounds, || {
        for path in &paths {
            render(tree, path, &Options::flux())?;
        }
        Ok(())
    })?;
    println!(
        "\n{} clusters of {apps} apps, one after the other: {}",
        paths.len(),
        milliseconds(alone)
    );
    let (shared, bases) = fastest(rounds, || {
        let bases = Bases::default();
        build_all(tree, &paths, &bases)?;
        Ok(bases)
    })?;
    println!(
        "  with shared bases ({} of them): {} ({})",
        bases.len(),
        milliseconds(shared),
        times(alone, shared)
    );
    for (what, changed, after) in commits(tree)? {
        let reads = build_all(tree, &paths, &bases)?;
        let (took, built) = fastest(rounds, || again(&after, &changed, &reads, &bases))?;
        println!(
            "  after a commit of {what}: {built} built in {} ({})",
            milliseconds(took),
            times(alone, took)
        );
    }
    Ok(())
}

/// Each overlay of each app is a build of its own.
fn overlays(tree: &MemoryTree, apps: usize, rounds: usize) -> Result<()> {
    let mut paths = Vec::new();
    for app in 0..apps {
        for environment in ENVIRONMENTS {
            paths.extend(REGIONS.map(|region| overlay(app, environment, region)));
        }
    }
    let (alone, ()) = fastest(rounds, || {
        for path in &paths {
            render(tree, path, &Options::flux())?;
        }
        Ok(())
    })?;
    println!(
        "\n{apps} apps × 9 overlays, one after the other: {}",
        milliseconds(alone)
    );
    let (shared, (bases, reads)) = fastest(rounds, || {
        let bases = Bases::default();
        let reads = build_all(tree, &paths, &bases)?;
        Ok((bases, reads))
    })?;
    println!(
        "  with shared bases: {} ({})",
        milliseconds(shared),
        times(alone, shared)
    );
    for (what, changed, after) in commits(tree)? {
        let (took, built) = fastest(rounds, || again(&after, &changed, &reads, &bases))?;
        println!(
            "  after a commit of {what}: {built} built in {} ({})",
            milliseconds(took),
            times(alone, took)
        );
    }
    Ok(())
}

/// What a new commit takes: most builds are known to come out the same, the others are built again.
fn again(
    after: &MemoryTree,
    changed: &str,
    reads: &[(String, ReadSet)],
    bases: &Bases,
) -> Result<usize> {
    let changed = [changed.to_owned()];
    let bases = bases.apart_from(&changed);
    let mut built = 0;
    for (path, reads) in reads {
        if reads.is_apart_from(&changed) || reads.same_in(after)? {
            continue;
        }
        build_with(after, path, &Options::flux(), &bases)?;
        built += 1;
    }
    Ok(built)
}
