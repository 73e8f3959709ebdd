//! The chunked transfer coding, read (RFC 9112 §7.1). Pure: bytes in, data and trailers out.
//!
//! Strict: every line ends in CRLF, sizes are plain hexadecimal, extensions are checked, bounded and dropped, trailers are
//! checked.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use super::chunk_ext::are_extensions;
use super::parse;
use crate::http::hop_by_hop;

/// Bytes of a chunk-size line, extensions included.
const SIZE_LINE_MAX: usize = 4096;
/// Bytes of all size lines beyond the sizes themselves, per body: a peer cannot send extensions for ever.
const EXTENSIONS_MAX: usize = 64 * 1024;
/// Bytes of the trailer section.
const TRAILERS_MAX: usize = 16 * 1024;

/// Where in the coding the reader is.
///
/// ```text
/// Size ──▶ Data(n) ──▶ DataEnd ──▶ Size …
///   └─(0)─▶ Trailers ──▶ Done
/// ```
#[derive(Debug, PartialEq, Eq)]
enum State {
    Size,
    Data(u64),
    DataEnd,
    Trailers { scanned: usize },
    Done,
}

/// Reads one chunked body.
#[derive(Debug)]
pub struct ChunkedReader {
    state: State,
    extension_bytes: usize,
}

/// What one step gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Data of a chunk.
    Data(Bytes),
    /// The trailer section; the body is whole.
    Trailers(HeaderMap),
    /// The body is whole.
    End,
    /// More bytes are needed.
    More,
}

/// What is wrong with the coding.
pub type ChunkError = &'static str;

impl Default for ChunkedReader {
    fn default() -> Self {
        Self {
            state: State::Size,
            extension_bytes: 0,
        }
    }
}

impl ChunkedReader {
    /// Takes the size of a chunk, where it is there: what does not even begin well is noticed before any data.
    ///
    /// # Errors
    /// What is wrong; the connection cannot go on after that.
    pub fn begin(&mut self, buf: &mut BytesMut) -> Result<(), ChunkError> {
        match self.size_line(buf)? {
            None => {}
            Some(0) => self.state = State::Trailers { scanned: 0 },
            Some(size) => self.state = State::Data(size),
        }
        Ok(())
    }

    /// Takes what can be taken from the front of `buf`.
    ///
    /// # Errors
    /// What is wrong; the connection cannot go on after that.
    pub fn step(&mut self, buf: &mut BytesMut) -> Result<Step, ChunkError> {
        loop {
            match &mut self.state {
                State::Size => {
                    self.begin(buf)?;
                    if self.state == State::Size {
                        return Ok(Step::More);
                    }
                }
                State::Data(left) => {
                    if buf.is_empty() {
                        return Ok(Step::More);
                    }
                    let take = usize::try_from(*left).unwrap_or(usize::MAX).min(buf.len());
                    *left -= take as u64;
                    if *left == 0 {
                        self.state = State::DataEnd;
                    }
                    return Ok(Step::Data(buf.split_to(take).freeze()));
                }
                State::DataEnd => match &buf[..] {
                    [b'\r', b'\n', ..] => {
                        drop(buf.split_to(2));
                        self.state = State::Size;
                    }
                    [] | [b'\r'] => return Ok(Step::More),
                    _ => return Err("chunk data is longer than its size"),
                },
                State::Trailers { .. } => return self.trailers(buf),
                State::Done => return Ok(Step::End),
            }
        }
    }

    /// Whether the body was read to its end.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    fn size_line(&mut self, buf: &mut BytesMut) -> Result<Option<u64>, ChunkError> {
        let Some(lf) = memchr::memchr(b'\n', buf) else {
            if buf.len() > SIZE_LINE_MAX {
                return Err("chunk size line too long");
            }
            // Refuse what cannot become a size before its line end comes.
            return match buf.first() {
                Some(byte) if !byte.is_ascii_hexdigit() => Err("chunk size"),
                _ => Ok(None),
            };
        };
        let line = buf.split_to(lf + 1);
        let line = line.strip_suffix(b"\r\n").ok_or("bare LF in a chunk size line")?;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let (size, extensions) = line.split_at(digits);
        if size.is_empty() || size.len() > 16 {
            return Err("chunk size");
        }
        self.extension_bytes += extensions.len();
        if extensions.len() > SIZE_LINE_MAX || self.extension_bytes > EXTENSIONS_MAX {
            return Err("too many chunk extensions");
        }
        if !are_extensions(extensions) {
            return Err("chunk extensions");
        }
        let size = size.iter().fold(0u64, |sum, digit| (sum << 4) | u64::from(hex(*digit)));
        if size > i64::MAX.unsigned_abs() {
            return Err("chunk size");
        }
        Ok(Some(size))
    }

    fn trailers(&mut self, buf: &mut BytesMut) -> Result<Step, ChunkError> {
        if buf.starts_with(b"\r\n") {
            drop(buf.split_to(2));
            self.state = State::Done;
            return Ok(Step::End);
        }
        let State::Trailers { scanned } = &mut self.state else {
            return Ok(Step::End);
        };
        let from = scanned.saturating_sub(3);
        let Some(end) = memchr::memmem::find(&buf[from..], b"\r\n\r\n").map(|at| from + at + 4) else {
            *scanned = buf.len();
            return if buf.len() > TRAILERS_MAX {
                Err("trailers too long")
            } else {
                Ok(Step::More)
            };
        };
        let lines = buf.split_to(end).freeze();
        if lines.len() > TRAILERS_MAX || has_bare_lf(&lines) {
            return Err("trailers");
        }
        self.state = State::Done;
        let mut trailers = parse::trailers(&lines).ok_or("trailers")?;
        hop_by_hop::remove_from_trailers(&mut trailers);
        Ok(if trailers.is_empty() {
            Step::End
        } else {
            Step::Trailers(trailers)
        })
    }
}

fn has_bare_lf(lines: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', lines).any(|at| at == 0 || lines[at - 1] != b'\r')
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_LENGTH;

    use super::*;

    /// Feeds `wire` in pieces of `piece` bytes; gives the content, the trailers and what is left.
    fn read(wire: &[u8], piece: usize) -> Result<(Vec<u8>, HeaderMap, Vec<u8>), ChunkError> {
        let (mut reader, mut buf, mut content, mut trailers) =
            (ChunkedReader::default(), BytesMut::new(), Vec::new(), HeaderMap::new());
        let mut pieces = wire.chunks(piece);
        loop {
            match reader.step(&mut buf)? {
                Step::Data(data) => content.extend_from_slice(&data),
                Step::Trailers(fields) => trailers = fields,
                Step::End => {
                    buf.extend(pieces.flatten());
                    return Ok((content, trailers, buf.to_vec()));
                }
                Step::More => buf.extend_from_slice(pieces.next().ok_or("ended early")?),
            }
        }
    }

    #[test]
    fn well_formed_bodies_read_the_same_in_pieces_of_any_size() {
        for (wire, content, trailer) in [
            (&b"0\r\n\r\nREST"[..], &b""[..], None),
            (b"3\r\nabc\r\n0\r\n\r\nREST", b"abc", None),
            (
                b"3;a=b;c=\"d\"\r\nabc\r\n00A\r\n0123456789\r\n0\r\n\r\nREST",
                b"abc0123456789",
                None,
            ),
            (
                b"3 ;a\r\nabc\r\n0;x\r\nA: b\r\nContent-Length: 9\r\n\r\nREST",
                b"abc",
                Some("b"),
            ),
            (b"a\r\n0123456789\r\n0\r\n\r\nREST", b"0123456789", None),
        ] {
            for piece in 1..wire.len() {
                let (got, trailers, rest) = read(wire, piece).unwrap();
                assert_eq!(got, content);
                assert_eq!(trailers.get("a").map(|value| value.to_str().unwrap()), trailer);
                assert!(!trailers.contains_key(CONTENT_LENGTH));
                assert_eq!(rest, b"REST");
            }
        }
    }

    #[test]
    fn malformed_bodies_are_refused() {
        for wire in [
            &b"\r\nabc\r\n0\r\n\r\n"[..],
            b"3\nabc\r\n0\r\n\r\n",
            b"3\r\nabc\n0\r\n\r\n",
            b"3\r\nabcd\r\n0\r\n\r\n",
            b"+3\r\nabc\r\n0\r\n\r\n",
            b"-3\r\nabc\r\n0\r\n\r\n",
            b"0x3\r\nabc\r\n0\r\n\r\n",
            b" 3\r\nabc\r\n0\r\n\r\n",
            b"3 \r\nabc\r\n0\r\n\r\n",
            b"3 x\r\nabc\r\n0\r\n\r\n",
            b"3;a\0\r\nabc\r\n0\r\n\r\n",
            b"3;a\rb\r\nabc\r\n0\r\n\r\n",
            b"3;\r\nabc\r\n0\r\n\r\n",
            b"3;a=\"b\r\nabc\r\n0\r\n\r\n",
            b"g\r\nabc\r\n0\r\n\r\n",
            b"ffffffffffffffff\r\nabc\r\n0\r\n\r\n",
            b"10000000000000000\r\nabc\r\n0\r\n\r\n",
            b"0\r\nA b\r\n\r\n",
            b"0\r\nA: b\n\r\n\r\n",
            b"0\r\n A: b\r\n\r\n",
            b"3\r\nabc",
        ] {
            for piece in [1, 2, wire.len()] {
                assert!(read(wire, piece).is_err(), "{}", String::from_utf8_lossy(wire));
            }
        }
        let endless = [b"1;".as_slice(), &[b'a'; 5000]].concat();
        assert!(read(&endless, 100).is_err());
    }
}
