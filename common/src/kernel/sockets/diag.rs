//! `sock_diag`: the namespace's TCP sockets by state, over netlink, without walking `/proc/net/tcp`.
//!
//! No privilege is needed. What the bytes mean is in `message.rs`; here are one socket and a bounded loop.
//! Userspace cannot forge answers: this netlink family lets only the kernel and `CAP_NET_ADMIN` send to another socket, and
//! answers to other questions are told apart by their number. Kernel side: `net/ipv4/inet_diag.c`.

use std::io::{self, Read, Write};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::entry::{Entry, States};
use super::message::{Answer, parse, request};

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

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use super::super::entry::State;
    use super::super::options;
    use super::*;

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
}
