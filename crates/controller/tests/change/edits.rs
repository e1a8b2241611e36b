//! Whatever a kustomization looks like: after an edit it builds to the same objects but for one image, and the bytes around
//! the edit stay.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use fairway_controller::change::image::{self, ImageVersion};
use fairway_kustomize::{MemoryTree, Options, build};
use proptest::prelude::*;
use serde_json::Value;

const APP: &str = "ghcr.io/acme/myapp";
const OTHER: &str = "ghcr.io/acme/proxy";
const POD: &str = "apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  containers:
  - {name: app, image: ghcr.io/acme/myapp}
  - {name: proxy, image: ghcr.io/acme/proxy:1.0}
";

/// How a file may be written.
#[derive(Debug, Clone)]
struct Style {
    flow_list: bool,
    flow_items: bool,
    indent: usize,
    quote: &'static str,
    comments: bool,
    windows: bool,
    mark: bool,
    open_end: bool,
    images_first: bool,
}

fn styles() -> impl Strategy<Value = Style> {
    let quote = prop_oneof![Just(""), Just("'"), Just("\"")];
    (
        any::<[bool; 7]>(),
        prop_oneof![Just(0_usize), Just(2), Just(4)],
        quote,
    )
        .prop_map(|(flags, indent, quote)| Style {
            flow_list: flags[0],
            flow_items: flags[1],
            indent,
            quote,
            comments: flags[2],
            windows: flags[3],
            mark: flags[4],
            open_end: flags[5],
            images_first: flags[6],
        })
}

/// An entry's keys and values.
type Entry = Vec<(&'static str, String)>;

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let version = prop_oneof![
        Just(None),
        Just(Some(("newTag", "v1".to_owned()))),
        Just(Some(("newTag", "1.10".to_owned()))),
        Just(Some(("digest", format!("sha256:{}", "ab".repeat(32))))),
    ];
    let entry = |name: &'static str| {
        (version.clone(), any::<bool>()).prop_map(move |(version, renamed)| {
            let mut entry = vec![("name", name.to_owned())];
            entry.extend(renamed.then(|| ("newName", format!("{name}-renamed"))));
            entry.extend(version);
            entry
        })
    };
    let app = proptest::option::of(entry(APP));
    let other = proptest::option::of(entry(OTHER));
    (app, other, any::<bool>()).prop_map(|(app, other, swap)| {
        let mut all: Vec<Entry> = app.into_iter().chain(other).collect();
        if swap {
            all.reverse();
        }
        all
    })
}

fn write(style: &Style, entries: &[Entry], empty: u8) -> String {
    let quoted = |text: &str| {
        let quote = match (style.quote, text) {
            ("", "1.10") => "\"",
            (quote, _) => quote,
        };
        format!("{quote}{text}{quote}")
    };
    let comment = |text: &str| {
        if style.comments {
            format!(" # {text}")
        } else {
            String::new()
        }
    };
    let margin = " ".repeat(style.indent);
    let mut images = String::new();
    if entries.is_empty() {
        images.push_str(match empty {
            0 => "",
            1 => "images: []\n",
            _ => "images:\n",
        });
    } else if style.flow_list {
        let items: Vec<String> = entries
            .iter()
            .map(|entry| {
                let pairs: Vec<String> = entry
                    .iter()
                    .map(|(k, v)| format!("{k}: {}", quoted(v)))
                    .collect();
                format!("{{{}}}", pairs.join(", "))
            })
            .collect();
        images = format!("images: [{}]{}\n", items.join(", "), comment("flow"));
    } else {
        images = format!("images:{}\n", comment("list"));
        for entry in entries {
            if style.comments {
                let _ = writeln!(images, "{margin}# an image");
            }
            let pairs: Vec<String> = entry
                .iter()
                .map(|(k, v)| format!("{k}: {}", quoted(v)))
                .collect();
            if style.flow_items {
                let _ = writeln!(
                    images,
                    "{margin}- {{{}}}{}",
                    pairs.join(", "),
                    comment("item")
                );
            } else {
                let between = format!("{}\n{margin}  ", comment("value"));
                let _ = writeln!(
                    images,
                    "{margin}- {}{}",
                    pairs.join(&between),
                    comment("last")
                );
            }
        }
    }
    let rest = format!("resources:\n{margin}- pod.yaml\n");
    let head = if style.comments { "# head\n" } else { "" };
    let mut text = if style.images_first {
        format!("{head}{images}{rest}")
    } else {
        format!("{head}{rest}{images}")
    };
    if style.open_end {
        text.truncate(text.trim_end().len());
    }
    if style.windows {
        text = text.replace('\n', "\r\n");
    }
    if style.mark {
        text.insert(0, '\u{feff}');
    }
    text
}

fn built(text: &str) -> Vec<Value> {
    let tree: MemoryTree = [("kustomization.yaml", text), ("pod.yaml", POD)]
        .into_iter()
        .collect();
    let built = build(&tree, "", &Options::default()).unwrap();
    values(&built.to_yaml())
}

fn values(yaml: &str) -> Vec<Value> {
    let documents = fairway_yaml::parse(yaml).unwrap();
    documents
        .iter()
        .map(|d| d.root.to_json().unwrap())
        .collect()
}

/// What the application's image must be built to.
fn expected(entries: &[Entry], version: &ImageVersion) -> String {
    let entry = entries.iter().find(|entry| entry[0].1 == APP);
    let new_name = entry
        .and_then(|entry| entry.iter().find(|(key, _)| *key == "newName"))
        .map_or(APP, |(_, name)| name.as_str());
    let tag = version.tag.as_ref().map(|tag| format!(":{tag}"));
    let digest = version.digest.as_ref().map(|digest| format!("@{digest}"));
    format!(
        "{new_name}{}{}",
        tag.unwrap_or_default(),
        digest.unwrap_or_default()
    )
}

fn with_image(mut objects: Vec<Value>, image: &str) -> Vec<Value> {
    objects[0]["spec"]["containers"][0]["image"] = image.into();
    objects
}

/// What both texts have in common, from both ends, must be all but the lines of the one entry.
fn lines_changed(before: &str, after: &str) -> (usize, usize) {
    let (a, b): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let head = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let tail = a[head..]
        .iter()
        .rev()
        .zip(b[head..].iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    (a.len() - head - tail, b.len() - head - tail)
}

fn version() -> impl Strategy<Value = ImageVersion> {
    let tags = [
        "1.10",
        "1e3",
        "true",
        "0x1",
        "v2.0.0",
        "007",
        "2024-01-01",
        "null",
        "6",
        "1_000",
        "y",
    ];
    prop_oneof![
        6 => proptest::sample::select(tags.to_vec()).prop_map(|tag| tag.parse().unwrap()),
        1 => Just(format!("sha256:{}", "0e".repeat(32)).parse().unwrap()),
        1 => Just(format!("1.2@sha256:{}", "cd".repeat(32)).parse().unwrap()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]
    #[test]
    fn only_one_image_differs(style in styles(), entries in entries(), empty in 0_u8..3, version in version()) {
        let text = write(&style, &entries, empty);
        let before = built(&text);
        let (edited, sets) = image::set(&text, APP, &version).unwrap_or_else(|fault| panic!("{fault}\n{text}"));
        let image = expected(&entries, &version);
        prop_assert_eq!(built(&edited), with_image(before.clone(), &image), "{}\n{}", text, edited);
        let same = image::read(&text, APP).unwrap().as_ref() == Some(&version);
        prop_assert_eq!(sets.is_empty(), same);
        prop_assert_eq!(edited == text, same);
        prop_assert_eq!(image::read(&edited, APP).unwrap(), Some(version.clone()));
        // The lines of other entries, comments and all else stay as they are.
        let (gone, new) = lines_changed(&text, &edited);
        prop_assert!(gone <= 3 && new <= 4, "{gone} {new}\n{text}\n{edited}");
        if style.windows {
            prop_assert_eq!(edited.matches('\n').count(), edited.matches("\r\n").count());
        }
        prop_assert_eq!(edited.starts_with('\u{feff}'), style.mark);
        // Again changes nothing.
        prop_assert_eq!(&image::set(&edited, APP, &version).unwrap().0, &edited);
        // And away: the build is that of a text without a version for it.
        let (away, _) = image::unset(&edited, APP).unwrap_or_else(|fault| panic!("{fault}\n{edited}"));
        let none = expected(&entries, &ImageVersion::default());
        prop_assert_eq!(built(&away), with_image(before, &none), "{}\n{}", edited, away);
        let was_there = entries.iter().any(|entry| entry[0].1 == APP);
        if !(was_there || entries.is_empty() && empty > 0) {
            prop_assert_eq!(&away, &text, "{}", edited);
        }
    }

    #[test]
    fn no_text_breaks_it(text in "(images|resources|name|newTag|digest|ghcr.io/acme/myapp|[-:#'\"\\[\\]{}&*,|>!?% \n\r\t]|\\PC){0,40}") {
        let version: ImageVersion = "1.10".parse().unwrap();
        if let Ok((edited, _)) = image::set(&text, APP, &version) {
            prop_assert_eq!(image::read(&edited, APP).unwrap(), Some(version));
        }
        if let Ok((edited, _)) = image::unset(&text, APP) {
            prop_assert_eq!(image::read(&edited, APP).unwrap(), None);
        }
    }
}

#[test]
fn kubectl_builds_the_same() {
    if !fairway_testkit::Kubectl::available() {
        eprintln!("skipped: no kubectl; hint: put one into PATH");
        return;
    }
    let by_kubectl = |text: &str, folder: &Path| {
        std::fs::write(folder.join("kustomization.yaml"), text).unwrap();
        std::fs::write(folder.join("pod.yaml"), POD).unwrap();
        let output = Command::new("kubectl")
            .arg("kustomize")
            .arg(folder)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}\n{text}",
            String::from_utf8_lossy(&output.stderr)
        );
        values(&String::from_utf8(output.stdout).unwrap())
    };
    let folder = tempfile::tempdir().unwrap();
    let entry =
        |name: &str, value: &str| vec![("name", name.to_owned()), ("newTag", value.to_owned())];
    let all = [
        vec![],
        vec![entry(APP, "v1")],
        vec![entry(OTHER, "v1"), entry(APP, "1.10")],
        vec![entry(OTHER, "v1")],
    ];
    for (number, entries) in all.iter().enumerate() {
        for bits in 0..8_u8 {
            let style = Style {
                flow_list: bits & 1 > 0,
                flow_items: bits & 2 > 0,
                indent: usize::from(bits & 4) / 2,
                quote: ["", "'", "\""][(number + usize::from(bits)) % 3],
                comments: true,
                windows: bits == 7,
                mark: false,
                open_end: bits % 3 == 0,
                images_first: bits % 2 > 0,
            };
            let text = write(&style, entries, 0);
            let tag = ["1.10", "1e3", "true", "0x1", "v2", "007"][(number + usize::from(bits)) % 6];
            let version: ImageVersion = tag.parse().unwrap();
            let (edited, _) = image::set(&text, APP, &version).unwrap();
            let image = expected(entries, &version);
            let before = by_kubectl(&text, folder.path());
            let after = by_kubectl(&edited, folder.path());
            assert_eq!(after, with_image(before, &image), "{edited}");
            assert_eq!(after, built(&edited), "{edited}");
        }
    }
}

#[test]
fn what_can_not_be_edited_names_its_place() {
    let version: ImageVersion = "1.1".parse().unwrap();
    for (text, place) in [
        (
            "images:\n- name: ghcr.io/acme/myapp\n- name: ghcr.io/acme/myapp\n",
            "k:3: images[name=ghcr.io/acme/myapp]: ",
        ),
        (
            "images: {name: a}\n",
            "k:1: images: it is a map, not a list",
        ),
        ("a: [\n", "k:"),
        (
            "x: &x\n  name: ghcr.io/acme/myapp\n  newTag: v1\nimages:\n- *x\n",
            "shared with other places",
        ),
        ("- a\n", "k:1: it is no kustomization"),
        ("a: 1\n---\nb: 1\n", "one document"),
    ] {
        let error = image::set(text, APP, &version).unwrap_err();
        let said = fairway_controller::change::Fault {
            path: "k".into(),
            ..error
        }
        .to_string();
        assert!(said.contains(place) && said.contains("hint: "), "{said}");
    }
    for text in [
        "",
        "a b",
        "-x",
        "a:b",
        "sha256:abc",
        "1.0@",
        "@sha256:00",
        "x\ny",
    ] {
        assert!(text.parse::<ImageVersion>().is_err(), "{text:?}");
    }
}
