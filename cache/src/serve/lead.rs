//! One leader's fetch: what comes back is stored, freshens what is stored, or passes.
//!
//! What does not come back is made up for by `failed`, with something stale where that is allowed. The permit that the leader
//! holds ends when the fill does, so that whoever asks until then joins it.

use std::sync::Arc;

use bytes::Bytes;
use common::backend;
use common::http::body::Body;
use common::http::outgoing::OutgoingHead;
use common::http::response::{Response, SharedFields};
use common::telemetry::metrics::Counter;
use common::time::mono_now;
use http::header::RANGE;
use http::{HeaderMap, Method, StatusCode};
use tokio::task::JoinHandle;

use super::ask::{done, is_partial_miss, made, passed};
use super::{Local, NAME, Selected, Why, now};
use crate::answer::{CACHE_STATUS, Made};
use crate::collapse::{Landing, Permit};
use crate::fetch::{self, Ask, Fetched};
use crate::fill::{self, Filled};
use crate::policy::coding;
use crate::policy::conditional::{self, Evaluated, Representation};
use crate::policy::content_range::PartialInvalid;
use crate::policy::key::KeyHash;
use crate::policy::not_stored::NotStored;
use crate::policy::outcome::{CacheStatus, Outcome};
use crate::policy::request::{RequestDigest, make_unconditional};
use crate::policy::store::Storable;
use crate::policy::validate;
use crate::policy::validators::Validators;
use crate::policy::{held, stored_fields, vary};
use crate::purge::tags::tags;
use crate::store::content::Content;
use crate::store::kept::Kept;
use crate::store::{Purging, Stored};
use crate::tier::Answer;

/// Entity tags sent with one validation.
const TAGS_MAX: usize = 8;

/// One leader's fetch, on a task of its own.
pub(super) struct Lead {
    pub(super) local: Arc<Local>,
    pub(super) ask: Arc<Ask>,
    pub(super) hash: KeyHash,
    pub(super) permit: Option<Permit>,
    pub(super) why: Why,
    /// A 304 was about none of what was asked about: asked again without conditions.
    pub(super) is_unconditional: bool,
    /// The number of the latest purge before it began.
    pub(super) began: u64,
    /// The number of the latest invalidation before it began.
    pub(super) invalidation: u64,
    /// The key of the whole, where a slice is fetched; else the same as `hash`.
    pub(super) whole: KeyHash,
}

impl Lead {
    /// Runs it on a task of its own. In a box: it is large, and a task is moved several times before it begins.
    pub(super) fn spawn(self) -> JoinHandle<Answer> {
        tokio::spawn(Box::pin(self.run()))
    }

    pub(super) async fn run(mut self) -> Answer {
        loop {
            let (head, named) = self.request();
            let range = head.parts.headers.get(RANGE).cloned();
            let (result, backend) = self.ask.send(head, Body::Empty).await;
            let fetched = match result {
                Ok(fetched) => self.restated(fetched),
                Err(error) => return self.unreachable(error, backend),
            };
            if self.rest().is_some() && matches!(fetched.status.as_u16(), 206 | 416) {
                if let Some((answer, stored)) = self.complete(&fetched, &backend) {
                    self.go_on(stored, Some(fetched.body));
                    return answer;
                }
                self.is_unconditional = true;
                continue;
            }
            let (status, rules) = (fetched.status, &self.ask.rules().ranges);
            if validate::is_unasked_multipart(status, &fetched.fields, range.as_ref(), rules) {
                return self.refuse(PartialInvalid::Multipart.word(), backend);
            }
            let forwards_conditions = has_conditions(&self.ask.fetch.parts.headers) && self.is_partial_miss();
            return match validate::read_answer(fetched.status, named.is_some()) {
                validate::Answer::NotModified => match self.not_modified(&fetched, named.unwrap_or(0), &backend) {
                    Some(answer) => answer,
                    None => {
                        self.is_unconditional = true;
                        continue;
                    }
                },
                validate::Answer::Unasked304 if !forwards_conditions => self.refuse("unasked_304", backend),
                validate::Answer::ServerError if self.why.selected.is_some() => self.not_validated(fetched, backend),
                validate::Answer::Unasked304 | validate::Answer::ServerError | validate::Answer::Full => {
                    self.receive(fetched, backend)
                }
            };
        }
    }

    /// The request as the origin gets it, and how many other variants it names where it validates.
    pub(super) fn request(&self) -> (OutgoingHead, Option<usize>) {
        let mut head = self.ask.fetch.clone();
        let mut named = None;
        let range = self.ask.slice_range();
        match &self.why.selected {
            // A range of what is not stored whole is passed on as it is; anything else is fetched whole.
            _ if self.is_partial_miss() => {}
            Some(selected) if let Some(held) = self.rest() => {
                let validators = &selected.stored().meta.validators;
                held::ask_for_rest(&mut head.parts.headers, held, validators)
                    .expect("invariant: `rest` has looked at the validator");
            }
            _ if self.is_unconditional => make_unconditional(&mut head.parts.headers),
            selected => {
                let meta = selected.as_ref().map(|selected| &selected.stored().meta);
                let others = self.others().map(|stored| &stored.meta);
                named = validate::make_conditional(&mut head.parts.headers, meta, others, TAGS_MAX, range);
            }
        }
        if let Some(range) = range {
            held::put_range(&mut head.parts.headers, range);
        }
        vary::reduce_accept_encoding(&mut head.parts.headers, &self.ask.rules().vary);
        (head, named)
    }

    /// What else is stored for the key, and may be what the origin would send now.
    pub(super) fn others(&self) -> impl Iterator<Item = &Arc<Stored>> {
        let selected = self.why.selected.as_ref();
        let others = selected.map(Selected::others).into_iter().flatten();
        let variants = self.why.variants.as_ref().map_or(&[][..], |entry| entry.variants());
        // Origins are known to give all codings of a representation one entity tag: a 304 may not change the coding.
        let variants = variants.iter().filter(|stored| {
            let (meta, rules) = (&stored.meta, &self.ask.rules().vary);
            meta.vary.same_coding(&meta.vary_key, &self.ask.client.headers, rules)
        });
        // What was compressed here has the tag of what it was made from: only one of them is asked about.
        let is_named = self.ask.route.compression.is_none();
        others.chain(variants).filter(move |_| is_named)
    }

    pub(super) fn is_partial_miss(&self) -> bool {
        is_partial_miss(&self.ask.client.headers, self.why.has_whole())
    }

    /// A 304 is about the origin's own content; here it is made one about what is stored.
    fn restated(&self, mut fetched: Fetched) -> Fetched {
        if let (StatusCode::NOT_MODIFIED, Some(selected)) = (fetched.status, &self.why.selected)
            && self.ask.route.compression.is_some()
        {
            coding::restate(&mut fetched.fields, &selected.stored().fields.to_map());
        }
        fetched
    }

    pub(super) fn land(&self, landing: Landing) {
        if let Some(permit) = &self.permit {
            permit.land(landing);
        }
    }

    /// A whole response: stored if it may be, and passed on.
    pub(super) fn receive(mut self, fetched: Fetched, backend: backend::Facts) -> Answer {
        let method = self.ask.client.method.clone();
        let status = CacheStatus::new(NAME, Outcome::Fwd(self.why.fwd));
        match self.ask.storable(&method, &fetched) {
            Ok(storable) => self.store(storable, fetched, backend),
            Err(why) => {
                self.not_stored(why, &fetched);
                self.permit = None;
                let status = CacheStatus {
                    detail: Some(why.word()),
                    ..status
                };
                let fetched = self.on_condition(fetched);
                passed(fetched, status, &self.ask, backend)
            }
        }
    }

    fn not_stored(&self, why: NotStored, fetched: &Fetched) {
        self.land(Landing::NotShareable);
        self.local.not_stored.count(why.word());
        if let NotStored::Partial(wrong) = why
            && wrong != PartialInvalid::Multipart
        {
            self.local.refused.count(wrong.word());
        }
        if why == NotStored::TooLarge {
            self.ask.worker.metrics.count(Counter::CacheTooLarge);
        }
        if why.is_about_response() {
            self.local.not_shareable.note(self.hash, mono_now());
        }
        if why == NotStored::Head {
            self.head_freshens(fetched);
        }
    }

    fn store(self, storable: Storable, mut fetched: Fetched, backend: backend::Facts) -> Answer {
        let cache_status = CacheStatus {
            ttl: Some(storable.meta.ttl(fetched.times.response)),
            stored: true,
            detail: storable.set_cookie.word(),
            ..CacheStatus::new(NAME, Outcome::Fwd(self.why.fwd))
        };
        let (stored, coming) = self.begin(storable, &mut fetched);
        // Made before the fill begins, so that its reader is there from the first byte.
        let response = self.first_answer(&stored, fetched.status, fetched.fields, cache_status);
        self.land(Landing::Stored(Arc::clone(&stored)));
        self.local.not_shareable.forget(self.hash);
        let ask = Arc::clone(&self.ask);
        self.go_on(stored, coming);
        done(response, cache_status, &ask, backend)
    }

    /// What is going to be stored, and its content where that is still coming.
    pub(super) fn begin(&self, storable: Storable, fetched: &mut Fetched) -> (Arc<Stored>, Option<Body>) {
        let Storable { meta, omit, .. } = storable;
        let fields = stored_fields::to_store(&fetched.fields, &omit, meta.date);
        let tags = tags(&fetched.fields, &self.ask.rules().tags.fields);
        let part = meta.part().map(|partial| partial.range.len());
        let (content, coming) = match std::mem::take(&mut fetched.body) {
            Body::Empty => (Kept::whole(Bytes::new()), None),
            Body::Full(bytes) => (Kept::whole(Bytes::copy_from_slice(&bytes)), None),
            coming => (Kept::coming(Content::filling(coming.len().or(part))), Some(coming)),
        };
        let key = self.ask.key().render();
        let fields = Arc::new(SharedFields::from(fields));
        (Stored::new(key, meta, fields, content, self.purging(tags)), coming)
    }

    /// Puts it into the store, at once or when all of it has come.
    pub(super) fn go_on(self, stored: Arc<Stored>, coming: Option<Body>) {
        match (coming, stored.content.fill()) {
            (Some(body), Some(content)) => {
                let content = Arc::clone(content);
                drop(tokio::spawn(self.fill(body, content, stored)));
            }
            _ => self.keep(&stored),
        }
    }

    /// The answer to the client that caused the fetch: its own copy of the fields, or what its conditions and range make of it.
    fn first_answer(
        &self,
        stored: &Arc<Stored>,
        status: StatusCode,
        own: HeaderMap,
        cache_status: CacheStatus<'static>,
    ) -> Response {
        let client = &self.ask.client;
        let digest = RequestDigest::of(&client.method, &client.headers);
        // A part is what came for the client's own range and conditions.
        if stored.meta.partial.is_none() && (digest.conditional || digest.range.is_some()) {
            let now = now(&self.ask.worker);
            if let Made::Response(response) = made(&self.ask, stored, self.hash, true, cache_status, now) {
                return response;
            }
        }
        let body = stored.content.body().unwrap_or_default();
        let mut response = Response {
            status,
            fields: own.into(),
            body,
        };
        fetch::pass_to_client(&mut response.fields, self.ask.rules());
        let added = &mut response.fields.added;
        added.push_written(&CACHE_STATUS, |text| cache_status.write(text));
        response
    }

    async fn fill(self, body: Body, content: Arc<Content>, stored: Arc<Stored>) {
        let stored_max = self.ask.rules().stored_response_max;
        let outgrown = || {
            self.land(Landing::NotShareable);
            self.ask.worker.metrics.count(Counter::CacheTooLarge);
        };
        if fill::fill(body, &content, stored_max, &self.local.budget, outgrown).await == Filled::Whole {
            self.keep(&stored);
        }
        // Only now does the permit end: until here, who asks joins the fill.
    }

    pub(super) fn purging(&self, tags: Box<str>) -> Purging {
        Purging {
            began: self.began,
            invalidation: self.invalidation,
            url: self.ask.key().hidden_url(),
            tags,
        }
    }

    fn keep(&self, stored: &Arc<Stored>) {
        let Ok(joined) = self.joined(stored) else { return };
        let stored = joined.as_ref().unwrap_or(stored);
        let replaced = self.why.selected.as_ref().map(Selected::stored);
        if self.put(stored, replaced) {
            self.ask.worker.metrics.count(Counter::CacheStored);
        }
    }

    /// Whether something was purged since it was asked for, or its key invalidated.
    pub(super) fn is_outdated(&self) -> bool {
        self.local.latest_purge() > self.began || self.local.invalidated.of_fetches(self.whole) > self.invalidation
    }

    /// Stores it, unless its key was invalidated since it was asked for; tells whether.
    pub(super) fn put(&self, stored: &Arc<Stored>, replaced: Option<&Arc<Stored>>) -> bool {
        let Some(memory) = &self.local.memory else {
            return false;
        };
        let is_invalid = || self.local.invalidated.of_fetches(self.whole) > self.invalidation;
        if is_invalid() {
            return false;
        }
        memory.put(self.hash, stored, replaced, self.ask.rules().vary.variants_max);
        // Invalidated in between: whoever did that may have removed what was there before this.
        if is_invalid() {
            memory.remove(self.hash, &self.ask.key());
            return false;
        }
        true
    }

    /// A 304 answers the request. `None` when it is about none of what was asked about.
    fn not_modified(&self, fetched: &Fetched, named: usize, backend: &backend::Facts) -> Option<Answer> {
        let stored = self.validated(fetched, named)?;
        self.land(Landing::Stored(Arc::clone(&stored)));
        self.confirmed(&stored, fetched.status, backend)
    }

    /// The answer from what the origin has just confirmed, or completed, with this status.
    pub(super) fn confirmed(&self, stored: &Stored, by: StatusCode, backend: &backend::Facts) -> Option<Answer> {
        let now = now(&self.ask.worker);
        let status = CacheStatus {
            ttl: Some(stored.meta.ttl(now)),
            fwd_status: Some(by),
            stored: true,
            ..CacheStatus::new(NAME, Outcome::Fwd(self.why.fwd))
        };
        match made(&self.ask, stored, self.hash, true, status, now) {
            Made::Response(response) => Some(done(response, status, &self.ask, backend.clone())),
            Made::AskOrigin | Made::Unreadable => None,
        }
    }

    /// The client's own conditions, which were not sent on, applied to a response that is not stored.
    fn on_condition(&self, fetched: Fetched) -> Fetched {
        let client = &self.ask.client;
        let digest = RequestDigest::of(&client.method, &client.headers);
        if !digest.conditional || self.is_partial_miss() {
            return fetched;
        }
        let now = fetched.times.response;
        let validators = Validators::of(&fetched.fields, now, now);
        let representation = Representation {
            status: fetched.status,
            validators: &validators,
            date: now,
            current: true,
        };
        let (status, fields) = match conditional::evaluate(&client.headers, &representation, now) {
            Evaluated::NotModified => (StatusCode::NOT_MODIFIED, stored_fields::for_304(&fetched.fields)),
            Evaluated::Full | Evaluated::AskOrigin => return fetched,
        };
        Fetched {
            status,
            fields,
            body: Body::Empty,
            times: fetched.times,
        }
    }
}

fn has_conditions(fields: &HeaderMap) -> bool {
    RequestDigest::of(&Method::GET, fields).conditional
}
