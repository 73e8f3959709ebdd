//! Large representations in slices: what is asked of the origin, what clients get, and what is never mixed; in both shapes.

use tests::client::{once, request};
use tests::message::End;
use tests::metrics;
use tests::origin::Origin;
use tests::ranges::Ranged;
use tests::script::Script;
use tests::setup::{Setup, Shape, in_both_shapes};
use tests::tidegate::Tidegate;
use tests::wait::{Gate, eventually};

const KIB: u64 = 1024;
const SLICE: u64 = 4 * KIB;

fn start(origin: &Origin, shape: Shape) -> Tidegate {
    let setup = Setup::of(&origin.address()).shape(shape);
    setup.set("cache.rules.slice", "'4KiB'").start()
}

fn serve(resource: &Ranged) -> Origin {
    let resource = resource.clone();
    Origin::start(move |request| resource.answer(request))
}

fn admin(tidegate: &Tidegate) -> &str {
    let stores = tidegate.cache_servers.first().unwrap_or(&tidegate.front);
    stores.address("admin")
}

/// Waits until a metric of the process that stores has this value; a reason that never occurred has none.
#[track_caller]
fn expect_metric(tidegate: &Tidegate, name: &str, labels: &str, value: u64) {
    let what = format!("{name}{{{labels}}} is {value}");
    let sample = format!(
        "{name}{} {value}\n",
        if labels.is_empty() {
            String::new()
        } else {
            format!("{{{labels}}}")
        }
    );
    eventually(&what, || metrics::page(admin(tidegate)).contains(&sample));
}

/// The Range fields that the origin was sent, in an order of their own.
fn asked(origin: &Origin) -> Vec<String> {
    let requests = origin.requests();
    let range = |request: &tests::message::Request| request.field("range").unwrap_or("whole").to_owned();
    let mut ranges: Vec<_> = requests.iter().map(range).collect();
    ranges.sort();
    ranges
}

#[test]
fn the_whole_is_joined_from_slices_that_are_fetched_once() {
    in_both_shapes(|shape| {
        let resource = Ranged::new(10 * KIB, "\"a\"");
        let origin = serve(&resource);
        let tidegate = start(&origin, shape);
        for hit in [false, true] {
            let response = tidegate.get("/");
            assert_eq!((response.status, response.is_hit()), (200, hit), "{response:?}");
            assert_eq!(response.content.kept, resource.bytes(0, 10 * KIB - 1));
            assert_eq!(response.field("content-length"), (10 * KIB).to_string());
            assert!(!response.has("content-range") && response.field("etag") == "\"a\"");
        }
        let expected = ["bytes=0-4095", "bytes=4096-8191", "bytes=8192-12287"];
        assert_eq!(asked(&origin), expected);
        tidegate.expect_metric("tidegate_cache_stored_total", "", 3);
    });
}

#[test]
#[rustfmt::skip]
fn a_range_fetches_only_the_slices_it_needs() {
    let length = 10 << 30;
    let last = length - 1;
    // Range, status, Content-Range, first and last byte, slices that the origin is asked for.
    let rows = [
        ("bytes=0-0", 206, format!("bytes 0-0/{length}"), (0, 0), vec![0]),
        ("bytes=4095-4096", 206, format!("bytes 4095-4096/{length}"), (4095, 4096), vec![0, 1]),
        ("bytes=5368709120-5368709129", 206, format!("bytes 5368709120-5368709129/{length}"), (5_368_709_120, 5_368_709_129), vec![1_310_720]),
        ("bytes=10737418230-", 206, format!("bytes 10737418230-{last}/{length}"), (10_737_418_230, last), vec![last / SLICE]),
        ("bytes=-3", 206, format!("bytes {}-{last}/{length}", last - 2), (last - 2, last), vec![0, last / SLICE]),
        ("bytes=10737418240-", 416, format!("bytes */{length}"), (1, 0), vec![]),
    ];
    in_both_shapes(|shape| {
        for (range, status, content_range, (first, last), slices) in &rows {
            let resource = Ranged::new(length, "\"a\"");
            let origin = serve(&resource);
            let tidegate = start(&origin, shape);
            for hit in [false, true] {
                let response = tidegate.ask(request("GET", "/", &format!("Range: {range}\r\n"), ""));
                assert_eq!((response.status, response.field("content-range")), (*status, content_range.as_str()), "{range} {response:?}");
                if *status == 206 {
                    assert!(response.content.kept == resource.bytes(*first, *last), "{range} {response:?}");
                    assert_eq!(response.is_hit(), hit, "{range} {response:?}");
                }
            }
            if *status == 206 {
                let mut expected: Vec<_> = slices.iter().map(|n| format!("bytes={}-{}", n * SLICE, n * SLICE + SLICE - 1)).collect();
                expected.sort();
                assert_eq!(asked(&origin), expected, "{range}");
            }
        }
    });
}

#[test]
fn what_lies_between_stored_slices_is_fetched_and_the_response_is_no_hit() {
    let resource = Ranged::new(3 * SLICE, "\"a\"");
    let origin = serve(&resource);
    let tidegate = start(&origin, Shape::InProcess);
    tidegate.ask(request("GET", "/", "Range: bytes=0-0\r\n", ""));
    tidegate.ask(request("GET", "/", "Range: bytes=8192-8192\r\n", ""));
    let response = tidegate.get("/");
    assert_eq!(response.content.kept, resource.bytes(0, 3 * SLICE - 1));
    assert!(
        response.cache_words().iter().any(|word| word == "fwd=partial"),
        "{response:?}"
    );
    assert_eq!(asked(&origin).len(), 3);
    assert!(tidegate.get("/").is_hit());
    tidegate.expect_metric("tidegate_cache_requests_total", r#"outcome="partial""#, 1);
}

#[test]
fn several_ranges_become_parts_with_their_own_bytes() {
    in_both_shapes(|shape| {
        let resource = Ranged::new(3 * SLICE, "\"a\"");
        let origin = serve(&resource);
        let tidegate = start(&origin, shape);
        for hit in [false, true] {
            let response = tidegate.ask(request("GET", "/", "Range: bytes=9000-9001, 0-1, -1\r\n", ""));
            assert_eq!((response.status, response.is_hit()), (206, hit), "{response:?}");
            let boundary = response
                .field("content-type")
                .split_once("boundary=")
                .unwrap()
                .1
                .to_owned();
            let mut expected = Vec::new();
            for (first, last) in [(9000, 9001), (0, 1), (12287, 12287)] {
                let head = format!(
                    "\r\n--{boundary}\r\ncontent-type: text/x-test\r\ncontent-range: bytes {first}-{last}/12288\r\n\r\n"
                );
                expected.extend_from_slice(head.as_bytes());
                expected.extend(resource.bytes(first, last));
            }
            expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
            assert!(response.content.kept == expected, "{response:?}");
        }
        assert_eq!(asked(&origin), ["bytes=0-4095", "bytes=8192-12287"]);
    });
}

#[test]
fn conditions_are_answered_from_the_first_slice() {
    in_both_shapes(|shape| {
        let resource = Ranged::new(2 * SLICE, "\"a\"");
        let origin = serve(&resource);
        let tidegate = start(&origin, shape);
        for (lines, status, bytes) in [
            ("If-None-Match: \"a\"\r\n", 304, 0),
            ("If-None-Match: \"b\"\r\n", 200, 2 * SLICE),
            ("If-Range: \"a\"\r\nRange: bytes=1-2\r\n", 206, 2),
            ("If-Range: \"b\"\r\nRange: bytes=1-2\r\n", 200, 2 * SLICE),
            ("If-Match: \"a\"\r\n", 200, 2 * SLICE),
        ] {
            let response = tidegate.ask(request("GET", "/", lines, ""));
            assert_eq!(
                (response.status, response.content.bytes),
                (status, bytes),
                "{lines} {response:?}"
            );
        }
        let head = tidegate.ask(request("HEAD", "/", "", ""));
        let length = (2 * SLICE).to_string();
        assert_eq!(
            (head.status, head.field("content-length"), head.is_hit()),
            (200, length.as_str(), true)
        );
        assert_eq!(asked(&origin), ["bytes=0-4095", "bytes=4096-8191"]);
        let absent = tidegate.ask(request("GET", "/other", "Cache-Control: only-if-cached\r\n", ""));
        assert_eq!(absent.status, 504);
        let there = tidegate.ask(request("GET", "/", "Cache-Control: only-if-cached\r\n", ""));
        assert!(there.is_hit() && there.content.bytes == 2 * SLICE, "{there:?}");
    });
}

#[test]
fn what_is_smaller_than_a_slice_is_one_slice_and_needs_no_strong_validator() {
    in_both_shapes(|shape| {
        let resource = Ranged::new(100, "W/\"a\"");
        let origin = serve(&resource);
        let tidegate = start(&origin, shape);
        for hit in [false, true] {
            let response = tidegate.get("/");
            assert_eq!((response.status, response.is_hit()), (200, hit), "{response:?}");
            assert_eq!(response.content.kept, resource.bytes(0, 99));
        }
        assert_eq!(asked(&origin), ["bytes=0-4095"]);
        let range = tidegate.ask(request("GET", "/", "Range: bytes=-1\r\n", ""));
        assert!(
            range.is_hit() && range.content.kept == resource.bytes(99, 99),
            "{range:?}"
        );
    });
}

#[test]
fn a_representation_that_changes_in_mid_way_is_cut_and_never_mixed() {
    in_both_shapes(|shape| {
        let resource = Ranged::new(3 * SLICE, "\"a\"");
        let (gate, served) = (Gate::new(), resource.clone());
        let held = gate.clone();
        let origin = Origin::start(move |request| match request.field("range") {
            Some("bytes=4096-8191") => {
                // The answer is made when the gate has opened.
                assert!(held.pass(), "the gate is opened");
                served.answer(request)
            }
            _ => served.answer(request),
        });
        let tidegate = start(&origin, shape);
        let old = resource.bytes(0, 3 * SLICE - 1);
        tidegate.ask(request("GET", "/", "Range: bytes=8192-8192\r\n", ""));
        let mut client = tidegate.client();
        client.send(tests::client::get("/"));
        gate.wait_for_arrivals(1);
        client.read_bytes(1);
        resource.change(3 * SLICE, "\"b\"");
        gate.open();
        let cut = client.read();
        assert!(matches!(cut.end, End::Cut(_)), "{cut:?}");
        assert!(old.starts_with(&cut.content.kept), "nothing of the new one is in it");
        expect_metric(
            &tidegate,
            "tidegate_cache_refused_total",
            r#"reason="slice_changed""#,
            1,
        );
        // The last slice of the old one is still stored, and is not used.
        let range = tidegate.ask(request("GET", "/", "Range: bytes=8192-8200\r\n", ""));
        assert_eq!(range.content.kept, resource.bytes(8192, 8200), "{range:?}");
        let response = tidegate.get("/");
        assert_eq!(response.content.kept, resource.bytes(0, 3 * SLICE - 1));
        assert!(tidegate.get("/").is_hit());
    });
}

#[test]
fn an_origin_that_ignores_ranges_is_not_asked_for_them_again() {
    in_both_shapes(|shape| {
        let origin = Origin::start(|request| match request.path() {
            "/stored" => Script::cacheable("hello"),
            _ => Script::answer(200, "Cache-Control: no-store\r\n", "hello"),
        });
        let tidegate = start(&origin, shape);
        for (path, hits) in [("/stored", [false, true, true]), ("/passed", [false; 3])] {
            for hit in hits {
                let response = tidegate.get(path);
                assert_eq!(
                    (response.text().as_str(), response.is_hit()),
                    ("hello", hit),
                    "{path} {response:?}"
                );
            }
        }
        let part = tidegate.ask(request("GET", "/stored", "Range: bytes=1-2\r\n", ""));
        assert_eq!((part.status, part.text().as_str(), part.is_hit()), (206, "el", true));
        assert_eq!(asked(&origin), ["bytes=0-4095", "bytes=0-4095", "whole", "whole"]);
        expect_metric(
            &tidegate,
            "tidegate_cache_refused_total",
            r#"reason="range_ignored""#,
            2,
        );
    });
}

#[test]
#[rustfmt::skip]
fn what_is_no_proper_slice_is_fetched_whole() {
    let rows = [
        ("partial_complete_length", "Content-Range: bytes 0-4095/*\r\nETag: \"a\"\r\n"),
        ("partial_validator", "Content-Range: bytes 0-4095/8192\r\nETag: W/\"a\"\r\n"),
        ("partial_validator", "Content-Range: bytes 0-4095/8192\r\n"),
        ("partial_wrong_range", "Content-Range: bytes 1-4096/8192\r\nETag: \"a\"\r\n"),
        ("partial_length", "Content-Range: bytes 0-8191/8192\r\nETag: \"a\"\r\n"),
        ("partial_content_range", "ETag: \"a\"\r\n"),
        ("partial_content_range", "Content-Range: bytes 0-4095/10\r\nETag: \"a\"\r\n"),
        ("partial_multipart", "Content-Type: multipart/byteranges; boundary=x\r\nETag: \"a\"\r\n"),
    ];
    let resource = Ranged::new(2 * SLICE, "\"a\"");
    for (reason, lines) in rows {
        let whole = resource.clone();
        let origin = Origin::start(move |request| match request.field("range") {
            Some(_) => Script::answer(206, &format!("Cache-Control: max-age=60\r\n{lines}"), whole.bytes(0, SLICE - 1)),
            None => whole.answer(request),
        });
        let tidegate = start(&origin, Shape::InProcess);
        let response = tidegate.get("/");
        assert_eq!((response.status, response.content.bytes), (200, 2 * SLICE), "{lines} {response:?}");
        assert!(response.content.kept == resource.bytes(0, 2 * SLICE - 1), "{lines}");
        assert!(tidegate.get("/").is_hit(), "{lines}");
        assert_eq!(asked(&origin), ["bytes=0-4095", "whole"], "{lines}");
        let expected = if reason == "partial_length" { "partial_wrong_range" } else { reason };
        expect_metric(&tidegate, "tidegate_cache_refused_total", &format!("reason=\"{expected}\""), 1);
    }
}

#[test]
fn errors_and_empty_representations_are_what_they_are_without_slices() {
    in_both_shapes(|shape| {
        let empty = Ranged::new(0, "\"a\"");
        let origin = Origin::start(move |request| match request.path() {
            "/empty" => empty.answer(request),
            "/absent" => Script::answer(404, "Cache-Control: max-age=60\r\n", "no"),
            _ => Script::answer(503, "", "later"),
        });
        let tidegate = start(&origin, shape);
        for (path, status, hits) in [
            ("/empty", 200, [false, true]),
            ("/absent", 404, [false, true]),
            ("/broken", 503, [false, false]),
        ] {
            for hit in hits {
                let response = tidegate.get(path);
                assert_eq!(
                    (response.status, response.is_hit()),
                    (status, hit),
                    "{path} {response:?}"
                );
            }
        }
    });
}

#[test]
fn every_purge_covers_all_slices() {
    in_both_shapes(|shape| {
        let resource = Ranged::new(2 * SLICE, "\"a\"").with("Cache-Control: max-age=60\r\nSurrogate-Key: big\r\n");
        let origin = serve(&resource);
        let tidegate = start(&origin, shape);
        for (query, fwd) in [
            ("url=http://www.example.com/big", "fwd=uri-miss"),
            ("prefix=www.example.com/b", "fwd=uri-miss"),
            ("host=www.example.com", "fwd=uri-miss"),
            ("tag=big", "fwd=uri-miss"),
            ("all", "fwd=uri-miss"),
            ("tag=big&soft", "fwd=stale"),
            ("url=http://www.example.com/big&soft", "fwd=stale"),
        ] {
            tidegate.get("/big");
            assert!(tidegate.get("/big").is_hit(), "{query}");
            let before = asked(&origin).len();
            assert_eq!(
                once(admin(&tidegate), request("POST", &format!("/purge?{query}"), "", "")).status,
                200
            );
            let response = tidegate.get("/big");
            assert!(
                response.cache_words().iter().any(|word| word == fwd),
                "{query} {response:?}"
            );
            assert_eq!(response.content.kept, resource.bytes(0, 2 * SLICE - 1));
            assert_eq!(asked(&origin).len(), before + 2, "{query}");
        }
    });
}

#[test]
fn an_unsafe_request_invalidates_all_slices_and_what_is_being_fetched() {
    in_both_shapes(|shape| {
        let resource = Ranged::new(2 * SLICE, "\"a\"");
        let served = resource.clone();
        let origin = Origin::start(move |request| match request.method() {
            "POST" => Script::answer(204, "", ""),
            _ => served.answer(request),
        });
        let tidegate = start(&origin, shape);
        tidegate.get("/");
        assert!(tidegate.get("/").is_hit());
        tidegate.ask(request("POST", "/", "Content-Length: 0\r\n", ""));
        resource.change(2 * SLICE, "\"b\"");
        let range = tidegate.ask(request("GET", "/", "Range: bytes=4096-4099\r\n", ""));
        assert_eq!(
            (range.is_hit(), range.content.kept),
            (false, resource.bytes(4096, 4099))
        );
        assert_eq!(tidegate.get("/").content.kept, resource.bytes(0, 2 * SLICE - 1));
    });
}

#[test]
fn what_is_fetched_while_it_is_invalidated_is_not_reused() {
    in_both_shapes(|shape| {
        let gate = Gate::new();
        let held = gate.clone();
        let origin = Origin::start(move |request| match (request.method(), request.field("x-held")) {
            ("POST", _) => Script::answer(204, "", ""),
            (_, Some(_)) => {
                Script::says("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 6\r\n\r\nold")
                    .wait(&held)
                    .send("old")
            }
            _ => Script::cacheable("new"),
        });
        let tidegate = Setup::of(&origin.address()).shape(shape).start();
        let mut early = tidegate.client();
        early.send(request("GET", "/", "X-Held: 1\r\n", ""));
        gate.wait_for_arrivals(1);
        assert_eq!(
            tidegate.ask(request("POST", "/", "Content-Length: 0\r\n", "")).status,
            204
        );
        assert_eq!(tidegate.get("/").text(), "new", "it does not join");
        gate.open();
        assert_eq!(early.read().text(), "oldold");
        tidegate.wait_until_no_backend_is_busy();
        assert_eq!(tidegate.get("/").text(), "new", "what came later is still there");
    });
}

#[test]
fn many_clients_share_one_fetch_of_each_slice() {
    in_both_shapes(|shape| {
        let resource = Ranged::new(4 * SLICE, "\"a\"");
        let (gate, served) = (Gate::new(), resource.clone());
        let held = gate.clone();
        let origin = Origin::start(move |request| {
            assert!(held.pass(), "the gate is opened");
            served.answer(request)
        });
        let tidegate = start(&origin, shape);
        let mut clients: Vec<_> = (0..8).map(|_| tidegate.client()).collect();
        for client in &mut clients {
            client.send(tests::client::get("/"));
        }
        expect_metric(&tidegate, "tidegate_cache_waiting", "", 7);
        gate.open();
        for client in &mut clients {
            let response = client.read();
            assert_eq!(response.content.kept, resource.bytes(0, 4 * SLICE - 1), "{response:?}");
        }
        assert_eq!(asked(&origin).len(), 4);
    });
}

#[test]
fn a_client_that_does_not_read_has_few_slices_fetched() {
    let resource = Ranged::new(64 << 20, "\"a\"");
    let origin = serve(&resource);
    let tidegate = Setup::of(&origin.address())
        .set("cache.rules.slice", "'256KiB'")
        .set("cache.rules.slices_ahead", "2")
        .start();
    let mut client = tidegate.client();
    client.send(tests::client::get("/"));
    eventually("the look-ahead begins", || asked(&origin).len() >= 3);
    let (mut before, mut now) = (0, asked(&origin).len());
    // What the kernel's buffers take goes on coming for a moment; then nothing does.
    eventually("it stops", || {
        (before, now) = (now, asked(&origin).len());
        tests::wait::nap(std::time::Duration::from_millis(100));
        before == asked(&origin).len()
    });
    assert!(
        now < 128,
        "{now} of 256 slices were fetched for a client that reads nothing"
    );
}

#[test]
fn stale_slices_are_validated_one_by_one() {
    in_both_shapes(|shape| {
        let resource = Ranged::new(2 * SLICE, "\"a\"").with("Cache-Control: max-age=60\r\nAge: 60\r\n");
        let origin = serve(&resource);
        let tidegate = start(&origin, shape);
        for fwd in ["fwd=uri-miss", "fwd=stale"] {
            let response = tidegate.get("/");
            assert!(response.cache_words().iter().any(|word| word == fwd), "{response:?}");
            assert_eq!(response.content.kept, resource.bytes(0, 2 * SLICE - 1));
        }
        let conditional = |request: &&tests::message::Request| request.field("if-none-match") == Some("\"a\"");
        assert_eq!(origin.requests().iter().filter(conditional).count(), 2);
        resource.change(SLICE, "\"b\"");
        let response = tidegate.get("/");
        assert_eq!(response.content.kept, resource.bytes(0, SLICE - 1), "{response:?}");
    });
}

/// "potentially with preconditions added to describe what responses the cache has already stored" (RFC 9111 §4.1): slices of
/// another variant are asked about, and those that a 304 names answer.
#[test]
fn a_miss_for_another_variant_asks_about_the_slices_that_are_stored() {
    in_both_shapes(|shape| {
        let latin = Ranged::new(2 * SLICE, "\"latin\"").with("Cache-Control: max-age=60\r\nVary: Accept-Language\r\n");
        let greek = latin.alike(3 * SLICE, "\"greek\"");
        let (to_most, to_greeks) = (latin.clone(), greek.clone());
        let origin = Origin::start(move |request| match request.field("accept-language") {
            Some("el") => to_greeks.answer(request),
            _ => to_most.answer(request),
        });
        let tidegate = start(&origin, shape);
        let ask = |language: &str| tidegate.ask(request("GET", "/", &format!("Accept-Language: {language}\r\n"), ""));
        let has = |words: &[String], word: &str| words.iter().any(|told| told == word);
        for (language, resource, length, fwd) in [
            ("en", &latin, 2 * SLICE, &["fwd=uri-miss", "fwd-status=206"]),
            ("fr", &latin, 2 * SLICE, &["fwd=vary-miss", "fwd-status=304"]),
            ("el", &greek, 3 * SLICE, &["fwd=vary-miss", "fwd-status=206"]),
        ] {
            for is_hit in [false, true] {
                let response = ask(language);
                assert_eq!(
                    (response.status, response.is_hit()),
                    (200, is_hit),
                    "{language}: {response:?}"
                );
                assert!(
                    response.content.kept == resource.bytes(0, length - 1),
                    "{language}: {response:?}"
                );
                let words = response.cache_words();
                assert!(
                    is_hit || fwd.iter().all(|word| has(&words, word)),
                    "{language}: {response:?}"
                );
            }
        }
        let known = |request: &tests::message::Request| request.field("if-none-match").map(str::to_owned);
        let (latin, none) = (Some("\"latin\"".to_owned()), None);
        let mut told: Vec<_> = origin.requests().iter().map(known).collect();
        told.sort();
        // Two for English, two for French, three for Greek, the last of which nothing is stored like.
        assert_eq!(
            told,
            [&none, &none, &none, &latin, &latin, &latin, &latin].map(Clone::clone)
        );
        assert!(ask("en").is_hit());
    });
}

#[test]
fn a_slice_that_breaks_off_cuts_the_response_and_is_not_stored() {
    let resource = Ranged::new(2 * SLICE, "\"a\"");
    let (served, broken) = (resource.clone(), std::sync::atomic::AtomicBool::new(true));
    let origin = Origin::start(move |request| {
        let is_second = request.field("range") == Some("bytes=4096-8191");
        if is_second && broken.swap(false, std::sync::atomic::Ordering::SeqCst) {
            let head = "HTTP/1.1 206 Partial\r\nCache-Control: max-age=60\r\nETag: \"a\"\r\nContent-Length: 4096\r\n\
                        Content-Range: bytes 4096-8191/8192\r\n\r\nhalf";
            return Script::says(head).reset();
        }
        served.answer(request)
    });
    let tidegate = start(&origin, Shape::InProcess);
    assert!(!tidegate.get("/").looks_whole());
    let response = tidegate.get("/");
    assert_eq!(response.content.kept, resource.bytes(0, 2 * SLICE - 1), "{response:?}");
}
