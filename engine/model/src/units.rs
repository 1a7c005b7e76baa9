//! Numbers with units as users write them: fuel `2G`, sizes `64MiB`, times `30s`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Highest number of any unit: what JSON can carry exactly (2^53 - 1).
pub const MAX_QUANTITY: u64 = (1 << 53) - 1;

/// A text that is not a quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// It doesn't begin with a number.
    #[error("read `{0}` as a quantity: it does not begin with a whole number")]
    NoNumber(String),
    /// The unit is none of this kind.
    #[error("read the unit `{unit}`: expected {expected}")]
    Unit {
        /// What stood there.
        unit: String,
        /// The units of this kind, for people.
        expected: &'static str,
    },
    /// Beyond [`MAX_QUANTITY`].
    #[error("read `{0}`: it is larger than 2^53 - 1")]
    TooLarge(String),
}

fn parse(text: &str, units: &[(&str, u64)], expected: &'static str) -> Result<u64, QuantityError> {
    let text = text.trim();
    let digits = text.bytes().take_while(|b| b.is_ascii_digit() || *b == b'_').count();
    let (number, unit) = text.split_at(digits);
    let number = number.replace('_', "");
    let shown = || text.chars().take(40).collect::<String>();
    if number.is_empty() {
        return Err(QuantityError::NoNumber(shown()));
    }
    let number: u64 = number.parse().map_err(|_| QuantityError::TooLarge(shown()))?;
    let unit = unit.trim_start();
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(QuantityError::Unit { unit: unit.chars().take(40).collect(), expected });
    };
    match number.checked_mul(*factor) {
        Some(value) if value <= MAX_QUANTITY => Ok(value),
        _ => Err(QuantityError::TooLarge(shown())),
    }
}

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident, $units:expr, $expected:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl From<u64> for $name {
            fn from(number: u64) -> Self {
                Self(number)
            }
        }

        impl FromStr for $name {
            type Err = QuantityError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                parse(text, $units, $expected).map(Self)
            }
        }
    };
}

quantity!(
    /// Units of fuel: about one per wasm instruction.
    Fuel, &[("", 1), ("K", 1_000), ("M", 1_000_000), ("G", 1_000_000_000), ("T", 1_000_000_000_000)],
    "nothing, `K`, `M`, `G` or `T` (powers of ten)"
);
quantity!(
    /// A number of bytes.
    Bytes,
    &[
        ("", 1), ("B", 1), ("kB", 1_000), ("KB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000),
        ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)
    ],
    "`B`, `kB`, `MB`, `GB`, `KiB`, `MiB` or `GiB`"
);
quantity!(
    /// A span of time in milliseconds.
    Millis, &[("ms", 1), ("s", 1_000), ("m", 60_000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000)],
    "`ms`, `s`, `m`, `h` or `d`"
);

impl fmt::Display for Fuel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (n, unit) =
            scale(self.0, &[(1_000_000_000_000, "T"), (1_000_000_000, "G"), (1_000_000, "M"), (1_000, "K")]);
        f.pad(&format!("{n}{unit}"))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (n, unit) = scale(self.0, &[(1 << 30, " GiB"), (1 << 20, " MiB"), (1 << 10, " KiB"), (1, " B")]);
        f.pad(&format!("{n}{unit}"))
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0 {
            ms @ 0..1_000 => format!("{ms} ms"),
            ms @ 1_000..60_000 => format!("{} s", scale(ms, &[(1_000, "")]).0),
            ms @ 60_000..3_600_000 => parts(&[(ms / 60_000, "min"), (ms / 1_000 % 60, "s")]),
            ms => parts(&[(ms / 86_400_000, "d"), (ms / 3_600_000 % 24, "h"), (ms / 60_000 % 60, "min")]),
        };
        f.pad(&text)
    }
}

/// What is not zero of a number in several units.
fn parts(parts: &[(u64, &str)]) -> String {
    let shown = parts.iter().filter(|(number, _)| *number > 0);
    shown.map(|(number, unit)| format!("{number} {unit}")).collect::<Vec<_>>().join(" ")
}

/// `value` in the largest unit that fits, with up to three digits behind the point where they are not zero.
fn scale(value: u64, units: &[(u64, &'static str)]) -> (String, &'static str) {
    let Some(&(size, unit)) = units.iter().find(|(size, _)| value >= *size) else {
        return (value.to_string(), units.last().filter(|(size, _)| *size == 1).map_or("", |(_, unit)| unit));
    };
    let thousandths = (u128::from(value) * 1_000 / u128::from(size)) % 1_000;
    let mut text = (value / size).to_string();
    if thousandths > 0 && value / size < 1_000 {
        text += format!(".{thousandths:03}").trim_end_matches('0');
    }
    (text, unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_and_shown() {
        assert_eq!("2G".parse(), Ok(Fuel(2_000_000_000)));
        assert_eq!("64MiB".parse(), Ok(Bytes(64 << 20)));
        assert_eq!("1_000 kB".parse(), Ok(Bytes(1_000_000)));
        assert_eq!("5m".parse(), Ok(Millis(300_000)));
        assert_eq!(Fuel(2_500_000_000).to_string(), "2.5G");
        assert_eq!(Fuel(12).to_string(), "12");
        assert_eq!(Bytes(1536).to_string(), "1.5 KiB");
        assert_eq!(Bytes(0).to_string(), "0 B");
        assert_eq!(Millis(1_500).to_string(), "1.5 s");
        assert_eq!("7d".parse(), Ok(Millis(604_800_000)));
        assert_eq!(Millis(61_000).to_string(), "1 min 1 s");
        assert_eq!(Millis(300_000).to_string(), "5 min");
        assert_eq!(Millis(86_399_999).to_string(), "23 h 59 min");
        assert_eq!(Millis(604_800_000).to_string(), "7 d");
        assert_eq!(Millis(90_061_000).to_string(), "1 d 1 h 1 min");
    }

    #[test]
    fn wrong_quantities_say_why() {
        assert!(matches!("".parse::<Fuel>(), Err(QuantityError::NoNumber(_))));
        assert!(matches!("-1".parse::<Fuel>(), Err(QuantityError::NoNumber(_))));
        assert!(matches!("1X".parse::<Bytes>(), Err(QuantityError::Unit { .. })));
        assert!(matches!("30".parse::<Millis>(), Err(QuantityError::Unit { .. })));
        assert!(matches!("99999999T".parse::<Fuel>(), Err(QuantityError::TooLarge(_))));
        assert!(matches!("99999999999999999999999".parse::<Fuel>(), Err(QuantityError::TooLarge(_))));
    }
}
