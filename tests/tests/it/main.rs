//! End-to-end tests on the real binary, and tests of the code's own shape. One binary; topics are modules.
//!
//! `TIDEGATE_BIN` names another binary to test; `TIDEGATE_TEST_STREAM_MIB` scales the large bodies (1024).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod fixture; // the fixture's own peers against each other
mod tidy; // the shape of the house: layers, borders, steps, papers
mod tidy_files; // what every source file must be
mod cli; // version, help, completions, demo
mod bad_config; // problems told at once, exit codes
mod bad_start; // ports, permissions, names that this machine does not give
mod listeners; // where it listens
mod connections; // the life of a client's connection
mod limits; // what one client may take from the others
mod shedding; // when memory or descriptors run short
mod confined; // least privilege
mod routing; // which origin
mod compression; // negotiated, stored once per coding
mod traffic_answers; // maintenance, error pages, CORS
mod traffic_auth; // basic authentication
mod traffic_rules; // redirects, fields, rewritten paths
mod bodies; // framing, streaming, trailers, 100-continue
mod upgrades; // WebSocket and other tunnels
mod extended_connect; // the same over HTTP/2
mod interim; // 103 Early Hints and the like
mod proxy_protocol; // who a load balancer says that a client is
mod proxy_out; // who a client is, said to servers
mod malformed; // requests that must be refused
mod odd; // requests that look odd and are right
mod hygiene; // what messages lose and gain on their way
mod origin_faults; // origins that misbehave
mod fault_injection; // many faults at once, and nothing leaked
mod fault_crowd; // ten thousand at once
mod lossy_network; // packets lost and late
mod connection_counts; // how few connections many clients need
mod origin_odd; // origins that are odd within the rules; pool and retries
mod cache; // the cache tier in both shapes
mod cache_store; // what is stored, and under which key
mod collapse; // one fetch for all who ask meanwhile
mod cache_rules; // what an operator decides about it
mod cache_servers; // several cache servers, and none
mod explain; // what would become of a request
mod slices; // large representations, fetched and joined in slices
mod partial; // parts of what is not sliced
mod balance; // which server, by what; keys that move; deadlines between tiers
mod mixed; // other people's caches and fronts beside ours
mod examples; // the examples run
mod purge; // what an operator takes out of the store
mod backends; // weights, ejection, health checks, orders, retries
mod grpc_health; // health checks by gRPC's protocol
mod services; // servers found by SRV records
mod streaming; // large bodies in little memory
mod idle_connections; // ten thousand of them
mod abuse; // every kind of hostile client, and an honest one beside it
mod crowds; // many who hold, then leave
mod access_log; // what is written about an exchange
mod lifecycle; // drain, signals, the admin listener
mod handshake; // kernel settings refused, health, the doctor
mod handshake_live; // health in network namespaces of its own
mod handshake_causes; // each cause made to happen there
mod cache_servers_health; // what cache servers say, on the front's page
mod admin_access; // tokens, certificates, unix sockets
mod watching; // watching says nothing when nothing is wrong, and costs next to nothing
mod tls; // certificates, handshakes, redirects
mod tls_tickets; // keys of tickets that nodes share
mod reload; // files that are read again on order
mod tls_clients; // certificates of clients
mod origin_tls; // TLS towards origins
mod origin_http2; // HTTP/2 towards origins
mod origin_auto; // what origins choose by ALPN; GOAWAY under load
mod grpc; // its own library on both sides
mod http2; // streams, floods, drain
mod http2_conformance; // what RFC 9113 and RFC 7541 refuse
mod http2_hostile; // what turns the protocol against its server
mod outside; // curl, wrk, h2load
mod dashboard; // the page in a browser, its event stream
mod health_schema; // /health is what its schema says
mod packaging; // the unit, the alerts, the Grafana dashboard
