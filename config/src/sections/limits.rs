//! `[limits]`: what one client may take from all others.

use std::time;

use common::serve::settings::SourceSettings;

use crate::codec::{Count, Duration, List, NETWORK};
use crate::defaults;
use crate::model::Limits;
use crate::schema::{Keys, Visitor};

impl Keys for Limits {
    fn preset() -> Self {
        Self {
            sources: defaults::sources(),
            lists_reload_every: defaults::LISTS_RELOAD_EVERY,
        }
    }

    fn visit<V: Visitor>(&mut self, v: &mut V) {
        let SourceSettings {
            connections_max,
            prefixes,
            exempt,
        } = &mut self.sources;
        v.key(
            "connections_per_source_max",
            Count {
                min: 1,
                max: 10_000_000,
            },
            connections_max,
            "Client connections from one source: one IPv4 address, or one IPv6 network; further ones are accepted and closed \
             at once.",
        );
        v.key(
            "connections_exempt",
            List::any(NETWORK),
            exempt,
            "Peers that may have as many connections as they like: load balancers, test machines.",
        );
        v.key(
            "source_prefix_v4",
            Count { min: 8, max: 32 },
            &mut prefixes.v4,
            "Leading bits of an IPv4 address that tell one source from another.",
        );
        v.key(
            "source_prefix_v6",
            Count { min: 16, max: 128 },
            &mut prefixes.v6,
            "Leading bits of an IPv6 address that tell one source from another.",
        );
        v.key(
            "lists_reload_every",
            Duration::between(time::Duration::from_millis(100), time::Duration::from_secs(86_400)),
            &mut self.lists_reload_every,
            "How often the files of `allow` and `deny` are looked at; changed ones are taken over, unless something is wrong \
             with them.",
        );
    }
}
