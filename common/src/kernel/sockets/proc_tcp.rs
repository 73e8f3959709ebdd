//! `/proc/net/tcp` and `tcp6`: the sockets of a recorded tree, and of a machine that refuses netlink.
//!
//! Pure and bounded. On a busy machine this walk is slow and holds locks, so a live root uses `sock_diag` and comes here
//! only when that is refused. Columns: `net/ipv4/tcp_ipv4.c` `tcp4_seq_show`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::entry::{Entry, State};

/// Bytes read of `/proc/net/tcp`, about 14,000 sockets; a longer one is unavailable.
pub const BYTES_MAX: usize = 2 << 20;

/// Shows `visit` every socket of the text; lines that are not as they should be are skipped.
pub fn parse(text: &str, mut visit: impl FnMut(&Entry)) {
    for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        if let Some(entry) = entry(line) {
            visit(&entry);
        }
    }
}

/// "sl local remote state tx:rx timer:when retransmits uid timeout inode …", numbers in hex up to the timer.
fn entry(line: &str) -> Option<Entry> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let (local, remote) = (endpoint(words.next()?)?, endpoint(words.next()?)?);
    let state = State::from_number(u8::from_str_radix(words.next()?, 16).ok()?)?;
    let (sent, received) = words.next()?.split_once(':')?;
    let (_timer, retransmits) = (words.next()?, u32::from_str_radix(words.next()?, 16).ok()?);
    let inode = words.nth(2).and_then(|word| word.parse().ok()).unwrap_or(0);
    Some(Entry {
        state,
        local,
        remote,
        retransmits: u8::try_from(retransmits).unwrap_or(u8::MAX),
        receive_queue: u32::from_str_radix(received, 16).ok()?,
        send_queue: u32::from_str_radix(sent, 16).ok()?,
        inode,
        cookie: 0,
        drops: None,
    })
}

/// "0100007F:1F90": the address as 32-bit words in the machine's order, the port as a number.
fn endpoint(word: &str) -> Option<SocketAddr> {
    let (address, port) = word.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let part = |from: usize| {
        Some(
            u32::from_str_radix(address.get(from..from + 8)?, 16)
                .ok()?
                .to_ne_bytes(),
        )
    };
    let ip = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(part(0)?)),
        32 => {
            let words = [part(0)?, part(8)?, part(16)?, part(24)?];
            IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(words.as_flattened()).ok()?))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str) -> Vec<Entry> {
        let mut entries = Vec::new();
        parse(text, |entry| entries.push(*entry));
        entries
    }

    #[test]
    fn a_listener_and_a_half_open_connection_are_read() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 00000000:0051 00000000:0000 0A 00000000:00000005 02:0000000D 00000000     0        0 1412 2 ffff 100 0 0 10 0\n   \
            1: 0A00C6C6:0050 0100C6C6:9C40 03 00000000:00000000 01:00000042 00000002     0        0 0 1 ffff\n";
        let entries = entries(text);
        assert_eq!(entries.len(), 2);
        assert_eq!(
            (entries[0].state, entries[0].receive_queue, entries[0].inode),
            (State::Listen, 5, 1412)
        );
        assert_eq!((entries[1].state, entries[1].retransmits), (State::SynRecv, 2));
        if cfg!(target_endian = "little") {
            assert_eq!(entries[1].local.to_string(), "198.198.0.10:80");
        }
    }

    #[test]
    fn the_running_machine_lists_our_own_listener() {
        let listener = std::net::TcpListener::bind("[::1]:0").or_else(|_| std::net::TcpListener::bind("127.0.0.1:0"));
        let address = listener.as_ref().expect("bound").local_addr().expect("an address");
        let file = if address.is_ipv6() {
            "/proc/net/tcp6"
        } else {
            "/proc/net/tcp"
        };
        let text = std::fs::read_to_string(file).expect("read");
        assert!(
            entries(&text)
                .iter()
                .any(|entry| entry.local == address && entry.state == State::Listen)
        );
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_the_parser(text in "\\PC*", line in " 0:( [0-9A-F:]{0,40}){0,12}\n") {
            parse(&text, |_| {});
            parse(&line, |_| {});
        }
    }
}
