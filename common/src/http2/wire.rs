//! What h2 reads from and writes to: gathers what it writes, and sends it once per poll of the connection.
//!
//! h2 flushes its transport after every DATA frame, which would be a system call (and a TLS record) for each request. Here
//! `poll_flush` does nothing; [`WireEnd::poll_send`] is called by `client` when the connection was polled.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::meter::{Flood, FrameMeter};
use crate::net::stream::Stream;
use crate::time::mono_now;

/// What h2 holds.
pub(super) struct Wire(Arc<Mutex<State>>);

/// What the conductor of the connection holds.
pub(super) struct WireEnd(Arc<Mutex<State>>);

/// Locked for the length of one poll, by one task.
struct State {
    stream: Stream,
    /// Read, and not yet taken by h2.
    inbound: BytesMut,
    /// Written by h2, and not yet sent; at most [`GATHER_MAX`] bytes.
    outbound: BytesMut,
    meter: FrameMeter,
    /// Something was read since this was last asked.
    has_heard: bool,
    ended: bool,
}

/// One TLS record; also what is copied at most.
const GATHER_MAX: usize = 16 * 1024;
/// Room made for one read.
const READ: usize = 16 * 1024;

/// A wire and its other end.
pub(super) fn wire(stream: Stream) -> (Wire, WireEnd) {
    let state = State {
        stream,
        inbound: BytesMut::new(),
        outbound: BytesMut::new(),
        meter: FrameMeter::default(),
        has_heard: false,
        ended: false,
    };
    let state = Arc::new(Mutex::new(state));
    (Wire(Arc::clone(&state)), WireEnd(state))
}

impl WireEnd {
    /// Sends what was gathered; ready when the kernel has it.
    pub(super) fn poll_send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.lock();
        let sent = state.poll_send(cx, &[]);
        if sent.is_ready() && state.outbound.is_empty() {
            // An idle connection holds no buffer.
            state.outbound = BytesMut::new();
        }
        sent.map_ok(|_| ())
    }

    /// Whether something came since the last time this was asked.
    pub(super) fn has_heard(&self) -> bool {
        std::mem::take(&mut self.0.lock().has_heard)
    }

    /// What the server does too much of.
    pub(super) fn flood(&self) -> Option<Flood> {
        self.0.lock().meter.flood()
    }

    /// Says the last word of TLS, and ends our side.
    pub(super) fn close(&self) {
        self.0.lock().stream.shutdown_write();
    }
}

impl State {
    /// Sends what was gathered and then `more`; how many bytes of `more` were taken.
    fn poll_send(&mut self, cx: &mut Context<'_>, more: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        loop {
            if self.outbound.is_empty() && more.is_empty() {
                return self.stream.poll_flush(cx).map_ok(|()| 0);
            }
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            slices[0] = IoSlice::new(&self.outbound);
            let used = 1 + more.len().min(SLICES_MAX - 1);
            slices[1..used].copy_from_slice(&more[..used - 1]);
            let written = ready!(self.stream.poll_write_vectored(cx, &slices[..used]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let gathered = written.min(self.outbound.len());
            self.outbound.advance(gathered);
            if written > gathered {
                return Poll::Ready(Ok(written - gathered));
            }
        }
    }
}

/// Slices handed on at once; h2 gives two.
const SLICES_MAX: usize = 8;

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let state = &mut *self.0.lock();
        if state.inbound.is_empty() {
            if state.ended {
                return Poll::Ready(Ok(()));
            }
            state.inbound.reserve(READ);
            let read = state.stream.poll_read_buf(cx, &mut state.inbound);
            if read.is_pending() {
                state.inbound = BytesMut::new();
            }
            let read = ready!(read)?;
            state.ended = read == 0;
            state.has_heard = true;
        }
        let taken = state.inbound.len().min(buf.remaining());
        let taken = state.inbound.split_to(taken);
        state.meter.see(&taken, mono_now());
        buf.put_slice(&taken);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let state = &mut *self.0.lock();
        let bytes: usize = bufs.iter().map(|buf| buf.len()).sum();
        if state.outbound.len() + bytes <= GATHER_MAX {
            // All at once: growing would copy what is there again and again.
            state.outbound.reserve(GATHER_MAX - state.outbound.len());
            for buf in bufs {
                state.outbound.extend_from_slice(buf);
            }
            return Poll::Ready(Ok(bytes));
        }
        // Too much to copy: it leaves from where it lies, behind what was gathered.
        state.poll_send(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let state = &mut *self.0.lock();
        ready!(state.poll_send(cx, &[]))?;
        Poll::Ready(Ok(()))
    }
}
