//! Which clients a listener demands certificates of: a file of authorities → rustls' verifier (RFC 5280, by webpki).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use super::certificate::{self, CertificateError};

/// Why a file of authorities cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClientCaError {
    /// It cannot be read, or has no certificate.
    #[error("{0}")]
    File(#[from] CertificateError),
    /// One of them is no authority.
    #[error("{}: {what}", file.display())]
    Content {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        what: String,
    },
}

/// Demands a certificate that one of the authorities in `file` has signed.
///
/// # Errors
/// The file cannot be used.
pub(super) fn verifier(
    file: &Path,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, ClientCaError> {
    let bad = |what: String| ClientCaError::Content {
        file: file.to_owned(),
        what,
    };
    let mut authorities = RootCertStore::empty();
    for authority in certificate::chain(file)? {
        authorities
            .add(authority)
            .map_err(|error| bad(format!("a certificate is malformed: {error}")))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), Arc::clone(provider))
        .build()
        .map_err(|error| bad(error.to_string()))
}
