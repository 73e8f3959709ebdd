//! A response as one stream sends it: its head, then its body as fast as body and windows allow, and no faster. Bodies
//! of requests to servers are sent so too.
//!
//! What h2 holds of a body is bounded by `send_buffer_max`; pieces are handed on where they lie.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, Method, Version};
use http_body::Body as _;

use crate::http::body::{Body, BodyError};
use crate::http::response::Response;
use crate::http1::deadline::Deadline;
use crate::http1::patience::{Lost, Patience};
use crate::http1::render::{Coding, response_coding};
use crate::serve::service::End;
use crate::serve::settings::Pace;

/// What a frame's head takes (RFC 9113 §4.1).
const FRAME_HEAD: u64 = 9;

/// A response split into what h2 takes first and what it takes later.
pub(super) struct Outgoing {
    /// The head.
    pub(super) head: http::Response<()>,
    /// What follows it; empty where nothing does.
    pub(super) body: Body,
    /// The length that the head announces for the body.
    length: Option<u64>,
}

impl Outgoing {
    /// Content alone, whose head was sent.
    pub(super) fn content(body: Body) -> Self {
        Self {
            head: http::Response::new(()),
            length: body.len(),
            body,
        }
    }
}

/// A response as HTTP/2 frames it: Content-Length where the length is known, and no field of HTTP/1's connections.
pub(super) fn outgoing(response: Response, method: &Method) -> Outgoing {
    let Response { status, fields, body } = response;
    let length = body.len();
    let mut fields = fields.into_map();
    // "An endpoint MUST NOT generate an HTTP/2 message containing connection-specific header fields." (RFC 9113 §8.2.2)
    for name in CONNECTION_SPECIFIC {
        fields.remove(name);
    }
    let coding = response_coding(method, Version::HTTP_11, status, length);
    let announced = match coding {
        Coding::Length(length) => Some(length),
        Coding::None => length.filter(|length| *method == Method::HEAD && *length > 0),
        Coding::Chunked | Coding::UntilClose => None,
    };
    if let Some(length) = announced {
        fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    let mut head = http::Response::new(());
    *head.status_mut() = status;
    *head.headers_mut() = fields;
    match coding {
        Coding::None => Outgoing {
            head,
            body: Body::Empty,
            length: Some(0),
        },
        Coding::Length(length) => Outgoing {
            head,
            body,
            length: Some(length),
        },
        Coding::Chunked | Coding::UntilClose => Outgoing {
            head,
            body,
            length: None,
        },
    }
}

/// Fields that HTTP/2 has no place for.
pub(super) const CONNECTION_SPECIFIC: [HeaderName; 5] = [
    CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// The size of a header section, uncompressed and without HPACK's overhead.
pub(super) fn size(fields: &HeaderMap) -> u64 {
    fields
        .iter()
        .map(|(name, value)| (name.as_str().len() + value.len()) as u64)
        .sum()
}

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
    /// Frame heads and trailers.
    pub(super) overhead: u64,
    /// The client's windows stayed shut, or opened too slowly.
    pub(super) lost: Option<Lost>,
    /// What the peer is told where the body fails.
    cut: Reason,
}

impl Sending {
    pub(super) fn new(stream: SendStream<Bytes>, outgoing: Outgoing, pace: Pace) -> Self {
        Self {
            stream,
            body: outgoing.body,
            length: outgoing.length,
            waiting: Bytes::new(),
            pace,
            patience: Patience::new(&pace),
            deadline: Deadline::default(),
            body_bytes: 0,
            overhead: 0,
            lost: None,
            cut: Reason::INTERNAL_ERROR,
        }
    }

    /// The same for a request: where its body fails, the server is told that nobody wants the answer any more.
    pub(super) const fn cancelling(mut self) -> Self {
        self.cut = Reason::CANCEL;
        self
    }

    /// The body, when nothing of it was taken.
    pub(super) fn into_untouched_body(self) -> Option<Body> {
        (self.body_bytes == 0 && self.waiting.is_empty()).then_some(self.body)
    }

    /// Sends as much as can be sent; ready when all is, or when it cannot be.
    ///
    /// The rate that is asked of the client is that of all its `streams` together, each taken for an equal part.
    pub(super) fn poll(&mut self, streams: usize, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            if !self.waiting.is_empty() {
                if let Err(end) = ready!(self.poll_data(streams, cx)) {
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
    fn poll_data(&mut self, streams: usize, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
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
        let of_all = bytes.saturating_mul(streams as u64);
        self.patience.moved(of_all, &self.pace, &mut self.deadline);
        let is_last = self.waiting.is_empty() && self.body.is_end_stream();
        if is_last && self.length.is_some_and(|length| after < length) {
            return Poll::Ready(Err(self.cut(BodyError::Internal("body shorter than announced"))));
        }
        if self.stream.send_data(piece, is_last).is_err() {
            return Poll::Ready(Err(End::ClientGone));
        }
        self.body_bytes += bytes;
        self.overhead += FRAME_HEAD;
        Poll::Ready(Ok(()))
    }

    /// The client's window is shut: waits for it, but not for ever.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if self.stream.poll_reset(cx).is_ready() {
            return Poll::Ready(End::ClientGone);
        }
        let lost = ready!(self.patience.poll(&self.pace, &mut self.deadline, || None, cx));
        tracing::debug!(?lost, "a client does not open its window");
        self.lost = Some(lost);
        self.stream.send_reset(Reason::CANCEL);
        Poll::Ready(End::ClientGone)
    }

    fn end(&mut self, trailers: Option<HeaderMap>) -> Result<End, BodyError> {
        if self.length.is_some_and(|length| self.body_bytes < length) {
            return Err(BodyError::Internal("body shorter than announced"));
        }
        self.overhead += FRAME_HEAD;
        let sent = match trailers {
            Some(trailers) => {
                self.overhead += size(&trailers);
                self.stream.send_trailers(trailers)
            }
            None => self.stream.send_data(Bytes::new(), true),
        };
        Ok(sent.map_or(End::ClientGone, |()| End::Whole))
    }

    /// Ends the stream so that it cannot look whole.
    fn cut(&mut self, error: BodyError) -> End {
        self.stream.send_reset(self.cut);
        End::BodyFailed(error)
    }
}
