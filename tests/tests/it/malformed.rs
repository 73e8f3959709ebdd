//! Requests that must be refused: raw bytes → status, a closed connection, and nothing that reaches the origin.
//!
//! RFC 9112 §2–§7, RFC 9110 §5–§7, and the limits of `[front]`. What looks odd but is right: `odd.rs`.

use tests::message::{End, Head, Response};
use tests::origin::Origin;
use tests::setup::Setup;
use tests::tidegate::Tidegate;
use tests::wire::Stop;

const HOST: &str = "Host: www.example.com\r\n";

/// What it is, the bytes, the statuses that are right.
type Row = (&'static str, String, &'static [u16]);

/// A GET with these lines after Host.
fn lines(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\n{HOST}{lines}\r\n")
}

/// A POST with these lines after Host, and a body.
fn post(lines: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\n{HOST}{lines}\r\n{body}")
}

/// A request line, with Host.
fn line(line: &str) -> String {
    format!("{line}\r\n{HOST}\r\n")
}

fn chunked(body: &str) -> String {
    post("Transfer-Encoding: chunked\r\n", body)
}

#[test]
#[rustfmt::skip]
fn malformed_request_lines_are_refused() {
    check(&[
        ("no version", line("GET /"), &[400]),
        ("HTTP/0.9 simple request", "GET /\r\n\r\n".to_owned(), &[400]),
        ("no target", line("GET HTTP/1.1"), &[400]),
        ("empty target", line("GET  HTTP/1.1"), &[400]),
        ("no method", line(" / HTTP/1.1"), &[400]),
        ("space in the target", line("GET /a b HTTP/1.1"), &[400]),
        ("two spaces before the version", line("GET /  HTTP/1.1"), &[400]),
        ("space after the version", line("GET / HTTP/1.1 "), &[400]),
        ("tab instead of spaces", line("GET\t/\tHTTP/1.1"), &[400]),
        ("leading space", line(" GET / HTTP/1.1"), &[400]),
        ("method that is no token", line("GE(T / HTTP/1.1"), &[400]),
        ("method with NUL", line("GE\0T / HTTP/1.1"), &[400]),
        ("lower-case protocol", line("GET / http/1.1"), &[400]),
        ("another protocol", line("GET / HTCPCP/1.1"), &[400]),
        ("version without a minor", line("GET / HTTP/1"), &[400]),
        ("version with a zero before", line("GET / HTTP/01.1"), &[400]),
        ("version of two digits that begins with one to come", line("GET / HTTP/1.20"), &[400]),
        ("version to come without a space", line("GET /HTTP/1.2"), &[400]),
        ("version of two digits", line("GET / HTTP/1.10"), &[400]),
        ("version that is no number", line("GET / HTTP/a.b"), &[400]),
        ("HTTP/2 in HTTP/1 clothes", line("GET / HTTP/2.0"), &[505, 400]),
        ("HTTP/3 in HTTP/1 clothes", line("GET / HTTP/3.0"), &[505, 400]),
        ("HTTP/0.9 spelled out", line("GET / HTTP/0.9"), &[505, 400]),
        ("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), &[505, 400]),
        ("NUL in the target", line("GET /a\0b HTTP/1.1"), &[400]),
        ("bare CR in the target", line("GET /a\rb HTTP/1.1"), &[400]),
        ("control character in the target", line("GET /a\x01b HTTP/1.1"), &[400]),
        ("DEL in the target", line("GET /a\x7fb HTTP/1.1"), &[400]),
        ("relative target", line("GET index.html HTTP/1.1"), &[400]),
        ("asterisk for a GET", line("GET * HTTP/1.1"), &[400]),
        ("fragment in the target", line("GET /a#b HTTP/1.1"), &[400]),
        ("absolute form without a host", line("GET http:///a HTTP/1.1"), &[400]),
        ("absolute form with user information", line("GET http://user@www.example.com/ HTTP/1.1"), &[400]),
        ("absolute form with a bad port", line("GET http://www.example.com:port/ HTTP/1.1"), &[400]),
        ("absolute form with port 0", line("GET http://www.example.com:0/ HTTP/1.1"), &[400]),
        ("absolute form with an at sign alone", line("GET http://@www.example.com/ HTTP/1.1"), &[400]),
        ("absolute form with a fragment", line("GET http://www.example.com/#a HTTP/1.1"), &[400]),
        ("absolute form with a backslash", line("GET http://www.example.com\\@other.example/ HTTP/1.1"), &[400]),
        ("absolute form of another scheme", line("GET ftp://www.example.com/ HTTP/1.1"), &[400]),
        ("absolute form without an authority", line("GET http:/a HTTP/1.1"), &[400]),
        ("absolute form without Host", "GET http://www.example.com/ HTTP/1.1\r\n\r\n".to_owned(), &[400]),
        ("absolute form beside a malformed Host", "GET http://www.example.com/ HTTP/1.1\r\nHost: a b\r\n\r\n".to_owned(), &[400]),
        ("absolute form beside two Hosts", format!("GET http://www.example.com/ HTTP/1.1\r\n{HOST}{HOST}\r\n"), &[400]),
        ("empty line without CR first", "\nGET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n".to_owned(), &[400]),
        ("bare CR first", "\rGET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n".to_owned(), &[400]),
        ("asterisk for a POST", line("POST * HTTP/1.1"), &[400]),
        ("absolute form of WebSocket", line("GET ws://www.example.com/ HTTP/1.1"), &[400]),
        ("absolute form with a malformed address", line("GET http://[::zz]/ HTTP/1.1"), &[400]),
        ("absolute form with a port too large", line("GET http://www.example.com:99999/ HTTP/1.1"), &[400]),
        ("OPTIONS for a server that has no name", line("OPTIONS http:// HTTP/1.1"), &[400]),
        ("CONNECT with a path", line("CONNECT / HTTP/1.1"), &[501, 405, 400]),
        ("query without a path", line("GET ?a HTTP/1.1"), &[400]),
        ("authority form for a GET", line("GET www.example.com:80 HTTP/1.1"), &[400]),
        ("CONNECT", line("CONNECT www.example.com:443 HTTP/1.1"), &[501, 405, 400]),
        ("TLS on a plain port", "\x16\x03\x01\x02\0\x01\0\x01\r\n\r\n".to_owned(), &[400]),
        ("a response", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned(), &[400]),
    ]);
}

#[test]
#[rustfmt::skip]
fn malformed_fields_are_refused() {
    check(&[
        ("no Host", "GET / HTTP/1.1\r\n\r\n".to_owned(), &[400]),
        ("two Hosts", lines(HOST), &[400]),
        ("two Hosts that differ", lines("Host: other.example\r\n"), &[400]),
        ("list of Hosts", "GET / HTTP/1.1\r\nHost: www.example.com, other.example\r\n\r\n".to_owned(), &[400]),
        ("Host with a space", "GET / HTTP/1.1\r\nHost: www.example.com x\r\n\r\n".to_owned(), &[400]),
        ("Host with a path", "GET / HTTP/1.1\r\nHost: www.example.com/a\r\n\r\n".to_owned(), &[400]),
        ("Host with user information", "GET / HTTP/1.1\r\nHost: a@www.example.com\r\n\r\n".to_owned(), &[400]),
        ("Host with a bad port", "GET / HTTP/1.1\r\nHost: www.example.com:8x\r\n\r\n".to_owned(), &[400]),
        ("Host with a port too large", "GET / HTTP/1.1\r\nHost: www.example.com:65536\r\n\r\n".to_owned(), &[400]),
        ("Host with an open bracket", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n".to_owned(), &[400]),
        ("Host in quotes", "GET / HTTP/1.1\r\nHost: \"www.example.com\"\r\n\r\n".to_owned(), &[400]),
        ("Host with a scheme", "GET / HTTP/1.1\r\nHost: http://www.example.com\r\n\r\n".to_owned(), &[400]),
        ("Host with a query", "GET / HTTP/1.1\r\nHost: www.example.com?a\r\n\r\n".to_owned(), &[400]),
        ("Host with a port alone", "GET / HTTP/1.1\r\nHost: :80\r\n\r\n".to_owned(), &[400]),
        ("Host of dots", "GET / HTTP/1.1\r\nHost: ..\r\n\r\n".to_owned(), &[400]),
        ("Host with a port that has a sign", "GET / HTTP/1.1\r\nHost: www.example.com:+80\r\n\r\n".to_owned(), &[400]),
        ("expectation that nobody knows", post("Expect: tea\r\nContent-Length: 3\r\n", "abc"), &[417]),
        ("expectation beside one that nobody knows", post("Expect: 100-continue, tea\r\nContent-Length: 3\r\n", "abc"), &[417]),
        ("Host without a value", "GET / HTTP/1.1\r\nHost:\r\n\r\n".to_owned(), &[400]),
        ("Host with an escape", "GET / HTTP/1.1\r\nHost: www%2eexample.com\r\n\r\n".to_owned(), &[400]),
        ("Host beyond ASCII", "GET / HTTP/1.1\r\nHost: ex\u{e4}mple.com\r\n\r\n".to_owned(), &[400]),
        ("two Hosts in HTTP/1.0", format!("GET / HTTP/1.0\r\n{HOST}{HOST}\r\n"), &[400]),
        ("line ends without CR", "GET / HTTP/1.1\nHost: www.example.com\n\n".to_owned(), &[400]),
        ("one line end without CR", format!("GET / HTTP/1.1\r\nX-A: b\n{HOST}\r\n"), &[400]),
        ("empty line without CR", format!("GET / HTTP/1.1\r\n{HOST}\n"), &[400]),
        ("space before the colon", lines("X-A : b\r\n"), &[400]),
        ("tab before the colon", lines("X-A\t: b\r\n"), &[400]),
        ("space before Content-Length's colon", post("Content-Length : 3\r\n", "abc"), &[400]),
        ("no colon", lines("X-A b\r\n"), &[400]),
        ("empty name", lines(": b\r\n"), &[400]),
        ("name that is no token", lines("X(A: b\r\n"), &[400]),
        ("name with a space", lines("X A: b\r\n"), &[400]),
        ("name with NUL", lines("X\0A: b\r\n"), &[400]),
        ("name with a control character", lines("X\x01A: b\r\n"), &[400]),
        ("name with DEL", lines("X\x7fA: b\r\n"), &[400]),
        ("name with a slash", lines("X/A: b\r\n"), &[400]),
        ("name in quotes", lines("\"X-A\": b\r\n"), &[400]),
        ("name beyond ASCII", lines("X\u{e9}: b\r\n"), &[400]),
        ("folded line", lines("X-A: b\r\n c\r\n"), &[400]),
        ("folded line with a tab", lines("X-A: b\r\n\tc\r\n"), &[400]),
        ("space before the first field", format!("GET / HTTP/1.1\r\n X-A: b\r\n{HOST}\r\n"), &[400]),
        ("NUL in a value", lines("X-A: b\0c\r\n"), &[400]),
        ("bare CR in a value", lines("X-A: b\rX-B: c\r\n"), &[400]),
        ("bare CR at the end of a value", lines("X-A: b\r\r\n"), &[400]),
        ("control character in a value", lines("X-A: b\x01c\r\n"), &[400]),
        ("vertical tab in a value", lines("X-A: b\x0bc\r\n"), &[400]),
        ("form feed in a value", lines("X-A: b\x0cc\r\n"), &[400]),
        ("escape character in a value", lines("X-A: b\x1bc\r\n"), &[400]),
        ("DEL in a value", lines("X-A: b\x7fc\r\n"), &[400]),
    ]);
}

#[test]
#[rustfmt::skip]
fn ambiguous_framing_is_refused() {
    check(&[
        ("length and coding", post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), &[400]),
        ("coding and length", post("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", "0\r\n\r\n"), &[400]),
        ("two lengths that differ", post("Content-Length: 3\r\nContent-Length: 4\r\n", "abcd"), &[400]),
        ("list of lengths that differ", post("Content-Length: 3, 4\r\n", "abcd"), &[400]),
        ("two lengths that agree", post("Content-Length: 3\r\nContent-Length: 3\r\n", "abc"), &[400]),
        ("list of lengths that agree", post("Content-Length: 3, 3\r\n", "abc"), &[400]),
        ("length with an underscore", post("Content-Length: 1_0\r\n", "0123456789"), &[400]),
        ("length with an exponent", post("Content-Length: 1e1\r\n", "0123456789"), &[400]),
        ("length beyond 63 bits", post("Content-Length: 9223372036854775808\r\n", "a"), &[400, 413]),
        ("empty length", post("Content-Length:\r\n", "abc"), &[400]),
        ("length with a plus", post("Content-Length: +3\r\n", "abc"), &[400]),
        ("length with a minus", post("Content-Length: -3\r\n", "abc"), &[400]),
        ("hexadecimal length", post("Content-Length: 0x3\r\n", "abc"), &[400]),
        ("length with a fraction", post("Content-Length: 3.0\r\n", "abc"), &[400]),
        ("length with a space inside", post("Content-Length: 1 0\r\n", "abc"), &[400]),
        ("length that ends in a comma", post("Content-Length: 3,\r\n", "abc"), &[400]),
        ("length beyond 64 bits", post("Content-Length: 18446744073709551617\r\n", "a"), &[400, 413]),
        ("unknown coding", post("Transfer-Encoding: rot13\r\n", ""), &[501, 400]),
        ("unknown coding before chunked", post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), &[501, 400]),
        ("chunked is not last", post("Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n"), &[400, 501]),
        ("chunked and another line", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", "0\r\n\r\n"), &[400, 501]),
        ("chunked after an empty member", post("Transfer-Encoding: , chunked\r\n", "0\r\n\r\n"), &[400]),
        ("chunked on a folded line", post("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n"), &[400]),
        ("space before Transfer-Encoding's colon", post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"), &[400]),
        ("chunked twice", post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"), &[400]),
        ("chunked in two lines", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), &[400]),
        ("length in quotes", post("Content-Length: \"3\"\r\n", "abc"), &[400]),
        ("length with letters behind", post("Content-Length: 3abc\r\n", "abc"), &[400]),
        ("length of minus zero", post("Content-Length: -0\r\n", ""), &[400]),
        ("length after a vertical tab", post("Content-Length: \x0b3\r\n", "abc"), &[400]),
        ("length 0 and coding", post("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", "0\r\n\r\n"), &[400]),
        ("coding with a space inside", post("Transfer-Encoding: ch unked\r\n", "0\r\n\r\n"), &[400, 501]),
        ("coding with NUL", post("Transfer-Encoding: chunked\0\r\n", "0\r\n\r\n"), &[400]),
        ("coding with an octet beyond ASCII", post("Transfer-Encoding: \u{ff}chunked\r\n", "0\r\n\r\n"), &[400, 501]),
        ("chunked before an empty member", post("Transfer-Encoding: chunked,\r\n", "0\r\n\r\n"), &[400]),
        ("chunked before identity", post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"), &[400, 501]),
        ("identity", post("Transfer-Encoding: identity\r\n", ""), &[400, 501]),
        ("empty coding", post("Transfer-Encoding:\r\n", ""), &[400, 501]),
        ("chunked with a parameter", post("Transfer-Encoding: chunked;a=b\r\n", "0\r\n\r\n"), &[400, 501]),
        ("chunked in quotes", post("Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n"), &[400, 501]),
        ("chunked with a letter more", post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"), &[400, 501]),
        ("chunked after a vertical tab", post("Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n"), &[400, 501]),
        ("coding in HTTP/1.0", format!("POST / HTTP/1.0\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), &[400]),
    ]);
}

#[test]
fn too_much_is_refused() {
    let long = "x".repeat(16 << 10);
    check(&[
        ("long target", line(&format!("GET /{} HTTP/1.1", &long[..3000])), &[414]),
        ("long query", line(&format!("GET /?{} HTTP/1.1", &long[..3000])), &[414]),
        ("endless target", format!("GET /{long}"), &[414, 431]),
        ("endless method", long.clone(), &[400, 414, 431, 501]),
        ("long value", lines(&format!("X-A: {long}\r\n")), &[431]),
        ("long name", lines(&format!("{long}: a\r\n")), &[431]),
        ("endless field", format!("GET / HTTP/1.1\r\n{HOST}X-A: {long}"), &[431]),
        (
            "many long fields",
            lines(&format!("X-A: {}\r\n", &long[..1000]).repeat(10)),
            &[431],
        ),
        ("many short fields", lines(&"a: b\r\n".repeat(100)), &[431]),
    ]);
}

/// Malformed chunks come after a head that was right: the request may have begun to go on, but it never looks whole.
#[test]
fn malformed_chunks_never_look_like_a_whole_request() {
    let long = "x".repeat(100_000);
    let server = Server::start();
    for (name, body) in [
        ("size that is no number", "z\r\nabc\r\n0\r\n\r\n".to_owned()),
        ("empty size", "\r\nabc\r\n0\r\n\r\n".to_owned()),
        ("negative size", "-1\r\nabc\r\n0\r\n\r\n".to_owned()),
        ("size with a plus", "+3\r\nabc\r\n0\r\n\r\n".to_owned()),
        ("size with 0x", "0x3\r\nabc\r\n0\r\n\r\n".to_owned()),
        ("size with an underscore", "0_3\r\nabc\r\n0\r\n\r\n".to_owned()),
        ("size of 17 digits", format!("{}3\r\nabc\r\n0\r\n\r\n", "0".repeat(16))),
        ("size of 64 bits", "ffffffffffffffff\r\nabc\r\n0\r\n\r\n".to_owned()),
        ("size with a space after", "3 \r\nabc\r\n0\r\n\r\n".to_owned()),
        ("bare LF in an extension", "3;a\nb\r\nabc\r\n0\r\n\r\n".to_owned()),
        ("bare LF after a chunk", "3\r\nabc\n0\r\n\r\n".to_owned()),
        ("bare LF as the last line", "3\r\nabc\r\n0\r\n\n".to_owned()),
        ("bare LF after a trailer", "3\r\nabc\r\n0\r\nX: y\n\r\n".to_owned()),
        ("NUL in a trailer", "3\r\nabc\r\n0\r\nX: y\0\r\n\r\n".to_owned()),
        ("size with a space before", " 3\r\nabc\r\n0\r\n\r\n".to_owned()),
        ("size with a space inside", "3 3\r\nabc\r\n0\r\n\r\n".to_owned()),
        (
            "size beyond 64 bits",
            "10000000000000003\r\nabc\r\n0\r\n\r\n".to_owned(),
        ),
        ("chunk longer than its size", "3\r\nabcd\r\n0\r\n\r\n".to_owned()),
        ("chunk shorter than its size", "5\r\nabc\r\n0\r\n\r\n".to_owned()),
        ("no line end after a chunk", "3\r\nabc0\r\n\r\n".to_owned()),
        ("bare LF after the size", "3\nabc\r\n0\r\n\r\n".to_owned()),
        ("bare CR in an extension", "3;a\rb\r\nabc\r\n0\r\n\r\n".to_owned()),
        ("extension without a name", "3;\r\nabc\r\n0\r\n\r\n".to_owned()),
        (
            "extension whose quote is never closed",
            "3;a=\"b\r\nabc\r\n0\r\n\r\n".to_owned(),
        ),
        ("extension with a space inside", "3;a b\r\nabc\r\n0\r\n\r\n".to_owned()),
        (
            "control character in an extension",
            "3;a=\"\x01\"\r\nabc\r\n0\r\n\r\n".to_owned(),
        ),
        ("NUL in an extension", "3;a=\0\r\nabc\r\n0\r\n\r\n".to_owned()),
        ("endless extension", format!("3;{long}")),
        ("trailer without a colon", "3\r\nabc\r\n0\r\nX\r\n\r\n".to_owned()),
        (
            "trailer with a space before the colon",
            "3\r\nabc\r\n0\r\nX : y\r\n\r\n".to_owned(),
        ),
        ("folded trailer", "3\r\nabc\r\n0\r\nX: y\r\n z\r\n\r\n".to_owned()),
        ("endless trailer", format!("3\r\nabc\r\n0\r\nX: {long}")),
    ] {
        let (stop, text) = server.send(&chunked(&body));
        assert_ne!(stop, Stop::Silence, "{name}: the connection stays open");
        let refused = ["400", "413", "431"]
            .iter()
            .any(|status| text.starts_with(&format!("HTTP/1.1 {status} ")));
        assert!(text.is_empty() || refused, "{name}: {text}");
        server.tidegate.wait_until_no_backend_is_busy();
        let whole = |request: &tests::message::Request| request.end == Some(End::Whole);
        assert!(
            !server.origin.requests().iter().any(whole),
            "{name}: the origin took it for whole"
        );
    }
}

fn check(rows: &[Row]) {
    let server = Server::start();
    for (name, bytes, expected) in rows {
        let (stop, text) = server.send(bytes);
        assert_ne!(stop, Stop::Silence, "{name}: the connection stays open after {text:?}");
        let response = Response::of(Head::parse(text.as_bytes()));
        assert!(
            expected.contains(&response.status),
            "{name}: expected {expected:?}, got {text:?}"
        );
        assert!(response.says_close(), "{name}: {text:?}");
        assert_eq!(
            text.matches("HTTP/1.1 ").count(),
            1,
            "{name}: one answer only: {text:?}"
        );
        assert!(
            server.origin.requests().is_empty(),
            "{name}: reached the origin: {:?}",
            server.origin.requests()
        );
    }
    server.expect_unharmed();
}

struct Server {
    origin: Origin,
    tidegate: Tidegate,
}

impl Server {
    fn start() -> Self {
        let origin = Origin::saying("hello");
        let setup = Setup::of(&origin.address())
            .set("front.request_head_max", "'8KiB'")
            .set("front.fields_max", "64")
            .set("front.uri_max", "'2KiB'");
        Self {
            tidegate: setup.start(),
            origin,
        }
    }

    /// Sends bytes (one per character) and a request after them, which must not be answered: where a refused message
    /// ends, nobody knows.
    fn send(&self, text: &str) -> (Stop, String) {
        let mut client = self.tidegate.client();
        let bytes: Vec<u8> = text.chars().map(|c| u8::try_from(c).unwrap()).collect();
        client.send(bytes);
        client.send("GET /smuggled HTTP/1.1\r\nHost: www.example.com\r\n\r\n");
        client.wait_for_end()
    }

    fn expect_unharmed(&self) {
        let response = self.tidegate.get("/");
        assert_eq!((response.status, response.text().as_str()), (200, "hello"));
    }
}
