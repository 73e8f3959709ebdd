//! `[limits]`: what one client may take from all others.

use std::time;

use common::serve::settings::{ShedBy, SheddingSettings, SourceSettings};

use crate::codec::{BudgetCodec, Choice, Count, Duration, List, NETWORK, SHARE, Size};
use crate::defaults;
use crate::model::Limits;
use crate::schema::{Keys, Visitor};

impl Keys for Limits {
    fn preset() -> Self {
        Self {
            sources: defaults::sources(),
            shedding: defaults::SHEDDING,
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
        v.table(
            "shedding",
            &mut self.shedding,
            "What becomes of new connections when memory or file descriptors run short; those that are there go on.",
        );
    }
}

impl Keys for SheddingSettings {
    fn preset() -> Self {
        defaults::SHEDDING
    }

    fn visit<V: Visitor>(&mut self, v: &mut V) {
        v.key(
            "memory",
            BudgetCodec(Size::between(1 << 20, 1 << 50)),
            &mut self.memory,
            "Memory that the process may take; `\"auto\"` is the limit of its cgroup, and what the machine has available \
             besides what it has already.",
        );
        v.key(
            "descriptors",
            BudgetCodec(Count {
                min: 1,
                max: 1_000_000_000,
            }),
            &mut self.descriptors,
            "File descriptors that it may have open; `\"auto\"` is RLIMIT_NOFILE, which is the most in any case.",
        );
        let meaning = "The part of either budget from which on new connections are shed.";
        v.key("begin", SHARE, &mut self.begin, meaning);
        let meaning = "The part of it below which they are let in again; not above `begin`.";
        v.key("end", SHARE, &mut self.end, meaning);
        v.key(
            "by",
            Choice(&[
                ("answer", ShedBy::Answer),
                ("close", ShedBy::Close),
                ("wait", ShedBy::Wait),
            ]),
            &mut self.by,
            "How: accepted, answered 503 (with TLS there is no answer) and closed; accepted and closed; or left in the accept \
             queue.",
        );
        v.key(
            "retry_after",
            Duration::whole_seconds(1, 86_400),
            &mut self.retry_after,
            "`Retry-After` of that 503.",
        );
    }
}
