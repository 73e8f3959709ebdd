//! Sockets: where to listen, how to accept, what a connection reads and writes.

pub mod settings; // plain settings of a listener
pub mod listener; // listening sockets, built with socket2
pub mod accept; // taking connections, paced
pub mod stream; // one connected socket: TCP or unix (TLS later)
