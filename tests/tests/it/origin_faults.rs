//! Origins that misbehave, each in its own way: the client gets a gateway error with the cause in `Proxy-Status`, or a
//! response cut so that it cannot look whole; nothing of it is stored; the next request is unharmed; no slot is leaked.
//!
//! Every fault is shown to a cache that is on, under fields that allow storing, and then the path is asked again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tests::client::get;
use tests::message::Response;
use tests::origin::Origin;
use tests::ports::{Blackhole, RefusingPort};
use tests::script::Script;
use tests::setup::Setup;
use tests::tidegate::Tidegate;

/// What must come of it.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// One of these statuses, whole, with one of these words in `Proxy-Status`.
    Error(&'static [u16], &'static [&'static str]),
    /// An error as above, or a response that does not look whole: it may have been on its way already.
    NotWhole,
}

use Outcome::{Error, NotWhole};

const INCOMPLETE: Outcome = Error(&[502], &["http_response_incomplete", "connection_terminated"]);
const NOT_HTTP: Outcome = Error(&[502], &["http_protocol_error"]);
const CODING: Outcome = Error(&[502], &["http_response_transfer_coding", "http_protocol_error"]);
const TOO_LARGE: Outcome = Error(&[502], &["http_response_header_section_size"]);
const TIMEOUT: Outcome = Error(&[504], &["http_response_timeout", "connection_read_timeout"]);

type Row = (&'static str, Script, Outcome);

/// A head that may be stored, with more lines.
fn head(lines: &str) -> Script {
    Script::says(format!("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n{lines}\r\n"))
}

fn line(line: &str) -> Script {
    Script::says(format!(
        "{line}\r\nContent-Length: 0\r\nCache-Control: max-age=60\r\n\r\n"
    ))
}

#[test]
#[rustfmt::skip]
fn a_response_head_that_does_not_come_is_an_error() {
    check(&[
        ("closes without a byte", Script::new().close(), INCOMPLETE),
        ("resets without a byte", Script::new().reset(), INCOMPLETE),
        ("closes in the status line", Script::says("HTTP/1.1 20").close(), INCOMPLETE),
        ("closes in a field", Script::says("HTTP/1.1 200 OK\r\nCache-Con").close(), INCOMPLETE),
        ("closes before the empty line", Script::says("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n").close(), INCOMPLETE),
        ("resets in the head", Script::says("HTTP/1.1 200 OK\r\nA: b").reset(), INCOMPLETE),
        ("closes after an interim response", Script::says("HTTP/1.1 100 Continue\r\n\r\n").close(), INCOMPLETE),
        ("never answers", Script::new().hold(), TIMEOUT),
        ("stops in the head", Script::says("HTTP/1.1 200 OK\r\nA: b").hold(), TIMEOUT),
        ("stops after an interim response", Script::says("HTTP/1.1 103 Early Hints\r\n\r\n").hold(), TIMEOUT),
        ("a head that trickles", Script::says("HTTP/1.1 200 OK\r\nA: ").trickle("b", Duration::from_millis(20)), TIMEOUT),
        ("endless fields", Script::says("HTTP/1.1 200 OK\r\n").forever("Some-Name: some value\r\n"), TOO_LARGE),
        ("endless value", Script::says("HTTP/1.1 200 OK\r\nA: ").forever("bcdefghi"), TOO_LARGE),
        ("endless status line", Script::says("HTTP/1.1 200 ").forever("OKOKOKOK"), TOO_LARGE),
        (
            "endless interim responses",
            Script::new().forever("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
            Error(
                &[502, 504],
                &[
                    "http_protocol_error",
                    "http_response_header_section_size",
                    "http_response_timeout",
                ],
            ),
        ),
    ]);
}

#[test]
#[rustfmt::skip]
fn what_is_not_http_is_an_error() {
    check(&[
        ("garbage", Script::says("\x15\x03\x01\0\x02\x02\x0a\r\n\r\n").close(), NOT_HTTP),
        ("another protocol", Script::says("220 mail.example ESMTP\r\n\r\n").close(), NOT_HTTP),
        ("a body without a head", Script::says("<html>hello</html>\r\n\r\n").close(), NOT_HTTP),
        ("HTTP/2", line("HTTP/2.0 200 OK"), NOT_HTTP),
        ("HTTP/0.9", Script::says("<html>hello</html>").close(), NOT_HTTP),
        ("HTTP/0.9 spelled out", line("HTTP/0.9 200 OK"), NOT_HTTP),
        ("minor version of two digits that begins with one to come", line("HTTP/1.20 200 OK"), NOT_HTTP),
        ("version with a zero before", line("HTTP/01.1 200 OK"), NOT_HTTP),
        ("tabs in the status line", line("HTTP/1.1\t200\tOK"), NOT_HTTP),
        ("space before the status line", line(" HTTP/1.1 200 OK"), NOT_HTTP),
        ("status with a sign", line("HTTP/1.1 +200 OK"), NOT_HTTP),
        ("status with a fraction", line("HTTP/1.1 200.5 OK"), NOT_HTTP),
        ("status of one digit", line("HTTP/1.1 2 OK"), NOT_HTTP),
        ("version and status in one", line("HTTP/1.1200 OK"), NOT_HTTP),
        ("control character in the reason", line("HTTP/1.1 200 O\x01K"), NOT_HTTP),
        ("SHOUTcast", line("ICY 200 OK"), NOT_HTTP),
        ("the preface of HTTP/2", Script::says("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").close(), NOT_HTTP),
        ("a frame of HTTP/2", Script::says("\0\0\0\x04\0\0\0\0\0").close(), NOT_HTTP),
        ("malformed field in an interim response", Script::says("HTTP/1.1 103 Early\r\nA b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), NOT_HTTP),
        ("NUL in a name", head("Content-Length: 0\r\nA\0: b\r\n"), NOT_HTTP),
        ("minor version of two digits", line("HTTP/1.10 200 OK"), NOT_HTTP),
        ("version without a minor", line("HTTP/1 200 OK"), NOT_HTTP),
        ("two spaces after the version", line("HTTP/1.1  200 OK"), NOT_HTTP),
        ("empty line first", line("\r\nHTTP/1.1 200 OK"), NOT_HTTP),
        ("two status lines", line("HTTP/1.1 200 OK\r\nHTTP/1.1 200 OK"), NOT_HTTP),
        ("NUL in the reason", line("HTTP/1.1 200 O\0K"), NOT_HTTP),
        ("bare CR in the reason", line("HTTP/1.1 200 O\rK"), NOT_HTTP),
        ("line ends without CR", Script::says("HTTP/1.1 200 OK\nContent-Length: 0\nCache-Control: max-age=60\n\n"), NOT_HTTP),
        ("lower-case protocol", line("http/1.1 200 OK"), NOT_HTTP),
        ("status of two digits", line("HTTP/1.1 20 OK"), NOT_HTTP),
        ("status of four digits", line("HTTP/1.1 2000 OK"), NOT_HTTP),
        ("status that is no number", line("HTTP/1.1 abc OK"), NOT_HTTP),
        ("status below 100", line("HTTP/1.1 099 OK"), NOT_HTTP),
        ("status 000", line("HTTP/1.1 000 OK"), NOT_HTTP),
        ("status 600", line("HTTP/1.1 600 OK"), NOT_HTTP),
        ("status 999", line("HTTP/1.1 999 OK"), NOT_HTTP),
        ("negative status", line("HTTP/1.1 -200 OK"), NOT_HTTP),
        ("no status", line("HTTP/1.1"), NOT_HTTP),
        ("a request", Script::says("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), NOT_HTTP),
        ("field without a colon", head("Content-Length: 0\r\nX\r\n"), NOT_HTTP),
        ("field without a name", head("Content-Length: 0\r\n: x\r\n"), NOT_HTTP),
        ("field name with a space", head("Content-Length: 0\r\nA B: x\r\n"), NOT_HTTP),
        ("NUL in a value", head("Content-Length: 0\r\nA: b\0c\r\n"), NOT_HTTP),
        ("bare CR in a value", head("Content-Length: 0\r\nA: b\rc: d\r\n"), NOT_HTTP),
        ("control character in a value", head("Content-Length: 0\r\nA: b\x01c\r\n"), NOT_HTTP),
        ("DEL in a value", head("Content-Length: 0\r\nA: b\x7fc\r\n"), NOT_HTTP),
        ("field name beyond ASCII", head("Content-Length: 0\r\nX\u{e9}: b\r\n"), NOT_HTTP),
        ("space before a colon", head("Content-Length: 0\r\nA : b\r\n"), NOT_HTTP),
        ("space before Content-Length's colon", head("Content-Length : 0\r\n"), NOT_HTTP),
        ("folded line", head("Content-Length: 0\r\nA: b\r\n c\r\n"), NOT_HTTP),
        ("folded line with a tab", head("Content-Length: 0\r\nA: b\r\n\tc\r\n"), NOT_HTTP),
        (
            "101 that nobody asked for",
            Script::says("HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n").hold(),
            Error(&[502], &["http_protocol_error", "http_upgrade_failed"]),
        ),
    ]);
}

#[test]
#[rustfmt::skip]
fn framing_that_cannot_be_trusted_is_an_error() {
    check(&[
        ("two lengths that differ", head("Content-Length: 5\r\nContent-Length: 6\r\n").send("hello!"), NOT_HTTP),
        ("list of lengths that differ", head("Content-Length: 5, 6\r\n").send("hello!"), NOT_HTTP),
        ("length that is no number", head("Content-Length: five\r\n").send("hello"), NOT_HTTP),
        ("empty length", head("Content-Length:\r\n").send("hello"), NOT_HTTP),
        ("hexadecimal length", head("Content-Length: 0x5\r\n").send("hello"), NOT_HTTP),
        ("length with a space inside", head("Content-Length: 5 5\r\n").send("hello"), NOT_HTTP),
        ("length that ends in a comma", head("Content-Length: 5,\r\n").send("hello"), NOT_HTTP),
        ("length in quotes", head("Content-Length: \"5\"\r\n").send("hello"), NOT_HTTP),
        ("length with letters behind", head("Content-Length: 5abc\r\n").send("hello"), NOT_HTTP),
        ("length with a fraction", head("Content-Length: 5.0\r\n").send("hello"), NOT_HTTP),
        ("length and empty coding", head("Content-Length: 5\r\nTransfer-Encoding:\r\n").send("hello"), CODING),
        ("length and identity", head("Content-Length: 5\r\nTransfer-Encoding: identity\r\n").send("hello"), CODING),
        ("chunked with a parameter", head("Transfer-Encoding: chunked;a=b\r\n").send("0\r\n\r\n"), CODING),
        ("size with a space behind it", chunked_at_once("3 \r\nabc\r\n0\r\n\r\n"), CODING),
        ("size of 30 zeros", chunked_at_once("0000000000000000000000000000003\r\nabc\r\n0\r\n\r\n"), CODING),
        ("length beyond 63 bits", head("Content-Length: 9223372036854775808\r\n").send("hello"), NOT_HTTP),
        ("bad length of a 204", Script::says("HTTP/1.1 204 No Content\r\nContent-Length: x\r\n\r\n"), NOT_HTTP),
        ("negative length", head("Content-Length: -1\r\n").send("hello"), NOT_HTTP),
        ("length with a plus", head("Content-Length: +5\r\n").send("hello"), NOT_HTTP),
        ("length beyond 64 bits", head("Content-Length: 99999999999999999999\r\n").send("hello"), NOT_HTTP),
        ("length and coding", head("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n").send("0\r\n\r\n"), CODING),
        ("unknown coding", head("Transfer-Encoding: gzip\r\n").send("hello").close(), CODING),
        ("identity", head("Transfer-Encoding: identity\r\n").send("hello").close(), CODING),
        ("chunked after a vertical tab", head("Transfer-Encoding: \x0bchunked\r\n").send("0\r\n\r\n"), CODING),
        ("chunked in two lines", head("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n").send("0\r\n\r\n"), CODING),
        ("coding in HTTP/1.0", Script::says("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").close(), CODING),
        ("unknown coding before chunked", head("Transfer-Encoding: gzip, chunked\r\n").send("0\r\n\r\n"), CODING),
        ("no chunk after the head", chunked_at_once("xyz\r\nabc\r\n0\r\n\r\n"), CODING),
        ("malformed extension after the head", chunked_at_once("3;a=\r\nabc\r\n0\r\n\r\n"), CODING),
        ("chunked twice", head("Transfer-Encoding: chunked, chunked\r\n").send("0\r\n\r\n"), CODING),
        ("chunked is not last", head("Transfer-Encoding: chunked, gzip\r\n").send("0\r\n\r\n").close(), CODING),
    ]);
}

#[test]
#[rustfmt::skip]
fn a_body_that_breaks_off_never_looks_whole() {
    let length = || head("Content-Length: 1000\r\n").send("hello");
    let chunked = |bytes: &str| {
        head("Transfer-Encoding: chunked\r\n")
            .send("5\r\nhello\r\n")
            .send(bytes)
    };
    let until_close = || head("").send("hello");
    check(&[
        ("shorter than its length", length().close(), NotWhole),
        ("reset before its length", length().reset(), NotWhole),
        ("silent before its length", length().hold(), NotWhole),
        ("no byte of its length", head("Content-Length: 1000\r\n").close(), NotWhole),
        ("closed between chunks", chunked("").close(), NotWhole),
        ("reset between chunks", chunked("").reset(), NotWhole),
        ("silent between chunks", chunked("").hold(), NotWhole),
        ("closed in a chunk", chunked("100\r\nabc").close(), NotWhole),
        ("closed in a size", chunked("10").close(), NotWhole),
        ("closed after the last chunk", chunked("0\r\n").close(), NotWhole),
        ("closed in a trailer", chunked("0\r\nX-A: b").close(), NotWhole),
        ("size that is no number", chunked("xyz\r\nabc\r\n0\r\n\r\n"), NotWhole),
        ("extension without a name", chunked("3;=a\r\nabc\r\n0\r\n\r\n"), NotWhole),
        ("extension whose quote is never closed", chunked("3;a=\"b\r\nabc\r\n0\r\n\r\n"), NotWhole),
        ("bare CR in an extension", chunked("3;a\rb\r\nabc\r\n0\r\n\r\n"), NotWhole),
        ("NUL in an extension", chunked("3;a=\"\0\"\r\nabc\r\n0\r\n\r\n"), NotWhole),
        ("size beyond 64 bits", chunked("fffffffffffffffff\r\nabc\r\n0\r\n\r\n"), NotWhole),
        ("negative size", chunked("-3\r\nabc\r\n0\r\n\r\n"), NotWhole),
        ("size with a plus", chunked("+3\r\nabc\r\n0\r\n\r\n"), NotWhole),
        ("size with 0x", chunked("0x3\r\nabc\r\n0\r\n\r\n"), NotWhole),
        ("bare LF after a size", chunked("3\nabc\r\n0\r\n\r\n"), NotWhole),
        ("bare LF after a chunk", chunked("3\r\nabc\n0\r\n\r\n"), NotWhole),
        ("bare LF in an extension", chunked("3;a\nb\r\nabc\r\n0\r\n\r\n"), NotWhole),
        ("chunk longer than its size", chunked("2\r\nabc\r\n0\r\n\r\n"), NotWhole),
        ("endless extension", chunked("3;").forever("abcdefgh"), NotWhole),
        ("endless trailers", chunked("0\r\n").forever("Some-Name: some value\r\n"), NotWhole),
        ("malformed trailer", chunked("0\r\nA B: c\r\n\r\n"), NotWhole),
        ("reset where only a close ends it", until_close().reset(), NotWhole),
        ("silent where only a close ends it", until_close().hold(), NotWhole),
    ]);
}

#[test]
fn an_http_1_0_client_sees_a_cut_body_as_a_reset() {
    let origin =
        Origin::start(|_| Script::says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").close());
    let tidegate = setup(&origin.address()).start();
    let mut client = tidegate.client();
    client.send("GET / HTTP/1.0\r\nHost: www.example.com\r\n\r\n");
    // Without framing only the way the connection ends can tell.
    let response = client.try_read_answer_to("GET");
    assert!(!response.is_ok_and(|response| response.status == 200 && response.looks_whole()));
}

#[test]
fn servers_that_cannot_be_reached_are_errors() {
    let (refusing, blackhole) = (RefusingPort::reserve(), Blackhole::fill());
    for (address, status, words) in [
        (refusing.address(), 502, ["connection_refused"]),
        (blackhole.address(), 504, ["connection_timeout"]),
    ] {
        let tidegate = setup(&address).start();
        let mut client = tidegate.client();
        for _ in 0..2 {
            let response = client.get("/");
            expect_error("unreachable", &response, &[status], &words);
        }
        tidegate.wait_until_no_backend_is_busy();
    }
}

fn setup(origin: &str) -> Setup {
    Setup::of(origin)
        .set("origin.o.connect_timeout", "'300ms'")
        .set("origin.o.response_timeout", "'300ms'")
        .set("origin.o.body_timeout", "'300ms'")
}

/// Row by row, on one tidegate: the fault, then the same path again.
/// A chunked body in the same write as its head: when it does not even begin well, nothing was sent to the client yet.
fn chunked_at_once(body: &str) -> Script {
    Script::says(format!(
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n{body}"
    ))
}

fn check(rows: &[Row]) {
    let scripts: Vec<_> = rows.iter().map(|row| row.1.clone()).collect();
    let seen: Vec<_> = rows.iter().map(|_| AtomicBool::new(false)).collect();
    let origin = Origin::start(move |request| {
        let index: usize = request.path()[1..].parse().unwrap_or_default();
        if seen[index].swap(true, Ordering::SeqCst) {
            // Without an idle connection left behind, the next fault meets a new one and is not taken for a stale one.
            return Script::answer(200, "Cache-Control: max-age=60\r\nConnection: close\r\n", "recovered").close();
        }
        scripts[index].clone()
    });
    let tidegate = setup(&origin.address()).set("origin.o.retries", "0").start();
    for (index, (name, _, outcome)) in rows.iter().enumerate() {
        show(&tidegate, name, &format!("/{index}"), *outcome);
    }
}

fn show(tidegate: &Tidegate, name: &str, path: &str, outcome: Outcome) {
    let mut client = tidegate.client();
    client.send(get(path));
    let response = client.try_read_answer_to("GET").ok();
    match (outcome, &response) {
        (Error(statuses, words), Some(response)) => expect_error(name, response, statuses, words),
        (Error(..), None) => assert!(response.is_some(), "{name}: no answer at all"),
        (NotWhole, Some(response)) => {
            let cut = response.status == 200 && !response.looks_whole();
            assert!(cut || matches!(response.status, 502 | 504), "{name}: {response:?}");
        }
        // Cut before the head was on its way.
        (NotWhole, None) => {}
    }
    tidegate.wait_until_no_backend_is_busy();
    let again = match response {
        Some(response) if response.looks_whole() && !response.says_close() => client.get(path),
        _ => tidegate.get(path),
    };
    assert_eq!(
        (again.status, again.text().as_str()),
        (200, "recovered"),
        "{name}: asked again: {again:?}"
    );
    assert!(!again.is_hit(), "{name}: stored: {again:?}");
}

fn expect_error(name: &str, response: &Response, statuses: &[u16], words: &[&str]) {
    assert!(
        statuses.contains(&response.status) && response.looks_whole(),
        "{name}: {response:?}"
    );
    let status = response.field("proxy-status");
    let told = words
        .iter()
        .any(|word| status.split(';').any(|part| part.trim() == format!("error={word}")));
    assert!(
        told && status.starts_with("tidegate;"),
        "{name}: expected {words:?} in {status:?}"
    );
    assert!(
        response.content.bytes > 0,
        "{name}: the error has no body: {response:?}"
    );
}

#[test]
fn an_error_is_worded_as_the_client_accepts_it_and_names_the_request() {
    let refusing = RefusingPort::reserve();
    let tidegate = setup(&refusing.address()).start();
    for (accept, content_type, start) in [
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html", "<"),
        ("application/json", "application/json", "{"),
        ("application/json;q=0.9, text/html;q=0.1", "application/json", "{"),
    ] {
        let request = get("/").replace("\r\n\r\n", &format!("\r\nAccept: {accept}\r\n\r\n"));
        let (first, second) = (tidegate.ask(&request), tidegate.ask(&request));
        assert!(
            first.field("content-type").starts_with(content_type),
            "{accept}: {first:?}"
        );
        assert!(first.text().trim_start().starts_with(start), "{accept}: {first:?}");
        assert_ne!(
            first.text(),
            second.text(),
            "{accept}: the body carries the request's own id"
        );
    }
}
