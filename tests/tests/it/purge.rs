//! Purges by URL, prefix, host, tag and everything; hard and soft; in both shapes.

use tests::client::{once, request};
use tests::message::Request;
use tests::metrics;
use tests::origin::Origin;
use tests::script::Script;
use tests::setup::{Setup, Shape, in_both_shapes};
use tests::tidegate::{Tidegate, run};
use tests::wait::Gate;

/// The admin address of the process that stores.
fn admin(tidegate: &Tidegate) -> &str {
    tidegate
        .cache_servers
        .first()
        .unwrap_or(&tidegate.front)
        .address("admin")
}

fn tagged(request: &Request) -> Script {
    let tag = request.path()[1..].split('/').next().unwrap_or_default();
    let lines = format!("Cache-Control: max-age=60\r\nETag: \"1\"\r\nSurrogate-Key: all {tag}\r\n");
    match request.field("if-none-match") {
        Some(_) => Script::says(format!("HTTP/1.1 304 Not Modified\r\n{lines}\r\n")),
        None => Script::answer(200, &lines, "hello"),
    }
}

#[test]
#[rustfmt::skip]
fn each_purge_takes_what_it_names_and_leaves_the_rest() {
    let url = |path: &str| format!("http://www.example.com{path}");
    // Arguments, then which of the three paths are still hits.
    let rows = [
        (vec!["--url".to_owned(), url("/red/1")], [false, true, true]),
        (vec!["--url".to_owned(), url("/red/1"), "--url".to_owned(), url("/blue?q")], [false, true, false]),
        (vec!["--prefix".to_owned(), "www.example.com/red/".to_owned()], [false, false, true]),
        (vec!["--prefix".to_owned(), "https://www.example.com/".to_owned()], [true, true, true]),
        (vec!["--tag".to_owned(), "red".to_owned()], [false, false, true]),
        (vec!["--host".to_owned(), "WWW.example.com".to_owned()], [false, false, false]),
        (vec!["--host".to_owned(), "example.com".to_owned()], [true, true, true]),
        (vec!["--all".to_owned()], [false, false, false]),
    ];
    in_both_shapes(|shape| {
        let origin = Origin::start(tagged);
        let tidegate = Setup::of(&origin.address()).shape(shape).start();
        for (what, hits) in &rows {
            for path in ["/red/1", "/red/2", "/blue?q"] {
                assert!(!tidegate.get(path).has("surrogate-key"), "tags are the operator's");
                assert!(tidegate.get(path).is_hit(), "{path}");
            }
            let mut arguments = vec!["purge", "--admin", admin(&tidegate)];
            arguments.extend(what.iter().map(String::as_str));
            let outcome = run(&arguments);
            assert_eq!(outcome.code, 0, "{what:?}: {}", outcome.text());
            for (path, hit) in ["/red/1", "/red/2", "/blue?q"].into_iter().zip(*hits) {
                let response = tidegate.get(path);
                assert_eq!((response.is_hit(), response.text().as_str()), (hit, "hello"), "{what:?} {path}");
            }
        }
    });
}

#[test]
fn each_purge_tells_how_much_it_matched_where_that_is_asked_for() {
    in_both_shapes(|shape| {
        let origin = Origin::start(tagged);
        let tidegate = Setup::of(&origin.address()).shape(shape).start();
        for path in ["/red/1", "/red/2", "/blue/1"] {
            tidegate.get(path);
        }
        // What an earlier purge has taken is not counted again; what a soft one has marked is there.
        for (arguments, matched) in [
            (&["--tag", "blue", "--soft"][..], &[1][..]),
            (&["--host", "www.example.com", "--soft"], &[3]),
            (&["--tag", "red", "--prefix", "www.example.com/blue/"], &[1, 2]),
            (&["--url", "http://www.example.com/red/1"], &[0]),
            (&["--all"], &[0]),
        ] {
            let outcome = run(&[&["purge", "--count", "--admin", admin(&tidegate)], arguments].concat());
            let told: Vec<String> = matched.iter().map(|count| format!("\"matched\":{count}}}")).collect();
            for told in &told {
                assert!(outcome.text().contains(told), "{arguments:?}: {}", outcome.text());
            }
            assert_eq!(outcome.text().matches("\"matched\"").count(), told.len());
        }
        let silent = run(&["purge", "--admin", admin(&tidegate), "--tag", "red"]);
        assert!(!silent.text().contains("matched"), "{}", silent.text());
    });
}

#[test]
fn what_a_soft_purge_marks_is_validated_and_then_fresh_again() {
    in_both_shapes(|shape| {
        let origin = Origin::start(tagged);
        let tidegate = Setup::of(&origin.address()).shape(shape).start();
        assert!(!tidegate.get("/red").is_hit() && tidegate.get("/red").is_hit());
        let answer = once(admin(&tidegate), request("POST", "/purge?tag=red&soft", "", ""));
        assert_eq!(answer.status, 200);
        let response = tidegate.get("/red");
        assert!(
            response.cache_words().iter().any(|word| word == "fwd=stale"),
            "{response:?}"
        );
        assert!(
            response.cache_words().iter().any(|word| word == "fwd-status=304"),
            "{response:?}"
        );
        assert_eq!(response.text(), "hello");
        assert!(tidegate.get("/red").is_hit());
        assert_eq!(metrics::read(admin(&tidegate), "tidegate_cache_purges_total", ""), 1);
        assert_eq!(metrics::read(admin(&tidegate), "tidegate_cache_purge_records", ""), 1);
    });
}

#[test]
fn a_response_that_is_being_fetched_is_covered_and_nobody_joins_it() {
    in_both_shapes(|shape| {
        let gate = Gate::new();
        let held = gate.clone();
        let origin = Origin::start(move |request| match request.field("x-held") {
            Some(_) => Script::says("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 6\r\n\r\nold")
                .wait(&held)
                .send("old"),
            None => Script::cacheable("new"),
        });
        let tidegate = Setup::of(&origin.address()).shape(shape).start();
        let mut early = tidegate.client();
        early.send(request("GET", "/", "X-Held: 1\r\n", ""));
        gate.wait_for_arrivals(1);
        let answer = once(admin(&tidegate), request("POST", "/purge?all", "", ""));
        assert!(answer.text().contains("\"number\":1"), "{}", answer.text());
        assert_eq!(tidegate.get("/").text(), "new");
        gate.open();
        assert_eq!(early.read().text(), "oldold");
        let response = tidegate.get("/");
        assert!(response.text() == "new" || !response.is_hit(), "{response:?}");
    });
}

#[test]
fn purges_are_asked_for_on_purpose_where_something_is_stored() {
    let origin = Origin::start(tagged);
    let tidegate = Setup::of(&origin.address()).start();
    let address = admin(&tidegate);
    for (method, target, lines, expected) in [
        ("GET", "/purge?all", "", 405),
        ("POST", "/purge?all", "Origin: http://evil.example\r\n", 403),
        ("POST", "/purge", "", 400),
        ("POST", "/purge?tag=", "", 400),
        ("POST", "/purge?url=/red", "", 400),
        ("POST", "/purge?tag=red", "", 200),
    ] {
        assert_eq!(
            once(address, request(method, target, lines, "")).status,
            expected,
            "{target} {lines}"
        );
    }
    tidegate.get("/red");
    let answer = once(
        address,
        request("POST", "/purge?url=http://www.example.com/red", "", ""),
    );
    assert!(answer.text().contains("\"matched\":1"), "{}", answer.text());
    let again = once(
        address,
        request("POST", "/purge?url=http://www.example.com/red", "", ""),
    );
    assert!(again.text().contains("\"matched\":0"), "{}", again.text());
}

#[test]
fn the_method_purges_one_url_for_those_in_the_list() {
    in_both_shapes(|shape| {
        let origin = Origin::start(tagged);
        let tidegate = Setup::of(&origin.address())
            .set("cache.purge_allow", "['127.0.0.0/8']")
            .shape(shape)
            .start();
        tidegate.get("/red/1");
        tidegate.get("/red/2");
        let answer = tidegate.ask(request("PURGE", "/red/1", "", ""));
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.text().contains("\"strength\":\"hard\""), "{}", answer.text());
        let done = match shape {
            Shape::InProcess => "\"value\":\"http://www.example.com/red/1\",\"number\":1,\"matched\":1",
            Shape::TwoTier(_) => "\"status\":200",
        };
        assert!(answer.text().contains(done), "{}", answer.text());
        assert!(!tidegate.get("/red/1").is_hit() && tidegate.get("/red/2").is_hit());
        let soft = tidegate.ask(request("PURGE", "/red/1", "X-Purge-Method: soft\r\n", ""));
        assert!(soft.text().contains("\"strength\":\"soft\""), "{}", soft.text());
        let words = tidegate.get("/red/1").cache_words();
        assert!(words.iter().any(|word| word == "fwd-status=304"), "{words:?}");
        let wrong = tidegate.ask(request("PURGE", "/red/1", "X-Purge-Method: tender\r\n", ""));
        assert_eq!(wrong.status, 400);
        let purges = origin
            .requests()
            .iter()
            .filter(|request| request.method() == "PURGE")
            .count();
        assert_eq!(purges, 0, "the origin sees none of it");
    });
}

#[test]
fn the_method_is_refused_to_others_and_where_it_is_off() {
    let origin = Origin::start(tagged);
    let setup = Setup::of(&origin.address());
    for (allow, expected) in [("[]", 405), ("['10.0.0.0/8']", 403)] {
        let tidegate = setup.clone().set("cache.purge_allow", allow).start();
        tidegate.get("/red/1");
        let answer = tidegate.ask(request("PURGE", "/red/1", "", ""));
        assert_eq!(answer.status, expected);
        assert_eq!(answer.has("allow"), expected == 405, "{answer:?}");
        assert!(tidegate.get("/red/1").is_hit());
    }
}

#[test]
fn a_cache_server_that_did_not_purge_is_named() {
    let origin = Origin::start(tagged);
    let mut tidegate = Setup::of(&origin.address())
        .set("cache.purge_allow", "['127.0.0.1']")
        .shape(Shape::TwoTier(2))
        .start();
    let ask = |tidegate: &Tidegate| tidegate.ask(request("PURGE", "/red/1", "", ""));
    assert_eq!(ask(&tidegate).status, 200);
    let gone = tidegate.cache_servers.pop().unwrap().address("cache").to_owned();
    let answer = ask(&tidegate);
    assert_eq!(answer.status, 502, "{answer:?}");
    let said = format!("\"server\":\"{gone}\",\"error\":\"connection_refused\"");
    assert!(answer.text().contains(&said), "{}", answer.text());
    assert!(answer.text().contains("\"status\":200"), "{}", answer.text());
}
