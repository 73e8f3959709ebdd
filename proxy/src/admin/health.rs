//! `/health`, `/health/handshakes` and `/ready`: what an operator reads first.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use common::backend::ServerSnapshot;
use common::http::body::Body;
use common::http::response::Response;
use common::kernel::counters::Counter as KernelCounter;
use common::kernel::sampler::Sampler;
use common::telemetry::json::{Array, Object, line};
use common::telemetry::metrics::Counter;
use common::time::{Clock, mono_now};
use http::header::{ACCEPT, HeaderName, HeaderValue};
use http::{Request, StatusCode};

use super::{Watched, backends};
use crate::health::{State, Status, json, text};

/// `/health` says its status here too, for those who do not read further.
pub const STATUS: HeaderName = HeaderName::from_static("tidegate-health");

/// Why no new work should be sent here; `None` when it may.
pub fn unready(watched: &Watched) -> Option<&'static str> {
    if watched.draining.load(Ordering::Relaxed) {
        return Some("draining\n");
    }
    let is_critical = watched.health.lock().status() == Status::Critical;
    (is_critical && !watched.ready_when_critical).then_some("critical: a kernel setting loses clients\n")
}

/// Whether the report is to be read in a terminal: by `?format=text`, or by `Accept`.
pub fn wants_text(request: &Request<Body>) -> bool {
    let query = request.uri().query().unwrap_or_default();
    match query.split('&').find_map(|pair| pair.strip_prefix("format=")) {
        Some(format) => format == "text",
        None => {
            let accepts = |media: &str| {
                let fields = request
                    .headers()
                    .get_all(ACCEPT)
                    .iter()
                    .filter_map(|value| value.to_str().ok());
                fields
                    .flat_map(|value| value.split(','))
                    .any(|range| range.split(';').next().unwrap_or_default().trim() == media)
            };
            accepts("text/plain") && !accepts("application/json")
        }
    }
}

/// The report, as JSON or as text.
pub fn page(watched: &Watched, as_text: bool) -> Response {
    let state = watched.health.lock();
    let status = status(watched, &state);
    let response = if as_text {
        super::text(StatusCode::OK, in_words(watched, &state, status))
    } else {
        super::json(StatusCode::OK, report(watched, &state, status))
    };
    response.with(STATUS, HeaderValue::from_static(status.word()))
}

/// The report as JSON, in one line.
pub fn as_json(watched: &Watched) -> Vec<u8> {
    let state = watched.health.lock();
    report(watched, &state, status(watched, &state))
}

/// The worst of settings, findings and backends.
pub fn status(watched: &Watched, state: &State) -> Status {
    let backends = if watched.backends().iter().any(|backend| backends::is_down(backend)) {
        Status::Degraded
    } else {
        Status::Ok
    };
    state.status().max(backends)
}

fn report(watched: &Watched, state: &State, status: Status) -> Vec<u8> {
    line(|object| {
        object
            .field("schema", json::SCHEMA)
            .field("status", status.word())
            .field("version", env!("CARGO_PKG_VERSION"))
            .field("revision", env!("TIDEGATE_REVISION"))
            .field("uptime_seconds", uptime(watched))
            .field("draining", watched.draining.load(Ordering::Relaxed))
            .field("workers", watched.workers.len() as u64)
            .field("connections_open", watched.limit.open() as u64)
            .field("requests", requests(watched));
        let mut roles = object.array("roles");
        for role in &watched.roles {
            roles.item(*role);
        }
        drop(roles);
        json::listeners(&mut object.array("listeners"), &state.engine, |address| {
            let listening = watched
                .listening
                .iter()
                .find(|listening| listening.address == address)?;
            Some((listening.role, &*listening.name))
        });
        json::diagnosis(object, &state.engine, &state.settings);
        json::way(object, &state.engine, &watched.folded.snapshots(mono_now()));
        cache(object.object("cache"), watched);
        json::confined(&mut object.array("confined"), &watched.confined);
        json::resources(&mut object.array("resources"), &state.budgets);
        let mut listed = object.array("backends");
        for backend in watched.backends() {
            backends::describe(backend, listed.object());
        }
    })
}

fn in_words(watched: &Watched, state: &State, status: Status) -> String {
    let mut out = String::new();
    let roles = watched.roles.join(", ");
    let (version, uptime, open, requests) = (
        env!("CARGO_PKG_VERSION"),
        uptime(watched),
        watched.limit.open(),
        requests(watched),
    );
    let head = format!(
        "tidegate {version} ({roles}): {}\nup {uptime} s, {open} connections open, {requests} requests answered\n\n",
        status.word()
    );
    out.push_str(&head);
    out.push_str(&text::confined(&watched.confined));
    out.push_str(&text::resources(&state.budgets));
    out.push_str(&text::way(&state.engine, &watched.folded.snapshots(mono_now())));
    out.push_str(&text::diagnosis(&state.engine, &state.settings));
    out.push('\n');
    for backend in watched.backends() {
        for service in backend.services() {
            out.push_str(&backends::service_in_words(backend.name(), &service));
        }
        for server in backend.snapshot() {
            let ServerSnapshot {
                address,
                state,
                busy,
                idle,
                connects,
                ..
            } = server;
            let (name, word) = (backend.name(), state.word());
            let written = writeln!(
                out,
                "backend {name} server {address}: {word}; {busy} busy, {idle} idle, {connects} connects"
            );
            debug_assert!(written.is_ok(), "writing to a String");
        }
    }
    out
}

/// Everything that was read of the kernel's counters, and what those that matter grew by.
pub fn handshakes(watched: &Watched) -> Vec<u8> {
    let raw = Sampler::new(watched.health.root.clone()).raw_counters();
    let state = watched.health.lock();
    line(|object| {
        object.field("schema", json::SCHEMA).field("looks", state.looks);
        let windows = state.engine.windows();
        let mut deltas = object.array("deltas");
        for window in windows.iter().flatten() {
            let mut object = deltas.object();
            object.field("over_seconds", window.over.as_secs_f64());
            let mut counters = object.array("counters");
            for counter in KernelCounter::ALL {
                counters
                    .object()
                    .field("counter", counter.name())
                    .field("delta", window.deltas.get(*counter));
            }
        }
        drop(deltas);
        let mut counters = object.array("counters");
        for (table, column, value) in &raw {
            let value = i64::try_from(*value).ok();
            counters
                .object()
                .field("table", &**table)
                .field("column", &**column)
                .field("value", value);
        }
        drop(counters);
        events(object.array("events"), &state);
    })
}

/// The last findings that opened, changed their name or closed, oldest first.
fn events(mut array: Array<'_>, state: &State) {
    for event in state.engine.events() {
        let mut object = array.object();
        object
            .field("at", event.at.unix_secs())
            .field("change", event.change.word());
        json::finding(&mut object.object("finding"), &event.finding);
    }
}

fn uptime(watched: &Watched) -> u64 {
    Clock::System.wall().saturating_since(watched.started).as_secs()
}

fn sum(watched: &Watched, counter: Counter) -> u64 {
    watched.workers.iter().map(|worker| worker.metrics.get(counter)).sum()
}

fn requests(watched: &Watched) -> u64 {
    const CLASSES: [Counter; 5] = [
        Counter::Responses1xx,
        Counter::Responses2xx,
        Counter::Responses3xx,
        Counter::Responses4xx,
        Counter::Responses5xx,
    ];
    CLASSES.into_iter().map(|class| sum(watched, class)).sum()
}

fn cache(mut object: Object<'_>, watched: &Watched) {
    const MISSES: [Counter; 4] = [
        Counter::CacheUriMiss,
        Counter::CacheVaryMiss,
        Counter::CacheRequest,
        Counter::CacheStale,
    ];
    object
        .field("hits", sum(watched, Counter::CacheHit))
        .field("misses", MISSES.into_iter().map(|miss| sum(watched, miss)).sum::<u64>())
        .field("stored", sum(watched, Counter::CacheStored))
        .field("evicted", watched.store().map_or(0, |(_, memory)| memory.evicted()));
    if let Some((local, memory)) = watched.store() {
        let (keys, bytes) = memory.level();
        object
            .field("stored_responses", keys)
            .field("stored_bytes", bytes)
            .field("waiting", local.waiting() as u64)
            .field("purges", memory.purges().latest());
    }
}
