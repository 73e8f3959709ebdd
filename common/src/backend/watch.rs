//! What becomes of a server for what requests to it came to, and for what operators order.
//!
//! Each change of a server's state is logged once and counted here. Called by `send` as things happen, by `control` now and
//! then, and by the admin API.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tracing::{info, warn};

use super::connect::ConnectFailure;
use super::ejection;
use super::resolve::SocketAddrOrUnix;
use super::send::Backend;
use super::server::Server;
use super::standing::{Order, ServerState};
use super::window::Totals;
use crate::http::origin_error::OriginError;
use crate::time::{MonoTime, mono_now};

/// There is no such server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such server")]
pub struct NoSuchServer;

impl Backend {
    /// Does what an operator wants of the server that is configured as `server`; what he wanted before.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn order(&self, server: &str, order: Order, now: MonoTime) -> Result<Order, NoSuchServer> {
        let number = self
            .servers
            .iter()
            .zip(&self.standings)
            .position(|(known, standing)| &*known.name() == server && !standing.is_gone())
            .ok_or(NoSuchServer)?;
        let (standing, server) = (&self.standings[number], &self.servers[number]);
        let before = standing.set_order(order);
        if before == order {
            return Ok(before);
        }
        match order {
            Order::Ready => {
                standing.ejected.clear();
                standing.penalty.clear();
                self.come_back(number, now);
            }
            Order::Drain => {
                server.stats.entered(ServerState::Draining);
                server.pool.retire();
            }
            Order::Down => {
                server.stats.entered(ServerState::Down);
                server.pool.retire();
            }
        }
        info!(origin = self.name(), origin.addr = %server.name(), order = order.word(), "an operator's order");
        Ok(before)
    }

    /// The head of a response came after this time.
    pub(super) fn note_answered(&self, number: usize, took: Duration, now: MonoTime) {
        self.standings[number].latency.observe(took, self.since_made(now));
        if let Some(times) = &self.servers[number].times {
            times.observe(took);
        }
    }

    /// A server answered as it should.
    pub(super) fn note_success(&self, number: usize) {
        let failures = &self.servers[number].failures_in_a_row;
        // Read first: the common case must not write to a line that all workers read.
        if failures.load(Ordering::Relaxed) != 0 {
            failures.store(0, Ordering::Relaxed);
        }
    }

    /// A try gave no response. Trouble of our own is not the server's.
    pub(super) fn note_failed_try(&self, number: usize, error: OriginError, started: MonoTime, now: MonoTime) {
        if matches!(
            error,
            OriginError::ProxyInternalError | OriginError::ConnectionLimitReached
        ) {
            return;
        }
        // A server that fails fast must not look fast.
        let took = now.saturating_duration_since(started).max(self.penalty);
        self.standings[number].latency.observe(took, self.since_made(now));
        self.note_failure(number, error.word(), now);
    }

    /// A try failed, or its body did, or its response says so.
    pub(super) fn note_failure(&self, number: usize, why: &str, now: MonoTime) {
        let server = &self.servers[number];
        server.stats.blamed();
        let in_a_row = server
            .failures_in_a_row
            .fetch_add(1, Ordering::Relaxed)
            .saturating_add(1);
        let limit = self.settings.ejection.failures;
        if limit > 0 && in_a_row >= limit {
            self.eject(number, self.since_made(now), why);
        }
    }

    /// Puts a server that took no connection in penalty, unless the trouble is our own.
    ///
    /// Logged when a server begins to fail, and when trouble of our own was not logged for as long as a penalty lasts.
    pub(super) fn note_not_connected(&self, number: usize, failure: &ConnectFailure, now: MonoTime) -> OriginError {
        let (now, server) = (self.since_made(now), &self.servers[number]);
        let (addr, kind) = (server.name(), failure.error.word());
        let cause = failure.cause.as_ref();
        let cause = cause.map_or_else(String::new, |(address, cause)| format!("{address}: {cause}"));
        if failure.error == OriginError::ProxyInternalError {
            if self.quiet.set(now + self.penalty) <= now {
                warn!(origin = self.name(), origin.addr = %addr, error.kind = kind, cause, "no connection can be made from here");
            }
        } else if self.standings[number].penalty.set(now + self.penalty).is_zero() {
            server.stats.entered(ServerState::Refusing);
            warn!(origin = self.name(), origin.addr = %addr, error.kind = kind, cause, "the server takes no connection");
        }
        failure.error
    }

    pub(super) fn note_connected(&self, number: usize) {
        if self.standings[number].penalty.clear() {
            let server = self.servers[number].name();
            self.standings[number].joined.set(self.since_made(mono_now()));
            info!(origin = self.name(), origin.addr = %server, "the server takes connections again");
        }
    }

    /// A server's health checks have come to another conclusion.
    pub(super) fn note_health(&self, number: usize, is_healthy: bool, why: &str, now: MonoTime) {
        if !self.standings[number].set_unhealthy(!is_healthy) {
            return;
        }
        let server = &self.servers[number];
        if is_healthy {
            self.come_back(number, now);
            info!(origin = self.name(), origin.addr = %server.name(), "the server is healthy again");
        } else {
            server.stats.entered(ServerState::Unhealthy);
            warn!(origin = self.name(), origin.addr = %server.name(), why, "the server's health checks fail");
        }
    }

    /// A name was resolved again: connections go to these addresses from now on, and those to addresses that are gone end
    /// when what runs on them has.
    pub(super) fn note_addresses(&self, number: usize, found: Vec<SocketAddrOrUnix>) {
        let server = &self.servers[number];
        if server.resolve_error.lock().take().is_some() {
            info!(origin = self.name(), origin.addr = %server.name(), "the name is resolved again");
        }
        let known = server.addresses.all();
        if known.len() == found.len() && found.iter().all(|address| known.contains(address)) {
            return;
        }
        let shown: Vec<String> = found.iter().map(ToString::to_string).collect();
        if !server.addresses.replace(found).is_empty() {
            server.pool.retire();
        }
        info!(origin = self.name(), origin.addr = %server.name(), addresses = shown.join(", "), "the server has other addresses");
    }

    /// A name could not be resolved again: its last good addresses stay.
    pub(super) fn note_unresolved(&self, number: usize, why: String) {
        let server = &self.servers[number];
        server.stats.unresolved();
        let mut last = server.resolve_error.lock();
        if last.is_none() {
            warn!(origin = self.name(), origin.addr = %server.name(), why, "the name cannot be resolved; its last addresses stay");
        }
        *last = Some(why);
    }

    /// What is due: servers whose ejection is over come back, and outliers are ejected.
    pub(super) fn tick(&self, now: MonoTime) {
        let since_made = self.since_made(now);
        for (number, (server, standing)) in self.servers.iter().zip(&self.standings).enumerate() {
            if standing.ejected.get().is_some_and(|until| until <= since_made) && standing.ejected.clear() {
                self.come_back(number, now);
                info!(origin = self.name(), origin.addr = %server.name(), "the server's ejection is over");
            }
        }
        let totals = || self.servers.iter().map(Server::totals).collect();
        let outliers = self.window.lock().outliers(since_made, &self.settings.ejection, totals);
        for (number, outlier) in outliers {
            self.eject(number, since_made, outlier.word());
        }
        self.note_panic(since_made);
        if let Some(hot) = &self.hot {
            hot.halve();
        }
        if self.settings.hedge_percentile > 0 {
            let times = self
                .servers
                .iter()
                .filter_map(|server| Some(server.times.as_ref()?.counts()));
            let all = times.reduce(|all, of_server| all.plus(&of_server)).unwrap_or_default();
            self.hedge.learn(all, self.settings.hedge_percentile);
        }
    }

    /// Whether too few servers are well for that to be believed.
    fn note_panic(&self, now: Duration) {
        let states = || self.standings.iter().map(|standing| standing.state(now));
        let counted = states()
            .filter(|state| !matches!(state, ServerState::Down | ServerState::Draining | ServerState::Gone))
            .count();
        let well = states()
            .filter(|state| matches!(state, ServerState::Up | ServerState::Refusing))
            .count();
        let is_panic = ejection::is_panic(well, counted, self.settings.panic_percent);
        if self.is_panic.swap(is_panic, Ordering::Relaxed) == is_panic {
            return;
        }
        if is_panic {
            warn!(
                origin = self.name(),
                well,
                servers = counted,
                "too few servers are well, all are asked alike"
            );
        } else {
            info!(
                origin = self.name(),
                well,
                servers = counted,
                "enough servers are well again"
            );
        }
    }

    /// Leaves a server alone for a while, where one more may be left alone.
    fn eject(&self, number: usize, now: Duration, why: &str) {
        let (server, standing) = (&self.servers[number], &self.standings[number]);
        let mut histories = self.histories.lock();
        let ejected = self
            .standings
            .iter()
            .filter(|standing| standing.ejected.is_ahead(now))
            .count();
        let there = self.standings.iter().filter(|standing| !standing.is_gone()).count();
        let is_ejected = standing.ejected.is_ahead(now);
        if is_ejected || !ejection::has_room(ejected, there, &self.settings.ejection) {
            return;
        }
        let until = histories[number].eject(now, &self.settings.ejection);
        standing.ejected.set(until);
        server.failures_in_a_row.store(0, Ordering::Relaxed);
        server.stats.entered(ServerState::Ejected);
        let seconds = (until - now).as_secs_f64();
        warn!(origin = self.name(), origin.addr = %server.name(), why, seconds, "the server fails requests and is ejected");
    }

    /// The server gets its share again, by and by.
    pub(super) fn come_back(&self, number: usize, now: MonoTime) {
        // The moment of making stands for "never away", so a server that comes back at once is one step later.
        let now = self.since_made(now).max(Duration::from_micros(1));
        self.standings[number].back.set(now);
        self.standings[number].joined.set(now);
        self.servers[number].failures_in_a_row.store(0, Ordering::Relaxed);
        self.servers[number].stats.entered(ServerState::Up);
    }
}

impl Server {
    fn totals(&self) -> Totals {
        Totals {
            tries: self.stats.attempts(),
            failures: self.stats.blamed_so_far(),
            times: self.times.as_ref().map(|times| Box::new(times.counts())),
        }
    }
}
