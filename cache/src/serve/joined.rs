//! Slices → one body: each is read when the one before it has been, a few are fetched ahead, and none is mixed with another
//! representation's.
//!
//! Backpressure is a poll that is not made: for a client that reads slowly the slice that it reads and those ahead of it are
//! fetched, and no more. A slice that fails, or belongs to something else, ends the body with an error, so that what was
//! sent is not mistaken for all of it.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use common::http::body::{Body, BodyError};
use common::http::origin_error::OriginError;
use common::http1::client::ExchangeError;
use http_body::{Body as _, Frame, SizeHint};
use tokio::task::JoinHandle;

use super::slice::Brought;
use super::sliced::Sliced;
use crate::answer::Window;
use crate::policy::slice::{Piece, Plan, SlicedWhole};

/// The content of a response that is made of slices.
pub(super) struct Joined {
    source: Arc<Source>,
    plan: Plan,
    /// The first slice, which is at hand: its number and content.
    first: Option<(u64, Body)>,
    /// What is read now.
    current: Option<Window>,
    /// What is read next, in order.
    ahead: VecDeque<Ahead>,
    left: u64,
}

/// Where the other slices come from.
pub(super) struct Source {
    pub(super) sliced: Arc<Sliced>,
    /// What all of them have to belong to.
    pub(super) whole: SlicedWhole,
    /// The number of the latest invalidation when the first slice was fetched.
    pub(super) invalidation: u64,
}

/// Something that is read later.
enum Ahead {
    /// What stands before, between and after the parts of a multipart response.
    Text(Bytes),
    /// Bytes of a slice that is at hand.
    Slice(Window),
    /// A slice that is being asked for, and which of its bytes.
    Coming {
        slice: JoinHandle<Result<Body, BodyError>>,
        skip: u64,
        length: u64,
    },
}

impl Joined {
    pub(super) fn new(source: Source, plan: Plan, first: (u64, Body)) -> Self {
        Self {
            source: Arc::new(source),
            left: plan.length(),
            plan,
            first: Some(first),
            current: None,
            ahead: VecDeque::new(),
        }
    }

    /// Asks for what is read next, as far ahead as the rules say.
    fn look_ahead(&mut self) {
        let rules = &self.source.sliced.ask.rules().ranges;
        let wanted = rules.slices_ahead + usize::from(self.current.is_none());
        while self.ahead.len() < wanted
            && let Some(piece) = self.plan.next()
        {
            let ahead = match piece {
                Piece::Text(text) => Ahead::Text(text),
                Piece::Slice { number, skip, length } => match self.at_hand(number) {
                    Some(body) => Ahead::Slice(Window::onto(body, skip, length)),
                    None => Ahead::Coming {
                        slice: tokio::spawn(Arc::clone(&self.source).fetch(number)),
                        skip,
                        length,
                    },
                },
            };
            self.ahead.push_back(ahead);
        }
    }

    fn at_hand(&mut self, number: u64) -> Option<Body> {
        match self.first.take() {
            Some((first, body)) if first == number => return Some(body),
            other => self.first = other,
        }
        let Source { sliced, whole, .. } = &*self.source;
        let hash = sliced.hash_of(number)?;
        Some(sliced.stored(number, hash, Some(whole)).ok()?.body)
    }

    /// The next data, or that there is none.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
        loop {
            self.look_ahead();
            if let Some(current) = &mut self.current {
                match ready!(Pin::new(current).poll_frame(cx)).transpose()? {
                    Some(frame) => return Poll::Ready(Ok(frame.into_data().ok())),
                    None => self.current = None,
                }
                continue;
            }
            if let Some(Ahead::Coming { slice, skip, length }) = self.ahead.front_mut() {
                let brought = ready!(Pin::new(slice).poll(cx));
                let body = brought.unwrap_or(Err(OriginError::ProxyInternalError.into()))?;
                self.current = Some(Window::onto(body, *skip, *length));
                self.ahead.pop_front();
                continue;
            }
            match self.ahead.pop_front() {
                Some(Ahead::Text(text)) => return Poll::Ready(Ok(Some(text))),
                Some(Ahead::Slice(window)) => self.current = Some(window),
                Some(Ahead::Coming { .. }) | None => return Poll::Ready(Ok(None)),
            }
        }
    }
}

impl Source {
    async fn fetch(self: Arc<Self>, number: u64) -> Result<Body, BodyError> {
        let local = &self.sliced.local;
        let error = match self.sliced.slice(number, Some(&self.whole)).await {
            Brought::Slice(part) => return Ok(part.body),
            Brought::Changed => {
                local.refused.count("slice_changed");
                // One of many clients that read the old one finds it out first.
                if local.invalidated.of_slices(self.sliced.hash) <= self.invalidation {
                    local.invalidated.note(self.sliced.hash, true);
                }
                OriginError::HttpResponseIncomplete
            }
            Brought::NotSliceable => OriginError::HttpProtocolError,
            Brought::Answer(answer) => match answer.result {
                Err(ExchangeError::Origin(error)) => error,
                Err(ExchangeError::Client(_)) | Ok(_) => OriginError::HttpResponseIncomplete,
            },
        };
        Err(error.into())
    }
}

impl http_body::Body for Joined {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let data = ready!(self.poll_data(cx));
        if let Ok(Some(data)) = &data {
            self.left = self.left.saturating_sub(data.len() as u64);
        }
        Poll::Ready(data.map(|data| data.map(Frame::data)).transpose())
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
