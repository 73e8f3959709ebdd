//! Purges: what an operator takes out of the store, by URL, prefix, host, tag, or all of it.
//!
//! A purge is a number in a sequence and a record of what it is about; it scans nothing. A stored response knows which
//! number was the latest when its fetch began, and is held against later records when it is next looked up
//! (`store/memory.rs`): one atomic load while there are none. So responses that are being fetched at that moment are
//! covered, too, and nothing that was fetched afterwards is.

mod records; // what was purged, in bounded memory
pub mod tags; // the tags of a response

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::policy::target::TargetUri;
use records::Records;

/// What a purge is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// One URL, all variants: the cache key without its fields and cookies.
    Url(Box<[u8]>),
    /// All URLs that begin so.
    Prefix(Prefix),
    /// All URLs of a host: with a port that port only, without one all ports.
    Host(String),
    /// All responses with this tag.
    Tag(String),
    /// Everything.
    Everything,
}

/// The beginning of URLs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Prefix {
    /// Of this scheme only.
    scheme: Option<Box<str>>,
    /// Lower-case authority, then the beginning of a path (and query).
    rest: Box<str>,
}

/// How a stored response is purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strength {
    /// It is gone.
    Hard,
    /// It is stale: validated before it is used again, and still there when the origin fails.
    Soft,
}

impl Strength {
    /// The word in answers and logs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Hard => "hard",
            Self::Soft => "soft",
        }
    }
}

/// What the purges so far mean for a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Kept,
    /// It counts as stale.
    Stale,
    /// It is gone.
    Gone,
}

/// A stored response as purges look at it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// `scheme://authority/path?query`, and whatever else its key has after a line feed.
    pub place: &'a [u8],
    /// Its tags, separated by spaces.
    pub tags: &'a str,
    /// The number of the latest purge when its fetch began.
    pub began: u64,
}

/// All purges of a store.
#[derive(Debug, Default)]
pub struct Purges {
    latest: AtomicU64,
    records: RwLock<Records>,
}

impl Target {
    /// Whether a stored response is covered by this one purge; tells nothing of those that were.
    pub fn covering(&self) -> impl Fn(&Subject<'_>) -> bool {
        let only = Purges::default();
        only.apply(self, Strength::Hard);
        move |subject| only.verdict(&Subject { began: 0, ..*subject }) == Verdict::Gone
    }
}

impl Purges {
    /// The number of the latest purge; 0 before the first.
    pub fn latest(&self) -> u64 {
        self.latest.load(Ordering::Acquire)
    }

    /// Purges; tells the purge's number. The same purge again is a new one of the same meaning.
    pub fn apply(&self, target: &Target, strength: Strength) -> u64 {
        let mut records = self.records.write();
        let number = self.latest.load(Ordering::Relaxed) + 1;
        records.note(target, strength, number);
        // INVARIANT: whoever sees the number finds the record.
        self.latest.store(number, Ordering::Release);
        number
    }

    /// What the purges since a response's fetch began mean for it.
    pub fn verdict(&self, subject: &Subject<'_>) -> Verdict {
        if self.latest() <= subject.began {
            return Verdict::Kept;
        }
        self.records.read().verdict(subject)
    }

    /// Records that are kept.
    pub fn records(&self) -> usize {
        self.records.read().len()
    }
}

impl Prefix {
    /// `https://a.test/img/`, or `a.test/img/` for both schemes; `None` when there is no path after the authority.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme.to_ascii_lowercase()), rest),
            None => (None, text),
        };
        let known = scheme
            .as_deref()
            .is_none_or(|scheme| matches!(scheme, "http" | "https"));
        let (authority, path) = rest.split_at(rest.find('/')?);
        if !known || authority.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let target = TargetUri {
            scheme: scheme.as_deref().unwrap_or("http"),
            authority,
            path,
            query: None,
        };
        let authority = match scheme {
            Some(_) => target.normal_authority(),
            None => authority,
        };
        let rest = format!("{}{path}", authority.to_ascii_lowercase());
        Some(Self {
            scheme: scheme.map(Into::into),
            rest: rest.into(),
        })
    }

    fn covers(&self, scheme: &[u8], rest: &[u8]) -> bool {
        rest.starts_with(self.rest.as_bytes()) && self.scheme.as_deref().is_none_or(|own| own.as_bytes() == scheme)
    }

    fn authority(&self) -> &str {
        self.rest.split('/').next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(purges: &Purges, place: &str, tags: &str, began: u64) -> Verdict {
        purges.verdict(&Subject {
            place: place.as_bytes(),
            tags,
            began,
        })
    }

    #[test]
    #[rustfmt::skip]
    fn each_kind_of_purge_covers_what_it_names_and_nothing_else() {
        let url = |text: &str| Target::Url(text.as_bytes().into());
        let prefix = |text: &str| Target::Prefix(Prefix::parse(text).unwrap());
        for (target, place, tags, expected) in [
            (url("http://a.test/x?y"), "http://a.test/x?y", "", true),
            (url("http://a.test/x?y"), "http://a.test/x?y\nfield:accept=b", "", true),
            (url("http://a.test/x"), "http://a.test/x?y", "", false),
            (url("http://a.test/x"), "https://a.test/x", "", false),
            (prefix("http://A.test:80/img"), "http://a.test/img/1", "", true),
            (prefix("a.test/img"), "https://a.test/imgs", "", true),
            (prefix("a.test/img/"), "https://a.test/img", "", false),
            (prefix("http://a.test/"), "https://a.test/img", "", false),
            (prefix("a.test/"), "http://ba.test/", "", false),
            (Target::Host("A.test".into()), "http://a.test/x", "", true),
            (Target::Host("a.test".into()), "http://a.test:8080/x", "", true),
            (Target::Host("a.test:81".into()), "http://a.test:8080/x", "", false),
            (Target::Host("a.test".into()), "http://b.a.test/x", "", false),
            (Target::Tag("red".into()), "http://a.test/", "blue red", true),
            (Target::Tag("red".into()), "http://a.test/", "reddish Red", false),
            (Target::Everything, "http://a.test/", "", true),
        ] {
            for (strength, covered) in [(Strength::Hard, Verdict::Gone), (Strength::Soft, Verdict::Stale)] {
                let purges = Purges::default();
                assert_eq!(verdict(&purges, place, tags, 0), Verdict::Kept);
                assert_eq!(purges.apply(&target, strength), 1);
                let expected = if expected { covered } else { Verdict::Kept };
                assert_eq!(verdict(&purges, place, tags, 0), expected, "{target:?} {place} {tags}");
                assert_eq!(verdict(&purges, place, tags, 1), Verdict::Kept, "fetched afterwards: {target:?}");
            }
        }
    }

    #[test]
    fn a_hard_purge_is_not_weakened_by_a_later_soft_one() {
        let purges = Purges::default();
        purges.apply(&Target::Tag("a".into()), Strength::Hard);
        purges.apply(&Target::Tag("a".into()), Strength::Soft);
        assert_eq!(verdict(&purges, "http://a/", "a", 0), Verdict::Gone);
        assert_eq!(verdict(&purges, "http://a/", "a", 1), Verdict::Stale);
        assert_eq!(verdict(&purges, "http://a/", "a", 2), Verdict::Kept);
    }

    #[test]
    fn a_prefix_has_a_host_and_the_beginning_of_a_path() {
        for text in [
            "",
            "/img",
            "a.test",
            "ftp://a.test/",
            "http:///x",
            "a.test/ä",
            "a.test/a b",
        ] {
            assert_eq!(Prefix::parse(text), None, "{text}");
        }
    }
}
