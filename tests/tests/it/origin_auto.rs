//! `protocol = "auto"`: what origins choose by ALPN, and HTTP/2 connections that say GOAWAY while requests come.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use http::HeaderMap;
use tests::certificates::Made;
use tests::client::{Client, get, request};
use tests::dual_origin::{DualOrigin, Http2};
use tests::programs::installed;
use tests::setup::Setup;
use tests::tidegate::{Tidegate, folder};
use tests::wait::eventually;

use crate::mixed::{nginx, serve};

const CLIENTS: usize = 8;

fn start(origin: &DualOrigin, made: &Made, set: impl FnOnce(Setup) -> Setup) -> Tidegate {
    let (_folder, path) = folder();
    let roots = made.write(&path, "o").certificate;
    let setup = Setup::of(&origin.url())
        .uncached()
        .set("process.workers", "1")
        .set("origin.o.protocol", "'auto'")
        .set("origin.o.tls.roots", &format!("'{}'", roots.display()));
    set(setup).start()
}

/// So many requests of each of some clients at once; what the answers are that no client should get.
fn load(tidegate: &Tidegate, each: usize, ask: impl Fn(usize) -> String + Sync, expected: &str) -> Vec<String> {
    let address = tidegate.address();
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = Client::connect(address);
                    let answers = (0..each).map(|number| client.ask(ask(number)));
                    let bad = answers.filter(|answer| answer.status != 200 || answer.text() != expected);
                    bad.map(|answer| format!("{answer:?}")).collect::<Vec<_>>()
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    })
}

#[test]
fn an_origin_is_spoken_to_as_it_chooses() {
    let made = Made::ecdsa(&["127.0.0.1"]);
    for (known, spoken) in [
        (&["h2", "http/1.1"][..], "h2"),
        (&["h2"], "h2"),
        (&["http/1.1"], "http/1.1"),
        // One that knows nothing of ALPN leaves it unanswered (RFC 7301 §3.1).
        (&[], "http/1.1"),
    ] {
        let origin = DualOrigin::tls(&made, known, Http2::saying(HeaderMap::new(), "h2"));
        let tidegate = start(&origin, &made, |setup| setup);
        // The first requests come together, when nothing is known yet.
        let bad = load(&tidegate, 5, |_| get("/"), spoken);
        assert!(bad.is_empty(), "{known:?}: {bad:?}");
        let connections = origin.connections();
        assert!(
            connections.iter().all(|protocol| *protocol == spoken),
            "{connections:?}"
        );
        let at_most = if spoken == "h2" { 1 } else { CLIENTS };
        assert!(connections.len() <= at_most, "{known:?}: {connections:?}");
    }
}

#[test]
fn health_checks_speak_what_the_origin_chooses() {
    let made = Made::ecdsa(&["127.0.0.1"]);
    for known in [&["h2"][..], &["http/1.1"], &[]] {
        let origin = DualOrigin::tls(&made, known, Http2::saying(HeaderMap::new(), "h2"));
        let tidegate = start(&origin, &made, |setup| {
            let setup = setup.set("origin.o.health.path", "'/up'");
            setup
                .set("origin.o.health.interval", "'10ms'")
                .set("origin.o.health.fall", "1")
        });
        eventually("it was checked", || origin.connections().len() > 3);
        assert_eq!(
            tidegate.metric("tidegate_backend_server_state", r#"state="up""#),
            1,
            "{known:?}"
        );
    }
}

#[test]
fn no_request_fails_while_connections_say_goaway() {
    let made = Made::ecdsa(&["127.0.0.1"]);
    let answered = std::sync::Arc::new(AtomicUsize::new(0));
    let counter = std::sync::Arc::clone(&answered);
    let reading = Http2::answering(move |mut request, mut respond| {
        counter.fetch_add(1, Ordering::SeqCst);
        async move {
            while let Some(Ok(data)) = request.body_mut().data().await {
                drop(request.body_mut().flow_control().release_capacity(data.len()));
            }
            if let Ok(mut stream) = respond.send_response(http::Response::new(()), false) {
                drop(stream.send_data("h2".into(), true));
            }
        }
    });
    let origin = DualOrigin::tls(
        &made,
        &["h2"],
        Http2 {
            requests_max: 7,
            ..reading
        },
    );
    let tidegate = start(&origin, &made, |setup| setup);
    // What is not idempotent is among it: what a server has not processed may be sent again all the same.
    let ask = |number: usize| match number % 2 {
        0 => get("/"),
        _ => request("POST", "/", "Content-Length: 3\r\n", "abc"),
    };
    let bad = load(&tidegate, 50, ask, "h2");
    assert!(bad.is_empty(), "{bad:?}");
    let (asked, connections) = (CLIENTS * 50, origin.connections().len());
    assert_eq!(answered.load(Ordering::SeqCst), asked, "each was answered once");
    // Those that were on their way when a GOAWAY came are still answered on the connection that said it.
    assert!(
        connections > asked / (7 + CLIENTS) && connections < asked,
        "{connections}"
    );
    tidegate.wait_until_no_backend_is_busy();
}

#[test]
fn no_request_fails_while_nginx_says_goaway() {
    let Some(command) = installed("nginx") else { return };
    let (_folder, path) = folder();
    let server = "keepalive_requests 10; location / { return 200 nginx; }";
    let _nginx = serve(nginx(command, &path, "http2", server), &path.join("socket"));
    let tidegate = Setup::of(&format!("unix:{}/socket", path.display()))
        .uncached()
        .set("process.workers", "1")
        .set("origin.o.protocol", "'http2'")
        .start();
    let bad = load(&tidegate, 50, |_| get("/"), "nginx");
    assert!(bad.is_empty(), "{bad:?}");
    let connects = tidegate.metric("tidegate_backend_connects_total", "");
    assert!((10..=200).contains(&connects), "{connects}");
    tidegate.wait_until_no_backend_is_busy();
}
