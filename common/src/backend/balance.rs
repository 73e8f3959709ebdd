//! Which server a request goes to: round-robin, or rendezvous hashing of the cache key. Pure.
//!
//! Both skip servers that were tried for this request already, and servers in penalty, unless only such are left.
//! Does not know pools or health. Called by `send`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a server that refused a connection is not asked when others can be.
///
/// Short: it only spares the next requests the same wait; whether a server is healthy is not decided here.
pub(super) const PENALTY: Duration = Duration::from_secs(1);

/// What picking knows of a server.
#[derive(Debug)]
pub(super) struct Standing {
    name_hash: u64,
    /// Until when it is skipped.
    pub(super) penalty: Until,
}

/// A moment that many workers may set and read, as time since the backend was made; zero: not set.
#[derive(Debug, Default)]
pub(super) struct Until {
    micros: AtomicU64,
}

/// The next server by turns: of those that may be asked, the one whose turn it is, so that all of them get equal shares.
pub(super) fn round_robin(servers: &[Standing], turn: usize, tried: &[usize], now: Duration) -> Option<usize> {
    let untried = || (0..servers.len()).filter(|i| !tried.contains(i));
    let standing = || untried().filter(|i| !servers[*i].penalty.is_ahead(now));
    match standing().count() {
        0 => untried().nth(turn.checked_rem(untried().count())?),
        several => standing().nth(turn % several),
    }
}

/// The server that owns `key`: the one with the highest score for it, or the next highest where that may not be asked.
///
/// Every process that knows the same names picks the same server, whatever their order: names are hashed, not positions.
/// A server that comes or goes moves only its own share of keys.
pub(super) fn rendezvous(servers: &[Standing], key: u64, tried: &[usize], now: Duration) -> Option<usize> {
    let standing = |i: &usize| !servers[*i].penalty.is_ahead(now);
    let score = |i: &usize| (standing(i), mix(key ^ servers[*i].name_hash));
    (0..servers.len()).filter(|i| !tried.contains(i)).max_by_key(score)
}

impl Standing {
    /// A server of this configured name, not in penalty.
    pub(super) fn new(name: &str) -> Self {
        Self {
            name_hash: name_hash(name),
            penalty: Until::default(),
        }
    }
}

impl Until {
    /// Whether the moment is still to come.
    pub(super) fn is_ahead(&self, now: Duration) -> bool {
        u128::from(self.micros.load(Ordering::Relaxed)) > now.as_micros()
    }

    /// Moves it to `at`; returns what it was before.
    pub(super) fn set(&self, at: Duration) -> Duration {
        let micros = u64::try_from(at.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.micros.swap(micros, Ordering::Relaxed))
    }

    /// Unsets it; whether it was set.
    pub(super) fn clear(&self) -> bool {
        // Read first: the common case must not write to a line that all workers read.
        self.micros.load(Ordering::Relaxed) != 0 && self.micros.swap(0, Ordering::Relaxed) != 0
    }
}

/// FNV-1a, mixed. Written out because it must never change: all fronts of a fleet have to agree on it across versions.
fn name_hash(name: &str) -> u64 {
    mix(name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    }))
}

/// The finaliser of `SplitMix64`: every bit of the input changes half of the output's.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn servers(n: usize) -> Vec<Standing> {
        (0..n).map(|i| Standing::new(&format!("10.0.0.{i}:6081"))).collect()
    }

    fn penalised(n: usize, which: &[usize]) -> Vec<Standing> {
        let servers = servers(n);
        for &i in which {
            servers[i].penalty.set(NOW + PENALTY);
        }
        servers
    }

    /// Keys as a caller makes them: already hashes.
    fn keys() -> impl Iterator<Item = u64> {
        (0..20_000_u64).map(|i| mix(i.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    #[test]
    fn round_robin_takes_turns_and_skips_the_tried_and_the_penalised() {
        for (turn, tried, in_penalty, expected) in [
            (0, &[][..], &[][..], Some(0)),
            (1, &[], &[], Some(1)),
            (4, &[], &[], Some(1)),
            (1, &[1], &[], Some(2)),
            (2, &[2], &[], Some(0)),
            (0, &[], &[0], Some(1)),
            (1, &[], &[0], Some(2)), // not the neighbour's load on top of its own
            (2, &[], &[0], Some(1)),
            (0, &[1], &[0], Some(2)),
            (0, &[1, 2], &[0], Some(0)), // better asked than nobody
            (1, &[], &[0, 1, 2], Some(1)),
            (0, &[0, 1, 2], &[], None),
        ] {
            let servers = penalised(3, in_penalty);
            assert_eq!(
                round_robin(&servers, turn, tried, NOW),
                expected,
                "turn {turn}, tried {tried:?}, in penalty {in_penalty:?}"
            );
        }
        assert_eq!(round_robin(&[], 7, &[], NOW), None);
        assert_eq!(rendezvous(&[], 7, &[], NOW), None);
    }

    #[test]
    fn a_key_goes_to_the_next_in_its_order_while_its_owner_is_tried_or_in_penalty() {
        for key in keys().take(100) {
            let owner = rendezvous(&servers(5), key, &[], NOW).unwrap();
            let next = rendezvous(&servers(5), key, &[owner], NOW).unwrap();
            assert_ne!(owner, next);
            let in_penalty = penalised(5, &[owner]);
            assert_eq!(rendezvous(&in_penalty, key, &[], NOW), Some(next));
            assert_eq!(rendezvous(&in_penalty, key, &[], NOW + PENALTY), Some(owner));
            let others: Vec<usize> = (0..5).filter(|i| *i != owner).collect();
            assert_eq!(rendezvous(&in_penalty, key, &others, NOW), Some(owner));
            assert_eq!(rendezvous(&in_penalty, key, &[0, 1, 2, 3, 4], NOW), None);
        }
    }

    #[test]
    fn adding_a_server_moves_only_its_own_share_of_keys() {
        for n in 1..=12 {
            let (before, after) = (servers(n), servers(n + 1));
            let mut moved = 0_u32;
            for key in keys() {
                let (old, new) = (rendezvous(&before, key, &[], NOW), rendezvous(&after, key, &[], NOW));
                if old != new {
                    assert_eq!(new, Some(n), "a key may only move to the new server");
                    moved += 1;
                }
            }
            let share = f64::from(moved) / 20_000.0;
            let fair = 1.0 / (n as f64 + 1.0);
            assert!(share <= fair + 0.02, "{n} servers: {share} of the keys moved");
            assert!(share >= fair - 0.02, "{n} servers: only {share} of the keys moved");
        }
    }

    #[test]
    fn keys_stay_where_they_are_when_the_configuration_lists_servers_in_another_order() {
        let forward = servers(6);
        let backward: Vec<Standing> = (0..6)
            .rev()
            .map(|i| Standing::new(&format!("10.0.0.{i}:6081")))
            .collect();
        for key in keys().take(1000) {
            let there = rendezvous(&backward, key, &[], NOW).map(|i| 5 - i);
            assert_eq!(rendezvous(&forward, key, &[], NOW), there);
        }
    }

    #[test]
    fn scores_do_not_change_between_versions() {
        assert_eq!(mix(1), 0x5692_161d_100b_05e5);
        assert_eq!(name_hash("10.0.0.2:6081"), 0x5281_ab39_9dc1_bf58);
    }

    #[test]
    fn a_moment_is_ahead_until_it_is_reached_or_unset() {
        let until = Until::default();
        assert!(!until.is_ahead(Duration::ZERO));
        assert!(!until.clear(), "it was not set");
        assert_eq!(until.set(NOW + PENALTY), Duration::ZERO);
        assert!(until.is_ahead(NOW) && !until.is_ahead(NOW + PENALTY));
        assert_eq!(until.set(NOW + 2 * PENALTY), NOW + PENALTY);
        assert!(until.clear());
        assert!(!until.is_ahead(NOW));
    }
}
