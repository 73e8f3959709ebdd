//! Parts of representations on routes without slices: stored, joined, completed; and responses that contradict the request.

use tests::client::request;
use tests::message::Request;
use tests::metrics;
use tests::origin::Origin;
use tests::ranges::Ranged;
use tests::script::Script;
use tests::setup::{Setup, Shape, in_both_shapes};
use tests::tidegate::Tidegate;
use tests::wait::eventually;

fn serve(resource: &Ranged) -> Origin {
    let resource = resource.clone();
    Origin::start(move |request| resource.answer(request))
}

fn ranged(tidegate: &Tidegate, range: &str) -> tests::message::Response {
    tidegate.ask(request("GET", "/", &format!("Range: {range}\r\n"), ""))
}

/// What the origin was asked for, in order.
fn asked(origin: &Origin) -> Vec<String> {
    let requests = origin.requests();
    let range = |request: &Request| request.field("range").unwrap_or("whole").to_owned();
    requests.iter().map(range).collect()
}

#[test]
fn a_stored_part_answers_what_lies_in_it() {
    in_both_shapes(|shape| {
        let resource = Ranged::new(100, "\"a\"");
        let origin = serve(&resource);
        let tidegate = Setup::of(&origin.address()).shape(shape).start();
        for (range, content_range, (first, last), hit) in [
            ("bytes=10-29", "bytes 10-29/100", (10, 29), false),
            ("bytes=10-29", "bytes 10-29/100", (10, 29), true),
            ("bytes=15-16", "bytes 15-16/100", (15, 16), true),
            ("bytes=29-30", "bytes 29-30/100", (29, 30), false),
            ("bytes=12-30", "bytes 12-30/100", (12, 30), true),
            ("bytes=-5", "bytes 95-99/100", (95, 99), false),
            ("bytes=98-", "bytes 98-99/100", (98, 99), true),
        ] {
            let response = ranged(&tidegate, range);
            assert_eq!((response.status, response.is_hit()), (206, hit), "{range} {response:?}");
            assert_eq!(response.head.fields.all("content-range"), [content_range], "{range}");
            assert_eq!(response.content.kept, resource.bytes(first, last), "{range}");
        }
        let not_modified = tidegate.ask(request(
            "GET",
            "/",
            "Range: bytes=95-96\r\nIf-None-Match: \"a\"\r\n",
            "",
        ));
        assert_eq!(
            (not_modified.status, not_modified.is_hit()),
            (304, true),
            "{not_modified:?}"
        );
        assert_eq!(asked(&origin), ["bytes=10-29", "bytes=29-30", "bytes=-5"]);
        let absent = tidegate.ask(request("GET", "/", "Cache-Control: only-if-cached\r\n", ""));
        assert_eq!(absent.status, 504, "a part is no answer to a request for the whole");
    });
}

#[test]
fn a_part_that_is_the_beginning_is_completed() {
    in_both_shapes(|shape| {
        let resource = Ranged::new(100, "\"a\"");
        let origin = serve(&resource);
        let tidegate = Setup::of(&origin.address()).shape(shape).start();
        assert_eq!(ranged(&tidegate, "bytes=0-49").content.kept, resource.bytes(0, 49));
        let response = tidegate.get("/");
        assert_eq!(
            (response.status, response.content.kept.clone()),
            (200, resource.bytes(0, 99))
        );
        assert!(
            response.cache_words().iter().any(|word| word == "fwd=partial"),
            "{response:?}"
        );
        assert!(!response.has("content-range"), "{response:?}");
        assert_eq!(origin.last_request().field("if-range"), Some("\"a\""));
        for range in [None, Some("bytes=90-")] {
            let response = range.map_or_else(|| tidegate.get("/"), |range| ranged(&tidegate, range));
            assert!(response.is_hit(), "{response:?}");
        }
        assert_eq!(asked(&origin), ["bytes=0-49", "bytes=50-"]);
    });
}

#[test]
fn parts_that_touch_become_the_whole() {
    in_both_shapes(|shape| {
        let resource = Ranged::new(100, "\"a\"");
        let origin = serve(&resource);
        let tidegate = Setup::of(&origin.address()).shape(shape).start();
        for range in ["bytes=40-59", "bytes=0-45", "bytes=50-99"] {
            assert_eq!(ranged(&tidegate, range).status, 206);
        }
        let response = tidegate.get("/");
        assert!(response.status == 200 && response.is_hit(), "{response:?}");
        assert_eq!(response.content.kept, resource.bytes(0, 99));
    });
}

#[test]
fn parts_of_different_representations_are_never_mixed() {
    in_both_shapes(|shape| {
        let resource = Ranged::new(100, "\"a\"");
        let origin = serve(&resource);
        let tidegate = Setup::of(&origin.address()).shape(shape).start();
        ranged(&tidegate, "bytes=0-49");
        resource.change(100, "\"b\"");
        let new = resource.bytes(0, 99);
        // If-Range makes the origin send all of the new one.
        let ignoring = tidegate.get("/");
        assert_eq!((ignoring.status, ignoring.content.kept), (200, new.clone()));
        assert_eq!(tidegate.get("/").content.kept, new);
    });
}

#[test]
fn a_part_without_a_strong_validator_is_reused_and_never_joined() {
    let resource = Ranged::new(100, "W/\"a\"");
    let origin = serve(&resource);
    let tidegate = Setup::of(&origin.address()).shape(Shape::InProcess).start();
    ranged(&tidegate, "bytes=0-49");
    assert!(ranged(&tidegate, "bytes=1-2").is_hit());
    assert_eq!(ranged(&tidegate, "bytes=50-99").content.kept, resource.bytes(50, 99));
    assert!(
        !ranged(&tidegate, "bytes=0-1").is_hit(),
        "the newer part has taken its place"
    );
    assert_eq!(tidegate.get("/").content.kept, resource.bytes(0, 99));
    assert_eq!(asked(&origin).last().unwrap(), "whole");
}

#[test]
fn what_a_rule_says_about_parts_is_done() {
    let resource = Ranged::new(100, "\"a\"");
    let origin = serve(&resource);
    let tidegate = Setup::of(&origin.address())
        .set("cache.rules.store_partial", "false")
        .start();
    for _ in 0..2 {
        assert!(!ranged(&tidegate, "bytes=0-9").is_hit());
    }
    let conditional = request("GET", "/", "Range: bytes=0-9\r\nIf-Range: \"a\"\r\n", "");
    let other = Setup::of(&origin.address()).start();
    for _ in 0..2 {
        assert!(
            !other.ask(&conditional).is_hit(),
            "an answer to If-Range may lack fields"
        );
    }
}

#[test]
#[rustfmt::skip]
fn what_contradicts_the_request_is_refused_or_not_stored_and_counted() {
    const FRESH: &str = "Cache-Control: max-age=60\r\nETag: \"a\"\r\n";
    // Request lines, status, response lines, what the client gets, the reason.
    let rows = [
        ("", 206, "Content-Range: bytes 0-4/5\r\n", 502, ""),
        ("", 304, "", 502, ""),
        ("Range: bytes=0-4\r\n", 206, "Content-Type: multipart/byteranges; boundary=x\r\n", 502, "partial_multipart"),
        ("Range: bytes=0-4\r\n", 206, "Content-Range: bytes 5-9/10\r\n", 206, "partial_wrong_range"),
        ("Range: bytes=0-4\r\n", 206, "", 206, "partial_content_range"),
        ("Range: bytes=0-4\r\n", 206, "Content-Range: bytes 4-0/10\r\n", 206, "partial_content_range"),
        ("Range: bytes=0-4\r\n", 206, "Content-Range: bytes 0-2/10\r\n", 206, "partial_length"),
    ];
    in_both_shapes(|shape| {
        for (lines, status, answer, expected, reason) in rows {
            let origin = Origin::start(move |_| match status {
                304 => Script::says(format!("HTTP/1.1 304 Not Modified\r\n{FRESH}\r\n")),
                _ => Script::answer(status, &format!("{FRESH}{answer}"), "hello"),
            });
            let tidegate = Setup::of(&origin.address()).shape(shape).start();
            for _ in 0..2 {
                let response = tidegate.ask(request("GET", "/", lines, ""));
                assert_eq!((response.status, response.is_hit()), (expected, false), "{reason} {response:?}");
            }
            let admin = tidegate.cache_servers.first().unwrap_or(&tidegate.front).address("admin");
            let sample = match reason {
                // Refused before the cache sees it.
                "" => "error=\"http_protocol_error\"} 2\n".to_owned(),
                reason => format!("tidegate_cache_refused_total{{reason=\"{reason}\"}} 2\n"),
            };
            eventually(&sample, || metrics::page(admin).contains(&sample));
        }
    });
}
