//! A small cache made of nothing but the policy, asked again and again: the behaviours that a stranger would check from
//! outside, group by group.

use std::time::Duration;

use common::time::WallTime;
use http::{HeaderMap, Method, StatusCode, header};

use crate::policy::age::Times;
use crate::policy::bypass::bypass;
use crate::policy::conditional::{Evaluated, Representation, evaluate};
use crate::policy::freshen::{HeadEffect, freshen, head_effect};
use crate::policy::invalidate::invalidates;
use crate::policy::meta::StoredMeta;
use crate::policy::request::{RequestDigest, make_unconditional};
use crate::policy::reuse::{Failure, Mark, Reuse, is_only_if_cached, reuse, reuse_on_failure};
use crate::policy::rules::Rules;
use crate::policy::store::{Exchange, storable};
use crate::policy::stored_fields::to_store;
use crate::policy::target::TargetUri;
use crate::policy::testing::{NOW, fields};
use crate::policy::validate::{Selected304, make_conditional, select_for_304};
use crate::policy::vary::select;

type Lines<'a> = &'a [(&'static str, &'a str)];

/// What a client sees, and how it came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// From the store, fresh.
    Cached,
    /// From the store, stale.
    Stale,
    /// From the store, after the origin said 304.
    Validated,
    /// From the origin.
    Fetched,
    /// 304 made by the cache.
    NotModified,
    /// 504 made by the cache.
    Refused,
    /// The origin's failure.
    Failed,
}

use Seen::{Cached, Failed, Fetched, NotModified, Refused, Stale, Validated};

/// What the origin does with the next request.
#[derive(Clone, Copy)]
enum Origin<'a> {
    /// Answers so; with 304 where the request's condition names its validator.
    Says(u16, Lines<'a>),
    /// Hangs up.
    IsGone,
}

#[derive(Default)]
struct Cache {
    stored: Vec<Stored>,
    now: WallTime,
    rules: Rules,
    /// The fields of the response that was given last.
    seen: HeaderMap,
}

struct Stored {
    path: String,
    meta: StoredMeta,
    fields: HeaderMap,
    mark: Mark,
}

impl Cache {
    fn new() -> Self {
        Self {
            now: NOW,
            ..Self::default()
        }
    }

    fn wait(&mut self, seconds: u64) {
        self.now = self.now.plus(Duration::from_secs(seconds));
    }

    fn get(&mut self, request: Lines<'_>, origin: Origin<'_>) -> Seen {
        self.ask("GET", "/a", request, origin)
    }

    fn ask(&mut self, method: &str, path: &str, request: Lines<'_>, origin: Origin<'_>) -> Seen {
        let (method, request) = (Method::from_bytes(method.as_bytes()).unwrap(), fields(request));
        if bypass(&method, None, &request, &self.rules.bypass).is_some() {
            return self.fetch(&method, path, &request, &[], origin);
        }
        let digest = RequestDigest::of(&method, &request);
        let places: Vec<_> = (0..self.stored.len())
            .filter(|at| self.stored[*at].path == path)
            .collect();
        let metas = || places.iter().map(|at| &self.stored[*at].meta);
        let chosen = select(metas(), &request, &self.rules.vary).map(|index| places[index]);
        let Some(chosen) = chosen else {
            return if is_only_if_cached(&digest, &self.rules) {
                Refused
            } else {
                self.fetch(&method, path, &request, &places, origin)
            };
        };
        let found = reuse(
            &self.stored[chosen].meta,
            self.stored[chosen].mark,
            &digest,
            &self.rules,
            self.now,
        );
        match found {
            Reuse::Fresh { .. } => self.answer(chosen, &request, Cached),
            Reuse::Stale { .. } => self.answer(chosen, &request, Stale),
            Reuse::OnlyIfCached => Refused,
            Reuse::Validate(_) => {
                let (meta, mark) = (&self.stored[chosen].meta, self.stored[chosen].mark);
                let failed = |failure| reuse_on_failure(meta, mark, &digest, failure, &self.rules, self.now);
                let failure = match origin {
                    Origin::IsGone => Some(Failure::Unreachable),
                    Origin::Says(status @ 500.., _) => Some(Failure::Status(StatusCode::from_u16(status).unwrap())),
                    Origin::Says(..) => None,
                };
                if failure.and_then(failed).is_some() {
                    return self.answer(chosen, &request, Stale);
                }
                self.fetch(&method, path, &request, &[chosen], origin)
            }
        }
    }

    fn answer(&mut self, at: usize, request: &HeaderMap, how: Seen) -> Seen {
        let stored = &self.stored[at];
        self.seen = stored.fields.clone();
        self.seen
            .insert(header::AGE, stored.meta.current_age(self.now).as_secs().into());
        let representation = Representation {
            status: stored.meta.status,
            validators: &stored.meta.validators,
            date: stored.meta.date,
            current: how == Validated,
        };
        match evaluate(request, &representation, self.now) {
            Evaluated::NotModified if how == Cached => NotModified,
            _ => how,
        }
    }

    /// Sends the request on, with the conditions of the stored responses at `known`.
    fn fetch(&mut self, method: &Method, path: &str, request: &HeaderMap, known: &[usize], origin: Origin<'_>) -> Seen {
        let Origin::Says(status, lines) = origin else {
            return Failed;
        };
        let mut sent = request.clone();
        make_unconditional(&mut sent);
        let metas: Vec<_> = known.iter().map(|at| &self.stored[*at].meta).collect();
        let conditional = *method == Method::GET
            && make_conditional(
                &mut sent,
                metas.first().copied(),
                metas.iter().skip(1).copied(),
                8,
                None,
            )
            .is_some();
        let response = fields(lines);
        let holds = conditional
            && (sent
                .get("if-none-match")
                .is_some_and(|sent| response.get("etag") == Some(sent))
                || sent
                    .get("if-modified-since")
                    .is_some_and(|sent| response.get("last-modified") == Some(sent)));
        let uri = format!("https://example.com{path}");
        let exchange = Exchange {
            method,
            target: TargetUri::parse(&uri).unwrap(),
            request,
            status: StatusCode::from_u16(status).unwrap(),
            response: &response,
            times: Times {
                request: self.now,
                response: self.now,
            },
        };
        if holds && let Selected304::These(these) = select_for_304(&response, metas, self.now) {
            return self.freshen(known[these[0]], &exchange, Validated);
        }
        for gone in invalidates(method, &exchange.target, exchange.status, &response) {
            self.stored.retain(|stored| stored.path != gone);
        }
        if *method == Method::HEAD {
            return self.take_head(known, &exchange);
        }
        self.seen = response.clone();
        if let Ok(storable) = storable(&exchange, &self.rules) {
            let same = |stored: &Stored| stored.path == path && stored.meta.vary_key == storable.meta.vary_key;
            self.stored.retain(|stored| !same(stored));
            self.stored.push(Stored {
                path: path.to_owned(),
                fields: to_store(&response, &storable.omit, storable.meta.date),
                meta: storable.meta,
                mark: Mark::Unmarked,
            });
        }
        Fetched
    }

    fn freshen(&mut self, at: usize, exchange: &Exchange<'_>, how: Seen) -> Seen {
        let stored = &mut self.stored[at];
        let freshened = freshen(&stored.fields, stored.meta.status, exchange, &self.rules);
        self.seen = freshened.fields.clone();
        match (freshened.to_store(), freshened.storing) {
            (Some(fields), Ok(storable)) => {
                (stored.fields, stored.meta, stored.mark) = (fields, storable.meta, Mark::Unmarked)
            }
            _ => drop(self.stored.remove(at)),
        }
        how
    }

    fn take_head(&mut self, known: &[usize], exchange: &Exchange<'_>) -> Seen {
        for at in known {
            match head_effect(&self.stored[*at].meta, None, exchange.status, exchange.response) {
                HeadEffect::Freshen => drop(self.freshen(*at, exchange, Fetched)),
                HeadEffect::MarkStale => self.stored[*at].mark = Mark::Stale,
                HeadEffect::Nothing => {}
            }
        }
        Fetched
    }
}

/// Two requests, three seconds apart, to an origin that always answers the same.
fn check(status: u16, response: Lines<'_>, expected: Seen) {
    check_requests(&[], status, response, &[], expected);
}

fn check_requests(first: Lines<'_>, status: u16, response: Lines<'_>, second: Lines<'_>, expected: Seen) {
    let mut cache = Cache::new();
    assert_eq!(
        cache.get(first, Origin::Says(status, response)),
        Fetched,
        "{response:?}"
    );
    cache.wait(3);
    let found = cache.get(second, Origin::Says(status, response));
    assert_eq!(found, expected, "{status} {response:?}, then {second:?}");
}

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
fn a_304_updates_what_is_stored() {
    let mut cache = Cache::new();
    let tag = ("etag", "\"a\"");
    cache.get(
        &[],
        Origin::Says(
            200,
            &[
                ("cache-control", "max-age=2"),
                tag,
                ("a", "1"),
                ("b", "1"),
                ("content-length", "5"),
            ],
        ),
    );
    cache.wait(3);
    let update = [
        ("cache-control", "max-age=60"),
        tag,
        ("a", "2"),
        ("content-length", "9"),
    ];
    assert_eq!(cache.get(&[], Origin::Says(200, &update)), Validated);
    for seen in [Validated, Cached] {
        assert_eq!(
            (&cache.seen["a"], &cache.seen["b"]),
            (&"2".parse().unwrap(), &"1".parse().unwrap()),
            "{seen:?}"
        );
        assert_eq!(cache.seen["content-length"], "5");
        assert_eq!(cache.get(&[], Origin::IsGone), Cached);
    }
}

#[test]
fn a_304_for_another_representation_updates_nothing() {
    let mut cache = Cache::new();
    cache.get(
        &[],
        Origin::Says(
            200,
            &[
                ("cache-control", "max-age=2"),
                ("etag", "W/\"a\""),
                ("last-modified", "@-9"),
            ],
        ),
    );
    cache.wait(3);
    let other = [("etag", "\"b\""), ("last-modified", "@-9"), ("x", "1")];
    assert_eq!(cache.get(&[], Origin::Says(200, &other)), Fetched);
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

#[test]
fn unsafe_requests_invalidate_when_they_succeed() {
    let fresh = [("cache-control", "max-age=3600")];
    for method in ["POST", "PUT", "DELETE", "M-SEARCH"] {
        for (status, response, path, expected) in [
            (200, &[][..], "/a", Fetched),
            (500, &[][..], "/a", Cached),
            (200, &[("location", "b")], "/b", Fetched),
            (200, &[("content-location", "/b")], "/b", Fetched),
            (200, &[("location", "https://example.org/b")], "/b", Cached),
            (200, &[], "/b", Cached),
        ] {
            let mut cache = Cache::new();
            cache.ask("GET", path, &[], Origin::Says(200, &fresh));
            assert_eq!(cache.ask(method, "/a", &[], Origin::Says(status, response)), Fetched);
            let found = cache.ask("GET", path, &[], Origin::Says(200, &fresh));
            assert_eq!(found, expected, "{method} {status} {response:?} {path}");
        }
    }
}

#[test]
fn a_post_response_that_represents_its_target_answers_gets() {
    let mut cache = Cache::new();
    let response = [("expires", "@2592000"), ("content-location", "/a"), ("date", "@0")];
    assert_eq!(cache.ask("POST", "/a", &[], Origin::Says(200, &response)), Fetched);
    assert_eq!(cache.get(&[], Origin::IsGone), Cached);
    assert_eq!(cache.ask("HEAD", "/a", &[], Origin::IsGone), Cached);
    assert_eq!(cache.ask("POST", "/a", &[], Origin::IsGone), Failed);
}

#[test]
fn head_is_answered_from_get_and_freshens_it() {
    let mut cache = Cache::new();
    cache.get(
        &[],
        Origin::Says(200, &[("cache-control", "max-age=2"), ("a", "1"), ("b", "1")]),
    );
    assert_eq!(cache.ask("HEAD", "/a", &[], Origin::IsGone), Cached);
    cache.wait(3);
    let update = [("cache-control", "max-age=1000"), ("a", "2")];
    assert_eq!(cache.ask("HEAD", "/a", &[], Origin::Says(200, &update)), Fetched);
    assert_eq!(cache.get(&[], Origin::IsGone), Cached);
    assert_eq!(
        (cache.seen["a"].as_bytes(), cache.seen["b"].as_bytes()),
        (&b"2"[..], &b"1"[..])
    );
    cache.wait(1000);
    assert_eq!(
        cache.ask("HEAD", "/a", &[], Origin::Says(200, &[("etag", "\"new\"")])),
        Fetched
    );
    assert_eq!(cache.get(&[], Origin::Says(200, &[])), Fetched);
}
