//! One server of a backend: what it is called, where it is, its connections, and what is counted of it.
//!
//! A server found by a service (see `services`) has a place that may become another server's; all others stay what they are.
//! What picking knows of it is its `Standing`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::{Mutex, RwLock};

use super::connect::Addresses;
use super::pool::Pool;
use super::resolve::SocketAddrOrUnix;
use super::secure::Security;
use super::settings::{BackendSettings, ServerAddress, ServerSettings};
use super::standing::ServerState;
use super::stats::{Present, ServerSnapshot, Stats};
use super::times::Times;

#[derive(Debug)]
pub(super) struct Server {
    name: Name,
    /// The line of the settings that it stands for.
    pub(super) line: usize,
    pub(super) addresses: Addresses,
    pub(super) pool: Arc<Pool>,
    pub(super) stats: Stats,
    /// Times to the response head, where ejection or hedging wants them.
    pub(super) times: Option<Box<Times>>,
    /// Failures since the last success.
    pub(super) failures_in_a_row: AtomicU32,
    /// Why its name could not be resolved again, last time.
    pub(super) resolve_error: Mutex<Option<String>>,
}

/// What a server is called.
#[derive(Debug)]
enum Name {
    /// As configured.
    Configured(Arc<str>),
    /// As its service says; empty: nobody is there yet.
    Found(RwLock<Arc<str>>),
}

impl Server {
    /// The server that line `line` of the settings stands for, or one place of its service.
    pub(super) fn new(
        settings: &BackendSettings,
        line: usize,
        addresses: Vec<SocketAddrOrUnix>,
        workers: usize,
    ) -> Self {
        let ServerSettings { address, is_tls, .. } = &settings.servers[line];
        let wants_times = settings.ejection.latency_factor > 0 || settings.hedge_percentile > 0;
        Self {
            name: match address {
                ServerAddress::Service(_) => Name::Found(RwLock::new("".into())),
                configured => Name::Configured(configured.to_string().into()),
            },
            line,
            addresses: Addresses::new(addresses, *is_tls),
            pool: Arc::new(Pool::new(settings, workers)),
            stats: Stats::default(),
            times: wants_times.then(Box::default),
            failures_in_a_row: AtomicU32::new(0),
            resolve_error: Mutex::default(),
        }
    }

    pub(super) fn name(&self) -> Arc<str> {
        match &self.name {
            Name::Configured(name) => Arc::clone(name),
            Name::Found(name) => Arc::clone(&name.read()),
        }
    }

    /// Becomes another server, of which nothing has been counted; only where nothing runs on it.
    pub(super) fn rename(&self, name: &str, addresses: Vec<SocketAddrOrUnix>) {
        let Name::Found(known) = &self.name else {
            debug_assert!(false, "a configured server stays what it is");
            return;
        };
        *known.write() = name.into();
        self.pool.retire();
        self.addresses.replace(addresses);
        self.stats.forget();
        if let Some(times) = &self.times {
            times.forget();
        }
        self.failures_in_a_row.store(0, Ordering::Relaxed);
        *self.resolve_error.lock() = None;
    }

    pub(super) fn snapshot(&self, state: ServerState) -> ServerSnapshot {
        self.stats.snapshot(Present {
            address: self.name(),
            is_tls: !matches!(self.addresses.security, Security::Plain),
            level: self.pool.level(),
            state,
            addresses: self.addresses.all().to_vec(),
            resolve_error: self.resolve_error.lock().clone(),
        })
    }
}
