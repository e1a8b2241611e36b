use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// A server that keeps what it is sent and gives one answer to everything.
async fn server(answer: &'static str) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let kept = heard.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let kept = kept.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => return,
                    }
                }
                kept.lock().unwrap().push(String::from_utf8(head).unwrap());
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    (address, heard)
}

fn ask(url: &str) -> Ask {
    let mut ask = Ask::get(Address::parse(url).unwrap());
    ask.timeout = Duration::from_secs(5);
    ask
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_not_followed() {
    let (address, heard) = server(
        "HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\nretry-after: 9\r\ncontent-length: 2\r\n\r\nno",
    )
    .await;
    let mut ask = ask(&format!("http://user:pass@{address}/a?b=c"));
    ask.header("x-team", "web").unwrap();
    let answer = Outbound::default().send(ask).await.unwrap();
    assert_eq!(answer.status, 302);
    assert_eq!(answer.retry_after(), Some(Duration::from_secs(9)));
    assert_eq!(answer.excerpt(10), "no");
    let heard = heard.lock().unwrap();
    assert_eq!(heard.len(), 1);
    assert!(
        heard[0].starts_with("GET /a?b=c HTTP/1.1\r\n"),
        "{}",
        heard[0]
    );
    assert!(heard[0].contains("authorization: Basic dXNlcjpwYXNz\r\n"));
    assert!(heard[0].contains(&format!("host: {address}\r\n")));
    assert!(heard[0].contains("x-team: web\r\n"));
}

#[tokio::test]
async fn long_answers_are_cut_or_refused() {
    let (address, _) =
        server("HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n01234567890123456789").await;
    let mut short = ask(&format!("http://{address}"));
    short.limit = 7;
    let answer = Outbound::default().send(short.clone()).await.unwrap();
    assert_eq!(&answer.body[..], b"0123456");
    short.whole = true;
    let error = Outbound::default().send(short).await.unwrap_err();
    assert!(
        matches!(error, OutboundError::TooLong { limit: 7, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn metadata_is_not_asked() {
    for url in [
        "http://169.254.169.254/latest/meta-data",
        "http://[fd00:ec2::254]/secret",
        "http://[::ffff:169.254.169.254]/",
    ] {
        let error = Outbound::default().send(ask(url)).await.unwrap_err();
        assert!(
            matches!(error, OutboundError::Refused { .. }),
            "{url}: {error}"
        );
        assert!(error.to_string().contains("--allow-link-local-urls"));
        // Through a proxy it is not asked either.
        let mut proxied = ask(url);
        proxied.proxy = Some("http://127.0.0.1:1".to_owned());
        let error = Outbound::default().send(proxied).await.unwrap_err();
        assert!(
            matches!(error, OutboundError::Refused { .. }),
            "{url}: {error}"
        );
    }
}

#[tokio::test]
async fn who_is_silent_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut slow = ask(&format!("http://{address}/secret"));
    slow.timeout = Duration::from_millis(50);
    let error = Outbound::default().send(slow).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{address} did not answer within 50ms")
    );
    drop(listener);
    let error = Outbound::default()
        .send(ask(&format!("http://{address}/secret")))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("refused") && !error.to_string().contains("secret"),
        "{error}"
    );
}

#[tokio::test]
async fn proxies_are_told_where_to() {
    let (proxy, heard) = server("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let mut plain = ask("http://prometheus.example:9090/api");
    plain.proxy = Some(format!("http://me:secret@{proxy}"));
    let answer = Outbound::default().send(plain).await.unwrap();
    assert_eq!(answer.status, 200);
    let first = heard.lock().unwrap().remove(0);
    assert!(
        first.starts_with("GET http://prometheus.example:9090/api HTTP/1.1\r\n"),
        "{first}"
    );
    assert!(first.contains("proxy-authorization: Basic bWU6c2VjcmV0\r\n"));
    // What is encrypted goes through a tunnel.
    let (refusing, heard) = server("HTTP/1.1 403 Forbidden\r\n\r\n").await;
    let mut secure = ask("https://hooks.example/services/secret");
    secure.proxy = Some(format!("http://{refusing}"));
    let error = Outbound::default().send(secure).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("the proxy {refusing} refuses a tunnel to hooks.example:443 with status 403")
    );
    let first = heard.lock().unwrap().remove(0);
    assert!(
        first.starts_with("CONNECT hooks.example:443 HTTP/1.1\r\n") && !first.contains("secret")
    );
}
