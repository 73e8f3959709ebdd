//! The handshakes of one listener: limited in number and time, counted, failures told but not flooding the log. The
//! authorities of its clients are read again while running.
//!
//! Called by `serve::endpoint` on the task that then serves the connection.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::NoServerSessionStorage;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, ServerConnection};

use super::clients;
use super::context::{TlsContext, TlsError};
use super::failure::HandshakeFailure;
use super::session::TlsStream;
use super::settings::{ClientCertificates, TlsVersion, UnknownName};
use crate::net::reload::{FileSet, Occasion, Reload, Reloaded};
use crate::net::stream::Stream;
use crate::telemetry::metrics::Counter;
use crate::time::{MonoTime, WallTime, mono_now};
use crate::worker::Worker;

/// Makes the handshakes of one listener.
#[derive(Debug)]
pub struct TlsAcceptor {
    context: Arc<TlsContext>,
    http2: bool,
    clients: Option<ClientCertificates>,
    config: ArcSwap<ServerConfig>,
    /// Authorities of clients; the context has those of its certificates.
    files: FileSet,
}

/// A handshake that failed; counted and logged already.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub failure: HandshakeFailure,
    /// The socket, where the client can be told in plain text.
    pub plain: Option<Stream>,
}

impl TlsAcceptor {
    /// Reads the authorities of its clients.
    ///
    /// # Errors
    /// Their file cannot be used, or the library refuses the settings.
    pub(super) fn load(
        context: Arc<TlsContext>,
        http2: bool,
        clients: Option<ClientCertificates>,
    ) -> Result<Self, TlsError> {
        let authorities = clients.as_ref().map(|clients| clients.authorities.clone());
        let name = authorities.as_ref().map(|file| file.display().to_string());
        let files = FileSet::new(
            "client_authorities",
            &name.unwrap_or_default(),
            authorities.into_iter().collect(),
        );
        let config = server_config(&context, http2, clients.as_ref())?;
        Ok(Self {
            config: ArcSwap::from_pointee(config),
            context,
            http2,
            clients,
            files,
        })
    }

    /// How often it is to be looked whether the authorities of its clients have changed.
    pub fn reload_every(&self) -> Duration {
        self.context.settings.reload_every
    }

    /// Makes the handshake of a connection that was accepted at `accepted`.
    ///
    /// # Errors
    /// Why it failed.
    pub async fn accept(&self, stream: Stream, accepted: MonoTime, worker: &Worker) -> Result<Stream, Refused> {
        let Some(_place) = Place::take(&self.context) else {
            return Err(self.refused(HandshakeFailure::Limit, None, worker));
        };
        let session = match ServerConnection::new(self.config.load_full()) {
            Ok(session) => session,
            Err(error) => {
                tracing::error!(%error, "no TLS session could be made");
                return Err(self.refused(HandshakeFailure::Internal, None, worker));
            }
        };
        let mut tls = Box::new(TlsStream::new(stream, session));
        let deadline = accepted + self.context.settings.handshake_timeout;
        let failure = match tokio::time::timeout_at(deadline, poll_fn(|cx| tls.poll_handshake(cx))).await {
            Ok(Ok(())) => {
                worker.metrics.count(done(tls.kind()));
                return Ok(Stream::Tls(tls));
            }
            Ok(Err(broken)) => broken.failure(),
            Err(_elapsed) => HandshakeFailure::Timeout,
        };
        let refuses = self.context.settings.unknown_name == UnknownName::Refuse;
        let failure = match failure {
            // The library's word for having got no certificate.
            HandshakeFailure::Internal if refuses => HandshakeFailure::UnknownName,
            other => other,
        };
        let plain = (failure == HandshakeFailure::PlainHttp).then_some(tls.socket);
        Err(self.refused(failure, plain, worker))
    }

    fn refused(&self, failure: HandshakeFailure, plain: Option<Stream>, worker: &Worker) -> Refused {
        worker.metrics.count(failure.counter());
        if let Some(held_back) = self.context.failures.lock().admit(mono_now()) {
            let (tls, cause) = (&*self.context.settings.name, failure.word());
            if failure == HandshakeFailure::Limit {
                tracing::warn!(
                    tls,
                    cause,
                    held_back,
                    "too many handshakes at once; connections are closed"
                );
            } else {
                tracing::info!(tls, cause, held_back, "a handshake failed");
            }
        }
        Refused { failure, plain }
    }
}

impl Reload for TlsAcceptor {
    /// Connections that are open, and handshakes that run, keep what they have.
    fn reload(&self, occasion: Occasion, _: WallTime) -> Vec<Reloaded> {
        let read = || server_config(&self.context, self.http2, self.clients.as_ref());
        let take = |config| self.config.store(Arc::new(config));
        self.files.read_again(occasion, read, take).into_iter().collect()
    }

    fn file_sets(&self) -> Vec<&FileSet> {
        vec![&self.files]
    }
}

fn server_config(
    context: &TlsContext,
    http2: bool,
    clients: Option<&ClientCertificates>,
) -> Result<ServerConfig, TlsError> {
    let refused = |source| TlsError::Library {
        name: context.settings.name.clone(),
        source,
    };
    let versions = match context.settings.min_version {
        TlsVersion::Tls12 => &[&TLS13, &TLS12][..],
        TlsVersion::Tls13 => &[&TLS13],
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&context.provider));
    let builder = builder.with_protocol_versions(versions).map_err(refused)?;
    // A resumed session is not verified again: a certificate that has ended meanwhile, or that another listener has
    // taken, would pass.
    let gives_tickets = context.settings.session_tickets && clients.is_none();
    let builder = match clients {
        Some(clients) => builder.with_client_cert_verifier(clients::verifier(clients, &context.provider)?),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::<super::choice::Resolver>::clone(&context.resolver));
    config.ignore_client_order = true;
    // Tickets keep the state with the client; nothing is stored here per session.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = usize::from(gives_tickets);
    if gives_tickets {
        config.ticketer = match &context.tickets {
            Some(keys) => Arc::<super::tickets::TicketKeys>::clone(keys),
            None => Ticketer::new().map_err(refused)?,
        };
    }
    let protocols: &[&[u8]] = if http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}

/// A running handshake's place.
struct Place<'a>(&'a TlsContext);

impl<'a> Place<'a> {
    fn take(context: &'a TlsContext) -> Option<Self> {
        let max = context.settings.handshakes_max;
        let one_more = |running| (running < max).then_some(running + 1);
        let taken = context
            .running
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        // Not `then_some`: it would make, and drop, a place that was not taken.
        match taken {
            Ok(_) => Some(Self(context)),
            Err(_) => None,
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What counts a handshake that succeeded: TLS 1.3?, resumed?
const fn done(kind: (bool, bool)) -> Counter {
    match kind {
        (false, false) => Counter::Tls12Full,
        (false, true) => Counter::Tls12Resumed,
        (true, false) => Counter::Tls13Full,
        (true, true) => Counter::Tls13Resumed,
    }
}
