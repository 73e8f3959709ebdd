//! What one client may take from the others: it is refused, counted and told; those beside it notice nothing.

use tests::client::{Client, get, request};
use tests::http2::{DATA, HEADERS, Http2, RST_STREAM, code};
use tests::origin::Origin;
use tests::script::Script;
use tests::setup::Setup;
use tests::tidegate::{Tidegate, folder, run, write_config};
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
    assert!(
        peaks[1] < peaks[0] + peaks[0] / 2 + (4 << 20),
        "{peaks:?} bytes in two rounds"
    );
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

#[test]
fn requests_over_their_rate_are_told_when_to_come_again() {
    let origin = echo();
    let sites = "[[site]]\nhosts = ['www.example.com']\ndefault = true\norigin = 'o'\n\
                 [[site.limit]]\nrate = '1/h'\nburst = 3\n\
                 [[site.route]]\nprefix = '/by-key'\n\
                 [[site.route.limit]]\nrate = '1/h'\nkey = 'header:X-Key'\n\
                 [[site]]\nhosts = ['other.example.com']\norigin = 'o'\n";
    let tidegate = Setup::with_sites(sites).origin("o", &origin.address()).start();
    let from = |own| Client::connect_from(own, tidegate.address());
    let (mut greedy, mut modest) = (from(GREEDY), from(MODEST));
    for _ in 0..3 {
        assert_eq!(greedy.get("/").status, 200);
    }
    let refused = greedy.get("/");
    let wait: u64 = refused.field("retry-after").parse().unwrap();
    assert_eq!((refused.status, refused.says_close()), (429, false));
    assert!((3590..=3600).contains(&wait), "{wait}");
    assert_eq!(modest.get("/").status, 200, "the neighbour has a rate of its own");
    let elsewhere = greedy.ask("GET / HTTP/1.1\r\nHost: other.example.com\r\n\r\n");
    assert_eq!(elsewhere.status, 200, "another site has none");

    let mut third = from([127, 0, 0, 3]);
    let mut with_key = |key: &str| {
        let sent = request("GET", "/by-key", &format!("X-Key: {key}\r\n"), "");
        third.ask(sent).status
    };
    assert_eq!([with_key("a"), with_key("a"), with_key("b")], [200, 429, 200]);
    assert_eq!(with_key("c"), 200);
    assert_eq!(with_key("d"), 429, "the site counts them all by address");
    assert_eq!(limit_hits(&tidegate, "rate"), 3);
    assert_eq!(tidegate.metric("tidegate_rate_keys_forgotten_total", ""), 0);
}

#[test]
fn lists_keep_peers_out_and_are_taken_over_when_they_change() {
    let origin = echo();
    let (_folder, path) = folder();
    let (deny, forbidden) = (path.join("deny"), path.join("forbidden"));
    std::fs::write(&deny, "# nobody yet\n").unwrap();
    std::fs::write(&forbidden, "127.0.0.66\n").unwrap();
    let sites = format!(
        "[[site]]\nhosts = ['www.example.com']\ndefault = true\norigin = 'o'\n\
         [[site.route]]\nprefix = '/closed'\ndeny = ['file:{}']\n",
        forbidden.display()
    );
    let listen = format!("[{{ address = '127.0.0.1:0', deny = ['file:{}'] }}]", deny.display());
    let tidegate = Setup::with_sites(&sites)
        .origin("o", &origin.address())
        .set("front.listen", &listen)
        .set("limits.lists_reload_every", "'100ms'")
        .start();
    let from = |own| Client::connect_from(own, tidegate.address());
    let (mut greedy, mut modest) = (from(GREEDY), from(MODEST));
    assert_eq!([greedy.get("/").status, greedy.get("/closed").status], [200, 403]);
    assert_eq!(modest.get("/closed").status, 200);
    tidegate.expect_metric("tidegate_requests_denied_total", "", 1);

    std::fs::write(&deny, "127.0.0.64/30\n").unwrap();
    tidegate.expect_metric(
        "tidegate_file_reloads_total",
        "kind=\"address_list\",result=\"taken_over\"",
        1,
    );
    expect_shed(&mut from(GREEDY));
    assert_eq!(shed(&tidegate, "denied"), 1);
    assert_eq!(greedy.get("/").status, 200, "a connection that is open stays so");
    assert_eq!(from(MODEST).get("/").status, 200);

    std::fs::write(&deny, "127.0.0.64/30\nnonsense\n").unwrap();
    tidegate.expect_metric(
        "tidegate_file_reloads_total",
        "kind=\"address_list\",result=\"failed\"",
        1,
    );
    expect_shed(&mut from(GREEDY));
    let log = tidegate.front.process.log();
    assert!(log.contains(&format!("{}:2: ", deny.display())), "{log}");
}

#[test]
fn a_bad_line_of_a_list_is_told_with_its_place_before_anything_starts() {
    let (_folder, path) = folder();
    let list = path.join("list");
    std::fs::write(&list, "10.0.0.0/8\n10.0.0.1/8\n").unwrap();
    let sites = format!(
        "[[site]]\ndefault = true\norigin = 'o'\nallow = ['file:{}', 'file:/nowhere/at/all']\n",
        list.display()
    );
    let config = Setup::with_sites(&sites).origin("o", "127.0.0.1:1").in_process();
    let file = write_config(&path, &config);
    for command in [["check", "-c", &file], ["run", "-c", &file]] {
        let outcome = run(&command);
        let text = outcome.text();
        assert_ne!(outcome.code, 0, "{text}");
        assert!(
            text.contains("site[0].allow: ") && text.contains("/nowhere/at/all: "),
            "{text}"
        );
        let hint = format!(
            "{}:2: \"10.0.0.1/8\" has bits set behind its prefix; did you mean \"10.0.0.0/8\"?",
            list.display()
        );
        assert!(text.contains(&hint), "{text}");
    }
}

#[test]
fn a_route_may_allow_smaller_bodies_than_the_listener() {
    let origin = echo();
    let sites = "[[site]]\ndefault = true\norigin = 'o'\nrequest_body_max = '10B'\n\
                 [[site.route]]\nprefix = '/small'\nrequest_body_max = '4B'\n";
    let tidegate = Setup::with_sites(sites).origin("o", &origin.address()).start();
    for (path, body, status) in [
        ("/", "0123456789", 200),
        ("/", "0123456789a", 413),
        ("/small", "0123", 200),
        ("/small", "01234", 413),
    ] {
        let counted = request("POST", path, &format!("Content-Length: {}\r\n", body.len()), body);
        assert_eq!(tidegate.ask(counted).status, status, "{path} {body}");
        let chunks = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
        let chunked = request("POST", path, "Transfer-Encoding: chunked\r\n", &chunks);
        assert_eq!(tidegate.ask(chunked).status, status, "{path} {body}, chunked");
    }
    assert_eq!(limit_hits(&tidegate, "request_body"), 4);
    assert!(
        origin
            .requests()
            .iter()
            .all(|request| !request.is_whole() || request.content.bytes <= 10)
    );
}
