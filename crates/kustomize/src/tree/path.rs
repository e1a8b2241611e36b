//! Paths of a tree: `/`-separated, relative to its root, normalised, `""` for the root.

/// `path` seen from the directory `base`, normalised; `None` where it climbs above the root of the tree.
///
/// A `path` that starts with `/` is taken from the root of the tree.
///
/// ```
/// use fairway_kustomize::tree::join;
/// assert_eq!(join("apps/prod", "../base/./x.yaml").as_deref(), Some("apps/base/x.yaml"));
/// assert_eq!(join("apps", "../../etc"), None);
/// ```
pub fn join(base: &str, path: &str) -> Option<String> {
    let start = if path.starts_with('/') { "" } else { base };
    let mut segments: Vec<&str> = start.split('/').filter(|s| !s.is_empty()).collect();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop()?;
            }
            name => segments.push(name),
        }
    }
    Some(segments.join("/"))
}

/// The directory that holds `path`; the root for an entry of the root.
pub fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

/// The last segment of `path`.
pub fn file_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// `path` as it is written from the directory `from`: `../base` for `base` seen from `prod`.
pub fn relative(from: &str, path: &str) -> String {
    let from: Vec<&str> = from.split('/').filter(|s| !s.is_empty()).collect();
    let to: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let mut out = vec![".."; from.len() - shared];
    out.extend(&to[shared..]);
    if out.is_empty() {
        ".".to_owned()
    } else {
        out.join("/")
    }
}

/// Whether `path` is `dir` or lies below it.
pub(crate) fn within(dir: &str, path: &str) -> bool {
    dir.is_empty()
        || path == dir
        || path
            .strip_prefix(dir)
            .is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn join_normalises_and_stops_at_the_root() {
        assert_eq!(join("", ".").as_deref(), Some(""));
        assert_eq!(join("a/b", "c//d/").as_deref(), Some("a/b/c/d"));
        assert_eq!(join("a/b", "../..").as_deref(), Some(""));
        assert_eq!(join("a/b", "/c").as_deref(), Some("c"));
        assert_eq!(join("a/b", "../../.."), None);
    }

    #[test]
    fn relative_climbs_to_the_shared_part() {
        assert_eq!(relative("overlays/prod", "base/x"), "../../base/x");
        assert_eq!(relative("a", "a/b"), "b");
        assert_eq!(relative("a", "a"), ".");
        assert_eq!(relative("", "a"), "a");
    }

    #[test]
    fn within_compares_whole_segments() {
        assert!(within("a/b", "a/b/c"));
        assert!(within("a/b", "a/b"));
        assert!(within("", "x"));
        assert!(!within("a/b", "a/bc"));
    }
}
