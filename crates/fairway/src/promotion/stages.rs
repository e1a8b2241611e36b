//! The order of the stages.

use crate::exit::Misuse;

/// The stages of the reference architecture, first to last.
const ORDER: [&str; 3] = ["dev", "staging", "prod"];

/// The stage that a version comes from when it goes to `stage`.
pub(crate) fn before(stage: &str) -> Result<&'static str, Misuse> {
    match ORDER.iter().position(|name| *name == stage) {
        Some(0) => Err(Misuse(format!(
            "{stage} is the first stage: name the version with --version"
        ))),
        Some(index) => Ok(ORDER[index - 1]),
        None => Err(Misuse(format!(
            "{stage} is none of the stages {}: name the stage that the version comes from with --from",
            ORDER.join(", ")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::before;

    #[test]
    fn each_stage_takes_from_the_one_before() {
        assert_eq!(before("staging").unwrap(), "dev");
        assert_eq!(before("prod").unwrap(), "staging");
        assert!(before("dev").unwrap_err().0.contains("--version"));
        assert!(before("qa").unwrap_err().0.contains("--from"));
    }
}
