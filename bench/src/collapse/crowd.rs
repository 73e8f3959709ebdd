//! Many clients that ask for the same thing at once, one request each, on connections made before.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::slow::BODY;
use crate::clock;
use crate::load::whole_length;
use crate::sys::{self, Epoll, PEER_ENDED, READABLE};

/// How long a burst may take.
const LIMIT: Duration = Duration::from_secs(60);

pub(super) struct Crowd {
    epoll: Epoll,
    clients: Vec<Client>,
}

struct Client {
    stream: TcpStream,
    received: Vec<u8>,
    whole: Option<usize>,
    /// When the first bytes of the body came.
    first: Option<Instant>,
    is_over: bool,
}

/// What came of one.
pub(super) struct Burst {
    pub(super) began: Instant,
    /// The last byte to the last client.
    pub(super) ended: Instant,
    /// Clients whose answer was wrong or missing.
    pub(super) wrong: usize,
    /// When each of the others had the first bytes of its body.
    firsts: Vec<Instant>,
}

impl Burst {
    pub(super) fn right(&self) -> usize {
        self.firsts.len()
    }

    /// Clients that had nothing before `moment`.
    pub(super) fn late(&self, moment: Instant) -> usize {
        self.firsts.iter().filter(|first| **first >= moment).count()
    }
}

impl Crowd {
    /// Connects all of them.
    pub(super) fn new(address: SocketAddr, count: usize) -> Result<Self> {
        let epoll = Epoll::new()?;
        let mut clients = Vec::with_capacity(count);
        for token in 0..count {
            let stream = TcpStream::connect(address)?;
            stream.set_nonblocking(true)?;
            epoll.add(stream.as_fd(), token as u64, READABLE | PEER_ENDED)?;
            clients.push(Client {
                stream,
                received: Vec::new(),
                whole: None,
                first: None,
                is_over: false,
            });
        }
        Ok(Self { epoll, clients })
    }

    /// All ask, and all are heard to the end.
    pub(super) fn ask(&mut self, path: &str) -> Result<Burst> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: bench.test\r\n\r\n");
        let began = clock::now();
        for client in &mut self.clients {
            client
                .stream
                .write_all(request.as_bytes())
                .context("a client cannot ask")?;
        }
        let mut room = sys::event_buffer(512);
        let (mut ended, mut over) = (began, 0);
        while over < self.clients.len() && clock::now().duration_since(began) < LIMIT {
            ensure!(!sys::interrupted(), "interrupted");
            for event in self.epoll.wait(&mut room, Duration::from_secs(1))? {
                let client = &mut self.clients[usize::try_from(event.u64)?];
                if !client.is_over && client.hear() {
                    over += 1;
                    ended = clock::now();
                }
            }
        }
        let is_right = |client: &&Client| client.is_over && client.whole == Some(client.received.len());
        let firsts: Vec<Instant> = self
            .clients
            .iter()
            .filter(is_right)
            .filter_map(|client| client.first)
            .collect();
        Ok(Burst {
            began,
            ended,
            wrong: self.clients.len() - firsts.len(),
            firsts,
        })
    }
}

impl Client {
    /// Reads what is there; tells whether that was the end.
    fn hear(&mut self) -> bool {
        let mut room = [0; 16 << 10];
        loop {
            match self.stream.read(&mut room) {
                Ok(count @ 1..) => self.received.extend_from_slice(&room[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Ok(_) | Err(_) => {
                    self.is_over = true;
                    break;
                }
            }
        }
        if self.whole.is_none() {
            self.whole = whole_length(&self.received);
        }
        if let Some(whole) = self.whole {
            if self.received.len() + BODY > whole && self.first.is_none() {
                self.first = Some(clock::now());
            }
            self.is_over |= self.received.len() >= whole;
        }
        self.is_over
    }
}
