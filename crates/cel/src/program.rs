//! Expressions over variables of known types, as Kubernetes evaluates them.

mod composed;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use cel::{
    Context, ExecutionError,
    common::{
        ast::{CallExpr, Expr, LiteralValue, operators},
        types::{CelBool, CelNull, CelString},
        value::{CowVal, Val},
    },
    context::VariableResolver,
    parser::Expression as Ast,
};

use composed::Composed;

use crate::{
    check, declarations, environment, infer, meter,
    read::{self, Parsed},
    types::Type,
    values::Value,
};

/// The variables that expressions may use, by name; a name may have dots.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, Type>,
}

impl Environment {
    /// The same with one more variable.
    #[must_use]
    pub fn with(mut self, name: &str, kind: Type) -> Self {
        self.variables.insert(name.to_owned(), kind);
        self
    }

    /// Reads an expression and checks it; else tells what is wrong with it, in Kubernetes' words.
    pub fn compile(&self, source: &str) -> Result<Program, String> {
        let parsed = read::read(&environment::everything(), source)?;
        let known = |name: &str| self.variables.get(name).cloned();
        let (output, mut problems) = infer::infer(&parsed.ast, &declarations::KUBERNETES, &known);
        if problems.is_empty() {
            problems = wrong_literals(&parsed.ast);
        }
        if !problems.is_empty() {
            return Err(parsed.report(source, problems));
        }
        let Parsed { ast, depth, .. } = parsed;
        Ok(Program {
            source: source.into(),
            output,
            depth,
            names: Arc::new(check::variables(&ast)),
            ast: Arc::new(meter::metered(ast)),
        })
    }
}

/// Texts that their function can never use.
fn wrong_literals(ast: &Ast) -> Vec<(u64, String)> {
    let mut found = Vec::new();
    check::each(ast, &mut |node| {
        let Expr::Call(CallExpr {
            func_name, args, ..
        }) = &node.expr
        else {
            return;
        };
        let Some(argument) = args.last() else { return };
        let Expr::Literal(LiteralValue::String(text)) = &argument.expr else {
            return;
        };
        let fits = match func_name.as_str() {
            "duration" | "timestamp" => {
                let value = || CowVal::owned(CelString::from(text.inner().to_owned()));
                environment::everything()
                    .find_overload(func_name, &[value()])
                    .is_some_and(|function| function(vec![value()]).is_ok())
            }
            "matches" => regex::Regex::new(text.inner()).is_ok(),
            _ => true,
        };
        if !fits {
            found.push((argument.id, format!("invalid {func_name} argument")));
        }
    });
    found
}

/// An expression that was read and checked.
#[derive(Debug, Clone)]
pub struct Program {
    source: Arc<str>,
    ast: Arc<Ast>,
    depth: usize,
    output: Type,
    names: Arc<BTreeSet<String>>,
}

/// What an expression came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// A bool.
    Bool(bool),
    /// A text.
    Text(String),
    /// `null`.
    Null,
    /// Anything else: the name of its type.
    Other(String),
}

/// Why an expression came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It cost too much.
    #[error("operation cancelled: actual cost limit exceeded")]
    Exhausted,
    /// It cannot be evaluated over these values, which the text may quote.
    #[error("{0}")]
    Evaluation(String),
}

/// What several expressions may cost together; each of them is bounded by itself as well.
#[derive(Debug)]
pub struct Budget {
    left: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            left: meter::BUDGET * 10,
        }
    }
}

impl Budget {
    /// Whether nothing is left.
    pub fn is_spent(&self) -> bool {
        self.left == 0
    }
}

/// Values of variables.
#[derive(Debug, Clone, Default)]
pub struct Variables {
    values: BTreeMap<String, Value>,
}

impl Variables {
    /// The same with one more.
    #[must_use]
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.values.insert(name.to_owned(), value);
        self
    }

    /// The same with a variable whose fields are the results of programs, found out when they are first used. The
    /// programs may use the other variables, and fields of this one.
    #[must_use]
    pub fn with_composed(self, name: &str, fields: Vec<(String, Result<Program, String>)>) -> Self {
        let composed = Composed::new(name, fields, self.clone());
        self.with(name, Value(Box::new(composed)))
    }
}

impl VariableResolver for Variables {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        self.values
            .get(variable)
            .map(|value| CowVal::Borrowed(value.0.as_ref()))
    }
}

impl Program {
    /// The text of the expression.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The type of its result.
    pub fn output(&self) -> &Type {
        &self.output
    }

    /// Whether it uses a variable.
    pub fn uses(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Evaluates.
    pub fn run(&self, variables: &Variables, budget: &mut Budget) -> Result<Answer, Failure> {
        let most = budget.left.min(meter::BUDGET);
        let evaluate = || {
            let mut context = Context::with_env(environment::everything());
            context.set_variable_resolver(variables);
            meter::limited(most, || {
                let value = cel::Value::resolve_val(&self.ast, &context)?;
                Ok(answer(value.as_ref()))
            })
        };
        // Fields that are evaluated when they are used nest inside this expression.
        let composed = variables
            .values
            .iter()
            .any(|(name, value)| self.uses(name) && value.0.downcast_ref::<Composed>().is_some());
        let depth = if composed {
            read::MAX_DEPTH
        } else {
            self.depth
        };
        let (result, left) = read::at_depth(depth, evaluate)
            .ok_or_else(|| Failure::Evaluation("the expression cannot be evaluated".to_owned()))?;
        budget.left -= most - left.unwrap_or(0);
        if left.is_none() {
            return Err(Failure::Exhausted);
        }
        result.map_err(|error| {
            let missing = self.missing(&error, variables);
            Failure::Evaluation(missing.unwrap_or_else(|| self.reason(&error)))
        })
    }

    /// A field of what is null is missing, as Kubernetes tells it: the field, if that is what went wrong.
    fn missing(&self, error: &ExecutionError, variables: &Variables) -> Option<String> {
        let ExecutionError::NoSuchOverload(overload) = error else {
            return None;
        };
        if overload.function() != "_._" || overload.argument_types().first()? != "null_type" {
            return None;
        }
        let mut context = Context::with_env(environment::everything());
        context.set_variable_resolver(variables);
        meter::limited(meter::BUDGET, || missing_below(&self.ast, &context)).0
    }

    fn reason(&self, error: &ExecutionError) -> String {
        let shown = |value: &cel::Value| match value {
            cel::Value::Int(number) => number.to_string(),
            cel::Value::UInt(number) => number.to_string(),
            cel::Value::String(text) => text.to_string(),
            other => format!("{other:?}"),
        };
        match error {
            ExecutionError::NoSuchKey(key) => format!("no such key: {key}"),
            ExecutionError::UndeclaredReference(name) => {
                format!(
                    "no such attribute(s): {}",
                    check::attribute(&self.ast, name)
                )
            }
            ExecutionError::IndexOutOfBounds(index) => {
                format!("index out of bounds: {}", shown(index))
            }
            ExecutionError::DivisionByZero(_) => "division by zero".to_owned(),
            ExecutionError::RemainderByZero(_) => "modulus by zero".to_owned(),
            ExecutionError::Overflow(..) => "integer overflow".to_owned(),
            ExecutionError::DuplicateKey(_) => "Failed with repeated key".to_owned(),
            ExecutionError::FunctionError { function, .. }
                if matches!(function.as_str(), "int" | "uint" | "double" | "bool") =>
            {
                format!("type conversion error from 'string' to '{function}'")
            }
            ExecutionError::FunctionError { message, .. } => message.clone(),
            ExecutionError::UnsupportedKeyType(_) => "unsupported key type".to_owned(),
            _ => "no such overload".to_owned(),
        }
    }
}

/// The first field of what is null that evaluation comes upon.
fn missing_below(node: &Ast, context: &Context<'_, '_>) -> Option<String> {
    let resolved = |node| cel::Value::resolve_val(node, context).ok();
    if let Expr::Call(call) = &node.expr
        && call.func_name == operators::CONDITIONAL
        && let [condition, yes, no] = call.args.as_slice()
    {
        return missing_below(condition, context).or_else(|| {
            let flag = *resolved(condition)?.downcast_ref::<CelBool>()?.inner();
            missing_below(if flag { yes } else { no }, context)
        });
    }
    let below = check::parts_of(node)
        .into_iter()
        .find_map(|part| missing_below(part, context));
    below.or_else(|| match &node.expr {
        Expr::Select(select) => {
            let null = resolved(&select.operand)?
                .downcast_ref::<CelNull>()
                .is_some();
            null.then(|| format!("no such key: {}", select.field))
        }
        _ => None,
    })
}

fn answer(value: &dyn Val) -> Answer {
    if let Some(flag) = value.downcast_ref::<CelBool>() {
        return Answer::Bool(*flag.inner());
    }
    if let Some(text) = value.downcast_ref::<CelString>() {
        return Answer::Text(text.inner().to_owned());
    }
    if value.downcast_ref::<CelNull>().is_some() {
        return Answer::Null;
    }
    Answer::Other(value.get_type().name().to_owned())
}

#[cfg(test)]
mod tests;
