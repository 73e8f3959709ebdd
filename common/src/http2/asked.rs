//! A request's head as HTTP/2 frames it (RFC 9113 §8.2, §8.3.1). Pure.

use http::header::{CONTENT_LENGTH, HOST, HeaderValue, TE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, Method, Request, Uri, Version};

use crate::http::head::Head;
use crate::http::known::Known;
use crate::http::outgoing::OutgoingHead;

/// What the head does not say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    /// TLS is spoken to the server.
    pub(super) is_tls: bool,
    /// The length of the content, where it is known.
    pub(super) length: Option<u64>,
}

/// The head of a stream; `None` when its Host is no authority.
pub(super) fn request(head: &OutgoingHead, target: Target) -> Option<Request<()>> {
    let mut request = Request::new(());
    let parts = &head.parts;
    *request.method_mut() = parts.method.clone();
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = uri(parts, target.is_tls)?;
    *request.headers_mut() = fields(head);
    // "A user agent SHOULD send Content-Length in a request when the method defines a meaning for enclosed content"
    // (RFC 9110 §8.6)
    let is_meant = [Method::POST, Method::PUT, Method::PATCH].contains(&parts.method);
    if let Some(length) = target.length.filter(|length| *length > 0 || is_meant) {
        request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Some(request)
}

fn uri(head: &Head, is_tls: bool) -> Option<Uri> {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(if is_tls { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = Some(Authority::try_from(head.headers.get(HOST)?.as_bytes()).ok()?);
    let path = head.uri.path_and_query().filter(|path| !path.as_str().is_empty());
    parts.path_and_query = Some(path.cloned().unwrap_or_else(|| PathAndQuery::from_static("/")));
    Uri::from_parts(parts).ok()
}

/// "An endpoint MUST NOT generate an HTTP/2 message containing connection-specific header fields. […] The only exception to
/// this is the TE header field, which MAY be present in an HTTP/2 request; when it is, it MUST NOT contain any value other
/// than "trailers"." (RFC 9113 §8.2.2) What `:authority` says, Host need not repeat (§8.3.1).
fn fields(head: &OutgoingHead) -> HeaderMap {
    let mut fields: HeaderMap = (*head.parts.headers).clone();
    head.own_fields().into_owned().append_to(&mut fields);
    let is_refused = |name: &&HeaderName| Known::of(name.as_str().as_bytes()).is_connection_specific();
    let refused: Vec<_> = fields.keys().filter(is_refused).cloned().collect();
    for name in &refused {
        fields.remove(name);
    }
    fields.remove(HOST);
    if fields.get(TE).is_some_and(|te| te != "trailers") {
        fields.remove(TE);
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: Method, target: &'static str, fields: &[(&'static str, &'static str)]) -> OutgoingHead {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        Head::from(request.body(()).unwrap().into_parts().0).into()
    }

    #[test]
    fn a_head_becomes_pseudo_fields_and_loses_what_belongs_to_connections() {
        let given = head(
            Method::GET,
            "/a?b=c",
            &[
                ("host", "app.example:8080"),
                ("connection", "te"),
                ("te", "trailers"),
                ("upgrade", "websocket"),
                ("keep-alive", "5"),
                ("proxy-connection", "close"),
                ("transfer-encoding", "chunked"),
                ("accept", "*/*"),
            ],
        );
        let target = Target {
            is_tls: true,
            length: Some(0),
        };
        let request = request(&given, target).unwrap();
        assert_eq!(request.uri().to_string(), "https://app.example:8080/a?b=c");
        let mut names: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "te"]);
    }

    #[test]
    fn content_has_its_length_where_that_is_known() {
        for (method, length, expected) in [
            (Method::POST, Some(3), Some("3")),
            (Method::POST, Some(0), Some("0")),
            (Method::GET, Some(0), None),
            (Method::POST, None, None),
        ] {
            let given = head(method, "/", &[("host", "a")]);
            let request = request(&given, Target { is_tls: false, length }).unwrap();
            let found = request
                .headers()
                .get(CONTENT_LENGTH)
                .map(|value| value.to_str().unwrap());
            assert_eq!((found, request.uri().scheme_str()), (expected, Some("http")));
        }
    }

    #[test]
    fn without_an_authority_there_is_no_request() {
        let target = Target {
            is_tls: false,
            length: None,
        };
        assert!(request(&head(Method::GET, "/", &[]), target).is_none());
        assert!(request(&head(Method::GET, "/", &[("host", "a b")]), target).is_none());
    }
}
