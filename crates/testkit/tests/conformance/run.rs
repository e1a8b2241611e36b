//! Plays cases against one server and writes down the answers, normalised.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use fairway_testkit::Kubectl;
use futures::StreamExt as _;
use serde_json::{Value, json};

use crate::case::{self, Action, Case, Step};
use crate::client::{Answer, Client};
use crate::normalise::Normaliser;

/// Cases at a time.
const AT_ONCE: usize = 8;

/// How long something that a server does by itself may take.
const SETTLE: Duration = Duration::from_mins(1);

/// Answers by area and case, one for each step that is compared.
pub(crate) type Answers = BTreeMap<String, BTreeMap<String, Vec<Value>>>;

/// Plays all cases.
pub(crate) async fn all(client: &Client, cases: &[Case]) -> Answers {
    let mut played = futures::stream::iter(cases.iter().cloned())
        .map(|case| {
            let client = client.apart();
            async move {
                let answers = answers(&client, &case).await;
                (case, answers)
            }
        })
        .buffer_unordered(AT_ONCE);
    let mut all = Answers::new();
    while let Some((case, answers)) = played.next().await {
        all.entry(case.area).or_default().insert(case.name, answers);
    }
    all
}

/// The answers of a case; where it cannot go on, what stopped it stands in place of the others.
async fn answers(client: &Client, case: &Case) -> Vec<Value> {
    let mut answers = Vec::new();
    if let Err(error) = play(client, case, &mut answers).await {
        let compared = case.steps.iter().filter(|step| step.is_compared()).count();
        answers.resize(compared, json!({"stopped": format!("{error:#}")}));
    }
    answers
}

async fn play(client: &Client, case: &Case, answers: &mut Vec<Value>) -> Result<()> {
    let mut run = Run {
        client,
        case,
        known: BTreeMap::from([("ns".to_owned(), case.namespace.clone())]),
        normaliser: Normaliser::new(client.authority()),
        kubectl: None,
    };
    if run.uses_namespace() {
        let body = json!({"metadata": {"name": case.namespace}}).to_string();
        let made = client
            .send(
                &http::Method::POST,
                "/api/v1/namespaces",
                &[],
                body.into_bytes(),
                false,
            )
            .await?;
        if made.status != 201 {
            bail!(
                "make the namespace: {}",
                String::from_utf8_lossy(&made.body)
            );
        }
    }
    for step in &case.steps {
        let answer = run
            .step(step)
            .await
            .with_context(|| format!("line {}", step.line))?;
        answers.extend(answer);
    }
    Ok(())
}

struct Run<'a> {
    client: &'a Client,
    case: &'a Case,
    known: BTreeMap<String, String>,
    normaliser: Normaliser,
    kubectl: Option<Kubectl>,
}

impl Run<'_> {
    fn uses_namespace(&self) -> bool {
        self.case.steps.iter().any(|step| match &step.action {
            Action::Request { path, .. } | Action::Until { path, .. } => path.contains("/{ns}"),
            Action::Kubectl { .. } => true,
        })
    }

    fn fill(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, value) in &self.known {
            text = text.replace(&format!("{{{name}}}"), value);
        }
        text
    }

    async fn step(&mut self, step: &Step) -> Result<Option<Value>> {
        match &step.action {
            Action::Request {
                method,
                path,
                headers,
                http1,
            } => {
                let headers: Vec<_> = headers
                    .iter()
                    .map(|(name, value)| (name.clone(), self.fill(value)))
                    .collect();
                let body = case::bytes(&step.body, |text| self.fill(text))?;
                let path = self.fill(path);
                let answer = self
                    .client
                    .send(method, &path, &headers, body, *http1)
                    .await?;
                if std::env::var_os("CONFORMANCE_TRACE").is_some() {
                    eprintln!(
                        "{method} {path}: {} {}",
                        answer.status,
                        String::from_utf8_lossy(&answer.body)
                    );
                }
                self.capture(step, &answer)?;
                if step.quiet {
                    if !(200..300).contains(&answer.status) {
                        bail!(
                            "{method} {path}: {} {}",
                            answer.status,
                            String::from_utf8_lossy(&answer.body)
                        );
                    }
                    self.normaliser.answer(&answer, &[]);
                    return Ok(Some(json!(answer.status)));
                }
                Ok(Some(self.normaliser.answer(&answer, &step.only)))
            }
            Action::Until {
                status,
                method,
                path,
            } => {
                let path = self.fill(path);
                let body = case::bytes(&step.body, |text| self.fill(text))?;
                let started = Instant::now();
                loop {
                    let answer = self
                        .client
                        .send(method, &path, &[], body.clone(), false)
                        .await?;
                    if answer.status == *status && settled(step, &answer) {
                        self.capture(step, &answer)?;
                        return Ok(None);
                    }
                    if started.elapsed() > SETTLE {
                        bail!(
                            "{path} still answers {} {}",
                            answer.status,
                            String::from_utf8_lossy(&answer.body)
                        );
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
            Action::Kubectl { words, env } => {
                let words: Vec<String> = words.iter().map(|word| self.fill(word)).collect();
                let env: Vec<(&str, &str)> =
                    env.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
                let body = case::bytes(&step.body, |text| self.fill(text))?;
                let input = String::from_utf8(body)?;
                let kubectl = match &self.kubectl {
                    Some(kubectl) => kubectl.clone(),
                    None => self
                        .kubectl
                        .insert(Kubectl::new(self.client.kubeconfig())?)
                        .clone(),
                };
                let mut arguments = vec!["-n".to_owned(), self.case.namespace.clone()];
                arguments.extend(words.iter().cloned());
                let output =
                    tokio::time::timeout(SETTLE, kubectl.run_with(&arguments, &env, &input))
                        .await
                        .with_context(|| format!("kubectl {} takes too long", words.join(" ")))??;
                if step.quiet && output.code != 0 {
                    bail!("kubectl {}: {}", words.join(" "), output.stderr);
                }
                let home = kubectl.home().display().to_string();
                let told = self.normaliser.output(&output, &home);
                Ok(Some(if step.quiet { json!(0) } else { told }))
            }
        }
    }

    fn capture(&mut self, step: &Step, answer: &Answer) -> Result<()> {
        for (name, pointer) in &step.captures {
            let body: Value = serde_json::from_slice(&answer.body)
                .with_context(|| String::from_utf8_lossy(&answer.body).into_owned())?;
            let value = body
                .pointer(pointer)
                .with_context(|| format!("no {pointer} in {body}"))?;
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            self.known.insert(name.clone(), text);
        }
        Ok(())
    }
}

/// Whether an answer has what is waited for, and no more what is to go.
fn settled(step: &Step, answer: &Answer) -> bool {
    if step.captures.is_empty() && step.lacks.is_empty() {
        return true;
    }
    let Ok(body) = serde_json::from_slice::<Value>(&answer.body) else {
        return false;
    };
    step.captures
        .iter()
        .all(|(_, pointer)| body.pointer(pointer).is_some())
        && step
            .lacks
            .iter()
            .all(|pointer| body.pointer(pointer).is_none())
}
