//! The append-only file behind a durable store: one JSON record a line.
//!
//! A record is written before the change is acknowledged, so a killed process loses nothing; [`Handle::sync`]
//! hands it to the disk. On start the file is rewritten with the newest state of each object, and a torn last
//! line (the process died in the middle of it) is dropped.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Why the log of a cluster could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file or its folder cannot be used.
    #[error("use {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A line in the middle is not a record: the file was damaged by something else than a crash.
    #[error("read {path}: line {line} is damaged: {source}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// One change. `V` is owned when read and borrowed when written.
#[derive(Serialize, Deserialize)]
pub(super) struct Record<V> {
    #[serde(rename = "r")]
    pub(super) revision: u64,
    #[serde(rename = "g")]
    pub(super) group: String,
    #[serde(rename = "k")]
    pub(super) resource: String,
    #[serde(rename = "s")]
    pub(super) namespace: String,
    #[serde(rename = "n")]
    pub(super) name: String,
    /// `None`: removed.
    #[serde(rename = "o")]
    pub(super) object: Option<V>,
}

pub(super) struct Loaded {
    pub(super) revision: u64,
    pub(super) records: Vec<Record<Value>>,
}

pub(super) struct Log {
    path: PathBuf,
    file: Arc<File>,
    line: Vec<u8>,
}

/// Syncs the file without holding the store's lock.
pub(super) struct Handle {
    path: PathBuf,
    file: Arc<File>,
}

impl Handle {
    pub(super) fn sync(&self) -> Result<(), LogError> {
        self.file.sync_data().map_err(at(&self.path))
    }
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> LogError + use<> {
    let path = path.to_owned();
    move |source| LogError::Io { path, source }
}

impl Log {
    pub(super) fn open(path: &Path) -> Result<(Self, Loaded), LogError> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(at(folder))?;
        }
        let loaded = load(path)?;
        rewrite(path, &loaded)?;
        let file = OpenOptions::new()
            .append(true)
            .open(path)
            .map_err(at(path))?;
        let log = Self {
            path: path.to_owned(),
            file: Arc::new(file),
            line: Vec::new(),
        };
        Ok((log, loaded))
    }

    /// Appends one record. A full disk is reported and the change stays in memory: a simulator that stops
    /// answering would be worse than one that forgets.
    pub(super) fn append(&mut self, record: &Record<&Value>) {
        self.line.clear();
        if let Err(error) = serde_json::to_writer(&mut self.line, record) {
            tracing::error!(%error, path = %self.path.display(), "encode a change for the log");
            return;
        }
        self.line.push(b'\n');
        if let Err(error) = (&*self.file).write_all(&self.line) {
            tracing::error!(%error, path = %self.path.display(), "write a change to the log");
        }
    }

    pub(super) fn handle(&self) -> Handle {
        Handle {
            path: self.path.clone(),
            file: self.file.clone(),
        }
    }
}

fn load(path: &Path) -> Result<Loaded, LogError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Loaded {
                revision: 0,
                records: Vec::new(),
            });
        }
        Err(error) => return Err(at(path)(error)),
    };
    let mut revision = 0;
    let mut newest: BTreeMap<(String, String, String, String), Record<Value>> = BTreeMap::new();
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line).map_err(at(path))? == 0 {
            break;
        }
        number += 1;
        if line.last() != Some(&b'\n') {
            tracing::warn!(path = %path.display(), "drop a torn last record");
            break;
        }
        let record: Record<Value> =
            serde_json::from_slice(&line).map_err(|source| LogError::Damaged {
                path: path.to_owned(),
                line: number,
                source,
            })?;
        revision = revision.max(record.revision);
        let key = (
            record.group.clone(),
            record.resource.clone(),
            record.namespace.clone(),
            record.name.clone(),
        );
        // Removals are kept until the end for their revision only.
        if record.object.is_some() {
            newest.insert(key, record);
        } else {
            newest.remove(&key);
        }
    }
    Ok(Loaded {
        revision,
        records: newest.into_values().collect(),
    })
}

/// Writes the newest state beside the log and moves it into place, so a crash leaves either file whole.
fn rewrite(path: &Path, loaded: &Loaded) -> Result<(), LogError> {
    let beside = path.with_extension("new");
    let file = File::create(&beside).map_err(at(&beside))?;
    let mut out = BufWriter::new(file);
    let mut line = |record: &Record<&Value>| -> std::io::Result<()> {
        serde_json::to_writer(&mut out, record)?;
        out.write_all(b"\n")
    };
    // The first line carries the revision on when the newest change was a removal.
    line(&Record {
        revision: loaded.revision,
        group: String::new(),
        resource: String::new(),
        namespace: String::new(),
        name: String::new(),
        object: None,
    })
    .map_err(at(&beside))?;
    for record in &loaded.records {
        line(&Record {
            revision: record.revision,
            group: record.group.clone(),
            resource: record.resource.clone(),
            namespace: record.namespace.clone(),
            name: record.name.clone(),
            object: record.object.as_ref(),
        })
        .map_err(at(&beside))?;
    }
    let file = out
        .into_inner()
        .map_err(|error| at(&beside)(error.into_error()))?;
    file.sync_all().map_err(at(&beside))?;
    fs::rename(&beside, path).map_err(at(path))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use serde_json::json;

    use super::super::{Change, GroupResource, Store};
    use super::*;

    fn put(store: &Store, name: &str) {
        let object = json!({"metadata": {"name": name}});
        store
            .commit(&GroupResource::core("configmaps"), "default", name, |_| {
                Ok::<_, Infallible>(Change::Put(object))
            })
            .unwrap();
    }

    #[test]
    fn a_store_comes_back_with_its_objects_and_revision() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cluster.log");
        let configmaps = GroupResource::core("configmaps");
        let store = Store::open(&path).unwrap();
        put(&store, "a");
        put(&store, "b");
        store
            .commit(&configmaps, "default", "b", |current| {
                Ok::<_, Infallible>(Change::Remove((**current.unwrap()).clone()))
            })
            .unwrap();
        let revision = store.revision();
        drop(store);
        // Half a record, as a killed process leaves it.
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"r\":99,\"g\":\"\"").unwrap();
        let store = Store::open(&path).unwrap();
        assert_eq!(store.revision(), revision);
        let names: Vec<_> = store
            .list(&configmaps, None)
            .items
            .iter()
            .map(|o| o["metadata"]["name"].clone())
            .collect();
        assert_eq!(names, ["a"]);
        assert!(store.watch(&configmaps, None, Some(revision - 1)).is_err());
        assert!(store.watch(&configmaps, None, Some(revision)).is_ok());
    }

    #[test]
    fn damage_in_the_middle_is_an_error_that_names_the_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cluster.log");
        fs::write(&path, "nonsense\n").unwrap();
        let error = Store::open(&path).unwrap_err();
        assert!(error.to_string().contains("line 1 is damaged"), "{error}");
    }
}
