//! Stop taking, finish what runs: what a worker tells its connections, and what it hears from them.
//!
//! One [`Drain`] per worker, so that waiting on it contends with no other worker. `serve::workers` starts it and decides
//! when to cut; connections only ever ask or wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::time::MonoTime;

/// One worker's drain, as its connections see it. A clone is a reference count.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    state: Arc<State>,
}

/// What all workers of a process are told; it only ever moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Taking connections.
    Serving,
    /// Finishing what runs.
    Draining {
        /// When what still runs is cut.
        deadline: MonoTime,
    },
    /// Ending now.
    Cut,
}

/// How the connections ended that were open when a drain began, or still queued then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrainReport {
    /// By themselves, in time.
    pub finished: usize,
    /// By the deadline, or by being told to end at once.
    pub cut: usize,
}

#[derive(Debug, Default)]
struct State {
    draining: AtomicBool,
    /// Wakes everybody when `draining` becomes true.
    begun: Notify,
    /// Connections that are open.
    open: AtomicUsize,
    /// Wakes everybody when `open` becomes 0.
    emptied: Notify,
}

impl Drain {
    /// A drain that has not begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the worker is draining: one atomic load.
    ///
    /// An exchange that runs is finished with `Connection: close`. A connection that was accepted before and has sent
    /// nothing yet may have been queued with its request on the way: it is given the time for one request head.
    pub fn is_draining(&self) -> bool {
        self.state.draining.load(Ordering::Acquire)
    }

    /// Waits until the worker is draining.
    ///
    /// Made once per connection and polled again it costs an uncontended lock per poll.
    pub async fn draining(&self) {
        // Before the question: a `Notified` hears every `notify_waiters` after it was made.
        let begun = self.state.begun.notified();
        if !self.is_draining() {
            begun.await;
        }
    }

    /// Begins the drain; a second time it does nothing.
    pub fn start(&self) {
        self.state.draining.store(true, Ordering::Release);
        self.state.begun.notify_waiters();
    }

    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.state.open.load(Ordering::Acquire)
    }

    /// Waits until no connection is open.
    pub async fn ended(&self) {
        loop {
            let emptied = self.state.emptied.notified();
            if self.open() == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// One more connection is open.
    pub(super) fn entered(&self) {
        self.state.open.fetch_add(1, Ordering::AcqRel);
    }

    /// One connection less is open.
    pub(super) fn left(&self) {
        let before = self.state.open.fetch_sub(1, Ordering::AcqRel);
        debug_assert!(before > 0, "a connection left twice");
        if before == 1 {
            self.state.emptied.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn is_ready(future: std::pin::Pin<&mut impl Future<Output = ()>>) -> bool {
        future.poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
    }

    #[test]
    fn those_who_wait_before_and_after_the_start_are_told() {
        let drain = Drain::new();
        let mut waiting = pin!(drain.draining());
        let mut not_polled_yet = pin!(drain.draining());
        assert!(!is_ready(waiting.as_mut()));
        assert!(!drain.is_draining());
        drain.clone().start();
        assert!(drain.is_draining());
        assert!(is_ready(waiting));
        assert!(is_ready(not_polled_yet.as_mut()));
        assert!(is_ready(pin!(drain.draining())));
    }

    #[test]
    fn it_has_ended_when_the_last_connection_left() {
        let drain = Drain::new();
        assert!(is_ready(pin!(drain.ended())), "nothing was open");
        drain.entered();
        drain.entered();
        let mut ended = pin!(drain.ended());
        assert!(!is_ready(ended.as_mut()));
        drain.left();
        assert!(!is_ready(ended.as_mut()));
        drain.left();
        assert!(is_ready(ended));
    }
}
