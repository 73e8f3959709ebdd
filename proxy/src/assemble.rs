//! A configuration → the parts of a process. Nothing is bound or started here.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cache::tier::{Compressor, Tier, TierRoute};
use common::backend::settings::BackendSettings;
use common::backend::{Backend, BackendTls, ResolveError};
use common::http::forwarded::{ForwardedSettings, IpNetwork};
use common::http::via::NodeId;
use common::net::tls::acceptor::TlsAcceptor;
use common::net::tls::certificate::Certificate;
use common::net::tls::connector::TlsConnector;
use common::net::tls::context::{TlsContext, TlsError};
use common::net::tls::settings::{ClientCertificates, ClientDemand};
use common::time::{Clock, WallTime};
use config::{CacheMode, CacheTier, Config, FrontListener, UnknownHost};

use crate::admin::Gate;
use crate::exchange::purge::PurgeMethod;
use crate::exchange::{
    Exchange,
    door::Door,
    traffic::{Traffic, pages, pages::Pages, users, users::Users, verifier::Verifier, verifier::Verifying},
};
use crate::exit::{Code, Failure};
use crate::guards::Guards;
use crate::health::fold;
use crate::routes::{Route, Routes};

/// The parts that answer requests.
pub struct Parts {
    /// Answers the clients of the front.
    pub front: Option<Arc<Exchange>>,
    /// Answers the fronts that ask this process's cache tier.
    pub cache_server: Arc<Exchange>,
    /// Every backend: origins, then cache servers.
    pub backends: Vec<Arc<Backend>>,
    /// The cache tier.
    pub tier: Arc<Tier>,
    /// The certificates, each as one `[tls.NAME]` has them.
    pub tls: Vec<Arc<TlsContext>>,
    /// What makes the handshakes of the front's listeners, in their order; `None` where no TLS is spoken.
    pub acceptors: Vec<Option<Arc<TlsAcceptor>>>,
    /// What keeps strangers away from the admin listener.
    pub admin: AdminGuard,
    /// What TLS is spoken with to those backends that want it.
    pub connectors: Vec<Arc<TlsConnector>>,
    /// What admin listeners of cache servers are asked with, where they speak TLS.
    pub asking: Option<Arc<TlsConnector>>,
    /// Who may come in.
    pub guards: Guards,
    /// Who has which password, by file.
    pub users: Vec<Arc<Users>>,
    /// Verifies passwords once it is started.
    pub verifying: Verifying,
}

/// What is read from files besides the configuration.
pub struct Files {
    /// The certificates, each as one `[tls.NAME]` has them.
    pub tls: Vec<Arc<TlsContext>>,
    /// What makes the handshakes of the front's listeners.
    acceptors: Vec<Option<Arc<TlsAcceptor>>>,
    /// What keeps strangers away from the admin listener.
    admin: AdminGuard,
    /// Roots and certificates for connections to servers, by the name of the backend.
    backends: Vec<(String, BackendTls)>,
    /// What admin listeners of cache servers are asked with, where they speak TLS.
    asking: Option<Arc<TlsConnector>>,
    /// Pages for errors.
    pages: Arc<Pages>,
    /// Who may come in.
    guards: Guards,
    /// Who has which password.
    users: HashMap<PathBuf, Arc<Users>>,
}

impl Parts {
    /// The routes by which operators know URLs: those of clients, where this process meets some.
    pub fn known_routes(&self) -> &Arc<Routes> {
        &self.front.as_ref().unwrap_or(&self.cache_server).routes
    }
}

/// Reads the files that the configuration names: certificates, pages, address lists, users.
///
/// # Errors
/// Everything that is wrong with them, all at once.
pub fn files(config: &Config) -> Result<Files, Failure> {
    let now = Clock::System.wall();
    let mut wrong = Vec::new();
    let mut tls = Vec::with_capacity(config.tls.len());
    for settings in &config.tls {
        match TlsContext::load(settings.clone(), now) {
            Ok(context) => tls.push(context),
            Err(error) => wrong.push(format!("tls.{}: {error}", settings.name)),
        }
    }
    let listeners = config.front.iter().flat_map(|front| &front.listen);
    let acceptor = |(index, listener)| {
        front_acceptor(listener, &tls).unwrap_or_else(|error| {
            wrong.push(format!("front.listen[{index}].client_ca: {error}"));
            None
        })
    };
    let acceptors = listeners.enumerate().map(acceptor).collect();
    let admin = admin_guard(config, &tls).unwrap_or_else(|error| {
        wrong.push(error);
        AdminGuard::default()
    });
    let mut backends = Vec::new();
    for (path, settings) in backend_settings(config) {
        match BackendTls::load(settings, now) {
            Ok(Some(tls)) => backends.push((settings.name.clone(), tls)),
            Ok(None) => {}
            Err(error) => wrong.push(format!("{path}.tls: {error}")),
        }
    }
    let asking = config.cache.servers_health.as_ref();
    let asking = asking.map_or(Ok(None), |settings| fold::connector(settings, now));
    let asking = asking.unwrap_or_else(|error| {
        wrong.push(format!("cache.servers_health.tls: {error}"));
        None
    });
    let pages = Arc::new(pages::read_all(config, &mut wrong));
    let guards = Guards::load(config).map_err(|problems| wrong.extend(problems));
    let users = users::read_all(config, &mut wrong);
    match guards {
        Ok(guards) if wrong.is_empty() => Ok(Files {
            tls,
            acceptors,
            admin,
            backends,
            asking,
            pages,
            guards,
            users,
        }),
        _ => Err(Failure::new(Code::Config, wrong.join("\n"))),
    }
}

/// Certificates that have little time left; a line each. While running, `TlsContext` tells so itself.
pub fn expiring(tls: &[Arc<TlsContext>], now: WallTime) -> Vec<String> {
    let contexts = tls.iter();
    let line = |context: &Arc<TlsContext>| {
        let name = context.settings().name.clone();
        let line = move |certificate: Certificate| {
            let (file, end) = (certificate.file.display(), certificate.not_after.http_date());
            format!("tls.{name}.certificates: {file}: the certificate expires on {end}")
        };
        context.expiring(now).map(line).collect::<Vec<_>>()
    };
    contexts.flat_map(line).collect()
}

/// What is read and should not be readable by everybody; a line each.
pub fn warnings(tls: &[Arc<TlsContext>]) -> Vec<String> {
    let keys = tls.iter().filter_map(|context| Some((context, context.ticket_keys()?)));
    let exposed = keys.flat_map(|(context, keys)| keys.exposed().map(|file| (&*context.settings().name, file)));
    let line = |(name, file): (&str, &Path)| {
        let file = file.display();
        format!(
            "tls.{name}.ticket_keys: {file}: everybody on this machine may read it, and with it resumed sessions: chmod o-r {file}"
        )
    };
    exposed.map(line).collect()
}

/// All backends, with their paths in the configuration: origins, then cache servers.
fn backend_settings(config: &Config) -> impl Iterator<Item = (String, &BackendSettings)> {
    let origins = config.origins.iter();
    let origins = origins.map(|origin| (format!("origin.{}", origin.name), origin));
    let servers = match &config.cache.tier {
        CacheTier::Servers { backend, .. } => Some(("cache".to_owned(), backend)),
        CacheTier::None | CacheTier::Memory { .. } => None,
    };
    origins.chain(servers)
}

/// What a listener of the front makes handshakes with, where it speaks TLS.
///
/// # Errors
/// The file of its clients' authorities cannot be used.
fn front_acceptor(listener: &FrontListener, tls: &[Arc<TlsContext>]) -> Result<Option<Arc<TlsAcceptor>>, TlsError> {
    let acceptor =
        named(tls, listener.tls.as_deref()).map(|context| context.acceptor(listener.http2, listener.clients.as_ref()));
    acceptor.transpose()
}

/// What keeps strangers away from the admin listener.
#[derive(Clone, Default)]
pub struct AdminGuard {
    /// Demands a token.
    pub gate: Option<Arc<Gate>>,
    /// Makes its handshakes.
    pub tls: Option<Arc<TlsAcceptor>>,
}

/// Reads the admin listener's tokens, and the authorities of its clients.
///
/// # Errors
/// What is wrong with them.
fn admin_guard(config: &Config, tls: &[Arc<TlsContext>]) -> Result<AdminGuard, String> {
    let Some(admin) = &config.admin else {
        return Ok(AdminGuard::default());
    };
    let gate = admin.token_file.as_deref().map(Gate::open).transpose();
    let gate = gate.map_err(|error| format!("admin.token_file: {error}"))?;
    let clients = admin.client_ca.clone().map(|authorities| ClientCertificates {
        authorities,
        demand: ClientDemand::Required,
    });
    let acceptor = named(tls, admin.tls.as_deref()).map(|context| context.acceptor(false, clients.as_ref()));
    let tls = acceptor.transpose();
    Ok(AdminGuard {
        gate: gate.map(Arc::new),
        tls: tls.map_err(|error| format!("admin.client_ca: {error}"))?,
    })
}

/// The `[tls.NAME]` that a listener names.
fn named<'a>(tls: &'a [Arc<TlsContext>], name: Option<&str>) -> Option<&'a Arc<TlsContext>> {
    let name = name?;
    tls.iter().find(|tls| tls.settings().name == name)
}

/// Makes the parts of a process from its configuration; reads certificates, resolves the names of servers.
///
/// # Errors
/// Certificates that cannot be used, or names that have no address, all at once.
pub fn assemble(config: &Config) -> Result<Parts, Failure> {
    let files = files(config)?;
    // One shard of each pool per worker, and one for the control thread.
    let shards = config.process.workers.workers + 1;
    let mut unresolved = Vec::new();
    let mut backend = |settings: &BackendSettings| match resolve(settings, &files, shards) {
        Ok(backend) => Some(backend),
        Err(error) => {
            unresolved.push(error.to_string());
            None
        }
    };
    let origins: Vec<Option<Arc<Backend>>> = config.origins.iter().map(&mut backend).collect();
    let servers = match &config.cache.tier {
        CacheTier::Servers { backend: settings, .. } => backend(settings),
        CacheTier::None | CacheTier::Memory { .. } => None,
    };
    if !unresolved.is_empty() {
        return Err(Failure::new(Code::Unavailable, unresolved.join("\n")));
    }
    let origins: Vec<Arc<Backend>> = origins.into_iter().flatten().collect();
    let tier = Arc::new(Tier::new(&config.cache.tier, servers.clone()));
    let default = match config.front.as_ref().map(|front| front.unknown_host) {
        Some(UnknownHost::Site(index)) => Some(index),
        Some(UnknownHost::Misdirected) | None => None,
    };
    let has_tier = config.cache.tier != CacheTier::None;
    let purge = PurgeMethod::new(has_tier, &config.cache.purge_allow);
    let (verifier, verifying) = Verifier::new(files.users.clone());
    let exchange = |node: NodeId, forwarded: ForwardedSettings, meets_clients: bool| {
        let routes = Routes::new(&config.sites, default, |(site, at), route| Route {
            pattern: route.path.clone(),
            tier: tier_route(route, &origins),
            // Fronts have applied them to what they ask a cache server for.
            guard: files.guards.guard(site, at).filter(|_| meets_clients),
            traffic: Traffic::new(&route.traffic, &route.path, &files.pages, &verifier).filter(|_| meets_clients),
        });
        Arc::new(Exchange {
            routes: Arc::new(routes),
            tier: Arc::clone(&tier),
            node: Arc::new(node),
            forwarded: Arc::new(forwarded),
            purge: purge.clone(),
            logs: config.log.access.is_some(),
            door: Door::default(),
        })
    };
    let front = config
        .front
        .as_ref()
        .map(|front| exchange(node("front"), front.forwarded.clone(), true));
    let cache_server = exchange(node("cache"), believing_fronts(config), false);
    let backends = origins.into_iter().chain(servers).collect();
    Ok(Parts {
        front,
        cache_server,
        backends,
        tier,
        connectors: files
            .backends
            .iter()
            .map(|(_, tls)| Arc::clone(tls.connector()))
            .chain(files.asking.clone())
            .collect(),
        asking: files.asking,
        tls: files.tls,
        acceptors: files.acceptors,
        admin: files.admin,
        guards: files.guards,
        users: files.users.into_values().collect(),
        verifying,
    })
}

/// What the tier needs to know about a route; `None` where traffic rules answer everything.
fn tier_route(route: &config::Route, origins: &[Arc<Backend>]) -> Option<Arc<TierRoute>> {
    let is_cached = route.cache == CacheMode::Standard;
    // Slices are ranges, and ranges are of the content as it is.
    let compression = route.traffic.compression.as_deref();
    let compression = compression
        .filter(|wanted| !wanted.is_off() && route.rules.key.slice == 0)
        .cloned();
    let mut rules = route.rules.clone();
    // A part of the content as it is would stand where compressed content is wanted.
    rules.ranges.store_partial &= compression.is_none();
    Some(Arc::new(TierRoute {
        backend: Arc::clone(&origins[route.origin?]),
        limits: route.limits.clone(),
        is_cached,
        rules,
        upgrades: route.upgrades.clone(),
        compression: compression.map(Compressor::new),
    }))
}

fn resolve(settings: &BackendSettings, files: &Files, shards: usize) -> Result<Arc<Backend>, ResolveError> {
    let addresses = common::backend::resolve(settings)?;
    let backend = Backend::new(settings.clone(), addresses, shards);
    let tls = files.backends.iter().find(|(name, _)| *name == settings.name);
    Ok(Arc::new(match tls {
        Some((_, tls)) => backend.with_tls(tls),
        None => backend,
    }))
}

/// A node id that no other process has: a front and the cache server in the same process are two nodes, since a request
/// may rightly pass through both.
fn node(role: &str) -> NodeId {
    let unique = Clock::System.wall().since_epoch().as_nanos();
    let id = format!("{role}-{unique:x}-{:x}", std::process::id());
    NodeId::new(&id).expect("invariant: letters, digits and dashes, fewer than 64")
}

/// A cache server's listener is reached by fronts: what they tell about clients is believed and handed on.
fn believing_fronts(config: &Config) -> ForwardedSettings {
    let everybody = [
        IpNetwork {
            address: [0; 4].into(),
            prefix: 0,
        },
        IpNetwork {
            address: [0u16; 8].into(),
            prefix: 0,
        },
    ];
    let (x_forwarded, forwarded) = match &config.front {
        Some(front) => (front.forwarded.x_forwarded, front.forwarded.forwarded),
        None => (true, false),
    };
    ForwardedSettings {
        x_forwarded,
        forwarded,
        trusted: everybody.into(),
    }
}
