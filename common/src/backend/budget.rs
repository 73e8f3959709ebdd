//! How many requests may be sent again at once, so that an outage is not multiplied. Called by `send`.
//!
//! A share of the requests in flight, and a few per second in any case, so that a quiet backend has its retries too.
//! Costs nothing while no request fails.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// Retries per second that are allowed in any case; as many may come at once.
const FLOOR_PER_SECOND: f64 = 3.0;

/// The budget of one backend.
#[derive(Debug)]
pub(super) struct Budget {
    percent: usize,
    /// Requests that are being sent again.
    retrying: AtomicUsize,
    floor: Mutex<Floor>,
}

#[derive(Debug)]
struct Floor {
    left: f64,
    at: Duration,
}

/// One request that is being sent again; counted off in `Drop`.
#[derive(Debug)]
pub(super) struct Retry<'a>(&'a Budget);

impl Budget {
    pub(super) fn new(percent: u32) -> Self {
        Self {
            percent: usize::try_from(percent).unwrap_or(usize::MAX),
            retrying: AtomicUsize::new(0),
            floor: Mutex::new(Floor {
                left: FLOOR_PER_SECOND,
                at: Duration::ZERO,
            }),
        }
    }

    /// The leave to send one more request again while `in_flight` requests are being answered; `None`: none is left.
    pub(super) fn take(&self, in_flight: usize, now: Duration) -> Option<Retry<'_>> {
        let most = in_flight.saturating_mul(self.percent) / 100;
        let room = |retrying| (retrying < most).then_some(retrying + 1);
        let is_within = self
            .retrying
            .try_update(Ordering::Relaxed, Ordering::Relaxed, room)
            .is_ok();
        if !is_within {
            if !self.floor.lock().take(now) {
                return None;
            }
            self.retrying.fetch_add(1, Ordering::Relaxed);
        }
        Some(Retry(self))
    }
}

impl Floor {
    fn take(&mut self, now: Duration) -> bool {
        let since = now.saturating_sub(self.at).as_secs_f64();
        self.left = (self.left + since * FLOOR_PER_SECOND).min(FLOOR_PER_SECOND);
        self.at = self.at.max(now);
        let is_left = self.left >= 1.0;
        if is_left {
            self.left -= 1.0;
        }
        is_left
    }
}

impl Drop for Retry<'_> {
    fn drop(&mut self) {
        self.0.retrying.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    #[test]
    fn retries_are_a_share_of_what_is_in_flight_and_a_few_per_second_in_any_case() {
        let budget = Budget::new(20);
        let many: Vec<_> = (0..100).map_while(|_| budget.take(50, NOW)).collect();
        assert_eq!(many.len(), 10 + 3, "a fifth of 50, and the floor");
        drop(many);
        let again: Vec<_> = (0..100).map_while(|_| budget.take(50, NOW)).collect();
        assert_eq!(again.len(), 10, "what has ended counts no more, the floor is spent");
        drop(again);
        assert!(budget.take(0, NOW).is_none());
        assert!(
            budget.take(0, NOW + Duration::from_millis(400)).is_some(),
            "the floor fills again"
        );
        assert!(budget.take(0, NOW + Duration::from_millis(400)).is_none());
        let later: Vec<_> = (0..100)
            .map_while(|_| budget.take(4, NOW + Duration::from_secs(60)))
            .collect();
        assert_eq!(
            later.len(),
            3,
            "four in flight have no fifth; the floor does not pile up"
        );
    }
}
