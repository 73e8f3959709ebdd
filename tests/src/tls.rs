//! A TLS client that looks at what it gets: certificate, version, protocol, resumption.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, NamedGroup, SignatureScheme, StreamOwned,
};

use crate::certificates::Made;
use crate::wait::Deadline;

/// What clients of one configuration share: tickets.
#[derive(Clone)]
pub struct Tls(Arc<ClientConfig>);

/// A TLS connection.
pub struct TlsClient(StreamOwned<ClientConnection, TcpStream>);

impl Tls {
    /// Offers these protocols by ALPN and takes any certificate, for tests compare it themselves.
    pub fn offering(protocols: &[&str]) -> Self {
        Self::with(protocols, rustls::DEFAULT_VERSIONS, None)
    }

    /// Speaks TLS 1.2 only.
    pub fn old() -> Self {
        Self::with(&[], &[&rustls::version::TLS12], None)
    }

    /// Shows this certificate when it is asked for one; offers no protocol.
    pub fn showing(made: &Made) -> Self {
        Self::with(&[], rustls::DEFAULT_VERSIONS, Some(made))
    }

    /// The same, with TLS 1.2.
    pub fn old_showing(made: &Made) -> Self {
        Self::with(&[], &[&rustls::version::TLS12], Some(made))
    }

    fn with(protocols: &[&str], versions: &[&'static rustls::SupportedProtocolVersion], shown: Option<&Made>) -> Self {
        let provider = Arc::new(default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)));
        let mut config = match shown {
            None => config.with_no_client_auth(),
            Some(made) => {
                let key = PrivateKeyDer::from_pem_slice(made.key().as_bytes()).unwrap();
                let chain = vec![CertificateDer::from(made.der.clone())];
                config.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        config.resumption = Resumption::in_memory_sessions(8);
        Self(Arc::new(config))
    }

    /// Connects and asks for `name`.
    ///
    /// # Errors
    /// Why the handshake failed.
    pub fn connect(&self, address: &str, name: &str) -> std::io::Result<TlsClient> {
        self.over(TcpStream::connect(address)?, name)
    }

    /// Asks for `name` on a connection that has begun already.
    ///
    /// # Errors
    /// Why the handshake failed.
    pub fn over(&self, socket: TcpStream, name: &str) -> std::io::Result<TlsClient> {
        socket.set_read_timeout(Some(Deadline::soon().left()))?;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let session = ClientConnection::new(Arc::clone(&self.0), name).unwrap();
        let mut stream = StreamOwned::new(session, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(TlsClient(stream))
    }
}

impl TlsClient {
    /// The certificate that came.
    pub fn certificate(&self) -> &[u8] {
        &self.0.conn.peer_certificates().unwrap()[0]
    }

    /// The protocol that was agreed on.
    pub fn protocol(&self) -> Option<&str> {
        self.0
            .conn
            .alpn_protocol()
            .map(|protocol| std::str::from_utf8(protocol).unwrap())
    }

    /// The group that keys were exchanged in.
    pub fn group(&self) -> NamedGroup {
        self.0.conn.negotiated_key_exchange_group().unwrap().name()
    }

    /// Whether an earlier session was resumed.
    pub fn is_resumed(&self) -> bool {
        self.0.conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Sends a request with `Connection: close` in it and reads to the orderly end of the connection.
    #[track_caller]
    pub fn ask_once(self, request: &str) -> String {
        self.try_ask_once(request).unwrap()
    }

    /// The same where the server may refuse; with TLS 1.3 a client hears of that after its handshake.
    ///
    /// # Errors
    /// The connection's end, or an alert.
    pub fn try_ask_once(mut self, request: &str) -> std::io::Result<String> {
        self.0.write_all(request.as_bytes())?;
        let mut answer = String::new();
        // An end without close_notify would be an error.
        self.0.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Sends this and ends our side of TLS; what came until the peer ended its own, in order.
    #[track_caller]
    pub fn end_with(mut self, last: &str) -> String {
        self.0.write_all(last.as_bytes()).unwrap();
        self.0.conn.send_close_notify();
        self.0.flush().unwrap();
        let mut rest = String::new();
        // An end without close_notify would be an error.
        self.0.read_to_string(&mut rest).unwrap();
        rest
    }

    /// Sends these bytes and reads until what came is enough; what came, and in how many records of TLS.
    #[track_caller]
    pub fn ask_counting(&mut self, bytes: &[u8], is_enough: impl Fn(&[u8]) -> bool) -> (Vec<u8>, usize) {
        let StreamOwned { conn, sock } = &mut self.0;
        conn.writer().write_all(bytes).unwrap();
        while conn.wants_write() {
            conn.write_tls(sock).unwrap();
        }
        let (mut raw, mut plain) = (Vec::new(), Vec::new());
        while !is_enough(&plain) {
            let mut piece = vec![0; 65_536];
            let read = sock.read(&mut piece).unwrap();
            assert!(read > 0, "the connection has ended");
            raw.extend_from_slice(&piece[..read]);
            let mut rest = &piece[..read];
            while !rest.is_empty() {
                conn.read_tls(&mut rest).unwrap();
                let came = conn.process_new_packets().unwrap().plaintext_bytes_to_read();
                let before = plain.len();
                plain.resize(before + came, 0);
                conn.reader().read_exact(&mut plain[before..]).unwrap();
            }
        }
        (plain, records(&raw))
    }

    /// Sends a request and reads until its answer ends with `end`.
    #[track_caller]
    pub fn ask(&mut self, request: &str, end: &str) -> String {
        self.0.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(end.as_bytes()) {
            let mut piece = [0; 4096];
            let read = self.0.read(&mut piece).unwrap();
            assert!(read > 0, "{}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&piece[..read]);
        }
        String::from_utf8(answer).unwrap()
    }
}

/// How many records begin in these bytes (RFC 8446 §5.1).
fn records(mut raw: &[u8]) -> usize {
    let mut count = 0;
    while let [_, _, _, high, low, rest @ ..] = raw {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        raw = rest.get(length..).unwrap_or_default();
        count += 1;
    }
    count
}

#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
