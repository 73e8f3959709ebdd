//! Each cause made to happen for real, in a network namespace of its own: the right leg and cause within 15 s of its start,
//! closed within 90 s of its end, and nothing else in between. All at once, because most of it is waiting. Root only.

use std::cell::RefCell;
use std::io::Write as _;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tests::client::{Client, get};
use tests::health::{findings, verdict, wait_for_looks};
use tests::network::{Drops, alone, connect_from, knock, set};
use tests::origin::Origin;
use tests::ports::{Blackhole, RefusingPort};
use tests::programs::installed;
use tests::script::Script;
use tests::setup::Setup;
use tests::sys::{StoppedThread, raise_open_files};
use tests::tidegate::Tidegate;
use tests::wait::{Deadline, Gate, nap};

const NAMED_WITHIN: Duration = Duration::from_secs(15);
const CLOSED_WITHIN: Duration = Duration::from_secs(90);

/// What happens, the programs that it takes, and how.
type Scene = (&'static str, &'static [&'static str], fn());

const SCENES: &[Scene] = &[
    ("a stalled program", &[], stalled),
    ("a short stall", &[], stalled_shortly),
    ("one stuck shard of two", &[], stuck_shard),
    ("a full SYN queue without cookies", &["nft"], syn_queue_full),
    ("a full SYN queue with cookies", &["nft"], syn_cookies),
    ("SYNs lost towards an origin", &["nft"], syns_lost),
    ("an origin that refuses", &[], refusing_origin),
    ("too few places for TIME_WAIT", &[], time_wait_overflow),
    ("local ports used up", &[], local_ports),
    ("a burst of load on a healthy machine", &[], healthy_burst),
    ("another program's full queue", &[], another_program),
];

#[test]
fn each_cause_is_named_on_its_leg_and_closed_and_nothing_else_is() {
    raise_open_files(16_384);
    let failed: Vec<_> = thread::scope(|scope| {
        let scenes = SCENES.iter().map(|&(name, programs, body)| {
            let running = thread::Builder::new().name(name.to_owned());
            (
                name,
                running
                    .spawn_scoped(scope, move || alone(name, programs, body))
                    .unwrap(),
            )
        });
        let running: Vec<_> = scenes.collect();
        running
            .into_iter()
            .filter_map(|(name, scene)| scene.join().err().map(|_| name))
            .collect()
    });
    assert!(failed.is_empty(), "went wrong: {failed:?}");
}

/// What the health page may say while a cause is at work, watched over one connection, so that watching opens no others.
struct Watch<'a> {
    tidegate: &'a Tidegate,
    admin: RefCell<Client>,
    expected: &'static [&'static str],
}

impl<'a> Watch<'a> {
    /// Findings as `leg/side/cause`.
    fn on(tidegate: &'a Tidegate, expected: &'static [&'static str]) -> Self {
        let admin = tidegate.front.address("admin");
        wait_for_looks(admin, 1);
        let watch = Self {
            tidegate,
            admin: RefCell::new(Client::connect(admin)),
            expected,
        };
        assert_eq!(findings(&watch.report()), Vec::<String>::new(), "before it begins");
        watch
    }

    fn report(&self) -> Value {
        let page = self.admin.borrow_mut().get("/health");
        serde_json::from_str(&page.text()).unwrap()
    }

    /// Repeats `act` until all is named, and checks that nothing else ever is.
    fn until_named(&self, mut act: impl FnMut()) -> Value {
        let deadline = Deadline::after(NAMED_WITHIN);
        loop {
            act();
            let report = self.report();
            if self.check(&report) == self.expected.len() {
                return report;
            }
            assert!(!deadline.is_over(), "not named: {:?}\n{report:#}", self.expected);
            nap(Duration::from_millis(100));
        }
    }

    /// The cause is at work no longer.
    fn until_closed(&self) {
        let deadline = Deadline::after(CLOSED_WITHIN);
        loop {
            let report = self.report();
            if self.check(&report) == 0 && is_well(&report) {
                return;
            }
            assert!(
                !deadline.is_over(),
                "not closed\n{report:#}\n{}",
                self.tidegate.front.process.log()
            );
            nap(Duration::from_millis(250));
        }
    }

    fn check(&self, report: &Value) -> usize {
        let found = own_findings(report);
        let surprise = found.iter().find(|one| !self.expected.contains(&one.as_str()));
        assert_eq!(surprise, None, "{report:#}");
        found.len()
    }
}

/// Findings of this namespace. `softnet_stat` counts for the whole machine: other tests beside this one may fill a CPU's
/// backlog.
fn own_findings(report: &Value) -> Vec<String> {
    let mut found = findings(report);
    found.retain(|one| one != "machine/server/cpu_backlog");
    found
}

fn is_well(report: &Value) -> bool {
    report["status"] == "ok" || (own_findings(report).is_empty() && !findings(report).is_empty())
}

#[track_caller]
fn expect(report: &Value, leg: &str, expected_verdict: &str, whose: &str) {
    assert_eq!(verdict(report, leg), expected_verdict, "{report:#}");
    assert_eq!(report["findings"][0]["whose"], whose, "{report:#}");
}

/// As many as an accept queue takes here: more than what counts as a small backlog.
const LIMIT: usize = 600;

fn front_with(workers: &str) -> (Origin, Tidegate) {
    set("net/core/somaxconn", &LIMIT.to_string());
    let origin = Origin::saying("hello");
    let tidegate = Setup::of(&origin.address()).set("process.workers", workers).start();
    (origin, tidegate)
}

/// Stalls one of `workers` while clients connect.
fn overflow(workers: &str, clients: usize, expected: &'static [&'static str]) {
    let (_origin, tidegate) = front_with(workers);
    let watch = Watch::on(&tidegate, expected);
    let stalled = StoppedThread::stop(tidegate.front.process.id(), "tidegate-w0");
    let clients = knock(tidegate.address(), clients);
    let report = watch.until_named(|| {});
    expect(&report, "client-front", "lossy", "ours");
    assert_eq!(report["status"], "degraded");
    assert_eq!(report["findings"][0]["certainty"], "certain", "{report:#}");
    let peak = report["listeners"][0]["queue"]["peak"].as_u64();
    assert!(peak > Some(LIMIT as u64), "{report:#}");
    let cause = expected[0].rsplit('/').next().unwrap();
    let labels = format!(r#"leg="client-front",whose="ours",side="server",cause="{cause}",impact="lost""#);
    assert_eq!(tidegate.metric("tidegate_handshake_findings_open", &labels), 1);
    drop((stalled, clients));
    watch.until_closed();
}

fn stalled() {
    overflow("1", LIMIT + 100, &["client-front/server/accept_queue_overflow"]);
}

fn stuck_shard() {
    overflow("2", 2 * LIMIT + 400, &["client-front/server/stuck_shard"]);
}

/// The queue's limit is somaxconn, but it is not the limit that was too small.
fn stalled_shortly() {
    let (_origin, tidegate) = front_with("1");
    let watch = Watch::on(&tidegate, &["client-front/server/accept_queue_overflow"]);
    let stalled = StoppedThread::stop(tidegate.front.process.id(), "tidegate-w0");
    let clients = knock(tidegate.address(), LIMIT + 100);
    nap(Duration::from_millis(400));
    drop((stalled, clients));
    let report = watch.until_named(|| {});
    expect(&report, "client-front", "lossy", "ours");
    watch.until_closed();
}

/// Clients whose handshakes stay half open, because the SYN-ACKs never reach them.
fn flood(cookies: &str, expected: &'static [&'static str]) -> (Value, u64) {
    set("net/ipv4/tcp_syncookies", cookies);
    // What is half open at the end is soon gone.
    set("net/ipv4/tcp_synack_retries", "2");
    let origin = Origin::saying("hello");
    let tidegate = Setup::of(&origin.address())
        .set("process.workers", "1")
        .set("front.listen", "[{ address = '127.0.0.1:0', backlog = 16 }]")
        .start();
    let watch = Watch::on(&tidegate, expected);
    let port = tidegate.address().rsplit(':').next().unwrap();
    let _lost = Drops::outgoing(&format!("tcp sport {port} tcp flags & (syn | ack) == syn | ack"));
    let clients = knock(tidegate.address(), 60);
    let report = watch.until_named(|| {});
    drop(clients);
    watch.until_closed();
    let dropped = tidegate.metric("tidegate_tcp_events_total", r#"counter="TcpExt.ListenDrops""#);
    (report, dropped)
}

fn syn_queue_full() {
    let (report, dropped) = flood("0", &["client-front/server/syn_queue_full"]);
    expect(&report, "client-front", "lossy", "ours");
    assert!(dropped > 0);
}

fn syn_cookies() {
    let (report, dropped) = flood("1", &["client-front/server/syncookies"]);
    // Whose it is shows when half-open connections are counted, which may take some seconds on a busy machine.
    assert_eq!(verdict(&report, "client-front"), "at-risk", "{report:#}");
    assert_eq!(dropped, 0, "cookies lose nothing");
}

fn syns_lost() {
    let origin = Origin::start(|_| Script::ok("hello").close());
    let tidegate = Setup::of(&origin.address())
        .uncached()
        .set("origin.o.keepalive", "0")
        .start();
    let watch = Watch::on(&tidegate, &["cache-origin/client/connect_loss"]);
    let port = origin.address().rsplit(':').next().unwrap().to_owned();
    let lost = Drops::incoming(&format!(
        "tcp dport {port} tcp flags & (syn | ack) == syn numgen inc mod 2 == 0"
    ));
    let report = watch.until_named(|| {
        thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(|| tidegate.get("/")))));
    });
    expect(&report, "cache-origin", "lossy", "ours");
    drop(lost);
    watch.until_closed();
}

fn refusing_origin() {
    let refusing = RefusingPort::reserve();
    let tidegate = Setup::of(&refusing.address()).uncached().start();
    let watch = Watch::on(&tidegate, &["cache-origin/client/connect_refused"]);
    let report = watch.until_named(|| assert!(tidegate.get("/").status >= 500));
    expect(&report, "cache-origin", "lossy", "ours");
    watch.until_closed();
}

fn time_wait_overflow() {
    let origin = Origin::saying("hello");
    let tidegate = Setup::of(&origin.address()).start();
    let watch = Watch::on(&tidegate, &["client-front/server/time_wait_overflow"]);
    set("net/ipv4/tcp_max_tw_buckets", "20");
    let report = watch.until_named(|| (0..30).for_each(|_| assert_eq!(tidegate.get("/").status, 200)));
    // Whose it is shows when sockets are counted, every 10 s.
    assert_eq!(verdict(&report, "client-front"), "at-risk", "{report:#}");
    watch.until_closed();
}

fn local_ports() {
    const PORTS: u8 = 16;
    let gate = Gate::new();
    let origin = Origin::start({
        let gate = gate.clone();
        move |_| {
            Script::says("")
                .wait(&gate)
                .send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                .close()
        }
    });
    let tidegate = Setup::of(&origin.address()).uncached().start();
    let watch = Watch::on(&tidegate, &["cache-origin/client/local_ports_exhausted"]);
    set("net/ipv4/ip_local_port_range", "50000 50015");
    let mut clients = Vec::new();
    let mut ask = || {
        for number in 0..PORTS + 8 {
            let mut client = connect_from(number / 8, tidegate.address());
            client.write_all(get("/").as_bytes()).unwrap();
            clients.push(client);
        }
    };
    ask();
    let report = watch.until_named(|| {});
    expect(&report, "cache-origin", "lossy", "ours");
    gate.open();
    drop(clients);
    set("net/ipv4/ip_local_port_range", "32768 60999");
    watch.until_closed();
}

/// Many new connections at once, and requests as fast as they are answered: nothing to be said about either.
fn healthy_burst() {
    let origin = Origin::saying("hello");
    let tidegate = Setup::of(&origin.address()).start();
    let watch = Watch::on(&tidegate, &[]);
    let wrk = installed("wrk").map(|mut wrk| {
        wrk.args(["-t1", "-c100", "-d8s"]);
        wrk.arg(format!("http://{}/", tidegate.address()))
            .stdout(std::process::Stdio::null());
        wrk.spawn().unwrap()
    });
    let clients = knock(tidegate.address(), 1500);
    let deadline = Deadline::after(NAMED_WITHIN);
    while !deadline.is_over() {
        let report = watch.report();
        assert_eq!(watch.check(&report), 0);
        assert!(is_well(&report), "{report:#}");
        nap(Duration::from_millis(250));
    }
    drop(clients);
    if let Some(mut wrk) = wrk {
        assert!(wrk.wait().unwrap().success());
    }
}

/// The counters are everybody's; the status is about this process.
fn another_program() {
    let origin = Origin::saying("hello");
    let tidegate = Setup::of(&origin.address()).start();
    let watch = Watch::on(&tidegate, &["machine/server/accept_queue_overflow"]);
    let other = Blackhole::fill();
    let clients = knock(&other.address(), 20);
    let report = watch.until_named(|| assert_eq!(tidegate.get("/").status, 200));
    expect(&report, "client-front", "healthy", "others");
    assert!(is_well(&report), "{report:#}");
    drop((clients, other));
    watch.until_closed();
}
