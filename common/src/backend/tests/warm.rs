//! Connections that are there before the first request.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use super::*;
use crate::backend::Backend;
use crate::backend::settings::HttpProtocol;

/// Lets things happen until so many connections are idle.
async fn idle(backend: &Arc<Backend>, expected: usize) {
    while level(backend).1 != expected {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Lets the server's thread get as far as having accepted so many, and sees that there are no more.
async fn accepted(server: &Server, expected: usize) {
    while server.accepted() < expected {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(server.accepted(), expected);
}

#[tokio::test]
async fn connections_are_made_before_they_are_needed_and_again_when_they_end() {
    let (end, ended) = mpsc::channel::<()>();
    let ended = Mutex::new(ended);
    let server = Server::scripted(move |number, stream| match number {
        // The first two end when they are told to.
        0 | 1 => drop(ended.lock().recv()),
        _ => while request(stream).is_some() && answer(stream, "hello") {},
    });
    let backend = backend(vec![server.socket()], |settings| settings.keepalive_min = 2);
    let workers = [testing::worker(0), testing::worker(1)];
    for _ in 0..3 {
        workers.iter().for_each(|worker| backend.warm(worker));
        idle(&backend, 2).await;
    }
    accepted(&server, 2).await;
    assert_eq!(level(&backend), (0, 2, 0));
    end.send(()).unwrap();
    end.send(()).unwrap();
    while level(&backend).1 > 0 {
        backend.sweep(&workers[0]);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    backend.warm(&workers[0]);
    idle(&backend, 2).await;
    let outcome = get(&backend, &workers[1]).await;
    assert!(outcome.facts.reused && outcome.facts.connect.is_none());
    assert_eq!(content(outcome).await, "hello");
    accepted(&server, 4).await;
    assert_eq!(level(&backend), (0, 2, 0));
}

#[tokio::test]
async fn nobody_connects_to_servers_that_are_not_up() {
    let server = Server::answering("hello");
    let backend = backend(vec![server.socket(), refusing()], |settings| settings.keepalive_min = 1);
    let (worker, name) = (testing::worker(0), server.address.to_string());
    backend
        .order(&name, crate::backend::Order::Down, crate::time::mono_now())
        .unwrap();
    backend.warm(&worker);
    backend.warm(&testing::worker(1));
    let state = || backend.snapshot()[1].state;
    while state() != ServerState::Refusing {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!((server.accepted(), level(&backend)), (0, (0, 0, 0)));
}

#[tokio::test]
async fn each_worker_keeps_its_share_of_http2_connections() {
    let server = Server::scripted(|_, stream| {
        // SETTINGS, and then it listens.
        drop(stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]));
        while matches!(stream.read(&mut [0; 1024]), Ok(1..)) {}
    });
    let backend = backend(vec![server.socket()], |settings| {
        settings.protocol = HttpProtocol::Http2;
        settings.keepalive_min = 3;
    });
    for expected in [2, 3, 3] {
        for worker in [testing::worker(0), testing::worker(1)] {
            backend.warm(&worker);
        }
        idle(&backend, expected).await;
    }
    accepted(&server, 3).await;
}
