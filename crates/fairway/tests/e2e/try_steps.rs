//! `fairway demo try …`: each step that a demo prints works against it.

use crate::binary::Home;
use crate::demo::Demo;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_step_works_and_says_what_it_saw() {
    let demo = Demo::converged().await;
    let printed = demo.process.stdout();
    for step in ["drift", "change", "break", "outage", "promote", "rollback"] {
        assert!(printed.contains(&format!("demo try {step}]")), "{printed}");
        let output = demo
            .home
            .run(&["demo", "try", step, "--timeout", "150s"])
            .await;
        assert_eq!(output.code, 0, "{step}: {output:?}");
        assert!(output.stdout.contains('✔'), "{step}: {output:?}");
        // A version that fails is what that step is about.
        let failed_on_purpose = step == "rollback";
        assert!(
            failed_on_purpose || !output.stdout.contains('✗'),
            "{step}: {output:?}"
        );
    }
    // By its folder it is found from anywhere.
    let other = Home::new();
    let output = other
        .run(&[
            "demo",
            "try",
            "drift",
            "--demo",
            &demo.folder,
            "--timeout",
            "150s",
        ])
        .await;
    assert_eq!(output.code, 0, "{output:?}");
    let output = other.run(&["demo", "try", "drift"]).await;
    assert_eq!(output.code, 3, "{output:?}");
    assert!(output.stderr.contains("no demo is running"), "{output:?}");
}
