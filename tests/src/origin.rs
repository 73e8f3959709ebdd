//! A scripted origin: accepts, keeps what it was sent, and answers by a script, on plain threads.
//!
//! One thread accepts, one serves each connection; all end when the [`Origin`] is dropped.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use parking_lot::Mutex;

use crate::message::{Content, Head, Request};
use crate::script::{Script, Step};
use crate::wait::{eventually, nap};
use crate::wire::{Framing, Socket, Stop, Wire};

/// A running origin.
pub struct Origin {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    behaviour: Behaviour,
    requests: Mutex<Vec<Request>>,
    connections: AtomicUsize,
    open: AtomicUsize,
    bytes_sent: AtomicU64,
    sockets: Mutex<Vec<Weak<Socket>>>,
    stopping: AtomicBool,
}

type Handler<T> = Box<dyn Fn(T) -> Script + Send + Sync>;

enum Behaviour {
    /// Reads whole requests, then follows the handler's script.
    Whole(Handler<Request>),
    /// Reads heads only; the script may read the body.
    AtHead(Handler<Request>),
    /// Reads nothing by itself; the script is told the number of the connection.
    AtAccept(Handler<usize>),
}

impl Origin {
    /// Answers each whole request; bodies are read first, and `100-continue` is given where it is expected.
    pub fn start(handler: impl Fn(&Request) -> Script + Send + Sync + 'static) -> Self {
        Self::run(
            "127.0.0.1:0",
            Behaviour::Whole(Box::new(move |request| handler(&request))),
        )
    }

    /// Answers each request as soon as its head is there.
    pub fn at_head(handler: impl Fn(&Request) -> Script + Send + Sync + 'static) -> Self {
        Self::run(
            "127.0.0.1:0",
            Behaviour::AtHead(Box::new(move |request| handler(&request))),
        )
    }

    /// Follows a script on each connection without reading anything.
    pub fn at_accept(handler: impl Fn(usize) -> Script + Send + Sync + 'static) -> Self {
        Self::run("127.0.0.1:0", Behaviour::AtAccept(Box::new(handler)))
    }

    /// Answers every request with a 200 and this text, not to be stored.
    pub fn saying(text: &'static str) -> Self {
        Self::start(move |_| Script::ok(text))
    }

    fn run(address: &str, behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            behaviour,
            requests: Mutex::default(),
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            bytes_sent: AtomicU64::new(0),
            sockets: Mutex::default(),
            stopping: AtomicBool::new(false),
        });
        let for_thread = Arc::clone(&shared);
        let acceptor = std::thread::spawn(move || accept(&listener, &for_thread));
        Self {
            address,
            shared,
            acceptor: Some(acceptor),
        }
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// All requests that were received so far, those in progress too, in the order of their heads.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().clone()
    }

    /// How many requests for `target` were received.
    pub fn count(&self, target: &str) -> usize {
        self.shared
            .requests
            .lock()
            .iter()
            .filter(|request| request.target() == target)
            .count()
    }

    /// The last request that was received, waiting for the first.
    ///
    /// # Panics
    /// When none comes.
    #[track_caller]
    pub fn last_request(&self) -> Request {
        eventually("the origin has a request", || !self.shared.requests.lock().is_empty());
        self.shared.requests.lock().last().unwrap().clone()
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Connections open now.
    pub fn open_connections(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// Bytes that [`Script::repeat`] and [`Script::forever`] have handed to the kernel.
    pub fn bytes_sent(&self) -> u64 {
        self.shared.bytes_sent.load(Ordering::SeqCst)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        for socket in self.shared.sockets.lock().iter().filter_map(Weak::upgrade) {
            socket.shut(Shutdown::Both);
        }
        if let Some(acceptor) = self.acceptor.take() {
            drop(acceptor.join());
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    while let Ok((tcp, _)) = listener.accept() {
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        let Ok(wire) = Wire::new(Socket::Tcp(tcp)) else {
            continue;
        };
        shared.sockets.lock().push(Arc::downgrade(wire.socket()));
        let number = shared.connections.fetch_add(1, Ordering::SeqCst);
        shared.open.fetch_add(1, Ordering::SeqCst);
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            let mut connection = Connection {
                wire,
                number,
                shared: &shared,
                current: None,
            };
            connection.serve().ok();
            drop(connection);
            shared.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

struct Connection<'a> {
    wire: Wire,
    number: usize,
    shared: &'a Shared,
    /// Index of the request being answered.
    current: Option<usize>,
}

impl Connection<'_> {
    /// Serves until the connection ends, by either side.
    fn serve(&mut self) -> Result<(), Stop> {
        if let Behaviour::AtAccept(handler) = &self.shared.behaviour {
            return self.follow(&handler(self.number));
        }
        loop {
            let request = self.read_request_head()?;
            let script = match &self.shared.behaviour {
                Behaviour::Whole(handler) => {
                    if request
                        .field("expect")
                        .is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
                    {
                        self.send(b"HTTP/1.1 100 Continue\r\n\r\n")?;
                    }
                    handler(self.read_body()?)
                }
                Behaviour::AtHead(handler) => handler(request),
                Behaviour::AtAccept(_) => return Ok(()),
            };
            self.follow(&script)?;
            self.read_body()?;
        }
    }

    fn read_request_head(&mut self) -> Result<Request, Stop> {
        let raw = self.wire.read_head()?;
        let request = Request {
            head: Head::parse(&raw),
            content: Content::default(),
            end: None,
            connection: self.number,
        };
        let mut requests = self.shared.requests.lock();
        self.current = Some(requests.len());
        requests.push(request.clone());
        Ok(request)
    }

    /// Reads the body of the current request, unless that was done; the whole request as it is now known.
    fn read_body(&mut self) -> Result<Request, Stop> {
        let Some(index) = self.current else {
            return Err(Stop::End);
        };
        let mut request = self.shared.requests.lock().get(index).cloned().ok_or(Stop::End)?;
        if request.end.is_none() {
            let framing = Framing::of(&request.head.fields, Framing::None);
            request.end = Some(self.wire.read_body(framing, &mut request.content));
            if let Some(known) = self.shared.requests.lock().get_mut(index) {
                *known = request.clone();
            }
        }
        if request.is_whole() {
            Ok(request)
        } else {
            Err(Stop::End)
        }
    }

    fn follow(&mut self, script: &Script) -> Result<(), Stop> {
        script.steps.iter().try_for_each(|step| self.take_step(step))
    }

    fn take_step(&mut self, step: &Step) -> Result<(), Stop> {
        match step {
            Step::Send(bytes) => self.send(bytes),
            Step::Content(_) if self.answers_head() => Ok(()),
            Step::Content(bytes) => self.send(bytes),
            Step::Drip(bytes) => bytes.chunks(1).try_for_each(|byte| self.send(byte)),
            Step::Repeat(bytes, times) => (0..*times).try_for_each(|_| self.send_counted(bytes)),
            Step::Forever(bytes, pause) => loop {
                self.send_counted(bytes)?;
                if !pause.is_zero() {
                    nap(*pause);
                }
            },
            Step::ReadBody => self.read_body().map(drop),
            Step::ReadSome(bytes) => {
                while self.wire.unused().len() < *bytes {
                    self.wire.fill()?;
                }
                Ok(())
            }
            Step::Wait(gate) => gate.pass().then_some(()).ok_or(Stop::Silence),
            Step::Open(gate) => {
                gate.open();
                Ok(())
            }
            Step::Echo => loop {
                let came = self.wire.take_all();
                self.send(&came)?;
                match self.wire.fill() {
                    Ok(()) => {}
                    Err(Stop::End) => return Ok(()),
                    Err(stop) => return Err(stop),
                }
            },
            Step::Hold => loop {
                self.wire.fill()?;
            },
            Step::Close => Err(Stop::End),
            Step::Reset => {
                self.wire.reset_on_close();
                Err(Stop::Reset)
            }
        }
    }

    fn answers_head(&self) -> bool {
        let requests = self.shared.requests.lock();
        self.current
            .and_then(|index| requests.get(index))
            .is_some_and(|request| request.method() == "HEAD")
    }

    fn send(&self, bytes: &[u8]) -> Result<(), Stop> {
        self.wire.send(bytes).map_err(|_| Stop::Reset)
    }

    fn send_counted(&self, bytes: &[u8]) -> Result<(), Stop> {
        self.send(bytes)?;
        self.shared.bytes_sent.fetch_add(bytes.len() as u64, Ordering::SeqCst);
        Ok(())
    }
}
