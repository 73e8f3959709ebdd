//! Servers behind a network that loses or delays packets, in a network namespace of its own. Root only.
//!
//! Loss is made by the packet filter, delay by `tc netem` where the kernel has it; where not, by loss: what is sent again
//! comes late.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tests::network::{Drops, alone};
use tests::origin::Origin;
use tests::programs::{installed, skipped};
use tests::script::Script;
use tests::setup::Setup;
use tests::tidegate::{Tidegate, folder};
use tests::wait::eventually;

/// Clients, and requests of each.
const CLIENTS: usize = 16;
const EACH: usize = 20;

fn setup(origin: &Origin) -> Setup {
    Setup::of(&origin.address())
        .uncached()
        .set("origin.o.retries", "0")
        .set("origin.o.ejection.failures", "0")
}

fn port(origin: &Origin) -> String {
    origin.address().rsplit_once(':').unwrap().1.to_owned()
}

/// Whoever asks, asks on one connection; how many got another answer than they should.
fn storm(tidegate: &Tidegate) -> usize {
    let failed = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = tidegate.client();
                for _ in 0..EACH {
                    let response = client.get("/");
                    if (response.status, response.text().as_str()) != (200, "hello") {
                        failed.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    failed.into_inner()
}

#[test]
fn lost_packets_cost_time_and_no_request() {
    alone("packets lost towards an origin", &["nft"], || {
        let origin = Origin::saying("hello");
        // Short connections, so that SYNs are among what is lost.
        let tidegate = setup(&origin).set("origin.o.connection_requests_max", "4").start();
        let port = port(&origin);
        let lost = Drops::incoming(&format!("tcp dport {port} numgen random mod 100 < 5"));
        assert_eq!(storm(&tidegate), 0, "TCP repairs it");
        drop(lost);
        // Five SYNs of 60 bytes.
        let syns_lost = Drops::incoming(&format!(
            "tcp dport {port} tcp flags & (syn|ack) == syn quota until 300 bytes"
        ));
        assert_eq!(storm(&tidegate), 0, "a SYN that is lost is sent again after a second");
        drop(syns_lost);
        let repeated = tidegate.metric("tidegate_backend_syn_retransmits_total", "");
        let slow = tidegate.metric("tidegate_backend_slow_handshakes_total", "");
        assert!(
            repeated > 0 && slow > 0,
            "{repeated} SYNs repeated, {slow} connects slow"
        );
        tidegate.wait_until_no_backend_is_busy();
    });
}

#[test]
fn a_network_that_goes_silent_is_a_timeout_in_time_and_recovers() {
    alone("a network that goes silent", &["nft"], || {
        let origin = Origin::saying("hello");
        let tidegate = setup(&origin)
            .set("origin.o.connect_timeout", "'500ms'")
            .set("origin.o.response_timeout", "'500ms'")
            .start();
        assert_eq!(storm(&tidegate), 0);
        let silent = Drops::outgoing(&format!("tcp sport {}", port(&origin)));
        let mut words = Vec::new();
        for _ in 0..4 {
            let response = tidegate.get("/");
            assert_eq!(response.status, 504, "{response:?}");
            words.push(response.field("proxy-status").to_owned());
        }
        let named = |word: &str| words.iter().any(|status| status.contains(word));
        assert!(
            named("http_response_timeout"),
            "on a connection that was there: {words:?}"
        );
        tidegate.wait_until_no_backend_is_busy();
        drop(silent);
        eventually("all is well again", || tidegate.get("/").status == 200);
        assert_eq!(storm(&tidegate), 0);
        tidegate.wait_until_no_backend_is_busy();
    });
}

#[test]
fn a_slow_network_is_seen_step_by_step_in_the_access_log() {
    alone("a network with delay", &["nft"], || {
        let (_folder, path) = folder();
        let file = path.join("access.log");
        // In one segment: of several, those that come tell at once what is missing.
        let origin = Origin::start(|_| Script::says("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"));
        let tidegate = setup(&origin)
            .set("log.access.to", &format!("'{}'", file.display()))
            .set("log.access.format", "'json'")
            .set("log.access.flush", "'20ms'")
            .start();
        let late = Late::begin(&port(&origin));
        assert_eq!(storm(&tidegate), 0, "slow, and whole");
        drop(late);
        for step in ["connect_us", "first_byte_us"] {
            eventually(&format!("{step} is late in a line"), || {
                let log = std::fs::read_to_string(&file).unwrap_or_default();
                let mut took = log.lines().filter_map(|line| field(line, step));
                took.any(|micros| Duration::from_micros(micros) >= LATE)
            });
        }
        tidegate.wait_until_no_backend_is_busy();
    });
}

/// A way and back through netem; TCP waits as long at least before it sends data again, and a second for a SYN.
const LATE: Duration = Duration::from_millis(190);

/// Packets are late in this namespace as long as this lives.
enum Late {
    /// All of them.
    Netem,
    /// A SYN and some answers: they are lost, and sent again.
    Lost(Drops),
}

impl Late {
    /// On the way to this port and back.
    fn begin(port: &str) -> Self {
        let netem = "qdisc add dev lo root netem delay 100ms loss 1%";
        let has_netem = installed("tc").is_some_and(|mut tc| tc.args(netem.split(' ')).status().unwrap().success());
        if has_netem {
            return Self::Netem;
        }
        skipped("netem: this kernel has no sch_netem; what is late is lost and sent again instead");
        Self::Lost(Drops::incoming(&format!(
            "tcp dport {port} tcp flags & (syn|ack) == syn quota until 61 bytes drop\n\
             tcp sport {port} tcp flags & psh == psh numgen inc mod 20 == 0"
        )))
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        if matches!(self, Self::Netem) {
            drop(Command::new("tc").args(["qdisc", "del", "dev", "lo", "root"]).status());
        }
    }
}

/// A number in a line of JSON.
fn field(line: &str, name: &str) -> Option<u64> {
    let value = line.split_once(&format!("\"{name}\":"))?.1;
    value.split([',', '}']).next()?.trim().parse().ok()
}
