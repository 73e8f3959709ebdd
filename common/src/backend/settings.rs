//! Plain settings of a backend, filled in by `config`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;

use crate::http::origin_error::OriginError;
use crate::http2::settings::ClientHttp2Settings;
use crate::net::proxy_protocol;
use crate::net::settings::TcpKeepalive;
use crate::net::tls::settings::ConnectorSettings;

/// A group of servers, and how they are spoken to.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendSettings {
    /// The configured name.
    pub name: String,
    /// The servers, in the order of the configuration; never empty.
    pub servers: Vec<ServerSettings>,
    /// The name servers that are asked for their names; empty: those of the system.
    pub name_servers: Vec<SocketAddr>,
    /// Servers that a [`ServerAddress::Service`] may stand for; those beyond are left out.
    pub service_servers_max: usize,
    /// How one of them is picked.
    pub balance: Balance,
    /// How much more than its share of the requests in flight a server may have, in percent of that share, before
    /// consistent hashing passes its keys on; 100 or more.
    pub hash_load_percent: u32,
    /// What consistent hashing hashes.
    pub hash_by: HashBy,
    /// Servers that a hot key is spread over, with consistent hashing; one: none is.
    pub hot_key_servers: usize,
    /// Requests per second from this process that make a key hot.
    pub hot_key_rate: u32,
    /// How long keys of a server that joined are asked of those who held them before, an ever smaller part; zero: never.
    pub handover: Duration,
    /// How long a server that comes back gets less than its weight; zero: at once.
    pub slow_start: Duration,
    /// Idle connections kept per server, for all workers together.
    pub keepalive: usize,
    /// Connections per server, busy and idle, that are made without being asked for; at most `keepalive`.
    pub keepalive_min: usize,
    /// Connections per server, busy and idle, for all workers together.
    pub connections_max: usize,
    /// How long a request may wait for a connection when `connections_max` is reached.
    pub queue_timeout: Duration,
    /// Requests that may wait so, per server.
    pub queue_max: usize,
    /// How long an idle connection is kept.
    pub idle_timeout: Duration,
    /// How long a connection is used at all, less a share that is drawn per connection.
    pub connection_lifetime: Duration,
    /// Requests per connection, less a share that is drawn per connection.
    pub connection_requests_max: u32,
    /// TCP keepalive of connections to the servers.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// How long sent data may stay unacknowledged (`TCP_USER_TIMEOUT`); `None`: the kernel's about 15 minutes.
    pub tcp_user_timeout: Option<Duration>,
    /// The local address of connections to servers of the same address family.
    pub bind: Option<IpAddr>,
    /// How TLS is spoken to those of the servers that want it; there is one where any of them does.
    pub tls: Option<ConnectorSettings>,
    /// The PROXY header that each connection begins with, in this version; only with HTTP/1.
    pub proxy_protocol: Option<proxy_protocol::Version>,
    /// Which HTTP is spoken to the servers.
    pub protocol: HttpProtocol,
    /// How HTTP/2 is, where it is.
    pub http2: ClientHttp2Settings,
    /// How often a request is sent again when that is safe.
    pub retries: u32,
    /// What a request is sent again for.
    pub retry_on: Vec<RetryCause>,
    /// Requests that are being sent again, in percent of all in flight.
    pub retry_budget_percent: u32,
    /// Share of response heads that are there before a request without content is sent to a second server as well, in
    /// percent; zero: never.
    pub hedge_percentile: u32,
    /// How long one try may take to the end of the response head; `None`: as long as `limits` allow.
    pub try_timeout: Option<Duration>,
    /// How long all tries together may take to the end of the response head.
    pub deadline: Option<Duration>,
    /// When a server is left alone for what requests to it came to.
    pub ejection: EjectionSettings,
    /// Below this share of servers that are neither ejected nor unhealthy, in percent, requests go to all alike; zero:
    /// only when none is left.
    pub panic_percent: u32,
    /// How servers are asked for their health; `None`: only requests tell.
    pub health: Option<HealthSettings>,
    /// Limits of time and size.
    pub limits: ExchangeLimits,
}

/// One server of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// Where it is.
    pub address: ServerAddress,
    /// Whether TLS is spoken to it.
    pub is_tls: bool,
    /// Its share among the others, 1 or more.
    pub weight: u32,
    /// Asked only while no other can be.
    pub is_backup: bool,
    /// How near it is, 0 to 9: those of a higher number are asked only while none of a lower one can be.
    pub group: u8,
    /// It joins the others when the process starts, and holds nothing yet.
    pub is_new: bool,
}

/// Passive ejection: by what requests came to.
#[derive(Clone, Debug, PartialEq)]
pub struct EjectionSettings {
    /// Failures in a row that eject a server; zero: never.
    pub failures: u32,
    /// Statuses that are failures.
    pub statuses: Vec<u16>,
    /// Share of failed tries within `window` that ejects a server, in percent; zero: never.
    pub error_percent: u32,
    /// Tries within `window` below which that share says nothing.
    pub tries_min: u32,
    /// What `error_percent` and `latency_factor` look at.
    pub window: Duration,
    /// How many times the others' median a server's median time to the response head may be within `window`; zero: any.
    pub latency_factor: u32,
    /// Below that no server is slow.
    pub latency_min: Duration,
    /// How long the first ejection lasts; each further one lasts twice the one before.
    pub time: Duration,
    /// How long one may last at most.
    pub time_max: Duration,
    /// Servers that may be ejected at the same time, in percent; of two or more, one always may.
    pub ejected_percent_max: u32,
}

/// Active health checks.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthSettings {
    /// Path and query of a GET; `None`: that the server takes a connection is enough.
    pub path: Option<String>,
    /// The service that gRPC's health protocol is asked for; empty: the server as a whole. Goes before `path`.
    pub grpc: Option<String>,
    /// The Host field; `None`: the server as configured.
    pub host: Option<String>,
    /// Statuses that are right.
    pub statuses: Vec<u16>,
    /// What the body has to contain.
    pub body: Option<String>,
    /// Between two checks of a server, give or take a tenth.
    pub interval: Duration,
    /// How long a check may take.
    pub timeout: Duration,
    /// Good checks in a row after which a server is used again.
    pub rise: u32,
    /// Bad checks in a row after which a server is left alone.
    pub fall: u32,
}

/// Limits of one exchange with a server; a route may override the times.
#[derive(Clone, Debug, PartialEq)]
pub struct ExchangeLimits {
    /// Who waits for a connection goes before those with a higher number (RFC 9218 §4.1: 0 to 7, 3 is usual).
    pub urgency: u8,
    /// The TCP handshake and that of TLS together; each address of a server has as long.
    pub connect_timeout: Duration,
    /// From the request's last byte (or the last progress of its body) to the end of the response head.
    pub response_timeout: Duration,
    /// Between two reads of the response body.
    pub body_timeout: Duration,
    /// Between two writes of the request that make progress.
    pub send_timeout: Duration,
    /// How long no byte may pass through a tunnel (RFC 9110 §7.8), either way.
    pub tunnel_timeout: Duration,
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
    /// A name, resolved at the start and again when its TTL is over.
    Name {
        /// The host name.
        host: String,
        /// The port.
        port: u16,
    },
    /// A service, by its name (`_http._tcp.example.org`): its SRV records tell names, ports, priorities and weights (RFC
    /// 2782), looked up at the start and again when their TTL is over.
    Service(String),
    /// A unix stream socket.
    Unix(PathBuf),
}

/// Which HTTP is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpProtocol {
    /// HTTP/1.1, a connection per request.
    Http1,
    /// HTTP/2, many requests per connection; without TLS by prior knowledge (RFC 9113 §3.3).
    Http2,
    /// What the server chooses by ALPN; without TLS HTTP/1.1.
    Auto,
}

impl HttpProtocol {
    /// What HTTP/1.1 is called in ALPN (RFC 7301 §6).
    pub(super) const HTTP_1_1: &'static [u8] = b"http/1.1";

    /// What is offered by ALPN, best first.
    pub(super) const fn offered(self) -> &'static [&'static [u8]] {
        match self {
            Self::Http1 => &[Self::HTTP_1_1],
            Self::Http2 => &[b"h2"],
            Self::Auto => &[b"h2", Self::HTTP_1_1],
        }
    }
}

/// How a server is picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// One after another, as often as its weight says.
    RoundRobin,
    /// Of two drawn at random, the one with the lower product of latency (peak EWMA) and requests in flight.
    LeastLoaded,
    /// The one with the fewest requests in flight.
    LeastConnections,
    /// By a hash (of what: [`HashBy`]), so that one key stays on one server (rendezvous hashing), within a bound of load.
    ConsistentHash,
}

/// What decides where a request goes, with consistent hashing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashBy {
    /// The cache key.
    Key,
    /// The client's address.
    Client,
    /// The value of a field.
    Field(HeaderName),
    /// The value of a cookie.
    Cookie(String),
}

/// What a request may be sent again for: an error by its RFC 9209 word, or a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryCause {
    /// No response, for this reason.
    Error(OriginError),
    /// This response; only requests without content are sent again for it.
    Status(u16),
}

impl From<ServerAddress> for ServerSettings {
    fn from(address: ServerAddress) -> Self {
        Self {
            address,
            is_tls: false,
            weight: 1,
            is_backup: false,
            group: 0,
            is_new: false,
        }
    }
}

impl fmt::Display for ServerAddress {
    /// As configured; the word for this server in logs, metrics and health, and what consistent hashing hashes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
            Self::Service(name) => write!(f, "srv:{name}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
