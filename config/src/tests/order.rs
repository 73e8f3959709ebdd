//! The order in which routes are tried, and origins stand.

use super::*;

#[test]
fn routes_stand_in_the_order_in_which_they_are_tried() {
    let config = good(ROUTES);
    let site = &config.sites[0];
    let order: Vec<_> = site
        .routes
        .iter()
        .map(|route| match &route.path {
            PathPattern::Exact(path) => format!("= {path}"),
            PathPattern::Prefix(prefix) => prefix.clone(),
            PathPattern::Regex(regex) => format!("~ {regex}"),
            PathPattern::Any => "*".to_owned(),
        })
        .collect();
    assert_eq!(
        order,
        [
            "= /a", "= /b", "/img/big", "/img", "/api", "/", r"~ \.js$", "~ ^/x", "*"
        ]
    );

    let by_prefix = |wanted: &str| {
        let is_it = |path: &PathPattern| matches!(path, PathPattern::Prefix(prefix) if prefix == wanted);
        site.routes.iter().find(|route| is_it(&route.path)).expect("route")
    };
    let api = by_prefix("/api");
    assert_eq!(
        (config.origins[api.origin.expect("an origin")].name.as_str(), api.cache),
        ("slow", CacheMode::Standard)
    );
    assert_eq!(api.limits.response_timeout, Duration::from_secs(120), "its own");
    assert_eq!(api.limits.body_timeout, Duration::from_secs(7), "its origin's");
    let img = by_prefix("/img");
    assert_eq!(
        (config.origins[img.origin.expect("an origin")].name.as_str(), img.cache),
        ("app", CacheMode::Bypass),
        "the site's"
    );
}

#[test]
fn origins_stand_in_the_order_of_the_file() {
    let config = good(ROUTES);
    let names: Vec<_> = config.origins.iter().map(|origin| origin.name.as_str()).collect();
    assert_eq!(names, ["slow", "app"]);
}

pub(super) const ROUTES: &str = r#"
[front]
listen = ["0.0.0.0:80"]
[cache]
memory = "1GiB"
[origin.slow]
servers = ["10.0.0.1:80"]
body_timeout = "7s"
[origin.app]
servers = ["10.0.0.2:80"]
[[site]]
hosts = ["a.example"]
origin = "app"
cache = false
[[site.route]]
regex = '\.js$'
[[site.route]]
prefix = "/img"
[[site.route]]
path = "/a"
[[site.route]]
prefix = "/img/big"
[[site.route]]
prefix = "/api"
origin = "slow"
cache = true
response_timeout = "2m"
[[site.route]]
prefix = "/"
[[site.route]]
regex = "^/x"
[[site.route]]
path = "/b"
[[site]]
hosts = ["*.b.example"]
[[site.route]]
path = "/only"
origin = "app"
"#;
