//! The cache tier as one call: request in, response out. Whether it is a function or a server is one enum here.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use common::backend::settings::ExchangeLimits;
use common::backend::{self, Backend};
use common::http::body::Body;
use common::http::outgoing::{self, Hop};
use common::http::response::{Fields, Response};
use common::http1::client::ExchangeError;
use common::telemetry::metrics::Counter;
use common::worker::Worker;
use config::{CacheMode, CacheTier, WhenDown};
use http::request::Parts;

/// The cache tier of this process.
pub struct Tier {
    place: Place,
}

/// Where it is.
enum Place {
    /// Nowhere: requests pass to the origins.
    Nowhere,
    /// On cache servers.
    Servers { backend: Arc<Backend>, when_down: WhenDown },
}

/// A route as the tier needs it.
pub struct TierRoute {
    /// The origin.
    pub backend: Arc<Backend>,
    /// Limits of an exchange with it.
    pub limits: ExchangeLimits,
    /// Whether responses may be stored and reused.
    pub mode: CacheMode,
}

/// One request to the tier.
pub struct TierRequest<'a> {
    /// Its head; the Host field says which host it is for.
    pub head: Parts,
    /// Its content.
    pub body: Body,
    /// Where it belongs.
    pub route: &'a Arc<TierRoute>,
    /// What the next hop is told about its way so far.
    pub hop: Hop<'a>,
    /// The worker it is served on.
    pub worker: &'a Arc<Worker>,
}

/// What came of a request.
pub struct Answer {
    /// The response, or why there is none.
    pub result: Result<Response, ExchangeError>,
    /// What is to be recorded about it.
    pub facts: Facts,
}

/// What is recorded of the tier's part in an exchange.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The server that was asked, and what that took.
    pub backend: Option<backend::Facts>,
    /// The backend it belongs to.
    pub backend_name: Option<Arc<str>>,
    /// What the cache did (RFC 9211).
    pub outcome: Option<&'static str>,
    /// Time to look into the store.
    pub lookup: Option<Duration>,
}

/// An answer that is there at once (a hit: no allocation, no task, no await), or one that is coming.
pub enum Call<'a> {
    /// From store.
    Ready(Answer),
    /// From a server.
    Pending(Pin<Box<dyn Future<Output = Answer> + Send + 'a>>),
}

impl Tier {
    /// The tier that a configuration describes; `servers` is the backend of its cache servers, where it has some.
    pub fn new(settings: &CacheTier, servers: Option<Arc<Backend>>) -> Self {
        let place = match (settings, servers) {
            (CacheTier::Servers { when_down, .. }, Some(backend)) => Place::Servers {
                backend,
                when_down: *when_down,
            },
            _ => Place::Nowhere,
        };
        Self { place }
    }

    /// Answers one request. Dropping what is pending means that the client left.
    pub fn call<'a>(&'a self, request: TierRequest<'a>) -> Call<'a> {
        match &self.place {
            Place::Nowhere => Call::Pending(Box::pin(forward(request))),
            Place::Servers { .. } => Call::Pending(Box::pin(forward(request))),
        }
    }
}

async fn forward(mut request: TierRequest<'_>) -> Answer {
    outgoing::prepare(&mut request.head, &request.hop);
    let TierRequest {
        head,
        body,
        route,
        worker,
        ..
    } = request;
    let outcome = route.backend.send(head, body, 0, &route.limits, worker).await;
    let facts = Facts {
        backend: Some(outcome.facts),
        ..Facts::default()
    };
    let result = outcome.result.map(|response| {
        let (mut head, body) = response.into_parts();
        common::http::hop_by_hop::remove_from_response(&mut head.headers, common::http::hop_by_hop::Upgrade::Remove);
        Response {
            status: head.status,
            fields: Fields::from(head.headers),
            body,
        }
    });
    Answer { result, facts }
}

impl Facts {
    /// The counter of the outcome.
    pub fn counter(&self) -> Option<Counter> {
        None
    }
}
