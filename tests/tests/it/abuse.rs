//! Slow, broken and hostile clients of every kind, and an honest one beside them: it notices nothing, and afterwards the
//! memory is as before. What each of them gets is the business of other tests.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use tests::certificates::Made;
use tests::client::{Client, get, request};
use tests::http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame,
    head,
};
use tests::programs::skipped;
use tests::setup::Setup;
use tests::sys::raise_open_files;
use tests::tidegate::{Tidegate, folder};
use tests::tls::Tls;
use tests::wait::{Gate, eventually};

use crate::crowds::{LARGE, origin};

/// Where the listeners are.
struct Target {
    plain: String,
    tls: String,
    proxied: String,
}

/// What one of them does; it holds these connections until the probe is done.
type Abuse = fn(&Target) -> Vec<TcpStream>;

#[rustfmt::skip]
const KINDS: &[(&str, Abuse)] = &[
    ("connects and says nothing", |to| many(100, &to.plain, b"")),
    ("half a request line", |to| many(100, &to.plain, b"GET /sto")),
    ("half a head", |to| many(100, &to.plain, b"GET / HTTP/1.1\r\nHost: www.example.com\r\nX: ")),
    ("a head, byte by byte", |to| byte_by_byte(to, &get("/small"))),
    ("a body, byte by byte", |to| byte_by_byte(to, &request("POST", "/small", "Content-Length: 999\r\n", "some"))),
    ("a body that never comes", |to| many(100, &to.plain, request("POST", "/small", "Content-Length: 9\r\n", "").as_bytes())),
    ("100-continue that is not continued", |to| {
        many(100, &to.plain, request("POST", "/small", "Content-Length: 9\r\nExpect: 100-continue\r\n", "").as_bytes())
    }),
    ("reads nothing of what is stored", |to| many(100, &to.plain, get("/large").as_bytes())),
    ("reads nothing of what passes", |to| many(50, &to.plain, get("/passed").as_bytes())),
    ("sends requests and reads no answer", |to| many(20, &to.plain, get("/large").repeat(500).as_bytes())),
    ("ends its side and reads nothing", |to| {
        let held = many(50, &to.plain, get("/large").as_bytes());
        held.iter().for_each(|socket| drop(socket.shutdown(std::net::Shutdown::Write)));
        held
    }),
    ("connects and leaves", |to| nobody_stays((0..500).map(|_| dial(&to.plain)))),
    ("asks and leaves", |to| nobody_stays((0..300).map(|_| saying(&to.plain, get("/large").as_bytes())))),
    ("stays after its last answer", |to| many(200, &to.plain, get("/small").as_bytes())),
    ("stays after a refusal", |to| many(100, &to.plain, b"NONSENSE\r\n\r\n and more")),
    ("empty lines without end", |to| many(10, &to.plain, &b"\r\n".repeat(100_000))),
    ("a head without end", |to| many(10, &to.plain, &[b"GET / HTTP/1.1\r\nHost: a\r\nX: ", &[b'x'; LARGE][..]].concat())),
    ("fields without end", |to| many(10, &to.plain, &[&b"GET / HTTP/1.1\r\nHost: a\r\n"[..], &b"X: y\r\n".repeat(50_000)].concat())),
    ("a target without end", |to| many(10, &to.plain, &[b"GET /", &[b'x'; LARGE][..]].concat())),
    ("chunks of one byte", |to| many(10, &to.plain, (chunked() + &"1\r\nx\r\n".repeat(50_000)).as_bytes())),
    ("a chunk extension without end", |to| many(10, &to.plain, (chunked() + "1;" + &"x".repeat(LARGE)).as_bytes())),
    ("trailers without end", |to| many(10, &to.plain, (chunked() + "0\r\n" + &"X: y\r\n".repeat(50_000)).as_bytes())),
    ("a thousand ranges", |to| {
        let ranges: Vec<_> = (0..1_000).map(|at| format!("{at}-")).collect();
        many(20, &to.plain, request("GET", "/large", &format!("Range: bytes={}\r\n", ranges.join(",")), "").as_bytes())
    }),
    ("an upgrade that is none", |to| {
        many(50, &to.plain, request("GET", "/small", "Connection: upgrade\r\nUpgrade: websocket\r\n", "").as_bytes())
    }),
    ("a PROXY header that does not end", |to| many(50, &to.proxied, b"PROXY TCP4 192.0.2.1 ")),
    ("garbage for a PROXY header", |to| many(50, &to.proxied, &[0xfe; 4096])),
    ("TLS: connects and says nothing", |to| many(100, &to.tls, b"")),
    ("TLS: half a ClientHello", |to| many(100, &to.tls, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")),
    ("TLS: garbage", |to| many(100, &to.tls, &[0xa5; 4096])),
    ("TLS: HTTP without it", |to| many(100, &to.tls, get("/small").as_bytes())),
    ("TLS: handshakes and no more", |to| {
        let tls = Tls::offering(&[]);
        nobody_stays((0..50).map(|_| tls.connect(&to.tls, "www.example.com")))
    }),
    ("HTTP/2: no window", |to| http2(10, to, &[no_window(), requests(100, "/large", true)].concat())),
    ("HTTP/2: no window, nothing stored", |to| http2(2, to, &[no_window(), requests(100, "/passed", true)].concat())),
    ("HTTP/2: requests that do not end", |to| http2(20, to, &requests(100, "/small", false))),
    ("HTTP/2: the preface and no more", |to| http2(50, to, b"")),
    ("HTTP/2: rapid reset", |to| http2(5, to, &(0..5_000).flat_map(|stream| {
        [asking(2 * stream + 1, "/passed", true), frame(RST_STREAM, 0, 2 * stream + 1, &[0, 0, 0, 8])].concat()
    }).collect::<Vec<_>>())),
    ("HTTP/2: CONTINUATION without end", |to| {
        http2(5, to, &[frame(HEADERS, 0, 1, &[]), frame(CONTINUATION, 0, 1, &[]).repeat(50_000)].concat())
    }),
    ("HTTP/2: CONTINUATION with content", |to| {
        http2(5, to, &[frame(HEADERS, 0, 1, &[]), frame(CONTINUATION, 0, 1, &head(&[("x", "y")]).repeat(1_000)).repeat(200)].concat())
    }),
    ("HTTP/2: PING flood", |to| http2(5, to, &frame(PING, 0, 0, &[0; 8]).repeat(50_000))),
    ("HTTP/2: SETTINGS flood", |to| http2(5, to, &frame(SETTINGS, 0, 0, &[]).repeat(50_000))),
    ("HTTP/2: empty DATA", |to| http2(5, to, &[requests(1, "/small", false), frame(DATA, 0, 1, &[]).repeat(50_000)].concat())),
    ("HTTP/2: WINDOW_UPDATE flood", |to| http2(5, to, &frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]).repeat(50_000))),
    ("HTTP/2: PRIORITY flood", |to| http2(5, to, &frame(PRIORITY, 0, 3, &[0, 0, 0, 1, 9]).repeat(50_000))),
    ("HTTP/2: HPACK bomb", |to| {
        // One large entry of the dynamic table, named sixteen thousand times.
        let entry = [&[0x40, 1, b'x', 0x7f, 0x81, 0x1e][..], &[b'y'; 4_000]].concat();
        let head = [entry, vec![0xbe; 12_000]].concat();
        http2(5, to, &frame(HEADERS, END_HEADERS | END_STREAM, 1, &head))
    }),
    ("HTTP/2: garbage after the preface", |to| http2(20, to, &[0x5a; 65_536])),
];

#[test]
fn whoever_abuses_the_front_others_are_served_and_the_memory_comes_back() {
    let limit = raise_open_files(4_096);
    if limit < 2_048 {
        return skipped(&format!("abuse: only {limit} files may be open"));
    }
    let origin = origin();
    let (_folder, path) = folder();
    let certificate = Made::ecdsa(&["www.example.com"]).write(&path, "www");
    let listen = "[{ address = '127.0.0.1:0', http2 = true }, { address = '[::1]:0', tls = 'test' }, \
                  { address = '127.0.0.2:0', proxy_protocol = true, proxy_from = ['127.0.0.0/8'] }]";
    let tidegate = Setup::of(&origin.address())
        .set("front.listen", listen)
        .set("tls.test.certificates", &format!("[{}]", certificate.entry()))
        .set("origin.o.keepalive", "1")
        .start();
    let target = Target {
        plain: tidegate.address().to_owned(),
        tls: tidegate.front.address_of("[::1]:0").to_owned(),
        proxied: tidegate.front.address_of("127.0.0.2:0").to_owned(),
    };
    for path in ["/large", "/passed"] {
        assert_eq!(tidegate.get(path).text().len(), LARGE);
    }
    probe(&target, "nothing");
    let base = tidegate.front.process.memory();
    for (what, abuse) in KINDS {
        beside(&target, what, *abuse);
        eventually(&format!("they are gone: {what}"), || {
            tidegate.metric("tidegate_connections_open", "") == 0
        });
        memory_is_back(&tidegate, base, what);
    }
    for (name, labels) in COUNTED {
        assert!(
            tidegate.metric(name, labels) > 0,
            "{name}{{{labels}}}: the abuse came to something"
        );
    }
    let log = tidegate.front.process.log();
    assert!(!log.contains("panicked"), "{log}");
}

/// What must have risen, so that the abuse above was what it means to be.
const COUNTED: [(&str, &str); 10] = [
    ("tidegate_http2_floods_total", "kind=\"ping\""),
    ("tidegate_http2_floods_total", "kind=\"settings\""),
    ("tidegate_http2_floods_total", "kind=\"empty\""),
    ("tidegate_http2_floods_total", "kind=\"protocol\""),
    ("tidegate_limit_hits_total", "limit=\"request_head\""),
    ("tidegate_limit_hits_total", "limit=\"uri\""),
    ("tidegate_requests_malformed_total", ""),
    ("tidegate_proxy_headers_refused_total", "cause=\"malformed\""),
    ("tidegate_tls_handshake_failures_total", "cause=\"malformed\""),
    ("tidegate_tls_handshake_failures_total", "cause=\"plain_http\""),
];

/// The probe, from the first byte of the abuse on until some while after its last.
fn beside(target: &Target, what: &str, abuse: Abuse) {
    let done = Gate::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let held = abuse(target);
            assert!(done.pass());
            drop(held);
        });
        probe(target, what);
        done.wait_for_arrivals(1);
        probe(target, what);
        done.open();
    });
}

/// An honest client: on a connection that is kept, on new ones, and with TLS.
#[track_caller]
fn probe(target: &Target, beside: &str) {
    let mut kept = Client::connect(&target.plain);
    for _ in 0..5 {
        let mut new = Client::connect(&target.plain);
        for client in [&mut kept, &mut new] {
            let response = client.get("/small");
            assert_eq!((response.status, &*response.text()), (200, "hello"), "beside {beside}");
        }
    }
    let mut client = Tls::offering(&[]).connect(&target.tls, "www.example.com").unwrap();
    let answer = client.ask(&get("/small"), "hello");
    assert!(answer.starts_with("HTTP/1.1 200 "), "beside {beside}: {answer}");
}

fn memory_is_back(tidegate: &Tidegate, base: u64, what: &str) {
    let most = base + base / 10;
    let memory = || tidegate.front.process.memory();
    eventually(
        &format!(
            "memory is back to {most} from {base} bytes after {what}; now {}",
            memory()
        ),
        || memory() <= most,
    );
}

fn dial(address: &str) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    // Who floods does not wait to be read.
    socket.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    socket
}

/// A connection that sent as much of this as was taken.
fn saying(address: &str, bytes: &[u8]) -> TcpStream {
    let mut socket = dial(address);
    drop(socket.write_all(bytes));
    socket
}

fn many(count: usize, address: &str, bytes: &[u8]) -> Vec<TcpStream> {
    (0..count).map(|_| saying(address, bytes)).collect()
}

/// Fifty connections that send a byte each, round after round.
fn byte_by_byte(to: &Target, text: &str) -> Vec<TcpStream> {
    let mut held = many(50, &to.plain, b"");
    for byte in text.as_bytes().chunks(1).take(40) {
        for socket in &mut held {
            drop(socket.write_all(byte));
        }
    }
    held
}

fn chunked() -> String {
    request("POST", "/small", "Transfer-Encoding: chunked\r\n", "")
}

/// HTTP/2 connections that send these frames after the preface, and read what has come by then.
fn http2(count: usize, to: &Target, frames: &[u8]) -> Vec<TcpStream> {
    let preface = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, &[])].concat();
    let mut held = many(count, &to.plain, &[&preface, frames].concat());
    for socket in &mut held {
        socket.set_nonblocking(true).unwrap();
        drop(socket.read(&mut [0; 4_096]));
    }
    held
}

fn no_window() -> Vec<u8> {
    const INITIAL_WINDOW: [u8; 2] = [0, 4];
    frame(SETTINGS, 0, 0, &[&INITIAL_WINDOW[..], &[0; 4]].concat())
}

fn asking(stream: u32, path: &str, ends: bool) -> Vec<u8> {
    let fields = [
        (":method", if ends { "GET" } else { "POST" }),
        (":scheme", "http"),
        (":authority", "www.example.com"),
        (":path", path),
    ];
    let flags = END_HEADERS | if ends { END_STREAM } else { 0 };
    frame(HEADERS, flags, stream, &head(&fields))
}

fn requests(count: u32, path: &str, ends: bool) -> Vec<u8> {
    (0..count)
        .flat_map(|stream| asking(2 * stream + 1, path, ends))
        .collect()
}

/// For those who hold no connection.
fn nobody_stays<T>(coming: impl Iterator<Item = T>) -> Vec<TcpStream> {
    coming.for_each(drop);
    Vec::new()
}
