//! How slow a server is: an exponentially weighted mean that jumps to every peak at once and forgets it slowly.
//!
//! Two relaxed atomics, not one lock: two workers that observe at the same moment may lose one observation, which a mean
//! does not notice.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// After this long an observation has lost 63 % of its say.
const DECAY: Duration = Duration::from_secs(10);

/// The latency of one server.
#[derive(Debug, Default)]
pub(super) struct Latency {
    /// The mean in microseconds, as the bits of an `f64`; zero: nothing was observed.
    mean: AtomicU64,
    /// When it was observed last, in microseconds since the backend was made.
    at: AtomicU64,
}

impl Latency {
    /// Notes that a response took this long.
    pub(super) fn observe(&self, took: Duration, now: Duration) {
        let took = took.as_secs_f64() * 1e6;
        let kept = self.kept(now);
        let before = f64::from_bits(self.mean.load(Ordering::Relaxed));
        let mean = if took >= before {
            took
        } else {
            before * kept + took * (1.0 - kept)
        };
        self.mean.store(mean.max(1.0).to_bits(), Ordering::Relaxed);
        self.at.store(micros(now), Ordering::Relaxed);
    }

    /// Nothing was observed.
    pub(super) fn forget(&self) {
        self.mean.store(0, Ordering::Relaxed);
    }

    /// The mean in microseconds; `None` when nothing was observed. Without observations it sinks, so that a server that
    /// was slow is asked again.
    pub(super) fn mean(&self, now: Duration) -> Option<f64> {
        let mean = f64::from_bits(self.mean.load(Ordering::Relaxed));
        (mean > 0.0).then(|| (mean * self.kept(now)).max(1.0))
    }

    /// How much the last observation still says.
    fn kept(&self, now: Duration) -> f64 {
        let since = Duration::from_micros(micros(now).saturating_sub(self.at.load(Ordering::Relaxed)));
        (-since.as_secs_f64() / DECAY.as_secs_f64()).exp()
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn mean_ms(latency: &Latency, now: Duration) -> f64 {
        latency.mean(now).unwrap() / 1e3
    }

    #[test]
    fn a_peak_counts_at_once_and_is_forgotten_slowly() {
        let latency = Latency::default();
        assert_eq!(latency.mean(secs(1)), None);
        latency.observe(Duration::from_millis(10), secs(1));
        assert!((mean_ms(&latency, secs(1)) - 10.0).abs() < 0.01);
        latency.observe(secs(1), secs(2));
        assert!((mean_ms(&latency, secs(2)) - 1000.0).abs() < 0.01, "at once");
        latency.observe(Duration::from_millis(10), secs(2));
        assert!(
            mean_ms(&latency, secs(2)) > 999.0,
            "one good one in the same moment does not excuse it"
        );
        latency.observe(Duration::from_millis(10), secs(12));
        let after_one_decay = mean_ms(&latency, secs(12));
        assert!(
            (after_one_decay - (1000.0 * 0.3679 + 10.0 * 0.6321)).abs() < 1.0,
            "{after_one_decay}"
        );
    }

    #[test]
    fn many_observations_within_a_moment_count_as_much_as_few() {
        let (few, many) = (Latency::default(), Latency::default());
        for latency in [&few, &many] {
            latency.observe(secs(1), secs(1));
        }
        for i in 1..=100 {
            few.observe(Duration::from_millis(1), secs(1) + Duration::from_millis(100 * i));
        }
        for i in 1..=100_000 {
            many.observe(Duration::from_millis(1), secs(1) + Duration::from_micros(100 * i));
        }
        let (few, many) = (mean_ms(&few, secs(11)), mean_ms(&many, secs(11)));
        assert!((few - many).abs() < 1.0, "{few} {many}");
    }

    #[test]
    fn a_server_that_is_not_asked_is_thought_better_of() {
        let latency = Latency::default();
        latency.observe(secs(10), secs(1));
        assert!(mean_ms(&latency, secs(101)) < 1.0);
    }
}
