//! A request's content on its way to a server: sent as fast as body and windows allow, and no faster.
//!
//! What h2 holds of it is bounded by `send_buffer_max`; pieces are handed on where they lie. `ask` calls.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http::HeaderMap;
use http_body::Body as _;

use crate::http::body::{Body, BodyError};
use crate::http1::deadline::Deadline;
use crate::http1::patience::{Lost, Patience};
use crate::serve::service::End;
use crate::serve::settings::Pace;

/// A body being sent on a stream.
pub(super) struct Sending {
    stream: SendStream<Bytes>,
    body: Body,
    length: Option<u64>,
    /// Taken from the body, waiting for the window.
    waiting: Bytes,
    pace: Pace,
    patience: Patience,
    deadline: Deadline,
    /// Bytes of content handed to the connection.
    pub(super) body_bytes: u64,
    /// The server's windows stayed shut, or opened too slowly.
    pub(super) lost: Option<Lost>,
}

impl Sending {
    pub(super) fn new(stream: SendStream<Bytes>, body: Body, pace: Pace) -> Self {
        Self {
            stream,
            length: body.len(),
            body,
            waiting: Bytes::new(),
            pace,
            patience: Patience::new(&pace),
            deadline: Deadline::default(),
            body_bytes: 0,
            lost: None,
        }
    }

    /// The body, when nothing of it was taken.
    pub(super) fn into_untouched_body(self) -> Option<Body> {
        (self.body_bytes == 0 && self.waiting.is_empty()).then_some(self.body)
    }

    /// Sends as much as can be sent; ready when all is, or when it cannot be.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            if !self.waiting.is_empty() {
                if let Err(end) = ready!(self.poll_data(cx)) {
                    return Poll::Ready(end);
                }
                if self.waiting.is_empty() && self.body.is_end_stream() {
                    return Poll::Ready(End::Whole);
                }
                continue;
            }
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => return self.stream.poll_reset(cx).map(|_| End::ClientGone),
            };
            let ended = match frame.map(|frame| frame.map(http_body::Frame::into_data)) {
                None => self.end(None),
                Some(Err(error)) => Err(error),
                Some(Ok(Err(frame))) => self.end(frame.into_trailers().ok()),
                Some(Ok(Ok(data))) => {
                    self.waiting = data;
                    continue;
                }
            };
            return Poll::Ready(ended.unwrap_or_else(|error| self.cut(error)));
        }
    }

    /// Hands on what the windows have room for.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        let after = self.body_bytes + self.waiting.len() as u64;
        if self.length.is_some_and(|length| after > length) {
            return Poll::Ready(Err(self.cut(BodyError::Internal("body longer than announced"))));
        }
        self.stream.reserve_capacity(self.waiting.len());
        while self.stream.capacity() == 0 {
            match self.stream.poll_capacity(cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(_) => return Poll::Ready(Err(End::ClientGone)),
                Poll::Pending => return self.poll_stalled(cx).map(Err),
            }
        }
        let piece = self.waiting.split_to(self.stream.capacity().min(self.waiting.len()));
        let bytes = piece.len() as u64;
        self.patience.moved(bytes, &self.pace, &mut self.deadline);
        let is_last = self.waiting.is_empty() && self.body.is_end_stream();
        if is_last && self.length.is_some_and(|length| after < length) {
            return Poll::Ready(Err(self.cut(BodyError::Internal("body shorter than announced"))));
        }
        if self.stream.send_data(piece, is_last).is_err() {
            return Poll::Ready(Err(End::ClientGone));
        }
        self.body_bytes += bytes;
        Poll::Ready(Ok(()))
    }

    /// The server's window is shut: waits for it, but not for ever.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if self.stream.poll_reset(cx).is_ready() {
            return Poll::Ready(End::ClientGone);
        }
        let lost = ready!(self.patience.poll(&self.pace, &mut self.deadline, || None, cx));
        tracing::debug!(?lost, "a server does not open its window");
        self.lost = Some(lost);
        self.stream.send_reset(Reason::CANCEL);
        Poll::Ready(End::ClientGone)
    }

    fn end(&mut self, trailers: Option<HeaderMap>) -> Result<End, BodyError> {
        if self.length.is_some_and(|length| self.body_bytes < length) {
            return Err(BodyError::Internal("body shorter than announced"));
        }
        let sent = match trailers {
            Some(trailers) => self.stream.send_trailers(trailers),
            None => self.stream.send_data(Bytes::new(), true),
        };
        Ok(sent.map_or(End::ClientGone, |()| End::Whole))
    }

    /// Ends the stream so that it cannot look whole, and tells the server that nobody wants the answer any more.
    fn cut(&mut self, error: BodyError) -> End {
        self.stream.send_reset(Reason::CANCEL);
        End::BodyFailed(error)
    }
}
