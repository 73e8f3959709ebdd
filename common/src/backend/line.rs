//! The order of those who wait for a place in a pool: the most urgent first, of equals the one who came first. Called by
//! `pool`, which limits how many wait and for how long.
//!
//! One has the turn, and keeps it until it has its place; then the first of the others is called. Knows no places.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Who waits.
#[derive(Debug, Default)]
pub(super) struct Line {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Somebody has the turn.
    is_taken: bool,
    arrivals: u64,
    /// By urgency and arrival; being sent to is the turn.
    waiting: BTreeMap<Place, oneshot::Sender<()>>,
}

type Place = (u8, u64);

/// The turn; dropping it calls the next.
#[derive(Debug)]
pub(super) struct Turn<'a>(&'a Line);

/// One who waits. INVARIANT: whoever was called, and leaves without taking the turn, passes it on.
struct Waiting<'a> {
    line: &'a Line,
    place: Place,
    called: oneshot::Receiver<()>,
    has_turn: bool,
}

impl Line {
    /// Waits for the turn; a lower `urgency` comes first (RFC 9218 §4.1).
    pub(super) async fn turn(&self, urgency: u8) -> Turn<'_> {
        let mut waiting = {
            let mut state = self.state.lock();
            if !state.is_taken {
                state.is_taken = true;
                return Turn(self);
            }
            let (call, called) = oneshot::channel();
            state.arrivals += 1;
            let place = (urgency, state.arrivals);
            state.waiting.insert(place, call);
            Waiting {
                line: self,
                place,
                called,
                has_turn: false,
            }
        };
        // Nobody drops a sender without sending but the line itself, at its end.
        (&mut waiting.called).await.ok();
        waiting.has_turn = true;
        Turn(self)
    }

    fn call_next(&self) {
        let mut state = self.state.lock();
        match state.waiting.pop_first() {
            // It is there: it leaves the line under this lock before it is gone.
            Some((_, call)) => drop(call.send(())),
            None => state.is_taken = false,
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.call_next();
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.has_turn {
            return;
        }
        let is_in_line = self.line.state.lock().waiting.remove(&self.place).is_some();
        if !is_in_line {
            self.line.call_next();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Poll;

    use super::*;

    /// Polls once.
    async fn is_there<F: Future>(future: &mut std::pin::Pin<&mut F>) -> Option<F::Output> {
        std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    #[tokio::test]
    async fn the_most_urgent_comes_first_and_of_equals_who_came_first() {
        let line = Line::default();
        let held = line.turn(3).await;
        let (mut late, mut first, mut second, mut urgent) = (
            pin!(line.turn(7)),
            pin!(line.turn(3)),
            pin!(line.turn(3)),
            pin!(line.turn(0)),
        );
        for waiting in [&mut late, &mut first, &mut second, &mut urgent] {
            assert!(is_there(waiting).await.is_none());
        }
        drop(held);
        assert!(is_there(&mut first).await.is_none());
        drop(is_there(&mut urgent).await.unwrap());
        assert!(is_there(&mut second).await.is_none());
        drop(is_there(&mut first).await.unwrap());
        drop(is_there(&mut second).await.unwrap());
        drop(is_there(&mut late).await.unwrap());
        drop(line.turn(7).await);
    }

    #[tokio::test]
    async fn who_leaves_the_line_keeps_nobody_waiting_even_when_just_called() {
        let line = Line::default();
        let held = line.turn(3).await;
        let mut last = pin!(line.turn(3));
        {
            let (mut called, mut leaving) = (Box::pin(line.turn(0)), Box::pin(line.turn(1)));
            assert!(is_there(&mut called.as_mut()).await.is_none());
            assert!(is_there(&mut leaving.as_mut()).await.is_none());
            assert!(is_there(&mut last).await.is_none());
            drop(leaving);
            drop(held); // calls the first, which leaves without having looked
        }
        drop(is_there(&mut last).await.unwrap());
        assert!(!line.state.lock().is_taken && line.state.lock().waiting.is_empty());
    }
}
