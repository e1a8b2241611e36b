//! CEL expressions as Flux evaluates them: `readyExpr` of a dependency, and the health of custom resources.
//!
//! The environment is that of Flux: the standard library and macros, comparisons across number types, optional values
//! (`a.?b`), and the extensions for strings, sets and base64. What an expression may cost is bounded: its length, its
//! depth, and at run time the elements and bytes that it touches (see [`meter`]). No message holds a value of an object:
//! it may be a Secret.
//!
//! ```
//! use fairway_apply::cel::Expression;
//! use serde_json::json;
//!
//! let ready = Expression::parse("status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')")?;
//! let object = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
//! assert!(ready.is_true_of(&object)?);
//!
//! let expression = Expression::compile("dep.metadata.labels.tier == self.metadata.labels.tier", &["self", "dep"])?;
//! let (a, b) = (json!({"metadata": {"labels": {"tier": "web"}}}), json!({"metadata": {"labels": {"tier": "db"}}}));
//! assert!(!expression.is_true(&[("self", &a), ("dep", &b)])?);
//! # Ok::<(), fairway_apply::cel::Error>(())
//! ```

mod check;
mod meter;
mod sets;
mod values;

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
};

use cel::{
    Context, Env, ExecutionError, Value as CelValue, common::ast::SourceInfo,
    parser::Expression as Ast,
};
use serde_json::Value;

/// Longest expression, in bytes.
const MAX_LENGTH: usize = 8 * 1024;
/// Deepest nesting, of brackets and of the tree that is evaluated.
const MAX_DEPTH: usize = 64;
/// Most nodes of the tree.
const MAX_NODES: usize = 4000;

/// Why an expression cannot be used, in Flux's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is no CEL, or names what is not there.
    #[error("failed to parse the CEL expression '{expression}': {reason}")]
    Parse {
        /// The expression.
        expression: String,
        /// What is wrong, with line and column where that is known.
        reason: String,
    },
    /// Its result cannot be a bool.
    #[error("CEL expression output type mismatch: expected bool, got {0}")]
    OutputType(&'static str),
    /// It failed on the object that it was given.
    #[error("failed to evaluate the CEL expression '{expression}': {reason}")]
    Evaluate {
        /// The expression.
        expression: String,
        /// What is wrong. Names fields and types, never values.
        reason: String,
    },
    /// Its result was no bool.
    #[error("failed to evaluate CEL expression as boolean: '{0}'")]
    NotBoolean(String),
}

/// A CEL expression whose result is a bool.
#[derive(Debug, Clone)]
pub struct Expression {
    source: Arc<str>,
    ast: Arc<Ast>,
    depth: usize,
    variables: Arc<BTreeSet<String>>,
}

static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    let added = cel::extensions::strings(&mut env)
        .and_then(|()| cel::extensions::encoders(&mut env))
        .and_then(|()| sets::extension(&mut env))
        .and_then(|()| meter::extension(&mut env));
    added.expect("no two extensions declare the same function");
    Arc::new(env)
});

impl Expression {
    /// Reads an expression as Flux reads health expressions: any name may be a variable, and whether the result is a bool
    /// is seen when it is evaluated.
    pub fn parse(source: &str) -> Result<Self, Error> {
        Ok(Self::of(source, read(source)?))
    }

    /// Reads an expression over known variables, as Flux reads `readyExpr`: other names, unknown functions and a
    /// result that is certainly no bool are errors.
    pub fn compile(source: &str, variables: &[&str]) -> Result<Self, Error> {
        let parsed = read(source)?;
        if let Some((name, id)) = check::undeclared(&parsed.ast, variables) {
            let (line, column) = check::position(source, parsed.info.offset_for(id));
            return Err(parse_error(
                source,
                format!(
                    "ERROR: <input>:{line}:{column}: undeclared reference to '{name}' (in container '')"
                ),
            ));
        }
        match check::output(&parsed.ast) {
            check::Type::Bool => {}
            check::Type::Dyn => return Err(Error::OutputType("dyn")),
            check::Type::Other(name) => return Err(Error::OutputType(name)),
        }
        Ok(Self::of(source, parsed))
    }

    fn of(source: &str, parsed: Parsed) -> Self {
        Self {
            source: source.into(),
            depth: parsed.depth,
            variables: Arc::new(check::variables(&parsed.ast)),
            ast: Arc::new(meter::metered(parsed.ast)),
        }
    }

    /// The text of the expression.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Evaluates with these variables.
    pub fn is_true(&self, variables: &[(&str, &Value)]) -> Result<bool, Error> {
        let mut context = Context::with_env(ENVIRONMENT.clone());
        for (name, value) in variables {
            if self.variables.contains(*name) {
                context.add_variable_from_value(*name, values::of(value));
            }
        }
        self.run(&context)
    }

    /// Evaluates with the object's top-level fields as variables.
    pub fn is_true_of(&self, object: &Value) -> Result<bool, Error> {
        let mut context = Context::with_env(ENVIRONMENT.clone());
        for name in self.variables.iter() {
            if let Some(value) = object.get(name) {
                context.add_variable_from_value(name.as_str(), values::of(value));
            }
        }
        self.run(&context)
    }

    fn run(&self, context: &Context<'_, '_>) -> Result<bool, Error> {
        let evaluate = || meter::limited(|| CelValue::resolve(&self.ast, context));
        let (result, exhausted) = if self.depth <= SHALLOW {
            evaluate()
        } else {
            let unable = || ExecutionError::InternalError(String::new());
            deep(evaluate).unwrap_or_else(|| (Err(unable()), false))
        };
        let failed = |reason: String| Error::Evaluate {
            expression: self.source.to_string(),
            reason,
        };
        if exhausted {
            return Err(failed(
                "operation cancelled: actual cost limit exceeded".to_owned(),
            ));
        }
        match result {
            Ok(CelValue::Bool(flag)) => Ok(flag),
            Ok(_) => Err(Error::NotBoolean(self.source.to_string())),
            Err(error) => Err(failed(self.reason(&error))),
        }
    }

    /// What went wrong, without the values that the error carries.
    fn reason(&self, error: &ExecutionError) -> String {
        match error {
            // A key that the expression itself does not spell is a value.
            ExecutionError::NoSuchKey(key) if self.source.contains(key.as_str()) => {
                format!("no such key: {key}")
            }
            ExecutionError::NoSuchKey(_) => "no such key".to_owned(),
            ExecutionError::UndeclaredReference(name) => {
                format!(
                    "no such attribute(s): {}",
                    check::attribute(&self.ast, name)
                )
            }
            ExecutionError::NoSuchOverload(overload) => format!("no such overload: {overload}"),
            ExecutionError::InvalidArgumentCount { expected, actual } => {
                format!("expected {expected} arguments, got {actual}")
            }
            ExecutionError::UnexpectedType { want, .. } => {
                format!("no such overload: expected {want}")
            }
            ExecutionError::ValuesNotComparable(..)
            | ExecutionError::UnsupportedBinaryOperator(..) => {
                "no such overload: the operands are of types that do not go together".to_owned()
            }
            ExecutionError::UnsupportedIndex(..) => {
                "no such overload: index of a wrong type".to_owned()
            }
            ExecutionError::UnsupportedKeyType(_) => "unsupported key type".to_owned(),
            ExecutionError::UnsupportedTargetType { .. }
            | ExecutionError::NotSupportedAsMethod { .. }
            | ExecutionError::MissingArgumentOrTarget => {
                "no such overload: the function does not take this type".to_owned()
            }
            ExecutionError::IndexOutOfBounds(_) => "index out of bounds".to_owned(),
            ExecutionError::DivisionByZero(_) => "division by zero".to_owned(),
            ExecutionError::RemainderByZero(_) => "modulus by zero".to_owned(),
            ExecutionError::Overflow(..) => "integer overflow".to_owned(),
            ExecutionError::DuplicateKey(_) => "repeated key in a map".to_owned(),
            // Its message may quote what it was given.
            ExecutionError::FunctionError { function, .. } => {
                format!("the function '{function}' cannot use what it was given")
            }
            _ => "the expression cannot be evaluated".to_owned(),
        }
    }
}

fn parse_error(source: &str, reason: String) -> Error {
    let shown: String = source.chars().take(256).collect();
    Error::Parse {
        expression: shown,
        reason,
    }
}

/// Stack for parsing and for what nests deeply: the caller's may be that of a worker of the runtime.
const DEEP_STACK: usize = 64 * 1024 * 1024;
/// What nests no deeper is evaluated on the caller's stack.
const SHALLOW: usize = 16;

/// Runs on a stack of its own.
fn deep<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(DEEP_STACK);
        thread.spawn_scoped(scope, work).ok()?.join().ok()
    })
}

fn read(source: &str) -> Result<Parsed, Error> {
    if source.len() > MAX_LENGTH {
        let reason = format!("it is longer than {MAX_LENGTH} bytes");
        return Err(parse_error(source, reason));
    }
    deep(|| parse(source))
        .unwrap_or_else(|| Err(parse_error(source, "it cannot be parsed".to_owned())))
}

struct Parsed {
    ast: Ast,
    info: SourceInfo,
    depth: usize,
}

fn parse(source: &str) -> Result<Parsed, Error> {
    let (ast, info) = ENVIRONMENT
        .parser()
        .max_recursion_depth(MAX_DEPTH as u16)
        .error_recovery_limit(3)
        .parse_with_source_info(source)
        .map_err(|errors| parse_error(source, errors.to_string()))?;
    let (depth, nodes) = check::size(&ast);
    if depth > MAX_DEPTH || nodes > MAX_NODES {
        let reason = format!("it nests deeper than {MAX_DEPTH} or has more than {MAX_NODES} parts");
        return Err(parse_error(source, reason));
    }
    Ok(Parsed { ast, info, depth })
}

#[cfg(test)]
mod tests;
