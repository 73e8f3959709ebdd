//! The origin has to be asked: one leader per key fetches, the others wait for what it finds.
//!
//! The leader runs on a task of its own, so that a client that leaves takes nothing away from those who wait. What comes
//! back is stored, freshens what is stored, or passes; what does not come back may be made up for by what is stale.

use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use common::backend;
use common::http::origin_error::OriginError;
use common::http::outgoing::Hop;
use common::http::response::Response;
use common::telemetry::metrics::Counter;
use common::time::{WallTime, mono_now};
use common::worker::Worker;
use http::{HeaderMap, Method, StatusCode};

use super::failed::LeaderFailed;
use super::lead::Lead;
use super::{Local, NAME, Selected, Why, now};
use crate::answer::{Asked, CACHE_STATUS, Made, answer};
use crate::collapse::{Boarding, Landing, Permit, ServerError};
use crate::fetch::{self, Ask, Fetched};
use crate::policy::key::{Key, KeyHash};
use crate::policy::outcome::{CacheStatus, Fwd, Outcome};
use crate::policy::request::RequestDigest;
use crate::policy::reuse::{Mark, Reuse, ValidateWhy, reuse};
use crate::policy::rules::WaitOver;
use crate::store::Stored;
use crate::tier::{Answer, Facts, TierRequest};

/// How often a request waits anew when the one it waited for ended without an answer.
pub(super) const ROUNDS_MAX: u32 = 3;

/// What becomes of a request that found nothing.
pub(super) enum Turn {
    /// It fetches; others wait for it.
    Lead(Permit),
    /// It has waited; this was found.
    Landed(Landing),
    /// It fetches for itself.
    Alone,
}

/// Whether what a leader found is for a waiter.
pub(super) enum Fit {
    /// It is.
    This,
    /// It is for others: another fetch of the key is for this request, and for all that are like it.
    Another(u64),
    /// It is for nobody else.
    Alone,
}

/// What a waiter makes of what the leader found.
#[expect(clippy::large_enum_variant, reason = "it is taken apart where it is made")]
enum Joined {
    /// Its answer.
    Answered(Answer),
    /// It is for others: another fetch of the key is for this request, and for all that are like it.
    Another(u64),
    /// It is for nobody else.
    Alone,
}

impl Local {
    /// Fetches, or waits for the one who does.
    ///
    /// A fetch that nobody may wait for is in a box: it is large, and rare.
    pub(super) async fn ask(self: &Arc<Self>, ask: Arc<Ask>, hash: KeyHash, why: Why) -> Answer {
        let is_alone = ask.client.method != Method::GET || is_partial_miss(&ask.client.headers, why.has_whole());
        if is_alone || self.is_not_shareable(hash) {
            return Box::pin(self.lead(ask, hash, None, why).run()).await;
        }
        let mut flight = self.flight_after(hash, hash, why.selected.as_ref().map(Selected::stored));
        for _ in 0..ROUNDS_MAX {
            match self.turn(&ask, flight).await {
                Turn::Lead(permit) => return detached(self.lead(ask, hash, Some(permit), why)).await,
                Turn::Landed(Landing::Stored(stored)) => match self.join(&ask, &stored, &why, hash) {
                    Joined::Answered(answer) => return answer,
                    Joined::Another(fetch) => flight = fetch,
                    Joined::Alone => break,
                },
                Turn::Landed(Landing::Failed(error)) => {
                    return self.failed_too(&ask, &why, LeaderFailed::Unreachable(error), hash);
                }
                Turn::Landed(Landing::ServerError(error)) => {
                    return self.failed_too(&ask, &why, LeaderFailed::Answered(error), hash);
                }
                Turn::Landed(_) | Turn::Alone => break,
            }
        }
        Box::pin(self.lead(ask, hash, None, why).run()).await
    }

    /// Waits for the one who makes this fetch, or becomes that one.
    pub(super) async fn turn(&self, ask: &Ask, flight: u64) -> Turn {
        let rules = &ask.rules().waiting;
        for _ in 0..ROUNDS_MAX {
            let waiter = match self.flights.board(flight, rules.waiters_max) {
                Boarding::Lead(permit) => return Turn::Lead(permit),
                Boarding::Alone => return given_up(ask, Counter::CacheWaitersMax),
                Boarding::Wait(waiter) => waiter,
            };
            match tokio::time::timeout(wait_max(ask), waiter.wait()).await {
                Ok(Landing::Abandoned | Landing::Pending) => {}
                Ok(landing) => return Turn::Landed(landing),
                Err(_) => return given_up(ask, Counter::CacheWaitTimeouts),
            }
        }
        Turn::Alone
    }

    /// Validates or fetches again in the background, unless somebody does already.
    pub(super) fn refresh(self: &Arc<Self>, request: &TierRequest<'_>, hash: KeyHash, selected: Selected) {
        if let Boarding::Lead(permit) = self.flights.board(
            self.flight_after(hash, hash, Some(selected.stored())),
            request.route.rules.waiting.waiters_max,
        ) {
            count_refresh(selected.stored(), request.worker);
            let mut head = request.head.clone();
            head.method = Method::GET;
            // The client has its answer already.
            let hop = Hop {
                desk: None,
                reached: None,
                ..request.hop.clone()
            };
            let ask = Arc::new(Ask::new(head, &hop, request.route, request.worker));
            let why = Why::selected(Fwd::Stale, selected);
            let lead = self.lead(ask, hash, Some(permit), why);
            drop(lead.spawn());
        }
    }

    /// The fetch of a key after the latest purge, and the latest invalidation of it: who asks after one does not join a fetch
    /// that began before it. `whole` is the key of the whole, where `hash` is a slice's.
    pub(super) fn flight(&self, hash: KeyHash, whole: KeyHash) -> u64 {
        // Odd numbers near 2^64 divided by the golden ratio: what came before spreads as keys do.
        hash.0
            .wrapping_add(self.latest_purge().wrapping_mul(0x9e37_79b9_7f4a_7c15))
            .wrapping_add(self.invalidated.of_fetches(whole).wrapping_mul(0xc2b2_ae3d_27d4_eb4f))
    }

    /// The fetch that follows on what is stored: of those who find it stale one asks. It may be stored while its successor is
    /// fetched already, where its content came more slowly than it aged.
    pub(super) fn flight_after(&self, hash: KeyHash, whole: KeyHash, stored: Option<&Arc<Stored>>) -> u64 {
        let after = stored.map_or(0, |stored| number_of(stored.meta.response_time));
        self.flight(hash, whole).wrapping_add(after)
    }

    /// Whether a response for this key was not for sharing a moment ago ("hit-for-miss").
    pub(super) fn is_not_shareable(&self, hash: KeyHash) -> bool {
        self.not_shareable.has(hash, mono_now)
    }

    /// Whether somebody fetches it now.
    pub(super) fn is_under_way(&self, hash: KeyHash, selected: Option<&Arc<Stored>>) -> bool {
        self.flights.is_under_way(self.flight_after(hash, hash, selected))
    }

    /// The number of the latest purge.
    pub(super) fn latest_purge(&self) -> u64 {
        self.memory.as_ref().map_or(0, |memory| memory.purges().latest())
    }

    pub(super) fn lead(self: &Arc<Self>, ask: Arc<Ask>, hash: KeyHash, permit: Option<Permit>, why: Why) -> Lead {
        Lead {
            began: self.latest_purge(),
            invalidation: self.invalidated.latest(),
            local: Arc::clone(self),
            ask,
            hash,
            whole: hash,
            permit,
            why,
            is_unconditional: false,
        }
    }

    /// Whether what the leader found is for a waiter; `key` is what both ask for.
    pub(super) fn fit(&self, ask: &Ask, key: &Key<'_>, (hash, whole): (KeyHash, KeyHash), stored: &Arc<Stored>) -> Fit {
        let (meta, rules, request) = (&stored.meta, ask.rules(), &ask.client.headers);
        if !key.is(&stored.key) {
            return Fit::Alone;
        }
        if !meta.vary.matches(&meta.vary_key, request, &rules.vary) {
            let variant = meta.vary.key(request, &stored.fields.to_map(), &rules.vary);
            return Fit::Another(self.flight(hash, whole).wrapping_add(number_of(variant)));
        }
        let digest = RequestDigest::of(&ask.client.method, request);
        match reuse(meta, stored.mark(), &digest, rules, now(&ask.worker)) {
            Reuse::Fresh { .. } => Fit::This,
            // Its content comes more slowly than it ages: all who come now wait for one more fetch.
            Reuse::Stale { .. } | Reuse::Validate(ValidateWhy::Stale) if !meta.was_born_stale() => {
                Fit::Another(self.flight_after(hash, whole, Some(stored)))
            }
            Reuse::Stale { .. } | Reuse::Validate(_) | Reuse::OnlyIfCached => Fit::Alone,
        }
    }

    /// What the leader found, for a waiter: an answer where it fits the request.
    fn join(&self, ask: &Ask, stored: &Arc<Stored>, why: &Why, hash: KeyHash) -> Joined {
        match self.fit(ask, &ask.key(), (hash, hash), stored) {
            Fit::This => {}
            Fit::Another(flight) => return Joined::Another(flight),
            Fit::Alone => return Joined::Alone,
        }
        let now = now(&ask.worker);
        let status = CacheStatus {
            ttl: Some(stored.meta.ttl(now)),
            collapsed: true,
            stored: true,
            ..CacheStatus::new(NAME, Outcome::Fwd(why.fwd))
        };
        match made(ask, stored, hash, true, status, now) {
            Made::Response(response) => Joined::Answered(done(response, status, ask, backend::Facts::default())),
            Made::AskOrigin | Made::Unreadable => Joined::Alone,
        }
    }
}

/// A number that stands for a value.
fn number_of(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Runs the fetch on a task of its own and waits for its answer; the fetch goes on when nobody waits any more.
async fn detached(lead: Lead) -> Answer {
    let outcome = CacheStatus::new(NAME, Outcome::Fwd(lead.why.fwd));
    match lead.spawn().await {
        Ok(answer) => answer,
        Err(_) => {
            let facts = Facts {
                outcome: Some(outcome),
                ..Facts::default()
            };
            Answer {
                result: Err(OriginError::ProxyInternalError.into()),
                facts,
            }
        }
    }
}

/// Whether a range is asked of something that is not stored whole: then only that range is fetched.
pub(super) fn is_partial_miss(request: &HeaderMap, has_whole: bool) -> bool {
    !has_whole && request.contains_key(http::header::RANGE)
}

/// Counts that a stored response is refreshed in the background, by cause.
pub(super) fn count_refresh(stored: &Stored, worker: &Worker) {
    let is_ahead = stored.mark() == Mark::Unmarked && stored.meta.ttl(now(worker)) > 0;
    worker.metrics.count(match is_ahead {
        true => Counter::CacheRefreshAhead,
        false => Counter::CacheRefreshStale,
    });
}

/// What becomes of a request that is not to wait for another one's fetch, or no longer.
fn given_up(ask: &Ask, limit: Counter) -> Turn {
    ask.worker.metrics.count(limit);
    match ask.rules().waiting.over {
        WaitOver::Fetch => Turn::Alone,
        WaitOver::Error => Turn::Landed(Landing::ServerError(ServerError {
            status: StatusCode::SERVICE_UNAVAILABLE,
            retry_after: None,
        })),
    }
}

fn wait_max(ask: &Ask) -> Duration {
    let limits = &ask.route.limits;
    ask.rules()
        .waiting
        .timeout
        .unwrap_or_else(|| limits.connect_timeout + limits.response_timeout)
}

/// What a stored response gives for the request that asked for it; `is_current` as in [`answer`].
pub(super) fn made(
    ask: &Ask,
    stored: &Stored,
    hash: KeyHash,
    is_current: bool,
    status: CacheStatus<'static>,
    now: WallTime,
) -> Made {
    let client = &ask.client;
    let asked = Asked {
        fields: &client.headers,
        digest: &RequestDigest::of(&client.method, &client.headers),
        rules: ask.rules(),
        now,
        token: hash.0,
    };
    answer(stored, &asked, stored.meta.current_age(now), is_current, status)
}

pub(super) fn facts(status: CacheStatus<'static>, ask: &Ask, backend: backend::Facts) -> Facts {
    let asked = backend.attempts > 0;
    Facts {
        backend: asked.then(|| Box::new(backend)),
        origin: Some(ask.route.backend.shared_name()),
        outcome: Some(status),
        lookup: None,
    }
}

pub(super) fn done(response: Response, status: CacheStatus<'static>, ask: &Ask, backend: backend::Facts) -> Answer {
    Answer {
        result: Ok(response),
        facts: facts(status, ask, backend),
    }
}

pub(super) fn passed(fetched: Fetched, status: CacheStatus<'static>, ask: &Ask, backend: backend::Facts) -> Answer {
    let mut fields = fetched.fields.into();
    fetch::pass_to_client(&mut fields, ask.rules());
    let mut response = Response {
        status: fetched.status,
        fields,
        body: fetched.body,
    };
    let added = &mut response.fields.added;
    added.push_written(&CACHE_STATUS, |text| status.write(text));
    done(response, status, ask, backend)
}
