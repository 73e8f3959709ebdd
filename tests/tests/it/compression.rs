//! Compression: negotiated, done once per coding, stored, and undone by clients.

use std::sync::Arc;

use tests::client::request;
use tests::message::{End, Response};
use tests::origin::Origin;
use tests::programs::{installed, skipped};
use tests::script::Script;
use tests::setup::{Setup, Shape, in_both_shapes};
use tests::tidegate::Tidegate;
use tests::wait::Gate;

const LINE: &str = "All work and no play makes Jack a dull boy.\n";

fn page() -> String {
    LINE.repeat(500)
}

const HTML: &str = "Cache-Control: max-age=60\r\nContent-Type: text/html\r\nETag: \"p\"\r\nAccept-Ranges: bytes\r\n";

fn setup(origin: &Origin, compress: &str) -> Setup {
    let site = format!("[[site]]\nhosts = ['www.example.com']\ndefault = true\norigin = 'o'\ncompress = {compress}\n");
    Setup::with_sites(&site).origin("o", &origin.address())
}

fn ask(tidegate: &Tidegate, path: &str, accepted: &str) -> Response {
    tidegate.ask(request("GET", path, &format!("Accept-Encoding: {accepted}\r\n"), ""))
}

/// What is compressed is told by its first bytes; brotli has none of its own.
fn coding(response: &Response) -> &'static str {
    match &response.content.kept[..] {
        [0x1f, 0x8b, ..] => "gzip",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "zstd",
        bytes if bytes == page().as_bytes() => "",
        _ => "br",
    }
}

#[test]
fn each_coding_is_made_once_and_stored() {
    in_both_shapes(|shape| {
        let origin = Origin::start(|_| Script::answer(200, HTML, page()));
        // The tier compresses: behind a front, that is the cache server.
        let tidegate = setup(&origin, if shape == Shape::InProcess { "true" } else { "{}" })
            .shape(shape)
            .start();
        for round in 0..3 {
            for (accepted, expected) in [
                ("gzip", "gzip"),
                ("zstd", "zstd"),
                ("gzip, deflate, br, zstd", "br"),
                ("br;q=0.5, gzip;q=0.9", "gzip"),
                ("identity", ""),
                ("deflate", ""),
            ] {
                let response = ask(&tidegate, "/a", accepted);
                assert_eq!(coding(&response), expected, "{accepted}: {response:?}");
                assert_eq!(response.head.fields.get("content-encoding").unwrap_or(""), expected);
                let tag = if expected.is_empty() { "\"p\"" } else { "W/\"p\"" };
                assert_eq!(response.field("etag"), tag);
                assert_eq!(response.head.fields.joined("vary"), "Accept-Encoding");
                assert!(expected.is_empty() || response.content.bytes < 1000, "{response:?}");
                assert_eq!(response.has("accept-ranges"), expected.is_empty());
                assert!(round == 0 || response.is_hit(), "{round} {accepted}: {response:?}");
            }
        }
        assert_eq!(origin.count("/a"), 4, "identity and three codings");
        tidegate.expect_metric("tidegate_compressed_responses_total", "", 3);
        tidegate.expect_metric("tidegate_compress_content_bytes_total", "", 3 * page().len() as u64);
        assert!(tidegate.metric("tidegate_compress_coded_bytes_total", "") < 3000);
    });
}

#[test]
fn head_says_what_get_would_say() {
    let origin = Origin::start(|_| Script::answer(200, HTML, page()));
    let tidegate = setup(&origin, "true").start();
    for path in ["/stored", "/unstored"] {
        if path == "/stored" {
            ask(&tidegate, path, "gzip");
        }
        let head = tidegate.ask(request("HEAD", path, "Accept-Encoding: gzip\r\n", ""));
        let facts = (
            head.field("content-encoding"),
            head.field("etag"),
            head.head.fields.joined("vary"),
        );
        assert_eq!(facts, ("gzip", "W/\"p\"", "Accept-Encoding".to_owned()), "{head:?}");
        assert_ne!(head.head.fields.get("content-length"), Some(&*page().len().to_string()));
    }
}

#[test]
fn conditions_and_validation_go_by_the_weak_tag() {
    let origin = Origin::start(|request| {
        let lines = HTML.replace("max-age=60", "max-age=0");
        match request.field("if-none-match") {
            Some(tags) if tags.contains("\"p\"") => Script::answer(304, &lines, ""),
            _ => Script::answer(200, &lines, page()),
        }
    });
    let tidegate = setup(&origin, "true").start();
    assert_eq!(coding(&ask(&tidegate, "/a", "gzip")), "gzip");
    for _ in 0..2 {
        let again = ask(&tidegate, "/a", "gzip");
        assert_eq!(
            (again.status, coding(&again), again.field("etag")),
            (200, "gzip", "W/\"p\"")
        );
        assert!(
            again.head.fields.joined("cache-status").contains("fwd-status=304"),
            "{again:?}"
        );
    }
    let lines = "Accept-Encoding: gzip\r\nIf-None-Match: W/\"p\"\r\n";
    assert_eq!(tidegate.ask(request("GET", "/a", lines, "")).status, 304);
    tidegate.expect_metric("tidegate_compressed_responses_total", "", 1);
}

#[test]
fn ranges_are_of_the_content_as_it_is() {
    let origin = Origin::start(|_| Script::answer(200, HTML, page()));
    let tidegate = setup(&origin, "true").start();
    assert_eq!(coding(&ask(&tidegate, "/a", "gzip")), "gzip");
    assert_eq!(coding(&ask(&tidegate, "/a", "identity")), "");
    let lines = "Accept-Encoding: gzip\r\nRange: bytes=0-7\r\n";
    let part = tidegate.ask(request("GET", "/a", lines, ""));
    assert_eq!((part.status, part.text().as_str()), (206, "All work"));
    assert!(!part.has("content-encoding"));
    // A tag of compressed content guards no range.
    let lines = "Accept-Encoding: gzip\r\nRange: bytes=0-7\r\nIf-Range: W/\"p\"\r\n";
    assert_eq!(tidegate.ask(request("GET", "/a", lines, "")).status, 200);
}

#[test]
fn what_must_not_or_need_not_be_compressed_goes_as_it_is() {
    let origin = Origin::start(|request| {
        let lines = match request.path() {
            "/fixed" => "Content-Type: text/html\r\nCache-Control: max-age=60, no-transform\r\n",
            "/coded" => "Content-Type: text/html\r\nContent-Encoding: gzip\r\nCache-Control: max-age=60\r\n",
            "/image" => "Content-Type: image/png\r\nCache-Control: max-age=60\r\n",
            _ => "Content-Type: text/html\r\nCache-Control: max-age=60\r\n",
        };
        let content = if request.path() == "/short" {
            "short".to_owned()
        } else {
            page()
        };
        Script::answer(200, lines, content)
    });
    let tidegate = setup(&origin, "true").start();
    for path in ["/fixed", "/coded", "/image", "/short"] {
        for accepted in ["gzip", "br"] {
            let response = ask(&tidegate, path, accepted);
            assert!(
                response.content.bytes == page().len() as u64 || path == "/short",
                "{path}"
            );
            assert!(!response.has("vary"), "{path}: one variant for all");
        }
        assert_eq!(origin.count(path), 1, "{path}");
    }
    tidegate.expect_metric("tidegate_compressed_responses_total", "", 0);
}

#[test]
fn a_slow_origin_is_not_held_back() {
    let (said, go_on) = (Gate::new(), Gate::new());
    let (opened, waited) = (said.clone(), go_on.clone());
    let origin = Origin::start(move |_| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        let script = Script::says(head).send("6\r\nfirst\n\r\n").open(&opened).wait(&waited);
        script.send("7\r\nsecond\n\r\n0\r\n\r\n")
    });
    let tidegate = setup(&origin, "{ codings = ['gzip'] }").start();
    let mut client = tidegate.client();
    client.send(request("GET", "/", "Accept-Encoding: gzip\r\n", ""));
    assert!(said.pass());
    let head = client.read_head();
    assert_eq!(head.field("content-encoding"), "gzip");
    // The header of gzip is ten bytes; the line comes after it, while the origin waits.
    let so_far = client.read_bytes(24);
    assert!(so_far.len() >= 24, "{so_far:?}");
    go_on.open();
}

#[test]
fn responses_that_are_not_stored_are_compressed_each_time() {
    let origin = Origin::start(|_| Script::answer(200, "Content-Type: application/json\r\n", page()));
    let tidegate = setup(&origin, "true\ncache = false").start();
    for count in 1..=2 {
        let response = ask(&tidegate, "/a", "gzip");
        assert_eq!((coding(&response), response.end.clone()), ("gzip", End::Whole));
        tidegate.expect_metric("tidegate_compressed_responses_total", "", count);
    }
}

#[test]
fn curl_decodes_what_it_gets() {
    let large: Arc<str> = (0..40_000)
        .map(|line| format!("{line} {LINE}"))
        .collect::<String>()
        .into();
    let content = Arc::clone(&large);
    let origin = Origin::start(move |_| Script::answer(200, HTML, &*content));
    let tidegate = setup(&origin, "true").start();
    let url = format!("http://{}/large", tidegate.address());
    for _ in 0..2 {
        let Some(mut curl) = installed("curl") else {
            return skipped("curl is not installed");
        };
        let output = curl.args(["--silent", "--compressed", &url]).output().unwrap();
        assert!(output.stdout == large.as_bytes(), "{} bytes", output.stdout.len());
    }
    assert!(tidegate.metric("tidegate_compressed_responses_total", "") >= 1);
}
