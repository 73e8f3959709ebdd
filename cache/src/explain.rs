//! What would become of a request, and why: the answer to an operator's question, as plain values.
//!
//! The decisions are those that serving makes (`serve/decide.rs`, `policy/`); here they are put into words, with the line
//! that decided. Pure; what is looked up for it is in `serve/explain.rs`. Read by the admin API and `tidegate explain`.

mod quote; // the lines that decide
pub(crate) mod reason; // decisions in words

use std::sync::Arc;
use std::time::Duration;

use common::http::head::Head;
use common::time::WallTime;
use http::StatusCode;

use crate::policy::meta::Grace;
use crate::policy::rules::Rules;
use crate::store::Stored;

/// A request that nobody has sent.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Its head; the Host field says which host it is for.
    pub head: &'a Head,
    /// Whether it would come encrypted.
    pub tls: bool,
    /// Now.
    pub now: WallTime,
}

/// What would become of it.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The cache key.
    pub key: String,
    /// Where that key is stored.
    pub place: Place,
    /// Requests for the key that were answered without the origin, since something was first stored for it.
    pub hits: u64,
    /// All that is stored for it, purged or not.
    pub stored: Vec<View>,
    /// The slices that are stored of it, on a route with slices.
    pub slices: Option<Slices>,
    /// What would happen.
    pub verdict: Verdict,
    /// What else there is to know about that.
    pub notes: Vec<String>,
}

/// Stored slices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slices {
    /// Bytes of a slice.
    pub bytes: u64,
    /// Bytes of the whole, as the slices tell.
    pub complete_length: Option<u64>,
    /// Which, in their order.
    pub runs: Vec<SliceRun>,
}

/// Slices that follow each other and are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceRun {
    /// The number of the first; the beginning is slice 0.
    pub first: u64,
    /// The number of the last.
    pub last: u64,
    /// As [`View::state`], or `for other requests`.
    pub state: &'static str,
    /// Their entity tag.
    pub etag: Option<String>,
}

/// Where a key is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In this process.
    Here,
    /// On this cache server, which alone knows more; `None`: on any of them.
    Server(Option<Arc<str>>),
    /// Nowhere.
    Nowhere,
}

/// What would happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Our member of Cache-Status as far as it is known now; nothing where there would be none.
    pub cache_status: Option<String>,
    /// The word of RFC 9211: `hit`, or why it is forwarded.
    pub outcome: &'static str,
    /// The one word for the reason, as log and metrics have it.
    pub word: &'static str,
    /// The reason.
    pub sentence: String,
    /// What decided.
    pub quote: Option<Quote>,
    /// The status of the answer, where it would be made here.
    pub status: Option<StatusCode>,
}

/// The line that decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// Whose it is: `request`, `response` or `configuration`.
    pub of: &'static str,
    /// As it stands there.
    pub line: String,
}

/// One stored response.
#[derive(Clone, Debug)]
pub struct View {
    /// Whether it is the one that the request would be answered with, or that would be validated.
    pub selected: bool,
    /// Whether the fields that it varies on are the request's.
    pub matches: bool,
    /// `fresh`, `stale`, `marked_stale` (purged softly, or contradicted by an answer to HEAD) or `purged`.
    pub state: &'static str,
    /// Its status.
    pub status: StatusCode,
    /// Its age in seconds.
    pub age: u64,
    /// Its lifetime in seconds.
    pub lifetime: u32,
    /// What gave that: the word of `LifetimeRule`.
    pub rule: &'static str,
    /// The line that gave it.
    pub quote: Option<Quote>,
    /// The operator's bound that changed it: `lifetime_min` or `lifetime_max`.
    pub bound: Option<&'static str>,
    /// What is left of it in seconds, negative when it is over.
    pub ttl: i64,
    /// The request fields that it varies on, as those of the request it was stored for; empty where it does not vary.
    pub vary_key: String,
    /// The same fields of the request in question.
    pub request_vary_key: String,
    /// `no-cache`: never reused without validation.
    pub no_cache: bool,
    /// The directive that forbids to serve it stale.
    pub stale_forbidden_by: Option<&'static str>,
    /// For how many seconds after its lifetime it is served while it is validated.
    pub stale_while_revalidate: u64,
    /// For how many seconds after its lifetime it is served when the origin fails.
    pub stale_if_error: u64,
    /// Its entity tag.
    pub etag: Option<String>,
    /// Its Last-Modified.
    pub last_modified: Option<String>,
    /// Its tags, separated by spaces.
    pub tags: String,
    /// Bytes of content.
    pub content_bytes: u64,
    /// Bytes that it occupies, bookkeeping included.
    pub bytes: u64,
}

impl View {
    /// A stored response as it looks to the request in question; `state` is [`View::state`].
    pub(crate) fn of(
        stored: &Stored,
        question: &Question<'_>,
        rules: &Rules,
        selected: bool,
        state: &'static str,
    ) -> Self {
        let (meta, fields) = (&stored.meta, &stored.fields.to_map());
        let request = &question.head.headers;
        let seconds = |own: Option<u32>, rule: Duration| own.map_or(rule.as_secs(), u64::from);
        let is_allowed = !meta.no_cache && meta.must_not_be_stale.is_none();
        Self {
            selected,
            matches: meta.vary.matches(&meta.vary_key, request, &rules.vary),
            state,
            status: meta.status,
            age: meta.current_age(question.now).as_secs(),
            lifetime: meta.lifetime.seconds,
            rule: meta.lifetime.rule.word(),
            quote: quote::of_lifetime(meta, fields, rules),
            bound: quote::bound(meta, fields, rules),
            ttl: meta.ttl(question.now),
            vary_key: meta.vary_key.to_string(),
            request_vary_key: meta.vary.key(request, fields, &rules.vary).to_string(),
            no_cache: meta.no_cache,
            stale_forbidden_by: meta.must_not_be_stale.map(|why| why.word()),
            stale_while_revalidate: match is_allowed {
                true => seconds(
                    meta.stale_while_revalidate.map(Grace::seconds),
                    rules.stale.while_revalidate,
                ),
                false => 0,
            },
            stale_if_error: match is_allowed {
                true => seconds(meta.stale_if_error.map(Grace::seconds), rules.stale.if_error),
                false => 0,
            },
            etag: meta
                .validators
                .etag
                .as_ref()
                .map(|tag| quote::text(tag.value().as_bytes())),
            last_modified: meta
                .validators
                .last_modified
                .as_ref()
                .map(|date| quote::text(date.value.as_bytes())),
            tags: stored.tags().to_owned(),
            content_bytes: stored.content.length().unwrap_or(0),
            bytes: stored.weight(),
        }
    }
}
