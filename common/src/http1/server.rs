//! One client connection: request after request, until somebody closes.

use std::sync::Arc;

use crate::net::stream::Stream;
use crate::serve::drain::Drain;
use crate::serve::service::{CloseReason, ConnInfo, Service};
use crate::serve::settings::ServeSettings;

/// Placeholder of the `serve` branch; the lead's replaces it.
pub async fn serve_connection<S: Service>(
    _stream: Stream,
    _conn: Arc<ConnInfo>,
    _service: Arc<S>,
    _settings: Arc<ServeSettings>,
    _drain: Drain,
) -> CloseReason {
    CloseReason::Drain
}
