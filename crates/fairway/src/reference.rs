//! The reference repository, as compiled in, and writing it out.

use std::path::Path;

use anyhow::Context as _;

use crate::exit::Hinted;

include!(concat!(env!("OUT_DIR"), "/reference_files.rs"));

/// The URL that the reference repository's GitRepository objects have.
pub(crate) const PLACEHOLDER_URL: &str =
    "https://git.example.com/platform/gitops-cluster-config.git";

/// The files of the reference repository as (path, bytes), read from `url` at `branch`.
pub(crate) fn files(url: &str, branch: &str) -> Vec<(String, Vec<u8>)> {
    FILES
        .iter()
        .map(|(path, bytes)| {
            let text = String::from_utf8_lossy(bytes)
                .replace(&format!("url: {PLACEHOLDER_URL}"), &format!("url: {url}"))
                .replace("    branch: main\n", &format!("    branch: {branch}\n"));
            ((*path).to_owned(), text.into_bytes())
        })
        .collect()
}

/// Writes the reference repository into `dir`, which must be new or empty.
pub(crate) fn write(dir: &Path, url: &str, branch: &str) -> anyhow::Result<usize> {
    if dir.exists() {
        let mut entries =
            std::fs::read_dir(dir).with_context(|| format!("failed to read {}", dir.display()))?;
        if entries.any(|entry| entry.is_ok_and(|entry| entry.file_name() != ".git")) {
            return Err(Hinted::new(
                format!("{} is not empty", dir.display()),
                "name a new folder; nothing was written",
            )
            .into());
        }
    }
    let files = files(url, branch);
    for (path, bytes) in &files {
        let path = dir.join(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)
                .with_context(|| format!("failed to create {}", parent.display()))?;
        }
        std::fs::write(&path, bytes)
            .with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(files.len())
}
