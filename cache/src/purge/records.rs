//! What was purged, in bounded memory: when there are too many records of a kind, the older half of them become one that
//! is coarser. URLs and prefixes become their hosts, hosts become everything, tags become whatever has a tag. What is
//! coarser covers more than was asked for, never less.

use std::collections::HashMap;
use std::hash::Hash;

use super::{Prefix, Strength, Subject, Target, Verdict};

/// URLs and tags that are remembered one by one.
const NAMES_MAX: usize = 65_536;
/// Hosts that are.
const HOSTS_MAX: usize = 4_096;
/// Prefixes that are; each is compared with each response that is looked up after a purge.
const PREFIXES_MAX: usize = 1_024;

/// All records.
#[derive(Debug, Default)]
pub(super) struct Records {
    urls: HashMap<Box<[u8]>, Numbers>,
    prefixes: HashMap<Prefix, Numbers>,
    hosts: HashMap<Box<str>, Numbers>,
    tags: HashMap<Box<str>, Numbers>,
    /// Whatever has a tag.
    tagged: Numbers,
    everything: Numbers,
}

/// The latest purges of one thing.
#[derive(Clone, Copy, Debug, Default)]
struct Numbers {
    hard: u64,
    soft: u64,
}

impl Numbers {
    fn note(&mut self, other: Self) {
        self.hard = self.hard.max(other.hard);
        self.soft = self.soft.max(other.soft);
    }

    fn latest(self) -> u64 {
        self.hard.max(self.soft)
    }

    const fn verdict(self, began: u64) -> Verdict {
        if self.hard > began {
            Verdict::Gone
        } else if self.soft > began {
            Verdict::Stale
        } else {
            Verdict::Kept
        }
    }
}

impl Records {
    pub(super) fn len(&self) -> usize {
        self.urls.len() + self.prefixes.len() + self.hosts.len() + self.tags.len()
    }

    pub(super) fn note(&mut self, target: &Target, strength: Strength, number: u64) {
        let numbers = match strength {
            Strength::Hard => Numbers { hard: number, soft: 0 },
            Strength::Soft => Numbers { hard: 0, soft: number },
        };
        match target {
            Target::Url(url) => self.urls.entry(url.clone()).or_default().note(numbers),
            Target::Prefix(prefix) => self.prefixes.entry(prefix.clone()).or_default().note(numbers),
            Target::Host(host) => self.note_host(&host.to_ascii_lowercase(), numbers),
            Target::Tag(tag) => self.tags.entry(tag.as_str().into()).or_default().note(numbers),
            Target::Everything => self.everything.note(numbers),
        }
        self.fold();
    }

    pub(super) fn verdict(&self, subject: &Subject<'_>) -> Verdict {
        let mut numbers = self.everything;
        if !subject.tags.is_empty() {
            numbers.note(self.tagged);
            let tags = subject.tags.split(' ').filter_map(|tag| self.tags.get(tag));
            tags.for_each(|tag| numbers.note(*tag));
        }
        let url = subject.place.split(|byte| *byte == b'\n').next().unwrap_or_default();
        self.urls.get(url).into_iter().for_each(|url| numbers.note(*url));
        let (scheme, rest) = parts(url);
        let (authority, host) = authority(rest);
        for name in [Some(authority), host].into_iter().flatten() {
            self.hosts.get(name).into_iter().for_each(|host| numbers.note(*host));
        }
        let prefixes = self.prefixes.iter().filter(|(prefix, _)| prefix.covers(scheme, rest));
        prefixes.for_each(|(_, prefix)| numbers.note(*prefix));
        numbers.verdict(subject.began)
    }

    fn note_host(&mut self, host: &str, numbers: Numbers) {
        self.hosts.entry(host.into()).or_default().note(numbers);
    }

    fn fold(&mut self) {
        for (url, numbers) in older_half(&mut self.urls, NAMES_MAX) {
            self.note_host(authority(parts(&url).1).0, numbers);
        }
        for (prefix, numbers) in older_half(&mut self.prefixes, PREFIXES_MAX) {
            self.note_host(prefix.authority(), numbers);
        }
        for (_, numbers) in older_half(&mut self.hosts, HOSTS_MAX) {
            self.everything.note(numbers);
        }
        for (_, numbers) in older_half(&mut self.tags, NAMES_MAX) {
            self.tagged.note(numbers);
        }
    }
}

/// Takes the older half out of a map that has more than `max`.
fn older_half<K: Hash + Eq>(map: &mut HashMap<K, Numbers>, max: usize) -> Vec<(K, Numbers)> {
    if map.len() <= max {
        return Vec::new();
    }
    let mut numbers: Vec<u64> = map.values().map(|numbers| numbers.latest()).collect();
    let middle = numbers.len() / 2;
    let (_, middle, _) = numbers.select_nth_unstable(middle);
    let middle = *middle;
    map.extract_if(|_, numbers| numbers.latest() < middle).collect()
}

/// The scheme of a URL, and what follows `://`.
fn parts(url: &[u8]) -> (&[u8], &[u8]) {
    match url.windows(3).position(|window| window == b"://") {
        Some(end) => (&url[..end], &url[end + 3..]),
        None => (&[], url),
    }
}

/// The authority, and its host where it has a port.
fn authority(rest: &[u8]) -> (&str, Option<&str>) {
    let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
    let authority = std::str::from_utf8(&rest[..end]).unwrap_or_default();
    let host = authority
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    (authority, host.map(|(host, _)| host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(records: &Records, place: &str, tags: &str, began: u64) -> Verdict {
        records.verdict(&Subject {
            place: place.as_bytes(),
            tags,
            began,
        })
    }

    #[test]
    fn too_many_records_become_coarser_ones_that_cover_at_least_as_much() {
        let mut records = Records::default();
        let max = NAMES_MAX as u64;
        for number in 1..=max + 1 {
            records.note(&Target::Tag(format!("t{number}")), Strength::Soft, number);
        }
        assert!(records.len() <= NAMES_MAX / 2 + 1, "{}", records.len());
        for number in [1, max / 2, max, max + 1] {
            assert_eq!(verdict(&records, "http://a/", &format!("t{number}"), 0), Verdict::Stale);
        }
        assert_eq!(
            verdict(&records, "http://a/", "other", 0),
            Verdict::Stale,
            "what has a tag"
        );
        assert_eq!(
            verdict(&records, "http://a/", "other", max),
            Verdict::Kept,
            "fetched later"
        );
        assert_eq!(verdict(&records, "http://a/", "", 0), Verdict::Kept, "what has none");
    }

    #[test]
    fn prefixes_become_their_hosts_and_hosts_everything() {
        let mut records = Records::default();
        let prefixes = PREFIXES_MAX as u64 + 1;
        for number in 1..=prefixes {
            let prefix = Prefix::parse(&format!("http://a.test/{number}")).unwrap();
            records.note(&Target::Prefix(prefix), Strength::Hard, number);
        }
        assert_eq!(verdict(&records, "http://a.test/other", "", 0), Verdict::Gone);
        assert_eq!(verdict(&records, "http://b.test/other", "", 0), Verdict::Kept);
        for number in prefixes..=prefixes + HOSTS_MAX as u64 + 1 {
            records.note(&Target::Host(format!("h{number}")), Strength::Hard, number);
        }
        assert!(records.hosts.len() <= HOSTS_MAX && records.len() <= HOSTS_MAX + PREFIXES_MAX);
        assert_eq!(verdict(&records, "http://c.test/", "", 0), Verdict::Gone);
        assert_eq!(verdict(&records, "http://c.test/", "", u64::MAX), Verdict::Kept);
    }
}
