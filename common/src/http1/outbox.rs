//! A message on its way out: its head, then its body as fast as body and socket allow, and no faster.
//!
//! Used by both sides: `server` sends responses with it, `client` requests. A head leaves together with what the body has
//! ready; large pieces are handed to the kernel where they lie (writev), small ones are copied behind the head, because one
//! piece is cheaper for the kernel than two (3 % of a whole hit).

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use http::HeaderMap;
use http_body::Body as _;

use super::render::{self, Coding};
use super::request_body::Shared;
use crate::http::body::{Body, BodyError};
use crate::net::stream::Stream;

/// Bytes that may wait for the socket before the body is asked for more.
const QUEUED_MAX: usize = 128 * 1024;
/// Pieces handed to one writev.
const SLICES_MAX: usize = 32;
/// Bytes of head and content that are made one piece. Up to here copying costs less than a second piece does.
pub(super) const JOINED_MAX: usize = 4 * 1024;

/// Where an outbox writes to.
///
/// A server's socket is shared with the request body, which the response's body may be reading from: so the lock is taken
/// for the write alone, never while a body is polled.
pub(crate) trait Sink {
    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>>;

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

impl Sink for Stream {
    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, slices)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll_flush(self, cx)
    }
}

impl Sink for Shared {
    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.lock().io.stream.poll_write_vectored(cx, slices)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().io.stream.poll_flush(cx)
    }
}

/// A message being sent.
pub(crate) struct Outbox {
    /// The rendered head, and later the lines between chunks.
    text: Vec<u8>,
    text_sent: usize,
    /// Content that waits behind `text`.
    queue: VecDeque<Bytes>,
    /// Bytes in `queue`.
    queued: usize,
    body: Body,
    coding: Coding,
    source: Source,
    /// Bytes of content written or waiting to be.
    pub body_bytes: u64,
    /// Bytes written in all.
    pub bytes: u64,
    /// The socket took less than there was.
    pub blocked: bool,
}

/// What is still to come from the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// It waits for leave (Expect: 100-continue).
    Held,
    /// It is read as room allows.
    Open,
    /// All of it is in the queue.
    Ended,
}

/// Why a message could not be sent whole.
#[derive(Debug)]
pub(crate) enum SendError {
    /// The socket.
    Socket,
    /// The body.
    Body(BodyError),
}

impl Outbox {
    /// A message with this rendered head.
    pub(crate) fn new(head: Vec<u8>, body: Body, coding: Coding) -> Self {
        let source = if coding == Coding::None || (coding != Coding::Chunked && body.is_empty()) {
            Source::Ended
        } else {
            Source::Open
        };
        Self {
            text: head,
            text_sent: 0,
            queue: VecDeque::new(),
            queued: 0,
            body,
            coding,
            source,
            body_bytes: 0,
            bytes: 0,
            blocked: false,
        }
    }

    /// Sends the head, but keeps the body until [`Self::release`].
    pub(crate) fn hold(&mut self) {
        if self.source == Source::Open {
            self.source = Source::Held;
        }
    }

    /// Lets the body go.
    pub(crate) fn release(&mut self) {
        if self.source == Source::Held {
            self.source = Source::Open;
        }
    }

    /// Whether the body still waits for leave.
    pub(crate) fn is_held(&self) -> bool {
        self.source == Source::Held
    }

    /// Whether all of it was handed to the kernel.
    pub(crate) fn is_done(&self) -> bool {
        self.source == Source::Ended && self.waiting() == 0
    }

    /// Gives the body back when not one byte of it was taken.
    pub(crate) fn into_untouched_body(self) -> Option<Body> {
        let is_untouched = match self.source {
            Source::Held => true,
            Source::Open => self.body_bytes == 0 && !matches!(self.body, Body::Stream(_)),
            Source::Ended => self.coding == Coding::None || self.coding == Coding::Length(0),
        };
        is_untouched.then_some(self.body)
    }

    /// Sends as much as can be sent; ready when all is, or when it cannot be.
    pub(crate) fn poll(&mut self, sink: &mut impl Sink, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        loop {
            if let Err(error) = self.top_up(cx) {
                return Poll::Ready(Err(SendError::Body(error)));
            }
            if self.waiting() == 0 {
                self.blocked = match sink.poll_flush(cx) {
                    Poll::Ready(Ok(())) => false,
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(SendError::Socket)),
                    Poll::Pending => true,
                };
                if self.blocked {
                    return Poll::Pending;
                }
                return if self.source == Source::Ended {
                    Poll::Ready(Ok(()))
                } else {
                    Poll::Pending
                };
            }
            match self.poll_write(sink, cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Err(SendError::Socket)),
                Poll::Pending => {
                    self.blocked = true;
                    return Poll::Pending;
                }
            }
        }
    }

    /// Takes from the body what it has ready.
    fn top_up(&mut self, cx: &mut Context<'_>) -> Result<(), BodyError> {
        while self.source == Source::Open && self.queued < QUEUED_MAX {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(None) => self.end(None)?,
                Poll::Ready(Some(frame)) => match frame?.into_data() {
                    Ok(data) => self.push(data)?,
                    Err(frame) => self.end(frame.into_trailers().ok().as_ref())?,
                },
            }
        }
        Ok(())
    }

    fn push(&mut self, data: Bytes) -> Result<(), BodyError> {
        if data.is_empty() {
            return Ok(());
        }
        self.body_bytes += data.len() as u64;
        match self.coding {
            Coding::Length(length) if self.body_bytes > length => {
                return Err(BodyError::Internal("body longer than announced"));
            }
            Coding::Chunked => {
                let mut line = Vec::with_capacity(20);
                if self.body_bytes > data.len() as u64 {
                    line.extend_from_slice(b"\r\n");
                }
                render::chunk_size(&mut line, data.len());
                self.push_text(line);
            }
            Coding::None | Coding::Length(_) | Coding::UntilClose => {}
        }
        if self.queue.is_empty() && self.text.len() + data.len() <= JOINED_MAX {
            self.text.extend_from_slice(&data);
        } else {
            self.queued += data.len();
            self.queue.push_back(data);
        }
        if self.coding == Coding::Length(self.body_bytes) {
            self.source = Source::Ended;
        }
        Ok(())
    }

    fn end(&mut self, trailers: Option<&HeaderMap>) -> Result<(), BodyError> {
        self.source = Source::Ended;
        match self.coding {
            Coding::Length(length) if self.body_bytes < length => {
                Err(BodyError::Internal("body shorter than announced"))
            }
            Coding::Chunked => {
                let mut line = Vec::with_capacity(16);
                if self.body_bytes > 0 {
                    line.extend_from_slice(b"\r\n");
                }
                render::last_chunk(&mut line, trailers);
                self.push_text(line);
                Ok(())
            }
            Coding::None | Coding::Length(_) | Coding::UntilClose => Ok(()),
        }
    }

    /// Appends framing: to the head while that is all there is, else as a piece of its own.
    fn push_text(&mut self, line: Vec<u8>) {
        if self.queue.is_empty() {
            self.text.extend_from_slice(&line);
        } else {
            self.queued += line.len();
            self.queue.push_back(line.into());
        }
    }

    fn waiting(&self) -> usize {
        self.text.len() - self.text_sent + self.queued
    }

    fn poll_write(&mut self, sink: &mut impl Sink, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let text = IoSlice::new(&self.text[self.text_sent..]);
        let written = if self.queue.is_empty() {
            sink.poll_write(cx, &[text])
        } else {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let mut used = 0;
            let text = (!text.is_empty()).then_some(text);
            for piece in text
                .into_iter()
                .chain(self.queue.iter().map(|piece| IoSlice::new(piece)))
                .take(SLICES_MAX)
            {
                slices[used] = piece;
                used += 1;
            }
            sink.poll_write(cx, &slices[..used])
        };
        match written {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(written)) => {
                self.advance(written);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }

    fn advance(&mut self, mut written: usize) {
        self.bytes += written as u64;
        let of_text = written.min(self.text.len() - self.text_sent);
        self.text_sent += of_text;
        written -= of_text;
        if self.text_sent == self.text.len() {
            self.text.clear();
            self.text_sent = 0;
        }
        self.queued -= written;
        while written > 0 {
            let Some(front) = self.queue.front_mut() else { break };
            let step = written.min(front.len());
            front.advance(step);
            written -= step;
            if front.is_empty() {
                self.queue.pop_front();
            }
        }
    }
}
