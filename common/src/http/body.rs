//! What a message carries, however it comes: nothing, bytes at hand, or a stream with backpressure.
//!
//! One type for requests and responses, both tiers, and every transport.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

use super::origin_error::OriginError;
use super::tunnel::Tunnel;

/// A stream of data frames and at most one frame of trailers.
pub type BoxBody = Pin<Box<dyn http_body::Body<Data = Bytes, Error = BodyError> + Send>>;

/// The content of a message.
#[derive(Default)]
pub enum Body {
    /// No content.
    #[default]
    Empty,
    /// All of it, at hand.
    Full(Bytes),
    /// All of it, at hand, in pieces shared with the store.
    Chunks(Chunks),
    /// Still to come.
    Stream(BoxBody),
    /// No content: the connection becomes a tunnel (responses with 101 only).
    Tunnel(Box<Tunnel>),
}

/// Pieces of one complete body, shared, and how far they were read.
pub struct Chunks {
    pieces: Arc<[Bytes]>,
    next: usize,
    left: u64,
}

/// Why a body ended before it was whole.
///
/// Who is to blame is part of the type: it decides status, retry and log level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The client closed or reset its connection while sending.
    #[error("the client left before its request body was whole")]
    ClientGone,
    /// The client's chunked coding was malformed (RFC 9112 §7.1).
    #[error("the client's chunked coding is malformed: {0}")]
    ClientMalformed(&'static str),
    /// The client sent nothing for longer than the limit.
    #[error("the client sent no byte of its body in time")]
    ClientTimeout,
    /// The client sent its body more slowly than the limit.
    #[error("the client sent its body too slowly")]
    ClientSlow,
    /// The client's body is larger than the limit.
    #[error("the client's body is larger than the limit")]
    ClientTooLarge,
    /// The server that was asked failed in mid-body.
    #[error(transparent)]
    Origin(#[from] OriginError),
    /// Something of ours ended it.
    #[error("ended by tidegate: {0}")]
    Internal(&'static str),
}

impl Body {
    /// A body that is already streaming.
    pub fn stream(body: impl http_body::Body<Data = Bytes, Error = BodyError> + Send + 'static) -> Self {
        Self::Stream(Box::pin(body))
    }

    /// A body of shared pieces.
    pub fn chunks(pieces: Arc<[Bytes]>) -> Self {
        let left = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self::Chunks(Chunks { pieces, next: 0, left })
    }

    /// The length in bytes, where it is known before the end.
    pub fn len(&self) -> Option<u64> {
        match self {
            Self::Empty | Self::Tunnel(_) => Some(0),
            Self::Full(bytes) => Some(bytes.len() as u64),
            Self::Chunks(chunks) => Some(chunks.left),
            Self::Stream(stream) => stream.size_hint().exact(),
        }
    }

    /// Whether there is nothing (more) to read and no trailers either.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Empty | Self::Tunnel(_) => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Chunks(chunks) => chunks.left == 0,
            Self::Stream(stream) => stream.is_end_stream(),
        }
    }

    /// The next frame; `None` when the body is whole.
    pub async fn frame(&mut self) -> Option<Result<Frame<Bytes>, BodyError>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_frame(cx)).await
    }

    /// Reads all of it into one piece, refusing more than `max` bytes. Trailers are dropped.
    ///
    /// # Errors
    /// The body's own error, or [`BodyError::ClientTooLarge`] past `max`.
    pub async fn collect(mut self, max: usize) -> Result<Bytes, BodyError> {
        let mut whole = Vec::new();
        while let Some(frame) = self.frame().await {
            if let Ok(data) = frame?.into_data() {
                if whole.len() + data.len() > max {
                    return Err(BodyError::ClientTooLarge);
                }
                whole.extend_from_slice(&data);
            }
        }
        Ok(whole.into())
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let data = match &mut *self {
            Self::Empty | Self::Tunnel(_) => None,
            Self::Full(bytes) => Some(std::mem::take(bytes)).filter(|bytes| !bytes.is_empty()),
            Self::Chunks(chunks) => chunks.next(),
            Self::Stream(stream) => {
                let frame = ready!(stream.as_mut().poll_frame(cx));
                if frame.is_none() {
                    *self = Self::Empty;
                }
                return Poll::Ready(frame);
            }
        };
        if data.is_none() {
            *self = Self::Empty;
        }
        Poll::Ready(data.map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Stream(stream) => stream.size_hint(),
            other => SizeHint::with_exact(other.len().unwrap_or(0)),
        }
    }
}

impl Chunks {
    /// Takes the next piece that is not empty.
    #[expect(
        clippy::should_implement_trait,
        reason = "a cursor, not an iterator anybody would chain"
    )]
    pub fn next(&mut self) -> Option<Bytes> {
        while let Some(piece) = self.pieces.get(self.next) {
            self.next += 1;
            if !piece.is_empty() {
                self.left -= piece.len() as u64;
                return Some(piece.clone());
            }
        }
        None
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() {
            Self::Empty
        } else {
            Self::Full(bytes)
        }
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Full(bytes) => write!(f, "Full({} bytes)", bytes.len()),
            Self::Chunks(chunks) => write!(f, "Chunks({} bytes left)", chunks.left),
            Self::Stream(_) => f.write_str("Stream"),
            Self::Tunnel(_) => f.write_str("Tunnel"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_kind_of_body_reads_to_its_end_once() {
        let pieces: Arc<[Bytes]> = Arc::from([Bytes::from("ab"), Bytes::new(), Bytes::from("c")]);
        for (body, expected) in [
            (Body::Empty, ""),
            (Body::from("abc"), "abc"),
            (Body::chunks(Arc::clone(&pieces)), "abc"),
            (Body::stream(Body::chunks(pieces)), "abc"),
        ] {
            assert_eq!(body.len(), Some(expected.len() as u64));
            assert_eq!(body.collect(10).await.unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn collecting_stops_at_its_limit() {
        assert!(matches!(
            Body::from("abc").collect(2).await,
            Err(BodyError::ClientTooLarge)
        ));
    }
}
