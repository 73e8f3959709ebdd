//! Conducts one request that is answered by joining slices: first slice → conditions → ranges → head → the rest.
//!
//! The first slice tells everything about the whole. The others are looked for while the client reads (`joined.rs`); before
//! the head is sent they are only looked at, so that Cache-Status is honest. What the origin does not give in slices is
//! asked for as on any other route, and that is remembered for a while.

use std::sync::Arc;

use bytes::Bytes;
use common::http::body::Body;
use common::http::response::{Fields, Response};
use common::time::{WallTime, mono_now};
use http::header::{AGE, CONTENT_RANGE, CONTENT_TYPE, IF_RANGE};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::ask::done;
use super::joined::{Joined, Source};
use super::slice::{Brought, Part};
use super::{Local, NAME, Why, now};
use crate::answer::CACHE_STATUS;
use crate::fetch::Ask;
use crate::policy::conditional::{self, Evaluated, Representation};
use crate::policy::content_range::{ByteRange, PartialContent, Unsatisfied};
use crate::policy::key::KeyHash;
use crate::policy::meta::StoredMeta;
use crate::policy::multipart::Multipart;
use crate::policy::outcome::{CacheStatus, Fwd, Outcome};
use crate::policy::range::{IfRange, RangeSet, Resolved};
use crate::policy::request::RequestDigest;
use crate::policy::rules::Rules;
use crate::policy::slice::{Plan, SlicedWhole, first_slice};
use crate::policy::stored_fields;
use crate::tier::{Answer, TierRequest};

/// Slices that are looked at before a response is called a hit; of one that needs more, nobody says so.
const LOOKED_AT_MAX: usize = 16_384;

/// A request that is answered from slices.
pub(super) struct Sliced {
    pub(super) local: Arc<Local>,
    pub(super) ask: Arc<Ask>,
    /// The key of the whole.
    pub(super) hash: KeyHash,
}

/// What the first slice makes of the request.
pub(super) enum Head {
    /// The client has it.
    NotModified,
    /// A precondition that only the origin can judge.
    AskOrigin,
    /// None of the ranges is there.
    Unsatisfiable,
    /// All of it.
    Whole,
    /// One range.
    Single(ByteRange),
    /// Several.
    Multiple(Vec<ByteRange>),
}

impl Local {
    /// Whether the origin may be asked for slices of a key. What is for one client only is not cut.
    pub(super) fn may_slice(&self, hash: KeyHash, digest: &RequestDigest<'_>, rules: &Rules) -> bool {
        let no_store = digest.directives.no_store && rules.client.no_store;
        !digest.authorization && !no_store && !self.not_sliceable.has(hash, mono_now)
    }

    /// Answers a request of which nothing is stored whole.
    pub(super) async fn by_slices(self: &Arc<Self>, request: TierRequest<'_>, hash: KeyHash) -> Answer {
        let TierRequest {
            head,
            route,
            hop,
            worker,
            ..
        } = request;
        let sliced = Arc::new(Sliced {
            local: Arc::clone(self),
            ask: Arc::new(Ask::new(head, &hop, route, worker)),
            hash,
        });
        let ranges = sliced.ranges();
        let first = first_slice(ranges.as_ref(), route.rules.key.slice);
        match sliced.slice(first, None).await {
            Brought::Slice(part) => match sliced.whole(&part) {
                Some(whole) => sliced.answer(first, part, whole, ranges.as_ref()).await,
                None => sliced.pass().await,
            },
            Brought::Answer(answer) => *answer,
            Brought::NotSliceable | Brought::Changed => sliced.pass().await,
        }
    }
}

impl Sliced {
    /// The client's ranges, where they count.
    fn ranges(&self) -> Option<RangeSet> {
        let client = &self.ask.client;
        let range = RequestDigest::of(&client.method, &client.headers).range?;
        RangeSet::parse(range, &self.ask.rules().ranges).ok()
    }

    /// What a slice tells about the whole.
    fn whole(&self, part: &Part) -> Option<SlicedWhole> {
        let meta = &part.stored.meta;
        SlicedWhole::of(meta.part()?, &meta.validators).ok()
    }

    /// The hash of a slice's key; `None` where nothing is stored at all.
    pub(super) fn hash_of(&self, number: u64) -> Option<KeyHash> {
        let memory = self.local.memory.as_ref()?;
        Some(memory.hash(&self.ask.key().of_slice(number)))
    }

    /// Asks the origin as on a route without slices.
    async fn pass(&self) -> Answer {
        let why = Why::missing(Fwd::UriMiss);
        self.local.ask(Arc::clone(&self.ask), self.hash, why).await
    }

    async fn answer(self: &Arc<Self>, first: u64, part: Part, whole: SlicedWhole, ranges: Option<&RangeSet>) -> Answer {
        let is_current = part.outcome != Outcome::Hit && part.stale.is_none();
        let (fields, rules) = (&self.ask.client.headers, self.ask.rules());
        let meta = &part.stored.meta;
        let head = head(fields, (meta, is_current), &whole, ranges, rules, now(&self.ask.worker));
        let (status, fields, plan) = match head {
            Head::AskOrigin => {
                let why = Why::missing(Fwd::Request);
                let lead = self.local.lead(Arc::clone(&self.ask), self.hash, None, why);
                return lead.run().await;
            }
            Head::NotModified => {
                let fields = stored_fields::lines_for_304(part.stored.fields.lines()).into_map();
                (StatusCode::NOT_MODIFIED, fields, None)
            }
            Head::Unsatisfiable => (StatusCode::RANGE_NOT_SATISFIABLE, HeaderMap::new(), None),
            Head::Whole | Head::Single(_) | Head::Multiple(_) => self.content(&head, &part, &whole),
        };
        let cache_status = self.status(first, &part, &whole, plan.as_ref(), status);
        let mut response = Response {
            status,
            fields: Fields::from(fields),
            body: Body::Empty,
        };
        let added = &mut response.fields.added;
        match head {
            Head::Unsatisfiable => added.push_display(&CONTENT_RANGE, Unsatisfied(whole.complete_length)),
            Head::Single(range) => {
                let complete_length = Some(whole.complete_length);
                added.push_display(&CONTENT_RANGE, PartialContent { range, complete_length });
            }
            _ => {}
        }
        added.push_display(&AGE, part.stored.meta.current_age(now(&self.ask.worker)).as_secs());
        added.push_display(&CACHE_STATUS, cache_status);
        if let Some(why) = part.stale {
            self.local.stale.count(why.word());
        }
        let invalidation = part.stored.invalidation;
        if let Some(plan) = plan {
            let source = Source {
                sliced: Arc::clone(self),
                whole,
                invalidation,
            };
            response.body = Body::stream(Joined::new(source, plan, (first, part.body)));
        }
        done(response, cache_status, &self.ask, part.backend)
    }

    /// Status, fields and content of what is sent.
    fn content(&self, head: &Head, part: &Part, whole: &SlicedWhole) -> (StatusCode, HeaderMap, Option<Plan>) {
        let stored = &part.stored.fields.to_map();
        let length = self.ask.rules().key.slice;
        let all = ByteRange::with_length(0, whole.complete_length);
        let has_it = self.ask.client.headers.contains_key(IF_RANGE);
        match head {
            Head::Single(range) => {
                let fields = stored_fields::for_206(stored, has_it);
                (StatusCode::PARTIAL_CONTENT, fields, Some(Plan::of(*range, length)))
            }
            Head::Multiple(ranges) => {
                let boundary = format!("tidegate-{:016x}", self.hash.0);
                let multipart = Multipart {
                    ranges,
                    complete_length: whole.complete_length,
                    content_type: stored.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()),
                    boundary: &boundary,
                };
                let mut fields = stored_fields::for_206(stored, has_it);
                if let Ok(content_type) = HeaderValue::try_from(multipart.content_type()) {
                    fields.insert(CONTENT_TYPE, content_type);
                }
                let parts = ranges
                    .iter()
                    .map(|range| (Bytes::from(multipart.part_head(*range)), *range));
                let plan = Plan::multipart(parts.collect(), multipart.end().into(), length);
                (StatusCode::PARTIAL_CONTENT, fields, Some(plan))
            }
            _ => {
                let fields = stored_fields::for_206(stored, false);
                (StatusCode::OK, fields, all.map(|all| Plan::of(all, length)))
            }
        }
    }

    /// What the cache did, as far as that is known before the rest is looked for.
    fn status(
        self: &Arc<Self>,
        first: u64,
        part: &Part,
        whole: &SlicedWhole,
        plan: Option<&Plan>,
        sent: StatusCode,
    ) -> CacheStatus<'static> {
        let outcome = match part.outcome {
            Outcome::Hit if plan.is_none_or(|plan| self.holds(first, plan, whole)) => Outcome::Hit,
            Outcome::Hit => Outcome::Fwd(Fwd::Partial),
            fwd @ Outcome::Fwd(_) => fwd,
        };
        CacheStatus {
            ttl: Some(part.stored.meta.ttl(now(&self.ask.worker))),
            fwd_status: part.fwd_status.filter(|status| *status != sent),
            stored: part.outcome != Outcome::Hit && part.stale.is_none(),
            collapsed: part.collapsed,
            detail: part.stale.map(|why| why.word()),
            ..CacheStatus::new(NAME, outcome)
        }
    }

    /// Whether every slice that is needed besides `first` is stored and may be used.
    fn holds(self: &Arc<Self>, first: u64, plan: &Plan, whole: &SlicedWhole) -> bool {
        let mut numbers = plan.slices().filter(|number| *number != first);
        let is_stored = |number: u64| {
            let hash = self.hash_of(number);
            hash.is_some_and(|hash| self.usable(number, hash, Some(whole)).is_ok())
        };
        numbers.by_ref().take(LOOKED_AT_MAX).all(is_stored) && numbers.next().is_none()
    }
}

/// A client's conditions and ranges, applied to the whole of which `meta` is the first slice's; whether that was just
/// fetched, or validated, matters to some conditions.
pub(super) fn head(
    fields: &HeaderMap,
    (meta, is_current): (&StoredMeta, bool),
    whole: &SlicedWhole,
    ranges: Option<&RangeSet>,
    rules: &Rules,
    now: WallTime,
) -> Head {
    let representation = Representation {
        status: StatusCode::OK,
        validators: &whole.validators,
        date: meta.date,
        current: is_current,
    };
    match conditional::evaluate(fields, &representation, now) {
        Evaluated::Full => {}
        Evaluated::NotModified => return Head::NotModified,
        Evaluated::AskOrigin => return Head::AskOrigin,
    }
    let Some(ranges) = ranges else { return Head::Whole };
    if conditional::if_range(fields, &whole.validators, now) == IfRange::Fails {
        return Head::Whole;
    }
    match ranges.resolve(whole.complete_length, &rules.ranges) {
        Resolved::Whole => Head::Whole,
        Resolved::Single(range) => Head::Single(range),
        Resolved::Multiple(ranges) => Head::Multiple(ranges),
        Resolved::Unsatisfiable => Head::Unsatisfiable,
    }
}
