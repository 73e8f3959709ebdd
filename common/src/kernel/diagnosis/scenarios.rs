//! Incidents that no recorded tree holds: several listeners, own connects, and what happens over minutes.
//!
//! Built on the healthy 6.18 tree, with counters moved by hand as HANDSHAKE §7 saw them move.

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

fn front_with(shards: usize, limit: u32) -> Run {
    let mut run = Run::new(front());
    let listeners = (0..shards)
        .map(|shard| listener(Leg::ClientFront, "web", shard, limit))
        .collect::<Vec<_>>();
    run.seconds(1, |sample| sample.listeners.clone_from(&listeners));
    run
}

#[test]
fn a_stall_of_all_workers_keeps_its_name_to_the_end() {
    let mut run = front_with(2, 4);
    // One shard fills before the other.
    run.seconds(1, |sample| {
        queue(sample, 0, 5, 6);
        queue(sample, 1, 3, 0);
        overflow(sample, 6);
    });
    assert_eq!(run.open(), [("accept_queue_overflow", "client-front", Some("web"))]);
    run.seconds(20, |sample| {
        queue(sample, 0, 5, 3);
        queue(sample, 1, 5, 3);
        overflow(sample, 6);
    });
    run.seconds(100, |sample| {
        queue(sample, 0, 0, 0);
        queue(sample, 1, 0, 0);
    });
    assert_eq!(run.open(), []);
    assert_eq!(
        run.events(),
        [("opened", "accept_queue_overflow"), ("closed", "accept_queue_overflow")]
    );
}

#[test]
fn one_stuck_member_of_four_is_named() {
    let mut run = front_with(4, 3);
    run.seconds(5, |sample| {
        queue(sample, 2, 4, 4);
        overflow(sample, 4);
    });
    assert_eq!(run.open(), [("stuck_shard", "client-front", Some("web"))]);
    let open = run.engine.open().next().expect("a finding");
    assert_eq!(open.finding.shards, [2]);
    run.seconds(100, |sample| queue(sample, 2, 0, 0));
    assert_eq!(run.events(), [("opened", "stuck_shard"), ("closed", "stuck_shard")]);
}

#[test]
fn a_burst_over_a_small_backlog_is_not_called_a_stall() {
    let mut run = front_with(1, 128);
    run.seconds(1, |sample| {
        queue(sample, 0, 0, 40);
        overflow(sample, 40);
    });
    assert_eq!(run.open(), [("backlog_too_small", "client-front", Some("web"))]);
}

#[test]
fn a_short_stall_is_not_called_a_burst_however_small_the_backlog() {
    let mut run = front_with(2, 128);
    run.seconds(1, |sample| {
        queue(sample, 1, 0, 40);
        overflow(sample, 40);
        sample.pauses = vec![Duration::from_millis(101), Duration::from_millis(600)];
    });
    assert_eq!(run.open(), [("accept_queue_overflow", "client-front", Some("web"))]);
    let finding = &run.engine.open().next().expect("a finding").finding;
    assert_eq!(finding.shards, [1]);
    let told = finding
        .evidence
        .iter()
        .any(|piece| piece.to_string() == "worker 1 did not run for 0.6 s");
    assert!(told, "{finding:?}");
}

#[test]
fn what_becomes_of_the_handshake_is_named_before_the_full_queue() {
    for (amounts, abort, expected) in [
        (
            &[("TcpExt.SyncookiesRecv", 28), ("TcpExt.SyncookiesSent", 28)][..],
            0,
            "cookie_ack_overflow",
        ),
        (
            &[("TcpExt.EmbryonicRsts", 28), ("Tcp.OutRsts", 28)][..],
            1,
            "overflow_reset",
        ),
        (&[("TcpExt.EmbryonicRsts", 28)][..], 0, "accept_queue_overflow"),
    ] {
        let mut run = front_with(1, 4);
        run.seconds(1, |sample| {
            sample.settings.tcp_abort_on_overflow = Reading::Available(abort);
            queue(sample, 0, 5, 28);
            overflow(sample, 28);
            add(sample, amounts);
        });
        assert_eq!(run.open(), [(expected, "client-front", Some("web"))]);
    }
}

#[test]
fn drops_at_another_programs_listener_are_not_ours() {
    let mut run = front_with(2, 4);
    run.seconds(3, |sample| overflow(sample, 20));
    assert_eq!(run.open(), [("accept_queue_overflow", "machine", None)]);
    assert_eq!(
        run.engine.open().next().expect("a finding").finding.whose,
        Whose::Others
    );
    assert_eq!(run.engine.legs()[0].verdict.word(), "healthy");
    // One segment that our socket threw away is none of these, and may be no drop at all.
    let mut mixed = front_with(2, 4);
    mixed.seconds(3, |sample| {
        queue(sample, 0, 0, 1);
        overflow(sample, 20);
    });
    assert_eq!(mixed.open(), [("accept_queue_overflow", "machine", None)]);
    // Some are ours, and some cannot be.
    let mut both = front_with(1, 4);
    both.seconds(1, |sample| {
        queue(sample, 0, 5, 30);
        overflow(sample, 100);
    });
    let counts = both.engine.open().map(|open| (open.finding.whose, open.finding.count));
    assert_eq!(counts.collect::<Vec<_>>(), [(Whose::Ours, 30), (Whose::Others, 70)]);
    // Where sk_drops cannot be read nobody can tell, and the one leg that is served is named.
    let mut old = front_with(1, 4);
    old.seconds(3, |sample| {
        sample.listeners[0].drops = Reading::Unavailable(Why::Absent);
        overflow(sample, 20);
    });
    assert_eq!(old.open(), [("accept_queue_overflow", "client-front", None)]);
}

#[test]
fn several_causes_hold_at_once_with_their_shares_and_the_rest_is_said_to_be_unexplained() {
    let mut run = front_with(1, 4);
    run.seconds(1, |sample| {
        queue(sample, 0, 5, 100);
        overflow(sample, 50);
        add(
            sample,
            &[
                ("TcpExt.TCPReqQFullDrop", 20),
                ("TcpExt.ListenDrops", 50),
                ("Ip.OutNoRoutes", 10),
            ],
        );
    });
    let findings: Vec<_> = run
        .engine
        .open()
        .map(|open| (open.finding.cause.word(), open.finding.share))
        .collect();
    let expected = [
        ("accept_queue_overflow", Some(0.5)),
        ("syn_queue_full", Some(0.2)),
        ("no_route_back", Some(0.1)),
        ("unexplained", Some(0.2)),
    ];
    assert_eq!(findings, expected);
}

#[test]
fn a_few_drops_among_many_connections_are_not_worth_a_word() {
    let mut run = front_with(1, 4);
    run.seconds(60, |sample| {
        overflow(sample, 1);
        add(sample, &[("Tcp.PassiveOpens", 10_000)]);
    });
    assert_eq!(run.open(), []);
    let mut quiet = front_with(1, 4);
    quiet.seconds(1, |sample| overflow(sample, 4));
    assert_eq!(quiet.open(), []);
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

#[test]
fn repeated_syn_acks_are_a_loss_on_the_way_unless_they_are_scans_or_left_over() {
    let lost = |sample: &mut Sample| {
        half_open(sample, 6, 6);
        add(sample, &[("TcpExt.TCPSynRetrans", 6), ("TcpExt.TCPTimeouts", 6)]);
    };
    let mut run = front_with(1, 512);
    run.seconds(3, lost);
    assert_eq!(run.open(), [("syn_ack_loss", "client-front", Some("web"))]);

    // Clients that get through at once exclude a loss on the way.
    let mut scanned = front_with(1, 512);
    let mut accepted = 0;
    scanned.seconds(10, |sample| {
        accepted += 10;
        sample.accepts = vec![AcceptSample {
            leg: Leg::ClientFront,
            accepted,
            synack_repeated: 0,
        }];
        lost(sample);
    });
    assert_eq!(scanned.open(), []);

    // After a flood that cookies answered, its half-open connections go on repeating for a minute.
    let mut flooded = front_with(1, 512);
    flooded.seconds(2, |sample| {
        half_open(sample, 500, 0);
        add(
            sample,
            &[("TcpExt.TCPReqQFullDoCookies", 300), ("TcpExt.SyncookiesSent", 300)],
        );
    });
    flooded.seconds(62, lost);
    flooded.seconds(60, |sample| half_open(sample, 0, 0));
    assert_eq!(flooded.events(), [("opened", "syncookies"), ("closed", "syncookies")]);
}

fn connects(leg: Leg, server: &str, counts: ConnectCounts) -> Vec<ServerSample> {
    vec![ServerSample {
        leg,
        backend: Arc::from("idc1"),
        server: Arc::from(server),
        address: None,
        counts,
    }]
}

#[test]
fn own_connects_name_the_server_and_the_leg() {
    let counts = |attempts, change: fn(&mut ConnectCounts)| {
        let mut counts = ConnectCounts {
            attempts,
            established: attempts,
            ..ConnectCounts::default()
        };
        change(&mut counts);
        counts
    };
    for (counts, expected) in [
        (counts(100, |c| c.syn_repeated = 1), Some("connect_loss")),
        (counts(1000, |c| c.syn_repeated = 1), None),
        (counts(20, |c| c.slow = 1), Some("connect_loss")),
        (counts(10, |c| c.syn_repeated = 1), None),
        (counts(10, |c| c.syn_repeated = 5), Some("connect_loss")),
        (
            counts(8, |c| (c.established, c.timed_out) = (0, 8)),
            Some("connect_timeout"),
        ),
        (
            counts(30, |c| (c.established, c.timed_out) = (20, 10)),
            Some("connect_loss"),
        ),
        (
            counts(4, |c| (c.established, c.refused) = (0, 4)),
            Some("connect_refused"),
        ),
        (
            counts(4, |c| (c.established, c.unreachable) = (0, 4)),
            Some("connect_unreachable"),
        ),
        (counts(4, |c| (c.established, c.reset) = (0, 4)), Some("connect_reset")),
        (
            counts(4, |c| (c.established, c.no_local_port) = (3, 1)),
            Some("local_ports_exhausted"),
        ),
        (counts(500, |_| ()), None),
    ] {
        let mut run = Run::new(front());
        run.seconds(1, |sample| {
            sample.connects = connects(Leg::CacheOrigin, "10.9.0.7:8080", ConnectCounts::default())
        });
        run.seconds(1, |sample| {
            sample.connects = connects(Leg::CacheOrigin, "10.9.0.7:8080", counts)
        });
        let expected: Vec<_> = expected
            .map(|word| (word, "cache-origin", Some("idc1/10.9.0.7:8080")))
            .into_iter()
            .collect();
        assert_eq!(run.open(), expected, "{counts:?}");
    }
}

#[test]
fn drops_between_reading_the_counters_and_the_sockets_have_their_listener() {
    let mut run = front_with(1, 4);
    // The sockets are read after the counters: the last drops of the incident come with the next counters.
    run.seconds(1, |sample| queue(sample, 0, 5, 20));
    run.seconds(1, |sample| {
        queue(sample, 0, 0, 0);
        overflow(sample, 20);
    });
    run.seconds(100, |_| ());
    assert_eq!(run.events().len(), 2, "{:?}", run.events());
    assert!(run.engine.events().all(|event| event.finding.leg == Leg::ClientFront));
}

#[test]
fn a_finding_whose_listener_becomes_known_later_is_the_same_finding() {
    let mut run = front_with(1, 512);
    let flood = [("TcpExt.TCPReqQFullDoCookies", 300), ("TcpExt.SyncookiesSent", 300)];
    run.seconds(1, |sample| add(sample, &flood));
    assert_eq!(run.open(), [("syncookies", "client-front", None)]);
    run.seconds(1, |sample| half_open(sample, 500, 0));
    assert_eq!(run.open(), [("syncookies", "client-front", Some("web"))]);
    assert_eq!(run.events(), [("opened", "syncookies")]);
}

#[test]
fn what_is_lost_before_tcp_is_named() {
    for (lost, packets, expected) in [
        (50, 10_000, &[("cpu_backlog", "machine", None)][..]),
        (50, 1_000_000, &[][..]),
        (4, 10, &[][..]),
    ] {
        let mut run = front_with(1, 512);
        run.seconds(1, |sample| {
            sample.softnet = sample.softnet.clone().map(|sum| Softnet {
                dropped: sum.dropped + lost,
                ..sum
            });
            add(sample, &[("Tcp.InSegs", packets)]);
        });
        assert_eq!(run.open(), expected, "{lost} of {packets}");
    }
    for (count, expected) in [(100, "conntrack_full"), (96, "conntrack_nearly_full")] {
        let mut run = front_with(1, 512);
        run.seconds(1, |sample| {
            sample.settings.conntrack = Reading::Available(Conntrack { count, max: 100 })
        });
        assert_eq!(run.open(), [(expected, "machine", None)]);
    }
    let mut run = front_with(1, 512);
    run.seconds(1, |sample| add(sample, &[("TcpExt.IPReversePathFilter", 5)]));
    assert_eq!(run.open(), [("reverse_path_filter", "client-front", None)]);
}

#[test]
fn local_ports_that_run_out_are_a_risk_before_they_are_a_loss() {
    let address = "10.9.0.7:8080".parse().expect("an address");
    let mut run = Run::new(front());
    run.seconds(1, |sample| {
        let mut census = Census::watching([address]);
        for port in 0..95 {
            let mut entry = Entry {
                state: State::TimeWait,
                remote: address,
                ..listening_entry()
            };
            entry.local.set_port(40_000 + port);
            census.count(&entry);
        }
        sample.census = Reading::Available(Arc::new(census));
        sample.settings.ip_local_port_range = Reading::Available([40_000, 40_099]);
        sample.connects = connects(Leg::CacheOrigin, "10.9.0.7:8080", ConnectCounts::default());
        sample.connects[0].address = Some(address);
    });
    assert_eq!(
        run.open(),
        [(
            "local_ports_nearly_exhausted",
            "cache-origin",
            Some("idc1/10.9.0.7:8080")
        )]
    );
    let client = run.engine.legs()[2].client.expect("a client end");
    assert_eq!((client.local_ports, client.time_wait), (Some((95, 100)), Some(95)));
    run.seconds(1, |sample| {
        sample.connects[0].counts.record(ConnectOutcome::NoLocalPort)
    });
    assert_eq!(
        run.open(),
        [("local_ports_exhausted", "cache-origin", Some("idc1/10.9.0.7:8080"))]
    );
    assert_eq!(run.events().last(), Some(&("renamed", "local_ports_exhausted")));
}

fn listening_entry() -> Entry {
    Entry {
        state: State::Listen,
        local: "10.0.0.1:80".parse().expect("an address"),
        remote: "0.0.0.0:0".parse().expect("an address"),
        retransmits: 0,
        receive_queue: 0,
        send_queue: 0,
        inode: 0,
        cookie: 0,
        drops: None,
    }
}

#[test]
fn without_counted_connects_any_programs_are_looked_at() {
    let mut run = Run::new(Roles::default());
    run.seconds(2, |sample| {
        let outgoing = Half { total: 4, repeated: 3 };
        sample.half_open = Reading::Available(Arc::new(HalfOpen {
            outgoing,
            ..HalfOpen::default()
        }));
        add(sample, &[("TcpExt.TCPSynRetrans", 3), ("TcpExt.TcpTimeoutRehash", 3)]);
    });
    assert_eq!(run.open(), [("connect_loss", "machine", None)]);
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
fn a_listener_that_closes_with_a_queue_is_named() {
    let mut run = front_with(2, 128);
    run.seconds(1, |sample| queue(sample, 1, 12, 0));
    run.seconds(1, |sample| {
        sample.listeners.pop();
        add(sample, &[("Tcp.EstabResets", 12), ("Tcp.OutRsts", 12)]);
    });
    assert_eq!(run.open(), [("listener_closed", "client-front", Some("web"))]);
    let mut migrated = front_with(2, 128);
    migrated.seconds(1, |sample| queue(sample, 1, 12, 0));
    migrated.seconds(1, |sample| sample.listeners.truncate(1));
    assert_eq!(migrated.open(), []);
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

#[test]
fn late_segments_of_ended_connections_are_not_called_syns() {
    for (ended, expected) in [(1500, &[][..]), (100, &[("time_wait_paws", "client-front", None)])] {
        let mut run = front_with(1, 4);
        run.seconds(1, |sample| {
            add(sample, &[("TcpExt.PAWSTimewait", 11), ("TcpExt.TW", ended)]);
            sample.sockstat = sample
                .sockstat
                .clone()
                .map(|stat| super::super::sockstat::Sockstat { time_wait: 5, ..stat });
        });
        assert_eq!(run.open(), expected, "{ended}");
    }
}
