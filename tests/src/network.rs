//! A network namespace of one's own for a test: its settings, its packet filter, connections into it. Root only.
//!
//! What cannot be had here is said aloud and skipped.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};

use socket2::{Domain, Socket, Type};

use crate::programs::{installed, skipped};
use crate::sys::{in_own_network, is_root};

/// Runs the body where the kernel's counters are its own; says so where that cannot be. `programs` are what it uses.
pub fn alone(what: &str, programs: &[&str], body: impl FnOnce() + Send) {
    if !is_root() {
        return skipped(&format!("{what}: only root may have a network namespace"));
    }
    let all = ["ip"]
        .iter()
        .chain(programs)
        .all(|program| installed(program).is_some());
    if all {
        in_own_network(body);
    }
}

/// Sets a setting of this namespace: `net/ipv4/tcp_syncookies`.
///
/// # Panics
/// When the kernel does not take it.
#[track_caller]
pub fn set(name: &str, value: &str) {
    std::fs::write(format!("/proc/sys/{name}"), value).unwrap_or_else(|error| panic!("{name} = {value}: {error}"));
}

/// Packets that are thrown away in this namespace as long as this lives: matches in nft's language.
#[derive(Debug)]
pub struct Drops(());

impl Drops {
    /// Throws away what comes in and matches.
    pub fn incoming(matches: &str) -> Self {
        Self::at("input", matches)
    }

    /// Throws away what goes out and matches.
    pub fn outgoing(matches: &str) -> Self {
        Self::at("output", matches)
    }

    fn at(hook: &str, matches: &str) -> Self {
        nft(&format!(
            "table ip lossy {{\nchain c {{\ntype filter hook {hook} priority 0;\n{matches} drop\n}}\n}}\n"
        ));
        Self(())
    }
}

impl Drop for Drops {
    fn drop(&mut self) {
        nft("delete table ip lossy");
    }
}

#[track_caller]
fn nft(script: &str) {
    let mut command = Command::new("nft");
    command.args(["-f", "-"]).stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "nft: {script}");
}

/// Begins `count` connections to `address` and waits for none.
pub fn knock(address: &str, count: usize) -> Vec<Socket> {
    let address: SocketAddr = address.parse().unwrap();
    let begin = |_| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        drop(socket.connect(&address.into()));
        socket
    };
    (0..count).map(begin).collect()
}

/// A connection to `address` from the `number`th address of this machine: each has all local ports for itself.
///
/// # Panics
/// When nobody listens there.
#[track_caller]
pub fn connect_from(number: u8, address: &str) -> std::net::TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let own = SocketAddr::from((Ipv4Addr::new(127, 0, 1, number), 0));
    socket.bind(&own.into()).unwrap();
    let address: SocketAddr = address.parse().unwrap();
    socket.connect(&address.into()).unwrap();
    socket.into()
}
