//! A body of unknown length that fails when it turns out larger than it may be.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use common::http::body::{Body, BodyError};
use http_body::Frame;

/// A body that may have so many bytes.
pub(super) struct Capped {
    body: Body,
    room: u64,
}

impl Capped {
    pub(super) const fn new(body: Body, max: u64) -> Self {
        Self { body, room: max }
    }
}

impl http_body::Body for Capped {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
            let Some(room) = self.room.checked_sub(bytes) else {
                self.room = 0;
                return Poll::Ready(Some(Err(BodyError::ClientTooLarge)));
            };
            self.room = room;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_empty()
    }
}
