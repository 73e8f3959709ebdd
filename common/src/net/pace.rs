//! How often: waits that grow while something fails, and log lines that do not flood.
//!
//! Pure but for the state each value holds; `now` is an argument. Used by `net::accept` and `serve::thread`.

use std::time::Duration;

use crate::time::MonoTime;

/// Waits that double from one failure to the next.
#[derive(Debug, Default)]
pub struct Backoff {
    /// What the next failure waits; `None` after a success.
    next: Option<Duration>,
}

impl Backoff {
    /// The wait after one more failure.
    pub fn failed(&mut self) -> Duration {
        let wait = self.next.unwrap_or(WAIT_MIN);
        self.next = Some((wait * 2).min(WAIT_MAX));
        wait
    }

    /// Something succeeded: the next failure waits the shortest time again.
    pub fn succeeded(&mut self) {
        self.next = None;
    }
}

/// Lets one log line through per ten seconds, and knows how many it held back.
#[derive(Debug, Default)]
pub struct LogGate {
    closed_until: Option<MonoTime>,
    held_back: u64,
}

impl LogGate {
    /// Whether a line may be written at `now`: with how many were held back since the last one.
    pub fn admit(&mut self, now: MonoTime) -> Option<u64> {
        if self.closed_until.is_some_and(|until| now < until) {
            self.held_back += 1;
            return None;
        }
        self.closed_until = Some(now + LOG_INTERVAL);
        Some(std::mem::take(&mut self.held_back))
    }
}

const WAIT_MIN: Duration = Duration::from_millis(10);
const WAIT_MAX: Duration = Duration::from_secs(1);
const LOG_INTERVAL: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::mono_now;

    #[test]
    fn waits_double_from_10_ms_to_1_s_and_start_anew_after_a_success() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..9).map(|_| backoff.failed().as_millis()).collect();
        assert_eq!(waits, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        backoff.succeeded();
        assert_eq!(backoff.failed(), WAIT_MIN);
    }

    #[test]
    fn a_flood_of_lines_becomes_one_per_interval_with_their_number() {
        let mut gate = LogGate::default();
        let start = mono_now();
        assert_eq!(gate.admit(start), Some(0));
        assert_eq!(gate.admit(start), None);
        assert_eq!(gate.admit(start + LOG_INTERVAL / 2), None);
        assert_eq!(gate.admit(start + LOG_INTERVAL), Some(2));
        assert_eq!(gate.admit(start + LOG_INTERVAL), None);
    }
}
