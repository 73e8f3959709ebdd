//! What the cache tier stores and what it does not, under which key, and how large; in both shapes.

use tests::client::{once, request};
use tests::message::End;
use tests::origin::Origin;
use tests::script::Script;
use tests::setup::{Setup, in_both_shapes};

#[test]
#[rustfmt::skip]
fn only_what_may_be_stored_is_stored() {
    // Name, method, more request lines, status, response lines, whether the second request is a hit.
    let rows = [
        ("max-age", "GET", "", 200, "Cache-Control: max-age=60\r\n", true),
        ("s-maxage", "GET", "", 200, "Cache-Control: s-maxage=60, max-age=0\r\n", true),
        ("public with a lifetime", "GET", "", 200, "Cache-Control: public, max-age=60\r\n", true),
        ("Expires in the future", "GET", "", 200, "Expires: Fri, 01 Jan 2100 00:00:00 GMT\r\n", true),
        ("404 with a lifetime", "GET", "", 404, "Cache-Control: max-age=60\r\n", true),
        ("301 with a lifetime", "GET", "", 301, "Location: /b\r\nCache-Control: max-age=60\r\n", true),
        ("authorised but public", "GET", "Authorization: Basic eA==\r\n", 200, "Cache-Control: public, max-age=60\r\n", true),
        ("nothing said", "GET", "", 200, "", false),
        ("no-store", "GET", "", 200, "Cache-Control: no-store, max-age=60\r\n", false),
        ("private", "GET", "", 200, "Cache-Control: private, max-age=60\r\n", false),
        ("no-cache", "GET", "", 200, "Cache-Control: no-cache, max-age=60\r\n", false),
        ("max-age=0", "GET", "", 200, "Cache-Control: max-age=0\r\n", false),
        ("s-maxage=0", "GET", "", 200, "Cache-Control: max-age=60, s-maxage=0\r\n", false),
        ("Expires in the past", "GET", "", 200, "Expires: Sun, 06 Nov 1994 08:49:37 GMT\r\n", false),
        ("Expires that is no date", "GET", "", 200, "Expires: 0\r\n", false),
        ("Age beyond the lifetime", "GET", "", 200, "Cache-Control: max-age=60\r\nAge: 60\r\n", false),
        ("authorised", "GET", "Authorization: Basic eA==\r\n", 200, "Cache-Control: max-age=60\r\n", false),
        ("client's no-store", "GET", "Cache-Control: no-store\r\n", 200, "Cache-Control: max-age=60\r\n", false),
        ("Vary: *", "GET", "", 200, "Cache-Control: max-age=60\r\nVary: *\r\n", false),
        ("POST", "POST", "Content-Length: 0\r\n", 200, "Cache-Control: max-age=60\r\n", false),
        ("PUT", "PUT", "Content-Length: 0\r\n", 200, "Cache-Control: max-age=60\r\n", false),
        ("unknown method", "BREW", "", 200, "Cache-Control: max-age=60\r\n", false),
    ];
    in_both_shapes(|shape| {
        let origin = Origin::start(move |request| {
            let row = rows[request.path()[1..].parse::<usize>().unwrap_or(0)];
            Script::answer(row.3, row.4, "hello")
        });
        let tidegate = Setup::of(&origin.address()).shape(shape).start();
        for (index, (name, method, lines, status, _, hit)) in rows.iter().enumerate() {
            let bytes = request(method, &format!("/{index}"), lines, "");
            for again in [false, true] {
                let response = tidegate.ask(&bytes);
                assert_eq!(
                    (response.status, response.text().as_str()),
                    (*status, "hello"),
                    "{name}"
                );
                assert_eq!(response.is_hit(), again && *hit, "{name}, again: {again}: {response:?}");
            }
            assert_eq!(origin.count(&format!("/{index}")), if *hit { 1 } else { 2 }, "{name}");
        }
    });
}

#[test]
fn each_variant_has_its_own_stored_response() {
    in_both_shapes(|shape| {
        let origin = Origin::start(|request| {
            let language = request.field("accept-language").unwrap_or("none");
            Script::answer(200, "Cache-Control: max-age=60\r\nVary: Accept-Language\r\n", language)
        });
        let tidegate = Setup::of(&origin.address()).shape(shape).start();
        for round in [false, true] {
            for (lines, expected) in [
                ("Accept-Language: de\r\n", "de"),
                ("Accept-Language: en\r\n", "en"),
                ("", "none"),
            ] {
                let response = tidegate.ask(request("GET", "/", lines, ""));
                assert_eq!(
                    (response.text().as_str(), response.is_hit()),
                    (expected, round),
                    "{response:?}"
                );
            }
        }
        assert_eq!(origin.count("/"), 3);
    });
}

#[test]
fn different_resources_do_not_share_a_stored_response() {
    in_both_shapes(|shape| {
        let origin = Origin::start(|request| {
            Script::cacheable(format!("{}{}", request.field("host").unwrap_or(""), request.target()))
        });
        let sites = "[[site]]\nhosts = ['a.example', 'b.example']\norigin = 'o'\ncache = true\n";
        let tidegate = Setup::with_sites(sites)
            .origin("o", &origin.address())
            .shape(shape)
            .start();
        for round in [false, true] {
            for (host, target) in [
                ("a.example", "/"),
                ("b.example", "/"),
                ("a.example", "/?q"),
                ("a.example", "/?Q"),
                ("a.example", "/A"),
                ("a.example", "/a"),
                ("a.example", "//"),
            ] {
                let response = once(
                    tidegate.address(),
                    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
                );
                assert_eq!(
                    (response.text(), response.is_hit()),
                    (format!("{host}{target}"), round),
                    "{response:?}"
                );
            }
        }
        // The host's case and the default port change nothing (RFC 9110 §4.2.3).
        let response = once(tidegate.address(), "GET /a HTTP/1.1\r\nHost: A.EXAMPLE:80\r\n\r\n");
        assert!(response.is_hit(), "{response:?}");
    });
}

#[test]
fn a_large_body_is_stored_and_sent_byte_for_byte() {
    let body: Vec<u8> = (0..8_u32 << 20)
        .map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    in_both_shapes(|shape| {
        let stored = body.clone();
        let origin = Origin::start(move |_| Script::cacheable(&stored));
        let setup = Setup::of(&origin.address())
            .shape(shape)
            .set("cache.stored_response_max", "'16MiB'");
        let tidegate = setup.start();
        for hit in [false, true, true] {
            let response = tidegate.get("/large");
            assert!(
                response.content.kept == body && response.is_hit() == hit,
                "{:?} {:?}",
                response.head,
                response.end
            );
        }
        assert_eq!(origin.count("/large"), 1);
    });
}

#[test]
fn what_is_too_large_passes_without_being_stored() {
    in_both_shapes(|shape| {
        let origin = Origin::start(|request| match request.path() {
            "/told" => Script::cacheable([b'x'; 3000]),
            _ => {
                let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n";
                Script::says(head)
                    .send("3e8\r\n")
                    .send([b'x'; 1000])
                    .send("\r\n7d0\r\n")
                    .send([b'x'; 2000])
                    .send("\r\n0\r\n\r\n")
            }
        });
        let setup = Setup::of(&origin.address())
            .shape(shape)
            .set("cache.stored_response_max", "'2KiB'");
        let tidegate = setup.start();
        for path in ["/told", "/told", "/untold", "/untold"] {
            let response = tidegate.get(path);
            assert_eq!(
                (response.content.bytes, &response.end, response.is_hit()),
                (3000, &End::Whole, false),
                "{path}"
            );
        }
        let counts = (origin.count("/told"), origin.count("/untold"));
        assert_eq!(counts, (2, 2));
        tidegate.expect_metric("tidegate_cache_too_large_total", "", 4);
    });
}

/// "the request is forwarded to the origin server, potentially with preconditions added to describe what responses the cache
/// has already stored" (RFC 9111 §4.1): the variant that a 304 names answers this request, too, and those like it.
#[test]
fn a_miss_for_another_variant_asks_about_those_that_are_stored() {
    in_both_shapes(|shape| {
        let origin = Origin::start(|request| {
            let lines = "Cache-Control: max-age=60\r\nVary: Accept-Language, Accept-Encoding\r\nETag: \"latin\"\r\n";
            match request.field("if-none-match") {
                Some("\"latin\"") => Script::says(format!("HTTP/1.1 304 Not Modified\r\n{lines}\r\n")),
                Some(_) => Script::answer(400, "", ""),
                None => Script::answer(200, lines, "lorem ipsum"),
            }
        });
        let tidegate = Setup::of(&origin.address()).shape(shape).start();
        let ask = |lines: &str| tidegate.ask(request("GET", "/", lines, ""));
        assert!(!ask("Accept-Language: en\r\n").is_hit());
        let other = ask("Accept-Language: fr\r\n");
        assert_eq!((other.status, other.text().as_str()), (200, "lorem ipsum"));
        for word in ["fwd=vary-miss", "fwd-status=304", "stored"] {
            assert!(other.cache_words().iter().any(|told| told == word), "{word}: {other:?}");
        }
        for language in ["en", "fr"] {
            let again = ask(&format!("Accept-Language: {language}\r\n"));
            assert!(again.is_hit() && again.text() == "lorem ipsum", "{language}: {again:?}");
        }
        // The client's own condition is answered from what the origin has confirmed.
        let known = ask("Accept-Language: de\r\nIf-None-Match: \"latin\"\r\n");
        assert_eq!(known.status, 304, "{known:?}");
        // Of another coding nothing is stored, and a 304 may not make it one.
        assert_eq!(
            ask("Accept-Language: en\r\nAccept-Encoding: gzip\r\n").text(),
            "lorem ipsum"
        );
        assert!(origin.last_request().field("if-none-match").is_none());
    });
}

/// "MUST NOT use the new response to update any stored responses" (RFC 9111 §4.3.4): a 304 about something else is asked for
/// again, without conditions.
#[test]
fn a_304_that_names_no_stored_variant_is_followed_by_a_plain_request() {
    let origin = Origin::start(|request| {
        let (language, known) = (request.field("accept-language"), request.field("if-none-match"));
        let lines = |tag: &str| format!("Cache-Control: max-age=60\r\nVary: Accept-Language\r\nETag: \"{tag}\"\r\n");
        match (language, known) {
            (_, Some(_)) => Script::says(format!("HTTP/1.1 304 Not Modified\r\n{}\r\n", lines("other"))),
            (language, None) => {
                let language = language.unwrap_or("none");
                Script::answer(200, &lines(language), language)
            }
        }
    });
    let tidegate = Setup::of(&origin.address()).start();
    for language in ["en", "fr"] {
        let lines = format!("Accept-Language: {language}\r\n");
        assert_eq!(tidegate.ask(request("GET", "/", &lines, "")).text(), language);
    }
    assert_eq!(origin.count("/"), 3);
}

/// "the union of all entity tags" is asked about (RFC 9111 §4.3.1), and the variant that the origin names answers.
#[test]
fn all_stored_validators_are_sent_at_once_and_the_304_says_which_one_answers() {
    in_both_shapes(|shape| {
        let origin = Origin::start(|request| {
            let (language, known) = (request.field("accept-language"), request.field("if-none-match"));
            let lines = |tag: &str| format!("Cache-Control: max-age=0\r\nVary: Accept-Language\r\nETag: \"{tag}\"\r\n");
            match (language, known) {
                // By now it thinks that everybody should get the German one.
                (_, Some(known)) if known.contains("de") && known.contains("en") => {
                    Script::says(format!("HTTP/1.1 304 Not Modified\r\n{}\r\n", lines("de")))
                }
                (Some(language), _) => Script::answer(200, &lines(language), language),
                (None, _) => Script::answer(400, "", ""),
            }
        });
        let tidegate = Setup::of(&origin.address()).shape(shape).start();
        let ask = |language: &str| {
            let lines = format!("Accept-Language: {language}\r\n");
            tidegate.ask(request("GET", "/", &lines, "")).text()
        };
        assert_eq!((ask("de"), ask("en")), ("de".to_owned(), "en".to_owned()));
        assert_eq!(ask("en"), "de");
        let asked = origin.last_request();
        let known = asked.field("if-none-match").unwrap();
        assert!(known.contains("\"en\"") && known.contains("\"de\""), "{known}");
        assert!(!asked.head.fields.has("if-modified-since"), "{asked:?}");
    });
}
