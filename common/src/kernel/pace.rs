//! When something dear is done again: not before its time, and not before it is worth its cost.
//!
//! Used by the sampler for walks over sockets.

use std::sync::Arc;
use std::time::Duration;

use super::reading::{Reading, Why};
use crate::time::{MonoTime, mono_now};

/// A count that took t is not repeated before 500 t: at most 0.2 % of one core.
const COST_SHARE: u32 = 500;
/// A call that comes a little early still counts anew.
const EARLY: Duration = Duration::from_millis(100);

/// A count that is taken anew when its time has come and it is worth its cost.
#[derive(Debug)]
pub(super) struct Paced<T> {
    interval: Duration,
    next: Option<MonoTime>,
    pub(super) last: Reading<Arc<T>>,
}

impl<T> Paced<T> {
    pub(super) fn every(interval: Duration) -> Self {
        Self {
            interval,
            next: None,
            last: Reading::Unavailable(Why::NotAsked("it has not been counted yet")),
        }
    }

    pub(super) fn due(&self, now: MonoTime) -> bool {
        self.next.is_none_or(|next| now >= next)
    }

    pub(super) fn keep(&mut self, started: MonoTime, count: Reading<T>) -> Reading<Arc<T>> {
        let cost = mono_now().saturating_duration_since(started);
        self.next = Some(started + self.interval.saturating_sub(EARLY).max(cost * COST_SHARE));
        self.last = count.map(Arc::new);
        self.last.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dear_is_counted_less_often() {
        let start = mono_now();
        let mut paced: Paced<u8> = Paced::every(Duration::from_secs(1));
        assert!(paced.due(start));
        paced.keep(start - Duration::from_secs(1), Reading::Available(1));
        assert!(
            !paced.due(start + Duration::from_secs(10)),
            "it took a second: not before 500 s"
        );
    }
}
