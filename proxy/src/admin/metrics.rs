//! `/metrics` in Prometheus' text format: the workers' counters, and what is asked of the parts when somebody reads.

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
    super::backends::expose(&mut page, watched);
    let content_type = HeaderValue::from_static(CONTENT_TYPE);
    Response::new(StatusCode::OK, page.finish()).with(header::CONTENT_TYPE, content_type)
}
