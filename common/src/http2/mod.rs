//! HTTP/2 on the wire (RFC 9113). Towards clients it is all ours; towards servers frames, HPACK and flow control are the h2
//! crate's.
//!
//! Towards clients: `hpack`, `frame`, `flow`, `state`, `head` and `session` are pure; `inbound` and `outbound` stand between
//! the session and the socket, `server` conducts one connection, `exchange` one stream of it. Both sides meet HTTP/1 in the
//! same `Request`, `Reply` and `Record`.

pub mod settings; // plain settings
pub mod hpack; // header compression
pub mod frame; // octets ⇄ frames
mod meter; // frames that bring nothing, counted
mod flow; // windows
mod state; // what a frame means to its stream
mod connect; // extended CONNECT: a stream that becomes a tunnel
mod head; // fields → a request, strictly
mod response; // a response's head → HPACK
mod stream; // one stream, and all of a connection
mod outbound; // what waits to be sent
mod session; // what a connection and its exchanges share
mod inbound; // what comes → frames → the session
mod request_body; // a client's body, read as it is wanted
mod delivery; // a response's content, as fast as the client takes it
mod exchange; // one stream: request, answer, record
pub mod server; // one client connection
mod wire; // what h2 reads from and writes to
mod asked; // a request's head as a stream carries it to a server
mod content; // a request's content on its way to a server
mod answer; // a server's body, read as it is wanted
pub(crate) mod ask; // one stream to a server: request, response
pub(crate) mod client; // one connection to a server
