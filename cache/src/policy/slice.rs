//! Large representations in slices of one size: which ones a range needs, and whether a slice belongs to the others.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use bytes::Bytes;
use http::HeaderMap;

use super::content_range::{ByteRange, PartialContent, PartialInvalid, partial_content};
use super::held::may_join;
use super::range::{RangeSet, RangeSpec};
use super::validators::Validators;

/// The numbers of the slices of `slice_length` bytes that `range` touches.
///
/// # Panics
/// Never: a `slice_length` of 0 counts as 1.
pub fn slices_of(range: ByteRange, slice_length: u64) -> RangeInclusive<u64> {
    let length = slice_length.max(1);
    range.first / length..=range.last / length
}

/// The bytes of a slice; the last one of a representation is cut by the origin.
pub fn slice_range(number: u64, slice_length: u64) -> Option<ByteRange> {
    ByteRange::with_length(number.checked_mul(slice_length)?, slice_length)
}

/// The slice to begin with: it tells how long the whole is, which alone says which bytes a suffix means.
pub fn first_slice(ranges: Option<&RangeSet>, slice_length: u64) -> u64 {
    let specs = ranges.map_or(&[][..], RangeSet::specs).iter();
    let first = specs.filter_map(|spec| match spec {
        RangeSpec::From(first, _) => Some(*first),
        RangeSpec::Suffix(_) => None,
    });
    first.min().unwrap_or(0) / slice_length.max(1)
}

/// Reads a 206 that came for a slice; `received` is the length of its content, where that is known.
///
/// # Errors
/// When it is not exactly that slice, or when nobody could tell whether another slice belongs to it.
pub fn read_slice(
    number: u64,
    slice_length: u64,
    fields: &HeaderMap,
    validators: &Validators,
    received: Option<u64>,
) -> Result<PartialContent, PartialInvalid> {
    let partial = partial_content(fields)?;
    let whole = SlicedWhole::of(partial, validators)?;
    if partial.range != whole.slice(number, slice_length).ok_or(PartialInvalid::WrongRange)? {
        return Err(PartialInvalid::WrongRange);
    }
    if received.is_some_and(|received| received != partial.range.len()) {
        return Err(PartialInvalid::Length);
    }
    Ok(partial)
}

/// What the first slice told about the whole, which every further slice must agree with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlicedWhole {
    /// The strong validator that all slices share.
    pub validators: Validators,
    /// How many bytes the whole has.
    pub complete_length: u64,
}

impl SlicedWhole {
    /// Reads what the first slice tells.
    ///
    /// # Errors
    /// When it cannot be told later whether another slice belongs to it: no strong validator, or no complete length. A
    /// slice that is the whole needs no validator.
    pub fn of(partial: PartialContent, validators: &Validators) -> Result<Self, PartialInvalid> {
        let complete_length = partial.complete_length.ok_or(PartialInvalid::CompleteLength)?;
        if !validators.is_strong() && partial.range.len() != complete_length {
            return Err(PartialInvalid::Validator);
        }
        Ok(Self {
            validators: validators.clone(),
            complete_length,
        })
    }

    /// The bytes of a slice of this; `None` when it has no such slice.
    pub fn slice(&self, number: u64, slice_length: u64) -> Option<ByteRange> {
        let range = slice_range(number, slice_length)?;
        let last = range.last.min(self.complete_length.checked_sub(1)?);
        (range.first <= last).then_some(ByteRange { last, ..range })
    }

    /// Checks a further slice. One that does not agree means that the representation changed in mid-way: nothing of it
    /// is mixed with the others.
    ///
    /// # Errors
    /// How it differs.
    pub fn check(
        &self,
        number: u64,
        slice_length: u64,
        got: PartialContent,
        validators: &Validators,
    ) -> Result<(), PartialInvalid> {
        may_join(&self.validators, validators)?;
        if got.complete_length != Some(self.complete_length) {
            return Err(PartialInvalid::CompleteLength);
        }
        if Some(got.range) == self.slice(number, slice_length) {
            Ok(())
        } else {
            Err(PartialInvalid::WrongRange)
        }
    }
}

/// What a response is made of: bytes of slices, and the text between several ranges.
#[derive(Clone, Debug)]
pub struct Plan {
    slice_length: u64,
    /// Ranges, each with what stands before it.
    parts: VecDeque<(Bytes, ByteRange)>,
    /// What is left of the range before those.
    current: Option<ByteRange>,
    /// What stands after the last.
    end: Bytes,
}

/// One piece of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Framing of a multipart response.
    Text(Bytes),
    /// `length` bytes of a slice, after the first `skip`.
    Slice {
        /// Its number.
        number: u64,
        /// Bytes of it that are left out.
        skip: u64,
        /// Bytes of it that are taken.
        length: u64,
    },
}

impl Plan {
    /// One range, or all.
    pub fn of(range: ByteRange, slice_length: u64) -> Self {
        Self::multipart(VecDeque::from([(Bytes::new(), range)]), Bytes::new(), slice_length)
    }

    /// Several ranges, what stands before each, and what stands after the last.
    pub fn multipart(parts: VecDeque<(Bytes, ByteRange)>, end: Bytes, slice_length: u64) -> Self {
        Self {
            slice_length: slice_length.max(1),
            parts,
            current: None,
            end,
        }
    }

    /// How many bytes it is.
    pub fn length(&self) -> u64 {
        let part = |(text, range): &(Bytes, ByteRange)| (text.len() as u64).saturating_add(range.len());
        let parts = self.parts.iter().map(part);
        let current = self.current.map_or(0, |range| range.len());
        parts.fold(current + self.end.len() as u64, u64::saturating_add)
    }

    /// The numbers of the slices it takes, in order.
    pub fn slices(&self) -> impl Iterator<Item = u64> {
        let ranges = self.current.into_iter().chain(self.parts.iter().map(|part| part.1));
        ranges.flat_map(|range| slices_of(range, self.slice_length))
    }
}

impl Iterator for Plan {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        if self.current.is_none()
            && let Some((text, range)) = self.parts.pop_front()
        {
            self.current = Some(range);
            if !text.is_empty() {
                return Some(Piece::Text(text));
            }
        }
        let Some(range) = self.current else {
            return (!self.end.is_empty()).then(|| Piece::Text(std::mem::take(&mut self.end)));
        };
        let number = range.first / self.slice_length;
        let skip = range.first % self.slice_length;
        let length = (self.slice_length - skip).min(range.len());
        self.current = range
            .first
            .checked_add(length)
            .filter(|next| *next <= range.last)
            .map(|first| ByteRange { first, ..range });
        Some(Piece::Slice { number, skip, length })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::time::WallTime;
    use http::{HeaderMap, HeaderValue, header};

    fn validators(etag: &'static str) -> Validators {
        let mut fields = HeaderMap::new();
        fields.insert(header::ETAG, HeaderValue::from_static(etag));
        Validators::of(&fields, WallTime::default(), WallTime::default())
    }

    fn part(first: u64, last: u64, complete_length: Option<u64>) -> PartialContent {
        PartialContent {
            range: ByteRange { first, last },
            complete_length,
        }
    }

    #[test]
    fn a_range_needs_the_slices_it_touches() {
        for (first, last, expected) in [
            (0, 0, 0..=0),
            (0, 9, 0..=0),
            (9, 10, 0..=1),
            (10, 19, 1..=1),
            (5, 35, 0..=3),
        ] {
            assert_eq!(slices_of(ByteRange { first, last }, 10), expected, "{first}-{last}");
        }
        assert_eq!(slice_range(3, 10), Some(ByteRange { first: 30, last: 39 }));
        assert_eq!(slice_range(u64::MAX, 10), None);
        assert_eq!(slice_range(3, 0), None);
    }

    #[test]
    fn a_plan_names_every_byte_once_and_in_order() {
        let slice = |number, skip, length| Piece::Slice { number, skip, length };
        let text = |text: &'static str| Piece::Text(Bytes::from_static(text.as_bytes()));
        let range = |first, last| ByteRange { first, last };
        let parts = [("A", range(25, 31)), ("B", range(0, 1))].map(|(text, range)| (Bytes::from(text), range));
        let last = u64::MAX - 1;
        for (plan, length, expected) in [
            (Plan::of(range(0, 0), 10), 1, vec![slice(0, 0, 1)]),
            (Plan::of(range(0, 9), 10), 10, vec![slice(0, 0, 10)]),
            (
                Plan::of(range(5, 20), 10),
                16,
                vec![slice(0, 5, 5), slice(1, 0, 10), slice(2, 0, 1)],
            ),
            (Plan::of(range(last, last), 10), 1, vec![slice(last / 10, last % 10, 1)]),
            (
                Plan::multipart(parts.into(), Bytes::from("end"), 10),
                14,
                vec![
                    text("A"),
                    slice(2, 5, 5),
                    slice(3, 0, 2),
                    text("B"),
                    slice(0, 0, 2),
                    text("end"),
                ],
            ),
        ] {
            let numbers: Vec<u64> = plan.slices().collect();
            assert_eq!(plan.length(), length, "{plan:?}");
            let pieces: Vec<_> = plan.collect();
            let named = pieces.iter().filter_map(|piece| match piece {
                Piece::Slice { number, .. } => Some(*number),
                Piece::Text(_) => None,
            });
            assert_eq!(named.collect::<Vec<_>>(), numbers);
            assert_eq!(pieces, expected);
        }
    }

    #[test]
    fn a_changed_representation_is_noticed() {
        let whole = SlicedWhole::of(part(0, 9, Some(25)), &validators("\"a\"")).unwrap();
        for (number, got, etag, expected) in [
            (1, part(10, 19, Some(25)), "\"a\"", Ok(())),
            (2, part(20, 24, Some(25)), "\"a\"", Ok(())),
            (1, part(10, 19, Some(25)), "\"b\"", Err(PartialInvalid::Validator)),
            (1, part(10, 19, Some(25)), "W/\"a\"", Err(PartialInvalid::Validator)),
            (1, part(10, 19, Some(26)), "\"a\"", Err(PartialInvalid::CompleteLength)),
            (1, part(10, 19, None), "\"a\"", Err(PartialInvalid::CompleteLength)),
            (1, part(10, 18, Some(25)), "\"a\"", Err(PartialInvalid::WrongRange)),
            (2, part(10, 19, Some(25)), "\"a\"", Err(PartialInvalid::WrongRange)),
        ] {
            assert_eq!(
                whole.check(number, 10, got, &validators(etag)),
                expected,
                "{number} {got} {etag}"
            );
        }
    }

    #[test]
    fn what_cannot_be_checked_is_not_sliced() {
        let weak = SlicedWhole::of(part(0, 9, Some(25)), &validators("W/\"a\""));
        assert_eq!(weak, Err(PartialInvalid::Validator));
        let endless = SlicedWhole::of(part(0, 9, None), &validators("\"a\""));
        assert_eq!(endless, Err(PartialInvalid::CompleteLength));
        let only = SlicedWhole::of(part(0, 9, Some(10)), &validators("W/\"a\""));
        assert!(only.is_ok(), "what is whole is joined to nothing");
    }

    #[test]
    fn the_first_slice_is_the_lowest_that_is_named() {
        let rules = super::super::rules::Rules::default().ranges;
        for (text, expected) in [
            (None, 0),
            (Some("bytes=5-"), 0),
            (Some("bytes=10-"), 1),
            (Some("bytes=95-99, 25-29, -1"), 2),
            (Some("bytes=-1"), 0),
            (Some("bytes=99999999999999999999-"), u64::MAX / 10),
        ] {
            let set = text.map(|text| RangeSet::parse(&HeaderValue::from_static(text), &rules).unwrap());
            assert_eq!(first_slice(set.as_ref(), 10), expected, "{text:?}");
        }
    }

    #[test]
    fn a_slice_is_exactly_what_was_asked_for() {
        use PartialInvalid::{CompleteLength, ContentRange, Length, Multipart, Validator, WrongRange};
        for (content_range, content_type, etag, received, expected) in [
            ("bytes 10-19/25", "a/b", "\"a\"", Some(10), Ok(())),
            ("bytes 10-19/25", "a/b", "\"a\"", None, Ok(())),
            ("bytes 10-14/15", "a/b", "\"a\"", Some(5), Ok(())),
            ("bytes 10-14/25", "a/b", "\"a\"", Some(5), Err(WrongRange)),
            ("bytes 0-9/25", "a/b", "\"a\"", Some(10), Err(WrongRange)),
            ("bytes 0-24/25", "a/b", "\"a\"", Some(25), Err(WrongRange)),
            ("bytes 10-19/25", "a/b", "\"a\"", Some(9), Err(Length)),
            ("bytes 10-19/25", "a/b", "\"a\"", Some(11), Err(Length)),
            ("bytes 10-19/*", "a/b", "\"a\"", Some(10), Err(CompleteLength)),
            ("bytes 10-19/25", "a/b", "W/\"a\"", Some(10), Err(Validator)),
            ("bytes 10-19/15", "a/b", "\"a\"", Some(10), Err(ContentRange)),
            ("items 10-19/25", "a/b", "\"a\"", Some(10), Err(ContentRange)),
            (
                "bytes 10-19/25",
                "multipart/byteranges; boundary=x",
                "\"a\"",
                Some(10),
                Err(Multipart),
            ),
        ] {
            let mut fields = HeaderMap::new();
            fields.insert(header::CONTENT_RANGE, HeaderValue::from_static(content_range));
            fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
            let read = read_slice(1, 10, &fields, &validators(etag), received);
            assert_eq!(
                read.map(drop),
                expected,
                "{content_range} {content_type} {etag} {received:?}"
            );
        }
    }
}
