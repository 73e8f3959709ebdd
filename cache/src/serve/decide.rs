//! What a request comes to, as far as the store and the rules decide it. Pure.
//!
//! Serving acts on these decisions and `explain` tells them: there is one place where they are made. Does not look
//! anything up and does not make a response (`answer.rs`).

use std::sync::Arc;
use std::time::Duration;

use common::http::head::Head;
use common::time::WallTime;

use crate::policy::bypass::{Bypass, bypass};
use crate::policy::content_range::PartialContent;
use crate::policy::held;
use crate::policy::meta::StoredMeta;
use crate::policy::outcome::Fwd;
use crate::policy::request::RequestDigest;
use crate::policy::reuse::{Mark, Reuse, StaleWhy, ValidateWhy, is_only_if_cached, reuse};
use crate::policy::rules::Rules;
use crate::policy::vary::{self, Vary};
use crate::store::Stored;
use crate::tier::TierRoute;

/// Why a request goes past the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Past {
    /// There is none in this process.
    NoStore,
    /// Its route is not cached.
    Route,
    /// Its method, or a configured bypass.
    Rule(Bypass),
    /// It is a GET or HEAD with content, which means nothing to a cache and something to nobody else.
    Content,
}

impl Past {
    /// What Cache-Status says; nothing where there is no cache to speak of.
    pub(crate) fn fwd(self) -> Option<Fwd> {
        match self {
            Self::NoStore => None,
            Self::Route | Self::Content => Some(Fwd::Bypass),
            Self::Rule(bypass) => Some(bypass.into()),
        }
    }
}

/// Whether a request goes past the store, and why.
pub(crate) fn past(has_store: bool, route: &TierRoute, head: &Head, has_content: bool) -> Option<Past> {
    if !has_store {
        return Some(Past::NoStore);
    }
    if !route.is_cached {
        return Some(Past::Route);
    }
    bypass(&head.method, head.uri.query(), &head.headers, &route.rules.bypass)
        .map(Past::Rule)
        .or_else(|| has_content.then_some(Past::Content))
}

/// What becomes of a request that does not go past the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The stored response at this place answers.
    Answer {
        index: usize,
        /// Its age now.
        age: Duration,
        /// What allows it where it is stale.
        stale: Option<StaleWhy>,
        /// Whether it is refreshed in the background.
        refreshes: bool,
    },
    /// It answers once the origin has said that it still holds.
    Validate { index: usize, why: ValidateWhy },
    /// A part is stored that does not have all that the request asks for, or is stale.
    Complete { index: usize },
    /// Nothing that is stored can answer.
    Fetch(Fwd),
    /// Nothing that is stored can answer, and the client wants nothing else: 504.
    OnlyIfCached(Fwd),
}

/// Decides it from all that is `stored` for the request's key; `mark` tells who is marked stale.
pub(crate) fn decide(
    stored: &[Arc<Stored>],
    mark: impl Fn(&Stored) -> Mark,
    head: &Head,
    digest: &RequestDigest<'_>,
    rules: &Rules,
    now: WallTime,
) -> Decision {
    let selected = match stored {
        // Nearly always one of these two; neither needs a look at this request's fields.
        [] => None,
        [only] if only.meta.vary == Vary::Nothing => Some(0),
        _ => vary::select(stored.iter().map(|stored| &stored.meta), &head.headers, &rules.vary),
    };
    let Some(index) = selected else {
        let fwd = if stored.is_empty() { Fwd::UriMiss } else { Fwd::VaryMiss };
        return match is_only_if_cached(digest, rules) {
            true => Decision::OnlyIfCached(fwd),
            false => Decision::Fetch(fwd),
        };
    };
    let selected = &stored[index];
    let reuse = reuse(&selected.meta, mark(selected), digest, rules, now);
    // "A cache MUST NOT use an incomplete response to answer requests unless the response has been made complete, or the
    // request is partial and specifies a range wholly within the incomplete response." (RFC 9111 §3.3)
    if let Some(part) = selected.meta.part()
        && (matches!(reuse, Reuse::Validate(_)) || !answers(part, &selected.meta, head, digest, rules, now))
    {
        return match is_only_if_cached(digest, rules) {
            true => Decision::OnlyIfCached(Fwd::Partial),
            false => Decision::Complete { index },
        };
    }
    match reuse {
        Reuse::Fresh { age, refresh_ahead } => Decision::Answer {
            index,
            age,
            stale: None,
            refreshes: refresh_ahead,
        },
        Reuse::Stale { age, why, refresh } => Decision::Answer {
            index,
            age,
            stale: Some(why),
            refreshes: refresh,
        },
        Reuse::Validate(why) => Decision::Validate { index, why },
        Reuse::OnlyIfCached => Decision::OnlyIfCached(Fwd::Stale),
    }
}

/// Whether a stored part has all that a request asks for.
fn answers(
    part: PartialContent,
    meta: &StoredMeta,
    head: &Head,
    digest: &RequestDigest<'_>,
    rules: &Rules,
    now: WallTime,
) -> bool {
    let (validators, fields) = (&meta.validators, &head.headers);
    held::answer_from(part, validators, digest.range, fields, &rules.ranges, now).is_some()
}
