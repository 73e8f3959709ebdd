//! An HTTP/2 client without TLS that opens tunnels on its streams (extended CONNECT, RFC 8441), made of the h2 crate.
//!
//! It works only while one of its methods runs: between two calls it neither reads nor acknowledges anything.

use std::future::poll_fn;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::ext::Protocol;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Method, Request, StatusCode};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::client::HOST;
use crate::wait::Deadline;

/// One connection.
pub struct Streams {
    runtime: Runtime,
    requests: SendRequest<Bytes>,
}

/// A stream that became a tunnel.
pub struct Tunnel<'a> {
    runtime: &'a Runtime,
    to_server: SendStream<Bytes>,
    from_server: RecvStream,
    /// Read, and not yet taken.
    read: Vec<u8>,
    /// Fields of the answer that opened it.
    pub fields: HeaderMap,
}

/// How the server ended its side.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// In order.
    Whole,
    /// By resetting the stream.
    Reset(Reason),
}

impl Streams {
    /// Connects.
    #[track_caller]
    pub fn connect(address: &str) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let requests = runtime.block_on(async {
            let socket = TcpStream::connect(address).await.unwrap();
            let (requests, connection) = h2::client::handshake(socket).await.unwrap();
            tokio::spawn(connection);
            requests.ready().await.unwrap()
        });
        Self { runtime, requests }
    }

    /// Whether the server has said that it knows extended CONNECT; known when an answer has come.
    pub fn may_connect(&self) -> bool {
        self.requests.is_extended_connect_protocol_enabled()
    }

    /// The status and content of the answer to a GET.
    #[track_caller]
    pub fn get(&mut self, path: &str) -> (u16, String) {
        let request = Request::get(format!("http://{HOST}{path}")).body(()).unwrap();
        let (response, _) = self.requests.send_request(request, true).unwrap();
        self.runtime.block_on(soon(async {
            let (head, mut stream) = response.await.unwrap().into_parts();
            let mut content = Vec::new();
            while let Some(data) = stream.data().await {
                let data = data.unwrap();
                stream.flow_control().release_capacity(data.len()).unwrap();
                content.extend(data);
            }
            (head.status.as_u16(), String::from_utf8(content).unwrap())
        }))
    }

    /// Asks for a tunnel that speaks `protocol`.
    ///
    /// # Errors
    /// The answer, when it is not one.
    #[track_caller]
    pub fn open(&mut self, path: &str, protocol: &'static str) -> Result<Tunnel<'_>, http::response::Parts> {
        let mut request = Request::new(());
        *request.method_mut() = Method::CONNECT;
        *request.uri_mut() = format!("http://{HOST}{path}").parse().unwrap();
        request.extensions_mut().insert(Protocol::from_static(protocol));
        request
            .headers_mut()
            .insert("sec-websocket-version", "13".parse().unwrap());
        self.ask(request)
    }

    /// Asks by this CONNECT, in whatever form.
    ///
    /// # Errors
    /// The answer, when it is no success.
    #[track_caller]
    pub fn ask(&mut self, request: Request<()>) -> Result<Tunnel<'_>, http::response::Parts> {
        let (response, to_server) = self.requests.send_request(request, false).unwrap();
        let response = self.runtime.block_on(soon(response)).unwrap();
        let (head, from_server) = response.into_parts();
        if head.status != StatusCode::OK {
            return Err(head);
        }
        Ok(Tunnel {
            runtime: &self.runtime,
            to_server,
            from_server,
            read: Vec::new(),
            fields: head.headers,
        })
    }
}

impl Tunnel<'_> {
    /// Sends all of this, however long the server's window takes.
    #[track_caller]
    pub fn send(&mut self, bytes: impl Into<Bytes>) {
        let (runtime, to_server, mut bytes) = (self.runtime, &mut self.to_server, bytes.into());
        runtime.block_on(soon(async {
            while !bytes.is_empty() {
                to_server.reserve_capacity(bytes.len());
                let room = poll_fn(|cx| to_server.poll_capacity(cx)).await.unwrap().unwrap();
                to_server
                    .send_data(bytes.split_to(room.min(bytes.len())), false)
                    .unwrap();
            }
        }));
    }

    /// The next bytes, this many.
    #[track_caller]
    pub fn take(&mut self, bytes: usize) -> String {
        let (runtime, from_server, read) = (self.runtime, &mut self.from_server, &mut self.read);
        runtime.block_on(soon(async {
            while read.len() < bytes {
                let data = from_server.data().await.expect("more to come").unwrap();
                from_server.flow_control().release_capacity(data.len()).unwrap();
                read.extend(data);
            }
        }));
        String::from_utf8(self.read.drain(..bytes).collect()).unwrap()
    }

    /// Says that nothing follows.
    pub fn end(&mut self) {
        self.to_server.send_data(Bytes::new(), true).unwrap();
    }

    /// Breaks it.
    pub fn reset(mut self) {
        self.to_server.send_reset(Reason::CANCEL);
        self.runtime.block_on(tokio::task::yield_now());
    }

    /// Reads until the server has ended its side: how, and what came before.
    #[track_caller]
    pub fn wait_for_end(&mut self) -> (Ended, String) {
        let (runtime, from_server, read) = (self.runtime, &mut self.from_server, &mut self.read);
        let ended = runtime.block_on(soon(async {
            loop {
                match from_server.data().await {
                    None => return Ended::Whole,
                    Some(Err(error)) => return Ended::Reset(error.reason().unwrap()),
                    Some(Ok(data)) => {
                        from_server.flow_control().release_capacity(data.len()).unwrap();
                        read.extend(data);
                    }
                }
            }
        }));
        (ended, String::from_utf8(std::mem::take(read)).unwrap())
    }
}

/// What comes in time.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(Deadline::soon().left(), future).await.expect("in time")
}
