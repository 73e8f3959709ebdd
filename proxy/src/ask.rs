//! One exchange with an admin listener, over TCP, TLS or a unix socket: blocking, bounded in time and size.
//!
//! Used by subcommands, and by the threads that fetch the health of cache servers; never by a worker.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use common::backend::settings::{ServerAddress, ServerSettings};
use common::net::tls::connector::TlsConnector;
use common::time::{MonoTime, mono_now};

/// Where an admin listener is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    /// `host:port`.
    Tcp(String),
    /// `host:port`, with TLS.
    Tls(String),
    /// A unix socket.
    Unix(PathBuf),
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// GET or POST.
    pub method: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// The bearer token, where the listener demands one.
    pub token: Option<&'a str>,
    /// What the handshake is made with, where the listener speaks TLS.
    pub tls: Option<&'a TlsConnector>,
    /// For connecting, sending and the whole answer.
    pub timeout: Duration,
    /// Bytes of the answer, its head included.
    pub bytes_max: usize,
}

/// What came back, whole.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    head: String,
    /// The content.
    pub content: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The name has no address.
    #[error("the name has no address")]
    NoAddress,
    /// A system call failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The listener is asked with TLS, and nobody said what the handshake is made with.
    #[error("nothing is known to make a TLS handshake with")]
    NoTls,
    /// It does not prove who it is, does not want us, or speaks no TLS.
    #[error("TLS handshake: {0}")]
    Handshake(io::Error),
    /// It took too long.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// The answer is longer than it may be.
    #[error("the answer has more than {0} bytes")]
    TooLarge(usize),
    /// It broke off, or is no HTTP.
    #[error("the answer is no whole HTTP response")]
    NoResponse,
}

impl AdminAddress {
    /// As it is configured.
    pub fn of(server: &ServerSettings) -> Self {
        match (&server.address, server.is_tls) {
            (ServerAddress::Unix(path), _) => Self::Unix(path.clone()),
            (host_and_port, true) => Self::Tls(host_and_port.to_string()),
            (host_and_port, false) => Self::Tcp(host_and_port.to_string()),
        }
    }

    /// Reads `host:port`, `http://host:port/`, `https://host:port/` or `unix:/path`.
    pub fn parse(text: &str) -> Self {
        let authority = |text: &str| text.trim_end_matches('/').to_owned();
        if let Some(path) = text.strip_prefix("unix:") {
            Self::Unix(PathBuf::from(path))
        } else if let Some(rest) = text.strip_prefix("https://") {
            Self::Tls(authority(rest))
        } else {
            Self::Tcp(authority(text.strip_prefix("http://").unwrap_or(text)))
        }
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(authority) => f.write_str(authority),
            Self::Tls(authority) => write!(f, "https://{authority}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Answer {
    /// The value of a field, if there is one.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The content as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.content).into_owned()
    }
}

/// Asks.
///
/// # Errors
/// There is no whole answer in time.
pub fn ask(to: &AdminAddress, question: &Question<'_>) -> Result<Answer, AskError> {
    let deadline = mono_now() + question.timeout;
    let answer = match to {
        AdminAddress::Unix(path) => UnixStream::connect(path)
            .map_err(AskError::Io)
            .and_then(|socket| exchange(Until { socket, deadline }, question)),
        AdminAddress::Tcp(authority) => {
            connect(authority, deadline).and_then(|socket| exchange(Until { socket, deadline }, question))
        }
        AdminAddress::Tls(authority) => over_tls(authority, question, deadline),
    };
    answer.map_err(|error| match error {
        AskError::Io(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) => {
            AskError::Late(question.timeout)
        }
        other => other,
    })
}

fn connect(authority: &str, deadline: MonoTime) -> Result<TcpStream, AskError> {
    let address = authority.to_socket_addrs()?.next().ok_or(AskError::NoAddress)?;
    Ok(TcpStream::connect_timeout(&address, left(deadline)?)?)
}

fn over_tls(authority: &str, question: &Question<'_>, deadline: MonoTime) -> Result<Answer, AskError> {
    let connector = question.tls.ok_or(AskError::NoTls)?;
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let socket = connect(authority, deadline)?;
    let stream = connector
        .connect_blocking(Until { socket, deadline }, host)
        .map_err(|error| match error.kind() {
            ErrorKind::TimedOut | ErrorKind::WouldBlock => AskError::Io(error),
            _ => AskError::Handshake(error),
        })?;
    exchange(stream, question)
}

/// A socket each read and write of which ends at the deadline: a peer that sends a byte now and then does not lengthen it.
struct Until<S> {
    socket: S,
    deadline: MonoTime,
}

/// Both kinds of sockets.
trait Patient {
    fn wait_at_most(&self, time: Duration) -> io::Result<()>;
}

impl Patient for TcpStream {
    fn wait_at_most(&self, time: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(time))?;
        self.set_write_timeout(Some(time))
    }
}

impl Patient for UnixStream {
    fn wait_at_most(&self, time: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(time))?;
        self.set_write_timeout(Some(time))
    }
}

impl<S: Read + Patient> Read for Until<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.wait_at_most(left(self.deadline)?)?;
        self.socket.read(buffer)
    }
}

impl<S: Write + Patient> Write for Until<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.wait_at_most(left(self.deadline)?)?;
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// The time that is left.
fn left(deadline: MonoTime) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(mono_now());
    if left.is_zero() {
        Err(ErrorKind::TimedOut.into())
    } else {
        Ok(left)
    }
}

fn exchange(mut stream: impl Read + Write, question: &Question<'_>) -> Result<Answer, AskError> {
    // HTTP/1.0: the answer comes in one piece and ends with the connection.
    let Question { method, target, .. } = question;
    let mut head = format!("{method} {target} HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n");
    if let Some(token) = question.token {
        head.push_str(&format!("Authorization: Bearer {token}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    stream.flush()?;
    let mut answer = Vec::new();
    let mut part = [0; 8192];
    loop {
        let read = match stream.read(&mut part) {
            Ok(0) => return understand(&answer, true).ok_or(AskError::NoResponse),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        if answer.len() + read > question.bytes_max {
            return Err(AskError::TooLarge(question.bytes_max));
        }
        answer.extend_from_slice(&part[..read]);
        // Whoever keeps the connection open nevertheless has said how long its answer is.
        if let Some(answer) = understand(&answer, false) {
            return Ok(answer);
        }
    }
}

/// The response, when it is whole: by its length, or without one by the connection's end.
fn understand(answer: &[u8], ended: bool) -> Option<Answer> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let mut words = head.lines().next()?.split(' ');
    let status = words
        .next()
        .filter(|version| version.starts_with("HTTP/1."))
        .and_then(|_| words.next())?;
    let mut understood = Answer {
        status: status.parse().ok()?,
        content: Vec::new(),
        head,
    };
    let content = &answer[end + 4..];
    let whole = match understood.field("content-length") {
        Some(length) => length.parse() == Ok(content.len()),
        None => ended,
    };
    if !whole {
        return None;
    }
    understood.content = content.to_vec();
    Some(understood)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_response_is_an_answer() {
        let told = b"HTTP/1.1 200 OK\r\nTidegate-Health: ok\r\nContent-Length: 2\r\n\r\n{}";
        let whole = understand(told, false).unwrap();
        assert_eq!(
            (whole.status, whole.field("tidegate-health"), &*whole.text()),
            (200, Some("ok"), "{}")
        );
        for broken in [
            &b""[..],
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}",
            b"SSH-2.0-x 200\r\n\r\n",
            b"HTTP/1.1 many\r\n\r\n",
        ] {
            assert!(
                understand(broken, true).is_none(),
                "{}",
                String::from_utf8_lossy(broken)
            );
        }
    }

    #[test]
    fn without_a_length_the_end_of_the_connection_makes_it_whole() {
        let told = b"HTTP/1.0 200 OK\r\n\r\n{}";
        assert!(understand(told, false).is_none());
        assert_eq!(understand(told, true).unwrap().text(), "{}");
    }

    #[test]
    fn an_address_is_a_host_and_port_a_url_or_a_unix_socket() {
        for (text, expected) in [
            ("127.0.0.1:9900", "127.0.0.1:9900"),
            ("http://a.example:9900/", "a.example:9900"),
            ("unix:/run/t.sock", "unix:/run/t.sock"),
        ] {
            assert_eq!(AdminAddress::parse(text).to_string(), expected);
        }
    }
}
