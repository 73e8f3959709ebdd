//! `tidegate explain` and `/explain`: what is told is what then happens, and telling it changes nothing.

use serde_json::Value;
use tests::client::{once, request};
use tests::metrics;
use tests::origin::Origin;
use tests::ranges::Ranged;
use tests::script::Script;
use tests::setup::{Setup, Shape};
use tests::tidegate::{Tidegate, run};

/// Asks the process's admin listener; fields are lines `Name: value`.
fn explain(tidegate: &Tidegate, method: &str, path: &str, fields: &[&str]) -> Value {
    let url = format!("http://www.example.com{path}");
    let mut arguments = vec![
        "explain",
        &url,
        "-X",
        method,
        "--json",
        "--admin",
        tidegate.front.address("admin"),
    ];
    for field in fields {
        arguments.extend(["-H", field]);
    }
    let outcome = run(&arguments);
    assert_eq!(outcome.code, 0, "{}", outcome.text());
    serde_json::from_str(&outcome.stdout).unwrap()
}

/// What is decided, as `outcome word`.
fn decision(explained: &Value) -> String {
    let decision = &explained["decision"];
    format!(
        "{} {}",
        decision["outcome"].as_str().unwrap(),
        decision["word"].as_str().unwrap()
    )
}

fn origin() -> Origin {
    Origin::start(|request| {
        let lines = match request.path() {
            "/fresh" => "Cache-Control: s-maxage=60\r\nETag: \"1\"\r\nSurrogate-Key: red blue\r\n",
            "/varied" => "Cache-Control: max-age=60\r\nVary: Accept-Language\r\n",
            "/targeted" => "CDN-Cache-Control: max-age=60\r\nCache-Control: no-store\r\n",
            "/no-cache" => "Cache-Control: no-cache\r\nETag: \"1\"\r\n",
            "/stale" => "Cache-Control: max-age=0, stale-while-revalidate=600\r\nETag: \"1\"\r\n",
            "/must" => "Cache-Control: max-age=0, must-revalidate\r\nETag: \"1\"\r\n",
            _ => "Cache-Control: no-store\r\n",
        };
        Script::answer(200, lines, "hello")
    })
}

/// What is asked, what is told, and what quotes it.
#[rustfmt::skip]
const ASKED: [(&str, &str, &[&str], &str, &str); 16] = [
    ("GET", "/fresh", &[], "hit fresh", "cache-control: s-maxage=60"),
    ("HEAD", "/fresh", &[], "hit fresh", "cache-control: s-maxage=60"),
    ("GET", "/fresh", &["Range: bytes=0-1"], "hit fresh", "cache-control: s-maxage=60"),
    ("GET", "/fresh", &["If-None-Match: \"1\""], "hit fresh", "cache-control: s-maxage=60"),
    ("GET", "/fresh", &["If-Match: \"2\""], "request request", "if-match: \"2\""),
    ("GET", "/fresh", &["Cache-Control: no-cache"], "request request_no_cache", "cache-control: no-cache"),
    ("GET", "/fresh", &["Cookie: session=1"], "bypass bypass_cookie", "bypass = [\"cookie:session\"]"),
    ("POST", "/fresh", &[], "method method", ""),
    ("GET", "/nothing", &[], "uri-miss uri-miss", ""),
    ("GET", "/nothing", &["Cache-Control: only-if-cached"], "uri-miss only_if_cached", "cache-control: only-if-cached"),
    ("GET", "/varied", &["Accept-Language: fr"], "vary-miss vary-miss", ""),
    ("GET", "/varied", &[], "hit fresh", "cache-control: max-age=60"),
    ("GET", "/targeted", &[], "hit fresh", "cdn-cache-control: max-age=60"),
    ("GET", "/no-cache", &[], "stale no_cache", "cache-control: no-cache"),
    ("GET", "/must", &[], "stale stale", "cache-control: max-age=0, must-revalidate"),
    ("GET", "/stale", &[], "hit stale_while_revalidate", "cache-control: max-age=0, stale-while-revalidate=600"),
];

#[test]
fn what_is_told_is_what_then_happens() {
    let origin = origin();
    let tidegate = Setup::of(&origin.address())
        .set("cache.rules.bypass", "['cookie:session']")
        .set("cache.rules.client_refetch", "true")
        .start();
    for path in [
        "/fresh",
        "/varied",
        "/targeted",
        "/no-cache",
        "/stale",
        "/must",
        "/never",
    ] {
        tidegate.get(path);
    }
    for (method, path, fields, expected, quote) in ASKED {
        let explained = explain(&tidegate, method, path, fields);
        assert_eq!(decision(&explained), expected, "{path} {fields:?}: {explained}");
        let decision = &explained["decision"];
        assert_eq!(
            decision["quote"]["line"].as_str().unwrap_or_default(),
            quote,
            "{path} {fields:?}"
        );
        let lines: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
        let length = if method == "POST" { "Content-Length: 0\r\n" } else { "" };
        let response = tidegate.ask(request(method, path, &format!("{lines}{length}"), ""));
        let told = decision["cache_status"].as_str().unwrap();
        let told: Vec<_> = told.split("; ").filter(|word| !word.starts_with("ttl=")).collect();
        let words = response.cache_words();
        // Of a forwarded request it is not known yet what comes back: what is told is where its words begin.
        assert!(told.len() <= words.len(), "{told:?} {words:?}");
        assert_eq!(words[..told.len()], told, "{path} {fields:?}");
        if let Some(status) = decision["status"].as_u64() {
            assert_eq!(u64::from(response.status), status, "{path} {fields:?}");
        }
    }
}

#[test]
fn everything_that_is_stored_is_told() {
    let origin = origin();
    let tidegate = Setup::of(&origin.address())
        .set("cache.rules.lifetime_max", "'50s'")
        .start();
    for _ in 0..3 {
        tidegate.get("/fresh");
    }
    tidegate.ask(request("GET", "/varied", "Accept-Language: FR\r\n", ""));
    tidegate.ask(request("GET", "/varied", "Accept-Language: en\r\n", ""));
    let fresh = explain(&tidegate, "GET", "/fresh", &[]);
    assert_eq!(fresh["site"], "www.example.com");
    assert_eq!(fresh["route"]["origin"], "o");
    assert_eq!(fresh["key"], "http://www.example.com/fresh");
    assert_eq!((&fresh["tier"], &fresh["hits"]), (&"here".into(), &2.into()));
    let stored = &fresh["stored"][0];
    for (name, expected) in [
        ("state", Value::from("fresh")),
        ("selected", true.into()),
        ("status", 200.into()),
        ("lifetime_seconds", 50.into()),
        ("lifetime_rule", "s-maxage".into()),
        ("lifetime_bound", "lifetime_max".into()),
        ("stale_forbidden_by", "s-maxage".into()),
        ("etag", "\"1\"".into()),
        ("tags", "red blue".into()),
        ("content_bytes", 5.into()),
    ] {
        assert_eq!(stored[name], expected, "{name}");
    }
    assert!(stored["bytes"].as_u64().unwrap() > 5, "{stored}");
    let varied = explain(&tidegate, "GET", "/varied", &["Accept-Language: en"]);
    let keys: Vec<_> = varied["stored"]
        .as_array()
        .unwrap()
        .iter()
        .map(|stored| stored["vary_key"].clone())
        .collect();
    assert_eq!(keys, ["accept-language: en", "accept-language: fr"], "{varied}");
    assert_eq!(varied["stored"][0]["selected"], true);
    let text = run(&[
        "explain",
        "http://www.example.com/fresh",
        "--admin",
        tidegate.front.address("admin"),
    ]);
    for part in [
        "GET http://www.example.com/fresh",
        "cache-control: s-maxage=60 of the response",
        "hit (fresh)",
    ] {
        assert!(text.stdout.contains(part), "{part} in\n{}", text.stdout);
    }
}

#[test]
fn asking_changes_nothing() {
    let origin = origin();
    let tidegate = Setup::of(&origin.address()).start();
    tidegate.get("/stale");
    tidegate.get("/fresh");
    tidegate.expect_metric("tidegate_cache_requests_total", r#"outcome="uri-miss""#, 2);
    let admin = tidegate.front.address("admin");
    let counters = || -> Vec<String> {
        let page = metrics::page(admin);
        let lines = page.lines().filter(|line| {
            [
                "tidegate_cache_",
                "tidegate_responses_total",
                "tidegate_backend_requests",
            ]
            .iter()
            .any(|name| line.starts_with(name))
        });
        lines.map(str::to_owned).collect()
    };
    let before = counters();
    for path in ["/stale", "/fresh", "/nothing"] {
        explain(&tidegate, "GET", path, &[]);
    }
    assert_eq!(counters(), before);
    assert_eq!(origin.requests().len(), 2);
    assert_eq!(explain(&tidegate, "GET", "/fresh", &[])["hits"], 0);
}

#[test]
fn what_was_purged_is_told_and_does_not_answer() {
    let origin = origin();
    let tidegate = Setup::of(&origin.address()).start();
    tidegate.get("/fresh");
    let admin = tidegate.front.address("admin");
    once(admin, request("POST", "/purge?tag=red&soft", "", ""));
    let explained = explain(&tidegate, "GET", "/fresh", &[]);
    assert_eq!(decision(&explained), "stale marked_stale");
    assert_eq!(explained["stored"][0]["state"], "marked_stale");
    once(admin, request("POST", "/purge?tag=red", "", ""));
    let explained = explain(&tidegate, "GET", "/fresh", &[]);
    assert_eq!(decision(&explained), "uri-miss uri-miss");
    assert_eq!(explained["stored"][0]["state"], "purged");
}

#[test]
fn a_front_with_cache_servers_says_which_one_to_ask() {
    let origin = origin();
    let tidegate = Setup::of(&origin.address()).shape(Shape::TwoTier(2)).start();
    tidegate.get("/fresh");
    let explained = explain(&tidegate, "GET", "/fresh", &[]);
    assert_eq!(
        (&explained["tier"], decision(&explained).as_str()),
        (&"servers".into(), "remote remote")
    );
    let owner = explained["cache_server"].as_str().unwrap();
    let owner = tidegate
        .cache_servers
        .iter()
        .find(|node| node.address("cache") == owner)
        .unwrap();
    let answer = once(
        owner.address("admin"),
        request("GET", "/explain?url=http://www.example.com/fresh", "", ""),
    );
    let explained: Value = serde_json::from_str(&answer.text()).unwrap();
    assert_eq!(decision(&explained), "hit fresh");
}

#[test]
fn what_is_no_question_is_refused_and_what_is_not_served_is_said() {
    let origin = origin();
    let setup =
        Setup::with_sites("[[site]]\nhosts = ['a.test']\ncache = false\n[[site.route]]\nprefix = '/x'\norigin = 'o'\n");
    let tidegate = setup.origin("o", &origin.address()).start();
    let admin = tidegate.front.address("admin");
    for (method, target, status, part) in [
        ("GET", "/explain", 400, "one url="),
        ("GET", "/explain?url=/x", 400, "not an http or https URL"),
        (
            "GET",
            "/explain?url=http://a.test/x&header=nonsense",
            400,
            "not a field",
        ),
        ("PUT", "/explain?url=http://a.test/x", 405, "only GET and POST"),
        ("GET", "/explain?url=http://b.test/x", 200, "destination_not_found"),
        (
            "GET",
            "/explain?url=http://a.test/y",
            200,
            "nothing is served under this path",
        ),
        (
            "GET",
            "/explain?url=http://a.test/x&method=TRACE",
            200,
            "http_request_denied",
        ),
        ("POST", "/explain?url=http://a.test/x&format=text", 200, "bypass"),
        (
            "GET",
            "/explain?url=http://a.test/x",
            200,
            "\"matches\":\"prefix = \\\"/x\\\"\"",
        ),
    ] {
        let answer = once(admin, request(method, target, "", ""));
        assert_eq!(answer.status, status, "{target}: {}", answer.text());
        assert!(answer.text().contains(part), "{target}: {}", answer.text());
    }
    assert_eq!(run(&["explain", "nonsense", "--admin", admin]).code, 1);
}

/// Which slices are stored, what is asked for, and that this is what then happens.
#[test]
fn slices_are_told_and_decide() {
    const SLICE: u64 = 4096;
    let resource = Ranged::new(4 * SLICE, "\"a\"");
    let origin = Origin::start(move |request| resource.answer(request));
    let tidegate = Setup::of(&origin.address()).set("cache.rules.slice", "'4KiB'").start();
    let (none, in_first): (&[&str], &[&str]) = (&[], &["Range: bytes=10-20"]);
    let check = |fields: &[&str], expected: &str| {
        let explained = explain(&tidegate, "GET", "/", fields);
        assert_eq!(decision(&explained), expected, "{fields:?}: {explained}");
        explained
    };
    check(none, "uri-miss uri-miss");
    let range = |range: &str| tidegate.ask(request("GET", "/", &format!("Range: bytes={range}\r\n"), ""));
    assert_eq!((range("0-0").status, range("8192-8192").status), (206, 206));
    let explained = check(in_first, "hit fresh");
    assert_eq!(explained["decision"]["status"], 206);
    let slices = &explained["slices"];
    assert_eq!(
        (&slices["bytes"], &slices["complete_length"]),
        (&SLICE.into(), &(4 * SLICE).into())
    );
    let stored: Vec<_> = slices["stored"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| &run["first"])
        .collect();
    assert_eq!(stored, [0, 2], "{explained}");
    assert_eq!(slices["stored"][1]["etag"], "\"a\"");
    let explained = check(none, "partial partial");
    assert!(
        explained["notes"].to_string().contains("slices 1, 3 are asked for"),
        "{explained}"
    );
    check(&["Range: bytes=0-4095"], "hit fresh");
    check(&["Range: bytes=4096-"], "uri-miss uri-miss");
    check(&["Range: bytes=99999-"], "uri-miss uri-miss");
    check(&["If-None-Match: \"a\""], "hit fresh");
    assert_eq!(origin.requests().len(), 2, "asking asks nobody");
    assert!(range("10-20").is_hit());
    let words = tidegate.get("/").cache_words();
    assert!(words.iter().any(|word| word == "fwd=partial"), "{words:?}");
    check(none, "hit fresh");
    let text = run(&[
        "explain",
        "http://www.example.com/",
        "--admin",
        tidegate.front.address("admin"),
    ]);
    for part in [
        "slices      4 of 4 (16384 bytes), 4096 bytes each",
        "- 0 to 3, fresh: etag \"a\"",
    ] {
        assert!(text.stdout.contains(part), "{part} in\n{}", text.stdout);
    }
}

/// Slices of another variant answer nobody, and that is said in the words that Cache-Status then has.
#[test]
fn slices_of_another_variant_are_told() {
    let resource = Ranged::new(8192, "\"a\"").with("Cache-Control: max-age=60\r\nVary: Accept-Language\r\n");
    let origin = Origin::start(move |request| resource.answer(request));
    let tidegate = Setup::of(&origin.address()).set("cache.rules.slice", "'4KiB'").start();
    let ask = |lines: &str| tidegate.ask(request("GET", "/", lines, ""));
    assert_eq!(ask("Accept-Language: en\r\n").status, 200);
    for (fields, expected) in [
        (&["Accept-Language: en"][..], "hit fresh"),
        (&["Accept-Language: fr"], "vary-miss vary-miss"),
        (
            &["Accept-Language: fr", "Cache-Control: only-if-cached"],
            "vary-miss only_if_cached",
        ),
    ] {
        let explained = explain(&tidegate, "GET", "/", fields);
        assert_eq!(decision(&explained), expected, "{fields:?}: {explained}");
    }
    let words = ask("Accept-Language: fr\r\n").cache_words();
    assert!(words.iter().any(|word| word == "fwd=vary-miss"), "{words:?}");
}

/// What the rules of a site or route do before the store is asked.
#[test]
fn rules_before_the_store_are_told() {
    const SITES: &str = "
[[site]]
hosts = ['www.example.com']
default = true
origin = 'o'
deny = ['192.0.2.0/24']
[site.request_fields]
set = { X-Device = 'phone', Accept-Language = 'de' }
[[site.limit]]
rate = '1000/s'
[[site.route]]
prefix = '/down'
[site.route.maintenance]
on = true
[[site.route]]
prefix = '/moved'
redirect = { to = '/elsewhere', status = 308 }
";
    let origin = origin();
    let setup = Setup::with_sites(SITES).origin("o", &origin.address());
    let tidegate = setup.set("cache.rules.key_fields", "['X-Device']").start();
    assert!(!tidegate.get("/varied").is_hit());
    let explained = explain(&tidegate, "GET", "/varied", &["Accept-Language: fr"]);
    assert_eq!(decision(&explained), "hit fresh", "{explained}");
    assert!(
        explained["key"].as_str().unwrap().contains("x-device=phone"),
        "{explained}"
    );
    let conditions = explained["conditions"].to_string();
    assert!(
        conditions.contains("else 403") && conditions.contains("else 429"),
        "{explained}"
    );
    for (path, expected) in [("/down", "answered maintenance"), ("/moved", "answered redirect")] {
        let explained = explain(&tidegate, "GET", path, &[]);
        assert_eq!(decision(&explained), expected, "{explained}");
        assert_eq!(
            explained["decision"]["status"],
            u64::from(tidegate.get(path).status),
            "{explained}"
        );
    }
}
