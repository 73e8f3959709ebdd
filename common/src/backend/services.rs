//! Servers that a service has (SRV), looked up again when the TTL is over; on the control thread.
//!
//! Each service has a fixed number of places among the servers of its backend. A server that joins gets a free one, one
//! that is gone gets no further requests and loses its connections when what runs on them has ended; all others stay as
//! they are. The last good answer stays while the look-up fails.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tracing::{info, warn};

use super::dns;
use super::ejection::History;
use super::names::{in_order, pause_after, retry_after};
use super::resolve::SocketAddrOrUnix;
use super::send::Backend;
use super::server::Server;
use super::settings::{BackendSettings, ServerAddress};
use super::srv::{self, Berth, Member};
use crate::time::{MonoTime, mono_now};

/// One service of a backend.
#[derive(Debug)]
pub(super) struct Service {
    /// As configured.
    pub(super) name: Arc<str>,
    /// What is asked for.
    query: String,
    /// Its places among the servers.
    berths: Range<usize>,
    /// What its group is added to.
    group: u8,
    /// Why it could not be looked up, last time.
    error: Mutex<Option<String>>,
    failures: AtomicU64,
    left_out: AtomicUsize,
    /// How long the last look-up took, its failure too.
    look_up_time: Mutex<Option<Duration>>,
}

/// One service at one moment.
#[derive(Clone, Debug)]
pub struct ServiceSnapshot {
    /// The service as configured.
    pub name: Arc<str>,
    /// Servers that it has now.
    pub servers: usize,
    /// Servers that it has and that are not asked: there is no place for them.
    pub left_out: usize,
    /// How often it could not be looked up again.
    pub unresolved: u64,
    /// Why, where that failed last; its servers are those of the last good answer then.
    pub resolve_error: Option<String>,
    /// How long the last look-up took, its failure too; not known before the first one beside the requests.
    pub look_up_time: Option<Duration>,
}

/// Keeps the servers of a service fresh for as long as it is polled.
pub(super) async fn watch<F: Future<Output = Result<dns::Service, String>>>(
    backend: Arc<Backend>,
    number: usize,
    look_up: impl Fn(String) -> F,
) {
    let service = &backend.services[number];
    let mut failures = 0;
    loop {
        let started = mono_now();
        let answer = look_up(service.query.clone()).await;
        *service.look_up_time.lock() = Some(mono_now() - started);
        let pause = match answer {
            Ok(found) => {
                let ttl = pause_after(found.ttl);
                if backend.note_service(number, found, mono_now()) {
                    failures = 0;
                    ttl
                } else {
                    // A place gets free when what runs there has ended, an address is found when its name server answers.
                    ttl.min(retry_after(&mut failures))
                }
            }
            Err(why) => {
                backend.note_unknown_service(number, why);
                retry_after(&mut failures)
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// All servers of these settings, a service with as many places as it may have servers; and the services.
pub(super) fn laid_out(
    settings: &BackendSettings,
    addresses: Vec<Vec<SocketAddrOrUnix>>,
    workers: usize,
) -> (Box<[Server]>, Box<[Service]>) {
    let (mut servers, mut services) = (Vec::new(), Vec::new());
    let mut addresses = addresses.into_iter();
    for (line, configured) in settings.servers.iter().enumerate() {
        let addresses = addresses.next().unwrap_or_default();
        let ServerAddress::Service(query) = &configured.address else {
            servers.push(Server::new(settings, line, addresses, workers));
            continue;
        };
        let berths = servers.len()..servers.len() + settings.service_servers_max;
        servers.extend(berths.clone().map(|_| Server::new(settings, line, Vec::new(), workers)));
        services.push(Service {
            name: configured.address.to_string().into(),
            query: query.clone(),
            berths,
            group: configured.group,
            error: Mutex::default(),
            failures: AtomicU64::new(0),
            left_out: AtomicUsize::new(0),
            look_up_time: Mutex::default(),
        });
    }
    (servers.into(), services.into())
}

impl Backend {
    /// All services as they are now, in the order of the settings.
    pub fn services(&self) -> Vec<ServiceSnapshot> {
        let snapshot = |service: &Service| ServiceSnapshot {
            name: Arc::clone(&service.name),
            servers: service.berths.clone().filter(|i| !self.standings[*i].is_gone()).count(),
            left_out: service.left_out.load(Ordering::Relaxed),
            unresolved: service.failures.load(Ordering::Relaxed),
            resolve_error: service.error.lock().clone(),
            look_up_time: *service.look_up_time.lock(),
        };
        self.services.iter().map(snapshot).collect()
    }

    /// The servers that a service has at the start: none of them is new.
    pub(super) fn take_up(&self, number: usize, found: dns::Service) {
        let before = self.members(number);
        self.seat(number, found, |_| ());
        self.tell_change(number, &before);
    }

    /// A service was looked up again; whether each of its servers has a place and an address now.
    fn note_service(&self, number: usize, found: dns::Service, now: MonoTime) -> bool {
        let service = &self.services[number];
        if service.error.lock().take().is_some() {
            info!(origin = self.name(), service = %service.name, "the service is looked up again");
        }
        let before = self.members(number);
        let is_whole = self.seat(number, found, |server| self.come_back(server, now));
        self.tell_change(number, &before);
        is_whole
    }

    /// A service could not be looked up: the servers of the last good answer stay.
    fn note_unknown_service(&self, number: usize, why: String) {
        let service = &self.services[number];
        service.failures.fetch_add(1, Ordering::Relaxed);
        let mut last = service.error.lock();
        if last.is_none() {
            warn!(origin = self.name(), service = %service.name, why, "the service cannot be looked up; its last servers stay");
        }
        *last = Some(why);
    }

    /// Gives each server of the service its place; `joined` hears of those that were not there before. Whether each has one,
    /// and an address.
    fn seat(&self, number: usize, found: dns::Service, joined: impl Fn(usize)) -> bool {
        let service = &self.services[number];
        let elsewhere = self.names_without(service);
        let (members, others): (Vec<_>, Vec<_>) = found
            .members
            .into_iter()
            .partition(|(member, _)| !elsewhere.contains(&member.name()));
        let names: Vec<String> = members.iter().map(|(member, _)| member.name()).collect();
        for i in service.berths.clone() {
            if !names.contains(&self.servers[i].name().to_string()) && self.standings[i].leave() {
                self.servers[i].pool.retire();
            }
        }
        let berths: Vec<Berth> = service.berths.clone().map(|i| self.berth(i)).collect();
        let mut without = 0;
        for ((member, addresses), berth) in members.into_iter().zip(srv::berths(&berths, &names)) {
            let Some(server) = berth.map(|berth| service.berths.start + berth) else {
                without += 1;
                continue;
            };
            let is_seated = self.install(server, &member, service.group, addresses, &joined);
            without += usize::from(!is_seated);
        }
        let left_out = without + found.left_out + others.len();
        if service.left_out.swap(left_out, Ordering::Relaxed) == 0 && left_out > 0 {
            warn!(origin = self.name(), service = %service.name, left_out, "not all servers of the service are asked: they are too many, have no address, or are configured besides");
        }
        without == 0
    }

    /// A server gets its place, or stays there; whether it has one then: not without an address.
    fn install(
        &self,
        number: usize,
        member: &Member,
        group: u8,
        addresses: Result<Vec<IpAddr>, String>,
        joined: &impl Fn(usize),
    ) -> bool {
        let (server, standing) = (&self.servers[number], &self.standings[number]);
        let name = member.name();
        let is_known = *server.name() == *name;
        let addresses = addresses.and_then(|found| match found.is_empty() {
            true => Err("the answer is empty".to_owned()),
            false => Ok(in_order(found, member.port)),
        });
        let addresses = match addresses {
            Ok(addresses) => addresses,
            Err(why) if is_known => {
                self.note_unresolved(number, why);
                standing.take_share(member.weight, group.saturating_add(member.group));
                return !standing.is_gone();
            }
            Err(_) => return false,
        };
        if is_known {
            self.note_addresses(number, addresses);
        } else {
            server.rename(&name, addresses);
            standing.rename(&name);
            self.histories.lock()[number] = History::default();
            self.credits.lock()[number] = 0;
        }
        standing.take_share(member.weight, group.saturating_add(member.group));
        if standing.is_gone() {
            joined(number);
            standing.arrive();
        }
        true
    }

    /// The place of a server, as it is shared out.
    fn berth(&self, number: usize) -> Berth {
        let (server, standing) = (&self.servers[number], &self.standings[number]);
        Berth {
            name: server.name().to_string(),
            is_idle: standing.is_gone() && server.pool.load() == 0,
        }
    }

    /// What the servers are called that the service has now.
    fn members(&self, number: usize) -> Vec<Arc<str>> {
        let berths = self.services[number].berths.clone();
        let mut names: Vec<Arc<str>> = berths
            .filter(|i| !self.standings[*i].is_gone())
            .map(|i| self.servers[i].name())
            .collect();
        names.sort_unstable();
        names
    }

    /// What all other servers are called: nobody is asked twice as often for being named twice.
    fn names_without(&self, service: &Service) -> Vec<String> {
        let others = (0..self.servers.len()).filter(|i| !service.berths.contains(i) && !self.standings[*i].is_gone());
        others.map(|i| self.servers[i].name().to_string()).collect()
    }

    fn tell_change(&self, number: usize, before: &[Arc<str>]) {
        let now = self.members(number);
        if now != before {
            let servers = now.join(", ");
            info!(origin = self.name(), service = %self.services[number].name, servers, "the service has these servers");
        }
    }
}

#[cfg(test)]
mod tests;
