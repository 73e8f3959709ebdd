//! The HTTP/2 connections of one server: many requests share one, and the task that drives it.
//!
//! A connection belongs to the worker that made it, which takes its own first; where no more may be made, another worker's
//! is taken. One connect at a time and worker: others who ask meanwhile wait for it and then share it. Each connection
//! holds a [`Lease`] for as long as it lasts, so `connections_max` bounds it like any other. Called by `streams`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::pool::{Lease, Life, Pool};
use super::settings::{BackendSettings, HttpProtocol};
use crate::http::origin_error::OriginError;
use crate::http2::client::{self, Client, Link};
use crate::http2::settings::ClientHttp2Settings;
use crate::net::stream::Stream;
use crate::time::MonoTime;

/// The connections of one server.
#[derive(Debug)]
pub(super) struct Multiplex {
    shards: Box<[Mutex<Shard>]>,
    /// Connections that last.
    connections: AtomicUsize,
    /// Requests that run on them.
    streams: AtomicUsize,
    /// Told when a stream ends.
    pub(super) freed: Notify,
    protocol: HttpProtocol,
    /// What the server chose last (ALPN).
    chosen: AtomicU8,
    settings: ClientHttp2Settings,
    fields_bytes_max: usize,
}

/// One worker's.
#[derive(Default)]
struct Shard {
    connections: Vec<Shared>,
    /// A connection is being made; how that ended will be told.
    connecting: Option<Told>,
}

struct Shared {
    client: Client,
    life: Life,
}

/// Hears how a connect ended: nothing yet, or well, or why not.
pub(super) type Told = watch::Receiver<Result<(), OriginError>>;

/// What the server is known to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Spoken {
    Unknown,
    Http1,
    Http2,
}

/// Who makes the next connection.
pub(super) enum Begin<'a> {
    /// The caller.
    Lead(Lead<'a>),
    /// Somebody else, and this tells how it ended.
    Wait(Told),
}

/// The task of making a connection, one per worker. INVARIANT: ends in `Drop`, which tells those who wait; without a
/// word, they look again.
pub(super) struct Lead<'a> {
    shard: &'a Mutex<Shard>,
    tell: watch::Sender<Result<(), OriginError>>,
}

/// A request's place on a connection. INVARIANT: counted off in `Drop`, which tells one that waits.
#[derive(Debug)]
#[must_use = "dropping it gives the place back"]
pub(super) struct Slot {
    pool: Arc<Pool>,
    link: Arc<Link>,
}

impl Multiplex {
    /// For these settings; `None` where only HTTP/1 is spoken.
    pub(super) fn new(settings: &BackendSettings, workers: usize) -> Option<Self> {
        if settings.protocol == HttpProtocol::Http1 {
            return None;
        }
        Some(Self {
            shards: (0..workers.max(1)).map(|_| Mutex::default()).collect(),
            connections: AtomicUsize::new(0),
            streams: AtomicUsize::new(0),
            freed: Notify::new(),
            protocol: settings.protocol,
            chosen: AtomicU8::new(Spoken::Unknown as u8),
            settings: settings.http2,
            fields_bytes_max: settings.limits.head_bytes_max,
        })
    }

    /// What is known of the server: by the configuration, or by what it chose last.
    pub(super) fn spoken(&self) -> Spoken {
        match self.chosen.load(Ordering::Relaxed) {
            _ if self.protocol == HttpProtocol::Http2 => Spoken::Http2,
            1 => Spoken::Http1,
            2 => Spoken::Http2,
            _ => Spoken::Unknown,
        }
    }

    /// Whether its connections are shared, or may turn out to be.
    pub(super) fn is_shared(&self) -> bool {
        self.spoken() != Spoken::Http1
    }

    /// Connections of a worker's own.
    pub(super) fn own(&self, worker: usize) -> usize {
        self.shards[worker % self.shards.len()].lock().connections.len()
    }

    /// Which protocol is spoken on a connection that was just made.
    pub(super) fn is_http2(&self, stream: &Stream) -> bool {
        let is_http2 = self.protocol == HttpProtocol::Http2 || stream.is_http2();
        let chosen = if is_http2 { Spoken::Http2 } else { Spoken::Http1 };
        self.chosen.store(chosen as u8, Ordering::Relaxed);
        is_http2
    }

    /// Connections that last, and requests that run on them.
    pub(super) fn level(&self) -> (usize, usize) {
        (
            self.connections.load(Ordering::Relaxed),
            self.streams.load(Ordering::Relaxed),
        )
    }

    /// A place on one of the worker's own connections.
    pub(super) fn take(&self, worker: usize, pool: &Arc<Pool>, now: MonoTime) -> Option<(Client, Slot)> {
        self.take_from(worker % self.shards.len(), pool, now)
    }

    /// A place on any connection.
    pub(super) fn take_any(&self, pool: &Arc<Pool>, now: MonoTime) -> Option<(Client, Slot)> {
        (0..self.shards.len()).find_map(|shard| self.take_from(shard, pool, now))
    }

    fn take_from(&self, shard: usize, pool: &Arc<Pool>, now: MonoTime) -> Option<(Client, Slot)> {
        let mut shard = self.shards[shard].lock();
        // Those that are gone, or have served long enough, end when what runs on them has.
        shard.connections.retain(|shared| shared.lasts(pool, now));
        let found = shard
            .connections
            .iter()
            .find(|shared| shared.client.has_room(self.settings.streams_max))?;
        Some((found.client.clone(), self.slot(&found.client, pool)))
    }

    fn slot(&self, client: &Client, pool: &Arc<Pool>) -> Slot {
        client.link().begin();
        self.streams.fetch_add(1, Ordering::AcqRel);
        Slot {
            pool: Arc::clone(pool),
            link: Arc::clone(client.link()),
        }
    }

    /// Who makes the next connection of this worker.
    pub(super) fn begin(&self, worker: usize) -> Begin<'_> {
        let cell = &self.shards[worker % self.shards.len()];
        let mut shard = cell.lock();
        if let Some(told) = &shard.connecting {
            return Begin::Wait(told.clone());
        }
        let (tell, told) = watch::channel(Ok(()));
        shard.connecting = Some(told);
        Begin::Lead(Lead { shard: cell, tell })
    }

    /// Ends one connection that nobody uses, so that its lease is free for another one.
    pub(super) fn evict(&self) {
        let is_unused = |shared: &mut Shared| shared.client.link().streams() == 0;
        let mut shards = self.shards.iter();
        // Its driver ends, and gives the lease back, when nobody can open a stream any more.
        drop(shards.find_map(|shard| shard.lock().connections.extract_if(.., is_unused).next()));
    }

    /// Speaks HTTP/2 on a connection that was just made on the calling worker, and gives a place on it.
    pub(super) async fn adopt(
        &self,
        stream: Stream,
        lease: Lease,
        worker: usize,
        pool: &Arc<Pool>,
    ) -> Result<(Client, Slot), OriginError> {
        let life = lease.life().ok_or(OriginError::ProxyInternalError)?;
        let opened = client::open(stream, self.settings, self.fields_bytes_max).await;
        let (client, driver) = opened.map_err(|_| OriginError::ProxyInternalError)?;
        let slot = self.slot(&client, pool);
        let counted = Counted::new(Arc::clone(pool), lease);
        drop(tokio::spawn(async move {
            driver.await;
            drop(counted);
        }));
        let shared = Shared {
            client: client.clone(),
            life,
        };
        self.shards[worker % self.shards.len()].lock().connections.push(shared);
        Ok((client, slot))
    }

    /// Ends those connections of the worker that are gone, too old, or idle for too long.
    pub(super) fn sweep(&self, worker: usize, pool: &Pool, now: MonoTime) {
        let mut shard = self.shards[worker % self.shards.len()].lock();
        shard.connections.retain(|shared| {
            let is_idle = shared.client.link().streams() == 0;
            let is_left = is_idle && (pool.keepalive == 0 || shared.client.link().idle(now) > pool.idle_timeout);
            !is_left && shared.lasts(pool, now)
        });
    }
}

impl Shared {
    fn lasts(&self, pool: &Pool, now: MonoTime) -> bool {
        !self.client.is_gone() && pool.outlasts(self.life, self.client.link().opened(), now)
    }
}

impl Lead<'_> {
    /// Tells those who wait that it failed.
    pub(super) fn failed(self, error: OriginError) {
        self.tell.send_modify(|result| *result = Err(error));
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        self.shard.lock().connecting = None;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.link.end();
        if let Some(multiplex) = self.pool.multiplex() {
            multiplex.streams.fetch_sub(1, Ordering::AcqRel);
            multiplex.freed.notify_one();
        }
    }
}

/// A connection that is counted, with its lease.
struct Counted {
    pool: Arc<Pool>,
    // Dropped after `drop` below: whoever gets its permit finds the connection counted off.
    _lease: Lease,
}

impl Counted {
    fn new(pool: Arc<Pool>, lease: Lease) -> Self {
        if let Some(multiplex) = pool.multiplex() {
            multiplex.connections.fetch_add(1, Ordering::AcqRel);
        }
        Self { pool, _lease: lease }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(multiplex) = self.pool.multiplex() {
            multiplex.connections.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl std::fmt::Debug for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shard")
            .field("connections", &self.connections.len())
            .finish_non_exhaustive()
    }
}
