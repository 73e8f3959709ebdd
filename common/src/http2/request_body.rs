//! A client's body, read as it is wanted: what is not asked for keeps its place in the flow-control window, so that the
//! client stops sending.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::exchange::Shared;
use crate::http::body::BodyError;
use crate::http1::deadline::Deadline;
use crate::http1::patience::Patience;
use crate::serve::settings::Pace;

/// The body of one request, handed to the service.
pub(super) struct RequestBody {
    shared: Arc<Shared>,
    id: u32,
    /// What is left of the announced length.
    left: Option<u64>,
    /// Bytes that may still come.
    room: u64,
    pace: Pace,
    patience: Patience,
    deadline: Deadline,
    failed: Option<BodyError>,
}

impl RequestBody {
    pub(super) fn new(shared: Arc<Shared>, id: u32, length: Option<u64>) -> Self {
        let pace = shared.settings.body_pace();
        Self {
            room: shared.settings.body_bytes_max,
            shared,
            id,
            left: length,
            pace,
            patience: Patience::new(&pace),
            deadline: Deadline::default(),
            failed: None,
        }
    }

    /// What the stream has; content that was taken has left its place in the window.
    fn poll_stream(&mut self, cx: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut session = self.shared.session.lock();
        let frame = ready!(session.poll_body(self.id, cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            session.release_held(self.id);
            let bytes = data.len() as u64;
            self.left = self.left.map(|left| left.saturating_sub(bytes));
            match self.room.checked_sub(bytes) {
                Some(room) => self.room = room,
                None => return Poll::Ready(Some(Err(BodyError::ClientTooLarge))),
            }
        }
        Poll::Ready(frame)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.shared.session.lock().forget_body(self.id);
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Some(error) = this.failed {
            return Poll::Ready(Some(Err(error)));
        }
        let frame = this.poll_stream(cx);
        let Poll::Ready(came) = &frame else {
            let lost = ready!(this.patience.poll(&this.pace, &mut this.deadline, || None, cx));
            let error = BodyError::from(lost);
            this.failed = Some(error);
            return Poll::Ready(Some(Err(error)));
        };
        let mut bytes = 0;
        match came {
            Some(Ok(frame)) => bytes = frame.data_ref().map_or(0, Bytes::len) as u64,
            Some(Err(error)) => this.failed = Some(*error),
            None => {}
        }
        this.patience.moved(bytes, &this.pace, &mut this.deadline);
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.failed.is_none() && self.shared.session.lock().is_body_read(self.id)
    }

    fn size_hint(&self) -> SizeHint {
        match self.left {
            Some(left) => SizeHint::with_exact(left),
            None if self.is_end_stream() => SizeHint::with_exact(0),
            None => SizeHint::default(),
        }
    }
}
