//! Keys that were invalidated (RFC 9111 §4.4) while something of them was being fetched, or while slices of them are stored.
//!
//! What is stored whole is removed at once. A fetch under way, and slices, of which nobody knows how many there are, are
//! reached as by purges: an invalidation is a number in a sequence, and whatever began before it is held against it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::policy::key::KeyHash;

/// Keys that are remembered one by one. Of more, the older half is forgotten, and so is everything that began before them.
const KEYS_MAX: usize = 65_536;

/// The invalidations of a store.
#[derive(Debug, Default)]
pub(crate) struct Invalidated {
    latest: AtomicU64,
    /// For fetches under way: every invalidation.
    fetches: RwLock<Records>,
    /// For slices: those of keys that are sliced, so that many others do not make them forgotten.
    slices: RwLock<Records>,
}

/// The number of the latest invalidation of each key.
#[derive(Debug, Default)]
struct Records {
    by_key: HashMap<u64, u64>,
    /// What is no longer known by key was at the latest this one.
    forgotten: u64,
}

impl Invalidated {
    /// The number of the latest invalidation; 0 before the first.
    pub(crate) fn latest(&self) -> u64 {
        self.latest.load(Ordering::Acquire)
    }

    /// Invalidates what is being fetched of `key`, and its slices where it has some.
    pub(crate) fn note(&self, key: KeyHash, is_sliced: bool) {
        let mut fetches = self.fetches.write();
        let number = self.latest.load(Ordering::Relaxed) + 1;
        fetches.note(key, number);
        if is_sliced {
            self.slices.write().note(key, number);
        }
        // INVARIANT: whoever sees the number finds the record.
        self.latest.store(number, Ordering::Release);
    }

    /// The latest invalidation that concerns fetches of `key`; 0: none.
    pub(crate) fn of_fetches(&self, key: KeyHash) -> u64 {
        self.of(&self.fetches, key)
    }

    /// The latest invalidation that concerns slices of `key`; 0: none.
    pub(crate) fn of_slices(&self, key: KeyHash) -> u64 {
        self.of(&self.slices, key)
    }

    fn of(&self, records: &RwLock<Records>, key: KeyHash) -> u64 {
        if self.latest() == 0 {
            return 0;
        }
        let records = records.read();
        records.by_key.get(&key.0).copied().unwrap_or(records.forgotten)
    }
}

impl Records {
    fn note(&mut self, key: KeyHash, number: u64) {
        self.by_key.insert(key.0, number);
        if self.by_key.len() > KEYS_MAX {
            let mut numbers: Vec<u64> = self.by_key.values().copied().collect();
            let middle = numbers.len() / 2;
            self.forgotten = *numbers.select_nth_unstable(middle).1;
            self.by_key.retain(|_, number| *number > self.forgotten);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_its_own_latest_number_and_slices_have_fewer() {
        let invalidated = Invalidated::default();
        let (one, two, three) = (KeyHash(1), KeyHash(2), KeyHash(3));
        assert_eq!(invalidated.of_fetches(one), 0);
        for (key, is_sliced) in [(one, false), (two, true), (one, false)] {
            invalidated.note(key, is_sliced);
        }
        assert_eq!(invalidated.latest(), 3);
        assert_eq!([one, two, three].map(|key| invalidated.of_fetches(key)), [3, 2, 0]);
        assert_eq!([one, two, three].map(|key| invalidated.of_slices(key)), [0, 2, 0]);
    }

    #[test]
    fn what_is_forgotten_counts_as_invalidated_and_never_as_valid() {
        let invalidated = Invalidated::default();
        let keys = KEYS_MAX as u64 + 1;
        (1..=keys).for_each(|key| invalidated.note(KeyHash(key), false));
        assert!(invalidated.fetches.read().by_key.len() <= KEYS_MAX / 2 + 1);
        for key in [1, 2, keys / 2, keys] {
            assert!(invalidated.of_fetches(KeyHash(key)) >= key, "{key}");
        }
        assert_eq!(invalidated.of_fetches(KeyHash(keys)), keys, "the newer ones are known");
    }
}
