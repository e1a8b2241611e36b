//! Views of commits: exclusions, links, odd names, and many threads at a time.
#![allow(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

mod world;

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use fairway_git::{EntryKind, Oid, Symlinks, TreeError, TreeView, ViewOptions};
use world::{World, write};

fn view(world: &World, options: &ViewOptions) -> TreeView {
    let head = world.origin.resolve("refs/heads/main").unwrap().unwrap();
    world.origin.view(head, options).unwrap()
}

fn ignoring(patterns: &str) -> ViewOptions {
    ViewOptions {
        ignore: Some(patterns.to_owned()),
        ..ViewOptions::default()
    }
}

/// A commit of whatever `script` makes in a work tree: links, modes, submodules.
async fn made_by(script: &str) -> World {
    let world = World::new().await;
    let work = world.dir.path().join("work");
    std::fs::create_dir(&work).unwrap();
    let status = Command::new("sh")
        .arg("-euc")
        .arg(script)
        .current_dir(&work)
        .status()
        .unwrap();
    assert!(status.success());
    world::git(&work, &["init", "-q", "-b", "main"]);
    world::git(&work, &["add", "-Af", "."]);
    world::git(&work, &["commit", "-q", "-m", "made"]);
    let url = world.origin.directory().display().to_string();
    world::git(&work, &["push", "-q", &url, "main"]);
    world
}

#[tokio::test]
async fn reads_what_git_reads() {
    let world = made_by("mkdir -p a/b; echo 1 >a/b/one; echo 2 >a/two; echo 3 >'a b.yaml'; echo x >a-; echo y >a0; chmod +x a0").await;
    let view = view(&world, &ViewOptions::default());
    let expected: Vec<String> = world
        .git(&["ls-tree", "-r", "--name-only", "-z", "main"])
        .split_terminator('\0')
        .map(str::to_owned)
        .collect();
    let files: BTreeSet<String> = view.files("").unwrap().into_iter().collect();
    assert_eq!(files, expected.into_iter().collect());
    for path in &files {
        let spec = format!("main:{path}");
        assert_eq!(
            &*view.read(path).unwrap(),
            world.git(&["cat-file", "blob", &spec]).as_bytes()
        );
        let id = Oid(view.blob_id(path).unwrap().unwrap()).to_string();
        assert_eq!(id, world.git(&["rev-parse", &spec]).trim());
    }
    let names: Vec<_> = view.list("").unwrap();
    assert_eq!(names[0], ("a".to_owned(), EntryKind::Dir));
    assert!(names.is_sorted());
    assert_eq!(view.kind("a/./b/../b//").unwrap(), Some(EntryKind::Dir));
    assert_eq!(view.kind("").unwrap(), Some(EntryKind::Dir));
    assert_eq!(view.kind("nope").unwrap(), None);
    assert_eq!(view.kind("a0/below-a-file").unwrap(), None);
    assert_eq!(view.blob_id("a").unwrap(), None);
    assert!(matches!(view.read("a"), Err(TreeError::IsDir { .. })));
    assert!(matches!(view.read("nope"), Err(TreeError::NotFound { .. })));
    assert!(matches!(view.list("a0"), Err(TreeError::NotDir { .. })));
    for path in ["../x", "/etc/passwd", "a/../../x"] {
        assert!(
            matches!(view.read(path), Err(TreeError::Outside { .. })),
            "{path}"
        );
    }
}

#[tokio::test]
async fn leaves_out_what_flux_leaves_out() {
    let world = World::new().await;
    let all = [
        ".gitignore",
        ".github/ci.yaml",
        "logo.png",
        "apps/a.yaml",
        "apps/a.tar.gz",
        "docs/b.yaml",
    ];
    world
        .commit("main", &all.map(|path| write(path, path)))
        .await;
    assert_eq!(
        view(&world, &ViewOptions::default()).files("").unwrap(),
        ["apps/a.yaml", "docs/b.yaml"]
    );
    let expected = [
        ".github/ci.yaml",
        "apps/a.tar.gz",
        "apps/a.yaml",
        "logo.png",
    ];
    assert_eq!(
        view(&world, &ignoring("/docs/")).files("").unwrap(),
        expected
    );
    let allow = view(&world, &ignoring("/*\n!/apps/*.yaml"));
    assert_eq!(allow.files("").unwrap(), ["apps/a.yaml"]);
    assert_eq!(
        allow.list("").unwrap(),
        [("apps".to_owned(), EntryKind::Dir)]
    );
    assert_eq!(allow.kind("docs").unwrap(), None);
    assert_eq!(allow.kind("apps").unwrap(), Some(EntryKind::Dir));
    assert!(matches!(
        allow.list("docs"),
        Err(TreeError::NotFound { .. })
    ));
    let everything = ViewOptions {
        everything: true,
        ..ViewOptions::default()
    };
    assert_eq!(
        view(&world, &everything).files("").unwrap().len(),
        all.len()
    );
    // An ignore file anywhere is a pattern, so the defaults are gone everywhere.
    world
        .commit(
            "main",
            &[
                write("apps/.sourceignore", "# secrets\n/secret/\n*.gz\n"),
                write("apps/secret/x", "x"),
                write("secret/x", "x"),
            ],
        )
        .await;
    let files = view(&world, &ViewOptions::default()).files("").unwrap();
    assert_eq!(
        files,
        [
            ".github/ci.yaml",
            "apps/.sourceignore",
            "apps/a.yaml",
            "docs/b.yaml",
            "logo.png",
            "secret/x"
        ]
    );
    // `spec.ignore` has the last word over the files.
    let files = view(&world, &ignoring("!/apps/secret/"))
        .files("apps")
        .unwrap();
    assert_eq!(
        files,
        ["apps/.sourceignore", "apps/a.yaml", "apps/secret/x"]
    );
}

/// Where Flux and git agree, `git check-ignore` is the reference.
#[tokio::test]
async fn patterns_agree_with_git() {
    let paths = [
        "a.yaml",
        "a.md",
        "x/a.md",
        "x/y/a.md",
        "docs/a.yaml",
        "x/docs/a.yaml",
        "docs.yaml",
        "x/[b].yaml",
        "x/b1.yaml",
        "x/b22.yaml",
        "tmp/z/k.yaml",
        "x/tmp/z/k.yaml",
        "foo/bar/baz.yaml",
        "foo/baz.yaml",
        "foo/a/b/baz.yaml",
        "with space.txt",
        "#hash",
        "!bang",
        "UPPER.MD",
        "x/.hidden",
    ];
    let world = World::new().await;
    world
        .commit("main", &paths.map(|path| write(path, "x")))
        .await;
    let work = world.dir.path().join("work");
    world::git(world.dir.path(), &["init", "-q", "work"]);
    for path in paths {
        let full = work.join(path);
        std::fs::create_dir_all(full.parent().unwrap()).unwrap();
        std::fs::write(full, "x").unwrap();
    }
    for patterns in [
        "*.md",
        "/a.md",
        "docs",
        "docs/",
        "/docs/",
        "x/docs",
        "**/docs/",
        "*.yaml\n!a.yaml",
        "x/b?.yaml",
        "x/b[0-9].yaml",
        "x/b[^0-9]*",
        r"x/\[b\].yaml",
        "foo/**/baz.yaml",
        "**/tmp/z",
        "tmp/**",
        "x/*",
        "*",
        "x/*\n!x/a.md",
        "# nothing\n\n  \nx/y",
        "with space.txt",
        "with space.txt   ",
        r"\#hash",
        r"\!bang",
        ".*",
        "foo/*/b",
        "/x/y/a.md",
        "y/a.md",
        "k.yaml",
        "*a*",
    ] {
        std::fs::write(work.join(".gitignore"), patterns).unwrap();
        let mut child = Command::new("git")
            .args([
                "-C",
                work.to_str().unwrap(),
                "check-ignore",
                "--no-index",
                "--stdin",
                "-z",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(
            &mut child.stdin.take().unwrap(),
            paths.join("\0").as_bytes(),
        )
        .unwrap();
        let output = child.wait_with_output().unwrap();
        let ignored: BTreeSet<&str> = std::str::from_utf8(&output.stdout)
            .unwrap()
            .split_terminator('\0')
            .collect();
        let view = view(&world, &ignoring(&format!("{patterns}\n/never")));
        let shown: BTreeSet<String> = view.files("").unwrap().into_iter().collect();
        for path in paths {
            assert_eq!(
                !shown.contains(path),
                ignored.contains(path),
                "{path} under {patterns:?}"
            );
        }
    }
}

#[tokio::test]
async fn links_never_lead_out() {
    let world = made_by(
        "mkdir -p real/deep; echo hi >real/deep/file; ln -s real/deep/file inside; ln -s real dir; ln -s ../inside real/up
         ln -s /etc/passwd absolute; ln -s ../../../etc/passwd outside; ln -s loop2 loop1; ln -s loop1 loop2; ln -s . self
         ln -s nowhere dangling; ln -s dir/deep/file through; echo p >real/logo.png; ln -s real/logo.png picture",
    )
    .await;
    let skipping = view(&world, &ViewOptions::default());
    assert_eq!(skipping.files("").unwrap(), ["real/deep/file"]);
    assert_eq!(skipping.kind("inside").unwrap(), None);
    let following = view(
        &world,
        &ViewOptions {
            symlinks: Symlinks::Follow,
            ..ViewOptions::default()
        },
    );
    for path in [
        "inside",
        "dir/deep/file",
        "real/up",
        "through",
        "self/self/inside",
        "self/real/up",
    ] {
        assert_eq!(&*following.read(path).unwrap(), b"hi\n", "{path}");
        assert_eq!(
            following.blob_id(path).unwrap(),
            following.blob_id("real/deep/file").unwrap()
        );
    }
    for path in [
        "absolute",
        "outside",
        "loop1",
        "loop2",
        "dangling",
        "picture",
        "dir/logo.png",
        "dir/../../x",
    ] {
        assert!(!matches!(following.kind(path), Ok(Some(_))), "{path}");
    }
    assert_eq!(following.kind("dir").unwrap(), Some(EntryKind::Dir));
    let names: Vec<String> = following
        .list("")
        .unwrap()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["dir", "inside", "real", "self", "through"]);
}

#[tokio::test]
async fn submodules_are_empty_folders() {
    let world = World::new().await;
    let inner = world.commit("main", &[write("a.yaml", "1")]).await;
    let tree = world.origin.commit(inner).unwrap().tree;
    let listing = format!("040000 tree {tree}\tplain\n160000 commit {inner}\tvendor\n");
    let file = world.dir.path().join("listing");
    std::fs::write(&file, listing).unwrap();
    let output = Command::new("git")
        .args([
            "--git-dir",
            world.origin.directory().to_str().unwrap(),
            "mktree",
        ])
        .stdin(std::fs::File::open(file).unwrap())
        .output()
        .unwrap();
    let tree = String::from_utf8(output.stdout).unwrap();
    let commit = world.git(&["commit-tree", "-m", "x", tree.trim()]);
    let view = world
        .origin
        .view(commit.trim().parse().unwrap(), &ViewOptions::default())
        .unwrap();
    assert_eq!(view.kind("vendor").unwrap(), Some(EntryKind::Dir));
    assert_eq!(view.list("vendor").unwrap(), []);
    assert_eq!(view.files("").unwrap(), ["plain/a.yaml"]);
}

#[tokio::test]
async fn many_threads_read_one_view() {
    let world = World::new().await;
    let changes: Vec<_> = (0..300)
        .map(|i| write(&format!("d{}/f{i}.yaml", i % 17), &"x".repeat(i)))
        .collect();
    world.commit("main", &changes).await;
    world.git(&["gc", "-q"]);
    let view = view(&world, &ViewOptions::default());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for path in view.files("").unwrap() {
                    let number: usize = path
                        .split('f')
                        .nth(1)
                        .unwrap()
                        .trim_end_matches(".yaml")
                        .parse()
                        .unwrap();
                    assert_eq!(view.read(&path).unwrap().len(), number);
                }
            });
        }
        // The packs move under the readers.
        scope.spawn(|| world.git(&["repack", "-adfq", "--depth=3"]));
    });
}
