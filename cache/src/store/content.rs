//! The content of a response that may still be coming: written once by its fill, read by any number of clients.
//!
//! A piece that has come can be read at once. While the response is small enough to be stored nothing waits for a reader;
//! once it has outgrown that ([`Content::outgrow`]) pieces that all readers have are dropped, and the fill waits for the
//! slowest reader. Whole content is read without a lock.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use common::http::body::{Body, BodyError};
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;

use super::kept::Whole;

/// Bytes that may lie between the fill and the slowest reader of content that is not going to be stored.
const WINDOW: u64 = 256 * 1024;

/// Content, whole or still being filled.
#[derive(Debug)]
pub struct Content {
    whole: OnceLock<Whole>,
    /// Gone once the fill is over and nobody reads what it wrote: a stored response holds its content, nothing else.
    filling: Mutex<Option<Box<Filling>>>,
}

#[derive(Debug, Default)]
struct Filling {
    /// The length, where the head announced it.
    announced: Option<u64>,
    pieces: VecDeque<Bytes>,
    /// Number of the first piece in `pieces`; greater than 0 only once outgrown.
    first: u64,
    /// Bytes in `pieces`.
    held: u64,
    state: State,
    readers: Vec<Option<ReaderState>>,
    writer: Option<Waker>,
}

/// ```text
/// Storing ──▶ Ended(Ok)            whole, may be reused
///    │└─────▶ Ended(Err)           every reader sees the failure
///    └─▶ Outgrown ──▶ Ended(…)     never reused
/// ```
#[derive(Debug, Default)]
enum State {
    #[default]
    Storing,
    Outgrown,
    Ended(Result<Option<HeaderMap>, BodyError>),
}

#[derive(Debug)]
struct ReaderState {
    /// Number of the piece that is read next.
    next: u64,
    waker: Option<Waker>,
}

/// What a fill learns when it has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// Go on.
    More,
    /// Nobody is going to read or store this.
    Abandoned,
}

impl Content {
    /// Content that a fill is going to write.
    pub fn filling(announced: Option<u64>) -> Arc<Self> {
        let filling = Filling {
            announced,
            ..Filling::default()
        };
        Arc::new(Self {
            whole: OnceLock::new(),
            filling: Mutex::new(Some(Box::new(filling))),
        })
    }

    /// Content that begins with these pieces; a fill is going to write the rest.
    pub fn continued(pieces: &[Bytes], announced: u64) -> Arc<Self> {
        let content = Self::filling(Some(announced));
        for piece in pieces {
            content.push(piece.clone());
        }
        content
    }

    /// Bytes that have come, of content that is being stored.
    pub fn received(&self) -> u64 {
        self.filling.lock().as_ref().map_or(0, |filling| filling.held)
    }

    /// All of it, when it has come.
    pub fn whole(&self) -> Option<&Whole> {
        self.whole.get()
    }

    /// The length in bytes: of what is whole, or as announced.
    pub fn length(&self) -> Option<u64> {
        match self.whole() {
            Some(whole) => Some(whole.length()),
            None => self.filling.lock().as_ref()?.announced,
        }
    }

    /// A body that reads this from its beginning; `None` when the beginning is gone or the fill has failed.
    pub fn body(self: &Arc<Self>) -> Option<Body> {
        if let Some(whole) = self.whole() {
            return Some(whole.body());
        }
        let slot = {
            let mut filling = self.filling.lock();
            let filling = filling.as_mut()?;
            if filling.first > 0 || matches!(filling.state, State::Ended(Err(_))) {
                return None;
            }
            filling.add_reader()
        };
        Some(Body::stream(Reader {
            content: Arc::clone(self),
            slot,
            ended: false,
            read: 0,
        }))
    }

    /// Appends a piece and wakes the readers.
    pub fn push(&self, piece: Bytes) -> Demand {
        let mut filling = self.filling.lock();
        let Some(filling) = filling.as_mut() else {
            return Demand::Abandoned;
        };
        filling.held += piece.len() as u64;
        filling.pieces.push_back(piece);
        filling.wake_readers();
        if matches!(filling.state, State::Outgrown) && filling.readers.iter().all(Option::is_none) {
            return Demand::Abandoned;
        }
        Demand::More
    }

    /// This is not going to be stored: from here on it is only passed through to those who read it.
    pub fn outgrow(&self) {
        if let Some(filling) = self.filling.lock().as_mut()
            && matches!(filling.state, State::Storing)
        {
            filling.state = State::Outgrown;
        }
    }

    /// Ready when there is room for another piece; at once while this is being stored.
    pub fn poll_room(&self, cx: &mut Context<'_>) -> Poll<Demand> {
        let mut filling = self.filling.lock();
        let Some(filling) = filling
            .as_mut()
            .filter(|filling| matches!(filling.state, State::Outgrown))
        else {
            return Poll::Ready(Demand::More);
        };
        filling.drop_read_pieces();
        if filling.readers.iter().all(Option::is_none) {
            return Poll::Ready(Demand::Abandoned);
        }
        if filling.held <= WINDOW {
            return Poll::Ready(Demand::More);
        }
        filling.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The fill is over. `Ok` makes this whole, unless it was outgrown.
    pub fn end(&self, result: Result<Option<HeaderMap>, BodyError>) {
        let mut place = self.filling.lock();
        let Some(filling) = place.as_mut() else { return };
        if result.is_ok() && matches!(filling.state, State::Storing) {
            let pieces = filling.pieces.iter().cloned().collect();
            let is_first = self.whole.set(Whole::of(pieces)).is_ok();
            debug_assert!(is_first, "a fill ends once");
        }
        filling.state = State::Ended(result);
        filling.wake_readers();
        if filling.is_over() {
            *place = None;
        }
    }

    fn poll_piece(&self, slot: usize, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut filling = self.filling.lock();
        let Some(filling) = filling.as_deref_mut() else {
            return Poll::Ready(None);
        };
        let Some(Some(reader)) = filling.readers.get_mut(slot) else {
            return Poll::Ready(None);
        };
        let index = usize::try_from(reader.next - filling.first).unwrap_or(usize::MAX);
        if let Some(piece) = filling.pieces.get(index) {
            reader.next += 1;
            let piece = piece.clone();
            if matches!(filling.state, State::Outgrown)
                && let Some(writer) = filling.writer.take()
            {
                writer.wake();
            }
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        match &filling.state {
            State::Ended(Ok(Some(trailers))) => {
                let trailers = trailers.clone();
                filling.readers[slot] = None;
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
            State::Ended(Ok(_)) => Poll::Ready(None),
            State::Ended(Err(error)) => Poll::Ready(Some(Err(*error))),
            State::Storing | State::Outgrown => {
                match &mut reader.waker {
                    Some(waker) => waker.clone_from(cx.waker()),
                    none => *none = Some(cx.waker().clone()),
                }
                Poll::Pending
            }
        }
    }
}

impl Filling {
    /// The fill has ended, and nobody reads on.
    fn is_over(&self) -> bool {
        matches!(self.state, State::Ended(_)) && self.readers.iter().all(Option::is_none)
    }

    fn add_reader(&mut self) -> usize {
        let reader = Some(ReaderState {
            next: self.first,
            waker: None,
        });
        if let Some(free) = self.readers.iter().position(Option::is_none) {
            self.readers[free] = reader;
            return free;
        }
        self.readers.push(reader);
        self.readers.len() - 1
    }

    fn wake_readers(&mut self) {
        for reader in self.readers.iter_mut().flatten() {
            if let Some(waker) = reader.waker.take() {
                waker.wake();
            }
        }
    }

    fn drop_read_pieces(&mut self) {
        let Some(slowest) = self.readers.iter().flatten().map(|reader| reader.next).min() else {
            return;
        };
        while self.first < slowest {
            let Some(piece) = self.pieces.pop_front() else { return };
            self.held -= piece.len() as u64;
            self.first += 1;
        }
    }
}

/// One client's way through content that is still coming.
struct Reader {
    content: Arc<Content>,
    slot: usize,
    ended: bool,
    read: u64,
}

impl http_body::Body for Reader {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let frame = std::task::ready!(self.content.poll_piece(self.slot, cx));
        match &frame {
            Some(Ok(frame)) => self.read += frame.data_ref().map_or(0, |data| data.len() as u64),
            Some(Err(_)) | None => self.ended = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        match self.content.length() {
            Some(length) => SizeHint::with_exact(length.saturating_sub(self.read)),
            None => SizeHint::default(),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut place = self.content.filling.lock();
        let Some(filling) = place.as_mut() else { return };
        if let Some(reader) = filling.readers.get_mut(self.slot) {
            *reader = None;
        }
        // The fill may have waited for this reader.
        if let Some(writer) = filling.writer.take() {
            writer.wake();
        }
        if filling.is_over() {
            *place = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    async fn once(content: &Content) -> Poll<Demand> {
        poll_fn(|cx| Poll::Ready(content.poll_room(cx))).await
    }

    async fn read(body: Option<Body>) -> Result<Bytes, BodyError> {
        body.expect("readable").collect(1 << 20).await
    }

    #[tokio::test]
    async fn readers_that_join_late_read_from_the_beginning() {
        let content = Content::filling(None);
        let early = tokio::spawn(read(content.body()));
        content.push(Bytes::from("ab"));
        let late = tokio::spawn(read(content.body()));
        content.push(Bytes::from("c"));
        content.end(Ok(None));
        assert_eq!(early.await.unwrap().unwrap(), "abc");
        assert_eq!(late.await.unwrap().unwrap(), "abc");
        assert_eq!(read(content.body()).await.unwrap(), "abc");
        assert_eq!(content.length(), Some(3));
        assert!(content.filling.lock().is_none(), "nobody reads what the fill wrote");
    }

    #[tokio::test]
    async fn every_reader_sees_a_failed_fill_and_nobody_joins_it() {
        let content = Content::filling(Some(10));
        let reader = tokio::spawn(read(content.body()));
        content.push(Bytes::from("ab"));
        content.end(Err(BodyError::Internal("test")));
        assert!(reader.await.unwrap().is_err());
        assert!(content.body().is_none());
        assert!(content.whole().is_none());
    }

    #[tokio::test]
    async fn outgrown_content_waits_for_its_slowest_reader_and_ends_with_the_last() {
        let content = Content::filling(None);
        let mut body = content.body().expect("readable");
        content.outgrow();
        let big = Bytes::from(vec![0; usize::try_from(WINDOW).unwrap() + 1]);
        assert_eq!(content.push(big), Demand::More);
        assert_eq!(once(&content).await, Poll::Pending);
        assert!(body.frame().await.is_some());
        assert_eq!(once(&content).await, Poll::Ready(Demand::More));
        assert!(content.body().is_none(), "the beginning is gone");
        drop(body);
        assert_eq!(once(&content).await, Poll::Ready(Demand::Abandoned));
        content.end(Ok(None));
        assert!(content.whole().is_none());
    }
}
