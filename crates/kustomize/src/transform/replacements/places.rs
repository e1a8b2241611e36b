//! The places in an object that a field path leads to, made where that is asked for.

use fairway_yaml::edit::Step;
use fairway_yaml::{Kind, Node, Style};

use crate::error::{Error, Result};
use crate::field_path::{condition, index};
use crate::node;
use crate::pattern::Pattern;

/// A value in a tree, by the position of each entry or item on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    steps: Vec<usize>,
    /// Whether the value is not in the tree: kustomize finds values in a text, and their change is lost.
    detached: bool,
    /// Whether nothing stood there before.
    pub(super) created: bool,
}

impl Place {
    /// The way to the value, as an edit of the text takes it.
    pub(super) fn path(&self, root: &Node) -> Option<Vec<Step>> {
        let mut node = root;
        let mut out = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            node = match &node.kind {
                Kind::Map(entries) => {
                    let (key, value) = entries.get(*step)?;
                    out.push(Step::key(key.text()?));
                    value
                }
                Kind::Seq(items) => {
                    out.push(Step::Index(*step));
                    items.get(*step)?
                }
                Kind::Scalar(_) => return None,
            };
        }
        Some(out)
    }

    pub(super) fn get<'n>(&self, root: &'n mut Node) -> Option<&'n mut Node> {
        if self.detached {
            return None;
        }
        self.steps
            .iter()
            .try_fold(root, |node, step| match &mut node.kind {
                Kind::Map(entries) => entries.get_mut(*step).map(|(_, value)| value),
                Kind::Seq(items) => items.get_mut(*step),
                Kind::Scalar(_) => None,
            })
    }
}

/// All values at the path. With `create`, what is missing is made, in the end a value of that kind.
pub(super) fn find(root: &mut Node, path: &[String], create: Option<&Kind>) -> Result<Vec<Place>> {
    let mut walk = Walk {
        create,
        steps: Vec::new(),
        out: Vec::new(),
    };
    walk.step(root, path, false)?;
    Ok(walk.out)
}

struct Walk<'k> {
    create: Option<&'k Kind>,
    steps: Vec<usize>,
    out: Vec<Place>,
}

impl Walk<'_> {
    fn into(&mut self, node: &mut Node, step: usize, path: &[String], created: bool) -> Result<()> {
        self.steps.push(step);
        let done = self.step(node, path, created);
        self.steps.pop();
        done
    }

    fn step(&mut self, node: &mut Node, path: &[String], created: bool) -> Result<()> {
        let Some((part, rest)) = path.split_first() else {
            self.out.push(Place {
                steps: self.steps.clone(),
                detached: false,
                created,
            });
            return Ok(());
        };
        if let Some(number) = index(part) {
            return self.item(node, number, rest);
        }
        if let Some(condition) = condition(part) {
            let (key, pattern) = condition?;
            return self.matching(node, key, pattern, rest);
        }
        if part == "*" {
            for (at, item) in items(node)?.iter_mut().enumerate() {
                self.into(item, at, rest, false)?;
            }
            return Ok(());
        }
        self.field(node, part, rest)
    }

    fn field(&mut self, node: &mut Node, name: &str, rest: &[String]) -> Result<()> {
        if node::is_null(node) {
            // What kustomize makes below a null is lost with it.
            if self.create.is_some() {
                self.out.push(Place {
                    steps: Vec::new(),
                    detached: true,
                    created: true,
                });
            }
            return Ok(());
        }
        let Kind::Map(entries) = &mut node.kind else {
            return Err(node::wrong_kind("a map", node).while_doing(name));
        };
        let found = entries.iter().position(|(key, _)| key.text() == Some(name));
        let (at, created) = match (found, self.create) {
            (Some(at), _) => (at, false),
            (None, None) => return Ok(()),
            (None, Some(_)) => {
                entries.push((node::string(name), node::node(self.fresh(rest))));
                (entries.len() - 1, true)
            }
        };
        let value = &mut entries[at].1;
        if value.scalar().is_some() && !rest.is_empty() {
            return self.in_text(node::text(value), rest);
        }
        self.into(value, at, rest, created)
    }

    /// A path into the text of a field, after an attempt to change it there has failed.
    fn in_text(&mut self, text: &str, rest: &[String]) -> Result<()> {
        let documents = fairway_yaml::parse(text).map_err(|error| Error::syntax(&error))?;
        let Some(mut document) = documents.into_iter().next() else {
            return Err(Error::invalid("the path goes on in an empty text"));
        };
        let found = find(&mut document.root, rest, self.create)?;
        self.out.extend(found.into_iter().map(|place| Place {
            detached: true,
            ..place
        }));
        Ok(())
    }

    fn item(&mut self, node: &mut Node, number: usize, rest: &[String]) -> Result<()> {
        let fresh = self.create.map(|_| self.fresh(rest));
        let items = items(node)?;
        let mut created = false;
        if let Some(fresh) = fresh
            && items.len() == number
        {
            items.push(node::node(fresh));
            created = true;
        }
        let count = items.len();
        match items.get_mut(number) {
            Some(item) => self.into(item, number, rest, created),
            None => Err(Error::conflict(format!(
                "index {number} specified but only {count} elements found"
            ))),
        }
    }

    fn matching(
        &mut self,
        node: &mut Node,
        key: &str,
        pattern: &str,
        rest: &[String],
    ) -> Result<()> {
        let wanted = Pattern::part(pattern)?;
        let before = self.out.len();
        self.each_matching(node, key, &wanted, rest)?;
        if self.create.is_none() || self.out.len() > before {
            return Ok(());
        }
        let value = node::plain(pattern);
        let item = if key.is_empty() {
            value
        } else {
            node::node(Kind::Map(vec![(node::string(key), value)]))
        };
        items(node)?.push(item);
        self.each_matching(node, key, &wanted, rest)
    }

    fn each_matching(
        &mut self,
        node: &mut Node,
        key: &str,
        wanted: &Pattern,
        rest: &[String],
    ) -> Result<()> {
        for (at, item) in items(node)?.iter_mut().enumerate() {
            if key.is_empty() {
                if wanted.matches(&shown(item)) {
                    self.into(item, at, &[], false)?;
                }
            } else if item
                .get(key)
                .is_some_and(|value| wanted.matches(&shown(value)))
            {
                self.into(item, at, rest, false)?;
            }
        }
        Ok(())
    }

    /// What to make for a path that goes on like this.
    fn fresh(&self, rest: &[String]) -> Kind {
        match rest.first() {
            Some(next) if index(next).is_some() || condition(next).is_some() => {
                Kind::Seq(Vec::new())
            }
            Some(_) => Kind::Map(Vec::new()),
            None => match self.create {
                Some(Kind::Map(_)) => Kind::Map(Vec::new()),
                Some(Kind::Seq(_)) => Kind::Seq(Vec::new()),
                _ => node::plain("").kind,
            },
        }
    }
}

fn items(node: &mut Node) -> Result<&mut Vec<Node>> {
    if node::is_null(node) {
        node.kind = Kind::Seq(Vec::new());
    }
    match &mut node.kind {
        Kind::Seq(items) => Ok(items),
        _ => Err(Error::invalid("expected a list on the way")),
    }
}

/// A value as YAML shows it, quotes and all: kustomize matches the pattern against that.
fn shown(value: &Node) -> String {
    match &value.kind {
        Kind::Scalar(scalar) => match scalar.style {
            Style::DoubleQuoted => format!("\"{}\"", scalar.text),
            Style::SingleQuoted => format!("'{}'", scalar.text),
            _ => scalar.text.trim().to_owned(),
        },
        _ => String::new(),
    }
}
