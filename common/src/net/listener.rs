//! Listening sockets, built with socket2: backlog, `SO_REUSEPORT`, defer-accept, v6only, unix files.
//!
//! A listener has one socket per worker (a shard). [`Bound`] owns them all, so that one place can close them, or hand
//! them to a successor process; workers accept from duplicates (`net::accept`).
//! Options stand on the listening socket only: Linux copies them to accepted ones (`sk_clone_lock`,
//! `tcp_create_openreq_child`), which saves the system calls per connection.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use socket2::{Domain, Protocol, Socket, Type};

use super::bind_error::{BindCause, BindError};
use super::settings::{Backlog, ListenAddress, ListenSettings};
use super::socket_file::SocketFile;
use crate::kernel::sockets::tcp_info::Accepted;

/// One listener, bound and listening.
///
/// Dropping it closes what is still open and removes the socket file.
#[derive(Debug)]
pub struct Bound {
    /// What it was made from.
    pub settings: ListenSettings,
    /// Its address with the port that the kernel chose; `None` on a unix socket.
    pub local_addr: Option<SocketAddr>,
    /// By shard; `None` once that shard was closed.
    shards: Vec<Mutex<Option<ShardSocket>>>,
    /// What was seen of its connections.
    pub accepts: Arc<AcceptCounts>,
    file: Option<SocketFile>,
}

/// The listening socket of one shard, non-blocking and closed on exec.
#[derive(Debug)]
pub enum ShardSocket {
    /// A socket of its own in the `SO_REUSEPORT` group.
    Tcp(TcpListener),
    /// A duplicate of the one socket that all shards share.
    Unix(UnixListener),
}

/// A listening socket that is being looked at, and is not closed meanwhile.
#[derive(Debug)]
pub struct Look<'a>(MutexGuard<'a, Option<ShardSocket>>);

impl AsFd for Look<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self
            .0
            .as_ref()
            .expect("invariant: only made of a socket that is there, and holds its lock")
        {
            ShardSocket::Tcp(socket) => socket.as_fd(),
            ShardSocket::Unix(socket) => socket.as_fd(),
        }
    }
}

/// What was seen of a listener's connections when they were accepted, since the start.
///
/// Written by all workers, once per connection.
#[derive(Debug)]
pub struct AcceptCounts {
    /// Each how-manieth connection is looked at, beyond the first ones; 0: none.
    every: AtomicU32,
    /// Connections since [`Self::begin_anew`], where not each is looked at.
    seen: AtomicU32,
    looked_at: AtomicU64,
    synack_repeated: AtomicU64,
}

/// So many connections are looked at between two samples before only a part of them is: enough for every verdict, and with a
/// sample per second 0.01 % of one core.
pub const LOOKED_AT_FIRST: u32 = 100;

impl Default for AcceptCounts {
    /// Each connection is looked at.
    fn default() -> Self {
        Self {
            every: AtomicU32::new(1),
            seen: AtomicU32::new(0),
            looked_at: AtomicU64::new(0),
            synack_repeated: AtomicU64::new(0),
        }
    }
}

impl AcceptCounts {
    /// From now on each `every`th connection is to be looked at beyond the first [`LOOKED_AT_FIRST`]; 0: none.
    pub fn look_at_each(&self, every: u32) {
        self.every.store(every, Ordering::Relaxed);
    }

    /// The next connections are the first ones again. Called with each sample.
    pub fn begin_anew(&self) {
        self.seen.store(0, Ordering::Relaxed);
    }

    /// Whether a connection that was accepted is to be looked at.
    pub fn wants_a_look(&self) -> bool {
        match self.every.load(Ordering::Relaxed) {
            0 => false,
            1 => true,
            every => {
                let seen = self.seen.fetch_add(1, Ordering::Relaxed);
                seen < LOOKED_AT_FIRST || seen.is_multiple_of(every)
            }
        }
    }

    /// Counts one.
    pub fn count(&self, accepted: &Accepted) {
        self.looked_at.fetch_add(1, Ordering::Relaxed);
        if accepted.synack_retransmits > 0 {
            self.synack_repeated.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Connections whose `TCP_INFO` was read, and of these those whose SYN-ACK had been repeated.
    pub fn get(&self) -> (u64, u64) {
        (
            self.looked_at.load(Ordering::Relaxed),
            self.synack_repeated.load(Ordering::Relaxed),
        )
    }
}

/// Makes one listener with `shards` sockets (at least one); connections queue from now on.
///
/// # Errors
/// What was in the way, in one line; nothing stays half made.
pub fn bind(settings: &ListenSettings, shards: usize) -> Result<Bound, BindError> {
    let bound = match &settings.address {
        ListenAddress::Tcp(address) => bind_tcp(settings, *address, shards),
        ListenAddress::Unix { path, mode } => bind_unix(settings, path, *mode, shards),
    };
    bound.map_err(|cause| BindError {
        listener: settings.name.clone(),
        cause,
    })
}

impl Bound {
    /// How many sockets it was made with.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Takes the listener's name away, so that nobody finds it any more: removes the socket file.
    ///
    /// What is queued can still be accepted. A TCP listener has no name apart from its sockets.
    pub fn retire(&self) {
        if let Some(file) = &self.file {
            file.remove();
        }
    }

    /// A shard's socket, to be looked at; `None` when it was closed.
    ///
    /// The shard cannot be closed as long as this is held: let go of it soon.
    pub fn look(&self, shard: usize) -> Option<Look<'_>> {
        let socket = self.shards.get(shard)?.lock();
        socket.is_some().then_some(Look(socket))
    }

    /// A duplicate of a shard's socket; `None` when it was closed.
    pub(super) fn duplicate(&self, shard: usize) -> io::Result<Option<ShardSocket>> {
        let socket = self.shards[shard].lock();
        socket.as_ref().map(ShardSocket::try_clone).transpose()
    }

    /// Closes a shard's socket; the kernel resets what is still queued on it once its duplicates are closed too.
    pub(super) fn close(&self, shard: usize) {
        self.shards[shard].lock().take();
    }

    fn new(
        settings: &ListenSettings,
        local_addr: Option<SocketAddr>,
        shards: impl IntoIterator<Item = ShardSocket>,
        file: Option<SocketFile>,
    ) -> Self {
        Self {
            settings: settings.clone(),
            local_addr,
            shards: shards.into_iter().map(|socket| Mutex::new(Some(socket))).collect(),
            accepts: Arc::default(),
            file,
        }
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        self.retire();
    }
}

/// Where it listens, as a client would be told.
impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.local_addr, &self.settings.address) {
            (Some(address), _) | (None, ListenAddress::Tcp(address)) => address.fmt(f),
            (None, ListenAddress::Unix { path, .. }) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl ShardSocket {
    fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(socket) => socket.try_clone().map(Self::Tcp),
            Self::Unix(socket) => socket.try_clone().map(Self::Unix),
        }
    }
}

fn bind_tcp(settings: &ListenSettings, address: SocketAddr, shards: usize) -> Result<Bound, BindCause> {
    let first = tcp_socket(settings, address)?;
    // SO_REUSEPORT would let a second tidegate of the same user share the port in silence. So the first socket takes the
    // port without it, which fails where anybody listens, and opens it to its siblings only then. Not later than this:
    // Linux 4.5 to 4.13 crash when a socket that listens already becomes the head of a group (reuseport_add_sock).
    // Two that start in the very same moment can still both get it.
    bind_to(&first, address)?;
    if shards > 1 {
        share_port(&first)?;
    }
    let address = start(settings, &first)?;
    let mut sockets = vec![first];
    for _ in 1..shards {
        let sibling = tcp_socket(settings, address)?;
        share_port(&sibling)?;
        bind_to(&sibling, address)?;
        start(settings, &sibling)?;
        sockets.push(sibling);
    }
    let sockets = sockets.into_iter().map(|socket| ShardSocket::Tcp(socket.into()));
    Ok(Bound::new(settings, Some(address), sockets, None))
}

/// A socket with every option that can be set before `bind()`, but for `SO_REUSEPORT`.
fn tcp_socket(settings: &ListenSettings, address: SocketAddr) -> Result<Socket, BindCause> {
    let doing = |step| move |error| BindCause::tcp(step, error);
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP)).map_err(doing("socket"))?;
    // Connections of an earlier process in TIME_WAIT do not hold the port.
    socket.set_reuse_address(true).map_err(doing("SO_REUSEADDR"))?;
    if address.is_ipv6() {
        socket.set_only_v6(settings.v6only).map_err(doing("IPV6_V6ONLY"))?;
    }
    socket.set_tcp_nodelay(true).map_err(doing("TCP_NODELAY"))?;
    if let Some(keepalive) = &settings.tcp_keepalive {
        let params = socket2::TcpKeepalive::new()
            .with_time(keepalive.idle)
            .with_interval(keepalive.interval)
            .with_retries(keepalive.count);
        socket.set_tcp_keepalive(&params).map_err(doing("SO_KEEPALIVE"))?;
    }
    if let Some(time) = settings.defer_accept {
        nix::sys::socket::setsockopt(&socket, DeferAccept, &whole_seconds(time))
            .map_err(|errno| BindCause::tcp("TCP_DEFER_ACCEPT", errno.into()))?;
    }
    Ok(socket)
}

fn share_port(socket: &Socket) -> Result<(), BindCause> {
    socket
        .set_reuse_port(true)
        .map_err(|e| BindCause::tcp("SO_REUSEPORT", e))
}

fn bind_to(socket: &Socket, address: SocketAddr) -> Result<(), BindCause> {
    socket.bind(&address.into()).map_err(|e| BindCause::tcp("bind", e))
}

/// Lets connections queue; the address that the socket got.
fn start(settings: &ListenSettings, socket: &Socket) -> Result<SocketAddr, BindCause> {
    let listening = socket.listen(backlog(settings.backlog));
    let address = listening.and_then(|()| socket.local_addr());
    let address = address.map_err(|e| BindCause::tcp("listen", e))?;
    address.as_socket().ok_or(BindCause::FamilyMissing)
}

fn bind_unix(settings: &ListenSettings, path: &Path, mode: u32, shards: usize) -> Result<Bound, BindCause> {
    let doing = |step| move |error| BindCause::unix(step, error);
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None).map_err(doing("socket"))?;
    let file = SocketFile::bind(&socket, path, mode)?;
    let mut bound = Bound::new(settings, None, [], Some(file));
    socket.listen(backlog(settings.backlog)).map_err(doing("listen"))?;
    let socket = ShardSocket::Unix(socket.into());
    for _ in 1..shards {
        let duplicate = socket.try_clone().map_err(doing("dup"))?;
        bound.shards.push(Mutex::new(Some(duplicate)));
    }
    bound.shards.push(Mutex::new(Some(socket)));
    Ok(bound)
}

/// The number for `listen()`, which the kernel cuts to `net.core.somaxconn` of that moment.
fn backlog(backlog: Backlog) -> i32 {
    match backlog {
        Backlog::Auto => i32::MAX,
        Backlog::Fixed(connections) => i32::try_from(connections).unwrap_or(i32::MAX),
    }
}

/// The kernel counts in seconds; 0 would switch the option off.
fn whole_seconds(time: Duration) -> usize {
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    usize::try_from(seconds.clamp(1, DEFER_ACCEPT_MAX)).unwrap_or(usize::MAX)
}

/// Seconds; the kernel turns them into retransmissions of SYN-ACK and stops at 255 of those, far below this.
const DEFER_ACCEPT_MAX: u64 = 65_535;

/// Hands a connection over only when data came (tcp(7)).
#[derive(Clone, Copy)]
struct DeferAccept;

// nix's macro for options that it has not; the one unsafe call is its own.
nix::setsockopt_impl!(
    DeferAccept,
    libc::IPPROTO_TCP,
    libc::TCP_DEFER_ACCEPT,
    usize,
    nix::sys::socket::sockopt::SetUsize
);

#[cfg(test)]
mod tests;
