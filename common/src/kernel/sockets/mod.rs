//! What the kernel says about single sockets: our own by `getsockopt`, all of the namespace by `sock_diag`.

pub mod options; // getsockopt: TCP_INFO, SO_MEMINFO, SO_COOKIE (the unsafe file)
pub mod tcp_info; // what TCP_INFO says about a listener, an accepted and a connecting socket
pub mod entry; // one socket of a dump
pub mod message; // the bytes of sock_diag
pub mod diag; // sock_diag over netlink
pub mod proc_tcp; // /proc/net/tcp, for recorded trees and where netlink is refused
pub mod census; // sockets counted by state, listener and remote address
