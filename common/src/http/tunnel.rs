//! What follows a 101: bytes both ways, of no meaning to HTTP (RFC 9110 §7.8, §15.2.2).
//!
//! The two ends of a tunnel are [`Duplex`]; the server's comes to the client's connection inside the response, as
//! [`super::body::Body::Tunnel`]. Who carries the bytes is `serve::tunnel`.

use std::fmt;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

/// One end of a tunnel, whatever it runs on.
pub trait Duplex: Send {
    /// The next bytes from this end; none when it has ended its side.
    ///
    /// # Errors
    /// It is gone.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>>;

    /// Gives it what it takes of `data`, which is not empty, from the front on; how much that was.
    ///
    /// # Errors
    /// It is gone.
    fn poll_write(&mut self, cx: &mut Context<'_>, data: &mut Bytes) -> Poll<io::Result<usize>>;

    /// Ready when everything that was written is on its way.
    ///
    /// # Errors
    /// It is gone.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Tells it that nothing follows; it may go on sending.
    fn end(&mut self);

    /// Ends it so that what it was sent cannot be taken for whole.
    fn abort(&mut self);
}

/// The server's end of a tunnel that it has agreed to.
pub struct Tunnel {
    /// The server's end.
    pub server: Box<dyn Duplex>,
    /// How long no byte may pass, either way.
    pub idle_timeout: Duration,
}

/// Why a tunnel ended: one word each, in the access log and as a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelEnd {
    /// Both sides ended in order, the client first.
    Client,
    /// Both sides ended in order, the server first.
    Server,
    /// No byte passed for too long.
    Idle,
    /// The client's connection broke.
    ClientReset,
    /// The server's connection broke.
    ServerReset,
    /// It was still there when a drain was over.
    Drain,
}

impl TunnelEnd {
    /// The word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Client => "tunnel_client",
            Self::Server => "tunnel_server",
            Self::Idle => "tunnel_idle",
            Self::ClientReset => "tunnel_client_reset",
            Self::ServerReset => "tunnel_server_reset",
            Self::Drain => "tunnel_drain",
        }
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel")
            .field("idle_timeout", &self.idle_timeout)
            .finish_non_exhaustive()
    }
}
