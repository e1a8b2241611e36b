//! From the bytes of a file to resources.

use std::collections::VecDeque;

use fairway_yaml::{DuplicateKeys, Kind, Node};

use crate::error::{Error, ErrorKind, Result};
use crate::node;
use crate::resource::Resource;

/// The resources of a text that stands in `file`: all documents, lists unfolded, each with kind and name.
pub(crate) fn resources(file: &str, bytes: &[u8]) -> Result<Vec<Resource>> {
    read(file, bytes, DuplicateKeys::Refuse)
}

/// Strategic merge patches, which kustomize never checks for keys that stand twice: the first one counts.
pub(crate) fn patches(file: &str, bytes: &[u8]) -> Result<Vec<Resource>> {
    read(file, bytes, DuplicateKeys::FirstWins)
}

fn read(file: &str, bytes: &[u8], duplicate_keys: DuplicateKeys) -> Result<Vec<Resource>> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Error::new(ErrorKind::Syntax, "the file is not UTF-8 text").in_file(file))?;
    if text.trim_start_matches('\u{feff}').starts_with('%') {
        return Err(Error::syntax(&fairway_yaml::Error {
            message: "did not find expected <document start>".to_owned(),
            line: 1,
            column: 1,
        })
        .of_file(file)
        .hint("kustomize takes no YAML directives: leave the line that starts with % out"));
    }
    check_separators(text).map_err(|error| error.of_file(file))?;
    let options = fairway_yaml::Options {
        duplicate_keys,
        ..fairway_yaml::Options::default()
    };
    let documents = fairway_yaml::parse_with(text, options)
        .map_err(|error| Error::syntax(&error).of_file(file))?;
    let alone = documents.len() == 1;
    let mut queue = VecDeque::new();
    for document in documents {
        let root = document.root;
        if node::is_null(&root) {
            continue;
        }
        if alone && is_plain_list(&root) {
            queue.extend(items_of(root));
        } else {
            queue.push_back(root);
        }
    }
    // Where one is bad, none is taken.
    queue.retain(|object| !node::is_empty(object));
    for object in &queue {
        check_object(file, object)?;
    }
    let mut out = Vec::with_capacity(queue.len());
    while let Some(object) = queue.pop_front() {
        if !object
            .get("kind")
            .is_some_and(|kind| node::text(kind).ends_with("List"))
        {
            out.push(Resource::new(object));
            continue;
        }
        match object.get("items") {
            None => out.push(Resource::new(object)),
            Some(items) if node::is_null(items) => {}
            Some(items) => {
                let Kind::Seq(items) = &items.kind else {
                    return Err(
                        Error::invalid("items of a list of resources must be a list")
                            .at(file, items.span),
                    );
                };
                for item in items {
                    // Lists pass through JSON, which turns dates into time stamps.
                    let value = item
                        .to_json()
                        .map_err(|error| Error::syntax(&error).of_file(file))?;
                    let mut object = node::placed(Node::from_json(&value));
                    object.span = item.span;
                    if !node::is_empty(&object) {
                        check_object(file, &object)?;
                        queue.push_back(object);
                    }
                }
            }
        }
    }
    Ok(out)
}

/// kustomize takes a line that starts with `---` for a separator, and nothing but a comment may follow.
fn check_separators(text: &str) -> Result<()> {
    let mut line = 1;
    let mut rest = text;
    while let Some(at) = rest.find('\n') {
        rest = &rest[at + 1..];
        line += 1;
        if let Some(after) = rest.strip_prefix("---")
            && let Some(end) = after.find('\n')
        {
            let after = after[..end].trim();
            if !after.is_empty() && !after.starts_with('#') {
                return Err(Error::syntax(&fairway_yaml::Error {
                    message: format!("invalid document separator: ---{}", &rest[3..3 + end]),
                    line,
                    column: 1,
                })
                .hint("nothing may follow --- on its line"));
            }
        }
    }
    Ok(())
}

fn is_plain_list(root: &Node) -> bool {
    let kind = root.get("kind").map_or("", node::text);
    matches!(kind, "List" | "ResourceList")
        && (root.get("items").is_some() || root.get("functionConfig").is_some())
}

fn items_of(mut root: Node) -> Vec<Node> {
    match node::remove(&mut root, "items").map(|items| items.kind) {
        Some(Kind::Seq(items)) => items,
        _ => Vec::new(),
    }
}

fn check_object(file: &str, object: &Node) -> Result<()> {
    let error = |what: &str| Error::invalid(what).at(file, object.span);
    if object.entries().is_none() {
        return Err(error(&format!(
            "expected an object with apiVersion, kind and metadata, found {}",
            node::noun(object)
        )));
    }
    let kind = object
        .get("kind")
        .filter(|kind| !node::is_empty(kind))
        .map_or("", node::text);
    if kind.is_empty() {
        return Err(error("missing kind in object")
            .hint("every resource needs apiVersion, kind and metadata.name"));
    }
    let name = node::lookup(object, &["metadata", "name"]);
    if !kind.ends_with("List")
        && name.is_none_or(|name| node::is_null(name) || node::text(name).is_empty())
    {
        return Err(error(&format!(
            "missing metadata.name in object of kind {kind}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        resources("f.yaml", text.as_bytes())
            .unwrap()
            .iter()
            .map(|r| r.name().to_owned())
            .collect()
    }

    #[test]
    fn documents_and_lists_become_single_resources() {
        let one = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
        let list = "apiVersion: v1\nkind: ConfigMapList\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: b}}\n";
        assert_eq!(
            names(&format!("---\n{one}---\n# nothing\n---\n{list}")),
            ["a", "b"]
        );
        assert!(names("").is_empty());
    }

    #[test]
    fn what_is_not_an_object_is_refused_with_its_line() {
        let error = resources("f.yaml", b"\n\nkind: X\n").unwrap_err();
        assert_eq!((error.line(), error.file()), (Some(3), Some("f.yaml")));
        assert!(resources("f.yaml", b"just text").is_err());
        assert!(resources("f.yaml", b"a: 1\n--- b\nc: 2\n").is_err());
    }
}
