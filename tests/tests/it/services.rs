//! Servers found by SRV records: priorities, weights and ports; changes while it runs; a name server that fails.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use tests::client::{get, once};
use tests::name_server::NameServer;
use tests::origin::Origin;
use tests::script::Script;
use tests::setup::Setup;
use tests::tidegate::{Tidegate, run, write_config};
use tests::wait::{Gate, eventually};

const SERVICE: &str = "_http._tcp.app.test";

/// A name server that knows `one`, `two` and `three`, all on loopback.
fn name_server() -> NameServer {
    let name_server = NameServer::start();
    for host in ["one.test", "two.test", "three.test"] {
        name_server.host(host, Ipv4Addr::LOCALHOST);
    }
    name_server
}

/// `priority weight port host`.
fn record(share: &str, origin: &Origin, host: &str) -> String {
    let (_, port) = origin
        .address()
        .rsplit_once(':')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    format!("{share} {port} {host}.test.")
}

fn setup(name_server: &NameServer) -> Setup {
    Setup::of("unused")
        .uncached()
        .set("origin.o.servers", &format!("['srv:{SERVICE}']"))
        .set("origin.o.name_servers", &format!("['{}']", name_server.address()))
        .set("origin.o.balance", "'round_robin'")
        .set("origin.o.slow_start", "'0s'")
}

/// Who answers `requests` requests, in turn.
fn answers(tidegate: &Tidegate, requests: usize) -> Vec<String> {
    (0..requests).map(|_| tidegate.get("/").text()).collect()
}

fn health(tidegate: &Tidegate) -> String {
    once(
        tidegate.front.address("admin"),
        "GET /health HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\nConnection: close\r\n\r\n",
    )
    .text()
}

#[test]
fn ports_weights_and_priorities_come_from_the_records() {
    let (one, two, three) = (Origin::saying("one"), Origin::saying("two"), Origin::saying("three"));
    let name_server = name_server();
    let zone = [
        record("10 1", &one, "one"),
        record("10 3", &two, "two"),
        record("20 0", &three, "three"),
    ];
    name_server.service(SERVICE, &zone);
    let tidegate = setup(&name_server).set("origin.o.retries", "2").start();
    let mut asked = answers(&tidegate, 8);
    asked.sort();
    assert_eq!(
        asked.join(" "),
        "one one two two two two two two",
        "by weight, of the first priority alone"
    );
    let names = health(&tidegate);
    for origin in [(&one, "one"), (&two, "two"), (&three, "three")] {
        let port = origin.0.address().rsplit_once(':').unwrap().1.to_owned();
        assert!(
            names.contains(&format!("\"address\":\"{}.test:{port}\"", origin.1)),
            "{names}"
        );
    }
    drop((one, two));
    assert_eq!(
        answers(&tidegate, 2),
        ["three", "three"],
        "the second priority takes over"
    );
}

#[test]
fn a_change_is_taken_over_and_what_runs_ends_as_it_was_to() {
    let gate = Gate::new();
    let held = gate.clone();
    let one = Origin::start(move |request| match request.target() {
        "/held" => Script::new()
            .wait(&held)
            .send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\none, late"),
        _ => Script::ok("one"),
    });
    let two = Origin::saying("two");
    let name_server = name_server();
    name_server.service(SERVICE, &[record("1 1", &one, "one")]);
    let tidegate = setup(&name_server).start();
    let mut client = tidegate.client();
    client.send(get("/held"));
    gate.wait_for_arrivals(1);
    name_server.service(SERVICE, &[record("1 1", &two, "two")]);
    eventually("the other server is asked", || answers(&tidegate, 1) == ["two"]);
    let shown = health(&tidegate);
    assert!(
        shown.contains("\"state\":\"gone\"") && shown.contains("\"servers\":1,"),
        "{shown}"
    );
    gate.open();
    assert_eq!(client.read().text(), "one, late", "what ran was not dropped");
    eventually("who is gone is not shown any more", || {
        !health(&tidegate).contains("\"state\":\"gone\"")
    });
    assert_eq!(answers(&tidegate, 3), ["two"; 3]);
    name_server.service(SERVICE, &["0 0 0 .".to_owned()]);
    eventually("decidedly no service", || tidegate.get("/").status == 503);
    let refused = tidegate.get("/");
    assert!(
        refused.field("proxy-status").contains("destination_unavailable"),
        "{refused:?}"
    );
    name_server.service(SERVICE, &[record("1 1", &one, "one"), record("1 1", &two, "two")]);
    let all: BTreeSet<String> = ["one", "two"].map(str::to_owned).into();
    eventually("both are asked", || {
        answers(&tidegate, 2).into_iter().collect::<BTreeSet<_>>() == all
    });
    tidegate.wait_until_no_backend_is_busy();
}

#[test]
fn the_last_good_servers_stay_while_the_name_server_fails_and_it_is_said_once() {
    let one = Origin::saying("one");
    let name_server = name_server();
    name_server.service(SERVICE, &[record("1 1", &one, "one")]);
    let tidegate = setup(&name_server).start();
    name_server.fail(true);
    let labels = format!(r#"server="srv:{SERVICE}""#);
    tidegate.expect_metric_of_at_least("tidegate_backend_unresolved_total", &labels, 2);
    assert_eq!(answers(&tidegate, 2), ["one", "one"]);
    assert!(health(&tidegate).contains("\"resolve_error\""), "{}", health(&tidegate));
    name_server.fail(false);
    tidegate.front.process.wait_for_line("it is looked up again", |line| {
        line.contains("the service is looked up again")
    });
    assert!(!health(&tidegate).contains("\"resolve_error\""));
    let log = tidegate.front.process.log();
    assert_eq!(log.matches("the service cannot be looked up").count(), 1, "{log}");
}

#[test]
fn servers_beyond_the_limit_are_left_out_and_counted() {
    let (one, two) = (Origin::saying("one"), Origin::saying("two"));
    let name_server = name_server();
    name_server.service(SERVICE, &[record("1 1", &one, "one"), record("2 1", &two, "two")]);
    let tidegate = setup(&name_server).set("origin.o.srv_servers_max", "1").start();
    assert_eq!(answers(&tidegate, 2), ["one", "one"]);
    let labels = format!(r#"service="srv:{SERVICE}""#);
    assert_eq!(tidegate.metric("tidegate_backend_service_left_out", &labels), 1);
    let look_up = || tests::metrics::page(tidegate.front.address("admin"));
    let line = format!(r#"tidegate_backend_look_up_seconds{{backend="o",server="srv:{SERVICE}"}}"#);
    eventually("it is told how long a look-up takes", || look_up().contains(&line));
}

#[test]
fn a_service_that_is_not_known_at_the_start_ends_it_with_its_name() {
    let name_server = name_server();
    let (_folder, folder) = tests::tidegate::folder();
    let file = write_config(&folder, &setup(&name_server).in_process());
    let outcome = run(&["run", "-c", &file]);
    assert_eq!(outcome.code, 69, "{outcome:?}");
    assert!(outcome.stderr.contains(SERVICE), "{outcome:?}");
    assert!(name_server.questions() > 0);
}

#[test]
fn names_are_asked_of_the_configured_name_servers_too() {
    let one = Origin::saying("one");
    let name_server = name_server();
    let port = one.address().rsplit_once(':').unwrap().1.to_owned();
    let tidegate = setup(&name_server)
        .set("origin.o.servers", &format!("['one.test:{port}']"))
        .start();
    assert_eq!(answers(&tidegate, 1), ["one"]);
}
