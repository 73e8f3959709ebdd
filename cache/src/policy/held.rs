//! Which bytes of a representation are stored, and joining further ones (RFC 9111 §3.3, §3.4).

use common::time::WallTime;
use http::{HeaderMap, HeaderValue, header};

use super::conditional;
use super::content_range::{ByteRange, PartialContent, PartialInvalid};
use super::range::{IfRange, RangeSet, RangeSpec};
use super::request::make_unconditional;
use super::rules::RangeRules;
use super::validators::Validators;

/// The bytes that are held of one representation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    // INVARIANT: sorted; between two ranges there is at least one byte that is not held.
    ranges: Vec<ByteRange>,
    complete_length: Option<u64>,
}

impl Held {
    /// What one 206 brought.
    pub fn of(partial: PartialContent) -> Self {
        Self {
            ranges: vec![partial.range],
            complete_length: partial.complete_length,
        }
    }

    /// The ranges, in order.
    pub fn ranges(&self) -> &[ByteRange] {
        &self.ranges
    }

    /// How many bytes the whole has, where the origin said it.
    pub const fn complete_length(&self) -> Option<u64> {
        self.complete_length
    }

    /// Whether nothing is missing.
    pub fn is_complete(&self) -> bool {
        let whole = self
            .complete_length
            .and_then(|length| ByteRange::with_length(0, length));
        whole.is_some_and(|whole| self.holds(whole))
    }

    /// Whether all bytes of `range` are held.
    pub fn holds(&self, range: ByteRange) -> bool {
        self.ranges.iter().any(|held| held.contains(&range))
    }

    /// The bytes that a request asks for, if all of them are held. "A cache MUST NOT use an incomplete response to
    /// answer requests unless the response has been made complete, or the request is partial and specifies a range
    /// wholly within the incomplete response." (RFC 9111 §3.3)
    pub fn answer(&self, spec: RangeSpec) -> Option<ByteRange> {
        let range = match (spec, self.complete_length) {
            (_, Some(length)) => spec.resolve(length)?,
            // Without the complete length only a range that names both its ends is known to lie within.
            (RangeSpec::From(first, Some(last)), None) => ByteRange { first, last },
            _ => return None,
        };
        self.holds(range).then_some(range)
    }

    /// What of `range` is missing, in order: what is left to ask the origin for.
    pub fn missing(&self, range: ByteRange) -> Vec<ByteRange> {
        let mut missing = Vec::new();
        let mut next = range.first;
        for held in self
            .ranges
            .iter()
            .filter(|held| held.last >= range.first && held.first <= range.last)
        {
            if held.first > next {
                missing.push(ByteRange {
                    first: next,
                    last: held.first - 1,
                });
            }
            match held.last.checked_add(1) {
                Some(after) => next = after,
                None => return missing,
            }
        }
        if next <= range.last {
            missing.push(ByteRange {
                first: next,
                last: range.last,
            });
        }
        missing
    }

    /// Adds what a further 206 brought, after [`may_join`] said that it belongs here.
    ///
    /// # Errors
    /// When it tells another complete length: then the representation has changed.
    pub fn join(&mut self, partial: PartialContent) -> Result<(), PartialInvalid> {
        match (self.complete_length, partial.complete_length) {
            (Some(ours), Some(theirs)) if ours != theirs => return Err(PartialInvalid::CompleteLength),
            (None, theirs) => self.complete_length = theirs,
            _ => {}
        }
        self.ranges.push(partial.range);
        self.ranges.sort_unstable();
        self.ranges.dedup_by(|next, kept| {
            let adjacent = next.first <= kept.last.saturating_add(1);
            if adjacent {
                kept.last = kept.last.max(next.last);
            }
            adjacent
        });
        Ok(())
    }
}

/// Turns a request for the origin into one for what is missing after the first `held` bytes, which are stored under these
/// validators: If-Range makes the origin send the whole (200) when the representation is another one by now.
///
/// # Errors
/// When what is stored has no strong validator, so that nothing could ever be joined to it.
pub fn ask_for_rest(request: &mut HeaderMap, held: u64, stored: &Validators) -> Result<(), PartialInvalid> {
    // "A client MUST NOT generate an If-Range header field containing an entity tag that is marked as weak. A
    // client MUST NOT generate an If-Range header field containing an HTTP-date unless the client has no entity tag
    // for the corresponding representation and the date is a strong validator" (RFC 9110 §13.1.5)
    let tag = stored.etag.as_ref().map(|tag| tag.value());
    let date = stored.last_modified.as_ref().map(|date| &date.value);
    let validator = tag
        .or(date)
        .filter(|_| stored.is_strong())
        .ok_or(PartialInvalid::Validator)?;
    make_unconditional(request);
    request.insert(header::IF_RANGE, validator.clone());
    let value = HeaderValue::try_from(format!("bytes={held}-"));
    request.insert(header::RANGE, value.expect("invariant: digits are a field value"));
    Ok(())
}

/// What a further part makes of a stored one: both together, when they are of one representation and nothing is missing
/// between them.
///
/// # Errors
/// When they are not.
pub fn union(
    stored: (PartialContent, &Validators),
    new: (PartialContent, &Validators),
) -> Result<PartialContent, PartialInvalid> {
    may_join(stored.1, new.1)?;
    let mut held = Held::of(stored.0);
    held.join(new.0)?;
    match held.ranges() {
        [range] => Ok(PartialContent {
            range: *range,
            complete_length: held.complete_length(),
        }),
        _ => Err(PartialInvalid::WrongRange),
    }
}

/// The bytes of a stored part that answer a request with this Range and If-Range, if all of them are in it.
pub fn answer_from(
    stored: PartialContent,
    validators: &Validators,
    range: Option<&HeaderValue>,
    request: &HeaderMap,
    rules: &RangeRules,
    now: WallTime,
) -> Option<ByteRange> {
    let ranges = RangeSet::parse(range?, rules).ok()?;
    if conditional::if_range(request, validators, now) == IfRange::Fails {
        return None;
    }
    Held::of(stored).answer(ranges.single()?)
}

/// Whether a 206 that came for a client's Range has anything of what was asked for. "a server might want to send only a
/// subset of the data requested for reasons of its own" (RFC 9110 §15.3.7), or more.
pub fn is_asked_for(got: PartialContent, asked: &RangeSet) -> bool {
    let length = got.complete_length.unwrap_or(u64::MAX);
    asked.specs().iter().any(|spec| match spec.resolve(length) {
        // Nobody knows where the end is.
        _ if matches!(spec, RangeSpec::Suffix(_)) && got.complete_length.is_none() => true,
        Some(asked) => asked.first <= got.range.last && got.range.first <= asked.last,
        None => false,
    })
}

/// Makes a request one for these bytes.
pub fn put_range(request: &mut HeaderMap, range: ByteRange) {
    let value = HeaderValue::try_from(format!("bytes={}-{}", range.first, range.last));
    request.insert(header::RANGE, value.expect("invariant: digits are a field value"));
}

/// Whether a further part belongs to what is stored.
///
/// # Errors
/// When it does not, or that cannot be known.
pub fn may_join(stored: &Validators, new: &Validators) -> Result<(), PartialInvalid> {
    // "A cache MAY combine these ranges into a single stored response, and reuse that response to satisfy later
    // requests, if they all share the same strong validator and the cache complies with the client requirements in
    // Section 15.3.7.3 of [HTTP]." (RFC 9111 §3.4)
    if stored.same_strong(new) {
        Ok(())
    } else {
        Err(PartialInvalid::Validator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::rules::Rules;
    use crate::policy::testing;

    fn part(first: u64, last: u64, complete_length: Option<u64>) -> PartialContent {
        PartialContent {
            range: ByteRange { first, last },
            complete_length,
        }
    }

    fn held(parts: &[(u64, u64)], length: Option<u64>) -> Held {
        let mut held = Held::default();
        for (first, last) in parts {
            held.join(part(*first, *last, length)).unwrap();
        }
        held
    }

    #[test]
    fn joined_parts_become_one() {
        for (parts, expected) in [
            (&[(0, 4), (5, 9)][..], &[(0, 9)][..]),
            (&[(5, 9), (0, 4)], &[(0, 9)]),
            (&[(0, 4), (6, 9)], &[(0, 4), (6, 9)]),
            (&[(0, 4), (6, 9), (5, 5)], &[(0, 9)]),
            (&[(0, 9), (3, 4)], &[(0, 9)]),
            (&[(0, u64::MAX), (3, 4)], &[(0, u64::MAX)]),
        ] {
            let held = held(parts, None);
            let found: Vec<_> = held.ranges().iter().map(|range| (range.first, range.last)).collect();
            assert_eq!(found, expected, "{parts:?}");
        }
    }

    #[test]
    fn what_is_complete_has_every_byte_of_a_known_length() {
        assert!(held(&[(0, 4), (5, 9)], Some(10)).is_complete());
        assert!(!held(&[(0, 4), (5, 8)], Some(10)).is_complete());
        assert!(!held(&[(0, 9)], None).is_complete());
        assert!(!Held::default().is_complete());
    }

    #[test]
    fn a_request_is_answered_from_parts_that_hold_all_of_its_range() {
        let some = held(&[(4, 8)], Some(10));
        let unknown = held(&[(4, 8)], None);
        for (spec, from_some, from_unknown) in [
            (RangeSpec::From(6, Some(8)), Some((6, 8)), Some((6, 8))),
            (RangeSpec::From(4, Some(8)), Some((4, 8)), Some((4, 8))),
            (RangeSpec::From(3, Some(8)), None, None),
            (RangeSpec::From(6, Some(9)), None, None),
            (RangeSpec::From(6, None), None, None),
            (RangeSpec::Suffix(2), None, None),
        ] {
            let plain = |range: Option<ByteRange>| range.map(|range| (range.first, range.last));
            assert_eq!(plain(some.answer(spec)), from_some, "{spec:?}");
            assert_eq!(plain(unknown.answer(spec)), from_unknown, "{spec:?}");
        }
        let end = held(&[(4, 9)], Some(10));
        assert_eq!(end.answer(RangeSpec::Suffix(5)), Some(ByteRange { first: 5, last: 9 }));
        assert_eq!(
            end.answer(RangeSpec::From(6, None)),
            Some(ByteRange { first: 6, last: 9 })
        );
        assert_eq!(
            end.answer(RangeSpec::From(6, Some(100))),
            Some(ByteRange { first: 6, last: 9 })
        );
    }

    #[test]
    fn what_is_missing_is_what_lies_between() {
        let held = held(&[(2, 3), (6, 7)], None);
        for ((first, last), expected) in [
            ((0, 9), &[(0, 1), (4, 5), (8, 9)][..]),
            ((2, 3), &[]),
            ((3, 6), &[(4, 5)]),
            ((4, 5), &[(4, 5)]),
            ((8, 9), &[(8, 9)]),
        ] {
            let found: Vec<_> = held
                .missing(ByteRange { first, last })
                .iter()
                .map(|range| (range.first, range.last))
                .collect();
            assert_eq!(found, expected, "{first}-{last}");
        }
    }

    #[test]
    fn the_rest_is_asked_for_under_the_strong_validator_of_what_is_stored() {
        let validators = |lines: &[(&'static str, &str)]| {
            let fields = testing::fields(lines);
            Validators::of(&fields, testing::NOW, testing::NOW)
        };
        let date = testing::date(-3000);
        for (lines, expected) in [
            (&[("etag", "\"a\""), ("last-modified", "@-3000")][..], Ok("\"a\"")),
            (&[("last-modified", "@-3000")], Ok(date.as_str())),
            (&[("last-modified", "@-3")], Err(PartialInvalid::Validator)),
            (
                &[("etag", "W/\"a\""), ("last-modified", "@-3000")],
                Err(PartialInvalid::Validator),
            ),
            (&[], Err(PartialInvalid::Validator)),
        ] {
            let mut request = testing::fields(&[("if-none-match", "\"x\""), ("range", "bytes=0-9"), ("a", "1")]);
            let asked = ask_for_rest(&mut request, 5, &validators(lines));
            assert_eq!(asked, expected.map(|_| ()), "{lines:?}");
            if let Ok(validator) = expected {
                assert_eq!(
                    (&request["range"], &request["if-range"]),
                    (&"bytes=5-".parse().unwrap(), &validator.parse().unwrap())
                );
                assert_eq!(request.len(), 3, "{request:?}");
            }
        }
    }

    #[test]
    fn parts_that_touch_become_one_and_others_do_not() {
        let validators = |etag| Validators::of(&testing::fields(&[("etag", etag)]), testing::NOW, testing::NOW);
        let (a, b, weak) = (validators("\"a\""), validators("\"b\""), validators("W/\"a\""));
        for (stored, new, theirs, expected) in [
            (part(0, 4, Some(10)), part(5, 9, Some(10)), &a, Ok(part(0, 9, Some(10)))),
            (part(5, 9, Some(10)), part(0, 6, None), &a, Ok(part(0, 9, Some(10)))),
            (
                part(0, 4, Some(10)),
                part(6, 9, Some(10)),
                &a,
                Err(PartialInvalid::WrongRange),
            ),
            (
                part(0, 4, Some(10)),
                part(5, 9, Some(11)),
                &a,
                Err(PartialInvalid::CompleteLength),
            ),
            (
                part(0, 4, Some(10)),
                part(5, 9, Some(10)),
                &b,
                Err(PartialInvalid::Validator),
            ),
            (
                part(0, 4, Some(10)),
                part(5, 9, Some(10)),
                &weak,
                Err(PartialInvalid::Validator),
            ),
        ] {
            assert_eq!(union((stored, &a), (new, theirs)), expected, "{stored} {new}");
        }
    }

    #[test]
    fn a_stored_part_answers_a_range_that_lies_in_it_and_nothing_else() {
        let fields = testing::fields(&[("etag", "\"a\"")]);
        let validators = Validators::of(&fields, testing::NOW, testing::NOW);
        let rules = Rules::default().ranges;
        for (range, if_range, expected) in [
            (Some("bytes=4-6"), None, Some((4, 6))),
            (Some("bytes=-3"), None, Some((7, 9))),
            (Some("bytes=5-"), Some("\"a\""), Some((5, 9))),
            (Some("bytes=5-"), Some("\"b\""), None),
            (Some("bytes=3-6"), None, None),
            (Some("bytes=4-5, 7-8"), None, None),
            (Some("lines=4-6"), None, None),
            (None, None, None),
        ] {
            let mut request = HeaderMap::new();
            if let Some(value) = if_range {
                request.insert(header::IF_RANGE, HeaderValue::from_static(value));
            }
            let range = range.map(HeaderValue::from_static);
            let stored = part(4, 9, Some(10));
            let found = answer_from(stored, &validators, range.as_ref(), &request, &rules, testing::NOW);
            let found = found.map(|range| (range.first, range.last));
            assert_eq!(found, expected, "{range:?} {if_range:?}");
        }
    }

    #[test]
    fn a_206_has_something_of_what_was_asked_for() {
        let rules = Rules::default().ranges;
        for (asked, got, expected) in [
            ("bytes=0-4", part(0, 4, Some(10)), true),
            ("bytes=0-4", part(0, 2, None), true),
            ("bytes=0-4", part(0, 9, Some(10)), true),
            ("bytes=0-4", part(5, 9, Some(10)), false),
            ("bytes=5-", part(0, 4, Some(10)), false),
            ("bytes=-5", part(0, 4, Some(10)), false),
            ("bytes=-5", part(0, 4, None), true),
            ("bytes=0-1, 8-9", part(8, 9, None), true),
        ] {
            let set = RangeSet::parse(&HeaderValue::from_static(asked), &rules).unwrap();
            assert_eq!(is_asked_for(got, &set), expected, "{asked} {got}");
        }
    }

    #[test]
    fn parts_join_under_one_strong_validator_only() {
        let strong = Validators::of(&testing::fields(&[("etag", "\"a\"")]), testing::NOW, testing::NOW);
        let other = Validators::of(&testing::fields(&[("etag", "\"b\"")]), testing::NOW, testing::NOW);
        let weak = Validators::of(&testing::fields(&[("etag", "W/\"a\"")]), testing::NOW, testing::NOW);
        assert_eq!(may_join(&strong, &strong), Ok(()));
        for (one, two) in [
            (&strong, &other),
            (&strong, &weak),
            (&weak, &weak),
            (&strong, &Validators::default()),
        ] {
            assert_eq!(may_join(one, two), Err(PartialInvalid::Validator));
        }
    }

    #[test]
    fn another_complete_length_is_another_representation() {
        let mut held = Held::of(part(0, 4, None));
        assert_eq!(held.join(part(5, 6, Some(10))), Ok(()));
        assert_eq!(held.complete_length(), Some(10));
        assert_eq!(held.join(part(7, 8, Some(11))), Err(PartialInvalid::CompleteLength));
        assert_eq!(held.join(part(7, 9, None)), Ok(()));
        assert!(held.is_complete());
    }
}
