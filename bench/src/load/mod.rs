//! The load generator: one thread, raw epoll, as little work per request as can be.
//!
//! Closed loop: each connection has one request under way, as fast as the subject answers; for CPU per request.
//! Open loop: requests are due at a constant rate whether or not earlier ones were answered, and latency counts
//! from the moment a request was *due*, so that a stall is not hidden (no coordinated omission).

mod keys; // which of many URLs is asked for next
mod connection; // one connection: a request out, a response in
mod pace; // when the next request is due
mod response; // the response's head, and what is wrong with it

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use hdrhistogram::Histogram;

use crate::clock;
use crate::sys::{self, EDGE, Epoll, Event, PEER_ENDED, READABLE, WRITABLE};
use connection::{Connection, Job, Step};
pub(crate) use keys::{Keys, Length};
pub(crate) use pace::Pace;
pub(crate) use response::{FAULT_COUNT, Fault, whole_length};

/// Silence of all connections after which what is under way counts as stalled.
const STALL: Duration = Duration::from_secs(5);
/// More faults than this in one run, and the run is worth nothing.
const FAULTS_MAX: u64 = 1000;
/// Bytes taken from a socket at a time.
const READ_BYTES: usize = 256 << 10;

/// What is asked, of whom, on how many connections.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// The path; with many keys each of them follows it.
    pub(crate) path: String,
    pub(crate) keys: Keys,
    /// Bytes of the body that a right response has.
    pub(crate) length: Length,
    pub(crate) connections: usize,
    /// A new connection for each request, closed by the server.
    pub(crate) close: bool,
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
    /// What precedes the key in a request, what follows it, and both with one between.
    before: Vec<u8>,
    after: Vec<u8>,
    request: Vec<u8>,
    epoll: Epoll,
    room: Vec<Event>,
    buffer: Vec<u8>,
    connections: Vec<Connection>,
    /// Connections without a request under way, the one that rested longest in front.
    idle: VecDeque<usize>,
}

impl Generator {
    /// Opens all connections (or, where each request has its own, none yet).
    pub(crate) fn new(target: Target) -> Result<Self> {
        let connection = if target.close { "close" } else { "keep-alive" };
        let after = format!(
            " HTTP/1.1\r\nHost: bench.test\r\nUser-Agent: tidegate-bench\r\nAccept: */*\r\n\
             Connection: {connection}\r\n\r\n"
        );
        let before = format!("GET {}", target.path);
        let mut generator = Self {
            request: format!("{before}{after}").into_bytes(),
            before: before.into_bytes(),
            after: after.into_bytes(),
            epoll: Epoll::new()?,
            room: sys::event_buffer(512),
            buffer: vec![0; READ_BYTES],
            connections: Vec::with_capacity(target.connections),
            idle: (0..target.connections).collect(),
            target,
        };
        for index in 0..generator.target.connections {
            generator.connections.push(Connection::closed());
            if !generator.target.close {
                generator.connections[index].open_now(generator.target.address)?;
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
            let under_way = self.connections.len() - self.idle.len();
            if under_way == 0 && pace.is_over(now) {
                break;
            }
            if sys::interrupted() {
                bail!("interrupted");
            }
            if self.hear(&pace, now, &mut outcome)? {
                heard = now;
            } else if under_way > 0 && now.duration_since(heard) > STALL {
                self.give_up(&mut outcome)?;
            } else if under_way == 0 {
                heard = now;
            }
        }
        outcome.time = clock::now().duration_since(start);
        Ok(outcome)
    }

    fn send_due(&mut self, pace: &mut Pace, now: Instant, outcome: &mut Outcome) -> Result<()> {
        while let Some(&index) = self.idle.front() {
            let Some(due) = pace.take(now) else { break };
            self.idle.pop_front();
            // When the connection rested since before the request was due, only we can be late.
            if pace.is_open_loop() && self.connections[index].rests_since() <= due {
                outcome.lateness.saturating_record(micros(now.duration_since(due)));
            }
            if let Err(error) = self.send(index, due) {
                self.connections[index] = Connection::closed();
                self.idle.push_back(index);
                outcome.fault(Fault::of_io(&error))?;
            }
        }
        Ok(())
    }

    fn send(&mut self, index: usize, due: Instant) -> io::Result<()> {
        if self.connections[index].is_closed() {
            self.connections[index].open(self.target.address)?;
            self.watch(index)?;
        }
        let key = self.target.keys.next();
        self.render(key);
        self.connections[index].send(&self.request, key, due)
    }

    /// Makes `request` the one for `key`; there is nothing to make where all are alike.
    fn render(&mut self, key: Option<u64>) {
        if let Some(key) = key {
            self.request.clear();
            self.request.extend_from_slice(&self.before);
            self.request.extend_from_slice(key.to_string().as_bytes());
            self.request.extend_from_slice(&self.after);
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
        if self.connections[index].is_connecting() {
            self.render(self.connections[index].key());
        }
        let connection = &mut self.connections[index];
        let was_idle = !connection.is_under_way();
        let mut job = Job {
            request: &self.request,
            buffer: &mut self.buffer,
            target: &self.target,
        };
        match connection.proceed(event.events & PEER_ENDED != 0, &mut job) {
            Ok(Step::Wait) => {}
            Ok(Step::Ended) => outcome.reconnects += 1,
            Ok(Step::Answered { due, ended }) => {
                outcome.responses += 1;
                outcome.reconnects += u64::from(ended);
                if open_loop {
                    outcome
                        .latency
                        .saturating_record(micros(now.saturating_duration_since(due)));
                }
                connection.rest(now);
                self.idle.push_back(index);
            }
            Err(fault) => {
                *connection = Connection::closed();
                if !was_idle {
                    self.idle.push_back(index);
                }
                outcome.fault(fault)?;
            }
        }
        Ok(())
    }

    fn give_up(&mut self, outcome: &mut Outcome) -> Result<()> {
        for (index, connection) in self.connections.iter_mut().enumerate() {
            if connection.is_under_way() {
                *connection = Connection::closed();
                self.idle.push_back(index);
                outcome.fault(Fault::Stalled)?;
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
            address,
            path: "/5".to_owned(),
            keys: Keys::One,
            length: Length::Of(5),
            connections: 1,
            close,
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
