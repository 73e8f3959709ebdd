//! A client's body, read from its connection as it is wanted: what is not asked for stays in the kernel.
//!
//! The connection and the body share the socket; the state of the body lives with the connection, so that what was left
//! unread is known after the body is dropped.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;

use super::chunked::{ChunkedReader, Step};
use super::deadline::Deadline;
use super::framing::Framing;
use super::io::{BODY_READ, HEAD_READ, Io};
use super::patience::Patience;
use crate::http::body::{Body, BodyError};
use crate::serve::service::CloseReason;
use crate::serve::settings::{HalfClose, Pace};

/// Bytes of further (pipelined) requests that are read while one is being answered.
const PIPELINED_MAX: usize = 4 * HEAD_READ;

/// What the connection and the body of its running request share.
pub(crate) type Shared = Arc<Mutex<Inbox>>;

/// The socket and how far the running request's body was read.
///
/// Locked for the length of one poll, by parties that almost always run on the same task.
#[derive(Debug)]
pub(crate) struct Inbox {
    /// The socket.
    pub io: Io,
    /// The running request's body.
    pub body: Reading,
    /// Which request that is; a body of an earlier one reads nothing.
    pub request: u64,
    /// `100 Continue` is owed before the body is read.
    pub continue_owed: bool,
    /// Interim responses, rendered, that the socket has not taken yet.
    pub interim: Vec<u8>,
}

/// How far a body was read.
#[derive(Debug)]
pub(crate) enum Reading {
    /// To its end.
    Done,
    /// This many bytes are left.
    Length(u64),
    /// Somewhere in the chunked coding; this many bytes of content may still come.
    Chunked(ChunkedReader, u64),
    /// It failed; the connection cannot be used for another request.
    Failed(BodyError),
}

impl Reading {
    pub(crate) fn new(framing: Framing, body_max: u64) -> Self {
        match framing {
            Framing::None | Framing::UntilClose => Self::Done,
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(ChunkedReader::default(), body_max),
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }
}

impl Inbox {
    /// The next frame of the running request's body.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            match self.decode() {
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(None) if self.body.is_done() => return Poll::Ready(None),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Some(Err(self.fail(error)))),
            }
            if self.continue_owed
                && let Err(error) = self.poll_continue(cx)
            {
                return Poll::Ready(Some(Err(self.fail(error))));
            }
            match self.io.poll_fill(cx, BODY_READ) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(n)) if n > 0 => {}
                Poll::Ready(_) => return Poll::Ready(Some(Err(self.fail(BodyError::ClientGone)))),
            }
        }
    }

    /// The running request's body of `length` bytes, all of which are buffered.
    pub(crate) fn take_whole(&mut self, length: u64) -> Body {
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(self.io.buf.len());
        self.body = Reading::Done;
        // "A server MAY omit sending a 100 (Continue) response if it has already received some or all of the content for
        // the corresponding request" (RFC 9110 §10.1.1).
        self.continue_owed = false;
        Body::Full(self.io.buf.split_to(length).freeze())
    }

    /// Why no further request can follow the running one, as far as its body tells.
    pub(crate) fn unusable(&self) -> Option<CloseReason> {
        match self.body {
            Reading::Failed(BodyError::ClientTimeout | BodyError::ClientSlow) => Some(CloseReason::BodyTimeout),
            Reading::Failed(BodyError::ClientMalformed(_)) => Some(CloseReason::Malformed),
            Reading::Failed(_) => Some(CloseReason::UnreadBody),
            // The client may or may not send a body that it was not told to send.
            Reading::Length(_) | Reading::Chunked(..) if self.continue_owed => Some(CloseReason::UnreadBody),
            Reading::Done | Reading::Length(_) | Reading::Chunked(..) => None,
        }
    }

    /// Takes a frame from what is buffered; `None` when there is none (yet, or any more).
    fn decode(&mut self) -> Result<Option<Frame<Bytes>>, BodyError> {
        let buf = &mut self.io.buf;
        match &mut self.body {
            Reading::Done => Ok(None),
            Reading::Failed(error) => Err(*error),
            Reading::Length(_) if buf.is_empty() => Ok(None),
            Reading::Length(left) => {
                let take = usize::try_from(*left).unwrap_or(usize::MAX).min(buf.len());
                *left -= take as u64;
                if *left == 0 {
                    self.body = Reading::Done;
                }
                Ok(Some(Frame::data(buf.split_to(take).freeze())))
            }
            Reading::Chunked(reader, room) => {
                let step = reader.step(buf).map_err(BodyError::ClientMalformed)?;
                if let Step::Data(data) = &step {
                    *room = room.checked_sub(data.len() as u64).ok_or(BodyError::ClientTooLarge)?;
                }
                if reader.is_done() {
                    self.body = Reading::Done;
                }
                Ok(match step {
                    Step::Data(data) => Some(Frame::data(data)),
                    Step::Trailers(trailers) => Some(Frame::trailers(trailers)),
                    Step::End | Step::More => None,
                })
            }
        }
    }

    /// Says `100 Continue`: "A server MAY omit sending a 100 (Continue) response if it has already received some or all of
    /// the content" (RFC 9110 §10.1.1), so it is only said when something has to be waited for.
    fn poll_continue(&mut self, cx: &mut Context<'_>) -> Result<(), BodyError> {
        self.continue_owed = false;
        self.interim.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        self.poll_interim(cx).map_err(|_| BodyError::ClientGone)
    }

    /// Sends what the socket takes of the interim responses. What is left goes with the final one at the latest.
    pub(crate) fn poll_interim(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while !self.interim.is_empty() {
            let slices = [io::IoSlice::new(&self.interim)];
            match self.io.stream.poll_write_vectored(cx, &slices) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => drop(self.interim.drain(..written)),
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
        match self.io.stream.poll_flush(cx) {
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    /// Ready when the client has left; reads ahead a little, for that is the only way to know.
    pub(crate) fn poll_left(&mut self, half_close: HalfClose, cx: &mut Context<'_>) -> Poll<()> {
        // While a body is coming, its reader sees the client leave.
        while self.body.is_done() && !self.io.ended && self.io.buf.len() < PIPELINED_MAX {
            match self.io.poll_fill(cx, HEAD_READ) {
                Poll::Ready(Ok(0)) if half_close == HalfClose::Cancel => return Poll::Ready(()),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Pending
    }

    fn fail(&mut self, error: BodyError) -> BodyError {
        self.body = Reading::Failed(error);
        error
    }
}

/// The body of one request, handed to the service.
pub(crate) struct RequestBody {
    shared: Shared,
    request: u64,
    pace: Pace,
    patience: Patience,
    deadline: Deadline,
}

impl RequestBody {
    pub(crate) fn new(shared: Shared, request: u64, pace: Pace) -> Self {
        Self {
            shared,
            request,
            pace,
            patience: Patience::new(&pace),
            deadline: Deadline::default(),
        }
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let mut inbox = this.shared.lock();
        if inbox.request != this.request {
            return Poll::Ready(Some(Err(BodyError::ClientGone)));
        }
        let frame = inbox.poll_frame(cx);
        if let Poll::Ready(frame) = &frame {
            let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
            let bytes = data.map_or(0, Bytes::len) as u64;
            this.patience.moved(bytes, &this.pace, &mut this.deadline);
        } else {
            let lost = ready!(this.patience.poll(&this.pace, &mut this.deadline, || None, cx));
            return Poll::Ready(Some(Err(inbox.fail(lost.into()))));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        let inbox = self.shared.lock();
        inbox.request == self.request && inbox.body.is_done()
    }

    fn size_hint(&self) -> SizeHint {
        let inbox = self.shared.lock();
        match &inbox.body {
            Reading::Length(left) if inbox.request == self.request => SizeHint::with_exact(*left),
            Reading::Done if inbox.request == self.request => SizeHint::with_exact(0),
            _ => SizeHint::default(),
        }
    }
}
