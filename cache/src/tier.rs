//! The cache tier as one call: request in, response out. Whether it is a function or a server is one enum here.

use std::sync::Arc;
use std::time::Duration;

use common::backend::settings::ExchangeLimits;
use common::backend::{self, Backend, Told};
use common::http::body::Body;
use common::http::head::Head;
use common::http::outgoing::Hop;
use common::http::request::Notable;
use common::http::response::Response;
use common::http::upgrade::Protocol;
use common::http1::client::ExchangeError;
use common::soon::Soon;
use common::telemetry::metrics::Counter;
use common::time::MonoTime;
use common::worker::Worker;
use config::CacheTier;

pub use crate::compress::Compressor;
use crate::explain::{Explanation, Question};
use crate::fetch;
use crate::policy::outcome::{CacheStatus, Fwd, Outcome};
use crate::policy::rules::{KeyRules, Rules};
use crate::policy::target::TargetUri;
use crate::purge::{self, Strength};
use crate::remote::Remote;
pub use crate::serve::Local;

/// The cache tier of this process.
pub struct Tier {
    place: Place,
}

/// Where it is.
enum Place {
    /// In this process.
    Local(Arc<Local>),
    /// On cache servers.
    Remote(Remote),
}

/// A route as the tier needs it.
pub struct TierRoute {
    /// The origin.
    pub backend: Arc<Backend>,
    /// Limits of an exchange with it.
    pub limits: ExchangeLimits,
    /// Whether responses may be stored and reused at all.
    pub is_cached: bool,
    /// By which rules.
    pub rules: Rules,
    /// Protocols that clients may change to.
    pub upgrades: Vec<Protocol>,
    /// What compresses its responses, where that is wanted.
    pub compression: Option<Compressor>,
}

/// One request to the tier.
pub struct TierRequest<'a> {
    /// Its head; the Host field says which host it is for.
    pub head: Box<Head>,
    /// Its content.
    pub body: Body,
    /// Which of its fields need a look.
    pub notable: Notable,
    /// Where it belongs.
    pub route: &'a Arc<TierRoute>,
    /// What the next hop is told about its way so far.
    pub hop: Hop<'a>,
    /// When it came to the tier.
    pub now: MonoTime,
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

/// A response that no tier was asked for.
impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        Self {
            result: Ok(response),
            facts: Facts::default(),
        }
    }
}

/// What is recorded of the tier's part in an exchange.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The server that was asked, and what that took.
    pub backend: Option<Box<backend::Facts>>,
    /// The route's origin.
    pub origin: Option<Arc<str>>,
    /// What the cache did; `None` where there is no cache in this process.
    pub outcome: Option<CacheStatus<'static>>,
    /// Time until it was known that there is something in the store, or not; measured where there is an access log.
    pub lookup: Option<Duration>,
}

/// What a purge did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purged {
    /// Its number in the sequence of purges.
    pub number: u64,
    /// Stored responses that it matched, where they were counted, or that is known at once: of a URL whose key has nothing
    /// else in it.
    pub matched: Option<u64>,
}

/// Where a purge was done.
#[derive(Clone, Debug)]
pub enum PurgedAt {
    /// In this process.
    Here(Purged),
    /// On the cache servers, as each of them says.
    Servers(Vec<Told>),
    /// Nothing is stored.
    Nowhere,
}

impl Tier {
    /// The tier that a configuration describes; `servers` is the backend of its cache servers, where it has some.
    pub fn new(settings: &CacheTier, servers: Option<Arc<Backend>>) -> Self {
        let place = match (settings, servers) {
            (CacheTier::Servers { when_down, .. }, Some(servers)) => Place::Remote(Remote::new(servers, *when_down)),
            (CacheTier::Memory { bytes, .. }, _) => Place::Local(Local::new(*bytes)),
            (CacheTier::None | CacheTier::Servers { .. }, _) => Place::Local(Local::storing_nothing()),
        };
        Self { place }
    }

    /// Answers one request. Dropping what is pending means that the client left.
    pub fn call<'a>(&'a self, request: TierRequest<'a>) -> Soon<'a, Answer> {
        match &self.place {
            Place::Local(local) => local.call(request),
            Place::Remote(remote) => Soon::coming(remote.forward(request)),
        }
    }

    /// What would become of a request for this route, without touching anything.
    pub fn explain(&self, question: &Question<'_>, route: &TierRoute) -> Explanation {
        match &self.place {
            Place::Local(local) => local.explain(question, route),
            Place::Remote(remote) => remote.explain(question, route),
        }
    }

    /// Takes something out of the store; `None` where there is no store in this process. `counts`: what it matches is
    /// counted, which goes through the whole store (some 0.2 s per million): for a thread that may be kept waiting.
    pub fn purge(&self, target: &purge::Target, strength: Strength, counts: bool) -> Option<Purged> {
        Some(self.local()?.memory()?.purge(target, strength, counts))
    }

    /// Takes one URL out of the store, all its variants; `rules` are those of its route, `counts` as for [`Self::purge`].
    pub fn purge_url(
        &self,
        target: TargetUri<'_>,
        rules: &KeyRules,
        strength: Strength,
        counts: bool,
    ) -> Option<Purged> {
        Some(self.local()?.memory()?.purge_url(target, rules, strength, counts))
    }

    /// Takes the URL of a request out of every store of the tier.
    pub async fn purge_request(&self, request: TierRequest<'_>, strength: Strength) -> PurgedAt {
        match &self.place {
            Place::Remote(remote) => PurgedAt::Servers(remote.purge(request).await),
            Place::Local(_) => {
                let purged = self.purge_url(request.target(), &request.route.rules.key, strength, false);
                purged.map_or(PurgedAt::Nowhere, PurgedAt::Here)
            }
        }
    }

    /// The store in this process, where there is one.
    pub fn local(&self) -> Option<&Local> {
        match &self.place {
            Place::Local(local) => Some(local),
            Place::Remote(_) => None,
        }
    }
}

impl TierRequest<'_> {
    /// The target URI.
    pub fn target(&self) -> TargetUri<'_> {
        fetch::target(&self.head, self.hop.tls)
    }
}

impl Facts {
    /// The counter of the outcome.
    pub fn counter(&self) -> Option<Counter> {
        Some(match self.outcome.as_ref()?.outcome {
            Outcome::Hit => Counter::CacheHit,
            Outcome::Fwd(Fwd::Bypass) => Counter::CacheBypass,
            Outcome::Fwd(Fwd::Method) => Counter::CacheMethod,
            Outcome::Fwd(Fwd::UriMiss | Fwd::Miss) => Counter::CacheUriMiss,
            Outcome::Fwd(Fwd::VaryMiss) => Counter::CacheVaryMiss,
            Outcome::Fwd(Fwd::Request) => Counter::CacheRequest,
            Outcome::Fwd(Fwd::Stale) => Counter::CacheStale,
            Outcome::Fwd(Fwd::Partial) => Counter::CachePartial,
        })
    }
}
