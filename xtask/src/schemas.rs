//! `cargo xtask schemas`: the compact tables of built-in Kubernetes types in `crates/schema/data`.
//!
//! The source is the OpenAPI v3 and discovery documents that `k8s.io/kubernetes` publishes in its own module.
//! Descriptions and versions that a server doesn't serve by default (alpha, beta) stay out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Map, Value};

/// The release that the tables are made from.
const KUBERNETES: &str = "v1.37.0";

/// What every definition name starts with, and what the tables leave out.
const PREFIX: &str = "io.k8s.";

/// Regenerates the files, or with `--check` fails if they differ.
pub(crate) fn run(args: &[&str]) -> Result<()> {
    let check = match args {
        [] => false,
        ["--check"] => true,
        _ => bail!("unknown arguments {args:?}; usage: cargo xtask schemas [--check]"),
    };
    let api = kubernetes_module()?.join("api");
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/schema/data");
    for (name, text) in [("types.tsv", types(&api)?), ("kinds.tsv", kinds(&api)?)] {
        let path = data.join(name);
        if check {
            let found =
                std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            ensure!(
                found == text,
                "{name} is not what kubernetes {KUBERNETES} gives; run cargo xtask schemas"
            );
        } else {
            std::fs::write(&path, &text).with_context(|| path.display().to_string())?;
            println!(
                "{name}: {} lines, {} KB",
                text.lines().count(),
                text.len() / 1024
            );
        }
    }
    Ok(())
}

/// The unpacked module, from Go's cache or its proxy.
fn kubernetes_module() -> Result<PathBuf> {
    let output = Command::new("go")
        .args([
            "mod",
            "download",
            "-json",
            &format!("k8s.io/kubernetes@{KUBERNETES}"),
        ])
        .current_dir(std::env::temp_dir())
        .output()
        .context("run go")?;
    ensure!(
        output.status.success(),
        "go mod download: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let found: Value = serde_json::from_slice(&output.stdout)?;
    Ok(PathBuf::from(
        found["Dir"]
            .as_str()
            .context("go mod download gave no Dir")?,
    ))
}

fn read_json(path: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}

/// `name TAB group/version/Kind[,…] TAB schema`, one definition a line, sorted by name.
fn types(api: &Path) -> Result<String> {
    let mut definitions: BTreeMap<String, Value> = BTreeMap::new();
    for entry in std::fs::read_dir(api.join("openapi-spec/v3"))? {
        let document = read_json(&entry?.path())?;
        let Some(schemas) = document
            .pointer("/components/schemas")
            .and_then(Value::as_object)
        else {
            continue;
        };
        for (name, schema) in schemas {
            definitions.insert(name.clone(), schema.clone());
        }
    }

    let mut keys = BTreeSet::new();
    for schema in definitions.values() {
        list_keys(schema, &mut keys);
    }

    let mut wanted: Vec<String> = definitions
        .iter()
        .filter(|(name, schema)| !gvks(name, schema).is_empty())
        .map(|(name, _)| name.clone())
        .collect();
    let mut lines: BTreeMap<String, String> = BTreeMap::new();
    while let Some(name) = wanted.pop() {
        let schema = &definitions[&name];
        let short = shorten(&name)?;
        if lines.contains_key(short) {
            continue;
        }
        let (compact, references) = compact(schema, &keys)?;
        lines.insert(
            short.to_owned(),
            format!("{short}\t{}\t{compact}", gvks(&name, schema).join(",")),
        );
        wanted.extend(references);
    }
    Ok(lines.into_values().fold(String::new(), |mut text, line| {
        text.push_str(&line);
        text.push('\n');
        text
    }))
}

fn shorten(name: &str) -> Result<&str> {
    name.strip_prefix(PREFIX)
        .with_context(|| format!("definition {name} is not of {PREFIX}"))
}

/// The stable kinds that a definition stands for. Lists aren't needed, nor the error and watch envelopes.
fn gvks(name: &str, schema: &Value) -> Vec<String> {
    let Some(list) = schema["x-kubernetes-group-version-kind"].as_array() else {
        return Vec::new();
    };
    if name.ends_with("List") || name.ends_with(".WatchEvent") {
        return Vec::new();
    }
    list.iter()
        .map(|gvk| {
            let word = |key: &str| gvk[key].as_str().unwrap_or_default();
            (word("group"), word("version"), word("kind"))
        })
        .filter(|(_, version, _)| stable(version))
        .map(|(group, version, kind)| format!("{group}/{version}/{kind}"))
        .collect()
}

fn stable(version: &str) -> bool {
    !version.contains("alpha") && !version.contains("beta")
}

/// Names of all fields that identify list items somewhere; their zero defaults matter.
fn list_keys(schema: &Value, keys: &mut BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            for (key, value) in map {
                if key == "x-kubernetes-list-map-keys" {
                    keys.extend(
                        value
                            .as_array()
                            .into_iter()
                            .flatten()
                            .filter_map(|key| key.as_str().map(str::to_owned)),
                    );
                }
                list_keys(value, keys);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| list_keys(value, keys)),
        _ => {}
    }
}

/// One definition without prose, references shortened, and the definitions that it refers to.
fn compact(schema: &Value, keys: &BTreeSet<String>) -> Result<(Value, Vec<String>)> {
    let mut references = Vec::new();
    let compacted = compact_node(schema, None, keys, &mut references)?;
    Ok((compacted, references))
}

fn compact_node(
    schema: &Value,
    field: Option<&str>,
    keys: &BTreeSet<String>,
    references: &mut Vec<String>,
) -> Result<Value> {
    let map = schema.as_object().context("a schema is an object")?;
    let mut out = Map::new();
    for (key, value) in map {
        match key.as_str() {
            "description" | "x-kubernetes-group-version-kind" | "x-kubernetes-unions" => {}
            // Zero values matter in keys of list items, and `{}` marks structs that are always there.
            "default"
                if is_zero(value)
                    && !(value.is_object() && map.contains_key("allOf"))
                    && !field.is_some_and(|field| keys.contains(field)) => {}
            "$ref" => {
                let name = value
                    .as_str()
                    .and_then(|path| path.rsplit('/').next())
                    .context("a $ref is a path")?;
                references.push(name.to_owned());
                out.insert(key.clone(), shorten(name)?.into());
            }
            "allOf" => {
                let [only] = value.as_array().map(Vec::as_slice).unwrap_or_default() else {
                    bail!("allOf with other than one member: {value}");
                };
                let Value::Object(inner) = compact_node(only, None, keys, references)? else {
                    continue;
                };
                out.extend(inner);
            }
            "properties" => {
                let mut properties = Map::new();
                for (name, property) in value.as_object().into_iter().flatten() {
                    properties.insert(
                        name.clone(),
                        compact_node(property, Some(name), keys, references)?,
                    );
                }
                out.insert(key.clone(), properties.into());
            }
            "items" | "additionalProperties" if value.is_object() => {
                out.insert(key.clone(), compact_node(value, None, keys, references)?);
            }
            _ => {
                out.insert(key.clone(), value.clone());
            }
        }
    }
    Ok(out.into())
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

/// `group TAB version TAB plural[/subresource] TAB Kind TAB group/version of that kind TAB singular TAB short names
/// TAB categories TAB scope TAB verbs`, in the order of discovery.
fn kinds(api: &Path) -> Result<String> {
    let discovery = api.join("discovery");
    let mut lists = vec![(
        String::new(),
        "v1".to_owned(),
        read_json(&discovery.join("api__v1.json"))?,
    )];
    for group in read_json(&discovery.join("apis.json"))?["groups"]
        .as_array()
        .context("apis.json has groups")?
    {
        let name = group["name"].as_str().context("a group has a name")?;
        for version in group["versions"]
            .as_array()
            .context("a group has versions")?
        {
            let version = version["version"]
                .as_str()
                .context("a version has a name")?;
            if stable(version) {
                let path = discovery.join(format!("apis__{name}__{version}.json"));
                lists.push((name.to_owned(), version.to_owned(), read_json(&path)?));
            }
        }
    }
    let mut text = String::new();
    for (group, version, list) in lists {
        for resource in list["resources"]
            .as_array()
            .context("a resource list has resources")?
        {
            let word = |key: &str| resource[key].as_str().unwrap_or_default();
            let words = |key: &str| {
                let list = resource[key].as_array().into_iter().flatten();
                list.filter_map(Value::as_str).collect::<Vec<_>>().join(",")
            };
            let scope = if resource["namespaced"] == true {
                "namespaced"
            } else {
                "cluster"
            };
            let kind_version = match (word("group"), word("version")) {
                (_, "") => String::new(),
                (group, version) => format!("{group}/{version}"),
            };
            writeln!(
                text,
                "{group}\t{version}\t{}\t{}\t{kind_version}\t{}\t{}\t{}\t{scope}\t{}",
                word("name"),
                word("kind"),
                word("singularName"),
                words("shortNames"),
                words("categories"),
                words("verbs"),
            )?;
        }
    }
    Ok(text)
}
