//! A response body read from a server's stream, driving what is left of the request meanwhile.
//!
//! What is not read keeps its place in the flow-control windows, so that the server stops sending. Trailers pass. A body
//! that is dropped before its end resets its stream; the connection goes on.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Frame, SizeHint};

use super::ask::{Upload, word};
use super::client::Link;
use crate::http::body::BodyError;
use crate::http::hop_by_hop;
use crate::http::origin_error::OriginError;
use crate::http1::client::{ExchangeError, Home};
use crate::http1::deadline::Deadline;

/// The body of one response.
pub(super) struct ResponseBody<H: Home> {
    /// The stream, until it is over.
    state: Option<(RecvStream, H)>,
    upload: Upload,
    link: Arc<Link>,
    /// What is left of the announced length.
    left: Option<u64>,
    deadline: Deadline,
    timeout: Duration,
    /// All data was read; trailers may follow.
    data_ended: bool,
}

impl<H: Home> ResponseBody<H> {
    pub(super) fn new(
        stream: RecvStream,
        upload: Upload,
        link: Arc<Link>,
        length: Option<u64>,
        timeout: Duration,
        home: H,
    ) -> Self {
        Self {
            state: Some((stream, home)),
            upload,
            link,
            left: length,
            deadline: Deadline::default(),
            timeout,
            data_ended: false,
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, BodyError>> {
        let Some((stream, _)) = &mut self.state else {
            return Poll::Ready(Ok(None));
        };
        self.upload.poll(cx, &self.link).map_err(|error| match error {
            ExchangeError::Client(error) => error,
            ExchangeError::Origin(error) => error.into(),
        })?;
        let polled = loop {
            if self.data_ended {
                break stream.poll_trailers(cx).map(|trailers| match trailers {
                    Ok(trailers) => Ok(trailers.map(|mut trailers| {
                        hop_by_hop::remove_from_trailers(&mut trailers);
                        Frame::trailers(trailers)
                    })),
                    Err(error) => Err(error),
                });
            }
            match stream.poll_data(cx) {
                Poll::Ready(None) => self.data_ended = true,
                // Empty frames are the server's to count: h2 bounds them.
                Poll::Ready(Some(Ok(data))) if data.is_empty() && !stream.is_end_stream() => {}
                Poll::Ready(Some(Ok(data))) => {
                    self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                    break Poll::Ready(
                        stream
                            .flow_control()
                            .release_capacity(data.len())
                            .map(|()| Some(Frame::data(data))),
                    );
                }
                Poll::Ready(Some(Err(error))) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        match polled {
            Poll::Ready(next) => {
                self.deadline.clear();
                Poll::Ready(next.map_err(|error| word(&error, OriginError::HttpResponseIncomplete).into()))
            }
            Poll::Pending => {
                self.deadline.start(self.timeout);
                ready!(self.deadline.poll(cx));
                self.link.suspect();
                Poll::Ready(Err(OriginError::ConnectionReadTimeout.into()))
            }
        }
    }

    /// The body is whole.
    fn end(&mut self) {
        if let Some((_, home)) = self.state.take() {
            home.finished();
        }
    }
}

impl<H: Home> http_body::Body for ResponseBody<H> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        Poll::Ready(match ready!(this.poll_next(cx)) {
            Ok(Some(frame)) => {
                // The stream is counted off before its last bytes are handed over, so that a client which has them all
                // finds its place free.
                let is_last = this.state.as_ref().is_some_and(|(stream, _)| stream.is_end_stream());
                if is_last || frame.is_trailers() {
                    this.end();
                }
                Some(Ok(frame))
            }
            Ok(None) => {
                this.end();
                None
            }
            Err(error) => {
                if let (Some((_, home)), BodyError::Origin(error)) = (this.state.take(), error) {
                    home.failed(error);
                }
                Some(Err(error))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.state.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
