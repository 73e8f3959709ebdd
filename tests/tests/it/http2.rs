//! HTTP/2 by prior knowledge, frame by frame: messages both ways, floods, windows that stay shut, GOAWAY.

use tests::certificates::Made;
use tests::client::get;
use tests::http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, Http2, INITIAL_WINDOW_SIZE, PING, RST_STREAM,
    SETTINGS, STATUS_200, STATUS_400, code, frame, head,
};
use tests::message::Request;
use tests::origin::Origin;
use tests::programs::installed;
use tests::script::Script;
use tests::setup::Setup;
use tests::sys::SIGTERM;
use tests::tidegate::folder;
use tests::tls::Tls;
use tests::wait::Gate;

const GET: [(&str, &str); 4] = [
    (":method", "GET"),
    (":scheme", "http"),
    (":authority", "www.example.com"),
    (":path", "/"),
];
const POST: [(&str, &str); 4] = [
    (":method", "POST"),
    (":scheme", "http"),
    (":authority", "www.example.com"),
    (":path", "/post"),
];
const ENHANCE_YOUR_CALM: u32 = 11;
const CANCEL: u32 = 8;
const PROTOCOL_ERROR: u32 = 1;

fn setup(origin: &Origin) -> Setup {
    Setup::of(&origin.address()).set("front.listen", "[{ address = '127.0.0.1:0', http2 = true }]")
}

fn with(
    head: &[(&'static str, &'static str)],
    more: &[(&'static str, &'static str)],
) -> Vec<(&'static str, &'static str)> {
    [head, more].concat()
}

#[test]
fn both_versions_are_spoken_on_one_port_and_only_where_it_says_so() {
    let origin = Origin::saying("hello");
    let tidegate = setup(&origin).start();
    let mut client = Http2::connect(tidegate.address(), &[]);
    for stream in [1, 3, 5] {
        client.get(stream, "/");
        let (head, content) = client.response(stream);
        assert_eq!((head[0], content.as_str()), (STATUS_200, "hello"));
    }
    assert_eq!(tidegate.get("/").text(), "hello");
    let plain = Setup::of(&origin.address()).start();
    let refused = plain.ask("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert_eq!(refused.status, 505);
}

#[test]
fn a_request_is_the_same_to_the_origin_as_from_http1() {
    let origin = Origin::saying("hello");
    let tidegate = setup(&origin).start();
    let mut client = Http2::connect(tidegate.address(), &[]);
    let more = [
        ("cookie", "a=1"),
        ("te", "trailers"),
        ("cookie", "b=2"),
        ("accept", "*/*"),
    ];
    client.request(1, &with(&GET, &more), true);
    assert_eq!(client.response(1).1, "hello");
    let request = origin.last_request();
    let field = |request: &Request, name: &str| request.field(name).unwrap_or("none").to_owned();
    assert_eq!(field(&request, "host"), "www.example.com");
    assert_eq!(field(&request, "cookie"), "a=1; b=2");
    assert_eq!(field(&request, "te"), "trailers");
    assert!(request.head.fields.names().iter().all(|name| !name.starts_with(':')));
}

#[test]
fn bodies_and_trailers_pass_both_ways() {
    let origin = Origin::start(|request| {
        let trailer = request.content.trailers.get("x-sum").unwrap_or("none").to_owned();
        Script::says(format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-seen: {}-{trailer}\r\n\r\n",
            request.content.bytes
        ))
    });
    let tidegate = setup(&origin).start();
    let mut client = Http2::connect(tidegate.address(), &[]);
    client.request(1, &POST, false);
    client.send(DATA, 0, 1, &[b'x'; 10_000]);
    client.send(DATA, 0, 1, &[b'x'; 10_000]);
    client.request(1, &[("x-sum", "7"), ("x-forwarded-for", "10.0.0.1")], true);
    let (mut content, mut trailers) = (Vec::new(), Vec::new());
    assert_eq!(client.read_until(HEADERS).content[0], STATUS_200);
    while trailers.is_empty() {
        let frame = client.read().unwrap();
        match frame.kind {
            DATA => content.extend(frame.content),
            HEADERS if frame.flags & END_STREAM != 0 => trailers = frame.content,
            _ => panic!("{frame:?}"),
        }
    }
    assert_eq!(content, b"hello");
    assert!(!trailers.is_empty());
    let request = origin.last_request();
    assert_eq!(
        (request.content.bytes, request.content.trailers.get("x-sum")),
        (20_000, Some("7"))
    );
    let routing = request.content.trailers.get("x-forwarded-for");
    assert_eq!(routing, None, "routing is no matter of trailers");
}

#[test]
fn messages_against_the_rules_are_refused_and_reach_no_origin() {
    let origin = Origin::saying("hello");
    let tidegate = setup(&origin).start();
    for (fields, what) in [
        (with(&GET, &[("connection", "close")]), "connection-specific"),
        (with(&GET, &[("transfer-encoding", "chunked")]), "transfer-encoding"),
        (with(&GET, &[("te", "gzip")]), "te"),
        (with(&GET, &[("Upper", "case")]), "upper case"),
        (GET[1..].to_vec(), "no method"),
        (with(&GET, &[(":path", "/again")]), "two paths"),
        (with(&GET, &[("content-length", "5")]), "a length without a body"),
    ] {
        let mut client = Http2::connect(tidegate.address(), &[]);
        client.request(1, &fields, true);
        let frame = client.read().unwrap();
        let is_error = matches!(frame.kind, RST_STREAM | GOAWAY) && code(&frame) == PROTOCOL_ERROR;
        assert!(is_error, "{what}: {frame:?}");
    }
    for (fields, what) in [
        (with(&GET, &[("host", "other.example")]), "two hosts"),
        (
            with(&GET, &[("content-length", "1"), ("content-length", "2")]),
            "two lengths",
        ),
        (with(&[GET[0], GET[1], GET[3]], &[]), "no host"),
        (
            with(&[GET[0], GET[1], (":authority", "a b"), GET[3]], &[]),
            "a malformed host",
        ),
    ] {
        let mut client = Http2::connect(tidegate.address(), &[]);
        client.request(1, &fields, false);
        client.send(DATA, END_STREAM, 1, b"");
        let frame = client.read().unwrap();
        let is_refused = match frame.kind {
            HEADERS => frame.content[0] == STATUS_400,
            kind => kind == RST_STREAM && code(&frame) == PROTOCOL_ERROR,
        };
        assert!(is_refused, "{what}: {frame:?}");
    }
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_body_that_is_not_as_long_as_announced_never_looks_whole_to_the_origin() {
    let origin = Origin::saying("hello");
    let tidegate = setup(&origin).start();
    for content in [&b"12"[..], b"1234567"] {
        let mut client = Http2::connect(tidegate.address(), &[]);
        client.request(1, &with(&POST, &[("content-length", "5")]), false);
        client.send(DATA, END_STREAM, 1, content);
        let frame = client.read().unwrap();
        assert!(frame.kind == RST_STREAM || frame.content[0] != STATUS_200, "{frame:?}");
    }
    assert!(origin.requests().iter().all(|request| !request.is_whole()));
}

#[test]
fn a_drain_lets_streams_finish_after_goaway() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start(move |_| {
        Script::new()
            .wait(&held)
            .send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
    });
    let mut tidegate = setup(&origin).start();
    let mut client = Http2::connect(tidegate.address(), &[]);
    client.get(1, "/");
    gate.wait_for_arrivals(1);
    tidegate.front.process.signal(SIGTERM);
    let goaway = client.read_until(GOAWAY);
    assert_eq!(code(&goaway), 0, "no error");
    gate.open();
    assert_eq!(client.response(1).1, "hello");
    assert_eq!(tidegate.front.process.wait_for_exit(), 0);
}

#[test]
fn enough_requests_end_a_connection_gracefully() {
    let origin = Origin::saying("hello");
    let tidegate = setup(&origin).set("front.requests_per_connection_max", "2").start();
    let mut client = Http2::connect(tidegate.address(), &[]);
    client.get(1, "/");
    assert_eq!(client.response(1).1, "hello");
    client.get(3, "/");
    assert_eq!(code(&client.read_until(GOAWAY)), 0);
}

#[test]
fn floods_end_their_connection_and_nothing_else() {
    let origin = Origin::saying("hello");
    let tidegate = setup(&origin).start();
    let mut beside = Http2::connect(tidegate.address(), &[]);
    for (kind, name, content) in [(PING, "ping", &[0; 8][..]), (SETTINGS, "settings", &[])] {
        let mut client = Http2::connect(tidegate.address(), &[]);
        for _ in 0..2_000 {
            if !client.send(kind, 0, 0, content) {
                break;
            }
        }
        let labels = format!(r#"kind="{name}""#);
        tidegate.expect_metric_of_at_least("tidegate_http2_floods_total", &labels, 1);
    }
    // DATA without content, and a head that never ends.
    for (kind, count) in [(DATA, 1), (CONTINUATION, 2)] {
        let mut client = Http2::connect(tidegate.address(), &[]);
        match kind {
            DATA => client.request(1, &POST, false),
            _ => drop(client.send(HEADERS, END_STREAM, 1, &head(&GET))),
        }
        let content = if kind == DATA { Vec::new() } else { head(&[("a", "b")]) };
        for _ in 0..20_000 {
            if !client.send(kind, 0, 1, &content) {
                break;
            }
        }
        let labels = r#"kind="protocol""#;
        tidegate.expect_metric_of_at_least("tidegate_http2_floods_total", labels, count);
    }
    // Rapid reset: each request is taken back at once.
    let mut client = Http2::connect(tidegate.address(), &[]);
    let mut goaway = None;
    for i in 0..5_000 {
        client.get(2 * i + 1, "/");
        if !client.send(RST_STREAM, 0, 2 * i + 1, &CANCEL.to_be_bytes()) {
            break;
        }
    }
    while let Some(frame) = client.read() {
        if frame.kind == GOAWAY {
            goaway = Some(code(&frame));
        }
    }
    assert!(goaway.is_none_or(|code| code == ENHANCE_YOUR_CALM), "{goaway:?}");
    tidegate.expect_metric_of_at_least("tidegate_http2_floods_total", "", 5);
    beside.get(1, "/");
    assert_eq!(beside.response(1).1, "hello");
}

#[test]
fn a_window_that_stays_shut_costs_its_stream_only() {
    let origin = Origin::start(|_| Script::cacheable("x".repeat(100_000)));
    let tidegate = setup(&origin).set("front.send_timeout", "'100ms'").start();
    let mut client = Http2::connect(tidegate.address(), &[(INITIAL_WINDOW_SIZE, 0)]);
    client.get(1, "/");
    let reset = client.read_until(RST_STREAM);
    assert_eq!((reset.stream, code(&reset)), (1, CANCEL));
    tidegate.expect_metric_of_at_least("tidegate_http2_window_stalls_total", "", 1);
    assert_eq!(tidegate.ask(get("/")).content.bytes, 100_000);
}

#[test]
fn a_client_that_takes_its_request_back_frees_the_origin() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start(move |request| match request.path() {
        "/held" => Script::new()
            .wait(&held)
            .send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        _ => Script::ok("hello"),
    });
    let tidegate = setup(&origin).uncached().start();
    let mut client = Http2::connect(tidegate.address(), &[]);
    client.get(1, "/held");
    gate.wait_for_arrivals(1);
    client.send(RST_STREAM, 0, 1, &CANCEL.to_be_bytes());
    tidegate.wait_until_no_backend_is_busy();
    client.get(3, "/");
    assert_eq!(client.response(3).1, "hello");
    gate.open();
}

#[test]
fn h2load_sees_no_error() {
    let Some(mut h2load) = installed("h2load") else { return };
    let origin = Origin::start(|_| Script::cacheable("x".repeat(1024)));
    let tidegate = setup(&origin).start();
    h2load.args(["-n", "5000", "-c", "8", "-m", "10", "-H", ":authority: www.example.com"]);
    let output = h2load.arg(format!("http://{}/", tidegate.address())).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("5000 succeeded, 0 failed, 0 errored, 0 timeout"),
        "{text}"
    );
}

#[test]
fn a_pseudo_field_in_trailers_ends_the_connection_and_the_request_is_never_whole() {
    let origin = Origin::start(|_| Script::ok("hello"));
    let tidegate = setup(&origin).start();
    let mut client = Http2::connect(tidegate.address(), &[]);
    client.request(1, &POST, false);
    client.send(DATA, 0, 1, b"some");
    client.request(1, &[("x-sum", "7"), (":path", "/other")], true);
    let goaway = client.read_until(GOAWAY);
    assert_eq!(code(&goaway), PROTOCOL_ERROR);
    assert!(client.ends());
    tidegate.expect_metric_of_at_least("tidegate_http2_protocol_errors_total", "", 1);
    tidegate.wait_until_no_backend_is_busy();
    assert!(origin.requests().iter().all(|request| !request.is_whole()));
}

#[test]
fn streams_that_never_become_requests_are_counted() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start(move |_| Script::new().wait(&held).send("HTTP/1.1 204 No Content\r\n\r\n"));
    let tidegate = setup(&origin).uncached().set("front.http2.streams_max", "2").start();
    let mut client = Http2::connect(tidegate.address(), &[]);
    for stream in [1, 3, 5, 7] {
        client.get(stream, "/");
    }
    const REFUSED_STREAM: u32 = 7;
    for stream in [5, 7] {
        let reset = client.read_until(RST_STREAM);
        assert_eq!((reset.stream, code(&reset)), (stream, REFUSED_STREAM));
    }
    gate.wait_for_arrivals(2);
    gate.open();
    drop(client);
    tidegate.expect_metric_of_at_least("tidegate_http2_streams_refused_total", "", 2);
    assert_eq!(tidegate.metric("tidegate_http2_streams_refused_total", ""), 2);

    let narrow = setup(&origin).set("front.request_head_max", "'1KiB'").start();
    let mut client = Http2::connect(narrow.address(), &[]);
    let long = "x".repeat(126);
    let mut fields = GET.to_vec();
    fields.extend((0..10).map(|_| ("x-long", long.as_str())));
    client.request(1, &fields, true);
    // 431, as literal digits in the answer's head.
    assert_eq!(client.read_until(HEADERS).stream, 1);
    drop(client);
    narrow.expect_metric_of_at_least("tidegate_http2_streams_refused_total", "", 1);
    assert_eq!(origin.count("/"), 2, "the one that was too large reached nobody");
}

/// How many streams have ended in these frames.
fn ended(mut frames: &[u8]) -> usize {
    let mut count = 0;
    while let [a, b, c, kind, flags, _, _, _, _, rest @ ..] = frames {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let Some(after) = rest.get(length..) else { break };
        count += usize::from([DATA, HEADERS].contains(kind) && flags & END_STREAM != 0);
        frames = after;
    }
    count
}

#[test]
fn what_ten_streams_are_answered_leaves_in_one_record() {
    let origin = Origin::start(|_| Script::cacheable("x".repeat(1000)));
    let (_folder, path) = folder();
    let files = Made::ecdsa(&["www.example.com"]).write(&path, "www");
    let tidegate = Setup::of(&origin.address())
        .set("front.listen", "[{ address = '127.0.0.1:0', tls = 'test' }]")
        .set("tls.test.certificates", &format!("[{}]", files.entry()))
        .start();
    let mut client = Tls::offering(&["h2"])
        .connect(tidegate.address(), "www.example.com")
        .unwrap();
    let get = |stream| frame(HEADERS, END_HEADERS | END_STREAM, stream, &head(&GET_TLS));
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let first = [preface, frame(SETTINGS, 0, 0, &[]), get(1)].concat();
    client.ask_counting(&first, |frames| ended(frames) == 1);
    let ten: Vec<u8> = (1..=10).flat_map(|n| get(2 * n + 1)).collect();
    let (frames, records) = client.ask_counting(&ten, |frames| ended(frames) == 10);
    assert!(frames.len() > 10_000, "{}", frames.len());
    assert_eq!(records, 1, "{} octets", frames.len());
    assert_eq!(origin.count("/"), 1);
}

const GET_TLS: [(&str, &str); 4] = [GET[0], (":scheme", "https"), GET[2], GET[3]];
