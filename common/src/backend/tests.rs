//! The whole backend against scripted servers on loopback. Ejection, orders, retries and lives are in
//! `standing`, failures by the thousand in `faults`.

mod faults; // ten thousand failures of every kind
mod hedging; // a second server is asked as well
mod simulation; // one of ten servers turns slow, in virtual time
mod http2; // many requests on one connection
mod warm; // connections made before they are needed
mod standing; // what becomes of servers and connections

use std::sync::Arc;
use std::sync::mpsc;

use http::Method;
use parking_lot::Mutex;

use super::settings::{BackendSettings, Balance, ServerAddress, ServerSettings};
use super::testing::{self, Server, answer, answer_part, request};
use super::{Backend, Outcome, ServerState, resolve};
use crate::http::body::Body;
use crate::http::head::Head;
use crate::http::origin_error::OriginError;
use crate::telemetry::metrics::{Counter, Histogram};
use crate::worker::Worker;

fn backend(servers: Vec<ServerSettings>, change: impl FnOnce(&mut BackendSettings)) -> Arc<Backend> {
    let mut settings = testing::settings(servers);
    change(&mut settings);
    let addresses = resolve(&settings).unwrap();
    Arc::new(Backend::new(settings, addresses, 2))
}

fn refusing() -> ServerSettings {
    ServerAddress::Socket(testing::refusing_address()).into()
}

async fn send(backend: &Arc<Backend>, worker: &Arc<Worker>, method: Method, body: Body, key: u64) -> Outcome {
    let head = Head {
        method,
        ..Head::default()
    };
    let limits = testing::limits();
    sendable(backend.send(&mut head.into(), body, key, &limits, worker)).await
}

/// A service's future has to be `Send`, so this one has to be.
fn sendable<F: Future + Send>(future: F) -> F {
    future
}

async fn get(backend: &Arc<Backend>, worker: &Arc<Worker>) -> Outcome {
    send(backend, worker, Method::GET, Body::Empty, 0).await
}

/// Reads the content, so that the connection goes back to the pool.
async fn content(outcome: Outcome) -> String {
    let content = outcome.result.unwrap().body.collect(1000).await.unwrap();
    String::from_utf8(content.to_vec()).unwrap()
}

/// Busy, idle and waiting of the first server.
fn level(backend: &Backend) -> (usize, usize, usize) {
    let snapshot = backend.snapshot().remove(0);
    (snapshot.busy, snapshot.idle, snapshot.waiting)
}

#[tokio::test]
async fn a_second_request_takes_the_connection_of_the_first() {
    let (server, release) = Server::answering_late("hello");
    let (backend, worker) = (backend(vec![server.socket()], |_| ()), testing::worker(0));
    let first = get(&backend, &worker).await;
    assert_eq!((first.facts.reused, first.facts.attempts), (false, 1));
    assert!(first.facts.connect.is_some() && first.facts.first_byte.is_some());
    assert_eq!(first.facts.server.as_deref(), Some(&*server.address.to_string()));
    assert_eq!(level(&backend), (1, 0, 0), "busy until the body was read");
    release.send(()).unwrap();
    assert_eq!(content(first).await, "hello");
    assert_eq!(level(&backend), (0, 1, 0));
    let second = get(&backend, &worker).await;
    assert!(second.facts.reused && second.facts.connect.is_none());
    assert_eq!(
        level(&backend),
        (0, 1, 0),
        "a body that came with its head needs no connection any more"
    );
    assert_eq!(content(second).await, "hello");
    assert_eq!(server.accepted(), 1);
    let shown = backend.snapshot().remove(0);
    assert_eq!((shown.attempts, shown.reused, shown.connects), (2, 1, 1));
    assert_eq!(shown.connect_buckets.iter().sum::<u64>(), 1);
    let observed = |histogram| worker.metrics.buckets(histogram).0.iter().sum::<u64>();
    assert_eq!(observed(Histogram::BackendConnectSeconds), 1);
    assert_eq!(observed(Histogram::BackendFirstByteSeconds), 2);
}

#[test]
fn workers_share_one_pool_across_their_runtimes() {
    let server = Server::answering("hello");
    let backend = backend(vec![server.socket()], |_| ());
    let (to_second, from_first) = mpsc::channel();
    let (to_first, from_second) = mpsc::channel();
    let on_worker = |index, wait: mpsc::Receiver<()>, wake: mpsc::Sender<()>| {
        let backend = Arc::clone(&backend);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let worker = testing::worker(index);
            for turn in 0..3 {
                if index == 1 || turn > 0 {
                    wait.recv().unwrap();
                }
                let outcome = runtime.block_on(async {
                    let outcome = get(&backend, &worker).await;
                    let reused = outcome.facts.reused;
                    (content(outcome).await, reused)
                });
                assert_eq!(outcome, ("hello".to_owned(), index == 1 || turn > 0));
                wake.send(()).ok();
            }
        })
    };
    let first = on_worker(0, from_second, to_second);
    let second = on_worker(1, from_first, to_first);
    first.join().unwrap();
    second.join().unwrap();
    assert_eq!(server.accepted(), 1);
    assert_eq!(backend.snapshot().remove(0).reused, 5);
}

#[tokio::test]
async fn a_request_waits_for_the_only_connection_and_then_takes_it() {
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let server = Server::scripted(move |_, stream| {
        while request(stream).is_some() && released.lock().recv().is_ok() && answer(stream, "hello") {}
    });
    let backend = backend(vec![server.socket()], |settings| settings.connections_max = 1);
    let worker = testing::worker(0);
    let both = async {
        tokio::join!(
            async { content(get(&backend, &worker).await).await },
            async { content(get(&backend, &worker).await).await },
            async {
                while level(&backend) != (1, 0, 1) {
                    tokio::task::yield_now().await;
                }
                release.send(()).unwrap();
                release.send(()).unwrap();
            },
        )
    };
    let (first, second, ()) = both.await;
    assert_eq!(
        (first.as_str(), second.as_str(), server.accepted()),
        ("hello", "hello", 1)
    );
    assert_eq!(level(&backend), (0, 1, 0));
}

#[tokio::test]
async fn a_reached_limit_has_its_word_and_its_counter_and_the_next_server_is_tried() {
    let ((one, _held), (two, release)) = (Server::answering_late("one"), Server::answering_late("two"));
    let backend = backend(vec![one.socket(), two.socket()], |settings| {
        settings.connections_max = 1;
        settings.queue_max = 0;
    });
    let worker = testing::worker(0);
    let held = [get(&backend, &worker).await, get(&backend, &worker).await];
    let refused = get(&backend, &worker).await;
    assert_eq!(refused.result.unwrap_err(), OriginError::ConnectionLimitReached.into());
    assert_eq!(refused.facts.attempts, 2);
    assert_eq!(worker.metrics.get(Counter::BackendQueueTimeouts), 2);
    let [_, second] = held;
    release.send(()).unwrap();
    assert_eq!(content(second).await, "two");
    // Whoever's turn it is, the one that is free answers.
    for _ in 0..2 {
        assert_eq!(content(get(&backend, &worker).await).await, "two");
    }
}

/// A server whose first connection answers once and closes on the second request, while later ones keep answering.
fn closing_on_the_second_request() -> Server {
    Server::scripted(|number, stream| {
        let mut answers = 0;
        while request(stream).is_some() && (number > 0 || answers == 0) && answer(stream, "hello") {
            answers += 1;
        }
    })
}

#[tokio::test]
async fn a_reused_connection_that_turns_out_dead_costs_an_idempotent_request_no_retry() {
    let server = closing_on_the_second_request();
    let (backend, worker) = (
        backend(vec![server.socket()], |settings| settings.retries = 0),
        testing::worker(0),
    );
    content(get(&backend, &worker).await).await;
    let second = get(&backend, &worker).await;
    assert_eq!((second.facts.attempts, second.facts.reused), (2, false));
    assert_eq!(content(second).await, "hello");
    assert_eq!(worker.metrics.get(Counter::BackendRetries), 1);
    let shown = backend.snapshot().remove(0);
    assert_eq!(shown.failures, [(OriginError::ConnectionTerminated, 1)]);
    assert_eq!(shown.state, ServerState::Up, "it was the connection, not the server");
    assert_eq!(level(&backend), (0, 1, 0));
}

#[tokio::test]
async fn a_post_is_not_sent_again_once_a_byte_of_it_was_sent() {
    for body in [Body::Empty, Body::from("content")] {
        let server = closing_on_the_second_request();
        let (backend, worker) = (backend(vec![server.socket()], |_| ()), testing::worker(0));
        content(get(&backend, &worker).await).await;
        let outcome = send(&backend, &worker, Method::POST, body, 0).await;
        assert_eq!(outcome.result.unwrap_err(), OriginError::ConnectionTerminated.into());
        assert_eq!((outcome.facts.attempts, outcome.facts.reused), (1, true));
        assert_eq!(level(&backend), (0, 0, 0));
    }
}

#[tokio::test]
async fn a_new_connection_that_closes_without_an_answer_is_the_servers_failure() {
    let server = Server::scripted(|_, stream| drop(request(stream)));
    let (backend, worker) = (backend(vec![server.socket(), refusing()], |_| ()), testing::worker(0));
    let outcome = send(&backend, &worker, Method::POST, Body::Empty, 0).await;
    assert_eq!(outcome.result.unwrap_err(), OriginError::ConnectionTerminated.into());
    assert_eq!(outcome.facts.attempts, 1);
}

#[tokio::test]
async fn a_request_with_content_moves_on_to_the_next_server_when_one_refuses() {
    let echo = Server::scripted(|_, stream| {
        let request = request(stream).unwrap();
        answer(stream, request.split("\r\n\r\n").nth(1).unwrap());
    });
    let (backend, worker) = (backend(vec![refusing(), echo.socket()], |_| ()), testing::worker(0));
    let outcome = send(&backend, &worker, Method::POST, Body::from("the content"), 0).await;
    assert_eq!(
        (outcome.facts.attempts, outcome.facts.server.as_deref()),
        (2, Some(&*echo.address.to_string()))
    );
    assert_eq!(content(outcome).await, "the content");
}

#[tokio::test]
async fn a_server_that_refuses_is_skipped_for_a_while() {
    let server = Server::answering("hello");
    let (mut backend, worker) = (backend(vec![refusing(), server.socket()], |_| ()), testing::worker(0));
    Arc::get_mut(&mut backend).unwrap().penalty = testing::LONG;
    let attempts = async || {
        let outcome = get(&backend, &worker).await;
        let attempts = outcome.facts.attempts;
        content(outcome).await;
        attempts
    };
    assert_eq!(attempts().await, 2);
    let shown = backend.snapshot();
    assert_eq!(
        (shown[0].state, shown[1].state),
        (ServerState::Refusing, ServerState::Up)
    );
    assert_eq!(shown[0].failures, [(OriginError::ConnectionRefused, 1)]);
    assert_eq!((shown[0].attempts, shown[0].connects), (1, 0));
    for _ in 0..3 {
        assert_eq!(attempts().await, 1);
    }
}

#[tokio::test]
async fn the_last_error_is_told_when_nobody_answers() {
    let worker = testing::worker(0);
    for (servers, retries, attempts, expected) in [
        (Vec::new(), 9, 0, OriginError::DestinationUnavailable),
        (vec![refusing()], 9, 1, OriginError::ConnectionRefused),
        (
            vec![refusing(), refusing(), refusing()],
            9,
            3,
            OriginError::ConnectionRefused,
        ),
        (
            vec![refusing(), refusing(), refusing()],
            1,
            2,
            OriginError::ConnectionRefused,
        ),
        (
            vec![refusing(), refusing(), refusing()],
            0,
            1,
            OriginError::ConnectionRefused,
        ),
        (
            vec![
                refusing(),
                ServerAddress::Unix("/nonexistent/tidegate.sock".into()).into(),
            ],
            1,
            2,
            OriginError::DestinationUnavailable,
        ),
    ] {
        for balance in [Balance::RoundRobin, Balance::ConsistentHash] {
            if balance == Balance::ConsistentHash && servers.len() == 2 {
                continue; // which of the two is the last depends on the ports
            }
            let backend = backend(servers.clone(), |settings| {
                settings.retries = retries;
                settings.balance = balance;
            });
            let outcome = get(&backend, &worker).await;
            assert_eq!(outcome.result.unwrap_err(), expected.into());
            assert_eq!(outcome.facts.attempts, attempts);
        }
    }
}

#[tokio::test]
async fn a_server_without_an_address_is_a_dns_error() {
    let settings = testing::settings(vec![refusing()]);
    let backend = Arc::new(Backend::new(settings, Vec::new().into(), 1));
    let outcome = get(&backend, &testing::worker(0)).await;
    assert_eq!(outcome.result.unwrap_err(), OriginError::DnsError.into());
}

#[tokio::test]
async fn a_key_stays_on_its_server_and_moves_to_another_only_while_that_refuses() {
    let servers = [Server::answering("0"), Server::answering("1"), Server::answering("2")];
    let mut sockets: Vec<ServerSettings> = servers.iter().map(Server::socket).collect();
    sockets.push(refusing());
    let worker = testing::worker(0);
    let backend = backend(sockets, |settings| settings.balance = Balance::ConsistentHash);
    let mut owners = std::collections::HashSet::new();
    for key in (0..64_u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15)) {
        let owner = content(send(&backend, &worker, Method::GET, Body::Empty, key).await).await;
        let again = content(send(&backend, &worker, Method::GET, Body::Empty, key).await).await;
        assert_eq!(owner, again);
        owners.insert(owner);
    }
    assert_eq!(owners.len(), 3, "every server owns some of the keys");
    assert!(
        backend.snapshot()[3].attempts > 0,
        "the one that refuses owned some too"
    );
}

#[tokio::test]
async fn a_dropped_request_and_a_dropped_body_close_their_connections_and_free_their_places() {
    let server = Server::scripted(|number, stream| {
        if request(stream).is_some() && number > 0 {
            // More than it sends: the body is still coming when it is dropped.
            answer_part(stream, "a body that nobody reads", 1000);
        }
        request(stream);
    });
    let (backend, worker) = (backend(vec![server.socket()], |_| ()), testing::worker(0));
    {
        let leaving = get(&backend, &worker);
        tokio::pin!(leaving);
        tokio::select! {
            _ = &mut leaving => panic!("it never answers"),
            () = async { while server.accepted() == 0 { tokio::task::yield_now().await } } => {}
        }
        assert_eq!(level(&backend), (1, 0, 0));
    }
    assert_eq!(level(&backend), (0, 0, 0));
    let outcome = get(&backend, &worker).await;
    assert_eq!(level(&backend), (1, 0, 0));
    drop(outcome);
    assert_eq!(level(&backend), (0, 0, 0));
}

#[tokio::test]
async fn a_connection_that_the_server_closed_while_idle_is_swept_away() {
    let server = Server::scripted(|_, stream| {
        request(stream);
        answer(stream, "hello");
    });
    let (backend, worker) = (backend(vec![server.socket()], |_| ()), testing::worker(0));
    content(get(&backend, &worker).await).await;
    while level(&backend) != (0, 0, 0) {
        tokio::task::yield_now().await;
        backend.sweep(&worker);
    }
    let next = get(&backend, &worker).await;
    assert_eq!((next.facts.attempts, next.facts.reused), (1, false));
}
