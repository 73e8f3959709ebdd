//! Requests that go past the store: by configuration, or because of their method. What they change is invalidated.

use std::sync::Arc;

use common::http::hop_by_hop::Upgrade;
use common::http::outgoing;
use common::soon::Coming;

use super::ask::{facts, passed};
use super::lead::Lead;
use super::{Local, NAME, Why};
use http::Method;

use crate::affinity;
use crate::answer::CACHE_STATUS;
use crate::fetch::{self, Ask, Fetched};
use crate::policy::invalidate::{invalidates, is_safe};
use crate::policy::key::Key;
use crate::policy::outcome::{CacheStatus, Fwd, Outcome};
use crate::policy::target::TargetUri;
use crate::tier::{Answer, Facts, TierRequest};

impl Local {
    /// Forwards a request and passes the response on; `why` is `None` where there is no cache to speak of.
    pub(super) fn pass<'a>(self: &'a Arc<Self>, request: TierRequest<'a>, why: Option<Fwd>) -> Coming<'a, Answer> {
        match why {
            Some(why) if !is_safe(&request.head.method) => Box::pin(self.change(request, why)),
            why => Box::pin(forward(request, why)),
        }
    }

    /// Forwards a request that may change something, and invalidates what it changed. What answers a POST may be stored.
    async fn change(self: &Arc<Self>, request: TierRequest<'_>, why: Fwd) -> Answer {
        let TierRequest {
            head,
            body,
            route,
            hop,
            worker,
            ..
        } = request;
        let ask = Arc::new(Ask::new(head, &hop, route, worker));
        let began = self.latest_purge();
        let (result, backend) = ask.send(ask.fetch.clone(), body).await;
        let status = CacheStatus::new(NAME, Outcome::Fwd(why));
        let fetched = match result {
            Ok(fetched) => fetched,
            Err(error) => {
                return Answer {
                    result: Err(error),
                    facts: facts(status, &ask, backend),
                };
            }
        };
        self.invalidate(&ask, &fetched);
        match &self.memory {
            Some(memory) if ask.client.method == Method::POST && route.is_cached && hop.upgrade == Upgrade::Remove => {
                let hash = memory.hash(&ask.key());
                let lead = Lead {
                    began,
                    ..self.lead(ask, hash, None, Why::missing(why))
                };
                lead.receive(fetched, backend)
            }
            _ => passed(fetched, status, &ask, backend),
        }
    }

    fn invalidate(&self, ask: &Ask, fetched: &Fetched) {
        let Some(memory) = &self.memory else { return };
        let target = ask.target();
        for reference in invalidates(&ask.client.method, &target, fetched.status, &fetched.fields) {
            let (path, query) = reference
                .split_once('?')
                .map_or((&*reference, None), |(path, query)| (path, Some(query)));
            let key = Key::new(
                TargetUri { path, query, ..target },
                &ask.client.headers,
                &ask.rules().key,
            );
            let hash = memory.hash(&key);
            // First what is being fetched, so that it does not come back.
            self.invalidated.note(hash, ask.rules().key.slice > 0);
            memory.remove(hash, &key);
        }
    }
}

/// The short way for what changes nothing: no copy of the head is kept.
///
/// What can be done at once is done outside of the future, which is moved into a box and had better be small.
fn forward(request: TierRequest<'_>, why: Option<Fwd>) -> impl Future<Output = Answer> {
    let TierRequest {
        head,
        body,
        route,
        hop,
        worker,
        ..
    } = request;
    let spread = affinity::hash(&route.backend, &head, &hop, &route.rules.key, worker);
    let mut head = outgoing::prepare(head, &hop);
    route.backend.introduce(&mut head, &hop);
    let compression = route.compression.as_ref();
    let compression =
        compression.map(|compressor| (compressor, compressor.asked(&head.parts.method, &head.parts.headers)));
    async move {
        let outcome = route.backend.send(&mut head, body, spread, &route.limits, worker).await;
        let status = why.map(|why| CacheStatus::new(NAME, Outcome::Fwd(why)));
        let facts = Facts {
            backend: Some(Box::new(outcome.facts)),
            origin: Some(route.backend.shared_name()),
            outcome: status,
            ..Facts::default()
        };
        let result = outcome.result.map(|mut response| {
            if let Some((compressor, asked)) = compression {
                compressor.apply(asked, &mut response, worker);
            }
            if let Some(status) = status {
                fetch::pass_to_client(&mut response.fields, &route.rules);
                let added = &mut response.fields.added;
                added.push_written(&CACHE_STATUS, |text| status.write(text));
            }
            response
        });
        Answer { result, facts }
    }
}
