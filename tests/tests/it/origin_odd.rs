//! Origins that behave oddly but within the rules, or beside them in ways that can be passed on safely.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tests::client::{get, request};
use tests::message::End;
use tests::origin::Origin;
use tests::script::Script;
use tests::setup::Setup;
use tests::wait::{Gate, eventually};

#[test]
#[rustfmt::skip]
fn odd_responses_that_are_right_are_passed_on() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\n";
    let rows = [
        ("no reason", Script::says("HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello")),
        ("long reason", Script::says("HTTP/1.1 200 All is well (really)\r\nContent-Length: 5\r\n\r\nhello")),
        ("HTTP/1.0", Script::says("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello").close()),
        ("a minor version to come", Script::says("HTTP/1.2 200 OK\r\nContent-Length: 5\r\n\r\nhello")),
        ("the last minor version", Script::says("HTTP/1.9 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")),
        ("tab in the reason", Script::says("HTTP/1.1 200 O\tK\r\nContent-Length: 5\r\n\r\nhello")),
        ("thirty interim responses", Script::says("HTTP/1.1 103 Early\r\n\r\n".repeat(30)).send(HEAD).send("Content-Length: 5\r\n\r\nhello")),
        ("100 with a length", Script::says("HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n").send(HEAD).send("Content-Length: 5\r\n\r\nhello")),
        ("space around chunk extensions", Script::says(HEAD).send("Transfer-Encoding: chunked\r\n\r\n5 ; a = b\r\nhello\r\n0\r\n\r\n")),
        ("value of 16 KiB", Script::says(HEAD).send(format!("X-A: {}\r\nContent-Length: 5\r\n\r\nhello", "b".repeat(16 << 10)))),
        ("HTTP/1.0 until close", Script::says("HTTP/1.0 200 OK\r\n\r\nhello").close()),
        ("HTTP/1.1 until close", Script::says("HTTP/1.1 200 OK\r\n\r\nhello").close()),
        ("100 before", Script::says("HTTP/1.1 100 Continue\r\n\r\n").send(HEAD).send("Content-Length: 5\r\n\r\nhello")),
        ("103 before", Script::says("HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\n").send(HEAD).send("Content-Length: 5\r\n\r\nhello")),
        ("byte by byte", Script::new().drip("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")),
        ("chunked byte by byte", Script::new().drip("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n005;x=\"y;\"\r\nhello\r\n0;z\r\nT: t\r\n\r\n")),
        ("many chunks", Script::says(HEAD).send("Transfer-Encoding: Chunked\r\n\r\n1\r\nh\r\n1\r\ne\r\n1\r\nl\r\n2\r\nlo\r\n0\r\n\r\n")),
        ("lower-case names", Script::says("HTTP/1.1 200 OK\r\ncontent-length:5\r\n\r\nhello")),
        ("no reason and no space", Script::says("HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello")),
        ("reason beyond ASCII", Script::says(b"HTTP/1.1 200 gr\xfcn\r\nContent-Length: 5\r\n\r\nhello")),
        ("list of lengths that agree", Script::says(HEAD).send("Content-Length: 5, 5\r\n\r\nhello")),
        ("two lengths that agree", Script::says(HEAD).send("Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello")),
        ("length with leading zeros", Script::says(HEAD).send("Content-Length: 05\r\n\r\nhello")),
        ("Connection that names the length", Script::says(HEAD).send("Connection: Content-Length\r\nContent-Length: 5\r\n\r\nhello")),
        ("other 1xx before", Script::says("HTTP/1.1 199 Odd\r\n\r\n").send(HEAD).send("Content-Length: 5\r\n\r\nhello")),
        ("empty value", Script::says(HEAD).send("X-Empty:\r\nContent-Length: 5\r\n\r\nhello")),
        ("bytes beyond ASCII", Script::says(HEAD).send(b"X-A: gr\xfcn\r\nContent-Length: 5\r\n\r\nhello")),
        ("keep-alive spelled out", Script::says(HEAD).send("Connection: Keep-Alive\r\nContent-Length: 5\r\n\r\nhello")),
        ("close", Script::says(HEAD).send("Connection: close\r\nContent-Length: 5\r\n\r\nhello").close()),
    ];
    let scripts: Vec<_> = rows.iter().map(|row| row.1.clone()).collect();
    let origin = Origin::start(move |request| scripts[request.path()[1..].parse::<usize>().unwrap_or(0)].clone());
    let tidegate = Setup::of(&origin.address()).start();
    let mut client = tidegate.client();
    for _ in 0..2 {
        for (index, (name, _)) in rows.iter().enumerate() {
            let response = client.get(&format!("/{index}"));
            assert_eq!(
                (response.status, response.text().as_str(), &response.end),
                (200, "hello", &End::Whole),
                "{name}"
            );
        }
    }
    tidegate.wait_until_no_backend_is_busy();
}

/// What comes after a response belongs to nobody; above all it is no answer to the next request.
#[test]
#[rustfmt::skip]
fn bytes_after_a_response_reach_nobody() {
    const SMUGGLED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled";
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    const LENGTH: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    for (name, method, lines, first, after, expected) in [
        ("extra response", "GET", "", LENGTH.to_owned() + "hello", SMUGGLED, (200, "hello")),
        ("extra garbage", "GET", "", LENGTH.to_owned() + "hello", "garbage", (200, "hello")),
        ("one byte", "GET", "", LENGTH.to_owned() + "hello", "\n", (200, "hello")),
        ("body of a 204", "GET", "", "HTTP/1.1 204 No Content\r\n\r\n".to_owned(), SMUGGLED, (204, "")),
        ("announced body of a 204", "GET", "", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n".to_owned(), "hello", (204, "")),
        ("chunked body of a 204", "GET", "", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(), "5\r\nhello\r\n0\r\n\r\n", (204, "")),
        ("body of a 304", "GET", "If-None-Match: \"a\"\r\n", "HTTP/1.1 304 Not Modified\r\n\r\n".to_owned(), SMUGGLED, (304, "")),
        ("body for a HEAD", "HEAD", "", LENGTH.to_owned(), SMUGGLED, (200, "")),
        ("after the last chunk", "GET", "", CHUNKED.to_owned(), SMUGGLED, (200, "")),
    ] {
        for script in [
            // In one piece with the response, or just after it.
            Script::new().repeat(first.clone() + after, 1),
            Script::says(&first).repeat(after, 1),
        ] {
            let origin = Origin::start(move |request| if request.path() == "/odd" { script.clone() } else { Script::ok("next") });
            let tidegate = Setup::of(&origin.address()).uncached().set("process.workers", "1").start();
            let mut client = tidegate.client();
            for _ in 0..3 {
                let sent = origin.bytes_sent();
                let response = client.ask(request(method, "/odd", lines, ""));
                assert_eq!((response.status, response.text().as_str()), expected, "{name}");
                // The bytes are in tidegate's socket buffer before it is asked again.
                eventually("all is sent", || origin.bytes_sent() > sent);
                assert_eq!(client.get("/next").text(), "next", "{name}");
            }
            tidegate.wait_until_no_backend_is_busy();
        }
    }
}

#[test]
fn a_status_that_nobody_asked_for_is_not_stored_for_others() {
    for (status, lines) in [
        (206, "Content-Range: bytes 0-4/100\r\nContent-Length: 5\r\n"),
        (304, "ETag: \"a\"\r\n"),
    ] {
        let body = if status == 206 { "hello" } else { "" };
        let unasked = format!("HTTP/1.1 {status} Odd\r\nCache-Control: max-age=60\r\n{lines}\r\n{body}");
        let first = AtomicBool::new(true);
        let origin = Origin::start(move |_| {
            let odd = first.swap(false, Ordering::SeqCst);
            if odd {
                Script::says(&unasked).close()
            } else {
                Script::cacheable("the whole")
            }
        });
        let tidegate = Setup::of(&origin.address()).start();
        let response = tidegate.get("/");
        assert!(
            [status, 502].contains(&response.status) && response.looks_whole(),
            "{response:?}"
        );
        let response = tidegate.get("/");
        assert_eq!(
            (response.status, response.text().as_str()),
            (200, "the whole"),
            "after an unasked {status}"
        );
    }
}

#[test]
fn an_idle_connection_that_the_origin_closed_is_not_used() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start(move |request| match request.path() {
        "/closes" => Script::ok("last").wait(&held).close(),
        path => Script::ok(path),
    });
    let tidegate = Setup::of(&origin.address()).set("process.workers", "1").start();
    for _ in 0..5 {
        assert_eq!(tidegate.get("/closes").text(), "last");
        gate.open();
        eventually("the origin has closed", || origin.open_connections() == 0);
        // A POST is not sent twice, so that it proves that no dead connection was tried.
        let response = tidegate.ask(request("POST", "/next", "Content-Length: 1\r\n", "x"));
        assert_eq!((response.status, response.text().as_str()), (200, "/next"));
        assert_eq!(tidegate.get("/other").text(), "/other");
    }
}

#[test]
fn a_get_that_meets_a_dying_connection_is_sent_again_once() {
    // Each connection answers one request and closes when it sees the second, without a byte: the race that every
    // keep-alive client runs into.
    let seen = Mutex::new(HashSet::new());
    let origin = Origin::at_head(move |request| {
        let is_first = seen.lock().insert(request.connection);
        if is_first {
            Script::ok(request.target())
        } else {
            Script::new().close()
        }
    });
    let setup = Setup::of(&origin.address()).set("origin.o.retries", "1");
    let tidegate = setup.set("process.workers", "1").start();
    for i in 0..6 {
        let path = format!("/{i}");
        let response = tidegate.get(&path);
        assert_eq!((response.status, response.text()), (200, path));
    }
    tidegate.expect_metric_of_at_least("tidegate_backend_retries_total", "", 1);
    tidegate.wait_until_no_backend_is_busy();
}

#[test]
fn no_request_fails_while_an_origin_closes_idle_connections_as_it_likes() {
    // After its first answer a connection may end at any time: as it lies idle, or when it sees the next request; in
    // order, or by a reset. Which of these comes when is drawn from the number of the request.
    let seen = Mutex::new(HashSet::new());
    let drawn = AtomicUsize::new(0);
    let origin = Origin::at_head(move |request| {
        let is_first = seen.lock().insert(request.connection);
        let draw = drawn.fetch_add(1, Ordering::SeqCst).wrapping_mul(0x9e37_79b9) >> 7;
        match draw % 7 {
            0 if !is_first => Script::new().close(),
            1 if !is_first => Script::new().reset(),
            2 | 3 => Script::ok(request.target()).close(),
            _ => Script::ok(request.target()),
        }
    });
    let tidegate = Setup::of(&origin.address()).set("origin.o.retries", "0").start();
    let ask = |client: usize| {
        let mut connection = tidegate.client();
        for i in 0..150 {
            let path = format!("/{client}/{i}");
            let response = connection.get(&path);
            assert_eq!((response.status, response.text()), (200, path), "{response:?}");
        }
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4).map(|client| scope.spawn(move || ask(client))).collect();
        assert!(clients.into_iter().all(|client| client.join().is_ok()));
    });
    tidegate.expect_metric_of_at_least("tidegate_backend_retries_total", "", 1);
    tidegate.wait_until_no_backend_is_busy();
}

#[test]
fn connections_to_an_origin_are_capped_and_waited_for() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start(move |request| match request.path() {
        "/slow" => Script::new()
            .wait(&held)
            .send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow"),
        path => Script::ok(path),
    });
    let setup = Setup::of(&origin.address())
        .uncached()
        .set("origin.o.connections_max", "2");
    let tidegate = setup.set("origin.o.queue_timeout", "'200ms'").start();
    let mut clients: Vec<_> = (0..2).map(|_| tidegate.client()).collect();
    for client in &mut clients {
        client.send(get("/slow"));
    }
    gate.wait_for_arrivals(2);
    let refused = tidegate.get("/third");
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(
        refused.field("proxy-status").contains("error=connection_limit_reached"),
        "{refused:?}"
    );
    tidegate.expect_metric("tidegate_backend_queue_timeouts_total", "", 1);
    gate.open();
    for client in &mut clients {
        assert_eq!(client.read().text(), "slow");
    }
    assert_eq!(
        (tidegate.get("/third").text().as_str(), origin.connections()),
        ("/third", 2)
    );
}
