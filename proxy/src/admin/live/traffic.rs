//! What the workers have counted, summed at one moment, and what follows from the difference of two moments.
//!
//! Pure but for reading the counters. Latencies are estimates: they are known to the bucket only.

use common::telemetry::metrics::{BUCKETS_MICROS, Counter, Histogram, Metrics};

/// Status classes, as they are counted.
pub const CLASSES: [(&str, Counter); 5] = [
    ("1xx", Counter::Responses1xx),
    ("2xx", Counter::Responses2xx),
    ("3xx", Counter::Responses3xx),
    ("4xx", Counter::Responses4xx),
    ("5xx", Counter::Responses5xx),
];

/// Requests that the cache might have answered and did not: what its configuration or the method excludes is not counted.
const MISSES: [Counter; 4] = [
    Counter::CacheUriMiss,
    Counter::CacheVaryMiss,
    Counter::CacheRequest,
    Counter::CacheStale,
];

/// Sums over all workers: since the start of the process, or between two moments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Final responses by status class, in the order of [`CLASSES`].
    pub classes: [u64; CLASSES.len()],
    /// Answered from the store.
    pub hits: u64,
    /// Not answered from the store, although they might have been.
    pub misses: u64,
    /// Connections taken from accept queues.
    pub accepted: u64,
    /// Bytes from clients.
    pub bytes_received: u64,
    /// Bytes to clients.
    pub bytes_sent: u64,
    /// Requests by how long they took; see [`BUCKETS_MICROS`].
    pub buckets: [u64; BUCKETS_MICROS.len() + 1],
}

impl Traffic {
    /// Sums these workers.
    pub fn of<'a>(workers: impl IntoIterator<Item = &'a Metrics>) -> Self {
        let mut sum = Self::default();
        for metrics in workers {
            for (class, (_, counter)) in sum.classes.iter_mut().zip(CLASSES) {
                *class += metrics.get(counter);
            }
            sum.hits += metrics.get(Counter::CacheHit);
            sum.misses += MISSES.iter().map(|miss| metrics.get(*miss)).sum::<u64>();
            sum.accepted += metrics.get(Counter::ConnectionsAccepted);
            sum.bytes_received += metrics.get(Counter::BytesReceived);
            sum.bytes_sent += metrics.get(Counter::BytesSent);
            let (buckets, _) = metrics.buckets(Histogram::RequestSeconds);
            for (total, count) in sum.buckets.iter_mut().zip(buckets) {
                *total += count;
            }
        }
        sum
    }

    /// What came to pass after `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            classes: std::array::from_fn(|i| self.classes[i].saturating_sub(earlier.classes[i])),
            hits: self.hits.saturating_sub(earlier.hits),
            misses: self.misses.saturating_sub(earlier.misses),
            accepted: self.accepted.saturating_sub(earlier.accepted),
            bytes_received: self.bytes_received.saturating_sub(earlier.bytes_received),
            bytes_sent: self.bytes_sent.saturating_sub(earlier.bytes_sent),
            buckets: std::array::from_fn(|i| self.buckets[i].saturating_sub(earlier.buckets[i])),
        }
    }

    /// Final responses of any class.
    pub fn requests(&self) -> u64 {
        self.classes.iter().sum()
    }

    /// The part of what the cache might have answered that it did answer; `None` when nobody asked it.
    pub fn hit_ratio(&self) -> Option<f64> {
        let asked = self.hits + self.misses;
        (asked > 0).then(|| common::kernel::sockstat::ratio(self.hits, asked))
    }

    /// The time in seconds within which the fraction `part` of the requests was answered; `None` when there was none.
    ///
    /// Within a bucket requests are taken to be spread evenly. What is above the last bound is given as that bound.
    pub fn latency(&self, part: f64) -> Option<f64> {
        let all: u64 = self.buckets.iter().sum();
        let wanted = float(all) * part;
        let mut below = 0;
        let mut lower = 0;
        for (count, upper) in self.buckets.iter().zip(BUCKETS_MICROS) {
            if *count > 0 && float(below + count) >= wanted {
                let into = (wanted - float(below)) / float(*count);
                return Some((float(lower) + into * float(upper - lower)) / 1e6);
            }
            below += count;
            lower = upper;
        }
        (all > 0).then(|| float(lower) / 1e6)
    }
}

#[expect(clippy::cast_precision_loss, reason = "an estimate for people, not an account")]
fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn after(micros: &[u64]) -> Traffic {
        let metrics = Metrics::default();
        for micros in micros {
            metrics.observe(Histogram::RequestSeconds, Duration::from_micros(*micros));
        }
        Traffic::of([&metrics])
    }

    #[test]
    fn latencies_are_interpolated_within_their_bucket() {
        for (micros, part, expected) in [
            (&[][..], 0.5, None),
            (&[60], 1.0, Some(100e-6)),
            (&[60, 60], 0.5, Some(75e-6)),
            (&[10, 700, 700, 700], 0.25, Some(50e-6)),
            (&[10, 700, 700, 700], 1.0, Some(1e-3)),
            (&[60_000_000], 0.5, Some(30.0)),
        ] {
            let found = after(micros).latency(part);
            let is_near = match (found, expected) {
                (Some(found), Some(expected)) => (found - expected).abs() < 1e-9,
                (found, expected) => found == expected,
            };
            assert!(is_near, "{micros:?} {part}: {found:?} instead of {expected:?}");
        }
    }

    #[test]
    fn the_hit_ratio_leaves_out_what_the_cache_may_not_answer() {
        let metrics = Metrics::default();
        assert_eq!(Traffic::of([&metrics]).hit_ratio(), None);
        metrics.add(Counter::CacheBypass, 10);
        metrics.add(Counter::CacheMethod, 10);
        assert_eq!(Traffic::of([&metrics]).hit_ratio(), None);
        metrics.add(Counter::CacheHit, 3);
        metrics.add(Counter::CacheStale, 1);
        assert_eq!(Traffic::of([&metrics]).hit_ratio(), Some(0.75));
    }

    #[test]
    fn workers_are_summed_and_the_past_is_subtracted() {
        let (one, two) = (Metrics::default(), Metrics::default());
        one.add(Counter::Responses2xx, 2);
        let before = Traffic::of([&one, &two]);
        two.add(Counter::Responses5xx, 3);
        two.add(Counter::BytesSent, 9);
        let change = Traffic::of([&one, &two]).since(&before);
        assert_eq!((change.requests(), change.classes[4], change.bytes_sent), (3, 3, 9));
    }
}
