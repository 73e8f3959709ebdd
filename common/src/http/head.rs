//! The head of a request. Its fields are a map for whoever looks into them as one, and stay the lines they came in until
//! then: what a hit needs to know of them is found there, and most requests to a cache are never more than a hit.

use std::fmt;
use std::ops::{BitOr, Deref, DerefMut};
use std::sync::OnceLock;

use bytes::Bytes;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};

use super::field_lines;
use super::known::Known;
use super::request::Notable;

/// Method, target, version and fields of a request.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// The method.
    pub method: Method,
    /// The target, in any of its four forms.
    pub uri: Uri,
    /// The version that it came in.
    pub version: Version,
    /// The fields.
    pub headers: RequestFields,
    /// What the steps on its way have noted.
    pub extensions: Extensions,
}

impl Head {
    /// It with a body, as a request of the crate `http`.
    pub fn into_request<B>(self, body: B) -> http::Request<B> {
        let mut request = http::Request::new(body);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.version_mut() = self.version;
        *request.headers_mut() = self.headers.into_map();
        *request.extensions_mut() = self.extensions;
        request
    }
}

impl From<http::request::Parts> for Head {
    fn from(parts: http::request::Parts) -> Self {
        Self {
            method: parts.method,
            uri: parts.uri,
            version: parts.version,
            headers: parts.headers.into(),
            extensions: parts.extensions,
        }
    }
}

/// The fields of a request: a map that is made when it is first looked into.
#[derive(Clone, Default)]
pub struct RequestFields {
    /// As they came, as long as nobody has changed the map.
    lines: Option<Lines>,
    map: OnceLock<HeaderMap>,
}

/// Field lines of printable ASCII.
#[derive(Clone, Debug)]
struct Lines {
    text: Bytes,
    // INVARIANT: names are tokens; each is followed by ": ", its value and CRLF, all within `text`.
    lines: Vec<Line>,
}

/// Where the parts of a field line are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Line {
    /// Where its name begins.
    pub begin: u32,
    /// Where its name ends.
    pub colon: u32,
    /// Where its value begins.
    pub value: u32,
    /// Where its value ends.
    pub end: u32,
    /// Which name it is, where that has a number.
    pub known: Known,
}

impl Lines {
    fn kinds(&self) -> impl Iterator<Item = Notable> {
        self.lines.iter().map(|line| line.kind(&self.text))
    }
}

impl Line {
    fn name(self, text: &[u8]) -> Option<HeaderName> {
        match self.known.header() {
            Some((name, _)) => Some(name.clone()),
            None => HeaderName::from_bytes(&text[self.begin as usize..self.colon as usize]).ok(),
        }
    }

    fn kind(self, text: &[u8]) -> Notable {
        match self.known.header() {
            Some((_, kind)) => *kind,
            None => Notable::kind_in_any_case(&text[self.begin as usize..self.colon as usize]),
        }
    }

    const fn value(self) -> std::ops::Range<usize> {
        self.value as usize..self.end as usize
    }
}

impl RequestFields {
    /// The fields that these lines of `text` are: tokens as names, printable ASCII as values, as [`Lines`] wants them.
    pub(crate) const fn read(text: Bytes, lines: Vec<Line>) -> Self {
        Self {
            lines: Some(Lines { text, lines }),
            map: OnceLock::new(),
        }
    }

    /// The values of all lines of a name that has a number, in order. Makes no map.
    pub fn values(&self, name: Known) -> impl Iterator<Item = &[u8]> {
        let lines = self.lines.iter().flat_map(move |fields| {
            let named = fields.lines.iter().filter(move |line| line.known == name);
            named.map(|line| &fields.text[line.value()])
        });
        let map = match (&self.lines, name.header()) {
            (None, Some((name, _))) => Some(self.get_all(name).iter().map(HeaderValue::as_bytes)),
            _ => None,
        };
        lines.chain(map.into_iter().flatten())
    }

    /// The value of the first line of a name that has a number. Makes no map.
    pub fn first(&self, name: Known) -> Option<&[u8]> {
        self.values(name).next()
    }

    /// Makes the map now: for a head that is copied, and whose copies are looked into.
    pub fn make_map(&mut self) {
        let _: &mut HeaderMap = self;
    }

    /// Which kinds of fields there are. Makes no map.
    pub fn notable(&self) -> Notable {
        match &self.lines {
            Some(fields) => fields.kinds().fold(Notable::default(), BitOr::bitor),
            None => Notable::of(self),
        }
    }

    /// Takes out what ends at this hop where that is `Connection: keep-alive` or `close` and nothing else; tells whether
    /// it was that. Makes no map.
    pub(super) fn take_plain_connection(&mut self) -> bool {
        let Some(Lines { text, lines }) = &mut self.lines else {
            return false;
        };
        let is_plain = |line: &Line| {
            let said = &text[line.value()];
            line.known == Known::CONNECTION
                && (said.eq_ignore_ascii_case(b"keep-alive") || said.eq_ignore_ascii_case(b"close"))
        };
        let stays = |line: &Line| !line.kind(text).any(Notable::HOP_BY_HOP);
        if !lines.iter().all(|line| stays(line) || is_plain(line)) {
            return false;
        }
        lines.retain(stays);
        // One that was made before has it still.
        self.map = OnceLock::new();
        true
    }

    /// Appends all lines as they go onto the wire: names as they came, as long as nobody has changed anything.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let Some(Lines { text, lines }) = &self.lines else {
            return field_lines::write_map(out, self);
        };
        // Those that stand together are copied together.
        let mut run = 0..0;
        for line in lines {
            let (begin, end) = (line.begin as usize, line.end as usize + 2);
            if begin != run.end {
                out.extend_from_slice(&text[run.clone()]);
                run.start = begin;
            }
            run.end = end;
        }
        out.extend_from_slice(&text[run]);
    }

    fn into_map(mut self) -> HeaderMap {
        std::mem::take(&mut *self)
    }

    fn to_map(&self) -> HeaderMap {
        let Some(fields) = &self.lines else {
            return HeaderMap::new();
        };
        let mut map = HeaderMap::with_capacity(fields.lines.len());
        for line in &fields.lines {
            let value = HeaderValue::from_maybe_shared(fields.text.slice(line.value()));
            if let (Some(name), Ok(value)) = (line.name(&fields.text), value) {
                map.append(name, value);
            } else {
                debug_assert!(false, "a token, and printable ASCII");
            }
        }
        map
    }
}

impl From<HeaderMap> for RequestFields {
    fn from(map: HeaderMap) -> Self {
        Self {
            lines: None,
            map: map.into(),
        }
    }
}

/// As the map that it is, whether it was made or not.
impl fmt::Debug for RequestFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl Deref for RequestFields {
    type Target = HeaderMap;

    fn deref(&self) -> &HeaderMap {
        self.map.get_or_init(|| self.to_map())
    }
}

impl DerefMut for RequestFields {
    fn deref_mut(&mut self) -> &mut HeaderMap {
        // From here on the map alone says what there is.
        let map = match self.map.take() {
            Some(map) => map,
            None => self.to_map(),
        };
        self.lines = None;
        self.map.get_or_init(|| map);
        self.map.get_mut().expect("invariant: it was set above")
    }
}

#[cfg(test)]
mod tests {
    use http::header::{HOST, USER_AGENT};

    use super::*;

    fn fields(lines: &[(&str, &str)]) -> RequestFields {
        let (mut text, mut places) = (String::new(), Vec::new());
        let place = |text: &str| u32::try_from(text.len()).unwrap();
        for (name, value) in lines {
            let begin = place(&text);
            text.push_str(name);
            let colon = place(&text);
            text.push_str(": ");
            text.push_str(value);
            let end = place(&text);
            let known = Known::of_any_case(name.as_bytes());
            places.push(Line {
                begin,
                colon,
                value: colon + 2,
                end,
                known,
            });
            text.push_str("\r\n");
        }
        RequestFields::read(text.into(), places)
    }

    #[test]
    fn fields_say_the_same_as_lines_and_as_a_map() {
        let cookies = |fields: &RequestFields| fields.values(Known::COOKIE).map(<[u8]>::to_vec).collect::<Vec<_>>();
        let fields = fields(&[("Host", "a"), ("X-Mine", "1"), ("cookie", "a"), ("COOKIE", "b")]);
        for is_map in [false, true] {
            assert_eq!(fields.map.get().is_some(), is_map);
            assert_eq!(fields.first(Known::HOST), Some(&b"a"[..]));
            assert_eq!(fields.first(Known::EXPECT), None);
            assert_eq!(cookies(&fields), [b"a", b"b"]);
            // The first look makes the map.
            assert_eq!((fields.len(), &fields["x-mine"]), (4, &HeaderValue::from_static("1")));
        }
    }

    #[test]
    fn lines_go_on_as_they_came_but_for_a_plain_connection() {
        let written = |fields: &RequestFields| {
            let mut out = Vec::new();
            fields.write(&mut out);
            String::from_utf8(out).unwrap()
        };
        for (lines, is_plain, expected) in [
            (&[("Host", "a"), ("X-Mine", "1")][..], true, "Host: a\r\nX-Mine: 1\r\n"),
            (
                &[("Host", "a"), ("Connection", "Keep-Alive"), ("A", "b")],
                true,
                "Host: a\r\nA: b\r\n",
            ),
            (
                &[("connection", "close"), ("Host", "a"), ("CONNECTION", "keep-alive")],
                true,
                "Host: a\r\n",
            ),
            (
                &[("Connection", "close, a"), ("A", "b")],
                false,
                "Connection: close, a\r\nA: b\r\n",
            ),
            (
                &[("Connection", "close"), ("Keep-Alive", "5")],
                false,
                "Connection: close\r\nKeep-Alive: 5\r\n",
            ),
            (&[("TE", "trailers")], false, "TE: trailers\r\n"),
            (&[], true, ""),
        ] {
            let mut fields = fields(lines);
            let notable = Notable::of(&HeaderMap::clone(&fields));
            assert_eq!(fields.notable(), notable);
            assert_eq!(
                (fields.take_plain_connection(), &*written(&fields)),
                (is_plain, expected)
            );
            let names: Vec<_> = expected.lines().filter_map(|line| line.split(':').next()).collect();
            assert_eq!(fields.len(), names.len(), "the map is of what is left");
            assert!(names.iter().all(|name| fields.contains_key(*name)));
            // As a map it is written in lower case.
            fields.remove("nothing");
            assert_eq!(written(&fields).len(), expected.len());
            assert_eq!(
                (fields.take_plain_connection(), fields.notable()),
                (false, Notable::of(&fields))
            );
        }
    }

    #[test]
    fn what_was_changed_is_what_there_is() {
        let (mut fields, mut other) = (fields(&[("host", "a"), ("accept", "*/*")]), fields(&[("host", "a")]));
        fields.insert(HOST, HeaderValue::from_static("b"));
        fields.insert(USER_AGENT, HeaderValue::from_static("c"));
        assert_eq!(fields.first(Known::HOST), Some(&b"b"[..]));
        assert_eq!(fields.first(Known::USER_AGENT), Some(&b"c"[..]));
        assert_eq!(fields.first(Known::ACCEPT), Some(&b"*/*"[..]));
        fields.clear();
        assert_eq!((fields.first(Known::HOST), fields.len()), (None, 0));
        assert_eq!(other.remove(HOST).unwrap(), "a");
        let empty = RequestFields::default();
        assert_eq!((empty.first(Known::HOST), empty.len()), (None, 0));
    }
}
