//! One stream, and all streams of a connection that somebody still cares for.
//!
//! Few at a time, and their numbers only rise: so they stand in order, are found by binary search, and nearly always leave
//! from the front. Of those that have left the last ones are remembered, for what may still come for them.

use std::collections::VecDeque;
use std::task::Waker;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use super::flow::{ReceiveWindow, SendWindow};
use super::state::{Closed, StreamState};
use crate::http::body::BodyError;

/// One stream whose request was taken.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: u32,
    pub(super) state: StreamState,
    pub(super) inbox: Inbox,
    pub(super) outbox: Outbox,
}

/// What the client sends.
#[derive(Debug)]
pub(super) struct Inbox {
    /// Content that came and was not read yet; no more than the window.
    pub(super) content: BytesMut,
    pub(super) window: ReceiveWindow,
    /// Content that was read, but keeps its place in the windows for now.
    pub(super) held: usize,
    /// What is still to come of the announced length.
    pub(super) left: Option<u64>,
    pub(super) trailers: Option<Box<HeaderMap>>,
    /// Why it never becomes whole.
    pub(super) failed: Option<BodyError>,
    /// Bytes of the request that were used.
    pub(super) received: u64,
    /// Nobody reads it.
    pub(super) is_unwanted: bool,
    /// Who reads.
    pub(super) reader: Option<Waker>,
}

/// What we send.
#[derive(Debug)]
pub(super) struct Outbox {
    /// Content that waits for the windows and for room in the connection's buffer.
    pub(super) queue: VecDeque<Bytes>,
    /// Bytes in `queue`.
    pub(super) queued: usize,
    pub(super) window: SendWindow,
    /// What follows the queue.
    pub(super) ending: Ending,
    /// It stands among the streams that have their turn.
    pub(super) is_waiting: bool,
    /// Bytes of frames that were not content.
    pub(super) overhead: u64,
    /// Who answers.
    pub(super) writer: Option<Waker>,
}

/// How our side ends.
#[derive(Debug)]
pub(super) enum Ending {
    /// Not yet.
    Open,
    /// After what is queued.
    Content,
    /// After what is queued, with these.
    Trailers(Box<HeaderMap>),
    /// It has.
    Done,
}

impl Stream {
    pub(super) fn new(id: u32, state: StreamState, receive: ReceiveWindow, send: SendWindow) -> Self {
        Self {
            id,
            state,
            inbox: Inbox {
                content: BytesMut::new(),
                window: receive,
                held: 0,
                left: None,
                trailers: None,
                failed: None,
                received: 0,
                is_unwanted: false,
                reader: None,
            },
            outbox: Outbox {
                queue: VecDeque::new(),
                queued: 0,
                window: send,
                ending: Ending::Open,
                is_waiting: false,
                overhead: 0,
                writer: None,
            },
        }
    }

    /// It is over before its time: nothing more is sent, and whoever has to do with it is told.
    pub(super) fn close(&mut self, how: Closed, failed: BodyError) {
        self.state = StreamState::Closed(how);
        self.inbox.failed.get_or_insert(failed);
        self.outbox.queue = VecDeque::new();
        self.outbox.queued = 0;
        self.wake();
    }

    pub(super) fn wake(&mut self) {
        for waker in [self.inbox.reader.take(), self.outbox.writer.take()]
            .into_iter()
            .flatten()
        {
            waker.wake();
        }
    }

    pub(super) fn wake_reader(&mut self) {
        if let Some(reader) = self.inbox.reader.take() {
            reader.wake();
        }
    }

    /// Whether the client has sent all of its request.
    pub(super) const fn has_whole_request(&self) -> bool {
        self.inbox.failed.is_none() && !self.state.may_receive()
    }
}

/// Streams in the order of their numbers.
#[derive(Debug, Default)]
pub(super) struct Streams {
    open: VecDeque<Stream>,
    /// The highest number that the client has used.
    highest: u32,
    left: Left,
}

impl Streams {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(super) const fn highest(&self) -> u32 {
        self.highest
    }

    pub(super) fn get(&mut self, id: u32) -> Option<&mut Stream> {
        let at = self.place(id)?;
        self.open.get_mut(at)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Stream> {
        self.open.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.open.iter_mut()
    }

    /// Where a stream is, whether it is here or not.
    pub(super) fn state(&self, id: u32) -> StreamState {
        if id > self.highest {
            return StreamState::Idle;
        }
        let here = self.place(id).and_then(|at| self.open.get(at));
        here.map_or_else(|| self.left.state(id), |stream| stream.state)
    }

    /// The client has used this number.
    pub(super) fn use_up(&mut self, id: u32) {
        debug_assert!(id > self.highest, "numbers rise");
        self.highest = id;
    }

    /// A new stream, whose number was just used up.
    pub(super) fn insert(&mut self, stream: Stream) {
        debug_assert_eq!(stream.id, self.highest, "numbers rise");
        self.open.push_back(stream);
    }

    /// Takes a stream away; how it came to its end is remembered.
    pub(super) fn remove(&mut self, id: u32) -> Option<Stream> {
        let stream = self.open.remove(self.place(id)?)?;
        if let StreamState::Closed(how) = stream.state {
            self.left.remember(id, how);
        }
        Some(stream)
    }

    /// Remembers a stream that was refused before it was one.
    pub(super) fn refuse(&mut self, id: u32) {
        self.left.remember(id, Closed::ByUs);
    }

    fn place(&self, id: u32) -> Option<usize> {
        // Nearly always it is the first or the last.
        if self.open.front().is_some_and(|first| first.id == id) {
            return Some(0);
        }
        self.open.binary_search_by_key(&id, |stream| stream.id).ok()
    }
}

/// The streams that have left last, and how.
#[derive(Debug)]
struct Left {
    ended: [(u32, Closed); LEFT_MAX],
    next: usize,
}

/// Streams that are remembered after their end.
const LEFT_MAX: usize = 32;

impl Default for Left {
    fn default() -> Self {
        Self {
            ended: [(0, Closed::Ended); LEFT_MAX],
            next: 0,
        }
    }
}

impl Left {
    fn remember(&mut self, id: u32, how: Closed) {
        self.ended[self.next] = (id, how);
        self.next = (self.next + 1) % LEFT_MAX;
    }

    fn state(&self, id: u32) -> StreamState {
        let known = self.ended.iter().find(|(left, _)| *left == id);
        known.map_or(StreamState::Passed, |(_, how)| StreamState::Closed(*how))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_found_while_they_are_there_and_remembered_a_while_longer() {
        let mut streams = Streams::default();
        for id in [1, 5, 9] {
            streams.use_up(id);
            let (receive, send) = (ReceiveWindow::new(1, 1), SendWindow::new(1));
            streams.insert(Stream::new(id, StreamState::Open, receive, send));
        }
        assert_eq!(streams.state(5), StreamState::Open);
        assert_eq!(streams.state(3), StreamState::Passed);
        assert_eq!(streams.state(11), StreamState::Idle);
        streams.get(5).unwrap().close(Closed::ByClient, BodyError::ClientGone);
        assert!(streams.remove(5).is_some() && streams.remove(5).is_none());
        assert_eq!(streams.state(5), StreamState::Closed(Closed::ByClient));
        for id in (11..200).step_by(2) {
            streams.use_up(id);
            streams.refuse(id);
        }
        assert_eq!(streams.state(5), StreamState::Passed, "long ago");
        assert_eq!(streams.state(199), StreamState::Closed(Closed::ByUs));
        assert_eq!((streams.len(), streams.get(9).unwrap().id), (2, 9));
    }
}
