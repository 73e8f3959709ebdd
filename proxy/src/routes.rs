//! Which site and route a request belongs to: by host, then by path. Pure.
//!
//! Hosts: exact, then the longest wildcard, then the default site. Paths: exact, then the longest prefix, then regular
//! expressions in the order of the file, then the site's own origin (`config` sorts them so).

use std::collections::HashMap;
use std::sync::Arc;

use cache::tier::TierRoute;
use config::{HostPattern, PathPattern};
use foldhash::fast::RandomState;

use crate::exchange::guard::Guard;
use crate::exchange::traffic::Traffic;

/// All sites, as they are looked up.
pub struct Routes {
    // The names are the operator's: nobody outside can make them collide.
    exact: HashMap<String, usize, RandomState>,
    /// Keyed by what follows `*.`.
    wildcard: HashMap<String, usize, RandomState>,
    default: Option<usize>,
    sites: Vec<Site>,
}

/// One site.
pub struct Site {
    /// How logs call it.
    pub name: Arc<str>,
    routes: Vec<Route>,
}

/// One route of a site.
pub struct Route {
    /// Which paths.
    pub pattern: PathPattern,
    /// What the tier needs; `None` where traffic rules answer everything.
    pub tier: Option<Arc<TierRoute>>,
    /// What its requests have to pass first, where there is something.
    pub guard: Option<Box<Guard>>,
    /// What the operator's rules do besides, where there are some.
    pub traffic: Option<Box<Traffic>>,
}

/// Why a request has no route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// No site serves its host.
    UnknownHost,
    /// The site has no route for its path.
    UnknownPath,
}

impl Routes {
    /// The sites of a configuration; `make` turns each route, which stands at these places of site and route, into what
    /// exchanges need.
    pub fn new(
        sites: &[config::Site],
        default: Option<usize>,
        mut make: impl FnMut((usize, usize), &config::Route) -> Route,
    ) -> Self {
        let mut routes = Self {
            exact: HashMap::default(),
            wildcard: HashMap::default(),
            default,
            sites: Vec::new(),
        };
        for (index, site) in sites.iter().enumerate() {
            for host in &site.hosts {
                match host {
                    HostPattern::Exact(host) => routes.exact.insert(host.clone(), index),
                    HostPattern::Wildcard(rest) => routes.wildcard.insert(rest.clone(), index),
                };
            }
            routes.sites.push(Site {
                name: site.name.as_str().into(),
                routes: (0..)
                    .zip(&site.routes)
                    .map(|(at, route)| make((index, at), route))
                    .collect(),
            });
        }
        routes
    }

    /// The site and route for `host` (lower case, no port) and `path`.
    ///
    /// # Errors
    /// Why there is none.
    pub fn find(&self, host: &str, path: &str) -> Result<(&Site, &Route), NoRoute> {
        let site = self.site(host).ok_or(NoRoute::UnknownHost)?;
        let route = site.routes.iter().find(|route| matches(&route.pattern, path));
        route.map(|route| (site, route)).ok_or(NoRoute::UnknownPath)
    }

    fn site(&self, host: &str) -> Option<&Site> {
        let index = self
            .exact
            .get(host)
            .copied()
            .or_else(|| self.wildcard(host))
            .or(self.default)?;
        self.sites.get(index)
    }

    /// The longest wildcard: `a.b.c` is looked for as `b.c`, then as `c`.
    fn wildcard(&self, host: &str) -> Option<usize> {
        if self.wildcard.is_empty() {
            return None;
        }
        let mut rest = host;
        while let Some((_, parent)) = rest.split_once('.') {
            if let Some(index) = self.wildcard.get(parent) {
                return Some(*index);
            }
            rest = parent;
        }
        None
    }
}

fn matches(pattern: &PathPattern, path: &str) -> bool {
    match pattern {
        PathPattern::Exact(exact) => path == exact,
        PathPattern::Prefix(prefix) => match path.strip_prefix(prefix.as_str()) {
            Some(rest) => rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/'),
            None => false,
        },
        PathPattern::Regex(regex) => regex.is_match(path),
        PathPattern::Any => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_takes_whole_segments() {
        let prefix = PathPattern::Prefix("/img".into());
        for (path, expected) in [
            ("/img", true),
            ("/img/", true),
            ("/img/a", true),
            ("/imgs", false),
            ("/im", false),
            ("/a/img", false),
        ] {
            assert_eq!(matches(&prefix, path), expected, "{path}");
        }
        assert!(matches(&PathPattern::Prefix("/".into()), "/anything"));
    }

    #[test]
    fn the_longest_wildcard_wins_and_exact_wins_over_it() {
        let routes = Routes {
            exact: [("www.a.test".to_owned(), 0)].into_iter().collect(),
            wildcard: [("a.test".to_owned(), 1), ("img.a.test".to_owned(), 2)]
                .into_iter()
                .collect(),
            default: None,
            sites: Vec::new(),
        };
        let find = |host: &str| routes.exact.get(host).copied().or_else(|| routes.wildcard(host));
        assert_eq!(find("www.a.test"), Some(0));
        assert_eq!(find("x.a.test"), Some(1));
        assert_eq!(find("x.y.a.test"), Some(1));
        assert_eq!(find("x.img.a.test"), Some(2));
        assert_eq!(find("a.test"), None);
    }
}
