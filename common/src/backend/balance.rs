//! Which server a request goes to. Pure: the standings, the load and a random number come in.
//!
//! Every way of picking shares one first step, [`Candidates`]: of the servers that were not tried for this request, those
//! of the best rank (see `standing`). Does not know pools or health. Called by `send`.

use std::cmp::Ordering;
use std::time::Duration;

use super::standing::{Standing, mix};

/// How long a server that refused a connection is not asked when others can be.
///
/// Short: it only spares the next requests the same wait; whether a server is healthy is not decided here.
pub(super) const PENALTY: Duration = Duration::from_secs(1);

/// Requests in flight that no server minds: below this, bounded load moves no key.
const LOAD_FLOOR: usize = 32;

/// The servers that may be picked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidates<'a> {
    standings: &'a [Standing],
    tried: &'a [usize],
    now: Duration,
    slow_start: Duration,
    is_panic: bool,
    rank: u8,
}

impl<'a> Candidates<'a> {
    /// Those of the best rank that were not `tried`; `None` when there is nobody to ask.
    pub(super) fn new(
        standings: &'a [Standing],
        tried: &'a [usize],
        now: Duration,
        slow_start: Duration,
        is_panic: bool,
    ) -> Option<Self> {
        let untried = (0..standings.len()).filter(|i| !tried.contains(i));
        let rank = untried.filter_map(|i| standings[i].rank(now, is_panic)).min()?;
        Some(Self {
            standings,
            tried,
            now,
            slow_start,
            is_panic,
            rank,
        })
    }

    fn all(&self) -> impl Iterator<Item = usize> + Clone + '_ {
        let is_one =
            |i: &usize| !self.tried.contains(i) && self.standings[*i].rank(self.now, self.is_panic) == Some(self.rank);
        (0..self.standings.len()).filter(is_one)
    }

    /// Ranks change while we look: what was a candidate may be none any more, and the first untried one is right then.
    fn first(&self) -> usize {
        let untried = (0..self.standings.len()).find(|i| !self.tried.contains(i));
        self.all().next().or(untried).unwrap_or(0)
    }

    /// Which of two servers has the lower score for `key`.
    fn compare(&self, key: u64, a: usize, b: usize) -> Ordering {
        let score = |server: usize| {
            let standing = &self.standings[server];
            let hash = mix(key ^ standing.name_hash());
            (score(hash, u64::from(standing.weight().max(1))), hash)
        };
        let ((a, a_hash), (b, b_hash)) = (score(a), score(b));
        a.partial_cmp(&b).unwrap_or(Ordering::Equal).then(a_hash.cmp(&b_hash))
    }

    fn weight_milli(&self, server: usize) -> u64 {
        self.standings[server].weight_milli(self.now, self.slow_start).max(1)
    }
}

/// The next server by turns, smoothly: with weights 2 and 1 it is a, b, a and not a, a, b.
///
/// `credits` holds one number per server, kept between calls: each candidate earns its weight, the one with most is
/// picked and pays what all have earned.
pub(super) fn round_robin(candidates: &Candidates<'_>, credits: &mut [i64]) -> usize {
    let mut earned = 0;
    let mut richest: Option<usize> = None;
    for server in candidates.all() {
        let weight = i64::try_from(candidates.weight_milli(server)).unwrap_or(i64::MAX);
        credits[server] += weight;
        earned += weight;
        if richest.is_none_or(|richest| credits[server] > credits[richest]) {
            richest = Some(server);
        }
    }
    let picked = richest.unwrap_or_else(|| candidates.first());
    credits[picked] -= earned;
    picked
}

/// Of two servers drawn at random, the one where latency times requests in flight is lower.
///
/// Two, and not the best of all: every process sees only its own requests, and all would run to the same server at once.
pub(super) fn least_loaded(candidates: &Candidates<'_>, random: u64, load: impl Fn(usize) -> usize) -> usize {
    let several = candidates.all().count();
    if several < 2 {
        return candidates.first();
    }
    let one = below(random >> 32, several);
    let other = below(random & 0xffff_ffff, several - 1);
    let other = if other >= one { other + 1 } else { other };
    let nth = |n| candidates.all().nth(n).unwrap_or_else(|| candidates.first());
    let (one, other) = (nth(one), nth(other));
    let cost = |server: usize| {
        let in_flight = small(load(server));
        let cost = match candidates.standings[server].latency.mean(candidates.now) {
            Some(mean) => mean * (in_flight + 1.0),
            // Asked first where nothing is known of it, but by one request at a time.
            None => in_flight * UNKNOWN_LATENCY_MICROS,
        };
        cost / small(usize::try_from(candidates.weight_milli(server)).unwrap_or(usize::MAX))
    };
    if cost(other) < cost(one) { other } else { one }
}

const UNKNOWN_LATENCY_MICROS: f64 = 1e6;

/// The server with the fewest requests in flight for its weight; of equal ones, one at random.
pub(super) fn least_connections(candidates: &Candidates<'_>, random: u64, load: impl Fn(usize) -> usize) -> usize {
    let start = below(random >> 32, candidates.all().count().max(1));
    let turned = candidates.all().skip(start).chain(candidates.all().take(start));
    let mut best: Option<(u128, u128, usize)> = None;
    for server in turned {
        let (in_flight, weight) = (load(server) as u128 + 1, u128::from(candidates.weight_milli(server)));
        // in_flight / weight, compared without dividing.
        if best.is_none_or(|(least, of, _)| in_flight * of < least * weight) {
            best = Some((in_flight, weight, server));
        }
    }
    best.map_or_else(|| candidates.first(), |(_, _, server)| server)
}

/// The server that owns `key`: the one with the highest score for it, or the next highest where that may not be asked or
/// has more than `percent` of its share of the requests in flight (consistent hashing with bounded loads).
///
/// Every process that knows the same names picks the same server, whatever their order: names are hashed, not positions.
/// A server that comes or goes moves only its own share of keys. Weights count in full at once: keys that wander while
/// a server warms up would be fetched twice.
pub(super) fn owner(candidates: &Candidates<'_>, key: u64, percent: u32, load: impl Fn(usize) -> usize) -> usize {
    let weight = |server: usize| u64::from(candidates.standings[server].weight().max(1));
    let (mut in_flight, mut weights) = (1_u128, 0_u128);
    for server in candidates.all() {
        in_flight += load(server) as u128;
        weights += u128::from(weight(server));
    }
    let has_room = |server: usize| {
        let share = (in_flight * u128::from(weight(server)) * u128::from(percent)).div_ceil(weights.max(1) * 100);
        (load(server) as u128) < share.max(LOAD_FLOOR as u128)
    };
    let best = |a: &usize, b: &usize| candidates.compare(key, *a, *b);
    let with_room = candidates.all().filter(|server| has_room(*server)).max_by(best);
    let picked = with_room.or_else(|| candidates.all().max_by(best));
    picked.unwrap_or_else(|| candidates.first())
}

/// One of the `count` servers that come first for `key`: what a hot key is spread over.
pub(super) fn one_of_owners(candidates: &Candidates<'_>, key: u64, count: usize, random: u64) -> usize {
    let mut owners: Vec<usize> = candidates.all().collect();
    owners.sort_unstable_by(|a, b| candidates.compare(key, *b, *a));
    owners.truncate(count.max(1));
    let picked = below(random >> 32, owners.len());
    owners.get(picked).copied().unwrap_or_else(|| candidates.first())
}

/// Weighted rendezvous hashing: the chance to have the highest score is the weight's share.
fn score(hash: u64, weight: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "53 bits of the hash are enough")]
    let between_0_and_1 = ((hash >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    #[expect(clippy::cast_precision_loss, reason = "weights are small")]
    let weight = weight as f64;
    -weight / between_0_and_1.ln()
}

/// A number below `limit` out of 32 random bits.
fn below(random: u64, limit: usize) -> usize {
    usize::try_from((u128::from(random) * limit as u128) >> 32)
        .unwrap_or(0)
        .min(limit.saturating_sub(1))
}

#[expect(clippy::cast_precision_loss, reason = "counts of requests, far below 2^53")]
fn small(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests;
