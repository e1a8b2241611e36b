//! Expressions as Flux evaluates them: `readyExpr` of a dependency, and the health of custom resources.
//!
//! No message holds a value of an object: it may be a Secret.

use std::{collections::BTreeSet, sync::Arc};

use cel::{Context, ExecutionError, common::types::CelBool, parser::Expression as Ast};
use serde_json::Value;

use crate::{
    check, declarations, environment, infer, meter,
    read::{self, Parsed},
    types::Type,
    values,
};

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
    OutputType(String),
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

impl Expression {
    /// Reads an expression as Flux reads health expressions: any name may be a variable, and whether the result is a bool
    /// is seen when it is evaluated.
    pub fn parse(source: &str) -> Result<Self, Error> {
        Ok(Self::of(source, parsed(source)?))
    }

    /// Reads an expression over known variables, as Flux reads `readyExpr`: other names, unknown functions and a
    /// result that is certainly no bool are errors.
    pub fn compile(source: &str, variables: &[&str]) -> Result<Self, Error> {
        let parsed = parsed(source)?;
        let known = |name: &str| variables.contains(&name).then_some(Type::Dyn);
        let (output, problems) = infer::infer(&parsed.ast, &declarations::FLUX, &known);
        if !problems.is_empty() {
            return Err(parse_error(source, parsed.report(source, problems)));
        }
        if output != Type::Bool {
            return Err(Error::OutputType(output.output_name()));
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
        let mut context = Context::with_env(environment::flux());
        for (name, value) in variables {
            if self.variables.contains(*name) {
                context.add_variable_as_val(*name, values::of(value));
            }
        }
        self.run(&context)
    }

    /// Evaluates with the object's top-level fields as variables.
    pub fn is_true_of(&self, object: &Value) -> Result<bool, Error> {
        let mut context = Context::with_env(environment::flux());
        for name in self.variables.iter() {
            if let Some(value) = object.get(name) {
                context.add_variable_as_val(name.as_str(), values::of(value));
            }
        }
        self.run(&context)
    }

    fn run(&self, context: &Context<'_, '_>) -> Result<bool, Error> {
        let failed = |reason: String| Error::Evaluate {
            expression: self.source.to_string(),
            reason,
        };
        let evaluate = || {
            meter::limited(meter::BUDGET, || {
                let value = cel::Value::resolve_val(&self.ast, context)?;
                Ok(value.downcast_ref::<CelBool>().map(|flag| *flag.inner()))
            })
        };
        let (result, left) = read::at_depth(self.depth, evaluate)
            .ok_or_else(|| failed("the expression cannot be evaluated".to_owned()))?;
        if left.is_none() {
            return Err(failed(
                "operation cancelled: actual cost limit exceeded".to_owned(),
            ));
        }
        match result {
            Ok(Some(flag)) => Ok(flag),
            Ok(None) => Err(Error::NotBoolean(self.source.to_string())),
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

fn parsed(source: &str) -> Result<Parsed, Error> {
    read::read(&environment::flux(), source).map_err(|reason| parse_error(source, reason))
}

fn parse_error(source: &str, reason: String) -> Error {
    Error::Parse {
        expression: source.chars().take(256).collect(),
        reason,
    }
}

#[cfg(test)]
mod tests;
