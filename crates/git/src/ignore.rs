//! Which files of a repository are left out, by Flux's rules.
//!
//! The pattern language is that of `.gitignore` files *as Flux reads it*, which differs from git's
//! own in three points that repositories rely on: every path is judged by itself, so a file can be
//! re-included (`!clusters/**`) below a folder that is excluded (`/*`); what matches a folder matches
//! all below it, so `!*/` re-includes whole folders; and the default exclusions
//! (pictures, archives, CI files, …) are gone as soon as there is one pattern, in `.sourceignore`
//! files anywhere in the tree or in `spec.ignore`. The VCS files are always left out.

/// The file of patterns, in any folder.
pub const IGNORE_FILE: &str = ".sourceignore";

const VCS: &[&str] = &[".git/", ".gitignore", ".gitmodules", ".gitattributes"];

const DEFAULTS: &[&str] = &[
    "*.jpg",
    "*.jpeg",
    "*.gif",
    "*.png",
    "*.wmv",
    "*.flv",
    "*.tar.gz",
    "*.zip",
    ".github/",
    ".circleci/",
    ".travis.yml",
    ".gitlab-ci.yml",
    "appveyor.yml",
    ".drone.yml",
    "cloudbuild.yaml",
    "codeship-services.yml",
    "codeship-steps.yml",
    "**/.goreleaser.yml",
    "**/.sops.yaml",
    "**/.flux.yaml",
];

/// The rules for one view of a tree.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    patterns: Vec<Pattern>,
    re_includes: bool,
}

#[derive(Clone, Debug)]
struct Pattern {
    /// The folder that the pattern is for.
    domain: Vec<String>,
    components: Vec<String>,
    include: bool,
    folders_only: bool,
    anchored: bool,
}

impl Rules {
    /// No file is left out.
    pub(crate) fn none() -> Self {
        Self {
            patterns: Vec::new(),
            re_includes: false,
        }
    }

    /// From the ignore files of the tree (folder and content, parents before children) and `spec.ignore`.
    pub(crate) fn new(files: &[(String, String)], spec: Option<&str>) -> Self {
        let mut own = Vec::new();
        for (folder, text) in files {
            own.extend(read(text, folder));
        }
        own.extend(read(spec.unwrap_or_default(), ""));
        let mut patterns: Vec<Pattern> = VCS.iter().map(|p| Pattern::parse(p, "")).collect();
        if own.is_empty() {
            patterns.extend(DEFAULTS.iter().map(|p| Pattern::parse(p, "")));
        }
        patterns.extend(own);
        let re_includes = patterns.iter().any(|p| p.include);
        Self {
            patterns,
            re_includes,
        }
    }

    /// Whether the rules leave out `path`, judged by itself: the last pattern that matches decides.
    pub(crate) fn excludes(&self, path: &str, is_folder: bool) -> bool {
        let components: Vec<&str> = path.split('/').collect();
        let decides = self
            .patterns
            .iter()
            .rev()
            .find(|p| p.matches(&components, is_folder));
        decides.is_some_and(|p| !p.include)
    }

    /// Whether something below an excluded folder may be included again.
    pub(crate) fn re_includes(&self) -> bool {
        self.re_includes
    }
}

fn read(text: &str, folder: &str) -> Vec<Pattern> {
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .map(|line| Pattern::parse(line, folder))
        .collect()
}

impl Pattern {
    fn parse(line: &str, folder: &str) -> Self {
        let (include, line) = match line.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, line),
        };
        let line = if line.ends_with("\\ ") {
            line
        } else {
            line.trim_end_matches(' ')
        };
        let (folders_only, line) = match line.strip_suffix('/') {
            Some(rest) => (true, rest),
            None => (false, line),
        };
        Self {
            domain: folder
                .split('/')
                .filter(|c| !c.is_empty())
                .map(str::to_owned)
                .collect(),
            components: line.split('/').map(str::to_owned).collect(),
            include,
            folders_only,
            anchored: line.contains('/'),
        }
    }

    fn matches(&self, path: &[&str], is_folder: bool) -> bool {
        if path.len() <= self.domain.len() || !self.domain.iter().zip(path).all(|(a, b)| a == b) {
            return false;
        }
        let path = &path[self.domain.len()..];
        if self.anchored {
            self.matches_path(path, is_folder)
        } else {
            self.matches_name(path, is_folder)
        }
    }

    /// A pattern without `/` matches any component; what is below a match matches too.
    fn matches_name(&self, path: &[&str], is_folder: bool) -> bool {
        let Some(at) = path.iter().position(|name| glob(&self.components[0], name)) else {
            return false;
        };
        !self.folders_only || is_folder || at + 1 < path.len()
    }

    /// A pattern with `/` matches from its folder on; what is below a match matches too.
    fn matches_path(&self, mut path: &[&str], is_folder: bool) -> bool {
        let mut matched = false;
        let mut anywhere = false;
        for (i, component) in self.components.iter().enumerate() {
            if component.is_empty() {
                anywhere = false;
                continue;
            }
            if component == "**" {
                if i + 1 == self.components.len() {
                    break;
                }
                anywhere = true;
                continue;
            }
            if component.contains("**") || path.is_empty() {
                return false;
            }
            if anywhere {
                anywhere = false;
                match path.iter().position(|name| glob(component, name)) {
                    Some(at) => {
                        matched = true;
                        path = &path[at + 1..];
                    }
                    None => {
                        matched = false;
                        path = &[];
                    }
                }
            } else {
                if !glob(component, path[0]) {
                    return false;
                }
                matched = true;
                path = &path[1..];
            }
        }
        matched && (!self.folders_only || is_folder || !path.is_empty())
    }
}

/// Shell patterns as Go's `filepath.Match` reads them: `*`, `?`, `[a-z]`, `[^a]`, `\x`. A malformed
/// pattern matches nothing.
fn glob(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    // Where to go on after the last `*`, should the current try fail.
    let mut retry: Option<(usize, usize)> = None;
    let (mut p, mut n) = (0, 0);
    loop {
        if p < pattern.len() && pattern[p] == '*' {
            retry = Some((p + 1, n));
            p += 1;
            continue;
        }
        if n == name.len() && p == pattern.len() {
            return true;
        }
        let step = if n < name.len() {
            one(&pattern[p..], name[n])
        } else {
            None
        };
        if let Some(width) = step {
            p += width;
            n += 1;
            continue;
        }
        match retry {
            Some((after, from)) if from < name.len() => {
                retry = Some((after, from + 1));
                (p, n) = (after, from + 1);
            }
            _ => return false,
        }
    }
}

/// How many characters of the pattern match `c`, if they do.
fn one(pattern: &[char], c: char) -> Option<usize> {
    match *pattern.first()? {
        '?' => Some(1),
        '\\' => (*pattern.get(1)? == c).then_some(2),
        '[' => {
            let mut i = 1;
            let negated = pattern.get(1) == Some(&'^');
            if negated {
                i += 1;
            }
            let mut found = false;
            let first = i;
            loop {
                if *pattern.get(i)? == ']' && i > first {
                    break;
                }
                let (low, width) = class_char(&pattern[i..])?;
                i += width;
                let mut high = low;
                if pattern.get(i) == Some(&'-') {
                    let (end, width) = class_char(&pattern[i + 1..])?;
                    high = end;
                    i += 1 + width;
                }
                found |= (low..=high).contains(&c);
            }
            (found != negated).then_some(i + 1)
        }
        literal => (literal == c).then_some(1),
    }
}

fn class_char(pattern: &[char]) -> Option<(char, usize)> {
    match *pattern.first()? {
        '-' | ']' => None,
        '\\' => pattern.get(1).map(|c| (*c, 2)),
        c => Some((c, 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        for (pattern, name, expected) in [
            ("*.yaml", "a.yaml", true),
            ("*.yaml", "a.yml", false),
            ("a*b*c", "aXbYbZc", true),
            ("a?c", "abc", true),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            (r"\*", "*", true),
            (r"\*", "a", false),
            ("[a", "a", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*", "a", true),
        ] {
            assert_eq!(glob(pattern, name), expected, "{pattern} {name}");
        }
        // No exponential blow-up.
        assert!(!glob(&"a*".repeat(40), &"a".repeat(39)));
    }

    #[test]
    fn defaults_are_gone_with_the_first_pattern_but_vcs_files_never_show() {
        let defaults = Rules::new(&[], None);
        for path in [
            "x/logo.png",
            "b.tar.gz",
            ".github/workflows/ci.yaml",
            "cloudbuild.yaml",
            "a/b/.sops.yaml",
            ".gitignore",
            "sub/.gitmodules",
        ] {
            assert!(defaults.excludes(path, false), "{path}");
        }
        assert!(!defaults.excludes("apps/a.yaml", false));
        let spec = Rules::new(&[], Some("# a comment\n\n/docs\n"));
        assert!(!spec.excludes("x/logo.png", false));
        assert!(spec.excludes("docs/a.yaml", false));
        assert!(!spec.excludes("apps/docs/a.yaml", false));
        assert!(spec.excludes(".gitignore", false));
        assert!(!Rules::new(&[], Some("# only a comment\n")).excludes("docs/a.yaml", false));
        assert!(Rules::new(&[], Some("# only a comment\n")).excludes("logo.png", false));
    }

    #[test]
    fn the_customary_allow_list() {
        let rules = Rules::new(&[], Some("/*\n!/clusters\n!/apps/base\n"));
        assert!(!rules.excludes("clusters", true));
        assert!(!rules.excludes("clusters/prod/a.yaml", false));
        assert!(rules.excludes("docs/a.md", false));
        assert!(rules.excludes("apps/other/a.yaml", false));
        assert!(!rules.excludes("apps/base/a.yaml", false));
        assert!(rules.re_includes());
        // Git would only open the folders here; in Flux what is in them comes along.
        let rules = Rules::new(&[], Some("*\n!*.md\n!*/\n"));
        assert!(!rules.excludes("docs/a.yaml", false));
        assert!(rules.excludes("a.yaml", false));
    }

    #[test]
    fn files_count_for_their_folder() {
        let rules = Rules::new(&[("apps".to_owned(), "*.md\n/secret/\n".to_owned())], None);
        assert!(rules.excludes("apps/x/README.md", false));
        assert!(!rules.excludes("README.md", false));
        assert!(rules.excludes("apps/secret/a.yaml", false));
        assert!(!rules.excludes("apps/x/secret/a.yaml", false));
        assert!(
            !rules.excludes("apps/secret", false),
            "a file of that name stays"
        );
    }

    #[test]
    fn flux_says_the_same() {
        let cases = include_str!("../tests/data/sourceignore.txt");
        let mut checked = 0;
        for line in cases.lines().filter(|line| !line.starts_with("# ")) {
            let (rules, paths) = line.split_once('\t').unwrap();
            let mut files = Vec::new();
            let mut spec = None;
            for part in rules.split('¦') {
                let (folder, text) = part.split_once('=').unwrap();
                let text = text.replace('⏎', "\n");
                match folder {
                    "spec" => spec = Some(text),
                    folder => files.push((folder.to_owned(), text)),
                }
            }
            let parsed = Rules::new(&files, spec.as_deref());
            for path in paths.split('¦') {
                let (is_folder, excluded) = (path.starts_with('d'), path[1..].starts_with('1'));
                let path = &path[2..];
                assert_eq!(
                    parsed.excludes(path, is_folder),
                    excluded,
                    "{rules}: {path}"
                );
                checked += 1;
            }
        }
        assert_eq!(checked, 3600);
    }
}
