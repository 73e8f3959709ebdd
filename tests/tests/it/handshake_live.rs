//! Health in a network namespace of its own, so that nobody else's traffic is judged; each cause is in `handshake_causes`.
//! Root only.

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use tests::health::{findings, report, verdict, wait_for_looks};
use tests::network::{alone, knock, set};
use tests::origin::Origin;
use tests::programs::{installed, skipped};
use tests::setup::Setup;
use tests::sys::{is_root, raise_open_files};
use tests::tidegate::run;
use tests::wait::{Deadline, eventually, nap};

#[test]
fn a_machine_that_loses_nothing_is_well() {
    alone("a healthy machine", &[], || {
        const CONNECTIONS: u64 = 300;
        let origin = Origin::saying("hello");
        let setup = Setup::of(&origin.address()).set("health.accepts_looked_at", "1");
        let tidegate = setup.uncached().start();
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

#[test]
fn local_ports_and_time_wait_are_told_by_destination() {
    alone("sockets by destination", &[], || {
        const ENDED: u64 = 7;
        let origins = [(); 2].map(|()| Origin::saying("hello"));
        // Who closes first holds the TIME_WAIT.
        let sites = "[[site]]\nhosts = ['www.example.com']\norigin = 'o'\ncache = false\n\
                     [[site.route]]\nprefix = '/p'\norigin = 'p'\n";
        let tidegate = Setup::with_sites(sites)
            .origin("o", &origins[0].address())
            .origin("p", &origins[1].address())
            .set("origin.o.connection_requests_max", "1")
            .start();
        for _ in 0..ENDED {
            assert_eq!(tidegate.get("/").status, 200);
        }
        assert_eq!(tidegate.get("/p").status, 200);
        let admin = tidegate.front.address("admin");
        let told = || {
            let report = report(admin);
            let client = report["legs"][2]["client"].clone();
            let mut told = Vec::new();
            for to in client["destinations"].as_array().into_iter().flatten() {
                told.push((
                    to["backend"].as_str().unwrap().to_owned(),
                    to["address"].as_str().unwrap().to_owned(),
                    to["local_ports_used"].as_u64().unwrap(),
                    to["time_wait"].as_u64().unwrap(),
                ));
            }
            told
        };
        let expected = [
            ("o".to_owned(), origins[0].address(), ENDED, ENDED),
            ("p".to_owned(), origins[1].address(), 1, 0),
        ];
        // Sockets are counted every 10 s, and more seldom on a machine that is so busy that counting takes long.
        let deadline = Deadline::after(Duration::from_secs(180));
        while told() != expected {
            assert!(!deadline.is_over(), "{:?}, expected {expected:?}", told());
            nap(Duration::from_millis(200));
        }
        tidegate.expect_metric("tidegate_backend_local_ports", r#"backend="o""#, ENDED);
        tidegate.expect_metric("tidegate_backend_sockets", r#"backend="o""#, ENDED);
    });
}

/// As many as an accept queue takes in these tests.
const LIMIT: usize = 600;

#[test]
fn a_process_without_descriptors_still_names_its_overflow() {
    alone("an overflow for want of descriptors", &["prlimit"], || {
        raise_open_files(8192);
        set("net/core/somaxconn", &LIMIT.to_string());
        let origin = Origin::saying("hello");
        let tidegate = Setup::of(&origin.address()).set("process.workers", "1").start();
        wait_for_looks(tidegate.front.address("admin"), 1);
        let pid = tidegate.front.process.id();
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
        // Room for some clients more; the preflight's warning about that is not what is looked at here.
        let limit = format!("--nofile={}", open + 8);
        assert!(
            Command::new("prlimit")
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
    alone("the doctor without a tidegate", &[], || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        set("net/core/somaxconn", "64");
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
                nap(Duration::from_millis(100));
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

#[test]
fn the_doctor_looks_from_inside_another_process_network() {
    if !is_root() || installed("unshare").is_none() {
        return skipped("the doctor's --pid: only root may enter a network namespace");
    }
    let here = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = here.local_addr().unwrap().to_string();
    let mut inside = Command::new("unshare").args(["-n", "sleep", "60"]).spawn().unwrap();
    let pid = inside.id().to_string();
    let own = std::fs::read_link("/proc/self/ns/net").unwrap();
    eventually("it has a network of its own", || {
        std::fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|theirs| theirs != own)
    });
    let inside_of = run(&["doctor", "--pid", &pid, "--seconds", "1", "--json"]);
    inside.kill().unwrap();
    inside.wait().unwrap();
    assert!(inside_of.stdout.contains("\"listeners\":[]"), "{}", inside_of.text());
    let outside = run(&["doctor", "--seconds", "1", "--json"]);
    assert!(outside.stdout.contains(&here), "{}", outside.text());
    let nobody = run(&["doctor", "--pid", "4194305", "--seconds", "1"]);
    assert_eq!(nobody.code, 2, "{}", nobody.text());
    nobody.expect_one_line_about("--pid 4194305");
}
