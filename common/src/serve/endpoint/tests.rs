//! HTTP over real workers on loopback: what a drain means to those who are connected.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::Duration;

use http::StatusCode;
use tokio::sync::Semaphore;

use super::*;
use crate::http::interim::Desk;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http1::parse::ParseError;
use crate::net::listener::bind;
use crate::net::settings::{Backlog, ListenAddress, ListenSettings};
use crate::serve::limits::ConnectionLimit;
use crate::serve::service::{Record, Reply, Sent};
use crate::serve::settings::HalfClose;
use crate::serve::workers::{DrainReport, Plan, Running, start};
use crate::soon::Soon;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::metrics::Counter;
use crate::time::{Clock, mono_now};
use crate::worker::Worker;

/// Says that a request came, and answers it when it may.
struct Gated {
    came: mpsc::Sender<()>,
    permits: Arc<Semaphore>,
}

struct Unrecorded;

impl Record for Unrecorded {
    fn finish(self, _: &Sent) {}
}

impl Service for Gated {
    type Record = Unrecorded;

    fn call<'a>(&'a self, _: Request, _: &'a Arc<ConnInfo>, _: &'a Desk) -> Soon<'a, Reply<Unrecorded>> {
        self.came.send(()).unwrap();
        Soon::coming(async {
            self.permits.acquire().await.unwrap().forget();
            reply(StatusCode::OK)
        })
    }

    fn refuse(&self, _: &ParseError, _: &Arc<ConnInfo>) -> Reply<Unrecorded> {
        reply(StatusCode::BAD_REQUEST)
    }
}

fn reply(status: StatusCode) -> Reply<Unrecorded> {
    Reply {
        response: Response::new(status, "hello"),
        record: Unrecorded,
        close: None,
    }
}

struct House {
    running: Running,
    worker: Arc<Worker>,
    permits: Arc<Semaphore>,
    came: mpsc::Receiver<()>,
}

impl House {
    fn new() -> Self {
        let (came, comes) = mpsc::channel();
        let permits = Arc::new(Semaphore::new(0));
        let endpoint: Arc<dyn Endpoint> = Arc::new(HttpEndpoint::plain(
            Arc::new(Gated {
                came,
                permits: Arc::clone(&permits),
            }),
            serve_settings(),
        ));
        let worker = Worker::new(0, Clock::default(), AccessLog::default());
        let plan = Plan {
            thread_name: "test-w",
            pin: false,
            limit: Arc::new(ConnectionLimit::new(10)),
            tick_every: LONG,
            ticks: Vec::new(),
        };
        let bound = bind(&listen_settings(), 1).unwrap();
        Self {
            running: start(plan, vec![(bound, endpoint)], vec![Arc::clone(&worker)]).unwrap(),
            worker,
            permits,
            came: comes,
        }
    }

    fn request(&self) -> TcpStream {
        let address = self.running.listeners()[0].local_addr.unwrap();
        let mut client = TcpStream::connect(address).unwrap();
        client.set_read_timeout(Some(LONG)).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        self.came.recv().unwrap();
        client
    }
}

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(60);

fn listen_settings() -> ListenSettings {
    ListenSettings {
        name: "test".to_owned(),
        address: ListenAddress::Tcp(([127, 0, 0, 1], 0).into()),
        backlog: Backlog::Auto,
        defer_accept: None,
        v6only: false,
        tcp_keepalive: None,
    }
}

fn serve_settings() -> ServeSettings {
    ServeSettings {
        header_timeout: LONG,
        idle_timeout: LONG,
        body_timeout: LONG,
        send_timeout: LONG,
        body_rate_min: 0,
        send_rate_min: 0,
        rate_grace: Duration::ZERO,
        head_bytes_max: 8192,
        fields_max: 100,
        uri_bytes_max: 4096,
        body_bytes_max: 0,
        requests_per_connection_max: 1000,
        half_close: HalfClose::Answer,
    }
}

/// Reads up to the end of the one body that is ever sent.
fn response(client: &mut TcpStream) -> String {
    let mut read = Vec::new();
    while !read.ends_with(b"hello") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        read.push(byte[0]);
    }
    String::from_utf8(read).unwrap().to_ascii_lowercase()
}

fn is_at_its_end(client: &mut TcpStream) -> bool {
    client.read(&mut [0]).unwrap() == 0
}

#[test]
fn a_drain_ends_running_exchanges_with_connection_close_and_idle_connections_at_once() {
    let house = House::new();
    house.permits.add_permits(1);
    let mut idle = house.request();
    let kept = response(&mut idle);
    assert!(
        kept.starts_with("http/1.1 200 ") && !kept.contains("\r\nconnection: close\r\n"),
        "{kept}"
    );
    let mut busy = house.request();
    house.running.drain(mono_now() + LONG);
    assert!(is_at_its_end(&mut idle));
    house.permits.add_permits(1);
    let last = response(&mut busy);
    assert!(
        last.starts_with("http/1.1 200 ") && last.contains("\r\nconnection: close\r\n"),
        "{last}"
    );
    assert!(is_at_its_end(&mut busy));
    // The server lingers until the client has closed too.
    drop(busy);
    assert_eq!(house.running.join(), DrainReport { finished: 2, cut: 0 });
    assert_eq!(house.worker.metrics.get(Counter::CloseDrain), 2);
}

#[test]
fn an_exchange_that_outlasts_the_drain_is_cut() {
    let house = House::new();
    let mut busy = house.request();
    house.running.drain(mono_now());
    assert!(is_at_its_end(&mut busy), "not a byte of a response");
    assert_eq!(house.running.join(), DrainReport { finished: 0, cut: 1 });
}

/// An idle connection costs its task, above all, and that is as large as what serves it.
#[test]
fn what_serves_a_connection_is_small() {
    const fn size_of_output<A, B, C, D, E, F, T>(_: &impl Fn(A, B, C, D, E, F) -> T) -> usize {
        size_of::<T>()
    }
    let bytes = size_of_output(&serve_connection::<Gated>);
    assert!(bytes <= 1216, "{bytes} bytes");
}
