//! What is spoken to servers: `protocol`, `proxy_protocol`, `[origin.NAME.tls]`, `[origin.NAME.http2]`, and the same for the cache servers.

use common::backend::settings::{BackendSettings, HttpProtocol};
use common::http2::settings::ClientHttp2Settings;
use common::net::proxy_protocol::Version;
use common::net::tls::settings::ConnectorSettings;

use super::tls::TLS_VERSION;
use crate::codec::{Choice, Count, Duration, FILE, Flag, HOST_FIELD, Inline, Maybe, Size};
use crate::defaults;
use crate::schema::{Keys, Visitor};

/// The keys `protocol` and `proxy_protocol`.
pub(super) fn visit_protocol<V: Visitor>(v: &mut V, backend: &mut BackendSettings) {
    v.key(
        "protocol",
        Choice(&[
            ("http1", HttpProtocol::Http1),
            ("http2", HttpProtocol::Http2),
            ("auto", HttpProtocol::Auto),
        ]),
        &mut backend.protocol,
        "Which HTTP is spoken: HTTP/1.1; HTTP/2 (without `https://` by prior knowledge); or with `https://` what the server \
         chooses (ALPN), without it HTTP/1.1.",
    );
    let versions = Choice(&[("v1", Version::V1), ("v2", Version::V2)]);
    v.key(
        "proxy_protocol",
        Maybe::new(versions, "none"),
        &mut backend.proxy_protocol,
        "The PROXY header, of version 1 (text) or 2 (binary), that each connection begins with; a connection then serves one \
         connection of one client. With HTTP/1.1 only.",
    );
}

impl Keys for ConnectorSettings {
    fn preset() -> Self {
        defaults::CONNECTOR
    }

    fn visit<V: Visitor>(&mut self, v: &mut V) {
        v.key(
            "server_name",
            Maybe::new(HOST_FIELD, "the server's own, as configured"),
            &mut self.server_name,
            "The name that is asked for (SNI) and that the server's certificate has to be for.",
        );
        v.key(
            "verify",
            Flag,
            &mut self.verify,
            "Whether the server's certificate has to be good; `false` protects from nobody who can change what is sent.",
        );
        v.key(
            "roots",
            Maybe::new(FILE, "the system's"),
            &mut self.roots,
            "PEM file of the certificates that servers' certificates may come from.",
        );
        v.key(
            "certificate",
            Maybe::new(Inline, "none"),
            &mut self.certificate,
            "Our own certificate, such as `{ certificate = \"/etc/tidegate/us.pem\", key = \"/etc/tidegate/us.key\" }`, for \
             servers that want one.",
        );
        v.key(
            "min_version",
            TLS_VERSION,
            &mut self.min_version,
            "The oldest version of TLS that is spoken.",
        );
    }
}

impl Keys for ClientHttp2Settings {
    fn preset() -> Self {
        defaults::ORIGIN_HTTP2
    }

    fn visit<V: Visitor>(&mut self, v: &mut V) {
        v.key(
            "streams_max",
            Count { min: 1, max: 65_536 },
            &mut self.streams_max,
            "Requests at the same time on one connection; fewer where the server says so.",
        );
        // RFC 9113 §6.5.2 and §6.9.1: windows are at least the 65,535 that a connection begins with, at most 2^31-1.
        let window = || Size::between(64 << 10, 1 << 30);
        let meaning = "Bytes of one response body that a server may send before they are read.";
        v.key("stream_window", window(), &mut self.stream_window, meaning);
        let meaning = "Bytes of all response bodies on a connection that a server may send before they are read.";
        v.key("connection_window", window(), &mut self.connection_window, meaning);
        v.key(
            "send_buffer_max",
            Size::between(16 << 10, 16 << 20),
            &mut self.send_buffer_max,
            "Bytes of one request body that may wait for the connection.",
        );
        v.key(
            "ping_after",
            Duration::WAIT,
            &mut self.ping_after,
            "Silence without any request after which a connection is asked by PING whether it still is one; 0s: never.",
        );
        v.key(
            "ping_timeout",
            Duration::TIMEOUT,
            &mut self.ping_timeout,
            "How long the answer to a PING may take; without one, the connection is closed.",
        );
    }
}
