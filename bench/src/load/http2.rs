//! HTTP/2 on one connection of the load generator: canned requests, frames read as far as they have to be (RFC 9113).
//!
//! Requests are what a browser's become: the first one puts its fields into the dynamic table, the others name them
//! there. Of a response's fields only the status is read, which is in the static table. It is no general client.

use std::time::Instant;

use super::Target;
use super::response::Fault;
use crate::certificate::NAME;

/// What a client says first (§3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Larger frames than the default allows are never sent to us.
const FRAME_BYTES_MAX: usize = 16 << 10;
/// Bytes of a frame's header (§4.1).
const HEADER_BYTES: usize = 9;
/// What a stream may send us: more than any response here has.
const STREAM_WINDOW: u32 = 64 << 20;
/// What a connection may send us beyond the 65,535 bytes it begins with, and when it gets more.
const CONNECTION_WINDOW: u32 = 1 << 30;

/// Frame types (§6) that mean something to us.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
/// Flags.
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;

/// All streams of one connection.
pub(super) struct Streams {
    /// What has to be sent.
    pub(super) output: Vec<u8>,
    /// The beginning of a frame.
    input: Vec<u8>,
    first_block: Vec<u8>,
    /// How many requests were sent here.
    asked: u32,
    open: Vec<Stream>,
    /// Bytes of bodies since the connection's window was last enlarged.
    taken: u32,
    /// The server has sent GOAWAY.
    draining: bool,
}

struct Stream {
    id: u32,
    due: Instant,
    /// The head has come, and was right.
    headed: bool,
    /// Bytes of the body that are missing.
    left: u64,
}

/// One frame's header, and where its payload lies.
struct Frame<'a> {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: &'a [u8],
}

impl Streams {
    /// A connection that begins with preface, settings and a large window.
    pub(super) fn new(target: &Target) -> Self {
        debug_assert!(target.fields.is_empty(), "canned requests only");
        let mut streams = Self {
            output: PREFACE.to_vec(),
            input: Vec::new(),
            first_block: first_block(&target.path),
            asked: 0,
            open: Vec::new(),
            taken: 0,
            draining: false,
        };
        let no_push = [0, 2, 0, 0, 0, 0];
        let window = STREAM_WINDOW.to_be_bytes();
        let settings = [&no_push[..], &[0, 4], &window].concat();
        streams.put(SETTINGS, 0, 0, &settings);
        streams.put(WINDOW_UPDATE, 0, 0, &CONNECTION_WINDOW.to_be_bytes());
        streams
    }

    pub(super) fn under_way(&self) -> usize {
        self.open.len()
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining
    }

    /// One more request, which was due then.
    pub(super) fn ask(&mut self, due: Instant) {
        let id = self.asked * 2 + 1;
        if self.asked == 0 {
            let block = std::mem::take(&mut self.first_block);
            self.put(HEADERS, END_STREAM | END_HEADERS, id, &block);
        } else {
            // :method GET, :scheme https; path, authority, user-agent and accept from the dynamic table, whose entries
            // count from 62, the latest first (RFC 7541 §2.3.3).
            let block = [0x82, 0x87, 0x80 | 65, 0x80 | 64, 0x80 | 63, 0x80 | 62];
            self.put(HEADERS, END_STREAM | END_HEADERS, id, &block);
        }
        self.asked += 1;
        self.open.push(Stream {
            id,
            due,
            headed: false,
            left: 0,
        });
    }

    /// Takes bytes; when requests were due goes to `answered` for whole responses, to `refused` for those that the
    /// server has not looked at.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        target: &Target,
        answered: &mut Vec<Instant>,
        refused: &mut Vec<Instant>,
    ) -> Result<(), Fault> {
        self.input.extend_from_slice(bytes);
        let input = std::mem::take(&mut self.input);
        let mut rest = &input[..];
        while let Some((frame, after)) = Frame::split(rest)? {
            rest = after;
            self.frame(&frame, target, answered, refused)?;
        }
        let done = input.len() - rest.len();
        self.input = input;
        self.input.drain(..done);
        Ok(())
    }

    fn frame(
        &mut self,
        frame: &Frame<'_>,
        target: &Target,
        answered: &mut Vec<Instant>,
        refused: &mut Vec<Instant>,
    ) -> Result<(), Fault> {
        match frame.kind {
            HEADERS => self.head(frame, target)?,
            DATA => self.data(frame)?,
            RST_STREAM => return Err(Fault::Truncated),
            SETTINGS if frame.flags & ACK == 0 => self.put(SETTINGS, ACK, 0, &[]),
            PING if frame.flags & ACK == 0 => self.put(PING, ACK, 0, frame.payload),
            GOAWAY => self.go_away(frame.payload, refused)?,
            // PUSH_PROMISE was forbidden, CONTINUATION is for heads of more than 16 KiB.
            5 | 9 => return Err(Fault::Framing),
            _ => return Ok(()),
        }
        if matches!(frame.kind, HEADERS | DATA) && frame.flags & END_STREAM != 0 {
            let index = self.find(frame.stream)?;
            if !self.open[index].headed || self.open[index].left > 0 {
                return Err(Fault::Length);
            }
            answered.push(self.open.swap_remove(index).due);
        }
        Ok(())
    }

    fn head(&mut self, frame: &Frame<'_>, target: &Target) -> Result<(), Fault> {
        let mut block = frame.unpadded()?;
        if frame.flags & PRIORITY != 0 {
            block = block.get(5..).ok_or(Fault::Framing)?;
        }
        if frame.flags & END_HEADERS == 0 {
            return Err(Fault::Framing);
        }
        if !has_status(block, target.status) {
            return Err(Fault::Status);
        }
        let index = self.find(frame.stream)?;
        let stream = &mut self.open[index];
        (stream.headed, stream.left) = (true, target.length.of(None));
        Ok(())
    }

    fn data(&mut self, frame: &Frame<'_>) -> Result<(), Fault> {
        let index = self.find(frame.stream)?;
        let stream = &mut self.open[index];
        let count = u64::try_from(frame.unpadded()?.len()).unwrap_or(u64::MAX);
        stream.left = stream.left.checked_sub(count).ok_or(Fault::Length)?;
        self.taken += u32::try_from(frame.payload.len()).unwrap_or_default();
        if self.taken > CONNECTION_WINDOW / 2 {
            let increment = std::mem::take(&mut self.taken).to_be_bytes();
            self.put(WINDOW_UPDATE, 0, 0, &increment);
        }
        Ok(())
    }

    /// "The last stream identifier in the GOAWAY frame contains the highest-numbered stream identifier for which the
    /// sender of the GOAWAY frame might have taken some action" (§6.8): others are asked again.
    fn go_away(&mut self, payload: &[u8], refused: &mut Vec<Instant>) -> Result<(), Fault> {
        let Some((last, rest)) = payload.split_first_chunk::<4>() else {
            return Err(Fault::Framing);
        };
        if rest.get(..4) != Some(&[0; 4]) {
            return Err(Fault::Truncated);
        }
        self.draining = true;
        let last = u32::from_be_bytes(*last) & 0x7fff_ffff;
        let unseen = self.open.extract_if(.., |stream| stream.id > last);
        refused.extend(unseen.map(|stream| stream.due));
        Ok(())
    }

    fn find(&self, id: u32) -> Result<usize, Fault> {
        self.open
            .iter()
            .position(|stream| stream.id == id)
            .ok_or(Fault::Framing)
    }

    fn put(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
        self.output.extend_from_slice(&length[1..]);
        self.output.extend_from_slice(&[kind, flags]);
        self.output.extend_from_slice(&stream.to_be_bytes());
        self.output.extend_from_slice(payload);
    }
}

impl<'a> Frame<'a> {
    /// The first frame of `input` and what follows it; `None` when it is not whole yet.
    fn split(input: &'a [u8]) -> Result<Option<(Self, &'a [u8])>, Fault> {
        let Some((&[a, b, c, kind, flags, d, e, f, g], rest)) = input.split_first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap_or(usize::MAX);
        if length > FRAME_BYTES_MAX {
            return Err(Fault::Framing);
        }
        Ok(rest.split_at_checked(length).map(|(payload, after)| {
            let stream = u32::from_be_bytes([d, e, f, g]) & 0x7fff_ffff;
            let frame = Self {
                kind,
                flags,
                stream,
                payload,
            };
            (frame, after)
        }))
    }

    /// The payload without its padding (§6.1).
    fn unpadded(&self) -> Result<&'a [u8], Fault> {
        if self.flags & PADDED == 0 {
            return Ok(self.payload);
        }
        let (&padding, rest) = self.payload.split_first().ok_or(Fault::Framing)?;
        let length = rest.len().checked_sub(padding.into()).ok_or(Fault::Framing)?;
        Ok(&rest[..length])
    }
}

/// The fields of the first request, all but method and scheme put into the dynamic table (RFC 7541 §6.2.1).
fn first_block(path: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x87];
    // The numbers are those of the static table (Appendix A): :path, :authority, user-agent, accept.
    for (name, value) in [(4, path), (1, NAME), (58, "tidegate-bench"), (19, "*/*")] {
        debug_assert!(value.len() < 127, "a length of one byte");
        block.extend([0x40 | name, u8::try_from(value.len()).unwrap_or_default()]);
        block.extend_from_slice(value.as_bytes());
    }
    block
}

/// Whether the first field is this status, as the static table has it (RFC 7541 Appendix A).
fn has_status(mut block: &[u8], status: &str) -> bool {
    // A change of the dynamic table's size goes before the fields (§4.2).
    while let [0x20..=0x3f, rest @ ..] = block {
        let more = block[0] == 0x3f;
        block = rest;
        while more && let [byte, rest @ ..] = block {
            block = rest;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    let index = match status {
        "200" => 8,
        "206" => 10,
        "304" => 11,
        _ => return false,
    };
    block.first() == Some(&(0x80 | index))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target::get(([127, 0, 0, 1], 1).into(), "/5", 5, 1)
    }

    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
    }

    /// Takes `bytes` after two requests: how many were answered, how many refused.
    fn after_two_requests(bytes: &[u8]) -> Result<(usize, usize), Fault> {
        let mut streams = Streams::new(&target());
        streams.ask(crate::clock::now());
        streams.ask(crate::clock::now());
        let (mut answered, mut refused) = (Vec::new(), Vec::new());
        // Byte by byte: frames may come in any pieces.
        for byte in bytes {
            streams.take(&[*byte], &target(), &mut answered, &mut refused)?;
        }
        assert_eq!(streams.under_way(), 2 - answered.len() - refused.len());
        Ok((answered.len(), refused.len()))
    }

    #[test]
    fn only_a_whole_response_of_the_expected_status_counts() {
        let head = frame(HEADERS, END_HEADERS, 1, &[0x88]);
        let resized = frame(HEADERS, END_HEADERS, 1, &[0x3f, 0xe1, 0x1f, 0x20, 0x88]);
        let body = frame(DATA, END_STREAM, 1, b"hello");
        for (frames, expected) in [
            (vec![head.clone(), body.clone()], Ok((1, 0))),
            (vec![resized, body.clone()], Ok((1, 0))),
            (
                vec![head.clone(), frame(DATA, END_STREAM | PADDED, 1, b"\x02hello..")],
                Ok((1, 0)),
            ),
            (vec![head.clone()], Ok((0, 0))),
            (
                vec![frame(HEADERS, END_HEADERS, 1, &[0x8d]), body.clone()],
                Err(Fault::Status),
            ),
            (
                vec![head.clone(), frame(DATA, END_STREAM, 1, b"hell")],
                Err(Fault::Length),
            ),
            (vec![head, frame(DATA, 0, 1, b"hello!")], Err(Fault::Length)),
            (vec![body], Err(Fault::Length)),
            (vec![frame(HEADERS, END_HEADERS, 7, &[0x88])], Err(Fault::Framing)),
            (vec![frame(RST_STREAM, 0, 1, &[0; 4])], Err(Fault::Truncated)),
            (vec![vec![1, 0, 0, 0, 0, 0, 0, 0, 1]], Err(Fault::Framing)),
        ] {
            assert_eq!(after_two_requests(&frames.concat()), expected, "{frames:?}");
        }
    }

    #[test]
    fn what_the_server_has_not_looked_at_is_asked_again() {
        let last = |id: u8, error: u8| frame(GOAWAY, 0, 0, &[0, 0, 0, id, 0, 0, 0, error]);
        assert_eq!(after_two_requests(&last(1, 0)), Ok((0, 1)));
        assert_eq!(after_two_requests(&last(3, 0)), Ok((0, 0)));
        assert_eq!(after_two_requests(&last(3, 1)), Err(Fault::Truncated));
    }

    #[test]
    fn settings_and_pings_are_acknowledged() {
        let mut streams = Streams::new(&target());
        streams.output.clear();
        let bytes = [frame(SETTINGS, 0, 0, &[]), frame(PING, 0, 0, b"12345678")].concat();
        streams
            .take(&bytes, &target(), &mut Vec::new(), &mut Vec::new())
            .unwrap();
        let expected = [frame(SETTINGS, ACK, 0, &[]), frame(PING, ACK, 0, b"12345678")].concat();
        assert_eq!(streams.output, expected);
    }

    #[test]
    fn the_second_request_names_the_fields_of_the_first() {
        let mut streams = Streams::new(&target());
        for length in [2 + 2 + 2 + 2 + 10 + 2 + 14 + 2 + 3, 6] {
            streams.output.clear();
            streams.ask(crate::clock::now());
            assert_eq!(streams.output.len(), HEADER_BYTES + length);
        }
    }
}
