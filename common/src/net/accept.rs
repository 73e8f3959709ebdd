//! Taking connections: errors classified by errno, paced when descriptors or memory run out, never fatal.
//!
//! One [`Acceptor`] per worker and listener, driven by `serve::thread`. It does not know what a connection is for.

mod queue; // what was accepted, as it is

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use nix::errno::Errno;
use tokio::net::UnixStream;

use self::queue::{Queue, Taken};
use super::fresh::Fresh;
use super::listener::Bound;
use super::pace::{Backoff, LogGate};
use super::stream::Stream;
use crate::telemetry::metrics::Counter;
use crate::time::mono_now;
use crate::worker::Worker;

/// One connection from an accept queue.
#[derive(Debug)]
pub struct Accepted {
    /// The connected socket.
    pub stream: Stream,
    /// The client's address; `None` on a unix socket. An IPv4 client of an IPv6 socket has its IPv4 address.
    pub peer: Option<SocketAddr>,
}

/// Why `accept()` gave no connection, by what is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptError {
    /// The client left between handshake and accept, or its network failed: nothing to be done.
    PeerGone,
    /// No file descriptor is left, in the process or the system: wait for some to be closed.
    Descriptors,
    /// The kernel has no memory for sockets: wait.
    Memory,
    /// Anything else: wait, rather than spin on it.
    Other,
}

/// Takes connections from one worker's shard of a listener.
#[derive(Debug)]
pub struct Acceptor {
    queue: Queue,
    shard: Shard,
    worker: Arc<Worker>,
    backoff: Backoff,
    gates: [LogGate; 4],
    /// Connections taken since the worker's other tasks had their turn.
    batch: u32,
}

/// Which error `accept()` gave (accept(2), "Error handling").
pub fn classify(error: &io::Error) -> AcceptError {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EMFILE | Errno::ENFILE) => AcceptError::Descriptors,
        Some(Errno::ENOBUFS | Errno::ENOMEM) => AcceptError::Memory,
        // "Linux accept() passes already-pending network errors on the new socket as an error code from accept()",
        // and EPERM is a firewall's word about this one connection.
        Some(
            Errno::ECONNABORTED
            | Errno::ECONNRESET
            | Errno::EPROTO
            | Errno::EPERM
            | Errno::ENETDOWN
            | Errno::ENETUNREACH
            | Errno::EHOSTDOWN
            | Errno::EHOSTUNREACH
            | Errno::ENONET
            | Errno::ENOPROTOOPT
            | Errno::EOPNOTSUPP
            | Errno::ETIMEDOUT,
        ) => AcceptError::PeerGone,
        _ => AcceptError::Other,
    }
}

impl Accepted {
    fn of(taken: Taken) -> io::Result<Self> {
        Ok(match taken {
            Taken::Tcp(socket, peer) => Self {
                stream: Stream::Fresh(Fresh::new(socket)),
                peer: Some(canonical(peer)),
            },
            Taken::Unix(socket) => Self {
                stream: Stream::Unix(UnixStream::from_std(socket)?),
                peer: None,
            },
        })
    }
}

impl Acceptor {
    /// Takes connections from shard `shard` of `bound`, on the reactor of the runtime that this is called in.
    ///
    /// # Errors
    /// The shard was closed, or the system's error from duplicating or registering its socket.
    pub fn new(bound: &Arc<Bound>, shard: usize, worker: &Arc<Worker>) -> io::Result<Self> {
        let socket = bound.duplicate(shard)?.ok_or(Errno::EBADF)?;
        Ok(Self {
            queue: Queue::new(socket)?,
            shard: Shard {
                bound: Arc::clone(bound),
                index: shard,
            },
            worker: Arc::clone(worker),
            backoff: Backoff::default(),
            gates: Default::default(),
            batch: 0,
        })
    }

    /// The next connection, however long it takes. Dropping the future loses none.
    pub async fn accept(&mut self) -> Accepted {
        loop {
            if self.batch >= BATCH_MAX {
                self.batch = 0;
                tokio::task::yield_now().await;
            }
            let accepted = self.queue.take().await;
            self.batch += 1;
            match accepted.and_then(Accepted::of) {
                Ok(accepted) => {
                    self.backoff.succeeded();
                    return accepted;
                }
                Err(error) => {
                    if self.failed(&error) != AcceptError::PeerGone {
                        tokio::time::sleep(self.backoff.failed()).await;
                    }
                }
            }
        }
    }

    /// Stops listening: gives what the accept queue still holds to `take`, then closes the socket at once.
    ///
    /// Does not wait and does not let other tasks run, so that the time in which a new connection could still queue and
    /// be reset by the close is as short as it can be.
    pub fn close(self, mut take: impl FnMut(Accepted)) {
        let Self {
            queue,
            shard,
            worker,
            mut gates,
            ..
        } = self;
        for _ in 0..QUEUE_MAX {
            match queue.take_now().and_then(Accepted::of) {
                Ok(accepted) => take(accepted),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if note(&worker, &shard, &mut gates, &error) == AcceptError::PeerGone => {}
                Err(_) => break,
            }
        }
    }

    fn failed(&mut self, error: &io::Error) -> AcceptError {
        note(&self.worker, &self.shard, &mut self.gates, error)
    }
}

/// A worker's claim to one shard.
///
/// INVARIANT: when nobody accepts from a shard any more, its socket is closed, however that came about; connections that
/// the kernel hands to a socket without an acceptor would hang.
#[derive(Debug)]
struct Shard {
    bound: Arc<Bound>,
    index: usize,
}

impl Drop for Shard {
    fn drop(&mut self) {
        self.bound.close(self.index);
    }
}

/// `::ffff:192.0.2.1` as `192.0.2.1`: the same client has the same address on every listener.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(_) => address,
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(ip) => SocketAddr::new(ip.into(), v6.port()),
            None => address,
        },
    }
}

/// Counts an error and logs it, at most once per kind and interval.
fn note(worker: &Worker, shard: &Shard, gates: &mut [LogGate; 4], error: &io::Error) -> AcceptError {
    let kind = classify(error);
    let (counter, word) = match kind {
        AcceptError::PeerGone => (Counter::AcceptErrorPeer, "peer_gone"),
        AcceptError::Descriptors => (Counter::AcceptErrorDescriptors, "descriptors"),
        AcceptError::Memory => (Counter::AcceptErrorMemory, "memory"),
        AcceptError::Other => (Counter::AcceptErrorOther, "other"),
    };
    worker.metrics.count(counter);
    if let Some(held_back) = gates[kind as usize].admit(mono_now()) {
        let listener = shard.bound.settings.name.as_str();
        if kind == AcceptError::PeerGone {
            tracing::debug!(listener, error.kind = word, %error, held_back, "a client left before it was accepted");
        } else {
            tracing::warn!(listener, error.kind = word, %error, held_back, "connections cannot be accepted");
        }
    }
    kind
}

/// Connections taken in a row before the worker's other tasks have their turn.
const BATCH_MAX: u32 = 32;

/// Connections taken while closing: more than accept queues hold, so that a flood of new ones cannot keep it open.
const QUEUE_MAX: usize = 262_144;

#[cfg(test)]
mod tests;
