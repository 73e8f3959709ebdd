//! The fixture tested by itself: the scripted origin and the raw client against each other, without tidegate.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tests::client::{Client, get, once, request};
use tests::message::End;
use tests::origin::Origin;
use tests::ports::{Blackhole, RefusingPort};
use tests::process::Listener;
use tests::script::Script;
use tests::setup::Setup;
use tests::wait::{Gate, eventually};
use tests::wire::Stop;

#[test]
fn exact_bytes_arrive_and_are_kept() {
    let origin = Origin::saying("hello");
    let sent = request("POST", "/a?b", "Content-Length: 3\r\nX-Odd:  v \r\n", "abc");
    let response = once(&origin.address(), &sent);
    assert_eq!(
        (response.status, response.text().as_str(), response.end),
        (200, "hello", End::Whole)
    );

    let received = origin.last_request();
    assert_eq!(received.head.raw + &received.content.text(), sent);
    assert_eq!(received.end, Some(End::Whole));
    assert_eq!(
        (
            received.content.text().as_str(),
            origin.count("/a?b"),
            origin.connections()
        ),
        ("abc", 1, 1)
    );
}

#[test]
fn a_connection_carries_many_requests_until_it_ends() {
    let origin = Origin::start(|request| Script::ok(request.target()));
    let mut client = Client::connect(&origin.address());
    for path in ["/1", "/2", "/3"] {
        assert_eq!(client.get(path).text(), path);
    }
    assert_eq!((origin.connections(), origin.open_connections()), (1, 1));
    client.half_close();
    client.expect_closed();
    eventually("the origin's connection is gone", || origin.open_connections() == 0);
}

#[test]
fn how_a_body_ended_is_told() {
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    const LENGTH: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
    for (script, end, text) in [
        (Script::says(LENGTH).send("0123456789"), End::Whole, "0123456789"),
        (Script::says(LENGTH).send("01234").close(), End::Cut(Stop::End), "01234"),
        (
            Script::says(LENGTH).send("01234").reset(),
            End::Cut(Stop::Reset),
            "01234",
        ),
        (Script::says("HTTP/1.1 200 OK\r\n\r\nabc").close(), End::Closed, "abc"),
        (
            Script::says(CHUNKED).drip("3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"),
            End::Whole,
            "abcde",
        ),
        (
            Script::says(CHUNKED).send("3\r\nabc\r\n").close(),
            End::Cut(Stop::End),
            "abc",
        ),
        (
            Script::says(CHUNKED).send("3\r\nabcd\r\n"),
            End::Malformed("\"d\" after a chunk".to_owned()),
            "abc",
        ),
        (
            Script::says(CHUNKED).send("zz\r\n"),
            End::Malformed("chunk size \"zz\"".to_owned()),
            "",
        ),
    ] {
        let origin = Origin::start(move |_| script.clone());
        let response = once(&origin.address(), get("/"));
        // A reset may overtake what was sent before it.
        if response.end != End::Cut(Stop::Reset) {
            assert_eq!(response.text(), text);
        }
        assert_eq!(response.end, end);
    }
}

#[test]
fn trailers_and_interim_responses_are_kept() {
    let bytes =
        "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 1\r\n\r\n";
    let origin = Origin::start(move |_| Script::says(bytes));
    let response = once(&origin.address(), get("/"));
    assert_eq!(
        (response.interim.as_slice(), response.content.trailers.get("x-sum")),
        (&[103][..], Some("1"))
    );
}

#[test]
fn responses_without_a_body_leave_the_connection_usable() {
    let origin = Origin::start(|request| {
        let status = request.path().trim_start_matches('/').parse().unwrap_or(200);
        Script::new().send(format!("HTTP/1.1 {status} Said\r\nContent-Length: 5\r\n\r\n"))
    });
    let mut client = Client::connect(&origin.address());
    assert_eq!(client.get("/304").status, 304);
    assert_eq!(client.ask("HEAD /204 HTTP/1.1\r\nHost: a\r\n\r\n").status, 204);
    assert_eq!(
        client
            .ask("HEAD /200 HTTP/1.1\r\nHost: a\r\n\r\n")
            .field("content-length"),
        "5"
    );
}

#[test]
fn a_script_may_answer_before_the_body_and_wait_at_gates() {
    let (arrived, go_on) = (Gate::new(), Gate::new());
    let (a, g) = (arrived.clone(), go_on.clone());
    let origin = Origin::at_head(move |_| {
        let interim = Script::says("HTTP/1.1 100 Continue\r\n\r\n")
            .read_some(2)
            .open(&a)
            .wait(&g);
        interim.read_body().send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    });
    let mut client = Client::connect(&origin.address());
    client.send(request(
        "POST",
        "/",
        "Expect: 100-continue\r\nContent-Length: 4\r\n",
        "",
    ));
    assert_eq!(client.read_head().status, 100);
    client.send("ab");
    assert!(arrived.pass());
    client.send("cd");
    go_on.wait_for_arrivals(1);
    go_on.open();
    assert_eq!(client.read().status, 200);
    assert_eq!(origin.last_request().content.text(), "abcd");
}

#[test]
fn an_upload_that_breaks_off_is_known_not_to_be_whole() {
    let origin = Origin::saying("never");
    let mut client = Client::connect(&origin.address());
    client.send(request("POST", "/", "Content-Length: 10\r\n", "abc"));
    client.half_close();
    client.expect_closed();
    let received = origin.last_request();
    assert_eq!(
        (received.end, received.content.text().as_str()),
        (Some(End::Cut(Stop::End)), "abc")
    );
}

#[test]
fn an_origin_may_act_before_any_request() {
    let origin = Origin::at_accept(|number| {
        if number == 0 {
            Script::new().close()
        } else {
            Script::says("hi").hold()
        }
    });
    assert_eq!(
        Client::connect(&origin.address()).wait_for_end(),
        (Stop::End, String::new())
    );
    let mut second = Client::connect(&origin.address());
    assert_eq!(second.read_bytes(2), "hi");
    second.reset();
    eventually("the reset arrived", || origin.open_connections() == 0);
}

#[test]
fn a_refusing_port_refuses_and_a_blackhole_swallows() {
    let refusing = RefusingPort::reserve();
    let error = Client::try_connect(&refusing.address()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);

    let blackhole = Blackhole::fill();
    let address: SocketAddr = blackhole.address().parse().unwrap();
    let error = TcpStream::connect_timeout(&address, Duration::from_millis(200)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[test]
fn listeners_are_read_from_the_log() {
    let expected = Listener {
        role: "front".to_owned(),
        name: "127.0.0.1:0".to_owned(),
        address: "127.0.0.1:43117".to_owned(),
    };
    for line in [
        "2026-01-01T00:00:00Z  INFO tidegate: listening role=front listener=127.0.0.1:0 address=127.0.0.1:43117",
        "INFO role=\"front\" listener=\"127.0.0.1:0\" address=\"127.0.0.1:43117\" backlog=4096 listening",
    ] {
        assert_eq!(Listener::parse(line), Some(expected.clone()), "{line}");
    }
    assert_eq!(Listener::parse("INFO relistening role=a listener=b address=c"), None);
}

#[test]
fn each_process_gets_the_sections_that_concern_it() {
    let setup = Setup::of("127.0.0.1:1")
        .set("cache.when_down", "'error'")
        .set("front.idle_timeout", "'1s'")
        .set("log.access.to", "'stdout'");
    let (whole, cache_server) = (setup.in_process(), setup.cache_server());
    let front = setup.front(&["127.0.0.1:2".to_owned(), "127.0.0.1:3".to_owned()]);
    for (text, has, lacks) in [
        (
            &whole,
            ["[front]", "memory = '64MiB'", "[log.access]"].as_slice(),
            ["when_down", "[cache]\nlisten"].as_slice(),
        ),
        (
            &front,
            &[
                "[front]",
                "when_down = 'error'",
                r#"servers = ["127.0.0.1:2", "127.0.0.1:3"]"#,
            ],
            &["memory"],
        ),
        (
            &cache_server,
            &["memory", "listen = ['127.0.0.1:0']", "[origin.o]"],
            &["[front]", "when_down", "[log.access]"],
        ),
    ] {
        assert!(has.iter().all(|part| text.contains(part)), "{has:?} in\n{text}");
        assert!(
            lacks.iter().all(|part| !text.contains(part)),
            "{lacks:?} not in\n{text}"
        );
        assert!(text.contains("[[site]]") && text.contains("[admin]"), "{text}");
    }
}
