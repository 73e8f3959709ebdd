//! Which keys are asked for so often that more than one server is to hold them. Called by `send` where
//! `hot_key_servers` says so.
//!
//! A table of counters that keys share: where two keys meet in both of a key's counters, the colder one may be taken for
//! hot, which costs a few more fetches of it. Halved each half second by the control thread, so that the count of a key
//! that is asked for evenly comes to between half a second's and a second's worth of requests.

use std::sync::atomic::{AtomicU32, Ordering};

use super::standing::mix;

/// Counters; a power of two. 64 KiB per backend.
const SLOTS: usize = 1 << 14;

/// How often keys were asked for lately, by this process.
#[derive(Debug)]
pub(super) struct HotKeys {
    counts: Box<[AtomicU32]>,
    /// Requests per second that make a key hot.
    rate: u32,
}

impl HotKeys {
    pub(super) fn new(rate: u32) -> Self {
        Self {
            counts: (0..SLOTS).map(|_| AtomicU32::new(0)).collect(),
            rate,
        }
    }

    /// Counts one request for `key`; whether it is hot.
    pub(super) fn count(&self, key: u64) -> bool {
        let counted = |slot: u64| {
            let slot = usize::try_from(slot).unwrap_or(0) & (SLOTS - 1);
            self.counts[slot].fetch_add(1, Ordering::Relaxed)
        };
        let other = mix(key);
        counted(key).min(counted(other)) >= self.rate / 2
    }

    /// Half a second is over.
    pub(super) fn halve(&self) {
        for count in &self.counts {
            // What is counted in between may be lost, which a rate does not notice.
            count.store(count.load(Ordering::Relaxed) / 2, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_hot_while_it_is_asked_for_more_often_than_the_rate() {
        let hot = HotKeys::new(100);
        let half_second = |requests: usize| {
            let was_hot = (0..requests).filter(|_| hot.count(7)).count();
            hot.halve();
            was_hot
        };
        for _ in 0..10 {
            assert_eq!(half_second(24), 0);
        }
        assert!(half_second(150) >= 100);
        assert_eq!(half_second(150), 150, "it stays hot");
        for _ in 0..5 {
            half_second(5);
        }
        assert_eq!(half_second(5), 0, "and cools down");
    }

    #[test]
    fn cold_keys_are_not_taken_for_hot_beside_a_thousand_others() {
        let hot = HotKeys::new(100);
        let keys: Vec<u64> = (0..1000_u64)
            .map(|i| mix(i.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
            .collect();
        for _ in 0..20 {
            assert!(keys.iter().all(|key| !hot.count(*key)));
        }
    }
}
