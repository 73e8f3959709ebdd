//! One worker's life: accept, tick, drain, end. Runs on a thread of its own, started by `serve::workers`.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::drain::{Drain, DrainReport, Phase};
use super::endpoint::Endpoint;
use super::limits::Shed;
use super::seat::Floor;
use super::service::ConnInfo;
use super::turn_away;
use super::workers::Tick;
use crate::kernel::sockets::tcp_info;
use crate::net::accept::{Accepted, Acceptor, canonical};
use crate::net::listener::{AcceptCounts, Bound};
use crate::net::pace::LogGate;
use crate::net::stream::Stream;
use crate::process::affinity;
use crate::telemetry::metrics::Histogram;
use crate::time::{MonoTime, mono_now};

/// One worker thread, ready to run: everything that can fail was done.
pub(super) struct Thread {
    pub(super) runtime: Runtime,
    pub(super) floor: Arc<Floor>,
    pub(super) doors: Vec<Door>,
    pub(super) ticks: Ticks,
    pub(super) phase: watch::Receiver<Phase>,
    /// The CPU to run on, where there is one in particular.
    pub(super) cpu: Option<usize>,
}

/// Housekeeping, and how often.
#[derive(Clone)]
pub(super) struct Ticks {
    pub(super) every: Duration,
    pub(super) calls: Arc<[Tick]>,
}

/// One listener, as one worker serves it.
pub(super) struct Door {
    acceptor: Acceptor,
    admission: Admission,
}

impl Thread {
    /// Runs until the worker was drained or cut.
    pub(super) fn run(self) -> DrainReport {
        let Self {
            runtime,
            floor,
            doors,
            ticks,
            mut phase,
            cpu,
        } = self;
        if let Some(cpu) = cpu
            && let Err(error) = affinity::pin(cpu)
        {
            tracing::warn!(worker = floor.worker.index, cpu, %error, "the worker could not be pinned");
        }
        let report = runtime.block_on(live(&floor, doors, &ticks, &mut phase));
        // Drops the tasks, and with them the connections that are cut; waits for no blocking call of theirs.
        runtime.shutdown_background();
        // What the last exchanges left behind, the cut ones included.
        ticks.call(&floor);
        report
    }
}

async fn live(floor: &Arc<Floor>, doors: Vec<Door>, ticks: &Ticks, phase: &mut watch::Receiver<Phase>) -> DrainReport {
    let doors: Vec<_> = doors.into_iter().map(|door| tokio::spawn(door.run())).collect();
    tokio::spawn(ticks.clone().run(Arc::clone(floor)));
    // An error means that nobody is left to tell us anything: the same as being cut.
    let serving_ended = phase.wait_for(|phase| *phase != Phase::Serving).await.is_ok();
    let mut running = floor.drain.open();
    floor.drain.start();
    for door in doors {
        match door.await {
            Ok(queued) => running += queued,
            Err(error) => tracing::error!(worker = floor.worker.index, %error, "a listener's task panicked"),
        }
    }
    if serving_ended {
        finish(&floor.drain, phase).await;
    }
    let cut = floor.drain.open();
    DrainReport {
        finished: running.saturating_sub(cut),
        cut,
    }
}

/// Waits for the connections to end, until the deadline or the cut.
async fn finish(drain: &Drain, phase: &mut watch::Receiver<Phase>) {
    let mut ended = pin!(drain.ended());
    loop {
        let Phase::Draining { deadline } = *phase.borrow_and_update() else {
            return;
        };
        tokio::select! {
            () = &mut ended => return,
            () = tokio::time::sleep_until(deadline) => return,
            changed = phase.changed() => if changed.is_err() { return },
        }
    }
}

impl Ticks {
    async fn run(self, floor: Arc<Floor>) {
        let mut interval = tokio::time::interval(self.every.max(TICK_MIN));
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            self.call(&floor);
        }
    }

    fn call(&self, floor: &Floor) {
        for call in self.calls.iter() {
            if catch_unwind(AssertUnwindSafe(|| call(&floor.worker))).is_err() {
                tracing::error!(worker = floor.worker.index, "a housekeeping call panicked");
            }
        }
    }
}

impl Door {
    pub(super) fn new(acceptor: Acceptor, bound: &Bound, endpoint: Arc<dyn Endpoint>, floor: &Arc<Floor>) -> Self {
        // The address that a client reached is the listener's own, unless that stands for all of the machine's.
        let local = match bound.local_addr {
            Some(address) if address.ip().is_unspecified() => Local::AskSocket,
            known => Local::Known(known.map(canonical)),
        };
        Self {
            acceptor,
            admission: Admission {
                floor: Arc::clone(floor),
                endpoint,
                listener: Arc::from(bound.settings.name.as_str()),
                accepts: Arc::clone(&bound.accepts),
                local,
                shed_gates: Default::default(),
            },
        }
    }

    /// The next connection, when connections are welcome.
    async fn next(&mut self) -> Accepted {
        while self.admission.floor.limit.holds_back() {
            tokio::time::sleep(HOLD).await;
        }
        self.acceptor.accept().await
    }

    /// Takes connections until the drain begins, then those that are queued; how many of these were let in.
    async fn run(mut self) -> usize {
        let drain = self.admission.floor.drain.clone();
        let mut draining = pin!(drain.draining());
        loop {
            tokio::select! {
                biased;
                () = &mut draining => break,
                accepted = self.next() => self.admission.admit(accepted),
            };
        }
        let mut admission = self.admission;
        let mut queued = 0;
        self.acceptor
            .close(|accepted| queued += usize::from(admission.admit(accepted)));
        queued
    }
}

/// How soon it is asked again whether connections are welcome: the answer changes once a second at most.
const HOLD: Duration = Duration::from_millis(50);

/// tokio has no interval of zero.
const TICK_MIN: Duration = Duration::from_millis(1);

/// What turns an accepted connection into a served one.
struct Admission {
    floor: Arc<Floor>,
    endpoint: Arc<dyn Endpoint>,
    listener: Arc<str>,
    accepts: Arc<AcceptCounts>,
    local: Local,
    shed_gates: [LogGate; Shed::COUNT],
}

/// Where a connection's local address comes from.
enum Local {
    /// It is the same for all of the listener.
    Known(Option<SocketAddr>),
    /// The listener has a wildcard address: `getsockname()`, per connection.
    AskSocket,
}

impl Admission {
    /// Lets a connection in, or sheds it; whether it was let in.
    fn admit(&mut self, accepted: Accepted) -> bool {
        let Accepted { stream, peer } = accepted;
        let id = self.floor.next_id();
        let now = mono_now();
        let accept_wait = self.look(&stream);
        let ip = peer.map(|peer| peer.ip());
        if ip.is_some_and(|ip| !self.endpoint.admits(ip)) {
            self.floor.shed(Shed::Denied);
            self.tell(Shed::Denied, peer, now);
            return false;
        }
        // A load balancer has many connections: they are its clients', whom it names later.
        let source = ip.filter(|_| !self.endpoint.is_proxied());
        let seat = match self.floor.seat(source) {
            Ok(seat) => seat,
            Err(reason) => {
                self.tell(reason, peer, now);
                if self.endpoint.is_plain() {
                    turn_away::tell(&self.floor, stream, reason);
                }
                return false;
            }
        };
        let conn = ConnInfo {
            id,
            client: peer,
            local: match self.local {
                Local::Known(address) => address,
                Local::AskSocket => stream.local_addr().map(canonical),
            },
            listener: Arc::clone(&self.listener),
            tls: false,
            certificate: None,
            accepted: now,
            accept_wait,
            worker: Arc::clone(&self.floor.worker),
        };
        Arc::clone(&self.endpoint).serve(stream, Arc::new(conn), seat);
        true
    }

    /// Logs why a connection was not let in, at most once per reason and interval.
    fn tell(&mut self, reason: Shed, peer: Option<SocketAddr>, now: MonoTime) {
        let Some(held_back) = self.shed_gates[reason as usize].admit(now) else {
            return;
        };
        let (listener, reason) = (&*self.listener, reason.word());
        let client = peer.map(tracing::field::display);
        tracing::warn!(
            listener,
            reason,
            client.addr = client,
            held_back,
            "a new connection was not let in"
        );
    }

    /// What the kernel knows of a TCP connection that nothing was written to yet; how long it waited to be accepted.
    fn look(&self, stream: &Stream) -> Option<Duration> {
        let socket = stream.tcp()?;
        if !self.accepts.wants_a_look() {
            return None;
        }
        let accepted = tcp_info::accepted(socket).ok()?;
        self.accepts.count(&accepted);
        self.floor
            .worker
            .metrics
            .observe(Histogram::AcceptWaitSeconds, accepted.waited);
        Some(accepted.waited)
    }
}
