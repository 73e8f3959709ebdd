//! Plain settings of serving, filled in by `config`.

use std::time::Duration;

use super::source::SourcePrefixes;
use crate::http::forwarded::IpNetwork;
use crate::kernel::usage::Budget;

/// How connections of a listener are served.
#[derive(Clone, Debug, PartialEq)]
pub struct ServeSettings {
    /// From the first byte of a request to the end of its head.
    pub header_timeout: Duration,
    /// A kept-alive connection without a request.
    pub idle_timeout: Duration,
    /// Between two reads of a request body.
    pub body_timeout: Duration,
    /// Between two writes of a response that make progress.
    pub send_timeout: Duration,
    /// Bytes per second of a request body, over the time that it is waited for; 0 asks for none.
    pub body_rate_min: u64,
    /// Bytes per second of a response, over the time that the client does not take what there is; 0 asks for none.
    pub send_rate_min: u64,
    /// How long a client may stay below these rates.
    pub rate_grace: Duration,
    /// Bytes of a request head: request line and fields.
    pub head_bytes_max: usize,
    /// Field lines of a request head.
    pub fields_max: usize,
    /// Bytes of a request target.
    pub uri_bytes_max: usize,
    /// Bytes of a request body.
    pub body_bytes_max: u64,
    /// Requests on one connection before it is closed.
    pub requests_per_connection_max: u64,
    /// What the end of a client's stream means while its answer is being made.
    pub half_close: HalfClose,
}

/// How long a client is waited for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Nothing moves.
    pub timeout: Duration,
    /// Bytes per second that have to move meanwhile; 0: no matter how few.
    pub rate_min: u64,
    /// How long fewer may.
    pub grace: Duration,
}

impl ServeSettings {
    /// How long a request body is waited for.
    pub const fn body_pace(&self) -> Pace {
        Pace {
            timeout: self.body_timeout,
            rate_min: self.body_rate_min,
            grace: self.rate_grace,
        }
    }

    /// How long a client is waited for that does not take its response.
    pub const fn send_pace(&self) -> Pace {
        Pace {
            timeout: self.send_timeout,
            rate_min: self.send_rate_min,
            grace: self.rate_grace,
        }
    }
}

/// What it means when a client has sent a whole request and then ends its side of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HalfClose {
    /// It still waits for its answer (RFC 9112 §9.6 permits such a client).
    Answer,
    /// It left; what only it wanted is cancelled.
    Cancel,
}

/// The process's threads and how they end.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerSettings {
    /// Worker threads.
    pub workers: usize,
    /// Pin worker i to the i-th CPU that the process may use.
    pub pin: bool,
    /// How long a drain may last before what still runs is cut.
    pub drain_timeout: Duration,
    /// Client connections of the whole process; further ones are accepted and closed at once (shed).
    pub connections_max: usize,
}

/// How many connections each source may have.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceSettings {
    /// Connections of one source; further ones are accepted and closed at once (shed).
    pub connections_max: usize,
    /// What a source is.
    pub prefixes: SourcePrefixes,
    /// Peers that may have as many as they like.
    pub exempt: Vec<IpNetwork>,
}

/// When new connections are shed because memory or descriptors run short.
#[derive(Clone, Debug, PartialEq)]
pub struct SheddingSettings {
    /// Bytes of memory that the process may take.
    pub memory: Budget,
    /// File descriptors that it may have open.
    pub descriptors: Budget,
    /// The part of a budget from which on new connections are shed.
    pub begin: f64,
    /// The part below which they are let in again.
    pub end: f64,
    /// How they are shed.
    pub by: ShedBy,
    /// When a client that is told so may come again.
    pub retry_after: Duration,
}

/// What becomes of new connections while memory or descriptors run short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShedBy {
    /// Accepted, answered 503 where no TLS is spoken, and closed.
    Answer,
    /// Accepted and closed.
    Close,
    /// Left in the accept queue.
    Wait,
}
