//! Health checks by gRPC's health protocol, against a scripted HTTP/2 server: only SERVING is well.

use std::sync::Arc;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request, Response};
use parking_lot::Mutex;
use tests::dual_origin::{DualOrigin, Http2};
use tests::setup::Setup;
use tests::tidegate::Tidegate;
use tests::wait::eventually;

/// What the server answers to a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    /// A message with this content, and the trailer `grpc-status` with this value.
    Message(&'static [u8], Option<&'static str>),
    /// No message, and this `grpc-status` in the head.
    Only(&'static str),
    /// This status of HTTP.
    Http(u16),
    /// An answer of another type.
    Page,
    /// Nothing.
    Nothing,
}

const SERVING: Says = Says::Message(&[8, 1], Some("0"));

/// What it was asked last: the path, the authority, and the message.
#[derive(Clone, Debug, Default)]
struct Asked {
    uri: String,
    fields: HeaderMap,
    message: Vec<u8>,
}

struct Server {
    origin: DualOrigin,
    says: Arc<Mutex<Says>>,
    asked: Arc<Mutex<Asked>>,
}

impl Server {
    fn start() -> Self {
        let (says, asked) = (Arc::new(Mutex::new(SERVING)), Arc::new(Mutex::new(Asked::default())));
        let (told, heard) = (Arc::clone(&says), Arc::clone(&asked));
        let http2 = Http2::answering(move |request, respond| {
            let says = *told.lock();
            answer(request, respond, says, Arc::clone(&heard))
        });
        Self {
            origin: DualOrigin::plain(http2),
            says,
            asked,
        }
    }

    fn says(&self, what: Says) {
        *self.says.lock() = what;
    }
}

async fn answer(
    mut request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    says: Says,
    heard: Arc<Mutex<Asked>>,
) {
    let mut message = Vec::new();
    while let Some(Ok(data)) = request.body_mut().data().await {
        message.extend_from_slice(&data);
    }
    *heard.lock() = Asked {
        uri: request.uri().to_string(),
        fields: request.headers().clone(),
        message,
    };
    let head = |status: u16, kind: &'static str| {
        let builder = Response::builder().status(status);
        builder.header("content-type", kind)
    };
    let status =
        |value: &'static str| HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static(value))]);
    match says {
        Says::Message(message, trailer) => {
            let response = head(200, "application/grpc").body(()).unwrap();
            let mut stream = respond.send_response(response, false).unwrap();
            let mut frame = vec![0, 0, 0, 0, u8::try_from(message.len()).unwrap()];
            frame.extend_from_slice(message);
            stream.send_data(frame.into(), trailer.is_none()).unwrap();
            if let Some(trailer) = trailer {
                stream.send_trailers(status(trailer)).unwrap();
            }
        }
        Says::Only(code) => {
            let response = head(200, "application/grpc")
                .header("grpc-status", code)
                .body(())
                .unwrap();
            respond.send_response(response, true).unwrap();
        }
        Says::Http(code) => drop(
            respond
                .send_response(head(code, "text/plain").body(()).unwrap(), true)
                .unwrap(),
        ),
        Says::Page => drop(
            respond
                .send_response(head(200, "text/html").body(()).unwrap(), true)
                .unwrap(),
        ),
        Says::Nothing => std::future::pending().await,
    }
}

fn start(server: &Server, service: &str) -> Tidegate {
    Setup::of(&server.origin.address())
        .uncached()
        .set("origin.o.protocol", "'http2'")
        .set("origin.o.health.grpc", &format!("'{service}'"))
        .set("origin.o.health.host", "'grpc.test'")
        .set("origin.o.health.interval", "'100ms'")
        .set("origin.o.health.timeout", "'1s'")
        .set("origin.o.health.rise", "1")
        .set("origin.o.health.fall", "1")
        .start()
}

fn wait_for_state(tidegate: &Tidegate, server: &Server, state: &str, why: &str) {
    let labels = format!(r#"server="{}",state="{state}""#, server.origin.address());
    eventually(&format!("the server is {state} with {why}"), || {
        tidegate.metric("tidegate_backend_server_state", &labels) == 1
    });
}

#[test]
fn only_serving_is_well_and_everything_else_is_called_by_its_word() {
    let server = Server::start();
    let tidegate = start(&server, "shop.v1.Cart");
    for (says, word) in [
        (Says::Message(&[8, 2], Some("0")), "NOT_SERVING"),
        (Says::Message(&[], Some("0")), "UNKNOWN"),
        (Says::Message(&[8, 3], Some("0")), "SERVICE_UNKNOWN"),
        (Says::Only("12"), "UNIMPLEMENTED"),
        (Says::Only("5"), "NOT_FOUND"),
        (Says::Message(&[8, 1], Some("14")), "UNAVAILABLE"),
        (Says::Message(&[8, 1], None), "the answer has no grpc-status"),
        (Says::Message(&[8], Some("0")), "the answer is no HealthCheckResponse"),
        (Says::Http(503), "status 503"),
        (Says::Page, "the answer is not gRPC"),
        (Says::Nothing, "no answer in time"),
    ] {
        server.says(says);
        wait_for_state(&tidegate, &server, "unhealthy", word);
        // The log has it just after the metric.
        eventually(&format!("{says:?} is {word}"), || {
            let log = tidegate.front.process.log();
            let mut lines = log.lines().rev();
            let last = lines.find(|line| line.contains("the server's health checks fail"));
            last.is_some_and(|line| line.contains(word))
        });
        server.says(SERVING);
        wait_for_state(&tidegate, &server, "up", word);
    }
    let asked = server.asked.lock().clone();
    assert_eq!(asked.uri, "http://grpc.test/grpc.health.v1.Health/Check");
    assert_eq!(asked.message, b"\0\0\0\0\x0e\x0a\x0cshop.v1.Cart");
    for (name, value) in [
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("grpc-timeout", "1000m"),
    ] {
        assert_eq!(asked.fields[name], value);
    }
}

#[test]
fn the_server_as_a_whole_is_asked_for_with_an_empty_name() {
    let server = Server::start();
    let tidegate = start(&server, "");
    server.says(Says::Message(&[8, 2], Some("0")));
    wait_for_state(&tidegate, &server, "unhealthy", "NOT_SERVING");
    assert_eq!(server.asked.lock().message, [0; 5]);
}
