//! What one client may take from the others: it is refused, counted and told; those beside it notice nothing.

use tests::client::{Client, get, request};
use tests::http2::{DATA, HEADERS, Http2, RST_STREAM, code};
use tests::origin::Origin;
use tests::script::Script;
use tests::setup::Setup;
use tests::tidegate::Tidegate;
use tests::wait::{Gate, eventually};
use tests::wire::Stop;

/// Addresses of this machine: to limits, two clients.
const GREEDY: [u8; 4] = [127, 0, 0, 66];
const MODEST: [u8; 4] = [127, 0, 0, 2];

/// RFC 9113 §7.
const CANCEL: u32 = 8;

/// Echoes the target; uncached.
fn echo() -> Origin {
    Origin::start(|request| Script::ok(request.target()))
}

/// Whether tidegate closed the connection without an answer.
#[track_caller]
fn expect_shed(client: &mut Client) {
    client.send(get("/"));
    let (stop, text) = client.wait_for_end();
    assert!(stop != Stop::Silence && text.is_empty(), "{stop:?} {text}");
}

fn shed(tidegate: &Tidegate, reason: &str) -> u64 {
    tidegate.metric("tidegate_connections_shed_total", &format!("reason=\"{reason}\""))
}

#[test]
fn one_source_has_its_connections_and_no_more_on_all_workers_together() {
    let origin = echo();
    let tidegate = Setup::of(&origin.address())
        .set("limits.connections_per_source_max", "4")
        .set("limits.connections_exempt", "['127.0.0.1']")
        .start();
    let from = |own| Client::connect_from(own, tidegate.address());
    let mut kept: Vec<Client> = (0..4).map(|_| from(GREEDY)).collect();
    for client in &mut kept {
        assert_eq!(client.get("/").status, 200);
    }
    for _ in 0..8 {
        expect_shed(&mut from(GREEDY));
    }
    let mut neighbour = from(MODEST);
    assert_eq!(neighbour.get("/").status, 200);
    for client in &mut kept {
        assert_eq!(client.get("/").status, 200, "those that are open stay so");
    }
    assert_eq!(shed(&tidegate, "source"), 8);
    assert_eq!(shed(&tidegate, "connections"), 0);
    let exempt: Vec<Client> = (0..8).map(|_| tidegate.client()).collect();
    for mut client in exempt {
        assert_eq!(client.get("/").status, 200);
    }

    drop(kept);
    eventually("there is room again", || {
        let mut client = from(GREEDY);
        client.send(get("/"));
        client
            .try_read_answer_to("GET")
            .is_ok_and(|response| response.status == 200)
    });
    let log = tidegate.front.process.log();
    let told = log.lines().filter(|line| line.contains("reason=\"source\"")).count();
    assert!(
        (1..=2).contains(&told),
        "once per worker and ten seconds, not eight times:\n{log}"
    );
    assert!(log.contains("127.0.0.66:"), "{log}");
}

fn limit_hits(tidegate: &Tidegate, limit: &str) -> u64 {
    tidegate.metric("tidegate_limit_hits_total", &format!("limit=\"{limit}\""))
}

/// A rate that nobody reaches who moves nothing, and a grace that is soon over; the timeouts stay at their 30 seconds.
fn hasty(origin: &Origin) -> Setup {
    Setup::of(&origin.address())
        .set("front.body_rate_min", "'1KiB'")
        .set("front.send_rate_min", "'1KiB'")
        .set("front.rate_grace", "'300ms'")
        .set("front.listen", "[{ address = '127.0.0.1:0', http2 = true }]")
}

#[test]
fn a_body_that_comes_too_slowly_is_refused_and_never_looks_whole() {
    let origin = echo();
    let tidegate = hasty(&origin).start();
    let mut neighbour = tidegate.client();
    for (lines, part) in [
        ("Content-Length: 10\r\n", "abc"),
        ("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n"),
    ] {
        let mut client = tidegate.client();
        client.send(request("POST", "/", lines, part));
        let (stop, text) = client.wait_for_end();
        assert_ne!(stop, Stop::Silence);
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 408 "), "{text}");
        assert_eq!(neighbour.get("/").status, 200);
    }
    tidegate.expect_metric_of_at_least("tidegate_limit_hits_total", "limit=\"body_rate\"", 2);
    tidegate.wait_until_no_backend_is_busy();
    let uploads = origin
        .requests()
        .into_iter()
        .filter(|request| request.method() == "POST");
    assert!(uploads.into_iter().all(|request| !request.is_whole()));
}

#[test]
fn a_slow_origin_is_not_the_clients_slowness() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::at_head(move |_| {
        let late = Script::new().wait(&held).read_body();
        late.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    });
    let tidegate = hasty(&origin).start();
    let mut client = tidegate.client();
    let body = "x".repeat(8 << 20);
    let length = format!("Content-Length: {}\r\n", body.len());
    let sending = std::thread::spawn(move || {
        client.send(request("POST", "/", &length, &body));
        client.read().text()
    });
    gate.wait_for_arrivals(1);
    // Longer than the grace: somebody else is refused meanwhile for being slow.
    let mut slow = tidegate.client();
    slow.send(request("POST", "/slow", "Content-Length: 10\r\n", "abc"));
    drop(slow.wait_for_end());
    gate.open();
    assert_eq!(sending.join().unwrap(), "ok");
}

#[test]
fn a_client_that_takes_its_response_too_slowly_is_given_up() {
    let origin = Origin::start(|_| Script::says("HTTP/1.1 200 OK\r\n\r\n").forever(vec![b'x'; 64 << 10]));
    let tidegate = hasty(&origin).start();
    let mut client = tidegate.client();
    client.send(get("/"));
    tidegate.expect_metric("tidegate_limit_hits_total", "limit=\"send_rate\"", 1);
    tidegate.expect_metric("tidegate_connections_close_reasons_total", "reason=\"send_timeout\"", 1);

    const INITIAL_WINDOW: u16 = 4;
    let mut client = Http2::connect(tidegate.address(), &[(INITIAL_WINDOW, 100)]);
    client.get(1, "/");
    assert_eq!(client.read_until(DATA).content.len(), 100);
    assert_eq!(code(&client.read_until(RST_STREAM)), CANCEL);
    assert_eq!(limit_hits(&tidegate, "send_rate"), 2);
    tidegate.wait_until_no_backend_is_busy();
}

#[test]
fn clients_that_take_nothing_hold_little_memory_and_give_it_back() {
    const OBJECT: usize = 1 << 20;
    const CONNECTIONS: usize = 40;
    let origin = Origin::start(|request| match request.path() {
        "/small" => Script::cacheable("hello"),
        // Not stored: what is read of it is held for this one client.
        "/passed" => Script::ok("x".repeat(OBJECT)),
        _ => Script::cacheable("x".repeat(OBJECT)),
    });
    let tidegate = Setup::of(&origin.address())
        .set("front.listen", "[{ address = '127.0.0.1:0', http2 = true }]")
        .start();
    let process = &tidegate.front.process;
    let mut neighbour = tidegate.client();
    assert_eq!(tidegate.get("/stored").text().len(), OBJECT);
    let before = process.memory();
    let mut peaks = [0, 0];
    for peak in &mut peaks {
        let held: Vec<_> = (0..CONNECTIONS).map(|_| taking_nothing(&tidegate)).collect();
        assert_eq!(neighbour.get("/small").text(), "hello", "the neighbour notices nothing");
        *peak = process.memory().saturating_sub(before);
        drop(held);
        eventually("they are gone", || {
            tidegate.metric("tidegate_connections_open", "") <= 2
        });
        tidegate.wait_until_no_backend_is_busy();
    }
    // About 10 KiB for each of 4,000 streams, none of which holds its megabyte.
    assert!(peaks[0] < 64 << 20, "{peaks:?} bytes for clients that take nothing");
    // What they left is used again, and nothing of theirs is kept.
    assert!(peaks[1] < peaks[0] + (8 << 20), "{peaks:?} bytes in two rounds");
}

/// One client of each version that asks for a megabyte, a hundred times over HTTP/2, and opens no window.
fn taking_nothing(tidegate: &Tidegate) -> (Http2, Client) {
    const STREAMS: u32 = 100;
    const INITIAL_WINDOW: u16 = 4;
    let mut http2 = Http2::connect(tidegate.address(), &[(INITIAL_WINDOW, 0)]);
    for stream in 0..STREAMS {
        http2.get(2 * stream + 1, "/stored");
    }
    http2.get(2 * STREAMS + 1, "/passed");
    for _ in 0..=STREAMS {
        http2.read_until(HEADERS);
    }
    let mut http1 = tidegate.client();
    http1.send(get("/stored"));
    (http2, http1)
}
