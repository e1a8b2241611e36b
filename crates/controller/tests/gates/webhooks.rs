//! A server of the test's own is asked.

use std::process::{Command, Stdio};

use fairway_types::check::Verdict;
use serde_json::json;

use crate::receiver::Receiver;
use crate::world::{HUB, NS, World};
use crate::{check, decide, subject};

/// The HMAC as openssl has it; none where there is no openssl.
fn by_openssl(body: &str) -> Option<String> {
    use std::io::Write as _;
    let mut child = Command::new("openssl")
        .args(["dgst", "-sha256", "-hmac", "key", "-r"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    child.stdin.take()?.write_all(body.as_bytes()).ok()?;
    let output = child.wait_with_output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(format!("sha256={}", text.split(' ').next()?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_asked_until_it_decides() {
    let server = Receiver::start().await;
    let mut world = World::new(&[]).await;
    world.start().await;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hook", "namespace": NS},
        "stringData": {"token": "key", "bearerToken": "t0ken"}});
    world.apply(HUB, &secret).await;
    let smoke = check(json!({"name": "smoke", "webhook": {
        "url": server.url("/smoke?suite=a"), "secretRef": {"name": "hook"}, "interval": "1s", "headers": {"X-Team": "web"}}}));

    server.answer(vec![
        (425, "", "tests run".to_owned()),
        (503, "retry-after: 1\r\n", String::new()),
        (302, "location: /elsewhere\r\n", String::new()),
        (200, "", "all 12 passed".to_owned()),
    ]);
    let passed = decide(&world, &smoke, &subject()).await;
    assert_eq!(passed.verdict, Verdict::Passed, "{passed:?}");
    assert_eq!(
        (passed.passes, passed.failures, passed.inconclusive),
        (1, 0, 3)
    );
    assert_eq!(
        passed.message,
        format!("{} says yes: all 12 passed", server.address)
    );
    let heard = server.heard();
    assert_eq!(heard.len(), 4);
    for request in &heard {
        assert_eq!(request.line, "POST /smoke?suite=a HTTP/1.1");
        assert_eq!(
            request.json(),
            json!({"check": "smoke", "subject": {
                "namespace": NS, "pipeline": "myapp", "promotion": "myapp-prod-1", "stage": "prod",
                "version": "1.2.3", "from": "1.2.2", "clusters": []}})
        );
        assert_eq!(request.header("content-type"), Some("application/json"));
        assert_eq!(request.header("x-team"), Some("web"));
        assert_eq!(request.header("authorization"), Some("Bearer t0ken"));
        match by_openssl(&request.body) {
            Some(signature) => assert_eq!(request.header("x-signature"), Some(&*signature)),
            None => eprintln!("skipped: there is no openssl to compare the signature with"),
        }
    }

    server.answer(vec![(403, "", "no: 3 tests failed".to_owned())]);
    let failed = decide(&world, &smoke, &subject()).await;
    assert_eq!((failed.verdict, failed.failures), (Verdict::Failed, 1));
    assert_eq!(failed.value.as_deref(), Some("403"));
    assert!(failed.message.ends_with("says no: no: 3 tests failed"));
    // A verdict stays: nobody is asked again.
    let count = server.heard().len();
    let again = world
        .engine()
        .evaluate(&smoke, &subject(), Some(&failed))
        .await
        .unwrap();
    assert_eq!((again.evidence, again.again), (failed, None));
    assert_eq!(server.heard().len(), count);

    // Nor is somebody asked before it is time.
    server.answer(vec![(409, "", String::new())]);
    let first = world
        .engine()
        .evaluate(&smoke, &subject(), None)
        .await
        .unwrap();
    let second = world
        .engine()
        .evaluate(&smoke, &subject(), Some(&first.evidence))
        .await
        .unwrap();
    assert_eq!(first.evidence, second.evidence);
    assert!(second.again.unwrap() <= first.again.unwrap());
    assert_eq!(server.heard().len(), count + 1);

    let metadata =
        check(json!({"name": "evil", "webhook": {"url": "http://169.254.169.254/latest"}}));
    let refused = decide(&world, &metadata, &subject()).await;
    assert_eq!(refused.verdict, Verdict::Failed);
    assert!(
        refused.message.contains("--allow-link-local-urls"),
        "{}",
        refused.message
    );
    world.stop().await;
}
