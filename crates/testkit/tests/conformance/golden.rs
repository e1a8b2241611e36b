//! Recorded answers: a file an area, a line an answer.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::run::Answers;

/// All areas in a folder.
pub(crate) fn read(folder: &Path) -> Result<Answers> {
    let mut all = Answers::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(area) = path
            .file_stem()
            .filter(|_| path.extension().is_some_and(|e| e == "json"))
        else {
            continue;
        };
        let text = std::fs::read_to_string(&path)?;
        let answers = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        all.insert(area.to_string_lossy().into_owned(), answers);
    }
    Ok(all)
}

/// Replaces the files of the given areas.
pub(crate) fn write(folder: &Path, answers: &Answers) -> Result<()> {
    for (area, cases) in answers {
        let mut text = String::from("{");
        for (number, (name, answers)) in cases.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            write!(text, "{comma}\n{}: [", serde_json::to_string(name)?)?;
            for (number, answer) in answers.iter().enumerate() {
                let comma = if number == 0 { "" } else { "," };
                write!(text, "{comma}\n  {}", serde_json::to_string(answer)?)?;
            }
            text.push_str("\n]");
        }
        text.push_str("\n}\n");
        std::fs::write(folder.join(format!("{area}.json")), text)?;
    }
    Ok(())
}
