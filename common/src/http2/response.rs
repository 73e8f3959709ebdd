//! The head of a response as HTTP/2 has it: fields straight from their lines to HPACK, no map in between.
//!
//! Content-Length is written where the length is known; of HTTP/1's connections nothing is said.

use http::{HeaderMap, Method, StatusCode, Version};

use super::hpack::encode;
use crate::http::known::Known;
use crate::http::response::Fields;
use crate::http1::render::{Coding, response_coding};

/// The length that a head announces, and whether content follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Announced {
    pub(super) length: Option<u64>,
    pub(super) has_content: bool,
}

/// What the head of a response with content of this length says about it.
pub(super) fn announced(method: &Method, status: StatusCode, length: Option<u64>) -> Announced {
    match response_coding(method, Version::HTTP_11, status, length) {
        Coding::Length(length) => Announced {
            length: Some(length),
            has_content: length > 0,
        },
        Coding::None => Announced {
            length: length.filter(|length| *method == Method::HEAD && *length > 0),
            has_content: false,
        },
        Coding::Chunked | Coding::UntilClose => Announced {
            length: None,
            has_content: true,
        },
    }
}

/// Appends a head; its size before compression.
pub(super) fn head(out: &mut Vec<u8>, status: StatusCode, fields: &Fields, length: Option<u64>) -> u64 {
    encode::status(out, status.as_u16());
    let mut bytes = 0;
    fields.each(|name, value| {
        let known = Known::of_any_case(name);
        // "An endpoint MUST NOT generate an HTTP/2 message containing connection-specific header fields." (RFC 9113 §8.2.2)
        if known.is_connection_specific() || known == Known::CONTENT_LENGTH && length.is_some() {
            return;
        }
        bytes += (name.len() + value.len()) as u64;
        encode::field(out, known, name, value);
    });
    if let Some(length) = length {
        let name = Known::CONTENT_LENGTH.name().as_bytes();
        let mut digits = itoa::Buffer::new();
        let value = digits.format(length).as_bytes();
        bytes += (name.len() + value.len()) as u64;
        encode::field(out, Known::CONTENT_LENGTH, name, value);
    }
    bytes
}

/// Appends the head of an interim response.
pub(super) fn interim(out: &mut Vec<u8>, status: StatusCode, map: &HeaderMap) {
    encode::status(out, status.as_u16());
    fields(out, map);
}

/// Appends the fields of a map: their names are in lower case.
pub(super) fn fields(out: &mut Vec<u8>, map: &HeaderMap) {
    for (name, value) in map {
        let name = name.as_str().as_bytes();
        encode::field(out, Known::of(name), name, value.as_bytes());
    }
}

/// The size of a header section, uncompressed and without HPACK's overhead.
pub(super) fn size(fields: &HeaderMap) -> u64 {
    fields
        .iter()
        .map(|(name, value)| (name.as_str().len() + value.len()) as u64)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::field_lines::FieldLines;
    use crate::http2::frame;
    use crate::http2::hpack::decode::Decoder;

    fn read(block: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        let mut decoder = Decoder::new(frame::TABLE_SIZE as usize);
        let mut give = |field: crate::http2::hpack::decode::Field<'_>| {
            lines.push(format!(
                "{}: {}",
                String::from_utf8_lossy(field.name),
                String::from_utf8_lossy(field.value)
            ));
        };
        decoder.decode(block, usize::MAX, &mut give).unwrap();
        lines
    }

    #[test]
    fn a_head_is_in_lower_case_without_what_is_of_http1_and_with_one_length() {
        let mut lines = FieldLines::default();
        for (name, value) in [
            ("Server", "x"),
            ("ETag", "\"A\""),
            ("Connection", "close"),
            ("Keep-Alive", "5"),
            ("Content-Length", "7"),
            ("x-a", ""),
        ] {
            lines.push_parsed(format!("{name}: {value}\r\n").as_bytes(), name.as_bytes());
        }
        let mut fields = Fields::from(lines);
        fields.added.push_number(&http::header::AGE, 3);
        let own = ["server: x", "etag: \"A\"", "x-a: ", "age: 3"];
        for (length, last) in [(Some(5), Some("content-length: 5")), (None, None)] {
            let mut out = Vec::new();
            let bytes = head(&mut out, StatusCode::OK, &fields, length);
            let mut expected = vec![":status: 200"];
            expected.extend(&own[..2]);
            if length.is_none() {
                expected.push("content-length: 7");
            }
            expected.extend(&own[2..]);
            expected.extend(last);
            assert_eq!(read(&out), expected);
            let size: usize = expected[1..].iter().map(|line| line.len() - 2).sum();
            assert_eq!(bytes, size as u64);
        }
    }

    #[test]
    fn what_is_announced_and_what_follows() {
        let row = |method: &Method, status, length| {
            let Announced { length, has_content } = announced(method, status, length);
            (length, has_content)
        };
        let (get, head, ok) = (&Method::GET, &Method::HEAD, StatusCode::OK);
        assert_eq!(row(get, ok, Some(5)), (Some(5), true));
        assert_eq!(row(get, ok, Some(0)), (Some(0), false));
        assert_eq!(row(get, ok, None), (None, true));
        assert_eq!(row(head, ok, Some(5)), (Some(5), false));
        assert_eq!(row(head, ok, Some(0)), (None, false));
        assert_eq!(row(get, StatusCode::NOT_MODIFIED, Some(5)), (None, false));
        assert_eq!(row(get, StatusCode::NO_CONTENT, None), (None, false));
    }
}
