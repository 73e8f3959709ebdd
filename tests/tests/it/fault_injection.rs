//! What servers do to their peers, many times over and to several clients at once: each fault ends in its
//! documented word and status in time, and afterwards no place in a pool is taken and no connection is open that is not
//! counted. Single faults, byte for byte: `origin_faults`; ten thousand of all kinds at once: `fault_crowd`.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tests::certificates::Made;
use tests::client::{Client, get, request};
use tests::name_server::NameServer;
use tests::origin::Origin;
use tests::ports::{Blackhole, RefusingPort};
use tests::script::Script;
use tests::setup::Setup;
use tests::tidegate::{Tidegate, folder};
use tests::tls_origin::{Kind, TlsOrigin};
use tests::wait::eventually;

/// Requests per fault, and clients that send them.
const CLIENTS: usize = 4;
const EACH: usize = 25;

const WHOLE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

fn setup(server: &str) -> Setup {
    Setup::of(server)
        .uncached()
        .set("origin.o.connect_timeout", "'300ms'")
        .set("origin.o.response_timeout", "'300ms'")
        .set("origin.o.body_timeout", "'300ms'")
        .set("origin.o.retries", "0")
}

/// How often each outcome came: `status word`, or what became of a body.
pub(super) type Outcomes = BTreeMap<String, usize>;

/// Sends many requests, several at a time, each on a connection of its own.
fn storm(tidegate: &Tidegate) -> Outcomes {
    let one = || outcome(&mut tidegate.client(), "/").0;
    let mut all = Outcomes::new();
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| scope.spawn(move || (0..EACH).map(|_| one()).collect::<Vec<_>>()))
            .collect();
        for outcome in clients.into_iter().flat_map(|client| client.join().unwrap()) {
            *all.entry(outcome).or_default() += 1;
        }
    });
    all
}

/// What a request comes to, and whether the client's connection can be used again.
pub(super) fn outcome(client: &mut Client, path: &str) -> (String, bool) {
    client.send(get(path));
    match client.try_read_answer_to("GET") {
        Ok(response) if response.looks_whole() => (
            format!("{} {}", response.status, word(response.field("proxy-status"))),
            !response.says_close(),
        ),
        Ok(_) | Err(_) => ("cut".to_owned(), false),
    }
}

/// `error=WORD` of a `Proxy-Status`.
fn word(status: &str) -> &str {
    let parts = status.split(';').map(str::trim);
    parts
        .filter_map(|part| part.strip_prefix("error="))
        .next_back()
        .unwrap_or("-")
}

/// All outcomes are among these.
#[track_caller]
fn expect(what: &str, outcomes: &Outcomes, documented: &[&str]) {
    let is_documented = outcomes.keys().all(|outcome| documented.contains(&outcome.as_str()));
    assert!(is_documented, "{what}: {outcomes:?}, documented are {documented:?}");
    assert_eq!(outcomes.values().sum::<usize>(), CLIENTS * EACH, "{what}");
}

/// No place is taken, and what is counted as open is what the server sees.
fn expect_no_leak(what: &str, tidegate: &Tidegate, open: impl Fn() -> usize) {
    tidegate.wait_until_no_backend_is_busy();
    let idle = || tidegate.metric("tidegate_backend_connections", r#"state="idle""#);
    eventually(&format!("{what}: as many connections as are counted"), || {
        open() as u64 == idle()
    });
}

pub(super) type Fault = (&'static str, fn() -> Origin, &'static [&'static str]);

const TERMINATED: &[&str] = &["502 connection_terminated", "502 http_response_incomplete"];

/// What a server of HTTP/1.1 does to its peer, and what comes of it.
#[rustfmt::skip]
pub(super) const FAULTS: [Fault; 14] = [
    ("accepts and never answers", || Origin::at_accept(|_| Script::new().hold()), &["504 http_response_timeout"]),
    ("answers byte by byte", || Origin::start(|_| Script::new().drip(WHOLE)), &["200 -"]),
    ("answers byte by byte without an end",
        || Origin::start(|_| Script::says("HTTP/1.1 200 OK\r\nA: ").trickle("b", Duration::from_millis(20))),
        &["504 http_response_timeout"]),
    ("resets at once", || Origin::at_accept(|_| Script::new().reset()), TERMINATED),
    ("resets after the request", || Origin::start(|_| Script::new().reset()), TERMINATED),
    ("resets in the status line", || Origin::start(|_| Script::says("HTTP/1.1 2").reset()), TERMINATED),
    ("resets in the head", || Origin::start(|_| Script::says("HTTP/1.1 200 OK\r\nA: ").reset()), TERMINATED),
    ("resets after the head",
        || Origin::start(|_| Script::says("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n").reset()),
        &["cut", "502 connection_terminated", "502 http_response_incomplete"]),
    ("resets in the body",
        || Origin::start(|_| Script::says("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut").reset()),
        &["cut", "502 connection_terminated", "502 http_response_incomplete"]),
    ("stops in the body",
        || Origin::start(|_| Script::says("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut").hold()),
        &["cut"]),
    // A request whose idle connection turns out closed is sent once more on a new one.
    ("resets when the response is whole", || Origin::start(|_| Script::says(WHOLE).reset()), &["200 -"]),
    ("closes keep-alive connections at random", at_random, &["200 -"]),
    ("is no HTTP", || Origin::start(|_| Script::says("220 mail.example ESMTP\r\n\r\n").close()), &["502 http_protocol_error"]),
    ("says what cannot be a chunk",
        || Origin::start(|_| Script::says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n").close()),
        &["502 http_response_transfer_coding", "cut"]),
];

#[test]
fn each_fault_of_a_server_ends_in_its_word_in_time_and_leaks_nothing() {
    for (what, start, documented) in FAULTS {
        let origin = start();
        let tidegate = setup(&origin.address()).set("origin.o.ejection.failures", "0").start();
        expect(what, &storm(&tidegate), documented);
        expect_no_leak(what, &tidegate, || origin.open_connections());
    }
}

#[test]
fn a_server_that_goes_while_content_is_sent_to_it_ends_in_its_word_and_leaks_nothing() {
    let content = "x".repeat(1 << 20);
    let post = request("POST", "/", &format!("Content-Length: {}\r\n", content.len()), &content);
    for (what, script) in [
        ("resets before the content", Script::new().reset()),
        ("closes before the content", Script::new().close()),
        ("resets within the content", Script::new().read_some(100_000).reset()),
        ("closes within the content", Script::new().read_some(100_000).close()),
    ] {
        let origin = Origin::at_head(move |_| script.clone());
        let tidegate = setup(&origin.address()).set("origin.o.ejection.failures", "0").start();
        for _ in 0..EACH {
            let mut client = tidegate.client();
            // It may be answered before it has sent everything.
            client.try_send(&post);
            let answer = client.try_read_answer_to("POST");
            let answer = answer.unwrap_or_else(|stop| panic!("{what}: {stop:?}"));
            let told = format!("{} {}", answer.status, word(answer.field("proxy-status")));
            assert!(TERMINATED.contains(&&*told), "{what}: {told}");
        }
        expect_no_leak(what, &tidegate, || origin.open_connections());
    }
}

/// Answers, and closes after every second, third or fifth answer.
fn at_random() -> Origin {
    let answered = AtomicUsize::new(0);
    Origin::start(move |_| {
        let number = answered.fetch_add(1, Ordering::SeqCst);
        match number % 30 {
            2 | 5 | 11 | 17 | 23 => Script::says(WHOLE).close(),
            3 | 13 | 29 => Script::says(WHOLE).reset(),
            _ => Script::says(WHOLE),
        }
    })
}

#[test]
fn each_server_that_cannot_be_reached_has_its_word_and_leaks_nothing() {
    let (_folder, path) = folder();
    let (refusing, blackhole) = (RefusingPort::reserve(), Blackhole::fill());
    let other = Made::ecdsa(&["other.example"]);
    let tls = TlsOrigin::start(&Kind::hello(&other));
    let roots = format!("'{}'", other.write(&path, "roots").certificate.display());
    let trusting = setup(&tls.url())
        .set("origin.o.tls.roots", &roots)
        .set("origin.o.connect_timeout", "'20s'");
    for (what, setup, expected) in [
        ("refuses", setup(&refusing.address()), "502 connection_refused"),
        ("takes no SYN", setup(&blackhole.address()), "504 connection_timeout"),
        ("has a wrong certificate", trusting, "502 tls_certificate_error"),
    ] {
        let tidegate = setup.set("origin.o.ejection.failures", "0").start();
        expect(what, &storm(&tidegate), &[expected]);
        expect_no_leak(what, &tidegate, || 0);
    }
}

#[test]
fn a_service_that_turns_to_nothing_or_to_ourselves_is_told_and_comes_back() {
    const SERVICE: &str = "_http._tcp.app.test";
    let origin = Origin::start(|_| Script::says(WHOLE));
    let name_server = NameServer::start();
    name_server.host("here.test", Ipv4Addr::LOCALHOST);
    let to = |address: &str| {
        let port = address.rsplit_once(':').unwrap().1;
        name_server.service(SERVICE, &[format!("0 0 {port} here.test.")]);
    };
    to(&origin.address());
    let tidegate = setup(&format!("srv:{SERVICE}"))
        .set("origin.o.name_servers", &format!("['{}']", name_server.address()))
        .start();
    expect("as it should be", &storm(&tidegate), &["200 -"]);

    name_server.service(SERVICE, &["0 0 0 .".to_owned()]);
    eventually("nobody is there", || tidegate.get("/").status == 503);
    expect(
        "resolves to nothing",
        &storm(&tidegate),
        &["503 destination_unavailable"],
    );

    to(tidegate.address());
    eventually("we are our own origin", || tidegate.get("/").status == 508);
    expect("resolves to itself", &storm(&tidegate), &["508 proxy_loop_detected"]);

    to(&origin.address());
    eventually("all is well again", || tidegate.get("/").status == 200);
    expect("as it should be", &storm(&tidegate), &["200 -"]);
    expect_no_leak("a service that changes", &tidegate, || origin.open_connections());
}
