//! Floats as Go's `strconv.FormatFloat(f, 'g', -1, …)` writes them.

/// With the precision of a 64-bit float, and the names that go-yaml has for the special ones.
pub(crate) fn go_g64(float: f64) -> String {
    special(float).unwrap_or_else(|| general(&format!("{float:e}")))
}

/// With the precision of a 32-bit float, as sigs.k8s.io/yaml writes keys.
pub(crate) fn go_g32(float: f64) -> String {
    let float = float as f32;
    special(float.into()).unwrap_or_else(|| general(&format!("{float:e}")))
}

fn special(float: f64) -> Option<String> {
    if float.is_nan() {
        Some(".nan".into())
    } else if float.is_infinite() {
        Some(if float > 0.0 { ".inf" } else { "-.inf" }.into())
    } else {
        None
    }
}

/// Rewrites Rust's shortest scientific notation (`-1.25e-7`) as Go's: from 1e-4 up to 1e6 without an
/// exponent, else with one of at least two digits.
fn general(scientific: &str) -> String {
    let (mantissa, exponent) = scientific
        .split_once('e')
        .expect("scientific notation has an exponent");
    let exponent: i32 = exponent.parse().expect("an exponent is a small integer");
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    let digits = mantissa.replace('.', "");
    if !(-4..6).contains(&exponent) {
        let point = if digits.len() > 1 { "." } else { "" };
        let exponent_sign = if exponent < 0 { '-' } else { '+' };
        return format!(
            "{sign}{}{point}{}e{exponent_sign}{:02}",
            &digits[..1],
            &digits[1..],
            exponent.abs()
        );
    }
    if exponent < 0 {
        let zeros = "0".repeat((-exponent - 1) as usize);
        return format!("{sign}0.{zeros}{digits}");
    }
    let whole = exponent as usize + 1;
    if digits.len() <= whole {
        let zeros = "0".repeat(whole - digits.len());
        format!("{sign}{digits}{zeros}")
    } else {
        format!("{sign}{}.{}", &digits[..whole], &digits[whole..])
    }
}
