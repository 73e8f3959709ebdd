//! What a message loses and gains on its way: hop-by-hop fields, `Via`, `X-Forwarded-*`, `Forwarded`, the target's form;
//! and that a loop is found.

use std::sync::{Arc, OnceLock};

use tests::client::{get, once, request};
use tests::message::Request;
use tests::origin::Origin;
use tests::script::Script;
use tests::setup::Setup;

/// What the origin receives when a client sends a GET with these lines.
fn received(setup: &Setup, origin: &Origin, lines: &str) -> Request {
    let tidegate = setup.start();
    let response = tidegate.ask(request("GET", "/", lines, ""));
    assert_eq!(response.status, 200, "{lines:?}: {response:?}");
    origin.last_request()
}

#[test]
fn fields_of_one_hop_do_not_reach_the_origin() {
    let origin = Origin::saying("hello");
    let lines = "Connection: keep-alive, X-Secret ,, x-other\r\nConnection: X-Third\r\nKeep-Alive: timeout=5\r\n\
                 Proxy-Connection: keep-alive\r\nX-Secret: 1\r\nx-other: 2\r\nX-Third: 3\r\nTE: gzip\r\n\
                 Upgrade: websocket\r\nProxy-Authorization: Basic eA==\r\nX-Kept: 4\r\n";
    let request = received(&Setup::of(&origin.address()), &origin, lines);
    for name in [
        "keep-alive",
        "proxy-connection",
        "x-secret",
        "x-other",
        "x-third",
        "te",
        "upgrade",
    ] {
        assert_eq!(request.field(name), None, "{}", request.head.raw);
    }
    assert_eq!(request.field("x-kept"), Some("4"));
    assert!(
        !request
            .head
            .fields
            .joined("connection")
            .to_ascii_lowercase()
            .contains("secret"),
        "{}",
        request.head.raw
    );
}

#[test]
fn fields_of_one_hop_do_not_reach_the_client() {
    let origin = Origin::start(|_| {
        let lines = "Connection: X-Secret\r\nX-Secret: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: close\r\n\
                     Upgrade: h2c\r\nX-Kept: 2\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n";
        Script::answer(200, lines, "hello")
    });
    let tidegate = Setup::of(&origin.address()).start();
    let response = tidegate.get("/");
    for name in ["x-secret", "keep-alive", "proxy-connection", "upgrade"] {
        assert!(!response.has(name), "{response:?}");
    }
    assert_eq!((response.field("x-kept"), response.field("content-length")), ("2", "5"));
    assert_eq!(response.head.fields.all("set-cookie"), ["a=b", "c=d"]);
}

#[test]
fn connection_cannot_name_away_what_matters() {
    let origin = Origin::start(|request| Script::ok(request.content.text()));
    let tidegate = Setup::of(&origin.address())
        .set("front.forwarded.x_forwarded", "true")
        .start();
    for (name, value) in [
        ("Host", "www.example.com"),
        ("Content-Length", "3"),
        ("Authorization", "Basic eA=="),
        ("Cookie", "a=b"),
        ("Cache-Control", "no-cache"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("Via", "1.1 tidegate"),
        ("Content-Type", "text/plain"),
        ("Range", "bytes=0-1"),
    ] {
        let own = if matches!(name, "Host" | "Content-Length" | "X-Forwarded-For" | "Via") {
            String::new()
        } else {
            format!("{name}: {value}\r\n")
        };
        let lines = format!("Connection: {name}\r\nContent-Length: 3\r\n{own}");
        let response = tidegate.ask(request("POST", "/", &lines, "abc"));
        assert_eq!((response.status, response.text().as_str()), (200, "abc"), "{name}");
        assert_eq!(origin.last_request().field(name), Some(value), "Connection: {name}");
    }
}

#[test]
fn via_tells_of_every_hop() {
    let origin = Origin::start(|_| Script::answer(200, "Via: 1.0 inner\r\nCache-Control: no-store\r\n", ""));
    let tidegate = Setup::of(&origin.address()).start();
    let response = tidegate.ask(request("GET", "/", "Via: 1.1 before, 1.0 long-before\r\n", ""));
    assert_eq!(
        origin.last_request().head.fields.joined("via"),
        "1.1 before, 1.0 long-before, 1.1 tidegate"
    );
    assert_eq!(response.head.fields.joined("via"), "1.0 inner, 1.1 tidegate");

    once(tidegate.address(), "GET / HTTP/1.0\r\nHost: www.example.com\r\n\r\n");
    assert_eq!(origin.last_request().field("via"), Some("1.0 tidegate"));
    assert!(
        origin.last_request().head.start_line.ends_with(" HTTP/1.1"),
        "our own version is sent"
    );
}

#[test]
fn x_forwarded_fields_are_believed_only_from_trusted_peers() {
    let lines = "X-Forwarded-For: 192.0.2.1, 198.51.100.2\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: before.example\r\n\
                 Forwarded: for=192.0.2.1\r\n";
    for (trusted, lines, [client, proto, host]) in [
        ("[]", "", ["127.0.0.1", "http", "www.example.com"]),
        ("[]", lines, ["127.0.0.1", "http", "www.example.com"]),
        (
            "['192.0.2.0/24', '::1/128']",
            lines,
            ["127.0.0.1", "http", "www.example.com"],
        ),
        ("['127.0.0.0/8']", "", ["127.0.0.1", "http", "www.example.com"]),
        (
            "['127.0.0.0/8']",
            lines,
            ["192.0.2.1, 198.51.100.2, 127.0.0.1", "https", "before.example"],
        ),
    ] {
        let origin = Origin::saying("hello");
        let setup = Setup::of(&origin.address())
            .set("front.forwarded.x_forwarded", "true")
            .set("front.forwarded.trusted", trusted);
        let request = received(&setup, &origin, lines);
        let joined = |name: &str| request.head.fields.joined(name);
        let told = [
            joined("x-forwarded-for"),
            joined("x-forwarded-proto"),
            joined("x-forwarded-host"),
        ];
        assert_eq!(told, [client, proto, host], "trusted = {trusted}, {lines:?}");
    }
}

#[test]
fn forwarded_is_sent_where_it_is_wanted() {
    for (trusted, expected) in [("[]", 1), ("['127.0.0.1/32']", 2)] {
        let origin = Origin::saying("hello");
        let setup = Setup::of(&origin.address())
            .set("front.forwarded.forwarded", "true")
            .set("front.forwarded.x_forwarded", "false")
            .set("front.forwarded.trusted", trusted);
        let request = received(
            &setup,
            &origin,
            "Forwarded: for=192.0.2.1;proto=https\r\nX-Forwarded-For: 192.0.2.1\r\n",
        );
        let forwarded = request.head.fields.joined("forwarded");
        assert_eq!(
            forwarded.matches("for=").count(),
            expected,
            "trusted = {trusted}: {forwarded}"
        );
        let last = forwarded.rsplit(',').next().unwrap().to_ascii_lowercase();
        for part in ["for=127.0.0.1", "proto=http", "host=www.example.com"] {
            assert!(
                last.replace('"', "").split(';').any(|pair| pair.trim() == part),
                "{part} in {forwarded}"
            );
        }
        assert_eq!(
            request.field("x-forwarded-for").is_some(),
            expected == 2,
            "{}",
            request.head.raw
        );
    }
}

#[test]
fn nothing_is_told_about_the_client_unless_wanted() {
    let origin = Origin::saying("hello");
    let setup = Setup::of(&origin.address())
        .set("front.forwarded.x_forwarded", "false")
        .set("front.forwarded.forwarded", "false");
    let request = received(
        &setup,
        &origin,
        "X-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.1\r\n",
    );
    assert!(
        !request.head.raw.contains("127.0.0.1") && !request.head.raw.contains("192.0.2.1"),
        "{}",
        request.head.raw
    );
}

#[test]
fn the_absolute_form_is_taken_apart() {
    let origin = Origin::saying("hello");
    let tidegate = Setup::of(&origin.address()).start();
    for (target, host, expected) in [
        ("http://www.example.com/a?b=c", "www.example.com", "/a?b=c"),
        // "When a proxy receives a request with an absolute-form of request-target, the proxy MUST ignore the received
        // Host header field (if any) and instead replace it with the host information of the request-target." (§3.2.2)
        ("http://www.example.com/a", "elsewhere.example", "/a"),
        ("http://www.example.com", "www.example.com", "/"),
        ("http://www.example.com?q", "www.example.com", "/?q"),
        ("HTTP://WWW.example.com/", "www.example.com", "/"),
    ] {
        let response = tidegate.ask(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(response.status, 200, "{target}: {response:?}");
        let request = origin.last_request();
        assert_eq!(request.target(), expected, "{target}");
        let host = request.field("host").unwrap_or_default().to_ascii_lowercase();
        assert_eq!(
            (host.as_str(), request.head.fields.all("host").len()),
            ("www.example.com", 1),
            "{target}"
        );
    }
}

#[test]
fn target_and_fields_pass_byte_for_byte() {
    let origin = Origin::saying("hello");
    let tidegate = Setup::of(&origin.address()).start();
    let target = "/a//b/../c/%2e%2E/%00;p=1?q=%zz&r='|{}[]^";
    let lines = "X-Odd: caf\u{e9} \t x\r\nX-Empty:\r\nUser-Agent: a/1.0 (b; c) d\r\nX-Twice: 1\r\nX-Twice: 2\r\n";
    let bytes: Vec<u8> = request("GET", target, lines, "")
        .chars()
        .map(|c| u8::try_from(c).unwrap())
        .collect();
    let response = tidegate.ask(bytes);
    assert_eq!(response.status, 200, "{response:?}");
    let request = origin.last_request();
    assert_eq!(
        (request.target(), request.field("x-odd")),
        (target, Some("caf\u{e9} \t x"))
    );
    assert_eq!(
        (
            request.field("x-empty"),
            request.head.fields.all("x-twice").join(",").as_str()
        ),
        (Some(""), "1,2")
    );
    assert_eq!(
        (request.field("host"), request.field("user-agent")),
        (Some("www.example.com"), Some("a/1.0 (b; c) d"))
    );
}

#[test]
fn a_loop_is_found_and_told() {
    let front: Arc<OnceLock<String>> = Arc::default();
    let target = Arc::clone(&front);
    // An origin that sends everything back to the front, as a wrongly configured one does.
    let origin = Origin::start(move |request| {
        let response = once(target.get().unwrap(), &request.head.raw);
        Script::answer(
            response.status,
            &format!("X-Inner: {}\r\n", response.field("proxy-status")),
            "",
        )
    });
    let tidegate = Setup::of(&origin.address()).start();
    front.set(tidegate.address().to_owned()).unwrap();
    let response = tidegate.ask(get("/round"));
    assert_eq!(response.status, 508, "{response:?}");
    assert!(
        response.field("x-inner").contains("proxy_loop_detected"),
        "{response:?}"
    );
    assert_eq!(origin.count("/round"), 1);
    tidegate.expect_metric("tidegate_loops_detected_total", "", 1);
}
