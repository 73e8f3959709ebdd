//! The load generator: one thread, raw epoll, as little work per request as can be.
//!
//! Closed loop: each connection has one request under way, as fast as the subject answers; for CPU per request.
//! Open loop: requests are due at a constant rate whether or not earlier ones were answered, and latency counts
//! from the moment a request was *due*, so that a stall is not hidden (no coordinated omission).

mod keys; // which of many URLs is asked for next
mod request; // a request of HTTP/1.1
mod response; // the response's head, and what is wrong with it
mod tls; // one TLS connection
mod wire; // TCP, or TLS over it
mod http1; // HTTP/1.1 on one connection
mod http2; // HTTP/2 on one connection
mod connection; // one connection, of either protocol
mod pace; // when the next request is due

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use hdrhistogram::Histogram;
use rustls::ClientConfig;

use crate::clock;
use crate::sys::{self, EDGE, Epoll, Event, PEER_ENDED, READABLE, WRITABLE};
use connection::{Connection, Job};
pub(crate) use keys::{Keys, Length};
pub(crate) use pace::Pace;
use request::Request;
pub(crate) use response::{FAULT_COUNT, Fault, whole_length};

/// Silence of all connections after which what is under way counts as stalled.
const STALL: Duration = Duration::from_secs(5);
/// More faults than this in one run, and the run is worth nothing.
const FAULTS_MAX: u64 = 1000;
/// Bytes taken from a socket at a time.
const READ_BYTES: usize = 256 << 10;
/// Streams of one HTTP/2 connection, all in use all the time.
pub(crate) const HTTP2_STREAMS: usize = 10;

/// What is asked, of whom, on how many connections.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// The path; with many keys each of them follows it.
    pub(crate) path: String,
    pub(crate) keys: Keys,
    /// More field lines, each with its CRLF.
    pub(crate) fields: &'static str,
    /// The status that a right response has.
    pub(crate) status: &'static str,
    /// Bytes of the body that it has.
    pub(crate) length: Length,
    pub(crate) connections: usize,
    /// A new connection for each request, closed by the server.
    pub(crate) close: bool,
    pub(crate) transport: Transport,
}

/// What requests travel on.
#[derive(Clone, Debug)]
pub(crate) enum Transport {
    /// HTTP/1.1 over TCP.
    Plain,
    /// HTTP/1.1 over TLS.
    Tls(Arc<ClientConfig>),
    /// HTTP/2 over TLS.
    Http2(Arc<ClientConfig>),
}

impl Transport {
    /// How many requests a connection carries at a time.
    fn requests_at_a_time(&self) -> usize {
        match self {
            Self::Plain | Self::Tls(_) => 1,
            Self::Http2(_) => HTTP2_STREAMS,
        }
    }
}

impl Target {
    /// One path by HTTP/1.1 over TCP, answered 200, on connections that are kept.
    pub(crate) fn get(address: SocketAddr, path: &str, length: u64, connections: usize) -> Self {
        Self {
            address,
            path: path.to_owned(),
            keys: Keys::One,
            fields: "",
            status: "200",
            length: Length::Of(length),
            connections,
            close: false,
            transport: Transport::Plain,
        }
    }
}

/// What came of one run.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// Right and whole responses.
    pub(crate) responses: u64,
    /// From the first request to the last response.
    pub(crate) time: Duration,
    pub(crate) faults: [u64; FAULT_COUNT],
    /// Connections that the server ended between two requests.
    pub(crate) reconnects: u64,
    /// Microseconds from due to answered.
    pub(crate) latency: Histogram<u64>,
    /// Microseconds from due to sent though a connection was free: the generator's own lateness.
    pub(crate) lateness: Histogram<u64>,
}

impl Outcome {
    pub(crate) fn fault_count(&self) -> u64 {
        self.faults.iter().sum()
    }

    /// The faults that happened, in words; empty when there were none.
    pub(crate) fn fault_words(&self) -> String {
        let counted = Fault::ALL.into_iter().zip(self.faults).filter(|(_, count)| *count > 0);
        let words: Vec<String> = counted
            .map(|(fault, count)| format!("{} {count}", fault.word()))
            .collect();
        words.join(", ")
    }

    /// Right responses per second.
    pub(crate) fn rate(&self) -> f64 {
        f64::from(u32::try_from(self.responses).unwrap_or(u32::MAX)) / self.time.as_secs_f64().max(1e-9)
    }

    /// A percentile of latency in µs.
    pub(crate) fn latency_micros(&self, quantile: f64) -> f64 {
        let micros = self.latency.value_at_quantile(quantile);
        f64::from(u32::try_from(micros).unwrap_or(u32::MAX))
    }

    fn new() -> Result<Self> {
        Ok(Self {
            responses: 0,
            time: Duration::ZERO,
            faults: [0; FAULT_COUNT],
            reconnects: 0,
            latency: Histogram::new_with_max(60_000_000, 3)?,
            lateness: Histogram::new_with_max(60_000_000, 3)?,
        })
    }

    fn fault(&mut self, fault: Fault) -> Result<()> {
        self.faults[fault as usize] += 1;
        if self.fault_count() > FAULTS_MAX {
            bail!("more than {FAULTS_MAX} faults, the last one: {}", fault.word());
        }
        Ok(())
    }
}

/// Connections to one subject.
pub(crate) struct Generator {
    target: Target,
    request: Request,
    epoll: Epoll,
    room: Vec<Event>,
    buffer: Vec<u8>,
    connections: Vec<Connection>,
    /// Connections by what they could carry besides what is under way: the one that rested longest in front, one of
    /// ten streams up to ten times.
    idle: VecDeque<usize>,
    /// Likewise those that take no more requests, until they are closed.
    draining: Vec<usize>,
    /// Requests without an answer.
    under_way: usize,
    /// When each request was due that has to be asked again.
    again: VecDeque<Instant>,
    /// Connections that have something gathered to send.
    unflushed: Vec<usize>,
    /// Room for what one event brings.
    answered: Vec<Instant>,
    refused: Vec<Instant>,
}

impl Generator {
    /// Opens all connections (or, where each request has its own, none yet).
    pub(crate) fn new(target: Target) -> Result<Self> {
        let at_a_time = target.transport.requests_at_a_time();
        let mut generator = Self {
            request: Request::new(&target),
            epoll: Epoll::new()?,
            room: sys::event_buffer(512),
            buffer: vec![0; READ_BYTES],
            connections: Vec::with_capacity(target.connections),
            idle: (0..target.connections * at_a_time)
                .map(|slot| slot / at_a_time)
                .collect(),
            draining: Vec::new(),
            under_way: 0,
            again: VecDeque::new(),
            unflushed: Vec::new(),
            answered: Vec::new(),
            refused: Vec::new(),
            target,
        };
        for index in 0..generator.target.connections {
            generator.connections.push(Connection::closed(&generator.target));
            if !generator.target.close {
                generator.connections[index].open_now(&generator.target)?;
                generator.watch(index)?;
            }
        }
        Ok(generator)
    }

    /// Sends requests as `pace` says, and ends when the last of them is answered: nothing is under way afterwards.
    pub(crate) fn run(&mut self, mut pace: Pace) -> Result<Outcome> {
        let mut outcome = Outcome::new()?;
        let start = clock::now();
        pace.start(start);
        let mut heard = start;
        loop {
            let now = clock::now();
            self.send_due(&mut pace, now, &mut outcome)?;
            if self.under_way == 0 && self.again.is_empty() && pace.is_over(now) {
                break;
            }
            if sys::interrupted() {
                bail!("interrupted");
            }
            if self.hear(&pace, now, &mut outcome)? {
                heard = now;
            } else if self.under_way > 0 && now.duration_since(heard) > STALL {
                self.give_up(&mut outcome)?;
            } else if self.under_way == 0 {
                heard = now;
            }
        }
        outcome.time = clock::now().duration_since(start);
        Ok(outcome)
    }

    fn send_due(&mut self, pace: &mut Pace, now: Instant, outcome: &mut Outcome) -> Result<()> {
        while let Some(&index) = self.idle.front() {
            if self.connections[index].is_draining() {
                self.idle.pop_front();
                self.draining.push(index);
                continue;
            }
            let Some(due) = self.again.pop_front().or_else(|| pace.take(now)) else {
                break;
            };
            self.idle.pop_front();
            // When the connection rested since before the request was due, only we can be late.
            if pace.is_open_loop() && self.connections[index].rests_since() <= due {
                outcome.lateness.saturating_record(micros(now.duration_since(due)));
            }
            match self.send(index, due) {
                Ok(()) => self.under_way += 1,
                Err(fault) => {
                    self.idle.push_back(index);
                    self.abandon(index, fault, outcome)?;
                }
            }
        }
        while let Some(index) = self.unflushed.pop() {
            if let Err(fault) = self.connections[index].flush() {
                self.abandon(index, fault, outcome)?;
            }
        }
        Ok(())
    }

    fn send(&mut self, index: usize, due: Instant) -> Result<(), Fault> {
        let connection = &mut self.connections[index];
        if connection.is_closed() {
            let opened = connection.open(self.target.address, &self.target);
            opened
                .and_then(|()| self.watch(index))
                .map_err(|error| Fault::of_io(&error))?;
        }
        let key = self.target.keys.next();
        self.connections[index].send(self.request.render(key), key, due)?;
        self.gathers(index);
        Ok(())
    }

    /// Notes that a connection may have something to send once everything due is in it.
    fn gathers(&mut self, index: usize) {
        if matches!(self.target.transport, Transport::Http2(_)) && self.unflushed.last() != Some(&index) {
            self.unflushed.push(index);
        }
    }

    /// Waits for events and handles them; whether there were any.
    fn hear(&mut self, pace: &Pace, now: Instant, outcome: &mut Outcome) -> Result<bool> {
        let wait = if self.idle.is_empty() {
            None
        } else {
            pace.next_after(now)
        };
        let mut room = std::mem::take(&mut self.room);
        let events = self.epoll.wait(&mut room, wait.unwrap_or(Duration::from_secs(1)))?;
        let heard = !events.is_empty();
        let then = clock::now();
        for event in events {
            self.on_event(*event, then, pace.is_open_loop(), outcome)?;
        }
        self.room = room;
        Ok(heard)
    }

    fn on_event(&mut self, event: Event, now: Instant, open_loop: bool, outcome: &mut Outcome) -> Result<()> {
        let index = usize::try_from(event.u64)?;
        let connection = &mut self.connections[index];
        let mut job = Job {
            request: self.request.render(connection.unsent_key()),
            buffer: &mut self.buffer,
            target: &self.target,
            answered: &mut self.answered,
            refused: &mut self.refused,
        };
        let result = connection.proceed(event.events & PEER_ENDED != 0, &mut job);
        for due in self.answered.drain(..) {
            outcome.responses += 1;
            if open_loop {
                let waited = now.saturating_duration_since(due);
                outcome.latency.saturating_record(micros(waited));
            }
            connection.rest(now);
            self.under_way -= 1;
            self.idle.push_back(index);
        }
        for due in self.refused.drain(..) {
            self.again.push_back(due);
            self.under_way -= 1;
            self.idle.push_back(index);
        }
        match result {
            Ok(ended) => {
                if ended {
                    outcome.reconnects += 1;
                    self.undrain(index);
                }
                self.gathers(index);
            }
            Err(fault) => self.abandon(index, fault, outcome)?,
        }
        Ok(())
    }

    /// Gives a connection up, and with it all that is under way on it.
    fn abandon(&mut self, index: usize, fault: Fault, outcome: &mut Outcome) -> Result<()> {
        let closed = Connection::closed(&self.target);
        let under_way = std::mem::replace(&mut self.connections[index], closed).under_way();
        self.undrain(index);
        self.under_way -= under_way;
        self.idle.extend(std::iter::repeat_n(index, under_way));
        for _ in 0..under_way.max(1) {
            outcome.fault(fault)?;
        }
        Ok(())
    }

    /// A connection is closed, so that its next request opens it anew.
    fn undrain(&mut self, index: usize) {
        let drained = self.draining.extract_if(.., |draining| *draining == index);
        self.idle.extend(drained);
    }

    fn give_up(&mut self, outcome: &mut Outcome) -> Result<()> {
        for index in 0..self.connections.len() {
            if self.connections[index].under_way() > 0 {
                self.abandon(index, Fault::Stalled, outcome)?;
            }
        }
        Ok(())
    }

    fn watch(&self, index: usize) -> io::Result<()> {
        let token = u64::try_from(index).map_err(io::Error::other)?;
        self.connections[index].watch(&self.epoll, token, READABLE | WRITABLE | PEER_ENDED | EDGE)
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// Answers the first request of each connection with `answer`, then closes it.
    fn against(answer: &'static str, requests: u32, close: bool) -> Outcome {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut room = [0; 1024];
                if stream.read(&mut room).unwrap() > 0 {
                    stream.write_all(answer.as_bytes()).unwrap();
                }
            }
        });
        let target = Target {
            close,
            ..Target::get(address, "/5", 5, 1)
        };
        Generator::new(target).unwrap().run(Pace::count(requests)).unwrap()
    }

    #[test]
    fn a_wrong_answer_is_a_fault_and_no_response() {
        for (answer, fault) in [
            (
                "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nhello",
                Fault::Status,
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhell", Fault::Length),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello!", Fault::Length),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", Fault::Truncated),
            ("HTTP/1.1 200 OK\r\n\r\nhello", Fault::Framing),
            ("", Fault::Truncated),
        ] {
            let outcome = against(answer, 2, false);
            assert_eq!((outcome.responses, outcome.faults[fault as usize]), (0, 2), "{answer}");
            assert_eq!(outcome.fault_words(), format!("{} 2", fault.word()), "{answer}");
        }
    }

    #[test]
    fn a_connection_that_the_server_closes_is_opened_again() {
        let outcome = against("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 3, true);
        assert_eq!((outcome.responses, outcome.fault_count()), (3, 0));
    }
}
