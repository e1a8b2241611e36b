//! `find` and `findAll`.

use cel::{
    DeclarationError, Env, ExecutionError,
    common::{
        types::{CelInt, CelList, CelString, INT_TYPE, STRING_TYPE},
        value::{CowVal, Val},
    },
};
use regex::Regex;

use super::{Arguments, Outcome, failed, text};

/// Declares the functions.
pub(super) fn extension(env: &mut Env) -> Result<(), DeclarationError> {
    env.add_member_overload(
        "find",
        "string_find_string",
        STRING_TYPE,
        vec![STRING_TYPE],
        |args| {
            let found = pattern(&args)?.find(text(&args, 0)?);
            let found = found.map_or("", |found| found.as_str()).to_owned();
            Ok(CowVal::owned(CelString::from(found)))
        },
    )?;
    for (id, limit) in [
        ("string_find_all_string", None),
        ("string_find_all_string_int", Some(INT_TYPE)),
    ] {
        let takes = std::iter::once(STRING_TYPE).chain(limit).collect();
        env.add_member_overload("findAll", id, STRING_TYPE, takes, |args| all(&args))?;
    }
    Ok(())
}

fn pattern(args: &Arguments<'_, '_>) -> Result<Regex, ExecutionError> {
    let source = text(args, 1)?;
    Regex::new(source).map_err(|_| failed(format!("Illegal regex: error parsing regexp: {source}")))
}

fn all<'b, 'v>(args: &Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let limit = args
        .get(2)
        .and_then(|limit| Some(*limit.downcast_ref::<CelInt>()?.inner()))
        .and_then(|limit| usize::try_from(limit).ok())
        .unwrap_or(usize::MAX);
    let pattern = pattern(args)?;
    let found = pattern.find_iter(text(args, 0)?).take(limit);
    let found: Vec<Box<dyn Val + 'v>> = found
        .map(|found| Box::new(CelString::from(found.as_str().to_owned())) as Box<dyn Val + 'v>)
        .collect();
    Ok(CowVal::owned(CelList::from(found)))
}
