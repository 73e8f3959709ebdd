//! Content-Range and what a 206 holds (RFC 9110 §14.4, §15.3.7, RFC 9111 §3.3).

use std::fmt;

use http::{HeaderMap, header};

/// Bytes of a representation, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteRange {
    /// The first byte's position.
    pub first: u64,
    /// The last byte's position.
    pub last: u64,
}

/// The part of a representation that a 206 holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartialContent {
    /// Which bytes.
    pub range: ByteRange,
    /// How many the whole has, where the origin said it.
    pub complete_length: Option<u64>,
}

/// Why a 206 is not stored and not joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PartialInvalid {
    /// No Content-Range, two of them, or one that is malformed.
    ContentRange,
    /// Several parts (`multipart/byteranges`).
    Multipart,
    /// More content than its Content-Range says.
    Length,
    /// Other bytes than were asked for.
    WrongRange,
    /// Another complete length than the part that is stored.
    CompleteLength,
    /// No strong validator, or another one than the part that is stored.
    Validator,
}

impl PartialInvalid {
    /// The word for log, metric and `Cache-Status`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::ContentRange => "partial_content_range",
            Self::Multipart => "partial_multipart",
            Self::Length => "partial_length",
            Self::WrongRange => "partial_wrong_range",
            Self::CompleteLength => "partial_complete_length",
            Self::Validator => "partial_validator",
        }
    }
}

impl ByteRange {
    /// `length` bytes from `first` on; `None` when there is none.
    pub const fn with_length(first: u64, length: u64) -> Option<Self> {
        let Some(end) = first.checked_add(length) else {
            return None;
        };
        if length == 0 {
            return None;
        }
        Some(Self { first, last: end - 1 })
    }

    /// How many bytes.
    #[expect(clippy::len_without_is_empty, reason = "a range has at least one byte")]
    pub const fn len(&self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }

    /// Whether all bytes of `other` are among these.
    pub const fn contains(&self, other: &Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }
}

/// Reads the Content-Range of a 206 and what its Content-Length says about it.
///
/// # Errors
/// When the message contradicts itself.
pub fn partial_content(fields: &HeaderMap) -> Result<PartialContent, PartialInvalid> {
    let content_type = fields
        .get(header::CONTENT_TYPE)
        .map_or(&b""[..], |value| value.as_bytes());
    let multipart = b"multipart/byteranges";
    if content_type
        .get(..multipart.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(multipart))
    {
        return Err(PartialInvalid::Multipart);
    }
    let mut lines = fields.get_all(header::CONTENT_RANGE).iter();
    let (Some(value), None) = (lines.next(), lines.next()) else {
        return Err(PartialInvalid::ContentRange);
    };
    let partial = parse(value.as_bytes()).ok_or(PartialInvalid::ContentRange)?;
    match content_length(fields) {
        Some(length) => partial.received(length),
        None => Ok(partial),
    }
}

/// The value of Content-Length, if it is a number.
pub fn content_length(fields: &HeaderMap) -> Option<u64> {
    let value = fields.get(header::CONTENT_LENGTH)?;
    number(value.as_bytes())
}

impl PartialContent {
    /// What is held when `length` bytes of content came: the beginning of the range, if they are fewer than announced.
    ///
    /// # Errors
    /// When they are more, or none.
    pub const fn received(self, length: u64) -> Result<Self, PartialInvalid> {
        if length > self.range.len() {
            return Err(PartialInvalid::Length);
        }
        // "a cache MAY store a response that is not complete […] provided that the stored response is recorded as being
        // incomplete. Likewise, a 206 (Partial Content) response MAY be stored as if it were an incomplete 200 (OK)
        // response." (RFC 9111 §3.3) What came is stored, and only that is reused.
        match ByteRange::with_length(self.range.first, length) {
            Some(range) => Ok(Self { range, ..self }),
            None => Err(PartialInvalid::Length),
        }
    }

    /// Whether all bytes of `asked` that there are, are here.
    pub fn satisfies(&self, asked: ByteRange) -> bool {
        let end = self.complete_length.map_or(u64::MAX, |length| length.saturating_sub(1));
        let last = asked.last.min(end);
        self.range.first <= asked.first && asked.first <= last && last <= self.range.last
    }

    /// Whether this answers a request for `asked`: it begins where asked, and does not go beyond.
    ///
    /// # Errors
    /// When these are other bytes.
    pub const fn answers(&self, asked: ByteRange) -> Result<(), PartialInvalid> {
        if self.range.first == asked.first && self.range.last <= asked.last {
            Ok(())
        } else {
            Err(PartialInvalid::WrongRange)
        }
    }
}

/// Reads `bytes 4-9/10` or `bytes 4-9/*`.
fn parse(value: &[u8]) -> Option<PartialContent> {
    let (unit, rest) = value.split_at_checked(6)?;
    if !unit.eq_ignore_ascii_case(b"bytes ") {
        return None;
    }
    let slash = rest.iter().position(|byte| *byte == b'/')?;
    let dash = rest[..slash].iter().position(|byte| *byte == b'-')?;
    let (first, last) = (number(&rest[..dash])?, number(&rest[dash + 1..slash])?);
    let complete_length = match &rest[slash + 1..] {
        b"*" => None,
        text => Some(number(text)?),
    };
    // "A Content-Range field value is invalid if it contains a range-resp that has a last-pos value less than its
    // first-pos value, or a complete-length value less than or equal to its last-pos value. The recipient of an invalid
    // Content-Range MUST NOT attempt to recombine the received content with a stored representation." (RFC 9110 §14.4)
    let valid = first <= last && complete_length.is_none_or(|complete| last < complete);
    valid.then_some(PartialContent {
        range: ByteRange { first, last },
        complete_length,
    })
}

pub(super) fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// The value of a Content-Range field for a 206.
impl fmt::Display for PartialContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes {}-{}/", self.range.first, self.range.last)?;
        match self.complete_length {
            Some(complete) => write!(f, "{complete}"),
            None => f.write_str("*"),
        }
    }
}

/// The value of a Content-Range field for a 416: the length of the whole.
#[derive(Clone, Copy, Debug)]
pub struct Unsatisfied(pub u64);

impl fmt::Display for Unsatisfied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes */{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn check(lines: &[(&'static str, &'static str)], expected: Result<(u64, u64, Option<u64>), PartialInvalid>) {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(*name, HeaderValue::from_static(value));
        }
        let found = partial_content(&fields).map(|found| (found.range.first, found.range.last, found.complete_length));
        assert_eq!(found, expected, "{lines:?}");
    }

    #[test]
    fn content_range_is_read_and_checked() {
        let (cr, cl) = ("content-range", "content-length");
        let bad = Err(PartialInvalid::ContentRange);
        for (lines, expected) in [
            (&[(cr, "bytes 4-9/10")][..], Ok((4, 9, Some(10)))),
            (&[(cr, "Bytes 4-9/*")], Ok((4, 9, None))),
            (&[(cr, "bytes 0-0/1"), (cl, "1")], Ok((0, 0, Some(1)))),
            (&[(cr, "bytes 4-9/10"), (cl, "6")], Ok((4, 9, Some(10)))),
            (&[(cr, "bytes 4-9/10"), (cl, "5")], Ok((4, 8, Some(10)))),
            (&[(cr, "bytes 4-9/10"), (cl, "7")], Err(PartialInvalid::Length)),
            (&[(cr, "bytes 4-9/10"), (cl, "0")], Err(PartialInvalid::Length)),
            (&[], bad),
            (&[(cr, "bytes 4-9/10"), (cr, "bytes 4-9/10")], bad),
            (&[(cr, "bytes 4-9/9")], bad),
            (&[(cr, "bytes 9-4/10")], bad),
            (&[(cr, "bytes */10")], bad),
            (&[(cr, "bytes 4-9")], bad),
            (&[(cr, "bytes=4-9/10")], bad),
            (&[(cr, "items 4-9/10")], bad),
            (&[(cr, "bytes -4-9/10")], bad),
            (&[(cr, "bytes 4-99999999999999999999/*")], bad),
            (
                &[
                    (cr, "bytes 4-9/10"),
                    ("content-type", "Multipart/ByteRanges; boundary=x"),
                ],
                Err(PartialInvalid::Multipart),
            ),
        ] {
            check(lines, expected);
        }
    }

    #[test]
    fn a_206_must_begin_where_it_was_asked_to() {
        let part = |first, last| PartialContent {
            range: ByteRange { first, last },
            complete_length: None,
        };
        let asked = ByteRange { first: 10, last: 19 };
        assert_eq!(part(10, 19).answers(asked), Ok(()));
        assert_eq!(part(10, 12).answers(asked), Ok(()));
        for wrong in [part(0, 19), part(11, 19), part(10, 20), part(20, 29)] {
            assert_eq!(wrong.answers(asked), Err(PartialInvalid::WrongRange), "{wrong}");
        }
    }

    #[test]
    fn ranges_have_lengths_and_a_written_form() {
        assert_eq!(ByteRange::with_length(5, 0), None);
        assert_eq!(ByteRange::with_length(u64::MAX, 1), None);
        assert_eq!(ByteRange::with_length(5, 3), Some(ByteRange { first: 5, last: 7 }));
        assert_eq!(ByteRange { first: 5, last: 7 }.len(), 3);
        assert_eq!(
            ByteRange {
                first: 0,
                last: u64::MAX
            }
            .len(),
            u64::MAX
        );
        let part = PartialContent {
            range: ByteRange { first: 5, last: 7 },
            complete_length: Some(10),
        };
        assert_eq!(part.to_string(), "bytes 5-7/10");
        assert_eq!(Unsatisfied(10).to_string(), "bytes */10");
    }
}
