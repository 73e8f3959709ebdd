//! What is counted per server, for metrics and for the handshake health of legs 2 and 3.
//!
//! Shared by all workers, so with locked instructions: two per exchange, the rest only for connects and failures.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::pool::Level;
use super::resolve::SocketAddrOrUnix;
use super::standing::ServerState;
use crate::http::origin_error::OriginError;
use crate::kernel::connects::{ConnectCounts, ConnectOutcome};
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
    /// Whether it is asked, or why not.
    pub state: ServerState,
    /// Where it is connected to, as resolved last.
    pub addresses: Vec<SocketAddrOrUnix>,
    /// Why its name could not be resolved again, where that failed last; `addresses` are the last good ones then.
    pub resolve_error: Option<String>,
    /// Times a request was tried on it.
    pub attempts: u64,
    /// Those of them that took an idle connection.
    pub reused: u64,
    /// Attempts that gave no response, or one that broke off, by error; `word()` is the label.
    pub failures: Vec<(OriginError, u64)>,
    /// Connections that were established.
    pub connects: u64,
    /// How long that took: counts per bucket, not cumulative.
    pub connect_buckets: [u64; CONNECT_BUCKETS],
    /// How long that took in all, in microseconds.
    pub connect_sum_micros: u64,
    /// SYNs that had to be sent again for them (`TCP_INFO` `tcpi_total_retrans`); `None` when it is not known.
    pub retransmitted_syns: Option<u64>,
    /// TLS handshakes that were made: full ones, and those that resumed a session; `None` where TLS is not spoken.
    pub tls_handshakes: Option<(u64, u64)>,
    /// How its TCP connects ended, per address tried; for the handshake health.
    pub handshakes: ConnectCounts,
    /// How often it came into each state.
    pub changes: Vec<(ServerState, u64)>,
    /// How often its name could not be resolved again.
    pub unresolved: u64,
    /// How long the last look-up of its name took, its failure too; `None` where it has none, or none was looked up yet.
    pub look_up_time: Option<Duration>,
}

/// The counters of one server.
#[derive(Debug, Default)]
pub(super) struct Stats {
    attempts: AtomicU64,
    reused: AtomicU64,
    connects: AtomicU64,
    connect_buckets: [AtomicU64; CONNECT_BUCKETS],
    connect_sum_micros: AtomicU64,
    tls_full: AtomicU64,
    tls_resumed: AtomicU64,
    /// Few kinds occur, and seldom: a short list.
    failures: Mutex<Vec<(OriginError, u64)>>,
    retransmitted_syns: Mutex<Option<u64>>,
    handshakes: Mutex<ConnectCounts>,
    changes: [AtomicU64; ServerState::ALL.len()],
    blamed: AtomicU64,
    unresolved: AtomicU64,
    look_up_time: Mutex<Option<Duration>>,
}

/// What only the server itself knows of its present state.
#[derive(Debug)]
pub(super) struct Present {
    pub(super) address: Arc<str>,
    pub(super) is_tls: bool,
    pub(super) level: Level,
    pub(super) state: ServerState,
    pub(super) addresses: Vec<SocketAddrOrUnix>,
    pub(super) resolve_error: Option<String>,
}

impl Stats {
    /// Nothing was counted: it is another server from now on.
    pub(super) fn forget(&self) {
        let single = [
            &self.attempts,
            &self.reused,
            &self.connects,
            &self.connect_sum_micros,
            &self.tls_full,
            &self.tls_resumed,
            &self.blamed,
            &self.unresolved,
        ];
        for counter in single.into_iter().chain(&self.connect_buckets).chain(&self.changes) {
            counter.store(0, Ordering::Relaxed);
        }
        self.failures.lock().clear();
        *self.retransmitted_syns.lock() = None;
        *self.handshakes.lock() = ConnectCounts::default();
        *self.look_up_time.lock() = None;
    }

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

    pub(super) fn secured(&self, is_resumed: bool) {
        let kind = if is_resumed { &self.tls_resumed } else { &self.tls_full };
        kind.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failed(&self, error: OriginError) {
        let mut failures = self.failures.lock();
        match failures.iter_mut().find(|(known, _)| *known == error) {
            Some((_, count)) => *count += 1,
            None => failures.push((error, 1)),
        }
    }

    /// Counts the end of one TCP connect, to one address.
    pub(super) fn handshake(&self, outcome: ConnectOutcome) {
        self.handshakes.lock().record(outcome);
    }

    /// Counts that the server came into `state`.
    pub(super) fn entered(&self, state: ServerState) {
        self.changes[state as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a failure that is the server's, bad statuses included.
    pub(super) fn blamed(&self) {
        self.blamed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn blamed_so_far(&self) -> u64 {
        self.blamed.load(Ordering::Relaxed)
    }

    /// Counts that its name could not be resolved again.
    pub(super) fn unresolved(&self) {
        self.unresolved.fetch_add(1, Ordering::Relaxed);
    }

    /// Its name was looked up.
    pub(super) fn looked_up(&self, took: Duration) {
        *self.look_up_time.lock() = Some(took);
    }

    pub(super) fn attempts(&self) -> u64 {
        self.attempts.load(Ordering::Relaxed)
    }

    pub(super) fn snapshot(&self, present: Present) -> ServerSnapshot {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let level = present.level;
        ServerSnapshot {
            address: present.address,
            busy: level.busy,
            idle: level.idle,
            waiting: level.waiting,
            state: present.state,
            addresses: present.addresses,
            resolve_error: present.resolve_error,
            attempts: value(&self.attempts),
            reused: value(&self.reused),
            failures: self.failures.lock().clone(),
            connects: value(&self.connects),
            connect_buckets: self.connect_buckets.each_ref().map(value),
            connect_sum_micros: value(&self.connect_sum_micros),
            retransmitted_syns: *self.retransmitted_syns.lock(),
            tls_handshakes: present
                .is_tls
                .then(|| (value(&self.tls_full), value(&self.tls_resumed))),
            handshakes: *self.handshakes.lock(),
            changes: ServerState::ALL
                .iter()
                .map(|state| (*state, value(&self.changes[*state as usize])))
                .collect(),
            unresolved: value(&self.unresolved),
            look_up_time: *self.look_up_time.lock(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn present(level: Level) -> Present {
        Present {
            address: "a:1".into(),
            is_tls: false,
            level,
            state: ServerState::Up,
            addresses: Vec::new(),
            resolve_error: None,
        }
    }

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
        stats.entered(ServerState::Ejected);
        stats.handshake(ConnectOutcome::Refused);
        let shown = stats.snapshot(present(level));
        assert_eq!((shown.busy, shown.idle, shown.waiting), (1, 2, 3));
        assert_eq!((shown.handshakes.attempts, shown.handshakes.refused), (1, 1));
        let changed: Vec<_> = shown.changes.iter().filter(|(_, times)| *times > 0).collect();
        assert_eq!(changed, [&(ServerState::Ejected, 1)]);
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
            stats.snapshot(present(level)).retransmitted_syns
        };
        stats.connected(Duration::ZERO, None);
        assert_eq!(known(&stats), None);
        stats.connected(Duration::ZERO, Some(0));
        assert_eq!(known(&stats), Some(0));
        stats.connected(Duration::ZERO, Some(2));
        assert_eq!(known(&stats), Some(2));
    }
}
