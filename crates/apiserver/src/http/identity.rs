//! Who sends a request: bearer tokens and impersonation headers.

use std::collections::BTreeMap;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use http::{HeaderMap, header};
use jiff::Timestamp;

use super::denied;
use super::query::decode;
use crate::auth::{AUTHENTICATED, Attributes, Authorizer, Decision, UNAUTHENTICATED, User};
use crate::authz;
use crate::cluster::Cluster;
use crate::status::ApiError;

const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

pub(super) fn authenticate(cluster: &Cluster, headers: &HeaderMap) -> Result<User, ApiError> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Ok(User::anonymous());
    };
    // Other ways to say who one is are not spoken: as good as silence.
    let Some(token) = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
    else {
        return Ok(User::anonymous());
    };
    if verify_slices_are_equal(token.as_bytes(), cluster.admin_token.as_bytes()).is_ok() {
        return Ok(User::admin());
    }
    let claims = cluster
        .tokens
        .verify(token, Timestamp::now())
        .map_err(|_| ApiError::unauthorized())?;
    authz::identify(&cluster.writer, &claims).ok_or_else(ApiError::unauthorized)
}

/// Says what was asked for, as Go prints it.
fn nameless(
    uid: Option<&str>,
    groups: &[String],
    extra: &BTreeMap<String, Vec<String>>,
) -> ApiError {
    let list = |values: &[String]| {
        let quoted: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
        format!("[]string{{{}}}", quoted.join(", "))
    };
    let groups = if groups.is_empty() {
        "[]string(nil)".to_owned()
    } else {
        list(groups)
    };
    let extra = if extra.is_empty() {
        "map[string][]string(nil)".to_owned()
    } else {
        let pairs: Vec<String> = extra
            .iter()
            .map(|(key, values)| format!("{key:?}:{}", list(values)))
            .collect();
        format!("map[string][]string{{{}}}", pairs.join(", "))
    };
    ApiError::bad_request(format!(
        "requested &user.DefaultInfo{{Name:\"\", UID:{:?}, Groups:{groups}, Extra:{extra}}} without impersonating a user name",
        uid.unwrap_or_default()
    ))
}

/// Applies the `Impersonate-*` headers, each of which the user must be allowed to use.
pub(super) fn impersonate(
    cluster: &Cluster,
    user: User,
    headers: &HeaderMap,
) -> Result<User, ApiError> {
    let all = |name: &str| -> Vec<String> {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .map(str::to_owned)
            .collect()
    };
    let name = all("impersonate-user").into_iter().next();
    let groups = all("impersonate-group");
    let uid = all("impersonate-uid").into_iter().next();
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (header, value) in headers {
        if let Some(key) = header.as_str().strip_prefix("impersonate-extra-")
            && let Ok(value) = value.to_str()
        {
            extra
                .entry(decode(key, false))
                .or_default()
                .push(value.to_owned());
        }
    }
    let Some(name) = name else {
        if groups.is_empty() && uid.is_none() && extra.is_empty() {
            return Ok(user);
        }
        return Err(nameless(uid.as_deref(), &groups, &extra));
    };
    let allowed = |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| {
        let attributes = Attributes {
            verb: "impersonate".into(),
            group: group.into(),
            version: "v1".into(),
            resource: resource.into(),
            subresource: subresource.into(),
            namespace: namespace.into(),
            name: name.into(),
            path: None,
        };
        match cluster.authorizer.authorize(&user, &attributes) {
            Decision::Allow(_) => Ok(()),
            Decision::Deny(why) => Err(denied(&user, &attributes, &why)),
        }
    };
    let account = name
        .strip_prefix(SERVICE_ACCOUNT)
        .and_then(|rest| rest.split_once(':'));
    match account {
        Some((namespace, account)) => allowed("", "serviceaccounts", "", namespace, account)?,
        None => allowed("", "users", "", "", &name)?,
    }
    for group in &groups {
        allowed("", "groups", "", "", group)?;
    }
    if let Some(uid) = &uid {
        allowed("authentication.k8s.io", "uids", "", "", uid)?;
    }
    for (key, values) in &extra {
        for value in values {
            allowed("authentication.k8s.io", "userextras", key, "", value)?;
        }
    }
    let mut groups = groups;
    if let Some((namespace, _)) = account
        && groups.is_empty()
    {
        groups = vec![
            "system:serviceaccounts".into(),
            format!("system:serviceaccounts:{namespace}"),
        ];
    }
    let anonymous = name == crate::auth::ANONYMOUS;
    let proof = if anonymous {
        UNAUTHENTICATED
    } else {
        AUTHENTICATED
    };
    if !groups.iter().any(|g| g == proof || g == UNAUTHENTICATED) {
        groups.push(proof.into());
    }
    Ok(User {
        name,
        uid,
        groups,
        extra,
    })
}
