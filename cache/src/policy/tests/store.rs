//! What is stored and what is not (RFC 9111 §3, §3.5, §7.3, RFC 9110 §9.3.3).

use std::time::Duration;

use http::{Method, StatusCode};

use crate::policy::content_range::PartialInvalid;
use crate::policy::meta::StaleForbidden;
use crate::policy::not_stored::NotStored;
use crate::policy::rules::{OriginDirectives, Rules, SetCookieRule};
use crate::policy::store::{Exchange, SetCookie, Storable, storable};
use crate::policy::testing::{self, fields};

type Lines<'a> = &'a [(&'static str, &'a str)];

fn decide(
    method: &Method,
    request: Lines<'_>,
    status: u16,
    response: Lines<'_>,
    rules: &Rules,
) -> Result<Storable, NotStored> {
    let (request, response) = (fields(request), fields(response));
    let exchange = Exchange {
        method,
        ..testing::exchange(status, &request, &response)
    };
    storable(&exchange, rules)
}

fn check(status: u16, response: Lines<'_>, expected: Result<(), NotStored>) {
    let found = decide(&Method::GET, &[], status, response, &Rules::default());
    assert_eq!(found.map(|_| ()), expected, "{status} {response:?}");
}

const FRESH: (&str, &str) = ("cache-control", "max-age=3600");
const TAG: (&str, &str) = ("etag", "\"a\"");

#[test]
fn explicit_freshness_makes_any_final_status_storable() {
    for status in (200..600).filter(|status| ![206, 304, 412, 416, 417].contains(status)) {
        check(status, &[FRESH], Ok(()));
        check(status, &[("expires", "@100")], Ok(()));
        check(status, &[("cache-control", "s-maxage=5")], Ok(()));
        check(status, &[("cdn-cache-control", "max-age=5")], Ok(()));
    }
    for status in [100, 102, 103, 199] {
        check(status, &[FRESH], Err(NotStored::Interim));
    }
    check(304, &[FRESH], Err(NotStored::NotModified));
    for status in [412, 416, 417] {
        check(status, &[FRESH], Err(NotStored::RequestSpecific));
    }
}

#[test]
fn without_explicit_freshness_the_status_or_public_must_allow_it() {
    let modified = ("last-modified", "@-86400");
    for status in [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501] {
        check(status, &[modified], Ok(()));
        check(status, &[], Err(NotStored::NoFreshness));
    }
    for status in [201, 202, 302, 303, 307, 400, 401, 403, 418, 500, 502, 503, 504, 599] {
        check(status, &[modified], Err(NotStored::Status));
        check(status, &[modified, ("cache-control", "public")], Ok(()));
    }
}

#[test]
fn what_could_never_be_used_is_not_stored() {
    for (lines, expected) in [
        (&[][..], Err(NotStored::NoFreshness)),
        (&[TAG], Ok(())),
        (&[("last-modified", "@-10")], Ok(())),
        (&[("cache-control", "public")], Err(NotStored::NoFreshness)),
        (&[("cache-control", "max-age=0")], Err(NotStored::BornStale)),
        (&[("cache-control", "max-age=0"), TAG], Ok(())),
        (&[("cache-control", "max-age=x")], Err(NotStored::BornStale)),
        (&[("expires", "0")], Err(NotStored::BornStale)),
        (&[("expires", "@-5000"), ("last-modified", "@-100000")], Ok(())),
        (&[FRESH, ("age", "3599")], Ok(())),
        (&[FRESH, ("age", "3600")], Err(NotStored::BornStale)),
        (&[FRESH, ("age", "7200"), TAG], Ok(())),
        (&[FRESH, ("date", "@-3600")], Err(NotStored::BornStale)),
        (&[("cache-control", "max-age=0, stale-if-error=60")], Ok(())),
        (&[("cache-control", "max-age=0, stale-while-revalidate=60")], Ok(())),
        (
            &[("cache-control", "max-age=0, stale-if-error=60, must-revalidate")],
            Err(NotStored::BornStale),
        ),
        (
            &[("cache-control", "s-maxage=0, stale-if-error=60")],
            Err(NotStored::BornStale),
        ),
        (&[("cache-control", "max-age=60, must-revalidate")], Ok(())),
        (&[("cache-control", "no-cache")], Err(NotStored::NoCache)),
        (&[("cache-control", "no-cache, max-age=60")], Err(NotStored::NoCache)),
        (
            &[("cache-control", "no-cache, stale-if-error=60")],
            Err(NotStored::NoCache),
        ),
        (&[("cache-control", "no-cache"), TAG], Ok(())),
        (&[("cache-control", "no-cache=\"a\", max-age=60")], Ok(())),
    ] {
        check(200, lines, expected);
    }
}

#[test]
fn directives_forbid_storing() {
    let cc = "cache-control";
    for (status, value, expected) in [
        (200, "no-store", Err(NotStored::NoStore)),
        (200, "nO-StOrE, max-age=60", Err(NotStored::NoStore)),
        (200, "max-age=10000, no-store", Err(NotStored::NoStore)),
        (200, "private, max-age=60", Err(NotStored::Private)),
        (200, "private=\"set-cookie\", max-age=60", Ok(())),
        (200, "private=\"\", max-age=60", Err(NotStored::Private)),
        (200, "public, private, max-age=60", Err(NotStored::Private)),
        // must-understand
        (200, "max-age=3600, no-store, must-understand", Ok(())),
        (404, "max-age=3600, no-store, must-understand", Ok(())),
        (
            599,
            "max-age=3600, no-store, must-understand",
            Err(NotStored::MustUnderstand),
        ),
        (599, "max-age=3600, must-understand", Err(NotStored::MustUnderstand)),
        (299, "max-age=3600, must-understand", Err(NotStored::MustUnderstand)),
        (200, "max-age=3600, must-understand, private", Err(NotStored::Private)),
        (
            200,
            "max-age=3600, no-store, must-understand=1",
            Err(NotStored::NoStore),
        ),
        (200, "foo, max-age=60, bar=\"no-store\"", Ok(())),
    ] {
        check(status, &[(cc, value)], expected);
    }
    check(200, &[(cc, "max-age=60"), (cc, "no-store")], Err(NotStored::NoStore));
}

#[test]
fn a_targeted_field_decides_alone() {
    let (cdn, cc) = ("cdn-cache-control", "cache-control");
    for (lines, expected) in [
        (&[(cdn, "max-age=60"), (cc, "no-store")][..], Ok(())),
        (&[(cdn, "max-age=60"), (cc, "private")], Ok(())),
        (&[(cdn, "max-age=60"), ("expires", "0")], Ok(())),
        (
            &[(cdn, "no-store"), (cc, "max-age=60"), ("expires", "@100")],
            Err(NotStored::NoStore),
        ),
        (&[(cdn, "private"), (cc, "max-age=60")], Err(NotStored::Private)),
        (&[(cdn, "no-cache"), (cc, "max-age=60")], Err(NotStored::NoCache)),
        (&[(cdn, "max-age=0"), ("expires", "@100")], Err(NotStored::BornStale)),
        (&[(cdn, "max-age=3600"), ("age", "7200")], Err(NotStored::BornStale)),
        (
            &[(cdn, "max-age=10000, &&&&&"), (cc, "no-store")],
            Err(NotStored::NoStore),
        ),
        (&[(cdn, "max-age=\"10000\""), (cc, "no-store")], Err(NotStored::NoStore)),
        (&[(cdn, "foo"), (cc, "max-age=60")], Err(NotStored::NoFreshness)),
    ] {
        check(200, lines, expected);
    }
}

#[test]
fn authorization_needs_a_directive_that_shares() {
    for (lines, expected) in [
        (&[("cache-control", "max-age=60")][..], Err(NotStored::Authorization)),
        (&[("expires", "@100")], Err(NotStored::Authorization)),
        (&[TAG], Err(NotStored::Authorization)),
        (
            &[("cache-control", "max-age=60, proxy-revalidate")],
            Err(NotStored::Authorization),
        ),
        (&[("cache-control", "max-age=60, public")], Ok(())),
        (&[("cache-control", "max-age=60, must-revalidate")], Ok(())),
        (&[("cache-control", "s-maxage=60")], Ok(())),
        (&[("cdn-cache-control", "max-age=60, public")], Ok(())),
        (
            &[("cdn-cache-control", "max-age=60"), ("cache-control", "public")],
            Err(NotStored::Authorization),
        ),
    ] {
        let found = decide(&Method::GET, &[("authorization", "x")], 200, lines, &Rules::default());
        assert_eq!(found.map(|_| ()), expected, "{lines:?}");
        check(200, lines, Ok(()));
    }
}

#[test]
fn a_request_may_forbid_storing_its_response() {
    let mut rules = Rules::default();
    for (value, expected) in [
        ("no-store", Err(NotStored::RequestNoStore)),
        ("No-Store, max-age=5", Err(NotStored::RequestNoStore)),
        ("no-cache", Ok(())),
        ("max-age=0", Ok(())),
    ] {
        let found = decide(&Method::GET, &[("cache-control", value)], 200, &[FRESH], &rules);
        assert_eq!(found.map(|_| ()), expected, "{value}");
    }
    rules.client.no_store = false;
    assert!(decide(&Method::GET, &[("cache-control", "no-store")], 200, &[FRESH], &rules).is_ok());
}

#[test]
fn only_get_responses_are_stored_and_post_responses_that_represent_their_target() {
    let rules = Rules::default();
    for (method, expected) in [
        ("GET", Ok(())),
        ("HEAD", Err(NotStored::Head)),
        ("POST", Err(NotStored::Post)),
        ("PUT", Err(NotStored::Method)),
        ("OPTIONS", Err(NotStored::Method)),
        ("M-SEARCH", Err(NotStored::Method)),
    ] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let found = decide(&method, &[], 200, &[FRESH], &rules);
        assert_eq!(found.map(|_| ()), expected, "{method}");
    }
    let location = "content-location";
    for (status, lines, expected) in [
        (200, &[FRESH, (location, "/a?b")][..], Ok(())),
        (200, &[FRESH, (location, "")], Ok(())),
        (200, &[FRESH, (location, "https://example.com/a?b")], Ok(())),
        (200, &[("expires", "@1000"), (location, "/a?b")], Ok(())),
        (200, &[FRESH, (location, "/a")], Err(NotStored::Post)),
        (
            200,
            &[FRESH, (location, "/a?b"), (location, "/c")],
            Err(NotStored::Post),
        ),
        (
            200,
            &[FRESH, (location, "https://example.org/a?b")],
            Err(NotStored::Post),
        ),
        (201, &[FRESH, (location, "/a?b")], Err(NotStored::Post)),
        (
            206,
            &[FRESH, (location, "/a?b"), ("content-range", "bytes 0-1/2")],
            Err(NotStored::Post),
        ),
        (
            200,
            &[TAG, ("last-modified", "@-86400"), (location, "/a?b")],
            Err(NotStored::Post),
        ),
        (
            200,
            &[("cache-control", "max-age=0"), TAG, (location, "/a?b")],
            Err(NotStored::Post),
        ),
        (
            200,
            &[("cache-control", "no-store"), (location, "/a?b")],
            Err(NotStored::NoStore),
        ),
    ] {
        let found = decide(&Method::POST, &[], status, lines, &rules);
        assert_eq!(found.map(|_| ()), expected, "{lines:?}");
    }
    let off = Rules {
        store_post: false,
        ..Rules::default()
    };
    let found = decide(&Method::POST, &[], 200, &[FRESH, (location, "/a?b")], &off);
    assert_eq!(found.map(|_| ()), Err(NotStored::Post));
}

#[test]
fn a_response_that_varies_on_everything_is_not_stored() {
    check(200, &[FRESH, ("vary", "*")], Err(NotStored::VaryAny));
    check(
        200,
        &[FRESH, ("vary", "foo"), ("vary", "bar, *")],
        Err(NotStored::VaryAny),
    );
    check(200, &[FRESH, ("vary", "foo, bar")], Ok(()));
    let many = (0..17).map(|index| format!("f{index}")).collect::<Vec<_>>().join(",");
    check(200, &[FRESH, ("vary", &many)], Err(NotStored::VaryTooMany));
}

#[test]
fn set_cookie_is_stored_when_the_origin_said_so_or_as_the_rules_want() {
    use SetCookieRule::{Never, StoreExplicit, Strip};
    let cookie = ("set-cookie", "a=b");
    let modified = ("last-modified", "@-86400");
    let refused = Err(NotStored::SetCookie);
    for (rule, lines, expected) in [
        (StoreExplicit, &[FRESH][..], Ok(SetCookie::Absent)),
        (StoreExplicit, &[FRESH, cookie], Ok(SetCookie::Stored)),
        (StoreExplicit, &[("expires", "@100"), cookie], Ok(SetCookie::Stored)),
        (
            StoreExplicit,
            &[modified, cookie, ("cache-control", "public")],
            Ok(SetCookie::Stored),
        ),
        (StoreExplicit, &[modified, cookie], refused),
        (StoreExplicit, &[TAG, cookie], refused),
        (StoreExplicit, &[("cache-control", "max-age=0"), TAG, cookie], refused),
        (
            StoreExplicit,
            &[("cache-control", "max-age=60, no-cache=\"set-cookie\""), cookie],
            Ok(SetCookie::Stripped),
        ),
        (
            StoreExplicit,
            &[("cache-control", "private=\"Set-Cookie\""), modified, cookie],
            Ok(SetCookie::Stripped),
        ),
        (Never, &[FRESH], Ok(SetCookie::Absent)),
        (Never, &[FRESH, cookie], refused),
        (
            Never,
            &[("cache-control", "max-age=60, private=set-cookie"), cookie],
            Ok(SetCookie::Stripped),
        ),
        (Strip, &[FRESH, cookie], Ok(SetCookie::Stripped)),
        (Strip, &[modified, cookie], Ok(SetCookie::Stripped)),
    ] {
        let rules = Rules {
            set_cookie: rule,
            ..Rules::default()
        };
        let found = decide(&Method::GET, &[], 200, lines, &rules);
        assert_eq!(
            found.clone().map(|found| found.set_cookie),
            expected,
            "{rule:?} {lines:?}"
        );
        if let Ok(found) = found {
            let omitted = found.omit.contains(&http::header::SET_COOKIE);
            assert_eq!(omitted, found.set_cookie == SetCookie::Stripped, "{rule:?} {lines:?}");
        }
    }
}

#[test]
fn an_operators_lifetime_is_no_leave_to_share_a_cookie() {
    let mut rules = Rules::default();
    rules.lifetime.force = Some(Duration::from_secs(60));
    let found = decide(&Method::GET, &[], 200, &[("set-cookie", "a=b")], &rules);
    assert_eq!(found.unwrap_err(), NotStored::SetCookie);
}

#[test]
fn partial_content_is_stored_when_it_does_not_contradict_itself() {
    let range = "content-range";
    for (lines, expected) in [
        (&[FRESH, (range, "bytes 4-9/10")][..], Ok(())),
        (&[FRESH, (range, "bytes 4-9/10"), ("content-length", "6")], Ok(())),
        (&[FRESH, (range, "bytes 4-9/10"), ("content-length", "5")], Ok(())),
        (
            &[FRESH, (range, "bytes 4-9/10"), ("content-length", "7")],
            Err(NotStored::Partial(PartialInvalid::Length)),
        ),
        (&[FRESH], Err(NotStored::Partial(PartialInvalid::ContentRange))),
        (
            &[FRESH, ("content-type", "multipart/byteranges; boundary=x")],
            Err(NotStored::Partial(PartialInvalid::Multipart)),
        ),
        (
            &[("cache-control", "no-store"), (range, "bytes 4-9/10")],
            Err(NotStored::NoStore),
        ),
    ] {
        check(206, lines, expected);
    }
    let found = decide(
        &Method::GET,
        &[],
        206,
        &[FRESH, (range, "bytes 4-9/10"), ("content-length", "5")],
        &Rules::default(),
    );
    let held = found.unwrap().meta.part().unwrap();
    assert_eq!(
        (held.range.first, held.range.last, held.complete_length),
        (4, 8, Some(10))
    );
    let mut rules = Rules::default();
    rules.ranges.store_partial = false;
    let found = decide(&Method::GET, &[], 206, &[FRESH, (range, "bytes 4-9/10")], &rules);
    assert_eq!(found.unwrap_err(), NotStored::PartialOff);
    check(200, &[FRESH, (range, "nonsense")], Ok(()));
}

#[test]
fn what_is_too_large_is_not_stored() {
    let rules = Rules {
        stored_response_max: 1000,
        ..Rules::default()
    };
    for (length, expected) in [("1000", Ok(())), ("1001", Err(NotStored::TooLarge))] {
        let found = decide(&Method::GET, &[], 200, &[FRESH, ("content-length", length)], &rules);
        assert_eq!(found.map(|_| ()), expected, "{length}");
    }
}

#[test]
fn the_operator_may_store_what_says_nothing_and_ignore_what_it_says() {
    let mut rules = Rules {
        negative: vec![
            (StatusCode::NOT_FOUND, Duration::from_secs(5)),
            (StatusCode::BAD_GATEWAY, Duration::from_secs(1)),
        ],
        ..Rules::default()
    };
    assert!(decide(&Method::GET, &[], 404, &[], &rules).is_ok());
    assert!(decide(&Method::GET, &[], 502, &[], &rules).is_ok());
    assert_eq!(
        decide(&Method::GET, &[], 503, &[], &rules).unwrap_err(),
        NotStored::Status
    );
    assert_eq!(
        decide(&Method::GET, &[], 404, &[("cache-control", "no-store")], &rules).unwrap_err(),
        NotStored::NoStore
    );
    rules.lifetime.force = Some(Duration::from_secs(60));
    assert!(decide(&Method::GET, &[], 302, &[], &rules).is_ok());
    assert_eq!(
        decide(&Method::GET, &[], 200, &[("cache-control", "private")], &rules).unwrap_err(),
        NotStored::Private
    );
    rules.origin_directives = OriginDirectives::Ignored;
    assert!(decide(&Method::GET, &[], 200, &[("cache-control", "private")], &rules).is_ok());
    let authorized = decide(
        &Method::GET,
        &[("authorization", "x")],
        200,
        &[("cache-control", "public")],
        &rules,
    );
    assert_eq!(authorized.unwrap_err(), NotStored::Authorization);
}

#[test]
fn the_digest_tells_which_directive_forbids_staleness() {
    use StaleForbidden::{MustRevalidate, ProxyRevalidate, SMaxage};
    let mut rules = Rules::default();
    let forbidden = |value: &'static str, rules: &Rules| {
        let found = decide(&Method::GET, &[], 200, &[("cache-control", value), TAG], rules);
        found.unwrap().meta.must_not_be_stale
    };
    for (value, expected) in [
        ("max-age=1", None),
        ("max-age=1, must-revalidate", Some(MustRevalidate)),
        ("max-age=1, proxy-revalidate", Some(ProxyRevalidate)),
        ("s-maxage=1", Some(SMaxage)),
        ("s-maxage=x", Some(SMaxage)),
        ("s-maxage=1, proxy-revalidate, must-revalidate", Some(MustRevalidate)),
        ("s-maxage=1, stale-while-revalidate=60", Some(SMaxage)),
    ] {
        assert_eq!(forbidden(value, &rules), expected, "{value}");
    }
    rules.stale.beside_s_maxage = true;
    assert_eq!(forbidden("s-maxage=1, stale-while-revalidate=60", &rules), None);
    assert_eq!(forbidden("s-maxage=1", &rules), Some(SMaxage));
    assert_eq!(
        forbidden("s-maxage=1, must-revalidate, stale-if-error=60", &rules),
        Some(MustRevalidate)
    );
}

#[test]
fn a_date_that_is_nonsense_is_the_time_of_receipt() {
    for lines in [&[("date", "foo"), ("expires", "@10")][..], &[("expires", "@10")]] {
        let meta = decide(&Method::GET, &[], 200, lines, &Rules::default()).unwrap().meta;
        assert_eq!((meta.date, meta.lifetime.seconds), (testing::NOW, 10), "{lines:?}");
        assert_eq!(meta.initial_age.duration(), Duration::ZERO);
    }
}

#[test]
fn an_origin_with_a_slow_clock_can_be_cached_by_rule() {
    let lines = [FRESH, ("date", "@-7200")];
    check(200, &lines, Err(NotStored::BornStale));
    let rules = Rules {
        age_from_date: false,
        ..Rules::default()
    };
    assert!(decide(&Method::GET, &[], 200, &lines, &rules).is_ok());
}

#[test]
fn reasons_are_told_apart_by_their_word_and_by_whom_they_are_about() {
    let reasons = [
        NotStored::Interim,
        NotStored::NotModified,
        NotStored::Method,
        NotStored::Head,
        NotStored::Post,
        NotStored::RequestNoStore,
        NotStored::NoStore,
        NotStored::Private,
        NotStored::MustUnderstand,
        NotStored::Authorization,
        NotStored::VaryAny,
        NotStored::VaryTooMany,
        NotStored::Status,
        NotStored::RequestSpecific,
        NotStored::PartialOff,
        NotStored::Partial(PartialInvalid::ContentRange),
        NotStored::SetCookie,
        NotStored::TooLarge,
        NotStored::NoCache,
        NotStored::NoFreshness,
        NotStored::BornStale,
    ];
    let words: std::collections::BTreeSet<_> = reasons.iter().map(|reason| reason.word()).collect();
    assert_eq!(words.len(), reasons.len());
    let about: Vec<_> = reasons
        .iter()
        .filter(|reason| reason.is_about_response())
        .map(|reason| reason.word())
        .collect();
    assert_eq!(
        about.join(" "),
        "no_store private must_understand vary_any vary_too_many status set_cookie too_large no_cache no_freshness born_stale"
    );
}
