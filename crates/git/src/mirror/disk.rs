//! The folder of a mirror: its lock, and what killed runs leave in it.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use super::HOLDS;
use crate::{Error, Oid};

/// Waits for the exclusive lock of a mirror. It is let go when the last file handle is closed: ours,
/// or that of a git program which outlived the process that started it.
pub(super) async fn lock(directory: &Path, timeout: Duration) -> Result<File, Error> {
    let path = directory.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path);
    let file = file.map_err(|e| Error::at(&path, &e))?;
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(std::fs::TryLockError::WouldBlock) if started.elapsed() < timeout => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(std::fs::TryLockError::WouldBlock) => {
                return Err(Error::Busy {
                    dir: directory.display().to_string(),
                });
            }
            Err(std::fs::TryLockError::Error(e)) => return Err(Error::at(&path, &e)),
        }
    }
}

pub(super) fn packs(bare: &Path) -> usize {
    let files = std::fs::read_dir(bare.join("objects/pack"))
        .into_iter()
        .flatten()
        .flatten();
    files
        .filter(|file| file.path().extension().is_some_and(|e| e == "pack"))
        .count()
}

pub(super) fn discard(directory: &Path) -> Result<(), Error> {
    match std::fs::remove_dir_all(directory) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::at(directory, &e)),
        _ => Ok(()),
    }
}

/// Removes lock files and half-written packs.
pub(super) fn sweep(bare: &Path) {
    let stale = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        path.extension().is_some_and(|e| e == "lock") || name.starts_with("tmp_")
    };
    let mut folders = vec![
        bare.join("refs"),
        bare.join("objects/pack"),
        bare.join("objects/info"),
    ];
    let mut files = vec![];
    let top = std::fs::read_dir(bare)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path());
    files.extend(top.filter(|p| p.is_file()));
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                _ => files.push(entry.path()),
            }
        }
    }
    for file in files.iter().filter(|f| stale(f)) {
        let _ = std::fs::remove_file(file);
    }
}

/// The holds of a repository that git may not be able to read any more.
pub(super) fn held_on_disk(bare: &Path) -> Vec<Oid> {
    let names = std::fs::read_dir(bare.join(HOLDS))
        .into_iter()
        .flatten()
        .flatten();
    let mut held: Vec<Oid> = names
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .collect();
    let packed = std::fs::read_to_string(bare.join("packed-refs")).unwrap_or_default();
    held.extend(
        packed
            .lines()
            .filter_map(|l| l.split_once(HOLDS)?.1.parse::<Oid>().ok()),
    );
    held.sort();
    held.dedup();
    held
}
