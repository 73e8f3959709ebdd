//! Findings over time: each opens once, stays while it is seen, and closes when it has been absent for a while.
//!
//! Pure. Owned by the engine; its events become log lines and the ring of /health.
//! With windows of 10 and 60 s and `close_after` 15 s a finding closes 75 s after its last event.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::super::sample::Moment;
use super::cause::Cause;
use super::finding::{Finding, Key};
use super::settings::Thresholds;
use crate::time::WallTime;

/// A finding that is open.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenFinding {
    /// As it was last seen.
    pub finding: Finding,
    /// Since when.
    pub since: WallTime,
    opened: Moment,
    seen: Moment,
}

impl OpenFinding {
    /// How long it has been open at `now`.
    pub fn age(&self, now: Moment) -> Duration {
        now.since(self.opened)
    }
}

/// A finding that opened, changed its name, or closed.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When.
    pub at: WallTime,
    /// What happened to it.
    pub change: Change,
    /// As it was last seen.
    pub finding: Finding,
}

/// What happened to a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was seen for the first time.
    Opened,
    /// More is known now: the same drops had this cause before.
    Renamed {
        /// The cause that was named before.
        from: Cause,
    },
    /// It has been absent long enough.
    Closed {
        /// From its opening to the last time it was seen.
        lasted: Duration,
    },
}

impl Change {
    /// One word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Renamed { .. } => "renamed",
            Self::Closed { .. } => "closed",
        }
    }
}

/// The open findings and the ring of events.
#[derive(Debug, Default)]
pub struct Tracker {
    open: BTreeMap<Key, OpenFinding>,
    events: VecDeque<Event>,
}

impl Tracker {
    /// The open findings, by leg.
    pub fn open(&self) -> impl Iterator<Item = &OpenFinding> {
        self.open.values()
    }

    /// What happened, oldest first.
    pub fn events(&self) -> impl DoubleEndedIterator<Item = &Event> {
        self.events.iter()
    }

    /// Takes in what is seen now; gives what changed by it.
    pub fn update(&mut self, now: Moment, findings: Vec<Finding>, thresholds: &Thresholds) -> Vec<Event> {
        let mut changes = Vec::new();
        for finding in findings {
            changes.extend(self.seen(now, finding));
        }
        let closing = |open: &OpenFinding| now.since(open.seen) >= thresholds.close_after;
        for (_, open) in self.open.extract_if(.., |_, open| closing(open)) {
            changes.push(Event {
                at: now.wall,
                change: Change::Closed {
                    lasted: open.seen.since(open.opened),
                },
                finding: open.finding,
            });
        }
        self.events.extend(changes.iter().cloned());
        let surplus = self.events.len().saturating_sub(thresholds.events_max);
        self.events.drain(..surplus);
        changes
    }

    fn seen(&mut self, now: Moment, mut finding: Finding) -> Option<Event> {
        let event = |change, finding| {
            Some(Event {
                at: now.wall,
                change,
                finding,
            })
        };
        let Some(open) = self.open.get_mut(&finding.key()) else {
            let opened = OpenFinding {
                finding: finding.clone(),
                since: now.wall,
                opened: now,
                seen: now,
            };
            self.open.insert(finding.key(), opened);
            return event(Change::Opened, finding);
        };
        open.seen = now;
        // Sockets are looked at less often than counters: what they once named stays named.
        if finding.subject.is_none() {
            finding.subject.clone_from(&open.finding.subject);
        }
        let from = open.finding.cause;
        if finding.cause == from {
            open.finding = finding;
            return None;
        }
        // The same drops read differently once they are over; only what is worse, or is seen right now, gets the name.
        if !finding.acute && finding.cause > from {
            return None;
        }
        open.finding = finding.clone();
        event(Change::Renamed { from }, finding)
    }
}
