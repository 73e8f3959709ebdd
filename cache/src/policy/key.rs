//! The cache key (RFC 9111 §2): which stored responses a request may be answered with.
//!
//! By default scheme, host, path and query; an operator may choose other parts. The pieces of a key are visited, not
//! collected: hashing, comparing and rendering it allocate nothing unless the query has to be sorted. The Vary key is
//! in `vary.rs`.

use std::fmt;
use std::hash::{BuildHasher, Hasher};

use foldhash::SharedSeed;
use foldhash::quality::SeedableRandomState;
use http::{HeaderMap, header};

use super::list;
use super::rules::{KeyRules, QueryRule};
use super::target::TargetUri;

/// The key of one request, not rendered.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    target: TargetUri<'a>,
    fields: &'a HeaderMap,
    rules: &'a KeyRules,
    /// The number of a slice; `None`: the whole.
    slice: Option<u64>,
}

/// A hash of a key. Two keys that share one are told apart by [`Key::is`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyHash(pub u64);

/// How keys are hashed.
#[derive(Clone, Debug)]
pub struct KeyHasher(SeedableRandomState);

impl KeyHasher {
    /// Differently in each process, so that nobody outside can aim at one bucket: for stores.
    pub fn random() -> Self {
        Self(SeedableRandomState::random())
    }

    /// The same in all processes: for picking a cache server by key.
    pub fn fixed() -> Self {
        Self(SeedableRandomState::with_seed(0x7469_6465, SharedSeed::global_fixed()))
    }
}

impl<'a> Key<'a> {
    /// The key of a request for `target` with `fields`.
    pub const fn new(target: TargetUri<'a>, fields: &'a HeaderMap, rules: &'a KeyRules) -> Self {
        let slice = None;
        Self {
            target,
            fields,
            rules,
            slice,
        }
    }

    /// The key of one slice of what this is the key of.
    #[must_use]
    pub const fn of_slice(self, number: u64) -> Self {
        let slice = Some(number);
        Self { slice, ..self }
    }

    /// The key's hash.
    pub fn hash(&self, hasher: &KeyHasher) -> KeyHash {
        let mut state = hasher.0.build_hasher();
        self.visit(&mut |piece| state.write(piece));
        KeyHash(state.finish())
    }

    /// Whether this key, rendered by [`Key::render`], is `rendered`.
    pub fn is(&self, rendered: &[u8]) -> bool {
        let mut rest = Some(rendered);
        self.visit(&mut |piece| rest = rest.and_then(|rest| rest.strip_prefix(piece)));
        rest == Some(&[])
    }

    /// The number of the slice whose key, rendered, this is, of what this is the key of.
    pub fn slice_number(&self, rendered: &[u8]) -> Option<u64> {
        let mut rest = Some(rendered);
        self.visit(&mut |piece| rest = rest.and_then(|rest| rest.strip_prefix(piece)));
        let number = std::str::from_utf8(rest?).ok()?.strip_prefix("\nslice:")?;
        let (length, number) = number.split_once('/')?;
        (length.parse() == Ok(self.rules.slice)).then(|| number.parse().ok())?
    }

    /// The key as bytes, to be kept with what is stored: `https://host/path?query`, then one line per further part.
    pub fn render(&self) -> Box<[u8]> {
        let mut rendered = Vec::with_capacity(96);
        self.visit(&mut |piece| rendered.extend_from_slice(piece));
        rendered.into()
    }

    /// The URL of this key, whatever parts of it its rules leave out: scheme and host always, of the query what the rules
    /// choose. What purges by URL are about.
    pub fn url(target: TargetUri<'_>, rules: &KeyRules) -> Box<[u8]> {
        let (fields, cookies) = (Vec::new(), Vec::new());
        let (query, query_sorted) = (rules.query.clone(), rules.query_sorted);
        let rules = KeyRules {
            scheme: true,
            host: true,
            query,
            query_sorted,
            fields,
            cookies,
            slice: 0,
        };
        Key::new(target, &HeaderMap::new(), &rules).render()
    }

    /// That URL where the key itself does not begin with it.
    pub fn hidden_url(&self) -> Option<Box<[u8]>> {
        (!self.rules.scheme || !self.rules.host).then(|| Key::url(self.target, self.rules))
    }

    /// Calls `visit` with each piece, in an order that only the rules decide.
    ///
    /// INVARIANT: different keys have different concatenations: a URI has no line feed and neither has a field value,
    /// so each further part ends where the next line begins.
    fn visit(&self, visit: &mut impl FnMut(&[u8])) {
        if self.rules.scheme {
            lower_case(self.target.scheme.as_bytes(), visit);
            visit(b"://");
        }
        if self.rules.host {
            lower_case(self.target.normal_authority().as_bytes(), visit);
        }
        visit(self.target.path.as_bytes());
        if let Some(query) = self.target.query {
            self.visit_query(query, visit);
        }
        for name in &self.rules.fields {
            visit(b"\nfield:");
            visit(name.as_str().as_bytes());
            // "=" for each line: an absent field is not an empty one.
            for value in self.fields.get_all(name) {
                visit(b"=");
                visit(value.as_bytes());
            }
        }
        for name in &self.rules.cookies {
            visit(b"\ncookie:");
            visit(name.as_bytes());
            if let Some(value) = cookie(self.fields, name) {
                visit(b"=");
                visit(value);
            }
        }
        if let Some(number) = self.slice {
            // With its length: what was cut otherwise by an earlier configuration is something else.
            visit(format!("\nslice:{}/{number}", self.rules.slice).as_bytes());
        }
    }

    fn visit_query(&self, query: &str, visit: &mut impl FnMut(&[u8])) {
        match (&self.rules.query, self.rules.query_sorted) {
            (QueryRule::Nothing, _) => {}
            (QueryRule::Whole, false) => {
                visit(b"?");
                visit(query.as_bytes());
            }
            (_, false) => visit_parameters(self.chosen(query), visit),
            (_, true) => {
                let mut parameters: Vec<_> = self.chosen(query).collect();
                // Stable, by name: the order of parameters of one name may mean something.
                parameters.sort_by_key(|parameter| parameter.split('=').next());
                visit_parameters(parameters.into_iter(), visit);
            }
        }
    }

    fn chosen<'q>(&self, query: &'q str) -> impl Iterator<Item = &'q str> {
        query.split('&').filter(|parameter| {
            let name = parameter.split('=').next().unwrap_or_default();
            let named = |names: &[String]| names.iter().any(|known| known == name);
            !parameter.is_empty()
                && match &self.rules.query {
                    QueryRule::Whole => true,
                    QueryRule::Nothing => false,
                    QueryRule::Only(names) => named(names),
                    QueryRule::Except(names) => !named(names),
                }
        })
    }
}

/// The key as a line of text, for logs, `explain` and `Cache-Status`.
impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut written = Ok(());
        self.visit(&mut |piece| {
            for chunk in piece.utf8_chunks() {
                for (index, line) in chunk.valid().split('\n').enumerate() {
                    let parted = if index == 0 { "" } else { " " };
                    written = written
                        .and_then(|()| f.write_str(parted))
                        .and_then(|()| f.write_str(line));
                }
                if !chunk.invalid().is_empty() {
                    written = written.and_then(|()| f.write_str("?"));
                }
            }
        });
        written
    }
}

fn visit_parameters<'q>(parameters: impl Iterator<Item = &'q str>, visit: &mut impl FnMut(&[u8])) {
    for (index, parameter) in parameters.enumerate() {
        visit(if index == 0 { b"?" } else { b"&" });
        visit(parameter.as_bytes());
    }
}

/// Scheme and host are compared without regard to case (RFC 9110 §4.2.3); nearly always they are lower case already.
fn lower_case(text: &[u8], visit: &mut impl FnMut(&[u8])) {
    if text.iter().any(u8::is_ascii_uppercase) {
        visit(&text.to_ascii_lowercase());
    } else {
        visit(text);
    }
}

/// The value of the first cookie of that name.
pub fn cookie<'a>(fields: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    fields
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
        .find_map(|pair| {
            let rest = list::trim(pair).strip_prefix(name.as_bytes())?;
            rest.strip_prefix(b"=")
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::rules::Rules;

    fn fields(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
            .fold(HeaderMap::new(), |mut map, (name, value): (_, http::HeaderValue)| {
                map.append(name, value);
                map
            })
    }

    fn render(uri: &str, lines: &[(&'static str, &str)], rules: &KeyRules) -> String {
        let fields = fields(lines);
        let key = Key::new(TargetUri::parse(uri).unwrap(), &fields, rules);
        let rendered = key.render();
        assert!(key.is(&rendered));
        assert!(!key.is(&[&rendered[..], b"x"].concat()));
        assert!(!key.is(&rendered[..rendered.len() - 1]));
        String::from_utf8(rendered.to_vec()).unwrap()
    }

    #[test]
    fn a_slice_is_known_by_the_key_of_its_whole() {
        let (none, target) = (HeaderMap::new(), TargetUri::parse("http://a.test/b").unwrap());
        let rules = |slice| KeyRules {
            slice,
            ..Rules::default().key
        };
        let (rules, otherwise) = (rules(1024), rules(2048));
        let key = Key::new(target, &none, &rules);
        assert_eq!(key.slice_number(&key.of_slice(7).render()), Some(7));
        assert_eq!(key.slice_number(&key.render()), None);
        assert_eq!(
            key.slice_number(&Key::new(target, &none, &otherwise).of_slice(7).render()),
            None
        );
        let other = TargetUri::parse("http://a.test/bc").unwrap();
        assert_eq!(
            key.slice_number(&Key::new(other, &none, &rules).of_slice(7).render()),
            None
        );
    }

    #[test]
    fn the_default_key_is_the_target_uri() {
        let rules = Rules::default().key;
        for (uri, expected) in [
            ("https://example.com/a?b=1&a=2", "https://example.com/a?b=1&a=2"),
            ("HTTPS://EXAMPLE.com/A", "https://example.com/A"),
            ("https://example.com:443/", "https://example.com/"),
            ("http://example.com:443/", "http://example.com:443/"),
            ("http://example.com:80", "http://example.com/"),
            ("http://example.com/?", "http://example.com/?"),
            ("http://example.com/%7Ea", "http://example.com/%7Ea"),
        ] {
            assert_eq!(render(uri, &[], &rules), expected);
        }
    }

    #[test]
    fn parts_are_chosen() {
        let with = |change: fn(&mut KeyRules)| {
            let mut rules = Rules::default().key;
            change(&mut rules);
            rules
        };
        let uri = "https://example.com/p?b=2&utm=x&a=1&&c";
        for (rules, expected) in [
            (with(|r| r.scheme = false), "example.com/p?b=2&utm=x&a=1&&c"),
            (
                with(|r| {
                    r.scheme = false;
                    r.host = false;
                }),
                "/p?b=2&utm=x&a=1&&c",
            ),
            (with(|r| r.query = QueryRule::Nothing), "https://example.com/p"),
            (
                with(|r| r.query = QueryRule::Only(vec!["a".into(), "c".into()])),
                "https://example.com/p?a=1&c",
            ),
            (
                with(|r| r.query = QueryRule::Only(vec!["z".into()])),
                "https://example.com/p",
            ),
            (
                with(|r| r.query = QueryRule::Except(vec!["utm".into()])),
                "https://example.com/p?b=2&a=1&c",
            ),
            (with(|r| r.query_sorted = true), "https://example.com/p?a=1&b=2&c&utm=x"),
            (
                with(|r| {
                    r.query_sorted = true;
                    r.query = QueryRule::Except(vec!["a".into(), "utm".into()]);
                }),
                "https://example.com/p?b=2&c",
            ),
        ] {
            assert_eq!(render(uri, &[], &rules), expected);
        }
    }

    #[test]
    fn fields_and_cookies_are_parts_of_their_own() {
        let mut rules = Rules::default().key;
        rules.fields = vec![http::HeaderName::from_static("x-a")];
        rules.cookies = vec!["session".into()];
        let uri = "http://example.com/";
        for (lines, expected) in [
            (&[][..], "http://example.com/\nfield:x-a\ncookie:session"),
            (&[("x-a", "")], "http://example.com/\nfield:x-a=\ncookie:session"),
            (
                &[("x-a", "1"), ("x-a", "2")],
                "http://example.com/\nfield:x-a=1=2\ncookie:session",
            ),
            (
                &[("cookie", "xsession=1; session=2; session=3")],
                "http://example.com/\nfield:x-a\ncookie:session=2",
            ),
        ] {
            assert_eq!(render(uri, lines, &rules), expected);
        }
        let lines = fields(&[("x-a", "caf\u{e9}")]);
        let key = Key::new(TargetUri::parse(uri).unwrap(), &lines, &rules);
        assert_eq!(
            key.to_string(),
            "http://example.com/ field:x-a=caf\u{e9} cookie:session"
        );
    }

    #[test]
    fn equal_keys_hash_alike_and_others_do_not() {
        let rules = Rules::default().key;
        let none = HeaderMap::new();
        let hash = |uri, hasher: &KeyHasher| Key::new(TargetUri::parse(uri).unwrap(), &none, &rules).hash(hasher);
        for hasher in [KeyHasher::random(), KeyHasher::fixed()] {
            assert_eq!(hash("http://A/b?c", &hasher), hash("http://a:80/b?c", &hasher));
            assert_ne!(hash("http://a/b?c", &hasher), hash("http://a/b?d", &hasher));
            assert_ne!(hash("http://a/b?c", &hasher), hash("https://a/b?c", &hasher));
        }
        assert_eq!(
            hash("http://a/", &KeyHasher::fixed()),
            hash("http://a/", &KeyHasher::fixed())
        );
    }
}
