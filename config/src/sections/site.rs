//! `[[site]]` and `[[site.route]]`.

use std::time;

use common::http::upgrade::Protocol;
use regex::Regex;

use super::backend::{BODY_TIMEOUT, CONNECT_TIMEOUT, RESPONSE_TIMEOUT, TUNNEL_TIMEOUT};
use super::guard::GuardDraft;
use super::rules::Overrides;
use super::traffic::{Place, TrafficDraft};
use crate::codec::{Count, Duration, Flag, HOST, List, Maybe, PATH, PREFIX, PROTOCOL, REGEX, Special, Text};
use crate::defaults;
use crate::model::{CacheMode, Config, HostPattern, PathPattern, Route, UnknownHost};
use crate::rules::Rules;
use crate::schema::{Keys, Visitor};

/// `[[site]]` as the file has it; origins are names.
pub(crate) struct SiteDraft {
    pub(crate) hosts: Vec<HostPattern>,
    pub(crate) default: bool,
    pub(crate) origin: Option<String>,
    pub(crate) cache: Option<bool>,
    pub(crate) upgrades: Option<Vec<Protocol>>,
    pub(crate) rules: Option<Overrides>,
    pub(crate) guard: GuardDraft,
    pub(crate) traffic: TrafficDraft,
    pub(crate) routes: Vec<RouteDraft>,
}

/// `[[site.route]]` as the file has it.
pub(crate) struct RouteDraft {
    pub(crate) path: Option<String>,
    pub(crate) prefix: Option<String>,
    pub(crate) regex: Option<Regex>,
    pub(crate) origin: Option<String>,
    pub(crate) cache: Option<bool>,
    pub(crate) connect_timeout: Option<time::Duration>,
    pub(crate) response_timeout: Option<time::Duration>,
    pub(crate) body_timeout: Option<time::Duration>,
    pub(crate) tunnel_timeout: Option<time::Duration>,
    pub(crate) urgency: u8,
    pub(crate) upgrades: Option<Vec<Protocol>>,
    pub(crate) rules: Option<Overrides>,
    pub(crate) guard: GuardDraft,
    pub(crate) traffic: TrafficDraft,
}

/// An origin's name; whether there is one is checked when all are known.
const ORIGIN: Text<String> = Text {
    kind: "name of an origin",
    parse: |text| Ok(text.to_owned()),
    print: String::clone,
};

/// The meaning that a site's and a route's key share.
const UPGRADES: &str = "Protocols that clients may change to with `Upgrade` (RFC 9110 §7.8), such as `\"websocket\"`; an empty list: none. Requests for others are answered as if they had not asked.";

impl Keys for SiteDraft {
    fn preset() -> Self {
        Self {
            hosts: Vec::new(),
            default: false,
            origin: None,
            cache: None,
            upgrades: None,
            rules: None,
            guard: GuardDraft::default(),
            traffic: TrafficDraft::default(),
            routes: Vec::new(),
        }
    }

    fn visit<V: Visitor>(&mut self, v: &mut V) {
        v.key(
            "hosts",
            Special::computed(List::any(HOST), "required, unless `default = true`"),
            &mut self.hosts,
            "The hosts it serves, without a port; `*.example.com` is every host below `example.com`, and the longest match wins.",
        );
        v.key(
            "default",
            Flag,
            &mut self.default,
            "Serve requests for hosts without a site, too; one site at most.",
        );
        let meaning = "Where requests go that no route takes; without it they get 404.";
        v.key("origin", Maybe::new(ORIGIN, "none"), &mut self.origin, meaning);
        let meaning = "Whether responses may be stored and reused (RFC 9111).";
        v.key(
            "cache",
            Maybe::or(Flag, &defaults::SITE_CACHE),
            &mut self.cache,
            meaning,
        );
        let upgrades = Maybe::or(List::any(PROTOCOL), &defaults::site_upgrades());
        v.key("upgrades", upgrades, &mut self.upgrades, UPGRADES);
        self.guard.visit_keys(v);
        self.traffic.visit_keys(v, Place::Site);
        v.overrides(
            "rules",
            &mut self.rules,
            "Any key of `[cache.rules]`, and `stored_response_max`, for this site; what it leaves out is inherited.",
        );
        self.guard.visit_tables(v);
        self.traffic.visit(v, Place::Site);
        v.each(
            "route",
            &mut self.routes,
            "Where requests for a part of the site go; each has exactly one of `path`, `prefix` and `regex`.\n\
             Exact paths are tried first, then prefixes from the longest, then expressions in the order of the file.",
        );
    }
}

impl Keys for RouteDraft {
    fn preset() -> Self {
        Self {
            path: None,
            prefix: None,
            regex: None,
            origin: None,
            cache: None,
            connect_timeout: None,
            response_timeout: None,
            body_timeout: None,
            tunnel_timeout: None,
            urgency: defaults::URGENCY,
            upgrades: None,
            rules: None,
            guard: GuardDraft::default(),
            traffic: TrafficDraft::default(),
        }
    }

    fn visit<V: Visitor>(&mut self, v: &mut V) {
        v.key("path", Maybe::new(PATH, "none"), &mut self.path, "Exactly this path.");
        let meaning = "This path and everything below it, by whole segments: `/img` takes `/img/a`, not `/imgs`.";
        v.key("prefix", Maybe::new(PREFIX, "none"), &mut self.prefix, meaning);
        let meaning = "Any path that this expression finds something in (syntax of the Rust crate regex); `^` and `$` tie it to the ends.";
        v.key("regex", Maybe::new(REGEX, "none"), &mut self.regex, meaning);
        v.key(
            "origin",
            Maybe::new(ORIGIN, "the site's"),
            &mut self.origin,
            "Where its requests go.",
        );
        let meaning = "Whether its responses may be stored and reused.";
        v.key("cache", Maybe::new(Flag, "the site's"), &mut self.cache, meaning);
        let timeout = || Maybe::new(Duration::TIMEOUT, "the origin's");
        v.key("connect_timeout", timeout(), &mut self.connect_timeout, CONNECT_TIMEOUT);
        v.key(
            "response_timeout",
            timeout(),
            &mut self.response_timeout,
            RESPONSE_TIMEOUT,
        );
        v.key("body_timeout", timeout(), &mut self.body_timeout, BODY_TIMEOUT);
        v.key("tunnel_timeout", timeout(), &mut self.tunnel_timeout, TUNNEL_TIMEOUT);
        let meaning =
            "Which requests get a connection first while `connections_max` is reached: from 0, the most urgent, to 7.";
        v.key("urgency", Count { min: 0, max: 7 }, &mut self.urgency, meaning);
        let upgrades = Maybe::new(List::any(PROTOCOL), "the site's");
        v.key("upgrades", upgrades, &mut self.upgrades, UPGRADES);
        self.guard.visit_keys(v);
        self.traffic.visit_keys(v, Place::Route);
        v.overrides(
            "rules",
            &mut self.rules,
            "Any key of `[cache.rules]`, and `stored_response_max`, for this route; what it leaves out is the site's.",
        );
        self.guard.visit_tables(v);
        self.traffic.visit(v, Place::Route);
    }
}

impl SiteDraft {
    /// The table that says what the site at `index` is.
    pub(super) fn of(config: &Config, index: usize) -> Self {
        let site = &config.sites[index];
        let (catch_all, routes): (Vec<_>, Vec<_>) = site
            .routes
            .iter()
            .partition(|route| matches!(route.path, PathPattern::Any));
        let catch_all = catch_all.first();
        let base = &config.cache.rules;
        let own = catch_all.map_or(base, |route| &route.rules);
        let traffic = TrafficDraft::of(&site.traffic);
        let unknown_hosts = [
            config.front.as_ref().map(|front| front.unknown_host),
            Some(config.cache.unknown_host),
        ];
        Self {
            hosts: site.hosts.clone(),
            default: unknown_hosts.contains(&Some(UnknownHost::Site(index))),
            origin: catch_all.and_then(|route| origin_name(config, route)),
            cache: catch_all.map(|route| route.cache == CacheMode::Standard),
            upgrades: catch_all.map(|route| route.upgrades.clone()),
            rules: Overrides::of(own, base),
            routes: routes
                .into_iter()
                .map(|route| RouteDraft::of(config, route, own, &traffic))
                .collect(),
            guard: GuardDraft::of(&site.guard),
            traffic,
        }
    }
}

impl RouteDraft {
    /// `inherited` are the site's rules, `traffic` its traffic rules.
    fn of(config: &Config, route: &Route, inherited: &Rules, traffic: &TrafficDraft) -> Self {
        let mut draft = Self {
            origin: origin_name(config, route),
            cache: Some(route.cache == CacheMode::Standard),
            connect_timeout: Some(route.limits.connect_timeout),
            response_timeout: Some(route.limits.response_timeout),
            body_timeout: Some(route.limits.body_timeout),
            tunnel_timeout: Some(route.limits.tunnel_timeout),
            urgency: route.limits.urgency,
            upgrades: Some(route.upgrades.clone()),
            rules: Overrides::of(&route.rules, inherited),
            guard: GuardDraft::of(&route.guard),
            traffic: TrafficDraft::of(&route.traffic).own(traffic),
            ..Self::preset()
        };
        match &route.path {
            PathPattern::Exact(path) => draft.path = Some(path.clone()),
            PathPattern::Prefix(prefix) => draft.prefix = Some(prefix.clone()),
            PathPattern::Regex(regex) => draft.regex = Some(regex.clone()),
            PathPattern::Any => {}
        }
        draft
    }
}

fn origin_name(config: &Config, route: &Route) -> Option<String> {
    route.origin.map(|origin| config.origins[origin].name.clone())
}
