//! Addresses where connecting fails: refused at once, or swallowed without an answer.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// A port that nobody listens on and that nobody else can be given: connecting is refused.
pub struct RefusingPort(Socket);

impl RefusingPort {
    /// Reserves one.
    pub fn reserve() -> Self {
        Self(bound())
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> String {
        address(&self.0).to_string()
    }
}

/// A listener whose accept queue is full and stays full: the kernel drops further SYNs.
pub struct Blackhole {
    listener: Socket,
    _queued: Vec<Socket>,
}

impl Blackhole {
    /// Fills a queue of the least length that there is.
    ///
    /// # Panics
    /// When the queue takes more than a hundred connections.
    pub fn fill() -> Self {
        let listener = bound();
        listener.listen(0).unwrap();
        let target = address(&listener).into();
        let mut queued = Vec::new();
        loop {
            let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            match client.connect_timeout(&target, Duration::from_millis(200)) {
                Ok(()) => queued.push(client),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => break,
                Err(error) => panic!("filling an accept queue: {error}"),
            }
            assert!(queued.len() < 100, "an accept queue of length 0 does not fill");
        }
        Self {
            listener,
            _queued: queued,
        }
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> String {
        address(&self.listener).to_string()
    }
}

fn bound() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    socket
}

fn address(socket: &Socket) -> SocketAddr {
    socket.local_addr().unwrap().as_socket().unwrap()
}
