//! How a process ends: a drain that loses nothing, its deadline, the second signal; and what the admin listener says.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use tests::client::{Client, get, once};
use tests::message::Response;
use tests::origin::Origin;
use tests::script::Script;
use tests::setup::{Setup, Shape};
use tests::sys::{SIGINT, SIGTERM};
use tests::tidegate::Tidegate;
use tests::wait::{Gate, eventually};

/// Answers when the gate opens.
fn held(gate: &Gate) -> Origin {
    let gate = gate.clone();
    Origin::start(move |request| match request.path() {
        "/now" => Script::ok("now"),
        path => Script::new().wait(&gate).send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}",
            path.len()
        )),
    })
}

#[test]
fn a_signal_ends_an_idle_process_with_0() {
    for signal in [SIGTERM, SIGINT] {
        let origin = Origin::saying("hello");
        let mut tidegate = Setup::of(&origin.address()).start();
        let mut idle = tidegate.client();
        assert_eq!(idle.get("/").status, 200);
        tidegate.front.process.signal(signal);
        assert_eq!(tidegate.front.process.wait_for_exit(), 0);
        idle.expect_closed();
        assert!(Client::try_connect(tidegate.address()).is_err());
    }
}

#[test]
fn what_runs_is_finished_and_nothing_new_is_taken() {
    const RUNNING: usize = 20;
    let gate = Gate::new();
    let origin = held(&gate);
    let mut tidegate = Setup::of(&origin.address()).start();
    let mut clients: Vec<_> = (0..RUNNING).map(|_| tidegate.client()).collect();
    for (i, client) in clients.iter_mut().enumerate() {
        client.send(get(&format!("/{i}")));
    }
    gate.wait_for_arrivals(RUNNING);
    tidegate.front.process.signal(SIGTERM);
    eventually("new connections are refused", || {
        Client::try_connect(tidegate.address()).is_err()
    });
    assert!(!tidegate.front.process.has_ended());
    gate.open();
    for (i, client) in clients.iter_mut().enumerate() {
        let response = client.read();
        assert_eq!(
            (response.status, response.text(), response.says_close()),
            (200, format!("/{i}"), true)
        );
        client.expect_closed();
    }
    assert_eq!(tidegate.front.process.wait_for_exit(), 0);
}

/// Clients never stop asking, on connections that they keep, while the process is told to end: whatever reached the
/// origin is answered, whole.
#[test]
fn a_drain_under_load_loses_no_request() {
    for shape in [Shape::InProcess, Shape::TwoTier(1)] {
        let origin = Origin::start(|request| Script::ok(request.target()));
        let mut tidegate = Setup::of(&origin.address()).shape(shape).start();
        let answered: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        let clients: Vec<_> = (0..8)
            .map(|number| {
                let (address, answered) = (tidegate.address().to_owned(), Arc::clone(&answered));
                std::thread::spawn(move || ask_until_refused(&address, number, &answered))
            })
            .collect();
        eventually("there is load", || answered.lock().len() > 500);
        tidegate.front.process.signal(SIGTERM);
        for client in clients {
            client.join().unwrap();
        }
        assert_eq!(tidegate.front.process.wait_for_exit(), 0);
        let answered = answered.lock();
        let lost: Vec<_> = origin
            .requests()
            .iter()
            .map(|request| request.target().to_owned())
            .collect();
        let lost: Vec<_> = lost.iter().filter(|target| !answered.contains(*target)).collect();
        assert!(
            lost.is_empty(),
            "{shape:?}: reached the origin and was not answered: {lost:?}"
        );
    }
}

fn ask_until_refused(address: &str, number: usize, answered: &Mutex<BTreeSet<String>>) {
    let mut asked = 0;
    while let Ok(mut client) = Client::try_connect(address) {
        loop {
            asked += 1;
            let target = format!("/{number}/{asked}");
            client.send(get(&target));
            // An idle connection may be closed just as a request is sent: no byte of an answer, and nothing was lost
            // unless the origin has seen it.
            let Ok(response) = client.try_read_answer_to("GET") else {
                break;
            };
            assert!(
                response.status == 200 && response.looks_whole() && response.text() == target,
                "{response:?}"
            );
            answered.lock().insert(target);
            if response.says_close() {
                break;
            }
        }
    }
}

#[test]
fn a_drain_ends_at_its_deadline() {
    let gate = Gate::new();
    let origin = held(&gate);
    let mut tidegate = Setup::of(&origin.address())
        .set("process.drain_timeout", "'300ms'")
        .start();
    let mut client = tidegate.client();
    client.send(get("/slow"));
    gate.wait_for_arrivals(1);
    tidegate.front.process.signal(SIGTERM);
    assert_eq!(tidegate.front.process.wait_for_exit(), 0);
    let answer = client.try_read_answer_to("GET");
    assert!(
        !answer.is_ok_and(|response| response.status == 200),
        "cut, not answered"
    );
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    let gate = Gate::new();
    let origin = held(&gate);
    let mut tidegate = Setup::of(&origin.address())
        .set("process.drain_timeout", "'10m'")
        .start();
    let mut client = tidegate.client();
    client.send(get("/slow"));
    gate.wait_for_arrivals(1);
    tidegate.front.process.signal(SIGTERM);
    eventually("the drain has begun", || {
        Client::try_connect(tidegate.address()).is_err()
    });
    assert!(!tidegate.front.process.has_ended());
    tidegate.front.process.signal(SIGTERM);
    tidegate.front.process.wait_for_exit();
}

#[test]
fn a_cache_server_drains_as_a_front_does() {
    let gate = Gate::new();
    let origin = held(&gate);
    let mut tidegate = Setup::of(&origin.address()).shape(Shape::TwoTier(1)).start();
    let mut client = tidegate.client();
    client.send(get("/slow"));
    gate.wait_for_arrivals(1);
    tidegate.cache_servers[0].process.signal(SIGTERM);
    let server = tidegate.cache_servers[0].address("cache").to_owned();
    eventually("new connections are refused", || Client::try_connect(&server).is_err());
    gate.open();
    assert_eq!(client.read().text(), "/slow");
    assert_eq!(tidegate.cache_servers[0].process.wait_for_exit(), 0);
}

#[track_caller]
fn admin(tidegate: &Tidegate, path: &str) -> Response {
    once(
        tidegate.front.address("admin"),
        format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
    )
}

#[test]
fn the_admin_listener_tells_health_readiness_and_metrics() {
    let origin = Origin::saying("hello");
    let tidegate = Setup::of(&origin.address()).start();
    assert_eq!(
        (admin(&tidegate, "/health").status, admin(&tidegate, "/ready").status),
        (200, 200)
    );
    assert_eq!(admin(&tidegate, "/no-such-page").status, 404);
    assert_eq!(tidegate.get("/").status, 200);
    let metrics = admin(&tidegate, "/metrics");
    assert!(metrics.field("content-type").starts_with("text/plain"), "{metrics:?}");
    let page = metrics.text();
    for line in page.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        assert!(value.parse::<f64>().is_ok() && name.starts_with("tidegate_"), "{line}");
        let base = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end))
            .unwrap_or(name);
        let declared =
            |word: &str| page.contains(&format!("# {word} {base} ")) || page.contains(&format!("# {word} {name} "));
        assert!(declared("HELP") && declared("TYPE"), "{line}");
    }
    tidegate.expect_metric("tidegate_responses_total", r#"class="2xx""#, 1);
}

#[test]
fn a_draining_process_is_alive_and_not_ready() {
    let gate = Gate::new();
    let origin = held(&gate);
    let mut tidegate = Setup::of(&origin.address()).start();
    let mut client = tidegate.client();
    client.send(get("/slow"));
    gate.wait_for_arrivals(1);
    tidegate.front.process.signal(SIGTERM);
    eventually("it says that it is not ready", || {
        admin(&tidegate, "/ready").status == 503
    });
    assert_eq!(admin(&tidegate, "/health").status, 200);
    gate.open();
    assert_eq!(client.read().text(), "/slow");
    assert_eq!(tidegate.front.process.wait_for_exit(), 0);
}
