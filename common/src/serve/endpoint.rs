//! How the connections of one listener are served: listeners of one process may have different services.
//!
//! Dynamic dispatch happens once per connection, here; everything inside the connection is static.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::BytesMut;

use super::drain::Drain;
use super::proxied::{self, ProxySettings};
use super::seat::Seat;
use super::service::{CloseReason, ConnInfo, Service};
use super::settings::ServeSettings;
use crate::http1::parse::ParseError;
use crate::http1::server::{Ended, refuse_connection, serve_connection};
use crate::http2::server;
use crate::http2::settings::Http2Settings;
use crate::net::address_list::Access;
use crate::net::stream::Stream;
use crate::net::tls::acceptor::{Refused, TlsAcceptor};

/// What a listener does with a connection.
pub trait Endpoint: Send + Sync + 'static {
    /// Starts serving one connection, on a task of its own on the runtime of the calling worker.
    ///
    /// The task holds `seat` until the connection ended and heeds its drain.
    fn serve(&self, stream: Stream, conn: Arc<ConnInfo>, seat: Seat);

    /// Whether the peer of a connection is a load balancer, which says who the client is.
    fn is_proxied(&self) -> bool {
        false
    }

    /// Whether HTTP can be said without a TLS handshake.
    fn is_plain(&self) -> bool {
        false
    }

    /// Whether a peer may connect at all.
    fn admits(&self, _peer: IpAddr) -> bool {
        true
    }
}

/// HTTP, answered by a [`Service`].
pub struct HttpEndpoint<S> {
    /// Answers the requests.
    pub service: Arc<S>,
    /// Limits of time and size.
    pub settings: Arc<ServeSettings>,
    /// Makes the handshakes, where the listener speaks TLS.
    pub tls: Option<Arc<TlsAcceptor>>,
    /// Speak HTTP/2 as well: with TLS to those who ask for it by ALPN, without it to those who begin with its preface.
    pub http2: Option<Http2Settings>,
    /// Connections begin with a PROXY header.
    pub proxied: Option<Arc<ProxySettings>>,
    /// Who may connect; everybody, where there is none.
    pub access: Option<Access>,
}

impl<S: Service> HttpEndpoint<S> {
    /// An endpoint that speaks HTTP/1 without TLS.
    pub fn plain(service: Arc<S>, settings: ServeSettings) -> Self {
        Self {
            service,
            settings: Arc::new(settings),
            tls: None,
            http2: None,
            proxied: None,
            access: None,
        }
    }

    async fn shake_hands(
        self,
        tls: Arc<TlsAcceptor>,
        stream: Stream,
        mut conn: Arc<ConnInfo>,
        drain: Drain,
    ) -> CloseReason {
        Arc::get_mut(&mut conn)
            .expect("invariant: nobody else has the connection yet")
            .tls = true;
        match tls.accept(stream, conn.accepted, &conn.worker).await {
            Ok(stream) => {
                if let Some(certificate) = stream.client_certificate() {
                    Arc::get_mut(&mut conn)
                        .expect("invariant: nobody else has the connection yet")
                        .certificate = Some(Box::new(certificate));
                }
                self.speak(stream, conn, drain).await
            }
            Err(Refused { plain: None, .. }) => CloseReason::Handshake,
            Err(Refused {
                plain: Some(stream), ..
            }) => {
                let error = ParseError::Malformed("plain HTTP was sent to a TLS port; use https");
                refuse_connection(stream, conn, self.service, self.settings, drain, error).await
            }
        }
    }

    async fn speak(self, stream: Stream, conn: Arc<ConnInfo>, drain: Drain) -> CloseReason {
        let (stream, read) = if stream.is_http2() {
            (stream, BytesMut::new())
        } else {
            let h2c = self.http2.is_some() && self.tls.is_none();
            let (service, settings) = (Arc::clone(&self.service), Arc::clone(&self.settings));
            match serve_connection(stream, Arc::clone(&conn), service, settings, drain.clone(), h2c).await {
                Ended::Closed(reason) => return reason,
                Ended::Http2(stream, read) => (stream, read),
            }
        };
        let Some(http2) = self.http2 else {
            return CloseReason::Malformed;
        };
        // In a box, for the sake of the connections that have none: a task is as large as its largest state.
        let Self { service, settings, .. } = self;
        Box::pin(server::serve_connection(
            stream, read, conn, service, settings, http2, drain,
        ))
        .await
    }
}

impl<S: Service> Endpoint for HttpEndpoint<S> {
    fn is_proxied(&self) -> bool {
        self.proxied.is_some()
    }

    fn is_plain(&self) -> bool {
        self.tls.is_none()
    }

    fn serve(&self, mut stream: Stream, mut conn: Arc<ConnInfo>, mut seat: Seat) {
        let endpoint = self.clone();
        tokio::spawn(async move {
            if let Some(settings) = &endpoint.proxied {
                let until = conn.accepted + endpoint.settings.header_timeout;
                // In a box, for the sake of the connections that have none.
                let header = Box::pin(proxied::receive(settings, until, &mut stream, &mut conn, &mut seat));
                if let Err(reason) = header.await {
                    return seat.leave(reason);
                }
            }
            let drain = seat.drain().clone();
            let reason = match endpoint.tls.clone() {
                None => endpoint.speak(stream, conn, drain).await,
                Some(tls) => endpoint.shake_hands(tls, stream, conn, drain).await,
            };
            seat.leave(reason);
        });
    }

    fn admits(&self, peer: IpAddr) -> bool {
        self.access.as_ref().is_none_or(|access| access.admits(peer))
    }
}

impl<S> Clone for HttpEndpoint<S> {
    fn clone(&self) -> Self {
        Self {
            service: Arc::clone(&self.service),
            settings: Arc::clone(&self.settings),
            tls: self.tls.clone(),
            http2: self.http2,
            proxied: self.proxied.clone(),
            // Asked before the connection is served.
            access: None,
        }
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
