//! What an operator decides about caching, per route: plain settings, which `cache::policy` reads as they are.
//!
//! `Default` is a CDN's default: the RFCs to the letter, and clients that cannot force a refetch (`defaults.rs`).

use std::time::Duration;

use http::{HeaderName, StatusCode};

/// The cache policy of one route.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// Freshness of responses that say nothing about it (RFC 9111 §4.2.2).
    pub heuristic: Heuristic,
    /// Lifetimes set by the operator.
    pub lifetime: LifetimeRules,
    /// Lifetimes of statuses that say nothing about their own, such as 404; the first match counts.
    pub negative: Vec<(StatusCode, Duration)>,
    /// Whether the origin's caching directives (and Expires) are obeyed.
    pub origin_directives: OriginDirectives,
    /// Targeted fields that go before Cache-Control, in this order (RFC 9213 §2.2).
    pub target_list: Vec<HeaderName>,
    /// Responses that carry Set-Cookie (RFC 9111 §7.3).
    pub set_cookie: SetCookieRule,
    /// What clients may ask of the cache (RFC 9111 §5.2.1).
    pub client: ClientRules,
    /// When stale responses are served although nothing in the protocol says so (RFC 9111 §4.2.4).
    pub stale: StaleRules,
    /// A fresh response is refreshed in the background when less than this percentage of its lifetime is left; 0:
    /// never.
    pub refresh_ahead_percent: u8,
    /// Requests that go past the cache.
    pub bypass: Vec<BypassRule>,
    /// What the cache key is made of.
    pub key: KeyRules,
    /// How nominated request fields are compared, and how many variants there may be.
    pub vary: VaryRules,
    /// Range requests.
    pub ranges: RangeRules,
    /// Requests that wait for another one's fetch.
    pub waiting: WaitRules,
    /// What responses are tagged with, for purges.
    pub tags: TagRules,
    /// Whether a POST response that says it represents its target answers later GETs (RFC 9110 §9.3.3).
    pub store_post: bool,
    /// Whether a response is as old as its Date says, whatever its Age (RFC 9111 §4.2.3). Off helps with an origin
    /// whose clock is slow.
    pub age_from_date: bool,
    /// Whether Cache-Status tells the cache key (RFC 9211 §2.7).
    pub cache_status_key: bool,
    /// Bytes of the largest content that is stored.
    pub stored_response_max: u64,
}

/// `lifetime = (Date - Last-Modified) * percent / 100`, at most `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heuristic {
    /// Percent of the time since the last modification; 0 turns heuristics off.
    pub percent: u32,
    /// The longest lifetime that is guessed.
    pub max: Duration,
}

/// Lifetimes set by the operator. None of them stores what `no-store`, `private` or Authorization forbids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LifetimeRules {
    /// Every storable response with a status below 400 has this lifetime.
    pub force: Option<Duration>,
    /// No response that has a lifetime has a shorter one.
    pub min: Option<Duration>,
    /// No response has a longer one.
    pub max: Option<Duration>,
}

/// Whether the origin's caching directives are obeyed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OriginDirectives {
    /// By the RFCs.
    #[default]
    Obeyed,
    /// Cache-Control, Expires and targeted fields are read as if they were absent. `no-store` and `private` too: only
    /// for routes whose responses are known to be for everybody.
    Ignored,
}

/// What is done with responses that carry Set-Cookie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SetCookieRule {
    /// Stored, cookie included, when the origin itself gave explicit freshness or said `public`.
    #[default]
    StoreExplicit,
    /// Never stored.
    Never,
    /// Stored without the field, which the client that caused the fetch still gets.
    Strip,
}

/// What clients may ask of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientRules {
    /// `no-cache` (and `Pragma`), `max-age`, `min-fresh` make the cache ask the origin.
    pub refetch: bool,
    /// `no-store` keeps the response to this request out of the store.
    pub no_store: bool,
    /// `max-stale` gets stale responses.
    pub max_stale: bool,
    /// `only-if-cached` gets 504 instead of a fetch.
    pub only_if_cached: bool,
    /// `stale-if-error` takes the place of the response's own, or of the default.
    pub stale_if_error: bool,
}

/// When stale responses are served without a directive that allows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaleRules {
    /// For how long after its lifetime when the origin cannot be reached or answers 500, 502, 503 or 504.
    pub if_error: Duration,
    /// For how long after its lifetime while it is validated in the background.
    pub while_revalidate: Duration,
    /// Whether an explicit `stale-while-revalidate` or `stale-if-error` counts beside `s-maxage`. RFC 9111 §4.2.4 says
    /// no; many origins mean yes.
    pub beside_s_maxage: bool,
}

/// Requests that go past the cache: neither answered from it nor stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BypassRule {
    /// Requests with this field, whatever its value.
    Field(HeaderName),
    /// Requests with this field and value.
    FieldValue(HeaderName, String),
    /// Requests with a cookie of this name.
    Cookie(String),
    /// Requests with a query parameter of this name.
    Query(String),
}

/// What the cache key is made of, besides the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRules {
    /// The scheme: whether http and https are different resources.
    pub scheme: bool,
    /// The host.
    pub host: bool,
    /// What of the query.
    pub query: QueryRule,
    /// Whether the order of query parameters does not matter.
    pub query_sorted: bool,
    /// Request fields by name.
    pub fields: Vec<HeaderName>,
    /// Cookies by name.
    pub cookies: Vec<String>,
    /// Bytes of a slice, where representations are fetched and stored in slices, each under its own key; 0: whole.
    pub slice: u64,
}

/// What of the query is part of the key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum QueryRule {
    /// All of it.
    #[default]
    Whole,
    /// Nothing.
    Nothing,
    /// Parameters with these names.
    Only(Vec<String>),
    /// Parameters with other names than these.
    Except(Vec<String>),
}

/// How nominated request fields are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VaryRules {
    /// Accept-Encoding.
    pub accept_encoding: AcceptEncodingRule,
    /// Accept-Language.
    pub accept_language: AcceptLanguageRule,
    /// Fields that a Vary may name; a response with more is not stored.
    pub fields_max: usize,
    /// Variants per key.
    pub variants_max: usize,
}

/// How Accept-Encoding is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AcceptEncodingRule {
    /// As it was sent, but for white space.
    AsSent,
    /// Without regard to order and case: the same meaning is the same variant.
    #[default]
    SameMeaning,
    /// Reduced to what of zstd, br and gzip is acceptable; the origin is asked with the reduced field too.
    Reduced,
}

/// How Accept-Language is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AcceptLanguageRule {
    /// As it was sent, but for white space.
    AsSent,
    /// Without regard to order (of equal weights) and case: the same meaning is the same variant.
    #[default]
    SameMeaning,
    /// As `SameMeaning`; and a response in the one language that the client likes best matches too, which goes beyond
    /// RFC 9111 §4.1.
    BestLanguage,
}

/// Limits of range requests (RFC 9110 §14.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeRules {
    /// Ranges in one request; a request for more gets the whole representation.
    pub ranges_max: usize,
    /// Ranges that are not further apart than these bytes become one.
    pub gap_max: u64,
    /// Whether 206 responses are stored.
    pub store_partial: bool,
    /// Slices that are fetched ahead of the one that a client is reading.
    pub slices_ahead: usize,
}

/// Requests that wait for another one's fetch (collapsed forwarding).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitRules {
    /// Requests that wait for one fetch.
    pub waiters_max: usize,
    /// How long one waits; `None`: as long as the origin's connect and response timeouts together.
    pub timeout: Option<Duration>,
    /// What happens to one that has waited so long, or is one too many.
    pub over: WaitOver,
}

/// What happens to a request that has waited long enough for another one's fetch, or may not wait at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WaitOver {
    /// It asks the origin itself.
    #[default]
    Fetch,
    /// It is answered with an error (503), or something stale where that is allowed.
    Error,
}

/// Tags: words in response fields by which stored responses are purged together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagRules {
    /// The fields; tags are separated by white space or commas.
    pub fields: Vec<HeaderName>,
    /// Whether clients do not get these fields.
    pub hidden: bool,
}

impl Default for Rules {
    fn default() -> Self {
        crate::defaults::rules()
    }
}
