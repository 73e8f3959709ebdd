//! HTTP/1.0 and 1.1 on the wire, both sides (RFC 9112).
//!
//! `parse`, `framing`, `chunked` and `render` are pure: bytes in, decisions out. `io` reads, `outbox` writes; `server`
//! conducts one client connection, `client` one exchange with a server.

mod first_line; // odd first lines
pub mod parse; // bytes → message head, strictly
pub mod framing; // how long the body is
mod usual_request; // request heads as nearly all are written, read in one go
pub mod response_fields; // a response's fields, as lines or as a map
mod chunk_ext; // what may stand after a chunk's size
pub mod chunked; // the chunked coding, read
pub mod render; // message head → bytes
pub mod deadline; // one lazy timer per connection
pub(crate) mod patience; // how long a client is waited for
pub mod io; // a socket with a read buffer
pub mod outbox; // a message on its way out
pub mod request_body; // a client's body, read as it is wanted
mod tunnel; // connections that have changed their protocol
pub mod server; // one client connection
pub mod client; // one exchange with a server
mod response_body; // a server's body, read as it is wanted

#[cfg(test)]
mod properties; // mangled bytes, cut anywhere
