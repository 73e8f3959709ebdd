//! Request heads as nearly all clients write them, read in one go: HTTP/1.1, fields of printable ASCII with one space after
//! the colon.
//!
//! Whatever is not so plain, or not all there, is left untouched for the whole of `parse`, which called. What is read here
//! would be read the same there (a test sees to it). Pure.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};

use super::parse::{HeadLimits, ParseError, RequestHead, take};
use crate::http::field_lines::printable;
use crate::http::known::Known;
use crate::http::list::is_token;
use crate::http::request::Notable;

/// Field lines of a usual head: more than browsers send.
const LINES_MAX: usize = 32;

/// Takes one from the front of `buf`; `None`, and nothing is taken, where something else stands there, or not all of it.
///
/// # Errors
/// A part is longer than the map can hold.
pub(super) fn take_usual(buf: &mut BytesMut, limits: HeadLimits) -> Option<Result<RequestHead, ParseError>> {
    let mut lines = [Line::default(); LINES_MAX];
    let usual = Usual::read(buf, limits, &mut lines)?;
    Some(usual.give(&take(buf, usual.end)))
}

/// Where the parts of a usual head are.
struct Usual<'a> {
    method: Method,
    /// Where the target begins and ends.
    target: (usize, usize),
    lines: &'a [Line],
    /// Its size, the empty line included.
    end: usize,
}

/// Where the parts of a field line are.
#[derive(Clone, Copy, Default)]
struct Line {
    begin: u32,
    colon: u32,
    end: u32,
    known: Known,
}

impl Line {
    /// The field line that begins at `begin`.
    fn read(text: &[u8], begin: usize) -> Option<Self> {
        let line = &text[begin..];
        let line = &line[..printable(line)];
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at(colon);
        let known = Known::of_printable(name);
        let is_name = (known != Known::NONE && !known.is_pseudo()) || is_token(name);
        let value = value.strip_prefix(b": ").filter(|_| is_name)?;
        let is_trimmed = *value.first()? != b' ' && *value.last()? != b' ';
        let place = |at: usize| u32::try_from(begin + at).ok().filter(|_| is_trimmed);
        Some(Self {
            begin: place(0)?,
            colon: place(colon)?,
            end: place(line.len())?,
            known,
        })
    }

    const fn name(self) -> Range<usize> {
        self.begin as usize..self.colon as usize
    }

    /// Without the space before it.
    const fn value(self) -> Range<usize> {
        self.colon as usize + 2..self.end as usize
    }
}

impl<'a> Usual<'a> {
    /// Reads one from the beginning of `text`.
    fn read(text: &[u8], limits: HeadLimits, lines: &'a mut [Line; LINES_MAX]) -> Option<Self> {
        let request_line = &text[..printable(text)];
        let rest = request_line.strip_suffix(b" HTTP/1.1")?;
        let space = rest.iter().position(|byte| *byte == b' ')?;
        let (method, target) = (&rest[..space], &rest[space + 1..]);
        let is_origin_form = target.first() == Some(&b'/') && !target.iter().any(|byte| matches!(byte, b' ' | b'#'));
        if !is_origin_form || target.len() > limits.target {
            return None;
        }
        let (mut count, mut end) = (0, request_line.len());
        while !text.get(end..)?.starts_with(b"\r\n\r\n") {
            text[end..].starts_with(b"\r\n").then_some(())?;
            let line = Line::read(text, end + 2)?;
            *lines.get_mut(count)? = line;
            count += 1;
            end = line.end as usize;
        }
        end += 4;
        (count <= limits.fields && end <= limits.bytes).then_some(())?;
        Some(Self {
            method: Method::from_bytes(method).ok()?,
            target: (space + 1, rest.len()),
            lines: &lines[..count],
            end,
        })
    }

    /// It as a head; `text` is what it was read from.
    fn give(&self, text: &Bytes) -> Result<RequestHead, ParseError> {
        let (begin, end) = self.target;
        let uri = Uri::from_maybe_shared(text.slice(begin..end));
        let (fields, notable) = self.fields(text).ok_or(ParseError::Malformed("field"))?;
        let mut head = Box::new(http::Request::new(()).into_parts().0);
        head.method = self.method.clone();
        head.uri = uri.map_err(|_| ParseError::Malformed("request target"))?;
        head.version = Version::HTTP_11;
        head.headers = fields;
        Ok(RequestHead {
            head,
            notable,
            bytes: self.end,
        })
    }

    fn fields(&self, text: &Bytes) -> Option<(HeaderMap, Notable)> {
        let mut fields = HeaderMap::with_capacity(self.lines.len());
        let mut notable = Notable::default();
        for line in self.lines {
            let value = HeaderValue::from_maybe_shared(text.slice(line.value())).ok()?;
            let (name, kind) = match line.known.header() {
                Some((name, kind)) => (name.clone(), *kind),
                None => {
                    let name = HeaderName::from_bytes(&text[line.name()]).ok()?;
                    let kind = Notable::kind(&name);
                    (name, kind)
                }
            };
            notable = notable | kind;
            fields.append(name, value);
        }
        Some((fields, notable))
    }
}

#[cfg(test)]
mod tests {
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
                    head.head.headers.clone(),
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
