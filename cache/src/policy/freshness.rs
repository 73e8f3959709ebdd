//! How long a response is fresh, and which rule says so (RFC 9111 §4.2.1, §4.2.2).
//!
//! Does not know how old it is (`age.rs`) nor whether it may be reused (`reuse.rs`).

use std::time::Duration;

use common::time::WallTime;
use http::{HeaderMap, StatusCode, header};

use super::date;
use super::directives::Delta;
use super::list::DELTA_MAX;
use super::rules::Rules;
use super::targeted::{Control, ControlSource};

/// How long a response is fresh, from the moment its age is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// Seconds, at most 2^31.
    pub seconds: u32,
    /// What gave them.
    pub rule: LifetimeRule,
}

/// What gave a response its lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LifetimeRule {
    /// `s-maxage`.
    SMaxage,
    /// `max-age`.
    MaxAge,
    /// Expires.
    Expires,
    /// A part of the time since the last modification (§4.2.2).
    Heuristic,
    /// A directive, or Expires, that is there but means nothing: stale at once.
    Invalid,
    /// Nothing: stale at once.
    Nothing,
    /// The operator's lifetime for this status.
    Negative,
    /// The operator's lifetime for all.
    Forced,
}

impl LifetimeRule {
    /// The word for log, metric and `explain`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::SMaxage => "s-maxage",
            Self::MaxAge => "max-age",
            Self::Expires => "expires",
            Self::Heuristic => "heuristic",
            Self::Invalid => "invalid",
            Self::Nothing => "nothing",
            Self::Negative => "negative",
            Self::Forced => "forced",
        }
    }
}

impl Lifetime {
    /// Whether the origin itself gave this response time to live.
    pub const fn is_explicit(&self) -> bool {
        self.seconds > 0
            && matches!(
                self.rule,
                LifetimeRule::SMaxage | LifetimeRule::MaxAge | LifetimeRule::Expires
            )
    }

    /// The lifetime as a duration.
    pub fn duration(&self) -> Duration {
        Duration::from_secs(u64::from(self.seconds))
    }
}

/// The lifetime of a response; `date` is its Date, or the time it was received.
pub fn lifetime(status: StatusCode, fields: &HeaderMap, control: &Control, date: WallTime, rules: &Rules) -> Lifetime {
    let own = own_lifetime(status, fields, control, date, rules);
    let limits = &rules.lifetime;
    if let Some(forced) = limits.force.filter(|_| status.as_u16() < 400) {
        return Lifetime {
            seconds: whole_seconds(forced),
            rule: LifetimeRule::Forced,
        };
    }
    let mut seconds = own.seconds;
    if !matches!(own.rule, LifetimeRule::Invalid | LifetimeRule::Nothing) {
        seconds = seconds.max(limits.min.map_or(0, whole_seconds));
    }
    seconds = seconds.min(limits.max.map_or(DELTA_MAX, whole_seconds));
    Lifetime { seconds, ..own }
}

/// "A cache can calculate the freshness lifetime […] of a response by evaluating the following rules and using the
/// first match: If the cache is shared and the s-maxage response directive is present, use its value, or If the max-age
/// response directive is present, use its value, or If the Expires response header field is present, use its value
/// minus the value of the Date response header field […], or Otherwise, no explicit expiration time is present in the
/// response. A heuristic freshness lifetime might be applicable" (§4.2.1)
fn own_lifetime(status: StatusCode, fields: &HeaderMap, control: &Control, date: WallTime, rules: &Rules) -> Lifetime {
    let directives = &control.directives;
    for (delta, rule) in [
        (directives.s_maxage, LifetimeRule::SMaxage),
        (directives.max_age, LifetimeRule::MaxAge),
    ] {
        match delta {
            Delta::Seconds(seconds) => return Lifetime { seconds, rule },
            Delta::Invalid => return NO_TIME_INVALID,
            Delta::Absent => {}
        }
    }
    if let Some(lifetime) = expires(fields, control.source, date) {
        return lifetime;
    }
    if let Some((_, lifetime)) = rules.negative.iter().find(|(known, _)| *known == status) {
        return Lifetime {
            seconds: whole_seconds(*lifetime),
            rule: LifetimeRule::Negative,
        };
    }
    heuristic(status, fields, control, date, rules)
}

const NO_TIME_INVALID: Lifetime = Lifetime {
    seconds: 0,
    rule: LifetimeRule::Invalid,
};

fn expires(fields: &HeaderMap, source: ControlSource, date: WallTime) -> Option<Lifetime> {
    if source != ControlSource::CacheControl {
        return None;
    }
    // Several lines: "either the first occurrence should be used or the response should be considered stale" (§4.2.1)
    let value = fields.get(header::EXPIRES)?;
    // "A cache recipient MUST interpret invalid date formats, especially the value "0", as representing a time in the
    // past (i.e., "already expired")." (§5.3)
    let Some(at) = date::parse(value.as_bytes(), date) else {
        return Some(NO_TIME_INVALID);
    };
    Some(Lifetime {
        seconds: whole_seconds(at.saturating_since(WallTime::from_unix_secs(date.unix_secs()))),
        rule: LifetimeRule::Expires,
    })
}

/// "heuristics can only be used on responses without explicit freshness whose status codes are defined as heuristically
/// cacheable […] and on responses without explicit freshness that have been marked as explicitly cacheable (e.g., with
/// a public response directive)." (§4.2.2)
fn heuristic(status: StatusCode, fields: &HeaderMap, control: &Control, date: WallTime, rules: &Rules) -> Lifetime {
    let allowed = is_heuristically_cacheable(status) || control.directives.public;
    let modified = fields
        .get(header::LAST_MODIFIED)
        .and_then(|value| date::parse(value.as_bytes(), date))
        .filter(|_| allowed && rules.heuristic.percent > 0);
    let Some(modified) = modified else {
        return Lifetime {
            seconds: 0,
            rule: LifetimeRule::Nothing,
        };
    };
    // "If the response has a Last-Modified header field […], caches are encouraged to use a heuristic expiration value
    // that is no more than some fraction of the interval since that time." (§4.2.2)
    let interval = date.saturating_since(modified).as_secs();
    let guess = interval.saturating_mul(u64::from(rules.heuristic.percent)) / 100;
    Lifetime {
        seconds: whole_seconds(Duration::from_secs(guess).min(rules.heuristic.max)),
        rule: LifetimeRule::Heuristic,
    }
}

/// RFC 9110 §15.1: "the status codes defined as heuristically cacheable (e.g., 200, 203, 204, 206, 300, 301, 308, 404,
/// 405, 410, 414, and 501 in this specification)".
pub fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    )
}

fn whole_seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(DELTA_MAX).min(DELTA_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::targeted::control;
    use http::HeaderValue;

    const DATE: WallTime = WallTime::from_unix_secs(1_790_000_000);

    /// Dates in lines are written as `@+10` and `@-10`: seconds from Date.
    fn check(status: u16, lines: &[(&'static str, &str)], rules: &Rules, seconds: u32, rule: LifetimeRule) {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            let value = match value.strip_prefix('@').map(|offset| offset.parse::<i64>().unwrap()) {
                Some(ahead @ 0..) => DATE.plus(Duration::from_secs(ahead.unsigned_abs())).http_date(),
                Some(ago) => DATE.minus(Duration::from_secs(ago.unsigned_abs())).http_date(),
                None => (*value).to_owned(),
            };
            fields.append(*name, HeaderValue::try_from(value).unwrap());
        }
        let control = control(&fields, rules);
        let found = lifetime(StatusCode::from_u16(status).unwrap(), &fields, &control, DATE, rules);
        assert_eq!(found, Lifetime { seconds, rule }, "{status} {lines:?}");
    }

    #[test]
    fn the_first_rule_that_applies_gives_the_lifetime() {
        use LifetimeRule::{Expires, Invalid, MaxAge, Nothing, SMaxage};
        let rules = Rules::default();
        let (cc, ex) = ("cache-control", "expires");
        for (lines, seconds, rule) in [
            (&[][..], 0, Nothing),
            (&[(cc, "max-age=3600")], 3600, MaxAge),
            (&[(cc, "max-age=0")], 0, MaxAge),
            (&[(cc, "max-age=1, s-maxage=3600")], 3600, SMaxage),
            (&[(cc, "max-age=3600, s-maxage=1")], 1, SMaxage),
            (&[(cc, "s-maxage=1, max-age=3600")], 1, SMaxage),
            (&[(cc, "max-age=3600"), (cc, "s-maxage=1")], 1, SMaxage),
            (&[(cc, "max-age=3600"), (ex, "@-10000")], 3600, MaxAge),
            (&[(cc, "max-age=3600"), (ex, "0")], 3600, MaxAge),
            (&[(cc, "max-age=0"), (ex, "@10000")], 0, MaxAge),
            (&[(ex, "@10000")], 10_000, Expires),
            (&[(ex, "@0")], 0, Expires),
            (&[(ex, "@-10000")], 0, Expires),
            (&[(ex, "Tue, 19 Jan 2038 14:14:08 GMT")], 357_523_248, Expires),
            (&[(ex, "Sun, 21 Nov 2286 04:46:39 GMT")], DELTA_MAX, Expires),
            (&[(ex, "Thursday, 18-Aug-50 02:01:18 GMT")], 754_400_878, Expires),
            (&[(ex, "THU, 18 AUG 2050 02:01:18 gmt")], 754_400_878, Expires),
            (&[(ex, "0")], 0, Invalid),
            (&[(ex, "")], 0, Invalid),
            (&[(ex, "Thu, 18 Aug 2050 02:01:18 UTC")], 0, Invalid),
            (&[(ex, "Thu, 18 Aug 2050 2:01:18 GMT"), (ex, "@10")], 0, Invalid),
            (&[(ex, "@20"), (ex, "@10")], 20, Expires),
            (&[(cc, "max-age=x"), (ex, "@10000")], 0, Invalid),
            (&[(cc, "s-maxage=x, max-age=10")], 0, Invalid),
            (
                &[("cdn-cache-control", "max-age=7"), (cc, "s-maxage=10"), (ex, "@9")],
                7,
                MaxAge,
            ),
            (&[("cdn-cache-control", "max-age=0"), (ex, "@9")], 0, MaxAge),
            (
                &[("cdn-cache-control", "foo"), (cc, "s-maxage=10"), (ex, "@9")],
                0,
                Nothing,
            ),
        ] {
            check(200, lines, &rules, seconds, rule);
            check(503, lines, &rules, seconds, rule);
        }
    }

    #[test]
    fn heuristics_take_a_tenth_of_the_time_since_the_modification_at_most_a_day() {
        use LifetimeRule::{Heuristic, Nothing};
        let mut rules = Rules::default();
        let lm = "last-modified";
        for (status, lines, seconds, rule) in [
            (200, &[(lm, "@-86400")][..], 8640, Heuristic),
            (200, &[(lm, "@-5")], 0, Heuristic),
            (200, &[(lm, "@-10")], 1, Heuristic),
            (200, &[(lm, "@-10000000")], 86_400, Heuristic),
            (200, &[(lm, "@100")], 0, Heuristic),
            (200, &[(lm, "yesterday")], 0, Nothing),
            (
                200,
                &[(lm, "@-86400"), ("cache-control", "max-age=1")],
                1,
                LifetimeRule::MaxAge,
            ),
            (200, &[(lm, "@-86400"), ("expires", "0")], 0, LifetimeRule::Invalid),
            (200, &[(lm, "@-86400"), ("pragma", "no-cache")], 8640, Heuristic),
            (599, &[(lm, "@-86400"), ("cache-control", "public")], 8640, Heuristic),
            (403, &[(lm, "@-86400"), ("cache-control", "public")], 8640, Heuristic),
        ] {
            check(status, lines, &rules, seconds, rule);
        }
        for status in [200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501] {
            check(status, &[(lm, "@-86400")], &rules, 8640, Heuristic);
        }
        for status in [201, 202, 302, 303, 307, 400, 401, 403, 500, 502, 503, 504, 599] {
            check(status, &[(lm, "@-86400")], &rules, 0, Nothing);
        }
        rules.heuristic.percent = 0;
        check(200, &[(lm, "@-86400")], &rules, 0, Nothing);
        rules.heuristic.percent = 50;
        check(200, &[(lm, "@-100")], &rules, 50, Heuristic);
    }

    #[test]
    fn the_operator_may_set_lifetimes() {
        use LifetimeRule::{Forced, Invalid, MaxAge, Negative, Nothing};
        let cc = "cache-control";
        let mut rules = Rules::default();
        rules.lifetime.min = Some(Duration::from_secs(60));
        rules.lifetime.max = Some(Duration::from_secs(600));
        rules.negative = vec![(StatusCode::NOT_FOUND, Duration::from_secs(90))];
        check(200, &[(cc, "max-age=1")], &rules, 60, MaxAge);
        check(200, &[(cc, "max-age=0")], &rules, 60, MaxAge);
        check(200, &[(cc, "max-age=100")], &rules, 100, MaxAge);
        check(200, &[(cc, "max-age=1000")], &rules, 600, MaxAge);
        check(200, &[(cc, "max-age=x")], &rules, 0, Invalid);
        check(200, &[], &rules, 0, Nothing);
        check(404, &[], &rules, 90, Negative);
        check(404, &[(cc, "max-age=100")], &rules, 100, MaxAge);
        check(404, &[("last-modified", "@-86400")], &rules, 90, Negative);
        rules.lifetime.force = Some(Duration::from_secs(5));
        check(200, &[(cc, "max-age=100")], &rules, 5, Forced);
        check(301, &[], &rules, 5, Forced);
        check(404, &[], &rules, 90, Negative);
        check(500, &[], &rules, 0, Nothing);
    }
}
