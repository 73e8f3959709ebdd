//! One open connection's place: in the process's limit, in its worker's drain, and in the counters.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::drain::Drain;
use super::limits::{ConnectionLimit, Shed};
use super::service::CloseReason;
use super::source::Source;
use crate::telemetry::metrics::Counter;
use crate::worker::Worker;

/// What all connections of one worker share.
#[derive(Debug)]
pub(super) struct Floor {
    pub(super) worker: Arc<Worker>,
    pub(super) drain: Drain,
    pub(super) limit: Arc<ConnectionLimit>,
    /// Clients that are being told why they are not let in.
    pub(super) away: AtomicUsize,
    /// Connections taken so far, the shed ones included; written by this worker only.
    taken: AtomicU64,
}

/// The place of one open connection, held by the task that serves it.
///
/// INVARIANT: from the moment a connection is let in until its task ended, however it ended (finished, panicked, cut),
/// there is exactly one of it; so the limit, the drain and accepted − closed are always right.
#[derive(Debug)]
#[must_use = "dropping it means that the connection ended"]
pub struct Seat {
    floor: Arc<Floor>,
    close: Option<CloseReason>,
    /// Who it is counted for, where that is counted.
    source: Option<Source>,
}

impl Floor {
    pub(super) fn new(worker: Arc<Worker>, limit: Arc<ConnectionLimit>) -> Arc<Self> {
        Arc::new(Self {
            worker,
            drain: Drain::new(),
            limit,
            away: AtomicUsize::new(0),
            taken: AtomicU64::new(0),
        })
    }

    /// Counts one connection as accepted; its number, unique in this process.
    pub(super) fn next_id(&self) -> u64 {
        self.worker.metrics.count(Counter::ConnectionsAccepted);
        let number = self.taken.load(Ordering::Relaxed) + 1;
        self.taken.store(number, Ordering::Relaxed);
        ((self.worker.index as u64) << WORKER_SHIFT) | number
    }

    /// Counts a connection that was accepted and is not served.
    pub(super) fn shed(&self, reason: Shed) {
        self.worker.metrics.count(reason.counter());
        self.worker.metrics.count(Counter::ConnectionsClosed);
    }

    /// A seat for a connection from `peer` that was accepted; without one it is to be closed at once.
    pub(super) fn seat(self: &Arc<Self>, peer: Option<IpAddr>) -> Result<Seat, Shed> {
        let source = self.limit.take(peer).inspect_err(|reason| self.shed(*reason))?;
        self.drain.entered();
        Ok(Seat {
            floor: Arc::clone(self),
            close: None,
            source,
        })
    }
}

impl Seat {
    /// The drain that the connection has to heed.
    pub fn drain(&self) -> &Drain {
        &self.floor.drain
    }

    /// The connection is this client's, as was said after it had been let in; it is counted for him from now on.
    ///
    /// # Errors
    /// He has as many as he may have.
    pub(super) fn belongs_to(&mut self, client: IpAddr) -> Result<(), CloseReason> {
        let limit = &self.floor.limit;
        let source = limit.enter(client).map_err(|reason| {
            self.floor.worker.metrics.count(reason.counter());
            CloseReason::SourceLimit
        })?;
        limit.left(std::mem::replace(&mut self.source, source));
        Ok(())
    }

    /// The connection ended for a reason of its own.
    pub fn leave(mut self, reason: CloseReason) {
        self.close = Some(reason);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let metrics = &self.floor.worker.metrics;
        let reason = self.close.unwrap_or_else(|| {
            if std::thread::panicking() {
                tracing::error!(
                    worker = self.floor.worker.index,
                    "a connection's task panicked; the connection was cut"
                );
                CloseReason::ResponseFailed
            } else {
                // Nobody drops a connection's task but the end of its worker.
                CloseReason::Drain
            }
        });
        metrics.count(counter(reason));
        metrics.count(Counter::ConnectionsClosed);
        self.floor.limit.give_back(self.source);
        self.floor.drain.left();
    }
}

/// The counter of a close reason.
const fn counter(reason: CloseReason) -> Counter {
    match reason {
        CloseReason::Client => Counter::CloseClient,
        CloseReason::IdleTimeout => Counter::CloseIdle,
        CloseReason::HeaderTimeout => Counter::CloseHeaderTimeout,
        CloseReason::BodyTimeout => Counter::CloseBodyTimeout,
        CloseReason::SendTimeout => Counter::CloseSendTimeout,
        CloseReason::Malformed => Counter::CloseMalformed,
        CloseReason::Requested => Counter::CloseRequested,
        CloseReason::RequestsMax => Counter::CloseRequestsMax,
        CloseReason::Drain => Counter::CloseDrain,
        CloseReason::ResponseFailed => Counter::CloseResponseFailed,
        CloseReason::UnreadBody => Counter::CloseUnread,
        CloseReason::Reset => Counter::CloseReset,
        CloseReason::Handshake => Counter::CloseHandshake,
        CloseReason::Upgraded => Counter::CloseUpgraded,
        CloseReason::ProxyHeader => Counter::CloseProxyHeader,
        CloseReason::SourceLimit => Counter::CloseSourceLimit,
    }
}

/// 65,536 workers with 2^48 connections each.
const WORKER_SHIFT: u32 = 48;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::access_log::AccessLog;
    use crate::time::Clock;

    fn floor(index: usize, limit: &Arc<ConnectionLimit>) -> Arc<Floor> {
        let worker = Worker::new(index, Clock::default(), AccessLog::default());
        Floor::new(worker, Arc::clone(limit))
    }

    #[test]
    fn connection_ids_of_different_workers_never_meet() {
        let limit = Arc::new(ConnectionLimit::new(1));
        let ids: Vec<_> = [floor(0, &limit), floor(1, &limit)]
            .iter()
            .flat_map(|floor| [floor.next_id(), floor.next_id()])
            .collect();
        assert_eq!(ids, [1, 2, (1 << 48) | 1, (1 << 48) | 2]);
    }

    #[test]
    fn every_close_reason_has_the_counter_of_its_word() {
        for reason in [
            CloseReason::Client,
            CloseReason::IdleTimeout,
            CloseReason::HeaderTimeout,
            CloseReason::BodyTimeout,
            CloseReason::SendTimeout,
            CloseReason::Malformed,
            CloseReason::Requested,
            CloseReason::RequestsMax,
            CloseReason::Drain,
            CloseReason::ResponseFailed,
            CloseReason::UnreadBody,
            CloseReason::Reset,
            CloseReason::Upgraded,
            CloseReason::ProxyHeader,
            CloseReason::SourceLimit,
        ] {
            let labels = counter(reason).descriptor().labels;
            assert_eq!(labels, format!("reason=\"{}\"", reason.word()));
        }
    }

    #[test]
    fn a_seat_gives_everything_back_however_it_ends() {
        let limit = Arc::new(ConnectionLimit::new(1));
        let floor = floor(0, &limit);
        let metrics = &floor.worker.metrics;
        type End = fn(Seat);
        let ends: [(End, Counter); 3] = [
            (|seat| seat.leave(CloseReason::Client), Counter::CloseClient),
            (drop, Counter::CloseDrain),
            (
                |seat| {
                    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                        let _seat = seat;
                        panic!("as a connection's task might");
                    }));
                    assert!(unwound.is_err());
                },
                Counter::CloseResponseFailed,
            ),
        ];
        for (i, (end, counter)) in ends.into_iter().enumerate() {
            let seat = floor.seat(None).unwrap();
            assert!(floor.seat(None).is_err(), "the limit is one");
            assert_eq!((limit.open(), floor.drain.open()), (1, 1));
            end(seat);
            assert_eq!((limit.open(), floor.drain.open()), (0, 0));
            assert_eq!(metrics.get(counter), 1);
            let done = i as u64 + 1;
            assert_eq!(metrics.get(Counter::ShedConnections), done);
            assert_eq!(metrics.get(Counter::ConnectionsClosed), 2 * done);
        }
    }
}
