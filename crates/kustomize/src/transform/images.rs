//! `images`: new names, tags and digests.

use fairway_yaml::{Kind, Node};

use crate::error::Result;
use crate::field_spec::{Create, FieldSpec};
use crate::node::{self, Tag};
use crate::options::Image;
use crate::resources::Resources;

/// Changes the image wherever containers are, and in the fields of the specs.
pub(crate) fn transform(
    resources: &mut Resources,
    image: &Image,
    specs: &[FieldSpec],
) -> Result<()> {
    let pattern = Pattern::new(&image.name);
    for resource in resources.contents_mut() {
        if resource.is_gone() || resource.kind() == "CustomResourceDefinition" {
            continue;
        }
        let touches = look(resource.object(), &|value| pattern.matches(value), specs);
        // A copy that nothing changes is not worth making: other builds share the object.
        if !touches {
            continue;
        }
        let mut object = resource.lend_object();
        let done = in_containers(&mut object, &mut |value| update(value, image, &pattern));
        resource.set_object(object);
        done.map_err(|error| error.while_doing(resource.id()))?;
        for spec in specs {
            spec.apply(resource, Create::Nothing, &mut |value| {
                if node::is_null(value) {
                    return Ok(());
                }
                update(value, image, &pattern)
            })?;
        }
    }
    Ok(())
}

/// Whether any text is wanted, or a field of the specs has another shape than a text: null lists become empty ones, and
/// maps where an image should be are errors.
fn look(node: &Node, wanted: &dyn Fn(&str) -> bool, specs: &[FieldSpec]) -> bool {
    match &node.kind {
        Kind::Scalar(scalar) => wanted(&scalar.text),
        Kind::Seq(items) => items.iter().any(|item| look(item, wanted, specs)),
        Kind::Map(entries) => entries.iter().any(|(key, value)| {
            let odd = node::is_null(value) || value.scalar().is_none();
            look(value, wanted, specs)
                || (odd
                    && specs
                        .iter()
                        .any(|spec| spec.names_odd(node::text(key), value)))
        }),
    }
}

/// The `image` of each item of any list called `containers` or `initContainers`.
fn in_containers(node: &mut Node, set: &mut dyn FnMut(&mut Node) -> Result<()>) -> Result<()> {
    match &mut node.kind {
        Kind::Scalar(_) => Ok(()),
        Kind::Seq(items) => items
            .iter_mut()
            .try_for_each(|item| in_containers(item, set)),
        Kind::Map(entries) => entries.iter_mut().try_for_each(|(key, value)| {
            in_containers(value, set)?;
            if !matches!(node::text(key), "containers" | "initContainers") {
                return Ok(());
            }
            let Kind::Seq(items) = &mut value.kind else {
                return Ok(());
            };
            for item in items {
                if node::is_null(item) {
                    continue;
                }
                if !matches!(item.kind, Kind::Map(_)) {
                    return Err(node::wrong_kind("a container", item));
                }
                if let Some(image) = node::get_mut(item, "image") {
                    set(image)?;
                }
            }
            Ok(())
        }),
    }
}

fn update(value: &mut Node, image: &Image, pattern: &Pattern) -> Result<()> {
    if node::is_null(value) {
        return Ok(());
    }
    let Some(old) = value.text() else {
        return Err(node::wrong_kind("an image name", value));
    };
    if !pattern.matches(old) {
        return Ok(());
    }
    let new = renamed(old, image);
    node::set_scalar(value, &new, Tag::Unset)
}

fn renamed(old: &str, image: &Image) -> String {
    let (name, tag, digest) = split(old);
    let name = if image.new_name.is_empty() {
        name
    } else {
        &image.new_name
    };
    let with_suffix = format!("{tag}{}", image.tag_suffix);
    let (tag, digest) = match (image.new_tag.as_str(), image.digest.as_str()) {
        ("", "") if image.tag_suffix.is_empty() => (tag, digest),
        ("", "") => (with_suffix.as_str(), ""),
        ("", digest) => ("", digest),
        (tag, digest) => (tag, digest),
    };
    let mut out = name.to_owned();
    for (mark, part) in [(':', tag), ('@', digest)] {
        if !part.is_empty() {
            out.push(mark);
            out.push_str(part);
        }
    }
    out
}

/// Name, tag and digest. A colon before the first slash belongs to the registry's host.
pub(crate) fn split(image: &str) -> (&str, &str, &str) {
    let start = image.find('/').unwrap_or(0);
    let find = |mark: char| image[start..].find(mark).map(|at| at + start);
    match (find(':'), find('@')) {
        (None, None) => (image, "", ""),
        (colon, Some(at)) if colon.is_none_or(|colon| at < colon) => {
            (&image[..at], "", &image[at + 1..])
        }
        (Some(colon), Some(at)) => (&image[..colon], &image[colon + 1..at], &image[at + 1..]),
        (Some(colon), None) => (&image[..colon], &image[colon + 1..], ""),
        (None, Some(at)) => (&image[..at], "", &image[at + 1..]),
    }
}

/// An image name, in which kustomize allows a regular expression.
enum Pattern {
    /// A name without special characters but dots, which mean any character to kustomize.
    Name(String),
    /// An alternation in it is not grouped.
    Regex(regex::Regex),
    Nothing,
}

impl Pattern {
    fn new(name: &str) -> Self {
        let special = |c: char| {
            !(c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | ':' | '@' | '.'))
        };
        if !name.contains(special) {
            return Self::Name(name.to_owned());
        }
        let tail = r"(:[a-zA-Z0-9_.{}-]*)?(@sha256:[a-zA-Z0-9_.{}-]*)?";
        regex::Regex::new(&format!("^{name}{tail}$")).map_or(Self::Nothing, Self::Regex)
    }

    fn matches(&self, image: &str) -> bool {
        match self {
            Self::Name(name) => after_name(image, name).is_some_and(is_tail),
            Self::Regex(regex) => regex.is_match(image),
            Self::Nothing => false,
        }
    }
}

/// What follows the name in the image.
fn after_name<'i>(image: &'i str, name: &str) -> Option<&'i str> {
    let mut rest = image.chars();
    for wanted in name.chars() {
        let found = rest.next()?;
        if found != wanted && (wanted != '.' || found == '\n') {
            return None;
        }
    }
    Some(rest.as_str())
}

/// Whether the text is nothing, a tag, a sha256 digest or both.
fn is_tail(tail: &str) -> bool {
    let fits = |text: &str| {
        text.bytes()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'{' | b'}' | b'-'))
    };
    let (tag, digest) = match tail.split_once('@') {
        Some((tag, digest)) => (tag, Some(digest)),
        None => (tail, None),
    };
    (tag.is_empty() || tag.strip_prefix(':').is_some_and(fits))
        && digest.is_none_or(|digest| digest.strip_prefix("sha256:").is_some_and(fits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_split_at_the_tag_and_not_at_the_port() {
        assert_eq!(split("nginx"), ("nginx", "", ""));
        assert_eq!(split("host:5000/a/b:1.2"), ("host:5000/a/b", "1.2", ""));
        assert_eq!(split("a/b@sha256:00"), ("a/b", "", "sha256:00"));
        assert_eq!(split("a/b:1@sha256:00"), ("a/b", "1", "sha256:00"));
    }

    #[test]
    fn only_the_whole_name_matches() {
        let pattern = Pattern::new("app");
        assert!(
            pattern.matches("app")
                && pattern.matches("app:v1")
                && pattern.matches("app:v1@sha256:ab")
        );
        assert!(
            !pattern.matches("apple")
                && !pattern.matches("my/app")
                && !pattern.matches("app@md5:00")
        );
        let pattern = Pattern::new("registry.example.com/(a|b)");
        assert!(
            pattern.matches("registry.example.com/a:1")
                && !pattern.matches("registry.example.com/c:1")
        );
    }

    #[test]
    fn a_dot_is_any_character() {
        let pattern = Pattern::new("a.b/c");
        assert!(pattern.matches("a.b/c:1") && pattern.matches("axb/c"));
        assert!(!pattern.matches("ab/c") && !pattern.matches("a\nb/c"));
        assert!(!Pattern::new("a(").matches("a("));
    }

    #[test]
    fn a_digest_replaces_the_tag_and_a_tag_the_digest() {
        let image = |new_tag: &str, digest: &str| Image {
            name: "a".into(),
            new_tag: new_tag.into(),
            digest: digest.into(),
            ..Image::default()
        };
        assert_eq!(renamed("a:1", &image("", "sha256:00")), "a@sha256:00");
        assert_eq!(renamed("a@sha256:00", &image("2", "")), "a:2");
        assert_eq!(renamed("a:1", &image("2", "sha256:00")), "a:2@sha256:00");
    }
}
