//! The overlay of an application in a stage, and the version in it.

use fairway_yaml::edit::{self, Step};
use serde_json::Value;

use crate::exit::Hinted;

/// The path of an application's overlay in the reference layout.
pub(crate) fn path(app: &str, stage: &str) -> String {
    format!("apps/{app}/overlays/{stage}/kustomization.yaml")
}

/// The text of an overlay's kustomization file, and the image in it that moves.
#[derive(Debug)]
pub(crate) struct Overlay {
    path: String,
    text: String,
    image: String,
    tag: Option<String>,
}

impl Overlay {
    /// Reads the overlay's text. `image` is needed where several images are set and none is called like the application.
    pub(crate) fn read(
        path: &str,
        bytes: &[u8],
        app: &str,
        image: Option<&str>,
    ) -> anyhow::Result<Self> {
        let text =
            std::str::from_utf8(bytes).map_err(|_| anyhow::anyhow!("{path}: not UTF-8 text"))?;
        let documents =
            fairway_yaml::parse(text).map_err(|error| anyhow::anyhow!("{path}:{error}"))?;
        let value = match documents.first() {
            Some(document) => document
                .to_json()
                .map_err(|error| anyhow::anyhow!("{path}:{error}"))?,
            None => Value::Null,
        };
        let images: Vec<&Value> = value["images"].as_array().into_iter().flatten().collect();
        let named = |entry: &&&Value| {
            let name = entry["name"].as_str().unwrap_or_default();
            match image {
                Some(image) => name == image,
                None => images.len() == 1 || name.rsplit('/').next() == Some(app),
            }
        };
        let names: Vec<&str> = images
            .iter()
            .filter_map(|entry| entry["name"].as_str())
            .collect();
        let found: Vec<&&Value> = images.iter().filter(named).collect();
        let [entry] = found.as_slice() else {
            return Err(Hinted::new(
                format!(
                    "{path}: images: can't tell which image moves; it sets: {}",
                    if names.is_empty() {
                        "none".into()
                    } else {
                        names.join(", ")
                    }
                ),
                if names.is_empty() {
                    "add an entry with name and newTag to its images".to_owned()
                } else {
                    "name one with --image".to_owned()
                },
            )
            .into());
        };
        if entry["digest"].is_string() {
            return Err(Hinted::new(
                format!(
                    "{path}: images: {} is pinned by digest",
                    entry["name"].as_str().unwrap_or_default()
                ),
                "a tag has no effect beside a digest: remove the digest first",
            )
            .into());
        }
        Ok(Self {
            path: path.to_owned(),
            text: text.to_owned(),
            image: entry["name"].as_str().unwrap_or_default().to_owned(),
            tag: entry["newTag"].as_str().map(str::to_owned),
        })
    }

    /// The tag, where the overlay sets one.
    pub(crate) fn tag(&self) -> anyhow::Result<&str> {
        self.tag.as_deref().ok_or_else(|| {
            Hinted::new(
                format!("{}: images: {} has no newTag", self.path, self.image),
                "write one there once; promotions then change it",
            )
            .into()
        })
    }

    /// The image's name.
    pub(crate) fn image(&self) -> &str {
        &self.image
    }

    /// The text with another tag; no other byte differs.
    pub(crate) fn with_tag(&self, tag: &str) -> anyhow::Result<String> {
        check_tag(tag)?;
        self.tag()?;
        let steps = [
            Step::Key("images".into()),
            Step::Where {
                key: "name".into(),
                value: self.image.clone(),
            },
            Step::Key("newTag".into()),
        ];
        edit::set_scalar(&self.text, &steps, tag)
            .map_err(|error| anyhow::anyhow!("{}: {error}", self.path))
    }
}

/// The rule of image references: up to 128 of letters, digits, `_`, `.`, `-`, not starting with `.` or `-`.
fn check_tag(tag: &str) -> anyhow::Result<()> {
    let ok = tag.len() <= 128
        && tag.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_')
        && tag
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || "_.-".contains(character));
    if ok {
        return Ok(());
    }
    Err(crate::exit::Misuse(format!(
        "{tag:?} is no image tag: letters, digits, '_', '.' and '-', at most 128"
    ))
    .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# why\r\nimages:\r\n- {name: ghcr.io/x/web, newTag: '1.0'} # flow\r\n- name: sidecar\r\n  newTag: 2.0.0\r\n";

    #[test]
    fn only_the_tag_changes() {
        let overlay = Overlay::read("k.yaml", TEXT.as_bytes(), "web", None).unwrap();
        assert_eq!(overlay.tag().unwrap(), "1.0");
        assert_eq!(
            overlay.with_tag("1.10").unwrap(),
            TEXT.replace("'1.0'", "'1.10'")
        );
        let other = Overlay::read("k.yaml", TEXT.as_bytes(), "web", Some("sidecar")).unwrap();
        assert_eq!(
            other.with_tag("2.1.0").unwrap(),
            TEXT.replace("2.0.0", "2.1.0")
        );
    }

    #[test]
    fn what_can_not_be_told_is_asked_for() {
        let error = Overlay::read("k.yaml", TEXT.as_bytes(), "api", None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "k.yaml: images: can't tell which image moves; it sets: ghcr.io/x/web, sidecar"
        );
        assert!(Overlay::read("k.yaml", b"resources: []\n", "api", None).is_err());
        assert!(
            Overlay::read(
                "k.yaml",
                b"images: [{name: a, newTag: b, digest: sha256:0}]\n",
                "a",
                None
            )
            .is_err()
        );
    }

    #[test]
    fn a_tag_is_a_tag() {
        let overlay = Overlay::read("k.yaml", TEXT.as_bytes(), "web", None).unwrap();
        for tag in ["", "a b", "-x", "x\ny", "a:b"] {
            assert!(overlay.with_tag(tag).is_err(), "{tag:?}");
        }
    }
}
