//! An address block as text: `10.0.0.0/8`, `2001:db8::/32`, or one address. Pure.
//!
//! Read strictly: bits behind the prefix are an error, since whoever wrote them meant either another prefix or one address.

use std::net::IpAddr;

use crate::http::forwarded::IpNetwork;

/// Why a text is no address block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// It does not look like one.
    #[error("{0:?} is not an address block, such as \"10.0.0.0/8\" or \"fd00::/8\"")]
    NotABlock(String),
    /// Its prefix is longer than its address.
    #[error("{text:?} has {prefix} leading bits; at most {bits}")]
    PrefixTooLong {
        /// What was read.
        text: String,
        /// The prefix.
        prefix: u8,
        /// The bits of such an address.
        bits: u8,
    },
    /// Its address is not the first one of the block.
    #[error("{text:?} has bits set behind its prefix")]
    HostBits {
        /// What was read.
        text: String,
        /// The block that it lies in.
        meant: String,
    },
}

/// Reads a block.
///
/// # Errors
/// Why it is none.
pub fn parse(text: &str) -> Result<IpNetwork, BlockError> {
    let bad = || BlockError::NotABlock(text.to_owned());
    let (address, prefix) = text
        .split_once('/')
        .map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let address: IpAddr = address.parse().map_err(|_| bad())?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.map_or(Ok(bits), |prefix| prefix.parse::<u8>().map_err(|_| bad()))?;
    if prefix > bits {
        let text = text.to_owned();
        return Err(BlockError::PrefixTooLong { text, prefix, bits });
    }
    let network = IpNetwork {
        address: masked(address, prefix),
        prefix,
    };
    if network.address == address {
        return Ok(network);
    }
    Err(BlockError::HostBits {
        text: text.to_owned(),
        meant: print(&network),
    })
}

/// Writes a block.
pub fn print(network: &IpNetwork) -> String {
    format!("{}/{}", network.address, network.prefix)
}

/// The address with its host bits cleared.
fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V4((ip.to_bits() & mask).into())
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V6((ip.to_bits() & mask).into())
        }
    }
}
