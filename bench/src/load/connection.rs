//! One connection of the load generator, of either protocol, over TCP or TLS.
//!
//! It is watched edge-triggered, for both directions, once: no `epoll_ctl` between two requests.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use rustls::ClientConfig;

use super::http1::Exchange;
use super::http2::Streams;
use super::response::Fault;
use super::wire::{Received, Wire};
use super::{Target, Transport};
use crate::clock;
use crate::sys::Epoll;

pub(super) struct Connection {
    wire: Option<Wire>,
    messages: Messages,
    /// Since when nothing is under way.
    rests_since: Instant,
}

enum Messages {
    Http1(Exchange),
    Http2(Box<Streams>),
}

/// What all connections of a generator have in common while they handle an event.
pub(super) struct Job<'a> {
    pub(super) request: &'a [u8],
    pub(super) buffer: &'a mut [u8],
    pub(super) target: &'a Target,
    /// When each request was due whose response became whole.
    pub(super) answered: &'a mut Vec<Instant>,
    /// When each request was due that the server has refused unprocessed.
    pub(super) refused: &'a mut Vec<Instant>,
}

impl Connection {
    pub(super) fn closed(target: &Target) -> Self {
        let now = clock::now();
        let messages = match target.transport {
            Transport::Plain | Transport::Tls(_) => Messages::Http1(Exchange::new(now)),
            Transport::Http2(_) => Messages::Http2(Box::new(Streams::new(target))),
        };
        Self {
            wire: None,
            messages,
            rests_since: now,
        }
    }

    /// Connects and waits for it.
    pub(super) fn open_now(&mut self, target: &Target) -> io::Result<()> {
        self.wire = Some(Wire::connected(target.address, tls(target))?);
        Ok(())
    }

    /// Begins to connect.
    pub(super) fn open(&mut self, address: SocketAddr, target: &Target) -> io::Result<()> {
        *self = Self::closed(target);
        self.wire = Some(Wire::connecting(address, tls(target))?);
        Ok(())
    }

    pub(super) fn watch(&self, epoll: &Epoll, token: u64, interest: u32) -> io::Result<()> {
        self.wire
            .as_ref()
            .map_or(Ok(()), |wire| epoll.add(wire.socket(), token, interest))
    }

    pub(super) fn is_closed(&self) -> bool {
        self.wire.is_none()
    }

    /// The server takes no more requests here.
    pub(super) fn is_draining(&self) -> bool {
        matches!(&self.messages, Messages::Http2(streams) if streams.is_draining())
    }

    /// Requests without an answer.
    pub(super) fn under_way(&self) -> usize {
        match &self.messages {
            Messages::Http1(exchange) => usize::from(exchange.is_under_way()),
            Messages::Http2(streams) => streams.under_way(),
        }
    }

    pub(super) fn rests_since(&self) -> Instant {
        self.rests_since
    }

    /// Nothing is under way since `now`.
    pub(super) fn rest(&mut self, now: Instant) {
        self.rests_since = now;
    }

    /// The request that still has to be sent has this key.
    pub(super) fn unsent_key(&self) -> Option<u64> {
        match &self.messages {
            Messages::Http1(exchange) if exchange.is_unsent() => exchange.key(),
            Messages::Http1(_) | Messages::Http2(_) => None,
        }
    }

    /// Sends the request for `key`, now or as soon as the handshake is over; with HTTP/2 at the next [`Self::flush`].
    pub(super) fn send(&mut self, request: &[u8], key: Option<u64>, due: Instant) -> Result<(), Fault> {
        match (&mut self.messages, &mut self.wire) {
            (Messages::Http2(streams), Some(_)) => streams.ask(due),
            (Messages::Http1(exchange), Some(wire)) => exchange.begin(key, due, wire.send(request)?),
            (_, None) => return Err(Fault::Connect),
        }
        Ok(())
    }

    /// Sends what was gathered.
    pub(super) fn flush(&mut self) -> Result<(), Fault> {
        if let (Messages::Http2(streams), Some(wire)) = (&mut self.messages, &mut self.wire)
            && !streams.output.is_empty()
            && wire.send(&streams.output)?
        {
            streams.output.clear();
        }
        Ok(())
    }

    /// Does what an event allows; `ended` when it says that the server has closed its side.
    ///
    /// Whether the server has closed between two requests.
    pub(super) fn proceed(&mut self, ended: bool, job: &mut Job<'_>) -> Result<bool, Fault> {
        let Some(wire) = &mut self.wire else {
            return Ok(false);
        };
        wire.flush()?;
        if let Messages::Http1(exchange) = &mut self.messages
            && exchange.is_unsent()
            && wire.send(job.request)?
        {
            exchange.sent();
        }
        loop {
            let (messages, target) = (&mut self.messages, job.target);
            let (answered, refused) = (&mut *job.answered, &mut *job.refused);
            let received = wire.receive(job.buffer, &mut |bytes| match messages {
                Messages::Http1(exchange) => {
                    answered.extend(exchange.take(bytes, target)?);
                    Ok(())
                }
                Messages::Http2(streams) => streams.take(bytes, target, answered, refused),
            })?;
            match (&mut self.messages, received) {
                (_, Received::Nothing) => return Ok(false),
                (Messages::Http1(exchange), Received::End) => {
                    let was_resting = !exchange.is_under_way();
                    job.answered.extend(exchange.end()?);
                    self.wire = None;
                    return Ok(was_resting || !target.close);
                }
                (Messages::Http2(streams), Received::End) => {
                    let was_resting = streams.under_way() == 0;
                    self.wire = None;
                    return if was_resting { Ok(true) } else { Err(Fault::Truncated) };
                }
                // The response is whole: nothing more will come.
                (Messages::Http1(exchange), _) if !exchange.is_under_way() => {
                    if ended {
                        self.wire = None;
                    }
                    return Ok(ended);
                }
                (Messages::Http2(streams), _) if streams.is_draining() && streams.under_way() == 0 => {
                    self.wire = None;
                    return Ok(true);
                }
                (Messages::Http1(exchange), Received::Short) if !ended && !exchange.is_ending() => return Ok(false),
                (Messages::Http2(_), Received::Short) if !ended => return Ok(false),
                (_, Received::Short | Received::Full) => {}
            }
        }
    }
}

fn tls(target: &Target) -> Option<&Arc<ClientConfig>> {
    match &target.transport {
        Transport::Plain => None,
        Transport::Tls(config) | Transport::Http2(config) => Some(config),
    }
}
