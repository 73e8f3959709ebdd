//! The cases: what is asked, how, and what has to be true for the number to count.

use crate::subject::Subject;

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    /// Its word on the command line and in JSON.
    pub(crate) name: &'static str,
    /// Its name in tables.
    pub(crate) title: &'static str,
    pub(crate) path: &'static str,
    pub(crate) body_bytes: u64,
    pub(crate) connections: usize,
    pub(crate) kind: Kind,
    /// Where the answer has to come from: requests that reach the origin are counted.
    pub(crate) answered_by: AnsweredBy,
    pub(crate) access_log: bool,
    /// Whether latency at a constant rate is measured too.
    pub(crate) latency: bool,
    /// Whether wrk, where installed, measures it too.
    pub(crate) asks_wrk: bool,
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
}

/// Where the answer has to come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnsweredBy {
    Cache,
    Origin,
}

const HIT_1K: Case = Case {
    name: "hit-1k",
    title: "hit, 1 KiB, keep-alive",
    path: "/1024",
    body_bytes: 1024,
    connections: 64,
    kind: Kind::KeepAlive,
    answered_by: AnsweredBy::Cache,
    access_log: false,
    latency: true,
    asks_wrk: false,
};

/// All cases, in the order of the table.
pub(crate) const CASES: [Case; 7] = [
    Case {
        asks_wrk: true,
        ..HIT_1K
    },
    Case {
        name: "hit-1k-log",
        title: "hit, 1 KiB, access log to a file",
        access_log: true,
        latency: false,
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
        name: "pass-1k",
        title: "passed through, 1 KiB, keep-alive",
        path: "/pass/1024",
        answered_by: AnsweredBy::Origin,
        ..HIT_1K
    },
    Case {
        name: "close-1k",
        title: "hit, 1 KiB, new connection each",
        kind: Kind::Close,
        latency: false,
        ..HIT_1K
    },
    Case {
        name: "idle",
        title: "idle keep-alive connection",
        connections: 2000,
        kind: Kind::Idle,
        latency: false,
        ..HIT_1K
    },
];

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
        (subject.has_origin() || self.answered_by == AnsweredBy::Cache)
            && (subject.writes_access_log() || !self.access_log)
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
    fn the_floor_has_neither_origin_nor_log() {
        let applies = CASES
            .iter()
            .filter(|case| case.applies_to(Subject::Floor))
            .map(|case| case.name);
        assert_eq!(
            applies.collect::<Vec<_>>(),
            ["hit-1k", "hit-16k", "hit-1m", "close-1k", "idle"]
        );
    }
}
