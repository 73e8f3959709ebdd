//! A new connection to a server, and what its failure is called (RFC 9209 §2.3).
//!
//! The addresses of one server are tried in turn, beginning with the one that worked last. No TLS and no resolving here.
//! Called by `send`.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpSocket, UnixStream};

use super::resolve::SocketAddrOrUnix;
use crate::http::origin_error::OriginError;
use crate::net::settings::TcpKeepalive;
use crate::net::stream::Stream;

/// The addresses of one server.
#[derive(Debug)]
pub(super) struct Addresses {
    all: Vec<SocketAddrOrUnix>,
    /// The one to begin with: the one that took a connection last, so that a dead one is not waited for every time.
    first: AtomicUsize,
}

/// Why no connection came about.
#[derive(Debug)]
pub(super) struct ConnectFailure {
    pub(super) error: OriginError,
    /// The address tried last, and the system's words; absent when the server has no address.
    pub(super) cause: Option<(SocketAddrOrUnix, io::Error)>,
}

impl Addresses {
    pub(super) fn new(all: Vec<SocketAddrOrUnix>) -> Self {
        Self {
            all,
            first: AtomicUsize::new(0),
        }
    }

    /// Connects to the first address that takes it, waiting `timeout` for each.
    pub(super) async fn connect(
        &self,
        timeout: Duration,
        keepalive: Option<&TcpKeepalive>,
    ) -> Result<Stream, ConnectFailure> {
        let mut failure = ConnectFailure {
            error: OriginError::DnsError,
            cause: None,
        };
        let first = self.first.load(Ordering::Relaxed);
        for i in (first..self.all.len()).chain(0..first) {
            let address = &self.all[i];
            let connected = tokio::time::timeout(timeout, open(address, keepalive)).await;
            match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(stream) => {
                    if i != first {
                        self.first.store(i, Ordering::Relaxed);
                    }
                    return Ok(stream);
                }
                Err(cause) => {
                    failure.error = word_for(&cause);
                    failure.cause = Some((address.clone(), cause));
                }
            }
        }
        Err(failure)
    }
}

async fn open(address: &SocketAddrOrUnix, keepalive: Option<&TcpKeepalive>) -> io::Result<Stream> {
    match address {
        SocketAddrOrUnix::Tcp(address) => open_tcp(*address, keepalive).await,
        SocketAddrOrUnix::Unix(path) => open_unix(path).await,
    }
}

async fn open_tcp(address: SocketAddr, keepalive: Option<&TcpKeepalive>) -> io::Result<Stream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_nodelay(true)?;
    if let Some(keepalive) = keepalive {
        let times = socket2::TcpKeepalive::new()
            .with_time(keepalive.idle)
            .with_interval(keepalive.interval)
            .with_retries(keepalive.count);
        SockRef::from(&socket).set_tcp_keepalive(&times)?;
    }
    socket.connect(address).await.map(Stream::Tcp)
}

async fn open_unix(path: &Path) -> io::Result<Stream> {
    UnixStream::connect(path).await.map(Stream::Unix)
}

/// The RFC's word for an error of `socket()` or `connect()`.
fn word_for(cause: &io::Error) -> OriginError {
    match cause.raw_os_error() {
        None if cause.kind() == io::ErrorKind::TimedOut => OriginError::ConnectionTimeout,
        Some(libc::ETIMEDOUT) => OriginError::ConnectionTimeout,
        // EAGAIN comes from unix sockets only: the listener's accept queue is full.
        Some(libc::ECONNREFUSED | libc::EAGAIN) => OriginError::ConnectionRefused,
        Some(libc::ECONNRESET | libc::ECONNABORTED | libc::EPIPE) => OriginError::ConnectionTerminated,
        Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::ENETDOWN | libc::EHOSTDOWN | libc::EAFNOSUPPORT) => {
            OriginError::DestinationIpUnroutable
        }
        // A unix socket whose file is not there: nobody has bound it.
        Some(libc::ENOENT | libc::ENOTDIR) => OriginError::DestinationUnavailable,
        // What is left is ours: no descriptor (EMFILE, ENFILE), no local port (EADDRNOTAVAIL), no memory (ENOBUFS,
        // ENOMEM), not permitted by a local firewall or a file mode (EPERM, EACCES).
        _ => OriginError::ProxyInternalError,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::testing;

    #[test]
    fn every_errno_has_its_word() {
        for (errno, expected) in [
            (libc::ECONNREFUSED, OriginError::ConnectionRefused),
            (libc::EAGAIN, OriginError::ConnectionRefused),
            (libc::ETIMEDOUT, OriginError::ConnectionTimeout),
            (libc::ECONNRESET, OriginError::ConnectionTerminated),
            (libc::ENETUNREACH, OriginError::DestinationIpUnroutable),
            (libc::EHOSTUNREACH, OriginError::DestinationIpUnroutable),
            (libc::EAFNOSUPPORT, OriginError::DestinationIpUnroutable),
            (libc::ENOENT, OriginError::DestinationUnavailable),
            (libc::EADDRNOTAVAIL, OriginError::ProxyInternalError),
            (libc::EMFILE, OriginError::ProxyInternalError),
            (libc::ENFILE, OriginError::ProxyInternalError),
            (libc::ENOBUFS, OriginError::ProxyInternalError),
            (libc::EACCES, OriginError::ProxyInternalError),
            (libc::EPERM, OriginError::ProxyInternalError),
        ] {
            assert_eq!(
                word_for(&io::Error::from_raw_os_error(errno)),
                expected,
                "errno {errno}"
            );
        }
        assert_eq!(
            word_for(&io::ErrorKind::TimedOut.into()),
            OriginError::ConnectionTimeout
        );
    }

    #[tokio::test]
    async fn the_next_address_is_tried_and_the_one_that_worked_comes_first_from_then_on() {
        let server = testing::Server::answering("hello");
        let refused = testing::refusing_address();
        let addresses = Addresses::new(vec![
            SocketAddrOrUnix::Tcp(refused),
            SocketAddrOrUnix::Unix("/nonexistent/tidegate.sock".into()),
            SocketAddrOrUnix::Tcp(server.address),
        ]);
        let stream = addresses.connect(testing::LONG, None).await.unwrap();
        assert_eq!(stream.peer_addr(), Some(server.address));
        assert_eq!(addresses.first.load(Ordering::Relaxed), 2);
        assert!(addresses.connect(testing::LONG, None).await.is_ok());
    }

    #[tokio::test]
    async fn the_last_address_names_the_failure() {
        let refused = testing::refusing_address();
        for (all, expected) in [
            (Vec::new(), OriginError::DnsError),
            (
                vec![
                    SocketAddrOrUnix::Unix("/nonexistent/tidegate.sock".into()),
                    SocketAddrOrUnix::Tcp(refused),
                ],
                OriginError::ConnectionRefused,
            ),
            (
                vec![
                    SocketAddrOrUnix::Tcp(refused),
                    SocketAddrOrUnix::Unix("/nonexistent/tidegate.sock".into()),
                ],
                OriginError::DestinationUnavailable,
            ),
        ] {
            let failure = Addresses::new(all).connect(testing::LONG, None).await.unwrap_err();
            assert_eq!(failure.error, expected);
        }
    }

    #[tokio::test]
    async fn a_connection_has_nodelay_and_the_configured_keepalive() {
        let server = testing::Server::answering("hello");
        let keepalive = TcpKeepalive {
            idle: Duration::from_secs(31),
            interval: Duration::from_secs(7),
            count: 3,
        };
        let addresses = Addresses::new(vec![SocketAddrOrUnix::Tcp(server.address)]);
        let stream = addresses.connect(testing::LONG, Some(&keepalive)).await.unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), keepalive.idle);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), keepalive.interval);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), keepalive.count);
    }

    #[tokio::test]
    async fn a_unix_socket_is_connected_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("o.sock");
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let addresses = Addresses::new(vec![SocketAddrOrUnix::Unix(path)]);
        assert!(matches!(
            addresses.connect(testing::LONG, None).await,
            Ok(Stream::Unix(_))
        ));
    }
}
