//! Request heads as nearly all clients write them, read in one go: HTTP/1.1, fields of printable ASCII with one space after
//! the colon.
//!
//! Whatever is not so plain, or not all there, is left untouched for the whole of `parse`, which called. What is read here
//! would be read the same there (a test sees to it). Pure.

use std::ops::Range;

use bytes::BytesMut;
use http::{Method, Uri, Version};

use super::parse::{HeadLimits, ParseError, RequestHead, take};
use crate::http::field_lines::printable;
use crate::http::head::{Head, Line, RequestFields};
use crate::http::known::Known;
use crate::http::list::is_token;
use crate::http::request::Notable;

/// Field lines of a usual head: more than browsers send.
const LINES_MAX: usize = 64;
/// Room for that many at first.
const LINES_ROOM: usize = 12;

/// Takes one from the front of `buf`; `None`, and nothing is taken, where something else stands there, or not all of it.
///
/// # Errors
/// Its target has characters that none may have.
pub(super) fn take_usual(buf: &mut BytesMut, limits: HeadLimits) -> Option<Result<RequestHead, ParseError>> {
    let Usual {
        method,
        target,
        lines,
        notable,
        end,
    } = Usual::read(buf, limits)?;
    let text = take(buf, end);
    let Ok(uri) = Uri::from_maybe_shared(text.slice(target)) else {
        return Some(Err(ParseError::Malformed("request target")));
    };
    let mut head = Box::<Head>::default();
    head.method = method;
    head.uri = uri;
    head.version = Version::HTTP_11;
    head.headers = RequestFields::read(text, lines);
    let bytes = end;
    Some(Ok(RequestHead { head, notable, bytes }))
}

/// What stands where in a usual head.
struct Usual {
    method: Method,
    target: Range<usize>,
    lines: Vec<Line>,
    notable: Notable,
    /// Its size, the empty line included.
    end: usize,
}

impl Usual {
    /// Reads one from the beginning of `text`.
    fn read(text: &[u8], limits: HeadLimits) -> Option<Self> {
        let request_line = &text[..printable(text)];
        let rest = request_line.strip_suffix(b" HTTP/1.1")?;
        let space = rest.iter().position(|byte| *byte == b' ')?;
        let (method, target) = (&rest[..space], &rest[space + 1..]);
        let is_origin_form = target.first() == Some(&b'/') && !target.iter().any(|byte| matches!(byte, b' ' | b'#'));
        if !is_origin_form || target.len() > limits.target {
            return None;
        }
        let mut usual = Self {
            method: Method::from_bytes(method).ok()?,
            target: space + 1..rest.len(),
            lines: Vec::with_capacity(LINES_ROOM),
            notable: Notable::default(),
            end: request_line.len(),
        };
        while !text.get(usual.end..)?.starts_with(b"\r\n\r\n") {
            let begin = text[usual.end..].starts_with(b"\r\n").then_some(usual.end + 2)?;
            usual.end = usual.read_line(text, begin)?;
        }
        usual.end += 4;
        (usual.lines.len() <= limits.fields && usual.end <= limits.bytes).then_some(usual)
    }

    /// Reads the field line that begins at `begin`, and says where it ends.
    fn read_line(&mut self, text: &[u8], begin: usize) -> Option<usize> {
        let line = &text[begin..];
        let line = &line[..printable(line)];
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at(colon);
        let value = value.strip_prefix(b": ")?;
        if *value.first()? == b' ' || *value.last()? == b' ' || self.lines.len() == LINES_MAX {
            return None;
        }
        let known = Known::of_printable(name);
        self.notable = self.notable
            | match known.header() {
                Some((_, kind)) => *kind,
                None if is_token(name) => Notable::kind_in_any_case(name),
                None => return None,
            };
        let place = |at: usize| u32::try_from(begin + at).ok();
        self.lines.push(Line {
            begin: place(0)?,
            colon: place(colon)?,
            value: place(colon + 2)?,
            end: place(line.len())?,
            known,
        });
        Some(begin + line.len())
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::http1::parse::request_head;

    const LIMITS: HeadLimits = HeadLimits {
        bytes: 1024,
        fields: 8,
        target: 64,
    };

    /// What `parse` makes of it without a look at whether it is usual.
    fn read_in_full(text: &[u8]) -> Option<RequestHead> {
        // As if a part of it had come before.
        request_head(&mut BytesMut::from(text), &mut 1, LIMITS).ok()?
    }

    #[test]
    fn a_usual_head_is_read_as_any_other() {
        for text in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n",
            "POST /a HTTP/1.1\r\nHOST: x\r\nContent-Length: 3\r\nX-Mine: a: b\r\nConnection: close\r\n\r\nabc",
            "PURGE /%20 HTTP/1.1\r\nhost: x\r\ncookie: a\r\ncookie: b\r\nSec-Fetch-Mode: cors\r\n\r\nGET / HTTP/1.1\r\n",
        ] {
            let mut buf = BytesMut::from(text);
            let usual = take_usual(&mut buf, LIMITS).expect(text).unwrap();
            let full = read_in_full(text.as_bytes()).unwrap();
            let parts = |head: &RequestHead| {
                (
                    head.head.method.clone(),
                    head.head.uri.clone(),
                    HeaderMap::clone(&head.head.headers),
                )
            };
            assert_eq!(parts(&usual), parts(&full), "{text}");
            assert_eq!((usual.notable, usual.bytes), (full.notable, full.bytes), "{text}");
            assert_eq!(usual.head.version, full.head.version);
            assert_eq!(&buf[..], &text.as_bytes()[usual.bytes..]);
        }
    }

    #[test]
    fn what_is_not_plain_is_left_to_the_strict_reading() {
        let nine = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(9));
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(64));
        let large = format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "b".repeat(1024));
        for text in [
            "GET / HTTP/1.0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\n\r",
            "GET / HTTP/1.1\r\nHost: x\n\r\n",
            "GET / HTTP/1.1\r\nHost:x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x \r\n\r\n",
            "GET / HTTP/1.1\r\nHost:  x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: \r\n\r\n",
            "GET / HTTP/1.1\r\nA: a\tb\r\n\r\n",
            "GET / HTTP/1.1\r\nA: \u{fc}\r\n\r\n",
            "GET / HTTP/1.1\r\nA: a\rb\r\n\r\n",
            "GET / HTTP/1.1\r\nA: a\r\n b: c\r\n\r\n",
            "GET / HTTP/1.1\r\nA\r\nb: c\r\n\r\n",
            "GET / HTTP/1.1\r\n: c\r\n\r\n",
            "GET / HTTP/1.1\r\n:path: c\r\n\r\n",
            "GET  / HTTP/1.1\r\n\r\n",
            "GET /a b HTTP/1.1\r\n\r\n",
            "GET /a#b HTTP/1.1\r\n\r\n",
            "GET * HTTP/1.1\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\n\r\n",
            "G(T / HTTP/1.1\r\n\r\n",
            " / HTTP/1.1\r\n\r\n",
            "\r\nGET / HTTP/1.1\r\n\r\n",
            "",
            &nine,
            &long,
            &large,
        ] {
            let mut buf = BytesMut::from(text);
            assert!(take_usual(&mut buf, LIMITS).is_none(), "{text:?}");
            assert_eq!(&buf[..], text.as_bytes());
        }
    }
}
