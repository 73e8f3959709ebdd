//! `[origin.NAME]`, and the same keys for the cache servers of `[cache]`.

use common::backend::settings::{
    BackendSettings, Balance, EjectionSettings, HealthSettings, RetryCause, ServerAddress, ServerSettings,
};
use common::http::origin_error::OriginError;
use toml::Spanned;
use toml::de::DeValue;

use super::spoken::visit_protocol;
use crate::codec::{
    BODY_PART, CHECK_PATH, Choice, Count, Duration, Flag, GRPC_SERVICE, HASH_BY, HOST_FIELD, IP, Inline, List, Maybe,
    NAME_SERVER, SERVER, Size, Special,
};
use crate::defaults;
use crate::schema::{Codec, Keys, Spot, Visitor};

/// The kind of value that a server is: an address alone, or a table with more.
pub(crate) struct Server;

/// A server's table.
#[derive(Clone)]
pub(crate) struct ServerDraft {
    address: Option<ServerSettings>,
    weight: u32,
    backup: bool,
    group: u8,
    new: bool,
}

impl Keys for BackendSettings {
    fn preset() -> Self {
        Self {
            retry_on: defaults::retry_on(),
            ejection: EjectionSettings::preset(),
            ..defaults::ORIGIN
        }
    }

    fn visit<V: Visitor>(&mut self, v: &mut V) {
        v.key(
            "servers",
            Special::required(List::some(Server)),
            &mut self.servers,
            "Where they are.",
        );
        let timeout = &mut self.limits.tunnel_timeout;
        v.key("tunnel_timeout", Duration::TIMEOUT, timeout, TUNNEL_TIMEOUT);
        visit_backend(v, self);
    }
}

/// Every key but `servers`.
pub(super) fn visit_backend<V: Visitor>(v: &mut V, backend: &mut BackendSettings) {
    visit_names(v, backend);
    v.key(
        "balance",
        Choice(&[
            ("least_loaded", Balance::LeastLoaded),
            ("least_connections", Balance::LeastConnections),
            ("round_robin", Balance::RoundRobin),
            ("consistent_hash", Balance::ConsistentHash),
        ]),
        &mut backend.balance,
        "How a server is picked: of two drawn at random the one with less latency times load, the one with the fewest \
         requests, one after another, or by a hash of the cache key.",
    );
    let percent = Count { min: 100, max: 10_000 };
    let meaning = "With `consistent_hash`: requests in flight that a server may have, in percent of its share, before its \
                   keys go to the next one.";
    v.key("hash_load_percent", percent, &mut backend.hash_load_percent, meaning);
    let meaning = "With `consistent_hash`, what is hashed: the cache key, the client's address, or what a field or a cookie \
                   says; a request without that goes to any server.";
    v.key("hash_by", HASH_BY, &mut backend.hash_by, meaning);
    let meaning = "With `consistent_hash`: servers that a key is spread over while it is asked for more than `hot_key_rate` \
                   times per second.";
    let count = Count { min: 1, max: 100 };
    v.key("hot_key_servers", count, &mut backend.hot_key_servers, meaning);
    let meaning = "Requests per second for one key, of this process, from which on it is hot.";
    let rate = Count { min: 1, max: 1_000_000 };
    v.key("hot_key_rate", rate, &mut backend.hot_key_rate, meaning);
    let meaning = "How long a server that comes back gets less than its weight; not with `consistent_hash`.";
    v.key("slow_start", Duration::WAIT, &mut backend.slow_start, meaning);
    visit_connections(v, backend);
    visit_protocol(v, backend);
    visit_retries(v, backend);
    visit_limits(v, backend);
    let meaning = "When fewer servers than this, in percent, are neither ejected nor unhealthy, all are asked alike, backups \
                   too; 0: only when none is left.";
    v.key(
        "panic_percent",
        Count { min: 0, max: 100 },
        &mut backend.panic_percent,
        meaning,
    );
    let meaning = "TLS with the servers that begin with `https://`.";
    v.optional("tls", &mut backend.tls, meaning);
    let meaning = "HTTP/2 with the servers, where `protocol` is not `http1`.";
    v.table("http2", &mut backend.http2, meaning);
    let meaning = "When a server is left alone for what requests to it came to.";
    v.table("ejection", &mut backend.ejection, meaning);
    let meaning = "Health checks.\nWithout this table only requests tell how a server is.";
    v.optional("health", &mut backend.health, meaning);
}

fn visit_names<V: Visitor>(v: &mut V, backend: &mut BackendSettings) {
    let meaning = "Who is asked for the servers' names and services. Empty: the name servers of the system.";
    v.key(
        "name_servers",
        List::any(NAME_SERVER),
        &mut backend.name_servers,
        meaning,
    );
    let meaning = "Servers that one `srv:` may stand for; of more, those that would be asked last are left out.";
    let count = Count { min: 1, max: 256 };
    v.key("srv_servers_max", count, &mut backend.service_servers_max, meaning);
}

fn visit_connections<V: Visitor>(v: &mut V, backend: &mut BackendSettings) {
    let connections = || Count { min: 1, max: 1_000_000 };
    v.key(
        "keepalive",
        Special::at_most(Count { min: 0, max: 1_000_000 }, "`connections_max`"),
        &mut backend.keepalive,
        "Idle connections kept per server, for all workers together.",
    );
    let meaning = "Connections per server that are made before they are needed, at the start and when others end; at most \
                   `keepalive`.";
    let count = Count { min: 0, max: 1_000_000 };
    v.key("keepalive_min", count, &mut backend.keepalive_min, meaning);
    v.key(
        "connections_max",
        connections(),
        &mut backend.connections_max,
        "Connections per server, busy and idle, for all workers together.",
    );
    v.key(
        "queue_timeout",
        Duration::WAIT,
        &mut backend.queue_timeout,
        "How long a request may wait for a connection when `connections_max` is reached.",
    );
    let queue = Count { min: 0, max: 1_000_000 };
    v.key(
        "queue_max",
        queue,
        &mut backend.queue_max,
        "Requests that may wait so, per server.",
    );
    v.key(
        "idle_timeout",
        Duration::TIMEOUT,
        &mut backend.idle_timeout,
        "How long an idle connection is kept.",
    );
    v.key(
        "connection_lifetime",
        Duration::TIMEOUT,
        &mut backend.connection_lifetime,
        "How long a connection is used for further requests; up to a fifth less, drawn per connection.",
    );
    v.key(
        "connection_requests_max",
        Count {
            min: 1,
            max: u64::from(u32::MAX),
        },
        &mut backend.connection_requests_max,
        "Requests per connection; up to a fifth less, drawn per connection.",
    );
    let meaning = "Probe silent connections (see \"tcp_keepalive\").";
    v.key(
        "tcp_keepalive",
        Maybe::new(Inline, "off"),
        &mut backend.tcp_keepalive,
        meaning,
    );
    v.key(
        "tcp_user_timeout",
        Maybe::new(Duration::TIMEOUT, "the kernel's"),
        &mut backend.tcp_user_timeout,
        "`TCP_USER_TIMEOUT`: how long what was sent may stay unacknowledged before the connection ends.",
    );
    let meaning = "The local address of connections, where the server's is of the same family.";
    v.key("bind", Maybe::new(IP, "the kernel chooses"), &mut backend.bind, meaning);
}

fn visit_retries<V: Visitor>(v: &mut V, backend: &mut BackendSettings) {
    let meaning = "How often a request is sent again, to another server, when that is safe.";
    v.key("retries", Count { min: 0, max: 10 }, &mut backend.retries, meaning);
    v.key(
        "retry_on",
        List::any(Choice(RETRY_CAUSES)),
        &mut backend.retry_on,
        "What for: errors by their RFC 9209 names, and statuses. What was sent is sent again only with an idempotent \
         method, and for a status only without content.",
    );
    v.key(
        "retry_budget_percent",
        Count { min: 0, max: 100 },
        &mut backend.retry_budget_percent,
        "Requests that may be being sent again at once, in percent of those in flight; three per second are allowed in any \
         case.",
    );
    let meaning = "When a request that may be sent twice is sent to a second server as well, and the first answer taken: \
                   when it takes longer than this percentage of the requests of late; within `retry_budget_percent`; 0: never.";
    v.key(
        "hedge_percentile",
        Count { min: 0, max: 99 },
        &mut backend.hedge_percentile,
        meaning,
    );
    v.key(
        "try_timeout",
        Maybe::new(Duration::TIMEOUT, "none"),
        &mut backend.try_timeout,
        "How long one try may take to the end of the response head, its wait for a connection included.",
    );
    v.key(
        "deadline",
        Maybe::new(Duration::TIMEOUT, "none"),
        &mut backend.deadline,
        "How long all tries together may take to the end of the response head.",
    );
}

const RETRY_CAUSES: &[(&str, RetryCause)] = &[
    cause(OriginError::DnsError),
    cause(OriginError::DestinationUnavailable),
    cause(OriginError::DestinationIpUnroutable),
    cause(OriginError::ConnectionRefused),
    cause(OriginError::ConnectionTerminated),
    cause(OriginError::ConnectionTimeout),
    cause(OriginError::ConnectionWriteTimeout),
    cause(OriginError::ConnectionLimitReached),
    cause(OriginError::HttpResponseIncomplete),
    cause(OriginError::HttpResponseTimeout),
    cause(OriginError::ProxyInternalError),
    ("502", RetryCause::Status(502)),
    ("503", RetryCause::Status(503)),
    ("504", RetryCause::Status(504)),
];

const fn cause(error: OriginError) -> (&'static str, RetryCause) {
    (error.word(), RetryCause::Error(error))
}

impl Keys for EjectionSettings {
    fn preset() -> Self {
        Self {
            statuses: defaults::EJECTION_STATUSES.to_vec(),
            ..defaults::EJECTION
        }
    }

    fn visit<V: Visitor>(&mut self, v: &mut V) {
        let meaning =
            "Failures in a row that eject a server; 0: never. Failures are errors, broken bodies and `statuses`.";
        v.key(
            "failures",
            Count { min: 0, max: 1_000_000 },
            &mut self.failures,
            meaning,
        );
        let statuses = List::any(Count { min: 500, max: 599 });
        v.key("statuses", statuses, &mut self.statuses, "Statuses that are failures.");
        let meaning = "Failures within `window` that eject a server, in percent of the tries; 0: never.";
        v.key(
            "error_percent",
            Count { min: 0, max: 100 },
            &mut self.error_percent,
            meaning,
        );
        let meaning = "Tries within `window` below which it says nothing.";
        v.key(
            "tries_min",
            Count { min: 1, max: 1_000_000 },
            &mut self.tries_min,
            meaning,
        );
        v.key(
            "window",
            Duration::TIMEOUT,
            &mut self.window,
            "What `error_percent` and `latency_factor` look at.",
        );
        let meaning = "How many times the others' median its own median time to the response head may be within `window` \
                       before a server is ejected; 0: never.";
        v.key(
            "latency_factor",
            Count { min: 0, max: 1000 },
            &mut self.latency_factor,
            meaning,
        );
        let meaning = "Medians up to here eject no server, whatever `latency_factor` says.";
        v.key("latency_min", Duration::WAIT, &mut self.latency_min, meaning);
        let meaning = "How long the first ejection lasts; each further one lasts twice the one before.";
        v.key("time", Duration::TIMEOUT, &mut self.time, meaning);
        v.key(
            "time_max",
            Duration::TIMEOUT,
            &mut self.time_max,
            "How long one lasts at most.",
        );
        let meaning = "Servers that may be ejected at once, in percent; of two or more one may, of one none.";
        v.key(
            "ejected_percent_max",
            Count { min: 0, max: 100 },
            &mut self.ejected_percent_max,
            meaning,
        );
    }
}

impl Keys for HealthSettings {
    fn preset() -> Self {
        Self {
            statuses: vec![200],
            ..defaults::HEALTH
        }
    }

    fn visit<V: Visitor>(&mut self, v: &mut V) {
        let meaning = "Path and query of a GET; without it, a server that takes a connection is healthy.";
        v.key("path", Maybe::new(CHECK_PATH, "only connect"), &mut self.path, meaning);
        let meaning = "The service that is asked for by gRPC's health protocol (`grpc.health.v1.Health/Check`), or \"\" for the \
                       server as a whole, instead of `path`; the servers must be spoken to with HTTP/2.";
        v.key("grpc", Maybe::new(GRPC_SERVICE, "not asked"), &mut self.grpc, meaning);
        v.only_with("path", self.path.is_some() || self.grpc.is_some(), |v| {
            let meaning = "The Host field of the check, with `grpc` its authority.";
            v.key(
                "host",
                Maybe::new(HOST_FIELD, "the server as configured"),
                &mut self.host,
                meaning,
            );
        });
        v.only_with("path", self.path.is_some(), |v| {
            let statuses = List::some(Count { min: 200, max: 599 });
            v.key("status", statuses, &mut self.statuses, "Statuses of a healthy server.");
            let meaning = "What the first 64KiB of the body have to contain.";
            v.key("body", Maybe::new(BODY_PART, "anything"), &mut self.body, meaning);
        });
        let meaning = "Between two checks of a server, a tenth more or less.";
        v.key("interval", Duration::TIMEOUT, &mut self.interval, meaning);
        v.key(
            "timeout",
            Duration::TIMEOUT,
            &mut self.timeout,
            "How long a check may take.",
        );
        let count = || Count { min: 1, max: 1000 };
        v.key(
            "rise",
            count(),
            &mut self.rise,
            "Good checks in a row after which a server is used again.",
        );
        v.key(
            "fall",
            count(),
            &mut self.fall,
            "Bad checks in a row after which a server is left alone.",
        );
    }
}

impl Codec<ServerSettings> for Server {
    fn kind(&self) -> String {
        format!(
            "{}, or a table such as {{ address = \"10.0.0.7:8080\", weight = 2 }}",
            SERVER.kind
        )
    }

    fn read(&self, value: &Spanned<DeValue<'_>>, spot: &mut Spot<'_>) -> Option<ServerSettings> {
        match value.get_ref() {
            DeValue::String(_) => SERVER.read(value, spot),
            DeValue::Table(_) => {
                let draft: ServerDraft = Inline.read(value, spot)?;
                Some(ServerSettings {
                    weight: draft.weight,
                    is_backup: draft.backup,
                    group: draft.group,
                    is_new: draft.new,
                    ..draft.address?
                })
            }
            other => spot.refuse_type(other, &self.kind()),
        }
    }

    fn write(&self, value: &ServerSettings) -> Option<String> {
        let preset = ServerDraft::preset();
        let is_usual = value.weight == preset.weight && value.group == preset.group;
        if is_usual && (value.is_backup, value.is_new) == (preset.backup, preset.new) {
            return SERVER.write(value);
        }
        Inline.write(&ServerDraft {
            address: Some(value.clone()),
            weight: value.weight,
            backup: value.is_backup,
            group: value.group,
            new: value.is_new,
        })
    }
}

impl Keys for ServerDraft {
    fn preset() -> Self {
        let ServerSettings {
            weight,
            is_backup,
            group,
            is_new,
            ..
        } = ServerSettings::from(ServerAddress::Unix("/".into()));
        Self {
            address: None,
            weight,
            backup: is_backup,
            group,
            new: is_new,
        }
    }

    fn visit<V: Visitor>(&mut self, v: &mut V) {
        let address = Special::required(Maybe::new(SERVER, "required"));
        v.key("address", address, &mut self.address, "Where it is.");
        let meaning = "Its share of the requests, or of the keys, among the other servers; SRV records tell their own.";
        v.key("weight", Count { min: 1, max: 1000 }, &mut self.weight, meaning);
        v.key(
            "backup",
            Flag,
            &mut self.backup,
            "Asked only while no other server can be.",
        );
        let meaning = "How near it is: servers of a higher group are asked only while none of a lower one is up; each further \
                       priority of SRV records is one group more.";
        v.key("group", Count { min: 0, max: 9 }, &mut self.group, meaning);
        let meaning = "It joins the other cache servers when the process starts (see `handover`); not for origins.";
        v.key("new", Flag, &mut self.new, meaning);
    }
}

fn visit_limits<V: Visitor>(v: &mut V, backend: &mut BackendSettings) {
    let limits = &mut backend.limits;
    let timeout = || Duration::TIMEOUT;
    v.key(
        "connect_timeout",
        timeout(),
        &mut limits.connect_timeout,
        CONNECT_TIMEOUT,
    );
    v.key(
        "response_timeout",
        timeout(),
        &mut limits.response_timeout,
        RESPONSE_TIMEOUT,
    );
    v.key("body_timeout", timeout(), &mut limits.body_timeout, BODY_TIMEOUT);
    let meaning = "Between two writes of a request that make progress.";
    v.key("send_timeout", timeout(), &mut limits.send_timeout, meaning);
    let head = Size::between(1 << 10, 1 << 20);
    v.key(
        "response_head_max",
        head,
        &mut limits.head_bytes_max,
        "Status line and fields of a response.",
    );
    let fields = Count {
        min: 1,
        max: common::http1::parse::FIELDS_MAX as u64,
    };
    v.key(
        "fields_max",
        fields,
        &mut limits.fields_max,
        "Field lines of a response.",
    );
}

/// The meanings that a route's overrides share.
pub(super) const CONNECT_TIMEOUT: &str = "TCP handshake and, with `https://`, that of TLS.";
pub(super) const RESPONSE_TIMEOUT: &str = "From the end of the request to the end of the response head.";
pub(super) const BODY_TIMEOUT: &str = "Between two reads of the response body.";
pub(super) const TUNNEL_TIMEOUT: &str =
    "How long no byte may pass through a WebSocket connection, or another one that was upgraded, either way.";
