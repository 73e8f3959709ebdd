//! Two PEM files → a certificate with its key, checked against each other and against the date.
//!
//! Called by `context`, at the start and whenever the files change.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, SignatureAlgorithm};

use super::file::{FileError, content, read};
use super::settings::{CertificateFiles, ServerCertificate};
use super::x509;
use crate::time::WallTime;

/// From this long before its end a certificate is warned about.
pub const EXPIRY_WARNING: Duration = Duration::from_secs(14 * 24 * 3600);

/// A certificate that can be used.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// Where it was read.
    pub file: PathBuf,
    /// The DNS names that it is for, lower case; wildcards as `*.rest`.
    pub names: Vec<String>,
    /// Its last second.
    pub not_after: WallTime,
    /// Chain and key.
    pub(super) key: Arc<CertifiedKey>,
}

/// Why a certificate cannot be used. The file to look at is named first.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read, or does not hold what it should.
    #[error(transparent)]
    File(#[from] FileError),
    /// The key belongs to another certificate.
    #[error("{}: is not the key of the certificate in {}", key.display(), certificate.display())]
    Mismatch {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
    },
    /// It is no longer valid.
    #[error("{}: the certificate has expired on {}", file.display(), at.http_date())]
    Expired {
        /// The certificate's file.
        file: PathBuf,
        /// Its end.
        at: WallTime,
    },
    /// It is not yet valid.
    #[error("{}: the certificate is valid from {} only", file.display(), from.http_date())]
    NotYet {
        /// The certificate's file.
        file: PathBuf,
        /// Its begin.
        from: WallTime,
    },
}

/// Reads a server's certificate and its key and checks them.
///
/// # Errors
/// What is wrong with which file.
pub fn load(
    files: &CertificateFiles,
    provider: &CryptoProvider,
    now: WallTime,
) -> Result<Certificate, CertificateError> {
    let certificate = load_pair(files, provider, now)?;
    if certificate.names.is_empty() {
        let what = "the certificate is for no DNS name (subject alternative name)";
        return Err(content(&files.certificate, what).into());
    }
    Ok(certificate)
}

/// The same, with the OCSP response that goes with it.
pub(super) fn load_stapled(
    entry: &ServerCertificate,
    provider: &CryptoProvider,
    now: WallTime,
) -> Result<Certificate, CertificateError> {
    let mut certificate = load(&entry.files, provider, now)?;
    if let Some(file) = &entry.ocsp {
        let response = read(file)?;
        if !x509::is_ocsp_answer(&response) {
            return Err(content(file, "is no successful OCSP response in DER").into());
        }
        let mut key = CertifiedKey::clone(&certificate.key);
        key.ocsp = Some(response);
        certificate.key = Arc::new(key);
    }
    Ok(certificate)
}

/// Reads a certificate that may be for no DNS name: a client's.
pub(super) fn load_any(
    files: &CertificateFiles,
    provider: &CryptoProvider,
    now: WallTime,
) -> Result<CertifiedKey, CertificateError> {
    load_pair(files, provider, now).map(|certificate| CertifiedKey::clone(&certificate.key))
}

fn load_pair(
    files: &CertificateFiles,
    provider: &CryptoProvider,
    now: WallTime,
) -> Result<Certificate, CertificateError> {
    let chain = chain(&files.certificate)?;
    let bad = |what: String| CertificateError::from(content(&files.certificate, what));
    let facts = chain.first().and_then(|leaf| x509::facts(leaf));
    let facts = facts.ok_or_else(|| bad("the certificate is malformed".to_owned()))?;
    if facts.not_after < now {
        return Err(CertificateError::Expired {
            file: files.certificate.clone(),
            at: facts.not_after,
        });
    }
    if facts.not_before > now {
        return Err(CertificateError::NotYet {
            file: files.certificate.clone(),
            from: facts.not_before,
        });
    }
    let key = key(&files.key)?;
    let key = CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => CertificateError::Mismatch {
            key: files.key.clone(),
            certificate: files.certificate.clone(),
        },
        rustls::Error::InvalidCertificate(error) => bad(format!("the certificate is malformed: {error}")),
        other => content(&files.key, format!("the key cannot be used: {other}")).into(),
    })?;
    Ok(Certificate {
        file: files.certificate.clone(),
        names: facts.names,
        not_after: facts.not_after,
        key: Arc::new(key),
    })
}

impl Certificate {
    /// Whether its key makes ECDSA (or Ed25519) signatures, which cost a server a tenth of RSA's.
    pub(super) fn is_fast(&self) -> bool {
        self.key.key.algorithm() != SignatureAlgorithm::RSA
    }

    /// Time until it expires; zero when it has.
    pub fn left(&self, now: WallTime) -> Duration {
        self.not_after.saturating_since(now)
    }
}

/// All certificates of a PEM file; at least one.
pub(super) fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let text = read(file)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(content(file, "holds no certificate in PEM")),
        Ok(chain) => Ok(chain),
        Err(error) => Err(content(file, format!("is not PEM: {error}"))),
    }
}

fn key(file: &Path) -> Result<PrivateKeyDer<'static>, FileError> {
    let text = read(file)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => {
            content(file, "holds no private key in PEM (an encrypted one cannot be used)")
        }
        other => content(file, format!("is not PEM: {other}")),
    })
}

#[cfg(test)]
mod tests {
    use rustls::crypto::aws_lc_rs::default_provider;

    use super::super::testing::Made;
    use super::*;

    const NOW: WallTime = WallTime::from_unix_secs(1_790_000_000); // 2026-09

    #[test]
    fn a_certificate_and_its_key_are_read_whatever_the_kind_of_key() {
        let folder = tempfile::tempdir().unwrap();
        for (made, fast) in [(Made::valid(&["a.example"]), true), (Made::rsa(&["a.example"]), false)] {
            let certificate = load(&made.write(folder.path(), "a"), &default_provider(), NOW).unwrap();
            assert_eq!(
                (certificate.is_fast(), &certificate.names[..]),
                (fast, &["a.example".to_owned()][..])
            );
        }
    }

    #[test]
    fn an_ocsp_response_is_stapled_and_anything_else_refused() {
        let folder = tempfile::tempdir().unwrap();
        let staple = folder.path().join("a.ocsp");
        let entry = ServerCertificate {
            files: Made::valid(&["a.example"]).write(folder.path(), "a"),
            ocsp: Some(staple.clone()),
        };
        let load = || load_stapled(&entry, &default_provider(), NOW);
        assert!(load().unwrap_err().to_string().contains("a.ocsp: No such file"));
        // OCSPResponse (RFC 6960 §4.2.1): the status, then the bytes of a response of some type.
        let good = [48, 13, 10, 1, 0, 160, 8, 48, 6, 6, 1, 42, 4, 1, 0];
        let mut try_later = good;
        try_later[4] = 3;
        for bad in [
            &b"-----BEGIN"[..],
            &[],
            &[48, 3, 10, 1, 6],
            &try_later,
            &good[..14],
            &[&good[..], b"\n"].concat(),
        ] {
            std::fs::write(&staple, bad).unwrap();
            let error = load().unwrap_err().to_string();
            assert!(
                error.contains("a.ocsp: is no successful OCSP response in DER"),
                "{bad:?}: {error}"
            );
        }
        std::fs::write(&staple, good).unwrap();
        assert_eq!(load().unwrap().key.ocsp.as_deref(), Some(&good[..]));
    }

    #[test]
    fn what_is_wrong_is_told_with_the_file_that_is_to_be_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let good = Made::valid(&["a.example"]).write(folder.path(), "good");
        let other = Made::valid(&["a.example"]).write(folder.path(), "other");
        let old = Made::ecdsa(&["a.example"], (2020, 1, 1), (2021, 1, 1)).write(folder.path(), "old");
        let coming = Made::ecdsa(&["a.example"], (2090, 1, 1), (2091, 1, 1)).write(folder.path(), "coming");
        let nameless = Made::valid(&[]).write(folder.path(), "nameless");
        let pair = |certificate: &CertificateFiles, key: &CertificateFiles| CertificateFiles {
            certificate: certificate.certificate.clone(),
            key: key.key.clone(),
        };
        let swapped = CertificateFiles {
            certificate: good.key.clone(),
            key: good.certificate.clone(),
        };
        let missing = CertificateFiles {
            certificate: folder.path().join("missing.pem"),
            key: good.key.clone(),
        };
        for (files, named, what) in [
            (pair(&good, &other), "other.key", "is not the key of the certificate in"),
            (old, "old.pem", "has expired on Fri, 01 Jan 2021"),
            (coming, "coming.pem", "is valid from Sun, 01 Jan 2090"),
            (nameless, "nameless.pem", "is for no DNS name"),
            (swapped, "good.key", "holds no certificate"),
            (
                pair(
                    &good,
                    &CertificateFiles {
                        key: good.certificate.clone(),
                        ..good.clone()
                    },
                ),
                "good.pem",
                "holds no private key",
            ),
            (missing, "missing.pem", "No such file"),
        ] {
            let error = load(&files, &default_provider(), NOW).unwrap_err().to_string();
            let (file, rest) = error.split_once(": ").unwrap();
            assert!(file.ends_with(named) && rest.contains(what), "{error}");
        }
    }
}
