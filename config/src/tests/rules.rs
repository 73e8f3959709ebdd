//! Cache rules: what sites and routes inherit, and what they say themselves.

use std::time::Duration;

use http::StatusCode;

use super::good;
use crate::rules::{BypassRule, QueryRule, Rules, SetCookieRule};
use crate::{parse, print};

const FRONT: &str = "[front]\nlisten = ['127.0.0.1:0']\n[origin.o]\nservers = ['127.0.0.1:1']\n";

fn rules(cache: &str, site: &str, route: &str) -> (Rules, Rules) {
    let text = format!(
        "{FRONT}[cache]\nmemory = '64MiB'\n{cache}\n[[site]]\nhosts = ['a.test']\norigin = 'o'\n{site}\n\
         [[site.route]]\nprefix = '/r'\n{route}\n"
    );
    let config = good(&text);
    assert_eq!(good(&print(&config)), config, "{text}");
    let [route, own] = &config.sites[0].routes[..] else {
        panic!("two routes")
    };
    (own.rules.clone(), route.rules.clone())
}

#[test]
fn without_rules_the_defaults_hold_and_the_size_follows_the_memory() {
    let expected = Rules {
        stored_response_max: 8 << 20,
        ..Rules::default()
    };
    assert_eq!(rules("", "", ""), (expected.clone(), expected));
}

#[test]
fn a_route_inherits_from_its_site_and_a_site_from_the_cache() {
    let (site, route) = rules(
        "[cache.rules]\nheuristic_percent = 20\nset_cookie = 'never'\nnegative = { 404 = '10s' }",
        "[site.rules]\nset_cookie = 'strip'\nlifetime = '1m'\nstored_response_max = '1MiB'",
        "[site.route.rules]\nlifetime = '0s'\nnegative = {}\nkey_query = { only = ['a'] }\nbypass = ['cookie:s']",
    );
    let not_found = (StatusCode::NOT_FOUND, Duration::from_secs(10));
    assert_eq!((site.heuristic.percent, route.heuristic.percent), (20, 20));
    assert_eq!(
        (site.set_cookie, route.set_cookie),
        (SetCookieRule::Strip, SetCookieRule::Strip)
    );
    assert_eq!((site.negative, route.negative), (vec![not_found], Vec::new()));
    assert_eq!(
        (site.lifetime.force, route.lifetime.force),
        (Some(Duration::from_secs(60)), Some(Duration::ZERO))
    );
    assert_eq!(
        (site.stored_response_max, route.stored_response_max),
        (1 << 20, 1 << 20)
    );
    assert_eq!(
        (site.key.query, route.key.query),
        (QueryRule::Whole, QueryRule::Only(vec!["a".to_owned()]))
    );
    assert_eq!(route.bypass, [BypassRule::Cookie("s".to_owned())]);
}

#[test]
fn rules_that_mean_nothing_are_refused_where_they_stand() {
    for (table, expected) in [
        (
            "lifetime_min = '2m'\nlifetime_max = '1m'",
            "site[0].rules.lifetime_min: is longer",
        ),
        (
            "stored_response_max = '65MiB'",
            "site[0].rules.stored_response_max: is more than cache.memory",
        ),
        ("slice = '1KiB'", "site[0].rules.slice: is less than 4KiB"),
        (
            "slice = '9MiB'",
            "site[0].rules.slice: is more than stored_response_max",
        ),
        (
            "key_query = { without = ['a'] }",
            "site[0].rules.key_query: \"without\" is neither",
        ),
        (
            "negative = { 304 = '1s' }",
            "site[0].rules.negative.304: is not a status",
        ),
        ("negative = { 404 = 1 }", "site[0].rules.negative.404: "),
        ("bypass = ['session']", "site[0].rules.bypass[0]: "),
        ("target_fields = ['a b']", "site[0].rules.target_fields[0]: "),
        ("refresh_ahead_percent = 100", "site[0].rules.refresh_ahead_percent: "),
        ("heuristic = 1", "site[0].rules.heuristic: unknown key"),
    ] {
        let text = format!(
            "{FRONT}[cache]\nmemory = '64MiB'\n[[site]]\nhosts = ['a.test']\norigin = 'o'\n[site.rules]\n{table}\n"
        );
        let problems = parse(&text, "t.toml").map(|_| ()).expect_err(table).to_string();
        assert!(problems.contains(expected), "{table}: {problems}");
    }
}

#[test]
fn rules_without_a_cache_are_warned_of() {
    let site = "[[site]]\nhosts = ['a.test']\norigin = 'o'\n[site.rules]\nlifetime = '1m'\n";
    let loaded = parse(&format!("{FRONT}{site}"), "t.toml");
    let warnings = loaded.map(|loaded| loaded.warnings).expect("valid");
    assert!(
        warnings[0].to_string().contains("site[0].rules: nothing is stored"),
        "{warnings:?}"
    );
}
