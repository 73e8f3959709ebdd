//! PROXY headers towards servers: who is named, byte for byte, and which connections are used again by whom.

use std::net::{IpAddr, SocketAddr};

use tests::certificates::Made;
use tests::client::{Client, get};
use tests::proxied_origin::{Began, ProxiedOrigin};
use tests::setup::Setup;
use tests::tidegate::{Node, Tidegate, folder};
use tests::wait::eventually;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";

/// The header that names these two ends, written by hand.
fn header(version: &str, (source, destination): (SocketAddr, SocketAddr)) -> Vec<u8> {
    if version == "v1" {
        let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
        let (from, to) = (source.ip(), destination.ip());
        return format!(
            "PROXY {family} {from} {to} {} {}\r\n",
            source.port(),
            destination.port()
        )
        .into_bytes();
    }
    let octets = |end: SocketAddr| match end.ip() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let fixed: [u8; 4] = if source.is_ipv4() {
        [0x21, 0x11, 0, 12]
    } else {
        [0x21, 0x21, 0, 36]
    };
    let ports = [source.port().to_be_bytes(), destination.port().to_be_bytes()].concat();
    [SIGNATURE, &fixed, &octets(source), &octets(destination), &ports].concat()
}

fn setup(server: &str, version: &str) -> Setup {
    Setup::of(server)
        .uncached()
        .set("origin.o.proxy_protocol", &format!("'{version}'"))
}

/// Both ends of a client's connection.
fn ends(client: &Client) -> (SocketAddr, SocketAddr) {
    client.ends().unwrap()
}

fn connects(tidegate: &Tidegate) -> u64 {
    tidegate.metric("tidegate_backend_connects_total", "")
}

#[test]
fn each_client_is_named_ahead_of_its_own_connection() {
    for version in ["v1", "v2"] {
        for listen in ["127.0.0.1:0", "[::1]:0"] {
            let origin = ProxiedOrigin::start();
            let tidegate = setup(&origin.address, version)
                .set("front.listen", &format!("['{listen}']"))
                .start();
            let mut first = tidegate.client();
            let mut second = tidegate.client();
            for _ in 0..3 {
                assert_eq!(first.get("/").text(), "1");
                assert_eq!(second.get("/").text(), "2");
            }
            let expected = [header(version, ends(&first)), header(version, ends(&second))];
            assert_eq!(origin.headers(), expected, "{version} {listen}");
            assert_eq!(connects(&tidegate), 2);
            assert_eq!(tidegate.metric("tidegate_backend_connections", r#"state="idle""#), 2);
        }
    }
}

#[test]
fn requests_at_once_of_one_client_have_connections_that_name_the_same() {
    let origin = ProxiedOrigin::start();
    let listen = "[{ address = '127.0.0.1:0', http2 = true }]";
    let tidegate = setup(&origin.address, "v2").set("front.listen", listen).start();
    let mut client = tests::http2::Http2::connect(tidegate.address(), &[]);
    for stream in [1, 3, 5, 7] {
        client.get(stream, "/");
    }
    let mut ended = 0;
    while ended < 4 {
        ended += usize::from(client.read().unwrap().flags & tests::http2::END_STREAM != 0);
    }
    let headers = origin.headers();
    assert!(headers.iter().all(|header| *header == headers[0]), "{headers:?}");
    assert_eq!(headers[0][12..16], [0x21, 0x11, 0, 12]);
}

#[test]
fn tls_begins_after_the_header() {
    let (_folder, path) = folder();
    let made = Made::ecdsa(&["127.0.0.1"]);
    let origin = ProxiedOrigin::tls(&made);
    let roots = made.write(&path, "o").certificate;
    for version in ["v1", "v2"] {
        let tidegate = setup(&format!("https://{}", origin.address), version)
            .set("origin.o.tls.roots", &format!("'{}'", roots.display()))
            .start();
        let mut client = tidegate.client();
        assert_eq!(client.get("/").text(), client.get("/").text());
        assert_eq!(origin.headers().last(), Some(&header(version, ends(&client))));
    }
    assert_eq!(origin.headers().len(), 2);
}

#[test]
fn who_has_no_address_is_we_ourselves() {
    let (_folder, path) = folder();
    let (tcp, unix) = (ProxiedOrigin::start(), ProxiedOrigin::unix(&path.join("origin")));
    for version in ["v1", "v2"] {
        for (place, origin) in [("tcp", &tcp), ("unix", &unix)] {
            let socket = path.join(format!("{version}-{place}"));
            let tidegate = setup(&origin.address, version)
                .set("front.listen", &format!("['unix:{}']", socket.display()))
                .start();
            let text = tests::client::once(tidegate.address(), get("/")).text();
            assert_eq!(
                text,
                tests::client::once(tidegate.address(), get("/")).text(),
                "one for all"
            );
            let Began { header: found, ends } = origin.began().pop().unwrap();
            let expected = match (version, ends) {
                ("v1", Some(ends)) => header("v1", ends),
                ("v1", None) => b"PROXY UNKNOWN\r\n".to_vec(),
                _ => LOCAL.to_vec(),
            };
            assert_eq!(found, expected, "{version} {}", origin.address);
        }
    }
}

#[test]
fn health_checks_and_what_is_fetched_for_nobody_speak_for_themselves() {
    let origin = ProxiedOrigin::start();
    let tidegate = Setup::of(&origin.address)
        .set("origin.o.proxy_protocol", "'v2'")
        .set("origin.o.health.path", "'/up'")
        .set("origin.o.health.interval", "'20ms'")
        .start();
    let local = || origin.headers().iter().filter(|header| *header == LOCAL).count();
    eventually("it was checked", || local() > 0);
    drop(tidegate);

    let origin = ProxiedOrigin::start();
    let tidegate = Setup::of(&origin.address)
        .set("origin.o.proxy_protocol", "'v2'")
        .start();
    let mut client = tidegate.client();
    assert_eq!(client.get("/stale").text(), "1", "for this client");
    assert_eq!(client.get("/stale").text(), "1", "stale, and fetched behind its back");
    eventually("that was ours", || origin.headers().len() == 2);
    assert_eq!(origin.headers(), [header("v2", ends(&client)), LOCAL.to_vec()]);
}

#[test]
fn what_a_load_balancer_says_goes_on() {
    let origin = ProxiedOrigin::start();
    let listen = "[{ address = '127.0.0.1:0', proxy_protocol = true, proxy_from = ['127.0.0.0/8'] }]";
    let tidegate = setup(&origin.address, "v1").set("front.listen", listen).start();
    for (said, expected) in [
        (
            "PROXY TCP4 203.0.113.7 198.51.100.2 12345 443\r\n",
            "PROXY TCP4 203.0.113.7 198.51.100.2 12345 443\r\n",
        ),
        (
            "PROXY TCP6 2001:db8::7 ::ffff:198.51.100.2 12345 443\r\n",
            "PROXY TCP6 2001:db8::7 ::ffff:c633:6402 12345 443\r\n",
        ),
    ] {
        let mut client = tidegate.client();
        client.send(said);
        client.get("/");
        let found = origin.headers().pop().unwrap();
        assert_eq!(String::from_utf8(found).unwrap(), expected);
    }
}

#[test]
fn connections_of_others_make_room() {
    for (key, connections) in [("keepalive", "1"), ("connections_max", "1")] {
        let origin = ProxiedOrigin::start();
        let tidegate = setup(&origin.address, "v2")
            .set("process.workers", "1")
            .set(&format!("origin.o.{key}"), connections)
            .start();
        let (mut first, mut second) = (tidegate.client(), tidegate.client());
        assert_eq!((first.get("/").text(), first.get("/").text()), ("1".into(), "1".into()));
        // Its connection takes the place of the other one, which nobody else could have used.
        assert_eq!(
            (second.get("/").text(), second.get("/").text()),
            ("2".into(), "2".into())
        );
        assert_eq!(first.get("/").text(), "3", "{key}");
        assert_eq!(tidegate.metric("tidegate_backend_connections", r#"state="idle""#), 1);
        tidegate.wait_until_no_backend_is_busy();
    }
}

#[test]
fn cache_servers_may_be_told_as_well() {
    let (_folder, path) = folder();
    let (cache, origin) = (ProxiedOrigin::start(), ProxiedOrigin::start());
    let setup = Setup::of(&origin.address);
    let config = setup.front(std::slice::from_ref(&cache.address));
    let config = config.replace("[cache]\n", "[cache]\nproxy_protocol = 'v2'\n");
    let front = Node::start(&path.join("front.toml"), &config);
    let mut client = Client::connect(front.address("front"));
    assert_eq!(client.get("/").text(), "1");
    assert_eq!(cache.headers(), [header("v2", ends(&client))]);
    assert!(origin.headers().is_empty());
}
