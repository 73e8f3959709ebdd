//! Ten thousand requests to servers that fail in every way there is: what each comes to, and that no slot is leaked.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use socket2::SockRef;

use super::{backend, refusing};
use crate::backend::Backend;
use crate::backend::settings::ExchangeLimits;
use crate::backend::testing::{self, Server, answer, request};
use crate::http::body::Body;
use crate::http::head::Head;
use crate::http::origin_error::OriginError;
use crate::http1::client::ExchangeError;
use crate::worker::Worker;

/// What a server does to a connection.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Closes, or resets, before it has read anything.
    AtOnce,
    /// The same after the request.
    AfterRequest,
    /// The same after these bytes of a response.
    After(&'static str),
    /// Sends these bytes one by one, and answers no more.
    ByteByByte(&'static str),
    /// Answers so many requests, then ends the connection while it is idle.
    WhenIdle(usize),
    /// Never says anything.
    Silent,
}

use Fault::{After, AfterRequest, AtOnce, ByteByByte, Silent, WhenIdle};

const WHOLE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
const FAULTS: [Fault; 16] = [
    AtOnce,
    AfterRequest,
    After("not HTTP at all\r\n\r\n"),
    After("HTTP/1.1 2"),
    After("HTTP/1.1 200 OK\r\ncontent-le"),
    After("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"),
    After("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\ncut"),
    After("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel"),
    After("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"),
    After("HTTP/1.1 103 Early Hints\r\n\r\n"),
    After("HTTP/1.1 503 Not Now\r\ncontent-length: 0\r\n\r\n"),
    ByteByByte(WHOLE),
    ByteByByte("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\ncut"),
    WhenIdle(1),
    WhenIdle(2),
    Silent,
];

/// Follows the fault; `true`: the connection is to be reset and not closed.
fn misbehave(fault: Fault, stream: &mut TcpStream) {
    let is_asked = !matches!(fault, AtOnce) && request(stream).is_some();
    match fault {
        _ if !is_asked => {}
        AtOnce | AfterRequest => {}
        After(text) => drop(stream.write_all(text.as_bytes())),
        ByteByByte(text) => {
            let is_taken = text.bytes().all(|byte| stream.write_all(&[byte]).is_ok());
            if is_taken {
                request(stream);
            }
        }
        WhenIdle(answers) => {
            let mut left = answers;
            while answer(stream, "hello") && left > 1 && request(stream).is_some() {
                left -= 1;
            }
        }
        Silent => drop(request(stream)),
    }
}

/// A server that goes through all faults, connection by connection, and ends every second one with a reset.
fn failing() -> Server {
    Server::scripted(|number, stream| {
        misbehave(FAULTS[number % FAULTS.len()], stream);
        if (number / FAULTS.len()).is_multiple_of(2) {
            drop(SockRef::from(&*stream).set_linger(Some(Duration::ZERO)));
        }
    })
}

/// One request: each method, with and without content; every fifth is given up by its client at some point.
async fn one(backend: &Arc<Backend>, worker: &Arc<Worker>, limits: &ExchangeLimits, i: usize) -> Option<OriginError> {
    let head = Head {
        method: if i.is_multiple_of(2) { Method::GET } else { Method::POST },
        ..Head::default()
    };
    let content = || {
        if i.is_multiple_of(3) {
            Body::from("content")
        } else {
            Body::Empty
        }
    };
    let mut head = head.into();
    let sent = backend.send(&mut head, content(), 0, limits, worker);
    let ask = async {
        match sent.await.result {
            Ok(response) => drop(response.body.collect(100).await),
            Err(ExchangeError::Origin(error)) => return Some(error),
            Err(ExchangeError::Client(error)) => panic!("the client's body was there: {error}"),
        }
        None
    };
    tokio::select! {
        biased;
        error = ask => error,
        () = async { for _ in 0..i % 50 { tokio::task::yield_now().await } }, if i.is_multiple_of(5) => None,
    }
}

#[tokio::test]
async fn ten_thousand_requests_that_fail_in_all_ways_leave_no_place_taken() {
    let (server, other) = (failing(), failing());
    let servers = vec![server.socket(), other.socket(), refusing()];
    let backend = backend(servers, |settings| {
        settings.connections_max = 4;
        settings.try_timeout = Some(Duration::from_millis(5));
        settings.ejection.failures = 5;
        settings.ejection.time = Duration::from_millis(1);
        settings.connection_requests_max = 3;
    });
    let worker = testing::worker(0);
    let mut limits = testing::limits();
    limits.response_timeout = Duration::from_millis(5);
    limits.body_timeout = Duration::from_millis(5);
    let mut errors = std::collections::HashSet::new();
    for round in 0..2_500_usize {
        let ask = |i: usize| one(&backend, &worker, &limits, 4 * round + i);
        let ((a, b), (c, d)) = tokio::join!(async { tokio::join!(ask(0), ask(1)) }, async {
            tokio::join!(ask(2), ask(3))
        });
        errors.extend([a, b, c, d].into_iter().flatten());
    }
    let documented = [
        OriginError::ConnectionRefused,
        OriginError::ConnectionTerminated,
        OriginError::ConnectionTimeout,
        OriginError::ConnectionLimitReached,
        OriginError::HttpResponseIncomplete,
        OriginError::HttpResponseTimeout,
        OriginError::HttpProtocolError,
        OriginError::HttpResponseTransferCoding,
    ];
    let expected = [
        OriginError::ConnectionTerminated,
        OriginError::HttpResponseIncomplete,
        OriginError::HttpResponseTimeout,
        OriginError::HttpProtocolError,
    ];
    testing::assert_errors(&errors, &documented, &expected);
    for server in [&server, &other] {
        assert!(
            server.accepted() > 10 * FAULTS.len(),
            "each fault was met, closed and reset"
        );
    }
    for server in &backend.snapshot() {
        assert_eq!((server.busy, server.waiting), (0, 0), "{server:?}");
        assert!(server.idle <= 4, "{server:?}");
        assert!(!server.failures.is_empty(), "{server:?}");
    }
    for server in &backend.servers {
        assert!(
            server.pool.is_balanced(),
            "{}: connections are counted that do not exist",
            server.name()
        );
    }
}
