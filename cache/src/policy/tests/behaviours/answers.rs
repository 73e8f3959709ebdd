//! What a request is answered with: its own directives, variants, stale responses (RFC 9111 §4, §4.1, §5.2.1; RFC 5861).

use super::*;

#[test]
fn requests_are_answered_by_what_they_ask() {
    let fresh = ("cache-control", "max-age=3600");
    let cc = "cache-control";
    for (first, response, second, expected) in [
        (&[][..], &[fresh][..], &[("cookie", "a=b")][..], Cached),
        (&[], &[fresh, ("set-cookie", "a=b")], &[], Cached),
        (&[], &[fresh], &[("pragma", "no-cache")], Cached),
        (&[], &[fresh], &[(cc, "no-cache")], Cached),
        (&[], &[fresh], &[(cc, "no-store")], Cached),
        (&[(cc, "no-store")], &[fresh], &[], Fetched),
        (&[], &[(cc, "max-age=1")], &[(cc, "max-stale=1000")], Stale),
        (&[("authorization", "x")], &[fresh], &[], Fetched),
        (&[("authorization", "x")], &[(cc, "max-age=3600, public")], &[], Cached),
        (
            &[("authorization", "x")],
            &[(cc, "max-age=3600, must-revalidate")],
            &[],
            Cached,
        ),
        (&[("authorization", "x")], &[(cc, "s-maxage=3600")], &[], Cached),
        (&[], &[fresh], &[("authorization", "x")], Cached),
        (&[("foo", "1")], &[fresh, ("vary", "foo")], &[("foo", "1")], Cached),
        (&[("foo", "1")], &[fresh, ("vary", "foo")], &[("foo", "2")], Fetched),
        (&[("foo", "1")], &[fresh, ("vary", "foo")], &[], Fetched),
        (&[], &[fresh, ("vary", "foo")], &[("foo", "1")], Fetched),
        (&[("other", "2")], &[fresh, ("vary", "foo")], &[("other", "3")], Cached),
        (&[("foo", "1")], &[fresh, ("vary", "*")], &[("foo", "1")], Fetched),
        (&[("foo", "1")], &[fresh, ("vary", "foo, *")], &[("foo", "1")], Fetched),
        (
            &[("foo", "1, 2")],
            &[fresh, ("vary", "foo")],
            &[("foo", "1"), ("foo", "2")],
            Cached,
        ),
        (
            &[("accept-language", "en, de")],
            &[fresh, ("vary", "accept-language")],
            &[("accept-language", "de, en")],
            Cached,
        ),
        (
            &[],
            &[fresh, ("etag", "\"a\"")],
            &[("if-none-match", "\"a\"")],
            NotModified,
        ),
        (
            &[],
            &[fresh, ("etag", "\"a\"")],
            &[("if-none-match", "W/\"a\"")],
            NotModified,
        ),
        (&[], &[fresh, ("etag", "\"a\"")], &[("if-none-match", "\"b\"")], Cached),
        (
            &[],
            &[fresh, ("last-modified", "@-3000")],
            &[("if-modified-since", "@-3000")],
            NotModified,
        ),
        (&[("if-none-match", "\"a\"")], &[fresh, ("etag", "\"a\"")], &[], Cached),
    ] {
        check_requests(first, 200, response, second, expected);
    }
    assert_eq!(
        Cache::new().get(&[(cc, "only-if-cached")], Origin::Says(200, &[fresh])),
        Refused
    );
}

#[test]
fn two_variants_are_kept_side_by_side() {
    let mut cache = Cache::new();
    let response = [("cache-control", "max-age=3600"), ("vary", "foo")];
    assert_eq!(cache.get(&[("foo", "1")], Origin::Says(200, &response)), Fetched);
    assert_eq!(cache.get(&[("foo", "2")], Origin::Says(200, &response)), Fetched);
    assert_eq!(cache.get(&[("foo", "1")], Origin::IsGone), Cached);
    assert_eq!(cache.get(&[("foo", "2")], Origin::IsGone), Cached);
    assert_eq!(cache.get(&[("foo", "3")], Origin::IsGone), Failed);
}

#[test]
fn stale_is_served_for_a_while_when_the_origin_fails() {
    for (line, expected) in [
        ("max-age=2", Stale),
        ("max-age=2, stale-if-error=60", Stale),
        ("max-age=2, must-revalidate", Failed),
        ("max-age=2, proxy-revalidate", Failed),
        ("max-age=2, no-cache", Failed),
        ("max-age=2, s-maxage=2", Failed),
    ] {
        let mut cache = Cache::new();
        cache.get(&[], Origin::Says(200, &[("cache-control", line)]));
        cache.wait(3);
        assert_eq!(cache.get(&[], Origin::IsGone), expected, "{line}");
        let error = cache.get(&[], Origin::Says(503, &[]));
        assert_eq!(error, if expected == Stale { Stale } else { Fetched }, "{line}");
    }
}

#[test]
fn stale_while_revalidate_answers_at_once_within_its_window() {
    let mut cache = Cache::new();
    cache.get(
        &[],
        Origin::Says(
            200,
            &[
                ("cache-control", "max-age=1, stale-while-revalidate=4"),
                ("etag", "\"a\""),
            ],
        ),
    );
    cache.wait(3);
    assert_eq!(cache.get(&[], Origin::IsGone), Stale);
    cache.wait(3);
    assert_eq!(cache.get(&[], Origin::Says(200, &[("etag", "\"b\"")])), Fetched);
}

#[test]
fn age_is_generated_and_date_is_kept() {
    for lines in [
        &[("cache-control", "max-age=600"), ("age", "30"), ("date", "@0")][..],
        &[("expires", "@6000"), ("age", "30"), ("date", "@0")],
    ] {
        let mut cache = Cache::new();
        cache.get(&[], Origin::Says(200, lines));
        cache.wait(3);
        assert_eq!(cache.get(&[], Origin::IsGone), Cached);
        assert_eq!(cache.seen["age"], "33");
        assert_eq!(cache.seen["date"], NOW.http_date().as_str());
    }
}
