//! Our own connects, legs 2 and 3: which server, why, and local ports that run out.

use std::net::SocketAddr;

use super::*;
use crate::kernel::diagnosis::legs::DESTINATIONS_MAX;

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
fn local_ports_that_run_out_are_a_risk_before_they_are_a_loss() {
    let address = "10.9.0.7:8080".parse().expect("an address");
    let mut run = Run::new(front());
    run.seconds(1, |sample| {
        let mut census = Census::watching([address]);
        for port in 0..95 {
            let local = format!("10.0.0.1:{}", 40_000 + port);
            census.count(&Entry::of(State::TimeWait, &local, "10.9.0.7:8080"));
        }
        sample.census = Reading::Available(Arc::new(census));
        sample.settings.ip_local_port_range = Reading::Available([40_000, 40_099]);
        sample.connects = connects(Leg::CacheOrigin, "10.9.0.7:8080", ConnectCounts::default());
        sample.connects[0].addresses = vec![address];
    });
    assert_eq!(
        run.open(),
        [(
            "local_ports_nearly_exhausted",
            "cache-origin",
            Some("idc1/10.9.0.7:8080")
        )]
    );
    let client = run.engine.legs()[2].client.clone().expect("a client end");
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

#[test]
fn local_ports_and_time_wait_are_told_by_destination() {
    let address = |last: u8| SocketAddr::from(([10, 9, 0, last], 8080));
    let mut run = Run::new(Roles {
        connects: vec![Leg::FrontCache, Leg::CacheOrigin],
        ..front()
    });
    run.seconds(1, |sample| {
        let mut census = Census::watching((1..40).map(address));
        // So many sockets are open towards each, and so many in TIME_WAIT.
        for (last, open, time_wait) in [(1, 2, 1), (2, 0, 7), (3, 1, 0), (4, 5, 0)] {
            for i in 0..open + time_wait {
                let state = if i < open { State::Established } else { State::TimeWait };
                let (local, remote) = (format!("10.0.0.1:{}", 40_000 + i), address(last).to_string());
                census.count(&Entry::of(state, &local, &remote));
            }
        }
        sample.census = Reading::Available(Arc::new(census));
        sample.settings.ip_local_port_range = Reading::Available([40_000, 40_099]);
        // The first two servers share an address, the last one is on another leg.
        sample.connects = [
            (Leg::CacheOrigin, 1..3),
            (Leg::CacheOrigin, 2..4),
            (Leg::FrontCache, 4..5),
        ]
        .into_iter()
        .enumerate()
        .map(|(i, (leg, addresses))| ServerSample {
            addresses: addresses.map(address).collect(),
            ..connects(leg, &format!("server-{i}"), ConnectCounts::default()).remove(0)
        })
        .collect();
    });
    let told = |run: &Run, leg: usize| {
        let client = run.engine.legs()[leg].client.clone().expect("a client end");
        let destinations = client.destinations.expect("counted").into_iter();
        let told = destinations.map(|to| (to.address, to.server.to_string(), to.local_ports, to.time_wait));
        (client.local_ports, client.time_wait, told.collect::<Vec<_>>())
    };
    let row = |last, server: usize, used, time_wait| (address(last), format!("server-{server}"), used, time_wait);
    let origins = vec![row(2, 0, 7, 7), row(1, 0, 3, 1), row(3, 1, 1, 0)];
    assert_eq!(told(&run, 2), (Some((7, 100)), Some(8), origins));
    assert_eq!(told(&run, 1), (Some((5, 100)), Some(0), vec![row(4, 2, 5, 0)]));
    // Many addresses: those that take most are told, all are counted.
    run.seconds(1, |sample| {
        sample.connects[0].addresses = (1..40).map(address).collect()
    });
    let (_, time_wait, destinations) = told(&run, 2);
    assert_eq!((time_wait, destinations.len()), (Some(8), DESTINATIONS_MAX));
    assert_eq!(destinations[0], row(2, 0, 7, 7));
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
