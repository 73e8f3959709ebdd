//! The lines that decide, as they stand in a request, a stored response or the configuration.

use http::HeaderMap;
use http::header::{self, HeaderName};

use super::Quote;
use crate::policy::freshness::{self, LifetimeRule};
use crate::policy::meta::StoredMeta;
use crate::policy::rules::{BypassRule, Rules};
use crate::policy::targeted::{self, ControlSource};

/// The line that gave a stored response its lifetime.
pub(super) fn of_lifetime(meta: &StoredMeta, fields: &HeaderMap, rules: &Rules) -> Option<Quote> {
    match meta.lifetime.rule {
        LifetimeRule::SMaxage | LifetimeRule::MaxAge => of_control(meta, fields, rules),
        LifetimeRule::Expires => line("response", fields, &header::EXPIRES),
        LifetimeRule::Heuristic => line("response", fields, &header::LAST_MODIFIED),
        LifetimeRule::Invalid => {
            let directives = targeted::control(fields, rules).directives;
            if directives.s_maxage.is_present() || directives.max_age.is_present() {
                of_control(meta, fields, rules)
            } else {
                line("response", fields, &header::EXPIRES)
            }
        }
        LifetimeRule::Nothing => None,
        LifetimeRule::Negative => configured(format!(
            "negative = {{ {} = \"{}s\" }}",
            meta.status.as_u16(),
            meta.lifetime.seconds
        )),
        LifetimeRule::Forced => configured(format!("lifetime = \"{}s\"", meta.lifetime.seconds)),
    }
}

/// The operator's bound that changed the lifetime that the origin gave.
pub(super) fn bound(meta: &StoredMeta, fields: &HeaderMap, rules: &Rules) -> Option<&'static str> {
    let mut unbound = rules.clone();
    (unbound.lifetime.min, unbound.lifetime.max) = (None, None);
    let control = targeted::control(fields, &unbound);
    let own = freshness::lifetime(meta.status, fields, &control, meta.date, &unbound);
    match own.seconds.cmp(&meta.lifetime.seconds) {
        std::cmp::Ordering::Less if rules.lifetime.min.is_some() => Some("lifetime_min"),
        std::cmp::Ordering::Greater if rules.lifetime.max.is_some() => Some("lifetime_max"),
        _ => None,
    }
}

/// The field whose directives count for a stored response.
pub(super) fn of_control(meta: &StoredMeta, fields: &HeaderMap, rules: &Rules) -> Option<Quote> {
    match meta.source {
        ControlSource::CacheControl => line("response", fields, &header::CACHE_CONTROL),
        ControlSource::Targeted(place) => line("response", fields, rules.target_list.get(usize::from(place))?),
        ControlSource::Ignored => None,
    }
}

/// All lines of a field as one.
pub(super) fn line(of: &'static str, fields: &HeaderMap, name: &HeaderName) -> Option<Quote> {
    let lines: Vec<_> = fields.get_all(name).iter().map(|line| text(line.as_bytes())).collect();
    let line = format!("{name}: {}", lines.join(", "));
    (!lines.is_empty()).then_some(Quote { of, line })
}

pub(super) fn configured(line: impl Into<String>) -> Option<Quote> {
    let of = "configuration";
    Some(Quote { of, line: line.into() })
}

pub(super) fn bypass_text(rule: &BypassRule) -> String {
    match rule {
        BypassRule::Field(name) => format!("field:{name}"),
        BypassRule::FieldValue(name, value) => format!("field:{name}={value}"),
        BypassRule::Cookie(name) => format!("cookie:{name}"),
        BypassRule::Query(name) => format!("query:{name}"),
    }
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{self, fields};

    #[test]
    fn the_line_that_gave_the_lifetime_is_quoted() {
        let rules = Rules {
            negative: vec![(http::StatusCode::NOT_FOUND, std::time::Duration::from_secs(9))],
            ..Rules::default()
        };
        let date = testing::date(-864_000);
        for (status, lines, expected) in [
            (
                200,
                &[("cache-control", "public"), ("cache-control", "max-age=1")][..],
                "cache-control: public, max-age=1",
            ),
            (
                200,
                &[("cdn-cache-control", "max-age=1"), ("cache-control", "max-age=2")],
                "cdn-cache-control: max-age=1",
            ),
            (200, &[("expires", "0"), ("etag", "\"a\"")], "expires: 0"),
            (
                200,
                &[("cache-control", "max-age=x"), ("expires", "0"), ("etag", "\"a\"")],
                "cache-control: max-age=x",
            ),
            (200, &[("last-modified", "@-864000")], &format!("last-modified: {date}")),
            (404, &[], "negative = { 404 = \"9s\" }"),
            (200, &[("etag", "\"a\"")], ""),
        ] {
            let (request, fields) = (HeaderMap::new(), fields(lines));
            let meta = crate::policy::store::storable(&testing::exchange(status, &request, &fields), &rules)
                .unwrap()
                .meta;
            let quoted = of_lifetime(&meta, &fields, &rules).map_or_else(String::new, |quote| quote.line);
            assert_eq!(quoted, expected, "{lines:?}");
        }
    }

    #[test]
    fn an_operators_bound_is_named_where_it_changed_something() {
        let mut rules = Rules::default();
        rules.lifetime.min = Some(std::time::Duration::from_secs(10));
        rules.lifetime.max = Some(std::time::Duration::from_secs(20));
        for (control, expected) in [
            ("max-age=1", Some("lifetime_min")),
            ("max-age=15", None),
            ("max-age=30", Some("lifetime_max")),
        ] {
            let (request, fields) = (HeaderMap::new(), fields(&[("cache-control", control)]));
            let meta = crate::policy::store::storable(&testing::exchange(200, &request, &fields), &rules)
                .unwrap()
                .meta;
            assert_eq!(bound(&meta, &fields, &rules), expected, "{control}");
        }
    }
}
