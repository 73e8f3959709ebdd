//! What belongs to one worker thread and is handed to everything that runs on it.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::telemetry::access_log::AccessLog;
use crate::telemetry::metrics::Metrics;
use crate::time::Clock;

/// One worker: its number, its metrics, its clock, its end of the access log.
///
/// Shared by reference with every task of the worker; each field is written by that worker only.
#[derive(Debug)]
pub struct Worker {
    /// 0-based; also the number of its shard in each backend's pool.
    pub index: usize,
    /// The worker's own counters.
    pub metrics: Metrics,
    /// Where wall time comes from.
    pub clock: Clock,
    /// Where finished exchanges are written.
    pub access_log: AccessLog,
    /// State of the generator of ids (splitmix64); seeded by the system.
    ids: AtomicU64,
}

impl Worker {
    /// A worker with fresh counters.
    pub fn new(index: usize, clock: Clock, access_log: AccessLog) -> Arc<Self> {
        Arc::new(Self {
            index,
            metrics: Metrics::default(),
            clock,
            access_log,
        })
    }
}
