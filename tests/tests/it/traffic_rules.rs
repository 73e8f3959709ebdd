//! Everyday traffic rules, end to end: redirects, fixed responses, fields, rewritten paths.

use tests::client::{once, request};
use tests::message::Response;
use tests::origin::Origin;
use tests::script::Script;
use tests::setup::{Setup, in_both_shapes};
use tests::tidegate::{Tidegate, run, write_config};

/// An origin that says which target it was asked for, to be stored for a minute.
fn echo() -> Origin {
    Origin::start(|request| {
        let lines = "Cache-Control: max-age=60\r\nX-Powered-By: origin\r\nServer: origin\r\n";
        Script::answer(200, lines, request.target())
    })
}

fn site(rules: &str) -> String {
    format!("[[site]]\nhosts = ['www.example.com']\ndefault = true\norigin = 'o'\n{rules}")
}

fn start(origin: &Origin, rules: &str) -> Tidegate {
    Setup::with_sites(&site(rules)).origin("o", &origin.address()).start()
}

fn field<'a>(response: &'a Response, name: &str) -> (u16, &'a str) {
    (response.status, response.head.fields.get(name).unwrap_or(""))
}

#[test]
fn redirects_and_fixed_responses_ask_no_origin() {
    let origin = echo();
    let tidegate = start(
        &origin,
        r#"
[[site.route]]
path = '/old'
redirect = { to = 'https://$host/new$query' }
[[site.route]]
regex = '^/item/(\d+)$'
redirect = { to = '/items/$1', status = 308 }
[[site.route]]
path = '/robots.txt'
respond = { body = "User-agent: *\n" }
[[site.route]]
prefix = '/gone'
respond = { status = 410 }
[[site]]
hosts = ['bare.example']
redirect = { to = 'http://www.bare.example$uri', status = 301 }
"#,
    );
    for (target, status, location) in [
        ("/old", 302, "https://www.example.com/new"),
        ("/old?a=b", 302, "https://www.example.com/new?a=b"),
        ("/item/17", 308, "/items/17"),
    ] {
        let response = tidegate.get(target);
        assert_eq!(field(&response, "location"), (status, location), "{response:?}");
        assert_eq!(response.field("content-length"), "0");
        assert!(response.has("date"), "{response:?}");
    }
    let robots = tidegate.get("/robots.txt");
    assert_eq!((robots.status, robots.text().as_str()), (200, "User-agent: *\n"));
    assert_eq!(robots.field("content-type"), "text/plain; charset=utf-8");
    let head = tidegate.ask(request("HEAD", "/robots.txt", "", ""));
    assert_eq!((head.field("content-length"), head.text().as_str()), ("14", ""));
    assert_eq!(
        (tidegate.get("/gone/a").status, tidegate.get("/gone/a").text().as_str()),
        (410, "")
    );
    let bare = once(tidegate.address(), "GET /a?b HTTP/1.1\r\nHost: bare.example\r\n\r\n");
    assert_eq!(field(&bare, "location"), (301, "http://www.bare.example/a?b"));
    assert_eq!(origin.connections(), 0);
    assert_eq!(tidegate.get("/item/x").text(), "/item/x");
}

#[test]
fn a_body_that_nobody_wants_does_not_become_the_next_request() {
    let origin = echo();
    let tidegate = start(&origin, "[[site.route]]\npath = '/old'\nredirect = { to = '/new' }\n");
    let mut client = tidegate.client();
    let answer = client.ask(request(
        "POST",
        "/old",
        "Content-Length: 20\r\n",
        "GET /a HTTP/1.1\r\n\r\n\n",
    ));
    assert_eq!(field(&answer, "location"), (302, "/new"));
    assert_eq!(client.get("/b").text(), "/b");
    assert_eq!(origin.count("/a"), 0);
}

#[test]
fn fields_of_requests_are_changed_before_the_origin_sees_them() {
    let origin = Origin::start(|_| Script::ok(""));
    let tidegate = start(
        &origin,
        r#"
request_fields = { remove = ["X-Debug"], set = { X-Client = "$client_ip", X-Scheme = "$scheme" }, add = { X-Tag = "b" } }
"#,
    );
    let lines = "X-Debug: 1\r\nX-Client: forged\r\nX-Tag: a\r\nConnection: X-Client\r\n";
    assert_eq!(tidegate.ask(request("GET", "/", lines, "")).status, 200);
    let fields = origin.last_request().head.fields;
    assert_eq!(fields.all("x-client"), ["127.0.0.1"]);
    assert_eq!(
        (fields.joined("x-scheme"), fields.joined("x-tag")),
        ("http".into(), "a, b".into())
    );
    assert!(!fields.has("x-debug"));
}

#[test]
fn fields_of_responses_are_changed_whoever_made_them() {
    in_both_shapes(|shape| {
        let origin = echo();
        let rules = r#"
response_fields = { remove = ["X-Powered-By", "Cache-Status"], set = { Server = "edge" }, add = { X-Seen = "$method $path" } }
[[site.route]]
path = '/old'
redirect = { to = '/new' }
[[site.route]]
path = '/own'
response_fields = {}
"#;
        let setup = Setup::with_sites(&site(rules)).origin("o", &origin.address());
        let tidegate = setup.shape(shape).start();
        for target in ["/a", "/a", "/old"] {
            let response = tidegate.get(target);
            assert_eq!(response.head.fields.all("server"), ["edge"], "{response:?}");
            assert_eq!(response.head.fields.all("x-seen"), [format!("GET {target}")]);
            assert!(
                !response.has("x-powered-by") && !response.has("cache-status"),
                "{response:?}"
            );
        }
        assert_eq!(origin.count("/a"), 1);
        let own = tidegate.get("/own");
        assert_eq!((own.field("server"), own.field("x-powered-by")), ("origin", "origin"));
    });
}

#[test]
fn the_rewritten_path_is_what_the_origin_is_asked_for_and_what_is_stored() {
    in_both_shapes(|shape| {
        let origin = echo();
        let rules = r"
[[site.route]]
prefix = '/api'
rewrite = { prefix = '/api', to = '/' }
[[site.route]]
regex = '^/v\d+/'
rewrite = { regex = '^/v(\d+)/(.*)$', to = '/$2/$1' }
";
        let setup = Setup::with_sites(&site(rules)).origin("o", &origin.address());
        let tidegate = setup.shape(shape).start();
        for (target, asked) in [
            ("/api/a?b=c", "/a?b=c"),
            ("/api", "/"),
            ("/v2/x/y?z", "/x/y/2?z"),
            ("/plain", "/plain"),
        ] {
            assert_eq!(tidegate.get(target).text(), asked, "{target}");
        }
        assert!(tidegate.get("/a?b=c").is_hit(), "one key for both paths");
        assert_eq!(origin.count("/a?b=c"), 1);
    });
}

#[test]
fn a_rewritten_url_is_purged_by_the_name_that_clients_know() {
    let origin = echo();
    let tidegate = start(&origin, "rewrite = { prefix = '/api', to = '/' }\n");
    assert!(!tidegate.get("/api/a").is_hit());
    assert!(tidegate.get("/api/a").is_hit());
    let admin = tidegate.nodes().next().unwrap().address("admin").to_owned();
    let purge = "POST /purge?url=http://www.example.com/api/a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    let purged = once(&admin, purge);
    assert_eq!(purged.status, 200, "{}", purged.text());
    assert!(!tidegate.get("/api/a").is_hit());
    assert_eq!(origin.count("/a"), 2);
}

#[test]
fn what_a_rule_must_not_touch_is_refused_by_check() {
    let (_folder, path) = tests::tidegate::folder();
    let config = Setup::with_sites(&site("response_fields = { set = { Content-Length = '1' } }\n"))
        .origin("o", "127.0.0.1:1")
        .in_process();
    let file = write_config(&path, &config);
    let outcome = run(&["check", "-c", &file]);
    let text = format!("{outcome:?}");
    assert!(text.contains("site[0].response_fields.set.Content-Length"), "{text}");
}
