//! URLs that operators purge and that responses name (RFC 3986, RFC 9111 §4.4), tags, and lists.
#![no_main]

use cache::policy::{list, target::TargetUri};
use cache::purge::tags::tags;
use fuzz::{fields, halves};
use http::HeaderName;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (uri, reference) = halves(data);
    if let (Ok(uri), Ok(reference)) = (str::from_utf8(uri), str::from_utf8(reference))
        && let Some(target) = TargetUri::parse(uri)
    {
        assert!(target.same_origin(&target) && target.path.starts_with('/'));
        let written = target.to_string();
        assert_eq!(
            TargetUri::parse(&written).map(|again| again.to_string()),
            Some(written.clone())
        );
        if let Some(place) = target.resolve_same_origin(reference) {
            assert!(place.starts_with('/'), "{place}");
            // An empty reference keeps the base's dots (RFC 3986 §5.2.2); resolved once more, none is left.
            if !place.starts_with("//")
                && let Some(plain) = target
                    .resolve_same_origin(&place)
                    .filter(|plain| !plain.starts_with("//"))
            {
                assert_eq!(target.resolve_same_origin(&plain), Some(plain));
            }
        }
    }
    let name = HeaderName::from_static("cache-tag");
    let found = tags(&fields(name.clone(), data), &[name]);
    assert!(found.split(' ').all(|tag| !tag.is_empty() && !tag.contains(',')) || found.is_empty());
    for member in list::members(data) {
        assert!(!member.is_empty() && member == list::trim(member));
    }
});
