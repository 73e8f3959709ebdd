//! Collapsed forwarding: one fetch for all who ask meanwhile, and what becomes of them when it fails or waits too long.
//!
//! Slices are in `slices.rs`; random interleavings in `cache/src/serve/simulation.rs`.

use std::sync::atomic::{AtomicUsize, Ordering};

use tests::client::{Client, get, request};
use tests::message::Response;
use tests::origin::Origin;
use tests::script::Script;
use tests::setup::{Setup, Shape, in_both_shapes};
use tests::tidegate::Tidegate;
use tests::wait::{Gate, eventually};

/// Clients that ask at once.
const CLIENTS: usize = 8;

fn ask_together(tidegate: &Tidegate, path: &str, lines: &str) -> Vec<Client> {
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| tidegate.client()).collect();
    for client in &mut clients {
        client.send(request("GET", path, lines, ""));
    }
    clients
}

/// Waits until so many wait where the store is.
fn waiting(tidegate: &Tidegate, count: usize) {
    let node = tidegate.nodes().last().unwrap();
    let what = format!("{count} wait for another one's fetch");
    eventually(&what, || node.metric("tidegate_cache_waiting", "") == count as u64);
}

fn read_all(clients: &mut [Client]) -> Vec<Response> {
    clients.iter_mut().map(Client::read).collect()
}

fn collapsed(responses: &[Response]) -> usize {
    let is_collapsed = |response: &&Response| response.cache_words().iter().any(|word| word == "collapsed");
    responses.iter().filter(is_collapsed).count()
}

#[test]
fn one_fetch_serves_all_who_ask_meanwhile_while_it_is_still_coming() {
    in_both_shapes(|shape| {
        let (head, rest) = (Gate::new(), Gate::new());
        let (held_head, held_rest) = (head.clone(), rest.clone());
        let origin = Origin::start(move |_| {
            Script::new()
                .wait(&held_head)
                .send("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 10\r\n\r\nfirst")
                .wait(&held_rest)
                .send("other")
        });
        let tidegate = Setup::of(&origin.address()).shape(shape).start();
        let mut clients = ask_together(&tidegate, "/", "");
        waiting(&tidegate, CLIENTS - 1);
        head.open();
        let mut heads = Vec::new();
        for client in &mut clients {
            heads.push(client.read_head());
            assert_eq!(client.take_bytes(5), "first");
        }
        rest.open();
        assert!(clients.iter_mut().all(|client| client.take_bytes(5) == "other"));
        assert_eq!((collapsed(&heads), origin.count("/")), (CLIENTS - 1, 1), "{heads:?}");
        waiting(&tidegate, 0);
    });
}

#[test]
fn a_leader_that_leaves_takes_nothing_away_from_those_who_wait() {
    in_both_shapes(|shape| {
        let gate = Gate::new();
        let held = gate.clone();
        let origin = Origin::start(move |_| Script::new().wait(&held).send(CACHEABLE));
        let tidegate = Setup::of(&origin.address()).shape(shape).start();
        let mut leader = tidegate.client();
        leader.send(get("/"));
        gate.wait_for_arrivals(1);
        let mut clients = ask_together(&tidegate, "/", "");
        waiting(&tidegate, CLIENTS);
        drop(leader);
        gate.open();
        let responses = read_all(&mut clients);
        assert!(
            responses.iter().all(|response| response.text() == "hello"),
            "{responses:?}"
        );
        assert_eq!(origin.count("/"), 1);
        assert!(tidegate.get("/").is_hit());
    });
}

const CACHEABLE: &str = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 5\r\n\r\nhello";

#[test]
fn an_answer_that_is_not_for_sharing_lets_all_go_at_once_and_is_remembered() {
    in_both_shapes(|shape| {
        let (first, others) = (Gate::new(), Gate::new());
        let (held_first, held_others) = (first.clone(), others.clone());
        let number = AtomicUsize::new(0);
        let origin = Origin::start(move |_| {
            let gate = match number.fetch_add(1, Ordering::SeqCst) {
                0 => &held_first,
                _ => &held_others,
            };
            Script::new()
                .wait(gate)
                .send("HTTP/1.1 200 OK\r\nCache-Control: private, max-age=60\r\nContent-Length: 2\r\n\r\nme")
        });
        let tidegate = Setup::of(&origin.address()).shape(shape).start();
        let mut clients = ask_together(&tidegate, "/", "");
        waiting(&tidegate, CLIENTS - 1);
        first.open();
        // All of them at the origin, at the same time.
        others.wait_for_arrivals(CLIENTS - 1);
        // The next burst does not queue.
        let mut more = ask_together(&tidegate, "/", "");
        others.wait_for_arrivals(2 * CLIENTS - 1);
        others.open();
        let responses = [read_all(&mut clients), read_all(&mut more)].concat();
        assert!(
            responses.iter().all(|response| response.text() == "me"),
            "{responses:?}"
        );
        assert_eq!((collapsed(&responses), origin.count("/")), (0, 2 * CLIENTS));
    });
}

/// An origin whose first answer is stale from the start, with `control`, and whose further ones are `then`, at the gate.
fn stale_then(gate: &Gate, control: &'static str, then: &Script) -> Origin {
    let (held, then, number) = (gate.clone(), then.clone(), AtomicUsize::new(0));
    Origin::start(move |_| match number.fetch_add(1, Ordering::SeqCst) {
        0 => Script::answer(200, &format!("Cache-Control: {control}\r\nETag: \"a\"\r\n"), "old"),
        _ => {
            assert!(held.pass(), "the gate is opened");
            then.clone()
        }
    })
}

const MAY_BE_STALE: &str = "max-age=0, stale-if-error=600";
const MUST_NOT_BE_STALE: &str = "max-age=0, must-revalidate";

#[test]
fn those_who_wait_for_a_validation_share_its_server_error() {
    let error = Script::answer(503, "Retry-After: 7\r\n", "busy");
    for (control, status, text) in [(MAY_BE_STALE, 200, "old"), (MUST_NOT_BE_STALE, 503, "")] {
        in_both_shapes(|shape| {
            let gate = Gate::new();
            let origin = stale_then(&gate, control, &error);
            let tidegate = Setup::of(&origin.address()).shape(shape).start();
            assert_eq!(tidegate.get("/").text(), "old");
            let mut clients = ask_together(&tidegate, "/", "");
            waiting(&tidegate, CLIENTS - 1);
            gate.open();
            let responses = read_all(&mut clients);
            assert_eq!(
                (collapsed(&responses), origin.count("/")),
                (CLIENTS - 1, 2),
                "{responses:?}"
            );
            for response in &responses {
                assert_eq!(response.status, status, "{response:?}");
                // The one who asked gets the origin's own words.
                assert!(response.text() == text || response.text() == "busy", "{response:?}");
                assert!(status == 200 || response.field("retry-after") == "7", "{response:?}");
                let is_told = response
                    .cache_words()
                    .iter()
                    .any(|word| word == "detail=\"stale_if_error\"");
                assert_eq!(is_told, status == 200, "{response:?}");
            }
        });
    }
}

#[test]
fn those_who_wait_for_a_validation_share_its_timeout() {
    for (control, status) in [(MAY_BE_STALE, 200), (MUST_NOT_BE_STALE, 504)] {
        let gate = Gate::new();
        gate.open();
        let origin = stale_then(&gate, control, &Script::new().hold());
        let tidegate = Setup::of(&origin.address())
            .set("origin.o.response_timeout", "'1s'")
            .start();
        assert_eq!(tidegate.get("/").text(), "old");
        let mut clients = ask_together(&tidegate, "/", "");
        waiting(&tidegate, CLIENTS - 1);
        let responses = read_all(&mut clients);
        assert!(
            responses.iter().all(|response| response.status == status),
            "{responses:?}"
        );
        assert_eq!(
            (collapsed(&responses), origin.count("/")),
            (CLIENTS - 1, 2),
            "{responses:?}"
        );
    }
}

#[test]
fn a_server_error_that_may_be_stored_takes_the_place_of_what_could_not_be_validated() {
    let gate = Gate::new();
    gate.open();
    let origin = stale_then(
        &gate,
        MUST_NOT_BE_STALE,
        &Script::answer(503, "Cache-Control: max-age=60\r\n", "busy"),
    );
    let tidegate = Setup::of(&origin.address()).start();
    assert_eq!(tidegate.get("/").text(), "old");
    for is_hit in [false, true] {
        let response = tidegate.get("/");
        assert_eq!(
            (response.status, response.text().as_str(), response.is_hit()),
            (503, "busy", is_hit)
        );
    }
    assert_eq!(origin.count("/"), 2);
}

#[test]
fn one_who_may_not_wait_asks_for_itself_or_gets_an_error_as_configured() {
    for (key, value, limit) in [
        ("cache.rules.waiters_max", "3", "waiters"),
        ("cache.rules.wait_timeout", "'50ms'", "timeout"),
    ] {
        for (over, status, asked) in [("'fetch'", 200, 2), ("'error'", 503, 1)] {
            let gate = Gate::new();
            let held = gate.clone();
            let origin = Origin::start(move |_| Script::new().wait(&held).send(CACHEABLE));
            let setup = Setup::of(&origin.address()).set(key, value);
            let tidegate = setup.set("cache.rules.wait_over", over).start();
            let mut clients = ask_together(&tidegate, "/", "");
            let label = format!("limit=\"{limit}\"");
            let refused = if limit == "waiters" { CLIENTS - 4 } else { CLIENTS - 1 };
            tidegate.expect_metric("tidegate_cache_wait_limit_hits_total", &label, refused as u64);
            if asked > 1 {
                gate.wait_for_arrivals(1 + refused);
            }
            gate.open();
            let responses = read_all(&mut clients);
            let got = responses.iter().filter(|response| response.status == status).count();
            assert!(got >= refused, "{over} {limit}: {responses:?}");
            let expected = if asked > 1 { 1 + refused } else { 1 };
            assert_eq!(origin.count("/"), expected, "{over} {limit}");
        }
    }
}

/// A popular response that is stale is refreshed once, and nobody waits for that.
#[test]
fn what_is_stale_while_it_is_validated_is_refreshed_once_in_the_background() {
    let gate = Gate::new();
    let fresh = Script::answer(200, "Cache-Control: max-age=60\r\nETag: \"b\"\r\n", "new");
    let origin = stale_then(&gate, "max-age=0, stale-while-revalidate=600", &fresh);
    let tidegate = Setup::of(&origin.address()).shape(Shape::InProcess).start();
    assert_eq!(tidegate.get("/").text(), "old");
    let mut clients = ask_together(&tidegate, "/", "");
    let responses = read_all(&mut clients);
    assert!(
        responses
            .iter()
            .all(|response| response.text() == "old" && response.is_hit()),
        "{responses:?}"
    );
    gate.wait_for_arrivals(1);
    gate.open();
    eventually("the new one is there", || tidegate.get("/").text() == "new");
    assert_eq!(origin.count("/"), 2);
    let counted = |cause: &str| tidegate.metric("tidegate_cache_refreshes_total", &format!("cause=\"{cause}\""));
    assert_eq!((counted("stale_while_revalidate"), counted("refresh_ahead")), (1, 0));
}

/// At the end of its lifetime a response that is asked for is refreshed before anybody has to wait.
#[test]
fn what_is_near_its_end_is_refreshed_ahead_where_the_rules_say_so() {
    let origin = Origin::start(|_| Script::answer(200, "Cache-Control: max-age=60\r\nAge: 1\r\nETag: \"a\"\r\n", "x"));
    for (percent, ahead, fetches) in [("0", 0, 1), ("99", 1, 3)] {
        let tidegate = Setup::of(&origin.address())
            .set("cache.rules.refresh_ahead_percent", percent)
            .start();
        assert!(!tidegate.get("/").is_hit());
        assert!(tidegate.get("/").is_hit());
        tidegate.expect_metric("tidegate_cache_refreshes_total", r#"cause="refresh_ahead""#, ahead);
        eventually("it is refreshed", || origin.count("/") == fetches);
    }
}

/// The members of Cache-Status that are sent by default, and the one that is not.
#[test]
fn cache_status_tells_the_key_where_the_rules_say_so() {
    in_both_shapes(|shape| {
        let origin = Origin::start(|_| Script::cacheable("hello"));
        let setup = Setup::of(&origin.address()).shape(shape);
        let tidegate = setup.set("cache.rules.cache_status_key", "true").start();
        for word in ["stored", "hit"] {
            let words = tidegate.get("/a?b").cache_words();
            assert!(words.iter().any(|known| known == word), "{words:?}");
            let key = "key=\"http://www.example.com/a?b\"";
            assert!(words.iter().any(|known| known == key), "{words:?}");
        }
        let tidegate = Setup::of(&origin.address()).shape(shape).start();
        assert!(!tidegate.get("/a").head.fields.joined("cache-status").contains("key="));
    });
}
