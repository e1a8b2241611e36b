//! Exactly once, whatever the server and others do.

use std::sync::Arc;

use fairway_controller::change::{Error, Outcome, Request, Trailers};
use fairway_git::serve::Faults;
use fairway_types::promotion::Intent;

use crate::world::{
    IMAGE, OVERLAY, PROD, World, apply, apply_since, fairway, image, message, overlay,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_is_one_commit_with_trailers() {
    let world = World::new().await;
    let before = world.git.head().unwrap();
    let workspace = world.workspace("a").await;
    let made = apply(&workspace, &image(PROD, "1.1.0"), "p-1", Intent::Promote)
        .await
        .unwrap();
    assert_eq!(made.outcome, Outcome::Pushed);
    assert_eq!(made.parent, Some(before));
    assert_eq!(world.git.head().unwrap(), made.sha);
    assert_eq!(world.text(OVERLAY), overlay("1.1.0"));
    assert_eq!(made.changes.len(), 1);
    assert_eq!(made.changes[0].path, OVERLAY);
    assert_eq!(
        made.changes[0].field,
        format!("images[name={IMAGE}].newTag")
    );
    assert_eq!(made.changes[0].from.as_deref(), Some("1.0.0"));
    // As git itself reads them.
    let clone = world.git.clone_to_work().await.unwrap();
    let trailers = clone
        .git(&["log", "-1", "--format=%(trailers:only,unfold)"])
        .await
        .unwrap();
    assert_eq!(
        trailers.trim(),
        "Fairway-Pipeline: flux-system/myapp\nFairway-Stage: prod\nFairway-From: 1.0.0\nFairway-To: 1.1.0\n\
         Fairway-Requested-By: ann\nFairway-Intent: promote\nFairway-Promotion: flux-system/p-1\nFairway-Promotion-UID: uid-of-p-1"
    );
    // Again, by another process: it is found, and says the same.
    let again = apply(
        &world.workspace("b").await,
        &image(PROD, "1.1.0"),
        "p-1",
        Intent::Promote,
    )
    .await
    .unwrap();
    assert_eq!(again.outcome, Outcome::Found);
    assert_eq!((again.sha, again.changes), (made.sha, made.changes));
    // What is there already needs no commit.
    let nothing = apply(&workspace, &image(PROD, "1.1.0"), "p-2", Intent::Promote)
        .await
        .unwrap();
    assert_eq!(
        (nothing.outcome, nothing.sha),
        (Outcome::Unchanged, made.sha)
    );
    assert_eq!(world.log().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_writers_lose_nothing_and_double_nothing() {
    const EACH: usize = 50;
    let world = Arc::new(World::new().await);
    let mut writers = Vec::new();
    for (writer, folder) in [("a", PROD), ("b", "apps/other/overlays/prod")] {
        let workspace = world.workspace(writer).await;
        let since = world.git.head().unwrap();
        writers.push(tokio::spawn(async move {
            let mut made = Vec::new();
            for number in 1..=EACH {
                let set = image(folder, &format!("2.0.{number}"));
                let name = format!("{writer}-{number}");
                // Who loses too often is told so, and comes again, as a reconciler does.
                let mut rounds = 0;
                let done = loop {
                    let since = Some(since);
                    let done = apply_since(&workspace, &set, &name, Intent::Promote, since).await;
                    rounds += 1;
                    match done {
                        Err(Error::Race { .. }) if rounds < 10 => {}
                        done => break done.unwrap(),
                    }
                };
                assert_eq!(done.outcome, Outcome::Pushed);
                made.push(done.sha);
            }
            made
        }));
    }
    let mut made = Vec::new();
    for writer in writers {
        made.extend(writer.await.unwrap());
    }
    let log = world.log().await;
    assert_eq!(log.len(), 2 * EACH + 1);
    assert!(log.iter().all(|commit| commit.parents.len() <= 1));
    let mut on_branch: Vec<_> = log.iter().map(|commit| commit.id).collect();
    on_branch.pop();
    on_branch.sort();
    made.sort();
    assert_eq!(made, on_branch);
    let mut marks: Vec<String> = log
        .iter()
        .filter_map(|commit| Trailers::read(&commit.message))
        .map(|trailers| trailers.mark.promotion)
        .collect();
    marks.sort();
    marks.dedup();
    assert_eq!(marks.len(), 2 * EACH);
    assert_eq!(world.text(OVERLAY), overlay("2.0.50"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_no_second_commit() {
    let world = World::new().await;
    let workspace = world.workspace("a").await;
    world.git.set_faults(Faults {
        lose_push_answer: true,
        ..Faults::default()
    });
    let made = apply(&workspace, &image(PROD, "1.1.0"), "p-1", Intent::Promote)
        .await
        .unwrap();
    assert_eq!(made.outcome, Outcome::Found);
    assert_eq!(made.changes[0].from.as_deref(), Some("1.0.0"));
    assert_eq!(world.log().await.len(), 2);

    // The server dies with the push done: nobody knows, until it is back.
    world.git.set_faults(Faults {
        die_after_push: true,
        ..Faults::default()
    });
    let error = apply(&workspace, &image(PROD, "1.2.0"), "p-2", Intent::Promote)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unsettled { .. }), "{error}");
    assert!(error.is_transient());
    world.git.set_faults(Faults::default());
    // Somebody else pushes meanwhile.
    world
        .git
        .replace(OVERLAY, "# the overlay", "# theirs")
        .await
        .unwrap();
    let made = apply(
        &world.workspace("b").await,
        &image(PROD, "1.2.0"),
        "p-2",
        Intent::Promote,
    )
    .await
    .unwrap();
    assert_eq!(made.outcome, Outcome::Found);
    assert_eq!(made.changes[0].from.as_deref(), Some("1.1.0"));
    assert_eq!(world.log().await.len(), 4);
    assert_eq!(
        world.text(OVERLAY),
        overlay("1.2.0").replace("# the overlay", "# theirs")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_gets_nothing_and_says_so() {
    let world = World::new().await;
    let workspace = world.workspace("a").await;
    let head = world.git.head().unwrap();
    world.git.set_faults(Faults {
        down: true,
        ..Faults::default()
    });
    let error = apply(&workspace, &image(PROD, "1.1.0"), "p-1", Intent::Promote)
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Git(_)) && error.is_transient(),
        "{error}"
    );
    world.git.set_faults(Faults::default());
    assert_eq!(world.git.head().unwrap(), head);
    let made = apply(&workspace, &image(PROD, "1.1.0"), "p-1", Intent::Promote).await;
    assert_eq!(made.unwrap().outcome, Outcome::Pushed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_push_is_told_apart() {
    let world = World::new().await;
    let workspace = world.workspace("a").await;
    let head = world.git.head().unwrap();
    for (words, is_protected) in [
        (
            "GH006: Protected branch update failed for refs/heads/main.",
            true,
        ),
        (
            "GitLab: You are not allowed to push code to protected branches on this project.",
            true,
        ),
        ("the disk is full", false),
    ] {
        world.git.set_faults(Faults {
            refuse_push: Some(words.into()),
            ..Faults::default()
        });
        let error = apply(&workspace, &image(PROD, "1.1.0"), "p-1", Intent::Promote)
            .await
            .unwrap_err();
        let Error::Refused {
            words: said,
            protected,
            ..
        } = &error
        else {
            panic!("{error}");
        };
        assert!(said.contains(words), "{said}");
        assert_eq!(*protected, is_protected, "{words}");
        assert!(error.wants_pull_request());
    }
    world.git.set_faults(Faults::default());
    world.git.server().require_password(Some(("ann", "secret")));
    let error = apply(&workspace, &image(PROD, "1.1.0"), "p-1", Intent::Promote)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error}");
    assert_eq!(world.git.head().unwrap(), head);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_died_between_commit_and_push_is_made_again_once() {
    let world = World::new().await;
    let (set, text, who) = (
        image(PROD, "1.1.0"),
        message("p-1", Intent::Promote),
        fairway(),
    );
    let request = Request {
        set: &set,
        message: &text,
        author: &who,
        committer: &who,
        key: None,
        since: None,
    };
    {
        // All that the dead process had done: the commit is in its mirror, and nowhere else.
        let workspace = world.workspace("a").await;
        let head = workspace.fetch().await.unwrap();
        let preview = workspace.preview(head, &request).await.unwrap();
        assert!(workspace.repository().contains(preview.commit.unwrap()));
    }
    assert_eq!(world.log().await.len(), 1);
    let workspace = world.workspace("a").await;
    let made = apply(&workspace, &set, "p-1", Intent::Promote)
        .await
        .unwrap();
    assert_eq!(made.outcome, Outcome::Pushed);
    assert_eq!(world.log().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_for_a_pull_request_is_made_once() {
    let world = World::new().await;
    let workspace = world.workspace("a").await;
    let main = world.git.head().unwrap();
    let (set, text, who) = (
        image(PROD, "1.1.0"),
        message("p-1", Intent::Promote),
        fairway(),
    );
    let request = Request {
        set: &set,
        message: &text,
        author: &who,
        committer: &who,
        key: None,
        since: None,
    };
    let branch = "fairway/flux-system/p-1";
    world.git.set_faults(Faults {
        lose_push_answer: true,
        ..Faults::default()
    });
    let (first, name) = workspace.propose(&request, branch).await.unwrap();
    assert_eq!((first.outcome, name.as_str()), (Outcome::Found, branch));
    world.git.set_faults(Faults::default());
    let (second, name) = world
        .workspace("b")
        .await
        .propose(&request, branch)
        .await
        .unwrap();
    assert_eq!((second.sha, name.as_str()), (first.sha, branch));
    assert_eq!(world.git.head().unwrap(), main);
    let tip = |name: &str| {
        world
            .git
            .repository()
            .resolve(&format!("refs/heads/{name}"))
            .unwrap()
    };
    assert_eq!(tip(branch), Some(first.sha));

    // Another promotion finds the name taken, and leaves what is there alone.
    let other = message("p-2", Intent::Promote);
    let request = Request {
        message: &other,
        ..request
    };
    let (third, name) = workspace.propose(&request, branch).await.unwrap();
    assert_eq!(
        (third.outcome, name.as_str()),
        (Outcome::Pushed, "fairway/flux-system/p-1-2")
    );
    assert_eq!(tip(branch), Some(first.sha));
    workspace.withdraw(&name, third.sha).await.unwrap();
    assert_eq!(tip(&name), None);
    // One that somebody works on stays.
    workspace.withdraw(branch, third.sha).await.unwrap();
    assert_eq!(tip(branch), Some(first.sha));

    // Merged by a merge commit: the promotion is on the branch.
    let clone = world.git.clone_to_work().await.unwrap();
    clone.git(&["fetch", "-q", "origin", branch]).await.unwrap();
    clone
        .git(&["merge", "-q", "--no-ff", "-m", "Merge", "FETCH_HEAD"])
        .await
        .unwrap();
    clone
        .git(&["push", "-q", "origin", "HEAD:main"])
        .await
        .unwrap();
    let made = apply(&workspace, &set, "p-1", Intent::Promote)
        .await
        .unwrap();
    assert_eq!((made.outcome, made.sha), (Outcome::Found, first.sha));
}
