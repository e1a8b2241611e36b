//! A variable whose fields are the results of programs.

use std::{cell::Cell, fmt, sync::Arc};

use cel::{
    Context, ExecutionError,
    common::{
        traits::Indexer,
        types::CelString,
        value::{CowVal, StaticVal, Val},
    },
};

use super::{Program, Variables};
use crate::environment;

/// How deeply variables may use one another.
const MOST_NESTED: usize = 64;

thread_local! {
    static NESTED: Cell<usize> = const { Cell::new(0) };
}

/// A variable whose fields are evaluated when they are used.
#[derive(Clone)]
pub(super) struct Composed(Arc<Inner>);

impl Composed {
    pub(super) fn new(
        name: &str,
        fields: Vec<(String, Result<Program, String>)>,
        variables: Variables,
    ) -> Self {
        Self(Arc::new(Inner {
            name: name.to_owned(),
            fields,
            variables,
        }))
    }
}

struct Inner {
    name: String,
    fields: Vec<(String, Result<Program, String>)>,
    variables: Variables,
}

impl fmt::Debug for Composed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Composed").field(&self.0.name).finish()
    }
}

static COMPOSED: cel::common::types::Type =
    cel::common::types::Type::new_unspecified_type("kubernetes.variables");

impl StaticVal for Composed {}

impl Val for Composed {
    fn get_type(&self) -> &cel::common::types::Type {
        &COMPOSED
    }

    fn cel_type() -> &'static cel::common::types::Type {
        &COMPOSED
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn std::any::Any> {
        Some(self)
    }
}

impl Indexer for Composed {
    fn get<'b, 'v>(&'b self, index: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let name = index
            .downcast_ref::<CelString>()
            .map_or("", |name| name.inner());
        let (name, program) = self
            .0
            .fields
            .iter()
            .find(|(known, _)| known == name)
            .ok_or_else(|| ExecutionError::no_such_key(name))?;
        let program = program.as_ref().map_err(|why| {
            let text = format!("composited variable \"{name}\" fails to compile: {why}");
            ExecutionError::function_error("variables", text)
        })?;
        // Owned by the result, which may outlive what it is made of.
        let mut context = Context::with_env(environment::everything());
        for (name, value) in &self.0.variables.values {
            let used = program.names.iter().any(|used| {
                name == used
                    || name
                        .strip_prefix(used)
                        .is_some_and(|rest| rest.starts_with('.'))
            });
            if used {
                context.add_variable_as_val(name.as_str(), value.0.clone_as_boxed());
            }
        }
        if program.uses(&self.0.name) {
            context.add_variable_as_val(self.0.name.as_str(), Box::new(self.clone()));
        }
        let nested = NESTED.get();
        if nested == MOST_NESTED {
            let text = format!("variables nest deeper than {MOST_NESTED}");
            return Err(ExecutionError::function_error("variables", text));
        }
        NESTED.set(nested + 1);
        let value = cel::Value::resolve_val(&program.ast, &context);
        NESTED.set(nested);
        let value = value.map_err(|error| {
            let why = program.reason(&error);
            let text = format!("composited variable \"{name}\" fails to evaluate: {why}");
            ExecutionError::function_error("variables", text)
        })?;
        Ok(CowVal::Owned(value.into_owned()))
    }

    fn steal<'v>(self: Box<Self>, index: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(index).map(CowVal::into_owned)
    }
}
