//! WebSocket and other tunnels over HTTP/2 (RFC 8441): as those over HTTP/1.1, on a stream.

use h2::Reason;
use http::{Method, Request};
use tests::browser::{Browser, Screen};
use tests::certificates::Made;
use tests::http2::{HEADERS, Http2, INITIAL_WINDOW_SIZE, RST_STREAM, SETTINGS, code};
use tests::message;
use tests::origin::Origin;
use tests::script::Script;
use tests::setup::{Setup, Shape, in_both_shapes};
use tests::streams::{Ended, Streams};
use tests::sys::SIGTERM;
use tests::tidegate::{Tidegate, folder};
use tests::wait::{Gate, eventually};
use tests::websocket;

/// A front that speaks HTTP/2 by prior knowledge.
fn setup(origin: &Origin) -> Setup {
    Setup::of(&origin.address()).set("front.listen", "[{ address = '127.0.0.1:0', http2 = true }]")
}

/// What agrees to a WebSocket (RFC 6455 §4.2.2).
fn switched(request: &message::Request) -> String {
    let accept = websocket::accept(request.field("sec-websocket-key").unwrap_or("none"));
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
    )
}

/// Agrees, and sends back what comes.
fn echo() -> Origin {
    Origin::at_head(|request| Script::says(switched(request)).echo().close())
}

#[track_caller]
fn ended_for(tidegate: &Tidegate, reason: &str) {
    let labels = format!("reason=\"{reason}\"");
    tidegate.expect_metric_of_at_least("tidegate_tunnels_ended_total", &labels, 1);
}

#[test]
fn a_stream_becomes_a_tunnel_and_the_origin_sees_an_upgrade() {
    in_both_shapes(|shape| {
        let origin = echo();
        let tidegate = setup(&origin).shape(shape).start();
        let mut client = Streams::connect(tidegate.address());
        let mut tunnel = client.open("/chat?room=1", "websocket").unwrap();
        assert_eq!(tunnel.fields["sec-websocket-protocol"], "chat");
        for ours in ["sec-websocket-accept", "upgrade", "connection"] {
            assert!(!tunnel.fields.contains_key(ours), "{ours} is between us and the origin");
        }
        for message in ["ping", &"x".repeat(300_000)] {
            let mut sent = 0;
            // No more than both windows hold: what is echoed is read in between.
            while sent < message.len() {
                let piece = &message[sent..(sent + 30_000).min(message.len())];
                tunnel.send(piece.to_owned());
                assert!(tunnel.take(piece.len()) == piece);
                sent += piece.len();
            }
        }
        tunnel.end();
        assert_eq!(tunnel.wait_for_end(), (Ended::Whole, String::new()));
        let asked = origin.last_request();
        assert_eq!((asked.method(), asked.target()), ("GET", "/chat?room=1"));
        let fields = &asked.head.fields;
        for (name, value) in [
            ("upgrade", "websocket"),
            ("connection", "upgrade"),
            ("host", "www.example.com"),
            ("sec-websocket-version", "13"),
        ] {
            assert_eq!(fields.joined(name), value, "{name}");
        }
        assert!(fields.has("via") && fields.has("x-forwarded-for"));
        ended_for(&tidegate, "tunnel_client");
        tidegate.wait_until_no_backend_is_busy();
        eventually("the origin's connection is gone", || origin.open_connections() == 0);
        assert!(client.may_connect());
    });
}

#[test]
fn it_is_announced_unless_the_configuration_says_no() {
    const ENABLE_CONNECT_PROTOCOL: [u8; 6] = [0, 8, 0, 0, 0, 1];
    for (value, expected) in [("true", true), ("false", false)] {
        let origin = echo();
        let tidegate = setup(&origin).set("front.http2.extended_connect", value).start();
        let mut client = Http2::connect(tidegate.address(), &[]);
        let settings = client.read_raw().unwrap();
        assert_eq!(settings.kind, SETTINGS);
        let announced = settings.content.chunks(6).any(|entry| entry == ENABLE_CONNECT_PROTOCOL);
        assert_eq!(announced, expected);
        if !expected {
            client.request(1, &CONNECT, false);
            let reset = client.read_until(RST_STREAM);
            assert_eq!((reset.stream, code(&reset)), (1, PROTOCOL_ERROR));
            assert_eq!(origin.connections(), 0);
        }
    }
}

const PROTOCOL_ERROR: u32 = 1;
const CONNECT: [(&str, &str); 5] = [
    (":method", "CONNECT"),
    (":scheme", "http"),
    (":authority", "www.example.com"),
    (":path", "/chat"),
    (":protocol", "websocket"),
];

#[test]
fn heads_against_rfc_8441_are_refused_and_reach_no_origin() {
    let origin = echo();
    let tidegate = setup(&origin).start();
    let without = |name: &str| {
        CONNECT
            .into_iter()
            .filter(|(other, _)| *other != name)
            .collect::<Vec<_>>()
    };
    let with = |field| [&CONNECT[..], &[field]].concat();
    let get = [&[(":method", "GET")], &CONNECT[1..]].concat();
    for (fields, what) in [
        (without(":scheme"), "no scheme"),
        (without(":path"), "no path"),
        (get, ":protocol with GET"),
        (with((":protocol", "websocket")), "two protocols"),
        (with(("upgrade", "websocket")), "a field of HTTP/1.1's"),
        (with(("connection", "upgrade")), "a connection option"),
    ] {
        let mut client = Http2::connect(tidegate.address(), &[]);
        client.request(1, &fields, false);
        let frame = client.read().unwrap();
        assert!(
            frame.kind == RST_STREAM && code(&frame) == PROTOCOL_ERROR,
            "{what}: {frame:?}"
        );
    }
    for (fields, what) in [
        (without(":authority"), "no host"),
        (with(("host", "other.example")), "another host"),
        (with(("content-length", "4")), "a length"),
    ] {
        let mut client = Http2::connect(tidegate.address(), &[]);
        client.request(1, &fields, false);
        let frame = client.read().unwrap();
        let is_400 = frame.kind == HEADERS && frame.content[0] == tests::http2::STATUS_400;
        assert!(is_400, "{what}: {frame:?}");
    }
    assert_eq!(origin.connections(), 0);
}

#[test]
fn what_the_route_does_not_carry_is_a_501_and_the_connection_goes_on() {
    let origin = Origin::at_head(|request| match request.field("upgrade") {
        Some("spdy/3.1") => Script::says("HTTP/1.1 101 Switching Protocols\r\nUpgrade: spdy/3.1\r\n\r\n").echo(),
        _ => Script::ok("plain"),
    });
    let sites = "[[site]]\nhosts = ['www.example.com']\norigin = 'o'\nupgrades = ['websocket', 'spdy']\n\
                 [[site.route]]\nprefix = '/none'\nupgrades = []\n\
                 [[site.route]]\nprefix = '/rule'\nrespond = { status = 200, body = 'ours' }\n";
    let tidegate = Setup::with_sites(sites)
        .origin("o", &origin.address())
        .set("front.listen", "[{ address = '127.0.0.1:0', http2 = true }]")
        .start();
    let mut client = Streams::connect(tidegate.address());
    for (path, protocol) in [
        ("/none", "websocket"),
        ("/rule", "websocket"),
        ("/", "connect-udp"),
        ("/", "h2c"),
    ] {
        let refused = client.open(path, protocol).err().unwrap();
        assert_eq!(refused.status, 501, "{path} {protocol}");
        let word = refused.headers["proxy-status"].to_str().unwrap();
        assert!(word.contains("http_request_denied"), "{word}");
    }
    assert_eq!(origin.connections(), 0);
    let mut tunnel = client.open("/", "spdy/3.1").unwrap();
    tunnel.send("any protocol that the route names");
    assert_eq!(tunnel.take(33), "any protocol that the route names");
    drop(tunnel);
    assert_eq!(client.get("/"), (200, "plain".to_owned()), "on the same connection");

    let mut plain = Request::new(());
    *plain.method_mut() = Method::CONNECT;
    *plain.uri_mut() = "www.example.com:443".parse().unwrap();
    assert_eq!(client.ask(plain).err().unwrap().status, 501, "CONNECT itself is none");
}

#[test]
fn an_answer_that_is_no_101_never_looks_like_a_tunnel() {
    let origin = Origin::at_head(|request| match request.path() {
        "/200" => Script::ok("a page"),
        "/accept" => Script::says(switched(request).replace("Accept: ", "Accept: A")).hold(),
        "/other" => Script::says("HTTP/1.1 101 Switched\r\nUpgrade: other\r\n\r\n").hold(),
        _ => Script::answer(403, "", "no"),
    });
    let tidegate = setup(&origin).start();
    let mut client = Streams::connect(tidegate.address());
    for (path, status) in [("/200", 502), ("/accept", 502), ("/other", 502), ("/403", 403)] {
        let refused = client.open(path, "websocket").err().unwrap();
        assert_eq!(refused.status, status, "{path}");
        let word = refused.headers.get("proxy-status");
        let is_told = word.is_some_and(|word| word.to_str().unwrap().contains("http_upgrade_failed"));
        assert_eq!(is_told, status == 502, "{path}: {word:?}");
    }
    assert_eq!(tidegate.metric("tidegate_tunnels_opened_total", ""), 0);
    tidegate.wait_until_no_backend_is_busy();
}

#[test]
fn each_side_may_end_first_and_still_hear_the_other() {
    let (go_on, breaks) = (Gate::new(), Gate::new());
    let (gate, broken) = (go_on.clone(), breaks.clone());
    let origin = Origin::at_head(move |request| match request.path() {
        "/client" => Script::says(switched(request)).echo().wait(&gate).send("late").close(),
        "/reset" => Script::says(switched(request)).send("some").wait(&broken).reset(),
        _ => Script::says(switched(request)).send("bye").close(),
    });
    let tidegate = setup(&origin).start();
    let mut client = Streams::connect(tidegate.address());
    let mut tunnel = client.open("/client", "websocket").unwrap();
    tunnel.send("last words");
    tunnel.end();
    assert_eq!(tunnel.take(10), "last words");
    go_on.open();
    assert_eq!(tunnel.wait_for_end(), (Ended::Whole, "late".to_owned()));
    ended_for(&tidegate, "tunnel_client");

    let mut tunnel = client.open("/server", "websocket").unwrap();
    assert_eq!(tunnel.wait_for_end(), (Ended::Whole, "bye".to_owned()));
    tunnel.end();
    drop(tunnel);
    assert_eq!(
        client.open("/403", "h2c").err().unwrap().status,
        501,
        "the end is on its way"
    );
    ended_for(&tidegate, "tunnel_server");

    let mut tunnel = client.open("/reset", "websocket").unwrap();
    assert_eq!(tunnel.take(4), "some");
    breaks.open();
    assert_eq!(
        tunnel.wait_for_end().0,
        Ended::Reset(Reason::CANCEL),
        "not an end in order"
    );
    ended_for(&tidegate, "tunnel_server_reset");

    let tunnel = client.open("/client", "websocket").unwrap();
    tunnel.reset();
    assert_eq!(
        client.open("/403", "h2c").err().unwrap().status,
        501,
        "the reset is on its way"
    );
    ended_for(&tidegate, "tunnel_client_reset");
    eventually("all are gone", || origin.open_connections() == 0);
}

#[test]
fn a_tunnel_that_is_not_read_holds_back_its_origin_and_no_other_stream() {
    const WINDOW: usize = 65_535;
    let origin = Origin::at_head(|request| match request.path() {
        "/flood" => Script::says(switched(request)).repeat(vec![b'f'; 65_536], 1024),
        _ => Script::cacheable("hello"),
    });
    let tidegate = setup(&origin).start();
    let mut client = Http2::connect(tidegate.address(), &[(INITIAL_WINDOW_SIZE, 1000)]);
    client.request(1, &CONNECT_FLOOD, false);
    // One window of the flood comes, and the other streams' answers beside it.
    client.read_until(HEADERS);
    let mut got = 0;
    while got < 1000 {
        got += client.read_until(tests::http2::DATA).content.len();
    }
    assert_eq!(got, 1000);
    for stream in [3, 5, 7] {
        client.get(stream, "/");
        assert_eq!(client.response(stream).1, "hello");
    }
    assert!(origin.bytes_sent() < 64 << 20, "held back");
    let memory = tidegate.front.process.memory();
    assert!(memory < 200 << 20, "{memory} bytes");

    // All of it comes to a client that reads.
    let mut client = Streams::connect(tidegate.address());
    let mut tunnel = client.open("/flood", "websocket").unwrap();
    for _ in 0..64 * 1024 * 1024 / 65_536 {
        assert_eq!(tunnel.take(65_536).len(), WINDOW + 1);
    }
}

const CONNECT_FLOOD: [(&str, &str); 5] = [CONNECT[0], CONNECT[1], CONNECT[2], (":path", "/flood"), CONNECT[4]];

#[test]
fn a_silent_tunnel_ends_after_its_time_and_its_connection_does_not() {
    let origin = Origin::at_head(|request| match request.path() {
        "/chat" => Script::says(switched(request)).echo().close(),
        _ => Script::ok("plain"),
    });
    let tidegate = setup(&origin).set("origin.o.tunnel_timeout", "'50ms'").start();
    let mut client = Streams::connect(tidegate.address());
    let mut tunnel = client.open("/chat", "websocket").unwrap();
    assert_eq!(tunnel.wait_for_end().0, Ended::Reset(Reason::CANCEL));
    ended_for(&tidegate, "tunnel_idle");
    drop(tunnel);
    assert_eq!(client.get("/"), (200, "plain".to_owned()));
    tidegate.wait_until_no_backend_is_busy();
}

#[test]
fn a_tunnel_is_logged_and_a_drain_cuts_it_when_its_time_is_over() {
    let (_folder, path) = folder();
    let file = path.join("access.log");
    let origin = echo();
    let setup = setup(&origin)
        .set("process.drain_timeout", "'1s'")
        .set("log.access.to", &format!("'{}'", file.display()))
        .set("log.access.format", "'json'")
        .set("log.access.flush", "'20ms'");
    let mut tidegate = setup.start();
    let mut client = Streams::connect(tidegate.address());
    let mut tunnel = client.open("/chat", "websocket").unwrap();
    tunnel.send("hello");
    assert_eq!(tunnel.take(5), "hello");
    tidegate.front.process.signal(SIGTERM);
    eventually("the drain has begun", || {
        tests::client::Client::try_connect(tidegate.address()).is_err()
    });
    tunnel.send("still here");
    assert_eq!(tunnel.take(10), "still here");
    assert_eq!(tidegate.front.process.wait_for_exit(), 0);
    let text = std::fs::read_to_string(&file).unwrap();
    let line: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    for (key, value) in [
        ("method", "GET".into()),
        ("target", "/chat".into()),
        ("version", "HTTP/2".into()),
        ("status", 101.into()),
        ("end", "tunnel_drain".into()),
        ("body_bytes", serde_json::Value::from(15)),
    ] {
        assert_eq!(line[key], value, "{key}: {line}");
    }
    assert!(
        line["close"].is_null(),
        "the connection is the other streams', too: {line}"
    );
}

#[test]
fn tunnels_go_the_way_that_upgrades_go() {
    for (when_down, by_cache_server) in [("'origin'", 0), ("'error'", 1)] {
        let origin = echo();
        let setup = setup(&origin).shape(Shape::TwoTier(1));
        let tidegate = setup.set("cache.when_down", when_down).start();
        let mut client = Streams::connect(tidegate.address());
        let mut tunnel = client.open("/chat", "websocket").unwrap();
        tunnel.send("hello");
        assert_eq!(tunnel.take(5), "hello");
        let opened = |node: &tests::tidegate::Node| node.metric("tidegate_tunnels_opened_total", "");
        assert_eq!(
            (opened(&tidegate.front), opened(&tidegate.cache_servers[0])),
            (1, by_cache_server),
            "{when_down}"
        );
    }
}

#[test]
fn chromium_opens_its_websocket_on_the_connection_that_it_has() {
    let Some(mut browser) = Browser::start() else { return };
    // "hi" as one unmasked text frame, then goodbye with 1000 (RFC 6455 §5.2).
    let words: &[u8] = &[0x81, 2, b'h', b'i', 0x88, 2, 3, 0xe8];
    let origin = Origin::at_head(move |request| match request.path() {
        "/chat" => {
            // No subprotocol: the page asked for none.
            let agreed = switched(request).replace("Sec-WebSocket-Protocol: chat\r\n", "");
            Script::says(agreed).send(words).read_some(1).close()
        }
        _ => Script::answer(200, "Content-Type: text/html\r\n", PAGE),
    });
    let (_folder, path) = folder();
    let files = Made::ecdsa(&["localhost"]).write(&path, "www");
    let tidegate = Setup::of(&origin.address())
        .set("front.listen", "[{ address = '127.0.0.1:0', tls = 'test' }]")
        .set("front.unknown_host", "'default'")
        .set("tls.test.certificates", &format!("[{}]", files.entry()))
        .start();
    let port = tidegate.address().rsplit(':').next().unwrap().to_owned();
    let screen = Screen {
        width: 800,
        height: 600,
        scheme: "light",
    };
    browser.trust_any_certificate();
    browser.open(&format!("https://localhost:{port}/"), screen);
    browser.wait_until("window.told === 'got hi, closed 1000'");
    assert_eq!(origin.last_request().field("upgrade"), Some("websocket"));
    assert_eq!(tidegate.metric("tidegate_tunnels_opened_total", ""), 1);
    assert_eq!(tidegate.metric("tidegate_http2_connections_total", ""), 1);
    assert_eq!(
        tidegate.metric("tidegate_tls_handshakes_total", ""),
        1,
        "no connection of its own"
    );
}

const PAGE: &str = "<!doctype html><title>chat</title><link rel=icon href='data:,'><script>\
    window.told = '';\
    const socket = new WebSocket(`wss://${location.host}/chat`);\
    socket.onmessage = event => window.told += 'got ' + event.data;\
    socket.onclose = event => window.told += ', closed ' + event.code;\
    </script>";
