//! The conductor: one request to one of a backend's servers, sent again where that is safe.
//!
//! pick → lease → connect where none is idle → exchange → (response | decide → pick …). All branching between the steps is
//! here. Called by the cache tier towards origins (leg 3) and by the front towards cache servers (leg 2).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::request::Parts;
use tracing::{info, warn};

use super::balance::{self, PENALTY, Standing, Until};
use super::connect::{Addresses, ConnectFailure};
use super::facts::{Facts, Outcome};
use super::pool::{Lease, Pool, Source};
use super::resolve::SocketAddrOrUnix;
use super::retry::{self, Decision};
use super::settings::{BackendSettings, Balance, ExchangeLimits};
use super::stats::{ServerSnapshot, Stats};
use crate::http::body::Body;
use crate::http::origin_error::OriginError;
use crate::http1::client::{Connection, ExchangeError, Failure};
use crate::telemetry::metrics::{Counter, Histogram};
use crate::time::{MonoTime, mono_now};
use crate::worker::Worker;

/// A group of servers, one for the whole process.
#[derive(Debug)]
pub struct Backend {
    settings: BackendSettings,
    servers: Box<[Server]>,
    /// What picking knows of each server, in the same order.
    standings: Box<[Standing]>,
    /// Requests that were given a server by turns.
    turn: AtomicUsize,
    /// Moments in `standings` are counted from here.
    made: MonoTime,
    /// How long a server that took no connection is skipped; not the constant in tests.
    pub(super) penalty: Duration,
    /// Until when trouble of our own is not logged again.
    quiet: Until,
}

#[derive(Debug)]
struct Server {
    name: Arc<str>,
    addresses: Addresses,
    pool: Arc<Pool>,
    stats: Stats,
}

/// A connection, the leave to use it, and since when.
struct Ready {
    connection: Connection,
    lease: Lease,
    since: MonoTime,
}

/// What stays the same over all attempts.
struct Ask<'a> {
    head: &'a Parts,
    limits: &'a ExchangeLimits,
    worker: &'a Worker,
}

impl Backend {
    /// A backend whose servers have these `addresses`, in the order of the settings (see [`super::resolve()`]), used by this
    /// many `workers`.
    pub fn new(settings: BackendSettings, addresses: Vec<Vec<SocketAddrOrUnix>>, workers: usize) -> Self {
        let mut addresses = addresses.into_iter();
        let servers: Box<[Server]> = settings
            .servers
            .iter()
            .map(|server| Server {
                name: server.to_string().into(),
                addresses: Addresses::new(addresses.next().unwrap_or_default()),
                pool: Arc::new(Pool::new(&settings, workers)),
                stats: Stats::default(),
            })
            .collect();
        Self {
            standings: servers.iter().map(|server| Standing::new(&server.name)).collect(),
            servers,
            settings,
            turn: AtomicUsize::new(0),
            made: mono_now(),
            penalty: PENALTY,
            quiet: Until::default(),
        }
    }

    /// The configured name.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Sends a request to one of the servers, and again where that is safe.
    ///
    /// `key` is a hash of the cache key that is the same in every process; only consistent hashing looks at it.
    /// Dropping the future closes the connection and gives its place to the next in line; so does dropping the body of
    /// the response before its end.
    pub async fn send(
        self: &Arc<Self>,
        head: Parts,
        body: Body,
        key: u64,
        limits: &ExchangeLimits,
        worker: &Arc<Worker>,
    ) -> Outcome {
        let ask = Ask {
            head: &head,
            limits,
            worker,
        };
        let mut facts = Facts::default();
        let mut retries_left = self.settings.retries;
        let mut source = Source::Any;
        let mut tried = Vec::new();
        // "The intermediary considers the next hop to be unavailable" (RFC 9209 §2.3.4): there is nobody to ask.
        let mut result = Err(OriginError::DestinationUnavailable.into());
        let mut unsent = Some(body);
        let mut next = self.pick(key, &tried, worker);
        while let Some(server) = next {
            let failure = match self
                .attempt(server, &ask, unsent.take().unwrap_or_default(), source, &mut facts)
                .await
            {
                Ok(response) => {
                    result = Ok(response);
                    break;
                }
                Err(failure) => failure,
            };
            result = Err(failure.error);
            next = match retry::decide(&failure, facts.reused, &head.method, retries_left) {
                Decision::Fail => None,
                Decision::NewConnection => {
                    source = Source::New;
                    Some(server)
                }
                Decision::NextServer => {
                    retries_left -= 1;
                    tried.push(server);
                    self.pick(key, &tried, worker)
                }
            };
            unsent = failure.body;
            if next.is_some() {
                worker.metrics.count(Counter::BackendRetries);
            }
        }
        Outcome { result, unsent, facts }
    }

    /// Closes idle connections that `worker` used last and that are dead, or idle for longer than `idle_timeout`.
    /// To be called on that worker now and then.
    pub fn sweep(&self, worker: &Worker) {
        let now = worker.clock.mono();
        for server in &self.servers {
            server.pool.sweep(worker.index, now);
        }
    }

    /// All servers as they are now, in the order of the settings.
    pub fn snapshot(&self) -> Vec<ServerSnapshot> {
        let now = self.since_made(mono_now());
        let servers = self.servers.iter().zip(&self.standings);
        servers
            .map(|(server, standing)| {
                let in_penalty = standing.penalty.is_ahead(now);
                server
                    .stats
                    .snapshot(Arc::clone(&server.name), server.pool.level(), in_penalty)
            })
            .collect()
    }

    fn pick(&self, key: u64, tried: &[usize], worker: &Worker) -> Option<usize> {
        let now = self.since_made(worker.clock.mono());
        match self.settings.balance {
            Balance::RoundRobin => {
                let turn = self.turn.fetch_add(1, Ordering::Relaxed);
                balance::round_robin(&self.standings, turn, tried, now)
            }
            Balance::ConsistentHash => balance::rendezvous(&self.standings, key, tried, now),
        }
    }

    async fn attempt(
        &self,
        number: usize,
        ask: &Ask<'_>,
        body: Body,
        source: Source,
        facts: &mut Facts,
    ) -> Result<http::Response<Body>, Failure> {
        let server = &self.servers[number];
        server.stats.attempt();
        facts.attempts += 1;
        facts.server = Some(Arc::clone(&server.name));
        facts.reused = false;
        facts.connect = None;
        let result = match self.connection(number, ask, source, facts).await {
            Ok(ready) => exchange(ready, ask, body, facts).await,
            Err(error) => Err(Failure {
                error: error.into(),
                body: Some(body),
                answered: false,
                sent: false,
            }),
        };
        result.inspect_err(|failure| {
            if let ExchangeError::Origin(error) = failure.error {
                server.stats.failed(error);
            }
        })
    }

    /// A connection to the server: idle until now, or new.
    async fn connection(
        &self,
        number: usize,
        ask: &Ask<'_>,
        source: Source,
        facts: &mut Facts,
    ) -> Result<Ready, OriginError> {
        let server = &self.servers[number];
        let (lease, queued) = server.pool.lease(ask.worker.index).await;
        facts.queued += queued;
        let Ok(mut lease) = lease else {
            ask.worker.metrics.count(Counter::BackendQueueTimeouts);
            return Err(OriginError::ConnectionLimitReached);
        };
        let started = ask.worker.clock.mono();
        if let Some(connection) = lease.connection(source, started).await {
            server.stats.reused();
            facts.reused = true;
            return Ok(Ready {
                connection,
                lease,
                since: started,
            });
        }
        let keepalive = self.settings.tcp_keepalive.as_ref();
        let connected = server.addresses.connect(ask.limits.connect_timeout, keepalive).await;
        let now = ask.worker.clock.mono();
        let stream = connected.map_err(|failure| self.not_connected(number, &failure, now))?;
        let took = now - started;
        facts.connect = Some(took);
        ask.worker.metrics.observe(Histogram::BackendConnectSeconds, took);
        // `None`: no dependency of ours reads TCP_INFO without unsafe code. Lost SYNs show in the connect times.
        server.stats.connected(took, None);
        if self.standings[number].penalty.clear() {
            info!(origin = self.name(), origin.addr = %server.name, "the server takes connections again");
        }
        Ok(Ready {
            connection: Connection::new(stream),
            lease,
            since: now,
        })
    }

    /// Puts a server that took no connection in penalty, unless the trouble is our own.
    ///
    /// Logged when a server begins to fail, and when trouble of our own was not logged for as long as a penalty lasts.
    fn not_connected(&self, number: usize, failure: &ConnectFailure, now: MonoTime) -> OriginError {
        let (now, server) = (self.since_made(now), &self.servers[number].name);
        let kind = failure.error.word();
        let cause = failure.cause.as_ref();
        let cause = cause.map_or_else(String::new, |(address, cause)| format!("{address}: {cause}"));
        if failure.error == OriginError::ProxyInternalError {
            if self.quiet.set(now + self.penalty) <= now {
                warn!(origin = self.name(), origin.addr = %server, error.kind = kind, cause, "no connection can be made from here");
            }
        } else if self.standings[number].penalty.set(now + self.penalty).is_zero() {
            warn!(origin = self.name(), origin.addr = %server, error.kind = kind, cause, "the server takes no connection");
        }
        failure.error
    }

    fn since_made(&self, now: MonoTime) -> Duration {
        now.saturating_duration_since(self.made)
    }
}

async fn exchange(ready: Ready, ask: &Ask<'_>, body: Body, facts: &mut Facts) -> Result<http::Response<Body>, Failure> {
    let Ready {
        connection,
        lease,
        since,
    } = ready;
    let response = connection.exchange(ask.head, body, ask.limits, lease).await?;
    let took = ask.worker.clock.mono() - since;
    facts.first_byte = Some(took);
    ask.worker.metrics.observe(Histogram::BackendFirstByteSeconds, took);
    Ok(response)
}
