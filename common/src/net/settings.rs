//! Plain settings of listeners, filled in by `config`, used by `net::listener`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// One listener: an address, and how its sockets are made.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenSettings {
    /// How logs and metrics call it: the address as configured.
    pub name: String,
    /// Where it listens.
    pub address: ListenAddress,
    /// The accept queue's limit that is asked for; the kernel gives at most `net.core.somaxconn`.
    pub backlog: Backlog,
    /// `TCP_DEFER_ACCEPT`: hand a connection over only when data came, or after this time.
    pub defer_accept: Option<Duration>,
    /// `IPV6_V6ONLY` on an IPv6 address.
    pub v6only: bool,
    /// `SO_KEEPALIVE` and its times.
    pub tcp_keepalive: Option<TcpKeepalive>,
}

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// IPv4 or IPv6; port 0 lets the kernel choose.
    Tcp(SocketAddr),
    /// A unix stream socket, with the file's permission bits.
    Unix {
        /// The socket file; a stale one is replaced, a live one is an error.
        path: PathBuf,
        /// Permission bits of the file, such as 0o660.
        mode: u32,
    },
}

/// What is passed to `listen()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backlog {
    /// As much as the kernel gives: `net.core.somaxconn` at the time of listening.
    Auto,
    /// This number of connections.
    Fixed(u32),
}

/// TCP keepalive times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpKeepalive {
    /// Silence before the first probe.
    pub idle: Duration,
    /// Time between probes.
    pub interval: Duration,
    /// Unanswered probes until the connection counts as dead.
    pub count: u32,
}
