//! Which server a request goes to, by what; keys that move when cache servers come back; deadlines between tiers.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use tests::client::{get, request};
use tests::origin::Origin;
use tests::script::Script;
use tests::setup::{Setup, Shape};
use tests::sys::SIGKILL;
use tests::tidegate::{Node, Tidegate, folder};
use tests::wait::{Gate, eventually};

fn three() -> ([Origin; 3], Setup) {
    let servers = ["one", "two", "three"].map(Origin::saying);
    let list: Vec<String> = servers.iter().map(Origin::address).collect();
    let setup = Setup::of("unused")
        .uncached()
        .set("origin.o.servers", &format!("{list:?}"))
        .set("origin.o.balance", "'consistent_hash'");
    (servers, setup)
}

/// Who answers a GET of each of these paths, with these field lines.
fn who(tidegate: &Tidegate, paths: usize, lines: &str) -> BTreeSet<String> {
    let ask = |i| tidegate.ask(request("GET", &format!("/{i}"), lines, "")).text();
    (0..paths).map(ask).collect()
}

#[test]
fn a_session_stays_on_one_server_by_cookie_by_field_and_by_client() {
    let (_servers, setup) = three();
    let session = |i: usize| format!("session-{i}");
    for (hash_by, line) in [
        ("cookie:session", "Cookie: a=b; session="),
        ("field:X-Session", "X-Session: "),
        ("client", "X-Forwarded-For: 10.0.0."),
    ] {
        let setup = setup.clone().set("origin.o.hash_by", &format!("'{hash_by}'"));
        let tidegate = setup.set("front.forwarded.trusted", "['127.0.0.0/8']").start();
        let mut all = BTreeSet::new();
        for i in 0..12 {
            let value = if hash_by == "client" { i.to_string() } else { session(i) };
            let servers = who(&tidegate, 5, &format!("{line}{value}\r\n"));
            assert_eq!(servers.len(), 1, "{hash_by} {value}: {servers:?}");
            all.extend(servers);
        }
        // All twelve on one of three comes once in 177,000 runs.
        assert!(all.len() > 1, "{hash_by}: {all:?}");
        let without = who(&tidegate, 40, "");
        let expected = if hash_by == "client" { 1 } else { 3 };
        assert_eq!(without.len(), expected, "{hash_by}: without it: {without:?}");
    }
}

#[test]
fn a_hot_key_is_spread_over_several_servers_and_a_cold_one_is_not() {
    let (_servers, setup) = three();
    for (rate, expected) in [("1", 2), ("1000000", 1)] {
        let setup = setup.clone().set("origin.o.hot_key_servers", "2");
        let tidegate = setup.set("origin.o.hot_key_rate", rate).start();
        let asked: BTreeSet<String> = (0..40).map(|_| tidegate.get("/same").text()).collect();
        assert_eq!(asked.len(), expected, "{rate} per second: {asked:?}");
    }
}

#[test]
fn a_farther_group_is_asked_only_while_no_nearer_server_is_up() {
    let (near, far) = (Origin::saying("near"), Origin::saying("far"));
    let servers = format!("[{{ address = '{}', group = 1 }}, '{}']", far.address(), near.address());
    let tidegate = Setup::of("unused").uncached().set("origin.o.servers", &servers).start();
    assert_eq!(who(&tidegate, 6, ""), ["near".to_owned()].into());
    drop(near);
    assert_eq!(who(&tidegate, 6, ""), ["far".to_owned()].into());
}

#[test]
fn the_more_urgent_routes_get_the_next_connections() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start(move |request| match request.target() {
        "/held" => Script::new().wait(&held).send("HTTP/1.1 204 No Content\r\n\r\n"),
        path => Script::ok(path),
    });
    let sites = "[[site]]\nhosts = ['www.example.com']\ndefault = true\norigin = 'o'\ncache = false\n\
                 [[site.route]]\nprefix = '/urgent'\nurgency = 0\n[[site.route]]\nprefix = '/late'\nurgency = 7\n";
    let tidegate = Setup::with_sites(sites)
        .origin("o", &origin.address())
        .set("origin.o.connections_max", "1")
        .set("origin.o.queue_timeout", "'30s'")
        .start();
    let waiting = |count: usize| {
        let health = tests::client::once(
            tidegate.front.address("admin"),
            "GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        );
        health.text().contains(&format!("\"waiting\":{count}"))
    };
    let mut clients = Vec::new();
    for (i, path) in ["/held", "/first", "/late", "/usual", "/urgent"]
        .into_iter()
        .enumerate()
    {
        let mut client = tidegate.client();
        client.send(get(path));
        clients.push(client);
        if i == 0 {
            gate.wait_for_arrivals(1);
        } else {
            eventually("it is in line", || waiting(i));
        }
    }
    gate.open();
    for client in &mut clients {
        assert!([200, 204].contains(&client.read().status));
    }
    let asked: Vec<String> = origin
        .requests()
        .iter()
        .map(|request| request.target().to_owned())
        .collect();
    // The first in line has its turn already when the others come.
    assert_eq!(asked, ["/held", "/first", "/urgent", "/usual", "/late"]);
}

/// Asks for all keys; whether all are there.
fn round(tidegate: &Tidegate, keys: usize) {
    let mut client = tidegate.client();
    for key in 0..keys {
        let path = format!("/{key}");
        let response = client.get(&path);
        assert_eq!((response.status, response.text()), (200, path), "{response:?}");
    }
}

/// Kills a cache server, and starts one at the same address that has nothing stored.
fn bring_back(tidegate: &mut Tidegate, setup: &Setup, folder: &Path) {
    let address = tidegate.cache_servers[0].address("cache").to_owned();
    let config = setup
        .cache_server()
        .replace("['127.0.0.1:0']", &format!("['{address}']"));
    tidegate.cache_servers[0] = Node::start(&folder.join("again.toml"), &config);
    tidegate.front.process.wait_for_line("it is noticed", |line| {
        line.contains("the server takes connections again")
    });
}

#[test]
fn keys_of_a_cache_server_that_comes_back_are_asked_of_those_who_held_them_meanwhile() {
    const KEYS: usize = 60;
    let (_folder, path) = folder();
    for handover in ["10m", "0s"] {
        let origin = Origin::start(|request| Script::cacheable(request.target()));
        let setup = Setup::of(&origin.address())
            .shape(Shape::TwoTier(3))
            .set("cache.ejection.failures", "0")
            .set("cache.handover", &format!("'{handover}'"));
        let mut tidegate = setup.start();
        round(&tidegate, KEYS);
        let lost = usize::try_from(tidegate.cache_servers[0].metric("tidegate_cache_stored_total", "")).unwrap();
        let process = &mut tidegate.cache_servers[0].process;
        process.signal(SIGKILL);
        process.wait_for_exit();
        round(&tidegate, KEYS);
        assert_eq!(origin.requests().len(), KEYS + lost);
        let front = tidegate.front.process.log();
        assert!(front.contains("the server takes no connection"), "{front}");
        let (done, asked) = (AtomicBool::new(false), tidegate.address().to_owned());
        std::thread::scope(|scope| {
            let done = &done;
            let client = scope.spawn(move || {
                // Requests for all keys, so that the front meets the server as soon as it is back.
                while !done.load(Ordering::SeqCst) {
                    for key in 0..KEYS {
                        let response = tests::client::once(&asked, get(&format!("/{key}")));
                        assert_eq!(response.status, 200, "{response:?}");
                    }
                }
            });
            bring_back(&mut tidegate, &setup, &path);
            done.store(true, Ordering::SeqCst);
            client.join().unwrap();
        });
        round(&tidegate, KEYS);
        let again = origin.requests().len() - KEYS - lost;
        let former = tidegate
            .front
            .metric("tidegate_tier_handover_total", r#"answer="former""#);
        if handover == "10m" {
            // The first request that finds it back is not asked of anybody else; and a moment of ten minutes has gone by.
            assert!(
                again <= 3 && former > 0,
                "{again} of {lost} were fetched again, {former} handed over"
            );
        } else {
            assert_eq!((again, former), (lost, 0));
        }
    }
}

#[test]
fn a_deadline_is_passed_on_from_tier_to_tier_and_no_client_sets_it() {
    const FIELD: &str = "tidegate-time-left";
    let origin = Origin::start(|_| Script::ok("hello"));
    for shape in [Shape::InProcess, Shape::TwoTier(1)] {
        let setup = Setup::of(&origin.address()).shape(shape);
        let lines = "Tidegate-Time-Left: 7\r\n";
        let tidegate = setup.start();
        assert_eq!(tidegate.ask(request("GET", "/", lines, "")).status, 200);
        assert_eq!(
            origin.last_request().field(FIELD),
            None,
            "a client's claim is not believed"
        );
        let key = if shape == Shape::InProcess {
            "origin.o.deadline"
        } else {
            "cache.deadline"
        };
        let tidegate = setup.set(key, "'20s'").start();
        assert_eq!(tidegate.ask(request("GET", "/", lines, "")).status, 200);
        let told: u64 = origin.last_request().field(FIELD).unwrap().parse().unwrap();
        assert!((8..=20_000).contains(&told), "{shape:?}: {told} ms");
    }
}

#[test]
fn a_cache_server_gives_up_when_its_front_does() {
    let origin = Origin::start(|_| Script::new().hold());
    let tidegate = Setup::of(&origin.address())
        .shape(Shape::TwoTier(1))
        .set("cache.deadline", "'300ms'")
        .start();
    let response = tidegate.get("/");
    assert_eq!(response.status, 504, "{response:?}");
    // The origin's own response_timeout is 30 s.
    tidegate.wait_until_no_backend_is_busy();
}

#[test]
fn the_limits_of_the_cache_table_are_those_towards_cache_servers() {
    let origin = Origin::start(|_| Script::new().hold());
    let tidegate = Setup::of(&origin.address())
        .shape(Shape::TwoTier(1))
        .set("cache.response_timeout", "'300ms'")
        .set("cache.when_down", "'error'")
        .start();
    let response = tidegate.get("/");
    assert_eq!(response.status, 504, "{response:?}");
    assert!(
        response.field("proxy-status").contains("error=http_response_timeout"),
        "{response:?}"
    );
    let front = tidegate
        .front
        .metric("tidegate_backend_errors_total", r#"error="http_response_timeout""#);
    assert_eq!(front, 1, "it is the front that gave up");
}
