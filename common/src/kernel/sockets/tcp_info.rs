//! What `TCP_INFO` says about a listener, a connection just accepted, and a connection just made.
//!
//! The parser is pure over the bytes (include/uapi/linux/tcp.h, stable by offset); the functions that read a socket are one
//! system call each. Called by the sampler (listeners), the accept loop and the backends' connect.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::options;

/// The fields used here of `struct tcp_info`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpInfo {
    /// `tcpi_state`: 10 is LISTEN.
    pub state: u8,
    /// `tcpi_unacked`; of a listener the connections that wait for `accept()`.
    pub unacked: u32,
    /// `tcpi_sacked`; of a listener the limit of its accept queue.
    pub sacked: u32,
    /// `tcpi_last_data_sent`, milliseconds ago.
    pub last_data_sent: u32,
    /// `tcpi_last_data_recv`, milliseconds ago.
    pub last_data_recv: u32,
    /// `tcpi_last_ack_recv`, milliseconds ago.
    pub last_ack_recv: u32,
    /// `tcpi_rtt`, smoothed round trip in microseconds; repeated segments do not count (Karn).
    pub rtt: u32,
    /// `tcpi_total_retrans`; of a new connection the repeated SYNs or SYN-ACKs.
    pub total_retrans: u32,
}

const LISTEN: u8 = 10;
/// Longer than any connection may wait for `accept()`; a number beyond it was never set by the kernel.
const WAIT_MS_MAX: u32 = 3_600_000;

impl TcpInfo {
    /// Reads the bytes that the kernel gave; `None` when there are fewer than `tcpi_total_retrans` needs (104).
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        Some(Self {
            state: *bytes.first()?,
            unacked: word(24)?,
            sacked: word(28)?,
            last_data_sent: word(44)?,
            last_data_recv: word(52)?,
            last_ack_recv: word(56)?,
            rtt: word(68)?,
            total_retrans: word(100)?,
        })
    }

    fn of(socket: BorrowedFd<'_>) -> io::Result<Self> {
        let (bytes, length) = options::tcp_info(socket)?;
        let info = bytes.get(..length).and_then(Self::parse);
        info.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    fn accept_queue_wait(&self) -> Duration {
        let received = self.last_ack_recv.min(WAIT_MS_MAX);
        // Set when the kernel made the socket and not since, because nothing has been sent yet.
        let created = Some(self.last_data_sent).filter(|&ms| ms <= WAIT_MS_MAX);
        Duration::from_millis(u64::from(created.map_or(received, |created| created.max(received))))
    }
}

/// The accept queue of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptQueue {
    /// Finished handshakes that wait for `accept()`; limit + 1 when full.
    pub depth: u32,
    /// min(backlog, `somaxconn`) when `listen()` was called.
    pub limit: u32,
}

impl AcceptQueue {
    /// Whether the next handshake is lost: the kernel's test is `depth > limit`.
    pub fn is_full(self) -> bool {
        self.depth > self.limit
    }
}

/// The accept queue of a listening TCP socket, of this very socket: an `SO_REUSEPORT` group has one per member.
///
/// # Errors
/// The system's; `InvalidData` when the socket does not listen.
pub fn accept_queue(socket: BorrowedFd<'_>) -> io::Result<AcceptQueue> {
    let info = TcpInfo::of(socket)?;
    match info.state {
        LISTEN => Ok(AcceptQueue {
            depth: info.unacked,
            limit: info.sacked,
        }),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// What is known of a connection at the moment when `accept()` gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// How long it waited in the accept queue.
    ///
    /// Measured from the creation of the socket, which is the arrival of the handshake's final ACK (kernels since 4.12;
    /// before, the time of the SYN-ACK, so that one round trip and any repetitions are in it; with TCP Fast Open the SYN;
    /// with `TCP_DEFER_ACCEPT` the first data). The clock is the kernel's tick: 1 to 10 ms, and less than one tick reads
    /// as 0. Only true before the first byte is written to the socket.
    pub waited: Duration,
    /// How often its SYN-ACK was repeated: a lost SYN-ACK or a lost final ACK on the way to this client.
    pub synack_retransmits: u32,
}

/// Reads an accepted TCP socket; to be called before anything is written to it.
///
/// One system call: 0.5 to 1.2 µs where it was measured (6.18, a busy virtual machine).
///
/// # Errors
/// The system's.
pub fn accepted(socket: BorrowedFd<'_>) -> io::Result<Accepted> {
    let info = TcpInfo::of(socket)?;
    Ok(Accepted {
        waited: info.accept_queue_wait(),
        synack_retransmits: info.total_retrans,
    })
}

/// What is known of a connection at the moment when `connect()` ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connected {
    /// How often its SYN was repeated: a lost SYN or a lost SYN-ACK.
    pub syn_retransmits: u32,
    /// The round trip of the handshake; zero when the SYN was repeated.
    pub rtt: Duration,
}

/// Reads a TCP socket that has just been connected.
///
/// # Errors
/// The system's.
pub fn connected(socket: BorrowedFd<'_>) -> io::Result<Connected> {
    let info = TcpInfo::of(socket)?;
    Ok(Connected {
        syn_retransmits: info.total_retrans,
        rtt: Duration::from_micros(u64::from(info.rtt)),
    })
}

/// Bytes that the peer of a TCP socket has acknowledged so far (`tcpi_bytes_acked`, ≥ 4.1); `None` where the kernel does not
/// say, or the socket is no TCP socket.
pub fn acknowledged(socket: BorrowedFd<'_>) -> Option<u64> {
    let (bytes, length) = options::tcp_info(socket).ok()?;
    let known = bytes.get(..length)?;
    Some(u64::from_ne_bytes(
        known.get(BYTES_ACKED..BYTES_ACKED + 8)?.try_into().ok()?,
    ))
}

/// Where `tcpi_bytes_acked` lies.
const BYTES_ACKED: usize = 120;

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn the_accept_queue_is_read_from_the_listener_itself() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("an address");
        let before = accept_queue(listener.as_fd()).expect("a queue");
        let clients: Vec<_> = (0..3)
            .map(|_| TcpStream::connect(address).expect("connected"))
            .collect();
        let after = accept_queue(listener.as_fd()).expect("a queue");
        assert_eq!((before.depth, after.depth), (0, 3));
        assert!(after.limit >= 3 && !after.is_full());
        let connected = connected(clients[0].as_fd()).expect("a connection");
        assert_eq!(connected.syn_retransmits, 0);
        let (taken, _) = listener.accept().expect("accepted");
        assert_eq!(accepted(taken.as_fd()).expect("facts").synack_retransmits, 0);
        assert!(accept_queue(taken.as_fd()).is_err(), "a connection is no listener");
    }

    #[test]
    fn what_a_peer_acknowledged_is_counted_in_bytes() {
        use std::io::{Read as _, Write as _};
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let mut client = TcpStream::connect(listener.local_addr().expect("an address")).expect("connected");
        let (mut taken, _) = listener.accept().expect("accepted");
        let before = acknowledged(taken.as_fd()).expect("a number");
        taken.write_all(&[7; 1000]).expect("written");
        client.read_exact(&mut [0; 1000]).expect("read");
        // The acknowledgement was on its way before the bytes were there to be read, or comes with the answer.
        client.write_all(b"x").expect("written");
        taken.read_exact(&mut [0]).expect("read");
        assert_eq!(acknowledged(taken.as_fd()), Some(before + 1000));
    }

    #[test]
    fn the_wait_counts_from_the_creation_of_the_socket() {
        let wait = |sent, received| {
            let info = TcpInfo {
                last_data_sent: sent,
                last_ack_recv: received,
                ..TcpInfo::default()
            };
            info.accept_queue_wait().as_millis()
        };
        assert_eq!(wait(200, 200), 200);
        assert_eq!(wait(300, 200), 300, "the request came 100 ms after the handshake");
        assert_eq!(wait(4_294_000_000, 12), 12, "never set: the last ACK is a lower bound");
    }

    #[test]
    fn a_short_or_strange_answer_is_none() {
        assert_eq!(TcpInfo::parse(&[]), None);
        assert_eq!(TcpInfo::parse(&[10; 103]), None);
        assert!(TcpInfo::parse(&[10; 104]).is_some());
    }
}
