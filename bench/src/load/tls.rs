//! One TLS connection of a client, over a socket that does not block (RFC 8446, by rustls).
//!
//! rustls' unbuffered interface: a read takes as much as the socket has, and records are opened where they lie, so
//! that a large body does not cost the load generator a system call for each few KiB of it.

use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};

use super::Fault;
use super::wire::{Received, Taker};

/// Bytes by which records are longer than what they hold, for one write of ours.
const SEAL_BYTES: usize = 512;

pub(super) struct Tls {
    pub(super) stream: TcpStream,
    session: UnbufferedClientConnection,
    /// What waits for the end of the handshake.
    plain: Vec<u8>,
    /// Records that the socket has not taken yet.
    sealed: Vec<u8>,
    /// The beginning of a record.
    partial: Vec<u8>,
}

impl Tls {
    pub(super) fn new(stream: TcpStream, config: &Arc<ClientConfig>) -> io::Result<Self> {
        let name = ServerName::try_from(crate::certificate::NAME).map_err(io::Error::other)?;
        let session = UnbufferedClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        Ok(Self {
            stream,
            session,
            plain: Vec::new(),
            sealed: Vec::new(),
            partial: Vec::new(),
        })
    }

    /// Sends `bytes`, or keeps them until handshake and socket allow it.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.plain.extend_from_slice(bytes);
        self.proceed(&mut [], &mut |_| Ok(()))?;
        self.flush()
    }

    /// Writes what the socket takes.
    pub(super) fn flush(&mut self) -> Result<(), Fault> {
        while !self.sealed.is_empty() {
            match self.stream.write(&self.sealed) {
                Ok(count) => self.sealed.drain(..count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(Fault::of_io(&error)),
            };
        }
        Ok(())
    }

    /// Reads once, gives what was in the records to `take`, and answers what has to be answered.
    pub(super) fn receive(&mut self, buffer: &mut [u8], take: &mut Taker<'_>) -> Result<Received, Fault> {
        let kept = self.partial.len();
        buffer[..kept].copy_from_slice(&self.partial);
        let (received, count) = Received::read(&mut self.stream, &mut buffer[kept..])?;
        if count > 0 {
            let end = kept + count;
            let used = self.proceed(&mut buffer[..end], take)?;
            self.partial.clear();
            self.partial.extend_from_slice(&buffer[used..end]);
            self.flush()?;
        }
        Ok(received)
    }

    /// As far as the records in `incoming` go; how many bytes of them are done with.
    fn proceed(&mut self, incoming: &mut [u8], take: &mut Taker<'_>) -> Result<usize, Fault> {
        let mut used = 0;
        loop {
            let UnbufferedStatus { discard, state, .. } = self.session.process_tls_records(&mut incoming[used..]);
            used += discard;
            match state.map_err(|_| Fault::Tls)? {
                ConnectionState::ReadTraffic(mut records) => {
                    while let Some(record) = records.next_record() {
                        let record = record.map_err(|_| Fault::Tls)?;
                        used += record.discard;
                        take(record.payload)?;
                    }
                }
                ConnectionState::EncodeTlsData(mut data) => append(&mut self.sealed, SEAL_BYTES, |room| {
                    data.encode(room).map_err(|error| match error {
                        EncodeError::InsufficientSize(size) => Some(size.required_size),
                        EncodeError::AlreadyEncoded => None,
                    })
                })?,
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::WriteTraffic(_) if self.plain.is_empty() => return Ok(used),
                ConnectionState::WriteTraffic(mut traffic) => {
                    let plain = std::mem::take(&mut self.plain);
                    append(&mut self.sealed, plain.len() + SEAL_BYTES, |room| {
                        traffic.encrypt(&plain, room).map_err(|error| match error {
                            EncryptError::InsufficientSize(size) => Some(size.required_size),
                            EncryptError::EncryptExhausted => None,
                        })
                    })?;
                }
                ConnectionState::PeerClosed => {}
                // Handshakes that wait for the peer, and whatever rustls may add.
                _ => return Ok(used),
            }
        }
    }
}

/// Appends what `fill` writes; it says how many bytes that were, or how many it needs.
fn append(
    sealed: &mut Vec<u8>,
    mut room: usize,
    mut fill: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>,
) -> Result<(), Fault> {
    let start = sealed.len();
    loop {
        sealed.resize(start + room, 0);
        match fill(&mut sealed[start..]) {
            Ok(count) => {
                sealed.truncate(start + count);
                return Ok(());
            }
            Err(Some(needed)) if needed > room => room = needed,
            Err(_) => return Err(Fault::Tls),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::thread;

    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::{ServerConfig, ServerConnection, StreamOwned};

    use crate::certificate::{Files, Identity};
    use crate::load::{Generator, Length, Outcome, Pace, Target, Transport};

    /// Bytes of the body: more than a record and than one read of anybody.
    const BODY: usize = 300_000;

    fn server(files: &Files) -> Arc<ServerConfig> {
        let certificate = CertificateDer::from_pem_file(&files.certificate).unwrap();
        let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.unwrap().with_no_client_auth();
        Arc::new(config.with_single_cert(vec![certificate], key).unwrap())
    }

    /// Asks twice a server that answers every request of a connection; `close`: the first one only.
    fn asked_twice(server_has: &Files, client: &Identity, close: bool) -> Outcome {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let config = server(server_has);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let session = ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = StreamOwned::new(session, stream.unwrap());
                let mut room = [0; 1024];
                // A client that does not like the certificate goes away.
                while stream.read(&mut room).is_ok_and(|count| count > 0) {
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n");
                    stream
                        .write_all(&[head.as_bytes(), &vec![b'x'; BODY]].concat())
                        .unwrap();
                    if close {
                        stream.conn.send_close_notify();
                        stream.flush().unwrap();
                        break;
                    }
                }
            }
        });
        let target = Target {
            close,
            length: Length::Of(BODY as u64),
            transport: Transport::Tls(Arc::clone(&client.http1)),
            ..Target::get(address, "/", 0, 1)
        };
        Generator::new(target).unwrap().run(Pace::count(2)).unwrap()
    }

    #[test]
    fn large_answers_come_whole_over_kept_and_new_connections() {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity::make(dir.path()).unwrap();
        for close in [false, true] {
            let outcome = asked_twice(&identity.files, &identity, close);
            assert_eq!(
                (outcome.responses, outcome.fault_words()),
                (2, String::new()),
                "{close}"
            );
        }
    }

    #[test]
    fn another_certificate_is_a_fault() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let identity = Identity::make(dir.path()).unwrap();
        let stranger = Identity::make(other.path()).unwrap();
        let outcome = asked_twice(&stranger.files, &identity, true);
        assert_eq!((outcome.responses, outcome.fault_words().as_str()), (0, "tls 2"));
    }
}
