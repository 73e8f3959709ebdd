//! A server that is new, or was away, holds little of what its keys stand for; their former owners do. For a while, part of
//! its keys is asked of it and of the former owner whether they have it, before it is made to fetch.
//!
//! Which part is drawn from the key and shrinks evenly to none within `handover`, so that what has to be fetched again is
//! fetched by and by. Knows servers and keys; what "have it" means is the caller's (see the cache tier's `remote`).

use std::sync::Arc;
use std::time::Duration;

use super::balance::{self, Candidates};
use super::facts::{Facts, Outcome};
use super::pool::Source;
use super::send::{Ask, Backend};
use super::settings::Balance;
use super::standing::{ServerState, Standing, mix};
use crate::http::body::Body;
use crate::http::outgoing::OutgoingHead;
use crate::worker::Worker;

/// A key whose owner is new, and who held it before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handover {
    owner: usize,
    former: usize,
}

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Who holds the key from now on.
    Owner,
    /// Who held it before.
    Former,
}

impl Backend {
    /// Whether this key is being handed over; costs one comparison where that is never done.
    pub fn handover(&self, key: u64, worker: &Worker) -> Option<Handover> {
        if self.settings.handover.is_zero() || self.settings.balance != Balance::ConsistentHash {
            return None;
        }
        let now = self.since_made(worker.clock.mono());
        of_key(&self.standings, key, now, self.settings.handover)
    }

    /// Asks this one server, once, without content. Where it fails, the key is asked for as any other.
    pub async fn ask_holder(
        self: &Arc<Self>,
        (handover, holder): (Handover, Holder),
        mut head: OutgoingHead,
        worker: &Arc<Worker>,
    ) -> Outcome {
        let server = match holder {
            Holder::Owner => handover.owner,
            Holder::Former => handover.former,
        };
        let until = self.until(&head, worker);
        if let Some(until) = until {
            head.time_left = Some(until.saturating_duration_since(worker.clock.mono()));
        }
        let ask = Ask {
            head: &head,
            has_content: false,
            key: 0,
            limits: self.limits(),
            worker,
            began: worker.clock.mono(),
            until,
        };
        let mut facts = Facts::default();
        let result = self.attempt(server, &ask, Body::Empty, Source::Any, &mut facts).await;
        Outcome {
            result: result.map_err(|failure| failure.error),
            unsent: None,
            facts,
        }
    }
}

fn of_key(standings: &[Standing], key: u64, now: Duration, lasts: Duration) -> Option<Handover> {
    let is_new = |server: usize| {
        standings[server]
            .joined
            .get()
            .is_some_and(|joined| now < joined + lasts)
    };
    let owner = owner(standings, &[], key, now)?;
    let stood = now.saturating_sub(standings[owner].joined.get().filter(|_| is_new(owner))?);
    // Below this part of the way, the key has not moved yet. Other bits than those that pick the server.
    let moves_at = lasts.mul_f64(f64::from(u16::try_from(mix(!key) >> 48).unwrap_or(0)) / f64::from(u16::MAX));
    if stood >= moves_at {
        return None;
    }
    let new: Vec<usize> = (0..standings.len()).filter(|server| is_new(*server)).collect();
    let former = owner_among_the_others(standings, &new, key, now)?;
    Some(Handover { owner, former })
}

fn owner_among_the_others(standings: &[Standing], new: &[usize], key: u64, now: Duration) -> Option<usize> {
    let former = owner(standings, new, key, now)?;
    (standings[former].state(now) == ServerState::Up).then_some(former)
}

/// Who owns the key when load counts for nothing.
fn owner(standings: &[Standing], without: &[usize], key: u64, now: Duration) -> Option<usize> {
    let candidates = Candidates::new(standings, without, now, Duration::ZERO, false)?;
    Some(balance::owner(&candidates, key, 100, |_| 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::settings::{ServerAddress, ServerSettings};

    const LASTS: Duration = Duration::from_secs(1000);

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    /// Four servers of which the last ones joined at 100 s.
    fn servers(new: usize) -> Vec<Standing> {
        let server = |i: usize| {
            let standing = Standing::new(
                &format!("10.0.0.{i}:6081"),
                &ServerSettings::from(ServerAddress::Unix("/".into())),
            );
            if i >= 4 - new {
                standing.joined.set(secs(100));
            }
            standing
        };
        (0..4).map(server).collect()
    }

    fn keys() -> impl Iterator<Item = u64> {
        (0..4000_u64).map(|i| mix(i.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    #[test]
    fn only_keys_of_new_servers_are_handed_over_and_by_those_who_held_them() {
        let (after, before) = (servers(1), servers(1));
        before[3].set_order(crate::backend::Order::Down);
        for key in keys() {
            let now = secs(100);
            let is_owner = owner(&after, &[], key, now) == Some(3);
            let found = of_key(&after, key, now, LASTS);
            assert_eq!(found.is_some(), is_owner);
            if let Some(found) = found {
                assert_eq!((found.owner, Some(found.former)), (3, owner(&before, &[], key, now)));
            }
        }
    }

    #[test]
    fn the_part_that_is_handed_over_shrinks_evenly_to_none() {
        let servers = servers(1);
        let at = |now: u64| {
            keys()
                .filter(|key| of_key(&servers, *key, secs(now), LASTS).is_some())
                .count()
        };
        let all = at(100);
        assert!((900..1100).contains(&all), "{all}");
        for (now, percent) in [(350, 75), (600, 50), (850, 25), (1100, 0), (9999, 0)] {
            let part = at(now) * 100 / all;
            assert!(part.abs_diff(percent) <= 5, "at {now} s: {part} %");
        }
    }

    #[test]
    fn nobody_is_asked_for_a_key_who_is_new_himself_or_not_well() {
        let now = secs(100);
        let two = servers(2);
        assert!(
            keys()
                .filter_map(|key| of_key(&two, key, now, LASTS))
                .all(|found| found.former < 2)
        );
        let all_new = servers(4);
        assert!(keys().all(|key| of_key(&all_new, key, now, LASTS).is_none()));
        let one = servers(1);
        for server in &one[..3] {
            server.set_unhealthy(true);
        }
        assert!(keys().all(|key| of_key(&one, key, now, LASTS).is_none()));
    }
}
