//! What the git program complains about, as typed errors without secrets.

use crate::Error;
use crate::remote::redacted;

/// Without secrets, user information of URLs and control characters; the last few lines only.
pub(crate) fn scrubbed(stderr: &str, secrets: &[String]) -> String {
    let mut text = redacted(stderr);
    for secret in secrets.iter().filter(|s| !s.is_empty()) {
        text = text.replace(secret.as_str(), "***");
    }
    let lines: Vec<String> = text
        .split(['\n', '\r'])
        .map(|line| {
            line.chars()
                .filter(|c| !c.is_control())
                .take(400)
                .collect::<String>()
                .trim_end()
                .to_owned()
        })
        .filter(|line| {
            !line.is_empty()
                && !line.starts_with("hint:")
                && !line.starts_with("warning: redirecting")
        })
        .collect();
    lines[lines.len().saturating_sub(8)..].join("; ")
}

/// Turns what the program said (in the C locale) into a typed error.
pub(crate) fn classify(command: &str, url: Option<&str>, stderr: &str) -> Error {
    let detail = || {
        let text = stderr.strip_prefix("fatal: ").unwrap_or(stderr);
        if text.is_empty() {
            "no message".to_owned()
        } else {
            text.to_owned()
        }
    };
    let Some(url) = url.map(str::to_owned) else {
        return Error::Git {
            command: command.to_owned(),
            detail: detail(),
        };
    };
    let lower = stderr.to_lowercase();
    let says = |needles: &[&str]| needles.iter().any(|n| lower.contains(n));
    if let Some(at) = stderr.find("couldn't find remote ref ") {
        let reference = stderr[at + 25..]
            .split([';', ' '])
            .next()
            .unwrap_or_default()
            .to_owned();
        return Error::RefMissing { url, reference };
    }
    if says(&[
        "ssl certificate problem",
        "certificate verif",
        "gnutls_handshake",
        "ssl_connect",
        "ssl routines",
        "ssl_error",
        "ssl peer",
        "unable to get local issuer",
        "tls connect error",
        "self-signed certificate",
        "no alternative certificate subject",
        "error setting certificate",
    ]) {
        return Error::TlsFailed {
            url,
            detail: detail(),
        };
    }
    if says(&[
        "could not read username",
        "could not read password",
        "authentication failed",
        "returned error: 401",
        "returned error: 403",
        "permission denied (",
        "invalid username",
        "host key verification failed",
        "terminal prompts disabled",
        "access denied",
        "load key",
        "no such identity",
        // What GitHub and GitLab say to a key that may read and not write.
        "marked as read only",
        "write access to repository not granted",
        "does not have write access",
        "not allowed to push code to this project",
    ]) {
        return Error::AuthFailed {
            url,
            detail: detail(),
        };
    }
    if says(&[
        "could not resolve host",
        "failed to connect",
        "couldn't connect",
        "connection refused",
        "connection timed out",
        "connection reset",
        "operation timed out",
        "empty reply",
        "operation too slow",
        "returned error: 5",
        "returned error: 429",
        "network is unreachable",
        "no route to host",
        "name or service not known",
        "temporary failure in name resolution",
        "connection closed",
        "early eof",
        "remote end hung up",
        "recv failure",
        "send failure",
        "http2 framing",
        "rpc failed",
        "transfer closed",
    ]) && !says(&["does not appear to be a git repository", "not found"])
    {
        return Error::Unreachable {
            url,
            detail: detail(),
        };
    }
    if says(&[
        "not found",
        "does not appear to be a git repository",
        "does not exist",
        "not valid: is this a git repository",
        "no such repository",
    ]) {
        return Error::RepositoryNotFound {
            url,
            detail: detail(),
        };
    }
    Error::Git {
        command: command.to_owned(),
        detail: detail(),
    }
}

pub(crate) fn shows_damage(error: &Error) -> bool {
    match error {
        // Only a ref can have led to it.
        Error::Damaged { .. } | Error::ObjectMissing { .. } => true,
        Error::Git { detail, .. } => {
            let signs = [
                "corrupt",
                "bad object",
                "is empty",
                "missing blob",
                "missing tree",
                "missing commit",
                "unresolved delta",
                "did not send all necessary objects",
                "invalid sha1 pointer",
                "not a git repository",
                "bad config",
                "bad signature",
                "unable to read",
                "cannot be accessed",
                "cannot be mapped",
                "does not match index",
                "inflate",
                "bad sha1 file",
                "loose object",
                "broken ref",
                "bad tree object",
                "failed to traverse",
                "unable to parse object",
                "index file",
            ];
            let lower = detail.to_lowercase();
            signs.iter().any(|sign| lower.contains(sign))
        }
        _ => false,
    }
}

pub(crate) fn is_name_clash(error: &Error) -> bool {
    let Error::Git { detail, .. } = error else {
        return false;
    };
    detail.contains("cannot lock ref")
        || detail.contains("some local refs could not be updated")
        || detail.contains("exists; cannot create")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_may_not_write_is_no_broken_line() {
        for said in [
            "ERROR: The key you are authenticating with has been marked as read only.; fatal: Could not read from remote repository.",
            "remote: Write access to repository not granted.; fatal: unable to access 'https://github.com/a/b/': The requested URL returned error: 403",
            "remote: ERROR: This deploy key does not have write access to this project.; fatal: the remote end hung up unexpectedly",
        ] {
            let error = classify("push", Some("https://h/a/b"), said);
            assert!(matches!(error, Error::AuthFailed { .. }), "{error:?}");
        }
    }

    #[test]
    fn scrubs_secrets_and_noise() {
        let text = "hint: try harder\nfatal: bad token s3cret for https://me:pw@host/x\x1b[31m\r\nremote: s3cret\n";
        let out = scrubbed(text, &["s3cret".to_owned(), String::new()]);
        assert_eq!(
            out,
            "fatal: bad token *** for https://***@host/x[31m; remote: ***"
        );
    }

    #[test]
    fn classifies_what_git_says() {
        let of = |text: &str| classify("fetch", Some("u"), text);
        type Expected = fn(&Error) -> bool;
        let samples: &[(&str, Expected)] = &[
            (
                "fatal: unable to access 'https://x/': Could not resolve host: x",
                |e| matches!(e, Error::Unreachable { .. }),
            ),
            (
                "fatal: unable to access 'http://127.0.0.1:1/': Failed to connect to 127.0.0.1 port 1 after 0 ms: Couldn't connect to server",
                |e| matches!(e, Error::Unreachable { .. }),
            ),
            (
                "fatal: unable to access 'http://h/': The requested URL returned error: 503",
                |e| matches!(e, Error::Unreachable { .. }),
            ),
            (
                "fatal: could not read Username for 'http://h': terminal prompts disabled",
                |e| matches!(e, Error::AuthFailed { .. }),
            ),
            (
                "git@h: Permission denied (publickey).; fatal: Could not read from remote repository.",
                |e| matches!(e, Error::AuthFailed { .. }),
            ),
            (
                "Host key verification failed.; fatal: Could not read from remote repository.",
                |e| matches!(e, Error::AuthFailed { .. }),
            ),
            ("fatal: repository 'http://h/x.git/' not found", |e| {
                matches!(e, Error::RepositoryNotFound { .. })
            }),
            (
                "fatal: '/nowhere' does not appear to be a git repository; fatal: Could not read from remote repository.",
                |e| matches!(e, Error::RepositoryNotFound { .. }),
            ),
            (
                "fatal: unable to access 'https://h/': SSL certificate problem: self-signed certificate",
                |e| matches!(e, Error::TlsFailed { .. }),
            ),
            (
                "fatal: couldn't find remote ref refs/heads/x",
                |e| matches!(e, Error::RefMissing { reference, .. } if reference == "refs/heads/x"),
            ),
            ("fatal: something else", |e| matches!(e, Error::Git { .. })),
        ];
        for (text, expected) in samples {
            let error = of(text);
            assert!(expected(&error), "{text}: {error:?}");
        }
    }
}
