//! A configuration → the legs that this process is an end of, and what the preflight wants to know. Pure but for
//! `preflight`, which reads the machine.

use common::backend::settings::{BackendSettings, ServerAddress, ServerSettings};
use common::kernel::diagnosis::context::Roles;
use common::kernel::preflight::finding::Finding;
use common::kernel::preflight::{self, BackendPlan, ListenerPlan, Machine, PreflightContext};
use common::kernel::root::ProcRoot;
use common::kernel::sample::Leg;
use common::net::settings::{Backlog, ListenAddress, ListenSettings};
use config::{CacheTier, Config};

/// Reads the machine and judges its settings by what the configuration wants of it.
pub fn preflight(root: &ProcRoot, context: &PreflightContext) -> Vec<Finding> {
    preflight::preflight(&Machine::read(root), context)
}

/// The ends of legs that this process is.
pub fn roles(config: &Config) -> Roles {
    let mut roles = Roles::default();
    if config.front.is_some() {
        roles.serves.push(Leg::ClientFront);
    }
    if !config.cache.listen.is_empty() {
        roles.serves.push(Leg::FrontCache);
    }
    if matches!(config.cache.tier, CacheTier::Servers { .. }) {
        roles.connects.push(Leg::FrontCache);
    }
    if !config.origins.is_empty() {
        roles.connects.push(Leg::CacheOrigin);
    }
    roles
}

/// What this process is, in words: `front`, `cache`, `cache-server`.
pub fn role_words(config: &Config) -> Vec<&'static str> {
    let has_memory = matches!(config.cache.tier, CacheTier::Memory { .. });
    let words = [
        (config.front.is_some(), "front"),
        (has_memory, "cache"),
        (!config.cache.listen.is_empty(), "cache-server"),
    ];
    words.into_iter().filter_map(|(is, word)| is.then_some(word)).collect()
}

/// What the configuration wants of the machine.
pub fn context(config: &Config) -> PreflightContext {
    let front = config.front.iter().flat_map(|front| &front.listen);
    let mut backends: Vec<BackendPlan> = config.origins.iter().map(backend).collect();
    let mut cache_memory = None;
    match &config.cache.tier {
        CacheTier::Servers { backend: settings, .. } => backends.push(backend(settings)),
        CacheTier::Memory { bytes, .. } => cache_memory = Some(*bytes),
        CacheTier::None => {}
    }
    PreflightContext {
        listeners: front
            .map(|listener| &listener.socket)
            .chain(&config.cache.listen)
            .map(listener)
            .collect(),
        reuseport_shards: config.process.workers.workers,
        connections_max: config.process.workers.connections_max as u64,
        backends,
        cache_memory,
    }
}

/// The number that is passed to `listen()`, where it is one.
pub const fn backlog_asked(settings: &ListenSettings) -> Option<u32> {
    match settings.backlog {
        Backlog::Fixed(connections) => Some(connections),
        Backlog::Auto => None,
    }
}

fn listener(settings: &ListenSettings) -> ListenerPlan {
    let port = match &settings.address {
        ListenAddress::Tcp(address) => Some(address.port()),
        ListenAddress::Unix { .. } => None,
    };
    ListenerPlan {
        name: settings.name.clone(),
        port,
        backlog_asked: backlog_asked(settings),
    }
}

fn backend(settings: &BackendSettings) -> BackendPlan {
    BackendPlan {
        name: settings.name.clone(),
        servers: servers(settings),
        connections_max: settings.connections_max as u64,
    }
}

/// As many as there may be.
fn servers(settings: &BackendSettings) -> u64 {
    let places = |server: &ServerSettings| match server.address {
        ServerAddress::Service(_) => settings.service_servers_max as u64,
        _ => 1,
    };
    settings.servers.iter().map(places).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_an_end_of_the_legs_that_its_configuration_has() {
        use Leg::{CacheOrigin, ClientFront, FrontCache};
        const SITE: &str = "[origin.o]\nservers = ['127.0.0.1:1']\n[[site]]\ndefault = true\norigin = 'o'\n";
        const FRONT: &str = "[front]\nlisten = ['127.0.0.1:0']\n";
        let alone = format!("{FRONT}[cache]\nmemory = '1GiB'\n{SITE}");
        let front = format!("{FRONT}[cache]\nservers = ['127.0.0.1:2', '127.0.0.1:3']\n{SITE}");
        let cache = format!("[cache]\nmemory = '1GiB'\nlisten = ['127.0.0.1:0']\n{SITE}");
        for (text, serves, connects, words) in [
            (alone, vec![ClientFront], vec![CacheOrigin], vec!["front", "cache"]),
            (front, vec![ClientFront], vec![FrontCache, CacheOrigin], vec!["front"]),
            (
                cache,
                vec![FrontCache],
                vec![CacheOrigin],
                vec!["cache", "cache-server"],
            ),
        ] {
            let config = config::parse(&text, "test").unwrap().config;
            assert_eq!(roles(&config), Roles { serves, connects }, "{text}");
            assert_eq!(role_words(&config), words, "{text}");
        }
    }
}
