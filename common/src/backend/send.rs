//! The conductor: one request to one of a backend's servers, sent again where that is safe.
//!
//! pick → lease → connect where none is idle → exchange → (response | decide → pick …). All branching between the steps is
//! here; what the outcomes mean for a server's standing is `watch`'s. Called by the cache tier towards origins (leg 3) and
//! by the front towards cache servers (leg 2).

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use parking_lot::Mutex;

use super::balance::PENALTY;
use super::budget::{Budget, Retry};
use super::connect::{ConnectOptions, Opening};
use super::ejection::History;
use super::facts::{Facts, Outcome};
use super::hedge::HedgeDelay;
use super::hot::HotKeys;
use super::pool::{Lease, Source};
use super::resolve::Resolved;
use super::retry::{self, Decision, Policy};
use super::seat::{Channel, Ready, Seat, Tenure};
use super::secure::{BackendTls, Security};
use super::server::Server;
use super::services::{self, Service};
use super::settings::{BackendSettings, ExchangeLimits};
use super::standing::{Standing, Until};
use super::stats::ServerSnapshot;
use super::window::Window;
use crate::http::body::Body;
use crate::http::origin_error::OriginError;
use crate::http::outgoing::OutgoingHead;
use crate::http::response::Response;
use crate::http1::client::{Connection, ExchangeError, Failure};
use crate::http2;
use crate::telemetry::metrics::{Counter, Histogram};
use crate::time::{MonoTime, mono_now};
use crate::worker::Worker;

/// A group of servers, one for the whole process.
#[derive(Debug)]
pub struct Backend {
    name: Arc<str>,
    pub(super) settings: BackendSettings,
    pub(super) servers: Box<[Server]>,
    /// Those of the servers that are found by name (SRV).
    pub(super) services: Box<[Service]>,
    /// What picking knows of each server, in the same order.
    pub(super) standings: Box<[Standing]>,
    /// What each server has saved up for its turns; see [`balance::round_robin`].
    pub(super) credits: Mutex<Box<[i64]>>,
    /// Which keys are asked for most, where more than one server is to hold them.
    pub(super) hot: Option<HotKeys>,
    pub(super) budget: Budget,
    /// What is remembered of each server's ejections. One lock, so that no more are ejected than may be.
    pub(super) histories: Mutex<Box<[History]>>,
    /// What all servers came to lately, side by side.
    pub(super) window: Mutex<Window>,
    /// So few servers are well that this is mistrusted; decided by the control thread.
    pub(super) is_panic: AtomicBool,
    /// When a second server is asked as well.
    pub(super) hedge: HedgeDelay,
    pub(super) connect_options: ConnectOptions,
    /// Moments in `standings` are counted from here.
    made: MonoTime,
    /// How long a server that took no connection is skipped; not the constant in tests.
    pub(super) penalty: Duration,
    /// Until when trouble of our own is not logged again.
    pub(super) quiet: Until,
}

/// What stays the same over all attempts.
pub(super) struct Ask<'a> {
    pub(super) head: &'a OutgoingHead,
    pub(super) has_content: bool,
    pub(super) key: u64,
    pub(super) limits: &'a ExchangeLimits,
    pub(super) worker: &'a Worker,
    /// When it is sent, or was sent first where it is hedged.
    pub(super) began: MonoTime,
    /// When all tries have to be over.
    pub(super) until: Option<MonoTime>,
}

impl Backend {
    /// A backend whose servers were found so, used by this many `workers`.
    pub fn new(settings: BackendSettings, resolved: Resolved, workers: usize) -> Self {
        let (servers, services) = services::laid_out(&settings, resolved.addresses, workers);
        let standings = servers
            .iter()
            .map(|server| Standing::new(&server.name(), &settings.servers[server.line]));
        let backend = Self {
            standings: standings.collect(),
            credits: Mutex::new(vec![0; servers.len()].into()),
            name: settings.name.as_str().into(),
            hot: (settings.hot_key_servers > 1).then(|| HotKeys::new(settings.hot_key_rate)),
            budget: Budget::new(settings.retry_budget_percent),
            histories: Mutex::new(vec![History::default(); servers.len()].into()),
            window: Mutex::default(),
            is_panic: AtomicBool::new(false),
            hedge: HedgeDelay::default(),
            connect_options: ConnectOptions::new(&settings),
            servers,
            services,
            settings,
            made: mono_now(),
            penalty: PENALTY,
            quiet: Until::default(),
        };
        for (number, found) in resolved.services.into_iter().enumerate() {
            backend.take_up(number, found);
        }
        backend
    }

    /// Speaks TLS with this to those of its servers that want it.
    #[must_use]
    pub fn with_tls(mut self, tls: &BackendTls) -> Self {
        for server in &mut self.servers {
            if let Some(name) = &tls.names[server.line] {
                server.addresses.security = Security::Tls(Arc::clone(tls.connector()), name.clone());
            }
        }
        self
    }

    /// The configured name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same, to be kept.
    pub fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    /// Sends a request to one of the servers, and again where that is safe.
    ///
    /// `key` is a hash that is the same in every process; only consistent hashing looks at it ([`Self::hash_by`]).
    /// Where the request has a deadline, each server is told how much of it is left.
    /// Dropping the future closes the connection and gives its place to the next in line; so does dropping the body of
    /// the response before its end.
    pub async fn send(
        self: &Arc<Self>,
        head: &mut OutgoingHead,
        body: Body,
        key: u64,
        limits: &ExchangeLimits,
        worker: &Arc<Worker>,
    ) -> Outcome {
        let has_content = !matches!(body, Body::Empty);
        let until = self.until(head, worker);
        let mut facts = Facts::default();
        let mut retries_left = self.settings.retries;
        let (mut source, mut tried) = (Source::Any, Vec::new());
        // "The intermediary considers the next hop to be unavailable" (RFC 9209 §2.3.4): there is nobody to ask.
        let mut result = Err(OriginError::DestinationUnavailable.into());
        let mut unsent = Some(body);
        let mut now = worker.clock.mono();
        let mut next = self.pick(key, &tried, worker, now);
        let mut retry = None;
        while let Some(mut server) = next {
            if let Some(until) = until {
                head.time_left = Some(until.saturating_duration_since(now));
            }
            let ask = Ask {
                head,
                has_content,
                key,
                limits,
                worker,
                began: now,
                until,
            };
            let attempted = match self.hedge_delay(&ask, &facts) {
                None => {
                    let body = unsent.take().unwrap_or_default();
                    self.attempt(server, &ask, body, source, &mut facts).await
                }
                Some(delay) => Box::pin(self.hedged(&mut server, delay, &ask, &mut tried, &mut facts)).await,
            };
            // Counted off before the next one is asked for: it is over.
            drop(retry.take());
            let policy = Policy {
                retry_on: &self.settings.retry_on,
                retries_left,
            };
            let decision;
            (decision, unsent, result) = match attempted {
                Ok(response) => {
                    let decision = retry::decide_response(response.status, has_content, &head.parts.method, policy);
                    (decision, None, Ok(response))
                }
                Err(failure) => {
                    let decision = retry::decide(&failure, facts.reused, &head.parts.method, policy);
                    (decision, failure.body, Err(failure.error))
                }
            };
            if decision == Decision::Fail {
                break;
            }
            now = worker.clock.mono();
            if until.is_some_and(|until| now >= until) {
                break;
            }
            next = if decision == Decision::NewConnection {
                source = Source::New;
                Some(server)
            } else {
                tried.push(server);
                retries_left -= 1;
                let (other, leave) = self.next_server(key, &tried, worker, now).unzip();
                retry = leave;
                other
            };
            if next.is_some() {
                worker.metrics.count(Counter::BackendRetries);
            }
        }
        Outcome { result, unsent, facts }
    }

    /// Another server for a request that is to be sent again, where there is one and the budget lets it.
    fn next_server(&self, key: u64, tried: &[usize], worker: &Worker, now: MonoTime) -> Option<(usize, Retry<'_>)> {
        let other = self.pick(key, tried, worker, now)?;
        let leave = self.budget.take(self.load(), self.since_made(now));
        if leave.is_none() {
            worker.metrics.count(Counter::BackendRetriesRefused);
        }
        Some((other, leave?))
    }

    /// When the answer has to be there: by the settings, and by what the hop before has told.
    pub(super) fn until(&self, head: &OutgoingHead, worker: &Worker) -> Option<MonoTime> {
        let limit = self.settings.deadline.into_iter().chain(head.time_left).min();
        limit.map(|limit| worker.clock.mono() + limit)
    }

    /// Closes idle connections that `worker` used last and that are dead, or idle for longer than `idle_timeout`.
    /// To be called on that worker now and then.
    pub fn sweep(&self, worker: &Worker) {
        let now = worker.clock.mono();
        for server in &self.servers {
            server.pool.sweep(worker.index, now);
        }
    }

    /// All servers as they are now, in the order of the settings; one that is gone for as long as it has something to do.
    pub fn snapshot(&self) -> Vec<ServerSnapshot> {
        let now = self.since_made(mono_now());
        let servers = self.servers.iter().zip(&self.standings);
        servers
            .filter(|(server, standing)| !standing.is_gone() || server.pool.load() > 0)
            .map(|(server, standing)| server.snapshot(standing.state(now)))
            .collect()
    }

    pub(super) fn since_made(&self, now: MonoTime) -> Duration {
        now.saturating_duration_since(self.made)
    }

    pub(super) async fn attempt(
        self: &Arc<Self>,
        number: usize,
        ask: &Ask<'_>,
        body: Body,
        source: Source,
        facts: &mut Facts,
    ) -> Result<Response, Failure> {
        let server = &self.servers[number];
        let started = ask.began;
        server.stats.attempt();
        facts.attempts += 1;
        facts.server = Some(server.name());
        facts.reused = false;
        facts.connect = None;
        facts.tls = None;
        let left = ask.until.map(|until| until.saturating_duration_since(started));
        let limit = self.settings.try_timeout.into_iter().chain(left).min();
        let tried = {
            // Pinned here, so that it is not moved again on its way.
            let work = pin!(self.try_once(number, ask, body, source, facts));
            within(limit, work).await
        };
        let result = match tried {
            Some(result) => result,
            None => Err(out_of_time(ask, facts)),
        };
        result.inspect_err(|failure| {
            let ExchangeError::Origin(error) = failure.error else {
                return;
            };
            server.stats.failed(error);
            if !(facts.reused && retry::is_dead(error)) {
                self.note_failed_try(number, error, started, ask.worker.clock.mono());
            }
        })
    }

    async fn try_once(
        self: &Arc<Self>,
        number: usize,
        ask: &Ask<'_>,
        body: Body,
        source: Source,
        facts: &mut Facts,
    ) -> Result<Response, Failure> {
        match self.connection(number, ask, source, facts).await {
            Ok(ready) => self.exchange(ready, ask, body, facts).await,
            Err(error) => Err(Failure {
                error: error.into(),
                body: Some(body),
                answered: false,
                sent: false,
            }),
        }
    }

    /// A connection to the server: idle until now, or new.
    async fn connection(
        self: &Arc<Self>,
        number: usize,
        ask: &Ask<'_>,
        mut source: Source,
        facts: &mut Facts,
    ) -> Result<Ready, OriginError> {
        let server = &self.servers[number];
        if let Some(multiplex) = server.pool.multiplex() {
            // "HTTP/2 does not support the 101 (Switching Protocols) informational status code" (RFC 9113 §8.6).
            if ask.head.asks_upgrade {
                source = Source::Own;
                if !server.pool.has_room() {
                    multiplex.evict();
                }
            } else if let Some(ready) = Box::pin(self.stream(number, multiplex, ask, source, facts)).await? {
                return Ok(ready);
            }
        }
        let (lease, queued) = server.pool.lease(ask.worker.index, ask.limits.urgency).await;
        facts.queued += queued;
        let Ok(lease) = lease else {
            ask.worker.metrics.count(Counter::BackendQueueTimeouts);
            return Err(OriginError::ConnectionLimitReached);
        };
        let now = if queued.is_zero() {
            ask.began
        } else {
            ask.worker.clock.mono()
        };
        self.connected(number, lease, ask, (source, now), facts).await
    }

    /// The connection of a lease: idle until now, or new.
    pub(super) async fn connected(
        self: &Arc<Self>,
        number: usize,
        mut lease: Lease,
        ask: &Ask<'_>,
        (source, started): (Source, MonoTime),
        facts: &mut Facts,
    ) -> Result<Ready, OriginError> {
        let server = &self.servers[number];
        lease.says(self.introduction(ask.head));
        if let Some(connection) = lease.connection(source, started).await {
            server.stats.reused();
            facts.reused = true;
            return Ok(Ready {
                channel: Channel::Http1(connection),
                seat: Seat::new(Tenure::Whole(lease), self, number),
                since: started,
            });
        }
        let told = |outcome| server.stats.handshake(outcome);
        let opening = Opening {
            timeout: ask.limits.connect_timeout,
            is_http1: source == Source::Own,
            header: self.settings.proxy_protocol.zip(lease.said()),
        };
        // In a box: it is large, and rare.
        let connecting = server.addresses.connect(opening, &self.connect_options, told);
        let connected = Box::pin(connecting).await;
        let now = ask.worker.clock.mono();
        let connected = connected.map_err(|failure| self.note_not_connected(number, &failure, now))?;
        let took = now - started;
        facts.connect = Some(took);
        ask.worker.metrics.observe(Histogram::BackendConnectSeconds, took);
        server.stats.connected(took, connected.syn_retransmits);
        if let Some(handshake) = connected.handshake {
            facts.tls = Some(Box::new(handshake.took));
            server.stats.secured(handshake.is_resumed);
            ask.worker.metrics.observe(Histogram::BackendTlsSeconds, handshake.took);
        }
        self.note_connected(number);
        let (channel, tenure) = match server.pool.multiplex() {
            Some(multiplex) if source != Source::Own && multiplex.is_http2(&connected.stream) => {
                let adopted = multiplex.adopt(connected.stream, lease, ask.worker.index, &server.pool);
                let (client, slot) = Box::pin(adopted).await?;
                (Channel::Http2(client), Tenure::Stream(slot))
            }
            _ => (Channel::Http1(Connection::new(connected.stream)), Tenure::Whole(lease)),
        };
        Ok(Ready {
            channel,
            seat: Seat::new(tenure, self, number),
            since: now,
        })
    }

    async fn exchange(&self, ready: Ready, ask: &Ask<'_>, body: Body, facts: &mut Facts) -> Result<Response, Failure> {
        let Ready { channel, seat, since } = ready;
        let number = seat.server;
        let (response, now) = match channel {
            Channel::Http1(connection) => connection.exchange(ask.head, body, ask.limits, since, seat).await?,
            Channel::Http2(client) => {
                let response = Box::pin(http2::ask::exchange(client, ask.head, body, ask.limits, seat)).await?;
                (response, ask.worker.clock.mono())
            }
        };
        let took = now - since;
        facts.first_byte = Some(took);
        self.note_answered(number, took, now);
        ask.worker.metrics.observe(Histogram::BackendFirstByteSeconds, took);
        Ok(response)
    }
}

/// The result, or `None` when it takes longer than the limit.
async fn within<T>(limit: Option<Duration>, work: impl Future<Output = T>) -> Option<T> {
    match limit {
        Some(limit) => tokio::time::timeout(limit, work).await.ok(),
        None => Some(work.await),
    }
}

/// A try that was given up for its time: its body is gone unless there was none, and what was sent is not known.
fn out_of_time(ask: &Ask<'_>, facts: &Facts) -> Failure {
    let is_connected = facts.reused || facts.connect.is_some();
    let error = if is_connected {
        OriginError::HttpResponseTimeout
    } else {
        OriginError::ConnectionTimeout
    };
    Failure {
        error: error.into(),
        body: (!ask.has_content).then_some(Body::Empty),
        answered: false,
        sent: is_connected,
    }
}
