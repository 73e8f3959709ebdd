//! A response body → content that many read. A fill belongs to the cache: it goes on when the client that caused it leaves.
//!
//! Bounds: one response may be as large as the rules allow, and all fills together may hold as much as the budget. What
//! outgrows either is no longer stored, only passed through to those who read it already, at their pace.

use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
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
            _ if content.announced().is_some_and(|announced| announced != received) => {
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
        content.push(right_sized(data));
    }
    if outgrown.is_some() {
        Filled::Whole
    } else {
        Filled::Outgrown
    }
}

/// A small piece of a large read buffer would keep all of it: copied, it keeps only itself.
fn right_sized(data: Bytes) -> Bytes {
    const SMALL: usize = 16 * 1024;
    if data.len() <= SMALL {
        Bytes::copy_from_slice(&data)
    } else {
        data
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
            assert_eq!((filled, told, content.is_whole()), (Filled::Outgrown, true, false));
            assert_eq!(reading.await.unwrap().unwrap(), "hello");
            assert_eq!(budget.held.load(Ordering::Relaxed), 0);
        }
    }

    #[tokio::test]
    async fn what_is_shorter_or_longer_than_announced_has_failed() {
        for announced in [4, 6] {
            let (content, budget) = (Content::filling(Some(announced)), Budget::new(100));
            let filled = fill(streamed("hello"), &content, 10, &budget, || panic!("it fits")).await;
            assert_eq!((filled, content.is_whole()), (Filled::Failed, false), "{announced}");
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
