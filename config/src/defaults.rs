//! Every default, once, with its reason.

mod rules; // of the cache
mod spoken; // TLS and HTTP/2 with servers
mod traffic; // of traffic rules

pub(crate) use rules::{SLICE_MIN, rules};
pub(crate) use spoken::{CONNECTOR, ORIGIN_HTTP2};
pub(crate) use traffic::{
    CORS_MAX_AGE, MAINTENANCE_RETRY_AFTER, REALM, REDIRECT_STATUS, RESPOND_CONTENT_TYPE, compression,
};

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use common::backend::settings::{
    BackendSettings, Balance, EjectionSettings, ExchangeLimits, HashBy, HealthSettings, HttpProtocol, RetryCause,
};
use common::http::forwarded::{ForwardedSettings, IpNetwork};
use common::http::origin_error::OriginError;
use common::http::upgrade::Protocol;
use common::http2::settings::Http2Settings;
use common::kernel::diagnosis::settings::Thresholds;
use common::kernel::usage::Budget;
use common::net::settings::{Backlog, TcpKeepalive};
use common::net::tls::settings::{TlsSettings, TlsVersion, UnknownName};
use common::process::confine::{ConfineSettings, Wanted};
use common::serve::settings::{HalfClose, ServeSettings, ShedBy, SheddingSettings, SourceSettings, WorkerSettings};
use common::serve::source::SourcePrefixes;
use common::telemetry::access_log::{AccessLogFormat, AccessLogSettings, AccessLogTarget};
use common::telemetry::log::LogFormat;

use crate::model::{Health, ServersHealth, WhenDown};

/// Threads and how they end.
pub(crate) fn workers() -> WorkerSettings {
    WorkerSettings {
        // One per CPU that this process may use (affinity and cgroup quota counted): more would only take turns.
        workers: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        // Pinning helps a machine that does nothing else, and hurts any other.
        pin: false,
        // Orchestrators send SIGKILL 30 s after SIGTERM (Kubernetes' default grace period).
        drain_timeout: secs(30),
        // Below the descriptor limits that distributions allow (2^20 hard), with room for connections to servers.
        connections_max: 65_536,
    }
}

/// What one source may have.
pub(crate) fn sources() -> SourceSettings {
    let block = |address: IpAddr, prefix| IpNetwork { address, prefix };
    SourceSettings {
        // A sixteenth of all: thousands of honest clients share the address of a carrier's NAT, and still sixteen hostile
        // addresses are needed to take every place.
        connections_max: 4_096,
        prefixes: SourcePrefixes {
            v4: 32,
            // RFC 6177: every site has a /64 at least, and may use any address in it.
            v6: 64,
        },
        // This machine, and private networks (RFC 1918, RFC 4193): load balancers, fronts and load generators are there,
        // each of them many clients.
        exempt: vec![
            block([127, 0, 0, 0].into(), 8),
            block([10, 0, 0, 0].into(), 8),
            block([172, 16, 0, 0].into(), 12),
            block([192, 168, 0, 0].into(), 16),
            block(Ipv6Addr::LOCALHOST.into(), 128),
            block([0xfc00, 0, 0, 0, 0, 0, 0, 0].into(), 7),
        ],
    }
}

/// When new connections are shed.
pub(crate) const SHEDDING: SheddingSettings = SheddingSettings {
    memory: Budget::Auto,
    descriptors: Budget::Auto,
    // The last tenth is for those who are here: their requests need connections to servers, buffers, and stored responses.
    begin: 0.9,
    // Far enough below that it does not come and go with each look.
    end: 0.8,
    // Clients that are told to wait do not try again at once.
    by: ShedBy::Answer,
    // It is looked each second; those that ask again come spread over a few.
    retry_after: secs(5),
};

/// Somebody who blocks an attacker waits no longer than that; a stat per file and second would be no harm either.
pub(crate) const LISTS_RELOAD_EVERY: Duration = secs(5);

/// A megabyte per limit; as many clients as ask within one burst's time on a busy site.
pub(crate) const RATE_KEYS_MAX: usize = 65_536;

/// Whoever breaks in should find nothing. Old kernels have less of it, and serve all the same.
pub(crate) const CONFINE: ConfineSettings = ConfineSettings {
    privileges: Wanted::Try,
    files: Wanted::Try,
    calls: Wanted::Try,
};

/// This machine, as it is.
pub(crate) const PROC_ROOT: &str = "/";

/// As much as the kernel gives: a number would be cut silently, or be too small on a larger machine.
pub(crate) const BACKLOG: Backlog = Backlog::Auto;

/// So that "0.0.0.0:80" and "[::]:80" stand side by side, and an IPv4 client's address looks like one.
pub(crate) const V6ONLY: bool = true;

/// Limits of a listener.
pub const SERVE: ServeSettings = ServeSettings {
    // A head of a few KiB takes less than a second on any link; slowloris clients hold a connection no longer than this.
    header_timeout: secs(10),
    // nginx's 75 s; longer than the 55 s after which our own pools close idle connections.
    idle_timeout: secs(75),
    // Mobile clients stall for seconds in tunnels, not for half a minute.
    body_timeout: secs(30),
    send_timeout: secs(30),
    // A sixth of the slowest mobile network still in use (GPRS, about 1.5 KB/s), and far more than a client that holds a
    // connection for nothing wants to send.
    body_rate_min: 256,
    send_rate_min: 256,
    // As long as a stall may last: who stalls all the time has used it up after the first.
    rate_grace: secs(30),
    // Browsers send up to 8 KiB of cookies per field and some applications several such fields.
    head_bytes_max: 32 << 10,
    // Real clients send 10 to 40; Apache's limit is 100 too.
    fields_max: 100,
    // RFC 9110 §4.1 recommends at least 8000 octets.
    uri_bytes_max: 8 << 10,
    // Bodies are streamed and cost no memory: the limit only ends what nobody means to send. An upload of some GiB passes.
    body_bytes_max: 10 << 30,
    // Lets load balancers in front of us spread long-lived connections again, at a cost that cannot be measured.
    requests_per_connection_max: 100_000,
    // RFC 9112 §9.6 permits a client to end its side and wait; command-line tools do.
    half_close: HalfClose::Answer,
};

/// HTTP/2 for browsers: they speak it with TLS only.
pub(crate) const HTTP2_WITH_TLS: bool = true;

/// Limits of HTTP/2.
pub(crate) const HTTP2: Http2Settings = Http2Settings {
    // RFC 9113 §6.5.2 recommends no fewer than 100; nginx, HAProxy and browsers have 100 to 128.
    streams_max: 128,
    // 256 KiB per 20 ms of round trip is 100 Mbit/s for one upload; unread bytes are memory.
    stream_window: 256 << 10,
    connection_window: 1 << 20,
    // A fast client empties it several times per round trip; 128 slow ones hold 8 MiB.
    send_buffer_max: 64 << 10,
    // Browsers need no connection of their own for each WebSocket then; what may be opened is the routes' to say.
    extended_connect: true,
};

/// TLS.
pub(crate) const TLS: TlsSettings = TlsSettings {
    name: String::new(),
    certificates: Vec::new(),
    // Health checks and old clients name no host, and a wrong certificate tells a person more than an alert.
    unknown_name: UnknownName::Default,
    // RFC 9325 §3.1.1: 1.0 and 1.1 must not be negotiated, 1.2 must be supported.
    min_version: TlsVersion::Tls12,
    // A resumed handshake costs a fifth of a full one.
    session_tickets: true,
    // Whoever has the keys can read what was resumed with them: sharing them is for operators to want.
    ticket_keys: Vec::new(),
    handshake_timeout: secs(10),
    // About a second of work for eight cores: more would only wait longer.
    handshakes_max: 10_000,
    // A renewed certificate is there before anybody looks; a stat per file and second would be no harm either.
    reload_every: secs(5),
};

/// The owner and its group connect to a unix socket; a front of another user is put into that group.
pub(crate) const SOCKET_MODE: u32 = 0o660;

/// Where keepalive is asked for: a dead peer is found within 90 s, where Linux' own times take two hours.
pub(crate) const TCP_KEEPALIVE: TcpKeepalive = TcpKeepalive {
    idle: secs(60),
    interval: secs(10),
    count: 3,
};

/// What is told about clients: X-Forwarded-* is what applications read, Forwarded the standard that few of them know; and
/// nobody is believed unasked.
pub(crate) const FORWARDED: ForwardedSettings = ForwardedSettings {
    x_forwarded: true,
    forwarded: false,
    trusted: Vec::new(),
};

/// An eighth of the memory at most, so that one response never pushes out the working set; and 64 MiB, because larger
/// ones are rare and cheaper to pass on.
pub(crate) fn stored_response_max(memory: u64) -> u64 {
    (64 << 20).min(memory / 8)
}

/// What `tidegate run` without a file gives to the cache: enough to see hits, harmless on a laptop.
pub(crate) const QUICK_MEMORY: &str = "256MiB";

/// Whether a site's responses may be stored: that is what the cache is there for, and RFC 9111 says which may.
pub(crate) const SITE_CACHE: bool = true;

/// What browsers ask for; anything else is for the operator to know.
pub(crate) fn site_upgrades() -> Vec<Protocol> {
    Protocol::new("websocket").into_iter().collect()
}

/// A slower answer is better than none; it is counted and logged.
pub(crate) const WHEN_DOWN: WhenDown = WhenDown::Origin;

/// An origin.
pub(crate) const ORIGIN: BackendSettings = BackendSettings {
    name: String::new(),
    servers: Vec::new(),
    // What the rest of the machine asks, too.
    name_servers: Vec::new(),
    // Each costs a place that every pick looks at; a service of more is better found by a load balancer's one address.
    service_servers_max: 16,
    // A server that turns slow gets less within a second, and nobody has to configure how much.
    balance: Balance::LeastLoaded,
    // As much above its share as spreads a hot key before its owner is the slowest of all.
    hash_load_percent: 150,
    // A key is stored on one server.
    hash_by: HashBy::Key,
    // A key that is too much for its owner is passed on by `hash_load_percent`.
    hot_key_servers: 1,
    // Less is no trouble for one server.
    hot_key_rate: 1_000,
    // Not every cache obeys only-if-cached.
    handover: Duration::ZERO,
    // Caches fill and code gets compiled within the first seconds; a full share at once looks like the next failure.
    slow_start: secs(10),
    // nginx's common 512, but for the whole process and not once more per worker.
    keepalive: 512,
    // What is idle for long, servers close: to keep some open all the same is for who knows them.
    keepalive_min: 0,
    // Twice the idle ones: bursts find room, and an ephemeral port range of 28,000 still serves many servers.
    connections_max: 1_024,
    // Who waits longer for a connection alone would rather have an error to retry on.
    queue_timeout: secs(3),
    // As many as may run: a longer queue could not be worked off within its timeout.
    queue_max: 1_024,
    // Just less than the 60 s after which common servers and load balancers close: we close first, not in mid-request.
    idle_timeout: secs(55),
    // Connections find servers that were added, and addresses that a name has now; at a cost that cannot be measured.
    connection_lifetime: secs(3600),
    // As listeners have it.
    connection_requests_max: 100_000,
    // Idle connections are closed before firewalls forget them, and busy ones have timeouts.
    tcp_keepalive: None,
    // The timeouts below end a request sooner than the kernel would.
    tcp_user_timeout: None,
    bind: None,
    // Where a server begins with `https://`, see `CONNECTOR`.
    tls: None,
    proxy_protocol: None,
    // Every server speaks it, and a lost packet stops one request instead of all.
    protocol: HttpProtocol::Http1,
    http2: ORIGIN_HTTP2,
    // One try on another server; more would multiply the load on servers that fail.
    retries: 1,
    // See `retry_on()`.
    retry_on: Vec::new(),
    // Envoy's and Finagle's: an outage costs the servers that stand a fifth more, and not twice as much.
    retry_budget_percent: 20,
    // The limits below bound each step; how long a whole request may take is the application's to say.
    try_timeout: None,
    deadline: None,
    // Whether the servers can bear requests that nobody waits for is theirs to say.
    hedge_percentile: 0,
    ejection: EJECTION,
    // Those that are known to be ill fail for certain, those that stand perhaps.
    panic_percent: 0,
    // What requests come to is known anyway, and what would be asked for is the application's to say.
    health: None,
    limits: ExchangeLimits {
        urgency: URGENCY,
        // A lost SYN is sent again after 1 s and after 3 s: both get their chance.
        connect_timeout: secs(4),
        // Applications that need longer are the exception, and a route can say so.
        response_timeout: secs(30),
        body_timeout: secs(30),
        send_timeout: secs(30),
        // Applications that keep a WebSocket open send pings every minute or so; HAProxy's manual suggests as much for them
        // that do not.
        tunnel_timeout: secs(3600),
        // Twice what a client may send: Set-Cookie and security policies are long.
        head_bytes_max: 64 << 10,
        fields_max: 200,
    },
};

/// That of RFC 9218 §4.1.
pub(crate) const URGENCY: u8 = 3;

/// What says that the server has not worked on the request, or that the connection to it broke. Not timeouts of
/// responses: the next server would take as long; and no statuses: they are answers.
pub(crate) fn retry_on() -> Vec<RetryCause> {
    [
        OriginError::DnsError,
        OriginError::DestinationUnavailable,
        OriginError::DestinationIpUnroutable,
        OriginError::ConnectionRefused,
        OriginError::ConnectionTerminated,
        OriginError::ConnectionTimeout,
        OriginError::ConnectionLimitReached,
        OriginError::HttpResponseIncomplete,
        OriginError::ProxyInternalError,
    ]
    .map(RetryCause::Error)
    .to_vec()
}

/// Passive ejection.
pub(crate) const EJECTION: EjectionSettings = EjectionSettings {
    // Envoy's: fewer would be the accidents of one deployment, more would be seen by users.
    failures: 5,
    // See `EJECTION_STATUSES`.
    statuses: Vec::new(),
    // Half of the requests failing is no accident, and a server with one broken page is far from it.
    error_percent: 50,
    // Below that one unlucky second would do.
    tries_min: 20,
    window: secs(10),
    // What is slow is the application's to say; `least_loaded` gives slow servers less anyway.
    latency_factor: 0,
    // Nobody sees less.
    latency_min: Duration::from_millis(50),
    // A restart takes about as long.
    time: secs(10),
    time_max: secs(300),
    // The rest must bear the load: with more than half away, it would fail next.
    ejected_percent_max: 50,
};

/// An origin that says so does not work, or has nobody behind it who does. A cache server passes on what origins say, so
/// none of its statuses are its own.
pub(crate) const EJECTION_STATUSES: [u16; 3] = [502, 503, 504];

/// Where health checks are asked for.
pub(crate) const HEALTH: HealthSettings = HealthSettings {
    path: None,
    grpc: None,
    host: None,
    statuses: Vec::new(),
    body: None,
    // Found within 15 s; less is seen by requests first.
    interval: secs(5),
    timeout: secs(2),
    // As HAProxy has them: one lost packet is no outage, one good answer no recovery.
    rise: 2,
    fall: 3,
};

/// A key is stored on one cache server, not on each.
pub(crate) const CACHE_SERVERS_BALANCE: Balance = Balance::ConsistentHash;

/// A cache server asks its origin meanwhile, twice in the worst case (queue 3 s, connect 4 s, response 30 s): its own
/// error should arrive before we give up on it.
pub(crate) const CACHE_SERVER_RESPONSE_TIMEOUT: Duration = secs(75);

/// On this machine only: health and metrics are nobody else's business.
pub(crate) const ADMIN_ADDRESS: &str = "127.0.0.1:9900";

/// How the kernel is looked at; the thresholds have their reasons where they are declared.
pub(crate) fn health() -> Health {
    Health {
        // A look costs about a millisecond, and a stall shorter than a second fills no queue of an ordinary length.
        sample_every: secs(1),
        // One system call of a microsecond: of the 25 that a connection with one request costs, that is more than 1 %.
        accepts_looked_at: 10,
        thresholds: Thresholds::default(),
    }
}

/// The health of cache servers.
pub(crate) const fn servers_health() -> ServersHealth {
    ServersHealth {
        admin: Vec::new(),
        // They look at their kernels each second; people look at most every few.
        every: secs(2),
        // An admin listener has a thread of its own: one that takes longer is in trouble.
        timeout: secs(1),
        // A report has some KiB per listener, backend server and finding.
        report_bytes_max: 1 << 20,
        token_file: None,
        tls: None,
    }
}

/// A setting that turned unsafe loses some clients; taking the node out of rotation loses all of them. Who has other nodes
/// may say so.
pub(crate) const READY_WHEN_CRITICAL: bool = true;

/// Start, stop and what an operator should see; one line per exchange is the access log's.
pub(crate) const LOG_LEVEL: &str = "info";

/// Somebody reads it first, before a collector does.
pub(crate) const LOG_FORMAT: LogFormat = LogFormat::Text;

/// Where there is an access log.
pub(crate) const ACCESS_LOG: AccessLogSettings = AccessLogSettings {
    // Containers collect it from there.
    to: AccessLogTarget::Stdout,
    // What every log analyser reads.
    format: AccessLogFormat::Combined,
    // About 100 lines per write.
    buffer_bytes: 32 << 10,
    // Short enough that `tail -f` feels immediate.
    flush: Duration::from_millis(200),
};

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}
