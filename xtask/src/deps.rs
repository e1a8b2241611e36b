//! `cargo xtask deps`: the dependency rules, over `cargo metadata`: layering, licences, duplicates, banned crates.
//!
//! The rules and their exceptions, each with its reason, are in `deps.json` at the root of the repository.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};
use serde_json::Value;

/// Checks every rule; prints each violation and fails if there is one.
pub(crate) fn run() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("xtask lies in the workspace")?;
    let rules: Value = serde_json::from_slice(
        &std::fs::read(root.join("deps.json")).context("failed to read deps.json")?,
    )
    .context("deps.json")?;
    let metadata: Value = serde_json::from_str(&cargo(
        root,
        &["metadata", "--format-version", "1", "--no-deps"],
    )?)
    .context("cargo metadata")?;
    let members = metadata["packages"]
        .as_array()
        .context("cargo metadata has no packages")?;
    let packages = packages(root)?;
    let mut violations = layering(members, &rules["layers"]);
    violations.extend(licences(&packages, &rules));
    violations.extend(duplicates(&packages, &rules["duplicates"]));
    violations.extend(banned(&packages, &rules["banned"]));
    violations.extend(banned_direct(&packages, &rules["banned-direct"]));
    for violation in &violations {
        eprintln!("{violation}");
    }
    if !violations.is_empty() {
        bail!(
            "{} violations of the dependency rules (deps.json)",
            violations.len()
        );
    }
    println!(
        "dependency rules: {} packages, no violation",
        packages.len()
    );
    Ok(())
}

/// Runs cargo and returns what it prints.
fn cargo(root: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .arg("--locked")
        .current_dir(root)
        .output()
        .context("failed to run cargo")?;
    if !output.status.success() {
        bail!(
            "cargo {} failed: {}",
            arguments[0],
            String::from_utf8_lossy(&output.stderr)
        );
    }
    String::from_utf8(output.stdout).context("cargo printed no UTF-8")
}

/// What is really built for Linux and macOS, tests included, as objects with `name`, `version` and `license`. (The list
/// of `cargo metadata` also has optional crates that nobody switched on.)
fn packages(root: &Path) -> anyhow::Result<Vec<Value>> {
    let tree = cargo(
        root,
        &[
            "tree",
            "--workspace",
            "--edges",
            "normal,build,dev",
            "--prefix",
            "none",
            "--no-dedupe",
            "--format",
            "{p}|{l}",
            "--target",
            "x86_64-unknown-linux-gnu",
            "--target",
            "aarch64-apple-darwin",
        ],
    )?;
    let lines: BTreeSet<&str> = tree.lines().filter(|line| !line.is_empty()).collect();
    let mut packages = BTreeMap::new();
    for line in lines {
        let (package, licence) = line
            .trim_end_matches(" (*)")
            .split_once('|')
            .context("cargo tree printed a line without a licence")?;
        let mut words = package.split_whitespace();
        let name = words.next().unwrap_or_default();
        let version = words.next().unwrap_or_default().trim_start_matches('v');
        packages.insert(
            (name.to_owned(), version.to_owned()),
            serde_json::json!({"name": name, "version": version, "license": licence}),
        );
    }
    Ok(packages.into_values().collect())
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// A crate of the workspace may use only the crates that its line in `layers` names.
fn layering(packages: &[Value], layers: &Value) -> Vec<String> {
    let mut violations = Vec::new();
    for package in packages
        .iter()
        .filter(|package| package["source"].is_null())
    {
        let name = text(package, "name");
        let Some(allowed) = layers[name].as_array() else {
            violations.push(format!("layering: {name} has no line in deps.json"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let other = text(dependency, "name");
            let ours = other == "fairway" || other.starts_with("fairway-");
            if ours && dependency["kind"].is_null() && !allowed.iter().any(|layer| layer == other) {
                violations.push(format!("layering: {name} may not use {other}"));
            }
        }
    }
    violations
}

/// Every licence expression must be satisfiable with the allowed licences.
fn licences(packages: &[Value], rules: &Value) -> Vec<String> {
    let allowed: BTreeSet<&str> = rules["licences"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    packages
        .iter()
        .filter(|package| rules["licence-exceptions"][text(package, "name")].is_null())
        .filter(|package| !satisfiable(text(package, "license"), &allowed))
        .map(|package| {
            format!(
                "licence: {} {} is under {:?}",
                text(package, "name"),
                text(package, "version"),
                text(package, "license")
            )
        })
        .collect()
}

/// SPDX expressions as crates use them: `A OR B`, `A AND B`, parentheses, `/` for OR.
fn satisfiable(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    let expression = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut tokens = expression.split_whitespace().peekable();
    let ok = any(&mut tokens, allowed);
    ok && tokens.next().is_none()
}

type Tokens<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any(tokens: &mut Tokens<'_>, allowed: &BTreeSet<&str>) -> bool {
    let mut ok = all(tokens, allowed);
    while tokens.peek() == Some(&"OR") {
        tokens.next();
        ok |= all(tokens, allowed);
    }
    ok
}

fn all(tokens: &mut Tokens<'_>, allowed: &BTreeSet<&str>) -> bool {
    let mut ok = one(tokens, allowed);
    while tokens.peek() == Some(&"AND") {
        tokens.next();
        ok &= one(tokens, allowed);
    }
    ok
}

fn one(tokens: &mut Tokens<'_>, allowed: &BTreeSet<&str>) -> bool {
    match tokens.next() {
        Some("(") => {
            let ok = any(tokens, allowed);
            ok && tokens.next() == Some(")")
        }
        Some(licence) => {
            if tokens.peek() == Some(&"WITH") {
                tokens.next();
                let exception = tokens.next().unwrap_or_default();
                return allowed.contains(format!("{licence} WITH {exception}").as_str())
                    || allowed.contains(licence);
            }
            allowed.contains(licence)
        }
        None => false,
    }
}

/// Two versions of a crate need a reason in `duplicates`; a reason without two versions is to be removed.
fn duplicates(packages: &[Value], reasons: &Value) -> Vec<String> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in packages {
        versions
            .entry(text(package, "name"))
            .or_default()
            .insert(text(package, "version"));
    }
    let mut violations: Vec<String> = versions
        .iter()
        .filter(|(name, versions)| versions.len() > 1 && reasons[**name].is_null())
        .map(|(name, versions)| {
            format!("duplicate: {name} in versions {versions:?}, no reason given")
        })
        .collect();
    for name in reasons
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name)
    {
        if versions
            .get(name.as_str())
            .is_none_or(|versions| versions.len() < 2)
        {
            violations.push(format!(
                "duplicate: {name} has one version; remove its exception"
            ));
        }
    }
    violations
}

/// Crates that must not be in the tree.
fn banned(packages: &[Value], banned: &Value) -> Vec<String> {
    packages
        .iter()
        .filter_map(|package| {
            let name = text(package, "name");
            banned[name]
                .as_str()
                .map(|reason| format!("banned: {name}: {reason}"))
        })
        .collect()
}

/// Crates that others may bring, but that our own may not name.
fn banned_direct(packages: &[Value], banned: &Value) -> Vec<String> {
    let ours = packages
        .iter()
        .filter(|package| package["source"].is_null());
    let named = ours.flat_map(|package| {
        let dependencies = package["dependencies"].as_array().into_iter().flatten();
        dependencies.map(move |dependency| (text(package, "name"), text(dependency, "name")))
    });
    named
        .filter_map(|(package, name)| {
            banned[name]
                .as_str()
                .map(|reason| format!("banned: {package} names {name}: {reason}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_crates_may_only_be_brought_by_others() {
        let banned = serde_json::json!({"chrono": "time is jiff"});
        let depends = |source: Value| {
            [
                serde_json::json!({"name": "a", "source": source, "dependencies": [{"name": "chrono"}]}),
            ]
        };
        assert_eq!(
            banned_direct(&depends(Value::Null), &banned),
            ["banned: a names chrono: time is jiff"]
        );
        assert!(banned_direct(&depends("registry".into()), &banned).is_empty());
    }

    #[test]
    fn licence_expressions() {
        let allowed = BTreeSet::from(["MIT", "Apache-2.0", "ISC"]);
        assert!(satisfiable("MIT OR GPL-3.0", &allowed));
        assert!(satisfiable("(MIT OR Apache-2.0) AND ISC", &allowed));
        assert!(satisfiable("MIT/Apache-2.0", &allowed));
        assert!(satisfiable("Apache-2.0 WITH LLVM-exception", &allowed));
        assert!(!satisfiable("MIT AND OpenSSL", &allowed));
        assert!(!satisfiable("", &allowed));
    }

    #[test]
    fn a_layer_may_not_reach_up() {
        let packages = [serde_json::json!({
            "name": "fairway-yaml", "source": null,
            "dependencies": [{"name": "fairway-apply", "kind": null}, {"name": "fairway-testkit", "kind": "dev"}],
        })];
        let found = layering(&packages, &serde_json::json!({"fairway-yaml": []}));
        assert_eq!(found, ["layering: fairway-yaml may not use fairway-apply"]);
    }
}
