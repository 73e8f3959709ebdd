//! What is lost on the way or before TCP sees it, and what only looks like that.

use super::*;

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
fn late_segments_of_ended_connections_are_not_called_syns() {
    for (ended, expected) in [(1500, &[][..]), (100, &[("time_wait_paws", "client-front", None)])] {
        let mut run = front_with(1, 4);
        run.seconds(1, |sample| {
            add(sample, &[("TcpExt.PAWSTimewait", 11), ("TcpExt.TW", ended)]);
            sample.sockstat = sample
                .sockstat
                .clone()
                .map(|stat| crate::kernel::sockstat::Sockstat { time_wait: 5, ..stat });
        });
        assert_eq!(run.open(), expected, "{ended}");
    }
}
