//! What belongs to one worker thread and is handed to everything that runs on it.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::telemetry::access_log::AccessLog;
use crate::telemetry::metrics::Metrics;
use crate::time::{Anchor, Clock, MonoTime, WallTime, mono_now};

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
    anchor: Anchor,
    /// Where finished exchanges are written.
    pub access_log: AccessLog,
    /// Whether it runs.
    pub pulse: Pulse,
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
            anchor: Anchor::new(&clock),
            clock,
            access_log,
            pulse: Pulse::new(mono_now()),
            ids: AtomicU64::new(seed),
        })
    }

    /// The wall time at a moment of now or not long ago, for what happens once per request: it reads no clock.
    pub fn wall_at(&self, at: MonoTime) -> WallTime {
        match &self.clock {
            Clock::System => self.anchor.wall_at(at),
            Clock::Manual(_) => self.clock.wall(),
        }
    }

    /// Called by the worker's tick: from now on [`Self::wall_at`] goes by what the clocks show now.
    pub fn compare_clocks(&self) {
        self.anchor.compare(&self.clock);
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

/// When a worker's loop last went round, and the longest time in which it did not: a worker that stands still accepts
/// nothing. It beats itself; whoever looks at the kernel asks.
#[derive(Debug)]
pub struct Pulse {
    began: MonoTime,
    /// Nanoseconds from `began` to the last beat; 0 before the first one.
    last: AtomicU64,
    /// Nanoseconds between two beats, the most since somebody asked.
    longest: AtomicU64,
}

impl Pulse {
    /// Before the first beat.
    fn new(began: MonoTime) -> Self {
        Self {
            began,
            last: AtomicU64::new(0),
            longest: AtomicU64::new(0),
        }
    }

    /// The loop goes round now.
    pub fn beat(&self, now: MonoTime) {
        let now = self.nanos(now);
        let last = self.last.swap(now, Ordering::Relaxed);
        if last > 0 {
            self.longest.fetch_max(now.saturating_sub(last), Ordering::Relaxed);
        }
    }

    /// The longest time without a beat since this was last asked, one that goes on included; nothing before the first.
    pub fn longest_gap(&self, now: MonoTime) -> Duration {
        let longest = self.longest.swap(0, Ordering::Relaxed);
        let since = match self.last.load(Ordering::Relaxed) {
            0 => 0,
            last => self.nanos(now).saturating_sub(last),
        };
        Duration::from_nanos(longest.max(since))
    }

    fn nanos(&self, now: MonoTime) -> u64 {
        let since = now.saturating_duration_since(self.began);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_gap_is_told_once_and_one_that_goes_on_each_time() {
        let start = mono_now();
        let pulse = Pulse::new(start);
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(pulse.longest_gap(at(5000)), Duration::ZERO, "it has not begun");
        for beat in [5000, 5100, 6400, 6500] {
            pulse.beat(at(beat));
        }
        assert_eq!(pulse.longest_gap(at(6510)), Duration::from_millis(1300));
        assert_eq!(pulse.longest_gap(at(6520)), Duration::from_millis(20));
        assert_eq!(pulse.longest_gap(at(9500)), Duration::from_secs(3), "it stands still");
    }
}
