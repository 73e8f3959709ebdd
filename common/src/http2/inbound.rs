//! Octets from a client → frames → what they do to the session (RFC 9113 §3.4, §4, §6). Frames are taken where they lie.
//!
//! What a client may do too much of is counted here (`meter`); what a frame means on its stream is `state`'s to say. A field
//! section is decoded whatever becomes of it: the tables of HPACK are the connection's.

use std::io;
use std::task::{Context, Poll};

use bytes::{Buf as _, BytesMut};

use super::frame::{self, Code, Fault, Frame, flag, kind};
use super::head::{Draft, Refused};
use super::hpack::decode::{Decoder, Error};
use super::meter::{Counts, Flood};
use super::session::Session;
use super::state::StreamState;
use crate::http1::parse::ParseError;
use crate::net::stream::Stream;
use crate::serve::settings::ServeSettings;
use crate::time::MonoTime;

/// How a client begins (RFC 9113 §3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Room made for one read.
const READ: usize = 16 * 1024;
/// CONTINUATION frames of one field section: honest clients need one per 16 KiB.
const CONTINUATIONS_MAX: u32 = 32;

/// What reads a connection.
#[derive(Debug)]
pub(super) struct Reader {
    /// Read, and not yet taken.
    buf: BytesMut,
    phase: Phase,
    decoder: Decoder,
    draft: Draft,
    /// A field section whose end has not come.
    section: Option<Box<Section>>,
    /// When the first octets of one were read, or of its first frame, that is not whole.
    head_began: Option<MonoTime>,
    counts: Counts,
    /// Octets read since they were last asked for.
    received: u64,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Preface,
    /// "That is, the connection preface […] MUST be followed by a SETTINGS frame" (RFC 9113 §3.4).
    Settings,
    Frames,
}

#[derive(Debug)]
struct Section {
    stream: u32,
    ends: bool,
    depends_on_itself: bool,
    block: Vec<u8>,
    continuations: u32,
}

/// Why nothing more is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// A connection error.
    Fault(Code),
    /// Too much of something.
    Flood(Flood),
}

/// The limits that requests are held to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits<'a> {
    pub(super) settings: &'a ServeSettings,
    pub(super) extended_connect: bool,
}

impl Reader {
    /// Reads a connection of which this was read before.
    pub(super) fn new(read: BytesMut) -> Self {
        Self {
            received: read.len() as u64,
            buf: read,
            phase: Phase::Preface,
            decoder: Decoder::new(frame::TABLE_SIZE as usize),
            draft: Draft::default(),
            section: None,
            head_began: None,
            counts: Counts::default(),
        }
    }

    /// Reads once; 0 is the end.
    pub(super) fn poll_fill(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.buf.reserve(READ);
        let read = stream.poll_read_buf(cx, &mut self.buf);
        match &read {
            Poll::Ready(Ok(bytes)) => self.received += *bytes as u64,
            Poll::Pending if self.buf.is_empty() => self.shrink(),
            Poll::Pending | Poll::Ready(Err(_)) => {}
        }
        read
    }

    /// Whether there may be frames that were read and not taken.
    pub(super) fn has_more(&self) -> bool {
        !self.buf.is_empty()
    }

    /// Whether no request was even begun.
    pub(super) fn is_greeting(&self) -> bool {
        self.phase != Phase::Frames
    }

    /// Since when the rest of a field section is waited for.
    pub(super) const fn head_began(&self) -> Option<MonoTime> {
        self.head_began
    }

    /// Octets read since the last time this was asked.
    pub(super) fn take_received(&mut self) -> u64 {
        std::mem::take(&mut self.received)
    }

    /// An idle connection holds no buffer.
    fn shrink(&mut self) {
        self.buf = BytesMut::new();
        self.draft.shrink();
    }

    /// Takes all frames that are there.
    pub(super) fn take_frames(
        &mut self,
        session: &mut Session,
        limits: Limits<'_>,
        now: MonoTime,
    ) -> Result<(), Broken> {
        let mut buf = std::mem::take(&mut self.buf);
        let mut taken = 0;
        let result = loop {
            match self.take_frame(&buf[taken..], session, limits, now) {
                Ok(0) => break Ok(()),
                Ok(octets) => taken += octets,
                Err(broken) => break Err(broken),
            }
        };
        buf.advance(taken);
        self.buf = buf;
        if self.section.is_some() || self.buf.get(frame::KIND_AT) == Some(&kind::HEADERS) {
            self.head_began.get_or_insert(now);
        }
        result
    }

    /// Takes the first frame; its octets, or 0 where it is not whole.
    fn take_frame(
        &mut self,
        octets: &[u8],
        session: &mut Session,
        limits: Limits<'_>,
        now: MonoTime,
    ) -> Result<usize, Broken> {
        if self.phase == Phase::Preface {
            return self.take_preface(octets);
        }
        let Some(head) = octets.first_chunk() else { return Ok(0) };
        let head = frame::Head::parse(*head);
        let length = head.length as usize;
        if length > frame::SIZE_MIN {
            return Err(Broken::Fault(Code::FrameSizeError));
        }
        let Some(payload) = octets.get(frame::HEAD..frame::HEAD + length) else {
            return Ok(0);
        };
        // Padding is no content (RFC 9113 §6.1).
        let is_padded_data = head.kind == kind::DATA && head.has(flag::PADDED);
        let padding = payload.first().filter(|_| is_padded_data);
        let content = length - padding.map_or(0, |padding| length.min(1 + usize::from(*padding)));
        if let Some(kind) = Flood::of(head.kind, content, head.flags) {
            self.count(kind, now)?;
        }
        match self.take(head, payload, session, limits) {
            Ok(()) => {}
            // "RST_STREAM frames MUST NOT be sent for a stream in the "idle" state." (RFC 9113 §6.4)
            Err(Fault::Stream(code)) if session.streams.state(head.stream) != StreamState::Idle => {
                session.refuse(head.stream, code);
                self.count(Flood::Errors, now)?;
            }
            Err(Fault::Stream(code) | Fault::Connection(code)) => return Err(Broken::Fault(code)),
        }
        if self.section.as_ref().is_some_and(|section| section.is_too_long(limits)) {
            return Err(Broken::Flood(Flood::Continuation));
        }
        Ok(frame::HEAD + length)
    }

    fn take_preface(&mut self, octets: &[u8]) -> Result<usize, Broken> {
        let known = octets.len().min(PREFACE.len());
        if octets[..known] != PREFACE[..known] {
            return Err(Broken::Fault(Code::ProtocolError));
        }
        if known < PREFACE.len() {
            return Ok(0);
        }
        self.phase = Phase::Settings;
        Ok(known)
    }

    fn count(&mut self, kind: Flood, now: MonoTime) -> Result<(), Broken> {
        if self.counts.count(kind, now) {
            return Err(Broken::Flood(kind));
        }
        Ok(())
    }

    /// Does what a frame says.
    fn take(
        &mut self,
        head: frame::Head,
        payload: &[u8],
        session: &mut Session,
        limits: Limits<'_>,
    ) -> Result<(), Fault> {
        const PROTOCOL: Fault = Fault::Connection(Code::ProtocolError);
        // "Any number of other CONTINUATION frames […] Field blocks MUST be transmitted as a contiguous sequence of frames,
        // with no interleaved frames of any other type or from any other stream." (RFC 9113 §4.3)
        let goes_on = self.section.as_ref().map(|section| section.stream);
        if goes_on.is_some_and(|stream| head.kind != kind::CONTINUATION || head.stream != stream) {
            return Err(PROTOCOL);
        }
        let said = frame::parse(head, payload)?;
        if self.phase == Phase::Settings {
            if !matches!(said, Frame::Settings(_)) {
                return Err(PROTOCOL);
            }
            self.phase = Phase::Frames;
        }
        match said {
            Frame::Data { content, ends } => session.receive_data(head.stream, content, payload.len(), ends),
            Frame::Headers {
                block,
                ends,
                is_whole,
                depends_on_itself,
            } => {
                let mut section = Section {
                    stream: head.stream,
                    ends,
                    depends_on_itself,
                    block: Vec::new(),
                    continuations: 0,
                };
                if is_whole {
                    return self.end_section(&section, block, session, limits);
                }
                section.block.extend_from_slice(block);
                self.section = Some(Box::new(section));
                Ok(())
            }
            Frame::Continuation { block, is_whole } => {
                let mut section = self.section.take().ok_or(PROTOCOL)?;
                section.block.extend_from_slice(block);
                section.continuations += 1;
                if is_whole {
                    return self.end_section(&section, &section.block, session, limits);
                }
                self.section = Some(section);
                Ok(())
            }
            Frame::RstStream => session.receive_reset(head.stream),
            Frame::Settings(payload) => session.receive_settings(payload),
            Frame::SettingsAck => {
                session.receive_settings_ack();
                Ok(())
            }
            Frame::Ping(octets) => {
                session.receive_ping(octets);
                Ok(())
            }
            Frame::PingAck(octets) => {
                session.receive_ping_ack(octets);
                Ok(())
            }
            Frame::WindowUpdate(increment) => session.receive_window_update(head.stream, increment),
            Frame::GoAway => {
                session.is_client_leaving = true;
                Ok(())
            }
            Frame::Priority | Frame::Unknown => Ok(()),
        }
    }

    /// A field section is there: of a request, or of trailers.
    fn end_section(
        &mut self,
        section: &Section,
        block: &[u8],
        session: &mut Session,
        limits: Limits<'_>,
    ) -> Result<(), Fault> {
        let Section { stream, ends, .. } = *section;
        self.head_began = None;
        let is_new = session.streams.state(stream) == StreamState::Idle;
        let is_request = session.receive_headers(stream, ends);
        if let Err(Fault::Connection(code)) = is_request {
            return Err(Fault::Connection(code));
        }
        self.draft.clear();
        let draft = &mut self.draft;
        let list_max = limits.settings.head_bytes_max;
        let decoded = self.decoder.decode(block, list_max, &mut |field| draft.add(&field));
        let done = match (decoded, is_request) {
            (Err(Error::Compression), _) => return Err(Fault::Connection(Code::CompressionError)),
            (_, Err(fault)) => Err(fault),
            (_, Ok(None)) => return Ok(()),
            // "A stream cannot depend on itself." (RFC 7540 §5.3.1)
            (_, Ok(_)) if section.depends_on_itself => Err(Fault::Stream(Code::ProtocolError)),
            (Ok(()), Ok(Some((true, next)))) => match self.draft.request(limits.settings, limits.extended_connect) {
                Ok(head) => session.accept(stream, next, Ok(head)),
                Err(Refused::Answered(error)) => session.accept(stream, next, Err(error)),
                Err(Refused::Malformed) => Err(Fault::Stream(Code::ProtocolError)),
            },
            (Err(Error::TooLarge), Ok(Some((true, next)))) => {
                session.refused += 1;
                return session.accept(stream, next, Err(ParseError::HeadTooLarge));
            }
            (Err(Error::TooLarge), Ok(Some((false, _)))) => Err(Fault::Stream(Code::EnhanceYourCalm)),
            // "Trailers MUST NOT include pseudo-header fields […] Endpoints MUST treat a request or response that contains
            // undefined or invalid pseudo-header fields as malformed" (§8.1, §8.3): of the connection, since it may be meant
            // to be taken for another request.
            (Ok(()), Ok(Some((false, _)))) if self.draft.has_pseudo() => Err(Fault::Connection(Code::ProtocolError)),
            (Ok(()), Ok(Some((false, next)))) => match self.draft.trailers() {
                Some(trailers) => session.receive_trailers(stream, next, trailers),
                None => Err(Fault::Stream(Code::ProtocolError)),
            },
        };
        session.refused += u64::from(is_new && done.is_err());
        done
    }
}

impl Section {
    /// Whether it has come in more pieces than a client has reason for, or is far beyond what is accepted.
    fn is_too_long(&self, limits: Limits<'_>) -> bool {
        let max = 2 * limits.settings.head_bytes_max.max(frame::SIZE_MIN);
        self.continuations > CONTINUATIONS_MAX || self.block.len() > max
    }
}

#[cfg(test)]
pub(in crate::http2) mod tests;
