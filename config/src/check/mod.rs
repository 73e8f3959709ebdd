//! Drafts → [`Config`]: names are resolved, keys are compared with each other, defaults that follow other keys are set.
//!
//! Called once per file, after all of it has been read. It always makes a configuration; whether that may be used is for
//! the caller to see from the notes.

mod listeners; // addresses against each other
mod backends; // origins and cache servers
mod tls; // certificates by name
mod traffic; // redirects, fields, rewriting
mod sites; // hosts, routes, origins by name

use crate::defaults;
use crate::model::{Cache, CacheTier, Config, Front, Health, Limits, Process, ServersHealth, UnknownHost};
use crate::problem::{Notes, Wrong};
use crate::rules::Rules;
use crate::schema::Keys;
use crate::sections::{CacheDraft, Draft, FrontDraft, RouteDraft, SiteDraft, UnknownHostWord};

pub(crate) fn config(draft: Draft, notes: &mut Notes) -> Config {
    note_roles(&draft, notes);
    note_process(&draft.process, notes);
    let default_site = sites::default_site(&draft.sites, notes);
    let origins = backends::origins(draft.origins, notes);
    let front = draft.front.map(|front| self::front(front, default_site, notes));
    if draft.cache.is_some() {
        note_tier(notes);
    }
    let cache = cache(draft.cache.unwrap_or_else(CacheDraft::preset), default_site, notes);
    let sites = sites::resolve(draft.sites, &origins, &cache, notes);
    note_unreached_default(default_site, front.as_ref(), &cache, notes);
    let tls = tls::named(draft.tls, notes);
    tls::note_unknown(&tls, &tls::named_by(front.as_ref(), draft.admin.as_ref()), notes);
    let config = Config {
        process: draft.process,
        limits: limits(draft.limits, notes),
        health: health(draft.health, notes),
        front,
        tls,
        cache,
        origins,
        sites,
        admin: draft.admin,
        log: draft.log,
    };
    listeners::note_clashes(&config, notes);
    config
}

/// What the process would do at all.
fn note_roles(draft: &Draft, notes: &mut Notes) {
    let serves = notes.has("front") || notes.has("cache.listen");
    if !serves {
        let message = "nothing to serve: there is neither a table [front] nor a key cache.listen";
        notes.error("", message);
        return;
    }
    if draft.sites.is_empty() && !notes.has("site") {
        notes.error("", "there is no [[site]], which says where requests go");
    } else if draft.origins.is_empty() && !notes.has("origin") && !draft.sites.iter().all(answers_everything) {
        notes.error("", "there is no [origin.NAME], which says where sites come from");
    }
    if !notes.has("cache") {
        note_cache_without_tier(&draft.sites, notes);
    }
}

/// Whether a site needs no origin.
fn answers_everything(site: &SiteDraft) -> bool {
    let answers = |route: &RouteDraft| route.traffic.answer().is_some();
    let asks = site.traffic.answer().is_none() && (site.routes.is_empty() || site.origin.is_some());
    !asks && site.routes.iter().all(answers)
}

fn note_cache_without_tier(sites: &[SiteDraft], notes: &mut Notes) {
    for (i, site) in sites.iter().enumerate() {
        let routes = site.routes.iter().enumerate();
        let of_routes = routes.map(|(j, route)| (format!("site[{i}].route[{j}].cache"), route.cache));
        for (path, cache) in std::iter::once((format!("site[{i}].cache"), site.cache)).chain(of_routes) {
            if cache == Some(true) {
                notes.warning(path, "nothing is stored, because there is no table [cache]");
            }
        }
        for path in rules_tables(i, site) {
            notes.warning(path, "nothing is stored, because there is no table [cache]");
        }
    }
}

/// The paths of the rules in a site's tables.
fn rules_tables(index: usize, site: &SiteDraft) -> impl Iterator<Item = String> {
    let own = site.rules.as_ref().map(|_| format!("site[{index}].rules"));
    let routes = site
        .routes
        .iter()
        .enumerate()
        .filter(|(_, route)| route.rules.is_some());
    own.into_iter()
        .chain(routes.map(move |(j, _)| format!("site[{index}].route[{j}].rules")))
}

fn health(health: Health, notes: &mut Notes) -> Health {
    let [short, long] = health.thresholds.windows;
    if short > long {
        notes.error("health.thresholds.window_short", "is longer than window_long");
    }
    if health.sample_every > short / 2 {
        notes.warning(
            "health.sample_every",
            "is more than half of health.thresholds.window_short: what is short is not seen",
        );
    }
    health
}

fn limits(limits: Limits, notes: &mut Notes) -> Limits {
    let shedding = &limits.shedding;
    if shedding.begin <= 0.0 {
        let message = "is nothing: no connection would ever be let in";
        notes.error("limits.shedding.begin", message);
    } else if shedding.end > shedding.begin {
        notes.error("limits.shedding.end", "is more than limits.shedding.begin");
    }
    limits
}

fn note_process(process: &Process, notes: &mut Notes) {
    if process.group.is_some() && process.user.is_none() && !notes.has("process.user") {
        notes.error("process.group", "means nothing without process.user");
    }
}

fn front(draft: FrontDraft, default_site: Option<usize>, notes: &mut Notes) -> Front {
    let mut serve = draft.serve;
    check_uri_max("front", &mut serve.uri_bytes_max, serve.head_bytes_max, notes);
    Front {
        listen: draft.listen,
        serve,
        http2: draft.http2,
        forwarded: draft.forwarded,
        certificate_field: draft.certificate_field,
        unknown_host: unknown_host("front", draft.unknown_host, default_site, notes),
    }
}

fn cache(draft: CacheDraft, default_site: Option<usize>, notes: &mut Notes) -> Cache {
    let mut serve = draft.serve;
    check_uri_max("cache", &mut serve.uri_bytes_max, serve.head_bytes_max, notes);
    let tier = match (draft.memory, draft.servers) {
        (Some(bytes), _) => CacheTier::Memory {
            bytes,
            stored_response_max: stored_response_max(draft.stored_response_max, bytes, notes),
        },
        (None, Some(servers)) => CacheTier::Servers {
            backend: backends::cache_servers(draft.backend, servers, notes),
            when_down: draft.when_down,
        },
        (None, None) => CacheTier::None,
    };
    let mut rules = draft.rules.rules();
    if let CacheTier::Memory {
        stored_response_max, ..
    } = &tier
    {
        rules.stored_response_max = *stored_response_max;
    }
    note_rules("cache", &rules, notes);
    Cache {
        rules,
        listen: draft.listen.unwrap_or_default(),
        serve,
        unknown_host: unknown_host("cache", draft.unknown_host, default_site, notes),
        tier,
        purge_allow: draft.purge_allow,
        servers_health: draft.servers_health.map(|health| servers_health(health, notes)),
    }
}

fn servers_health(mut health: ServersHealth, notes: &mut Notes) -> ServersHealth {
    let is_tls = health.admin.iter().any(|server| server.is_tls);
    backends::note_tls("cache.servers_health", is_tls, &mut health.tls, notes);
    health
}

/// Which of `memory`, `listen` and `servers` go together.
fn note_tier(notes: &mut Notes) {
    let [memory, listen, servers] = ["cache.memory", "cache.listen", "cache.servers"].map(|path| notes.has(path));
    match (memory, listen, servers) {
        (true, _, true) => notes.error(
            "cache.servers",
            "cache.memory is set, too; a process keeps responses itself or asks cache servers, not both",
        ),
        (false, true, true) => {
            let wrong = Wrong::from("cache.servers is set, too; a cache server keeps responses itself");
            notes.error("cache.listen", wrong.hint("set cache.memory instead of cache.servers"));
        }
        (false, true, false) => {
            let wrong = Wrong::from("is missing; a cache server keeps responses");
            notes.error("cache.memory", wrong.hint("such as memory = \"4GiB\""));
        }
        (false, false, false) => {
            let wrong = Wrong::from("there is neither memory nor servers");
            notes.error("cache", wrong.hint("such as memory = \"4GiB\""));
        }
        _ => {}
    }
}

fn stored_response_max(asked: u64, memory: u64, notes: &mut Notes) -> u64 {
    const PATH: &str = "cache.stored_response_max";
    if !notes.has(PATH) {
        return defaults::stored_response_max(memory);
    }
    if asked > memory {
        notes.error(PATH, "is more than cache.memory");
    }
    asked
}

/// Whether the rules of the table at `path` fit together.
fn note_rules(path: &str, rules: &Rules, notes: &mut Notes) {
    if let (Some(min), Some(max)) = (rules.lifetime.min, rules.lifetime.max)
        && min > max
    {
        notes.error(format!("{path}.rules.lifetime_min"), "is longer than lifetime_max");
    }
    let slice = rules.key.slice;
    if (1..defaults::SLICE_MIN).contains(&slice) {
        let wrong = Wrong::from("is less than 4KiB");
        let hint = "such as \"1MiB\"; \"0B\" means that nothing is sliced";
        notes.error(format!("{path}.rules.slice"), wrong.hint(hint));
    } else if slice > rules.stored_response_max {
        let message = "is more than stored_response_max, so that no slice would be stored";
        notes.error(format!("{path}.rules.slice"), message);
    }
}

/// A request target is part of its head, and so is its limit.
fn check_uri_max(table: &str, uri_max: &mut usize, head_max: usize, notes: &mut Notes) {
    if *uri_max <= head_max {
        return;
    }
    let path = format!("{table}.uri_max");
    if notes.has(&path) {
        notes.warning(
            path,
            format!("is more than {table}.request_head_max, which is reached first"),
        );
    } else {
        *uri_max = head_max;
    }
}

fn unknown_host(
    table: &str,
    asked: Option<UnknownHostWord>,
    default_site: Option<usize>,
    notes: &mut Notes,
) -> UnknownHost {
    match (asked, default_site) {
        (None | Some(UnknownHostWord::Default), Some(site)) => UnknownHost::Site(site),
        (Some(UnknownHostWord::Default), None) => {
            notes.error(format!("{table}.unknown_host"), "no site has default = true");
            UnknownHost::Misdirected
        }
        (None | Some(UnknownHostWord::Misdirected), _) => UnknownHost::Misdirected,
    }
}

fn note_unreached_default(default_site: Option<usize>, front: Option<&Front>, cache: &Cache, notes: &mut Notes) {
    let Some(site) = default_site else {
        return;
    };
    let of_front = front.map(|front| front.unknown_host);
    let of_cache = (!cache.listen.is_empty()).then_some(cache.unknown_host);
    let mut asked = of_front.into_iter().chain(of_cache).peekable();
    if asked.peek().is_some() && asked.all(|unknown_host| unknown_host == UnknownHost::Misdirected) {
        notes.error(
            format!("site[{site}].default"),
            "means nothing with unknown_host = \"misdirected\"",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_stored_response_follows_the_memory_when_it_is_not_set() {
        let mut notes = Notes::default();
        for (memory, expected) in [(4 << 30, 64 << 20), (512 << 20, 64 << 20), (80 << 20, 10 << 20)] {
            assert_eq!(stored_response_max(1, memory, &mut notes), expected);
        }
    }
}
