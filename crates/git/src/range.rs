//! Ranges of versions as `spec.ref.semver` knows them: the language of Masterminds/semver, which
//! Flux uses. It differs from Cargo's: a bare `1.2` is `1.2.x`, spaces and commas both mean "and",
//! `||` means "or", and `1.2 - 2` is a range. Pre-releases only match ranges that name one.

use semver::{Comparator, Version};

use crate::Error;

/// A parsed range.
#[derive(Clone, Debug)]
pub struct Range {
    any_of: Vec<Vec<Constraint>>,
}

#[derive(Clone, Debug)]
struct Constraint {
    operator: Operator,
    version: Version,
    /// The parts that were given; the rest are wildcards.
    given: Given,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Given {
    Nothing,
    Major,
    Minor,
    Patch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterEqual,
    LessEqual,
    Tilde,
    Caret,
}

const OPERATORS: &[(&str, Operator)] = &[
    ("!=", Operator::NotEqual),
    (">=", Operator::GreaterEqual),
    ("=>", Operator::GreaterEqual),
    ("<=", Operator::LessEqual),
    ("=<", Operator::LessEqual),
    ("~>", Operator::Tilde),
    ("=", Operator::Equal),
    (">", Operator::Greater),
    ("<", Operator::Less),
    ("~", Operator::Tilde),
    ("^", Operator::Caret),
];

impl Range {
    /// Reads a range such as `>=1.0.0 <2.0.0`, `^1.2`, `1.x || 2.1 - 2.4`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let invalid = |reason: String| Error::InvalidReference {
            field: "semver",
            value: text.to_owned(),
            reason,
        };
        if text.len() > 512 {
            return Err(invalid("it is longer than 512 bytes".to_owned()));
        }
        let mut any_of = Vec::new();
        for group in text.split("||") {
            any_of.push(all_of(group).map_err(invalid)?);
        }
        Ok(Self { any_of })
    }

    /// Whether `version` is in the range.
    pub fn matches(&self, version: &Version) -> bool {
        self.any_of.iter().any(|all| {
            let names_pre = all.iter().any(|c| !c.version.pre.is_empty());
            (version.pre.is_empty() || names_pre) && all.iter().all(|c| c.matches(version))
        })
    }
}

/// A tag as a version: strict, but for a leading `v`.
pub(crate) fn version_of_tag(tag: &str) -> Option<Version> {
    Version::parse(tag.strip_prefix('v').unwrap_or(tag)).ok()
}

fn all_of(group: &str) -> Result<Vec<Constraint>, String> {
    let words: Vec<&str> = group
        .split([' ', ',', '\t'])
        .filter(|w| !w.is_empty())
        .collect();
    let mut constraints = Vec::new();
    let mut i = 0;
    while i < words.len() {
        if words.get(i + 1) == Some(&"-") {
            let upper = words.get(i + 2).ok_or("the range ends with '-'")?;
            let (version, given) = partial(words[i])?;
            constraints.push(Constraint {
                operator: Operator::GreaterEqual,
                version,
                given,
            });
            let (version, given) = partial(upper)?;
            constraints.push(Constraint {
                operator: Operator::LessEqual,
                version,
                given,
            });
            i += 3;
            continue;
        }
        let mut word = words[i];
        let mut operator = Operator::Equal;
        if let Some((sign, found)) = OPERATORS.iter().find(|(sign, _)| word.starts_with(sign)) {
            operator = *found;
            word = &word[sign.len()..];
            if word.is_empty() {
                i += 1;
                word = words
                    .get(i)
                    .ok_or_else(|| format!("'{sign}' has no version"))?;
            }
        }
        // ">=1.0<2.0" without a space between.
        let end = word
            .find(['<', '>', '=', '!', '~', '^'])
            .unwrap_or(word.len());
        let (version, given) = partial(&word[..end])?;
        constraints.push(Constraint {
            operator,
            version,
            given,
        });
        if end < word.len() {
            constraints.extend(all_of(&word[end..])?);
        }
        i += 1;
    }
    if constraints.is_empty() {
        Err("it is empty".to_owned())
    } else {
        Ok(constraints)
    }
}

fn partial(text: &str) -> Result<(Version, Given), String> {
    let wrong = || format!("'{text}' is no version");
    let text_ = text.strip_prefix('v').unwrap_or(text);
    let end = text_.find(['-', '+']).unwrap_or(text_.len());
    let (numbers, suffix) = text_.split_at(end);
    let mut parts = [0_u64; 3];
    let mut given = Given::Nothing;
    let mut wild = false;
    for (count, part) in numbers.split('.').enumerate() {
        if count == 3 {
            return Err(wrong());
        }
        if matches!(part, "x" | "X" | "*") {
            wild = true;
        } else {
            let number = part.parse().map_err(|_| wrong())?;
            if !wild {
                parts[count] = number;
                given = [Given::Major, Given::Minor, Given::Patch][count];
            }
        }
    }
    let full = format!("{}.{}.{}{suffix}", parts[0], parts[1], parts[2]);
    Ok((Version::parse(&full).map_err(|_| wrong())?, given))
}

impl Constraint {
    fn matches(&self, version: &Version) -> bool {
        let c = &self.version;
        let ordering = version.cmp_precedence(c);
        match self.operator {
            Operator::Equal if self.given == Given::Patch => {
                ordering.is_eq() && (c.build.is_empty() || c.build == version.build)
            }
            Operator::Equal | Operator::Tilde => ordering.is_ge() && self.same_line(version),
            Operator::NotEqual if self.given == Given::Patch => ordering.is_ne(),
            Operator::NotEqual => !self.same_line(version),
            Operator::Greater => match self.given {
                Given::Patch => ordering.is_gt(),
                Given::Minor => (version.major, version.minor) > (c.major, c.minor),
                Given::Major | Given::Nothing => version.major > c.major,
            },
            Operator::Less => ordering.is_lt(),
            Operator::GreaterEqual => ordering.is_ge(),
            Operator::LessEqual => {
                ordering.is_le() || (self.given != Given::Patch && self.same_line(version))
            }
            Operator::Caret => ordering.is_ge() && caret(self, version),
        }
    }

    /// The same in every part that was given, the patch left out (what `~` means).
    fn same_line(&self, version: &Version) -> bool {
        let c = &self.version;
        self.given == Given::Nothing
            || version.major == c.major && (self.given == Given::Major || version.minor == c.minor)
    }
}

fn caret(constraint: &Constraint, version: &Version) -> bool {
    let c = &constraint.version;
    let comparator = Comparator {
        op: semver::Op::Caret,
        major: c.major,
        minor: (constraint.given >= Given::Minor).then_some(c.minor),
        patch: (constraint.given == Given::Patch).then_some(c.patch),
        pre: if constraint.given == Given::Patch {
            c.pre.clone()
        } else {
            semver::Prerelease::EMPTY
        },
    };
    // Cargo's caret is the same but for its rule about pre-releases, which is checked elsewhere.
    let release = Version {
        pre: semver::Prerelease::EMPTY,
        ..version.clone()
    };
    constraint.given == Given::Nothing || comparator.matches(&release)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matching(range: &str, versions: &[&str]) -> Vec<String> {
        let range = Range::parse(range).unwrap();
        let keep = |v: &&&str| range.matches(&version_of_tag(v).unwrap());
        versions
            .iter()
            .filter(keep)
            .map(|v| (*v).to_owned())
            .collect()
    }

    const ALL: &[&str] = &[
        "0.0.3",
        "0.2.3",
        "0.2.9",
        "0.3.0",
        "1.0.0",
        "1.2.0",
        "1.2.9",
        "v1.3.0",
        "1.3.1-rc.1",
        "2.0.0",
        "2.1.0",
        "3.0.0-beta",
    ];

    #[test]
    fn the_language_of_masterminds() {
        let cases: &[(&str, &[&str])] = &[
            ("1.2", &["1.2.0", "1.2.9"]),
            ("1.2.x", &["1.2.0", "1.2.9"]),
            ("1", &["1.0.0", "1.2.0", "1.2.9", "v1.3.0"]),
            ("=1.2.0", &["1.2.0"]),
            ("v1.2.0", &["1.2.0"]),
            ("~1.2.5", &["1.2.9"]),
            ("~1", &["1.0.0", "1.2.0", "1.2.9", "v1.3.0"]),
            ("^1.2", &["1.2.0", "1.2.9", "v1.3.0"]),
            ("^0.2.3", &["0.2.3", "0.2.9"]),
            ("^0.0.3", &["0.0.3"]),
            ("^0", &["0.0.3", "0.2.3", "0.2.9", "0.3.0"]),
            (">=1.0.0 <2.0.0", &["1.0.0", "1.2.0", "1.2.9", "v1.3.0"]),
            (">= 1.0.0, < 1.2.5", &["1.0.0", "1.2.0"]),
            (">=1.0.0<1.2.5", &["1.0.0", "1.2.0"]),
            ("1.2 - 2", &["1.2.0", "1.2.9", "v1.3.0", "2.0.0", "2.1.0"]),
            ("1.2.9 - 2.0.0", &["1.2.9", "v1.3.0", "2.0.0"]),
            ("0.3 || ^2", &["0.3.0", "2.0.0", "2.1.0"]),
            (">1.2", &["v1.3.0", "2.0.0", "2.1.0"]),
            (">1", &["2.0.0", "2.1.0"]),
            (
                "<=1.2",
                &[
                    "0.0.3", "0.2.3", "0.2.9", "0.3.0", "1.0.0", "1.2.0", "1.2.9",
                ],
            ),
            ("!=1.2 >=1.0.0", &["1.0.0", "v1.3.0", "2.0.0", "2.1.0"]),
            (
                "*",
                &[
                    "0.0.3", "0.2.3", "0.2.9", "0.3.0", "1.0.0", "1.2.0", "1.2.9", "v1.3.0",
                    "2.0.0", "2.1.0",
                ],
            ),
            (">=1.3.0-0 <2", &["v1.3.0", "1.3.1-rc.1"]),
            ("^1.3.1-rc.0", &["1.3.1-rc.1"]),
            (">=3.0.0-alpha", &["3.0.0-beta"]),
        ];
        for (range, expected) in cases {
            assert_eq!(matching(range, ALL), *expected, "{range}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for range in [
            "",
            " ",
            ">=",
            "1.2.3.4",
            "a.b",
            "1 -",
            "1.0 || ",
            ">=1.0 $(x)",
            "--all",
        ] {
            assert!(Range::parse(range).is_err(), "{range:?}");
        }
        for tag in ["1.2", "release-1", "vv1.0.0", "1.02.3"] {
            assert!(version_of_tag(tag).is_none(), "{tag}");
        }
    }
}
