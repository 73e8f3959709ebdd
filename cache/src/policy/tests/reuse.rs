//! What a stored response is good for (RFC 9111 §4, §4.2.4, §5.2.1, RFC 5861, RFC 8246).

use std::time::Duration;

use http::{Method, StatusCode};

use crate::policy::meta::StoredMeta;
use crate::policy::request::RequestDigest;
use crate::policy::reuse::{Failure, Mark, Reuse, StaleWhy, ValidateWhy, is_only_if_cached, reuse, reuse_on_failure};
use crate::policy::rules::Rules;
use crate::policy::store::storable;
use crate::policy::testing::{self, NOW, fields};

/// What [`reuse`] says, in a word.
fn word(found: Reuse) -> &'static str {
    match found {
        Reuse::Fresh {
            refresh_ahead: false, ..
        } => "fresh",
        Reuse::Fresh {
            refresh_ahead: true, ..
        } => "refresh_ahead",
        Reuse::Stale { why, refresh, .. } => {
            assert_eq!(refresh, why == StaleWhy::WhileRevalidate);
            why.word()
        }
        Reuse::Validate(why) => why.word(),
        Reuse::OnlyIfCached => "only_if_cached",
    }
}

fn with(cache_control: &str) -> StoredMeta {
    testing::stored(200, &[("cache-control", cache_control), ("etag", "\"a\"")])
}

fn ask(meta: &StoredMeta, mark: Mark, after: u64, request: &[(&'static str, &str)], rules: &Rules) -> Reuse {
    let request = fields(request);
    let digest = RequestDigest::of(&Method::GET, &request);
    reuse(meta, mark, &digest, rules, NOW.plus(Duration::from_secs(after)))
}

fn check(cache_control: &str, after: u64, request: &str, rules: &Rules, expected: &str) {
    let lines = [("cache-control", request)];
    let found = word(ask(&with(cache_control), Mark::Unmarked, after, &lines, rules));
    assert_eq!(found, expected, "{cache_control:?} after {after} s, asked {request:?}");
}

fn obedient() -> Rules {
    let mut rules = Rules::default();
    rules.client.refetch = true;
    rules
}

#[test]
fn a_response_as_old_as_its_lifetime_is_stale() {
    let rules = Rules::default();
    check("max-age=10", 0, "", &rules, "fresh");
    check("max-age=10", 9, "", &rules, "fresh");
    check("max-age=10", 10, "", &rules, "stale");
    check("max-age=10", 11, "", &rules, "stale");
    check("max-age=0", 0, "", &rules, "stale");
    check("s-maxage=10", 9, "", &rules, "fresh");
    check("s-maxage=10", 10, "", &rules, "stale");
    check("max-age=99999999999", 2_000_000_000, "", &rules, "fresh");
}

#[test]
fn age_counts_against_the_lifetime_and_is_told() {
    let meta = testing::stored(
        200,
        &[("cache-control", "max-age=100"), ("age", "30"), ("date", "@-20")],
    );
    let found = ask(&meta, Mark::Unmarked, 5, &[], &Rules::default());
    assert_eq!(
        found,
        Reuse::Fresh {
            age: Duration::from_secs(35),
            refresh_ahead: false
        }
    );
    assert_eq!(meta.ttl(NOW.plus(Duration::from_secs(5))), 65);
    assert_eq!(meta.ttl(NOW.plus(Duration::from_secs(75))), -5);
    assert_eq!(word(ask(&meta, Mark::Unmarked, 70, &[], &Rules::default())), "stale");
}

#[test]
fn no_cache_always_validates() {
    let rules = Rules::default();
    for cache_control in [
        "no-cache",
        "max-age=100, no-cache",
        "no-cache, stale-while-revalidate=100",
    ] {
        check(cache_control, 0, "", &rules, "no_cache");
        check(cache_control, 0, "max-stale", &rules, "no_cache");
        check(cache_control, 0, "only-if-cached", &rules, "only_if_cached");
    }
    check("no-cache=\"a\", max-age=10", 0, "", &rules, "fresh");
}

#[test]
fn stale_while_revalidate_has_a_window() {
    let rules = Rules::default();
    for (cache_control, after, expected) in [
        ("max-age=10, stale-while-revalidate=5", 9, "fresh"),
        ("max-age=10, stale-while-revalidate=5", 10, "stale_while_revalidate"),
        ("max-age=10, stale-while-revalidate=5", 15, "stale_while_revalidate"),
        ("max-age=10, stale-while-revalidate=5", 16, "stale"),
        ("max-age=10, stale-while-revalidate=0", 10, "stale"),
        ("max-age=10, stale-while-revalidate=x", 11, "stale"),
        ("max-age=10, stale-while-revalidate=5, must-revalidate", 11, "stale"),
        ("max-age=10, stale-while-revalidate=5, proxy-revalidate", 11, "stale"),
        ("s-maxage=10, stale-while-revalidate=5", 11, "stale"),
    ] {
        check(cache_control, after, "", &rules, expected);
        check(cache_control, after, "no-cache, max-age=0", &rules, expected);
    }
    let mut grace = Rules::default();
    grace.stale.while_revalidate = Duration::from_secs(7);
    check("max-age=10", 17, "", &grace, "stale_while_revalidate");
    check("max-age=10", 18, "", &grace, "stale");
    check("max-age=10, must-revalidate", 11, "", &grace, "stale");
    check("max-age=10, stale-while-revalidate=2", 13, "", &grace, "stale");
}

#[test]
fn an_operator_may_let_explicit_grace_count_beside_s_maxage() {
    let mut rules = Rules::default();
    rules.stale.beside_s_maxage = true;
    for (cache_control, expected) in [
        ("s-maxage=10, stale-while-revalidate=2", "stale_while_revalidate"),
        ("s-maxage=10, stale-while-revalidate=1", "stale"),
        ("s-maxage=10", "stale"),
    ] {
        let (request, response) = (fields(&[]), fields(&[("cache-control", cache_control)]));
        let meta = storable(&testing::exchange(200, &request, &response), &rules)
            .unwrap()
            .meta;
        assert_eq!(
            word(ask(&meta, Mark::Unmarked, 12, &[], &rules)),
            expected,
            "{cache_control}"
        );
    }
}

#[test]
fn clients_cannot_force_a_refetch_by_default() {
    let rules = Rules::default();
    for request in [
        "no-cache",
        "max-age=0",
        "max-age=1",
        "min-fresh=1000",
        "no-store",
        "no-cache, max-age=0",
    ] {
        check("max-age=100", 50, request, &rules, "fresh");
        check("max-age=10", 50, request, &rules, "stale");
    }
    let found = ask(
        &with("max-age=100"),
        Mark::Unmarked,
        0,
        &[("pragma", "no-cache")],
        &rules,
    );
    assert_eq!(word(found), "fresh");
}

#[test]
fn clients_may_force_a_refetch_where_the_rules_let_them() {
    let rules = obedient();
    for (cache_control, after, request, expected) in [
        ("max-age=100", 0, "no-cache", "request_no_cache"),
        ("max-age=100", 0, "max-age=0", "fresh"),
        ("max-age=100", 1, "max-age=0", "request_max_age"),
        ("max-age=100", 5, "max-age=5", "fresh"),
        ("max-age=100", 6, "max-age=5", "request_max_age"),
        ("max-age=100", 40, "min-fresh=60", "fresh"),
        ("max-age=100", 41, "min-fresh=60", "request_min_fresh"),
        ("max-age=100", 0, "min-fresh=200", "request_min_fresh"),
        ("max-age=100", 0, "no-store", "fresh"),
        ("max-age=10", 20, "max-age=5", "request_max_age"),
        ("max-age=10", 20, "max-age=5, max-stale=15", "max_stale"),
        ("max-age=10", 20, "max-age=50", "stale"),
        (
            "max-age=10, stale-while-revalidate=60",
            20,
            "no-cache",
            "request_no_cache",
        ),
        (
            "max-age=10, stale-while-revalidate=60",
            20,
            "max-age=5",
            "request_max_age",
        ),
        (
            "max-age=10, stale-while-revalidate=60",
            20,
            "",
            "stale_while_revalidate",
        ),
    ] {
        check(cache_control, after, request, &rules, expected);
    }
    let found = ask(
        &with("max-age=100"),
        Mark::Unmarked,
        0,
        &[("pragma", "no-cache")],
        &rules,
    );
    assert_eq!(word(found), "request_no_cache");
}

#[test]
fn an_immutable_response_is_not_validated_while_fresh_but_on_no_cache() {
    let rules = obedient();
    check("max-age=100, immutable", 50, "max-age=0", &rules, "fresh");
    check("max-age=100, immutable", 50, "no-cache", &rules, "request_no_cache");
    check("max-age=100, immutable", 100, "max-age=0", &rules, "request_max_age");
    check("max-age=100, immutable", 100, "", &Rules::default(), "stale");
}

#[test]
fn max_stale_accepts_what_no_directive_forbids() {
    let mut rules = Rules::default();
    for (cache_control, after, request, expected) in [
        ("max-age=10", 20, "max-stale", "max_stale"),
        ("max-age=10", 20, "max-stale=10", "max_stale"),
        ("max-age=10", 21, "max-stale=10", "stale"),
        ("max-age=10", 20, "max-stale=x", "stale"),
        ("max-age=10", 5, "max-stale=10", "fresh"),
        ("max-age=10, must-revalidate", 20, "max-stale", "stale"),
        ("max-age=10, proxy-revalidate", 20, "max-stale", "stale"),
        ("s-maxage=10", 20, "max-stale", "stale"),
    ] {
        check(cache_control, after, request, &rules, expected);
    }
    rules.client.max_stale = false;
    check("max-age=10", 20, "max-stale", &rules, "stale");
}

#[test]
fn only_if_cached_never_reaches_the_origin() {
    let mut rules = Rules::default();
    for (cache_control, after, request, expected) in [
        ("max-age=10", 5, "only-if-cached", "fresh"),
        ("max-age=10", 20, "only-if-cached", "only_if_cached"),
        ("max-age=10", 20, "only-if-cached, max-stale", "max_stale"),
        (
            "max-age=10, stale-while-revalidate=60",
            20,
            "only-if-cached",
            "stale_while_revalidate",
        ),
    ] {
        check(cache_control, after, request, &rules, expected);
    }
    check(
        "max-age=10",
        5,
        "only-if-cached, no-cache",
        &obedient(),
        "only_if_cached",
    );
    let lines = fields(&[("cache-control", "only-if-cached")]);
    let digest = RequestDigest::of(&Method::GET, &lines);
    assert!(is_only_if_cached(&digest, &rules));
    rules.client.only_if_cached = false;
    assert!(!is_only_if_cached(&digest, &rules));
    check("max-age=10", 20, "only-if-cached", &rules, "stale");
}

#[test]
fn what_was_marked_stale_is_stale_whatever_its_age() {
    let rules = Rules::default();
    for (cache_control, request, expected) in [
        ("max-age=10", "", "marked_stale"),
        ("max-age=10", "max-stale", "marked_stale"),
        ("max-age=10", "only-if-cached", "only_if_cached"),
        ("max-age=10, stale-while-revalidate=5", "", "stale_while_revalidate"),
        (
            "max-age=10, stale-while-revalidate=5, must-revalidate",
            "",
            "marked_stale",
        ),
    ] {
        let found = ask(
            &with(cache_control),
            Mark::Stale,
            1,
            &[("cache-control", request)],
            &rules,
        );
        assert_eq!(word(found), expected, "{cache_control} {request}");
    }
}

#[test]
fn a_popular_response_is_refreshed_before_its_end_where_the_rules_say_so() {
    let rules = Rules {
        refresh_ahead_percent: 10,
        ..Rules::default()
    };
    check("max-age=100", 89, "", &rules, "fresh");
    check("max-age=100", 90, "", &rules, "refresh_ahead");
    check("max-age=100", 99, "", &rules, "refresh_ahead");
    check("max-age=100", 100, "", &rules, "stale");
}

fn on_failure(cache_control: &str, after: u64, request: &str, failure: Failure, rules: &Rules) -> Option<StaleWhy> {
    let lines = fields(&[("cache-control", request)]);
    let digest = RequestDigest::of(&Method::GET, &lines);
    let now = NOW.plus(Duration::from_secs(after));
    reuse_on_failure(&with(cache_control), Mark::Unmarked, &digest, failure, rules, now)
}

#[test]
fn stale_is_served_when_the_origin_fails_and_nothing_forbids_it() {
    let rules = Rules::default();
    for (cache_control, after, request, expected) in [
        ("max-age=2", 5, "", "by default"),
        ("max-age=2", 86_402, "", "by default"),
        ("max-age=2", 86_403, "", "no"),
        ("max-age=2, stale-if-error=60", 62, "", "explicitly"),
        ("max-age=2, stale-if-error=60", 63, "", "no"),
        ("max-age=2, stale-if-error=0", 3, "", "no"),
        ("max-age=2, must-revalidate", 5, "", "no"),
        ("max-age=2, proxy-revalidate", 5, "", "no"),
        ("max-age=2, no-cache", 1, "", "no"),
        ("max-age=2, s-maxage=2", 5, "", "no"),
        ("max-age=2, stale-if-error=60, must-revalidate", 5, "", "no"),
        // the client's own limit takes the place of both
        ("max-age=2", 5, "stale-if-error=3", "explicitly"),
        ("max-age=2", 6, "stale-if-error=3", "no"),
        ("max-age=2, stale-if-error=1", 5, "stale-if-error=3", "explicitly"),
        ("max-age=2, must-revalidate", 5, "stale-if-error=3", "no"),
        // still fresh, validated only because the client wanted it
        ("max-age=20, must-revalidate", 5, "no-cache", "by default"),
        ("max-age=20, stale-if-error=0", 5, "no-cache", "explicitly"),
    ] {
        let (unreachable, error) = match expected {
            "no" => (None, None),
            "by default" => (Some(StaleWhy::Unreachable), Some(StaleWhy::OriginError)),
            _ => (Some(StaleWhy::IfError), Some(StaleWhy::IfError)),
        };
        let found = |failure| on_failure(cache_control, after, request, failure, &rules);
        let failed = Failure::Status(StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(
            found(Failure::Unreachable),
            unreachable,
            "{cache_control} {after} {request}"
        );
        assert_eq!(found(failed), error, "{cache_control} {after} {request}");
    }
}

#[test]
fn only_the_statuses_of_rfc_5861_count_as_a_failing_origin() {
    let rules = Rules::default();
    for (status, expected) in [
        (500, true),
        (502, true),
        (503, true),
        (504, true),
        (501, false),
        (505, false),
        (404, false),
        (200, false),
    ] {
        let failure = Failure::Status(StatusCode::from_u16(status).unwrap());
        let found = on_failure("max-age=2, stale-if-error=60", 5, "", failure, &rules);
        assert_eq!(found.is_some(), expected, "{status}");
    }
}

#[test]
fn the_operator_may_forbid_what_nobody_asked_for() {
    let mut rules = Rules::default();
    rules.stale.if_error = Duration::ZERO;
    assert_eq!(on_failure("max-age=2", 5, "", Failure::Unreachable, &rules), None);
    assert_eq!(on_failure("max-age=2", 2, "", Failure::Unreachable, &rules), None);
    assert!(on_failure("max-age=2, stale-if-error=9", 5, "", Failure::Unreachable, &rules).is_some());
    rules.client.stale_if_error = false;
    assert_eq!(
        on_failure("max-age=2", 5, "stale-if-error=9", Failure::Unreachable, &rules),
        None
    );
}

#[test]
fn a_marked_response_survives_a_failing_origin_only_where_staleness_is_allowed() {
    let lines = fields(&[]);
    let digest = RequestDigest::of(&Method::GET, &lines);
    let ask = |cache_control| {
        let rules = Rules::default();
        reuse_on_failure(
            &with(cache_control),
            Mark::Stale,
            &digest,
            Failure::Unreachable,
            &rules,
            NOW,
        )
    };
    assert_eq!(ask("max-age=20"), Some(StaleWhy::Unreachable));
    assert_eq!(ask("max-age=20, must-revalidate"), None);
}

#[test]
fn every_reason_has_a_word_of_its_own() {
    let stale = [
        StaleWhy::MaxStale,
        StaleWhy::WhileRevalidate,
        StaleWhy::IfError,
        StaleWhy::Unreachable,
        StaleWhy::OriginError,
    ];
    let validate = [
        ValidateWhy::Stale,
        ValidateWhy::MarkedStale,
        ValidateWhy::NoCache,
        ValidateWhy::RequestNoCache,
        ValidateWhy::RequestMaxAge,
        ValidateWhy::RequestMinFresh,
    ];
    let words: std::collections::BTreeSet<_> = stale
        .iter()
        .map(|why| why.word())
        .chain(validate.iter().map(|why| why.word()))
        .collect();
    assert_eq!(words.len(), stale.len() + validate.len());
}
