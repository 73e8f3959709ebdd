//! Sizes and durations as text: "512MiB", "30s".
//!
//! A number always carries its unit, so that nobody has to know what a bare `30` means. Sizes count in powers of 1024,
//! and their units say so. Printing gives the shortest exact form, which reads back to the same value.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Bytes, written as `512B`, `32KiB`, `4GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// A length of time, written as `250ms`, `30s`, `5m`, `1h`, `1d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanDuration(pub Duration);

/// Why a text is no size or no duration; the message says what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Digits only.
    #[error("{number} has no unit; write {units}, such as \"{number}{example}\"")]
    NoUnit {
        /// The digits.
        number: String,
        /// The units there are.
        units: &'static str,
        /// One of them.
        example: &'static str,
    },
    /// It does not begin with a digit.
    #[error("{text:?} is not a whole number with a unit; write {units}, such as {example:?}")]
    NoNumber {
        /// The text.
        text: String,
        /// The units there are.
        units: &'static str,
        /// A whole example.
        example: &'static str,
    },
    /// `1.5GiB`.
    #[error("{text:?} is not a whole number; write it in a smaller unit")]
    Fraction {
        /// The text.
        text: String,
    },
    /// A unit that is none of ours.
    #[error("{text:?} has the unknown unit {unit:?}; use {units}")]
    UnknownUnit {
        /// The text.
        text: String,
        /// What follows its digits.
        unit: String,
        /// The units there are.
        units: &'static str,
    },
    /// More than can be counted.
    #[error("{text:?} is too large")]
    TooLarge {
        /// The text.
        text: String,
    },
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (number, unit) = split(text, &SIZE)?;
        let Some((_, bytes)) = SIZE.units.iter().find(|(name, _)| *name == unit) else {
            // "4GB" may mean 4,000,000,000 or 4 GiB: whoever wrote it decides.
            let decimal = ["k", "m", "g", "t", "kb", "mb", "gb", "tb"].contains(&unit.to_ascii_lowercase().as_str());
            let units = if decimal { "KiB, MiB or GiB" } else { SIZE.names };
            return Err(unknown_unit(text, unit, units));
        };
        let bytes = u128::from(number) * bytes;
        u64::try_from(bytes).map(Self).map_err(|_| too_large(text))
    }
}

impl FromStr for HumanDuration {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (number, unit) = split(text, &TIME)?;
        let Some((_, nanos)) = TIME.units.iter().find(|(name, _)| *name == unit) else {
            return Err(unknown_unit(text, unit, TIME.names));
        };
        let nanos = u128::from(number) * nanos;
        let secs = u64::try_from(nanos / NANOS_PER_SEC).map_err(|_| too_large(text))?;
        let rest = u32::try_from(nanos % NANOS_PER_SEC).map_err(|_| too_large(text))?;
        Ok(Self(Duration::new(secs, rest)))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_largest(f, u128::from(self.0), &SIZE, "0B")
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_largest(f, self.0.as_nanos(), &TIME, "0s")
    }
}

/// What one dimension is measured in; the units stand from the largest.
struct Dimension {
    units: &'static [(&'static str, u128)],
    names: &'static str,
    unit_example: &'static str,
    example: &'static str,
}

const SIZE: Dimension = Dimension {
    units: &[
        ("TiB", 1 << 40),
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
        ("B", 1),
    ],
    names: "B, KiB, MiB, GiB or TiB",
    unit_example: "MiB",
    example: "512MiB",
};

const NANOS_PER_SEC: u128 = 1_000_000_000;

/// `us` and `ns` are there so that every duration has an exact form; messages do not offer them.
const TIME: Dimension = Dimension {
    units: &[
        ("d", 86_400 * NANOS_PER_SEC),
        ("h", 3_600 * NANOS_PER_SEC),
        ("m", 60 * NANOS_PER_SEC),
        ("s", NANOS_PER_SEC),
        ("ms", 1_000_000),
        ("us", 1_000),
        ("ns", 1),
    ],
    names: "ms, s, m, h or d",
    unit_example: "s",
    example: "30s",
};

/// The number and the unit; the unit is not empty.
fn split<'a>(text: &'a str, dimension: &Dimension) -> Result<(u64, &'a str), UnitError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(UnitError::NoNumber {
            text: text.to_owned(),
            units: dimension.names,
            example: dimension.example,
        });
    }
    if unit.is_empty() {
        return Err(UnitError::NoUnit {
            number: number.to_owned(),
            units: dimension.names,
            example: dimension.unit_example,
        });
    }
    if unit.starts_with(['.', ',']) {
        return Err(UnitError::Fraction { text: text.to_owned() });
    }
    let number = number.parse().map_err(|_| too_large(text))?;
    Ok((number, unit))
}

fn unknown_unit(text: &str, unit: &str, units: &'static str) -> UnitError {
    UnitError::UnknownUnit {
        text: text.to_owned(),
        unit: unit.to_owned(),
        units,
    }
}

fn too_large(text: &str) -> UnitError {
    UnitError::TooLarge { text: text.to_owned() }
}

fn write_largest(f: &mut fmt::Formatter<'_>, amount: u128, dimension: &Dimension, zero: &str) -> fmt::Result {
    if amount == 0 {
        return f.write_str(zero);
    }
    let (name, unit) = dimension
        .units
        .iter()
        .find(|(_, unit)| amount.is_multiple_of(*unit))
        .expect("invariant: the smallest unit is 1, and everything is a multiple of it");
    write!(f, "{}{name}", amount / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_printed_in_their_shortest_exact_form() {
        for (text, bytes, printed) in [
            ("0B", 0, "0B"),
            ("0GiB", 0, "0B"),
            ("1B", 1, "1B"),
            ("1023B", 1023, "1023B"),
            ("1024B", 1024, "1KiB"),
            ("32KiB", 32 << 10, "32KiB"),
            ("512MiB", 512 << 20, "512MiB"),
            ("1536MiB", 1536 << 20, "1536MiB"),
            ("4096MiB", 4 << 30, "4GiB"),
            ("4GiB", 4 << 30, "4GiB"),
            ("2TiB", 2 << 40, "2TiB"),
            ("18446744073709551615B", u64::MAX, "18446744073709551615B"),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
            assert_eq!(ByteSize(bytes).to_string(), printed, "{text}");
            assert_eq!(printed.parse(), Ok(ByteSize(bytes)), "{printed}");
        }
    }

    #[test]
    fn durations_are_read_and_printed_in_their_shortest_exact_form() {
        for (text, duration, printed) in [
            ("0s", Duration::ZERO, "0s"),
            ("0d", Duration::ZERO, "0s"),
            ("250ms", Duration::from_millis(250), "250ms"),
            ("1000ms", Duration::from_secs(1), "1s"),
            ("30s", Duration::from_secs(30), "30s"),
            ("75s", Duration::from_secs(75), "75s"),
            ("120s", Duration::from_secs(120), "2m"),
            ("5m", Duration::from_secs(300), "5m"),
            ("1h", Duration::from_secs(3_600), "1h"),
            ("1d", Duration::from_secs(86_400), "1d"),
            ("1500us", Duration::from_micros(1_500), "1500us"),
            ("7ns", Duration::from_nanos(7), "7ns"),
        ] {
            assert_eq!(text.parse(), Ok(HumanDuration(duration)), "{text}");
            assert_eq!(HumanDuration(duration).to_string(), printed, "{text}");
            assert_eq!(printed.parse(), Ok(HumanDuration(duration)), "{printed}");
        }
        assert_eq!(
            HumanDuration(Duration::MAX).to_string().parse(),
            Err::<HumanDuration, _>(too_large("18446744073709551615999999999ns")),
            "more nanoseconds than are counted: printed, and refused when read"
        );
    }

    #[test]
    fn a_text_that_is_no_size_says_what_to_write() {
        for (text, message) in [
            (
                "512",
                r#"512 has no unit; write B, KiB, MiB, GiB or TiB, such as "512MiB""#,
            ),
            ("4GB", r#""4GB" has the unknown unit "GB"; use KiB, MiB or GiB"#),
            ("4g", r#""4g" has the unknown unit "g"; use KiB, MiB or GiB"#),
            (
                "4gib",
                r#""4gib" has the unknown unit "gib"; use B, KiB, MiB, GiB or TiB"#,
            ),
            (
                "4 GiB",
                r#""4 GiB" has the unknown unit " GiB"; use B, KiB, MiB, GiB or TiB"#,
            ),
            (
                "1.5GiB",
                r#""1.5GiB" is not a whole number; write it in a smaller unit"#,
            ),
            (
                "1,5GiB",
                r#""1,5GiB" is not a whole number; write it in a smaller unit"#,
            ),
            (
                "-1KiB",
                r#""-1KiB" is not a whole number with a unit; write B, KiB, MiB, GiB or TiB, such as "512MiB""#,
            ),
            (
                "",
                r#""" is not a whole number with a unit; write B, KiB, MiB, GiB or TiB, such as "512MiB""#,
            ),
            ("16777216TiB", r#""16777216TiB" is too large"#),
            ("18446744073709551616B", r#""18446744073709551616B" is too large"#),
        ] {
            let error = text.parse::<ByteSize>().expect_err(text);
            assert_eq!(error.to_string(), message, "{text}");
        }
    }

    #[test]
    fn a_text_that_is_no_duration_says_what_to_write() {
        for (text, message) in [
            ("30", r#"30 has no unit; write ms, s, m, h or d, such as "30s""#),
            ("0", r#"0 has no unit; write ms, s, m, h or d, such as "0s""#),
            ("30sec", r#""30sec" has the unknown unit "sec"; use ms, s, m, h or d"#),
            ("30S", r#""30S" has the unknown unit "S"; use ms, s, m, h or d"#),
            ("1m30s", r#""1m30s" has the unknown unit "m30s"; use ms, s, m, h or d"#),
            ("0.5s", r#""0.5s" is not a whole number; write it in a smaller unit"#),
            (
                "s",
                r#""s" is not a whole number with a unit; write ms, s, m, h or d, such as "30s""#,
            ),
            ("18446744073709551615d", r#""18446744073709551615d" is too large"#),
        ] {
            let error = text.parse::<HumanDuration>().expect_err(text);
            assert_eq!(error.to_string(), message, "{text}");
        }
    }
}
