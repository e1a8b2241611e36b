//! Rewriting files from the old versions of Flux's Kustomization and GitRepository to `v1`: only the bytes that must change.
//!
//! `apiVersion` is rewritten, and fields that `v1` no longer has and that did nothing are taken out (`spec.validation`,
//! `spec.gitImplementation`, `spec.accessFrom`). What says something that has to be said differently now
//! (`patchesStrategicMerge`, `patchesJson6902`) is for a person to move: that object is left as it is, and named.

use std::ops::Range;

use fairway_types::names;
use fairway_yaml::Node;

/// What is to be done about one file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Migration {
    /// The new text; the old one where nothing changes.
    pub(crate) text: String,
    /// What changes: line and words.
    pub(crate) changes: Vec<(u32, String)>,
    /// What a person must change: line, what, and what to do.
    pub(crate) refusals: Vec<(u32, String, String)>,
    /// Other places that name an old version: line.
    pub(crate) mentions: Vec<u32>,
}

const OLD: [&str; 2] = ["v1beta1", "v1beta2"];

/// The kind, where this is an object of an old version.
fn kind(root: &Node) -> Option<(&'static str, &Node)> {
    let version = root.get("apiVersion")?;
    let kind = root.get("kind")?.text()?;
    let (group, kind) = match kind {
        "Kustomization" => (names::KUSTOMIZE_GROUP, "Kustomization"),
        "GitRepository" => (names::SOURCE_GROUP, "GitRepository"),
        _ => return None,
    };
    let (named, old) = version.text()?.split_once('/')?;
    (named == group && OLD.contains(&old)).then_some((kind, version))
}

/// Fields that `v1` does not have and that never did, or no longer do, anything.
fn idle(kind: &str) -> &'static [&'static str] {
    match kind {
        "Kustomization" => &["validation"],
        _ => &["gitImplementation", "accessFrom"],
    }
}

/// Fields whose content has to be said in another place.
const MOVED: [&str; 2] = ["patchesStrategicMerge", "patchesJson6902"];

/// Migrates the text of one file. Files that are no YAML (templates) are an error.
pub(crate) fn migrate(source: &str) -> Result<Migration, fairway_yaml::Error> {
    let documents = fairway_yaml::parse(source)?;
    let mut migration = Migration::default();
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    for document in &documents {
        let objects = match document.root.get("items").and_then(Node::items) {
            Some(items) if document.root.get("kind").and_then(Node::text) == Some("List") => {
                items.iter().collect()
            }
            _ => vec![&document.root],
        };
        for object in objects {
            if let Some((kind, version)) = kind(object) {
                object_edits(source, kind, version, object, &mut migration, &mut edits);
            }
        }
    }
    edits.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
    source.clone_into(&mut migration.text);
    for (range, new) in edits {
        migration.text.replace_range(range, &new);
    }
    check(source, &mut migration);
    let refused: Vec<u32> = migration
        .refusals
        .iter()
        .map(|(line, _, _)| *line)
        .collect();
    migration.mentions = mentions(&migration.text)
        .into_iter()
        .filter(|line| !refused.contains(line))
        .collect();
    Ok(migration)
}

fn object_edits(
    source: &str,
    kind: &str,
    version: &Node,
    object: &Node,
    migration: &mut Migration,
    edits: &mut Vec<(Range<usize>, String)>,
) {
    let name = object
        .get("metadata")
        .and_then(|metadata| metadata.get("name"))
        .and_then(Node::text)
        .unwrap_or("-");
    let spec = object.get("spec");
    let moved: Vec<_> = MOVED
        .iter()
        .filter_map(|field| Some((*field, spec?.entry(field)?)))
        .collect();
    if !moved.is_empty() {
        for (field, (key, _)) in moved {
            migration.refusals.push((
                key.span.line,
                format!("{kind} {name}: spec.{field} is not in v1"),
                "move each patch into spec.patches, as {patch: |…, target: {kind, name}}; the object was left as it is".into(),
            ));
        }
        return;
    }
    let range = version.span.range();
    let Some(at) = source
        .get(range.clone())
        .and_then(|text| text.find("/v1beta"))
    else {
        return;
    };
    let start = range.start + at + 1;
    let old = &source[start..start + OLD[0].len()];
    edits.push((start..start + old.len(), "v1".into()));
    migration.changes.push((
        version.span.line,
        format!("{kind} {name}: apiVersion {old} → v1"),
    ));
    for field in idle(kind) {
        let Some((key, value)) = spec.and_then(|spec| spec.entry(field)) else {
            continue;
        };
        match lines(source, key, value) {
            Some(range) => {
                edits.push((range, String::new()));
                migration.changes.push((
                    key.span.line,
                    format!("{kind} {name}: spec.{field} removed, v1 has none"),
                ));
            }
            None => migration.refusals.push((
                key.span.line,
                format!("{kind} {name}: spec.{field} is not in v1"),
                "take it out".into(),
            )),
        }
    }
}

/// The whole lines of a key and its value, where nothing else stands on them.
fn lines(source: &str, key: &Node, value: &Node) -> Option<Range<usize>> {
    let (first, last) = (
        key.span.range().start,
        value.span.range().end.max(key.span.range().end),
    );
    let start = source[..first].rfind('\n').map_or(0, |at| at + 1);
    if !source[start..first].trim().is_empty() {
        return None;
    }
    // A block's span may reach to the next key's line.
    let last = source[..last].trim_end().len();
    let end = source[last..]
        .find('\n')
        .map_or(source.len(), |at| last + at + 1);
    let rest = source[last..end].trim();
    (rest.is_empty() || rest.starts_with('#')).then_some(start..end)
}

/// After an edit the text is read again: only the intended may differ, else the file stays as it is.
fn check(source: &str, migration: &mut Migration) {
    let as_meant = || -> Option<bool> {
        let old = fairway_yaml::parse(source).ok()?;
        let new = fairway_yaml::parse(&migration.text).ok()?;
        if old.len() != new.len() {
            return Some(false);
        }
        let refused = migration.refusals.len();
        let mut same = true;
        for (old, new) in old.iter().zip(&new) {
            let mut old = old.to_json().ok()?;
            let new = new.to_json().ok()?;
            if refused == 0 || old != new {
                intended(&mut old, &new);
            }
            same &= old == new;
        }
        Some(same)
    };
    if as_meant() != Some(true) {
        source.clone_into(&mut migration.text);
        for (line, change) in std::mem::take(&mut migration.changes) {
            migration.refusals.push((
                line,
                change,
                "this file is written in a way that can't be edited safely; change it by hand"
                    .into(),
            ));
        }
    }
}

/// Does to the old value what the edits mean, wherever the new one shows that they were made.
fn intended(old: &mut serde_json::Value, new: &serde_json::Value) {
    let items = old
        .get_mut("items")
        .and_then(serde_json::Value::as_array_mut);
    if let (Some(items), Some(new)) = (items, new["items"].as_array()) {
        for (old, new) in items.iter_mut().zip(new) {
            intended(old, new);
        }
        return;
    }
    if old["apiVersion"] == new["apiVersion"] {
        return;
    }
    old["apiVersion"] = serde_json::json!(match old["kind"].as_str() {
        Some("Kustomization") => format!("{}/v1", names::KUSTOMIZE_GROUP),
        _ => format!("{}/v1", names::SOURCE_GROUP),
    });
    let fields = idle(old["kind"].as_str().unwrap_or_default());
    if let Some(spec) = old
        .get_mut("spec")
        .and_then(serde_json::Value::as_object_mut)
    {
        for field in fields {
            if new["spec"].get(field).is_none() {
                spec.remove(*field);
            }
        }
    }
}

/// Lines that name an old version elsewhere: patches, references, templates.
fn mentions(text: &str) -> Vec<u32> {
    let names_old = |line: &str| {
        [names::KUSTOMIZE_GROUP, names::SOURCE_GROUP]
            .iter()
            .any(|group| {
                let of_git = *group == names::KUSTOMIZE_GROUP || !line.contains("HelmRepository");
                of_git
                    && OLD
                        .iter()
                        .any(|old| line.contains(&format!("{group}/{old}")))
            })
    };
    text.lines()
        .zip(1_u32..)
        .filter(|(line, _)| names_old(line))
        .map(|(_, number)| number)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_must_change_changes() {
        let source = "# fleet\napiVersion: \"kustomize.toolkit.fluxcd.io/v1beta2\" # old\nkind: Kustomization\nmetadata: {name: apps}\nspec:\n  validation: client # gone\n  interval: 5m\n  prune:   true\r\n---\napiVersion: v1\nkind: ConfigMap\n---\napiVersion: source.toolkit.fluxcd.io/v1beta1\nkind: GitRepository\nmetadata:\n  name: repo\nspec:\n  accessFrom:\n    namespaceSelectors:\n      - matchLabels: {}\n  # how it is read\n  gitImplementation: libgit2\n  url: https://x\n";
        let migration = migrate(source).unwrap();
        assert_eq!(
            migration.text,
            "# fleet\napiVersion: \"kustomize.toolkit.fluxcd.io/v1\" # old\nkind: Kustomization\nmetadata: {name: apps}\nspec:\n  interval: 5m\n  prune:   true\r\n---\napiVersion: v1\nkind: ConfigMap\n---\napiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata:\n  name: repo\nspec:\n  # how it is read\n  url: https://x\n"
        );
        assert_eq!(migration.changes.len(), 5);
        assert!(migration.refusals.is_empty() && migration.mentions.is_empty());
        // Once more changes nothing.
        let again = migrate(&migration.text).unwrap();
        assert_eq!((again.text, again.changes.len()), (migration.text, 0));
    }

    #[test]
    fn what_must_be_moved_is_named_with_its_line() {
        let source = "apiVersion: kustomize.toolkit.fluxcd.io/v1beta2\nkind: Kustomization\nmetadata:\n  name: a\nspec:\n  patchesStrategicMerge:\n  - kind: Deployment\n";
        let migration = migrate(source).unwrap();
        assert_eq!(migration.text, source);
        assert_eq!(migration.refusals[0].0, 6);
        assert!(migration.refusals[0].1.contains("patchesStrategicMerge"));
    }

    #[test]
    fn flow_style_is_left_to_a_person_where_a_line_holds_more() {
        let source = "{apiVersion: kustomize.toolkit.fluxcd.io/v1beta1, kind: Kustomization, metadata: {name: a}, spec: {validation: none, prune: true}}\n";
        let migration = migrate(source).unwrap();
        assert!(
            migration.text.contains("fluxcd.io/v1,"),
            "{}",
            migration.text
        );
        assert_eq!(migration.refusals.len(), 1);
    }

    #[test]
    fn other_kinds_are_not_touched_and_references_are_named() {
        let source = "apiVersion: source.toolkit.fluxcd.io/v1beta2\nkind: OCIRepository\n---\nkind: X\npatch: |\n  apiVersion: kustomize.toolkit.fluxcd.io/v1beta2\n";
        let migration = migrate(source).unwrap();
        assert_eq!(
            (migration.text.as_str(), migration.changes.len()),
            (source, 0)
        );
        assert_eq!(migration.mentions, [1, 6]);
    }
}
