//! Fields of custom resources that `crds` names: an OpenAPI definition whose properties are marked with
//! `x-kubernetes-annotation`, `x-kubernetes-label-selector`, `x-kubernetes-identity` and
//! `x-kubernetes-object-ref-kind`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{NameReference, TransformerConfig};
use crate::error::{Error, Result};
use crate::field_spec::{self, FieldSpec};
use crate::id::Gvk;
use crate::kustomization::decode::document;

/// Definitions inside each other; a definition that refers to itself would never end.
const MAX_DEPTH: usize = 32;

type Definitions = BTreeMap<String, Value>;

/// The fields that a file of `crds` marks.
pub(crate) fn from_definitions(file: &str, text: &str) -> Result<TransformerConfig> {
    let mut out = TransformerConfig::default();
    let Some(root) = document(file, text)? else {
        return Ok(out);
    };
    let value = root
        .to_json_as(fairway_yaml::Dialect::Kubectl)
        .map_err(|error| Error::syntax(&error).of_file(file))?;
    let Value::Object(map) = value else {
        return Err(Error::invalid("expected a map of OpenAPI definitions").in_file(file));
    };
    let definitions: Definitions = map.into_iter().collect();
    for (name, definition) in &definitions {
        let Some(properties) = properties(definition) else {
            continue;
        };
        if ["kind", "apiVersion", "metadata"]
            .iter()
            .all(|field| properties.contains_key(*field))
        {
            let kind = name.rsplit('.').next().unwrap_or(name);
            let mut found = TransformerConfig::default();
            let mut walk = Walk {
                definitions: &definitions,
                gvk: Gvk::new("", "", kind),
                path: Vec::new(),
            };
            walk.definition(&mut found, name)?;
            out.merge(&found)?;
        }
    }
    Ok(out)
}

/// Kustomize looks for `Schema`, in any case.
fn properties(definition: &Value) -> Option<&serde_json::Map<String, Value>> {
    let definition = definition.as_object()?;
    let schema = definition
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case("schema"))?
        .1;
    schema.get("properties")?.as_object()
}

struct Walk<'d> {
    definitions: &'d Definitions,
    gvk: Gvk,
    path: Vec<String>,
}

impl Walk<'_> {
    fn definition(&mut self, out: &mut TransformerConfig, name: &str) -> Result<()> {
        let Some(properties) = self.definitions.get(name).and_then(properties) else {
            return Ok(());
        };
        if self.path.len() > MAX_DEPTH {
            return Err(Error::new(
                crate::error::ErrorKind::Limit,
                format!("the definition {name} refers to others more than {MAX_DEPTH} deep"),
            ));
        }
        for (field, property) in properties {
            self.path.push(field.clone());
            let has = |extension: &str| property.get(extension).is_some_and(Value::is_string);
            let spec = |path: &str| FieldSpec::new(self.gvk.clone(), path, false);
            let path = self.path.join("/");
            if has("x-kubernetes-annotation") {
                field_spec::merge_one(&mut out.common_annotations, spec(&path))?;
            }
            if has("x-kubernetes-label-selector") {
                field_spec::merge_one(&mut out.common_labels, spec(&path))?;
            }
            if has("x-kubernetes-identity") {
                field_spec::merge_one(&mut out.name_prefix, spec(&path))?;
            }
            let text = |extension: &str| property.get(extension).and_then(Value::as_str);
            if let (Some(version), Some(kind)) = (
                text("x-kubernetes-object-ref-api-version"),
                text("x-kubernetes-object-ref-kind"),
            ) {
                let name = text("x-kubernetes-object-ref-name-key").unwrap_or("name");
                out.add_name_reference(&NameReference {
                    target: Gvk::new("", version, kind),
                    referrers: vec![spec(&format!("{path}/{name}"))],
                })?;
            }
            if let Some(reference) = text("$ref") {
                self.definition(out, reference)?;
            }
            self.path.pop();
        }
        Ok(())
    }
}
