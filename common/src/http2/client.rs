//! One connection to a server: streams are opened on it, and a task drives it until both sides are done.
//!
//! The task runs on the worker that made the connection; streams may be opened, read and written from any. It sends what
//! they wrote, answers the server, and asks by PING whether a silent server is still there. It ends when nobody holds the
//! [`Client`] and no stream runs, or when the connection breaks. Made by `backend::multiplex`; streams are `ask`'s.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use h2::{Ping, PingPong};
use parking_lot::Mutex;

use super::settings::ClientHttp2Settings;
use super::wire::{Wire, WireEnd, wire};
use crate::http1::deadline::Deadline;
use crate::net::stream::Stream;
use crate::time::{MonoTime, mono_now};

/// A connection to a server, as those hold it who open streams on it. Dropped by all, it ends after its last stream.
#[derive(Clone)]
pub(crate) struct Client {
    pub(super) sender: SendRequest<Bytes>,
    pub(super) link: Arc<Link>,
    /// The scheme of its requests: TLS is spoken on it.
    pub(super) is_tls: bool,
}

/// What is known of a connection while it lasts.
#[derive(Debug, Default)]
pub(crate) struct Link {
    /// Streams that run.
    streams: AtomicUsize,
    /// Streams that were ever opened.
    opened: AtomicU32,
    /// It has broken, or the server goes away: no new streams.
    is_gone: AtomicBool,
    /// A stream waited in vain: no new streams until the server has answered a PING.
    is_suspect: AtomicBool,
    /// Since when no stream runs.
    idle_since: Mutex<Option<MonoTime>>,
    /// The task that drives it.
    driver: Mutex<Option<Waker>>,
}

/// Speaks HTTP/2 on a connection that is fresh (RFC 9113 §3.4); `fields_bytes_max` is the limit of a header section.
///
/// The second value is to be polled on the calling worker until it is over.
///
/// # Errors
/// The library refuses the settings.
pub(crate) async fn open(
    stream: Stream,
    settings: ClientHttp2Settings,
    fields_bytes_max: usize,
) -> Result<(Client, Driver), h2::Error> {
    let is_tls = matches!(stream, Stream::Tls(_));
    let (io, end) = wire(stream);
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        // What the server allows comes with its SETTINGS; until then, what we would open at most.
        .initial_max_send_streams(settings.streams_max)
        .initial_window_size(settings.stream_window)
        .initial_connection_window_size(settings.connection_window)
        .max_send_buffer_size(settings.send_buffer_max as usize)
        // Bounds CONTINUATION frames as well. The library has no word of its own for a section that is larger, so the limit
        // itself is `ask`'s, and this one stands behind it.
        .max_header_list_size(u32::try_from(fields_bytes_max.saturating_mul(4)).unwrap_or(u32::MAX))
        // Streams that we reset and whose late frames are still let pass.
        .max_concurrent_reset_streams(32)
        .reset_stream_duration(Duration::from_secs(5));
    let (sender, mut h2) = builder.handshake(io).await?;
    let link = Arc::new(Link::default());
    let driver = Driver {
        pings: h2.ping_pong(),
        h2: Box::pin(h2),
        wire: end,
        link: Arc::clone(&link),
        heard: mono_now(),
        asked: false,
        deadline: Deadline::default(),
        settings,
    };
    Ok((Client { sender, link, is_tls }, driver))
}

impl Client {
    /// Whether a stream can be opened now, where at most `streams_max` run at a time.
    pub(crate) fn has_room(&self, streams_max: usize) -> bool {
        let max = streams_max.min(self.sender.current_max_send_streams());
        !self.link.is_suspect.load(Ordering::Acquire) && self.link.streams.load(Ordering::Acquire) < max
    }

    /// Whether no stream will ever be opened on it again.
    pub(crate) fn is_gone(&self) -> bool {
        if !self.link.is_gone.load(Ordering::Acquire) {
            // The library knows of a GOAWAY before the driver's task runs again.
            let ready = self.sender.clone().poll_ready(&mut Context::from_waker(Waker::noop()));
            if !matches!(ready, Poll::Ready(Err(_))) {
                return false;
            }
            self.link.is_gone.store(true, Ordering::Release);
        }
        true
    }

    /// What is known of it.
    pub(crate) const fn link(&self) -> &Arc<Link> {
        &self.link
    }
}

impl Link {
    /// Counts a stream that is about to be opened.
    pub(crate) fn begin(&self) {
        self.streams.fetch_add(1, Ordering::AcqRel);
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a stream that is over.
    pub(crate) fn end(&self) {
        if self.streams.fetch_sub(1, Ordering::AcqRel) == 1 {
            *self.idle_since.lock() = Some(mono_now());
        }
    }

    /// Streams that run.
    pub(crate) fn streams(&self) -> usize {
        self.streams.load(Ordering::Acquire)
    }

    /// Streams that were ever opened.
    pub(crate) fn opened(&self) -> u32 {
        self.opened.load(Ordering::Relaxed)
    }

    /// How long it has been without any stream.
    pub(crate) fn idle(&self, now: MonoTime) -> Duration {
        let since = *self.idle_since.lock();
        match since {
            Some(since) if self.streams() == 0 => now.saturating_duration_since(since),
            _ => Duration::ZERO,
        }
    }

    /// A stream waited in vain: either the server is slow, or nobody is there any more. A PING tells.
    pub(super) fn suspect(&self) {
        self.is_suspect.store(true, Ordering::Release);
        if let Some(driver) = &*self.driver.lock() {
            driver.wake_by_ref();
        }
    }
}

/// The task of a connection.
pub(crate) struct Driver {
    h2: Pin<Box<Connection<Wire, Bytes>>>,
    wire: WireEnd,
    pings: Option<PingPong>,
    link: Arc<Link>,
    /// When something came last.
    heard: MonoTime,
    /// A PING waits for its answer.
    asked: bool,
    /// When to ask, or by when the answer has to be there.
    deadline: Deadline,
    settings: ClientHttp2Settings,
}

impl Driver {
    /// Whether it is over.
    fn poll_link(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.register(cx);
        let ended = self.h2.as_mut().poll(cx);
        let sent = self.wire.poll_send(cx);
        if let Poll::Ready(result) = ended {
            if let Err(error) = result {
                tracing::debug!(%error, "an HTTP/2 connection to a server ends");
            }
            self.wire.close();
            return Poll::Ready(());
        }
        if matches!(sent, Poll::Ready(Err(_))) {
            return Poll::Ready(());
        }
        if let Some(flood) = self.wire.flood() {
            tracing::warn!(kind = flood.word(), "an HTTP/2 server floods; its connection is closed");
            return Poll::Ready(());
        }
        if self.wire.has_heard() {
            self.heard = mono_now();
        }
        self.poll_pings(cx)
    }

    /// Asks a server that is silent for too long, or was waited for in vain; over when it does not answer.
    fn poll_pings(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(pings) = &mut self.pings else {
            return Poll::Pending;
        };
        if self.asked {
            if pings.poll_pong(cx).is_ready() {
                self.asked = false;
                self.deadline.clear();
                self.link.is_suspect.store(false, Ordering::Release);
            } else {
                let is_late = self.deadline.poll(cx).is_ready();
                if is_late {
                    tracing::debug!("an HTTP/2 server does not answer PING; its connection is closed");
                }
                return if is_late { Poll::Ready(()) } else { Poll::Pending };
            }
        }
        let is_suspect = self.link.is_suspect.load(Ordering::Acquire);
        if !is_suspect {
            // Only connections without streams: those with one have its timeouts, and servers count unneeded PINGs.
            if self.settings.ping_after.is_zero() || self.link.streams() > 0 {
                self.deadline.clear();
                return Poll::Pending;
            }
            self.deadline.set(self.heard + self.settings.ping_after);
            if self.deadline.poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
        if pings.send_ping(Ping::opaque()).is_err() {
            return Poll::Pending;
        }
        self.asked = true;
        self.deadline.set(mono_now() + self.settings.ping_timeout);
        // The library writes it when it is polled; the deadline's timer and the answer are waited for then.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// A task has one waker for all its life.
    fn register(&self, cx: &Context<'_>) {
        let mut driver = self.link.driver.lock();
        if driver.is_none() {
            *driver = Some(cx.waker().clone());
        }
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_link(cx)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.link.is_gone.store(true, Ordering::Release);
    }
}
