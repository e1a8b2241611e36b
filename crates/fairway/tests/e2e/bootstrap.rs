//! `fairway bootstrap github` and `gitlab` against a host that only looks like one: its API on loopback, its repository a bare one
//! behind a password. The cluster is the bare demo's.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use fairway_git::serve::Faults;
use fairway_testkit::{GitServer, Output};
use serde_json::{Value, json};

use crate::binary::{Home, finish};
use crate::cluster::SYSTEM;
use crate::demo::Demo;

const TOKEN: &str = "ghp_0123456789secret";

/// What the host was asked for, and what it has.
#[derive(Default)]
struct Asked {
    made: Vec<(String, Value)>,
    keys: Vec<Value>,
    exists: bool,
}

#[derive(Clone)]
struct Host {
    asked: Arc<Mutex<Asked>>,
    git: String,
}

async fn answer(State(host): State<Host>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let told = |code: u16, body: Value| {
        (StatusCode::from_u16(code).unwrap(), axum::Json(body)).into_response()
    };
    let authorized = parts
        .headers
        .get("authorization")
        .is_some_and(|value| value == &format!("Bearer {TOKEN}"));
    if !authorized {
        return told(401, json!({"message": "Bad credentials"}));
    }
    let repository = json!({
        "clone_url": host.git, "ssh_url": "git@127.0.0.1:ann/fleet.git",
        "http_url_to_repo": host.git, "ssh_url_to_repo": "git@127.0.0.1:ann/fleet.git",
    });
    let mut asked = host.asked.lock().unwrap();
    let path = parts.uri.path().to_owned();
    match (&parts.method, path.as_str()) {
        (&Method::GET, "/user") => told(200, json!({"login": "ann", "username": "ann"})),
        (&Method::GET, "/meta") => told(200, json!({"ssh_keys": ["ssh-ed25519 AAAAhost"]})),
        (&Method::GET, "/namespaces/team%2Fplatform") => told(200, json!({"id": 7})),
        (&Method::GET, "/repos/ann/fleet" | "/projects/team%2Fplatform%2Ffleet")
            if asked.exists =>
        {
            told(200, repository)
        }
        (&Method::GET, "/repos/ann/fleet/keys") => told(200, json!(asked.keys)),
        (&Method::POST, "/repos/ann/fleet/keys") => {
            asked.keys.push(body);
            told(201, json!({}))
        }
        (&Method::POST, "/orgs/locked/repos") => told(
            403,
            json!({"message": "Resource not accessible by personal access token"}),
        ),
        (&Method::POST, "/user/repos" | "/projects") => {
            asked.exists = true;
            asked.made.push((path, body));
            told(201, repository)
        }
        _ => told(404, json!({"message": "Not Found"})),
    }
}

struct World {
    demo: Demo,
    git: GitServer,
    api: String,
    asked: Arc<Mutex<Asked>>,
}

impl World {
    async fn start() -> Self {
        let demo = Demo::start(Home::new(), &["demo", "--bare"], "Nothing is installed yet").await;
        let git = GitServer::start("fleet").await.unwrap();
        let asked: Arc<Mutex<Asked>> = Arc::default();
        let host = Host {
            asked: Arc::clone(&asked),
            git: git.url(),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            axum::serve(listener, Router::new().fallback(answer).with_state(host)).await
        });
        git.server().require_password(Some(("git", TOKEN)));
        Self {
            demo,
            git,
            api,
            asked,
        }
    }

    async fn bootstrap(&self, arguments: &[&str], token: Option<&str>) -> Output {
        let mut all = vec![
            "--kubeconfig",
            &self.demo.kubeconfig,
            "--context",
            "management",
            "bootstrap",
        ];
        all.extend(arguments);
        all.extend([
            "--api-url",
            &self.api,
            "--repository=fleet",
            "--path=clusters/hub",
        ]);
        let mut command = self.demo.home.command(&all);
        if let Some(token) = token {
            command
                .env("GITHUB_TOKEN", token)
                .env("GITLAB_TOKEN", token);
        }
        let output = finish(command).await;
        for text in [&output.stdout, &output.stderr] {
            assert!(!text.contains("ghp_"), "a token is printed: {text}");
        }
        output
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_is_made_filled_and_followed_once() {
    let world = World::start().await;
    let mine = ["github", "--owner=ann", "--personal", "--token-auth"];
    let none = world.bootstrap(&mine, None).await;
    assert_eq!(none.code, 2, "{none:?}");
    assert!(none.stderr.contains("GITHUB_TOKEN"), "{none:?}");
    let wrong = world.bootstrap(&mine, Some("ghp_wrong")).await;
    assert_eq!(wrong.code, 3, "{wrong:?}");
    assert!(
        wrong.stderr.contains("401") && wrong.stderr.contains("hint: the token is not accepted"),
        "{wrong:?}"
    );
    let locked = world
        .bootstrap(&["github", "--owner=locked", "--token-auth"], Some(TOKEN))
        .await;
    assert!(
        locked.stderr.contains("403") && locked.stderr.contains("the token may not do that"),
        "{locked:?}"
    );
    let others = world
        .bootstrap(
            &["github", "--owner=bob", "--personal", "--token-auth"],
            Some(TOKEN),
        )
        .await;
    assert!(
        others.stderr.contains("the token is of ann, not of bob"),
        "{others:?}"
    );
    assert!(world.asked.lock().unwrap().made.is_empty());

    // A branch that may not be pushed to: nothing is forced, and the cluster is not touched.
    world.git.set_faults(Faults {
        refuse_push: Some("main is protected".into()),
        ..Faults::default()
    });
    let refused = world.bootstrap(&mine, Some(TOKEN)).await;
    assert_eq!(refused.code, 3, "{refused:?}");
    assert!(
        refused.stderr.contains("refused the push") && refused.stderr.contains("hint:"),
        "{refused:?}"
    );
    let hub = world.demo.hub().await;
    assert!(hub.get("Namespace", "", SYSTEM).await.is_none());
    world.git.set_faults(Faults::default());

    let done = world.bootstrap(&mine, Some(TOKEN)).await;
    assert_eq!(done.code, 0, "{done:?}");
    {
        let asked = world.asked.lock().unwrap();
        assert_eq!(
            asked.made,
            [(
                "/user/repos".to_owned(),
                json!({"name": "fleet", "private": true, "auto_init": false})
            )]
        );
        assert!(asked.keys.is_empty());
    }
    let head = world.git.head().unwrap();
    hub.until_applied(SYSTEM, &format!("main@sha1:{head}"))
        .await;
    let secret = hub.get("Secret", SYSTEM, SYSTEM).await.unwrap();
    let keys: Vec<&String> = secret["data"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["password", "username"]);
    let again = world.bootstrap(&mine, Some(TOKEN)).await;
    assert_eq!(again.code, 0, "{again:?}");
    assert!(
        !again.stdout.contains(" created") && !again.stdout.contains(" configured"),
        "{again:?}"
    );
    assert_eq!(world.git.head().unwrap(), head);

    gitlab_and_keys(&world, &head.to_string()).await;
}

/// The same repository as a project of a group, then with a deploy key; no second commit, no second key.
async fn gitlab_and_keys(world: &World, head: &str) {
    world.asked.lock().unwrap().exists = false;
    let group = [
        "gitlab",
        "--owner=team/platform",
        "--token-auth",
        "--private=false",
    ];
    let done = world.bootstrap(&group, Some(TOKEN)).await;
    assert_eq!(done.code, 0, "{done:?}");
    let made = world.asked.lock().unwrap().made.pop().unwrap();
    assert_eq!(
        made,
        (
            "/projects".to_owned(),
            json!({"name": "fleet", "path": "fleet", "visibility": "public", "namespace_id": 7})
        )
    );
    assert_eq!(world.git.head().unwrap().to_string(), head);

    let hub = world.demo.hub().await;
    // There is no ssh server: the cluster does not become Ready, but key and Secret are there, and stay the same.
    let key = [
        "github",
        "--owner=ann",
        "--personal",
        "--secret-name=key",
        "--timeout=1s",
    ];
    for _ in 0..2 {
        let output = world.bootstrap(&key, Some(TOKEN)).await;
        assert_eq!(output.code, 3, "{output:?}");
        assert!(
            output
                .stderr
                .contains("the cluster does not have what the repository says"),
            "{output:?}"
        );
    }
    let keys = world.asked.lock().unwrap().keys.clone();
    let [added] = keys.as_slice() else {
        panic!("{keys:?}")
    };
    assert_eq!(added["read_only"], true);
    assert!(
        added["key"]
            .as_str()
            .unwrap()
            .starts_with("ssh-ed25519 AAAA"),
        "{added}"
    );
    let secret = hub.get("Secret", SYSTEM, "key").await.unwrap();
    let names: Vec<&String> = secret["data"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["identity", "identity.pub", "known_hosts"]);
    let source = hub.get("GitRepository", SYSTEM, SYSTEM).await.unwrap();
    assert_eq!(source["spec"]["url"], "ssh://git@127.0.0.1/ann/fleet.git");
}
