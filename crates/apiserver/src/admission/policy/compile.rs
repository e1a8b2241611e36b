//! From a policy to programs.

use std::sync::Arc;

use fairway_cel::{Environment, Object, Program, Type};
use serde_json::Value;

/// What an expression of a policy has to come to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Bool,
    Text,
    TextOrNull,
    Anything,
}

/// Compiles the expressions of one policy, in order: later ones may use the variables of earlier ones.
pub(crate) struct Compiler {
    parameters: bool,
    /// Variables so far; nothing where the policy has none.
    variables: Option<Object>,
}

impl Compiler {
    /// For a policy whose expressions may use parameters, and variables of its own.
    pub(crate) fn new(parameters: bool, composed: bool) -> Self {
        Self {
            parameters,
            variables: composed.then(|| Object::new::<String>("kubernetes.variables", [])),
        }
    }

    /// Compiles an expression, else tells in Kubernetes' words why not.
    pub(crate) fn compile(
        &self,
        source: &str,
        wanted: Wanted,
        authorizer: bool,
    ) -> Result<Program, String> {
        let program = self
            .environment(authorizer)
            .compile(source)
            .map_err(|why| format!("compilation failed: {why}"))?;
        let output = program.output();
        let (fits, names) = match wanted {
            Wanted::Anything => (true, ""),
            Wanted::Bool => (*output == Type::Bool, "bool"),
            Wanted::Text => (*output == Type::String, "string"),
            Wanted::TextOrNull => (
                matches!(output, Type::String | Type::Null),
                "one of [string null_type]",
            ),
        };
        if fits {
            return Ok(program);
        }
        Err(format!(
            "must evaluate to {names} but got {}",
            output.output_name()
        ))
    }

    /// Compiles a variable, which later expressions may use even if it is wrong: what is wrong is told once.
    pub(crate) fn variable(&mut self, name: &str, source: &str) -> Result<Program, String> {
        let compiled = self.compile(source, Wanted::Anything, true);
        let kind = compiled
            .as_ref()
            .map_or(Type::Dyn, |program| kept(program.output()));
        if let Some(variables) = &mut self.variables {
            let field = fairway_cel::Field {
                key: name.to_owned(),
                kind,
            };
            variables.fields.insert(name.to_owned(), field);
        }
        compiled
    }

    fn environment(&self, authorizer: bool) -> Environment {
        let mut environment = Environment::default()
            .with("object", Type::Dyn)
            .with("oldObject", Type::Dyn)
            .with("namespaceObject", namespace())
            .with("request", request());
        if self.parameters {
            environment = environment.with("params", Type::Dyn);
        }
        if authorizer {
            environment = environment
                .with(
                    "authorizer",
                    Type::Opaque("kubernetes.authorization.Authorizer"),
                )
                .with(
                    "authorizer.requestResource",
                    Type::Opaque("kubernetes.authorization.ResourceCheck"),
                );
        }
        match &self.variables {
            Some(variables) => {
                environment.with("variables", Type::Object(variables.clone().into()))
            }
            None => environment,
        }
    }
}

/// What is kept of the type of a variable.
fn kept(kind: &Type) -> Type {
    match kind {
        Type::List(item) => Type::list(kept(item)),
        Type::Map(key, value) => Type::Map(kept(key).into(), kept(value).into()),
        Type::Object(_) | Type::Opaque(_) | Type::Optional(_) | Type::Type(_) => Type::Dyn,
        plain => plain.clone(),
    }
}

fn object<const N: usize>(name: &str, fields: [(&str, Type); N]) -> Type {
    Type::Object(Arc::new(Object::new(name, fields)))
}

fn request() -> Type {
    let text = || Type::String;
    let kind = object(
        "kubernetes.GroupVersionKind",
        [("group", text()), ("version", text()), ("kind", text())],
    );
    let resource = object(
        "kubernetes.GroupVersionResource",
        [("group", text()), ("version", text()), ("resource", text())],
    );
    let user = object(
        "kubernetes.UserInfo",
        [
            ("username", text()),
            ("uid", text()),
            ("groups", Type::list(text())),
            ("extra", Type::map(Type::list(text()))),
        ],
    );
    let mut request = Object::new(
        "kubernetes.AdmissionRequest",
        [
            ("kind", kind.clone()),
            ("resource", resource.clone()),
            ("subResource", text()),
            ("requestKind", kind),
            ("requestResource", resource),
            ("requestSubResource", text()),
            ("name", text()),
            ("operation", text()),
            ("userInfo", user),
            ("dryRun", Type::Bool),
            ("options", Type::Dyn),
        ],
    );
    // Not escaped, though it is a reserved word: nothing but a field can follow a dot.
    let field = fairway_cel::Field {
        key: "namespace".to_owned(),
        kind: text(),
    };
    request.fields.insert("namespace".to_owned(), field);
    Type::Object(request.into())
}

fn namespace() -> Type {
    let texts = || Type::map(Type::String);
    let condition = object(
        "kubernetes.NamespaceCondition",
        [
            ("status", Type::String),
            ("type", Type::String),
            ("lastTransitionTime", Type::Timestamp),
            ("message", Type::String),
            ("reason", Type::String),
        ],
    );
    let metadata = object(
        "kubernetes.NamespaceMetadata",
        [
            ("name", Type::String),
            ("generateName", Type::String),
            ("labels", texts()),
            ("annotations", texts()),
            ("UID", Type::String),
            ("creationTimestamp", Type::Timestamp),
            ("deletionGracePeriodSeconds", Type::Int),
            ("deletionTimestamp", Type::Timestamp),
            ("generation", Type::Int),
            ("resourceVersion", Type::String),
            ("finalizers", Type::list(Type::String)),
        ],
    );
    let spec = object(
        "kubernetes.NamespaceSpec",
        [("finalizers", Type::list(Type::String))],
    );
    let status = object(
        "kubernetes.NamespaceStatus",
        [
            ("conditions", Type::list(condition)),
            ("phase", Type::String),
        ],
    );
    object(
        "kubernetes.Namespace",
        [("metadata", metadata), ("spec", spec), ("status", status)],
    )
}

type Compiled = Result<Program, String>;

/// A rule of a policy.
pub(super) struct Validation {
    pub(super) expression: String,
    pub(super) program: Compiled,
    pub(super) message: String,
    pub(super) message_expression: Option<Compiled>,
    pub(super) reason: Option<String>,
}

/// A compiled policy.
pub(super) struct Policy {
    pub(super) object: Arc<Value>,
    /// Names and expressions of conditions that must hold for the rules to be asked.
    pub(super) conditions: Vec<(String, Compiled)>,
    pub(super) variables: Vec<(String, Compiled)>,
    pub(super) validations: Vec<Validation>,
    /// Expressions whose failure alone matters here: nobody keeps an audit log.
    pub(super) annotations: Vec<(String, Compiled)>,
}

impl Policy {
    pub(super) fn new(object: &Arc<Value>) -> Self {
        let spec = &object["spec"];
        let list = |key: &str| spec[key].as_array().map_or(&[][..], Vec::as_slice);
        let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
        let mut compiler = Compiler::new(spec["paramKind"].is_object(), true);
        let variables = list("variables").iter().map(|variable| {
            let name = text(variable, "name");
            let compiled = compiler.variable(&name, &text(variable, "expression"));
            (name, compiled)
        });
        let variables = variables.collect();
        let conditions = list("matchConditions").iter().map(|condition| {
            let source = text(condition, "expression");
            let compiled = compiler.compile(&source, Wanted::Bool, true);
            (source, compiled)
        });
        let conditions = conditions.collect();
        let validations = list("validations").iter().map(|validation| {
            let expression = text(validation, "expression");
            Validation {
                program: compiler.compile(&expression, Wanted::Bool, true),
                message: text(validation, "message"),
                message_expression: validation["messageExpression"]
                    .as_str()
                    .filter(|source| !source.is_empty())
                    .map(|source| compiler.compile(source, Wanted::Text, false)),
                reason: validation["reason"].as_str().map(str::to_owned),
                expression,
            }
        });
        let validations = validations.collect();
        let annotations = list("auditAnnotations").iter().map(|annotation| {
            let source = text(annotation, "valueExpression");
            let compiled = compiler.compile(&source, Wanted::TextOrNull, true);
            (source, compiled)
        });
        Self {
            annotations: annotations.collect(),
            object: object.clone(),
            conditions,
            variables,
            validations,
        }
    }

    /// Whether it was made of this very state.
    pub(super) fn is_of(&self, object: &Value) -> bool {
        let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
        let uid = |object: &Value| object["metadata"]["uid"].clone();
        version(&self.object) == version(object) && uid(&self.object) == uid(object)
    }

    pub(super) fn name(&self) -> &str {
        crate::writer::names(&self.object).1
    }

    /// Whether what cannot be decided is denied.
    pub(super) fn fails_closed(&self) -> bool {
        self.object["spec"]["failurePolicy"] != "Ignore"
    }
}
