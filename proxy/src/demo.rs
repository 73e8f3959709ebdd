//! The demo's sample origin: pages, images of several sizes, a slow one, a private one, one that fails now and then.
//!
//! It runs on a worker of its own, over the same server loop as everything else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::http::interim::Desk;
use common::http::request::Request;
use common::http::response::Response;
use common::http1::parse::ParseError;
use common::net::listener::Bound;
use common::net::settings::{Backlog, ListenAddress, ListenSettings};
use common::serve::endpoint::HttpEndpoint;
use common::serve::limits::ConnectionLimit;
use common::serve::service::{ConnInfo, Record, Reply, Sent, Service};
use common::serve::workers::{self, Plan, Running};
use common::soon::Soon;
use common::telemetry::access_log::AccessLog;
use common::time::Clock;
use common::worker::Worker;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName};
use http::{HeaderValue, StatusCode};

use crate::exit::{Code, Failure};

/// The sample origin, bound and not yet served.
pub struct Origin {
    address: SocketAddr,
    bound: Bound,
}

impl Origin {
    /// Binds its port.
    ///
    /// # Errors
    /// It is taken.
    pub fn bind(address: SocketAddr) -> Result<Self, Failure> {
        let settings = ListenSettings {
            name: address.to_string(),
            address: ListenAddress::Tcp(address),
            backlog: Backlog::Auto,
            defer_accept: None,
            v6only: true,
            tcp_keepalive: None,
        };
        let bound =
            common::net::listener::bind(&settings, 1).map_err(|error| Failure::coded(error.exit_code(), error))?;
        let address = bound.local_addr.unwrap_or(address);
        Ok(Self { address, bound })
    }

    /// Serves it until what is returned is dropped.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn serve(self) -> Result<Running, Failure> {
        let pages = Pages {
            image: Bytes::from(vec![b'#'; IMAGE_MAX]),
            asked: AtomicU64::new(0),
        };
        let endpoint = HttpEndpoint::plain(Arc::new(pages), config::SERVE);
        let plan = Plan {
            thread_name: "demo-origin-",
            pin: false,
            limit: Arc::new(ConnectionLimit::new(10_000)),
            tick_every: Duration::from_secs(1),
            ticks: Vec::new(),
        };
        let worker = Worker::new(0, Clock::System, AccessLog::disabled());
        workers::start(plan, vec![(self.bound, Arc::new(endpoint))], vec![worker])
            .map_err(|error| Failure::new(Code::System, error))
    }

    /// Where it is.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

/// What the sample origin has to give.
struct Pages {
    image: Bytes,
    /// Requests for `/flaky` so far.
    asked: AtomicU64,
}

/// Nothing is recorded of the sample origin's exchanges.
struct Unrecorded;

impl Record for Unrecorded {
    fn finish(self, _: &Sent) {}
}

const IMAGE_MAX: usize = 10 << 20;
const IMAGES: [(&str, usize); 5] = [
    ("/image/1KiB.bin", 1 << 10),
    ("/image/16KiB.bin", 16 << 10),
    ("/image/100KiB.bin", 100 << 10),
    ("/image/1MiB.bin", 1 << 20),
    ("/image/10MiB.bin", IMAGE_MAX),
];

impl Service for Pages {
    type Record = Unrecorded;

    fn call<'a>(&'a self, request: Request, _: &'a Arc<ConnInfo>, _: &'a Desk) -> Soon<'a, Reply<Unrecorded>> {
        Soon::coming(self.answer(request)).map(|response| Reply {
            response: with_date(response),
            record: Unrecorded,
            close: None,
        })
    }

    fn refuse(&self, error: &ParseError, _: &Arc<ConnInfo>) -> Reply<Unrecorded> {
        Reply {
            response: Response::new(error.status(), format!("{error}\n")),
            record: Unrecorded,
            close: None,
        }
    }
}

impl Pages {
    async fn answer(&self, request: Request) -> Response {
        let Request { head, body, .. } = request;
        match head.uri.path() {
            "/" => page(
                CACHE_5_MIN,
                "<h1>It works</h1><p>This page comes from the sample origin.</p>",
            ),
            "/slow" => {
                tokio::time::sleep(Duration::from_secs(2)).await;
                page(
                    "public, max-age=10",
                    "<h1>Slow</h1><p>The origin took two seconds for this.</p>",
                )
            }
            "/private" => page(
                "private, no-store",
                "<h1>Private</h1><p>No shared cache keeps this.</p>",
            ),
            "/flaky" if self.asked.fetch_add(1, Ordering::Relaxed) % 3 == 2 => {
                Response::new(StatusCode::SERVICE_UNAVAILABLE, "the origin has a bad moment\n")
            }
            "/flaky" => page("max-age=1", "<h1>Flaky</h1><p>This time it went well.</p>"),
            "/echo" => Response {
                status: StatusCode::OK,
                fields: common::http::response::Fields::default(),
                body,
            },
            path if path.starts_with("/page/") => page(CACHE_5_MIN, "<h1>One of many pages</h1>"),
            path => match IMAGES.iter().find(|(name, _)| *name == path) {
                Some((_, size)) => image(self.image.slice(..*size)),
                None => Response::new(StatusCode::NOT_FOUND, "the sample origin has no such thing\n"),
            },
        }
    }
}

const CACHE_5_MIN: &str = "public, max-age=300";

fn page(cache_control: &'static str, content: &'static str) -> Response {
    let page = format!("<!doctype html><title>tidegate demo</title>{content}\n");
    Response::new(StatusCode::OK, page)
        .with(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"))
        .with(CACHE_CONTROL, HeaderValue::from_static(cache_control))
}

fn image(content: Bytes) -> Response {
    let etag = format!("\"sample-{}\"", content.len());
    let mut response = Response::new(StatusCode::OK, content)
        .with(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))
        .with(CACHE_CONTROL, HeaderValue::from_static(CACHE_5_MIN));
    if let Ok(etag) = HeaderValue::try_from(etag) {
        response = response.with(ETAG, etag);
    }
    response
}

fn with_date(mut response: Response) -> Response {
    let now = Clock::System.wall().http_date();
    response.fields.added.push_display(&http::header::DATE, now);
    response
        .fields
        .added
        .push_display(&HeaderName::from_static("server"), "tidegate-sample-origin");
    response
}
