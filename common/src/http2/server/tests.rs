//! A connection's end, with a client that takes its time.

use bytes::Bytes;
use http::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::*;
use crate::http::interim::Desk;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http1::parse::ParseError;
use crate::http2::frame::{self, Head, flag, kind, setting};
use crate::http2::head::tests::settings;
use crate::http2::inbound::PREFACE;
use crate::http2::inbound::tests::{GET, OWN, block, framed};
use crate::serve::service::{Record, Reply, Sent};
use crate::soon::Soon;
use crate::telemetry::access_log::AccessLog;
use crate::time::Clock;
use crate::worker::Worker;

/// Answers with this content.
struct Says(Bytes);

struct Unrecorded;

impl Record for Unrecorded {
    fn finish(self, _: &Sent) {}
}

impl Service for Says {
    type Record = Unrecorded;

    fn call<'a>(&'a self, _: Request, _: &'a Arc<ConnInfo>, _: &'a Desk) -> Soon<'a, Reply<Unrecorded>> {
        Soon::Ready(Reply {
            response: Response::new(StatusCode::OK, self.0.clone()),
            record: Unrecorded,
            close: None,
        })
    }

    fn refuse(&self, error: &ParseError, _: &Arc<ConnInfo>) -> Reply<Unrecorded> {
        panic!("{error}")
    }
}

fn conn() -> ConnInfo {
    ConnInfo {
        id: 1,
        client: None,
        local: None,
        listener: "test".into(),
        tls: false,
        certificate: None,
        accepted: mono_now(),
        accept_wait: None,
        worker: Worker::new(0, Clock::default(), AccessLog::default()),
    }
}

/// What a client gets of this much content that reads nothing for ten seconds, on a connection that ends after the request.
async fn taken_late(bytes: usize, hears_the_farewell: bool) -> (usize, CloseReason) {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let settings = ServeSettings {
        requests_per_connection_max: 1,
        send_timeout: Duration::from_secs(60),
        ..settings()
    };
    let service = Arc::new(Says(vec![b'x'; bytes].into()));
    let (stream, conn, drain) = (Stream::Unix(ours), Arc::new(conn()), Drain::default());
    let served = serve_connection(stream, BytesMut::new(), conn, service, Arc::new(settings), OWN, drain);
    let served = tokio::spawn(served);
    let mut asked = PREFACE.to_vec();
    frame::put_settings(&mut asked, &[(setting::INITIAL_WINDOW_SIZE, 1 << 20)]);
    frame::put_window_update(&mut asked, 0, 1 << 20);
    let flags = flag::END_HEADERS | flag::END_STREAM;
    asked.extend(framed(kind::HEADERS, flags, 1, &block(GET)));
    theirs.write_all(&asked).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    if hears_the_farewell {
        let answer = framed(kind::PING, flag::ACK, 0, b"farewell");
        // Where the socket has had room for all, the connection has ended by now.
        drop(theirs.write_all(&answer).await);
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut heard = Vec::new();
    theirs.read_to_end(&mut heard).await.unwrap();
    let (mut rest, mut content) = (&heard[..], 0);
    while let Some(octets) = rest.first_chunk() {
        let head = Head::parse(*octets);
        rest = rest.get(frame::HEAD + head.length as usize..).expect("no frame is cut");
        content += if head.kind == kind::DATA {
            head.length as usize
        } else {
            0
        };
    }
    (content, served.await.unwrap())
}

#[tokio::test(start_paused = true)]
async fn who_takes_the_last_response_late_gets_all_of_it() {
    // The end waits in our buffer with some of these; in the socket's, or for its turn, with others.
    for bytes in (50_000..500_000).step_by(15_000) {
        for hears_the_farewell in [false, true] {
            let expected = (bytes, CloseReason::RequestsMax);
            assert_eq!(
                taken_late(bytes, hears_the_farewell).await,
                expected,
                "{hears_the_farewell}"
            );
        }
    }
}
