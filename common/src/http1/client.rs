//! One exchange with a server. Stand-in for the real client, which replaces it at merge: Content-Length only.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http_body::Frame;

use crate::backend::settings::ExchangeLimits;
use crate::http::body::{Body, BodyError};
use crate::http::origin_error::OriginError;
use crate::net::stream::Stream;

/// An idle connection to a server, ready for one exchange.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
}

/// Where a connection goes after its exchange.
pub trait Home: Send + 'static {
    /// Takes it; it may be used again.
    fn take_back(self, connection: Connection);
}

/// Why an exchange gave no response.
#[derive(Debug)]
pub struct Failure {
    /// In RFC 9209's words.
    pub error: OriginError,
    /// The request body, given back when not one byte of it was taken.
    pub body: Option<Body>,
    /// A byte of a response had come.
    pub answered: bool,
    /// A byte of the request had gone out.
    pub sent: bool,
}

impl Connection {
    /// A fresh connection.
    pub fn new(stream: Stream) -> Self {
        Self { stream }
    }

    /// Its socket.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// False when the peer has closed or sent something unasked.
    pub fn is_alive(&self) -> bool {
        let mut byte = BytesMut::with_capacity(1);
        matches!(self.stream.try_read_buf(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Registered with the reactor of the calling worker.
    ///
    /// # Errors
    /// The reactor's.
    pub fn rehome(self) -> io::Result<Self> {
        self.stream.rehome().map(Self::new)
    }

    /// Sends a request, waits for the final response head; the body streams from the returned response.
    ///
    /// # Errors
    /// Why there is no response.
    pub async fn exchange<H: Home>(
        self,
        head: &http::request::Parts,
        body: Body,
        limits: &ExchangeLimits,
        home: H,
    ) -> Result<http::Response<Body>, Failure> {
        let mut fail = Failure {
            error: OriginError::ConnectionTerminated,
            body: None,
            answered: false,
            sent: false,
        };
        let length = body.len().unwrap_or(0);
        let mut out = BytesMut::from(
            format!(
                "{} {} HTTP/1.1\r\nhost: t\r\ncontent-length: {length}\r\n\r\n",
                head.method,
                head.uri.path()
            )
            .as_str(),
        );
        if self.write(&mut out, &mut fail.sent).await.is_err() {
            fail.body = Some(body);
            return Err(fail);
        }
        if length > 0 {
            let mut content = match body.collect(1 << 20).await {
                Ok(content) => BytesMut::from(content),
                Err(_) => return Err(fail),
            };
            if self.write(&mut content, &mut fail.sent).await.is_err() {
                return Err(fail);
            }
        } else {
            fail.body = Some(body);
        }
        let mut buf = BytesMut::with_capacity(4096);
        match tokio::time::timeout(limits.response_timeout, self.head(&mut buf)).await {
            Err(_) => {
                fail.error = OriginError::HttpResponseTimeout;
                Err(fail)
            }
            Ok(Err(error)) => {
                fail.error = error;
                fail.answered = !buf.is_empty();
                Err(fail)
            }
            Ok(Ok((parts, left))) => Ok(self.answer(parts, left, buf.freeze(), home)),
        }
    }

    async fn write(&self, out: &mut BytesMut, sent: &mut bool) -> io::Result<()> {
        while !out.is_empty() {
            let wrote = std::future::poll_fn(|cx| self.stream.poll_write_vectored(cx, &[IoSlice::new(out)])).await?;
            *sent |= wrote > 0;
            out.advance(wrote);
        }
        Ok(())
    }

    async fn head(&self, buf: &mut BytesMut) -> Result<(http::response::Parts, u64), OriginError> {
        loop {
            let mut fields = [httparse::EMPTY_HEADER; 32];
            let mut response = httparse::Response::new(&mut fields);
            if let httparse::Status::Complete(end) = response.parse(buf).map_err(|_| OriginError::HttpProtocolError)? {
                let mut builder = http::Response::builder().status(response.code.unwrap_or(500));
                for field in response.headers.iter() {
                    builder = builder.header(field.name, field.value);
                }
                let (parts, ()) = builder
                    .body(())
                    .map_err(|_| OriginError::HttpProtocolError)?
                    .into_parts();
                let text = parts
                    .headers
                    .get("content-length")
                    .and_then(|value| value.to_str().ok());
                let left = text.and_then(|text| text.parse().ok()).unwrap_or(0);
                buf.advance(end);
                return Ok((parts, left));
            }
            let read = std::future::poll_fn(|cx| self.stream.poll_read_buf(cx, buf)).await;
            if !matches!(read, Ok(1..)) {
                return Err(OriginError::ConnectionTerminated);
            }
        }
    }

    fn answer<H: Home>(self, parts: http::response::Parts, left: u64, buf: Bytes, home: H) -> http::Response<Body> {
        let reusable = parts.headers.get("connection").is_none_or(|value| value != "close");
        let mut content = Content {
            connection: Some(self),
            home: Some(home),
            left,
            buf,
            reusable,
        };
        if left == 0 {
            content.end();
            return http::Response::from_parts(parts, Body::Empty);
        }
        http::Response::from_parts(parts, Body::stream(content))
    }
}

struct Content<H: Home> {
    connection: Option<Connection>,
    home: Option<H>,
    left: u64,
    buf: Bytes,
    reusable: bool,
}

impl<H: Home> Content<H> {
    fn end(&mut self) {
        if let (Some(connection), Some(home), true) = (self.connection.take(), self.home.take(), self.reusable) {
            home.take_back(connection);
        }
    }
}

impl<H: Home> Unpin for Content<H> {}

impl<H: Home> http_body::Body for Content<H> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.buf.is_empty() {
            let Some(connection) = &self.connection else {
                return Poll::Ready(None);
            };
            let mut buf = BytesMut::with_capacity(4096);
            let read = ready!(connection.stream.poll_read_buf(cx, &mut buf));
            if !matches!(read, Ok(1..)) {
                self.connection = None;
                self.home = None;
                return Poll::Ready(Some(Err(OriginError::HttpResponseIncomplete.into())));
            }
            self.buf = buf.freeze();
        }
        let data = std::mem::take(&mut self.buf);
        self.left = self.left.saturating_sub(data.len() as u64);
        if self.left == 0 {
            self.end();
        }
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0 && self.buf.is_empty()
    }
}
