//! The admin listener: health for people and orchestrators, metrics for Prometheus, a dashboard for browsers.
//!
//! Served by a thread of its own, so that it answers while the workers are saturated.

mod gate; // who may come in
mod health; // /health, /health/handshakes, /ready
mod metrics; // /metrics
mod handshake_metrics; // the part of it that is about handshakes
mod live; // /events, /history
mod dashboard; // /dashboard
mod purge; // /purge
mod reload; // /reload
mod explain; // /explain
pub mod query; // parameters of requests
mod backends; // servers: their part of both, and orders

pub use gate::Gate;
pub use health::STATUS as HEALTH_STATUS;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cache::store::memory::Memory;
use cache::tier::Local;
use common::backend::Backend;
use common::http::body::Body;
use common::http::interim::Desk;
use common::http::response::Response;
use common::http1::parse::ParseError;
use common::kernel::sample::Moment;
use common::net::tls::context::TlsContext;
use common::process::confine::Layer;
use common::serve::limits::ConnectionLimit;
use common::serve::service::{ConnInfo, Record, Reply, Sent, Service};
use common::soon::Soon;
use common::telemetry::access_log::AccessLogWriter;
use common::time::{Clock, WallTime};
use common::worker::Worker;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, DATE, ORIGIN, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, StatusCode};

use crate::assemble::Parts;
use crate::boot::Listening;
use crate::health::Health;
use crate::health::fold::Folded;
use crate::reload::Reloads;
use live::Live;

/// What the admin listener tells about.
pub struct Watched {
    /// The parts that answer requests.
    pub parts: Parts,
    /// The workers, for their counters.
    pub workers: Vec<Arc<Worker>>,
    /// What was read from files again, and how to have that done.
    pub reloads: Reloads,
    /// Open client connections.
    pub limit: Arc<ConnectionLimit>,
    /// Whether the process is draining.
    pub draining: Arc<AtomicBool>,
    /// What the process has given up.
    pub confined: Vec<Layer>,
    /// The access log, where there is one.
    pub log: Option<Arc<AccessLogWriter>>,
    /// When the process started.
    pub started: WallTime,
    /// Handshakes.
    pub health: Arc<Health>,
    /// The health of the cache servers.
    pub folded: Arc<Folded>,
    /// What this process is.
    pub roles: Vec<&'static str>,
    /// The listeners that serve.
    pub listening: Vec<Listening>,
    /// Whether new work is welcome while a setting of the kernel loses clients.
    pub ready_when_critical: bool,
}

/// Answers the admin listener's requests.
pub struct Admin {
    watched: Watched,
    live: Live,
}

impl Admin {
    /// Tells about these.
    pub fn new(watched: Watched) -> Self {
        Self {
            watched,
            live: Live::new(Moment::now(&Clock::System)),
        }
    }

    /// Called often; once per second it looks at what moved and tells those who listen.
    pub fn tick(&self, now: Moment) {
        if self.watched.draining.load(Ordering::Relaxed) {
            self.live.end();
        }
        if self.live.is_due(now.mono) {
            let workers = self.watched.workers.iter().map(|worker| &worker.metrics);
            self.live.feed(now, workers, self.watched.health.lock().engine.last());
            self.live.tell(now, || health::as_json(&self.watched));
        }
    }

    fn answer(&self, request: &Request<Body>) -> Response {
        let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
        if path == "/purge" {
            return self.purge(request, query);
        }
        if path.starts_with(backends::PREFIX) {
            return backends::order(&self.watched, request);
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n")
                .with(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        match path {
            "/health" => health::page(&self.watched, health::wants_text(request)),
            "/health/handshakes" => json(StatusCode::OK, health::handshakes(&self.watched)),
            "/live" => text(StatusCode::OK, "live\n"),
            "/ready" => match health::unready(&self.watched) {
                None => text(StatusCode::OK, "ready\n"),
                Some(why) => text(StatusCode::SERVICE_UNAVAILABLE, why),
            },
            "/metrics" => metrics::page(&self.watched),
            "/dashboard" => dashboard::page(),
            "/events" => self.events(request.method()),
            "/history" => json(StatusCode::OK, self.live.history()),
            "/" => text(
                StatusCode::OK,
                "tidegate: /dashboard /health /health/handshakes /live /ready /metrics /events /history /purge /explain /reload\n",
            ),
            _ => text(
                StatusCode::NOT_FOUND,
                "try /dashboard, /health, /health/handshakes, /live, /ready or /metrics\n",
            ),
        }
    }

    /// The stream of events; none while draining, since it would hold up nothing but the one who waits for its end.
    fn events(&self, method: &Method) -> Response {
        if self.watched.draining.load(Ordering::Relaxed) {
            return text(StatusCode::SERVICE_UNAVAILABLE, "draining\n");
        }
        let body = if method == Method::HEAD {
            Some(Body::Empty)
        } else {
            self.live
                .listen(Moment::now(&Clock::System), &health::as_json(&self.watched))
        };
        match body {
            Some(body) => {
                Response::new(StatusCode::OK, body).with(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"))
            }
            None => text(StatusCode::SERVICE_UNAVAILABLE, "too many listen already\n"),
        }
    }
}

impl Admin {
    /// Whether a request may come in.
    fn admits(&self, path: &str, request: &Request<Body>) -> bool {
        let is_open = matches!(path, "/live" | "/ready");
        let gate = self.watched.parts.admin.gate.as_ref().filter(|_| !is_open);
        gate.is_none_or(|gate| gate.admits(request.headers()))
    }

    /// Looking through the store may take a while: not on this thread, which health is answered by.
    async fn explain(&self, request: Request<Body>) -> Response {
        if !matches!(*request.method(), Method::GET | Method::POST) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and POST\n")
                .with(ALLOW, HeaderValue::from_static("GET, POST"));
        }
        let parts = &self.watched.parts;
        let (routes, tier) = (Arc::clone(parts.known_routes()), Arc::clone(&parts.tier));
        let query = request.uri().query().unwrap_or_default().to_owned();
        let as_text = health::wants_text(&request);
        drop(request);
        let answer = move || explain::answer(&routes, &tier, &query, as_text, Clock::System.wall());
        let answered = tokio::task::spawn_blocking(answer).await;
        answered.unwrap_or_else(|_| text(StatusCode::INTERNAL_SERVER_ERROR, "the explanation failed\n"))
    }

    fn purge(&self, request: &Request<Body>, query: &str) -> Response {
        match not_on_purpose(request) {
            Some(refused) => refused,
            None => purge::answer(&self.watched, query),
        }
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

    /// The certificates.
    fn tls(&self) -> &[Arc<TlsContext>] {
        &self.parts.tls
    }

    /// Access log lines that the file did not take.
    fn log_lines_failed(&self) -> u64 {
        self.log.as_ref().map_or(0, |log| log.lines_failed())
    }
}

impl Service for Admin {
    type Record = Unrecorded;

    fn call<'a>(
        &'a self,
        request: common::http::request::Request,
        _: &'a Arc<ConnInfo>,
        _: &'a Desk,
    ) -> Soon<'a, Reply<Unrecorded>> {
        let request = request.head.into_request(request.body);
        let response = match request.uri().path() {
            path if !self.admits(path, &request) => Soon::Ready(unauthorized()),
            "/explain" => Soon::coming(self.explain(request)),
            "/reload" => Soon::coming(reload::answer(&self.watched.reloads, request)),
            _ => Soon::Ready(self.answer(&request)),
        };
        response.map(|response| Reply {
            response: dated(response),
            record: Unrecorded,
            close: None,
        })
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

/// Only what is asked on purpose changes anything: not by a link, nor by a web page in the operator's browser.
fn not_on_purpose(request: &Request<Body>) -> Option<Response> {
    if *request.method() != Method::POST {
        let refused = text(StatusCode::METHOD_NOT_ALLOWED, "only POST\n");
        return Some(refused.with(ALLOW, HeaderValue::from_static("POST")));
    }
    let is_from_page = request.headers().contains_key(ORIGIN);
    is_from_page.then(|| text(StatusCode::FORBIDDEN, "not from a web page\n"))
}

/// "The server generating a 401 response MUST send a WWW-Authenticate header field" (RFC 9110 §15.5.2).
fn unauthorized() -> Response {
    text(
        StatusCode::UNAUTHORIZED,
        "a bearer token is needed: --token-file or TIDEGATE_ADMIN_TOKEN\n",
    )
    .with(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"tidegate\""))
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
