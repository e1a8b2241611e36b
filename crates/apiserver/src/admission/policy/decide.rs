//! Asks a policy about a write.

use std::sync::Arc;

use fairway_cel::{
    Answer, Authorizer, Budget, Failure, Program, Subject, Value as CelValue, Variables,
};
use fairway_schema::kinds::split_api_version;
use serde_json::Value;

use super::asker::Asker;
use super::compile::{Policy, Validation};
use super::matching;
use super::request::Attempt;
use crate::cluster::Cluster;
use crate::controllers::selector_matches;
use crate::writer::names;

/// Longest message that an expression may make.
const MESSAGE: usize = 5 * 1024;
const SPENT: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

/// Why a write is denied.
pub(super) struct Denial {
    pub(super) message: String,
    pub(super) reason: Option<String>,
}

/// A policy that is asked about a write.
pub(super) struct Review<'a> {
    pub(super) cluster: &'a Arc<Cluster>,
    pub(super) attempt: &'a Attempt<'a>,
    pub(super) policy: &'a Policy,
}

/// What a rule says.
struct Verdict {
    message: String,
    reason: Option<String>,
}

impl Verdict {
    fn failed(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            reason: None,
        }
    }
}

impl Review<'_> {
    /// Asks for each binding, and each of its parameters.
    pub(super) fn all(
        &self,
        bindings: &[Arc<Value>],
        warnings: &mut Vec<String>,
        denied: &mut Vec<Denial>,
    ) {
        let (attempt, store) = (self.attempt, &self.cluster.store);
        let constraints = &self.policy.object["spec"]["matchConstraints"];
        let Some(version) = matching::matches(constraints, attempt, store) else {
            return;
        };
        let policy = self.policy.name();
        if let Err(why) = self.parameter_resource() {
            if self.policy.fails_closed() {
                denied.push(Denial {
                    message: format!(
                        "ValidatingAdmissionPolicy '{policy}' denied request: failed to configure policy: {why}"
                    ),
                    reason: None,
                });
            }
            return;
        }
        for binding in bindings {
            let resources = &binding["spec"]["matchResources"];
            if resources.is_object() && matching::matches(resources, attempt, store).is_none() {
                continue;
            }
            let (_, name) = names(binding);
            let mut deny = |verdict: Verdict| {
                denied.push(Denial {
                    message: format!(
                        "ValidatingAdmissionPolicy '{policy}' with binding '{name}' denied request: {}",
                        verdict.message
                    ),
                    reason: verdict.reason,
                });
            };
            let parameters = match self.parameters(binding) {
                Ok(parameters) => parameters,
                Err(why) => {
                    if self.policy.fails_closed() {
                        deny(Verdict::failed(format!(
                            "failed to configure binding: {why}"
                        )));
                    }
                    continue;
                }
            };
            for parameter in parameters {
                let (verdicts, broken) = self.ask(&version, parameter.as_deref());
                for verdict in verdicts {
                    let actions = binding["spec"]["validationActions"].as_array();
                    for action in actions.into_iter().flatten().filter_map(Value::as_str) {
                        match action {
                            "Warn" => warnings.push(format!(
                                "Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{name}': {}",
                                verdict.message
                            )),
                            "Deny" => deny(Verdict {
                                message: verdict.message.clone(),
                                reason: verdict.reason.clone(),
                            }),
                            // Nobody keeps an audit log.
                            _ => {}
                        }
                    }
                }
                for verdict in broken {
                    deny(verdict);
                }
            }
        }
    }

    /// Fails if the kind of the parameters is not known.
    fn parameter_resource(&self) -> Result<(), String> {
        let kind = &self.policy.object["spec"]["paramKind"];
        if !kind.is_object() || self.find_kind(kind).is_some() {
            return Ok(());
        }
        let text = |key: &str| kind[key].as_str().unwrap_or_default();
        let (group, version) = split_api_version(text("apiVersion"));
        Err(format!(
            "failed to find resource referenced by paramKind: '{group}/{version}, Kind={}'",
            text("kind")
        ))
    }

    fn find_kind(&self, kind: &Value) -> Option<crate::resources::SharedResource> {
        let (group, version) = split_api_version(kind["apiVersion"].as_str().unwrap_or_default());
        let served = self.cluster.registry.served();
        served
            .values()
            .find(|resource| {
                &*resource.id.group == group
                    && resource.kind == kind["kind"].as_str().unwrap_or_default()
                    && resource.version(version).is_some()
            })
            .cloned()
    }

    /// The parameters that a binding chooses; one that is nothing where there are none to choose.
    fn parameters(&self, binding: &Value) -> Result<Vec<Option<Arc<Value>>>, String> {
        let kind = &self.policy.object["spec"]["paramKind"];
        let reference = &binding["spec"]["paramRef"];
        let Some(resource) = self
            .find_kind(kind)
            .filter(|_| kind.is_object() && reference.is_object())
        else {
            return Ok(vec![None]);
        };
        let given = reference["namespace"].as_str().unwrap_or_default();
        let namespace = match (resource.namespaced, given) {
            (true, "") if self.attempt.namespace.is_empty() => {
                return Err(
                    "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
                        .to_owned(),
                );
            }
            (true, "") => self.attempt.namespace,
            (true, given) => given,
            (false, "") => "",
            (false, _) => {
                return Err(
                    "paramRef.namespace must not be provided for a cluster-scoped `paramKind`"
                        .to_owned(),
                );
            }
        };
        let store = &self.cluster.store;
        let name = reference["name"].as_str().unwrap_or_default();
        let found: Vec<Arc<Value>> = if name.is_empty() {
            let space = resource.namespaced.then_some(namespace);
            let mut items = store.list(&resource.id, space).items;
            items.retain(|object| {
                selector_matches(&reference["selector"], &object["metadata"]["labels"])
            });
            items
        } else {
            store
                .get(&resource.id, namespace, name)
                .into_iter()
                .collect()
        };
        if found.is_empty() && reference["parameterNotFoundAction"] == "Deny" {
            return Err(
                "no params found for policy binding with `Deny` parameterNotFoundAction".to_owned(),
            );
        }
        Ok(found.into_iter().map(Some).collect())
    }

    /// What is wrong by the rules, and what could not be annotated.
    fn ask(&self, version: &str, parameter: Option<&Value>) -> (Vec<Verdict>, Vec<Verdict>) {
        let policy = self.policy;
        let on_error = |message: String| -> Vec<Verdict> {
            let closed = policy.fails_closed();
            closed
                .then(|| Verdict::failed(message))
                .into_iter()
                .collect()
        };
        let plain = self.variables(version, parameter);
        let spoken = plain
            .clone()
            .with_composed("variables", policy.variables.clone());
        let variables = self
            .authorizers(plain)
            .with_composed("variables", policy.variables.clone());
        match self.conditions(&variables) {
            Ok(true) => {}
            Ok(false) => return (Vec::new(), Vec::new()),
            Err(why) => return (on_error(why), Vec::new()),
        }
        let mut budget = Budget::default();
        let mut verdicts = Vec::new();
        for validation in &policy.validations {
            match run(
                &validation.program,
                &validation.expression,
                &variables,
                &mut budget,
            ) {
                Ok(Answer::Bool(true)) => {}
                Ok(_) => verdicts.push(Verdict {
                    message: message(validation, &spoken, &mut budget),
                    reason: validation.reason.clone(),
                }),
                Err(Stopped::Spent) => return (on_error(SPENT.to_owned()), Vec::new()),
                Err(Stopped::Failed(why)) => verdicts.extend(on_error(why)),
            }
        }
        let mut broken = Vec::new();
        for (source, program) in &policy.annotations {
            if let Err(Stopped::Failed(why)) =
                run(program, source, &variables, &mut Budget::default())
                && policy.fails_closed()
            {
                broken.push(Verdict::failed(why));
            }
        }
        (verdicts, broken)
    }

    /// Whether all conditions hold. One that does not hold settles it, whatever is wrong with others.
    fn conditions(&self, variables: &Variables) -> Result<bool, String> {
        let mut wrong = Vec::new();
        let mut budget = Budget::default();
        for (source, program) in &self.policy.conditions {
            match run(program, source, variables, &mut budget) {
                Ok(Answer::Bool(false)) => return Ok(false),
                Ok(_) => {}
                Err(Stopped::Spent) => return Err(SPENT.to_owned()),
                Err(Stopped::Failed(why)) => wrong.push(why),
            }
        }
        match wrong.as_slice() {
            [] => Ok(true),
            [only] => Err(only.clone()),
            many => Err(format!("[{}]", many.join(", "))),
        }
    }

    fn variables(&self, version: &str, parameter: Option<&Value>) -> Variables {
        let attempt = self.attempt;
        let value =
            |json: Option<Value>| json.map_or_else(CelValue::null, |json| CelValue::of(&json));
        Variables::default()
            .with("object", value((attempt.object)(version)))
            .with("oldObject", value((attempt.old)(version)))
            .with("request", CelValue::of(&attempt.request(version)))
            .with(
                "namespaceObject",
                CelValue::of(&attempt.namespace_object(&self.cluster.store)),
            )
            .with(
                "params",
                parameter.map_or_else(CelValue::null, CelValue::of),
            )
    }

    fn authorizers(&self, variables: Variables) -> Variables {
        let attempt = self.attempt;
        let asker: Arc<dyn Authorizer> = Arc::new(Asker {
            cluster: self.cluster.clone(),
            user: attempt.user.clone(),
        });
        let subject = Subject::Resource {
            group: attempt.resource.id.group.to_string(),
            resource: attempt.resource.id.resource.to_string(),
            subresource: attempt.subresource.to_owned(),
            namespace: attempt.namespace.to_owned(),
            name: attempt.name.to_owned(),
        };
        variables
            .with("authorizer", CelValue::authorizer(asker.clone()))
            .with(
                "authorizer.requestResource",
                CelValue::resource_check(asker, subject),
            )
    }
}

/// Why an expression gave no answer.
enum Stopped {
    /// All that the policy may cost is spent.
    Spent,
    Failed(String),
}

fn run(
    program: &Result<Program, String>,
    source: &str,
    variables: &Variables,
    budget: &mut Budget,
) -> Result<Answer, Stopped> {
    let program = program
        .as_ref()
        .map_err(|why| Stopped::Failed(format!("compilation error: {why}")))?;
    program
        .run(variables, budget)
        .map_err(|failure| match failure {
            Failure::Exhausted if budget.is_spent() => Stopped::Spent,
            other => Stopped::Failed(format!("expression '{source}' resulted in error: {other}")),
        })
}

/// What is told of a rule that does not hold.
fn message(validation: &Validation, variables: &Variables, budget: &mut Budget) -> String {
    let made = validation
        .message_expression
        .as_ref()
        .and_then(|program| program.as_ref().ok()?.run(variables, budget).ok());
    if let Some(Answer::Text(text)) = made {
        let text = text.trim();
        if !text.is_empty() && text.len() <= MESSAGE && !text.contains('\n') {
            return text.to_owned();
        }
    }
    match validation.message.trim() {
        "" => format!("failed expression: {}", validation.expression.trim()),
        text => text.to_owned(),
    }
}
