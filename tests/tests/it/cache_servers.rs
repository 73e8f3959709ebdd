//! A front and its cache servers: one key on one server, and what happens when servers are gone.

use tests::client::{get, once, request};
use tests::origin::Origin;
use tests::script::Script;
use tests::setup::{Setup, Shape};
use tests::sys::SIGKILL;
use tests::tidegate::Tidegate;
use tests::wait::eventually;

fn echo() -> Origin {
    Origin::start(|request| Script::cacheable(request.target()))
}

fn stop(tidegate: &mut Tidegate, server: usize) {
    let process = &mut tidegate.cache_servers[server].process;
    process.signal(SIGKILL);
    process.wait_for_exit();
}

#[test]
fn each_key_stays_on_one_of_two_cache_servers() {
    const KEYS: usize = 40;
    let origin = echo();
    let tidegate = Setup::of(&origin.address()).shape(Shape::TwoTier(2)).start();
    for round in 0..3 {
        for key in 0..KEYS {
            let response = tidegate.get(&format!("/{key}"));
            assert_eq!(response.is_hit(), round > 0, "/{key} in round {round}: {response:?}");
        }
    }
    assert_eq!(origin.requests().len(), KEYS, "each key was fetched once");
    tidegate.expect_metric("tidegate_cache_stored_total", "", KEYS as u64);
    let stored: Vec<u64> = tidegate
        .cache_servers
        .iter()
        .map(|node| node.metric("tidegate_cache_stored_total", ""))
        .collect();
    // Even odds: fewer than 5 of 40 on one side come once in five million runs.
    assert!(stored.iter().all(|count| *count >= 5), "{stored:?}");
}

#[test]
fn the_keys_of_a_dead_cache_server_move_and_the_others_stay() {
    let origin = echo();
    let mut tidegate = Setup::of(&origin.address()).shape(Shape::TwoTier(2)).start();
    for key in 0..20 {
        assert_eq!(tidegate.get(&format!("/{key}")).status, 200);
    }
    tidegate.expect_metric("tidegate_cache_stored_total", "", 20);
    let moved = tidegate.cache_servers[0].metric("tidegate_cache_stored_total", "");
    stop(&mut tidegate, 0);
    for round in 0..2 {
        for key in 0..20 {
            let response = tidegate.get(&format!("/{key}"));
            assert_eq!(
                (response.status, response.text()),
                (200, format!("/{key}")),
                "round {round}: {response:?}"
            );
        }
    }
    let (left, front) = (&tidegate.cache_servers[1], &tidegate.front);
    eventually("the other has all keys", || {
        left.metric("tidegate_cache_stored_total", "") == 20
    });
    let fetched = origin.requests().len() as u64;
    assert_eq!(fetched, 20 + moved, "only what the dead one held was fetched again");
    assert_eq!(front.metric("tidegate_tier_fallback_total", ""), 0);
}

#[test]
fn the_origin_is_asked_directly_when_all_cache_servers_are_down() {
    let origin = echo();
    let setup = Setup::of(&origin.address())
        .shape(Shape::TwoTier(2))
        .set("cache.when_down", "'origin'");
    let mut tidegate = setup.start();
    assert_eq!(tidegate.get("/a").text(), "/a");
    stop(&mut tidegate, 0);
    stop(&mut tidegate, 1);
    let front = tidegate.address().to_owned();
    let mut client = tidegate.client();
    for _ in 0..3 {
        assert_eq!(once(&front, get("/a")).text(), "/a");
        let response = client.ask(request("POST", "/post", "Content-Length: 1\r\n", "x"));
        assert_eq!((response.status, response.text().as_str()), (200, "/post"));
    }
    assert_eq!(origin.count("/a"), 4);
    let front = &tidegate.front;
    eventually("six are counted", || {
        front.metric("tidegate_tier_fallback_total", "") == 6
    });
    let busy = || front.metric("tidegate_backend_connections", r#"state="busy""#);
    eventually("no backend connection is busy", || busy() == 0);
}

#[test]
fn the_error_is_told_when_all_cache_servers_are_down_and_that_is_wanted() {
    let origin = echo();
    let setup = Setup::of(&origin.address())
        .shape(Shape::TwoTier(1))
        .set("cache.when_down", "'error'");
    let mut tidegate = setup.start();
    stop(&mut tidegate, 0);
    let mut client = tidegate.client();
    for _ in 0..2 {
        let response = client.get("/a");
        assert!((502..=504).contains(&response.status), "{response:?}");
        assert!(
            response.field("proxy-status").starts_with("tidegate; error="),
            "{response:?}"
        );
    }
    assert!(origin.requests().is_empty());
}

#[test]
fn a_cache_server_answers_anybody_and_knows_its_sites() {
    let origin = echo();
    let tidegate = Setup::of(&origin.address()).shape(Shape::TwoTier(1)).start();
    let server = tidegate.cache_servers[0].address("cache");
    for hit in [false, true] {
        let response = once(server, get("/plain"));
        assert_eq!(
            (response.text().as_str(), response.is_hit()),
            ("/plain", hit),
            "{response:?}"
        );
    }
    // What another front stored is a hit for ours: the key is the resource's, not the front's.
    assert!(tidegate.get("/plain").is_hit());
}
