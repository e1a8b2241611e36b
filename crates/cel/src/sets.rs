//! The extension for sets: `sets.contains`, `sets.equivalent`, `sets.intersects`.

use cel::{
    DeclarationError, Env, ExecutionError,
    common::{
        types::{CelBool, LIST_TYPE},
        value::{CowVal, Val},
    },
};

use super::meter;

/// Declares the functions.
pub(super) fn extension(env: &mut Env) -> Result<(), DeclarationError> {
    let lists = || vec![LIST_TYPE, LIST_TYPE];
    env.add_overload(
        "sets.contains",
        "list_sets_contains_list",
        lists(),
        |args| both(&args, |a, b| b.iter().all(|item| has(a, *item))),
    )?;
    env.add_overload(
        "sets.equivalent",
        "list_sets_equivalent_list",
        lists(),
        |args| {
            both(&args, |a, b| {
                a.iter().all(|item| has(b, *item)) && b.iter().all(|item| has(a, *item))
            })
        },
    )?;
    env.add_overload(
        "sets.intersects",
        "list_sets_intersects_list",
        lists(),
        |args| both(&args, |a, b| a.iter().any(|item| has(b, *item))),
    )
}

fn has(list: &[&dyn Val], item: &dyn Val) -> bool {
    list.iter().any(|other| item.equals(*other))
}

fn both<'b, 'v>(
    args: &[CowVal<'b, 'v>],
    rule: impl Fn(&[&dyn Val], &[&dyn Val]) -> bool,
) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let [a, b] = args else {
        return Err(ExecutionError::invalid_argument_count(2, args.len()));
    };
    let (a, b) = (items(a.as_ref()), items(b.as_ref()));
    meter::charge(a.len().saturating_mul(b.len()).saturating_mul(2))?;
    Ok(CowVal::owned(CelBool::from(rule(&a, &b))))
}

fn items<'b, 'v>(list: &'b (dyn Val + 'v)) -> Vec<&'b (dyn Val + 'v)> {
    let mut items = Vec::new();
    if let Some(list) = list.as_iterable() {
        let mut next = list.iter();
        while let Some(item) = next.next() {
            items.push(item);
        }
    }
    items
}
