//! The states of a stream, and what each frame means in each of them (RFC 9113 §5.1). Pure.
//!
//! ```text
//!              HEADERS               END_STREAM from the client
//!       Idle ──────────▶ Open ──────────────────────▶ HalfClosedRemote
//!                         │ END_STREAM from us            │ END_STREAM from us
//!                         ▼                               ▼
//!                  HalfClosedLocal ───────────────▶ Closed(Ended)      RST_STREAM, anywhere: Closed(ByClient | ByUs)
//! ```

use super::frame::Code;

/// Where a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamState {
    /// It has had no frame yet.
    Idle,
    /// Both sides may send.
    Open,
    /// The client has ended its side.
    HalfClosedRemote,
    /// We have ended ours.
    HalfClosedLocal,
    /// It is over.
    Closed(Closed),
    /// Its number was passed over: it was never used, or so long ago that nothing is known of it.
    Passed,
}

/// How a stream came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// Both sides have ended it.
    Ended,
    /// The client has reset it.
    ByClient,
    /// We have reset it.
    ByUs,
}

/// A frame of the client's that belongs to a stream; of those with content, whether it ends the client's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Headers { ends: bool },
    Data { ends: bool },
    Reset,
    WindowUpdate,
}

/// What comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// It is taken, and the stream is in this state then.
    Take(StreamState),
    /// It counts for the connection alone.
    Ignore,
    /// A stream error (RFC 9113 §5.4.2).
    Stream(Code),
    /// A connection error (RFC 9113 §5.4.1).
    Connection(Code),
}

impl StreamState {
    /// What a frame means to a stream in this state.
    pub(super) const fn receive(self, event: Event) -> Action {
        match (self, event) {
            (Self::Idle, Event::Headers { ends: false }) => Action::Take(Self::Open),
            (Self::Idle, Event::Headers { ends: true }) => Action::Take(Self::HalfClosedRemote),
            // "Receiving any frame other than HEADERS or PRIORITY on a stream in this state MUST be treated as a
            // connection error of type PROTOCOL_ERROR."
            (Self::Idle, _) => Action::Connection(Code::ProtocolError),

            // A second header section is that of trailers, which ends the message (§8.1).
            (Self::Open | Self::HalfClosedLocal, Event::Headers { ends: false }) => Action::Stream(Code::ProtocolError),
            (Self::Open, Event::Headers { ends: true } | Event::Data { ends: true }) => {
                Action::Take(Self::HalfClosedRemote)
            }
            (Self::HalfClosedLocal, Event::Headers { ends: true } | Event::Data { ends: true }) => {
                Action::Take(Self::Closed(Closed::Ended))
            }
            (Self::Open | Self::HalfClosedLocal, Event::Data { ends: false } | Event::WindowUpdate)
            | (Self::HalfClosedRemote, Event::WindowUpdate) => Action::Take(self),

            // "If an endpoint receives additional frames, other than WINDOW_UPDATE, PRIORITY, or RST_STREAM, for a stream
            // that is in this state, it MUST respond with a stream error of type STREAM_CLOSED."
            (Self::HalfClosedRemote, Event::Headers { .. } | Event::Data { .. }) => Action::Stream(Code::StreamClosed),
            (Self::Open | Self::HalfClosedLocal | Self::HalfClosedRemote, Event::Reset) => {
                Action::Take(Self::Closed(Closed::ByClient))
            }

            // "An endpoint that sends a RST_STREAM frame on a stream that is in the "open" or "half-closed (local)" state
            // could receive any type of frame. […] An endpoint MUST ignore frames that it receives on closed streams after
            // it has sent a RST_STREAM frame."
            (Self::Closed(Closed::ByUs), _)
            // Both may have been on their way when the stream came to its end.
            | (Self::Closed(_) | Self::Passed, Event::Reset | Event::WindowUpdate)
            // So may content of a request that was answered before its end.
            | (Self::Passed, Event::Data { .. }) => Action::Ignore,
            // "An endpoint that receives any frames other than PRIORITY after receiving a RST_STREAM MUST treat that as a
            // stream error of type STREAM_CLOSED" (RFC 7540 §5.1).
            (Self::Closed(Closed::ByClient), Event::Headers { .. } | Event::Data { .. }) => {
                Action::Stream(Code::StreamClosed)
            }
            // "after receiving a frame bearing the END_STREAM flag […] as a connection error of type STREAM_CLOSED"
            (Self::Closed(Closed::Ended), Event::Headers { .. } | Event::Data { .. }) => {
                Action::Connection(Code::StreamClosed)
            }
            // "The identifier of a newly established stream MUST be numerically greater than all streams that the
            // initiating endpoint has opened or reserved. […] connection error of type PROTOCOL_ERROR." (§5.1.1)
            (Self::Passed, Event::Headers { .. }) => Action::Connection(Code::ProtocolError),
        }
    }

    /// Where the stream is once we have ended our side.
    pub(super) const fn end(self) -> Self {
        match self {
            Self::Open => Self::HalfClosedLocal,
            Self::HalfClosedRemote => Self::Closed(Closed::Ended),
            other => other,
        }
    }

    pub(super) const fn is_closed(self) -> bool {
        matches!(self, Self::Closed(_) | Self::Passed)
    }

    /// Whether we may still send.
    pub(super) const fn may_send(self) -> bool {
        matches!(self, Self::Open | Self::HalfClosedRemote)
    }

    /// Whether the client may still send.
    pub(super) const fn may_receive(self) -> bool {
        matches!(self, Self::Open | Self::HalfClosedLocal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_frame_means_in_each_state_what_section_5_1_says() {
        use Action::{Connection, Ignore, Stream, Take};
        use Code::{ProtocolError, StreamClosed};
        use StreamState::{Closed as Over, HalfClosedLocal, HalfClosedRemote, Idle, Open, Passed};
        let events = [
            Event::Headers { ends: false },
            Event::Headers { ends: true },
            Event::Data { ends: false },
            Event::Data { ends: true },
            Event::Reset,
            Event::WindowUpdate,
        ];
        let protocol = Connection(ProtocolError);
        let ended = Take(Over(Closed::Ended));
        let reset = Take(Over(Closed::ByClient));
        let late = Stream(StreamClosed);
        let dead = Connection(StreamClosed);
        let again = Stream(ProtocolError);
        #[rustfmt::skip]
        let rows = [
            (Idle,                   [Take(Open), Take(HalfClosedRemote), protocol, protocol, protocol, protocol]),
            (Open,                   [again, Take(HalfClosedRemote), Take(Open), Take(HalfClosedRemote), reset, Take(Open)]),
            (HalfClosedRemote,       [late, late, late, late, reset, Take(HalfClosedRemote)]),
            (HalfClosedLocal,        [again, ended, Take(HalfClosedLocal), ended, reset, Take(HalfClosedLocal)]),
            (Over(Closed::Ended),    [dead, dead, dead, dead, Ignore, Ignore]),
            (Over(Closed::ByClient), [late, late, late, late, Ignore, Ignore]),
            (Over(Closed::ByUs),     [Ignore; 6]),
            (Passed,                 [protocol, protocol, Ignore, Ignore, Ignore, Ignore]),
        ];
        for (state, actions) in rows {
            for (event, action) in events.into_iter().zip(actions) {
                assert_eq!(state.receive(event), action, "{state:?} {event:?}");
            }
        }
    }

    #[test]
    fn our_own_end_closes_our_side() {
        for (state, expected) in [
            (StreamState::Open, StreamState::HalfClosedLocal),
            (StreamState::HalfClosedRemote, StreamState::Closed(Closed::Ended)),
            (
                StreamState::Closed(Closed::ByClient),
                StreamState::Closed(Closed::ByClient),
            ),
        ] {
            assert_eq!(state.end(), expected);
            assert!(state.is_closed() || state.may_send());
            assert!(!expected.may_send());
        }
    }
}
