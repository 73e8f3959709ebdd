//! The admin listener: health for people and orchestrators, metrics for Prometheus.
//!
//! Served by a thread of its own, so that it answers while the workers are saturated.

mod health; // /health, /live, /ready
mod metrics; // /metrics
mod purge; // /purge
pub mod query; // parameters of requests

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use cache::store::memory::Memory;
use cache::tier::Local;
use common::backend::Backend;
use common::http::body::Body;
use common::http::response::Response;
use common::http1::parse::ParseError;
use common::serve::limits::ConnectionLimit;
use common::serve::service::{ConnInfo, Record, Reply, Sent, Service};
use common::telemetry::access_log::AccessLogWriter;
use common::time::{Clock, WallTime};
use common::worker::Worker;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, DATE, ORIGIN};
use http::{HeaderValue, Method, Request, StatusCode};

use crate::assemble::Parts;

/// What the admin listener tells about.
pub struct Watched {
    /// The parts that answer requests.
    pub parts: Parts,
    /// The workers, for their counters.
    pub workers: Vec<Arc<Worker>>,
    /// Open client connections.
    pub limit: Arc<ConnectionLimit>,
    /// Whether the process is draining.
    pub draining: Arc<AtomicBool>,
    /// The access log, where there is one.
    pub log: Option<Arc<AccessLogWriter>>,
    /// When the process started.
    pub started: WallTime,
}

/// Answers the admin listener's requests.
pub struct Admin {
    watched: Watched,
}

impl Admin {
    /// Tells about these.
    pub const fn new(watched: Watched) -> Self {
        Self { watched }
    }

    fn answer(&self, request: &Request<Body>) -> Response {
        let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
        if path == "/purge" {
            return self.purge(request, query);
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n")
                .with(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        match path {
            "/health" => json(StatusCode::OK, health::report(&self.watched)),
            "/live" => text(StatusCode::OK, "live\n"),
            "/ready" if health::is_ready(&self.watched) => text(StatusCode::OK, "ready\n"),
            "/ready" => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
            "/metrics" => metrics::page(&self.watched),
            "/" => text(StatusCode::OK, "tidegate: /health /live /ready /metrics /purge\n"),
            _ => text(StatusCode::NOT_FOUND, "try /health, /live, /ready or /metrics\n"),
        }
    }
}

impl Admin {
    /// Only what is asked on purpose changes anything: not by a link, nor by a web page in the operator's browser.
    fn purge(&self, request: &Request<Body>, query: &str) -> Response {
        if *request.method() != Method::POST {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only POST\n").with(ALLOW, HeaderValue::from_static("POST"));
        }
        if request.headers().contains_key(ORIGIN) {
            return text(StatusCode::FORBIDDEN, "not from a web page\n");
        }
        purge::answer(&self.watched, query)
    }
}

impl Watched {
    /// Every backend: origins, then cache servers.
    fn backends(&self) -> &[Arc<Backend>] {
        &self.parts.backends
    }

    /// The cache tier of this process and its store, where it has one.
    fn store(&self) -> Option<(&Local, &Memory)> {
        let local = self.parts.tier.local()?;
        Some((local, local.memory()?))
    }

    /// Access log lines that the file did not take.
    fn log_lines_failed(&self) -> u64 {
        self.log.as_ref().map_or(0, |log| log.lines_failed())
    }
}

impl Service for Admin {
    type Record = Unrecorded;

    async fn call(&self, request: Request<Body>, _: &Arc<ConnInfo>) -> Reply<Unrecorded> {
        Reply {
            response: dated(self.answer(&request)),
            record: Unrecorded,
            close: None,
        }
    }

    fn refuse(&self, error: &ParseError, _: &Arc<ConnInfo>) -> Reply<Unrecorded> {
        Reply {
            response: dated(text(error.status(), format!("{error}\n"))),
            record: Unrecorded,
            close: None,
        }
    }
}

/// Nothing is recorded of what an operator asks.
pub struct Unrecorded;

impl Record for Unrecorded {
    fn finish(self, _: &Sent) {}
}

fn text(status: StatusCode, content: impl Into<Body>) -> Response {
    Response::new(status, content).with(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"))
}

fn json(status: StatusCode, content: Vec<u8>) -> Response {
    Response::new(status, bytes::Bytes::from(content)).with(CONTENT_TYPE, HeaderValue::from_static("application/json"))
}

fn dated(response: Response) -> Response {
    let mut response = response.with(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
        .fields
        .added
        .push_display(&DATE, Clock::System.wall().http_date());
    response
}
