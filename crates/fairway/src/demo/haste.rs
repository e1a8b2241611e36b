//! The reference repository's times, shortened so that nobody has to wait for minutes to see a promotion.

/// What a key is set to in the demo.
type Short = (&'static str, &'static str);

/// Waves and stages of the reference repository: file, and what its keys become.
const FILES: [(&str, &[Short]); 2] = [
    (
        "flux-manifests/apps-kustomization.yaml",
        &[("soak", "2s"), ("progressDeadline", "15s")],
    ),
    (
        "promotion-rollback/myapp-pipeline.yaml",
        &[("soak", "3s"), ("timeout", "1m0s")],
    ),
];

/// The file with short times; others are as they are.
pub(crate) fn hasten(path: &str, text: &str) -> String {
    let Some((_, keys)) = FILES.iter().find(|(name, _)| *name == path) else {
        return text.to_owned();
    };
    text.split_inclusive('\n')
        .map(|line| {
            let trimmed = line.trim_start();
            let indent = &line[..line.len() - trimmed.len()];
            let short = keys.iter().find(|(key, _)| {
                trimmed
                    .split_once(':')
                    .is_some_and(|(found, _)| found == *key)
            });
            match short {
                Some((key, time)) => format!("{indent}{key}: {time}\n"),
                None => line.to_owned(),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_of_the_reference_repository_is_shortened() {
        let files = crate::reference::files("http://127.0.0.1:1/x.git", "main");
        for (name, keys) in FILES {
            let (_, bytes) = files.iter().find(|(path, _)| path == name).unwrap();
            let text = String::from_utf8_lossy(bytes);
            let short = hasten(name, &text);
            assert_eq!(text.lines().count(), short.lines().count());
            for (key, time) in keys {
                let set = short
                    .lines()
                    .filter_map(|line| line.trim_start().strip_prefix(&format!("{key}: ")));
                let set: Vec<&str> = set.collect();
                assert!(
                    !set.is_empty() && set.iter().all(|found| found == time),
                    "{name}: {key}: {set:?}"
                );
            }
        }
        assert_eq!(hasten("other.yaml", "soak: 5m0s\n"), "soak: 5m0s\n");
    }
}
