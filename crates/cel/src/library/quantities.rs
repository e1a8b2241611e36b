//! `quantity`: amounts such as `100m` and `2Gi`.

use std::{any::Any, cmp::Ordering};

use cel::{
    DeclarationError, Env, ExecutionError,
    common::{
        types::{CelBool, CelDouble, CelInt, INT_TYPE, STRING_TYPE, Type},
        value::{CowVal, StaticVal, Val},
    },
};

use super::{Arguments, argument, failed, text};

static QUANTITY: Type = Type::new_unspecified_type("kubernetes.Quantity");

/// The smallest parts that are told apart.
const PARTS: i128 = 1_000_000_000;

/// An amount, in billionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Quantity(i128);

impl StaticVal for Quantity {}

impl Val for Quantity {
    fn get_type(&self) -> &Type {
        &QUANTITY
    }

    fn cel_type() -> &'static Type {
        &QUANTITY
    }

    fn equals(&self, other: &dyn Val) -> bool {
        other.downcast_ref::<Self>() == Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(*self)
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl Quantity {
    fn parse(text: &str) -> Option<Self> {
        let end = text
            .find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '+' | '-'))
            .unwrap_or(text.len());
        let (number, suffix) = text.split_at(end);
        let (negative, digits) = match number.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, number.strip_prefix('+').unwrap_or(number)),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let numeric = |part: &str| part.chars().all(|c| c.is_ascii_digit());
        if digits.is_empty() || digits == "." || !numeric(whole) || !numeric(fraction) {
            return None;
        }
        // Numerator and denominator of what the suffix multiplies with.
        let (times, per) = scale(suffix)?;
        let scaled = format!("{whole}{fraction}").parse::<i128>().ok()?;
        let per = 10_i128
            .checked_pow(fraction.len() as u32)?
            .checked_mul(per)?;
        let parts = scaled.checked_mul(PARTS)?.checked_mul(times)?;
        // What is smaller than a part is rounded up.
        let parts = parts.checked_add(per - 1)? / per;
        Some(Self(if negative { -parts } else { parts }))
    }

    fn whole(self) -> Option<i64> {
        (self.0 % PARTS == 0)
            .then(|| i64::try_from(self.0 / PARTS).ok())
            .flatten()
    }
}

fn scale(suffix: &str) -> Option<(i128, i128)> {
    let decimal = ["", "k", "M", "G", "T", "P", "E"];
    let binary = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let small = ["", "m", "u", "n"];
    let place = |list: &[&str]| list.iter().position(|known| *known == suffix);
    if let Some(steps) = place(&decimal) {
        return Some((1000_i128.pow(steps as u32), 1));
    }
    if let Some(steps) = place(&binary) {
        return Some((1024_i128.pow(steps as u32), 1));
    }
    if let Some(steps) = place(&small) {
        return Some((1, 1000_i128.pow(steps as u32)));
    }
    let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    let power = 10_i128.checked_pow(exponent.unsigned_abs())?;
    Some(if exponent < 0 { (1, power) } else { (power, 1) })
}

/// Declares the functions.
pub(super) fn extension(env: &mut Env) -> Result<(), DeclarationError> {
    let own = || QUANTITY.to_owned();
    env.add_overload("quantity", "string_to_quantity", vec![STRING_TYPE], |args| {
        let source = text(&args, 0)?;
        let made = Quantity::parse(source).ok_or_else(|| {
            failed("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")
        })?;
        Ok(CowVal::owned(made))
    })?;
    env.add_overload(
        "isQuantity",
        "is_quantity_string",
        vec![STRING_TYPE],
        |args| {
            let flag = Quantity::parse(text(&args, 0)?).is_some();
            Ok(CowVal::owned(CelBool::from(flag)))
        },
    )?;
    env.add_member_overload("sign", "quantity_sign", own(), vec![], |args| {
        let sign = argument::<Quantity>(&args, 0)?.0.signum() as i64;
        Ok(CowVal::owned(CelInt::from(sign)))
    })?;
    env.add_member_overload(
        "isGreaterThan",
        "quantity_is_greater_than",
        own(),
        vec![own()],
        |args| {
            Ok(CowVal::owned(CelBool::from(
                ordered(&args)? == Ordering::Greater,
            )))
        },
    )?;
    env.add_member_overload(
        "isLessThan",
        "quantity_is_less_than",
        own(),
        vec![own()],
        |args| {
            Ok(CowVal::owned(CelBool::from(
                ordered(&args)? == Ordering::Less,
            )))
        },
    )?;
    env.add_member_overload(
        "compareTo",
        "quantity_compare_to",
        own(),
        vec![own()],
        |args| Ok(CowVal::owned(CelInt::from(ordered(&args)? as i64))),
    )?;
    env.add_member_overload(
        "asApproximateFloat",
        "quantity_get_float",
        own(),
        vec![],
        |args| {
            let amount = argument::<Quantity>(&args, 0)?.0 as f64 / PARTS as f64;
            Ok(CowVal::owned(CelDouble::from(amount)))
        },
    )?;
    env.add_member_overload("asInteger", "quantity_get_int", own(), vec![], |args| {
        let whole = argument::<Quantity>(&args, 0)?.whole();
        let whole = whole.ok_or_else(|| failed("cannot convert value to integer"))?;
        Ok(CowVal::owned(CelInt::from(whole)))
    })?;
    env.add_member_overload("isInteger", "quantity_is_integer", own(), vec![], |args| {
        let flag = argument::<Quantity>(&args, 0)?.whole().is_some();
        Ok(CowVal::owned(CelBool::from(flag)))
    })?;
    for (id, kind) in [("quantity_add", own()), ("quantity_add_int", INT_TYPE)] {
        env.add_member_overload("add", id, own(), vec![kind], |args| {
            let (a, b) = (argument::<Quantity>(&args, 0)?.0, amount(&args)?);
            Ok(CowVal::owned(Quantity(a.saturating_add(b))))
        })?;
    }
    for (id, kind) in [("quantity_sub", own()), ("quantity_sub_int", INT_TYPE)] {
        env.add_member_overload("sub", id, own(), vec![kind], |args| {
            let (a, b) = (argument::<Quantity>(&args, 0)?.0, amount(&args)?);
            Ok(CowVal::owned(Quantity(a.saturating_sub(b))))
        })?;
    }
    Ok(())
}

fn ordered(args: &Arguments<'_, '_>) -> Result<Ordering, ExecutionError> {
    Ok(argument::<Quantity>(args, 0)?.cmp(argument::<Quantity>(args, 1)?))
}

/// The second argument, a quantity or a number.
fn amount(args: &Arguments<'_, '_>) -> Result<i128, ExecutionError> {
    match argument::<CelInt>(args, 1) {
        Ok(number) => Ok(i128::from(*number.inner()) * PARTS),
        Err(_) => Ok(argument::<Quantity>(args, 1)?.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read() {
        for (text, parts) in [
            ("1", Some(PARTS)),
            ("100m", Some(PARTS / 10)),
            ("1.5", Some(PARTS * 3 / 2)),
            ("1Ki", Some(1024 * PARTS)),
            ("-2k", Some(-2000 * PARTS)),
            ("1e3", Some(1000 * PARTS)),
            ("12e-1", Some(PARTS * 12 / 10)),
            ("1E", Some(1_000_000_000_000_000_000 * PARTS)),
            ("", None),
            (".", None),
            ("1.2.3", None),
            ("1X", None),
            ("--1", None),
        ] {
            assert_eq!(Quantity::parse(text), parts.map(Quantity), "{text}");
        }
    }
}
