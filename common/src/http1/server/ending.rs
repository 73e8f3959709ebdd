//! How a client's connection ends, and how one is kept from ending: unread bodies, refusals, the last word.
//!
//! Steps of `server`, which conducts.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Version};

use super::{Connection, Sending};
use crate::http::interim::Desk;
use crate::http1::io::BODY_READ;
use crate::http1::parse::ParseError;
use crate::http1::request_body::Reading;
use crate::serve::service::{CloseReason, Service};
use crate::soon::Soon;
use crate::time::mono_now;

/// Bytes of an unwanted request body that are skipped to keep the connection.
const SKIP_MAX: usize = 256 * 1024;
/// How long skipping, or waiting for a client to close after a refusal, may take.
const LINGER: Duration = Duration::from_secs(2);

impl Connection {
    /// Skips what is left of the request's body, within bounds; false when the connection must close instead.
    pub(super) async fn skip_unread(&mut self) -> bool {
        if self.shared.lock().body.is_done() {
            return true;
        }
        self.deadline.set(mono_now() + LINGER);
        let mut skipped = 0;
        poll_fn(|cx| {
            let mut inbox = self.shared.lock();
            if matches!(inbox.body, Reading::Length(left) if left > SKIP_MAX as u64) {
                return Poll::Ready(false);
            }
            while skipped < SKIP_MAX {
                match inbox.poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => skipped += frame.data_ref().map_or(0, Bytes::len),
                    Poll::Ready(None) => return Poll::Ready(true),
                    Poll::Ready(Some(Err(_))) => return Poll::Ready(false),
                    Poll::Pending => return self.deadline.poll(cx).map(|()| false),
                }
            }
            Poll::Ready(false)
        })
        .await
    }

    /// Answers what is no request.
    pub(super) async fn refuse<S: Service>(&mut self, service: &S, error: ParseError) -> CloseReason {
        let reply = service.refuse(&error, &self.conn);
        let reason = if error == ParseError::Timeout {
            CloseReason::HeaderTimeout
        } else {
            CloseReason::Malformed
        };
        let sending = Sending {
            method: Method::GET,
            version: Version::HTTP_11,
            close: Some(reason),
            began: mono_now(),
        };
        self.answer(Soon::Ready(reply), &Desk::default(), sending).await;
        self.linger(reason).await;
        reason
    }

    /// The last word, where it may be said.
    pub(super) fn end(self, reason: CloseReason) {
        if !matches!(
            reason,
            CloseReason::Reset | CloseReason::ResponseFailed | CloseReason::SendTimeout | CloseReason::Upgraded
        ) {
            self.shared.lock().io.stream.close_notify();
        }
    }

    /// Waits so that the client can still read what it was told: a close with unread bytes would be a reset.
    pub(super) async fn linger(&mut self, reason: CloseReason) {
        let refused = matches!(
            reason,
            CloseReason::Malformed | CloseReason::HeaderTimeout | CloseReason::UnreadBody
        );
        let unread = !self.shared.lock().body.is_done();
        if !refused && !unread
            || matches!(
                reason,
                CloseReason::Reset | CloseReason::ResponseFailed | CloseReason::SendTimeout
            )
        {
            return;
        }
        self.deadline.set(mono_now() + LINGER);
        let mut discarded = 0;
        poll_fn(|cx| {
            let mut inbox = self.shared.lock();
            if discarded == 0 {
                inbox.io.stream.shutdown_write();
            }
            while discarded <= 4 * SKIP_MAX {
                inbox.io.buf.clear();
                match inbox.io.poll_fill(cx, BODY_READ) {
                    Poll::Ready(Ok(n)) if n > 0 => discarded += n,
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => return self.deadline.poll(cx),
                }
            }
            Poll::Ready(())
        })
        .await;
    }
}
