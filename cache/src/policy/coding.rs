//! Which content coding a client gets (RFC 9110 §12.5.3), and which responses are given one.

use config::traffic::{Coding, Compression};
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::{list, weights};

/// What a request without an acceptable coding gets, as Accept-Encoding says it.
const IDENTITY: HeaderValue = HeaderValue::from_static("identity");

/// Makes a request say in one word which coding it gets: what the origin is asked for, and what variants are told apart
/// by. Gives that coding; `None` is the content as it is.
///
/// A range is one of the content as it is: what was compressed twice need not be the same bytes twice. Only a client that
/// may hold a part of compressed content and guards its request with a date is answered with the whole.
pub fn settle(fields: &mut HeaderMap, offered: &[Coding]) -> Option<Coding> {
    let mut coding = negotiate(fields, offered);
    if coding.is_some() && fields.contains_key(header::RANGE) {
        let by_date = fields
            .get(header::IF_RANGE)
            .is_some_and(|value| !value.as_bytes().ends_with(b"\""));
        if by_date {
            // "A server MAY ignore the Range header field." (RFC 9110 §14.2)
            fields.remove(header::RANGE);
            fields.remove(header::IF_RANGE);
        } else {
            coding = None;
        }
    }
    let word = coding.map_or(IDENTITY, |coding| HeaderValue::from_static(coding.name()));
    fields.insert(header::ACCEPT_ENCODING, word);
    coding
}

/// The coding that a settled request gets.
pub fn settled(fields: &HeaderMap, offered: &[Coding]) -> Option<Coding> {
    let word = fields.get(header::ACCEPT_ENCODING)?;
    offered.iter().copied().find(|coding| word == coding.name())
}

/// The offered coding that the client likes best; `None` where it likes none, or content as it is better.
fn negotiate(fields: &HeaderMap, offered: &[Coding]) -> Option<Coding> {
    // "If no Accept-Encoding header field is in the request, any content coding is considered acceptable by the user
    // agent." (RFC 9110 §12.5.3) Those that do not say so do not decode either.
    let mut weights: [Option<u16>; 3] = [None; 3];
    let (mut identity, mut others) = (None, None);
    let lines = fields.get_all(header::ACCEPT_ENCODING);
    for member in lines.iter().flat_map(|line| list::members(line.as_bytes())) {
        let Some(member) = weights::read(member) else { continue };
        let is = |name: &str| member.name.eq_ignore_ascii_case(name.as_bytes());
        for (coding, weight) in offered.iter().zip(&mut weights) {
            // "A recipient SHOULD consider "x-gzip" to be equivalent to "gzip"." (RFC 9110 §8.4.1.3)
            if is(coding.name()) || *coding == Coding::Gzip && is("x-gzip") {
                *weight = Some(member.weight);
            }
        }
        if is("identity") {
            identity = Some(member.weight);
        } else if is("*") {
            // "The asterisk "*" symbol in an Accept-Encoding field matches any available content coding not explicitly
            // listed in the field." (RFC 9110 §12.5.3)
            others = Some(member.weight);
        }
    }
    let weighed = offered.iter().zip(weights);
    let weighed = weighed.map(|(coding, weight)| (*coding, weight.or(others).unwrap_or(0)));
    // The first of several with the same weight: the order of `offered` is the operator's.
    let best = weighed.rev().max_by_key(|(_, weight)| *weight)?;
    (best.1 > 0 && best.1 >= identity.unwrap_or(0)).then_some(best.0)
}

/// Whether a response is one that each client gets in the coding it likes; `length` is that of its content, where known.
pub fn is_compressible(status: StatusCode, fields: &HeaderMap, length: Option<u64>, rules: &Compression) -> bool {
    let has_content = !status.is_informational() && !matches!(status.as_u16(), 204 | 205 | 206 | 304);
    // "A proxy MUST NOT transform the content (Section 6.4) of a response message that contains a no-transform cache
    // directive (Section 5.2.2.6 of [CACHING])." (RFC 9110 §7.7)
    let is_fixed = || {
        let control = fields.get_all(header::CACHE_CONTROL);
        let mut members = control.iter().flat_map(|line| list::members(line.as_bytes()));
        members.any(|member| member.eq_ignore_ascii_case(b"no-transform"))
    };
    has_content
        && length.is_none_or(|length| length >= rules.length_min)
        && !fields.contains_key(header::CONTENT_ENCODING)
        && !fields.contains_key(header::CONTENT_RANGE)
        && is_type(fields, &rules.types)
        && !is_fixed()
}

fn is_type(fields: &HeaderMap, types: &[String]) -> bool {
    let Some(value) = fields.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes) else {
        return false;
    };
    let essence = value
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii();
    types.iter().any(|known| match known.strip_suffix('*') {
        Some(beginning) => essence
            .get(..beginning.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(beginning.as_bytes())),
        None => essence.eq_ignore_ascii_case(known.as_bytes()),
    })
}

/// Says that the response depends on Accept-Encoding.
pub fn vary(fields: &mut HeaderMap) {
    let lines = fields.get_all(header::VARY);
    let says = |member: &[u8]| member == b"*" || member.eq_ignore_ascii_case(b"accept-encoding");
    if !lines.iter().flat_map(|line| list::members(line.as_bytes())).any(says) {
        fields.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

/// Describes content that is given a coding.
pub fn describe(fields: &mut HeaderMap, coding: Coding) {
    fields.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    for name in OF_THE_BYTES {
        fields.remove(name);
    }
    weaken(fields);
}

/// Fields that say something about the bytes as they were.
const OF_THE_BYTES: [&str; 6] = [
    "content-length",
    "accept-ranges",
    "content-md5",
    "digest",
    "content-digest",
    "repr-digest",
];

/// A strong entity tag becomes a weak one: the content means the same and is not the same bytes. "a strong validator is
/// unique across all versions of all representations", "Likewise, a validator is weak if it is shared by two or more
/// representations of a given resource at the same time" (RFC 9110 §8.8.1).
fn weaken(fields: &mut HeaderMap) {
    let Some(tag) = fields.get(header::ETAG).filter(|tag| tag.as_bytes().starts_with(b"\"")) else {
        return;
    };
    match HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()) {
        Ok(weak) => drop(fields.insert(header::ETAG, weak)),
        Err(_) => drop(fields.remove(header::ETAG)),
    }
}

/// Makes a 304 about the origin's content one about what is `stored`, which was compressed here or stands beside what was.
pub fn restate(not_modified: &mut HeaderMap, stored: &HeaderMap) {
    let tags = (stored.get(header::ETAG), not_modified.get(header::ETAG));
    if let (Some(ours), Some(theirs)) = tags
        && stored.contains_key(header::CONTENT_ENCODING)
        && ours.as_bytes().strip_prefix(b"W/") == Some(theirs.as_bytes())
    {
        for name in OF_THE_BYTES {
            not_modified.remove(HeaderName::from_static(name));
        }
        not_modified.remove(header::CONTENT_ENCODING);
        weaken(not_modified);
    }
    let varies = |member: &[u8]| member.eq_ignore_ascii_case(b"accept-encoding");
    let lines = stored.get_all(header::VARY);
    if not_modified.contains_key(header::VARY)
        && lines.iter().flat_map(|line| list::members(line.as_bytes())).any(varies)
    {
        vary(not_modified);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];

    fn rules() -> Compression {
        Compression {
            codings: ALL.to_vec(),
            types: vec!["text/*".to_owned(), "application/json".to_owned()],
            length_min: 10,
            gzip_level: 6,
            brotli_level: 5,
            zstd_level: 3,
            streams_max: 1,
        }
    }

    fn fields(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(*name, HeaderValue::from_static(value));
        }
        fields
    }

    #[test]
    fn the_client_gets_the_coding_that_it_likes_best() {
        for (accepted, expected) in [
            (None, "identity"),
            (Some(""), "identity"),
            (Some("gzip"), "gzip"),
            (Some("x-gzip"), "gzip"),
            (Some("GZIP, deflate, Br"), "br"),
            (Some("gzip, deflate, br, zstd"), "zstd"),
            (Some("gzip;q=1, br;q=0.9, zstd;q=0.8"), "gzip"),
            (Some("gzip;q=0.5, identity"), "identity"),
            (Some("gzip;q=0.5, identity;q=0.5"), "gzip"),
            (Some("gzip;q=0, *"), "zstd"),
            (Some("*"), "zstd"),
            (Some("*;q=0"), "identity"),
            (Some("gzip;q=0"), "identity"),
            (Some("identity;q=0"), "identity"),
            (Some("br;q=0.001"), "br"),
            (Some("br;level=5, gzip"), "gzip"),
            (Some("deflate, compress"), "identity"),
        ] {
            let mut request = HeaderMap::new();
            if let Some(accepted) = accepted {
                request.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(accepted));
            }
            let coding = settle(&mut request, &ALL);
            assert_eq!(request[header::ACCEPT_ENCODING], expected, "{accepted:?}");
            assert_eq!(coding, settled(&request, &ALL), "{accepted:?}");
        }
        let mut request = fields(&[("accept-encoding", "zstd, gzip")]);
        assert_eq!(settle(&mut request, &[Coding::Gzip]), Some(Coding::Gzip));
    }

    #[test]
    fn ranges_are_of_the_content_as_it_is() {
        for (lines, expected, has_range) in [
            (&[("range", "bytes=0-1")][..], "identity", true),
            (&[("range", "bytes=0-1"), ("if-range", "\"a\"")], "identity", true),
            (
                &[("range", "bytes=0-1"), ("if-range", "Sun, 06 Nov 1994 08:49:37 GMT")],
                "br",
                false,
            ),
        ] {
            let mut request = fields(lines);
            request.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("br"));
            settle(&mut request, &ALL);
            assert_eq!(request[header::ACCEPT_ENCODING], expected, "{lines:?}");
            assert_eq!(request.contains_key(header::RANGE), has_range, "{lines:?}");
        }
    }

    #[test]
    fn only_what_gains_by_it_and_may_be_changed_is_compressed() {
        for (status, lines, length, expected) in [
            (200, &[("content-type", "text/html; charset=utf-8")][..], Some(10), true),
            (404, &[("content-type", "Text/Plain")], None, true),
            (200, &[("content-type", "application/json")], Some(10), true),
            (200, &[("content-type", "application/json+x")], Some(10), false),
            (200, &[("content-type", "text/html")], Some(9), false),
            (200, &[("content-type", "image/png")], Some(10), false),
            (200, &[], Some(10), false),
            (206, &[("content-type", "text/html")], Some(10), false),
            (304, &[("content-type", "text/html")], Some(10), false),
            (
                200,
                &[("content-type", "text/html"), ("content-encoding", "br")],
                Some(10),
                false,
            ),
            (
                200,
                &[("content-type", "text/html"), ("content-range", "bytes 0-9/20")],
                Some(10),
                false,
            ),
            (
                200,
                &[("content-type", "text/html"), ("cache-control", "public, No-Transform")],
                Some(10),
                false,
            ),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(
                is_compressible(status, &fields(lines), length, &rules()),
                expected,
                "{lines:?}"
            );
        }
    }

    #[test]
    fn a_compressed_response_says_so_and_takes_back_what_is_no_longer_true() {
        let mut response = fields(&[
            ("etag", "\"a\""),
            ("vary", "Cookie"),
            ("accept-ranges", "bytes"),
            ("content-length", "100"),
            ("x-own", "1"),
        ]);
        vary(&mut response);
        vary(&mut response);
        describe(&mut response, Coding::Brotli);
        let expected = fields(&[
            ("etag", "W/\"a\""),
            ("vary", "Cookie"),
            ("vary", "Accept-Encoding"),
            ("content-encoding", "br"),
            ("x-own", "1"),
        ]);
        assert_eq!(response, expected);
        describe(&mut response, Coding::Brotli);
        assert_eq!(response[header::ETAG], "W/\"a\"");
        let mut any = fields(&[("vary", "*")]);
        vary(&mut any);
        assert_eq!(any, fields(&[("vary", "*")]));
    }

    #[test]
    fn a_304_is_about_what_is_stored() {
        let stored = fields(&[
            ("etag", "W/\"a\""),
            ("content-encoding", "br"),
            ("vary", "accept-encoding"),
        ]);
        let mut same = fields(&[("etag", "\"a\""), ("content-length", "9"), ("vary", "cookie")]);
        restate(&mut same, &stored);
        let expected = fields(&[("etag", "W/\"a\""), ("vary", "cookie"), ("vary", "Accept-Encoding")]);
        assert_eq!(same, expected);
        let mut other = fields(&[("etag", "\"b\"")]);
        restate(&mut other, &stored);
        assert_eq!(other, fields(&[("etag", "\"b\"")]));
    }
}
