//! What makes a ValidatingAdmissionPolicy, and a binding of one, valid.

use serde_json::{Value, json};

use super::metadata::{label_key_error, label_value_error, subdomain_error};
use crate::admission::{Compiler, Wanted};
use crate::status::FieldError;

/// Checks the spec of a policy.
pub(super) fn policy(object: &Value, errors: &mut Vec<FieldError>) {
    let spec = &object["spec"];
    choice(
        &spec["failurePolicy"],
        "spec.failurePolicy",
        &["Fail", "Ignore"],
        errors,
    );
    let parameters = spec["paramKind"].is_object();
    if parameters {
        parameter_kind(&spec["paramKind"], errors);
    }
    let constraints = &spec["matchConstraints"];
    if constraints.is_object() {
        match_resources(constraints, "spec.matchConstraints", errors);
        if list(&constraints["resourceRules"]).is_empty() {
            let path = "spec.matchConstraints.resourceRules";
            errors.push(FieldError::required(path, ""));
        }
    } else {
        errors.push(FieldError::required("spec.matchConstraints", ""));
    }
    conditions(spec, parameters, errors);
    let variables = list(&spec["variables"]);
    let mut compiler = Compiler::new(parameters, !variables.is_empty());
    for (index, variable) in variables.iter().enumerate() {
        let path = format!("spec.variables[{index}]");
        let name = text(&variable["name"]);
        if name.trim().is_empty() {
            let field = format!("{path}.name");
            errors.push(FieldError::required(field, "name is not specified"));
        } else if !is_identifier(name) {
            errors.push(FieldError::invalid(
                format!("{path}.name"),
                &name.into(),
                "must be a valid CEL identifier",
            ));
        }
        let source = text(&variable["expression"]);
        let field = format!("{path}.expression");
        if source.trim().is_empty() {
            errors.push(FieldError::required(field, "expression is not specified"));
        } else if let Err(why) = compiler.variable(name, source) {
            errors.push(FieldError::invalid(field, &source.into(), &why));
        }
    }
    let (rules, annotations) = (list(&spec["validations"]), list(&spec["auditAnnotations"]));
    if rules.is_empty() && annotations.is_empty() {
        for key in ["validations", "auditAnnotations"] {
            errors.push(FieldError::required(
                format!("spec.{key}"),
                "validations or auditAnnotations must contain at least one item",
            ));
        }
    }
    for (index, rule) in rules.iter().enumerate() {
        validation(
            rule,
            &format!("spec.validations[{index}]"),
            &compiler,
            errors,
        );
    }
    for (index, annotation) in annotations.iter().enumerate() {
        let field = format!("spec.auditAnnotations[{index}].valueExpression");
        let source = text(&annotation["valueExpression"]);
        if source.trim().is_empty() {
            errors.push(FieldError::required(
                field,
                "valueExpression is not specified",
            ));
        } else if let Err(why) = compiler.compile(source.trim(), Wanted::TextOrNull, true) {
            errors.push(FieldError::invalid(field, &source.into(), &why));
        }
    }
}

fn conditions(spec: &Value, parameters: bool, errors: &mut Vec<FieldError>) {
    let conditions = list(&spec["matchConditions"]);
    // They are asked before anything else of the policy, and so may use nothing else of it.
    let compiler = Compiler::new(parameters, false);
    for (index, condition) in conditions.iter().enumerate() {
        let path = format!("spec.matchConditions[{index}]");
        let source = text(&condition["expression"]).trim();
        let field = format!("{path}.expression");
        if source.is_empty() {
            errors.push(FieldError::required(field, ""));
        } else if let Err(why) = compiler.compile(source, Wanted::Bool, true) {
            errors.push(FieldError::invalid(field, &source.into(), &why));
        }
        let field = format!("{path}.name");
        let name = &condition["name"];
        if text(name).is_empty() {
            errors.push(FieldError::required(field, ""));
            continue;
        }
        if let Some(why) = label_key_error(text(name)) {
            errors.push(FieldError::invalid(&field, name, &why));
        }
        if conditions[..index]
            .iter()
            .any(|other| other["name"] == *name)
        {
            errors.push(FieldError::duplicate(field, name));
        }
    }
}

fn validation(rule: &Value, path: &str, compiler: &Compiler, errors: &mut Vec<FieldError>) {
    let source = text(&rule["expression"]);
    let field = format!("{path}.expression");
    if source.trim().is_empty() {
        errors.push(FieldError::required(field, "expression is not specified"));
    } else if let Err(why) = compiler.compile(source, Wanted::Bool, true) {
        errors.push(FieldError::invalid(field, &source.into(), &why));
    }
    let source = text(&rule["messageExpression"]);
    let field = format!("{path}.messageExpression");
    if !source.is_empty() && source.trim().is_empty() {
        let why = "must be non-empty if specified";
        errors.push(FieldError::invalid(field, &source.into(), why));
    } else if !source.is_empty()
        && let Err(why) = compiler.compile(source, Wanted::Text, false)
    {
        errors.push(FieldError::invalid(field, &source.into(), &why));
    }
    let message = text(&rule["message"]);
    let wrong = if !message.is_empty() && message.trim().is_empty() {
        Some("must be non-empty if specified")
    } else if message.trim().contains(['\n', '\r']) {
        Some("must not contain line breaks")
    } else {
        None
    };
    if let Some(why) = wrong {
        errors.push(FieldError::invalid(
            format!("{path}.message"),
            &rule["message"],
            why,
        ));
    }
    const REASONS: [&str; 3] = ["Forbidden", "Invalid", "RequestEntityTooLarge"];
    let reason = &rule["reason"];
    if reason.is_string() && !REASONS.contains(&text(reason)) {
        errors.push(FieldError::unsupported(
            format!("{path}.reason"),
            reason,
            &REASONS,
        ));
    }
}

/// Checks the spec of a binding.
pub(super) fn binding(object: &Value, errors: &mut Vec<FieldError>) {
    let spec = &object["spec"];
    let name = &spec["policyName"];
    if text(name).is_empty() {
        errors.push(FieldError::required("spec.policyName", ""));
    } else if let Some(why) = subdomain_error(text(name)) {
        errors.push(FieldError::invalid("spec.policyName", name, why));
    }
    let reference = &spec["paramRef"];
    if reference.is_object() {
        parameter_reference(reference, errors);
    }
    if spec["matchResources"].is_object() {
        match_resources(&spec["matchResources"], "spec.matchResources", errors);
    }
    let path = "spec.validationActions";
    let actions = list(&spec["validationActions"]);
    for (index, action) in actions.iter().enumerate() {
        const KNOWN: [&str; 3] = ["Audit", "Deny", "Warn"];
        if !KNOWN.contains(&text(action)) {
            errors.push(FieldError::unsupported(
                format!("{path}[{index}]"),
                action,
                &KNOWN,
            ));
        }
        if actions[..index].contains(action) {
            errors.push(FieldError::duplicate(format!("{path}[{index}]"), action));
        }
    }
    if actions.contains(&json!("Deny")) && actions.contains(&json!("Warn")) {
        errors.push(FieldError::invalid(
            path,
            &spec["validationActions"],
            "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)",
        ));
    }
    if actions.is_empty() {
        errors.push(FieldError::required(
            path,
            "at least one validation action is required",
        ));
    }
}

fn parameter_kind(kind: &Value, errors: &mut Vec<FieldError>) {
    for key in ["apiVersion", "kind"] {
        if text(&kind[key]).is_empty() {
            errors.push(FieldError::required(format!("spec.paramKind.{key}"), ""));
        }
    }
}

fn parameter_reference(reference: &Value, errors: &mut Vec<FieldError>) {
    let path = "spec.paramRef";
    let named = !text(&reference["name"]).is_empty();
    let selected = reference["selector"].is_object();
    if named && selected {
        for key in ["name", "selector"] {
            let why = "name and selector are mutually exclusive";
            errors.push(FieldError::forbidden(format!("{path}.{key}"), why));
        }
    }
    if selected {
        selector(&reference["selector"], &format!("{path}.selector"), errors);
    }
    if !named && !selected {
        errors.push(FieldError::required(
            path,
            "one of name or selector must be specified",
        ));
    }
    choice(
        &reference["parameterNotFoundAction"],
        &format!("{path}.parameterNotFoundAction"),
        &["Deny", "Allow"],
        errors,
    );
}

fn match_resources(constraints: &Value, path: &str, errors: &mut Vec<FieldError>) {
    choice(
        &constraints["matchPolicy"],
        &format!("{path}.matchPolicy"),
        &["Equivalent", "Exact"],
        errors,
    );
    for key in ["namespaceSelector", "objectSelector"] {
        selector(&constraints[key], &format!("{path}.{key}"), errors);
    }
    for key in ["resourceRules", "excludeResourceRules"] {
        for (index, rule) in list(&constraints[key]).iter().enumerate() {
            resource_rule(rule, &format!("{path}.{key}[{index}]"), errors);
        }
    }
}

fn resource_rule(rule: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let names = list(&rule["resourceNames"]);
    for (index, name) in names.iter().enumerate() {
        if names[..index].contains(name) {
            let field = format!("{path}.resourceNames[{index}]");
            errors.push(FieldError::duplicate(field, name));
        }
    }
    let wildcard = |key: &str, what: &str, errors: &mut Vec<FieldError>| {
        let items = list(&rule[key]);
        let field = format!("{path}.{key}");
        if items.is_empty() {
            errors.push(FieldError::required(&field, ""));
        }
        if items.len() > 1 && items.contains(&json!("*")) {
            let why = format!("if '*' is present, must not specify other {what}");
            errors.push(FieldError::invalid(&field, &rule[key], &why));
        }
    };
    wildcard("operations", "operations", errors);
    const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
    for (index, operation) in list(&rule["operations"]).iter().enumerate() {
        if !OPERATIONS.contains(&text(operation)) {
            let field = format!("{path}.operations[{index}]");
            errors.push(FieldError::unsupported(field, operation, &OPERATIONS));
        }
    }
    wildcard("apiGroups", "API groups", errors);
    wildcard("apiVersions", "API versions", errors);
    let field = format!("{path}.resources");
    let resources = list(&rule["resources"]);
    if resources.is_empty() {
        errors.push(FieldError::required(&field, ""));
    }
    if resources.len() > 1 && resources.contains(&json!("*/*")) {
        let why = "if '*/*' is present, must not specify other resources";
        errors.push(FieldError::invalid(&field, &rule["resources"], why));
    }
    // Of those without a subresource, the last one counts.
    let mut plain = resources.iter().filter(|item| !text(item).contains('/'));
    if plain.next_back().is_some_and(|last| last != "*") && resources.contains(&json!("*")) {
        let why = "if '*' is present, must not specify other resources without subresources";
        errors.push(FieldError::invalid(&field, &rule["resources"], why));
    }
    const SCOPES: [&str; 3] = ["*", "Cluster", "Namespaced"];
    if rule["scope"].is_string() && !SCOPES.contains(&text(&rule["scope"])) {
        let field = format!("{path}.scope");
        errors.push(FieldError::unsupported(field, &rule["scope"], &SCOPES));
    }
}

fn selector(selector: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
        if let Some(why) = label_key_error(key) {
            let field = format!("{path}.matchLabels");
            errors.push(FieldError::invalid(field, &key.as_str().into(), &why));
        }
        if let Some(why) = label_value_error(text(value)) {
            let field = format!("{path}.matchLabels");
            errors.push(FieldError::invalid(field, value, &why));
        }
    }
    for (index, term) in list(&selector["matchExpressions"]).iter().enumerate() {
        let path = format!("{path}.matchExpressions[{index}]");
        let empty = list(&term["values"]).is_empty();
        match text(&term["operator"]) {
            "In" | "NotIn" if empty => errors.push(FieldError::required(
                format!("{path}.values"),
                "must be specified when `operator` is 'In' or 'NotIn'",
            )),
            "Exists" | "DoesNotExist" if !empty => errors.push(FieldError::forbidden(
                format!("{path}.values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => errors.push(FieldError::invalid(
                format!("{path}.operator"),
                &term["operator"],
                "not a valid selector operator",
            )),
        }
        if let Some(why) = label_key_error(text(&term["key"])) {
            errors.push(FieldError::invalid(
                format!("{path}.key"),
                &term["key"],
                &why,
            ));
        }
    }
}

fn choice(value: &Value, path: &str, known: &[&str], errors: &mut Vec<FieldError>) {
    if text(value).is_empty() {
        errors.push(FieldError::required(path, ""));
    } else if !known.contains(&text(value)) {
        errors.push(FieldError::unsupported(path, value, known));
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn is_identifier(name: &str) -> bool {
    fairway_cel::escape(name).as_deref() == Some(name)
}
