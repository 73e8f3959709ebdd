//! Origins and cache servers: their names, their servers, and limits that depend on each other.

use common::backend::settings::{BackendSettings, Balance, HashBy, HttpProtocol, ServerAddress, ServerSettings};
use common::net::tls::settings::ConnectorSettings;

use crate::codec::is_name;
use crate::defaults;
use crate::problem::{Notes, Wrong};

/// The origins, named, in the order of the file.
pub(super) fn origins(drafts: Vec<(String, BackendSettings)>, notes: &mut Notes) -> Vec<BackendSettings> {
    let mut origins = Vec::with_capacity(drafts.len());
    for (name, mut origin) in drafts {
        let path = format!("origin.{name}");
        if !is_name(&name) {
            let message =
                "an origin's name has 1 to 64 letters, digits, \"-\" and \"_\"; it stands in logs and metrics";
            notes.error(&*path, message);
        }
        check(&path, &mut origin, notes);
        for (i, _) in origin.servers.iter().enumerate().filter(|(_, server)| server.is_new) {
            let message = "has `new`, which is for cache servers: an origin's servers hand no keys over";
            notes.error(format!("{path}.servers[{i}]"), message);
        }
        origins.push(BackendSettings { name, ..origin });
    }
    origins
}

/// The cache servers as a backend.
pub(super) fn cache_servers(
    backend: BackendSettings,
    servers: Vec<ServerSettings>,
    notes: &mut Notes,
) -> BackendSettings {
    let mut backend = BackendSettings {
        name: CACHE_SERVERS.to_owned(),
        servers,
        ..backend
    };
    check("cache", &mut backend, notes);
    backend
}

/// No origin can be called so: their names have no dot.
const CACHE_SERVERS: &str = "cache.servers";

fn check(path: &str, backend: &mut BackendSettings, notes: &mut Notes) {
    for (i, server) in backend.servers.iter().enumerate() {
        if let Some(earlier) = backend.servers[..i]
            .iter()
            .position(|earlier| earlier.address == server.address)
        {
            notes.error(
                format!("{path}.servers[{i}]"),
                format!("is the same server as servers[{earlier}]"),
            );
        }
    }
    services(path, backend, notes);
    grpc_check(path, backend, notes);
    if backend.servers.iter().all(|server| server.is_backup) && !backend.servers.is_empty() {
        notes.error(
            format!("{path}.servers"),
            "all servers are backups; one that is not is asked first",
        );
    }
    spoken(path, backend, notes);
    if backend.balance != Balance::ConsistentHash {
        for (key, is_set) in [
            ("hash_by", backend.hash_by != HashBy::Key),
            ("hot_key_servers", backend.hot_key_servers > 1),
            ("handover", !backend.handover.is_zero()),
        ] {
            if is_set {
                let message = "means something only with balance = \"consistent_hash\"";
                notes.error(format!("{path}.{key}"), message);
            }
        }
    }
    if backend.ejection.time > backend.ejection.time_max {
        let message = format!("is longer than {path}.ejection.time_max");
        notes.error(format!("{path}.ejection.time"), message);
    }
    check_keepalive(path, backend, notes);
}

fn check_keepalive(path: &str, backend: &mut BackendSettings, notes: &mut Notes) {
    let (min, max) = (backend.keepalive_min, backend.keepalive.min(backend.connections_max));
    if min > max {
        let message = format!("{min} is more than {path}.keepalive allows, which is {max}");
        notes.error(format!("{path}.keepalive_min"), message);
    }
    if min > 0 && backend.proxy_protocol.is_some() {
        let message = "cannot be with proxy_protocol: a connection that names a client is made when that client comes";
        notes.error(format!("{path}.keepalive_min"), message);
    }
    let keepalive = format!("{path}.keepalive");
    if backend.keepalive <= backend.connections_max {
        return;
    }
    if notes.has(&keepalive) {
        let (idle, all) = (backend.keepalive, backend.connections_max);
        notes.error(
            keepalive,
            format!("{idle} is more than connections_max, which is {all}"),
        );
    } else {
        backend.keepalive = backend.connections_max;
    }
}

/// TLS, HTTP/2 and what stands before both.
fn spoken(path: &str, backend: &mut BackendSettings, notes: &mut Notes) {
    let is_tls = backend.servers.iter().any(|server| server.is_tls);
    if is_tls || !backend.servers.is_empty() {
        note_tls(path, is_tls, &mut backend.tls, notes);
    }
    if backend.protocol == HttpProtocol::Auto && !is_tls && !backend.servers.is_empty() {
        let message =
            "\"auto\" asks with TLS which HTTP a server speaks; no server is spoken to with TLS, so it is HTTP/1.1";
        notes.warning(format!("{path}.protocol"), message);
    }
    if backend.proxy_protocol.is_some() && backend.protocol != HttpProtocol::Http1 {
        let wrong = Wrong::from("says for each connection whose it is, and a connection of HTTP/2 is many clients'");
        notes.error(format!("{path}.proxy_protocol"), wrong.hint("set protocol = \"http1\""));
    }
}

/// gRPC is HTTP/2.
fn grpc_check(path: &str, backend: &BackendSettings, notes: &mut Notes) {
    let Some(health) = backend.health.as_ref().filter(|health| health.grpc.is_some()) else {
        return;
    };
    let at = format!("{path}.health.grpc");
    if health.path.is_some() {
        notes.error(&*at, "asks by gRPC, and `path` by a GET; a check is one of them");
    }
    if backend.protocol != HttpProtocol::Http2 {
        let wrong = Wrong::from("gRPC is spoken over HTTP/2 only");
        notes.error(at, wrong.hint(format!("set {path}.protocol = \"http2\"")));
    }
}

/// What SRV records tell is not configured, and what they cannot prove is.
fn services(path: &str, backend: &BackendSettings, notes: &mut Notes) {
    let is_service = |server: &ServerSettings| matches!(server.address, ServerAddress::Service(_));
    for (i, server) in backend
        .servers
        .iter()
        .enumerate()
        .filter(|(_, server)| is_service(server))
    {
        let at = format!("{path}.servers[{i}]");
        if server.weight != 1 {
            notes.error(format!("{at}.weight"), "is told by the SRV records of a service");
        }
        if server.is_new {
            notes.error(
                format!("{at}.new"),
                "means nothing for a service: who joins it later is new",
            );
        }
        let has_name = backend.tls.as_ref().is_some_and(|tls| tls.server_name.is_some());
        if server.is_tls && !has_name {
            let wrong = Wrong::from("the names that SRV records tell do not prove who a server is");
            notes.error(
                at,
                wrong.hint(format!(
                    "write the name in the servers' certificates to {path}.tls.server_name"
                )),
            );
        }
    }
}

/// `tls` goes with a server that is spoken to with TLS, and has a default there.
pub(super) fn note_tls(path: &str, is_tls: bool, tls: &mut Option<ConnectorSettings>, notes: &mut Notes) {
    if is_tls {
        tls.get_or_insert(defaults::CONNECTOR);
    } else if tls.is_some() {
        let wrong = Wrong::from("no server is spoken to with TLS");
        notes.error(
            format!("{path}.tls"),
            wrong.hint("write \"https://\" before its address"),
        );
    }
    if tls.as_ref().is_some_and(|tls| !tls.verify) {
        let message = "the servers' certificates are not checked: anybody on the way can read and change what is sent";
        notes.warning(format!("{path}.tls.verify"), message);
    }
}
