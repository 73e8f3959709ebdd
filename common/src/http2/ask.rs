//! One request to a server on a stream of its own: send the request, take the response's head.
//!
//! Both go on at once, as on HTTP/1 (`http1::client`), and end in the same values. What HTTP/2 can say and HTTP/1 cannot is
//! that a request was not processed at all: then nothing of it counts as sent, and it may be sent again whatever its method.

use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONTENT_LENGTH, EXPECT};
use http::{HeaderMap, Method, StatusCode};

use super::answer::ResponseBody;
use super::asked::{self, Target};
use super::client::{Client, Link};
use super::content::Sending;
use super::response;
use crate::backend::settings::ExchangeLimits;
use crate::http::body::Body;
use crate::http::hop_by_hop;
use crate::http::interim::Courier;
use crate::http::origin_error::OriginError;
use crate::http::outgoing::OutgoingHead;
use crate::http::response::Response;
use crate::http1::client::{CONTINUE_TIMEOUT, ExchangeError, Failure, Home, INTERIM_MAX, is_asked_for};
use crate::http1::deadline::Deadline;
use crate::net::tls;
use crate::serve::service::End;
use crate::serve::settings::Pace;

/// Sends a request and waits for the head of the final response; its body streams from there.
///
/// # Errors
/// [`Failure`] says what happened and what may be tried again. Dropping the future resets the stream.
pub(crate) async fn exchange<H: Home>(
    client: Client,
    head: &OutgoingHead,
    body: Body,
    limits: &ExchangeLimits,
    home: H,
) -> Result<Response, Failure> {
    let Client { sender, link, is_tls } = client;
    let kept = match &body {
        Body::Empty => Some(Body::Empty),
        Body::Full(bytes) => Some(Body::Full(bytes.clone())),
        Body::Chunks(_) | Body::Stream(_) | Body::Tunnel(_) => None,
    };
    let (answer, upload) = match open(sender, head, body, limits, is_tls) {
        Ok(opened) => opened,
        Err((error, body)) => return Err(unsent(error, body)),
    };
    let mut asking = Asking {
        response: answer,
        upload,
        link,
        deadline: Deadline::default(),
        interim: 0,
        courier: head.courier.clone(),
    };
    match poll_fn(|cx| asking.poll_head(cx, limits)).await {
        Ok(response) => asking.into_response(response, head, limits, home),
        Err(error) => Err(asking.fail(error, kept)),
    }
}

/// Opens the stream; gives the body back where that cannot be.
fn open(
    mut sender: SendRequest<Bytes>,
    head: &OutgoingHead,
    body: Body,
    limits: &ExchangeLimits,
    is_tls: bool,
) -> Result<(ResponseFuture, Upload), (OriginError, Body)> {
    let length = body.len();
    let target = Target { is_tls, length };
    let Some(request) = asked::request(head, target) else {
        return Err((OriginError::HttpProtocolError, body));
    };
    let is_last = length == Some(0);
    match sender.send_request(request, is_last) {
        Ok((response, _)) if is_last => Ok((response, Upload::Done)),
        Ok((response, stream)) => Ok((response, Upload::begin(stream, body, head, limits))),
        Err(error) => Err((word(&error, OriginError::ConnectionTerminated), body)),
    }
}

/// A request of which nothing was sent.
fn unsent(error: OriginError, body: Body) -> Failure {
    Failure {
        error: error.into(),
        body: Some(body),
        sent: false,
        answered: false,
    }
}

/// The content of a request on its way.
pub(super) enum Upload {
    /// It waits for `100 Continue`.
    Held(Box<Sending>),
    /// It is being sent.
    Running(Box<Sending>),
    /// All of it was sent, or the server wants no more.
    Done,
}

impl Upload {
    fn begin(stream: SendStream<Bytes>, body: Body, head: &OutgoingHead, limits: &ExchangeLimits) -> Self {
        let pace = Pace {
            timeout: limits.send_timeout,
            rate_min: 0,
            grace: Duration::ZERO,
        };
        let sending = Box::new(Sending::new(stream, body, pace));
        if head.parts.headers.contains_key(EXPECT) {
            Self::Held(sending)
        } else {
            Self::Running(sending)
        }
    }

    /// Sends what can be sent.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, link: &Link) -> Result<(), ExchangeError> {
        let Self::Running(sending) = self else { return Ok(()) };
        match sending.poll(cx) {
            Poll::Pending => return Ok(()),
            Poll::Ready(End::BodyFailed(error)) => return Err(ExchangeError::Client(error)),
            Poll::Ready(End::ClientGone) if sending.lost.is_some() => {
                link.suspect();
                return Err(OriginError::ConnectionWriteTimeout.into());
            }
            // "A server can send a complete response before the client has sent an entire request […] the server MAY
            // request that the client abort transmission by sending a RST_STREAM" (RFC 9113 §8.1): the response tells.
            Poll::Ready(End::Whole | End::ClientGone | End::Tunnel(_)) => {}
        }
        *self = Self::Done;
        Ok(())
    }

    fn release(&mut self) {
        if let Self::Held(sending) = std::mem::replace(self, Self::Done) {
            *self = Self::Running(sending);
        }
    }

    /// The body, when nothing of it was taken.
    fn into_untouched_body(self) -> Option<Body> {
        match self {
            Self::Held(sending) | Self::Running(sending) => sending.into_untouched_body(),
            Self::Done => None,
        }
    }
}

/// A request on its way out, its response on its way in.
struct Asking {
    response: ResponseFuture,
    upload: Upload,
    link: Arc<Link>,
    deadline: Deadline,
    interim: u32,
    /// Brings interim responses to the client whose request it is.
    courier: Option<Courier>,
}

/// Why no head came.
enum Unanswered {
    /// The stream or the connection ended.
    Stream(h2::Error),
    /// Something else.
    Other(ExchangeError),
}

impl Asking {
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        limits: &ExchangeLimits,
    ) -> Poll<Result<http::Response<RecvStream>, Unanswered>> {
        loop {
            self.upload.poll(cx, &self.link).map_err(Unanswered::Other)?;
            let mut may_go_on = false;
            let is_answered = self.take_interim(cx, limits, &mut may_go_on)?;
            if is_answered && let Poll::Ready(response) = Pin::new(&mut self.response).poll(cx) {
                return Poll::Ready(response.map_err(Unanswered::Stream));
            }
            match self.upload {
                Upload::Held(_) => {
                    self.deadline.start(CONTINUE_TIMEOUT);
                    if !may_go_on {
                        ready!(self.deadline.poll(cx));
                    }
                    self.deadline.clear();
                    self.upload.release();
                }
                // The body, or the server's windows, are waited for; both have timeouts of their own.
                Upload::Running(_) => return Poll::Pending,
                Upload::Done => return self.poll_timeout(cx, limits.response_timeout).map(Err),
            }
        }
    }

    fn poll_timeout(&mut self, cx: &mut Context<'_>, after: Duration) -> Poll<Unanswered> {
        self.deadline.start(after);
        self.deadline.poll(cx).map(|()| {
            self.link.suspect();
            Unanswered::Other(OriginError::HttpResponseTimeout.into())
        })
    }

    /// "A client MUST be able to parse one or more 1xx responses received prior to a final response" (RFC 9110 §15.2).
    /// `100 Continue` answers us; the others are the client's.
    ///
    /// Tells whether the final one, or an error, is there: asked for it before, the library would skip what comes first.
    fn take_interim(
        &mut self,
        cx: &mut Context<'_>,
        limits: &ExchangeLimits,
        may_go_on: &mut bool,
    ) -> Result<bool, Unanswered> {
        loop {
            let interim = match self.response.poll_informational(cx) {
                Poll::Ready(Some(Ok(interim))) => interim,
                Poll::Ready(Some(Err(_)) | None) => return Ok(true),
                Poll::Pending => return Ok(false),
            };
            self.interim += 1;
            // "HTTP/2 does not support the 101 (Switching Protocols) informational status code" (RFC 9113 §8.6).
            if self.interim > INTERIM_MAX || interim.status() == StatusCode::SWITCHING_PROTOCOLS {
                return Err(Unanswered::Other(OriginError::HttpProtocolError.into()));
            }
            if is_too_large(interim.headers(), limits) {
                return Err(Unanswered::Other(OriginError::HttpResponseHeaderSectionSize.into()));
            }
            if interim.status() == StatusCode::CONTINUE {
                *may_go_on = true;
            } else if let Some(courier) = &self.courier {
                let (head, ()) = interim.into_parts();
                courier.bring(head.status, head.headers);
            }
        }
    }

    fn fail(self, why: Unanswered, kept: Option<Body>) -> Failure {
        let body = kept.or_else(|| self.upload.into_untouched_body());
        let (error, sent) = match why {
            Unanswered::Stream(error) => (
                word(&error, OriginError::ConnectionTerminated).into(),
                !is_unprocessed(&error),
            ),
            Unanswered::Other(error) => (error, true),
        };
        Failure {
            error,
            body,
            sent,
            answered: self.interim > 0,
        }
    }

    fn into_response<H: Home>(
        self,
        response: http::Response<RecvStream>,
        head: &OutgoingHead,
        limits: &ExchangeLimits,
        mut home: H,
    ) -> Result<Response, Failure> {
        let failed = |error: OriginError| Failure {
            error: error.into(),
            body: None,
            sent: true,
            answered: true,
        };
        let (mut parts, stream) = response.into_parts();
        if !is_asked_for(parts.status, &head.parts.headers) {
            return Err(failed(OriginError::HttpProtocolError));
        }
        if is_too_large(&parts.headers, limits) {
            return Err(failed(OriginError::HttpResponseHeaderSectionSize));
        }
        home.answered(parts.status);
        // The library has compared it with what comes (RFC 9113 §8.1.1); who sends the response on writes its own.
        let is_head = head.parts.method == Method::HEAD;
        let length = parts
            .headers
            .get(CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse().ok());
        if !is_head {
            parts.headers.remove(CONTENT_LENGTH);
        }
        let body = if stream.is_end_stream() || is_head {
            home.finished();
            Body::Empty
        } else {
            Body::stream(ResponseBody::new(
                stream,
                self.upload,
                self.link,
                length,
                limits.body_timeout,
                home,
            ))
        };
        hop_by_hop::remove_from_response(parts.status, &mut parts.headers);
        Ok(Response {
            status: parts.status,
            fields: parts.headers.into(),
            body,
        })
    }
}

fn is_too_large(fields: &HeaderMap, limits: &ExchangeLimits) -> bool {
    let bytes = usize::try_from(response::size(fields)).unwrap_or(usize::MAX);
    fields.len() > limits.fields_max || bytes > limits.head_bytes_max
}

/// "Requests that have not been processed have not failed": a GOAWAY below the stream's number, and a stream that is refused,
/// say so (RFC 9113 §8.7).
fn is_unprocessed(error: &h2::Error) -> bool {
    error.is_remote() && (error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM))
}

/// The RFC 9209 word for the end of a stream or of its connection; `broken` for those that just broke off.
pub(super) fn word(error: &h2::Error, broken: OriginError) -> OriginError {
    if let Some(io) = error.get_io() {
        return tls::failure::word_for(io).unwrap_or(broken);
    }
    if error.is_library() {
        OriginError::HttpProtocolError
    } else {
        broken
    }
}
