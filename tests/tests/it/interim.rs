//! Interim responses: 103 Early Hints and the like reach the client, before the final response and never as it.

use http::{HeaderValue, Response, StatusCode};
use tests::client::{get, request};
use tests::dual_origin::{self, DualOrigin};
use tests::http2::{END_STREAM, HEADERS, Http2, STATUS_200};
use tests::origin::Origin;
use tests::script::Script;
use tests::setup::{Setup, Shape, in_both_shapes};
use tests::wait::Gate;

const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nConnection: x-own\r\nX-Own: 1\r\n\r\n";

/// Sends hints, and the rest when the gate opens.
fn hinting(gate: &Gate) -> Origin {
    let gate = gate.clone();
    Origin::start(move |_| {
        let hints = Script::says(HINTS).wait(&gate);
        hints.send("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 5\r\n\r\nhello")
    })
}

#[test]
fn early_hints_come_before_the_answer_and_are_not_stored() {
    in_both_shapes(|shape| {
        let gate = Gate::new();
        let origin = hinting(&gate);
        let tidegate = Setup::of(&origin.address()).shape(shape).start();
        let mut client = tidegate.client();
        client.send(get("/page"));
        let hints = client.read_head();
        assert_eq!((hints.status, hints.field("link")), (103, "</a.css>; rel=preload"));
        assert!(
            hints.field("via").contains("tidegate") && !hints.head.fields.has("x-own"),
            "{hints:?}"
        );
        gate.open();
        let answer = client.read();
        assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
        let again = client.get("/page");
        assert!(again.is_hit() && again.interim.is_empty(), "{again:?}");
        let nodes = if shape == Shape::InProcess { 1 } else { 2 };
        tidegate.expect_metric("tidegate_interim_responses_total", "", nodes);
    });
}

#[test]
fn an_upload_is_told_to_go_on_by_us_and_hinted_by_the_origin() {
    let origin = Origin::start(|_| {
        let more = "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nContent-Length: 3\r\n\r\n";
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        Script::says("HTTP/1.1 100 Continue\r\n\r\n").send(more).send(answer)
    });
    let tidegate = Setup::of(&origin.address()).start();
    let mut client = tidegate.client();
    client.send(request(
        "POST",
        "/",
        "Expect: 100-continue\r\nContent-Length: 3\r\n",
        "",
    ));
    assert_eq!(client.read_head().status, 100);
    client.send("abc");
    let answer = client.read();
    // The origin's 100 answers our expectation, or nobody's.
    assert_eq!(
        (answer.interim.as_slice(), answer.text().as_str()),
        (&[102, 103][..], "ok")
    );
    let answer = client.ask(get("/"));
    assert_eq!(answer.interim, [102, 103]);
}

/// An origin of HTTP/2 that sends each of these before its answer, and the answer when the gate opens.
fn hinting_by_http2(before: &'static [u16], gate: &Gate) -> DualOrigin {
    let gate = gate.clone();
    DualOrigin::plain(dual_origin::Http2::answering(move |mut request, mut respond| {
        let gate = gate.clone();
        async move {
            for status in before {
                let mut interim = Response::new(());
                *interim.status_mut() = StatusCode::from_u16(*status).unwrap();
                let link = HeaderValue::from_static("</a.css>; rel=preload");
                interim.headers_mut().insert("link", link);
                respond.send_informational(interim).unwrap();
            }
            while request.body_mut().data().await.is_some() {}
            tokio::task::spawn_blocking(move || gate.pass()).await.unwrap();
            let mut response = Response::new(());
            let fields = response.headers_mut();
            fields.insert("cache-control", HeaderValue::from_static("max-age=60"));
            let mut stream = respond.send_response(response, false).unwrap();
            stream.send_data("hello".into(), true).unwrap();
        }
    }))
}

#[test]
fn those_of_http2_origins_are_passed_on_and_never_the_answer() {
    in_both_shapes(|shape| {
        let gate = Gate::new();
        let origin = hinting_by_http2(&[102, 103], &gate);
        let setup = Setup::of(&origin.address()).shape(shape);
        let tidegate = setup.set("origin.o.protocol", "'http2'").start();
        let mut client = tidegate.client();
        client.send(get("/page"));
        assert_eq!(client.read_head().status, 102, "before the answer was begun");
        let hints = client.read_head();
        assert_eq!((hints.status, hints.field("link")), (103, "</a.css>; rel=preload"));
        assert!(hints.field("via").contains("tidegate"), "{hints:?}");
        gate.open();
        let answer = client.read();
        assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
        let again = client.get("/page");
        assert!(again.is_hit() && again.interim.is_empty(), "{again:?}");
    });
}

#[test]
fn an_upload_to_an_http2_origin_waits_for_its_100_and_the_client_hears_only_ours() {
    let gate = Gate::new();
    gate.open();
    let origin = hinting_by_http2(&[100, 103], &gate);
    let setup = Setup::of(&origin.address()).set("origin.o.protocol", "'http2'");
    let tidegate = setup.start();
    let mut client = tidegate.client();
    let fields = "Expect: 100-continue\r\nContent-Length: 3\r\n";
    client.send(request("POST", "/", fields, ""));
    assert_eq!(client.read_head().status, 100);
    client.send("abc");
    let answer = client.read();
    assert_eq!(
        (answer.interim.as_slice(), answer.text().as_str()),
        (&[103][..], "hello")
    );
}

#[test]
fn http2_origins_have_the_limits_of_others() {
    const MANY: &[u16] = &[103; 33];
    for before in [MANY, &[101]] {
        let gate = Gate::new();
        gate.open();
        let origin = hinting_by_http2(before, &gate);
        let setup = Setup::of(&origin.address()).set("origin.o.protocol", "'http2'");
        let answer = setup.start().get("/");
        assert!(
            answer.status == 502 && answer.field("proxy-status").contains("http_protocol_error"),
            "{answer:?}"
        );
    }
}

#[test]
fn http_1_0_knows_nothing_of_them() {
    let gate = Gate::new();
    gate.open();
    let origin = hinting(&gate);
    let tidegate = Setup::of(&origin.address()).start();
    let answer = tidegate.ask("GET / HTTP/1.0\r\nHost: www.example.com\r\n\r\n");
    assert_eq!(
        (answer.status, answer.interim.len(), answer.text().as_str()),
        (200, 0, "hello")
    );
}

#[test]
fn http2_gets_them_as_head_sections_of_their_own() {
    let gate = Gate::new();
    let origin = hinting(&gate);
    let setup = Setup::of(&origin.address()).set("front.listen", "[{ address = '127.0.0.1:0', http2 = true }]");
    let tidegate = setup.start();
    let mut client = Http2::connect(tidegate.address(), &[]);
    client.get(1, "/page");
    let hints = client.read_until(HEADERS);
    assert!(
        hints.content[0] != STATUS_200 && hints.flags & END_STREAM == 0,
        "{hints:?}"
    );
    gate.open();
    let (head, content) = client.response(1);
    assert_eq!((head[0], content.as_str()), (STATUS_200, "hello"));
}
