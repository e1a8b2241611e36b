//! Reaching the API server, and not.

use fairway_apply::{Connection, ConnectionError, Strictness};

use crate::{Cluster, config_map};

async fn refused(kubeconfig: &str) -> String {
    Connection::from_kubeconfig_yaml(kubeconfig, None, Strictness::default())
        .await
        .unwrap_err()
        .to_string()
}

fn kubeconfig(cluster: &str, user: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts:\n- name: c\n  context: {{cluster: c, user: u}}\n\
         clusters:\n- name: c\n  cluster: {{{cluster}}}\nusers:\n- name: u\n  user: {{{user}}}\n"
    )
}

#[tokio::test]
async fn a_kubeconfig_may_not_do_what_it_should_not() {
    let server = "server: https://127.0.0.1:1";
    let exec = refused(&kubeconfig(
        server,
        "exec: {apiVersion: client.authentication.k8s.io/v1, command: aws}",
    ))
    .await;
    assert!(
        exec.contains("runs a program for its credentials (aws), which is refused"),
        "{exec}"
    );
    assert!(exec.contains("fairway create cluster"), "{exec}");
    let insecure = refused(&kubeconfig(
        &format!("{server}, insecure-skip-tls-verify: true"),
        "token: x",
    ))
    .await;
    assert!(
        insecure.contains("insecure-skip-tls-verify, which is refused"),
        "{insecure}"
    );
    let file = refused(&kubeconfig(
        server,
        "tokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token",
    ))
    .await;
    assert!(file.contains("refers to the file"), "{file}");
    let proxy = refused(&kubeconfig(
        &format!("{server}, proxy-url: 'ftp://user:hunter2@proxy:3128'"),
        "token: x",
    ))
    .await;
    assert!(proxy.contains("proxy-url of scheme \"ftp\""), "{proxy}");
    assert!(!proxy.contains("hunter2"), "{proxy}");
    let plain = refused(&kubeconfig("server: http://example.com", "token: x")).await;
    assert!(plain.contains("is not https"), "{plain}");
    let secret = refused("users: [{name: u, user: {token: hunter2, oops").await;
    assert!(!secret.contains("hunter2"), "{secret}");
}

#[tokio::test]
async fn a_context_that_is_missing_is_named() {
    let config = kubeconfig("server: https://127.0.0.1:1", "token: x");
    let error = Connection::from_kubeconfig_yaml(&config, Some("other"), Strictness::default())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, ConnectionError::Kubeconfig(reason) if reason.contains("other")),
        "{error}"
    );
}

#[tokio::test]
async fn an_unreachable_cluster_is_told_from_a_refusal_and_comes_back() {
    let mut cluster = Cluster::start().await;
    assert_eq!(cluster.connection.version().await.unwrap(), "v1.37.0");
    cluster.changes(&[config_map("a", "1")]).await;

    cluster.faults().refuse(true);
    let error = loop {
        // The listener closes a moment later.
        match cluster.connection.version().await {
            Ok(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
            Err(error) => break error,
        }
    };
    assert!(error.is_unreachable(), "{error}");
    let error = cluster.apply(&[config_map("a", "2")]).await.unwrap_err();
    assert!(error.contains("is unreachable"), "{error}");

    cluster.faults().clear();
    while cluster.connection.version().await.is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(
        cluster.changes(&[config_map("a", "2")]).await,
        ["ConfigMap/default/a configured"]
    );
}

#[tokio::test]
async fn wrong_credentials_are_told() {
    let cluster = Cluster::start().await;
    let kubeconfig = cluster.server().kubeconfig_for("dev").unwrap();
    let line = kubeconfig
        .lines()
        .find(|line| line.trim_start().starts_with("token:"))
        .unwrap();
    let wrong = kubeconfig.replace(
        line,
        &format!(
            "{}token: wrong",
            &line[..line.len() - line.trim_start().len()]
        ),
    );
    let connection = Connection::from_kubeconfig_yaml(&wrong, None, Strictness::default())
        .await
        .unwrap();
    let error = connection
        .session()
        .get_path("/api/v1/namespaces")
        .await
        .unwrap_err();
    assert!(error.is_unauthorized(), "{error:?}");
}

#[tokio::test]
async fn a_busy_server_is_asked_again() {
    let cluster = Cluster::start().await;
    cluster.faults().set(fairway_apiserver::FaultSpec {
        status: 429,
        retry_after_seconds: 1,
        one_in: 2,
        ..Default::default()
    });
    let before = cluster.connection.request_count();
    for _ in 0..3 {
        cluster
            .connection
            .session()
            .get_path("/api/v1/namespaces")
            .await
            .unwrap();
    }
    assert!(cluster.connection.request_count() > before + 3);
}

#[tokio::test]
async fn clients_of_kube_share_the_connection() {
    use kube::api::{Api, DynamicObject};
    let mut cluster = Cluster::start().await;
    cluster.changes(&[config_map("a", "1")]).await;
    let resource = kube::core::ApiResource {
        group: String::new(),
        version: "v1".into(),
        api_version: "v1".into(),
        kind: "ConfigMap".into(),
        plural: "configmaps".into(),
    };
    let api: Api<DynamicObject> =
        Api::namespaced_with(cluster.connection.client(), "default", &resource);
    assert_eq!(api.get("a").await.unwrap().data["data"]["key"], "1");
    let error = api.get("missing").await.unwrap_err();
    assert!(matches!(error, kube::Error::Api(status) if status.is_not_found()));
}

/// Forwards TCP to a server and counts the connections.
async fn counted(server: &str) -> (String, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
    let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (counter, target) = (
        count.clone(),
        server.trim_start_matches("https://").to_owned(),
    );
    tokio::spawn(async move {
        while let Ok((mut inner, _)) = listener.accept().await {
            counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let target = target.clone();
            tokio::spawn(async move {
                let mut outer = tokio::net::TcpStream::connect(target).await?;
                tokio::io::copy_bidirectional(&mut inner, &mut outer).await
            });
        }
    });
    (format!("https://{address}"), count)
}

#[tokio::test]
async fn many_watches_share_few_connections() {
    let cluster = Cluster::start().await;
    let url = cluster.server().url("dev").unwrap();
    let (forwarded, count) = counted(&url).await;
    let kubeconfig = cluster
        .server()
        .kubeconfig_for("dev")
        .unwrap()
        .replace(&url, &forwarded);
    let connection = Connection::from_kubeconfig_yaml(&kubeconfig, None, Strictness::default())
        .await
        .unwrap();
    let mapper = fairway_apply::Mapper::new(&connection);
    let resource = mapper.resource("v1", "ConfigMap").await.unwrap();
    let session = connection.session();
    let mut watches = Vec::new();
    for _ in 0..100 {
        watches.push(session.watch(&resource, "", "", "0", 60).await.unwrap());
    }
    for account in ["a", "b", "c"] {
        let account = fairway_apply::Impersonation::service_account("default", account);
        let session = connection.session_as(&account).unwrap();
        assert!(
            session
                .get(&resource, "default", "x")
                .await
                .unwrap_err()
                .is_forbidden()
        );
    }
    let connections = count.load(std::sync::atomic::Ordering::Relaxed);
    // One for requests (two at first: discovery asks twice at the same time), two for the watches.
    assert!((3..=4).contains(&connections), "{connections} connections");
    // A watch that ends makes room for another one on its connection.
    watches.truncate(50);
    for _ in 0..50 {
        watches.push(session.watch(&resource, "", "", "0", 60).await.unwrap());
    }
    assert_eq!(
        count.load(std::sync::atomic::Ordering::Relaxed),
        connections
    );
}

/// A proxy that only knows CONNECT: notes each request's first line and `proxy-authorization`, then joins the two ends.
async fn proxy() -> (String, std::sync::Arc<std::sync::Mutex<Vec<String>>>) {
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let note = seen.clone();
    tokio::spawn(async move {
        while let Ok((inner, _)) = listener.accept().await {
            let note = note.clone();
            tokio::spawn(async move {
                let mut inner = BufReader::new(inner);
                let (mut target, mut line) = (String::new(), String::new());
                while inner.read_line(&mut line).await? > 2 {
                    let text = line.trim().to_owned();
                    if let Some(rest) = text.strip_prefix("CONNECT ") {
                        rest.split(' ').next().unwrap().clone_into(&mut target);
                        note.lock().unwrap().push(text);
                    } else if text.to_lowercase().starts_with("proxy-authorization") {
                        note.lock().unwrap().push(text);
                    }
                    line.clear();
                }
                inner.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
                let mut outer = tokio::net::TcpStream::connect(target).await?;
                tokio::io::copy_bidirectional(&mut inner, &mut outer).await
            });
        }
    });
    (address, seen)
}

#[tokio::test]
async fn a_proxy_that_the_kubeconfig_names_is_used() {
    let cluster = Cluster::start().await;
    let url = cluster.server().url("dev").unwrap();
    let (address, seen) = proxy().await;
    let kubeconfig = cluster.server().kubeconfig_for("dev").unwrap();
    let line = kubeconfig
        .lines()
        .find(|line| line.trim_start().starts_with("server:"))
        .unwrap();
    let indent = &line[..line.len() - line.trim_start().len()];
    let proxied = kubeconfig.replace(
        line,
        &format!("{line}\n{indent}proxy-url: http://me:secret@{address}"),
    );
    let connection = Connection::from_kubeconfig_yaml(&proxied, None, Strictness::default())
        .await
        .unwrap();
    connection
        .session()
        .get_path("/api/v1/namespaces")
        .await
        .unwrap();
    let seen = seen.lock().unwrap().clone();
    let target = url.trim_start_matches("https://");
    assert!(
        seen[0].starts_with(&format!("CONNECT {target} ")),
        "{seen:?}"
    );
    assert!(
        seen.iter().any(|line| line.ends_with("Basic bWU6c2VjcmV0")),
        "{seen:?}"
    );
    // With the proxy away, nothing goes around it.
    let gone = kubeconfig.replace(
        line,
        &format!("{line}\n{indent}proxy-url: http://127.0.0.1:1"),
    );
    let connection = Connection::from_kubeconfig_yaml(&gone, None, Strictness::default())
        .await
        .unwrap();
    assert!(connection.version().await.unwrap_err().is_unreachable());
}

#[tokio::test]
async fn a_token_file_that_changed_is_read_again_when_the_old_token_is_refused() {
    let cluster = Cluster::start().await;
    let kubeconfig = cluster.server().kubeconfig_for("dev").unwrap();
    let line = kubeconfig
        .lines()
        .find(|line| line.trim_start().starts_with("token:"))
        .unwrap();
    let token = line.trim_start().trim_start_matches("token:").trim();
    let folder = std::env::temp_dir().join(format!("fairway-token-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("token");
    std::fs::write(&file, "expired").unwrap();
    let indent = &line[..line.len() - line.trim_start().len()];
    let by_file = kubeconfig.replace(line, &format!("{indent}tokenFile: {}", file.display()));
    let connection = Connection::from_kubeconfig_yaml(&by_file, None, Strictness::trusted())
        .await
        .unwrap();
    let session = connection.session();
    let error = session.get_path("/api/v1/namespaces").await.unwrap_err();
    assert!(error.is_unauthorized(), "{error:?}");
    std::fs::write(&file, token).unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    session.get_path("/api/v1/namespaces").await.unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn what_the_server_wishes_is_followed_or_told() {
    let cluster = Cluster::start().await;
    cluster.connection.version().await.unwrap();
    let faults = cluster.faults();
    let session = cluster.connection.session();
    // A short wish is followed before the answer is believed.
    faults.status(429, Some(1));
    let start = std::time::Instant::now();
    let error = session.get_path("/api/v1/namespaces").await.unwrap_err();
    assert_eq!(error.code(), 429);
    let took = start.elapsed().as_millis();
    assert!(
        (2900..8000).contains(&took),
        "{took}ms for three more tries"
    );
    // A long one is the caller's to follow.
    faults.status(503, Some(120));
    let start = std::time::Instant::now();
    let error = session.get_path("/api/v1/namespaces").await.unwrap_err();
    assert!(error.is_unavailable());
    assert_eq!(error.retry_after().map(|after| after.as_secs()), Some(120));
    assert!(start.elapsed().as_secs() < 2);
    // A server that is broken for good does not hold anybody up, kube's client neither.
    faults.status(503, None);
    let start = std::time::Instant::now();
    let client = cluster.connection.client();
    client.apiserver_version().await.unwrap_err();
    assert!(start.elapsed().as_secs() < 2);
}
