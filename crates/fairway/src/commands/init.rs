//! `fairway init`.

use std::path::Path;

use crate::exit::Outcome;
use crate::reference;

/// Writes the reference repository and says what to do with it.
pub(crate) fn run(dir: &Path, url: Option<&str>, branch: &str) -> anyhow::Result<Outcome> {
    let count = reference::write(dir, url.unwrap_or(reference::PLACEHOLDER_URL), branch)?;
    let shown = dir.display();
    println!("wrote {count} files of the reference repository to {shown}");
    if url.is_none() {
        println!(
            "its GitRepository objects read {}; put your own URL there, or write it again with --url",
            reference::PLACEHOLDER_URL
        );
    }
    println!(
        "next: git -C {shown} init -b {branch} && git -C {shown} add . && git -C {shown} commit -m 'The fleet'"
    );
    Ok(Outcome::Done)
}
