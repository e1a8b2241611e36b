//! An HTTP server that keeps what it is sent, and answers as it is told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Heard {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// Status, headers and body of an answer.
pub(crate) type Answer = (u16, &'static str, String);

#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
    answers: Arc<Mutex<Vec<Answer>>>,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self {
            address: listener.local_addr().unwrap(),
            heard: Arc::default(),
            answers: Arc::default(),
        };
        let me = receiver.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(me.clone().serve(stream));
            }
        });
        receiver
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The answers to the next requests; the last one stays.
    pub(crate) fn answer(&self, answers: Vec<Answer>) {
        *self.answers.lock().unwrap() = answers;
    }

    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    pub(crate) fn forget(&self) {
        self.heard.lock().unwrap().clear();
    }

    /// Waits until so many requests match, and a little longer to see that there are no more.
    pub(crate) async fn until(&self, count: usize, matches: impl Fn(&Heard) -> bool) -> Vec<Heard> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        loop {
            let found: Vec<Heard> = self.heard().into_iter().filter(&matches).collect();
            if found.len() >= count {
                tokio::time::sleep(Duration::from_millis(300)).await;
                return self.heard().into_iter().filter(&matches).collect();
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "only {found:?} of {:?}",
                self.heard()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.lines();
        let line = lines.next().unwrap().to_owned();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(key, value)| (key.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let length = headers
            .iter()
            .find(|(key, _)| key == "content-length")
            .map_or(0, |(_, value)| value.parse().unwrap());
        let mut body = vec![0; length];
        if stream.read_exact(&mut body).await.is_err() {
            return;
        }
        let body = String::from_utf8(body).unwrap();
        self.heard.lock().unwrap().push(Heard {
            line,
            headers,
            body,
        });
        let (status, headers, body) = {
            let mut answers = self.answers.lock().unwrap();
            match answers.len() {
                0 => (200, "", String::new()),
                1 => answers[0].clone(),
                _ => answers.remove(0),
            }
        };
        let answer = format!(
            "HTTP/1.1 {status} Some\r\n{headers}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}
