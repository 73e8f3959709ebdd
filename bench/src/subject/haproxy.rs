//! HAProxy with its cache, one thread, connections to the origin always reused.

use std::net::{Ipv4Addr, SocketAddr};

use super::{Launch, Ready, Setup};

pub(super) fn launch(setup: &Setup<'_>, port: u16) -> Launch {
    let tls = setup.tls.map_or_else(String::new, |files| {
        format!(" ssl crt {} alpn h2,http/1.1", files.both.display())
    });
    let text = format!(
        "global
    nbthread {workers}{sockets}
    maxconn 4000
cache store
    total-max-size {store}
    max-object-size {largest}
    max-age 3600
defaults
    mode http
    option http-keep-alive
    http-reuse always
    option forwardfor
    timeout connect 5s
    timeout client 300s
    timeout server 60s
    timeout http-keep-alive 300s
frontend f
    bind 127.0.0.1:{port} backlog 4096{tls}
    use_backend pass if {{ path_beg /pass/ }}
    default_backend cached
backend cached
    http-request cache-use store
    http-response cache-store store
    server o {origin} pool-max-conn 512
backend pass
    server o {origin} pool-max-conn 512
",
        sockets = if setup.reloads {
            // The new process takes the listening sockets from the old one here.
            format!(
                "\n    stats socket {}/stats.sock expose-fd listeners",
                setup.dir.display()
            )
        } else {
            String::new()
        },
        workers = setup.workers,
        store = setup.store_mib,
        // At most half of the store is allowed.
        largest = 20 << 20,
        origin = setup.origin
    );
    let file = setup.dir.join("haproxy.cfg");
    // A master that stays in the foreground and starts workers, or one process.
    let mode = if setup.reloads { "-W" } else { "-db" };
    Launch {
        arguments: vec![mode.into(), "-f".into(), file.clone().into()],
        files: vec![(file, text)],
        environment: &[],
        ready: Ready::Accepts(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
    }
}
