//! Full accept queues: stalls, bursts, stuck shards, whose listener it is, and what part of the loss they explain.

use super::*;

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
