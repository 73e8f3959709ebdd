//! One connected socket: TCP or unix.
//!
//! Reading and writing take `&self` or poll, so that the reader of a body and the writer of a response may be two parties.
//! `try_*` never wait: they use what the reactor already knows and cost no system call when there is nothing.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::task::{Context, Poll, ready};

use tokio::net::{TcpStream, UnixStream};

/// A connected stream socket, registered with the reactor of the worker that made it.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// Unix.
    Unix(UnixStream),
}

macro_rules! each {
    ($self:expr, $socket:ident => $do:expr) => {
        match $self {
            Stream::Tcp($socket) => $do,
            Stream::Unix($socket) => $do,
        }
    };
}

impl Stream {
    /// Reads what is there, without waiting; `WouldBlock` when there is nothing.
    ///
    /// # Errors
    /// The socket's.
    pub fn try_read_buf(&self, buf: &mut impl bytes::BufMut) -> io::Result<usize> {
        each!(self, socket => socket.try_read_buf(buf))
    }

    /// Writes what fits, without waiting; `WouldBlock` when nothing does.
    ///
    /// # Errors
    /// The socket's.
    pub fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        each!(self, socket => socket.try_write_vectored(slices))
    }

    /// Ready when a read may give something (bytes, the end, or an error).
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, socket => socket.poll_read_ready(cx))
    }

    /// Ready when a write may take something.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, socket => socket.poll_write_ready(cx))
    }

    /// Reads into `buf` when there is something; 0 is the end of the stream.
    pub fn poll_read_buf(&self, cx: &mut Context<'_>, buf: &mut impl bytes::BufMut) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_read_ready(cx))?;
            match self.try_read_buf(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return Poll::Ready(other),
            }
        }
    }

    /// Writes from `slices` when something fits.
    pub fn poll_write_vectored(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        loop {
            match self.try_write_vectored(slices) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.poll_write_ready(cx))?,
                other => return Poll::Ready(other),
            }
        }
    }

    /// Ends our side of the stream; the peer may go on sending.
    ///
    /// # Errors
    /// The socket's; a peer that is gone already is one.
    pub fn shutdown_write(&self) -> io::Result<()> {
        socket2::SockRef::from(self).shutdown(std::net::Shutdown::Write)
    }

    /// The peer's address; `None` on a unix socket.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.peer_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    /// Our own address; `None` on a unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    /// This socket, registered with the reactor of the worker that calls this.
    ///
    /// # Errors
    /// The reactor's.
    pub fn rehome(self) -> io::Result<Self> {
        match self {
            Self::Tcp(socket) => TcpStream::from_std(socket.into_std()?).map(Self::Tcp),
            Self::Unix(socket) => UnixStream::from_std(socket.into_std()?).map(Self::Unix),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        each!(self, socket => socket.as_fd())
    }
}
