//! The cache tier on cache servers: a request goes to the one that owns its key, and to the origin when none answers.

use std::sync::Arc;

use common::backend::Backend;
use common::http::origin_error::OriginError;
use common::http::outgoing;
use common::http::body::Body;
use common::http::response::{Fields, Response};
use common::http1::client::ExchangeError;
use common::telemetry::metrics::Counter;
use config::WhenDown;
use http::Method;
use http::request::Parts;

use crate::fetch;
use crate::policy::key::{Key, KeyHasher};
use crate::tier::{Answer, Facts, TierRequest};

/// The cache servers.
pub(crate) struct Remote {
    servers: Arc<Backend>,
    when_down: WhenDown,
    hasher: KeyHasher,
}

impl Remote {
    /// These servers.
    pub(crate) fn new(servers: Arc<Backend>, when_down: WhenDown) -> Self {
        // The same in every front, so that all of them agree on who owns a key.
        Self { servers, when_down, hasher: KeyHasher::fixed() }
    }

    /// Sends a request to the cache server that owns its key.
    pub(crate) async fn forward(&self, request: TierRequest<'_>) -> Answer {
        let TierRequest { mut head, body, route, hop, worker } = request;
        let key = Key::new(fetch::target(&head, hop.tls), &head.headers, &route.rules.key).hash(&self.hasher);
        outgoing::prepare(&mut head, &hop);
        let again = self.may_fall_back(&head, body.is_empty()).then(|| head.clone());
        let mut outcome = self.servers.send(head, body, key.0, &route.limits, worker).await;
        let mut origin = self.servers.name();
        let down = match outcome.result {
            Err(ExchangeError::Origin(error)) if is_down(error) => Some(error),
            _ => None,
        };
        if let (Some(error), Some(head)) = (down, again) {
            worker.metrics.count(Counter::TierFallback);
            tracing::warn!(error.kind = error.word(), "no cache server answers, asking the origin");
            outcome = route.backend.send(head, Body::Empty, key.0, &route.limits, worker).await;
            origin = route.backend.name();
        }
        let facts = Facts { backend: Some(outcome.facts), origin: Some(origin.into()), ..Facts::default() };
        let result = outcome.result.map(|response| {
            let (head, body) = response.into_parts();
            Response { status: head.status, fields: Fields::from(fetch::passed_on(head.headers)), body }
        });
        Answer { result, facts }
    }

    /// Whether a request that no cache server took may be sent to the origin: by configuration, and when it can be sent
    /// twice.
    fn may_fall_back(&self, head: &Parts, is_bodiless: bool) -> bool {
        self.when_down == WhenDown::Origin && is_bodiless && matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS)
    }
}

/// Whether an error says that the servers cannot be reached, rather than that one of them was slow or broke off.
const fn is_down(error: OriginError) -> bool {
    matches!(
        error,
        OriginError::ConnectionRefused
            | OriginError::ConnectionTimeout
            | OriginError::ConnectionTerminated
            | OriginError::DestinationUnavailable
            | OriginError::DestinationIpUnroutable
            | OriginError::DnsError
            | OriginError::ConnectionLimitReached
    )
}

