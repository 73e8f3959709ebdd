//! One client connection: its streams, its end. Conducts h2, which knows the protocol.
//!
//! `poll h2 → new streams → send what they wrote, at once → timeouts`. Ends gracefully (GOAWAY, then the streams that run)
//! on a drain, after enough requests, and when idle; at once when the client breaks the rules or floods.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::Reason;
use h2::server::{Builder, Connection, Handshake};

use super::exchange::{Shared, exchange};
use super::meter::FrameMeter;
use super::settings::Http2Settings;
use super::wire::{Wire, WireEnd, wire};
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
    let (wire, end) = wire(stream, read, FrameMeter::new());
    let handshake = builder(&settings, http2).handshake(wire);
    let mut deadline = Deadline::default();
    deadline.set(conn.accepted + settings.header_timeout);
    let patience = Patience::new(&settings.send_pace());
    let shared = Shared {
        conn,
        settings,
        open: AtomicUsize::new(0),
        unwanted: AtomicBool::new(false),
    };
    let mut connection = Conductor {
        h2: H2::Handshake(Box::pin(handshake)),
        wire: end,
        shared: Arc::new(shared),
        service,
        drain,
        drain_begins: None,
        deadline,
        patience,
        stalled: Deadline::default(),
        requests: 0,
        leaving: None,
    };
    let reason = poll_fn(|cx| connection.poll(cx)).await;
    connection.count_bytes();
    connection.count_refused();
    if reason != CloseReason::Reset {
        connection.wire.close();
    }
    reason
}

/// h2 with its defences set: what they guard against is in docs/security.md.
fn builder(settings: &ServeSettings, http2: Http2Settings) -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(http2.streams_max)
        // Bounds CONTINUATION frames as well.
        .max_header_list_size(u32::try_from(settings.head_bytes_max).unwrap_or(u32::MAX))
        .initial_window_size(http2.stream_window)
        .initial_connection_window_size(http2.connection_window)
        .max_send_buffer_size(http2.send_buffer_max as usize)
        // Rapid reset (CVE-2023-44487): streams that were reset before we took them, and those that we reset for errors.
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(Some(256))
        // Streams that we reset and whose late frames are still let pass.
        .max_concurrent_reset_streams(32)
        .reset_stream_duration(Duration::from_secs(5));
    if http2.extended_connect {
        builder.enable_connect_protocol();
    }
    builder
}

struct Conductor<S> {
    h2: H2,
    wire: WireEnd,
    shared: Arc<Shared>,
    service: Arc<S>,
    drain: Drain,
    /// Wakes this task when a drain begins; made when the connection is first polled.
    drain_begins: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// When it has been without a stream for too long.
    deadline: Deadline,
    /// While the client does not take what there is.
    patience: Patience,
    stalled: Deadline,
    requests: u64,
    /// The client was told to go away, because of this.
    leaving: Option<CloseReason>,
}

enum H2 {
    /// The client's preface has not come yet.
    Handshake(Pin<Box<Handshake<Wire, Bytes>>>),
    Open(Box<Connection<Wire, Bytes>>),
}

/// What a poll of h2 came to.
enum Polled {
    /// It waits; streams may have been taken.
    Waiting,
    /// It has ended.
    Ended(CloseReason),
}

impl<S: Service> Conductor<S> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        let requests = self.requests;
        let polled = self.poll_h2(cx);
        if matches!(polled, Polled::Ended(CloseReason::Malformed)) {
            self.wire.refuse_trailers();
        }
        let sent = self.wire.poll_send(cx);
        let bytes = self.count_bytes();
        if bytes > 0 || sent.is_ready() {
            let pace = self.shared.settings.send_pace();
            self.patience.moved(bytes, &pace, &mut self.stalled);
        }
        if let Polled::Ended(reason) = polled {
            return Poll::Ready(self.leaving.unwrap_or(reason));
        }
        if matches!(sent, Poll::Ready(Err(_))) {
            return Poll::Ready(CloseReason::Reset);
        }
        if let Some(flood) = self.wire.flood() {
            self.shared.conn.worker.metrics.count(flood.counter());
            tracing::debug!(
                conn.id = self.shared.conn.id,
                kind = flood.word(),
                "an HTTP/2 client floods"
            );
            return Poll::Ready(self.cut(Reason::ENHANCE_YOUR_CALM));
        }
        self.leave_in_time(cx);
        self.poll_deadline(cx, self.requests > requests)
    }

    /// Lets h2 work, and starts what streams it has.
    fn poll_h2(&mut self, cx: &mut Context<'_>) -> Polled {
        if let H2::Handshake(handshake) = &mut self.h2 {
            match handshake.as_mut().poll(cx) {
                Poll::Pending => return Polled::Waiting,
                Poll::Ready(Err(error)) => return Polled::Ended(self.judge(&error)),
                Poll::Ready(Ok(mut connection)) => {
                    if self.leaving.is_some() {
                        connection.graceful_shutdown();
                    }
                    self.h2 = H2::Open(Box::new(connection));
                }
            }
        }
        loop {
            let H2::Open(connection) = &mut self.h2 else {
                return Polled::Waiting;
            };
            match connection.poll_accept(cx) {
                Poll::Pending => return Polled::Waiting,
                Poll::Ready(None) => return Polled::Ended(CloseReason::Client),
                Poll::Ready(Some(Err(error))) => return Polled::Ended(self.judge(&error)),
                Poll::Ready(Some(Ok((request, respond)))) => {
                    self.requests += 1;
                    let (service, shared) = (Arc::clone(&self.service), Arc::clone(&self.shared));
                    let mut exchange = Box::pin(exchange(service, shared, request, respond));
                    // An answer from store is whole after this, and leaves with those of the other new streams.
                    if exchange.as_mut().poll(cx).is_pending() {
                        drop(tokio::spawn(exchange));
                    }
                }
            }
        }
    }

    /// Tells the client to go away, once there is a reason.
    fn leave_in_time(&mut self, cx: &mut Context<'_>) {
        if self.leaving.is_some() {
            return;
        }
        if self.drain.is_draining() {
            self.leave(CloseReason::Drain);
        } else if self.shared.unwanted.load(Ordering::Relaxed) {
            self.leave(CloseReason::Malformed);
        } else if self.requests >= self.shared.settings.requests_per_connection_max {
            self.leave(CloseReason::RequestsMax);
        } else if self.drain_begins.is_none() {
            let drain = self.drain.clone();
            let mut begins: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move { drain.draining().await });
            if begins.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
            self.drain_begins = Some(begins);
        }
        if self.leaving.is_some() {
            // h2 writes the GOAWAY when it is polled.
            cx.waker().wake_by_ref();
        }
    }

    /// "A server that is attempting to gracefully shut down a connection SHOULD send an initial GOAWAY frame with the last
    /// stream identifier set to 2^31-1" (RFC 9113 §6.8): h2 does, and a second one after a round trip.
    fn leave(&mut self, reason: CloseReason) {
        self.leaving = Some(reason);
        self.deadline.set(mono_now() + GOAWAY_GRACE);
        if let H2::Open(connection) = &mut self.h2 {
            connection.graceful_shutdown();
        }
    }

    /// The connection's own timeouts; those of streams are with the streams.
    fn poll_deadline(&mut self, cx: &mut Context<'_>, has_new: bool) -> Poll<CloseReason> {
        let settings = Arc::clone(&self.shared.settings);
        if self.wire.is_blocked() {
            // Whatever else: a client that does not read holds what was made for it.
            let (pace, wire) = (settings.send_pace(), &self.wire);
            let waits = self.patience.poll(&pace, &mut self.stalled, || wire.acknowledged(), cx);
            if let Poll::Ready(lost) = waits {
                if lost == Lost::Slow {
                    self.shared.conn.worker.metrics.count(Counter::SendTooSlow);
                }
                return Poll::Ready(CloseReason::SendTimeout);
            }
        }
        if self.shared.open.load(Ordering::Relaxed) > 0 {
            self.deadline.clear();
        } else if self.leaving.is_some() {
            self.deadline.start(GOAWAY_GRACE);
        } else if has_new {
            self.deadline.set(mono_now() + settings.idle_timeout);
        } else {
            self.deadline.start(settings.idle_timeout);
        }
        if self.deadline.poll(cx).is_pending() {
            return Poll::Pending;
        }
        match self.leaving {
            Some(reason) => Poll::Ready(reason),
            None if matches!(self.h2, H2::Handshake(_)) || self.requests == 0 => {
                Poll::Ready(CloseReason::HeaderTimeout)
            }
            None => {
                self.leave(CloseReason::IdleTimeout);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    /// Why h2 gave up; what it has to say about it is sent.
    fn judge(&self, error: &h2::Error) -> CloseReason {
        if error
            .get_io()
            .is_some_and(|error| error.kind() != io::ErrorKind::InvalidData)
        {
            return CloseReason::Reset;
        }
        let metrics = &self.shared.conn.worker.metrics;
        if error.is_remote() {
            return CloseReason::Client;
        }
        metrics.count(match error.reason() {
            Some(Reason::ENHANCE_YOUR_CALM) => Counter::Http2Calm,
            _ => Counter::Http2ProtocolErrors,
        });
        tracing::debug!(conn.id = self.shared.conn.id, %error, "an HTTP/2 client breaks the rules");
        CloseReason::Malformed
    }

    /// Ends the connection at once, and says why as far as the socket takes it.
    fn cut(&mut self, reason: Reason) -> CloseReason {
        let mut cx = Context::from_waker(Waker::noop());
        if let H2::Open(connection) = &mut self.h2 {
            connection.abrupt_shutdown(reason);
            while let Poll::Ready(Some(Ok(refused))) = connection.poll_accept(&mut cx) {
                drop(refused);
            }
            if let Poll::Ready(Err(error)) = self.wire.poll_send(&mut cx) {
                tracing::trace!(%error, "GOAWAY to a client that is gone");
            }
        }
        CloseReason::Malformed
    }

    /// Counts the streams that h2 has refused by itself: it does not tell.
    fn count_refused(&self) {
        let refused = self.wire.heads().saturating_sub(self.requests);
        self.shared
            .conn
            .worker
            .metrics
            .add(Counter::Http2StreamsRefused, refused);
    }

    /// Counts what was received and sent since the last time; the bytes that were sent.
    fn count_bytes(&self) -> u64 {
        let (received, sent) = self.wire.take_counts();
        let metrics = &self.shared.conn.worker.metrics;
        metrics.add(Counter::BytesReceived, received);
        metrics.add(Counter::BytesSent, sent);
        sent
    }
}
