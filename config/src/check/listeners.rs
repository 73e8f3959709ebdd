//! Addresses against each other: no two listeners on one address, no listener that takes another role's requests, and
//! an admin listener that strangers cannot use.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use common::net::settings::{ListenAddress, ListenSettings};

use crate::model::{Admin, Config};
use crate::problem::{Notes, Wrong};

pub(super) fn note_clashes(config: &Config, notes: &mut Notes) {
    let listeners = all(config);
    for (i, later) in listeners.iter().enumerate() {
        let Some(earlier) = listeners[..i].iter().find(|earlier| clash(earlier, later)) else {
            continue;
        };
        let (name, path) = (&earlier.settings.name, &earlier.path);
        let message = if earlier.settings.address == later.settings.address {
            format!("{name} is already the address of {path}")
        } else {
            format!("{} overlaps {name}, the address of {path}", later.settings.name)
        };
        notes.error(&*later.path, message);
    }
    if let Some(admin) = &config.admin {
        note_admin(admin, notes);
    }
}

struct Listener<'a> {
    path: String,
    role: Role,
    settings: &'a ListenSettings,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Front,
    Cache,
    Admin,
}

fn all(config: &Config) -> Vec<Listener<'_>> {
    let front = config.front.iter().flat_map(|front| &front.listen).enumerate();
    let front = front.map(|(i, settings)| (format!("front.listen[{i}]"), Role::Front, &settings.socket));
    let cache = config.cache.listen.iter().enumerate();
    let cache = cache.map(|(i, settings)| (format!("cache.listen[{i}]"), Role::Cache, settings));
    let admin = config
        .admin
        .iter()
        .map(|admin| ("admin.listen".to_owned(), Role::Admin, &admin.listen));
    let all = front.chain(cache).chain(admin);
    all.map(|(path, role, settings)| Listener { path, role, settings })
        .collect()
}

/// Whether one would take connections that are meant for the other. Within a role that is only so for one and the same
/// address: a wildcard beside a single address is somebody's way to give that address other settings.
fn clash(a: &Listener<'_>, b: &Listener<'_>) -> bool {
    match (&a.settings.address, &b.settings.address) {
        (ListenAddress::Unix { path: a, .. }, ListenAddress::Unix { path: b, .. }) => a == b,
        (ListenAddress::Tcp(a_at), ListenAddress::Tcp(b_at)) => {
            let same_port = a_at.port() == b_at.port() && a_at.port() != 0;
            let overlap = || takes(a.settings, a_at, b_at.ip()) || takes(b.settings, b_at, a_at.ip());
            same_port && (a_at.ip() == b_at.ip() || (a.role != b.role && overlap()))
        }
        _ => false,
    }
}

/// Whether a listener on `at` gets connections to `ip` (or to some address that `ip` stands for).
fn takes(settings: &ListenSettings, at: &SocketAddr, ip: IpAddr) -> bool {
    match at.ip() {
        IpAddr::V4(own) => ip.is_ipv4() && (own == Ipv4Addr::UNSPECIFIED || ip == own),
        IpAddr::V6(own) => ip == own || (own == Ipv6Addr::UNSPECIFIED && (ip.is_ipv6() || !settings.v6only)),
    }
}

fn note_admin(admin: &Admin, notes: &mut Notes) {
    if admin.client_ca.is_some() && admin.tls.is_none() {
        let wrong = Wrong::from("means nothing without admin.tls: certificates are shown in TLS handshakes");
        notes.error(
            "admin.client_ca",
            wrong.hint("set admin.tls to the name of a [tls.NAME]"),
        );
    }
    let is_local = match &admin.listen.address {
        ListenAddress::Unix { .. } => true,
        ListenAddress::Tcp(address) => address.ip().to_canonical().is_loopback(),
    };
    if is_local || admin.token_file.is_some() || admin.client_ca.is_some() {
        return;
    }
    let message = format!(
        "other machines reach {}, and there is neither admin.token_file nor admin.client_ca",
        admin.listen.name
    );
    let hint = "set one of them, or use a loopback address such as \"127.0.0.1:9900\", or a unix socket";
    notes.error("admin.listen", Wrong::from(message).hint(hint));
}
