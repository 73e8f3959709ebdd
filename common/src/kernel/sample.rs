//! Everything that is known at one moment: the input of the diagnosis.
//!
//! Filled by `sampler.rs` from the kernel; the owner of the accept loops and backends adds what it counted itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::connects::ConnectCounts;
use super::counters::Counters;
use super::reading::Reading;
use super::sockets::census::{Census, HalfOpen, StateCounts};
use super::sockets::tcp_info::AcceptQueue;
use super::sockstat::{Sockstat, Softnet};
use super::sysctl::Sysctls;
use super::version::KernelVersion;
use crate::time::{Clock, MonoTime, WallTime};

/// One moment, by both clocks: lengths are taken from the monotonic one, so that a jump of the wall clock changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// For lengths of time.
    pub mono: MonoTime,
    /// For people.
    pub wall: WallTime,
}

impl Moment {
    /// Now.
    pub fn now(clock: &Clock) -> Self {
        Self {
            mono: clock.mono(),
            wall: clock.wall(),
        }
    }

    /// How long after `earlier` this is; zero when it is not after.
    pub fn since(self, earlier: Self) -> Duration {
        self.mono.saturating_duration_since(earlier.mono)
    }
}

/// A stretch of the way from clients to origins on which handshakes are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Leg {
    /// Leg 1: clients connect to the front.
    ClientFront,
    /// Leg 2: the front connects to a cache server.
    FrontCache,
    /// Leg 3: the cache tier connects to an origin.
    CacheOrigin,
    /// No leg of ours: another program of this network namespace, or nobody can tell whose.
    Machine,
}

impl Leg {
    /// The three legs in the order of a request's way.
    pub const WAY: [Self; 3] = [Self::ClientFront, Self::FrontCache, Self::CacheOrigin];

    /// One word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::ClientFront => "client-front",
            Self::FrontCache => "front-cache",
            Self::CacheOrigin => "cache-origin",
            Self::Machine => "machine",
        }
    }
}

/// Which end of a leg this process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// It listens.
    Server,
    /// It connects.
    Client,
}

impl Side {
    /// One word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
        }
    }
}

/// One listening socket: one member of an `SO_REUSEPORT` group where there are several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSample {
    /// The leg whose clients it meets.
    pub leg: Leg,
    /// As configured; the same for all members of a group.
    pub name: Arc<str>,
    /// Which member, from 0; the number of its worker.
    pub shard: usize,
    /// Its TCP port.
    pub port: Option<u16>,
    /// The backlog that was passed to `listen()`; `None` for "as much as there is".
    pub backlog_asked: Option<u32>,
    /// Its accept queue.
    pub queue: Reading<AcceptQueue>,
    /// Connections that wait for `accept()`, where only that is known of the queue (`/proc/net/tcp` has no limit).
    pub waiting: Option<u32>,
    /// `sk_drops`: says which listener loses, never how much (HANDSHAKE §3).
    pub drops: Reading<u32>,
    /// What names the socket for its life.
    pub cookie: Reading<u64>,
}

/// What the accept loops of one leg have counted since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptSample {
    /// The leg.
    pub leg: Leg,
    /// Connections taken whose `TCP_INFO` was read.
    pub accepted: u64,
    /// Of these, those whose SYN-ACK had been repeated.
    pub synack_repeated: u64,
}

/// What was counted about one server that we connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSample {
    /// The leg.
    pub leg: Leg,
    /// The backend's configured name.
    pub backend: Arc<str>,
    /// The server as configured.
    pub server: Arc<str>,
    /// Where it is, to count the local ports that each of its addresses takes; none on a unix socket.
    pub addresses: Vec<SocketAddr>,
    /// All connects since the start.
    pub counts: ConnectCounts,
}

impl ServerSample {
    /// The sockets towards each of its addresses, where these were counted.
    pub fn sockets<'a>(&'a self, census: &'a Census) -> impl Iterator<Item = (SocketAddr, &'a StateCounts)> {
        let counted = |address: &SocketAddr| Some((*address, census.by_server.get(address)?));
        self.addresses.iter().filter_map(counted)
    }

    /// The sockets towards the address that takes most local ports: each address has all of these for itself.
    pub fn busiest<'a>(&'a self, census: &'a Census) -> Option<&'a StateCounts> {
        let counts = self.sockets(census).map(|(_, counts)| counts);
        counts.max_by_key(|counts| counts.connections())
    }
}

/// Everything that is known at one moment.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When.
    pub at: Moment,
    /// The network namespace whose counters these are.
    pub namespace: Reading<String>,
    /// The kernel.
    pub kernel: Reading<KernelVersion>,
    /// Time since boot.
    pub uptime: Reading<Duration>,
    /// The counters of netstat, snmp and snmp6.
    pub counters: Counters,
    /// Whether netstat could be read; without it nothing can be said about lost handshakes.
    pub netstat: Reading<()>,
    /// Whether snmp could be read.
    pub snmp: Reading<()>,
    /// Totals of sockets.
    pub sockstat: Reading<Sockstat>,
    /// Packets lost at the CPUs' queues, of the whole machine.
    pub softnet: Reading<Softnet>,
    /// The settings.
    pub settings: Sysctls,
    /// Half-open connections; not counted anew with each sample when that is dear.
    pub half_open: Reading<Arc<HalfOpen>>,
    /// Sockets by state; counted anew every ten seconds at most.
    pub census: Reading<Arc<Census>>,
    /// Listeners.
    pub listeners: Vec<ListenerSample>,
    /// What the accept loops counted; empty where nobody counts.
    pub accepts: Vec<AcceptSample>,
    /// What the backends counted; empty where nobody connects.
    pub connects: Vec<ServerSample>,
    /// By worker: the longest time in which it did not run, since the sample before; one that goes on included.
    pub pauses: Vec<Duration>,
}
