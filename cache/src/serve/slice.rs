//! One slice: stored, or fetched by whoever leads, as anything else that is stored; each has a key of its own.
//!
//! A slice belongs to the others when it has their strong validator and complete length (RFC 9111 §3.4). One that is stored
//! and does not is fetched anew; one that was just fetched and does not means that the representation has changed, and then
//! every slice that was stored before is invalid.

use std::sync::Arc;

use common::backend;
use common::http::body::Body;
use common::http::origin_error::OriginError;
use common::http::response::Response;
use common::http1::client::ExchangeError;
use http::{Method, StatusCode};

use super::ask::{Fit, ROUNDS_MAX, Turn, count_refresh, done};
use super::failed::shared_error;
use super::slice_lead::SliceLead;
use super::sliced::Sliced;
use super::{NAME, Selected, Why, now, only_if_cached};
use crate::collapse::{Boarding, Landing, Permit, ServerError};
use crate::policy::content_range::PartialInvalid;
use crate::policy::key::KeyHash;
use crate::policy::outcome::{CacheStatus, Fwd, Outcome};
use crate::policy::request::RequestDigest;
use crate::policy::reuse::{Failure, Reuse, StaleWhy, is_only_if_cached, reuse, reuse_on_failure};
use crate::policy::slice::SlicedWhole;
use crate::policy::vary;
use crate::store::Stored;
use crate::tier::Answer;

/// What came of asking for a slice.
pub(super) enum Brought {
    /// It.
    Slice(Part),
    /// What answers the client's request in its place: an error, or the whole.
    Answer(Box<Answer>),
    /// The origin gives no slices of this: the client's request is to be sent as it is.
    NotSliceable,
    /// It is a slice of something else than the first one was: the representation has changed.
    Changed,
}

/// A slice at hand; its content may still be coming.
pub(super) struct Part {
    pub(super) stored: Arc<Stored>,
    /// Reads it from its beginning.
    pub(super) body: Body,
    /// How it came here.
    pub(super) outcome: Outcome,
    /// Whether that was by waiting for somebody else's fetch.
    pub(super) collapsed: bool,
    /// Why it is served stale, where it is.
    pub(super) stale: Option<StaleWhy>,
    /// What the origin answered, where it was asked for this and gave it: 206, or 304.
    pub(super) fwd_status: Option<StatusCode>,
    /// What asking for it took.
    pub(super) backend: backend::Facts,
}

impl Part {
    pub(super) fn of(stored: Arc<Stored>, outcome: Outcome) -> Option<Self> {
        Some(Self {
            body: stored.content.body()?,
            stored,
            outcome,
            collapsed: false,
            stale: None,
            fwd_status: None,
            backend: backend::Facts::default(),
        })
    }

    /// It came by waiting for somebody else's fetch.
    fn joined(self) -> Self {
        Self {
            collapsed: true,
            ..self
        }
    }
}

impl Sliced {
    /// A slice of `whole`, or the first one, of something unknown.
    pub(super) async fn slice(self: &Arc<Self>, number: u64, whole: Option<&SlicedWhole>) -> Brought {
        let Some(hash) = self.hash_of(number) else {
            return Brought::NotSliceable;
        };
        let why = match self.stored(number, hash, whole) {
            Ok(part) => return Brought::Slice(part),
            Err(why) => why,
        };
        let client = &self.ask.client;
        if is_only_if_cached(&RequestDigest::of(&client.method, &client.headers), self.ask.rules()) {
            return Brought::Answer(Box::new(only_if_cached(why.fwd)));
        }
        if client.method == Method::HEAD {
            return Brought::NotSliceable;
        }
        let stored = why.selected.as_ref().map(Selected::stored);
        let mut flight = self.local.flight_after(hash, self.hash, stored);
        for _ in 0..ROUNDS_MAX {
            match self.local.turn(&self.ask, flight).await {
                Turn::Lead(permit) => {
                    let lead = self.lead(number, hash, Some(permit), why, whole.is_none());
                    return match tokio::spawn(lead.run()).await {
                        Ok(brought) => self.checked(brought, number, whole),
                        Err(_) => self.no_answer(OriginError::ProxyInternalError.into(), backend::Facts::default()),
                    };
                }
                Turn::Landed(Landing::Stored(stored)) => {
                    let key = self.ask.key().of_slice(number);
                    match self.local.fit(&self.ask, &key, (hash, self.hash), &stored) {
                        Fit::This => match Part::of(stored, Outcome::Fwd(why.fwd)) {
                            Some(part) => return self.checked(Brought::Slice(part.joined()), number, whole),
                            None => break,
                        },
                        Fit::Another(fetch) => flight = fetch,
                        Fit::Alone => break,
                    }
                }
                Turn::Landed(Landing::NotSliceable) => return Brought::NotSliceable,
                Turn::Landed(Landing::Failed(error)) => {
                    return self.stale(&why, Failure::Unreachable).map_or_else(
                        || self.no_answer(error.into(), backend::Facts::default()),
                        Brought::Slice,
                    );
                }
                Turn::Landed(Landing::ServerError(error)) => return self.failed_too(&why, error, whole.is_none()),
                Turn::Landed(_) | Turn::Alone => break,
            }
        }
        let lead = self.lead(number, hash, None, why, whole.is_none());
        self.checked(lead.run().await, number, whole)
    }

    /// A stored slice that may be used, or why the origin has to be asked. What is near its end, or stale, is refreshed.
    pub(super) fn stored(
        self: &Arc<Self>,
        number: u64,
        hash: KeyHash,
        whole: Option<&SlicedWhole>,
    ) -> Result<Part, Why> {
        let (selected, stale, refreshes) = self.usable(number, hash, whole)?;
        let stored = Arc::clone(selected.stored());
        stored.count_hit();
        if refreshes {
            self.refresh(number, hash, selected);
        }
        let part = Part::of(stored, Outcome::Hit).ok_or(Why::missing(Fwd::Miss))?;
        Ok(Part { stale, ..part })
    }

    /// A stored slice that may be used, why it is stale where it is, and whether it is to be refreshed.
    pub(super) fn usable(
        &self,
        number: u64,
        hash: KeyHash,
        whole: Option<&SlicedWhole>,
    ) -> Result<(Selected, Option<StaleWhy>, bool), Why> {
        let selected = self.select(number, hash, whole)?;
        let stored = selected.stored();
        let digest = RequestDigest::of(&Method::GET, &self.ask.client.headers);
        let (rules, now) = (self.ask.rules(), now(&self.ask.worker));
        match reuse(&stored.meta, stored.mark(), &digest, rules, now) {
            Reuse::Fresh { refresh_ahead, .. } => Ok((selected, None, refresh_ahead)),
            Reuse::Stale { why, refresh, .. } => Ok((selected, Some(why), refresh)),
            Reuse::OnlyIfCached => Err(Why::missing(Fwd::Stale)),
            Reuse::Validate(why) => Err(Why::selected(why.into(), selected)),
        }
    }

    /// The stored response that is this slice for this request.
    fn select(&self, number: u64, hash: KeyHash, whole: Option<&SlicedWhole>) -> Result<Selected, Why> {
        let key = self.ask.key().of_slice(number);
        let memory = self.local.memory.as_ref().ok_or(Why::missing(Fwd::UriMiss))?;
        let entry = memory.get(hash, &key).ok_or(Why::missing(Fwd::UriMiss))?;
        let metas = entry.variants().iter().map(|stored| &stored.meta);
        let Some(index) = vary::select(metas, &self.ask.client.headers, &self.ask.rules().vary) else {
            return Err(Why::other_variants(entry));
        };
        let selected = Selected { entry, index };
        let stored = selected.stored();
        if self.local.invalidated.of_slices(self.hash) > stored.invalidation {
            memory.remove(hash, &key);
            return Err(Why::missing(Fwd::UriMiss));
        }
        match whole {
            Some(whole) if self.belongs(stored, number, whole).is_err() => Err(Why::missing(Fwd::Miss)),
            _ => Ok(selected),
        }
    }

    /// Whether a slice belongs to the others.
    fn belongs(&self, stored: &Stored, number: u64, whole: &SlicedWhole) -> Result<(), PartialInvalid> {
        let partial = stored.meta.part().ok_or(PartialInvalid::ContentRange)?;
        whole.check(number, self.ask.rules().key.slice, partial, &stored.meta.validators)
    }

    /// What was just fetched, held against the others.
    fn checked(&self, brought: Brought, number: u64, whole: Option<&SlicedWhole>) -> Brought {
        match (brought, whole) {
            (Brought::Slice(part), Some(whole)) if self.belongs(&part.stored, number, whole).is_err() => {
                Brought::Changed
            }
            (brought, _) => brought,
        }
    }

    /// Something stale, where the origin failed and that is allowed.
    pub(super) fn stale(&self, why: &Why, failure: Failure) -> Option<Part> {
        let stored = Arc::clone(why.selected.as_ref()?.stored());
        let digest = RequestDigest::of(&Method::GET, &self.ask.client.headers);
        let (rules, now) = (self.ask.rules(), now(&self.ask.worker));
        let stale = reuse_on_failure(&stored.meta, stored.mark(), &digest, failure, rules, now);
        let part = Part::of(stored, Outcome::Fwd(why.fwd))?;
        Some(Part {
            stale: Some(stale?),
            ..part
        })
    }

    /// What a waiter gets when its leader's validation came to a 5xx.
    fn failed_too(&self, why: &Why, error: ServerError, is_first: bool) -> Brought {
        match self.stale(why, Failure::Status(error.status)) {
            Some(part) => Brought::Slice(part.joined()),
            None if is_first => {
                let status = CacheStatus {
                    collapsed: true,
                    ..CacheStatus::new(NAME, Outcome::Fwd(why.fwd))
                };
                Brought::Answer(Box::new(shared_error(error, status, &self.ask)))
            }
            None => self.no_answer(OriginError::HttpResponseIncomplete.into(), backend::Facts::default()),
        }
    }

    pub(super) fn no_answer(&self, error: ExchangeError, backend: backend::Facts) -> Brought {
        let status = CacheStatus::new(NAME, Outcome::Fwd(Fwd::UriMiss));
        let mut answer = done(
            Response::new(StatusCode::BAD_GATEWAY, Body::Empty),
            status,
            &self.ask,
            backend,
        );
        answer.result = Err(error);
        Brought::Answer(Box::new(answer))
    }

    /// Validates or fetches a slice again in the background, unless somebody does already.
    fn refresh(self: &Arc<Self>, number: u64, hash: KeyHash, selected: Selected) {
        let stored = Some(selected.stored());
        let flight = self.local.flight_after(hash, self.hash, stored);
        if let Boarding::Lead(permit) = self.local.flights.board(flight, self.ask.rules().waiting.waiters_max) {
            count_refresh(selected.stored(), &self.ask.worker);
            let why = Why::selected(Fwd::Stale, selected);
            let lead = self.lead(number, hash, Some(permit), why, false);
            drop(tokio::spawn(lead.run()));
        }
    }

    fn lead(
        self: &Arc<Self>,
        number: u64,
        hash: KeyHash,
        permit: Option<Permit>,
        why: Why,
        is_first: bool,
    ) -> SliceLead {
        let ask = Arc::new(self.ask.for_slice(number));
        let mut lead = self.local.lead(ask, hash, permit, why);
        lead.whole = self.hash;
        SliceLead {
            sliced: Arc::clone(self),
            lead,
            number,
            is_first,
        }
    }
}
