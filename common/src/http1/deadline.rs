//! One lazy timer per connection.
//!
//! Moving a tokio timer costs a lock; a connection moves its deadline at every request. So the deadline is a plain value,
//! and the timer is only touched when it fires too early or when the deadline moves nearer.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep_until};

use crate::time::{MonoTime, mono_now};

/// A deadline that is cheap to move.
#[derive(Debug, Default)]
pub(crate) struct Deadline {
    at: Option<MonoTime>,
    // INVARIANT: fires no later than `at`, where both are set.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// Sets the deadline; the next [`Self::poll`] sees it.
    pub(crate) fn set(&mut self, at: MonoTime) {
        self.at = Some(at);
    }

    /// Sets the deadline `after` from now, unless one is set already.
    pub(crate) fn start(&mut self, after: Duration) {
        self.start_from(mono_now, after);
    }

    /// Sets the deadline `after` from a moment that is asked for only where none is set already.
    pub(crate) fn start_from(&mut self, since: impl FnOnce() -> MonoTime, after: Duration) {
        if self.at.is_none() {
            self.at = Some(since() + after);
        }
    }

    /// No deadline, for now.
    pub(crate) fn clear(&mut self) {
        self.at = None;
    }

    /// Forgets the timer too: it belongs to the reactor of one worker.
    pub(crate) fn unhome(&mut self) {
        *self = Self::default();
    }

    /// Ready when the deadline has passed.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if timer.deadline() > at {
            timer.as_mut().reset(at);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if timer.deadline() >= at {
                self.at = None;
                // A timer that has fired must not be polled again as it is.
                self.timer = None;
                return Poll::Ready(());
            }
            timer.as_mut().reset(at);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_was_moved_fires_at_its_last_place() {
        let start = mono_now();
        let mut deadline = Deadline::default();
        deadline.set(start + Duration::from_secs(1));
        poll_fn(|cx| {
            assert!(deadline.poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        deadline.set(start + Duration::from_secs(5));
        poll_fn(|cx| deadline.poll(cx)).await;
        assert_eq!(mono_now() - start, Duration::from_secs(5));
        deadline.set(start + Duration::from_secs(100));
        deadline.set(start + Duration::from_secs(7));
        poll_fn(|cx| deadline.poll(cx)).await;
        assert_eq!(mono_now() - start, Duration::from_secs(7));
    }
}
