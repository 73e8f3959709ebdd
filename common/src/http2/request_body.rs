//! A client's body, read as it is wanted: what is not asked for keeps its place in the flow-control window, so that the
//! client stops sending.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Frame, SizeHint};

use crate::http::body::BodyError;
use crate::http1::deadline::Deadline;
use crate::http1::patience::Patience;
use crate::serve::settings::Pace;

/// The body of one request, handed to the service.
pub(super) struct RequestBody {
    stream: RecvStream,
    /// What is left of the announced length.
    left: Option<u64>,
    /// Bytes that may still come.
    room: u64,
    pace: Pace,
    patience: Patience,
    deadline: Deadline,
    /// All data was read; trailers may follow.
    data_ended: bool,
    failed: Option<BodyError>,
    /// Bytes read, for the record.
    received: Arc<AtomicU64>,
}

impl RequestBody {
    pub(super) fn new(stream: RecvStream, length: Option<u64>, max: u64, pace: Pace, received: Arc<AtomicU64>) -> Self {
        Self {
            stream,
            left: length,
            room: max,
            pace,
            patience: Patience::new(&pace),
            deadline: Deadline::default(),
            data_ended: false,
            failed: None,
            received,
        }
    }

    fn poll_stream(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        while !self.data_ended {
            match self.stream.poll_data(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => self.data_ended = true,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(cause(&error)))),
                Poll::Ready(Some(Ok(data))) => match self.take(&data) {
                    Ok(()) if data.is_empty() => {}
                    Ok(()) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                    Err(error) => return Poll::Ready(Some(Err(error))),
                },
            }
        }
        match self.stream.poll_trailers(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(trailers)) => Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers)))),
            Poll::Ready(Err(error)) => Poll::Ready(Some(Err(cause(&error)))),
        }
    }

    /// Data was asked for and came: its place in the window is free again.
    fn take(&mut self, data: &Bytes) -> Result<(), BodyError> {
        let bytes = data.len() as u64;
        self.received.fetch_add(bytes, Ordering::Relaxed);
        self.room = self.room.checked_sub(bytes).ok_or(BodyError::ClientTooLarge)?;
        self.left = self.left.map(|left| left.saturating_sub(bytes));
        let released = self.stream.flow_control().release_capacity(data.len());
        released.map_err(|_| BodyError::ClientGone)
    }
}

/// Who ended it.
fn cause(error: &h2::Error) -> BodyError {
    // h2 compares Content-Length with the DATA frames (RFC 9113 §8.1.1).
    if error.is_library() && error.reason() == Some(h2::Reason::PROTOCOL_ERROR) {
        return BodyError::ClientMalformed("HTTP/2 body against its rules or its Content-Length");
    }
    BodyError::ClientGone
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
        self.failed.is_none() && self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.left {
            Some(left) => SizeHint::with_exact(left),
            None if self.is_end_stream() => SizeHint::with_exact(0),
            None => SizeHint::default(),
        }
    }
}
