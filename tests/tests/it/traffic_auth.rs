//! Basic authentication: who comes in, what the origin and the cache see of it, and files that change.

use std::fs;
use std::path::Path;

use tests::client::request;
use tests::origin::Origin;
use tests::script::Script;
use tests::setup::{Setup, in_both_shapes};
use tests::tidegate::{Tidegate, folder, run, write_config};
use tests::wait::eventually;

/// `secret`, by crypt(3).
const HASH: &str = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";
/// `ann:secret`.
const RIGHT: &str = "Authorization: Basic YW5uOnNlY3JldA==\r\n";
/// `ann:wrong`.
const WRONG: &str = "Authorization: Basic YW5uOndyb25n\r\n";
/// `bob:secret`.
const UNKNOWN: &str = "Authorization: Basic Ym9iOnNlY3JldA==\r\n";

fn users(folder: &Path, text: &str) -> String {
    let file = folder.join("users");
    fs::write(&file, text).unwrap();
    file.display().to_string()
}

fn setup(origin: &Origin, rules: &str) -> Setup {
    let site = format!("[[site]]\nhosts = ['www.example.com']\ndefault = true\norigin = 'o'\ncache = true\n{rules}\n");
    Setup::with_sites(&site).origin("o", &origin.address())
}

fn status(tidegate: &Tidegate, path: &str, lines: &str) -> u16 {
    tidegate.ask(request("GET", path, lines, "")).status
}

#[test]
fn only_users_come_in_and_what_they_get_is_stored_once() {
    in_both_shapes(|shape| {
        let (_folder, path) = folder();
        let file = users(&path, &format!("# people\nann:{HASH}\n"));
        let origin = Origin::start(|_| Script::cacheable("content"));
        let rules = format!("auth = {{ realm = 'staff only', file = '{file}' }}");
        let tidegate = setup(&origin, &rules).shape(shape).start();
        for lines in [
            "",
            WRONG,
            UNKNOWN,
            "Authorization: Bearer x\r\n",
            "Authorization: Basic %\r\n",
        ] {
            let refused = tidegate.ask(request("GET", "/a", lines, ""));
            let facts = (
                refused.status,
                refused.field("www-authenticate"),
                refused.field("cache-control"),
            );
            let challenge = "Basic realm=\"staff only\", charset=\"UTF-8\"";
            assert_eq!(facts, (401, challenge, "no-store"), "{lines}");
            assert!(!refused.text().contains("content"), "{lines}");
        }
        assert_eq!(origin.count("/a"), 0);
        for _ in 0..3 {
            let response = tidegate.ask(request("GET", "/a", RIGHT, ""));
            assert_eq!((response.status, response.text().as_str()), (200, "content"));
            assert!(!response.has("www-authenticate"));
        }
        // What is in the store is for those only who may have it.
        assert_eq!(status(&tidegate, "/a", ""), 401);
        assert_eq!(origin.count("/a"), 1);
        assert_eq!(origin.last_request().head.fields.get("authorization"), None);
        for (result, count) in [("ok", 3), ("failed", 1), ("unknown", 1), ("none", 4), ("busy", 0)] {
            tidegate.expect_metric("tidegate_auth_total", &format!("result=\"{result}\""), count);
        }
    });
}

#[test]
fn a_route_does_without_its_sites_and_an_origin_may_have_the_credentials() {
    let (_folder, path) = folder();
    let file = users(&path, &format!("ann:{HASH}\n"));
    let origin = Origin::start(|_| Script::cacheable("content"));
    let rules = format!(
        "auth = {{ file = '{file}', pass_on = true }}\ncors = {{ origins = ['https://a.example'], credentials = true }}\n\
         [[site.route]]\nprefix = '/open'\nauth = {{ on = false }}\n"
    );
    let tidegate = setup(&origin, &rules).start();
    assert_eq!(status(&tidegate, "/open/a", ""), 200);
    assert_eq!(status(&tidegate, "/closed", ""), 401);
    assert_eq!(status(&tidegate, "/closed", RIGHT), 200);
    assert_eq!(status(&tidegate, "/closed", RIGHT), 200);
    // "A shared cache MUST NOT use a cached response to a request with an Authorization header field" (RFC 9111 §3.5)
    assert_eq!(origin.count("/closed"), 2);
    let seen = origin.last_request();
    assert_eq!(seen.head.fields.get("authorization"), Some("Basic YW5uOnNlY3JldA=="));
    // Browsers send no credentials with a preflight.
    let lines = "Origin: https://a.example\r\nAccess-Control-Request-Method: GET\r\n";
    let preflight = tidegate.ask(request("OPTIONS", "/closed", lines, ""));
    assert_eq!(preflight.status, 204);
    let refused = tidegate.ask(request("GET", "/closed", "Origin: https://a.example\r\n", ""));
    let facts = (refused.status, refused.field("access-control-allow-origin"));
    assert_eq!(facts, (401, "https://a.example"));
    assert_eq!(status(&tidegate, "/closed", "Origin: https://a.example\r\n"), 401);
}

#[test]
fn a_changed_file_of_users_is_taken_over_and_a_bad_one_is_not() {
    let (_folder, path) = folder();
    let file = users(&path, &format!("ann:{HASH}\n"));
    let origin = Origin::saying("content");
    let tidegate = setup(&origin, &format!("auth = {{ file = '{file}' }}")).start();
    assert_eq!(
        (status(&tidegate, "/", RIGHT), status(&tidegate, "/", UNKNOWN)),
        (200, 401)
    );
    users(&path, "ann:plain\n");
    tidegate
        .front
        .process
        .wait_for_line("the bad file", |line| line.contains("users:1: the hash of"));
    assert_eq!(status(&tidegate, "/", RIGHT), 200);
    users(&path, &format!("# ann has left\nbob:{HASH}\n"));
    eventually("bob comes in", || status(&tidegate, "/", UNKNOWN) == 200);
    assert_eq!(status(&tidegate, "/", RIGHT), 401);
}

#[test]
fn bad_users_are_told_at_the_start_with_their_place() {
    let (_folder, path) = folder();
    let file = users(
        &path,
        &format!("# people\nann:{HASH}\nbob:{{SHA}}2jmj7l5rSw0yVb/vlWAYkK/YBwk=\n"),
    );
    for (auth, told) in [
        (format!("{{ file = '{file}' }}"), "users:3: the hash of"),
        (format!("{{ file = '{file}.missing' }}"), "users.missing: No such file"),
        ("{ realm = 'a' }".to_owned(), "has no file"),
        (format!("{{ file = '{file}', realm = 'a\"b' }}"), "quotes"),
    ] {
        let site = format!("[[site]]\nhosts = ['a.example']\norigin = 'o'\nauth = {auth}\n");
        let config = Setup::with_sites(&site).origin("o", "127.0.0.1:1").in_process();
        let outcome = run(&["check", "-c", &write_config(&path, &config)]);
        let text = outcome.text();
        assert!(
            outcome.code != 0 && text.contains(told) && !text.contains("2jmj"),
            "{text}"
        );
    }
}
