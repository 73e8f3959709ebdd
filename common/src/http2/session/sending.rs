//! What answers do to a connection: heads are framed at once, content waits for its turn, the windows and room in the buffer.
//!
//! Streams with content to send take turns, one frame each, so that a large response does not hold up small ones.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;

use super::Session;
use crate::http2::frame;
use crate::http2::hpack::encode;
use crate::http2::response;
use crate::http2::stream::{Ending, Stream};

/// The largest frame of content that is made: other streams have their turns in between.
const CONTENT_MAX: usize = 16 * 1024;

/// Nothing more can be sent on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http2) struct Gone;

impl Session {
    /// Sends the head that `encode` writes; one of an interim response does not end the stream.
    pub(in crate::http2) fn send_head(
        &mut self,
        id: u32,
        ends: bool,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), Gone> {
        let stream = self.streams.get(id).filter(|stream| stream.state.may_send());
        let stream = stream.ok_or(Gone)?;
        let frames = self.out.frames();
        let begin = frames.len();
        frames.extend_from_slice(&[0; frame::HEAD]);
        if std::mem::take(&mut self.peer.is_table_smaller) {
            encode::size_update(frames, 0);
        }
        encode(frames);
        frame::end_headers(frames, begin, id, ends, self.peer.frame_max);
        if ends {
            stream.state = stream.state.end();
            stream.outbox.ending = Ending::Done;
        }
        self.call();
        Ok(())
    }

    /// Whether content of this length can be framed at once.
    pub(in crate::http2) fn has_room(&mut self, id: u32, bytes: u64) -> bool {
        if !self.turns.is_empty() || bytes > self.room().min(self.out.room()) as u64 {
            return false;
        }
        let stream = self.streams.get(id);
        stream.is_some_and(|stream| stream.outbox.queue.is_empty() && bytes <= stream.outbox.window.room() as u64)
    }

    /// Takes content to be sent; with `ends`, it is the last.
    pub(in crate::http2) fn send_content(&mut self, id: u32, content: Bytes, ends: bool) -> Result<(), Gone> {
        let room = self.room();
        let has_turns = !self.turns.is_empty();
        let stream = self.streams.get(id).filter(|stream| stream.state.may_send());
        let stream = stream.ok_or(Gone)?;
        let outbox = &mut stream.outbox;
        let bytes = content.len();
        let is_first = outbox.queue.is_empty();
        if is_first && (bytes == 0 || !has_turns && bytes <= room.min(outbox.window.room()).min(self.out.room())) {
            if bytes > 0 || ends {
                outbox.window.take(bytes);
                outbox.overhead += frame::HEAD as u64;
                self.send_window.take(bytes);
                self.out.data(id, content, ends);
            }
        } else if bytes > 0 {
            outbox.queued += bytes;
            outbox.queue.push_back(content);
            if !outbox.is_waiting {
                outbox.is_waiting = true;
                self.turns.push_back(id);
            }
        }
        if ends {
            stream.end_after_content(Ending::Content);
        }
        self.call();
        Ok(())
    }

    /// Sends trailers after what was taken before.
    pub(in crate::http2) fn send_trailers(&mut self, id: u32, trailers: HeaderMap) -> Result<(), Gone> {
        let stream = self.streams.get(id).filter(|stream| stream.state.may_send());
        let stream = stream.ok_or(Gone)?;
        stream.outbox.overhead += frame::HEAD as u64 + response::size(&trailers);
        if stream.outbox.queue.is_empty() {
            self.send_head(id, true, |out| response::fields(out, &trailers))
        } else {
            stream.outbox.ending = Ending::Trailers(Box::new(trailers));
            Ok(())
        }
    }

    /// Whether a stream may be given more content: it holds none, or less than it may and than the client has asked for.
    pub(in crate::http2) fn wants_content(&mut self, id: u32) -> bool {
        let max = self.own.send_buffer_max as usize;
        let outbox = self.streams.get(id).map(|stream| &stream.outbox);
        outbox.is_some_and(|outbox| outbox.queue.is_empty() || outbox.queued < max.min(outbox.window.room()))
    }

    /// Bytes that a stream was given and that were not framed.
    pub(in crate::http2) fn queued(&mut self, id: u32) -> usize {
        self.streams.get(id).map_or(0, |stream| stream.outbox.queued)
    }

    /// Whether our side has ended as it should.
    pub(in crate::http2) fn has_sent_all(&mut self, id: u32) -> bool {
        let outbox = self.streams.get(id).map(|stream| &stream.outbox);
        outbox.is_some_and(|outbox| matches!(outbox.ending, Ending::Done))
    }

    /// Ready when a stream is over: ended, or reset by either side. Whoever asks is called too when content is wanted.
    pub(in crate::http2) fn poll_over(&mut self, id: u32, cx: &Context<'_>) -> Poll<()> {
        match self.streams.get(id).filter(|stream| !stream.state.is_closed()) {
            None => Poll::Ready(()),
            Some(stream) => {
                stream.outbox.writer = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Frames content as far as windows and buffer have room.
    pub(in crate::http2) fn take_turns(&mut self) {
        while self.out.room() > 0 && self.send_window.room() > 0 {
            let Some(id) = self.turns.pop_front() else { return };
            if self.take_turn(id).is_some() {
                self.turns.push_back(id);
            }
        }
    }

    /// Whether there is content that could be framed at once.
    pub(in crate::http2) fn has_turns(&self) -> bool {
        !self.turns.is_empty() && self.send_window.room() > 0
    }

    /// One frame of one stream; `None` when it has no further turn.
    fn take_turn(&mut self, id: u32) -> Option<()> {
        let room = self.room();
        let low = self.own.send_buffer_max as usize / 2;
        let stream = self.streams.get(id)?;
        let outbox = &mut stream.outbox;
        outbox.is_waiting = false;
        let first = outbox.queue.front_mut()?;
        let bytes = first.len().min(room).min(outbox.window.room());
        if bytes == 0 {
            // It waits for the client to open its window.
            return None;
        }
        let content = first.split_to(bytes);
        if first.is_empty() {
            outbox.queue.pop_front();
        }
        outbox.queued -= bytes;
        outbox.window.take(bytes);
        outbox.overhead += frame::HEAD as u64;
        if outbox.queued <= low
            && let Some(writer) = outbox.writer.take()
        {
            writer.wake();
        }
        let is_last = outbox.queue.is_empty();
        let ends = is_last && matches!(outbox.ending, Ending::Content);
        self.send_window.take(bytes);
        self.out.data(id, content, ends);
        if !is_last {
            outbox.is_waiting = true;
            return Some(());
        }
        match std::mem::replace(&mut outbox.ending, Ending::Open) {
            Ending::Content => stream.end_after_content(Ending::Content),
            Ending::Trailers(trailers) => {
                // The stream is there: it was looked at above.
                let sent = self.send_head(id, true, |out| response::fields(out, &trailers));
                debug_assert!(sent.is_ok(), "it may send");
            }
            other => outbox.ending = other,
        }
        None
    }

    /// A stream whose window was opened has its turn again.
    pub(super) fn give_turn(&mut self, id: u32) {
        if let Some(stream) = self.streams.get(id) {
            let outbox = &mut stream.outbox;
            if !outbox.queue.is_empty() && !outbox.is_waiting && outbox.window.room() > 0 {
                outbox.is_waiting = true;
                self.turns.push_back(id);
            }
        }
    }

    /// Content that one frame may have now, as far as its stream's window allows.
    fn room(&self) -> usize {
        let frame_max = self.peer.frame_max.min(CONTENT_MAX);
        frame_max.min(self.send_window.room())
    }
}

impl Stream {
    /// Our side ends with what is queued; at once, where nothing is.
    fn end_after_content(&mut self, ending: Ending) {
        if self.outbox.queue.is_empty() {
            self.outbox.ending = Ending::Done;
            self.state = self.state.end();
            self.wake();
        } else {
            self.outbox.ending = ending;
        }
    }
}
