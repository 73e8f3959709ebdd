//! Bodies on their way, both directions: framing, streaming, trailers, `100-continue`, limits, clients that leave.

use tests::client::{get, request};
use tests::message::End;
use tests::origin::Origin;
use tests::script::Script;
use tests::setup::Setup;
use tests::wait::{Gate, eventually};

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn every_framing_of_a_response_reaches_the_client_whole() {
    let origin = Origin::start(|request| match request.path() {
        "/length" => Script::ok("hello"),
        "/empty" => Script::ok(""),
        "/chunked" => Script::says(CHUNKED).drip("3;ext=\"a;b\"\r\nhel\r\n002\r\nlo\r\n0\r\n\r\n"),
        "/empty-chunked" => Script::says(CHUNKED).send("0\r\n\r\n"),
        "/until-close" => Script::says("HTTP/1.1 200 OK\r\n\r\nhello").close(),
        _ => Script::says("HTTP/1.0 200 OK\r\nServer: old\r\n\r\nhello").close(),
    });
    let tidegate = Setup::of(&origin.address()).start();
    let mut client = tidegate.client();
    for (path, text) in [
        ("/length", "hello"),
        ("/empty", ""),
        ("/chunked", "hello"),
        ("/empty-chunked", ""),
        ("/until-close", "hello"),
        ("/http-1.0", "hello"),
    ] {
        let response = client.get(path);
        assert_eq!(
            (response.status, response.text().as_str(), &response.end),
            (200, text, &End::Whole),
            "{path}"
        );
        assert_eq!(response.version(), "HTTP/1.1", "{path}");
    }
}

#[test]
fn answers_without_a_body_leave_the_connection_usable() {
    let origin = Origin::start(|request| match request.path() {
        "/204" => Script::says("HTTP/1.1 204 No Content\r\n\r\n"),
        "/304" => Script::says("HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n"),
        _ => Script::says("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
    });
    let tidegate = Setup::of(&origin.address()).uncached().start();
    let mut client = tidegate.client();
    for _ in 0..2 {
        let response = client.get("/204");
        assert_eq!(
            (
                response.status,
                response.has("content-length"),
                response.has("transfer-encoding")
            ),
            (204, false, false)
        );
        assert_eq!(
            client
                .ask(request("GET", "/304", "If-None-Match: \"a\"\r\n", ""))
                .status,
            304
        );
        let response = client.ask(request("HEAD", "/head", "", ""));
        assert_eq!((response.status, response.field("content-length")), (200, "5"));
    }
    assert_eq!(origin.count("/head"), 2);
}

#[test]
fn uploads_arrive_whole_in_either_framing() {
    let origin = Origin::start(|request| Script::ok(request.content.text()));
    let tidegate = Setup::of(&origin.address()).start();
    let mut client = tidegate.client();
    for (lines, body) in [
        ("Content-Length: 11\r\n", "hello world"),
        (
            "Transfer-Encoding: chunked\r\n",
            "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
        ),
        (
            "Transfer-Encoding: Chunked\r\n",
            "b;a=b;c=\"d\"\r\nhello world\r\n00\r\n\r\n",
        ),
    ] {
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            let response = client.ask(request(method, "/", lines, body));
            assert_eq!(
                (response.status, response.text().as_str()),
                (200, "hello world"),
                "{method} {lines}"
            );
            let received = origin.last_request();
            let (length, coding) = (
                received.head.fields.has("content-length"),
                received.head.fields.has("transfer-encoding"),
            );
            assert!(received.is_whole() && length != coding, "{}", received.head.raw);
        }
    }
    let response = client.ask(request("POST", "/", "Content-Length: 0\r\n", ""));
    assert_eq!(
        (response.status, origin.last_request().field("content-length")),
        (200, Some("0"))
    );
}

#[test]
fn trailers_pass_both_ways() {
    let origin = Origin::start(|_| {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n";
        Script::says(head).send("2\r\nok\r\n0\r\nX-Sum: down\r\n\r\n")
    });
    let tidegate = Setup::of(&origin.address()).start();
    let mut client = tidegate.client();
    let lines = "TE: trailers\r\nConnection: TE\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n";
    let response = client.ask(request("POST", "/", lines, "2\r\nhi\r\n0\r\nX-Sum: up\r\n\r\n"));
    assert_eq!(
        (response.text().as_str(), response.content.trailers.get("x-sum")),
        ("ok", Some("down"))
    );
    let received = origin.last_request();
    assert_eq!(
        (received.content.text().as_str(), received.content.trailers.get("x-sum")),
        ("hi", Some("up"))
    );
}

#[test]
fn trailers_bring_neither_framing_nor_routing() {
    const TRAILERS: &str = "Content-Length: 9\r\nTransfer-Encoding: gzip\r\nHost: other.example\r\nConnection: close\r\n\
                            Authorization: x\r\nSet-Cookie: a=b\r\nCache-Control: max-age=60\r\nX-Forwarded-For: 192.0.2.1\r\n\
                            Proxy-Authorization: x\r\nRange: bytes=0-1\r\nX-Sum: 1\r\n\r\n";
    let origin = Origin::start(|_| {
        Script::says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n").send(TRAILERS)
    });
    let tidegate = Setup::of(&origin.address()).start();
    let lines = "TE: trailers\r\nConnection: TE\r\nTransfer-Encoding: chunked\r\n";
    let response = tidegate.ask(request("POST", "/", lines, &format!("2\r\nhi\r\n0\r\n{TRAILERS}")));
    let received = origin.last_request();
    for (whose, content) in [("response", &response.content), ("request", &received.content)] {
        assert_eq!(content.trailers.get("x-sum"), Some("1"), "{whose}");
        for name in [
            "content-length",
            "transfer-encoding",
            "host",
            "connection",
            "authorization",
            "set-cookie",
            "cache-control",
            "x-forwarded-for",
            "proxy-authorization",
            "range",
        ] {
            assert_eq!(content.trailers.get(name), None, "{name} of the {whose}");
        }
    }
}

#[test]
fn a_response_is_passed_on_while_it_is_still_coming() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start(move |_| {
        Script::says(CHUNKED)
            .send("5\r\nfirst\r\n")
            .wait(&held)
            .send("1\r\n!\r\n0\r\n\r\n")
    });
    let tidegate = Setup::of(&origin.address()).start();
    let mut client = tidegate.client();
    client.send(get("/"));
    assert_eq!(client.read_head().status, 200);
    assert!(client.read_bytes("5\r\nfirst".len()).contains("first"));
    gate.open();
    assert!(
        client
            .read_bytes("5\r\nfirst\r\n1\r\n!\r\n0\r\n\r\n".len())
            .ends_with("0\r\n\r\n")
    );
}

#[test]
fn an_upload_is_passed_on_while_it_is_still_coming() {
    for (lines, first, rest) in [
        ("Content-Length: 10\r\n", "first", "again"),
        (
            "Transfer-Encoding: chunked\r\n",
            "5\r\nfirst\r\n",
            "5\r\nagain\r\n0\r\n\r\n",
        ),
    ] {
        let gate = Gate::new();
        let arrived = gate.clone();
        let origin = Origin::at_head(move |_| {
            let reading = Script::new().read_some(5).open(&arrived).read_body();
            reading.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        });
        let tidegate = Setup::of(&origin.address()).start();
        let mut client = tidegate.client();
        client.send(request("POST", "/", lines, first));
        assert!(gate.pass(), "the first part does not arrive before the rest is sent");
        client.send(rest);
        assert_eq!(
            (client.read().status, origin.last_request().content.text().as_str()),
            (200, "firstagain")
        );
    }
}

#[test]
fn a_client_that_expects_100_is_told_to_continue() {
    let origin = Origin::at_head(|_| {
        Script::says("HTTP/1.1 100 Continue\r\n\r\n")
            .read_body()
            .send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    });
    let tidegate = Setup::of(&origin.address()).start();
    let mut client = tidegate.client();
    for _ in 0..2 {
        client.send(request(
            "POST",
            "/",
            "Expect: 100-continue\r\nContent-Length: 4\r\n",
            "",
        ));
        assert_eq!(client.read_head().status, 100);
        client.send("body");
        assert_eq!(
            (
                client.read().text().as_str(),
                origin.last_request().content.text().as_str()
            ),
            ("ok", "body")
        );
    }
}

#[test]
fn an_origin_may_refuse_a_body_before_it_is_sent() {
    let origin = Origin::at_head(|_| Script::says("HTTP/1.1 417 No\r\nContent-Length: 2\r\n\r\nno").close());
    let tidegate = Setup::of(&origin.address()).start();
    let mut client = tidegate.client();
    client.send(request(
        "POST",
        "/",
        "Expect: 100-continue\r\nContent-Length: 4\r\n",
        "",
    ));
    let response = client.read();
    assert_eq!((response.status, response.text().as_str()), (417, "no"));
    assert_eq!(origin.last_request().content.bytes, 0);
    tidegate.wait_until_no_backend_is_busy();
}

#[test]
fn an_answer_that_comes_before_the_upload_ends_reaches_the_client() {
    let origin = Origin::at_head(|_| Script::says("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno").hold());
    let tidegate = Setup::of(&origin.address()).start();
    let mut client = tidegate.client();
    client.send(request(
        "POST",
        "/",
        "Content-Length: 1000000\r\n",
        "only the beginning",
    ));
    let response = client.read();
    assert_eq!((response.status, response.text().as_str()), (403, "no"));
    drop(client);
    tidegate.wait_until_no_backend_is_busy();
}

#[test]
fn uploads_over_the_limit_are_refused() {
    let origin = Origin::start(|request| Script::ok(request.content.text()));
    let tidegate = Setup::of(&origin.address())
        .set("front.request_body_max", "'1KiB'")
        .start();
    let kib = "x".repeat(1024);
    let fits = tidegate.ask(request("POST", "/", "Content-Length: 1024\r\n", &kib));
    assert_eq!((fits.status, fits.text()), (200, kib.clone()));
    let chunks = format!("400\r\n{kib}\r\n1\r\nx\r\n0\r\n\r\n");
    for (lines, body) in [
        ("Content-Length: 1025\r\n", format!("{kib}x")),
        ("Transfer-Encoding: chunked\r\n", chunks),
    ] {
        let mut client = tidegate.client();
        client.send(request("POST", "/over", lines, &body));
        let (_, text) = client.wait_for_end();
        assert!(text.starts_with("HTTP/1.1 413 "), "{lines}: {text}");
    }
    tidegate.expect_metric("tidegate_limit_hits_total", r#"limit="request_body""#, 2);
    assert!(
        !origin
            .requests()
            .iter()
            .any(|request| request.target() == "/over" && request.is_whole())
    );
}

#[test]
fn what_only_a_client_wanted_ends_when_it_leaves() {
    let origin = Origin::at_head(|request| match request.path() {
        "/waiting" => Script::new().hold(),
        _ => Script::says(CHUNKED).forever("5\r\nfirst\r\n"),
    });
    let tidegate = Setup::of(&origin.address()).uncached().start();
    for path in ["/waiting", "/streaming"] {
        let mut client = tidegate.client();
        client.send(get(path));
        eventually("the origin was asked", || origin.count(path) == 1);
        client.reset();
        eventually("the origin's connection is gone", || origin.open_connections() == 0);
        tidegate.wait_until_no_backend_is_busy();
    }
}
