//! An origin that speaks TLS: one thread accepts, one serves each connection; answers HTTP/1 heads, tells what it saw.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::certificates::Made;
use crate::wait::Deadline;

/// A running origin; its threads end with the test.
pub struct TlsOrigin {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

/// What its handshakes were like.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Names that were asked for; empty where none was.
    pub names: Vec<String>,
    /// Protocols that were agreed on.
    pub protocols: Vec<String>,
    /// Connections that resumed a session.
    pub resumed: usize,
    /// Certificates that clients showed.
    pub clients: Vec<Vec<u8>>,
    /// Heads of requests.
    pub heads: Vec<String>,
}

/// What a [`TlsOrigin`] is like.
pub struct Kind<'a> {
    /// Its certificate.
    pub certificate: &'a Made,
    /// Where set, clients must show a certificate from here.
    pub clients: Option<&'a Made>,
    /// What it speaks, by ALPN.
    pub protocols: &'a [&'a str],
    /// Its answer to each request.
    pub answer: &'a str,
    /// Closes after each answer: with or without telling TLS so.
    pub close: Close,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// Not by the origin.
    Never,
    /// With TLS' word for it.
    InOrder,
    /// Without.
    Abruptly,
}

/// A whole answer.
pub const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

impl<'a> Kind<'a> {
    /// Says hello with this certificate.
    pub const fn hello(certificate: &'a Made) -> Self {
        Self {
            certificate,
            clients: None,
            protocols: &["http/1.1"],
            answer: HELLO,
            close: Close::Never,
        }
    }
}

impl TlsOrigin {
    /// Starts one.
    pub fn start(kind: &Kind<'_>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (config, told) = (Arc::new(config(kind)), Arc::clone(&seen));
        let (answer, close) = (kind.answer.to_owned(), kind.close);
        std::thread::spawn(move || {
            while let Ok((socket, _)) = listener.accept() {
                let (config, seen, answer) = (Arc::clone(&config), Arc::clone(&told), answer.clone());
                std::thread::spawn(move || drop(serve(socket, config, &seen, &answer, close)));
            }
        });
        Self { address, seen }
    }

    /// `https://` and where it listens.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The port.
    pub const fn port(&self) -> u16 {
        self.address.port()
    }

    /// What it saw so far.
    pub fn seen(&self) -> Seen {
        self.seen.lock().clone()
    }
}

/// What its handshakes are made with.
pub(crate) fn config(kind: &Kind<'_>) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match kind.clients {
        Some(made) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from(made.der.clone())).unwrap();
            let provider = Arc::new(default_provider());
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
        None => builder.with_no_client_auth(),
    };
    let key = PrivateKeyDer::from_pem_slice(kind.certificate.key().as_bytes()).unwrap();
    let chain = vec![CertificateDer::from(kind.certificate.der.clone())];
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = kind.protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

fn serve(
    socket: TcpStream,
    config: Arc<ServerConfig>,
    seen: &Mutex<Seen>,
    answer: &str,
    close: Close,
) -> std::io::Result<()> {
    socket.set_read_timeout(Some(Deadline::soon().left()))?;
    let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), socket);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    {
        let mut seen = seen.lock();
        seen.names
            .push(stream.conn.server_name().unwrap_or_default().to_owned());
        let protocol = stream.conn.alpn_protocol().unwrap_or_default();
        seen.protocols.push(String::from_utf8(protocol.to_vec()).unwrap());
        seen.resumed += usize::from(stream.conn.handshake_kind() == Some(HandshakeKind::Resumed));
        let client = stream.conn.peer_certificates().and_then(|chain| chain.first());
        seen.clients.extend(client.map(|certificate| certificate.to_vec()));
    }
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if stream.read(&mut byte)? == 0 {
                return Ok(());
            }
            head.push(byte[0]);
        }
        seen.lock().heads.push(String::from_utf8_lossy(&head).into_owned());
        stream.write_all(answer.as_bytes())?;
        match close {
            Close::Never => {}
            Close::InOrder => {
                stream.conn.send_close_notify();
                return stream.flush();
            }
            Close::Abruptly => return stream.flush(),
        }
    }
}
