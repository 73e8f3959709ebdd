//! A second server is asked as well when the first takes longer than most.

use std::sync::Arc;
use std::time::Duration;

use http::Method;

use super::{backend, content, get, refusing, send};
use crate::backend::Backend;
use crate::backend::settings::{BackendSettings, ServerSettings};
use crate::backend::testing::{self, Server, answer, request};
use crate::backend::times::Times;
use crate::http::body::Body;
use crate::telemetry::metrics::Counter;

/// Takes requests and never answers.
fn silent() -> Server {
    Server::scripted(|_, stream| while request(stream).is_some() {})
}

/// A backend that has learnt that most requests take a millisecond; by turns, the first server first.
fn hedging(servers: Vec<ServerSettings>, change: impl FnOnce(&mut BackendSettings)) -> Arc<Backend> {
    let backend = backend(servers, |settings| {
        settings.hedge_percentile = 95;
        change(settings);
    });
    let times = Times::default();
    (0..100).for_each(|_| times.observe(Duration::from_millis(1)));
    backend.hedge.learn(times.counts(), 95);
    backend
}

#[tokio::test]
async fn who_answers_first_is_heard_and_the_other_is_hung_up_on() {
    let (slow, well) = (silent(), Server::answering("well"));
    let (backend, worker) = (hedging(vec![slow.socket(), well.socket()], |_| ()), testing::worker(0));
    let outcome = get(&backend, &worker).await;
    assert_eq!(outcome.facts.attempts, 2);
    assert_eq!(outcome.facts.server.as_deref(), Some(&*well.address.to_string()));
    assert_eq!(content(outcome).await, "well");
    let counted = |counter| worker.metrics.get(counter);
    assert_eq!(
        (counted(Counter::BackendHedges), counted(Counter::BackendHedgesWon)),
        (1, 1)
    );
    let shown = backend.snapshot();
    assert_eq!((shown[0].busy, shown[0].idle), (0, 0), "its connection is closed");
    assert_eq!((shown[1].busy, shown[1].idle), (0, 1));
    let mean = |server: usize| backend.standings[server].latency.mean(Duration::ZERO);
    assert!(
        mean(0).unwrap() >= 1000.0,
        "it is known to be slow, though nobody waited for it"
    );
}

#[tokio::test]
async fn what_fails_of_the_two_does_not_matter_while_the_other_may_answer() {
    let closing = Server::scripted(|_, stream| {
        request(stream);
        // Later than the second server was asked.
        request(stream);
    });
    let (worker, well) = (testing::worker(0), Server::answering("well"));
    let backend_of_two = hedging(vec![closing.socket(), well.socket()], |_| ());
    assert_eq!(content(get(&backend_of_two, &worker).await).await, "well");
    // The second one refuses: the first is waited for.
    let (slow, release) = late("late");
    let backend_of_two = hedging(vec![slow.socket(), refusing()], |settings| settings.retries = 0);
    let (outcome, ()) = tokio::join!(get(&backend_of_two, &worker), async {
        while backend_of_two.snapshot()[1].failures.is_empty() {
            tokio::task::yield_now().await;
        }
        release.send(()).unwrap();
    });
    assert_eq!((outcome.facts.attempts, content(outcome).await.as_str()), (2, "late"));
}

/// A server whose first answer waits for the sender.
fn late(said: &'static str) -> (Server, std::sync::mpsc::Sender<()>) {
    let (release, released) = std::sync::mpsc::channel();
    let released = parking_lot::Mutex::new(released);
    let server =
        Server::scripted(
            move |_, stream| {
                while request(stream).is_some() && released.lock().recv().is_ok() && answer(stream, said) {}
            },
        );
    (server, release)
}

#[tokio::test]
async fn what_may_not_be_sent_twice_or_is_not_slow_or_over_budget_is_sent_once() {
    let worker = testing::worker(0);
    let quick = Server::answering("quick");
    let other = Server::answering("other");
    for method in [Method::POST, Method::PUT] {
        let backend = hedging(vec![quick.socket(), other.socket()], |_| ());
        let body = if method == Method::PUT {
            Body::from("content")
        } else {
            Body::Empty
        };
        let outcome = send(&backend, &worker, method, body, 0).await;
        assert_eq!(outcome.facts.attempts, 1);
    }
    let spent = hedging(vec![silent().socket(), other.socket()], |settings| {
        settings.retry_budget_percent = 0;
        settings.retries = 0;
        settings.try_timeout = Some(Duration::from_millis(50));
    });
    let before = worker.metrics.get(Counter::BackendHedges);
    let now = spent.since_made(worker.clock.mono());
    let floor: Vec<_> = (0..10).map_while(|_| spent.budget.take(0, now)).collect();
    assert_eq!(floor.len(), 3);
    let outcome = get(&spent, &worker).await;
    assert_eq!(outcome.facts.attempts, 1);
    assert_eq!(worker.metrics.get(Counter::BackendHedges), before);
    assert_eq!(worker.metrics.get(Counter::BackendRetriesRefused), 1);
}

#[tokio::test]
async fn a_hedged_request_that_is_given_up_leaves_no_place_taken() {
    let (one, two) = (silent(), silent());
    let (backend, worker) = (hedging(vec![one.socket(), two.socket()], |_| ()), testing::worker(0));
    {
        let leaving = get(&backend, &worker);
        tokio::pin!(leaving);
        tokio::select! {
            _ = &mut leaving => panic!("they never answer"),
            () = async { while two.accepted() == 0 { tokio::task::yield_now().await } } => {}
        }
    }
    for server in backend.snapshot() {
        assert_eq!((server.busy, server.idle, server.waiting), (0, 0, 0));
    }
}
