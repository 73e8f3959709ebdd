//! Plain settings of TLS, filled in by `config`.

use std::path::PathBuf;
use std::time::Duration;

/// One `[tls.NAME]`: certificates and how handshakes are made with them.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsSettings {
    /// How listeners, logs and metrics call it.
    pub name: String,
    /// The certificates; the first one is the default.
    pub certificates: Vec<ServerCertificate>,
    /// What a client gets that names no host, or one that no certificate is for.
    pub unknown_name: UnknownName,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// Give out a session ticket per connection (RFC 5077, RFC 8446 §4.6.1).
    pub session_tickets: bool,
    /// Files of the tickets' keys, the one that seals first; without any, keys rotate and stay in this process.
    pub ticket_keys: Vec<PathBuf>,
    /// From accept to the end of the handshake.
    pub handshake_timeout: Duration,
    /// Handshakes at the same time; further connections are closed.
    pub handshakes_max: usize,
    /// How often the files are looked at.
    pub reload_every: Duration,
}

/// How handshakes with the servers of a backend are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectorSettings {
    /// The name that is asked for (SNI) and that the certificate has to be for; `None`: the server's own, as configured.
    pub server_name: Option<String>,
    /// Whether the certificate has to be good.
    pub verify: bool,
    /// PEM file of the roots that are believed; `None`: the system's.
    pub roots: Option<PathBuf>,
    /// Our own certificate, for servers that want one.
    pub certificate: Option<CertificateFiles>,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
}

/// Which certificates the clients of a listener have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificates {
    /// PEM file of the authorities that sign them.
    pub authorities: PathBuf,
    /// Whether a client may have none.
    pub demand: ClientDemand,
}

/// Whether a client may have no certificate. A bad one never passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientDemand {
    /// The handshake of a client without one fails.
    Required,
    /// It is asked for one and may go on without.
    Optional,
}

/// A certificate that is shown to clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerCertificate {
    /// The certificate and its key.
    pub files: CertificateFiles,
    /// DER file of the OCSP response that goes with it (RFC 6960).
    pub ocsp: Option<PathBuf>,
}

/// A certificate and its key, in PEM files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, then its intermediates.
    pub certificate: PathBuf,
    /// PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

/// What a client gets that names no host, or one that no certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownName {
    /// The default certificate; it will complain itself.
    Default,
    /// An alert.
    Refuse,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}
