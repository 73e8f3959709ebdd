//! The cache tier as a client sees it: one test body for the cache in the front's process and on a cache server.
//!
//! What may be stored, and under which key: `cache_store.rs`.

use parking_lot::Mutex;
use tests::client::{get, request};
use tests::message::{Request, Response};
use tests::origin::Origin;
use tests::script::Script;
use tests::setup::{Setup, in_both_shapes};
use tests::wait::eventually;

#[test]
fn the_second_request_is_a_hit() {
    in_both_shapes(|shape| {
        let origin = Origin::start(|_| {
            Script::answer(
                200,
                "Cache-Control: max-age=60\r\nX-Own: kept\r\nETag: \"e\"\r\n",
                "hello",
            )
        });
        let tidegate = Setup::of(&origin.address()).shape(shape).start();
        let first = tidegate.get("/a");
        assert!(!first.is_hit() && !first.has("age"), "{first:?}");
        assert!(
            first.cache_words().iter().any(|word| word == "fwd=uri-miss"),
            "{first:?}"
        );
        assert!(first.cache_words().iter().any(|word| word == "stored"), "{first:?}");
        for _ in 0..3 {
            let hit = tidegate.get("/a");
            assert!(hit.is_hit(), "{hit:?}");
            assert_eq!(
                (hit.status, hit.text().as_str(), hit.field("x-own"), hit.field("etag")),
                (200, "hello", "kept", "\"e\"")
            );
            assert_eq!(hit.field("content-length"), "5");
            let age: u64 = hit.field("age").parse().unwrap();
            let ttl = hit.head.fields.joined("cache-status");
            let ttl: u64 = ttl
                .split("ttl=")
                .nth(1)
                .unwrap()
                .split(|c: char| !c.is_ascii_digit())
                .next()
                .unwrap()
                .parse()
                .unwrap();
            assert!(age <= 60 && (59..=60).contains(&(age + ttl)), "{hit:?}");
            assert!(hit.head.fields.joined("via").contains("1.1 tidegate"), "{hit:?}");
        }
        assert_eq!(origin.count("/a"), 1);
        tidegate.expect_metric("tidegate_cache_requests_total", r#"outcome="hit""#, 3);
    });
}

#[test]
fn the_date_of_a_hit_is_the_origins() {
    in_both_shapes(|shape| {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let origin = Origin::start(move |_| {
            Script::answer(
                200,
                &format!("Date: {date}\r\nAge: 10\r\nCache-Control: max-age=4000000000\r\n"),
                "x",
            )
        });
        let tidegate = Setup::of(&origin.address()).shape(shape).start();
        assert_eq!(tidegate.get("/").field("date"), date);
        let hit = tidegate.get("/");
        assert!(hit.is_hit(), "{hit:?}");
        // "apparent_age = max(0, response_time - date_value)" (RFC 9111 §4.2.3): the origin's old Date makes it old.
        assert!(
            hit.field("date") == date && hit.field("age").parse::<u64>().unwrap() > 900_000_000,
            "{hit:?}"
        );
    });
}

#[test]
fn a_head_is_answered_from_a_stored_get() {
    in_both_shapes(|shape| {
        let origin = Origin::start(|_| Script::cacheable("hello"));
        let tidegate = Setup::of(&origin.address()).shape(shape).start();
        assert_eq!(tidegate.get("/").status, 200);
        let mut client = tidegate.client();
        let head = client.ask(request("HEAD", "/", "", ""));
        assert!(head.is_hit(), "{head:?}");
        assert_eq!((head.status, head.field("content-length")), (200, "5"));
        assert_eq!((client.get("/").text().as_str(), origin.count("/")), ("hello", 1));
    });
}

#[test]
fn a_stored_response_is_not_used_beyond_its_lifetime() {
    in_both_shapes(|shape| {
        let origin = Origin::start(|_| Script::answer(200, "Cache-Control: max-age=1\r\n", "short"));
        let tidegate = Setup::of(&origin.address()).shape(shape).start();
        assert_eq!(tidegate.get("/").text(), "short");
        eventually("the origin is asked again", || {
            tidegate.get("/").text() == "short" && origin.count("/") >= 2
        });
    });
}

#[test]
fn a_site_without_the_cache_passes_everything() {
    in_both_shapes(|shape| {
        let origin = Origin::start(|_| Script::cacheable("hello"));
        let tidegate = Setup::of(&origin.address()).uncached().shape(shape).start();
        for _ in 0..2 {
            let response = tidegate.get("/");
            assert!(response.text() == "hello" && !response.is_hit(), "{response:?}");
            assert!(
                response.cache_words().iter().any(|word| word == "fwd=bypass"),
                "{response:?}"
            );
        }
        assert_eq!(origin.count("/"), 2);
    });
}

/// Both shapes are given the same requests and must give the same answers.
#[test]
fn both_shapes_give_the_same_answers_to_the_same_script() {
    let transcripts = Mutex::new(Vec::new());
    in_both_shapes(|shape| {
        let origin = Origin::start(of_all_kinds);
        let tidegate = Setup::of(&origin.address()).shape(shape).start();
        let mut client = tidegate.client();
        let mut transcript = Vec::new();
        let mut ask = |method: &str, path: &str, lines: &str, body: &str| {
            let response = client.ask(request(method, path, lines, body));
            transcript.push(format!("{method} {path}: {}", essence(&response)));
        };
        for _ in 0..2 {
            for path in [
                "/stored",
                "/missing",
                "/moved",
                "/empty",
                "/chunked",
                "/fails",
                "/lies",
                "/other?a=b",
            ] {
                ask("GET", path, "", "");
                ask("HEAD", path, "", "");
            }
            ask("GET", "/vary", "Accept: a/b\r\n", "");
            ask("GET", "/vary", "Accept: c/d\r\n", "");
            ask("POST", "/post", "Content-Length: 4\r\n", "body");
            ask(
                "PUT",
                "/put",
                "Transfer-Encoding: chunked\r\n",
                "4\r\nbody\r\n0\r\n\r\n",
            );
            ask("OPTIONS", "/options", "", "");
        }
        transcripts.lock().push(transcript);
    });
    let transcripts = transcripts.into_inner();
    assert_eq!(transcripts[0], transcripts[1]);
}

fn of_all_kinds(request: &Request) -> Script {
    const LIFETIME: &str = "Cache-Control: max-age=60\r\n";
    let vary = format!("Vary: Accept\r\n{LIFETIME}");
    match request.path() {
        "/stored" => Script::answer(200, LIFETIME, "stored"),
        "/vary" => Script::answer(200, &vary, request.field("accept").unwrap_or("-")),
        "/missing" => Script::answer(404, "", "no"),
        "/moved" => Script::answer(302, "Location: /stored\r\n", ""),
        "/empty" => Script::says("HTTP/1.1 204 No Content\r\n\r\n"),
        "/chunked" if request.method() == "HEAD" => {
            Script::says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        }
        "/chunked" => Script::says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        "/fails" => Script::new().close(),
        "/lies" => Script::says("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"),
        _ => Script::answer(
            200,
            "Set-Cookie: a=b\r\n",
            format!("{} {}", request.method(), request.content.text()),
        ),
    }
}

/// What a client goes by; of errors only the status, for their causes are told by whoever met them.
fn essence(response: &Response) -> String {
    if response.status >= 500 {
        return response.status.to_string();
    }
    let names = [
        "content-type",
        "content-length",
        "location",
        "set-cookie",
        "vary",
        "etag",
        "cache-control",
    ];
    let fields = names.map(|name| response.field(name));
    let (hit, age, whole) = (response.is_hit(), response.has("age"), response.looks_whole());
    format!(
        "{} {fields:?} hit={hit} age={age} whole={whole} {:?}",
        response.status,
        response.text()
    )
}

#[test]
fn a_client_cannot_force_a_refetch() {
    in_both_shapes(|shape| {
        let origin = Origin::start(|_| Script::cacheable("hello"));
        let tidegate = Setup::of(&origin.address()).shape(shape).start();
        assert_eq!(tidegate.ask(get("/")).status, 200);
        let response = tidegate.ask(request("GET", "/", "Cache-Control: no-cache\r\n", ""));
        assert!(response.is_hit() && origin.count("/") == 1, "{response:?}");
    });
}

/// "A proxy, whether or not it implements a cache, MUST pass cache directives through in forwarded messages" (RFC 9111 §5.2)
#[test]
fn cache_directives_pass_in_both_directions() {
    in_both_shapes(|shape| {
        let lines =
            "Cache-Control: max-age=60, x-own=\"a, b\"\r\nCDN-Cache-Control: max-age=50\r\nPragma: x\r\nExpires: 0\r\n";
        let origin = Origin::start(move |_| Script::answer(200, lines, "hello"));
        let tidegate = Setup::of(&origin.address()).shape(shape).start();
        let asked = request(
            "GET",
            "/",
            "Cache-Control: no-cache, x-own=1\r\nPragma: no-cache\r\n",
            "",
        );
        for is_hit in [false, true] {
            let response = tidegate.ask(&asked);
            assert_eq!(response.is_hit(), is_hit, "{response:?}");
            let fields = ["cache-control", "cdn-cache-control", "pragma", "expires"].map(|name| response.field(name));
            assert_eq!(fields, ["max-age=60, x-own=\"a, b\"", "max-age=50", "x", "0"]);
        }
        let asked = origin.last_request();
        assert_eq!(asked.field("cache-control"), Some("no-cache, x-own=1"));
        assert_eq!(asked.field("pragma"), Some("no-cache"));
    });
}

/// Two caches, one behind the other: each tells its own part, and time is counted once.
#[test]
fn two_tidegates_in_a_row_tell_the_truth_about_age_via_and_validation() {
    let origin = Origin::start(|request| {
        let lines = match request.path() {
            "/old" => "Cache-Control: max-age=60\r\nAge: 10\r\n",
            _ => "Cache-Control: max-age=0\r\nETag: \"a\"\r\n",
        };
        match request.field("if-none-match") {
            Some("\"a\"") => Script::says(format!("HTTP/1.1 304 Not Modified\r\n{lines}\r\n")),
            _ => Script::answer(200, lines, "hello"),
        }
    });
    let inner = Setup::of(&origin.address()).start();
    let outer = Setup::of(inner.address()).start();
    let first = outer.get("/old");
    let hit = outer.get("/old");
    for response in [&first, &hit] {
        let members = response.head.fields.joined("cache-status");
        assert_eq!(members.matches("tidegate;").count(), 2, "{response:?}");
        assert!(
            members.starts_with("tidegate; fwd=uri-miss;"),
            "the inner one comes first: {response:?}"
        );
        let age: u64 = response.field("age").parse().unwrap();
        assert!((10..60).contains(&age), "{response:?}");
        assert_eq!(
            response.head.fields.joined("via").matches("1.1 tidegate").count(),
            2,
            "{response:?}"
        );
    }
    assert!(hit.is_hit() && origin.count("/old") == 1, "{hit:?}");
    // What is stale everywhere is validated through both, and nobody is sent the content again.
    for _ in 0..3 {
        assert_eq!(outer.get("/stale").text(), "hello");
    }
    let stale = origin
        .requests()
        .into_iter()
        .filter(|request| request.path() == "/stale");
    let conditions: Vec<_> = stale.map(|request| request.field("if-none-match").is_some()).collect();
    assert_eq!(conditions, [false, true, true]);
}
