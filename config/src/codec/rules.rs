//! What cache rules are made of: field and cookie names, requests that go past the cache, parts of queries, lifetimes by
//! status.

use common::backend::settings::HashBy;
use http::{HeaderName, StatusCode};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::List;
use super::by_status::ByStatus;
use super::scalar::{Duration, Text};
use crate::problem::Wrong;
use crate::rules::{BypassRule, QueryRule};
use crate::schema::{Codec, Spot};

/// A field's name.
pub(crate) const FIELD: Text<HeaderName> = Text {
    kind: "field name such as \"CDN-Cache-Control\"",
    parse: field,
    print: |name| name.as_str().to_owned(),
};

/// A cookie's name.
pub(crate) const COOKIE: Text<String> = Text {
    kind: "cookie name",
    parse: |text| word(text, "the name of a cookie"),
    print: String::clone,
};

/// Which requests go past the cache.
pub(crate) const BYPASS: Text<BypassRule> = Text {
    kind: "\"field:NAME\", \"field:NAME=VALUE\", \"cookie:NAME\" or \"query:NAME\"",
    parse: parse_bypass,
    print: print_bypass,
};

/// What consistent hashing hashes.
pub(crate) const HASH_BY: Text<HashBy> = Text {
    kind: "\"key\", \"client\", \"field:NAME\" or \"cookie:NAME\"",
    parse: parse_hash_by,
    print: |by| match by {
        HashBy::Key => "key".to_owned(),
        HashBy::Client => "client".to_owned(),
        HashBy::Field(name) => format!("field:{name}"),
        HashBy::Cookie(name) => format!("cookie:{name}"),
    },
};

/// A query parameter's name.
const PARAMETER: Text<String> = Text {
    kind: "name of a query parameter",
    parse: |text| word(text, "the name of a query parameter"),
    print: String::clone,
};

/// What of the query is part of the key.
pub(crate) struct Query;

/// Lifetimes by status.
pub(crate) const NEGATIVE: ByStatus<StatusCode, Duration> = ByStatus {
    kind: "table of statuses and durations",
    example: "{ 404 = \"10s\" }",
    read: |text| match text.parse::<StatusCode>() {
        Ok(status) if (200..=599).contains(&status.as_u16()) && status != StatusCode::NOT_MODIFIED => Ok(status),
        _ => Err("is not a status that can be stored"),
    },
    write: |status| status.as_str().to_owned(),
    values: Duration::WAIT,
};

fn field(text: &str) -> Result<HeaderName, Wrong> {
    HeaderName::try_from(text).map_err(|_| Wrong::from(format!("{text:?} is not the name of a field")))
}

fn word(text: &str, what: &str) -> Result<String, Wrong> {
    let is_word = !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_graphic() && !matches!(b, b'=' | b'&' | b';' | b'#'));
    if is_word {
        Ok(text.to_owned())
    } else {
        Err(Wrong::from(format!("{text:?} is not {what}")))
    }
}

fn parse_bypass(text: &str) -> Result<BypassRule, Wrong> {
    let wrong =
        || Wrong::from(format!("{text:?} says neither field, cookie nor query")).hint("such as \"cookie:session\"");
    let (kind, rest) = text.split_once(':').ok_or_else(wrong)?;
    match (kind, rest.split_once('=')) {
        ("field", None) => Ok(BypassRule::Field(field(rest)?)),
        ("field", Some((name, value))) => Ok(BypassRule::FieldValue(field(name)?, value.to_owned())),
        ("cookie", _) => (COOKIE.parse)(rest).map(BypassRule::Cookie),
        ("query", _) => (PARAMETER.parse)(rest).map(BypassRule::Query),
        _ => Err(wrong()),
    }
}

fn parse_hash_by(text: &str) -> Result<HashBy, Wrong> {
    match text.split_once(':') {
        None if text == "key" => Ok(HashBy::Key),
        None if text == "client" => Ok(HashBy::Client),
        Some(("field", name)) => field(name).map(HashBy::Field),
        Some(("cookie", name)) => (COOKIE.parse)(name).map(HashBy::Cookie),
        _ => Err(
            Wrong::from(format!("{text:?} says neither key, client, field nor cookie"))
                .hint("such as \"cookie:session\""),
        ),
    }
}

fn print_bypass(rule: &BypassRule) -> String {
    match rule {
        BypassRule::Field(name) => format!("field:{name}"),
        BypassRule::FieldValue(name, value) => format!("field:{name}={value}"),
        BypassRule::Cookie(name) => format!("cookie:{name}"),
        BypassRule::Query(name) => format!("query:{name}"),
    }
}

const QUERY_KIND: &str = "\"all\", \"none\", { only = [\"NAME\"] } or { except = [\"NAME\"] }";

impl Codec<QueryRule> for Query {
    fn kind(&self) -> String {
        QUERY_KIND.to_owned()
    }

    fn read(&self, value: &Spanned<DeValue<'_>>, spot: &mut Spot<'_>) -> Option<QueryRule> {
        match value.get_ref() {
            DeValue::String(word) if word == "all" => Some(QueryRule::Whole),
            DeValue::String(word) if word == "none" => Some(QueryRule::Nothing),
            DeValue::String(word) => spot.refuse(format!("{word:?} is none of {QUERY_KIND}")),
            DeValue::Table(table) => chosen(table, spot),
            other => spot.refuse_type(other, QUERY_KIND),
        }
    }

    fn write(&self, rule: &QueryRule) -> Option<String> {
        let names = |names: &Vec<String>| List::some(PARAMETER).write(names);
        match rule {
            QueryRule::Whole => Some("\"all\"".to_owned()),
            QueryRule::Nothing => Some("\"none\"".to_owned()),
            QueryRule::Only(only) => Some(format!("{{ only = {} }}", names(only)?)),
            QueryRule::Except(except) => Some(format!("{{ except = {} }}", names(except)?)),
        }
    }
}

fn chosen(table: &DeTable<'_>, spot: &mut Spot<'_>) -> Option<QueryRule> {
    let mut keys = table.iter();
    let (Some((key, names)), None) = (keys.next(), keys.next()) else {
        return spot.refuse(format!("expected {QUERY_KIND}"));
    };
    let rule = match key.get_ref().as_ref() {
        "only" => QueryRule::Only,
        "except" => QueryRule::Except,
        other => return spot.refuse(format!("{other:?} is neither only nor except")),
    };
    List::some(PARAMETER).read(names, spot).map(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_that_go_past_the_cache_are_written_as_they_are_read() {
        for text in [
            "field:x-debug",
            "field:x-mode=raw",
            "field:x-mode=",
            "cookie:session",
            "query:nocache",
        ] {
            let rule = (BYPASS.parse)(text);
            assert_eq!(rule.ok().as_ref().map(print_bypass).as_deref(), Some(text));
        }
        for text in [
            "",
            "session",
            "header:x",
            "field:",
            "field:a b",
            "cookie:",
            "cookie:a=b",
            "query:a&b",
        ] {
            assert!((BYPASS.parse)(text).is_err(), "{text}");
        }
    }
}
