//! Bounds what an expression costs.
//!
//! CEL always ends, but not always soon: loops nest, and `x + x` doubles a text each time. So the tree is rewritten
//! before it is evaluated. Each list or map that a macro runs over goes through `@range`, which charges for every
//! element the size of the loop's body. What a function or operator is given goes through `@weigh`, which charges for its
//! bytes. Functions whose result may be much larger than what they are given are replaced by ours, which charge for the
//! result before they make it. When the budget is used up, all of them fail.

use std::cell::Cell;

use cel::{
    DeclarationError, Env, ExecutionError,
    common::{
        ast::{CallExpr, EntryExpr, Expr, IdedExpr, operators},
        types::{
            CelBytes, CelInt, CelList, CelMap, CelOptional, CelString, DYN_TYPE, INT_TYPE,
            LIST_TYPE, STRING_TYPE,
        },
        value::{CowVal, Val},
    },
};

use super::check;

/// What one evaluation may cost, in steps of well under a microsecond.
pub(super) const BUDGET: usize = 250_000;
/// Bytes that cost as much as one step.
const BYTES: usize = 16;
/// What compiling a regular expression costs.
const PATTERN: usize = 1_000;

thread_local! {
    static LEFT: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Runs an evaluation with this budget, and tells what is left of it: nothing where it was used up.
pub(super) fn limited<T>(budget: usize, evaluation: impl FnOnce() -> T) -> (T, Option<usize>) {
    LEFT.set(Some(budget));
    let result = evaluation();
    (result, LEFT.take())
}

/// Takes so much from the budget.
pub(super) fn charge(cost: usize) -> Result<(), ExecutionError> {
    let left = LEFT.get().and_then(|left| left.checked_sub(cost));
    LEFT.set(left);
    if left.is_some() {
        Ok(())
    } else {
        Err(ExecutionError::function_error(
            "@charge",
            "cost limit exceeded",
        ))
    }
}

/// What touching all of a value costs.
fn weight(value: &dyn Val) -> usize {
    if let Some(text) = value.downcast_ref::<CelString>() {
        return 1 + text.inner().len() / BYTES;
    }
    if let Some(bytes) = value.downcast_ref::<CelBytes>() {
        return 1 + bytes.inner().len() / BYTES;
    }
    if let Some(map) = value.downcast_ref::<CelMap>() {
        let entries = map.inner().iter();
        return 1 + entries
            .map(|(key, value)| weight(key.inner()) + weight(value.as_ref()))
            .sum::<usize>();
    }
    if let Some(list) = value.downcast_ref::<CelList>() {
        return 1 + list
            .inner()
            .iter()
            .map(|item| weight(item.as_ref()))
            .sum::<usize>();
    }
    if let Some(optional) = value.downcast_ref::<CelOptional>() {
        return 1 + optional.inner().map_or(0, weight);
    }
    1
}

fn text<'a>(value: &'a CowVal<'_, '_>) -> Result<&'a str, ExecutionError> {
    value
        .downcast_ref::<CelString>()
        .map(|text| text.inner())
        .ok_or_else(ExecutionError::missing_argument_or_target)
}

/// Declares the functions that rewritten trees call. Their names cannot be written in CEL.
pub(super) fn extension(env: &mut Env) -> Result<(), DeclarationError> {
    env.add_overload("@weigh", "weigh", vec![DYN_TYPE], |args| {
        charged(args, weight)
    })?;
    // Characters become texts of their own.
    env.add_overload("@characters", "characters", vec![DYN_TYPE], |args| {
        charged(args, |value| of_text(value, str::len))
    })?;
    env.add_overload("@pattern", "pattern", vec![DYN_TYPE], |args| {
        charged(args, |value| of_text(value, pattern_cost))
    })?;
    env.add_overload("@count", "count", vec![DYN_TYPE], |args| {
        charged(args, |value| {
            value
                .downcast_ref::<CelInt>()
                .map_or(1, |count| usize::try_from(*count.inner()).unwrap_or(0))
        })
    })?;
    env.add_overload("@range", "range", vec![DYN_TYPE, INT_TYPE], |mut args| {
        let body = args
            .pop()
            .and_then(|size| usize::try_from(*size.downcast_ref::<CelInt>()?.inner()).ok())
            .unwrap_or(1);
        charged(args, |range| {
            let elements = range.as_sizer().map_or(0, |sizer| {
                usize::try_from(*sizer.size().inner()).unwrap_or(0)
            });
            elements.saturating_mul(body).saturating_add(weight(range))
        })
    })?;
    for (id, separator) in [("join", None), ("join_separator", Some(STRING_TYPE))] {
        let args = separator.into_iter().collect();
        env.add_member_overload("@join", id, LIST_TYPE, args, |args| join(&args))?;
    }
    for (id, limit) in [("replace", None), ("replace_n", Some(INT_TYPE))] {
        let args = [STRING_TYPE, STRING_TYPE]
            .into_iter()
            .chain(limit)
            .collect();
        env.add_member_overload("@replace", id, STRING_TYPE, args, |args| replace(&args))?;
    }
    Ok(())
}

/// Hands on the only value, for what it costs.
fn charged<'b, 'v>(
    mut args: Vec<CowVal<'b, 'v>>,
    cost: impl Fn(&dyn Val) -> usize,
) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let value = args
        .pop()
        .ok_or_else(ExecutionError::missing_argument_or_target)?;
    charge(cost(value.as_ref()))?;
    Ok(value)
}

fn of_text(value: &dyn Val, cost: impl Fn(&str) -> usize) -> usize {
    value
        .downcast_ref::<CelString>()
        .map_or(1, |text| cost(text.inner()))
}

/// Counted repetitions multiply what a pattern is compiled to.
fn pattern_cost(pattern: &str) -> usize {
    let repeated = pattern
        .split('{')
        .skip(1)
        .filter_map(|rest| rest.split('}').next())
        .filter_map(|counts| {
            counts
                .split(',')
                .filter_map(|count| count.trim().parse::<usize>().ok())
                .max()
        })
        .fold(1_usize, |product, count| {
            product.saturating_mul(count.max(1))
        });
    PATTERN + pattern.len().saturating_mul(repeated)
}

fn join<'b, 'v>(args: &[CowVal<'b, 'v>]) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let list = args
        .first()
        .and_then(|list| list.downcast_ref::<CelList>())
        .ok_or_else(ExecutionError::missing_argument_or_target)?;
    let separator = args.get(1).map(text).transpose()?.unwrap_or_default();
    let mut parts = Vec::with_capacity(list.inner().len());
    let mut bytes = 0_usize;
    for item in list.inner() {
        let part = item.downcast_ref::<CelString>().ok_or_else(|| {
            ExecutionError::no_such_member_overload("join", vec!["list".to_owned()])
        })?;
        bytes += part.inner().len() + separator.len();
        parts.push(part.inner());
    }
    charge(bytes / BYTES)?;
    Ok(CowVal::owned(CelString::from(parts.join(separator))))
}

fn replace<'b, 'v>(args: &[CowVal<'b, 'v>]) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let [subject, old, new, rest @ ..] = args else {
        return Err(ExecutionError::missing_argument_or_target());
    };
    let (subject, old, new) = (text(subject)?, text(old)?, text(new)?);
    let limit = rest
        .first()
        .and_then(|limit| limit.downcast_ref::<CelInt>());
    // A negative limit is none.
    let limit = limit.map_or(usize::MAX, |limit| {
        usize::try_from(*limit.inner()).unwrap_or(usize::MAX)
    });
    let found = subject.matches(old).take(limit).count();
    charge((subject.len() + found.saturating_mul(new.len())) / BYTES)?;
    Ok(CowVal::owned(CelString::from(
        subject.replacen(old, new, limit),
    )))
}

fn call(name: &str, args: Vec<IdedExpr>, id: u64) -> IdedExpr {
    IdedExpr {
        id,
        expr: Expr::Call(CallExpr {
            func_name: name.to_owned(),
            target: None,
            args,
        }),
    }
}

fn wrap(node: &mut IdedExpr, name: &str) {
    let id = node.id;
    let inner = std::mem::take(node);
    *node = call(name, vec![inner], id);
}

/// Whether a value can be large at all, and may be wrapped: what a macro gathers in must stay in its form.
fn weighs(node: &IdedExpr) -> bool {
    match &node.expr {
        Expr::Literal(_) => false,
        Expr::Ident(name) => !name.starts_with('@'),
        Expr::Select(select) => !select.test,
        _ => true,
    }
}

/// Rewrites a tree so that evaluating it is charged for.
pub(super) fn metered(mut node: IdedExpr) -> IdedExpr {
    rewrite(&mut node);
    node
}

fn rewrite(node: &mut IdedExpr) {
    match &mut node.expr {
        Expr::Call(call) => rewrite_call(call),
        Expr::Comprehension(loops) => {
            let body = check::size(&loops.loop_step).1 + check::size(&loops.loop_cond).1;
            for part in [
                &mut loops.iter_range,
                &mut loops.accu_init,
                &mut loops.loop_cond,
                &mut loops.loop_step,
                &mut loops.result,
            ] {
                rewrite(part);
            }
            let range = std::mem::take(&mut loops.iter_range);
            let id = range.id;
            let size = IdedExpr {
                id,
                expr: Expr::Literal(cel::common::ast::LiteralValue::Int(CelInt::from(
                    body as i64,
                ))),
            };
            loops.iter_range = call("@range", vec![range, size], id);
        }
        Expr::List(list) => {
            for item in &mut list.elements {
                rewrite_weighed(item);
            }
        }
        Expr::Map(map) => {
            for entry in &mut map.entries {
                if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                    rewrite_weighed(&mut entry.key);
                    rewrite_weighed(&mut entry.value);
                }
            }
        }
        Expr::Struct(fields) => {
            for entry in &mut fields.entries {
                if let EntryExpr::StructField(field) = &mut entry.expr {
                    rewrite(&mut field.value);
                }
            }
        }
        Expr::Select(select) => rewrite(&mut select.operand),
        Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => {}
    }
}

fn rewrite_weighed(node: &mut IdedExpr) {
    rewrite(node);
    if weighs(node) {
        wrap(node, "@weigh");
    }
}

fn rewrite_call(call: &mut CallExpr) {
    match call.func_name.as_str() {
        // These look at no more than a bool or one element.
        operators::LOGICAL_AND
        | operators::LOGICAL_OR
        | operators::LOGICAL_NOT
        | operators::CONDITIONAL
        | operators::INDEX
        | operators::OPT_INDEX
        | operators::OPT_SELECT
        | operators::NOT_STRICTLY_FALSE => {
            call.args.iter_mut().for_each(rewrite);
            return;
        }
        "join" | "replace" if call.target.is_some() => call.func_name.insert(0, '@'),
        "size" => {
            call.args.iter_mut().for_each(rewrite);
            call.target.iter_mut().for_each(|target| rewrite(target));
            return;
        }
        _ => {}
    }
    let counted = call.func_name == "range";
    let pattern = matches!(call.func_name.as_str(), "matches" | "find" | "findAll");
    let characters = call.func_name == "split";
    let last = call.args.len().saturating_sub(1);
    for (index, arg) in call.args.iter_mut().enumerate() {
        if counted {
            rewrite(arg);
            wrap(arg, "@count");
        } else if pattern && (index == last || call.func_name != "matches") {
            rewrite(arg);
            wrap(arg, "@pattern");
        } else {
            rewrite_weighed(arg);
        }
    }
    if let Some(target) = &mut call.target {
        let namespace =
            matches!(&target.expr, Expr::Ident(name) if check::NAMESPACES.contains(&name.as_str()));
        if !namespace {
            rewrite_weighed(target);
            if characters {
                wrap(target, "@characters");
            }
        }
    }
}
