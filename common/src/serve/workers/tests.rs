//! Real workers on loopback, with an endpoint that answers single bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::BytesMut;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::*;
use crate::net::listener::bind;
use crate::net::settings::{Backlog, ListenAddress, ListenSettings};
use crate::net::stream::Stream;
use crate::process::own_process::none_starts;
use crate::serve::seat::Seat;
use crate::serve::service::{CloseReason, ConnInfo};
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::metrics::Counter;
use crate::time::{Clock, mono_now};

/// Answers each byte `i` with its worker's index; others do what they are for first.
struct Bytes {
    /// `w` waits for a permit.
    permits: Semaphore,
    /// `b` blocks the worker's thread: one meeting when it begins, one when it ends.
    meeting: Barrier,
    conns: Mutex<Vec<Arc<ConnInfo>>>,
}

impl Endpoint for Bytes {
    fn serve(self: Arc<Self>, mut stream: Stream, conn: Arc<ConnInfo>, seat: Seat) {
        self.conns.lock().push(Arc::clone(&conn));
        tokio::spawn(async move {
            let reason = self.answer(&mut stream, &conn, &seat).await;
            drop(stream);
            seat.leave(reason);
        });
    }
}

impl Bytes {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            permits: Semaphore::new(0),
            meeting: Barrier::new(2),
            conns: Mutex::default(),
        })
    }

    async fn answer(&self, stream: &mut Stream, conn: &ConnInfo, seat: &Seat) -> CloseReason {
        let mut draining = pin!(seat.drain().draining());
        let mut is_fresh = true;
        loop {
            let mut byte = BytesMut::with_capacity(1);
            let read = tokio::select! {
                biased;
                read = std::future::poll_fn(|cx| stream.poll_read_buf(cx, &mut byte)) => read,
                () = &mut draining, if !is_fresh => return CloseReason::Drain,
            };
            match read {
                Ok(0) => return CloseReason::Client,
                Ok(_) => {}
                Err(_) => return CloseReason::Reset,
            }
            match byte[0] {
                b'w' => self.permits.acquire().await.unwrap().forget(),
                b'b' => {
                    self.meeting.wait();
                    self.meeting.wait();
                }
                b'p' => panic!("as asked"),
                _ => {}
            }
            let answer = [b'0' + u8::try_from(conn.worker.index).unwrap()];
            let slices = [io::IoSlice::new(&answer)];
            let written = std::future::poll_fn(|cx| stream.poll_write_vectored(cx, &slices)).await;
            assert_eq!(written.unwrap(), 1);
            is_fresh = false;
        }
    }
}

/// Workers with one listener.
struct House {
    running: Running,
    workers: Vec<Arc<Worker>>,
    bytes: Arc<Bytes>,
    limit: Arc<ConnectionLimit>,
}

impl House {
    fn new(address: ListenAddress, workers: usize, connections_max: usize, ticks: Vec<Tick>) -> Self {
        let bytes = Bytes::new();
        let limit = Arc::new(ConnectionLimit::new(connections_max));
        let threads: Vec<_> = (0..workers)
            .map(|index| Worker::new(index, Clock::default(), AccessLog::default()))
            .collect();
        let bound = bind(&settings(address), workers).unwrap();
        let plan = Plan {
            thread_name: "test-w",
            pin: true,
            limit: Arc::clone(&limit),
            tick_every: Duration::from_millis(1),
            ticks,
        };
        let endpoint: Arc<dyn Endpoint> = Arc::<Bytes>::clone(&bytes);
        Self {
            running: start(plan, vec![(bound, endpoint)], threads.clone()).unwrap(),
            workers: threads,
            bytes,
            limit,
        }
    }

    fn on_loopback(workers: usize, connections_max: usize) -> Self {
        Self::new(tcp("127.0.0.1:0"), workers, connections_max, Vec::new())
    }

    fn address(&self) -> SocketAddr {
        self.running.listeners()[0].local_addr.unwrap()
    }

    fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.address()).unwrap();
        client.set_read_timeout(Some(LONG)).unwrap();
        client
    }

    fn count(&self, counter: Counter) -> u64 {
        self.workers.iter().map(|worker| worker.metrics.get(counter)).sum()
    }

    fn later() -> MonoTime {
        mono_now() + LONG
    }

    /// Ends it and gives what it counted.
    fn join(self) -> (DrainReport, impl Fn(Counter) -> u64) {
        let Self {
            running,
            workers,
            limit,
            ..
        } = self;
        let report = running.join();
        assert_eq!(limit.open(), 0, "every place was given back");
        let count = move |counter| workers.iter().map(|worker| worker.metrics.get(counter)).sum();
        (report, count)
    }
}

/// Longer than any test takes, so that a failure is a failure and not a hang.
const LONG: Duration = Duration::from_secs(60);

fn tcp(address: &str) -> ListenAddress {
    ListenAddress::Tcp(address.parse().unwrap())
}

fn settings(address: ListenAddress) -> ListenSettings {
    ListenSettings {
        name: "test".to_owned(),
        address,
        backlog: Backlog::Auto,
        defer_accept: None,
        v6only: false,
        tcp_keepalive: None,
    }
}

fn ask(client: &mut (impl Read + Write), what: u8) -> u8 {
    client.write_all(&[what]).unwrap();
    answer(client)
}

fn answer(client: &mut impl Read) -> u8 {
    let mut byte = [0];
    client.read_exact(&mut byte).unwrap();
    byte[0]
}

fn assert_closed(client: &mut impl Read) {
    match client.read(&mut [0]) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("still open: {other:?}"),
    }
}

#[test]
fn every_worker_serves_connections_and_their_ids_are_unique() {
    let house = House::on_loopback(2, 100);
    let mut clients: Vec<_> = (0..64).map(|_| house.connect()).collect();
    let mut served: Vec<_> = clients.iter_mut().map(|client| ask(client, b'i')).collect();
    served.sort_unstable();
    served.dedup();
    assert_eq!(served, b"01");
    let mut ids: Vec<_> = house.bytes.conns.lock().iter().map(|conn| conn.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 64);
    assert_eq!(house.limit.open(), 64);
    house.running.drain(House::later());
    clients.iter_mut().for_each(assert_closed);
    let (report, count) = house.join();
    assert_eq!(report, DrainReport { finished: 64, cut: 0 });
    assert_eq!(count(Counter::ConnectionsAccepted), 64);
    assert_eq!(count(Counter::ConnectionsClosed), 64);
    assert_eq!(count(Counter::CloseDrain), 64);
}

#[test]
fn a_drain_finishes_what_runs_and_closes_what_idles() {
    let _descriptors_are_ours = none_starts();
    let house = House::on_loopback(1, 10);
    let (mut idle, mut busy) = (house.connect(), house.connect());
    ask(&mut idle, b'i');
    ask(&mut busy, b'i');
    busy.write_all(b"w").unwrap();
    // Once this is answered the worker has read what came before it, `w` included.
    ask(&mut idle, b'i');
    house.running.drain(House::later());
    assert_closed(&mut idle);
    assert_eq!(
        TcpStream::connect(house.address()).unwrap_err().kind(),
        ErrorKind::ConnectionRefused
    );
    house.bytes.permits.add_permits(1);
    assert_eq!(answer(&mut busy), b'0');
    assert_closed(&mut busy);
    let (report, count) = house.join();
    assert_eq!(report, DrainReport { finished: 2, cut: 0 });
    assert_eq!(count(Counter::CloseDrain), 2);
}

#[test]
fn connections_that_are_queued_when_the_drain_begins_are_served() {
    let house = House::on_loopback(1, 10);
    let mut first = house.connect();
    first.write_all(b"b").unwrap();
    house.bytes.meeting.wait();
    // The only worker is busy: these stay in its accept queue.
    let mut queued: Vec<_> = (0..5).map(|_| house.connect()).collect();
    for client in &mut queued {
        client.write_all(b"i").unwrap();
    }
    assert_eq!(house.count(Counter::ConnectionsAccepted), 1);
    house.running.drain(House::later());
    house.bytes.meeting.wait();
    for client in &mut queued {
        assert_eq!(answer(client), b'0');
        assert_closed(client);
    }
    assert_eq!(answer(&mut first), b'0');
    let (report, count) = house.join();
    assert_eq!(report, DrainReport { finished: 6, cut: 0 });
    assert_eq!(count(Counter::ConnectionsAccepted), 6);
}

#[test]
fn what_still_runs_is_cut_at_the_deadline_or_by_a_second_word() {
    type End = fn(&Running);
    let ends: [End; 4] = [
        |running| running.drain(mono_now()),
        |running| {
            running.drain(House::later());
            running.drain(mono_now());
        },
        |running| {
            running.drain(House::later());
            running.cut();
        },
        |running| {
            running.cut();
            running.drain(House::later());
        },
    ];
    for end in ends {
        let house = House::on_loopback(1, 10);
        let mut busy = house.connect();
        ask(&mut busy, b'i');
        busy.write_all(b"w").unwrap();
        // Once this is answered the worker has read what came before it, `w` included.
        let mut gone = house.connect();
        ask(&mut gone, b'i');
        drop(gone);
        end(&house.running);
        assert_closed(&mut busy);
        let (report, count) = house.join();
        assert_eq!(report.cut, 1);
        assert_eq!(count(Counter::ConnectionsClosed), 2);
    }
}

#[test]
fn the_end_of_all_workers_can_be_awaited() {
    let house = House::on_loopback(2, 10);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut ended = pin!(house.running.ended());
        tokio::select! {
            biased;
            () = &mut ended => panic!("nobody told them to"),
            () = std::future::ready(()) => {}
        }
        house.running.drain(House::later());
        ended.await;
    });
    assert_eq!(house.join().0, DrainReport::default());
}

#[test]
fn connections_beyond_the_limit_are_shed_and_counted() {
    let house = House::on_loopback(1, 2);
    let (mut first, mut second, mut third) = (house.connect(), house.connect(), house.connect());
    ask(&mut first, b'i');
    ask(&mut second, b'i');
    assert_closed(&mut third);
    assert_eq!(house.count(Counter::ShedConnections), 1);
    drop(first);
    // A place is free as soon as the worker has seen that the first one left.
    while house.count(Counter::CloseClient) == 0 {
        ask(&mut second, b'i');
    }
    let mut fourth = house.connect();
    ask(&mut fourth, b'i');
    house.running.drain(House::later());
    let (_, count) = house.join();
    assert_eq!(count(Counter::ShedConnections), 1);
    assert_eq!(count(Counter::ConnectionsAccepted), 4);
    assert_eq!(count(Counter::ConnectionsClosed), 4);
}

#[test]
fn a_panic_in_a_connection_ends_that_connection_only() {
    let house = House::on_loopback(1, 10);
    let (mut unlucky, mut other) = (house.connect(), house.connect());
    ask(&mut other, b'i');
    unlucky.write_all(b"p").unwrap();
    assert_closed(&mut unlucky);
    ask(&mut other, b'i');
    ask(&mut house.connect(), b'i');
    house.running.drain(House::later());
    let (_, count) = house.join();
    assert_eq!(count(Counter::CloseResponseFailed), 1);
    assert_eq!(count(Counter::ConnectionsClosed), 3);
}

#[test]
fn housekeeping_goes_on_when_a_call_panics_and_is_done_once_more_at_the_end() {
    let calls = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&calls);
    let ticks: Vec<Tick> = vec![
        Box::new(|_| panic!("as a call might")),
        Box::new(move |worker| {
            let closed = worker.metrics.get(Counter::ConnectionsClosed);
            seen.fetch_add(1, Ordering::Relaxed);
            worker.metrics.add(Counter::AccessLogLines, closed);
        }),
    ];
    let house = House::new(tcp("127.0.0.1:0"), 1, 10, ticks);
    let mut client = house.connect();
    while calls.load(Ordering::Relaxed) < 3 {
        ask(&mut client, b'i');
    }
    client.write_all(b"w").unwrap();
    house.running.cut();
    let (_, count) = house.join();
    assert_eq!(
        count(Counter::AccessLogLines),
        1,
        "the last call saw the connection that was cut"
    );
}

#[test]
fn a_unix_socket_is_served_by_all_workers_and_its_file_goes_when_the_drain_begins() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("front.sock");
    let address = ListenAddress::Unix {
        path: path.clone(),
        mode: 0o600,
    };
    let house = House::new(address, 2, 10, Vec::new());
    let mut client = UnixStream::connect(&path).unwrap();
    ask(&mut client, b'i');
    {
        let conns = house.bytes.conns.lock();
        assert_eq!((conns[0].client, conns[0].local), (None, None));
    }
    house.running.drain(House::later());
    assert!(!path.exists());
    assert_closed(&mut client);
    assert_eq!(house.join().0, DrainReport { finished: 1, cut: 0 });
}

#[test]
fn a_connection_knows_both_its_addresses_also_on_a_wildcard() {
    for (listen, reach) in [
        ("127.0.0.1:0", "127.0.0.1"),
        ("0.0.0.0:0", "127.0.0.1"),
        ("[::]:0", "127.0.0.1"),
        ("[::]:0", "::1"),
    ] {
        let house = House::new(tcp(listen), 1, 10, Vec::new());
        let mut client = TcpStream::connect((reach, house.address().port())).unwrap();
        ask(&mut client, b'i');
        {
            let conns = house.bytes.conns.lock();
            assert_eq!(conns[0].client, Some(client.local_addr().unwrap()));
            assert_eq!(conns[0].local, Some(client.peer_addr().unwrap()));
        }
        house.running.cut();
        let _ended = house.join();
    }
}

#[test]
fn a_shard_that_nobody_would_accept_from_is_refused() {
    let bound = bind(&settings(tcp("127.0.0.1:0")), 2).unwrap();
    let plan = Plan {
        thread_name: "test-w",
        pin: false,
        limit: Arc::new(ConnectionLimit::new(1)),
        tick_every: Duration::from_secs(1),
        ticks: Vec::new(),
    };
    let endpoint: Arc<dyn Endpoint> = Bytes::new();
    let worker = Worker::new(0, Clock::default(), AccessLog::default());
    let error = start(plan, vec![(bound, endpoint)], vec![worker]).unwrap_err();
    assert_eq!(error.exit_code(), 71);
    assert!(error.to_string().contains("more shards"), "{error}");
}
