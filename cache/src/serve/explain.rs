//! What would become of a request, without doing it: the steps of `serve`, up to where something would happen.
//!
//! Touches nothing: no recency, no count, no mark, no fetch. Called by `tier`; the words are in `crate::explain`.

use std::sync::Arc;

use common::backend::Backend;
use common::http::head::Head;
use common::time::WallTime;
use http::{Method, StatusCode, header};

use super::ask::is_partial_miss;
use super::decide::{Decision, Past, decide, past};
use super::explain_slices::Found;
use super::{Local, NAME};
use crate::answer::{Asked, Made, answer};
use crate::explain::reason::Reason;
use crate::explain::{Explanation, Place, Question, Verdict, View};
use crate::fetch;
use crate::policy::key::{Key, KeyHash};
use crate::policy::outcome::{CacheStatus, Fwd, Outcome};
use crate::policy::request::RequestDigest;
use crate::policy::reuse::{Failure, Mark, reuse_on_failure};
use crate::purge;
use crate::store::Stored;
use crate::store::memory::Memory;
use crate::tier::TierRoute;

impl Local {
    /// What would become of this request now.
    pub(crate) fn explain(&self, question: &Question<'_>, route: &TierRoute) -> Explanation {
        let Some(compressor) = &route.compression else {
            return self.explain_settled(question, route);
        };
        let mut head = question.head.clone();
        compressor.settle(&mut head.headers);
        let question = Question {
            head: &head,
            ..*question
        };
        self.explain_settled(&question, route)
    }

    /// The same for a request that says in one word which coding it gets.
    fn explain_settled(&self, question: &Question<'_>, route: &TierRoute) -> Explanation {
        let head = question.head;
        let key = fetch::key(head, question.tls, &route.rules.key);
        let mut explanation = self.nothing_stored(&key, head, route);
        let why = past(self.memory.is_some(), route, head, false);
        if let Some(why) = why {
            explanation.verdict = verdict(why.fwd().map(forwarded), Reason::past(why, route, head));
            explanation.notes.push(asks(&route.backend));
        }
        let Some(memory) = &self.memory else {
            return explanation;
        };
        let hash = memory.hash(&key);
        let entry = memory.inspect(hash, &key);
        let variants = entry.as_ref().map_or(&[][..], |entry| entry.variants());
        explanation.hits = entry.as_ref().map_or(0, |entry| entry.hits());
        let purged = |stored: &Stored| memory.purges().verdict(&stored.subject());
        let mark = |stored: &Stored| mark(memory, stored);
        let there: Vec<_> = variants
            .iter()
            .filter(|stored| purged(stored) != purge::Verdict::Gone)
            .cloned()
            .collect();
        let digest = RequestDigest::of(&head.method, &head.headers);
        let decision = decide(&there, mark, head, &digest, &route.rules, question.now);
        let index = match decision {
            Decision::Answer { index, .. } | Decision::Validate { index, .. } | Decision::Complete { index } => {
                Some(index)
            }
            Decision::Fetch(_) | Decision::OnlyIfCached(_) => None,
        };
        let selected = index.map(|index| &there[index]).filter(|_| why.is_none());
        explanation.stored = variants
            .iter()
            .map(|stored| {
                let is_selected = selected.is_some_and(|selected| Arc::ptr_eq(selected, stored));
                let state = match purged(stored) {
                    purge::Verdict::Gone => "purged",
                    _ => state(stored, mark(stored), question.now),
                };
                View::of(stored, question, &route.rules, is_selected, state)
            })
            .collect();
        let rules = &route.rules;
        let slices = (rules.key.slice > 0).then(|| self.slices_of(memory, (hash, &key), question, rules));
        explanation.slices = slices.as_ref().map(Found::view);
        let by_slices = self.may_slice(hash, &digest, rules) && leaves_slices(decision, &there);
        if let (None, Some(slices)) = (why, slices.filter(|_| by_slices)) {
            let (verdict, asked_for) = slices.conclude(question, rules);
            if verdict.status.is_none() {
                explanation.notes.push(asks(&route.backend));
                explanation.notes.extend(asked_for);
            }
            explanation.verdict = verdict;
        } else if why.is_none() {
            explanation.verdict = self.conclude(decision, &there, &digest, question, route);
            let is_forwarded = explanation.verdict.status.is_none();
            if is_forwarded {
                let selected = selected.map(|stored| (stored, mark(stored)));
                let is_vary_miss = decision == Decision::Fetch(Fwd::VaryMiss);
                explanation.notes = self.notes((selected, is_vary_miss), hash, &digest, question, route);
            }
        }
        explanation
    }

    /// What there is to say before the store is looked at.
    fn nothing_stored(&self, key: &Key<'_>, head: &Head, route: &TierRoute) -> Explanation {
        Explanation {
            key: key.to_string(),
            place: match self.memory {
                Some(_) => Place::Here,
                None => Place::Nowhere,
            },
            hits: 0,
            stored: Vec::new(),
            slices: None,
            verdict: verdict(None, Reason::past(Past::NoStore, route, head)),
            notes: Vec::new(),
        }
    }

    /// A decision, and what would be made of it.
    fn conclude(
        &self,
        decision: Decision,
        stored: &[Arc<Stored>],
        digest: &RequestDigest<'_>,
        question: &Question<'_>,
        route: &TierRoute,
    ) -> Verdict {
        let (rules, request) = (&route.rules, &question.head.headers);
        match decision {
            Decision::Fetch(fwd) => verdict(Some(forwarded(fwd)), Reason::miss(fwd, stored)),
            Decision::Validate { index, why } => {
                let reason = Reason::validate(&stored[index], why, question, rules);
                verdict(Some(forwarded(why.into())), reason)
            }
            Decision::Complete { .. } => verdict(Some(forwarded(Fwd::Partial)), Reason::miss(Fwd::Partial, stored)),
            Decision::OnlyIfCached(fwd) => {
                let status = super::without_fetch(fwd);
                Verdict {
                    status: Some(StatusCode::GATEWAY_TIMEOUT),
                    ..verdict(Some(status), Reason::only_if_cached(request))
                }
            }
            Decision::Answer { index, age, stale, .. } => {
                let stored = &stored[index];
                let status = super::hit(&stored.meta, stale, question.now);
                let asked = Asked {
                    fields: request,
                    digest,
                    rules,
                    now: question.now,
                    token: 0,
                };
                match answer(stored, &asked, age, false, status) {
                    Made::Response(response) => Verdict {
                        status: Some(response.status),
                        ..verdict(Some(status), Reason::answer(stored, stale, question, rules))
                    },
                    Made::AskOrigin => verdict(Some(forwarded(Fwd::Request)), Reason::precondition(request)),
                    Made::Unreadable => verdict(Some(forwarded(Fwd::Miss)), Reason::miss(Fwd::Miss, &[])),
                }
            }
        }
    }

    /// What else happens when the origin is asked.
    fn notes(
        &self,
        (selected, is_vary_miss): (Option<(&Arc<Stored>, Mark)>, bool),
        hash: KeyHash,
        digest: &RequestDigest<'_>,
        question: &Question<'_>,
        route: &TierRoute,
    ) -> Vec<String> {
        let mut notes = vec![asks(&route.backend)];
        if route.rules.key.slice > 0 {
            notes.push(
                "is not asked for in slices: it is stored whole, for one client only, or the origin gave none"
                    .to_owned(),
            );
        }
        let head = question.head;
        let has_whole = selected.is_some_and(|(stored, _)| stored.meta.partial.is_none());
        let is_alone = head.method != Method::GET || is_partial_miss(&head.headers, has_whole);
        if is_alone {
            notes.push("neither waits for another request's fetch nor lets others wait for its own".to_owned());
        } else if self.is_not_shareable(hash) {
            notes.push("does not wait for others: a response for this key was not for sharing a moment ago".to_owned());
        } else if self.is_under_way(hash, selected.map(|(stored, _)| stored)) {
            notes.push("waits for the fetch of this key that is under way (collapsed)".to_owned());
        }
        let Some((stored, mark)) = selected else {
            if is_vary_miss && route.compression.is_none() {
                notes.push(
                    "the origin is asked whether one of those that are stored, and have an entity tag, answers"
                        .to_owned(),
                );
            }
            return notes;
        };
        if !has_whole {
            notes.push("a part is stored: the rest is asked for where it can be joined".to_owned());
            return notes;
        }
        let validators = &stored.meta.validators;
        let condition = match (&validators.etag, &validators.last_modified) {
            (Some(_), _) => Some(header::IF_NONE_MATCH),
            (None, Some(_)) => Some(header::IF_MODIFIED_SINCE),
            (None, None) => None,
        };
        notes.push(match condition {
            Some(name) => format!("the origin is asked with {name} whether what is stored still holds"),
            None => "what is stored has no validator: the origin is asked for the whole".to_owned(),
        });
        let rules = &route.rules;
        let on_failure = reuse_on_failure(&stored.meta, mark, digest, Failure::Unreachable, rules, question.now);
        notes.push(match on_failure {
            Some(why) => format!(
                "if the origin cannot be reached, what is stored answers ({})",
                why.word()
            ),
            None => "if the origin cannot be reached, the client gets the error".to_owned(),
        });
        notes
    }
}

/// Whether slices may answer, as in serving: what is stored whole goes before them.
fn leaves_slices(decision: Decision, stored: &[Arc<Stored>]) -> bool {
    match decision {
        Decision::Answer { .. } => false,
        Decision::Validate { index, .. } | Decision::Complete { index } => stored[index].meta.status != StatusCode::OK,
        Decision::Fetch(_) => true,
        Decision::OnlyIfCached(fwd) => fwd != Fwd::Stale,
    }
}

/// Whether a stored response is marked stale, a soft purge that has not met it yet included.
pub(super) fn mark(memory: &Memory, stored: &Stored) -> Mark {
    match memory.purges().verdict(&stored.subject()) {
        purge::Verdict::Stale => Mark::Stale,
        purge::Verdict::Kept | purge::Verdict::Gone => stored.mark(),
    }
}

/// The word for the state of what is not purged.
pub(super) fn state(stored: &Stored, mark: Mark, now: WallTime) -> &'static str {
    match mark {
        Mark::Stale => "marked_stale",
        Mark::Unmarked if stored.meta.ttl(now) > 0 => "fresh",
        Mark::Unmarked => "stale",
    }
}

pub(super) fn verdict(status: Option<CacheStatus<'static>>, reason: Reason) -> Verdict {
    Verdict {
        outcome: status.map_or("pass", |status| status.outcome.word()),
        cache_status: status.map(|status| status.to_string()),
        word: reason.word,
        sentence: reason.sentence,
        quote: reason.quote,
        status: None,
    }
}

pub(super) fn forwarded(fwd: Fwd) -> CacheStatus<'static> {
    CacheStatus::new(NAME, Outcome::Fwd(fwd))
}

fn asks(origin: &Backend) -> String {
    format!("asks origin {}", origin.name())
}
