//! `POST /purge?url=…|prefix=…|host=…|tag=…|all[&soft][&count]`: takes something out of the store. Each parameter that names
//! something is one purge; all are checked before any is done.

use cache::policy::target::TargetUri;
use cache::purge::{Prefix, Strength, Target};
use cache::tier::Purged;
use common::http::response::Response;
use http::StatusCode;

use super::explain::host_of;
use super::{Watched, json, query, text};
use crate::exchange::purge::report;
use crate::routes::{Route, Routes};

/// One purge that was asked for, as it was asked for.
struct Asked {
    by: &'static str,
    value: String,
    what: What,
}

/// How all of them are purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct How {
    strength: Strength,
    /// What each matches is counted.
    counts: bool,
}

/// What a query asks for.
struct Order {
    asked: Vec<Asked>,
    how: How,
}

/// What is to be purged.
enum What {
    /// A URL, whose key follows its route's rules.
    Url,
    /// Anything else.
    Target(Target),
}

/// Purges what the query names.
pub fn answer(watched: &Watched, query: &str) -> Response {
    let routes = watched.parts.known_routes();
    let Order { asked, how } = match read(query, routes) {
        Ok(order) => order,
        Err(wrong) => return text(StatusCode::BAD_REQUEST, format!("{wrong}\n")),
    };
    let mut purged = Vec::with_capacity(asked.len());
    for one in &asked {
        let Some(done) = apply(watched, one, how) else {
            return text(
                StatusCode::CONFLICT,
                "this process stores nothing; purge its cache servers\n",
            );
        };
        let (number, strength) = (done.number, how.strength.word());
        tracing::info!(by = one.by, value = %one.value, number, strength, matched = done.matched, "purged");
        purged.push((one.by, &*one.value, done));
    }
    json(StatusCode::OK, report(how.strength, &purged))
}

fn apply(watched: &Watched, asked: &Asked, how: How) -> Option<Purged> {
    let tier = &watched.parts.tier;
    match &asked.what {
        What::Target(target) => tier.purge(target, how.strength, how.counts),
        What::Url => {
            let target = TargetUri::parse(&asked.value)?;
            let route = find(watched.parts.known_routes(), &target).ok()?;
            let rules = &route.tier.as_ref()?.rules.key;
            // Clients and operators know the path as it was before it was rewritten.
            let rewritten = route
                .traffic
                .as_ref()
                .and_then(|traffic| traffic.rewritten(target.path));
            let path = rewritten.as_deref().unwrap_or(target.path);
            tier.purge_url(TargetUri { path, ..target }, rules, how.strength, how.counts)
        }
    }
}

/// The route that a URL belongs to.
pub fn find<'a>(routes: &'a Routes, target: &TargetUri<'_>) -> Result<&'a Route, String> {
    let host = host_of(target.authority);
    let found = routes.find(&host, target.path);
    found
        .map(|(_, route)| route)
        .map_err(|_| format!("no site and route serve {host}{}", target.path))
}

fn read(query: &str, routes: &Routes) -> Result<Order, String> {
    let mut how = How {
        strength: Strength::Hard,
        counts: false,
    };
    let mut asked = Vec::new();
    for (name, value) in query::parse(query)? {
        let is_set = matches!(&*value, "" | "1" | "true");
        let (by, what) = match &*name {
            "soft" if is_set => {
                how.strength = Strength::Soft;
                continue;
            }
            "count" if is_set => {
                how.counts = true;
                continue;
            }
            "url" => {
                let target =
                    TargetUri::parse(&value).ok_or_else(|| format!("{value:?} is not an http or https URL"))?;
                find(routes, &target)?;
                ("url", What::Url)
            }
            "prefix" => {
                let wrong = || format!("{value:?} is not a host with the beginning of a path");
                (
                    "prefix",
                    What::Target(Target::Prefix(Prefix::parse(&value).ok_or_else(wrong)?)),
                )
            }
            "host" if is_word(&value, b"/") => ("host", What::Target(Target::Host(value.clone()))),
            "tag" if is_word(&value, b",") => ("tag", What::Target(Target::Tag(value.clone()))),
            "all" if is_set => ("all", What::Target(Target::Everything)),
            _ => {
                return Err(format!(
                    "{name}={value} is none of url, prefix, host, tag, all, soft and count"
                ));
            }
        };
        asked.push(Asked { by, value, what });
    }
    if asked.is_empty() {
        return Err("what? one of url=, prefix=, host=, tag= and all".to_owned());
    }
    Ok(Order { asked, how })
}

/// Whether a value is one word without these characters.
fn is_word(value: &str, without: &[u8]) -> bool {
    !value.is_empty()
        && value
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !without.contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purge_names_at_least_one_thing_and_nothing_unknown() {
        let routes = Routes::new(&[], None, |_, _| unreachable!("there is no site"));
        for (query, expected) in [
            ("tag=a&tag=b", Some(2)),
            ("all", Some(1)),
            ("host=a.test&soft=1&prefix=a.test/x", Some(2)),
            ("", None),
            ("soft", None),
            ("tag=", None),
            ("tag=a,b", None),
            ("tag=a%20b", None),
            ("host=a/b", None),
            ("prefix=a.test", None),
            ("all=no", None),
            ("tag=a&count=no", None),
            ("count", None),
            ("everything", None),
            ("url=/x", None),
            ("url=http://a.test/", None),
        ] {
            let read = read(query, &routes).ok();
            assert_eq!(read.map(|order| order.asked.len()), expected, "{query}");
        }
        for (query, strength, counts) in [
            ("all", Strength::Hard, false),
            ("all&soft", Strength::Soft, false),
            ("count&tag=a", Strength::Hard, true),
        ] {
            assert_eq!(
                read(query, &routes).ok().map(|order| order.how),
                Some(How { strength, counts })
            );
        }
    }
}
