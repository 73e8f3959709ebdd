//! What one client may take from the others: it is refused, counted and told; those beside it notice nothing.

use tests::client::{Client, get};
use tests::origin::Origin;
use tests::script::Script;
use tests::setup::Setup;
use tests::tidegate::Tidegate;
use tests::wait::eventually;
use tests::wire::Stop;

/// Addresses of this machine: to limits, two clients.
const GREEDY: [u8; 4] = [127, 0, 0, 66];
const MODEST: [u8; 4] = [127, 0, 0, 2];

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
