//! Requests that go past the store: by configuration, or because of their method. What they change is invalidated.

use common::http::outgoing;
use common::http::response::{Fields, Response};

use super::{Local, NAME};
use crate::answer::CACHE_STATUS;
use crate::fetch::{self, Ask, Fetched};
use crate::policy::invalidate::{invalidates, is_safe};
use crate::policy::key::{Key, KeyHasher};
use crate::policy::outcome::{CacheStatus, Fwd, Outcome};
use crate::policy::target::TargetUri;
use crate::tier::{Answer, Facts, TierRequest};

impl Local {
    /// Forwards a request and passes the response on; `why` is `None` where there is no cache to speak of.
    pub(super) async fn pass(&self, request: TierRequest<'_>, why: Option<Fwd>) -> Answer {
        let status = why.map(|why| CacheStatus::new(NAME, Outcome::Fwd(why)));
        let mut answer = if is_safe(&request.head.method) || self.memory.is_none() {
            forward(request).await
        } else {
            self.change(request).await
        };
        answer.facts.outcome = status;
        if let (Ok(response), Some(status)) = (&mut answer.result, status) {
            response.fields.added.push_display(&CACHE_STATUS, status);
        }
        answer
    }

    /// Forwards a request that may change something, and invalidates what it changed.
    async fn change(&self, request: TierRequest<'_>) -> Answer {
        let TierRequest {
            head,
            body,
            route,
            hop,
            worker,
        } = request;
        let ask = Ask::new(head, &hop, route, worker);
        let (result, facts) = ask.send(ask.fetch.clone(), body).await;
        let facts = Facts {
            backend: Some(facts),
            origin: Some(route.backend.name().into()),
            ..Facts::default()
        };
        let result = result.map(|fetched| {
            self.invalidate(&ask, &fetched);
            Response {
                status: fetched.status,
                fields: fetch::passed_on(fetched.fields).into(),
                body: fetched.body,
            }
        });
        Answer { result, facts }
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
            memory.remove(hash, &key);
        }
    }
}

/// The short way for what changes nothing: no copy of the head is kept.
async fn forward(request: TierRequest<'_>) -> Answer {
    let TierRequest {
        mut head,
        body,
        route,
        hop,
        worker,
    } = request;
    let key = Key::new(fetch::target(&head, hop.tls), &head.headers, &route.rules.key);
    let spread = key.hash(&KeyHasher::fixed()).0;
    outgoing::prepare(&mut head, &hop);
    let outcome = route.backend.send(head, body, spread, &route.limits, worker).await;
    let facts = Facts {
        backend: Some(outcome.facts),
        origin: Some(route.backend.name().into()),
        ..Facts::default()
    };
    let result = outcome.result.map(|response| {
        let (head, body) = response.into_parts();
        Response {
            status: head.status,
            fields: Fields::from(fetch::passed_on(head.headers)),
            body,
        }
    });
    Answer { result, facts }
}
