//! The description of every key: one file per part of the file, in its order.
//!
//! Where the validated struct has the shape of its table, it describes itself; elsewhere a draft does. Names are still
//! text here: `check` resolves them.

mod serve; // [process], [front]
mod limits; // [limits]
mod health; // [health], [health.thresholds]
mod guard; // who may ask, how often and how much
mod listen; // one listener
mod front_listen; // one listener of [front]
mod tls; // [tls.NAME], [front.http2]
mod rules; // [cache.rules], [site.rules], [site.route.rules]
mod cache; // [cache]
mod backend; // [origin.NAME], and the servers of [cache]
mod answers; // maintenance, error_pages, cors
mod spoken; // protocol, tls and http2 of both
mod compression; // compress
mod traffic; // redirects, fields, rewriting of sites and routes
mod site; // [[site]], [[site.route]]
mod telling; // [admin], [log]

pub(crate) use backend::ServerDraft;
pub(crate) use cache::CacheDraft;
pub(crate) use front_listen::FrontListenDraft;
pub(crate) use listen::ListenDraft;
pub(crate) use rules::Overrides;
pub(crate) use serve::{FrontDraft, UnknownHostWord};
pub(crate) use site::{RouteDraft, SiteDraft};
pub(crate) use traffic::TrafficDraft;

use common::backend::settings::BackendSettings;
use common::net::tls::settings::TlsSettings;

use crate::model::{Admin, Config, Health, Limits, Log, Process};
use crate::schema::{Keys, Visitor};

/// A whole file.
pub(crate) struct Draft {
    pub(crate) process: Process,
    pub(crate) limits: Limits,
    pub(crate) health: Health,
    pub(crate) front: Option<FrontDraft>,
    pub(crate) tls: Vec<(String, TlsSettings)>,
    pub(crate) cache: Option<CacheDraft>,
    pub(crate) origins: Vec<(String, BackendSettings)>,
    pub(crate) sites: Vec<SiteDraft>,
    pub(crate) admin: Option<Admin>,
    pub(crate) log: Log,
}

impl Keys for Draft {
    fn preset() -> Self {
        Self {
            process: Process::preset(),
            limits: Limits::preset(),
            health: Health::preset(),
            front: None,
            tls: Vec::new(),
            cache: None,
            origins: Vec::new(),
            sites: Vec::new(),
            admin: None,
            log: Log::preset(),
        }
    }

    fn visit<V: Visitor>(&mut self, v: &mut V) {
        v.table(
            "process",
            &mut self.process,
            "Threads, user, end and limits of the process.",
        );
        v.table(
            "limits",
            &mut self.limits,
            "What one client may take from all others (docs/limits.md).",
        );
        v.optional(
            "front",
            &mut self.front,
            "How clients are met.\nWithout this table the process meets none.",
        );
        v.named(
            "tls",
            &mut self.tls,
            "Certificates that listeners of the front name.\nA NAME has letters, digits, `-` and `_`.",
        );
        v.optional(
            "cache",
            &mut self.cache,
            "The cache tier: here (`memory`), here and served to other fronts (`memory` and `listen`), or on cache \
             servers (`servers`).\nWithout this table nothing is stored.",
        );
        v.named(
            "origin",
            &mut self.origins,
            "A group of servers that sites and routes name as their origin.\nA NAME has letters, digits, `-` and `_`.",
        );
        v.each("site", &mut self.sites, "Some hosts, and where requests for them go.");
        v.optional(
            "admin",
            &mut self.admin,
            "Health and metrics.\nWithout this table there is no admin listener.",
        );
        v.table(
            "health",
            &mut self.health,
            "How the kernel's view of handshakes is watched.",
        );
        v.table(
            "log",
            &mut self.log,
            "tidegate's own log, which goes to standard error.",
        );
    }
}

impl From<&Config> for Draft {
    fn from(config: &Config) -> Self {
        Self {
            process: config.process.clone(),
            limits: config.limits.clone(),
            health: config.health.clone(),
            front: config.front.as_ref().map(FrontDraft::from),
            tls: config.tls.iter().map(|tls| (tls.name.clone(), tls.clone())).collect(),
            cache: CacheDraft::of(&config.cache),
            origins: config
                .origins
                .iter()
                .map(|origin| (origin.name.clone(), origin.clone()))
                .collect(),
            sites: (0..config.sites.len())
                .map(|index| SiteDraft::of(config, index))
                .collect(),
            admin: config.admin.clone(),
            log: config.log.clone(),
        }
    }
}
