//! Defaults of what is spoken to servers: TLS and HTTP/2.

use std::time::Duration;

use common::http2::settings::ClientHttp2Settings;
use common::net::tls::settings::{ConnectorSettings, TlsVersion};

/// TLS towards servers.
pub(crate) const CONNECTOR: ConnectorSettings = ConnectorSettings {
    // Whoever answers has to be whom the configuration names.
    server_name: None,
    verify: true,
    roots: None,
    certificate: None,
    // As towards clients.
    min_version: TlsVersion::Tls12,
};

/// HTTP/2 towards servers.
pub(crate) const ORIGIN_HTTP2: ClientHttp2Settings = ClientHttp2Settings {
    // What servers commonly allow; RFC 9113 §6.5.2 recommends no fewer.
    streams_max: 100,
    // 1 MiB per 20 ms of round trip is 400 Mbit/s for one response.
    stream_window: 1 << 20,
    // Eight responses at full speed; more would only be memory.
    connection_window: 8 << 20,
    // As towards clients.
    send_buffer_max: 64 << 10,
    // Found dead before firewalls usually forget it, and rarer than gRPC servers complain about: once or twice before
    // `idle_timeout` ends the connection anyway.
    ping_after: Duration::from_secs(20),
    ping_timeout: Duration::from_secs(5),
};
