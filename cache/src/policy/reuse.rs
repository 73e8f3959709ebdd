//! May a stored response answer a request: fresh, stale, or after validation only (RFC 9111 §4, §5.2.1, RFC 5861, RFC
//! 8246).
//!
//! Called with the stored response that `vary::select` picked. Parses nothing and allocates nothing.

use std::time::Duration;

use common::time::WallTime;
use http::StatusCode;

use super::directives::{MaxStale, RequestDirectives};
use super::meta::{Grace, StoredMeta};
use super::request::RequestDigest;
use super::rules::Rules;

/// Whether somebody (a soft purge, a HEAD response that did not match) has marked a stored response stale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mark {
    /// Its age decides.
    #[default]
    Unmarked,
    /// It is stale, whatever its age.
    Stale,
}

/// What a stored response is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// It answers the request.
    Fresh {
        /// Its age now.
        age: Duration,
        /// Whether to refresh it in the background because its end is near.
        refresh_ahead: bool,
    },
    /// It answers the request although it is stale.
    Stale {
        /// Its age now.
        age: Duration,
        /// What allows it.
        why: StaleWhy,
        /// Whether to validate it in the background.
        refresh: bool,
    },
    /// It answers the request only after the origin said that it still holds.
    Validate(ValidateWhy),
    /// It does not answer the request, and the client wants nothing else: 504.
    OnlyIfCached,
}

/// What allows to serve a stale response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StaleWhy {
    /// The request's `max-stale`.
    MaxStale,
    /// The response's `stale-while-revalidate`, or the rules'.
    WhileRevalidate,
    /// The response's or request's `stale-if-error`.
    IfError,
    /// The rules: the origin cannot be reached.
    Unreachable,
    /// The rules: the origin answers with an error.
    OriginError,
}

impl StaleWhy {
    /// The word for log, metric and `detail` of Cache-Status.
    pub const fn word(self) -> &'static str {
        match self {
            Self::MaxStale => "max_stale",
            Self::WhileRevalidate => "stale_while_revalidate",
            Self::IfError => "stale_if_error",
            Self::Unreachable => "origin_unreachable",
            Self::OriginError => "origin_error",
        }
    }
}

/// Why a stored response must be validated first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValidateWhy {
    /// It is stale.
    Stale,
    /// It was marked stale.
    MarkedStale,
    /// It says `no-cache`.
    NoCache,
    /// The request says `no-cache`, and the rules let it.
    RequestNoCache,
    /// It is older than the request's `max-age`, and the rules let it.
    RequestMaxAge,
    /// It will not be fresh for the request's `min-fresh`, and the rules let it.
    RequestMinFresh,
}

impl ValidateWhy {
    /// The word for log, metric and `detail` of Cache-Status.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::MarkedStale => "marked_stale",
            Self::NoCache => "no_cache",
            Self::RequestNoCache => "request_no_cache",
            Self::RequestMaxAge => "request_max_age",
            Self::RequestMinFresh => "request_min_fresh",
        }
    }

    /// Whether the request, not the stored response, is the reason (`fwd=request` of RFC 9211).
    pub const fn is_request(self) -> bool {
        matches!(self, Self::RequestNoCache | Self::RequestMaxAge | Self::RequestMinFresh)
    }
}

/// Decides what a stored response is good for.
pub fn reuse(meta: &StoredMeta, mark: Mark, request: &RequestDigest<'_>, rules: &Rules, now: WallTime) -> Reuse {
    let age = meta.current_age(now);
    // "response_is_fresh = (freshness_lifetime > current_age)" (§4.2)
    let left = meta.lifetime.duration().saturating_sub(age);
    let fresh = mark == Mark::Unmarked && !left.is_zero();
    let demand = client_demand(meta, fresh, age, left, &request.directives, rules);
    let why = match demand {
        // "The no-cache response directive, in its unqualified form (without an argument), indicates that the response
        // MUST NOT be used to satisfy any other request without forwarding it for validation and receiving a successful
        // response" (§5.2.2.4)
        _ if meta.no_cache => ValidateWhy::NoCache,
        Some(why) => why,
        None if fresh => {
            let refresh_ahead = is_near_end(left, meta.lifetime.duration(), rules.refresh_ahead_percent);
            return Reuse::Fresh { age, refresh_ahead };
        }
        None => match stale_why(meta, mark, age, &request.directives, rules) {
            Some(why) => {
                let refresh = why == StaleWhy::WhileRevalidate;
                return Reuse::Stale { age, why, refresh };
            }
            None if mark == Mark::Stale => ValidateWhy::MarkedStale,
            None => ValidateWhy::Stale,
        },
    };
    if is_only_if_cached(request, rules) {
        Reuse::OnlyIfCached
    } else {
        Reuse::Validate(why)
    }
}

/// "Caches that honor this request directive SHOULD, upon receiving it, respond with either a stored response
/// consistent with the other constraints of the request or a 504 (Gateway Timeout) status code." (§5.2.1.7) Also asked
/// when there is no stored response at all.
pub const fn is_only_if_cached(request: &RequestDigest<'_>, rules: &Rules) -> bool {
    request.directives.only_if_cached && rules.client.only_if_cached
}

/// What the client asks beyond freshness, where the rules let it.
fn client_demand(
    meta: &StoredMeta,
    fresh: bool,
    age: Duration,
    left: Duration,
    directives: &RequestDirectives,
    rules: &Rules,
) -> Option<ValidateWhy> {
    if !rules.client.refetch {
        return None;
    }
    // "the client prefers a stored response not be used to satisfy the request without successful validation on the
    // origin server." (§5.2.1.4)
    if directives.no_cache {
        return Some(ValidateWhy::RequestNoCache);
    }
    // "proxies SHOULD skip conditionally revalidating fresh responses containing the immutable extension unless there
    // is a signal from the client that a validation is necessary (e.g., a no-cache Cache-Control request directive
    // […])." (RFC 8246 §2)
    let immutable = meta.immutable && fresh;
    let too_old = directives.max_age.is_some_and(|max_age| age > seconds(max_age));
    // "Unless the max-stale request directive is also present, the client does not wish to receive a stale response."
    // (§5.2.1.1)
    let takes_stale = !fresh && directives.max_stale != MaxStale::Absent;
    if too_old && !immutable && !takes_stale {
        return Some(ValidateWhy::RequestMaxAge);
    }
    // "the client prefers a response whose freshness lifetime is no less than its current age plus the specified time
    // in seconds." (§5.2.1.3)
    let short = directives.min_fresh.is_some_and(|min_fresh| left < seconds(min_fresh));
    (short && fresh).then_some(ValidateWhy::RequestMinFresh)
}

/// What, if anything, allows to serve a stale response without asking the origin first.
fn stale_why(
    meta: &StoredMeta,
    mark: Mark,
    age: Duration,
    directives: &RequestDirectives,
    rules: &Rules,
) -> Option<StaleWhy> {
    // "A cache MUST NOT generate a stale response if it is prohibited by an explicit in-protocol directive" (§4.2.4)
    if meta.must_not_be_stale.is_some() {
        return None;
    }
    let over = staleness(meta, age);
    let accepted = match directives.max_stale {
        MaxStale::Absent => false,
        MaxStale::Any => true,
        // "the client is willing to accept a response that has exceeded its freshness lifetime by no more than the
        // specified number of seconds." (§5.2.1.2)
        MaxStale::Seconds(most) => over <= seconds(most),
    };
    // What an operator marked stale is not kept alive by a client's wish.
    if accepted && rules.client.max_stale && mark == Mark::Unmarked {
        return Some(StaleWhy::MaxStale);
    }
    // "caches MAY serve the response in which it appears after it becomes stale, up to the indicated number of seconds.
    // […] If delta-seconds passes without the cached entity being revalidated, it SHOULD NOT continue to be served
    // stale" (RFC 5861 §3)
    let window = meta
        .stale_while_revalidate
        .map_or(rules.stale.while_revalidate, |grace| seconds(grace.seconds()));
    (over <= window && !window.is_zero()).then_some(StaleWhy::WhileRevalidate)
}

/// How the attempt to fetch or validate failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// There is no response: no connection, a timeout, a response that broke off or is no HTTP.
    Unreachable,
    /// There is a response with this status.
    Status(StatusCode),
}

/// Whether a stored response answers a request whose fetch or validation failed; `None`: the failure does.
pub fn reuse_on_failure(
    meta: &StoredMeta,
    mark: Mark,
    request: &RequestDigest<'_>,
    failure: Failure,
    rules: &Rules,
    now: WallTime,
) -> Option<StaleWhy> {
    // "an error is any situation that would result in a 500, 502, 503, or 504 HTTP response status code being
    // returned." (RFC 5861 §4)
    if let Failure::Status(status) = failure
        && !matches!(status.as_u16(), 500 | 502..=504)
    {
        return None;
    }
    let age = meta.current_age(now);
    let stale = mark == Mark::Stale || meta.lifetime.duration() <= age;
    // "if a cache is disconnected, the cache MUST generate an error response rather than reuse the stale response."
    // (must-revalidate,
    // §5.2.2.2)
    if meta.no_cache || stale && meta.must_not_be_stale.is_some() {
        return None;
    }
    // "the cache can send a previously stored response, subject to its constraints on doing so" (§4.3.3)
    let asked = request
        .directives
        .stale_if_error
        .filter(|_| rules.client.stale_if_error);
    let explicit = asked.or_else(|| meta.stale_if_error.map(Grace::seconds));
    let window = explicit.map_or(rules.stale.if_error, seconds);
    let over = staleness(meta, age);
    (over <= window && (!window.is_zero() || !stale)).then_some(match (explicit, failure) {
        (Some(_), _) => StaleWhy::IfError,
        (None, Failure::Unreachable) => StaleWhy::Unreachable,
        (None, Failure::Status(_)) => StaleWhy::OriginError,
    })
}

/// How long ago the lifetime ended.
fn staleness(meta: &StoredMeta, age: Duration) -> Duration {
    age.saturating_sub(meta.lifetime.duration())
}

fn is_near_end(left: Duration, lifetime: Duration, percent: u8) -> bool {
    percent > 0 && left.saturating_mul(100) <= lifetime.saturating_mul(u32::from(percent))
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds))
}
