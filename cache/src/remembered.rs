//! Keys of which something is remembered for a while: that their responses are not for sharing, that they come in no slices.
//!
//! Bounded by their number, not exactly: what was noted lies in two halves, and when the younger one is full the older one
//! is forgotten. What is over is not looked for; it goes with its half.

use std::collections::HashMap;
use std::time::Duration;

use common::time::MonoTime;
use parking_lot::RwLock;

use crate::policy::key::KeyHash;

/// Keys of a half: 24 bytes for each, 1.5 MiB.
const HALF_MAX: usize = 50_000;

/// Keys, and until when they are remembered.
pub(crate) struct Remembered {
    how_long: Duration,
    halves: RwLock<Halves>,
}

#[derive(Default)]
struct Halves {
    younger: HashMap<u64, MonoTime>,
    older: HashMap<u64, MonoTime>,
}

impl Remembered {
    /// None; each will be remembered for so long.
    pub(crate) fn new(how_long: Duration) -> Self {
        Self {
            how_long,
            halves: RwLock::default(),
        }
    }

    /// This key is remembered from now on.
    pub(crate) fn note(&self, key: KeyHash, now: MonoTime) {
        let mut halves = self.halves.write();
        if halves.younger.len() >= HALF_MAX {
            halves.older = std::mem::take(&mut halves.younger);
        }
        halves.younger.insert(key.0, now + self.how_long);
    }

    /// This key no longer is.
    pub(crate) fn forget(&self, key: KeyHash) {
        if self.halves.read().until(key).is_none() {
            return;
        }
        let mut halves = self.halves.write();
        halves.younger.remove(&key.0);
        halves.older.remove(&key.0);
    }

    /// Whether this key is; the clock is read where it may be.
    pub(crate) fn has(&self, key: KeyHash, now: impl FnOnce() -> MonoTime) -> bool {
        let until = self.halves.read().until(key);
        until.is_some_and(|until| now() < until)
    }
}

impl Halves {
    fn until(&self, key: KeyHash) -> Option<MonoTime> {
        let until = self.younger.get(&key.0).or_else(|| self.older.get(&key.0));
        until.copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_is_remembered_for_its_time_or_until_it_is_forgotten() {
        let remembered = Remembered::new(Duration::from_secs(10));
        let begun = common::time::mono_now();
        let (key, other) = (KeyHash(1), KeyHash(2));
        remembered.note(key, begun);
        for (seconds, expected) in [(0, true), (9, true), (10, false)] {
            let now = || begun + Duration::from_secs(seconds);
            assert_eq!(remembered.has(key, now), expected, "after {seconds} s");
            assert!(!remembered.has(other, now));
        }
        remembered.forget(key);
        assert!(!remembered.has(key, || begun));
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_as_a_half_has_are_remembered_and_no_more_than_two_have() {
        let remembered = Remembered::new(Duration::from_secs(10));
        let now = common::time::mono_now();
        let max = HALF_MAX as u64;
        for key in 0..=2 * max {
            remembered.note(KeyHash(key), now);
        }
        assert!(!remembered.has(KeyHash(0), || now), "the oldest half is forgotten");
        assert!((max..=2 * max).all(|key| remembered.has(KeyHash(key), || now)));
        let halves = remembered.halves.read();
        assert_eq!((halves.younger.len(), halves.older.len()), (1, HALF_MAX));
    }
}
