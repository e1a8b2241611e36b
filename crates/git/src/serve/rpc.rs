//! `git upload-pack` and `git receive-pack` behind HTTP (gitprotocol-http).

use std::path::PathBuf;
use std::process::Stdio;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::sync::mpsc;

use super::body::Body;
use super::gzip;
use crate::Error;
use crate::program::{Group, check_version, command, configure, spawn};

const MAX_REQUEST: usize = 512 << 20;

const CONFIG: &[(&str, &str)] = &[
    // Whoever started the server named the folder.
    ("safe.directory", "*"),
    ("receive.autogc", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("uploadpack.allowFilter", "true"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    UploadPack,
    ReceivePack,
}

impl Service {
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "git-upload-pack" => Some(Self::UploadPack),
            "git-receive-pack" => Some(Self::ReceivePack),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::UploadPack => "upload-pack",
            Self::ReceivePack => "receive-pack",
        }
    }
}

/// One request.
pub(super) struct Call {
    pub(super) service: Service,
    pub(super) directory: PathBuf,
    pub(super) refusal: Option<String>,
}

impl Call {
    /// `GET info/refs?service=…`.
    pub(super) async fn advertise(
        self,
        request: &Request<Incoming>,
    ) -> Result<Response<Body>, Error> {
        let protocol = protocol(request);
        let mut command = self.command(protocol.as_deref(), None).await?;
        command
            .args([self.service.name(), "--stateless-rpc", "--advertise-refs"])
            .arg(&self.directory);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let output = spawn(&mut command)?
            .wait_with_output()
            .await
            .map_err(|e| Error::io("git", &e))?;
        let name = self.service.name();
        let mut answer = Vec::new();
        // Version 2 has no such line, and only fetches speak it.
        if self.service == Service::ReceivePack
            || !protocol.is_some_and(|p| p.contains("version=2"))
        {
            let line = format!("# service=git-{name}\n");
            answer.extend_from_slice(format!("{:04x}{line}0000", line.len() + 4).as_bytes());
        }
        answer.extend_from_slice(&output.stdout);
        Ok(response(
            Body::full(answer),
            &format!("application/x-git-{name}-advertisement"),
        ))
    }

    /// `POST git-…-pack`. `done` is called when git has ended well.
    pub(super) async fn serve(
        self,
        request: Request<Incoming>,
        done: impl FnOnce() + Send + 'static,
    ) -> Result<Response<Body>, Error> {
        let protocol = protocol(&request);
        let packed = request
            .headers()
            .get(header::CONTENT_ENCODING)
            .is_some_and(|e| e.as_bytes().ends_with(b"gzip"));
        let body = Limited::new(request.into_body(), MAX_REQUEST)
            .collect()
            .await;
        let body = body.map_err(|e| Error::Io {
            context: "a Git request".to_owned(),
            detail: e.to_string(),
        })?;
        let mut input = body.to_bytes();
        if packed {
            input = gzip::unpack(&input, MAX_REQUEST)
                .map_err(|e| Error::io("a Git request", &e))?
                .into();
        }
        let hooks = self.refusing_hooks()?;
        let mut command = self.command(protocol.as_deref(), hooks.as_ref()).await?;
        command
            .args([self.service.name(), "--stateless-rpc"])
            .arg(&self.directory);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = spawn(&mut command)?;
        let mut group = Group::of(&child);
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (sender, receiver) = mpsc::channel(16);
        tokio::spawn(async move {
            let feed = async {
                if let Some(mut stdin) = stdin {
                    let _ = stdin.write_all(&input).await;
                    let _ = stdin.shutdown().await;
                }
            };
            let pump = async {
                let Some(mut stdout) = stdout else {
                    return true;
                };
                loop {
                    let mut buffer = Vec::with_capacity(32 << 10);
                    let read = stdout.read_buf(&mut buffer).await;
                    match read {
                        Ok(0) => return true,
                        Ok(_) => {}
                        Err(error) => {
                            let _ = sender.send(Err(error)).await;
                            return false;
                        }
                    }
                    if sender.send(Ok(Bytes::from(buffer))).await.is_err() {
                        return false;
                    }
                }
            };
            // A client that went away takes its git with it: the group is dropped below. The end
            // of the answer waits for git's, so that what a push did is done when it is answered.
            let ((), whole) = tokio::join!(feed, pump);
            if whole && let Ok(status) = child.wait().await {
                group.ended();
                if status.success() {
                    done();
                }
            }
            drop((sender, hooks));
        });
        let kind = format!("application/x-git-{}-result", self.service.name());
        Ok(response(Body::Stream(receiver), &kind))
    }

    async fn command(
        &self,
        protocol: Option<&str>,
        hooks: Option<&tempfile::TempDir>,
    ) -> Result<Command, Error> {
        check_version().await?;
        let mut command = command(false);
        let hooks = hooks.map(|h| h.path().display().to_string());
        let own = hooks.as_deref().map(|path| ("core.hooksPath", path));
        configure(&mut command, CONFIG.iter().copied().chain(own));
        if let Some(protocol) = protocol {
            command.env("GIT_PROTOCOL", protocol);
        }
        Ok(command)
    }

    /// Hooks that refuse every push in the given words.
    fn refusing_hooks(&self) -> Result<Option<tempfile::TempDir>, Error> {
        use std::os::unix::fs::PermissionsExt as _;
        let Some(words) = self
            .refusal
            .as_ref()
            .filter(|_| self.service == Service::ReceivePack)
        else {
            return Ok(None);
        };
        let io = |e: std::io::Error| Error::io("can't write a hook", &e);
        let folder = tempfile::tempdir().map_err(io)?;
        let hook = folder.path().join("pre-receive");
        let quoted = words.replace('\'', r"'\''");
        std::fs::write(
            &hook,
            format!("#!/bin/sh\nprintf '%s\\n' '{quoted}' >&2\nexit 1\n"),
        )
        .map_err(io)?;
        std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).map_err(io)?;
        Ok(Some(folder))
    }
}

/// The `Git-Protocol` header, if it holds nothing but what git itself writes there.
fn protocol<B>(request: &Request<B>) -> Option<String> {
    let value = request.headers().get("git-protocol")?.to_str().ok()?;
    let fits = value.len() <= 100
        && value
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '=' | ':' | '-' | '.'));
    fits.then(|| value.to_owned())
}

fn response(body: Body, kind: &str) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, max-age=0, must-revalidate"),
    );
    if let Ok(kind) = HeaderValue::from_str(kind) {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    response
}
