//! Which directives count: a targeted field's, or Cache-Control's (RFC 9213).

use http::{HeaderMap, HeaderName};
use sfv::{BareItem, Dictionary, ListEntry, Parser, Version};

use super::directives::{Argument, ResponseDirectives};
use super::rules::{OriginDirectives, Rules};

/// Where the directives of a response come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ControlSource {
    /// Cache-Control and Expires.
    CacheControl,
    /// The targeted field at this place of the target list; Cache-Control and Expires are not looked at.
    Targeted(u16),
    /// Nothing: the rules say that the origin's directives do not count.
    Ignored,
}

/// The directives of a response that count, and where they come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// What counts.
    pub directives: ResponseDirectives,
    /// Where it stands.
    pub source: ControlSource,
}

/// Finds the directives of a response that count.
pub fn control(fields: &HeaderMap, rules: &Rules) -> Control {
    if rules.origin_directives == OriginDirectives::Ignored {
        return Control {
            directives: ResponseDirectives::default(),
            source: ControlSource::Ignored,
        };
    }
    // "the cache MUST select the first (in target-list order) field with a valid, non-empty value and use its value to
    // determine the caching policy for the response, and it MUST ignore the Cache-Control and Expires header fields in
    // that response, unless no valid, non-empty value is available from the listed header fields." (RFC 9213 §2.2)
    let targeted = rules.target_list.iter().enumerate().find_map(|(index, name)| {
        Some(Control {
            directives: targeted(fields, name)?,
            source: ControlSource::Targeted(u16::try_from(index).unwrap_or(u16::MAX)),
        })
    });
    targeted.unwrap_or_else(|| Control {
        directives: ResponseDirectives::of(fields),
        source: ControlSource::CacheControl,
    })
}

/// "If a targeted field in a given response is empty, or a parsing error is encountered, that field MUST be ignored by
/// the cache (i.e., it behaves as if the field were not present […])." (RFC 9213 §2.1)
fn targeted(fields: &HeaderMap, name: &HeaderName) -> Option<ResponseDirectives> {
    let mut lines = fields.get_all(name).iter();
    let mut text = lines.next()?.as_bytes().to_vec();
    for line in lines {
        text.extend_from_slice(b", ");
        text.extend_from_slice(line.as_bytes());
    }
    let dictionary = Parser::new(&text)
        .with_version(Version::Rfc8941)
        .parse::<Dictionary>()
        .ok()?;
    let mut directives = ResponseDirectives::default();
    for (name, entry) in &dictionary {
        // Parameters are not looked at: "Parameters received on cache directives are to be ignored" (§2.1).
        let ListEntry::Item(item) = entry else { return None };
        take(&mut directives, name.as_str(), &item.bare_item)?;
    }
    (!dictionary.is_empty()).then_some(directives)
}

/// Takes one member; `None` when a known directive has a value of a wrong type, which makes the whole field invalid:
/// "Implementations SHOULD NOT consume values that violate these inferred constraints." (§2.1)
fn take(directives: &mut ResponseDirectives, name: &str, value: &BareItem) -> Option<()> {
    let lower = name.as_bytes();
    match (name, value) {
        ("max-age" | "s-maxage" | "stale-while-revalidate" | "stale-if-error", BareItem::Integer(seconds)) => {
            let digits = i64::from(*seconds).to_string();
            directives.set(lower, Argument::Text(digits.as_bytes()));
        }
        ("max-age" | "s-maxage" | "stale-while-revalidate" | "stale-if-error", _) => return None,
        // `no-store=?0` says what its absence says.
        (_, BareItem::Boolean(false)) => {}
        (_, BareItem::Boolean(true)) => directives.set(lower, Argument::Absent),
        (_, BareItem::String(text)) => directives.set(lower, Argument::Text(text.as_str().as_bytes())),
        (_, BareItem::Token(text)) => directives.set(lower, Argument::Text(text.as_str().as_bytes())),
        // A restrictive directive counts however it is dressed up.
        _ => directives.set(lower, Argument::Malformed),
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::directives::{Delta, Qualified};
    use http::HeaderValue;

    fn find(lines: &[(&'static str, &'static str)], rules: &Rules) -> Control {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(*name, HeaderValue::from_static(value));
        }
        control(&fields, rules)
    }

    #[test]
    fn the_first_valid_targeted_field_counts_alone() {
        use ControlSource::{CacheControl, Targeted};
        use Delta::{Absent, Invalid, Seconds};
        let rules = Rules {
            target_list: vec![
                HeaderName::from_static("tidegate-cache-control"),
                HeaderName::from_static("cdn-cache-control"),
            ],
            ..Rules::default()
        };
        let (own, cdn, cc) = ("tidegate-cache-control", "cdn-cache-control", "cache-control");
        for (lines, source, max_age) in [
            (&[(cc, "max-age=1")][..], CacheControl, Seconds(1)),
            (&[(cc, "max-age=1"), (cdn, "max-age=3600")], Targeted(1), Seconds(3600)),
            (&[(cc, "max-age=3600"), (cdn, "max-age=1")], Targeted(1), Seconds(1)),
            (&[(cdn, "max-age=1"), (own, "max-age=2")], Targeted(0), Seconds(2)),
            (&[(cdn, "max-age=1"), (own, "")], Targeted(1), Seconds(1)),
            (&[(cdn, "max-age=1"), (own, "&&")], Targeted(1), Seconds(1)),
            (&[(cdn, "max-age=2147483648")], Targeted(1), Seconds(1 << 31)),
            (&[(cdn, "max-age=99999999999")], Targeted(1), Seconds(1 << 31)),
            (&[(cdn, "foobar, max-age=3600")], Targeted(1), Seconds(3600)),
            (&[(cdn, "max-age=3600;x=1;y")], Targeted(1), Seconds(3600)),
            (&[(cdn, "a"), (cdn, "max-age=5")], Targeted(1), Seconds(5)),
            (&[(cdn, "max-age=5, max-age=6")], Targeted(1), Seconds(6)),
            (&[(cdn, "foo"), (cc, "max-age=1")], Targeted(1), Absent),
            (&[(cdn, "max-age=-5")], Targeted(1), Invalid),
            // parsing errors and wrong types: the field is not there
            (&[(cdn, "max-age =100"), (cc, "max-age=1")], CacheControl, Seconds(1)),
            (&[(cdn, "max-age= 100"), (cc, "max-age=1")], CacheControl, Seconds(1)),
            (&[(cdn, "MaX-aGe=3600"), (cc, "max-age=1")], CacheControl, Seconds(1)),
            (
                &[(cdn, "max-age=10000, &&&&&"), (cc, "max-age=1")],
                CacheControl,
                Seconds(1),
            ),
            (
                &[(cdn, "max-age=\"10000\""), (cc, "max-age=1")],
                CacheControl,
                Seconds(1),
            ),
            (&[(cdn, "max-age=1.5"), (cc, "max-age=1")], CacheControl, Seconds(1)),
            (&[(cdn, "max-age"), (cc, "max-age=1")], CacheControl, Seconds(1)),
            (&[(cdn, "max-age=(1 2)"), (cc, "max-age=1")], CacheControl, Seconds(1)),
            (&[(cdn, "max-age=1,"), (cc, "max-age=2")], CacheControl, Seconds(2)),
            (
                &[(cdn, "max-age=1234567890123456"), (cc, "max-age=2")],
                CacheControl,
                Seconds(2),
            ),
            (&[(cdn, ""), (cc, "max-age=2")], CacheControl, Seconds(2)),
        ] {
            let found = find(lines, &rules);
            assert_eq!((found.source, found.directives.max_age), (source, max_age), "{lines:?}");
        }
    }

    #[test]
    fn directives_of_a_targeted_field_mean_what_they_mean_in_cache_control() {
        let found = find(
            &[(
                "cdn-cache-control",
                "no-store, no-cache=\"a, b\", private=?0, must-revalidate, public=?0, stale-if-error=60, proxy-revalidate=1",
            )],
            &Rules::default(),
        )
        .directives;
        assert!(found.no_store && found.must_revalidate && found.proxy_revalidate && !found.public);
        assert_eq!(found.stale_if_error, Some(60));
        assert_eq!(found.private, Qualified::Absent);
        assert_eq!(
            found.no_cache,
            Qualified::Fields(vec![HeaderName::from_static("a"), HeaderName::from_static("b")])
        );
        let found = find(&[("cdn-cache-control", "private, no-cache")], &Rules::default()).directives;
        assert_eq!((found.private, found.no_cache), (Qualified::Whole, Qualified::Whole));
    }

    #[test]
    fn an_operator_may_have_the_origin_ignored() {
        let rules = Rules {
            origin_directives: OriginDirectives::Ignored,
            ..Rules::default()
        };
        let found = find(
            &[("cache-control", "no-store"), ("cdn-cache-control", "max-age=1")],
            &rules,
        );
        assert_eq!(found.source, ControlSource::Ignored);
        assert_eq!(found.directives, ResponseDirectives::default());
    }
}
