//! A raw client: sends exact bytes, reads responses, knows whether they were whole and how the connection ended.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;

use crate::message::{Head, Response, latin1};
use crate::wire::{Framing, Socket, Stop, Wire};

/// The host that tests ask for when it does not matter which.
pub const HOST: &str = "www.example.com";

/// One client connection.
#[derive(Debug)]
pub struct Client {
    wire: Wire,
}

/// A GET of `path` at [`HOST`], kept alive.
pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
}

/// A request at [`HOST`] with more field lines (each ended by CRLF) and a body that needs no framing of its own.
pub fn request(method: &str, path: &str, lines: &str, body: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: {HOST}\r\n{lines}\r\n{body}")
}

/// A connection of its own for one exchange.
#[track_caller]
pub fn once(address: &str, request: impl AsRef<[u8]>) -> Response {
    let mut client = Client::connect(address);
    client.send(&request);
    client.read_answer_to(&request)
}

impl Client {
    /// Connects to `ip:port`, or to a unix socket at `/path` or `unix:/path`.
    ///
    /// # Panics
    /// When nobody listens there.
    #[track_caller]
    pub fn connect(address: &str) -> Self {
        match Self::try_connect(address) {
            Ok(client) => client,
            Err(error) => panic!("connect to {address}: {error}"),
        }
    }

    /// Connects to `ip:port` from an address of this machine, such as 127.0.0.2: another client to limits.
    ///
    /// # Panics
    /// When nobody listens there, or the address is not this machine's.
    #[track_caller]
    pub fn connect_from(own: [u8; 4], address: &str) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((own, 0)).into()).unwrap();
        let address: SocketAddr = address.parse().unwrap();
        socket.connect(&address.into()).unwrap();
        Self {
            wire: Wire::new(Socket::Tcp(socket.into())).unwrap(),
        }
    }

    /// Connects, or says why not.
    ///
    /// # Errors
    /// The socket's.
    pub fn try_connect(address: &str) -> std::io::Result<Self> {
        let path = address.strip_prefix("unix:").unwrap_or(address);
        let socket = if path.starts_with('/') {
            Socket::Unix(UnixStream::connect(path)?)
        } else {
            Socket::Tcp(TcpStream::connect(address)?)
        };
        Ok(Self {
            wire: Wire::new(socket)?,
        })
    }

    /// Our end and the other one; `None` on a unix socket.
    pub fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        match &**self.wire.socket() {
            Socket::Tcp(tcp) => Some((tcp.local_addr().ok()?, tcp.peer_addr().ok()?)),
            Socket::Unix(_) => None,
        }
    }

    /// The same connection, to be written to while this one reads.
    #[track_caller]
    pub fn writer(&self) -> TcpStream {
        match &**self.wire.socket() {
            Socket::Tcp(tcp) => tcp.try_clone().unwrap(),
            Socket::Unix(_) => panic!("not TCP"),
        }
    }

    /// Sends exactly these bytes. A peer that has hung up meanwhile is no failure: what it answered before is to be read.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        drop(self.wire.send(bytes.as_ref()));
    }

    /// Sends these bytes; whether the peer still took them.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.wire.send(bytes.as_ref()).is_ok()
    }

    /// Sends a GET of `path` and reads the answer.
    #[track_caller]
    pub fn get(&mut self, path: &str) -> Response {
        self.ask(get(path))
    }

    /// Sends one request and reads the answer.
    #[track_caller]
    pub fn ask(&mut self, request: impl AsRef<[u8]>) -> Response {
        self.send(&request);
        self.read_answer_to(&request)
    }

    /// Reads a final response to a request that was no HEAD.
    #[track_caller]
    pub fn read(&mut self) -> Response {
        self.read_answer_to("GET")
    }

    /// Reads a final response, whose framing depends on the method that `request` begins with.
    #[track_caller]
    pub fn read_answer_to(&mut self, request: impl AsRef<[u8]>) -> Response {
        match self.try_read_answer_to(request) {
            Ok(response) => response,
            // Not in a closure: the panic is to name the caller's line.
            Err(stop) => panic!("no response head but {stop:?} after {:?}", latin1(self.wire.unused())),
        }
    }

    /// Reads a final response, or says why there is none.
    ///
    /// # Errors
    /// How the connection ended before a whole head had come.
    pub fn try_read_answer_to(&mut self, request: impl AsRef<[u8]>) -> Result<Response, Stop> {
        let mut interim = Vec::new();
        let mut response = self.try_read_head()?;
        while (100..200).contains(&response.status) && response.status != 101 {
            interim.push(response.status);
            response = self.try_read_head()?;
        }
        response.interim = interim;
        // "Any response to a HEAD request and any response with a 1xx, 204 or 304 status code is always terminated by
        // the first empty line after the header fields" (RFC 9112 §6.3).
        let framing = if request.as_ref().starts_with(b"HEAD ") || matches!(response.status, 101 | 204 | 304) {
            Framing::None
        } else {
            Framing::of(&response.head.fields, Framing::UntilClose)
        };
        response.end = self.wire.read_body(framing, &mut response.content);
        Ok(response)
    }

    /// Reads one head, interim or final, and nothing after it.
    #[track_caller]
    pub fn read_head(&mut self) -> Response {
        match self.try_read_head() {
            Ok(response) => response,
            Err(stop) => panic!("no response head but {stop:?}"),
        }
    }

    fn try_read_head(&mut self) -> Result<Response, Stop> {
        self.wire.read_head().map(|raw| Response::of(Head::parse(&raw)))
    }

    /// Reads until at least `bytes` more have come than were used, and returns all that is there.
    #[track_caller]
    pub fn read_bytes(&mut self, bytes: usize) -> String {
        while self.wire.unused().len() < bytes {
            let result = self.wire.fill();
            assert_eq!(result, Ok(()), "after {:?}", latin1(self.wire.unused()));
        }
        latin1(self.wire.unused())
    }

    /// Reads until at least `bytes` more have come, and uses up all that is there.
    #[track_caller]
    pub fn take_bytes(&mut self, bytes: usize) -> String {
        self.read_bytes(bytes);
        latin1(&self.wire.take_all())
    }

    /// Waits for the end of the connection: how it ended, and what still came before.
    pub fn wait_for_end(&mut self) -> (Stop, String) {
        loop {
            if let Err(stop) = self.wire.fill() {
                return (stop, latin1(self.wire.unused()));
            }
        }
    }

    /// Checks that the server closes, or has closed, without another byte.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        let (stop, rest) = self.wait_for_end();
        assert!(stop != Stop::Silence, "the connection stays open");
        assert_eq!(rest, "", "unexpected bytes before the connection closed");
    }

    /// Ends our side of the stream; the answer may still come.
    pub fn half_close(&mut self) {
        self.wire.end_sending();
    }

    /// Ends the connection with a reset.
    pub fn reset(self) {
        self.wire.reset_on_close();
    }
}
