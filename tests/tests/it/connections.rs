//! The life of a client's connection: kept alive, pipelined, capped, timed out, closed; and the count of its reasons.

use tests::client::{Client, get, request};
use tests::origin::Origin;
use tests::script::Script;
use tests::setup::Setup;
use tests::tidegate::Tidegate;
use tests::wait::{Gate, eventually};
use tests::wire::Stop;

/// Echoes the target; uncached.
fn echo() -> Origin {
    Origin::start(|request| Script::ok(request.target()))
}

fn closed_for(tidegate: &Tidegate, reason: &str) {
    tidegate.expect_metric_of_at_least(
        "tidegate_connections_close_reasons_total",
        &format!("reason=\"{reason}\""),
        1,
    );
}

#[test]
fn a_connection_is_kept_alive_on_both_sides() {
    let origin = echo();
    let tidegate = Setup::of(&origin.address()).start();
    let mut client = tidegate.client();
    for i in 0..20 {
        let response = client.get(&format!("/{i}"));
        assert_eq!((response.text(), response.says_close()), (format!("/{i}"), false));
    }
    assert_eq!(origin.connections(), 1, "the pooled connection is used again");
}

#[test]
fn close_is_honoured() {
    let origin = echo();
    let tidegate = Setup::of(&origin.address()).start();
    for value in ["close", "Close", "keep-alive, close"] {
        let mut client = tidegate.client();
        let response = client.ask(request("GET", "/", &format!("Connection: {value}\r\n"), ""));
        assert_eq!((response.status, response.says_close()), (200, true), "{value}");
        client.expect_closed();
    }
    closed_for(&tidegate, "requested");
}

#[test]
fn http_1_0_closes_unless_it_asks_not_to() {
    let origin = echo();
    let tidegate = Setup::of(&origin.address()).start();
    let mut client = tidegate.client();
    assert_eq!(
        client.ask("GET /a HTTP/1.0\r\nHost: www.example.com\r\n\r\n").text(),
        "/a"
    );
    client.expect_closed();

    let mut client = tidegate.client();
    for path in ["/b", "/c"] {
        let response = client.ask(format!(
            "GET {path} HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"
        ));
        assert_eq!(response.text(), path);
        assert_eq!(
            response.field("connection").to_ascii_lowercase(),
            "keep-alive",
            "{response:?}"
        );
    }
}

#[test]
fn an_http_1_0_client_gets_no_transfer_coding() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    let origin = Origin::start(move |_| Script::says(chunked));
    let tidegate = Setup::of(&origin.address()).start();
    let mut client = tidegate.client();
    let response = client.ask("GET / HTTP/1.0\r\nHost: www.example.com\r\n\r\n");
    assert_eq!(
        (response.text().as_str(), response.has("transfer-encoding")),
        ("abcde", false),
        "{response:?}"
    );
    assert!(response.looks_whole());
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let gate = Gate::new();
    let first = gate.clone();
    let origin = Origin::start(move |request| match request.path() {
        "/0" => Script::new()
            .wait(&first)
            .send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n/0"),
        path => Script::ok(path),
    });
    let tidegate = Setup::of(&origin.address()).start();
    let mut client = tidegate.client();
    let all: String = (0..10).map(|i| get(&format!("/{i}"))).collect();
    client.send(all);
    gate.wait_for_arrivals(1);
    gate.open();
    for i in 0..10 {
        assert_eq!(client.read().text(), format!("/{i}"));
    }
}

#[test]
fn empty_lines_before_a_request_are_skipped() {
    let origin = echo();
    let tidegate = Setup::of(&origin.address()).start();
    let mut client = tidegate.client();
    // "a server that is expecting to receive and parse a request-line SHOULD ignore at least one empty line (CRLF)
    // received prior to the request-line" (RFC 9112 §2.2).
    for _ in 0..2 {
        assert_eq!(client.ask(format!("\r\n{}", get("/a"))).text(), "/a");
    }
}

#[test]
fn the_last_request_of_the_cap_is_answered_with_close() {
    let origin = echo();
    let tidegate = Setup::of(&origin.address())
        .set("front.requests_per_connection_max", "3")
        .start();
    let mut client = tidegate.client();
    assert!(!client.get("/1").says_close());
    assert!(!client.get("/2").says_close());
    let last = client.get("/3");
    assert_eq!((last.status, last.says_close()), (200, true));
    client.expect_closed();
    closed_for(&tidegate, "requests_max");
}

#[test]
fn a_request_head_that_does_not_come_is_timed_out() {
    let origin = echo();
    let tidegate = Setup::of(&origin.address())
        .set("front.header_timeout", "'300ms'")
        .start();
    let mut client = tidegate.client();
    client.send("GET / HTTP/1.1\r\nHost: www.ex");
    let (stop, text) = client.wait_for_end();
    assert_ne!(stop, Stop::Silence);
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 408 "), "{text}");
    closed_for(&tidegate, "header_timeout");
    assert_eq!(origin.requests().len(), 0);
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let origin = echo();
    let tidegate = Setup::of(&origin.address())
        .set("front.idle_timeout", "'300ms'")
        .start();
    let mut client = tidegate.client();
    assert_eq!(client.get("/").status, 200);
    client.expect_closed();
    closed_for(&tidegate, "idle_timeout");
}

#[test]
fn a_body_that_stops_coming_is_timed_out_and_never_looks_whole() {
    let origin = echo();
    let tidegate = Setup::of(&origin.address())
        .set("front.body_timeout", "'300ms'")
        .start();
    for (lines, part) in [
        ("Content-Length: 10\r\n", "abc"),
        ("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n"),
    ] {
        let mut client = tidegate.client();
        client.send(request("POST", "/", lines, part));
        let (stop, text) = client.wait_for_end();
        assert_ne!(stop, Stop::Silence);
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 408 "), "{text}");
    }
    closed_for(&tidegate, "body_timeout");
    tidegate.wait_until_no_backend_is_busy();
    assert!(
        origin.requests().iter().all(|request| !request.is_whole()),
        "{:?}",
        origin.requests()
    );
}

#[test]
fn a_client_that_takes_nothing_is_timed_out() {
    let origin = Origin::start(|_| Script::says("HTTP/1.1 200 OK\r\n\r\n").forever(vec![b'x'; 64 << 10]));
    let tidegate = Setup::of(&origin.address())
        .set("front.send_timeout", "'300ms'")
        .start();
    let mut client = tidegate.client();
    client.send(get("/"));
    closed_for(&tidegate, "send_timeout");
    tidegate.wait_until_no_backend_is_busy();
}

#[test]
fn connections_over_the_limit_are_shed() {
    let origin = echo();
    let tidegate = Setup::of(&origin.address()).set("process.connections_max", "4").start();
    let mut kept: Vec<Client> = (0..4).map(|_| tidegate.client()).collect();
    for client in &mut kept {
        assert_eq!(client.get("/").status, 200);
    }
    let mut fifth = tidegate.client();
    fifth.send(get("/"));
    let (stop, text) = fifth.wait_for_end();
    assert!(
        stop != Stop::Silence && !text.starts_with("HTTP/1.1 200"),
        "{stop:?} {text}"
    );

    drop(kept);
    eventually("there is room again", || {
        let Ok(mut client) = Client::try_connect(tidegate.address()) else {
            return false;
        };
        client.send(get("/"));
        client
            .try_read_answer_to("GET")
            .is_ok_and(|response| response.status == 200)
    });
    tidegate.expect_metric_of_at_least("tidegate_connections_shed_total", "", 1);
}

#[test]
fn a_client_that_ends_its_side_is_answered_or_cancelled_by_configuration() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::at_head(move |_| Script::new().open(&held).read_some(usize::MAX));
    let tidegate = Setup::of(&origin.address()).set("front.half_close", "'cancel'").start();
    let mut client = tidegate.client();
    // A GET might be stored: it would be fetched to its end for others.
    client.send(request("DELETE", "/", "", ""));
    assert!(gate.pass());
    client.half_close();
    client.expect_closed();
    eventually("the origin's connection is gone", || origin.open_connections() == 0);
    tidegate.wait_until_no_backend_is_busy();

    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start(move |_| {
        Script::new()
            .wait(&held)
            .send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    });
    let tidegate = Setup::of(&origin.address()).set("front.half_close", "'answer'").start();
    let mut client = tidegate.client();
    client.send(get("/"));
    client.half_close();
    gate.wait_for_arrivals(1);
    gate.open();
    assert_eq!(client.read().text(), "ok");
    client.expect_closed();
}
