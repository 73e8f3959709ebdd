//! The cases: what is asked, how, and what has to be true for the number to count.

use crate::load::Keys;
use crate::subject::Subject;

/// One row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    /// Its word on the command line and in JSON.
    pub(crate) name: &'static str,
    /// Its name in tables.
    pub(crate) title: &'static str,
    /// The path; with many keys each of them follows it.
    pub(crate) path: &'static str,
    pub(crate) keys: Keys,
    /// More field lines of the request, each with its CRLF.
    pub(crate) fields: &'static str,
    /// The status that a right answer has.
    pub(crate) status: &'static str,
    /// Bytes of the body that it has.
    pub(crate) body_bytes: u64,
    /// Bytes of the response that is stored, where an answer is only a part of it.
    pub(crate) stored_bytes: Option<u64>,
    pub(crate) connections: usize,
    pub(crate) kind: Kind,
    pub(crate) protocol: Protocol,
    /// Where the answer has to come from: requests that reach the origin are counted.
    pub(crate) answered_by: AnsweredBy,
    /// MiB that the store may take.
    pub(crate) store_mib: u32,
    pub(crate) access_log: bool,
    /// Processes or threads of the subject.
    pub(crate) workers: usize,
    /// Whether latency at a constant rate is measured too.
    pub(crate) latency: bool,
    /// Whether it is measured beside each peer too, at the peer's rate.
    pub(crate) duels: bool,
    /// Whether wrk, h2load and oha, where installed, measure it too.
    pub(crate) second_opinion: bool,
}

/// How connections are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Kept alive, one request after another.
    KeepAlive,
    /// A new connection per request.
    Close,
    /// Kept alive, one request, then silence: memory, not CPU.
    Idle,
    /// A probe beside clients that take large responses slowly: latency, and memory.
    Slow,
    /// Requests while the subject reloads: how many fail.
    Reload,
}

/// What clients speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/1.1 over TCP.
    Plain,
    /// HTTP/1.1 over TLS.
    Tls,
    /// HTTP/2 over TLS.
    Http2,
}

/// Where the answer has to come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnsweredBy {
    Cache,
    Origin,
    /// From the store where it has it: how often that is the subject's affair.
    Either,
}

const HIT_1K: Case = Case {
    name: "hit-1k",
    title: "hit, 1 KiB, keep-alive",
    path: "/1024",
    keys: Keys::One,
    fields: "",
    status: "200",
    body_bytes: 1024,
    stored_bytes: None,
    connections: 64,
    kind: Kind::KeepAlive,
    protocol: Protocol::Plain,
    answered_by: AnsweredBy::Cache,
    store_mib: 1024,
    access_log: false,
    workers: 1,
    latency: false,
    duels: false,
    second_opinion: false,
};

const MISS_16K: Case = Case {
    name: "miss-16k",
    title: "miss, fill and eviction, 16 KiB",
    path: "/16384/",
    keys: Keys::uniform(1_000_000),
    body_bytes: 16 << 10,
    answered_by: AnsweredBy::Either,
    store_mib: 512,
    ..HIT_1K
};

/// All cases, in the order of the table.
pub(crate) const CASES: [Case; 18] = [
    Case {
        latency: true,
        duels: true,
        second_opinion: true,
        ..HIT_1K
    },
    Case {
        name: "hit-1k-log",
        title: "hit, 1 KiB, access log to a file",
        access_log: true,
        ..HIT_1K
    },
    Case {
        name: "hit-16k",
        title: "hit, 16 KiB, keep-alive",
        path: "/16384",
        body_bytes: 16 << 10,
        ..HIT_1K
    },
    Case {
        name: "hit-1m",
        title: "hit, 1 MiB, keep-alive",
        path: "/1048576",
        body_bytes: 1 << 20,
        connections: 16,
        ..HIT_1K
    },
    Case {
        name: "unchanged",
        title: "hit, answered 304",
        path: "/tagged/1024",
        fields: "If-None-Match: \"bench\"\r\n",
        status: "304",
        body_bytes: 0,
        stored_bytes: Some(1024),
        ..HIT_1K
    },
    Case {
        name: "range",
        title: "hit, 64 KiB out of 16 MiB",
        path: "/16777216",
        fields: "Range: bytes=8388608-8454143\r\n",
        status: "206",
        body_bytes: 64 << 10,
        stored_bytes: Some(16 << 20),
        connections: 16,
        ..HIT_1K
    },
    Case {
        name: "pass-1k",
        title: "passed through, 1 KiB, keep-alive",
        path: "/pass/1024",
        answered_by: AnsweredBy::Origin,
        latency: true,
        ..HIT_1K
    },
    MISS_16K,
    Case {
        name: "zipf-16k",
        title: "the same, keys by Zipf's law",
        keys: Keys::zipf(1_000_000),
        ..MISS_16K
    },
    Case {
        name: "close-1k",
        title: "hit, 1 KiB, new connection each",
        kind: Kind::Close,
        ..HIT_1K
    },
    Case {
        name: "tls-1k",
        title: "hit, 1 KiB, TLS, keep-alive",
        protocol: Protocol::Tls,
        second_opinion: true,
        ..HIT_1K
    },
    Case {
        name: "tls-1m",
        title: "hit, 1 MiB, TLS, keep-alive",
        path: "/1048576",
        body_bytes: 1 << 20,
        connections: 16,
        protocol: Protocol::Tls,
        ..HIT_1K
    },
    Case {
        name: "tls-close-1k",
        title: "hit, 1 KiB, new TLS connection each",
        kind: Kind::Close,
        protocol: Protocol::Tls,
        ..HIT_1K
    },
    Case {
        name: "h2-1k",
        title: "hit, 1 KiB, HTTP/2, 10 streams",
        connections: 16,
        protocol: Protocol::Http2,
        second_opinion: true,
        ..HIT_1K
    },
    Case {
        name: "workers-2",
        title: "hit, 1 KiB, two workers",
        workers: 2,
        ..HIT_1K
    },
    Case {
        name: "idle",
        title: "idle keep-alive connection",
        connections: 2000,
        kind: Kind::Idle,
        ..HIT_1K
    },
    Case {
        name: "slow",
        title: "a probe beside 500 slow clients",
        connections: 8,
        kind: Kind::Slow,
        ..HIT_1K
    },
    Case {
        name: "reload",
        title: "a new certificate under load",
        connections: 32,
        kind: Kind::Reload,
        protocol: Protocol::Tls,
        ..HIT_1K
    },
];

/// What `quick` measures: the ways of a request that most requests go.
pub(crate) const QUICK: [&str; 9] = [
    "hit-1k",
    "hit-1k-log",
    "hit-16k",
    "hit-1m",
    "pass-1k",
    "close-1k",
    "tls-1k",
    "h2-1k",
    "idle",
];

impl Kind {
    /// What its figure is, where that is not CPU time per request.
    pub(crate) fn other_unit(self) -> Option<&'static str> {
        match self {
            Self::KeepAlive | Self::Close => None,
            Self::Idle => Some("KiB of memory each"),
            Self::Slow => Some("µs, p99"),
            Self::Reload => Some("failed requests"),
        }
    }
}

impl Case {
    /// The case of that name.
    pub(crate) fn by_name(name: &str) -> Result<&'static Self, String> {
        CASES.iter().find(|case| case.name == name).ok_or_else(|| {
            let names: Vec<&str> = CASES.iter().map(|case| case.name).collect();
            format!("no such case; there are {}", names.join(", "))
        })
    }

    /// Whether the number means something for `subject`.
    pub(crate) fn applies_to(&self, subject: Subject) -> bool {
        let answers = match self.status {
            "200" => true,
            "206" => subject.cuts_ranges(),
            _ => subject.has_origin(),
        };
        answers
            && (subject.has_origin() || self.answered_by == AnsweredBy::Cache)
            && (subject.speaks_tls() || self.protocol == Protocol::Plain)
            && (subject.writes_access_log() || !self.access_log)
            && (subject != Subject::Floor || self.workers == 1)
            && (subject.reloads() || self.kind != Kind::Reload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_found_by_its_name_only() {
        for case in &CASES {
            assert_eq!(Case::by_name(case.name), Ok(case));
        }
        assert!(
            Case::by_name("hit")
                .unwrap_err()
                .contains("hit-1k, hit-1k-log, hit-16k")
        );
    }

    #[test]
    fn what_is_quick_is_there() {
        assert!(QUICK.into_iter().all(|name| Case::by_name(name).is_ok()));
    }

    #[test]
    fn what_a_subject_cannot_do_is_not_asked_of_it() {
        let left_out = |subject| {
            let names = CASES
                .iter()
                .filter(|case| !case.applies_to(subject))
                .map(|case| case.name);
            names.collect::<Vec<_>>()
        };
        let of_tls = ["tls-1k", "tls-1m", "tls-close-1k", "h2-1k"];
        assert!(left_out(Subject::Tidegate).is_empty() && left_out(Subject::Nginx).is_empty());
        assert_eq!(left_out(Subject::Haproxy), ["hit-1k-log", "range"]);
        assert_eq!(left_out(Subject::TrafficServer), ["reload"]);
        assert_eq!(
            left_out(Subject::Varnish),
            [&["hit-1k-log"][..], &of_tls, &["reload"]].concat()
        );
        let of_floor = ["hit-1k-log", "unchanged", "range", "pass-1k", "miss-16k", "zipf-16k"];
        let others = ["workers-2", "reload"];
        assert_eq!(left_out(Subject::Floor), [&of_floor[..], &of_tls, &others].concat());
    }
}
