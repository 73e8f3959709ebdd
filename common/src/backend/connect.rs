//! A new connection to a server, and what its failure is called (RFC 9209 §2.3).
//!
//! The addresses of one server are tried in turn, beginning with the one that worked last; TLS is `secure`'s, and has to
//! be there within the same time. No resolving here. Called by `send` and `check`.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::IpBindAddressNoPort;
use parking_lot::RwLock;
use socket2::SockRef;
use tokio::net::{TcpSocket, UnixStream};
use tokio::time::timeout_at;

use super::resolve::SocketAddrOrUnix;
use super::secure::{Handshake, Security};
use super::settings::BackendSettings;
use crate::http::origin_error::OriginError;
use crate::kernel::connects::ConnectOutcome;
use crate::kernel::sockets::tcp_info;
use crate::net::proxy_protocol::{Header, Version};
use crate::net::stream::Stream;
use crate::net::tls;
use crate::time::{MonoTime, mono_now};

/// The addresses of one server.
#[derive(Debug)]
pub(super) struct Addresses {
    all: RwLock<Arc<[SocketAddrOrUnix]>>,
    /// The one to begin with: the one that took a connection last, so that a dead one is not waited for every time.
    first: AtomicUsize,
    pub(super) security: Security,
}

/// How connections are made.
#[derive(Clone, Debug)]
pub(super) struct ConnectOptions {
    keepalive: Option<socket2::TcpKeepalive>,
    user_timeout: Option<Duration>,
    bind: Option<IpAddr>,
}

/// What one connection is made for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening<'a> {
    /// How long each address may take, TLS included.
    pub(super) timeout: Duration,
    /// Only HTTP/1.1 will do, whatever is spoken otherwise.
    pub(super) is_http1: bool,
    /// The PROXY header that goes ahead of everything, TLS included.
    pub(super) header: Option<(Version, &'a Header)>,
}

/// A connection that has just been made.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) stream: Stream,
    /// SYNs that were sent again for it; `None` when that is not known.
    pub(super) syn_retransmits: Option<u32>,
    /// That of TLS, where it is spoken.
    pub(super) handshake: Option<Handshake>,
}

/// Why no connection came about.
#[derive(Debug)]
pub(super) struct ConnectFailure {
    pub(super) error: OriginError,
    /// The address tried last, and the system's words; absent when the server has no address.
    pub(super) cause: Option<(SocketAddrOrUnix, io::Error)>,
}

impl Addresses {
    /// Connections to these; where TLS is spoken, none until `security` says with what.
    pub(super) fn new(all: Vec<SocketAddrOrUnix>, is_tls: bool) -> Self {
        Self {
            all: RwLock::new(all.into()),
            first: AtomicUsize::new(0),
            security: if is_tls { Security::Missing } else { Security::Plain },
        }
    }

    pub(super) fn all(&self) -> Arc<[SocketAddrOrUnix]> {
        Arc::clone(&self.all.read())
    }

    /// Connects to these from now on; those that are gone.
    pub(super) fn replace(&self, all: Vec<SocketAddrOrUnix>) -> Vec<SocketAddrOrUnix> {
        let before = std::mem::replace(&mut *self.all.write(), all.into());
        let now = self.all();
        before
            .iter()
            .filter(|address| !now.contains(address))
            .cloned()
            .collect()
    }

    /// Connects to the first address that takes it; `told` hears how each TCP connect ended.
    pub(super) async fn connect(
        &self,
        opening: Opening<'_>,
        options: &ConnectOptions,
        mut told: impl FnMut(ConnectOutcome),
    ) -> Result<Connected, ConnectFailure> {
        let mut failure = ConnectFailure {
            error: OriginError::DnsError,
            cause: None,
        };
        let all = self.all();
        let first = self.first.load(Ordering::Relaxed).min(all.len());
        for i in (first..all.len()).chain(0..first) {
            let address = &all[i];
            let started = mono_now();
            let until = started + opening.timeout;
            let opened = timeout_at(until, open(address, options)).await;
            let opened = opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            let connected = opened.map(|stream| look(stream, mono_now() - started));
            if matches!(address, SocketAddrOrUnix::Tcp(_)) {
                told(
                    connected
                        .as_ref()
                        .map_or_else(ConnectOutcome::of_error, |(_, outcome)| *outcome),
                );
            }
            let secured = match connected {
                Ok((connected, _)) => self.secure(connected, opening, until).await,
                Err(cause) => Err(cause),
            };
            match secured {
                Ok(connected) => {
                    if i != first {
                        self.first.store(i, Ordering::Relaxed);
                    }
                    return Ok(connected);
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

impl Addresses {
    /// Says what goes ahead, and makes the TLS handshake, before `until`.
    async fn secure(&self, mut connected: Connected, opening: Opening<'_>, until: MonoTime) -> io::Result<Connected> {
        if let Some((version, header)) = opening.header {
            let text = ours(version, *header, &connected.stream).render(version);
            let said = timeout_at(until, say(&mut connected.stream, &text)).await;
            said.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        }
        let secured = self.security.secure(connected.stream, opening.is_http1, until);
        let (stream, handshake) = secured.await?;
        Ok(Connected {
            stream,
            handshake,
            ..connected
        })
    }
}

impl ConnectOptions {
    pub(super) fn new(settings: &BackendSettings) -> Self {
        let keepalive = settings.tcp_keepalive.as_ref().map(|keepalive| {
            socket2::TcpKeepalive::new()
                .with_time(keepalive.idle)
                .with_interval(keepalive.interval)
                .with_retries(keepalive.count)
        });
        Self {
            keepalive,
            user_timeout: settings.tcp_user_timeout,
            bind: settings.bind,
        }
    }
}

/// What the kernel says about the handshake, right after it: later retransmits are of data.
fn look(stream: Stream, elapsed: Duration) -> (Connected, ConnectOutcome) {
    let facts = stream.tcp().and_then(|socket| tcp_info::connected(socket).ok());
    let connected = Connected {
        stream,
        syn_retransmits: facts.map(|facts| facts.syn_retransmits),
        handshake: None,
    };
    (connected, ConnectOutcome::established(elapsed, facts))
}

/// What is said ahead of a connection that is ours: version 2 has a word for that.
///
/// "senders SHOULD not use the "UNKNOWN" protocol when they are the initiators of outgoing connections because some receivers
/// may reject them. When a load balancing proxy has to send health checks to a server, it SHOULD build a valid PROXY line
/// which it will fill with a `getsockname()`/`getpeername()` pair" (proxy-protocol.txt §2.1); a unix socket has none.
fn ours(version: Version, header: Header, stream: &Stream) -> Header {
    match (version, header, stream.local_addr(), stream.peer_addr()) {
        (Version::V1, Header::Own, Some(source), Some(destination)) => Header::Client { source, destination },
        _ => header,
    }
}

async fn say(stream: &mut Stream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let taken = poll_fn(|cx| stream.poll_write_vectored(cx, &[IoSlice::new(bytes)])).await?;
        bytes = &bytes[taken..];
    }
    Ok(())
}

async fn open(address: &SocketAddrOrUnix, options: &ConnectOptions) -> io::Result<Stream> {
    match address {
        SocketAddrOrUnix::Tcp(address) => open_tcp(*address, options).await,
        SocketAddrOrUnix::Unix(path) => open_unix(path).await,
    }
}

async fn open_tcp(address: SocketAddr, options: &ConnectOptions) -> io::Result<Stream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_nodelay(true)?;
    let with = SockRef::from(&socket);
    if let Some(keepalive) = &options.keepalive {
        with.set_tcp_keepalive(keepalive)?;
    }
    if options.user_timeout.is_some() {
        with.set_tcp_user_timeout(options.user_timeout)?;
    }
    if let Some(bind) = options.bind.filter(|bind| bind.is_ipv4() == address.is_ipv4()) {
        // Without it the port would be chosen before the destination is known, and serve one connection in all instead
        // of one per destination (ip(7)). Kernels before 4.2 do not know it and choose the port now.
        setsockopt(&socket, IpBindAddressNoPort, &true).ok();
        socket.bind(SocketAddr::new(bind, 0))?;
    }
    socket.connect(address).await.map(Stream::Tcp)
}

async fn open_unix(path: &Path) -> io::Result<Stream> {
    UnixStream::connect(path).await.map(Stream::Unix)
}

/// The RFC's word for an error of `socket()` or `connect()`, or of the TLS handshake.
fn word_for(cause: &io::Error) -> OriginError {
    if let Some(word) = tls::failure::word_for(cause) {
        return word;
    }
    match cause.raw_os_error() {
        None if cause.kind() == io::ErrorKind::TimedOut => OriginError::ConnectionTimeout,
        // The socket ended within the TLS handshake.
        None if cause.kind() == io::ErrorKind::ConnectionReset => OriginError::ConnectionTerminated,
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
    use crate::net::settings::TcpKeepalive;

    const OPENING: Opening<'static> = Opening {
        timeout: testing::LONG,
        is_http1: false,
        header: None,
    };

    fn options(change: impl FnOnce(&mut BackendSettings)) -> ConnectOptions {
        let mut settings = testing::settings(Vec::new());
        change(&mut settings);
        ConnectOptions::new(&settings)
    }

    async fn connect(
        addresses: &Addresses,
        options: &ConnectOptions,
    ) -> (Result<Connected, ConnectFailure>, Vec<ConnectOutcome>) {
        let mut outcomes = Vec::new();
        let result = addresses
            .connect(OPENING, options, |outcome| outcomes.push(outcome))
            .await;
        (result, outcomes)
    }

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
        let all = vec![
            SocketAddrOrUnix::Tcp(refused),
            SocketAddrOrUnix::Unix("/nonexistent/tidegate.sock".into()),
            SocketAddrOrUnix::Tcp(server.address),
        ];
        let addresses = Addresses::new(all, false);
        let options = options(|_| ());
        let (connected, outcomes) = connect(&addresses, &options).await;
        let connected = connected.unwrap();
        assert_eq!(connected.stream.peer_addr(), Some(server.address));
        assert_eq!(connected.syn_retransmits, Some(0), "the kernel was asked");
        assert!(
            matches!(
                outcomes[..],
                [
                    ConnectOutcome::Refused,
                    ConnectOutcome::Established { syn_retransmits: 0, .. }
                ]
            ),
            "{outcomes:?}"
        );
        assert_eq!(addresses.first.load(Ordering::Relaxed), 2);
        assert!(connect(&addresses, &options).await.0.is_ok());
        let gone = addresses.replace(vec![SocketAddrOrUnix::Tcp(server.address)]);
        assert_eq!(gone.len(), 2);
        assert!(
            connect(&addresses, &options).await.0.is_ok(),
            "fewer addresses than before"
        );
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
            let failure = connect(&Addresses::new(all, false), &options(|_| ()))
                .await
                .0
                .unwrap_err();
            assert_eq!(failure.error, expected);
        }
    }

    #[tokio::test]
    async fn a_connection_has_the_configured_options() {
        let server = testing::Server::answering("hello");
        let keepalive = TcpKeepalive {
            idle: Duration::from_secs(31),
            interval: Duration::from_secs(7),
            count: 3,
        };
        let addresses = Addresses::new(vec![SocketAddrOrUnix::Tcp(server.address)], false);
        let options = options(|settings| {
            settings.tcp_keepalive = Some(keepalive);
            settings.tcp_user_timeout = Some(Duration::from_secs(9));
            settings.bind = Some([127, 0, 0, 7].into());
        });
        let stream = connect(&addresses, &options).await.0.unwrap().stream;
        let fd = stream.fd().unwrap();
        let socket = SockRef::from(&fd);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(9)));
        assert_eq!(
            socket.local_addr().unwrap().as_socket().unwrap().ip(),
            IpAddr::from([127, 0, 0, 7])
        );
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
        let addresses = Addresses::new(vec![SocketAddrOrUnix::Unix(path)], false);
        let connected = connect(&addresses, &options(|_| ())).await.0.unwrap();
        assert!(matches!(connected.stream, Stream::Unix(_)));
        assert_eq!(connected.syn_retransmits, None);
    }
}
