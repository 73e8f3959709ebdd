//! A body that is compressed while it comes.
//!
//! Bounded: one piece of content is taken in at a time, and what came out of it goes on before the next. When the origin
//! has nothing more for the moment, what was taken in is flushed, so that clients of a slow origin see all that it said.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use common::http::body::{Body, BodyError};
use common::telemetry::metrics::Counter;
use common::worker::Worker;
use http::HeaderMap;
use http_body::Frame;

use super::Place;
use super::encoder::Encoder;

/// Bytes that are compressed before anybody else on the worker gets a turn: a third of a millisecond or so.
const TURN: usize = 16 * 1024;

/// ```text
/// Taking ──▶ Ending(trailers) ──▶ Ended
/// ```
pub(super) struct Compressed {
    inner: Body,
    /// `None` once it has been finished.
    encoder: Option<Encoder>,
    /// Content that came and was not taken in yet.
    input: Bytes,
    /// Whether something was taken in and not flushed.
    is_dirty: bool,
    trailers: Option<HeaderMap>,
    /// Held while it is being compressed.
    _place: Place,
    worker: Arc<Worker>,
}

impl Compressed {
    pub(super) fn new(inner: Body, encoder: Encoder, place: Place, worker: Arc<Worker>) -> Self {
        Self {
            inner,
            encoder: Some(encoder),
            input: Bytes::new(),
            is_dirty: false,
            trailers: None,
            _place: place,
            worker,
        }
    }

    fn out(&self, bytes: Bytes) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let count = bytes.len() as u64;
        self.worker.metrics.add(Counter::CompressBytesOut, count);
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    /// Takes one turn's worth of input in; gives what came out of it.
    fn take_turn(&mut self) -> Result<Bytes, BodyError> {
        let Some(encoder) = &mut self.encoder else {
            return Ok(Bytes::new());
        };
        let piece = self.input.split_to(self.input.len().min(TURN));
        encoder.write(&piece)?;
        self.is_dirty = true;
        self.worker.metrics.add(Counter::CompressBytesIn, piece.len() as u64);
        Ok(encoder.take())
    }

    /// What the origin has sent so far, let out.
    fn flushed(&mut self) -> Result<Bytes, BodyError> {
        match &mut self.encoder {
            Some(encoder) if self.is_dirty => {
                self.is_dirty = false;
                encoder.flush()?;
                Ok(encoder.take())
            }
            _ => Ok(Bytes::new()),
        }
    }
}

impl http_body::Body for Compressed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if this.encoder.is_none() {
            return Poll::Ready(this.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
        }
        if !this.input.has_remaining() {
            match Pin::new(&mut this.inner).poll_frame(cx) {
                Poll::Pending => {
                    let flushed = this.flushed()?;
                    return if flushed.is_empty() {
                        Poll::Pending
                    } else {
                        this.out(flushed)
                    };
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => this.input = data,
                    Err(frame) => {
                        this.trailers = frame.into_trailers().ok();
                        return this.finish();
                    }
                },
                Poll::Ready(None) => return this.finish(),
            }
        }
        let out = this.take_turn()?;
        if out.is_empty() {
            // Nothing came out of it yet: the next turn comes after everybody else's.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        this.out(out)
    }
}

impl Compressed {
    fn finish(&mut self) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let last = self.encoder.take().map(Encoder::finish);
        match last {
            Some(Ok(bytes)) => self.out(bytes),
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            None => Poll::Ready(None),
        }
    }
}

/// A body that could not be compressed.
pub(super) struct Failed(pub(super) BodyError);

impl http_body::Body for Failed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(Some(Err(self.0)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io::Read as _;

    use common::telemetry::access_log::AccessLog;
    use common::time::Clock;
    use config::traffic::Coding;

    use super::*;

    /// Pieces, each after a pause in which nothing is there.
    struct Slow(VecDeque<Option<Bytes>>);

    impl http_body::Body for Slow {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            match self.0.pop_front() {
                Some(Some(piece)) => Poll::Ready(Some(Ok(Frame::data(piece)))),
                Some(None) => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                None => Poll::Ready(None),
            }
        }
    }

    fn compressed(coding: Coding, pieces: Vec<Option<Bytes>>) -> Body {
        let encoder = Encoder::new(coding, 3).unwrap();
        let worker = Worker::new(0, Clock::System, AccessLog::default());
        let inner = Body::stream(Slow(pieces.into()));
        Body::stream(Compressed::new(inner, encoder, Place(Arc::default()), worker))
    }

    fn decoded(coding: Coding, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        // What was flushed can be decoded although the end is missing.
        let read = match coding {
            Coding::Zstd => zstd::stream::read::Decoder::new(bytes).unwrap().read_to_end(&mut out),
            Coding::Brotli => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut out),
            Coding::Gzip => flate2::read::GzDecoder::new(bytes).read_to_end(&mut out),
        };
        drop(read);
        out
    }

    const ALL: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];

    #[tokio::test]
    async fn content_of_any_size_comes_out_as_it_went_in() {
        let line = b"All work and no play makes Jack a dull boy. 0123456789\n";
        for coding in ALL {
            for times in [1, 100, 20_000] {
                let content = line.repeat(times);
                let pieces = content.chunks(70_000).map(|piece| Some(Bytes::copy_from_slice(piece)));
                let body = compressed(coding, pieces.collect());
                let bytes = body.collect(usize::MAX).await.unwrap();
                assert!(
                    bytes.len() < content.len() / 10 + 100,
                    "{coding:?} {times}: {}",
                    bytes.len()
                );
                assert!(decoded(coding, &bytes) == content, "{coding:?} {times}");
            }
        }
    }

    #[tokio::test]
    async fn what_a_slow_origin_has_said_can_be_read_before_it_goes_on() {
        for coding in ALL {
            let (first, second) = (Bytes::from("first line\n"), Bytes::from("second line\n"));
            let mut body = compressed(coding, vec![Some(first), None, Some(second)]);
            let mut so_far = Vec::new();
            while decoded(coding, &so_far) != b"first line\n" {
                let frame = body.frame().await.expect("not its end").unwrap();
                so_far.extend_from_slice(&frame.into_data().unwrap());
            }
            so_far.extend_from_slice(&body.collect(1000).await.unwrap());
            assert_eq!(decoded(coding, &so_far), b"first line\nsecond line\n", "{coding:?}");
        }
    }
}
