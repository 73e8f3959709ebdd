//! How long a message body is (RFC 9112 §6.3), decided once and strictly. Pure.
//!
//! The framing fields are taken out of the field map here: from then on the length travels with the body, and whoever
//! writes the message writes its own framing. So nobody can forward a framing that does not fit the bytes.

use http::header::{CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};

use super::parse::ParseError;
use crate::http::head::Head;
use crate::http::list;

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// This many bytes; never 0.
    Length(u64),
    /// The chunked coding.
    Chunked,
    /// Until the server closes (responses only).
    UntilClose,
}

/// How long a request's body is; takes the framing fields out of `fields`.
///
/// # Errors
/// What could be read in two ways, or is not understood.
pub fn of_request(version: Version, fields: &mut HeaderMap, body_max: u64) -> Result<Framing, ParseError> {
    let coded = fields.contains_key(TRANSFER_ENCODING);
    let sized = fields.contains_key(CONTENT_LENGTH);
    match (coded, sized) {
        (false, false) => Ok(Framing::None),
        // "A server MAY reject a request that contains both Content-Length and Transfer-Encoding" (RFC 9112 §6.1)
        (true, true) => Err(ParseError::Malformed("both Content-Length and Transfer-Encoding")),
        (true, false) => {
            // "A client MUST NOT send a request containing Transfer-Encoding unless it knows the server will handle
            // HTTP/1.1 requests"; one from an HTTP/1.0 message is faulty framing (RFC 9112 §6.1).
            if version == Version::HTTP_10 {
                return Err(ParseError::Malformed("Transfer-Encoding in HTTP/1.0"));
            }
            request_coding(fields)?;
            fields.remove(TRANSFER_ENCODING);
            Ok(Framing::Chunked)
        }
        (false, true) => {
            let mut values = fields.get_all(CONTENT_LENGTH).iter();
            let length = match (values.next(), values.next()) {
                (Some(value), None) => digits(value.as_bytes()),
                _ => None,
            };
            let length = length.ok_or(ParseError::Malformed("Content-Length"))?;
            if length > body_max {
                return Err(ParseError::BodyTooLarge);
            }
            fields.remove(CONTENT_LENGTH);
            Ok(if length == 0 {
                Framing::None
            } else {
                Framing::Length(length)
            })
        }
    }
}

/// Accepts `chunked` alone, once.
fn request_coding(fields: &HeaderMap) -> Result<(), ParseError> {
    let mut codings = codings(fields);
    match (codings.next(), codings.next()) {
        (Some(only), None) if only.eq_ignore_ascii_case(b"chunked") => Ok(()),
        // "If any transfer coding other than chunked is applied to a request's content, the sender MUST apply chunked as
        // the final transfer coding" (RFC 9112 §6.1); "A server that receives a request message with a transfer coding
        // it does not understand SHOULD respond with 501" (§6.1). What does not end in one chunked is 400 (§6.3).
        _ => {
            let all: Vec<&[u8]> = self::codings(fields).collect();
            let chunked = all
                .iter()
                .filter(|coding| coding.eq_ignore_ascii_case(b"chunked"))
                .count();
            let last_is_chunked = all.last().is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked"));
            let are_tokens = all
                .iter()
                .all(|coding| !coding.is_empty() && coding.iter().all(|byte| is_token_or_parameter(*byte)));
            if chunked == 1 && last_is_chunked && are_tokens {
                Err(ParseError::TransferCoding)
            } else {
                Err(ParseError::Malformed("Transfer-Encoding"))
            }
        }
    }
}

/// "A server that receives a 100-continue expectation in an HTTP/1.0 request MUST ignore that expectation." and "A server
/// that receives an Expect field value containing a member other than 100-continue MAY respond with a 417" (RFC 9110
/// §10.1.1).
pub(crate) fn expects_continue(version: Version, fields: &HeaderMap) -> Result<bool, ParseError> {
    if version == Version::HTTP_10 {
        return Ok(false);
    }
    let mut expectations = list::members_of(fields, &EXPECT)
        .filter(|member| !member.is_empty())
        .peekable();
    let expects = expectations.peek().is_some();
    match expectations.all(|member| member.eq_ignore_ascii_case(b"100-continue")) {
        true => Ok(expects),
        false => Err(ParseError::Expectation),
    }
}

/// Whether the client is owed a 100. Where it does not wait for one, because there is no content or some of it has come
/// already, the expectation does not go on either: the next hop would let us wait for nothing.
///
/// # Errors
/// An expectation that cannot be met.
pub(crate) fn take_expectation(head: &mut Head, waits: bool) -> Result<bool, ParseError> {
    let is_owed = expects_continue(head.version, &head.headers)? && waits;
    if !is_owed {
        head.headers.remove(EXPECT);
    }
    Ok(is_owed)
}

/// Why the framing of a response cannot be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadFraming;

/// How long a response's body is; takes the framing fields out of `fields`, but leaves Content-Length in an answer to
/// HEAD, where it describes what GET would give.
///
/// # Errors
/// What could be read in two ways, or is not understood.
pub fn of_response(
    method: &Method,
    status: StatusCode,
    version: Version,
    fields: &mut HeaderMap,
) -> Result<Framing, BadFraming> {
    let coded = fields.contains_key(TRANSFER_ENCODING);
    let length = response_length(fields)?;
    // "If a message is received with both a Transfer-Encoding and a Content-Length header field, […] Such a message might
    // indicate an attempt to perform request smuggling or response splitting and ought to be handled as an error."
    // (RFC 9112 §6.3)
    if coded && (length.is_some() || version == Version::HTTP_10) {
        return Err(BadFraming);
    }
    if coded {
        // We never send TE with codings, so chunked is all that may come.
        let mut codings = codings(fields);
        let is_chunked = codings
            .next()
            .is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked"));
        if !is_chunked || codings.next().is_some() {
            return Err(BadFraming);
        }
        drop(codings);
        fields.remove(TRANSFER_ENCODING);
    }
    fields.remove(CONTENT_LENGTH);
    if *method == Method::HEAD
        && let Some(length) = length
    {
        fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Ok(of_plain_response(method, status, coded, length))
}

/// The same for fields that contradict neither each other nor the version.
pub(super) fn of_plain_response(method: &Method, status: StatusCode, is_chunked: bool, length: Option<u64>) -> Framing {
    // "Any response to a HEAD request and any response with a 1xx (Informational), 204 (No Content), or 304 (Not
    // Modified) status code is always terminated by the first empty line after the header fields" (RFC 9112 §6.3)
    let ends_with_head = *method == Method::HEAD
        || status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED;
    match (is_chunked, length) {
        _ if ends_with_head => Framing::None,
        (true, _) => Framing::Chunked,
        (false, Some(0)) => Framing::None,
        (false, Some(length)) => Framing::Length(length),
        (false, None) => Framing::UntilClose,
    }
}

/// The one length that all Content-Length lines and list members agree on.
///
/// "If the message is received without Transfer-Encoding and with an invalid Content-Length header field, then […] the
/// recipient MUST treat it as an unrecoverable error, unless the field value can be successfully parsed as a
/// comma-separated list, all values in the list are valid, and all values in the list are the same" (RFC 9112 §6.3)
fn response_length(fields: &HeaderMap) -> Result<Option<u64>, BadFraming> {
    let mut agreed = None;
    for value in fields.get_all(CONTENT_LENGTH) {
        for member in value.as_bytes().split(|byte| *byte == b',') {
            let length = digits(member.trim_ascii()).ok_or(BadFraming)?;
            if agreed.is_some_and(|agreed| agreed != length) {
                return Err(BadFraming);
            }
            agreed = Some(length);
        }
    }
    Ok(agreed)
}

/// `1*DIGIT` and nothing else; `None` also when it does not fit 63 bits.
pub(super) fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 19 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = text.iter().try_fold(0u64, |sum, digit| {
        sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })?;
    (number <= i64::MAX.unsigned_abs()).then_some(number)
}

fn codings(fields: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    fields
        .get_all(TRANSFER_ENCODING)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
}

fn is_token_or_parameter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~;=\" ".contains(&byte)
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect::<Vec<_>>()
            .into_iter()
            .fold(HeaderMap::new(), |mut map, (name, value)| {
                map.append(name, value);
                map
            })
    }

    #[test]
    fn a_request_body_has_one_length_or_is_refused() {
        const CL: &str = "content-length";
        const TE: &str = "transfer-encoding";
        let malformed = |lines: &[(&'static str, &'static str)]| {
            let error = of_request(Version::HTTP_11, &mut map(lines), 100).unwrap_err();
            assert!(matches!(error, ParseError::Malformed(_)), "{lines:?}: {error:?}");
        };
        let is = |lines: &[(&'static str, &'static str)], framing| {
            let mut fields = map(lines);
            assert_eq!(of_request(Version::HTTP_11, &mut fields, 100), Ok(framing), "{lines:?}");
            assert!(fields.is_empty());
        };
        is(&[], Framing::None);
        is(&[(CL, "0")], Framing::None);
        is(&[(CL, "007")], Framing::Length(7));
        is(&[(TE, "chunked")], Framing::Chunked);
        is(&[(TE, "Chunked")], Framing::Chunked);
        for lines in [
            &[(CL, "5"), (TE, "chunked")][..],
            &[(TE, "chunked"), (CL, "5")],
            &[(CL, "5"), (CL, "5")],
            &[(CL, "5"), (CL, "6")],
            &[(CL, "5, 5")],
            &[(CL, "+5")],
            &[(CL, "-5")],
            &[(CL, "0x5")],
            &[(CL, "5 5")],
            &[(CL, "")],
            &[(CL, "99999999999999999999")],
            &[(TE, "chunked, chunked")],
            &[(TE, "chunked"), (TE, "chunked")],
            &[(TE, "chunked, gzip")],
            &[(TE, "gzip")],
            &[(TE, "identity")],
            &[(TE, "")],
            &[(TE, "chunked,")],
            &[(TE, "\"chunked\"")],
            &[(TE, "xchunked")],
        ] {
            malformed(lines);
        }
        let error = of_request(Version::HTTP_11, &mut map(&[(TE, "gzip, chunked")]), 100).unwrap_err();
        assert_eq!(error, ParseError::TransferCoding);
        let error = of_request(Version::HTTP_11, &mut map(&[(CL, "101")]), 100).unwrap_err();
        assert_eq!(error, ParseError::BodyTooLarge);
        assert!(of_request(Version::HTTP_10, &mut map(&[(TE, "chunked")]), 100).is_err());
    }

    #[test]
    fn a_response_body_has_one_length_or_is_refused() {
        let of = |method: Method, status: u16, lines: &[(&'static str, &'static str)]| {
            of_response(
                &method,
                StatusCode::from_u16(status).unwrap(),
                Version::HTTP_11,
                &mut map(lines),
            )
        };
        let get = |lines: &[(&'static str, &'static str)]| of(Method::GET, 200, lines);
        assert_eq!(get(&[]), Ok(Framing::UntilClose));
        assert_eq!(
            get(&[("content-length", "5, 5"), ("content-length", "5")]),
            Ok(Framing::Length(5))
        );
        assert_eq!(
            get(&[("content-length", "5"), ("content-length", "6")]),
            Err(BadFraming)
        );
        assert_eq!(get(&[("content-length", "abc")]), Err(BadFraming));
        assert_eq!(
            get(&[("content-length", "5"), ("transfer-encoding", "chunked")]),
            Err(BadFraming)
        );
        assert_eq!(get(&[("transfer-encoding", "gzip, chunked")]), Err(BadFraming));
        assert_eq!(get(&[("transfer-encoding", "chunked")]), Ok(Framing::Chunked));
        assert_eq!(of(Method::HEAD, 200, &[("content-length", "5")]), Ok(Framing::None));
        assert_eq!(of(Method::GET, 204, &[("content-length", "5")]), Ok(Framing::None));
        assert_eq!(of(Method::GET, 304, &[]), Ok(Framing::None));
    }

    #[test]
    fn an_answer_to_head_keeps_the_length_that_get_would_have() {
        let mut fields = map(&[("content-length", "5")]);
        assert_eq!(
            of_response(&Method::HEAD, StatusCode::OK, Version::HTTP_11, &mut fields),
            Ok(Framing::None)
        );
        assert_eq!(fields["content-length"], "5");
    }
}
