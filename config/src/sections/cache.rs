//! `[cache]`: the tier in this process, served to others, or on cache servers.
//!
//! Some names belong to listeners and to cache servers (`idle_timeout`, `body_timeout`…). No process has both, so each
//! means what its table is about.

use common::backend::settings::{BackendSettings, ServerSettings};
use common::http::forwarded::IpNetwork;
use common::net::settings::ListenSettings;
use common::serve::settings::ServeSettings;

use super::backend::{Server, visit_backend};
use super::listen::Listen;
use super::rules::CacheRules;
use super::serve::{UnknownHostWord, visit_unknown_host};
use crate::codec::{ADMIN_SERVER, Choice, Duration, FILE, List, Maybe, NETWORK, Size, Special};
use crate::defaults;
use crate::model::{Cache, CacheTier, ServersHealth, WhenDown};
use crate::schema::{Keys, Visitor};

/// `[cache]` as the file has it.
pub(crate) struct CacheDraft {
    pub(crate) memory: Option<u64>,
    pub(crate) stored_response_max: u64,
    pub(crate) listen: Option<Vec<ListenSettings>>,
    pub(crate) unknown_host: Option<UnknownHostWord>,
    pub(crate) serve: ServeSettings,
    pub(crate) servers: Option<Vec<ServerSettings>>,
    pub(crate) when_down: WhenDown,
    pub(crate) backend: BackendSettings,
    pub(crate) purge_allow: Vec<IpNetwork>,
    pub(crate) rules: CacheRules,
    pub(crate) servers_health: Option<ServersHealth>,
}

impl CacheDraft {
    /// The table that says this; `None` where there is no tier.
    pub(super) fn of(cache: &Cache) -> Option<Self> {
        let mut draft = Self {
            listen: (!cache.listen.is_empty()).then(|| cache.listen.clone()),
            unknown_host: Some(cache.unknown_host.into()),
            serve: cache.serve.clone(),
            purge_allow: cache.purge_allow.clone(),
            rules: CacheRules::of(&cache.rules),
            servers_health: cache.servers_health.clone(),
            ..Self::preset()
        };
        match &cache.tier {
            CacheTier::None => return None,
            CacheTier::Memory {
                bytes,
                stored_response_max,
            } => {
                draft.memory = Some(*bytes);
                draft.stored_response_max = *stored_response_max;
            }
            CacheTier::Servers { backend, when_down } => {
                draft.servers = Some(backend.servers.clone());
                draft.backend = backend.clone();
                draft.when_down = *when_down;
            }
        }
        Some(draft)
    }
}

impl Keys for CacheDraft {
    fn preset() -> Self {
        let mut backend = BackendSettings {
            balance: defaults::CACHE_SERVERS_BALANCE,
            ..BackendSettings::preset()
        };
        backend.ejection.statuses = Vec::new();
        backend.limits.response_timeout = defaults::CACHE_SERVER_RESPONSE_TIMEOUT;
        Self {
            memory: None,
            stored_response_max: defaults::stored_response_max(u64::MAX),
            listen: None,
            unknown_host: None,
            serve: defaults::SERVE,
            servers: None,
            when_down: defaults::WHEN_DOWN,
            backend,
            purge_allow: Vec::new(),
            rules: CacheRules::preset(),
            servers_health: None,
        }
    }

    fn visit<V: Visitor>(&mut self, v: &mut V) {
        v.key(
            "memory",
            Maybe::new(Size::between(1 << 20, 64 << 40), "none"),
            &mut self.memory,
            "Keep responses in this process, in this much memory, their heads and bookkeeping included. When it is full, what was asked for only once goes first, and what is larger than a tenth of it is kept from its second request on.",
        );
        v.only_with("memory", self.memory.is_some(), |v| {
            v.key(
                "stored_response_max",
                Special::at_most(Size::between(1 << 10, 4095 << 20), "an eighth of `memory`"),
                &mut self.stored_response_max,
                "The largest response that is stored, at most `memory`.",
            );
        });
        v.key(
            "purge_allow",
            List::any(NETWORK),
            &mut self.purge_allow,
            "Peers that may take a URL out of the store with the method `PURGE`, on the front's listeners and on those of \
             `[cache]`; with `servers`, it is sent on to all of them. Empty: nobody, and the method gets 405.",
        );
        let listen = Maybe::new(List::some(Listen), "none");
        v.key(
            "listen",
            listen,
            &mut self.listen,
            "Serve the cache tier to other fronts here; only with `memory`.",
        );
        v.only_with("listen", self.listen.is_some(), |v| {
            visit_unknown_host(v, &mut self.unknown_host);
            self.serve.visit(v);
        });
        let servers = Maybe::new(List::some(Server), "none");
        v.key(
            "servers",
            servers,
            &mut self.servers,
            "Ask these cache servers instead of keeping responses here.",
        );
        v.only_with("servers", self.servers.is_some(), |v| {
            v.key(
                "when_down",
                Choice(&[("origin", WhenDown::Origin), ("error", WhenDown::Error)]),
                &mut self.when_down,
                "What happens when no cache server answers: the origin is asked directly, or the client gets the error.",
            );
            let meaning = "How long an ever smaller part of the keys of a server that is new, or was away, is asked of it and of \
                           who held them before with only-if-cached, before it fetches them; 0: never.";
            v.key("handover", Duration::WAIT, &mut self.backend.handover, meaning);
            visit_backend(v, &mut self.backend);
            v.optional(
                "servers_health",
                &mut self.servers_health,
                "The `/health` of the cache servers, asked for at their admin listeners and folded into this process's.\n\
                 Without this table it tells of its own ends of the legs only.",
            );
        });
        v.table(
            "rules",
            &mut self.rules,
            "What is stored and reused, and for how long, beyond what the RFCs leave no choice in.\n\
             `[site.rules]` and `[site.route.rules]` have the same keys; a front and its cache servers need the same `key_…`.",
        );
    }
}

impl Keys for ServersHealth {
    fn preset() -> Self {
        defaults::servers_health()
    }

    fn visit<V: Visitor>(&mut self, v: &mut V) {
        v.key(
            "admin",
            Special::required(List::some(ADMIN_SERVER)),
            &mut self.admin,
            "Where their admin listeners are.",
        );
        v.key("every", Duration::TIMEOUT, &mut self.every, "How often each is asked.");
        let meaning = "For connecting and the whole answer; without one the server counts as unavailable.";
        v.key("timeout", Duration::TIMEOUT, &mut self.timeout, meaning);
        let report = Size::between(16 << 10, 16 << 20);
        v.key(
            "report_max",
            report,
            &mut self.report_bytes_max,
            "The largest answer that is read.",
        );
        let meaning = "File with the bearer token that they demand; read each time.";
        v.key("token_file", Maybe::new(FILE, "none"), &mut self.token_file, meaning);
        let meaning = "TLS with the admin listeners that begin with `https://`; a `certificate` is for those that have `client_ca`.";
        v.optional("tls", &mut self.tls, meaning);
    }
}
