//! How the connections of one listener are served: listeners of one process may have different services.
//!
//! Dynamic dispatch happens once per connection, here; everything inside the connection is static.

use std::fmt;
use std::sync::Arc;

use super::seat::Seat;
use super::service::{ConnInfo, Service};
use super::settings::ServeSettings;
use crate::http1::server::serve_connection;
use crate::net::stream::Stream;

/// What a listener does with a connection.
pub trait Endpoint: Send + Sync + 'static {
    /// Starts serving one connection, on a task of its own on the runtime of the calling worker.
    ///
    /// The task holds `seat` until the connection ended and heeds its drain.
    fn serve(&self, stream: Stream, conn: Arc<ConnInfo>, seat: Seat);
}

/// HTTP, answered by a [`Service`].
pub struct HttpEndpoint<S> {
    /// Answers the requests.
    pub service: Arc<S>,
    /// Limits of time and size.
    pub settings: Arc<ServeSettings>,
}

impl<S: Service> Endpoint for HttpEndpoint<S> {
    fn serve(&self, stream: Stream, conn: Arc<ConnInfo>, seat: Seat) {
        let service = Arc::clone(&self.service);
        let settings = Arc::clone(&self.settings);
        tokio::spawn(async move {
            let drain = seat.drain().clone();
            let reason = serve_connection(stream, conn, service, settings, drain).await;
            seat.leave(reason);
        });
    }
}

impl<S> fmt::Debug for HttpEndpoint<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpEndpoint")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
