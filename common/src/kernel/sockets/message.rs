//! The bytes of `sock_diag`: one question, and many sockets as the answer.
//!
//! Pure, and robust to garbage: what is not understood is skipped. Layouts: `include/uapi/linux/inet_diag.h`, `netlink.h`.
//! Called by `diag.rs`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::entry::{Entry, State, States};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const INET_DIAG_SKMEMINFO: u16 = 7;
const HEADER_BYTES: usize = 16;
const REQUEST_BYTES: usize = HEADER_BYTES + 56;
const MESSAGE_BYTES: usize = 72;

/// `struct nlmsghdr` and `struct inet_diag_req_v2`: all sockets of one family in these states, with their drops.
pub(super) fn request(family: i32, states: States, sequence: u32) -> [u8; REQUEST_BYTES] {
    let mut bytes = [0; REQUEST_BYTES];
    let length = u32::try_from(REQUEST_BYTES).unwrap_or(0);
    bytes[0..4].copy_from_slice(&length.to_ne_bytes());
    bytes[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes[6..8].copy_from_slice(&NLM_F_REQUEST_DUMP.to_ne_bytes());
    bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
    bytes[16] = u8::try_from(family).unwrap_or(0);
    bytes[17] = u8::try_from(libc::IPPROTO_TCP).unwrap_or(0);
    // Extensions cost time per socket; drops matter of listeners only.
    if states.contains(State::Listen) {
        bytes[18] = 1 << (INET_DIAG_SKMEMINFO - 1);
    }
    bytes[20..24].copy_from_slice(&states.bits().to_ne_bytes());
    bytes
}

/// What one buffer of answers ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// More is to come.
    More,
    /// The dump is over.
    Done,
    /// The kernel refused, with this errno.
    Failed(i32),
}

/// Reads one buffer of answers to question number `sequence`; what it does not understand it skips.
pub fn parse(mut bytes: &[u8], sequence: u32, mut visit: impl FnMut(&Entry)) -> Answer {
    while let Some(header) = bytes.get(..HEADER_BYTES) {
        let length = usize::try_from(u32_at(header, 0)).unwrap_or(0);
        let Some(message) = bytes.get(HEADER_BYTES..length) else {
            break;
        };
        if u32_at(header, 8) == sequence {
            match u16_at(header, 4) {
                // netlink_dump() ends with what the dump returned: -ENOENT where the kernel has no tcp_diag.
                NLMSG_DONE if message.len() >= 4 && u32_at(message, 0).cast_signed() < 0 => {
                    return Answer::Failed(u32_at(message, 0).cast_signed().wrapping_neg());
                }
                NLMSG_DONE => return Answer::Done,
                NLMSG_ERROR if message.len() >= 4 => {
                    return Answer::Failed(u32_at(message, 0).cast_signed().wrapping_neg());
                }
                SOCK_DIAG_BY_FAMILY => {
                    if let Some(entry) = entry(message) {
                        visit(&entry);
                    }
                }
                _ => {}
            }
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Answer::More
}

/// `struct inet_diag_msg` and its attributes.
fn entry(message: &[u8]) -> Option<Entry> {
    let fixed = message.get(..MESSAGE_BYTES)?;
    let family = i32::from(fixed[0]);
    Some(Entry {
        state: State::from_number(fixed[1])?,
        retransmits: fixed[3],
        local: SocketAddr::new(
            address(family, fixed.get(8..24)?)?,
            u16::from_be_bytes([fixed[4], fixed[5]]),
        ),
        remote: SocketAddr::new(
            address(family, fixed.get(24..40)?)?,
            u16::from_be_bytes([fixed[6], fixed[7]]),
        ),
        cookie: u64::from(u32_at(fixed, 44)) | u64::from(u32_at(fixed, 48)) << 32,
        receive_queue: u32_at(fixed, 56),
        send_queue: u32_at(fixed, 60),
        inode: u32_at(fixed, 68),
        drops: drops(message.get(MESSAGE_BYTES..)?),
    })
}

fn address(family: i32, bytes: &[u8]) -> Option<IpAddr> {
    let all: [u8; 16] = bytes.try_into().ok()?;
    match family {
        libc::AF_INET => Some(IpAddr::V4(Ipv4Addr::new(all[0], all[1], all[2], all[3]))),
        libc::AF_INET6 => Some(IpAddr::V6(Ipv6Addr::from(all))),
        _ => None,
    }
}

fn drops(mut attributes: &[u8]) -> Option<u32> {
    const DROPS_AT: usize = 8 * 4;
    while let Some(header) = attributes.get(..4) {
        let length = usize::from(u16_at(header, 0));
        let value = attributes.get(4..length)?;
        if u16_at(header, 2) == INET_DIAG_SKMEMINFO {
            return Some(u32_at(value.get(DROPS_AT..DROPS_AT + 4)?, 0));
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
    None
}

/// The number at `at`; 0 beyond the end, which callers exclude by length.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|word| word.try_into().ok())
        .map_or(0, u32::from_ne_bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes
        .get(at..at + 2)
        .and_then(|word| word.try_into().ok())
        .map_or(0, u16::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes.extend_from_slice(payload);
        let length = u32::try_from(bytes.len()).expect("short");
        bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        bytes
    }

    #[test]
    fn the_end_an_error_and_a_foreign_answer_are_told_apart() {
        let refused = message(NLMSG_ERROR, 7, &(-libc::EPERM).to_ne_bytes());
        assert_eq!(parse(&refused, 7, |_| {}), Answer::Failed(libc::EPERM));
        assert_eq!(parse(&refused, 8, |_| {}), Answer::More);
        assert_eq!(parse(&message(NLMSG_DONE, 7, &[0; 4]), 7, |_| {}), Answer::Done);
        let without_module = message(NLMSG_DONE, 7, &(-libc::ENOENT).to_ne_bytes());
        assert_eq!(parse(&without_module, 7, |_| {}), Answer::Failed(libc::ENOENT));
        assert_eq!(parse(&[], 7, |_| {}), Answer::More);
        assert_eq!(parse(&message(NLMSG_ERROR, 7, &[]), 7, |_| {}), Answer::More);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_break_the_parser(payload: Vec<u8>, raw: Vec<u8>, seq in 0_u32..3) {
            let mut bytes = message(SOCK_DIAG_BY_FAMILY, 1, &payload);
            bytes.extend_from_slice(&raw);
            let mut seen = 0;
            parse(&bytes, seq, |_| seen += 1);
            parse(&raw, seq, |_| seen += 1);
            proptest::prop_assert!(seen <= 1 + (bytes.len() + raw.len()) / MESSAGE_BYTES);
        }
    }
}
