//! What is counted per server, for metrics and for the handshake health of legs 2 and 3.
//!
//! Shared by all workers, so with locked instructions: two per exchange, the rest only for connects and failures.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::pool::Level;
use crate::http::origin_error::OriginError;
use crate::telemetry::metrics::BUCKETS_MICROS;

/// Buckets of connect times: those of [`BUCKETS_MICROS`], and one for what took longer.
pub const CONNECT_BUCKETS: usize = BUCKETS_MICROS.len() + 1;

/// One server at one moment. Counts are since the start of the process.
#[derive(Clone, Debug)]
pub struct ServerSnapshot {
    /// The server as configured.
    pub address: Arc<str>,
    /// Requests that hold, or are just making, a connection.
    pub busy: usize,
    /// Connections kept for later requests.
    pub idle: usize,
    /// Requests in line for a connection.
    pub waiting: usize,
    /// Whether it is skipped just now because it did not take a connection.
    pub in_penalty: bool,
    /// Times a request was tried on it.
    pub attempts: u64,
    /// Those of them that took an idle connection.
    pub reused: u64,
    /// Attempts that gave no response, by error; `word()` is the label. Bodies that failed later are not among them.
    pub failures: Vec<(OriginError, u64)>,
    /// Connections that were established.
    pub connects: u64,
    /// How long that took: counts per bucket, not cumulative.
    pub connect_buckets: [u64; CONNECT_BUCKETS],
    /// How long that took in all, in microseconds.
    pub connect_sum_micros: u64,
    /// SYNs that had to be sent again for them (`TCP_INFO` `tcpi_total_retrans`); `None` when it is not known.
    pub retransmitted_syns: Option<u64>,
}

/// The counters of one server.
#[derive(Debug, Default)]
pub(super) struct Stats {
    attempts: AtomicU64,
    reused: AtomicU64,
    connects: AtomicU64,
    connect_buckets: [AtomicU64; CONNECT_BUCKETS],
    connect_sum_micros: AtomicU64,
    /// Few kinds occur, and seldom: a short list.
    failures: Mutex<Vec<(OriginError, u64)>>,
    retransmitted_syns: Mutex<Option<u64>>,
}

impl Stats {
    pub(super) fn attempt(&self) {
        self.attempts.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn reused(&self) {
        self.reused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn connected(&self, took: Duration, retransmitted_syns: Option<u32>) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_MICROS.partition_point(|bound| *bound < micros);
        self.connect_buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.connect_sum_micros.fetch_add(micros, Ordering::Relaxed);
        self.connects.fetch_add(1, Ordering::Relaxed);
        if let Some(more) = retransmitted_syns {
            let mut sum = self.retransmitted_syns.lock();
            *sum = Some(sum.unwrap_or(0) + u64::from(more));
        }
    }

    pub(super) fn failed(&self, error: OriginError) {
        let mut failures = self.failures.lock();
        match failures.iter_mut().find(|(known, _)| *known == error) {
            Some((_, count)) => *count += 1,
            None => failures.push((error, 1)),
        }
    }

    pub(super) fn snapshot(&self, address: Arc<str>, level: Level, in_penalty: bool) -> ServerSnapshot {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ServerSnapshot {
            address,
            busy: level.busy,
            idle: level.idle,
            waiting: level.waiting,
            in_penalty,
            attempts: value(&self.attempts),
            reused: value(&self.reused),
            failures: self.failures.lock().clone(),
            connects: value(&self.connects),
            connect_buckets: self.connect_buckets.each_ref().map(value),
            connect_sum_micros: value(&self.connect_sum_micros),
            retransmitted_syns: *self.retransmitted_syns.lock(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_adds_up_what_was_counted() {
        let stats = Stats::default();
        stats.attempt();
        stats.attempt();
        stats.reused();
        for error in [
            OriginError::ConnectionRefused,
            OriginError::ConnectionTimeout,
            OriginError::ConnectionRefused,
        ] {
            stats.failed(error);
        }
        stats.connected(Duration::from_micros(50), None);
        stats.connected(Duration::from_micros(51), None);
        stats.connected(Duration::from_secs(60), None);
        let level = Level {
            busy: 1,
            idle: 2,
            waiting: 3,
        };
        let shown = stats.snapshot("a:1".into(), level, true);
        assert_eq!(
            (shown.busy, shown.idle, shown.waiting, shown.in_penalty),
            (1, 2, 3, true)
        );
        assert_eq!((shown.attempts, shown.reused, shown.connects), (2, 1, 3));
        assert_eq!(
            shown.failures,
            [(OriginError::ConnectionRefused, 2), (OriginError::ConnectionTimeout, 1)]
        );
        assert_eq!(
            shown.connect_buckets[..3],
            [1, 1, 0],
            "a bound belongs to its own bucket"
        );
        assert_eq!(shown.connect_buckets[CONNECT_BUCKETS - 1], 1);
        assert_eq!(shown.connect_sum_micros, 60_000_101);
    }

    #[test]
    fn retransmitted_syns_are_unknown_until_the_kernel_has_told_of_one_connection() {
        let stats = Stats::default();
        let known = |stats: &Stats| {
            let level = Level {
                busy: 0,
                idle: 0,
                waiting: 0,
            };
            stats.snapshot("a:1".into(), level, false).retransmitted_syns
        };
        stats.connected(Duration::ZERO, None);
        assert_eq!(known(&stats), None);
        stats.connected(Duration::ZERO, Some(0));
        assert_eq!(known(&stats), Some(0));
        stats.connected(Duration::ZERO, Some(2));
        assert_eq!(known(&stats), Some(2));
    }
}
