//! How often, counted by what, and how much at most.

use std::time::Duration;

use common::kernel::usage::Budget;
use toml::Spanned;
use toml::de::DeValue;

use super::rules::{COOKIE, FIELD};
use super::scalar::Text;
use crate::guard::{Frequency, RateKey};
use crate::problem::Wrong;
use crate::schema::{Codec, Spot};

/// Requests per time.
pub(crate) const FREQUENCY: Text<Frequency> = Text {
    kind: "rate such as \"100/s\", \"30/m\" or \"1000/h\"",
    parse: parse_frequency,
    print: |frequency| {
        let unit = UNITS.iter().find(|(_, per)| *per == frequency.per);
        format!("{}/{}", frequency.requests, unit.map_or("s", |(unit, _)| unit))
    },
};

/// What a rate is counted by.
pub(crate) const RATE_KEY: Text<RateKey> = Text {
    kind: "\"address\", \"site\", \"header:NAME\" or \"cookie:NAME\"",
    parse: parse_key,
    print: |key| match key {
        RateKey::Address => "address".to_owned(),
        RateKey::Site => "site".to_owned(),
        RateKey::Header(name) => format!("header:{name}"),
        RateKey::Cookie(name) => format!("cookie:{name}"),
    },
};

/// How much of something: what the system gives, so much, or as much as there is.
pub(crate) struct BudgetCodec<C>(pub(crate) C);

impl<C: Codec<u64>> Codec<Budget> for BudgetCodec<C> {
    fn kind(&self) -> String {
        format!("\"auto\", \"unlimited\" or {}", self.0.kind())
    }

    fn read(&self, value: &Spanned<DeValue<'_>>, spot: &mut Spot<'_>) -> Option<Budget> {
        match value.get_ref() {
            DeValue::String(text) if text == "auto" => Some(Budget::Auto),
            DeValue::String(text) if text == "unlimited" => Some(Budget::Unlimited),
            DeValue::String(text) if !text.starts_with(|first: char| first.is_ascii_digit()) => {
                spot.refuse(format!("expected {}; found {text:?}", self.kind()))
            }
            _ => self.0.read(value, spot).map(Budget::Fixed),
        }
    }

    fn write(&self, value: &Budget) -> Option<String> {
        match value {
            Budget::Auto => Some("\"auto\"".to_owned()),
            Budget::Unlimited => Some("\"unlimited\"".to_owned()),
            Budget::Fixed(number) => self.0.write(number),
        }
    }
}

const UNITS: [(&str, Duration); 3] = [
    ("s", Duration::from_secs(1)),
    ("m", Duration::from_secs(60)),
    ("h", Duration::from_secs(3600)),
];

fn parse_frequency(text: &str) -> Result<Frequency, Wrong> {
    let bad = || Wrong::from(format!("{text:?} is not a {}", FREQUENCY.kind));
    let (number, unit) = text.split_once('/').ok_or_else(bad)?;
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
    let requests = number.parse().ok().filter(|requests| is_number && *requests > 0);
    let per = UNITS.iter().find(|(name, _)| *name == unit);
    match (requests, per) {
        (Some(requests), Some((_, per))) => Ok(Frequency { requests, per: *per }),
        _ => Err(bad()),
    }
}

fn parse_key(text: &str) -> Result<RateKey, Wrong> {
    match (text, text.split_once(':')) {
        ("address", _) => Ok(RateKey::Address),
        ("site", _) => Ok(RateKey::Site),
        (_, Some(("header", name))) => (FIELD.parse)(name).map(RateKey::Header),
        (_, Some(("cookie", name))) => (COOKIE.parse)(name).map(RateKey::Cookie),
        _ => Err(Wrong::from(format!("{text:?} is none of {}", RATE_KEY.kind))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_keys_are_read_and_written_alike() {
        for text in ["100/s", "30/m", "4294967295/h"] {
            assert_eq!((FREQUENCY.print)(&parse_frequency(text).expect(text)), text);
        }
        for text in ["", "100", "0/s", "+1/s", "1.5/s", "1/d", "/s", "4294967296/s"] {
            assert!(parse_frequency(text).is_err(), "{text}");
        }
        for text in ["address", "site", "header:x-api-key", "cookie:session"] {
            assert_eq!((RATE_KEY.print)(&parse_key(text).expect(text)), text);
        }
        for text in ["", "ip", "header", "header:", "header:a b", "cookie:a=b"] {
            assert!(parse_key(text).is_err(), "{text}");
        }
    }
}
