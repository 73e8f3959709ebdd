//! Listeners behind a load balancer: who the client is, from whom that is believed, and what is no header.

use std::io::Write as _;
use std::net::TcpStream;

use serde_json::Value;
use tests::certificates::Made;
use tests::client::{Client, get};
use tests::origin::Origin;
use tests::script::Script;
use tests::setup::Setup;
use tests::tidegate::{Tidegate, folder};
use tests::tls::Tls;
use tests::wait::eventually;

const V1: &str = "PROXY TCP4 203.0.113.7 198.51.100.2 12345 443\r\n";
const REFUSED: &str = "tidegate_proxy_headers_refused_total";

/// `2001:db8::7` to `2001:db8::2`, from port 12345 to 443, and a vector that nobody knows.
fn v2() -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\x00\x29".to_vec();
    for last in [7, 2] {
        header.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    header.extend([0x30, 0x39, 0x01, 0xbb, 0xee, 0, 2, 1, 2]);
    header
}

fn setup(origin: &Origin) -> Setup {
    let listen = "[{ address = '127.0.0.1:0', proxy_protocol = true, proxy_from = ['127.0.0.0/8'] }]";
    Setup::of(&origin.address()).set("front.listen", listen)
}

fn origin() -> Origin {
    Origin::start(|_| Script::ok("hello"))
}

#[track_caller]
fn refused_for(tidegate: &Tidegate, cause: &str) {
    tidegate.expect_metric(REFUSED, &format!("cause=\"{cause}\""), 1);
    let closed = "tidegate_connections_close_reasons_total";
    tidegate.expect_metric_of_at_least(closed, "reason=\"proxy_header\"", 1);
}

#[test]
fn the_client_is_who_the_header_names_everywhere() {
    let (_folder, path) = folder();
    let file = path.join("access.log");
    let origin = origin();
    let setup = setup(&origin)
        .set("log.access.to", &format!("'{}'", file.display()))
        .set("log.access.format", "'json'")
        .set("log.access.flush", "'20ms'");
    let tidegate = setup.start();
    let cases: [(&[u8], &str); 3] = [
        (V1.as_bytes(), "203.0.113.7"),
        (&v2(), "2001:db8::7"),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00", "127.0.0.1"),
    ];
    for (header, expected) in cases {
        let mut client = tidegate.client();
        client.send(header);
        for _ in 0..2 {
            assert_eq!(client.get("/").text(), "hello", "{expected}");
            assert_eq!(origin.last_request().head.fields.joined("x-forwarded-for"), expected);
        }
        // In pieces, and together with what follows.
        let mut client = tidegate.client();
        for byte in &header[..header.len() - 1] {
            client.send([*byte]);
        }
        client.send([&header[header.len() - 1..], get("/").as_bytes()].concat());
        assert_eq!(client.read().text(), "hello", "{expected}");
    }
    let lines = || std::fs::read_to_string(&file).unwrap_or_default();
    eventually("all is logged", || lines().lines().count() == 9);
    let clients = lines();
    let mut clients: Vec<_> = clients
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["client.addr"].to_string())
        .collect();
    clients.sort();
    clients.dedup();
    assert_eq!(clients, [r#""127.0.0.1""#, r#""2001:db8::7""#, r#""203.0.113.7""#]);
}

#[test]
fn it_comes_before_tls() {
    let (_folder, path) = folder();
    let origin = origin();
    let files = Made::ecdsa(&["www.example.com"]).write(&path, "www");
    let listen = "[{ address = '127.0.0.1:0', tls = 'test', proxy_protocol = true, proxy_from = ['127.0.0.1/32'] }]";
    let setup = Setup::of(&origin.address())
        .set("front.listen", listen)
        .set("tls.test.certificates", &format!("[{}]", files.entry()));
    let tidegate = setup.start();
    let mut socket = TcpStream::connect(tidegate.address()).unwrap();
    socket.write_all(V1.as_bytes()).unwrap();
    let mut client = Tls::offering(&[]).over(socket, "www.example.com").unwrap();
    assert!(client.ask(&get("/"), "hello").starts_with("HTTP/1.1 200"));
    let fields = origin.last_request().head.fields;
    assert_eq!(
        (
            fields.joined("x-forwarded-for").as_str(),
            fields.joined("x-forwarded-proto").as_str()
        ),
        ("203.0.113.7", "https")
    );
}

#[test]
fn what_is_no_header_is_closed_and_counted() {
    let origin = origin();
    let tidegate = setup(&origin).set("front.header_timeout", "'200ms'").start();
    let mut client = tidegate.client();
    client.send(get("/"));
    client.wait_for_end();
    refused_for(&tidegate, "malformed");
    let mut client = tidegate.client();
    client.send("PROXY TCP4 203.0");
    client.wait_for_end();
    refused_for(&tidegate, "timeout");
    let mut client = tidegate.client();
    client.send("PROXY TCP4 203.0");
    client.half_close();
    client.wait_for_end();
    refused_for(&tidegate, "gone");
    assert_eq!(origin.requests().len(), 0);
    let mut client = tidegate.client();
    client.send(V1.to_owned() + &get("/"));
    assert_eq!(client.read().status, 200, "others notice nothing");
}

#[test]
fn only_listed_peers_may_say_who_the_client_is() {
    let origin = origin();
    let listen = "[{ address = '127.0.0.1:0', proxy_protocol = true, proxy_from = ['10.0.0.0/8'] }, '127.0.0.2:0']";
    let tidegate = Setup::of(&origin.address()).set("front.listen", listen).start();
    let mut client = tidegate.client();
    client.send(V1.to_owned() + &get("/"));
    client.wait_for_end();
    refused_for(&tidegate, "source");
    assert_eq!(origin.requests().len(), 0);
    // A listener that does not say so takes it for what it looks like: no request.
    let mut client = Client::connect(tidegate.front.address_of("127.0.0.2:0"));
    client.send(V1.to_owned() + &get("/"));
    assert_eq!(client.read().status, 400);
}

#[test]
fn limits_are_those_of_the_client_and_not_of_the_load_balancer() {
    let origin = origin();
    let tidegate = setup(&origin).set("limits.connections_per_source_max", "1").start();
    let connect = |client: u8| {
        let mut connection = tidegate.client();
        connection.send(V1.replace("203.0.113.7", &format!("203.0.113.{client}")) + &get("/"));
        connection
    };
    let (mut first, mut other) = (connect(1), connect(2));
    assert_eq!((first.read().status, other.read().status), (200, 200));
    let mut second = connect(1);
    second.wait_for_end();
    tidegate.expect_metric("tidegate_connections_shed_total", "reason=\"source\"", 1);
    drop(first);
    eventually("its place is free", || connect(1).try_read_answer_to("GET").is_ok());
}

#[test]
fn a_unix_socket_needs_no_list() {
    let (_folder, path) = folder();
    let file = path.join("front.sock");
    let origin = origin();
    let listen = format!("[{{ address = 'unix:{}', proxy_protocol = true }}]", file.display());
    let tidegate = Setup::of(&origin.address()).set("front.listen", &listen).start();
    let mut client = tidegate.client();
    client.send([&v2()[..], get("/").as_bytes()].concat());
    assert_eq!(client.read().status, 200);
    assert_eq!(
        origin.last_request().head.fields.joined("x-forwarded-for"),
        "2001:db8::7"
    );
}
