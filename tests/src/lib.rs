//! The test fixture: a scripted origin, a raw client, tidegate's processes. Used by `tests/it` only.
//!
//! Plain threads and blocking sockets, explicit bytes on the wire: a test can send anything, and sees exactly what comes.
//! Every wait has a deadline ([`wait::PATIENCE`]) and panics with what it knows; nothing sleeps where it can wait.
//! Knows nothing of tidegate's crates: the binary is driven as a stranger would.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a fixture that cannot go on fails the test that uses it"
)]

pub mod wait; // deadlines, conditions, gates
pub mod sys; // signals and limits: what std has no words for
pub mod message; // heads, fields, requests, responses
pub mod wire; // a socket, read as HTTP/1 with nothing repaired
pub mod certificates; // made on the spot
pub mod tls; // a TLS client that looks at what it gets
pub mod tls_origin; // an origin that speaks TLS
pub mod proxied_origin; // an origin whose connections begin with a PROXY header
pub mod websocket; // what a server says to agree
pub mod dual_origin; // an origin that speaks HTTP/1.1 and HTTP/2
pub mod http2; // an HTTP/2 client made of exact frames
pub mod streams; // an HTTP/2 client that opens tunnels
pub mod client; // sends exact bytes, reads responses
pub mod script; // what an origin does, step by step
pub mod ranges; // a representation that is served by ranges
pub mod origin; // a server that follows a script and keeps what it was sent
pub mod name_server; // answers A and SRV questions
pub mod ports; // addresses that refuse, or swallow, connections
pub mod binary; // where the binary under test is
pub mod process; // a child, its log, its end
pub mod metrics; // what /metrics says
pub mod health; // what /health says
pub mod setup; // a configuration in the making
pub mod tidegate; // one running tidegate, in one process or in two tiers
pub mod source; // the workspace's own sources as text
pub mod programs; // curl, wrk, h2load: there, or skipped aloud
pub mod network; // a network namespace of one's own
pub mod browser; // a headless Chromium
pub mod schema; // JSON against a JSON Schema
