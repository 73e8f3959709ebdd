//! Sites: each host belongs to one of them, each route has one pattern and an origin that exists.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use common::backend::settings::BackendSettings;
use common::http::upgrade::Protocol;

use super::traffic;
use crate::codec::host_text;
use crate::defaults;
use crate::model::{Cache, CacheMode, CacheTier, PathPattern, Route, Site};
use crate::problem::{Notes, Wrong};
use crate::rules::Rules;
use crate::schema::Keys;
use crate::sections::{Overrides, RouteDraft, SiteDraft, TrafficDraft};
use crate::traffic::Traffic;

/// The site with `default = true`.
pub(super) fn default_site(drafts: &[SiteDraft], notes: &mut Notes) -> Option<usize> {
    let mut defaults = (0..drafts.len()).filter(|i| drafts[*i].default);
    let first = defaults.next()?;
    for other in defaults {
        notes.error(
            format!("site[{other}].default"),
            format!("site[{first}] is the default site already"),
        );
    }
    Some(first)
}

/// The sites in the order of the file, their origins by index.
pub(super) fn resolve(
    drafts: Vec<SiteDraft>,
    origins: &[BackendSettings],
    cache: &Cache,
    notes: &mut Notes,
) -> Vec<Site> {
    note_hosts(&drafts, notes);
    let mut resolver = Resolver {
        origins,
        cache,
        used: BTreeSet::new(),
        has_gaps: drafts.is_empty(),
        notes,
    };
    let sites = drafts
        .into_iter()
        .enumerate()
        .map(|(i, draft)| resolver.site(i, draft))
        .collect();
    resolver.note_unused();
    sites
}

fn note_hosts(drafts: &[SiteDraft], notes: &mut Notes) {
    let mut owners = HashMap::new();
    for (i, site) in drafts.iter().enumerate() {
        let path = format!("site[{i}].hosts");
        if site.hosts.is_empty() && !site.default {
            let wrong = Wrong::from("there is no host");
            if !notes.has(&path) {
                notes.error(
                    path,
                    wrong.hint("such as hosts = [\"www.example.com\"], or default = true"),
                );
                continue;
            }
            // A list that is there and has items was refused as a whole.
            if !notes.has(&format!("{path}[0]")) {
                notes.error(path, wrong);
                continue;
            }
        }
        for (j, host) in site.hosts.iter().enumerate() {
            let path = format!("{path}[{j}]");
            match owners.get(host) {
                Some(owner) => notes.error(path, format!("{:?} is {owner} already", host_text(host))),
                None => {
                    owners.insert(host, path);
                }
            }
        }
    }
}

/// What a route does, besides where it goes.
struct RouteSettings {
    is_cached: bool,
    rules: Rules,
    upgrades: Vec<Protocol>,
    traffic: Traffic,
}

struct Resolver<'a> {
    origins: &'a [BackendSettings],
    cache: &'a Cache,
    used: BTreeSet<usize>,
    /// Some site or route has no origin, or one that does not exist.
    has_gaps: bool,
    notes: &'a mut Notes,
}

impl Resolver<'_> {
    fn site(&mut self, index: usize, draft: SiteDraft) -> Site {
        let path = format!("site[{index}]");
        let has_origin = self.notes.has(&format!("{path}.origin"));
        let traffic = traffic::own(&path, &draft.traffic, None, self.notes);
        self.note_idle_compression(&path, &draft.traffic);
        let answers = traffic.answer.is_some();
        if !has_origin && !answers && draft.routes.is_empty() && !self.notes.has(&format!("{path}.route")) {
            let wrong = Wrong::from("its requests go nowhere: it has neither an origin nor routes");
            self.notes.error(&*path, wrong.hint("such as origin = \"NAME\""));
            self.has_gaps = true;
        }
        let own = draft.origin.as_deref().and_then(|name| self.origin(&path, name));
        self.note_same_patterns(&path, &draft.routes);
        let cache = draft.cache.unwrap_or(defaults::SITE_CACHE);
        let rules = self.rules(&path, draft.rules.as_ref(), &self.cache.rules);
        let upgrades = draft.upgrades.unwrap_or_else(defaults::site_upgrades);
        let mut routes = Vec::with_capacity(draft.routes.len() + 1);
        for (i, route) in draft.routes.into_iter().enumerate() {
            let path = format!("{path}.route[{i}]");
            let pattern = self.pattern(&path, &route);
            self.note_idle_compression(&path, &route.traffic);
            let own_traffic = traffic::own(&path, &route.traffic, pattern.as_ref(), self.notes);
            let traffic = traffic::inherit(own_traffic, &traffic);
            let answers = traffic.answer.is_some();
            let origin = self.origin_of_route(&path, &route, (own, has_origin), answers);
            if let Some(pattern) = pattern.filter(|_| origin.is_some() || answers) {
                let rules = self.rules(&path, route.rules.as_ref(), &rules);
                let settings = RouteSettings {
                    is_cached: route.cache.unwrap_or(cache),
                    rules,
                    upgrades: route.upgrades.clone().unwrap_or_else(|| upgrades.clone()),
                    traffic,
                };
                routes.push(self.route(pattern, origin, settings, &route));
            }
        }
        let origin = own.filter(|_| !answers);
        if origin.is_some() || answers {
            let settings = RouteSettings {
                is_cached: cache,
                rules,
                upgrades,
                traffic: traffic.clone(),
            };
            routes.push(self.route(PathPattern::Any, origin, settings, &RouteDraft::preset()));
        }
        routes.sort_by_key(|route| order(&route.path));
        let name = draft.hosts.first().map_or_else(|| "default".to_owned(), host_text);
        Site {
            name,
            hosts: draft.hosts,
            routes,
            guard: draft.guard.into_guard(),
            traffic,
        }
    }

    /// Who stores compresses.
    fn note_idle_compression(&mut self, path: &str, draft: &TrafficDraft) {
        let is_on = draft.compress.as_ref().is_some_and(|compress| !compress.is_off());
        if is_on && matches!(self.cache.tier, CacheTier::Servers { .. }) {
            self.notes.warning(
                format!("{path}.compress"),
                "means nothing here: the cache servers compress",
            );
        }
    }

    /// The origin of a route, which is its site's unless it names one or answers by itself.
    fn origin_of_route(
        &mut self,
        path: &str,
        route: &RouteDraft,
        (of_site, site_has_one): (Option<usize>, bool),
        answers: bool,
    ) -> Option<usize> {
        let origin = match &route.origin {
            Some(name) => self.origin(path, name),
            None if answers => None,
            None => of_site,
        };
        let is_named = self.notes.has(&format!("{path}.origin"));
        if answers && is_named {
            self.notes
                .error(format!("{path}.origin"), "means nothing beside redirect or respond");
        }
        if origin.is_none() && !answers && !site_has_one && !is_named {
            self.notes.error(
                format!("{path}.origin"),
                "is missing, and the site has no origin either",
            );
            self.has_gaps = true;
        }
        origin
    }

    /// The index of the origin that the table at `path` names.
    fn origin(&mut self, path: &str, name: &str) -> Option<usize> {
        let index = self.origins.iter().position(|origin| origin.name == name);
        match index {
            Some(index) => {
                self.used.insert(index);
            }
            // Without any origin, that is the problem, and it is noted elsewhere.
            None if self.origins.is_empty() => {}
            None => {
                self.has_gaps = true;
                let wrong = Wrong::from(format!("no origin named {name:?}"));
                let wrong = wrong.did_you_mean(name, self.origins.iter().map(|origin| origin.name.as_str()));
                self.notes.error(format!("{path}.origin"), wrong);
            }
        }
        index
    }

    fn pattern(&mut self, path: &str, route: &RouteDraft) -> Option<PathPattern> {
        let names = ["path", "prefix", "regex"];
        let there: Vec<_> = names
            .into_iter()
            .filter(|name| self.notes.has(&format!("{path}.{name}")))
            .collect();
        match there[..] {
            [] => self
                .notes
                .error(path, "which paths? it needs one of path, prefix and regex"),
            [_] => {}
            _ => self
                .notes
                .error(path, format!("has {}; exactly one is possible", there.join(" and "))),
        }
        let exact = route.path.clone().map(PathPattern::Exact);
        let prefix = || route.prefix.clone().map(PathPattern::Prefix);
        let regex = || route.regex.clone().map(PathPattern::Regex);
        exact.or_else(prefix).or_else(regex)
    }

    fn note_same_patterns(&mut self, path: &str, routes: &[RouteDraft]) {
        let patterns = |route: &RouteDraft| {
            let regex = route.regex.as_ref().map(|regex| regex.as_str().to_owned());
            [
                ("path", route.path.clone()),
                ("prefix", route.prefix.clone()),
                ("regex", regex),
            ]
        };
        let mut owners = HashMap::new();
        for (i, route) in routes.iter().enumerate() {
            for (key, pattern) in patterns(route) {
                let Some(pattern) = pattern else { continue };
                if let Some(owner) = owners.get(&(key, pattern.clone())) {
                    let message = format!("route[{owner}] has the same {key}, so this one is never reached");
                    self.notes.error(format!("{path}.route[{i}].{key}"), message);
                } else {
                    owners.insert((key, pattern), i);
                }
            }
        }
    }

    fn route(
        &self,
        path: PathPattern,
        origin: Option<usize>,
        settings: RouteSettings,
        overrides: &RouteDraft,
    ) -> Route {
        let limits = origin.map(|origin| self.origins[origin].limits.clone());
        let mut limits = limits.unwrap_or_else(|| BackendSettings::preset().limits);
        for (limit, own) in [
            (&mut limits.connect_timeout, overrides.connect_timeout),
            (&mut limits.response_timeout, overrides.response_timeout),
            (&mut limits.body_timeout, overrides.body_timeout),
            (&mut limits.tunnel_timeout, overrides.tunnel_timeout),
        ] {
            *limit = own.unwrap_or(*limit);
        }
        limits.urgency = overrides.urgency;
        let RouteSettings {
            is_cached,
            rules,
            upgrades,
            traffic,
        } = settings;
        let cache = if is_cached {
            CacheMode::Standard
        } else {
            CacheMode::Bypass
        };
        Route {
            path,
            origin,
            limits,
            cache,
            rules,
            guard: overrides.guard.clone().into_guard(),
            traffic,
            upgrades,
        }
    }

    /// What is inherited, with what the table at `path` says.
    fn rules(&mut self, path: &str, overrides: Option<&Overrides>, inherited: &Rules) -> Rules {
        let Some(overrides) = overrides else {
            return inherited.clone();
        };
        let rules = overrides.over(inherited);
        super::note_rules(path, &rules, self.notes);
        if let CacheTier::Memory { bytes, .. } = &self.cache.tier
            && rules.stored_response_max > *bytes
        {
            self.notes
                .error(format!("{path}.rules.stored_response_max"), "is more than cache.memory");
        }
        rules
    }

    fn note_unused(&mut self) {
        // The gap may be where it is meant to be used.
        if self.has_gaps {
            return;
        }
        for (index, origin) in self.origins.iter().enumerate() {
            if !self.used.contains(&index) {
                self.notes
                    .warning(format!("origin.{}", origin.name), "no site or route uses this origin");
            }
        }
    }
}

/// Exact paths, then prefixes from the longest, then expressions, then the catch-all; else as in the file.
fn order(path: &PathPattern) -> (u8, Reverse<usize>) {
    match path {
        PathPattern::Exact(_) => (0, Reverse(0)),
        PathPattern::Prefix(prefix) => (1, Reverse(prefix.len())),
        PathPattern::Regex(_) => (2, Reverse(0)),
        PathPattern::Any => (3, Reverse(0)),
    }
}
