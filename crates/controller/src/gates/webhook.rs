//! Asking a server: the subject is posted as JSON, and the status of the answer decides.
//!
//! | status | meaning |
//! |---|---|
//! | 2xx | passed |
//! | 409, 423, 425 | not yet: asked again |
//! | 408, 429, 3xx, 5xx, no answer | inconclusive: asked again |
//! | any other 4xx | failed |
//!
//! `Retry-After` (in seconds) is waited for where it is longer than the interval.

use fairway_types::check::WebhookCheck;
use http::StatusCode;
use serde_json::json;

use super::judge::{Policy, Sample, Seen};
use super::secrets::Secrets;
use super::subject::Subject;
use crate::outbound::{Address, Answer, Ask, Outbound, OutboundError, signature};

/// How much of an answer may be shown to people.
const EXCERPT: usize = 200;

pub(super) fn policy(check: &WebhookCheck) -> Policy {
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
    name: &str,
    check: &WebhookCheck,
    subject: &Subject,
) -> Sample {
    let secret = match secrets.read(check.secret_ref.as_ref()).await {
        Ok(secret) => secret,
        Err(error) => return Sample::Inconclusive(Seen::new(error)),
    };
    if check.secret_ref.is_some() && secret.bytes("token").is_some_and(<[u8]>::is_empty) {
        return Sample::Invalid("key 'token' of the Secret is empty".to_owned());
    }
    let body = json!({"check": name, "subject": subject.json()}).to_string();
    let ask = Address::parse(&check.url).and_then(|address| {
        let mut ask = Ask::post_json(address, body.into_bytes());
        ask.timeout = check.answer_timeout().get();
        ask.limit = EXCERPT * 4;
        for (name, value) in &check.headers {
            ask.header(name, value)?;
        }
        secret.authorize(&mut ask)?;
        if let Some(key) = secret.bytes("token") {
            let signature = signature(key, &ask.body);
            ask.header("x-signature", &signature)?;
        }
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
        Ok(answer) => read(&server, &answer),
    }
}

fn read(server: &str, answer: &Answer) -> Sample {
    let status = answer.status;
    let excerpt = answer.excerpt(EXCERPT);
    let said = if excerpt.is_empty() {
        String::new()
    } else {
        format!(": {excerpt}")
    };
    let seen = |what: &str| Seen {
        message: format!("{server} {what}{said}"),
        value: Some(status.as_u16().to_string()),
        again: answer.retry_after(),
    };
    match status {
        _ if status.is_success() => Sample::Passed(seen("says yes")),
        StatusCode::CONFLICT | StatusCode::LOCKED | StatusCode::TOO_EARLY => {
            Sample::Inconclusive(seen("says not yet"))
        }
        _ if status.is_redirection() => {
            Sample::Inconclusive(seen("redirects, which is not followed"))
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
            Sample::Inconclusive(seen("is busy"))
        }
        _ if status.is_client_error() => Sample::Failed(seen("says no")),
        _ => Sample::Inconclusive(seen("cannot tell")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderMap;

    use super::*;

    fn judged(status: u16, body: &'static str) -> Sample {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", "7".parse().unwrap());
        let answer = Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers,
            body: body.into(),
        };
        read("ci:443", &answer)
    }

    #[test]
    fn the_status_decides() {
        for (statuses, expected) in [
            (&[200, 201, 202, 204][..], "Passed"),
            (&[400, 401, 403, 404, 410, 422], "Failed"),
            (
                &[301, 302, 307, 408, 409, 423, 425, 429, 500, 502, 503, 504],
                "Inconclusive",
            ),
        ] {
            for status in statuses {
                let sample = format!("{:?}", judged(*status, ""));
                assert!(sample.starts_with(expected), "{status}: {sample}");
            }
        }
    }

    #[test]
    fn what_is_said_is_shown_shortly() {
        let Sample::Failed(seen) = judged(403, "no:\n  tests\tfailed \u{7}") else {
            panic!("not failed");
        };
        assert_eq!(seen.message, "ci:443 says no: no: tests failed");
        assert_eq!(seen.value.as_deref(), Some("403"));
        assert_eq!(seen.again, Some(Duration::from_secs(7)));
        let long: &'static str = Box::leak("ä".repeat(4000).into_boxed_str());
        let Sample::Passed(seen) = judged(200, long) else {
            panic!("not passed");
        };
        assert!(seen.message.len() < 260, "{}", seen.message.len());
    }
}
