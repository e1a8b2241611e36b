//! The entry of an image in a kustomization's `images`, and the version in it.
//!
//! A version is a tag, a digest (`sha256:…`), or both (`1.2.3@sha256:…`), as kustomize has them in `newTag` and `digest`. A
//! set leaves exactly the given ones: a tag beside an old digest would have no effect. `newName` and everything else in
//! the entry stays.

use std::fmt;
use std::str::FromStr;

use fairway_yaml::edit::{self, Step};
use fairway_yaml::{Dialect, Node, parse};
use serde_json::{Map, Value, json};

use super::fault::Fault;
use super::field::Field;
use super::value::Set;

/// What an image is pulled by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageVersion {
    /// `newTag`
    pub tag: Option<String>,
    /// `digest`, with its algorithm.
    pub digest: Option<String>,
}

/// A text that is no version of an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no version of an image; hint: a tag of letters, digits, '_', '.' and '-' (at most 128), a digest sha256:…, or TAG@DIGEST"
)]
pub struct NotAVersion(pub String);

impl FromStr for ImageVersion {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let version = match text.split_once('@') {
            Some((tag, digest)) => Self {
                tag: Some(tag.to_owned()),
                digest: Some(digest.to_owned()),
            },
            None if text.contains(':') => Self {
                tag: None,
                digest: Some(text.to_owned()),
            },
            None => Self {
                tag: Some(text.to_owned()),
                digest: None,
            },
        };
        let fits = version.tag.as_deref().is_none_or(is_tag)
            && version.digest.as_deref().is_none_or(is_digest);
        fits.then_some(version)
            .ok_or_else(|| NotAVersion(text.chars().take(200).collect()))
    }
}

impl fmt::Display for ImageVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.tag, &self.digest) {
            (Some(tag), Some(digest)) => write!(f, "{tag}@{digest}"),
            (Some(one), None) | (None, Some(one)) => f.write_str(one),
            (None, None) => Ok(()),
        }
    }
}

/// The rule of image references (distribution's `reference`).
fn is_tag(text: &str) -> bool {
    text.len() <= 128
        && text.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

fn is_digest(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else {
        return false;
    };
    let length = match algorithm {
        "sha256" => 64,
        "sha512" => 128,
        _ => return false,
    };
    hex.len() == length
        && hex
            .chars()
            .all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
}

/// The version that a kustomization's text sets for an image; `None` where it sets none.
pub fn read(text: &str, name: &str) -> Result<Option<ImageVersion>, Fault> {
    let version = ImageVersion {
        tag: Field::image(name, "newTag").read(text)?,
        digest: Field::image(name, "digest").read(text)?,
    };
    Ok(Some(version).filter(|version| *version != ImageVersion::default()))
}

/// What the image is called behind this kustomization: its `newName`, where it has one.
pub fn name_behind(text: &str, name: &str) -> Result<String, Fault> {
    let steps = [
        Step::key("images"),
        Step::matching("name", name),
        Step::key("newName"),
    ];
    match edit::get_scalar(text, &steps) {
        Ok(new) if !new.is_empty() => Ok(new),
        Ok(_) | Err(edit::Error::NotFound { .. }) => Ok(name.to_owned()),
        Err(error) => Err(error.into()),
    }
}

/// The text with this version of the image, and what was set; nothing else differs. An entry is added where there is none.
pub fn set(text: &str, name: &str, version: &ImageVersion) -> Result<(String, Vec<Set>), Fault> {
    let [tag, digest] = ["newTag", "digest"].map(|key| Field::image(name, key));
    let mut sets = Vec::new();
    let mut edited = text.to_owned();
    if entry(text, name)?.is_none() {
        let mut item = vec![("name", name)];
        item.extend(version.tag.as_deref().map(|tag| ("newTag", tag)));
        item.extend(version.digest.as_deref().map(|digest| ("digest", digest)));
        edited = append(text, &item)?;
        for (key, value) in item {
            sets.push(Set::new(Field::image(name, key), None, Some(value)));
        }
    } else {
        let wanted = [(&tag, &version.tag), (&digest, &version.digest)];
        // What is added comes first: an entry never loses its last key.
        for (field, value) in wanted {
            let before = field.read(&edited)?;
            if let Some(value) = value
                && before.as_ref() != Some(value)
            {
                edited = field.write(&edited, value)?;
                sets.push(Set::new(field.clone(), before.as_deref(), Some(value)));
            }
        }
        for (field, value) in wanted {
            if value.is_none() && has_key(&edited, field)? {
                let before = field.read(&edited)?;
                edited = field.remove(&edited)?;
                sets.push(Set::new(field.clone(), before.as_deref(), None));
            }
        }
    }
    prove(text, &edited, name, Some(version))?;
    Ok((edited, sets))
}

/// The text without a version for the image, and what was taken away: the whole entry, unless it says more than that.
pub fn unset(text: &str, name: &str) -> Result<(String, Vec<Set>), Fault> {
    let Some(entry) = entry(text, name)? else {
        return Ok((text.to_owned(), Vec::new()));
    };
    let before = read(text, name)?.unwrap_or_default();
    let mut sets = Vec::new();
    for (key, value) in [("newTag", &before.tag), ("digest", &before.digest)] {
        if let Some(value) = value {
            sets.push(Set::new(Field::image(name, key), Some(value), None));
        }
    }
    let says_more = entry
        .entries()
        .into_iter()
        .flatten()
        .any(|(key, _)| !matches!(key.text(), Some("name" | "newTag" | "digest")));
    let mut edited = text.to_owned();
    if says_more {
        for key in ["newTag", "digest"] {
            let field = Field::image(name, key);
            if has_key(&edited, &field)? {
                edited = field.remove(&edited)?;
            }
        }
        prove(text, &edited, name, Some(&ImageVersion::default()))?;
    } else {
        let images = [Step::key("images")];
        let item = [Step::key("images"), Step::matching("name", name)];
        let path: &[Step] = if count(text)? == 1 { &images } else { &item };
        edited = edit::remove(text, path)?;
        sets.push(Set::new(Field::image(name, "name"), Some(name), None));
        prove(text, &edited, name, None)?;
    }
    Ok((edited, sets))
}

fn append(text: &str, item: &[(&str, &str)]) -> Result<String, Fault> {
    match edit::append_item(text, &[Step::key("images")], item) {
        Err(edit::Error::NotFound { .. }) => Ok(edit::insert_list(text, &[], "images", item)?),
        appended => Ok(appended?),
    }
}

fn root(text: &str) -> Result<Node, Fault> {
    let mut documents = parse(text).map_err(|error| Fault::unreadable(&error))?;
    documents.retain(|document| !document.is_empty());
    match documents.len() {
        1 => Ok(documents.swap_remove(0).root),
        many => Err(Fault::new(
            format!("a kustomization is one document, and here are {many}"),
            "correct the file; nothing was committed",
        )),
    }
}

fn count(text: &str) -> Result<usize, Fault> {
    let root = root(text)?;
    Ok(root
        .get("images")
        .and_then(|images| images.items())
        .map_or(0, <[Node]>::len))
}

fn entry(text: &str, name: &str) -> Result<Option<Node>, Fault> {
    let root = root(text)?;
    if root.entries().is_none() {
        return Err(Fault::new(
            "it is no kustomization",
            "correct the file; nothing was committed",
        )
        .on_line(root.span.line as usize));
    }
    let named = |item: &&Node| item.get("name").and_then(|node| node.text()) == Some(name);
    let items = root.get("images").and_then(|images| images.items());
    let found: Vec<&Node> = items.unwrap_or_default().iter().filter(named).collect();
    match found.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some((*one).clone())),
        [_, second, ..] => Err(Fault::new(
            "it stands there more than once",
            "leave one entry of the image; nothing was committed",
        )
        .in_field(format!("images[name={name}]"))
        .on_line(second.span.line as usize)),
    }
}

fn has_key(text: &str, field: &Field) -> Result<bool, Fault> {
    let Field::Image { name, key } = field else {
        return Ok(false);
    };
    Ok(entry(text, name)?.is_some_and(|entry| entry.get(key).is_some()))
}

/// Reads both texts anew, by the rules of kustomize and of kubectl, and compares all that they say: only this image may
/// differ, and it is as it should be (`None`: not there).
fn prove(
    before: &str,
    after: &str,
    name: &str,
    version: Option<&ImageVersion>,
) -> Result<(), Fault> {
    for dialect in [Dialect::Kustomize, Dialect::Kubectl] {
        let read = |text: &str| -> Result<Value, Fault> {
            root(text)?
                .to_json_as(dialect)
                .map_err(|error| Fault::unreadable(&error))
        };
        if intended(read(before)?, name, version) != Some(read(after)?) {
            return Err(Fault::new(
                "after the edit more than this image would differ",
                "write the entry in block style; nothing was committed",
            )
            .in_field(format!("images[name={name}]")));
        }
    }
    Ok(())
}

fn intended(mut value: Value, name: &str, version: Option<&ImageVersion>) -> Option<Value> {
    let root = value.as_object_mut()?;
    let mut images = match root.get("images") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(images)) => images.clone(),
        Some(_) => return None,
    };
    let at = images.iter().position(|image| image["name"] == name);
    match (at, version) {
        (Some(at), None) => {
            images.remove(at);
            if images.is_empty() {
                root.remove("images");
                return Some(value);
            }
        }
        (at, Some(version)) => {
            let mut entry: Map<String, Value> = match at {
                Some(at) => images[at].as_object()?.clone(),
                None => json!({"name": name}).as_object()?.clone(),
            };
            for (key, wanted) in [("newTag", &version.tag), ("digest", &version.digest)] {
                match wanted {
                    Some(wanted) => entry.insert(key.to_owned(), wanted.as_str().into()),
                    None => entry.remove(key),
                };
            }
            match at {
                Some(at) => images[at] = Value::Object(entry),
                None => images.push(Value::Object(entry)),
            }
        }
        (None, None) => return None,
    }
    root.insert("images".to_owned(), Value::Array(images));
    Some(value)
}
