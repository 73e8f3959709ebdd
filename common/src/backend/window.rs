//! What the servers of a backend came to within a window of time, side by side: who is an outlier. Pure: `now` comes in.
//!
//! Looked at by the control thread (see `watch`); whether an outlier may be ejected is `ejection`'s to say.

use std::time::Duration;

use super::settings::EjectionSettings;
use super::times::Counts;

/// Where a window began, and what was counted until then.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    since: Duration,
    before: Vec<Totals>,
}

/// What was counted of one server since the process started.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    pub(super) tries: u64,
    pub(super) failures: u64,
    /// Times to the response head, where they are kept.
    pub(super) times: Option<Box<Counts>>,
}

/// What makes a server an outlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outlier {
    /// It fails more than the others.
    Errors,
    /// It takes longer than the others.
    Latency,
}

/// What one server came to within a window.
#[derive(Clone, Copy, Debug)]
struct Sample {
    tries: u64,
    failures: u64,
    median: Option<Duration>,
}

impl Window {
    /// When the window is over: which servers are outliers in it; the next one begins. `totals` is in the order of the
    /// servers, and only asked for then.
    pub(super) fn outliers(
        &mut self,
        now: Duration,
        settings: &EjectionSettings,
        totals: impl FnOnce() -> Vec<Totals>,
    ) -> Vec<(usize, Outlier)> {
        if now.saturating_sub(self.since) < settings.window {
            return Vec::new();
        }
        let totals = totals();
        self.before.resize(totals.len(), Totals::default());
        let samples: Vec<Sample> = totals
            .iter()
            .zip(&self.before)
            .map(|(now, before)| Sample::between(before, now, settings))
            .collect();
        *self = Self {
            since: now,
            before: totals,
        };
        let judged = (0..samples.len()).filter_map(|server| Some((server, judge(&samples, server, settings)?)));
        judged.collect()
    }
}

impl Sample {
    fn between(before: &Totals, now: &Totals, settings: &EjectionSettings) -> Self {
        let times = match (&now.times, &before.times) {
            (Some(now), Some(before)) => Some(now.since(before)),
            (Some(now), None) => Some(now.as_ref().clone()),
            (None, _) => None,
        };
        let is_known = |times: &Counts| times.total() >= u64::from(settings.tries_min.max(1));
        Self {
            tries: now.tries.saturating_sub(before.tries),
            failures: now.failures.saturating_sub(before.failures),
            median: times.filter(is_known).and_then(|times| times.percentile(50)),
        }
    }
}

fn judge(samples: &[Sample], server: usize, settings: &EjectionSettings) -> Option<Outlier> {
    let others = || {
        samples
            .iter()
            .enumerate()
            .filter(move |(i, _)| *i != server)
            .map(|(_, sample)| sample)
    };
    let own = &samples[server];
    let is_known = own.tries >= u64::from(settings.tries_min.max(1));
    if settings.error_percent > 0 && is_known && own.failures * 100 >= own.tries * u64::from(settings.error_percent) {
        let (tries, failures) = others().fold((0, 0), |(tries, failures), other| {
            (tries + other.tries, failures + other.failures)
        });
        // own / own.tries ≥ 2 · failures / tries: where the others fail nearly as much, it is not the server.
        if u128::from(own.failures) * u128::from(tries) >= 2 * u128::from(failures) * u128::from(own.tries) {
            return Some(Outlier::Errors);
        }
    }
    let limit = settings
        .latency_min
        .max(median(others().filter_map(|other| other.median))?.saturating_mul(settings.latency_factor));
    (settings.latency_factor > 0 && own.median? > limit).then_some(Outlier::Latency)
}

/// The one in the middle, the slower of two; `None` of none.
fn median(times: impl Iterator<Item = Duration>) -> Option<Duration> {
    let mut times: Vec<Duration> = times.collect();
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

impl Outlier {
    /// How the log calls it.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Errors => "its share of failed requests",
            Self::Latency => "its latency, compared with the others'",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::times::Times;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    const SETTINGS: EjectionSettings = EjectionSettings {
        failures: 5,
        statuses: Vec::new(),
        error_percent: 50,
        tries_min: 20,
        window: secs(10),
        latency_factor: 5,
        latency_min: Duration::from_millis(50),
        time: secs(10),
        time_max: secs(60),
        ejected_percent_max: 50,
    };

    /// Tries, failures and the median in milliseconds.
    fn totals((tries, failures, millis): (u64, u64, u64)) -> Totals {
        let times = Times::default();
        for _ in 0..tries {
            times.observe(Duration::from_millis(millis));
        }
        Totals {
            tries,
            failures,
            times: Some(Box::new(times.counts())),
        }
    }

    fn outliers(servers: &[(u64, u64, u64)], settings: &EjectionSettings) -> Vec<(usize, Outlier)> {
        let mut window = Window::default();
        let all = || servers.iter().copied().map(totals).collect();
        assert!(
            window.outliers(secs(9), settings, all).is_empty(),
            "the window is not over"
        );
        let found = window.outliers(secs(10), settings, all);
        assert!(window.outliers(secs(20), settings, all).is_empty(), "nothing new since");
        found
    }

    #[test]
    fn a_server_that_fails_or_dawdles_more_than_the_others_is_an_outlier() {
        use Outlier::{Errors, Latency};
        for (servers, expected) in [
            (&[(100, 0, 10), (100, 0, 10), (100, 0, 10)][..], &[][..]),
            (&[(100, 50, 10), (100, 0, 10), (100, 0, 10)], &[(0, Errors)]),
            (&[(100, 49, 10), (100, 0, 10), (100, 0, 10)], &[]),
            (&[(19, 19, 10), (100, 0, 10)], &[]),
            (&[(20, 20, 10), (100, 0, 10)], &[(0, Errors)]),
            (&[(20, 20, 10)], &[(0, Errors)]),
            // All fail: it is not a server.
            (&[(100, 80, 10), (100, 80, 10), (100, 60, 10)], &[]),
            (&[(100, 80, 10), (100, 40, 10)], &[(0, Errors)]),
            (&[(100, 0, 10), (100, 0, 100), (100, 0, 10)], &[(1, Latency)]),
            (&[(100, 0, 10), (100, 0, 45), (100, 0, 10)], &[]),
            (&[(100, 0, 1), (100, 0, 45), (100, 0, 1)], &[]),
            (&[(100, 0, 10), (19, 0, 900), (100, 0, 10)], &[]),
            (&[(100, 0, 900), (100, 0, 10)], &[(0, Latency)]),
            (&[(100, 0, 900), (5, 0, 10)], &[]),
            (&[(100, 0, 900)], &[]),
            (&[(100, 0, 900), (100, 0, 900), (100, 0, 10)], &[]),
        ] {
            assert_eq!(outliers(servers, &SETTINGS), expected, "{servers:?}");
        }
    }

    #[test]
    fn each_sign_can_be_switched_off() {
        let off = EjectionSettings {
            error_percent: 0,
            latency_factor: 0,
            ..SETTINGS
        };
        assert!(outliers(&[(100, 100, 900), (100, 0, 10)], &off).is_empty());
        let mut window = Window::default();
        let untimed = |tries| Totals {
            tries,
            ..Totals::default()
        };
        let found = window.outliers(secs(10), &SETTINGS, || vec![untimed(100), untimed(100)]);
        assert!(found.is_empty(), "no times are kept");
    }
}
