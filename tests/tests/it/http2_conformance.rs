//! What RFC 9113 and RFC 7541 say must be refused, and what must not be: one connection per row, frame by frame.
//!
//! Sections and rows follow those that public conformance suites try. A refusal of a stream may be one of the connection,
//! and any refusal may be its end: "An endpoint can end a connection at any time" (RFC 9113 §5.4.2). The h2 crate says
//! `PROTOCOL_ERROR` in places where the RFC has a finer word; then, too, the connection has to end.

use tests::http2::{DATA, GOAWAY, HEADERS, Http2, PING, RST_STREAM, SETTINGS, code, head};
use tests::origin::Origin;
use tests::setup::Setup;

const PRIORITY: u8 = 2;
const PUSH_PROMISE: u8 = 5;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITIZED: u8 = 0x20;
const ACK: u8 = 1;

const PROTOCOL: u32 = 1;
const FLOW_CONTROL: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE: u32 = 6;
const REFUSED: u32 = 7;
const COMPRESSION: u32 = 9;

/// A frame: type, flags, stream, content.
type Sent = (u8, u8, u32, Vec<u8>);

/// What has to come of a row.
#[derive(Clone, Copy, Debug)]
enum Expected {
    /// GOAWAY with one of these codes, or with `PROTOCOL_ERROR`; then, or without it, the end of the connection.
    Connection(&'static [u32]),
    /// `RST_STREAM` with one of these codes; or what is right for a connection.
    Stream(&'static [u32]),
    /// The connection lives: a PING is answered.
    Alive,
    /// A response on stream 1.
    Response,
}
use Expected::{Alive, Connection, Response, Stream};

fn get() -> Vec<u8> {
    with(&[])
}

fn with(more: &[(&str, &str)]) -> Vec<u8> {
    let plain = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "www.example.com"),
        (":path", "/"),
    ];
    head(&[&plain, more].concat())
}

fn post(more: &[(&str, &str)]) -> Vec<u8> {
    let plain = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "www.example.com"),
        (":path", "/"),
    ];
    head(&[&plain, more].concat())
}

/// A whole GET on a stream.
fn whole(stream: u32) -> Sent {
    (HEADERS, END_HEADERS | END_STREAM, stream, get())
}

/// The beginning of a request with content.
fn open(stream: u32) -> Sent {
    (HEADERS, END_HEADERS, stream, post(&[]))
}

fn setting(key: u16, value: u32) -> Vec<u8> {
    [&key.to_be_bytes()[..], &value.to_be_bytes()].concat()
}

fn joined(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// Sends the frames of each row on a connection of its own and compares what comes.
#[track_caller]
fn hold(rows: Vec<(&str, Vec<Sent>, Expected)>) {
    let origin = Origin::saying("hello");
    let listen = "[{ address = '127.0.0.1:0', http2 = true }]";
    let tidegate = Setup::of(&origin.address()).set("front.listen", listen).start();
    let mut wrong = Vec::new();
    for (name, frames, expected) in rows {
        let mut client = Http2::connect(tidegate.address(), &[]);
        for (kind, flags, stream, content) in frames {
            client.send(kind, flags, stream, &content);
        }
        let seen = outcome(&mut client, expected);
        if let Err(seen) = seen {
            wrong.push(format!("{name}: {expected:?}, but {seen}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let mut client = Http2::connect(tidegate.address(), &[]);
    client.get(1, "/");
    assert_eq!(client.response(1).1, "hello", "the next client notices nothing");
}

fn outcome(client: &mut Http2, expected: Expected) -> Result<(), String> {
    const MARK: [u8; 8] = *b"mark....";
    if matches!(expected, Alive) {
        client.send(PING, 0, 0, &MARK);
    }
    let mut seen = Vec::new();
    while let Some(frame) = client.read_raw() {
        let right = match (frame.kind, expected) {
            (GOAWAY, Connection(codes) | Stream(codes)) => {
                (codes.contains(&code(&frame)) || code(&frame) == PROTOCOL) && client.ends()
            }
            (RST_STREAM, Stream(codes)) => codes.contains(&code(&frame)),
            (PING, Alive) if frame.content == MARK => frame.flags == ACK,
            (HEADERS, Response) => frame.stream == 1,
            // A response that was on its way already, settings, windows.
            _ => {
                seen.push(format!(
                    "type {} flags {:#x} on {}",
                    frame.kind, frame.flags, frame.stream
                ));
                if frame.kind == SETTINGS && frame.flags & ACK == 0 {
                    client.send(SETTINGS, ACK, 0, &[]);
                }
                if [GOAWAY, RST_STREAM].contains(&frame.kind) {
                    return Err(format!("{} with code {}", seen.join(", "), code(&frame)));
                }
                continue;
            }
        };
        return right
            .then_some(())
            .ok_or_else(|| format!("{frame:?} after {}", seen.join(", ")));
    }
    match expected {
        Connection(_) | Stream(_) if client.ends() => Ok(()),
        _ => Err(format!("nothing more after {}", seen.join(", "))),
    }
}

#[test]
fn frames_are_what_rfc_9113_section_4_says() {
    let long = vec![b'x'; 16_385];
    #[rustfmt::skip]
    let rows = vec![
        ("4.1 a frame of an unknown type", vec![(0x16, 0, 0, vec![0; 8])], Alive),
        ("4.1 unknown flags", vec![(PING, 0x16, 0, vec![0; 8])], Alive),
        ("4.1 the reserved bit of a stream", vec![(PING, 0, 1 << 31, vec![0; 8])], Alive),
        ("4.2 DATA of the largest size", vec![open(1), (DATA, END_STREAM, 1, vec![b'x'; 16_384])], Response),
        ("4.2 DATA that is larger", vec![open(1), (DATA, END_STREAM, 1, long.clone())], Stream(&[FRAME_SIZE])),
        ("4.2 HEADERS that are larger", vec![(HEADERS, END_HEADERS | END_STREAM, 1, long)], Connection(&[FRAME_SIZE])),
        ("4.3 a block that does not decode", vec![(HEADERS, END_HEADERS | END_STREAM, 1, joined(&[&get(), &[0x40]]))], Connection(&[COMPRESSION])),
        ("4.3 PRIORITY within a block", vec![(HEADERS, END_STREAM, 1, get()), (PRIORITY, 0, 1, vec![0, 0, 0, 0, 1])], Connection(&[PROTOCOL])),
        ("4.3 HEADERS of another stream within a block", vec![(HEADERS, END_STREAM, 1, get()), whole(3)], Connection(&[PROTOCOL])),
        ("5.5 an unknown frame within a block", vec![(HEADERS, END_STREAM, 1, get()), (0xff, 0, 1, vec![0; 4])], Connection(&[PROTOCOL])),
    ];
    hold(rows);
}

#[test]
fn what_is_right_is_answered_in_whatever_form() {
    let plain = |fields: &[(&str, &str)]| (HEADERS, END_HEADERS | END_STREAM, 1, head(fields));
    let block = |more: &[u8]| vec![(HEADERS, END_HEADERS | END_STREAM, 1, joined(&[&get(), more]))];
    let fields = |method| {
        let rest = [(":scheme", "http"), (":authority", "www.example.com"), (":path", "/")];
        [&[(":method", method)], &rest[..]].concat()
    };
    // "user-agent" is 58 in the static table; "test" is 49 50 9f by Huffman.
    let coded = [0x83, 0x49, 0x50, 0x9f];
    let indexed = joined(&[&[0x82, 0x86, 0x84, 0x41, 15], b"www.example.com"]);
    let (priority, reset) = (
        (PRIORITY, 0, 1, vec![0, 0, 0, 0, 255]),
        (RST_STREAM, 0, 1, vec![0, 0, 0, 8]),
    );
    #[rustfmt::skip]
    let rows = vec![
        ("2 PRIORITY of an idle stream", vec![priority.clone()], Alive),
        ("2 WINDOW_UPDATE of a half-closed stream", vec![whole(1), (WINDOW_UPDATE, 0, 1, vec![0, 0, 0, 100])], Response),
        ("2 PRIORITY of a half-closed stream", vec![whole(1), priority.clone()], Response),
        ("2 RST_STREAM of a half-closed stream", vec![whole(1), reset.clone()], Alive),
        ("2 PRIORITY of a closed stream", vec![whole(1), reset.clone(), priority], Alive),
        ("3.1 DATA in several frames", vec![open(1), (DATA, 0, 1, b"a".to_vec()), (DATA, END_STREAM, 1, b"b".to_vec())], Response),
        ("3.3 an exclusive dependency", vec![(PRIORITY, 0, 1, vec![0x80, 0, 0, 0, 15]), whole(1)], Response),
        ("3.3 PRIORITY of a stream, then a lower one", vec![(PRIORITY, 0, 5, vec![0, 0, 0, 0, 15]), whole(1)], Response),
        ("3.4 RST_STREAM", vec![open(1), reset], Alive),
        ("3.5 SETTINGS", vec![(SETTINGS, 0, 0, setting(3, 100))], Alive),
        ("3.8 GOAWAY", vec![(GOAWAY, 0, 0, vec![0; 8])], Alive),
        ("3.9 WINDOW_UPDATE on 0", vec![(WINDOW_UPDATE, 0, 0, vec![0, 0, 0, 1])], Alive),
        ("4 HEAD", vec![plain(&fields("HEAD"))], Response),
        ("4 OPTIONS", vec![plain(&fields("OPTIONS"))], Response),
        ("5 all by index", vec![(HEADERS, END_HEADERS | END_STREAM, 1, indexed)], Response),
        ("5 to be indexed, by a name's index", block(&[0x7a, 1, b'x']), Response),
        ("5 to be indexed, by a name's index, coded", block(&joined(&[&[0x7a], &coded])), Response),
        ("5 to be indexed, by a name", block(&[0x40, 1, b'x', 1, b'y']), Response),
        ("5 to be indexed, coded", block(&joined(&[&[0x40], &coded, &coded])), Response),
        ("5 not to be indexed, by a name's index", block(&[0x0f, 43, 1, b'x']), Response),
        ("5 not to be indexed, by a name's index, coded", block(&joined(&[&[0x0f, 43], &coded])), Response),
        ("5 not to be indexed, coded", block(&joined(&[&[0], &coded, &coded])), Response),
        ("5 never to be indexed, by a name's index", block(&[0x1f, 43, 1, b'x']), Response),
        ("5 never to be indexed, by a name", block(&[0x10, 1, b'x', 1, b'y']), Response),
        ("5 never to be indexed, coded", block(&joined(&[&[0x10], &coded, &coded])), Response),
        ("5 a table size", vec![(HEADERS, END_HEADERS | END_STREAM, 1, joined(&[&[0x3e], &get()]))], Response),
    ];
    hold(rows);
}

#[test]
fn what_does_not_begin_with_the_preface_is_not_spoken_to_as_http2() {
    let origin = Origin::saying("hello");
    let listen = "[{ address = '127.0.0.1:0', http2 = true }]";
    let tidegate = Setup::of(&origin.address()).set("front.listen", listen).start();
    let answer = tidegate.ask("INVALID CONNECTION PREFACE\r\n\r\n");
    assert_eq!(answer.status, 400);
    assert!(answer.says_close());
    // Right at first, wrong where only HTTP/2 can be meant.
    let mut client = tests::client::Client::connect(tidegate.address());
    client.send("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n");
    client.wait_for_end();
    assert_eq!(origin.connections(), 0);
}

#[test]
fn streams_go_through_their_states_as_section_5_says() {
    let reset = (RST_STREAM, 0, 1, vec![0, 0, 0, 8]);
    #[rustfmt::skip]
    let rows = vec![
        ("5.1 idle: DATA", vec![(DATA, END_STREAM, 1, b"x".to_vec())], Connection(&[PROTOCOL])),
        ("5.1 idle: RST_STREAM", vec![reset.clone()], Connection(&[PROTOCOL])),
        ("5.1 idle: WINDOW_UPDATE", vec![(WINDOW_UPDATE, 0, 1, vec![0, 0, 0, 100])], Connection(&[PROTOCOL])),
        ("5.1 idle: CONTINUATION", vec![(CONTINUATION, END_HEADERS, 1, get())], Connection(&[PROTOCOL])),
        ("5.1 half-closed: DATA", vec![whole(1), (DATA, END_STREAM, 1, b"x".to_vec())], Stream(&[STREAM_CLOSED])),
        ("5.1 half-closed: HEADERS", vec![whole(1), whole(1)], Stream(&[STREAM_CLOSED, PROTOCOL])),
        ("5.1 half-closed: CONTINUATION", vec![whole(1), (CONTINUATION, END_HEADERS, 1, get())], Stream(&[STREAM_CLOSED, PROTOCOL])),
        ("5.1 closed by reset: DATA", vec![open(1), reset.clone(), (DATA, END_STREAM, 1, b"x".to_vec())], Stream(&[STREAM_CLOSED])),
        ("5.1 closed by reset: HEADERS", vec![open(1), reset.clone(), whole(1)], Stream(&[STREAM_CLOSED])),
        ("5.1 closed by reset: CONTINUATION", vec![open(1), reset, (CONTINUATION, END_HEADERS, 1, get())], Stream(&[STREAM_CLOSED, PROTOCOL])),
        ("5.1.1 an even stream", vec![whole(2)], Connection(&[PROTOCOL])),
        ("5.1.1 a stream below an earlier one", vec![whole(5), whole(3)], Connection(&[PROTOCOL, STREAM_CLOSED])),
        ("5.1.2 more streams than allowed", (0..200).map(|n| open(2 * n + 1)).collect(), Stream(&[REFUSED, PROTOCOL])),
        ("5.3.1 HEADERS that depend on themselves", vec![(HEADERS, END_HEADERS | END_STREAM | PRIORITIZED, 1, joined(&[&[0, 0, 0, 1, 16], &get()]))], Stream(&[PROTOCOL])),
        ("5.3.1 PRIORITY that depends on itself", vec![(PRIORITY, 0, 1, vec![0, 0, 0, 1, 16])], Stream(&[PROTOCOL])),
        ("5.3 PRIORITY of an idle stream", vec![(PRIORITY, 0, 3, vec![0, 0, 0, 1, 16]), whole(1)], Response),
    ];
    hold(rows);
}

#[test]
fn each_frame_is_checked_as_section_6_says() {
    let increment = |by: u32| by.to_be_bytes().to_vec();
    #[rustfmt::skip]
    let rows = vec![
        ("6.1 DATA on 0", vec![open(1), (DATA, END_STREAM, 0, b"x".to_vec())], Connection(&[PROTOCOL])),
        ("6.1 more padding than DATA", vec![open(1), (DATA, END_STREAM | PADDED, 1, vec![9, 1, 1])], Connection(&[PROTOCOL])),
        ("6.1 padded DATA", vec![open(1), (DATA, END_STREAM | PADDED, 1, vec![2, 1, 0, 0])], Response),
        ("6.2 HEADERS on 0", vec![whole(0)], Connection(&[PROTOCOL])),
        ("6.2 more padding than HEADERS", vec![(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, joined(&[&[250], &get()]))], Connection(&[PROTOCOL])),
        ("6.2 padded HEADERS with a priority", vec![(HEADERS, END_HEADERS | END_STREAM | PADDED | PRIORITIZED, 1, joined(&[&[2, 0, 0, 0, 0, 16], &get(), &[0, 0]]))], Response),
        ("6.3 PRIORITY on 0", vec![(PRIORITY, 0, 0, vec![0, 0, 0, 1, 16])], Connection(&[PROTOCOL])),
        ("6.3 PRIORITY of 4 octets", vec![open(1), (PRIORITY, 0, 1, vec![0, 0, 0, 1])], Stream(&[FRAME_SIZE])),
        ("6.4 RST_STREAM on 0", vec![(RST_STREAM, 0, 0, vec![0, 0, 0, 8])], Connection(&[PROTOCOL])),
        ("6.4 RST_STREAM of 3 octets", vec![open(1), (RST_STREAM, 0, 1, vec![0, 0, 8])], Connection(&[FRAME_SIZE])),
        ("6.5 an ACK of SETTINGS with content", vec![(SETTINGS, ACK, 0, setting(3, 1))], Connection(&[FRAME_SIZE])),
        ("6.5 SETTINGS on 1", vec![(SETTINGS, 0, 1, setting(3, 100))], Connection(&[PROTOCOL])),
        ("6.5 SETTINGS of 3 octets", vec![(SETTINGS, 0, 0, vec![0, 3, 0])], Connection(&[FRAME_SIZE])),
        ("6.5.2 ENABLE_PUSH of 2", vec![(SETTINGS, 0, 0, setting(2, 2))], Connection(&[PROTOCOL])),
        ("6.5.2 a window of 2^31", vec![(SETTINGS, 0, 0, setting(4, 1 << 31))], Connection(&[FLOW_CONTROL])),
        ("6.5.2 a frame size below 2^14", vec![(SETTINGS, 0, 0, setting(5, 16_383))], Connection(&[PROTOCOL])),
        ("6.5.2 a frame size of 2^24", vec![(SETTINGS, 0, 0, setting(5, 1 << 24))], Connection(&[PROTOCOL])),
        ("6.5.2 an unknown setting", vec![(SETTINGS, 0, 0, setting(0xff, 1))], Alive),
        ("6.7 PING", vec![], Alive),
        ("6.7 an ACK that nobody waits for", vec![(PING, ACK, 0, b"invalid.".to_vec())], Alive),
        ("6.7 PING on 1", vec![(PING, 0, 1, vec![0; 8])], Connection(&[PROTOCOL])),
        ("6.7 PING of 6 octets", vec![(PING, 0, 0, vec![0; 6])], Connection(&[FRAME_SIZE])),
        ("6.8 GOAWAY on 1", vec![(GOAWAY, 0, 1, vec![0; 8])], Connection(&[PROTOCOL])),
        ("6.9 an increment of 0", vec![(WINDOW_UPDATE, 0, 0, increment(0))], Connection(&[PROTOCOL])),
        ("6.9 an increment of 0 on a stream", vec![open(1), (WINDOW_UPDATE, 0, 1, increment(0))], Stream(&[PROTOCOL])),
        ("6.9 WINDOW_UPDATE of 3 octets", vec![(WINDOW_UPDATE, 0, 0, vec![0, 0, 1])], Connection(&[FRAME_SIZE])),
        ("6.9.1 a window past 2^31 - 1", vec![(WINDOW_UPDATE, 0, 0, increment(i32::MAX as u32)), (WINDOW_UPDATE, 0, 0, increment(i32::MAX as u32))], Connection(&[FLOW_CONTROL])),
        ("6.9.1 a stream's window past 2^31 - 1", vec![open(1), (WINDOW_UPDATE, 0, 1, increment(i32::MAX as u32)), (WINDOW_UPDATE, 0, 1, increment(i32::MAX as u32))], Stream(&[FLOW_CONTROL])),
        ("6.10 CONTINUATIONs", vec![(HEADERS, END_STREAM, 1, get()), (CONTINUATION, 0, 1, head(&[("a", "b")])), (CONTINUATION, END_HEADERS, 1, head(&[("c", "d")]))], Response),
        ("6.10 HEADERS within", vec![(HEADERS, END_STREAM, 1, get()), (CONTINUATION, 0, 1, head(&[("a", "b")])), whole(1)], Connection(&[PROTOCOL])),
        ("6.10 CONTINUATION on 0", vec![(HEADERS, END_STREAM, 1, get()), (CONTINUATION, END_HEADERS, 0, head(&[("a", "b")]))], Connection(&[PROTOCOL])),
        ("6.10 CONTINUATION after the end", vec![open(1), (CONTINUATION, END_HEADERS, 1, head(&[("a", "b")]))], Connection(&[PROTOCOL])),
        ("6.10 CONTINUATION after a CONTINUATION that was the end", vec![(HEADERS, 0, 1, post(&[])), (CONTINUATION, END_HEADERS, 1, head(&[("a", "b")])), (CONTINUATION, END_HEADERS, 1, head(&[("a", "b")]))], Connection(&[PROTOCOL])),
        ("6.10 CONTINUATION after DATA", vec![open(1), (DATA, 0, 1, b"x".to_vec()), (CONTINUATION, END_HEADERS, 1, head(&[("a", "b")]))], Connection(&[PROTOCOL])),
        ("7 GOAWAY with an unknown code", vec![(GOAWAY, 0, 0, vec![0, 0, 0, 0, 0, 0, 0, 0xff])], Alive),
        ("7 RST_STREAM with an unknown code", vec![open(1), (RST_STREAM, 0, 1, vec![0, 0, 0, 0xff])], Alive),
        ("8.4 PUSH_PROMISE", vec![whole(1), (PUSH_PROMISE, END_HEADERS, 1, joined(&[&[0, 0, 0, 2], &get()]))], Connection(&[PROTOCOL])),
    ];
    hold(rows);
}

#[test]
fn malformed_messages_are_refused_as_section_8_says() {
    let refused = |fields: &[(&str, &str)]| vec![(HEADERS, END_HEADERS | END_STREAM, 1, head(fields))];
    let (method, scheme, authority, path) = (
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "www.example.com"),
        (":path", "/"),
    );
    let trailers = |fields: &[(&str, &str)]| {
        vec![
            open(1),
            (DATA, 0, 1, b"x".to_vec()),
            (HEADERS, END_HEADERS | END_STREAM, 1, head(fields)),
        ]
    };
    let sized = |length: &str, parts: &[&str]| {
        let mut frames = vec![(HEADERS, END_HEADERS, 1, post(&[("content-length", length)]))];
        let last = parts.len() - 1;
        frames.extend(parts.iter().enumerate().map(|(n, part)| {
            (
                DATA,
                if n == last { END_STREAM } else { 0 },
                1,
                part.as_bytes().to_vec(),
            )
        }));
        frames
    };
    #[rustfmt::skip]
    let rows = vec![
        ("8.1 HEADERS again without an end", vec![open(1), (DATA, 0, 1, b"x".to_vec()), (HEADERS, END_HEADERS, 1, head(&[("a", "b")]))], Stream(&[PROTOCOL])),
        ("8.1 trailers", trailers(&[("x-test", "ok")]), Response),
        ("8.2 a name in upper case", refused(&[method, scheme, authority, path, ("X-Test", "ok")]), Stream(&[PROTOCOL])),
        ("8.2.1 a line feed in a value", refused(&[method, scheme, authority, path, ("x-test", "a\nb")]), Stream(&[PROTOCOL])),
        ("8.2.1 a NUL in a value", refused(&[method, scheme, authority, path, ("x-test", "a\0b")]), Stream(&[PROTOCOL])),
        ("8.2.1 a space in a name", refused(&[method, scheme, authority, path, ("x test", "a")]), Stream(&[PROTOCOL])),
        ("8.3 an unknown pseudo-header field", refused(&[method, scheme, authority, path, (":test", "ok")]), Stream(&[PROTOCOL])),
        ("8.3 one of responses", refused(&[method, scheme, authority, path, (":status", "200")]), Stream(&[PROTOCOL])),
        ("8.1 a pseudo-header field in trailers", trailers(&[(":method", "GET")]), Connection(&[PROTOCOL])),
        ("8.1 one after a field of trailers", trailers(&[("x-test", "ok"), (":path", "/")]), Connection(&[PROTOCOL])),
        ("8.1 one by its index", vec![open(1), (HEADERS, END_HEADERS | END_STREAM, 1, vec![0x82])], Connection(&[PROTOCOL])),
        ("8.3 one after a field", refused(&[method, scheme, authority, ("x-test", "ok"), path]), Stream(&[PROTOCOL])),
        ("8.2.2 Connection", refused(&[method, scheme, authority, path, ("connection", "keep-alive")]), Stream(&[PROTOCOL])),
        ("8.2.2 Transfer-Encoding", refused(&[method, scheme, authority, path, ("transfer-encoding", "chunked")]), Stream(&[PROTOCOL])),
        ("8.2.2 TE other than trailers", refused(&[method, scheme, authority, path, ("te", "trailers, deflate;q=0.5")]), Stream(&[PROTOCOL])),
        ("8.3.1 an empty :path", refused(&[method, scheme, authority, (":path", "")]), Stream(&[PROTOCOL])),
        ("8.3.1 no :method", refused(&[scheme, authority, path]), Stream(&[PROTOCOL])),
        ("8.3.1 no :scheme", refused(&[method, authority, path]), Stream(&[PROTOCOL])),
        ("8.3.1 no :path", refused(&[method, scheme, authority]), Stream(&[PROTOCOL])),
        ("8.3.1 two :method", refused(&[method, method, scheme, authority, path]), Stream(&[PROTOCOL])),
        ("8.3.1 two :scheme", refused(&[method, scheme, scheme, authority, path]), Stream(&[PROTOCOL])),
        ("8.3.1 two :path", refused(&[method, scheme, authority, path, path]), Stream(&[PROTOCOL])),
        ("8.1.1 less DATA than announced", sized("5", &["abc"]), Stream(&[PROTOCOL])),
        ("8.1.1 more DATA than announced", sized("1", &["abc"]), Stream(&[PROTOCOL])),
        ("8.1.1 more in several DATA", sized("3", &["ab", "cd"]), Stream(&[PROTOCOL])),
        ("8.1.1 as much as announced", sized("4", &["ab", "cd"]), Response),
    ];
    hold(rows);
}

#[test]
fn header_blocks_are_decoded_as_rfc_7541_says() {
    let block = |more: &[u8]| vec![(HEADERS, END_HEADERS | END_STREAM, 1, joined(&[&get(), more]))];
    // A literal without indexing, of name "x", whose value is Huffman-coded.
    let coded = |value: &[u8]| {
        block(&joined(&[
            &[0, 1, b'x', 0x80 | u8::try_from(value.len()).unwrap_or(0)],
            value,
        ]))
    };
    #[rustfmt::skip]
    let rows = vec![
        ("2.3.3 an index past both tables", block(&[0xff, 0x00]), Connection(&[COMPRESSION])),
        ("2.3.3 a name's index past both tables", block(&[0x7f, 0x40, 1, b'x']), Connection(&[COMPRESSION])),
        ("4.2 a table size after fields", block(&[0x20]), Connection(&[COMPRESSION])),
        ("5.2 Huffman: padding of a whole octet", coded(&[0xf3, 0xff]), Connection(&[COMPRESSION])),
        ("5.2 Huffman: padding of zeros", coded(&[0xf2]), Connection(&[COMPRESSION])),
        ("5.2 Huffman: EOS", coded(&[0xff, 0xff, 0xff, 0xff]), Connection(&[COMPRESSION])),
        ("6.1 index 0", block(&[0x80]), Connection(&[COMPRESSION])),
        ("6.3 a table size past the limit", vec![(HEADERS, END_HEADERS | END_STREAM, 1, joined(&[&[0x3f, 0xe2, 0x1f], &get()]))], Connection(&[COMPRESSION])),
        ("6.3 a table size within it, twice", vec![(HEADERS, END_HEADERS | END_STREAM, 1, joined(&[&[0x20, 0x3f, 0xe1, 0x1f], &get()]))], Response),
    ];
    hold(rows);
}

#[test]
fn windows_are_obeyed_as_section_6_9_says() {
    let origin = Origin::saying("hello");
    let listen = "[{ address = '127.0.0.1:0', http2 = true }]";
    let tidegate = Setup::of(&origin.address()).set("front.listen", listen).start();
    // One octet at a time, and the last of several values of a setting counts (§6.5.3).
    let mut client = Http2::connect(tidegate.address(), &[(4, 100), (4, 1)]);
    client.get(1, "/");
    let first = client.read_until(DATA);
    assert_eq!(first.content, b"h");
    // A window that is changed later, and one that becomes negative (§6.9.2).
    client.send(SETTINGS, 0, 0, &setting(4, 3));
    assert_eq!(client.read_until(DATA).content, b"el");
    client.send(SETTINGS, 0, 0, &setting(4, 2));
    client.send(WINDOW_UPDATE, 0, 1, &2_u32.to_be_bytes());
    assert_eq!(client.read_until(DATA).content, b"l");
    client.send(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes());
    assert_eq!(client.read_until(DATA).content, b"o");
}
