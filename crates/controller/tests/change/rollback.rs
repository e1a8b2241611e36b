//! The ways back: to a version, by revert, by restoring a folder, and by putting back what was set.

use fairway_controller::change::{ChangeSet, Edit, Error, Outcome};
use fairway_types::promotion::Intent;

use crate::world::{IMAGE, OVERLAY, PROD, World, apply, image, overlay};

const DEV: &str = "apps/myapp/overlays/dev";

#[tokio::test(flavor = "multi_thread")]
async fn only_what_still_stands_is_put_back() {
    let world = World::new().await;
    let workspace = world.workspace("a").await;
    let before = world.text(OVERLAY);
    let made = apply(&workspace, &image(PROD, "1.1.0"), "p-1", Intent::Promote)
        .await
        .unwrap();
    // Others edit around it.
    world
        .git
        .replace(OVERLAY, "# ours", "# theirs")
        .await
        .unwrap();
    let back = ChangeSet::Edits(vec![Edit::PutBack(made.changes.clone())]);
    let put = apply(&workspace, &back, "p-1", Intent::Rollback)
        .await
        .unwrap();
    assert_eq!(put.outcome, Outcome::Pushed);
    assert_eq!(world.text(OVERLAY), before.replace("# ours", "# theirs"));
    assert_eq!(put.changes[0].from.as_deref(), Some("1.1.0"));
    assert_eq!(put.changes[0].to.as_deref(), Some("1.0.0"));
    // Once is enough.
    let again = apply(&workspace, &back, "p-1", Intent::Rollback)
        .await
        .unwrap();
    assert_eq!((again.outcome, again.sha), (Outcome::Found, put.sha));

    // Where somebody set another value since, nothing is written.
    let made = apply(&workspace, &image(PROD, "1.1.0"), "p-2", Intent::Promote)
        .await
        .unwrap();
    let hotfix = world
        .git
        .replace(OVERLAY, "newTag: 1.1.0", "newTag: 1.1.1")
        .await
        .unwrap();
    let back = ChangeSet::Edits(vec![Edit::PutBack(made.changes)]);
    let error = apply(&workspace, &back, "p-2", Intent::Rollback)
        .await
        .unwrap_err();
    let Error::ChangedSince(stands) = &error else {
        panic!("{error}");
    };
    assert_eq!(stands[0].found.as_deref(), Some("1.1.1"));
    assert_eq!(
        error.to_string(),
        format!(
            "not put back, since it was changed by others: {OVERLAY}: images[name={IMAGE}].newTag is 1.1.1, was set to 1.1.0 (commit {} by Pat: Change {OVERLAY}); hint: decide by hand; nothing was committed",
            hotfix.short()
        )
    );
    assert_eq!(world.git.head().unwrap(), hotfix);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revert_keeps_to_the_stage() {
    let world = World::new().await;
    let workspace = world.workspace("a").await;
    // One commit for two stages.
    let clone = world.git.clone_to_work().await.unwrap();
    clone.write(OVERLAY, &overlay("9.0.0")).unwrap();
    clone
        .write(
            "apps/myapp/overlays/dev/kustomization.yaml",
            &overlay("9.0.0"),
        )
        .unwrap();
    let both = clone.commit_and_push("Everything to 9").await.unwrap();
    let revert = |commit| ChangeSet::Revert {
        commit,
        within: vec![PROD.into()],
    };
    let made = apply(&workspace, &revert(both), "p-1", Intent::Rollback)
        .await
        .unwrap();
    assert_eq!(world.text(OVERLAY), overlay("1.0.0"));
    assert_eq!(
        world.text("apps/myapp/overlays/dev/kustomization.yaml"),
        overlay("9.0.0")
    );
    assert_eq!(made.changes.len(), 1);
    let said = world.log().await[0].message.clone();
    assert!(
        said.contains(&format!("This reverts commit {both}.")),
        "{said}"
    );
    assert!(said.contains("Fairway-Intent: rollback"), "{said}");
    // What changed since on the same lines is a conflict, in words.
    let third = world
        .git
        .replace(OVERLAY, "newTag: 1.0.0", "newTag: 3.0.0")
        .await
        .unwrap();
    world
        .git
        .replace(OVERLAY, "newTag: 3.0.0", "newTag: 4.0.0")
        .await
        .unwrap();
    let error = apply(&workspace, &revert(third), "p-2", Intent::Rollback)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Conflict { .. }), "{error}");
    assert!(error.to_string().contains("hint: "), "{error}");
    let dev = world
        .git
        .commit("Dev", &[("apps/myapp/overlays/dev/x", Some("x"))])
        .await
        .unwrap();
    let error = apply(&workspace, &revert(dev), "p-3", Intent::Rollback)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NotThere { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_restored_as_a_whole() {
    let world = World::new().await;
    let workspace = world.workspace("a").await;
    let good = world.git.head().unwrap();
    let extra = format!("{PROD}/extra/patch.yaml");
    world
        .git
        .commit(
            "Break prod",
            &[
                (&extra, Some("x")),
                (OVERLAY, Some(&overlay("9.0.0"))),
                ("other", Some("y")),
            ],
        )
        .await
        .unwrap();
    let head = workspace.fetch().await.unwrap();
    let at = workspace
        .name(head, &format!("main@sha1:{good}"))
        .await
        .unwrap();
    assert_eq!(
        workspace.name(head, &good.to_string()[..8]).await.unwrap(),
        at
    );
    assert!(workspace.name(head, "HEAD").await.is_err());
    let set = ChangeSet::Edits(vec![Edit::Restore {
        folder: PROD.into(),
        at,
    }]);
    let made = apply(&workspace, &set, "p-1", Intent::Rollback)
        .await
        .unwrap();
    assert_eq!(world.text(OVERLAY), overlay("1.0.0"));
    let diff = world
        .git
        .repository()
        .changed_paths(Some(good), made.sha)
        .unwrap();
    assert_eq!(diff, ["other"]);
    // That can be put back too.
    let back = ChangeSet::Edits(vec![Edit::PutBack(made.changes)]);
    apply(&workspace, &back, "p-1", Intent::Promote)
        .await
        .unwrap();
    assert_eq!(world.text(&extra), "x");
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_are_copied_and_put_back() {
    let world = World::new().await;
    let workspace = world.workspace("a").await;
    let tested = workspace.fetch().await.unwrap();
    let paths = ["config".to_owned()];
    assert_eq!(
        workspace
            .version_of_paths(tested, DEV, &paths)
            .await
            .unwrap(),
        Some(tested.to_string())
    );
    // What dev has since does not go along.
    world
        .git
        .commit(
            "Next",
            &[("apps/myapp/overlays/dev/config/flags.yaml", Some("a: 2\n"))],
        )
        .await
        .unwrap();
    let set = ChangeSet::Edits(vec![Edit::Paths {
        paths: paths.to_vec(),
        source: DEV.into(),
        at: tested,
        folder: PROD.into(),
    }]);
    let mut text = crate::world::message("p-1", Intent::Promote);
    text.trailers.to = Some(tested.to_string());
    let who = crate::world::fairway();
    let request = fairway_controller::change::Request {
        set: &set,
        message: &text,
        author: &who,
        committer: &who,
        key: None,
        since: None,
    };
    let made = workspace
        .apply(&request, |_| std::time::Duration::ZERO)
        .await
        .unwrap();
    let copied = format!("{PROD}/config/flags.yaml");
    assert_eq!(world.text(&copied), "a: 1\n");
    assert_eq!(made.changes.len(), 1);
    assert_eq!(
        (made.changes[0].path.as_str(), &made.changes[0].from),
        ("apps/myapp/overlays/prod/config", &None)
    );
    let head = workspace.fetch().await.unwrap();
    assert_eq!(
        workspace
            .version_of_paths(head, PROD, &paths)
            .await
            .unwrap(),
        Some(tested.to_string())
    );
    let back = ChangeSet::Edits(vec![Edit::PutBack(made.changes)]);
    apply(&workspace, &back, "p-1", Intent::Rollback)
        .await
        .unwrap();
    let head = world.git.head().unwrap();
    assert_eq!(
        world
            .git
            .repository()
            .entry(head, &format!("{PROD}/config"))
            .unwrap(),
        None
    );
    let missing = ChangeSet::Edits(vec![Edit::Paths {
        paths: vec!["nothing".into()],
        source: DEV.into(),
        at: tested,
        folder: PROD.into(),
    }]);
    let error = apply(&workspace, &missing, "p-2", Intent::Promote)
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("apps/myapp/overlays/dev/nothing"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_cluster_leaves_its_stage_and_comes_back() {
    let world = World::new().await;
    let workspace = world.workspace("a").await;
    let folder = "clusters/prod/eu-west-1/apps";
    let path = format!("{folder}/kustomization.yaml");
    let own = "# eu-west-1\nresources:\n- ../../../../apps/myapp/overlays/prod\nlabels:\n- pairs: {region: eu-west-1}\n";
    world
        .git
        .commit("Cluster", &[(&path, Some(own))])
        .await
        .unwrap();
    let made = apply(&workspace, &image(folder, "1.1.0"), "p-1", Intent::Promote)
        .await
        .unwrap();
    assert_eq!(
        world.text(&path),
        format!("{own}images:\n- name: {IMAGE}\n  newTag: 1.1.0\n")
    );
    // Gone again: by putting back, or because the cluster follows its stage again.
    for edit in [
        Edit::PutBack(made.changes),
        Edit::NoImage {
            folder: folder.into(),
            name: IMAGE.into(),
        },
    ] {
        let set = ChangeSet::Edits(vec![edit]);
        let name = format!("p-{}", world.log().await.len());
        apply(&workspace, &set, &name, Intent::Rollback)
            .await
            .unwrap();
        assert_eq!(world.text(&path), own);
        apply(&workspace, &image(folder, "1.1.0"), &name, Intent::Promote)
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_not_the_expected_one_stops_it() {
    let world = World::new().await;
    let workspace = world.workspace("a").await;
    let set = ChangeSet::Edits(vec![Edit::Image {
        folder: PROD.into(),
        name: IMAGE.into(),
        version: "1.1.0".into(),
        from: Some("0.9.0".into()),
    }]);
    let error = apply(&workspace, &set, "p-1", Intent::Promote)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{OVERLAY} has 1.0.0, not 0.9.0; hint: somebody changed it since; promote again from what is there"
        )
    );
    let error = apply(
        &workspace,
        &image("apps/nothing", "1"),
        "p-2",
        Intent::Promote,
    )
    .await
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "apps/nothing: there is no kustomization.yaml; hint: is the path of the stage right? it names the overlay's folder"
    );
    let error = apply(&workspace, &image(PROD, "a b"), "p-3", Intent::Promote)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Version(_)), "{error}");
}
