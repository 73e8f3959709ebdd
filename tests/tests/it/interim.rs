//! Interim responses: 103 Early Hints and the like reach the client, before the final response and never as it.

use tests::client::{get, request};
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
