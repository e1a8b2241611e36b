//! Quantities such as `250m`, `1Gi` or `2`, for sums.

/// A quantity in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Quantity {
    milli: i128,
    /// Whether it was written with a binary suffix, and is to be written so again.
    binary: bool,
}

const BINARY: [(&str, u32); 6] = [
    ("Ki", 1),
    ("Mi", 2),
    ("Gi", 3),
    ("Ti", 4),
    ("Pi", 5),
    ("Ei", 6),
];
const DECIMAL: [(&str, u32); 6] = [("k", 1), ("M", 2), ("G", 3), ("T", 4), ("P", 5), ("E", 6)];

impl Quantity {
    /// Reads a quantity; `None` where it is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        for (suffix, power) in BINARY {
            if let Some(number) = text.strip_suffix(suffix) {
                return Some(Self {
                    milli: scaled(number, 1024_i128.pow(power) * 1000)?,
                    binary: true,
                });
            }
        }
        for (suffix, power) in DECIMAL {
            if let Some(number) = text.strip_suffix(suffix) {
                return Some(Self {
                    milli: scaled(number, 1000_i128.pow(power) * 1000)?,
                    binary: false,
                });
            }
        }
        if let Some(number) = text.strip_suffix('m') {
            return Some(Self {
                milli: scaled(number, 1)?,
                binary: false,
            });
        }
        Some(Self {
            milli: scaled(text, 1000)?,
            binary: false,
        })
    }

    pub(crate) fn whole(number: usize) -> Self {
        Self {
            milli: i128::try_from(number)
                .unwrap_or(i128::MAX / 1000)
                .saturating_mul(1000),
            binary: false,
        }
    }

    pub(crate) fn add(self, other: Self) -> Self {
        Self {
            milli: self.milli.saturating_add(other.milli),
            binary: self.binary || other.binary,
        }
    }
}

impl std::fmt::Display for Quantity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.milli % 1000 != 0 {
            return write!(f, "{}m", self.milli);
        }
        let units = self.milli / 1000;
        let (table, base) = if self.binary {
            (&BINARY, 1024_i128)
        } else {
            (&DECIMAL, 1000_i128)
        };
        for (suffix, power) in table.iter().rev() {
            let size = base.pow(*power);
            if units != 0 && units % size == 0 {
                return write!(f, "{}{suffix}", units / size);
            }
        }
        write!(f, "{units}")
    }
}

/// A decimal number times a factor, rounded up.
fn scaled(number: &str, factor: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let negative = whole.starts_with('-');
    let whole: i128 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let mut value = whole.checked_mul(factor)?;
    if !fraction.is_empty() {
        if fraction.len() > 18 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let digits: i128 = fraction.parse().ok()?;
        let divisor = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
        let part = (digits.checked_mul(factor)? + divisor - 1) / divisor;
        value = if negative { value - part } else { value + part };
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_written_as_people_would() {
        let sum = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| Quantity::parse(text).unwrap())
                .fold(Quantity::default(), Quantity::add)
                .to_string()
        };
        assert_eq!(sum(&["250m", "750m"]), "1");
        assert_eq!(sum(&["250m", "1"]), "1250m");
        assert_eq!(sum(&["512Mi", "512Mi"]), "1Gi");
        assert_eq!(sum(&["0.5"]), "500m");
        assert_eq!(sum(&[]), "0");
        assert_eq!(Quantity::parse("lots"), None);
    }
}
