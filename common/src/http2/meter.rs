//! How many frames a client sends that ask for work and bring nothing: PING, SETTINGS, PRIORITY, `RST_STREAM`,
//! window updates, empty DATA, unknown types. Pure; `now` is an argument.
//!
//! h2 itself bounds CONTINUATION frames, streams that are reset before they were accepted, and tiny DATA frames; of a client
//! that reads what it provokes it has no count. Only frame heads are looked at (RFC 9113 §4.1), and what `trailers` wants.

use std::time::Duration;

use super::trailers::TrailerWatch;
use crate::telemetry::metrics::Counter;
use crate::time::MonoTime;

/// Counts frames as their bytes come by.
#[derive(Debug, Default)]
pub(super) struct FrameMeter {
    /// Bytes until the next frame head.
    skip: usize,
    /// What there is of a frame head that came in pieces.
    head: [u8; HEAD],
    have: usize,
    window_ends: Option<MonoTime>,
    counts: [u32; KINDS],
    flood: Option<Flood>,
    /// Of a client's connection.
    trailers: Option<TrailerWatch>,
    /// The frame that comes belongs to trailers.
    is_trailers: bool,
}

/// What a client does too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flood {
    /// PING frames.
    Ping,
    /// SETTINGS frames.
    Settings,
    /// `RST_STREAM` frames: rapid reset.
    Reset,
    /// DATA without content, PRIORITY, and frames of unknown types.
    Empty,
    /// `WINDOW_UPDATE` frames.
    Window,
}

const HEAD: usize = 9;
const KINDS: usize = 5;
/// The preface comes before the first frame (RFC 9113 §3.4).
const PREFACE: usize = 24;
/// Frames are counted per this time.
const WINDOW: Duration = Duration::from_secs(10);

impl Flood {
    /// Its word in logs.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Settings => "settings",
            Self::Reset => "reset",
            Self::Empty => "empty",
            Self::Window => "window_update",
        }
    }

    pub(super) const fn counter(self) -> Counter {
        match self {
            Self::Ping => Counter::Http2FloodPing,
            Self::Settings => Counter::Http2FloodSettings,
            Self::Reset => Counter::Http2FloodReset,
            Self::Empty => Counter::Http2FloodEmpty,
            Self::Window => Counter::Http2FloodWindow,
        }
    }

    /// Frames per ten seconds that honest clients stay far below.
    const fn max(self) -> u32 {
        match self {
            // gRPC pings every few seconds and with each bandwidth probe.
            Self::Ping => 500,
            Self::Settings => 100,
            // A browser that leaves a page, or scrolls through images, cancels some hundred requests.
            Self::Reset => 1_000,
            Self::Empty => 1_000,
            // Clients update windows once or twice per DATA frame that they get: 16 KiB × 200,000 in ten seconds are
            // more than 2.5 Gbit/s.
            Self::Window => 400_000,
        }
    }

    /// What a frame counts as (RFC 9113 §6).
    const fn of(kind: u8, length: usize, flags: u8) -> Option<Self> {
        const END_STREAM: u8 = 1;
        match kind {
            0 if length == 0 && flags & END_STREAM == 0 => Some(Self::Empty),
            0 | 1 | 5 | 7 | 9 => None,
            3 => Some(Self::Reset),
            4 => Some(Self::Settings),
            6 => Some(Self::Ping),
            8 => Some(Self::Window),
            _ => Some(Self::Empty),
        }
    }
}

impl FrameMeter {
    /// For a client's connection, which begins with the preface.
    pub(super) fn new() -> Self {
        Self {
            skip: PREFACE,
            trailers: Some(TrailerWatch::default()),
            ..Self::default()
        }
    }

    /// Bytes come by.
    pub(super) fn see(&mut self, mut bytes: &[u8], now: MonoTime) {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len());
                self.skip -= skipped;
                if let Some(trailers) = self.trailers.as_mut().filter(|_| self.is_trailers) {
                    trailers.see(&bytes[..skipped]);
                }
                bytes = &bytes[skipped..];
                continue;
            }
            let taken = (HEAD - self.have).min(bytes.len());
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have == HEAD {
                self.have = 0;
                let [a, b, c, kind, flags, stream @ ..] = self.head;
                self.skip = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                // "The reserved bit […] MUST be ignored when receiving." (RFC 9113 §4.1)
                let stream = u32::from_be_bytes(stream) & (u32::MAX >> 1);
                let trailers = self.trailers.as_mut();
                self.is_trailers = trailers.is_some_and(|trailers| trailers.frame(kind, flags, stream, self.skip));
                self.count(kind, flags, now);
            }
        }
    }

    fn count(&mut self, kind: u8, flags: u8, now: MonoTime) {
        let Some(kind) = Flood::of(kind, self.skip, flags) else {
            return;
        };
        if self.window_ends.is_none_or(|ends| now >= ends) {
            self.window_ends = Some(now + WINDOW);
            self.counts = [0; KINDS];
        }
        let count = &mut self.counts[kind as usize];
        *count += 1;
        if *count > kind.max() {
            self.flood = Some(kind);
        }
    }

    /// What is known of a client's heads and trailers.
    pub(super) const fn trailers(&self) -> Option<&TrailerWatch> {
        self.trailers.as_ref()
    }

    /// What the client does too much of.
    pub(super) const fn flood(&self) -> Option<Flood> {
        self.flood
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::mono_now;

    fn frame(kind: u8, flags: u8, content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags, 0, 0, 0, 0]);
        frame.extend(content);
        frame
    }

    fn flood_of(frames: &[u8], times: u32, piece: usize) -> Option<Flood> {
        let mut meter = FrameMeter::new();
        let now = mono_now();
        let mut bytes = vec![b'P'; PREFACE];
        for _ in 0..times {
            bytes.extend(frames);
        }
        bytes.chunks(piece).for_each(|piece| meter.see(piece, now));
        meter.flood()
    }

    #[test]
    fn each_flood_has_its_name_and_its_limit_however_the_bytes_are_cut() {
        for (frame, kind) in [
            (frame(6, 0, &[0; 8]), Flood::Ping),
            (frame(4, 0, &[]), Flood::Settings),
            (frame(3, 0, &[0; 4]), Flood::Reset),
            (frame(0, 0, &[]), Flood::Empty),
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
        let (mut meter, mut now) = (FrameMeter::new(), mono_now());
        meter.see(&[0; PREFACE], now);
        for _ in 0..10 {
            let pings = frame(6, 0, &[0; 8]).repeat(500);
            meter.see(&pings, now);
            now += WINDOW;
        }
        assert_eq!(meter.flood(), None);
    }
}
