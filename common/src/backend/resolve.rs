//! Names → addresses, at the start, with the system's resolver (getaddrinfo).
//!
//! Blocking: called by boot, before any worker runs. Resolving again while running is `control`'s.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use super::settings::{BackendSettings, ServerAddress};

/// Where one connects to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketAddrOrUnix {
    /// TCP.
    Tcp(SocketAddr),
    /// A unix stream socket.
    Unix(PathBuf),
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

/// The addresses of each server, in the order of the settings; the input of [`super::Backend::new`].
///
/// # Errors
/// All names that have no address, in one error.
pub fn resolve(settings: &BackendSettings) -> Result<Vec<Vec<SocketAddrOrUnix>>, ResolveError> {
    resolve_with(settings, |host, port| Ok((host, port).to_socket_addrs()?.collect()))
}

fn resolve_with(
    settings: &BackendSettings,
    look_up: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>>,
) -> Result<Vec<Vec<SocketAddrOrUnix>>, ResolveError> {
    let mut names = Vec::new();
    let mut all = Vec::with_capacity(settings.servers.len());
    for server in &settings.servers {
        all.push(match &server.address {
            ServerAddress::Socket(address) => vec![SocketAddrOrUnix::Tcp(*address)],
            ServerAddress::Unix(path) => vec![SocketAddrOrUnix::Unix(path.clone())],
            ServerAddress::Name { host, port } => match look_up(host, *port) {
                Ok(found) if !found.is_empty() => distinct(found),
                Ok(_) => {
                    names.push((host.clone(), "the answer is empty".to_owned()));
                    Vec::new()
                }
                Err(error) => {
                    names.push((host.clone(), error.to_string()));
                    Vec::new()
                }
            },
        });
    }
    if names.is_empty() {
        return Ok(all);
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

    fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        match host {
            "two.test" => Ok(["10.0.0.2", "10.0.0.1", "10.0.0.2"]
                .map(|ip| SocketAddr::new(ip.parse().unwrap(), port))
                .to_vec()),
            "empty.test" => Ok(Vec::new()),
            _ => Err(io::Error::other("no such name")),
        }
    }

    #[test]
    fn servers_keep_their_order_and_addresses_come_once() {
        let servers = vec![
            ServerAddress::Unix("/run/o.sock".into()).into(),
            name("two.test"),
            ServerAddress::Socket("[::1]:8080".parse().unwrap()).into(),
        ];
        let addresses = resolve_with(&testing::settings(servers), look_up).unwrap();
        let shown: Vec<Vec<String>> = addresses
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
        let servers = vec![name("nobody.test"), name("two.test"), name("empty.test")];
        let error = resolve_with(&testing::settings(servers), look_up).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"backend "test": no address for "nobody.test" (no such name), "empty.test" (the answer is empty)"#
        );
    }

    #[test]
    fn the_systems_resolver_knows_localhost() {
        let addresses = resolve(&testing::settings(vec![name("localhost")])).unwrap();
        assert!(!addresses[0].is_empty());
    }
}
