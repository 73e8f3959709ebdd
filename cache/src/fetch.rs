//! What is asked of the origin, and what came back.

use std::sync::{Arc, LazyLock};

use common::backend;
use common::http::body::Body;
use common::http::head::Head;
use common::http::known::Known;
use common::http::outgoing::{self, Hop, OutgoingHead};
use common::http::response::Fields;
use common::http1::client::ExchangeError;
use common::worker::Worker;
use http::header::{IF_RANGE, RETRY_AFTER};
use http::{HeaderMap, Method, StatusCode};

use crate::affinity;
use crate::collapse::ServerError;
use crate::policy::age::Times;
use crate::policy::content_range::{ByteRange, PartialInvalid};
use crate::policy::held;
use crate::policy::key::Key;
use crate::policy::not_stored::NotStored;
use crate::policy::range::RangeSet;
use crate::policy::request::{RequestDigest, make_unconditional};
use crate::policy::rules::{KeyRules, Rules};
use crate::policy::slice;
use crate::policy::store::{self, Storable};
use crate::policy::target::TargetUri;
use crate::tier::{TierRequest, TierRoute};

/// A client's request, kept while the origin is asked on its behalf: it outlives the client.
pub(crate) struct Ask {
    /// Where it belongs.
    pub(crate) route: Arc<TierRoute>,
    /// The worker it runs on.
    pub(crate) worker: Arc<Worker>,
    /// The head as the client sent it.
    pub(crate) client: Box<Head>,
    /// The head as the origin is sent it.
    pub(crate) fetch: OutgoingHead,
    /// Whether the client's connection is encrypted.
    pub(crate) tls: bool,
    /// The number of the slice that is asked for; `None`: the whole, or what the client asks for.
    pub(crate) slice: Option<u64>,
    /// The hash that picks the origin's server, where one does.
    spread: u64,
}

/// A response of the origin's, its head before hop-by-hop fields are removed.
pub(crate) struct Fetched {
    /// The status.
    pub(crate) status: StatusCode,
    /// The fields as they came.
    pub(crate) fields: HeaderMap,
    /// The content.
    pub(crate) body: Body,
    /// When it was asked for and when it came.
    pub(crate) times: Times,
}

impl Fetched {
    /// What is shared of an error that is not stored.
    pub(crate) fn server_error(&self) -> ServerError {
        ServerError {
            status: self.status,
            retry_after: self.fields.get(RETRY_AFTER).cloned(),
        }
    }
}

impl Ask {
    /// A request that is about to be forwarded.
    pub(crate) fn new(client: Box<Head>, hop: &Hop<'_>, route: &Arc<TierRoute>, worker: &Arc<Worker>) -> Self {
        let spread = affinity::hash(&route.backend, &client, hop, &route.rules.key, worker);
        let mut fetch = outgoing::prepare(client.clone(), hop);
        route.backend.introduce(&mut fetch, hop);
        fetch.parts.headers.make_map();
        Self {
            route: Arc::clone(route),
            worker: Arc::clone(worker),
            client,
            fetch,
            tls: hop.tls,
            slice: None,
            spread,
        }
    }

    /// The same for a request whose content, where it has any, goes nowhere.
    pub(crate) fn of(request: TierRequest<'_>) -> Self {
        let TierRequest {
            head,
            route,
            hop,
            worker,
            ..
        } = request;
        Self::new(head, &hop, route, worker)
    }

    /// The same request for one slice, without the client's ranges and conditions, which are applied to what comes.
    pub(crate) fn for_slice(&self, number: u64) -> Self {
        let (mut client, mut fetch) = (self.client.clone(), self.fetch.clone());
        for head in [&mut client, &mut fetch.parts] {
            head.method = Method::GET;
            make_unconditional(&mut head.headers);
        }
        Self {
            route: Arc::clone(&self.route),
            worker: Arc::clone(&self.worker),
            client,
            fetch,
            tls: self.tls,
            slice: Some(number),
            // Slices of one whole stay together.
            spread: self.spread,
        }
    }

    /// The bytes that are asked for, where that is a slice.
    pub(crate) fn slice_range(&self) -> Option<ByteRange> {
        slice::slice_range(self.slice?, self.rules().key.slice)
    }

    /// Sends a request with this head and content.
    pub(crate) async fn send(
        &self,
        mut head: OutgoingHead,
        body: Body,
    ) -> (Result<Fetched, ExchangeError>, backend::Facts) {
        let compression = self.route.compression.as_ref();
        let compression =
            compression.map(|compressor| (compressor, compressor.asked(&head.parts.method, &self.client.headers)));
        let backend = &self.route.backend;
        let outcome = backend
            .send(&mut head, body, self.spread, &self.route.limits, &self.worker)
            .await;
        let took = outcome.facts.first_byte.unwrap_or_default();
        let times = Times::of(self.worker.clock.wall(), took);
        let fetched = outcome.result.map(|mut response| {
            if let Some((compressor, asked)) = compression {
                compressor.apply(asked, &mut response, &self.worker);
            }
            Fetched {
                status: response.status,
                fields: response.fields.into_map(),
                body: response.body,
                times,
            }
        });
        (fetched, outcome.facts)
    }

    /// The route's rules.
    pub(crate) fn rules(&self) -> &Rules {
        &self.route.rules
    }

    /// The target URI.
    pub(crate) fn target(&self) -> TargetUri<'_> {
        target(&self.client, self.tls)
    }

    /// The cache key.
    pub(crate) fn key(&self) -> Key<'_> {
        let key = self.key_of_whole();
        match self.slice {
            Some(number) => key.of_slice(number),
            None => key,
        }
    }

    fn key_of_whole(&self) -> Key<'_> {
        key(&self.client, self.tls, &self.rules().key)
    }

    /// Whether what came may be stored; `method` is the one it may be reused for.
    ///
    /// # Errors
    /// Why it may not.
    pub(crate) fn storable(&self, method: &Method, fetched: &Fetched) -> Result<Storable, NotStored> {
        if fetched
            .body
            .len()
            .is_some_and(|length| length > self.rules().stored_response_max)
        {
            return Err(NotStored::TooLarge);
        }
        let mut storable = match fetched.status {
            StatusCode::PARTIAL_CONTENT if self.slice.is_none() => self.storable_part(method, fetched)?,
            _ => store::storable(&self.exchange(method, fetched), self.rules())?,
        };
        if let (Some(partial), Some(length)) = (&mut storable.meta.partial, fetched.body.len()) {
            **partial = partial.received(length).map_err(NotStored::Partial)?;
        }
        Ok(storable)
    }

    /// The same for a part that came for a client's Range.
    fn storable_part(&self, method: &Method, fetched: &Fetched) -> Result<Storable, NotStored> {
        let rules = self.rules();
        // On a route with slices, these are what is stored.
        if !rules.ranges.store_partial || rules.key.slice > 0 {
            return Err(NotStored::PartialOff);
        }
        // "the sender SHOULD NOT generate other representation header fields beyond those required" (RFC 9110 §15.3.7) in
        // answer to If-Range: for others they would be missing.
        if self.client.headers.contains_key(IF_RANGE) {
            return Err(NotStored::RequestSpecific);
        }
        let storable = store::storable(&self.exchange(method, fetched), rules)?;
        let asked = RequestDigest::of(method, &self.client.headers).range;
        let asked = asked.and_then(|range| RangeSet::parse(range, &rules.ranges).ok());
        match (storable.meta.part(), asked) {
            (Some(got), Some(asked)) if held::is_asked_for(got, &asked) => Ok(storable),
            _ => Err(NotStored::Partial(PartialInvalid::WrongRange)),
        }
    }

    /// The exchange as the policy looks at it.
    pub(crate) fn exchange<'a>(&'a self, method: &'a Method, fetched: &'a Fetched) -> store::Exchange<'a> {
        store::Exchange {
            method,
            target: self.target(),
            request: &self.client.headers,
            status: fetched.status,
            response: &fetched.fields,
            times: fetched.times,
        }
    }
}

/// Takes out of a response that goes on to the client that caused the fetch what the operator keeps to himself.
pub(crate) fn pass_to_client(fields: &mut Fields, rules: &Rules) {
    if rules.tags.hidden {
        fields.remove_all(&rules.tags.fields);
    }
}

/// The cache key of a request. Its fields are looked into only where the rules make them a part of it.
pub(crate) fn key<'a>(head: &'a Head, tls: bool, rules: &'a KeyRules) -> Key<'a> {
    static NONE: LazyLock<HeaderMap> = LazyLock::new(HeaderMap::new);
    let fields = if rules.fields.is_empty() && rules.cookies.is_empty() {
        &NONE
    } else {
        &*head.headers
    };
    Key::new(target(head, tls), fields, rules)
}

/// The target URI of a request whose Host field says which host it is for.
pub(crate) fn target(head: &Head, tls: bool) -> TargetUri<'_> {
    TargetUri {
        scheme: if tls { "https" } else { "http" },
        authority: head
            .headers
            .first(Known::HOST)
            .and_then(|host| std::str::from_utf8(host).ok())
            .unwrap_or_default(),
        path: head.uri.path(),
        query: head.uri.query(),
    }
}
