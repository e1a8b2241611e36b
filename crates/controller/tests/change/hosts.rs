//! Pull requests against a host of the test's own, which answers as the public documentation of GitHub and GitLab says.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use fairway_controller::hosts::{Api, HostError, Place, Proposal, PullRequests, PullState};
use fairway_controller::outbound::Outbound;
use fairway_types::pipeline::GitProvider;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};

const TOKEN: &str = "ghp_0123456789secret";
const PROPOSAL: Proposal<'_> = Proposal {
    branch: "fairway/promote/flux-system/p-1",
    base: "main",
    title: "Promote myapp to 1.1.0 in prod",
    body: "Because.",
};

#[derive(Default)]
struct Host {
    pulls: Vec<Value>,
    said: Vec<(String, Value)>,
    /// The next answer, whatever is asked: status, headers, body.
    next: Option<Next>,
    /// Makes the pull request and loses the answer.
    loses_answer: bool,
}

/// Status, headers, body.
type Next = (u16, Vec<(&'static str, String)>, Value);

type Shared = Arc<Mutex<Host>>;

fn answer(code: u16, headers: &[(&str, String)], body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::builder().status(code);
    for (name, value) in headers {
        response = response.header(*name, value);
    }
    response
        .body(Full::new(Bytes::from(body.to_string())))
        .unwrap()
}

fn query(request: &http::request::Parts, key: &str) -> String {
    let query = request.uri.query().unwrap_or_default();
    let found = query
        .split('&')
        .find_map(|pair| pair.strip_prefix(&format!("{key}=")));
    found
        .unwrap_or_default()
        .replace("%2F", "/")
        .replace("%3A", ":")
}

fn serve(
    host: &Shared,
    parts: &http::request::Parts,
    body: &Value,
) -> Option<Response<Full<Bytes>>> {
    let mut host = host.lock().unwrap();
    let authorized = parts
        .headers
        .get("authorization")
        .map(|v| v.to_str().unwrap().to_owned());
    if authorized != Some(format!("Bearer {TOKEN}")) {
        let said = format!("Bad credentials: {}", authorized.unwrap_or_default());
        return Some(answer(401, &[], &json!({"message": said})));
    }
    if let Some((code, headers, body)) = host.next.take() {
        return Some(answer(code, &headers, &body));
    }
    let path = parts.uri.path().to_owned();
    let github = path.starts_with("/repos/acme/fleet/");
    let list = [
        "/repos/acme/fleet/pulls",
        "/projects/acme%2Ffleet/merge_requests",
    ];
    match (&parts.method, list.contains(&path.as_str())) {
        (&Method::GET, true) => {
            let head = query(parts, if github { "head" } else { "source_branch" });
            let wanted = head.strip_prefix("acme:").unwrap_or(&head).to_owned();
            let of = |pull: &&Value| {
                let branch = if github {
                    &pull["head"]["ref"]
                } else {
                    &pull["source_branch"]
                };
                branch.as_str() == Some(wanted.as_str())
            };
            let fitting: Vec<Value> = host.pulls.iter().filter(of).cloned().collect();
            // Pages of two, to see them followed.
            let page: usize = query(parts, "page").parse().unwrap();
            let shown: Vec<Value> = fitting
                .iter()
                .skip(2 * (page - 1))
                .take(2)
                .cloned()
                .collect();
            let mut headers = Vec::new();
            if fitting.len() > 2 * page && github {
                headers.push((
                    "link",
                    format!(
                        "<http://x{path}?page={}>; rel=\"next\", <http://x>; rel=\"last\"",
                        page + 1
                    ),
                ));
            } else if !github {
                let next = if fitting.len() > 2 * page {
                    (page + 1).to_string()
                } else {
                    String::new()
                };
                headers.push(("x-next-page", next));
            }
            Some(answer(200, &headers, &Value::Array(shown)))
        }
        (&Method::POST, true) => {
            let branch = if github {
                &body["head"]
            } else {
                &body["source_branch"]
            };
            let is_open = |pull: &Value| {
                let of = if github {
                    &pull["head"]["ref"]
                } else {
                    &pull["source_branch"]
                };
                of == branch && (pull["state"] == "open" || pull["state"] == "opened")
            };
            if host.pulls.iter().any(is_open) {
                return Some(if github {
                    answer(
                        422,
                        &[],
                        &json!({"message": "Validation Failed", "errors": [{"resource": "PullRequest", "code": "custom", "message": "A pull request already exists for acme:x."}]}),
                    )
                } else {
                    answer(
                        409,
                        &[],
                        &json!({"message": ["Another open merge request already exists for this source branch: !1"]}),
                    )
                });
            }
            let number = host.pulls.len() + 1;
            let pull = if github {
                json!({"number": number, "html_url": format!("https://host/pull/{number}"), "state": "open", "merged_at": null,
                       "merge_commit_sha": "trial", "head": {"ref": branch}, "base": {"ref": body["base"]}})
            } else {
                json!({"iid": number, "id": 900 + number, "web_url": format!("https://host/mr/{number}"), "state": "opened",
                       "merge_commit_sha": null, "sha": "tip", "source_branch": branch, "target_branch": body["target_branch"]})
            };
            host.pulls.push(pull.clone());
            host.said.push((path, body.clone()));
            if std::mem::take(&mut host.loses_answer) {
                return None;
            }
            Some(answer(201, &[], &pull))
        }
        (method, false) => {
            let rest = path
                .split_once("/pulls/")
                .or_else(|| path.split_once("/merge_requests/"));
            let number = rest
                .map(|(_, rest)| rest)
                .or_else(|| path.split("/issues/").nth(1));
            let index: usize = number?.split('/').next()?.parse::<usize>().ok()? - 1;
            if path.ends_with("/comments") || path.ends_with("/notes") {
                host.said.push((path, body.clone()));
                return Some(answer(201, &[], &json!({"id": 1})));
            }
            if method == Method::PATCH && body["state"] == "closed"
                || method == Method::PUT && body["state_event"] == "close"
            {
                host.pulls[index]["state"] = "closed".into();
            }
            match host.pulls.get(index) {
                Some(pull) => Some(answer(200, &[], pull)),
                None => Some(answer(404, &[], &json!({"message": "Not Found"}))),
            }
        }
        _ => Some(answer(404, &[], &json!({"message": "Not Found"}))),
    }
}

async fn start() -> (Shared, String) {
    let host: Shared = Arc::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let shared = Arc::clone(&host);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let shared = Arc::clone(&shared);
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                let shared = Arc::clone(&shared);
                async move {
                    let (parts, body) = request.into_parts();
                    let body = body.collect().await.unwrap().to_bytes();
                    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
                    serve(&shared, &parts, &body).ok_or_else(|| std::io::Error::other("lost"))
                }
            });
            tokio::spawn(async move {
                let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let _ = builder
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    (host, url)
}

fn pulls(provider: GitProvider, url: &str, token: &str) -> PullRequests {
    let api = Api::new(Outbound::default(), url, token, None).unwrap();
    assert!(!format!("{api:?}").contains("ghp_"));
    PullRequests::new(
        provider,
        Place::of("https://host.example/acme/fleet.git").unwrap(),
        api,
    )
}

const BOTH: [GitProvider; 2] = [GitProvider::GitHub, GitProvider::GitLab];

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_request_is_opened_once() {
    for provider in BOTH {
        let (host, url) = start().await;
        let pulls = pulls(provider, &url, TOKEN);
        assert_eq!(pulls.find(PROPOSAL.branch, "main").await.unwrap(), None);
        // The answer is lost; the next try finds it.
        host.lock().unwrap().loses_answer = true;
        let lost = pulls.open(&PROPOSAL).await.unwrap_err();
        assert!(lost.is_transient(), "{lost}");
        let first = pulls.open(&PROPOSAL).await.unwrap();
        assert_eq!((first.number, &first.state), (1, &PullState::Open));
        assert_eq!(pulls.open(&PROPOSAL).await.unwrap(), first);
        assert_eq!(host.lock().unwrap().pulls.len(), 1);
        // Somebody opens it between the look and the request: 422, or 409.
        host.lock().unwrap().next = Some((200, vec![], json!([])));
        assert_eq!(pulls.open(&PROPOSAL).await.unwrap(), first);
        assert_eq!(host.lock().unwrap().pulls.len(), 1);
        pulls.comment(1, "It is healthy.").await.unwrap();
        let said = host.lock().unwrap().said.last().unwrap().clone();
        assert_eq!(said.1, json!({"body": "It is healthy."}));
        assert_eq!(pulls.close(1).await.unwrap().state, PullState::Closed);
        assert_eq!(pulls.close(1).await.unwrap().state, PullState::Closed);
        // What people closed is not opened behind their back.
        assert_eq!(
            pulls.open(&PROPOSAL).await.unwrap().state,
            PullState::Closed
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_became_of_it_is_read() {
    for provider in BOTH {
        let (host, url) = start().await;
        let pulls = pulls(provider, &url, TOKEN);
        pulls.open(&PROPOSAL).await.unwrap();
        // Four older ones of the branch, all closed: two pages more.
        {
            let mut host = host.lock().unwrap();
            let open = host.pulls.remove(0);
            for number in 1..=4 {
                let mut closed = open.clone();
                closed["state"] = "closed".into();
                closed[if provider == GitProvider::GitHub {
                    "number"
                } else {
                    "iid"
                }] = number.into();
                host.pulls.push(closed);
            }
            let mut last = open;
            last[if provider == GitProvider::GitHub {
                "number"
            } else {
                "iid"
            }] = 5.into();
            host.pulls.push(last);
        }
        assert_eq!(
            pulls
                .find(PROPOSAL.branch, "main")
                .await
                .unwrap()
                .unwrap()
                .number,
            5
        );
        assert_eq!(pulls.find(PROPOSAL.branch, "other").await.unwrap(), None);
        {
            let mut host = host.lock().unwrap();
            let pull = &mut host.pulls[4];
            if provider == GitProvider::GitHub {
                (pull["state"], pull["merged"], pull["merged_at"]) =
                    ("closed".into(), true.into(), "2026-11-22T15:00:00Z".into());
                pull["merge_commit_sha"] = "abc".into();
            } else {
                (pull["state"], pull["sha"]) = ("merged".into(), "abc".into());
            }
        }
        let merged = PullState::Merged(Some("abc".into()));
        assert_eq!(pulls.read(5).await.unwrap().state, merged);
        assert_eq!(
            pulls
                .find(PROPOSAL.branch, "main")
                .await
                .unwrap()
                .unwrap()
                .state,
            merged
        );
        assert_eq!(pulls.close(5).await.unwrap().state, merged);
        let missing = pulls.read(9).await.unwrap_err();
        assert!(
            matches!(missing, HostError::Refused { status: 404, .. }),
            "{missing}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_respected_and_told_apart() {
    let (host, url) = start().await;
    let pulls = pulls(GitProvider::GitHub, &url, TOKEN);
    let now = jiff::Timestamp::from_second(1_000).unwrap();
    let forbidden = json!({"message": "You have exceeded a secondary rate limit"});
    for (status, headers, wait) in [
        (429, vec![("retry-after", "7".to_owned())], Some(7)),
        (403, vec![("retry-after", "60".to_owned())], Some(60)),
        (
            403,
            vec![
                ("x-ratelimit-remaining", "0".to_owned()),
                ("x-ratelimit-reset", "1090".to_owned()),
            ],
            Some(90),
        ),
        (429, vec![], None),
    ] {
        host.lock().unwrap().next = Some((status, headers, forbidden.clone()));
        let error = pulls.read(1).await.unwrap_err();
        assert!(
            matches!(error, HostError::Limited { .. }) && error.is_transient(),
            "{error}"
        );
        assert_eq!(error.wait(now).map(|wait| wait.as_secs()), wait);
    }
    // Not allowed is something else, and so is a host that fails.
    let denied = json!({"message": "Resource not accessible by personal access token"});
    host.lock().unwrap().next = Some((
        403,
        vec![("x-ratelimit-remaining", "10".to_owned())],
        denied,
    ));
    let error = pulls.read(1).await.unwrap_err();
    assert!(
        !error.is_transient() && error.hint().contains("the token may not do that"),
        "{error}"
    );
    host.lock().unwrap().next = Some((502, vec![], Value::Null));
    assert!(pulls.read(1).await.unwrap_err().is_transient());
    host.lock().unwrap().next = Some((200, vec![], json!({"hello": 1})));
    assert!(matches!(
        pulls.read(1).await.unwrap_err(),
        HostError::Odd { .. }
    ));
    host.lock().unwrap().next = Some((301, vec![], json!({"message": "Moved Permanently"})));
    assert!(
        pulls
            .read(1)
            .await
            .unwrap_err()
            .hint()
            .contains("moved or renamed")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_told_to_nobody() {
    let (_host, url) = start().await;
    // The host repeats it; the error does not.
    let error = pulls(GitProvider::GitLab, &url, "ghp_other")
        .open(&PROPOSAL)
        .await
        .unwrap_err();
    assert!(
        matches!(error, HostError::Refused { status: 401, .. }),
        "{error}"
    );
    for text in [error.to_string(), format!("{error:?}")] {
        assert!(
            text.contains("Bad credentials") && !text.contains("ghp_"),
            "{text}"
        );
    }
    let away = pulls(GitProvider::GitHub, "http://127.0.0.1:9", TOKEN);
    let error = away.read(1).await.unwrap_err();
    assert!(
        error.is_transient() && !format!("{error} {error:?}").contains("ghp_"),
        "{error}"
    );
}
