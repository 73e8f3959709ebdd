//! One client connection: request after request, until somebody closes.
//!
//! `receive → Service::call → send → (next | close)`. While a request is being answered the connection listens for the
//! client leaving, and then drops what it was doing. Bodies stream both ways at once; neither is buffered whole.

mod ending; // unread bodies, refusals, the last word
mod meanwhile; // interim responses, and whether the client is still there
mod told; // what is told of an exchange when it is over
mod upgraded; // the connection becomes a tunnel

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use http::{Method, Version};
use parking_lot::Mutex;

use super::deadline::Deadline;
use super::framing::{self, Framing};
use super::io::{HEAD_READ, Io};
use super::outbox::{JOINED_MAX, Outbox, SendError};
use super::parse::{self, HeadLimits, ParseError, RequestHead};
use super::patience::{Lost, Patience};
use super::render::{self, Coding, ResponseFrame};
use super::request_body::{Inbox, Reading, RequestBody, Shared};
use crate::http::body::{Body, BodyError};
use crate::http::head::Head;
use crate::http::hop_by_hop::{self, ConnectionOptions};
use crate::http::interim::Desk;
use crate::http::known::Known;
use crate::http::request::{Notable, Request};
use crate::http::response::Response;
use crate::net::stream::Stream;
use crate::serve::drain::Drain;
use crate::serve::service::{CloseReason, ConnInfo, End, Record, Reply, Service};
use crate::serve::settings::ServeSettings;
use crate::soon::Soon;
use crate::telemetry::metrics::Counter;
use crate::time::{MonoTime, mono_now};
use crate::turn::turn;

/// How long an idle connection may still bring a request once a drain has begun.
const DRAIN_GRACE: Duration = Duration::from_millis(500);
/// Room made for a response's head.
const HEAD_ROOM: usize = 768;
/// How a client begins that knows that we speak HTTP/2 (RFC 9113 §3.4). Read as HTTP/1 it is a complete head, of a version
/// that is refused, so it is looked for before it is parsed.
const PREFACE_LINE: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";

/// How a connection ended, as far as HTTP/1 has to do with it.
pub enum Ended {
    /// It is closed.
    Closed(CloseReason),
    /// It begins with the preface of HTTP/2: what was read of it, and the socket.
    Http2(Stream, BytesMut),
}

/// Serves one connection to its end and says why it ended.
///
/// With `h2c`, one that begins with the preface of HTTP/2 is handed back.
pub fn serve_connection<S: Service>(
    stream: Stream,
    conn: Arc<ConnInfo>,
    service: Arc<S>,
    settings: Arc<ServeSettings>,
    drain: Drain,
    h2c: bool,
) -> impl Future<Output = Ended> {
    let mut connection = Connection::new(stream, conn, settings, drain);
    connection.h2c = h2c;
    // Its memory is what an idle connection costs. A block, because arguments of an async function are kept twice in it.
    async move {
        let conn = Arc::clone(&connection.conn);
        let reason = loop {
            let desk = Desk::default();
            // The request is handed on within the poll: an idle connection keeps no room for one.
            let next = poll_fn(|cx| {
                let received = ready!(connection.poll_receive(cx));
                Poll::Ready(
                    received.map(|Received { request, sending }| (service.call(request, &conn, &desk), sending)),
                )
            });
            let (reply, sending) = match next.await {
                Ok(received) => received,
                Err(Closing::Quietly(reason)) => break reason,
                Err(Closing::Refuse(error)) => break Box::pin(connection.refuse(&*service, error)).await,
                Err(Closing::Http2) => {
                    let inbox = Arc::into_inner(connection.shared).expect("invariant: no request has a body yet");
                    let Io { stream, buf, .. } = inbox.into_inner().io;
                    return Ended::Http2(stream, buf);
                }
            };
            if let Some(reason) = connection.answer(reply, &desk, sending).await {
                Box::pin(connection.linger(reason)).await;
                break reason;
            }
        };
        connection.end(reason);
        Ended::Closed(reason)
    }
}

/// Answers a connection whose bytes are no HTTP/1 request, whatever follows, and closes it.
pub async fn refuse_connection<S: Service>(
    stream: Stream,
    conn: Arc<ConnInfo>,
    service: Arc<S>,
    settings: Arc<ServeSettings>,
    drain: Drain,
    error: ParseError,
) -> CloseReason {
    let mut connection = Connection::new(stream, conn, settings, drain);
    let reason = connection.refuse(&*service, error).await;
    connection.end(reason);
    reason
}

struct Connection {
    shared: Shared,
    conn: Arc<ConnInfo>,
    settings: Arc<ServeSettings>,
    drain: Drain,
    /// The preface of HTTP/2 is looked for.
    h2c: bool,
    /// Wakes this task when a drain begins; made when the connection first waits.
    drain_begins: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    deadline: Deadline,
    /// When the first byte of the next request came.
    started: Option<MonoTime>,
    /// How far the end of the next head was looked for.
    scanned: usize,
    requests: u64,
    /// Bytes received before the running request.
    received_before: u64,
}

/// A whole request head, ready to be answered.
struct Received {
    request: Request,
    sending: Sending,
}

/// What sending a response needs to know of its request.
struct Sending {
    method: Method,
    version: Version,
    close: Option<CloseReason>,
    began: MonoTime,
}

/// A response on its way out, and what is done when it is.
struct Outgoing<R> {
    outbox: Outbox,
    record: R,
    coding: Coding,
    /// Why the connection closes after it.
    close: Option<CloseReason>,
    began: MonoTime,
}

/// Why no further request is read.
enum Closing {
    /// There is nobody to tell.
    Quietly(CloseReason),
    /// With a response that says why.
    Refuse(ParseError),
    /// Because they are of HTTP/2.
    Http2,
}

impl Connection {
    fn new(stream: Stream, conn: Arc<ConnInfo>, settings: Arc<ServeSettings>, drain: Drain) -> Self {
        let mut deadline = Deadline::default();
        deadline.set(conn.accepted + settings.header_timeout);
        let inbox = Inbox {
            io: Io::new(stream),
            body: Reading::Done,
            request: 0,
            continue_owed: false,
            interim: Vec::new(),
        };
        Self {
            shared: Arc::new(Mutex::new(inbox)),
            conn,
            settings,
            drain,
            h2c: false,
            drain_begins: None,
            deadline,
            started: None,
            scanned: 0,
            requests: 0,
            received_before: 0,
        }
    }

    /// The next request head.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Received, Closing>> {
        let limits = self.head_limits();
        let shared = Arc::clone(&self.shared);
        let mut inbox = shared.lock();
        loop {
            if self.h2c && self.requests == 0 && inbox.io.buf.starts_with(PREFACE_LINE) {
                return Poll::Ready(Err(Closing::Http2));
            }
            if !inbox.io.buf.is_empty() {
                let earlier = self.started;
                let started = *self.started.get_or_insert_with(mono_now);
                match parse::request_head(&mut inbox.io.buf, &mut self.scanned, limits) {
                    Ok(Some(head)) => {
                        self.started = None;
                        let came = (started, earlier.map_or(started, |_| mono_now()));
                        return Poll::Ready(self.begin(head, came, &mut inbox).map_err(Closing::Refuse));
                    }
                    Ok(None) => self.deadline.set(started + self.settings.header_timeout),
                    Err(error) => return Poll::Ready(Err(Closing::Refuse(error))),
                }
            }
            match inbox.io.poll_fill(cx, HEAD_READ) {
                Poll::Ready(Ok(0)) if inbox.io.buf.is_empty() => {
                    return Poll::Ready(Err(Closing::Quietly(CloseReason::Client)));
                }
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(Err(Closing::Refuse(ParseError::Malformed("incomplete head"))));
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Closing::Quietly(CloseReason::Reset))),
                Poll::Pending => return self.poll_wait(cx).map(Err),
            }
        }
    }

    /// Nothing more has come: waits, for as long as the settings and a drain allow.
    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<Closing> {
        if self.started.is_some() {
            return self.deadline.poll(cx).map(|()| Closing::Refuse(ParseError::Timeout));
        }
        let mut at_timeout = if self.requests == 0 {
            CloseReason::HeaderTimeout
        } else {
            CloseReason::IdleTimeout
        };
        if self.drain.is_draining() {
            at_timeout = CloseReason::Drain;
            if self.drain_begins.take().is_some() {
                self.deadline.set(mono_now() + DRAIN_GRACE);
            }
        } else if self.drain_begins.is_none() {
            let drain = self.drain.clone();
            let mut begins: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move { drain.draining().await });
            // Polled once: a task's waker stays the same, and the flag above is what is looked at after waking.
            if begins.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
            self.drain_begins = Some(begins);
        }
        self.deadline.poll(cx).map(|()| Closing::Quietly(at_timeout))
    }

    /// Turns a head, whose first and last byte came then, into a request whose body is read from this connection.
    fn begin(
        &mut self,
        head: RequestHead,
        (began, received): (MonoTime, MonoTime),
        inbox: &mut Inbox,
    ) -> Result<Received, ParseError> {
        let RequestHead {
            mut head,
            mut notable,
            bytes,
        } = head;
        let mut framing = Framing::None;
        if notable.any(Notable::FRAMING) {
            framing = framing::of_request(head.version, &mut head.headers, self.settings.body_bytes_max)?;
        }
        if notable.any(Notable::UPGRADE) && !upgraded::may_change_protocol(&head, framing) {
            notable = notable.without(Notable::UPGRADE);
        }
        self.requests += 1;
        let buffered = (inbox.io.buf.len() + bytes) as u64;
        self.received_before = inbox.io.received.saturating_sub(buffered);
        inbox.request = self.requests;
        inbox.body = Reading::new(framing, self.settings.body_bytes_max);
        let waits = framing != Framing::None && inbox.io.buf.is_empty();
        inbox.continue_owed = notable.any(Notable::EXPECT) && framing::take_expectation(&mut head, waits)?;
        let body = match framing {
            Framing::None => Body::Empty,
            // It came with the head: whole, it can be sent again where a server did not take it.
            Framing::Length(length) if length <= inbox.io.buf.len() as u64 => inbox.take_whole(length),
            _ => Body::stream(RequestBody::new(
                Arc::clone(&self.shared),
                self.requests,
                self.settings.body_pace(),
            )),
        };
        let sending = Sending {
            method: head.method.clone(),
            version: head.version,
            close: self.close_after(&head, notable),
            began,
        };
        let request = Request {
            head,
            body,
            notable,
            began,
            received,
        };
        Ok(Received { request, sending })
    }

    /// Why the connection will close after this request, where that is known before it is answered.
    fn close_after(&self, head: &Head, notable: Notable) -> Option<CloseReason> {
        let options = if notable.any(Notable::CONNECTION) {
            hop_by_hop::options_in(head.headers.values(Known::CONNECTION))
        } else {
            ConnectionOptions::default()
        };
        if options.close || (head.version == Version::HTTP_10 && !options.keep_alive) {
            Some(CloseReason::Requested)
        } else if self.requests >= self.settings.requests_per_connection_max {
            Some(CloseReason::RequestsMax)
        } else {
            None
        }
    }

    /// Sends the reply to a request when it is there; `Some` when the connection ends with it.
    async fn answer<R: Record>(
        &mut self,
        reply: Soon<'_, Reply<R>>,
        desk: &Desk,
        sending: Sending,
    ) -> Option<CloseReason> {
        let metrics = &self.conn.worker.metrics;
        let reply = match reply {
            Soon::Ready(reply) => reply,
            Soon::Coming(mut coming) => {
                turn().await;
                let reply = poll_fn(|cx| match coming.as_mut().poll(cx) {
                    Poll::Ready(reply) => Poll::Ready(Some(reply)),
                    Poll::Pending => {
                        meanwhile::poll(&self.shared, desk, self.settings.half_close, metrics, cx).map(|()| None)
                    }
                });
                // The client left: dropping what was coming cancels what only it wanted.
                let Some(reply) = reply.await else {
                    return Some(CloseReason::Reset);
                };
                turn().await;
                while let Some(interim) = desk.take() {
                    meanwhile::say(&self.shared, &interim, metrics);
                }
                reply
            }
        };
        if let Body::Tunnel(server) = reply.response.body {
            let Response { status, fields, .. } = reply.response;
            return Some(Box::pin(self.tunnel((status, fields), *server, reply.record, sending)).await);
        }
        let mut outgoing = self.compose(reply, &sending);
        let (end, close) = self.send(&mut outgoing).await;
        self.finish(outgoing, end, close);
        close
    }

    /// A reply as it is sent.
    fn compose<R>(&mut self, reply: Reply<R>, sending: &Sending) -> Outgoing<R> {
        let Reply {
            response,
            record,
            close: wanted,
        } = reply;
        let length = response.body.len();
        let coding = render::response_coding(&sending.method, sending.version, response.status, length);
        let mut close = wanted.or(sending.close);
        if coding == Coding::UntilClose {
            close = close.or(Some(CloseReason::Requested));
        }
        if self.drain.is_draining() {
            close = close.or(Some(CloseReason::Drain));
        }
        let mut head = {
            let mut inbox = self.shared.lock();
            close = close.or_else(|| inbox.unusable());
            std::mem::take(&mut inbox.interim)
        };
        let joined = length.and_then(|length| usize::try_from(length).ok());
        head.reserve(HEAD_ROOM + joined.filter(|length| *length <= JOINED_MAX).unwrap_or(0));
        let connection = match (close, sending.version) {
            (Some(_), _) => Some("close"),
            (None, Version::HTTP_10) => Some("keep-alive"),
            (None, _) => None,
        };
        let announced = length.filter(|length| sending.method == Method::HEAD && *length > 0);
        render::response_head(
            &mut head,
            response.status,
            &response.fields,
            ResponseFrame {
                coding,
                announced,
                connection,
            },
        );
        Outgoing {
            outbox: Outbox::new(head, response.body, coding),
            record,
            coding,
            close,
            began: sending.began,
        }
    }

    /// Sends a response: how that ended, and why the connection has to close, if it has.
    async fn send<R: Record>(&mut self, outgoing: &mut Outgoing<R>) -> (End, Option<CloseReason>) {
        self.deadline.clear();
        let mut patience = Patience::new(&self.settings.send_pace());
        let (end, failed) = poll_fn(|cx| self.poll_send(&mut outgoing.outbox, &mut patience, cx)).await;
        if failed.is_some() && outgoing.coding == Coding::UntilClose {
            // Nothing but a reset can tell an HTTP/1.0 client that this is not all.
            self.shared.lock().io.stream.reset_on_close();
        }
        let mut close = failed.or(outgoing.close);
        if close.is_none() && !self.skip_unread().await {
            close = Some(CloseReason::UnreadBody);
        }
        (end, close)
    }

    fn poll_send(
        &mut self,
        outbox: &mut Outbox,
        patience: &mut Patience,
        cx: &mut Context<'_>,
    ) -> Poll<(End, Option<CloseReason>)> {
        let before = outbox.bytes;
        match outbox.poll(&mut self.shared, cx) {
            Poll::Ready(Ok(())) => return Poll::Ready((End::Whole, None)),
            Poll::Ready(Err(SendError::Socket)) => return Poll::Ready((End::ClientGone, Some(CloseReason::Reset))),
            Poll::Ready(Err(SendError::Body(error))) => {
                let reason = match error {
                    BodyError::ClientTimeout | BodyError::ClientSlow => CloseReason::BodyTimeout,
                    _ => CloseReason::ResponseFailed,
                };
                return Poll::Ready((End::BodyFailed(error), Some(reason)));
            }
            Poll::Pending => {}
        }
        let pace = self.settings.send_pace();
        if outbox.bytes > before || !outbox.blocked {
            patience.moved(outbox.bytes - before, &pace, &mut self.deadline);
        }
        if outbox.blocked {
            let acknowledged = || self.shared.lock().io.stream.acknowledged();
            if ready!(patience.poll(&pace, &mut self.deadline, acknowledged, cx)) == Lost::Slow {
                self.conn.worker.metrics.count(Counter::SendTooSlow);
            }
            return Poll::Ready((End::ClientGone, Some(CloseReason::SendTimeout)));
        }
        self.shared
            .lock()
            .poll_left(self.settings.half_close, cx)
            .map(|()| (End::ClientGone, Some(CloseReason::Reset)))
    }

    fn head_limits(&self) -> HeadLimits {
        let settings = &self.settings;
        HeadLimits {
            bytes: settings.head_bytes_max,
            fields: settings.fields_max,
            target: settings.uri_bytes_max,
        }
    }
}
