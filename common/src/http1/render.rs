//! Message heads as bytes (RFC 9112 §2.1), and how the body that follows is framed. Pure.
//!
//! Framing fields are written here and nowhere else (see `framing`).

use http::{HeaderMap, Method, StatusCode, Version};

use crate::http::field_lines;
use crate::http::outgoing::OutgoingHead;
use crate::http::response::Fields;

/// How a body is framed on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// No body follows the head.
    None,
    /// Exactly this many bytes.
    Length(u64),
    /// Chunked.
    Chunked,
    /// Until we close (HTTP/1.0 clients only).
    UntilClose,
}

/// What a response head says besides its fields.
#[derive(Clone, Copy, Debug)]
pub struct ResponseFrame {
    /// How the body is framed.
    pub coding: Coding,
    /// The length to announce where no body follows (an answer to HEAD).
    pub announced: Option<u64>,
    /// What the Connection field says.
    pub connection: Option<&'static str>,
}

/// Appends a response head.
pub fn response_head(out: &mut Vec<u8>, status: StatusCode, fields: &Fields, frame: ResponseFrame) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    fields.render(out);
    match frame.coding {
        Coding::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Coding::Length(length) => length_line(out, length),
        Coding::None => {
            if let Some(length) = frame.announced {
                length_line(out, length);
            }
        }
        Coding::UntilClose => {}
    }
    if let Some(option) = frame.connection {
        out.extend_from_slice(b"connection: ");
        out.extend_from_slice(option.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the head of an interim response, which is all there is of it.
pub(crate) fn interim_head(out: &mut Vec<u8>, status: StatusCode, map: &HeaderMap) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    field_lines::write_map(out, map);
    out.extend_from_slice(b"\r\n");
}

/// Appends a request head. The target is sent in origin-form, or as `*`.
pub(crate) fn request_head(out: &mut Vec<u8>, head: &OutgoingHead, coding: Coding) {
    let request = &head.parts;
    out.extend_from_slice(request.method.as_str().as_bytes());
    out.push(b' ');
    match request.uri.path_and_query() {
        Some(target) if !target.as_str().is_empty() => out.extend_from_slice(target.as_str().as_bytes()),
        _ => out.push(b'/'),
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    request.headers.write(out);
    out.extend_from_slice(head.own_fields().as_bytes());
    match coding {
        Coding::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Coding::Length(length) => length_line(out, length),
        // "A user agent SHOULD send Content-Length in a request when the method defines a meaning for enclosed content
        // and it is not sending Transfer-Encoding." (RFC 9110 §8.6)
        Coding::None if [Method::POST, Method::PUT, Method::PATCH].contains(&request.method) => length_line(out, 0),
        Coding::None | Coding::UntilClose => {}
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the line that starts a chunk of `size` bytes.
pub(crate) fn chunk_size(out: &mut Vec<u8>, size: usize) {
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4).max(1);
    for digit in (0..digits).rev() {
        let nibble = (size >> (4 * digit)) & 0xf;
        out.push(b"0123456789abcdef"[nibble]);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the last chunk and the trailer section.
pub(crate) fn last_chunk(out: &mut Vec<u8>, trailers: Option<&HeaderMap>) {
    out.extend_from_slice(b"0\r\n");
    if let Some(trailers) = trailers {
        field_lines::write_map(out, trailers);
    }
    out.extend_from_slice(b"\r\n");
}

/// How a response's body is framed for a client of `version`.
///
/// "A server MUST NOT send a response containing Transfer-Encoding unless the corresponding request indicates HTTP/1.1 (or
/// later minor revisions)." (RFC 9112 §6.1)
pub(crate) fn response_coding(method: &Method, version: Version, status: StatusCode, length: Option<u64>) -> Coding {
    let bodiless = *method == Method::HEAD
        || status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED;
    match (bodiless, length, version) {
        (true, ..) => Coding::None,
        (false, Some(length), _) => Coding::Length(length),
        (false, None, Version::HTTP_10) => Coding::UntilClose,
        (false, None, _) => Coding::Chunked,
    }
}

fn length_line(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"content-length: ");
    out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunk_sizes_are_plain_hexadecimal() {
        for (size, text) in [
            (0, "0\r\n"),
            (1, "1\r\n"),
            (15, "f\r\n"),
            (16, "10\r\n"),
            (65_536, "10000\r\n"),
            (0xabc, "abc\r\n"),
        ] {
            let mut out = Vec::new();
            chunk_size(&mut out, size);
            assert_eq!(out, text.as_bytes());
        }
    }

    #[test]
    fn an_http_1_0_client_is_never_sent_the_chunked_coding() {
        let coding = |method, version, status, length| response_coding(&method, version, status, length);
        assert_eq!(
            coding(Method::GET, Version::HTTP_10, StatusCode::OK, None),
            Coding::UntilClose
        );
        assert_eq!(
            coding(Method::GET, Version::HTTP_11, StatusCode::OK, None),
            Coding::Chunked
        );
        assert_eq!(
            coding(Method::GET, Version::HTTP_11, StatusCode::OK, Some(0)),
            Coding::Length(0)
        );
        assert_eq!(
            coding(Method::HEAD, Version::HTTP_11, StatusCode::OK, Some(5)),
            Coding::None
        );
        assert_eq!(
            coding(Method::GET, Version::HTTP_11, StatusCode::NOT_MODIFIED, None),
            Coding::None
        );
    }
}
