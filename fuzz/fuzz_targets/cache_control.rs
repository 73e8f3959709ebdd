//! RFC 9111 §5.2: directives of requests and responses. Order of lines does not matter to `no-store`; more is never laxer.
#![no_main]

use cache::policy::directives::{RequestDirectives, ResponseDirectives};
use cache::policy::list::DELTA_MAX;
use fuzz::fields;
use http::HeaderValue;
use http::header::CACHE_CONTROL;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut map = fields(CACHE_CONTROL, data);
    let directives = ResponseDirectives::of(&map);
    assert_eq!(directives, ResponseDirectives::of(&map));
    let mut request = RequestDirectives::default();
    for line in map.get_all(CACHE_CONTROL) {
        request.add_line(line);
    }
    for seconds in [
        request.max_age,
        request.min_fresh,
        request.stale_if_error,
        directives.stale_if_error,
    ] {
        assert!(seconds.is_none_or(|seconds| seconds <= DELTA_MAX));
    }
    // Whatever stands before it, a directive in a line of its own counts.
    map.append(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    assert!(ResponseDirectives::of(&map).no_store);
    // Lines mean the same as one list of them.
    let joined = map
        .get_all(CACHE_CONTROL)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect::<Vec<_>>()
        .join(&b", "[..]);
    let is_whole = map
        .get_all(CACHE_CONTROL)
        .iter()
        .all(|line| line.as_bytes().iter().all(|byte| *byte != b'"' && *byte != b'\\'));
    if is_whole && let Ok(line) = HeaderValue::from_bytes(&joined) {
        let one = [(CACHE_CONTROL, line)].into_iter().collect();
        assert_eq!(ResponseDirectives::of(&one), ResponseDirectives::of(&map));
    }
});
