//! HTTP/2 towards origins, from an HTTP/2 client through to an HTTP/2 origin: gRPC's needs, limits, ends of connections.
//! Both peers are the h2 crate's; exact frames and faults are tested beside `common::backend`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::client::SendRequest;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request, Response};
use tests::setup::Setup;
use tests::tidegate::Tidegate;
use tests::wait::{PATIENCE, eventually};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// Runs one test body, but not for ever.
fn run(body: impl Future<Output = ()>) {
    // Built by whoever comes first, which takes as long as it takes.
    tests::binary::tidegate();
    runtime().block_on(async { tokio::time::timeout(PATIENCE, body).await.unwrap() });
}

/// An origin that handles each stream by a task; its connections are counted.
async fn origin<F>(
    handler: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> F + Clone + Send + 'static,
) -> (SocketAddr, Arc<AtomicUsize>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, accepted) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
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
    (address, accepted)
}

fn start(origin: SocketAddr, workers: usize) -> Tidegate {
    Setup::of(&origin.to_string())
        .uncached()
        .set("process.workers", &workers.to_string())
        .set("front.listen", "[{ address = '127.0.0.1:0', http2 = true }]")
        .set("origin.o.protocol", "'http2'")
        .start()
}

async fn client(tidegate: &Tidegate) -> SendRequest<Bytes> {
    let socket = TcpStream::connect(tidegate.address()).await.unwrap();
    let (client, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    client.ready().await.unwrap()
}

fn call() -> Request<()> {
    Request::post("http://www.example.com/service/method")
        .header("te", "trailers")
        .header("content-type", "application/grpc")
        .body(())
        .unwrap()
}

fn status(code: &'static str) -> HeaderMap {
    [(
        http::HeaderName::from_static("grpc-status"),
        HeaderValue::from_static(code),
    )]
    .into_iter()
    .collect()
}

fn busy(tidegate: &Tidegate) -> u64 {
    tidegate.metric("tidegate_backend_connections", r#"state="busy""#)
}

/// Echoes messages as they come, then ends with trailers; what gRPC's streaming calls do.
async fn echo(mut request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    assert_eq!(request.headers()["te"], "trailers");
    let mut response = Response::new(());
    response
        .headers_mut()
        .insert("content-type", HeaderValue::from_static("application/grpc"));
    let mut stream = respond.send_response(response, false).unwrap();
    while let Some(Ok(data)) = request.body_mut().data().await {
        request.body_mut().flow_control().release_capacity(data.len()).unwrap();
        stream.send_data(data, false).unwrap();
    }
    stream.send_trailers(status("0")).unwrap();
}

#[test]
fn a_call_that_streams_both_ways_at_once_ends_with_its_trailers() {
    run(async {
        let (address, _) = origin(echo).await;
        let tidegate = tokio::task::spawn_blocking(move || start(address, 2)).await.unwrap();
        let (response, mut stream) = client(&tidegate).await.send_request(call(), false).unwrap();
        stream.send_data("one".into(), false).unwrap();
        let response = response.await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (200, &HeaderValue::from_static("application/grpc"))
        );
        let mut body = response.into_body();
        assert_eq!(
            body.data().await.unwrap().unwrap(),
            "one",
            "before the request has ended"
        );
        stream.send_data("two".into(), true).unwrap();
        assert_eq!(body.data().await.unwrap().unwrap(), "two");
        assert!(body.data().await.is_none());
        assert_eq!(body.trailers().await.unwrap(), Some(status("0")));
        tokio::task::spawn_blocking(move || eventually("no place is taken", || busy(&tidegate) == 0))
            .await
            .unwrap();
    });
}

#[test]
fn a_hundred_calls_at_once_share_one_connection() {
    run(async {
        let barrier = Arc::new(tokio::sync::Barrier::new(100));
        let (address, accepted) = origin(move |_, mut respond| {
            let barrier = Arc::clone(&barrier);
            async move {
                barrier.wait().await;
                let mut trailers_only = Response::new(());
                trailers_only.headers_mut().extend(status("5"));
                drop(respond.send_response(trailers_only, true));
            }
        })
        .await;
        let tidegate = tokio::task::spawn_blocking(move || start(address, 1)).await.unwrap();
        let mut client = client(&tidegate).await;
        let mut responses = Vec::new();
        for _ in 0..100 {
            client = client.ready().await.unwrap();
            responses.push(client.send_request(call(), true).unwrap().0);
        }
        for response in responses {
            assert_eq!(response.await.unwrap().headers()["grpc-status"], "5");
        }
        assert_eq!(accepted.load(Ordering::SeqCst), 1);
        tokio::task::spawn_blocking(move || {
            assert_eq!(tidegate.metric("tidegate_backend_connects_total", ""), 1);
            assert_eq!(busy(&tidegate), 0);
        })
        .await
        .unwrap();
    });
}

#[test]
fn a_call_that_its_client_takes_back_is_taken_back_from_the_origin() {
    run(async {
        let (told, mut hears) = tokio::sync::mpsc::channel(1);
        let (address, _) = origin(move |_request, mut respond| {
            let told = told.clone();
            async move {
                let mut stream = respond.send_response(Response::new(()), false).unwrap();
                stream.send_data("first".into(), false).unwrap();
                let reason = std::future::poll_fn(|cx| stream.poll_reset(cx)).await;
                told.send(reason.unwrap()).await.unwrap();
            }
        })
        .await;
        let tidegate = tokio::task::spawn_blocking(move || start(address, 2)).await.unwrap();
        let (response, mut stream) = client(&tidegate).await.send_request(call(), false).unwrap();
        let mut body = response.await.unwrap().into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "first");
        stream.send_reset(h2::Reason::CANCEL);
        assert_eq!(hears.recv().await, Some(h2::Reason::CANCEL));
        tokio::task::spawn_blocking(move || eventually("its place is free", || busy(&tidegate) == 0))
            .await
            .unwrap();
    });
}

#[test]
fn requests_of_http1_clients_and_what_is_stored_come_from_http2_origins_too() {
    run(async {
        let (address, _) = origin(|request, mut respond| async move {
            let mut response = Response::new(());
            response
                .headers_mut()
                .insert("cache-control", HeaderValue::from_static("max-age=60"));
            let mut stream = respond.send_response(response, false).unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
            // A health check has left once it has seen the status.
            drop(stream.send_data(Bytes::from(request.uri().path().to_owned()), true));
        })
        .await;
        tokio::task::spawn_blocking(move || {
            let tidegate = Setup::of(&address.to_string())
                .set("origin.o.protocol", "'http2'")
                .set("origin.o.health.path", "'/up'")
                .set("origin.o.health.interval", "'20ms'")
                .start();
            eventually("it is answered from store", || {
                assert_eq!(tidegate.get("/stored").text(), "/stored");
                tidegate.metric("tidegate_cache_requests_total", r#"outcome="hit""#) > 0
            });
            eventually("the server is up", || {
                tidegate.metric("tidegate_backend_server_state", r#"state="up""#) == 1
            });
        })
        .await
        .unwrap();
    });
}
