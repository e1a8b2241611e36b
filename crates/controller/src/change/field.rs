//! The name of one value in one file, as a Promotion's status records it: it can be read, set, and put back.

use std::fmt;
use std::str::FromStr;

use fairway_yaml::edit::{self, Step};
use fairway_yaml::{Document, parse};

use super::fault::Fault;

/// A value in a YAML file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// `images[name=ghcr.io/acme/myapp].newTag`: a key of an image's entry in a kustomization.
    Image {
        /// The image's name.
        name: String,
        /// `name`, `newTag` or `digest`; `name` stands for the entry itself.
        key: String,
    },
    /// `GitRepository[app].spec.ref.tag`: a key of the reference of a GitRepository.
    Reference {
        /// The GitRepository's name.
        name: String,
        /// `branch`, `tag`, `semver` or `commit`.
        key: String,
    },
}

impl Field {
    /// A key of an image's entry.
    pub fn image(name: &str, key: &str) -> Self {
        Self::Image {
            name: name.to_owned(),
            key: key.to_owned(),
        }
    }

    /// A key of a reference.
    pub fn reference(name: &str, key: &str) -> Self {
        Self::Reference {
            name: name.to_owned(),
            key: key.to_owned(),
        }
    }

    /// Where it is in the text; `None` where no document fits.
    fn steps(&self, text: &str) -> Result<Option<Vec<Step>>, Fault> {
        Ok(match self {
            Self::Image { name, key } => Some(vec![
                Step::key("images"),
                Step::matching("name", name),
                Step::key(key),
            ]),
            Self::Reference { name, key } => {
                let documents = parse(text).map_err(|error| Fault::unreadable(&error))?;
                document_of(&documents, name)?.map(|at| {
                    vec![
                        Step::Document(at),
                        Step::key("spec"),
                        Step::key("ref"),
                        Step::key(key),
                    ]
                })
            }
        })
    }

    /// The value, where there is one; an empty one counts as none.
    pub fn read(&self, text: &str) -> Result<Option<String>, Fault> {
        let Some(steps) = self.steps(text)? else {
            return Ok(None);
        };
        match edit::get_scalar(text, &steps) {
            Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
            Err(edit::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The text with this value as a string; the key is added where it is missing. What holds the key must be there.
    pub(super) fn write(&self, text: &str, value: &str) -> Result<String, Fault> {
        let steps = self.steps(text)?.ok_or_else(|| self.missing())?;
        let written = match edit::set_string(text, &steps, value) {
            Err(edit::Error::NotFound { .. }) => {
                let (parent, key) = steps.split_at(steps.len() - 1);
                match key {
                    [Step::Key(key)] => edit::insert_key(text, parent, key, value),
                    _ => return Err(self.missing()),
                }
            }
            written => written,
        };
        written.map_err(Fault::from)
    }

    /// The text without the key.
    pub(super) fn remove(&self, text: &str) -> Result<String, Fault> {
        let steps = self.steps(text)?.ok_or_else(|| self.missing())?;
        match edit::remove(text, &steps) {
            // The last key of a reference goes with it: no reference is one, of the default branch.
            Err(edit::Error::Refused { .. }) if matches!(self, Self::Reference { .. }) => {
                Ok(edit::remove(text, &steps[..steps.len() - 1])?)
            }
            removed => Ok(removed?),
        }
    }

    fn missing(&self) -> Fault {
        Fault::new(
            "it is not there any more",
            "was the file rewritten? nothing was committed",
        )
        .in_field(self)
    }
}

/// The place of the GitRepository of this name among the documents.
pub(super) fn document_of(documents: &[Document], name: &str) -> Result<Option<usize>, Fault> {
    let fits = |document: &Document| {
        let root = &document.root;
        let text = |key: &str| root.get(key).and_then(|node| node.text());
        text("kind") == Some("GitRepository")
            && text("apiVersion").is_some_and(|v| v.starts_with("source.toolkit.fluxcd.io/"))
            && root
                .get("metadata")
                .and_then(|metadata| metadata.get("name")?.text())
                == Some(name)
    };
    let mut found = documents.iter().enumerate().filter(|(_, d)| fits(d));
    match (found.next(), found.next()) {
        (Some(_), Some((_, second))) => Err(Fault::new(
            format!("GitRepository {name} stands in the file twice"),
            "leave one of them; nothing was committed",
        )
        .on_line(second.root.span.line as usize)),
        (first, _) => Ok(first.map(|(at, _)| at)),
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image { name, key } => write!(f, "images[name={name}].{key}"),
            Self::Reference { name, key } => write!(f, "GitRepository[{name}].spec.ref.{key}"),
        }
    }
}

impl FromStr for Field {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let split = |start: &str, middle: &str| {
            let (name, key) = text.strip_prefix(start)?.rsplit_once(middle)?;
            Some((name.to_owned(), key.to_owned()))
        };
        if let Some((name, key)) = split("images[name=", "].")
            && matches!(key.as_str(), "name" | "newTag" | "digest")
        {
            return Ok(Self::Image { name, key });
        }
        if let Some((name, key)) = split("GitRepository[", "].spec.ref.")
            && matches!(key.as_str(), "branch" | "tag" | "semver" | "commit")
        {
            return Ok(Self::Reference { name, key });
        }
        Err(Fault::new(
            format!("{text:?} is no field that a promotion sets"),
            "nothing was committed",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for field in [
            Field::image("ghcr.io:443/a/b", "newTag"),
            Field::reference("app.x", "semver"),
        ] {
            assert_eq!(field.to_string().parse::<Field>().unwrap(), field);
        }
        for text in [
            "",
            "images[name=a].newName",
            "spec.ref.tag",
            "GitRepository[a].spec.url",
        ] {
            assert!(text.parse::<Field>().is_err(), "{text}");
        }
    }

    #[test]
    fn one_document_is_read_and_written() {
        let of = |name: &str, tag: &str| {
            format!(
                "apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata:\n  name: {name}\nspec:\n  ref: {{tag: {tag}}}\n"
            )
        };
        let text = format!("# x\n{}---\n{}", of("a", "v1"), of("b", "v1"));
        let field = Field::reference("b", "tag");
        assert_eq!(field.read(&text).unwrap().as_deref(), Some("v1"));
        let written = field.write(&text, "v2").unwrap();
        assert_eq!(
            written,
            format!("# x\n{}---\n{}", of("a", "v1"), of("b", "v2"))
        );
        assert_eq!(Field::reference("c", "tag").read(&text).unwrap(), None);
        let twice = format!("{}---\n{}", of("b", "v1"), of("b", "v1"));
        let error = field.read(&twice).unwrap_err();
        assert_eq!(error.line, Some(8));
    }
}
