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
    fn serve(self: Arc<Self>, stream: Stream, conn: Arc<ConnInfo>, seat: Seat);

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
    pub proxied: Option<ProxySettings>,
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

    /// Makes the handshake, and notes in `conn` what came of it.
    async fn shake_hands(
        &self,
        tls: &TlsAcceptor,
        stream: Stream,
        conn: &mut Arc<ConnInfo>,
        drain: &Drain,
    ) -> Result<Stream, CloseReason> {
        let only = Arc::get_mut(conn).expect("invariant: nobody else has the connection yet");
        only.tls = true;
        match tls.accept(stream, only.accepted, &only.worker).await {
            Ok(stream) => {
                only.certificate = stream.client_certificate().map(Box::new);
                Ok(stream)
            }
            Err(Refused { plain: None, .. }) => Err(CloseReason::Handshake),
            Err(Refused {
                plain: Some(stream), ..
            }) => {
                let error = ParseError::Malformed("plain HTTP was sent to a TLS port; use https");
                let (service, settings) = (Arc::clone(&self.service), Arc::clone(&self.settings));
                Err(refuse_connection(stream, Arc::clone(conn), service, settings, drain.clone(), error).await)
            }
        }
    }
}

impl<S: Service> Endpoint for HttpEndpoint<S> {
    fn is_proxied(&self) -> bool {
        self.proxied.is_some()
    }

    fn is_plain(&self) -> bool {
        self.tls.is_none()
    }

    /// The task is as large as its largest state, for as long as the connection lasts: so what few connections need, or
    /// need for a moment, is in boxes.
    fn serve(self: Arc<Self>, mut stream: Stream, mut conn: Arc<ConnInfo>, mut seat: Seat) {
        tokio::spawn(async move {
            if let Some(settings) = &self.proxied {
                let until = conn.accepted + self.settings.header_timeout;
                let header = Box::pin(proxied::receive(settings, until, &mut stream, &mut conn, &mut seat));
                if let Err(reason) = header.await {
                    return seat.leave(reason);
                }
            }
            if let Some(tls) = &self.tls {
                stream = match Box::pin(self.shake_hands(tls, stream, &mut conn, seat.drain())).await {
                    Ok(stream) => stream,
                    Err(reason) => return seat.leave(reason),
                };
            }
            let mut read = BytesMut::new();
            if !stream.is_http2() {
                let h2c = self.http2.is_some() && self.tls.is_none();
                let (service, settings) = (Arc::clone(&self.service), Arc::clone(&self.settings));
                let drain = seat.drain().clone();
                match serve_connection(stream, Arc::clone(&conn), service, settings, drain, h2c).await {
                    Ended::Closed(reason) => return seat.leave(reason),
                    Ended::Http2(again, begun) => (stream, read) = (again, begun),
                }
            }
            let Some(http2) = self.http2 else {
                return seat.leave(CloseReason::Malformed);
            };
            let (service, settings) = (Arc::clone(&self.service), Arc::clone(&self.settings));
            let drain = seat.drain().clone();
            let served = server::serve_connection(stream, read, conn, service, settings, http2, drain);
            seat.leave(Box::pin(served).await);
        });
    }

    fn admits(&self, peer: IpAddr) -> bool {
        self.access.as_ref().is_none_or(|access| access.admits(peer))
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
