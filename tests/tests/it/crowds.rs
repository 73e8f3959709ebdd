//! Crowds of every sort come and leave: while they are there, memory is bounded; afterwards it is as before.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use tests::certificates::Made;
use tests::client::get;
use tests::http2::{HEADERS, Http2};
use tests::origin::Origin;
use tests::programs::skipped;
use tests::script::Script;
use tests::setup::Setup;
use tests::sys::raise_open_files;
use tests::tidegate::{Tidegate, folder};
use tests::tls::{Tls, TlsClient};
use tests::wait::{PATIENCE, eventually};

/// Bytes of a representation that nobody can take in one go.
pub(crate) const LARGE: usize = 1 << 20;
const MIB: u64 = 1 << 20;

/// Connections of one sort that are held until this is dropped.
enum Held {
    Plain(Vec<TcpStream>),
    Tls(Vec<TlsClient>),
    Http2(Vec<Http2>),
}

/// What one sort of a crowd does.
type Sort = (&'static str, fn(&Tidegate) -> Held);

const SORTS: [Sort; 6] = [
    ("2,000 kept alive", |tidegate| {
        Held::Plain(many(2_000, || asking(tidegate, &get("/small"), b"hello")))
    }),
    ("300 with TLS", |tidegate| {
        let tls = Tls::offering(&[]);
        let address = tidegate.front.address_of("[::1]:0").to_owned();
        Held::Tls(many(300, || {
            let mut client = tls.connect(&address, "www.example.com").unwrap();
            client.ask(&get("/small"), "hello");
            client
        }))
    }),
    ("100 with a hundred streams and no window each", |tidegate| {
        Held::Http2(many(100, || without_window(tidegate, "/large")))
    }),
    ("4 with a hundred streams, no window, and nothing stored", |tidegate| {
        Held::Http2(many(4, || without_window(tidegate, "/passed")))
    }),
    ("500 that read nothing of a megabyte", |tidegate| {
        Held::Plain(many(500, || asking(tidegate, &get("/large"), b"HTTP/1.1 200")))
    }),
    ("1,000 with half a head", |tidegate| {
        let head = format!("GET / HTTP/1.1\r\nHost: www.example.com\r\nX: {}", "y".repeat(3_000));
        Held::Plain(many(1_000, || asking(tidegate, &head, b"")))
    }),
];

#[test]
fn memory_is_as_before_when_a_crowd_has_left() {
    let limit = raise_open_files(10_000);
    if limit < 6_000 {
        return skipped(&format!("crowds: only {limit} files may be open"));
    }
    let origin = origin();
    let (_folder, path) = folder();
    let certificate = Made::ecdsa(&["www.example.com"]).write(&path, "www");
    let tidegate = Setup::of(&origin.address())
        .set(
            "front.listen",
            "[{ address = '127.0.0.1:0', http2 = true }, { address = '[::1]:0', tls = 'test' }]",
        )
        .set("tls.test.certificates", &format!("[{}]", certificate.entry()))
        // Idle connections to servers are not what this is about.
        .set("origin.o.keepalive", "1")
        .set("front.header_timeout", "'5m'")
        .start();
    for path in ["/small", "/large", "/passed"] {
        assert_eq!(tidegate.get(path).status, 200);
    }
    // What the first handshake and the first stream take for good is not a crowd's.
    let first = Tls::offering(&[]).connect(tidegate.front.address_of("[::1]:0"), "www.example.com");
    first.unwrap().ask(&get("/small"), "hello");
    drop(without_window(&tidegate, "/large"));
    let process = &tidegate.front.process;
    let base = process.memory();
    let mut told = String::new();
    for (what, come) in SORTS {
        let crowd = come(&tidegate);
        let during = process.memory();
        assert!(during < base + 96 * MIB, "{what}: from {base} to {during} bytes");
        assert_eq!(
            tidegate.get("/small").text(),
            "hello",
            "others are served beside {what}"
        );
        crowd.leave();
        eventually("they are gone", || {
            tidegate.metric("tidegate_connections_open", "") == 0
        });
        let most = base + base / 10 + 4 * MIB;
        eventually(
            &format!("memory is back to {most} of {base} bytes after {what}, which took {during}; before: {told}"),
            || process.memory() <= most,
        );
        told.push_str(&format!(
            "{what}: {} MiB, then {}; ",
            during / MIB,
            process.memory() / MIB
        ));
    }
}

/// An origin of something small, of something large, and of something large that is not stored.
pub(crate) fn origin() -> Origin {
    Origin::start(|request| match request.path() {
        "/large" => Script::cacheable("x".repeat(LARGE)),
        "/passed" => Script::ok("x".repeat(LARGE)),
        _ => Script::cacheable("hello"),
    })
}

impl Held {
    fn leave(self) {
        match self {
            Self::Plain(connections) => drop(connections),
            Self::Tls(connections) => drop(connections),
            Self::Http2(connections) => drop(connections),
        }
    }
}

fn many<T>(count: usize, make: impl FnMut() -> T) -> Vec<T> {
    std::iter::repeat_with(make).take(count).collect()
}

/// A connection that sent this and has read that much of the answer: not the fixture's client, which has large buffers.
fn asking(tidegate: &Tidegate, sent: &str, until: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(tidegate.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(sent.as_bytes()).unwrap();
    let (mut buffer, mut length) = ([0; 1024], 0);
    while !buffer[..length].windows(until.len().max(1)).any(|part| part == until) && !until.is_empty() {
        let read = stream.read(&mut buffer[length..]).unwrap();
        assert_ne!(read, 0, "the connection ended");
        length += read;
    }
    stream
}

/// A connection with a hundred streams that ask for this and take nothing of it.
fn without_window(tidegate: &Tidegate, path: &str) -> Http2 {
    const STREAMS: u32 = 100;
    const INITIAL_WINDOW: u16 = 4;
    let mut client = Http2::connect(tidegate.address(), &[(INITIAL_WINDOW, 0)]);
    for stream in 0..STREAMS {
        client.get(2 * stream + 1, path);
    }
    for _ in 0..STREAMS {
        client.read_until(HEADERS);
    }
    client
}
