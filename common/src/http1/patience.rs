//! How long a client is waited for: never longer than a timeout at once, and over time not at less than a rate.
//!
//! Only waiting counts: a client is not blamed for a slow origin, nor for what we do not read. It has as much time to waste
//! as `grace`; waiting spends it, bytes earn it back. So a client that stalls now and then passes, and one that sends or
//! takes single bytes for ever does not. Used for request bodies and for responses, of both protocols.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::deadline::Deadline;
use crate::http::body::BodyError;
use crate::serve::settings::Pace;
use crate::time::{MonoTime, mono_now};

/// The patience with one message.
#[derive(Debug)]
pub(crate) struct Patience {
    /// Time that the client may still waste.
    left: Duration,
    waiting: Option<Waiting>,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    since: MonoTime,
    /// What the client had acknowledged at the last look; `None` before the first one.
    seen: Option<Option<u64>>,
}

/// Why there is no patience left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// Nothing moved for the timeout.
    Stalled,
    /// It moved, but too slowly for too long.
    Slow,
}

impl Patience {
    /// For one message.
    pub(crate) const fn new(pace: &Pace) -> Self {
        Self {
            left: pace.grace,
            waiting: None,
        }
    }

    /// Bytes moved, or there is nothing to wait for any more.
    pub(crate) fn moved(&mut self, bytes: u64, pace: &Pace, deadline: &mut Deadline) {
        let waited = match self.waiting.take() {
            Some(waiting) => {
                deadline.clear();
                mono_now().saturating_duration_since(waiting.since)
            }
            None if self.left == pace.grace => return,
            None => Duration::ZERO,
        };
        self.left = after(self.left, waited, bytes, pace);
    }

    /// Waits for the client; ready when it has let us wait too long.
    ///
    /// `acknowledged` tells how many bytes the client's kernel has taken so far, where ours knows that: what waits in our
    /// socket's buffer leaves it in large steps, each of which takes a slow client minutes.
    pub(crate) fn poll(
        &mut self,
        pace: &Pace,
        deadline: &mut Deadline,
        acknowledged: impl Fn() -> Option<u64>,
        cx: &mut Context<'_>,
    ) -> Poll<Lost> {
        loop {
            let Some(waiting) = self.waiting else {
                let since = mono_now();
                self.waiting = Some(Waiting { since, seen: None });
                // Half of it first: what was acknowledged by then is what the end is compared with.
                deadline.set(since + allowed(self.left, pace) / 2);
                continue;
            };
            ready!(deadline.poll(cx));
            let seen = acknowledged();
            let since = match waiting.seen {
                None => {
                    deadline.set(waiting.since + allowed(self.left, pace));
                    waiting.since
                }
                Some(before) => {
                    let bytes = seen.zip(before).map_or(0, |(now, before)| now.saturating_sub(before));
                    if bytes == 0 {
                        return Poll::Ready(self.lost(pace));
                    }
                    let now = mono_now();
                    self.left = after(self.left, now.saturating_duration_since(waiting.since), bytes, pace);
                    deadline.set(now + allowed(self.left, pace));
                    now
                }
            };
            self.waiting = Some(Waiting {
                since,
                seen: Some(seen),
            });
        }
    }

    fn lost(&self, pace: &Pace) -> Lost {
        if self.left < pace.timeout && pace.rate_min > 0 {
            Lost::Slow
        } else {
            Lost::Stalled
        }
    }
}

impl From<Lost> for BodyError {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Stalled => Self::ClientTimeout,
            Lost::Slow => Self::ClientSlow,
        }
    }
}

/// How long the client may let us wait now.
fn allowed(left: Duration, pace: &Pace) -> Duration {
    if pace.rate_min == 0 {
        return pace.timeout;
    }
    pace.timeout.min(left)
}

/// What is left of `left` after a wait, and after bytes that came of it.
fn after(left: Duration, waited: Duration, bytes: u64, pace: &Pace) -> Duration {
    const NANOS: u64 = 1_000_000_000;
    let Some(earned) = bytes.saturating_mul(NANOS).checked_div(pace.rate_min) else {
        return pace.grace;
    };
    let left = left.saturating_sub(waited);
    left.saturating_add(Duration::from_nanos(earned)).min(pace.grace)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;

    use super::*;

    const PACE: Pace = Pace {
        timeout: Duration::from_secs(30),
        rate_min: 100,
        grace: Duration::from_secs(20),
    };

    #[test]
    fn waiting_spends_and_bytes_earn_but_never_more_than_the_grace() {
        let secs = Duration::from_secs;
        for (left, waited, bytes, expected) in [
            (20, 5, 0, 15),
            (20, 5, 100, 16),
            (15, 5, 1_000_000, 20),
            (3, 5, 200, 2),
            (0, 0, 0, 0),
        ] {
            assert_eq!(after(secs(left), secs(waited), bytes, &PACE), secs(expected));
        }
        let free = Pace { rate_min: 0, ..PACE };
        assert_eq!(after(secs(1), secs(100), 0, &free), free.grace);
        assert_eq!(allowed(secs(1), &free), free.timeout);
        assert_eq!(after(secs(0), secs(0), u64::MAX, &PACE), PACE.grace, "no overflow");
    }

    /// Feeds `bytes` each `every` until patience is lost, or ten minutes went by.
    async fn drip(bytes: u64, every: Duration) -> Option<Lost> {
        let (mut patience, mut deadline) = (Patience::new(&PACE), Deadline::default());
        for _ in 0..600_000 / every.as_millis() {
            let waits = poll_fn(|cx| patience.poll(&PACE, &mut deadline, || None, cx));
            if let Ok(lost) = tokio::time::timeout(every, waits).await {
                return Some(lost);
            }
            patience.moved(bytes, &PACE, &mut deadline);
        }
        None
    }

    #[tokio::test(start_paused = true)]
    async fn a_dripping_client_is_given_up_and_a_slow_one_is_not() {
        assert_eq!(drip(1, Duration::from_secs(1)).await, Some(Lost::Slow));
        assert_eq!(drip(150, Duration::from_secs(1)).await, None);
        assert_eq!(
            drip(2_000, Duration::from_secs(15)).await,
            None,
            "it stalls, and makes up for it"
        );
        assert_eq!(drip(1_000_000, Duration::from_secs(31)).await, Some(Lost::Slow));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stall_lasts_no_longer_than_the_timeout_where_no_rate_is_asked() {
        let pace = Pace { rate_min: 0, ..PACE };
        let (mut patience, mut deadline) = (Patience::new(&pace), Deadline::default());
        let begun = mono_now();
        let lost = poll_fn(|cx| patience.poll(&pace, &mut deadline, || None, cx)).await;
        assert_eq!((lost, mono_now() - begun), (Lost::Stalled, pace.timeout));
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_clients_kernel_has_taken_counts_though_our_socket_takes_nothing() {
        for (per_look, expected) in [(0, Duration::from_secs(20)), (10_000, Duration::MAX)] {
            let (mut patience, mut deadline) = (Patience::new(&PACE), Deadline::default());
            let taken = Cell::new(0);
            let begun = mono_now();
            let waits = poll_fn(|cx| {
                let look = || {
                    taken.set(taken.get() + per_look);
                    Some(taken.get())
                };
                patience.poll(&PACE, &mut deadline, look, cx)
            });
            let lost = tokio::time::timeout(Duration::from_secs(600), waits).await;
            assert_eq!(lost.is_err(), expected == Duration::MAX);
            assert!(lost.is_err() || mono_now() - begun == expected);
        }
    }
}
