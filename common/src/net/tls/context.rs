//! The certificates of one `[tls.NAME]`, reloaded when their files change, and what its handshakes share.
//!
//! Reading files is for the start and for a thread of its own; handshakes only load a pointer.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, cipher_suite};

use super::acceptor::TlsAcceptor;
use super::certificate::{self, Certificate, EXPIRY_WARNING};
use super::choice::{Resolver, Table};
use super::file::FileError;
use super::settings::{ClientCertificates, TlsSettings};
use super::tickets::TicketKeys;
use crate::net::pace::LogGate;
use crate::net::reload::{FileSet, Occasion, Reload, Reloaded};
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
    /// Keys of session tickets, where they are in files.
    pub(super) tickets: Option<Arc<TicketKeys>>,
    files: FileSet,
    /// When expiry was last warned about.
    warned: Mutex<Option<WallTime>>,
}

/// Why TLS cannot be spoken.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Files of certificates or keys cannot be used; all of them are told.
    #[error("{}", .0.join("\n"))]
    Files(Vec<String>),
    /// The authorities of clients cannot be used.
    #[error(transparent)]
    Clients(#[from] FileError),
    /// The library refuses the settings.
    #[error("tls.{name}: {source}")]
    Library {
        /// The settings' name.
        name: String,
        /// What it said.
        source: rustls::Error,
    },
}

impl TlsContext {
    /// Reads the certificates.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn load(settings: TlsSettings, now: WallTime) -> Result<Arc<Self>, TlsError> {
        let provider = Arc::new(provider());
        let files = FileSet::new("certificates", &settings.name, files(&settings));
        let tickets = match &settings.ticket_keys[..] {
            [] => Ok(None),
            files => TicketKeys::load(&settings.name, files).map(|keys| Some(Arc::new(keys))),
        };
        let (table, tickets) = match (read(&settings, &provider, now), tickets) {
            (Ok(table), Ok(tickets)) => (table, tickets),
            (table, tickets) => {
                let of_tickets = tickets.err().map(|error| error.to_string());
                let wrong = table.err().into_iter().flatten().chain(of_tickets);
                return Err(TlsError::Files(wrong.collect()));
            }
        };
        let context = Self {
            provider,
            resolver: Arc::new(Resolver(ArcSwap::from_pointee(table))),
            running: AtomicUsize::new(0),
            failures: Mutex::default(),
            tickets,
            files,
            warned: Mutex::new(None),
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
    ) -> Result<Arc<TlsAcceptor>, TlsError> {
        TlsAcceptor::load(Arc::clone(self), http2, clients.cloned()).map(Arc::new)
    }

    /// Once a day, for each certificate that has little time left.
    fn warn_of_expiry(&self, now: WallTime) {
        let mut warned = self.warned.lock();
        if warned.is_some_and(|last| now.saturating_since(last) < DAY) {
            return;
        }
        *warned = Some(now);
        for certificate in self.expiring(now) {
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

    /// Those that end within 14 days.
    pub fn expiring(&self, now: WallTime) -> impl Iterator<Item = Certificate> + use<> {
        self.certificates()
            .filter(move |certificate| certificate.left(now) < EXPIRY_WARNING)
    }

    /// Keys of session tickets, where they are in files.
    pub fn ticket_keys(&self) -> Option<&TicketKeys> {
        self.tickets.as_deref()
    }

    /// How often files were taken over, and how often they could not be used.
    pub fn reloads(&self) -> (u64, u64) {
        let counts = self.file_sets().into_iter().map(FileSet::counts);
        counts.fold((0, 0), |sum, of| (sum.0 + of.0, sum.1 + of.1))
    }

    /// Handshakes that run now.
    pub fn handshakes(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }
}

impl Reload for TlsContext {
    /// Connections that are open keep what they have.
    fn reload(&self, occasion: Occasion, now: WallTime) -> Vec<Reloaded> {
        let read = || read(&self.settings, &self.provider, now).map_err(TlsError::Files);
        let take = |table| self.resolver.0.store(Arc::new(table));
        let certificates = self.files.read_again(occasion, read, take);
        let tickets = self.tickets.as_ref().and_then(|keys| keys.reload(occasion));
        self.warn_of_expiry(now);
        certificates.into_iter().chain(tickets).collect()
    }

    fn file_sets(&self) -> Vec<&FileSet> {
        let tickets = self.tickets.iter().map(|keys| keys.file_set());
        std::iter::once(&self.files).chain(tickets).collect()
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

fn read(settings: &TlsSettings, provider: &CryptoProvider, now: WallTime) -> Result<Table, Vec<String>> {
    let mut certificates = Vec::with_capacity(settings.certificates.len());
    let mut errors = Vec::new();
    for files in &settings.certificates {
        match certificate::load_stapled(files, provider, now) {
            Ok(certificate) => certificates.push(certificate),
            Err(error) => errors.push(error.to_string()),
        }
    }
    if errors.is_empty() {
        Ok(Table::new(certificates, settings.unknown_name))
    } else {
        Err(errors)
    }
}

fn files(settings: &TlsSettings) -> Vec<PathBuf> {
    let entries = settings.certificates.iter();
    entries
        .flat_map(|entry| {
            let pair = [&entry.files.certificate, &entry.files.key];
            pair.into_iter().chain(&entry.ocsp).cloned()
        })
        .collect()
}

const DAY: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    use super::super::settings::{CertificateFiles, ServerCertificate, TlsVersion, UnknownName};
    use std::fs;

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
            ticket_keys: Vec::new(),
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
        let reload = |occasion| context.reload(occasion, NOW).len();
        assert_eq!(reload(Occasion::Change), 0);
        assert_eq!(
            (names(&context), context.reloads()),
            (vec!["old.example".to_owned()], (0, 0))
        );

        fs::write(&files.certificate, "garbage").unwrap();
        assert_eq!((reload(Occasion::Change), reload(Occasion::Change)), (1, 0));
        assert_eq!(
            (names(&context), context.reloads()),
            (vec!["old.example".to_owned()], (0, 1)),
            "tried once"
        );
        let told = context.reload(Occasion::Order, NOW);
        assert!(told[0].kept.as_ref().unwrap().contains("a.pem"), "{told:?}");

        Made::valid(&["much-newer.example"]).write(folder.path(), "a");
        reload(Occasion::Change);
        assert_eq!(
            (names(&context), context.reloads()),
            (vec!["much-newer.example".to_owned()], (1, 2))
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
