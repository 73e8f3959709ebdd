//! RFC 9113: a whole connection, of a client that sends any frames in any pieces and reads what comes. What the server says
//! is made of whole frames of its own kinds and of field blocks that decode; every request is told its end; and when the
//! client has closed, the connection is over.
#![no_main]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use common::http::body::Body;
use common::http::interim::Desk;
use common::http::request::Request;
use common::http::response::Response;
use common::http1::parse::ParseError;
use common::http2::frame::{self, HEAD, Head, flag, kind};
use common::http2::hpack::decode::Decoder;
use common::http2::server::serve_connection;
use common::http2::settings::Http2Settings;
use common::net::stream::Stream;
use common::serve::drain::Drain;
use common::serve::service::{CloseReason, ConnInfo, Record, Reply, Sent, Service};
use common::serve::settings::{HalfClose, ServeSettings};
use common::soon::Soon;
use common::telemetry::access_log::AccessLog;
use common::time::{Clock, mono_now};
use common::worker::Worker;
use http::{Method, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const CONTENT: &[u8] = &[b'x'; 100_000];
const TIME: Duration = Duration::from_secs(60);

/// Answers at once, or when the body is there, with content whose length the path says.
#[derive(Default)]
struct Echo {
    calls: AtomicUsize,
    ends: Arc<AtomicUsize>,
}

/// Counts how often an exchange ended.
struct Ended(Arc<AtomicUsize>);

impl Record for Ended {
    fn finish(self, _: &Sent) {}
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Echo {
    fn reply(&self, status: StatusCode, body: impl Into<Body>) -> Reply<Ended> {
        Reply {
            response: Response::new(status, body),
            record: Ended(Arc::clone(&self.ends)),
            close: None,
        }
    }
}

impl Service for Echo {
    type Record = Ended;

    fn call<'a>(&'a self, request: Request, _: &'a Arc<ConnInfo>, _: &'a Desk) -> Soon<'a, Reply<Ended>> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let length = request.head.uri.path().len().saturating_sub(1) * 1000;
        let content = Bytes::from_static(&CONTENT[..length.min(CONTENT.len())]);
        // Dropped with the call when the client leaves before its answer is there.
        let reply = self.reply(StatusCode::OK, content);
        if request.head.method == Method::GET {
            return Soon::Ready(reply);
        }
        Soon::coming(async move {
            drop(request.body.collect(1 << 20).await);
            reply
        })
    }

    fn refuse(&self, error: &ParseError, _: &Arc<ConnInfo>) -> Reply<Ended> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.reply(error.status(), "refused")
    }
}

fn settings() -> ServeSettings {
    ServeSettings {
        header_timeout: TIME,
        idle_timeout: TIME,
        body_timeout: TIME,
        send_timeout: TIME,
        body_rate_min: 0,
        send_rate_min: 0,
        rate_grace: TIME,
        head_bytes_max: 4096,
        fields_max: 50,
        uri_bytes_max: 1024,
        body_bytes_max: 1 << 20,
        requests_per_connection_max: 1000,
        half_close: HalfClose::Answer,
    }
}

fn conn() -> ConnInfo {
    ConnInfo {
        id: 1,
        client: None,
        local: None,
        listener: "fuzz".into(),
        tls: false,
        certificate: None,
        accepted: mono_now(),
        accept_wait: None,
        worker: Worker::new(0, Clock::default(), AccessLog::default()),
    }
}

/// What a client sends: frames, each of four octets that say type, flags, stream and length, and of what follows them.
fn frames(mut data: &[u8]) -> Vec<u8> {
    let mut out = PREFACE.to_vec();
    while let Some(([kind, flags, stream, length], rest)) = data.split_first_chunk() {
        let (payload, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        frame::put(&mut out, kind & 0xf, *flags, u32::from(*stream & 0x1f), payload);
        data = rest;
    }
    out.extend_from_slice(data);
    out
}

/// What the server may say.
fn check(mut heard: &[u8]) {
    let mut decoder = Decoder::new(0);
    let mut block = Vec::new();
    while let Some(octets) = heard.first_chunk::<HEAD>() {
        let head = Head::parse(*octets);
        let payload = heard.get(HEAD..HEAD + head.length as usize).expect("whole frames");
        heard = &heard[HEAD + payload.len()..];
        assert!(head.length <= 16_384 && head.kind <= kind::CONTINUATION, "{head:?}");
        assert!(![kind::PRIORITY, kind::PUSH_PROMISE].contains(&head.kind), "{head:?}");
        let goes_on = !block.is_empty();
        assert_eq!(head.kind == kind::CONTINUATION, goes_on, "{head:?}");
        if [kind::HEADERS, kind::CONTINUATION].contains(&head.kind) {
            block.extend_from_slice(payload);
            if head.has(flag::END_HEADERS) {
                decoder
                    .decode(&block, usize::MAX, &mut |_| {})
                    .expect("our blocks decode");
                block.clear();
            }
        }
    }
    assert!(heard.is_empty() && block.is_empty(), "whole frames");
}

async fn play(data: &[u8], piece: usize) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let service = Arc::new(Echo::default());
    let http2 = Http2Settings {
        streams_max: 4,
        stream_window: 2_000,
        connection_window: 100_000,
        send_buffer_max: 16_384,
        extended_connect: true,
    };
    let (settings, conn) = (Arc::new(settings()), Arc::new(conn()));
    let (stream, drain) = (Stream::Unix(ours), Drain::default());
    let served = serve_connection(
        stream,
        BytesMut::new(),
        conn,
        Arc::clone(&service),
        settings,
        http2,
        drain,
    );
    let served = tokio::spawn(served);
    let (mut from_server, mut to_server) = theirs.into_split();
    let said = frames(data);
    let saying = async move {
        for piece in said.chunks(piece) {
            if to_server.write_all(piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let mut heard = Vec::new();
    let hearing = async { drop(from_server.read_to_end(&mut heard).await) };
    tokio::join!(saying, hearing);
    let reason = served.await.expect("it does not panic");
    let expected = [CloseReason::Client, CloseReason::Malformed, CloseReason::Reset];
    assert!(expected.contains(&reason), "{reason:?}");
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let ends = service.ends.load(Ordering::Relaxed);
    assert_eq!(service.calls.load(Ordering::Relaxed), ends, "each exchange has ended");
    check(&heard);
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((piece, data)) = data.split_first() else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let played = tokio::time::timeout(Duration::from_secs(5), play(data, usize::from(*piece) * 8 + 1));
        played.await.expect("it comes to its end");
    });
});
