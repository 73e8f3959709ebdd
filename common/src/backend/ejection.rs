//! When a server is left alone for what requests to it came to, and for how long. Pure: `now` comes in.
//!
//! The signs are failures in a row, counted as they happen, and what `window` finds. Called by `watch`, which holds the
//! lock; does not log and does not count.

use std::time::Duration;

use super::settings::EjectionSettings;

/// What is remembered of one server.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    /// Ejections that are not yet forgiven.
    times: u32,
    /// The end of the last ejection.
    until: Option<Duration>,
}

impl History {
    /// Ejects: until when. Each further time is twice as long, up to the maximum; a server that stood for as long as an
    /// ejection lasts is forgiven one.
    pub(super) fn eject(&mut self, now: Duration, settings: &EjectionSettings) -> Duration {
        let stood = self.until.map_or(Duration::ZERO, |until| now.saturating_sub(until));
        let forgiven = stood.as_micros() / settings.time.as_micros().max(1);
        self.times = self.times.saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX));
        let factor = 1_u32.checked_shl(self.times).unwrap_or(u32::MAX);
        self.times = (self.times + 1).min(DOUBLINGS_MAX);
        let until = now + settings.time.saturating_mul(factor).min(settings.time_max);
        self.until = Some(until);
        until
    }
}

/// Enough for any maximum; keeps the doubling from overflowing.
const DOUBLINGS_MAX: u32 = 20;

/// Whether one more of `servers` may be ejected where `ejected` are: never the only one.
pub(super) fn has_room(ejected: usize, servers: usize, settings: &EjectionSettings) -> bool {
    let percent = usize::try_from(settings.ejected_percent_max).unwrap_or(100);
    let most = (servers * percent / 100).max(usize::from(servers > 1 && percent > 0));
    servers > 1 && ejected < most
}

/// Whether so many of `servers` are ejected or unhealthy that this is mistrusted: fewer than `percent` are well.
pub(super) const fn is_panic(well: usize, servers: usize, percent: u32) -> bool {
    well * 100 < servers * percent as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    const SETTINGS: EjectionSettings = EjectionSettings {
        failures: 5,
        statuses: Vec::new(),
        error_percent: 50,
        tries_min: 20,
        window: secs(10),
        latency_factor: 0,
        latency_min: secs(0),
        time: secs(10),
        time_max: secs(60),
        ejected_percent_max: 50,
    };

    #[test]
    fn each_ejection_lasts_twice_as_long_as_the_one_before_until_the_server_stands() {
        let mut history = History::default();
        let mut now = secs(100);
        for expected in [10, 20, 40, 60, 60] {
            let until = history.eject(now, &SETTINGS);
            assert_eq!(until - now, secs(expected));
            now = until;
        }
        now += secs(30); // three are forgiven, of five
        let until = history.eject(now, &SETTINGS);
        assert_eq!(until - now, secs(40));
        now = until + secs(3600);
        assert_eq!(history.eject(now, &SETTINGS) - now, secs(10));
    }

    #[test]
    fn many_ejections_do_not_overflow() {
        let mut history = History::default();
        for _ in 0..100 {
            assert!(history.eject(secs(5), &SETTINGS) <= secs(65));
        }
    }

    #[test]
    fn judgement_is_mistrusted_when_too_few_are_well() {
        for (well, servers, percent, expected) in [
            (0, 4, 0, false),
            (1, 4, 50, true),
            (2, 4, 50, false),
            (0, 1, 1, true),
            (9, 10, 100, true),
            (10, 10, 100, false),
        ] {
            assert_eq!(
                is_panic(well, servers, percent),
                expected,
                "{well} of {servers}, {percent} %"
            );
        }
    }

    #[test]
    fn no_more_than_a_share_may_be_ejected_and_never_the_only_one() {
        for (ejected, servers, percent, expected) in [
            (0, 1, 100, false),
            (0, 2, 50, true),
            (1, 2, 50, false),
            (1, 2, 100, true),
            (0, 3, 10, true),
            (1, 3, 50, false),
            (4, 10, 50, true),
            (5, 10, 50, false),
            (0, 10, 0, false),
        ] {
            let settings = EjectionSettings {
                ejected_percent_max: percent,
                ..SETTINGS
            };
            assert_eq!(
                has_room(ejected, servers, &settings),
                expected,
                "{ejected} of {servers}, {percent} %"
            );
        }
    }
}
