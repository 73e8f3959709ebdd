//! Frames in whatever pieces, too many of them, and octets that mean nothing.

use http::StatusCode;
use proptest::prelude::*;

use super::*;
use crate::http::body::Body;
use crate::http::known::Known;
use crate::http2::head::tests::settings;
use crate::http2::hpack::encode;
use crate::http2::settings::Http2Settings;
use crate::time::mono_now;

pub(in crate::http2) const OWN: Http2Settings = Http2Settings {
    streams_max: 4,
    stream_window: 1000,
    connection_window: 100_000,
    send_buffer_max: 40_000,
    extended_connect: true,
};

/// A client and its connection, without a socket between them.
pub(in crate::http2) struct Client {
    reader: Reader,
    pub(in crate::http2) session: Session,
    settings: ServeSettings,
    now: MonoTime,
}

impl Client {
    /// One that has said its preface and these settings.
    pub(in crate::http2) fn new(said: &[(u16, u32)]) -> Self {
        let mut client = Self::silent();
        let mut first = PREFACE.to_vec();
        frame::put_settings(&mut first, said);
        assert_eq!(client.send(&first), Ok(()));
        client.session.out = Default::default();
        client
    }

    fn silent() -> Self {
        let (settings, now) = (settings(), mono_now());
        Self {
            reader: Reader::new(BytesMut::new()),
            session: Session::new(OWN, settings.head_bytes_max, now),
            settings,
            now,
        }
    }

    pub(in crate::http2) fn send(&mut self, octets: &[u8]) -> Result<(), Broken> {
        self.reader.buf.extend_from_slice(octets);
        let limits = Limits {
            settings: &self.settings,
            extended_connect: true,
        };
        self.reader.take_frames(&mut self.session, limits, self.now)
    }

    pub(in crate::http2) fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result<(), Broken> {
        self.send(&framed(kind, flags, stream, payload))
    }

    /// Begins a request, and ends it.
    pub(in crate::http2) fn get(&mut self, stream: u32) {
        let flags = END_HEADERS | END_STREAM;
        assert_eq!(self.frame(kind::HEADERS, flags, stream, &block(GET)), Ok(()));
    }

    /// The frames that are to be sent: type, flags, stream, length.
    pub(in crate::http2) fn sent(&mut self) -> Vec<(u8, u8, u32, usize)> {
        let octets = self.session.out.take_all();
        let (mut rest, mut frames) = (&octets[..], Vec::new());
        while let Some(head) = rest.first_chunk() {
            let head = frame::Head::parse(*head);
            let length = head.length as usize;
            frames.push((head.kind, head.flags, head.stream, length));
            rest = &rest[frame::HEAD + length..];
        }
        frames
    }
}

const END_HEADERS: u8 = flag::END_HEADERS;
const END_STREAM: u8 = flag::END_STREAM;
pub(in crate::http2) const GET: &[(&str, &str)] = &[
    (":method", "GET"),
    (":scheme", "http"),
    (":authority", "a.example"),
    (":path", "/"),
];

pub(in crate::http2) fn framed(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::put(&mut out, kind, flags, stream, payload);
    out
}

pub(in crate::http2) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        encode::field(&mut out, Known::of(name.as_bytes()), name.as_bytes(), value.as_bytes());
    }
    out
}

#[test]
fn a_connection_says_the_same_however_its_octets_are_cut() {
    let get = block(GET);
    let (one, other) = get.split_at(7);
    let script = [
        PREFACE.to_vec(),
        framed(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 9]),
        framed(kind::HEADERS, END_STREAM, 1, one),
        framed(kind::CONTINUATION, END_HEADERS, 1, other),
        framed(kind::HEADERS, END_HEADERS, 3, &get),
        framed(kind::DATA, 0, 3, &[b'x'; 600]),
        framed(kind::PING, 0, 0, &[7; 8]),
        framed(kind::DATA, END_STREAM | flag::PADDED, 3, &[1, b'y', 0]),
        framed(0xbe, 0, 9, &[1; 100]),
        framed(kind::RST_STREAM, 0, 1, &[0, 0, 0, 8]),
        framed(kind::DATA, 0, 1, &[b'z'; 3]),
    ]
    .concat();
    let heard = |piece: usize| {
        let mut client = Client::silent();
        for octets in script.chunks(piece) {
            assert_eq!(client.send(octets), Ok(()), "{piece}");
        }
        assert!(!client.reader.has_more());
        let content = client.session.streams.get(3).map(|stream| stream.inbox.content.len());
        (client.sent(), client.session.accepted.len(), content)
    };
    let whole = heard(usize::MAX);
    assert_eq!((whole.1, whole.2), (2, Some(601)));
    for piece in [1, 2, 3, 8, 9, 10, 100, 1000] {
        assert_eq!(heard(piece), whole, "{piece}");
    }
}

#[test]
fn a_preface_that_is_none_shows_at_its_first_octet_and_settings_must_follow() {
    let fault = Err(Broken::Fault(Code::ProtocolError));
    assert_eq!(Client::silent().send(b"GET /"), fault);
    assert_eq!(Client::silent().send(b"PRI * HTTP/2.0\r\n\r\nXX"), fault);
    assert_eq!(Client::silent().send(&PREFACE[..23]), Ok(()));
    for first in [
        framed(kind::PING, 0, 0, &[0; 8]),
        framed(kind::SETTINGS, 1, 0, &[]),
        framed(kind::HEADERS, 5, 1, &block(GET)),
    ] {
        assert_eq!(Client::silent().send(&[PREFACE, &first].concat()), fault);
    }
}

#[test]
fn too_many_pieces_errors_and_frames_are_floods() {
    let mut client = Client::new(&[]);
    assert_eq!(client.frame(kind::HEADERS, 0, 1, &block(GET)), Ok(()));
    let mut pieces = (0..).map(|_| client.frame(kind::CONTINUATION, 0, 1, &[]));
    let flood = pieces.find(Result::is_err);
    assert_eq!(flood, Some(Err(Broken::Flood(Flood::Continuation))));

    let mut client = Client::new(&[]);
    assert_eq!(client.frame(kind::HEADERS, 0, 1, &block(GET)), Ok(()));
    let piece = block(&[("x", &"y".repeat(10_000))]);
    let mut pieces = (0..).map(|_| client.frame(kind::CONTINUATION, 0, 1, &piece));
    let flood = pieces.find(Result::is_err);
    assert_eq!(flood, Some(Err(Broken::Flood(Flood::Continuation))), "too large");

    // A client that lets us reset its requests (CVE-2025-8671).
    let mut client = Client::new(&[]);
    let flood = (0..).find_map(|n| {
        let id = 2 * n + 1;
        client.get(id);
        let flood = client.frame(kind::WINDOW_UPDATE, 0, id, &[0; 4]).err();
        while client.session.take_accepted().is_ready() {}
        client.session.leave(id);
        flood
    });
    assert_eq!(flood, Some(Broken::Flood(Flood::Errors)));
}

#[test]
fn streams_beyond_the_limit_are_refused_and_make_place_when_they_are_over() {
    let mut client = Client::new(&[]);
    for id in [1, 3, 5, 7, 9] {
        client.get(id);
    }
    assert_eq!(client.sent(), [(kind::RST_STREAM, 0, 9, 4)]);
    assert_eq!((client.session.accepted.len(), client.session.refused), (4, 1));
    // Taken back: there is place for more, but not for ever more than exchanges have heard of it.
    for id in [1, 3, 5, 7] {
        assert_eq!(client.frame(kind::RST_STREAM, 0, id, &[0, 0, 0, 8]), Ok(()));
    }
    for id in [11, 13, 15, 17] {
        client.get(id);
        assert_eq!(client.frame(kind::RST_STREAM, 0, id, &[0, 0, 0, 8]), Ok(()));
    }
    client.get(19);
    assert_eq!(client.sent(), [(kind::RST_STREAM, 0, 19, 4)]);
    assert!(client.session.take_accepted().is_pending(), "nobody wants any of them");
    client.get(21);
    assert!(client.session.take_accepted().is_ready());
}

#[test]
fn a_head_that_is_too_large_is_answered_and_the_tables_stay_right() {
    let mut client = Client::new(&[]);
    // Indexed, so that the next one can name it.
    let entry = [&[0x40, 1, b'x', 2][..], b"yz"].concat();
    let large = [entry, block(GET), block(&[("x-large", &"l".repeat(17_000))])].concat();
    assert_eq!(client.frame(kind::HEADERS, 0, 1, &large[..16_000]), Ok(()));
    assert_eq!(client.frame(kind::CONTINUATION, 5, 1, &large[16_000..]), Ok(()));
    let next = [block(GET), vec![0xbe]].concat();
    assert_eq!(client.frame(kind::HEADERS, 5, 3, &next), Ok(()));
    let heads: Vec<_> = client
        .session
        .accepted
        .drain(..)
        .map(|accepted| accepted.head)
        .collect();
    assert_eq!(heads[0].as_ref().unwrap_err(), &ParseError::HeadTooLarge);
    assert_eq!(heads[1].as_ref().unwrap().parts.headers["x"], "yz");
}

#[test]
fn an_answer_to_a_stream_is_framed_at_once() {
    let mut client = Client::new(&[]);
    client.get(1);
    assert!(client.session.take_accepted().is_ready());
    let sent = client
        .session
        .send_head(1, false, |out| encode::status(out, StatusCode::OK.as_u16()));
    assert_eq!(sent, Ok(()));
    let content = Body::from("hello");
    let Body::Full(content) = content else {
        panic!("at hand")
    };
    assert_eq!(client.session.send_content(1, content, true), Ok(()));
    assert!(client.session.has_sent_all(1));
    client.session.leave(1);
    let expected = [(kind::HEADERS, END_HEADERS, 1, 1), (kind::DATA, END_STREAM, 1, 5)];
    assert_eq!(client.sent(), expected);
    assert_eq!(
        client.frame(kind::HEADERS, 5, 1, &block(GET)),
        Err(Broken::Fault(Code::StreamClosed))
    );
}

fn some_frame() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        Just(block(GET)),
        Just(vec![0; 4]),
        Just(vec![0, 0, 0, 1, 9]),
        Just(vec![0, 4, 0, 0, 0, 1]),
        Just(vec![0; 8]),
        prop::collection::vec(any::<u8>(), 0..40),
    ];
    (0..11_u8, any::<u8>(), 0..8_u32, payload).prop_map(|(kind, flags, stream, payload)| {
        // Mostly what ends a section, so that there are streams.
        framed(kind, flags | END_HEADERS, stream, &payload)
    })
}

proptest! {
    #[test]
    fn whatever_a_client_sends_nothing_breaks_and_what_is_kept_is_bounded(
        frames in prop::collection::vec(some_frame(), 1..60),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
    ) {
        let mut octets = frames.concat();
        for (at, byte) in flips {
            let at = at.index(octets.len());
            octets[at] = byte;
        }
        let mut client = Client::new(&[]);
        let whole = client.send(&octets);
        prop_assert!(client.session.streams.len() <= 2 * OWN.streams_max as usize);
        let kept: usize = client.session.streams.iter().map(|stream| stream.inbox.content.len()).sum();
        prop_assert!(kept <= OWN.connection_window as usize);
        let mut again = Client::new(&[]);
        let pieces = octets.chunks(5).map(|piece| again.send(piece)).find(Result::is_err).unwrap_or(Ok(()));
        prop_assert_eq!(whole, pieces);
    }
}
