//! Which stored response of a key answers a request: Vary and the Vary key (RFC 9111 §4.1).
//!
//! The Vary key is the nominated request fields in a normal form, kept byte for byte: comparing is exact, and a lookup
//! visits the request's fields without copying them.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::list;
use super::meta::StoredMeta;
use super::rules::{AcceptEncodingRule, AcceptLanguageRule, VaryRules};
use super::weights::{self, Sorted};

/// What a response's Vary says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vary {
    /// There is none: it answers every request for its key.
    Nothing,
    /// `*`, or something that is no field name: it answers no request.
    Any,
    /// It answers requests with these fields alike; sorted, without duplicates, never empty.
    Fields(Box<[HeaderName]>),
}

/// The nominated fields of the request that a response was stored for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct VaryKey {
    /// In normal form.
    exact: Box<[u8]>,
    /// The same with the response's own language in place of Accept-Language, where the rules ask for it.
    language: Option<Box<[u8]>>,
}

impl Vary {
    /// Reads all Vary lines of a response.
    pub fn of(fields: &HeaderMap) -> Self {
        let mut names = Vec::new();
        for member in fields
            .get_all(header::VARY)
            .iter()
            .flat_map(|line| list::members(line.as_bytes()))
        {
            // "A stored response with a Vary header field value containing a member "*" always fails to match." (§4.1)
            match HeaderName::from_bytes(member) {
                Ok(name) if member != b"*" => names.push(name),
                _ => return Self::Any,
            }
        }
        names.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        names.dedup();
        if names.is_empty() {
            Self::Nothing
        } else {
            Self::Fields(names.into())
        }
    }

    /// The nominated fields.
    pub fn names(&self) -> &[HeaderName] {
        match self {
            Self::Fields(names) => names,
            Self::Nothing | Self::Any => &[],
        }
    }

    /// The Vary key of a response with `response` fields to a request with `request` fields.
    pub fn key(&self, request: &HeaderMap, response: &HeaderMap, rules: &VaryRules) -> VaryKey {
        let mut exact = Vec::new();
        self.visit(request, rules, None, &mut |piece| exact.extend_from_slice(piece));
        let language = (rules.accept_language == AcceptLanguageRule::BestLanguage)
            .then(|| response.get(header::CONTENT_LANGUAGE))
            .flatten()
            .map(|value| {
                let mut key = Vec::new();
                let language = value.as_bytes();
                self.visit(request, rules, Some(language), &mut |piece| {
                    key.extend_from_slice(piece)
                });
                key.into()
            });
        VaryKey {
            exact: exact.into(),
            language,
        }
    }

    /// Whether a response stored under `key` answers a request with `request` fields.
    pub fn matches(&self, key: &VaryKey, request: &HeaderMap, rules: &VaryRules) -> bool {
        if *self == Self::Nothing {
            return true;
        }
        // "When a cache receives a request that can be satisfied by a stored response and that stored response contains a
        // Vary header field […], the cache MUST NOT use that stored response without revalidation unless all the presented
        // request header fields nominated by that Vary field value match those fields in the original request" (§4.1)
        *self != Self::Any && (self.is_key(&key.exact, request, rules, None) || self.speaks(key, request, rules))
    }

    /// Whether the response is in the one language that the request likes best ([`AcceptLanguageRule::BestLanguage`]).
    fn speaks(&self, key: &VaryKey, request: &HeaderMap, rules: &VaryRules) -> bool {
        let best = || weights::best(request.get_all(header::ACCEPT_LANGUAGE).iter());
        let language = key.language.as_deref().zip(key.language.as_ref().and_then(|_| best()));
        language.is_some_and(|(key, best)| self.is_key(key, request, rules, Some(best)))
    }

    fn is_key(&self, key: &[u8], request: &HeaderMap, rules: &VaryRules, language: Option<&[u8]>) -> bool {
        let mut rest = Some(key);
        self.visit(request, rules, language, &mut |piece| {
            rest = rest.and_then(|rest| rest.strip_prefix(piece));
        });
        rest == Some(&[])
    }

    /// Calls `visit` with the pieces of the Vary key: `name` for an absent field, `name: value` for one that is there, a
    /// line each. "If (after any normalization that might take place) a header field is absent from a request, it can only
    /// match another request if it is also absent there." (§4.1)
    fn visit(&self, request: &HeaderMap, rules: &VaryRules, language: Option<&[u8]>, visit: &mut impl FnMut(&[u8])) {
        for name in self.names() {
            visit(name.as_str().as_bytes());
            match language {
                Some(language) if name == header::ACCEPT_LANGUAGE => {
                    visit(b"= ");
                    language.iter().for_each(|byte| visit(&[byte.to_ascii_lowercase()]));
                }
                _ if request.contains_key(name) => {
                    visit(b": ");
                    visit_value(name, request, rules, visit);
                }
                _ => {}
            }
            visit(b"\n");
        }
    }
}

/// A Vary key as one line of text, for logs and `explain`.
impl fmt::Display for VaryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy(&self.exact);
        f.write_str(&text.trim_end().replace('\n', "; "))
    }
}

fn visit_value(name: &HeaderName, request: &HeaderMap, rules: &VaryRules, visit: &mut impl FnMut(&[u8])) {
    let lines = || request.get_all(name).iter();
    let sorted = match *name {
        header::ACCEPT_ENCODING => match rules.accept_encoding {
            AcceptEncodingRule::AsSent => None,
            AcceptEncodingRule::SameMeaning => Sorted::of(lines()),
            AcceptEncodingRule::Reduced => return visit(reduced_accept_encoding(request).as_bytes()),
        },
        header::ACCEPT_LANGUAGE if rules.accept_language != AcceptLanguageRule::AsSent => Sorted::of(lines()),
        _ => None,
    };
    match sorted {
        Some(sorted) => visit_sorted(&sorted, visit),
        // "adding or removing whitespace, where allowed in the header field's syntax; combining multiple header field lines
        // with the same field name" (§4.1)
        None => {
            for member in lines().flat_map(|line| list::members(line.as_bytes())) {
                visit(member);
                visit(b",");
            }
        }
    }
}

/// "normalizing both header field values in a way that is known to have identical semantics, according to the header
/// field's specification (e.g., reordering field values when order is not significant; case-normalization, where values are
/// defined to be case-insensitive)" (§4.1)
fn visit_sorted(sorted: &Sorted<'_>, visit: &mut impl FnMut(&[u8])) {
    for member in sorted.members() {
        for byte in member.name {
            visit(&[byte.to_ascii_lowercase()]);
        }
        if member.weight < 1000 {
            visit(b";q=0.");
            for digit in [member.weight / 100, member.weight / 10 % 10, member.weight % 10] {
                visit(&[b'0' + u8::try_from(digit).unwrap_or_default()]);
            }
        }
        visit(b",");
    }
}

/// What a request with a reduced Accept-Encoding is sent to the origin with ([`AcceptEncodingRule::Reduced`]): the known
/// codings that the client takes, in one order.
pub fn reduced_accept_encoding(request: &HeaderMap) -> &'static str {
    let (mut zstd, mut br, mut gzip) = (false, false, false);
    let lines = request.get_all(header::ACCEPT_ENCODING);
    for member in lines.iter().flat_map(|line| list::members(line.as_bytes())) {
        let Some(coding) = weights::read(member).filter(|coding| coding.weight > 0) else {
            continue;
        };
        zstd |= coding.name.eq_ignore_ascii_case(b"zstd");
        br |= coding.name.eq_ignore_ascii_case(b"br");
        // "A recipient SHOULD consider "x-gzip" to be equivalent to "gzip"." (RFC 9110 §8.4.1.3)
        gzip |= coding.name.eq_ignore_ascii_case(b"gzip") || coding.name.eq_ignore_ascii_case(b"x-gzip");
    }
    match (zstd, br, gzip) {
        (true, true, true) => "zstd, br, gzip",
        (true, true, false) => "zstd, br",
        (true, false, true) => "zstd, gzip",
        (true, false, false) => "zstd",
        (false, true, true) => "br, gzip",
        (false, true, false) => "br",
        (false, false, true) => "gzip",
        (false, false, false) => "identity",
    }
}

/// Puts the reduced Accept-Encoding into a request for the origin, where the rules ask for it and the client sent one.
pub fn reduce_accept_encoding(request: &mut HeaderMap, rules: &VaryRules) {
    if rules.accept_encoding == AcceptEncodingRule::Reduced && request.contains_key(header::ACCEPT_ENCODING) {
        let reduced = reduced_accept_encoding(request);
        request.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(reduced));
    }
}

/// Picks, among the stored responses of one key, the one that answers a request; gives its place.
pub fn select<'m>(
    stored: impl IntoIterator<Item = &'m StoredMeta>,
    request: &HeaderMap,
    rules: &VaryRules,
) -> Option<usize> {
    // "when a cache has multiple stored responses for a target URI and one or more omits the Vary header field, the cache
    // SHOULD choose the most recent (see Section 4.2.3) stored response with a valid Vary field value." (§4.1) and
    // "When more than one suitable response is stored, a cache MUST use the most recent one (as determined by the Date
    // header field)." (§4)
    let matching = stored
        .into_iter()
        .enumerate()
        .filter(|(_, meta)| meta.vary.matches(&meta.vary_key, request, rules));
    let best = matching.max_by_key(|(_, meta)| (!meta.vary.names().is_empty(), meta.date, meta.response_time));
    best.map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::rules::Rules;
    use crate::policy::store::storable;
    use crate::policy::testing;

    fn fields(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        map
    }

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
            // the value of one field cannot pass for another field
            ("bar, foo", &[("bar", "1")], &[("bar", "1,\nfoo: 2,")], false),
            // white space and several lines
            ("foo", &[("foo", "1,2")], &[("foo", " 1, 2 ")], true),
            ("foo", &[("foo", "1, 2")], &[("foo", "1"), ("foo", "2")], true),
            ("foo", &[("foo", "1, 2")], &[("foo", "2, 1")], false),
            ("foo", &[("foo", "\"1, 2\"")], &[("foo", "\"1,2\"")], false),
            ("foo", &[("foo", "1 2")], &[("foo", "12")], false),
        ] {
            if presented.iter().all(|(_, value)| !value.contains('\n')) {
                check(vary, original, presented, &rules, expected);
            }
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
            let (request, response) = (testing::fields(&[("foo", foo)]), testing::fields(&lines));
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
        assert_eq!(key.to_string(), "accept-encoding: br,gzip,; x");
    }
}
