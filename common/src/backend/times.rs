//! Times in buckets of a quarter of an octave: what a median, or any percentile, of many is taken from.
//!
//! One relaxed addition per observation; readers take the difference of two readings. Kept only where settings ask for it
//! (ejection by latency, hedging).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// 26 octaves from one microsecond: 67 seconds; what took longer is in the last one.
const BUCKETS: usize = 26 * PARTS;
/// Buckets per octave.
const PARTS: usize = 4;

/// The times of one server, since the process started.
#[derive(Debug)]
pub(super) struct Times([AtomicU64; BUCKETS]);

/// How many times were in each bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Counts([u64; BUCKETS]);

impl Default for Times {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; _])
    }
}

impl Default for Counts {
    fn default() -> Self {
        Self([0; BUCKETS])
    }
}

impl Times {
    pub(super) fn observe(&self, took: Duration) {
        self.0[bucket(took)].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn forget(&self) {
        for count in &self.0 {
            count.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn counts(&self) -> Counts {
        Counts(self.0.each_ref().map(|count| count.load(Ordering::Relaxed)))
    }
}

impl Counts {
    /// What has been added since `earlier`.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i].saturating_sub(earlier.0[i])))
    }

    /// Both together.
    pub(super) fn plus(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] + other.0[i]))
    }

    pub(super) fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The time that `percent` of all stayed below, up to a fifth too long; `None` when there are none.
    pub(super) fn percentile(&self, percent: u32) -> Option<Duration> {
        let wanted = (u128::from(self.total()) * u128::from(percent)).div_ceil(100).max(1);
        let mut below = 0;
        let found = self.0.iter().position(|count| {
            below += u128::from(*count);
            below >= wanted
        });
        found.map(bound)
    }
}

fn bucket(took: Duration) -> usize {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
    let octave = micros.ilog2();
    // The two bits after the first one.
    let part = ((u128::from(micros) << 2) >> octave) & 3;
    let index = octave as usize * PARTS + usize::try_from(part).unwrap_or(0);
    index.min(BUCKETS - 1)
}

/// The end of a bucket.
fn bound(bucket: usize) -> Duration {
    let (octave, part) = (bucket / PARTS, bucket % PARTS);
    let quarters = (1_u64 << octave) * (PARTS + part + 1) as u64;
    Duration::from_micros(quarters.div_ceil(PARTS as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_lies_in_a_bucket_whose_end_is_at_most_a_quarter_later() {
        for micros in (0..2000).chain([10_000, 123_456, 1_000_000, 30_000_000, 60_000_000]) {
            let end = bound(bucket(Duration::from_micros(micros)));
            let micros = u128::from(micros.max(1));
            assert!(end.as_micros() >= micros, "{micros} µs: {end:?}");
            assert!(end.as_micros() <= micros * 5 / 4 + 1, "{micros} µs: {end:?}");
        }
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_those_of_what_came_since() {
        let times = Times::default();
        for _ in 0..1000 {
            times.observe(Duration::from_secs(9));
        }
        let before = times.counts();
        for i in 1..=100 {
            times.observe(Duration::from_millis(i));
        }
        let new = times.counts().since(&before);
        assert_eq!(new.total(), 100);
        for (percent, millis) in [(1, 1), (50, 50), (95, 95), (100, 100)] {
            let found = new.percentile(percent).unwrap().as_secs_f64() * 1e3;
            let exact = f64::from(millis);
            assert!((exact..=exact * 1.25).contains(&found), "{percent} %: {found} ms");
        }
        assert_eq!(new.since(&new).percentile(50), None);
        assert_eq!(before.plus(&new), times.counts());
    }
}
