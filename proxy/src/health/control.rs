//! Once a second: looks at the kernel and our own sockets, diagnoses, and says what changed.
//!
//! Called by the main thread, which otherwise waits for signals: no worker is ever held up. A look takes about a
//! millisecond and blocks; walks over many sockets are paced by the sampler.

use std::fs::File;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::backend::{Backend, ServerSnapshot, SocketAddrOrUnix};
use common::kernel::diagnosis::Observed;
use common::kernel::diagnosis::tracker::{Change, Event};
use common::kernel::preflight::finding::{Finding, Severity};
use common::kernel::preflight::{Drift, PreflightContext, drift};
use common::kernel::sample::{AcceptSample, Leg, Moment, Sample, ServerSample};
use common::kernel::sampler::{Listeners, OwnListener, Sampler};
use common::net::accept::canonical;
use common::net::listener::Bound;
use common::time::{Clock, mono_now};
use common::worker::Worker;
use tracing::{info, warn};

use super::shedding::Shedding;
use super::{Health, plan};

/// What is looked at, and where it is written down.
pub struct Control {
    /// Where it is written down.
    pub health: Arc<Health>,
    /// How often it is looked.
    pub every: Duration,
    /// What the configuration wants of the machine.
    pub context: PreflightContext,
    /// Listeners by leg.
    pub listeners: Vec<(Leg, Arc<Bound>)>,
    /// The workers that serve.
    pub workers: Vec<Arc<Worker>>,
    /// Backends by leg.
    pub backends: Vec<(Leg, Arc<Backend>)>,
    /// Whether new connections are welcome.
    pub shedding: Shedding,
    sampler: Sampler,
    /// A descriptor kept for the look: when connections have taken all others, accept queues overflow, and just then the
    /// kernel's files must be readable. A worker may snatch it meanwhile; it is taken back when one is free.
    reserve: Option<File>,
}

impl Control {
    /// Ready to look.
    pub fn new(
        health: Arc<Health>,
        every: Duration,
        context: PreflightContext,
        listeners: Vec<(Leg, Arc<Bound>)>,
        workers: Vec<Arc<Worker>>,
        backends: Vec<(Leg, Arc<Backend>)>,
        shedding: Shedding,
    ) -> Self {
        let sampler = Sampler::new(health.root.clone());
        let reserve = File::open("/dev/null").ok();
        Self {
            health,
            every,
            context,
            listeners,
            workers,
            backends,
            shedding,
            sampler,
            reserve,
        }
    }

    /// Looks once.
    pub fn look(&mut self) {
        drop(self.reserve.take());
        self.shedding.look(&self.health, self.to_servers());
        let sample = self.sample();
        let settings = plan::preflight(&self.health.root, &self.context);
        self.reserve = File::open("/dev/null").ok();
        let (changed, observed) = {
            let mut state = self.health.lock();
            let changed = drift(&state.settings, &settings);
            state.settings = settings;
            state.looks += 1;
            (changed, state.engine.observe(sample))
        };
        tell_drift(&changed);
        tell(&observed);
    }

    fn sample(&mut self) -> Sample {
        let connects = self.connects();
        self.sampler
            .watch_servers(connects.iter().flat_map(|server| server.addresses.iter().copied()));
        let at = Moment::now(&Clock::System);
        // Held while the sample is taken, so that no listener closes under it.
        let looks: Vec<_> = self
            .listeners
            .iter()
            .flat_map(|(leg, bound)| shards(*leg, bound))
            .collect();
        let own: Vec<_> = looks.iter().map(OwnSocket::borrow).collect();
        let mut sample = self.sampler.sample(at, Listeners::Own(&own));
        sample.accepts = accepts(&self.listeners);
        sample.connects = connects;
        let pauses = self.workers.iter().map(|worker| worker.pulse.longest_gap(mono_now()));
        sample.pauses = pauses.collect();
        sample
    }

    /// Connections to servers that are open.
    fn to_servers(&self) -> u64 {
        let servers = self.backends.iter().flat_map(|(_, backend)| backend.snapshot());
        servers.map(|server| (server.busy + server.idle) as u64).sum()
    }

    fn connects(&self) -> Vec<ServerSample> {
        let of = |(leg, backend): &(Leg, Arc<Backend>)| {
            let (leg, name): (Leg, Arc<str>) = (*leg, Arc::from(backend.name()));
            let servers = backend.snapshot().into_iter();
            servers
                .map(move |server| server_sample(leg, Arc::clone(&name), &server))
                .collect::<Vec<_>>()
        };
        self.backends.iter().flat_map(of).collect()
    }
}

/// One listening socket of ours, held.
struct OwnSocket<'a> {
    leg: Leg,
    name: Arc<str>,
    shard: usize,
    bound: &'a Bound,
    socket: common::net::listener::Look<'a>,
}

impl OwnSocket<'_> {
    fn borrow(&self) -> OwnListener<'_> {
        use std::os::fd::AsFd as _;
        OwnListener {
            leg: self.leg,
            name: Arc::clone(&self.name),
            shard: self.shard,
            port: self.bound.local_addr.map(|address| address.port()),
            backlog_asked: plan::backlog_asked(&self.bound.settings),
            socket: self.socket.as_fd(),
        }
    }
}

/// The open sockets of a TCP listener; a unix socket has no queue that could be asked for.
fn shards(leg: Leg, bound: &Bound) -> Vec<OwnSocket<'_>> {
    let count = if bound.local_addr.is_some() { bound.shards() } else { 0 };
    let name: Arc<str> = bound.to_string().into();
    let held = |shard| {
        Some(OwnSocket {
            leg,
            name: Arc::clone(&name),
            shard,
            bound,
            socket: bound.look(shard)?,
        })
    };
    (0..count).filter_map(held).collect()
}

/// What the accept loops counted, by leg.
fn accepts(listeners: &[(Leg, Arc<Bound>)]) -> Vec<AcceptSample> {
    let of = |leg: Leg| {
        let mine = listeners
            .iter()
            .filter(move |(other, bound)| *other == leg && bound.local_addr.is_some());
        let counts = mine.map(|(_, bound)| {
            bound.accepts.begin_anew();
            bound.accepts.get()
        });
        let sum = counts.reduce(|(all, repeated), (more, of_these)| (all + more, repeated + of_these));
        sum.map(|(accepted, synack_repeated)| AcceptSample {
            leg,
            accepted,
            synack_repeated,
        })
    };
    Leg::WAY.into_iter().filter_map(of).collect()
}

fn server_sample(leg: Leg, backend: Arc<str>, server: &ServerSnapshot) -> ServerSample {
    ServerSample {
        leg,
        backend,
        server: Arc::clone(&server.address),
        addresses: server.addresses.iter().filter_map(ip_and_port).collect(),
        counts: server.handshakes,
    }
}

/// As it is counted: an IPv4 address in IPv6 form is the IPv4 address.
fn ip_and_port(address: &SocketAddrOrUnix) -> Option<SocketAddr> {
    match address {
        SocketAddrOrUnix::Tcp(address) => Some(canonical(*address)),
        SocketAddrOrUnix::Unix(_) => None,
    }
}

/// One line for each setting that turned bad or good.
fn tell_drift(changed: &Drift) {
    for finding in &changed.appeared {
        tell_setting(finding);
    }
    for Finding { check, severity, .. } in &changed.gone {
        info!(
            check = check.word(),
            severity = severity.word(),
            "a kernel setting is no longer found fault with"
        );
    }
}

/// One line for a finding of the preflight.
pub fn tell_setting(finding: &Finding) {
    let check = finding.check.word();
    match finding.severity {
        Severity::Note => info!(check, "{finding}"),
        Severity::Warn => warn!(check, "{finding}"),
        Severity::Refuse => tracing::error!(check, "clients are lost: {finding}"),
    }
}

/// One line for each finding that opened, changed its name or closed.
fn tell(observed: &Observed) {
    if let Some(why) = &observed.new_baseline {
        warn!("handshakes are counted anew: {why}");
    }
    for Event { change, finding, .. } in &observed.events {
        let (leg, cause, change_word) = (finding.leg.word(), finding.cause.word(), change.word());
        if let Change::Closed { lasted } = change {
            info!(leg, cause, ?lasted, "handshake finding closed");
            continue;
        }
        let evidence: Vec<_> = finding.evidence.iter().map(ToString::to_string).collect();
        warn!(
            leg,
            cause,
            evidence = evidence.join("; "),
            remedy = finding.remedy,
            "handshake finding {change_word}: {finding}"
        );
    }
}
