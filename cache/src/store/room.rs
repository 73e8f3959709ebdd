//! Who has room in the store, by bytes: S3-FIFO (Yang, Zhang, Qiu, Yue, Rashmi, "FIFO queues are all you need for cache
//! eviction", SOSP 2023).
//!
//! Newcomers stand in a queue of their own, for a tenth of the room. Who was asked for there goes on to the main queue
//! when its turn comes; who was not goes, is remembered for a while ([`Ghost`]), and if it comes again meanwhile has its
//! place in the main queue at once. There, who was asked for goes to the end of the line, three times at the most. So what
//! is asked for once passes through a tenth of the store. What takes the room of many has to be asked for more often
//! ([`Room::price`]), which the paper, whose objects are all alike, leaves out. A hit moves nothing: it is counted where it
//! is (`Stored`).

mod ghost; // who went not long ago
mod lines; // places in the two queues

use crate::policy::key::KeyHash;
use ghost::Ghost;
pub(super) use lines::Place;
use lines::{Lines, Queue};

/// The part of the room that is for newcomers: a tenth.
const NEWCOMERS: u64 = 10;

/// The places of all entries, and what they weigh.
pub(super) struct Room {
    max: u64,
    lines: Lines,
    ghost: Ghost,
}

impl Room {
    /// Room for so many bytes.
    pub(super) fn new(max: u64) -> Self {
        Self {
            max,
            lines: Lines::default(),
            ghost: Ghost::default(),
        }
    }

    /// Entries that have a place.
    pub(super) fn entries(&self) -> u64 {
        self.lines.entries(Queue::Newcomers) + self.lines.entries(Queue::Main)
    }

    /// What they weigh.
    pub(super) fn bytes(&self) -> u64 {
        self.lines.bytes(Queue::Newcomers) + self.lines.bytes(Queue::Main)
    }

    /// The most that they may weigh.
    #[cfg(test)]
    pub(super) const fn max(&self) -> u64 {
        self.max
    }

    /// Whether an entry of this weight may have a place, or keep the one that it has. Not where it is heavier than the
    /// store; nor, unless it comes the second time, where others would have to go for it and it is heavier than the room of
    /// newcomers.
    pub(super) fn admits(&mut self, hash: KeyHash, weight: u64, place: Option<Place>) -> bool {
        let is_heavy = weight > self.max / NEWCOMERS;
        if !is_heavy || place.is_some() || self.fits(weight, None) {
            return weight <= self.max;
        }
        let is_known = self.ghost.knows(hash, self.entries());
        if !is_known {
            self.ghost.note(hash, self.entries());
        }
        is_known && weight <= self.max
    }

    /// Whether there is room for this weight, of an entry that has this place already.
    pub(super) fn fits(&self, weight: u64, place: Option<Place>) -> bool {
        let old = place.map_or(0, |place| self.lines.weight(place));
        self.bytes() - old + weight <= self.max
    }

    /// A place for somebody new.
    pub(super) fn enter(&mut self, hash: KeyHash, weight: u64) -> Place {
        debug_assert!(self.fits(weight, None), "somebody enters where there is no room");
        let is_known = self.ghost.forget(hash, self.entries());
        let queue = if is_known { Queue::Main } else { Queue::Newcomers };
        self.lines.add(hash, weight, queue)
    }

    /// Who has this place weighs this from now on.
    pub(super) fn reweigh(&mut self, place: Place, weight: u64) {
        debug_assert!(self.fits(weight, Some(place)), "somebody grows where there is no room");
        self.lines.reweigh(place, weight);
    }

    /// Somebody leaves.
    pub(super) fn leave(&mut self, place: Place) {
        self.lines.remove(place);
    }

    /// Looks at whose turn it is. It goes, and is told, unless it was asked for often enough since its last turn, which
    /// `spend` says, given the price, and uses up.
    ///
    /// INVARIANT: called again and again it makes room: each turn ends a stay or uses up a request.
    pub(super) fn turn(&mut self, spend: impl FnOnce(KeyHash, u32) -> bool) -> Option<KeyHash> {
        let lines = &self.lines;
        let is_newcomer = lines.bytes(Queue::Newcomers) > self.max / NEWCOMERS || lines.entries(Queue::Main) == 0;
        let queue = if is_newcomer { Queue::Newcomers } else { Queue::Main };
        let place = lines.first(queue)?;
        let (hash, weight) = (lines.hash(place), lines.weight(place));
        if spend(hash, self.price(weight)) {
            let lines = &mut self.lines;
            lines.requeue(place, Queue::Main);
            return None;
        }
        self.lines.remove(place);
        if is_newcomer {
            self.ghost.note(hash, self.entries());
        }
        Some(hash)
    }

    /// Requests that it takes to stay: by the entries of average weight that there would be room for instead.
    fn price(&self, weight: u64) -> u32 {
        let average = self.bytes() / self.entries().max(1);
        match weight / average.max(1) {
            0..4 => 1,
            4..16 => 2,
            _ => 3,
        }
    }
}

#[cfg(test)]
mod tests;
