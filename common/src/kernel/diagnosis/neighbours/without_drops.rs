//! What is lost, or looks like it, while `ListenDrops` stands still.

use super::*;

fn quiet(tree: &'static str) -> Case {
    Case {
        tree,
        ..Case::default()
    }
}

#[test]
fn handshakes_that_end_nowhere_are_named() {
    check(&[
        // Handshakes that end nowhere: their SYN-ACKs are repeated. 3.10 did not count that.
        Case {
            files: &[("proc/net/tcp", HALF_OPEN)],
            grown: &[("TcpExt.TCPSynRetrans", 6), ("TcpExt.TCPTimeouts", 6)],
            found: &[("syn_ack_loss", 3, Medium)],
            ..quiet(V6_18)
        },
        Case {
            files: &[("proc/net/tcp", HALF_OPEN)],
            grown: &[("TcpExt.TCPTimeouts", 6)],
            without: &["TCPSynRetrans"],
            found: &[("syn_ack_loss", 3, Medium)],
            ..quiet(EL7)
        },
    ]);
}

#[test]
fn time_wait_and_timestamps_are_named() {
    check(&[
        Case {
            grown: &[("TcpExt.TCPTimeWaitOverflow", 500), ("TcpExt.TW", 1024)],
            found: &[("time_wait_overflow", 500, Certain)],
            ..quiet(EL7)
        },
        Case {
            grown: &[("TcpExt.PAWSTimewait", 9), ("TcpExt.PAWSEstab", 2)],
            files: &[(
                "proc/net/sockstat",
                "sockets: used 9\nTCP: inuse 8 orphan 0 tw 40 alloc 12 mem 1\n",
            )],
            found: &[("time_wait_paws", 9, Medium)],
            ..quiet(V6_18)
        },
        Case {
            grown: &[("TcpExt.PAWSEstab", 50)],
            found: &[("time_wait_paws", 50, Low)],
            ..quiet(V4_9)
        },
        Case {
            grown: &[("TcpExt.TSEcrRejected", 4)],
            found: &[("timestamp_echo", 4, High)],
            ..quiet(V6_18)
        },
    ]);
}

#[test]
fn what_is_lost_before_tcp_is_named() {
    check(&[
        Case {
            grown: &[("TcpExt.IPReversePathFilter", 30)],
            found: &[("reverse_path_filter", 30, High)],
            ..quiet(EL7)
        },
        Case {
            settings: &[("proc/sys/net/netfilter/nf_conntrack_max", "5796\n")],
            files: &[("proc/sys/net/netfilter/nf_conntrack_count", "5796\n")],
            found: &[("conntrack_full", 5796, High)],
            ..quiet(EL7)
        },
        Case {
            settings: &[("proc/net/softnet_stat", "00001000 00000000 00000000 0 0 0 0 0 0 0 0\n")],
            files: &[("proc/net/softnet_stat", "00009000 00000064 00000000 0 0 0 0 0 0 0 0\n")],
            grown: &[("Tcp.InSegs", 30_000)],
            found: &[("cpu_backlog", 100, Medium)],
            ..quiet(V4_9)
        },
    ]);
}

#[test]
fn scanners_are_named_and_what_is_no_loss_is_not() {
    check(&[
        Case {
            grown: &[
                ("TcpExt.EmbryonicRsts", 60),
                ("Tcp.AttemptFails", 60),
                ("Tcp.PassiveOpens", 500),
            ],
            found: &[("half_open_reset", 60, Medium)],
            ..quiet(V4_9)
        },
        Case {
            grown: &[
                ("TcpExt.EmbryonicRsts", 6),
                ("Tcp.AttemptFails", 6),
                ("Tcp.PassiveOpens", 50_000),
            ],
            ..quiet(V4_9)
        },
        Case {
            grown: &[("TcpExt.TCPDeferAcceptDrop", 60)],
            harmless: &["defer_accept"],
            ..quiet(EL7)
        },
        Case {
            grown: &[("TcpExt.TCPFastOpenListenOverflow", 6)],
            harmless: &["fast_open_queue"],
            ..quiet(V6_18)
        },
        // A burst of healthy connections, late segments, lost segments of established ones, migrated requests.
        Case {
            grown: &[
                ("Tcp.PassiveOpens", 100_000),
                ("Tcp.ActiveOpens", 20_000),
                ("TcpExt.TW", 60_000),
                ("TcpExt.PAWSEstab", 12),
                ("TcpExt.PAWSOldAck", 40),
                ("TcpExt.TCPTimeouts", 50),
                ("TcpExt.TCPSynRetrans", 3),
                ("TcpExt.TCPMigrateReqSuccess", 12),
                ("Tcp.EstabResets", 30),
                ("Tcp.OutRsts", 400),
                ("TcpExt.TCPBacklogDrop", 9),
            ],
            ..quiet(V6_18)
        },
    ]);
}
