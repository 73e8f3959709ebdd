//! Many address blocks, and whether an address lies in one of them.
//!
//! Sorted ranges that do not overlap: a lookup is one binary search, 17 steps among 100,000 blocks, and takes no lock.
//! Used by lists of who may connect, and by limits that spare some peers. Pure.

use std::net::IpAddr;

use crate::http::forwarded::IpNetwork;

/// A set of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressSet {
    // INVARIANT: sorted, and no two ranges share an address.
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u128)]>,
}

impl AddressSet {
    /// The addresses of these blocks, which may overlap.
    pub fn new(blocks: impl IntoIterator<Item = IpNetwork>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for block in blocks {
            match block.address {
                IpAddr::V4(ip) => {
                    let hosts = u32::MAX.checked_shr(u32::from(block.prefix)).unwrap_or(0);
                    v4.push((ip.to_bits() & !hosts, ip.to_bits() | hosts));
                }
                IpAddr::V6(ip) => {
                    let hosts = u128::MAX.checked_shr(u32::from(block.prefix)).unwrap_or(0);
                    v6.push((ip.to_bits() & !hosts, ip.to_bits() | hosts));
                }
            }
        }
        Self {
            v4: disjoint(v4),
            v6: disjoint(v6),
        }
    }

    /// Whether `address` is one of them; an IPv4-mapped IPv6 address counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(ip) => is_in(&self.v4, ip.to_bits()),
            IpAddr::V6(ip) => is_in(&self.v6, ip.to_bits()),
        }
    }

    /// Whether there is no address in it.
    pub const fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// How many ranges it has come down to.
    pub const fn ranges(&self) -> usize {
        self.v4.len() + self.v6.len()
    }
}

fn disjoint<T: Ord + Copy>(mut ranges: Vec<(T, T)>) -> Box<[(T, T)]> {
    ranges.sort_unstable();
    ranges.dedup_by(|next, kept| {
        let overlaps = next.0 <= kept.1;
        if overlaps {
            kept.1 = kept.1.max(next.1);
        }
        overlaps
    });
    ranges.into()
}

fn is_in<T: Ord + Copy>(ranges: &[(T, T)], value: T) -> bool {
    let begin_before = ranges.partition_point(|(first, _)| *first <= value);
    begin_before > 0 && value <= ranges[begin_before - 1].1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn block(text: &str) -> IpNetwork {
        let (address, prefix) = text.split_once('/').unwrap();
        IpNetwork {
            address: address.parse().unwrap(),
            prefix: prefix.parse().unwrap(),
        }
    }

    #[test]
    fn blocks_may_nest_touch_and_repeat() {
        let blocks = [
            "10.0.0.0/8",
            "10.1.0.0/16",
            "11.0.0.0/8",
            "10.0.0.0/8",
            "fd00::/8",
            "::1/128",
        ];
        let set = AddressSet::new(blocks.map(block));
        for (address, expected) in [
            ("9.255.255.255", false),
            ("10.0.0.0", true),
            ("10.1.2.3", true),
            ("10.200.0.1", true),
            ("11.255.255.255", true),
            ("12.0.0.0", false),
            ("::ffff:10.0.0.1", true),
            ("::1", true),
            ("::2", false),
            ("fdff::1", true),
            ("fe00::", false),
        ] {
            assert_eq!(set.contains(address.parse().unwrap()), expected, "{address}");
        }
        assert_eq!(set.ranges(), 4);
        assert!(AddressSet::default().is_empty());
    }

    #[test]
    fn a_prefix_of_nothing_is_everything() {
        let set = AddressSet::new(["0.0.0.0/0", "::/0"].map(block));
        assert!(set.contains("255.255.255.255".parse().unwrap()) && set.contains("ffff::".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn it_knows_what_a_look_at_each_block_would_tell(
            blocks in proptest::collection::vec((any::<u32>(), 0_u8..=32), 0..40),
            address in any::<u32>(),
            near in 0_usize..40,
        ) {
            let blocks: Vec<_> = blocks
                .into_iter()
                .map(|(address, prefix)| IpNetwork { address: IpAddr::V4(address.into()), prefix })
                .collect();
            let set = AddressSet::new(blocks.iter().copied());
            let ends = blocks.get(near).map(|block| block.address);
            for address in [Some(IpAddr::V4(address.into())), ends].into_iter().flatten() {
                let expected = blocks.iter().any(|block| block.contains(address));
                prop_assert_eq!(set.contains(address), expected);
            }
        }
    }
}
