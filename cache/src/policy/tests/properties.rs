//! What holds for every input: nothing panics, order does not matter where it must not, arithmetic is right.

use std::collections::BTreeSet;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use proptest::prelude::*;

use crate::policy::content_range::{ByteRange, PartialContent};
use crate::policy::directives::ResponseDirectives;
use crate::policy::held::Held;
use crate::policy::range::{RangeSet, RangeSpec, Resolved};
use crate::policy::request::RequestDigest;
use crate::policy::reuse::{Mark, Reuse, reuse};
use crate::policy::rules::{RangeRules, Rules};
use crate::policy::store::storable;
use crate::policy::target::TargetUri;
use crate::policy::testing::{NOW, exchange};
use crate::policy::vary::Vary;
use crate::policy::{conditional, date, list, multipart, stored_fields, targeted, validators, weights};

/// Bytes that a field value may hold, the meaningful ones often.
fn value() -> impl Strategy<Value = HeaderValue> {
    let byte = prop_oneof![
        4 => prop::sample::select(b"\",=;-*/\\ \tWq0159.abgzmx:".to_vec()),
        1 => prop_oneof![0x20_u8..0x7f, 0x80_u8..=0xff],
    ];
    let bytes = prop::collection::vec(byte, 0..40).prop_map(|bytes| HeaderValue::from_bytes(&bytes).unwrap());
    let words = prop::sample::select(vec![
        "max-age=5",
        "no-cache=\"a\"",
        "bytes=0-5, -3",
        "bytes 0-4/10",
        "W/\"a\", \"b\"",
        "gzip;q=0.5, br",
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "../a?b#c",
    ]);
    let cut = (
        words,
        any::<prop::sample::Index>(),
        prop::sample::select(b"\",= ;x9".to_vec()),
    )
        .prop_map(|(word, at, byte)| {
            let mut bytes = word.as_bytes().to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            HeaderValue::from_bytes(&bytes).unwrap()
        });
    prop_oneof![bytes, cut]
}

fn headers() -> impl Strategy<Value = HeaderMap> {
    let name = prop::sample::select(vec![
        "cache-control",
        "cdn-cache-control",
        "expires",
        "date",
        "age",
        "last-modified",
        "etag",
        "vary",
        "pragma",
        "range",
        "if-none-match",
        "if-match",
        "if-modified-since",
        "if-unmodified-since",
        "if-range",
        "content-range",
        "location",
        "content-location",
        "set-cookie",
        "connection",
        "accept-encoding",
        "accept-language",
        "content-length",
        "a",
    ]);
    prop::collection::vec((name, value()), 0..8).prop_map(|lines| {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(name, value);
        }
        map
    })
}

/// Many cases, and no file of past failures: the failing input is in the test's output.
pub(super) fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 2_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_field_makes_the_policy_panic(
        request in headers(),
        response in headers(),
        status in 100_u16..600,
        after in 0_u64..200,
    ) {
        let rules = Rules::default();
        let exchange = exchange(status, &request, &response);
        let digest = RequestDigest::of(&Method::GET, &request);
        let found = validators::Validators::of(&response, NOW, NOW);
        let representation = conditional::Representation {
            status: StatusCode::OK,
            validators: &found,
            date: NOW,
            current: false,
        };
        let _ = conditional::evaluate(&request, &representation, NOW);
        let _ = conditional::if_range(&request, &found, NOW);
        let _ = targeted::control(&response, &rules);
        let _ = stored_fields::for_304(&response);
        let _ = weights::best(request.get_all("accept-language").iter());
        let _ = crate::policy::invalidate::invalidates(&Method::POST, &exchange.target, exchange.status, &response);
        if let Ok(storable) = storable(&exchange, &rules) {
            let meta = storable.meta;
            let now = NOW.plus(Duration::from_secs(after));
            if let Reuse::Fresh { age, .. } = reuse(&meta, Mark::Unmarked, &digest, &rules, now) {
                prop_assert!(age < meta.lifetime.duration());
            }
            let own = meta.vary.matches(&meta.vary_key, &request, &rules.vary);
            prop_assert!(own, "a response answers its own request");
            let stored = stored_fields::to_store(&response, &storable.omit, meta.date).into_map();
            prop_assert!(!stored.contains_key("connection") && stored.contains_key("date"));
        }
    }

    #[test]
    fn no_bytes_make_a_parser_panic(value in value()) {
        let bytes = value.as_bytes();
        let _ = (date::parse(bytes, NOW), list::delta_seconds(bytes));
        let _ = (weights::read(bytes), validators::TagRef::read(bytes));
        prop_assert!(list::members(bytes).all(|member| !member.is_empty() && list::trim(member) == member));
        if let Ok(text) = value.to_str() {
            let base = TargetUri::parse("https://example.com/a/b?c").unwrap();
            if let Some(path) = base.resolve_same_origin(text) {
                prop_assert!(path.starts_with('/') && !path.contains('#'), "{path}");
            }
            let _ = TargetUri::parse(text);
        }
    }

    #[test]
    fn the_order_of_different_directives_does_not_matter(
        order in Just(DIRECTIVES.to_vec()).prop_shuffle(),
        lines in 1_usize..4,
        take in 0_usize..DIRECTIVES.len(),
    ) {
        let parse = |directives: &[&str], lines: usize| {
            let mut fields = HeaderMap::new();
            for line in directives.chunks(directives.len().div_ceil(lines).max(1)) {
                fields.append("cache-control", line.join(", ").parse().unwrap());
            }
            ResponseDirectives::of(&fields)
        };
        let chosen = &order[..take];
        let mut sorted = chosen.to_vec();
        sorted.sort_unstable();
        prop_assert_eq!(parse(chosen, lines), parse(&sorted, 1));
    }

    #[test]
    fn a_vary_key_does_not_depend_on_white_space_or_lines(
        members in prop::collection::vec("[a-z0-9]{1,4}", 1..5),
        split in 0_usize..5,
    ) {
        let (mut one, mut other, mut response) = (HeaderMap::new(), HeaderMap::new(), HeaderMap::new());
        response.insert("vary", HeaderValue::from_static("foo"));
        one.insert("foo", members.join(",").parse().unwrap());
        let at = split.min(members.len());
        for part in [&members[..at], &members[at..]] {
            if !part.is_empty() {
                other.append("foo", part.join(" \t, ").parse().unwrap());
            }
        }
        let rules = Rules::default().vary;
        let vary = Vary::of(&response);
        prop_assert!(vary.matches(&vary.key(&one, &response, &rules), &other, &rules));
        one.append("foo", HeaderValue::from_static("more"));
        prop_assert!(!vary.matches(&vary.key(&one, &response, &rules), &other, &rules));
    }

    #[test]
    fn ranges_name_the_bytes_that_a_naive_reading_names(
        specs in prop::collection::vec(spec(), 1..6),
        length in 0_u64..40,
        gap in 0_u64..4,
    ) {
        let rules = RangeRules { ranges_max: 8, gap_max: gap, store_partial: true, slices_ahead: 1 };
        let text = specs.iter().map(written).collect::<Vec<_>>().join(", ");
        let set = RangeSet::parse(&format!("bytes={text}").parse().unwrap(), &rules);
        if specs.iter().any(|spec| matches!(spec, RangeSpec::From(first, Some(last)) if last < first)) {
            prop_assert!(set.is_err());
            return Ok(());
        }
        let is_asked = |at: &u64| specs.iter().any(|spec| names(*spec, *at, length));
        let asked: BTreeSet<u64> = (0..length).filter(is_asked).collect();
        let ranges = match set.unwrap().resolve(length, &rules) {
            Resolved::Whole => { prop_assert_eq!(length, 0); return Ok(()); }
            Resolved::Unsatisfiable => vec![],
            Resolved::Single(range) => vec![range],
            Resolved::Multiple(ranges) => { prop_assert!(ranges.len() > 1); ranges }
        };
        let sent: Vec<u64> = ranges.iter().flat_map(|range| range.first..=range.last).collect();
        let set: BTreeSet<u64> = sent.iter().copied().collect();
        prop_assert_eq!(sent.len(), set.len(), "no byte is sent twice");
        prop_assert!(set.is_superset(&asked) && set.iter().all(|at| *at < length));
        if gap == 0 {
            prop_assert_eq!(&set, &asked);
        }
        let parts = multipart::Multipart {
            ranges: &ranges,
            complete_length: length,
            content_type: None,
            boundary: "b",
        };
        let heads: usize = ranges.iter().map(|range| parts.part_head(*range).len()).sum();
        prop_assert_eq!(parts.content_length(), (heads + sent.len() + parts.end().len()) as u64);
    }

    #[test]
    fn held_bytes_are_those_that_came(
        parts in prop::collection::vec((0_u64..30, 1_u64..10), 0..8),
        first in 0_u64..40,
        length in 1_u64..12,
    ) {
        let (mut held, mut naive) = (Held::default(), BTreeSet::new());
        for (first, length) in parts {
            let range = ByteRange::with_length(first, length).unwrap();
            held.join(PartialContent { range, complete_length: None }).unwrap();
            naive.extend(range.first..=range.last);
        }
        let bytes: Vec<u64> = held.ranges().iter().flat_map(|range| range.first..=range.last).collect();
        prop_assert_eq!(&bytes, &naive.iter().copied().collect::<Vec<_>>());
        prop_assert!(held.ranges().windows(2).all(|pair| pair[0].last + 1 < pair[1].first));
        let range = ByteRange::with_length(first, length).unwrap();
        prop_assert_eq!(held.holds(range), (range.first..=range.last).all(|at| naive.contains(&at)));
        let missing: Vec<u64> = held.missing(range).iter().flat_map(|range| range.first..=range.last).collect();
        let expected: Vec<u64> = (range.first..=range.last).filter(|at| !naive.contains(at)).collect();
        prop_assert_eq!(missing, expected);
    }
}

const DIRECTIVES: [&str; 12] = [
    "max-age=5",
    "s-maxage=x",
    "no-cache=\"a, b\"",
    "private",
    "public",
    "must-revalidate",
    "proxy-revalidate",
    "must-understand",
    "stale-if-error=7",
    "stale-while-revalidate=\"8\"",
    "immutable",
    "unknown=\"no-store, max-age=9\"",
];

fn spec() -> impl Strategy<Value = RangeSpec> {
    prop_oneof![
        (0_u64..50, prop::option::of(0_u64..50)).prop_map(|(first, last)| RangeSpec::From(first, last)),
        (0_u64..50).prop_map(RangeSpec::Suffix),
    ]
}

fn written(spec: &RangeSpec) -> String {
    match spec {
        RangeSpec::From(first, Some(last)) => format!("{first}-{last}"),
        RangeSpec::From(first, None) => format!("{first}-"),
        RangeSpec::Suffix(suffix) => format!("-{suffix}"),
    }
}

/// Whether `spec` names the byte at `at`, read off the RFC without any arithmetic on ends.
fn names(spec: RangeSpec, at: u64, length: u64) -> bool {
    match spec {
        RangeSpec::From(first, last) => at >= first && last.is_none_or(|last| at <= last),
        RangeSpec::Suffix(suffix) => length - at <= suffix,
    }
}
