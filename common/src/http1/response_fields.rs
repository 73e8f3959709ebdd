//! The fields of a response as they were received: what they say about the connection and the body's length, and the rest.
//!
//! Nearly all responses say the plainest things about their framing, or nothing. Theirs are kept as lines, ready to be sent
//! on; no map is made of them unless somebody looks. Everything else goes through a map and the whole of `framing` and
//! `hop_by_hop`. Either way what ends at this hop is gone from the fields that are given out.

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, StatusCode, Version};

use super::framing::{self, BadFraming, Framing};
use super::parse;
use crate::http::field_lines::FieldLines;
use crate::http::hop_by_hop::{self, connection_options};
use crate::http::response::Fields;

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

/// Keeps the fields that were parsed from `head`; `None` when one of them is none.
pub(super) fn keep(
    head: &Bytes,
    status: StatusCode,
    version: Version,
    fields: &[httparse::Header<'_>],
) -> Option<Received> {
    // What is interim, or about upgrades, is for others to look at.
    let is_usual = version == Version::HTTP_11 && !status.is_informational();
    if is_usual && let Some(plain) = Plain::read(fields, head.len()) {
        return Some(Received::Plain(plain));
    }
    parse::field_map(head, fields, |_| ()).map(Received::Map)
}

impl Plain {
    /// Reads fields of at most `room` bytes; `None` when they are not so plain.
    fn read(fields: &[httparse::Header<'_>], room: usize) -> Option<Self> {
        let mut plain = Self {
            lines: FieldLines::with_capacity(room),
            ..Self::default()
        };
        let mut connections = 0;
        for field in fields {
            if !may_be_ours(field.name) {
                plain.lines.push_parsed(field.name, field.value);
            } else if field.name.eq_ignore_ascii_case("content-length") {
                plain.length = Some(framing::digits(field.value).filter(|_| plain.has_no_framing())?);
            } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
                plain.is_chunked = field.value.eq_ignore_ascii_case(b"chunked") && plain.has_no_framing();
                plain.is_chunked.then_some(())?;
            } else if field.name.eq_ignore_ascii_case("connection") {
                connections += 1;
                plain.closes = field.value.eq_ignore_ascii_case(b"close");
                (connections == 1 && (plain.closes || field.value.eq_ignore_ascii_case(b"keep-alive"))).then_some(())?;
            } else if !field.name.eq_ignore_ascii_case("keep-alive") {
                return None;
            }
        }
        Some(plain)
    }

    fn has_no_framing(&self) -> bool {
        self.length.is_none() && !self.is_chunked
    }
}

/// Whether a field may be one that is not kept; false for nearly all others.
fn may_be_ours(name: &str) -> bool {
    let first = name.as_bytes().first().map_or(0, u8::to_ascii_lowercase);
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
            (true, &["Server: x", "ETag:\"a\"", "content-length:  5 ", "x-a: 1", "X-A: 2"]),
            (true, &["content-length: 0", "Connection: Keep-Alive", "Keep-Alive: timeout=5"]),
            (true, &["Transfer-Encoding: chunked", "connection: close"]),
            (true, &["date: x", "x-empty:", "content-type: text/html"]),
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
                        http::HeaderValue::from_str(value.trim()).unwrap(),
                    );
                }
                let through_map = settled(Received::Map(map), &method);
                assert_eq!(settled(received(lines), &method), through_map, "{method} {lines:?}");
            }
        }
    }
}
