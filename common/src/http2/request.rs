//! A stream's head → the same request that HTTP/1 makes (RFC 9113 §8.2, §8.3). Pure.
//!
//! h2 has refused malformed pseudo-header fields, upper case names and connection-specific fields before, with a stream
//! error; `http::host` judges `:authority` and Host later, as for HTTP/1.

use http::header::{COOKIE, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Version};

use super::connect;
use crate::http::host;
use crate::http1::framing::{self, Framing};
use crate::http1::parse::ParseError;
use crate::serve::settings::ServeSettings;

/// What a head says about the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Said {
    /// The length that the client announced.
    pub(super) length: Option<u64>,
    /// It waits for leave to send its body.
    pub(super) expects_continue: bool,
    /// It is an extended CONNECT: what follows is no body.
    pub(super) connects: bool,
}

/// Checks a head against our limits and makes it that of a request.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(head: &mut Parts, settings: &ServeSettings) -> Result<Said, ParseError> {
    check_target(head, settings.uri_bytes_max)?;
    if head.headers.len() > settings.fields_max {
        return Err(ParseError::TooManyFields);
    }
    let connects = connect::translate(head)?;
    let framing = framing::of_request(Version::HTTP_2, &mut head.headers, settings.body_bytes_max)?;
    let expects_continue = framing::expects_continue(Version::HTTP_2, &head.headers)?;
    join_cookies(&mut head.headers);
    // What is wrong with a host is the service's to say; it finds it as it was received then.
    if host::effective_host(head).is_ok() {
        host::to_origin_form(head);
    }
    Ok(Said {
        length: match framing {
            Framing::Length(length) => Some(length),
            Framing::None | Framing::Chunked | Framing::UntilClose => None,
        },
        expects_continue,
        connects,
    })
}

fn check_target(head: &Parts, max: usize) -> Result<(), ParseError> {
    let Some(target) = head.uri.path_and_query() else {
        return Ok(());
    };
    if target.as_str().len() > max {
        return Err(ParseError::TargetTooLong);
    }
    // As for HTTP/1: octets beyond ASCII have to be percent-encoded.
    if target.as_str().bytes().any(|byte| !byte.is_ascii_graphic()) {
        return Err(ParseError::Malformed("request target"));
    }
    Ok(())
}

/// "If there are multiple Cookie header fields after decompression, these MUST be concatenated into a single octet string
/// using the two-octet delimiter of 0x3b, 0x20 (the ASCII string "; ") before being passed into a non-HTTP/2 context"
/// (RFC 9113 §8.2.3).
fn join_cookies(fields: &mut HeaderMap) {
    let mut crumbs = fields.get_all(COOKIE).iter();
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else {
        return;
    };
    let mut joined = first.as_bytes().to_vec();
    for crumb in std::iter::once(second).chain(crumbs) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(crumb.as_bytes());
    }
    if let Ok(joined) = HeaderValue::from_maybe_shared(bytes::Bytes::from(joined)) {
        fields.insert(COOKIE, joined);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::serve::settings::HalfClose;

    pub(in crate::http2) fn settings() -> ServeSettings {
        let time = Duration::from_secs(5);
        ServeSettings {
            header_timeout: time,
            idle_timeout: time,
            body_timeout: time,
            send_timeout: time,
            body_rate_min: 0,
            send_rate_min: 0,
            rate_grace: Duration::ZERO,
            head_bytes_max: 16 << 10,
            fields_max: 5,
            uri_bytes_max: 64,
            body_bytes_max: 1 << 20,
            requests_per_connection_max: 1000,
            half_close: HalfClose::Answer,
        }
    }

    fn said(target: &str, fields: &[(&'static str, &str)]) -> Result<(Said, HeaderMap), ParseError> {
        let mut request = http::Request::builder()
            .version(Version::HTTP_2)
            .uri(format!("https://a.example{target}"));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let mut head = request.body(()).unwrap().into_parts().0;
        check(&mut head, &settings()).map(|said| (said, head.headers))
    }

    #[test]
    fn heads_are_held_to_the_limits_and_rules_of_http1() {
        let long = format!("/{}", "a".repeat(100));
        let many: Vec<_> = (0..6).map(|_| ("a", "b")).collect();
        for (target, fields, error) in [
            (long.as_str(), &[][..], ParseError::TargetTooLong),
            ("/", &many[..], ParseError::TooManyFields),
            ("/é", &[], ParseError::Malformed("request target")),
            ("/", &[("content-length", "1048577")], ParseError::BodyTooLarge),
            (
                "/",
                &[("content-length", "1"), ("content-length", "1")],
                ParseError::Malformed("Content-Length"),
            ),
            (
                "/",
                &[("content-length", "+1")],
                ParseError::Malformed("Content-Length"),
            ),
            ("/", &[("expect", "miracles")], ParseError::Expectation),
        ] {
            assert_eq!(said(target, fields).unwrap_err(), error, "{target} {fields:?}");
        }
    }

    #[test]
    fn the_length_leaves_the_fields_and_cookie_crumbs_become_one() {
        let fields = [
            ("cookie", "a=1"),
            ("content-length", "7"),
            ("cookie", "b=2"),
            ("cookie", "c=3"),
        ];
        let (said, fields) = said("/", &fields).unwrap();
        assert_eq!(
            said,
            Said {
                length: Some(7),
                expects_continue: false,
                connects: false
            }
        );
        assert!(!fields.contains_key("content-length"));
        assert_eq!(fields["host"], "a.example");
        assert_eq!(fields.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=2; c=3"]);
    }
}
