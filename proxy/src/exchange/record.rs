//! The one record of an exchange, written when its response was sent, or when its client left before that.
//!
//! Access log and metrics both come from here.

mod texts; // what the request said and what the cache did, as the access log tells it

use std::sync::Arc;

use cache::tier::Facts;
use common::http::body::BodyError;
use common::http::outgoing::RequestId;
use common::http::request::Request;
use common::http::response::Response;
use common::serve::service::{CloseReason, ConnInfo, End, Record, Sent};
use common::telemetry::access_log::{AccessRecord, Took};
use common::telemetry::metrics::{Counter, Histogram};
use common::time::{MonoTime, mono_now};
use common::worker::Worker;
use http::StatusCode;

use self::texts::{Asked, Words};
use super::refusal::Refusal;
use crate::routes::Site;

/// What nginx calls it when the client closed before any answer; there is no RFC's word for it.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// The record of one exchange.
///
/// INVARIANT: counted exactly once, by [`Record::finish`] or by `Drop`.
pub struct ExchangeRecord {
    /// The exchange's id.
    pub id: RequestId,
    /// What the tier did.
    pub facts: Facts,
    /// Its answer was there when the tier was asked: it waited for nobody.
    pub is_at_once: bool,
    /// When its head was whole, and its client's right to be served was known.
    pub received: MonoTime,
    conn: Arc<ConnInfo>,
    began: MonoTime,
    /// When its response was ready to be sent.
    ready: Option<MonoTime>,
    /// Kept for the access log only.
    asked: Option<Asked>,
    site: Option<Arc<str>>,
    error: Option<&'static str>,
    status: u16,
    is_finished: bool,
}

impl ExchangeRecord {
    /// The record of a request that was parsed; what it said is kept when somebody reads the log.
    pub fn begin(request: &Request, conn: &Arc<ConnInfo>, id: RequestId, logs: bool) -> Box<Self> {
        let asked = logs.then(|| Asked::new(&request.head));
        Self::new(conn, id, (request.began, request.received), asked)
    }

    /// The record of something that is not a request.
    pub fn unparsed(conn: &Arc<ConnInfo>, id: RequestId) -> Box<Self> {
        let now = mono_now();
        Self::new(conn, id, (now, now), None)
    }

    /// Boxed, because it goes through many hands until the response was sent.
    fn new(
        conn: &Arc<ConnInfo>,
        id: RequestId,
        (began, received): (MonoTime, MonoTime),
        asked: Option<Asked>,
    ) -> Box<Self> {
        Box::new(Self {
            id,
            facts: Facts::default(),
            is_at_once: false,
            conn: Arc::clone(conn),
            began,
            received,
            ready: None,
            asked,
            site: None,
            error: None,
            status: CLIENT_CLOSED_REQUEST,
            is_finished: false,
        })
    }

    /// The site it belongs to.
    pub fn routed(&mut self, site: &Site) {
        self.site = Some(Arc::clone(&site.name));
    }

    /// It was answered by tidegate itself.
    pub fn refused(&mut self, refusal: &Refusal) {
        self.error = refusal.word();
        if let Some(counter) = refusal.counter() {
            self.conn.worker.metrics.count(counter);
        }
    }

    /// What is going to be sent.
    pub fn answered(&mut self, response: &Response) {
        self.status = response.status.as_u16();
        if self.conn.worker.access_log.is_enabled() {
            // An answer from store is ready when it is found; of others the log is worth a clock reading.
            let found = self.facts.lookup.filter(|_| self.is_at_once);
            self.ready = Some(found.map_or_else(mono_now, |lookup| self.received + lookup));
        }
    }

    /// The worker it happened on.
    pub fn worker(&self) -> &Worker {
        &self.conn.worker
    }
}

impl Record for Box<ExchangeRecord> {
    fn finish(mut self, sent: &Sent) {
        self.write(sent);
    }
}

impl Drop for ExchangeRecord {
    fn drop(&mut self) {
        if !self.is_finished {
            let took = mono_now().saturating_duration_since(self.began);
            let close = Some(CloseReason::Reset);
            self.write(&Sent {
                end: End::ClientGone,
                body_bytes: 0,
                bytes: 0,
                request_bytes: 0,
                took,
                close,
            });
        }
    }
}

impl ExchangeRecord {
    fn write(&mut self, sent: &Sent) {
        self.is_finished = true;
        let metrics = &self.conn.worker.metrics;
        metrics.count(class(self.status));
        match sent.end {
            End::Whole => metrics.observe(Histogram::RequestSeconds, sent.took),
            End::ClientGone | End::BodyFailed(_) => {
                metrics.observe(Histogram::RequestSeconds, sent.took);
                metrics.count(Counter::ResponsesCut);
            }
            // How long a tunnel lasted says nothing about answering.
            End::Tunnel(_) => {}
        }
        if let Some(counter) = self.facts.counter() {
            metrics.count(counter);
        }
        self.log(sent);
    }
}

impl ExchangeRecord {
    fn log(&self, sent: &Sent) {
        let worker = &self.conn.worker;
        if !worker.access_log.is_enabled() {
            return;
        }
        let said = self.asked.as_ref().map(Asked::said).unwrap_or_default();
        let backend = self.facts.backend.as_ref();
        let (mut id, mut outcome) = ([0; 16], Words::default());
        let record = AccessRecord {
            time: worker.wall_at(self.began),
            request_id: self.id.text(&mut id),
            client: self.conn.client.map(|client| client.ip()),
            listener: &self.conn.listener,
            conn_id: self.conn.id,
            request: said.line,
            host: said.host,
            status: StatusCode::from_u16(self.status).unwrap_or_default(),
            body_bytes: sent.body_bytes,
            bytes_received: sent.request_bytes,
            bytes_sent: sent.bytes,
            referer: said.referer,
            user_agent: said.user_agent,
            site: self.site.as_deref(),
            cache_outcome: self.facts.outcome.as_ref().map(|status| outcome.of(status)),
            backend: self.facts.origin.as_deref(),
            server: backend.and_then(|backend| backend.server.as_deref()),
            attempts: backend.map_or(0, |backend| backend.attempts),
            error: self.error.or_else(|| body_error(&sent.end)),
            took: Took {
                accept_wait: self.conn.accept_wait,
                lookup: self.facts.lookup,
                queue: backend.map(|backend| backend.queued),
                connect: backend.and_then(|backend| backend.connect),
                tls: backend.and_then(|backend| backend.tls.as_deref().copied()),
                first_byte: backend.and_then(|backend| backend.first_byte),
                body: self
                    .ready
                    .map(|ready| (self.began + sent.took).saturating_duration_since(ready)),
                total: sent.took,
            },
            close: sent.close.map(CloseReason::word),
            end: sent.end.word(),
        };
        worker.access_log.record(&record, &worker.metrics);
    }
}

/// The word for a body that failed after its head was sent.
const fn body_error(end: &End) -> Option<&'static str> {
    match end {
        End::BodyFailed(BodyError::Origin(error)) => Some(error.word()),
        End::BodyFailed(_) => Some("http_request_error"),
        End::Whole | End::ClientGone | End::Tunnel(_) => None,
    }
}

const fn class(status: u16) -> Counter {
    match status {
        0..200 => Counter::Responses1xx,
        200..300 => Counter::Responses2xx,
        300..400 => Counter::Responses3xx,
        400..500 => Counter::Responses4xx,
        _ => Counter::Responses5xx,
    }
}
