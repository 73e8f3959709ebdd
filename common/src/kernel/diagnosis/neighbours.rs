//! Incidents next to the recorded ones: recorded trees of three kernels in which counters, sockets and settings are moved by
//! hand as HANDSHAKE §1, §2 and §7 say that they move, against the signatures of §8.

mod without_drops; // nothing is dropped at a listener

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use super::super::root::ProcRoot;
use super::super::sample::{Moment, Sample};
use super::super::sampler::{Listeners, Sampler};
use super::Engine;
use super::cause::Certainty::{self, Certain, High, Low, Medium};
use super::context::Roles;
use super::fixtures::{front, trees};
use super::settings::Thresholds;
use crate::time::{MonoTime, WallTime, mono_now};

const EL7: &str = "kernel-3.10.0-514.el7-tw-recycle/cured";
const V4_9: &str = "kernel-4.9.0-tw-recycle/cured";
const V6_18: &str = "kernel-6.18/healthy/before";

/// What is done to a tree between two looks.
#[derive(Clone, Copy, Default)]
struct Case {
    tree: &'static str,
    /// "TcpExt.ListenDrops", and what it grows by.
    grown: &'static [(&'static str, u64)],
    /// Files that are written at both looks.
    settings: &'static [(&'static str, &'static str)],
    /// Files that are written at the second look.
    files: &'static [(&'static str, &'static str)],
    /// Files that are not there.
    hidden: &'static [&'static str],
    /// Columns that this kernel does not have.
    without: &'static [&'static str],
    found: &'static [(&'static str, u64, Certainty)],
    harmless: &'static [&'static str],
}

#[track_caller]
fn check(cases: &[Case]) {
    for case in cases {
        let engine = case.observe(front());
        let about = format!("{} {:?} {:?}", case.tree, case.grown, case.files);
        let found: Vec<_> = engine.open().map(|open| &open.finding).collect();
        let words: Vec<_> = found
            .iter()
            .map(|finding| (finding.cause.word(), finding.count, finding.certainty))
            .collect();
        assert_eq!(words, case.found, "{about}");
        let harmless: Vec<_> = engine.harmless().iter().map(|finding| finding.cause.word()).collect();
        assert_eq!(harmless, case.harmless, "{about}");
    }
}

impl Case {
    /// The engine after both looks, [`LATER`] apart.
    fn observe(&self, roles: Roles) -> Engine {
        let boot = mono_now();
        let dir = tempfile::tempdir().expect("a directory");
        copy(&trees().join(self.tree), dir.path());
        self.write(dir.path(), self.settings);
        for hidden in self.hidden {
            std::fs::remove_file(dir.path().join(hidden)).expect("removed");
        }
        self.edit(dir.path(), &[]);
        let listeners = if roles == Roles::default() {
            Listeners::All
        } else {
            Listeners::Own(&[])
        };
        let mut engine = Engine::new(Thresholds::default(), roles);
        engine.observe(look(dir.path(), boot, listeners));
        self.write(dir.path(), self.files);
        self.edit(dir.path(), self.grown);
        assert_eq!(
            engine.observe(look(dir.path(), boot + LATER, listeners)).new_baseline,
            None
        );
        engine
    }

    fn write(&self, dir: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = dir.join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("created");
            std::fs::write(path, text).expect("written");
        }
    }

    /// Adds to columns of netstat and snmp, and takes out those that this kernel does not have.
    fn edit(&self, dir: &Path, grown: &[(&str, u64)]) {
        let mut left: Vec<_> = grown.to_vec();
        for name in ["proc/net/netstat", "proc/net/snmp"] {
            let text = std::fs::read_to_string(dir.join(name)).expect("read");
            let lines: Vec<_> = text.lines().collect();
            let mut edited = String::new();
            for pair in lines.chunks(2) {
                let (names, values) = (pair[0].split(' '), pair[1].split(' '));
                let table = pair[0].split(':').next().expect("a table");
                let (mut head, mut row) = (Vec::new(), Vec::new());
                for (name, value) in names.zip(values).filter(|(name, _)| !self.without.contains(name)) {
                    let at = left.iter().position(|(column, _)| *column == format!("{table}.{name}"));
                    let more = at.map(|at| left.swap_remove(at).1);
                    head.push(name.to_owned());
                    row.push(more.map_or_else(
                        || value.to_owned(),
                        |more| (value.parse::<u64>().expect("a number") + more).to_string(),
                    ));
                }
                writeln!(edited, "{}\n{}", head.join(" "), row.join(" ")).expect("a string");
            }
            std::fs::write(dir.join(name), edited).expect("written");
        }
        assert!(left.is_empty(), "{}: no column {left:?}", self.tree);
    }
}

const LATER: Duration = Duration::from_secs(8);

fn look(dir: &Path, at: MonoTime, listeners: Listeners<'_>) -> Sample {
    let wall = WallTime::from_unix_secs(1_795_000_000);
    Sampler::new(ProcRoot::new(dir)).sample(Moment { mono: at, wall }, listeners)
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            std::fs::create_dir_all(&target).expect("created");
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}

const RECYCLE: &str = "proc/sys/net/ipv4/tcp_tw_recycle";
const COOKIES: &str = "proc/sys/net/ipv4/tcp_syncookies";
const ABORT: &str = "proc/sys/net/ipv4/tcp_abort_on_overflow";
const RELEASE: &str = "proc/sys/kernel/osrelease";

#[test]
fn tw_recycle_is_named_wherever_it_is_set_and_with_whatever_else_happens() {
    let rejected = |tree| Case {
        tree,
        grown: &[
            ("TcpExt.PAWSPassive", 30),
            ("TcpExt.ListenDrops", 30),
            ("Tcp.PassiveOpens", 200),
        ],
        found: &[("tw_recycle", 30, Certain)],
        ..Case::default()
    };
    check(&[
        // In the container of an old kernel the file cannot be seen.
        Case {
            hidden: &[RECYCLE],
            ..rejected(EL7)
        },
        Case {
            hidden: &[RECYCLE],
            ..rejected(V4_9)
        },
        Case {
            settings: &[(RECYCLE, "1\n"), ("proc/sys/net/ipv4/tcp_timestamps", "0\n")],
            ..rejected(V4_9)
        },
        // One is proof, among however many connections.
        Case {
            grown: &[
                ("TcpExt.PAWSPassive", 1),
                ("TcpExt.ListenDrops", 1),
                ("Tcp.PassiveOpens", 1_000_000),
            ],
            found: &[("tw_recycle", 1, Certain)],
            ..rejected(EL7)
        },
        // With a full accept queue, with SYN cookies that el7 counts as drops, with old segments of established connections.
        Case {
            settings: &[(RECYCLE, "1\n")],
            grown: &[
                ("TcpExt.PAWSPassive", 40),
                ("TcpExt.ListenOverflows", 60),
                ("TcpExt.ListenDrops", 100),
            ],
            found: &[("tw_recycle", 40, Certain), ("accept_queue_overflow", 60, High)],
            ..rejected(EL7)
        },
        Case {
            settings: &[(RECYCLE, "1\n")],
            grown: &[
                ("TcpExt.PAWSPassive", 30),
                ("TcpExt.ListenDrops", 74),
                ("TcpExt.SyncookiesSent", 44),
                ("TcpExt.TCPReqQFullDoCookies", 44),
            ],
            found: &[("tw_recycle", 30, Certain), ("syncookies", 44, Certain)],
            ..rejected(EL7)
        },
        Case {
            grown: &[
                ("TcpExt.PAWSPassive", 30),
                ("TcpExt.ListenDrops", 30),
                ("TcpExt.PAWSEstab", 400),
                ("TcpExt.TWKilled", 90),
            ],
            ..rejected(V4_9)
        },
        // TWRecycled counts tcp_tw_reuse, in spite of its name.
        Case {
            grown: &[("TcpExt.TWRecycled", 5000), ("Tcp.ActiveOpens", 5000)],
            found: &[],
            ..rejected(EL7)
        },
    ]);
}

#[test]
fn a_full_accept_queue_is_named_on_every_kernel() {
    let full = |tree| Case {
        tree,
        grown: &[("TcpExt.ListenOverflows", 60), ("TcpExt.ListenDrops", 60)],
        found: &[("accept_queue_overflow", 60, High)],
        ..Case::default()
    };
    let reset = |tree| Case {
        settings: &[(ABORT, "1\n")],
        grown: &[
            ("TcpExt.ListenOverflows", 12),
            ("TcpExt.ListenDrops", 12),
            ("TcpExt.EmbryonicRsts", 12),
            ("Tcp.OutRsts", 12),
        ],
        found: &[("overflow_reset", 12, High)],
        ..full(tree)
    };
    let cookie_acks = |tree, grown| Case {
        grown,
        found: &[("cookie_ack_overflow", 28, High)],
        ..full(tree)
    };
    check(&[
        full(EL7),
        full(V4_9),
        full(V6_18),
        reset(EL7),
        reset(V4_9),
        reset(V6_18),
        // 3.10 counts the cookies, too.
        cookie_acks(
            EL7,
            &[
                ("TcpExt.ListenOverflows", 28),
                ("TcpExt.ListenDrops", 63),
                ("TcpExt.SyncookiesSent", 35),
                ("TcpExt.SyncookiesRecv", 28),
                ("TcpExt.TCPReqQFullDoCookies", 35),
            ],
        ),
        cookie_acks(
            V6_18,
            &[
                ("TcpExt.ListenOverflows", 28),
                ("TcpExt.ListenDrops", 28),
                ("TcpExt.SyncookiesSent", 35),
                ("TcpExt.SyncookiesRecv", 28),
                ("TcpExt.TCPReqQFullDoCookies", 35),
            ],
        ),
        // Final ACKs that are repeated: their SYN-ACKs are no loss on the way.
        Case {
            grown: &[
                ("TcpExt.ListenOverflows", 8),
                ("TcpExt.ListenDrops", 8),
                ("TcpExt.TCPSynRetrans", 8),
            ],
            found: &[("accept_queue_overflow", 8, High)],
            ..full(V6_18)
        },
    ]);
}

#[test]
fn syn_queues_and_cookies_are_told_apart_on_every_kernel() {
    let dropped = |tree| Case {
        tree,
        settings: &[(COOKIES, "0\n")],
        grown: &[("TcpExt.TCPReqQFullDrop", 21), ("TcpExt.ListenDrops", 21)],
        found: &[("syn_queue_full", 21, Certain)],
        ..Case::default()
    };
    // Every cookie is a ListenDrop before 4.7, and none after.
    let counted = |settings, found| Case {
        settings,
        grown: &[
            ("TcpExt.TCPReqQFullDoCookies", 50),
            ("TcpExt.SyncookiesSent", 50),
            ("TcpExt.ListenDrops", 50),
        ],
        found,
        ..dropped(V4_9)
    };
    check(&[
        dropped(EL7),
        dropped(V4_9),
        dropped(V6_18),
        counted(&[(RELEASE, "4.4.178\n")], &[("syncookies", 50, Certain)]),
        counted(
            &[(RELEASE, "4.9.0\n")],
            &[("unexplained", 50, Low), ("syncookies", 50, High)],
        ),
        // A flood whose cookies do not come back, with stray ACKs.
        Case {
            settings: &[],
            grown: &[
                ("TcpExt.TCPReqQFullDoCookies", 201),
                ("TcpExt.SyncookiesSent", 201),
                ("TcpExt.SyncookiesRecv", 10),
                ("TcpExt.SyncookiesFailed", 90),
            ],
            found: &[("syncookies", 201, High)],
            ..dropped(V6_18)
        },
        Case {
            settings: &[],
            grown: &[("TcpExt.SyncookiesFailed", 90)],
            found: &[],
            ..dropped(V6_18)
        },
        // With 2 every SYN is answered by cookie: no queue is full, and nothing lost even where it is counted as a drop.
        Case {
            settings: &[(COOKIES, "2\n")],
            grown: &[
                ("TcpExt.TCPReqQFullDoCookies", 80),
                ("TcpExt.SyncookiesSent", 80),
                ("TcpExt.SyncookiesRecv", 80),
                ("TcpExt.ListenDrops", 80),
            ],
            found: &[],
            ..dropped(EL7)
        },
    ]);
}

#[test]
fn drops_without_a_counter_of_their_own_are_explained_by_what_rose_with_them() {
    let dropped = |tree| Case {
        tree,
        grown: &[("TcpExt.ListenDrops", 20)],
        found: &[("unexplained", 20, Low)],
        ..Case::default()
    };
    let memory = |tree, sockstat| Case {
        settings: &[("proc/sys/net/ipv4/tcp_mem", "100 200 300\n")],
        files: sockstat,
        found: &[("memory_pressure", 20, Medium)],
        ..dropped(tree)
    };
    const FULL: &[(&str, &str)] = &[(
        "proc/net/sockstat",
        "sockets: used 900\nTCP: inuse 800 orphan 300 tw 0 alloc 1200 mem 290\nUDP: inuse 2 mem 0\n",
    )];
    check(&[
        dropped(EL7),
        dropped(V4_9),
        dropped(V6_18),
        memory(EL7, FULL),
        memory(V6_18, FULL),
        Case {
            grown: &[("TcpExt.ListenDrops", 20), ("TcpExt.TCPMemoryPressures", 1)],
            found: &[("memory_pressure", 20, Medium)],
            ..dropped(V4_9)
        },
        Case {
            grown: &[("TcpExt.ListenDrops", 20), ("Ip.OutNoRoutes", 20)],
            found: &[("no_route_back", 20, High)],
            ..dropped(EL7)
        },
        Case {
            grown: &[("TcpExt.ListenDrops", 20), ("Icmp.InDestUnreachs", 26)],
            found: &[("icmp_unreachable", 20, Medium)],
            ..dropped(V4_9)
        },
        Case {
            settings: &[(COOKIES, "0\n"), ("proc/sys/net/ipv4/tcp_max_syn_backlog", "4\n")],
            files: &[("proc/net/tcp", HALF_OPEN)],
            found: &[("syn_backlog_reserve", 20, High)],
            ..dropped(V4_9)
        },
    ]);
}

/// Three half-open connections whose SYN-ACK was repeated, one whose was not, and a listener with five that wait.
const HALF_OPEN: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
    0: 0A0012C6:0050 00000000:0000 0A 00000000:00000005 00:00000000 00000000     0        0 1412 2 ffff8800\n   \
    1: 0A0012C6:0050 010012C6:D856 03 00000000:00000000 01:000000F8 00000002     0        0 0 2 ffff8800\n   \
    2: 0A0012C6:0050 010012C6:D880 03 00000000:00000000 01:0000010D 00000001     0        0 0 2 ffff8800\n   \
    3: 0A0012C6:0050 010012C6:D8BA 03 00000000:00000000 01:0000010D 00000003     0        0 0 2 ffff8800\n   \
    4: 0A0012C6:0050 010012C6:D8BB 03 00000000:00000000 01:0000010D 00000000     0        0 0 2 ffff8800\n";

#[test]
fn without_netlink_the_listener_whose_queue_waits_is_named() {
    let case = Case {
        tree: EL7,
        grown: &[("TcpExt.ListenOverflows", 60), ("TcpExt.ListenDrops", 60)],
        settings: &[("proc/net/tcp", HALF_OPEN)],
        ..Case::default()
    };
    let engine = case.observe(Roles::default());
    let finding = &engine.open().next().expect("a finding").finding;
    assert_eq!(
        (finding.cause.word(), finding.subject.as_deref()),
        ("accept_queue_overflow", Some("198.18.0.10:80"))
    );
    let told: Vec<_> = finding.evidence.iter().map(ToString::to_string).collect();
    assert!(
        told.contains(
            &"198.18.0.10:80: 5 connections wait for accept(); the queue's limit is not known here".to_owned()
        ),
        "{told:?}"
    );
}

#[test]
fn another_kernel_is_another_boot() {
    let boot = mono_now();
    let mut engine = Engine::new(Thresholds::default(), front());
    engine.observe(look(&trees().join(EL7), boot, Listeners::Own(&[])));
    let dir = tempfile::tempdir().expect("a directory");
    copy(&trees().join(EL7), dir.path());
    std::fs::write(dir.path().join(RELEASE), "4.9.0\n").expect("written");
    let observed = engine.observe(look(dir.path(), boot + LATER, Listeners::Own(&[])));
    assert!(observed.new_baseline.is_some());
}
