//! Request bodies in Kubernetes' protobuf encoding, for the objects that `kubectl auth …` and `kubectl create …`
//! post so. Everything else that clients send is JSON, and so are all answers.
//!
//! The field numbers are those of the `generated.proto` files of `k8s.io/api` and `k8s.io/apimachinery`. A field that
//! the table below does not know is an error, never dropped.

use std::collections::HashMap;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::writer::api_time;

const MAGIC: &[u8] = b"k8s\0";
/// Nesting that no object of the table reaches.
const MAX_DEPTH: usize = 32;

/// One message a line: `Name number=field:type …`. Types: `s` string, `i` integer, `b` boolean, `y` bytes, `n`
/// int-or-string, `q` quantity, `t` time, `-` left out (status), else a message. `?` after a type: a pointer, whose zero
/// says something; `[]` a list; `{}` a map from strings.
const MESSAGES: &str = "
Namespace 1=metadata:Meta 2=spec:NamespaceSpec 3=status:-
NamespaceSpec 1=finalizers:s[]
ConfigMap 1=metadata:Meta 2=data:s{} 3=binaryData:y{} 4=immutable:b?
Secret 1=metadata:Meta 2=data:y{} 3=type:s 4=stringData:s{} 5=immutable:b?
ServiceAccount 1=metadata:Meta 3=imagePullSecrets:Named[] 4=automountServiceAccountToken:b?
Named 1=name:s
Role 1=metadata:Meta 2=rules:Rule[]
ClusterRole 1=metadata:Meta 2=rules:Rule[] 3=aggregationRule:Aggregation
Aggregation 1=clusterRoleSelectors:Selector[]
Rule 1=verbs:s[] 2=apiGroups:s[] 3=resources:s[] 4=resourceNames:s[] 5=nonResourceURLs:s[]
RoleBinding 1=metadata:Meta 2=subjects:Subject[] 3=roleRef:RoleRef
ClusterRoleBinding 1=metadata:Meta 2=subjects:Subject[] 3=roleRef:RoleRef
Subject 1=kind:s 2=apiGroup:s 3=name:s 4=namespace:s
RoleRef 1=apiGroup:s 2=kind:s 3=name:s
SelfSubjectAccessReview 1=metadata:Meta 2=spec:Access 3=status:-
SubjectAccessReview 1=metadata:Meta 2=spec:Access 3=status:-
LocalSubjectAccessReview 1=metadata:Meta 2=spec:Access 3=status:-
Access 1=resourceAttributes:ResourceAttributes 2=nonResourceAttributes:PathAttributes 3=user:s 4=groups:s[] 5=extra:Extra{} 6=uid:s
ResourceAttributes 1=namespace:s 2=verb:s 3=group:s 4=version:s 5=resource:s 6=subresource:s 7=name:s
PathAttributes 1=path:s 2=verb:s
SelfSubjectRulesReview 1=metadata:Meta 2=spec:RulesSpec 3=status:-
RulesSpec 1=namespace:s
SelfSubjectReview 1=metadata:Meta 2=status:-
TokenReview 1=metadata:Meta 2=spec:TokenReviewSpec 3=status:-
TokenReviewSpec 1=token:s 2=audiences:s[]
TokenRequest 1=metadata:Meta 2=spec:TokenRequestSpec 3=status:-
TokenRequestSpec 1=audiences:s[] 3=boundObjectRef:BoundObject 4=expirationSeconds:i?
BoundObject 1=kind:s 2=apiVersion:s 3=name:s 4=uid:s
Deployment 1=metadata:Meta 2=spec:DeploymentSpec 3=status:-
DeploymentSpec 1=replicas:i? 2=selector:Selector 3=template:PodTemplate 4=strategy:Strategy 5=minReadySeconds:i 6=revisionHistoryLimit:i? 7=paused:b 9=progressDeadlineSeconds:i?
Strategy 1=type:s 2=rollingUpdate:Rolling
Rolling 1=maxUnavailable:n 2=maxSurge:n
PodTemplate 1=metadata:Meta 2=spec:PodSpec
PodSpec 2=containers:Container[] 3=restartPolicy:s 4=terminationGracePeriodSeconds:i? 6=dnsPolicy:s 7=nodeSelector:s{} 8=serviceAccountName:s 9=serviceAccount:s 10=nodeName:s 11=hostNetwork:b 12=hostPID:b 13=hostIPC:b 15=imagePullSecrets:Named[] 16=hostname:s 17=subdomain:s 19=schedulerName:s 20=initContainers:Container[] 21=automountServiceAccountToken:b? 24=priorityClassName:s
Container 1=name:s 2=image:s 3=command:s[] 4=args:s[] 5=workingDir:s 6=ports:ContainerPort[] 7=env:Env[] 8=resources:Resources 13=terminationMessagePath:s 14=imagePullPolicy:s 16=stdin:b 17=stdinOnce:b 18=tty:b 20=terminationMessagePolicy:s
ContainerPort 1=name:s 2=hostPort:i 3=containerPort:i 4=protocol:s 5=hostIP:s
Env 1=name:s 2=value:s
Resources 1=limits:q{} 2=requests:q{}
Job 1=metadata:Meta 2=spec:JobSpec 3=status:-
JobSpec 1=parallelism:i? 2=completions:i? 3=activeDeadlineSeconds:i? 4=selector:Selector 5=manualSelector:b? 6=template:PodTemplate 7=backoffLimit:i? 8=ttlSecondsAfterFinished:i? 9=completionMode:s 10=suspend:b?
CronJob 1=metadata:Meta 2=spec:CronJobSpec 3=status:-
CronJobSpec 1=schedule:s 2=startingDeadlineSeconds:i? 3=concurrencyPolicy:s 4=suspend:b? 5=jobTemplate:JobTemplate 6=successfulJobsHistoryLimit:i? 7=failedJobsHistoryLimit:i? 8=timeZone:s
JobTemplate 1=metadata:Meta 2=spec:JobSpec
Service 1=metadata:Meta 2=spec:ServiceSpec 3=status:-
ServiceSpec 1=ports:ServicePort[] 2=selector:s{} 3=clusterIP:s 4=type:s 5=externalIPs:s[] 7=sessionAffinity:s 8=loadBalancerIP:s 9=loadBalancerSourceRanges:s[] 10=externalName:s 11=externalTrafficPolicy:s 12=healthCheckNodePort:i 13=publishNotReadyAddresses:b 17=ipFamilyPolicy:s 18=clusterIPs:s[] 19=ipFamilies:s[] 20=allocateLoadBalancerNodePorts:b? 21=loadBalancerClass:s 22=internalTrafficPolicy:s
ServicePort 1=name:s 2=protocol:s 3=port:i 4=targetPort:n 5=nodePort:i 6=appProtocol:s
Ingress 1=metadata:Meta 2=spec:IngressSpec 3=status:-
IngressSpec 1=defaultBackend:Backend 2=tls:IngressTLS[] 3=rules:IngressRule[] 4=ingressClassName:s
Backend 4=service:ServiceBackend
ServiceBackend 1=name:s 2=port:BackendPort
BackendPort 1=name:s 2=number:i
IngressTLS 1=hosts:s[] 2=secretName:s
IngressRule 1=host:s 2=^:RuleValue
RuleValue 1=http:RuleHttp
RuleHttp 1=paths:IngressPath[]
IngressPath 1=path:s 2=backend:Backend 3=pathType:s
PodDisruptionBudget 1=metadata:Meta 2=spec:BudgetSpec 3=status:-
BudgetSpec 1=minAvailable:n 2=selector:Selector 3=maxUnavailable:n 4=unhealthyPodEvictionPolicy:s
ResourceQuota 1=metadata:Meta 2=spec:QuotaSpec 3=status:-
QuotaSpec 1=hard:q{} 2=scopes:s[]
PriorityClass 1=metadata:Meta 2=value:i? 3=globalDefault:b 4=description:s 5=preemptionPolicy:s
Eviction 1=metadata:Meta 2=deleteOptions:DeleteOptions
DeleteOptions 1=gracePeriodSeconds:i? 2=preconditions:Preconditions 3=orphanDependents:b? 4=propagationPolicy:s 5=dryRun:s[]
Preconditions 1=uid:s 2=resourceVersion:s
Meta 1=name:s 2=generateName:s 3=namespace:s 4=selfLink:s 5=uid:s 6=resourceVersion:s 7=generation:i 8=creationTimestamp:t 9=deletionTimestamp:t 10=deletionGracePeriodSeconds:i? 11=labels:s{} 12=annotations:s{} 13=ownerReferences:Owner[] 14=finalizers:s[]
Owner 1=kind:s 3=name:s 4=uid:s 5=apiVersion:s 6=controller:b? 7=blockOwnerDeletion:b?
Selector 1=matchLabels:s{} 2=matchExpressions:Requirement[]
Requirement 1=key:s 2=operator:s 3=values:s[]
";

struct Field {
    name: &'static str,
    kind: &'static str,
    pointer: bool,
    list: bool,
    map: bool,
}

type Message = HashMap<u64, Field>;

static TABLE: LazyLock<HashMap<&'static str, Message>> = LazyLock::new(|| {
    MESSAGES
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(message, fields)| (message, fields.split(' ').filter_map(field).collect()))
        .collect()
});

fn field(text: &'static str) -> Option<(u64, Field)> {
    let (number, rest) = text.split_once('=')?;
    let (name, kind) = rest.split_once(':')?;
    let (kind, list) = kind.strip_suffix("[]").map_or((kind, false), |kind| (kind, true));
    let (kind, map) = kind.strip_suffix("{}").map_or((kind, false), |kind| (kind, true));
    let (kind, pointer) = kind.strip_suffix('?').map_or((kind, false), |kind| (kind, true));
    Some((number.parse().ok()?, Field { name, kind, pointer, list, map }))
}

/// Reads a request body. The error says what is wrong or not known here.
pub fn decode(body: &[u8]) -> Result<Value, String> {
    let body = body.strip_prefix(MAGIC).ok_or("the body is not in the protobuf encoding of Kubernetes")?;
    let (mut kind, mut version, mut raw) = (String::new(), String::new(), &[][..]);
    for part in parts(body) {
        match part? {
            (1, Part::Bytes(header)) => {
                for part in parts(header) {
                    match part? {
                        (1, Part::Bytes(text)) => version = string(text)?,
                        (2, Part::Bytes(text)) => kind = string(text)?,
                        _ => {}
                    }
                }
            }
            (2, Part::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let stable = version.rsplit('/').next() == Some("v1");
    if !stable || !TABLE.contains_key(kind.as_str()) {
        return Err(format!("{kind} of {version} is not known in the protobuf encoding; send JSON"));
    }
    let mut object = message(&kind, raw, 0)?;
    object.insert("apiVersion".to_owned(), json!(version));
    object.insert("kind".to_owned(), json!(kind));
    Ok(Value::Object(object))
}

fn message(kind: &str, bytes: &[u8], depth: usize) -> Result<Map<String, Value>, String> {
    if depth > MAX_DEPTH {
        return Err("the body is nested too deeply".to_owned());
    }
    let fields = TABLE.get(kind).ok_or_else(|| format!("no message {kind}"))?;
    let mut object = Map::new();
    for part in parts(bytes) {
        let (number, part) = part?;
        let field = fields
            .get(&number)
            .ok_or_else(|| format!("field {number} of {kind} is not known in the protobuf encoding; send JSON"))?;
        if field.kind == "-" {
            continue;
        }
        if field.map {
            let (key, value) = entry(field, part, depth)?;
            let map = object.entry(field.name).or_insert_with(|| json!({}));
            if let Some(map) = map.as_object_mut() {
                map.insert(key, value);
            }
            continue;
        }
        let value = value(field.kind, part, depth)?;
        if field.name == "^" {
            if let Value::Object(inner) = value {
                object.extend(inner);
            }
        } else if field.list {
            let list = object.entry(field.name).or_insert_with(|| json!([]));
            if let Some(list) = list.as_array_mut() {
                list.push(value);
            }
        } else if field.pointer || !is_zero(&value) {
            object.insert(field.name.to_owned(), value);
        }
    }
    Ok(object)
}

/// What Go's JSON leaves out although the protobuf encoding has it.
fn is_zero(value: &Value) -> bool {
    *value == json!("") || *value == json!(0) || *value == json!(false) || value.is_null()
}

fn entry(field: &Field, part: Part<'_>, depth: usize) -> Result<(String, Value), String> {
    let mut key = String::new();
    let mut found = None;
    for inner in parts(part.bytes()?) {
        match inner? {
            (1, Part::Bytes(text)) => key = string(text)?,
            (2, part) => found = Some(value(field.kind, part, depth)?),
            _ => {}
        }
    }
    let empty = || if field.kind == "s" || field.kind == "y" { json!("") } else { Value::Null };
    Ok((key, found.unwrap_or_else(empty)))
}

fn value(kind: &str, part: Part<'_>, depth: usize) -> Result<Value, String> {
    Ok(match kind {
        "s" => json!(string(part.bytes()?)?),
        "y" => json!(STANDARD.encode(part.bytes()?)),
        "i" => json!(part.number()?.cast_signed()),
        "b" => json!(part.number()? != 0),
        "q" => match parts(part.bytes()?).next() {
            Some(inner) => json!(string(inner?.1.bytes()?)?),
            None => json!("0"),
        },
        "n" => {
            let (mut is_text, mut number, mut text) = (false, 0, String::new());
            for inner in parts(part.bytes()?) {
                match inner? {
                    (1, part) => is_text = part.number()? == 1,
                    (2, part) => number = part.number()?.cast_signed(),
                    (3, part) => text = string(part.bytes()?)?,
                    _ => {}
                }
            }
            if is_text { json!(text) } else { json!(number) }
        }
        "t" => {
            let mut seconds = None;
            for inner in parts(part.bytes()?) {
                if let (1, part) = inner? {
                    seconds = Some(part.number()?.cast_signed());
                }
            }
            let time = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
            time.map_or(Value::Null, |time| json!(api_time(time)))
        }
        // The values of `extra` are messages of one repeated string.
        "Extra" => {
            let texts: Result<Vec<String>, String> =
                parts(part.bytes()?).map(|inner| string(inner?.1.bytes()?)).collect();
            json!(texts?)
        }
        other => Value::Object(message(other, part.bytes()?, depth + 1)?),
    })
}

fn string(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| "a text is not UTF-8".to_owned())
}

/// A value as it is on the wire.
#[derive(Clone, Copy)]
enum Part<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Part<'a> {
    fn bytes(self) -> Result<&'a [u8], String> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Number(_) => Err("a field has the wrong wire type".to_owned()),
        }
    }

    fn number(self) -> Result<u64, String> {
        match self {
            Self::Number(number) => Ok(number),
            Self::Bytes(_) => Err("a field has the wrong wire type".to_owned()),
        }
    }
}

/// The fields of a message, by number; ends after the first error.
fn parts<'a>(mut bytes: &'a [u8]) -> impl Iterator<Item = Result<(u64, Part<'a>), String>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let part = next(&mut bytes);
        if part.is_err() {
            bytes = &[];
        }
        Some(part)
    })
}

fn next<'a>(bytes: &mut &'a [u8]) -> Result<(u64, Part<'a>), String> {
    let tag = varint(bytes)?;
    let part = match tag & 7 {
        0 => Part::Number(varint(bytes)?),
        1 => Part::Bytes(take(bytes, 8)?),
        2 => {
            let length = usize::try_from(varint(bytes)?).map_err(|_| cut())?;
            Part::Bytes(take(bytes, length)?)
        }
        5 => Part::Bytes(take(bytes, 4)?),
        other => return Err(format!("wire type {other} is not known")),
    };
    Ok((tag >> 3, part))
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], String> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or_else(cut)?;
    *bytes = rest;
    Ok(taken)
}

fn varint(bytes: &mut &[u8]) -> Result<u64, String> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or_else(cut)?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err("a number is too long".to_owned())
}

fn cut() -> String {
    "the body is cut off".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
        out.extend(bytes);
        out
    }

    fn body(version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let header = [field(1, version.as_bytes()), field(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), field(1, &header), field(2, raw)].concat()
    }

    #[test]
    fn a_review_is_read() {
        let attributes =
            [field(1, b""), field(2, b"get"), field(3, b""), field(5, b"pods")].concat();
        let raw = [field(1, b""), field(2, &field(1, &attributes)), field(3, b"\x08\x00")].concat();
        let review = decode(&body("authorization.k8s.io/v1", "SelfSubjectAccessReview", &raw)).unwrap();
        assert_eq!(
            review,
            json!({
                "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "metadata": {},
                "spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}},
            })
        );
    }

    #[test]
    fn pointers_keep_their_zeros_and_maps_their_entries() {
        let label = [field(1, b"app"), field(2, b"web")].concat();
        let spec = [vec![1 << 3, 0], field(2, &field(1, &label)), vec![5 << 3, 0]].concat();
        let raw = field(2, &spec);
        let deployment = decode(&body("apps/v1", "Deployment", &raw)).unwrap();
        assert_eq!(deployment["spec"], json!({"replicas": 0, "selector": {"matchLabels": {"app": "web"}}}));
    }

    #[test]
    fn what_is_not_known_is_said() {
        assert!(decode(b"{}").unwrap_err().contains("not in the protobuf encoding"));
        let error = decode(&body("apps/v1", "StatefulSet", b"")).unwrap_err();
        assert_eq!(error, "StatefulSet of apps/v1 is not known in the protobuf encoding; send JSON");
        let error = decode(&body("v1", "Namespace", &field(9, b""))).unwrap_err();
        assert_eq!(error, "field 9 of Namespace is not known in the protobuf encoding; send JSON");
        let mut torn = body("v1", "Namespace", &field(1, &field(1, b"name")));
        torn.pop();
        assert_eq!(decode(&torn).unwrap_err(), "the body is cut off");
    }

    #[test]
    fn every_message_of_the_table_is_there() {
        for (name, fields) in TABLE.iter() {
            for field in fields.values() {
                let simple = ["s", "i", "b", "y", "n", "q", "t", "-", "Extra"].contains(&field.kind);
                assert!(simple || TABLE.contains_key(field.kind), "{name}.{}: {}", field.name, field.kind);
            }
        }
    }
}
