//! The certificates of one `[tls.NAME]`, reloaded when their files change, and what its handshakes share.
//!
//! Reading files is for the start and for a thread of its own; handshakes only load a pointer.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, cipher_suite};

use super::acceptor::TlsAcceptor;
use super::certificate::{self, Certificate, CertificateError, EXPIRY_WARNING};
use super::choice::{Resolver, Table};
use super::clients::{self, ClientCaError};
use super::settings::{ClientCertificates, TlsSettings};
use crate::net::pace::LogGate;
use crate::time::WallTime;

/// One `[tls.NAME]` as it runs.
#[derive(Debug)]
pub struct TlsContext {
    pub(super) settings: TlsSettings,
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) resolver: Arc<Resolver>,
    /// Handshakes that run.
    pub(super) running: AtomicUsize,
    /// Keeps failures from filling the log.
    pub(super) failures: Mutex<LogGate>,
    watched: Mutex<Watched>,
    reloads: AtomicU64,
    reload_failures: AtomicU64,
}

/// Why TLS cannot be spoken.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Certificates cannot be used; all of them are told.
    #[error("{}", list(.0))]
    Certificates(Vec<CertificateError>),
    /// The authorities of clients cannot be used.
    #[error(transparent)]
    Clients(#[from] ClientCaError),
    /// The library refuses the settings.
    #[error("tls.{name}: {source}")]
    Library {
        /// The settings' name.
        name: String,
        /// What it said.
        source: rustls::Error,
    },
}

/// What the files looked like when they were last read.
#[derive(Debug)]
struct Watched {
    stamps: Vec<Option<Stamp>>,
    /// When expiry was last warned about.
    warned: Option<WallTime>,
}

/// A file without its content: what changes when somebody writes or replaces it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    modified: Option<SystemTime>,
    inode: u64,
    bytes: u64,
}

impl TlsContext {
    /// Reads the certificates.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn load(settings: TlsSettings, now: WallTime) -> Result<Arc<Self>, TlsError> {
        let provider = Arc::new(provider());
        // Before reading: what changes meanwhile is then seen as a change.
        let stamps = stamps(&settings);
        let table = read(&settings, &provider, now).map_err(TlsError::Certificates)?;
        let context = Self {
            provider,
            resolver: Arc::new(Resolver(ArcSwap::from_pointee(table))),
            running: AtomicUsize::new(0),
            failures: Mutex::default(),
            watched: Mutex::new(Watched { stamps, warned: None }),
            reloads: AtomicU64::new(0),
            reload_failures: AtomicU64::new(0),
            settings,
        };
        context.warn_of_expiry(now);
        Ok(Arc::new(context))
    }

    /// What a listener makes handshakes with; `clients` says which certificates it asks for.
    ///
    /// # Errors
    /// The file of authorities cannot be used, or the library refuses the settings.
    pub fn acceptor(
        self: &Arc<Self>,
        http2: bool,
        clients: Option<&ClientCertificates>,
    ) -> Result<TlsAcceptor, TlsError> {
        let verifier = clients
            .map(|clients| clients::verifier(clients, &self.provider))
            .transpose()?;
        TlsAcceptor::new(Arc::clone(self), http2, verifier).map_err(|source| TlsError::Library {
            name: self.settings.name.clone(),
            source,
        })
    }

    /// Reads the certificates again when one of their files has changed; a bad one leaves all as they were.
    ///
    /// Reads files: never on a worker. Connections that are open keep what they have.
    pub fn reload_if_changed(&self, now: WallTime) {
        let stamps = stamps(&self.settings);
        let is_changed = {
            let mut watched = self.watched.lock();
            let is_changed = watched.stamps != stamps;
            watched.stamps = stamps;
            is_changed
        };
        if is_changed {
            self.reload(now);
        }
        self.warn_of_expiry(now);
    }

    fn reload(&self, now: WallTime) {
        let tls = &*self.settings.name;
        match read(&self.settings, &self.provider, now) {
            Ok(table) => {
                self.resolver.0.store(Arc::new(table));
                self.reloads.fetch_add(1, Ordering::Relaxed);
                tracing::info!(tls, "certificates reloaded");
            }
            Err(errors) => {
                self.reload_failures.fetch_add(1, Ordering::Relaxed);
                let error = list(&errors);
                tracing::error!(tls, %error, "changed certificates cannot be used; the old ones stay");
            }
        }
    }

    /// Once a day, for each certificate that has little time left.
    fn warn_of_expiry(&self, now: WallTime) {
        let mut watched = self.watched.lock();
        if watched.warned.is_some_and(|last| now.saturating_since(last) < DAY) {
            return;
        }
        watched.warned = Some(now);
        for certificate in self
            .certificates()
            .filter(|certificate| certificate.left(now) < EXPIRY_WARNING)
        {
            let (file, expires) = (certificate.file.display(), certificate.not_after.http_date());
            tracing::warn!(tls = %self.settings.name, %file, %expires, "a certificate expires soon");
        }
    }

    /// The settings.
    pub fn settings(&self) -> &TlsSettings {
        &self.settings
    }

    /// The certificates that are in use.
    pub fn certificates(&self) -> impl Iterator<Item = Certificate> + use<> {
        let table = self.resolver.0.load_full();
        (0..table.certificates.len()).map(move |index| table.certificates[index].clone())
    }

    /// How often changed files were taken over, and how often they could not be used.
    pub fn reloads(&self) -> (u64, u64) {
        (
            self.reloads.load(Ordering::Relaxed),
            self.reload_failures.load(Ordering::Relaxed),
        )
    }

    /// Handshakes that run now.
    pub fn handshakes(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }
}

/// The library's cryptography, with the cipher suites in our order.
pub(super) fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    // AES-128 first: the key schedule of TLS_AES_256_GCM_SHA384 needs SHA-512 blocks, for which CPUs have no
    // instructions; measured at a fifth of a handshake. Nobody breaks AES-128.
    let first = [
        cipher_suite::TLS13_AES_128_GCM_SHA256,
        cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ];
    provider.cipher_suites.sort_by_key(|suite| !first.contains(suite));
    provider
}

fn read(settings: &TlsSettings, provider: &CryptoProvider, now: WallTime) -> Result<Table, Vec<CertificateError>> {
    let mut certificates = Vec::with_capacity(settings.certificates.len());
    let mut errors = Vec::new();
    for files in &settings.certificates {
        match certificate::load_stapled(files, provider, now) {
            Ok(certificate) => certificates.push(certificate),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() {
        Ok(Table::new(certificates, settings.unknown_name))
    } else {
        Err(errors)
    }
}

fn stamps(settings: &TlsSettings) -> Vec<Option<Stamp>> {
    let files = settings.certificates.iter();
    files
        .flat_map(|entry| {
            let staple = entry.ocsp.as_deref().and_then(stamp);
            [stamp(&entry.files.certificate), stamp(&entry.files.key), staple]
        })
        .collect()
}

/// What a file looks like now; `None` where there is none.
pub(super) fn stamp(file: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(file).ok()?;
    Some(Stamp {
        modified: metadata.modified().ok(),
        inode: metadata.ino(),
        bytes: metadata.len(),
    })
}

fn list(errors: &[CertificateError]) -> String {
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

const DAY: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    use super::super::settings::{CertificateFiles, ServerCertificate, TlsVersion, UnknownName};
    use super::super::testing::Made;
    use super::*;

    const NOW: WallTime = WallTime::from_unix_secs(1_790_000_000);

    fn settings(certificates: Vec<CertificateFiles>) -> TlsSettings {
        TlsSettings {
            name: "test".to_owned(),
            certificates: certificates
                .into_iter()
                .map(|files| ServerCertificate { files, ocsp: None })
                .collect(),
            unknown_name: UnknownName::Default,
            min_version: TlsVersion::Tls12,
            session_tickets: true,
            handshake_timeout: Duration::from_secs(10),
            handshakes_max: 16,
            reload_every: Duration::from_secs(5),
        }
    }

    fn names(context: &TlsContext) -> Vec<String> {
        context
            .certificates()
            .flat_map(|certificate| certificate.names)
            .collect()
    }

    #[test]
    fn changed_files_are_taken_over_and_bad_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let files = Made::valid(&["old.example"]).write(folder.path(), "a");
        let context = TlsContext::load(settings(vec![files.clone()]), NOW).unwrap();
        context.reload_if_changed(NOW);
        assert_eq!(
            (names(&context), context.reloads()),
            (vec!["old.example".to_owned()], (0, 0))
        );

        fs::write(&files.certificate, "garbage").unwrap();
        context.reload_if_changed(NOW);
        context.reload_if_changed(NOW);
        assert_eq!(
            (names(&context), context.reloads()),
            (vec!["old.example".to_owned()], (0, 1)),
            "tried once"
        );

        Made::valid(&["much-newer.example"]).write(folder.path(), "a");
        context.reload_if_changed(NOW);
        assert_eq!(
            (names(&context), context.reloads()),
            (vec!["much-newer.example".to_owned()], (1, 1))
        );
    }

    #[test]
    fn all_bad_certificates_are_told_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let old = |name: &str| Made::ecdsa(&["a.example"], (2020, 1, 1), (2021, 1, 1)).write(folder.path(), name);
        let error = TlsContext::load(settings(vec![old("one"), old("two")]), NOW)
            .unwrap_err()
            .to_string();
        assert!(error.contains("one.pem") && error.contains("two.pem"), "{error}");
    }
}
