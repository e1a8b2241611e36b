//! From what is wanted to the files that a commit changes, and what exactly it sets.

use std::collections::BTreeMap;

use fairway_git::{Change, Oid, TreeEntry};
use fairway_types::promotion::ChangedValue;

use super::error::{Error, Stands};
use super::fault::Fault;
use super::field::Field;
use super::image::{self, ImageVersion};
use super::reference;
use super::snapshot::{Snapshot, within};
use super::value::Set;

/// What a commit is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeSet {
    /// These edits, in one commit.
    Edits(Vec<Edit>),
    /// What a commit did is undone below these paths (folders or files); elsewhere it stays.
    Revert {
        /// The commit, which the branch must hold.
        commit: Oid,
        /// What may be touched; empty is everything.
        within: Vec<String>,
    },
}

/// One edit. Folders are overlays, or the folder of a single cluster (`clusters/ENV/REGION/apps`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// An image of the folder's kustomization gets a version; the entry is added where there is none.
    Image {
        /// The folder, or the kustomization itself.
        folder: String,
        /// The image's name, as `images` has it.
        name: String,
        /// A tag, a digest, or `TAG@DIGEST`.
        version: String,
        /// The version that must be there before; without it any.
        from: Option<String>,
    },
    /// The folder's kustomization says nothing of the image's version any more: a single cluster follows its stage again.
    NoImage {
        /// The folder, or the kustomization itself.
        folder: String,
        /// The image's name.
        name: String,
    },
    /// A GitRepository's reference gets a value.
    Reference {
        /// The folder that holds its manifest.
        folder: String,
        /// Its name.
        name: String,
        /// `branch`, `tag`, `semver` or `commit`.
        key: String,
        /// The value.
        value: String,
        /// The value that must be there before; without it any.
        from: Option<String>,
    },
    /// Paths become what they are in another folder, at a commit.
    Paths {
        /// Files and folders, relative to both folders.
        paths: Vec<String>,
        /// Where they come from.
        source: String,
        /// At which commit.
        at: Oid,
        /// Where they go to.
        folder: String,
    },
    /// The folder becomes what it was at a commit.
    Restore {
        /// The folder, or a file.
        folder: String,
        /// The commit.
        at: Oid,
    },
    /// Values go back to what they were before they were set, if every one of them still is as it was set.
    PutBack(Vec<ChangedValue>),
}

/// What a commit will change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What it sets, for the record.
    pub values: Vec<ChangedValue>,
    pub(super) files: Vec<Change>,
}

impl Plan {
    /// Whether everything is as wanted already.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

/// Plans edits at a commit. Nothing is written.
pub fn plan(snapshot: &Snapshot<'_>, edits: &[Edit]) -> Result<Plan, Error> {
    let mut work = Work {
        snapshot,
        texts: BTreeMap::new(),
        entries: BTreeMap::new(),
        values: Vec::new(),
    };
    for edit in edits {
        work.edit(edit)?;
    }
    work.finish()
}

/// Files on their way from what they were to what they shall be.
struct Work<'s, 'r> {
    snapshot: &'s Snapshot<'r>,
    texts: BTreeMap<String, String>,
    entries: BTreeMap<String, Option<TreeEntry>>,
    values: Vec<ChangedValue>,
}

impl Work<'_, '_> {
    fn edit(&mut self, edit: &Edit) -> Result<(), Error> {
        match edit {
            Edit::Image {
                folder,
                name,
                version,
                from,
            } => {
                let version: ImageVersion = version.parse()?;
                let path = self.snapshot.kustomization(folder)?;
                self.open(&path)?;
                let found = image::read(&self.texts[&path], name);
                let found = found.map_err(|fault| fault.at(&path))?;
                let found = found.map(|version| version.to_string());
                expect(&path, from.as_deref(), found.as_deref())?;
                self.rewrite(&path, |text| image::set(text, name, &version))
            }
            Edit::NoImage { folder, name } => {
                let path = self.snapshot.kustomization(folder)?;
                self.open(&path)?;
                self.rewrite(&path, |text| image::unset(text, name))
            }
            Edit::Reference {
                folder,
                name,
                key,
                value,
                from,
            } => {
                let path = self.snapshot.manifest(folder, name)?;
                self.open(&path)?;
                let field = Field::reference(name, key);
                let found = field.read(&self.texts[&path]);
                let found = found.map_err(|fault| fault.at(&path))?;
                expect(&path, from.as_deref(), found.as_deref())?;
                self.rewrite(&path, |text| reference::set(text, name, key, value))
            }
            Edit::Paths {
                paths,
                source,
                at,
                folder,
            } => self.copy(paths, source, *at, folder),
            Edit::Restore { folder, at } => {
                let wanted = Snapshot::new(self.snapshot.repository(), *at).entry(folder)?;
                let wanted = wanted.ok_or_else(|| {
                    Fault::new(
                        format!("it is not there at {}", at.short()),
                        "name a revision that has it",
                    )
                    .at(folder)
                })?;
                self.place(folder, Some(wanted))
            }
            Edit::PutBack(values) => self.put_back(values),
        }
    }

    fn open(&mut self, path: &str) -> Result<(), Error> {
        if !self.texts.contains_key(path) {
            let text = self.snapshot.text(path)?;
            self.texts.insert(path.to_owned(), text);
        }
        Ok(())
    }

    fn rewrite(
        &mut self,
        path: &str,
        edit: impl FnOnce(&str) -> Result<(String, Vec<Set>), Fault>,
    ) -> Result<(), Error> {
        let (text, sets) = edit(&self.texts[path]).map_err(|fault| fault.at(path))?;
        self.texts.insert(path.to_owned(), text);
        self.values
            .extend(sets.into_iter().map(|set| set.in_file(path)));
        Ok(())
    }

    fn copy(&mut self, paths: &[String], source: &str, at: Oid, folder: &str) -> Result<(), Error> {
        let origin = Snapshot::new(self.snapshot.repository(), at);
        for path in paths {
            let path = path.trim_start_matches("./").trim_end_matches('/');
            let from = within(source.trim_end_matches('/'), path);
            let Some(entry) = origin.entry(&from)? else {
                return Err(Fault::new(
                    format!("it is not there at {}", at.short()),
                    "take it out of the pipeline's paths, or write it; nothing was committed",
                )
                .at(&from)
                .into());
            };
            self.place(&within(folder.trim_end_matches('/'), path), Some(entry))?;
        }
        Ok(())
    }

    /// A whole file or folder becomes another, or nothing.
    fn place(&mut self, path: &str, wanted: Option<TreeEntry>) -> Result<(), Error> {
        let before = self.snapshot.entry(path)?;
        if before == wanted {
            return Ok(());
        }
        self.values.push(ChangedValue {
            path: path.to_owned(),
            field: String::new(),
            from: before.map(|entry| entry.to_string()),
            to: wanted.map(|entry| entry.to_string()),
        });
        self.entries.insert(path.to_owned(), wanted);
        Ok(())
    }

    fn put_back(&mut self, values: &[ChangedValue]) -> Result<(), Error> {
        let mut stands = Vec::new();
        let mut back = Vec::new();
        for value in values {
            let found = self.current(value)?;
            if found == value.to {
                back.push(value);
            } else if found != value.from {
                stands.push(Stands {
                    path: value.path.clone(),
                    field: value.field.clone(),
                    set: value.to.clone(),
                    found,
                    by: None,
                });
            }
        }
        if !stands.is_empty() {
            return Err(Error::ChangedSince(stands));
        }
        // Last set, first put back.
        while let Some(value) = back.pop() {
            if value.field.is_empty() {
                let entry = value.from.as_deref().map(str::parse::<TreeEntry>);
                let entry = entry.transpose().map_err(|_| {
                    Fault::new("what it was is no Git object", "put it back by hand")
                        .at(&value.path)
                })?;
                self.place(&value.path, entry)?;
                continue;
            }
            let field: Field = value
                .field
                .parse()
                .map_err(|fault: Fault| fault.at(&value.path))?;
            match (&field, &value.from) {
                // The entry was added: it goes as a whole, with the values in it.
                (Field::Image { name, .. }, None)
                    if values
                        .iter()
                        .any(|other| added_entry(other, &value.path, name)) =>
                {
                    self.rewrite(&value.path, |text| image::unset(text, name))?;
                }
                (_, from) => self.rewrite(&value.path, |text| {
                    let before = field.read(text)?;
                    let edited = match from {
                        Some(from) => field.write(text, from)?,
                        None if before.is_some() => field.remove(text)?,
                        None => text.to_owned(),
                    };
                    let set = Set {
                        field: field.clone(),
                        from: before,
                        to: from.clone(),
                    };
                    Ok((edited, vec![set]))
                })?,
            }
        }
        Ok(())
    }

    /// What is there now.
    fn current(&mut self, value: &ChangedValue) -> Result<Option<String>, Error> {
        if value.field.is_empty() {
            let entry = self.snapshot.entry(&value.path)?;
            return Ok(entry.map(|entry| entry.to_string()));
        }
        if !self
            .snapshot
            .entry(&value.path)?
            .is_some_and(TreeEntry::is_file)
        {
            return Ok(None);
        }
        self.open(&value.path)?;
        let at = |fault: Fault| fault.at(&value.path);
        let field: Field = value.field.parse().map_err(at)?;
        Ok(field.read(&self.texts[&value.path]).map_err(at)?)
    }

    fn finish(self) -> Result<Plan, Error> {
        let mut files = Vec::new();
        for (path, text) in self.texts {
            if self.snapshot.text(&path)? != text {
                files.push(Change::write(path, text));
            }
        }
        for (path, entry) in self.entries {
            if files.iter().any(|file| overlap(file.path(), &path)) {
                return Err(Fault::new(
                    "it would be changed as a whole and in part",
                    "split the promotion; nothing was committed",
                )
                .at(&path)
                .into());
            }
            files.push(match entry {
                Some(entry) => Change::place(path, entry),
                None => Change::delete_all(path),
            });
        }
        Ok(Plan {
            values: self.values,
            files,
        })
    }
}

fn added_entry(value: &ChangedValue, path: &str, name: &str) -> bool {
    value.path == path
        && value.from.is_none()
        && value.field == Field::image(name, "name").to_string()
}

/// Whether one is the other, or in it.
pub(super) fn overlap(a: &str, b: &str) -> bool {
    let below = |a: &str, b: &str| a.strip_prefix(b).is_some_and(|rest| rest.starts_with('/'));
    a == b || below(a, b) || below(b, a)
}

fn expect(path: &str, expected: Option<&str>, found: Option<&str>) -> Result<(), Error> {
    match expected {
        Some(expected) if found != Some(expected) => Err(Error::OtherVersion {
            path: path.to_owned(),
            expected: expected.to_owned(),
            found: found.unwrap_or("no version").to_owned(),
        }),
        _ => Ok(()),
    }
}
