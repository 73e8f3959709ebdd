//! The target URI (RFC 9110 §7.1), and references to other URIs of the same origin (RFC 3986 §5.2).
//!
//! For keys, for `Location` and `Content-Location` in invalidation (RFC 9111 §4.4), and for POST responses that say
//! that they represent their target (RFC 9110 §9.3.3).

use std::fmt;

/// A target URI in parts, as the front established it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetUri<'a> {
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Host and port as the client named them: any letter case, default port or not.
    pub authority: &'a str,
    /// The path, beginning with `/`.
    pub path: &'a str,
    /// The query without its `?`.
    pub query: Option<&'a str>,
}

impl<'a> TargetUri<'a> {
    /// Parts an absolute http or https URI; `None` when it is none, or has user information.
    pub fn parse(uri: &'a str) -> Option<Self> {
        let (scheme, rest) = uri.split_once("://")?;
        let known = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
        let (authority, path, query) = part(rest);
        (known && !authority.is_empty() && !authority.contains('@')).then_some(Self {
            scheme,
            authority,
            path: if path.is_empty() { "/" } else { path },
            query,
        })
    }

    /// The authority without its scheme's default port; letter case is left.
    pub fn normal_authority(&self) -> &'a str {
        let default_port = if self.scheme.eq_ignore_ascii_case("https") {
            ":443"
        } else {
            ":80"
        };
        let authority = self.authority.strip_suffix(default_port).unwrap_or(self.authority);
        authority.strip_suffix(':').unwrap_or(authority)
    }

    /// Whether both URIs have the same origin: scheme, host and port (RFC 9110 §4.3.1).
    pub fn same_origin(&self, other: &TargetUri<'_>) -> bool {
        self.scheme.eq_ignore_ascii_case(other.scheme)
            && self.normal_authority().eq_ignore_ascii_case(other.normal_authority())
    }

    /// Path and query of what `reference` names, if that has the same origin as this URI; the fragment is dropped.
    pub fn resolve_same_origin(&self, reference: &str) -> Option<String> {
        let reference = reference.split('#').next().unwrap_or_default();
        if let Some(rest) = reference.strip_prefix("//") {
            let (authority, path, query) = part(rest);
            let there = TargetUri { authority, ..*self };
            return self
                .same_origin(&there)
                .then(|| join(&without_dot_segments(path), query));
        }
        if has_scheme(reference) {
            let there = TargetUri::parse(reference)?;
            return self
                .same_origin(&there)
                .then(|| join(&without_dot_segments(there.path), there.query));
        }
        let (path, query) = split_query(reference);
        Some(match path {
            "" => join(self.path, query.or(self.query)),
            _ if path.starts_with('/') => join(&without_dot_segments(path), query),
            _ => {
                let base = &self.path[..=self.path.rfind('/').unwrap_or(0)];
                join(&without_dot_segments(&format!("{base}{path}")), query)
            }
        })
    }

    /// Whether `path_and_query` is this URI's own.
    pub fn is_at(&self, path_and_query: &str) -> bool {
        split_query(path_and_query) == (self.path, self.query)
    }
}

/// The URI as it is written, default port and letter case as they came.
impl fmt::Display for TargetUri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.path)?;
        self.query.map_or(Ok(()), |query| write!(f, "?{query}"))
    }
}

/// Authority, path and query of what follows `//`.
fn part(rest: &str) -> (&str, &str, Option<&str>) {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let (path, query) = split_query(rest.split('#').next().unwrap_or_default());
    (authority, path, query)
}

fn split_query(path_and_query: &str) -> (&str, Option<&str>) {
    match path_and_query.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path_and_query, None),
    }
}

fn join(path: &str, query: Option<&str>) -> String {
    let path = if path.is_empty() { "/" } else { path };
    query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"))
}

/// Whether `reference` begins with `scheme:` (RFC 3986 §3.1).
fn has_scheme(reference: &str) -> bool {
    let scheme = reference.split_once(':').map_or("", |(scheme, _)| scheme);
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

/// RFC 3986 §5.2.4 for an absolute path.
fn without_dot_segments(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            _ => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_resolve_within_the_origin_and_not_beyond() {
        let base = TargetUri::parse("https://Example.com/a/b/c?q").unwrap();
        for (reference, expected) in [
            ("", Some("/a/b/c?q")),
            ("#top", Some("/a/b/c?q")),
            ("?x", Some("/a/b/c?x")),
            ("d", Some("/a/b/d")),
            ("d?x#y", Some("/a/b/d?x")),
            ("./d", Some("/a/b/d")),
            ("../d", Some("/a/d")),
            ("../../../d", Some("/d")),
            (".", Some("/a/b/")),
            ("..", Some("/a/")),
            ("d/./e/../f", Some("/a/b/d/f")),
            ("d:e", None),
            ("./d:e", Some("/a/b/d:e")),
            ("/d", Some("/d")),
            ("/d//e", Some("/d//e")),
            ("//example.COM/d", Some("/d")),
            ("//example.com", Some("/")),
            ("//example.com:443/d", Some("/d")),
            ("//example.com:80/d", None),
            ("https://example.com:443/d?x", Some("/d?x")),
            ("HTTPS://EXAMPLE.com/d", Some("/d")),
            ("https://example.com?x", Some("/?x")),
            ("http://example.com/d", None),
            ("https://example.com:8443/d", None),
            ("https://example.org/d", None),
            ("https://example.com@example.org/d", None),
            ("https://user@example.com/d", None),
            ("mailto:a@example.com", None),
            ("://", Some("/a/b/://")),
        ] {
            assert_eq!(
                base.resolve_same_origin(reference).as_deref(),
                expected,
                "{reference:?}"
            );
        }
    }

    #[test]
    fn a_uri_without_a_path_has_the_root() {
        let base = TargetUri::parse("http://example.com").unwrap();
        assert_eq!(base.path, "/");
        assert!(base.is_at("/"));
        assert!(!base.is_at("/?"));
        assert_eq!(TargetUri::parse("ftp://example.com/"), None);
        assert_eq!(TargetUri::parse("example.com/"), None);
    }
}
