//! Names and services → addresses, at the start: names with the system's resolver (getaddrinfo), unless the settings name
//! name servers; services (SRV) with `dns`.
//!
//! Blocking: called by boot, before any worker runs. Resolving again while running is `control`'s.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use super::dns::{self, Service};
use super::settings::{BackendSettings, ServerAddress};

/// Where one connects to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketAddrOrUnix {
    /// TCP.
    Tcp(SocketAddr),
    /// A unix stream socket.
    Unix(PathBuf),
}

/// What the servers of a backend were found to be; the input of [`super::Backend::new`].
#[derive(Debug)]
pub struct Resolved {
    /// The addresses of each server, in the order of the settings; none for a service.
    pub(super) addresses: Vec<Vec<SocketAddrOrUnix>>,
    /// The services among them, in the same order.
    pub(super) services: Vec<Service>,
}

/// Names of one backend that have no address.
#[derive(Debug, thiserror::Error)]
#[error("backend \"{backend}\": no address for {}", Listed(.names))]
pub struct ResolveError {
    /// The backend's configured name.
    pub backend: String,
    /// Every name that failed, and why.
    pub names: Vec<(String, String)>,
}

/// Where the servers of these settings are.
///
/// # Errors
/// All names that have no address and all services that are not known, in one error.
pub fn resolve(settings: &BackendSettings) -> Result<Resolved, ResolveError> {
    let name_servers = &settings.name_servers;
    let look_up = |host: &str, port: u16| {
        if name_servers.is_empty() {
            let found = (host, port).to_socket_addrs().map_err(|error| error.to_string())?;
            return Ok(found.collect());
        }
        let (found, _) = dns::blocking(dns::addresses(host, name_servers))?;
        Ok(found.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
    };
    let services = |name: &str| dns::blocking(dns::service(name, name_servers, settings.service_servers_max));
    resolve_with(settings, look_up, services)
}

fn resolve_with(
    settings: &BackendSettings,
    look_up: impl Fn(&str, u16) -> Result<Vec<SocketAddr>, String>,
    look_up_service: impl Fn(&str) -> Result<Service, String>,
) -> Result<Resolved, ResolveError> {
    let mut names = Vec::new();
    let mut services = Vec::new();
    let mut addresses = Vec::with_capacity(settings.servers.len());
    for server in &settings.servers {
        let found = match &server.address {
            ServerAddress::Socket(address) => Ok(vec![SocketAddrOrUnix::Tcp(*address)]),
            ServerAddress::Unix(path) => Ok(vec![SocketAddrOrUnix::Unix(path.clone())]),
            ServerAddress::Name { host, port } => match look_up(host, *port) {
                Ok(found) if !found.is_empty() => Ok(distinct(found)),
                Ok(_) => Err((host.clone(), "the answer is empty".to_owned())),
                Err(why) => Err((host.clone(), why)),
            },
            ServerAddress::Service(name) => match look_up_service(name) {
                Ok(service) => {
                    services.push(service);
                    Ok(Vec::new())
                }
                Err(why) => Err((name.clone(), why)),
            },
        };
        addresses.push(found.unwrap_or_else(|failed| {
            names.push(failed);
            Vec::new()
        }));
    }
    if names.is_empty() {
        return Ok(Resolved { addresses, services });
    }
    Err(ResolveError {
        backend: settings.name.clone(),
        names,
    })
}

/// The resolver's order, each address once.
fn distinct(found: Vec<SocketAddr>) -> Vec<SocketAddrOrUnix> {
    let mut kept: Vec<SocketAddrOrUnix> = Vec::with_capacity(found.len());
    for address in found.into_iter().map(SocketAddrOrUnix::Tcp) {
        if !kept.contains(&address) {
            kept.push(address);
        }
    }
    kept
}

impl From<Vec<Vec<SocketAddrOrUnix>>> for Resolved {
    fn from(addresses: Vec<Vec<SocketAddrOrUnix>>) -> Self {
        Self {
            addresses,
            services: Vec::new(),
        }
    }
}

impl fmt::Display for SocketAddrOrUnix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

struct Listed<'a>(&'a [(String, String)]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, reason)) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}\"{name}\" ({reason})")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::settings::ServerSettings;
    use crate::backend::testing;

    fn name(host: &str) -> ServerSettings {
        let host = host.to_owned();
        ServerAddress::Name { host, port: 80 }.into()
    }

    fn look_up(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
        match host {
            "two.test" => Ok(["10.0.0.2", "10.0.0.1", "10.0.0.2"]
                .map(|ip| SocketAddr::new(ip.parse().unwrap(), port))
                .to_vec()),
            "empty.test" => Ok(Vec::new()),
            _ => Err("no such name".to_owned()),
        }
    }

    fn no_service(_: &str) -> Result<Service, String> {
        Err("no such service".to_owned())
    }

    #[test]
    fn servers_keep_their_order_and_addresses_come_once() {
        let servers = vec![
            ServerAddress::Unix("/run/o.sock".into()).into(),
            name("two.test"),
            ServerAddress::Socket("[::1]:8080".parse().unwrap()).into(),
        ];
        let found = resolve_with(&testing::settings(servers), look_up, no_service).unwrap();
        let shown: Vec<Vec<String>> = found
            .addresses
            .iter()
            .map(|of_one| of_one.iter().map(ToString::to_string).collect())
            .collect();
        assert_eq!(
            shown,
            [
                vec!["unix:/run/o.sock"],
                vec!["10.0.0.2:80", "10.0.0.1:80"],
                vec!["[::1]:8080"]
            ]
        );
    }

    #[test]
    fn every_name_without_an_address_is_reported_at_once() {
        let service = ServerAddress::Service("_http._tcp.test".to_owned()).into();
        let servers = vec![name("nobody.test"), name("two.test"), service, name("empty.test")];
        let error = resolve_with(&testing::settings(servers), look_up, no_service).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"backend "test": no address for "nobody.test" (no such name), "_http._tcp.test" (no such service), "empty.test" (the answer is empty)"#
        );
    }

    #[test]
    fn the_systems_resolver_knows_localhost() {
        let found = resolve(&testing::settings(vec![name("localhost")])).unwrap();
        assert!(!found.addresses[0].is_empty());
    }
}
