//! The accept queue of a listening socket: connections are taken as they are, without giving them to the reactor.

#![expect(unsafe_code, reason = "tokio has no safe way to wait for a descriptor")]

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;

use mio::net::{TcpListener, UnixListener};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::net::listener::ShardSocket;

/// An accept queue that the reactor of a worker watches.
#[derive(Debug)]
pub(super) struct Queue(AsyncFd<Listener>);

/// What was taken from a queue: non-blocking, and closed on exec.
pub(super) enum Taken {
    Tcp(TcpStream, std::net::SocketAddr),
    Unix(UnixStream),
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Queue {
    /// The queue of this socket, watched by the reactor of the runtime that this is called in.
    ///
    /// # Errors
    /// The reactor's.
    pub(super) fn new(socket: ShardSocket) -> io::Result<Self> {
        let listener = match socket {
            ShardSocket::Tcp(socket) => Listener::Tcp(TcpListener::from_std(socket)),
            ShardSocket::Unix(socket) => Listener::Unix(UnixListener::from_std(socket)),
        };
        // SAFETY: the listener owns its descriptor; nothing here closes or replaces it, and it is dropped with the AsyncFd.
        let watched = unsafe { AsyncFd::register_with_interest(listener, Interest::READABLE) };
        Ok(Self(watched?))
    }

    /// Takes the next one, however long that takes. Dropping the future loses none.
    pub(super) async fn take(&self) -> io::Result<Taken> {
        self.0.async_io(Interest::READABLE, Listener::take).await
    }

    /// Takes what is there, not asking the reactor, which may not have heard of it yet.
    pub(super) fn take_now(&self) -> io::Result<Taken> {
        self.0.get_ref().take()
    }
}

impl Listener {
    fn take(&self) -> io::Result<Taken> {
        match self {
            Self::Tcp(listener) => listener.accept().map(|(socket, peer)| Taken::Tcp(socket.into(), peer)),
            Self::Unix(listener) => listener.accept().map(|(socket, _)| Taken::Unix(socket.into())),
        }
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Tcp(listener) => listener.as_raw_fd(),
            Self::Unix(listener) => listener.as_raw_fd(),
        }
    }
}
