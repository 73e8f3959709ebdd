//! What of a request the policy looks at, found in one pass over its fields.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use super::directives::{RequestDirectives, pragma_no_cache};

/// A request as the policy sees it. Borrowed from its header section; a plain one costs no parsing at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestDigest<'a> {
    /// Whether the method is HEAD; otherwise it is GET.
    pub head: bool,
    /// Cache-Control, or Pragma without it.
    pub directives: RequestDirectives,
    /// Whether there is an Authorization field.
    pub authorization: bool,
    /// The Range field of a GET, if there is exactly one.
    pub range: Option<&'a HeaderValue>,
    /// Whether there is any precondition: If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since.
    pub conditional: bool,
}

impl<'a> RequestDigest<'a> {
    /// A request with none of the fields that are looked at.
    pub fn plain(method: &Method) -> Self {
        Self {
            head: method == Method::HEAD,
            ..Self::default()
        }
    }

    /// Looks at every field once.
    pub fn of(method: &Method, fields: &'a HeaderMap) -> Self {
        let mut digest = Self::plain(method);
        let (mut cache_control, mut pragma, mut ranges) = (false, false, 0_usize);
        for (name, value) in fields {
            match name.as_str() {
                "cache-control" => {
                    cache_control = true;
                    digest.directives.add_line(value);
                }
                "pragma" => pragma |= pragma_no_cache(value),
                "authorization" => digest.authorization = true,
                "if-none-match" | "if-modified-since" | "if-match" | "if-unmodified-since" => digest.conditional = true,
                "range" => {
                    ranges += 1;
                    digest.range = Some(value);
                }
                _ => {}
            }
        }
        // "A server MUST ignore a Range header field received with a request method that is unrecognized or for which
        // range handling is not defined. For this specification, GET is the only method for which range handling is
        // defined." (RFC 9110 §14.2) Two Range lines are no valid field.
        if digest.head || ranges > 1 {
            digest.range = None;
        }
        // RFC 9111 §5.4 deprecates Pragma; the old meaning (RFC 7234 §5.4) is kept for HTTP/1.0 clients.
        digest.directives.no_cache |= pragma && !cache_control;
        digest
    }
}

/// Removes what would make the origin's response to a client's request less than the whole representation:
/// If-None-Match and If-Modified-Since are evaluated against the response that comes (`conditional.rs`), Range and
/// If-Range cut it (`range.rs`). If-Match and If-Unmodified-Since stay: they are the origin's to evaluate (RFC 9111
/// §4.3.2).
pub fn make_unconditional(fields: &mut HeaderMap) {
    const NAMES: [HeaderName; 4] = [
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_RANGE,
        header::RANGE,
    ];
    // Most requests have none of them: one walk over what they have costs less than four look-ups.
    if fields.keys().any(|name| NAMES.contains(name)) {
        for name in NAMES {
            fields.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn a_plain_request_has_nothing_to_obey() {
        let fields = fields(&[("host", "a"), ("accept", "*/*"), ("cookie", "a=b"), ("pragma", "x")]);
        let digest = RequestDigest::of(&Method::GET, &fields);
        assert_eq!(digest.directives, RequestDirectives::default());
        assert!(!digest.head && !digest.authorization && !digest.conditional && digest.range.is_none());
    }

    #[test]
    fn pragma_counts_only_without_cache_control() {
        for (lines, expected) in [
            (&[("pragma", "no-cache")][..], true),
            (&[("pragma", "no-cache"), ("cache-control", "max-age=1")], false),
            (&[("cache-control", ""), ("pragma", "no-cache")], false),
            (&[("cache-control", "max-age=1"), ("cache-control", "no-cache")], true),
        ] {
            let fields = fields(lines);
            assert_eq!(
                RequestDigest::of(&Method::GET, &fields).directives.no_cache,
                expected,
                "{lines:?}"
            );
        }
    }

    #[test]
    fn range_counts_on_get_only_and_once_only() {
        let one = fields(&[("range", "bytes=0-1")]);
        assert_eq!(RequestDigest::of(&Method::GET, &one).range.unwrap(), "bytes=0-1");
        assert!(RequestDigest::of(&Method::HEAD, &one).range.is_none());
        let two = fields(&[("range", "bytes=0-1"), ("range", "bytes=2-3")]);
        assert!(RequestDigest::of(&Method::GET, &two).range.is_none());
    }

    #[test]
    fn every_precondition_is_seen_and_only_those_of_caches_are_removed() {
        for (name, left) in [
            ("if-none-match", 1),
            ("if-modified-since", 1),
            ("if-match", 2),
            ("if-unmodified-since", 2),
        ] {
            let mut fields = fields(&[(name, "x"), ("authorization", "y"), ("if-range", "z"), ("range", "r")]);
            let digest = RequestDigest::of(&Method::GET, &fields);
            assert!(digest.conditional && digest.authorization, "{name}");
            make_unconditional(&mut fields);
            assert_eq!(fields.len(), left, "{name}");
        }
    }
}
