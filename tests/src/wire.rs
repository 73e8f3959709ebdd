//! A connected socket, read as HTTP/1 with nothing repaired: heads, bodies by their framing, the way it ended.
//!
//! Used by both scripted peers. Strict where a recipient must be (chunked coding), so that malformed framing that
//! tidegate would send is seen; panics on nothing: how reading stopped is a value.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use crate::message::{Content, End, Fields, latin1};
use crate::wait::PATIENCE;

/// A TCP or unix stream socket.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// Unix.
    Unix(UnixStream),
}

/// Why nothing more came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The peer ended its side in order.
    End,
    /// The peer reset the connection.
    Reset,
    /// Nothing came within the deadline.
    Silence,
}

/// How long a body is (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// This many bytes.
    Length(u64),
    /// The chunked coding says.
    Chunked,
    /// To the end of the connection.
    UntilClose,
}

impl Framing {
    /// What the fields of a message say; `otherwise` when they say nothing.
    pub fn of(fields: &Fields, otherwise: Self) -> Self {
        let coding = fields.joined("transfer-encoding").to_ascii_lowercase();
        if coding.ends_with("chunked") {
            Self::Chunked
        } else if let Some(length) = fields.get("content-length").and_then(|value| value.parse().ok()) {
            Self::Length(length)
        } else {
            otherwise
        }
    }
}

/// A socket with what was read from it and not yet used.
#[derive(Debug)]
pub struct Wire {
    socket: Arc<Socket>,
    buffer: Vec<u8>,
    /// Where in `buffer` the unused bytes begin.
    start: usize,
}

impl Wire {
    /// Wraps a connected socket; reads and writes give up after [`PATIENCE`].
    ///
    /// # Errors
    /// The socket's.
    pub fn new(socket: Socket) -> io::Result<Self> {
        match &socket {
            Socket::Tcp(tcp) => {
                tcp.set_nodelay(true)?;
                tcp.set_write_timeout(Some(PATIENCE))?;
            }
            Socket::Unix(unix) => unix.set_write_timeout(Some(PATIENCE))?,
        }
        let wire = Self {
            socket: Arc::new(socket),
            buffer: Vec::new(),
            start: 0,
        };
        wire.give_up_after(PATIENCE)?;
        Ok(wire)
    }

    /// Changes how long a read may wait.
    ///
    /// # Errors
    /// The socket's.
    pub fn give_up_after(&self, time: Duration) -> io::Result<()> {
        match &*self.socket {
            Socket::Tcp(tcp) => tcp.set_read_timeout(Some(time)),
            Socket::Unix(unix) => unix.set_read_timeout(Some(time)),
        }
    }

    /// The socket itself, to end it from elsewhere.
    pub fn socket(&self) -> &Arc<Socket> {
        &self.socket
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// The socket's: the peer has gone, or takes nothing.
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        match &*self.socket {
            Socket::Tcp(tcp) => (&mut &*tcp).write_all(bytes),
            Socket::Unix(unix) => (&mut &*unix).write_all(bytes),
        }
    }

    /// What came and was not used yet.
    pub fn unused(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Takes what came and was not used yet.
    pub fn take_all(&mut self) -> Vec<u8> {
        self.take(self.unused().len())
    }

    /// Reads once.
    ///
    /// # Errors
    /// Why nothing came.
    pub fn fill(&mut self) -> Result<(), Stop> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        let kept = self.buffer.len();
        self.buffer.resize(kept + READ_BYTES, 0);
        let result = match &*self.socket {
            Socket::Tcp(tcp) => (&mut &*tcp).read(&mut self.buffer[kept..]),
            Socket::Unix(unix) => (&mut &*unix).read(&mut self.buffer[kept..]),
        };
        self.buffer.truncate(kept + result.as_ref().copied().unwrap_or(0));
        match result {
            Ok(0) => Err(Stop::End),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(Stop::Silence),
            Err(_) => Err(Stop::Reset),
        }
    }

    /// Reads to the empty line and returns all up to and with it.
    ///
    /// # Errors
    /// Why it did not come; what came of it stays in [`Wire::unused`].
    pub fn read_head(&mut self) -> Result<Vec<u8>, Stop> {
        loop {
            if let Some(at) = find(self.unused(), b"\r\n\r\n") {
                return Ok(self.take(at + 4));
            }
            self.fill()?;
        }
    }

    /// Reads a body, piece by piece, into `content`.
    pub fn read_body(&mut self, framing: Framing, content: &mut Content) -> End {
        let result = match framing {
            Framing::None => Ok(()),
            Framing::Length(length) => self.pass_on(length, content).map_err(End::Cut),
            Framing::Chunked => self.read_chunks(content),
            Framing::UntilClose => return self.read_to_end(content),
        };
        result.map_or_else(|end| end, |()| End::Whole)
    }

    fn read_to_end(&mut self, content: &mut Content) -> End {
        loop {
            let piece = self.take(self.unused().len());
            content.push(&piece);
            match self.fill() {
                Ok(()) => {}
                Err(Stop::End) => return End::Closed,
                Err(stop) => return End::Cut(stop),
            }
        }
    }

    fn pass_on(&mut self, length: u64, content: &mut Content) -> Result<(), Stop> {
        let mut left = length;
        while left > 0 {
            if self.unused().is_empty() {
                self.fill()?;
            }
            let piece = usize::try_from(left).unwrap_or(usize::MAX).min(self.unused().len());
            content.push(&self.unused()[..piece]);
            self.start += piece;
            left -= piece as u64;
        }
        Ok(())
    }

    /// Strictly RFC 9112 §7.1: `chunk-size [ chunk-ext ] CRLF chunk-data CRLF`, the last chunk, the trailer section.
    fn read_chunks(&mut self, content: &mut Content) -> Result<(), End> {
        loop {
            let line = latin1(&self.read_line().map_err(End::Cut)?);
            let digits = line.split(';').next().unwrap_or_default();
            let size = u64::from_str_radix(digits, 16).map_err(|_| End::Malformed(format!("chunk size {line:?}")))?;
            if size == 0 {
                break;
            }
            self.pass_on(size, content).map_err(End::Cut)?;
            let end = self.read_line().map_err(End::Cut)?;
            if !end.is_empty() {
                return Err(End::Malformed(format!("{:?} after a chunk", latin1(&end))));
            }
        }
        let mut trailers = String::new();
        loop {
            let line = self.read_line().map_err(End::Cut)?;
            if line.is_empty() {
                content.trailers = Fields::parse(&trailers);
                return Ok(());
            }
            trailers.push_str(&latin1(&line));
            trailers.push_str("\r\n");
        }
    }

    /// A line without its CRLF.
    fn read_line(&mut self) -> Result<Vec<u8>, Stop> {
        loop {
            if let Some(at) = find(self.unused(), b"\r\n") {
                let mut line = self.take(at + 2);
                line.truncate(at);
                return Ok(line);
            }
            self.fill()?;
        }
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let taken = self.unused()[..length].to_vec();
        self.start += length;
        taken
    }

    /// Ends our side of the stream (FIN); reading goes on.
    pub fn end_sending(&self) {
        self.socket.shut(Shutdown::Write);
    }

    /// Makes the coming close a reset instead of an orderly end.
    pub fn reset_on_close(&self) {
        if let Socket::Tcp(tcp) = &*self.socket {
            let result = socket2::SockRef::from(tcp).set_linger(Some(Duration::ZERO));
            debug_assert!(result.is_ok(), "SO_LINGER: {result:?}");
        }
    }
}

impl Socket {
    /// Shuts one or both directions; a socket that is gone already is shut.
    pub fn shut(&self, how: Shutdown) {
        let gone = match self {
            Self::Tcp(tcp) => tcp.shutdown(how),
            Self::Unix(unix) => unix.shutdown(how),
        };
        drop(gone);
    }
}

/// Bytes asked for by one read.
const READ_BYTES: usize = 64 << 10;

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
