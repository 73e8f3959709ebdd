//! When the next request is due. Pure: `now` comes in.

use std::time::{Duration, Instant};

/// How requests follow each other.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    kind: Kind,
    start: Option<Instant>,
    taken: u32,
}

#[derive(Clone, Debug)]
enum Kind {
    /// Whenever a connection is free, for this long.
    Closed(Duration),
    /// So many, one each interval.
    Open { interval: Duration, count: u32 },
}

impl Pace {
    /// Closed loop: whenever a connection is free, for this long.
    pub(crate) fn closed(time: Duration) -> Self {
        Self::new(Kind::Closed(time))
    }

    /// Open loop: `rate` requests per second for this long, due at equal distances.
    pub(crate) fn open(rate: f64, time: Duration) -> Self {
        let interval = Duration::from_secs_f64(1.0 / rate.max(1.0)).max(Duration::from_nanos(1));
        let count = u32::try_from(time.as_nanos() / interval.as_nanos()).unwrap_or(u32::MAX);
        Self::new(Kind::Open { interval, count })
    }

    /// So many requests, one after another without haste: one for each connection, when there are as many.
    pub(crate) fn count(count: u32) -> Self {
        let interval = Duration::from_micros(250);
        Self::new(Kind::Open { interval, count })
    }

    /// So many requests, each as soon as a connection is free.
    pub(crate) fn hasty(count: u32) -> Self {
        let interval = Duration::ZERO;
        Self::new(Kind::Open { interval, count })
    }

    fn new(kind: Kind) -> Self {
        Self {
            kind,
            start: None,
            taken: 0,
        }
    }

    /// Sets the moment from which it counts.
    pub(crate) fn start(&mut self, now: Instant) {
        self.start = Some(now);
    }

    /// Whether latency from the due moment means something.
    pub(crate) fn is_open_loop(&self) -> bool {
        matches!(self.kind, Kind::Open { .. })
    }

    /// Takes a request if one is due: the moment it was due.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Instant> {
        let due = match self.kind {
            Kind::Closed(_) if self.is_over(now) => return None,
            Kind::Closed(_) => now,
            Kind::Open { .. } => self.next_due()?,
        };
        if due > now {
            return None;
        }
        self.taken = self.taken.saturating_add(1);
        Some(due)
    }

    /// No request will be due any more.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        match self.kind {
            Kind::Closed(time) => self.start.is_some_and(|start| now >= start + time),
            Kind::Open { count, .. } => self.taken >= count,
        }
    }

    /// How long until the next request is due, if that is known.
    pub(crate) fn next_after(&self, now: Instant) -> Option<Duration> {
        self.next_due().map(|due| due.saturating_duration_since(now))
    }

    fn next_due(&self) -> Option<Instant> {
        match self.kind {
            Kind::Open { interval, count } if self.taken < count => Some(self.start? + interval * self.taken),
            Kind::Open { .. } | Kind::Closed(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn an_open_loop_does_not_wait_for_answers() {
        let start = clock_zero();
        let mut pace = Pace::open(1000.0, 3 * MS);
        pace.start(start);
        assert_eq!(pace.take(start), Some(start));
        assert_eq!(pace.take(start), None);
        assert_eq!(pace.next_after(start), Some(MS));
        // A stall of 10 ms: what was due meanwhile keeps its own moment.
        assert_eq!(pace.take(start + 10 * MS), Some(start + MS));
        assert_eq!(pace.take(start + 10 * MS), Some(start + 2 * MS));
        assert_eq!(pace.take(start + 10 * MS), None);
        assert!(pace.is_over(start));
        assert_eq!(pace.next_after(start), None);
    }

    #[test]
    fn a_closed_loop_ends_with_its_time() {
        let start = clock_zero();
        let mut pace = Pace::closed(5 * MS);
        pace.start(start);
        assert_eq!(pace.take(start + 4 * MS), Some(start + 4 * MS));
        assert_eq!(pace.take(start + 5 * MS), None);
        assert!(pace.is_over(start + 5 * MS));
    }

    #[test]
    fn a_count_is_a_number_of_requests() {
        let start = clock_zero();
        let mut pace = Pace::count(2);
        pace.start(start);
        let taken = [
            pace.take(start),
            pace.take(start),
            pace.take(start + MS),
            pace.take(start + MS),
        ];
        assert_eq!(taken, [Some(start), None, Some(start + MS / 4), None]);
    }

    fn clock_zero() -> Instant {
        crate::clock::now()
    }
}
