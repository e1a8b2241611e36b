//! Requests about objects as plain JSON.

use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use kube::core::{Status, response::StatusDetails};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    connection::Connection,
    error::RequestError,
    mapper::Resource,
    transport::{Answer, encode, retry_after},
};

/// Requests to one cluster as one account.
#[derive(Clone)]
pub struct Session {
    connection: Connection,
    account: std::sync::Arc<[(HeaderName, HeaderValue)]>,
}

/// One event of a watch.
#[derive(Debug, Clone, PartialEq)]
pub enum WatchEvent {
    /// An object that is new to the watch.
    Added(Value),
    /// A changed object.
    Modified(Value),
    /// An object that is gone, or no longer selected.
    Deleted(Value),
    /// Nothing happened up to this resource version.
    Bookmark(String),
}

/// A list of objects, and the resource version that it is of.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct List {
    /// The objects; `apiVersion` and `kind` are set.
    pub items: Vec<Value>,
    /// Resource version to watch from.
    pub resource_version: String,
}

/// How an apply is done.
#[derive(Debug, Clone, Copy)]
pub struct ApplyOptions<'a> {
    /// The field manager.
    pub manager: &'a str,
    /// Nothing is stored.
    pub dry_run: bool,
}

/// Objects in one page of a list.
const PAGE: usize = 500;

impl Session {
    pub(crate) fn new(connection: Connection, account: Vec<(HeaderName, HeaderValue)>) -> Self {
        Self {
            connection,
            account: account.into(),
        }
    }

    /// The connection that the requests go through.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    async fn send(
        &self,
        method: Method,
        target: String,
        headers: &[(HeaderName, &str)],
        body: Option<&Value>,
    ) -> Result<http::Response<Answer>, RequestError> {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let body = match body {
            Some(value) => Bytes::from(
                serde_json::to_vec(value).map_err(|e| RequestError::Invalid(e.to_string()))?,
            ),
            None => Bytes::new(),
        };
        let request = request
            .body(body)
            .map_err(|error| RequestError::Invalid(error.to_string()))?;
        self.connection.transport.send(request, &self.account).await
    }

    fn server(&self) -> String {
        self.connection.server().to_owned()
    }

    async fn json(
        &self,
        method: Method,
        target: String,
        headers: &[(HeaderName, &str)],
        body: Option<&Value>,
    ) -> Result<Value, RequestError> {
        let (_, answer) = self.answer(method, target, headers, body).await?;
        Ok(answer)
    }

    async fn answer(
        &self,
        method: Method,
        target: String,
        headers: &[(HeaderName, &str)],
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value), RequestError> {
        let response = self.send(method, target, headers, body).await?;
        let code = response.status();
        let after = retry_after(response.headers());
        let bytes = self.collect(response).await?;
        if !code.is_success() {
            return Err(refusal(code.as_u16(), &bytes, after));
        }
        let answer = serde_json::from_slice(&bytes).map_err(|error| RequestError::Answer {
            server: self.server(),
            // serde's message quotes no values, only what was expected and where.
            reason: format!("{:?} at line {}", error.classify(), error.line()),
        })?;
        Ok((code, answer))
    }

    async fn collect(&self, response: http::Response<Answer>) -> Result<Bytes, RequestError> {
        match response.into_body().collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) => Err(RequestError::Unreachable {
                server: self.server(),
                reason: crate::error::chain(&error),
            }),
        }
    }

    /// Any path, such as `/version`.
    pub async fn get_path(&self, path: &str) -> Result<Value, RequestError> {
        self.json(
            Method::GET,
            path.to_owned(),
            &[(header::ACCEPT, "application/json")],
            None,
        )
        .await
    }

    /// Any path, with an Accept header of its own.
    pub(crate) async fn get_path_as(
        &self,
        path: &str,
        accept: &str,
    ) -> Result<Value, RequestError> {
        self.json(
            Method::GET,
            path.to_owned(),
            &[(header::ACCEPT, accept)],
            None,
        )
        .await
    }

    /// One object; none where it is not there.
    pub async fn get(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>, RequestError> {
        match self
            .json(Method::GET, resource.path(namespace, Some(name)), &[], None)
            .await
        {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All objects that a label selector matches, in one namespace or (with an empty one) all.
    pub async fn list(
        &self,
        resource: &Resource,
        namespace: &str,
        label_selector: &str,
    ) -> Result<List, RequestError> {
        let mut list = List::default();
        let mut next = String::new();
        loop {
            let mut target = format!("{}?limit={PAGE}", resource.path(namespace, None));
            if !label_selector.is_empty() {
                target.push_str("&labelSelector=");
                encode(label_selector, &mut target);
            }
            if !next.is_empty() {
                target.push_str("&continue=");
                encode(&next, &mut target);
            }
            let mut page = self.json(Method::GET, target, &[], None).await?;
            let text = |pointer: &str| {
                page.pointer(pointer)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            };
            list.resource_version = text("/metadata/resourceVersion");
            next = text("/metadata/continue");
            if let Some(Value::Array(items)) = page.get_mut("items").map(Value::take) {
                list.items.extend(items.into_iter().map(|mut item| {
                    // The items of a list do not repeat their type.
                    item["apiVersion"] = resource.api_version().into();
                    item["kind"] = resource.kind.as_str().into();
                    item
                }));
            }
            if next.is_empty() {
                return Ok(list);
            }
        }
    }

    /// Watches from a resource version. The stream ends when the server ends the watch.
    pub async fn watch(
        &self,
        resource: &Resource,
        namespace: &str,
        label_selector: &str,
        resource_version: &str,
        seconds: u32,
    ) -> Result<impl Stream<Item = Result<WatchEvent, RequestError>> + Send + use<>, RequestError>
    {
        let mut target = format!(
            "{}?watch=true&allowWatchBookmarks=true&timeoutSeconds={seconds}&resourceVersion=",
            resource.path(namespace, None)
        );
        encode(resource_version, &mut target);
        if !label_selector.is_empty() {
            target.push_str("&labelSelector=");
            encode(label_selector, &mut target);
        }
        let response = self.send(Method::GET, target, &[], None).await?;
        let code = response.status();
        if !code.is_success() {
            let after = retry_after(response.headers());
            let bytes = self.collect(response).await?;
            return Err(refusal(code.as_u16(), &bytes, after));
        }
        Ok(events(response.into_body(), self.server()))
    }

    /// Applies an object (server-side, taking conflicting fields over) and answers what the server has then.
    pub async fn apply(
        &self,
        resource: &Resource,
        object: &Value,
        options: ApplyOptions<'_>,
    ) -> Result<Value, RequestError> {
        let (answer, _) = self.apply_telling(resource, object, options).await?;
        Ok(answer)
    }

    /// As [`Self::apply`], and tells whether the object was made by it.
    pub async fn apply_telling(
        &self,
        resource: &Resource,
        object: &Value,
        options: ApplyOptions<'_>,
    ) -> Result<(Value, bool), RequestError> {
        let (namespace, name) = place(object);
        let mut target = resource.path(namespace, Some(name));
        target.push_str("?force=true&fieldManager=");
        encode(options.manager, &mut target);
        if options.dry_run {
            target.push_str("&dryRun=All");
        }
        // JSON is YAML.
        let kind = [(header::CONTENT_TYPE, "application/apply-patch+yaml")];
        let (code, answer) = self
            .answer(Method::PATCH, target, &kind, Some(object))
            .await?;
        Ok((answer, code == StatusCode::CREATED))
    }

    /// Patches an object by RFC 6902 operations.
    pub async fn json_patch(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        operations: &Value,
        manager: &str,
    ) -> Result<Value, RequestError> {
        let mut target = resource.path(namespace, Some(name));
        target.push_str("?fieldManager=");
        encode(manager, &mut target);
        let kind = [(header::CONTENT_TYPE, "application/json-patch+json")];
        self.json(Method::PATCH, target, &kind, Some(operations))
            .await
    }

    /// Deletes an object; its dependents go in the background. With a uid, only the object that has it.
    /// Answers whether it was there.
    pub async fn delete(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        uid: Option<&str>,
    ) -> Result<bool, RequestError> {
        let mut options =
            json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"});
        if let Some(uid) = uid {
            options["preconditions"] = json!({"uid": uid});
        }
        let kind = [(header::CONTENT_TYPE, "application/json")];
        match self
            .json(
                Method::DELETE,
                resource.path(namespace, Some(name)),
                &kind,
                Some(&options),
            )
            .await
        {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Namespace and name of an object; empty where it has none.
pub(crate) fn place(object: &Value) -> (&str, &str) {
    let text = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    (text("/metadata/namespace"), text("/metadata/name"))
}

fn refusal(code: u16, body: &[u8], after: Option<Duration>) -> RequestError {
    let mut status = serde_json::from_slice::<Status>(body).unwrap_or_else(|_| {
        let text = String::from_utf8_lossy(&body[..body.len().min(256)]);
        Status::failure(&format!("{code}: {}", text.trim()), "")
    });
    status.code = code;
    if let Some(after) = after {
        let details = status.details.get_or_insert_with(|| StatusDetails {
            name: String::new(),
            group: String::new(),
            kind: String::new(),
            uid: String::new(),
            causes: Vec::new(),
            retry_after_seconds: 0,
        });
        details.retry_after_seconds = u32::try_from(after.as_secs()).unwrap_or(u32::MAX);
    }
    RequestError::Status(status.boxed())
}

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "type")]
    type_: String,
    object: Value,
}

fn events(
    body: Answer,
    server: String,
) -> impl Stream<Item = Result<WatchEvent, RequestError>> + Send {
    struct State {
        body: Answer,
        buffer: Vec<u8>,
        scanned: usize,
        server: String,
        ended: bool,
    }
    let state = State {
        body,
        buffer: Vec::new(),
        scanned: 0,
        server,
        ended: false,
    };
    stream::unfold(state, |mut state| async move {
        loop {
            if let Some(end) = state.buffer[state.scanned..]
                .iter()
                .position(|byte| *byte == b'\n')
            {
                let end = state.scanned + end;
                let event = event(&state.buffer[..end], &state.server);
                state.buffer.drain(..=end);
                state.scanned = 0;
                if state.buffer.is_empty() {
                    // One huge object must not hold its memory for the life of the watch.
                    state.buffer.shrink_to(64 * 1024);
                }
                match event {
                    Some(event) => return Some((event, state)),
                    None => continue,
                }
            }
            state.scanned = state.buffer.len();
            if state.ended {
                return None;
            }
            match state.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        state.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => {
                    state.ended = true;
                    let reason = crate::error::chain(&error);
                    let error = RequestError::Unreachable {
                        server: state.server.clone(),
                        reason,
                    };
                    return Some((Err(error), state));
                }
                None => state.ended = true,
            }
        }
    })
    .boxed()
}

fn event(line: &[u8], server: &str) -> Option<Result<WatchEvent, RequestError>> {
    if line.iter().all(u8::is_ascii_whitespace) {
        return None;
    }
    let line: Line = match serde_json::from_slice(line) {
        Ok(line) => line,
        Err(error) => {
            let reason = format!("{:?} in a watch event", error.classify());
            return Some(Err(RequestError::Answer {
                server: server.to_owned(),
                reason,
            }));
        }
    };
    Some(match line.type_.as_str() {
        "ADDED" => Ok(WatchEvent::Added(line.object)),
        "MODIFIED" => Ok(WatchEvent::Modified(line.object)),
        "DELETED" => Ok(WatchEvent::Deleted(line.object)),
        "BOOKMARK" => {
            let version = line
                .object
                .pointer("/metadata/resourceVersion")
                .and_then(Value::as_str);
            Ok(WatchEvent::Bookmark(version.unwrap_or_default().to_owned()))
        }
        _ => {
            let code = line
                .object
                .get("code")
                .and_then(Value::as_u64)
                .unwrap_or(500);
            Err(refusal(
                code as u16,
                line.object.to_string().as_bytes(),
                None,
            ))
        }
    })
}
