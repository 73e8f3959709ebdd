//! One exchange with a server over one connection: send the request, take the response.
//!
//! Both go on at once: a response may begin, and end, before the request's body was sent. A body that is already there
//! with the head is handed over whole, and the connection goes home at once.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{EXPECT, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE, RANGE};
use http::{Method, StatusCode};

use super::deadline::Deadline;
use super::framing::{BadFraming, Framing};
use super::io::{HEAD_READ, Io};
use super::outbox::{Outbox, SendError};
use super::parse::{self, HeadLimits, ResponseHead, ResponseParseError};
use super::render::{self, Coding};
use super::response_body::ResponseBody;
use super::response_fields::Settled;
use super::tunnel::ServerEnd;
use crate::backend::settings::ExchangeLimits;
use crate::http::body::{Body, BodyError};
use crate::http::head::RequestFields;
use crate::http::hop_by_hop;
use crate::http::interim::Courier;
use crate::http::origin_error::OriginError;
use crate::http::outgoing::OutgoingHead;
use crate::http::response::{Fields, Response};
use crate::http::tunnel::Tunnel;
use crate::http::{upgrade, websocket};
use crate::net::stream::Stream;
use crate::net::tls;
use crate::time::{MonoTime, mono_now};

/// Interim (1xx) responses that a server may send before the final one.
pub(crate) const INTERIM_MAX: u32 = 32;
/// Room made for a request's head.
const HEAD_ROOM: usize = 512;
/// How long a body waits for `100 Continue`: "a client […] SHOULD NOT wait for an indefinite period" (RFC 9110 §10.1.1).
pub(crate) const CONTINUE_TIMEOUT: Duration = Duration::from_secs(1);

/// An idle connection to a server, ready for one exchange.
#[derive(Debug)]
pub struct Connection {
    io: Io,
    deadline: Deadline,
}

/// Where a connection goes when its exchange has left it reusable, and who is told how the exchange went.
///
/// Just dropped when nobody waited for the end: an implementation releases the connection's slot in its `Drop`.
pub trait Home: Send + Unpin + Sized + 'static {
    /// The head of the final response is there.
    fn answered(&mut self, _status: StatusCode) {}

    /// The response is whole, `now`; takes the connection back.
    fn take_back(self, connection: Connection, now: MonoTime);

    /// The response is whole, the connection is not reusable.
    fn finished(self) {}

    /// The server failed in mid-body.
    fn failed(self, _error: OriginError) {}
}

/// Why an exchange gave no response.
#[derive(Debug)]
pub struct Failure {
    /// What happened.
    pub error: ExchangeError,
    /// The request's body, when not one byte of it was taken.
    pub body: Option<Body>,
    /// A byte of the request had gone out.
    pub sent: bool,
    /// A byte of a response had come.
    pub answered: bool,
}

/// Who is to blame for a failed exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// The server, or the way to it.
    #[error(transparent)]
    Origin(#[from] OriginError),
    /// The one whose request it is: its body could not be read.
    #[error(transparent)]
    Client(BodyError),
}

impl Connection {
    /// A fresh connection.
    pub fn new(stream: Stream) -> Self {
        Self {
            io: Io::new(stream),
            deadline: Deadline::default(),
        }
    }

    /// The socket.
    pub fn stream(&self) -> &Stream {
        &self.io.stream
    }

    /// False when the server has closed, or said something unasked; costs no system call when nothing was heard.
    pub fn is_alive(&self) -> bool {
        !self.io.ended && self.io.buf.is_empty() && self.io.stream.is_quiet()
    }

    /// Lets TLS say and hear what belongs to its handshake; whether the connection is good for a request after that.
    pub(crate) async fn settle(&mut self, within: Duration) -> bool {
        if !matches!(self.io.stream, Stream::Tls(_)) {
            return true;
        }
        if poll_fn(|cx| self.io.stream.poll_flush(cx)).await.is_err() {
            return false;
        }
        let mut unasked = bytes::BytesMut::new();
        // Silence is what is hoped for.
        let heard = tokio::time::timeout(within, poll_fn(|cx| self.io.stream.poll_read_buf(cx, &mut unasked)));
        heard.await.is_err()
    }

    /// Registered with the reactor of the calling worker.
    ///
    /// # Errors
    /// The reactor's.
    pub fn rehome(mut self) -> io::Result<Self> {
        self.deadline.unhome();
        self.io.stream = self.io.stream.rehome()?;
        Ok(self)
    }

    /// Sends a request and waits for the head of the final response, and says when that was there; its body streams from
    /// there. `since` is now.
    ///
    /// # Errors
    /// [`Failure`] says what happened and what may be tried again. Dropping the future closes the connection.
    pub fn exchange<H: Home>(
        self,
        head: &OutgoingHead,
        body: Body,
        limits: &ExchangeLimits,
        since: MonoTime,
        home: H,
    ) -> impl Future<Output = Result<(Response, MonoTime), Failure>> {
        let coding = match body.len() {
            Some(0) => Coding::None,
            Some(length) => Coding::Length(length),
            None => Coding::Chunked,
        };
        let request = &head.parts;
        let mut text = Vec::with_capacity(HEAD_ROOM);
        render::request_head(&mut text, head, coding);
        let mut outbox = Outbox::new(text, body, coding);
        if coding != Coding::None && request.headers.contains_key(EXPECT) {
            outbox.hold();
        }
        let received_before = self.io.received;
        let mut exchange = Exchange {
            io: self.io,
            deadline: self.deadline,
            outbox,
            scanned: 0,
            interim: 0,
            asks_upgrade: head.asks_upgrade,
            courier: head.courier.clone(),
            send_failed: false,
            since: Some(since),
        };
        // A block, because an async fn would keep its arguments twice.
        async move {
            match poll_fn(|cx| exchange.poll_head(cx, limits)).await {
                Ok(response) if response.status == StatusCode::SWITCHING_PROTOCOLS => {
                    let mut fields = response.fields.into_map();
                    let is_agreed =
                        upgrade::is_asked_for(&request.headers, &fields) && websocket::is_accepted(request, &fields);
                    if !is_agreed {
                        return Err(exchange.fail(OriginError::HttpUpgradeFailed.into(), received_before));
                    }
                    hop_by_hop::remove_from_response(response.status, &mut fields);
                    let response = exchange.into_tunnel(response.status, fields.into(), limits, home);
                    Ok((response, mono_now()))
                }
                Ok(response) if !is_asked_for(response.status, &request.headers) => {
                    Err(exchange.fail(OriginError::HttpProtocolError.into(), received_before))
                }
                Ok(response) => {
                    let now = mono_now();
                    let response = exchange.into_response(response, &request.method, limits, now, home)?;
                    Ok((response, now))
                }
                Err(error) => Err(exchange.fail(error, received_before)),
            }
        }
    }
}

/// A request on its way out and a response on its way in.
pub(super) struct Exchange {
    pub(super) io: Io,
    pub(super) deadline: Deadline,
    pub(super) outbox: Outbox,
    scanned: usize,
    interim: u32,
    /// The request asks for another protocol, so a 101 may answer it.
    asks_upgrade: bool,
    /// Brings interim responses to the client whose request it is.
    courier: Option<Courier>,
    /// The request could not be sent whole; a response may be there all the same.
    send_failed: bool,
    /// When it began, until something was waited for.
    since: Option<MonoTime>,
}

impl Exchange {
    /// The head of the final response.
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        limits: &ExchangeLimits,
    ) -> Poll<Result<ResponseHead, ExchangeError>> {
        loop {
            let progress = self.poll_request(cx)?;
            if progress {
                self.deadline.clear();
            }
            if !self.io.buf.is_empty() {
                match self.parse(limits)? {
                    Some(head) if head.status.is_informational() && !self.is_final(&head) => {
                        self.interim(head)?;
                        continue;
                    }
                    Some(head) => return Poll::Ready(Ok(head)),
                    None => {}
                }
            }
            match self.io.poll_fill(cx, HEAD_READ) {
                Poll::Ready(Ok(n)) if n > 0 => {}
                Poll::Ready(ended) => return Poll::Ready(Err(self.ended_early(&ended).into())),
                Poll::Pending => {
                    if self.outbox.is_held() {
                        self.deadline.start(CONTINUE_TIMEOUT);
                        if self.deadline.poll(cx).is_ready() {
                            self.outbox.release();
                            continue;
                        }
                        return Poll::Pending;
                    }
                    return self.poll_timeout(cx, limits).map(|error| Err(error.into()));
                }
            }
        }
    }

    /// Nothing more can be sent or read for now: whose turn it is decides how long that may last.
    fn poll_timeout(&mut self, cx: &mut Context<'_>, limits: &ExchangeLimits) -> Poll<OriginError> {
        let (after, error) = if self.outbox.is_done() || self.send_failed {
            (limits.response_timeout, OriginError::HttpResponseTimeout)
        } else if self.outbox.blocked {
            (limits.send_timeout, OriginError::ConnectionWriteTimeout)
        } else {
            // The request's body is being waited for; it has a timeout of its own.
            return Poll::Pending;
        };
        let since = self.since.take();
        self.deadline.start_from(|| since.unwrap_or_else(mono_now), after);
        self.deadline.poll(cx).map(|()| error)
    }

    /// Sends what can be sent; tells whether anything was.
    pub(super) fn poll_request(&mut self, cx: &mut Context<'_>) -> Result<bool, ExchangeError> {
        if self.send_failed || self.outbox.is_done() {
            return Ok(false);
        }
        let before = self.outbox.bytes;
        match self.outbox.poll(&mut self.io.stream, cx) {
            Poll::Ready(Err(SendError::Body(error))) => return Err(ExchangeError::Client(error)),
            // "A client that sees an early response may stop"; a server that closed may have answered before (RFC 9112 §9.5).
            Poll::Ready(Err(SendError::Socket)) => self.send_failed = true,
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        Ok(self.outbox.bytes > before)
    }

    fn parse(&mut self, limits: &ExchangeLimits) -> Result<Option<ResponseHead>, ExchangeError> {
        let limits = HeadLimits {
            bytes: limits.head_bytes_max,
            fields: limits.fields_max,
            target: 0,
        };
        parse::response_head(&mut self.io.buf, &mut self.scanned, limits).map_err(|error| {
            ExchangeError::Origin(match error {
                ResponseParseError::Malformed => OriginError::HttpProtocolError,
                ResponseParseError::TooLarge => OriginError::HttpResponseHeaderSectionSize,
            })
        })
    }

    /// Whether nothing of HTTP follows a response with a status of the 100s.
    fn is_final(&self, head: &ResponseHead) -> bool {
        self.asks_upgrade && self.outbox.is_done() && head.status == StatusCode::SWITCHING_PROTOCOLS
    }

    /// "A client MUST be able to parse one or more 1xx responses received prior to a final response" (RFC 9110 §15.2). A
    /// 101 that nobody asked for is an error.
    ///
    /// "A proxy MUST forward 1xx responses unless the proxy itself requested the generation of the 1xx response." (ibid.) It
    /// is we who ask for 100.
    fn interim(&mut self, head: ResponseHead) -> Result<(), OriginError> {
        self.interim += 1;
        if head.status == StatusCode::SWITCHING_PROTOCOLS || self.interim > INTERIM_MAX {
            return Err(OriginError::HttpProtocolError);
        }
        if head.status == StatusCode::CONTINUE {
            self.outbox.release();
            self.deadline.clear();
        } else if let Some(courier) = &self.courier {
            courier.bring(head.status, head.fields.into_map());
        }
        Ok(())
    }

    fn ended_early(&self, ended: &io::Result<usize>) -> OriginError {
        match ended {
            Ok(_) if !self.io.buf.is_empty() => OriginError::HttpResponseIncomplete,
            Ok(_) => OriginError::ConnectionTerminated,
            Err(error) => broken_off(error),
        }
    }

    fn fail(self, error: ExchangeError, received_before: u64) -> Failure {
        Failure {
            error,
            sent: self.outbox.bytes > 0,
            answered: self.io.received > received_before,
            body: self.outbox.into_untouched_body(),
        }
    }

    /// The connection is the tunnel's from here on; what came after the head is its first bytes.
    fn into_tunnel<H: Home>(
        self,
        status: StatusCode,
        fields: Fields,
        limits: &ExchangeLimits,
        mut home: H,
    ) -> Response {
        home.answered(status);
        let tunnel = Tunnel {
            server: Box::new(ServerEnd::new(self.io, home)),
            idle_timeout: limits.tunnel_timeout,
        };
        Response {
            status,
            fields,
            body: Body::Tunnel(Box::new(tunnel)),
        }
    }

    fn into_response<H: Home>(
        mut self,
        head: ResponseHead,
        method: &Method,
        limits: &ExchangeLimits,
        now: MonoTime,
        mut home: H,
    ) -> Result<Response, Failure> {
        let ResponseHead {
            status,
            version,
            fields,
        } = head;
        home.answered(status);
        let refused = |error: OriginError| Failure {
            error: error.into(),
            body: None,
            sent: true,
            answered: true,
        };
        let Settled {
            fields,
            framing,
            persists,
        } = fields
            .settle(method, status, version)
            .map_err(|BadFraming| refused(OriginError::HttpProtocolError))?;
        let whole = match framing {
            Framing::None => Some(Body::Empty),
            Framing::Length(length) if self.io.buf.len() as u64 >= length => {
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                Some(Body::Full(parse::take(&mut self.io.buf, length)))
            }
            Framing::Length(_) | Framing::Chunked | Framing::UntilClose => None,
        };
        let body = match whole {
            Some(body) if self.outbox.is_done() => {
                if persists {
                    self.go_home(home, now);
                } else {
                    home.finished();
                }
                body
            }
            // The request's body is still being sent: whoever reads this body to its end drives that too.
            Some(Body::Full(bytes)) => {
                self.io.buf = rejoin(bytes, &self.io.buf);
                ResponseBody::begin(self, framing, persists, limits, home).map_err(refused)?
            }
            Some(body) => body,
            None => ResponseBody::begin(self, framing, persists, limits, home).map_err(refused)?,
        };
        Ok(Response { status, fields, body })
    }

    /// Hands the connection back, unless something came after the response: that would answer the next request.
    pub(super) fn go_home<H: Home>(mut self, home: H, now: MonoTime) {
        if self.io.buf.is_empty() && !self.io.ended && self.outbox.is_done() {
            self.io.buf = bytes::BytesMut::new();
            self.deadline.clear();
            let (io, deadline) = (self.io, self.deadline);
            home.take_back(Connection { io, deadline }, now);
        } else {
            home.finished();
        }
    }
}

/// The word for an error of the socket, or of TLS on it.
pub(super) fn broken_off(error: &io::Error) -> OriginError {
    tls::failure::word_for(error).unwrap_or(OriginError::ConnectionTerminated)
}

fn rejoin(front: Bytes, rest: &[u8]) -> bytes::BytesMut {
    let mut whole = bytes::BytesMut::from(front);
    whole.extend_from_slice(rest);
    whole
}

/// Whether a server may answer so: 206 answers a Range (RFC 9110 §15.3.7), 304 a condition (§15.4.5). Taken for an answer
/// to a plain request, either would harm everybody it is handed to.
pub(crate) fn is_asked_for(status: StatusCode, request: &RequestFields) -> bool {
    match status {
        StatusCode::PARTIAL_CONTENT => request.contains_key(RANGE),
        StatusCode::NOT_MODIFIED => [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_MATCH, IF_UNMODIFIED_SINCE]
            .iter()
            .any(|name| request.contains_key(name)),
        _ => true,
    }
}
