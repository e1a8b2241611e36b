//! `configMapGenerator` and `secretGenerator`.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fairway_yaml::{Kind, Node};

use crate::error::{Error, Result};
use crate::kustomization::{GeneratorArgs, GeneratorOptions};
use crate::load::Loader;
use crate::node;
use crate::resource::{Behavior, Resource};
use crate::tree;

/// What is generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Generated<'a> {
    ConfigMap,
    /// With its type; `Opaque` where it is empty.
    Secret(&'a str),
}

/// Makes the ConfigMap or Secret of one generator.
pub(crate) fn make(
    loader: &Loader<'_>,
    what: Generated<'_>,
    args: &GeneratorArgs,
) -> Result<Resource> {
    let kind = match what {
        Generated::ConfigMap => "ConfigMap",
        Generated::Secret(_) => "Secret",
    };
    if args.name.is_empty() {
        return Err(Error::invalid(format!("a {kind} must have a name")));
    }
    let mut metadata = node::map();
    node::insert(&mut metadata, "name", node::string(args.name.as_str()));
    if !args.namespace.is_empty() {
        node::insert(
            &mut metadata,
            "namespace",
            node::string(args.namespace.as_str()),
        );
    }
    let none = GeneratorOptions::default();
    let options = args.options.as_ref().unwrap_or(&none);
    for (field, pairs) in [
        ("labels", &options.labels),
        ("annotations", &options.annotations),
    ] {
        if !pairs.is_empty() {
            let entries = pairs
                .iter()
                .map(|(key, value)| (node::plain(key.as_str()), node::string(value.as_str())));
            node::insert(
                &mut metadata,
                field,
                node::node(Kind::Map(entries.collect())),
            );
        }
    }
    let mut object = node::map();
    node::insert(&mut object, "apiVersion", node::plain("v1"));
    node::insert(&mut object, "kind", node::plain(kind));
    node::insert(&mut object, "metadata", metadata);
    let pairs = pairs(loader, args)?;
    let map = |entries: Vec<(Node, Node)>| node::node(Kind::Map(entries));
    match what {
        Generated::ConfigMap => {
            let (mut data, mut binary) = (Vec::new(), Vec::new());
            for (key, bytes) in pairs {
                let key = node::plain(key);
                match String::from_utf8(bytes) {
                    Ok(text) => data.push((key, node::string(text))),
                    Err(error) => binary.push((key, node::string(base64_lines(error.as_bytes())))),
                }
            }
            for (field, entries) in [("data", data), ("binaryData", binary)] {
                if !entries.is_empty() {
                    node::insert(&mut object, field, map(entries));
                }
            }
        }
        Generated::Secret(secret_type) => {
            let secret_type = if secret_type.is_empty() {
                "Opaque"
            } else {
                secret_type
            };
            node::insert(&mut object, "type", node::string(secret_type));
            let entries = pairs
                .into_iter()
                .map(|(key, bytes)| (node::plain(key), node::string(base64_lines(&bytes))));
            node::insert(&mut object, "data", map(entries.collect()));
        }
    }
    if options.immutable {
        node::insert(&mut object, "immutable", node::plain("true"));
    }
    let mut resource = Resource::new(object);
    resource.needs_hash = !options.disable_name_suffix_hash;
    resource.behavior = Behavior::parse(&args.behavior);
    Ok(resource)
}

/// Keys and values of all sources, sorted by key.
fn pairs(loader: &Loader<'_>, args: &GeneratorArgs) -> Result<Vec<(String, Vec<u8>)>> {
    let mut out: Vec<(String, Vec<u8>)> = Vec::new();
    for path in &args.envs {
        let bytes = loader
            .load(path)
            .map_err(|error| error.while_doing("env source"))?;
        env_lines(&bytes, &mut out)
            .map_err(|error| error.while_doing(format_args!("env source {path}")))?;
    }
    for literal in &args.literals {
        let (key, value) = literal
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| {
                Error::invalid(format!(
                    "invalid literal source {literal}, expected key=value"
                ))
            })?;
        out.push((key.to_owned(), unquoted(value).as_bytes().to_vec()));
    }
    for source in &args.files {
        let (key, path) = file_source(source)?;
        let bytes = loader
            .load(path)
            .map_err(|error| error.while_doing("file source"))?;
        out.push((key.to_owned(), bytes.to_vec()));
    }
    let mut seen = HashSet::new();
    for (key, _) in &out {
        check_key(key)?;
        if !seen.insert(key.as_str()) {
            return Err(Error::conflict(format!(
                "{} illegally repeats the key `{key}`",
                args.name
            )));
        }
    }
    out.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(out)
}

/// `KEY=value` lines; blank ones and comments are passed over, a key alone has an empty value.
fn env_lines(bytes: &[u8], out: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = std::str::from_utf8(line)
            .map_err(|_| Error::invalid(format!("line {} has invalid utf8 bytes", number + 1)))?;
        let line = if number == 0 {
            line.strip_prefix('\u{feff}').unwrap_or(line)
        } else {
            line
        };
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        check_env_name(key)?;
        out.push((key.to_owned(), value.as_bytes().to_vec()));
    }
    Ok(())
}

/// Kustomize lets most names pass, but none that is empty.
fn check_env_name(key: &str) -> Result<()> {
    if key.is_empty() {
        return Err(Error::invalid("an environment variable has no name"));
    }
    Ok(())
}

fn check_key(key: &str) -> Result<()> {
    if key.is_empty() {
        return Err(Error::invalid("a key is empty"));
    }
    Ok(())
}

fn unquoted(text: &str) -> &str {
    for quote in ['"', '\''] {
        if text.len() >= 2 && text.starts_with(quote) && text.ends_with(quote) {
            return &text[1..text.len() - 1];
        }
    }
    text
}

/// `path` or `key=path`.
fn file_source(source: &str) -> Result<(&str, &str)> {
    let bad = |why: &str| Error::invalid(format!("{why} in file source {source:?}"));
    match source.split_once('=') {
        None => {
            let trimmed = source.trim_end_matches('/');
            Ok((tree::file_name(trimmed), source))
        }
        Some(("", _)) => Err(bad("missing key name")),
        Some((_, "")) => Err(bad("missing file path")),
        Some((_, path)) if path.contains('=') => Err(bad("key name or file path contains '='")),
        Some((key, path)) => Ok((key, path)),
    }
}

/// Base64 as kustomize writes it: what is longer than a line of 70 characters is broken, each line ended.
fn base64_lines(bytes: &[u8]) -> String {
    const LINE: usize = 70;
    let encoded = STANDARD.encode(bytes);
    if encoded.len() < LINE {
        return encoded;
    }
    let mut out = String::with_capacity(encoded.len() + encoded.len() / LINE + 1);
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(LINE.min(rest.len()));
        out.push_str(line);
        out.push('\n');
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_base64_is_broken_into_lines() {
        assert_eq!(base64_lines(b"abc"), "YWJj");
        let long = base64_lines(&[0; 60]);
        assert_eq!(long.lines().map(str::len).collect::<Vec<_>>(), [70, 10]);
        assert!(long.ends_with('\n'));
    }

    #[test]
    fn sources_name_their_keys() {
        assert_eq!(file_source("a/b.txt").unwrap().0, "b.txt");
        assert_eq!(file_source("k=a/b.txt").unwrap(), ("k", "a/b.txt"));
        for bad in ["=x", "x=", "a=b=c"] {
            assert!(file_source(bad).is_err());
        }
        let mut out = Vec::new();
        env_lines(b"\xef\xbb\xbfA=1\n# no\n\n  B=x=y\r\nC", &mut out).unwrap();
        let keys: Vec<_> = out
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_slice()))
            .collect();
        assert_eq!(keys, [("A", &b"1"[..]), ("B", b"x=y"), ("C", b"")]);
        assert_eq!(unquoted("'it'"), "it");
        assert_eq!(unquoted("'it\""), "'it\"");
    }
}
