//! Which fields of a response are stored (RFC 9111 §3.1), and which of a stored one go into a 304 (RFC 9110 §15.4.5).

use common::http::field_lines::FieldLines;
use common::time::WallTime;
use http::{HeaderMap, HeaderName, header};

use super::list;

/// What a line has besides its name and its value.
const LINE_MORE: usize = ": \r\n".len();
/// The line `date: Sun, 06 Nov 1994 08:49:37 GMT`.
const DATE_ROOM: usize = "date".len() + 29 + LINE_MORE;

/// The fields of a response as they are stored: all but those that end at this hop, Age, and `omit`; unknown ones
/// unchanged, byte for byte. Date is put in where it is absent or nonsense (`date` is what counts as it).
pub fn to_store(response: &HeaderMap, omit: &[HeaderName], date: WallTime) -> FieldLines {
    let named = named_by_connection(response);
    let is_stored = |name: &HeaderName| !is_never_stored(name, &named) && !omit.contains(name);
    // "A recipient with a clock that receives a response message without a Date header field MUST record the time it
    // was received and append a corresponding Date header field to the message's header section if it is cached or
    // forwarded downstream." (RFC 9110 §6.6.1)
    let dated = response.get(header::DATE).filter(|_| is_stored(&header::DATE));
    let is_dated = dated.and_then(|value| super::date::parse(value.as_bytes(), date)) == Some(date);
    let room = response
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + LINE_MORE);
    let mut stored = FieldLines::with_capacity(room.sum::<usize>() + if is_dated { 0 } else { DATE_ROOM });
    for (name, value) in response {
        if is_stored(name) && (is_dated || *name != header::DATE) {
            stored.push(name, value);
        }
    }
    if !is_dated {
        stored.push_display(&header::DATE, date.http_date());
    }
    stored
}

/// Whether a field of a stored response goes into a 304 made from it.
fn goes_into_304(name: &[u8], has_etag: bool) -> bool {
    // "the sender SHOULD NOT generate representation metadata other than the above listed fields unless said metadata
    // exists for the purpose of guiding cache updates (e.g., Last-Modified might be useful if the response does not
    // have an ETag field)." (RFC 9110 §15.4.5) The listed ones are Content-Location, Date, ETag, Vary, Cache-Control
    // and Expires; what is no representation metadata goes along.
    match name {
        b"last-modified" => !has_etag,
        b"content-location" => true,
        b"content-length" | b"content-type" | b"content-encoding" | b"content-language" | b"content-range" => false,
        _ => true,
    }
}

/// The fields of a 304 made from a stored response's fields, without Age.
pub fn for_304(stored: &HeaderMap) -> HeaderMap {
    let has_etag = stored.contains_key(header::ETAG);
    let mut fields = HeaderMap::with_capacity(stored.keys_len());
    for (name, value) in stored {
        if goes_into_304(name.as_str().as_bytes(), has_etag) {
            fields.append(name.clone(), value.clone());
        }
    }
    fields
}

/// The same from its lines, as they are sent.
pub fn lines_for_304(stored: &FieldLines) -> FieldLines {
    let has_etag = stored.contain_any(&[header::ETAG]);
    stored.select(|name| goes_into_304(name, has_etag))
}

/// The fields of a 206 made from a stored response's fields, without Age, Content-Range and Content-Length, which the
/// caller knows; for several parts it also replaces Content-Type.
pub fn for_206(stored: &HeaderMap, request_has_if_range: bool) -> HeaderMap {
    // "If a 206 is generated in response to a request with an If-Range header field, the sender SHOULD NOT generate
    // other representation header fields beyond those required because the client already has a prior response
    // containing those header fields. Otherwise, a sender MUST generate all of the representation header fields that
    // would have been sent in a 200 (OK) response to the same request." (RFC 9110 §15.3.7)
    let mut fields = HeaderMap::with_capacity(stored.keys_len());
    for (name, value) in stored {
        let goes = match *name {
            header::CONTENT_LENGTH | header::CONTENT_RANGE => false,
            header::CONTENT_TYPE | header::CONTENT_ENCODING | header::CONTENT_LANGUAGE | header::LAST_MODIFIED => {
                !request_has_if_range
            }
            _ => true,
        };
        if goes {
            fields.append(name.clone(), value.clone());
        }
    }
    fields
}

/// "The Connection header field and fields whose names are listed in it are required by Section 7.6.1 of [HTTP] to be
/// removed before forwarding the message. This MAY be implemented by doing so before storage. Likewise, some fields'
/// semantics require them to be removed before forwarding the message, and this MAY be implemented by doing so before
/// storage […]. Header fields that are specific to the proxy that a cache uses when forwarding a request MUST NOT be
/// stored, unless the cache incorporates the identity of the proxy into the cache key. Effectively, this is limited to
/// Proxy-Authenticate (Section 11.7.1 of [HTTP]), Proxy-Authentication-Info (Section 11.7.3 of [HTTP]), and
/// Proxy-Authorization" (RFC 9111 §3.1)
///
/// `named` are those that [`named_by_connection`] found. Age is generated on each reuse; Trailer announces what is not
/// stored.
pub(super) fn is_never_stored(name: &HeaderName, named: &[HeaderName]) -> bool {
    let ends_here = matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "proxy-authenticate"
            | "proxy-authentication-info"
            | "proxy-authorization"
            | "http2-settings"
            | "age"
    );
    ends_here || named.contains(name)
}

/// The fields that Connection names.
pub(super) fn named_by_connection(response: &HeaderMap) -> Vec<HeaderName> {
    let mut names = Vec::new();
    let connection = response.get_all(header::CONNECTION);
    for member in connection.iter().flat_map(|line| list::members(line.as_bytes())) {
        // A framing field is no connection option (RFC 9110 §7.6.1: "fields that are intended for all recipients").
        if let Ok(name) = HeaderName::from_bytes(member)
            && name != header::CONTENT_LENGTH
        {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const DATE: WallTime = WallTime::from_unix_secs(784_111_777);
    const DATE_TEXT: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn stored(lines: &[(&'static str, &'static str)], omit: &[HeaderName]) -> Vec<(String, String)> {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(*name, HeaderValue::from_static(value));
        }
        let stored = to_store(&fields, omit, DATE).into_map();
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        stored
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), text(value)))
            .collect()
    }

    fn is_stored(name: &'static str) -> bool {
        stored(&[(name, "x")], &[])
            .iter()
            .any(|(stored, value)| stored == name && value == "x")
    }

    #[test]
    fn fields_of_this_hop_are_not_stored_and_all_others_are() {
        for name in [
            "connection",
            "keep-alive",
            "proxy-connection",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
            "proxy-authenticate",
            "proxy-authentication-info",
            "proxy-authorization",
            "http2-settings",
            "age",
        ] {
            assert!(!is_stored(name), "{name}");
        }
        for name in [
            "test-header",
            "x-test-header",
            "content-foo",
            "cache-control",
            "content-encoding",
            "content-length",
            "content-location",
            "content-md5",
            "content-range",
            "content-security-policy",
            "content-type",
            "clear-site-data",
            "etag",
            "expires",
            "public-key-pins",
            "set-cookie",
            "set-cookie2",
            "x-frame-options",
            "www-authenticate",
            "via",
            "cache-status",
            "cdn-cache-control",
            "surrogate-key",
        ] {
            assert!(is_stored(name), "{name}");
        }
    }

    #[test]
    fn fields_named_in_connection_are_not_stored() {
        let kept = stored(
            &[
                ("connection", "A, b"),
                ("connection", "close, content-length"),
                ("a", "1"),
                ("b", "2"),
                ("c", "3"),
                ("content-length", "5"),
                ("date", DATE_TEXT),
            ],
            &[],
        );
        let names: Vec<_> = kept.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["c", "content-length", "date"]);
    }

    #[test]
    fn omitted_fields_are_not_stored() {
        let kept = stored(&[("a", "1"), ("a", "2"), ("b", "3")], &[HeaderName::from_static("a")]);
        assert_eq!(kept[0], ("b".into(), "3".into()));
    }

    #[test]
    fn date_is_kept_or_made() {
        for lines in [
            &[("date", DATE_TEXT)][..],
            &[("date", "foo")],
            &[("date", "Sunday, 06-Nov-94 08:49:37 GMT")],
            &[],
        ] {
            let kept = stored(lines, &[]);
            assert_eq!(kept.len(), 1, "{lines:?}");
            let as_sent = lines.first().map(|(_, value)| *value).filter(|value| *value != "foo");
            assert_eq!(kept[0].1, as_sent.unwrap_or(DATE_TEXT));
        }
    }

    #[test]
    fn a_206_has_all_metadata_unless_the_client_has_it() {
        let mut fields = HeaderMap::new();
        for name in [
            "content-length",
            "content-range",
            "content-type",
            "last-modified",
            "etag",
            "vary",
            "x-own",
        ] {
            fields.insert(name, HeaderValue::from_static("x"));
        }
        let names = |fields: HeaderMap| {
            fields
                .keys()
                .map(|name| name.as_str().to_owned())
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(
            names(for_206(&fields, false)),
            "content-type last-modified etag vary x-own"
        );
        assert_eq!(names(for_206(&fields, true)), "etag vary x-own");
    }

    #[test]
    fn a_304_has_no_metadata_of_content_it_does_not_carry() {
        let mut fields = HeaderMap::new();
        for name in [
            "content-type",
            "content-length",
            "content-encoding",
            "content-language",
            "last-modified",
        ] {
            fields.insert(name, HeaderValue::from_static("x"));
        }
        for name in [
            "etag",
            "date",
            "vary",
            "cache-control",
            "expires",
            "content-location",
            "x-own",
        ] {
            fields.insert(name, HeaderValue::from_static("y"));
        }
        let with_etag = for_304(&fields);
        assert!(with_etag.values().all(|value| value == "y"));
        assert_eq!(with_etag.len(), 7);
        fields.remove("etag");
        assert!(for_304(&fields).contains_key("last-modified"));
        let lines = lines_for_304(&FieldLines::from_map(&fields));
        assert_eq!(lines.into_map(), for_304(&fields));
    }
}
