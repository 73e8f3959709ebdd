//! Paths, rewritten before anything else looks at them; the query stays. Pure.

use std::borrow::Cow;

use config::traffic::{Part, Rewrite, RewriteFrom, Template, Variable};
use http::Uri;
use http::uri::{self, PathAndQuery};
use regex::Captures;

/// The new path; `None` where the rule finds nothing in `path`.
pub fn rewritten(rule: &Rewrite, path: &str) -> Option<String> {
    // `*` of OPTIONS is no path.
    if !path.starts_with('/') {
        return None;
    }
    let new: Cow<'_, str> = match &rule.from {
        RewriteFrom::Prefix(prefix) => {
            let rest = path.strip_prefix(prefix.trim_end_matches('/'))?;
            match rest {
                "" => rule.to.fixed()?.into(),
                rest if rest.starts_with('/') => {
                    let to = rule.to.fixed()?.trim_end_matches('/');
                    format!("{to}{rest}").into()
                }
                _ => return None,
            }
        }
        RewriteFrom::Regex(regex) => {
            let replaced = regex.replace(path, |captures: &Captures<'_>| filled(&rule.to, captures));
            match replaced {
                Cow::Borrowed(_) => return None,
                Cow::Owned(new) => new.into(),
            }
        }
    };
    Some(if new.starts_with('/') {
        new.into_owned()
    } else {
        format!("/{new}")
    })
}

/// Puts the new path in the place of the old one.
pub fn put(path: &str, uri: &mut Uri) {
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    // Made of pieces of a valid target and of a checked text: it fails only by being longer than any target may be.
    let Ok(target) = PathAndQuery::try_from(target) else {
        return;
    };
    let mut parts = uri::Parts::default();
    parts.path_and_query = Some(target);
    if let Ok(new) = Uri::from_parts(parts) {
        *uri = new;
    }
}

fn filled(to: &Template, captures: &Captures<'_>) -> String {
    let mut out = String::new();
    for part in to.parts() {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Variable(Variable::Capture(group)) => {
                out.push_str(captures.get(*group).map_or("", |found| found.as_str()));
            }
            // `check` lets nothing else in.
            Part::Variable(_) => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;
    use crate::exchange::testing::template;

    fn check(from: RewriteFrom, to: &str, rows: &[(&str, Option<&str>)]) {
        let rule = Rewrite { from, to: template(to) };
        for (path, expected) in rows {
            assert_eq!(rewritten(&rule, path).as_deref(), *expected, "{path} → {to}");
        }
    }

    #[test]
    fn a_prefix_is_replaced_by_whole_segments() {
        let api = || RewriteFrom::Prefix("/api".to_owned());
        check(
            api(),
            "/",
            &[
                ("/api/a", Some("/a")),
                ("/api", Some("/")),
                ("/api/", Some("/")),
                ("/apis", None),
                ("/a/api", None),
                ("*", None),
            ],
        );
        check(
            api(),
            "/v2",
            &[
                ("/api/a", Some("/v2/a")),
                ("/api", Some("/v2")),
                ("/api//", Some("/v2//")),
            ],
        );
        check(api(), "/v2/", &[("/api/a", Some("/v2/a")), ("/api", Some("/v2/"))]);
        let all = RewriteFrom::Prefix("/".to_owned());
        check(all, "/www", &[("/", Some("/www/")), ("/a/b", Some("/www/a/b"))]);
    }

    #[test]
    fn what_an_expression_finds_is_replaced() {
        let regex = |text: &str| RewriteFrom::Regex(Regex::new(text).unwrap());
        check(
            regex(r"^/(\d+)/(.*)$"),
            "/$2/by-id/$1",
            &[("/12/a/b", Some("/a/b/by-id/12")), ("/x/a", None), ("/12", None)],
        );
        check(regex("/old/"), "/new/", &[("/a/old/b/old/c", Some("/a/new/b/old/c"))]);
        check(regex("^/(.*)"), "$1", &[("/a", Some("/a")), ("/", Some("/"))]);
    }

    #[test]
    fn the_query_stays() {
        let mut uri: Uri = "/a/b?c=/a/d".parse().unwrap();
        put("/z", &mut uri);
        assert_eq!(uri, "/z?c=/a/d");
        let mut uri: Uri = "/a".parse().unwrap();
        put("/z", &mut uri);
        assert_eq!(uri, "/z");
    }
}
