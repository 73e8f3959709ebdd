//! The clock of the benchmark: the only file here that reads one, or waits.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, bail};

use crate::sys;

/// Now.
#[expect(clippy::disallowed_methods, reason = "measuring time is what this program is for")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Asks every 5 ms until `ready` gives something.
///
/// # Errors
/// The limit is over, `ready` fails, or somebody wants us to stop.
pub(crate) fn poll_until<T>(what: &str, limit: Duration, mut ready: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = now() + limit;
    loop {
        if let Some(value) = ready()? {
            return Ok(value);
        }
        if sys::interrupted() {
            bail!("interrupted while waiting for {what}");
        }
        if now() >= deadline {
            bail!("{what}: not within {} s", limit.as_secs());
        }
        nap();
    }
}

/// Waits, unless somebody wants us to stop.
///
/// # Errors
/// Somebody wants us to stop.
pub(crate) fn pause(time: Duration) -> Result<()> {
    let until = now() + time;
    poll_until("a pause", time + Duration::from_secs(1), || {
        Ok((now() >= until).then_some(()))
    })
}

/// The time of day.
#[expect(
    clippy::disallowed_methods,
    reason = "the origin's Date, and the names of result files"
)]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}

/// A moment's rest between two questions.
#[expect(clippy::disallowed_methods, reason = "a child that ends cannot be polled for")]
pub(crate) fn nap() {
    std::thread::sleep(Duration::from_millis(5));
}

/// A scripted origin's slowness, on a thread of its own.
#[expect(clippy::disallowed_methods, reason = "a thread that has nothing else to do")]
pub(crate) fn sleep(time: Duration) {
    std::thread::sleep(time);
}
