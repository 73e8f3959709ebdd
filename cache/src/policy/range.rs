//! A client's Range: read, bounded, put in order, and applied to a representation (RFC 9110 §14.1, §14.2).

use http::HeaderValue;

use super::content_range::{ByteRange, number};
use super::list;
use super::rules::RangeRules;

/// Whether the Range of a request is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfRange {
    /// If-Range is absent or holds.
    Holds,
    /// "A recipient of an If-Range header field MUST ignore the Range header field if the If-Range condition evaluates
    /// to false." (RFC 9110 §13.1.5)
    Fails,
}

/// One range as it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeSpec {
    /// From this byte to that one, included, or to the end.
    From(u64, Option<u64>),
    /// The last so many bytes.
    Suffix(u64),
}

/// The ranges of a request, at least one, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeSet(Vec<RangeSpec>);

/// Why a Range is ignored, so that the whole representation is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RangeIgnored {
    /// Another unit than bytes.
    Unit,
    /// Malformed.
    Malformed,
    /// More ranges than the rules allow.
    TooMany,
}

impl RangeIgnored {
    /// The word for log and metric.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unit => "range_unit",
            Self::Malformed => "range_malformed",
            Self::TooMany => "range_too_many",
        }
    }
}

/// What a set of ranges is for a representation of a known length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// All of it: 200.
    Whole,
    /// One range: 206 with Content-Range.
    Single(ByteRange),
    /// Several ranges: 206 with `multipart/byteranges`, in this order.
    Multiple(Vec<ByteRange>),
    /// 416, with `Content-Range: bytes */length`.
    Unsatisfiable,
}

impl RangeSet {
    /// Reads a Range field.
    ///
    /// # Errors
    /// Why it is ignored.
    pub fn parse(value: &HeaderValue, rules: &RangeRules) -> Result<Self, RangeIgnored> {
        let value = value.as_bytes();
        let equals = value
            .iter()
            .position(|byte| *byte == b'=')
            .ok_or(RangeIgnored::Malformed)?;
        // "An origin server MUST ignore a Range header field that contains a range unit it does not understand."
        // (§14.2) "All range unit names are case-insensitive" (§14.1).
        if !value[..equals].eq_ignore_ascii_case(b"bytes") {
            return Err(RangeIgnored::Unit);
        }
        // "A server that supports range requests MAY ignore or reject a Range header field that contains an invalid
        // ranges-specifier (Section 14.1.1), a ranges-specifier with more than two overlapping ranges, or a set of many
        // small ranges that are not listed in ascending order, since these are indications of either a broken client or
        // a deliberate denial-of-service attack" (§14.2)
        let mut specs = Vec::new();
        for member in list::members(&value[equals + 1..]) {
            if specs.len() == rules.ranges_max {
                return Err(RangeIgnored::TooMany);
            }
            specs.push(spec(member).ok_or(RangeIgnored::Malformed)?);
        }
        if specs.is_empty() {
            return Err(RangeIgnored::Malformed);
        }
        Ok(Self(specs))
    }

    /// The ranges as they were asked for.
    pub fn specs(&self) -> &[RangeSpec] {
        &self.0
    }

    /// The only range, if there is only one: what may be passed on to the origin, or cut into slices.
    pub fn single(&self) -> Option<RangeSpec> {
        match *self.0 {
            [spec] => Some(spec),
            _ => None,
        }
    }

    /// Applies the ranges to a representation of `length` bytes.
    ///
    /// "The Range header field is evaluated after evaluating the precondition header fields defined in Section 13.1, and
    /// only if the result in absence of the Range header field would be a 200 (OK) response." (§14.2): the caller sees to
    /// both, and to If-Range (`conditional::if_range`).
    pub fn resolve(&self, length: u64, rules: &RangeRules) -> Resolved {
        // "A server that supports range requests MAY ignore a Range header field when the selected representation has
        // no content" (§14.2): nothing of it could be named by a Content-Range.
        if length == 0 && self.0.iter().any(|spec| matches!(spec, RangeSpec::Suffix(1..))) {
            return Resolved::Whole;
        }
        let mut ranges: Vec<_> = self.0.iter().filter_map(|spec| spec.resolve(length)).collect();
        if needs_joining(&ranges, rules.gap_max) {
            join(&mut ranges, rules.gap_max);
        }
        match *ranges {
            // "If all of the preconditions are true, the server supports the Range header field for the target
            // resource, the received Range field-value contains a valid ranges-specifier, and […] the ranges-specifier
            // is unsatisfiable with respect to the selected representation, the server SHOULD send a 416 (Range Not
            // Satisfiable) response." (§14.2)
            [] => Resolved::Unsatisfiable,
            // "A server MUST NOT generate a multipart response to a request for a single range" (§15.3.7.2)
            [range] => Resolved::Single(range),
            _ => Resolved::Multiple(ranges),
        }
    }
}

impl RangeSpec {
    /// The bytes of a representation of `length` bytes that this names; `None` when it is not satisfiable.
    pub fn resolve(self, length: u64) -> Option<ByteRange> {
        let end = length.checked_sub(1)?;
        match self {
            // "If the last-pos value is absent, or if the value is greater than or equal to the current length of the
            // representation data, the byte range is interpreted as the remainder of the representation" (§14.1.2)
            Self::From(first, last) => (first <= end).then(|| ByteRange {
                first,
                last: last.map_or(end, |last| last.min(end)),
            }),
            // "If the selected representation is shorter than the specified suffix-length, the entire representation is
            // used." (§14.1.2)
            Self::Suffix(0) => None,
            Self::Suffix(suffix) => Some(ByteRange {
                first: length.saturating_sub(suffix),
                last: end,
            }),
        }
    }
}

/// Reads `0-4`, `5-` or `-5`. Positions beyond what can be counted are the largest that can.
fn spec(member: &[u8]) -> Option<RangeSpec> {
    let dash = member.iter().position(|byte| *byte == b'-')?;
    let (first, last) = (&member[..dash], &member[dash + 1..]);
    let position = |text: &[u8]| {
        let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
        digits.then(|| number(text).unwrap_or(u64::MAX))
    };
    match (first, last) {
        (b"", suffix) => Some(RangeSpec::Suffix(position(suffix)?)),
        (first, b"") => Some(RangeSpec::From(position(first)?, None)),
        (first, last) => {
            let (first, last) = (position(first)?, position(last)?);
            // "An int-range is invalid if the last-pos value is present and less than the first-pos." (§14.1.1)
            (first <= last).then_some(RangeSpec::From(first, Some(last)))
        }
    }
}

/// Whether any two ranges overlap, or are so close that a part's head would be longer than the bytes between them.
fn needs_joining(ranges: &[ByteRange], gap: u64) -> bool {
    let close = |one: &ByteRange, two: &ByteRange| {
        one.first <= two.last.saturating_add(gap).saturating_add(1)
            && two.first <= one.last.saturating_add(gap).saturating_add(1)
    };
    let pairs = ranges.iter().enumerate();
    pairs
        .into_iter()
        .any(|(index, one)| ranges[index + 1..].iter().any(|two| close(one, two)))
}

/// "A server that generates a multipart response to multiple ranges […] MAY coalesce any of the ranges that overlap, or
/// that are separated by a gap that is smaller than the overhead of sending multiple parts, regardless of the order in
/// which the corresponding range-spec appeared in the received Range header field." (§15.3.7.2)
fn join(ranges: &mut Vec<ByteRange>, gap: u64) {
    ranges.sort_unstable();
    ranges.dedup_by(|next, kept| {
        let close = next.first <= kept.last.saturating_add(gap).saturating_add(1);
        if close {
            kept.last = kept.last.max(next.last);
        }
        close
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::rules::Rules;

    fn rules(gap_max: u64) -> RangeRules {
        RangeRules {
            gap_max,
            ranges_max: 4,
            ..Rules::default().ranges
        }
    }

    fn check(text: &'static str, length: u64, gap: u64, expected: &Result<Resolved, RangeIgnored>) {
        let rules = rules(gap);
        let found = RangeSet::parse(&HeaderValue::from_static(text), &rules).map(|set| set.resolve(length, &rules));
        assert_eq!(found, *expected, "{text} of {length}");
    }

    fn range(first: u64, last: u64) -> ByteRange {
        ByteRange { first, last }
    }

    fn single(first: u64, last: u64) -> Result<Resolved, RangeIgnored> {
        Ok(Resolved::Single(range(first, last)))
    }

    fn multiple(ranges: &[(u64, u64)]) -> Result<Resolved, RangeIgnored> {
        Ok(Resolved::Multiple(
            ranges.iter().map(|(first, last)| range(*first, *last)).collect(),
        ))
    }

    #[test]
    fn one_range_is_cut_to_what_there_is() {
        for (text, expected) in [
            ("bytes=0-1", single(0, 1)),
            ("bytes=0-0", single(0, 0)),
            ("bytes=1-", single(1, 9)),
            ("bytes=5-100", single(5, 9)),
            ("bytes=-1", single(9, 9)),
            ("bytes=-5", single(5, 9)),
            ("bytes=-100", single(0, 9)),
            ("BYTES=0-1", single(0, 1)),
            ("bytes= 0-1 ", single(0, 1)),
            ("bytes=0-1,", single(0, 1)),
            ("bytes=,, 0-1", single(0, 1)),
            ("bytes=0-99999999999999999999999", single(0, 9)),
            ("bytes=-99999999999999999999999", single(0, 9)),
            ("bytes=00-01", single(0, 1)),
        ] {
            check(text, 10, 0, &expected);
        }
    }

    #[test]
    fn what_cannot_be_satisfied_is_416() {
        for text in [
            "bytes=10-",
            "bytes=10-20",
            "bytes=-0",
            "bytes=99999999999999999999-",
            "bytes=10-, 20-30, -0",
        ] {
            check(text, 10, 0, &Ok(Resolved::Unsatisfiable));
        }
        check("bytes=0-", 0, 0, &Ok(Resolved::Unsatisfiable));
        check("bytes=-5", 0, 0, &Ok(Resolved::Whole));
        check("bytes=-0", 0, 0, &Ok(Resolved::Unsatisfiable));
    }

    #[test]
    fn nonsense_is_ignored() {
        use RangeIgnored::{Malformed, TooMany, Unit};
        for (text, why) in [
            ("", Malformed),
            ("bytes", Malformed),
            ("bytes=", Malformed),
            ("bytes=,", Malformed),
            ("bytes=-", Malformed),
            ("bytes=a-b", Malformed),
            ("bytes=1-0", Malformed),
            ("bytes=0 - 1", Malformed),
            ("bytes=0-1-2", Malformed),
            ("bytes=+0-1", Malformed),
            ("bytes=0-1;2-3", Malformed),
            ("bytes=0-1, x", Malformed),
            ("bytes 0-1", Malformed),
            ("items=0-1", Unit),
            ("bytes =0-1", Unit),
            ("=0-1", Unit),
            ("bytes=0-0, 2-2, 4-4, 6-6, 8-8", TooMany),
        ] {
            check(text, 10, 0, &Err(why));
        }
    }

    #[test]
    fn several_ranges_keep_their_order_unless_they_are_joined() {
        for (text, gap, expected) in [
            ("bytes=0-1, 4-5", 0, multiple(&[(0, 1), (4, 5)])),
            ("bytes=40-41, 0-1", 0, multiple(&[(40, 41), (0, 1)])),
            ("bytes=-1, 0-0", 0, multiple(&[(99, 99), (0, 0)])),
            ("bytes=0-1, 100-", 0, single(0, 1)),
            ("bytes=0-1, 2-3", 0, single(0, 3)),
            ("bytes=2-3, 0-1", 0, single(0, 3)),
            ("bytes=0-10, 5-20", 0, single(0, 20)),
            ("bytes=0-99, 5-6, 7-8", 0, single(0, 99)),
            ("bytes=0-1, 4-5", 1, multiple(&[(0, 1), (4, 5)])),
            ("bytes=0-1, 4-5", 2, single(0, 5)),
            ("bytes=50-60, 0-1, 55-70, 3-4", 0, multiple(&[(0, 1), (3, 4), (50, 70)])),
            ("bytes=0-, -50, 0-", 0, single(0, 99)),
        ] {
            check(text, 100, gap, &expected);
        }
    }

    #[test]
    fn a_single_range_can_be_told_from_several() {
        let rules = rules(0);
        let parse = |text| RangeSet::parse(&HeaderValue::from_static(text), &rules).unwrap();
        assert_eq!(parse("bytes=5-").single(), Some(RangeSpec::From(5, None)));
        assert_eq!(parse("bytes=-7").single(), Some(RangeSpec::Suffix(7)));
        assert_eq!(parse("bytes=5-6, 9-").single(), None);
        assert_eq!(parse("bytes=5-6, 9-").specs().len(), 2);
    }
}
