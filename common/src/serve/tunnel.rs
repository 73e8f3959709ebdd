//! Carries a tunnel's bytes both ways until both sides have ended, or one is gone, or nothing passes for too long.
//!
//! The two directions are independent; each holds one piece at a time, so a side that does not take its bytes holds back
//! the other's sending and nothing else. Called by `http1::server` and `http2::exchange`; `http::tunnel` has the words.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::service::{CloseReason, ConnInfo, End, Record, Sent};
use crate::http::tunnel::{Duplex, Tunnel, TunnelEnd};
use crate::http1::deadline::Deadline;
use crate::telemetry::metrics::Counter;
use crate::time::{MonoTime, mono_now};

/// The exchange that became a tunnel.
pub(crate) struct Told<R: Record> {
    /// Its record.
    pub(crate) record: R,
    /// The client's connection.
    pub(crate) conn: Arc<ConnInfo>,
    /// Bytes of the request's head.
    pub(crate) request_bytes: u64,
    /// Bytes of the response's head, where it was sent before; what `first` sends is counted besides.
    pub(crate) head_bytes: u64,
    /// When the request came.
    pub(crate) began: MonoTime,
    /// What the access log says about the client's connection.
    pub(crate) close: Option<CloseReason>,
}

/// Carries a tunnel to its end and tells its record; the client is sent `first` before anything of the server's.
///
/// Dropping the future ends the tunnel at once: that is what a drain does when its time is over.
pub(crate) async fn carry<R: Record>(
    client: &mut impl Duplex,
    tunnel: Tunnel,
    first: Bytes,
    told: Told<R>,
) -> TunnelEnd {
    told.conn.worker.metrics.count(Counter::TunnelsOpened);
    let first_bytes = first.len() as u64;
    let mut carrier = Carrier {
        client,
        tunnel,
        to_server: Half::default(),
        to_client: Half {
            waiting: first,
            ..Half::default()
        },
        ended_first: None,
        idle: Deadline::default(),
        passed: 0,
        log: Log {
            told: Some(told),
            first_bytes,
            to_server: 0,
            to_client: 0,
            end: TunnelEnd::Drain,
        },
    };
    let end = poll_fn(|cx| carrier.poll(cx)).await;
    match end {
        TunnelEnd::ServerReset => carrier.client.abort(),
        TunnelEnd::ClientReset => carrier.tunnel.server.abort(),
        TunnelEnd::Client | TunnelEnd::Server | TunnelEnd::Idle | TunnelEnd::Drain => {}
    }
    carrier.log.end = end;
    end
}

struct Carrier<'a, C: Duplex, R: Record> {
    client: &'a mut C,
    tunnel: Tunnel,
    to_server: Half,
    to_client: Half,
    /// Who ended its side, when the other has not.
    ended_first: Option<TunnelEnd>,
    idle: Deadline,
    /// Bytes of both directions when the idle time was last set.
    passed: u64,
    log: Log<R>,
}

/// One direction.
#[derive(Default)]
struct Half {
    /// Read, not yet taken.
    waiting: Bytes,
    /// Bytes taken.
    passed: u64,
    source: Source,
}

/// Where the bytes of one direction come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Source {
    #[default]
    Open,
    /// It has ended; the other end is not told yet.
    Ended,
    /// The other end was told.
    Told,
}

/// Which end is gone.
enum Gone {
    From,
    To,
}

impl<C: Duplex, R: Record> Carrier<'_, C, R> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<TunnelEnd> {
        let server = &mut *self.tunnel.server;
        let up = self.to_server.poll(&mut *self.client, server, cx);
        let down = self.to_client.poll(server, &mut *self.client, cx);
        self.count();
        match (up, down) {
            (Err(Gone::From), _) | (Ok(()), Err(Gone::To)) => return Poll::Ready(TunnelEnd::ClientReset),
            (Err(Gone::To), _) | (Ok(()), Err(Gone::From)) => return Poll::Ready(TunnelEnd::ServerReset),
            (Ok(()), Ok(())) => {}
        }
        match (self.to_server.source, self.to_client.source) {
            (Source::Told, Source::Told) => return Poll::Ready(self.ended_first.unwrap_or(TunnelEnd::Client)),
            (Source::Told, _) => self.ended_first = Some(TunnelEnd::Client),
            (_, Source::Told) => self.ended_first = Some(TunnelEnd::Server),
            _ => {}
        }
        let passed = self.to_server.passed + self.to_client.passed;
        if passed > self.passed {
            self.passed = passed;
            self.idle.clear();
        }
        self.idle.start(self.tunnel.idle_timeout);
        self.idle.poll(cx).map(|()| TunnelEnd::Idle)
    }

    /// Counts what has passed since the last time.
    fn count(&mut self) {
        let log = &mut self.log;
        let Some(told) = &log.told else { return };
        let metrics = &told.conn.worker.metrics;
        metrics.add(Counter::TunnelBytesReceived, self.to_server.passed - log.to_server);
        metrics.add(Counter::TunnelBytesSent, self.to_client.passed - log.to_client);
        (log.to_server, log.to_client) = (self.to_server.passed, self.to_client.passed);
    }
}

impl Half {
    /// Carries what can be carried.
    fn poll<F: Duplex + ?Sized, T: Duplex + ?Sized>(
        &mut self,
        from: &mut F,
        to: &mut T,
        cx: &mut Context<'_>,
    ) -> Result<(), Gone> {
        loop {
            while !self.waiting.is_empty() {
                match to.poll_write(cx, &mut self.waiting) {
                    Poll::Pending => return Ok(()),
                    Poll::Ready(Ok(0) | Err(_)) => return Err(Gone::To),
                    Poll::Ready(Ok(taken)) => self.passed += taken as u64,
                }
            }
            if self.source == Source::Told {
                return Ok(());
            }
            let next = match self.source {
                Source::Open => from.poll_read(cx),
                Source::Ended | Source::Told => Poll::Pending,
            };
            match next {
                Poll::Ready(Ok(data)) if data.is_empty() => self.source = Source::Ended,
                Poll::Ready(Ok(data)) => self.waiting = data,
                Poll::Ready(Err(_)) => return Err(Gone::From),
                Poll::Pending => {
                    let flushed = flush(to, cx)?;
                    if self.source == Source::Ended && flushed {
                        to.end();
                        self.source = Source::Told;
                    }
                    return Ok(());
                }
            }
        }
    }
}

fn flush<T: Duplex + ?Sized>(to: &mut T, cx: &mut Context<'_>) -> Result<bool, Gone> {
    let flushed: Poll<io::Result<()>> = to.poll_flush(cx);
    match flushed {
        Poll::Ready(Ok(())) => Ok(true),
        Poll::Ready(Err(_)) => Err(Gone::To),
        Poll::Pending => Ok(false),
    }
}

/// Tells the record at the end, whichever way that comes.
struct Log<R: Record> {
    told: Option<Told<R>>,
    /// Bytes to the client that are not the server's.
    first_bytes: u64,
    to_server: u64,
    to_client: u64,
    end: TunnelEnd,
}

impl<R: Record> Drop for Log<R> {
    fn drop(&mut self) {
        let Some(told) = self.told.take() else { return };
        let metrics = &told.conn.worker.metrics;
        metrics.count(counter(self.end));
        told.record.finish(&Sent {
            end: End::Tunnel(self.end),
            body_bytes: self.to_client.saturating_sub(self.first_bytes),
            bytes: told.head_bytes + self.to_client,
            request_bytes: told.request_bytes + self.to_server,
            took: mono_now().saturating_duration_since(told.began),
            close: told.close,
        });
    }
}

const fn counter(end: TunnelEnd) -> Counter {
    match end {
        TunnelEnd::Client => Counter::TunnelEndClient,
        TunnelEnd::Server => Counter::TunnelEndServer,
        TunnelEnd::Idle => Counter::TunnelEndIdle,
        TunnelEnd::ClientReset => Counter::TunnelEndClientReset,
        TunnelEnd::ServerReset => Counter::TunnelEndServerReset,
        TunnelEnd::Drain => Counter::TunnelEndDrain,
    }
}

#[cfg(test)]
mod tests;
