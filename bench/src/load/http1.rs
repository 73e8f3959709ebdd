//! HTTP/1.1 on one connection of the load generator: a request out, a response in.
//!
//! ```text
//! Connecting → Head → Body → Resting → Head …   (keep-alive)
//! Connecting → Head → Body → Ending → Resting   (a connection per request; the server closes)
//! ```

use std::time::Instant;

use super::Target;
use super::response::{Fault, parse_head};

pub(super) struct Exchange {
    state: State,
    /// When the request under way was due.
    due: Instant,
    /// Its key.
    key: Option<u64>,
    /// The server will close after this response.
    closes: bool,
    /// The beginning of a head that came in pieces.
    partial: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Resting,
    /// The request is not sent yet, because the handshake is not over.
    Connecting,
    /// The head is not whole.
    Head,
    /// So many bytes of the body are missing.
    Body(u64),
    /// The response is whole; the server still has to close.
    Ending,
}

impl Exchange {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            state: State::Resting,
            due: now,
            key: None,
            closes: false,
            partial: Vec::new(),
        }
    }

    /// A request for `key` that was due then was sent, or will be once the handshake is over.
    pub(super) fn begin(&mut self, key: Option<u64>, due: Instant, sent: bool) {
        (self.key, self.due) = (key, due);
        self.state = if sent { State::Head } else { State::Connecting };
    }

    /// The request still has to be sent.
    pub(super) fn is_unsent(&self) -> bool {
        self.state == State::Connecting
    }

    /// It is sent now.
    pub(super) fn sent(&mut self) {
        self.state = State::Head;
    }

    pub(super) fn key(&self) -> Option<u64> {
        self.key
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.state != State::Resting
    }

    /// Only the server's end is missing.
    pub(super) fn is_ending(&self) -> bool {
        self.state == State::Ending
    }

    /// Takes bytes of the response; when the request was due, once that is whole.
    pub(super) fn take(&mut self, bytes: &[u8], target: &Target) -> Result<Option<Instant>, Fault> {
        let length = target.length.of(self.key);
        let (left, bytes_of_body) = match self.state {
            State::Body(left) => (left, bytes.len()),
            State::Head if self.partial.is_empty() => match self.head(bytes, target.status, length)? {
                Some(head) => (length, bytes.len() - head),
                None => {
                    self.partial.extend_from_slice(bytes);
                    return Ok(None);
                }
            },
            State::Head => {
                self.partial.extend_from_slice(bytes);
                let whole = std::mem::take(&mut self.partial);
                match self.head(&whole, target.status, length)? {
                    Some(head) => (length, whole.len() - head),
                    None => {
                        self.partial = whole;
                        return Ok(None);
                    }
                }
            }
            // Bytes that nobody asked for.
            State::Connecting | State::Ending | State::Resting => return Err(Fault::Length),
        };
        let count = u64::try_from(bytes_of_body).unwrap_or(u64::MAX);
        self.state = match left.checked_sub(count).ok_or(Fault::Length)? {
            0 if target.close || self.closes => State::Ending,
            0 => State::Resting,
            left => State::Body(left),
        };
        Ok((self.state == State::Resting).then_some(self.due))
    }

    /// The server closed; when the request was due, if that was the last thing missing.
    pub(super) fn end(&mut self) -> Result<Option<Instant>, Fault> {
        match self.state {
            State::Resting => return Ok(None),
            State::Connecting | State::Head | State::Body(_) => return Err(Fault::Truncated),
            State::Ending => self.state = State::Resting,
        }
        Ok(Some(self.due))
    }

    /// Bytes of the head, when it is whole and announces `length`.
    fn head(&mut self, input: &[u8], status: &str, length: u64) -> Result<Option<usize>, Fault> {
        match parse_head(input, status)? {
            None => Ok(None),
            Some(head) if head.length != length => Err(Fault::Length),
            Some(head) => {
                self.closes = head.close;
                Ok(Some(head.bytes))
            }
        }
    }
}
