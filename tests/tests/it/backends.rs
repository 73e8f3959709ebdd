//! Servers of a backend: weights and backups, ejection, health checks, orders from operators, retries.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tests::client::once;
use tests::message::Response;
use tests::origin::Origin;
use tests::script::Script;
use tests::setup::{Setup, Shape};
use tests::sys::SIGKILL;
use tests::tidegate::{Tidegate, run};
use tests::wait::{eventually, nap};

/// A site without cache in front of these servers, as TOML.
fn setup(servers: &str) -> Setup {
    Setup::of("unused").set("origin.o.servers", servers).uncached()
}

/// Who answers how many of `requests` requests.
fn answers(tidegate: &Tidegate, requests: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for i in 0..requests {
        *counts.entry(tidegate.get(&format!("/{i}")).text()).or_default() += 1;
    }
    counts
}

fn counts(expected: &[(&str, usize)]) -> BTreeMap<String, usize> {
    expected
        .iter()
        .map(|(name, count)| ((*name).to_owned(), *count))
        .collect()
}

#[track_caller]
fn wait_for_state(tidegate: &Tidegate, server: &Origin, state: &str) {
    let labels = format!(r#"server="{}",state="{state}""#, server.address());
    let is_so = || tidegate.front.metric("tidegate_backend_server_state", &labels) == 1;
    eventually(&format!("the server is {state}"), is_so);
}

fn admin(tidegate: &Tidegate, method: &str, path: &str, lines: &str) -> Response {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{lines}Connection: close\r\n\r\n");
    once(tidegate.front.address("admin"), request)
}

#[test]
fn turns_are_taken_by_weight_and_a_backup_waits_for_the_others_to_fail() {
    let (one, two, backup) = (Origin::saying("one"), Origin::saying("two"), Origin::saying("backup"));
    let servers = format!(
        "['{}', {{ address = '{}', weight = 3 }}, {{ address = '{}', backup = true }}]",
        one.address(),
        two.address(),
        backup.address()
    );
    let tidegate = setup(&servers)
        .set("origin.o.balance", "'round_robin'")
        .set("origin.o.retries", "2")
        .start();
    assert_eq!(answers(&tidegate, 8), counts(&[("one", 2), ("two", 6)]));
    drop((one, two));
    assert_eq!(answers(&tidegate, 4), counts(&[("backup", 4)]), "retries find it");
}

#[test]
fn every_way_of_balancing_reaches_all_servers_or_one_owner() {
    let (one, two) = (Origin::saying("one"), Origin::saying("two"));
    let servers = format!("['{}', '{}']", one.address(), two.address());
    for (balance, reached) in [
        ("least_loaded", 2),
        ("least_connections", 2),
        ("round_robin", 2),
        ("consistent_hash", 1),
    ] {
        let tidegate = setup(&servers).set("origin.o.balance", &format!("'{balance}'")).start();
        let mut seen = BTreeMap::new();
        for _ in 0..60 {
            *seen.entry(tidegate.get("/same").text()).or_insert(0) += 1;
        }
        assert_eq!(seen.len(), reached, "{balance}: {seen:?}");
    }
}

#[test]
fn a_server_that_keeps_failing_is_ejected_and_comes_back_when_its_time_is_over() {
    let is_well = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&is_well);
    let failing = Origin::start(move |_| match told.load(Ordering::SeqCst) {
        true => Script::ok("one"),
        false => Script::answer(503, "", "not now"),
    });
    let well = Origin::saying("two");
    let tidegate = setup(&format!("['{}', '{}']", failing.address(), well.address()))
        .set("origin.o.balance", "'round_robin'")
        .set("origin.o.slow_start", "'0s'")
        .set("origin.o.ejection.failures", "2")
        .set("origin.o.ejection.time", "'1s'")
        .start();
    assert_eq!(answers(&tidegate, 4), counts(&[("not now", 2), ("two", 2)]));
    let labels = format!(r#"server="{}",state="ejected""#, failing.address());
    assert_eq!(tidegate.metric("tidegate_backend_server_changes_total", &labels), 1);
    is_well.store(true, Ordering::SeqCst);
    let process = &tidegate.front.process;
    process.wait_for_line("the end of the ejection", |line| {
        line.contains("the server's ejection is over")
    });
    assert_eq!(answers(&tidegate, 4), counts(&[("one", 2), ("two", 2)]));
    let log = tidegate.front.process.log();
    for line in [
        "the server fails requests and is ejected",
        "the server's ejection is over",
    ] {
        assert_eq!(log.matches(line).count(), 1, "{line} in\n{log}");
    }
}

#[test]
fn a_body_that_breaks_off_counts_as_a_failure() {
    let cutting = Origin::start(|_| Script::says("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").close());
    let well = Origin::saying("two");
    let tidegate = setup(&format!("['{}', '{}']", cutting.address(), well.address()))
        .set("origin.o.balance", "'round_robin'")
        .set("origin.o.ejection.failures", "2")
        .start();
    for _ in 0..4 {
        let mut client = tidegate.client();
        client.send(tests::client::get("/"));
        drop(client.try_read_answer_to(tests::client::get("/")));
    }
    wait_for_state(&tidegate, &cutting, "ejected");
    let labels = format!(r#"server="{}",error="http_response_incomplete""#, cutting.address());
    assert_eq!(tidegate.metric("tidegate_backend_errors_total", &labels), 2);
    assert_eq!(answers(&tidegate, 4), counts(&[("two", 4)]));
}

#[test]
fn a_server_that_is_slower_than_the_others_is_ejected_where_that_is_wanted() {
    let slow = Origin::start(|_| {
        nap(Duration::from_millis(30));
        Script::ok("slow")
    });
    let (two, three) = (Origin::saying("two"), Origin::saying("three"));
    let servers = format!("['{}', '{}', '{}']", slow.address(), two.address(), three.address());
    let tidegate = setup(&servers)
        .set("origin.o.balance", "'round_robin'")
        .set("origin.o.ejection.latency_factor", "3")
        .set("origin.o.ejection.latency_min", "'5ms'")
        .set("origin.o.ejection.tries_min", "5")
        .set("origin.o.ejection.window", "'500ms'")
        .start();
    let labels = format!(r#"server="{}",state="ejected""#, slow.address());
    eventually("it is ejected", || {
        answers(&tidegate, 12);
        tidegate.metric("tidegate_backend_server_changes_total", &labels) == 1
    });
    assert!(!answers(&tidegate, 12).contains_key("slow"));
    let log = tidegate.front.process.log();
    assert!(log.contains("its latency, compared with the others'"), "{log}");
}

#[test]
fn a_request_that_takes_longer_than_most_is_asked_of_a_second_server() {
    let is_stuck = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&is_stuck);
    let sticking = Origin::start(move |_| match told.load(Ordering::SeqCst) {
        true => Script::new().hold(),
        false => Script::ok("one"),
    });
    let well = Origin::saying("two");
    let tidegate = setup(&format!("['{}', '{}']", sticking.address(), well.address()))
        .set("origin.o.balance", "'round_robin'")
        .set("origin.o.ejection.failures", "0")
        .set("origin.o.hedge_percentile", "90")
        .set("origin.o.retry_budget_percent", "100")
        .set("origin.o.response_timeout", "'1s'")
        .start();
    answers(&tidegate, 120);
    is_stuck.store(true, Ordering::SeqCst);
    // Until the times of late are learnt from, half of the requests end with a 504.
    eventually("the second server has answered first", || {
        tidegate.get("/");
        tidegate.metric("tidegate_backend_hedges_won_total", "") > 0
    });
    assert_eq!(answers(&tidegate, 8), counts(&[("two", 8)]));
    tidegate.wait_until_no_backend_is_busy();
}

#[test]
fn when_most_servers_fail_their_checks_these_are_not_believed() {
    let ill = || Origin::start(|request| Script::answer(if request.target() == "/up" { 500 } else { 200 }, "", "ill"));
    let (one, two, well) = (ill(), ill(), Origin::saying("well"));
    let servers = format!("['{}', '{}', '{}']", one.address(), two.address(), well.address());
    let tidegate = setup(&servers)
        .set("origin.o.balance", "'round_robin'")
        .set("origin.o.panic_percent", "50")
        .set("origin.o.health.path", "'/up'")
        .set("origin.o.health.interval", "'20ms'")
        .start();
    eventually("it panics", || {
        tidegate.front.metric("tidegate_backend_panic", r#"backend="o""#) == 1
    });
    assert_eq!(answers(&tidegate, 6), counts(&[("ill", 4), ("well", 2)]));
}

#[test]
fn health_checks_take_a_server_out_and_back_without_any_request() {
    let is_well = Arc::new(AtomicBool::new(true));
    let told = Arc::clone(&is_well);
    let checked = Origin::start(move |request| match request.target() {
        "/up" if told.load(Ordering::SeqCst) => Script::ok("all is well"),
        "/up" => Script::ok("all is ill"),
        _ => Script::ok("one"),
    });
    let tidegate = setup(&format!("['{}']", checked.address()))
        .set("origin.o.health.path", "'/up'")
        .set("origin.o.health.body", "'is well'")
        .set("origin.o.health.interval", "'20ms'")
        .start();
    eventually("it is asked", || checked.count("/up") > 3);
    wait_for_state(&tidegate, &checked, "up");
    is_well.store(false, Ordering::SeqCst);
    wait_for_state(&tidegate, &checked, "unhealthy");
    let health = admin(&tidegate, "GET", "/health", "").text();
    assert!(
        health.contains(r#""status":"degraded""#) && health.contains(r#""state":"unhealthy""#),
        "{health}"
    );
    assert_eq!(tidegate.get("/").text(), "one", "better asked than nobody");
    is_well.store(true, Ordering::SeqCst);
    wait_for_state(&tidegate, &checked, "up");
    assert_eq!(
        tidegate.metric("tidegate_backend_requests_total", ""),
        1,
        "checks are no requests"
    );
}

#[test]
fn operators_take_servers_out_and_back_over_the_admin_listener() {
    let (one, two) = (Origin::saying("one"), Origin::saying("two"));
    let servers = format!("['{}', '{}']", one.address(), two.address());
    let tidegate = setup(&servers)
        .set("origin.o.balance", "'round_robin'")
        .set("origin.o.slow_start", "'0s'")
        .start();
    let path = |order: &str| format!("/backends/o/{}/{order}", one.address());
    let drained = admin(&tidegate, "POST", &path("drain"), "Content-Length: 0\r\n");
    assert_eq!(
        (drained.status, drained.text()),
        (200, format!("o {}: drain, was ready\n", one.address()))
    );
    assert_eq!(answers(&tidegate, 4), counts(&[("two", 4)]));
    for (method, path, lines, status) in [
        ("GET", path("ready"), "", 405),
        ("POST", path("ready"), "Origin: http://evil.example\r\n", 403),
        ("POST", path("explode"), "", 404),
        ("POST", "/backends/nobody/a:1/drain".to_owned(), "", 404),
        ("POST", "/backends/o/a:1/drain".to_owned(), "", 404),
    ] {
        assert_eq!(admin(&tidegate, method, &path, lines).status, status, "{method} {path}");
    }
    wait_for_state(&tidegate, &one, "draining");
    let cli = |arguments: &[&str]| {
        let mut all = vec!["backend", "--admin", tidegate.front.address("admin")];
        all.extend(arguments);
        run(&all)
    };
    let ready = cli(&["o", &one.address(), "ready"]);
    assert_eq!(
        (ready.code, ready.text().contains("ready, was drain")),
        (0, true),
        "{}",
        ready.text()
    );
    assert_eq!(answers(&tidegate, 4), counts(&[("one", 2), ("two", 2)]));
    assert!(cli(&[]).text().contains(&one.address()));
    assert_eq!(cli(&["o", "a:1", "down"]).code, 1);
}

#[test]
fn a_chosen_status_is_asked_of_another_server_and_an_outage_is_retried_within_its_budget() {
    let (busy, well) = (
        Origin::start(|_| Script::answer(503, "", "busy")),
        Origin::saying("two"),
    );
    let tidegate = setup(&format!("['{}', '{}']", busy.address(), well.address()))
        .set("origin.o.retry_on", "['503', 'connection_refused']")
        .set("origin.o.retry_budget_percent", "0")
        .set("origin.o.ejection.failures", "0")
        .set("origin.o.balance", "'round_robin'")
        .start();
    assert_eq!(answers(&tidegate, 2), counts(&[("two", 2)]));
    drop(well);
    for _ in 0..12 {
        tidegate.get("/");
    }
    let refused = tidegate.metric("tidegate_backend_retries_refused_total", "");
    assert!(refused > 0, "three per second are all there are");
}

#[test]
fn no_client_request_fails_while_one_of_three_cache_servers_is_killed() {
    let origin = Origin::start(|request| Script::cacheable(request.target()));
    let mut tidegate = Setup::of(&origin.address()).shape(Shape::TwoTier(3)).start();
    let keys = 60;
    let round = |tidegate: &Tidegate| {
        for key in 0..keys {
            let response = tidegate.get(&format!("/{key}"));
            assert_eq!(
                (response.status, response.text()),
                (200, format!("/{key}")),
                "{response:?}"
            );
        }
    };
    round(&tidegate);
    assert_eq!(origin.requests().len(), keys);
    let lost = tidegate.cache_servers[0].metric("tidegate_cache_stored_total", "");
    let process = &mut tidegate.cache_servers[0].process;
    process.signal(SIGKILL);
    process.wait_for_exit();
    round(&tidegate);
    round(&tidegate);
    let again = origin.requests().len() - keys;
    assert_eq!(
        again as u64, lost,
        "only the keys of the dead one are fetched again, each once"
    );
}
