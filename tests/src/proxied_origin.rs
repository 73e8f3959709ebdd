//! An origin whose connections begin with a PROXY header, kept as the bytes that came; then TLS where it speaks that, then
//! HTTP/1.1, where each request is answered with the number of its connection. One thread accepts, one serves each.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::{ServerConnection, StreamOwned};

use crate::certificates::Made;
use crate::tls_origin;
use crate::wait::Deadline;

/// A running origin; its threads end with the test.
pub struct ProxiedOrigin {
    /// Where it listens: `127.0.0.1:port`, or `unix:/path`.
    pub address: String,
    began: Arc<Mutex<Vec<Began>>>,
}

/// How a connection began.
#[derive(Clone, Debug)]
pub struct Began {
    /// The header, as it came.
    pub header: Vec<u8>,
    /// The other end, and our own; `None` on a unix socket.
    pub ends: Option<(SocketAddr, SocketAddr)>,
}

trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

impl ProxiedOrigin {
    /// On loopback.
    pub fn start() -> Self {
        Self::tcp("127.0.0.1:0", None)
    }

    /// On loopback, with TLS after the header.
    pub fn tls(certificate: &Made) -> Self {
        Self::tcp("127.0.0.1:0", Some(certificate))
    }

    /// On a unix socket.
    pub fn unix(path: &Path) -> Self {
        let (listener, began) = (UnixListener::bind(path).unwrap(), Arc::new(Mutex::default()));
        let told = Arc::clone(&began);
        std::thread::spawn(move || {
            while let Ok((socket, _)) = listener.accept() {
                serve_on_thread(Box::new(socket), None, None, &told);
            }
        });
        let address = format!("unix:{}", path.display());
        Self { address, began }
    }

    fn tcp(address: &str, certificate: Option<&Made>) -> Self {
        let (listener, began) = (TcpListener::bind(address).unwrap(), Arc::new(Mutex::default()));
        let address = listener.local_addr().unwrap().to_string();
        let tls = certificate.map(|made| Arc::new(tls_origin::config(&tls_origin::Kind::hello(made))));
        let told = Arc::clone(&began);
        std::thread::spawn(move || {
            while let Ok((socket, peer)) = listener.accept() {
                let ends = patient(&socket).map(|own| (peer, own));
                serve_on_thread(Box::new(socket), ends, tls.clone(), &told);
            }
        });
        Self { address, began }
    }

    /// How its connections began, in the order of their ends of that.
    pub fn began(&self) -> Vec<Began> {
        self.began.lock().clone()
    }

    /// The headers alone.
    pub fn headers(&self) -> Vec<Vec<u8>> {
        self.began().into_iter().map(|began| began.header).collect()
    }
}

fn patient(socket: &TcpStream) -> Option<SocketAddr> {
    socket.set_read_timeout(Some(Deadline::soon().left())).ok()?;
    socket.local_addr().ok()
}

fn serve_on_thread(
    mut socket: Box<dyn Stream>,
    ends: Option<(SocketAddr, SocketAddr)>,
    tls: Option<Arc<rustls::ServerConfig>>,
    told: &Arc<Mutex<Vec<Began>>>,
) {
    let told = Arc::clone(told);
    std::thread::spawn(move || -> std::io::Result<()> {
        let header = read_header(&mut socket)?;
        let number = {
            let mut told = told.lock();
            told.push(Began { header, ends });
            told.len()
        };
        match tls {
            Some(config) => serve(StreamOwned::new(ServerConnection::new(config).unwrap(), socket), number),
            None => serve(socket, number),
        }
    });
}

/// Exactly the header's bytes, of either version.
fn read_header(socket: &mut dyn Stream) -> std::io::Result<Vec<u8>> {
    let mut header = vec![0; 12];
    socket.read_exact(&mut header)?;
    if header.starts_with(b"PROXY") {
        while !header.ends_with(b"\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte)?;
            header.push(byte[0]);
        }
        return Ok(header);
    }
    let mut rest = [0; 4];
    socket.read_exact(&mut rest)?;
    let mut addresses = vec![0; usize::from(u16::from_be_bytes([rest[2], rest[3]]))];
    socket.read_exact(&mut addresses)?;
    Ok([header, rest.to_vec(), addresses].concat())
}

fn serve(socket: impl Stream, number: usize) -> std::io::Result<()> {
    let mut socket = BufReader::new(socket);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if socket.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        // Stale at once, and used while it is fetched anew.
        let fields = if head.starts_with("GET /stale") {
            "Cache-Control: max-age=0, stale-while-revalidate=60\r\n"
        } else {
            "Cache-Control: no-store\r\n"
        };
        let text = number.to_string();
        let length = text.len();
        let answer = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {length}\r\n\r\n{text}");
        socket.get_mut().write_all(answer.as_bytes())?;
        socket.get_mut().flush()?;
    }
}
