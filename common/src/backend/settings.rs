//! Plain settings of a backend, filled in by `config`.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::net::settings::TcpKeepalive;

/// A group of servers, and how they are spoken to.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendSettings {
    /// The configured name.
    pub name: String,
    /// The servers, in the order of the configuration; never empty.
    pub servers: Vec<ServerAddress>,
    /// How one of them is picked.
    pub balance: Balance,
    /// Idle connections kept per server, for all workers together.
    pub keepalive: usize,
    /// Connections per server, busy and idle, for all workers together.
    pub connections_max: usize,
    /// How long a request may wait for a connection when `connections_max` is reached.
    pub queue_timeout: Duration,
    /// Requests that may wait so, per server.
    pub queue_max: usize,
    /// How long an idle connection is kept.
    pub idle_timeout: Duration,
    /// TCP keepalive of connections to the servers.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// How often a request is sent again when that is safe.
    pub retries: u32,
    /// Limits of time and size.
    pub limits: ExchangeLimits,
}

/// Limits of one exchange with a server; a route may override the times.
#[derive(Clone, Debug, PartialEq)]
pub struct ExchangeLimits {
    /// The TCP handshake; each address of a server has as long.
    pub connect_timeout: Duration,
    /// From the request's last byte (or the last progress of its body) to the end of the response head.
    pub response_timeout: Duration,
    /// Between two reads of the response body.
    pub body_timeout: Duration,
    /// Between two writes of the request that make progress.
    pub send_timeout: Duration,
    /// Bytes of a response head.
    pub head_bytes_max: usize,
    /// Field lines of a response head.
    pub fields_max: usize,
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ServerAddress {
    /// A literal address.
    Socket(SocketAddr),
    /// A name, resolved at the start.
    Name {
        /// The host name.
        host: String,
        /// The port.
        port: u16,
    },
    /// A unix stream socket.
    Unix(PathBuf),
}

/// How a server is picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// One after another.
    RoundRobin,
    /// By a hash of the cache key, so that one key stays on one server (rendezvous hashing).
    ConsistentHash,
}

impl fmt::Display for ServerAddress {
    /// As configured; the word for this server in logs, metrics and health, and what consistent hashing hashes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
