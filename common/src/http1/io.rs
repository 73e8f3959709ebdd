//! A socket with a read buffer.
//!
//! The buffer is given back when it is empty, so that an idle connection holds none.

use std::io;
use std::task::{Context, Poll};

use bytes::BytesMut;

use crate::net::stream::Stream;

/// Room made for one read of a head.
pub(crate) const HEAD_READ: usize = 4 * 1024;
/// Room made for one read of a body.
pub(crate) const BODY_READ: usize = 64 * 1024;

/// A socket and what was read from it and not yet used.
#[derive(Debug)]
pub(crate) struct Io {
    /// The socket.
    pub stream: Stream,
    /// Read, not yet used.
    pub buf: BytesMut,
    /// The peer has ended its side.
    pub ended: bool,
    /// Bytes read so far.
    pub received: u64,
}

impl Io {
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            stream,
            buf: BytesMut::new(),
            ended: false,
            received: 0,
        }
    }

    /// Reads once, at most about `room` bytes; `Ok(0)` is the end of the stream.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Ok(0));
        }
        let read = if room <= HEAD_READ {
            self.stream.poll_read_little(cx, &mut self.buf)
        } else {
            self.buf.reserve(room);
            self.stream.poll_read_buf(cx, &mut self.buf)
        };
        match &read {
            Poll::Ready(Ok(0)) => self.ended = true,
            Poll::Ready(Ok(n)) => self.received += *n as u64,
            // Nothing came: an idle connection keeps no buffer.
            Poll::Pending if self.buf.is_empty() => self.buf = BytesMut::new(),
            Poll::Pending | Poll::Ready(Err(_)) => {}
        }
        read
    }
}
