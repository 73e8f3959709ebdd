//! `/health` and `/ready`: what an operator reads first.

use std::sync::atomic::Ordering;

use common::backend::{Backend, ServerSnapshot};
use common::telemetry::json::{Array, Object};
use common::telemetry::metrics::Counter;
use common::time::Clock;

use super::Watched;

/// Whether new work should be sent here.
pub fn is_ready(watched: &Watched) -> bool {
    !watched.draining.load(Ordering::Relaxed)
}

/// The report as JSON.
pub fn report(watched: &Watched) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    let uptime = Clock::System.wall().saturating_since(watched.started);
    let mut object = Object::new(&mut out);
    object
        .field("schema", 1_u64)
        .field("status", status(watched))
        .field("version", env!("CARGO_PKG_VERSION"))
        .field("revision", env!("TIDEGATE_REVISION"))
        .field("uptime_seconds", uptime.as_secs())
        .field("draining", !is_ready(watched))
        .field("workers", watched.workers.len() as u64)
        .field("connections_open", watched.limit.open() as u64)
        .field("requests", requests(watched));
    if let Some((local, memory)) = watched.store() {
        let (keys, bytes) = memory.level();
        let mut cache = object.object("cache");
        cache
            .field("stored_responses", keys)
            .field("stored_bytes", bytes)
            .field("waiting", local.waiting() as u64)
            .field("purges", memory.purges().latest());
    }
    let mut backends = object.array("backends");
    for backend in watched.backends() {
        describe(backend, backends.object());
    }
    drop(backends);
    drop(object);
    out.push(b'\n');
    out
}

/// `degraded` while a backend has no server that takes connections.
fn status(watched: &Watched) -> &'static str {
    let is_down = |backend: &Backend| backend.snapshot().iter().all(|server| server.in_penalty);
    if watched.backends().iter().any(|backend| is_down(backend)) {
        "degraded"
    } else {
        "ok"
    }
}

fn requests(watched: &Watched) -> u64 {
    const CLASSES: [Counter; 5] = [
        Counter::Responses1xx,
        Counter::Responses2xx,
        Counter::Responses3xx,
        Counter::Responses4xx,
        Counter::Responses5xx,
    ];
    let of_worker =
        |metrics: &common::telemetry::metrics::Metrics| CLASSES.iter().map(|class| metrics.get(*class)).sum::<u64>();
    watched.workers.iter().map(|worker| of_worker(&worker.metrics)).sum()
}

fn describe(backend: &Backend, mut object: Object<'_>) {
    object.field("name", backend.name());
    let mut servers: Array<'_> = object.array("servers");
    for ServerSnapshot {
        address,
        busy,
        idle,
        waiting,
        in_penalty,
        attempts,
        connects,
        ..
    } in backend.snapshot()
    {
        servers
            .object()
            .field("address", &*address)
            .field("takes_connections", !in_penalty)
            .field("busy", busy as u64)
            .field("idle", idle as u64)
            .field("waiting", waiting as u64)
            .field("attempts", attempts)
            .field("connects", connects);
    }
}
