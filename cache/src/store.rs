//! What is kept. Nobody outside knows where the bytes lie: a stored response is a head, and content that is read in pieces.

pub mod content; // content that may still be coming
pub mod memory; // in this process' memory
pub mod kept; // content, all of it or coming
mod index; // which there are
mod room; // who may stay

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use common::http::response::SharedFields;

use crate::policy::meta::StoredMeta;
use crate::policy::reuse::Mark;
use crate::purge::Subject;
use kept::Kept;
use room::Place;

/// Times that an entry was asked for, as far as they count for staying.
const ASKED_MAX: u32 = 3;

/// One stored response: immutable, shared; what is counted and marked changes.
#[derive(Debug)]
pub struct Stored {
    /// Its cache key, rendered: what the hash alone cannot tell apart.
    pub key: Box<[u8]>,
    /// What reuse needs to know.
    pub meta: StoredMeta,
    /// Its fields, rendered once.
    pub fields: Arc<SharedFields>,
    /// Its content.
    pub content: Kept,
    /// The number of the latest invalidation when its fetch began.
    pub invalidation: u64,
    named: Option<Box<Named>>,
    /// The number of the latest purge that it was held against; at first that of the latest when its fetch began.
    checked: AtomicU64,
    /// Requests that it has answered without the origin, and those that others of its key had before it took their place.
    hits: AtomicU32,
    /// How many of them have been spent on staying; written by whoever makes room (`room.rs`), and so are all below but the
    /// mark.
    spent: AtomicU32,
    /// The number of its entry's place in the room, where it is the first of its entry.
    place: AtomicU32,
    marked_stale: AtomicBool,
}

/// Names of a stored response that few have.
#[derive(Debug)]
struct Named {
    url: Option<Box<[u8]>>,
    tags: Box<str>,
}

/// What of a stored response purges go by.
#[derive(Clone, Debug, Default)]
pub struct Purging {
    /// The number of the latest purge when its fetch began.
    pub began: u64,
    /// The number of the latest invalidation then.
    pub invalidation: u64,
    /// Its URL, where its key does not begin with that.
    pub url: Option<Box<[u8]>>,
    /// Its tags, separated by spaces.
    pub tags: Box<str>,
}

/// Bookkeeping of one stored response besides key, fields and content: the structs themselves, its slot and its
/// place, as `bench memory --only object` finds it.
const OVERHEAD: u64 = 400;

impl Stored {
    /// A stored response with these parts.
    pub fn new(
        key: Box<[u8]>,
        meta: StoredMeta,
        fields: Arc<SharedFields>,
        content: Kept,
        purging: Purging,
    ) -> Arc<Self> {
        let Purging {
            began,
            invalidation,
            url,
            tags,
        } = purging;
        let is_named = url.is_some() || !tags.is_empty();
        Arc::new(Self {
            key,
            meta,
            fields,
            content,
            invalidation,
            named: is_named.then(|| Box::new(Named { url, tags })),
            checked: AtomicU64::new(began),
            hits: AtomicU32::new(0),
            spent: AtomicU32::new(0),
            place: AtomicU32::new(0),
            marked_stale: AtomicBool::new(false),
        })
    }

    /// It as it is to lie in the store: with all of its content, and nothing of the fill that has brought it.
    fn settled(stored: &Arc<Self>) -> Arc<Self> {
        let Some(whole) = stored.content.fill().and_then(|content| content.whole()) else {
            return Arc::clone(stored);
        };
        let (key, meta, fields) = (stored.key.clone(), stored.meta.clone(), Arc::clone(&stored.fields));
        let settled = Self::new(key, meta, fields, whole.clone().into(), stored.purging());
        let hits = stored.hits.load(Ordering::Relaxed);
        settled.hits.store(hits, Ordering::Relaxed);
        settled
    }

    /// Whether somebody has marked it stale.
    pub fn mark(&self) -> Mark {
        if self.marked_stale.load(Ordering::Relaxed) {
            Mark::Stale
        } else {
            Mark::Unmarked
        }
    }

    /// It answers without the origin. The line of memory is this core's already: it has just counted the reference. That it
    /// was asked for is all that the room has to know, too.
    pub fn count_hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
    }

    fn hits(&self) -> u64 {
        u64::from(self.hits.load(Ordering::Relaxed))
    }

    fn asked(&self) -> u32 {
        let hits = self.hits.load(Ordering::Relaxed);
        hits.wrapping_sub(self.spent.load(Ordering::Relaxed))
    }

    /// Marks it stale, whatever its age; it is validated before it is used again.
    pub fn mark_stale(&self) {
        self.marked_stale.store(true, Ordering::Relaxed);
    }

    /// Its URL, where its key does not begin with that.
    fn url(&self) -> Option<&[u8]> {
        self.named.as_ref()?.url.as_deref()
    }

    /// Its tags, separated by spaces.
    pub fn tags(&self) -> &str {
        self.named.as_ref().map_or("", |named| &named.tags)
    }

    /// It as purges look at it.
    pub fn subject(&self) -> Subject<'_> {
        Subject {
            place: self.url().unwrap_or(&self.key),
            tags: self.tags(),
            began: self.checked.load(Ordering::Relaxed),
        }
    }

    /// What purges go by, as far as this response was not held against them.
    pub fn purging(&self) -> Purging {
        Purging {
            began: self.checked.load(Ordering::Relaxed),
            invalidation: self.invalidation,
            url: self.url().map(Into::into),
            tags: self.tags().into(),
        }
    }

    /// Bytes that it occupies.
    pub fn weight(&self) -> u64 {
        let named = self.named.as_deref().map_or(0, size_of_val);
        let named = named + self.url().map_or(0, <[u8]>::len) + self.tags().len();
        (named + self.meta.heap_bytes() + self.key.len()) as u64
            + allocated(self.content.length().unwrap_or(0))
            + self.fields.lines().as_bytes().len() as u64
            + OVERHEAD
    }
}

/// What so many bytes of content take. An allocator's size classes are an eighth apart, and while lengths come and go its
/// pages are never full: with this, a store that turns over keeps its process within the budget (`bench memory`).
const fn allocated(bytes: u64) -> u64 {
    bytes + bytes / 8
}

/// All stored responses of one cache key. Mostly there is one, and then this is it.
#[derive(Clone, Debug)]
pub enum Entry {
    /// The only one.
    One(Arc<Stored>),
    // INVARIANT: two at least; all have the same key. In a box, so that an entry is two words.
    /// The newest first.
    Several(Arc<Box<[Arc<Stored>]>>),
}

impl Entry {
    /// The stored responses.
    pub fn variants(&self) -> &[Arc<Stored>] {
        match self {
            Self::One(stored) => std::slice::from_ref(stored),
            Self::Several(variants) => variants,
        }
    }

    /// These; `None` where there are none.
    fn of(variants: Vec<Arc<Stored>>) -> Option<Self> {
        match <[Arc<Stored>; 1]>::try_from(variants) {
            Ok([stored]) => Some(Self::One(stored)),
            Err(variants) => (!variants.is_empty()).then(|| Self::Several(Arc::new(variants.into()))),
        }
    }

    /// Requests that they have answered without the origin, since the first of them was stored.
    pub fn hits(&self) -> u64 {
        self.variants().iter().map(|stored| stored.hits()).sum()
    }

    /// Whether all were held against the purges up to this number.
    fn is_checked(&self, latest: u64) -> bool {
        self.variants()
            .iter()
            .all(|stored| stored.checked.load(Ordering::Acquire) >= latest)
    }

    /// How often they were asked for since that was last spent; more than three times is three times.
    fn asked(&self) -> u32 {
        let asked = self.variants().iter().map(|stored| stored.asked());
        asked.fold(0, u32::saturating_add).min(ASKED_MAX)
    }

    /// They count as asked for so often.
    fn set_asked(&self, asked: u32) {
        for (index, stored) in self.variants().iter().enumerate() {
            let left = if index == 0 { asked } else { 0 };
            let hits = stored.hits.load(Ordering::Relaxed);
            stored.spent.store(hits.wrapping_sub(left), Ordering::Relaxed);
        }
    }

    /// Spends so many of the times that they were asked for; all, where there are fewer, which is told.
    fn spend(&self, price: u32) -> bool {
        let asked = self.asked();
        if asked > 0 {
            self.set_asked(asked.saturating_sub(price));
        }
        asked >= price
    }

    /// Their place in the room; only of an entry that is stored.
    fn place(&self) -> Option<Place> {
        let first = self.variants().first()?;
        Some(Place::of(first.place.load(Ordering::Relaxed)))
    }

    /// They have this place.
    fn set_place(&self, place: Place) {
        if let Some(first) = self.variants().first() {
            first.place.store(place.number(), Ordering::Relaxed);
        }
    }

    /// Their key.
    fn key(&self) -> &[u8] {
        self.variants().first().map_or(&[], |stored| &stored.key)
    }

    fn weight(&self) -> u64 {
        self.variants().iter().map(|stored| stored.weight()).sum::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With the two counters before it, what mimalloc gives blocks of 224 bytes; the next size is 256.
    #[test]
    fn a_stored_response_is_small() {
        assert!(size_of::<Stored>() + 16 <= 224, "{}", size_of::<Stored>());
        assert!(size_of::<Entry>() <= 16, "{}", size_of::<Entry>());
    }
}
