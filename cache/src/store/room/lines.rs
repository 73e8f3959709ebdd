//! The two queues of a room, as lines of places that anybody may leave from the middle.
//!
//! All places are in one table, which grows block by block: no block is ever moved, so that growing takes no longer with a
//! million entries than with a thousand. A place that was left is given to the next who comes.

use crate::policy::key::KeyHash;

/// Places in a block: 24 KiB.
const BLOCK: u32 = 1024;
/// No place.
const NONE: Place = Place(u32::MAX);

/// A place in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Place(u32);

/// Which line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queue {
    /// Of those who came not long ago.
    Newcomers,
    /// Of those who were asked for.
    Main,
}

/// Both lines.
#[derive(Debug)]
pub(super) struct Lines {
    blocks: Vec<Box<[Holder]>>,
    /// Places that were left, by `after`.
    free: Place,
    newcomers: Line,
    main: Line,
}

/// Who has a place.
#[derive(Clone, Copy, Debug)]
struct Holder {
    hash: KeyHash,
    /// Twice its weight, and one more in the main queue: there are as many of these as stored responses.
    weight_and_queue: u64,
    before: Place,
    after: Place,
}

#[derive(Debug)]
struct Line {
    first: Place,
    last: Place,
    entries: u64,
    bytes: u64,
}

impl Line {
    const EMPTY: Self = Self {
        first: NONE,
        last: NONE,
        entries: 0,
        bytes: 0,
    };
}

impl Default for Lines {
    fn default() -> Self {
        Self {
            blocks: Vec::new(),
            free: NONE,
            newcomers: Line::EMPTY,
            main: Line::EMPTY,
        }
    }
}

impl Place {
    /// It as a number.
    pub(in crate::store) const fn number(self) -> u32 {
        self.0
    }

    /// The place of that number.
    pub(in crate::store) const fn of(number: u32) -> Self {
        Self(number)
    }
}

impl Lines {
    /// How many stand in a queue.
    pub(super) const fn entries(&self, queue: Queue) -> u64 {
        self.line(queue).entries
    }

    /// What those in a queue weigh.
    pub(super) const fn bytes(&self, queue: Queue) -> u64 {
        self.line(queue).bytes
    }

    /// The first of a queue.
    pub(super) fn first(&self, queue: Queue) -> Option<Place> {
        Some(self.line(queue).first).filter(|first| *first != NONE)
    }

    /// Who has a place.
    pub(super) fn hash(&self, place: Place) -> KeyHash {
        self.holder(place).hash
    }

    /// What it weighs.
    pub(super) fn weight(&self, place: Place) -> u64 {
        self.holder(place).weight()
    }

    /// A place at the end of a queue.
    pub(super) fn add(&mut self, hash: KeyHash, weight: u64, queue: Queue) -> Place {
        if self.free == NONE {
            self.grow();
        }
        let place = self.free;
        self.free = self.holder(place).after;
        *self.holder_mut(place) = Holder::new(hash, weight, queue);
        self.push(place);
        place
    }

    /// Who has this place goes to the end of that queue.
    pub(super) fn requeue(&mut self, place: Place, queue: Queue) {
        self.unlink(place);
        let holder = *self.holder(place);
        *self.holder_mut(place) = Holder::new(holder.hash, holder.weight(), queue);
        self.push(place);
    }

    /// Who has this place weighs something else.
    pub(super) fn reweigh(&mut self, place: Place, weight: u64) {
        let holder = *self.holder(place);
        let line = self.line_mut(holder.queue());
        line.bytes = line.bytes - holder.weight() + weight;
        let Holder { weight_and_queue, .. } = Holder::new(holder.hash, weight, holder.queue());
        self.holder_mut(place).weight_and_queue = weight_and_queue;
    }

    /// Who has this place leaves.
    pub(super) fn remove(&mut self, place: Place) {
        self.unlink(place);
        self.holder_mut(place).after = self.free;
        self.free = place;
    }

    fn push(&mut self, place: Place) {
        let (weight, queue) = (self.weight(place), self.holder(place).queue());
        let line = self.line_mut(queue);
        line.entries += 1;
        line.bytes += weight;
        let last = std::mem::replace(&mut line.last, place);
        if last == NONE {
            line.first = place;
        } else {
            self.holder_mut(last).after = place;
        }
        self.holder_mut(place).before = last;
    }

    fn unlink(&mut self, place: Place) {
        let holder = *self.holder(place);
        let line = self.line_mut(holder.queue());
        line.entries -= 1;
        line.bytes -= holder.weight();
        if holder.before == NONE {
            line.first = holder.after;
        }
        if holder.after == NONE {
            line.last = holder.before;
        }
        if holder.before != NONE {
            self.holder_mut(holder.before).after = holder.after;
        }
        if holder.after != NONE {
            self.holder_mut(holder.after).before = holder.before;
        }
    }

    /// One more block, all of it free.
    fn grow(&mut self) {
        let before = u32::try_from(self.blocks.len()).unwrap_or(u32::MAX).checked_mul(BLOCK);
        let start = before.expect("invariant: four thousand million stored responses are in no machine's memory");
        let next = |number: u32| {
            if number % BLOCK == BLOCK - 1 {
                NONE
            } else {
                Place(number + 1)
            }
        };
        let free = |number| Holder {
            after: next(number),
            ..Holder::new(KeyHash(0), 0, Queue::Newcomers)
        };
        self.blocks.push((start..start + BLOCK).map(free).collect());
        self.free = Place(start);
    }

    fn holder(&self, place: Place) -> &Holder {
        &self.blocks[(place.0 / BLOCK) as usize][(place.0 % BLOCK) as usize]
    }

    fn holder_mut(&mut self, place: Place) -> &mut Holder {
        &mut self.blocks[(place.0 / BLOCK) as usize][(place.0 % BLOCK) as usize]
    }

    const fn line(&self, queue: Queue) -> &Line {
        match queue {
            Queue::Newcomers => &self.newcomers,
            Queue::Main => &self.main,
        }
    }

    const fn line_mut(&mut self, queue: Queue) -> &mut Line {
        match queue {
            Queue::Newcomers => &mut self.newcomers,
            Queue::Main => &mut self.main,
        }
    }
}

impl Holder {
    const fn new(hash: KeyHash, weight: u64, queue: Queue) -> Self {
        Self {
            hash,
            weight_and_queue: weight << 1 | matches!(queue, Queue::Main) as u64,
            before: NONE,
            after: NONE,
        }
    }

    const fn weight(&self) -> u64 {
        self.weight_and_queue >> 1
    }

    const fn queue(&self) -> Queue {
        if self.weight_and_queue & 1 == 1 {
            Queue::Main
        } else {
            Queue::Newcomers
        }
    }
}
