//! `cargo xtask protobuf`: field numbers of the built-in Kubernetes types, in `crates/apiserver/data`.
//!
//! kubectl sends some requests in protobuf and does not fall back to JSON. The source is the struct tags of `k8s.io/api`
//! and `k8s.io/apimachinery`: they hold the field numbers, the JSON names and (by pointer and `omitempty`) what a zero
//! means.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

/// The release of the API modules that the table is made from.
const RELEASE: &str = "v0.37.0";

/// Where the served kinds are listed.
const KINDS: &str = "../crates/schema/data/kinds.tsv";

/// Regenerates the file, or with `--check` fails if it differs.
pub(crate) fn run(args: &[&str]) -> Result<()> {
    let check = match args {
        [] => false,
        ["--check"] => true,
        _ => bail!("unknown arguments {args:?}; usage: cargo xtask protobuf [--check]"),
    };
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let kinds = std::fs::read_to_string(here.join(KINDS)).context(KINDS)?;
    let text = table(&kinds)?;
    let path = here.join("../crates/apiserver/data/protobuf.tsv");
    if check {
        let found = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        ensure!(
            found == text,
            "protobuf.tsv is not what k8s.io/api {RELEASE} gives; run cargo xtask protobuf"
        );
    } else {
        std::fs::write(&path, &text).with_context(|| path.display().to_string())?;
        println!(
            "protobuf.tsv: {} messages, {} KB",
            text.lines().count(),
            text.len() / 1024
        );
    }
    Ok(())
}

fn module(name: &str) -> Result<PathBuf> {
    let output = Command::new("go")
        .args(["mod", "download", "-json", &format!("{name}@{RELEASE}")])
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

/// `name TAB number:json:type…`, one message a line, sorted by name; the head of a kind is `group/version/Kind`.
fn table(kinds: &str) -> Result<String> {
    let mut sources = Sources {
        api: module("k8s.io/api")?,
        machinery: module("k8s.io/apimachinery")?,
        packages: HashMap::new(),
    };
    let mut roots: BTreeMap<String, String> = BTreeMap::new();
    for line in kinds.lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        let (group, version, kind, other) = (columns[0], columns[1], columns[3], columns[4]);
        let (group, version) = other.split_once('/').unwrap_or((group, version));
        let folder = match group {
            "" => "core",
            group => group.split('.').next().unwrap_or(group),
        };
        let package = format!("api/{folder}/{version}");
        if sources.package(&package)?.structs.contains_key(kind) {
            roots.insert(
                format!("{group}/{version}/{kind}"),
                format!("{package}.{kind}"),
            );
        }
    }
    let meta = "machinery/pkg/apis/meta/v1.DeleteOptions".to_owned();
    roots.insert("/v1/DeleteOptions".into(), meta);
    let mut messages = BTreeMap::new();
    let mut queue: Vec<String> = roots.values().cloned().collect();
    let mut seen: BTreeSet<String> = queue.iter().cloned().collect();
    while let Some(name) = queue.pop() {
        let (fields, used) = sources.message(&name)?;
        messages.insert(name, fields);
        queue.extend(used.into_iter().filter(|name| seen.insert(name.clone())));
    }
    let short: HashMap<&String, usize> = messages
        .keys()
        .enumerate()
        .map(|(n, name)| (name, n))
        .collect();
    let mut kinds_of: BTreeMap<&String, Vec<&str>> = BTreeMap::new();
    for (kind, message) in &roots {
        kinds_of.entry(message).or_default().push(kind);
    }
    let mut out = String::new();
    for (name, fields) in &messages {
        out.push_str(
            &kinds_of
                .get(name)
                .map(|kinds| kinds.join(","))
                .unwrap_or_default(),
        );
        for field in fields {
            let kind = match &field.message {
                Some(message) => format!("{}{}", field.kind, short[message]),
                None => field.kind.clone(),
            };
            write!(out, "\t{}:{}:{kind}", field.number, field.json)?;
        }
        out.push('\n');
    }
    Ok(out)
}

/// A field of a message: `kind` is `[` or `{` (repeated, map), `=` (zero is a value), then the type.
struct Field {
    number: u32,
    json: String,
    kind: String,
    message: Option<String>,
}

#[derive(Default)]
struct Package {
    /// Fields as written: Go type and tags.
    structs: HashMap<String, Vec<(String, String)>>,
    /// Other named types and what they are.
    named: HashMap<String, String>,
    imports: HashMap<String, String>,
}

struct Sources {
    api: PathBuf,
    machinery: PathBuf,
    packages: HashMap<String, Package>,
}

impl Sources {
    fn package(&mut self, name: &str) -> Result<&Package> {
        if !self.packages.contains_key(name) {
            let folder = match name.split_once('/') {
                Some(("api", rest)) => self.api.join(rest),
                Some(("machinery", rest)) => self.machinery.join(rest),
                _ => bail!("package {name}"),
            };
            let mut package = Package::default();
            if folder.is_dir() {
                for entry in std::fs::read_dir(&folder)? {
                    let path = entry?.path();
                    let file = path
                        .file_name()
                        .unwrap_or_default()
                        .to_string_lossy()
                        .into_owned();
                    let skip = file.contains("generated")
                        || file.ends_with("_test.go")
                        || Path::new(&file)
                            .extension()
                            .is_none_or(|ending| ending != "go");
                    if !skip {
                        package.read(&std::fs::read_to_string(&path)?);
                    }
                }
            }
            self.packages.insert(name.to_owned(), package);
        }
        Ok(&self.packages[name])
    }

    fn message(&mut self, name: &str) -> Result<(Vec<Field>, Vec<String>)> {
        let (package, kind) = name.rsplit_once('.').context("message name")?;
        let written = self
            .package(package)?
            .structs
            .get(kind)
            .with_context(|| format!("no struct {name}"))?
            .clone();
        let (mut fields, mut used) = (Vec::new(), Vec::new());
        for (go, tags) in written {
            let Some(proto) = tag(&tags, "protobuf").filter(|text| *text != "-") else {
                continue;
            };
            let number = proto.split(',').nth(1).context("field number")?.parse()?;
            let json = tag(&tags, "json").unwrap_or_default();
            let (json, options) = json.split_once(',').unwrap_or((json, ""));
            let keeps_zero = go.starts_with('*') || !options.contains("omit");
            let (mut kind, message) = self.kind_of(package, &go, 0)?;
            if keeps_zero && !kind.starts_with(['[', '{']) {
                kind.insert(0, '=');
            }
            used.extend(message.clone());
            fields.push(Field {
                number,
                json: json.to_owned(),
                kind,
                message,
            });
        }
        fields.sort_by_key(|field| field.number);
        Ok((fields, used))
    }

    /// The table's word for a Go type, and the message that it refers to.
    fn kind_of(
        &mut self,
        package: &str,
        go: &str,
        depth: usize,
    ) -> Result<(String, Option<String>)> {
        ensure!(depth < 8, "type {go} of {package} does not end");
        let go = go.trim_start_matches('*');
        let word = match go {
            "string" => "s",
            "bool" => "b",
            "int" | "int32" | "int64" | "uint32" | "uint64" => "i",
            "float64" => "d",
            "[]byte" => "y",
            _ => "",
        };
        if !word.is_empty() {
            return Ok((word.to_owned(), None));
        }
        if let Some(items) = go.strip_prefix("[]") {
            let (kind, message) = self.kind_of(package, items, depth + 1)?;
            return Ok((format!("[{kind}"), message));
        }
        if let Some(rest) = go.strip_prefix("map[") {
            let (_, value) = rest.split_once(']').context("map type")?;
            let (kind, message) = self.kind_of(package, value, depth + 1)?;
            // A named list as a map's value is a message around it.
            let kind = if kind.starts_with('[') {
                "x".to_owned()
            } else {
                kind
            };
            return Ok((format!("{{{kind}"), message));
        }
        let (home, name) = match go.split_once('.') {
            Some((alias, name)) => {
                let import = self.package(package)?.imports.get(alias).cloned();
                (
                    import.with_context(|| format!("import {alias} of {package}"))?,
                    name,
                )
            }
            None => (package.to_owned(), go),
        };
        let special = match (home.rsplit('/').next().unwrap_or_default(), name) {
            ("resource", "Quantity") => "q",
            ("intstr", "IntOrString") => "o",
            ("runtime", "RawExtension") => "r",
            ("v1", "Time") => "t",
            ("v1", "MicroTime") => "u",
            ("v1", "Duration") => "n",
            ("v1", "FieldsV1") => "r",
            ("types", _) => "s",
            _ => "",
        };
        if !special.is_empty() {
            return Ok((special.to_owned(), None));
        }
        if let Some(named) = self.package(&home)?.named.get(name).cloned() {
            return self.kind_of(&home, &named, depth + 1);
        }
        Ok(("m".to_owned(), Some(format!("{home}.{name}"))))
    }
}

impl Package {
    fn read(&mut self, text: &str) {
        let mut current: Option<String> = None;
        for line in text.lines() {
            if let Some(import) = import(line) {
                self.imports.insert(import.0, import.1);
                continue;
            }
            if let Some(rest) = line.strip_prefix("type ") {
                let mut words = rest.split_whitespace();
                let name = words.next().unwrap_or_default().to_owned();
                match words.next() {
                    Some("struct") => {
                        self.structs.insert(name.clone(), Vec::new());
                        current = Some(name);
                    }
                    Some("interface" | "func" | "(") | None => {}
                    Some("=") => {
                        self.named
                            .insert(name, words.next().unwrap_or_default().to_owned());
                    }
                    Some(kind) => {
                        self.named.insert(name, kind.to_owned());
                    }
                }
                continue;
            }
            if line.starts_with('}') {
                current = None;
            }
            let Some(fields) = current.as_ref().and_then(|name| self.structs.get_mut(name)) else {
                continue;
            };
            let line = line.trim();
            if line.starts_with("//") {
                continue;
            }
            if let Some((head, rest)) = line.split_once('`')
                && let Some((tags, _)) = rest.rsplit_once('`')
            {
                let words: Vec<&str> = head.split_whitespace().collect();
                if let Some(go) = words.get(1).or(words.first()) {
                    fields.push(((*go).to_owned(), tags.to_owned()));
                }
            }
        }
    }
}

/// `alias, package` of an import line of the API modules.
fn import(line: &str) -> Option<(String, String)> {
    let (head, rest) = line.split_once("\"k8s.io/")?;
    let path = rest
        .strip_suffix('"')
        .or_else(|| rest.split_once('"').map(|(path, _)| path))?;
    let head = head.trim().trim_start_matches("import").trim();
    if head.contains(char::is_whitespace) || line.contains("//") {
        return None;
    }
    let path = match path.split_once('/')? {
        ("api", rest) => format!("api/{rest}"),
        ("apimachinery", rest) => format!("machinery/{rest}"),
        _ => return None,
    };
    let last = path.rsplit('/').next()?.to_owned();
    Some((
        if head.is_empty() {
            last
        } else {
            head.to_owned()
        },
        path,
    ))
}

/// The value of a struct tag.
fn tag<'t>(tags: &'t str, name: &str) -> Option<&'t str> {
    let start = tags.find(&format!("{name}:\""))? + name.len() + 2;
    let end = tags[start..].find('"')? + start;
    Some(&tags[start..end])
}
