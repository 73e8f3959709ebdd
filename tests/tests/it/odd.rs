//! Requests that look odd and are right: they must be answered, on a connection that stays usable.

use tests::client::get;
use tests::message::End;
use tests::origin::Origin;
use tests::script::Script;
use tests::setup::Setup;

const HOST: &str = "Host: www.example.com\r\n";

#[test]
#[rustfmt::skip]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn odd_requests_that_are_right_are_answered() {
    let origin = Origin::start(|request| Script::ok(request.content.text()));
    let tidegate = Setup::of(&origin.address()).start();
    let mut client = tidegate.client();
    let long = "x".repeat(4000);
    for (name, request, expected) in [
        ("empty line first", format!("\r\nGET / HTTP/1.1\r\n{HOST}\r\n"), ""),
        ("lower-case names", "GET / HTTP/1.1\r\nhost: www.example.com\r\n\r\n".to_owned(), ""),
        ("no space after the colon", "GET / HTTP/1.1\r\nHost:www.example.com\r\n\r\n".to_owned(), ""),
        ("spaces and tabs around a value", "GET / HTTP/1.1\r\nHost: \t www.example.com \t\r\n\r\n".to_owned(), ""),
        ("upper-case host with a port", "GET / HTTP/1.1\r\nHost: WWW.EXAMPLE.COM:8080\r\n\r\n".to_owned(), ""),
        ("empty port", "GET / HTTP/1.1\r\nHost: www.example.com:\r\n\r\n".to_owned(), ""),
        ("empty value", format!("GET / HTTP/1.1\r\n{HOST}X-Empty:\r\n\r\n"), ""),
        ("tab in a value", format!("GET / HTTP/1.1\r\n{HOST}X-A: a\tb\r\n\r\n"), ""),
        ("bytes beyond ASCII in a value", format!("GET / HTTP/1.1\r\n{HOST}X-A: gr\u{fc}n\r\n\r\n"), ""),
        ("every token character in a name", format!("GET / HTTP/1.1\r\n{HOST}!#$%&'*+-.^_`|~09azAZ: a\r\n\r\n"), ""),
        ("unknown method", format!("BREW / HTTP/1.1\r\n{HOST}\r\n"), ""),
        ("method with token characters", format!("M-SEARCH!~ / HTTP/1.1\r\n{HOST}\r\n"), ""),
        ("absolute form", format!("GET http://www.example.com/ HTTP/1.1\r\n{HOST}\r\n"), ""),
        ("absolute form in upper case", format!("GET HTTP://WWW.EXAMPLE.COM/ HTTP/1.1\r\n{HOST}\r\n"), ""),
        ("absolute form with a port", format!("GET http://www.example.com:81/ HTTP/1.1\r\n{HOST}\r\n"), ""),
        ("slashes and dots", format!("GET //a/./../b//?? HTTP/1.1\r\n{HOST}\r\n"), ""),
        ("escapes", format!("GET /%41%2F%00%C3%BC?%20=%3D HTTP/1.1\r\n{HOST}\r\n"), ""),
        ("a minor version to come", format!("GET / HTTP/1.2\r\n{HOST}\r\n"), ""),
        ("the last minor version", format!("GET / HTTP/1.9\r\n{HOST}\r\n"), ""),
        ("lower-case method", format!("get / HTTP/1.1\r\n{HOST}\r\n"), ""),
        ("asterisk for OPTIONS", format!("OPTIONS * HTTP/1.1\r\n{HOST}\r\n"), ""),
        ("several empty lines first", format!("\r\n\r\n\r\nGET / HTTP/1.1\r\n{HOST}\r\n"), ""),
        ("absolute form beside another Host", "GET http://www.example.com/ HTTP/1.1\r\nHost: other.example\r\n\r\n".to_owned(), ""),
        ("target of 8000 octets", format!("GET /{} HTTP/1.1\r\n{HOST}\r\n", "a".repeat(7999)), ""),
        ("brackets and bars in the query", format!("GET /?a[]=1&b={{x}}|y^z` HTTP/1.1\r\n{HOST}\r\n"), ""),
        ("a hundred fields", format!("GET / HTTP/1.1\r\n{HOST}{}\r\n", "a: b\r\n".repeat(99)), ""),
        ("value of 16 KiB", format!("GET / HTTP/1.1\r\n{HOST}X-A: {}\r\n\r\n", "b".repeat(16 << 10)), ""),
        ("host with a dot at its end", "GET / HTTP/1.1\r\nHost: www.example.com.\r\n\r\n".to_owned(), ""),
        ("option in Connection that is no token", format!("GET / HTTP/1.1\r\n{HOST}Connection: a b\r\n\r\n"), ""),
        ("upgrade to HTTP/2", format!("GET / HTTP/1.1\r\n{HOST}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"), ""),
        ("length 0 of a GET", format!("GET / HTTP/1.1\r\n{HOST}Content-Length: 0\r\n\r\n"), ""),
        ("spaces and tabs around a length", format!("POST / HTTP/1.1\r\n{HOST}Content-Length: \t 3 \t\r\n\r\nabc"), "abc"),
        ("an empty line after content", format!("POST / HTTP/1.1\r\n{HOST}Content-Length: 3\r\n\r\nabc\r\n"), "abc"),
        ("expectation whose content came with it", format!("POST / HTTP/1.1\r\n{HOST}Expect: 100-Continue\r\nContent-Length: 3\r\n\r\nabc"), "abc"),
        ("expectation in a list", format!("POST / HTTP/1.1\r\n{HOST}Expect: 100-continue, 100-continue,\r\nContent-Length: 3\r\n\r\nabc"), "abc"),
        ("expectation without content", format!("GET / HTTP/1.1\r\n{HOST}Expect: 100-continue\r\n\r\n"), ""),
        ("space around chunk extensions", format!("POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n3 ; a = b\r\nabc\r\n0\r\n\r\n"), "abc"),
        ("long query", format!("GET /?{long} HTTP/1.1\r\n{HOST}\r\n"), ""),
        ("long cookie", format!("GET / HTTP/1.1\r\n{HOST}Cookie: {long}\r\n\r\n"), ""),
        ("same field twice", format!("GET / HTTP/1.1\r\n{HOST}Cookie: a\r\nCookie: b\r\n\r\n"), ""),
        ("empty members in Connection", format!("GET / HTTP/1.1\r\n{HOST}Connection: ,, keep-alive ,\r\n\r\n"), ""),
        ("upgrade that nobody takes up", format!("GET / HTTP/1.1\r\n{HOST}Connection: upgrade\r\nUpgrade: foo\r\n\r\n"), ""),
        ("GET with a body", format!("GET / HTTP/1.1\r\n{HOST}Content-Length: 3\r\n\r\nabc"), "abc"),
        ("DELETE with a body", format!("DELETE / HTTP/1.1\r\n{HOST}Content-Length: 3\r\n\r\nabc"), "abc"),
        ("length with leading zeros", format!("POST / HTTP/1.1\r\n{HOST}Content-Length: 003\r\n\r\nabc"), "abc"),
        ("POST without a body", format!("POST / HTTP/1.1\r\n{HOST}\r\n"), ""),
        ("upper-case coding", format!("POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: CHUNKED\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), "abc"),
        ("size with leading zeros", format!("POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n0003\r\nabc\r\n000\r\n\r\n"), "abc"),
        ("tabs around the coding", format!("POST / HTTP/1.1\r\n{HOST}Transfer-Encoding:\tchunked\t\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), "abc"),
        ("chunked GET", format!("GET / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), "abc"),
        ("size with more zeros", format!("POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n0000000000000003\r\nabc\r\n000\r\n\r\n"), "abc"),
        ("size in both cases", format!("POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\nA\r\nabcdefghij\r\n0\r\n\r\n"), "0123456789abcdefghij"),
        ("chunk extensions", format!("POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n3;a;b=c;d=\"e;f\"\r\nabc\r\n0;z\r\n\r\n"), "abc"),
        ("trailers", format!("POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-A: b\r\nX-C:\r\n\r\n"), "abc"),
    ] {
        let bytes: Vec<u8> = request.chars().map(|c| u8::try_from(c).unwrap()).collect();
        let response = client.ask(bytes);
        assert_eq!(
            (response.status, response.text().as_str(), &response.end),
            (200, expected, &End::Whole),
            "{name}"
        );
        assert!(!response.says_close(), "{name}: {response:?}");
    }
    assert_eq!(client.get("/").status, 200);
    assert_eq!(tidegate.metric("tidegate_requests_malformed_total", ""), 0);
}

#[test]
fn an_expectation_goes_on_only_where_somebody_waits() {
    let origin = Origin::start(|request| Script::ok(request.field("expect").unwrap_or("none")));
    let tidegate = Setup::of(&origin.address()).start();
    let head = |version: &str, lines: &str| format!("POST / {version}\r\n{HOST}Expect: 100-continue\r\n{lines}\r\n");
    for (version, lines, content) in [
        ("HTTP/1.1", "Content-Length: 3\r\n", "abc"),
        ("HTTP/1.1", "", ""),
        ("HTTP/1.0", "Content-Length: 3\r\n", "abc"),
    ] {
        let answer = tidegate.ask(head(version, lines) + content);
        let told = (answer.interim.len(), answer.text());
        assert_eq!(told, (0, "none".to_owned()), "{version} {lines}");
    }
    let mut client = tidegate.client();
    client.send(head("HTTP/1.1", "Content-Length: 3\r\n"));
    assert_eq!(client.read_head().status, 100);
    client.send("abc");
    assert_eq!(client.read().text(), "100-continue");
}

#[test]
fn options_for_the_whole_server_says_so_and_counts_its_hops() {
    let origin = Origin::start(|request| {
        let left = request.field("max-forwards").unwrap_or("any").to_owned();
        Script::ok(format!("{} {left}", request.target()))
    });
    let tidegate = Setup::of(&origin.address()).start();
    for (target, lines, expected) in [
        ("*", "", "* any"),
        ("http://www.example.com", "", "* any"),
        ("http://www.example.com/", "", "/ any"),
        ("http://www.example.com?a", "", "/?a any"),
        ("/", "Max-Forwards: 5\r\n", "/ 4"),
        ("/", "Max-Forwards: 1\r\n", "/ 0"),
        ("/", "Max-Forwards: some\r\n", "/ some"),
    ] {
        let answer = tidegate.ask(format!("OPTIONS {target} HTTP/1.1\r\n{HOST}{lines}\r\n"));
        assert_eq!(answer.text(), expected, "{target} {lines}");
    }
    for zero in ["0", "00"] {
        let answer = tidegate.ask(format!("OPTIONS / HTTP/1.1\r\n{HOST}Max-Forwards: {zero}\r\n\r\n"));
        assert_eq!(answer.status, 204, "this is the last hop");
    }
    assert_eq!(origin.requests().len(), 7);
}

#[test]
fn a_request_that_comes_byte_by_byte_is_answered() {
    let origin = Origin::start(|request| Script::ok(request.content.text()));
    let tidegate = Setup::of(&origin.address()).start();
    let mut client = tidegate.client();
    let body = "Transfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nX-A: b\r\n\r\n";
    for byte in format!("POST / HTTP/1.1\r\n{HOST}{body}{}", get("/second")).bytes() {
        client.send([byte]);
    }
    assert_eq!(client.read().text(), "abc");
    assert_eq!((client.read().status, origin.count("/second")), (200, 1));
}

#[test]
fn an_old_client_without_a_host_gets_the_default_site() {
    let origin = Origin::saying("hello");
    let tidegate = Setup::of(&origin.address())
        .set("front.unknown_host", "'default'")
        .start();
    assert_eq!(tidegate.ask("GET / HTTP/1.0\r\n\r\n").text(), "hello");
}
