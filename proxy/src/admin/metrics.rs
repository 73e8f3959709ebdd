//! `/metrics` in Prometheus' text format.

use common::http::response::Response;

use super::Watched;

/// The page.
pub fn page(watched: &Watched) -> Response {
    let _ = watched;
    super::text(http::StatusCode::OK, "")
}
