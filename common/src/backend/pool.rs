//! The connections of one server, for all workers: idle ones to take again, limits, and the queue when they are reached.
//!
//! A [`Lease`] is the leave to be busy with one connection; whoever has none waits in line. Idle connections lie in one
//! shard per worker; a worker takes from its own first, the latest first, then from the others'.
//! Does not connect and does not pick servers: see `connect` and `send`, its only caller.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::line::Line;
use super::multiplex::Multiplex;
use super::settings::BackendSettings;
use super::standing::mix;
use crate::http1::client::{Connection, Home};
use crate::net::proxy_protocol::Header;
use crate::time::{MonoTime, mono_now};

/// The connections of one server.
#[derive(Debug)]
pub(super) struct Pool {
    /// Idle connections by the worker that used them last, each shard in the order of `since`.
    shards: Box<[Shard]>,
    /// How many connections all shards hold. INVARIANT: counted before it is put there, uncounted after it is taken.
    idle: AtomicUsize,
    /// Connections that exist or are being made. INVARIANT: idle ones + leases with `open`; never above `connections_max`.
    open: AtomicUsize,
    /// Requests in line for a lease.
    waiting: AtomicUsize,
    /// One permit per lease that may still be given.
    leases: Semaphore,
    /// The order of those in line.
    line: Line,
    pub(super) keepalive: usize,
    connections_max: usize,
    queue_max: usize,
    pub(super) queue_timeout: Duration,
    pub(super) idle_timeout: Duration,
    lifetime: Duration,
    requests_max: u32,
    /// Connections made so far; what the draw of each one's life begins with.
    made: AtomicU64,
    /// Connections of an earlier generation are not used again.
    generation: AtomicUsize,
    /// The connections that many requests share, where HTTP/2 may be spoken. Each holds a lease for as long as it lasts.
    multiplex: Option<Box<Multiplex>>,
}

/// Alone on its cache lines, so that workers do not slow each other down by taking from their own shards.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(Mutex<Vec<Idle>>);

struct Idle {
    connection: Connection,
    since: MonoTime,
    life: Life,
    /// What was said ahead of it; it serves only those for whom the same would be said.
    said: Option<Box<Header>>,
}

/// Which idle connection.
#[derive(Clone, Copy)]
enum Which<'a> {
    /// The one used last.
    Latest,
    /// The one that has been idle for longest, of the first shard that has one.
    Oldest,
    /// The one used last of those that began so.
    Saying(&'a Header),
}

/// How long a connection may still be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life {
    ends: MonoTime,
    requests_left: u32,
    generation: usize,
}

/// The leave to be busy with one connection to the server.
///
/// INVARIANT: ends exactly once, in `Drop`: the connection (where there is one that did not go back to the pool) and the
/// permit are counted off, and the next in line is woken. So an exchange that fails, or is dropped, leaks nothing.
#[derive(Debug)]
#[must_use = "dropping it gives the leave back"]
pub(super) struct Lease {
    pool: Arc<Pool>,
    shard: usize,
    /// A connection is counted for this lease; how long it may be used.
    open: Option<Life>,
    /// What is said ahead of its connection.
    said: Option<Box<Header>>,
}

/// Where the connection of a lease may come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// An idle one where there is one.
    Any,
    /// A new one in any case: an idle one has just turned out dead.
    New,
    /// A new one of HTTP/1.1 that serves one request and no other, where HTTP/2 may be spoken.
    Own,
}

/// No lease was to be had: too many are in line, or it took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LimitReached;

/// How full a pool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level {
    pub(super) busy: usize,
    pub(super) idle: usize,
    pub(super) waiting: usize,
}

impl Pool {
    pub(super) fn new(settings: &BackendSettings, workers: usize) -> Self {
        let connections_max = settings.connections_max.min(Semaphore::MAX_PERMITS);
        Self {
            shards: (0..workers.max(1)).map(|_| Shard::default()).collect(),
            idle: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            leases: Semaphore::new(connections_max),
            line: Line::default(),
            keepalive: settings.keepalive,
            connections_max,
            queue_max: settings.queue_max,
            queue_timeout: settings.queue_timeout,
            idle_timeout: settings.idle_timeout,
            lifetime: settings.connection_lifetime,
            requests_max: settings.connection_requests_max,
            made: AtomicU64::new(0),
            generation: AtomicUsize::new(0),
            multiplex: Multiplex::new(settings, workers).map(Box::new),
        }
    }

    /// The connections that many requests share; `None` where only HTTP/1 is spoken.
    pub(super) fn multiplex(&self) -> Option<&Multiplex> {
        self.multiplex.as_deref()
    }

    /// A lease for a request of worker `worker`, at once or after a wait in line; and how long that was.
    pub(super) async fn lease(self: &Arc<Self>, worker: usize, urgency: u8) -> (Result<Lease, LimitReached>, Duration) {
        if let Ok(permit) = self.leases.try_acquire() {
            permit.forget();
            return (Ok(self.leased(worker)), Duration::ZERO);
        }
        let Some(_place) = Place::take(self) else {
            return (Err(LimitReached), Duration::ZERO);
        };
        let since = mono_now();
        let in_turn = async {
            let _turn = self.line.turn(urgency).await;
            self.leases.acquire().await
        };
        let permit = tokio::time::timeout(self.queue_timeout, in_turn).await;
        let lease = match permit {
            Ok(Ok(permit)) => {
                permit.forget();
                Ok(self.leased(worker))
            }
            Ok(Err(_)) | Err(_) => Err(LimitReached),
        };
        (lease, mono_now() - since)
    }

    /// A lease, where one is to be had at once.
    pub(super) fn lease_now(self: &Arc<Self>, worker: usize) -> Option<Lease> {
        self.leases.try_acquire().ok()?.forget();
        Some(self.leased(worker))
    }

    /// Connections that `worker` is to make so that there are `min`, of server `number`.
    pub(super) fn missing(&self, number: usize, worker: usize, min: usize) -> usize {
        let (workers, all) = (self.shards.len(), self.open.load(Ordering::Relaxed));
        match &self.multiplex {
            // Each worker takes its own first.
            Some(multiplex) if multiplex.is_shared() => {
                let share = min / workers + usize::from(worker < min % workers);
                usize::from(multiplex.own(worker) < share)
            }
            _ if number % workers == worker % workers => min.saturating_sub(all),
            _ => 0,
        }
    }

    /// The lease for a permit that was just taken.
    fn leased(self: &Arc<Self>, worker: usize) -> Lease {
        Lease {
            pool: Arc::clone(self),
            shard: worker % self.shards.len(),
            open: None,
            said: None,
        }
    }

    /// Closes the idle connections of worker `worker` that are dead, too old, or more than may be kept.
    pub(super) fn sweep(&self, worker: usize, now: MonoTime) {
        let ended: Vec<Idle> = {
            let mut shard = self.shards[worker % self.shards.len()].0.lock();
            let ends = |idle: &mut Idle| {
                let ends = !self.is_usable(idle, now) || self.idle.load(Ordering::Relaxed) > self.keepalive;
                if ends {
                    self.idle.fetch_sub(1, Ordering::AcqRel);
                }
                ends
            };
            shard.extract_if(.., ends).collect()
        };
        self.open.fetch_sub(ended.len(), Ordering::AcqRel);
        if let Some(multiplex) = &self.multiplex {
            multiplex.sweep(worker, self, now);
        }
    }

    /// Uses no connection of those that exist again: the idle ones are closed by the next sweeps, the busy ones when what
    /// runs on them has ended.
    pub(super) fn retire(&self) {
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests that have a connection, or wait for one.
    pub(super) fn load(&self) -> usize {
        let level = self.level();
        level.busy + level.waiting
    }

    pub(super) fn level(&self) -> Level {
        let leased = self.connections_max.saturating_sub(self.leases.available_permits());
        let idle = self.idle.load(Ordering::Relaxed);
        // A shared connection is as busy as it has requests.
        let (connections, streams) = self.multiplex.as_ref().map_or((0, 0), |multiplex| multiplex.level());
        Level {
            busy: (leased + streams).saturating_sub(connections),
            idle: if streams == 0 { idle + connections } else { idle },
            waiting: self.waiting.load(Ordering::Relaxed),
        }
    }

    /// Keeps a connection for the next request; `false` when it was closed instead.
    fn keep(&self, shard: usize, idle: Idle) -> bool {
        if !self.goes_on(&idle.life, idle.since) {
            return false;
        }
        // Above `keepalive` only for those in line: the permit that is freed next lets one of them take it.
        let room = |idle| (idle < self.keepalive || self.waiting.load(Ordering::Relaxed) > 0).then_some(idle + 1);
        let has_room = || self.idle.try_update(Ordering::AcqRel, Ordering::Relaxed, room).is_ok();
        // Those of clients that have left would be in the way of all others until their time is over.
        let kept = has_room() || (idle.said.is_some() && self.evict(shard) && has_room());
        if kept {
            self.shards[shard].0.lock().push(idle);
        }
        kept
    }

    /// An idle connection, usable on the calling worker; it stays counted as open.
    fn take(&self, own: usize, said: Option<&Header>, now: MonoTime) -> Option<(Connection, Life)> {
        let which = said.map_or(Which::Latest, Which::Saying);
        while let Some((shard, idle)) = self.pop(own, which) {
            if self.is_usable(&idle, now) {
                let (connection, life) = (idle.connection, idle.life);
                let here = if shard == own {
                    Ok(connection)
                } else {
                    connection.rehome()
                };
                if let Ok(connection) = here {
                    return Some((connection, life));
                }
            }
            self.open.fetch_sub(1, Ordering::AcqRel);
        }
        None
    }

    /// Closes one idle connection, to make room for a new one.
    fn evict(&self, own: usize) -> bool {
        let evicted = self.pop(own, Which::Oldest).is_some();
        if evicted {
            self.open.fetch_sub(1, Ordering::AcqRel);
        }
        evicted
    }

    /// One of our own shard, or else of the next that has one.
    fn pop(&self, own: usize, which: Which<'_>) -> Option<(usize, Idle)> {
        if self.idle.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut shards = (own..self.shards.len()).chain(0..own);
        let found = shards.find_map(|shard| Some((shard, which.pop(&mut self.shards[shard].0.lock())?)))?;
        self.idle.fetch_sub(1, Ordering::AcqRel);
        Some(found)
    }

    fn is_usable(&self, idle: &Idle, now: MonoTime) -> bool {
        now.saturating_duration_since(idle.since) <= self.idle_timeout
            && self.goes_on(&idle.life, now)
            && idle.connection.is_alive()
    }

    /// Whether a lease would be given at once.
    pub(super) fn has_room(&self) -> bool {
        self.leases.available_permits() > 0
    }

    /// Whether a connection of this life that has served `requests` may serve one more.
    pub(super) fn outlasts(&self, life: Life, requests: u32, now: MonoTime) -> bool {
        let requests_left = life.requests_left.saturating_sub(requests);
        self.goes_on(&Life { requests_left, ..life }, now)
    }

    /// Whether a connection may be used for one more request.
    fn goes_on(&self, life: &Life, now: MonoTime) -> bool {
        life.requests_left > 0 && now < life.ends && life.generation == self.generation.load(Ordering::Relaxed)
    }

    /// The life of a new connection: up to a fifth shorter than the maximum, so that connections which were made together
    /// do not end together.
    fn born(&self, now: MonoTime) -> Life {
        let drawn = mix(self.made.fetch_add(1, Ordering::Relaxed));
        let share = u32::try_from(drawn % 201).unwrap_or(0); // thousandths
        let requests = u64::from(self.requests_max);
        let less = requests * u64::from(share) / 1000;
        Life {
            ends: now + self.lifetime.mul_f64(f64::from(1000 - share) / 1000.0),
            requests_left: u32::try_from(requests - less).unwrap_or(u32::MAX).max(1),
            generation: self.generation.load(Ordering::Relaxed),
        }
    }

    /// Counts one connection that is about to be made, where the limit lets it.
    fn count_open(&self) -> bool {
        let room = |open| (open < self.connections_max).then_some(open + 1);
        self.open.try_update(Ordering::AcqRel, Ordering::Acquire, room).is_ok()
    }
}

impl Which<'_> {
    fn pop(self, shard: &mut Vec<Idle>) -> Option<Idle> {
        match self {
            Self::Latest => shard.pop(),
            Self::Oldest => (!shard.is_empty()).then(|| shard.remove(0)),
            // As many as `keepalive` are looked at; a client has few, and they lie at the end when it is busy.
            Self::Saying(said) => {
                let at = shard.iter().rposition(|idle| idle.said.as_deref() == Some(said))?;
                Some(shard.remove(at))
            }
        }
    }
}

impl Lease {
    /// An idle connection, or `None`: the caller is to make a new one, which is counted from now on.
    pub(super) async fn connection(&mut self, source: Source, now: MonoTime) -> Option<Connection> {
        debug_assert!(self.open.is_none(), "one connection per lease");
        loop {
            let taken = match source {
                Source::Any => self.pool.take(self.shard, self.said.as_deref(), now),
                Source::New | Source::Own => None,
            };
            if let Some((connection, life)) = taken {
                self.open = Some(life);
                return Some(connection);
            }
            if self.pool.count_open() {
                let mut life = self.pool.born(now);
                if source == Source::Own {
                    life.requests_left = 1;
                }
                self.open = Some(life);
                return None;
            }
            // All connections that may exist do, and fewer than that are busy, since we hold a lease without one:
            // so one is idle. Where it was put after we looked, or another worker is about to close it, look again.
            let any_will_do = source == Source::Any && self.said.is_none();
            if any_will_do || !self.pool.evict(self.shard) {
                tokio::task::yield_now().await;
            }
        }
    }
}

impl Lease {
    /// What is said ahead of its connection, before one is taken or made.
    pub(super) fn says(&mut self, said: Option<Box<Header>>) {
        self.said = said;
    }

    /// What is said ahead of its connection.
    pub(super) fn said(&self) -> Option<&Header> {
        self.said.as_deref()
    }

    /// How long the connection that was made with it may be used.
    pub(super) fn life(&self) -> Option<Life> {
        self.open
    }
}

impl Home for Lease {
    fn take_back(mut self, connection: Connection, now: MonoTime) {
        let Some(mut life) = self.open else { return };
        life.requests_left = life.requests_left.saturating_sub(1);
        let idle = Idle {
            connection,
            since: now,
            life,
            said: self.said.take(),
        };
        if self.pool.keep(self.shard, idle) {
            self.open = None;
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.open.is_some() {
            self.pool.open.fetch_sub(1, Ordering::AcqRel);
        }
        // Last: whoever gets this permit must find the connection idle, or counted off.
        self.pool.leases.add_permits(1);
    }
}

impl fmt::Debug for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Idle")
            .field("since", &self.since)
            .finish_non_exhaustive()
    }
}

/// A place in line.
pub(super) struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    pub(super) fn take(pool: &'a Pool) -> Option<Self> {
        let room = |waiting| (waiting < pool.queue_max).then_some(waiting + 1);
        let taken = pool.waiting.try_update(Ordering::AcqRel, Ordering::Relaxed, room);
        taken.ok().map(|_| Self(&pool.waiting))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests;
