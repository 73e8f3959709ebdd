//! What every signature looks at: one window, the thresholds, and whose drops they are.

use std::collections::BTreeSet;
use std::fmt;

use super::super::counters::Counter;
use super::super::reading::Reading;
use super::super::sample::{Leg, Side};
use super::super::sockstat::ratio;
use super::super::sysctl::Sysctls;
use super::cause::{Cause, Certainty};
use super::finding::{Evidence, Finding, Whose};
use super::identity::Identity;
use super::settings::Thresholds;
use super::window::Window;

/// The legs on which this process listens and connects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roles {
    /// Legs whose server end it is: client-front of a front, front-cache of a cache server; none for the doctor.
    pub serves: Vec<Leg>,
    /// Legs whose client end it is.
    pub connects: Vec<Leg>,
}

/// One window under examination.
pub(super) struct Context<'a> {
    pub(super) window: &'a Window<'a>,
    pub(super) thresholds: &'a Thresholds,
    pub(super) roles: &'a Roles,
    /// `None` when ListenDrops is unavailable.
    pub(super) identity: Option<Identity>,
    /// No drop and no cookie for long enough that half-open connections are not left over from them.
    pub(super) settled: bool,
}

impl Context<'_> {
    /// What a counter grew by, 0 when unknown: for thresholds.
    pub(super) fn delta(&self, counter: Counter) -> u64 {
        self.window.deltas.or_zero(counter)
    }

    /// Whether a counter stood still; one that this kernel does not have may have moved.
    pub(super) fn stood_still(&self, counter: Counter) -> bool {
        self.window.deltas.get(counter) == Some(0)
    }

    /// Whether so many discarded segments are worth a word.
    pub(super) fn reportable(&self, count: u64) -> bool {
        let opens = self.delta(Counter::PassiveOpens);
        count >= self.thresholds.drops_min && (opens == 0 || ratio(count, opens) >= self.thresholds.drops_share)
    }

    /// Whether the window has drops worth a word, cookies that only look like drops excepted.
    pub(super) fn has_drops(&self) -> bool {
        self.identity.is_some_and(|identity| self.reportable(identity.lost()))
    }

    pub(super) fn settings(&self) -> &Sysctls {
        &self.window.last.settings
    }

    /// Adds a finding about drops: as ours, as far as our own sockets threw so many away, and the rest as other programs'.
    pub(super) fn attribute(&self, finding: Finding, findings: &mut Vec<Finding>) {
        let Some(own) = self.own_drops() else {
            return findings.push(finding);
        };
        let ours = finding.count.min(own);
        let others = finding.count - ours;
        let worth = |count| self.reportable(count) || (count > 0 && finding.cause == Cause::TwRecycle);
        match (worth(ours), worth(others)) {
            (true, false) => findings.push(Finding {
                whose: Whose::Ours,
                ..finding
            }),
            (false, true) => findings.push(self.of_others(&finding, finding.count, own)),
            (true, true) => {
                findings.push(self.of_others(&finding, others, own));
                findings.push(Finding {
                    whose: Whose::Ours,
                    ..self.counting(finding, ours)
                });
            }
            (false, false) => findings.push(finding),
        }
    }

    /// The same finding as one about other programs' listeners.
    pub(super) fn of_others(&self, finding: &Finding, count: u64, own: u64) -> Finding {
        let mut others = Finding {
            leg: Leg::Machine,
            whose: Whose::Others,
            subject: None,
            shards: Vec::new(),
            ..self.counting(finding.clone(), count)
        };
        others.evidence.push(Evidence::Sockets(format!(
            "the listeners of this process threw away {own}: these are other programs'"
        )));
        others
    }

    fn counting(&self, finding: Finding, count: u64) -> Finding {
        let share = self.share(count).filter(|_| finding.share.is_some());
        Finding {
            count,
            share,
            ..finding
        }
    }

    fn share(&self, count: u64) -> Option<f64> {
        let identity = self.identity.filter(|identity| identity.drops > 0);
        identity.map(|identity| ratio(count, identity.drops))
    }

    /// What the sockets of our listeners threw away: at least all of our part of ListenDrops, for `sk_drops` counts more
    /// than drops. `None` where it cannot be known, or where the listeners are not only ours (the doctor).
    pub(super) fn own_drops(&self) -> Option<u64> {
        let listeners = &self.window.listeners;
        if listeners.is_empty() || self.roles.serves.is_empty() || !self.window.vanished.is_empty() {
            return None;
        }
        listeners.iter().map(|listener| listener.drops).sum()
    }

    /// A finding about drops: `count` of them, on whichever leg they fell.
    pub(super) fn drop_finding(&self, cause: Cause, certainty: Certainty, count: u64) -> Finding {
        let (leg, subject) = self.whose_drops();
        let mut finding = Finding::new(self.window, cause, leg, Side::Server, certainty);
        finding.subject = subject;
        finding.count = count;
        finding.share = self.share(count);
        finding
    }

    /// A finding on the server side that is not about drops.
    pub(super) fn server_finding(&self, cause: Cause, certainty: Certainty, count: u64) -> Finding {
        let mut finding = Finding::new(self.window, cause, self.serving_leg(), Side::Server, certainty);
        finding.count = count;
        finding
    }

    pub(super) fn counter(&self, counter: Counter) -> Evidence {
        Evidence::Counter {
            counter,
            delta: self.window.deltas.get(counter),
            over: self.window.over,
        }
    }

    /// The leg that this process serves, when there is exactly one.
    pub(super) fn serving_leg(&self) -> Leg {
        match self.roles.serves.as_slice() {
            [leg] => *leg,
            _ => Leg::Machine,
        }
    }

    /// Whose listener has this port, its leg and its name.
    pub(super) fn owner_of_port(&self, port: u16) -> (Whose, Leg, Option<String>) {
        let listeners = &self.window.listeners;
        let known = listeners.iter().find(|listener| listener.last.port == Some(port));
        match known {
            Some(listener) if self.roles.serves.is_empty() => {
                (Whose::Anybody, listener.last.leg, Some(listener.last.name.to_string()))
            }
            Some(listener) => (Whose::Ours, listener.last.leg, Some(listener.last.name.to_string())),
            None if listeners.is_empty() || self.roles.serves.is_empty() => (Whose::Anybody, self.serving_leg(), None),
            None => (Whose::Others, Leg::Machine, None),
        }
    }

    /// Whether one of our listeners has this port.
    pub(super) fn is_own_port(&self, port: u16) -> bool {
        let mut listeners = self.window.listeners.iter();
        listeners.any(|listener| listener.last.port == Some(port))
    }

    /// On which leg, and if it was one only on which listener, the drops of the window fell, by `sk_drops`.
    ///
    /// Counters are the namespace's, so another program's listener may be meant: that is so when none of those looked at
    /// threw anything away.
    fn whose_drops(&self) -> (Leg, Option<String>) {
        let listeners = &self.window.listeners;
        if listeners.is_empty() || listeners.iter().any(|listener| listener.drops.is_none()) {
            return (self.serving_leg(), None);
        }
        let suffering = || {
            listeners
                .iter()
                .filter(|listener| listener.drops.is_some_and(|drops| drops > 0))
        };
        let legs: BTreeSet<Leg> = suffering().map(|listener| listener.last.leg).collect();
        let names: BTreeSet<&str> = suffering().map(|listener| &*listener.last.name).collect();
        let leg = if legs.len() == 1 { legs.first().copied() } else { None };
        let name = if names.len() == 1 {
            names.first().map(|name| (*name).to_owned())
        } else {
            None
        };
        (leg.unwrap_or(Leg::Machine), name)
    }
}

/// A setting as evidence.
pub(super) fn setting<T: fmt::Display>(name: &'static str, value: &Reading<T>) -> Evidence {
    Evidence::Setting {
        name,
        value: value.to_string(),
    }
}
