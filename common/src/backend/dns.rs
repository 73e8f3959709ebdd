//! Names and services → addresses, asked of name servers: those of the settings, or those that the system has.
//!
//! No cache but theirs: `/etc/resolv.conf` and `/etc/hosts` are read for each look-up, so changes of them are noticed. Who
//! looks up again, and when, is `names`'s and `services`'s; the first look-up is boot's, see `resolve`.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, Record};
use tokio::task::JoinSet;

use super::srv::{self, Member};

/// Addresses, and for how long they are good.
pub(super) type Found = (Vec<IpAddr>, Duration);

/// What a service is, and for how long that is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service {
    /// Its servers, those that are asked first first, each with its addresses or why it has none.
    pub(super) members: Vec<(Member, Result<Vec<IpAddr>, String>)>,
    /// Servers beyond as many as were wanted.
    pub(super) left_out: usize,
    pub(super) ttl: Duration,
}

/// The addresses of a host.
pub(super) async fn addresses(host: &str, name_servers: &[SocketAddr]) -> Result<Found, String> {
    addresses_by(&resolver(name_servers)?, host).await
}

/// The servers of a service, `max` of them at most.
pub(super) async fn service(name: &str, name_servers: &[SocketAddr], max: usize) -> Result<Service, String> {
    let resolver = resolver(name_servers)?;
    let found = resolver.srv_lookup(name).await.map_err(|error| error.to_string())?;
    let records = found.answers().iter().filter_map(record);
    let (members, left_out) = srv::members(records.collect(), max);
    let mut ttl = ttl_of(found.answers());
    let mut asked = JoinSet::new();
    for (i, member) in members.iter().enumerate() {
        let (resolver, host) = (resolver.clone(), format!("{}.", member.host));
        asked.spawn(async move { (i, addresses_by(&resolver, &host).await) });
    }
    let mut members: Vec<_> = members
        .into_iter()
        .map(|member| (member, Err("the look-up broke off".to_owned())))
        .collect();
    while let Some(answer) = asked.join_next().await {
        let Ok((i, answer)) = answer else { continue };
        members[i].1 = answer.map(|(addresses, good_for)| {
            ttl = ttl.min(good_for);
            addresses
        });
    }
    Ok(Service { members, left_out, ttl })
}

/// Runs a look-up where there is no runtime: at the start.
pub(super) fn blocking<T>(look_up: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| error.to_string())?.block_on(look_up)
}

fn resolver(name_servers: &[SocketAddr]) -> Result<TokioResolver, String> {
    let mut builder = if name_servers.is_empty() {
        TokioResolver::builder_tokio().map_err(|error| error.to_string())?
    } else {
        let servers = name_servers.iter().map(name_server).collect();
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    };
    builder.options_mut().cache_size = 0;
    builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    builder.build().map_err(|error| error.to_string())
}

/// Asked by UDP, and by TCP where an answer does not fit.
fn name_server(address: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

async fn addresses_by(resolver: &TokioResolver, host: &str) -> Result<Found, String> {
    let found = resolver.lookup_ip(host).await.map_err(|error| error.to_string())?;
    let ttl = ttl_of(found.as_lookup().answers());
    Ok((found.iter().collect(), ttl))
}

fn ttl_of(records: &[Record]) -> Duration {
    let ttl = records.iter().map(|record| record.ttl).min().unwrap_or(0);
    Duration::from_secs(u64::from(ttl))
}

fn record(record: &Record) -> Option<srv::Record> {
    let RData::SRV(srv) = &record.data else { return None };
    let target = srv.target.to_ascii().to_ascii_lowercase();
    Some(srv::Record {
        priority: srv.priority,
        weight: srv.weight,
        port: srv.port,
        target: target.trim_end_matches('.').to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_of_the_hosts_file_are_found_without_a_name_server() {
        let (found, _) = addresses("localhost", &[]).await.unwrap();
        assert!(found.iter().any(IpAddr::is_loopback), "{found:?}");
    }
}
