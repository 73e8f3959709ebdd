//! Ten thousand idle keep-alive connections, held by one process and all still good.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use tests::client::get;
use tests::origin::Origin;
use tests::programs::skipped;
use tests::script::Script;
use tests::setup::Setup;
use tests::sys::raise_open_files;
use tests::wait::PATIENCE;

const CONNECTIONS: usize = 10_000;
/// Memory that one idle connection may take, in bytes.
const MEMORY_MAX: u64 = 64 << 10;

#[test]
fn ten_thousand_idle_connections_are_held() {
    // Each side needs a descriptor per connection, in a process of its own; the rest is for tests that run beside.
    let limit = raise_open_files(CONNECTIONS as u64 + 6000);
    if limit < CONNECTIONS as u64 + 2000 {
        return skipped(&format!(
            "10,000 connections: only {limit} files may be open, and the limit cannot be raised"
        ));
    }
    let origin = Origin::start(|_| Script::cacheable("hello"));
    let setup = Setup::of(&origin.address())
        .set("process.connections_max", "11000")
        // All of them within a second would be half of a small limit.
        .set("limits.shedding.descriptors", "'unlimited'")
        .set("front.idle_timeout", "'10m'");
    let tidegate = setup.start();
    assert_eq!(tidegate.get("/").status, 200);
    let before = tidegate.front.process.memory();

    let mut connections: Vec<TcpStream> = (0..CONNECTIONS).map(|_| connect(tidegate.address())).collect();
    for connection in &mut connections {
        ask(connection);
    }
    tidegate.expect_metric_of_at_least("tidegate_connections_accepted_total", "", CONNECTIONS as u64);
    let each = tidegate.front.process.memory().saturating_sub(before) / CONNECTIONS as u64;
    assert!(each < MEMORY_MAX, "{each} bytes per idle connection");

    for connection in &mut connections {
        ask(connection);
    }
    assert_eq!(tidegate.metric("tidegate_connections_shed_total", ""), 0);
    assert_eq!(origin.requests().len(), 1);
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// One request and its answer; not the fixture's client, whose buffers would take most of a gigabyte here.
fn ask(stream: &mut TcpStream) {
    stream.write_all(get("/").as_bytes()).unwrap();
    let (mut buffer, mut length) = ([0; 2048], 0);
    while !buffer[..length].ends_with(b"\r\n\r\nhello") {
        let read = stream.read(&mut buffer[length..]).unwrap();
        assert_ne!(
            read,
            0,
            "the connection ended: {:?}",
            String::from_utf8_lossy(&buffer[..length])
        );
        length += read;
    }
    assert!(buffer.starts_with(b"HTTP/1.1 200 "));
}
