//! How many client connections the whole process has, at most.
//!
//! A connection is counted after accept and shed when there are too many: a queue that nobody accepts from would show
//! as ListenOverflows, and its clients would wait for a timeout instead of seeing a close.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The limit of client connections, shared by all workers.
#[derive(Debug)]
pub struct ConnectionLimit {
    max: usize,
    // INVARIANT: never above `max`, and back at 0 when all connections have ended.
    open: AtomicUsize,
}

impl ConnectionLimit {
    /// At most `max` connections.
    pub const fn new(max: usize) -> Self {
        Self {
            max,
            open: AtomicUsize::new(0),
        }
    }

    /// Takes a place, if there is one.
    pub(super) fn take(&self) -> bool {
        let one_more = |open| (open < self.max).then_some(open + 1);
        self.open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .is_ok()
    }

    /// Gives one place back.
    pub(super) fn give_back(&self) {
        let before = self.open.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "a place was given back twice");
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_places_are_given_than_there_are() {
        let limit = ConnectionLimit::new(2);
        assert!(limit.take() && limit.take());
        assert!(!limit.take());
        assert_eq!(limit.open(), 2, "a refusal takes nothing");
        limit.give_back();
        assert!(limit.take());
    }

    #[test]
    fn threads_together_never_exceed_the_limit() {
        let limit = ConnectionLimit::new(3);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        if limit.take() {
                            assert!(limit.open() <= 3);
                            limit.give_back();
                        }
                    }
                });
            }
        });
        assert_eq!(limit.open(), 0);
    }
}
