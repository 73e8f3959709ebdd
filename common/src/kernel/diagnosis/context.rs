//! What every signature looks at: one window, the thresholds, and whose drops they are.

use std::collections::BTreeSet;
use std::fmt;

use super::super::counters::Counter;
use super::super::reading::Reading;
use super::super::sample::{Leg, Side};
use super::super::sockstat::ratio;
use super::super::sysctl::Sysctls;
use super::cause::{Cause, Certainty};
use super::finding::{Evidence, Finding};
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

    /// A finding about drops: `count` of them, on whichever leg they fell.
    pub(super) fn drop_finding(&self, cause: Cause, certainty: Certainty, count: u64) -> Finding {
        let (leg, subject) = self.whose_drops();
        let mut finding = Finding::new(self.window, cause, leg, Side::Server, certainty);
        finding.subject = subject;
        finding.count = count;
        finding.share = self
            .identity
            .filter(|identity| identity.drops > 0)
            .map(|identity| ratio(count, identity.drops));
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

    /// The listener with this port.
    pub(super) fn leg_of_port(&self, port: u16) -> (Leg, Option<String>) {
        let listener = self
            .window
            .listeners
            .iter()
            .find(|listener| listener.last.port == Some(port));
        listener.map_or_else(
            || (self.serving_leg(), None),
            |listener| (listener.last.leg, Some(listener.last.name.to_string())),
        )
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
