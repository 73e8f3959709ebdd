//! HTTP/2 towards servers: streams that share connections, connections that end, streams that fail, windows that stay shut.

mod faults; // ten thousand failures of every kind

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::header::{CONTENT_TYPE, HOST, HeaderValue, TE};
use http::{HeaderMap, Method, Request, Response};
use http_body::{Frame, SizeHint};
use tokio::sync::{Barrier, Semaphore};
use tokio::task::JoinSet;

use super::{backend, level};
use crate::backend::settings::{BackendSettings, ExchangeLimits, HttpProtocol, ServerAddress, ServerSettings};
use crate::backend::testing::{self, Server};
use crate::backend::{Backend, Outcome};
use crate::http::body::{Body, BodyError};
use crate::http::head::Head;
use crate::http::origin_error::OriginError;
use crate::http1::client::ExchangeError;
use crate::worker::Worker;

/// A server on the h2 crate, in this test's own runtime.
struct Origin {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
}

impl Origin {
    /// Each stream is handled by a task.
    async fn start<F>(handler: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> F + Clone + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&accepted);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                let handler = handler.clone();
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(socket).await.unwrap();
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        tokio::spawn(handler(request, respond));
                    }
                });
            }
        });
        Self { address, accepted }
    }

    fn backend(&self, change: impl FnOnce(&mut BackendSettings)) -> Arc<Backend> {
        http2(ServerAddress::Socket(self.address).into(), change)
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

fn http2(server: ServerSettings, change: impl FnOnce(&mut BackendSettings)) -> Arc<Backend> {
    backend(vec![server], |settings| {
        settings.protocol = HttpProtocol::Http2;
        change(settings);
    })
}

fn hello(mut respond: SendResponse<Bytes>) {
    let mut stream = respond.send_response(Response::new(()), false).unwrap();
    stream.send_data("hello".into(), true).unwrap();
}

async fn ask(
    backend: &Arc<Backend>,
    worker: &Arc<Worker>,
    method: Method,
    body: Body,
    limits: ExchangeLimits,
) -> Outcome {
    let mut head = Head {
        method,
        ..Head::default()
    };
    head.headers.insert(HOST, HeaderValue::from_static("app.test"));
    head.headers.insert(TE, HeaderValue::from_static("trailers"));
    backend.send(&mut head.into(), body, 0, &limits, worker).await
}

async fn get(backend: &Arc<Backend>, worker: &Arc<Worker>) -> Outcome {
    ask(backend, worker, Method::GET, Body::Empty, testing::limits()).await
}

async fn content(outcome: Outcome) -> String {
    let body = outcome.result.unwrap().body;
    String::from_utf8(body.collect(1 << 20).await.unwrap().to_vec()).unwrap()
}

fn error(outcome: &Outcome) -> OriginError {
    match outcome.result.as_ref().unwrap_err() {
        ExchangeError::Origin(error) => *error,
        ExchangeError::Client(error) => panic!("{error}"),
    }
}

/// Requests that run, once nothing does.
async fn settled(backend: &Backend) -> (usize, usize, usize) {
    while level(backend).0 > 0 {
        tokio::task::yield_now().await;
    }
    level(backend)
}

#[tokio::test]
async fn a_hundred_requests_at_once_share_one_connection() {
    let (barrier, asked) = (Arc::new(Barrier::new(100)), Arc::new(AtomicUsize::new(0)));
    let origin = Origin::start(move |_, respond| {
        let (barrier, number) = (Arc::clone(&barrier), asked.fetch_add(1, Ordering::SeqCst));
        async move {
            if number < 100 {
                barrier.wait().await;
            }
            hello(respond);
        }
    })
    .await;
    let backend = origin.backend(|settings| settings.queue_max = 100);
    let worker = testing::worker(0);
    let mut all = JoinSet::new();
    for _ in 0..100 {
        let (backend, worker) = (Arc::clone(&backend), Arc::clone(&worker));
        all.spawn(async move { content(get(&backend, &worker).await).await });
    }
    while let Some(content) = all.join_next().await {
        assert_eq!(content.unwrap(), "hello");
    }
    assert_eq!(origin.accepted(), 1);
    assert_eq!(level(&backend), (0, 1, 0), "the connection stays");
    assert_eq!(content(get(&backend, &worker).await).await, "hello");
    assert_eq!((origin.accepted(), backend.snapshot()[0].connects), (1, 1));
}

#[tokio::test]
async fn streams_and_connections_have_limits_and_the_rest_waits_in_line() {
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let peak = Arc::clone(&most);
    let origin = Origin::start(move |_, respond| {
        let (running, peak) = (Arc::clone(&running), Arc::clone(&peak));
        async move {
            peak.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            running.fetch_sub(1, Ordering::SeqCst);
            hello(respond);
        }
    })
    .await;
    let backend = origin.backend(|settings| {
        settings.http2.streams_max = 5;
        settings.connections_max = 2;
        settings.queue_max = 100;
    });
    let mut all = JoinSet::new();
    for number in 0..60 {
        // Two workers: the connections of one serve the other where no more may be made.
        let (backend, worker) = (Arc::clone(&backend), testing::worker(number % 2));
        all.spawn(async move { content(get(&backend, &worker).await).await });
    }
    while let Some(content) = all.join_next().await {
        assert_eq!(content.unwrap(), "hello");
    }
    assert_eq!((origin.accepted(), level(&backend)), (2, (0, 2, 0)));
    assert!(most.load(Ordering::SeqCst) <= 10, "{most:?}");
}

/// A body of one piece, and trailers.
struct WithTrailers(Option<Bytes>, Option<HeaderMap>);

impl http_body::Body for WithTrailers {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = self.0.take().map(Frame::data);
        let frame = frame.or_else(|| self.1.take().map(Frame::trailers));
        std::task::Poll::Ready(frame.map(Ok))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([(
        http::HeaderName::from_static("grpc-status"),
        HeaderValue::from_static("0"),
    )])
}

#[tokio::test]
async fn content_and_trailers_pass_both_ways() {
    let origin = Origin::start(|mut request, mut respond| async move {
        assert_eq!(request.uri().to_string(), "http://app.test/");
        assert_eq!(request.headers()[TE], "trailers");
        assert!(!request.headers().contains_key(HOST));
        let mut response = Response::new(());
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        let mut stream = respond.send_response(response, false).unwrap();
        while let Some(data) = request.body_mut().data().await {
            stream.send_data(data.unwrap(), false).unwrap();
        }
        let mut trailers = request.body_mut().trailers().await.unwrap().unwrap();
        // Routing is no matter of trailers: it does not come back.
        trailers.insert("x-forwarded-for", HeaderValue::from_static("10.0.0.1"));
        stream.send_trailers(trailers).unwrap();
    })
    .await;
    let (backend, worker) = (origin.backend(|_| ()), testing::worker(0));
    let body = Body::stream(WithTrailers(Some("question".into()), Some(trailers())));
    let response = ask(&backend, &worker, Method::POST, body, testing::limits())
        .await
        .result
        .unwrap();
    assert_eq!(response.fields.into_map()[CONTENT_TYPE], "application/grpc");
    let mut body = response.body;
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "question");
    assert_eq!(
        body.frame().await.unwrap().unwrap().into_trailers().unwrap(),
        trailers()
    );
    assert!(body.frame().await.is_none());
    assert_eq!(level(&backend), (0, 1, 0));
}

#[tokio::test]
async fn a_server_sends_no_more_than_its_windows_until_somebody_reads() {
    let sent = Arc::new(AtomicUsize::new(0));
    let told = Arc::clone(&sent);
    let origin = Origin::start(move |_, mut respond| {
        let sent = Arc::clone(&told);
        async move {
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            let mut left = 1 << 20;
            while left > 0 {
                stream.reserve_capacity(left);
                let room = std::future::poll_fn(|cx| stream.poll_capacity(cx))
                    .await
                    .unwrap()
                    .unwrap();
                left -= room;
                stream.send_data(vec![b'x'; room].into(), left == 0).unwrap();
                sent.fetch_add(room, Ordering::SeqCst);
            }
        }
    })
    .await;
    let (backend, worker) = (origin.backend(|_| ()), testing::worker(0));
    let outcome = get(&backend, &worker).await;
    // Another request on the same connection shows that all that could come has.
    for _ in 0..3 {
        drop(get(&backend, &worker).await);
    }
    assert!(sent.load(Ordering::SeqCst) <= 4 * (1 << 16), "{sent:?}");
    assert_eq!(content(outcome).await.len(), 1 << 20);
    assert_eq!(
        settled(&backend).await,
        (0, 1, 0),
        "bodies that were not wanted give their places back"
    );
}

#[tokio::test]
async fn a_server_that_does_not_read_is_given_up() {
    let origin = Origin::start(|request, respond| async move {
        let _held = (request, respond);
        std::future::pending::<()>().await;
    })
    .await;
    let (backend, worker) = (origin.backend(|_| ()), testing::worker(0));
    let limits = ExchangeLimits {
        send_timeout: Duration::from_millis(50),
        ..testing::limits()
    };
    let body = Body::Full(vec![b'x'; 1 << 20].into());
    let outcome = ask(&backend, &worker, Method::POST, body, limits).await;
    assert_eq!(error(&outcome), OriginError::ConnectionWriteTimeout);
    assert_eq!(settled(&backend).await.0, 0);
}

#[tokio::test]
async fn a_header_section_above_the_limits_is_refused_and_the_connection_goes_on() {
    let turn = Arc::new(AtomicUsize::new(0));
    let origin = Origin::start(move |_, mut respond| {
        let turn = turn.fetch_add(1, Ordering::SeqCst);
        async move {
            let mut response = Response::new(());
            let fields = response.headers_mut();
            match turn {
                0 => drop(fields.insert("x-long", HeaderValue::try_from("x".repeat(20 << 10)).unwrap())),
                1 => {
                    for _ in 0..101 {
                        fields.append("x", HeaderValue::from_static("y"));
                    }
                }
                _ => return hello(respond),
            }
            drop(respond.send_response(response, true));
        }
    })
    .await;
    let (backend, worker) = (origin.backend(|_| ()), testing::worker(0));
    for _ in 0..2 {
        assert_eq!(
            error(&get(&backend, &worker).await),
            OriginError::HttpResponseHeaderSectionSize
        );
    }
    assert_eq!(content(get(&backend, &worker).await).await, "hello");
    assert_eq!((origin.accepted(), level(&backend)), (1, (0, 1, 0)));
}

#[tokio::test]
async fn a_response_that_does_not_come_leaves_the_connection_to_the_others_when_it_still_answers_pings() {
    let first = Arc::new(AtomicUsize::new(0));
    let origin = Origin::start(move |_, respond| {
        let is_first = first.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if is_first {
                std::future::pending::<()>().await;
            }
            hello(respond);
        }
    })
    .await;
    let (backend, worker) = (origin.backend(|settings| settings.retries = 0), testing::worker(0));
    let limits = ExchangeLimits {
        response_timeout: Duration::from_millis(20),
        ..testing::limits()
    };
    let outcome = ask(&backend, &worker, Method::GET, Body::Empty, limits).await;
    assert_eq!(error(&outcome), OriginError::HttpResponseTimeout);
    assert_eq!(settled(&backend).await.0, 0);
    assert_eq!(content(get(&backend, &worker).await).await, "hello");
}

/// A frame (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(content);
    frame
}

const SETTINGS: u8 = 4;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
/// `:status: 200`, whole, without content.
const ANSWER: &[u8] = &[0x88];

fn answer_to(stream: u32) -> Vec<u8> {
    frame(HEADERS, 5, stream, ANSWER)
}

fn reset(stream: u32, reason: Reason) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &u32::from(reason).to_be_bytes())
}

/// What a server of exact frames says to a request, by connection and stream.
fn framed(script: impl Fn(usize, u32) -> Vec<u8> + Send + Sync + 'static) -> Server {
    Server::scripted(move |number, socket| drop(follow(number, socket, &script)))
}

fn follow(number: usize, socket: &mut TcpStream, script: &impl Fn(usize, u32) -> Vec<u8>) -> std::io::Result<()> {
    socket.read_exact(&mut [0; 24])?;
    socket.write_all(&frame(SETTINGS, 0, 0, &[]))?;
    loop {
        let mut head = [0; 9];
        socket.read_exact(&mut head)?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut content = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        socket.read_exact(&mut content)?;
        match kind {
            SETTINGS if flags == 0 => socket.write_all(&frame(SETTINGS, 1, 0, &[]))?,
            HEADERS => {
                let said = script(number, u32::from_be_bytes(stream));
                socket.write_all(&said)?;
                if said.is_empty() {
                    return Ok(());
                }
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn what_a_server_says_it_has_not_processed_is_sent_again_whatever_the_method() {
    let goaway = framed(|connection, stream| match (connection, stream) {
        // "The last stream identifier": 1, so 3 was not looked at.
        (0, 3) => frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]),
        (_, stream) => answer_to(stream),
    });
    let refused = framed(|_, stream| match stream {
        3 => reset(3, Reason::REFUSED_STREAM),
        stream => answer_to(stream),
    });
    for (server, connections) in [(goaway, 2), (refused, 1)] {
        let (backend, worker) = (
            http2(server.socket(), |settings| settings.retries = 0),
            testing::worker(0),
        );
        assert_eq!(content(get(&backend, &worker).await).await, "");
        let body = Body::Full("content".into());
        let outcome = ask(&backend, &worker, Method::POST, body, testing::limits()).await;
        assert_eq!(outcome.facts.attempts, 2);
        assert_eq!(content(outcome).await, "");
        assert_eq!(server.accepted(), connections);
        assert_eq!(settled(&backend).await.0, 0);
    }
}

#[tokio::test]
async fn a_stream_that_is_reset_is_an_error_and_idempotent_requests_are_sent_again_once() {
    let server = framed(|_, stream| match stream {
        1 => answer_to(1),
        stream => reset(stream, Reason::INTERNAL_ERROR),
    });
    let (backend, worker) = (
        http2(server.socket(), |settings| settings.retries = 0),
        testing::worker(0),
    );
    assert_eq!(content(get(&backend, &worker).await).await, "");
    for (method, attempts) in [(Method::POST, 1), (Method::GET, 2)] {
        let outcome = ask(&backend, &worker, method, Body::Empty, testing::limits()).await;
        assert_eq!(
            (error(&outcome), outcome.facts.attempts),
            (OriginError::ConnectionTerminated, attempts)
        );
    }
    assert_eq!((server.accepted(), settled(&backend).await.0), (1, 0));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_not_whole() {
    const DATA: u8 = 0;
    let head = |stream| frame(HEADERS, 4, stream, ANSWER);
    let part = move |stream| [head(stream), frame(DATA, 0, stream, b"half")].concat();
    let server = framed(move |_, stream| match stream {
        1 => [part(1), reset(1, Reason::INTERNAL_ERROR)].concat(),
        3 => [part(3), frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 2])].concat(),
        _ => answer_to(stream),
    });
    let (backend, worker) = (http2(server.socket(), |_| ()), testing::worker(0));
    for _ in 0..2 {
        let mut body = get(&backend, &worker).await.result.unwrap().body;
        let mut last = body.frame().await.unwrap();
        while last.is_ok() {
            last = body.frame().await.unwrap();
        }
        assert_eq!(
            last.unwrap_err(),
            BodyError::Origin(OriginError::HttpResponseIncomplete)
        );
    }
    assert_eq!(settled(&backend).await.0, 0);
}

#[tokio::test]
async fn no_place_is_lost_to_servers_that_close_at_random() {
    let server = framed(|connection, stream| {
        if (connection * 7 + stream as usize).is_multiple_of(5) {
            Vec::new()
        } else {
            answer_to(stream)
        }
    });
    let (backend, worker) = (http2(server.socket(), |_| ()), testing::worker(0));
    let permits = Arc::new(Semaphore::new(8));
    let mut all = JoinSet::new();
    for _ in 0..300 {
        let (backend, worker, permits) = (Arc::clone(&backend), Arc::clone(&worker), Arc::clone(&permits));
        all.spawn(async move {
            let _permit = permits.acquire().await.unwrap();
            drop(get(&backend, &worker).await);
        });
    }
    while all.join_next().await.is_some() {}
    let (busy, idle, waiting) = settled(&backend).await;
    assert!((busy, waiting) == (0, 0) && idle <= 1, "{:?}", level(&backend));
}

#[tokio::test]
async fn what_does_not_speak_http2_is_a_protocol_error() {
    let server = Server::scripted(|_, stream| {
        drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"));
        drop(stream.read(&mut [0; 100]));
    });
    let (backend, worker) = (
        http2(server.socket(), |settings| settings.retries = 0),
        testing::worker(0),
    );
    assert_eq!(error(&get(&backend, &worker).await), OriginError::HttpProtocolError);
    assert_eq!(settled(&backend).await.0, 0);
}

#[tokio::test]
async fn a_silent_connection_that_does_not_answer_pings_is_closed() {
    let server = framed(|_, stream| answer_to(stream));
    let change = |settings: &mut BackendSettings| {
        settings.http2.ping_after = Duration::from_millis(5);
        settings.http2.ping_timeout = Duration::from_millis(5);
    };
    let (backend, worker) = (http2(server.socket(), change), testing::worker(0));
    assert_eq!(content(get(&backend, &worker).await).await, "");
    while level(&backend).1 > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(content(get(&backend, &worker).await).await, "");
    assert_eq!(server.accepted(), 2);
}

#[tokio::test]
async fn everybody_who_waits_for_a_connect_hears_that_it_failed() {
    let refusing = ServerAddress::Socket(testing::refusing_address()).into();
    let backend = http2(refusing, |settings| settings.retries = 0);
    let mut all = JoinSet::new();
    for _ in 0..10 {
        let (backend, worker) = (Arc::clone(&backend), testing::worker(0));
        all.spawn(async move { error(&get(&backend, &worker).await) });
    }
    while let Some(error) = all.join_next().await {
        assert_eq!(error.unwrap(), OriginError::ConnectionRefused);
    }
    assert_eq!(level(&backend), (0, 0, 0));
}
