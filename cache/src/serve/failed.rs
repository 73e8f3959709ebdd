//! A fetch or a validation failed: something stale answers where that is allowed, else the error does.
//!
//! Who waited for it shares that outcome (RFC 9111 §4.3.3, RFC 5861 §4): each has the stale response by its own right or the
//! same error, and none asks an origin that is in trouble already. What is stale is served by `policy::reuse`.

use common::backend;
use common::http::body::Body;
use common::http::origin_error::OriginError;
use common::http::response::{Fields, Response};
use common::http1::client::ExchangeError;
use http::HeaderMap;
use http::header::RETRY_AFTER;

use super::ask::{done, facts, made, passed};
use super::lead::Lead;
use super::{Local, NAME, Why, now};
use crate::answer::{CACHE_STATUS, Made};
use crate::collapse::{Landing, ServerError};
use crate::fetch::{Ask, Fetched};
use crate::policy::key::KeyHash;
use crate::policy::outcome::{CacheStatus, Outcome};
use crate::policy::request::RequestDigest;
use crate::policy::reuse::{Failure, reuse_on_failure};
use crate::tier::Answer;

/// How a leader's fetch failed.
pub(super) enum LeaderFailed {
    /// There was no response.
    Unreachable(OriginError),
    /// There was this one.
    Answered(ServerError),
}

impl Local {
    /// What a waiter gets when its leader's fetch failed: its own request would end like that, and every further one would
    /// add to the origin's trouble.
    pub(super) fn failed_too(&self, ask: &Ask, why: &Why, failed: LeaderFailed, hash: KeyHash) -> Answer {
        let (failure, result) = match failed {
            LeaderFailed::Unreachable(error) => (Failure::Unreachable, Err(error)),
            LeaderFailed::Answered(error) => (Failure::Status(error.status), Ok(error)),
        };
        if let Some(answer) = self.stale_answer(ask, why, failure, None, hash) {
            return answer;
        }
        let status = CacheStatus {
            collapsed: true,
            ..CacheStatus::new(NAME, Outcome::Fwd(why.fwd))
        };
        match result {
            Err(error) => Answer {
                result: Err(error.into()),
                facts: facts(status, ask, backend::Facts::default()),
            },
            Ok(error) => shared_error(error, status, ask),
        }
    }

    /// What a client gets when no response came: something stale where that is allowed, else the error.
    fn failed(&self, ask: &Ask, why: &Why, error: ExchangeError, backend: backend::Facts, hash: KeyHash) -> Answer {
        if let Some(answer) = self.stale_answer(ask, why, Failure::Unreachable, Some(&backend), hash) {
            return answer;
        }
        let status = CacheStatus::new(NAME, Outcome::Fwd(why.fwd));
        Answer {
            result: Err(error),
            facts: facts(status, ask, backend),
        }
    }

    /// Something stale, where the origin failed and that is allowed; `backend` is nothing for who waited for another's fetch.
    fn stale_answer(
        &self,
        ask: &Ask,
        why: &Why,
        failure: Failure,
        backend: Option<&backend::Facts>,
        hash: KeyHash,
    ) -> Option<Answer> {
        let stored = why.selected.as_ref()?.stored();
        let (rules, now) = (ask.rules(), now(&ask.worker));
        let digest = RequestDigest::of(&ask.client.method, &ask.client.headers);
        let stale = reuse_on_failure(&stored.meta, stored.mark(), &digest, failure, rules, now)?;
        let status = CacheStatus {
            ttl: Some(stored.meta.ttl(now)),
            fwd_status: match failure {
                Failure::Status(status) => Some(status),
                Failure::Unreachable => None,
            },
            collapsed: backend.is_none(),
            detail: Some(stale.word()),
            ..CacheStatus::new(NAME, Outcome::Fwd(why.fwd))
        };
        match made(ask, stored, hash, false, status, now) {
            Made::Response(response) => {
                self.stale.count(stale.word());
                Some(done(response, status, ask, backend.cloned().unwrap_or_default()))
            }
            Made::AskOrigin | Made::Unreadable => None,
        }
    }
}

impl Lead {
    /// A response that contradicts what was asked is never given to a client, nor stored.
    pub(super) fn refuse(&self, word: &'static str, backend: backend::Facts) -> Answer {
        self.local.refused.count(word);
        self.unreachable(OriginError::HttpProtocolError.into(), backend)
    }

    pub(super) fn unreachable(&self, error: ExchangeError, backend: backend::Facts) -> Answer {
        if let ExchangeError::Origin(error) = error {
            self.land(Landing::Failed(error));
        }
        self.local.failed(&self.ask, &self.why, error, backend, self.hash)
    }

    /// A validation came to a 5xx: something stale answers where that is allowed. Else the error does, stored where it may
    /// be; where it may not, the waiters are told of it, so that they do not ask for it one by one.
    pub(super) fn not_validated(self, fetched: Fetched, backend: backend::Facts) -> Answer {
        let failure = Failure::Status(fetched.status);
        let stale = self
            .local
            .stale_answer(&self.ask, &self.why, failure, Some(&backend), self.hash);
        if stale.is_none() && self.ask.storable(&self.ask.client.method, &fetched).is_ok() {
            return self.receive(fetched, backend);
        }
        self.land(Landing::ServerError(fetched.server_error()));
        stale.unwrap_or_else(|| {
            let status = CacheStatus::new(NAME, Outcome::Fwd(self.why.fwd));
            passed(fetched, status, &self.ask, backend)
        })
    }
}

/// "it can either forward this response to the requesting client or act as if the server failed to respond" (RFC 9111
/// §4.3.3): a waiter gets the status; what else the response says is for the one who asked.
pub(super) fn shared_error(error: ServerError, status: CacheStatus<'static>, ask: &Ask) -> Answer {
    let fields: HeaderMap = error.retry_after.map(|when| (RETRY_AFTER, when)).into_iter().collect();
    let mut response = Response {
        status: error.status,
        fields: Fields::from(fields),
        body: Body::Empty,
    };
    response.fields.added.push_display(&CACHE_STATUS, status);
    done(response, status, ask, backend::Facts::default())
}
