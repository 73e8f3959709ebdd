//! `/metrics` in Prometheus' text format: the workers' counters, and what is asked of the parts when somebody reads.

use common::http::response::Response;
use common::net::tls::tickets::TicketKeys;
use common::serve::shedding::Scarce;
use common::telemetry::exposition::{CONTENT_TYPE, Exposition};
use common::telemetry::metrics::Family;
use common::time::Clock;
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
    budgets(&mut page, watched);
    cache(&mut page, watched);
    super::backends::expose(&mut page, watched);
    super::handshake_metrics::expose(&mut page, watched);
    certificates(&mut page, watched);
    page.family(Family::AdminUnauthorized)
        .sample(&[], watched.parts.admin.gate.as_ref().map_or(0, |gate| gate.refused()));
    let content_type = HeaderValue::from_static(CONTENT_TYPE);
    Response::new(StatusCode::OK, page.finish()).with(header::CONTENT_TYPE, content_type)
}

fn budgets(page: &mut Exposition, watched: &Watched) {
    let budgets = watched.health.lock().budgets;
    let both = || Scarce::ALL.map(|scarce| ([("resource", scarce.word())], budgets.gauge(scarce)));
    let mut shedding = page.family(Family::Shedding);
    for (labels, gauge) in both() {
        shedding.sample(&labels, u64::from(gauge.is_scarce));
    }
    let mut begun = page.family(Family::SheddingBegun);
    for (labels, gauge) in both() {
        begun.sample(&labels, gauge.begun);
    }
    for (gauge, used, budget) in [
        (budgets.memory, Family::MemoryUsed, Family::MemoryBudget),
        (budgets.descriptors, Family::DescriptorsUsed, Family::DescriptorsBudget),
    ] {
        if let Some(level) = gauge.level {
            page.family(used).sample(&[], level.used);
            page.family(budget).sample(&[], level.budget);
        }
    }
}

fn cache(page: &mut Exposition, watched: &Watched) {
    let Some((local, memory)) = watched.store() else { return };
    let (keys, bytes) = memory.level();
    page.family(Family::CacheStoredBytes).sample(&[], bytes);
    page.family(Family::CacheStoredResponses).sample(&[], keys);
    page.family(Family::CacheEvicted)
        .sample(&[("cause", "room")], memory.evicted())
        .sample(&[("cause", "removed")], memory.removed());
    for (family, tally) in [
        (Family::CacheNotStored, local.not_stored()),
        (Family::CacheRefused, local.refused()),
        (Family::CacheStaleServed, local.stale()),
    ] {
        let mut samples = page.family(family);
        for (reason, count) in tally.read() {
            samples.sample(&[("reason", reason)], count);
        }
    }
    page.family(Family::CacheWaiting).sample(&[], local.waiting());
    page.family(Family::CachePurges).sample(&[], memory.purges().latest());
    page.family(Family::CachePurgeRecords)
        .sample(&[], memory.purges().records());
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
    let mut expiring = page.family(Family::TlsCertificatesExpiring);
    for tls in watched.tls() {
        let count = tls.expiring(Clock::System.wall()).count();
        expiring.sample(&[("tls", &*tls.settings().name)], count as u64);
    }
    let mut reloads = page.family(Family::TlsReloads);
    for tls in watched.tls() {
        let (done, failed) = tls.reloads();
        reloads.sample(&[("tls", &*tls.settings().name), ("result", "taken_over")], done);
        reloads.sample(&[("tls", &*tls.settings().name), ("result", "failed")], failed);
    }
    let mut of_kinds = page.family(Family::FileReloads);
    for (kind, (done, failed)) in watched.reloads.counts() {
        of_kinds.sample(&[("kind", kind), ("result", "taken_over")], done);
        of_kinds.sample(&[("kind", kind), ("result", "failed")], failed);
    }
    let mut tickets = page.family(Family::TlsTickets);
    for tls in watched.tls() {
        for (opened, count) in tls.ticket_keys().into_iter().flat_map(TicketKeys::opened) {
            tickets.sample(&[("tls", &*tls.settings().name), ("result", opened.word())], count);
        }
    }
    let mut running = page.family(Family::TlsHandshakesRunning);
    for tls in watched.tls() {
        running.sample(&[("tls", &*tls.settings().name)], tls.handshakes() as u64);
    }
}
