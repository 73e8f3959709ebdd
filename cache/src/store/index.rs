//! Which stored responses there are, by the hash of their key: shards, each a table behind a lock of its own.
//!
//! A hit takes the read lock of one shard for one probe and counts one reference; nothing is written but that. A table
//! that grows stops those of its shard alone, and with so many shards for some ten thousand slots at the most. Who may
//! stay is decided elsewhere (`room.rs`), and writers come one after another (`memory.rs`).

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;
use parking_lot::RwLock;

use super::Entry;
use crate::policy::key::KeyHash;

/// Tables; a power of two. Chosen by the upper bits of the hash, of which a table itself uses the lower ones and the
/// uppermost seven.
const SHARDS: usize = 256;
/// Where in a hash the number of its shard is: below those seven.
const SHARD_SHIFT: u32 = 48;

/// Entries by key hash.
pub(super) struct Index {
    shards: Box<[Shard]>,
}

/// On a line of memory of its own, so that the lock of one is not another's.
#[repr(align(64))]
#[derive(Default)]
struct Shard(RwLock<HashTable<(u64, Entry)>>);

impl Index {
    /// An empty one.
    pub(super) fn new() -> Self {
        let shards = (0..SHARDS).map(|_| Shard::default()).collect();
        Self { shards }
    }

    /// What is stored for a hash.
    pub(super) fn get(&self, hash: KeyHash) -> Option<Entry> {
        self.look(hash, Entry::clone)
    }

    /// What `look` sees in the entry of a hash.
    pub(super) fn look<T>(&self, hash: KeyHash, look: impl FnOnce(&Entry) -> T) -> Option<T> {
        let table = self.shard(hash).read();
        let found = table.find(hash.0, |(known, _)| *known == hash.0);
        found.map(|(_, entry)| look(entry))
    }

    /// Puts an entry in the place of the one of its hash, which is given back.
    pub(super) fn put(&self, hash: KeyHash, entry: Entry) -> Option<Entry> {
        let mut table = self.shard(hash).write();
        match table.entry(hash.0, |(known, _)| *known == hash.0, |(known, _)| *known) {
            Place::Occupied(mut place) => Some(std::mem::replace(&mut place.get_mut().1, entry)),
            Place::Vacant(place) => {
                place.insert((hash.0, entry));
                None
            }
        }
    }

    /// Takes the entry of a hash out.
    pub(super) fn remove(&self, hash: KeyHash) -> Option<Entry> {
        let mut table = self.shard(hash).write();
        let place = table.find_entry(hash.0, |(known, _)| *known == hash.0).ok()?;
        let ((_, entry), _) = place.remove();
        Some(entry)
    }

    /// All entries, those of a shard at a time: whoever looks at them holds no lock.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry> {
        self.shards.iter().flat_map(|shard| {
            let table = shard.0.read();
            table.iter().map(|(_, entry)| entry.clone()).collect::<Vec<_>>()
        })
    }

    fn shard(&self, hash: KeyHash) -> &RwLock<HashTable<(u64, Entry)>> {
        let number = (hash.0 >> SHARD_SHIFT) as usize & (SHARDS - 1);
        &self.shards[number].0
    }
}
