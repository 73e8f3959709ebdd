//! What the tests of this folder share: settings, workers, and scripted servers on loopback.

use std::collections::{HashSet, VecDeque};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use parking_lot::Mutex;

use super::settings::{
    BackendSettings, Balance, EjectionSettings, ExchangeLimits, HashBy, HttpProtocol, RetryCause, ServerAddress,
    ServerSettings,
};
use crate::http::origin_error::OriginError;
use crate::http2::settings::ClientHttp2Settings;
use crate::telemetry::access_log::AccessLog;
use crate::time::Clock;
use crate::worker::Worker;

/// Longer than any test lasts: a limit that is not meant to be reached.
pub(super) const LONG: Duration = Duration::from_secs(600);

/// Failures that move a request on.
const RETRY_ON: [RetryCause; 5] = [
    RetryCause::Error(OriginError::ConnectionRefused),
    RetryCause::Error(OriginError::ConnectionTerminated),
    RetryCause::Error(OriginError::ConnectionLimitReached),
    RetryCause::Error(OriginError::DestinationUnavailable),
    RetryCause::Error(OriginError::DnsError),
];

/// Of all that failed there were only errors of these, and these came.
#[track_caller]
pub(super) fn assert_errors(errors: &HashSet<OriginError>, documented: &[OriginError], expected: &[OriginError]) {
    assert!(errors.iter().all(|error| documented.contains(error)), "{errors:?}");
    for error in expected {
        assert!(errors.contains(error), "{error} came never: {errors:?}");
    }
}

pub(super) fn limits() -> ExchangeLimits {
    ExchangeLimits {
        urgency: 3,
        connect_timeout: LONG,
        response_timeout: LONG,
        body_timeout: LONG,
        tunnel_timeout: LONG,
        send_timeout: LONG,
        head_bytes_max: 16 * 1024,
        fields_max: 100,
    }
}

/// What comes next in a script; never, when it is over.
pub(super) fn next_of<T>(script: &Mutex<VecDeque<T>>) -> impl Future<Output = T> + use<T> {
    let next = script.lock().pop_front();
    async {
        match next {
            Some(next) => next,
            None => std::future::pending().await,
        }
    }
}

pub(super) fn settings(servers: Vec<ServerSettings>) -> BackendSettings {
    BackendSettings {
        name: "test".to_owned(),
        servers,
        name_servers: Vec::new(),
        service_servers_max: 4,
        balance: Balance::RoundRobin,
        hash_load_percent: 150,
        hash_by: HashBy::Key,
        hot_key_servers: 1,
        hot_key_rate: 1000,
        handover: Duration::ZERO,
        slow_start: Duration::ZERO,
        keepalive: 8,
        keepalive_min: 0,
        connections_max: 16,
        queue_timeout: LONG,
        queue_max: 16,
        idle_timeout: LONG,
        connection_lifetime: LONG,
        connection_requests_max: 1_000_000,
        tcp_keepalive: None,
        tcp_user_timeout: None,
        bind: None,
        tls: None,
        proxy_protocol: None,
        protocol: HttpProtocol::Http1,
        http2: ClientHttp2Settings {
            streams_max: 100,
            stream_window: 1 << 16,
            connection_window: 1 << 18,
            send_buffer_max: 1 << 16,
            ping_after: Duration::ZERO,
            ping_timeout: LONG,
        },
        retries: 1,
        retry_on: RETRY_ON.to_vec(),
        retry_budget_percent: 100,
        hedge_percentile: 0,
        try_timeout: None,
        deadline: None,
        ejection: EjectionSettings {
            failures: 0,
            statuses: vec![503],
            error_percent: 0,
            tries_min: 20,
            window: LONG,
            latency_factor: 0,
            latency_min: Duration::ZERO,
            time: LONG,
            time_max: LONG,
            ejected_percent_max: 100,
        },
        panic_percent: 0,
        health: None,
        limits: limits(),
    }
}

pub(super) fn worker(index: usize) -> Arc<Worker> {
    Worker::new(index, Clock::System, AccessLog::default())
}

/// An address that refuses connections: bound, so that nobody else gets it, and never listened on.
pub(super) fn refusing_address() -> SocketAddr {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let bound: &'static Socket = Box::leak(Box::new(socket));
    bound.local_addr().unwrap().as_socket().unwrap()
}

/// A server whose connections are each handled by a script, on a thread of its own.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    accepted: Arc<AtomicUsize>,
}

impl Server {
    /// `script` gets the number of the connection (from 0) and the connection, and closes it by returning.
    pub(super) fn scripted(script: impl Fn(usize, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&accepted);
        let script = Arc::new(script);
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let script = Arc::clone(&script);
                let number = counter.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || script(number, &mut stream));
            }
        });
        Self { address, accepted }
    }

    /// Answers every request of every connection with `content`.
    pub(super) fn answering(content: &'static str) -> Self {
        Self::scripted(move |_, stream| while request(stream).is_some() && answer(stream, content) {})
    }

    /// As [`Self::answering`], but the first content of each connection comes only when the returned sender says so.
    pub(super) fn answering_late(content: &'static str) -> (Self, mpsc::Sender<()>) {
        let (release, released) = mpsc::channel();
        let released = Mutex::new(released);
        let server = Self::scripted(move |_, stream| {
            if request(stream).is_none() || !answer_part(stream, "", content.len()) || released.lock().recv().is_err() {
                return;
            }
            let mut is_taken = stream.write_all(content.as_bytes()).is_ok();
            while is_taken && request(stream).is_some() {
                is_taken = answer(stream, content);
            }
        });
        (server, release)
    }

    pub(super) fn socket(&self) -> ServerSettings {
        ServerAddress::Socket(self.address).into()
    }

    /// Connections that were accepted so far.
    pub(super) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

/// Reads one request head, and the content it announces; `None` at the end of the stream.
pub(super) fn request(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if !matches!(stream.read(&mut byte), Ok(1)) {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut content = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut content).ok()?;
    Some(head + &String::from_utf8(content).unwrap())
}

/// Sends a whole response; `false` when nobody takes it.
pub(super) fn answer(stream: &mut TcpStream, content: &str) -> bool {
    answer_part(stream, content, content.len())
}

/// Sends a response that announces `length` bytes, and `content` of it; `false` when nobody takes it.
pub(super) fn answer_part(stream: &mut TcpStream, content: &str, length: usize) -> bool {
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{content}").is_ok()
}
