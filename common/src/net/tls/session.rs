//! The TLS records of one connection, over its socket.
//!
//! Reads go through one buffer per worker and are decrypted straight into the caller's, so an idle connection holds
//! none. Slices that are written together leave in as few records, and as few system calls, as they fit in.

use std::cell::RefCell;
use std::io::{self, BufRead as _, IoSlice, Write as _};
use std::task::{Context, Poll, Waker, ready};

use bytes::{BufMut as _, BytesMut};
use http::HeaderValue;
use rustls::{Connection, HandshakeKind, ProtocolVersion};
use tokio::io::ReadBuf;

use super::clients;
use super::failure::HandshakeFailure;
use crate::net::stream::Stream;

/// A connection that is encrypted, or about to be.
#[derive(Debug)]
pub struct TlsStream {
    // INVARIANT: not itself a TLS stream.
    pub(in crate::net) socket: Stream,
    session: Connection,
    /// Content that came together with the end of the handshake.
    early: BytesMut,
    /// The peer has ended its side.
    ended: bool,
    /// It said so, and did not just stop.
    ended_in_order: bool,
    /// The socket did not take all of what was encrypted.
    blocked: bool,
    /// Something came.
    heard: bool,
}

thread_local! {
    /// What a worker reads ciphertext into; empty between two reads.
    static WIRE: RefCell<Box<[u8]>> = RefCell::new(vec![0; WIRE_BYTES].into());
}

/// Two records of the largest size.
const WIRE_BYTES: usize = 36 * 1024;
/// The first byte of a handshake record (RFC 8446 §5.1).
const HANDSHAKE_RECORD: u8 = 22;

impl TlsStream {
    pub(super) fn new(socket: Stream, session: impl Into<Connection>) -> Self {
        Self {
            socket,
            session: session.into(),
            early: BytesMut::new(),
            ended: false,
            ended_in_order: false,
            blocked: false,
            heard: false,
        }
    }

    /// Goes on with the handshake.
    ///
    /// What is to be sent last is left to the first write or read after it: a session ticket then leaves together with
    /// the first response.
    pub(super) fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        while self.session.is_handshaking() {
            ready!(self.poll_flush(cx)).map_err(|_| Broken::Socket)?;
            let mut early = std::mem::take(&mut self.early);
            let read = self.poll_receive(cx, &mut early);
            self.early = early;
            if !ready!(read)? {
                return Poll::Ready(Err(Broken::Socket));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Appends content to `buf`; 0 is the end.
    ///
    /// May append more than the spare room of `buf`, by no more than [`WIRE_BYTES`].
    pub(in crate::net) fn poll_read_buf(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        if !self.early.is_empty() {
            let early = std::mem::take(&mut self.early);
            buf.extend_from_slice(&early);
            return Poll::Ready(Ok(early.len()));
        }
        let before = buf.len();
        while !self.ended {
            match self.poll_receive(cx, buf) {
                Poll::Ready(Ok(true)) if buf.len() == before => {}
                Poll::Ready(Ok(true)) => return Poll::Ready(Ok(buf.len() - before)),
                Poll::Ready(Ok(false)) => break,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Pending => {
                    // A ticket, an answer to a key update: they leave when there is nothing else to do.
                    return match self.poll_flush(cx) {
                        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                        Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
                    };
                }
            }
        }
        Poll::Ready(Ok(buf.len() - before))
    }

    /// Reads the socket once and decrypts; false at the end of the stream.
    fn poll_receive(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<Result<bool, Broken>> {
        WIRE.with_borrow_mut(|wire| {
            let mut read = ReadBuf::new(wire);
            ready!(self.socket.poll_read(cx, &mut read)).map_err(|_| Broken::Socket)?;
            let filled = read.filled();
            if filled.is_empty() {
                self.ended = true;
                return Poll::Ready(Ok(false));
            }
            if !std::mem::replace(&mut self.heard, true)
                && filled[0] != HANDSHAKE_RECORD
                && filled[0].is_ascii_alphabetic()
            {
                return Poll::Ready(Err(Broken::Plain));
            }
            Poll::Ready(self.decrypt(filled, buf).map(|()| true))
        })
    }

    fn decrypt(&mut self, mut wire: &[u8], buf: &mut BytesMut) -> Result<(), Broken> {
        while !wire.is_empty() && !self.ended {
            self.session.read_tls(&mut wire).map_err(|_| Broken::Socket)?;
            let state = match self.session.process_new_packets() {
                Ok(state) => state,
                Err(error) => {
                    // The alert that says so.
                    self.flush_now();
                    return Err(Broken::Tls(error));
                }
            };
            self.ended_in_order = state.peer_has_closed();
            self.ended = self.ended_in_order;
            take(&mut self.session, state.plaintext_bytes_to_read(), buf);
        }
        Ok(())
    }

    /// Encrypts from `slices` what there is room for, and sends it as far as the socket takes it.
    pub(in crate::net) fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.blocked {
            ready!(self.poll_flush(cx))?;
        }
        let written = self.session.writer().write_vectored(slices)?;
        match self.poll_flush(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            // It is ours now; `poll_flush` sends the rest.
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(written)),
        }
    }

    /// Ready when all that was encrypted is with the kernel.
    pub(in crate::net) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self {
            socket,
            session,
            blocked,
            ..
        } = self;
        while session.wants_write() {
            match session.write_tls(&mut Wire {
                socket: &mut *socket,
                cx: &mut *cx,
            }) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    *blocked = true;
                    return Poll::Pending;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        *blocked = false;
        Poll::Ready(Ok(()))
    }

    /// Tells the peer that nothing follows (RFC 8446 §6.1), as far as the socket takes it at once.
    pub(in crate::net) fn close_notify(&mut self) {
        self.session.send_close_notify();
        self.flush_now();
    }

    /// Whether the peer has said that nothing follows (RFC 8446 §6.1).
    pub(in crate::net) const fn ended_in_order(&self) -> bool {
        self.ended_in_order
    }

    /// The protocol that was agreed on (RFC 7301).
    pub(in crate::net) fn protocol(&self) -> Option<&[u8]> {
        self.session.alpn_protocol()
    }

    /// What origins are told about the client's certificate; `None` where it has shown none.
    pub(in crate::net) fn client_certificate(&self) -> Option<HeaderValue> {
        let leaf = self.session.peer_certificates()?.first()?;
        Some(clients::told(leaf))
    }

    /// Whether it is TLS 1.3, and whether an earlier session was resumed.
    pub(super) fn kind(&self) -> (bool, bool) {
        (
            self.session.protocol_version() == Some(ProtocolVersion::TLSv1_3),
            self.session.handshake_kind() == Some(HandshakeKind::Resumed),
        )
    }

    fn flush_now(&mut self) {
        if let Poll::Ready(Err(error)) = self.poll_flush(&mut Context::from_waker(Waker::noop())) {
            tracing::trace!(%error, "last words to a connection that is gone");
        }
    }
}

/// Why a connection cannot go on.
#[derive(Debug)]
pub(super) enum Broken {
    /// The socket failed or ended.
    Socket,
    /// The first bytes are no TLS but text.
    Plain,
    /// What came is against the rules.
    Tls(rustls::Error),
}

impl Broken {
    pub(super) fn failure(&self) -> HandshakeFailure {
        match self {
            Self::Socket => HandshakeFailure::ClientGone,
            Self::Plain => HandshakeFailure::PlainHttp,
            Self::Tls(error) => HandshakeFailure::of(error),
        }
    }
}

impl From<Broken> for io::Error {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Socket => io::ErrorKind::ConnectionReset.into(),
            Broken::Plain => io::ErrorKind::InvalidData.into(),
            Broken::Tls(error) => Self::new(io::ErrorKind::InvalidData, error),
        }
    }
}

/// Moves `bytes` bytes of decrypted content into `buf`.
fn take(session: &mut Connection, mut bytes: usize, buf: &mut BytesMut) {
    buf.reserve(bytes);
    let mut reader = session.reader();
    while bytes > 0 {
        let Ok(chunk) = reader.fill_buf() else { return };
        if chunk.is_empty() {
            return;
        }
        buf.put_slice(chunk);
        let taken = chunk.len();
        bytes = bytes.saturating_sub(taken);
        reader.consume(taken);
    }
}

/// The socket as the library writes to it.
struct Wire<'a, 'b> {
    socket: &'a mut Stream,
    cx: &'a mut Context<'b>,
}

impl io::Write for Wire<'_, '_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(buf)])
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.socket.poll_write_vectored(self.cx, bufs) {
            Poll::Ready(written) => written,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
