//! The fields of a response as they were received: what they say about the connection and the body's length, and the rest.
//!
//! Nearly all responses say the plainest things about their framing, or nothing, in lines as we would write them. Those are
//! read in one go and kept as they are, ready to be sent on; no map is made of them unless somebody looks. Everything else
//! goes through `parse`, a map, and the whole of `framing` and `hop_by_hop`. Either way what ends at this hop is gone from
//! the fields that are given out.

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, StatusCode, Version};

use super::framing::{self, BadFraming, Framing};
use super::parse::ResponseHead;
use crate::http::field_lines::{FieldLines, printable};
use crate::http::hop_by_hop::{self, connection_options};
use crate::http::list::token_len;
use crate::http::response::Fields;

/// Room for the lines of a head; larger ones grow.
const LINES_ROOM: usize = 1024;

/// The fields of a response head.
#[derive(Debug)]
pub enum Received {
    /// As lines.
    Plain(Plain),
    /// As they came.
    Map(HeaderMap),
}

/// Fields of an HTTP/1.1 response with at most one field of framing, and at most one `Connection: keep-alive` or `close`.
#[derive(Debug, Default)]
pub struct Plain {
    /// All fields but those.
    lines: FieldLines,
    /// What Content-Length says.
    length: Option<u64>,
    is_chunked: bool,
    /// `Connection: close`.
    closes: bool,
}

/// A response's fields without what ends at this hop, and what that said.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) fields: Fields,
    pub(super) framing: Framing,
    /// The connection may be used again.
    pub(super) persists: bool,
}

/// Reads a head of the usual kind from the beginning of `text`, and says how long it is: HTTP/1.1, final, plain fields
/// written as everybody writes them. `None` when it is another, not all there, or no head at all: the whole of `parse` has
/// to look then.
pub(super) fn usual_head(text: &[u8], fields_max: usize) -> Option<(ResponseHead, usize)> {
    let (code, rest) = text.strip_prefix(b"HTTP/1.1 ")?.split_first_chunk::<3>()?;
    let status = StatusCode::from_bytes(code).ok()?;
    // What is interim is for others to look at.
    let is_usual = (200..600).contains(&status.as_u16()) && matches!(rest.first()?, b' ' | b'\r');
    let section = rest[printable(rest)..].strip_prefix(b"\r\n").filter(|_| is_usual)?;
    let (fields, body) = Plain::read(section, fields_max)?;
    let head = ResponseHead {
        status,
        version: Version::HTTP_11,
        fields: Received::Plain(fields),
    };
    Some((head, text.len() - body.len()))
}

/// Name and value of a line that is written as `FieldLines` would write it, and what follows its CRLF.
fn split_field(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (name, rest) = text.split_at(token_len(text));
    let rest = rest.strip_prefix(b": ")?;
    let (value, rest) = rest.split_at(printable(rest));
    let after = rest.strip_prefix(b"\r\n")?;
    let is_trimmed = *value.first()? != b' ' && *value.last()? != b' ';
    (is_trimmed && !name.is_empty()).then_some((name, value, after))
}

impl Plain {
    /// Reads field lines up to the empty one, and gives what follows that; `None` when they are not so plain.
    fn read(section: &[u8], fields_max: usize) -> Option<(Self, &[u8])> {
        let mut plain = Self {
            lines: FieldLines::with_capacity(section.len().min(LINES_ROOM)),
            ..Self::default()
        };
        let (mut fields, mut connections) = (0, 0);
        // Lines that are kept, and not copied yet: all that stand together go at once.
        let mut kept = section;
        let mut rest = section;
        while !rest.starts_with(b"\r\n") {
            let (name, value, after) = split_field(rest)?;
            fields += 1;
            if !may_be_ours(name) {
                plain.lines.expect(name);
                rest = after;
                continue;
            }
            plain.lines.push_expected(&kept[..kept.len() - rest.len()]);
            (kept, rest) = (after, after);
            if is_name(name, b"content-length") {
                plain.length = Some(framing::digits(value).filter(|_| plain.has_no_framing())?);
            } else if is_name(name, b"connection") {
                connections += 1;
                plain.closes = is_name(value, b"close");
                (connections == 1 && (plain.closes || is_name(value, b"keep-alive"))).then_some(())?;
            } else if is_name(name, b"transfer-encoding") {
                plain.is_chunked = is_name(value, b"chunked") && plain.has_no_framing();
                plain.is_chunked.then_some(())?;
            } else if !is_name(name, b"keep-alive") {
                return None;
            }
        }
        plain.lines.push_expected(&kept[..kept.len() - rest.len()]);
        (fields <= fields_max).then_some((plain, &rest[2..]))
    }

    fn has_no_framing(&self) -> bool {
        self.length.is_none() && !self.is_chunked
    }
}

/// Whether `text` is this word in any case; all its bytes are compared at once.
fn is_name<const N: usize>(text: &[u8], lower: &[u8; N]) -> bool {
    let Ok(text) = <&[u8; N]>::try_from(text) else {
        return false;
    };
    let differences = text
        .iter()
        .zip(lower)
        .map(|(byte, lower)| byte.to_ascii_lowercase() ^ lower);
    differences.fold(0, |all, difference| all | difference) == 0
}

/// Whether a field may be one that is not kept; false for nearly all others.
fn may_be_ours(name: &[u8]) -> bool {
    let first = name.first().map_or(0, u8::to_ascii_lowercase);
    matches!(
        (name.len(), first),
        // content-length, transfer-encoding, connection, keep-alive
        (14 | 10, b'c') | (17, b't') | (10, b'k')
        // te, upgrade, http2-settings, proxy-connection, -authenticate, -authorization, -authentication-info
        | (2, b't') | (7, b'u') | (14, b'h') | (16 | 18 | 19 | 25, b'p')
    )
}

impl Received {
    /// The fields as a map, as they came but for what is plain.
    pub(super) fn into_map(self) -> HeaderMap {
        match self {
            Self::Plain(plain) => plain.lines.into_map(),
            Self::Map(map) => map,
        }
    }

    /// Takes off what ends at this hop, and says what it means for an answer to `method`.
    ///
    /// # Errors
    /// The framing could be read in two ways, or is not understood.
    pub(super) fn settle(self, method: &Method, status: StatusCode, version: Version) -> Result<Settled, BadFraming> {
        match self {
            Self::Plain(mut plain) => {
                if *method == Method::HEAD
                    && let Some(length) = plain.length
                {
                    plain.lines.push_number(&CONTENT_LENGTH, length);
                }
                Ok(Settled {
                    fields: plain.lines.into(),
                    framing: framing::of_plain_response(method, status, plain.is_chunked, plain.length),
                    persists: !plain.closes,
                })
            }
            Self::Map(mut map) => {
                let options = connection_options(&map);
                let framing = framing::of_response(method, status, version, &mut map)?;
                hop_by_hop::remove_from_response(status, &mut map);
                Ok(Settled {
                    fields: map.into(),
                    framing,
                    persists: !options.close && (version == Version::HTTP_11 || options.keep_alive),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::http1::parse::{HeadLimits, response_head};

    const LIMITS: HeadLimits = HeadLimits {
        bytes: 4096,
        fields: 32,
        target: 0,
    };

    fn received(lines: &[&str]) -> Received {
        let text = format!("HTTP/1.1 200 OK\r\n{}\r\n\r\n", lines.join("\r\n"));
        let head = response_head(&mut BytesMut::from(&*text), &mut 0, LIMITS);
        head.unwrap().unwrap().fields
    }

    /// What a plain reading gave; through a map nothing else may come of it.
    fn settled(received: Received, method: &Method) -> Option<(Vec<String>, Framing, bool)> {
        let Settled {
            fields,
            framing,
            persists,
        } = received.settle(method, StatusCode::OK, Version::HTTP_11).ok()?;
        let map = fields.into_map();
        let mut lines: Vec<_> = map.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
        lines.sort();
        Some((lines, framing, persists))
    }

    #[test]
    fn lines_and_map_mean_the_same_and_only_what_is_plain_is_kept_as_lines() {
        #[rustfmt::skip]
        let rows: &[(bool, &[&str])] = &[
            (true, &["Server: x", "ETag: \"a\"", "content-length: 5", "x-a: 1", "X-A: 2"]),
            (true, &["content-length: 0", "Connection: Keep-Alive", "Keep-Alive: timeout=5"]),
            (true, &["Transfer-Encoding: chunked", "connection: close"]),
            (true, &["date: x", "x-a: a\"b: c", "content-type: text/html"]),
            (true, &["cache-control: no-store", "via: 1.0 x", "proxy-status: a", "accept-ranges: bytes"]),
            // What is about the connection, the body's end, or somebody else's protocol in any other way.
            (false, &["content-length: 5, 5"]),
            (false, &["content-length: 5", "content-length: 5"]),
            (false, &["content-length: 5", "content-length: 6"]),
            (false, &["content-length: +5"]),
            (false, &["content-length:"]),
            (false, &["content-length: 5", "transfer-encoding: chunked"]),
            (false, &["transfer-encoding: chunked", "content-length: 5"]),
            (false, &["transfer-encoding: chunked", "transfer-encoding: chunked"]),
            (false, &["transfer-encoding: gzip, chunked"]),
            (false, &["connection: keep-alive, x-a", "x-a: 1"]),
            (false, &["connection: close", "connection: keep-alive"]),
            (false, &["connection: x-a", "x-a: 1", "content-length: 3"]),
            (false, &["upgrade: h2c", "content-length: 3"]),
            (false, &["proxy-authenticate: Basic", "te: trailers", "content-length: 3"]),
            // Not written as we write.
            (false, &["date: x", "x-empty:"]),
            (false, &["date: x", "x-empty: "]),
            (false, &["etag:\"a\"", "content-length: 5"]),
            (false, &["content-length:  5", "x-a: 1"]),
            (false, &["content-length: 5 ", "x-a: 1"]),
            (false, &["x-a: a\tb"]),
            (false, &["x-a: \u{fc}"]),
            // As long as one of them, and with the same first letter: looked at more closely for nothing.
            (false, &["content-script: x", "content-length: 3"]),
        ];
        for (is_plain, lines) in rows {
            let kept = received(lines);
            assert_eq!(matches!(kept, Received::Plain(_)), *is_plain, "{lines:?}");
            for method in [Method::GET, Method::HEAD] {
                let mut map = HeaderMap::new();
                for line in *lines {
                    let (name, value) = line.split_once(':').unwrap();
                    map.append(
                        http::HeaderName::try_from(name).unwrap(),
                        http::HeaderValue::from_bytes(value.trim().as_bytes()).unwrap(),
                    );
                }
                let through_map = settled(Received::Map(map), &method);
                assert_eq!(settled(received(lines), &method), through_map, "{method} {lines:?}");
            }
        }
    }
}
