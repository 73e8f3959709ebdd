//! Bytes → message head, strictly (RFC 9112 §2–§5). Pure; the tokenizer is httparse's.
//!
//! Stricter than httparse where leniency would let two parsers disagree: no bare LF, no fragment or raw non-ASCII in a
//! target. `framing` then says how long the body is; `http::host` judges the Host field.

use std::mem::MaybeUninit;

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};

use super::first_line::{Place, of_later_minor, server_wide};
use super::response_fields::{self, Received};
use super::usual_request::take_usual;
use crate::http::head::Head;
use crate::http::request::Notable;

/// Field lines that any configuration may allow; a bound for the stack.
pub const FIELDS_MAX: usize = 256;

/// Limits of a head.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Bytes of the whole head.
    pub bytes: usize,
    /// Field lines.
    pub fields: usize,
    /// Bytes of a request target.
    pub target: usize,
}

/// Why bytes are not an acceptable request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not HTTP/1.x, or against its grammar.
    #[error("malformed request: {0}")]
    Malformed(&'static str),
    /// More bytes of head than allowed.
    #[error("the request head is larger than the limit")]
    HeadTooLarge,
    /// More field lines than allowed.
    #[error("the request head has more fields than the limit")]
    TooManyFields,
    /// A longer target than allowed.
    #[error("the request target is longer than the limit")]
    TargetTooLong,
    /// A major version that is not spoken here.
    #[error("this HTTP version is not supported")]
    Version,
    /// A transfer coding that is not understood.
    #[error("this transfer coding is not supported")]
    TransferCoding,
    /// A body longer than allowed.
    #[error("the request body is larger than the limit")]
    BodyTooLarge,
    /// An expectation other than 100-continue.
    #[error("this expectation cannot be met")]
    Expectation,
    /// The head did not come in time.
    #[error("the request head did not come in time")]
    Timeout,
}

impl ParseError {
    /// The status that says so.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::HeadTooLarge | Self::TooManyFields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::TransferCoding => StatusCode::NOT_IMPLEMENTED,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
        }
    }
}

/// The head of a request as it was received.
#[derive(Debug)]
pub struct RequestHead {
    /// Method, target in any of its four forms, version (1.0 or 1.1), and all fields, framing fields included.
    pub head: Box<Head>,
    /// Which fields need a look.
    pub notable: Notable,
    /// Its size on the wire.
    pub bytes: usize,
}

/// The head of a response as it was received.
#[derive(Debug)]
pub struct ResponseHead {
    /// The status code.
    pub status: StatusCode,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// All fields.
    pub fields: Received,
}

/// Takes one request head from the front of `buf`; `None` when it is not there yet.
///
/// `scanned` remembers between calls how far the end was looked for.
///
/// # Errors
/// What is wrong with it; the connection cannot go on after that.
pub fn request_head(
    buf: &mut BytesMut,
    scanned: &mut usize,
    limits: HeadLimits,
) -> Result<Option<RequestHead>, ParseError> {
    // "In the interest of robustness, a server that is expecting to receive and parse a request-line SHOULD ignore at
    // least one empty line (CRLF) received prior to the request-line." (RFC 9112 §2.2)
    while *scanned == 0 && buf.starts_with(b"\r\n") {
        drop(buf.split_to(2));
    }
    // Half of such a line: nothing is scanned, so that the other half is found.
    if *scanned == 0 && buf[..] == *b"\r" {
        return Ok(None);
    }
    // One that comes in pieces is not tried again with each.
    if *scanned == 0
        && let Some(usual) = take_usual(buf, limits)
    {
        return usual.map(Some);
    }
    if !request_line_may_go_on(buf) {
        return Err(ParseError::Malformed("not an HTTP request line"));
    }
    let end = match head_end(buf, scanned) {
        HeadEnd::At(end) => end,
        HeadEnd::NotYet => return oversize(buf, limits).map_or(Ok(None), Err),
        HeadEnd::BareLf => return Err(ParseError::Malformed("bare LF")),
    };
    if end > limits.bytes {
        return Err(oversize(buf, limits).unwrap_or(ParseError::HeadTooLarge));
    }
    *scanned = 0;
    let head = take(buf, end);
    let mut slots = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(&head, &mut slots) {
        Ok(httparse::Status::Complete(parsed)) if parsed == end => {}
        Ok(_) => return Err(ParseError::Malformed("line end")),
        Err(httparse::Error::Version) if let Some(mut head) = of_later_minor(&head, Place::LineEnd) => {
            return request_head(&mut head, scanned, limits);
        }
        Err(error) => return Err(request_error(error, &head)),
    }
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
        return Err(ParseError::Malformed("incomplete request line"));
    };
    if target.len() > limits.target {
        return Err(ParseError::TargetTooLong);
    }
    if request.headers.len() > limits.fields {
        return Err(ParseError::TooManyFields);
    }
    let mut parts = Box::<Head>::default();
    parts.method = Method::from_bytes(method.as_bytes()).map_err(|_| ParseError::Malformed("method"))?;
    parts.uri = match parts.method {
        Method::OPTIONS => server_wide(target).map_or_else(|| uri(&head, target), Ok)?,
        _ => uri(&head, target)?,
    };
    parts.version = version(minor);
    let mut notable = Notable::default();
    let see = |name: &HeaderName| notable = notable | Notable::kind(name);
    parts.headers = field_map(&head, request.headers, see)
        .ok_or(ParseError::Malformed("field"))?
        .into();
    Ok(Some(RequestHead {
        head: parts,
        notable,
        bytes: end,
    }))
}

/// Why bytes are not an acceptable response head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseParseError {
    /// Not HTTP/1.x, or against its grammar.
    Malformed,
    /// More bytes or fields than allowed.
    TooLarge,
}

/// Takes one response head from the front of `buf`; `None` when it is not there yet.
///
/// # Errors
/// What is wrong with it.
pub fn response_head(
    buf: &mut BytesMut,
    scanned: &mut usize,
    limits: HeadLimits,
) -> Result<Option<ResponseHead>, ResponseParseError> {
    const START: &[u8] = b"HTTP/1.";
    // One that comes in pieces is not tried again with each.
    if *scanned == 0
        && let Some((head, bytes)) = response_fields::usual_head(buf, limits.fields)
        && bytes <= limits.bytes
    {
        buf.advance(bytes);
        return Ok(Some(head));
    }
    let known = buf.len().min(START.len());
    if buf[..known] != START[..known] {
        return Err(ResponseParseError::Malformed);
    }
    let end = match head_end(buf, scanned) {
        HeadEnd::At(end) => end,
        HeadEnd::NotYet if buf.len() <= limits.bytes => return Ok(None),
        HeadEnd::NotYet => return Err(ResponseParseError::TooLarge),
        HeadEnd::BareLf => return Err(ResponseParseError::Malformed),
    };
    if end > limits.bytes {
        return Err(ResponseParseError::TooLarge);
    }
    *scanned = 0;
    let head = take(buf, end);
    let mut slots = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut []);
    let parser = httparse::ParserConfig::default();
    match parser.parse_response_with_uninit_headers(&mut response, &head, &mut slots) {
        Ok(httparse::Status::Complete(parsed)) if parsed == end => {}
        Err(httparse::Error::TooManyHeaders) => return Err(ResponseParseError::TooLarge),
        Err(httparse::Error::Version) if let Some(mut head) = of_later_minor(&head, Place::LineStart) => {
            return response_head(&mut head, scanned, limits);
        }
        Ok(_) | Err(_) => return Err(ResponseParseError::Malformed),
    }
    if response.headers.len() > limits.fields {
        return Err(ResponseParseError::TooLarge);
    }
    let (Some(code), Some(minor)) = (response.code, response.version) else {
        return Err(ResponseParseError::Malformed);
    };
    // "Values outside the range 100..599 are invalid." (RFC 9110 §15)
    let status = StatusCode::from_u16(code).ok().filter(|status| status.as_u16() < 600);
    let status = status.ok_or(ResponseParseError::Malformed)?;
    let fields = field_map(&head, response.headers, |_| ()).ok_or(ResponseParseError::Malformed)?;
    Ok(Some(ResponseHead {
        status,
        version: version(minor),
        fields: Received::Map(fields),
    }))
}

/// Reads trailer fields that end with an empty line; `lines` holds all of them. `None` when one is malformed.
pub fn trailers(lines: &Bytes) -> Option<HeaderMap> {
    let mut slots = [httparse::EMPTY_HEADER; 64];
    match httparse::parse_headers(lines, &mut slots) {
        Ok(httparse::Status::Complete((_, headers))) => field_map(lines, headers, |_| ()),
        _ => None,
    }
}

/// How much of a head is there.
enum HeadEnd {
    /// All of it: this many bytes, the empty line included.
    At(usize),
    /// Not all.
    NotYet,
    /// A line ends in a LF without CR. "A recipient MAY recognize a single LF as a line terminator" (RFC 9112 §2.2) is not
    /// made use of, because the next parser on the way may differ.
    BareLf,
}

fn head_end(buf: &[u8], scanned: &mut usize) -> HeadEnd {
    let mut from = *scanned;
    while let Some(lf) = memchr::memchr(b'\n', &buf[from..]).map(|at| from + at) {
        if lf == 0 || buf[lf - 1] != b'\r' {
            return HeadEnd::BareLf;
        }
        match &buf[lf + 1..] {
            [b'\r', b'\n', ..] => return HeadEnd::At(lf + 3),
            [] | [b'\r'] => {
                *scanned = lf;
                return HeadEnd::NotYet;
            }
            _ => from = lf + 1,
        }
    }
    *scanned = buf.len();
    HeadEnd::NotYet
}

/// Whether what is there may be the start of a request line: so that garbage is refused before a line end comes.
fn request_line_may_go_on(buf: &[u8]) -> bool {
    match buf.first() {
        None | Some(b'\r') => buf.len() < 2,
        Some(byte) => {
            byte.is_ascii_graphic()
                && !matches!(byte, b'"' | b'(' | b')' | b',' | b'/' | b':'..=b'@' | b'['..=b']' | b'{' | b'}')
        }
    }
}

/// Which limit a head that is not complete has passed already.
fn oversize(buf: &[u8], limits: HeadLimits) -> Option<ParseError> {
    let line = memchr::memchr(b'\n', buf).unwrap_or(buf.len());
    // Room for a method, the version and the spaces.
    if line > limits.target + 64 {
        return Some(ParseError::TargetTooLong);
    }
    (buf.len() > limits.bytes).then_some(ParseError::HeadTooLarge)
}

fn request_error(error: httparse::Error, head: &[u8]) -> ParseError {
    match error {
        httparse::Error::TooManyHeaders => ParseError::TooManyFields,
        httparse::Error::Version => {
            let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
            let mut words = line.split(|byte| *byte == b' ');
            match (words.nth(2), words.next()) {
                (Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor]), None)
                    if major.is_ascii_digit() && minor.is_ascii_digit() =>
                {
                    ParseError::Version
                }
                _ => ParseError::Malformed("version"),
            }
        }
        httparse::Error::HeaderName => ParseError::Malformed("field name"),
        httparse::Error::HeaderValue => ParseError::Malformed("field value"),
        httparse::Error::NewLine => ParseError::Malformed("line end"),
        httparse::Error::Token => ParseError::Malformed("request line"),
        httparse::Error::Status => ParseError::Malformed("status"),
    }
}

fn version(minor: u8) -> Version {
    if minor == 0 { Version::HTTP_10 } else { Version::HTTP_11 }
}

fn uri(head: &Bytes, target: &str) -> Result<Uri, ParseError> {
    // A fragment is never part of a request target (RFC 9112 §3.2), and octets beyond ASCII have to be percent-encoded.
    if target.bytes().any(|byte| byte == b'#' || !byte.is_ascii_graphic()) {
        return Err(ParseError::Malformed("request target"));
    }
    Uri::from_maybe_shared(head.slice_ref(target.as_bytes())).map_err(|_| ParseError::Malformed("request target"))
}

/// The first `end` bytes of `buf`. Nearly always that is all of it, and then nothing has to be split.
pub(super) fn take(buf: &mut BytesMut, end: usize) -> Bytes {
    if end == buf.len() {
        std::mem::take(buf).freeze()
    } else {
        buf.split_to(end).freeze()
    }
}

/// The fields as a map; `see` is shown each name.
fn field_map(head: &Bytes, headers: &[httparse::Header<'_>], mut see: impl FnMut(&HeaderName)) -> Option<HeaderMap> {
    let mut map = HeaderMap::with_capacity(headers.len());
    for header in headers {
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        see(&name);
        let value = HeaderValue::from_maybe_shared(head.slice_ref(header.value)).ok()?;
        map.append(name, value);
    }
    Some(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits {
        bytes: 512,
        fields: 4,
        target: 64,
    };

    fn parse(text: &[u8]) -> Result<Option<RequestHead>, ParseError> {
        request_head(&mut BytesMut::from(text), &mut 0, LIMITS)
    }

    #[test]
    fn a_request_head_is_read_and_what_follows_is_left() {
        let mut buf = BytesMut::from(&b"\r\nGET /a?b HTTP/1.1\r\nHost: x\r\nA:  1 \r\n\r\nGET"[..]);
        let RequestHead { head, .. } = request_head(&mut buf, &mut 0, LIMITS).unwrap().unwrap();
        assert_eq!(
            (&head.method, head.uri.path_and_query().unwrap().as_str()),
            (&Method::GET, "/a?b")
        );
        assert_eq!(
            (head.version, &head.headers["a"]),
            (Version::HTTP_11, &HeaderValue::from_static("1"))
        );
        assert_eq!(&buf[..], b"GET");
    }

    #[test]
    fn a_head_that_comes_byte_by_byte_is_the_same_head() {
        let text = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        let (mut buf, mut scanned) = (BytesMut::new(), 0);
        for (i, byte) in text.iter().enumerate() {
            buf.extend_from_slice(&[*byte]);
            let head = request_head(&mut buf, &mut scanned, LIMITS).unwrap();
            assert_eq!(head.is_some(), i + 1 == text.len());
        }
    }

    #[test]
    fn what_two_parsers_could_read_differently_is_refused() {
        for (text, why) in [
            (&b"GET / HTTP/1.1\nHost: x\n\n"[..], "bare LF everywhere"),
            (b"GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n", "bare LF inside"),
            (b"GET / HTTP/1.1\r\nHost: x\r\n\n", "bare LF at the end"),
            (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", "space before colon"),
            (b"GET / HTTP/1.1\r\nHost: x\r\n A: b\r\n\r\n", "obs-fold"),
            (b"GET / HTTP/1.1\r\n Host: x\r\n\r\n", "space before the first field"),
            (b"GET / HTTP/1.1\r\nA: a\rb\r\n\r\n", "bare CR"),
            (b"GET / HTTP/1.1\r\nA: a\0b\r\n\r\n", "NUL"),
            (b"GET / HTTP/1.1\r\n: b\r\n\r\n", "empty field name"),
            (b"GET  / HTTP/1.1\r\n\r\n", "two spaces"),
            (b"GET /  HTTP/1.1\r\n\r\n", "two spaces after the target"),
            (b"GET /#a HTTP/1.1\r\n\r\n", "fragment"),
            (b"GET /\xff HTTP/1.1\r\n\r\n", "octets beyond ASCII"),
            (b"GET / HTTP/1.1 \r\n\r\n", "space after the version"),
            (b"GET / http/1.1\r\n\r\n", "version in lower case"),
            (b"GET /\r\n\r\n", "HTTP/0.9"),
            (b"\x16\x03\x01\x02\x00", "TLS on a plain port"),
            (b" GET / HTTP/1.1\r\n\r\n", "space before the method"),
        ] {
            assert!(
                matches!(parse(text), Err(ParseError::Malformed(_))),
                "{why}: {:?}",
                parse(text)
            );
        }
    }

    #[test]
    fn each_limit_has_its_own_error() {
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(100));
        assert_eq!(parse(long.as_bytes()).unwrap_err(), ParseError::TargetTooLong);
        assert_eq!(
            parse("GET /".repeat(100).as_bytes()).unwrap_err(),
            ParseError::TargetTooLong
        );
        assert_eq!(
            parse(b"GET / HTTP/1.1\r\na:b\r\na:b\r\na:b\r\na:b\r\na:b\r\n\r\n").unwrap_err(),
            ParseError::TooManyFields
        );
        let wide = format!("GET / HTTP/1.1\r\na: {}", "b".repeat(600));
        assert_eq!(parse(wide.as_bytes()).unwrap_err(), ParseError::HeadTooLarge);
        for version in ["2.0", "3.0", "0.9"] {
            assert_eq!(
                parse(format!("PRI * HTTP/{version}\r\n\r\n").as_bytes()).unwrap_err(),
                ParseError::Version
            );
        }
    }

    #[test]
    fn responses_are_read_with_or_without_a_reason_phrase() {
        for text in [
            "HTTP/1.1 200 OK\r\nA: b\r\n\r\n",
            "HTTP/1.1 200 \r\nA: b\r\n\r\n",
            "HTTP/1.1 200\r\nA: b\r\n\r\n",
        ] {
            let head = response_head(&mut BytesMut::from(text), &mut 0, LIMITS)
                .unwrap()
                .unwrap();
            assert_eq!(
                (head.status, &head.fields.into_map()["a"]),
                (StatusCode::OK, &HeaderValue::from_static("b"))
            );
        }
        for text in [
            "SSH-2.0-x\r\n",
            "HTTP/2 200\r\n\r\n",
            "HTTP/1.1 2x0 OK\r\n\r\n",
            "HTTP/1.1 200 OK\nA: b\n\n",
            "HTTP/1.1 600 X\r\n\r\n",
        ] {
            assert!(
                response_head(&mut BytesMut::from(text), &mut 0, LIMITS).is_err(),
                "{text}"
            );
        }
    }
}
