//! Access reviews: asking what a user may do, and who a user is, through the API itself.
//!
//! Each function takes the posted object and gives back the object to answer with, its status
//! filled in.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::index::Missing;
use super::{Index, Rule};
use crate::auth::{Attributes, Authorizer, Decision, User};
use crate::status::{ApiError, FieldError};
use crate::writer::api_time;

const GROUP: &str = "authorization.k8s.io";
const ONE_OF: &str = "exactly one of nonResourceAttributes or resourceAttributes must be specified";

/// `SelfSubjectAccessReview`: may the caller do this?
pub(super) fn self_subject_access(
    authorizer: &dyn Authorizer,
    caller: &User,
    mut review: Value,
) -> Result<Value, ApiError> {
    review["status"] = access_status(authorizer, caller, &review["spec"])?;
    Ok(review)
}

/// `SubjectAccessReview` and, with the namespace of the request, `LocalSubjectAccessReview`:
/// may the user named in the review do this?
pub(super) fn subject_access(
    authorizer: &dyn Authorizer,
    namespace: Option<&str>,
    mut review: Value,
) -> Result<Value, ApiError> {
    let spec = &review["spec"];
    if let Some(namespace) = namespace {
        let path = &spec["nonResourceAttributes"];
        if path.is_object() {
            let why = "disallowed on this kind of request";
            return Err(invalid(
                "spec.nonResourceAttributes",
                &as_go_writes(path),
                why,
            ));
        }
        let asked = text(&spec["resourceAttributes"], "namespace");
        if asked != namespace {
            let field = "spec.resourceAttributes.namespace";
            return Err(invalid(
                field,
                &json!(asked),
                "must match metadata.namespace",
            ));
        }
    }
    let user = user_of(spec);
    if user.name.is_empty() && user.groups.is_empty() {
        let why = "at least one of user or group must be specified";
        return Err(invalid("spec.user", &json!(""), why));
    }
    review["status"] = access_status(authorizer, &user, spec)?;
    Ok(review)
}

/// `SelfSubjectRulesReview`: all that the caller may do in a namespace.
pub(super) fn self_subject_rules(
    index: &Index,
    caller: &User,
    mut review: Value,
) -> Result<Value, ApiError> {
    let namespace = text(&review["spec"], "namespace");
    if namespace.is_empty() {
        return Err(ApiError::bad_request("no namespace on request"));
    }
    let (rules, missing) = index.rules_for(caller, namespace);
    let (paths, resources): (Vec<&Rule>, Vec<&Rule>) =
        rules.iter().partition(|rule| !rule.urls.is_empty());
    // A role that does not exist grants nothing, so the list is complete without it.
    let mut status = json!({
        "resourceRules": resources.into_iter().map(Rule::to_json).collect::<Vec<_>>(),
        "nonResourceRules": paths.into_iter().map(Rule::to_json).collect::<Vec<_>>(),
        "incomplete": false,
    });
    if !missing.is_empty() {
        let texts: Vec<String> = missing.iter().map(Missing::to_string).collect();
        status["evaluationError"] = json!(texts.join(", "));
    }
    review["spec"] = json!({});
    review["status"] = status;
    Ok(review)
}

/// `SelfSubjectReview`: who the server takes the caller for (`kubectl auth whoami`).
pub(super) fn self_subject(caller: &User, mut review: Value) -> Value {
    review["metadata"]["creationTimestamp"] = api_time(Timestamp::now()).into();
    review["status"] = json!({ "userInfo": user_info(caller) });
    review
}

/// `TokenReview`: whose token this is, as `authenticate` knows it.
pub(super) fn token(
    mut review: Value,
    authenticate: impl FnOnce(&str) -> Option<User>,
) -> Result<Value, ApiError> {
    let presented = text(&review["spec"], "token").to_owned();
    if presented.is_empty() {
        let why = "token is required for TokenReview in authentication";
        return Err(ApiError::bad_request(why));
    }
    review["status"] = match authenticate(&presented) {
        Some(user) => {
            let mut status = json!({ "authenticated": true, "user": user_info(&user) });
            if !review["spec"]["audiences"].is_null() {
                status["audiences"] = review["spec"]["audiences"].clone();
            }
            status
        }
        None => json!({ "user": {}, "error": "invalid bearer token" }),
    };
    Ok(review)
}

fn access_status(
    authorizer: &dyn Authorizer,
    user: &User,
    spec: &Value,
) -> Result<Value, ApiError> {
    let resource = &spec["resourceAttributes"];
    let path = &spec["nonResourceAttributes"];
    let attributes = match (resource.is_object(), path.is_object()) {
        (true, false) => Attributes {
            verb: own(resource, "verb"),
            group: own(resource, "group"),
            version: own(resource, "version"),
            resource: own(resource, "resource"),
            subresource: own(resource, "subresource"),
            namespace: own(resource, "namespace"),
            name: own(resource, "name"),
            path: None,
        },
        (false, true) => Attributes {
            verb: own(path, "verb"),
            path: Some(own(path, "path")),
            ..Attributes::default()
        },
        (true, true) => {
            let why = "cannot be specified in combination with resourceAttributes";
            return Err(invalid(
                "spec.nonResourceAttributes",
                &as_go_writes(path),
                why,
            ));
        }
        (false, false) => return Err(invalid("spec.resourceAttributes", &Value::Null, ONE_OF)),
    };
    let decision = authorizer.authorize(user, &attributes);
    let mut status = json!({ "allowed": decision.allowed() });
    let (Decision::Allow(reason) | Decision::Deny(reason)) = decision;
    if !reason.is_empty() {
        status["reason"] = json!(reason);
    }
    Ok(status)
}

/// The validation error of a review; Kubernetes names no kind in it.
fn invalid(field: &str, value: &Value, why: &str) -> ApiError {
    ApiError::invalid(GROUP, "", "", &[FieldError::invalid(field, value, why)])
}

/// Path attributes as they stand in the messages of a real server.
fn as_go_writes(path: &Value) -> Value {
    json!({"Path": text(path, "path"), "Verb": text(path, "verb")})
}

/// The user that a review names. No group is implied: real servers take the list as it stands,
/// so `system:authenticated` counts only where it is listed.
fn user_of(spec: &Value) -> User {
    let strings = |value: &Value| -> Vec<String> {
        value
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    };
    User {
        name: text(spec, "user").to_owned(),
        uid: spec["uid"].as_str().map(str::to_owned),
        groups: strings(&spec["groups"]),
        extra: spec["extra"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, values)| (key.to_lowercase(), strings(values)))
            .collect(),
    }
}

/// The `UserInfo` of a user, empty fields left out.
fn user_info(user: &User) -> Value {
    let mut info = json!({ "username": user.name });
    if let Some(uid) = &user.uid {
        info["uid"] = json!(uid);
    }
    if !user.groups.is_empty() {
        info["groups"] = json!(user.groups);
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    info
}

fn own(object: &Value, field: &str) -> String {
    text(object, field).to_owned()
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::defaults;

    fn rbac() -> Index {
        let mut objects = defaults::objects();
        objects.push(json!({"kind": "RoleBinding", "metadata": {"name": "viewers", "namespace": "apps"},
            "roleRef": {"kind": "ClusterRole", "name": "view"}, "subjects": [{"kind": "User", "name": "vera"}]}));
        Index::build(&objects, None)
    }

    fn review(verb: &str, group: &str, resource: &str, namespace: &str) -> Value {
        json!({"kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes":
            {"verb": verb, "group": group, "resource": resource, "namespace": namespace}}})
    }

    #[test]
    fn a_viewer_reads_and_nothing_else() {
        let vera = User {
            name: "vera".into(),
            ..User::default()
        };
        let allowed = |verb, group, resource, namespace| {
            let answer =
                self_subject_access(&rbac(), &vera, review(verb, group, resource, namespace))
                    .unwrap();
            answer["status"]["allowed"].as_bool().unwrap()
        };
        assert!(allowed("list", "apps", "deployments", "apps"));
        assert!(!allowed("list", "apps", "deployments", "other"));
        assert!(!allowed("delete", "apps", "deployments", "apps"));
        assert!(!allowed("get", "", "secrets", "apps"));
    }

    #[test]
    fn an_administrator_may_do_everything() {
        let admin = User::admin();
        let answer = self_subject_access(&rbac(), &admin, review("*", "*", "*", "")).unwrap();
        assert_eq!(answer["status"], json!({"allowed": true}));
        let rules =
            self_subject_rules(&rbac(), &admin, json!({"spec": {"namespace": "default"}})).unwrap();
        assert_eq!(
            rules["status"]["resourceRules"][0],
            json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]})
        );
        assert_eq!(rules["status"]["incomplete"], false);
    }

    #[test]
    fn a_review_needs_one_question() {
        let error =
            self_subject_access(&rbac(), &User::anonymous(), json!({"spec": {}})).unwrap_err();
        assert_eq!(
            error.message,
            format!(
                ".authorization.k8s.io \"\" is invalid: spec.resourceAttributes: Invalid value: null: {ONE_OF}"
            )
        );
    }

    #[test]
    fn a_local_review_stays_in_its_namespace() {
        let mut asked = review("list", "", "pods", "apps");
        asked["spec"]["user"] = json!("vera");
        let answer = subject_access(&rbac(), Some("apps"), asked.clone()).unwrap();
        assert_eq!(
            answer["status"]["reason"],
            "RBAC: allowed by RoleBinding \"viewers/apps\" of ClusterRole \"view\" to User \"vera\""
        );
        assert!(subject_access(&rbac(), Some("other"), asked).is_err());
    }

    #[test]
    fn tokens_are_reviewed_by_the_authenticator() {
        let bot = || User {
            name: "system:serviceaccount:apps:bot".into(),
            ..User::default()
        };
        let asked = || json!({"kind": "TokenReview", "spec": {"token": "t"}});
        let known = token(asked(), |presented| (presented == "t").then(bot)).unwrap();
        assert_eq!(
            known["status"]["user"]["username"],
            "system:serviceaccount:apps:bot"
        );
        assert_eq!(
            token(asked(), |_| None).unwrap()["status"]["error"],
            "invalid bearer token"
        );
    }
}
