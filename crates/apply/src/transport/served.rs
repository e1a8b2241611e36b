//! Flux's kinds in the version that a cluster serves.
//!
//! Everything here is written in `v1`. A cluster of an older Flux serves `v1beta2` alone; its objects are the same but for a
//! few fields that `v1` has more. So the version is put in on the way out, and answers are read as they are: what an answer
//! says of its version nobody asks.

use std::sync::{PoisonError, RwLock};

use bytes::Bytes;
use http::Request;
use serde_json::Value;

/// Groups whose kinds are the same in both versions.
const GROUPS: [&str; 2] = ["source.toolkit.fluxcd.io", "kustomize.toolkit.fluxcd.io"];
const NEW: &str = "v1";
const OLD: &str = "v1beta2";

/// Which groups a cluster serves in the older version only.
#[derive(Debug, Default)]
pub(super) struct Served(RwLock<Vec<&'static str>>);

impl Served {
    /// The group that a path asks for in the new version.
    pub(super) fn group_of(target: &str) -> Option<&'static str> {
        let rest = target.strip_prefix("/apis/")?;
        GROUPS.into_iter().find(|group| {
            rest.strip_prefix(group)
                .and_then(|rest| rest.strip_prefix('/'))
                .and_then(|rest| rest.strip_prefix(NEW))
                .is_some_and(|rest| rest.starts_with('/'))
        })
    }

    /// Whether a group is known to be served in the older version only.
    pub(super) fn is_old(&self, group: &str) -> bool {
        let old = self.0.read().unwrap_or_else(PoisonError::into_inner);
        old.contains(&group)
    }

    /// Notes which version a group is served in.
    pub(super) fn set(&self, group: &'static str, old: bool) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.retain(|known| *known != group);
        if old {
            all.push(group);
        }
    }

    /// The request as this cluster understands it.
    pub(super) fn request(&self, group: &'static str, request: Request<Bytes>) -> Request<Bytes> {
        if !self.is_old(group) {
            return request;
        }
        let (mut parts, body) = request.into_parts();
        let target = parts
            .uri
            .path_and_query()
            .map_or("/", |target| target.as_str());
        let (target, body) = Self::rewrite(group, target, &body);
        if let Ok(uri) = target.parse() {
            parts.uri = uri;
            parts.headers.remove(http::header::CONTENT_LENGTH);
        }
        Request::from_parts(parts, body)
    }

    /// The same request in the older version.
    fn rewrite(group: &str, target: &str, body: &Bytes) -> (String, Bytes) {
        let target = target.replacen(&format!("/{group}/{NEW}/"), &format!("/{group}/{OLD}/"), 1);
        let new = format!("{group}/{NEW}");
        let body = match serde_json::from_slice::<Value>(body) {
            Ok(Value::Object(mut object)) if object.get("apiVersion") == Some(&new.into()) => {
                object.insert("apiVersion".to_owned(), format!("{group}/{OLD}").into());
                Value::Object(object).to_string().into()
            }
            _ => body.clone(),
        };
        (target, body)
    }

    /// What `/apis/<group>` says: whether the older version is served and the new one is not.
    pub(super) fn says_old(answer: &[u8]) -> Option<bool> {
        let answer: Value = serde_json::from_slice(answer).ok()?;
        let versions = answer["versions"].as_array()?;
        let serves = |wanted: &str| versions.iter().any(|version| version["version"] == wanted);
        Some(serves(OLD) && !serves(NEW))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_fluxs_own_paths_are_rewritten() {
        let path = "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/a/kustomizations?watch=1";
        let group = Served::group_of(path).unwrap();
        let body = Bytes::from_static(
            br#"{"apiVersion":"kustomize.toolkit.fluxcd.io/v1","kind":"Kustomization"}"#,
        );
        let (target, body) = Served::rewrite(group, path, &body);
        assert_eq!(
            target,
            "/apis/kustomize.toolkit.fluxcd.io/v1beta2/namespaces/a/kustomizations?watch=1"
        );
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["apiVersion"], "kustomize.toolkit.fluxcd.io/v1beta2");
        for path in [
            "/apis/kustomize.toolkit.fluxcd.io/v1",
            "/apis/kustomize.toolkit.fluxcd.io/v1beta2/kustomizations",
            "/apis/apps/v1/deployments",
            "/api/v1/pods",
        ] {
            assert_eq!(Served::group_of(path), None, "{path}");
        }
        let patch = Bytes::from_static(br#"{"status":{"a":1}}"#);
        assert_eq!(Served::rewrite(group, path, &patch).1, patch);
    }

    #[test]
    fn a_group_is_old_where_it_has_no_v1() {
        let says =
            |versions: &str| Served::says_old(format!(r#"{{"versions":[{versions}]}}"#).as_bytes());
        assert_eq!(says(r#"{"version":"v1beta2"}"#), Some(true));
        assert_eq!(
            says(r#"{"version":"v1"},{"version":"v1beta2"}"#),
            Some(false)
        );
        assert_eq!(says(""), Some(false));
        assert_eq!(Served::says_old(b"404 page not found"), None);
        let served = Served::default();
        served.set(GROUPS[0], true);
        assert!(served.is_old(GROUPS[0]) && !served.is_old(GROUPS[1]));
        served.set(GROUPS[0], false);
        assert!(!served.is_old(GROUPS[0]));
    }
}
