//! The reference of a GitRepository manifest: branch, tag, semver or commit.

use fairway_git::Reference;
use fairway_yaml::edit::{self, Step};
use fairway_yaml::parse;

use super::fault::Fault;
use super::field::{Field, document_of};
use super::value::Set;

/// As source-controller reads them: the later one counts.
const PRECEDENCE: [&str; 5] = ["branch", "tag", "semver", "name", "commit"];

/// Whether the text holds the manifest. A text that can't be read holds none: other files of the folder may be templates.
pub(super) fn is_here(text: &str, name: &str) -> Result<bool, Fault> {
    if !text.contains("GitRepository") {
        return Ok(false);
    }
    match parse(text) {
        Ok(documents) => Ok(document_of(&documents, name)?.is_some()),
        Err(_) => Ok(false),
    }
}

/// The text with another value of one key of the reference (`branch`, `tag`, `semver`, `commit`), and what was set.
pub fn set(text: &str, name: &str, key: &str, value: &str) -> Result<(String, Vec<Set>), Fault> {
    let field = Field::reference(name, key);
    check(key, value).map_err(|fault| fault.in_field(&field))?;
    let documents = parse(text).map_err(|error| Fault::unreadable(&error))?;
    let at = document_of(&documents, name)?.ok_or_else(|| {
        Fault::new(
            format!("there is no GitRepository {name}"),
            "nothing was committed",
        )
    })?;
    let root = &documents[at].root;
    let Some(reference) = root.get("spec").and_then(|spec| spec.get("ref")) else {
        let spec = [Step::Document(at), Step::key("spec")];
        let edited = edit::insert_map(text, &spec, "ref", &[(key, value)])?;
        return Ok((edited, vec![Set::new(field, None, Some(value))]));
    };
    let later = PRECEDENCE
        .iter()
        .skip_while(|known| **known != key)
        .skip(1)
        .find_map(|later| {
            let (named, node) = reference.entry(later)?;
            let counts = node.text().is_some_and(|text| !text.is_empty());
            counts.then_some((*later, named.span.line))
        });
    if let Some((later, line)) = later {
        return Err(Fault::new(
            format!("it has no effect beside {later}, which goes before it"),
            format!("remove spec.ref.{later}, or let the pipeline move that"),
        )
        .in_field(&field)
        .on_line(line as usize));
    }
    let before = field.read(text)?;
    if before.as_deref() == Some(value) {
        return Ok((text.to_owned(), Vec::new()));
    }
    let edited = field.write(text, value)?;
    Ok((
        edited,
        vec![Set::new(field, before.as_deref(), Some(value))],
    ))
}

/// Whether source-controller would take the value.
fn check(key: &str, value: &str) -> Result<(), Fault> {
    let only = |known: &str| (known == key).then_some(value);
    if value.is_empty() {
        return Err(Fault::new("it must not be empty", "name a version"));
    }
    if !matches!(key, "branch" | "tag" | "semver" | "commit") {
        return Err(Fault::new(
            format!("{key} is no key that moves"),
            "use branch, tag, semver or commit",
        ));
    }
    Reference::from_spec(
        only("branch"),
        only("tag"),
        only("semver"),
        None,
        only("commit"),
    )
    .map(|_| ())
    .map_err(|error| Fault::new(error.to_string(), "name another version"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app}\n---\n# the source\napiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata:\n  name: app\nspec:\n  url: https://example.org/app\n  ref:\n    semver: '>=1.0.0 <2.0.0' # moved\n";

    #[test]
    fn one_key_moves() {
        let (edited, sets) = set(TEXT, "app", "semver", ">=2.0.0 <3.0.0").unwrap();
        assert_eq!(edited, TEXT.replace(">=1.0.0 <2.0.0", ">=2.0.0 <3.0.0"));
        assert_eq!(
            sets[0].field.to_string(),
            "GitRepository[app].spec.ref.semver"
        );
        assert_eq!(sets[0].from.as_deref(), Some(">=1.0.0 <2.0.0"));
        let (edited, sets) = set(TEXT, "app", "commit", &"a1".repeat(20)).unwrap();
        assert_eq!(edited, format!("{TEXT}    commit: '{}'\n", "a1".repeat(20)));
        assert_eq!(sets[0].from, None);
    }

    #[test]
    fn what_would_have_no_effect_is_refused() {
        let error = set(TEXT, "app", "tag", "v1").unwrap_err().at("a.yaml");
        assert_eq!(
            error.to_string(),
            "a.yaml:13: GitRepository[app].spec.ref.tag: it has no effect beside semver, which goes before it; hint: remove spec.ref.semver, or let the pipeline move that"
        );
        for (key, value) in [
            ("semver", "one"),
            ("commit", "abc"),
            ("semver", ""),
            ("name", "refs/heads/x"),
        ] {
            assert!(set(TEXT, "app", key, value).is_err(), "{key} {value}");
        }
        assert!(set(TEXT, "other", "semver", "1.x").is_err());
        let bare = "apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {name: app}\nspec:\n  url: x\n";
        let (edited, sets) = set(bare, "app", "tag", "1.10").unwrap();
        assert_eq!(edited, format!("{bare}  ref:\n    tag: \"1.10\"\n"));
        // Taken back with the mapping that held it.
        assert_eq!(sets[0].field.remove(&edited).unwrap(), bare);
    }
}
