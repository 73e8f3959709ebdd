//! The three legs: a verdict each, and the numbers that stand beside it on the health endpoint.
//!
//! Pure. Counters are those of the whole network namespace; queues and connects are our own.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use super::super::counters::Counter;
use super::super::reading::{Reading, Why};
use super::super::sample::{Leg, Sample, ServerSample, Side};
use super::super::sockets::census::{Census, Half};
use super::super::sockets::entry::State;
use super::cause::Impact;
use super::context::Roles;
use super::finding::Whose;
use super::identity::Identity;
use super::tracker::Tracker;
use super::window::Window;

/// What can be said of a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No handshake is lost, as far as this end sees.
    Healthy,
    /// Nothing is lost, but a risk is open.
    AtRisk,
    /// This machine loses handshakes, and nobody can tell whether they are this leg's.
    Suspect,
    /// Handshakes are lost here.
    Lossy,
    /// It cannot be said, and why.
    Unknown(Why),
    /// This process is at neither end of it.
    Absent,
}

impl Verdict {
    /// One word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::AtRisk => "at-risk",
            Self::Suspect => "suspect",
            Self::Lossy => "lossy",
            Self::Unknown(_) => "unknown",
            Self::Absent => "absent",
        }
    }
}

/// One leg.
#[derive(Clone, Debug, PartialEq)]
pub struct LegReport {
    /// Which.
    pub leg: Leg,
    /// What can be said of it.
    pub verdict: Verdict,
    /// The numbers of its server end, when this process is that.
    pub server: Option<ServerEnd>,
    /// The numbers of its client end, when this process is that.
    pub client: Option<ClientEnd>,
}

/// The last minute at the listening end; `None` is "not known", not 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServerEnd {
    /// Connections that the namespace's listeners made.
    pub passive_opens: Option<u64>,
    /// SYNs and final ACKs that were discarded: ListenDrops without the cookies below.
    pub lost: Option<u64>,
    /// SYN cookies that this kernel counts in ListenDrops although nothing is lost by them.
    pub cookies: u64,
    /// ListenOverflows.
    pub overflows: Option<u64>,
    /// The fullest accept queue: the worst member, not the sum.
    pub worst_queue: Option<WorstQueue>,
    /// Half-open connections on this leg's ports now.
    pub half_open: Option<Half>,
    /// Connections accepted and looked at, and those whose SYN-ACK had been repeated.
    pub accepted: Option<(u64, u64)>,
}

/// The fullest accept queue of a leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorstQueue {
    /// The listener.
    pub listener: String,
    /// The member of its group.
    pub shard: usize,
    /// Connections that wait now.
    pub depth: u32,
    /// The most that waited in the last minute.
    pub peak: u32,
    /// Its limit.
    pub limit: u32,
}

/// The last minute at the connecting end, all servers together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientEnd {
    /// `connect()` calls that ended.
    pub attempts: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those that lost a SYN or SYN-ACK.
    pub lossy: u64,
    /// Local ports taken towards the destination that takes most of them, and how many there are.
    pub local_ports: Option<(u64, u64)>,
    /// Sockets in TIME_WAIT towards all destinations.
    pub time_wait: Option<u64>,
    /// The destinations that take most local ports, these first: [`DESTINATIONS_MAX`] at most.
    pub destinations: Option<Vec<Destination>>,
}

/// One address of a server: it has all local ports for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The backend's name.
    pub backend: Arc<str>,
    /// The server as configured.
    pub server: Arc<str>,
    /// Its address.
    pub address: SocketAddr,
    /// Local ports taken towards it by any program of this namespace, TIME_WAIT included.
    pub local_ports: u64,
    /// Those of them that are held by TIME_WAIT.
    pub time_wait: u64,
}

/// Destinations told of one leg.
pub const DESTINATIONS_MAX: usize = 20;

/// The legs in the order of a request's way; and the machine, when it is all there is or something is wrong with it.
pub(super) fn reports(
    roles: &Roles,
    last: Option<&Sample>,
    window: Option<&Window<'_>>,
    tracker: &Tracker,
) -> Vec<LegReport> {
    let mut legs = Leg::WAY.to_vec();
    let alone = roles.serves.is_empty() && roles.connects.is_empty();
    if alone || tracker.open().any(|open| open.finding.leg == Leg::Machine) {
        legs.push(Leg::Machine);
    }
    legs.into_iter()
        .map(|leg| {
            let serves = roles.serves.contains(&leg) || leg == Leg::Machine;
            let connects = roles.connects.contains(&leg);
            LegReport {
                leg,
                verdict: if serves || connects {
                    verdict(leg, serves, last, window, tracker)
                } else {
                    Verdict::Absent
                },
                server: if serves {
                    window.map(|window| server_end(leg, window))
                } else {
                    None
                },
                client: if connects {
                    window.map(|window| client_end(leg, window))
                } else {
                    None
                },
            }
        })
        .collect()
}

fn verdict(leg: Leg, serves: bool, last: Option<&Sample>, window: Option<&Window<'_>>, tracker: &Tracker) -> Verdict {
    let worst = |leg: Leg| {
        tracker
            .open()
            .filter(|open| open.finding.leg == leg)
            .map(|open| open.finding.impact())
            .max()
    };
    let machine = || {
        tracker
            .open()
            .map(|open| &open.finding)
            .filter(|finding| finding.leg == Leg::Machine && finding.side == Side::Server)
            .filter(|finding| finding.whose != Whose::Others)
    };
    match worst(leg) {
        Some(Impact::Lost) => return Verdict::Lossy,
        _ if serves && machine().any(|finding| finding.impact() == Impact::Lost) => return Verdict::Suspect,
        Some(Impact::Risk) => return Verdict::AtRisk,
        Some(Impact::Harmless) | None => {}
    }
    if serves && let Some(why) = last.and_then(|sample| sample.netstat.why()) {
        return Verdict::Unknown(why);
    }
    if window.is_none() {
        return Verdict::Unknown(Why::NotAsked("there is only a baseline yet"));
    }
    Verdict::Healthy
}

fn server_end(leg: Leg, window: &Window<'_>) -> ServerEnd {
    let listeners = || window.listeners.iter().filter(|listener| listener.last.leg == leg);
    let worst = listeners()
        .filter_map(|listener| Some((listener, listener.last.queue.get()?)))
        .max_by_key(|(listener, queue)| u64::from(listener.depth_peak) * 1000 / (u64::from(queue.limit) + 1));
    let half_open = window.last.half_open.as_ref().ok().map(|half_open| {
        let ports: BTreeSet<u16> = listeners().filter_map(|listener| listener.last.port).collect();
        let mine = half_open
            .by_port
            .iter()
            .filter(|(port, _)| ports.contains(port))
            .map(|(_, half)| *half);
        mine.fold(Half::default(), |sum, half| Half {
            total: sum.total + half.total,
            repeated: sum.repeated + half.repeated,
        })
    });
    let identity = Identity::of(window);
    ServerEnd {
        passive_opens: window.deltas.get(Counter::PassiveOpens),
        lost: identity.map(|identity| identity.lost()),
        cookies: identity.map_or(0, |identity| identity.cookies),
        overflows: window.deltas.get(Counter::ListenOverflows),
        worst_queue: worst.map(|(listener, queue)| WorstQueue {
            listener: listener.last.name.to_string(),
            shard: listener.last.shard,
            depth: queue.depth,
            peak: listener.depth_peak,
            limit: queue.limit,
        }),
        half_open,
        accepted: accepted(leg, window),
    }
}

fn accepted(leg: Leg, window: &Window<'_>) -> Option<(u64, u64)> {
    let now = window.last.accepts.iter().find(|accepts| accepts.leg == leg)?;
    let before = window.first.accepts.iter().find(|accepts| accepts.leg == leg);
    let (all, repeated) = before.map_or((0, 0), |before| (before.accepted, before.synack_repeated));
    Some((
        now.accepted.saturating_sub(all),
        now.synack_repeated.saturating_sub(repeated),
    ))
}

fn client_end(leg: Leg, window: &Window<'_>) -> ClientEnd {
    let mut end = ClientEnd::default();
    let servers = || window.servers.iter().filter(|server| server.last.leg == leg);
    for server in servers() {
        end.attempts += server.counts.attempts;
        end.failed += server.counts.attempts.saturating_sub(server.counts.established);
        end.lossy += server.counts.lossy();
    }
    let Reading::Available(census) = &window.last.census else {
        return end;
    };
    let mut all = destinations(servers().map(|server| server.last), census);
    end.time_wait = Some(all.iter().map(|destination| destination.time_wait).sum());
    end.local_ports = all
        .first()
        .map(|most| most.local_ports)
        .zip(window.last.settings.local_ports());
    all.truncate(DESTINATIONS_MAX);
    end.destinations = Some(all);
    end
}

/// Each address once, whoever names it; those that take most local ports first.
fn destinations<'a>(servers: impl Iterator<Item = &'a ServerSample>, census: &Census) -> Vec<Destination> {
    let mut known = BTreeSet::new();
    let mut all = Vec::new();
    for server in servers {
        let new = server.sockets(census).filter(|(address, _)| known.insert(*address));
        all.extend(new.map(|(address, counts)| Destination {
            backend: Arc::clone(&server.backend),
            server: Arc::clone(&server.server),
            address,
            local_ports: u64::from(counts.connections()),
            time_wait: u64::from(counts.get(State::TimeWait)),
        }));
    }
    all.sort_by_key(|destination| Reverse(destination.local_ports));
    all
}
