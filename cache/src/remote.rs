//! The cache tier on cache servers: a request goes to the one that owns its key, and to the origin when none answers.

use std::sync::Arc;

use common::backend::settings::ExchangeLimits;
use common::backend::{self, Backend, Handover, Holder, Told};
use common::http::body::Body;
use common::http::hop_by_hop::Upgrade;
use common::http::origin_error::OriginError;
use common::http::outgoing::{self, OutgoingHead};
use common::http1::client::ExchangeError;
use common::net::pace::LogGate;
use common::telemetry::metrics::Counter;
use common::worker::Worker;
use config::WhenDown;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, Method, StatusCode};
use parking_lot::Mutex;

use crate::affinity;
use crate::explain::reason::Reason;
use crate::explain::{Explanation, Place, Question, Verdict};
use crate::fetch;
use crate::policy::key::KeyHasher;
use crate::tier::{Answer, Facts, TierRequest, TierRoute};

/// The cache servers.
pub(crate) struct Remote {
    servers: Arc<Backend>,
    when_down: WhenDown,
    hasher: KeyHasher,
    /// While the servers are down, not every request writes a line.
    log: Mutex<LogGate>,
}

impl Remote {
    /// These servers.
    pub(crate) fn new(servers: Arc<Backend>, when_down: WhenDown) -> Self {
        // The same in every front, so that all of them agree on who owns a key.
        Self {
            servers,
            when_down,
            hasher: KeyHasher::fixed(),
            log: Mutex::default(),
        }
    }

    /// Which cache server would be asked.
    pub(crate) fn explain(&self, question: &Question<'_>, route: &TierRoute) -> Explanation {
        let head = question.head;
        let key = fetch::key(head, question.tls, &route.rules.key);
        let server = self.servers.owner(key.hash(&self.hasher).0);
        let reason = Reason::elsewhere(server.as_deref());
        Explanation {
            key: key.to_string(),
            place: Place::Server(server),
            hits: 0,
            stored: Vec::new(),
            slices: None,
            verdict: Verdict {
                cache_status: None,
                outcome: "remote",
                word: reason.word,
                sentence: reason.sentence,
                quote: reason.quote,
                status: None,
            },
            notes: Vec::new(),
        }
    }

    /// Sends a PURGE on to all cache servers: any of them may have stored the key while its owner was down.
    pub(crate) async fn purge(&self, request: TierRequest<'_>) -> Vec<Told> {
        let head = outgoing::prepare(request.head, &request.hop);
        self.servers
            .send_to_each(&head, &request.route.limits, request.worker)
            .await
    }

    /// Sends a request to the cache server that owns its key.
    pub(crate) async fn forward(&self, request: TierRequest<'_>) -> Answer {
        let TierRequest {
            head,
            body,
            route,
            hop,
            worker,
            ..
        } = request;
        let key = affinity::hash(&self.servers, &head, &hop, &route.rules.key, worker);
        let to_origin = affinity::hash(&route.backend, &head, &hop, &route.rules.key, worker);
        let mut head = outgoing::prepare(head, &hop);
        for backend in [&self.servers, &route.backend] {
            backend.introduce(&mut head, &hop);
        }
        if hop.upgrade == Upgrade::Keep && self.when_down == WhenDown::Origin {
            return direct(head, body, to_origin, route, worker).await;
        }
        let is_read = matches!(body, Body::Empty)
            && hop.upgrade == Upgrade::Remove
            && matches!(head.parts.method, Method::GET | Method::HEAD);
        if let Some(handover) = self.servers.handover(key, worker)
            && is_read
            && let Some(outcome) = self.of_holders(handover, &head, worker).await
        {
            return answer(outcome, self.servers.shared_name());
        }
        let mut outcome = self
            .servers
            .send(&mut head, body, key, &self.limits(route), worker)
            .await;
        let mut origin = self.servers.shared_name();
        let error = match outcome.result {
            Err(ExchangeError::Origin(error)) => Some(error),
            Err(ExchangeError::Client(_)) | Ok(_) => None,
        };
        if self.when_down == WhenDown::Origin
            && let (Some(error), Some(body)) = (error, outcome.unsent.take())
            && may_go_elsewhere(error, &head.parts.method)
        {
            worker.metrics.count(Counter::TierFallback);
            if let Some(held_back) = self.log.lock().admit(worker.clock.mono()) {
                let kind = error.word();
                tracing::warn!(
                    error.kind = kind,
                    held_back,
                    "no cache server answers, asking the origin"
                );
            }
            outcome = route
                .backend
                .send(&mut head, body, to_origin, &route.limits, worker)
                .await;
            origin = route.backend.shared_name();
        }
        answer(outcome, origin)
    }

    /// The limits towards cache servers, for a request of this route.
    fn limits(&self, route: &TierRoute) -> ExchangeLimits {
        ExchangeLimits {
            urgency: route.limits.urgency,
            ..self.servers.limits().clone()
        }
    }

    /// The response that the owner of a key has stored, or else that the key's former owner has.
    async fn of_holders(
        &self,
        handover: Handover,
        head: &OutgoingHead,
        worker: &Arc<Worker>,
    ) -> Option<backend::Outcome> {
        for holder in [Holder::Owner, Holder::Former] {
            let mut head = head.clone();
            head.parts.headers.append(CACHE_CONTROL, ONLY_IF_CACHED);
            let outcome = self.servers.ask_holder((handover, holder), head, worker).await;
            // "the server SHOULD either respond using a stored response […] or respond with a 504 (Gateway Timeout)"
            // (RFC 9111 §5.2.1.7)
            let is_stored = outcome
                .result
                .as_ref()
                .is_ok_and(|response| response.status != StatusCode::GATEWAY_TIMEOUT);
            if is_stored {
                if holder == Holder::Former {
                    worker.metrics.count(Counter::TierHandover);
                }
                return Some(outcome);
            }
        }
        worker.metrics.count(Counter::TierHandoverMiss);
        None
    }
}

const ONLY_IF_CACHED: HeaderValue = HeaderValue::from_static("only-if-cached");

/// Past the cache servers: a tunnel has nothing to do with them, would take two places on one, and end with it.
async fn direct(mut head: OutgoingHead, body: Body, key: u64, route: &Arc<TierRoute>, worker: &Arc<Worker>) -> Answer {
    let outcome = route.backend.send(&mut head, body, key, &route.limits, worker).await;
    answer(outcome, route.backend.shared_name())
}

fn answer(outcome: backend::Outcome, origin: Arc<str>) -> Answer {
    let facts = Facts {
        backend: Some(Box::new(outcome.facts)),
        origin: Some(origin),
        ..Facts::default()
    };
    Answer {
        result: outcome.result,
        facts,
    }
}

/// Whether a request that no cache server answered may be sent to the origin: nobody has seen it, or it can be sent twice.
fn may_go_elsewhere(error: OriginError, method: &Method) -> bool {
    match error {
        OriginError::ConnectionRefused
        | OriginError::ConnectionTimeout
        | OriginError::DestinationUnavailable
        | OriginError::DestinationIpUnroutable
        | OriginError::DnsError
        | OriginError::ConnectionLimitReached => true,
        OriginError::ConnectionTerminated => method.is_idempotent(),
        _ => false,
    }
}
