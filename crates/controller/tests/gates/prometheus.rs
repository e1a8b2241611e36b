//! The real Prometheus, which scrapes an exporter of the test's own.

use std::path::Path;
use std::process::Command as Blocking;
use std::time::Duration;

use fairway_testkit::Process;
use fairway_types::check::Verdict;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::receiver::Receiver;
use crate::world::{HUB, NS, World};
use crate::{check, decide, subject};

/// bcrypt of `secret`.
const HASH: &str = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";

fn is_there() -> bool {
    let found = Blocking::new("prometheus")
        .arg("--version")
        .output()
        .is_ok();
    if !found {
        eprintln!(
            "skipped: there is no prometheus on this machine\nhint: apt-get install prometheus"
        );
    }
    found
}

/// Starts Prometheus with what its web configuration says; answers host and port.
async fn start(folder: &Path, exporter: &Receiver, web: &str) -> (Process, String) {
    let port = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().port()
    };
    let config = format!(
        "global: {{scrape_interval: 200ms}}\nscrape_configs:\n- job_name: test\n  static_configs: [{{targets: ['{}']}}]\n",
        exporter.address
    );
    std::fs::write(folder.join("prometheus.yml"), config).unwrap();
    std::fs::write(folder.join("web.yml"), web).unwrap();
    let mut command = Command::new("prometheus");
    command.current_dir(folder).args([
        "--config.file=prometheus.yml",
        "--web.config.file=web.yml",
        "--storage.tsdb.path=data",
        &format!("--web.listen-address=127.0.0.1:{port}"),
    ]);
    let mut process = Process::spawn(command).unwrap();
    process
        .wait_for(
            "Server is ready to receive web requests",
            Duration::from_secs(30),
        )
        .await
        .unwrap();
    (process, format!("127.0.0.1:{port}"))
}

fn exports(exporter: &Receiver, a: &str, b: &str) {
    let text = format!(
        "errors{{stage=\"prod\",pod=\"a\"}} {a}\nerrors{{stage=\"prod\",pod=\"b\"}} {b}\nerrors{{stage=\"dev\",pod=\"c\"}} 99\n"
    );
    exporter.answer(vec![(
        200,
        "content-type: text/plain; version=0.0.4\r\n",
        text,
    )]);
}

fn error_rate(address: &str, more: Value) -> fairway_types::check::Check {
    let mut prometheus = json!({
        "address": address, "query": "errors{stage=\"{{ stage }}\"}", "interval": "1s", "timeout": "15s",
    });
    for (key, value) in more.as_object().unwrap() {
        prometheus[key] = value.clone();
    }
    check(json!({"name": "error-rate", "prometheus": prometheus}))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_decides() {
    if !is_there() {
        return;
    }
    let (folder, exporter) = (tempfile::tempdir().unwrap(), Receiver::start().await);
    exports(&exporter, "0.001", "0.002");
    let (mut process, server) = start(folder.path(), &exporter, "").await;
    let address = format!("http://{server}");
    let mut world = World::new(&[]).await;
    world.start().await;

    // No data until the first scrape: waited for, then three samples.
    let low = error_rate(&address, json!({"max": 0.01, "count": 3}));
    let passed = decide(&world, &low, &subject()).await;
    assert_eq!(passed.verdict, Verdict::Passed, "{passed:?}");
    assert_eq!((passed.passes, passed.failures), (3, 0));
    assert_eq!(passed.value.as_deref(), Some("0.002"));
    assert_eq!(passed.message, "all 2 series hold");

    // One series of two is enough to fail; one failure is forgiven, the second is not.
    let high = error_rate(&address, json!({"max": 0.0015, "failureLimit": 1}));
    let failed = decide(&world, &high, &subject()).await;
    assert_eq!(failed.verdict, Verdict::Failed);
    assert_eq!(failed.failures, 2);
    assert!(failed.message.starts_with("errors{"), "{}", failed.message);
    assert!(
        failed.message.ends_with("} 0.002 is above 0.0015"),
        "{}",
        failed.message
    );
    assert!(
        failed.message.contains("pod=\"b\"") && !failed.message.contains("pod=\"a\""),
        "{}",
        failed.message
    );

    let scalar = error_rate(
        &address,
        json!({"query": "scalar(count(errors{stage=\"{{ stage }}\"}))", "expr": "value == 2.0 && subject.version == '1.2.3'"}),
    );
    let passed = decide(&world, &scalar, &subject()).await;
    assert_eq!(
        (passed.verdict, passed.message.as_str()),
        (Verdict::Passed, "the value 2 holds")
    );

    // What Prometheus can't parse fails at once, in its own words.
    let broken = error_rate(&address, json!({"query": "sum by (", "max": 1}));
    let failed = decide(&world, &broken, &subject()).await;
    assert!(
        failed.message.contains("bad_data") && failed.message.contains("parse error"),
        "{}",
        failed.message
    );
    // A version can't break out of its string: Prometheus sees a label value.
    let mut evil = subject();
    evil.stage = "prod\"} or vector(0) # ".to_owned();
    let quoted = error_rate(
        &address,
        json!({"query": "absent(errors{stage=\"{{ stage }}\"})", "expr": "labels.stage.startsWith('prod\"}')"}),
    );
    assert_eq!(
        decide(&world, &quoted, &evil).await.verdict,
        Verdict::Passed
    );

    // No number is neither good nor bad.
    exports(&exporter, "NaN", "0.002");
    let patient = error_rate(
        &address,
        json!({"max": 1, "timeout": "2s", "query": "errors{pod=\"a\"}"}),
    );
    tokio::time::sleep(Duration::from_millis(500)).await;
    let late = decide(&world, &patient, &subject()).await;
    assert_eq!((late.verdict, late.failures), (Verdict::Failed, 0));
    assert!(
        late.inconclusive >= 2
            && late
                .message
                .starts_with("no verdict within 2s; last: errors{"),
        "{late:?}"
    );

    // Nor is a server that is away.
    process.kill().await.unwrap();
    let down = error_rate(&address, json!({"max": 1, "timeout": "2s"}));
    let late = decide(&world, &down, &subject()).await;
    assert_eq!((late.verdict, late.failures), (Verdict::Failed, 0));
    assert!(
        late.message.contains(&format!("{server} is unreachable")),
        "{}",
        late.message
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_lets_in() {
    if !is_there() {
        return;
    }
    let (folder, exporter) = (tempfile::tempdir().unwrap(), Receiver::start().await);
    exports(&exporter, "1", "2");
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(folder.path().join("tls.crt"), made.cert.pem()).unwrap();
    std::fs::write(
        folder.path().join("tls.key"),
        made.signing_key.serialize_pem(),
    )
    .unwrap();
    let web = format!(
        "tls_server_config: {{cert_file: tls.crt, key_file: tls.key}}\nbasic_auth_users: {{fairway: '{HASH}'}}\n"
    );
    let (_process, server) = start(folder.path(), &exporter, &web).await;
    let address = format!("https://{server}");
    let mut world = World::new(&[]).await;
    world.start().await;
    let secret = |password: &str, ca: &str| {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "prometheus", "namespace": NS},
            "stringData": {"username": "fairway", "password": password, "ca.crt": ca}})
    };
    let ask = |timeout: &str| {
        error_rate(
            &address,
            json!({"max": 2, "secretRef": {"name": "prometheus"}, "timeout": timeout}),
        )
    };

    let late = decide(&world, &ask("1s"), &subject()).await;
    assert!(
        late.message
            .contains("Secret 'flux-system/prometheus' is not there"),
        "{}",
        late.message
    );
    world.apply(HUB, &secret("wrong", &made.cert.pem())).await;
    let late = decide(&world, &ask("1s"), &subject()).await;
    assert!(
        late.message.contains("refuses the credentials (status 401"),
        "{}",
        late.message
    );
    assert!(!serde_json::to_string(&late).unwrap().contains("wrong"));
    let other = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    world.apply(HUB, &secret("secret", &other.cert.pem())).await;
    let late = decide(&world, &ask("1s"), &subject()).await;
    assert!(late.message.contains("certificate"), "{}", late.message);
    world.apply(HUB, &secret("secret", &made.cert.pem())).await;
    assert_eq!(
        decide(&world, &ask("15s"), &subject()).await.verdict,
        Verdict::Passed
    );
    world.stop().await;
}
