//! A response's content on its way to a client: as fast as body and windows allow, and no faster.
//!
//! The session frames it as streams have their turns; here it is taken from the body, no more of it than the session wants, and
//! a client that takes nothing is given up. `exchange` calls.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Body as _;

use super::exchange::Shared;
use super::frame::Code;
use super::session::Session;
use crate::http::body::{Body, BodyError};
use crate::http1::deadline::Deadline;
use crate::http1::patience::{Lost, Patience};
use crate::serve::service::End;
use crate::serve::settings::Pace;
use crate::telemetry::metrics::Counter;

/// Content being sent on a stream.
pub(super) struct Delivery {
    id: u32,
    body: Body,
    length: Option<u64>,
    /// All of it was handed to the session.
    is_taken: bool,
    /// Bytes of content handed to the session, and what it had not framed of them at the last look.
    pub(super) body_bytes: u64,
    queued: u64,
    pace: Pace,
    patience: Patience,
    deadline: Deadline,
}

impl Delivery {
    pub(super) fn new(id: u32, body: Body, length: Option<u64>, pace: Pace) -> Self {
        Self {
            id,
            body,
            length,
            is_taken: false,
            body_bytes: 0,
            queued: 0,
            pace,
            patience: Patience::new(&pace),
            deadline: Deadline::default(),
        }
    }

    /// Sends as much as can be sent; ready when all is, or when it cannot be.
    pub(super) fn poll(&mut self, shared: &Shared, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            let wants = {
                let mut session = shared.session.lock();
                if self.is_taken && session.has_sent_all(self.id) {
                    return Poll::Ready(End::Whole);
                }
                if session.poll_over(self.id, cx).is_ready() {
                    return Poll::Ready(End::ClientGone);
                }
                self.see_progress(&mut session);
                !self.is_taken && session.wants_content(self.id)
            };
            if !wants {
                return self.poll_stalled(shared, cx);
            }
            // The session is not locked meanwhile: the body may be one that reads from it.
            let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
            let handed = match frame.map(|frame| frame.map(http_body::Frame::into_data)) {
                Some(Err(error)) => Err(error),
                Some(Ok(Ok(content))) => self.hand_content(shared, content),
                Some(Ok(Err(frame))) => self.hand_end(shared, frame.into_trailers().ok()),
                None => self.hand_end(shared, None),
            };
            if let Err(error) = handed {
                // So that it cannot look whole.
                shared
                    .session
                    .lock()
                    .reset(self.id, Code::InternalError, BodyError::ClientGone);
                return Poll::Ready(End::BodyFailed(error));
            }
        }
    }

    fn hand_content(&mut self, shared: &Shared, content: Bytes) -> Result<(), BodyError> {
        self.body_bytes += content.len() as u64;
        if self.length.is_some_and(|length| self.body_bytes > length) {
            return Err(BodyError::Internal("body longer than announced"));
        }
        let ends = self.body.is_end_stream();
        if ends {
            self.end()?;
        }
        // A stream that is gone shows itself at the next look.
        let bytes = content.len() as u64;
        if shared.session.lock().send_content(self.id, content, ends).is_ok() {
            self.queued += bytes;
        }
        Ok(())
    }

    fn hand_end(&mut self, shared: &Shared, trailers: Option<http::HeaderMap>) -> Result<(), BodyError> {
        self.end()?;
        let mut session = shared.session.lock();
        let sent = match trailers {
            Some(trailers) => session.send_trailers(self.id, trailers),
            None => session.send_content(self.id, Bytes::new(), true),
        };
        if sent.is_err() {
            tracing::trace!("the end of a response to a client that is gone");
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), BodyError> {
        self.is_taken = true;
        if self.length.is_some_and(|length| self.body_bytes < length) {
            return Err(BodyError::Internal("body shorter than announced"));
        }
        Ok(())
    }

    /// The rate that is asked of the client is that of all its streams together, each taken for an equal part.
    fn see_progress(&mut self, session: &mut Session) {
        let queued = session.queued(self.id) as u64;
        let sent = self.queued.saturating_sub(queued);
        self.queued = queued;
        if sent > 0 {
            let of_all = sent.saturating_mul(session.streams.len() as u64);
            self.patience.moved(of_all, &self.pace, &mut self.deadline);
        }
    }

    /// What was handed over does not leave: waits for the client, but not for ever.
    fn poll_stalled(&mut self, shared: &Shared, cx: &mut Context<'_>) -> Poll<End> {
        let lost = ready!(self.patience.poll(&self.pace, &mut self.deadline, || None, cx));
        tracing::debug!(?lost, "a client does not open its window");
        shared.conn.worker.metrics.count(match lost {
            Lost::Stalled => Counter::Http2WindowStalled,
            Lost::Slow => Counter::SendTooSlow,
        });
        shared
            .session
            .lock()
            .reset(self.id, Code::Cancel, BodyError::ClientGone);
        Poll::Ready(End::ClientGone)
    }
}
