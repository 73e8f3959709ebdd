//! Who asked: `X-Forwarded-*` and `Forwarded` (RFC 7239), and whom to believe about it.

use std::net::IpAddr;

/// What is told to the next hop about the client, and whom to believe.
#[derive(Clone, Debug, PartialEq)]
pub struct ForwardedSettings {
    /// Send `X-Forwarded-For`, `-Proto` and `-Host`.
    pub x_forwarded: bool,
    /// Send `Forwarded` (RFC 7239).
    pub forwarded: bool,
    /// Peers whose own such fields are believed and appended to; from others they are removed.
    pub trusted: Vec<IpNetwork>,
}

/// An address block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpNetwork {
    /// The network's address, host bits zero.
    pub address: IpAddr,
    /// Leading bits that count.
    pub prefix: u8,
}

impl IpNetwork {
    /// Whether `address` lies in this block; an IPv4-mapped IPv6 address counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                net.to_bits() & mask == ip.to_bits() & mask
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                net.to_bits() & mask == ip.to_bits() & mask
            }
            _ => false,
        }
    }
}
