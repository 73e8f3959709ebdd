//! TLS with the servers of one backend: what handshakes are made with, and which name each server has to prove.
//!
//! Loaded by boot, since it reads files; handed to [`super::Backend::with_tls`].

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::time::timeout_at;

use super::settings::{BackendSettings, HttpProtocol, ServerAddress, ServerSettings};
use crate::net::stream::Stream;
use crate::net::tls::connector::{ConnectorError, TlsConnector};
use crate::time::{MonoTime, WallTime, mono_now};

/// What a backend speaks TLS with.
#[derive(Debug)]
pub struct BackendTls {
    connector: Arc<TlsConnector>,
    /// By server; `None` where plain text is spoken.
    pub(super) names: Box<[Option<ServerName<'static>>]>,
}

/// Why TLS cannot be spoken to a backend's servers.
#[derive(Debug, thiserror::Error)]
pub enum BackendTlsError {
    /// A name that no certificate can be for.
    #[error("\"{0}\" cannot be the name of a TLS server; set `server_name`")]
    Name(String),
    /// The files, or the library.
    #[error(transparent)]
    Connector(#[from] ConnectorError),
}

/// How one server is spoken to.
#[derive(Debug)]
pub(super) enum Security {
    /// In plain text.
    Plain,
    /// With TLS, once the server has proven its name.
    Tls(Arc<TlsConnector>, ServerName<'static>),
    /// It is to be TLS, but nobody has given us what it takes: nothing is sent.
    Missing,
}

/// A handshake that was made: how long it took, and whether it resumed a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Handshake {
    pub(super) took: Duration,
    pub(super) is_resumed: bool,
}

impl BackendTls {
    /// Reads the files that the settings name; `None` where no server is spoken to with TLS.
    ///
    /// # Errors
    /// What is wrong with them, or with a name.
    pub fn load(settings: &BackendSettings, now: WallTime) -> Result<Option<Self>, BackendTlsError> {
        let (Some(tls), true) = (&settings.tls, settings.servers.iter().any(|server| server.is_tls)) else {
            return Ok(None);
        };
        let name = |server: &ServerSettings| match server.is_tls {
            true => name(server, tls.server_name.as_deref()).map(Some),
            false => Ok(None),
        };
        let names = settings.servers.iter().map(name).collect::<Result<_, _>>()?;
        let connector = TlsConnector::load(&settings.name, tls.clone(), settings.protocol.offered(), now)?;
        Ok(Some(Self {
            connector: Arc::new(connector),
            names,
        }))
    }

    /// What makes the handshakes; its files are to be looked at now and then.
    pub const fn connector(&self) -> &Arc<TlsConnector> {
        &self.connector
    }
}

impl Security {
    /// Makes the handshake, where there is to be one, before `until`; `is_http1` keeps it to HTTP/1.1.
    pub(super) async fn secure(
        &self,
        stream: Stream,
        is_http1: bool,
        until: MonoTime,
    ) -> io::Result<(Stream, Option<Handshake>)> {
        let (connector, name) = match self {
            Self::Plain => return Ok((stream, None)),
            Self::Tls(connector, name) => (connector, name),
            Self::Missing => return Err(io::Error::other("TLS was not set up")),
        };
        let started = mono_now();
        let only = is_http1.then_some(HttpProtocol::HTTP_1_1);
        let secured = timeout_at(until, connector.connect(stream, name.clone(), only)).await;
        let secured = secured.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        let handshake = Handshake {
            took: mono_now() - started,
            is_resumed: secured.is_resumed,
        };
        Ok((secured.stream, Some(handshake)))
    }
}

/// The name that a server has to prove: the configured one, or the host that it is connected to by.
fn name(server: &ServerSettings, configured: Option<&str>) -> Result<ServerName<'static>, BackendTlsError> {
    let host = match (&server.address, configured) {
        (_, Some(name)) => name.to_owned(),
        (ServerAddress::Socket(address), None) => return Ok(address.ip().into()),
        (ServerAddress::Name { host, .. }, None) => host.clone(),
        // What its SRV records name proves nothing: whoever can change them has a certificate for his own name.
        (ServerAddress::Service(name), None) => name.clone(),
        (ServerAddress::Unix(path), None) => path.display().to_string(),
    };
    // A certificate's names have no dot at their end (RFC 6066 §3, too: "without a trailing dot").
    let bare = host.strip_suffix('.').unwrap_or(&host).to_owned();
    ServerName::try_from(bare).map_err(|_| BackendTlsError::Name(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_to_prove_the_name_that_it_is_configured_by() {
        let named = |host: &str| ServerAddress::Name {
            host: host.to_owned(),
            port: 443,
        };
        let socket = ServerAddress::Socket("10.0.0.7:443".parse().unwrap());
        for (address, configured, expected) in [
            (named("app.example"), None, "app.example"),
            (named("app.example."), None, "app.example"),
            (named("app.example"), Some("other.example"), "other.example"),
            (socket.clone(), None, "10.0.0.7"),
            (socket, Some("app.example"), "app.example"),
        ] {
            let found = name(&address.clone().into(), configured).unwrap();
            assert_eq!(found.to_str(), expected, "{address}");
        }
        let error = name(&named("-").into(), None).unwrap_err();
        assert!(error.to_string().contains("server_name"), "{error}");
    }
}
