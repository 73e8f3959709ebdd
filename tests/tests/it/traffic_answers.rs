//! What clients get in the place of, or beside, what the origin says: maintenance, error pages, CORS, Server-Timing.

use std::path::Path;

use tests::client::{once, request};
use tests::origin::Origin;
use tests::script::Script;
use tests::setup::Setup;
use tests::tidegate::{Tidegate, folder};

fn start(origin: &Origin, rules: &str) -> Tidegate {
    let site = format!("[[site]]\nhosts = ['www.example.com']\ndefault = true\norigin = 'o'\n{rules}\n");
    Setup::with_sites(&site).origin("o", &origin.address()).start()
}

fn page(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn during_maintenance_only_some_addresses_are_served() {
    let (_folder, path) = folder();
    let file = page(&path, "down.html", "<p>{{status}} {{request_id}} $1</p>");
    let origin = Origin::saying("open");
    for (rules, status) in [
        (format!("maintenance = {{ retry_after = '2m', page = '{file}' }}"), 503),
        (
            format!("maintenance = {{ page = '{file}', allow = ['127.0.0.0/8'] }}"),
            200,
        ),
        ("maintenance = { on = false }".to_owned(), 200),
    ] {
        let tidegate = start(&origin, &rules);
        let response = tidegate.get("/");
        assert_eq!(response.status, status, "{rules}");
        if status == 503 {
            let facts = (response.field("retry-after"), response.field("cache-control"));
            assert_eq!(facts, ("120", "no-store"), "{response:?}");
            assert_eq!(response.field("content-type"), "text/html; charset=utf-8");
            let text = response.text();
            assert!(text.starts_with("<p>503 ") && text.ends_with(" $1</p>"), "{text}");
            tidegate.expect_metric("tidegate_traffic_rule_answers_total", "", 1);
        }
    }
}

#[test]
fn error_pages_take_the_place_of_our_errors_and_of_the_origins_where_that_is_wanted() {
    let (_folder, path) = folder();
    let any = page(&path, "5xx.html", "any {{status}}");
    let one = page(&path, "503.txt", "one {{request_id}}");
    let origin = Origin::start(|request| match request.path() {
        "/500" => Script::answer(
            500,
            "Content-Type: text/plain\r\nETag: \"e\"\r\nX-Own: 1\r\n",
            "the origin's",
        ),
        "/404" => Script::answer(404, "", "not found"),
        "/broken" => Script::says("nonsense\r\n\r\n").close(),
        _ => Script::answer(503, "Retry-After: 7\r\n", "busy"),
    });
    for replaces in [false, true] {
        let rules = format!("error_pages = {{ pages = {{ 5xx = '{any}', 503 = '{one}' }}, origin = {replaces} }}");
        let tidegate = start(&origin, &rules);
        let broken = tidegate.get("/broken");
        assert_eq!((broken.status, broken.text().as_str()), (502, "any 502"));
        assert!(broken.has("proxy-status"), "{broken:?}");
        let json = tidegate.ask(request("GET", "/broken", "Accept: application/json\r\n", ""));
        assert!(json.text().contains("request_id"), "{}", json.text());
        let own = tidegate.get("/500");
        let expected = if replaces {
            ("any 500", false)
        } else {
            ("the origin's", true)
        };
        assert_eq!((own.text().as_str(), own.has("etag")), expected);
        assert_eq!((own.status, own.field("x-own")), (500, "1"));
        let busy = tidegate.get("/503");
        assert_eq!(busy.field("retry-after"), "7");
        assert_eq!(busy.text().starts_with("one "), replaces, "{}", busy.text());
        assert_eq!(tidegate.get("/404").text(), "not found");
        tidegate.expect_metric("tidegate_error_pages_total", "", if replaces { 3 } else { 1 });
    }
}

#[test]
fn a_page_that_cannot_be_read_is_told_at_the_start() {
    let (_folder, path) = folder();
    let missing = path.join("missing.html");
    let site = format!(
        "[[site]]\nhosts = ['a.example']\norigin = 'o'\nerror_pages = {{ pages = {{ 404 = '{}' }} }}\n",
        missing.display()
    );
    let config = Setup::with_sites(&site).origin("o", "127.0.0.1:1").in_process();
    let file = tests::tidegate::write_config(&path, &config);
    let outcome = tests::tidegate::run(&["check", "-c", &file]);
    assert!(
        outcome.code != 0 && outcome.text().contains("missing.html"),
        "{}",
        outcome.text()
    );
}

#[test]
fn web_pages_of_named_origins_may_read_what_is_stored_once() {
    let origin = Origin::start(|_| Script::cacheable("content"));
    let rules = "cors = { origins = ['https://a.example', 'https://b.example'], methods = ['PUT'], fields = ['X-A'], credentials = true }";
    let tidegate = start(&origin, rules);
    let lines = "Origin: https://a.example\r\nAccess-Control-Request-Method: PUT\r\n";
    let preflight = tidegate.ask(request("OPTIONS", "/a", lines, ""));
    assert_eq!(preflight.status, 204);
    let facts = [
        "allow-origin",
        "allow-methods",
        "allow-headers",
        "max-age",
        "allow-credentials",
    ];
    let facts = facts.map(|name| preflight.field(&format!("access-control-{name}")).to_owned());
    assert_eq!(
        facts,
        ["https://a.example", "GET, HEAD, POST, PUT", "x-a", "7200", "true"]
    );
    assert_eq!(origin.count("/a"), 0);
    for (asking, granted) in [
        ("https://a.example", Some("https://a.example")),
        ("https://b.example", Some("https://b.example")),
        ("https://evil.example", None),
    ] {
        let response = tidegate.ask(request("GET", "/a", &format!("Origin: {asking}\r\n"), ""));
        assert_eq!(response.text(), "content");
        assert_eq!(response.head.fields.get("access-control-allow-origin"), granted);
        assert_eq!(response.field("vary"), "Origin");
    }
    assert_eq!(origin.count("/a"), 1);
}

#[test]
fn server_timing_tells_hit_from_miss() {
    let origin = Origin::start(|_| Script::cacheable("content"));
    let tidegate = start(&origin, "server_timing = true");
    let miss = tidegate.get("/a");
    let timing = miss.field("server-timing");
    assert!(
        timing.starts_with("cache;desc=\"uri-miss\"") && timing.contains("first_byte;dur="),
        "{timing}"
    );
    assert_eq!(tidegate.get("/a").field("server-timing"), "cache;desc=\"hit\"");
    let unknown = once(tidegate.address(), "GET / HTTP/1.1\r\nHost: a b\r\n\r\n");
    assert_eq!(unknown.status, 400);
}
