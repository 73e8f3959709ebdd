//! One leader's fetch of a slice: a 206 is stored, a 304 freshens, and what is no slice answers in its place.
//!
//! Called by `slice.rs`, on a task of its own where others wait for it. Whether the slice belongs to the others is decided
//! there.

use std::sync::Arc;

use common::backend;
use common::http::body::Body;
use common::http::origin_error::OriginError;
use common::http1::client::ExchangeError;
use common::time::mono_now;
use http::{Method, StatusCode};

use super::ask::passed;
use super::lead::Lead;
use super::slice::{Brought, Part};
use super::sliced::Sliced;
use super::{NAME, Why};
use crate::collapse::{Boarding, Landing};
use crate::fetch::Fetched;
use crate::policy::not_stored::NotStored;
use crate::policy::outcome::{CacheStatus, Fwd, Outcome};
use crate::policy::reuse::Failure;
use crate::policy::slice::read_slice;
use crate::policy::validate;
use crate::policy::validators::Validators;
use crate::store::Stored;

/// One leader's fetch of a slice.
pub(super) struct SliceLead {
    pub(super) sliced: Arc<Sliced>,
    pub(super) lead: Lead,
    pub(super) number: u64,
    /// Nothing was sent to the client yet: any answer can be passed on to it.
    pub(super) is_first: bool,
}

impl SliceLead {
    pub(super) async fn run(mut self) -> Brought {
        loop {
            let (head, named) = self.lead.request();
            let (result, backend) = self.lead.ask.send(head, Body::Empty).await;
            let fetched = match result {
                Ok(fetched) => fetched,
                Err(error) => return self.unreachable(error, backend),
            };
            match validate::read_answer(fetched.status, named.is_some()) {
                validate::Answer::NotModified => match self.lead.validated(&fetched, named.unwrap_or(0)) {
                    Some(stored) => return self.found(stored, backend),
                    None => self.lead.is_unconditional = true,
                },
                validate::Answer::Unasked304 => {
                    self.sliced.local.refused.count("unasked_304");
                    return self.unreachable(OriginError::HttpProtocolError.into(), backend);
                }
                validate::Answer::ServerError if self.lead.why.selected.is_some() => {
                    return self.not_validated(fetched, backend);
                }
                validate::Answer::Full if fetched.status == StatusCode::PARTIAL_CONTENT => {
                    return self.receive(fetched, backend);
                }
                validate::Answer::Full | validate::Answer::ServerError => return self.instead(fetched, backend),
            }
        }
    }

    fn unreachable(&self, error: ExchangeError, backend: backend::Facts) -> Brought {
        if let ExchangeError::Origin(error) = error {
            self.lead.land(Landing::Failed(error));
        }
        match self.sliced.stale(&self.lead.why, Failure::Unreachable) {
            Some(part) => Brought::Slice(Part { backend, ..part }),
            None => self.sliced.no_answer(error, backend),
        }
    }

    /// A validation came to a 5xx: the waiters are told of it, so that they do not ask for it one by one.
    fn not_validated(self, fetched: Fetched, backend: backend::Facts) -> Brought {
        self.lead.land(Landing::ServerError(fetched.server_error()));
        match self.sliced.stale(&self.lead.why, Failure::Status(fetched.status)) {
            Some(part) => Brought::Slice(Part { backend, ..part }),
            None if self.is_first => {
                let status = CacheStatus::new(NAME, Outcome::Fwd(self.lead.why.fwd));
                Brought::Answer(Box::new(passed(fetched, status, &self.lead.ask, backend)))
            }
            None => self
                .sliced
                .no_answer(OriginError::HttpResponseIncomplete.into(), backend),
        }
    }

    /// A 206: stored, when it is the slice that was asked for.
    fn receive(self, mut fetched: Fetched, backend: backend::Facts) -> Brought {
        let (now, local) = (fetched.times.response, &self.sliced.local);
        let validators = Validators::of(&fetched.fields, now, now);
        let length = self.lead.ask.rules().key.slice;
        let read = read_slice(self.number, length, &fetched.fields, &validators, fetched.body.len());
        let storable = read
            .map_err(NotStored::Partial)
            .and_then(|_| self.lead.ask.storable(&Method::GET, &fetched));
        match storable {
            Ok(storable) => {
                let (stored, coming) = self.lead.begin(storable, &mut fetched);
                // Made before the fill begins, so that its reader is there from the first byte.
                let brought = self.brought(Arc::clone(&stored), StatusCode::PARTIAL_CONTENT, backend);
                self.lead.land(Landing::Stored(Arc::clone(&stored)));
                self.lead.go_on(stored, coming);
                brought
            }
            Err(why) => {
                match why {
                    NotStored::Partial(wrong) => local.refused.count(wrong.word()),
                    other => local.not_stored.count(other.word()),
                }
                local.not_sliceable.note(self.sliced.hash, mono_now());
                self.lead.land(Landing::NotSliceable);
                Brought::NotSliceable
            }
        }
    }

    /// Anything but a slice: it answers the client's own request, and is stored by the ordinary rules.
    fn instead(self, fetched: Fetched, backend: backend::Facts) -> Brought {
        let Sliced { local, ask, hash } = &*self.sliced;
        match fetched.status {
            // Where the whole is asked for it may be there and empty, or the range may be a client's beyond its end: the
            // origin knows best.
            StatusCode::RANGE_NOT_SATISFIABLE if self.is_first => {
                self.lead.land(Landing::NotSliceable);
                return Brought::NotSliceable;
            }
            StatusCode::OK => {
                local.refused.count("range_ignored");
                local.not_sliceable.note(*hash, mono_now());
            }
            _ => {}
        }
        if !self.is_first {
            self.lead.land(Landing::NotSliceable);
            return match fetched.status.is_server_error() {
                true => self
                    .sliced
                    .no_answer(OriginError::HttpResponseIncomplete.into(), backend),
                false => Brought::Changed,
            };
        }
        // Who waited for the slice waits for the whole now; but who asks after a purge does not join what began before it.
        let flight = local.flight(*hash, *hash);
        let permit = match local.flights.board(flight, ask.rules().waiting.waiters_max) {
            Boarding::Lead(permit) if !self.lead.is_outdated() => Some(permit),
            Boarding::Lead(_) | Boarding::Wait(_) | Boarding::Alone => None,
        };
        self.lead.land(Landing::NotSliceable);
        let lead = Lead {
            // What was purged or invalidated since the slice was asked for is in this answer, too.
            began: self.lead.began,
            invalidation: self.lead.invalidation,
            ..local.lead(Arc::clone(ask), *hash, permit, Why::missing(Fwd::UriMiss))
        };
        Brought::Answer(Box::new(lead.receive(fetched, backend)))
    }

    /// A 304: the slice still holds.
    fn found(self, stored: Arc<Stored>, backend: backend::Facts) -> Brought {
        self.lead.land(Landing::Stored(Arc::clone(&stored)));
        self.brought(stored, StatusCode::NOT_MODIFIED, backend)
    }

    /// What the origin has given, or confirmed, with this status.
    fn brought(&self, stored: Arc<Stored>, by: StatusCode, backend: backend::Facts) -> Brought {
        let part = Part::of(stored, Outcome::Fwd(self.lead.why.fwd));
        let fwd_status = Some(by);
        part.map_or(Brought::NotSliceable, |part| {
            Brought::Slice(Part {
                fwd_status,
                backend,
                ..part
            })
        })
    }
}
