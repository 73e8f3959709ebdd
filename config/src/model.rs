//! The validated configuration: plain data that the server is built from and that is then gone.
//!
//! Every number is in its bounds, every name resolved; nothing here reads or checks anything.

use std::path::PathBuf;
use std::time::Duration;

use common::backend::settings::{BackendSettings, ExchangeLimits, ServerSettings};
use common::http::forwarded::{ForwardedSettings, IpNetwork};
use common::http::upgrade::Protocol;
use common::http2::settings::Http2Settings;
use common::kernel::diagnosis::settings::Thresholds;
use common::net::address_list::ListItem;
use common::net::settings::ListenSettings;
use common::net::tls::settings::{ClientCertificates, ConnectorSettings, TlsSettings};
use common::process::confine::ConfineSettings;
use common::serve::proxied::ProxySettings;
use common::serve::settings::{ServeSettings, SheddingSettings, SourceSettings, WorkerSettings};
use common::telemetry::access_log::AccessLogSettings;
use common::telemetry::log::LogFormat;
use http::HeaderName;

use crate::guard::Guard;
use crate::rules::Rules;
use crate::traffic::Traffic;

/// A whole configuration, valid in itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Threads, user, drain, limits of the process.
    pub process: Process,
    /// What one client may take from all others.
    pub limits: Limits,
    /// How the kernel is looked at.
    pub health: Health,
    /// Present: this process meets clients.
    pub front: Option<Front>,
    /// Certificates; listeners refer to them by name.
    pub tls: Vec<TlsSettings>,
    /// The cache tier that requests are answered by.
    pub cache: Cache,
    /// All origins; sites refer to them by index.
    pub origins: Vec<BackendSettings>,
    /// All sites, in the order of the file.
    pub sites: Vec<Site>,
    /// The admin listener.
    pub admin: Option<Admin>,
    /// Logs.
    pub log: Log,
}

/// `[process]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    /// Threads and how they end.
    pub workers: WorkerSettings,
    /// User (and group) to become after binding.
    pub user: Option<String>,
    /// Group to become; the user's own when absent.
    pub group: Option<String>,
    /// What it gives up after that.
    pub confine: ConfineSettings,
    /// Below which directory the kernel's settings and counters are read; `/` is this machine.
    pub proc_root: PathBuf,
}

/// `[health]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Health {
    /// How often the kernel is looked at.
    pub sample_every: Duration,
    /// Each how-manieth accepted connection is looked at; 0: none.
    pub accepts_looked_at: u32,
    /// From when on something is a finding.
    pub thresholds: Thresholds,
}

/// `[limits]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Connections of one source.
    pub sources: SourceSettings,
    /// When new connections are shed for want of memory or descriptors.
    pub shedding: SheddingSettings,
    /// How often files of address lists are looked at.
    pub lists_reload_every: Duration,
}

/// `[front]`: how clients are met.
#[derive(Clone, Debug, PartialEq)]
pub struct Front {
    /// Where.
    pub listen: Vec<FrontListener>,
    /// Limits of time and size.
    pub serve: ServeSettings,
    /// Limits of HTTP/2.
    pub http2: Http2Settings,
    /// What is told to origins about the client.
    pub forwarded: ForwardedSettings,
    /// The field of requests that says whom the client's certificate is for.
    pub certificate_field: Option<HeaderName>,
    /// What a request for a host without a site gets.
    pub unknown_host: UnknownHost,
}

/// One listener of the front.
#[derive(Clone, Debug, PartialEq)]
pub struct FrontListener {
    /// Where, and how its sockets are made.
    pub socket: ListenSettings,
    /// The name of one of [`Config::tls`].
    pub tls: Option<String>,
    /// Which certificates its clients have.
    pub clients: Option<ClientCertificates>,
    /// Whether HTTP/2 is spoken, too.
    pub http2: bool,
    /// Every request is answered with a redirect to https.
    pub redirect_https: bool,
    /// `max-age` of `Strict-Transport-Security`.
    pub hsts: Option<Duration>,
    /// Connections come through load balancers that send PROXY headers.
    pub proxied: Option<ProxySettings>,
    /// Only these peers may connect.
    pub allow: Option<Vec<ListItem>>,
    /// These peers may not.
    pub deny: Option<Vec<ListItem>>,
}

/// What a request for a host without a site gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownHost {
    /// 421 (RFC 9110 §15.5.20).
    Misdirected,
    /// The site at this index.
    Site(usize),
}

/// `[cache]`: where the cache tier is.
#[derive(Clone, Debug, PartialEq)]
pub struct Cache {
    /// Where this process serves its cache tier to other fronts.
    pub listen: Vec<ListenSettings>,
    /// Limits of time and size on those listeners.
    pub serve: ServeSettings,
    /// What a request for a host without a site gets on those listeners.
    pub unknown_host: UnknownHost,
    /// The tier itself.
    pub tier: CacheTier,
    /// Who may send PURGE; empty: nobody.
    pub purge_allow: Vec<IpNetwork>,
    /// What sites and routes begin with.
    pub rules: Rules,
    /// How the health of the cache servers is asked for.
    pub servers_health: Option<ServersHealth>,
}

/// `[cache.servers_health]`: the health of cache servers, folded into this process's.
#[derive(Clone, Debug, PartialEq)]
pub struct ServersHealth {
    /// Their admin listeners; of each only where it is and whether it speaks TLS.
    pub admin: Vec<ServerSettings>,
    /// How often they are asked.
    pub every: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Bytes of an answer.
    pub report_bytes_max: usize,
    /// The file with the token that they demand.
    pub token_file: Option<PathBuf>,
    /// What handshakes are made with, where one of them speaks TLS.
    pub tls: Option<ConnectorSettings>,
}

/// Where stored responses are.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there is one per configuration")]
pub enum CacheTier {
    /// Nowhere: requests pass to the origins.
    None,
    /// In this process.
    Memory {
        /// Bytes for stored responses, their heads and bookkeeping included.
        bytes: u64,
        /// Bytes of the largest response that is stored.
        stored_response_max: u64,
    },
    /// On cache servers.
    Servers {
        /// The servers.
        backend: BackendSettings,
        /// What happens when none of them answers.
        when_down: WhenDown,
    },
}

/// What a front does when all its cache servers are down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenDown {
    /// Asks the origin directly.
    Origin,
    /// Answers with the error.
    Error,
}

/// One `[[site]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Site {
    /// How logs call it: its first host, or `default` where it has none.
    pub name: String,
    /// Which hosts it serves; empty only for a default site.
    pub hosts: Vec<HostPattern>,
    /// Its routes, in the order in which they are tried: exact paths, then prefixes from the longest, then regexes in
    /// the order of the file, then the site's own catch-all where it has an origin or an answer.
    pub routes: Vec<Route>,
    /// Who may ask, how often and how much; its routes have their own besides.
    pub guard: Guard,
    /// What it says about traffic; its routes have that already.
    pub traffic: Traffic,
}

/// Which hosts a site serves; lower case, without a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// Exactly this host.
    Exact(String),
    /// `*.rest`: any host that ends in `.rest`, at any depth; the longest match wins.
    Wildcard(String),
}

/// Where requests for a part of a site go.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Which paths.
    pub path: PathPattern,
    /// Index into [`Config::origins`]; `None` where [`Traffic::answer`] answers everything.
    pub origin: Option<usize>,
    /// The origin's limits with this route's own times.
    pub limits: ExchangeLimits,
    /// Whether the cache tier may store and reuse.
    pub cache: CacheMode,
    /// By which rules.
    pub rules: Rules,
    /// Who may ask, how often and how much, besides what the site says.
    pub guard: Guard,
    /// What is done with requests and responses besides.
    pub traffic: Traffic,
    /// Protocols that clients may change to (RFC 9110 §7.8).
    pub upgrades: Vec<Protocol>,
}

/// Which paths a route takes.
#[derive(Clone, Debug)]
pub enum PathPattern {
    /// Exactly this path.
    Exact(String),
    /// This path and everything below it, by whole segments (`/img` takes `/img` and `/img/a`, not `/imgs`); it does
    /// not end in `/`, unless it is `/` alone, which takes every path.
    Prefix(String),
    /// Any path that this expression finds something in.
    Regex(regex::Regex),
    /// Every path.
    Any,
}

impl PartialEq for PathPattern {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(a), Self::Exact(b)) | (Self::Prefix(a), Self::Prefix(b)) => a == b,
            // Expressions are compiled without options, so their text is all they are.
            (Self::Regex(a), Self::Regex(b)) => a.as_str() == b.as_str(),
            (Self::Any, Self::Any) => true,
            _ => false,
        }
    }
}

/// Whether the cache tier may store and reuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheMode {
    /// By the rules of RFC 9111.
    Standard,
    /// Never (`fwd=bypass`).
    Bypass,
}

/// `[admin]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Admin {
    /// Where health and metrics are.
    pub listen: ListenSettings,
    /// Whether `/ready` stays true while health is critical.
    pub ready_when_critical: bool,
    /// The file with the tokens that are demanded.
    pub token_file: Option<PathBuf>,
    /// The name of one of [`Config::tls`].
    pub tls: Option<String>,
    /// The file with the authorities that clients' certificates must come from.
    pub client_ca: Option<PathBuf>,
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// The level of tidegate's own log (`RUST_LOG` goes before it).
    pub level: String,
    /// How its lines look.
    pub format: LogFormat,
    /// The access log.
    pub access: Option<AccessLogSettings>,
}
