//! Servers that join and leave their service, with answers made by hand.

use std::collections::VecDeque;
use std::time::Duration;

use super::*;
use crate::backend::resolve::Resolved;
use crate::backend::settings::ServerSettings;
use crate::backend::standing::Order;
use crate::backend::testing;

/// `priority weight port target addresses…`, one record per line; what a look-up of them finds.
fn zone(lines: &[&str], ttl: u64) -> dns::Service {
    let parts = |line: &str| -> Vec<String> { line.split(' ').map(str::to_owned).collect() };
    let record = |line: &&str| {
        let parts = parts(line);
        srv::Record {
            priority: parts[0].parse().unwrap(),
            weight: parts[1].parse().unwrap(),
            port: parts[2].parse().unwrap(),
            target: parts[3].clone(),
        }
    };
    let addresses = |member: &Member| {
        let line = lines
            .iter()
            .map(|line| parts(line))
            .find(|parts| parts[3] == member.host)
            .unwrap();
        match &line[4..] {
            [] => Err("no such name".to_owned()),
            found => Ok(found.iter().map(|ip| ip.parse().unwrap()).collect()),
        }
    };
    let (members, left_out) = srv::members(lines.iter().map(record).collect(), 3);
    let members = members.into_iter().map(|member| {
        let found = addresses(&member);
        (member, found)
    });
    dns::Service {
        members: members.collect(),
        left_out,
        ttl: Duration::from_secs(ttl),
    }
}

/// One configured server, and a service with three places.
fn backend(first: dns::Service) -> Arc<Backend> {
    let service = ServerSettings {
        group: 1,
        ..ServerAddress::Service("_http._tcp.test".to_owned()).into()
    };
    let fixed = ServerAddress::Name {
        host: "fixed".to_owned(),
        port: 80,
    };
    let settings = BackendSettings {
        service_servers_max: 3,
        ..testing::settings(vec![fixed.into(), service])
    };
    let at = SocketAddrOrUnix::Tcp("10.9.9.9:80".parse().unwrap());
    let resolved = Resolved {
        addresses: vec![vec![at], Vec::new()],
        services: vec![first],
    };
    Arc::new(Backend::new(settings, resolved, 1))
}

/// `name@address rank weight` of each server but the configured one, by name.
fn shown(backend: &Backend) -> Vec<String> {
    let there = (1..backend.servers.len()).filter(|i| !backend.standings[*i].is_gone());
    let one = |i: usize| {
        let (server, standing) = (&backend.servers[i], &backend.standings[i]);
        let at: Vec<String> = server.addresses.all().iter().map(ToString::to_string).collect();
        let rank = standing.rank(Duration::from_secs(1), false);
        format!("{}@{} {rank:?} {}", server.name(), at.join(","), standing.weight())
    };
    let mut all: Vec<String> = there.map(one).collect();
    all.sort_unstable();
    all
}

#[test]
fn records_become_servers_with_groups_weights_and_addresses() {
    let backend = backend(zone(
        &["1 7 80 a 10.0.0.1", "2 0 81 b 10.0.0.3 10.0.0.2", "3 1 80 c"],
        60,
    ));
    assert_eq!(
        shown(&backend),
        ["a:80@10.0.0.1:80 Some(1) 7", "b:81@10.0.0.2:81,10.0.0.3:81 Some(2) 1"]
    );
    let service = backend.services().remove(0);
    assert_eq!(
        (&*service.name, service.servers, service.left_out),
        ("srv:_http._tcp.test", 2, 1)
    );
    assert_eq!(backend.snapshot().len(), 3, "empty places are not shown");
}

#[test]
fn who_stays_stays_as_it_is_and_who_goes_makes_room() {
    let backend = backend(zone(&["1 1 80 a 10.0.0.1", "1 1 80 b 10.0.0.2"], 60));
    backend.order("b:80", Order::Drain, mono_now()).unwrap();
    let is_whole = backend.note_service(
        0,
        zone(&["1 5 80 b 10.0.0.2", "1 1 80 c 10.0.0.3", "1 1 80 d 10.0.0.4"], 60),
        mono_now(),
    );
    assert!(is_whole);
    let rows = shown(&backend);
    assert_eq!(rows[0], "b:80@10.0.0.2:80 Some(40) 5", "its order and place are kept");
    assert_eq!(rows[1..], ["c:80@10.0.0.3:80 Some(1) 1", "d:80@10.0.0.4:80 Some(1) 1"]);
    assert!(
        backend.order("a:80", Order::Down, mono_now()).is_err(),
        "nobody is called so any more"
    );
    assert!(
        backend.standings.iter().any(|standing| standing.joined.get().is_some()),
        "who joins is new"
    );
    assert!(
        backend.note_service(0, zone(&["0 0 0 ."], 60), mono_now()),
        "decidedly no service"
    );
    assert!(shown(&backend).is_empty());
}

#[test]
fn a_server_that_is_gone_keeps_its_place_until_what_runs_on_it_has_ended() {
    let backend = backend(zone(
        &["1 1 80 a 10.0.0.1", "1 1 80 b 10.0.0.2", "1 1 80 c 10.0.0.3"],
        60,
    ));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let (lease, _) = runtime.block_on(backend.servers[1].pool.lease(0, 3));
    let others = ["1 1 80 d 10.0.0.4", "1 1 80 e 10.0.0.5", "1 1 80 f 10.0.0.6"];
    assert!(
        !backend.note_service(0, zone(&others, 60), mono_now()),
        "there is no place for one"
    );
    assert_eq!(shown(&backend).len(), 2);
    let gone: Vec<_> = backend
        .snapshot()
        .into_iter()
        .filter(|server| server.state.word() == "gone")
        .collect();
    assert_eq!((gone.len(), &*gone[0].address, gone[0].busy), (1, "a:80", 1));
    drop(lease);
    assert!(backend.note_service(0, zone(&others, 60), mono_now()));
    assert_eq!((shown(&backend).len(), backend.snapshot().len()), (3, 4));
}

#[test]
fn a_server_that_is_configured_besides_is_not_asked_twice_as_often() {
    let backend = backend(zone(&["1 1 80 fixed 10.0.0.1", "1 1 80 b 10.0.0.2"], 60));
    assert_eq!(shown(&backend), ["b:80@10.0.0.2:80 Some(1) 1"]);
    assert_eq!(backend.services()[0].left_out, 1);
}

#[tokio::test(start_paused = true)]
async fn the_last_good_servers_stay_while_the_look_up_fails_and_it_says_so() {
    let backend = backend(zone(&["1 1 80 a 10.0.0.1"], 60));
    let script = VecDeque::from([
        Ok(zone(&["1 1 80 a 10.0.0.1"], 60)),
        Err("timed out".to_owned()),
        Err("timed out".to_owned()),
        Ok(zone(&["1 1 80 b 10.0.0.2"], 600)),
        Ok(zone(&["1 1 80 b"], 600)),
        Ok(zone(&["1 1 80 b 10.0.0.2"], 600)),
    ]);
    let (script, seen, started) = (Mutex::new(script), Mutex::new(Vec::new()), mono_now());
    let look_up = |name: String| {
        assert_eq!(name, "_http._tcp.test");
        let service = backend.services().remove(0);
        let at = (mono_now() - started).as_secs();
        seen.lock()
            .push((at, shown(&backend).join(" "), service.unresolved, service.resolve_error));
        testing::next_of(&script)
    };
    drop(tokio::time::timeout(Duration::from_secs(100_000), watch(Arc::clone(&backend), 0, look_up)).await);
    let (a, b) = ("a:80@10.0.0.1:80 Some(1) 1", "b:80@10.0.0.2:80 Some(1) 1");
    let row = |at, servers: &str, unresolved, error: Option<&str>| {
        (at, servers.to_owned(), unresolved, error.map(str::to_owned))
    };
    assert_eq!(
        seen.into_inner(),
        [
            row(0, a, 0, None),
            row(60, a, 0, None),
            row(61, a, 1, Some("timed out")),
            row(63, a, 2, Some("timed out")),
            row(363, b, 2, None),
            row(663, b, 2, None),
            row(963, b, 2, None),
        ]
    );
}
