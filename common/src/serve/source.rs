//! How many connections each source has, at most: an IPv4 address or an IPv6 network, as far as the prefixes say.
//!
//! A table of what is open now, in shards, each under a lock that is held for one lookup per connection. An entry ends
//! with the last connection of its source, so the table is never larger than the limit of all connections.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;

use parking_lot::Mutex;

use super::settings::SourceSettings;
use crate::net::address_set::AddressSet;

/// Who a peer is to limits: its address without the bits that one party may choose as it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source([u8; 16]);

/// How many leading bits of an address tell one source from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourcePrefixes {
    /// Of an IPv4 address, at most 32.
    pub v4: u8,
    /// Of an IPv6 address, at most 128.
    pub v6: u8,
}

impl Source {
    /// The address, without the bits that do not count; IPv4 as IPv4-mapped.
    pub const fn octets(self) -> [u8; 16] {
        self.0
    }
}

impl SourcePrefixes {
    /// The source that `address` belongs to.
    pub fn source(self, address: IpAddr) -> Source {
        let (bits, prefix) = match address.to_canonical() {
            // As an IPv4-mapped address, which no canonical IPv6 address is.
            IpAddr::V4(ip) => (ip.to_ipv6_mapped().to_bits(), 96 + self.v4.min(32)),
            IpAddr::V6(ip) => (ip.to_bits(), self.v6.min(128)),
        };
        let hosts = u128::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
        Source((bits & !hosts).to_be_bytes())
    }
}

/// What is open per source, shared by all workers.
#[derive(Debug)]
pub(super) struct SourceTable {
    max: usize,
    prefixes: SourcePrefixes,
    exempt: AddressSet,
    /// Seeded by the system, so that nobody can choose addresses that meet in one place.
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

// INVARIANT: no entry is 0.
type Shard = HashMap<Source, usize, RandomState>;

const SHARDS: usize = 32;

/// The source has as many connections as it may have.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooMany;

impl SourceTable {
    pub(super) fn new(settings: &SourceSettings) -> Self {
        Self {
            max: settings.connections_max,
            prefixes: settings.prefixes,
            exempt: AddressSet::new(settings.exempt.iter().copied()),
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::default()),
        }
    }

    /// Counts one more connection of the source of `address`; `None` where nothing is counted.
    pub(super) fn enter(&self, address: IpAddr) -> Result<Option<Source>, TooMany> {
        if self.exempt.contains(address) {
            return Ok(None);
        }
        let source = self.prefixes.source(address);
        let mut shard = self.shard(&source).lock();
        let open = shard.entry(source).or_insert(0);
        if *open >= self.max {
            return Err(TooMany);
        }
        *open += 1;
        Ok(Some(source))
    }

    /// One connection of `source` ended.
    pub(super) fn left(&self, source: Source) {
        let mut shard = self.shard(&source).lock();
        let Entry::Occupied(mut entry) = shard.entry(source) else {
            debug_assert!(false, "a connection left that never entered");
            return;
        };
        *entry.get_mut() -= 1;
        if *entry.get() == 0 {
            entry.remove();
            // What a crowd needed is given back when it is gone.
            if shard.capacity() > KEPT && shard.len() < shard.capacity() / 8 {
                shard.shrink_to(KEPT);
            }
        }
    }

    fn shard(&self, source: &Source) -> &Mutex<Shard> {
        let hash = self.hasher.hash_one(source);
        // The remainder is below 32.
        &self.shards[usize::try_from(hash % SHARDS as u64).unwrap_or_default()]
    }

    /// Sources that have a connection.
    #[cfg(test)]
    fn sources(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }
}

/// Entries for which a shard keeps room.
const KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::forwarded::IpNetwork;

    fn table(max: usize) -> SourceTable {
        SourceTable::new(&SourceSettings {
            connections_max: max,
            prefixes: SourcePrefixes { v4: 32, v6: 64 },
            exempt: vec![IpNetwork {
                address: [127, 0, 0, 0].into(),
                prefix: 8,
            }],
        })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_source_is_an_ipv4_address_or_an_ipv6_network() {
        let prefixes = SourcePrefixes { v4: 32, v6: 64 };
        let source = |text| prefixes.source(ip(text));
        for (one, other, same) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("2001:db8::1", "2001:db8::ffff:1", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("::1", "0.0.0.1", false),
        ] {
            assert_eq!(source(one) == source(other), same, "{one} {other}");
        }
        let wide = SourcePrefixes { v4: 24, v6: 48 };
        assert_eq!(wide.source(ip("192.0.2.1")), wide.source(ip("192.0.2.200")));
        let all = SourcePrefixes { v4: 0, v6: 0 };
        assert_eq!(all.source(ip("1.2.3.4")), all.source(ip("200.2.3.4")));
        assert_ne!(all.source(ip("1.2.3.4")), all.source(ip("2001:db8::")));
    }

    #[test]
    fn one_source_is_held_back_and_its_neighbours_are_not() {
        let table = table(2);
        let first = table.enter(ip("192.0.2.1")).unwrap().unwrap();
        let second = table.enter(ip("192.0.2.1")).unwrap().unwrap();
        assert_eq!(table.enter(ip("192.0.2.1")), Err(TooMany));
        assert!(table.enter(ip("192.0.2.2")).is_ok());
        table.left(first);
        assert_eq!(table.enter(ip("192.0.2.1")), Ok(Some(second)));
    }

    #[test]
    fn those_that_are_exempt_are_not_even_counted() {
        let table = table(1);
        for _ in 0..10 {
            assert_eq!(table.enter(ip("127.0.0.1")), Ok(None));
        }
        assert_eq!(table.sources(), 0);
    }

    #[test]
    fn entries_and_their_room_end_with_the_connections() {
        let table = table(1);
        let crowd = (0..100_000_u32).map(|n| IpAddr::V4((0x0a00_0000 + n).into()));
        let sources: Vec<_> = crowd.map(|address| table.enter(address).unwrap().unwrap()).collect();
        assert_eq!(table.sources(), 100_000);
        sources.into_iter().for_each(|source| table.left(source));
        assert_eq!(table.sources(), 0);
        let room: usize = table.shards.iter().map(|shard| shard.lock().capacity()).sum();
        assert!(room <= SHARDS * 4 * KEPT, "{room}");
    }
}
