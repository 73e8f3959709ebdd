//! What the client's frames do to a connection: requests and their content, resets, windows, settings.
//!
//! `inbound` has taken the frames apart; `state` says what each means. Content is kept until it is read, no more of it than
//! the windows allow.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;

use super::{Accepted, Farewell, Session};
use crate::http::body::BodyError;
use crate::http1::parse::ParseError;
use crate::http2::flow::Overflow;
use crate::http2::frame::{self, Code, Fault, flag, kind, setting};
use crate::http2::head::Section;
use crate::http2::state::{Action, Closed, Event, StreamState};

const MALFORMED: BodyError = BodyError::ClientMalformed("HTTP/2 body against its rules or its Content-Length");

impl Session {
    /// What a frame means to its stream; `None` where it is to be ignored.
    fn judge(&self, id: u32, event: Event) -> Result<Option<StreamState>, Fault> {
        match self.streams.state(id).receive(event) {
            Action::Take(next) => Ok(Some(next)),
            Action::Ignore => Ok(None),
            Action::Stream(code) => Err(Fault::Stream(code)),
            Action::Connection(code) => Err(Fault::Connection(code)),
        }
    }

    /// Whether a header section begins a request, or is that of trailers, and its stream after it; `None` where it is to be
    /// ignored.
    pub(in crate::http2) fn receive_headers(
        &mut self,
        id: u32,
        ends: bool,
    ) -> Result<Option<(bool, StreamState)>, Fault> {
        let is_new = self.streams.state(id) == StreamState::Idle;
        let next = self.judge(id, Event::Headers { ends })?;
        if is_new {
            // "Streams initiated by a client MUST use odd-numbered stream identifiers" (RFC 9113 §5.1.1)
            if id.is_multiple_of(2) {
                return Err(Fault::Connection(Code::ProtocolError));
            }
            self.streams.use_up(id);
            // "after sending a GOAWAY frame, the sender can discard frames for streams initiated by the receiver with
            // identifiers higher than the identified last stream" (§6.8)
            if self.farewell == Farewell::Final {
                self.streams.refuse(id);
                return Ok(None);
            }
            if self.has_enough_streams() {
                return Err(Fault::Stream(Code::RefusedStream));
            }
        }
        Ok(next.map(|next| (is_new, next)))
    }

    /// Whether the client has as many streams as it may have. As many again may be there that it has taken back, until their
    /// exchanges have heard of it.
    fn has_enough_streams(&self) -> bool {
        let max = self.own.streams_max as usize;
        let all = self.streams.len();
        all >= max && (all >= 2 * max || self.streams.iter().filter(|stream| !stream.state.is_closed()).count() >= max)
    }

    /// A request's head is there: its stream begins.
    pub(in crate::http2) fn accept(
        &mut self,
        id: u32,
        state: StreamState,
        head: Result<Section, ParseError>,
    ) -> Result<(), Fault> {
        let length = head.as_ref().map_or(None, |head| head.length);
        if !state.may_receive() && length.is_some_and(|length| length > 0) {
            return Err(Fault::Stream(Code::ProtocolError));
        }
        let mut stream = self.stream(id, state);
        stream.inbox.left = length;
        stream.inbox.received = head.as_ref().map_or(0, |head| head.bytes);
        self.streams.insert(stream);
        self.accepted.push_back(Accepted {
            id,
            head,
            began: self.now,
        });
        Ok(())
    }

    /// Trailers are there, which end a request.
    pub(in crate::http2) fn receive_trailers(
        &mut self,
        id: u32,
        next: StreamState,
        trailers: HeaderMap,
    ) -> Result<(), Fault> {
        if let Some(stream) = self.streams.get(id) {
            if stream.inbox.left.is_some_and(|left| left > 0) {
                return Err(Fault::Stream(Code::ProtocolError));
            }
            stream.state = next;
            stream.inbox.trailers = Some(Box::new(trailers));
            stream.wake_reader();
        }
        Ok(())
    }

    /// Content came, in a frame of `length` bytes, padding included.
    pub(in crate::http2) fn receive_data(
        &mut self,
        id: u32,
        content: &[u8],
        length: usize,
        ends: bool,
    ) -> Result<(), Fault> {
        let overflow = |Overflow| Fault::Connection(Code::FlowControlError);
        self.receive_window.receive(length).map_err(overflow)?;
        let taken = self.take_data(id, content, length, ends);
        // What nobody will read has no place in the window.
        let unread = if taken == Ok(true) {
            length - content.len()
        } else {
            length
        };
        self.release(unread);
        taken.map(|_| ())
    }

    /// Whether the content waits to be read now.
    fn take_data(&mut self, id: u32, content: &[u8], length: usize, ends: bool) -> Result<bool, Fault> {
        let Some(next) = self.judge(id, Event::Data { ends })? else {
            return Ok(false);
        };
        let Some(stream) = self.streams.get(id) else {
            return Ok(false);
        };
        let inbox = &mut stream.inbox;
        let overflow = |Overflow| Fault::Stream(Code::FlowControlError);
        inbox.window.receive(length).map_err(overflow)?;
        // "A request or response is also malformed if the value of a Content-Length header field does not equal the sum of
        // the DATA frame payload lengths that form the content" (RFC 9113 §8.1.1)
        if let Some(left) = &mut inbox.left {
            *left = left
                .checked_sub(content.len() as u64)
                .ok_or(Fault::Stream(Code::ProtocolError))?;
            if ends && *left > 0 {
                return Err(Fault::Stream(Code::ProtocolError));
            }
        }
        inbox.window.release(length - content.len());
        stream.state = next;
        if next.may_receive()
            && let Some(increment) = stream.inbox.window.update()
        {
            frame::put_window_update(self.out.frames(), id, increment);
        }
        if stream.inbox.is_unwanted {
            return Ok(false);
        }
        stream.inbox.content.extend_from_slice(content);
        stream.wake_reader();
        Ok(true)
    }

    /// The client takes its request back.
    pub(in crate::http2) fn receive_reset(&mut self, id: u32) -> Result<(), Fault> {
        if self.judge(id, Event::Reset)?.is_some()
            && let Some(stream) = self.streams.get(id)
        {
            stream.close(Closed::ByClient, BodyError::ClientGone);
        }
        Ok(())
    }

    /// The client opens a window.
    pub(in crate::http2) fn receive_window_update(&mut self, id: u32, increment: u32) -> Result<(), Fault> {
        if id == 0 {
            let overflow = |Overflow| Fault::Connection(Code::FlowControlError);
            return self.send_window.change(i64::from(increment)).map_err(overflow);
        }
        if self.judge(id, Event::WindowUpdate)?.is_none() {
            return Ok(());
        }
        if let Some(stream) = self.streams.get(id) {
            let overflow = |Overflow| Fault::Stream(Code::FlowControlError);
            stream.outbox.window.change(i64::from(increment)).map_err(overflow)?;
            self.give_turn(id);
        }
        Ok(())
    }

    /// The client's settings: each of them counts in its turn (RFC 9113 §6.5.3).
    pub(in crate::http2) fn receive_settings(&mut self, payload: &[u8]) -> Result<(), Fault> {
        for (name, value) in frame::settings(payload) {
            self.receive_setting(name, value)?;
        }
        frame::put(self.out.frames(), kind::SETTINGS, flag::ACK, 0, &[]);
        Ok(())
    }

    /// One of them (§6.5.2).
    fn receive_setting(&mut self, name: u16, value: u32) -> Result<(), Fault> {
        let bad = || Fault::Connection(Code::ProtocolError);
        match name {
            setting::HEADER_TABLE_SIZE => self.peer.is_table_smaller |= value < frame::TABLE_SIZE,
            setting::ENABLE_PUSH | setting::ENABLE_CONNECT_PROTOCOL if value > 1 => return Err(bad()),
            setting::INITIAL_WINDOW_SIZE => self.change_windows(value)?,
            setting::MAX_FRAME_SIZE => {
                let size = usize::try_from(value).ok();
                let size = size.filter(|size| (frame::SIZE_MIN..=frame::SIZE_MAX).contains(size));
                self.peer.frame_max = size.ok_or_else(bad)?;
            }
            // "An endpoint that receives a SETTINGS frame with any unknown or unsupported identifier MUST ignore that
            // setting."
            _ => {}
        }
        Ok(())
    }

    /// "When the value of `SETTINGS_INITIAL_WINDOW_SIZE` changes, a receiver MUST adjust the size of all stream flow-control
    /// windows that it maintains by the difference between the new value and the old value." (RFC 9113 §6.9.2)
    fn change_windows(&mut self, size: u32) -> Result<(), Fault> {
        let overflow = |Overflow| Fault::Connection(Code::FlowControlError);
        if size > i32::MAX.unsigned_abs() {
            return Err(overflow(Overflow));
        }
        let by = i64::from(size) - i64::from(self.peer.stream_window);
        self.peer.stream_window = size;
        let mut opened = Vec::new();
        for stream in self.streams.iter_mut() {
            stream.outbox.window.change(by).map_err(overflow)?;
            opened.push(stream.id);
        }
        opened.into_iter().for_each(|id| self.give_turn(id));
        Ok(())
    }

    /// "Receivers of a PING frame that does not include an ACK flag MUST send a PING frame with the ACK flag set in response"
    /// (RFC 9113 §6.7).
    pub(in crate::http2) fn receive_ping(&mut self, octets: [u8; 8]) {
        frame::put(self.out.frames(), kind::PING, flag::ACK, 0, &octets);
    }

    /// The client has heard of our settings: its windows are as they say.
    pub(in crate::http2) fn receive_settings_ack(&mut self) {
        let by = i64::from(self.own.stream_window) - i64::from(self.stream_window);
        self.stream_window = self.own.stream_window;
        for stream in self.streams.iter_mut().filter(|_| by != 0) {
            stream.inbox.window.resize(by);
        }
    }

    /// Ends a stream for what the client did on it: what comes of it later is ignored.
    pub(in crate::http2) fn refuse(&mut self, id: u32, code: Code) {
        match self.streams.get(id) {
            Some(stream) => stream.close(Closed::ByUs, MALFORMED),
            None => self.streams.refuse(id),
        }
        frame::put_reset(self.out.frames(), id, code);
    }

    /// What a request's body brings next.
    pub(in crate::http2) fn poll_body(
        &mut self,
        id: u32,
        cx: &Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(stream) = self.streams.get(id) else {
            return Poll::Ready(Some(Err(BodyError::ClientGone)));
        };
        let (may_receive, inbox) = (stream.state.may_receive(), &mut stream.inbox);
        if let Some(error) = inbox.failed {
            return Poll::Ready(Some(Err(error)));
        }
        if !inbox.content.is_empty() {
            let content = inbox.content.split().freeze();
            inbox.received += content.len() as u64;
            inbox.held += content.len();
            return Poll::Ready(Some(Ok(Frame::data(content))));
        }
        if may_receive {
            inbox.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let trailers = inbox.trailers.take();
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(*trailers))))
    }

    /// Whether a request's body was read to its end.
    pub(in crate::http2) fn is_body_read(&mut self, id: u32) -> bool {
        self.streams.get(id).is_some_and(|stream| {
            stream.has_whole_request() && stream.inbox.content.is_empty() && stream.inbox.trailers.is_none()
        })
    }

    /// A request's body of at most `max` octets, if all of it came without trailers: it can be sent again where a server did not take it.
    pub(in crate::http2) fn take_whole_body(&mut self, id: u32, max: u64) -> Option<Bytes> {
        let stream = self.streams.get(id)?;
        let inbox = &stream.inbox;
        if !stream.has_whole_request() || inbox.trailers.is_some() || inbox.content.len() as u64 > max {
            return None;
        }
        let content = std::mem::take(&mut stream.inbox.content).freeze();
        stream.inbox.received += content.len() as u64;
        self.release(content.len());
        Some(content)
    }

    /// Content that was taken has been used: its place in the windows is free.
    pub(in crate::http2) fn release_held(&mut self, id: u32) {
        let Some(stream) = self.streams.get(id) else { return };
        let bytes = std::mem::take(&mut stream.inbox.held);
        stream.inbox.window.release(bytes);
        if stream.state.may_receive()
            && let Some(increment) = stream.inbox.window.update()
        {
            frame::put_window_update(self.out.frames(), id, increment);
        }
        self.release(bytes);
    }

    /// Nobody reads a request's body any more: what comes of it is forgotten.
    pub(in crate::http2) fn forget_body(&mut self, id: u32) {
        let Some(stream) = self.streams.get(id) else { return };
        stream.inbox.is_unwanted = true;
        let unread = std::mem::take(&mut stream.inbox.content).len() + std::mem::take(&mut stream.inbox.held);
        self.release(unread);
    }

    /// Bytes have left the connection's window.
    pub(super) fn release(&mut self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        self.receive_window.release(bytes);
        if let Some(increment) = self.receive_window.update() {
            frame::put_window_update(self.out.frames(), 0, increment);
        }
        self.call();
    }
}
