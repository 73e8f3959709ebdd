//! A response body → content that many read. A fill belongs to the cache: it goes on when the client that caused it leaves.
//!
//! Bounds: one response may be as large as the rules allow, and all fills together may hold as much as the budget. What
//! outgrows either is no longer stored, only passed through to those who read it already, at their pace.

use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf as _, Bytes, BytesMut};
use common::http::body::{Body, BodyError};
use common::http::origin_error::OriginError;
use http_body::Frame;

use crate::store::content::{Content, Demand};

/// Bytes that all fills of the process may hold together.
#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) held: AtomicU64,
    max: u64,
}

/// What one fill holds of the budget; given back when it ends.
struct Held<'a> {
    budget: &'a Budget,
    bytes: u64,
}

/// How a fill ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filled {
    /// The content is whole and may be stored.
    Whole,
    /// It passed through.
    Outgrown,
    /// It failed; every reader has seen that.
    Failed,
}

impl Budget {
    /// At most `max` bytes.
    pub(crate) fn new(max: u64) -> Self {
        Self {
            held: AtomicU64::new(0),
            max,
        }
    }
}

impl Held<'_> {
    /// Takes more; false when there is no more.
    fn take(&mut self, bytes: u64) -> bool {
        self.bytes += bytes;
        self.budget.held.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.budget.max
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Reads `body` to its end into `content`; `outgrown` is called once when it is not going to be stored after all.
pub(crate) async fn fill(
    mut body: Body,
    content: &Content,
    stored_max: u64,
    budget: &Budget,
    outgrown: impl FnOnce(),
) -> Filled {
    let mut held = Held { budget, bytes: 0 };
    let mut outgrown = Some(outgrown);
    let mut received = content.received();
    let announced = content.length();
    let mut own = Own::of(announced.map(|announced| announced.saturating_sub(received)));
    loop {
        if poll_fn(|cx| content.poll_room(cx)).await == Demand::Abandoned {
            content.end(Err(BodyError::Internal("nobody reads it")));
            return Filled::Outgrown;
        }
        let frame = match body.frame().await.transpose() {
            Ok(frame) => frame,
            Err(error) => {
                content.end(Err(error));
                return Filled::Failed;
            }
        };
        let data = match frame.map(Frame::into_data) {
            Some(Ok(data)) => data,
            // A part that is not as long as its Content-Range says; what has a Content-Length was checked before.
            _ if announced.is_some_and(|announced| announced != received) => {
                content.end(Err(OriginError::HttpResponseIncomplete.into()));
                return Filled::Failed;
            }
            end => {
                let trailers = end.and_then(|last| last.err()?.into_trailers().ok());
                content.end(Ok(trailers));
                break;
            }
        };
        if outgrown.is_some() && (!held.take(data.len() as u64) || held.bytes > stored_max) {
            content.outgrow();
            if let Some(tell) = outgrown.take() {
                tell();
            }
        }
        received += data.len() as u64;
        if outgrown.is_some() {
            own.copy(data, |piece| {
                content.push(piece);
            });
        } else {
            content.push(data);
        }
    }
    if outgrown.is_some() {
        Filled::Whole
    } else {
        Filled::Outgrown
    }
}

/// Memory for what is stored, and for nothing else: a piece of a read buffer, a TLS record or a frame would keep all of
/// that. What was announced gets blocks that it fills to the last byte; what was not, a copy per piece.
struct Own {
    block: BytesMut,
    /// Bytes that no block was made for yet.
    left: Option<u64>,
}

impl Own {
    /// The largest block. Large content lies in blocks of this one size, so that what one gives back fits another: with
    /// a block per read, a store that turned over held a third more than it had stored.
    const BLOCK_MAX: u64 = 16 * 1024;

    fn of(left: Option<u64>) -> Self {
        Self {
            block: BytesMut::new(),
            left,
        }
    }

    /// Hands `data` on in pieces of its own.
    fn copy(&mut self, mut data: Bytes, mut hand_on: impl FnMut(Bytes)) {
        while !data.is_empty() {
            if self.block.capacity() == 0 {
                // What is more than was announced fails later, and is no reason for a larger block.
                let Some(size @ 1..) = self.left.map(|left| left.min(Self::BLOCK_MAX)) else {
                    return hand_on(Bytes::copy_from_slice(&data));
                };
                self.left = self.left.map(|left| left - size);
                let size = usize::try_from(size).unwrap_or(usize::MAX);
                // A block that is filled at once needs none of what shares one that is still being filled.
                if let Some(block) = data.get(..size) {
                    hand_on(Bytes::copy_from_slice(block));
                    data.advance(size);
                    continue;
                }
                self.block = BytesMut::with_capacity(size);
            }
            let part = data.split_to(data.len().min(self.block.capacity()));
            self.block.extend_from_slice(&part);
            hand_on(self.block.split().freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn streamed(text: &'static str) -> Body {
        Body::stream(Body::from(text))
    }

    #[tokio::test]
    async fn what_fits_becomes_whole_and_gives_its_budget_back() {
        let (content, budget) = (Content::filling(None), Budget::new(100));
        let filled = fill(streamed("hello"), &content, 10, &budget, || panic!("it fits")).await;
        assert_eq!((filled, content.length()), (Filled::Whole, Some(5)));
        assert_eq!(budget.held.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn what_outgrows_its_limit_or_the_budget_passes_through_to_its_readers() {
        for (stored_max, budget) in [(4, 100), (10, 4)] {
            let (content, budget) = (Content::filling(None), Arc::new(Budget::new(budget)));
            let reader = content.body().expect("readable");
            let reading = tokio::spawn(reader.collect(100));
            let mut told = false;
            let filled = fill(streamed("hello"), &content, stored_max, &budget, || told = true).await;
            assert_eq!(
                (filled, told, content.whole().is_some()),
                (Filled::Outgrown, true, false)
            );
            assert_eq!(reading.await.unwrap().unwrap(), "hello");
            assert_eq!(budget.held.load(Ordering::Relaxed), 0);
        }
    }

    #[test]
    fn what_was_announced_fills_its_blocks_to_the_last_byte() {
        let block = usize::try_from(Own::BLOCK_MAX).unwrap();
        for (announced, reads) in [
            (Some(5), vec![2, 3]),
            (Some(3), vec![5]),
            (Some(block as u64 + 10), vec![block - 1, 11]),
            (None, vec![7, 9]),
        ] {
            let (mut own, mut pieces) = (Own::of(announced), Vec::new());
            for length in &reads {
                let read = Bytes::from((0..=u8::MAX).cycle().take(*length).collect::<Vec<_>>());
                let before: usize = pieces.iter().map(Bytes::len).sum();
                own.copy(read.clone(), |piece| pieces.push(piece));
                assert_eq!(pieces.concat()[before..], read[..]);
            }
            assert_eq!(own.block.capacity(), 0, "{announced:?}: room that nobody uses");
        }
    }

    #[tokio::test]
    async fn what_is_shorter_or_longer_than_announced_has_failed() {
        for announced in [4, 6] {
            let (content, budget) = (Content::filling(Some(announced)), Budget::new(100));
            let filled = fill(streamed("hello"), &content, 10, &budget, || panic!("it fits")).await;
            assert_eq!(
                (filled, content.whole().is_some()),
                (Filled::Failed, false),
                "{announced}"
            );
        }
    }

    #[tokio::test]
    async fn what_nobody_reads_and_nobody_stores_is_abandoned() {
        let (content, budget) = (Content::filling(None), Budget::new(1));
        let body = streamed("hello");
        assert_eq!(fill(body, &content, 1, &budget, || {}).await, Filled::Outgrown);
        assert!(content.body().is_none());
    }
}
