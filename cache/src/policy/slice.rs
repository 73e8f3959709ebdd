//! Large representations in slices of one size: which ones a range needs, and whether a slice belongs to the others.

use std::ops::RangeInclusive;

use super::content_range::{ByteRange, PartialContent, PartialInvalid};
use super::held::may_join;
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
    /// When it cannot be told later whether another slice belongs to it: no strong validator, or no complete length.
    pub fn of(partial: PartialContent, validators: &Validators) -> Result<Self, PartialInvalid> {
        if !validators.is_strong() {
            return Err(PartialInvalid::Validator);
        }
        Ok(Self {
            validators: validators.clone(),
            complete_length: partial.complete_length.ok_or(PartialInvalid::CompleteLength)?,
        })
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
        let asked = slice_range(number, slice_length).ok_or(PartialInvalid::WrongRange)?;
        let expected = ByteRange {
            first: asked.first,
            last: asked.last.min(self.complete_length.saturating_sub(1)),
        };
        if got.range == expected {
            Ok(())
        } else {
            Err(PartialInvalid::WrongRange)
        }
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
    }
}
