//! Service accounts: the `default` one and the cluster's certificate in each namespace, and tokens in Secrets.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::cache::Key;
use super::object::{annotation, is_deleting, map_at, name, namespace, set_annotation, uid};
use super::plan::Plan;
use super::resource::{CONFIG_MAPS, SECRETS, SERVICE_ACCOUNTS};
use super::world::World;
use crate::auth::{TokenIssuer, TokenRequest};

const ROOT_CA: &str = "kube-root-ca.crt";
const TOKEN_TYPE: &str = "kubernetes.io/service-account-token";
const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";

/// Looks at one namespace: what does it lack?
pub(crate) fn step(world: &World<'_>, key: &Key, authority: &str) -> Plan {
    let mut plan = Plan::default();
    let Some(home) = world.cache.get(key).filter(|home| !is_deleting(home)) else {
        return plan;
    };
    let home = name(home);
    if world
        .cache
        .find(&SERVICE_ACCOUNTS, home, "default")
        .is_none()
    {
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": home},
        });
        plan.create(&SERVICE_ACCOUNTS, account);
    }
    if world.cache.find(&CONFIG_MAPS, home, ROOT_CA).is_none() {
        let certificate = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": ROOT_CA, "namespace": home,
                "annotations": {"kubernetes.io/description": "Contains a CA bundle that can be used to verify the \
                    kube-apiserver when using internal endpoints such as the internal service IP or \
                    kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters."},
            },
            "data": {"ca.crt": authority},
        });
        plan.create(&CONFIG_MAPS, certificate);
    }
    plan
}

/// Whether a Secret is to hold the token of a service account.
pub(crate) fn is_token(secret: &Value) -> bool {
    secret["type"] == TOKEN_TYPE
}

/// Looks at one Secret for a token: fills it, or deletes it with its account.
pub(crate) fn token_step(
    world: &World<'_>,
    key: &Key,
    tokens: &TokenIssuer,
    authority: &str,
) -> Plan {
    let mut plan = Plan::default();
    let Some(secret) = world
        .cache
        .get(key)
        .filter(|secret| is_token(secret) && !is_deleting(secret))
    else {
        return plan;
    };
    let Some(account_name) = annotation(secret, ACCOUNT_NAME) else {
        return plan;
    };
    let Some(account) = world
        .cache
        .find(&SERVICE_ACCOUNTS, namespace(secret), account_name)
    else {
        // Only a Secret that was filled is known to have lost its account; another may come before it does.
        if annotation(secret, ACCOUNT_UID).is_some() {
            plan.delete(&SECRETS, secret, None);
        }
        return plan;
    };
    if let Some(known) = annotation(secret, ACCOUNT_UID)
        && known != uid(account)
    {
        plan.delete(&SECRETS, secret, None);
        return plan;
    }
    let filled = ["token", "ca.crt", "namespace"]
        .iter()
        .all(|field| secret["data"][field].is_string());
    if filled && annotation(secret, ACCOUNT_UID).is_some() {
        return plan;
    }
    let request = TokenRequest {
        namespace: namespace(secret).to_owned(),
        name: account_name.to_owned(),
        uid: uid(account).to_owned(),
        secret: Some(name(secret).to_owned()),
        ..TokenRequest::default()
    };
    let token = tokens.issue(&request, world.now);
    let mut secret = (**secret).clone();
    set_annotation(&mut secret, ACCOUNT_UID, uid(account));
    let home = namespace(&secret).to_owned();
    let data = map_at(&mut secret, "data");
    for (field, text) in [
        ("token", token.as_str()),
        ("ca.crt", authority),
        ("namespace", home.as_str()),
    ] {
        data.insert(field.to_owned(), json!(STANDARD.encode(text)));
    }
    plan.replace(&SECRETS, secret);
    plan
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::*;
    use crate::controllers::rig::Rig;

    #[test]
    fn what_a_namespace_lacks_comes_back() {
        let mut rig = Rig::new(SignedDuration::ZERO);
        assert_eq!(
            rig.content("default"),
            ["configmaps/kube-root-ca.crt", "serviceaccounts/default"]
        );
        rig.delete(&Key::new(&SERVICE_ACCOUNTS, "default", "default"), None);
        rig.run();
        assert_eq!(rig.names(&SERVICE_ACCOUNTS), ["default"]);
    }

    #[test]
    fn token_secrets_are_filled_and_end_with_their_account() {
        let mut rig = Rig::new(SignedDuration::ZERO);
        let secret = rig.create(
            &SECRETS,
            json!({
                "kind": "Secret", "type": TOKEN_TYPE,
                "metadata": {"name": "bot-token", "annotations": {ACCOUNT_NAME: "bot"}},
            }),
        );
        rig.run();
        assert_eq!(
            rig.get(&secret)["data"],
            Value::Null,
            "the account may come later"
        );
        let account = rig.create(
            &SERVICE_ACCOUNTS,
            json!({"kind": "ServiceAccount", "metadata": {"name": "bot"}}),
        );
        rig.run();
        let token = STANDARD
            .decode(rig.get(&secret)["data"]["token"].as_str().unwrap())
            .unwrap();
        let claims = TokenIssuer::new(b"key")
            .verify(std::str::from_utf8(&token).unwrap(), Timestamp::now())
            .unwrap();
        assert_eq!(
            (claims.name.as_str(), claims.secret.as_deref()),
            ("bot", Some("bot-token"))
        );
        rig.delete(&account, None);
        rig.run();
        assert!(rig.cache.get(&secret).is_none());
    }
}
