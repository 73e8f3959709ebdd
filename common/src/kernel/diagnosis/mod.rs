//! From samples to findings: which leg loses handshakes, why, how sure that is, and what to do.
//!
//! Pure: samples in, findings out, no clock and no I/O. [`Engine::observe`] takes one sample per second; [`diagnose`] judges
//! one window. The identity is HANDSHAKE §1, the signatures are §8, their thresholds [`settings::Thresholds`].

pub mod settings; // thresholds
pub mod cause; // every cause: its word, symptom, remedy
pub mod window; // the samples of the last minute, and what changed
pub mod finding; // one cause found, with its evidence
pub mod identity; // what ListenDrops is made of
pub mod context; // what a signature looks at
mod overflow; // signatures: accept queue full
mod drops; // signatures: the other drops
mod around; // signatures: no drop, or not at a listener
mod client; // signatures: own connects
pub mod tracker; // findings over time
pub mod legs; // verdict and key numbers per leg

#[cfg(test)]
pub(super) mod fixtures;
#[cfg(test)]
mod neighbours;
#[cfg(test)]
mod scenarios;

use std::collections::BTreeMap;

use super::counters::Counter;
use super::reading::Why;
use super::sample::Sample;
use cause::Impact;
use context::{Context, Roles};
use finding::Finding;
use identity::Identity;
use legs::LegReport;
use settings::Thresholds;
use tracker::{Event, OpenFinding, Tracker};
use window::{History, NewBaseline, Window};

/// What one window shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Diagnosis {
    /// What the drops are made of; `None` when ListenDrops is unavailable.
    pub identity: Option<Identity>,
    /// What is wrong, or may become so.
    pub findings: Vec<Finding>,
    /// Explanations of counters that rise although nothing is wrong.
    pub harmless: Vec<Finding>,
}

/// Judges one window. `settled`: see [`Thresholds::settle`].
pub fn diagnose(window: &Window<'_>, thresholds: &Thresholds, roles: &Roles, settled: bool) -> Diagnosis {
    let identity = Identity::of(window);
    let context = Context {
        window,
        thresholds,
        roles,
        identity,
        settled,
    };
    let mut findings = Vec::new();
    drops::find(&context, &mut findings);
    overflow::find(&context, &mut findings);
    around::find(&context, &mut findings);
    client::find(&context, &mut findings);
    let (harmless, findings) = findings
        .into_iter()
        .partition(|finding| finding.impact() == Impact::Harmless);
    Diagnosis {
        identity,
        findings,
        harmless,
    }
}

/// The diagnosis of a running process: the samples of the last minute and the findings that are open.
#[derive(Debug, Default)]
pub struct Engine {
    thresholds: Thresholds,
    roles: Roles,
    history: History,
    tracker: Tracker,
    harmless: Vec<Finding>,
}

/// What one more sample brought.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// Findings that opened, changed their name or closed: one log line each.
    pub events: Vec<Event>,
    /// Why earlier samples had to be given up, if they had.
    pub new_baseline: Option<NewBaseline>,
}

impl Engine {
    /// An engine without samples; the first one is only a baseline.
    pub fn new(thresholds: Thresholds, roles: Roles) -> Self {
        Self {
            thresholds,
            roles,
            ..Self::default()
        }
    }

    /// Takes in one sample.
    pub fn observe(&mut self, sample: Sample) -> Observed {
        let now = sample.at;
        let new_baseline = self
            .history
            .push(sample, self.thresholds.settle.max(self.thresholds.windows[1]));
        let settled = self
            .history
            .window(self.thresholds.settle)
            .is_some_and(|window| is_settled(&window));
        let mut findings = BTreeMap::new();
        let mut harmless = BTreeMap::new();
        // The short window comes first: it knows best what happens now.
        for length in self.thresholds.windows {
            let Some(window) = self.history.window(length) else {
                continue;
            };
            let diagnosis = diagnose(&window, &self.thresholds, &self.roles, settled);
            for finding in diagnosis.findings {
                findings.entry(finding.key()).or_insert(finding);
            }
            for finding in diagnosis.harmless {
                harmless.entry(finding.key()).or_insert(finding);
            }
        }
        self.harmless = harmless.into_values().collect();
        Observed {
            events: self
                .tracker
                .update(now, findings.into_values().collect(), &self.thresholds),
            new_baseline,
        }
    }

    /// The open findings.
    pub fn open(&self) -> impl Iterator<Item = &OpenFinding> {
        self.tracker.open()
    }

    /// Explanations of counters that rise although nothing is wrong.
    pub fn harmless(&self) -> &[Finding] {
        &self.harmless
    }

    /// The last openings and closings, oldest first.
    pub fn events(&self) -> impl DoubleEndedIterator<Item = &Event> {
        self.tracker.events()
    }

    /// The newest sample.
    pub fn last(&self) -> Option<&Sample> {
        self.history.last()
    }

    /// What changed over the last 10 s and 60 s; `None` while there is only a baseline.
    pub fn windows(&self) -> [Option<Window<'_>>; 2] {
        self.thresholds.windows.map(|length| self.history.window(length))
    }

    /// The three legs with their verdicts, and the machine where no leg is served.
    pub fn legs(&self) -> Vec<LegReport> {
        let [_, long] = self.windows();
        legs::reports(&self.roles, self.last(), long.as_ref(), &self.tracker)
    }

    /// Why nothing can be said about lost handshakes, if so.
    pub fn blind(&self) -> Option<Why> {
        self.last().and_then(|sample| sample.netstat.why())
    }

    /// The ends of legs that the process is.
    pub fn roles(&self) -> &Roles {
        &self.roles
    }

    /// The thresholds.
    pub fn thresholds(&self) -> &Thresholds {
        &self.thresholds
    }
}

/// No drop and no cookie: what is half-open is not left over from an incident.
fn is_settled(window: &Window<'_>) -> bool {
    [Counter::ListenDrops, Counter::ReqQFullDoCookies]
        .iter()
        .all(|&counter| window.deltas.or_zero(counter) == 0)
}
