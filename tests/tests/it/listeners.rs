//! Where tidegate can listen: several addresses, IPv6, unix sockets.

use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;

use tests::client::{get, once};
use tests::origin::Origin;
use tests::programs::skipped;
use tests::setup::Setup;
use tests::sys::SIGTERM;
use tests::tidegate::{Node, folder};

#[test]
fn every_address_of_the_list_is_served() {
    let origin = Origin::saying("hello");
    let setup = Setup::of(&origin.address()).set("front.listen", "['127.0.0.1:0', '127.0.0.2:0', '127.0.0.3:0']");
    let tidegate = setup.start();
    let fronts: Vec<_> = tidegate
        .front
        .listeners
        .iter()
        .filter(|listener| listener.role == "front")
        .collect();
    assert_eq!(fronts.len(), 3, "{:?}", tidegate.front.listeners);
    for listener in fronts {
        assert!(
            listener.address.starts_with(listener.name.trim_end_matches('0')),
            "{listener:?}"
        );
        assert_eq!(once(&listener.address, get("/")).text(), "hello", "{listener:?}");
    }
}

#[test]
fn ipv6_is_served() {
    if TcpListener::bind("[::1]:0").is_err() {
        return skipped("this machine has no IPv6 loopback address");
    }
    let origin = Origin::start(|request| tests::script::Script::ok(request.field("x-forwarded-for").unwrap_or("none")));
    let setup = Setup::of(&origin.address())
        .set("front.listen", "['[::1]:0']")
        .set("front.forwarded.x_forwarded", "true");
    let tidegate = setup.start();
    assert!(tidegate.address().starts_with("[::1]:"), "{}", tidegate.address());
    assert_eq!(tidegate.get("/").text(), "::1");
}

#[test]
fn a_unix_socket_is_served_and_taken_away() {
    let (_folder, path) = folder();
    let socket = path.join("front.sock");
    let origin = Origin::saying("hello");
    let setup = Setup::of(&origin.address()).set("front.listen", &format!("['unix:{}']", socket.display()));
    // What a process that was killed has left behind is replaced.
    drop(UnixListener::bind(&socket).unwrap());
    let mut tidegate = setup.start();
    let metadata = std::fs::metadata(&socket).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o002, 0, "not writable by everybody");
    let address = format!("unix:{}", socket.display());
    for _ in 0..2 {
        assert_eq!(once(&address, get("/")).text(), "hello");
    }
    tidegate.front.process.signal(SIGTERM);
    assert_eq!(tidegate.front.process.wait_for_exit(), 0);
    assert!(!socket.exists(), "the socket file is gone after an orderly end");
}

#[test]
fn a_unix_socket_that_somebody_serves_is_not_taken_over() {
    let (_folder, path) = folder();
    let socket = path.join("front.sock");
    let _somebody = UnixListener::bind(&socket).unwrap();
    let setup = Setup::of("127.0.0.1:9").set("front.listen", &format!("['unix:{}']", socket.display()));
    let file = path.join("tidegate.toml");
    std::fs::write(&file, setup.in_process()).unwrap();
    let outcome = tests::tidegate::run(&["run", "-c", file.to_str().unwrap()]);
    assert_eq!(outcome.code, 69, "{}", outcome.text());
    assert!(outcome.stderr.contains("front.sock"), "{}", outcome.stderr);
}

#[test]
fn an_origin_may_be_a_unix_socket() {
    let (_folder, path) = folder();
    let socket = path.join("inner.sock");
    let origin = Origin::saying("hello");
    let inner = Setup::of(&origin.address()).set("front.listen", &format!("['unix:{}']", socket.display()));
    let _inner = inner.start();
    let outer = Setup::of(&format!("unix:{}", socket.display())).start();
    assert_eq!(outer.get("/").text(), "hello");
}

#[test]
fn one_line_starts_a_proxy() {
    let origin = Origin::saying("hello");
    let origin_url = format!("http://{}", origin.address());
    let node = Node::run(&["run", "--listen", "127.0.0.1:0", "--origin", &origin_url]);
    for host in ["www.example.com", "127.0.0.1:8080", "anything.at.all"] {
        let response = once(
            node.address("front"),
            format!("GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        );
        assert_eq!((response.status, response.text().as_str()), (200, "hello"), "{host}");
        assert_eq!(origin.last_request().field("host"), Some(host));
    }
}
