//! The store in this process' memory: moka decides what has room, weighing bytes. Freshness is none of its business: a stale
//! stored response is still worth a validation, so nothing here expires.

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderMap;
use moka::notification::RemovalCause;
use moka::ops::compute::Op;
use moka::sync::Cache;

use super::{Entry, Stored};
use crate::policy::key::{Key, KeyHash, KeyHasher};
use crate::policy::rules::KeyRules;
use crate::policy::target::TargetUri;
use crate::purge::{Purges, Strength, Target, Verdict};
use crate::tier::Purged;

/// Stored responses by cache key.
pub struct Memory {
    entries: Cache<u64, Entry, BuildHasherDefault<AlreadyHashed>>,
    hasher: KeyHasher,
    evicted: Arc<AtomicU64>,
    removed: AtomicU64,
    purges: Purges,
}

impl Memory {
    /// Room for `bytes` bytes.
    pub fn new(bytes: u64) -> Self {
        let evicted = Arc::new(AtomicU64::new(0));
        let for_room = Arc::clone(&evicted);
        let entries = Cache::builder()
            .max_capacity(bytes)
            .weigher(|_, entry: &Entry| u32::try_from(entry.weight()).unwrap_or(u32::MAX))
            .eviction_listener(move |_, _, cause| {
                for_room.fetch_add(u64::from(cause == RemovalCause::Size), Ordering::Relaxed);
            })
            .build_with_hasher(BuildHasherDefault::default());
        Self {
            entries,
            hasher: KeyHasher::random(),
            evicted,
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
        let entry = self.entries.get(&hash.0).filter(|entry| key.is(entry.key()))?;
        let latest = self.purges.latest();
        if entry.is_checked(latest) {
            return Some(entry);
        }
        self.after_purges(hash, entry, latest)
    }

    /// What is stored for a key, purged or not, and nothing is touched: no recency, no frequency, no mark.
    ///
    /// moka counts every access by key, so this goes through all entries, which takes some 0.2 s per million: for an
    /// operator's question, on a thread that may be kept waiting.
    pub fn inspect(&self, hash: KeyHash, key: &Key<'_>) -> Option<Entry> {
        // Tells without counting; most questions about what is not stored end here.
        if !self.entries.contains_key(&hash.0) {
            return None;
        }
        let mut entries = self.entries.iter();
        let (_, entry) = entries.find(|(known, _)| **known == hash.0)?;
        key.is(entry.key()).then_some(entry)
    }

    /// The slices that are stored of what `key` is the key of, purged or not; as slow, and touching as little.
    pub fn inspect_slices(&self, key: &Key<'_>) -> Vec<(u64, Entry)> {
        let entries = self.entries.iter();
        entries
            .filter_map(|(_, entry)| Some((key.slice_number(entry.key())?, entry)))
            .collect()
    }

    /// How many responses stored for a key are not purged.
    fn count(&self, hash: KeyHash, key: &Key<'_>) -> u64 {
        let entry = self.entries.get(&hash.0).filter(|entry| key.is(entry.key()));
        let is_there = |stored: &&Arc<Stored>| self.purges.verdict(&stored.subject()) != Verdict::Gone;
        entry.map_or(0, |entry| entry.variants().iter().filter(is_there).count() as u64)
    }

    /// How many stored responses a purge is going to cover. Goes through all entries, as [`Self::inspect`] does.
    fn count_covered(&self, target: &Target) -> u64 {
        let covers = target.covering();
        let is_there = |stored: &&Arc<Stored>| {
            let subject = stored.subject();
            covers(&subject) && self.purges.verdict(&subject) != Verdict::Gone
        };
        let entries = self.entries.iter();
        entries
            .map(|(_, entry)| entry.variants().iter().filter(is_there).count() as u64)
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
        self.replace(hash, |entry| {
            let mut variants = vec![Arc::clone(stored)];
            if let Some(entry) = entry.filter(|entry| *entry.key() == *stored.key) {
                let is_other = |old: &&Arc<Stored>| {
                    let same_request = old.meta.vary == stored.meta.vary && old.meta.vary_key == stored.meta.vary_key;
                    !same_request && replaced.is_none_or(|replaced| !Arc::ptr_eq(old, replaced))
                };
                let others = entry.variants().iter().filter(is_other);
                variants.extend(others.take(variants_max.saturating_sub(1)).cloned());
                let kept: u64 = variants[1..].iter().map(|kept| kept.hits()).sum();
                let taken_over = u32::try_from(entry.hits().saturating_sub(kept)).unwrap_or(u32::MAX);
                stored.hits.store(taken_over, Ordering::Relaxed);
            }
            // The next look holds all of them against the purges so far.
            Entry::of(variants)
        });
    }

    /// Puts what `make` makes of a key's entry in its place, or nothing; tells whether it has taken one away.
    ///
    /// An entry that changes its weight is removed and comes anew: where moka (0.12.16) removes one before it has counted
    /// the update, it takes off the new weight for the old one, and the bytes that it counts are wrong from then on.
    fn replace(&self, hash: KeyHash, make: impl Fn(Option<&Entry>) -> Option<Entry>) -> bool {
        let mut taken: Option<Entry> = None;
        for is_last in [false, false, true] {
            let mut is_over = true;
            let mut is_removed = false;
            self.entries.entry(hash.0).and_compute_with(|present| {
                let present = present.map(moka::Entry::into_value);
                let made = make(present.as_ref().or(taken.as_ref()));
                match (made, present) {
                    (None, None) => Op::Nop,
                    (None, Some(_)) => {
                        is_removed = true;
                        Op::Remove
                    }
                    (Some(made), Some(present)) if made.weight() != present.weight() && !is_last => {
                        (taken, is_over) = (Some(present), false);
                        Op::Remove
                    }
                    (Some(made), _) => Op::Put(made),
                }
            });
            if is_over {
                return is_removed;
            }
        }
        false
    }

    /// Removes everything stored for a key; tells whether there was anything.
    pub fn remove(&self, hash: KeyHash, key: &Key<'_>) -> bool {
        let is_removed = self.get(hash, key).is_some() && self.entries.remove(&hash.0).is_some();
        self.removed.fetch_add(u64::from(is_removed), Ordering::Relaxed);
        is_removed
    }

    /// Entries and bytes, as far as moka has counted them.
    pub fn level(&self) -> (u64, u64) {
        (self.entries.entry_count(), self.entries.weighted_size())
    }

    /// Bytes as moka has counted them, as the entries weigh, and at most.
    #[cfg(test)]
    pub(crate) fn balance(&self) -> (u64, u64, u64) {
        self.entries.run_pending_tasks();
        let held = self.entries.iter().map(|(_, entry)| entry.weight()).sum();
        let max = self.entries.policy().max_capacity().unwrap_or(u64::MAX);
        (self.entries.weighted_size(), held, max)
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

/// The keys are hashes already.
#[derive(Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Only `write_u64` is called for u64 keys; anything else is folded in.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use common::http::response::SharedFields;

    use super::*;
    use crate::policy::rules::Rules;
    use crate::policy::testing;
    use crate::store::Purging;
    use crate::store::content::Content;

    #[test]
    fn an_entry_that_was_removed_soon_after_it_grew_leaves_no_weight_behind() {
        let (memory, none, rules) = (Memory::new(1 << 20), HeaderMap::new(), Rules::default().key);
        let key = Key::new(TargetUri::parse("http://a.test/b").unwrap(), &none, &rules);
        let hash = memory.hash(&key);
        let put = |language: &'static str| {
            let mut meta = testing::stored(200, &[("cache-control", "max-age=9"), ("vary", "accept-language")]);
            let request = testing::fields(&[("accept-language", language)]);
            meta.vary_key = meta.vary.key(&request, &none, &Rules::default().vary);
            let fields = Arc::new(SharedFields::new(&none));
            let content = Content::complete("hello".into());
            memory.put(
                hash,
                &Stored::new(key.render(), meta, fields, content, Purging::default()),
                None,
                8,
            );
        };
        for round in 1..=3 {
            put("en");
            memory.entries.run_pending_tasks();
            put("de");
            assert_eq!(memory.get(hash, &key).map(|entry| entry.variants().len()), Some(2));
            assert!(memory.remove(hash, &key));
            let (counted, held, _) = memory.balance();
            assert_eq!((counted, held, memory.removed()), (0, 0, round));
        }
    }
}
