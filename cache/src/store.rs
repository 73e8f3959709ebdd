//! What is kept. Nobody outside knows where the bytes lie: a stored response is a head, and content that is read in pieces.

pub mod content; // content that may still be coming
pub mod memory; // in this process' memory

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use common::http::response::SharedFields;

use crate::policy::meta::StoredMeta;
use crate::policy::reuse::Mark;
use crate::purge::Subject;
use content::Content;

/// One stored response: immutable, shared; only its mark changes.
#[derive(Debug)]
pub struct Stored {
    /// Its cache key, rendered: what the hash alone cannot tell apart.
    pub key: Box<[u8]>,
    /// What reuse needs to know.
    pub meta: StoredMeta,
    /// Its fields, rendered once.
    pub fields: Arc<SharedFields>,
    /// Its content, whole or still coming.
    pub content: Arc<Content>,
    /// What purges go by.
    pub purging: Purging,
    marked_stale: AtomicBool,
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

/// Bookkeeping of one stored response besides key, fields and content: the structs themselves, and moka's entry, as
/// `bench memory --only object` finds it.
const OVERHEAD: u64 = 880;

impl Stored {
    /// A stored response with these parts.
    pub fn new(
        key: Box<[u8]>,
        meta: StoredMeta,
        fields: Arc<SharedFields>,
        content: Arc<Content>,
        purging: Purging,
    ) -> Arc<Self> {
        Arc::new(Self {
            key,
            meta,
            fields,
            content,
            purging,
            marked_stale: AtomicBool::new(false),
        })
    }

    /// Whether somebody has marked it stale.
    pub fn mark(&self) -> Mark {
        if self.marked_stale.load(Ordering::Relaxed) {
            Mark::Stale
        } else {
            Mark::Unmarked
        }
    }

    /// Marks it stale, whatever its age; it is validated before it is used again.
    pub fn mark_stale(&self) {
        self.marked_stale.store(true, Ordering::Relaxed);
    }

    /// It as purges look at it.
    pub fn subject(&self) -> Subject<'_> {
        let place = self.purging.url.as_deref().unwrap_or(&self.key);
        Subject {
            place,
            tags: &self.purging.tags,
            began: self.purging.began,
        }
    }

    /// Bytes that it occupies.
    pub fn weight(&self) -> u64 {
        let purging = self.purging.url.as_ref().map_or(0, |url| url.len()) + self.purging.tags.len();
        purging as u64
            + self.key.len() as u64
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

/// All stored responses of one cache key.
#[derive(Debug)]
pub struct Entry {
    // INVARIANT: at least one; all have the same key.
    /// The newest first.
    variants: Box<[Arc<Stored>]>,
    /// The number of the latest purge that they have been held against.
    checked: AtomicU64,
    /// Requests that they have answered without the origin, since the first of them was stored.
    hits: AtomicU64,
}

impl Entry {
    /// The stored responses.
    pub fn variants(&self) -> &[Arc<Stored>] {
        &self.variants
    }

    /// Stored responses of one key, held against the purges up to `checked`.
    fn new(variants: Vec<Arc<Stored>>, checked: u64, hits: u64) -> Arc<Self> {
        Arc::new(Self {
            variants: variants.into(),
            checked: AtomicU64::new(checked),
            hits: AtomicU64::new(hits),
        })
    }

    /// One of them answers without the origin. The line of memory is this core's already: it has just counted the reference.
    pub fn count_hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests that they have answered without the origin, since the first of them was stored.
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    /// Their key.
    fn key(&self) -> &[u8] {
        self.variants.first().map_or(&[], |stored| &stored.key)
    }

    fn weight(&self) -> u64 {
        self.variants.iter().map(|stored| stored.weight()).sum::<u64>()
    }
}
