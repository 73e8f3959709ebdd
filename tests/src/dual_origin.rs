//! An origin that speaks HTTP/1.1 and HTTP/2 on one port: with TLS what ALPN chose, in plain text what the client begins
//! with. HTTP/2 is the h2 crate's; HTTP/1.1 knows GET and upgrades (not of `/no`), and echoes what comes in a tunnel.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, Request, Response};
use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use crate::certificates::Made;
use crate::{tls_origin, websocket};

/// A running origin; it ends with the value.
pub struct DualOrigin {
    address: SocketAddr,
    connections: Connections,
    _running: oneshot::Sender<()>,
}

/// What was spoken on each connection, in the order of their beginnings.
type Connections = Arc<Mutex<Vec<&'static str>>>;

/// What answers a stream.
pub type Answering = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How HTTP/2 is answered.
#[derive(Clone)]
pub struct Http2 {
    /// Answers one stream.
    pub answer: Arc<dyn Fn(Request<RecvStream>, SendResponse<Bytes>) -> Answering + Send + Sync>,
    /// Requests after which a connection says GOAWAY and ends when they are answered.
    pub requests_max: usize,
}

/// The first bytes of HTTP/2 (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI";

impl Http2 {
    /// Answers each stream so.
    pub fn answering<F>(answer: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self {
            answer: Arc::new(move |request, respond| Box::pin(answer(request, respond))),
            requests_max: usize::MAX,
        }
    }

    /// Answers each stream with a 200, these fields and this text.
    pub fn saying(fields: HeaderMap, text: &'static str) -> Self {
        Self::answering(move |_, mut respond| {
            let mut response = Response::new(());
            response.headers_mut().clone_from(&fields);
            async move {
                if let Ok(mut stream) = respond.send_response(response, false) {
                    drop(stream.send_data(text.into(), true));
                }
            }
        })
    }
}

impl DualOrigin {
    /// Speaks plain text: what begins with the preface of HTTP/2 is HTTP/2.
    pub fn plain(http2: Http2) -> Self {
        Self::start(None, http2)
    }

    /// Speaks TLS with this certificate, and chooses one of these protocols, best first; of none it knows HTTP/1.1.
    pub fn tls(certificate: &Made, protocols: &[&str], http2: Http2) -> Self {
        let config = tls_origin::config(&tls_origin::Kind {
            protocols,
            ..tls_origin::Kind::hello(certificate)
        });
        Self::start(Some(TlsAcceptor::from(Arc::new(config))), http2)
    }

    fn start(tls: Option<TlsAcceptor>, http2: Http2) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Connections::default();
        let (running, stopped) = oneshot::channel::<()>();
        let told = Arc::clone(&connections);
        std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_all().build().unwrap().block_on(async {
                tokio::select! {
                    () = accept(listener, tls, http2, told) => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            address,
            connections,
            _running: running,
        }
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// `https://` and where it listens.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// What was spoken on each connection so far: `h2` or `http/1.1`.
    pub fn connections(&self) -> Vec<&'static str> {
        self.connections.lock().clone()
    }
}

async fn accept(listener: std::net::TcpListener, tls: Option<TlsAcceptor>, http2: Http2, told: Connections) {
    let listener = TcpListener::from_std(listener).unwrap();
    while let Ok((socket, _)) = listener.accept().await {
        let (tls, http2, told) = (tls.clone(), http2.clone(), Arc::clone(&told));
        tokio::spawn(async move {
            let Some(tls) = tls else {
                let is_http2 = begins_http2(&socket).await;
                return serve(socket, is_http2, http2, &told).await;
            };
            if let Ok(stream) = tls.accept(socket).await {
                let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                serve(stream, is_http2, http2, &told).await;
            }
        });
    }
}

async fn begins_http2(socket: &TcpStream) -> bool {
    let mut first = [0; PREFACE.len()];
    while socket
        .peek(&mut first)
        .await
        .is_ok_and(|there| (1..PREFACE.len()).contains(&there))
    {
        tokio::task::yield_now().await;
    }
    first == *PREFACE
}

async fn serve<S>(socket: S, is_http2: bool, http2: Http2, told: &Connections)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    told.lock().push(if is_http2 { "h2" } else { "http/1.1" });
    if is_http2 {
        serve_http2(socket, http2).await;
    } else {
        // Whoever hangs up in between ends the connection, and nothing else.
        serve_http1(socket).await.ok();
    }
}

async fn serve_http2<S: AsyncRead + AsyncWrite + Unpin>(socket: S, http2: Http2) {
    let Ok(mut connection) = h2::server::handshake(socket).await else {
        return;
    };
    let mut requests = 0;
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn((http2.answer)(request, respond));
        requests += 1;
        if requests == http2.requests_max {
            connection.graceful_shutdown();
        }
    }
}

/// What agrees to the key in a head.
fn accept_of(head: &str) -> String {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    let key = lines.find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"));
    websocket::accept(key.map_or("", |(_, key)| key))
}

async fn serve_http1<S: AsyncRead + AsyncWrite + Unpin>(socket: S) -> std::io::Result<()> {
    let mut socket = BufReader::new(socket);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if socket.read_line(&mut head).await? == 0 {
                return Ok(());
            }
        }
        let asks = head.to_ascii_lowercase().contains("\r\nupgrade: websocket\r\n");
        if !asks || head.starts_with("GET /no ") {
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhttp/1.1";
            socket.get_mut().write_all(answer).await?;
            continue;
        }
        let switched = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n\r\n",
            accept_of(&head)
        );
        socket.get_mut().write_all(switched.as_bytes()).await?;
        loop {
            let came = socket.fill_buf().await?.to_vec();
            if came.is_empty() {
                return socket.get_mut().shutdown().await;
            }
            socket.consume(came.len());
            socket.get_mut().write_all(&came).await?;
        }
    }
}
