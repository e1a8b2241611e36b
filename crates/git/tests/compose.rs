//! Trees put together, and trees as archives, compared with what git and tar make of them.
#![allow(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

mod world;

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use fairway_git::{
    ArchiveError, Composition, Error, Limits, Mirrors, TreeView, ViewOptions, submodules,
};
use flate2::write::GzEncoder;
use proptest::prelude::*;
use world::{World, branch, files, git, write};

const LIMIT: Duration = Duration::from_secs(30);

fn all_of(view: &TreeView) -> Vec<String> {
    view.files("").unwrap()
}

#[tokio::test]
async fn a_part_of_a_commit() {
    let world = World::new().await;
    let changes: Vec<_> = [
        "apps/a/x.yaml",
        "apps/b/y.yaml",
        "apps-other/z.yaml",
        "apps.md",
        "docs/a.md",
        "root.yaml",
    ]
    .iter()
    .map(|path| write(path, path))
    .collect();
    let commit = world.commit("main", &changes).await;
    let part = |prefixes: &[&str]| -> Result<Vec<String>, Error> {
        let prefixes: Vec<String> = prefixes.iter().map(|p| (*p).to_owned()).collect();
        let mut composition = Composition::new(&world.origin, commit)?;
        composition.keep_only(&prefixes)?;
        Ok(all_of(&composition.view(&ViewOptions::default())?))
    };
    assert_eq!(part(&["apps/a"]).unwrap(), ["apps/a/x.yaml"]);
    assert_eq!(
        part(&["./apps/a/", "docs"]).unwrap(),
        ["apps/a/x.yaml", "docs/a.md"]
    );
    // Prefixes, as go-git has it.
    assert_eq!(
        part(&["apps"]).unwrap(),
        [
            "apps/a/x.yaml",
            "apps/b/y.yaml",
            "apps-other/z.yaml",
            "apps.md"
        ]
    );
    let error = part(&["apps/a", "nowhere"]).unwrap_err();
    assert_eq!(
        error,
        Error::SparseMissing {
            path: "nowhere".into()
        }
    );
}

#[tokio::test]
async fn included_content_follows_the_rules_of_both_sides() {
    let (world, library) = (World::new().await, World::new().await);
    let inner = library
        .commit(
            "main",
            &[
                write("base/a.yaml", "a"),
                write("base/secret.txt", "s"),
                write("logo.png", "p"),
                write(".sourceignore", "*.txt\n"),
            ],
        )
        .await;
    let outer = world
        .commit(
            "main",
            &[write("own.yaml", "o"), write("taken/x.yaml", "x")],
        )
        .await;
    let from = library.origin.view(inner, &ViewOptions::default()).unwrap();
    let mut composition = Composition::new(&world.origin, outer).unwrap();
    composition.include(&from, "base", "vendor/lib").unwrap();
    composition.include(&from, "base/a.yaml", "b.yaml").unwrap();
    let before = composition.root();
    for (from_path, to_path) in [
        ("base", "taken"),
        ("nowhere", "n"),
        ("base", "own.yaml"),
        ("", ""),
    ] {
        assert!(
            composition.include(&from, from_path, to_path).is_err(),
            "{from_path} {to_path}"
        );
    }
    assert_eq!(composition.root(), before);
    // Nothing leads out, and nothing is refused for trying: paths are joined below the root.
    composition.include(&from, "/../base", "../../up").unwrap();
    let options = ViewOptions {
        ignore: Some("/own.yaml\n".into()),
        ..ViewOptions::default()
    };
    let view = composition.view(&options).unwrap();
    assert_eq!(
        all_of(&view),
        ["b.yaml", "taken/x.yaml", "up/a.yaml", "vendor/lib/a.yaml"]
    );
    assert_eq!(&*view.read("vendor/lib/a.yaml").unwrap(), b"a");
    assert_eq!(
        view.blob_id("vendor/lib/a.yaml").unwrap(),
        from.blob_id("base/a.yaml").unwrap()
    );
}

#[tokio::test]
async fn submodules_are_filled_in() {
    let world = World::new().await;
    let inner = world.dir.path().join("inner.git");
    let leaf = world.dir.path().join("leaf.git");
    for path in [&inner, &leaf] {
        git(
            world.dir.path(),
            &[
                "init",
                "-q",
                "--bare",
                "-b",
                "main",
                &path.display().to_string(),
            ],
        );
    }
    let work = world.dir.path().join("work");
    let file = |path: &Path, text: &str| {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let clone = |name: &str, from: &Path| {
        git(
            world.dir.path(),
            &["clone", "-q", &from.display().to_string(), name],
        );
        world.dir.path().join(name)
    };
    let push = |at: &Path| {
        git(at, &["add", "-A"]);
        git(at, &["commit", "-q", "-m", "x"]);
        git(at, &["push", "-q", "origin", "HEAD:main"]);
    };
    let leaf_work = clone("leaf-work", &leaf);
    file(&leaf_work.join("leaf.yaml"), "leaf");
    push(&leaf_work);
    let inner_work = clone("inner-work", &inner);
    file(&inner_work.join("a/inner.yaml"), "inner");
    git(
        &inner_work,
        &[
            "-c",
            "protocol.file.allow=always",
            "submodule",
            "add",
            "-q",
            "../leaf.git",
            "deep/leaf",
        ],
    );
    push(&inner_work);
    git(
        world.dir.path(),
        &[
            "clone",
            "-q",
            &world.origin.directory().display().to_string(),
            "work",
        ],
    );
    file(&work.join("own.yaml"), "own");
    git(
        &work,
        &[
            "-c",
            "protocol.file.allow=always",
            "submodule",
            "add",
            "-q",
            "../inner.git",
            "modules/inner",
        ],
    );
    push(&work);

    let mirrors = Mirrors::open(&world.dir.path().join("mirrors")).unwrap();
    let mirror = mirrors.get(&world.remote()).await.unwrap();
    let commit = mirror.fetch(&branch("main"), LIMIT).await.unwrap().commit();
    let found = submodules(&mirrors, &mirror, commit, LIMIT).await.unwrap();
    let paths: Vec<&str> = found.iter().map(|s| s.path.as_str()).collect();
    assert_eq!(paths, ["modules/inner", "modules/inner/deep/leaf"]);
    let mut composition = Composition::new(mirror.repository(), commit).unwrap();
    let bare = composition.root();
    composition.fill_in(&found).unwrap();
    assert_ne!(
        composition.root(),
        bare,
        "what a submodule holds is part of the id"
    );
    let view = composition.view(&ViewOptions::default()).unwrap();
    assert_eq!(
        all_of(&view),
        [
            "modules/inner/a/inner.yaml",
            "modules/inner/deep/leaf/leaf.yaml",
            "own.yaml"
        ]
    );
    assert_eq!(
        &*view.read("modules/inner/deep/leaf/leaf.yaml").unwrap(),
        b"leaf"
    );

    // A submodule that points at this machine's files.
    let modules = std::fs::read_to_string(work.join(".gitmodules")).unwrap();
    file(
        &work.join(".gitmodules"),
        &modules.replace("../inner.git", &inner.display().to_string()),
    );
    push(&work);
    let commit = mirror.fetch(&branch("main"), LIMIT).await.unwrap().commit();
    let error = submodules(&mirrors, &mirror, commit, LIMIT)
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("can't be a folder of this machine"),
        "{error}"
    );
    // One that is no submodule in the commit, out of the tree, or in .git, counts for nothing.
    let hostile = "[submodule \"../../x\"]\n\tpath = ../../x\n\turl = ../inner.git\n[submodule \"y\"]\n\tpath = .git/hooks\n\turl = ../inner.git\n";
    file(&work.join(".gitmodules"), hostile);
    push(&work);
    let commit = mirror.fetch(&branch("main"), LIMIT).await.unwrap().commit();
    assert!(
        submodules(&mirrors, &mirror, commit, LIMIT)
            .await
            .unwrap()
            .is_empty()
    );
}

/// What real tar makes of an archive: path, mode, content.
fn unpacked(archive: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
    let dir = tempfile::tempdir().unwrap();
    let packed = dir.path().join("x.tar.gz");
    std::fs::write(&packed, archive).unwrap();
    let out = dir.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let status = Command::new("tar")
        .args(["-xpzf"])
        .arg(&packed)
        .arg("-C")
        .arg(&out)
        .status()
        .unwrap();
    assert!(status.success());
    let mut found: Vec<_> = files(&out)
        .into_iter()
        .map(|path| {
            let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
            let name = path
                .strip_prefix(&out)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            (name, mode, std::fs::read(&path).unwrap())
        })
        .collect();
    found.sort();
    found
}

#[tokio::test]
async fn an_archive_is_a_checkout_without_what_is_ignored() {
    let world = World::new().await;
    let work = world.dir.path().join("work");
    git(
        world.dir.path(),
        &[
            "clone",
            "-q",
            &world.origin.directory().display().to_string(),
            "work",
        ],
    );
    let long = format!("deep/{}/{}.yaml", "folder-".repeat(20), "name-".repeat(30));
    let mut expected = Vec::new();
    for (path, text, mode, kept) in [
        ("a.yaml", "a: 1\n", 0o644, true),
        ("run.sh", "#!/bin/sh\n", 0o755, true),
        ("clusters/prod/b.yaml", "b: 2\n", 0o644, true),
        ("clusters/.gitignore", "x\n", 0o644, false),
        ("logo.png", "png", 0o644, false),
        (".github/workflows/ci.yaml", "x", 0o644, false),
        ("größe/ü.yaml", "u: 1\n", 0o644, true),
        (long.as_str(), "long\n", 0o644, true),
        ("empty.yaml", "", 0o644, true),
    ] {
        let at = work.join(path);
        std::fs::create_dir_all(at.parent().unwrap()).unwrap();
        std::fs::write(&at, text).unwrap();
        std::fs::set_permissions(&at, std::fs::Permissions::from_mode(mode)).unwrap();
        if kept {
            let mode = if mode == 0o755 { 0o700 } else { 0o600 };
            expected.push((path.to_owned(), mode, text.as_bytes().to_vec()));
        }
    }
    std::os::unix::fs::symlink("a.yaml", work.join("link.yaml")).unwrap();
    git(&work, &["add", "-A", "-f"]);
    git(&work, &["commit", "-q", "-m", "x"]);
    git(&work, &["push", "-q", "origin", "HEAD:main"]);
    expected.sort();
    let commit = world.origin.resolve("refs/heads/main").unwrap().unwrap();
    let view = world.origin.view(commit, &ViewOptions::default()).unwrap();
    let mut archive = Vec::new();
    view.write_archive(&mut archive).unwrap();
    assert_eq!(unpacked(&archive), expected);
    let mut again = Vec::new();
    view.write_archive(&mut again).unwrap();
    assert!(archive == again, "the same tree is the same file");
    let folder = tempfile::tempdir().unwrap();
    let read = TreeView::from_archive(&archive[..], folder.path(), Limits::default()).unwrap();
    assert_eq!(all_of(&read), all_of(&view));
    for (path, _, text) in &expected {
        assert_eq!(&*read.read(path).unwrap(), text, "{path}");
        assert_eq!(
            read.blob_id(path).unwrap(),
            view.blob_id(path).unwrap(),
            "{path}"
        );
    }
    assert!(
        std::fs::read_dir(folder.path()).unwrap().next().is_none(),
        "it has no name"
    );
    let mut third = Vec::new();
    read.write_archive(&mut third).unwrap();
    assert!(archive == third, "there and back");
}

#[test]
fn an_archive_that_tar_made() {
    let dir = tempfile::tempdir().unwrap();
    let long = "x".repeat(180);
    for path in ["./a/b.yaml", "./c.yaml", &format!("./a/{long}/{long}")] {
        let at = dir.path().join(path);
        std::fs::create_dir_all(at.parent().unwrap()).unwrap();
        std::fs::write(at, path).unwrap();
    }
    std::os::unix::fs::symlink("/etc/passwd", dir.path().join("link")).unwrap();
    for format in ["gnu", "pax", "ustar"] {
        let output = Command::new("tar")
            .args([
                &format!("--format={format}"),
                "-C",
                dir.path().to_str().unwrap(),
                "-czf",
                "-",
                ".",
            ])
            .output()
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let read =
            TreeView::from_archive(&output.stdout[..], folder.path(), Limits::default()).unwrap();
        let mut expected = vec![
            format!("a/{long}/{long}"),
            "a/b.yaml".to_owned(),
            "c.yaml".to_owned(),
        ];
        if format == "ustar" {
            expected.remove(0); // too long for that format
        }
        expected.sort();
        let mut found = all_of(&read);
        found.sort();
        assert_eq!(found, expected, "{format}");
        assert_eq!(&*read.read("a/b.yaml").unwrap(), b"./a/b.yaml");
    }
}

/// An archive with one entry whose header is as given.
fn hostile(name: &[u8], kind: tar::EntryType, data: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(data.len() as u64);
    header.set_mode(0o644);
    header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name);
    header.set_cksum();
    let mut out = header.as_bytes().to_vec();
    out.extend_from_slice(data);
    out.resize(out.len().next_multiple_of(512) + 1024, 0);
    packed(&out)
}

fn packed(data: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(data).unwrap();
    gzip.finish().unwrap()
}

fn read(archive: &[u8], limits: Limits) -> Result<Vec<String>, ArchiveError> {
    let folder = tempfile::tempdir().unwrap();
    TreeView::from_archive(archive, folder.path(), limits).map(|view| all_of(&view))
}

#[test]
fn hostile_archives_are_refused() {
    use tar::EntryType as E;
    for name in [
        "../x",
        "a/../../x",
        "/etc/passwd",
        "a\\b",
        "..",
        "\u{ff}\u{fe}/..",
    ] {
        let error = read(
            &hostile(name.as_bytes(), E::Regular, b"x"),
            Limits::default(),
        )
        .unwrap_err();
        assert!(
            matches!(error, ArchiveError::InvalidName(_)),
            "{name}: {error}"
        );
    }
    for kind in [E::Link, E::Char, E::Block, E::Fifo, E::GNUSparse] {
        assert!(
            read(&hostile(b"x", kind, b""), Limits::default()).is_err(),
            "{kind:?}"
        );
    }
    assert!(
        read(&hostile(b"x", E::Symlink, b""), Limits::default())
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        read(&hostile(b"a/./b", E::Regular, b"x"), Limits::default()).unwrap(),
        ["a/b"]
    );
    let bomb = packed(&vec![0; 10 << 20]);
    assert!(bomb.len() < 1 << 19);
    let small = Limits {
        bytes: 1 << 20,
        ..Limits::default()
    };
    assert!(matches!(read(&bomb, small), Err(ArchiveError::TooBig(_))));
    let one = Limits {
        entries: 0,
        ..Limits::default()
    };
    assert!(matches!(
        read(&hostile(b"x", E::Regular, b""), one),
        Err(ArchiveError::TooBig(_))
    ));
    assert!(read(b"no gzip", Limits::default()).is_err());
    let cut = hostile(b"x", E::Regular, &[7; 2000]);
    assert!(read(&cut[..cut.len() - 30], Limits::default()).is_err());
}

proptest! {
    #[test]
    fn no_bytes_break_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..2000), name in "[a./\\\\]{1,40}") {
        let _ = read(&bytes, Limits::default());
        let _ = read(&packed(&bytes), Limits::default());
        if let Ok(paths) = read(&hostile(name.as_bytes(), tar::EntryType::Regular, &bytes), Limits::default()) {
            for path in paths {
                prop_assert!(!path.split('/').any(|c| c == ".." || c.is_empty()), "{}", path);
            }
        }
    }
}
