//! Canned responses from a bare epoll loop: what HTTP costs when nobody thinks.
//!
//! It is the floor that proxies are compared with, and the origin behind them. `/N` and `/N/KEY` are N bytes with
//! `max-age=3600`, `/tagged/N` has an `ETag` too, `/mix/KEY` as many as `pattern` says, `/pass/…` the same with
//! `no-store`, `/hold/…` is never answered, and `/count` is how many requests came so far. It finds the end of a request
//! head and its path, nothing more: it is no server for anybody else.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use memchr::memmem;
use socket2::{Domain, Socket, Type};

use crate::clock;
use crate::pattern::mixed_length;
use crate::sys::{self, Epoll, READABLE, WRITABLE};

/// The largest body that is made.
const BODY_BYTES_MAX: usize = 64 << 20;
/// A connection with a longer request head is closed.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Different responses that are kept; more are made anew each time.
const RESPONSES_MAX: usize = 64;
/// Field lines of what may be stored, of what may be stored and asked for by its tag, and of what may not.
const STORED: &str = "Cache-Control: max-age=3600\r\n";
const TAGGED: &str = "Cache-Control: max-age=3600\r\nETag: \"bench\"\r\n";
const PASSED: &str = "Cache-Control: no-store\r\n";

/// Serves until a signal comes; says where on stderr, as tidegate does.
pub(crate) fn serve(role: &str) -> Result<()> {
    let listener = listen().context("cannot listen on 127.0.0.1")?;
    let address = listener.local_addr()?;
    writeln!(io::stderr(), "listening role={role} address={address}\nready")?;
    Server::new(listener)?.run()
}

fn listen() -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

struct Server {
    epoll: Epoll,
    listener: TcpListener,
    /// By descriptor, which is also the token.
    connections: Vec<Option<Connection>>,
    responses: Responses,
    buffer: Vec<u8>,
}

impl Server {
    fn new(listener: TcpListener) -> Result<Self> {
        let epoll = Epoll::new()?;
        epoll.add(listener.as_fd(), token(&listener), READABLE)?;
        Ok(Self {
            epoll,
            listener,
            connections: Vec::new(),
            responses: Responses::default(),
            buffer: vec![0; HEAD_BYTES_MAX],
        })
    }

    fn run(&mut self) -> Result<()> {
        let mut room = sys::event_buffer(256);
        while !sys::interrupted() {
            for event in self.epoll.wait(&mut room, Duration::from_secs(3600))? {
                if event.u64 == token(&self.listener) {
                    self.accept()?;
                } else if let Ok(index) = usize::try_from(event.u64) {
                    self.on_ready(index);
                }
            }
        }
        Ok(())
    }

    fn accept(&mut self) -> Result<()> {
        let stream = match self.listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error).context("accept"),
        };
        stream.set_nonblocking(true)?;
        self.epoll.add(stream.as_fd(), token(&stream), READABLE)?;
        let index = usize::try_from(token(&stream))?;
        if self.connections.len() <= index {
            self.connections.resize_with(index + 1, || None);
        }
        self.connections[index] = Some(Connection::new(stream));
        Ok(())
    }

    fn on_ready(&mut self, index: usize) {
        let Some(connection) = self.connections.get_mut(index).and_then(Option::as_mut) else {
            return;
        };
        // The peer's errors are the peer's to count: here they only end the connection.
        if !matches!(
            connection.proceed(&mut self.buffer, &mut self.responses, &self.epoll),
            Ok(Keep::Open)
        ) {
            self.connections[index] = None;
        }
    }
}

fn token(socket: &impl AsRawFd) -> u64 {
    u64::from(socket.as_raw_fd().cast_unsigned())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    Open,
    Closed,
}

struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    /// What did not fit into the socket, and from where on.
    output: Option<(Rc<[u8]>, usize)>,
    close: bool,
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            input: Vec::new(),
            output: None,
            close: false,
        }
    }

    fn proceed(&mut self, buffer: &mut [u8], responses: &mut Responses, epoll: &Epoll) -> io::Result<Keep> {
        let was_blocked = self.output.is_some();
        if was_blocked {
            self.flush()?;
        } else if self.fill(buffer)? == Keep::Closed {
            return Ok(Keep::Closed);
        }
        while self.output.is_none() && !self.close {
            let Some(end) = memmem::find(&self.input, b"\r\n\r\n") else {
                break;
            };
            let answer = responses.answer(&self.input[..end]);
            self.input.drain(..end + 4);
            let Some((response, close)) = answer else {
                break;
            };
            self.close = close;
            self.output = Some((response, 0));
            self.flush()?;
        }
        if self.output.is_some() != was_blocked {
            let interest = if was_blocked { READABLE } else { WRITABLE };
            epoll.modify(self.stream.as_fd(), token(&self.stream), interest)?;
        }
        let finished = self.close && self.output.is_none();
        Ok(if finished { Keep::Closed } else { Keep::Open })
    }

    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<Keep> {
        match self.stream.read(buffer) {
            Ok(0) => Ok(Keep::Closed),
            Ok(count) if self.input.len() + count > HEAD_BYTES_MAX => Ok(Keep::Closed),
            Ok(count) => {
                self.input.extend_from_slice(&buffer[..count]);
                Ok(Keep::Open)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Keep::Open),
            Err(error) => Err(error),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        while let Some((response, written)) = &mut self.output {
            match self.stream.write(&response[*written..]) {
                Ok(count) => *written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            if *written == response.len() {
                self.output = None;
            }
        }
        Ok(())
    }
}

/// Rendered responses, made when they are first asked for.
#[derive(Default)]
struct Responses {
    made: HashMap<(usize, &'static str, bool), Rc<[u8]>>,
    asked: u64,
}

impl Responses {
    /// The response to a request head, and whether the connection ends after it; `None` when there is to be none.
    fn answer(&mut self, head: &[u8]) -> Option<(Rc<[u8]>, bool)> {
        let close = memmem::find(head, b"onnection: close").is_some();
        let path = head.split(|&byte| byte == b' ').nth(1).unwrap_or_default();
        if path == b"/count" {
            let count = self.asked.to_string();
            return Some((render("200 OK", PASSED, count.as_bytes(), close), close));
        }
        self.asked += 1;
        if path.starts_with(b"/hold/") {
            return None;
        }
        let (sized, fields) = match (path.strip_prefix(b"/pass"), path.strip_prefix(b"/tagged")) {
            (Some(rest), _) => (rest, PASSED),
            (_, Some(rest)) => (rest, TAGGED),
            (None, None) => (path, STORED),
        };
        let Some(size) = body_length(sized).filter(|&size| size <= BODY_BYTES_MAX) else {
            return Some((render("404 Not Found", PASSED, b"no such size\n", true), true));
        };
        Some((self.sized(size, fields, close), close))
    }

    fn sized(&mut self, size: usize, fields: &'static str, close: bool) -> Rc<[u8]> {
        let key = (size, fields, close);
        if let Some(response) = self.made.get(&key) {
            return Rc::clone(response);
        }
        let response = render("200 OK", fields, &vec![b'x'; size], close);
        if self.made.len() < RESPONSES_MAX {
            self.made.insert(key, Rc::clone(&response));
        }
        response
    }
}

/// The length that a path stands for: `/N`, `/N/KEY`, `/mix/KEY`.
fn body_length(path: &[u8]) -> Option<usize> {
    let mut parts = str::from_utf8(path).ok()?.strip_prefix('/')?.splitn(2, '/');
    match (parts.next()?, parts.next()) {
        ("mix", key) => usize::try_from(mixed_length(key?.parse().ok()?)).ok(),
        (length, _) => length.parse().ok(),
    }
}

fn render(status: &str, fields: &str, body: &[u8], close: bool) -> Rc<[u8]> {
    let connection = if close { "Connection: close\r\n" } else { "" };
    let mut response = format!(
        "HTTP/1.1 {status}\r\nDate: {}\r\nContent-Type: application/octet-stream\r\n\
         {fields}{connection}Content-Length: {}\r\n\r\n",
        httpdate::fmt_http_date(clock::wall()),
        body.len()
    )
    .into_bytes();
    response.extend_from_slice(body);
    response.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_chooses_size_and_cacheability() {
        for (head, status, control, length, close) in [
            ("GET /10 HTTP/1.1\r\nHost: a", "200 OK", "max-age=3600", 10, false),
            (
                "GET /pass/0 HTTP/1.1\r\nConnection: close",
                "200 OK",
                "no-store",
                0,
                true,
            ),
            ("GET /10/key HTTP/1.1", "200 OK", "max-age=3600", 10, false),
            (
                "GET /tagged/10 HTTP/1.1",
                "200 OK",
                "max-age=3600\r\nETag: \"bench\"",
                10,
                false,
            ),
            ("GET /pass/10/key HTTP/1.1", "200 OK", "no-store", 10, false),
            ("GET /mix/ HTTP/1.1", "404 Not Found", "no-store", 13, true),
            ("GET /x HTTP/1.1", "404 Not Found", "no-store", 13, true),
            ("GET /99999999999 HTTP/1.1", "404 Not Found", "no-store", 13, true),
            ("", "404 Not Found", "no-store", 13, true),
        ] {
            let (response, closes) = Responses::default().answer(head.as_bytes()).unwrap();
            let text = str::from_utf8(&response).unwrap();
            let (fields, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(
                fields.starts_with(&format!("HTTP/1.1 {status}\r\n")),
                "{head}: {fields}"
            );
            assert!(
                fields.contains(&format!("Cache-Control: {control}\r\n")),
                "{head}: {fields}"
            );
            assert!(
                fields.ends_with(&format!("Content-Length: {length}")),
                "{head}: {fields}"
            );
            assert_eq!((body.len(), closes), (length, close), "{head}");
            assert_eq!(fields.contains("Connection: close"), close, "{head}");
        }
    }

    #[test]
    fn the_count_does_not_count_itself() {
        let mut responses = Responses::default();
        for head in [
            "GET /1 HTTP/1.1",
            "GET /count HTTP/1.1",
            "GET /pass/1 HTTP/1.1",
            "GET /hold/1 HTTP/1.1",
        ] {
            let is_answered = responses.answer(head.as_bytes()).is_some();
            assert_eq!(is_answered, !head.contains("/hold/"));
        }
        let (response, _) = responses.answer(b"GET /count HTTP/1.1").unwrap();
        assert!(response.ends_with(b"\r\n\r\n3"));
    }

    #[test]
    fn a_mixed_length_is_the_key_s() {
        let (response, _) = Responses::default().answer(b"GET /mix/17 HTTP/1.1\r\nHost: a").unwrap();
        let head = memmem::find(&response, b"\r\n\r\n").unwrap() + 4;
        assert_eq!((response.len() - head) as u64, mixed_length(17));
    }
}
