//! Every metric, declared once: name, labels, unit, help, what a rise means, what to do.
//!
//! [`Counter`]s and [`Histogram`]s are events on the hot path: each worker has its own set ([`Metrics`]), written by that
//! worker alone with plain relaxed stores, and summed when somebody reads. A [`Family`] has no value here: whoever owns
//! the facts states them when they are read (`telemetry::exposition`). `docs/metrics.md` is generated from the three
//! tables and compared by a test.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What is known about one metric before any value.
#[derive(Clone, Copy, Debug)]
pub struct Descriptor {
    /// The Prometheus name.
    pub name: &'static str,
    /// Fixed labels as they are rendered, such as `reason="emfile"`; empty when there are none.
    pub labels: &'static str,
    /// One line for `# HELP`.
    pub help: &'static str,
    /// What it means when it rises.
    pub meaning: &'static str,
    /// What an operator does about it.
    pub action: &'static str,
}

macro_rules! counters {
    ($($id:ident $name:literal $labels:literal $help:literal $meaning:literal $action:literal;)*) => {
        /// The counters, one per series.
        #[expect(clippy::doc_markdown, reason = "help texts are Prometheus', not Markdown")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Counter {
            $(#[doc = $help] $id,)*
        }
        impl Counter {
            /// All of them, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$id,)*];
            /// What the table says about this one.
            pub const fn descriptor(self) -> Descriptor {
                match self {
                    $(Self::$id => Descriptor { name: $name, labels: $labels, help: $help, meaning: $meaning, action: $action },)*
                }
            }
        }
    };
}

counters! {
    ConnectionsAccepted "tidegate_connections_accepted_total" "" "Connections taken from accept queues" "Clients connect" "Nothing";
    ConnectionsClosed "tidegate_connections_closed_total" "" "Accepted connections that ended" "Clients leave; accepted minus closed are open now" "Nothing";
    ShedConnections "tidegate_connections_shed_total" r#"reason="connections""# "Connections accepted and not served, by reason" "process.connections_max was reached" "Raise process.connections_max and RLIMIT_NOFILE, or add a node";
    ShedSource "tidegate_connections_shed_total" r#"reason="source""# "Connections accepted and not served, by reason" "One address, or one IPv6 network, has limits.connections_per_source_max connections" "The log names one; list it in limits.connections_exempt if it stands for many clients, such as a load balancer";
    ShedDenied "tidegate_connections_shed_total" r#"reason="denied""# "Connections accepted and not served, by reason" "Peers that allow or deny of a listener keep out" "Nothing; the log names one";
    ShedMemory "tidegate_connections_shed_total" r#"reason="memory""# "Connections accepted and not served, by reason" "Memory ran short: limits.shedding" "See tidegate_memory_used_bytes; give the process more memory, or the cache less";
    ShedDescriptors "tidegate_connections_shed_total" r#"reason="descriptors""# "Connections accepted and not served, by reason" "File descriptors ran short: limits.shedding" "See tidegate_descriptors_used; raise LimitNOFILE";
    AcceptErrorPeer "tidegate_accept_errors_total" r#"kind="peer_gone""# "accept() failures by kind" "The client left between handshake and accept" "Nothing";
    AcceptErrorDescriptors "tidegate_accept_errors_total" r#"kind="descriptors""# "accept() failures by kind" "EMFILE or ENFILE: no file descriptor is left" "Raise RLIMIT_NOFILE or lower process.connections_max";
    AcceptErrorMemory "tidegate_accept_errors_total" r#"kind="memory""# "accept() failures by kind" "ENOBUFS or ENOMEM: the kernel has no memory for sockets" "Look at net.ipv4.tcp_mem and at free memory";
    AcceptErrorOther "tidegate_accept_errors_total" r#"kind="other""# "accept() failures by kind" "An error accept() should not give" "Read the log line that names the errno";
    CloseClient "tidegate_connections_close_reasons_total" r#"reason="client""# "Why client connections ended" "The client closed" "Nothing";
    CloseIdle "tidegate_connections_close_reasons_total" r#"reason="idle_timeout""# "Why client connections ended" "Keep-alive idle time was over" "Nothing";
    CloseHeaderTimeout "tidegate_connections_close_reasons_total" r#"reason="header_timeout""# "Why client connections ended" "A request head did not come in time" "Slow clients or slowloris; lower front.header_timeout if it hurts";
    CloseBodyTimeout "tidegate_connections_close_reasons_total" r#"reason="body_timeout""# "Why client connections ended" "A client's body stopped coming" "Slow clients";
    CloseSendTimeout "tidegate_connections_close_reasons_total" r#"reason="send_timeout""# "Why client connections ended" "A client stopped taking its response" "Slow clients";
    CloseMalformed "tidegate_connections_close_reasons_total" r#"reason="malformed""# "Why client connections ended" "A request was malformed" "Look at the access log for who sends them";
    CloseRequested "tidegate_connections_close_reasons_total" r#"reason="requested""# "Why client connections ended" "The client asked for it, or HTTP/1.0" "Nothing";
    CloseRequestsMax "tidegate_connections_close_reasons_total" r#"reason="requests_max""# "Why client connections ended" "The keep-alive request cap was reached" "Nothing; raise front.requests_per_connection_max if reconnects hurt";
    CloseDrain "tidegate_connections_close_reasons_total" r#"reason="drain""# "Why client connections ended" "The process is draining" "Nothing";
    CloseResponseFailed "tidegate_connections_close_reasons_total" r#"reason="response_failed""# "Why client connections ended" "A response could not be completed and was cut" "Look at the origin";
    CloseUnread "tidegate_connections_close_reasons_total" r#"reason="unread_body""# "Why client connections ended" "A request body was not wanted and too long to skip" "Nothing";
    CloseReset "tidegate_connections_close_reasons_total" r#"reason="reset""# "Why client connections ended" "The client reset the connection" "Nothing";
    CloseHandshake "tidegate_connections_close_reasons_total" r#"reason="handshake""# "Why client connections ended" "The TLS handshake failed" "See tidegate_tls_handshake_failures_total";
    CloseUpgraded "tidegate_connections_close_reasons_total" r#"reason="upgraded""# "Why client connections ended" "The connection became a tunnel and ended" "Nothing";
    CloseProxyHeader "tidegate_connections_close_reasons_total" r#"reason="proxy_header""# "Why client connections ended" "A connection to a listener with proxy_protocol did not begin as it had to" "See tidegate_proxy_headers_refused_total";
    CloseSourceLimit "tidegate_connections_close_reasons_total" r#"reason="source_limit""# "Why client connections ended" "The client that a PROXY header named had as many connections as it may have" "See tidegate_connections_shed_total";
    ProxySource "tidegate_proxy_headers_refused_total" r#"cause="source""# "Connections closed for their PROXY header" "A peer that is not in proxy_from" "List the load balancer, or close the port to everybody else";
    ProxyMalformed "tidegate_proxy_headers_refused_total" r#"cause="malformed""# "Connections closed for their PROXY header" "A listed peer that sends something else" "Turn the PROXY protocol on at the load balancer, or proxy_protocol off here";
    ProxyTimeout "tidegate_proxy_headers_refused_total" r#"cause="timeout""# "Connections closed for their PROXY header" "A listed peer that sent no whole header within front.header_timeout" "Look at the load balancer";
    ProxyGone "tidegate_proxy_headers_refused_total" r#"cause="gone""# "Connections closed for their PROXY header" "The peer left before its header was whole: health checks that only connect" "Nothing";
    TunnelsOpened "tidegate_tunnels_opened_total" "" "Exchanges that became tunnels (101)" "WebSocket and other upgrades; opened minus ended are open now" "Nothing";
    TunnelEndClient "tidegate_tunnels_ended_total" r#"reason="tunnel_client""# "Why tunnels ended" "Both sides ended, the client first" "Nothing";
    TunnelEndServer "tidegate_tunnels_ended_total" r#"reason="tunnel_server""# "Why tunnels ended" "Both sides ended, the origin first" "Nothing";
    TunnelEndIdle "tidegate_tunnels_ended_total" r#"reason="tunnel_idle""# "Why tunnels ended" "No byte passed for longer than tunnel_timeout" "Let the application send pings more often, or raise tunnel_timeout";
    TunnelEndClientReset "tidegate_tunnels_ended_total" r#"reason="tunnel_client_reset""# "Why tunnels ended" "The client's connection broke" "Nothing";
    TunnelEndServerReset "tidegate_tunnels_ended_total" r#"reason="tunnel_server_reset""# "Why tunnels ended" "The origin's connection broke" "Look at the origin";
    TunnelEndDrain "tidegate_tunnels_ended_total" r#"reason="tunnel_drain""# "Why tunnels ended" "The process ended, and the tunnel was still open after drain_timeout" "Nothing";
    TunnelBytesReceived "tidegate_tunnel_bytes_received_total" "" "Bytes from clients to origins in tunnels" "Traffic" "Nothing";
    TunnelBytesSent "tidegate_tunnel_bytes_sent_total" "" "Bytes from origins to clients in tunnels, and the heads of the 101 responses" "Traffic" "Nothing";
    Tls12Full "tidegate_tls_handshakes_total" r#"version="1.2",resumed="no""# "TLS handshakes that succeeded" "Clients connect" "Nothing";
    Tls12Resumed "tidegate_tls_handshakes_total" r#"version="1.2",resumed="yes""# "TLS handshakes that succeeded" "Clients connect again, with a ticket" "Nothing";
    Tls13Full "tidegate_tls_handshakes_total" r#"version="1.3",resumed="no""# "TLS handshakes that succeeded" "Clients connect" "Nothing";
    Tls13Resumed "tidegate_tls_handshakes_total" r#"version="1.3",resumed="yes""# "TLS handshakes that succeeded" "Clients connect again, with a ticket" "Nothing";
    TlsTimeout "tidegate_tls_handshake_failures_total" r#"cause="timeout""# "TLS handshakes that failed" "Clients that did not finish in time: slow networks, or slowloris" "Nothing while it is rare; lower handshake_timeout in [tls.NAME] if it hurts";
    TlsClientGone "tidegate_tls_handshake_failures_total" r#"cause="client_gone""# "TLS handshakes that failed" "Clients that left: port scans, health checks without TLS" "Nothing";
    TlsPlainHttp "tidegate_tls_handshake_failures_total" r#"cause="plain_http""# "TLS handshakes that failed" "HTTP without TLS on a TLS port; answered 400" "Look for links with http:// and this port";
    TlsUnknownName "tidegate_tls_handshake_failures_total" r#"cause="unknown_name""# "TLS handshakes that failed" "No certificate for the name that was asked for" "Add a certificate, or unknown_name = \"default\"";
    TlsNothingInCommon "tidegate_tls_handshake_failures_total" r#"cause="nothing_in_common""# "TLS handshakes that failed" "Old clients: no version, cipher or signature in common" "min_version = \"1.2\" and an RSA certificate reach the most";
    TlsAlert "tidegate_tls_handshake_failures_total" r#"cause="alert""# "TLS handshakes that failed" "Clients that do not like the certificate" "Check its chain with openssl s_client";
    TlsNoCertificate "tidegate_tls_handshake_failures_total" r#"cause="client_certificate_missing""# "TLS handshakes that failed" "Clients without a certificate, where client_ca demands one" "client_certificates = \"optional\" lets them in";
    TlsUnknownIssuer "tidegate_tls_handshake_failures_total" r#"cause="client_certificate_unknown_issuer""# "TLS handshakes that failed" "Certificates of clients that no authority in client_ca has signed" "Look whether an authority, or an intermediate, is missing in client_ca";
    TlsExpiredCertificate "tidegate_tls_handshake_failures_total" r#"cause="client_certificate_expired""# "TLS handshakes that failed" "Certificates of clients that have expired, or are not yet valid" "Renew them";
    TlsBadCertificate "tidegate_tls_handshake_failures_total" r#"cause="client_certificate_bad""# "TLS handshakes that failed" "Certificates of clients that are malformed, not for clients, or signed with another key than that of the authority in client_ca" "Look at their extended key usage, and whether client_ca has the present key of its authority";
    TlsMalformed "tidegate_tls_handshake_failures_total" r#"cause="malformed""# "TLS handshakes that failed" "Bytes that are not TLS, or against its rules" "Nothing; scanners";
    TlsLimit "tidegate_tls_handshake_failures_total" r#"cause="limit""# "TLS handshakes that failed" "More handshakes at once than handshakes_max in [tls.NAME]; connections were closed" "Add CPU, or raise the limit if there is some left";
    TlsInternal "tidegate_tls_handshake_failures_total" r#"cause="internal""# "TLS handshakes that failed" "tidegate could not make a session" "Read the log";
    Http2Connections "tidegate_http2_connections_total" "" "Connections that speak HTTP/2" "Clients connect" "Nothing";
    Http2ProtocolErrors "tidegate_http2_protocol_errors_total" "" "HTTP/2 connections ended because the client broke the rules" "Broken or hostile clients" "Look at the debug log for who they are";
    Http2StreamsRefused "tidegate_http2_streams_refused_total" "" "HTTP/2 streams that never became a request" "More at once than front.http2.streams_max, heads beyond front.request_head_max, or heads against the rules" "Raise these limits if the clients are honest";
    Http2Calm "tidegate_http2_floods_total" r#"kind="protocol""# "HTTP/2 connections ended because of a flood of frames" "Heads in too many pieces, DATA without content, streams that had to be reset again and again" "Nothing; hostile clients";
    Http2FloodPing "tidegate_http2_floods_total" r#"kind="ping""# "HTTP/2 connections ended because of a flood of frames" "PING frames, more than honest clients send" "Nothing; hostile clients";
    Http2FloodSettings "tidegate_http2_floods_total" r#"kind="settings""# "HTTP/2 connections ended because of a flood of frames" "SETTINGS frames, more than honest clients send" "Nothing; hostile clients";
    Http2FloodReset "tidegate_http2_floods_total" r#"kind="reset""# "HTTP/2 connections ended because of a flood of frames" "Requests that are taken back as soon as they are made, more than honest clients send" "Nothing; hostile clients";
    Http2FloodEmpty "tidegate_http2_floods_total" r#"kind="empty""# "HTTP/2 connections ended because of a flood of frames" "Frames without content, more than honest clients send" "Nothing; hostile clients";
    Http2FloodWindow "tidegate_http2_floods_total" r#"kind="window_update""# "HTTP/2 connections ended because of a flood of frames" "WINDOW_UPDATE frames, more than honest clients send" "Nothing; hostile clients";
    Http2WindowStalled "tidegate_http2_window_stalls_total" "" "Responses given up because the client kept its window shut" "Slow or hostile clients" "Raise front.send_timeout if they are honest";
    RequestsMalformed "tidegate_requests_malformed_total" "" "Requests refused by the parser or the framing checks" "Broken or hostile clients" "Look at the access log for who sends them";
    RequestsHeadTooLarge "tidegate_limit_hits_total" r#"limit="request_head""# "Requests refused, or given up, because of a limit" "A request head had too many bytes or fields" "Raise the limit in [front] if the client is honest";
    RequestsUriTooLong "tidegate_limit_hits_total" r#"limit="uri""# "Requests refused, or given up, because of a limit" "A request target was too long" "Raise front.uri_max if the client is honest";
    RequestsBodyTooLarge "tidegate_limit_hits_total" r#"limit="request_body""# "Requests refused, or given up, because of a limit" "A request body was larger than allowed" "Raise front.request_body_max if the client is honest";
    RequestsBodySlow "tidegate_limit_hits_total" r#"limit="body_rate""# "Requests refused, or given up, because of a limit" "A request body came more slowly than front.body_rate_min" "Slow or hostile clients; lower the rate if they are honest";
    SendTooSlow "tidegate_limit_hits_total" r#"limit="send_rate""# "Requests refused, or given up, because of a limit" "A client took its response more slowly than front.send_rate_min" "Slow or hostile clients; lower the rate if they are honest";
    RequestsTooMany "tidegate_limit_hits_total" r#"limit="rate""# "Requests refused, or given up, because of a limit" "Requests answered 429, by a [[site.limit]]" "Look at the access log for who sends them; raise the rate if they are honest";
    RequestsDenied "tidegate_requests_denied_total" "" "Requests answered 403 because of allow or deny of a site or route" "Clients that are not meant to be served here" "Nothing, unless they are";
    RateKeysForgotten "tidegate_rate_keys_forgotten_total" "" "Keys of a rate limit that were forgotten before their time, for lack of room" "More clients, or made up keys, than keys_max; those who were forgotten may ask again at once" "Raise keys_max of the limit";
    Responses1xx "tidegate_responses_total" r#"class="1xx""# "Final responses sent to clients by status class" "Upgrades (101)" "Nothing";
    Responses2xx "tidegate_responses_total" r#"class="2xx""# "Final responses sent to clients by status class" "Successes" "Nothing";
    Responses3xx "tidegate_responses_total" r#"class="3xx""# "Final responses sent to clients by status class" "Redirections and not-modifieds" "Nothing";
    Responses4xx "tidegate_responses_total" r#"class="4xx""# "Final responses sent to clients by status class" "Client errors" "Look at the access log";
    Responses5xx "tidegate_responses_total" r#"class="5xx""# "Final responses sent to clients by status class" "Server errors" "Look at tidegate_origin_errors_total";
    InterimResponses "tidegate_interim_responses_total" "" "Interim responses of origins (1xx, such as 103 Early Hints) passed on to clients" "Origins send them" "Nothing";
    ResponsesCut "tidegate_responses_cut_total" "" "Responses that ended before they were whole" "Clients left, or origins failed in mid-body" "Compare with the origin errors";
    BytesReceived "tidegate_client_bytes_received_total" "" "Bytes read from clients" "Traffic" "Nothing";
    BytesSent "tidegate_client_bytes_sent_total" "" "Bytes written to clients" "Traffic" "Nothing";
    LoopsDetected "tidegate_loops_detected_total" "" "Requests refused because they had passed through this node before" "A routing loop between proxies" "Check the origin addresses";
    MisdirectedRequests "tidegate_misdirected_total" "" "Requests for a host that no site serves" "Wrong DNS, scanners, or a site missing from the configuration" "Add the site, or set default = true on one";
    AccessLogLines "tidegate_access_log_lines_total" "" "Lines handed to the access log writer" "Exchanges ended" "Nothing";
    AccessLogDropped "tidegate_access_log_dropped_total" "" "Access log lines lost because the writer was behind" "The disk is slower than the traffic" "Give the log a faster disk, or log less";
    CacheHit "tidegate_cache_requests_total" r#"outcome="hit""# "Requests to the cache tier by outcome (RFC 9211)" "Answered from store" "Nothing";
    CacheBypass "tidegate_cache_requests_total" r#"outcome="bypass""# "Requests to the cache tier by outcome (RFC 9211)" "Configured not to use the cache" "Nothing";
    CacheMethod "tidegate_cache_requests_total" r#"outcome="method""# "Requests to the cache tier by outcome (RFC 9211)" "The method requires forwarding" "Nothing";
    CacheUriMiss "tidegate_cache_requests_total" r#"outcome="uri-miss""# "Requests to the cache tier by outcome (RFC 9211)" "Nothing stored for the URI" "Nothing";
    CacheVaryMiss "tidegate_cache_requests_total" r#"outcome="vary-miss""# "Requests to the cache tier by outcome (RFC 9211)" "No stored variant matches the request" "Look at what the origin varies on";
    CacheRequest "tidegate_cache_requests_total" r#"outcome="request""# "Requests to the cache tier by outcome (RFC 9211)" "The client's Cache-Control demanded forwarding" "Nothing";
    CacheStale "tidegate_cache_requests_total" r#"outcome="stale""# "Requests to the cache tier by outcome (RFC 9211)" "The stored response was stale" "Nothing; longer lifetimes at the origin would help";
    CachePartial "tidegate_cache_requests_total" r#"outcome="partial""# "Requests to the cache tier by outcome (RFC 9211)" "Some of the bytes that were asked for were stored, not all" "Nothing";
    CacheStored "tidegate_cache_stored_total" "" "Responses put into the store" "Misses that may be reused" "Nothing";
    CacheTooLarge "tidegate_cache_too_large_total" "" "Responses not stored because they are larger than cache.stored_response_max" "Large responses" "Raise cache.stored_response_max if they are worth it";
    CacheRefreshAhead "tidegate_cache_refreshes_total" r#"cause="refresh_ahead""# "Stored responses that were validated, or fetched again, in the background, by cause" "A popular response was near its end (refresh_ahead_percent)" "Nothing";
    CacheRefreshStale "tidegate_cache_refreshes_total" r#"cause="stale_while_revalidate""# "Stored responses that were validated, or fetched again, in the background, by cause" "A stale response answered, since stale-while-revalidate allows it" "Nothing";
    CacheWaitersMax "tidegate_cache_wait_limit_hits_total" r#"limit="waiters""# "Requests that did not, or no longer, wait for another one's fetch because of a limit" "More than waiters_max came for one response while it was fetched" "Raise waiters_max, or say wait_over = \"error\" to spare the origin";
    CacheWaitTimeouts "tidegate_cache_wait_limit_hits_total" r#"limit="timeout""# "Requests that did not, or no longer, wait for another one's fetch because of a limit" "A response took longer to begin than wait_timeout" "Look at how slow the backend is";
    CompressedResponses "tidegate_compressed_responses_total" "" "Responses that were compressed" "One per coding and stored response; one per request where nothing is stored" "Nothing";
    CompressBytesIn "tidegate_compress_content_bytes_total" "" "Bytes of content that was compressed, before that" "Minus tidegate_compress_coded_bytes_total: what was saved, in the store and on each hit" "Nothing";
    CompressBytesOut "tidegate_compress_coded_bytes_total" "" "Bytes of content that was compressed, after that" "See tidegate_compress_content_bytes_total" "Nothing";
    CompressSkipped "tidegate_compress_skipped_total" "" "Responses that went uncompressed because as many as compress.streams_max of their route were being compressed" "More is being compressed at once than memory was set aside for" "Raise streams_max if there is memory and CPU left";
    AuthOk "tidegate_auth_total" r#"result="ok""# "Requests where a site or route asks for a name and a password" "They were right" "Nothing";
    AuthFailed "tidegate_auth_total" r#"result="failed""# "Requests where a site or route asks for a name and a password" "A wrong password of a user that exists: a few are mistyped, many are guessed" "Look at the access log for who; limit their requests";
    AuthUnknown "tidegate_auth_total" r#"result="unknown""# "Requests where a site or route asks for a name and a password" "No such user: many mean that somebody tries names" "As for failed";
    AuthBusy "tidegate_auth_total" r#"result="busy""# "Requests where a site or route asks for a name and a password" "Too many passwords were being verified, 503: somebody guesses, or all came at once after a restart" "As for failed; a cheaper hash if they are your users";
    AuthNone "tidegate_auth_total" r#"result="none""# "Requests where a site or route asks for a name and a password" "Neither was there: each browser asks once without" "Nothing";
    TrafficAnswers "tidegate_traffic_rule_answers_total" "" "Requests that a traffic rule answered: redirects, fixed responses, maintenance, CORS preflights" "As configured" "Nothing";
    TrafficErrorPages "tidegate_error_pages_total" "" "Responses whose content a configured error page took the place of" "Errors, ours or the origin's" "Look at tidegate_backend_errors_total";
    TierFallback "tidegate_tier_fallback_total" "" "Requests sent to the origin directly because no cache server answered" "The cache tier is down" "Look at the cache servers";
    TierHandover "tidegate_tier_handover_total" r#"answer="former""# "Requests for keys of a cache server that has joined, asked of its former owner too" "The former owner still had the response" "Nothing";
    TierHandoverMiss "tidegate_tier_handover_total" r#"answer="neither""# "Requests for keys of a cache server that has joined, asked of its former owner too" "Neither had the response: it was fetched" "Nothing; a shorter handover would spare the question";
    BackendQueueTimeouts "tidegate_backend_queue_timeouts_total" "" "Requests that waited too long for a connection to a backend" "connections_max of a backend is reached" "Raise connections_max, or look at why the backend is slow";
    BackendRetries "tidegate_backend_retries_total" "" "Requests sent again because the first attempt failed before anything was answered" "Backends close idle connections, or refuse" "Nothing while it is rare";
    BackendRetriesRefused "tidegate_backend_retries_refused_total" "" "Requests not sent again because the retry budget was spent" "Many requests fail at once: an outage, kept from multiplying" "Look at the backend; raise retry_budget_percent only if it can bear it";
    BackendHedges "tidegate_backend_hedges_total" "" "Requests sent to a second server because the first took longer than most" "A share of servers is slow, or hedge_percentile is low" "Compare with tidegate_backend_hedges_won_total";
    BackendHedgesWon "tidegate_backend_hedges_won_total" "" "Requests that the second server answered first" "Hedging helps" "Nothing; look at the slow server if they are many";
}

macro_rules! histograms {
    ($($id:ident $name:literal $labels:literal $help:literal $meaning:literal $action:literal;)*) => {
        /// The histograms, in seconds.
        #[expect(clippy::doc_markdown, reason = "help texts are Prometheus', not Markdown")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Histogram {
            $(#[doc = $help] $id,)*
        }
        impl Histogram {
            /// All of them, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$id,)*];
            /// What the table says about this one.
            pub const fn descriptor(self) -> Descriptor {
                match self {
                    $(Self::$id => Descriptor { name: $name, labels: $labels, help: $help, meaning: $meaning, action: $action },)*
                }
            }
        }
    };
}

histograms! {
    RequestSeconds "tidegate_request_seconds" "" "From the first byte of a request to the last of its response" "What clients wait" "Compare with the backend's first byte";
    AcceptWaitSeconds "tidegate_accept_wait_seconds" "" "How long connections waited in the accept queue (TCP_INFO, in the kernel's ticks)" "Long waits come before a full accept queue: workers are busy or stalled" "See docs/tcp-health.md";
    BackendConnectSeconds "tidegate_backend_connect_seconds" "" "Time to establish a connection to a backend" "Values near 1, 3 or 7 s are lost SYNs" "See docs/tcp-health.md";
    BackendTlsSeconds "tidegate_backend_tls_seconds" "" "Time of TLS handshakes with backends, which is part of the time to connect" "Two or three round trips, one with a resumed session" "Raise keepalive of the backend; let its servers give out session tickets";
    BackendFirstByteSeconds "tidegate_backend_first_byte_seconds" "" "From a request sent to a backend to its response head" "How slow backends are" "Look at the backend";
}

/// What kind of metric a family is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises, until a restart.
    Counter,
    /// Rises and falls.
    Gauge,
}

/// What is known about a [`Family`] before any value.
#[derive(Clone, Copy, Debug)]
pub struct FamilyDescriptor {
    /// The Prometheus name.
    pub name: &'static str,
    /// Counter or gauge.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// One line for `# HELP`.
    pub help: &'static str,
    /// What its value means.
    pub meaning: &'static str,
    /// What an operator does about it.
    pub action: &'static str,
}

macro_rules! families {
    ($($id:ident $kind:ident $name:literal [$($label:literal)*] $help:literal $meaning:literal $action:literal;)*) => {
        /// The metrics whose values are stated when somebody reads them, by whoever owns the facts.
        #[expect(clippy::doc_markdown, reason = "help texts are Prometheus', not Markdown")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Family {
            $(#[doc = $help] $id,)*
        }
        impl Family {
            /// All of them, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$id,)*];
            /// What the table says about this one.
            pub const fn descriptor(self) -> FamilyDescriptor {
                match self {
                    $(Self::$id => FamilyDescriptor {
                        name: $name,
                        kind: Kind::$kind,
                        labels: &[$($label,)*],
                        help: $help,
                        meaning: $meaning,
                        action: $action,
                    },)*
                }
            }
        }
    };
}

families! {
    BuildInfo Gauge "tidegate_build_info" ["version" "revision"] "Always 1; the labels say what is running" "Which build this is" "Nothing";
    StartTime Gauge "tidegate_start_time_seconds" [] "When the process started, since the Unix epoch" "A change is a restart" "Nothing when it was meant";
    Workers Gauge "tidegate_workers" [] "Worker threads" "As configured" "Nothing";
    ConnectionsOpen Gauge "tidegate_connections_open" [] "Client connections that are open" "Clients that are connected now, most of them idle" "Compare with process.connections_max";
    Shedding Gauge "tidegate_shedding" ["resource"] "1 while new connections are shed because this runs short, 0 otherwise" "As limits.shedding says" "Look at who took it: tidegate_connections_open, tidegate_cache_stored_bytes";
    SheddingBegun Counter "tidegate_shedding_begun_total" ["resource"] "How often this ran short" "As limits.shedding says" "Raise the budget if it happens in everyday traffic";
    MemoryUsed Gauge "tidegate_memory_used_bytes" [] "Memory that is measured against the budget: the process's resident memory, or its cgroup's account where that is nearer its limit; absent where not known" "Near the budget new connections are shed" "Give the cache less, or the process more";
    MemoryBudget Gauge "tidegate_memory_budget_bytes" [] "Memory that may be used: limits.shedding.memory" "As configured, or as cgroup and machine have it" "Nothing";
    DescriptorsUsed Gauge "tidegate_descriptors_used" [] "File descriptors that are open" "Near the budget new connections are shed" "Raise LimitNOFILE";
    DescriptorsBudget Gauge "tidegate_descriptors_budget" [] "File descriptors that may be open: limits.shedding.descriptors" "As configured, or RLIMIT_NOFILE" "Nothing";
    TlsCertificateExpires Gauge "tidegate_tls_certificate_expires_seconds" ["tls" "file"] "When a certificate ends, since the Unix epoch" "The log warns from 14 days before" "Renew it; the files are taken over while running";
    TlsCertificatesExpiring Gauge "tidegate_tls_certificates_expiring" ["tls"] "Certificates that end within 14 days" "The log names them once a day" "Renew them; the files are taken over while running";
    TlsReloads Counter "tidegate_tls_reloads_total" ["tls" "result"] "Changed certificate files: taken over, or failed" "Somebody renewed certificates; after a failure the old ones are in use" "Read the log line that names the file";
    FileReloads Counter "tidegate_file_reloads_total" ["kind" "result"] "Files that were read again, because they had changed or on order, by what they hold: taken over, or failed" "After a failure what was read before is in use" "Read the log line that names the file";
    TlsTickets Counter "tidegate_tls_tickets_total" ["tls" "result"] "Session tickets that clients have shown where ticket_keys is set, by what became of them" "current_key and older_key: the session was to be had; unknown_key: it was sealed by a node with other keys, or long ago; expired; bad" "Many unknown_key: give all nodes the same files, and new keys as the last ones of the list before they become the first";
    TlsHandshakesRunning Gauge "tidegate_tls_handshakes_running" ["tls"] "TLS handshakes that run now" "Clients that connect" "Compare with handshakes_max in [tls.NAME]";
    HealthStatus Gauge "tidegate_health_status" ["status"] "1 for what /health says: ok, degraded or critical; 0 for the others" "degraded: a finding is open; critical: a kernel setting loses clients" "Read /health, which names cause and remedy";
    HealthSamples Counter "tidegate_health_samples_total" [] "Looks at the kernel's counters and our sockets, one per second" "It stands still: the control thread hangs, and nothing else here is fresh" "Restart, and report it with the log";
    HealthFindings Gauge "tidegate_handshake_findings_open" ["leg" "whose" "side" "cause" "impact"] "Open findings: why handshakes are lost, or soon will be" "Handshakes are lost on this leg for this cause" "Read /health; docs/tcp-health.md has each cause";
    HealthLeg Gauge "tidegate_handshake_leg_state" ["leg" "verdict"] "1 for the verdict on each leg, 0 for the others" "lossy: this leg loses handshakes" "Read /health";
    HealthSettings Gauge "tidegate_preflight_findings" ["severity"] "Kernel settings that the preflight finds fault with, read again each second" "A setting has changed; refuse means that clients are lost" "Read /health, or run tidegate check --kernel";
    CacheServerHealth Gauge "tidegate_cache_server_health" ["server" "status"] "1 for what each cache server says of its health, or for unavailable; 0 for the others" "Its own /health says why; unavailable: this process cannot ask it" "Read the end of /health, or the cache server's own";
    AdminUnauthorized Counter "tidegate_admin_unauthorized_total" [] "Requests to the admin listener without one of its tokens" "Somebody guesses, or has an old token" "Look at who connects there";
    ListenerQueue Gauge "tidegate_listener_queue_depth" ["listener" "shard"] "Finished handshakes that wait for accept(), per socket" "Workers do not accept as fast as clients connect" "Look for a stalled worker";
    ListenerQueuePeak Gauge "tidegate_listener_queue_peak" ["listener" "shard"] "The deepest accept queue that was seen in the last minute" "Near its limit: bursts are about to be lost" "Look for a stalled worker; raise the backlog and net.core.somaxconn";
    ListenerLimit Gauge "tidegate_listener_queue_limit" ["listener" "shard"] "The accept queue's limit: min(backlog, somaxconn) at the time of listen()" "As the kernel gave it" "Nothing";
    ListenerDrops Counter "tidegate_listener_socket_drops_total" ["listener" "shard"] "sk_drops of the listening socket: segments it discarded, harmless ones included" "Which listener loses something, never how much" "See docs/tcp-health.md";
    AcceptsLookedAt Counter "tidegate_accepts_looked_at_total" ["leg"] "Accepted connections whose TCP_INFO was read" "What the next one is a part of" "Nothing";
    AcceptsSynAckRepeated Counter "tidegate_accepts_synack_repeated_total" ["leg"] "Those of them whose SYN-ACK had been repeated" "SYN-ACKs, or the ACKs that answer them, are lost on the way to clients" "Look at the way back to the clients";
    ListenerHalfOpen Gauge "tidegate_listener_half_open" ["listener" "repeated"] "Half-open connections of each listener, and whether their SYN-ACK was repeated" "The SYN queue fills, or answers do not arrive" "See docs/tcp-health.md";
    ListenerSockets Gauge "tidegate_listener_sockets" ["listener" "state"] "Connections of each listener by TCP state, counted every 10 s; states without any are left out" "TIME_WAIT: we close first; CLOSE_WAIT: connections that nobody ends" "See docs/tcp-health.md";
    BackendSockets Gauge "tidegate_backend_sockets" ["backend" "server" "state"] "Sockets towards each server by TCP state, any program's, counted every 10 s; states without any are left out" "SYN_SENT: it does not answer; TIME_WAIT: local ports that are held" "Keep more connections alive";
    TcpCounter Counter "tidegate_tcp_events_total" ["counter"] "The kernel's TCP counters of this network namespace that the diagnosis uses" "Any program's sockets, not only ours" "See docs/tcp-health.md";
    TcpHalfOpen Gauge "tidegate_tcp_half_open" ["direction" "repeated"] "Half-open connections of the namespace; repeated: SYN or SYN-ACK was sent again" "SYN flood, or answers are lost" "See docs/tcp-health.md";
    TcpSockets Gauge "tidegate_tcp_sockets" ["state"] "TCP sockets of the namespace by state, counted at most every 10 s" "TIME_WAIT grows: connections to servers are not kept alive" "Compare with net.ipv4.tcp_max_tw_buckets";
    TcpTimeWait Gauge "tidegate_tcp_time_wait" [] "Sockets in TIME_WAIT (sockstat)" "Many connections are closed from this side" "Keep connections alive longer";
    BackendLocalPorts Gauge "tidegate_backend_local_ports" ["backend" "server"] "Local ports taken towards a server, TIME_WAIT included; of its addresses, the one that takes most" "Near the range's size: connect() will fail with EADDRNOTAVAIL" "Keep connections alive; widen net.ipv4.ip_local_port_range";
    BackendConnections Gauge "tidegate_backend_connections" ["backend" "server" "state"] "Connections to a server of a backend; state is idle or busy" "Busy ones near connections_max make requests wait" "Raise connections_max, or look at why the server is slow";
    BackendRequests Counter "tidegate_backend_requests_total" ["backend" "server"] "Requests sent to a server" "Traffic, and how it is balanced" "Nothing";
    BackendErrors Counter "tidegate_backend_errors_total" ["backend" "server" "error"] "Requests that a server failed, by error (RFC 9209)" "The server refuses, is slow, or breaks HTTP" "Look at the server; the log has a line for each kind";
    BackendConnects Counter "tidegate_backend_connects_total" ["backend" "server"] "Connections established to a server" "As many as requests: keep-alive does not work" "Raise keepalive of the backend, and the server's own idle timeout";
    BackendSynRetransmits Counter "tidegate_backend_syn_retransmits_total" ["backend" "server"] "SYNs that had to be sent again to reach a server" "SYNs or their answers are lost on the way, or the server drops them" "See docs/tcp-health.md";
    BackendReused Counter "tidegate_backend_reused_total" ["backend" "server"] "Requests sent over a connection that was idle" "Keep-alive works: near tidegate_backend_requests_total" "Nothing";
    BackendServerState Gauge "tidegate_backend_server_state" ["backend" "server" "state"] "1 for the state that a server is in: up, refusing, ejected, unhealthy, draining, down or gone" "Servers that are not up get no requests while others can" "See docs/backends.md; the log has a line for each change";
    BackendPanic Gauge "tidegate_backend_panic" ["backend"] "1 while fewer servers than panic_percent are well, and all are asked alike" "Health checks or ejections have taken out too many to be believed" "Look at the servers, and at the checks";
    BackendServerChanges Counter "tidegate_backend_server_changes_total" ["backend" "server" "state"] "How often a server came into a state" "A server that comes and goes is in trouble" "Look at the server";
    BackendHandshakes Counter "tidegate_backend_handshakes_total" ["backend" "server" "outcome"] "TCP connects to a server by outcome, each address tried counted" "no_local_port: local ports towards this server are used up; timed_out: SYNs or their answers are lost" "More keepalive connections, net.ipv4.ip_local_port_range, or see docs/tcp-health.md";
    BackendSlowHandshakes Counter "tidegate_backend_slow_handshakes_total" ["backend" "server"] "TCP connects that took 0.9 s or more: a SYN or its answer was lost" "Loss on the way, or a server that drops SYNs" "See docs/tcp-health.md";
    BackendTlsHandshakes Counter "tidegate_backend_tls_handshakes_total" ["backend" "server" "kind"] "TLS handshakes with a server that succeeded; kind is full or resumed" "Failed ones are in tidegate_backend_errors_total, as tls_certificate_error, tls_protocol_error and tls_alert_received" "Many full ones: the server gives out no session tickets";
    BackendUnresolved Counter "tidegate_backend_unresolved_total" ["backend" "server"] "How often the name of a server, or a service (SRV), could not be looked up again" "The last good addresses and servers stay in use" "Look at the resolver; /health says what it answers";
    BackendLookUpSeconds Gauge "tidegate_backend_look_up_seconds" ["backend" "server"] "How long the last look-up of a server's name, or of a service (SRV), took, its failure too" "No request waits for it: names are looked up beside them" "Where it is long, look at the resolver";
    BackendServiceLeftOut Gauge "tidegate_backend_service_left_out" ["backend" "service"] "Servers of a service (SRV) that are not asked" "They are more than srv_servers_max, have no address, or are configured besides" "Raise srv_servers_max, or look at the resolver";
    CacheStoredBytes Gauge "tidegate_cache_stored_bytes" [] "Bytes of stored responses, heads and bookkeeping included" "Near cache.memory the store is full, which is its purpose" "Look at evictions";
    CacheStoredResponses Gauge "tidegate_cache_stored_responses" [] "Stored responses" "How many answers are at hand" "Nothing";
    CacheEvicted Counter "tidegate_cache_evicted_total" ["cause"] "Cache keys whose stored responses were dropped; cause is room or removed (purged, invalidated)" "For room: the working set is larger than cache.memory" "Raise cache.memory";
    CacheNotStored Counter "tidegate_cache_not_stored_total" ["reason"] "Responses that were not stored, by the reason that Cache-Status names" "What keeps responses from being reused" "Look at the origin's Cache-Control, Vary and Set-Cookie, and at [cache.rules]";
    CacheRefused Counter "tidegate_cache_refused_total" ["reason"] "Responses that contradict what was asked of the origin, by the rule that they broke" "The origin does not do ranges or conditions as RFC 9110 says, or changed a representation while it was sent in slices" "Look at the origin; where it does no ranges at all, turn slice off for the route";
    CacheStaleServed Counter "tidegate_cache_stale_served_total" ["reason"] "Stale responses that were served, by what allowed it" "origin_unreachable and origin_error: clients did not notice that the origin failed" "Look at the origin";
    CacheWaiting Gauge "tidegate_cache_waiting" [] "Requests that wait for another one's fetch of the same response" "Many: a popular response is slow to come" "Look at how slow the backend is";
    CachePurges Counter "tidegate_cache_purges_total" [] "Purges, which are numbered in this sequence" "Operators or applications purge" "Nothing";
    CachePurgeRecords Gauge "tidegate_cache_purge_records" [] "Purges that are remembered one by one" "The older half of a kind becomes a coarser record when there are too many" "Purge by tag rather than URL by URL";
    AccessLogFailed Counter "tidegate_access_log_failed_total" [] "Access log lines that the file did not take" "The disk is full, or the pipe is closed" "Read the log line that names the error; make room";
}

/// The unit of a metric, which Prometheus wants in its name.
pub fn unit(name: &str) -> &'static str {
    match name.trim_end_matches("_total") {
        name if name.ends_with("_seconds") => "seconds",
        name if name.split('_').any(|word| word == "bytes") => "bytes",
        _ => "count",
    }
}

/// Upper bounds of the histogram buckets, in microseconds; the last bucket has none.
pub const BUCKETS_MICROS: [u64; 14] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000, 1_000_000, 3_000_000, 10_000_000, 30_000_000,
];

/// One worker's values.
///
/// INVARIANT: written by one thread only, so an addition is a load and a store and no locked instruction.
#[derive(Debug)]
pub struct Metrics {
    counters: [AtomicU64; Counter::ALL.len()],
    histograms: [Buckets; Histogram::ALL.len()],
}

/// One histogram's values: the count per bucket, and the sum in microseconds.
#[derive(Debug, Default)]
pub struct Buckets {
    counts: [AtomicU64; BUCKETS_MICROS.len() + 1],
    sum_micros: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            counters: [const { AtomicU64::new(0) }; _],
            histograms: std::array::from_fn(|_| Buckets::default()),
        }
    }
}

impl Metrics {
    /// Adds one.
    pub fn count(&self, counter: Counter) {
        self.add(counter, 1);
    }

    /// Adds `n`.
    pub fn add(&self, counter: Counter, n: u64) {
        bump(&self.counters[counter as usize], n);
    }

    /// The value now.
    pub fn get(&self, counter: Counter) -> u64 {
        self.counters[counter as usize].load(Ordering::Relaxed)
    }

    /// Adds one observation.
    pub fn observe(&self, histogram: Histogram, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_MICROS.partition_point(|bound| *bound < micros);
        let buckets = &self.histograms[histogram as usize];
        bump(&buckets.counts[bucket], 1);
        bump(&buckets.sum_micros, micros);
    }

    /// Counts per bucket (not cumulative) and the sum in microseconds.
    pub fn buckets(&self, histogram: Histogram) -> ([u64; BUCKETS_MICROS.len() + 1], u64) {
        let buckets = &self.histograms[histogram as usize];
        let counts = std::array::from_fn(|i| buckets.counts[i].load(Ordering::Relaxed));
        (counts, buckets.sum_micros.load(Ordering::Relaxed))
    }
}

fn bump(value: &AtomicU64, n: u64) {
    value.store(value.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Every metric: its name, the suffix that its kind asks for, and its texts.
    fn all() -> Vec<(&'static str, &'static str, [&'static str; 3])> {
        let plain = |row: Descriptor, suffix| (row.name, suffix, [row.help, row.meaning, row.action]);
        let counters = Counter::ALL.iter().map(|counter| plain(counter.descriptor(), "_total"));
        let histograms = Histogram::ALL
            .iter()
            .map(|histogram| plain(histogram.descriptor(), "_seconds"));
        let families = Family::ALL.iter().map(|family| {
            let row = family.descriptor();
            (
                row.name,
                if row.kind == Kind::Counter { "_total" } else { "" },
                [row.help, row.meaning, row.action],
            )
        });
        counters.chain(histograms).chain(families).collect()
    }

    #[test]
    fn names_follow_prometheus_and_every_text_is_there() {
        for (name, suffix, texts) in all() {
            let is_name = name.starts_with("tidegate_")
                && name
                    .bytes()
                    .all(|byte| byte == b'_' || byte.is_ascii_lowercase() || byte.is_ascii_digit());
            assert!(is_name && name.ends_with(suffix), "{name}");
            assert!(!suffix.is_empty() || !name.ends_with("_total"), "{name} is a gauge");
            assert!(
                texts.iter().all(|text| !text.is_empty() && !text.contains(['\n', '|'])),
                "{name}"
            );
        }
    }

    #[test]
    fn series_of_one_name_stand_together_share_their_help_and_differ_in_their_labels() {
        let mut names = HashSet::new();
        let mut previous = None;
        for counter in Counter::ALL {
            let row = counter.descriptor();
            let is_series_of_previous = previous.is_some_and(|previous: Descriptor| previous.name == row.name);
            if let Some(previous) = previous.filter(|_| is_series_of_previous) {
                assert_eq!(previous.help, row.help, "{}", row.name);
                assert!(previous.labels != row.labels && !row.labels.is_empty(), "{}", row.name);
            } else {
                assert!(names.insert(row.name), "{} stands in two places", row.name);
            }
            previous = Some(row);
        }
        let others = Histogram::ALL.iter().map(|one| one.descriptor().name);
        for name in others.chain(Family::ALL.iter().map(|one| one.descriptor().name)) {
            assert!(names.insert(name), "{name} is declared twice");
        }
    }

    #[test]
    fn observations_fall_into_the_bucket_that_bounds_them() {
        let metrics = Metrics::default();
        for (micros, bucket) in [(0, 0), (50, 0), (51, 1), (1_000, 4), (30_000_000, 13), (30_000_001, 14)] {
            let before = metrics.buckets(Histogram::RequestSeconds).0[bucket];
            metrics.observe(Histogram::RequestSeconds, Duration::from_micros(micros));
            assert_eq!(
                metrics.buckets(Histogram::RequestSeconds).0[bucket],
                before + 1,
                "{micros}"
            );
        }
        assert_eq!(metrics.buckets(Histogram::RequestSeconds).1, 60_001_102);
        assert_eq!(
            metrics.buckets(Histogram::BackendConnectSeconds),
            ([0; BUCKETS_MICROS.len() + 1], 0)
        );
    }

    #[test]
    fn a_unit_is_read_from_the_name() {
        for (name, expected) in [
            ("tidegate_client_bytes_received_total", "bytes"),
            ("tidegate_cache_stored_bytes", "bytes"),
            ("tidegate_request_seconds", "seconds"),
            ("tidegate_responses_total", "count"),
        ] {
            assert_eq!(unit(name), expected, "{name}");
        }
    }
}
