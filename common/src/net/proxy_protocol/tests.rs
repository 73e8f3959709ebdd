//! Headers right and wrong, byte by byte, and bytes that are nothing.

use proptest::prelude::*;

use super::*;

fn said(source: &str, destination: &str) -> Header {
    Header::Client {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
    }
}

/// A header of version 2 with this length field and what follows.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    header.extend([command, family]);
    header.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
    header.extend(rest);
    header
}

const FOUR: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 2, 0x30, 0x39, 0x01, 0xbb];

fn six() -> Vec<u8> {
    let mut block = "2001:db8::1".parse::<Ipv6Addr>().unwrap().octets().to_vec();
    block.extend("2001:db8::2".parse::<Ipv6Addr>().unwrap().octets());
    block.extend([0x30, 0x39, 0x01, 0xbb]);
    block
}

fn right() -> Vec<(Vec<u8>, Header)> {
    let four = said("192.0.2.1:12345", "198.51.100.2:443");
    let with_vectors = [&FOUR[..], &[0x04, 0, 0], &[0x20, 0, 2, 7, 7]].concat();
    vec![
        (b"PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\r\n".to_vec(), four),
        (
            b"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n".to_vec(),
            said("0.0.0.0:0", "255.255.255.255:65535"),
        ),
        (
            b"PROXY TCP6 2001:db8::1 ::ffff:192.0.2.1 1 2\r\n".to_vec(),
            said("[2001:db8::1]:1", "[::ffff:192.0.2.1]:2"),
        ),
        (b"PROXY UNKNOWN\r\n".to_vec(), Header::Own),
        (b"PROXY UNKNOWN ffff::1 anything 1 at all\r\n".to_vec(), Header::Own),
        (v2(0x21, 0x11, &FOUR), four),
        (v2(0x21, 0x11, &with_vectors), four),
        (v2(0x21, 0x21, &six()), said("[2001:db8::1]:12345", "[2001:db8::2]:443")),
        (v2(0x21, 0x31, &[0; 216]), Header::Own),
        (v2(0x21, 0x00, &[9; 7]), Header::Own),
        (v2(0x20, 0x00, &[]), Header::Own),
        (v2(0x20, 0x11, &[1, 2, 3]), Header::Own),
        (v2(0x20, 0xff, &[0; 4096]), Header::Own),
    ]
}

#[test]
fn each_kind_of_header_is_read_and_ends_where_it_ends() {
    for (mut bytes, expected) in right() {
        let length = bytes.len();
        assert!(length <= HEADER_MAX);
        assert_eq!(parse(&bytes), Ok(Step::Whole(expected, length)), "{bytes:?}");
        for cut in 0..length {
            assert_eq!(parse(&bytes[..cut]), Ok(Step::More), "{cut} bytes of {bytes:?}");
        }
        bytes.extend(b"GET / HTTP/1.1\r\n");
        assert_eq!(parse(&bytes), Ok(Step::Whole(expected, length)), "with what follows");
    }
}

#[test]
fn what_is_not_quite_a_header_is_none() {
    let too_long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
    for wrong in [
        "GET / HTTP/1.1\r\n",
        "proxy TCP4 192.0.2.1 198.51.100.2 1 2\r\n",
        "PROXY\tTCP4 192.0.2.1 198.51.100.2 1 2\r\n",
        "PROXY  TCP4 192.0.2.1 198.51.100.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1  198.51.100.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 1 2 \r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 1 2 3\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 1\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 1 2\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 01 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 +1 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 65536 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 1 \r\n",
        "PROXY TCP4 192.0.2.01 198.51.100.2 1 2\r\n",
        "PROXY TCP4 192.0.2 198.51.100.2 1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.2 1 2\r\n",
        "PROXY TCP6 [::1] ::1 1 2\r\n",
        "PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
        "PROXY UDP4 192.0.2.1 198.51.100.2 1 2\r\n",
        "PROXY \r\n",
        "PROXY UNKNOWNX\r\n",
        &too_long,
    ] {
        assert!(
            parse(wrong.as_bytes()).is_err(),
            "{wrong:?}: {:?}",
            parse(wrong.as_bytes())
        );
    }
    let cut_vector = [&FOUR[..], &[0x04, 0]].concat();
    let long_vector = [&FOUR[..], &[0x04, 0, 2, 7]].concat();
    for (wrong, why) in [
        (v2(0x11, 0x11, &FOUR), "version 1 in binary"),
        (v2(0x22, 0x11, &FOUR), "unknown command"),
        (v2(0x21, 0x12, &FOUR), "a datagram on a stream"),
        (v2(0x21, 0x41, &FOUR), "unknown family"),
        (v2(0x21, 0x11, &FOUR[..11]), "too short"),
        (v2(0x21, 0x21, &FOUR), "too short for IPv6"),
        (v2(0x21, 0x31, &[0; 215]), "too short for paths"),
        (v2(0x21, 0x11, &cut_vector), "a vector's head is cut off"),
        (v2(0x21, 0x11, &long_vector), "a vector is longer than what is left"),
        (v2(0x20, 0x00, &[0; 4097]), "longer than anybody sends"),
    ] {
        assert!(parse(&wrong).is_err(), "{why}");
    }
}

#[test]
fn what_will_never_be_a_header_is_known_as_early_as_can_be() {
    for (bytes, is_open) in [
        (&b""[..], true),
        (b"P", true),
        (b"PR0", false),
        (b"\r\n\r", true),
        (b"\r\n\r\n\r", false),
        (b"\x16\x03\x01", false),
    ] {
        assert_eq!(parse(bytes) == Ok(Step::More), is_open, "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_within_bounds(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        check(&bytes);
    }

    #[test]
    fn a_damaged_header_is_read_within_bounds(which in 0..13usize, at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = right().swap_remove(which).0;
        let at = at.index(bytes.len());
        bytes[at] = byte;
        check(&bytes);
    }

    #[test]
    fn what_is_written_is_read(a in any::<[u8; 4]>(), b in any::<[u8; 4]>(), ports in any::<(u16, u16)>()) {
        let (source, destination) = (Ipv4Addr::from(a), Ipv4Addr::from(b));
        let expected = Header::Client {
            source: SocketAddr::new(source.into(), ports.0),
            destination: SocketAddr::new(destination.into(), ports.1),
        };
        let text = format!("PROXY TCP4 {source} {destination} {} {}\r\n", ports.0, ports.1);
        prop_assert_eq!(parse(text.as_bytes()), Ok(Step::Whole(expected, text.len())));
        let block = [&a[..], &b, &ports.0.to_be_bytes(), &ports.1.to_be_bytes()].concat();
        let binary = v2(0x21, 0x11, &block);
        prop_assert_eq!(parse(&binary), Ok(Step::Whole(expected, binary.len())));
    }
}

/// However many bytes there are, the answer neither panics nor reaches beyond them, and more bytes do not change it.
fn check(bytes: &[u8]) {
    match parse(bytes) {
        Ok(Step::Whole(header, length)) => {
            assert!(length <= bytes.len() && length <= HEADER_MAX);
            assert_eq!(parse(&bytes[..length]), Ok(Step::Whole(header, length)));
        }
        Ok(Step::More) => assert!(bytes.len() < HEADER_MAX),
        Err(error) => assert_eq!(parse(&[bytes, b"x"].concat()), Err(error)),
    }
}
