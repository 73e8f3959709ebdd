//! A representation that an origin serves by ranges, however long it claims to be: its bytes are made when they are asked for.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::message::Request;
use crate::script::Script;

/// A representation. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Ranged(Arc<Mutex<State>>);

#[derive(Clone, Debug)]
struct State {
    length: u64,
    etag: String,
    /// What each byte differs by from those of another version.
    version: u8,
    lines: String,
}

impl Ranged {
    /// One of `length` bytes, fresh for a minute, with this entity tag (quotes included).
    pub fn new(length: u64, etag: &str) -> Self {
        Self(Arc::new(Mutex::new(State {
            length,
            etag: etag.to_owned(),
            version: 0,
            lines: "Cache-Control: max-age=60\r\n".to_owned(),
        })))
    }

    /// With these lines in place of Cache-Control.
    #[must_use]
    pub fn with(self, lines: &str) -> Self {
        lines.clone_into(&mut self.0.lock().lines);
        self
    }

    /// Another one with the same lines: other bytes, this length and this entity tag.
    #[must_use]
    pub fn alike(&self, length: u64, etag: &str) -> Self {
        let other = Self(Arc::new(Mutex::new(self.0.lock().clone())));
        other.change(length, etag);
        other
    }

    /// From now on it has other bytes, this length and this entity tag.
    pub fn change(&self, length: u64, etag: &str) {
        let mut state = self.0.lock();
        state.length = length;
        etag.clone_into(&mut state.etag);
        state.version = state.version.wrapping_add(101);
    }

    /// The bytes from `first` to `last`, both included, as they are now.
    pub fn bytes(&self, first: u64, last: u64) -> Vec<u8> {
        let version = self.0.lock().version;
        let byte = |at: u64| at.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()[7].wrapping_add(version);
        (first..=last).map(byte).collect()
    }

    /// What an origin answers: 206, 416, 304, or the whole.
    pub fn answer(&self, request: &Request) -> Script {
        let State {
            length, etag, lines, ..
        } = self.0.lock().clone();
        let lines = format!("{lines}ETag: {etag}\r\nContent-Type: text/x-test\r\n");
        if request.field("if-none-match").is_some_and(|tags| tags.contains(&etag)) {
            return Script::says(format!("HTTP/1.1 304 Not Modified\r\n{lines}\r\n"));
        }
        match request.field("range").map(|range| resolve(range, length)) {
            None if length == 0 => Script::answer(200, &lines, ""),
            None => Script::answer(200, &lines, self.bytes(0, length - 1)),
            Some(Some((first, last))) => {
                let lines = format!("{lines}Content-Range: bytes {first}-{last}/{length}\r\n");
                Script::answer(206, &lines, self.bytes(first, last))
            }
            Some(None) => Script::answer(416, &format!("Content-Range: bytes */{length}\r\n"), ""),
        }
    }
}

/// One range of a representation of `length` bytes.
fn resolve(range: &str, length: u64) -> Option<(u64, u64)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let end = length.checked_sub(1)?;
    let (first, last) = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) => (first, last.min(end)),
        (Ok(first), Err(_)) => (first, end),
        (Err(_), Ok(suffix)) => (length.saturating_sub(suffix), end),
        (Err(_), Err(_)) => return None,
    };
    (first <= last).then_some((first, last))
}
