//! The store in this process' memory: moka decides what has room, weighing bytes. Freshness is none of its business: a stale
//! stored response is still worth a validation, so nothing here expires.

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use moka::notification::RemovalCause;
use moka::ops::compute::Op;
use moka::sync::Cache;

use super::{Entry, Stored};
use crate::policy::key::{Key, KeyHash, KeyHasher};

/// Stored responses by cache key.
pub struct Memory {
    entries: Cache<u64, Arc<Entry>, BuildHasherDefault<AlreadyHashed>>,
    hasher: KeyHasher,
    evicted: Arc<AtomicU64>,
}

impl Memory {
    /// Room for `bytes` bytes.
    pub fn new(bytes: u64) -> Self {
        let evicted = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&evicted);
        let entries = Cache::builder()
            .max_capacity(bytes)
            .weigher(|_, entry: &Arc<Entry>| u32::try_from(entry.weight()).unwrap_or(u32::MAX))
            .eviction_listener(move |_, _, cause| {
                if cause == RemovalCause::Size {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            })
            .build_with_hasher(BuildHasherDefault::default());
        Self {
            entries,
            hasher: KeyHasher::random(),
            evicted,
        }
    }

    /// The key's hash in this store.
    pub fn hash(&self, key: &Key<'_>) -> KeyHash {
        key.hash(&self.hasher)
    }

    /// What is stored for a key.
    pub fn get(&self, hash: KeyHash, key: &Key<'_>) -> Option<Arc<Entry>> {
        self.entries.get(&hash.0).filter(|entry| key.is(entry.key()))
    }

    /// Stores a response; it takes the place of `replaced`, and of one for the same request fields.
    pub fn put(&self, hash: KeyHash, stored: &Arc<Stored>, replaced: Option<&Arc<Stored>>, variants_max: usize) {
        self.entries.entry(hash.0).and_compute_with(|present| {
            let mut variants = vec![Arc::clone(stored)];
            if let Some(entry) = present
                .map(moka::Entry::into_value)
                .filter(|entry| *entry.key() == *stored.key)
            {
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
            Op::Put(Arc::new(Entry { variants }))
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

    /// Entries that were pushed out for room.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
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
