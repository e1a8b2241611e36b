//! Cases as people write them: see `cases/README.md`.

use anyhow::{Context as _, Result, bail};
use http::Method;

/// One story: requests in order, in a namespace of its own.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// File without its ending.
    pub area: String,
    /// Unique in its area.
    pub name: String,
    /// The namespace of the case, also a prefix for names of cluster-wide objects.
    pub namespace: String,
    pub steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub action: Action,
    pub body: Body,
    /// `(name, pointer)`: what later steps call `{name}`.
    pub captures: Vec<(String, String)>,
    /// JSON pointers of what must not be there any more, where it is waited for that.
    pub lacks: Vec<String>,
    /// JSON pointers of the only parts of the answer to compare; empty means all of it.
    pub only: Vec<String>,
    /// Part of the preparation: must succeed, and its body is not compared.
    pub quiet: bool,
    pub line: usize,
}

#[derive(Clone, Debug)]
pub(crate) enum Action {
    Request {
        method: Method,
        path: String,
        headers: Vec<(String, String)>,
        http1: bool,
    },
    /// Repeated until it answers with this status.
    Until {
        status: u16,
        method: Method,
        path: String,
    },
    /// The words after `kubectl`.
    Kubectl {
        words: Vec<String>,
        env: Vec<(String, String)>,
    },
}

#[derive(Clone, Debug)]
pub(crate) enum Body {
    None,
    /// YAML in the file, sent as JSON.
    Json(String),
    /// Sent as it stands.
    Raw(String),
}

impl Step {
    /// Requests and commands are compared and counted; waiting is not.
    pub(crate) fn is_compared(&self) -> bool {
        !matches!(self.action, Action::Until { .. })
    }
}

const SHORT: [(&str, &str); 11] = [
    ("{core}", "/api/v1/namespaces/{ns}"),
    ("{apps}", "/apis/apps/v1/namespaces/{ns}"),
    ("{batch}", "/apis/batch/v1/namespaces/{ns}"),
    ("{net}", "/apis/networking.k8s.io/v1/namespaces/{ns}"),
    ("{policy}", "/apis/policy/v1/namespaces/{ns}"),
    ("{auto}", "/apis/autoscaling/v2/namespaces/{ns}"),
    ("{rbac}", "/apis/rbac.authorization.k8s.io/v1"),
    ("{policies}", "/apis/admissionregistration.k8s.io/v1"),
    ("{authz}", "/apis/authorization.k8s.io/v1"),
    (
        "{crds}",
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    ),
    ("{tables}", "application/json;as=Table;v=v1;g=meta.k8s.io"),
];

/// The cases of one file.
pub(crate) fn parse(area: &str, text: &str) -> Result<Vec<Case>> {
    let mut cases: Vec<Case> = Vec::new();
    let mut body: Option<Vec<String>> = None;
    for (number, line) in text.lines().enumerate() {
        let at = || format!("{area}.txt:{}: {line}", number + 1);
        if let Some(rest) = line.strip_prefix("  ") {
            let step = cases.last_mut().and_then(|c| c.steps.last_mut());
            let step = step.with_context(at)?;
            body.get_or_insert_default().push(rest.to_owned());
            let joined = body
                .iter()
                .flatten()
                .cloned()
                .collect::<Vec<_>>()
                .join("\n");
            step.body = match step.body {
                Body::Raw(_) => Body::Raw(joined),
                _ if matches!(step.action, Action::Kubectl { .. }) => Body::Raw(joined),
                _ => Body::Json(joined),
            };
            continue;
        }
        body = None;
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix("== ") {
            if cases.iter().any(|case| case.name == name) {
                bail!("{}: the name is taken", at());
            }
            let slug: String = name
                .chars()
                .map(|c| {
                    if c.is_ascii_alphanumeric() {
                        c.to_ascii_lowercase()
                    } else {
                        '-'
                    }
                })
                .collect();
            cases.push(Case {
                area: area.to_owned(),
                name: name.to_owned(),
                namespace: format!("{area}-{}", slug.trim_matches('-')),
                steps: Vec::new(),
            });
            continue;
        }
        let case = cases.last_mut().with_context(at)?;
        if let Some(rest) = line.strip_prefix('+') {
            let step = case.steps.last_mut().with_context(at)?;
            annotate(step, rest.trim()).with_context(at)?;
            continue;
        }
        case.steps.push(step(line, number + 1).with_context(at)?);
    }
    Ok(cases)
}

fn step(line: &str, number: usize) -> Result<Step> {
    let (quiet, line) = match line.strip_prefix('.') {
        Some(rest) => (true, rest.trim()),
        None => (false, line),
    };
    let line = SHORT.iter().fold(line.to_owned(), |line, (short, long)| {
        line.replace(short, long)
    });
    let action = if let Some(rest) = line.strip_prefix("$ ") {
        Action::Kubectl {
            words: words(rest),
            env: Vec::new(),
        }
    } else if let Some(rest) = line.strip_prefix("until ") {
        let (status, asked) = rest.split_once(' ').context("until STATUS [METHOD] PATH")?;
        let (method, path) = asked.split_once(' ').unwrap_or(("GET", asked));
        Action::Until {
            status: status.parse()?,
            method: Method::from_bytes(method.as_bytes())?,
            path: path.to_owned(),
        }
    } else {
        let mut parts = line.split(' ').filter(|part| !part.is_empty());
        let method = Method::from_bytes(parts.next().unwrap_or_default().as_bytes())?;
        let path = parts.next().context("a path")?.to_owned();
        let mut headers = Vec::new();
        let mut http1 = false;
        let mut parts = parts.peekable();
        while let Some(word) = parts.next() {
            let header = match word {
                "merge" => ("Content-Type", "application/merge-patch+json".to_owned()),
                "json" => ("Content-Type", "application/json-patch+json".to_owned()),
                "strategic" => (
                    "Content-Type",
                    "application/strategic-merge-patch+json".to_owned(),
                ),
                "apply" => ("Content-Type", "application/apply-patch+yaml".to_owned()),
                "table" => (
                    "Accept",
                    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json".to_owned(),
                ),
                "as" => (
                    "Impersonate-User",
                    parts.next().context("as WHOM")?.to_owned(),
                ),
                "http1" => {
                    http1 = true;
                    continue;
                }
                other => bail!("{other:?} means nothing here"),
            };
            headers.push((header.0.to_owned(), header.1));
        }
        Action::Request {
            method,
            path,
            headers,
            http1,
        }
    };
    Ok(Step {
        action,
        body: Body::None,
        captures: Vec::new(),
        lacks: Vec::new(),
        only: Vec::new(),
        quiet,
        line: number,
    })
}

/// `+ raw`, `+ @name /pointer`, `+ lacks /pointer …`, `+ only /pointer …`, `+ env NAME=value` or `+ Header: value`.
fn annotate(step: &mut Step, text: &str) -> Result<()> {
    if text == "raw" {
        step.body = Body::Raw(String::new());
    } else if let Some(rest) = text.strip_prefix('@') {
        let (name, pointer) = rest.split_once(' ').context("@NAME POINTER")?;
        step.captures.push((name.to_owned(), pointer.to_owned()));
    } else if let Some(rest) = text.strip_prefix("lacks ") {
        step.lacks.extend(rest.split(' ').map(str::to_owned));
    } else if let Some(rest) = text.strip_prefix("only ") {
        step.only.extend(rest.split(' ').map(str::to_owned));
    } else if let Some(rest) = text.strip_prefix("env ") {
        let Action::Kubectl { env, .. } = &mut step.action else {
            bail!("only commands have an environment");
        };
        let (name, value) = rest.split_once('=').context("NAME=VALUE")?;
        env.push((name.to_owned(), value.to_owned()));
    } else {
        let Action::Request { headers, .. } = &mut step.action else {
            bail!("only requests have headers");
        };
        let (name, value) = text.split_once(": ").context("NAME: VALUE")?;
        let value = SHORT
            .iter()
            .fold(value.to_owned(), |v, (short, long)| v.replace(short, long));
        headers.push((name.to_owned(), value));
    }
    Ok(())
}

/// Splits like a shell, with single quotes only.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let (mut quoted, mut any) = (false, false);
    for c in text.chars() {
        match c {
            '\'' => {
                quoted = !quoted;
                any = true;
            }
            ' ' if !quoted => {
                if any || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            c => word.push(c),
        }
    }
    if any || !word.is_empty() {
        words.push(word);
    }
    words
}

/// The bytes to send.
pub(crate) fn bytes(body: &Body, fill: impl Fn(&str) -> String) -> Result<Vec<u8>> {
    Ok(match body {
        Body::None => Vec::new(),
        Body::Raw(text) => fill(text).into_bytes(),
        Body::Json(text) => {
            let text = fill(text);
            let documents = fairway_yaml::parse(&text).with_context(|| text.clone())?;
            let document = documents.first().context("an empty body")?;
            serde_json::to_vec(&document.root.to_json()?)?
        }
    })
}
