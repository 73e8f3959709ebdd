//! The ends of a tunnel that are HTTP/1.1 connections which have changed their protocol (RFC 9110 §7.8).
//!
//! What was read of either connection after its last head belongs to the tunnel. `serve::tunnel` carries the bytes.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};

use super::client::Home;
use super::io::Io;
use super::request_body::Shared;
use crate::http::tunnel::Duplex;
use crate::telemetry::metrics::Counter;
use crate::worker::Worker;

/// Room made for one read: most messages in tunnels are small, and each direction holds one piece.
const READ: usize = 16 * 1024;

/// The client's connection.
pub(super) struct ClientEnd {
    shared: Shared,
    worker: Arc<Worker>,
}

impl ClientEnd {
    pub(super) fn new(shared: &Shared, worker: &Arc<Worker>) -> Self {
        Self {
            shared: Arc::clone(shared),
            worker: Arc::clone(worker),
        }
    }
}

impl Duplex for ClientEnd {
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let data = ready!(self.shared.lock().io.poll_take(cx))?;
        self.worker.metrics.add(Counter::BytesReceived, data.len() as u64);
        Poll::Ready(Ok(data))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &mut Bytes) -> Poll<io::Result<usize>> {
        let taken = ready!(self.shared.lock().io.poll_give(cx, data))?;
        self.worker.metrics.add(Counter::BytesSent, taken as u64);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.lock().io.stream.poll_flush(cx)
    }

    fn end(&mut self) {
        self.shared.lock().io.stream.shutdown_write();
    }

    fn abort(&mut self) {
        self.shared.lock().io.stream.reset_on_close();
    }
}

/// The server's connection, and its place among the server's connections until the tunnel is gone.
pub(super) struct ServerEnd<H: Home> {
    io: Io,
    home: Option<H>,
}

impl<H: Home> ServerEnd<H> {
    pub(super) fn new(io: Io, home: H) -> Self {
        Self { io, home: Some(home) }
    }
}

impl<H: Home> Duplex for ServerEnd<H> {
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        self.io.poll_take(cx)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &mut Bytes) -> Poll<io::Result<usize>> {
        self.io.poll_give(cx, data)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.stream.poll_flush(cx)
    }

    fn end(&mut self) {
        self.io.stream.shutdown_write();
    }

    fn abort(&mut self) {
        self.io.stream.reset_on_close();
    }
}

impl<H: Home> Drop for ServerEnd<H> {
    fn drop(&mut self) {
        // The exchange went well, whatever became of the tunnel: it says nothing of HTTP about the server.
        if let Some(home) = self.home.take() {
            home.finished();
        }
    }
}

impl Io {
    /// What was read before, or is there now; nothing when the peer has ended its side.
    fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        if self.buf.is_empty() {
            ready!(self.poll_fill(cx, READ))?;
        }
        Poll::Ready(Ok(std::mem::take(&mut self.buf).freeze()))
    }

    fn poll_give(&mut self, cx: &mut Context<'_>, data: &mut Bytes) -> Poll<io::Result<usize>> {
        let taken = ready!(self.stream.poll_write_vectored(cx, &[IoSlice::new(data)]))?;
        data.advance(taken);
        Poll::Ready(Ok(taken))
    }
}
