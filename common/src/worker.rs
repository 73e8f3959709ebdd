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
        let seed = RandomState::new().hash_one(index);
        Arc::new(Self {
            index,
            metrics: Metrics::default(),
            clock,
            access_log,
            ids: AtomicU64::new(seed),
        })
    }

    /// The next id: never twice on this worker, and unlikely to meet another worker's or process's.
    pub fn next_id(&self) -> u64 {
        let state = self.ids.load(Ordering::Relaxed).wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.ids.store(state, Ordering::Relaxed);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
