//! `isSorted`, `sum`, `min`, `max`, and where something stands in a list.

use std::cmp::Ordering;

use cel::{
    DeclarationError, Env, ExecutionError,
    common::{
        types::{CelBool, CelInt, CelList, DYN_TYPE, LIST_TYPE},
        value::{CowVal, Val},
    },
};

use super::{Arguments, Outcome, failed};

/// Declares the functions.
pub(super) fn extension(env: &mut Env) -> Result<(), DeclarationError> {
    env.add_member_overload("isSorted", "list_is_sorted", LIST_TYPE, vec![], |args| {
        let mut sorted = true;
        for pair in items(&args)?.windows(2) {
            sorted &= compare(pair[0].as_ref(), pair[1].as_ref())? != Ordering::Greater;
        }
        Ok(CowVal::owned(CelBool::from(sorted)))
    })?;
    env.add_member_overload("sum", "list_sum", LIST_TYPE, vec![], |args| {
        let mut items = items(&args)?.iter();
        let Some(first) = items.next() else {
            return Ok(CowVal::owned(CelInt::from(0)));
        };
        let mut sum = first.clone();
        for item in items {
            let adder = sum.as_adder().ok_or_else(no_overload)?;
            sum = adder.add(item.as_ref())?.into_owned();
        }
        Ok(CowVal::Owned(sum))
    })?;
    env.add_member_overload("min", "list_min", LIST_TYPE, vec![], |args| {
        extreme(&args, "min", Ordering::Less)
    })?;
    env.add_member_overload("max", "list_max", LIST_TYPE, vec![], |args| {
        extreme(&args, "max", Ordering::Greater)
    })?;
    env.add_member_overload(
        "indexOf",
        "list_index_of",
        LIST_TYPE,
        vec![DYN_TYPE],
        |args| {
            position(&args, |items, wanted| {
                items.iter().position(|item| item.equals(wanted))
            })
        },
    )?;
    env.add_member_overload(
        "lastIndexOf",
        "list_last_index_of",
        LIST_TYPE,
        vec![DYN_TYPE],
        |args| {
            position(&args, |items, wanted| {
                items.iter().rposition(|item| item.equals(wanted))
            })
        },
    )
}

fn no_overload() -> ExecutionError {
    ExecutionError::no_such_member_overload("list", Vec::new())
}

fn items<'a, 'b, 'v>(
    args: &'a Arguments<'b, 'v>,
) -> Result<&'a [Box<dyn Val + 'v>], ExecutionError> {
    args.first()
        .and_then(|list| list.downcast_ref::<CelList>())
        .map(|list| list.inner())
        .ok_or_else(no_overload)
}

fn compare(a: &dyn Val, b: &dyn Val) -> Result<Ordering, ExecutionError> {
    a.as_comparer().ok_or_else(no_overload)?.compare(b)
}

fn extreme<'b, 'v>(args: &Arguments<'b, 'v>, name: &str, wanted: Ordering) -> Outcome<'b, 'v> {
    let mut items = items(args)?.iter();
    let mut best = items
        .next()
        .ok_or_else(|| failed(format!("{name} called on empty list")))?;
    for item in items {
        if compare(item.as_ref(), best.as_ref())? == wanted {
            best = item;
        }
    }
    Ok(CowVal::Owned(best.clone()))
}

fn position<'b, 'v>(
    args: &Arguments<'b, 'v>,
    find: impl FnOnce(&[Box<dyn Val + 'v>], &dyn Val) -> Option<usize>,
) -> Outcome<'b, 'v> {
    let wanted = args.get(1).ok_or_else(no_overload)?;
    let found = find(items(args)?, wanted.as_ref());
    let index = found.map_or(-1, |index| index as i64);
    Ok(CowVal::owned(CelInt::from(index)))
}
