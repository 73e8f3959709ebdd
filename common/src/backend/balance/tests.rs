//! Picking, with standings made by hand. Servers that turn slow: `tests/simulation`.

use proptest::prelude::*;

use super::*;
use crate::backend::settings::{ServerAddress, ServerSettings};
use crate::backend::standing::Order;

const NOW: Duration = Duration::from_secs(100);

fn server(name: &str, weight: u32, is_backup: bool) -> Standing {
    let address = ServerAddress::Unix(name.into());
    Standing::new(
        name,
        &ServerSettings {
            is_tls: false,
            address,
            weight,
            is_backup,
            group: 0,
            is_new: false,
        },
    )
}

fn servers(n: usize) -> Vec<Standing> {
    (0..n).map(|i| server(&format!("10.0.0.{i}:6081"), 1, false)).collect()
}

fn penalised(n: usize, which: &[usize]) -> Vec<Standing> {
    let servers = servers(n);
    for &i in which {
        servers[i].penalty.set(NOW + PENALTY);
    }
    servers
}

fn candidates<'a>(standings: &'a [Standing], tried: &'a [usize], now: Duration) -> Option<Candidates<'a>> {
    Candidates::new(standings, tried, now, Duration::ZERO, false)
}

fn all(standings: &[Standing], tried: &[usize]) -> Vec<usize> {
    candidates(standings, tried, NOW).map_or_else(Vec::new, |found| found.all().collect())
}

fn owner_of(standings: &[Standing], key: u64, tried: &[usize], now: Duration) -> Option<usize> {
    Some(owner(&candidates(standings, tried, now)?, key, 150, |_| 0))
}

/// Keys as a caller makes them: already hashes.
fn keys() -> impl Iterator<Item = u64> {
    (0..20_000_u64).map(|i| mix(i.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

#[test]
fn the_best_rank_that_was_not_tried_may_be_asked() {
    for (tried, in_penalty, expected) in [
        (&[][..], &[][..], &[0, 1, 2][..]),
        (&[1], &[], &[0, 2]),
        (&[], &[0], &[1, 2]),
        (&[1], &[0], &[2]),
        (&[1, 2], &[0], &[0]), // better asked than nobody
        (&[], &[0, 1, 2], &[0, 1, 2]),
        (&[0, 1, 2], &[], &[]),
    ] {
        let servers = penalised(3, in_penalty);
        assert_eq!(
            all(&servers, tried),
            expected,
            "tried {tried:?}, in penalty {in_penalty:?}"
        );
    }
    assert!(candidates(&[], &[], NOW).is_none());
}

#[test]
fn backups_are_asked_while_no_other_is_up_and_drained_ones_last() {
    let servers = [server("a", 1, false), server("b", 1, true), server("c", 1, false)];
    assert_eq!(all(&servers, &[]), [0, 2]);
    servers[0].ejected.set(NOW + PENALTY);
    servers[2].set_order(Order::Drain);
    assert_eq!(all(&servers, &[]), [1]);
    servers[1].set_unhealthy(true);
    assert_eq!(
        all(&servers, &[]),
        [0],
        "all are in trouble: those that are no backups first"
    );
    assert_eq!(all(&servers, &[0, 1]), [2]);
    servers[2].set_order(Order::Down);
    assert_eq!(all(&servers, &[0, 1]), [0; 0]);
}

#[test]
fn turns_are_taken_smoothly_by_weight() {
    let equal = servers(3);
    let servers = [server("a", 5, false), server("b", 1, false), server("c", 1, false)];
    let mut credits = [0; 3];
    let mut turn = || round_robin(&candidates(&servers, &[], NOW).unwrap(), &mut credits);
    let turns: Vec<_> = (0..14).map(|_| turn()).collect();
    assert_eq!(turns, [0, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 2, 0, 0]);
    let mut credits = [0; 3];
    let mut turn = |tried: &[usize]| round_robin(&candidates(&equal, tried, NOW).unwrap(), &mut credits);
    assert_eq!([turn(&[]), turn(&[]), turn(&[]), turn(&[])], [0, 1, 2, 0]);
    assert_eq!(turn(&[1]), 2);
}

#[test]
fn of_two_the_one_with_less_latency_times_load_is_picked() {
    let servers = servers(2);
    servers[0].latency.observe(Duration::from_millis(10), NOW);
    servers[1].latency.observe(Duration::from_millis(30), NOW);
    for (loads, expected) in [([0, 0], 0), ([1, 0], 0), ([3, 0], 1), ([9, 2], 1), ([8, 3], 0)] {
        for random in [0, u64::MAX, 0x1234_5678_9abc_def0] {
            let picked = least_loaded(&candidates(&servers, &[], NOW).unwrap(), random, |i| loads[i]);
            assert_eq!(picked, expected, "{loads:?}");
        }
    }
    let heavy = [server("a", 1, false), server("b", 4, false)];
    for standing in &heavy {
        standing.latency.observe(Duration::from_millis(10), NOW);
    }
    let picked = least_loaded(&candidates(&heavy, &[], NOW).unwrap(), 1, |i| [1, 6][i]);
    assert_eq!(picked, 1, "four times the weight bears four times the load");
}

#[test]
fn a_server_of_which_nothing_is_known_gets_one_request_at_a_time() {
    let servers = servers(2);
    servers[0].latency.observe(Duration::from_millis(1), NOW);
    let pick = |loads: [usize; 2]| least_loaded(&candidates(&servers, &[], NOW).unwrap(), 7, |i| loads[i]);
    assert_eq!(pick([0, 0]), 1);
    assert_eq!(pick([50, 1]), 0);
}

#[test]
fn the_fewest_requests_for_their_weight_win_and_equals_share() {
    let servers = [server("a", 1, false), server("b", 3, false), server("c", 1, false)];
    let pick =
        |loads: [usize; 3], random| least_connections(&candidates(&servers, &[], NOW).unwrap(), random, |i| loads[i]);
    assert_eq!(pick([1, 2, 1], 0), 1);
    assert_eq!(pick([1, 9, 2], 0), 0);
    let picked: std::collections::BTreeSet<_> = (0..100).map(|i| pick([0, 9, 0], mix(i))).collect();
    assert_eq!(picked, [0, 2].into());
}

#[test]
fn a_key_goes_to_the_next_in_its_order_while_its_owner_is_tried_or_in_penalty() {
    for key in keys().take(100) {
        let owner = owner_of(&servers(5), key, &[], NOW).unwrap();
        let next = owner_of(&servers(5), key, &[owner], NOW).unwrap();
        assert_ne!(owner, next);
        let in_penalty = penalised(5, &[owner]);
        assert_eq!(owner_of(&in_penalty, key, &[], NOW), Some(next));
        assert_eq!(owner_of(&in_penalty, key, &[], NOW + PENALTY), Some(owner));
        let others: Vec<usize> = (0..5).filter(|i| *i != owner).collect();
        assert_eq!(owner_of(&in_penalty, key, &others, NOW), Some(owner));
        assert_eq!(owner_of(&in_penalty, key, &[0, 1, 2, 3, 4], NOW), None);
    }
}

#[test]
fn a_hot_key_is_spread_over_the_first_servers_in_its_order() {
    let servers = servers(6);
    for key in keys().take(20) {
        let found = candidates(&servers, &[], NOW).unwrap();
        let first = owner(&found, key, 150, |_| 0);
        let second = owner_of(&servers, key, &[first], NOW).unwrap();
        let third = owner_of(&servers, key, &[first, second], NOW).unwrap();
        let mut asked = [0; 6];
        for i in 0..3000_u64 {
            asked[one_of_owners(&found, key, 3, mix(i))] += 1;
        }
        for server in 0..6 {
            let is_owner = [first, second, third].contains(&server);
            assert!(
                if is_owner {
                    (900..1100).contains(&asked[server])
                } else {
                    asked[server] == 0
                },
                "{asked:?}"
            );
        }
        assert!(
            (0..6).contains(&one_of_owners(&found, key, 99, mix(key))),
            "more than there are"
        );
    }
}

#[test]
fn an_owner_that_has_more_than_its_share_passes_its_keys_to_the_next() {
    let servers = servers(4);
    let key = 7;
    let owner = owner_of(&servers, key, &[], NOW).unwrap();
    let next = owner_of(&servers, key, &[owner], NOW).unwrap();
    let pick = |own: usize, others: usize| {
        let load = |i| if i == owner { own } else { others };
        super::owner(&candidates(&servers, &[], NOW).unwrap(), key, 150, load)
    };
    assert_eq!(pick(LOAD_FLOOR - 1, 0), owner, "so few in flight are no load");
    assert_eq!(pick(LOAD_FLOOR, 0), next);
    assert_eq!(pick(140, 100), owner, "share 110, bound 165");
    assert_eq!(pick(300, 100), next, "share 150, bound 226");
    let fleet = |others: usize| pick(1000, others);
    assert_eq!(fleet(1000), owner, "all are as busy: nobody is over the bound");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn adding_a_server_moves_only_its_own_share_of_keys(n in 1_usize..16, seed in any::<u32>()) {
        let named = |n: usize| -> Vec<Standing> {
            (0..n).map(|i| server(&format!("cache-{seed}-{i}.example:6081"), 1, false)).collect()
        };
        let (before, after) = (named(n), named(n + 1));
        let mut moved = 0_u32;
        for key in keys() {
            let (old, new) = (owner_of(&before, key, &[], NOW), owner_of(&after, key, &[], NOW));
            if old != new {
                prop_assert_eq!(new, Some(n), "a key may only move to the new server");
                moved += 1;
            }
        }
        let share = f64::from(moved) / 20_000.0;
        let fair = 1.0 / small(n + 1);
        prop_assert!((share - fair).abs() <= 0.02, "{} servers: {} of the keys moved", n, share);
    }

    #[test]
    fn keys_are_spread_by_weight(weights in prop::collection::vec(1_u32..=8, 2..6)) {
        let servers: Vec<_> = weights.iter().enumerate().map(|(i, weight)| server(&format!("s{i}"), *weight, false)).collect();
        let mut owned = vec![0_u32; weights.len()];
        for key in keys() {
            owned[owner_of(&servers, key, &[], NOW).unwrap()] += 1;
        }
        let total: u32 = weights.iter().sum();
        for (owned, weight) in owned.iter().zip(&weights) {
            let (share, fair) = (f64::from(*owned) / 20_000.0, f64::from(*weight) / f64::from(total));
            prop_assert!((share - fair).abs() < 0.02, "{} of {:?}: {}", weight, weights, share);
        }
    }
}

#[test]
fn keys_stay_where_they_are_when_the_configuration_lists_servers_in_another_order() {
    let forward = servers(6);
    let backward: Vec<Standing> = (0..6)
        .rev()
        .map(|i| server(&format!("10.0.0.{i}:6081"), 1, false))
        .collect();
    for key in keys().take(1000) {
        let there = owner_of(&backward, key, &[], NOW).map(|i| 5 - i);
        assert_eq!(owner_of(&forward, key, &[], NOW), there);
    }
}
