//! Durations, sizes, numbers, choices and texts.

use std::time;

use common::units::{ByteSize, HumanDuration};
use toml::Spanned;
use toml::de::DeValue;

use crate::problem::Wrong;
use crate::schema::{Codec, Spot};

/// A duration with its unit.
pub(crate) struct Duration {
    min: time::Duration,
    max: time::Duration,
    whole_seconds: bool,
}

/// Bytes with their unit.
pub(crate) struct Size {
    min: u64,
    max: u64,
    may_be_unlimited: bool,
}

/// How many of something.
pub(crate) struct Count {
    pub(crate) min: u64,
    pub(crate) max: u64,
}

/// True or false.
pub(crate) struct Flag;

/// One of a few words, each standing for a value.
pub(crate) struct Choice<T: 'static>(pub(crate) &'static [(&'static str, T)]);

/// One of a few words as it is.
pub(crate) struct OneOf(pub(crate) &'static [&'static str]);

/// Text that means something.
pub(crate) struct Text<T> {
    pub(crate) kind: &'static str,
    pub(crate) parse: fn(&str) -> Result<T, Wrong>,
    pub(crate) print: fn(&T) -> String,
}

impl Duration {
    /// A timeout: zero would end everything at once.
    pub(crate) const TIMEOUT: Self = Self::between(time::Duration::from_millis(1), YEAR);

    /// A time to wait, which may be none.
    pub(crate) const WAIT: Self = Self::between(time::Duration::ZERO, YEAR);

    pub(crate) const fn between(min: time::Duration, max: time::Duration) -> Self {
        Self {
            min,
            max,
            whole_seconds: false,
        }
    }

    /// What the kernel takes as a number of seconds.
    pub(crate) const fn whole_seconds(min: u64, max: u64) -> Self {
        Self {
            min: time::Duration::from_secs(min),
            max: time::Duration::from_secs(max),
            whole_seconds: true,
        }
    }
}

/// Longer is as good as never, and timers do not overflow.
const YEAR: time::Duration = time::Duration::from_secs(365 * 86_400);

impl Size {
    pub(crate) const fn between(min: u64, max: u64) -> Self {
        Self {
            min,
            max,
            may_be_unlimited: false,
        }
    }

    /// `"unlimited"` stands for `u64::MAX`.
    pub(crate) const fn or_unlimited(min: u64) -> Self {
        Self {
            min,
            max: u64::MAX,
            may_be_unlimited: true,
        }
    }
}

impl Codec<time::Duration> for Duration {
    fn kind(&self) -> String {
        let step = if self.whole_seconds { " in whole seconds" } else { "" };
        format!(
            "duration{step}, {} to {}",
            HumanDuration(self.min),
            HumanDuration(self.max)
        )
    }

    fn read(&self, value: &Spanned<DeValue<'_>>, spot: &mut Spot<'_>) -> Option<time::Duration> {
        let text = text_with_unit(value.get_ref(), "a duration such as \"30s\"", spot)?;
        let duration = match text.parse::<HumanDuration>() {
            Ok(duration) => duration.0,
            Err(e) => return spot.refuse(e.to_string()),
        };
        if self.whole_seconds && duration.subsec_nanos() != 0 {
            return spot.refuse(format!(
                "{text} is not a whole number of seconds, which the kernel counts in"
            ));
        }
        within(duration, self.min, self.max, |d| HumanDuration(d).to_string(), spot)
    }

    fn write(&self, value: &time::Duration) -> Option<String> {
        Some(format!("\"{}\"", HumanDuration(*value)))
    }
}

impl<T: Copy + TryFrom<u64>> Codec<T> for Size
where
    u64: TryFrom<T>,
{
    fn kind(&self) -> String {
        if self.may_be_unlimited {
            format!("size from {}, or \"{UNLIMITED}\"", ByteSize(self.min))
        } else {
            format!("size, {} to {}", ByteSize(self.min), ByteSize(self.max))
        }
    }

    fn read(&self, value: &Spanned<DeValue<'_>>, spot: &mut Spot<'_>) -> Option<T> {
        let text = text_with_unit(value.get_ref(), "a size such as \"512MiB\"", spot)?;
        if self.may_be_unlimited && text == UNLIMITED {
            return T::try_from(u64::MAX).ok();
        }
        let bytes = match text.parse::<ByteSize>() {
            Ok(size) => size.0,
            Err(e) if self.may_be_unlimited => return spot.refuse(Wrong::from(e.to_string()).hint("or \"unlimited\"")),
            Err(e) => return spot.refuse(e.to_string()),
        };
        let bytes = within(bytes, self.min, self.max, |n| ByteSize(n).to_string(), spot)?;
        T::try_from(bytes).ok()
    }

    fn write(&self, value: &T) -> Option<String> {
        match wide(*value) {
            u64::MAX if self.may_be_unlimited => Some(format!("\"{UNLIMITED}\"")),
            bytes => Some(format!("\"{}\"", ByteSize(bytes))),
        }
    }
}

const UNLIMITED: &str = "unlimited";

impl<T: Copy + TryFrom<u64>> Codec<T> for Count
where
    u64: TryFrom<T>,
{
    fn kind(&self) -> String {
        format!("number, {} to {}", self.min, self.max)
    }

    fn read(&self, value: &Spanned<DeValue<'_>>, spot: &mut Spot<'_>) -> Option<T> {
        let DeValue::Integer(digits) = value.get_ref() else {
            return spot.refuse_type(value.get_ref(), "a whole number");
        };
        let Ok(number) = u64::from_str_radix(digits.as_str(), digits.radix()) else {
            return spot.refuse(format!("{digits} is out of range; from {} to {}", self.min, self.max));
        };
        let number = within(number, self.min, self.max, |n| n.to_string(), spot)?;
        T::try_from(number).ok()
    }

    fn write(&self, value: &T) -> Option<String> {
        Some(wide(*value).to_string())
    }
}

impl Codec<bool> for Flag {
    fn kind(&self) -> String {
        "true or false".to_owned()
    }

    fn read(&self, value: &Spanned<DeValue<'_>>, spot: &mut Spot<'_>) -> Option<bool> {
        match value.get_ref() {
            DeValue::Boolean(flag) => Some(*flag),
            other => spot.refuse_type(other, "true or false, without quotes"),
        }
    }

    fn write(&self, value: &bool) -> Option<String> {
        Some(value.to_string())
    }
}

impl<T: Copy + PartialEq> Codec<T> for Choice<T> {
    fn kind(&self) -> String {
        words(self.0.iter().map(|(word, _)| *word))
    }

    fn read(&self, value: &Spanned<DeValue<'_>>, spot: &mut Spot<'_>) -> Option<T> {
        let kind = Codec::<T>::kind(self);
        let text = text(value.get_ref(), &kind, spot)?;
        match self.0.iter().find(|(word, _)| *word == text) {
            Some((_, value)) => Some(*value),
            None => spot.refuse(unknown_word(text, &kind, self.0.iter().map(|(word, _)| *word))),
        }
    }

    fn write(&self, value: &T) -> Option<String> {
        let (word, _) = self.0.iter().find(|(_, choice)| choice == value)?;
        Some(format!("\"{word}\""))
    }
}

impl Codec<String> for OneOf {
    fn kind(&self) -> String {
        words(self.0.iter().copied())
    }

    fn read(&self, value: &Spanned<DeValue<'_>>, spot: &mut Spot<'_>) -> Option<String> {
        let text = text(value.get_ref(), &self.kind(), spot)?;
        if self.0.contains(&text) {
            return Some(text.to_owned());
        }
        spot.refuse(unknown_word(text, &self.kind(), self.0.iter().copied()))
    }

    fn write(&self, value: &String) -> Option<String> {
        Some(quote(value))
    }
}

impl<T> Codec<T> for Text<T> {
    fn kind(&self) -> String {
        self.kind.to_owned()
    }

    fn read(&self, value: &Spanned<DeValue<'_>>, spot: &mut Spot<'_>) -> Option<T> {
        let text = text(value.get_ref(), self.kind, spot)?;
        match (self.parse)(text) {
            Ok(value) => Some(value),
            Err(wrong) => spot.refuse(wrong),
        }
    }

    fn write(&self, value: &T) -> Option<String> {
        Some(quote(&(self.print)(value)))
    }
}

/// A text as TOML, with what must be escaped.
pub(super) fn quote(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// The text of a value.
pub(super) fn text<'a>(value: &'a DeValue<'_>, kind: &str, spot: &mut Spot<'_>) -> Option<&'a str> {
    match value {
        DeValue::String(text) => Some(text),
        other => spot.refuse_type(other, kind),
    }
}

/// The text of a value that has a unit; a bare number is passed on as its digits, for the message about units.
fn text_with_unit<'a>(value: &'a DeValue<'_>, kind: &str, spot: &mut Spot<'_>) -> Option<&'a str> {
    match value {
        DeValue::Integer(digits) => Some(digits.as_str()),
        other => text(other, kind, spot),
    }
}

/// `value` where it is in its bounds.
pub(super) fn within<T: PartialOrd + Copy>(
    value: T,
    min: T,
    max: T,
    show: impl Fn(T) -> String,
    spot: &mut Spot<'_>,
) -> Option<T> {
    if value < min {
        return spot.refuse(format!("{} is too little; at least {}", show(value), show(min)));
    }
    if value > max {
        return spot.refuse(format!("{} is too much; at most {}", show(value), show(max)));
    }
    Some(value)
}

fn wide<T>(value: T) -> u64
where
    u64: TryFrom<T>,
{
    u64::try_from(value).unwrap_or(u64::MAX)
}

/// `"a", "b" or "c"`.
fn words<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let quoted: Vec<_> = words.map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

fn unknown_word<'a>(text: &str, kind: &str, known: impl Iterator<Item = &'a str>) -> Wrong {
    Wrong::from(format!("{text:?} is none of {kind}")).did_you_mean(text, known)
}
