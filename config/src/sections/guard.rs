//! `allow`, `deny`, `request_body_max` and `[[…limit]]`: the same in `[[site]]` and `[[site.route]]`.

use std::time::Duration;

use common::net::address_list::ListItem;

use crate::codec::{Count, FREQUENCY, LIST_ITEM, List, Maybe, RATE_KEY, Size, Special};
use crate::defaults;
use crate::guard::{Frequency, Guard, RateKey, RateLimit};
use crate::schema::{Keys, Visitor};

/// The guard of a site or route as the file has it.
#[derive(Clone, Default)]
pub(crate) struct GuardDraft {
    allow: Option<Vec<ListItem>>,
    deny: Option<Vec<ListItem>>,
    body_bytes_max: Option<u64>,
    limits: Vec<LimitDraft>,
}

/// `[[…limit]]`.
#[derive(Clone)]
pub(crate) struct LimitDraft {
    rate: Frequency,
    burst: Option<u32>,
    key: RateKey,
    keys_max: usize,
}

/// Shows `allow` and `deny`, which listeners have, too.
pub(super) fn visit_access<V: Visitor>(v: &mut V, allow: &mut Option<Vec<ListItem>>, deny: &mut Option<Vec<ListItem>>) {
    let list = |absent| Maybe::new(List::some(LIST_ITEM), absent);
    let meaning = "Only clients with these addresses are served; others get 403, or at a listener no connection.";
    v.key("allow", list("everybody"), allow, meaning);
    let meaning = "Clients with these addresses are not served, though `allow` has them.";
    v.key("deny", list("nobody"), deny, meaning);
}

impl GuardDraft {
    pub(super) fn visit_keys<V: Visitor>(&mut self, v: &mut V) {
        visit_access(v, &mut self.allow, &mut self.deny);
        v.key(
            "request_body_max",
            Maybe::new(Size::between(0, u64::MAX), "the listener's"),
            &mut self.body_bytes_max,
            "Request body, where the listener allows as much; a larger one is answered 413.",
        );
    }

    pub(super) fn visit_tables<V: Visitor>(&mut self, v: &mut V) {
        v.each(
            "limit",
            &mut self.limits,
            "How often requests may come; those that come too soon are answered 429 with `Retry-After`.\n\
             A route's requests are counted for the route first, and if they pass, for the site.",
        );
    }

    pub(super) fn of(guard: &Guard) -> Self {
        let limits = guard.limits.iter().cloned();
        Self {
            allow: guard.allow.clone(),
            deny: guard.deny.clone(),
            body_bytes_max: guard.body_bytes_max,
            limits: limits
                .map(|limit| LimitDraft {
                    rate: limit.rate,
                    burst: Some(limit.burst),
                    key: limit.key,
                    keys_max: limit.keys_max,
                })
                .collect(),
        }
    }

    /// The guard that it means.
    pub(crate) fn into_guard(self) -> Guard {
        let limits = self.limits.into_iter();
        Guard {
            allow: self.allow,
            deny: self.deny,
            body_bytes_max: self.body_bytes_max,
            limits: limits
                .map(|limit| RateLimit {
                    rate: limit.rate,
                    burst: limit.burst.unwrap_or(limit.rate.requests),
                    key: limit.key,
                    keys_max: limit.keys_max,
                })
                .collect(),
        }
    }
}

impl Keys for LimitDraft {
    fn preset() -> Self {
        Self {
            rate: Frequency {
                requests: 1,
                per: Duration::from_secs(1),
            },
            burst: None,
            key: RateKey::Address,
            keys_max: defaults::RATE_KEYS_MAX,
        }
    }

    fn visit<V: Visitor>(&mut self, v: &mut V) {
        let meaning = "How many requests per second, minute or hour.";
        v.key("rate", Special::required(FREQUENCY), &mut self.rate, meaning);
        v.key(
            "burst",
            Maybe::new(
                Count {
                    min: 1,
                    max: u64::from(u32::MAX),
                },
                "the number in `rate`",
            ),
            &mut self.burst,
            "How many of them at once.",
        );
        v.key(
            "key",
            RATE_KEY,
            &mut self.key,
            "What is counted apart: each client address, all of the site or route together, or each value of a field or \
             cookie (requests without it: by address).",
        );
        v.key(
            "keys_max",
            Count { min: 8, max: 1 << 24 },
            &mut self.keys_max,
            "Values of the key that are remembered, at 17 bytes each; of more, those are forgotten that have asked least.",
        );
    }
}
