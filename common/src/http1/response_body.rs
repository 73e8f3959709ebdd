//! A response body read from a server's connection, driving what is left of the request meanwhile.
//!
//! At its end the connection goes home, before the last bytes are handed over; a body that fails closes it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::chunked::{ChunkedReader, Step};
use super::client::{Exchange, ExchangeError, Home, broken_off};
use super::framing::Framing;
use super::io::{BODY_READ, Io};
use crate::backend::settings::ExchangeLimits;
use crate::http::body::{Body, BodyError};
use crate::http::origin_error::OriginError;
use crate::time::mono_now;

/// How a response body's end is found.
enum Reading {
    Length(u64),
    Chunked(ChunkedReader),
    UntilClose,
}

/// A response body that comes from a connection, and drives what is left of the request.
pub(super) struct ResponseBody<H: Home> {
    /// The exchange, until it is over.
    state: Option<(Exchange, H)>,
    reading: Reading,
    may_persist: bool,
    timeout: Duration,
    send_timeout: Duration,
}

impl<H: Home> ResponseBody<H> {
    /// The body of a response whose head was just read by `exchange`.
    ///
    /// # Errors
    /// When what came with the head is no beginning of a body: nothing of the response has gone on yet.
    pub(super) fn begin(
        mut exchange: Exchange,
        framing: Framing,
        may_persist: bool,
        limits: &ExchangeLimits,
        home: H,
    ) -> Result<Body, OriginError> {
        let reading = match framing {
            Framing::None => Reading::Length(0),
            Framing::Length(length) => Reading::Length(length),
            Framing::Chunked => {
                let mut reader = ChunkedReader::default();
                let begun = reader.begin(&mut exchange.io.buf);
                begun.map_err(|_| OriginError::HttpResponseTransferCoding)?;
                Reading::Chunked(reader)
            }
            Framing::UntilClose => Reading::UntilClose,
        };
        let (timeout, send_timeout) = (limits.body_timeout, limits.send_timeout);
        Ok(Body::stream(Self {
            state: Some((exchange, home)),
            reading,
            may_persist,
            timeout,
            send_timeout,
        }))
    }

    /// The body is whole: the connection goes home where it may.
    fn end(&mut self) {
        let Some((exchange, home)) = self.state.take() else {
            return;
        };
        if self.may_persist && !matches!(self.reading, Reading::UntilClose) {
            exchange.go_home(home, mono_now());
        } else {
            home.finished();
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, BodyError>> {
        let Some((exchange, _)) = &mut self.state else {
            return Poll::Ready(Ok(None));
        };
        loop {
            exchange.poll_request(cx).map_err(|error| match error {
                ExchangeError::Client(error) => error,
                ExchangeError::Origin(error) => error.into(),
            })?;
            match decode(&mut self.reading, &mut exchange.io)? {
                Decoded::Frame(frame) => {
                    exchange.deadline.clear();
                    return Poll::Ready(Ok(Some(frame)));
                }
                Decoded::End => return Poll::Ready(Ok(None)),
                Decoded::More => {}
            }
            match exchange.io.poll_fill(cx, BODY_READ) {
                Poll::Ready(Ok(n)) if n > 0 => {}
                // "A response that has neither chunked transfer coding nor Content-Length is complete only if a valid
                // closure alert has been received." (RFC 9112 §9.8)
                Poll::Ready(Ok(_))
                    if matches!(self.reading, Reading::UntilClose) && exchange.io.stream.ended_in_order() =>
                {
                    return Poll::Ready(Ok(None));
                }
                Poll::Ready(Ok(_)) => return Poll::Ready(Err(OriginError::HttpResponseIncomplete.into())),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(broken_off(&error).into())),
                Poll::Pending => {
                    exchange.deadline.start(if exchange.outbox.blocked {
                        self.send_timeout
                    } else {
                        self.timeout
                    });
                    return exchange
                        .deadline
                        .poll(cx)
                        .map(|()| Err(OriginError::ConnectionReadTimeout.into()));
                }
            }
        }
    }
}

enum Decoded {
    Frame(Frame<Bytes>),
    End,
    More,
}

fn decode(reading: &mut Reading, io: &mut Io) -> Result<Decoded, BodyError> {
    match reading {
        Reading::Length(0) => Ok(Decoded::End),
        Reading::Length(_) | Reading::UntilClose if io.buf.is_empty() => Ok(Decoded::More),
        Reading::Length(left) => {
            let take = usize::try_from(*left).unwrap_or(usize::MAX).min(io.buf.len());
            *left -= take as u64;
            Ok(Decoded::Frame(Frame::data(io.buf.split_to(take).freeze())))
        }
        Reading::UntilClose => Ok(Decoded::Frame(Frame::data(io.buf.split().freeze()))),
        Reading::Chunked(reader) => match reader
            .step(&mut io.buf)
            .map_err(|_| OriginError::HttpResponseTransferCoding)?
        {
            Step::Data(data) => Ok(Decoded::Frame(Frame::data(data))),
            Step::Trailers(trailers) => Ok(Decoded::Frame(Frame::trailers(trailers))),
            Step::End => Ok(Decoded::End),
            Step::More => Ok(Decoded::More),
        },
    }
}

impl<H: Home> http_body::Body for ResponseBody<H> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let next = std::task::ready!(this.poll_next(cx));
        Poll::Ready(match next {
            Ok(Some(frame)) => {
                let is_last = match &this.reading {
                    Reading::Length(left) => *left == 0,
                    Reading::Chunked(reader) => reader.is_done(),
                    Reading::UntilClose => false,
                };
                // The last byte is handed over only after the connection went home, so that a client which has it all
                // finds the connection idle.
                if is_last {
                    this.end();
                }
                Some(Ok(frame))
            }
            Ok(None) => {
                this.end();
                None
            }
            Err(error) => {
                if let (Some((_, home)), BodyError::Origin(error)) = (this.state.take(), error) {
                    home.failed(error);
                }
                Some(Err(error))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.state.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.reading {
            Reading::Length(left) => SizeHint::with_exact(*left),
            Reading::Chunked(_) | Reading::UntilClose => SizeHint::default(),
        }
    }
}
