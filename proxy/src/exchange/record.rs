//! The one record of an exchange, written when its response was sent, or when its client left before that.
//!
//! Access log and metrics both come from here.

use std::sync::Arc;

use cache::tier::Facts;
use common::http::outgoing::RequestId;
use common::http::response::Response;
use common::serve::service::{CloseReason, ConnInfo, End, Record, Sent};
use common::telemetry::access_log::AccessRecord;
use common::telemetry::metrics::{Counter, Histogram};
use common::time::{MonoTime, mono_now};
use common::worker::Worker;
use http::header::{HOST, REFERER, USER_AGENT};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, Uri, Version};

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
    conn: Arc<ConnInfo>,
    begun: MonoTime,
    /// Kept for the access log only.
    asked: Option<Box<Asked>>,
    site: Option<Arc<str>>,
    error: Option<&'static str>,
    status: u16,
    is_finished: bool,
}

/// What the request said.
struct Asked {
    method: Method,
    target: Uri,
    version: Version,
    host: Option<HeaderValue>,
    referer: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
}

impl ExchangeRecord {
    /// The record of a request that was parsed; what it said is kept when somebody reads the log.
    pub fn begin(head: &Parts, conn: &Arc<ConnInfo>, id: RequestId, logs: bool) -> Self {
        let asked = logs.then(|| {
            Box::new(Asked {
                method: head.method.clone(),
                target: head.uri.clone(),
                version: head.version,
                host: head.headers.get(HOST).cloned(),
                referer: head.headers.get(REFERER).cloned(),
                user_agent: head.headers.get(USER_AGENT).cloned(),
            })
        });
        Self { asked, ..Self::unparsed(conn, id) }
    }

    /// The record of something that is not a request.
    pub fn unparsed(conn: &Arc<ConnInfo>, id: RequestId) -> Self {
        Self {
            id,
            facts: Facts::default(),
            conn: Arc::clone(conn),
            begun: mono_now(),
            asked: None,
            site: None,
            error: None,
            status: CLIENT_CLOSED_REQUEST,
            is_finished: false,
        }
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
    }

    /// The worker it happened on.
    pub fn worker(&self) -> &Worker {
        &self.conn.worker
    }
}

impl Record for ExchangeRecord {
    fn finish(mut self, sent: &Sent) {
        self.write(sent);
    }
}

impl Drop for ExchangeRecord {
    fn drop(&mut self) {
        if !self.is_finished {
            let took = mono_now().saturating_duration_since(self.begun);
            let close = Some(CloseReason::Reset);
            self.write(&Sent { end: End::ClientGone, body_bytes: 0, bytes: 0, request_bytes: 0, took, close });
        }
    }
}

impl ExchangeRecord {
    fn write(&mut self, sent: &Sent) {
        self.is_finished = true;
        let metrics = &self.conn.worker.metrics;
        metrics.count(class(self.status));
        metrics.observe(Histogram::RequestSeconds, sent.took);
        if !matches!(sent.end, End::Whole) {
            metrics.count(Counter::ResponsesCut);
        }
        if let Some(counter) = self.facts.counter() {
            metrics.count(counter);
        }
        self.log(sent);
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
