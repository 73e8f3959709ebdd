//! `[origin.NAME]`, and the same keys for the cache servers of `[cache]`.

use common::backend::settings::{BackendSettings, Balance};

use crate::codec::{Choice, Count, Duration, Inline, List, Maybe, SERVER, Size, Special};
use crate::defaults;
use crate::schema::{Keys, Visitor};

impl Keys for BackendSettings {
    fn preset() -> Self {
        defaults::ORIGIN
    }

    fn visit<V: Visitor>(&mut self, v: &mut V) {
        v.key(
            "servers",
            Special::required(List::some(SERVER)),
            &mut self.servers,
            "Where they are.",
        );
        visit_backend(v, self);
    }
}

/// Every key but `servers`.
pub(super) fn visit_backend<V: Visitor>(v: &mut V, backend: &mut BackendSettings) {
    v.key(
        "balance",
        Choice(&[
            ("round_robin", Balance::RoundRobin),
            ("consistent_hash", Balance::ConsistentHash),
        ]),
        &mut backend.balance,
        "How a server is picked: one after another, or by a hash of the cache key.",
    );
    let connections = || Count { min: 1, max: 1_000_000 };
    v.key(
        "keepalive",
        Special::at_most(Count { min: 0, max: 1_000_000 }, "`connections_max`"),
        &mut backend.keepalive,
        "Idle connections kept per server, for all workers together.",
    );
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
    let meaning = "Probe silent connections (see \"tcp_keepalive\").";
    v.key(
        "tcp_keepalive",
        Maybe::new(Inline, "off"),
        &mut backend.tcp_keepalive,
        meaning,
    );
    let meaning = "How often a request is sent again when that is safe.";
    v.key("retries", Count { min: 0, max: 10 }, &mut backend.retries, meaning);
    visit_limits(v, backend);
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
pub(super) const CONNECT_TIMEOUT: &str = "Name resolution and TCP handshake.";
pub(super) const RESPONSE_TIMEOUT: &str = "From the end of the request to the end of the response head.";
pub(super) const BODY_TIMEOUT: &str = "Between two reads of the response body.";
