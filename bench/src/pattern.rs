//! Which bytes stand behind a URL of many: the origin answers by it, the load generator holds answers against it. Pure.
//!
//! `/mix/KEY` has a length that follows from the key alone, as mixed as a site's: mostly small, a few large, 8 KiB on
//! average.

/// Lengths in bytes, from and below, and how many of 1,000 keys have one of them; all alike within.
const LENGTHS: [(u64, u64, u64); 4] = [
    (650, 100, 2 << 10),
    (270, 2 << 10, 16 << 10),
    (77, 16 << 10, 64 << 10),
    (3, 64 << 10, 1 << 20),
];

/// Bytes of a body behind `/mix/…` on average, roughly.
pub(crate) const MEAN_LENGTH: u64 = 8 << 10;

/// Bytes of the body behind `/mix/KEY`.
pub(crate) fn mixed_length(key: u64) -> u64 {
    let hash = scramble(key);
    let mut thousandth = hash % 1000;
    for (share, from, below) in LENGTHS {
        if thousandth < share {
            return from + (hash >> 16) % (below - from);
        }
        thousandth -= share;
    }
    0
}

/// Numbers that look random, the same in each run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `count`.
    pub(crate) fn below(&mut self, count: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        scramble(self.0) % count.max(1)
    }
}

/// The finalizer of `SplitMix64` (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
const fn scramble(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_mixed_as_announced() {
        let lengths: Vec<u64> = (0..100_000).map(mixed_length).collect();
        let mean = lengths.iter().sum::<u64>() / 100_000;
        assert!((7 << 10..9 << 10).contains(&mean), "{mean}");
        let large = lengths.iter().filter(|&&length| length >= 64 << 10).count();
        assert!((200..400).contains(&large), "{large}");
        assert!(lengths.iter().all(|length| (100..1 << 20).contains(length)));
    }

    #[test]
    fn random_numbers_are_spread_and_repeat_with_their_seed() {
        let (mut one, mut other) = (Random::new(7), Random::new(7));
        let mut seen = [0; 4];
        for _ in 0..4000 {
            let number = one.below(4);
            assert_eq!(number, other.below(4));
            seen[usize::try_from(number).unwrap()] += 1;
        }
        assert!(seen.iter().all(|count| (900..1100).contains(count)), "{seen:?}");
    }
}
