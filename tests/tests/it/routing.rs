//! Which origin a request goes to: site by host, then exact path, longest prefix, regex, the site's own origin.

use tests::client::once;
use tests::origin::Origin;
use tests::setup::Setup;
use tests::tidegate::Tidegate;

const SITES: &str = r"
[[site]]
hosts = ['www.example.com', 'example.com']
origin = 'site'
[[site.route]]
regex = '\.png$'
origin = 'regex'
[[site.route]]
prefix = '/img'
origin = 'prefix'
[[site.route]]
prefix = '/img/large'
origin = 'longest'
[[site.route]]
path = '/img/logo.png'
origin = 'exact'
[[site]]
hosts = ['*.example.net']
origin = 'wildcard'
[[site]]
hosts = ['*.eu.example.net']
origin = 'deeper'
[[site]]
hosts = ['one.eu.example.net']
origin = 'one'
";

struct Sites {
    tidegate: Tidegate,
    _origins: Vec<Origin>,
}

/// The sites above, each origin of which answers with its own name; without the cache, which is not in question here.
fn start(more_sites: &str, unknown_host: &str) -> Sites {
    let names = [
        "site", "regex", "prefix", "longest", "exact", "wildcard", "deeper", "one", "default",
    ];
    let origins: Vec<_> = names.into_iter().map(|name| (name, Origin::saying(name))).collect();
    let setup = Setup::with_sites(&format!("{SITES}{more_sites}")).set("front.unknown_host", unknown_host);
    let setup = origins
        .iter()
        .fold(setup, |setup, (name, origin)| setup.origin(name, &origin.address()));
    Sites {
        tidegate: setup.start(),
        _origins: origins.into_iter().map(|(_, origin)| origin).collect(),
    }
}

#[test]
fn a_request_goes_to_the_most_specific_match() {
    let sites = start("", "'misdirected'");
    for (host, target, expected) in [
        ("www.example.com", "/", "site"),
        ("example.com", "/", "site"),
        ("WWW.Example.COM", "/", "site"),
        ("www.example.com:80", "/", "site"),
        ("www.example.com:8080", "/elsewhere", "site"),
        ("www.example.com", "/img", "prefix"),
        ("www.example.com", "/img/", "prefix"),
        ("www.example.com", "/img/a/b.jpg", "prefix"),
        ("www.example.com", "/img?x=/img/large", "prefix"),
        ("www.example.com", "/imgs", "site"),
        ("www.example.com", "/img/large", "longest"),
        ("www.example.com", "/img/large/a.png", "longest"),
        ("www.example.com", "/img/larger", "prefix"),
        ("www.example.com", "/img/logo.png", "exact"),
        ("www.example.com", "/img/logo.png?v=2", "exact"),
        ("www.example.com", "/img/logo.png/", "prefix"),
        ("www.example.com", "/other/a.png", "regex"),
        ("www.example.com", "/other/a.png.txt", "site"),
        ("www.example.com", "/other/a?b.png", "site"),
        ("www.example.com", "/IMG/a", "site"),
        ("a.example.net", "/", "wildcard"),
        ("a.b.example.net", "/", "wildcard"),
        ("a.eu.example.net", "/", "deeper"),
        ("a.b.eu.example.net", "/", "deeper"),
        ("one.eu.example.net", "/", "one"),
        ("ONE.eu.example.net:81", "/", "one"),
        ("eu.example.net", "/", "wildcard"),
    ] {
        let response = ask(&sites.tidegate, host, target);
        assert_eq!((response.0, response.1.as_str()), (200, expected), "{host}{target}");
    }
}

#[test]
fn a_host_without_a_site_is_misdirected() {
    let sites = start("", "'misdirected'");
    let unknown = [
        "example.net",
        "www.example.org",
        "127.0.0.1",
        "xexample.com",
        "www.example.com.evil.net",
        "[::1]:80",
    ];
    for host in unknown {
        let (status, text) = ask(&sites.tidegate, host, "/");
        assert_eq!(status, 421, "{host}: {text}");
    }
    sites
        .tidegate
        .expect_metric("tidegate_misdirected_total", "", unknown.len() as u64);
}

#[test]
fn a_default_site_takes_hosts_without_a_site() {
    let sites = start(
        "[[site]]\nhosts = ['default.example']\ndefault = true\norigin = 'default'\n",
        "'default'",
    );
    for (host, expected) in [
        ("no.such.host", "default"),
        ("127.0.0.1:1", "default"),
        ("example.com", "site"),
    ] {
        assert_eq!(ask(&sites.tidegate, host, "/"), (200, expected.to_owned()), "{host}");
    }
}

fn ask(tidegate: &Tidegate, host: &str, target: &str) -> (u16, String) {
    let response = once(
        tidegate.address(),
        format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    );
    (response.status, response.text())
}
