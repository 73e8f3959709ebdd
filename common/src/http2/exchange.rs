//! One stream: a request, its answer, and the one record of both.
//!
//! `server` polls it first on the task of the connection, where answers from store are done at once; what has to wait goes
//! on on a task of its own.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{Method, StatusCode};

use super::connect::{self, ClientEnd};
use super::request::{self, Said};
use super::request_body::RequestBody;
use super::response::{self, Sending};
use crate::http::body::Body;
use crate::http::interim::{Desk, Interim};
use crate::http::request::{Notable, Request};
use crate::http::response::Response;
use crate::http1::parse::ParseError;
use crate::http1::patience::Lost;
use crate::serve::service::{CloseReason, ConnInfo, End, Record, Reply, Sent, Service};
use crate::serve::settings::ServeSettings;
use crate::serve::tunnel::{self, Told};
use crate::soon::Soon;
use crate::telemetry::metrics::Counter;
use crate::time::{MonoTime, mono_now};

/// A frame's head (RFC 9113 §4.1), and the status, which is one octet in HPACK at best.
const HEAD_OVERHEAD: u64 = 9 + 1;

/// What the streams of one connection share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) conn: Arc<ConnInfo>,
    pub(super) settings: Arc<ServeSettings>,
    /// Streams that are open.
    pub(super) open: AtomicUsize,
    /// A request was such that the connection is to end after it.
    pub(super) unwanted: AtomicBool,
}

/// A stream that is open.
struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Answers one request.
pub(super) async fn exchange<S: Service>(
    service: Arc<S>,
    shared: Arc<Shared>,
    request: http::Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let began = mono_now();
    shared.open.fetch_add(1, Ordering::Relaxed);
    let open = Open(shared);
    let Shared {
        conn,
        settings,
        unwanted,
        ..
    } = &*open.0;
    let method = request.method().clone();
    let head_bytes = request.uri().path().len() as u64 + response::size(request.headers());
    let received = Arc::new(AtomicU64::new(head_bytes));
    let desk = Desk::default();
    let mut tunnel = None;
    let reply = match incoming(request, &mut respond, &mut tunnel, settings, &received, began) {
        Err(error) => service.refuse(&error, conn),
        Ok(request) => match service.call(request, conn, &desk) {
            Soon::Ready(reply) => reply,
            Soon::Coming(mut coming) => {
                let reply = poll_fn(|cx| match coming.as_mut().poll(cx) {
                    Poll::Ready(reply) => Poll::Ready(Some(reply)),
                    Poll::Pending => {
                        while let Poll::Ready(interim) = desk.poll_next(cx) {
                            say(interim, &mut respond, conn);
                        }
                        // The client takes its request back, or left: dropping what was coming cancels what only it wanted.
                        respond.poll_reset(cx).map(|_| None)
                    }
                });
                let Some(reply) = reply.await else { return };
                while let Some(interim) = desk.take() {
                    say(interim, &mut respond, conn);
                }
                reply
            }
        },
    };
    if reply.close.is_some() {
        unwanted.store(true, Ordering::Relaxed);
    }
    match tunnel {
        // In a box, for the sake of the streams that are none.
        Some(stream) if matches!(reply.response.body, Body::Tunnel(_)) => {
            Box::pin(carry(reply, respond, stream, &open.0, &received, began)).await;
        }
        _ => send(reply, respond, &method, &open.0, &received, began).await,
    }
}

/// Sends an interim response (RFC 9113 §8.1).
fn say(interim: Interim, respond: &mut SendResponse<Bytes>, conn: &ConnInfo) {
    let mut head = http::Response::new(());
    *head.status_mut() = interim.status;
    *head.headers_mut() = interim.fields;
    match respond.send_informational(head) {
        Ok(()) => conn.worker.metrics.count(Counter::InterimResponses),
        Err(error) => tracing::trace!(%error, "an interim response to a client that is gone"),
    }
}

/// The stream as a request; what follows an extended CONNECT is left in `tunnel`.
fn incoming(
    request: http::Request<RecvStream>,
    respond: &mut SendResponse<Bytes>,
    tunnel: &mut Option<RecvStream>,
    settings: &ServeSettings,
    received: &Arc<AtomicU64>,
    began: MonoTime,
) -> Result<Request, ParseError> {
    let (mut head, stream) = request.into_parts();
    let Said {
        length,
        expects_continue,
        connects,
    } = request::check(&mut head, settings)?;
    let request = Request {
        notable: Notable::of(&head.headers),
        head,
        body: Body::Empty,
        began,
    };
    if connects {
        *tunnel = Some(stream);
        return Ok(Request {
            notable: request.notable | Notable::CONNECT,
            ..request
        });
    }
    if stream.is_end_stream() {
        return Ok(request);
    }
    if expects_continue {
        let mut go_on = http::Response::new(());
        *go_on.status_mut() = StatusCode::CONTINUE;
        if let Err(error) = respond.send_informational(go_on) {
            tracing::trace!(%error, "100 Continue to a client that is gone");
        }
    }
    let (max, pace) = (settings.body_bytes_max, settings.body_pace());
    let body = RequestBody::new(stream, length, max, pace, Arc::clone(received));
    Ok(Request {
        body: Body::stream(body),
        ..request
    })
}

/// Tells the client that its tunnel is there, and carries it to its end.
async fn carry<R: Record>(
    reply: Reply<R>,
    mut respond: SendResponse<Bytes>,
    stream: RecvStream,
    shared: &Shared,
    received: &AtomicU64,
    began: MonoTime,
) {
    let Response { fields, body, .. } = reply.response;
    let Body::Tunnel(server) = body else { return };
    let head = connect::switched(fields);
    let head_bytes = HEAD_OVERHEAD + response::size(head.headers());
    // A client that is gone is one whose tunnel ends at once.
    let Ok(to_client) = respond.send_response(head, false) else {
        return;
    };
    let told = Told {
        record: reply.record,
        conn: Arc::clone(&shared.conn),
        request_bytes: received.load(Ordering::Relaxed),
        head_bytes,
        began,
        close: None,
    };
    let mut client = ClientEnd::new(to_client, stream);
    tunnel::carry(&mut client, *server, Bytes::new(), told).await;
}

/// Sends a response and tells its record.
async fn send<R: Record>(
    reply: Reply<R>,
    mut respond: SendResponse<Bytes>,
    method: &Method,
    shared: &Shared,
    received: &AtomicU64,
    began: MonoTime,
) {
    let Reply {
        response,
        record,
        close,
    } = reply;
    let mut outgoing = response::outgoing(response, method);
    let head = std::mem::take(&mut outgoing.head);
    let head_bytes = HEAD_OVERHEAD + response::size(head.headers());
    let is_last = outgoing.body.is_empty();
    let (mut end, mut body_bytes, mut overhead) = (End::ClientGone, 0, 0);
    if let Ok(stream) = respond.send_response(head, is_last) {
        end = End::Whole;
        if !is_last {
            let mut sending = Sending::new(stream, outgoing, shared.settings.send_pace());
            end = poll_fn(|cx| sending.poll(shared.open.load(Ordering::Relaxed), cx)).await;
            match sending.lost {
                Some(Lost::Stalled) => shared.conn.worker.metrics.count(Counter::Http2WindowStalled),
                Some(Lost::Slow) => shared.conn.worker.metrics.count(Counter::SendTooSlow),
                None => {}
            }
            (body_bytes, overhead) = (sending.body_bytes, sending.overhead);
        }
    }
    record.finish(&Sent {
        end,
        body_bytes,
        bytes: head_bytes + body_bytes + overhead,
        request_bytes: received.load(Ordering::Relaxed),
        took: mono_now().saturating_duration_since(began),
        close: close.map(|_| CloseReason::Malformed),
    });
}
