//! A backend: a group of servers one connects to, be they origins (leg 3) or cache servers (leg 2).
//!
//! [`Backend::send`] conducts one request: pick a server → lease a connection (idle, or a new one) → exchange → on a
//! failure, decide whether and where to send it again. One pool per backend serves all workers of the process.
//! It knows HTTP messages and sockets; it does not know about caching, and does not touch header fields.

pub mod settings; // plain settings
mod srv; // what SRV records say: pure
mod dns; // names and services → addresses
pub mod resolve; // all of them, at the start
mod latency; // how slow a server is: pure
mod times; // times in buckets, for medians and percentiles
mod standing; // what picking knows of each server, and its state in one word
mod balance; // which server: pure
mod hot; // which keys are asked for most
mod line; // who waits for a place, the most urgent first
mod multiplex; // connections of one server that many requests share
mod pool; // connections of one server: idle ones, limits, the queue
pub mod secure; // TLS with the servers
mod connect; // a new connection, and what its failure is called
mod stats; // what is counted per server
mod server; // one server
mod facts; // what comes of it
mod retry; // whether a failed request may be sent again: pure
mod budget; // how many may be sent again at once
mod ejection; // when a server is left alone, and for how long: pure
mod window; // who is an outlier among the servers: pure
mod hedge; // a second server is asked as well when the first takes long
mod pick; // which server is asked next
mod handover; // keys of servers that are new are asked of who held them before
mod introduce; // whom connections are made for
mod seat; // what a request is sent on
mod streams; // a place on a shared connection
mod send; // the conductor
mod each; // the same request to every server
mod warm; // connections made before they are needed
mod watch; // what becomes of a server for what requests came to
mod check; // active health checks
mod names; // names, resolved again when their TTL is over
mod services; // servers that a service has, looked up again
mod control; // the thread of checks, re-admission and names

#[cfg(test)]
mod testing; // scripted servers
#[cfg(test)]
mod tests; // the whole, against scripted servers

pub use control::Control;
pub use each::Told;
pub use facts::{Facts, Outcome};
pub use handover::{Handover, Holder};
pub use resolve::{ResolveError, Resolved, SocketAddrOrUnix, resolve};
pub use secure::{BackendTls, BackendTlsError};
pub use send::Backend;
pub use services::ServiceSnapshot;
pub use standing::{Order, ServerState, stable_hash};
pub use stats::{CONNECT_BUCKETS, ServerSnapshot};
pub use watch::NoSuchServer;
