//! What RFC 9113 and RFC 7541 say must be refused, and what must not be: one connection per row, frame by frame.
//!
//! Sections and rows are those of h2spec's generic, http2 and hpack suites, and what RFC 9113 says beyond RFC 7540. Where
//! such suites take any end of the connection for an answer, here the code has to be right, and a connection that lost a
//! stream has to live.

use tests::http2::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, Http2, PADDED, PING, PRIORITY,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, code, head,
};
use tests::origin::Origin;
use tests::script::Script;
use tests::setup::Setup;
use tests::wait::Gate;

const PUSH_PROMISE: u8 = 5;
/// The flag PRIORITY.
const PRIORITIZED: u8 = 0x20;

const PROTOCOL: u32 = 1;
const FLOW_CONTROL: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE: u32 = 6;
const REFUSED: u32 = 7;
const COMPRESSION: u32 = 9;

/// A frame: type, flags, stream, content.
type Sent = (u8, u8, u32, Vec<u8>);

/// What has to come of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// GOAWAY with one of these codes, then the end of the connection.
    Connection(&'static [u32]),
    /// `RST_STREAM` with one of these codes, and the connection lives.
    Stream(&'static [u32]),
    /// It depends on what was there first, or the RFC leaves it open: either of them.
    Either(&'static [u32]),
    /// The connection lives: a PING is answered.
    Alive,
    /// A response on stream 1.
    Response,
}
use Expected::{Alive, Connection, Either, Response, Stream};

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

/// Windows of 0, and so many whole GETs.
fn shut_and_ask(count: u32) -> Vec<Sent> {
    let mut frames = vec![(SETTINGS, 0, 0, setting(4, 0))];
    frames.extend((0..count).map(|n| whole(2 * n + 1)));
    frames
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
    hold_after(rows, |_| {});
}

/// The same, after something was said on each connection.
#[track_caller]
fn hold_after(rows: Vec<(&str, Vec<Sent>, Expected)>, before: impl Fn(&mut Http2)) {
    let origin = Origin::saying("hello");
    let listen = "[{ address = '127.0.0.1:0', http2 = true }]";
    let tidegate = Setup::of(&origin.address()).set("front.listen", listen).start();
    let mut wrong = Vec::new();
    for (name, frames, expected) in rows {
        let mut client = Http2::connect(tidegate.address(), &[]);
        before(&mut client);
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
    if expected == Alive {
        return lives(client);
    }
    let mut seen = Vec::new();
    while let Some(frame) = client.read_raw() {
        match (frame.kind, expected) {
            (GOAWAY, Connection(codes) | Either(codes)) if codes.contains(&code(&frame)) => {
                return client.ends().then_some(()).ok_or_else(|| "it does not end".to_owned());
            }
            (RST_STREAM, Stream(codes)) if codes.contains(&code(&frame)) => return lives(client),
            (RST_STREAM, Either(codes)) if codes.contains(&code(&frame)) => return Ok(()),
            (HEADERS, Response) if frame.stream == 1 => return Ok(()),
            (GOAWAY | RST_STREAM, _) => return Err(format!("{frame:?} after {}", seen.join(", "))),
            // A response that was on its way already, settings, windows.
            _ => {
                let Frame {
                    kind, flags, stream, ..
                } = frame;
                seen.push(format!("type {kind} flags {flags:#x} on {stream}"));
                acknowledge(client, &frame);
            }
        }
    }
    Err(format!("nothing more after {}", seen.join(", ")))
}

/// Whether a PING is answered, be it on the way to an orderly end.
fn lives(client: &mut Http2) -> Result<(), String> {
    const MARK: [u8; 8] = *b"mark....";
    client.send(PING, 0, 0, &MARK);
    while let Some(frame) = client.read_raw() {
        match frame.kind {
            PING if frame.content == MARK && frame.flags == ACK => return Ok(()),
            GOAWAY if code(&frame) == 0 => return Ok(()),
            PING if frame.content == UNASKED => return Err("an answer to an answer".to_owned()),
            GOAWAY => return Err(format!("{frame:?} for the answer to a PING")),
            _ => acknowledge(client, &frame),
        }
    }
    Err("no answer to a PING".to_owned())
}

/// The content of an answer to no PING.
const UNASKED: [u8; 8] = *b"invalid.";

fn acknowledge(client: &mut Http2, frame: &Frame) {
    if frame.kind == SETTINGS && frame.flags & ACK == 0 {
        client.send(SETTINGS, ACK, 0, &[]);
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
        ("4.2 DATA that is larger", vec![open(1), (DATA, END_STREAM, 1, long.clone())], Either(&[FRAME_SIZE])),
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
        // The response may have gone before: then the stream is closed.
        ("5.1 half-closed: DATA", vec![whole(1), (DATA, END_STREAM, 1, b"x".to_vec())], Either(&[STREAM_CLOSED])),
        ("5.1 half-closed: HEADERS", vec![whole(1), whole(1)], Either(&[STREAM_CLOSED])),
        ("5.1 half-closed: CONTINUATION", vec![whole(1), (CONTINUATION, END_HEADERS, 1, get())], Connection(&[PROTOCOL])),
        ("5.1 closed by reset: DATA", vec![open(1), reset.clone(), (DATA, END_STREAM, 1, b"x".to_vec())], Stream(&[STREAM_CLOSED])),
        ("5.1 closed by reset: HEADERS", vec![open(1), reset.clone(), whole(1)], Stream(&[STREAM_CLOSED])),
        ("5.1 closed by reset: CONTINUATION", vec![open(1), reset, (CONTINUATION, END_HEADERS, 1, get())], Connection(&[PROTOCOL])),
        ("5.1.1 an even stream", vec![whole(2)], Connection(&[PROTOCOL])),
        ("5.1.1 a stream below an earlier one", vec![whole(5), whole(3)], Connection(&[PROTOCOL])),
        ("5.1.1 a stream twice", vec![whole(5), whole(5)], Either(&[STREAM_CLOSED])),
        ("5.1.2 more streams than allowed", (0..200).map(|n| open(2 * n + 1)).collect(), Stream(&[REFUSED])),
        ("5.1.2 more than allowed whose responses wait for a window", shut_and_ask(200), Stream(&[REFUSED])),
        ("5.3.1 HEADERS that depend on themselves", vec![(HEADERS, END_HEADERS | END_STREAM | PRIORITIZED, 1, joined(&[&[0, 0, 0, 1, 16], &get()]))], Stream(&[PROTOCOL])),
        // RST_STREAM is not for an idle stream.
        ("5.3.1 PRIORITY of an idle stream that depends on itself", vec![(PRIORITY, 0, 1, vec![0, 0, 0, 1, 16])], Either(&[PROTOCOL])),
        ("5.3.1 PRIORITY that depends on itself", vec![open(1), (PRIORITY, 0, 1, vec![0, 0, 0, 1, 16])], Stream(&[PROTOCOL])),
        ("5.3 PRIORITY of an idle stream", vec![(PRIORITY, 0, 3, vec![0, 0, 0, 1, 16]), whole(1)], Response),
    ];
    hold(rows);
}

#[test]
fn nothing_comes_for_a_stream_that_is_over() {
    #[rustfmt::skip]
    let rows = vec![
        ("5.1 closed: DATA", vec![(DATA, END_STREAM, 1, b"x".to_vec())], Connection(&[STREAM_CLOSED])),
        ("5.1 closed: HEADERS", vec![whole(1)], Connection(&[STREAM_CLOSED])),
        ("5.1 closed: CONTINUATION", vec![(CONTINUATION, END_HEADERS, 1, head(&[("a", "b")]))], Connection(&[PROTOCOL])),
        ("5.1 closed: PRIORITY", vec![(PRIORITY, 0, 1, vec![0, 0, 0, 0, 255])], Alive),
        ("5.1 closed: WINDOW_UPDATE", vec![(WINDOW_UPDATE, 0, 1, vec![0, 0, 0, 9])], Alive),
        ("5.1 closed: RST_STREAM", vec![(RST_STREAM, 0, 1, vec![0, 0, 0, 8])], Alive),
        ("5.1.1 a stream that was passed over", vec![whole(5), whole(3)], Connection(&[PROTOCOL])),
    ];
    hold_after(rows, |client| {
        client.get(1, "/");
        assert_eq!(client.response(1).1, "hello");
    });
}

#[test]
fn a_client_that_goes_away_is_let_go() {
    for code in [0, 0xff] {
        let origin = Origin::saying("hello");
        let listen = "[{ address = '127.0.0.1:0', http2 = true }]";
        let tidegate = Setup::of(&origin.address()).set("front.listen", listen).start();
        let mut client = Http2::connect(tidegate.address(), &[]);
        client.get(1, "/");
        client.send(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, code]);
        assert_eq!(client.response(1).1, "hello", "what it asked before is answered");
        assert!(client.ends());
    }
}

#[test]
fn the_server_begins_with_its_settings_and_acknowledges_ours() {
    let origin = Origin::saying("hello");
    let listen = "[{ address = '127.0.0.1:0', http2 = true }]";
    let tidegate = Setup::of(&origin.address()).set("front.listen", listen).start();
    let mut client = Http2::connect(tidegate.address(), &[]);
    let first = client.read_raw().unwrap();
    assert_eq!((first.kind, first.flags, first.stream), (SETTINGS, 0, 0));
    let acks = |client: &mut Http2, count: usize| {
        let mut found = 0;
        while found < count {
            let frame = client.read_raw().unwrap();
            found += usize::from((frame.kind, frame.flags, frame.content.len()) == (SETTINGS, ACK, 0));
        }
    };
    acks(&mut client, 1);
    for _ in 0..3 {
        client.send(SETTINGS, 0, 0, &setting(2, 0));
    }
    acks(&mut client, 3);
}

#[test]
fn clients_are_told_what_the_configuration_lets_them_do() {
    let origin = Origin::saying("hello");
    let tidegate = Setup::of(&origin.address())
        .set("front.listen", "[{ address = '127.0.0.1:0', http2 = true }]")
        .set("front.request_head_max", "'20KiB'")
        .set("front.http2.streams_max", "7")
        .set("front.http2.stream_window", "'128KiB'")
        .set("front.http2.connection_window", "'2MiB'")
        .start();
    let mut client = Http2::connect(tidegate.address(), &[]);
    let told = client.read_raw().unwrap().content;
    let expected = [(3, 7), (4, 128 << 10), (6, 20 << 10), (8, 1)];
    assert_eq!(told, expected.map(|(key, value)| setting(key, value)).concat());
    let window = client.read_raw().unwrap();
    assert_eq!((window.kind, window.stream), (WINDOW_UPDATE, 0));
    assert_eq!(window.content, ((2 << 20) - 65_535_u32).to_be_bytes());
}

#[test]
fn content_beyond_a_window_is_a_flow_control_error() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start(move |_| Script::new().wait(&held).close());
    let listen = "[{ address = '127.0.0.1:0', http2 = true }]";
    let tidegate = Setup::of(&origin.address()).set("front.listen", listen).start();
    let mut client = Http2::connect(tidegate.address(), &[]);
    client.send(HEADERS, END_HEADERS, 1, &post(&[]));
    // Nobody reads it: what the sockets on the way to the origin hold is far less.
    for _ in 0..2_048 {
        if !client.send(DATA, 0, 1, &[b'x'; 16_384]) {
            break;
        }
    }
    let mut found = None;
    while let Some(frame) = client.read() {
        if [RST_STREAM, GOAWAY].contains(&frame.kind) {
            found = Some(code(&frame));
            break;
        }
    }
    // The octets that were still coming may have cut the answer off.
    assert!(found.is_none_or(|code| code == FLOW_CONTROL), "{found:?}");
    assert!(found.is_some() || client.ends());
    gate.open();
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
        ("6.4 RST_STREAM of 3 octets, half-closed", vec![whole(1), (RST_STREAM, 0, 1, vec![0, 0, 8])], Connection(&[FRAME_SIZE])),
        ("6.5 an ACK of SETTINGS with an octet", vec![(SETTINGS, ACK, 0, vec![0])], Connection(&[FRAME_SIZE])),
        ("6.5 SETTINGS on 1", vec![(SETTINGS, 0, 1, setting(3, 100))], Connection(&[PROTOCOL])),
        ("6.5 SETTINGS of 3 octets", vec![(SETTINGS, 0, 0, vec![0, 3, 0])], Connection(&[FRAME_SIZE])),
        ("6.5.2 ENABLE_PUSH of 2", vec![(SETTINGS, 0, 0, setting(2, 2))], Connection(&[PROTOCOL])),
        ("6.5.2 a window of 2^31", vec![(SETTINGS, 0, 0, setting(4, 1 << 31))], Connection(&[FLOW_CONTROL])),
        ("6.5.2 a frame size below 2^14", vec![(SETTINGS, 0, 0, setting(5, 16_383))], Connection(&[PROTOCOL])),
        ("6.5.2 a frame size of 2^24", vec![(SETTINGS, 0, 0, setting(5, 1 << 24))], Connection(&[PROTOCOL])),
        ("6.5.2 an unknown setting", vec![(SETTINGS, 0, 0, setting(0xff, 1))], Alive),
        ("6.7 PING", vec![], Alive),
        ("6.7 an ACK that nobody waits for", vec![(PING, ACK, 0, UNASKED.to_vec())], Alive),
        ("6.7 PING on 1", vec![(PING, 0, 1, vec![0; 8])], Connection(&[PROTOCOL])),
        ("6.7 PING of 6 octets on 1", vec![(PING, 0, 1, vec![0; 6])], Connection(&[PROTOCOL, FRAME_SIZE])),
        ("6.7 PING of 6 octets", vec![(PING, 0, 0, vec![0; 6])], Connection(&[FRAME_SIZE])),
        ("6.8 GOAWAY on 1", vec![(GOAWAY, 0, 1, vec![0; 8])], Connection(&[PROTOCOL])),
        ("6.9 an increment of 0", vec![(WINDOW_UPDATE, 0, 0, increment(0))], Connection(&[PROTOCOL])),
        ("6.9 an increment of 0 on a stream", vec![open(1), (WINDOW_UPDATE, 0, 1, increment(0))], Stream(&[PROTOCOL])),
        ("6.9 WINDOW_UPDATE of 3 octets", vec![(WINDOW_UPDATE, 0, 0, vec![0, 0, 1])], Connection(&[FRAME_SIZE])),
        ("6.9.2 a setting that makes a window too large", vec![open(1), (WINDOW_UPDATE, 0, 1, increment(i32::MAX as u32 - 65_535)), (SETTINGS, 0, 0, setting(4, 65_536))], Connection(&[FLOW_CONTROL])),
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
#[expect(clippy::too_many_lines, reason = "a table")]
fn malformed_messages_are_refused_as_section_8_says() {
    let block = |parts: &[&[u8]]| vec![(HEADERS, END_HEADERS | END_STREAM, 1, parts.concat())];
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
        ("8.2.1 a carriage return in a value", refused(&[method, scheme, authority, path, ("x-test", "a\rb")]), Stream(&[PROTOCOL])),
        ("8.2.1 a space before a value", refused(&[method, scheme, authority, path, ("x-test", " a")]), Stream(&[PROTOCOL])),
        ("8.2.1 a tab after a value", refused(&[method, scheme, authority, path, ("x-test", "a\t")]), Stream(&[PROTOCOL])),
        ("8.2.1 an empty name", refused(&[method, scheme, authority, path, ("", "a")]), Stream(&[PROTOCOL])),
        ("8.2.1 a colon in a name", refused(&[method, scheme, authority, path, ("x:test", "a")]), Stream(&[PROTOCOL])),
        ("8.2.1 an octet beyond ASCII in a name", refused(&[method, scheme, authority, path, ("x-tést", "a")]), Stream(&[PROTOCOL])),
        ("8.2.1 upper case in trailers", trailers(&[("X-Test", "ok")]), Stream(&[PROTOCOL])),
        ("8.2.2 a connection-specific field in trailers", trailers(&[("connection", "close")]), Stream(&[PROTOCOL])),
        ("8.2.1 a space in a name", refused(&[method, scheme, authority, path, ("x test", "a")]), Stream(&[PROTOCOL])),
        ("8.3 an unknown pseudo-header field", refused(&[method, scheme, authority, path, (":test", "ok")]), Stream(&[PROTOCOL])),
        ("8.3 one of responses", refused(&[method, scheme, authority, path, (":status", "200")]), Stream(&[PROTOCOL])),
        ("8.1 a pseudo-header field in trailers", trailers(&[(":method", "GET")]), Connection(&[PROTOCOL])),
        ("8.1 one after a field of trailers", trailers(&[("x-test", "ok"), (":path", "/")]), Connection(&[PROTOCOL])),
        ("8.1 a pseudo-header field in trailers that end nothing", vec![open(1), (DATA, 0, 1, b"x".to_vec()), (HEADERS, END_HEADERS, 1, head(&[(":method", "POST")]))], Either(&[PROTOCOL])),
        ("8.1 one of the dynamic table", vec![(HEADERS, END_HEADERS, 1, joined(&[&post(&[]), &[0x44, 2, b'/', b'x']])), (HEADERS, END_HEADERS | END_STREAM, 1, vec![0xbe])], Either(&[PROTOCOL])),
        ("8.1 one by its index", vec![open(1), (HEADERS, END_HEADERS | END_STREAM, 1, vec![0x82])], Connection(&[PROTOCOL])),
        ("8.3 one after a field", refused(&[method, scheme, authority, ("x-test", "ok"), path]), Stream(&[PROTOCOL])),
        ("8.2.2 Connection", refused(&[method, scheme, authority, path, ("connection", "keep-alive")]), Stream(&[PROTOCOL])),
        ("8.3 one of the dynamic table after a field", block(&[&head(&[method, scheme, authority])[..], &[0x44, 2, b'/', b'x'], &head(&[("x-test", "ok")]), &[0xbe]]), Stream(&[PROTOCOL])),
        ("8.3 pseudo-header fields after a field", refused(&[("x-test", "ok"), method, scheme, authority, path]), Stream(&[PROTOCOL])),
        ("8.2 a name in upper case by Huffman", block(&[&get()[..], &[0, 0x81, 0b1111_1100, 1, b'x']]), Stream(&[PROTOCOL])),
        ("8.2.2 Keep-Alive", refused(&[method, scheme, authority, path, ("keep-alive", "1")]), Stream(&[PROTOCOL])),
        ("8.2.2 Proxy-Connection", refused(&[method, scheme, authority, path, ("proxy-connection", "close")]), Stream(&[PROTOCOL])),
        ("8.2.2 Upgrade", refused(&[method, scheme, authority, path, ("upgrade", "websocket")]), Stream(&[PROTOCOL])),
        ("8.2.2 TE that says trailers", refused(&[method, scheme, authority, path, ("te", "trailers")]), Response),
        ("8.2.2 Transfer-Encoding", refused(&[method, scheme, authority, path, ("transfer-encoding", "chunked")]), Stream(&[PROTOCOL])),
        ("8.2.2 TE other than trailers", refused(&[method, scheme, authority, path, ("te", "trailers, deflate;q=0.5")]), Stream(&[PROTOCOL])),
        ("8.3.1 an empty :path", refused(&[method, scheme, authority, (":path", "")]), Stream(&[PROTOCOL])),
        ("8.3.1 no :method", refused(&[scheme, authority, path]), Stream(&[PROTOCOL])),
        ("8.3.1 no :scheme", refused(&[method, authority, path]), Stream(&[PROTOCOL])),
        ("8.3.1 no :path", refused(&[method, scheme, authority]), Stream(&[PROTOCOL])),
        ("8.3.1 two :method", refused(&[method, method, scheme, authority, path]), Stream(&[PROTOCOL])),
        ("8.3.1 two :scheme", refused(&[method, scheme, scheme, authority, path]), Stream(&[PROTOCOL])),
        ("8.3.1 no field but two", refused(&[authority, path]), Stream(&[PROTOCOL])),
        ("8.3.1 a second :method of another kind", refused(&[method, scheme, authority, path, (":method", "/")]), Stream(&[PROTOCOL])),
        ("8.3.1 two :authority", refused(&[method, scheme, authority, authority, path]), Stream(&[PROTOCOL])),
        ("8.3.1 no field at all", refused(&[]), Stream(&[PROTOCOL])),
        ("8.3.1 a :path that is none is answered 400", refused(&[method, scheme, authority, (":path", "index")]), Response),
        ("8.3.1 a :method that is none", refused(&[(":method", "G T"), scheme, authority, path]), Stream(&[PROTOCOL])),
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
