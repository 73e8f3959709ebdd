//! Handshakes lost for real, each in a network namespace of its own, so that nobody else's traffic is judged. Root only.

use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Socket, Type};
use tests::health::{findings, report, verdict, wait_for_looks};
use tests::origin::Origin;
use tests::programs::{installed, skipped};
use tests::setup::Setup;
use tests::sys::{StoppedThread, in_own_network, is_root, raise_open_files};
use tests::tidegate::run;
use tests::wait::eventually;

/// Runs the body where its counters are its own; says so where that cannot be.
fn alone(what: &str, body: impl FnOnce() + Send) {
    if !is_root() {
        return skipped(&format!("{what}: only root may have a network namespace"));
    }
    if installed("ip").is_some() {
        in_own_network(body);
    }
}

/// Begins `count` connections to `address` and waits for none.
fn knock(address: &str, count: usize) -> Vec<Socket> {
    let address: SocketAddr = address.parse().unwrap();
    let begin = |_| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        drop(socket.connect(&address.into()));
        socket
    };
    (0..count).map(begin).collect()
}

#[test]
fn a_machine_that_loses_nothing_is_well() {
    alone("a healthy machine", || {
        const CONNECTIONS: u64 = 300;
        let origin = Origin::saying("hello");
        let tidegate = Setup::of(&origin.address()).uncached().start();
        let admin = tidegate.front.address("admin");
        for _ in 0..CONNECTIONS {
            assert_eq!(tidegate.get("/").status, 200);
        }
        wait_for_looks(admin, 3);
        let report = report(admin);
        assert_eq!(
            (report["status"].as_str(), findings(&report)),
            (Some("ok"), Vec::<String>::new()),
            "{report}"
        );
        assert_eq!(
            (verdict(&report, "client-front"), verdict(&report, "cache-origin")),
            ("healthy", "healthy")
        );
        tidegate.expect_metric("tidegate_accept_wait_seconds_count", "", CONNECTIONS);
        let doctor = run(&["doctor", "--admin", admin]);
        assert_eq!(doctor.code, 0, "{}", doctor.text());
    });
}

/// As many as an accept queue takes in these tests: more than what counts as a small backlog.
const LIMIT: usize = 600;

/// Stalls one of `workers` while clients connect; waits until the finding is named, and checks that it is the only one.
fn overflow(workers: &str, clients: usize, expected: &str) {
    raise_open_files(8192);
    std::fs::write("/proc/sys/net/core/somaxconn", LIMIT.to_string()).unwrap();
    let origin = Origin::saying("hello");
    let tidegate = Setup::of(&origin.address()).set("process.workers", workers).start();
    let admin = tidegate.front.address("admin");
    wait_for_looks(admin, 1);
    let stalled = StoppedThread::stop(tidegate.front.process.id(), "tidegate-w0");
    let clients = knock(tidegate.address(), clients);
    eventually("the overflow is named", || {
        findings(&report(admin)) == [format!("client-front/server/{expected}")]
    });
    let report = report(admin);
    assert_eq!(
        (report["status"].as_str(), verdict(&report, "client-front")),
        (Some("degraded"), "lossy")
    );
    assert_eq!(report["findings"][0]["certainty"], "certain", "{report}");
    assert!(
        report["listeners"][0]["queue"]["peak"].as_u64() > Some(LIMIT as u64),
        "{report}"
    );
    let labels = format!(r#"leg="client-front",side="server",cause="{expected}",impact="lost""#);
    assert_eq!(tidegate.metric("tidegate_handshake_findings_open", &labels), 1);
    drop((stalled, clients));
    eventually("the queue is empty again", || {
        self::report(admin)["listeners"][0]["queue"]["depth"].as_u64() == Some(0)
    });
}

#[test]
fn a_stalled_worker_is_an_accept_queue_overflow_of_the_first_leg() {
    alone("an accept queue overflow", || {
        overflow("1", LIMIT + 100, "accept_queue_overflow")
    });
}

#[test]
fn one_stalled_worker_of_two_is_a_stuck_shard() {
    alone("a stuck shard", || overflow("2", 2 * LIMIT + 400, "stuck_shard"));
}

#[test]
fn a_process_without_descriptors_still_names_its_overflow() {
    alone("an overflow for want of descriptors", || {
        let Some(mut prlimit) = installed("prlimit") else {
            return;
        };
        raise_open_files(8192);
        std::fs::write("/proc/sys/net/core/somaxconn", LIMIT.to_string()).unwrap();
        let origin = Origin::saying("hello");
        let tidegate = Setup::of(&origin.address()).set("process.workers", "1").start();
        wait_for_looks(tidegate.front.address("admin"), 1);
        let pid = tidegate.front.process.id();
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
        // Room for some clients more; the preflight's warning about that is not what is looked at here.
        let limit = format!("--nofile={}", open + 8);
        assert!(
            prlimit
                .args(["--pid", &pid.to_string(), &limit])
                .status()
                .unwrap()
                .success()
        );
        let clients = knock(tidegate.address(), LIMIT + 100);
        tidegate.front.process.wait_for_line("the finding", |line| {
            line.contains("handshake finding opened: client-front: accept_queue_overflow (certain")
        });
        assert!(tidegate.front.process.log().contains("connections cannot be accepted"));
        drop(clients);
        eventually("it is served again", || {
            tests::client::Client::try_connect(tidegate.address()).is_ok() && tidegate.get("/").status == 200
        });
    });
}

#[test]
fn the_doctor_names_a_listener_that_does_not_accept() {
    alone("the doctor without a tidegate", || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::fs::write("/proc/sys/net/core/somaxconn", "64").unwrap();
        // Listening again takes the new limit.
        socket2::SockRef::from(&listener).listen(64).unwrap();
        let healthy = run(&["doctor", "--seconds", "1"]);
        assert!(
            healthy.stdout.contains("no handshake finding is open"),
            "{}",
            healthy.text()
        );
        let clients = std::thread::scope(|scope| {
            let doctor = scope.spawn(|| run(&["doctor", "--seconds", "6"]));
            let mut clients = Vec::new();
            while !doctor.is_finished() {
                clients.extend(knock(&address, 20));
                tests::wait::nap(std::time::Duration::from_millis(100));
            }
            let outcome = doctor.join().unwrap();
            assert_eq!(outcome.code, 1, "{}", outcome.text());
            let line = outcome
                .stdout
                .lines()
                .find(|line| line.contains(&address) && line.starts_with("machine: "));
            let line = line.unwrap_or_else(|| panic!("no finding on {address} in\n{}", outcome.text()));
            assert!(
                line.contains("accept_queue_overflow") || line.contains("backlog_too_small"),
                "{line}"
            );
            clients
        });
        drop((clients, listener));
    });
}
