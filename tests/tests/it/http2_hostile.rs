//! HTTP/2 clients that turn the protocol against its server: what each of them gets, and that it costs next to nothing.
//!
//! Floods of single frames are in `http2`, and all of them beside an honest client in `abuse`.

use tests::http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, Http2, INITIAL_WINDOW_SIZE, PADDED, PING,
    PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE, code, frame, head,
};
use tests::origin::Origin;
use tests::script::Script;
use tests::setup::Setup;
use tests::wait::{Gate, eventually};

const ENHANCE_YOUR_CALM: u32 = 11;
const KIB: u64 = 1 << 10;

fn setup(origin: &Origin) -> Setup {
    Setup::of(&origin.address()).set("front.listen", "[{ address = '127.0.0.1:0', http2 = true }]")
}

fn asking(method: &'static str, path: &'static str) -> [(&'static str, &'static str); 4] {
    [
        (":method", method),
        (":scheme", "http"),
        (":authority", "www.example.com"),
        (":path", path),
    ]
}

fn window(size: u32) -> Vec<u8> {
    [&INITIAL_WINDOW_SIZE.to_be_bytes()[..], &size.to_be_bytes()].concat()
}

/// CVE-2025-8671: each of these ends a stream, and so makes place for another, while the origin works on.
#[test]
fn who_makes_us_reset_streams_is_told_to_calm_down() {
    let most = u32::from_be_bytes([0x7f, 0xff, 0xff, 0xff]).to_be_bytes();
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::at_head(move |_| Script::new().wait(&held).close());
    let tidegate = setup(&origin).uncached().start();
    for (what, frames) in [
        ("an increment of 0", &[(WINDOW_UPDATE, 0, &[0; 4][..])][..]),
        (
            "a window too large",
            &[(WINDOW_UPDATE, 0, &most), (WINDOW_UPDATE, 0, &most)],
        ),
        ("PRIORITY of 4 octets", &[(PRIORITY, 0, &[0; 4])]),
        ("more content than announced", &[(DATA, END_STREAM, b"some")]),
        ("a head in the middle", &[(HEADERS, END_HEADERS, &[])]),
    ] {
        let floods = tidegate.metric("tidegate_http2_floods_total", "");
        let mut client = Http2::connect(tidegate.address(), &[]);
        let post = head(&[&asking("POST", "/")[..], &[("content-length", "1")]].concat());
        'streams: for stream in (1..10_000).step_by(2) {
            if !client.send(HEADERS, END_HEADERS, stream, &post) {
                break;
            }
            for (kind, flags, content) in frames {
                if !client.send(*kind, *flags, stream, content) {
                    break 'streams;
                }
            }
        }
        let mut last = None;
        while let Some(frame) = client.read() {
            if frame.kind == GOAWAY {
                last = Some(code(&frame));
            }
        }
        // What was still on its way may have cut it off.
        assert!(last.is_none_or(|code| code == ENHANCE_YOUR_CALM), "{what}: {last:?}");
        tidegate.expect_metric_of_at_least("tidegate_http2_floods_total", "", floods + 1);
    }
    gate.open();
    eventually("nothing of it is left", || {
        tidegate.metric("tidegate_connections_open", "") == 0
    });
    tidegate.wait_until_no_backend_is_busy();
}

#[test]
fn windows_that_stay_shut_hold_next_to_nothing() {
    let origin = Origin::start(|request| match request.path() {
        "/stored" => Script::cacheable("x".repeat(1 << 20)),
        _ => Script::ok("x".repeat(4 << 20)),
    });
    let tidegate = setup(&origin).start();
    for path in ["/stored", "/passed"] {
        assert!(tidegate.get(path).content.bytes >= 1 << 20);
    }
    for (path, clients, held_max) in [("/stored", 10, 24 * KIB), ("/passed", 1, 256 * KIB)] {
        let before = tidegate.front.process.memory();
        let shut: Vec<_> = (0..clients)
            .map(|_| {
                let mut client = Http2::connect(tidegate.address(), &[(INITIAL_WINDOW_SIZE, 0)]);
                for stream in 0..100 {
                    client.request(2 * stream + 1, &asking("GET", path), true);
                }
                for _ in 0..100 {
                    client.read_until(HEADERS);
                }
                client
            })
            .collect();
        let grown = tidegate.front.process.memory().saturating_sub(before);
        let most = 100 * clients * held_max;
        assert!(grown <= most, "{path}: {grown} octets for {} streams", 100 * clients);
        drop(shut);
        eventually("they are gone", || {
            tidegate.metric("tidegate_connections_open", "") == 0
        });
    }
}

#[test]
fn content_may_be_taken_octet_by_octet() {
    let text: String = ('a'..='z').cycle().take(500).collect();
    let content = text.clone();
    let origin = Origin::start(move |_| Script::cacheable(&content));
    let tidegate = setup(&origin).start();
    let mut client = Http2::connect(tidegate.address(), &[(INITIAL_WINDOW_SIZE, 1)]);
    client.request(1, &asking("GET", "/"), true);
    let mut taken = Vec::new();
    loop {
        let frame = client.read_until(DATA);
        assert!(frame.content.len() <= 1, "{frame:?}");
        taken.extend(frame.content);
        if frame.flags & END_STREAM != 0 {
            break;
        }
        client.send(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]);
    }
    assert_eq!(String::from_utf8(taken).unwrap(), text);
}

#[test]
fn windows_may_be_shaken_a_little_and_not_for_long() {
    let origin = Origin::start(|_| Script::cacheable("x".repeat(1000)));
    let tidegate = setup(&origin).start();
    assert_eq!(tidegate.get("/").content.bytes, 1000);
    let mut client = Http2::connect(tidegate.address(), &[(INITIAL_WINDOW_SIZE, 0)]);
    client.send(WINDOW_UPDATE, 0, 0, &[0, 1, 0, 0]);
    for stream in 0..100 {
        client.request(2 * stream + 1, &asking("GET", "/"), true);
    }
    // Up by one octet in the end, and negative in between.
    for size in (1..20).flat_map(|size| [0, 7 * size, 5 * size]) {
        client.send(SETTINGS, 0, 0, &window(size));
    }
    client.send(SETTINGS, 0, 0, &window(1000));
    let (mut octets, mut ended) = (0, 0);
    while ended < 100 {
        let frame = client.read_until(DATA);
        octets += frame.content.len();
        ended += usize::from(frame.flags & END_STREAM != 0);
    }
    assert_eq!(octets, 100 * 1000);
    for size in 0..5_000 {
        if !client.send(SETTINGS, 0, 0, &window(size)) {
            break;
        }
    }
    while client.read().is_some_and(|frame| frame.kind != GOAWAY) {}
    tidegate.expect_metric_of_at_least("tidegate_http2_floods_total", r#"kind="settings""#, 1);
}

#[test]
fn numbers_of_streams_may_be_far_apart_and_the_last_is_the_last() {
    let origin = Origin::start(|_| Script::cacheable("hello"));
    let tidegate = setup(&origin).start();
    let mut client = Http2::connect(tidegate.address(), &[]);
    let last = (1 << 31) - 1;
    for stream in (1..last).step_by(1 << 24).chain([last]) {
        client.request(stream, &asking("GET", "/"), true);
        assert_eq!(client.response(stream).1, "hello", "{stream}");
    }
    client.send(PING, 0, 0, &[7; 8]);
    assert_eq!(client.read_raw().map(|frame| frame.content), Some(vec![7; 8]));
}

#[test]
fn a_head_that_never_ends_is_not_waited_for() {
    let origin = Origin::saying("hello");
    let tidegate = setup(&origin).set("front.header_timeout", "'300ms'").start();
    let mut client = Http2::connect(tidegate.address(), &[]);
    client.send(HEADERS, END_STREAM, 1, &head(&asking("GET", "/")));
    assert!(client.ends(), "silence within a head");
    tidegate.expect_metric_of_at_least(CLOSED, BY_HEADER_TIMEOUT, 1);
    // Never silent, and never whole.
    let mut client = Http2::connect(tidegate.address(), &[]);
    client.send(HEADERS, END_STREAM, 1, &head(&asking("GET", "/")));
    let mut frames = 0_u32;
    while client.send(CONTINUATION, 0, 1, &head(&[("x-more", "of it")])) {
        frames += 1;
        assert!(frames < 1_000_000, "nobody says stop");
    }
    assert_eq!(origin.connections(), 0);
}

const CLOSED: &str = "tidegate_connections_close_reasons_total";
const BY_HEADER_TIMEOUT: &str = r#"reason="header_timeout""#;

#[test]
fn a_later_head_has_no_more_time_than_the_first() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start(move |request| match request.path() {
        "/held" => Script::new().wait(&held).close(),
        _ => Script::ok("hello"),
    });
    let tidegate = setup(&origin)
        .uncached()
        .set("front.header_timeout", "'300ms'")
        .set("front.idle_timeout", "'1h'")
        .start();
    let get = head(&asking("GET", "/"));
    let begins = frame(HEADERS, END_STREAM, 7, &get);
    let posts = frame(HEADERS, END_HEADERS, 7, &head(&asking("POST", "/held")));
    let rows = [
        ("CONTINUATION that does not come", begins.clone()),
        (
            "CONTINUATION that is not the last",
            [&begins[..], &frame(CONTINUATION, 0, 7, b"")].concat(),
        ),
        ("HEADERS that are not whole", begins[..begins.len() - 1].to_vec()),
        (
            "trailers that do not end",
            [posts, frame(HEADERS, END_STREAM, 7, b"")].concat(),
        ),
    ];
    for (n, (what, octets)) in (1..).zip(rows) {
        for busy in [false, true] {
            let mut client = Http2::connect(tidegate.address(), &[]);
            client.get(1, "/");
            assert_eq!(client.response(1).1, "hello");
            // A head that is whole again is not held against those after it.
            client.send(HEADERS, END_STREAM, 3, &get);
            client.send(CONTINUATION, END_HEADERS, 3, b"");
            assert_eq!(client.response(3).1, "hello");
            if busy {
                client.get(5, "/held");
                gate.wait_for_arrivals(n);
            }
            client.send_raw(&octets);
            assert!(client.ends(), "{what}, busy: {busy}");
        }
        tidegate.expect_metric_of_at_least(CLOSED, BY_HEADER_TIMEOUT, 2 * n as u64);
    }
    gate.open();
}

#[test]
fn tables_that_are_filled_emptied_and_filled_stay_right() {
    let origin = Origin::start(|request| Script::ok(request.field("x-39").unwrap_or("none")));
    let tidegate = setup(&origin).uncached().start();
    let mut clients: Vec<_> = (0..20).map(|_| Http2::connect(tidegate.address(), &[])).collect();
    for round in 0..10_u32 {
        for client in &mut clients {
            // Sizes of 0 and 4096, forty entries that evict others, and the last of them once more, by its index.
            let mut block = vec![0x20, 0x3f, 0xe1, 0x1f];
            block.extend(head(&asking("GET", "/")));
            for n in 0..40 {
                let (name, value) = (format!("x-{n}"), format!("{round}-{n}-{}", "y".repeat(100)));
                block.push(0x40);
                for text in [name, value] {
                    block.push(u8::try_from(text.len()).unwrap());
                    block.extend(text.as_bytes());
                }
            }
            client.send(HEADERS, END_HEADERS | END_STREAM, 2 * round + 1, &block);
            let expected = format!("{round}-39-{}", "y".repeat(100));
            assert_eq!(client.response(2 * round + 1).1, expected);
        }
    }
    // What the table has is what was put there last.
    let client = &mut clients[0];
    let block = [head(&asking("GET", "/")), vec![0xbe]].concat();
    client.send(HEADERS, END_HEADERS | END_STREAM, 99, &block);
    assert!(client.response(99).1.starts_with("9-39-y"));
}

#[test]
fn a_cookie_may_come_in_many_crumbs_and_not_as_a_bomb() {
    let origin = Origin::start(|request| Script::ok(request.field("cookie").unwrap_or("none")));
    let tidegate = setup(&origin).uncached().start();
    let mut client = Http2::connect(tidegate.address(), &[]);
    let crumbs = (0..200).map(|n| format!("c{n}=v")).collect::<Vec<_>>();
    let mut fields = asking("GET", "/").to_vec();
    fields.extend(crumbs.iter().map(|crumb| ("cookie", crumb.as_str())));
    client.request(1, &fields, true);
    assert_eq!(
        client.response(1).1,
        crumbs.join("; "),
        "more crumbs than fields may be"
    );
    // One crumb of four thousand octets in the dynamic table, named ten thousand times.
    let entry = [&[0x60, 0x7f, 0xa1, 0x1e][..], &[b'c'; 4_000]].concat();
    let bomb = [head(&asking("GET", "/")), entry, vec![0xbe; 10_000]].concat();
    let before = tidegate.front.process.memory();
    for n in 1..=20 {
        client.send(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &bomb);
    }
    let mut refused = 0;
    while refused < 20 {
        let frame = client.read().unwrap();
        assert!(![GOAWAY, RST_STREAM].contains(&frame.kind), "{frame:?}");
        refused += usize::from(frame.flags & END_STREAM != 0);
    }
    let grown = tidegate.front.process.memory().saturating_sub(before);
    assert!(grown < 2048 * KIB, "{grown}");
    assert_eq!(origin.count("/"), 1, "the bombs reached nobody");
    // The table is as it was.
    let block = [head(&asking("GET", "/")), vec![0xbe]].concat();
    client.send(HEADERS, END_HEADERS | END_STREAM, 99, &block);
    assert_eq!(client.response(99).1, "c".repeat(4_000));
}

#[test]
fn padding_is_no_content_and_makes_place_again() {
    let origin = Origin::start(|request| Script::ok(request.content.bytes.to_string()));
    let tidegate = setup(&origin).start();
    let mut client = Http2::connect(tidegate.address(), &[]);
    let mut windows = Windows {
        connection: 65_535,
        stream: 65_535,
    };
    windows.hear(&client.read_raw().unwrap());
    client.request(1, &asking("POST", "/"), false);
    let mut padded = vec![255, b'x'];
    padded.extend([0; 255]);
    for n in 0..10_000 {
        while windows.connection.min(windows.stream) < padded.len() {
            let frame = client.read_raw().unwrap_or_else(|| panic!("{n}: {windows:?}"));
            windows.hear(&frame);
        }
        assert!(client.send(DATA, PADDED, 1, &padded));
        windows.connection -= padded.len();
        windows.stream -= padded.len();
    }
    client.send(DATA, END_STREAM, 1, b"");
    assert_eq!(client.response(1).1, "10000");
}

/// What a client may send.
#[derive(Debug)]
struct Windows {
    connection: usize,
    stream: usize,
}

impl Windows {
    fn hear(&mut self, frame: &Frame) {
        let octets = |at: usize| u32::from_be_bytes(frame.content[at..at + 4].try_into().unwrap()) as usize;
        match (frame.kind, frame.stream) {
            (WINDOW_UPDATE, 0) => self.connection += octets(0),
            (WINDOW_UPDATE, _) => self.stream += octets(0),
            (SETTINGS, _) => {
                for at in (0..frame.content.len()).step_by(6) {
                    if frame.content[at..at + 2] == INITIAL_WINDOW_SIZE.to_be_bytes() {
                        self.stream = octets(at + 2);
                    }
                }
            }
            _ => {}
        }
    }
}
