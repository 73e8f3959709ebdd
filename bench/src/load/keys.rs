//! Which of many URLs is asked for next. Pure; random ones repeat in each run.

use crate::pattern::{Random, mixed_length};

/// The last part of a request's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    /// None: each request is for the same URL.
    One,
    /// Numbers, one after the other, from this one on.
    InTurn(u64),
    /// One of so many, all as likely.
    Uniform(u64, Random),
    /// One of so many: the first 1, the next 2, the next 4… share as many requests each, as by Zipf's law with exponent 1.
    Zipf(u64, Random),
    /// One of a window of so many, which moves on by one with every second request: what was popular is forgotten.
    Drifting(u64, Random, u64),
}

impl Keys {
    /// One of `count`, all as likely.
    pub(crate) const fn uniform(count: u64) -> Self {
        Self::Uniform(count, Random::new(1))
    }

    /// One of `count`, by Zipf's law.
    pub(crate) const fn zipf(count: u64) -> Self {
        Self::Zipf(count, Random::new(2))
    }

    /// One of a window of `count` that moves on.
    pub(crate) const fn drifting(count: u64) -> Self {
        Self::Drifting(count, Random::new(3), 0)
    }

    /// The next one; `None` where there is but one URL.
    pub(super) fn next(&mut self) -> Option<u64> {
        Some(match self {
            Self::One => return None,
            Self::InTurn(next) => {
                *next += 1;
                *next - 1
            }
            Self::Uniform(count, random) => random.below(*count),
            Self::Zipf(count, random) => loop {
                let octaves = u64::from(u64::BITS - count.leading_zeros());
                let first = 1 << random.below(octaves);
                let rank = first + random.below(first);
                if rank <= *count {
                    break rank - 1;
                }
            },
            Self::Drifting(count, random, taken) => {
                *taken += 1;
                *taken / 2 + random.below(*count)
            }
        })
    }
}

/// How long a right body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// So many bytes.
    Of(u64),
    /// As [`mixed_length`] says, by key.
    Mixed,
}

impl Length {
    /// Bytes of the body behind `key`.
    pub(super) fn of(self, key: Option<u64>) -> u64 {
        match self {
            Self::Of(bytes) => bytes,
            Self::Mixed => mixed_length(key.unwrap_or(0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(mut keys: Keys, count: usize) -> Vec<u64> {
        std::iter::from_fn(|| keys.next()).take(count).collect()
    }

    #[test]
    fn keys_come_as_their_kind_says() {
        assert!(taken(Keys::One, 3).is_empty());
        assert_eq!(taken(Keys::InTurn(5), 3), [5, 6, 7]);
        assert!(taken(Keys::uniform(10), 1000).iter().all(|&key| key < 10));
        let drifting = taken(Keys::drifting(10), 1000);
        assert!(
            drifting
                .iter()
                .zip(0..)
                .all(|(&key, at)| (at / 2..at / 2 + 11).contains(&key))
        );
    }

    #[test]
    fn by_zipf_each_octave_gets_its_share() {
        let ranks = taken(Keys::zipf(1000), 20_000);
        assert!(ranks.iter().all(|&rank| rank < 1000));
        let first = ranks.iter().filter(|&&rank| rank == 0).count();
        // 10 octaves, the last one not whole: a little more than a tenth each.
        assert!((1900..2200).contains(&first), "{first}");
    }
}
