//! What the task of a connection and its exchanges share: streams, windows, and what waits to be sent.
//!
//! Locked for the length of one step, by tasks that run on one worker; nothing in here waits, reads or writes. `receiving` is
//! what the client's frames do to it, `sending` what the answers do.

mod receiving; // DATA, windows, resets: the client's frames
mod sending; // heads, content, trailers: ours

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use super::flow::{ReceiveWindow, SendWindow, WINDOW_DEFAULT};
use super::frame::{self, Code, kind, setting};
use super::head::Section;
use super::outbound::Outbound;
use super::settings::Http2Settings;
use super::state::{Closed, StreamState};
use super::stream::{Stream, Streams};
use crate::http::body::BodyError;
use crate::http1::parse::ParseError;
use crate::time::MonoTime;

/// The state of one connection.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) streams: Streams,
    /// Requests that nobody has begun to answer.
    pub(super) accepted: VecDeque<Accepted>,
    pub(super) out: Outbound,
    /// What we may send on all streams together.
    send_window: SendWindow,
    /// What the client may send on all streams together.
    receive_window: ReceiveWindow,
    /// The window that streams of the client's begin with; at last what `own` says.
    stream_window: u32,
    own: Http2Settings,
    peer: Peer,
    /// Streams with content to send, in the order of their turns.
    turns: VecDeque<u32>,
    /// The connection's task, while nobody has called it.
    waker: Option<Waker>,
    /// It runs, and will look by itself at what there is.
    is_polled: bool,
    /// Whoever answers requests on the connection's task waits for the next one.
    pub(super) is_hand_free: bool,
    /// A request was such that the connection is to end after it.
    pub(super) is_unwanted: bool,
    /// Streams that never became requests, since they were last counted.
    pub(super) refused: u64,
    /// When what is being taken was read.
    pub(super) now: MonoTime,
    farewell: Farewell,
    /// The client has said that it goes away.
    pub(super) is_client_leaving: bool,
}

/// How far the end of the connection has come, where we end it in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Farewell {
    /// It goes on.
    None,
    /// The client was told to begin no more streams, and what it began before it heard so is welcome.
    Announced,
    /// It has heard: what it begins now is ignored.
    Final,
}

/// What the PING says that follows the first GOAWAY.
const FAREWELL: [u8; 8] = *b"farewell";

/// What the client has said in SETTINGS (RFC 9113 §6.5.2).
#[derive(Clone, Copy, Debug)]
struct Peer {
    stream_window: u32,
    frame_max: usize,
    /// Its table for our fields is to be smaller than ours, which has no entry: it has to be told so once (RFC 7541 §4.2).
    is_table_smaller: bool,
}

/// A request whose head is there.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) id: u32,
    pub(super) head: Result<Section, ParseError>,
    /// When its last octets were read.
    pub(super) began: MonoTime,
}

impl Session {
    /// A new connection; what the server says first is ready to be sent.
    pub(super) fn new(own: Http2Settings, head_bytes_max: usize, now: MonoTime) -> Self {
        let mut session = Self {
            streams: Streams::default(),
            accepted: VecDeque::new(),
            out: Outbound::default(),
            send_window: SendWindow::new(WINDOW_DEFAULT),
            receive_window: ReceiveWindow::new(WINDOW_DEFAULT, own.connection_window),
            // Until it says that it has heard of our settings, a client may heed them or not.
            stream_window: own.stream_window.max(WINDOW_DEFAULT),
            own,
            peer: Peer {
                stream_window: WINDOW_DEFAULT,
                frame_max: frame::SIZE_MIN,
                is_table_smaller: false,
            },
            turns: VecDeque::new(),
            waker: None,
            is_polled: false,
            is_hand_free: true,
            is_unwanted: false,
            refused: 0,
            now,
            farewell: Farewell::None,
            is_client_leaving: false,
        };
        session.greet(head_bytes_max);
        session
    }

    /// "The server connection preface consists of a potentially empty SETTINGS frame" (RFC 9113 §3.4).
    fn greet(&mut self, head_bytes_max: usize) {
        let list_max = u32::try_from(head_bytes_max).unwrap_or(u32::MAX);
        let settings = [
            (setting::MAX_CONCURRENT_STREAMS, self.own.streams_max),
            (setting::INITIAL_WINDOW_SIZE, self.own.stream_window),
            (setting::MAX_HEADER_LIST_SIZE, list_max),
            (setting::ENABLE_CONNECT_PROTOCOL, 1),
        ];
        // An extension is offered, or not spoken of (RFC 8441 §3).
        let said = settings.len() - usize::from(!self.own.extended_connect);
        frame::put_settings(self.out.frames(), &settings[..said]);
        if let Some(increment) = self.receive_window.all() {
            frame::put_window_update(self.out.frames(), 0, increment);
        }
    }

    /// "A server that is attempting to gracefully shut down a connection SHOULD send an initial GOAWAY frame with the last
    /// stream identifier set to 2^31-1 and a `NO_ERROR` code. […] After allowing time for any in-flight stream creation (at
    /// least one round-trip time), the server MAY send another GOAWAY frame with an updated last stream identifier." (RFC
    /// 9113 §6.8)
    pub(super) fn announce_end(&mut self) {
        self.farewell = Farewell::Announced;
        let frames = self.out.frames();
        frame::put_goaway(frames, frame::STREAM_MAX, Code::NoError);
        frame::put(frames, kind::PING, 0, 0, &FAREWELL);
    }

    /// The round trip is over, where the answer is one to our PING.
    pub(super) fn receive_ping_ack(&mut self, octets: [u8; 8]) {
        if octets == FAREWELL && self.farewell == Farewell::Announced {
            self.farewell = Farewell::Final;
            let highest = self.streams.highest();
            frame::put_goaway(self.out.frames(), highest, Code::NoError);
        }
    }

    /// Whether nothing more will happen: the client was told the last stream, and all streams are over.
    pub(super) fn is_over(&self) -> bool {
        self.farewell == Farewell::Final && self.streams.is_empty()
    }

    /// Tells the client why the connection ends at once.
    pub(super) fn break_off(&mut self, code: Code) {
        let highest = self.streams.highest();
        frame::put_goaway(self.out.frames(), highest, code);
    }

    /// The connection's task begins to work: nobody needs to call it.
    pub(super) fn begin_poll(&mut self) {
        self.is_polled = true;
    }

    /// It is done for now, and is to be called when there is something to send.
    pub(super) fn end_poll(&mut self, cx: &Context<'_>) {
        self.is_polled = false;
        if self.streams.is_empty() && self.out.is_empty() && !self.out.is_blocked {
            // An idle connection holds no buffer.
            self.out = Outbound::default();
            self.accepted = VecDeque::new();
            self.turns = VecDeque::new();
        }
        if self.waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
    }

    /// Calls the connection's task, if it does not run.
    pub(super) fn call(&mut self) {
        if !self.is_polled
            && let Some(waker) = self.waker.take()
        {
            waker.wake();
        }
    }

    /// Ends a stream before its time, and tells the client why; what was to be sent is forgotten.
    pub(super) fn reset(&mut self, id: u32, code: Code, failed: BodyError) {
        if let Some(stream) = self.streams.get(id).filter(|stream| !stream.state.is_closed()) {
            stream.close(Closed::ByUs, failed);
            frame::put_reset(self.out.frames(), id, code);
            self.call();
        }
    }

    /// Nobody has anything more to do with a stream: it makes place for another.
    pub(super) fn leave(&mut self, id: u32) {
        let Some(stream) = self.streams.get(id) else { return };
        if stream.state.may_send() {
            // Nobody answers it any more.
            self.reset(id, Code::Cancel, BodyError::ClientGone);
        } else if stream.state.may_receive() {
            // "A server MAY request that the client abort transmission of a request without error by sending a RST_STREAM
            // with an error code of NO_ERROR after sending a complete response" (RFC 9113 §8.1)
            self.reset(id, Code::NoError, BodyError::ClientGone);
        }
        if let Some(stream) = self.streams.remove(id) {
            let unread = stream.inbox.content.len() + stream.inbox.held;
            self.release(unread);
        }
    }

    /// The next request that somebody is to answer; the client may have taken it back already.
    pub(super) fn take_accepted(&mut self) -> Poll<Accepted> {
        while let Some(accepted) = self.accepted.pop_front() {
            if !self.streams.state(accepted.id).is_closed() {
                self.is_hand_free = false;
                return Poll::Ready(accepted);
            }
            self.leave(accepted.id);
        }
        self.is_hand_free = true;
        Poll::Pending
    }

    /// Octets of a stream's request that were used, and those of its answer that are no content.
    pub(super) fn sizes(&mut self, id: u32) -> (u64, u64) {
        let stream = self.streams.get(id);
        stream.map_or((0, 0), |stream| (stream.inbox.received, stream.outbox.overhead))
    }

    /// The connection is over: all that runs on it is told.
    pub(super) fn shut(&mut self) {
        self.accepted.clear();
        self.turns.clear();
        for stream in self.streams.iter_mut() {
            if !stream.state.is_closed() {
                stream.close(Closed::ByClient, BodyError::ClientGone);
            }
        }
    }

    /// A stream that begins, with the windows that both sides know of.
    fn stream(&self, id: u32, state: StreamState) -> Stream {
        let receive = ReceiveWindow::new(self.stream_window, self.stream_window);
        Stream::new(id, state, receive, SendWindow::new(self.peer.stream_window))
    }
}

#[cfg(test)]
mod tests;
