//! What is kept. Nobody outside knows where the bytes lie: a stored response is a head, and content that is read in pieces.

pub mod content; // content that may still be coming
pub mod memory; // in this process' memory

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::http::response::SharedFields;

use crate::policy::meta::StoredMeta;
use crate::policy::reuse::Mark;
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
    marked_stale: AtomicBool,
}

/// Bookkeeping of one stored response besides fields and content: the structs themselves, and moka's entry.
const OVERHEAD: u64 = 640;

impl Stored {
    /// A stored response with these parts.
    pub fn new(key: Box<[u8]>, meta: StoredMeta, fields: Arc<SharedFields>, content: Arc<Content>) -> Arc<Self> {
        Arc::new(Self {
            key,
            meta,
            fields,
            content,
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

    /// Bytes that it occupies.
    fn weight(&self) -> u64 {
        self.key.len() as u64 + self.content.length().unwrap_or(0) + self.fields.weight() as u64 + OVERHEAD
    }
}

/// All stored responses of one cache key.
#[derive(Debug)]
pub struct Entry {
    // INVARIANT: at least one; all have the same key.
    /// The newest first.
    variants: Vec<Arc<Stored>>,
}

impl Entry {
    /// The stored responses.
    pub fn variants(&self) -> &[Arc<Stored>] {
        &self.variants
    }

    /// Their key.
    fn key(&self) -> &[u8] {
        self.variants.first().map_or(&[], |stored| &stored.key)
    }

    fn weight(&self) -> u64 {
        self.variants.iter().map(|stored| stored.weight()).sum::<u64>()
    }
}
