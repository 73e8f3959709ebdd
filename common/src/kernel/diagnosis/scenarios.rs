//! Incidents that no recorded tree holds: several listeners, own connects, and what happens over minutes.
//!
//! Built on the healthy 6.18 tree, with counters moved by hand as HANDSHAKE §7 saw them move.

mod on_the_way; // lost before the queues
mod own_connects; // legs 2 and 3
mod queues; // full accept queues

use std::sync::Arc;
use std::time::Duration;

use super::super::connects::{ConnectCounts, ConnectOutcome};
use super::super::counters::Counters;
use super::super::reading::{Reading, Why};
use super::super::sample::{AcceptSample, Leg, ListenerSample, Sample, ServerSample};
use super::super::sockets::census::{Census, Half, HalfOpen};
use super::super::sockets::entry::{Entry, State};
use super::super::sockets::tcp_info::AcceptQueue;
use super::super::sockstat::{Conntrack, Softnet};
use super::super::tables::paired;
use super::Engine;
use super::context::Roles;
use super::finding::Whose;
use super::fixtures::{front, recorded};
use super::settings::Thresholds;
use crate::time::mono_now;

/// A running process that is given one sample per second.
struct Run {
    engine: Engine,
    now: Sample,
}

impl Run {
    fn new(roles: Roles) -> Self {
        let mut run = Self {
            engine: Engine::new(Thresholds::default(), roles),
            now: recorded("kernel-6.18/healthy/after", mono_now()),
        };
        run.engine.observe(run.now.clone());
        run
    }

    /// Lets seconds pass in which, in each of them, `change` happens.
    fn seconds(&mut self, seconds: u64, mut change: impl FnMut(&mut Sample)) -> &mut Self {
        for _ in 0..seconds {
            self.now.at.mono += Duration::from_secs(1);
            self.now.at.wall = self.now.at.wall.plus(Duration::from_secs(1));
            change(&mut self.now);
            self.engine.observe(self.now.clone());
        }
        self
    }

    /// What is open: cause, leg, subject.
    fn open(&self) -> Vec<(&'static str, &'static str, Option<&str>)> {
        let findings = self.engine.open().map(|open| &open.finding);
        findings
            .map(|finding| (finding.cause.word(), finding.leg.word(), finding.subject.as_deref()))
            .collect()
    }

    /// The causes of all events so far.
    fn events(&self) -> Vec<(&'static str, &'static str)> {
        self.engine
            .events()
            .map(|event| (event.change.word(), event.finding.cause.word()))
            .collect()
    }
}

/// Adds to counters: "TcpExt.ListenDrops".
fn add(sample: &mut Sample, amounts: &[(&str, u64)]) {
    for (name, amount) in amounts {
        let (table, column) = name.split_once('.').expect("table.column");
        let counter = super::super::counters::Counter::ALL
            .iter()
            .find(|counter| counter.name() == *name)
            .expect("a counter");
        let value = sample.counters.get(*counter).expect("a 6.18 column") + amount;
        let mut counters: Counters = sample.counters.clone();
        counters.take(&paired(&format!("{table}: {column}\n{table}: {value}\n")));
        sample.counters = counters;
    }
}

fn listener(leg: Leg, name: &str, shard: usize, limit: u32) -> ListenerSample {
    ListenerSample {
        leg,
        name: Arc::from(name),
        shard,
        port: Some(80),
        backlog_asked: None,
        queue: Reading::Available(AcceptQueue { depth: 0, limit }),
        waiting: None,
        drops: Reading::Available(0),
        cookie: Reading::Unavailable(Why::Absent),
    }
}

/// Sets the depth of listener `index` and lets it throw away `drops` more.
fn queue(sample: &mut Sample, index: usize, depth: u32, drops: u32) {
    let listener = &mut sample.listeners[index];
    listener.queue = listener.queue.clone().map(|queue| AcceptQueue { depth, ..queue });
    listener.drops = listener.drops.clone().map(|before| before + drops);
}

fn overflow(sample: &mut Sample, count: u64) {
    add(
        sample,
        &[("TcpExt.ListenOverflows", count), ("TcpExt.ListenDrops", count)],
    );
}

fn half_open(sample: &mut Sample, total: u32, repeated: u32) {
    let half = Half { total, repeated };
    sample.half_open = Reading::Available(Arc::new(HalfOpen {
        incoming: half,
        by_port: [(80, half)].into(),
        complete: true,
        ..HalfOpen::default()
    }));
}

fn connects(leg: Leg, server: &str, counts: ConnectCounts) -> Vec<ServerSample> {
    vec![ServerSample {
        leg,
        backend: Arc::from("idc1"),
        server: Arc::from(server),
        addresses: Vec::new(),
        counts,
    }]
}

fn front_with(shards: usize, limit: u32) -> Run {
    let mut run = Run::new(front());
    let listeners = (0..shards)
        .map(|shard| listener(Leg::ClientFront, "web", shard, limit))
        .collect::<Vec<_>>();
    run.seconds(1, |sample| sample.listeners.clone_from(&listeners));
    run
}

#[test]
fn a_jump_of_the_wall_clock_changes_nothing() {
    let mut run = front_with(1, 4);
    let stall = |sample: &mut Sample| {
        queue(sample, 0, 5, 6);
        overflow(sample, 6);
    };
    run.seconds(5, stall);
    run.now.at.wall = run.now.at.wall.minus(Duration::from_secs(86_400));
    run.seconds(5, stall);
    run.now.at.wall = run.now.at.wall.plus(Duration::from_secs(10 * 86_400));
    run.seconds(5, stall);
    assert_eq!(run.events(), [("opened", "accept_queue_overflow")]);
}

#[test]
fn without_netstat_the_verdict_is_unknown_and_the_rest_works() {
    let mut run = front_with(1, 4);
    run.seconds(2, |sample| {
        sample.counters = Counters::default();
        sample.netstat = Reading::Unavailable(Why::Denied);
    });
    run.seconds(1, |sample| {
        let counts = ConnectCounts {
            attempts: 4,
            refused: 4,
            ..ConnectCounts::default()
        };
        sample.connects = connects(Leg::CacheOrigin, "10.9.0.7:8080", counts);
    });
    let verdicts: Vec<_> = run.engine.legs().into_iter().map(|leg| leg.verdict.word()).collect();
    assert_eq!(verdicts, ["unknown", "absent", "lossy"]);
    assert_eq!(run.engine.blind(), Some(Why::Denied));
}

#[test]
fn the_ring_of_events_is_bounded() {
    let thresholds = Thresholds {
        events_max: 3,
        ..Thresholds::default()
    };
    let mut run = Run::new(front());
    run.engine = Engine::new(thresholds, front());
    for _ in 0..4 {
        run.seconds(2, |sample| {
            add(sample, &[("TcpExt.TCPReqQFullDrop", 9), ("TcpExt.ListenDrops", 9)])
        });
        run.seconds(90, |_| ());
    }
    assert_eq!(run.events().len(), 3);
    assert_eq!(run.open(), []);
}
