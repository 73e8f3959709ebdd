//! How many frames a peer sends that ask for work and bring nothing: PING, SETTINGS, PRIORITY, `RST_STREAM`, window updates,
//! empty DATA, unknown types, and errors of streams. Pure; `now` is an argument.
//!
//! `inbound` counts a client's frames as it takes them. Of a server, which h2 listens to, [`FrameMeter`] looks at the frames'
//! heads as their bytes come by (RFC 9113 §4.1).

use std::time::Duration;

use super::frame::{self, flag, kind};
use crate::telemetry::metrics::Counter;
use crate::time::MonoTime;

/// What a peer does too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flood {
    /// PING frames.
    Ping,
    /// SETTINGS frames.
    Settings,
    /// `RST_STREAM` frames: rapid reset.
    Reset,
    /// PRIORITY, and frames of unknown types.
    Empty,
    /// `WINDOW_UPDATE` frames.
    Window,
    /// DATA without content.
    Data,
    /// Streams that we end for what the client does on them.
    Errors,
    /// A field section in too many frames, or far too large: not counted in time.
    Continuation,
}

const KINDS: usize = 8;
/// Frames are counted per this time.
const WINDOW: Duration = Duration::from_secs(10);

impl Flood {
    /// What a frame counts as (RFC 9113 §6).
    pub(super) const fn of(kind: u8, length: usize, flags: u8) -> Option<Self> {
        match kind {
            kind::DATA if length == 0 && flags & flag::END_STREAM == 0 => Some(Self::Data),
            kind::DATA | kind::HEADERS | kind::CONTINUATION | kind::PUSH_PROMISE | kind::GOAWAY => None,
            kind::RST_STREAM => Some(Self::Reset),
            kind::SETTINGS => Some(Self::Settings),
            kind::PING => Some(Self::Ping),
            kind::WINDOW_UPDATE => Some(Self::Window),
            _ => Some(Self::Empty),
        }
    }

    /// Its word in logs.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Settings => "settings",
            Self::Reset => "reset",
            Self::Empty => "empty",
            Self::Window => "window_update",
            Self::Data => "data",
            Self::Errors => "errors",
            Self::Continuation => "continuation",
        }
    }

    pub(super) const fn counter(self) -> Counter {
        match self {
            Self::Ping => Counter::Http2FloodPing,
            Self::Settings => Counter::Http2FloodSettings,
            Self::Reset => Counter::Http2FloodReset,
            Self::Empty => Counter::Http2FloodEmpty,
            Self::Window => Counter::Http2FloodWindow,
            Self::Data | Self::Errors | Self::Continuation => Counter::Http2Calm,
        }
    }

    /// Frames per ten seconds that honest peers stay far below.
    const fn max(self) -> u32 {
        match self {
            // gRPC pings every few seconds and with each bandwidth probe.
            Self::Ping => 500,
            Self::Settings => 100,
            // A browser that leaves a page, or scrolls through images, cancels some hundred requests.
            Self::Reset | Self::Empty | Self::Data => 1_000,
            // Clients update windows once or twice per DATA frame that they get: 16 KiB × 200,000 in ten seconds are
            // more than 2.5 Gbit/s.
            Self::Window => 400_000,
            // What is still on its way when a stream is refused, and clients that do not know better.
            Self::Errors => 500,
            Self::Continuation => 0,
        }
    }
}

/// Frames counted in the current ten seconds.
#[derive(Debug, Default)]
pub(super) struct Counts {
    window_ends: Option<MonoTime>,
    counts: [u32; KINDS],
}

impl Counts {
    /// Counts one; whether it is too many.
    pub(super) fn count(&mut self, kind: Flood, now: MonoTime) -> bool {
        if self.window_ends.is_none_or(|ends| now >= ends) {
            self.window_ends = Some(now + WINDOW);
            self.counts = [0; KINDS];
        }
        let count = &mut self.counts[kind as usize];
        *count += 1;
        *count > kind.max()
    }
}

/// Counts a server's frames as their bytes come by.
#[derive(Debug, Default)]
pub(super) struct FrameMeter {
    /// Bytes until the next frame head.
    skip: usize,
    /// What there is of a frame head that came in pieces.
    head: [u8; frame::HEAD],
    have: usize,
    counts: Counts,
    flood: Option<Flood>,
}

impl FrameMeter {
    /// Bytes come by.
    pub(super) fn see(&mut self, mut bytes: &[u8], now: MonoTime) {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len());
                self.skip -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            let taken = (frame::HEAD - self.have).min(bytes.len());
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have == frame::HEAD {
                self.have = 0;
                let head = frame::Head::parse(self.head);
                self.skip = head.length as usize;
                if let Some(kind) = Flood::of(head.kind, self.skip, head.flags)
                    && self.counts.count(kind, now)
                {
                    self.flood = Some(kind);
                }
            }
        }
    }

    /// What the server does too much of.
    pub(super) const fn flood(&self) -> Option<Flood> {
        self.flood
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::mono_now;

    fn frame(kind: u8, flags: u8, content: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        frame::put(&mut out, kind, flags, 0, content);
        out
    }

    fn flood_of(frames: &[u8], times: u32, piece: usize) -> Option<Flood> {
        let mut meter = FrameMeter::default();
        let now = mono_now();
        let bytes = frames.repeat(times as usize);
        bytes.chunks(piece).for_each(|piece| meter.see(piece, now));
        meter.flood()
    }

    #[test]
    fn each_flood_has_its_name_and_its_limit_however_the_bytes_are_cut() {
        for (frame, kind) in [
            (frame(6, 0, &[0; 8]), Flood::Ping),
            (frame(4, 0, &[]), Flood::Settings),
            (frame(3, 0, &[0; 4]), Flood::Reset),
            (frame(0, 0, &[]), Flood::Data),
            (frame(0x7f, 0, &[1; 300]), Flood::Empty),
            (frame(8, 0, &[0; 4]), Flood::Window),
        ] {
            assert_eq!(flood_of(&frame, kind.max(), 4096), None, "{kind:?}");
            assert_eq!(flood_of(&frame, kind.max() + 1, 4096), Some(kind));
            assert_eq!(flood_of(&frame, kind.max() + 1, 7), Some(kind));
        }
    }

    #[test]
    fn messages_are_no_flood_and_neither_are_frames_that_take_their_time() {
        let request = [frame(1, 4, &[0; 30]), frame(0, 0, &[0; 100]), frame(0, 1, &[])].concat();
        assert_eq!(flood_of(&request, 10_000, 16_384), None);
        let (mut counts, mut now) = (Counts::default(), mono_now());
        for _ in 0..10 {
            assert!((0..500).all(|_| !counts.count(Flood::Ping, now)));
            now += WINDOW;
        }
    }
}
