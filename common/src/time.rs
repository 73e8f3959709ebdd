//! The clock: the only place in tidegate that reads one.
//!
//! Wall time ([`WallTime`]) is for Date, Expires and logs; monotonic time ([`MonoTime`]) is for resident time and
//! timeouts. They are different types, so that they cannot be mixed up. Decisions take `now` as an argument; code at the
//! rim gets it from a [`Clock`], which tests drive by hand.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Monotonic time, never compared with anything outside this process.
pub type MonoTime = tokio::time::Instant;

/// Wall time as microseconds since the Unix epoch; never before it. Stores keep some of each response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct WallTime(u64);

const MICROS_PER_SEC: u64 = 1_000_000;

impl WallTime {
    /// The moment `secs` whole seconds after the Unix epoch.
    pub const fn from_unix_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(MICROS_PER_SEC))
    }

    /// This long after the Unix epoch, without what is less than a microsecond.
    fn after_epoch(time: Duration) -> Self {
        Self(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
    }

    /// Whole seconds since the Unix epoch.
    pub const fn unix_secs(self) -> u64 {
        self.0 / MICROS_PER_SEC
    }

    /// Time since the Unix epoch.
    pub const fn since_epoch(self) -> Duration {
        Duration::from_micros(self.0)
    }

    /// Reads an HTTP date in any of the three formats (RFC 9110 §5.6.7); `None` when it is none of them.
    pub fn parse_http_date(text: &str) -> Option<Self> {
        let at = httpdate::parse_http_date(text).ok()?;
        at.duration_since(UNIX_EPOCH).ok().map(Self::after_epoch)
    }

    /// This moment as an IMF-fixdate (RFC 9110 §5.6.7).
    pub fn http_date(self) -> String {
        httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(self.unix_secs()))
    }

    /// How long after `earlier` this is; zero when it is not after.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// This moment moved into the future by `by`.
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(Self::after_epoch(by).0))
    }

    /// This moment moved into the past by `by`, at most to the epoch.
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(Self::after_epoch(by).0))
    }
}

/// Where time comes from: the system, or a test's hand.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The system's wall clock and tokio's monotonic one (which tests may pause).
    #[default]
    System,
    /// A wall clock that stands still until a test moves it.
    Manual(Arc<ManualClock>),
}

impl Clock {
    /// The wall time now.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system clock")]
    pub fn wall(&self) -> WallTime {
        match self {
            Self::System => WallTime::after_epoch(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()),
            Self::Manual(clock) => WallTime(clock.millis.load(Ordering::Relaxed).saturating_mul(1000)),
        }
    }

    /// The monotonic time now.
    pub fn mono(&self) -> MonoTime {
        mono_now()
    }
}

/// The monotonic time now, for timers of the I/O rim that have no [`Clock`] at hand.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
pub fn mono_now() -> MonoTime {
    MonoTime::now()
}

/// What the wall clock showed at a moment of the monotonic one.
///
/// Compared anew now and then, it tells the wall time of any moment near by, without a reading of the wall clock. When that
/// is set to another time, this is known from the next comparison on.
#[derive(Debug)]
pub struct Anchor {
    mono: MonoTime,
    // Microseconds, as in WallTime.
    wall: AtomicU64,
}

impl Anchor {
    /// Reads both clocks.
    pub fn new(clock: &Clock) -> Self {
        let anchor = Self {
            mono: clock.mono(),
            wall: AtomicU64::default(),
        };
        anchor.compare(clock);
        anchor
    }

    /// Reads both clocks again.
    pub fn compare(&self, clock: &Clock) {
        let since = clock.mono().saturating_duration_since(self.mono);
        self.wall.store(clock.wall().minus(since).0, Ordering::Relaxed);
    }

    /// The wall time at a moment of the monotonic clock.
    pub fn wall_at(&self, at: MonoTime) -> WallTime {
        WallTime(self.wall.load(Ordering::Relaxed)).plus(at.saturating_duration_since(self.mono))
    }
}

/// A wall clock for tests, in milliseconds since the Unix epoch.
#[derive(Default)]
pub struct ManualClock {
    millis: AtomicU64,
}

impl ManualClock {
    /// A clock standing at `now`.
    pub fn at(now: WallTime) -> Arc<Self> {
        let clock = Arc::new(Self::default());
        clock.advance(now.since_epoch());
        clock
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.millis.fetch_add(millis, Ordering::Relaxed);
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ManualClock").field(&self.millis).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_anchor_tells_the_wall_time_of_moments_and_learns_of_a_clock_that_was_set() {
        let manual = ManualClock::at(WallTime::from_unix_secs(1000));
        let clock = Clock::Manual(Arc::clone(&manual));
        let anchor = Anchor::new(&clock);
        let start = anchor.mono;
        let near = |at: MonoTime, secs| {
            let off = anchor.wall_at(at).since_epoch().abs_diff(Duration::from_secs(secs));
            assert!(off < Duration::from_secs(1), "{off:?}");
        };
        near(start, 1000);
        near(start + Duration::from_secs(60), 1060);
        manual.advance(Duration::from_secs(3600));
        near(start + Duration::from_secs(60), 1060);
        anchor.compare(&clock);
        near(start + Duration::from_secs(60), 4660);
    }

    #[test]
    fn all_three_http_date_formats_name_the_same_moment() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(
                WallTime::parse_http_date(text),
                Some(WallTime::from_unix_secs(784_111_777)),
                "{text}"
            );
        }
        assert_eq!(
            WallTime::from_unix_secs(784_111_777).http_date(),
            "Sun, 06 Nov 1994 08:49:37 GMT"
        );
        assert_eq!(WallTime::parse_http_date("0"), None);
    }

    #[test]
    fn a_manual_clock_moves_only_by_hand() {
        let hand = ManualClock::at(WallTime::from_unix_secs(100));
        let clock = Clock::Manual(Arc::clone(&hand));
        assert_eq!(clock.wall().unix_secs(), 100);
        hand.advance(Duration::from_secs(5));
        assert_eq!(clock.wall().unix_secs(), 105);
    }
}
