//! One stream: a request, its answer, and the one record of both.
//!
//! A [`hand`] answers request after request on the task of the connection, as long as each can be answered at once: that costs
//! hits no task, and those that come together one allocation. With one that has to wait it goes off to a task of its own; so does content that cannot be
//! sent at once.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, StatusCode};
use parking_lot::Mutex;

use super::connect::{self, ClientEnd};
use super::delivery::Delivery;
use super::frame;
use super::head::Section;
use super::request_body::RequestBody;
use super::response::{self, Announced};
use super::session::{Accepted, Session};
use crate::http::body::Body;
use crate::http::interim::{Desk, Interim};
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http1::parse::ParseError;
use crate::serve::service::{CloseReason, ConnInfo, End, Record, Reply, Sent, Service};
use crate::serve::settings::ServeSettings;
use crate::serve::tunnel::{self, Told};
use crate::soon::Soon;
use crate::telemetry::metrics::Counter;
use crate::time::{MonoTime, mono_now};
use crate::turn::turn;

/// A frame's head, and the status, which is one octet in HPACK at best.
const HEAD_OVERHEAD: u64 = frame::HEAD as u64 + 1;

/// What the streams of one connection share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) conn: Arc<ConnInfo>,
    pub(super) settings: Arc<ServeSettings>,
    /// Locked for one step at a time, never while something else is polled.
    pub(super) session: Mutex<Session>,
}

/// Answers the requests that were accepted, until one of them has to wait; over when that one is answered.
///
/// While there is no request it is pending, and [`Session::is_hand_free`].
pub(super) async fn hand<S: Service>(service: Arc<S>, shared: Arc<Shared>) {
    loop {
        let accepted = poll_fn(|_| shared.session.lock().take_accepted()).await;
        let stream = Stream {
            id: accepted.id,
            shared: Arc::clone(&shared),
        };
        let mut answering = pin!(answer(&*service, stream, accepted));
        let mut has_waited = false;
        poll_fn(|cx| {
            let polled = answering.as_mut().poll(cx);
            has_waited |= polled.is_pending();
            polled
        })
        .await;
        if has_waited {
            return;
        }
    }
}

/// A stream that is being answered; it leaves the connection when this is dropped.
struct Stream {
    id: u32,
    shared: Arc<Shared>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shared.session.lock().leave(self.id);
    }
}

/// Answers one request.
async fn answer<S: Service>(service: &S, stream: Stream, accepted: Accepted) {
    let Shared { conn, .. } = &*stream.shared;
    let began = accepted.began;
    let (mut method, mut connects) = (Method::GET, false);
    let desk = Desk::default();
    // A head that is too large was decoded to its end: whatever follows it is not in doubt.
    let goes_on = matches!(accepted.head, Err(ParseError::HeadTooLarge));
    let reply = match accepted.head {
        Err(error) => service.refuse(&error, conn),
        Ok(head) => {
            method = head.parts.method.clone();
            connects = head.connects;
            match service.call(stream.request(head, began), conn, &desk) {
                Soon::Ready(reply) => reply,
                Soon::Coming(mut coming) => {
                    turn().await;
                    let reply = poll_fn(|cx| match coming.as_mut().poll(cx) {
                        Poll::Ready(reply) => Poll::Ready(Some(reply)),
                        Poll::Pending => stream.poll_meanwhile(&desk, cx).map(|()| None),
                    });
                    // The client takes its request back, or left: dropping what was coming cancels what only it wanted.
                    let Some(reply) = reply.await else { return };
                    while let Some(interim) = desk.take() {
                        stream.say(&interim);
                    }
                    reply
                }
            }
        }
    };
    if reply.close.is_some() && !goes_on {
        stream.shared.session.lock().is_unwanted = true;
    }
    if connects && matches!(reply.response.body, Body::Tunnel(_)) {
        // In a box, for the sake of the streams that are none.
        Box::pin(stream.carry(reply, began)).await;
    } else {
        stream.send(reply, &method, began).await;
    }
}

impl Stream {
    /// The request that its head and what follows it make.
    fn request(&self, head: Section, began: MonoTime) -> Request {
        let Section {
            parts,
            notable,
            length,
            expects_continue,
            connects,
            ..
        } = head;
        let body = if connects || length == Some(0) {
            Body::Empty
        } else {
            self.body(length, expects_continue)
        };
        Request {
            head: parts,
            body,
            notable,
            began,
            received: began,
        }
    }

    fn body(&self, length: Option<u64>, expects_continue: bool) -> Body {
        let mut session = self.shared.session.lock();
        if let Some(whole) = session.take_whole_body(self.id, self.shared.settings.body_bytes_max) {
            return whole.into();
        }
        if expects_continue {
            // "A server MAY omit sending a 100 (Continue) response if it has already received some or all of the content"
            // (RFC 9110 §10.1.1): that is above.
            let interim = Interim {
                status: StatusCode::CONTINUE,
                fields: http::HeaderMap::new(),
            };
            say(&mut session, self.id, &interim);
        }
        drop(session);
        Body::stream(RequestBody::new(Arc::clone(&self.shared), self.id, length))
    }

    /// While the answer is made: passes on what comes before it; ready when nobody wants it any more.
    fn poll_meanwhile(&self, desk: &Desk, cx: &mut Context<'_>) -> Poll<()> {
        while let Poll::Ready(interim) = desk.poll_next(cx) {
            self.say(&interim);
        }
        self.shared.session.lock().poll_over(self.id, cx)
    }

    /// Sends an interim response (RFC 9113 §8.1).
    fn say(&self, interim: &Interim) {
        if say(&mut self.shared.session.lock(), self.id, interim) {
            self.shared.conn.worker.metrics.count(Counter::InterimResponses);
        }
    }

    /// Tells the client that its tunnel is there, and carries it to its end.
    async fn carry<R: Record>(&self, reply: Reply<R>, began: MonoTime) {
        let Response { fields, body, .. } = reply.response;
        let Body::Tunnel(server) = body else { return };
        let fields = connect::switched(fields);
        let mut head_bytes = HEAD_OVERHEAD;
        let encode = |out: &mut Vec<u8>| head_bytes += response::head(out, StatusCode::OK, &fields, None);
        let (sent, (request_bytes, _)) = {
            let mut session = self.shared.session.lock();
            (session.send_head(self.id, false, encode), session.sizes(self.id))
        };
        // A client that is gone is one whose tunnel ends at once.
        if sent.is_err() {
            return;
        }
        let told = Told {
            record: reply.record,
            conn: Arc::clone(&self.shared.conn),
            request_bytes,
            head_bytes,
            began,
            close: None,
        };
        let mut client = ClientEnd::new(Arc::clone(&self.shared), self.id);
        tunnel::carry(&mut client, *server, Bytes::new(), told).await;
    }

    /// Sends a response and tells its record. What cannot be sent at once is delivered by a task of its own, which holds no
    /// more than that takes.
    async fn send<R: Record>(self, reply: Reply<R>, method: &Method, began: MonoTime) {
        let Reply {
            response: Response { status, fields, body },
            record,
            close,
        } = reply;
        let Announced { length, has_content } = response::announced(method, status, body.len());
        let mut bytes = HEAD_OVERHEAD;
        let encode = |out: &mut Vec<u8>| bytes += response::head(out, status, &fields, length);
        // The body is not dropped while the session is locked: it may be one that reads from it.
        let mut body = Some(body).filter(|_| has_content);
        let (is_sent, at_once) = {
            let mut session = self.shared.session.lock();
            let is_sent = session.send_head(self.id, !has_content, encode).is_ok();
            let ready = body.as_mut().filter(|_| is_sent);
            (
                is_sent,
                ready.and_then(|body| send_at_once(&mut session, self.id, body)),
            )
        };
        let sending = Sending {
            record,
            bytes,
            close: close.map(|_| CloseReason::Malformed),
            began,
        };
        match (body, at_once) {
            _ if !is_sent => self.finish(sending, End::ClientGone, 0),
            (Some(body), None) => {
                let pace = self.shared.settings.send_pace();
                let delivery = Delivery::new(self.id, body, length, pace);
                let mut rest = Box::pin(self.deliver(delivery, sending));
                if poll_fn(|cx| Poll::Ready(rest.as_mut().poll(cx).is_pending())).await {
                    drop(tokio::spawn(rest));
                }
            }
            (_, at_once) => self.finish(sending, End::Whole, at_once.unwrap_or(0)),
        }
    }

    async fn deliver<R: Record>(self, mut delivery: Delivery, sending: Sending<R>) {
        let end = poll_fn(|cx| delivery.poll(&self.shared, cx)).await;
        self.finish(sending, end, delivery.body_bytes);
    }

    fn finish<R: Record>(&self, sending: Sending<R>, end: End, body_bytes: u64) {
        let (request_bytes, overhead) = self.shared.session.lock().sizes(self.id);
        sending.record.finish(&Sent {
            end,
            body_bytes,
            bytes: sending.bytes + body_bytes + overhead,
            request_bytes,
            took: mono_now().saturating_duration_since(sending.began),
            close: sending.close,
        });
    }
}

/// What is to be told about a response when it was sent.
struct Sending<R> {
    record: R,
    /// Of its head.
    bytes: u64,
    close: Option<CloseReason>,
    began: MonoTime,
}

fn say(session: &mut Session, id: u32, interim: &Interim) -> bool {
    let encode = |out: &mut Vec<u8>| response::interim(out, interim.status, &interim.fields);
    session.send_head(id, false, encode).is_ok()
}

/// Sends content that is at hand, if all of it can be framed now: then that many bytes.
fn send_at_once(session: &mut Session, id: u32, body: &mut Body) -> Option<u64> {
    let bytes = match body {
        Body::Full(_) | Body::Chunks(_) => body.len().filter(|bytes| session.has_room(id, *bytes))?,
        Body::Empty | Body::Stream(_) | Body::Tunnel(_) => return None,
    };
    let mut left = bytes;
    let mut send = |piece: Bytes| {
        left -= piece.len() as u64;
        let sent = session.send_content(id, piece, left == 0);
        debug_assert!(sent.is_ok(), "its head was sent");
    };
    match body {
        Body::Full(content) => send(std::mem::take(content)),
        Body::Chunks(chunks) => std::iter::from_fn(|| chunks.next()).for_each(send),
        Body::Empty | Body::Stream(_) | Body::Tunnel(_) => {}
    }
    Some(bytes)
}
