//! Asking the origin whether stored responses still hold, and reading its 304 (RFC 9111 §4.3.1, §4.3.3, §4.3.4).

use common::time::WallTime;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::content_range::{ByteRange, PartialInvalid, partial_content};
use super::meta::StoredMeta;
use super::range::RangeSet;
use super::request::make_unconditional;
use super::rules::RangeRules;
use super::validators::Validators;

/// Turns a request for the origin into one that validates: the client's conditions for caches go, ours come.
///
/// `selected` is the stored response that would answer if it were fresh; `others` are further ones for the same key
/// (variants), whose entity tags go along. At most `tags_max` tags are sent. Returns how many of `others` were named,
/// in their order; when nothing can be validated by, the request is a plain one afterwards and the result is `None`.
///
/// `range` is what the request is for, when that is not the whole; the caller puts the Range field in.
pub fn make_conditional<'m>(
    request: &mut HeaderMap,
    selected: Option<&'m StoredMeta>,
    others: impl IntoIterator<Item = &'m StoredMeta>,
    tags_max: usize,
    range: Option<ByteRange>,
) -> Option<usize> {
    make_unconditional(request);
    let answers = |meta: &StoredMeta| match (meta.part(), range) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(partial), Some(range)) => partial.satisfies(range),
    };
    let tag = |meta: &'m StoredMeta| meta.validators.etag.as_ref().filter(|_| answers(meta));
    let own = selected.and_then(tag);
    let mut tags: Vec<&[u8]> = own.iter().map(|tag| tag.value().as_bytes()).collect();
    let mut named = 0;
    for meta in others {
        if tags.len() >= tags_max {
            break;
        }
        // "If a stored response contains only partial content, the cache MUST NOT include its entity tag in the union
        // unless the request is for a range that would be fully satisfied by that partial stored response." (§4.3.2)
        let tag = tag(meta).map(|tag| tag.value().as_bytes());
        tags.extend(tag.filter(|tag| !tags.contains(tag)));
        named += 1;
    }
    // "When generating a conditional request for validation, a cache […] MUST send the relevant entity tags (using
    // If-Match, If-None-Match, or If-Range) if the entity tags were provided in the stored response(s) being validated.
    // SHOULD send the Last-Modified value (using If-Modified-Since) if the request is not for a subrange, a single
    // stored response is being validated, and that response contains a Last-Modified value." (§4.3.1)
    let value = HeaderValue::from_bytes(&tags.join(&b", "[..]))
        .ok()
        .filter(|list| !list.is_empty());
    let by_tag = value.is_some();
    if let Some(value) = value {
        request.insert(header::IF_NONE_MATCH, value);
    }
    let date = selected
        .filter(|meta| tags.len() <= 1 && answers(meta))
        .and_then(|meta| meta.validators.last_modified.as_ref());
    if let Some(date) = date.filter(|_| own.is_some() || !by_tag) {
        request.insert(header::IF_MODIFIED_SINCE, date.value.clone());
        return Some(named);
    }
    by_tag.then_some(named)
}

/// What the answer to a validating request means (§4.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 304: see [`select_for_304`].
    NotModified,
    /// "A full response (i.e., one containing content) indicates that none of the stored responses nominated in the
    /// conditional request are suitable. Instead, the cache MUST use the full response to satisfy the request. The
    /// cache MAY store such a full response, subject to its constraints".
    Full,
    /// "if a cache receives a 5xx (Server Error) response while attempting to validate a response, it can either
    /// forward this response to the requesting client or act as if the server failed to respond": see
    /// `reuse::reuse_on_failure`.
    ServerError,
    /// A 304 to a request that had no condition of ours: an error of the origin's, never given to a client.
    Unasked304,
}

/// Reads the status of the origin's answer; `conditional`: whether the request had conditions of ours.
pub fn read_answer(status: StatusCode, conditional: bool) -> Answer {
    match status {
        StatusCode::NOT_MODIFIED if conditional => Answer::NotModified,
        StatusCode::NOT_MODIFIED => Answer::Unasked304,
        _ if status.is_server_error() => Answer::ServerError,
        _ => Answer::Full,
    }
}

/// Whether a response has several parts in answer to one range; `range` is the Range field that was sent. Such a one is
/// never given to a client: "A client that cannot process a "multipart/byteranges" response MUST NOT generate a request
/// that asks for multiple ranges" (RFC 9110 §15.3.7.2), so one that asked for a single one may not.
///
/// A 206 and a 304 that nobody asked for do not come so far: `common::http1::client` refuses them.
pub fn is_unasked_multipart(
    status: StatusCode,
    fields: &HeaderMap,
    range: Option<&HeaderValue>,
    rules: &RangeRules,
) -> bool {
    // "A server MUST NOT generate a multipart response to a request for a single range" (§15.3.7.2)
    let is_single = |range| RangeSet::parse(range, rules).is_ok_and(|ranges| ranges.single().is_some());
    status == StatusCode::PARTIAL_CONTENT
        && partial_content(fields) == Err(PartialInvalid::Multipart)
        && range.is_some_and(is_single)
}

/// Which stored responses a 304 is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selected304 {
    /// These, by their places: all of them are freshened, and the first answers the request.
    These(Vec<usize>),
    /// None of those that were named: nothing may be updated, and the request is sent again without conditions.
    NoneOfThem,
}

/// Finds the stored responses that a 304 with `fields` is about, among those named in the request (`candidates`; the
/// selected one first).
pub fn select_for_304<'m>(
    fields: &HeaderMap,
    candidates: impl IntoIterator<Item = &'m StoredMeta>,
    now: WallTime,
) -> Selected304 {
    let date = fields
        .get(header::DATE)
        .and_then(|value| super::date::parse(value.as_bytes(), now));
    let sent = Validators::of(fields, date.unwrap_or(now), now);
    let candidates: Vec<_> = candidates.into_iter().enumerate().collect();
    // "If the new response contains one or more strong validators […], then each of those strong validators identifies
    // a selected representation for update. All the stored responses in the initial set with one of those same strong
    // validators are identified for update. If none of the initial set contains at least one of the same strong
    // validators, then the cache MUST NOT use the new response to update any stored responses." (§4.3.4)
    let matching: Vec<usize> = if sent.is_strong() {
        let same = |meta: &StoredMeta| same_for_304(&sent, &meta.validators);
        candidates
            .iter()
            .filter(|(_, meta)| same(meta))
            .map(|(index, _)| *index)
            .collect()
    } else if !sent.is_empty() {
        // "If the new response contains no strong validators but does contain one or more weak validators, and those
        // validators correspond to one of the initial set's stored responses, then the most recent of those matching
        // stored responses is identified for update." (§4.3.4)
        let same = candidates.iter().filter(|(_, meta)| sent.same_weak(&meta.validators));
        same.max_by_key(|(_, meta)| meta.date)
            .map(|(index, _)| *index)
            .into_iter()
            .collect()
    } else {
        // "If the new response does not include any form of validator […], and there is only one stored response in the
        // initial set, and that stored response also lacks a validator, then that stored response is identified for
        // update." (§4.3.4) We go further: when only one was asked about, the answer is about that one. RFC 9110
        // §15.4.5 itself advises against Last-Modified in a 304.
        candidates
            .iter()
            .filter(|_| candidates.len() == 1)
            .map(|(index, _)| *index)
            .collect()
    };
    if matching.is_empty() {
        Selected304::NoneOfThem
    } else {
        Selected304::These(matching)
    }
}

/// Whether a 304 with a strong validator names a stored response. Date and Last-Modified of a 304 may be closer
/// together than those of the stored response were, so its date alone need not be strong on both sides.
fn same_for_304(sent: &Validators, stored: &Validators) -> bool {
    match (&sent.etag, &stored.etag) {
        (Some(theirs), Some(ours)) => theirs.tag().strongly_equals(ours.tag()),
        (Some(_), None) => false,
        (None, _) => sent.same_weak(stored),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{self, NOW, fields};
    use http::HeaderName;

    fn stored(lines: &[(&'static str, &str)]) -> StoredMeta {
        testing::stored(200, &[&[("cache-control", "max-age=1")], lines].concat())
    }

    fn condition(request: &HeaderMap, name: &HeaderName) -> Option<String> {
        request.get(name).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn stored_validators_take_the_place_of_the_clients_conditions() {
        let client = [
            ("if-none-match", "\"mine\""),
            ("if-match", "*"),
            ("range", "bytes=0-1"),
            ("if-range", "\"x\""),
            ("abc", "1"),
        ];
        let lm = testing::date(-3000);
        for (lines, none_match, modified_since) in [
            (&[("etag", "\"a\"")][..], Some("\"a\""), None),
            (&[("etag", "W/\"a\"")], Some("W/\"a\""), None),
            (&[("etag", "abc")], Some("abc"), None),
            (&[("last-modified", "@-3000")], None, Some(lm.as_str())),
            (
                &[("etag", "\"a\""), ("last-modified", "@-3000")],
                Some("\"a\""),
                Some(lm.as_str()),
            ),
            (&[("last-modified", "nonsense")], None, None),
        ] {
            let meta = stored(lines);
            let mut request = fields(&client);
            let named = make_conditional(&mut request, Some(&meta), [], 10, None);
            assert_eq!(named.is_some(), none_match.or(modified_since).is_some(), "{lines:?}");
            assert_eq!(condition(&request, &header::IF_NONE_MATCH).as_deref(), none_match);
            assert_eq!(
                condition(&request, &header::IF_MODIFIED_SINCE).as_deref(),
                modified_since
            );
            assert_eq!(
                (&request["abc"], &request["if-match"]),
                (&"1".parse().unwrap(), &"*".parse().unwrap())
            );
            for gone in ["range", "if-range"] {
                assert!(!request.contains_key(gone), "{gone}");
            }
        }
    }

    #[test]
    fn the_tags_of_all_variants_are_sent_at_once_and_no_date_then() {
        let (a, b, c) = (
            stored(&[("etag", "\"a\""), ("last-modified", "@-3000")]),
            stored(&[("etag", "W/\"b\"")]),
            stored(&[("etag", "\"c\"")]),
        );
        let without = stored(&[("last-modified", "@-3000")]);
        let part = testing::stored(
            206,
            &[
                ("content-range", "bytes 0-1/2"),
                ("etag", "\"p\""),
                ("cache-control", "max-age=1"),
            ],
        );
        for (selected, others, most, list, named) in [
            (Some(&a), &[&b, &c][..], 10, "\"a\", W/\"b\", \"c\"", 2),
            (Some(&a), &[&b, &c], 2, "\"a\", W/\"b\"", 1),
            (Some(&a), &[&b, &a, &b], 10, "\"a\", W/\"b\"", 3),
            (None, &[&b, &c], 10, "W/\"b\", \"c\"", 2),
            (Some(&a), &[&part, &c], 10, "\"a\", \"c\"", 2),
            (Some(&without), &[&c], 10, "\"c\"", 1),
        ] {
            let mut request = HeaderMap::new();
            let found = make_conditional(&mut request, selected, others.iter().copied(), most, None);
            assert_eq!(found, Some(named), "{list}");
            assert_eq!(request["if-none-match"], list);
            assert!(!request.contains_key("if-modified-since"));
        }
        for (range, expected) in [
            (None, None),
            (Some((0, 1)), Some(0)),
            (Some((0, 9)), Some(0)),
            (Some((1, 1)), Some(0)),
            (Some((2, 3)), None),
        ] {
            let range = range.map(|(first, last)| ByteRange { first, last });
            let found = make_conditional(&mut HeaderMap::new(), Some(&part), [], 10, range);
            assert_eq!(found, expected, "{range:?}");
        }
    }

    #[test]
    fn answers_are_read_by_status() {
        for (status, conditional, expected) in [
            (304, true, Answer::NotModified),
            (304, false, Answer::Unasked304),
            (200, true, Answer::Full),
            (404, true, Answer::Full),
            (500, true, Answer::ServerError),
            (599, true, Answer::ServerError),
        ] {
            assert_eq!(
                read_answer(StatusCode::from_u16(status).unwrap(), conditional),
                expected,
                "{status}"
            );
        }
    }

    #[test]
    fn several_parts_in_answer_to_one_range_are_noticed() {
        let rules = crate::policy::rules::Rules::default().ranges;
        let multipart = [("content-type", "Multipart/Byteranges; boundary=x")];
        let part = [("content-range", "bytes 0-1/9")];
        for (status, range, lines, expected) in [
            (206, Some("bytes=0-1"), &multipart, true),
            (206, Some("bytes=0-1"), &part, false),
            (206, Some("bytes=0-1, 5-6"), &multipart, false),
            (206, Some("lines=0-1"), &multipart, false),
            (200, Some("bytes=0-1"), &multipart, false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let range = range.map(HeaderValue::from_static);
            let found = is_unasked_multipart(status, &fields(lines), range.as_ref(), &rules);
            assert_eq!(found, expected, "{status} {range:?} {lines:?}");
        }
    }

    #[test]
    fn a_304_is_about_the_stored_response_with_its_validator() {
        let (a, weak, b) = (
            stored(&[("etag", "\"a\"")]),
            stored(&[("etag", "W/\"a\"")]),
            stored(&[("etag", "\"b\"")]),
        );
        let lm = stored(&[("last-modified", "@-3000")]);
        let nothing = testing::stored(200, &[("cache-control", "max-age=1")]);
        let none: &[usize] = &[];
        for (sent, candidates, expected) in [
            (&[("etag", "\"a\"")][..], &[&a, &b][..], &[0][..]),
            (&[("etag", "\"b\"")], &[&a, &b], &[1]),
            (&[("etag", "\"a\"")], &[&a, &a, &b], &[0, 1]),
            (&[("etag", "\"c\"")], &[&a, &b], none),
            (&[("etag", "\"c\"")], &[&a], none),
            (&[("etag", "\"a\"")], &[&weak], none),
            (&[("etag", "W/\"a\"")], &[&weak, &b], &[0]),
            (&[("etag", "W/\"a\"")], &[&a], &[0]),
            (&[("etag", "W/\"c\"")], &[&a], none),
            (&[("last-modified", "@-3000"), ("date", "@0")], &[&lm], &[0]),
            (&[("last-modified", "@-3000"), ("date", "@-2999")], &[&lm], &[0]),
            (&[("last-modified", "@-2000"), ("date", "@0")], &[&lm], none),
            (&[], &[&lm], &[0]),
            (&[], &[&a], &[0]),
            (&[], &[&nothing], &[0]),
            (&[], &[&a, &b], none),
        ] {
            let found = select_for_304(&fields(sent), candidates.iter().copied(), NOW);
            let expected = if expected.is_empty() {
                Selected304::NoneOfThem
            } else {
                Selected304::These(expected.to_vec())
            };
            assert_eq!(found, expected, "{sent:?} {candidates:?}");
        }
    }
}
