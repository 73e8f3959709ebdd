//! The bytes under a connection: TCP as it is, or TLS over it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use socket2::{Domain, Socket, Type};

use super::Fault;
use super::tls::Tls;

/// How long the first connections may take to be accepted.
const CONNECT: Duration = Duration::from_secs(5);

/// Who gets the bytes that came.
pub(super) type Taker<'a> = dyn FnMut(&[u8]) -> Result<(), Fault> + 'a;

pub(super) enum Wire {
    Plain(TcpStream),
    Tls(Box<Tls>),
}

/// What a read came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// There may be more.
    Full,
    /// There was less than was asked for: edge-triggered, that means that the socket is empty, or at its end.
    Short,
    /// There was nothing yet.
    Nothing,
    /// The peer has closed its side.
    End,
}

impl Received {
    /// Reads once.
    pub(super) fn read(stream: &mut TcpStream, buffer: &mut [u8]) -> Result<(Self, usize), Fault> {
        match stream.read(buffer) {
            Ok(0) => Ok((Self::End, 0)),
            Ok(count) if count < buffer.len() => Ok((Self::Short, count)),
            Ok(count) => Ok((Self::Full, count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok((Self::Nothing, 0)),
            Err(error) => Err(Fault::of_io(&error)),
        }
    }
}

impl Wire {
    /// Connects and waits for it; a TLS handshake follows with the first bytes that are sent.
    pub(super) fn connected(address: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, CONNECT)?;
        stream.set_nonblocking(true)?;
        Self::over(stream, tls)
    }

    /// Begins to connect.
    pub(super) fn connecting(address: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), None)?;
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
            Ok(()) | Err(_) => {}
        }
        Self::over(socket.into(), tls)
    }

    fn over(stream: TcpStream, tls: Option<&Arc<ClientConfig>>) -> io::Result<Self> {
        match tls {
            None => Ok(Self::Plain(stream)),
            Some(config) => {
                // A handshake is several small writes in turn; nobody's client lets Nagle delay them.
                stream.set_nodelay(true)?;
                Ok(Self::Tls(Box::new(Tls::new(stream, config)?)))
            }
        }
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        match self {
            Self::Plain(stream) => stream.as_fd(),
            Self::Tls(tls) => tls.stream.as_fd(),
        }
    }

    /// Sends `bytes`; false when the TCP handshake is not over and they have to be sent again.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<bool, Fault> {
        let stream = match self {
            Self::Plain(stream) => stream,
            Self::Tls(tls) => return tls.send(bytes).map(|()| true),
        };
        match stream.write(bytes) {
            Ok(count) if count == bytes.len() => Ok(true),
            // An empty socket takes 150 bytes; one that does not is not worth another path.
            Ok(_) => Err(Fault::Io),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(Fault::of_io(&error)),
        }
    }

    /// Sends what an earlier call had to keep.
    pub(super) fn flush(&mut self) -> Result<(), Fault> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(tls) => tls.flush(),
        }
    }

    /// Reads once, and gives what came to `take`, in one piece or in several.
    pub(super) fn receive(&mut self, buffer: &mut [u8], take: &mut Taker<'_>) -> Result<Received, Fault> {
        match self {
            Self::Plain(stream) => {
                let (received, count) = Received::read(stream, buffer)?;
                if count > 0 {
                    take(&buffer[..count])?;
                }
                Ok(received)
            }
            Self::Tls(tls) => tls.receive(buffer, take),
        }
    }
}
