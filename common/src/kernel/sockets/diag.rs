//! `sock_diag`: the namespace's TCP sockets by state, over netlink, without walking `/proc/net/tcp`.
//!
//! No privilege is needed. The parser ([`parse`]) is pure over bytes and survives garbage; the rest is one socket and a
//! bounded loop. Kernel side: `net/ipv4/inet_diag.c`. Userspace cannot forge answers: this netlink family lets only the
//! kernel and `CAP_NET_ADMIN` send to another socket, and answers to other questions are told apart by their number.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::entry::{Entry, State, States};

/// How much of a dump is taken before it is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DumpLimits {
    /// Sockets.
    pub entries_max: usize,
    /// Bytes of answers.
    pub bytes_max: usize,
}

impl Default for DumpLimits {
    /// 200,000 sockets or 64 MiB, about 0.1 s of kernel and parser work at the worst.
    fn default() -> Self {
        Self {
            entries_max: 200_000,
            bytes_max: 64 << 20,
        }
    }
}

/// How a dump ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dump {
    /// Sockets seen.
    pub entries: usize,
    /// Bytes of answers read.
    pub bytes: usize,
    /// Whether that was all, or a limit cut it off.
    pub complete: bool,
}

/// A netlink socket for questions about sockets, in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Diag {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

const NETLINK_SOCK_DIAG: i32 = 4;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const INET_DIAG_SKMEMINFO: u16 = 7;
const HEADER_BYTES: usize = 16;
const REQUEST_BYTES: usize = HEADER_BYTES + 56;
const MESSAGE_BYTES: usize = 72;
/// The kernel fills at most 32 KiB per answer.
const BUFFER_BYTES: usize = 64 * 1024;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

impl Diag {
    /// Opens the socket.
    ///
    /// # Errors
    /// The system's: `EPERM` or `EACCES` where seccomp or a security module forbids it, `EPROTONOSUPPORT` without the
    /// kernel module.
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            socket: open_socket()?,
            sequence: 0,
            buffer: vec![0; BUFFER_BYTES],
        })
    }

    /// Shows `visit` every TCP socket in one of `states`, listeners first, IPv4 before IPv6.
    ///
    /// # Errors
    /// The system's. A dump that a limit cut off is not an error; the socket is opened anew then.
    pub fn dump(&mut self, states: States, limits: DumpLimits, mut visit: impl FnMut(&Entry)) -> io::Result<Dump> {
        let mut dump = Dump {
            complete: true,
            ..Dump::default()
        };
        for family in [libc::AF_INET, libc::AF_INET6] {
            let outcome = self.dump_family(family, states, limits, &mut dump, &mut visit);
            if outcome.is_err() || !dump.complete {
                // What is left of the old answer must not be taken for the next one.
                self.socket = open_socket()?;
            }
            match outcome {
                // A kernel without IPv6 does not know the family.
                Err(error) if family == libc::AF_INET6 && error.raw_os_error() == Some(libc::ENOENT) => {}
                other => other?,
            }
            if !dump.complete {
                break;
            }
        }
        Ok(dump)
    }

    fn dump_family(
        &mut self,
        family: i32,
        states: States,
        limits: DumpLimits,
        dump: &mut Dump,
        visit: &mut impl FnMut(&Entry),
    ) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        (&self.socket).write_all(&request(family, states, self.sequence))?;
        loop {
            let length = match (&self.socket).read(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            dump.bytes += length;
            let answer = parse(&self.buffer[..length], self.sequence, |entry| {
                // The kernel of an old dump may know no state filter for some sockets.
                if states.contains(entry.state) {
                    dump.entries += 1;
                    visit(entry);
                }
            });
            match answer {
                Answer::Done => return Ok(()),
                Answer::Failed(errno) => return Err(io::Error::from_raw_os_error(errno)),
                Answer::More if dump.entries >= limits.entries_max || dump.bytes >= limits.bytes_max => {
                    dump.complete = false;
                    return Ok(());
                }
                Answer::More => {}
            }
        }
    }
}

fn open_socket() -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::from(libc::AF_NETLINK),
        Type::RAW,
        Some(Protocol::from(NETLINK_SOCK_DIAG)),
    )?;
    socket.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    Ok(socket)
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`: all sockets of one family in these states, with their drops.
fn request(family: i32, states: States, sequence: u32) -> [u8; REQUEST_BYTES] {
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
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use super::super::options;
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
        assert_eq!(parse(&[], 7, |_| {}), Answer::More);
        assert_eq!(parse(&message(NLMSG_ERROR, 7, &[]), 7, |_| {}), Answer::More);
    }

    #[test]
    fn a_listener_is_found_with_its_queue_its_limit_and_its_cookie() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("an address");
        let clients: Vec<_> = (0..3)
            .map(|_| TcpStream::connect(address).expect("connected"))
            .collect();
        let mut found = Vec::new();
        let mut diag = Diag::open().expect("netlink");
        let states = States::of(&[State::Listen]);
        let dump = diag.dump(states, DumpLimits::default(), |entry| {
            if entry.local == address {
                found.push(*entry);
            }
        });
        assert!(dump.expect("a dump").complete);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].receive_queue, u32::try_from(clients.len()).expect("small"));
        assert_eq!(found[0].cookie, options::cookie(listener.as_fd()).expect("a cookie"));
        assert_eq!(found[0].drops, Some(0));
        assert!(found[0].send_queue >= 3 && found[0].inode > 0);
    }

    #[test]
    fn a_dump_that_is_cut_off_says_so_and_does_not_spoil_the_next() {
        let listeners: Vec<_> = (0..4)
            .map(|_| TcpListener::bind("127.0.0.1:0").expect("bound"))
            .collect();
        let mut diag = Diag::open().expect("netlink");
        let limits = DumpLimits {
            entries_max: 1,
            ..DumpLimits::default()
        };
        let cut = diag.dump(States::of(&[State::Listen]), limits, |_| {}).expect("a dump");
        assert!(!cut.complete && cut.entries >= 1);
        let mut seen = 0;
        let mine: Vec<_> = listeners.iter().map(|l| l.local_addr().expect("an address")).collect();
        let whole = diag.dump(States::of(&[State::Listen]), DumpLimits::default(), |entry| {
            seen += usize::from(mine.contains(&entry.local));
        });
        assert!(whole.expect("a dump").complete);
        assert_eq!(seen, 4);
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
