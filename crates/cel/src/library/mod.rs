//! The functions that Kubernetes adds to CEL.

mod addresses;
pub(crate) mod authorization;
mod lists;
mod patterns;
mod quantities;

use cel::{
    DeclarationError, Env, ExecutionError,
    common::{
        types::CelString,
        value::{CowVal, StaticVal},
    },
};

/// What a function is given and gives.
type Arguments<'b, 'v> = Vec<CowVal<'b, 'v>>;
type Outcome<'b, 'v> = Result<CowVal<'b, 'v>, ExecutionError>;

/// Declares all of them.
pub(crate) fn extension(env: &mut Env) -> Result<(), DeclarationError> {
    authorization::extension(env)?;
    lists::extension(env)?;
    patterns::extension(env)?;
    quantities::extension(env)?;
    addresses::extension(env)
}

/// The argument at a place, which is of this type.
fn argument<'a, T: StaticVal>(
    arguments: &'a Arguments<'_, '_>,
    at: usize,
) -> Result<&'a T, ExecutionError> {
    arguments
        .get(at)
        .and_then(|value| value.as_any()?.downcast_ref::<T>())
        .ok_or_else(ExecutionError::missing_argument_or_target)
}

/// The text at a place.
fn text<'a>(arguments: &'a Arguments<'_, '_>, at: usize) -> Result<&'a str, ExecutionError> {
    arguments
        .get(at)
        .and_then(|value| Some(value.downcast_ref::<CelString>()?.inner()))
        .ok_or_else(ExecutionError::missing_argument_or_target)
}

/// A failure with a text of its own.
fn failed(text: impl Into<String>) -> ExecutionError {
    ExecutionError::function_error("library", text.into())
}
