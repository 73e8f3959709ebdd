//! WebSocket and other tunnels: what goes on, what comes back, how they end, in both shapes.

use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;
use tests::certificates::Made;
use tests::client::{Client, request};
use tests::dual_origin::{DualOrigin, Http2};
use tests::origin::Origin;
use tests::process::{Process, run_to_end};
use tests::programs::installed;
use tests::script::Script;
use tests::setup::{Setup, Shape, in_both_shapes};
use tests::streams::{Ended, Streams};
use tests::sys::SIGTERM;
use tests::tidegate::{Tidegate, folder};
use tests::tls::Tls;
use tests::wait::{Gate, eventually};
use tests::wire::Stop;

/// What RFC 6455 §1.2 sends.
const ASKED: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                     Sec-WebSocket-Version: 13\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

fn ask(path: &str) -> String {
    request("GET", path, ASKED, "")
}

/// Agrees, and sends back what comes.
fn echo() -> Origin {
    Origin::at_head(|_| Script::says(SWITCHED).echo().close())
}

#[track_caller]
fn open(tidegate: &Tidegate, path: &str) -> Client {
    let mut client = tidegate.client();
    client.send(ask(path));
    let head = client.read_head();
    assert_eq!(head.status, 101, "{head:?}");
    client
}

#[track_caller]
fn ended_for(tidegate: &Tidegate, reason: &str) {
    let labels = format!("reason=\"{reason}\"");
    tidegate.expect_metric_of_at_least("tidegate_tunnels_ended_total", &labels, 1);
}

#[test]
fn what_follows_a_101_flows_both_ways_until_both_have_ended() {
    in_both_shapes(|shape| {
        let origin = echo();
        let tidegate = Setup::of(&origin.address()).shape(shape).start();
        let mut client = tidegate.client();
        // The first bytes of the tunnel come with the request; nothing of them is taken for another one.
        client.send(ask("/chat") + "GET / HTTP/1.1\r\n\r\n");
        let head = client.read_head();
        assert_eq!(
            (head.status, head.field("upgrade"), head.field("connection")),
            (101, "websocket", "upgrade"),
            "{head:?}"
        );
        assert_eq!(head.field("sec-websocket-accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(client.take_bytes(18), "GET / HTTP/1.1\r\n\r\n");
        for message in ["\u{1}ping", "x".repeat(300_000).as_str()] {
            client.send(message);
            assert!(client.take_bytes(message.len()) == message);
        }
        client.half_close();
        client.expect_closed();
        let asked = origin.last_request();
        let fields = &asked.head.fields;
        assert_eq!(
            (fields.joined("upgrade"), fields.joined("connection")),
            ("websocket".to_owned(), "upgrade".to_owned())
        );
        assert!(fields.has("sec-websocket-key") && fields.has("via") && fields.has("x-forwarded-for"));
        ended_for(&tidegate, "tunnel_client");
        tidegate.expect_metric_of_at_least("tidegate_responses_total", "class=\"1xx\"", 1);
        tidegate.wait_until_no_backend_is_busy();
        eventually("the origin's connection is gone", || origin.open_connections() == 0);
    });
}

#[test]
fn fronts_go_to_the_origin_themselves_unless_they_may_not() {
    for (when_down, by_cache_server) in [("'origin'", 0), ("'error'", 1)] {
        let origin = echo();
        let setup = Setup::of(&origin.address()).shape(Shape::TwoTier(1));
        let tidegate = setup.set("cache.when_down", when_down).start();
        let mut client = open(&tidegate, "/chat");
        client.send("hello");
        assert_eq!(client.take_bytes(5), "hello");
        let opened = |node: &tests::tidegate::Node| node.metric("tidegate_tunnels_opened_total", "");
        assert_eq!(
            (opened(&tidegate.front), opened(&tidegate.cache_servers[0])),
            (1, by_cache_server),
            "{when_down}"
        );
    }
}

/// An origin that speaks HTTP/2 as well, and its tidegate; with TLS where there is something to be `chosen` by ALPN.
fn beside_http2(protocol: &str, chosen: Option<&[&str]>, set: impl FnOnce(Setup) -> Setup) -> (DualOrigin, Tidegate) {
    let (_folder, path) = folder();
    let made = Made::ecdsa(&["127.0.0.1"]);
    let http2 = Http2::saying(http::HeaderMap::new(), "h2");
    let (origin, url) = match chosen {
        Some(protocols) => {
            let origin = DualOrigin::tls(&made, protocols, http2);
            let url = origin.url();
            (origin, url)
        }
        None => {
            let origin = DualOrigin::plain(http2);
            let url = origin.address();
            (origin, url)
        }
    };
    let mut setup = Setup::of(&url)
        .uncached()
        .set("process.workers", "1")
        .set("origin.o.protocol", &format!("'{protocol}'"));
    if chosen.is_some() {
        let roots = made.write(&path, "o").certificate;
        setup = setup.set("origin.o.tls.roots", &format!("'{}'", roots.display()));
    }
    let tidegate = set(setup).start();
    (origin, tidegate)
}

#[test]
fn towards_http2_origins_each_tunnel_has_a_connection_of_http1_for_itself() {
    const BOTH: Option<&[&str]> = Some(&["h2", "http/1.1"]);
    for (protocol, chosen) in [("http2", None), ("http2", BOTH), ("auto", BOTH)] {
        let (origin, tidegate) = beside_http2(protocol, chosen, |setup| setup);
        assert_eq!(tidegate.get("/").text(), "h2");
        let mut tunnels = [open(&tidegate, "/chat"), open(&tidegate, "/chat")];
        for client in &mut tunnels {
            client.send("hello");
            assert_eq!(client.take_bytes(5), "hello");
        }
        // One that the origin does not want is answered, and its connection is used for nothing else.
        assert_eq!(tidegate.ask(ask("/no")).text(), "http/1.1");
        assert_eq!(tidegate.get("/").text(), "h2", "{protocol}");
        let spoken = origin.connections();
        assert_eq!(spoken, ["h2", "http/1.1", "http/1.1", "http/1.1"], "{protocol}");
        for client in &mut tunnels {
            client.half_close();
            client.expect_closed();
        }
        tidegate.wait_until_no_backend_is_busy();
        assert_eq!(tidegate.metric("tidegate_tunnels_opened_total", ""), 2);
        assert_eq!(tidegate.metric("tidegate_backend_connections", r#"state="idle""#), 1);
    }
}

#[test]
fn a_tunnel_of_an_http2_client_to_an_http2_origin_is_one_of_http1_in_between() {
    let (origin, tidegate) = beside_http2("http2", None, |setup| {
        setup.set("front.listen", "[{ address = '127.0.0.1:0', http2 = true }]")
    });
    let mut client = Streams::connect(tidegate.address());
    let mut tunnel = client.open("/chat", "websocket").unwrap();
    tunnel.send("hello".to_owned());
    assert_eq!(tunnel.take(5), "hello");
    tunnel.end();
    assert_eq!(tunnel.wait_for_end(), (Ended::Whole, String::new()));
    assert_eq!(origin.connections(), ["http/1.1"]);
    tidegate.wait_until_no_backend_is_busy();
}

#[test]
fn a_tunnel_takes_the_place_of_an_http2_connection_that_nobody_uses() {
    let (origin, tidegate) = beside_http2("http2", None, |setup| {
        let setup = setup.set("origin.o.connections_max", "1");
        setup.set("origin.o.queue_timeout", "'50ms'")
    });
    for _ in 0..2 {
        assert_eq!(tidegate.get("/").text(), "h2");
        let mut client = open(&tidegate, "/chat");
        assert_eq!(tidegate.get("/").status, 503, "the only place is taken");
        client.half_close();
        client.expect_closed();
        tidegate.wait_until_no_backend_is_busy();
    }
    assert_eq!(origin.connections(), ["h2", "http/1.1", "h2", "http/1.1"]);
}

#[test]
fn an_origin_that_knows_nothing_but_http2_has_no_tunnels() {
    let (origin, tidegate) = beside_http2("auto", Some(&["h2"]), |setup| setup);
    let response = tidegate.ask(ask("/chat"));
    let told = response.field("proxy-status");
    assert!(
        response.status == 502 && told.contains("tls_alert_received"),
        "{response:?}"
    );
    assert_eq!(
        (tidegate.get("/").text().as_str(), origin.connections()),
        ("h2", vec!["h2"])
    );
}

#[test]
fn an_origin_that_refuses_is_an_ordinary_answer() {
    in_both_shapes(|shape| {
        let origin = Origin::start(|request| match request.path() {
            "/426" => Script::answer(426, "Upgrade: websocket\r\nConnection: Upgrade\r\n", "not so"),
            _ => Script::answer(403, "Cache-Control: max-age=60\r\n", "no"),
        });
        let tidegate = Setup::of(&origin.address()).shape(shape).start();
        let mut client = tidegate.client();
        for _ in 0..2 {
            let response = client.ask(ask("/chat"));
            assert_eq!((response.status, response.text().as_str()), (403, "no"));
        }
        assert_eq!(origin.count("/chat"), 2, "never from store");
        let response = client.ask(ask("/426"));
        assert_eq!((response.status, response.field("upgrade")), (426, "websocket"));
        assert_eq!(tidegate.metric("tidegate_tunnels_opened_total", ""), 0);
    });
}

#[test]
fn what_may_not_or_cannot_be_upgraded_is_answered_without_it() {
    let origin = Origin::start(|_| Script::ok("plain"));
    let sites = "[[site]]\nhosts = ['www.example.com']\norigin = 'o'\nupgrades = ['websocket', 'spdy']\n\
                 [[site.route]]\nprefix = '/none'\nupgrades = []\n";
    let tidegate = Setup::with_sites(sites).origin("o", &origin.address()).start();
    let lines = |upgrade: &str| format!("Upgrade: {upgrade}\r\nConnection: upgrade\r\n");
    for (path, asked, expected) in [
        ("/none", request("GET", "/none", ASKED, ""), None),
        (
            "/h2c",
            request("GET", "/h2c", &(lines("h2c") + "HTTP2-Settings: AAMAAABk\r\n"), ""),
            None,
        ),
        (
            "/some",
            request("GET", "/some", &lines("h2c, SPDY/3.1, foo"), ""),
            Some("SPDY/3.1"),
        ),
        ("/unsaid", request("GET", "/unsaid", "Upgrade: websocket\r\n", ""), None),
        (
            "/content",
            request("POST", "/content", &(lines("websocket") + "Content-Length: 1\r\n"), "x"),
            None,
        ),
        (
            "/post",
            request("POST", "/post", &lines("spdy/3.1"), ""),
            Some("spdy/3.1"),
        ),
        (
            "/old",
            format!(
                "GET /old HTTP/1.0\r\nHost: www.example.com\r\n{}\r\n",
                lines("websocket")
            ),
            None,
        ),
    ] {
        assert_eq!(tidegate.ask(asked).status, 200, "{path}");
        let fields = origin.last_request().head.fields;
        assert_eq!(fields.get("upgrade"), expected, "{path}");
        assert_eq!(fields.get("connection"), expected.map(|_| "upgrade"), "{path}");
    }
}

#[test]
fn any_protocol_that_the_route_allows_is_tunnelled() {
    let origin = Origin::at_head(|request| {
        let protocol = request.field("upgrade").unwrap_or("none").to_owned();
        let head = format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: {protocol}\r\nConnection: upgrade\r\n\r\n");
        Script::says(head).echo().close()
    });
    let site = "[[site]]\nhosts = ['www.example.com']\norigin = 'o'\nupgrades = ['chat', 'tcp']\n";
    let tidegate = Setup::with_sites(site).origin("o", &origin.address()).start();
    for (method, asked) in [("GET", "tcp"), ("POST", "Chat/2.0")] {
        let mut client = tidegate.client();
        let lines = format!("Connection: keep-alive, Upgrade\r\nUpgrade: {asked}\r\n");
        client.send(request(method, "/", &lines, ""));
        let head = client.read_head();
        assert_eq!((head.status, head.field("upgrade")), (101, asked));
        client.send("\0any bytes\n");
        assert_eq!(client.take_bytes(11), "\0any bytes\n");
        client.half_close();
        client.expect_closed();
    }
}

#[test]
fn the_end_of_one_direction_is_passed_on_through_tls_as_well() {
    let (_folder, path) = folder();
    let made = Made::ecdsa(&["127.0.0.1", "www.example.com"]);
    let origin = DualOrigin::tls(&made, &["http/1.1"], Http2::saying(http::HeaderMap::new(), "h2"));
    let files = made.write(&path, "both");
    let tidegate = Setup::of(&origin.url())
        .set("origin.o.tls.roots", &format!("'{}'", files.certificate.display()))
        .set("front.listen", "[{ address = '127.0.0.1:0', tls = 'test' }]")
        .set("tls.test.certificates", &format!("[{}]", files.entry()))
        .start();
    let mut client = Tls::offering(&[])
        .connect(tidegate.address(), "www.example.com")
        .unwrap();
    client.ask(&ask("/chat"), "\r\n\r\n");
    assert_eq!(client.ask("hello", "hello"), "hello");
    // The origin hears the end and answers all the same; its own end comes in order, as TLS knows one.
    let rest = client.end_with("last words");
    assert_eq!(rest, "last words");
    ended_for(&tidegate, "tunnel_client");
    tidegate.wait_until_no_backend_is_busy();
}

#[test]
fn a_101_to_something_else_is_a_502() {
    for fields in ["Upgrade: h2c\r\nConnection: upgrade\r\n", ""] {
        let origin = Origin::at_head(move |_| Script::says(format!("HTTP/1.1 101 Switched\r\n{fields}\r\n")).hold());
        let tidegate = Setup::of(&origin.address()).start();
        let response = tidegate.ask(ask("/chat"));
        assert_eq!(response.status, 502);
        assert!(
            response.field("proxy-status").contains("http_upgrade_failed"),
            "{response:?}"
        );
        tidegate.wait_until_no_backend_is_busy();
    }
}

#[test]
fn each_side_may_end_first_and_still_hear_the_other() {
    let go_on = Gate::new();
    let gate = go_on.clone();
    let origin = Origin::at_head(move |request| match request.path() {
        "/client" => Script::says(SWITCHED).echo().wait(&gate).send("late").close(),
        "/reset" => Script::says(SWITCHED).send("some").reset(),
        _ => Script::says(SWITCHED).send("bye").close(),
    });
    let tidegate = Setup::of(&origin.address()).start();
    let mut client = open(&tidegate, "/client");
    client.send("last words");
    client.half_close();
    assert_eq!(client.take_bytes(10), "last words");
    go_on.open();
    assert_eq!(client.wait_for_end(), (Stop::End, "late".to_owned()));
    ended_for(&tidegate, "tunnel_client");

    let mut client = open(&tidegate, "/server");
    assert_eq!(client.wait_for_end(), (Stop::End, "bye".to_owned()));
    client.send("heard?");
    client.half_close();
    ended_for(&tidegate, "tunnel_server");

    let mut client = open(&tidegate, "/reset");
    assert_eq!(client.wait_for_end().0, Stop::Reset, "not an end in order");
    ended_for(&tidegate, "tunnel_server_reset");

    let client = open(&tidegate, "/client");
    client.reset();
    ended_for(&tidegate, "tunnel_client_reset");
    eventually("all are gone", || origin.open_connections() == 0);
}

#[test]
fn a_side_that_does_not_read_holds_back_the_other_and_nothing_else() {
    let origin = Origin::at_head(|request| match request.path() {
        "/flood" => Script::says(SWITCHED).repeat(vec![b'f'; 65_536], 1024),
        _ => Script::says(SWITCHED).echo().close(),
    });
    let tidegate = Setup::of(&origin.address()).start();
    drop(open(&tidegate, "/chat"));
    let before = tidegate.front.process.memory();
    let mut client = open(&tidegate, "/flood");
    // It reads nothing meanwhile; what tidegate holds of 64 MiB is one piece, the rest waits in kernels and at the origin.
    client.send("up");
    tidegate.expect_metric_of_at_least("tidegate_tunnel_bytes_received_total", "", 2);
    expect_held_back("the origin sends no more", &tidegate, before, || origin.bytes_sent());
    take_all(&mut client);
}

#[test]
fn an_origin_that_does_not_read_holds_back_the_client_and_nothing_else() {
    let gate = Gate::new();
    let read = gate.clone();
    let origin = Origin::at_head(move |_| Script::says(SWITCHED).wait(&read).echo().close());
    let tidegate = Setup::of(&origin.address()).start();
    let mut client = open(&tidegate, "/chat");
    let before = tidegate.front.process.memory();
    let (mut writer, sent) = (client.writer(), AtomicU64::new(0));
    let sent = &sent;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let piece = vec![b'f'; 65_536];
            for _ in 0..1024 {
                writer.write_all(&piece).unwrap();
                sent.fetch_add(65_536, Ordering::SeqCst);
            }
        });
        expect_held_back("the client sends no more", &tidegate, before, || {
            sent.load(Ordering::SeqCst)
        });
        gate.open();
        take_all(&mut client);
    });
    client.half_close();
    client.expect_closed();
}

/// Reads 64 MiB.
#[track_caller]
fn take_all(client: &mut Client) {
    let mut all = 0;
    while all < 64 << 20 {
        all += client.take_bytes(1).len();
    }
    assert_eq!(all, 64 << 20);
}

/// Waits until no more is sent of 64 MiB, and sees that it is not memory that took it.
#[track_caller]
fn expect_held_back(what: &str, tidegate: &Tidegate, memory_before: u64, sent: impl Fn() -> u64) {
    let mut last = 0;
    eventually(what, || {
        let now = sent();
        std::mem::replace(&mut last, now) == now && now > 0
    });
    assert!(sent() < 64 << 20, "held back");
    let grown = tidegate.front.process.memory().saturating_sub(memory_before);
    assert!(grown < 8 << 20, "{grown} bytes");
}

#[test]
fn a_silent_tunnel_ends_after_its_time() {
    let origin = echo();
    let setup = Setup::of(&origin.address()).set("origin.o.tunnel_timeout", "'50ms'");
    let tidegate = setup.start();
    let mut client = open(&tidegate, "/chat");
    client.expect_closed();
    ended_for(&tidegate, "tunnel_idle");
    eventually("the origin's connection is gone", || origin.open_connections() == 0);
}

#[test]
fn a_drain_lets_tunnels_go_on_until_its_time_is_over_and_they_are_logged() {
    let (_folder, path) = folder();
    let file = path.join("access.log");
    let origin = echo();
    let setup = Setup::of(&origin.address())
        .set("process.drain_timeout", "'1s'")
        .set("log.access.to", &format!("'{}'", file.display()))
        .set("log.access.format", "'json'")
        .set("log.access.flush", "'20ms'");
    let mut tidegate = setup.start();
    let mut first = open(&tidegate, "/first");
    first.send("hello");
    first.take_bytes(5);
    first.half_close();
    first.expect_closed();
    let mut client = open(&tidegate, "/second");
    tidegate.front.process.signal(SIGTERM);
    eventually("the drain has begun", || {
        Client::try_connect(tidegate.address()).is_err()
    });
    client.send("still here");
    assert_eq!(client.take_bytes(10), "still here");
    assert_eq!(tidegate.front.process.wait_for_exit(), 0);
    let lines = logged(&file);
    for (line, target, end, bytes) in [
        (&lines[0], "/first", "tunnel_client", 5),
        (&lines[1], "/second", "tunnel_drain", 10),
    ] {
        assert_eq!(
            (&line["target"], &line["status"], &line["end"], &line["close"]),
            (&target.into(), &101.into(), &end.into(), &"upgraded".into()),
            "{line}"
        );
        assert_eq!(line["body_bytes"], bytes, "{line}");
        assert!(
            line["bytes_received"].as_u64() > Some(100) && line["bytes_sent"].as_u64() > Some(100),
            "{line}"
        );
    }
}

fn logged(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap();
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // Those of different workers come in any order.
    lines.sort_by_key(|line| line["target"].to_string());
    lines
}

#[test]
fn a_tunnel_holds_its_places_until_it_is_gone() {
    let origin = Origin::at_head(|request| match request.path() {
        "/chat" => Script::says(SWITCHED).echo().close(),
        _ => Script::ok("plain"),
    });
    let setup = Setup::of(&origin.address())
        .set("origin.o.connections_max", "1")
        .set("origin.o.queue_timeout", "'50ms'");
    let tidegate = setup.start();
    let mut client = open(&tidegate, "/chat");
    assert_eq!(tidegate.get("/plain").status, 503, "the only place is taken");
    client.half_close();
    client.expect_closed();
    tidegate.wait_until_no_backend_is_busy();
    assert_eq!(tidegate.get("/plain").status, 200);
}

/// A WebSocket server of Node's standard library: answers the handshake by RFC 6455 §4.2.2, then says "hi" and goodbye.
const NODE_SERVER: &str = r#"
const { createHash } = require('crypto');
const server = require('http').createServer((_, response) => response.end('plain'));
server.on('upgrade', (request, socket) => {
  const key = request.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
  const accept = createHash('sha1').update(key).digest('base64');
  socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
    `Sec-WebSocket-Accept: ${accept}\r\n\r\n`);
  socket.write(Buffer.from([0x81, 2, 0x68, 0x69, 0x88, 2, 3, 0xe8]));
  socket.on('data', () => socket.end());
});
server.listen(0, '127.0.0.1', () => console.error('port ' + server.address().port + ' .'));
"#;

#[test]
fn nodes_websocket_talks_through_it() {
    let (Some(mut server), Some(mut client)) = (installed("node"), installed("node")) else {
        return;
    };
    server.args(["-e", NODE_SERVER]);
    let server = Process::spawn(server);
    server.wait_for_line("port", |line| line.starts_with("port "));
    let log = server.log();
    let port = log.split(' ').nth(1).unwrap();
    let tidegate = Setup::of(&format!("127.0.0.1:{port}")).start();
    let script = format!(
        "const ws = new WebSocket('ws://{}/chat');\n\
         ws.onmessage = event => console.log('got ' + event.data);\n\
         ws.onclose = event => {{ console.log('closed ' + event.code); process.exit(0); }};\n\
         ws.onerror = event => {{ console.log('error ' + event.message); process.exit(1); }};",
        tidegate.address()
    );
    client.args(["--experimental-websocket", "-e", &script]);
    let outcome = run_to_end(client);
    assert_eq!(outcome.stdout, "got hi\nclosed 1000\n", "{}", outcome.stderr);
}
