//! What a listener's requests are handed to, and what comes back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use crate::http::body::BodyError;
use crate::http::interim::Desk;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::tunnel::TunnelEnd;
use crate::http1::parse::ParseError;
use crate::soon::Soon;
use crate::time::MonoTime;
use crate::worker::Worker;

/// Answers requests. One value serves all workers.
pub trait Service: Send + Sync + 'static {
    /// What is kept of an exchange until its response was sent.
    type Record: Record;

    /// Answers one request; what comes before the answer goes to the desk. Dropping what is coming means that the client left.
    fn call<'a>(&'a self, request: Request, conn: &'a Arc<ConnInfo>, desk: &'a Desk) -> Soon<'a, Reply<Self::Record>>;

    /// Words the refusal of something that is not a request; the connection closes after it.
    fn refuse(&self, error: &ParseError, conn: &Arc<ConnInfo>) -> Reply<Self::Record>;
}

/// A response and what is to be recorded about its exchange.
#[derive(Debug)]
pub struct Reply<R> {
    /// What is sent.
    pub response: Response,
    /// Told how sending ended.
    pub record: R,
    /// The connection closes after it, because of what the request was.
    pub close: Option<CloseReason>,
}

/// The one record of an exchange, told exactly once how the exchange ended.
pub trait Record: Send + 'static {
    /// The response was sent, or could not be.
    fn finish(self, sent: &Sent);
}

/// How a response was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// How it ended.
    pub end: End,
    /// Bytes of content that were written.
    pub body_bytes: u64,
    /// Bytes in all, head and framing included.
    pub bytes: u64,
    /// Bytes of the request, head and body, that were read for it.
    pub request_bytes: u64,
    /// From the first byte of the request to the last of the response.
    pub took: Duration,
    /// Why the connection closes after this exchange, where it does.
    pub close: Option<CloseReason>,
}

/// How the sending of a response ended.
#[derive(Clone, Debug)]
pub enum End {
    /// The client has all of it (as far as the kernel knows).
    Whole,
    /// The client left or stopped taking it.
    ClientGone,
    /// The body failed; the response was cut so that it cannot look whole.
    BodyFailed(BodyError),
    /// The connection became a tunnel, which has ended.
    Tunnel(TunnelEnd),
}

impl End {
    /// The word in the access log.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::ClientGone => "client_gone",
            Self::BodyFailed(_) => "body_failed",
            Self::Tunnel(end) => end.word(),
        }
    }
}

/// Why a client connection ended; the same word in log and metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The client closed in between requests.
    Client,
    /// Keep-alive idle time was over.
    IdleTimeout,
    /// A request head did not come in time.
    HeaderTimeout,
    /// A request body did not come in time.
    BodyTimeout,
    /// The client did not take its response in time.
    SendTimeout,
    /// A request was malformed.
    Malformed,
    /// `Connection: close`, or HTTP/1.0 without keep-alive.
    Requested,
    /// The cap of requests per connection.
    RequestsMax,
    /// The process is draining.
    Drain,
    /// The response could not be completed.
    ResponseFailed,
    /// A request body was left unread and is too long to skip.
    UnreadBody,
    /// The client reset the connection.
    Reset,
    /// The TLS handshake failed.
    Handshake,
    /// The connection became a tunnel.
    Upgraded,
    /// It had to begin with a PROXY header, and did not.
    ProxyHeader,
    /// Its client, whom the PROXY header named, has as many as it may have.
    SourceLimit,
}

impl CloseReason {
    /// The word in log lines and metric labels.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::IdleTimeout => "idle_timeout",
            Self::HeaderTimeout => "header_timeout",
            Self::BodyTimeout => "body_timeout",
            Self::SendTimeout => "send_timeout",
            Self::Malformed => "malformed",
            Self::Requested => "requested",
            Self::RequestsMax => "requests_max",
            Self::Drain => "drain",
            Self::ResponseFailed => "response_failed",
            Self::UnreadBody => "unread_body",
            Self::Reset => "reset",
            Self::Handshake => "handshake",
            Self::Upgraded => "upgraded",
            Self::ProxyHeader => "proxy_header",
            Self::SourceLimit => "source_limit",
        }
    }
}

/// What is known about a client's connection.
#[derive(Debug)]
pub struct ConnInfo {
    /// Unique in this process.
    pub id: u64,
    /// The client's address; `None` on a unix socket.
    pub client: Option<SocketAddr>,
    /// The address it reached; `None` on a unix socket.
    pub local: Option<SocketAddr>,
    /// The listener's name.
    pub listener: Arc<str>,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// What origins are told about the client's certificate, where it has shown one.
    pub certificate: Option<Box<HeaderValue>>,
    /// When it was accepted.
    pub accepted: MonoTime,
    /// How long it had waited in the accept queue by then; `None` where the kernel cannot say.
    pub accept_wait: Option<Duration>,
    /// The worker it lives on.
    pub worker: Arc<Worker>,
}
