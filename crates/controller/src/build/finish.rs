//! What happens to built objects before they are applied: substitution, common metadata, and the digest of the result.

use std::collections::BTreeMap;

use fairway_types::kustomization::{CommonMetadata, SubstituteStrategy};
use fairway_types::{ObjectId, names};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::substitute;

/// The variables of `postBuild`, resolved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variables {
    /// Name and value, line breaks taken out.
    pub values: BTreeMap<String, String>,
    /// When to substitute.
    pub strategy: SubstituteStrategy,
    /// Whether a variable without value and without default is an error.
    pub strict: bool,
    /// Values that came from Secrets, the longest first: they are masked where a message might quote them.
    pub secrets: Vec<String>,
}

impl Variables {
    /// Values as Flux reads them: without line breaks.
    pub fn set(&mut self, name: impl Into<String>, value: &str) {
        self.values.insert(name.into(), value.replace('\n', ""));
    }

    /// A value that came from a Secret.
    pub fn set_secret(&mut self, name: impl Into<String>, value: &str) {
        self.set(name, value);
        let value = value.replace('\n', "");
        if !value.is_empty() && !self.secrets.contains(&value) {
            self.secrets.push(value);
            self.secrets
                .sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        }
    }

    fn digest(&self, hasher: &mut Sha256) {
        hasher.update([
            u8::from(self.strict),
            u8::from(self.strategy == SubstituteStrategy::Always),
        ]);
        for (name, value) in &self.values {
            for text in [name, value] {
                hasher.update((text.len() as u64).to_le_bytes());
                hasher.update(text);
            }
        }
    }
}

/// What is to be done after the build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Finish {
    /// Substitution, where `postBuild` is set.
    pub variables: Option<Variables>,
    /// `spec.commonMetadata`.
    pub common: Option<CommonMetadata>,
}

impl Finish {
    /// Changes whenever the result may. Holds no value in clear.
    pub fn key(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        match &self.variables {
            None => hasher.update([0]),
            Some(variables) => {
                hasher.update([1]);
                variables.digest(&mut hasher);
            }
        }
        if let Some(common) = &self.common {
            hasher.update(serde_json::to_vec(common).unwrap_or_default());
        }
        hasher.finalize().into()
    }
}

/// The objects that a cluster shall have.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// In the order of the build.
    pub objects: Vec<Value>,
    /// `sha256:<hex>` over the objects.
    pub digest: String,
}

impl Rendered {
    /// About how much memory the objects take.
    pub fn weight(&self) -> usize {
        self.objects.iter().map(weight).sum::<usize>() + 64
    }
}

pub(crate) fn weight(value: &Value) -> usize {
    match value {
        Value::String(text) => 32 + text.len(),
        Value::Array(items) => 32 + items.iter().map(weight).sum::<usize>(),
        Value::Object(map) => {
            48 + map
                .iter()
                .map(|(key, item)| 56 + key.len() + weight(item))
                .sum::<usize>()
        }
        _ => 32,
    }
}

/// Why the built objects cannot be applied. None holds a value of a Secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not an object of the Kubernetes API.
    #[error("failed to decode Kubernetes apiVersion, kind and name from object {0} of the build")]
    NoIdentity(usize),
    /// A name that no expression could refer to.
    #[error("'{0}' var name is invalid, must match '^[_[:alpha:]][_[:alpha:][:digit:]]*$'")]
    InvalidName(String),
    /// An expression in an object.
    #[error("post build failed for '{object}': {source}")]
    Substitute {
        /// `Kind/namespace/name`.
        object: String,
        /// What is wrong.
        source: substitute::Error,
    },
    /// The text after the substitution is no YAML object any more. What it says is not repeated, it may be secret.
    #[error("post build failed for '{object}': the values make it invalid YAML at line {line}")]
    NotYaml {
        /// `Kind/namespace/name`.
        object: String,
        /// Line in the object's YAML.
        line: usize,
    },
}

/// Substitutes, adds the common metadata and computes the digest.
pub fn finish(objects: impl IntoIterator<Item = Value>, how: &Finish) -> Result<Rendered, Error> {
    if let Some(variables) = &how.variables
        && let Some(name) = variables.values.keys().find(|name| !is_name(name))
    {
        return Err(Error::InvalidName(name.clone()));
    }
    let mut out = Vec::new();
    let mut hasher = Sha256::new();
    for (index, object) in objects.into_iter().enumerate() {
        let subject = ObjectId::of(&object)
            .ok_or(Error::NoIdentity(index))?
            .subject();
        let mut object = match &how.variables {
            Some(variables) => substitute_object(object, &subject, variables)?,
            None => object,
        };
        if let Some(common) = &how.common {
            add_metadata(&mut object, "labels", &common.labels);
            add_metadata(&mut object, "annotations", &common.annotations);
        }
        hasher.update(serde_json::to_vec(&object).unwrap_or_default());
        hasher.update(b"\n");
        out.push(object);
    }
    Ok(Rendered {
        objects: out,
        digest: format!("sha256:{}", hex(&hasher.finalize())),
    })
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('0');
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars
        .next()
        .is_some_and(|c| c == '_' || c.is_ascii_alphabetic())
        && chars.all(|c| c == '_' || c.is_ascii_alphanumeric())
}

fn substitute_object(object: Value, subject: &str, variables: &Variables) -> Result<Value, Error> {
    let nothing_to_do =
        variables.values.is_empty() && variables.strategy == SubstituteStrategy::WithVariables;
    let metadata = &object["metadata"];
    let disabled = ["labels", "annotations"]
        .iter()
        .any(|part| metadata[part][names::SUBSTITUTE] == names::DISABLED);
    if nothing_to_do || disabled {
        return Ok(object);
    }
    let text = fairway_yaml::emit::to_string(&object);
    if !text.contains('$') {
        return Ok(object);
    }
    let lookup = |name: &str| variables.values.get(name).map(String::as_str);
    let replaced = substitute::substitute(&text, &lookup, variables.strict).map_err(|source| {
        Error::Substitute {
            object: subject.to_owned(),
            source,
        }
    })?;
    if replaced == text {
        return Ok(object);
    }
    let invalid = |line: usize| Error::NotYaml {
        object: subject.to_owned(),
        line,
    };
    let documents = fairway_yaml::parse(&replaced).map_err(|error| invalid(error.line))?;
    let [document] = documents.as_slice() else {
        return Err(invalid(1));
    };
    let object = document
        .root
        .to_json()
        .map_err(|error| invalid(error.line))?;
    if ObjectId::of(&object).is_none() {
        return Err(invalid(1));
    }
    Ok(object)
}

fn add_metadata(object: &mut Value, field: &str, values: &BTreeMap<String, String>) {
    if values.is_empty() {
        return;
    }
    let metadata = &mut object["metadata"];
    if !metadata[field].is_object() {
        metadata[field] = Value::Object(Map::new());
    }
    for (key, value) in values {
        metadata[field][key] = Value::String(value.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn config_map() -> Value {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "a", "namespace": "ns", "annotations": {"replicas": "${N}"}},
            "data": {"host": "${HOST:-localhost}.example.com", "script": "echo $${HOME}\nline ${HOST}\n"},
        })
    }

    fn with(values: &[(&str, &str)]) -> Finish {
        let mut variables = Variables {
            strict: true,
            ..Variables::default()
        };
        for (name, value) in values {
            variables.set(*name, value);
        }
        Finish {
            variables: Some(variables),
            common: None,
        }
    }

    #[test]
    fn substitutes_in_the_yaml_text_of_each_object() {
        let rendered = finish([config_map()], &with(&[("N", "3"), ("HOST", "we\nb")])).unwrap();
        let object = &rendered.objects[0];
        assert_eq!(object["data"]["host"], "web.example.com");
        assert_eq!(object["data"]["script"], "echo ${HOME}\nline web\n");
        assert_eq!(
            object["metadata"]["annotations"]["replicas"], 3,
            "as in Flux, plain text is typed again"
        );
    }

    #[test]
    fn nothing_is_done_without_variables_or_where_it_is_disabled() {
        assert_eq!(
            finish([config_map()], &with(&[])).unwrap().objects[0],
            config_map()
        );
        let mut disabled = config_map();
        disabled["metadata"]["annotations"][names::SUBSTITUTE] = json!("disabled");
        assert_eq!(
            finish([disabled.clone()], &with(&[("N", "3")]))
                .unwrap()
                .objects[0],
            disabled
        );
    }

    #[test]
    fn errors_name_the_object_and_no_value() {
        let error = finish([config_map()], &with(&[("HOST", "x")]))
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "post build failed for 'ConfigMap/ns/a': variable not set (strict mode): \"N\""
        );
        let error = finish([config_map()], &with(&[("N", "hunter2: {"), ("HOST", "b")]))
            .unwrap_err()
            .to_string();
        assert!(!error.contains("hunter2"), "{error}");
        assert!(error.contains("invalid YAML at line"), "{error}");
        let error = finish([config_map()], &with(&[("a-b", "x")]))
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("'a-b' var name is invalid"), "{error}");
        let error = finish([json!({"kind": "X"})], &Finish::default()).unwrap_err();
        assert_eq!(error, Error::NoIdentity(0));
    }

    #[test]
    fn common_metadata_overrides_and_counts_in_the_digest() {
        let plain = finish([config_map()], &Finish::default()).unwrap();
        let common = CommonMetadata {
            labels: BTreeMap::from([("team".into(), "a".into())]),
            annotations: BTreeMap::from([("replicas".into(), "x".into())]),
        };
        let how = Finish {
            variables: None,
            common: Some(common),
        };
        let rendered = finish([config_map()], &how).unwrap();
        assert_eq!(rendered.objects[0]["metadata"]["labels"]["team"], "a");
        assert_eq!(
            rendered.objects[0]["metadata"]["annotations"]["replicas"],
            "x"
        );
        assert_ne!(rendered.digest, plain.digest);
        assert_ne!(how.key(), Finish::default().key());
        assert_eq!(
            plain.digest,
            finish([config_map()], &Finish::default()).unwrap().digest
        );
    }
}
