//! A decoded field section → the same request that HTTP/1 makes, or trailers (RFC 9113 §8.1–§8.3, §8.5). Pure.
//!
//! What is malformed is a stream error; what is against our limits, or against rules that HTTP/1 has too, is answered as there.
//! `http::host` judges the host later, as for HTTP/1. All values of a section are slices of one allocation.

use bytes::{Bytes, BytesMut};
use http::header::{COOKIE, HOST, HeaderValue};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderName, Method, Uri, Version};

use super::connect;
use super::hpack::decode::Field;
use crate::http::head::Head;
use crate::http::known::Known;
use crate::http::request::Notable;
use crate::http::{hop_by_hop, host};
use crate::http1::framing::{self, Framing};
use crate::http1::parse::ParseError;
use crate::serve::settings::ServeSettings;

/// A request's head, and what it says about the message.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) parts: Box<Head>,
    pub(super) notable: Notable,
    /// The length that the client announced.
    pub(super) length: Option<u64>,
    /// It waits for leave to send its body.
    pub(super) expects_continue: bool,
    /// It is an extended CONNECT: what follows is no body.
    pub(super) connects: bool,
    /// Its size before compression.
    pub(super) bytes: u64,
}

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// "Malformed requests or responses that are detected MUST be treated as a stream error of type `PROTOCOL_ERROR`." (RFC
    /// 9113 §8.1.1)
    Malformed,
    /// It is answered.
    Answered(ParseError),
}

/// A field section while it is decoded.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// Names that have no number, and values.
    text: BytesMut,
    lines: Vec<Line>,
    /// The pseudo-header fields.
    pseudo: [Option<Span>; PSEUDO],
    cookies: usize,
    bytes: u64,
    is_malformed: bool,
    has_pseudo: bool,
}

/// Room that there is for the texts of a section before they are moved, and what is made at once.
const ROOM: usize = 512;
const CHUNK: usize = 2048;
/// Fields that there is room for from the start.
const LINES: usize = 16;

/// Numbers of known names up to that of `:scheme`, and the place of `:protocol`.
const PSEUDO: usize = 8;
const PROTOCOL: usize = 0;

#[derive(Clone, Copy, Debug)]
struct Span {
    begin: usize,
    end: usize,
}

#[derive(Debug)]
struct Line {
    known: Known,
    name: Span,
    value: Span,
}

impl Draft {
    /// Takes the next field.
    pub(super) fn add(&mut self, field: &Field<'_>) {
        self.bytes += (field.name.len() + field.value.len()) as u64;
        if field.known.is_pseudo() {
            return self.add_pseudo(field);
        }
        // "A field name MUST NOT contain characters in the ranges 0x00-0x20, 0x41-0x5a, or 0x7f-0xff (all inclusive). […] a
        // field value MUST NOT start or end with an ASCII whitespace character" (RFC 9113 §8.2.1)
        self.has_pseudo |= field.name.first() == Some(&b':');
        self.is_malformed |= field.name.first().is_none_or(|first| *first == b':')
            || is_blank(field.value.first())
            || is_blank(field.value.last())
            // "An intermediary transforming an HTTP/1.x message to HTTP/2 MUST remove connection-specific header fields" and
            // "any message containing connection-specific header fields MUST be treated as malformed" (§8.2.2)
            || field.known.is_connection_specific()
            || field.known == Known::TE && field.value != b"trailers";
        let name = if field.known == Known::NONE {
            self.keep(field.name)
        } else {
            self.keep(b"")
        };
        let value = self.keep(field.value);
        self.cookies += usize::from(field.known == Known::COOKIE);
        self.lines.push(Line {
            known: field.known,
            name,
            value,
        });
    }

    fn add_pseudo(&mut self, field: &Field<'_>) {
        let slot = match field.known {
            Known::PROTOCOL => PROTOCOL,
            known => known.index(),
        };
        // "All pseudo-header fields MUST appear in a field block before all regular field lines. […] The same
        // pseudo-header field name MUST NOT appear more than once in a field block." (RFC 9113 §8.3)
        self.is_malformed |= !self.lines.is_empty();
        self.has_pseudo = true;
        let value = self.keep(field.value);
        match self.pseudo.get_mut(slot) {
            Some(place @ None) => *place = Some(value),
            // One of responses, or a second one.
            _ => self.is_malformed = true,
        }
    }

    fn keep(&mut self, text: &[u8]) -> Span {
        let begin = self.text.len();
        self.text.extend_from_slice(text);
        let end = self.text.len();
        Span { begin, end }
    }

    /// Forgets everything, for the next section.
    pub(super) fn clear(&mut self) {
        self.text.clear();
        if self.text.capacity() < ROOM {
            // The texts of several requests share one allocation.
            self.text.reserve(CHUNK);
        }
        self.lines.clear();
        self.lines.reserve(LINES);
        self.pseudo = [None; PSEUDO];
        self.cookies = 0;
        self.bytes = 0;
        self.is_malformed = false;
        self.has_pseudo = false;
    }

    /// Gives its room back: an idle connection holds none.
    pub(super) fn shrink(&mut self) {
        *self = Self::default();
    }

    /// The section as that of a request, with our offer of extended CONNECT or without.
    pub(super) fn request(&mut self, settings: &ServeSettings, extended_connect: bool) -> Result<Section, Refused> {
        let text = self.text.split().freeze();
        if self.is_malformed {
            return Err(Refused::Malformed);
        }
        let pseudo = Pseudo {
            method: self.slice(&text, Known::METHOD.index()),
            scheme: self.slice(&text, Known::SCHEME.index()),
            authority: self.slice(&text, Known::AUTHORITY.index()),
            path: self.slice(&text, Known::PATH.index()),
            protocol: self.slice(&text, PROTOCOL),
        };
        let method = pseudo.check(extended_connect)?;
        pseudo.check_target(settings.uri_bytes_max).map_err(Refused::Answered)?;
        // The crumbs of a cookie become one field.
        if self.lines.len() - self.cookies.saturating_sub(1) > settings.fields_max {
            return Err(Refused::Answered(ParseError::TooManyFields));
        }
        let (fields, mut notable) = self.fields(&text)?;
        let mut parts = Box::<Head>::default();
        parts.method = method;
        parts.version = Version::HTTP_2;
        parts.headers = fields.into();
        pseudo.give_target(&mut parts)?;
        if self.cookies > 1 {
            join_cookies(&mut parts.headers);
        }
        let connects = pseudo.protocol.is_some();
        if let Some(protocol) = &pseudo.protocol {
            connect::translate(&mut parts, protocol).map_err(Refused::Answered)?;
            notable = Notable::of(&parts.headers) | Notable::CONNECT;
        }
        let (length, expects_continue) = said(&mut parts, notable, settings).map_err(Refused::Answered)?;
        Ok(Section {
            parts,
            notable,
            length,
            expects_continue,
            connects,
            bytes: self.bytes,
        })
    }

    /// The section as trailers; `None` where it is malformed.
    pub(super) fn trailers(&mut self) -> Option<HeaderMap> {
        let text = self.text.split().freeze();
        if self.is_malformed {
            return None;
        }
        let (mut fields, _) = self.fields(&text).ok()?;
        hop_by_hop::remove_from_trailers(&mut fields);
        Some(fields)
    }

    /// Whether there is a pseudo-header field.
    pub(super) const fn has_pseudo(&self) -> bool {
        self.has_pseudo
    }

    fn slice(&self, text: &Bytes, slot: usize) -> Option<Bytes> {
        self.pseudo[slot].map(|span| text.slice(span.begin..span.end))
    }

    /// The fields but those, and what is notable among them.
    fn fields(&self, text: &Bytes) -> Result<(HeaderMap, Notable), Refused> {
        // Room for Host.
        let mut fields = HeaderMap::with_capacity(self.lines.len() + 1);
        let mut notable = Notable::default();
        for line in &self.lines {
            let value = text.slice(line.value.begin..line.value.end);
            let value = HeaderValue::from_maybe_shared(value).map_err(|_| Refused::Malformed)?;
            let name = match line.known.header() {
                Some((name, kind)) => {
                    notable = notable | *kind;
                    name.clone()
                }
                None => {
                    let name = HeaderName::from_lowercase(&text[line.name.begin..line.name.end]);
                    let name = name.map_err(|_| Refused::Malformed)?;
                    notable = notable | Notable::kind(&name);
                    name
                }
            };
            fields.append(name, value);
        }
        Ok((fields, notable))
    }
}

fn is_blank(byte: Option<&u8>) -> bool {
    matches!(byte, Some(b' ' | b'\t'))
}

/// The pseudo-header fields of a request.
struct Pseudo {
    method: Option<Bytes>,
    scheme: Option<Bytes>,
    authority: Option<Bytes>,
    path: Option<Bytes>,
    protocol: Option<Bytes>,
}

impl Pseudo {
    /// Whether those are there that have to be, and no others; the method.
    fn check(&self, extended_connect: bool) -> Result<Method, Refused> {
        let method = self.method.as_ref().ok_or(Refused::Malformed)?;
        let method = Method::from_bytes(method).map_err(|_| Refused::Malformed)?;
        let (has_scheme, has_path) = (
            self.scheme.is_some(),
            self.path.as_ref().is_some_and(|path| !path.is_empty()),
        );
        let is_right = match (&self.protocol, method == Method::CONNECT) {
            // "The ":scheme" and ":path" pseudo-header fields MUST be omitted. […] A CONNECT request that does not conform
            // to these restrictions is malformed" (RFC 9113 §8.5)
            (None, true) => !has_scheme && self.path.is_none() && self.authority.is_some(),
            // "All HTTP/2 requests MUST include exactly one valid value for the ":method", ":scheme", and ":path"
            // pseudo-header fields, unless they are CONNECT requests" (§8.3.1)
            (None, false) => has_scheme && has_path,
            // "On requests that contain the :protocol pseudo-header field, the :scheme and :path pseudo-header fields of the
            // target URI MUST also be included." (RFC 8441 §4) That there is a host is seen to as for other requests.
            (Some(_), true) => extended_connect && has_scheme && has_path,
            (Some(_), false) => false,
        };
        is_right.then_some(method).ok_or(Refused::Malformed)
    }

    fn check_target(&self, max: usize) -> Result<(), ParseError> {
        let Some(path) = &self.path else { return Ok(()) };
        if path.len() > max {
            return Err(ParseError::TargetTooLong);
        }
        // As for HTTP/1: octets beyond ASCII have to be percent-encoded, and a fragment is no part of a target.
        let is_whole = path[0] == b'/' || path[..] == *b"*";
        if !is_whole || path.iter().any(|byte| *byte == b'#' || !byte.is_ascii_graphic()) {
            return Err(ParseError::Malformed("request target"));
        }
        Ok(())
    }

    /// Makes the target that of a request by HTTP/1: its path, and Host. Where that cannot be told, or is wrong, it is left as
    /// it was received, for the service to say so.
    fn give_target(&self, parts: &mut Head) -> Result<(), Refused> {
        let target = || Refused::Answered(ParseError::Malformed("request target"));
        let (Some(scheme), Some(path)) = (&self.scheme, &self.path) else {
            let authority = self.authority.clone().ok_or(Refused::Malformed)?;
            parts.uri = Authority::from_maybe_shared(authority).map_err(|_| target())?.into();
            return Ok(());
        };
        let path = PathAndQuery::from_maybe_shared(path.clone()).map_err(|_| target())?;
        let is_http = scheme.eq_ignore_ascii_case(b"http") || scheme.eq_ignore_ascii_case(b"https");
        match &self.authority {
            Some(authority) if is_http && !parts.headers.contains_key(HOST) => {
                let host = HeaderValue::from_maybe_shared(authority.clone()).map_err(|_| Refused::Malformed)?;
                parts.headers.insert(HOST, host);
                parts.uri = path.into();
            }
            None if is_http => parts.uri = path.into(),
            authority => {
                // A scheme without an authority makes no URI; the service refuses a foreign one, whatever the host.
                let mut uri = Uri::builder().scheme(&scheme[..]).path_and_query(path);
                uri = uri.authority(authority.as_deref().unwrap_or(b"unknown.invalid"));
                parts.uri = uri.build().map_err(|_| Refused::Malformed)?;
                if host::effective_host(parts).is_ok() {
                    host::to_origin_form(parts);
                }
            }
        }
        Ok(())
    }
}

/// The announced length, and whether leave to send is asked for.
fn said(parts: &mut Head, notable: Notable, settings: &ServeSettings) -> Result<(Option<u64>, bool), ParseError> {
    let mut length = None;
    if notable.any(Notable::FRAMING) {
        let framing = framing::of_request(Version::HTTP_2, &mut parts.headers, settings.body_bytes_max)?;
        length = match framing {
            Framing::Length(length) => Some(length),
            Framing::None => Some(0),
            Framing::Chunked | Framing::UntilClose => None,
        };
    }
    let expects_continue = notable.any(Notable::EXPECT) && framing::expects_continue(Version::HTTP_2, &parts.headers)?;
    Ok((length, expects_continue))
}

/// "If there are multiple Cookie header fields after decompression, these MUST be concatenated into a single octet string
/// using the two-octet delimiter of 0x3b, 0x20 (the ASCII string "; ") before being passed into a non-HTTP/2 context"
/// (RFC 9113 §8.2.3).
fn join_cookies(fields: &mut HeaderMap) {
    let crumbs: Vec<&[u8]> = fields.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_maybe_shared(Bytes::from(crumbs.join(&b"; "[..]))) {
        fields.insert(COOKIE, joined);
    }
}

#[cfg(test)]
pub(in crate::http2) mod tests;
