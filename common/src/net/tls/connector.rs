//! TLS towards servers: what handshakes with them are made with, reloaded when its files change (RFC 8446, RFC 5246).
//!
//! Reading files is for the start and for a thread of its own; a handshake only loads a pointer. Sessions are resumed where
//! the server lets us. Which name a server must prove is the caller's (`backend::secure`); timeouts are `backend::connect`'s.

use std::future::poll_fn;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::client::WantsClientCert;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, ConfigBuilder, RootCertStore, StreamOwned};

use super::certificate::{self, CertificateError};
use super::context::provider;
use super::file::{self, FileError};
use super::session::TlsStream;
use super::settings::{ConnectorSettings, TlsVersion};
use super::unverified::Unverified;
use crate::net::reload::{FileSet, Occasion, Reload, Reloaded};
use crate::net::stream::Stream;
use crate::time::WallTime;

/// How often the files are looked at.
pub const RELOAD_EVERY: Duration = Duration::from_secs(5);

/// Makes the handshakes with the servers of one backend.
#[derive(Debug)]
pub struct TlsConnector {
    settings: ConnectorSettings,
    /// The protocols that are offered, best first (RFC 7301).
    protocols: Vec<Vec<u8>>,
    provider: Arc<CryptoProvider>,
    /// Holds the sessions that can be resumed, too.
    config: ArcSwap<ClientConfig>,
    files: FileSet,
}

/// A handshake that was made.
#[derive(Debug)]
pub struct Secured {
    /// The connection.
    pub stream: Stream,
    /// An earlier session was resumed.
    pub is_resumed: bool,
}

/// Why TLS cannot be spoken to servers.
#[derive(Debug, thiserror::Error)]
pub enum ConnectorError {
    /// Our certificate cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The file of roots cannot be used.
    #[error(transparent)]
    Roots(#[from] FileError),
    /// The system has none.
    #[error("this system has no root certificates{}: install them (ca-certificates), or name a file with `roots`", because(.0))]
    NoRoots(Vec<String>),
    /// The library refuses the settings.
    #[error(transparent)]
    Library(#[from] rustls::Error),
}

impl TlsConnector {
    /// Reads roots and client certificate; `protocols` are offered by ALPN.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn load(
        name: &str,
        settings: ConnectorSettings,
        protocols: &[&[u8]],
        now: WallTime,
    ) -> Result<Self, ConnectorError> {
        let provider = Arc::new(provider());
        let protocols: Vec<Vec<u8>> = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let files = FileSet::new("origin_certificates", name, files(&settings));
        let config = client_config(&settings, &protocols, &provider, now)?;
        if !settings.verify {
            tracing::warn!(
                origin = name,
                "verify = false: the servers' certificates are NOT checked, anybody on the way can read and change what is sent"
            );
        }
        Ok(Self {
            settings,
            protocols,
            provider,
            config: ArcSwap::from_pointee(config),
            files,
        })
    }

    /// Makes the handshake with a server that has to prove to be `server`; it is offered `only`, or all protocols.
    ///
    /// Our last message leaves with the first write after it.
    ///
    /// # Errors
    /// An error whose word `failure::word_for` knows, or that of the socket.
    pub async fn connect(
        &self,
        stream: Stream,
        server: ServerName<'static>,
        only: Option<&[u8]>,
    ) -> io::Result<Secured> {
        let config = self.config.load_full();
        let session = match only {
            Some(protocol) => ClientConnection::new_with_alpn(config, server, vec![protocol.to_vec()]),
            None => ClientConnection::new(config, server),
        };
        let session = session.map_err(io::Error::other)?;
        let mut tls = Box::new(TlsStream::new(stream, session));
        poll_fn(|cx| tls.poll_handshake(cx)).await?;
        let (_, is_resumed) = tls.kind();
        Ok(Secured {
            stream: Stream::Tls(tls),
            is_resumed,
        })
    }

    /// The same over a blocking socket, for what asks one question and waits; `host` is where it is connected to, and has to
    /// be in the certificate unless the settings name another. Timeouts are the socket's. Never on a worker.
    ///
    /// # Errors
    /// The name is none, the handshake fails, or the socket does.
    pub fn connect_blocking<S: Read + Write>(
        &self,
        mut socket: S,
        host: &str,
    ) -> io::Result<impl Read + Write + use<S>> {
        let host = self.settings.server_name.as_deref().unwrap_or(host);
        let server =
            ServerName::try_from(host.to_owned()).map_err(|error| io::Error::new(ErrorKind::InvalidInput, error))?;
        let config = self.config.load_full();
        let mut session = ClientConnection::new(config, server).map_err(io::Error::other)?;
        session.complete_io(&mut socket)?;
        Ok(StreamOwned::new(session, socket))
    }
}

impl Reload for TlsConnector {
    /// Connections that are open stay.
    fn reload(&self, occasion: Occasion, now: WallTime) -> Vec<Reloaded> {
        let read = || client_config(&self.settings, &self.protocols, &self.provider, now);
        let take = |config| self.config.store(Arc::new(config));
        self.files.read_again(occasion, read, take).into_iter().collect()
    }

    fn file_sets(&self) -> Vec<&FileSet> {
        vec![&self.files]
    }
}

fn client_config(
    settings: &ConnectorSettings,
    protocols: &[Vec<u8>],
    provider: &Arc<CryptoProvider>,
    now: WallTime,
) -> Result<ClientConfig, ConnectorError> {
    let versions = match settings.min_version {
        TlsVersion::Tls12 => &[&TLS13, &TLS12][..],
        TlsVersion::Tls13 => &[&TLS13],
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider)).with_protocol_versions(versions)?;
    let builder: ConfigBuilder<ClientConfig, WantsClientCert> = if settings.verify {
        builder.with_root_certificates(roots(settings.roots.as_deref())?)
    } else {
        let unverified = Arc::new(Unverified::new(Arc::clone(provider)));
        builder.dangerous().with_custom_certificate_verifier(unverified)
    };
    let mut config = match &settings.certificate {
        Some(files) => {
            let key = certificate::load_any(files, provider, now)?;
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key)))
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = protocols.to_vec();
    Ok(config)
}

/// Whom to believe: the certificates of a file, or those of the system.
///
/// The system's are read by rustls-native-certs and judged by rustls, the same on every machine; on Linux the "platform
/// verifier" does just that, with more code around it.
fn roots(path: Option<&Path>) -> Result<RootCertStore, ConnectorError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = path {
        for root in certificate::chain(path)? {
            let bad = |error| file::content(path, format!("a certificate cannot be a root: {error}"));
            roots.add(root).map_err(bad)?;
        }
        return Ok(roots);
    }
    let found = rustls_native_certs::load_native_certs();
    // A system's store may hold certificates that are too odd to be read.
    roots.add_parsable_certificates(found.certs.into_iter().map(CertificateDer::into_owned));
    if roots.is_empty() {
        let errors = found.errors.iter().map(ToString::to_string).collect();
        return Err(ConnectorError::NoRoots(errors));
    }
    Ok(roots)
}

fn files(settings: &ConnectorSettings) -> Vec<PathBuf> {
    let certificate = settings
        .certificate
        .iter()
        .flat_map(|pair| [&pair.certificate, &pair.key]);
    settings.roots.iter().chain(certificate).cloned().collect()
}

fn because(errors: &[String]) -> String {
    match errors.first() {
        Some(error) => format!(" ({error})"),
        None => String::new(),
    }
}
