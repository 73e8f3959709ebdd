//! What went wrong towards a server that we asked, in the words of RFC 9209 §2.3.
//!
//! The same word stands in `Proxy-Status`, the access log, the metric label and the tests.

use http::StatusCode;

/// An error of a connection to, or a response from, a server (an origin, or a cache server).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{}", self.word())]
#[non_exhaustive]
pub enum OriginError {
    /// The name of the server has no address (RFC 9209 §2.3.2).
    DnsError,
    /// All servers are unavailable: none configured, all down, or no route to them (§2.3.4, §2.3.5).
    DestinationUnavailable,
    /// No route to the server's address (§2.3.6).
    DestinationIpUnroutable,
    /// The server answered the SYN with a reset (§2.3.7).
    ConnectionRefused,
    /// The connection ended before the response was whole (§2.3.8).
    ConnectionTerminated,
    /// The connection was not established in time (§2.3.9).
    ConnectionTimeout,
    /// Nothing was received, or could be sent, for longer than the limit (§2.3.10).
    ConnectionReadTimeout,
    /// The request could not be sent in time (§2.3.11).
    ConnectionWriteTimeout,
    /// The limit of connections to the server is reached and the wait was too long (§2.3.12).
    ConnectionLimitReached,
    /// The TLS handshake, or a record, is against the rules, or there is nothing in common (§2.3.13).
    TlsProtocolError,
    /// The server's certificate is not acceptable (§2.3.14).
    TlsCertificateError,
    /// The server broke off with a TLS alert (§2.3.15).
    TlsAlertReceived,
    /// The response is not complete (§2.3.22).
    HttpResponseIncomplete,
    /// The response's header section is larger than the limit (§2.3.24).
    HttpResponseHeaderSectionSize,
    /// The response's content is larger than the limit (§2.3.28).
    HttpResponseBodySize,
    /// The chunked coding, or another transfer coding, is malformed (§2.3.31, RFC 9112 §7.1).
    HttpResponseTransferCoding,
    /// The response's header section did not come in time (§2.3.33).
    HttpResponseTimeout,
    /// The upgrade failed (§2.3.34).
    HttpUpgradeFailed,
    /// The response is not HTTP, or breaks its rules (§2.3.35).
    HttpProtocolError,
    /// We ran into our own local problem: descriptors, ports, memory (§2.3.36).
    ProxyInternalError,
    /// The request came back to us (§2.3.38).
    ProxyLoopDetected,
}

impl OriginError {
    /// The error type as RFC 9209 spells it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::DnsError => "dns_error",
            Self::DestinationUnavailable => "destination_unavailable",
            Self::DestinationIpUnroutable => "destination_ip_unroutable",
            Self::ConnectionRefused => "connection_refused",
            Self::ConnectionTerminated => "connection_terminated",
            Self::ConnectionTimeout => "connection_timeout",
            Self::ConnectionReadTimeout => "connection_read_timeout",
            Self::ConnectionWriteTimeout => "connection_write_timeout",
            Self::ConnectionLimitReached => "connection_limit_reached",
            Self::TlsProtocolError => "tls_protocol_error",
            Self::TlsCertificateError => "tls_certificate_error",
            Self::TlsAlertReceived => "tls_alert_received",
            Self::HttpResponseIncomplete => "http_response_incomplete",
            Self::HttpResponseHeaderSectionSize => "http_response_header_section_size",
            Self::HttpResponseBodySize => "http_response_body_size",
            Self::HttpResponseTransferCoding => "http_response_transfer_coding",
            Self::HttpResponseTimeout => "http_response_timeout",
            Self::HttpUpgradeFailed => "http_upgrade_failed",
            Self::HttpProtocolError => "http_protocol_error",
            Self::ProxyInternalError => "proxy_internal_error",
            Self::ProxyLoopDetected => "proxy_loop_detected",
        }
    }

    /// The status that the client gets when nothing better can be served.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::ConnectionTimeout
            | Self::ConnectionReadTimeout
            | Self::ConnectionWriteTimeout
            | Self::HttpResponseTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::DestinationUnavailable | Self::ConnectionLimitReached => StatusCode::SERVICE_UNAVAILABLE,
            Self::ProxyInternalError => StatusCode::INTERNAL_SERVER_ERROR,
            Self::ProxyLoopDetected => StatusCode::LOOP_DETECTED,
            _ => StatusCode::BAD_GATEWAY,
        }
    }
}
