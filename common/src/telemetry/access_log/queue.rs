//! Full buffers on their way from the workers to the thread that writes them, and empty ones on their way back.
//!
//! Locked for the moment of handing a buffer over, once per 64 KiB or so; nobody waits for a disk while holding the lock.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Lines that belong together because they were handed over together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Whole lines.
    pub(super) bytes: Vec<u8>,
    /// How many.
    pub(super) lines: u64,
}

/// Full buffers on their way to the thread, and empty ones on their way back.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// There is something to do.
    wake: Condvar,
    /// The thread has ended.
    ended: Condvar,
    /// Lines that were handed over and could not be written.
    lines_failed: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    // INVARIANT: at most QUEUE_MAX.
    full: VecDeque<Batch>,
    // INVARIANT: at most EMPTY_MAX, all of them empty.
    empty: Vec<Vec<u8>>,
    /// The target is to be opened anew after so many of `full`.
    reopen_after: Option<usize>,
    closing: bool,
    ended: bool,
}

impl Queue {
    /// Takes the lines of `batch` and leaves it empty; false when there is no room and they are lost.
    pub(super) fn push(&self, batch: &mut Batch, buffer_bytes: usize) -> bool {
        let mut state = self.state.lock();
        if state.full.len() >= QUEUE_MAX || state.closing {
            drop(state);
            batch.bytes.clear();
            batch.lines = 0;
            return false;
        }
        let next = state.empty.pop();
        state.full.push_back(std::mem::take(batch));
        drop(state);
        self.wake.notify_one();
        batch.bytes = next.unwrap_or_else(|| Vec::with_capacity(buffer_bytes + LINE_BYTES));
        true
    }

    /// Waits for something to do.
    pub(super) fn next(&self) -> Task {
        let mut state = self.state.lock();
        loop {
            if state.reopen_after == Some(0) {
                state.reopen_after = None;
                return Task::Reopen;
            }
            if let Some(batch) = state.full.pop_front() {
                state.reopen_after = state.reopen_after.map(|batches| batches - 1);
                return Task::Write(batch);
            }
            if state.closing {
                return Task::End;
            }
            self.wake.wait(&mut state);
        }
    }

    /// Takes the buffer back for the workers, unless there are enough, or one long line has made it large.
    pub(super) fn take_back(&self, batch: Batch, written: bool) {
        if !written {
            self.lines_failed.fetch_add(batch.lines, Ordering::Relaxed);
        }
        let mut bytes = batch.bytes;
        bytes.clear();
        let mut state = self.state.lock();
        if state.empty.len() < EMPTY_MAX && bytes.capacity() <= RECYCLED_BYTES_MAX {
            state.empty.push(bytes);
        }
    }

    pub(super) fn lines_failed(&self) -> u64 {
        self.lines_failed.load(Ordering::Relaxed)
    }

    /// Asks for the target to be opened anew, after what is in the queue now.
    pub(super) fn reopen(&self) {
        let mut state = self.state.lock();
        state.reopen_after = Some(state.full.len());
        drop(state);
        self.wake.notify_one();
    }

    /// Takes no more lines, and lets the thread end after those that are here.
    pub(super) fn close(&self) {
        self.state.lock().closing = true;
        self.wake.notify_one();
    }

    /// Told by the thread when it ends.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        state.closing = true;
        state.ended = true;
        drop(state);
        self.ended.notify_all();
    }

    /// Whether the thread ends within that time.
    pub(super) fn wait_for_end(&self, within: Duration) -> bool {
        let mut state = self.state.lock();
        self.ended.wait_while_for(&mut state, |state| !state.ended, within);
        state.ended
    }

    #[cfg(test)]
    pub(super) fn try_take(&self) -> Option<Batch> {
        self.state.lock().full.pop_front()
    }
}

/// What the thread does next.
pub(super) enum Task {
    /// Writes these lines.
    Write(Batch),
    /// Opens the target anew.
    Reopen,
    /// Ends.
    End,
}

/// Full buffers that may wait for the thread; at 64 KiB each this bounds the memory at 16 MiB.
pub(super) const QUEUE_MAX: usize = 256;

/// Empty buffers that are kept.
const EMPTY_MAX: usize = 32;

/// A buffer that has grown past this is not kept.
const RECYCLED_BYTES_MAX: usize = 1 << 20;

/// Room in a buffer past `buffer_bytes`, for the line that fills it.
const LINE_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_to_the_workers() {
        let queue = Queue::default();
        let batch = |bytes| Batch { bytes, lines: 1 };
        queue.take_back(batch(Vec::with_capacity(4321)), true);
        queue.take_back(batch(Vec::with_capacity(RECYCLED_BYTES_MAX + 1)), false);
        assert_eq!(queue.lines_failed(), 1);
        let mut pending = batch(b"line\n".to_vec());
        assert!(queue.push(&mut pending, 100));
        assert_eq!(
            (pending.bytes.len(), pending.bytes.capacity(), pending.lines),
            (0, 4321, 0)
        );
        assert!(queue.state.lock().empty.is_empty(), "the large one was not kept");
    }

    #[test]
    fn a_reopening_stands_in_line() {
        let queue = Queue::default();
        let push = |line: &str| {
            assert!(queue.push(
                &mut Batch {
                    bytes: line.into(),
                    lines: 1
                },
                100
            ))
        };
        push("a");
        push("b");
        queue.reopen();
        push("c");
        queue.close();
        let done: Vec<_> = std::iter::from_fn(|| match queue.next() {
            Task::Write(batch) => Some(String::from_utf8(batch.bytes).unwrap()),
            Task::Reopen => Some("reopen".to_owned()),
            Task::End => None,
        })
        .collect();
        assert_eq!(done, ["a", "b", "reopen", "c"]);
        assert!(!queue.push(
            &mut Batch {
                bytes: b"late".to_vec(),
                lines: 1
            },
            100
        ));
    }

    #[test]
    fn nobody_waits_for_ever_for_a_thread_that_hangs() {
        let queue = Queue::default();
        assert!(!queue.wait_for_end(Duration::ZERO));
        queue.end();
        assert!(queue.wait_for_end(Duration::ZERO));
    }
}
