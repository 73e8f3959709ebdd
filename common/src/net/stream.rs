//! One connected socket: TCP or unix, plain or with TLS. Whoever holds it polls it; nothing here waits.
//!
//! Reads and writes go through tokio's `AsyncRead`/`AsyncWrite`, which after a short read know that the socket is empty:
//! asking again costs no system call.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use http::HeaderValue;
use nix::sys::socket::MsgFlags;
use socket2::SockRef;
use tokio::io::{AsyncRead as _, AsyncReadExt, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::fresh::Fresh;
use super::tls::TlsStream;
use crate::kernel::sockets::tcp_info;

/// Bytes of one read of a message head.
const LITTLE: usize = 4 * 1024;

/// A connected stream socket, registered with the reactor of the worker that made it as soon as it is waited for.
#[derive(Debug)]
pub enum Stream {
    /// TCP, just accepted.
    Fresh(Fresh),
    /// TCP.
    Tcp(TcpStream),
    /// Unix.
    Unix(UnixStream),
    /// TLS over one of the others.
    Tls(Box<TlsStream>),
}

/// Waits with the socket, which the reactor watches: [`Stream::watch`] was called before, where it may be fresh.
macro_rules! each {
    ($self:expr, $socket:ident => $do:expr, $tls:ident => $with_tls:expr) => {
        match $self {
            Stream::Fresh(_) => not_watched(),
            Stream::Tcp($socket) => $do,
            Stream::Unix($socket) => $do,
            Stream::Tls($tls) => $with_tls,
        }
    };
}

impl Stream {
    /// Appends what is there to `buf`, as far as its spare room goes (with TLS: a little further); 0 is the end of the
    /// stream.
    pub fn poll_read_buf(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        if matches!(self, Self::Fresh(_)) {
            return self.poll_read_little(cx, buf);
        }
        // `read_buf` keeps nothing between two polls, so a new one may be made for each.
        each!(self, socket => pin!(socket.read_buf(buf)).poll(cx), tls => tls.poll_read_buf(cx, buf))
    }

    /// The same for a message head: at most 4 KiB, and `buf` grows by no more than what came.
    ///
    /// A head is small and its bytes live as long as the request: what came is copied once, so that it holds no more memory
    /// than it needs.
    pub fn poll_read_little(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        if let Self::Tls(tls) = self {
            buf.reserve(LITTLE);
            return tls.poll_read_buf(cx, buf);
        }
        let mut room = [MaybeUninit::uninit(); LITTLE];
        let mut read = ReadBuf::uninit(&mut room);
        ready!(self.poll_read(cx, &mut read))?;
        let filled = read.filled();
        if buf.is_empty() {
            *buf = BytesMut::from(filled);
        } else {
            buf.extend_from_slice(filled);
        }
        Poll::Ready(Ok(filled.len()))
    }

    /// Reads what the socket has, without TLS.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Self::Fresh(fresh) = self {
            match fresh.read(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.watch()?,
                read => return Poll::Ready(read),
            }
        }
        each!(self, socket => Pin::new(socket).poll_read(cx, buf), tls => tls.socket.poll_read(cx, buf))
    }

    /// Writes from `slices` what fits. What TLS has taken is on its way after [`Self::poll_flush`].
    pub fn poll_write_vectored(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if let Self::Fresh(fresh) = self {
            match fresh.write(slices) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.watch()?,
                written => return Poll::Ready(written),
            }
        }
        each!(self, socket => write(socket, cx, slices), tls => tls.poll_write_vectored(cx, slices))
    }

    /// Ready when the kernel has everything that was written.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Fresh(_) | Self::Tcp(_) | Self::Unix(_) => Poll::Ready(Ok(())),
            Self::Tls(tls) => tls.poll_flush(cx),
        }
    }

    /// Whether an idle connection has nothing to say: no byte, no end, no error.
    ///
    /// Costs no system call as long as the reactor has heard nothing.
    pub fn is_quiet(&self) -> bool {
        let read = match self {
            Self::Fresh(_) => return false,
            Self::Tcp(socket) => socket.try_read(&mut [0]),
            Self::Unix(socket) => socket.try_read(&mut [0]),
            Self::Tls(tls) => return tls.socket.is_quiet(),
        };
        matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Looks at what is there without taking it, as far as `buf` goes; 0 is the end of the stream. Not with TLS.
    ///
    /// Ready at once when something is there, however often it was looked at.
    pub(crate) fn poll_peek(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.watch()?;
        loop {
            ready!(self.poll_read_ready(cx))?;
            let peek = |fd: BorrowedFd<'_>, buf: &mut [u8]| {
                nix::sys::socket::recv(fd.as_raw_fd(), buf, MsgFlags::MSG_PEEK).map_err(io::Error::from)
            };
            let peeked = match self {
                Self::Tcp(socket) => socket.try_io(Interest::READABLE, || peek(socket.as_fd(), buf)),
                Self::Unix(socket) => socket.try_io(Interest::READABLE, || peek(socket.as_fd(), buf)),
                Self::Fresh(_) | Self::Tls(_) => return Poll::Ready(Err(io::ErrorKind::Unsupported.into())),
            };
            match peeked {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return Poll::Ready(other),
            }
        }
    }

    /// Takes what is there, as far as `buf` goes, without TLS.
    pub(crate) fn poll_take(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut room = ReadBuf::new(buf);
        ready!(self.poll_read(cx, &mut room))?;
        match room.filled().len() {
            0 => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            taken => Poll::Ready(Ok(taken)),
        }
    }

    /// Ready when the reactor has heard something: bytes, the end, or an error.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, socket => socket.poll_read_ready(cx), tls => tls.socket.poll_read_ready(cx))
    }

    /// Says that nothing follows, where the protocol has a word for that; the socket stays open.
    ///
    /// "Each party MUST send a `close_notify` alert before closing its write side of the connection" (RFC 8446 §6.1), so
    /// that an end cannot be forged; after a response that was cut it must not be said.
    pub fn close_notify(&mut self) {
        if let Self::Tls(tls) = self {
            tls.close_notify();
        }
    }

    /// Ends our side of the stream; the peer may go on sending. A peer that is gone already is no error.
    pub fn shutdown_write(&mut self) {
        self.close_notify();
        if let Some(Err(error)) = self.fd().map(|fd| SockRef::from(&fd).shutdown(Shutdown::Write)) {
            tracing::trace!(%error, "shutdown of a connection that is gone");
        }
    }

    /// Lets closing send a reset instead of an end, so that what was sent cannot be taken for whole.
    pub fn reset_on_close(&self) {
        if let Some(Err(error)) = self.fd().map(|fd| SockRef::from(&fd).set_linger(Some(Duration::ZERO))) {
            tracing::trace!(%error, "SO_LINGER refused");
        }
    }

    /// Whether an end that was read is one that the peer meant: with TLS anybody on the way can forge the socket's.
    pub const fn ended_in_order(&self) -> bool {
        match self {
            Self::Fresh(_) | Self::Tcp(_) | Self::Unix(_) => true,
            Self::Tls(tls) => tls.ended_in_order(),
        }
    }

    /// Whether the TLS handshake agreed on HTTP/2 (RFC 9113 §3.2).
    pub fn is_http2(&self) -> bool {
        matches!(self, Self::Tls(tls) if tls.protocol() == Some(b"h2"))
    }

    /// What origins are told about the certificate that the client has shown; `None` where there is none.
    pub fn client_certificate(&self) -> Option<HeaderValue> {
        match self {
            Self::Tls(tls) => tls.client_certificate(),
            Self::Fresh(_) | Self::Tcp(_) | Self::Unix(_) => None,
        }
    }

    /// The peer's address; `None` on a unix socket.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Fresh(fresh) => fresh.socket()?.peer_addr().ok(),
            Self::Tcp(socket) => socket.peer_addr().ok(),
            Self::Unix(_) => None,
            Self::Tls(tls) => tls.socket.peer_addr(),
        }
    }

    /// Bytes that the peer's kernel has acknowledged so far; `None` on a unix socket, and before Linux 4.1.
    pub fn acknowledged(&self) -> Option<u64> {
        match self {
            Self::Tls(tls) => tls.socket.acknowledged(),
            socket => tcp_info::acknowledged(socket.tcp()?),
        }
    }

    /// Our own address; `None` on a unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Fresh(fresh) => fresh.socket()?.local_addr().ok(),
            Self::Tcp(socket) => socket.local_addr().ok(),
            Self::Unix(_) => None,
            Self::Tls(tls) => tls.socket.local_addr(),
        }
    }

    /// The socket's descriptor; `None` when it is closed.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Fresh(fresh) => fresh.fd(),
            Self::Tcp(socket) => Some(socket.as_fd()),
            Self::Unix(socket) => Some(socket.as_fd()),
            Self::Tls(tls) => tls.socket.fd(),
        }
    }

    /// The descriptor of a TCP socket without TLS.
    pub(crate) fn tcp(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Fresh(_) | Self::Tcp(_) => self.fd(),
            Self::Unix(_) | Self::Tls(_) => None,
        }
    }

    /// From here on the reactor watches it.
    fn watch(&mut self) -> io::Result<()> {
        if let Self::Fresh(fresh) = self {
            *self = Self::Tcp(fresh.watched()?);
        }
        Ok(())
    }

    /// This socket, registered with the reactor of the worker that calls this.
    ///
    /// # Errors
    /// The reactor's.
    pub fn rehome(self) -> io::Result<Self> {
        match self {
            Self::Fresh(_) => Ok(self),
            Self::Tcp(socket) => TcpStream::from_std(socket.into_std()?).map(Self::Tcp),
            Self::Unix(socket) => UnixStream::from_std(socket.into_std()?).map(Self::Unix),
            Self::Tls(mut tls) => {
                tls.socket = tls.socket.rehome()?;
                Ok(Self::Tls(tls))
            }
        }
    }
}

/// The answer of a socket that the reactor does not watch, when it is asked to wait: it was closed.
fn not_watched<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
}

/// Writes to a socket what fits: one piece by `send`, which costs the kernel 0.2 µs less than `writev`.
fn write<S: AsyncWrite + Unpin>(
    socket: &mut S,
    cx: &mut Context<'_>,
    slices: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    match slices {
        [one] => Pin::new(socket).poll_write(cx, one),
        _ => Pin::new(socket).poll_write_vectored(cx, slices),
    }
}
