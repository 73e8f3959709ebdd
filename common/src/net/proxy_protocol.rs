//! The PROXY protocol, versions 1 and 2: who a connection is from, said by a load balancer ahead of everything else. Pure.
//!
//! Strict: what the specification does not allow is malformed, for a header that two parties read differently lets a client
//! choose its own address. Source: haproxy.org, doc/proxy-protocol.txt §2.1 and §2.2. Read by `serve::proxied`, written
//! (`write`) by `backend::connect`.

mod write; // the header of a connection that we make

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Bytes of the longest header of version 1: "the maximum line length the receiver must support including the CRLF is […]
/// 107 chars" (§2.1).
const LINE_MAX: usize = 107;
/// Bytes that may follow the fixed part of version 2: addresses and TLVs. The specification allows 65,535; certificates'
/// names are the largest that anybody sends.
const REST_MAX: usize = 4096;
/// "\x0D\x0A\x0D\x0A\x00\x0D\x0A\x51\x55\x49\x54\x0A" (§2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The signature, version and command, family and protocol, length.
const FIXED: usize = 16;

/// Bytes that hold any header that is accepted.
pub const HEADER_MAX: usize = FIXED + REST_MAX;

/// What a header says about the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// The sender speaks for itself (health checks), or does not know, or it was a unix socket: the connection's own
    /// addresses count.
    Own,
    /// It is passed on for a client.
    Client {
        /// The client.
        source: SocketAddr,
        /// The address that it connected to.
        destination: SocketAddr,
    },
}

/// The forms of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// How far a header was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// All that is there belongs to the header, and it goes on.
    More,
    /// It is whole, and so many bytes long; what follows is the connection's.
    Whole(Header, usize),
}

/// These bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed PROXY header: {0}")]
pub struct Malformed(pub &'static str);

/// Reads a header from the beginning of a connection.
///
/// # Errors
/// Why no header begins like this.
pub fn parse(bytes: &[u8]) -> Result<Step, Malformed> {
    let begins = |prefix: &[u8]| {
        let both = prefix.len().min(bytes.len());
        prefix[..both] == bytes[..both]
    };
    if begins(SIGNATURE) {
        binary(bytes)
    } else if begins(b"PROXY ") {
        line(bytes)
    } else {
        Err(Malformed("no signature"))
    }
}

/// Version 1, text.
fn line(bytes: &[u8]) -> Result<Step, Malformed> {
    let Some(end) = memchr::memchr(b'\n', &bytes[..bytes.len().min(LINE_MAX)]) else {
        return if bytes.len() < LINE_MAX {
            Ok(Step::More)
        } else {
            Err(Malformed("line too long"))
        };
    };
    let text = bytes[..end].strip_suffix(b"\r").ok_or(Malformed("LF without CR"))?;
    let text = std::str::from_utf8(text).map_err(|_| Malformed("not text"))?;
    let mut words = text.split(' ').skip(1);
    let family = words.next();
    // "For UNKNOWN […] the receiver must ignore anything presented before the CRLF is found" (§2.1)
    if family == Some("UNKNOWN") {
        return Ok(Step::Whole(Header::Own, end + 1));
    }
    let mut next = || words.next().ok_or(Malformed("too few words"));
    let (source, destination) = (next()?, next()?);
    let (source_port, destination_port) = (port(next()?)?, port(next()?)?);
    if words.next().is_some() {
        return Err(Malformed("too many words"));
    }
    let (source, destination): (IpAddr, IpAddr) = match family {
        Some("TCP4") => (
            address::<Ipv4Addr>(source)?.into(),
            address::<Ipv4Addr>(destination)?.into(),
        ),
        Some("TCP6") => (
            address::<Ipv6Addr>(source)?.into(),
            address::<Ipv6Addr>(destination)?.into(),
        ),
        _ => return Err(Malformed("unknown family")),
    };
    let header = Header::Client {
        source: SocketAddr::new(source, source_port),
        destination: SocketAddr::new(destination, destination_port),
    };
    Ok(Step::Whole(header, end + 1))
}

fn address<T: std::str::FromStr>(text: &str) -> Result<T, Malformed> {
    text.parse().map_err(|_| Malformed("address"))
}

/// "a decimal integer in the range [0..65535] inclusive. Heading zeroes are not permitted" (§2.1)
fn port(text: &str) -> Result<u16, Malformed> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    let port = text.parse().ok().filter(|_| is_plain);
    port.ok_or(Malformed("port"))
}

/// Version 2, binary.
fn binary(bytes: &[u8]) -> Result<Step, Malformed> {
    let Some(fixed) = bytes.first_chunk::<FIXED>() else {
        return Ok(Step::More);
    };
    let (command, family) = (fixed[12], fixed[13]);
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if length > REST_MAX {
        return Err(Malformed("too long"));
    }
    let is_local = match command {
        // "the receiver must accept this connection as valid and must use the real connection endpoints and discard the
        // protocol block including the family which is ignored" (§2.2, LOCAL)
        0x20 => true,
        0x21 => false,
        _ => return Err(Malformed("version or command")),
    };
    let Some(rest) = bytes.get(FIXED..FIXED + length) else {
        return Ok(Step::More);
    };
    let header = if is_local {
        Header::Own
    } else {
        addresses(family, rest)?
    };
    Ok(Step::Whole(header, FIXED + length))
}

fn addresses(family: u8, rest: &[u8]) -> Result<Header, Malformed> {
    let (client, vectors) = match family {
        // "the receiver should ignore address information" (§2.2, UNSPEC)
        0x00 => return Ok(Header::Own),
        0x11 => four(rest)?,
        0x21 => six(rest)?,
        // Two paths of 108 bytes each; there is no address in them that anybody could use here.
        0x31 => (Header::Own, rest.get(216..).ok_or(TOO_SHORT)?),
        _ => return Err(Malformed("family or protocol")),
    };
    skip(vectors)?;
    Ok(client)
}

fn four(rest: &[u8]) -> Result<(Header, &[u8]), Malformed> {
    let (block, vectors) = rest.split_first_chunk::<12>().ok_or(TOO_SHORT)?;
    let [a, b, c, d, e, f, g, h, ports @ ..] = *block;
    let (source, destination) = (Ipv4Addr::new(a, b, c, d), Ipv4Addr::new(e, f, g, h));
    Ok((client(source.into(), destination.into(), ports), vectors))
}

fn six(rest: &[u8]) -> Result<(Header, &[u8]), Malformed> {
    let (source, rest) = rest.split_first_chunk::<16>().ok_or(TOO_SHORT)?;
    let (destination, rest) = rest.split_first_chunk::<16>().ok_or(TOO_SHORT)?;
    let (ports, vectors) = rest.split_first_chunk::<4>().ok_or(TOO_SHORT)?;
    let (source, destination) = (Ipv6Addr::from(*source), Ipv6Addr::from(*destination));
    Ok((client(source.into(), destination.into(), *ports), vectors))
}

fn client(source: IpAddr, destination: IpAddr, [a, b, c, d]: [u8; 4]) -> Header {
    Header::Client {
        source: SocketAddr::new(source, u16::from_be_bytes([a, b])),
        destination: SocketAddr::new(destination, u16::from_be_bytes([c, d])),
    }
}

/// Type-length-value vectors: none says anything that is acted on, but they have to fill what is left exactly.
fn skip(mut vectors: &[u8]) -> Result<(), Malformed> {
    while let Some((&[_, high, low], value)) = vectors.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([high, low]));
        vectors = value.get(length..).ok_or(Malformed("vector beyond the end"))?;
    }
    if vectors.is_empty() {
        Ok(())
    } else {
        Err(Malformed("vector cut off"))
    }
}

const TOO_SHORT: Malformed = Malformed("too short for its family");

#[cfg(test)]
mod tests;
