//! Backends on the admin listener: their part of `/health` and `/metrics`, and orders from operators.
//!
//! `POST /backends/NAME/SERVER/drain`, `…/ready` and `…/down`; who may come here at all is `gate`'s to say.

use common::backend::{Backend, NoSuchServer, Order, ServerSnapshot, ServerState, ServiceSnapshot};
use common::http::response::Response;
use common::telemetry::exposition::Exposition;
use common::telemetry::json::{Array, Object};
use common::telemetry::metrics::Family;
use common::time::mono_now;
use http::{Method, Request, StatusCode, header};

use super::{Watched, text};

/// Where orders are sent to.
pub const PREFIX: &str = "/backends/";

/// Takes an order.
pub fn order<B>(watched: &Watched, request: &Request<B>) -> Response {
    if request.method() != Method::POST {
        let response = text(StatusCode::METHOD_NOT_ALLOWED, "orders are sent with POST\n");
        return response.with(header::ALLOW, http::HeaderValue::from_static("POST"));
    }
    // A page in a browser of this machine may send a POST here, but not without saying where it comes from.
    if request.headers().contains_key(header::ORIGIN) {
        return text(StatusCode::FORBIDDEN, "orders are not taken from web pages\n");
    }
    let Some((name, server, order)) = parse(request.uri().path()) else {
        return text(
            StatusCode::NOT_FOUND,
            "try /backends/NAME/SERVER/drain, ready or down\n",
        );
    };
    let backend = watched.backends().iter().find(|backend| backend.name() == name);
    match backend.map(|backend| backend.order(server, order, mono_now())) {
        Some(Ok(before)) => text(
            StatusCode::OK,
            format!("{name} {server}: {}, was {}\n", order.word(), before.word()),
        ),
        Some(Err(NoSuchServer)) => text(StatusCode::NOT_FOUND, format!("{name} has no server {server}\n")),
        None => text(StatusCode::NOT_FOUND, format!("no backend is called {name}\n")),
    }
}

/// `/backends/NAME/SERVER/ORDER`; a server that is a unix socket has slashes.
fn parse(path: &str) -> Option<(&str, &str, Order)> {
    let (name, rest) = path.strip_prefix(PREFIX)?.split_once('/')?;
    let (server, order) = rest.rsplit_once('/')?;
    let order = Order::ALL.into_iter().find(|known| known.word() == order)?;
    Some((name, server, order))
}

/// Whether nobody is left to ask.
pub fn is_down(backend: &Backend) -> bool {
    backend.snapshot().iter().all(|server| server.state != ServerState::Up)
}

/// One backend in `/health`.
pub fn describe(backend: &Backend, mut object: Object<'_>) {
    object.field("name", backend.name());
    let found = backend.services();
    if !found.is_empty() {
        let mut services = object.array("services");
        for service in found {
            services
                .object()
                .field("name", &*service.name)
                .field("servers", service.servers as u64)
                .field("left_out", service.left_out as u64)
                .field("unresolved", service.unresolved)
                .some("resolve_error", service.resolve_error.as_deref());
        }
    }
    let mut servers: Array<'_> = object.array("servers");
    for server in backend.snapshot() {
        let slow = server.handshakes.slow;
        servers
            .object()
            .field("address", &*server.address)
            .field("state", server.state.word())
            .field("takes_connections", server.state != ServerState::Refusing)
            .field("busy", server.busy as u64)
            .field("idle", server.idle as u64)
            .field("waiting", server.waiting as u64)
            .field("attempts", server.attempts)
            .field("failures", server.failures.iter().map(|(_, count)| count).sum::<u64>())
            .field("connects", server.connects)
            .field("slow_connects", slow)
            .field("lost_handshakes", server.handshakes.lossy())
            .some("retransmitted_syns", server.retransmitted_syns)
            .some("resolve_error", server.resolve_error.as_deref());
    }
}

/// One service in the text form of `/health`.
pub fn service_in_words(backend: &str, service: &ServiceSnapshot) -> String {
    let (name, servers, left_out) = (&service.name, service.servers, service.left_out);
    let trouble = service
        .resolve_error
        .as_ref()
        .map(|why| format!("; cannot be looked up: {why}"));
    let trouble = trouble.unwrap_or_default();
    format!("backend {backend} service {name}: {servers} servers, {left_out} left out{trouble}\n")
}

/// All backends in `/metrics`.
pub fn expose(page: &mut Exposition, watched: &Watched) {
    let snapshots = |backend| -> Vec<ServerSnapshot> { Backend::snapshot(backend) };
    let servers: Vec<(&str, ServerSnapshot)> = watched
        .backends()
        .iter()
        .flat_map(|backend| {
            snapshots(backend)
                .into_iter()
                .map(move |server| (backend.name(), server))
        })
        .collect();
    per_word(page, Family::BackendConnections, &servers, |server| {
        [("busy", server.busy as u64), ("idle", server.idle as u64)]
    });
    per_server(page, Family::BackendRequests, &servers, |server| Some(server.attempts));
    per_server(page, Family::BackendReused, &servers, |server| Some(server.reused));
    per_server(page, Family::BackendConnects, &servers, |server| Some(server.connects));
    per_server(page, Family::BackendSynRetransmits, &servers, |server| {
        server.retransmitted_syns
    });
    per_server(page, Family::BackendSlowHandshakes, &servers, |server| {
        Some(server.handshakes.slow)
    });
    unresolved(page, watched, &servers);
    per_word(page, Family::BackendTlsHandshakes, &servers, |server| {
        let kinds = |(full, resumed)| [("full", full), ("resumed", resumed)];
        server.tls_handshakes.map(kinds).into_iter().flatten()
    });
    per_word(page, Family::BackendErrors, &servers, |server| {
        server
            .failures
            .iter()
            .map(|(error, count)| (error.word(), *count))
            .collect::<Vec<_>>()
    });
    per_word(page, Family::BackendServerState, &servers, |server| {
        ServerState::ALL.map(|state| (state.word(), u64::from(state == server.state)))
    });
    let mut panic = page.family(Family::BackendPanic);
    for backend in watched.backends() {
        panic.sample(&[("backend", backend.name())], u64::from(backend.is_panic()));
    }
    per_word(page, Family::BackendServerChanges, &servers, |server| {
        server
            .changes
            .iter()
            .map(|(state, count)| (state.word(), *count))
            .collect::<Vec<_>>()
    });
    per_word(page, Family::BackendHandshakes, &servers, |server| {
        let counts = &server.handshakes;
        [
            ("established", counts.established),
            ("refused", counts.refused),
            ("timed_out", counts.timed_out),
            ("unreachable", counts.unreachable),
            ("reset", counts.reset),
            ("no_local_port", counts.no_local_port),
            ("other", counts.other),
        ]
    });
}

/// Names and services that could not be looked up, and servers of services that are not asked.
fn unresolved(page: &mut Exposition, watched: &Watched, servers: &[(&str, ServerSnapshot)]) {
    let found = || {
        watched
            .backends()
            .iter()
            .flat_map(|backend| backend.services().into_iter().map(move |one| (backend, one)))
    };
    let mut samples = page.family(Family::BackendUnresolved);
    for (backend, server) in servers {
        samples.sample(&[("backend", backend), ("server", &server.address)], server.unresolved);
    }
    for (backend, service) in found() {
        samples.sample(
            &[("backend", backend.name()), ("server", &service.name)],
            service.unresolved,
        );
    }
    let mut samples = page.family(Family::BackendLookUpSeconds);
    for (backend, server) in servers {
        if let Some(took) = server.look_up_time {
            samples.sample(&[("backend", backend), ("server", &server.address)], took);
        }
    }
    for (backend, service) in found() {
        if let Some(took) = service.look_up_time {
            samples.sample(&[("backend", backend.name()), ("server", &service.name)], took);
        }
    }
    let mut samples = page.family(Family::BackendServiceLeftOut);
    for (backend, service) in found() {
        samples.sample(
            &[("backend", backend.name()), ("service", &service.name)],
            service.left_out as u64,
        );
    }
}

/// One family with one value per server; a server whose value is not known has no sample.
fn per_server(
    page: &mut Exposition,
    family: Family,
    servers: &[(&str, ServerSnapshot)],
    value: impl Fn(&ServerSnapshot) -> Option<u64>,
) {
    let mut samples = page.family(family);
    for (backend, server) in servers {
        if let Some(value) = value(server) {
            samples.sample(&[("backend", backend), ("server", &server.address)], value);
        }
    }
}

/// One family with several values per server, told apart by the family's third label.
fn per_word<I: IntoIterator<Item = (&'static str, u64)>>(
    page: &mut Exposition,
    family: Family,
    servers: &[(&str, ServerSnapshot)],
    values: impl Fn(&ServerSnapshot) -> I,
) {
    let label = family.descriptor().labels.get(2).copied().unwrap_or("word");
    let mut samples = page.family(family);
    for (backend, server) in servers {
        for (word, value) in values(server) {
            samples.sample(
                &[("backend", backend), ("server", &server.address), (label, word)],
                value,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_names_a_backend_a_server_and_what_is_wanted() {
        for (path, expected) in [
            (
                "/backends/idc1/10.0.0.1:80/drain",
                Some(("idc1", "10.0.0.1:80", Order::Drain)),
            ),
            (
                "/backends/cache.servers/[::1]:80/ready",
                Some(("cache.servers", "[::1]:80", Order::Ready)),
            ),
            (
                "/backends/a/unix:/run/a.sock/down",
                Some(("a", "unix:/run/a.sock", Order::Down)),
            ),
            ("/backends/a/b/explode", None),
            ("/backends/a/drain", None),
            ("/backends/", None),
            ("/else", None),
        ] {
            assert_eq!(parse(path), expected, "{path}");
        }
    }
}
