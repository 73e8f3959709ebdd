//! `[cache.rules]`, and the same keys in `[site.rules]` and `[site.route.rules]`, where each takes the place of what is
//! inherited. A list takes the place of a list.

use std::time;

use http::HeaderName;

use crate::codec::{BYPASS, COOKIE, Choice, Count, Duration, FIELD, Flag, List, Maybe, NEGATIVE, Query, Size};
use crate::defaults;
use crate::rules::{
    AcceptEncodingRule, AcceptLanguageRule, BypassRule, OriginDirectives, QueryRule, Rules, SetCookieRule, WaitOver,
};
use crate::schema::{Keys, Visitor};

/// Declares each key once: its name and type, its place in [`Rules`], its codec and meaning.
macro_rules! keys {
    ($($field:ident: $type:ty = $($place:ident).+, $codec:expr, $meaning:expr;)*) => {
        /// Some of the rules: those that a table of the file says.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub(crate) struct SomeRules {
            $($field: Option<$type>,)*
        }

        impl SomeRules {
            /// All of them.
            fn all(rules: &Rules) -> Self {
                Self { $($field: Some(rules.$($place).+.clone()),)* }
            }

            /// Those in which `rules` differs from what it inherits.
            fn difference(rules: &Rules, inherited: &Rules) -> Self {
                Self { $($field: (rules.$($place).+ != inherited.$($place).+).then(|| rules.$($place).+.clone()),)* }
            }

            /// Puts them in the place of what is inherited.
            fn apply(&self, rules: &mut Rules) {
                $(if let Some(value) = &self.$field {
                    rules.$($place).+ = value.clone();
                })*
            }

            fn visit_defaults<V: Visitor>(&mut self, v: &mut V) {
                let preset = defaults::rules();
                $(v.key(stringify!($field), Maybe::or($codec, &preset.$($place).+), &mut self.$field, $meaning);)*
            }

            fn visit_overrides<V: Visitor>(&mut self, v: &mut V) {
                $(v.key(stringify!($field), Maybe::new($codec, "inherited"), &mut self.$field, $meaning);)*
            }
        }
    };
}

const PERCENT: Count = Count { min: 0, max: 100 };

/// A lifetime, or none of the operator's.
fn lifetime() -> Maybe<Duration> {
    Maybe::new(Duration::WAIT, "none")
}

keys! {
    heuristic_percent: u32 = heuristic.percent, PERCENT,
        "Lifetime of a response that says nothing about it: this part of the time since its Last-Modified; 0: never (RFC 9111 §4.2.2).";
    heuristic_max: time::Duration = heuristic.max, Duration::WAIT, "The longest lifetime that is guessed so.";
    lifetime: Option<time::Duration> = lifetime.force, lifetime(),
        "The lifetime of every storable response with a status below 400, whatever it says itself.";
    lifetime_min: Option<time::Duration> = lifetime.min, lifetime(), "No response that has a lifetime has a shorter one.";
    lifetime_max: Option<time::Duration> = lifetime.max, lifetime(), "No response has a longer lifetime.";
    negative: Vec<(http::StatusCode, time::Duration)> = negative, NEGATIVE,
        "Lifetimes by status, for responses that say nothing about their own: `{ 404 = \"10s\" }`.";
    origin_directives: OriginDirectives = origin_directives,
        Choice(&[("obeyed", OriginDirectives::Obeyed), ("ignored", OriginDirectives::Ignored)]),
        "Whether the origin's Cache-Control, Expires and targeted fields count; `ignored` means `no-store` and `private`, too: only for what is known to be for everybody.";
    target_fields: Vec<HeaderName> = target_list, List::any(FIELD),
        "Targeted fields that go before Cache-Control, in this order (RFC 9213).";
    set_cookie: SetCookieRule = set_cookie,
        Choice(&[("store_explicit", SetCookieRule::StoreExplicit), ("never", SetCookieRule::Never), ("strip", SetCookieRule::Strip)]),
        "Responses with Set-Cookie: stored when the origin gave explicit freshness or `public`, never stored, or stored without the field.";
    client_refetch: bool = client.refetch, Flag,
        "Whether a client's `no-cache`, `max-age` and `min-fresh` make the cache ask the origin.";
    client_no_store: bool = client.no_store, Flag, "Whether a client's `no-store` keeps the response to it out of the store.";
    client_max_stale: bool = client.max_stale, Flag, "Whether a client's `max-stale` gets stale responses.";
    client_only_if_cached: bool = client.only_if_cached, Flag,
        "Whether a client's `only-if-cached` gets 504 where nothing is stored.";
    client_stale_if_error: bool = client.stale_if_error, Flag,
        "Whether a client's `stale-if-error` takes the place of the response's own.";
    stale_if_error: time::Duration = stale.if_error, Duration::WAIT,
        "For how long after its lifetime a response is served when the origin cannot be reached or answers 500, 502, 503 or 504, and the response does not say.";
    stale_while_revalidate: time::Duration = stale.while_revalidate, Duration::WAIT,
        "For how long after its lifetime a response is served while it is validated in the background, where the response does not say (RFC 5861).";
    stale_beside_s_maxage: bool = stale.beside_s_maxage, Flag,
        "Whether explicit `stale-while-revalidate` and `stale-if-error` count beside `s-maxage`, against RFC 9111 §4.2.4.";
    refresh_ahead_percent: u8 = refresh_ahead_percent, Count { min: 0, max: 99 },
        "A fresh response that is asked for is refreshed in the background when less than this part of its lifetime is left; 0: never.";
    bypass: Vec<BypassRule> = bypass, List::any(BYPASS),
        "Requests that go past the cache: `field:NAME`, `field:NAME=VALUE`, `cookie:NAME` or `query:NAME`.";
    key_scheme: bool = key.scheme, Flag, "Whether http and https are different resources.";
    key_host: bool = key.host, Flag, "Whether the host is part of the cache key.";
    key_query: QueryRule = key.query, Query,
        "What of the query is part of the key: `\"all\"`, `\"none\"`, `{ only = [\"a\"] }` or `{ except = [\"utm_source\"] }`.";
    key_query_sorted: bool = key.query_sorted, Flag, "Whether the order of query parameters does not matter.";
    key_fields: Vec<HeaderName> = key.fields, List::any(FIELD), "Request fields whose values are part of the key.";
    key_cookies: Vec<String> = key.cookies, List::any(COOKIE), "Cookies whose values are part of the key.";
    vary_accept_encoding: AcceptEncodingRule = vary.accept_encoding,
        Choice(&[("as_sent", AcceptEncodingRule::AsSent), ("same_meaning", AcceptEncodingRule::SameMeaning), ("reduced", AcceptEncodingRule::Reduced)]),
        "How Accept-Encoding is compared where a response varies on it: as it was sent, without regard to order and case, or reduced to what of zstd, br and gzip is acceptable (the origin is asked so, too).";
    vary_accept_language: AcceptLanguageRule = vary.accept_language,
        Choice(&[("as_sent", AcceptLanguageRule::AsSent), ("same_meaning", AcceptLanguageRule::SameMeaning), ("best_language", AcceptLanguageRule::BestLanguage)]),
        "How Accept-Language is compared; `best_language` lets a response in the client's favourite language match, beyond RFC 9111 §4.1.";
    vary_fields_max: usize = vary.fields_max, Count { min: 1, max: 64 }, "Fields that a stored response may vary on.";
    variants_max: usize = vary.variants_max, Count { min: 1, max: 1024 }, "Variants stored per key; the oldest goes.";
    ranges_max: usize = ranges.ranges_max, Count { min: 1, max: 1024 },
        "Ranges in one request; a request for more gets the whole response.";
    range_gap_max: u64 = ranges.gap_max, Size::between(0, 1 << 20), "Ranges no further apart than this become one.";
    store_partial: bool = ranges.store_partial, Flag,
        "Whether what came for a client's Range is stored, answers ranges that lie in it, and is completed when the whole is asked for; not beside `slice` or compression.";
    slice: u64 = key.slice, Size::between(0, 1 << 30),
        "Bytes of a slice, `4KiB` at least: representations are fetched, stored and joined in slices of this size, so that a range of a large one needs only a part of it; `0B`: whole.";
    slices_ahead: usize = ranges.slices_ahead, Count { min: 0, max: 64 },
        "Slices that are fetched ahead of the one that a client is reading.";
    store_post: bool = store_post, Flag,
        "Whether a POST response that says that it represents its target answers later GETs (RFC 9110 §9.3.3).";
    age_from_date: bool = age_from_date, Flag,
        "Whether a response is at least as old as its Date says; `false` helps with an origin whose clock is slow.";
    waiters_max: usize = waiting.waiters_max, Count { min: 0, max: 1_000_000 },
        "Requests that wait for one fetch of the same response; `wait_over` says what becomes of a further one.";
    wait_timeout: Option<time::Duration> = waiting.timeout,
        Maybe::new(Duration::TIMEOUT, "`connect_timeout` and `response_timeout` together"), "How long a request waits so.";
    wait_over: WaitOver = waiting.over, Choice(&[("fetch", WaitOver::Fetch), ("error", WaitOver::Error)]),
        "What becomes of one that has waited so long, or is one too many: it asks the origin itself, or gets 503 (or something stale, where that is allowed).";
    cache_status_key: bool = cache_status_key, Flag, "Whether Cache-Status tells the cache key, as `key=\"…\"` (RFC 9211).";
    tag_fields: Vec<HeaderName> = tags.fields, List::any(FIELD),
        "Response fields whose words, separated by white space or commas, are tags to purge by.";
    tags_hidden: bool = tags.hidden, Flag, "Whether clients do not get these fields.";
}

/// `[cache.rules]`.
pub(crate) struct CacheRules(SomeRules);

/// `[site.rules]` or `[site.route.rules]`.
pub(crate) struct Overrides {
    rules: SomeRules,
    stored_response_max: Option<u64>,
}

impl CacheRules {
    /// The table that says all of these.
    pub(crate) fn of(rules: &Rules) -> Self {
        Self(SomeRules::all(rules))
    }

    /// The defaults with what the table says.
    pub(crate) fn rules(&self) -> Rules {
        let mut rules = defaults::rules();
        self.0.apply(&mut rules);
        rules
    }
}

impl Overrides {
    /// The table that makes `rules` of what it inherits; `None` where that is the same.
    pub(crate) fn of(rules: &Rules, inherited: &Rules) -> Option<Self> {
        let differs = rules.stored_response_max != inherited.stored_response_max;
        (rules != inherited).then(|| Self {
            rules: SomeRules::difference(rules, inherited),
            stored_response_max: differs.then_some(rules.stored_response_max),
        })
    }

    /// What is inherited with what the table says.
    pub(crate) fn over(&self, inherited: &Rules) -> Rules {
        let mut rules = inherited.clone();
        self.rules.apply(&mut rules);
        rules.stored_response_max = self.stored_response_max.unwrap_or(rules.stored_response_max);
        rules
    }
}

impl Keys for CacheRules {
    fn preset() -> Self {
        Self(SomeRules::default())
    }

    fn visit<V: Visitor>(&mut self, v: &mut V) {
        self.0.visit_defaults(v);
    }
}

impl Keys for Overrides {
    fn preset() -> Self {
        Self {
            rules: SomeRules::default(),
            stored_response_max: None,
        }
    }

    fn visit<V: Visitor>(&mut self, v: &mut V) {
        self.rules.visit_overrides(v);
        v.key(
            "stored_response_max",
            Maybe::new(Size::between(0, 4095 << 20), "inherited"),
            &mut self.stored_response_max,
            "The largest response that is stored.",
        );
    }
}
