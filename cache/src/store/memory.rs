//! The store in this process' memory: an index of what there is, and a room in which everything has its place, weighing bytes.
//! Freshness is none of their business: a stale stored response is still worth a validation, so nothing here expires.
//!
//! Readers take a lock of the index only. Who stores or removes holds the room's, so that index and room agree at each
//! moment and no byte is counted twice; what goes is dropped after that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderMap;
use parking_lot::Mutex;

use super::index::Index;
use super::room::Room;
use super::{Entry, Stored};
use crate::policy::key::{Key, KeyHash, KeyHasher};
use crate::policy::rules::KeyRules;
use crate::policy::target::TargetUri;
use crate::purge::{Purges, Strength, Target, Verdict};
use crate::tier::Purged;

/// Turns in which room is made before others get the lock.
const TURNS: u32 = 64;

/// Stored responses by cache key.
pub struct Memory {
    index: Index,
    room: Mutex<Room>,
    hasher: KeyHasher,
    evicted: AtomicU64,
    removed: AtomicU64,
    purges: Purges,
}

/// What has become of a key's entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Replaced {
    /// There is something now, or was nothing.
    Put,
    /// It is gone.
    Removed,
    /// Nothing yet: there has to be more room, and others may want the lock.
    NotYet,
}

impl Memory {
    /// Room for `bytes` bytes.
    pub fn new(bytes: u64) -> Self {
        Self {
            index: Index::new(),
            room: Mutex::new(Room::new(bytes)),
            hasher: KeyHasher::random(),
            evicted: AtomicU64::default(),
            removed: AtomicU64::default(),
            purges: Purges::default(),
        }
    }

    /// The key's hash in this store.
    pub fn hash(&self, key: &Key<'_>) -> KeyHash {
        key.hash(&self.hasher)
    }

    /// What is stored for a key and not purged.
    pub fn get(&self, hash: KeyHash, key: &Key<'_>) -> Option<Entry> {
        let entry = self.index.get(hash).filter(|entry| key.is(entry.key()))?;
        let latest = self.purges.latest();
        if entry.is_checked(latest) {
            return Some(entry);
        }
        self.after_purges(hash, entry, latest)
    }

    /// What is stored for a key, purged or not, and nothing is touched: it does not count as asked for, and gets no mark.
    pub fn inspect(&self, hash: KeyHash, key: &Key<'_>) -> Option<Entry> {
        self.index.get(hash).filter(|entry| key.is(entry.key()))
    }

    /// The slices that are stored of what `key` is the key of, purged or not. Goes through all entries, which takes some
    /// 0.2 s per million: for an operator's question, on a thread that may be kept waiting.
    pub fn inspect_slices(&self, key: &Key<'_>) -> Vec<(u64, Entry)> {
        let entries = self.index.entries();
        entries
            .filter_map(|entry| Some((key.slice_number(entry.key())?, entry)))
            .collect()
    }

    /// How many responses stored for a key are not purged.
    fn count(&self, hash: KeyHash, key: &Key<'_>) -> u64 {
        let entry = self.index.get(hash).filter(|entry| key.is(entry.key()));
        let is_there = |stored: &&Arc<Stored>| self.purges.verdict(&stored.subject()) != Verdict::Gone;
        entry.map_or(0, |entry| entry.variants().iter().filter(is_there).count() as u64)
    }

    /// How many stored responses a purge is going to cover. Goes through all entries, as
    /// [`Self::inspect_slices`] does.
    fn count_covered(&self, target: &Target) -> u64 {
        let covers = target.covering();
        let is_there = |stored: &&Arc<Stored>| {
            let subject = stored.subject();
            covers(&subject) && self.purges.verdict(&subject) != Verdict::Gone
        };
        let entries = self.index.entries();
        entries
            .map(|entry| entry.variants().iter().filter(is_there).count() as u64)
            .sum()
    }

    /// Purges; what it matches is counted before, where `counts` says so.
    pub fn purge(&self, target: &Target, strength: Strength, counts: bool) -> Purged {
        let matched = counts.then(|| self.count_covered(target));
        let number = self.purges.apply(target, strength);
        Purged { number, matched }
    }

    /// Purges one URL, all its variants. How many there were is known without counting, but for keys with fields or cookies
    /// in them, which the URL does not tell, and for slices, of which nobody knows how many there are.
    pub fn purge_url(&self, target: TargetUri<'_>, rules: &KeyRules, strength: Strength, counts: bool) -> Purged {
        let fields = HeaderMap::new();
        let key = Key::new(target, &fields, rules);
        let hash = self.hash(&key);
        let is_known = rules.fields.is_empty() && rules.cookies.is_empty() && rules.slice == 0;
        let known = is_known.then(|| self.count(hash, &key));
        let purged = self.purge(&Target::Url(Key::url(target, rules)), strength, counts && !is_known);
        // Gives the room back now.
        drop(self.get(hash, &key));
        let matched = known.or(purged.matched);
        Purged { matched, ..purged }
    }

    /// The purges of this store.
    pub fn purges(&self) -> &Purges {
        &self.purges
    }

    /// What the purges since the last look have left of an entry.
    fn after_purges(&self, hash: KeyHash, entry: Entry, latest: u64) -> Option<Entry> {
        let verdict = |stored: &Arc<Stored>| self.purges.verdict(&stored.subject());
        let (gone, kept): (Vec<_>, Vec<_>) = entry
            .variants()
            .iter()
            .cloned()
            .partition(|stored| verdict(stored) == Verdict::Gone);
        for stored in kept.iter().filter(|stored| verdict(stored) == Verdict::Stale) {
            stored.mark_stale();
        }
        for stored in &kept {
            // Whoever sees the number sees the mark.
            stored.checked.fetch_max(latest, Ordering::Release);
        }
        if gone.is_empty() {
            return Some(entry);
        }
        // Somebody may have stored something new meanwhile: only what is gone goes.
        let is_gone = |stored: &&Arc<Stored>| gone.iter().any(|gone| Arc::ptr_eq(gone, stored));
        let is_removed = self.replace(hash, |entry| {
            Entry::of(
                entry?
                    .variants()
                    .iter()
                    .filter(|stored| !is_gone(stored))
                    .cloned()
                    .collect(),
            )
        });
        self.removed.fetch_add(u64::from(is_removed), Ordering::Relaxed);
        Entry::of(kept)
    }

    /// Stores a response; it takes the place of `replaced`, and of one for the same request fields.
    pub fn put(&self, hash: KeyHash, stored: &Arc<Stored>, replaced: Option<&Arc<Stored>>, variants_max: usize) {
        // What was purged while it was fetched, softly or not, must not take the place of what was fetched since, nor
        // part those who wait for that from those who come now.
        if self.purges.verdict(&stored.subject()) != Verdict::Kept {
            return;
        }
        let stored = &Stored::settled(stored);
        self.replace(hash, |entry| {
            let Some(entry) = entry.filter(|entry| *entry.key() == *stored.key) else {
                return Some(Entry::One(Arc::clone(stored)));
            };
            let is_other = |old: &&Arc<Stored>| {
                let same_request = old.meta.vary == stored.meta.vary && old.meta.vary_key == stored.meta.vary_key;
                !same_request && replaced.is_none_or(|replaced| !Arc::ptr_eq(old, replaced))
            };
            let others = entry.variants().iter().filter(is_other);
            let mut variants = vec![Arc::clone(stored)];
            variants.extend(others.take(variants_max.saturating_sub(1)).cloned());
            let kept: u64 = variants[1..].iter().map(|kept| kept.hits()).sum();
            let taken_over = u32::try_from(entry.hits().saturating_sub(kept)).unwrap_or(u32::MAX);
            stored.hits.store(taken_over, Ordering::Relaxed);
            let asked = entry.asked();
            // The next look holds all of them against the purges so far.
            let made = Entry::of(variants)?;
            // Somebody has asked for what is put in its place.
            made.set_asked(asked + 1);
            Some(made)
        });
    }

    /// Puts what `make` makes of a key's entry in its place, or nothing; tells whether it has taken one away.
    fn replace(&self, hash: KeyHash, make: impl Fn(Option<&Entry>) -> Option<Entry>) -> bool {
        let mut is_admitted = false;
        loop {
            let mut gone = Vec::new();
            let replaced = self.try_replace(hash, &make, &mut is_admitted, &mut gone);
            // Here, where nobody waits for a lock.
            drop(gone);
            if replaced != Replaced::NotYet {
                return replaced == Replaced::Removed;
            }
        }
    }

    /// The same, unless more has to go for it than may go at once. What goes is put into `gone`.
    fn try_replace(
        &self,
        hash: KeyHash,
        make: impl Fn(Option<&Entry>) -> Option<Entry>,
        is_admitted: &mut bool,
        gone: &mut Vec<Entry>,
    ) -> Replaced {
        let mut room = self.room.lock();
        let present = self.index.get(hash);
        let place = present.as_ref().and_then(Entry::place);
        let Some(made) = make(present.as_ref()) else {
            return self.take_out(&mut room, hash, gone);
        };
        let weight = made.weight();
        if !*is_admitted && !room.admits(hash, weight, place) {
            self.evicted.fetch_add(1, Ordering::Relaxed);
            self.take_out(&mut room, hash, gone);
            return Replaced::Put;
        }
        *is_admitted = true;
        let mut turns = 0;
        while !room.fits(weight, place) {
            let victim = room.turn(|whose, price| {
                let spend = |entry: &Entry| entry.spend(price);
                self.index.look(whose, spend) == Some(true)
            });
            if let Some(victim) = victim {
                self.evicted.fetch_add(1, Ordering::Relaxed);
                gone.extend(self.index.remove(victim));
            }
            turns += 1;
            if turns == TURNS || victim == Some(hash) {
                return Replaced::NotYet;
            }
        }
        let place = match place {
            Some(place) => {
                room.reweigh(place, weight);
                place
            }
            None => room.enter(hash, weight),
        };
        made.set_place(place);
        gone.extend(self.index.put(hash, made));
        gone.extend(present);
        Replaced::Put
    }

    /// Takes the entry of a hash away.
    fn take_out(&self, room: &mut Room, hash: KeyHash, gone: &mut Vec<Entry>) -> Replaced {
        let Some(entry) = self.index.remove(hash) else {
            return Replaced::Put;
        };
        if let Some(place) = entry.place() {
            room.leave(place);
        }
        gone.push(entry);
        Replaced::Removed
    }

    /// Removes everything stored for a key; tells whether there was anything.
    pub fn remove(&self, hash: KeyHash, key: &Key<'_>) -> bool {
        let others = |entry: Option<&Entry>| entry.filter(|entry| !key.is(entry.key())).cloned();
        let is_removed = self.get(hash, key).is_some() && self.replace(hash, others);
        self.removed.fetch_add(u64::from(is_removed), Ordering::Relaxed);
        is_removed
    }

    /// Entries and bytes.
    pub fn level(&self) -> (u64, u64) {
        let room = self.room.lock();
        (room.entries(), room.bytes())
    }

    /// Bytes as they are counted, as the entries weigh, and at most.
    #[cfg(test)]
    pub(crate) fn balance(&self) -> (u64, u64, u64) {
        let room = self.room.lock();
        let held = self.index.entries().map(|entry| entry.weight()).sum();
        (room.bytes(), held, room.max())
    }

    /// Entries that were pushed out, or not let in, for room.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Entries that were purged or invalidated.
    pub fn removed(&self) -> u64 {
        self.removed.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
