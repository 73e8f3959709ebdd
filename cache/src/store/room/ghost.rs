//! Who went not long ago: a table of half hashes with the number of the departure, which forgets by itself.
//!
//! A hash has four slots where it may be noted; of these the oldest is given up. Two hashes are taken for one another as
//! rarely as 32 bits agree, and then somebody has a better place than is due.

use crate::policy::key::KeyHash;

/// Slots in which a hash may be noted.
const WAYS: usize = 4;
/// Departures that are remembered at least.
const KEPT_MIN: u64 = 64;

/// The departures that are remembered: as many as there are entries.
#[derive(Debug, Default)]
pub(super) struct Ghost {
    /// Sets of `WAYS` slots, a power of two; none before the first departure. A slot has half a hash above, below it the
    /// number of the departure; 0: nobody's.
    slots: Vec<u64>,
    /// Departures so far; never 0 after the first.
    departures: u32,
}

impl Ghost {
    /// Somebody goes; there are so many entries.
    pub(super) fn note(&mut self, hash: KeyHash, entries: u64) {
        let kept = usize::try_from(entries.max(KEPT_MIN)).unwrap_or(usize::MAX);
        if self.slots.len() < kept {
            // What was known is forgotten, which is as rare as that the number of entries doubles. Nothing is written here:
            // zeroes come from the kernel, page by page.
            self.slots = vec![0; kept.next_power_of_two()];
        }
        self.departures = self.departures.wrapping_add(1).max(1);
        let now = self.departures;
        let set = self.set(hash);
        let known = set.iter().position(|slot| is_of(*slot, hash));
        let oldest = (0..WAYS).max_by_key(|way| age(set[*way], now));
        if let Some(way) = known.or(oldest) {
            set[way] = half(hash) << 32 | u64::from(now);
        }
    }

    /// Whether it has gone not long ago.
    pub(super) fn knows(&mut self, hash: KeyHash, entries: u64) -> bool {
        self.find(hash, entries).is_some()
    }

    /// The same, and it is forgotten.
    pub(super) fn forget(&mut self, hash: KeyHash, entries: u64) -> bool {
        self.find(hash, entries).map(|slot| *slot = 0).is_some()
    }

    fn find(&mut self, hash: KeyHash, entries: u64) -> Option<&mut u64> {
        if self.slots.is_empty() {
            return None;
        }
        let (now, kept) = (self.departures, entries.max(KEPT_MIN));
        let mut slots = self.set(hash).iter_mut();
        slots.find(|slot| is_of(**slot, hash) && u64::from(age(**slot, now)) < kept)
    }

    /// The slots of a hash; there have to be some.
    fn set(&mut self, hash: KeyHash) -> &mut [u64] {
        let sets = self.slots.len() / WAYS;
        #[expect(clippy::cast_possible_truncation, reason = "the lower bits are meant")]
        let start = (hash.0 as usize & (sets - 1)) * WAYS;
        &mut self.slots[start..start + WAYS]
    }
}

const fn half(hash: KeyHash) -> u64 {
    hash.0 >> 32
}

const fn is_of(slot: u64, hash: KeyHash) -> bool {
    slot != 0 && slot >> 32 == half(hash)
}

/// Departures since the one of this slot; of nobody's, all that can be.
const fn age(slot: u64, now: u32) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
    let departure = slot as u32;
    if departure == 0 {
        u32::MAX
    } else {
        now.wrapping_sub(departure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes as they come of keys.
    fn hash(number: u64) -> KeyHash {
        KeyHash(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (number << 29))
    }

    #[test]
    fn it_knows_about_as_many_as_there_are_entries_and_no_others() {
        let (mut ghost, entries) = (Ghost::default(), 1000);
        assert!(!ghost.knows(hash(1), entries));
        for number in 0..10_000 {
            ghost.note(hash(number), entries);
        }
        let known = |ghost: &mut Ghost, numbers: std::ops::Range<u64>| {
            numbers.filter(|number| ghost.knows(hash(*number), entries)).count()
        };
        assert_eq!(known(&mut ghost, 0..9_000), 0, "long ago");
        let late = known(&mut ghost, 9_000..10_000);
        assert!(late > 750, "{late} of the last thousand");
        assert_eq!(known(&mut ghost, 20_000..30_000), 0, "never here");
        assert_eq!(ghost.slots.len(), 1024);
    }

    #[test]
    fn who_comes_again_is_known_once() {
        let mut ghost = Ghost::default();
        ghost.note(hash(7), 0);
        ghost.note(hash(7), 0);
        assert!(ghost.forget(hash(7), 0));
        assert!(!ghost.forget(hash(7), 0));
    }
}
