//! Waiting with a deadline: for a condition, and for one another (gates instead of sleeps).
//!
//! The only file of the tests that reads a clock or sleeps.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// How long anything may take before the test that waits for it fails. Far above what is ever needed, so that a loaded
/// machine does not fail a test; no test asserts on time.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A moment after which waiting is over.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// [`PATIENCE`] from now.
    pub fn soon() -> Self {
        Self::after(PATIENCE)
    }

    /// `time` from now.
    #[expect(clippy::disallowed_methods, reason = "the tests' only clock")]
    pub fn after(time: Duration) -> Self {
        Self(Instant::now() + time)
    }

    /// Time left; zero when it is over.
    #[expect(clippy::disallowed_methods, reason = "the tests' only clock")]
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether it is over.
    pub fn is_over(self) -> bool {
        self.left().is_zero()
    }

    /// The moment itself, for condition variables.
    pub const fn instant(self) -> Instant {
        self.0
    }
}

/// Waits until `condition` holds.
///
/// # Panics
/// When it does not hold within [`PATIENCE`], saying `what` was waited for.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Deadline::soon();
    while !condition() {
        assert!(!deadline.is_over(), "waited in vain until {what}");
        nap(Duration::from_millis(5));
    }
}

/// Lets `time` go by: between two looks at a condition, or to pace a slow peer. Never to hope that something happened.
#[expect(clippy::disallowed_methods, reason = "the tests' threads are nobody's worker")]
pub fn nap(time: Duration) {
    std::thread::sleep(time);
}

/// A gate that scripts stop at until a test opens it. Clones are the same gate.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<GateState>);

#[derive(Debug, Default)]
struct GateState {
    /// Whether it is open, and how many have come to it so far.
    state: Mutex<(bool, usize)>,
    changed: Condvar,
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets everybody through, now and later.
    pub fn open(&self) {
        self.0.state.lock().0 = true;
        self.0.changed.notify_all();
    }

    /// Arrives, and waits until the gate is open. `false`: it was not opened within [`PATIENCE`].
    #[must_use]
    pub fn pass(&self) -> bool {
        let mut state = self.0.state.lock();
        state.1 += 1;
        self.0.changed.notify_all();
        let deadline = Deadline::soon();
        while !state.0 {
            if self.0.changed.wait_until(&mut state, deadline.instant()).timed_out() {
                return state.0;
            }
        }
        true
    }

    /// Waits until `count` have arrived.
    ///
    /// # Panics
    /// When fewer have within [`PATIENCE`].
    #[track_caller]
    pub fn wait_for_arrivals(&self, count: usize) {
        let deadline = Deadline::soon();
        let mut state = self.0.state.lock();
        while state.1 < count {
            let timed_out = self.0.changed.wait_until(&mut state, deadline.instant()).timed_out();
            assert!(
                !timed_out || state.1 >= count,
                "{} of {count} arrived at the gate",
                state.1
            );
        }
    }
}
