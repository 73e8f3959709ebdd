//! What a request to a backend comes to, and what is recorded about it: the leg's share of the exchange's record.

use std::sync::Arc;
use std::time::Duration;

use crate::http::body::Body;
use crate::http::response::Response;
use crate::http1::client::ExchangeError;

/// How a request ended, and what is to be recorded about it.
#[derive(Debug)]
pub struct Outcome {
    /// The response, its body still to be read, or the last error.
    pub result: Result<Response, ExchangeError>,
    /// The request's body, where the request failed and not one byte of it was taken.
    pub unsent: Option<Body>,
    /// How it came about.
    pub facts: Facts,
}

/// How a response, or an error, came about. Times are of the last attempt, but for `queued`.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The server that was asked last, as configured.
    pub server: Option<Arc<str>>,
    /// The last attempt took an idle connection.
    pub reused: bool,
    /// How often it was tried in all.
    pub attempts: u32,
    /// Time in line for a connection, of all attempts.
    pub queued: Duration,
    /// Time until a new connection was there; absent when an idle one was taken, or none came about.
    pub connect: Option<Duration>,
    /// The part of `connect` that was the TLS handshake; boxed, since most requests take a connection that is there.
    pub tls: Option<Box<Duration>>,
    /// From the start of sending to the end of the response head; absent when there was none.
    pub first_byte: Option<Duration>,
}
