//! nginx, as its experts tune it for this: cache on tmpfs, sendfile, `open_file_cache`, keepalive to the origin.

use std::net::{Ipv4Addr, SocketAddr};

use super::{Launch, Ready, Setup};

pub(super) fn launch(setup: &Setup<'_>, port: u16) -> Launch {
    let dir = setup.dir.to_string_lossy();
    let file = setup.dir.join("nginx.conf");
    let arguments = [
        "-p",
        &dir,
        "-e",
        "stderr",
        "-c",
        &file.to_string_lossy(),
        "-g",
        "daemon off;",
    ];
    Launch {
        arguments: arguments.map(Into::into).to_vec(),
        files: vec![(file, configuration(setup, port))],
        environment: &[],
        ready: Ready::Accepts(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
    }
}

const CACHED: &str = "proxy_pass http://o;
            proxy_cache store;
            proxy_cache_lock on;
            proxy_force_ranges on;";

fn configuration(setup: &Setup<'_>, port: u16) -> String {
    let dir = setup.dir.display();
    let access_log = if setup.access_log {
        format!("access_log {dir}/access.log combined buffer=64k flush=1s")
    } else {
        "access_log off".to_owned()
    };
    format!(
        r"user root;
worker_processes {workers};
pid {dir}/nginx.pid;
error_log stderr error;
events {{
    worker_connections 4096;
    use epoll;
    multi_accept on;
}}
http {{
    {access_log};
    sendfile on;
    tcp_nopush on;
    tcp_nodelay on;
    reset_timedout_connection on;
    keepalive_timeout 300s;
    keepalive_requests 1000000000;
    open_file_cache max=10000 inactive=300s;
    open_file_cache_valid 300s;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    proxy_cache_path {dir}/cache levels=1:2 keys_zone=store:64m max_size={store}m inactive=1h use_temp_path=off;
{servers}
}}
",
        workers = setup.workers,
        store = setup.store_mib,
        servers = servers(setup, port),
    )
}

/// The origin, and what is served of it.
fn servers(setup: &Setup<'_>, port: u16) -> String {
    let tls = setup.tls.map_or_else(String::new, |files| {
        let (certificate, key) = (files.certificate.display(), files.key.display());
        format!(
            " ssl http2;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.2 TLSv1.3"
        )
    });
    format!(
        r"    upstream o {{
        server {origin};
        keepalive 512;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} reuseport backlog=4096{tls};
        server_name bench.test;
        proxy_http_version 1.1;
        proxy_set_header Connection '';
        proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        location / {{
            {cached}
        }}
        # Corked, the last segment of a large answer waits for a delayed ACK, 40 ms.
        location /1048576 {{
            tcp_nopush off;
            {cached}
        }}
        location /16777216 {{
            tcp_nopush off;
            {cached}
        }}
        location /pass/ {{
            proxy_pass http://o;
        }}
    }}",
        cached = CACHED,
        origin = setup.origin,
    )
}
