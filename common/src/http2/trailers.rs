//! Pseudo-header fields in a client's trailers, found while the bytes come by. Pure.
//!
//! "Trailers MUST NOT include pseudo-header fields. […] Any request […] that contains undefined or invalid pseudo-header
//! fields MUST be treated as malformed" (RFC 9113 §8.1, §8.3): h2 drops them and does not tell. A field says in its first
//! octets what it is, so no table of HPACK is needed; one that refers to the dynamic table is left to h2, which drops it.

use bytes::{Buf as _, BytesMut};

const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITIZED: u8 = 0x20;
/// Octets of a trailer section that are kept to be looked through; h2 bounds header lists long before.
const BLOCK_MAX: usize = 256 << 10;

/// Looks through trailers.
#[derive(Debug, Default)]
pub(super) struct TrailerWatch {
    /// The highest stream that has had a head: what has one again has trailers.
    highest: u32,
    /// Heads of streams that have come.
    heads: u64,
    /// The block that is coming; `None` where the frame that comes is no part of trailers.
    coming: Option<Coming>,
    found: bool,
}

#[derive(Debug)]
struct Coming {
    /// The field block so far, and what came of the frame that is not whole.
    block: BytesMut,
    /// Where the content of that frame begins in it.
    begin: usize,
    /// Octets of that frame that are still to come.
    left: usize,
    flags: u8,
    is_first: bool,
}

impl TrailerWatch {
    /// A frame begins. Where `see` wants its content, this is true.
    pub(super) fn frame(&mut self, kind: u8, flags: u8, stream: u32, length: usize) -> bool {
        match kind {
            HEADERS if stream > self.highest => {
                self.highest = stream;
                self.heads += 1;
                self.coming = None;
            }
            HEADERS => self.coming = Some(Coming::new(BytesMut::new(), flags, length, true)),
            CONTINUATION => {
                let before = self.coming.take();
                let room = |before: &Coming| before.block.len() + length <= BLOCK_MAX;
                let before = before.filter(room);
                self.coming = before.map(|before| Coming::new(before.block, flags, length, false));
            }
            _ => self.coming = None,
        }
        if length == 0 {
            self.end_of_frame();
        }
        self.coming.as_ref().is_some_and(|coming| coming.left > 0)
    }

    /// Content of the frame comes by.
    pub(super) fn see(&mut self, content: &[u8]) {
        let Some(coming) = &mut self.coming else { return };
        let taken = content.len().min(coming.left);
        coming.block.extend_from_slice(&content[..taken]);
        coming.left -= taken;
        if coming.left == 0 {
            self.end_of_frame();
        }
    }

    /// Whether trailers had a pseudo-header field.
    pub(super) const fn has_found(&self) -> bool {
        self.found
    }

    /// The highest stream that has had a head.
    pub(super) const fn highest(&self) -> u32 {
        self.highest
    }

    /// How many streams have had one, or the beginning of one.
    pub(super) const fn heads(&self) -> u64 {
        self.heads
    }

    fn end_of_frame(&mut self) {
        let Some(coming) = &mut self.coming else { return };
        if coming.is_first && !coming.strip() {
            // Against the rules in another way, which h2 will say.
            self.coming = None;
            return;
        }
        if coming.flags & END_HEADERS != 0 {
            self.found |= has_pseudo(&coming.block);
            self.coming = None;
        }
    }
}

impl Coming {
    fn new(block: BytesMut, flags: u8, left: usize, is_first: bool) -> Self {
        Self {
            begin: block.len(),
            block,
            left,
            flags,
            is_first,
        }
    }

    /// Takes padding and priority off a HEADERS frame (RFC 9113 §6.2); false when it has less than it says.
    fn strip(&mut self) -> bool {
        self.is_first = false;
        debug_assert_eq!(self.begin, 0, "HEADERS begin a block");
        let mut padding = 0;
        if self.flags & PADDED != 0 {
            let Some(length) = self.block.first() else { return false };
            padding = usize::from(*length);
            self.block.advance(1);
        }
        if self.flags & PRIORITIZED != 0 {
            if self.block.len() < 5 {
                return false;
            }
            self.block.advance(5);
        }
        let Some(length) = self.block.len().checked_sub(padding) else {
            return false;
        };
        self.block.truncate(length);
        true
    }
}

/// Whether a field block has a pseudo-header field that shows itself; false where it does not decode.
fn has_pseudo(mut block: &[u8]) -> bool {
    // The static table begins with them (RFC 7541 Appendix A).
    let is_pseudo = |index: usize| (1..=14).contains(&index);
    while let Some(first) = block.first().copied() {
        let prefix = match first {
            0x80.. => 7,
            0x40..=0x7f => 6,
            0x20..=0x3f => 5,
            _ => 4,
        };
        let Some(index) = integer(&mut block, prefix) else {
            return false;
        };
        match prefix {
            5 => {}
            _ if is_pseudo(index) => return true,
            7 => {}
            _ => {
                if index == 0 {
                    match string(&mut block) {
                        Some((is_coded, name)) if begins_with_colon(is_coded, name) => return true,
                        Some(_) => {}
                        None => return false,
                    }
                }
                if string(&mut block).is_none() {
                    return false;
                }
            }
        }
    }
    false
}

/// An integer whose first octet has so many bits for it (RFC 7541 §5.1).
fn integer(block: &mut &[u8], prefix: u32) -> Option<usize> {
    let mask = (1_usize << prefix) - 1;
    let mut value = usize::from(*block.first()?) & mask;
    block.advance(1);
    if value < mask {
        return Some(value);
    }
    for shift in [0, 7, 14, 21] {
        let octet = usize::from(*block.first()?);
        block.advance(1);
        value += (octet & 0x7f) << shift;
        if octet & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// A string literal (RFC 7541 §5.2): whether it is Huffman-coded, and its octets.
fn string<'a>(block: &mut &'a [u8]) -> Option<(bool, &'a [u8])> {
    let is_coded = block.first()? & 0x80 != 0;
    let length = integer(block, 7)?;
    let text = block.get(..length)?;
    block.advance(length);
    Some((is_coded, text))
}

fn begins_with_colon(is_coded: bool, name: &[u8]) -> bool {
    // The code of ":" is 1011100, of seven bits (RFC 7541 Appendix B).
    const CODED: u8 = 0b1011_1000;
    name.first().is_some_and(|first| {
        if is_coded {
            first & 0xfe == CODED
        } else {
            *first == b':'
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const END_STREAM: u8 = 1;

    /// A head, and trailers of these frames; each is flags and content.
    fn found(frames: &[(u8, &[u8])], piece: usize) -> bool {
        let mut watch = TrailerWatch::default();
        watch.frame(HEADERS, END_HEADERS, 1, 1);
        watch.see(&[0x82]);
        for (place, (flags, content)) in frames.iter().enumerate() {
            let kind = if place == 0 { HEADERS } else { CONTINUATION };
            watch.frame(kind, *flags, 1, content.len());
            content.chunks(piece).for_each(|piece| watch.see(piece));
        }
        watch.has_found()
    }

    #[test]
    fn pseudo_fields_are_found_in_whatever_form_and_other_fields_are_none() {
        let end = END_HEADERS | END_STREAM;
        let literal = [&[0, 7][..], b":method", &[3], b"GET"].concat();
        let plain = [&[0, 5][..], b"x-sum", &[1], b"7"].concat();
        let mut second = plain.clone();
        second.extend([0x82]);
        let padded = [&[2][..], &literal, &[0, 0]].concat();
        let prioritized = [&[0, 0, 0, 0, 16][..], &literal].concat();
        for (block, expected) in [
            (&literal[..], true),
            (&[0x82], true),                   // :method GET
            (&[0x8e], true),                   // :status 500
            (&[0x8f], false),                  // accept-charset
            (&[0xbe], false),                  // of the dynamic table
            (&[0x42, 1, b'x'], true),          // :method, to be indexed
            (&[0x02, 1, b'x'], true),          // :method, not to be indexed
            (&[0x12, 1, b'x'], true),          // :method, never
            (&[0x0f, 0x00, 1, b'x'], false),   // accept-charset
            (&[0x20, 0x84], true),             // after a table size
            (&[0, 0x82, 0xb8, 0x00, 0], true), // Huffman, ":" first
            (&[0, 0x81, 0x1f, 0], false),      // Huffman, "a"
            (&plain, false),
            (&second, true),
            (&[0, 7, b':'], false), // cut: h2 says so
            (&[0x7f, 0xff, 0xff, 0xff, 0xff], false),
            (&[], false),
        ] {
            for piece in [1, 3, 1000] {
                assert_eq!(found(&[(end, block)], piece), expected, "{block:?}");
            }
        }
        for (flags, content) in [(PADDED, &padded), (PRIORITIZED, &prioritized)] {
            assert!(found(&[(end | flags, content)], 4), "{flags}");
        }
        assert!(!found(&[(end | PADDED, &[9, 1])], 4), "h2 says so");
    }

    #[test]
    fn a_block_may_come_in_several_frames() {
        let literal = [&[0, 7][..], b":method", &[3], b"GET"].concat();
        for cut in 0..=literal.len() {
            let (one, other) = literal.split_at(cut);
            assert!(found(&[(END_STREAM, one), (END_HEADERS, other)], 2), "{cut}");
        }
        assert!(!found(&[(END_STREAM, &literal)], 2), "no end yet");
    }

    #[test]
    fn heads_are_none_of_its_business() {
        let mut watch = TrailerWatch::default();
        for stream in [1, 3, 7] {
            assert!(!watch.frame(HEADERS, END_HEADERS | END_STREAM, stream, 1));
            watch.see(&[0x82]);
        }
        assert!(!watch.frame(0, 0, 7, 5), "DATA");
        assert_eq!((watch.has_found(), watch.highest(), watch.heads()), (false, 7, 3));
    }
}
