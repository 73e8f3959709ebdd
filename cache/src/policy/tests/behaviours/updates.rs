//! What changes a stored response: 304, HEAD, POST, unsafe methods (RFC 9111 §4.3.4, §4.3.5, §4.4; RFC 9110 §9.3.3).

use super::*;

#[test]
fn a_304_updates_what_is_stored() {
    let mut cache = Cache::new();
    let tag = ("etag", "\"a\"");
    cache.get(
        &[],
        Origin::Says(
            200,
            &[
                ("cache-control", "max-age=2"),
                tag,
                ("a", "1"),
                ("b", "1"),
                ("content-length", "5"),
            ],
        ),
    );
    cache.wait(3);
    let update = [
        ("cache-control", "max-age=60"),
        tag,
        ("a", "2"),
        ("content-length", "9"),
    ];
    assert_eq!(cache.get(&[], Origin::Says(200, &update)), Validated);
    for seen in [Validated, Cached] {
        assert_eq!(
            (&cache.seen["a"], &cache.seen["b"]),
            (&"2".parse().unwrap(), &"1".parse().unwrap()),
            "{seen:?}"
        );
        assert_eq!(cache.seen["content-length"], "5");
        assert_eq!(cache.get(&[], Origin::IsGone), Cached);
    }
}

#[test]
fn a_304_for_another_representation_updates_nothing() {
    let mut cache = Cache::new();
    cache.get(
        &[],
        Origin::Says(
            200,
            &[
                ("cache-control", "max-age=2"),
                ("etag", "W/\"a\""),
                ("last-modified", "@-9"),
            ],
        ),
    );
    cache.wait(3);
    let other = [("etag", "\"b\""), ("last-modified", "@-9"), ("x", "1")];
    assert_eq!(cache.get(&[], Origin::Says(200, &other)), Fetched);
}

#[test]
fn unsafe_requests_invalidate_when_they_succeed() {
    let fresh = [("cache-control", "max-age=3600")];
    for method in ["POST", "PUT", "DELETE", "M-SEARCH"] {
        for (status, response, path, expected) in [
            (200, &[][..], "/a", Fetched),
            (500, &[][..], "/a", Cached),
            (200, &[("location", "b")], "/b", Fetched),
            (200, &[("content-location", "/b")], "/b", Fetched),
            (200, &[("location", "https://example.org/b")], "/b", Cached),
            (200, &[], "/b", Cached),
        ] {
            let mut cache = Cache::new();
            cache.ask("GET", path, &[], Origin::Says(200, &fresh));
            assert_eq!(cache.ask(method, "/a", &[], Origin::Says(status, response)), Fetched);
            let found = cache.ask("GET", path, &[], Origin::Says(200, &fresh));
            assert_eq!(found, expected, "{method} {status} {response:?} {path}");
        }
    }
}

#[test]
fn a_post_response_that_represents_its_target_answers_gets() {
    let mut cache = Cache::new();
    let response = [("expires", "@2592000"), ("content-location", "/a"), ("date", "@0")];
    assert_eq!(cache.ask("POST", "/a", &[], Origin::Says(200, &response)), Fetched);
    assert_eq!(cache.get(&[], Origin::IsGone), Cached);
    assert_eq!(cache.ask("HEAD", "/a", &[], Origin::IsGone), Cached);
    assert_eq!(cache.ask("POST", "/a", &[], Origin::IsGone), Failed);
}

#[test]
fn head_is_answered_from_get_and_freshens_it() {
    let mut cache = Cache::new();
    cache.get(
        &[],
        Origin::Says(200, &[("cache-control", "max-age=2"), ("a", "1"), ("b", "1")]),
    );
    assert_eq!(cache.ask("HEAD", "/a", &[], Origin::IsGone), Cached);
    cache.wait(3);
    let update = [("cache-control", "max-age=1000"), ("a", "2")];
    assert_eq!(cache.ask("HEAD", "/a", &[], Origin::Says(200, &update)), Fetched);
    assert_eq!(cache.get(&[], Origin::IsGone), Cached);
    assert_eq!(
        (cache.seen["a"].as_bytes(), cache.seen["b"].as_bytes()),
        (&b"2"[..], &b"1"[..])
    );
    cache.wait(1000);
    assert_eq!(
        cache.ask("HEAD", "/a", &[], Origin::Says(200, &[("etag", "\"new\"")])),
        Fetched
    );
    assert_eq!(cache.get(&[], Origin::Says(200, &[])), Fetched);
}
