//! One client connection: its streams, its end. Conducts reader, session and socket.
//!
//! `read → requests are answered, as far as they can be at once → send what all of that wrote, at once → timeouts`. Ends
//! gracefully (GOAWAY, then the streams that run) on a drain, after enough requests, and when idle; at once when the client
//! breaks the rules or floods.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::BytesMut;
use parking_lot::Mutex;

use super::exchange::{Shared, hand};
use super::frame::Code;
use super::inbound::{Broken, Limits, Reader};
use super::session::Session;
use super::settings::Http2Settings;
use crate::http1::deadline::Deadline;
use crate::http1::patience::{Lost, Patience};
use crate::net::stream::Stream;
use crate::serve::drain::Drain;
use crate::serve::service::{CloseReason, ConnInfo, Service};
use crate::serve::settings::ServeSettings;
use crate::telemetry::metrics::Counter;
use crate::time::mono_now;

/// How long a client that was told to go away may take to close an idle connection.
const GOAWAY_GRACE: Duration = Duration::from_secs(1);
/// Octets that are read and forgotten after an error: so many may have been on their way.
const LINGER_MAX: usize = 64 * 1024;

/// Serves one connection to its end and says why it ended; `read` is what was read of it before.
pub async fn serve_connection<S: Service>(
    stream: Stream,
    read: BytesMut,
    conn: Arc<ConnInfo>,
    service: Arc<S>,
    settings: Arc<ServeSettings>,
    http2: Http2Settings,
    drain: Drain,
) -> CloseReason {
    conn.worker.metrics.count(Counter::Http2Connections);
    let patience = Patience::new(&settings.send_pace());
    let session = Session::new(http2, settings.head_bytes_max, mono_now());
    let shared = Shared {
        conn,
        settings,
        session: Mutex::new(session),
    };
    let mut connection = Conductor {
        stream,
        reader: Reader::new(read),
        http2,
        shared: Arc::new(shared),
        service,
        hand: None,
        drain,
        drain_begins: None,
        head: Deadline::default(),
        deadline: Deadline::default(),
        patience,
        stalled: Deadline::default(),
        requests: 0,
        is_deaf: false,
        leaving: None,
    };
    let reason = poll_fn(|cx| connection.poll(cx)).await;
    connection.count_bytes();
    if reason != CloseReason::Reset {
        connection.stream.shutdown_write();
    }
    reason
}

struct Conductor<S: Service> {
    stream: Stream,
    reader: Reader,
    http2: Http2Settings,
    shared: Arc<Shared>,
    service: Arc<S>,
    /// Answers requests that can be answered at once; there while there are requests.
    hand: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    drain: Drain,
    /// Wakes this task when a drain begins; made when the connection is first polled.
    drain_begins: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// While a head is waited for.
    head: Deadline,
    /// When it has been without a stream for too long.
    deadline: Deadline,
    /// While the client does not take what there is.
    patience: Patience,
    stalled: Deadline,
    requests: u64,
    /// Too much waited to be sent for anything to be read.
    is_deaf: bool,
    /// The client was told to go away, because of this.
    leaving: Option<CloseReason>,
}

impl<S: Service> Conductor<S> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        let requests = self.requests;
        self.shared.session.lock().begin_poll();
        let polled = self.poll_frames(cx).map(|reason| self.leaving.unwrap_or(reason));
        let sent = self.poll_send(cx);
        if self.is_deaf && !self.shared.session.lock().out.is_full() {
            // There is room again: the socket has to be listened to.
            cx.waker().wake_by_ref();
        }
        if let Poll::Ready(reason) = polled {
            return Poll::Ready(reason);
        }
        if sent.is_err() {
            return Poll::Ready(CloseReason::Reset);
        }
        self.leave_in_time(cx);
        let is_over = {
            let mut session = self.shared.session.lock();
            session.end_poll(cx);
            session.is_over() && !session.out.is_blocked
        };
        if is_over && let Some(reason) = self.leaving {
            return Poll::Ready(reason);
        }
        self.poll_deadline(cx, self.requests > requests)
    }

    /// Reads what has come, and answers what can be answered at once; ready when the connection has come to its end.
    fn poll_frames(&mut self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        let mut is_fresh = self.reader.has_more() && self.reader.is_greeting();
        loop {
            // A client that does not read is not listened to.
            self.is_deaf = self.shared.session.lock().out.is_full();
            if self.is_deaf {
                return Poll::Pending;
            }
            if !std::mem::take(&mut is_fresh) {
                match self.reader.poll_fill(&mut self.stream, cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(0)) => return Poll::Ready(CloseReason::Client),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(CloseReason::Reset),
                }
            }
            if let Err(broken) = self.take_frames() {
                self.break_off(broken, cx);
                return Poll::Ready(CloseReason::Malformed);
            }
            self.answer(cx);
            if self.shared.session.lock().out.is_worth_sending() && self.poll_send(cx).is_err() {
                return Poll::Ready(CloseReason::Reset);
            }
        }
    }

    fn take_frames(&mut self) -> Result<(), Broken> {
        let limits = Limits {
            settings: &self.shared.settings,
            extended_connect: self.http2.extended_connect,
        };
        let now = mono_now();
        let session = &mut *self.shared.session.lock();
        session.now = now;
        let taken = self.reader.take_frames(session, limits, now);
        self.requests += session.accepted.len() as u64;
        taken
    }

    /// Answers the requests that were accepted. One that has to wait goes on on a task of its own.
    fn answer(&mut self, cx: &mut Context<'_>) {
        while !self.shared.session.lock().accepted.is_empty() {
            let hand = self.hand.get_or_insert_with(|| {
                let (service, shared) = (Arc::clone(&self.service), Arc::clone(&self.shared));
                Box::pin(hand(service, shared))
            });
            let polled = hand.as_mut().poll(cx);
            let is_busy = polled.is_pending() && !self.shared.session.lock().is_hand_free;
            if is_busy && let Some(hand) = self.hand.take() {
                drop(tokio::spawn(hand));
            } else if polled.is_ready() {
                self.hand = None;
            }
        }
        // An idle connection holds none.
        self.hand = None;
    }

    /// Sends all that there is.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<(), ()> {
        let sent = {
            let mut session = self.shared.session.lock();
            loop {
                session.take_turns();
                let sent = session.out.poll_send(&mut self.stream, cx);
                if !matches!(sent, Poll::Ready(Ok(()))) || !session.has_turns() {
                    break sent;
                }
            }
        };
        let bytes = self.count_bytes();
        if bytes > 0 || sent.is_ready() {
            let pace = self.shared.settings.send_pace();
            self.patience.moved(bytes, &pace, &mut self.stalled);
        }
        match sent {
            Poll::Ready(Err(_)) => Err(()),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    /// Tells the client to go away, once there is a reason.
    fn leave_in_time(&mut self, cx: &mut Context<'_>) {
        if self.leaving.is_some() {
            return;
        }
        if self.shared.session.lock().is_client_leaving {
            // It closes when it has its answers, and needs not be told.
            self.leaving = Some(CloseReason::Client);
            self.deadline.set(mono_now() + GOAWAY_GRACE);
        } else if self.drain.is_draining() {
            self.leave(CloseReason::Drain, cx);
        } else if self.shared.session.lock().is_unwanted {
            self.leave(CloseReason::Malformed, cx);
        } else if self.requests >= self.shared.settings.requests_per_connection_max {
            self.leave(CloseReason::RequestsMax, cx);
        } else if self.drain_begins.is_none() {
            let drain = self.drain.clone();
            let mut begins: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move { drain.draining().await });
            if begins.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
            self.drain_begins = Some(begins);
        }
    }

    /// Streams that run are finished, and those that the client begins before it has heard of it.
    fn leave(&mut self, reason: CloseReason, cx: &Context<'_>) {
        self.leaving = Some(reason);
        self.deadline.set(mono_now() + GOAWAY_GRACE);
        self.shared.session.lock().announce_end();
        // To send it.
        cx.waker().wake_by_ref();
    }

    /// The connection's own timeouts; those of streams are with the streams.
    fn poll_deadline(&mut self, cx: &mut Context<'_>, has_new: bool) -> Poll<CloseReason> {
        let settings = Arc::clone(&self.shared.settings);
        let (is_blocked, has_streams) = {
            let session = self.shared.session.lock();
            (session.out.is_blocked, !session.streams.is_empty())
        };
        // Whatever else: a client that does not read holds what was made for it.
        if is_blocked && self.poll_patience(&settings, cx).is_ready() {
            return Poll::Ready(CloseReason::SendTimeout);
        }
        // What a client that was not listened to has said may be a whole head.
        if !self.is_deaf && self.poll_head(cx).is_ready() {
            return Poll::Ready(CloseReason::HeaderTimeout);
        }
        let is_awaited = self.requests == 0 && self.leaving.is_none();
        if has_streams || is_blocked || is_awaited {
            // They have timeouts of their own.
            self.deadline.clear();
        } else if self.leaving.is_some() {
            self.deadline.start(GOAWAY_GRACE);
        } else if has_new {
            self.deadline.set(mono_now() + settings.idle_timeout);
        } else {
            self.deadline.start(settings.idle_timeout);
        }
        ready!(self.deadline.poll(cx));
        match self.leaving {
            Some(reason) => Poll::Ready(reason),
            None => {
                self.leave(CloseReason::IdleTimeout, cx);
                Poll::Pending
            }
        }
    }

    /// Ready when the client has not taken what there is for too long.
    fn poll_patience(&mut self, settings: &ServeSettings, cx: &mut Context<'_>) -> Poll<()> {
        let (pace, stream) = (settings.send_pace(), &self.stream);
        let waits = self
            .patience
            .poll(&pace, &mut self.stalled, || stream.acknowledged(), cx);
        if ready!(waits) == Lost::Slow {
            self.shared.conn.worker.metrics.count(Counter::SendTooSlow);
        }
        Poll::Ready(())
    }

    /// Ready when a head has taken too long: the first since the connection began, each other since itself. Whatever streams
    /// run meanwhile: until it is whole, nothing else can be said on the connection (RFC 9113 §4.3).
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let began = match self.requests {
            0 => Some(self.shared.conn.accepted),
            _ => self.reader.head_began(),
        };
        match began {
            Some(began) => self.head.set(began + self.shared.settings.header_timeout),
            // With its timer: an idle connection holds none.
            None => self.head = Deadline::default(),
        }
        self.head.poll(cx)
    }

    /// Says why the connection ends, as far as the socket takes it.
    fn break_off(&mut self, broken: Broken, cx: &mut Context<'_>) {
        let metrics = &self.shared.conn.worker.metrics;
        let code = match broken {
            Broken::Fault(code) => {
                metrics.count(Counter::Http2ProtocolErrors);
                tracing::debug!(
                    conn.id = self.shared.conn.id,
                    ?code,
                    "an HTTP/2 client breaks the rules"
                );
                code
            }
            Broken::Flood(flood) => {
                metrics.count(flood.counter());
                let kind = flood.word();
                tracing::debug!(conn.id = self.shared.conn.id, kind, "an HTTP/2 client floods");
                Code::EnhanceYourCalm
            }
        };
        self.shared.session.lock().break_off(code);
        if self.poll_send(cx).is_err() {
            tracing::trace!("GOAWAY to a client that is gone");
        }
        // What was sent before it heard would make the kernel reset the connection, and the client lose our word.
        let mut cx = Context::from_waker(Waker::noop());
        let mut forgotten = 0;
        while forgotten < LINGER_MAX {
            match self.reader.poll_fill(&mut self.stream, &mut cx) {
                Poll::Ready(Ok(bytes)) if bytes > 0 => forgotten += bytes,
                _ => break,
            }
        }
    }

    /// Counts what was received and sent since the last time, and streams that were refused; the bytes that were sent.
    fn count_bytes(&mut self) -> u64 {
        let (sent, refused) = {
            let mut session = self.shared.session.lock();
            (session.out.take_written(), std::mem::take(&mut session.refused))
        };
        let metrics = &self.shared.conn.worker.metrics;
        metrics.add(Counter::BytesReceived, self.reader.take_received());
        metrics.add(Counter::BytesSent, sent);
        if refused > 0 {
            metrics.add(Counter::Http2StreamsRefused, refused);
        }
        sent
    }
}

impl<S: Service> Drop for Conductor<S> {
    fn drop(&mut self) {
        self.hand = None;
        self.shared.session.lock().shut();
    }
}

#[cfg(test)]
mod tests;
