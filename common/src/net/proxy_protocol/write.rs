//! The header that goes ahead of a connection that we make. Pure.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::{Header, SIGNATURE, Version};

impl Header {
    /// Its bytes, without vectors (TLVs); 107 at most.
    pub fn render(&self, version: Version) -> Vec<u8> {
        let ends = match *self {
            Self::Own => None,
            Self::Client { source, destination } => Some(alike(source, destination)),
        };
        match version {
            Version::V1 => line(ends),
            Version::V2 => binary(ends),
        }
    }
}

/// Both ends in one family, as they have to be: every IPv4 address is an IPv6 address as well (RFC 4291 §2.5.5.2).
fn alike(source: SocketAddr, destination: SocketAddr) -> (SocketAddr, SocketAddr) {
    if source.is_ipv4() == destination.is_ipv4() {
        return (source, destination);
    }
    let six = |end: SocketAddr| match end.ip() {
        IpAddr::V4(address) => SocketAddr::new(address.to_ipv6_mapped().into(), end.port()),
        IpAddr::V6(_) => end,
    };
    (six(source), six(destination))
}

fn line(ends: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    let Some((source, destination)) = ends else {
        return b"PROXY UNKNOWN\r\n".to_vec();
    };
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (text(source.ip()), text(destination.ip()));
    let (from_port, to_port) = (source.port(), destination.port());
    format!("PROXY {family} {from} {to} {from_port} {to_port}\r\n").into_bytes()
}

/// "IPv6 addresses must be indicated as series of sets of 4 hexadecimal digits (upper or lower case) delimited by colons
/// between each other, with the acceptance of one double colon sequence" (§2.1): no dots, which std gives mapped ones.
fn text(address: IpAddr) -> String {
    match address {
        IpAddr::V6(six) if six.to_ipv4_mapped().is_some() => {
            let [.., high, low] = six.segments();
            format!("::ffff:{high:x}:{low:x}")
        }
        _ => address.to_string(),
    }
}

fn binary(ends: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    let Some((source, destination)) = ends else {
        // "the connection was established on purpose by the proxy without being relayed" (§2.2, LOCAL); no family, no bytes.
        header.extend([0x20, 0x00, 0, 0]);
        return header;
    };
    let (family, length) = if source.is_ipv4() { (0x11, 12) } else { (0x21, 36) };
    header.extend([0x21, family, 0, length]);
    for end in [source, destination] {
        match end.ip() {
            IpAddr::V4(address) => header.extend(address.octets()),
            IpAddr::V6(address) => header.extend(Ipv6Addr::octets(&address)),
        }
    }
    header.extend(source.port().to_be_bytes());
    header.extend(destination.port().to_be_bytes());
    header
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Step, parse};
    use super::*;

    fn said(source: &str, destination: &str) -> Header {
        Header::Client {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
        }
    }

    #[test]
    fn version_1_is_a_line() {
        for (header, expected) in [
            (
                said("192.0.2.1:12345", "198.51.100.2:443"),
                "PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\r\n",
            ),
            (
                said("[2001:db8::1]:1", "[::1]:65535"),
                "PROXY TCP6 2001:db8::1 ::1 1 65535\r\n",
            ),
            (
                said("192.0.2.1:12345", "[2001:db8::2]:443"),
                "PROXY TCP6 ::ffff:c000:201 2001:db8::2 12345 443\r\n",
            ),
            (Header::Own, "PROXY UNKNOWN\r\n"),
        ] {
            assert_eq!(String::from_utf8(header.render(Version::V1)).unwrap(), expected);
        }
    }

    #[test]
    fn version_2_is_a_block() {
        let four = [192, 0, 2, 1, 198, 51, 100, 2, 0x30, 0x39, 0x01, 0xbb];
        let mut six = vec![0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        six.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 198, 51, 100, 2]);
        six.extend([0x30, 0x39, 0x01, 0xbb]);
        for (header, fixed, rest) in [
            (
                said("192.0.2.1:12345", "198.51.100.2:443"),
                [0x21, 0x11, 0, 12],
                &four[..],
            ),
            (
                said("[2001:db8::1]:12345", "198.51.100.2:443"),
                [0x21, 0x21, 0, 36],
                &six,
            ),
            (Header::Own, [0x20, 0x00, 0, 0], &[]),
        ] {
            let expected = [b"\r\n\r\n\0\r\nQUIT\n", &fixed[..], rest].concat();
            assert_eq!(header.render(Version::V2), expected, "{header:?}");
        }
    }

    fn ends() -> impl Strategy<Value = Header> {
        let four = (any::<[u8; 4]>(), any::<[u8; 4]>()).prop_map(|(a, b)| (IpAddr::from(a), IpAddr::from(b)));
        let six = (any::<[u16; 8]>(), any::<[u16; 8]>()).prop_map(|(a, b)| (IpAddr::from(a), IpAddr::from(b)));
        (prop_oneof![four, six], any::<u16>(), any::<u16>()).prop_map(|((a, b), from, to)| Header::Client {
            source: SocketAddr::new(a, from),
            destination: SocketAddr::new(b, to),
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_the_same(header in prop_oneof![Just(Header::Own), ends()]) {
            for version in [Version::V1, Version::V2] {
                let bytes = header.render(version);
                prop_assert_eq!(parse(&bytes), Ok(Step::Whole(header, bytes.len())));
            }
        }
    }
}
