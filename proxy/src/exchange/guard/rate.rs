//! How often: the generic cell rate algorithm (GCRA) over a table of fixed size.
//!
//! The decision is a pure function of one number per key and `now`: the time at which the requests so far would be paid
//! for. The table is our own and not `governor`'s, whose map grows with every key that a client makes up until somebody
//! cleans it: here a key lies in one of eight places, and where all are taken the one that owes least is forgotten.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use common::time::MonoTime;
use parking_lot::Mutex;

/// How many requests at which distance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Time that one request costs, in nanoseconds.
    each: u64,
    /// How far ahead of its time a request may be, in nanoseconds.
    ahead_max: u64,
}

impl Quota {
    /// `requests` per `per`, and `burst` of them at once.
    pub fn new(requests: u32, per: Duration, burst: u32) -> Self {
        let nanos = u64::try_from(per.as_nanos()).unwrap_or(u64::MAX);
        let each = (nanos / u64::from(requests.max(1))).max(1);
        Self {
            each,
            ahead_max: each.saturating_mul(u64::from(burst.saturating_sub(1))),
        }
    }

    /// Decides about a request at `now` whose predecessors are paid for at `paid`: until when they are with it, or how
    /// long it has to wait.
    ///
    /// # Errors
    /// The wait, in nanoseconds.
    pub fn decide(self, paid: u64, now: u64) -> Result<u64, u64> {
        let paid = paid.max(now);
        let ahead = paid - now;
        if ahead > self.ahead_max {
            Err(ahead - self.ahead_max)
        } else {
            Ok(paid.saturating_add(self.each))
        }
    }
}

/// One rate for many keys.
#[derive(Debug)]
pub struct RateTable {
    quota: Quota,
    begun: MonoTime,
    /// Seeded by the system, so that nobody can choose keys that meet in one set.
    hasher: RandomState,
    sets: Box<[Mutex<[Cell; WAYS]>]>,
}

/// One key's place.
#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    /// The key's hash; two keys in 2^64 share one.
    key: u64,
    /// When its requests are paid for, in nanoseconds since `begun`; 0: nobody's place.
    paid: u64,
}

/// What is said about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passes.
    Pass,
    /// It passes; for its key another one was forgotten that still owed time.
    PassAndForget,
    /// It came too early by this time.
    Wait(Duration),
}

/// Keys that a place can hold.
const WAYS: usize = 8;

impl RateTable {
    /// A table for about `keys_max` keys; 17 bytes each.
    pub fn new(quota: Quota, keys_max: usize, now: MonoTime) -> Self {
        let sets = keys_max.div_ceil(WAYS).max(1);
        Self {
            quota,
            begun: now,
            hasher: RandomState::new(),
            sets: (0..sets).map(|_| Mutex::default()).collect(),
        }
    }

    /// Decides about a request of `key` and counts it if it passes.
    pub fn ask(&self, key: &[u8], now: MonoTime) -> Verdict {
        let hash = self.hasher.hash_one(key);
        // One more than has gone by, so that 0 stays nobody's.
        let now = now.saturating_duration_since(self.begun).as_nanos();
        let now = u64::try_from(now).unwrap_or(u64::MAX).saturating_add(1);
        let mut set = self.set(hash).lock();
        let own = set.iter().position(|cell| cell.key == hash && cell.paid > 0);
        let place = own.unwrap_or_else(|| owes_least(&set));
        let cell = &mut set[place];
        let forgets = own.is_none() && cell.paid > now;
        let paid = if own.is_some() { cell.paid } else { 0 };
        match self.quota.decide(paid, now) {
            Ok(paid) => {
                *cell = Cell { key: hash, paid };
                if forgets { Verdict::PassAndForget } else { Verdict::Pass }
            }
            Err(wait) => Verdict::Wait(Duration::from_nanos(wait)),
        }
    }

    fn set(&self, hash: u64) -> &Mutex<[Cell; WAYS]> {
        let index = hash % self.sets.len() as u64;
        // Less than the length, which is a usize.
        &self.sets[usize::try_from(index).unwrap_or_default()]
    }
}

/// The place whose key has paid, or will have soonest.
fn owes_least(set: &[Cell; WAYS]) -> usize {
    let least = set.iter().enumerate().min_by_key(|(_, cell)| cell.paid);
    least.map_or(0, |(place, _)| place)
}

#[cfg(test)]
mod tests {
    use common::time::mono_now;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_burst_passes_at_once_and_then_one_by_one() {
        let quota = Quota::new(10, Duration::from_secs(1), 3);
        let mut paid = 0;
        // When each request comes, in tenths of a second, and how long it has to wait if it does not pass.
        for (tenth, expected) in [
            (10, None),
            (10, None),
            (10, None),
            (10, Some(1)),
            (11, None),
            (11, Some(1)),
            (12, None),
            (100, None),
            (100, None),
            (100, None),
            (100, Some(1)),
        ] {
            let now = tenth * SECOND / 10;
            let wait = match quota.decide(paid, now) {
                Ok(until) => {
                    paid = until;
                    None
                }
                Err(wait) => Some(wait * 10 / SECOND),
            };
            assert_eq!(wait, expected, "at {tenth}");
        }
    }

    #[test]
    fn over_any_time_no_more_pass_than_the_rate_and_one_burst() {
        let (rate, burst) = (100, 20);
        let quota = Quota::new(rate, Duration::from_secs(1), burst);
        let (mut paid, mut passed) = (0, 0);
        for now in (0..10 * SECOND).step_by(1_000_000) {
            if let Ok(until) = quota.decide(paid, now) {
                (paid, passed) = (until, passed + 1);
            }
        }
        assert_eq!(passed, 10 * rate + burst - 1);
    }

    #[test]
    fn extreme_rates_neither_overflow_nor_divide_by_zero() {
        for quota in [
            Quota::new(u32::MAX, Duration::from_nanos(1), u32::MAX),
            Quota::new(1, Duration::MAX, u32::MAX),
            Quota::new(0, Duration::ZERO, 0),
        ] {
            for (paid, now) in [(0, 0), (u64::MAX, 0), (0, u64::MAX), (u64::MAX, u64::MAX)] {
                if let Ok(until) = quota.decide(paid, now) {
                    assert!(until >= now);
                }
            }
        }
    }

    #[test]
    fn keys_are_limited_one_by_one() {
        let now = mono_now();
        let table = RateTable::new(Quota::new(1, Duration::from_secs(10), 2), 1024, now);
        for key in [b"a", b"b"] {
            assert_eq!(
                (table.ask(key, now), table.ask(key, now)),
                (Verdict::Pass, Verdict::Pass)
            );
            assert_eq!(table.ask(key, now), Verdict::Wait(Duration::from_secs(10)));
        }
        assert_eq!(table.ask(b"a", now + Duration::from_secs(10)), Verdict::Pass);
    }

    #[test]
    fn a_full_table_forgets_who_owes_least_and_stays_as_it_is() {
        let now = mono_now();
        let table = RateTable::new(Quota::new(1, Duration::from_secs(10), 2), WAYS, now);
        // Owes two requests, the others one.
        assert_eq!(
            (table.ask(b"worst", now), table.ask(b"worst", now)),
            (Verdict::Pass, Verdict::Pass)
        );
        for key in 1..WAYS {
            assert_eq!(table.ask(&key.to_ne_bytes(), now), Verdict::Pass);
        }
        for key in 100..1_100_usize {
            assert_eq!(table.ask(&key.to_ne_bytes(), now), Verdict::PassAndForget);
        }
        assert!(
            matches!(table.ask(b"worst", now), Verdict::Wait(_)),
            "it is still remembered"
        );
        assert_eq!(
            table.ask(b"new", now + Duration::from_secs(20)),
            Verdict::Pass,
            "who has paid leaves no gap"
        );
    }
}
