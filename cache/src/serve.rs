//! Conducts one request to the store in this process: key → lookup → (fresh | stale | wait | ask) → fetch → store → answer.
//!
//! All branching between the steps is here and in `serve/ask.rs` (what happens when the origin has to be asked); the steps
//! never call each other. A hit returns without a task, an await or a lock that another worker holds for long.

pub(crate) mod decide; // what a request comes to: one decision for serving and for explain
mod ask; // the origin has to be asked: who fetches, who waits
mod lead; // one leader's fetch
mod failed; // the fetch came to nothing: something stale, or the error
mod validated; // what is stored still holds: freshened
mod part; // a stored part: completed, joined with others
mod sliced; // a request that is answered by joining slices
mod slice; // one slice: stored, or fetched by whoever leads
mod slice_lead; // one leader's fetch of a slice
mod joined; // slices → one body
mod explain; // what would become of a request, without doing it
mod explain_slices; // the same where slices answer
mod pass; // requests that go past the store
#[cfg(test)]
mod simulation; // random interleavings of everything

use std::sync::Arc;
use std::time::Duration;

use common::http::body::Body;
use common::http::hop_by_hop::Upgrade;
use common::http::request::Notable;
use common::http::response::Response;
use common::soon::Soon;
use common::time::WallTime;
use common::worker::Worker;
use http::StatusCode;

use crate::answer::{Asked, CACHE_STATUS, Made, answer};
use crate::collapse::Flights;
use crate::fetch::{self, Ask};
use crate::fill::Budget;
use crate::invalidated::Invalidated;
use crate::policy::key::{Key, KeyHash};
use crate::policy::meta::StoredMeta;
use crate::policy::outcome::{CacheStatus, Fwd, Outcome};
use crate::policy::request::RequestDigest;
use crate::policy::reuse::StaleWhy;
use crate::remembered::Remembered;
use crate::store::memory::Memory;
use crate::store::{Entry, Stored};
use crate::tally::Tally;
use crate::tier::{Answer, Facts, TierRequest};
use decide::{Decision, Past, decide, past};

/// Our name in Cache-Status.
const NAME: &str = common::http::via::PSEUDONYM;
/// How long it is remembered that a key's responses are not for sharing, so that nobody waits for them.
const NOT_SHAREABLE: Duration = Duration::from_secs(10);
/// How long it is remembered that the origin gives no slices of a key, so that it is not asked for them each time.
const NOT_SLICEABLE: Duration = Duration::from_secs(60);

/// The cache tier in this process.
pub struct Local {
    /// `None`: nothing is ever stored.
    memory: Option<Memory>,
    flights: Arc<Flights>,
    budget: Budget,
    /// Keys whose responses were not for sharing a moment ago ("hit-for-miss").
    not_shareable: Remembered,
    /// Responses that were not stored, by reason.
    not_stored: Tally,
    /// Stale responses that were served, by reason.
    stale: Tally,
    /// Responses that contradict what was asked of the origin, by reason.
    refused: Tally,
    /// What unsafe requests have invalidated.
    invalidated: Invalidated,
    /// Keys whose origin gave no slices a while ago.
    not_sliceable: Remembered,
}

/// What the store knows about a request.
enum Found {
    /// The answer, and whether what it came from is refreshed in the background.
    Answer(Answer, Option<Selected>),
    /// The origin has to be asked.
    Ask(Why),
}

/// Why the origin has to be asked.
#[derive(Clone)]
struct Why {
    fwd: Fwd,
    /// What is stored and may be validated.
    selected: Option<Selected>,
    /// What is stored for other requests: the origin may say that one of them answers this one.
    variants: Option<Entry>,
}

impl Why {
    /// Nothing that is stored is of use.
    const fn missing(fwd: Fwd) -> Self {
        Self {
            fwd,
            selected: None,
            variants: None,
        }
    }

    /// These are stored, all of them for other requests.
    const fn other_variants(entry: Entry) -> Self {
        Self {
            fwd: Fwd::VaryMiss,
            selected: None,
            variants: Some(entry),
        }
    }

    /// This may be used once the origin has been asked.
    const fn selected(fwd: Fwd, selected: Selected) -> Self {
        Self {
            fwd,
            selected: Some(selected),
            variants: None,
        }
    }

    /// Whether what is stored is the whole.
    fn has_whole(&self) -> bool {
        let stored = self.selected.as_ref().map(Selected::stored);
        stored.is_some_and(|stored| stored.meta.partial.is_none())
    }

    /// Whether nothing is stored whole that could answer: then the origin may be asked for slices.
    fn is_open(&self) -> bool {
        let stored = self.selected.as_ref().map(Selected::stored);
        stored.is_none_or(|stored| stored.meta.status != StatusCode::OK)
    }
}

/// One of the stored responses of a key: the one that fits the request.
#[derive(Clone)]
struct Selected {
    entry: Entry,
    index: usize,
}

impl Selected {
    fn of(entry: Option<Entry>, index: usize) -> Self {
        let entry = entry.expect("invariant: an index is of what is stored");
        Self { entry, index }
    }

    fn stored(&self) -> &Arc<Stored> {
        &self.entry.variants()[self.index]
    }

    /// The other variants.
    fn others(&self) -> impl Iterator<Item = &Arc<Stored>> {
        let variants = self.entry.variants().iter().enumerate();
        variants
            .filter(|(index, _)| *index != self.index)
            .map(|(_, stored)| stored)
    }
}

impl Local {
    /// A store with room for `bytes` bytes.
    pub fn new(bytes: u64) -> Arc<Self> {
        // Fills hold what is not in the store yet: a quarter of its size at the most.
        Arc::new(Self {
            memory: Some(Memory::new(bytes)),
            ..Self::without_store(bytes / 4)
        })
    }

    /// A tier that passes everything.
    pub fn storing_nothing() -> Arc<Self> {
        Arc::new(Self::without_store(0))
    }

    fn without_store(fills_max: u64) -> Self {
        Self {
            memory: None,
            flights: Flights::new(),
            budget: Budget::new(fills_max),
            not_shareable: Remembered::new(NOT_SHAREABLE),
            not_stored: Tally::default(),
            stale: Tally::default(),
            refused: Tally::default(),
            invalidated: Invalidated::default(),
            not_sliceable: Remembered::new(NOT_SLICEABLE),
        }
    }

    /// The store.
    pub fn memory(&self) -> Option<&Memory> {
        self.memory.as_ref()
    }

    /// Requests that wait for another one's fetch now.
    pub fn waiting(&self) -> usize {
        self.flights.waiting()
    }

    /// Responses that were not stored, by reason.
    pub const fn not_stored(&self) -> &Tally {
        &self.not_stored
    }

    /// Stale responses that were served, by reason.
    pub const fn stale(&self) -> &Tally {
        &self.stale
    }

    /// Responses that contradict what was asked of the origin, by reason.
    pub const fn refused(&self) -> &Tally {
        &self.refused
    }

    /// Answers one request.
    pub fn call<'a>(self: &'a Arc<Self>, mut request: TierRequest<'a>) -> Soon<'a, Answer> {
        if let Some(compressor) = &request.route.compression {
            compressor.settle(&mut request.head.headers);
        }
        if !request.route.rules.cache_status_key {
            return self.serve(request);
        }
        let TierRequest { head, route, hop, .. } = &request;
        let key = fetch::key(head, hop.tls, &route.rules.key).to_string();
        self.serve(request).map(move |answer| telling(answer, &key))
    }

    fn serve<'a>(self: &'a Arc<Self>, request: TierRequest<'a>) -> Soon<'a, Answer> {
        let TierRequest {
            head,
            route,
            hop,
            worker,
            notable,
            ..
        } = &request;
        // What a tunnel carries is nothing to store either.
        let has_content = !request.body.is_empty() || hop.upgrade == Upgrade::Keep;
        let memory = match (past(self.memory.is_some(), route, head, has_content), &self.memory) {
            (None, Some(memory)) => memory,
            (why, _) => return Soon::Coming(self.pass(request, why.and_then(Past::fwd))),
        };
        let key = fetch::key(head, hop.tls, &route.rules.key);
        let hash = memory.hash(&key);
        let digest = if notable.any(Notable::CACHING) {
            RequestDigest::of(&head.method, &head.headers)
        } else {
            RequestDigest::plain(&head.method)
        };
        let sliced = route.rules.key.slice > 0 && self.may_slice(hash, &digest, &route.rules);
        let found = self.look_up(memory, (hash, &key), &request, &digest, sliced);
        // A clock reading is worth it only where somebody reads what it tells.
        let is_told = worker.access_log.is_enabled();
        let lookup = is_told.then(|| worker.clock.mono().saturating_duration_since(request.now));
        match found {
            Found::Answer(mut answer, refreshed) => {
                if let Some(selected) = refreshed {
                    self.refresh(&request, hash, selected);
                }
                answer.facts.lookup = lookup;
                Soon::Ready(answer)
            }
            Found::Ask(why) if sliced && why.is_open() => Soon::coming(self.by_slices(request, hash)),
            Found::Ask(why) => {
                // Outside of the future, which is moved into a box and had better be small.
                let ask = Arc::new(Ask::of(request));
                Soon::coming(async move {
                    let mut answer = self.ask(ask, hash, why).await;
                    answer.facts.lookup = lookup;
                    answer
                })
            }
        }
    }

    fn look_up(
        &self,
        memory: &Memory,
        (hash, key): (KeyHash, &Key<'_>),
        request: &TierRequest<'_>,
        digest: &RequestDigest<'_>,
        sliced: bool,
    ) -> Found {
        let TierRequest {
            head,
            route,
            now,
            worker,
            ..
        } = request;
        let rules = &route.rules;
        let now = worker.wall_at(*now);
        let entry = memory.get(hash, key);
        let variants = entry.as_ref().map_or(&[][..], |entry| entry.variants());
        let decision = decide(variants, Stored::mark, head, digest, rules, now);
        let (index, age, stale, refreshes) = match decision {
            Decision::Answer {
                index,
                age,
                stale,
                refreshes,
            } => (index, age, stale, refreshes),
            Decision::Validate { index, why } => {
                return Found::Ask(Why::selected(why.into(), Selected::of(entry, index)));
            }
            Decision::Complete { index } => return Found::Ask(Why::selected(Fwd::Partial, Selected::of(entry, index))),
            Decision::Fetch(fwd) => {
                let variants = entry.filter(|_| fwd == Fwd::VaryMiss);
                return Found::Ask(variants.map_or_else(|| Why::missing(fwd), Why::other_variants));
            }
            // Slices may be stored of what is not stored whole.
            Decision::OnlyIfCached(fwd) if sliced && fwd != Fwd::Stale => return Found::Ask(Why::missing(fwd)),
            Decision::OnlyIfCached(fwd) => return Found::Answer(only_if_cached(fwd), None),
        };
        let selected = Selected::of(entry, index);
        let stored = selected.stored();
        let status = hit(&stored.meta, stale, now);
        let asked = Asked {
            fields: &head.headers,
            digest,
            rules,
            now,
            token: hash.0,
        };
        match answer(stored, &asked, age, false, status) {
            Made::Response(response) => {
                stored.count_hit();
                if let Some(why) = stale {
                    self.stale.count(why.word());
                }
                let facts = Facts {
                    outcome: Some(status),
                    ..Facts::default()
                };
                Found::Answer(
                    Answer {
                        result: Ok(response),
                        facts,
                    },
                    refreshes.then_some(selected),
                )
            }
            Made::AskOrigin => Found::Ask(Why::selected(Fwd::Request, selected)),
            Made::Unreadable => Found::Ask(Why::missing(Fwd::Miss)),
        }
    }
}

/// "a cache SHOULD either respond using a stored response consistent with the other constraints of the request or respond with
/// a 504 (Gateway Timeout) status code" (RFC 9111 §5.2.1.7, only-if-cached)
fn only_if_cached(fwd: Fwd) -> Answer {
    let status = without_fetch(fwd);
    let mut response = Response::new(StatusCode::GATEWAY_TIMEOUT, Body::Empty);
    response.fields.added.push_display(&CACHE_STATUS, status);
    let facts = Facts {
        outcome: Some(status),
        ..Facts::default()
    };
    Answer {
        result: Ok(response),
        facts,
    }
}

fn without_fetch(fwd: Fwd) -> CacheStatus<'static> {
    CacheStatus {
        detail: Some("only_if_cached"),
        ..CacheStatus::new(NAME, Outcome::Fwd(fwd))
    }
}

/// What is told about a response from the store.
fn hit(meta: &StoredMeta, stale: Option<StaleWhy>, now: WallTime) -> CacheStatus<'static> {
    CacheStatus {
        ttl: Some(meta.ttl(now)),
        detail: stale.map(StaleWhy::word),
        ..CacheStatus::new(NAME, Outcome::Hit)
    }
}

/// An answer whose Cache-Status tells the cache key.
fn telling(mut answer: Answer, key: &str) -> Answer {
    if let (Ok(response), Some(status)) = (&mut answer.result, answer.facts.outcome) {
        let added = &mut response.fields.added;
        added.remove(&[CACHE_STATUS]);
        added.push_display(&CACHE_STATUS, status.with_key(key));
    }
    answer
}

/// Now, for a request on `worker`.
fn now(worker: &Worker) -> WallTime {
    worker.clock.wall()
}
