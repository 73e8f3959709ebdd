//! TLS towards clients and towards servers, by rustls (RFC 8446, RFC 5246).
//!
//! `settings` → [`TlsContext`](context::TlsContext) (certificates, reloaded while running) → one
//! [`TlsAcceptor`](acceptor::TlsAcceptor) per listener → a `Stream`; and one
//! [`TlsConnector`](connector::TlsConnector) per backend. No cryptography of our own: DER is only walked for
//! names and dates.

pub mod settings; // plain settings
mod file; // bytes of a file, and what is wrong with it
mod x509; // names and dates of a certificate
pub mod certificate; // files → certificate and key
mod subject; // whom a certificate is for, as text
mod clients; // certificates that are demanded of clients
mod choice; // which certificate for which name
pub mod tickets; // keys of session tickets that nodes share
pub mod context; // certificates that may change
pub mod failure; // why a handshake failed
mod session; // the records of one connection
pub mod acceptor; // handshakes of one listener
mod unverified; // any certificate, where the operator wants that
pub mod connector; // handshakes with the servers of one backend

pub use file::FileError;
pub use session::TlsStream;

#[cfg(test)]
mod testing; // certificates made on the spot
