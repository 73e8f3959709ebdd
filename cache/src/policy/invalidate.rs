//! Which stored responses an unsafe request makes doubtful (RFC 9111 §4.4).

use http::{HeaderMap, Method, StatusCode, header};

use super::target::TargetUri;

/// Paths and queries, on the origin of the target URI, whose stored responses are to be invalidated: the target's own
/// first, then what Location and Content-Location name. Empty when nothing is.
pub fn invalidates(method: &Method, target: &TargetUri<'_>, status: StatusCode, fields: &HeaderMap) -> Vec<String> {
    // "A cache MUST invalidate the target URI (Section 7.1 of [HTTP]) when it receives a non-error status code in
    // response to an unsafe request method (including methods whose safety is unknown). […] A "non-error response" is
    // one with a 2xx (Successful) or 3xx (Redirection) status code." (§4.4)
    if is_safe(method) || !(status.is_success() || status.is_redirection()) {
        return Vec::new();
    }
    let mut paths: Vec<String> = target.resolve_same_origin("").into_iter().collect();
    for name in [header::LOCATION, header::CONTENT_LOCATION] {
        let references = fields.get_all(name).iter().filter_map(|value| value.to_str().ok());
        // "a cache MUST NOT trigger an invalidation under these conditions if the origin (Section 4.3.1 of [HTTP]) of
        // the URI to be invalidated differs from that of the target URI." (§4.4)
        for path in references.filter_map(|reference| target.resolve_same_origin(reference)) {
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
    }
    paths
}

/// "Of the request methods defined by this specification, the GET, HEAD, OPTIONS, and TRACE methods are defined to be
/// safe." (RFC 9110 §9.2.1) Safe ones of other specifications are unknown to us, and that is the careful side.
pub fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn check(method: &str, status: u16, lines: &[(&'static str, &'static str)], expected: &[&str]) {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(*name, HeaderValue::from_static(value));
        }
        let target = TargetUri::parse("https://example.com/a/b?c").unwrap();
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let found = invalidates(&method, &target, StatusCode::from_u16(status).unwrap(), &fields);
        assert_eq!(found, expected, "{method} {status} {lines:?}");
    }

    #[test]
    fn unsafe_and_unknown_methods_invalidate_their_target_when_they_succeed() {
        for method in ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "PROPFIND"] {
            for status in [200, 201, 204, 299, 301, 303, 399] {
                check(method, status, &[], &["/a/b?c"]);
            }
            for status in [400, 404, 500, 503] {
                check(method, status, &[("location", "/d")], &[]);
            }
        }
        for method in ["GET", "HEAD", "OPTIONS", "TRACE"] {
            check(method, 200, &[("location", "/d")], &[]);
        }
    }

    #[test]
    fn location_and_content_location_invalidate_within_the_origin_only() {
        for (lines, others) in [
            (&[("location", "/d")][..], &["/d"][..]),
            (&[("location", "d")], &["/a/d"]),
            (&[("content-location", "https://EXAMPLE.com:443/d?e#f")], &["/d?e"]),
            (&[("location", "/d"), ("content-location", "/e")], &["/d", "/e"]),
            (&[("location", "/d"), ("content-location", "/d")], &["/d"]),
            (&[("location", "https://example.com/a/b?c")], &[]),
            (&[("location", "https://example.org/d")], &[]),
            (&[("location", "http://example.com/d")], &[]),
            (&[("location", "https://example.com:8443/d")], &[]),
            (&[("location", "//example.org/d")], &[]),
            (&[("location", "javascript:alert(1)")], &[]),
        ] {
            let expected = [&["/a/b?c"], others].concat();
            check("POST", 201, lines, &expected);
        }
    }
}
