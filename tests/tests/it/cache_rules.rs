//! What an operator decides about caching: each rule seen from outside, in both shapes.

use tests::client::request;
use tests::origin::Origin;
use tests::script::Script;
use tests::setup::{Setup, in_both_shapes};

const SITES: &str = "
[[site]]
hosts = ['www.example.com']
default = true
origin = 'o'
[site.rules]
negative = { 404 = '1m' }
bypass = ['cookie:session', 'field:X-Mode=raw', 'query:nocache']
[[site.route]]
prefix = '/forced'
rules = { lifetime = '1m' }
[[site.route]]
prefix = '/ignored'
rules = { lifetime = '1m', origin_directives = 'ignored' }
[[site.route]]
prefix = '/short'
rules = { lifetime_max = '0s' }
[[site.route]]
prefix = '/query'
rules = { key_query = { except = ['utm'] }, key_query_sorted = true }
[[site.route]]
prefix = '/device'
rules = { key_fields = ['X-Device'], key_cookies = ['currency'] }
[[site.route]]
prefix = '/refetch'
rules = { client_refetch = true }
[[site.route]]
prefix = '/firm'
rules = { client_only_if_cached = false, client_no_store = false }
[[site.route]]
prefix = '/cookies'
rules = { set_cookie = 'never' }
[[site.route]]
prefix = '/small'
rules = { stored_response_max = '4B' }
[[site.route]]
prefix = '/target'
rules = { target_fields = ['X-Edge-Control'] }
";

const FRESH: &str = "Cache-Control: max-age=60\r\n";

#[test]
#[rustfmt::skip]
fn each_rule_decides_whether_the_second_request_is_a_hit() {
    // First target, its lines, second target, its lines, status, response lines, whether the second is a hit.
    let rows = [
        ("/plain", "", "/plain", "", 200, FRESH, true),
        ("/plain/404", "", "/plain/404", "", 404, "", true),
        ("/plain/session", "", "/plain/session", "Cookie: session=1\r\n", 200, FRESH, false),
        ("/plain/raw", "", "/plain/raw", "X-Mode: raw\r\n", 200, FRESH, false),
        ("/plain/cooked", "", "/plain/cooked", "X-Mode: cooked\r\n", 200, FRESH, true),
        ("/plain/q?nocache", "", "/plain/q?nocache", "", 200, FRESH, false),
        ("/forced", "", "/forced", "", 200, "", true),
        ("/forced/404", "", "/forced/404", "", 404, "", true),
        ("/forced/private", "", "/forced/private", "", 200, "Cache-Control: private\r\n", false),
        ("/ignored", "", "/ignored", "", 200, "Cache-Control: private, max-age=0\r\n", true),
        ("/short", "", "/short", "", 200, FRESH, false),
        ("/query?b=1&utm=2&a=3", "", "/query?a=3&b=1", "", 200, FRESH, true),
        ("/query?c=1", "", "/query?c=2", "", 200, FRESH, false),
        ("/device/1", "X-Device: phone\r\n", "/device/1", "X-Device: phone\r\n", 200, FRESH, true),
        ("/device/2", "X-Device: phone\r\n", "/device/2", "X-Device: desk\r\n", 200, FRESH, false),
        ("/device/3", "Cookie: currency=a\r\n", "/device/3", "Cookie: currency=b\r\n", 200, FRESH, false),
        ("/refetch", "", "/refetch", "Cache-Control: no-cache\r\n", 200, FRESH, false),
        ("/firm", "Cache-Control: no-store\r\n", "/firm", "", 200, FRESH, true),
        ("/cookies", "", "/cookies", "", 200, "Cache-Control: max-age=60\r\nSet-Cookie: a=b\r\n", false),
        ("/small", "", "/small", "", 200, FRESH, false),
        ("/target", "", "/target", "", 200, "X-Edge-Control: max-age=60\r\nCache-Control: no-store\r\n", true),
    ];
    in_both_shapes(|shape| {
        for (first, first_lines, second, second_lines, status, lines, hit) in rows {
            let origin = Origin::start(move |_| Script::answer(status, lines, "hello"));
            let tidegate = Setup::with_sites(SITES).origin("o", &origin.address()).shape(shape).start();
            assert_eq!(tidegate.ask(request("GET", first, first_lines, "")).status, status, "{first}");
            let response = tidegate.ask(request("GET", second, second_lines, ""));
            assert_eq!((response.is_hit(), response.text().as_str()), (hit, "hello"), "{first} {second} {response:?}");
        }
    });
}
