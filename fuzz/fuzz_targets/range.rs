//! RFC 9110 §14: ranges that are answered lie within the representation, and are no more than asked for and allowed.
#![no_main]

use cache::policy::content_range::{self, ByteRange};
use cache::policy::range::{RangeSet, Resolved};
use fuzz::{RULES, fields};
use http::HeaderValue;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((length, value)) = data.split_first_chunk() else {
        return;
    };
    let length = u64::from_le_bytes(*length);
    let within = |range: &ByteRange| {
        assert!(
            range.first <= range.last && range.last < length,
            "{range:?} of {length}"
        )
    };
    if let Ok(value) = HeaderValue::from_bytes(value)
        && let Ok(set) = RangeSet::parse(&value, &RULES.ranges)
    {
        assert!((1..=RULES.ranges.ranges_max).contains(&set.specs().len()));
        match set.resolve(length, &RULES.ranges) {
            Resolved::Single(range) => within(&range),
            Resolved::Multiple(ranges) => {
                assert!((2..=set.specs().len()).contains(&ranges.len()));
                ranges.iter().for_each(within);
            }
            Resolved::Whole | Resolved::Unsatisfiable => {}
        }
    }
    let mut answer = fields(CONTENT_RANGE, value);
    for _ in 0..2 {
        if let Ok(part) = content_range::partial_content(&answer) {
            assert!(part.range.first <= part.range.last);
        }
        answer.insert(CONTENT_LENGTH, length.into());
    }
});
