//! What becomes of servers that fail and of connections that are old; and what is asked of the next server.

use std::io::Write;
use std::time::Duration;

use super::{backend, content, get, level, refusing};
use crate::backend::settings::{BackendSettings, EjectionSettings, RetryCause, ServerSettings};
use crate::backend::testing::{self, Server, answer_part, request};
use crate::backend::{Backend, Order, ServerState};
use crate::http::origin_error::OriginError;
use crate::telemetry::metrics::Counter;
use crate::time::mono_now;

/// Answers with this status line.
fn saying(status: &'static str) -> Server {
    Server::scripted(move |_, stream| {
        while request(stream).is_some() {
            if write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").is_err() {
                return;
            }
        }
    })
}

/// Ejection after two failures in a row, for longer than any test lasts.
fn ejecting(settings: &mut BackendSettings) {
    settings.retries = 0;
    settings.ejection = EjectionSettings {
        failures: 2,
        ..settings.ejection.clone()
    };
}

fn states(backend: &Backend) -> Vec<ServerState> {
    backend.snapshot().iter().map(|server| server.state).collect()
}

#[tokio::test]
async fn a_server_that_fails_again_and_again_is_ejected_for_its_errors_its_bodies_and_its_statuses() {
    let silent = Server::scripted(|_, stream| drop(request(stream)));
    let cutting = Server::scripted(|_, stream| {
        if request(stream).is_some() {
            answer_part(stream, "half of", 100);
        }
    });
    let unavailable = saying("503 Not Now");
    for failing in [&silent, &cutting, &unavailable] {
        let well = Server::answering("well");
        let (backend, worker) = (
            backend(vec![failing.socket(), well.socket()], ejecting),
            testing::worker(0),
        );
        let one = async || {
            let outcome = get(&backend, &worker).await;
            let body = outcome.result.ok().map(|response| response.body);
            match body {
                Some(body) => body.collect(1000).await.ok(),
                None => None,
            }
        };
        for _ in 0..2 {
            assert_eq!(states(&backend)[0], ServerState::Up);
            one().await;
            assert_eq!(one().await.as_deref(), Some(&b"well"[..]));
        }
        assert_eq!(states(&backend), [ServerState::Ejected, ServerState::Up]);
        for _ in 0..4 {
            assert_eq!(one().await.as_deref(), Some(&b"well"[..]), "nobody asks it any more");
        }
        assert!(backend.snapshot()[0].changes.contains(&(ServerState::Ejected, 1)));
    }
}

#[tokio::test]
async fn successes_in_between_keep_a_server() {
    let server = Server::scripted(|_, stream| {
        for i in 0.. {
            let (status, length) = if i % 2 == 0 { ("503 Not Now", 0) } else { ("200 OK", 0) };
            let taken = request(stream).is_some()
                && write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n").is_ok();
            if !taken {
                return;
            }
        }
    });
    let (backend, worker) = (backend(vec![server.socket(), refusing()], ejecting), testing::worker(0));
    backend
        .order(&backend.snapshot()[1].address, Order::Down, mono_now())
        .unwrap();
    for _ in 0..10 {
        content(get(&backend, &worker).await).await;
    }
    assert_eq!(states(&backend)[0], ServerState::Up);
}

#[tokio::test]
async fn an_ejected_server_comes_back_when_its_time_is_over() {
    let (failing, well) = (saying("503 Not Now"), Server::answering("well"));
    let backend = backend(vec![failing.socket(), well.socket()], |settings| {
        ejecting(settings);
        settings.ejection.time = Duration::from_secs(10);
    });
    let worker = testing::worker(0);
    for _ in 0..4 {
        content(get(&backend, &worker).await).await;
    }
    assert_eq!(states(&backend)[0], ServerState::Ejected);
    let now = mono_now();
    backend.tick(now + Duration::from_secs(9));
    assert_eq!(states(&backend)[0], ServerState::Ejected);
    backend.tick(now + Duration::from_secs(11));
    assert_eq!(states(&backend)[0], ServerState::Up);
}

#[tokio::test]
async fn a_server_whose_share_of_failures_is_too_large_is_ejected_when_the_window_is_over() {
    let (failing, well) = (saying("503 Not Now"), Server::answering("well"));
    let backend = backend(vec![failing.socket(), well.socket()], |settings| {
        settings.ejection.error_percent = 50;
        settings.ejection.window = Duration::from_secs(10);
    });
    let worker = testing::worker(0);
    for _ in 0..40 {
        content(get(&backend, &worker).await).await;
    }
    backend.tick(mono_now() + Duration::from_secs(11));
    let shown = backend.snapshot();
    let changes: Vec<_> = shown
        .iter()
        .map(|server| server.changes.contains(&(ServerState::Ejected, 1)))
        .collect();
    assert_eq!(changes, [true, false]);
}

#[tokio::test]
async fn when_too_few_are_well_all_are_asked_until_enough_are_again() {
    let servers = [Server::answering("0"), Server::answering("1"), Server::answering("2")];
    let sockets = servers.iter().map(Server::socket).collect();
    let (backend, worker) = (
        backend(sockets, |settings| settings.panic_percent = 50),
        testing::worker(0),
    );
    let asked = async || {
        let mut asked = std::collections::BTreeSet::new();
        for _ in 0..6 {
            asked.insert(content(get(&backend, &worker).await).await);
        }
        asked.into_iter().collect::<String>()
    };
    let turn_ill = |server: usize, is_ill: bool| {
        backend.note_health(server, !is_ill, "a test", mono_now());
        backend.tick(mono_now());
    };
    turn_ill(0, true);
    assert_eq!((backend.is_panic(), asked().await.as_str()), (false, "12"));
    turn_ill(1, true);
    assert_eq!((backend.is_panic(), asked().await.as_str()), (true, "012"));
    turn_ill(1, false);
    assert_eq!((backend.is_panic(), asked().await.as_str()), (false, "12"));
}

#[tokio::test]
async fn operators_orders_are_followed() {
    let (one, two) = (Server::answering("one"), Server::answering("two"));
    let (backend, worker) = (backend(vec![one.socket(), two.socket()], |_| ()), testing::worker(0));
    let ask = async || content(get(&backend, &worker).await).await;
    let order = |server: &Server, order| backend.order(&server.address.to_string(), order, mono_now());
    assert_eq!((ask().await.as_str(), ask().await.as_str()), ("one", "two"));
    assert_eq!(order(&one, Order::Drain), Ok(Order::Ready));
    for _ in 0..4 {
        assert_eq!(ask().await, "two");
    }
    backend.sweep(&worker);
    assert_eq!(
        backend.snapshot()[0].idle,
        0,
        "a drained server has no idle connections"
    );
    assert_eq!(order(&two, Order::Down), Ok(Order::Ready));
    assert_eq!(ask().await, "one", "better a drained server than none");
    assert_eq!(order(&one, Order::Down), Ok(Order::Drain));
    let refused = get(&backend, &worker).await;
    assert_eq!(refused.result.unwrap_err(), OriginError::DestinationUnavailable.into());
    assert_eq!(order(&two, Order::Ready), Ok(Order::Down));
    assert_eq!(ask().await, "two");
    assert!(backend.order("nobody:1", Order::Down, mono_now()).is_err());
}

#[tokio::test]
async fn a_chosen_status_is_asked_of_the_next_server_and_told_when_there_is_none() {
    let (unavailable, well) = (saying("503 Not Now"), Server::answering("well"));
    let worker = testing::worker(0);
    let retrying =
        |servers: Vec<ServerSettings>| backend(servers, |settings| settings.retry_on.push(RetryCause::Status(503)));
    let two = retrying(vec![unavailable.socket(), well.socket()]);
    let outcome = get(&two, &worker).await;
    assert_eq!((outcome.facts.attempts, content(outcome).await.as_str()), (2, "well"));
    let one = retrying(vec![unavailable.socket()]);
    let outcome = get(&one, &worker).await;
    assert_eq!(
        (outcome.facts.attempts, outcome.result.unwrap().status.as_u16()),
        (1, 503)
    );
}

#[tokio::test]
async fn an_outage_is_retried_within_the_budget_only() {
    let servers = vec![refusing(), refusing()];
    let backend = backend(servers, |settings| settings.retry_budget_percent = 0);
    let worker = testing::worker(0);
    for _ in 0..20 {
        assert!(get(&backend, &worker).await.result.is_err());
    }
    let refused = worker.metrics.get(Counter::BackendRetriesRefused);
    assert_eq!(worker.metrics.get(Counter::BackendRetries) + refused, 20);
    assert!(refused > 10, "the floor of a few per second is all there is: {refused}");
}

#[tokio::test]
async fn a_try_that_takes_too_long_goes_on_elsewhere_and_a_deadline_ends_them_all() {
    let (silent, well) = (
        Server::scripted(|_, stream| while request(stream).is_some() {}),
        Server::answering("well"),
    );
    let worker = testing::worker(0);
    let limit = Duration::from_millis(5);
    let with = |servers: Vec<ServerSettings>, change: fn(&mut BackendSettings, Duration)| {
        backend(servers, |settings| {
            settings
                .retry_on
                .push(RetryCause::Error(OriginError::HttpResponseTimeout));
            change(settings, limit);
        })
    };
    let tries = with(vec![silent.socket(), well.socket()], |settings, limit| {
        settings.try_timeout = Some(limit)
    });
    let outcome = get(&tries, &worker).await;
    assert_eq!((outcome.facts.attempts, content(outcome).await.as_str()), (2, "well"));
    assert_eq!(level(&tries), (0, 0, 0), "the connection of the try is closed");
    let late = with(vec![silent.socket(), well.socket()], |settings, limit| {
        settings.deadline = Some(limit)
    });
    let outcome = get(&late, &worker).await;
    assert_eq!(outcome.facts.attempts, 1, "no time is left");
    assert_eq!(outcome.result.unwrap_err(), OriginError::HttpResponseTimeout.into());
}

#[tokio::test]
async fn a_connection_ends_after_its_last_request_and_after_its_lifetime() {
    let worker = testing::worker(0);
    for (requests_max, lifetime, expected) in [
        (1, testing::LONG, 3),
        (1_000, Duration::ZERO, 3),
        (1_000, testing::LONG, 1),
    ] {
        let server = Server::answering("hello");
        let backend = backend(vec![server.socket()], |settings| {
            settings.connection_requests_max = requests_max;
            settings.connection_lifetime = lifetime;
        });
        for _ in 0..3 {
            content(get(&backend, &worker).await).await;
        }
        assert_eq!(server.accepted(), expected, "{requests_max} requests, {lifetime:?}");
        assert_eq!(level(&backend), (0, usize::from(expected == 1), 0));
    }
}
