//! Which stored response answers which request (RFC 9111 §4.1).

use http::{HeaderMap, HeaderName, header};

use crate::policy::rules::{AcceptEncodingRule, AcceptLanguageRule, Rules, VaryRules};
use crate::policy::store::storable;
use crate::policy::testing::{self, fields};
use crate::policy::vary::{Vary, reduce_accept_encoding, select};

type Lines<'a> = &'a [(&'static str, &'static str)];

fn check(vary: &'static str, original: Lines<'_>, presented: Lines<'_>, rules: &VaryRules, expected: bool) {
    let response = fields(&[("vary", vary), ("content-language", "de")]);
    let vary = Vary::of(&response);
    let key = vary.key(&fields(original), &response, rules);
    let found = vary.matches(&key, &fields(presented), rules);
    assert_eq!(found, expected, "{vary:?} {original:?} {presented:?}");
}

#[test]
fn a_star_in_any_spelling_matches_nothing() {
    for lines in [
        &["*"][..],
        &["*, *"],
        &["*", "*"],
        &[", *"],
        &["", "*"],
        &["*, foo"],
        &["foo, *"],
        &["foo", "bar, *"],
        &["foo bar"],
        &["\"foo\""],
    ] {
        let mut response = HeaderMap::new();
        for line in lines {
            response.append(header::VARY, line.parse().unwrap());
        }
        let vary = Vary::of(&response);
        assert_eq!(vary, Vary::Any, "{lines:?}");
        let request = fields(&[("foo", "1")]);
        let rules = Rules::default().vary;
        assert!(!vary.matches(&vary.key(&request, &response, &rules), &request, &rules));
    }
}

#[test]
fn names_are_a_set_over_all_lines() {
    let response = fields(&[("vary", "Foo, bar"), ("vary", "FOO,, baz")]);
    let names: Vec<_> = Vary::of(&response)
        .names()
        .iter()
        .map(HeaderName::as_str)
        .map(str::to_owned)
        .collect();
    assert_eq!(names, ["bar", "baz", "foo"]);
    assert_eq!(Vary::of(&fields(&[("vary", " , ")])), Vary::Nothing);
    assert_eq!(Vary::of(&fields(&[])), Vary::Nothing);
}

#[test]
fn nominated_fields_must_be_alike_after_normalisation() {
    let rules = Rules::default().vary;
    for (vary, original, presented, expected) in [
        ("", &[("foo", "1")][..], &[("foo", "2")][..], true),
        ("foo", &[("foo", "1")], &[("foo", "1")], true),
        (
            "foo",
            &[("foo", "1"), ("other", "2")],
            &[("foo", "1"), ("other", "3")],
            true,
        ),
        ("foo", &[("foo", "1")], &[("foo", "2")], false),
        ("foo", &[("foo", "1")], &[], false),
        ("foo", &[], &[("foo", "1")], false),
        ("foo", &[], &[], true),
        ("foo", &[], &[("foo", "")], false),
        ("foo", &[("foo", "")], &[("foo", "")], true),
        ("foo", &[("foo", "a")], &[("foo", "A")], false),
        (
            "foo, bar",
            &[("foo", "1"), ("bar", "x")],
            &[("bar", "x"), ("foo", "1")],
            true,
        ),
        (
            "foo, bar",
            &[("foo", "1"), ("bar", "x")],
            &[("foo", "1"), ("bar", "y")],
            false,
        ),
        ("foo, bar", &[("foo", "1"), ("bar", "x")], &[("foo", "1")], false),
        (
            "foo, bar, baz",
            &[("foo", "1"), ("baz", "9")],
            &[("foo", "1"), ("baz", "9")],
            true,
        ),
        // white space and several lines
        ("foo", &[("foo", "1,2")], &[("foo", " 1, 2 ")], true),
        ("foo", &[("foo", "1, 2")], &[("foo", "1"), ("foo", "2")], true),
        ("foo", &[("foo", "1, 2")], &[("foo", "2, 1")], false),
        ("foo", &[("foo", "\"1, 2\"")], &[("foo", "\"1,2\"")], false),
        ("foo", &[("foo", "1 2")], &[("foo", "12")], false),
    ] {
        check(vary, original, presented, &rules, expected);
    }
}

#[test]
fn a_variant_of_another_coding_is_told_apart_whatever_else_differs() {
    let rules = Rules::default().vary;
    let (plain, gzip) = (("foo", "1"), ("accept-encoding", "gzip, br"));
    for (vary, original, presented, expected) in [
        ("foo", &[plain, gzip][..], &[][..], true),
        ("foo, accept-encoding", &[plain, gzip], &[gzip], true),
        (
            "foo, accept-encoding",
            &[gzip],
            &[plain, ("accept-encoding", "br,gzip")],
            true,
        ),
        ("foo, accept-encoding", &[gzip], &[plain], false),
        ("foo, accept-encoding", &[plain], &[plain, gzip], false),
        ("accept-encoding", &[gzip], &[("accept-encoding", "gzip")], false),
        ("foo, accept-encoding", &[plain], &[], true),
    ] {
        let response = fields(&[("vary", vary)]);
        let vary = Vary::of(&response);
        let key = vary.key(&fields(original), &response, &rules);
        let found = vary.same_coding(&key, &fields(presented), &rules);
        assert_eq!(found, expected, "{vary:?} {original:?} {presented:?}");
    }
}

#[test]
fn accept_language_and_accept_encoding_are_compared_by_meaning() {
    let rules = Rules::default().vary;
    let (al, ae) = ("accept-language", "accept-encoding");
    for (name, original, presented, expected) in [
        (al, "en, de", "de, en", true),
        (al, "en, de", "eN, De", true),
        (al, "en, de", " en ,   de", true),
        (al, "en, de", "de;q=1.0, en;q=1", true),
        (al, "en;q=0.5, de", "de, en;q=0.500", true),
        (al, "en;q=0.5, de", "de;q=0.5, en", false),
        (al, "en, de", "en", false),
        (al, "en, de", "fr;q=0.5, de;q=1.0", false),
        (al, "en;x=1, de", "de, en;x=1", false),
        (al, "en;x=1, de", "en;x=1,de", true),
        (ae, "gzip, br", "br, gzip", true),
        (ae, "gzip, deflate, br, zstd", "GZIP,zstd,br,deflate", true),
        (ae, "gzip", "gzip;q=0", false),
        (ae, "gzip", "br, gzip", false),
    ] {
        check(name, &[(name, original)], &[(name, presented)], &rules, expected);
    }
}

#[test]
fn as_sent_takes_order_seriously() {
    let mut rules = Rules::default().vary;
    rules.accept_encoding = AcceptEncodingRule::AsSent;
    rules.accept_language = AcceptLanguageRule::AsSent;
    for name in ["accept-encoding", "accept-language"] {
        check(name, &[(name, "a, b")], &[(name, "b, a")], &rules, false);
        check(name, &[(name, "a, b")], &[(name, "a,b")], &rules, true);
    }
}

#[test]
fn reduced_accept_encodings_are_one_when_the_same_codings_are_taken() {
    let mut rules = Rules::default().vary;
    rules.accept_encoding = AcceptEncodingRule::Reduced;
    let name = "accept-encoding";
    for (original, presented, expected) in [
        ("gzip, deflate", "gzip;q=0.5, compress", true),
        ("br;q=0.1, gzip", "x-gzip, br", true),
        ("gzip", "gzip, br;q=0", true),
        ("deflate", "identity", true),
        ("gzip", "br", false),
    ] {
        check(name, &[(name, original)], &[(name, presented)], &rules, expected);
    }
    check(name, &[(name, "identity")], &[], &rules, false);
    let mut request = fields(&[(name, "gzip;q=0.2, deflate"), (name, "zstd")]);
    reduce_accept_encoding(&mut request, &rules);
    assert_eq!(request[name], "zstd, gzip");
    assert_eq!(request.get_all(name).iter().count(), 1);
}

#[test]
fn the_best_language_may_select_where_the_rules_allow_it() {
    let mut rules = Rules::default().vary;
    rules.accept_language = AcceptLanguageRule::BestLanguage;
    let al = "accept-language";
    let vary = "accept-language, foo";
    for (presented, expected) in [
        (&[(al, "fr;q=0.5, de;q=1.0")][..], true),
        (&[(al, "DE")], true),
        (&[(al, "de, en")], true), // the same meaning as the original
        (&[(al, "de, fr")], false),
        (&[(al, "fr, de;q=0.9")], false),
        (&[(al, "de"), ("foo", "1")], false),
        (&[], false),
    ] {
        check(vary, &[(al, "en, de")], presented, &rules, expected);
    }
}

#[test]
fn the_most_recent_matching_response_is_selected_and_one_with_vary_first() {
    let rules = Rules::default().vary;
    let stored = |date: &str, vary: &[(&'static str, &str)], foo: &str| {
        let lines = [&[("cache-control", "max-age=9000"), ("date", date)], vary].concat();
        let (request, response) = (fields(&[("foo", foo)]), fields(&lines));
        storable(&testing::exchange(200, &request, &response), &Rules::default())
            .unwrap()
            .meta
    };
    let (old, new) = (
        stored("@-100", &[("vary", "foo")], "1"),
        stored("@-50", &[("vary", "foo")], "1"),
    );
    let (other, plain) = (stored("@-10", &[("vary", "foo")], "2"), stored("@0", &[], "1"));
    for (candidates, expected) in [
        (&[&old, &new][..], Some(1)),
        (&[&new, &old], Some(0)),
        (&[&old, &other], Some(0)),
        (&[&other], None),
        (&[], None),
        (&[&plain], Some(0)),
        (&[&plain, &old], Some(1)),
        (&[&plain, &other], Some(0)),
    ] {
        let found = select(candidates.iter().copied(), &fields(&[("foo", "1")]), &rules);
        assert_eq!(found, expected, "{candidates:?}");
    }
}

#[test]
fn a_vary_key_reads_as_text() {
    let response = fields(&[("vary", "accept-encoding, x")]);
    let key = Vary::of(&response).key(
        &fields(&[("accept-encoding", "gzip, br")]),
        &response,
        &Rules::default().vary,
    );
    assert_eq!(key.to_string(), "accept-encoding: br,gzip; x");
}
