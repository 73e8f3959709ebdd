//! Sockets: where to listen, how to accept, what a connection reads and writes.

pub mod settings; // plain settings of a listener
pub mod bind_error; // why a listener could not be made
mod fresh; // a connection that no reactor watches yet
mod socket_file; // the file of a unix socket
pub mod listener; // listening sockets, built with socket2
pub mod pace; // back off, and do not fill the log
pub mod address_block; // an address block as text
pub mod address_set; // many address blocks
pub mod file_stamp; // whether a file has changed
pub mod reload; // files that are read again
pub mod address_list; // who may come in
pub mod accept; // taking connections, paced
pub mod proxy_protocol; // who a connection is from, said by a load balancer
pub mod stream; // one connected socket: TCP or unix, plain or with TLS
pub mod tls; // certificates, handshakes, records
