//! The fixed names of log fields, so that every line about the same thing uses the same word.

/// A connection from a client, unique in this process.
pub const CONN_ID: &str = "conn.id";
/// An exchange, the word that also stands in the access log and in error bodies.
pub const REQ_ID: &str = "req.id";
/// The client's address.
pub const CLIENT_ADDR: &str = "client.addr";
/// The listener a connection came in on.
pub const LISTENER: &str = "listener";
/// The origin (backend) by its configured name.
pub const ORIGIN: &str = "origin";
/// The address of one server of it.
pub const ORIGIN_ADDR: &str = "origin.addr";
/// What the cache did, in RFC 9211's words.
pub const CACHE_OUTCOME: &str = "cache.outcome";
/// An error in one word (RFC 9209's towards servers).
pub const ERROR_KIND: &str = "error.kind";
