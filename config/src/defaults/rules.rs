//! The defaults of the cache's rules, with their reasons.

use std::time::Duration;

use http::HeaderName;

use crate::rules::{
    AcceptEncodingRule, AcceptLanguageRule, ClientRules, Heuristic, KeyRules, LifetimeRules, OriginDirectives,
    QueryRule, RangeRules, Rules, SetCookieRule, StaleRules, TagRules, VaryRules, WaitOver, WaitRules,
};

/// What is decided about caching where nobody decides anything: the RFCs to the letter, and clients that cannot force a
/// refetch.
pub(crate) fn rules() -> Rules {
    Rules {
        heuristic: Heuristic {
            // "A typical setting of this fraction might be 10%." (RFC 9111 §4.2.2)
            percent: 10,
            // A file untouched for ten days is trusted for a day: what nobody announced is asked about daily.
            max: Duration::from_secs(86_400),
        },
        lifetime: LifetimeRules::default(),
        negative: Vec::new(),
        origin_directives: OriginDirectives::default(),
        target_list: vec![HeaderName::from_static("cdn-cache-control")],
        set_cookie: SetCookieRule::default(),
        client: ClientRules {
            refetch: false,
            no_store: true,
            max_stale: true,
            only_if_cached: true,
            stale_if_error: true,
        },
        stale: StaleRules {
            // A day of origin trouble is bridged; beyond that an error is more honest than yesterday's content.
            if_error: Duration::from_secs(86_400),
            while_revalidate: Duration::ZERO,
            beside_s_maxage: false,
        },
        refresh_ahead_percent: 0,
        bypass: Vec::new(),
        key: KeyRules {
            scheme: true,
            host: true,
            query: QueryRule::Whole,
            query_sorted: false,
            fields: Vec::new(),
            cookies: Vec::new(),
            // Slices need an origin that understands Range and has strong validators.
            slice: 0,
        },
        vary: VaryRules {
            accept_encoding: AcceptEncodingRule::default(),
            accept_language: AcceptLanguageRule::default(),
            fields_max: 16,
            variants_max: 64,
        },
        ranges: RangeRules {
            // Clients that resume ask for one, viewers of documents for a few.
            ranges_max: 16,
            // About what the head of one more part would cost.
            gap_max: 80,
            store_partial: true,
            // The next one comes while this one is read; more would be fetched in vain for clients that leave.
            slices_ahead: 1,
        },
        waiting: WaitRules {
            // A crowd on one page waits together; beyond that something is wrong with the page, and memory is finite.
            waiters_max: 8192,
            // Nobody waits longer for another one's fetch than its own would take.
            timeout: None,
            over: WaitOver::Fetch,
        },
        tags: TagRules {
            // What Fastly and Varnish's modules, and what Cloudflare and Akamai call them.
            fields: vec![
                HeaderName::from_static("surrogate-key"),
                HeaderName::from_static("cache-tag"),
            ],
            // They tell how a site is built, and are often longer than all other fields together.
            hidden: true,
        },
        store_post: true,
        age_from_date: true,
        // It is as long as the URL, and may hold what is in cookies and fields.
        cache_status_key: false,
        stored_response_max: u64::MAX,
    }
}

/// Below this, a slice costs more in requests and bookkeeping than it saves in bytes.
pub(crate) const SLICE_MIN: u64 = 4 << 10;
