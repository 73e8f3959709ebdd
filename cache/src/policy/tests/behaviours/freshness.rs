//! How long a response is fresh: directives, Age, Expires, statuses, heuristics, targeted fields (RFC 9111 §4.2, RFC 9213).

use super::*;

#[test]
fn freshness_by_cache_control() {
    let cc = "cache-control";
    for (lines, expected) in [
        (&[][..], Fetched),
        (&[(cc, "max-age=3600")], Cached),
        (&[(cc, "max-age=1")], Fetched),
        (&[(cc, "max-age=0")], Fetched),
        (&[(cc, "max-age=2147483648")], Cached),
        (&[(cc, "max-age=99999999999")], Cached),
        (&[(cc, "max-age=10"), ("age", "15"), ("date", "@0")], Fetched),
        (&[(cc, "max-age=3600"), ("expires", "@-10000"), ("date", "@0")], Cached),
        (&[(cc, "max-age=3600"), ("expires", "0"), ("date", "@0")], Cached),
        (&[(cc, "max-age=0"), ("expires", "@10000"), ("date", "@0")], Fetched),
        (&[(cc, "s-maxage=3600")], Cached),
        (&[(cc, "max-age=3600, s-maxage=1")], Fetched),
        (&[(cc, "s-maxage=1, max-age=3600")], Fetched),
        (&[(cc, "max-age=3600"), (cc, "s-maxage=1")], Fetched),
        (&[(cc, "max-age=1, s-maxage=3600")], Cached),
        (&[(cc, "max-age=1"), ("etag", "\"a\"")], Validated),
        (&[(cc, "max-age=1"), ("last-modified", "@-3000")], Validated),
        (&[("etag", "\"a\"")], Validated),
    ] {
        check(200, lines, expected);
    }
}

#[test]
fn cache_control_is_parsed() {
    for (line, expected) in [
        ("max-age=1800, max-age=1", Cached),
        ("max-age=1, max-age=1800", Fetched),
        ("extension=\"max-age=3600\", max-age=1", Fetched),
        ("max-age=1, extension=\"max-age=3600\"", Fetched),
        ("max-age=\"3600\"", Cached),
        ("max-age =3600", Fetched),
        ("max-age= 3600", Fetched),
        ("max-age=003600", Cached),
        ("max-age='3600'", Fetched),
        ("max-age=3600.0", Fetched),
        ("max-age=a3600", Fetched),
        ("max-age=3600a", Fetched),
        ("MaX-aGe=3600", Cached),
        ("foobar, max-age=3600", Cached),
        ("private, max-age=3600", Fetched),
        ("no-store", Fetched),
        ("No-StOrE, max-age=10000", Fetched),
        ("max-age=10000, no-cache", Fetched),
        ("max-age=10000, No-CaChE", Fetched),
        ("max-age=10000, must-revalidate", Cached),
        ("max-age=3600, no-store, must-understand", Cached),
    ] {
        check(200, &[("cache-control", line)], expected);
    }
    check(200, &[("cache-control", "no-cache"), ("etag", "\"a\"")], Validated);
    check(
        200,
        &[("cache-control", "max-age=10000, no-cache"), ("etag", "\"a\"")],
        Validated,
    );
    check(
        200,
        &[("cache-control", "max-age=2, must-revalidate"), ("etag", "\"a\"")],
        Validated,
    );
    check(
        599,
        &[("cache-control", "max-age=3600, no-store, must-understand")],
        Fetched,
    );
}

#[test]
fn age_is_parsed() {
    for (lines, expected) in [
        (&["abc"][..], Cached),
        (&["-7200"], Cached),
        (&["7200.0"], Cached),
        (&["2147483647"], Fetched),
        (&["2147483648"], Fetched),
        (&["2147483649"], Fetched),
        (&["7200, 0"], Fetched),
        (&["0, 7200"], Cached),
        (&["7200", "0"], Fetched),
        (&["0", "7200"], Cached),
        (&["0, 0"], Cached),
        (&["0", "0"], Cached),
    ] {
        let mut response = vec![("date", "@0"), ("cache-control", "max-age=3600")];
        response.extend(lines.iter().map(|line| ("age", *line)));
        check(200, &response, expected);
    }
    let not_old = [
        ("date", "@0"),
        ("cache-control", "max-age=10000"),
        ("age", "3600"),
        ("age", "3600"),
    ];
    check(200, &not_old, Cached);
}

#[test]
fn freshness_by_expires() {
    for (lines, expected) in [
        (&[("expires", "@2592000"), ("date", "@0")][..], Cached),
        (&[("expires", "@-2592000"), ("date", "@0")], Fetched),
        (&[("expires", "@0"), ("date", "@0")], Fetched),
        (&[("expires", "@300"), ("date", "@400")], Fetched),
        (&[("expires", "0"), ("date", "@0")], Fetched),
        (&[("expires", "@10"), ("date", "foo")], Cached),
        (&[("expires", "@10"), ("date", "@-10"), ("age", "25")], Fetched),
        (&[("expires", "@20"), ("date", "@10"), ("age", "15")], Fetched),
        (&[("expires", "Tue, 19 Jan 2038 14:14:08 GMT"), ("date", "@0")], Cached),
        (&[("expires", "Sun, 21 Nov 2286 04:46:39 GMT"), ("date", "@0")], Cached),
        (
            &[("expires", "Thursday, 18-Aug-50 02:01:18 GMT"), ("date", "@0")],
            Cached,
        ),
        (&[("expires", "Thu Aug 18 02:01:18 2050"), ("date", "@0")], Cached),
        (&[("expires", "THU, 18 Aug 2050 02:01:18 GMT"), ("date", "@0")], Cached),
        (&[("expires", "Thu, 18 AUG 2050 02:01:18 GMT"), ("date", "@0")], Cached),
        (&[("expires", "Thu, 18 Aug 2050 02:01:18 gMT"), ("date", "@0")], Cached),
        (&[("expires", "Thu, 18 Aug 2050 02:01:18 UTC"), ("date", "@0")], Fetched),
        (
            &[("expires", "Thu, 18 Aug 2050 02:01:18 AEST"), ("date", "@0")],
            Fetched,
        ),
        (&[("expires", "Thu, 18 Aug 50 02:01:18 GMT"), ("date", "@0")], Fetched),
        (&[("expires", "Thu 18 Aug 2050 02:01:18 GMT"), ("date", "@0")], Fetched),
        (
            &[("expires", "Thu, 18  Aug  2050 02:01:18 GMT"), ("date", "@0")],
            Fetched,
        ),
        (&[("expires", "Thu, 18-Aug-2050 02:01:18 GMT"), ("date", "@0")], Fetched),
        (&[("expires", "Thu, 18 Aug 2050 02.01.18 GMT"), ("date", "@0")], Fetched),
        (&[("expires", "Thu, 18 Aug 2050 2:01:18 GMT"), ("date", "@0")], Fetched),
        (
            &[
                ("expires", "Thu, 18 Aug 2050 2:01:18 GMT"),
                ("expires", "Thu, 18 Aug 2050 2:01:19 GMT"),
                ("date", "@0"),
            ],
            Fetched,
        ),
    ] {
        check(200, lines, expected);
    }
}

#[test]
fn every_status_is_reused_while_explicitly_fresh_and_not_when_stale() {
    for status in [
        200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 499, 500, 502, 503, 504, 599,
    ] {
        check(
            status,
            &[
                ("cache-control", "max-age=100000"),
                ("last-modified", "@0"),
                ("date", "@0"),
            ],
            Cached,
        );
        let mut cache = Cache::new();
        let stale = [("expires", "@-5000"), ("last-modified", "@-100000"), ("date", "@0")];
        assert_eq!(cache.get(&[], Origin::Says(status, &stale)), Fetched);
        assert_eq!(cache.get(&[], Origin::Says(200, &[])), Fetched, "{status}");
    }
}

#[test]
fn heuristics_reuse_where_the_status_or_public_allows() {
    let lines = [("last-modified", "@-86400"), ("date", "@0")];
    for status in [200, 203, 204, 404, 405, 410, 414, 501] {
        check(status, &lines, Cached);
    }
    for status in [201, 202, 403, 502, 503, 504, 599] {
        check(status, &lines, Fetched);
    }
    check(599, &[lines[0], lines[1], ("cache-control", "public")], Cached);
    check(
        200,
        &[lines[0], lines[1], ("content-disposition", "attachment")],
        Cached,
    );
    check(200, &[lines[0], lines[1], ("pragma", "no-cache")], Cached);
}

#[test]
fn a_cdn_obeys_its_own_field_first() {
    let (cdn, cc) = ("cdn-cache-control", "cache-control");
    for (lines, expected) in [
        (&[(cdn, "max-age=3600")][..], Cached),
        (&[(cdn, "max-age=99999999999")], Cached),
        (&[(cdn, "max-age=3600"), ("age", "7200"), ("date", "@0")], Fetched),
        (&[(cdn, "max-age =100"), (cc, "max-age=1")], Fetched),
        (&[(cdn, "max-age=0"), ("expires", "@10000")], Fetched),
        (&[(cdn, "foobar, max-age=3600")], Cached),
        (&[(cdn, "max-age=3600"), ("expires", "0")], Cached),
        (&[(cdn, "max-age=3600"), (cc, "max-age=1")], Cached),
        (&[(cdn, "max-age=1"), (cc, "max-age=3600")], Fetched),
        (&[(cdn, "private"), (cc, "max-age=10000")], Fetched),
        (&[(cdn, "no-cache"), (cc, "max-age=10000")], Fetched),
        (&[(cdn, "no-store"), (cc, "max-age=10000")], Fetched),
        (&[(cdn, "max-age=10000"), (cc, "no-store")], Cached),
        (&[(cdn, "max-age=10000, &&&&&"), (cc, "no-store")], Fetched),
        (&[(cdn, "max-age=\"10000\""), (cc, "no-store")], Fetched),
    ] {
        check(200, lines, expected);
    }
}
