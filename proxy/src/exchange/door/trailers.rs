//! A request body whose trailers do not say whom the client's certificate is for: somebody may merge them into the head.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use common::http::body::{Body, BodyError};
use http::HeaderName;
use http_body::{Frame, SizeHint};

use super::remove_alike;

/// A body, and the field that its trailers must not have.
pub(super) struct Unforged {
    body: Body,
    name: HeaderName,
}

impl Unforged {
    pub(super) const fn new(body: Body, name: HeaderName) -> Self {
        Self { body, name }
    }
}

impl http_body::Body for Unforged {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
        {
            remove_alike(trailers, &self.name);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
