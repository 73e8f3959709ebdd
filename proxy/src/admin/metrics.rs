//! `/metrics` in Prometheus' text format: the workers' counters, and what is asked of the parts when somebody reads.

use common::backend::ServerSnapshot;
use common::http::response::Response;
use common::telemetry::exposition::{CONTENT_TYPE, Exposition};
use common::telemetry::metrics::Family;
use http::{HeaderValue, StatusCode, header};

use super::Watched;

/// The page.
pub fn page(watched: &Watched) -> Response {
    let mut page = Exposition::default();
    page.workers(watched.workers.iter().map(|worker| &worker.metrics));
    let version = [
        ("version", env!("CARGO_PKG_VERSION")),
        ("revision", env!("TIDEGATE_REVISION")),
    ];
    page.family(Family::BuildInfo).sample(&version, 1_u64);
    page.family(Family::StartTime).sample(&[], watched.started.unix_secs());
    page.family(Family::Workers).sample(&[], watched.workers.len() as u64);
    page.family(Family::ConnectionsOpen)
        .sample(&[], watched.limit.open() as u64);
    page.family(Family::AccessLogFailed)
        .sample(&[], watched.log_lines_failed());
    if let Some(memory) = watched.parts.tier.local().and_then(|local| local.memory()) {
        let (responses, bytes) = memory.level();
        page.family(Family::CacheStoredBytes).sample(&[], bytes);
        page.family(Family::CacheStoredResponses).sample(&[], responses);
    }
    backends(&mut page, watched);
    certificates(&mut page, watched);
    let content_type = HeaderValue::from_static(CONTENT_TYPE);
    Response::new(StatusCode::OK, page.finish()).with(header::CONTENT_TYPE, content_type)
}

fn certificates(page: &mut Exposition, watched: &Watched) {
    let mut expires = page.family(Family::TlsCertificateExpires);
    for tls in watched.tls() {
        for certificate in tls.certificates() {
            let labels = [
                ("tls", &*tls.settings().name),
                ("file", &*certificate.file.to_string_lossy()),
            ];
            expires.sample(&labels, certificate.not_after.unix_secs());
        }
    }
    let mut reloads = page.family(Family::TlsReloads);
    for tls in watched.tls() {
        let (done, failed) = tls.reloads();
        reloads.sample(&[("tls", &*tls.settings().name), ("result", "taken_over")], done);
        reloads.sample(&[("tls", &*tls.settings().name), ("result", "failed")], failed);
    }
    let mut running = page.family(Family::TlsHandshakesRunning);
    for tls in watched.tls() {
        running.sample(&[("tls", &*tls.settings().name)], tls.handshakes() as u64);
    }
}

fn backends(page: &mut Exposition, watched: &Watched) {
    let servers: Vec<(&str, ServerSnapshot)> = watched
        .backends()
        .iter()
        .flat_map(|backend| {
            backend
                .snapshot()
                .into_iter()
                .map(move |server| (backend.name(), server))
        })
        .collect();
    let mut connections = page.family(Family::BackendConnections);
    for (backend, server) in &servers {
        for (state, count) in [("busy", server.busy), ("idle", server.idle)] {
            connections.sample(
                &[("backend", backend), ("server", &server.address), ("state", state)],
                count as u64,
            );
        }
    }
    per_server(page, Family::BackendRequests, &servers, |server| Some(server.attempts));
    per_server(page, Family::BackendConnects, &servers, |server| Some(server.connects));
    per_server(page, Family::BackendSynRetransmits, &servers, |server| {
        server.retransmitted_syns
    });
    let mut errors = page.family(Family::BackendErrors);
    for (backend, server) in &servers {
        for (error, count) in &server.failures {
            errors.sample(
                &[
                    ("backend", backend),
                    ("server", &server.address),
                    ("error", error.word()),
                ],
                *count,
            );
        }
    }
}

/// One family with one value per server; a server whose value is not known has no sample.
fn per_server(
    page: &mut Exposition,
    family: Family,
    servers: &[(&str, ServerSnapshot)],
    value: impl Fn(&ServerSnapshot) -> Option<u64>,
) {
    let mut samples = page.family(family);
    for (backend, server) in servers {
        if let Some(value) = value(server) {
            samples.sample(&[("backend", backend), ("server", &server.address)], value);
        }
    }
}
