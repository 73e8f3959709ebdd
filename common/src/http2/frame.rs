//! Frames (RFC 9113 §4, §6): octets ⇄ what they say. Pure.
//!
//! What is wrong with a frame by itself is found here: its size, its padding, whether its stream may be 0. What is wrong
//! with it in its place (§5.1) is the connection's to say, and so is how large a frame may be.

mod write;

pub use write::{end_headers, put, put_data_head, put_goaway, put_reset, put_settings, put_window_update};

/// What begins a frame (§4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Octets that follow.
    pub length: u32,
    /// Its type, as it is on the wire.
    pub kind: u8,
    /// What they mean depends on the type.
    pub flags: u8,
    /// Without the reserved bit.
    pub stream: u32,
}

/// Octets of a [`Head`], and which of them is the type.
pub const HEAD: usize = 9;
pub(super) const KIND_AT: usize = 3;

/// Types of frames (§6).
#[expect(missing_docs, reason = "the words of RFC 9113 §6")]
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Flags of frames (§6).
#[expect(missing_docs, reason = "the words of RFC 9113 §6")]
pub mod flag {
    pub const ACK: u8 = 0x1;
    pub const END_STREAM: u8 = 0x1;
    pub const END_HEADERS: u8 = 0x4;
    pub const PADDED: u8 = 0x8;
    pub const PRIORITY: u8 = 0x20;
}

/// Settings (§6.5.2; RFC 8441 §3).
#[expect(missing_docs, reason = "the words of RFC 9113 §6.5.2")]
pub mod setting {
    pub const HEADER_TABLE_SIZE: u16 = 1;
    pub const ENABLE_PUSH: u16 = 2;
    pub const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub const INITIAL_WINDOW_SIZE: u16 = 4;
    pub const MAX_FRAME_SIZE: u16 = 5;
    pub const MAX_HEADER_LIST_SIZE: u16 = 6;
    pub const ENABLE_CONNECT_PROTOCOL: u16 = 8;
}

/// The size of frames that each side takes before its SETTINGS say otherwise, and the least that they may say (§4.2).
pub const SIZE_MIN: usize = 16_384;
/// The largest that they may say.
pub const SIZE_MAX: usize = (1 << 24) - 1;
/// The size of the dynamic table before SETTINGS say otherwise (§6.5.2).
pub const TABLE_SIZE: u32 = 4096;

/// Error codes (§7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[expect(missing_docs, reason = "the words of RFC 9113 §7")]
pub enum Code {
    NoError = 0,
    ProtocolError = 1,
    InternalError = 2,
    FlowControlError = 3,
    SettingsTimeout = 4,
    StreamClosed = 5,
    FrameSizeError = 6,
    RefusedStream = 7,
    Cancel = 8,
    CompressionError = 9,
    ConnectError = 10,
    EnhanceYourCalm = 11,
    InadequateSecurity = 12,
    Http11Required = 13,
}

/// What a frame is an error of (§5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The whole connection.
    Connection(Code),
    /// Its stream.
    Stream(Code),
}

/// A frame from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Content of a message, without padding; windows count the whole frame (§6.1).
    Data {
        /// The octets.
        content: &'a [u8],
        /// The message ends with it.
        ends: bool,
    },
    /// A field section begins.
    Headers {
        /// Its first fragment.
        block: &'a [u8],
        /// The message ends with the field section.
        ends: bool,
        /// It is the section's last fragment.
        is_whole: bool,
        /// "A stream cannot depend on itself. An endpoint MUST treat this as a stream error of type `PROTOCOL_ERROR`." (RFC
        /// 7540 §5.3.1): what to do is said when its block has been decoded.
        depends_on_itself: bool,
    },
    /// Deprecated (§5.3.2): what it says is not heeded.
    Priority,
    /// The stream is given up; why does not matter.
    RstStream,
    /// Six octets each: see [`settings`].
    Settings(&'a [u8]),
    /// Ours have arrived.
    SettingsAck,
    /// To be answered with the same octets.
    Ping([u8; 8]),
    /// An answer.
    PingAck([u8; 8]),
    /// The client begins no more streams, or has found an error; what it says of it does not matter.
    GoAway,
    /// The client takes so many octets more; never 0.
    WindowUpdate(u32),
    /// A field section goes on.
    Continuation {
        /// Its next fragment.
        block: &'a [u8],
        /// It is the last one.
        is_whole: bool,
    },
    /// "Implementations MUST ignore and discard frames of unknown types." (§4.1)
    Unknown,
}

impl Head {
    /// Reads one.
    #[inline]
    pub const fn parse(octets: [u8; HEAD]) -> Self {
        let [a, b, c, kind, flags, s, t, u, v] = octets;
        Self {
            length: u32::from_be_bytes([0, a, b, c]),
            kind,
            flags,
            // "The reserved bit […] MUST be ignored when receiving." (§4.1)
            stream: u32::from_be_bytes([s, t, u, v]) & STREAM_MAX,
        }
    }

    /// Writes one; its length is below 2^24.
    #[inline]
    pub const fn octets(self) -> [u8; HEAD] {
        let [_, a, b, c] = self.length.to_be_bytes();
        let [s, t, u, v] = self.stream.to_be_bytes();
        [a, b, c, self.kind, self.flags, s, t, u, v]
    }

    /// Whether this flag is set.
    pub const fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// "A value of 0x00 is reserved for frames that are associated with the connection as a whole" (§4.1); this is the highest.
pub const STREAM_MAX: u32 = u32::MAX >> 1;

/// What a frame of a client says: its head, and the octets that follow, all of them.
///
/// # Errors
/// It cannot be right on any stream in any state.
#[inline]
pub fn parse(head: Head, payload: &[u8]) -> Result<Frame<'_>, Fault> {
    debug_assert_eq!(head.length as usize, payload.len());
    let is_connections = matches!(head.kind, kind::SETTINGS | kind::PING | kind::GOAWAY);
    let is_either = head.kind == kind::WINDOW_UPDATE || head.kind > kind::CONTINUATION;
    // §6: each type says whether "the stream identifier field" is 0x00, "MUST be treated as a connection error of type
    // PROTOCOL_ERROR" otherwise.
    if !is_either && is_connections != (head.stream == 0) {
        return Err(PROTOCOL);
    }
    Ok(match head.kind {
        kind::DATA => Frame::Data {
            content: without_padding(head, payload)?,
            ends: head.has(flag::END_STREAM),
        },
        kind::HEADERS => headers(head, payload)?,
        kind::PRIORITY => priority(head, payload)?,
        kind::RST_STREAM => exactly::<4>(payload).map(|_| Frame::RstStream)?,
        kind::SETTINGS if head.has(flag::ACK) => exactly::<0>(payload).map(|_| Frame::SettingsAck)?,
        kind::SETTINGS if payload.len().is_multiple_of(SETTING) => Frame::Settings(payload),
        kind::SETTINGS => return Err(FRAME_SIZE),
        // "A client cannot push. Thus, servers MUST treat the receipt of a PUSH_PROMISE frame as a connection error of type
        // PROTOCOL_ERROR." (§8.4)
        kind::PUSH_PROMISE => return Err(PROTOCOL),
        kind::PING if head.has(flag::ACK) => Frame::PingAck(exactly(payload)?),
        kind::PING => Frame::Ping(exactly(payload)?),
        // The last stream and a code, and what else there is to say.
        kind::GOAWAY if payload.len() >= 8 => Frame::GoAway,
        kind::GOAWAY => return Err(FRAME_SIZE),
        kind::WINDOW_UPDATE => window_update(head, payload)?,
        kind::CONTINUATION => Frame::Continuation {
            block: payload,
            is_whole: head.has(flag::END_HEADERS),
        },
        _ => Frame::Unknown,
    })
}

const PROTOCOL: Fault = Fault::Connection(Code::ProtocolError);
const FRAME_SIZE: Fault = Fault::Connection(Code::FrameSizeError);
/// Octets of one setting.
const SETTING: usize = 6;

/// Identifiers and values of a SETTINGS frame (§6.5.1).
pub fn settings(payload: &[u8]) -> impl Iterator<Item = (u16, u32)> {
    let (settings, _) = payload.as_chunks::<SETTING>();
    settings.iter().map(|[i, j, a, b, c, d]| {
        let value = u32::from_be_bytes([*a, *b, *c, *d]);
        (u16::from_be_bytes([*i, *j]), value)
    })
}

/// "If the length of the padding is the length of the frame payload or greater, the recipient MUST treat this as a connection
/// error of type `PROTOCOL_ERROR`." (§6.1)
fn without_padding(head: Head, payload: &[u8]) -> Result<&[u8], Fault> {
    if !head.has(flag::PADDED) {
        return Ok(payload);
    }
    let (padding, rest) = payload.split_first().ok_or(FRAME_SIZE)?;
    let length = rest.len().checked_sub(usize::from(*padding)).ok_or(PROTOCOL)?;
    Ok(&rest[..length])
}

fn headers(head: Head, payload: &[u8]) -> Result<Frame<'_>, Fault> {
    let mut block = without_padding(head, payload)?;
    let mut depends_on_itself = false;
    if head.has(flag::PRIORITY) {
        // Dependency and weight (RFC 7540 §6.2).
        let ([s, t, u, v, _], rest) = block.split_first_chunk().ok_or(FRAME_SIZE)?;
        depends_on_itself = u32::from_be_bytes([*s, *t, *u, *v]) & STREAM_MAX == head.stream;
        block = rest;
    }
    Ok(Frame::Headers {
        block,
        ends: head.has(flag::END_STREAM),
        is_whole: head.has(flag::END_HEADERS),
        depends_on_itself,
    })
}

/// "A PRIORITY frame with a length other than 5 octets MUST be treated as a stream error of type `FRAME_SIZE_ERROR`." (§6.3)
fn priority(head: Head, payload: &[u8]) -> Result<Frame<'_>, Fault> {
    let [s, t, u, v, _] = exactly(payload).map_err(|_| Fault::Stream(Code::FrameSizeError))?;
    if u32::from_be_bytes([s, t, u, v]) & STREAM_MAX == head.stream {
        return Err(Fault::Stream(Code::ProtocolError));
    }
    Ok(Frame::Priority)
}

/// "A receiver MUST treat the receipt of a `WINDOW_UPDATE` frame with a flow-control window increment of 0 as a stream error of
/// type `PROTOCOL_ERROR`; errors on the connection flow-control window MUST be treated as a connection error." (§6.9)
fn window_update(head: Head, payload: &[u8]) -> Result<Frame<'_>, Fault> {
    match u32::from_be_bytes(exactly(payload)?) & STREAM_MAX {
        0 if head.stream == 0 => Err(PROTOCOL),
        0 => Err(Fault::Stream(Code::ProtocolError)),
        increment => Ok(Frame::WindowUpdate(increment)),
    }
}

/// "A frame size error in a frame that could alter the state of the entire connection MUST be treated as a connection error"
/// (§4.2).
fn exactly<const N: usize>(payload: &[u8]) -> Result<[u8; N], Fault> {
    payload.try_into().map_err(|_| FRAME_SIZE)
}

#[cfg(test)]
mod tests;
