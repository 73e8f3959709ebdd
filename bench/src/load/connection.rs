//! One connection of the load generator: a request out, a response in.
//!
//! ```text
//! Closed → Connecting → Reading ⇄ Resting       (keep-alive)
//! Closed → Connecting → Reading → Ending → Closed (a connection per request)
//! ```
//! It is watched edge-triggered, for both directions, once: no `epoll_ctl` between two requests.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::Target;
use super::response::{Fault, parse_head};
use crate::clock;
use crate::sys::Epoll;

/// How long the first connections may take to be accepted.
const CONNECT: Duration = Duration::from_secs(5);

pub(super) struct Connection {
    stream: Option<TcpStream>,
    state: State,
    /// When the request under way was due, or since when it rests.
    since: Instant,
    /// The key of the request under way.
    key: Option<u64>,
    /// The beginning of a head that came in pieces.
    partial: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    /// The request is not sent yet, because the handshake is not over.
    Connecting,
    /// The head is not whole.
    Head,
    /// So many bytes of the body are missing.
    Body(u64),
    /// The response is whole; the server still has to close.
    Ending,
    Resting,
}

/// What all connections of a generator have in common while they handle an event.
pub(super) struct Job<'a> {
    pub(super) request: &'a [u8],
    pub(super) buffer: &'a mut [u8],
    pub(super) target: &'a Target,
}

/// What an event came to.
pub(super) enum Step {
    /// Not finished.
    Wait,
    /// The response is whole and right, to a request that was due then; the server may have closed after it.
    Answered { due: Instant, ended: bool },
    /// The server closed a connection that rested.
    Ended,
}

impl Connection {
    pub(super) fn closed() -> Self {
        Self {
            stream: None,
            state: State::Closed,
            since: clock::now(),
            key: None,
            partial: Vec::new(),
        }
    }

    /// Connects and waits for it.
    pub(super) fn open_now(&mut self, address: SocketAddr) -> io::Result<()> {
        let stream = TcpStream::connect_timeout(&address, CONNECT)?;
        stream.set_nonblocking(true)?;
        self.stream = Some(stream);
        self.state = State::Resting;
        Ok(())
    }

    /// Begins to connect.
    pub(super) fn open(&mut self, address: SocketAddr) -> io::Result<()> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), None)?;
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
            Ok(()) | Err(_) => {}
        }
        self.stream = Some(socket.into());
        self.state = State::Connecting;
        Ok(())
    }

    pub(super) fn watch(&self, epoll: &Epoll, token: u64, interest: u32) -> io::Result<()> {
        self.stream
            .as_ref()
            .map_or(Ok(()), |stream| epoll.add(stream.as_fd(), token, interest))
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    pub(super) fn is_under_way(&self) -> bool {
        !matches!(self.state, State::Closed | State::Resting)
    }

    pub(super) fn rests_since(&self) -> Instant {
        self.since
    }

    /// Nothing is under way since `now`.
    pub(super) fn rest(&mut self, now: Instant) {
        self.since = now;
    }

    /// The request is to be sent once the handshake is over.
    pub(super) fn is_connecting(&self) -> bool {
        self.state == State::Connecting
    }

    pub(super) fn key(&self) -> Option<u64> {
        self.key
    }

    /// Sends the request for `key`, now or as soon as the handshake is over.
    pub(super) fn send(&mut self, request: &[u8], key: Option<u64>, due: Instant) -> io::Result<()> {
        self.since = due;
        self.key = key;
        let Some(stream) = &mut self.stream else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        match stream.write(request) {
            Ok(count) if count == request.len() => self.state = State::Head,
            // An empty socket takes 150 bytes; one that does not is not worth another path.
            Ok(_) => return Err(io::ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.state = State::Connecting,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Does what an event allows; `ended` when it says that the server has closed its side.
    pub(super) fn proceed(&mut self, ended: bool, job: &mut Job<'_>) -> Result<Step, Fault> {
        if self.state == State::Connecting {
            self.send(job.request, self.key, self.since)
                .map_err(|error| Fault::of_io(&error))?;
        }
        loop {
            let Some(stream) = &mut self.stream else {
                return Ok(Step::Wait);
            };
            let count = match stream.read(job.buffer) {
                Ok(0) => return self.end(),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Step::Wait),
                Err(error) => return Err(Fault::of_io(&error)),
            };
            self.take(&job.buffer[..count], job.target)?;
            if self.state == State::Resting {
                if ended {
                    self.close();
                }
                return Ok(Step::Answered { due: self.since, ended });
            }
            // Edge-triggered: less than was asked for means that the socket is empty, unless its end is there too.
            if count < job.buffer.len() && !ended && self.state != State::Ending {
                return Ok(Step::Wait);
            }
        }
    }

    /// The server closed.
    fn end(&mut self) -> Result<Step, Fault> {
        let step = match self.state {
            State::Ending => Step::Answered {
                due: self.since,
                ended: false,
            },
            State::Resting => Step::Ended,
            State::Closed => Step::Wait,
            State::Connecting | State::Head | State::Body(_) => return Err(Fault::Truncated),
        };
        self.close();
        Ok(step)
    }

    fn close(&mut self) {
        self.stream = None;
        self.state = State::Closed;
    }

    /// Takes bytes of the response.
    fn take(&mut self, bytes: &[u8], target: &Target) -> Result<(), Fault> {
        let length = target.length.of(self.key);
        let (left, bytes_of_body) = match self.state {
            State::Body(left) => (left, bytes.len()),
            State::Head if self.partial.is_empty() => match Self::head(bytes, length)? {
                Some(head) => (length, bytes.len() - head),
                None => {
                    self.partial.extend_from_slice(bytes);
                    return Ok(());
                }
            },
            State::Head => {
                self.partial.extend_from_slice(bytes);
                let whole = std::mem::take(&mut self.partial);
                match Self::head(&whole, length)? {
                    Some(head) => (length, whole.len() - head),
                    None => {
                        self.partial = whole;
                        return Ok(());
                    }
                }
            }
            // Bytes that nobody asked for.
            State::Closed | State::Connecting | State::Ending | State::Resting => return Err(Fault::Length),
        };
        let count = u64::try_from(bytes_of_body).unwrap_or(u64::MAX);
        self.state = match left.checked_sub(count).ok_or(Fault::Length)? {
            0 if target.close => State::Ending,
            0 => State::Resting,
            left => State::Body(left),
        };
        Ok(())
    }

    /// Bytes of the head, when it is whole and announces `length`.
    fn head(input: &[u8], length: u64) -> Result<Option<usize>, Fault> {
        match parse_head(input)? {
            Some(head) if head.length != length => Err(Fault::Length),
            head => Ok(head.map(|head| head.bytes)),
        }
    }
}
