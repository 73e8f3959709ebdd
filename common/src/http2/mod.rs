//! HTTP/2 on the wire, towards clients and servers (RFC 9113); frames, HPACK and flow control are the h2 crate's.
//!
//! `request` is pure; `wire` reads and writes; `server` conducts one connection, `exchange` one stream of it. Both meet
//! HTTP/1 in the same `Request`, `Reply` and `Record`.

pub mod settings; // plain settings
pub mod frame; // frame heads and what follows them
pub mod hpack; // field blocks
mod trailers; // pseudo-header fields where none may be
mod meter; // frames that bring nothing, counted
mod wire; // what h2 reads from and writes to
mod connect; // extended CONNECT: a stream that becomes a tunnel
mod request; // a stream's head → a request, strictly
mod request_body; // a client's body, read as it is wanted
mod response; // a response as one stream sends it
mod exchange; // one stream: request, answer, record
pub mod server; // one client connection
mod asked; // a request's head as a stream carries it to a server
mod answer; // a server's body, read as it is wanted
pub(crate) mod ask; // one stream to a server: request, response
pub(crate) mod client; // one connection to a server
