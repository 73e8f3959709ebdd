//! Which certificates a listener demands of clients: a file of authorities → rustls' verifier (RFC 5280, by webpki); and
//! what origins are told about the one that a client has shown. No revocation lists.

use std::sync::Arc;

use http::HeaderValue;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use super::certificate;
use super::file::{self, FileError};
use super::settings::{ClientCertificates, ClientDemand};
use super::subject;

/// Bytes of a subject that origins are told; a longer one is left out.
const SUBJECT_MAX: usize = 2048;

/// Takes certificates that one of the authorities has signed.
///
/// # Errors
/// The file cannot be used.
pub(super) fn verifier(
    clients: &ClientCertificates,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, FileError> {
    let file = &clients.authorities;
    let bad = |what: String| file::content(file, what);
    let mut authorities = RootCertStore::empty();
    for authority in certificate::chain(file)? {
        let malformed = |error| bad(format!("a certificate is malformed: {error}"));
        authorities.add(authority).map_err(malformed)?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), Arc::clone(provider));
    let builder = match clients.demand {
        ClientDemand::Required => builder,
        ClientDemand::Optional => builder.allow_unauthenticated(),
    };
    builder.build().map_err(|error| bad(error.to_string()))
}

/// What origins are told about a certificate that was verified: an Item of RFC 9651, such as
/// `verified;subject="CN=bob,O=Example"`, whose subject is written as RFC 4514 has it.
pub(super) fn told(leaf: &CertificateDer<'_>) -> HeaderValue {
    let subject = subject::of(leaf).filter(|subject| subject.len() <= SUBJECT_MAX);
    let value = subject.and_then(|subject| {
        // "\" and DQUOTE are the two characters that a String escapes (RFC 9651 §3.3.3).
        let escaped = subject.replace('\\', r"\\").replace('"', r#"\""#);
        HeaderValue::try_from(format!("verified;subject=\"{escaped}\"")).ok()
    });
    value.unwrap_or_else(|| HeaderValue::from_static("verified"))
}
