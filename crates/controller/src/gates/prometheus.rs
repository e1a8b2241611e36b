//! Asking Prometheus: an instant query, and its answer held against thresholds.
//!
//! Every series of a vector must hold. An answer that says nothing (no series, NaN, a server that is down or too busy) is
//! inconclusive. A query that Prometheus cannot parse is invalid: asking again will not help.

use std::time::Duration;

use fairway_cel::Expression;
use fairway_types::check::PrometheusCheck;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::judge::{Policy, Sample, Seen};
use super::secrets::Secrets;
use super::subject::Subject;
use super::template;
use crate::outbound::{Address, Answer, Ask, Outbound, OutboundError};

/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest answer that is read.
const LIMIT: usize = 4 << 20;
/// Series that are looked at.
const MAX_SERIES: usize = 10_000;

pub(super) fn policy(check: &PrometheusCheck) -> Policy {
    Policy {
        interval: check.interval().get(),
        count: check.count(),
        failure_limit: check.failure_limit(),
        timeout: check.timeout().get(),
    }
}

/// Takes one sample.
pub(super) async fn sample(
    outbound: &Outbound,
    secrets: &Secrets<'_>,
    check: &PrometheusCheck,
    subject: &Subject,
) -> Sample {
    let thresholds = match Thresholds::new(check) {
        Ok(thresholds) => thresholds,
        Err(invalid) => return Sample::Invalid(invalid),
    };
    let query = match template::promql(&check.query, &subject.variables()) {
        Ok(query) => query,
        Err(error) => return Sample::Invalid(format!("the query cannot be filled: {error}")),
    };
    let secret = match secrets.read(check.secret_ref.as_ref()).await {
        Ok(secret) => secret,
        Err(error) => return Sample::Inconclusive(Seen::new(error)),
    };
    let ask = Address::parse(&check.address)
        .and_then(|address| address.with("/api/v1/query", &[("query", &query)]))
        .and_then(|address| {
            let mut ask = Ask::get(address);
            ask.timeout = TIMEOUT;
            ask.limit = LIMIT;
            ask.whole = true;
            secret.authorize(&mut ask)?;
            Ok(ask)
        });
    let ask = match ask {
        Ok(ask) => ask,
        Err(error) => return Sample::Invalid(error.to_string()),
    };
    let server = ask.address.server();
    match outbound.send(ask).await {
        Err(error @ OutboundError::Refused { .. }) => Sample::Invalid(error.to_string()),
        Err(error) => Sample::Inconclusive(Seen::new(error.to_string())),
        Ok(answer) => read(&server, &answer, &thresholds, &subject.json()),
    }
}

/// What an answer must be.
struct Thresholds {
    max: Option<f64>,
    min: Option<f64>,
    expression: Option<Expression>,
}

impl Thresholds {
    fn new(check: &PrometheusCheck) -> Result<Self, String> {
        let expression = check
            .expr
            .as_deref()
            .map(|text| Expression::compile(text, &["value", "labels", "subject"]))
            .transpose()
            .map_err(|error| error.to_string())?;
        if check.max.is_none() && check.min.is_none() && expression.is_none() {
            return Err("neither max, min nor expr is set".to_owned());
        }
        Ok(Self {
            max: check.max,
            min: check.min,
            expression,
        })
    }

    /// Nothing where the value holds, else why it does not.
    fn complaint(
        &self,
        value: f64,
        labels: &Map<String, Value>,
        subject: &Value,
    ) -> Result<Option<String>, String> {
        if let Some(max) = self.max
            && value > max
        {
            return Ok(Some(format!("is above {max}")));
        }
        if let Some(min) = self.min
            && value < min
        {
            return Ok(Some(format!("is below {min}")));
        }
        let Some(expression) = &self.expression else {
            return Ok(None);
        };
        let (number, labels) = (number(value), Value::Object(labels.clone()));
        let variables = [
            ("value", &number),
            ("labels", &labels),
            ("subject", subject),
        ];
        match expression.is_true(&variables) {
            Ok(true) => Ok(None),
            Ok(false) => Ok(Some("does not meet the expression".to_owned())),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// JSON has no infinity: the greatest number stands for it.
fn number(value: f64) -> Value {
    json!(value.clamp(f64::MIN, f64::MAX))
}

/// One series of an answer.
struct Series {
    labels: Map<String, Value>,
    value: f64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    status: String,
    #[serde(default)]
    error_type: String,
    #[serde(default)]
    error: String,
    data: Option<Data>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Value,
}

#[derive(Deserialize)]
struct Vector {
    #[serde(default)]
    metric: Map<String, Value>,
    value: Option<(f64, String)>,
}

fn read(server: &str, answer: &Answer, thresholds: &Thresholds, subject: &Value) -> Sample {
    let status = answer.status;
    let response: Response = match serde_json::from_slice(&answer.body) {
        Ok(response) => response,
        Err(_) if matches!(status.as_u16(), 401 | 403) => {
            return inconclusive(format!(
                "{server} refuses the credentials (status {status})"
            ));
        }
        Err(_) => {
            return inconclusive(format!(
                "{server} gives an answer that is none of Prometheus (status {status})"
            ));
        }
    };
    if response.status != "success" {
        let message = format!(
            "{server} refuses the query: {}: {}",
            response.error_type, response.error
        );
        // What it can't parse it will not parse later; anything else may pass.
        return if response.error_type == "bad_data" {
            Sample::Invalid(message)
        } else {
            inconclusive(message)
        };
    }
    match response.data.map(series) {
        Some(Ok(series)) => weigh(&series, thresholds, subject),
        Some(Err(message)) => Sample::Invalid(message),
        None => inconclusive(format!("{server} gives an answer without data")),
    }
}

fn inconclusive(message: String) -> Sample {
    Sample::Inconclusive(Seen::new(message))
}

fn series(data: Data) -> Result<Vec<Series>, String> {
    let unreadable = |_| "the answer of Prometheus cannot be read".to_owned();
    let value = |text: &str| text.parse::<f64>().unwrap_or(f64::NAN);
    match data.result_type.as_str() {
        "scalar" => {
            let (_, text): (f64, String) =
                serde_json::from_value(data.result).map_err(unreadable)?;
            Ok(vec![Series {
                labels: Map::new(),
                value: value(&text),
            }])
        }
        "vector" => {
            let all: Vec<Vector> = serde_json::from_value(data.result).map_err(unreadable)?;
            let series = all.into_iter().take(MAX_SERIES).map(|one| Series {
                labels: one.metric,
                // A native histogram has no value of its own.
                value: one.value.map_or(f64::NAN, |(_, text)| value(&text)),
            });
            Ok(series.collect())
        }
        other => Err(format!(
            "the query gives a {other}, not a scalar or a vector\nhint: leave out the range, or take a function of it"
        )),
    }
}

/// Holds every series against the thresholds; one that fails outweighs others that say nothing.
fn weigh(all: &[Series], thresholds: &Thresholds, subject: &Value) -> Sample {
    if all.is_empty() {
        return inconclusive("the query gives no data".to_owned());
    }
    let mut unknown = None;
    let mut failing = Vec::new();
    for one in all {
        if one.value.is_nan() {
            unknown.get_or_insert(one);
            continue;
        }
        match thresholds.complaint(one.value, &one.labels, subject) {
            Ok(None) => {}
            Ok(Some(complaint)) => failing.push((one, complaint)),
            Err(invalid) => return Sample::Invalid(invalid),
        }
    }
    if let Some((first, complaint)) = failing.first() {
        let more = match failing.len() - 1 {
            0 => String::new(),
            more => format!(", and {more} more of {} series do not hold", all.len()),
        };
        let message = format!("{} {complaint}{more}", shown(first));
        return Sample::Failed(Seen::new(message).with_value(first.value.to_string()));
    }
    if let Some(one) = unknown {
        return Sample::Inconclusive(
            Seen::new(format!("{} is not a number", name(one))).with_value("NaN"),
        );
    }
    let (seen, value) = match all {
        [one] => (format!("{} holds", shown(one)), one.value.to_string()),
        all => {
            let worst = all
                .iter()
                .map(|one| one.value)
                .reduce(if thresholds.max.is_some() || thresholds.min.is_none() {
                    f64::max
                } else {
                    f64::min
                })
                .unwrap_or(f64::NAN);
            (format!("all {} series hold", all.len()), worst.to_string())
        }
    };
    Sample::Passed(Seen::new(seen).with_value(value))
}

fn name(one: &Series) -> String {
    if one.labels.is_empty() {
        return "the value".to_owned();
    }
    let labels: Vec<String> = one
        .labels
        .iter()
        .filter(|(key, _)| *key != "__name__")
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let metric = one.labels.get("__name__").and_then(Value::as_str);
    format!("{}{{{}}}", metric.unwrap_or_default(), labels.join(","))
}

fn shown(one: &Series) -> String {
    format!("{} {}", name(one), one.value)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};

    use super::*;

    fn check(value: Value) -> PrometheusCheck {
        let mut whole = json!({"address": "http://p:9090", "query": "q"});
        for (key, value) in value.as_object().unwrap() {
            whole[key] = value.clone();
        }
        serde_json::from_value(whole).unwrap()
    }

    fn judged(thresholds: Value, status: u16, body: &Value) -> Sample {
        let answer = Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: body.to_string().into(),
        };
        let thresholds = Thresholds::new(&check(thresholds)).unwrap();
        read("p:9090", &answer, &thresholds, &json!({"stage": "prod"}))
    }

    fn vector(series: &[(&str, &str)]) -> Value {
        let result: Vec<Value> = series
            .iter()
            .map(|(pod, value)| {
                json!({"metric": {"__name__": "errors", "pod": pod}, "value": [1_700_000_000.5, value]})
            })
            .collect();
        json!({"status": "success", "data": {"resultType": "vector", "result": result}})
    }

    fn word(sample: &Sample) -> &'static str {
        match sample {
            Sample::Passed(_) => "passed",
            Sample::Failed(_) => "failed",
            Sample::Inconclusive(_) => "inconclusive",
            Sample::Invalid(_) => "invalid",
        }
    }

    #[test]
    fn every_series_must_hold() {
        let max = json!({"max": 0.5});
        for (series, expected) in [
            (&[("a", "0.5")][..], "passed"),
            (&[("a", "0.1"), ("b", "0.6")], "failed"),
            (&[("a", "0.1"), ("b", "NaN")], "inconclusive"),
            (&[("a", "0.9"), ("b", "NaN")], "failed"),
            (&[("a", "+Inf")], "failed"),
            (&[("a", "-Inf")], "passed"),
            (&[], "inconclusive"),
        ] {
            let sample = judged(max.clone(), 200, &vector(series));
            assert_eq!(word(&sample), expected, "{series:?} {sample:?}");
        }
        let sample = judged(max, 200, &vector(&[("a", "0.1"), ("b", "0.6")]));
        assert_eq!(
            sample,
            Sample::Failed(Seen::new("errors{pod=\"b\"} 0.6 is above 0.5").with_value("0.6"))
        );
    }

    #[test]
    fn scalars_and_expressions_are_judged() {
        let scalar = |value: &str| json!({"status": "success", "data": {"resultType": "scalar", "result": [1, value]}});
        assert_eq!(
            word(&judged(json!({"min": 0.99}), 200, &scalar("0.995"))),
            "passed"
        );
        assert_eq!(
            word(&judged(json!({"min": 0.99}), 200, &scalar("0.98"))),
            "failed"
        );
        let expr = json!({"expr": "value < 2.0 || subject.stage != 'prod'"});
        assert_eq!(word(&judged(expr.clone(), 200, &scalar("1"))), "passed");
        assert_eq!(word(&judged(expr, 200, &scalar("3"))), "failed");
        let labels = json!({"expr": "labels.pod == 'a' || value == 0.0"});
        assert_eq!(
            word(&judged(labels, 200, &vector(&[("a", "7"), ("b", "0")]))),
            "passed"
        );
        assert!(Thresholds::new(&check(json!({"expr": "nothing > 1"}))).is_err());
        assert!(Thresholds::new(&check(json!({}))).is_err());
    }

    #[test]
    fn errors_are_told_apart() {
        let error = |kind: &str| json!({"status": "error", "errorType": kind, "error": "because"});
        let max = json!({"max": 1});
        assert_eq!(
            word(&judged(max.clone(), 400, &error("bad_data"))),
            "invalid"
        );
        assert_eq!(
            word(&judged(max.clone(), 503, &error("timeout"))),
            "inconclusive"
        );
        assert_eq!(
            word(&judged(max.clone(), 502, &json!("<html>"))),
            "inconclusive"
        );
        assert_eq!(
            word(&judged(max.clone(), 401, &json!("no"))),
            "inconclusive"
        );
        let matrix = json!({"status": "success", "data": {"resultType": "matrix", "result": []}});
        assert_eq!(word(&judged(max, 200, &matrix)), "invalid");
    }
}
