//! Reads everything at one moment: the thin I/O side of the diagnosis, called by the control thread each second.
//!
//! Cheap things (files, own listeners) are read each time, about 0.3 ms. Walking sockets is paced by what it cost last time,
//! so that each of the two walks takes 0.2 % of one core at most. No thread of its own, no clock but for that pacing.

use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use super::counters::Counters;
use super::pace::Paced;
use super::reading::{Reading, Why};
use super::root::ProcRoot;
use super::sample::{Leg, ListenerSample, Moment, Sample};
use super::sockets::census::{Census, HalfOpen};
use super::sockets::diag::{Diag, DumpLimits};
use super::sockets::entry::{Entry, State, States};
use super::sockets::tcp_info::AcceptQueue;
use super::sockets::{options, proc_tcp, tcp_info};
use super::sockstat::{parse_sockstat, parse_softnet};
use super::sysctl::Sysctls;
use super::tables::{self, Column};
use super::version::KernelVersion;
use crate::time::mono_now;

/// One listening socket of ours, to be looked at.
#[derive(Clone, Debug)]
pub struct OwnListener<'a> {
    /// The leg whose clients it meets.
    pub leg: Leg,
    /// As configured.
    pub name: Arc<str>,
    /// Which member of its `SO_REUSEPORT` group.
    pub shard: usize,
    /// Its TCP port.
    pub port: Option<u16>,
    /// The backlog that was passed to `listen()`; `None` for "as much as there is".
    pub backlog_asked: Option<u32>,
    /// The socket. (A duplicate of the descriptor keeps the listener alive: let go of it when the listener closes.)
    pub socket: BorrowedFd<'a>,
}

/// Which listeners a sample shows.
#[derive(Clone, Copy, Debug)]
pub enum Listeners<'a> {
    /// These.
    Own(&'a [OwnListener<'a>]),
    /// All of the namespace, whoever has opened them: for `tidegate doctor` without a running tidegate.
    All,
}

/// What is kept between two samples: the root, the netlink socket, and when sockets were last counted.
#[derive(Debug)]
pub struct Sampler {
    root: ProcRoot,
    diag: Reading<Diag>,
    limits: DumpLimits,
    servers: Vec<SocketAddr>,
    half_open: Paced<HalfOpen>,
    census: Paced<Census>,
}

const HALF_OPEN_STATES: States = States::of(&[State::SynRecv, State::SynSent]);
const HALF_OPEN_INTERVAL: Duration = Duration::from_secs(1);
/// Addresses that sockets are told apart by.
const SERVERS_MAX: usize = 4096;
const CENSUS_INTERVAL: Duration = Duration::from_secs(10);
const ANOTHER_ROOT: Why = Why::NotAsked("the counters are read from another root than this machine's");

impl Sampler {
    /// A sampler that reads below `root`.
    pub fn new(root: ProcRoot) -> Self {
        // Sockets of this machine must not explain the counters of another.
        let diag = if root.is_live() {
            Reading::from(Diag::open())
        } else {
            Reading::Unavailable(ANOTHER_ROOT)
        };
        Self {
            root,
            diag,
            limits: DumpLimits::default(),
            servers: Vec::new(),
            half_open: Paced::every(HALF_OPEN_INTERVAL),
            census: Paced::every(CENSUS_INTERVAL),
        }
    }

    /// The root it reads below.
    pub fn root(&self) -> &ProcRoot {
        &self.root
    }

    /// The servers towards which sockets are counted, 4,096 at most; replaces those of before.
    pub fn watch_servers(&mut self, servers: impl IntoIterator<Item = SocketAddr>) {
        self.servers.clear();
        self.servers.extend(servers.into_iter().take(SERVERS_MAX));
    }

    /// Reads everything. `accepts`, `connects` and `pauses` of the sample are empty: their owner fills them.
    pub fn sample(&mut self, at: Moment, listeners: Listeners<'_>) -> Sample {
        let mut counters = Counters::default();
        let netstat = self.tables("net/netstat", tables::paired, &mut counters);
        // Close to ListenDrops, whose listeners they are to name.
        let listeners = match listeners {
            Listeners::Own(own) => own.iter().map(|listener| self.look_at(listener)).collect(),
            Listeners::All => self.all_listeners().ok().unwrap_or_default(),
        };
        let snmp = self.tables("net/snmp", tables::paired, &mut counters);
        // Without IPv6 there is no snmp6, and nothing to be said about it.
        let _: Reading<()> = self.tables("net/snmp6", tables::single, &mut counters);
        let parsed = |name: &str| self.root.table(name);
        Sample {
            at,
            namespace: self.root.namespace(),
            kernel: self.root.kernel(),
            uptime: self.root.uptime(),
            counters,
            netstat,
            snmp,
            sockstat: parsed("net/sockstat")
                .and_then(|text| Reading::expect_form(parse_sockstat(&text), "a whole sockstat")),
            softnet: parsed("net/softnet_stat")
                .and_then(|text| Reading::expect_form(parse_softnet(&text), "softnet_stat")),
            settings: Sysctls::read(&self.root),
            half_open: self.count_half_open(),
            census: self.count_all(),
            listeners,
            accepts: Vec::new(),
            connects: Vec::new(),
            pauses: Vec::new(),
        }
    }

    /// All listeners of the namespace, by address; members of an `SO_REUSEPORT` group are numbered by age.
    pub fn all_listeners(&mut self) -> Reading<Vec<ListenerSample>> {
        let mut entries = Vec::new();
        let walked = self.walk(States::of(&[State::Listen]), |entry| entries.push(*entry));
        let kernel = self.root.kernel().ok();
        let counted = kernel.is_none_or(KernelVersion::counts_drops_of_listeners);
        entries.sort_unstable_by_key(|entry| (entry.local, entry.cookie, entry.inode));
        walked.map(|_| {
            let mut samples: Vec<ListenerSample> = Vec::with_capacity(entries.len());
            for entry in &entries {
                let name = entry.local.to_string();
                let shard = samples.iter().rev().take_while(|other| *other.name == *name).count();
                let drops = entry.drops.filter(|_| counted);
                samples.push(listener_sample(&Entry { drops, ..*entry }, Arc::from(name), shard));
            }
            samples
        })
    }

    /// All columns of netstat, snmp and snmp6 as they stand, for display: table, column, value.
    pub fn raw_counters(&self) -> Vec<(String, String, i128)> {
        let own = |column: &Column<'_>| (column.table.to_owned(), column.name.to_owned(), column.value);
        let mut all = Vec::new();
        for (name, parse) in [
            ("net/netstat", tables::paired as fn(&str) -> Vec<Column<'_>>),
            ("net/snmp", tables::paired),
            ("net/snmp6", tables::single),
        ] {
            if let Reading::Available(text) = self.root.table(name) {
                all.extend(parse(&text).iter().map(own));
            }
        }
        all
    }

    fn tables(&self, name: &str, parse: fn(&str) -> Vec<Column<'_>>, counters: &mut Counters) -> Reading<()> {
        self.root.table(name).and_then(|text| {
            let known = counters.take(&parse(&text));
            Reading::expect_form((known > 0).then_some(()), "a table with a known column")
        })
    }

    fn look_at(&self, listener: &OwnListener<'_>) -> ListenerSample {
        let live = self.root.is_live();
        let socket = listener.socket;
        ListenerSample {
            leg: listener.leg,
            name: Arc::clone(&listener.name),
            shard: listener.shard,
            port: listener.port,
            backlog_asked: listener.backlog_asked,
            queue: if live {
                tcp_info::accept_queue(socket).into()
            } else {
                Reading::Unavailable(ANOTHER_ROOT)
            },
            waiting: None,
            drops: if live {
                options::drops(socket).into()
            } else {
                Reading::Unavailable(ANOTHER_ROOT)
            },
            cookie: options::cookie(socket).into(),
        }
    }

    fn count_half_open(&mut self) -> Reading<Arc<HalfOpen>> {
        let started = mono_now();
        if !self.half_open.due(started) {
            return self.half_open.last.clone();
        }
        let mut count = HalfOpen::default();
        let walked = self.walk(HALF_OPEN_STATES, |entry| count.count(entry));
        self.half_open
            .keep(started, walked.map(|complete| HalfOpen { complete, ..count }))
    }

    fn count_all(&mut self) -> Reading<Arc<Census>> {
        let started = mono_now();
        if !self.census.due(started) {
            return self.census.last.clone();
        }
        let mut count = Census::watching(self.servers.iter().copied());
        let walked = self.walk(States::ALL, |entry| count.count(entry));
        self.census
            .keep(started, walked.map(|complete| Census { complete, ..count }))
    }

    /// Shows `visit` the sockets in `states`; gives whether these were all.
    fn walk(&mut self, states: States, mut visit: impl FnMut(&Entry)) -> Reading<bool> {
        let mut seen = false;
        if let Reading::Available(diag) = &mut self.diag {
            let dump = diag.dump(states, self.limits, |entry| {
                seen = true;
                visit(entry);
            });
            // Refused before the first socket: the text is left. Later: nothing may be counted twice.
            if dump.is_ok() || seen {
                return Reading::from(dump).map(|dump| dump.complete);
            }
        }
        let sockets = self.root.table_up_to("net/tcp", proc_tcp::BYTES_MAX);
        let sockets6 = self.root.table_up_to("net/tcp6", proc_tcp::BYTES_MAX);
        sockets.map(|text| {
            let text6 = sockets6.ok();
            for text in [Some(&text), text6.as_ref()].into_iter().flatten() {
                proc_tcp::parse(text, |entry| {
                    if states.contains(entry.state) {
                        visit(entry);
                    }
                });
            }
            true
        })
    }
}

fn listener_sample(entry: &Entry, name: Arc<str>, shard: usize) -> ListenerSample {
    let absent = Reading::Unavailable(Why::Absent);
    // /proc/net/tcp knows neither the limit nor the cookie.
    let known = entry.cookie != 0;
    ListenerSample {
        leg: Leg::Machine,
        name,
        shard,
        port: Some(entry.local.port()),
        backlog_asked: None,
        queue: if known {
            Reading::Available(AcceptQueue {
                depth: entry.receive_queue,
                limit: entry.send_queue,
            })
        } else {
            absent.map(|(): ()| AcceptQueue { depth: 0, limit: 0 })
        },
        waiting: (!known).then_some(entry.receive_queue),
        drops: entry
            .drops
            .map_or(Reading::Unavailable(Why::Absent), Reading::Available),
        cookie: if known {
            Reading::Available(entry.cookie)
        } else {
            Reading::Unavailable(Why::Absent)
        },
    }
}

#[cfg(test)]
#[path = "sampler_tests.rs"]
mod tests;
