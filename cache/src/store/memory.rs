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
    entries: Cache<u64, Arc<Entry>, BuildHasherDefault<AlreadyHashed>>,
    hasher: KeyHasher,
    evicted: Arc<AtomicU64>,
    removed: Arc<AtomicU64>,
    purges: Purges,
}

impl Memory {
    /// Room for `bytes` bytes.
    pub fn new(bytes: u64) -> Self {
        let evicted = Arc::new(AtomicU64::new(0));
        let removed = Arc::new(AtomicU64::new(0));
        let (for_room, on_purpose) = (Arc::clone(&evicted), Arc::clone(&removed));
        let entries = Cache::builder()
            .max_capacity(bytes)
            .weigher(|_, entry: &Arc<Entry>| u32::try_from(entry.weight()).unwrap_or(u32::MAX))
            .eviction_listener(move |_, _, cause| {
                let counter = match cause {
                    RemovalCause::Size => &for_room,
                    RemovalCause::Explicit => &on_purpose,
                    RemovalCause::Replaced | RemovalCause::Expired => return,
                };
                counter.fetch_add(1, Ordering::Relaxed);
            })
            .build_with_hasher(BuildHasherDefault::default());
        Self {
            entries,
            hasher: KeyHasher::random(),
            evicted,
            removed,
            purges: Purges::default(),
        }
    }

    /// The key's hash in this store.
    pub fn hash(&self, key: &Key<'_>) -> KeyHash {
        key.hash(&self.hasher)
    }

    /// What is stored for a key and not purged.
    pub fn get(&self, hash: KeyHash, key: &Key<'_>) -> Option<Arc<Entry>> {
        let entry = self.entries.get(&hash.0).filter(|entry| key.is(entry.key()))?;
        let latest = self.purges.latest();
        if entry.checked.load(Ordering::Relaxed) >= latest {
            return Some(entry);
        }
        self.after_purges(hash, entry, latest)
    }

    /// What is stored for a key, purged or not, and nothing is touched: no recency, no frequency, no mark.
    ///
    /// moka counts every access by key, so this goes through all entries, which takes some 0.2 s per million: for an
    /// operator's question, on a thread that may be kept waiting.
    pub fn inspect(&self, hash: KeyHash, key: &Key<'_>) -> Option<Arc<Entry>> {
        // Tells without counting; most questions about what is not stored end here.
        if !self.entries.contains_key(&hash.0) {
            return None;
        }
        let mut entries = self.entries.iter();
        let (_, entry) = entries.find(|(known, _)| **known == hash.0)?;
        key.is(entry.key()).then_some(entry)
    }

    /// The slices that are stored of what `key` is the key of, purged or not; as slow, and touching as little.
    pub fn inspect_slices(&self, key: &Key<'_>) -> Vec<(u64, Arc<Entry>)> {
        let entries = self.entries.iter();
        entries
            .filter_map(|(_, entry)| Some((key.slice_number(entry.key())?, entry)))
            .collect()
    }

    /// How many responses stored for a key are not purged.
    fn count(&self, hash: KeyHash, key: &Key<'_>) -> u64 {
        let entry = self.entries.get(&hash.0).filter(|entry| key.is(entry.key()));
        let is_there = |stored: &&Arc<Stored>| self.purges.verdict(&stored.subject()) != Verdict::Gone;
        entry.map_or(0, |entry| entry.variants.iter().filter(is_there).count() as u64)
    }

    /// Purges one URL, all its variants.
    pub fn purge_url(&self, target: TargetUri<'_>, rules: &KeyRules, strength: Strength) -> Purged {
        let fields = HeaderMap::new();
        let key = Key::new(target, &fields, rules);
        let hash = self.hash(&key);
        // A key with fields or cookies in it is not known from its URL, and how many slices there are nobody knows.
        let is_known = rules.fields.is_empty() && rules.cookies.is_empty() && rules.slice == 0;
        let matched = is_known.then(|| self.count(hash, &key));
        let number = self.purges.apply(&Target::Url(Key::url(target, rules)), strength);
        // Gives the room back now.
        drop(self.get(hash, &key));
        Purged { number, matched }
    }

    /// The purges of this store.
    pub fn purges(&self) -> &Purges {
        &self.purges
    }

    /// What the purges since the last look have left of an entry.
    fn after_purges(&self, hash: KeyHash, entry: Arc<Entry>, latest: u64) -> Option<Arc<Entry>> {
        let verdict = |stored: &Arc<Stored>| self.purges.verdict(&stored.subject());
        let (gone, kept): (Vec<_>, Vec<_>) = entry
            .variants
            .iter()
            .cloned()
            .partition(|stored| verdict(stored) == Verdict::Gone);
        for stored in kept.iter().filter(|stored| verdict(stored) == Verdict::Stale) {
            stored.mark_stale();
        }
        if gone.is_empty() {
            entry.checked.store(latest, Ordering::Relaxed);
            return Some(entry);
        }
        // Somebody may have stored something new meanwhile: only what is gone goes.
        let is_gone = |stored: &Arc<Stored>| gone.iter().any(|gone| Arc::ptr_eq(gone, stored));
        self.entries
            .entry(hash.0)
            .and_compute_with(|present| match present.map(moka::Entry::into_value) {
                Some(entry) => {
                    let variants: Vec<_> = entry
                        .variants
                        .iter()
                        .filter(|stored| !is_gone(stored))
                        .cloned()
                        .collect();
                    match variants.is_empty() {
                        true => Op::Remove,
                        false => Op::Put(Entry::new(variants, 0, entry.hits())),
                    }
                }
                None => Op::Nop,
            });
        (!kept.is_empty()).then(|| Entry::new(kept, latest, entry.hits()))
    }

    /// Stores a response; it takes the place of `replaced`, and of one for the same request fields.
    pub fn put(&self, hash: KeyHash, stored: &Arc<Stored>, replaced: Option<&Arc<Stored>>, variants_max: usize) {
        // What was purged while it was fetched, softly or not, must not take the place of what was fetched since, nor
        // part those who wait for that from those who come now.
        if self.purges.verdict(&stored.subject()) != Verdict::Kept {
            return;
        }
        self.entries.entry(hash.0).and_compute_with(|present| {
            let mut variants = vec![Arc::clone(stored)];
            let (mut checked, mut hits) = (u64::MAX, 0);
            if let Some(entry) = present
                .map(moka::Entry::into_value)
                .filter(|entry| *entry.key() == *stored.key)
            {
                checked = entry.checked.load(Ordering::Relaxed);
                hits = entry.hits();
                let is_other = |old: &&Arc<Stored>| {
                    let same_request = old.meta.vary == stored.meta.vary && old.meta.vary_key == stored.meta.vary_key;
                    !same_request && replaced.is_none_or(|replaced| !Arc::ptr_eq(old, replaced))
                };
                variants.extend(
                    entry
                        .variants
                        .iter()
                        .filter(is_other)
                        .take(variants_max.saturating_sub(1))
                        .cloned(),
                );
            }
            // The next look holds all of them against the purges so far.
            Op::Put(Entry::new(variants, stored.purging.began.min(checked), hits))
        });
    }

    /// Removes everything stored for a key; tells whether there was anything.
    pub fn remove(&self, hash: KeyHash, key: &Key<'_>) -> bool {
        match self.get(hash, key) {
            Some(_) => self.entries.remove(&hash.0).is_some(),
            None => false,
        }
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
