//! A certificate for one run, and clients that know it.
//!
//! ECDSA on P-256, as nearly all sites have it. Every subject gets the same files, and every client offers one suite and
//! one group only, those that browsers prefer of what all subjects know: so all of them do the same arithmetic.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

/// The name that it is for.
pub(crate) const NAME: &str = "bench.test";

/// Where a subject finds certificate and key, in PEM.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// Both in one file, as HAProxy wants it.
    pub(crate) both: PathBuf,
}

impl Files {
    /// Their names in `dir`.
    pub(crate) fn within(dir: &Path) -> Self {
        Self {
            certificate: dir.join("bench.crt"),
            key: dir.join("bench.key"),
            both: dir.join("bench.pem"),
        }
    }
}

/// A certificate, and what its clients need.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) files: Files,
    pub(crate) certificate: CertificateDer<'static>,
    /// Clients that speak HTTP/1.1.
    pub(crate) http1: Arc<ClientConfig>,
    /// Clients that speak HTTP/2.
    pub(crate) http2: Arc<ClientConfig>,
}

impl Identity {
    /// Makes one in `dir`.
    pub(crate) fn make(dir: &Path) -> Result<Self> {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).context("cannot make a certificate")?;
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let files = Files::within(dir);
        fs::write(&files.certificate, &certificate)?;
        fs::write(&files.key, &key)?;
        fs::write(&files.both, certificate + &key)?;
        let certificate = made.cert.der().clone();
        Ok(Self {
            files,
            http1: client(&[&certificate], b"http/1.1")?,
            http2: client(&[&certificate], b"h2")?,
            certificate,
        })
    }
}

/// A client that takes these certificates only, speaks this protocol only, and never resumes a session.
pub(crate) fn client(expected: &[&CertificateDer<'static>], protocol: &[u8]) -> Result<Arc<ClientConfig>> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256];
    provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
    let provider = Arc::new(provider);
    let only = Only {
        expected: expected.iter().map(|&certificate| certificate.clone()).collect(),
        provider: Arc::clone(&provider),
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(only))
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Accepts known certificates, byte for byte, and believes its signatures: the load generator's time is not the subject's,
/// and nobody is between them on loopback.
#[derive(Debug)]
struct Only {
    expected: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Only {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.expected.contains(end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
